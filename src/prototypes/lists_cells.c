/* lists_cells.c — see lists_cells.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/lists_cells.h"

#include <math.h>
#include <string.h>

#include "prototypes/lists.h"

static fkm_status take_grouped(struct fkmi_grouped *grouped, struct fkmi_arena *arena, int64_t n, int64_t k)
{
    FKMI_TRY(fkmi_arena_take(arena, &grouped->begin, k + 2, sizeof *grouped->begin));
    FKMI_TRY(fkmi_arena_take(arena, &grouped->row, n, sizeof *grouped->row));
    return fkmi_arena_take(arena, &grouped->mass, k, sizeof *grouped->mass);
}

fkm_status fkmi_list_cells_take(struct fkmi_list_cells *c, bool push)
{
    struct fkmi_arena *arena = &c->work->arena;
    const int64_t n = c->rows->n, k = c->state->k, dim = c->state->dim;
    const int64_t n_threads = fkmi_pool_threads(c->context->pool);

    fkmi_arena_reset(arena);
    c->work->old_of_new = NULL;
    c->cells = (struct fkmi_cells){.n = n, .k = k, .dim = dim};
    FKMI_TRY(fkmi_arena_take(arena, &c->cells.index, n, sizeof(int32_t)));
    FKMI_TRY(fkmi_arena_take(arena, &c->cells.distance, n, sizeof(double)));
    FKMI_TRY(take_grouped(&c->pull, arena, n, k));
    c->cells.pull.mass = c->pull.mass;
    FKMI_TRY(fkmi_arena_take(arena, &c->moved_to, k, sizeof *c->moved_to));
    FKMI_TRY(fkmi_arena_take(arena, &c->place, k + 1, sizeof *c->place));
    FKMI_TRY(fkmi_arena_take(arena, &c->count, k, sizeof *c->count));
    FKMI_TRY(fkmi_arena_take(arena, &c->shift, k, sizeof *c->shift));
    FKMI_TRY(fkmi_arena_take(arena, &c->sum, n_threads * dim, sizeof(double)));
    FKMI_TRY(fkmi_arena_take(arena, &c->values, n_threads * dim, sizeof(double)));
    FKMI_TRY(fkmi_arena_take(arena, &c->met, n_threads * fkmi_words_of(dim), sizeof *c->met));
    if (!push)
        return FKM_OK;
    FKMI_TRY(take_grouped(&c->push, arena, n, k));
    FKMI_TRY(fkmi_arena_take(arena, &c->push_sum, n_threads * dim, sizeof(double)));
    FKMI_TRY(fkmi_arena_take(arena, &c->push_index, n, sizeof(int32_t)));
    FKMI_TRY(fkmi_arena_take(arena, &c->push_factor, n, sizeof(double)));
    return fkmi_pushers_take(&c->pushers, arena, n, c->params->batch_size);
}

/* ---- which prototypes rows belong to */

static fkm_status find_pushes(struct fkmi_list_cells *c)
{
    struct fkmi_pushers *pushers = &c->pushers;

    for (int64_t i = 0; i < c->rows->n; i++)
        c->push_index[i] = -1;
    for (int64_t next = 0; next < c->rows->n;) {
        FKMI_TRY(fkmi_pushers_find(pushers, c->context, c->params, c->state, c->work->pack, c->rows, c->slot,
                                   c->cells.index, c->cells.distance, &next));
        for (int64_t m = 0; m < pushers->n; m++) {
            c->push_index[pushers->row[m]] = pushers->index[m];
            c->push_factor[pushers->row[m]] = pushers->factor[m];
        }
    }
    return FKM_OK;
}

static fkm_status assign(struct fkmi_list_cells *c)
{
    const struct fkmi_state *state = c->state;
    const bool one_class = state->n_classes == 1;
    const struct fkmi_scan scan = {.kind = one_class ? FKMI_SCAN_NEAREST : FKMI_SCAN_OWN,
                                   .slot = c->slot,
                                   .class_begin = state->class_begin,
                                   .n_classes = state->n_classes,
                                   .index = c->cells.index,
                                   .distance = c->cells.distance};

    FKMI_TRY(c->context->backend->pack_lists(c->context, &c->space, state->dtype, &state->lists, state->k,
                                             c->pushes || one_class, &c->work->pack));
    FKMI_TRY(c->context->backend->scan(c->context, c->rows, c->work->pack, &scan));
    for (int64_t i = 0; one_class && i < c->rows->n; i++)
        if (c->slot[i] < 0)
            c->cells.index[i] = -1;
    fkmi_cells_total(&c->cells, c->rows);
    return c->pushes ? find_pushes(c) : FKM_OK;
}

static void group(const struct fkmi_list_cells *c, const int32_t *index, const double *factor,
                  struct fkmi_grouped *grouped)
{
    const int64_t n = c->rows->n, k = c->state->k;
    int64_t *begin = grouped->begin;

    memset(begin, 0, (size_t)(k + 2) * sizeof *begin);
    memset(grouped->mass, 0, (size_t)k * sizeof *grouped->mass);
    for (int64_t i = 0; i < n; i++)
        if (index[i] >= 0)
            begin[index[i] + 2]++;
    for (int64_t j = 0; j < k; j++)
        begin[j + 2] += begin[j + 1];
    for (int64_t i = 0; i < n; i++) /* begin[j + 1] walks from the first row of j to the first of j + 1 */
        if (index[i] >= 0) {
            grouped->row[begin[index[i] + 1]++] = i;
            grouped->mass[index[i]] += fkmi_row_weight(c->rows, i) * (factor ? factor[i] : 1.0);
        }
}

fkm_status fkmi_list_cells_assign(struct fkmi_list_cells *c)
{
    FKMI_TRY(assign(c));
    group(c, c->cells.index, NULL, &c->pull);
    if (c->pushes)
        group(c, c->push_index, c->push_factor, &c->push);
    for (int64_t j = 0; j < c->state->k; j++)
        c->moved_to[j] = -1;
    return FKM_OK;
}

/* ---- new lists */

static int64_t entries_of(const struct fkmi_list_cells *c, int64_t i)
{
    const int64_t row = fkmi_row(c->rows, i);

    return c->rows->indptr[row + 1] - c->rows->indptr[row];
}

fkm_status fkmi_list_cells_places(struct fkmi_list_cells *c, bool grow)
{
    struct fkmi_phase1 *work = c->work;
    const int64_t k = c->state->k, dim = c->state->dim;

    for (int64_t j = 0; j < k; j++) {
        const int64_t length = fkmi_list_length(c->state, j);
        int64_t most = (grow ? length : 0) + (c->moved_to[j] >= 0 ? entries_of(c, c->moved_to[j]) : 0);

        for (int64_t at = c->pull.begin[j]; at < c->pull.begin[j + 1]; at++)
            most += entries_of(c, c->pull.row[at]);
        for (int64_t at = c->pushes ? c->push.begin[j] : 0; c->pushes && at < c->push.begin[j + 1]; at++)
            most += entries_of(c, c->push.row[at]);
        most = most < dim ? most : dim;
        c->place[j + 1] = c->place[j] + (most > length ? most : length);
    }
    if (c->place[k] <= work->spare_capacity)
        return FKM_OK;
    FKMI_TRY(fkmi_resize(&work->spare.index, c->place[k], sizeof *work->spare.index));
    FKMI_TRY(fkmi_resize(&work->spare.value, c->place[k], fkmi_dtype_size(c->state->dtype)));
    work->spare_capacity = c->place[k];
    return FKM_OK;
}

/* sum += scale x, over the entries of row i. */
static void add_row(const struct fkmi_list_cells *c, int64_t i, double scale, double *sum, uint64_t *met)
{
    const struct fkmi_rows *rows = c->rows;
    const int64_t row = fkmi_row(rows, i);
    const bool narrow = c->space.real == FKMI_REAL_F32 && rows->dtype == FKM_DTYPE_F64;

    for (int64_t e = rows->indptr[row]; e < rows->indptr[row + 1]; e++) {
        const int32_t d = rows->indices[e];
        const double v = rows->dtype == FKM_DTYPE_F32 ? (double)((const float *)rows->values)[e]
                                                      : fkmi_dtype_get(rows->values, rows->dtype, e);

        sum[d] += scale * (narrow ? (double)(float)v : v);
        met[d >> 6] |= UINT64_C(1) << (d & 63);
    }
}

/* The columns met, ascending; how many. No bit is set afterwards. */
static int64_t list_columns(uint64_t *met, int64_t dim, int32_t *index)
{
    int64_t n = 0;

    for (int64_t w = 0; w < fkmi_words_of(dim); w++)
        for (; met[w]; met[w] &= met[w] - 1)
            index[n++] = (int32_t)(w * 64 + __builtin_ctzll(met[w]));
    return n;
}

int64_t fkmi_list_cells_add(const struct fkmi_list_cells *c, int64_t j, int thread, int32_t *index)
{
    const struct fkmi_rows *rows = c->rows;
    const int64_t dim = c->state->dim;
    const bool pushed = c->pushes && c->push.mass[j] > 0;
    uint64_t *met = c->met + thread * fkmi_words_of(dim);

    for (int64_t at = c->pull.begin[j]; at < c->pull.begin[j + 1]; at++) {
        const int64_t i = c->pull.row[at];

        add_row(c, i, fkmi_row_weight(rows, i) * fkmi_row_scale(rows, &c->space, i), c->sum + thread * dim,
                met);
    }
    for (int64_t at = pushed ? c->push.begin[j] : 0; pushed && at < c->push.begin[j + 1]; at++) {
        const int64_t i = c->push.row[at];

        add_row(c, i, fkmi_row_weight(rows, i) * c->push_factor[i] * fkmi_row_scale(rows, &c->space, i),
                c->push_sum + thread * dim, met);
    }
    return list_columns(met, dim, index);
}

void fkmi_list_cells_push(const struct fkmi_list_cells *c, int64_t j, double mass, const int32_t *index,
                          int64_t n, const double *sum, double *values)
{
    const double pushing = c->push.mass[j];
    const double step = pushing > 0 ? c->params->repulsion_factor * fmin(0.5, pushing / (mass + pushing)) : 0;

    for (int64_t e = 0; step > 0 && e < n; e++)
        values[e] += step * (values[e] - sum[index[e]] / pushing);
}

int64_t fkmi_list_cells_row(const struct fkmi_list_cells *c, int64_t i, int32_t *index, double *values)
{
    const int64_t row = fkmi_row(c->rows, i), begin = c->rows->indptr[row], n = entries_of(c, i);
    const double scale = fkmi_row_scale(c->rows, &c->space, i);

    memcpy(index, c->rows->indices + begin, (size_t)n * sizeof *index);
    for (int64_t e = 0; e < n; e++) {
        const double v = fkmi_dtype_get(c->rows->values, c->rows->dtype, begin + e);
        values[e] = c->space.real == FKMI_REAL_F32 ? (double)(float)((float)v * (float)scale) : v * scale;
    }
    return fkmi_list_normalise(&c->space, index, n, values) ? n : -1;
}

/* |a - b| of the old list and the new one, as stored. */
static double shift_of(const struct fkmi_list_cells *c, int64_t j)
{
    const struct fkmi_lists *old = &c->state->lists;
    const fkm_dtype dtype = c->state->dtype;
    int64_t a = old->begin[j], b = c->place[j];
    const int64_t end_a = old->begin[j + 1], end_b = b + c->count[j];
    double square = 0;

    while (a < end_a || b < end_b) {
        const int32_t at_a = a < end_a ? old->index[a] : INT32_MAX,
                      at_b = b < end_b ? c->work->spare.index[b] : INT32_MAX;
        const double x = at_a <= at_b ? fkmi_dtype_get(old->value, dtype, a++) : 0.0;
        const double y = at_b <= at_a ? fkmi_dtype_get(c->work->spare.value, dtype, b++) : 0.0;

        square += (y - x) * (y - x);
    }
    return sqrt(square);
}

/* Where the new list of j is. */
static int32_t *new_columns(const struct fkmi_list_cells *c, int64_t j)
{
    return c->work->spare.index + c->place[j];
}
static char *new_values(const struct fkmi_list_cells *c, int64_t j)
{
    return (char *)c->work->spare.value + (size_t)c->place[j] * fkmi_dtype_size(c->state->dtype);
}

void fkmi_list_cells_store(struct fkmi_list_cells *c, int64_t j, int64_t n, double *values)
{
    int32_t *index = new_columns(c, j);
    int64_t left = 0;

    for (int64_t e = 0; e < n; e++)
        if (values[e] != 0) {
            values[left] = values[e];
            index[left++] = index[e];
        }
    c->count[j] = left;
    c->context->kernels->vector[FKMI_REAL_F64].store[c->state->dtype](new_values(c, j), values, left);
    c->shift[j] = shift_of(c, j);
}

void fkmi_list_cells_keep(struct fkmi_list_cells *c, int64_t j)
{
    const struct fkmi_lists *lists = &c->state->lists;
    const size_t size = fkmi_dtype_size(c->state->dtype);
    const int64_t from = lists->begin[j];

    c->count[j] = fkmi_list_length(c->state, j);
    c->shift[j] = 0;
    memcpy(new_columns(c, j), lists->index + from, (size_t)c->count[j] * sizeof *lists->index);
    memcpy(new_values(c, j), (const char *)lists->value + (size_t)from * size, (size_t)c->count[j] * size);
}

void fkmi_list_cells_exchange(struct fkmi_list_cells *c)
{
    struct fkmi_state *state = c->state;
    struct fkmi_lists *old = &state->lists;
    const size_t size = fkmi_dtype_size(state->dtype);
    int32_t *index = old->index;
    void *value = old->value;
    const int64_t capacity = state->list_capacity;
    int64_t to = 0;

    for (int64_t j = 0; j < state->k; j++) {
        memmove(c->work->spare.index + to, c->work->spare.index + c->place[j],
                (size_t)c->count[j] * sizeof *index);
        memmove((char *)c->work->spare.value + (size_t)to * size,
                (char *)c->work->spare.value + (size_t)c->place[j] * size, (size_t)c->count[j] * size);
        old->begin[j] = to;
        to += c->count[j];
    }
    old->begin[state->k] = to;
    old->index = c->work->spare.index;
    old->value = c->work->spare.value;
    state->list_capacity = c->work->spare_capacity;
    c->work->spare.index = index;
    c->work->spare.value = value;
    c->work->spare_capacity = capacity;
}
