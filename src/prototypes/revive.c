/* revive.c — dead prototypes move to where rows are served worst.
 * SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/revive.h"

#include <math.h>
#include <string.h>

#include "prototypes/seed.h"

/* Row i over the point: coordinates without a mask entry stay as they are. False when the row has no
 * direction. */
static bool move_onto_row(const struct fkmi_rows *rows, const struct fkmi_space *space,
                          const struct fkmi_kernels *kernels, int64_t i, void *row, double *point)
{
    const int64_t dim = rows->dim;
    const float *mask = rows->mask ? rows->mask + fkmi_row(rows, i) * dim : NULL;
    const double length = fkmi_row_length(rows, space, i);

    if (fkmi_row_scale(rows, space, i) <= 0)
        return false;
    fkmi_row_load(rows, space, i, row);
    if (!mask)
        kernels->vector[FKMI_REAL_F64].load[space->real == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32](
            point, row, dim);
    for (int64_t d = 0; d < dim && mask; d++)
        if (mask[d] > 0)
            point[d] = length * (space->real == FKMI_REAL_F64 ? ((const double *)row)[d]
                                                              : (double)((const float *)row)[d]);
    return fkmi_point_normalise(space, point);
}

/* ---- full passes */

/* Rows of the view by class. */
struct class_rows {
    int64_t *begin;    /* n_classes + 1 */
    int64_t *position; /* rows of the view, ascending inside a class */
    int64_t *row;      /* the same as rows of the arrays */
};

static fkm_status sort_by_class(struct class_rows *sorted, const struct fkmi_state *state,
                                const struct fkmi_rows *rows, const int32_t *slot)
{
    int64_t *next;
    fkm_status status = FKM_OK;

    FKMI_TRY(fkmi_alloc(&next, state->n_classes, sizeof *next));
    FKMI_TRY_GOTO(fkmi_alloc(&sorted->begin, state->n_classes + 1, sizeof *sorted->begin));
    FKMI_TRY_GOTO(fkmi_alloc(&sorted->position, rows->n, sizeof *sorted->position));
    FKMI_TRY_GOTO(fkmi_alloc(&sorted->row, rows->n, sizeof *sorted->row));
    for (int64_t i = 0; i < rows->n; i++)
        if (slot[i] >= 0)
            sorted->begin[slot[i] + 1]++;
    for (int64_t c = 0; c < state->n_classes; c++) {
        sorted->begin[c + 1] += sorted->begin[c];
        next[c] = sorted->begin[c];
    }
    for (int64_t i = 0; i < rows->n; i++)
        if (slot[i] >= 0) {
            const int64_t place = next[slot[i]]++;
            sorted->position[place] = i;
            sorted->row[place] = fkmi_row(rows, i);
        }
done:
    fkmi_free(next);
    return status;
}

static void free_class_rows(struct class_rows *sorted)
{
    fkmi_free(sorted->begin);
    fkmi_free(sorted->position);
    fkmi_free(sorted->row);
}

/* The row of the class with the largest distance above `same`, ties to the first; -1: none. */
static int64_t farthest_row(const struct class_rows *sorted, int64_t c, const struct fkmi_rows *rows,
                            const double *distance, double same)
{
    int64_t farthest = -1;
    double largest = same;

    for (int64_t p = sorted->begin[c]; p < sorted->begin[c + 1]; p++) {
        const int64_t i = sorted->position[p];
        if (distance[i] > largest && fkmi_row_weight(rows, i) > 0) {
            largest = distance[i];
            farthest = i;
        }
    }
    return farthest;
}

struct reviving {
    struct fkm_context *context;
    struct fkmi_space space;
    struct fkmi_state *state;
    struct fkmi_cells *cells;
    const struct fkmi_rows *rows;
    struct class_rows sorted;
    struct fkmi_pack *pack;
    char *dead; /* points of the dead, to come back to */
    void *row;
    double *point, *before, *distance; /* dim, dim, rows of the largest class */
};

static bool is_dead(const struct fkmi_cells *cells, const struct fkmi_state *state, int64_t j)
{
    return !(cells->pull.mass[j] > 0) && !state->frozen[j];
}

/* The points of all dead ones to dead, or back. */
static void copy_dead(const struct reviving *r, bool back)
{
    const size_t bytes = (size_t)r->state->dim * fkmi_dtype_size(r->state->dtype);
    char *kept = r->dead;

    for (int64_t j = 0; kept && j < r->state->k; j++)
        if (is_dead(r->cells, r->state, j)) {
            void *point = fkmi_state_point(r->state, j);

            memcpy(back ? point : kept, back ? kept : point, bytes);
            kept += bytes;
        }
}

/* Lowers the class's distances to those of prototype j. */
static fkm_status serve_class(struct reviving *r, int64_t c, int64_t j)
{
    const struct fkmi_backend *backend = r->context->backend;
    const struct fkmi_scan scan = {.kind = FKMI_SCAN_NEAREST, .distance = r->distance};
    struct fkmi_rows base = *r->rows, view;
    const int64_t begin = r->sorted.begin[c], n = r->sorted.begin[c + 1] - begin;

    base.order = NULL;
    view = fkmi_rows_pick(&base, r->sorted.row + begin, n);
    FKMI_TRY(backend->pack(r->context, &r->space, r->state->dtype, fkmi_state_point(r->state, j), 1,
                           r->rows->mask != NULL, &r->pack));
    FKMI_TRY(backend->scan(r->context, &view, r->pack, &scan));
    for (int64_t p = 0; p < n; p++) {
        double *held = &r->cells->distance[r->sorted.position[begin + p]];
        *held = fmin(*held, r->distance[p]);
    }
    return FKM_OK;
}

static fkm_status revive_one(struct reviving *r, int64_t c, int64_t j, double *shift)
{
    const struct fkmi_kernels *kernels = r->context->kernels;
    int64_t i;

    fkmi_point_load(r->state, kernels, j, r->before);
    while ((i = farthest_row(&r->sorted, c, r->rows, r->cells->distance, fkmi_same_distance(&r->space))) >=
           0) {
        memcpy(r->point, r->before, (size_t)r->state->dim * sizeof(double));
        if (move_onto_row(r->rows, &r->space, kernels, i, r->row, r->point)) {
            fkmi_point_store(r->state, kernels, j, r->point);
            *shift = fmax(*shift, fkmi_point_shift(r->point, r->before, r->state->dim));
            FKMI_TRY(serve_class(r, c, j));
            r->cells->distance[i] = 0; /* taken, whatever rounding says */
            return FKM_OK;
        }
        r->cells->distance[i] = 0; /* a zero row is as far from everything as from itself */
    }
    return FKM_OK;
}

fkm_status fkmi_revive(struct fkm_context *context, const fkm_params *params, struct fkmi_state *state,
                       struct fkmi_cells *cells, const struct fkmi_pack *pack, const struct fkmi_rows *rows,
                       const int32_t *slot, double *shift)
{
    fkm_status status = FKM_OK;
    struct reviving r = {.context = context,
                         .space = fkmi_state_space(state, params->metric),
                         .state = state,
                         .cells = cells,
                         .rows = rows};
    int64_t dead = 0;

    for (int64_t j = 0; j < state->k; j++)
        dead += is_dead(cells, state, j);
    if (dead == 0)
        return FKM_OK;
    FKMI_TRY_GOTO(fkmi_cells_measure(cells, context, pack, rows));
    FKMI_TRY_GOTO(sort_by_class(&r.sorted, state, rows, slot));
    FKMI_TRY_GOTO(fkmi_alloc(&r.row, state->dim, fkmi_real_size(r.space.real)));
    FKMI_TRY_GOTO(fkmi_alloc(&r.point, state->dim, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_alloc(&r.before, state->dim, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_alloc(&r.distance, rows->n, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_alloc(&r.dead, dead * state->dim, fkmi_dtype_size(state->dtype)));
    copy_dead(&r, false);
    for (int64_t c = 0; c < state->n_classes; c++)
        for (int64_t j = state->class_begin[c]; j < state->class_begin[c + 1]; j++)
            if (is_dead(cells, state, j))
                FKMI_TRY_GOTO(revive_one(&r, c, j, shift));
done:
    if (status != FKM_OK)
        copy_dead(&r, true);
    fkmi_free(r.dead);
    context->backend->pack_free(r.pack);
    free_class_rows(&r.sorted);
    fkmi_free(r.row);
    fkmi_free(r.point);
    fkmi_free(r.before);
    fkmi_free(r.distance);
    return status;
}

/* ---- streams */

fkm_status fkmi_split_take(struct fkmi_split *split, struct fkmi_arena *arena, const struct fkmi_state *state)
{
    split->measured = false;
    FKMI_TRY(fkmi_arena_take(arena, &split->within, state->k, sizeof(double)));
    FKMI_TRY(fkmi_arena_take(arena, &split->farthest, state->k, sizeof(int64_t)));
    FKMI_TRY(fkmi_arena_take(arena, &split->row, state->dim, fkmi_real_size(fkmi_real_of(state->dtype))));
    return fkmi_arena_take(arena, &split->point, state->dim, sizeof(double));
}

static void measure_cells(struct fkmi_split *split, const struct fkmi_state *state,
                          const struct fkmi_cells *cells, const struct fkmi_rows *rows)
{
    for (int64_t j = 0; j < state->k; j++) {
        split->within[j] = 0;
        split->farthest[j] = -1;
    }
    for (int64_t i = 0; i < cells->n; i++) {
        const int32_t j = cells->index[i];
        const double u = fkmi_row_weight(rows, i);
        if (j < 0 || !(u * cells->distance[i] > 0) || state->frozen[j])
            continue;
        split->within[j] += u * cells->distance[i];
        if (split->farthest[j] < 0 || cells->distance[i] > cells->distance[split->farthest[j]])
            split->farthest[j] = i;
    }
}

int64_t fkmi_split_donor(struct fkmi_split *split, const fkm_params *params, const struct fkmi_state *state,
                         const struct fkmi_cells *cells, const struct fkmi_rows *rows, const double *mass,
                         int64_t c, int64_t j)
{
    int64_t donor = state->class_begin[c];

    if (mass[j] >= params->min_weight || state->frozen[j])
        return -1;
    if (!split->measured)
        measure_cells(split, state, cells, rows);
    split->measured = true;
    for (int64_t other = donor; other < state->class_begin[c + 1]; other++)
        if (split->within[other] > split->within[donor])
            donor = other;
    return donor == j || !(split->within[donor] > 0) ? -1 : donor;
}

void fkmi_split_halve(struct fkmi_state *state, int64_t donor, int64_t j)
{
    const int64_t dim = state->dim, m = state->n_targets;

    state->mass[donor] = state->mass[j] = state->mass[donor] / 2;
    for (int64_t d = 0; d < dim && state->ages; d++)
        state->ages[donor * dim + d] = state->ages[j * dim + d] = state->ages[donor * dim + d] / 2;
    for (int64_t t = 0; t < m && state->targets; t++)
        state->targets[j * m + t] = state->targets[donor * m + t];
    state->bias[j] = state->bias[donor];
    state->theta[j] = state->theta[donor];
}

void fkmi_split_dead(struct fkmi_split *split, struct fkm_context *context, const fkm_params *params,
                     struct fkmi_state *state, const struct fkmi_cells *cells, const struct fkmi_rows *rows)
{
    const struct fkmi_space space = fkmi_state_space(state, params->metric);

    for (int64_t c = 0; c < state->n_classes; c++)
        for (int64_t j = state->class_begin[c]; j < state->class_begin[c + 1]; j++) {
            const int64_t donor = fkmi_split_donor(split, params, state, cells, rows, state->mass, c, j);

            if (donor < 0)
                continue;
            fkmi_point_load(state, context->kernels, donor, split->point);
            if (move_onto_row(rows, &space, context->kernels, split->farthest[donor], split->row,
                              split->point)) {
                fkmi_point_store(state, context->kernels, j, split->point);
                fkmi_split_halve(state, donor, j);
            }
            split->within[donor] = 0; /* the next one splits another */
        }
}
