/* sampling.c — the prototypes of one gradient step: all, or those of the batch's classes and of sampled
 * others.
 *
 * S of the N classes that are not in the batch are drawn without replacement; each stands for N / S of them,
 * so log(N / S) joins its logits (Bengio & Senecal 2008). Their prototypes are gathered, so that packing,
 * scanning and gradients cost what the active classes cost. So does choosing them: what has a place for every
 * class is kept from step to step, and only the places that a step used are cleared by the next one.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "train/step.h"

enum { OUT = -1, SPARED = -2 }; /* in class_of; else the place in the list */
enum { STREAM_SAMPLE = 2, BITS_PER_PASS = 8, CLASSES_PER_BLOCK = 64 };

/* ---- the list */

static fkm_status grow(void *array, int64_t n_old, int64_t n_new)
{
    int32_t *old, *larger;

    memcpy(&old, array, sizeof old);
    FKMI_TRY(fkmi_alloc(&larger, n_new, sizeof *larger));
    memcpy(larger, old ? old : larger, (size_t)n_old * sizeof *larger);
    fkmi_free(old);
    memcpy(array, &larger, sizeof larger);
    return FKM_OK;
}

/* All classes are out, and the list has room for n of them. */
static fkm_status begin_list(struct fkmi_train_work *work, int64_t n_classes, int64_t n)
{
    for (int64_t c = 0; c < work->n_listed; c++)
        work->class_of[work->listed[c]] = OUT;
    work->n_listed = 0;
    if (n_classes > work->class_room) {
        const int64_t room = n_classes + n_classes / 2;

        FKMI_TRY(grow(&work->class_of, work->class_room, room));
        memset(work->class_of + work->class_room, 0xff,
               (size_t)(room - work->class_room) * sizeof *work->class_of);
        work->class_room = room;
    }
    n = n < n_classes ? n : n_classes;
    if (n > work->list_room) {
        FKMI_TRY(grow(&work->listed, 0, n + n / 2));
        work->list_room = n + n / 2;
    }
    return FKM_OK;
}

static void list(struct fkmi_train_work *work, int64_t slot)
{
    work->class_of[slot] = (int32_t)work->n_listed;
    work->listed[work->n_listed++] = (int32_t)slot;
}

/* Entries of the targets of row i, of the batch. */
static int64_t targets_of(const struct fkmi_step *step, int64_t i, const int32_t **slot)
{
    const int64_t row = fkmi_row(step->rows, i), *indptr = step->targets->tag_indptr;
    const bool tags = step->params->task == FKM_TASK_MULTILABEL;

    *slot = tags ? step->targets->tag_slot + indptr[row] : step->targets->slot + row;
    return tags ? indptr[row + 1] - indptr[row] : 1;
}

static void list_batch(const struct fkmi_step *step)
{
    for (int64_t i = 0; i < step->rows->n; i++) {
        const int32_t *slot;
        const int64_t n = targets_of(step, i, &slot);

        for (int64_t t = 0; t < n; t++)
            if (step->work->class_of[slot[t]] == OUT)
                list(step->work, slot[t]);
    }
}

/* Lists `count` of the n classes that are not there; from the smaller side, so that few draws hit one twice. */
static void list_sampled(struct fkmi_random *random, struct fkmi_train_work *work, int64_t n_classes,
                         int64_t n, int64_t count)
{
    const bool spare = count > n / 2;

    for (int64_t left = spare ? n - count : count; left > 0;) {
        const int64_t c = fkmi_random_below(random, n_classes);

        if (work->class_of[c] != OUT)
            continue;
        if (spare)
            work->class_of[c] = SPARED;
        else
            list(work, c);
        left--;
    }
    if (spare) /* those drawn stay out, the others are in */
        for (int64_t c = 0; c < n_classes; c++) {
            if (work->class_of[c] == OUT)
                list(work, c);
            else if (work->class_of[c] == SPARED)
                work->class_of[c] = OUT;
        }
}

/* Ascending, by their lowest bits first. */
static fkm_status sort_list(struct fkmi_train_work *work, int64_t n_classes)
{
    int32_t *from = work->listed, *to, *room;

    FKMI_TRY(fkmi_arena_take(&work->arena, &room, work->n_listed, sizeof *room));
    to = room;
    for (int shift = 0; (n_classes - 1) >> shift > 0; shift += BITS_PER_PASS) {
        int64_t begin[(1 << BITS_PER_PASS) + 1] = {0};
        int32_t *swapped = from;

        for (int64_t c = 0; c < work->n_listed; c++)
            begin[(from[c] >> shift & ((1 << BITS_PER_PASS) - 1)) + 1]++;
        for (int digit = 0; digit < 1 << BITS_PER_PASS; digit++)
            begin[digit + 1] += begin[digit];
        for (int64_t c = 0; c < work->n_listed; c++)
            to[begin[from[c] >> shift & ((1 << BITS_PER_PASS) - 1)]++] = from[c];
        from = to;
        to = swapped;
    }
    if (from != work->listed)
        memcpy(work->listed, from, (size_t)work->n_listed * sizeof *from);
    return FKM_OK;
}

/* ---- their prototypes */

static fkm_status all_of_them(struct fkmi_step *step)
{
    const struct fkmi_state *state = step->state;
    const double *theta = state->theta;
    double *settled;
    int32_t *owner;

    FKMI_TRY(fkmi_arena_take(&step->work->arena, &owner, state->k, sizeof *owner));
    fkmi_state_owners(state, owner);
    if (step->work->theta_lags) {
        FKMI_TRY(fkmi_arena_take(&step->work->arena, &settled, state->k, sizeof *settled));
        for (int64_t j = 0; j < state->k; j++)
            settled[j] = fkmi_theta_of(step->work, theta, j);
        theta = settled;
    }
    step->active = (struct fkmi_active){.k = state->k,
                                        .n_classes = state->n_classes,
                                        .class_begin = state->class_begin,
                                        .owner = owner,
                                        .share = 1,
                                        .points = state->points,
                                        .bias = state->bias,
                                        .theta = theta};
    return FKM_OK;
}

struct gathering {
    const struct fkmi_state *state;
    const struct fkmi_train_work *work;
    const int32_t *slot;
    const int64_t *class_begin;
    int64_t *prototype;
    int32_t *owner;
    double *bias, *theta;
    char *points;
};

static fkm_status gather_classes(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct gathering *job = argument;
    const struct fkmi_state *state = job->state;
    const size_t point_size = (size_t)state->dim * fkmi_dtype_size(state->dtype);

    (void)thread;
    for (int64_t c = begin; c < end; c++) {
        const int64_t first = state->class_begin[job->slot[c]], at = job->class_begin[c],
                      n = job->class_begin[c + 1] - at;

        memcpy(job->points + (size_t)at * point_size, fkmi_state_point(state, first), (size_t)n * point_size);
        for (int64_t j = 0; j < n; j++) {
            job->prototype[at + j] = first + j;
            job->owner[at + j] = (int32_t)c;
            job->bias[at + j] = state->bias[first + j];
            job->theta[at + j] = fkmi_theta_of(job->work, state->theta, first + j);
        }
    }
    return FKM_OK;
}

/* The listed classes, of which the first n_in_batch were listed for the batch. */
static fkm_status gather(struct fkmi_step *step, int64_t n_in_batch, double share)
{
    const struct fkmi_state *state = step->state;
    struct fkmi_train_work *work = step->work;
    struct fkmi_arena *arena = &work->arena;
    const int64_t n_classes = work->n_listed;
    struct gathering job = {.state = state, .work = work, .slot = work->listed};
    int64_t *class_begin, k = 0;
    double *log_share;

    FKMI_TRY(sort_list(work, state->n_classes));
    FKMI_TRY(fkmi_arena_take(arena, &class_begin, n_classes + 1, sizeof *class_begin));
    FKMI_TRY(fkmi_arena_take(arena, &log_share, n_classes, sizeof *log_share));
    for (int64_t c = 0; c < n_classes; c++) {
        const int64_t slot = work->listed[c];

        log_share[c] = work->class_of[slot] >= n_in_batch ? log(share) : 0.0;
        work->class_of[slot] = (int32_t)c;
        class_begin[c] = k;
        k += state->class_begin[slot + 1] - state->class_begin[slot];
    }
    class_begin[n_classes] = k;
    job.class_begin = class_begin;
    FKMI_TRY(fkmi_arena_take(arena, &job.prototype, k, sizeof *job.prototype));
    FKMI_TRY(fkmi_arena_take(arena, &job.owner, k, sizeof *job.owner));
    FKMI_TRY(fkmi_arena_take(arena, &job.bias, k, sizeof *job.bias));
    FKMI_TRY(fkmi_arena_take(arena, &job.theta, k, sizeof *job.theta));
    FKMI_TRY(fkmi_arena_take(arena, &job.points, k, (size_t)state->dim * fkmi_dtype_size(state->dtype)));
    FKMI_TRY(fkmi_parallel(step->context->pool, n_classes, CLASSES_PER_BLOCK, gather_classes, &job));
    step->active = (struct fkmi_active){.k = k,
                                        .n_classes = n_classes,
                                        .prototype = job.prototype,
                                        .class_begin = class_begin,
                                        .class_slot = work->listed,
                                        .class_of = work->class_of,
                                        .owner = job.owner,
                                        .log_share = log_share,
                                        .share = share,
                                        .points = job.points,
                                        .bias = job.bias,
                                        .theta = job.theta};
    return FKM_OK;
}

fkm_status fkmi_active_choose(struct fkmi_step *step)
{
    const fkm_params *params = step->params;
    const int64_t n_classes = step->state->n_classes, n_sampled = params->negative_sampling;
    struct fkmi_random random = fkmi_random_split(step->random, STREAM_SAMPLE);
    int64_t n_in_batch, n_others, n_targets = 0;

    if (n_sampled <= 0 || n_sampled >= n_classes ||
        (params->task != FKM_TASK_CLASSIFY && params->task != FKM_TASK_MULTILABEL))
        return all_of_them(step);
    for (int64_t i = 0; i < step->rows->n; i++) {
        const int32_t *slot;

        n_targets += targets_of(step, i, &slot);
    }
    FKMI_TRY(begin_list(step->work, n_classes, n_targets + n_sampled));
    list_batch(step);
    n_in_batch = step->work->n_listed;
    n_others = n_classes - n_in_batch;
    if (n_sampled >= n_others)
        return all_of_them(step);
    list_sampled(&random, step->work, n_classes, n_others, n_sampled);
    return gather(step, n_in_batch, (double)n_others / (double)n_sampled);
}
