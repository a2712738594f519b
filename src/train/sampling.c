/* sampling.c — the prototypes of one gradient step: all, or those of the batch's classes and of sampled
 * others.
 *
 * S of the N classes that are not in the batch are drawn without replacement; each stands for N / S of them,
 * so log(N / S) joins its logits (Bengio & Senecal 2008). Their prototypes are gathered, so that packing,
 * scanning and gradients cost what the active classes cost.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "train/step.h"

enum { OUT, SAMPLED, IN_BATCH };
enum { STREAM_SAMPLE = 2 };

static int64_t mark_batch(const struct fkmi_step *step, uint8_t *mark)
{
    int64_t n_marked = 0;

    for (int64_t i = 0; i < step->rows->n; i++) {
        const int64_t row = fkmi_row(step->rows, i);
        const bool tags = step->params->task == FKM_TASK_MULTILABEL;
        const int64_t *indptr = step->targets->tag_indptr;
        const int32_t *slot = tags ? step->targets->tag_slot + indptr[row] : step->targets->slot + row;
        const int64_t n = tags ? indptr[row + 1] - indptr[row] : 1;

        for (int64_t t = 0; t < n; t++) {
            if (mark[slot[t]] == OUT)
                n_marked++;
            mark[slot[t]] = IN_BATCH;
        }
    }
    return n_marked;
}

/* Marks `count` of the n unmarked classes; from the smaller side, so that few draws hit a marked one. */
static void mark_sampled(struct fkmi_random *random, uint8_t *mark, int64_t n_classes, int64_t n,
                         int64_t count)
{
    const bool spare = count > n / 2;

    for (int64_t left = spare ? n - count : count; left > 0;) {
        const int64_t c = fkmi_random_below(random, n_classes);

        if (mark[c] != OUT)
            continue;
        mark[c] = SAMPLED;
        left--;
    }
    if (spare) /* those drawn stay out, the others are in */
        for (int64_t c = 0; c < n_classes; c++)
            if (mark[c] != IN_BATCH)
                mark[c] = mark[c] == SAMPLED ? OUT : SAMPLED;
}

static fkm_status all_of_them(struct fkmi_step *step)
{
    const struct fkmi_state *state = step->state;
    int32_t *owner;

    FKMI_TRY(fkmi_arena_take(&step->work->arena, &owner, state->k, sizeof *owner));
    fkmi_state_owners(state, owner);
    step->active = (struct fkmi_active){.k = state->k,
                                        .n_classes = state->n_classes,
                                        .class_begin = state->class_begin,
                                        .owner = owner,
                                        .share = 1,
                                        .points = state->points,
                                        .bias = state->bias,
                                        .theta = state->theta};
    return FKM_OK;
}

static fkm_status gather(struct fkmi_step *step, const uint8_t *mark, int64_t n_classes, double share)
{
    const struct fkmi_state *state = step->state;
    const size_t point_size = (size_t)state->dim * fkmi_dtype_size(state->dtype);
    struct fkmi_arena *arena = &step->work->arena;
    struct fkmi_active *active = &step->active;
    int64_t *prototype, *class_begin, k = 0, c = 0;
    int32_t *class_slot, *class_of, *owner;
    double *log_share, *bias, *theta;
    char *points;

    for (int64_t slot = 0; slot < state->n_classes; slot++)
        if (mark[slot] != OUT)
            k += state->class_begin[slot + 1] - state->class_begin[slot];
    FKMI_TRY(fkmi_arena_take(arena, &prototype, k, sizeof *prototype));
    FKMI_TRY(fkmi_arena_take(arena, &class_begin, n_classes + 1, sizeof *class_begin));
    FKMI_TRY(fkmi_arena_take(arena, &class_slot, n_classes, sizeof *class_slot));
    FKMI_TRY(fkmi_arena_take(arena, &class_of, state->n_classes, sizeof *class_of));
    FKMI_TRY(fkmi_arena_take(arena, &owner, k, sizeof *owner));
    FKMI_TRY(fkmi_arena_take(arena, &log_share, n_classes, sizeof *log_share));
    FKMI_TRY(fkmi_arena_take(arena, &bias, k, sizeof *bias));
    FKMI_TRY(fkmi_arena_take(arena, &theta, k, sizeof *theta));
    FKMI_TRY(fkmi_arena_take(arena, &points, k, point_size));
    k = 0;
    for (int64_t slot = 0; slot < state->n_classes; slot++) {
        class_of[slot] = -1;
        if (mark[slot] == OUT)
            continue;
        class_of[slot] = (int32_t)c;
        class_slot[c] = (int32_t)slot;
        class_begin[c] = k;
        log_share[c] = mark[slot] == SAMPLED ? log(share) : 0.0;
        for (int64_t j = state->class_begin[slot]; j < state->class_begin[slot + 1]; j++, k++) {
            prototype[k] = j;
            owner[k] = (int32_t)c;
            bias[k] = state->bias[j];
            theta[k] = state->theta[j];
            memcpy(points + (size_t)k * point_size, fkmi_state_point(state, j), point_size);
        }
        c++;
    }
    class_begin[n_classes] = k;
    *active = (struct fkmi_active){k,     n_classes, prototype, class_begin, class_slot, class_of,
                                   owner, log_share, share,     points,      bias,       theta};
    return FKM_OK;
}

fkm_status fkmi_active_choose(struct fkmi_step *step)
{
    const fkm_params *params = step->params;
    const int64_t n_classes = step->state->n_classes;
    struct fkmi_random random = fkmi_random_split(step->random, STREAM_SAMPLE);
    int64_t n_marked, n_others;
    uint8_t *mark;

    if (params->negative_sampling <= 0 ||
        (params->task != FKM_TASK_CLASSIFY && params->task != FKM_TASK_MULTILABEL))
        return all_of_them(step);
    FKMI_TRY(fkmi_arena_take(&step->work->arena, &mark, n_classes, sizeof *mark));
    n_marked = mark_batch(step, mark);
    n_others = n_classes - n_marked;
    if (params->negative_sampling >= n_others)
        return all_of_them(step);
    mark_sampled(&random, mark, n_classes, n_others, params->negative_sampling);
    return gather(step, mark, n_marked + params->negative_sampling,
                  (double)n_others / (double)params->negative_sampling);
}
