/* forward.c — the candidates of each row of a chunk and the derivative of the loss by their distances.
 *
 * One scan finds the nearest prototypes; only rows whose own class is not among them need a second one.
 * SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <math.h>

#include "train/columns_step.h"
#include "train/loss.h"

enum {
    TOP_K_AT_LEAST = 8,        /* measured: fewer wrong prototypes in the sum teach less */
    CANDIDATES_PER_BLOCK = 512 /* of rows given to a thread at a time */
};

struct scratch {
    double *slope_theta, *slope_bias, *log_share;
    int32_t *owner;
};

/* ---- what a row takes part in */

fkm_status fkmi_forward_decide(struct fkmi_step *step)
{
    const fkm_params *params = step->params;
    int64_t top_k = params->top_k_train;

    step->own = false;
    switch (params->task) {
    case FKM_TASK_CLUSTER:
        step->scan = FKMI_SCAN_NEAREST;
        step->width = 1;
        return FKM_OK;
    case FKM_TASK_MULTILABEL:
        step->scan = FKMI_SCAN_CLASSES;
        step->width = step->active.n_classes;
        return FKM_OK;
    case FKM_TASK_CLASSIFY:
        if (top_k == 0)
            top_k = params->top_k < 0 || params->top_k > TOP_K_AT_LEAST ? params->top_k : TOP_K_AT_LEAST;
        step->own = true;
        break;
    case FKM_TASK_REGRESS:
        if (top_k == 0)
            top_k = params->top_k;
        break;
    }
    if (params->soft != FKM_SOFT_SCALED && params->soft != FKM_SOFT_SOFTMAX_SCALED)
        return fkmi_fail(FKM_ESTATE,
                         "soft_type '%s' has no gradient; choose 'scaled' or 'softmax_scaled' for phase 2",
                         params->soft == FKM_SOFT_HARD ? "hard" : "mean");
    if (top_k < 0 || top_k >= step->active.k) {
        step->scan = FKMI_SCAN_ALL;
        step->width = step->active.k;
        step->own = false;
    } else {
        step->scan = FKMI_SCAN_TOP_K;
        step->top_k = top_k;
        step->width = top_k + step->own;
    }
    return FKM_OK;
}

fkm_status fkmi_forward_plan(struct fkmi_step *step)
{
    struct fkmi_arena *arena = &step->work->arena;
    struct fkmi_chunk *chunk = &step->chunk;
    struct fkmi_scans *scans = &step->scans;
    const fkm_task task = step->params->task;
    const int64_t n = step->chunk_rows, positions = n * step->width;
    const int n_threads = fkmi_pool_threads(step->context->pool);

    FKMI_TRY(fkmi_arena_take(arena, &chunk->count, n, sizeof *chunk->count));
    FKMI_TRY(fkmi_arena_take(arena, &chunk->distance, positions, sizeof *chunk->distance));
    FKMI_TRY(fkmi_arena_take(arena, &chunk->slope, positions, sizeof *chunk->slope));
    FKMI_TRY(fkmi_arena_take(arena, &chunk->loss, n, sizeof *chunk->loss));
    if (step->scan != FKMI_SCAN_ALL) {
        FKMI_TRY(fkmi_arena_take(arena, &chunk->index, positions, sizeof *chunk->index));
    } else {
        FKMI_TRY(fkmi_arena_take(arena, &scans->identity, step->width, sizeof *scans->identity));
        for (int64_t j = 0; j < step->width; j++)
            scans->identity[j] = (int32_t)j;
    }
    if (step->learns_theta)
        FKMI_TRY(fkmi_arena_take(arena, &chunk->slope_theta, step->per_prototype ? positions : n,
                                 sizeof *chunk->slope_theta));
    if (step->per_prototype || task == FKM_TASK_MULTILABEL)
        FKMI_TRY(fkmi_arena_take(arena, &chunk->slope_bias, positions, sizeof *chunk->slope_bias));
    if (task == FKM_TASK_MULTILABEL)
        FKMI_TRY(fkmi_tags_plan(step));
    if (task == FKM_TASK_REGRESS)
        FKMI_TRY(fkmi_arena_take(arena, &chunk->slope_target, positions * step->state->n_targets,
                                 sizeof *chunk->slope_target));
    step->scratch_size = (4 * step->width + 7) / 8 * 8; /* threads do not share lines */
    FKMI_TRY(fkmi_arena_take(arena, &step->row_scratch, n_threads * step->scratch_size,
                             sizeof *step->row_scratch));

    if (task == FKM_TASK_CLASSIFY)
        FKMI_TRY(fkmi_arena_take(arena, &scans->own, n, sizeof *scans->own));
    if (step->scan == FKMI_SCAN_TOP_K) {
        FKMI_TRY(fkmi_arena_take(arena, &scans->near_index, n * step->top_k, sizeof *scans->near_index));
        FKMI_TRY(
            fkmi_arena_take(arena, &scans->near_distance, n * step->top_k, sizeof *scans->near_distance));
    }
    if (step->own) {
        FKMI_TRY(fkmi_arena_take(arena, &scans->order, n, sizeof *scans->order));
        FKMI_TRY(fkmi_arena_take(arena, &scans->rank, n, sizeof *scans->rank));
        FKMI_TRY(fkmi_arena_take(arena, &scans->slot, n, sizeof *scans->slot));
        FKMI_TRY(fkmi_arena_take(arena, &scans->index, n, sizeof *scans->index));
        FKMI_TRY(fkmi_arena_take(arena, &scans->distance, n, sizeof *scans->distance));
    }
    return FKM_OK;
}

/* ---- one row of each task */

static struct scratch scratch_of(const struct fkmi_step *step, int thread)
{
    double *start = step->row_scratch + thread * step->scratch_size;

    return (struct scratch){start, start + step->width, start + 2 * step->width,
                            (int32_t *)(start + 3 * step->width)};
}

static int32_t gather_candidates(const struct fkmi_step *step, int64_t i, int32_t *index, double *distance)
{
    const struct fkmi_scans *scans = &step->scans;
    int32_t n = 0;

    for (int64_t c = 0; c < step->top_k; c++) {
        if (scans->near_index[i * step->top_k + c] < 0)
            break;
        index[n] = scans->near_index[i * step->top_k + c];
        distance[n++] = scans->near_distance[i * step->top_k + c];
    }
    if (step->own && scans->rank[i] >= 0) {
        index[n] = scans->index[scans->rank[i]];
        distance[n++] = scans->distance[scans->rank[i]];
    }
    return n;
}

/* Weighs the slopes of a row and passes on those of theta and bias. */
static void keep_slopes(struct fkmi_step *step, int64_t i, double share, const struct scratch *scratch)
{
    struct fkmi_chunk *chunk = &step->chunk;
    const int64_t at = i * step->width;
    double theta = 0;

    for (int64_t c = 0; c < chunk->count[i]; c++) {
        chunk->slope[at + c] *= share;
        theta += scratch->slope_theta[c] * share;
        if (step->per_prototype) {
            chunk->slope_theta[at + c] = scratch->slope_theta[c] * share;
            chunk->slope_bias[at + c] = scratch->slope_bias[c] * share;
        }
    }
    if (!step->per_prototype && chunk->slope_theta)
        chunk->slope_theta[i] = theta;
}

static void classify_row(struct fkmi_step *step, int64_t i, const int32_t *index, double share,
                         const struct scratch *scratch)
{
    struct fkmi_chunk *chunk = &step->chunk;
    const int64_t n = chunk->count[i], at = i * step->width;

    for (int64_t c = 0; c < n; c++) {
        scratch->owner[c] = step->active.owner[index[c]];
        if (step->active.log_share)
            scratch->log_share[c] = step->active.log_share[scratch->owner[c]];
    }
    chunk->loss[i] = fkmi_loss_nll(&step->routing, n, index, scratch->owner, chunk->distance + at,
                                   step->active.log_share ? scratch->log_share : NULL, step->scans.own[i],
                                   step->state->n_classes, step->params->label_smoothing, chunk->slope + at,
                                   scratch->slope_theta, scratch->slope_bias);
    keep_slopes(step, i, share, scratch);
}

static void regress_row(struct fkmi_step *step, int64_t i, const int32_t *index, double share,
                        const struct scratch *scratch)
{
    struct fkmi_chunk *chunk = &step->chunk;
    const int64_t n = chunk->count[i], at = i * step->width, m = step->state->n_targets;
    const double *y = step->targets->values + fkmi_target_row(step, i) * m;

    chunk->loss[i] = fkmi_loss_mse(&step->routing, n, index, chunk->distance + at, step->state->targets, m, y,
                                   step->trainer->target_std, chunk->slope + at, scratch->slope_theta,
                                   scratch->slope_bias, chunk->slope_target + at * m, NULL);
    for (int64_t t = 0; t < n * m; t++)
        chunk->slope_target[at * m + t] *= share;
    keep_slopes(step, i, share, scratch);
}

static fkm_status learn_rows(void *argument, int64_t begin, int64_t end, int thread)
{
    struct fkmi_step *step = argument;
    struct fkmi_chunk *chunk = &step->chunk;
    const struct scratch scratch = scratch_of(step, thread);

    for (int64_t i = begin; i < end; i++) {
        const double share = fkmi_row_weight(&chunk->given, i) / step->weight;
        const int64_t at = i * step->width;
        const int32_t *index = chunk->index ? chunk->index + at : step->scans.identity;

        chunk->count[i] = (int32_t)step->width;
        if (step->scan == FKMI_SCAN_TOP_K)
            chunk->count[i] = gather_candidates(step, i, chunk->index + at, chunk->distance + at);
        switch (step->params->task) {
        case FKM_TASK_CLUSTER:
            chunk->loss[i] = chunk->distance[at];
            chunk->slope[at] = share;
            break;
        case FKM_TASK_CLASSIFY:
            classify_row(step, i, index, share, &scratch);
            break;
        case FKM_TASK_MULTILABEL:
            fkmi_tag_row(step, i, share, scratch.slope_theta);
            break;
        case FKM_TASK_REGRESS:
            regress_row(step, i, index, share, &scratch);
            break;
        }
        chunk->loss[i] *= share;
    }
    return FKM_OK;
}

/* ---- scans */

static fkm_status scan(struct fkmi_step *step, const struct fkmi_rows *rows, struct fkmi_scan how)
{
    how.class_begin = step->active.class_begin;
    how.n_classes = step->active.n_classes;
    if (step->sparse)
        return fkmi_train_columns_scan(step, rows, &how);
    return step->context->backend->scan(step->context, rows, step->work->pack, &how);
}

/* The nearest prototype of the row's own class, for the rows that did not meet one. */
static fkm_status scan_own(struct fkmi_step *step)
{
    struct fkmi_scans *scans = &step->scans;
    struct fkmi_rows lacking = step->chunk.rows;

    lacking.n = 0;
    lacking.order = scans->order;
    for (int64_t i = 0; i < step->chunk.n; i++) {
        const int32_t *near = scans->near_index + i * step->top_k;
        bool met = false;

        for (int64_t c = 0; c < step->top_k && near[c] >= 0 && !met; c++)
            met = step->active.owner[near[c]] == scans->own[i];
        scans->rank[i] = met ? -1 : (int32_t)lacking.n;
        if (met)
            continue;
        scans->slot[lacking.n] = scans->own[i];
        scans->order[lacking.n++] = fkmi_row(&step->chunk.rows, i);
    }
    if (lacking.n == 0)
        return FKM_OK;
    return scan(
        step, &lacking,
        (struct fkmi_scan){
            .kind = FKMI_SCAN_OWN, .slot = scans->slot, .index = scans->index, .distance = scans->distance});
}

fkm_status fkmi_forward(struct fkmi_step *step)
{
    struct fkmi_chunk *chunk = &step->chunk;
    struct fkmi_scans *scans = &step->scans;
    const bool top_k = step->scan == FKMI_SCAN_TOP_K;
    const int64_t per_block = CANDIDATES_PER_BLOCK / step->width;

    FKMI_TRY(scan(step, &chunk->rows,
                  (struct fkmi_scan){.kind = step->scan,
                                     .top_k = step->top_k,
                                     .index = top_k ? scans->near_index : chunk->index,
                                     .distance = top_k ? scans->near_distance : chunk->distance}));
    if (scans->own)
        for (int64_t i = 0; i < chunk->n; i++) {
            const int32_t slot = step->targets->slot[fkmi_target_row(step, i)];

            assert(slot >= 0 && slot < step->state->n_classes);
            scans->own[i] = (int32_t)fkmi_active_class(&step->active, slot);
        }
    if (step->own)
        FKMI_TRY(scan_own(step));
    FKMI_TRY(fkmi_parallel(step->context->pool, chunk->n, per_block > 1 ? per_block : 1, learn_rows, step));
    for (int64_t i = 0; i < chunk->n; i++)
        step->loss += chunk->loss[i];
    return FKM_OK;
}
