/* cells.c — assignment to the nearest prototype of the row's own class, and the sums that follow; then, with repulsion,
 * the nearest of another class of the rows it matters to, and theirs. SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/cells.h"

#include <math.h>
#include <string.h>

#include "base/interrupt.h"

enum {
    VALUES_OF_PUSHER = 64, /* rows that push are as many at a time as keep memory a fraction of the points */
    PIECES = 16,           /* sums of some prototypes are at least those of one in so many, */
    ROWS_FOR_SUM = 128,    /* of one for so many rows, */
    LEAST_VALUES = 1 << 16 /* and so many numbers */
};

static fkm_status take_sums(struct fkmi_sums *sums, struct fkmi_arena *arena, int64_t k, int64_t at_once,
                            int64_t dim, bool masked, bool lent)
{
    sums->at_once = at_once;
    sums->lent = sums->filled = lent;
    if (!lent)
        FKMI_TRY(fkmi_arena_take(arena, &sums->sum, at_once * dim, sizeof(double)));
    FKMI_TRY(fkmi_arena_take(arena, &sums->mass, k, sizeof(double)));
    if (masked)
        FKMI_TRY(fkmi_arena_take(arena, &sums->ages, k * dim, sizeof(double)));
    return FKM_OK;
}

/* Of prototypes first .. first + n. Of sparse rows the sums may be the larger part of a pass. */
static fkm_status clear_sums(struct fkmi_sums *sums, int64_t first, int64_t n, int64_t dim)
{
    const bool filled = sums->filled;

    sums->filled = true;
    sums->first = first;
    memset(sums->mass + first, 0, (size_t)n * sizeof(double));
    if (!filled || sums->wide > 0) /* panels are cleared when they are used */
        return FKM_OK;
    for (int64_t j = 0; j < n; j++) {
        FKMI_TRY(fkmi_check_every(1 + (1 << 20) / dim, j));
        memset(sums->sum + j * dim, 0, (size_t)dim * sizeof(double));
        if (sums->ages)
            memset(sums->ages + j * dim, 0, (size_t)dim * sizeof(double));
    }
    return FKM_OK;
}

/* Prototypes whose sums are little beside the others' points or beside the rows; each time all labels are read. */
static int64_t some_of(const struct fkmi_cells *cells)
{
    int64_t some = cells->k / PIECES + 1;

    some = some < cells->n / ROWS_FOR_SUM ? cells->n / ROWS_FOR_SUM : some;
    some = some < LEAST_VALUES / cells->dim ? LEAST_VALUES / cells->dim : some;
    return some < cells->k ? some : cells->k;
}

static fkm_status take_pushers(struct fkmi_cells *cells, struct fkmi_arena *arena, const fkm_params *params)
{
    const int64_t at_once = cells->k * cells->dim / VALUES_OF_PUSHER;

    FKMI_TRY(fkmi_arena_take(arena, &cells->pushed, cells->n, sizeof *cells->pushed));
    if (params->repulsion == FKM_REPULSION_GLVQ)
        FKMI_TRY(fkmi_arena_take(arena, &cells->push_factor, cells->n, sizeof *cells->push_factor));
    return fkmi_pushers_take(&cells->pushers, arena, cells->n,
                             at_once > params->batch_size ? at_once : params->batch_size);
}

fkm_status fkmi_cells_take(struct fkmi_cells *cells, struct fkmi_arena *arena, struct fkm_context *context,
                           const fkm_params *params, const struct fkmi_state *state,
                           const struct fkmi_rows *rows, const struct fkmi_answers *answers, bool push,
                           enum fkmi_sums_held held)
{
    const bool masked = rows->mask != NULL, softly = params->assignment != FKM_ASSIGN_HARD;
    const bool lendable = !masked && !softly;
    const int64_t wide = softly && fkmi_rows_sparse(rows) ? context->kernels->vector[FKMI_REAL_F64].wide : 0;
    int64_t some, k;

    *cells = (struct fkmi_cells){.n = rows->n, .k = state->k, .dim = state->dim, .softly = softly};
    if (answers) {
        cells->index = (int32_t *)(void *)answers->nearest;
        cells->distance = answers->distance;
    } else {
        FKMI_TRY(fkmi_arena_take(arena, &cells->index, cells->n, sizeof(int32_t)));
        FKMI_TRY(fkmi_arena_take(arena, &cells->distance, cells->n, sizeof(double)));
    }
    cells->by_panel = held == FKMI_SUMS_SOME && wide > 0;
    cells->pull.wide = wide;
    k = wide > 0 ? (cells->k + wide - 1) / wide * wide : cells->k;
    some = lendable ? some_of(cells) : k;
    FKMI_TRY(take_sums(&cells->pull, arena, k,
                       cells->by_panel          ? wide
                       : held == FKMI_SUMS_SOME ? some
                                                : k,
                       cells->dim, masked, held == FKMI_SUMS_SOME && lendable));
    if (softly)
        return fkmi_soft_take(&cells->soft, arena, context, params, state, rows);
    if (!push)
        return FKM_OK;
    cells->pushes = true;
    FKMI_TRY(take_sums(&cells->push, arena, k, held == FKMI_SUMS_WHOLE ? k : some, cells->dim, masked,
                       held != FKMI_SUMS_WHOLE && lendable));
    return take_pushers(cells, arena, params);
}

/* Then the nearest of the row's own class is the nearest of all, and rows need not be grouped by class. */
static bool one_class_only(const struct fkmi_state *state, const int32_t *slot, int64_t n)
{
    for (int64_t i = 0; i < n && state->n_classes == 1; i++)
        if (slot[i] != 0)
            return false;
    return state->n_classes == 1;
}

static bool by_passes(const struct fkmi_cells *cells) { return cells->passes && !cells->softly; }

static fkm_status gather_own(struct fkmi_cells *cells, struct fkm_context *context,
                             const struct fkmi_state *state, const struct fkmi_pack *pack,
                             const struct fkmi_rows *rows, const int32_t *slot)
{
    const struct fkmi_backend *backend = context->backend;
    const enum fkmi_scan_kind own = one_class_only(state, slot, rows->n) ? FKMI_SCAN_NEAREST : FKMI_SCAN_OWN;
    const struct fkmi_scan scan = {.kind = own,
                                   .slot = slot,
                                   .class_begin = state->class_begin,
                                   .n_classes = state->n_classes,
                                   .index = cells->index,
                                   .distance = cells->distance};

    cells->measured = !by_passes(cells);
    if (by_passes(cells)) {
        const struct fkmi_pass pass = {.pack = pack,
                                       .kind = own,
                                       .slot = slot,
                                       .class_begin = state->class_begin,
                                       .n_classes = state->n_classes,
                                       .index = cells->index,
                                       .distance = cells->distance,
                                       .sum = cells->pull.sum,
                                       .mass = cells->pull.mass,
                                       .sum_distance = &cells->sum_distance};

        return backend->passes->run(context, cells->passes, rows, &pass);
    }
    return backend->scan(context, rows, pack, &scan);
}

static fkm_status find_pushes(struct fkmi_cells *cells, struct fkm_context *context, const fkm_params *params,
                              const struct fkmi_state *state, const struct fkmi_pack *pack,
                              const struct fkmi_rows *rows, const int32_t *slot)
{
    struct fkmi_pushers *pushers = &cells->pushers;

    FKMI_TRY(fkmi_cells_measure(cells, context, pack, rows));
    for (int64_t i = 0; i < rows->n; i++)
        cells->pushed[i] = -1;
    for (int64_t next = 0; next < rows->n;) {
        FKMI_TRY(fkmi_pushers_find(pushers, context, params, state, pack, rows, slot, cells->index,
                                   cells->distance, &next));
        for (int64_t m = 0; m < pushers->n; m++) {
            cells->pushed[pushers->row[m]] = pushers->index[m];
            if (cells->push_factor)
                cells->push_factor[pushers->row[m]] = pushers->factor[m];
        }
    }
    return FKM_OK;
}

static void weigh_rows(struct fkmi_cells *cells, const struct fkmi_rows *rows)
{
    int64_t present = 0;

    cells->weight = 0;
    for (int64_t i = 0; i < cells->n; i++) {
        const double u = cells->index[i] >= 0 ? fkmi_row_weight(rows, i) : 0;

        cells->weight += u;
        present += u > 0;
    }
    cells->row_weight = present > 0 ? cells->weight / (double)present : 0;
}

static void add_masses(struct fkmi_cells *cells, const struct fkmi_rows *rows)
{
    memset(cells->pull.mass, 0, (size_t)cells->k * sizeof(double));
    for (int64_t i = 0; i < cells->n; i++)
        if (cells->index[i] >= 0)
            cells->pull.mass[cells->index[i]] += fkmi_row_weight(rows, i);
}

fkm_status fkmi_cells_gather(struct fkmi_cells *cells, struct fkm_context *context, const fkm_params *params,
                             const struct fkmi_state *state, const struct fkmi_pack *pack,
                             const struct fkmi_rows *rows, const int32_t *slot)
{
    if (cells->softly)
        FKMI_TRY(clear_sums(&cells->pull, 0, cells->k, cells->dim));
    FKMI_TRY(gather_own(cells, context, state, pack, rows, slot));
    if (!by_passes(cells))
        fkmi_cells_total(cells, rows);
    else if (cells->row_weight == 0) /* they find the total; rows keep their weights */
        weigh_rows(cells, rows);
    if (cells->by_panel)
        return FKM_OK;
    if (cells->softly && cells->pull.wide > 0)
        return fkmi_soft_gather_columns(&cells->soft, cells, context, params, state, pack, rows, slot,
                                        fkmi_cells_scale(cells, state));
    if (cells->softly)
        return fkmi_soft_gather(&cells->soft, cells, context, params, state, pack, rows, slot,
                                fkmi_cells_scale(cells, state));
    if (!by_passes(cells))
        add_masses(cells, rows);
    return cells->pushes ? find_pushes(cells, context, params, state, pack, rows, slot) : FKM_OK;
}

static fkm_status add(struct fkmi_sums *sums, struct fkm_context *context, const struct fkmi_space *space,
                      const struct fkmi_rows *rows, const int32_t *index, const double *factor, int64_t first,
                      int64_t n)
{
    FKMI_TRY(clear_sums(sums, first, n, space->dim));
    return context->backend->accumulate(context, rows, space, index, factor, first, n, sums->sum,
                                        sums->mass + first, sums->ages);
}

fkm_status fkmi_cells_borrow(struct fkmi_cells *cells, struct fkm_context *context)
{
    struct fkmi_sums *const sums[] = {&cells->pull, &cells->push};
    const bool used[] = {true, cells->pushes};
    size_t bytes = 0;

    for (int s = 0; s < 2; s++)
        if (used[s] && sums[s]->lent)
            bytes += (size_t)(sums[s]->at_once * cells->dim) * sizeof(double);
    if (bytes == 0)
        return FKM_OK;
    FKMI_TRY(fkmi_scratch_take(context, bytes, &cells->borrowed));
    cells->push.sum = cells->pushes && cells->push.lent ? cells->borrowed : cells->push.sum;
    if (cells->pull.lent)
        cells->pull.sum = (double *)cells->borrowed + (cells->pushes ? cells->push.at_once * cells->dim : 0);
    return FKM_OK;
}

void fkmi_cells_give_back(struct fkmi_cells *cells, struct fkm_context *context)
{
    fkmi_scratch_give(context, cells->borrowed);
    cells->borrowed = NULL;
}

fkm_status fkmi_cells_add(struct fkmi_cells *cells, struct fkm_context *context,
                          const struct fkmi_space *space, const struct fkmi_rows *rows, int64_t first)
{
    const int64_t left = cells->k - first, at_once = fkmi_cells_at_once(cells);
    const int64_t n = left < at_once ? left : at_once;

    if (!by_passes(cells) && !cells->softly) /* those keep the sums from one to the next */
        FKMI_TRY(add(&cells->pull, context, space, rows, cells->index, NULL, first, n));
    if (cells->pushes)
        FKMI_TRY(add(&cells->push, context, space, rows, cells->pushed, cells->push_factor, first, n));
    return FKM_OK;
}

int64_t fkmi_cells_at_once(const struct fkmi_cells *cells)
{
    return cells->pushes ? cells->push.at_once : cells->pull.at_once;
}

fkm_status fkmi_cells_measure(struct fkmi_cells *cells, struct fkm_context *context,
                              const struct fkmi_pack *pack, const struct fkmi_rows *rows)
{
    if (cells->measured)
        return FKM_OK;
    FKMI_TRY(
        context->backend->passes->measure(context, cells->passes, pack, rows, cells->index, cells->distance));
    cells->measured = true;
    return FKM_OK;
}

double fkmi_cells_scale(const struct fkmi_cells *cells, const struct fkmi_state *state)
{
    const double mean = cells->weight > 0 ? cells->sum_distance / cells->weight : 0;

    return state->scale == 1 && mean > 0 && isfinite(mean) ? mean : state->scale;
}

void fkmi_cells_total(struct fkmi_cells *cells, const struct fkmi_rows *rows)
{
    weigh_rows(cells, rows);
    cells->sum_distance = 0;
    for (int64_t i = 0; i < cells->n; i++) {
        const double u = cells->index[i] >= 0 ? fkmi_row_weight(rows, i) : 0;

        if (u > 0)
            cells->sum_distance += u * cells->distance[i];
    }
}

void fkmi_cells_moved(const struct fkmi_cells *cells, struct fkmi_moved *moved)
{
    moved->weight = cells->weight;
    moved->sum_distance = cells->sum_distance;
    moved->mean_distance = cells->weight > 0 ? cells->sum_distance / cells->weight : 0;
}

/* ---- points */

fkm_status fkmi_state_pack(struct fkm_context *context, const fkm_params *params,
                           const struct fkmi_state *state, const struct fkmi_rows *rows,
                           struct fkmi_pack **pack)
{
    const struct fkmi_space space = fkmi_state_space(state, params->metric);

    return fkmi_state_pack_in(context, &space, state, rows->mask != NULL, pack);
}

fkm_status fkmi_state_pack_in(struct fkm_context *context, const struct fkmi_space *space,
                              const struct fkmi_state *state, bool masked, struct fkmi_pack **pack)
{
    if (masked && state->listed)
        return fkmi_fail(FKM_EUNSUPPORTED,
                         "prototypes learned from CSR rows are compared with rows that have a mask "
                         "once the fit is over, not while it lasts");
    if (state->listed)
        return context->backend->pack_lists(context, space, state->dtype, &state->lists, state->k, true,
                                            pack);
    return context->backend->pack(context, space, state->dtype, state->points, state->k, masked, pack);
}

void fkmi_point_load(const struct fkmi_state *state, const struct fkmi_kernels *kernels, int64_t j,
                     double *point)
{
    kernels->vector[FKMI_REAL_F64].load[state->dtype](point, fkmi_state_point(state, j), state->dim);
}

void fkmi_point_store(struct fkmi_state *state, const struct fkmi_kernels *kernels, int64_t j,
                      const double *point)
{
    kernels->vector[FKMI_REAL_F64].store[state->dtype](fkmi_state_point(state, j), point, state->dim);
}

double fkmi_point_shift(const double *a, const double *b, int64_t dim)
{
    double square = 0;

    for (int64_t d = 0; d < dim; d++)
        square += (a[d] - b[d]) * (a[d] - b[d]);
    return sqrt(square);
}
