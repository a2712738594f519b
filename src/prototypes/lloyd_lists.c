/* lloyd_lists.c — full passes over CSR rows whose prototypes are lists: the sums, means and pushes of lloyd.c, with the
 * same bits, at the cost of the rows' entries.
 *
 * A thread adds a prototype's rows in an array of all columns, marks the columns it met in a set of bits, and writes the
 * new list into the place kept for it; the lists of a pass stand beside those of the pass before until all are whole.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "base/interrupt.h"
#include "prototypes/cells.h"
#include "prototypes/lists.h"
#include "prototypes/maintain.h"
#include "prototypes/repel.h"
#include "prototypes/seed.h"
#include "prototypes/targets.h"

/* Rows of the view by prototype, ascending: those of j are row[begin[j]] .. row[begin[j + 1] - 1]. */
struct grouped {
    int64_t *begin, *row;
    double *mass; /* k: their weight */
};

struct passes {
    struct fkm_context *context;
    const fkm_params *params;
    struct fkmi_state *state;
    struct fkmi_space space;
    struct fkmi_phase1 *work;
    const struct fkmi_rows *rows;
    const int32_t *slot;
    struct fkmi_cells cells; /* index, distance and masses alone */
    struct grouped pull, push;
    bool pushes; /* in this pass */
    int32_t *push_index;
    double *push_factor;
    struct fkmi_pushers pushers;
    int64_t *revived;                /* k: the row that a prototype without rows moves to, or -1 */
    int64_t *place;                  /* k + 1: where the new lists go */
    int64_t *count;                  /* k: their lengths */
    double *shift;                   /* k */
    double *sum, *push_sum, *values; /* threads x dim each; the sums are 0 between prototypes */
    uint64_t *met;                   /* threads x words: no bit is set between prototypes */
    struct fkmi_lists next;          /* index and value alone */
    int64_t next_capacity;
    int32_t *kept_index;   /* n, or NULL: nobody asks for cells after the passes */
    double *kept_distance; /* those of the last whole pass, while another is under way */
};

static int64_t words_of(int64_t dim) { return (dim + 63) / 64; }

static fkm_status take_grouped(struct grouped *grouped, struct fkmi_arena *arena, int64_t n, int64_t k)
{
    FKMI_TRY(fkmi_arena_take(arena, &grouped->begin, k + 2, sizeof *grouped->begin));
    FKMI_TRY(fkmi_arena_take(arena, &grouped->row, n, sizeof *grouped->row));
    return fkmi_arena_take(arena, &grouped->mass, k, sizeof *grouped->mass);
}

static fkm_status take_memory(struct passes *p, bool push, bool needs_cells)
{
    struct fkmi_arena *arena = &p->work->arena;
    const int64_t n = p->rows->n, k = p->state->k, dim = p->state->dim;
    const int64_t n_threads = fkmi_pool_threads(p->context->pool);

    fkmi_arena_reset(arena);
    p->work->old_of_new = NULL;
    p->cells = (struct fkmi_cells){.n = n, .k = k, .dim = dim};
    FKMI_TRY(fkmi_arena_take(arena, &p->cells.index, n, sizeof(int32_t)));
    FKMI_TRY(fkmi_arena_take(arena, &p->cells.distance, n, sizeof(double)));
    FKMI_TRY(take_grouped(&p->pull, arena, n, k));
    p->cells.pull.mass = p->pull.mass;
    FKMI_TRY(fkmi_arena_take(arena, &p->revived, k, sizeof *p->revived));
    FKMI_TRY(fkmi_arena_take(arena, &p->place, k + 1, sizeof *p->place));
    FKMI_TRY(fkmi_arena_take(arena, &p->count, k, sizeof *p->count));
    FKMI_TRY(fkmi_arena_take(arena, &p->shift, k, sizeof *p->shift));
    FKMI_TRY(fkmi_arena_take(arena, &p->sum, n_threads * dim, sizeof(double)));
    FKMI_TRY(fkmi_arena_take(arena, &p->values, n_threads * dim, sizeof(double)));
    FKMI_TRY(fkmi_arena_take(arena, &p->met, n_threads * words_of(dim), sizeof *p->met));
    if (needs_cells) {
        FKMI_TRY(fkmi_arena_take(arena, &p->kept_index, n, sizeof *p->kept_index));
        FKMI_TRY(fkmi_arena_take(arena, &p->kept_distance, n, sizeof *p->kept_distance));
    }
    if (!push)
        return FKM_OK;
    FKMI_TRY(take_grouped(&p->push, arena, n, k));
    FKMI_TRY(fkmi_arena_take(arena, &p->push_sum, n_threads * dim, sizeof(double)));
    FKMI_TRY(fkmi_arena_take(arena, &p->push_index, n, sizeof(int32_t)));
    FKMI_TRY(fkmi_arena_take(arena, &p->push_factor, n, sizeof(double)));
    return fkmi_pushers_take(&p->pushers, arena, n, p->params->batch_size);
}

/* ---- which prototypes rows belong to */

static fkm_status find_pushes(struct passes *p)
{
    struct fkmi_pushers *pushers = &p->pushers;

    for (int64_t i = 0; i < p->rows->n; i++)
        p->push_index[i] = -1;
    for (int64_t next = 0; next < p->rows->n;) {
        FKMI_TRY(fkmi_pushers_find(pushers, p->context, p->params, p->state, p->work->pack, p->rows, p->slot,
                                   p->cells.index, p->cells.distance, &next));
        for (int64_t m = 0; m < pushers->n; m++) {
            p->push_index[pushers->row[m]] = pushers->index[m];
            p->push_factor[pushers->row[m]] = pushers->factor[m];
        }
    }
    return FKM_OK;
}

static fkm_status assign(struct passes *p)
{
    const struct fkmi_state *state = p->state;
    const bool one_class = state->n_classes == 1;
    const struct fkmi_scan scan = {.kind = one_class ? FKMI_SCAN_NEAREST : FKMI_SCAN_OWN,
                                   .slot = p->slot,
                                   .class_begin = state->class_begin,
                                   .n_classes = state->n_classes,
                                   .index = p->cells.index,
                                   .distance = p->cells.distance};

    FKMI_TRY(p->context->backend->pack_lists(p->context, &p->space, state->dtype, &state->lists, state->k,
                                             p->pushes || one_class, &p->work->pack));
    FKMI_TRY(p->context->backend->scan(p->context, p->rows, p->work->pack, &scan));
    for (int64_t i = 0; one_class && i < p->rows->n; i++)
        if (p->slot[i] < 0)
            p->cells.index[i] = -1;
    fkmi_cells_total(&p->cells, p->rows);
    return p->pushes ? find_pushes(p) : FKM_OK;
}

static void group(const struct passes *p, const int32_t *index, const double *factor, struct grouped *grouped)
{
    const int64_t n = p->rows->n, k = p->state->k;
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
            grouped->mass[index[i]] += fkmi_row_weight(p->rows, i) * (factor ? factor[i] : 1.0);
        }
}

/* ---- prototypes without rows move to the row of their class that is served worst, as revive.c does */

/* distance[i] = min(distance[i], that to row `to`) for the rows of the class. */
static fkm_status serve_class(struct passes *p, const int64_t *members, int64_t n, int64_t to,
                              double *distance, struct fkmi_pack **pack)
{
    const int64_t row = fkmi_row(p->rows, to), begin = p->rows->indptr[row],
                  size = p->rows->indptr[row + 1] - begin;
    const size_t value_size = fkmi_dtype_size(p->rows->dtype);
    int64_t list_begin[2] = {0, size};
    const int64_t class_begin[2] = {0, 1};
    const struct fkmi_lists list = {list_begin, (int32_t *)(uintptr_t)(p->rows->indices + begin),
                                    (char *)(uintptr_t)p->rows->values + (size_t)begin * value_size};
    struct fkmi_rows base = *p->rows, view;
    fkm_status status = FKM_OK;
    int64_t *order = NULL;
    int32_t *slot = NULL;
    double *served = NULL;

    base.order = NULL;
    FKMI_TRY_GOTO(fkmi_alloc(&order, n, sizeof *order));
    FKMI_TRY_GOTO(fkmi_alloc(&slot, n, sizeof *slot));
    FKMI_TRY_GOTO(fkmi_alloc(&served, n, sizeof *served));
    for (int64_t m = 0; m < n; m++)
        order[m] = fkmi_row(p->rows, members[m]);
    view = fkmi_rows_pick(&base, order, n);
    FKMI_TRY_GOTO(
        p->context->backend->pack_lists(p->context, &p->space, p->rows->dtype, &list, 1, false, pack));
    FKMI_TRY_GOTO(p->context->backend->scan(p->context, &view, *pack,
                                            &(struct fkmi_scan){.kind = FKMI_SCAN_OWN,
                                                                .slot = slot,
                                                                .class_begin = class_begin,
                                                                .n_classes = 1,
                                                                .distance = served}));
    for (int64_t m = 0; m < n; m++)
        distance[members[m]] = fmin(distance[members[m]], served[m]);
    distance[to] = 0; /* taken, whatever rounding says */
done:
    fkmi_free(order);
    fkmi_free(slot);
    fkmi_free(served);
    return status;
}

/* Rows of class c, from its prototypes' groups. */
static int64_t members_of(const struct passes *p, int64_t c, int64_t *members)
{
    int64_t n = 0;

    for (int64_t j = p->state->class_begin[c]; j < p->state->class_begin[c + 1]; j++)
        for (int64_t at = p->pull.begin[j]; at < p->pull.begin[j + 1]; at++)
            members[n++] = p->pull.row[at];
    return n;
}

static int64_t farthest(const struct passes *p, const int64_t *members, int64_t n, const double *distance)
{
    double largest = fkmi_same_distance(&p->space);
    int64_t found = -1;

    for (int64_t m = 0; m < n; m++) {
        const int64_t i = members[m];

        if (!(fkmi_row_weight(p->rows, i) > 0) || !(fkmi_row_scale(p->rows, &p->space, i) > 0))
            continue;
        if (distance[i] > largest || (found >= 0 && distance[i] == largest && i < found)) {
            largest = distance[i];
            found = i;
        }
    }
    return found;
}

static fkm_status choose_revivals(struct passes *p)
{
    const struct fkmi_state *state = p->state;
    struct fkmi_pack *pack = NULL;
    int64_t *members = NULL;
    double *distance = NULL;
    fkm_status status = FKM_OK;

    for (int64_t c = 0; c < state->n_classes; c++) {
        int64_t n = -1;

        for (int64_t j = state->class_begin[c]; j < state->class_begin[c + 1]; j++) {
            int64_t to;

            if (p->pull.mass[j] > 0 || state->frozen[j])
                continue;
            if (!members) {
                FKMI_TRY_GOTO(fkmi_alloc(&members, p->rows->n, sizeof *members));
                FKMI_TRY_GOTO(fkmi_copy(&distance, p->cells.distance, p->rows->n, sizeof *distance));
            }
            n = n < 0 ? members_of(p, c, members) : n;
            to = farthest(p, members, n, distance);
            if (to < 0)
                break;
            p->revived[j] = to;
            FKMI_TRY_GOTO(serve_class(p, members, n, to, distance, &pack));
        }
    }
done:
    p->context->backend->pack_free(pack);
    fkmi_free(members);
    fkmi_free(distance);
    return status;
}

/* ---- new lists */

static int64_t entries_of(const struct passes *p, int64_t i)
{
    const int64_t row = fkmi_row(p->rows, i);

    return p->rows->indptr[row + 1] - p->rows->indptr[row];
}

static int64_t list_length(const struct passes *p, int64_t j)
{
    return p->state->lists.begin[j + 1] - p->state->lists.begin[j];
}

/* How long the new list of each prototype can be. */
static fkm_status make_places(struct passes *p)
{
    const int64_t k = p->state->k, dim = p->state->dim;

    for (int64_t j = 0; j < k; j++) {
        int64_t most = p->revived[j] >= 0 ? entries_of(p, p->revived[j]) : 0;

        for (int64_t at = p->pull.begin[j]; at < p->pull.begin[j + 1]; at++)
            most += entries_of(p, p->pull.row[at]);
        for (int64_t at = p->pushes ? p->push.begin[j] : 0; p->pushes && at < p->push.begin[j + 1]; at++)
            most += entries_of(p, p->push.row[at]);
        most = most < dim ? most : dim;
        p->place[j + 1] = p->place[j] + (most > list_length(p, j) ? most : list_length(p, j));
    }
    if (p->place[k] <= p->next_capacity)
        return FKM_OK;
    FKMI_TRY(fkmi_resize(&p->next.index, p->place[k], sizeof *p->next.index));
    FKMI_TRY(fkmi_resize(&p->next.value, p->place[k], fkmi_dtype_size(p->state->dtype)));
    p->next_capacity = p->place[k];
    return FKM_OK;
}

/* sum += scale x, over the entries of row i. */
static void add_row(const struct passes *p, int64_t i, double scale, double *sum, uint64_t *met)
{
    const struct fkmi_rows *rows = p->rows;
    const int64_t row = fkmi_row(rows, i);
    const bool narrow = p->space.real == FKMI_REAL_F32 && rows->dtype == FKM_DTYPE_F64;

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

    for (int64_t w = 0; w < words_of(dim); w++)
        for (; met[w]; met[w] &= met[w] - 1)
            index[n++] = (int32_t)(w * 64 + __builtin_ctzll(met[w]));
    return n;
}

/* As fkmi_push_point, in the columns of the list. */
static void push_list(const struct passes *p, int64_t j, const int32_t *index, int64_t n,
                      const double *push_sum, double *values)
{
    const double pushing = p->push.mass[j], mass = p->pull.mass[j];
    const double step = pushing > 0 ? p->params->repulsion_factor * fmin(0.5, pushing / (mass + pushing)) : 0;

    for (int64_t e = 0; step > 0 && e < n; e++)
        values[e] += step * (values[e] - push_sum[index[e]] / pushing);
}

/* The mean of j's rows, pushed: values in the columns `index`; 0 when it has no direction or no rows. */
static int64_t mean_list(const struct passes *p, int64_t j, int thread, int32_t *index, double *values)
{
    const int64_t dim = p->state->dim;
    double *sum = p->sum + thread * dim, *push_sum = p->push_sum + (p->push_sum ? thread * dim : 0);
    uint64_t *met = p->met + thread * words_of(dim);
    const bool pushed = p->pushes && p->push.mass[j] > 0;
    int64_t n;
    bool good;

    for (int64_t at = p->pull.begin[j]; at < p->pull.begin[j + 1]; at++) {
        const int64_t i = p->pull.row[at];
        add_row(p, i, fkmi_row_weight(p->rows, i) * fkmi_row_scale(p->rows, &p->space, i), sum, met);
    }
    for (int64_t at = pushed ? p->push.begin[j] : 0; pushed && at < p->push.begin[j + 1]; at++) {
        const int64_t i = p->push.row[at];
        add_row(p, i, fkmi_row_weight(p->rows, i) * p->push_factor[i] * fkmi_row_scale(p->rows, &p->space, i),
                push_sum, met);
    }
    n = list_columns(met, dim, index);
    for (int64_t e = 0; e < n; e++) {
        values[e] = sum[index[e]] / p->pull.mass[j];
        sum[index[e]] = 0;
    }
    good = fkmi_list_normalise(&p->space, index, n, values);
    if (good && pushed) {
        push_list(p, j, index, n, push_sum, values);
        (void)fkmi_list_normalise(&p->space, index, n, values);
    }
    for (int64_t e = 0; pushed && e < n; e++)
        push_sum[index[e]] = 0;
    return good ? n : -1;
}

/* A unit row, or the row itself. */
static int64_t row_list(const struct passes *p, int64_t i, int32_t *index, double *values)
{
    const int64_t row = fkmi_row(p->rows, i), begin = p->rows->indptr[row], n = entries_of(p, i);
    const double scale = fkmi_row_scale(p->rows, &p->space, i);

    memcpy(index, p->rows->indices + begin, (size_t)n * sizeof *index);
    for (int64_t e = 0; e < n; e++) {
        const double v = fkmi_dtype_get(p->rows->values, p->rows->dtype, begin + e);
        values[e] = p->space.real == FKMI_REAL_F32 ? (double)(float)((float)v * (float)scale) : v * scale;
    }
    return fkmi_list_normalise(&p->space, index, n, values) ? n : -1;
}

/* |a - b| of the old list and the new one, as stored. */
static double shift_of(const struct passes *p, int64_t j)
{
    const struct fkmi_lists *old = &p->state->lists;
    const fkm_dtype dtype = p->state->dtype;
    int64_t a = old->begin[j], b = p->place[j];
    const int64_t end_a = old->begin[j + 1], end_b = b + p->count[j];
    double square = 0;

    while (a < end_a || b < end_b) {
        const int32_t at_a = a < end_a ? old->index[a] : INT32_MAX,
                      at_b = b < end_b ? p->next.index[b] : INT32_MAX;
        const double x = at_a <= at_b ? fkmi_dtype_get(old->value, dtype, a++) : 0.0;
        const double y = at_b <= at_a ? fkmi_dtype_get(p->next.value, dtype, b++) : 0.0;

        square += (y - x) * (y - x);
    }
    return sqrt(square);
}

static fkm_status make_lists(void *job, int64_t begin, int64_t end, int thread)
{
    struct passes *p = job;
    struct fkmi_state *state = p->state;
    const size_t size = fkmi_dtype_size(state->dtype);
    double *values = p->values + thread * state->dim;

    for (int64_t j = begin; j < end; j++) {
        int32_t *index = p->next.index + p->place[j];
        char *stored = (char *)p->next.value + (size_t)p->place[j] * size;
        int64_t n = -1, left = 0;

        if (p->revived[j] >= 0)
            n = row_list(p, p->revived[j], index, values);
        else if (p->pull.mass[j] > 0 && !state->frozen[j])
            n = mean_list(p, j, thread, index, values);
        p->shift[j] = 0;
        if (n < 0) { /* it stays */
            const int64_t from = state->lists.begin[j];

            p->count[j] = list_length(p, j);
            memcpy(index, state->lists.index + from, (size_t)p->count[j] * sizeof *index);
            memcpy(stored, (const char *)state->lists.value + (size_t)from * size,
                   (size_t)p->count[j] * size);
            continue;
        }
        for (int64_t e = 0; e < n; e++)
            if (values[e] != 0) {
                values[left] = values[e];
                index[left++] = index[e];
            }
        p->count[j] = left;
        p->context->kernels->vector[FKMI_REAL_F64].store[state->dtype](stored, values, left);
        p->shift[j] = shift_of(p, j);
    }
    return FKM_OK;
}

/* The new lists, moved together, become the state's; the old ones' memory is for the next pass. */
static void take_lists(struct passes *p)
{
    struct fkmi_state *state = p->state;
    struct fkmi_lists *old = &state->lists;
    const size_t size = fkmi_dtype_size(state->dtype);
    int32_t *index = old->index;
    void *value = old->value;
    const int64_t capacity = state->list_capacity;
    int64_t to = 0;

    for (int64_t j = 0; j < state->k; j++) {
        memmove(p->next.index + to, p->next.index + p->place[j], (size_t)p->count[j] * sizeof *index);
        memmove((char *)p->next.value + (size_t)to * size, (char *)p->next.value + (size_t)p->place[j] * size,
                (size_t)p->count[j] * size);
        old->begin[j] = to;
        to += p->count[j];
    }
    old->begin[state->k] = to;
    old->index = p->next.index;
    old->value = p->next.value;
    state->list_capacity = p->next_capacity;
    p->next.index = index;
    p->next.value = value;
    p->next_capacity = capacity;
}

static void exchange_cells(struct passes *p)
{
    int32_t *index = p->cells.index;
    double *distance = p->cells.distance;

    if (!p->kept_index)
        return;
    p->cells.index = p->kept_index;
    p->cells.distance = p->kept_distance;
    p->kept_index = index;
    p->kept_distance = distance;
}

static fkm_status pass(struct passes *p, bool last, struct fkmi_moved *moved)
{
    struct fkmi_state *state = p->state;

    *moved = (struct fkmi_moved){0};
    FKMI_TRY(assign(p));
    group(p, p->cells.index, NULL, &p->pull);
    if (p->pushes)
        group(p, p->push_index, p->push_factor, &p->push);
    for (int64_t j = 0; j < state->k; j++)
        p->revived[j] = -1;
    if (!last) /* a prototype moved now would end without rows */
        FKMI_TRY(choose_revivals(p));
    FKMI_TRY(make_places(p));
    FKMI_TRY(fkmi_parallel(p->context->pool, state->k, 16, make_lists, p));
    take_lists(p);
    memcpy(state->mass, p->pull.mass, (size_t)state->k * sizeof(double));
    fkmi_cells_moved(&p->cells, moved);
    for (int64_t j = 0; j < state->k; j++)
        moved->shift = fmax(moved->shift, p->shift[j]);
    return FKM_OK;
}

static fkm_status run_passes(struct passes *p, bool push, int64_t max_iters, double tol,
                             fkmi_pass_fn *after_pass, void *user, int64_t *n_passes, fkm_status *stopped)
{
    bool settled = false;

    while (*n_passes < max_iters) {
        const bool last = *n_passes + 1 == max_iters;
        struct fkmi_moved moved;
        fkm_status status;

        p->pushes = push && (settled || last); /* as in lloyd.c */
        exchange_cells(p);
        status = pass(p, last || p->pushes, &moved);
        if (status == FKM_EINTERRUPTED && *n_passes > 0) {
            exchange_cells(p);
            *stopped = status; /* the lists are those of the last whole pass */
            return FKM_OK;
        }
        FKMI_TRY(status);
        ++*n_passes;
        if (p->cells.weight > 0)
            p->state->scale = moved.mean_distance > 0 ? moved.mean_distance : 1;
        if (after_pass)
            *stopped = after_pass(user, *n_passes, &moved);
        settled = moved.shift < tol || moved.shift == 0;
        if (*stopped != FKM_OK || p->pushes || (settled && !push))
            break;
    }
    return FKM_OK;
}

/* Targets as the last whole pass found them; then what is light or small goes. */
static fkm_status settle(struct passes *p, const double *values)
{
    struct fkmi_state *state = p->state;
    const int64_t m = state->n_targets;
    struct fkmi_cell_targets targets;
    struct fkmi_upkeep room;
    int64_t removed;

    if (values && state->targets) {
        FKMI_TRY(fkmi_cell_targets_take(&targets, &p->work->arena, state));
        fkmi_cell_targets_gather(&targets, p->params, state, &p->cells, p->rows, values, state->scale);
        for (int64_t j = 0; j < state->k; j++)
            if (targets.total[j] > 0 && !state->frozen[j])
                memcpy(state->targets + j * m, targets.mean + j * m, (size_t)m * sizeof(double));
    }
    FKMI_TRY(fkmi_upkeep_take(&room, &p->work->arena, p->params, state));
    return fkmi_upkeep_run(&room, p->context, p->params, state, p->params->min_weight * p->cells.row_weight,
                           &removed);
}

fkm_status fkmi_lloyd_lists(struct fkm_context *context, const fkm_params *params, struct fkmi_state *state,
                            struct fkmi_phase1 *work, const struct fkmi_rows *rows, const int32_t *slot,
                            const double *values, int64_t max_iters, double tol, fkmi_pass_fn *after_pass,
                            void *user, int64_t *n_passes)
{
    struct passes p = {.context = context,
                       .params = params,
                       .state = state,
                       .space = fkmi_state_space(state, params->metric),
                       .work = work,
                       .rows = rows,
                       .slot = slot};
    const bool push = fkmi_repels(params, state);
    fkm_status status = FKM_OK, stopped = FKM_OK;

    *n_passes = 0;
    FKMI_TRY_GOTO(take_memory(&p, push, values && state->targets));
    FKMI_TRY_GOTO(run_passes(&p, push, max_iters, tol, after_pass, user, n_passes, &stopped));
    if (stopped != FKM_OK && stopped != FKM_EINTERRUPTED)
        FKMI_TRY_GOTO(stopped);
    FKMI_TRY_GOTO(settle(&p, values));
    status = fkmi_state_fit_lists(state);
    if (status == FKM_OK)
        status = stopped;
done:
    fkmi_free(p.next.index);
    fkmi_free(p.next.value);
    fkmi_phase1_free(work, context->backend); /* a model keeps no memory of the size of its rows */
    return status;
}
