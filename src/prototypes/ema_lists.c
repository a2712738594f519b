/* ema_lists.c — one batch of a stream whose prototypes are lists: the moves of ema.c, with the same bits, at the cost of
 * the rows' entries and of the lists that they meet.
 *
 * A prototype with rows gets a new list, of the columns of the old one and of its rows; the others' are copied. Everything
 * that can fail comes before the first prototype moves.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "prototypes/ema.h"
#include "prototypes/lists.h"
#include "prototypes/lists_cells.h"
#include "prototypes/maintain.h"
#include "prototypes/revive.h"
#include "prototypes/round.h"

struct batch {
    struct fkmi_list_cells c;
    struct fkmi_cell_targets targets;
    struct fkmi_split split;
    struct fkmi_upkeep upkeep;
    double *mass;   /* k: after this batch */
    double *left;   /* k: the same, when splits are done with */
    int32_t *donor; /* k: which one is split for it, -1: none */
    uint64_t noise_key;
};

static fkm_status take_memory(struct batch *b, bool has_targets)
{
    struct fkmi_arena *arena = &b->c.work->arena;
    const int64_t k = b->c.state->k;

    FKMI_TRY(fkmi_list_cells_take(&b->c, b->c.pushes));
    if (has_targets)
        FKMI_TRY(fkmi_cell_targets_take(&b->targets, arena, b->c.state));
    FKMI_TRY(fkmi_split_take(&b->split, arena, b->c.state));
    FKMI_TRY(fkmi_upkeep_take(&b->upkeep, arena, b->c.params, b->c.state));
    FKMI_TRY(fkmi_arena_take(arena, &b->mass, k, sizeof *b->mass));
    FKMI_TRY(fkmi_arena_take(arena, &b->left, k, sizeof *b->left));
    return fkmi_arena_take(arena, &b->donor, k, sizeof *b->donor);
}

/* Which prototypes will split others, in the order in which they do. */
static void choose_splits(struct batch *b)
{
    const struct fkmi_state *state = b->c.state;

    memcpy(b->left, b->mass, (size_t)state->k * sizeof *b->left);
    for (int64_t c = 0; c < state->n_classes; c++)
        for (int64_t j = state->class_begin[c]; j < state->class_begin[c + 1]; j++) {
            const int64_t donor =
                fkmi_split_donor(&b->split, b->c.params, state, &b->c.cells, b->c.rows, b->left, c, j);

            b->donor[j] = -1;
            if (donor < 0)
                continue;
            const double scale = fkmi_row_scale(b->c.rows, &b->c.space, b->split.farthest[donor]);

            if (scale > 0 && isfinite((float)scale)) {
                b->c.moved_to[j] = b->split.farthest[donor];
                b->donor[j] = (int32_t)donor;
                b->left[donor] = b->left[j] = b->left[donor] / 2;
            }
            b->split.within[donor] = 0; /* the next one splits another */
        }
}

/* Towards the mean: c + (sum - n c) / W; then away from what pushes. Columns in `index`; -1 when no direction is left. */
static int64_t moved_list(const struct batch *b, int64_t j, int thread, int32_t *index, double *values)
{
    const struct fkmi_list_cells *c = &b->c;
    const struct fkmi_lists *old = &c->state->lists;
    const int64_t dim = c->state->dim, end = old->begin[j + 1];
    const double weight = c->pull.mass[j];
    const bool pushed = c->pushes && c->push.mass[j] > 0;
    double *sum = c->sum + thread * dim, *push_sum = c->push_sum + (c->push_sum ? thread * dim : 0);
    uint64_t *met = c->met + thread * fkmi_words_of(dim);
    int64_t at = old->begin[j], n;

    for (int64_t e = at; e < end; e++)
        met[old->index[e] >> 6] |= UINT64_C(1) << (old->index[e] & 63);
    n = fkmi_list_cells_add(c, j, thread, index);
    for (int64_t e = 0; e < n; e++) {
        const bool held = at < end && old->index[at] == index[e];

        values[e] = held ? fkmi_dtype_get(old->value, c->state->dtype, at) : 0.0;
        at += held;
        if (weight > 0)
            values[e] += (sum[index[e]] - weight * values[e]) / b->mass[j];
        sum[index[e]] = 0;
    }
    if (pushed)
        fkmi_list_cells_push(c, j, b->mass[j], index, n, push_sum, values);
    for (int64_t e = 0; pushed && e < n; e++)
        push_sum[index[e]] = 0;
    if (c->params->normalize_prototypes && !fkmi_list_normalise(&c->space, index, n, values))
        return -1;
    fkmi_round_list_randomly(c->state->dtype, b->noise_key, j, index, values, n);
    return n;
}

static fkm_status make_lists(void *job, int64_t begin, int64_t end, int thread)
{
    struct batch *b = job;
    struct fkmi_list_cells *c = &b->c;
    double *values = c->values + thread * c->state->dim;

    for (int64_t j = begin; j < end; j++) {
        const bool met = c->pull.mass[j] > 0 || (c->pushes && c->push.mass[j] > 0);
        int32_t *index = c->work->spare.index + c->place[j];
        int64_t n = -1;
        double shift;

        if (met && !c->state->frozen[j])
            n = moved_list(b, j, thread, index, values);
        if (n < 0)
            fkmi_list_cells_keep(c, j);
        else
            fkmi_list_cells_store(c, j, n, values);
        if (c->moved_to[j] < 0)
            continue;
        shift = c->shift[j];
        n = fkmi_list_cells_row(c, c->moved_to[j], index, values);
        fkmi_list_cells_store(c, j, n, values);
        c->shift[j] = shift; /* the jump is none */
    }
    return FKM_OK;
}

/* What stands beside the lists. */
static void move_others(struct batch *b, bool has_targets, double mass_before)
{
    struct fkmi_state *state = b->c.state;

    memcpy(state->mass, b->mass, (size_t)state->k * sizeof *state->mass);
    for (int64_t j = 0; has_targets && j < state->k; j++)
        if (!state->frozen[j])
            fkmi_ema_targets(state, &b->c.cells, &b->targets, j);
    fkmi_ema_scale(state, &b->c.cells, mass_before);
    for (int64_t j = 0; j < state->k; j++)
        if (b->donor[j] >= 0)
            fkmi_split_halve(state, b->donor[j], j);
}

fkm_status fkmi_ema_lists(struct fkm_context *context, const fkm_params *params, struct fkmi_state *state,
                          struct fkmi_phase1 *work, const struct fkmi_rows *rows, const int32_t *slot,
                          const double *values, uint64_t noise_key, struct fkmi_moved *moved)
{
    const bool has_targets = values && state->targets;
    struct batch b = {.c = {.context = context,
                            .params = params,
                            .state = state,
                            .space = fkmi_state_space(state, params->metric),
                            .work = work,
                            .rows = rows,
                            .slot = slot,
                            .pushes = fkmi_repels(params, state)},
                      .noise_key = noise_key};
    double mass_before = 0;

    FKMI_TRY(take_memory(&b, has_targets));
    FKMI_TRY(fkmi_list_cells_assign(&b.c));
    if (has_targets)
        fkmi_cell_targets_gather(&b.targets, params, state, &b.c.cells, rows, values,
                                 fkmi_cells_scale(&b.c.cells, state));
    for (int64_t j = 0; j < state->k; j++) {
        mass_before += params->decay * state->mass[j];
        b.mass[j] = params->decay * state->mass[j] + b.c.pull.mass[j];
    }
    choose_splits(&b);
    FKMI_TRY(fkmi_list_cells_places(&b.c, true));
    FKMI_TRY(fkmi_parallel(context->pool, state->k, 16, make_lists, &b));

    fkmi_list_cells_exchange(&b.c);
    move_others(&b, has_targets, mass_before);
    *moved = (struct fkmi_moved){0};
    fkmi_cells_moved(&b.c.cells, moved);
    for (int64_t j = 0; j < state->k; j++)
        moved->shift = fmax(moved->shift, b.c.shift[j]);
    FKMI_TRY(fkmi_upkeep_run(&b.upkeep, context, params, state, params->min_weight, &moved->merged));
    if (moved->merged > 0)
        work->old_of_new = b.upkeep.old_of_new;
    return FKM_OK;
}
