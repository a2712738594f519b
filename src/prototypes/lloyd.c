/* lloyd.c — full passes: every prototype moves to the mean of its rows, until none moves far.
 *
 * A pass holds an index and a distance for each row, and the sums of some cells, or of all where passes keep them;
 * never rows x prototypes. What a pass does besides its means stands in files of its own: repel.c, revive.c, swap.c,
 * glvq.c, maintain.c.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "base/interrupt.h"
#include "prototypes/cells.h"
#include "prototypes/glvq.h"
#include "prototypes/lists.h"
#include "prototypes/maintain.h"
#include "prototypes/repel.h"
#include "prototypes/revive.h"
#include "prototypes/swap.h"
#include "prototypes/targets.h"

#define A_MOMENT ((int64_t)1 << 27) /* so many values are added up in one */

struct lloyd {
    struct fkm_context *context;
    const fkm_params *params;
    struct fkmi_state *state;
    struct fkmi_space space;
    struct fkmi_phase1 *work;
    const struct fkmi_rows *rows;
    const int32_t *slot;
    struct fkmi_cells cells;
    bool pushes; /* in the last pass */
    /* Where passes may be interrupted: what the last whole one left, to come back to. */
    void *kept_points;     /* k x dim, or NULL: nothing moves before a pass is sure to be whole */
    int32_t *kept_index;   /* n, or NULL: nobody asks for cells after the passes */
    double *kept_distance; /* n, or NULL */
    double *scratch;       /* threads x 2 dim */
    double *shift;         /* k */
    int64_t first;         /* of the prototypes that move */
};

static fkm_status take_memory(struct lloyd *l, struct fkmi_passes *passes, bool keep, bool needs_cells)
{
    struct fkmi_arena *arena = &l->work->arena;
    const int64_t k = l->state->k, dim = l->state->dim;
    const bool push = fkmi_repels(l->params, l->state) && l->params->repulsion == FKM_REPULSION_WINDOW &&
                      l->params->assignment == FKM_ASSIGN_HARD; /* soft assignment has its own penalty */
    const bool kept = passes || fkmi_swaps_possible(l->params, l->state, l->rows);

    fkmi_arena_reset(arena);
    l->work->old_of_new = NULL;
    FKMI_TRY(fkmi_cells_take(&l->cells, arena, l->context, l->params, l->state, l->rows, l->work->answers,
                             push, kept ? FKMI_SUMS_KEPT : FKMI_SUMS_SOME));
    l->cells.passes = passes;
    if (keep && (l->cells.by_panel || (fkmi_cells_at_once(&l->cells) < k && l->rows->n * dim > A_MOMENT)))
        FKMI_TRY(fkmi_arena_take(arena, &l->kept_points, k * dim, fkmi_dtype_size(l->state->dtype)));
    if (keep && needs_cells) {
        FKMI_TRY(fkmi_arena_take(arena, &l->kept_index, l->rows->n, sizeof *l->kept_index));
        FKMI_TRY(fkmi_arena_take(arena, &l->kept_distance, l->rows->n, sizeof *l->kept_distance));
    }
    l->pushes = l->cells.pushes;
    l->cells.pushes = false;
    FKMI_TRY(
        fkmi_arena_take(arena, &l->scratch, fkmi_pool_threads(l->context->pool) * 2 * dim, sizeof(double)));
    return fkmi_arena_take(arena, &l->shift, k, sizeof(double));
}

/* A coordinate without mass stays. False when no coordinate has any. */
static bool mean_of_cell(const struct lloyd *l, int64_t j, double *point)
{
    const struct fkmi_sums *pull = &l->cells.pull;
    const int64_t dim = l->state->dim;
    bool any = false;

    for (int64_t d = 0; d < dim; d++) {
        const double age = fkmi_sums_age(pull, dim, j, d);
        if (age > 0) {
            point[d] = fkmi_sums_at(pull, dim, j, d) / age;
            any = true;
        }
    }
    return any && fkmi_point_normalise(&l->space, point);
}

/* Prototypes l->first + begin .. end. The shift of a pass that pushes is that of the means. */
static fkm_status move_to_means(void *job, int64_t begin, int64_t end, int thread)
{
    struct lloyd *l = job;
    const int64_t dim = l->state->dim;
    const struct fkmi_kernels *kernels = l->context->kernels;
    double *point = l->scratch + thread * 2 * dim, *before = point + dim;

    for (int64_t j = l->first + begin; j < l->first + end; j++) {
        l->shift[j] = 0;
        if (l->state->frozen[j])
            continue;
        fkmi_point_load(l->state, kernels, j, before);
        memcpy(point, before, (size_t)dim * sizeof *point);
        if (!mean_of_cell(l, j, point))
            continue;
        if (l->cells.pushes) {
            l->shift[j] = fkmi_point_shift(point, before, dim);
            fkmi_push_point(l->params, &l->cells.push, dim, j, l->cells.pull.mass[j], point);
            (void)fkmi_point_normalise(&l->space, point);
        }
        fkmi_point_store(l->state, kernels, j, point);
        if (!l->cells.pushes) { /* as stored, so that half precision comes to rest */
            fkmi_point_load(l->state, kernels, j, point);
            l->shift[j] = fkmi_point_shift(point, before, dim);
        }
    }
    return FKM_OK;
}

static void exchange_cells(struct lloyd *l)
{
    int32_t *index = l->cells.index;
    double *distance = l->cells.distance;

    if (!l->kept_index)
        return;
    l->cells.index = l->kept_index;
    l->cells.distance = l->kept_distance;
    l->kept_index = index;
    l->kept_distance = distance;
}

static void keep_points(const struct lloyd *l)
{
    const struct fkmi_state *state = l->state;

    if (l->kept_points)
        memcpy(l->kept_points, state->points,
               (size_t)(state->k * state->dim) * fkmi_dtype_size(state->dtype));
}

static void put_points_back(const struct lloyd *l, struct fkmi_swaps *swaps)
{
    struct fkmi_state *state = l->state;

    if (l->kept_points)
        memcpy(state->points, l->kept_points,
               (size_t)(state->k * state->dim) * fkmi_dtype_size(state->dtype));
    fkmi_swaps_undo(swaps);
}

/* What a whole pass leaves: masses and ages as it found them, its points. */
static fkm_status keep_pass(const struct lloyd *l)
{
    struct fkmi_state *state = l->state;

    keep_points(l);
    if (l->rows->mask)
        FKMI_TRY(fkmi_state_need_ages(state));
    memcpy(state->mass, l->cells.pull.mass, (size_t)state->k * sizeof(double));
    for (int64_t j = 0; j < state->k && state->ages; j++)
        for (int64_t d = 0; d < state->dim; d++)
            state->ages[j * state->dim + d] = fkmi_sums_age(&l->cells.pull, state->dim, j, d);
    return FKM_OK;
}

static bool sums_are_whole(const struct lloyd *l) { return fkmi_cells_at_once(&l->cells) >= l->state->k; }

static fkm_status add(struct lloyd *l, int64_t first)
{
    return fkmi_cells_add(&l->cells, l->context, &l->space, l->rows, first);
}

/* As many prototypes at a time as there are sums of. Not to be interrupted, unless there are points to come back to. */
static fkm_status move(struct lloyd *l)
{
    const int64_t k = l->state->k, at_once = fkmi_cells_at_once(&l->cells);
    const bool whole = l->kept_points == NULL;
    fkm_status status = FKM_OK;

    if (whole)
        fkmi_hold_interrupts();
    for (l->first = 0; l->first < k; l->first += at_once) {
        const int64_t left = k - l->first;

        if (!sums_are_whole(l))
            FKMI_TRY_GOTO(add(l, l->first));
        FKMI_TRY_GOTO(
            fkmi_parallel_whole(l->context->pool, left < at_once ? left : at_once, 16, move_to_means, l));
    }
done:
    if (whole)
        fkmi_release_interrupts();
    return status;
}

static fkm_status revive(struct lloyd *l, double *shift)
{
    fkm_status status;

    if (l->kept_index) /* labels of the pass before would be measured against the points of this one */
        fkmi_hold_interrupts();
    status = fkmi_revive(l->context, l->params, l->state, &l->cells, l->work->pack, l->rows, l->slot, shift);
    if (l->kept_index)
        fkmi_release_interrupts();
    return status;
}

/* All that may be interrupted comes before the first prototype moves. In the last pass none is revived: what moves then
 * would end without rows. */
static fkm_status add_and_move(struct lloyd *l, bool last, double *shift)
{
    if (sums_are_whole(l))
        FKMI_TRY(add(l, 0));
    if (!last)
        FKMI_TRY(revive(l, shift));
    return move(l);
}

static fkm_status pass(struct lloyd *l, bool last, struct fkmi_moved *moved)
{
    struct fkmi_cells *cells = &l->cells;
    fkm_status status;

    *moved = (struct fkmi_moved){0};
    FKMI_TRY(fkmi_state_pack(l->context, l->params, l->state, l->rows, &l->work->pack));
    FKMI_TRY(fkmi_cells_gather(cells, l->context, l->params, l->state, l->work->pack, l->rows, l->slot));
    if (cells->by_panel) {
        FKMI_TRY(fkmi_soft_move_columns(&cells->soft, cells, l->context, l->params, l->state, l->work->pack,
                                        l->rows, l->slot, fkmi_cells_scale(cells, l->state), l->scratch,
                                        l->shift));
        status = last ? FKM_OK : revive(l, &moved->shift);
    } else {
        FKMI_TRY(fkmi_cells_borrow(cells, l->context));
        status = add_and_move(l, last, &moved->shift);
        fkmi_cells_give_back(cells, l->context);
    }
    FKMI_TRY(status);
    fkmi_cells_moved(cells, moved);
    for (int64_t j = 0; j < l->state->k; j++)
        moved->shift = fmax(moved->shift, l->shift[j]);
    return FKM_OK;
}

/* Passes until the shift is below tol and swaps have nothing left to try; *stopped: the status of after_pass
 * that ended them, or FKM_EINTERRUPTED when the user did and at least one was whole.
 *
 * Where there is pushing, one more pass pushes, or the last one: the means would undo an earlier push, and to look for
 * the nearest other class costs many times the pass. Fit alone, 5 seeds, without a push, with one pass that pushes, with
 * three: letter, k = 10, 81.0, 81.2, 81.3 %; k = 3, 63.6, 64.1, 64.1 %; of text and digits one and three are equal. */
static fkm_status run_passes(struct lloyd *l, int64_t max_iters, double tol, fkmi_pass_fn *after_pass,
                             void *user, int64_t *n_passes, fkm_status *stopped)
{
    fkm_status status = FKM_OK;
    struct fkmi_swaps *swaps = NULL;
    bool settled = false;

    keep_points(l);
    if (fkmi_swaps_possible(l->params, l->state, l->rows))
        FKMI_TRY_GOTO(
            fkmi_swaps_create(l->context, l->params, l->state, l->rows, &l->work->pack, max_iters, &swaps));
    while (*n_passes < max_iters) {
        struct fkmi_moved moved;
        const bool last = *n_passes + 1 == max_iters, pushing = l->pushes && (settled || last);
        bool over = swaps == NULL;

        l->cells.pushes = pushing;
        exchange_cells(l);
        if (l->kept_index) { /* passes begin from the last one's labels and bounds */
            memcpy(l->cells.index, l->kept_index, (size_t)l->cells.n * sizeof *l->kept_index);
            memcpy(l->cells.distance, l->kept_distance, (size_t)l->cells.n * sizeof *l->kept_distance);
        }
        status = pass(l, last || pushing, &moved);
        if (status == FKM_EINTERRUPTED) {
            exchange_cells(l);
            put_points_back(l, swaps);
        }
        if (status == FKM_EINTERRUPTED && *n_passes > 0) {
            *stopped = status;
            status = FKM_OK;
            break;
        }
        FKMI_TRY_GOTO(status);
        ++*n_passes;
        FKMI_TRY_GOTO(keep_pass(l));
        if (l->cells.weight > 0)
            l->state->scale = moved.mean_distance > 0 ? moved.mean_distance : 1;
        if (after_pass)
            *stopped = after_pass(user, *n_passes, &moved);
        settled = moved.shift < tol || moved.shift == 0;
        if (swaps && *stopped != FKM_OK)
            fkmi_swaps_stop(swaps, &l->cells);
        else if (swaps && *n_passes < max_iters) {
            *stopped = fkmi_swaps_after_pass(swaps, &l->cells, settled, max_iters - *n_passes, &over);
            if (*stopped == FKM_EINTERRUPTED)
                fkmi_swaps_undo(swaps);
        }
        if (*stopped != FKM_OK || pushing || (settled && over && !l->pushes))
            break;
    }
done:
    fkmi_swaps_free(swaps);
    return status;
}

/* Targets as the last whole pass found them. */
static fkm_status settle(struct lloyd *l, const double *values)
{
    struct fkmi_state *state = l->state;
    const int64_t k = state->k, m = state->n_targets;
    struct fkmi_cell_targets targets;

    if (!values || !state->targets)
        return FKM_OK;
    FKMI_TRY(fkmi_cells_measure(&l->cells, l->context, l->work->pack, l->rows));
    FKMI_TRY(fkmi_cell_targets_take(&targets, &l->work->arena, state));
    fkmi_cell_targets_gather(&targets, l->params, state, &l->cells, l->rows, values, state->scale);
    for (int64_t j = 0; j < k; j++)
        if (targets.total[j] > 0 && !state->frozen[j])
            memcpy(state->targets + j * m, targets.mean + j * m, (size_t)m * sizeof(double));
    return FKM_OK;
}

/* min_weight counts in mean rows here, so that weights of any unit give the same model. */
static fkm_status upkeep(struct lloyd *l, bool merge)
{
    fkm_params params = *l->params;
    struct fkmi_upkeep room;
    int64_t removed;

    if (!merge)
        params.merge_threshold = -1;
    FKMI_TRY(fkmi_upkeep_take(&room, &l->work->arena, &params, l->state));
    return fkmi_upkeep_run(&room, l->context, &params, l->state, params.min_weight * l->cells.row_weight,
                           &removed);
}

/* One more pass, for labels; the answers' memory holds the cells already. */
static fkm_status find_answers(struct lloyd *l)
{
    struct fkmi_answers *answers = l->work->answers;

    if (!answers || !l->cells.passes || l->state->n_classes != 1 || l->state->k != l->cells.k)
        return FKM_OK;
    l->cells.pushes = false;
    FKMI_TRY(fkmi_state_pack(l->context, l->params, l->state, l->rows, &l->work->pack));
    FKMI_TRY(fkmi_cells_gather(&l->cells, l->context, l->params, l->state, l->work->pack, l->rows, l->slot));
    FKMI_TRY(fkmi_cells_measure(&l->cells, l->context, l->work->pack, l->rows));
    answers->found = true;
    if (l->cells.distance != answers->distance) /* passes that keep what was have exchanged the two */
        memcpy(answers->distance, l->cells.distance, (size_t)l->cells.n * sizeof *answers->distance);
    for (int64_t i = l->cells.n; i-- > 0;) { /* from behind, as index lies where nearest does */
        answers->nearest[i] = l->cells.index[i];
        answers->found &= answers->nearest[i] >= 0;
    }
    return FKM_OK;
}

fkm_status fkmi_lloyd(struct fkm_context *context, const fkm_params *params, struct fkmi_state *state,
                      struct fkmi_phase1 *work, const struct fkmi_rows *rows, const int32_t *slot,
                      const double *values, int64_t max_iters, double tol, struct fkmi_random random,
                      fkmi_pass_fn *after_pass, void *user, int64_t *n_passes)
{
    const int64_t interrupts = fkmi_interrupts();
    const bool uninterruptible = !fkmi_interruptible(); /* and so it stays: nothing is kept to come back to */
    int32_t *room = work->answers ? (int32_t *)(void *)work->answers->nearest + rows->n : NULL;
    struct fkmi_passes *passes = NULL;
    fkm_status status = FKM_OK, stopped = FKM_OK;
    struct lloyd l = {.context = context,
                      .params = params,
                      .state = state,
                      .work = work,
                      .rows = rows,
                      .slot = slot,
                      .space = fkmi_state_space(state, params->metric)};

    if (state->listed)
        return fkmi_lloyd_lists(context, params, state, work, rows, slot, values, max_iters, tol, after_pass,
                                user, n_passes);
    *n_passes = 0;
    if (uninterruptible)
        fkmi_hold_interrupts();
    if (params->assignment == FKM_ASSIGN_HARD && max_iters > 1)
        FKMI_TRY_GOTO(context->backend->passes->create(context, &l.space, rows, state->dtype, state->k,
                                                       FKMI_BYTES_IF_WORTH, room, &passes));
    FKMI_TRY_GOTO(take_memory(&l, passes, !uninterruptible, values && state->targets));
    FKMI_TRY_GOTO(run_passes(&l, max_iters, tol, after_pass, user, n_passes, &stopped));
    if (stopped != FKM_OK && stopped != FKM_EINTERRUPTED)
        FKMI_TRY_GOTO(stopped);
    FKMI_TRY_GOTO(settle(&l, values));
    if (stopped == FKM_OK && fkmi_repels(params, state) && params->repulsion == FKM_REPULSION_GLVQ)
        stopped = fkmi_glvq(context, params, state, rows, slot, random);
    if (stopped != FKM_OK && stopped != FKM_EINTERRUPTED)
        FKMI_TRY_GOTO(stopped);
    FKMI_TRY_GOTO(upkeep(&l, fkmi_interrupts() == interrupts));
    status = stopped == FKM_OK ? find_answers(&l) : stopped;
done:
    if (uninterruptible)
        fkmi_release_interrupts();
    context->backend->passes->free(passes);
    fkmi_phase1_free(work, context->backend); /* a model keeps no memory of the size of its rows */
    return status;
}

void fkmi_phase1_free(struct fkmi_phase1 *work, const struct fkmi_backend *backend)
{
    if (work->pack)
        backend->pack_free(work->pack);
    fkmi_arena_free(&work->arena);
    fkmi_free(work->spare.index);
    fkmi_free(work->spare.value);
    *work = (struct fkmi_phase1){0};
}
