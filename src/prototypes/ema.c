/* ema.c — one batch of a stream: each prototype moves towards the mean of its rows by the share they have in
 * its age.
 *
 * age += n; c += (n / age) (mean - c), per coordinate: a masked coordinate neither moves nor ages. All memory
 * is taken and all sums are made before the first prototype moves. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "prototypes/ema.h"
#include "prototypes/maintain.h"
#include "prototypes/repel.h"
#include "prototypes/revive.h"
#include "prototypes/round.h"

struct batch {
    struct fkm_context *context;
    const fkm_params *params;
    struct fkmi_state *state;
    struct fkmi_space space;
    struct fkmi_cells cells;
    struct fkmi_cell_targets targets;
    struct fkmi_split split;
    struct fkmi_upkeep upkeep;
    bool has_targets;
    uint64_t noise_key;
    double *scratch; /* threads x 2 dim */
    double *shift;   /* k */
};

static fkm_status take_memory(struct batch *b, struct fkmi_arena *arena, const struct fkmi_rows *rows)
{
    const int64_t n_threads = fkmi_pool_threads(b->context->pool);

    fkmi_arena_reset(arena);
    FKMI_TRY(fkmi_cells_take(&b->cells, arena, b->context, b->params, b->state, rows, NULL,
                             fkmi_repels(b->params, b->state), FKMI_SUMS_WHOLE));
    if (b->has_targets)
        FKMI_TRY(fkmi_cell_targets_take(&b->targets, arena, b->state));
    FKMI_TRY(fkmi_split_take(&b->split, arena, b->state));
    FKMI_TRY(fkmi_upkeep_take(&b->upkeep, arena, b->params, b->state));
    FKMI_TRY(fkmi_arena_take(arena, &b->scratch, n_threads * 2 * b->state->dim, sizeof(double)));
    return fkmi_arena_take(arena, &b->shift, b->state->k, sizeof(double));
}

/* Ages and moves towards the mean: c + (sum - n c) / W. True when a coordinate moved. */
static bool pull(const struct batch *b, int64_t j, double *point)
{
    struct fkmi_state *state = b->state;
    const struct fkmi_sums *sums = &b->cells.pull;
    const int64_t dim = state->dim;
    bool moved = false;

    for (int64_t d = 0; d < dim; d++) {
        const double n = fkmi_sums_age(sums, dim, j, d);
        double age;
        if (state->ages)
            age = state->ages[j * dim + d] = b->params->decay * state->ages[j * dim + d] + n;
        else
            age = b->params->decay * state->mass[j] + n;
        if (n > 0) {
            point[d] += (fkmi_sums_at(sums, dim, j, d) - n * point[d]) / age;
            moved = true;
        }
    }
    state->mass[j] = b->params->decay * state->mass[j] + sums->mass[j];
    return moved;
}

void fkmi_ema_targets(struct fkmi_state *state, const struct fkmi_cells *cells,
                      const struct fkmi_cell_targets *targets, int64_t j)
{
    const int64_t m = state->n_targets;
    const double n = cells->pull.mass[j], age = state->mass[j];

    for (int64_t t = 0; t < m && targets->total[j] > 0; t++)
        state->targets[j * m + t] += n / age * (targets->mean[j * m + t] - state->targets[j * m + t]);
}

static fkm_status move_prototypes(void *job, int64_t begin, int64_t end, int thread)
{
    struct batch *b = job;
    struct fkmi_state *state = b->state;
    double *point = b->scratch + thread * 2 * state->dim, *before = point + state->dim;

    for (int64_t j = begin; j < end; j++) {
        const bool pushed = b->cells.pushes && b->cells.push.mass[j] > 0;
        bool moved;

        b->shift[j] = 0;
        if (!pushed && !(b->cells.pull.mass[j] > 0) && b->params->decay == 1)
            continue; /* of very many classes few are in a batch */
        fkmi_point_load(state, b->context->kernels, j, point);
        memcpy(before, point, (size_t)state->dim * sizeof *point);
        moved = pull(b, j, point);
        if (state->frozen[j])
            continue; /* its rows count, but it stays */
        if (b->has_targets)
            fkmi_ema_targets(state, &b->cells, &b->targets, j);
        if (pushed)
            fkmi_push_point(b->params, &b->cells.push, state->dim, j, state->mass[j], point);
        if (!moved && !pushed)
            continue;
        if (b->params->normalize_prototypes && !fkmi_point_normalise(&b->space, point))
            continue; /* its rows cancel out: no direction to go to */
        fkmi_round_randomly(state->dtype, b->noise_key, j, point, state->dim);
        fkmi_point_store(state, b->context->kernels, j, point);
        b->shift[j] = fkmi_point_shift(point, before, state->dim);
    }
    return FKM_OK;
}

void fkmi_ema_scale(struct fkmi_state *state, const struct fkmi_cells *cells, double mass_before)
{
    const double mean = cells->weight > 0 ? cells->sum_distance / cells->weight : 0;
    double scale = state->scale;

    if (!(cells->weight > 0))
        return;
    if (scale == 1)
        scale = mean; /* unknown until now */
    else
        scale += cells->weight / (mass_before + cells->weight) * (mean - scale);
    if (scale > 0 && isfinite(scale))
        state->scale = scale;
}

fkm_status fkmi_ema_batch(struct fkm_context *context, const fkm_params *params, struct fkmi_state *state,
                          struct fkmi_phase1 *work, const struct fkmi_rows *rows, const int32_t *slot,
                          const double *values, struct fkmi_random random, struct fkmi_moved *moved)
{
    struct batch b = {.context = context,
                      .params = params,
                      .state = state,
                      .space = fkmi_state_space(state, params->metric),
                      .has_targets = values && state->targets,
                      .noise_key = fkmi_random_u64(&random)};
    double mass_before = 0;

    if (state->listed)
        return fkmi_ema_lists(context, params, state, work, rows, slot, values, b.noise_key, moved);
    work->old_of_new = NULL;
    FKMI_TRY(take_memory(&b, &work->arena, rows));
    FKMI_TRY(fkmi_state_pack(context, params, state, rows, &work->pack));
    FKMI_TRY(fkmi_cells_gather(&b.cells, context, params, state, work->pack, rows, slot));
    FKMI_TRY(fkmi_cells_add(&b.cells, context, &b.space, rows, 0));
    if (b.has_targets)
        fkmi_cell_targets_gather(&b.targets, params, state, &b.cells, rows, values,
                                 fkmi_cells_scale(&b.cells, state));
    if (rows->mask)
        FKMI_TRY(fkmi_state_need_ages(state));

    for (int64_t j = 0; j < state->k; j++)
        mass_before += params->decay * state->mass[j];
    FKMI_TRY(fkmi_parallel_whole(context->pool, state->k, 16, move_prototypes, &b));
    fkmi_ema_scale(state, &b.cells, mass_before);
    *moved = (struct fkmi_moved){0};
    fkmi_cells_moved(&b.cells, moved);
    for (int64_t j = 0; j < state->k; j++)
        moved->shift = fmax(moved->shift, b.shift[j]);
    fkmi_split_dead(&b.split, context, params, state, &b.cells, rows);
    FKMI_TRY(fkmi_upkeep_run(&b.upkeep, context, params, state, params->min_weight, &moved->merged));
    if (moved->merged > 0)
        work->old_of_new = b.upkeep.old_of_new;
    return FKM_OK;
}
