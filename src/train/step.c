/* step.c — one gradient batch from rows to moved prototypes. Everything that can fail comes before the move.
 * SPDX-License-Identifier: Apache-2.0 */
#include "train/columns_step.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/interrupt.h"

enum {
    CANDIDATES_AT_ONCE =
        1 << 20,            /* of a chunk: bounds its memory whatever the batch; lists take a batch at once */
    TAGS_AT_ONCE = 1 << 15, /* the same where a chunk's end cannot be seen in the sums */
    VALUES_AT_ONCE = 1 << 24 /* of rows that must be copied */
};
static const double LONG_WORK = 1 << 25; /* coordinates of candidates: from a tenth of a second on */

void fkmi_train_work_free(struct fkmi_train_work *work, const struct fkmi_backend *backend)
{
    if (work->pack)
        backend->pack_free(work->pack);
    fkmi_arena_free(&work->arena);
    fkmi_free(work->class_of);
    fkmi_free(work->listed);
    *work = (struct fkmi_train_work){0};
}

bool fkmi_train_takes_lists(const fkm_params *params, const struct fkmi_rows *rows)
{
    return fkmi_rows_sparse(rows) && !rows->mask && !params->auto_feature_weights && !(params->l2_reg > 0) &&
           !(params->diversity_reg > 0) && params->negative_sampling <= 0;
}

/* ---- what the step needs */

static int64_t at_most(int64_t n, int64_t most) { return n < 1 ? 1 : n < most ? n : most; }

static int64_t entries_of_chunk(const struct fkmi_rows *rows, int64_t begin, int64_t end)
{
    int64_t entries = 0;

    for (int64_t i = begin; i < end; i++)
        entries += rows->indptr[fkmi_row(rows, i) + 1] - rows->indptr[fkmi_row(rows, i)];
    return entries;
}

static int64_t chunk_end(const struct fkmi_step *step, int64_t begin)
{
    return step->rows->n - begin < step->chunk_rows ? step->rows->n : begin + step->chunk_rows;
}

/* Whether rows in several chunks give the same bits as in one: then nothing is added up by chunk. Of multi-label
 * batches alone, which have a candidate for each tag. */
static bool chunks_are_free(const struct fkmi_step *step)
{
    return step->params->task == FKM_TASK_MULTILABEL && step->space.metric != FKM_METRIC_COSINE &&
           !fkmi_rows_sparse(step->rows) && !(step->params->noise > 0) && !step->params->auto_feature_weights;
}

static void size_chunks(struct fkmi_step *step)
{
    const struct fkmi_rows *rows = step->rows;
    const int64_t n_targets = step->params->task == FKM_TASK_REGRESS ? step->state->n_targets : 1;
    const int64_t at_once = chunks_are_free(step) ? TAGS_AT_ONCE : CANDIDATES_AT_ONCE;
    int64_t copied = rows->dim;

    step->chunk_rows = step->state->listed ? rows->n : at_most(at_once / (step->width * n_targets), rows->n);
    if (fkmi_rows_sparse(rows))
        copied = entries_of_chunk(rows, 0, rows->n) / rows->n + 1;
    if (!step->state->listed && (!step->direct || step->params->noise > 0))
        step->chunk_rows = at_most(VALUES_AT_ONCE / copied, step->chunk_rows);
    if (fkmi_rows_sparse(rows))
        for (int64_t begin = 0; begin < rows->n; begin += step->chunk_rows) {
            const int64_t entries = entries_of_chunk(rows, begin, chunk_end(step, begin));

            if (entries > step->chunk_entries)
                step->chunk_entries = entries;
        }
}

/* With more than one chunk a failure may come when part of the gradient is there, and long work may be interrupted:
 * it then grows in a place of its own, unless a failure throws the trainer away. */
static fkm_status plan_gradient(struct fkmi_step *step, struct fkmi_trainer *trainer)
{
    const struct fkmi_state *state = step->state;
    const struct fkmi_rows *rows = step->rows;
    const double values = fkmi_rows_sparse(rows) ? (double)entries_of_chunk(rows, 0, rows->n)
                                                 : (double)rows->n * (double)rows->dim;
    const bool may_end_early = fkmi_interruptible() && values * (double)step->width > LONG_WORK;

    step->gradient.points = trainer->gradient;
    step->gradient.touched = trainer->touched;
    if ((step->chunk_rows < rows->n && !step->work->of_copies) || may_end_early) {
        FKMI_TRY(fkmi_arena_take(&step->work->arena, &step->gradient.points, state->k * state->dim,
                                 step->real_size));
        FKMI_TRY(fkmi_arena_take(&step->work->arena, &step->gradient.touched, state->k, 1));
    }
    return FKM_OK;
}

static fkm_status plan(struct fkmi_step *step, struct fkmi_trainer *trainer)
{
    const struct fkmi_rows *rows = step->rows;
    const fkm_dtype real_dtype = step->real == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32;
    const bool plain = !rows->mask && step->space.metric != FKM_METRIC_COSINE && !fkmi_rows_sparse(rows);

    step->direct = plain && (step->params->noise > 0 || rows->dtype == real_dtype);
    FKMI_TRY(fkmi_active_choose(step));
    step->routing = fkmi_routing_of(step->params, step->state);
    step->routing.bias = step->active.bias;
    step->routing.theta = step->active.theta;
    step->lazy = fkmi_rows_sparse(rows) || step->active.prototype;
    FKMI_TRY(fkmi_forward_decide(step));
    size_chunks(step);
    if (step->chunk_rows > INT32_MAX / step->width) /* candidates of lists have numbers of 32 bits */
        return fkmi_fail(FKM_ENOMEM,
                         "%lld rows with %lld candidates each are too many for one step: give fewer rows",
                         (long long)step->chunk_rows, (long long)step->width);
    FKMI_TRY(fkmi_trainer_complete(trainer, step->context, step->params, step->state, rows));
    FKMI_TRY(fkmi_forward_plan(step));
    FKMI_TRY(fkmi_rows_in_plan(step));
    FKMI_TRY(fkmi_backward_plan(step));
    FKMI_TRY(fkmi_weights_plan(step));
    FKMI_TRY(fkmi_regularize_plan(step));
    if (step->params->noise > 0)
        FKMI_TRY(fkmi_noise_plan(step));
    if (step->state->listed)
        return fkmi_train_columns_plan(step);
    FKMI_TRY(plan_gradient(step, trainer));
    return step->context->backend->pack(step->context, &step->space, step->state->dtype, step->active.points,
                                        step->active.k, rows->mask != NULL, &step->work->pack);
}

/* ---- the gradient */

static bool knows_touched(const struct fkmi_trainer *trainer)
{
    return trainer->listed && trainer->n_listed >= 0;
}

static fkm_status clear_rows(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct fkmi_step *step = argument;
    const struct fkmi_trainer *trainer = step->trainer;

    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t j = knows_touched(trainer) ? trainer->listed[i] : i;

        if (step->gradient.touched[j]) {
            memset(fkmi_gradient_at(step, j), 0, (size_t)step->space.dim * step->real_size);
            step->gradient.touched[j] = 0;
        }
    }
    return FKM_OK;
}

/* In place only: a gradient that grows elsewhere begins with zeros. Where all take part, backward does it as it goes. */
static fkm_status clear(struct fkmi_step *step, struct fkmi_trainer *trainer)
{
    const int64_t n = knows_touched(trainer) ? trainer->n_listed : step->state->k;

    step->clears = !step->active.prototype;
    if (!step->clears)
        FKMI_TRY(fkmi_parallel(step->context->pool, n, fkmi_vectors_per_block(step->space.dim, 1), clear_rows,
                               step));
    trainer->n_listed = -1;
    return FKM_OK;
}

/* What the next step will have to clear: where all take part, it looks at all. */
static void list_touched(const struct fkmi_step *step, struct fkmi_trainer *trainer)
{
    if (!step->active.prototype || !trainer->listed)
        return;
    trainer->n_listed = 0;
    for (int64_t place = 0; place < step->active.k; place++)
        if (trainer->touched[step->active.prototype[place]])
            trainer->listed[trainer->n_listed++] = (int32_t)step->active.prototype[place];
}

static fkm_status check_rows(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct fkmi_step *step = argument;

    (void)thread;
    for (int64_t place = begin; place < end; place++) {
        const int64_t j = fkmi_prototype_at(step, place);
        const void *g = fkmi_gradient_at(step, j);

        if (step->gradient.touched[j] && !isfinite(step->vector->dot(g, g, NULL, step->space.dim)))
            return fkmi_fail(FKM_ESTATE,
                             "the gradient of prototype %lld is not finite: the learning rate may be too "
                             "large or a feature out of range",
                             (long long)j);
    }
    return FKM_OK;
}

static bool all_finite(const double *values, int64_t n)
{
    double sum = 0;

    for (int64_t i = 0; values && i < n; i++)
        sum += values[i] * 0; /* 0, or NaN from the first that is not finite */
    return sum == 0;
}

static fkm_status check_finite(struct fkmi_step *step)
{
    const struct fkmi_gradient *g = &step->gradient;
    const int64_t k = step->active.k;

    if (!isfinite(step->loss))
        return fkmi_fail(FKM_ESTATE,
                         "the loss is %g: the learning rate may be too large or a feature out of range",
                         step->loss);
    if (!all_finite(g->theta, step->per_prototype ? k : 1) || !all_finite(g->bias, k) ||
        !all_finite(g->targets, k * step->state->n_targets) || !all_finite(g->weights, step->space.dim) ||
        !all_finite(g->alpha, step->active.n_classes) || !all_finite(g->beta, step->active.n_classes))
        return fkmi_fail(FKM_ESTATE,
                         "a gradient is not finite: the learning rate may be too large or a feature out "
                         "of range");
    if (step->sparse || (!step->is_odd && !(step->params->l2_reg > 0) && !(step->params->diversity_reg > 0)))
        return FKM_OK;
    return fkmi_parallel(step->context->pool, k, fkmi_vectors_per_block(step->space.dim, 1), check_rows,
                         step);
}

/* The gradient grown elsewhere becomes the trainer's. */
static void publish(struct fkmi_step *step, struct fkmi_trainer *trainer)
{
    const size_t size = (size_t)step->space.dim * step->real_size;

    if (step->gradient.points == trainer->gradient)
        return;
    for (int64_t j = 0; j < step->state->k; j++) {
        void *out = fkmi_real_at(step, trainer->gradient, j * step->space.dim);

        if (step->gradient.touched[j])
            memcpy(out, fkmi_gradient_at(step, j), size);
        else if (trainer->touched[j])
            memset(out, 0, size);
        trainer->touched[j] = step->gradient.touched[j];
    }
    trainer->n_listed = -1;
}

static fkm_status gradient(struct fkmi_step *step, struct fkmi_trainer *trainer)
{
    const bool in_place = !step->sparse && step->gradient.points == trainer->gradient;
    fkm_status status = FKM_OK;
    bool held = false;

    for (int64_t begin = 0; begin < step->rows->n; begin += step->chunk_rows) {
        const int64_t n = chunk_end(step, begin) - begin;

        step->chunk.begin = begin;
        step->chunk.n = n;
        step->clears = false;
        step->chunk.given = fkmi_rows_slice(step->rows, begin, n);
        step->chunk.rows = step->chunk.given;
        if (step->params->noise > 0)
            FKMI_TRY_GOTO(fkmi_noise_rows(step));
        FKMI_TRY_GOTO(fkmi_forward(step));
        if (in_place && !held) {
            fkmi_hold_interrupts(); /* the old gradient goes */
            held = true;
        }
        if (begin == 0 && in_place)
            FKMI_TRY_GOTO(clear(step, trainer));
        FKMI_TRY_GOTO(fkmi_rows_in(step));
        FKMI_TRY_GOTO(fkmi_backward(step));
    }
    FKMI_TRY_GOTO(fkmi_regularize(step));
    if (in_place)
        list_touched(step, trainer);
    FKMI_TRY_GOTO(check_finite(step));
    if (!step->sparse)
        publish(step, trainer);
done:
    if (held)
        fkmi_release_interrupts();
    return status;
}

/* Loss and gradient into step; weight 0 when the rows carry none. */
static fkm_status compute(struct fkmi_step *step, struct fkm_context *context, const fkm_params *params,
                          const struct fkmi_state *state, struct fkmi_trainer *trainer,
                          struct fkmi_train_work *work, const struct fkmi_rows *rows,
                          const struct fkmi_targets *targets, struct fkmi_random random)
{
    const enum fkmi_real real = fkmi_real_of(state->dtype);

    if (!trainer->begun || trainer->k != state->k || trainer->dim != state->dim ||
        trainer->n_classes != state->n_classes)
        return fkmi_fail(FKM_EINTERNAL,
                         "the optimizer knows %lld prototypes of %lld classes, the model has %lld of %lld",
                         (long long)trainer->k, (long long)trainer->n_classes, (long long)state->k,
                         (long long)state->n_classes);
    *step = (struct fkmi_step){.context = context,
                               .params = params,
                               .state = state,
                               .trainer = trainer,
                               .work = work,
                               .rows = rows,
                               .targets = targets,
                               .random = random,
                               .real = real,
                               .real_size = fkmi_real_size(real),
                               .vector = &context->kernels->vector[real],
                               .space = fkmi_state_space(state, params->metric),
                               .learns_theta = fkmi_learns_theta(params),
                               .per_prototype = fkmi_learns_each(params)};
    for (int64_t i = 0; i < rows->n; i++)
        step->weight += fkmi_row_weight(rows, i);
    if (!(step->weight > 0))
        return FKM_OK;
    fkmi_arena_reset(&work->arena);
    FKMI_TRY(plan(step, trainer));
    return gradient(step, trainer);
}

fkm_status fkmi_train_loss(struct fkm_context *context, const fkm_params *params,
                           const struct fkmi_state *state, struct fkmi_trainer *trainer,
                           struct fkmi_train_work *work, const struct fkmi_rows *rows,
                           const struct fkmi_targets *targets, struct fkmi_random random, double *loss)
{
    struct fkmi_step step;

    FKMI_TRY(compute(&step, context, params, state, trainer, work, rows, targets, random));
    *loss = step.loss;
    return FKM_OK;
}

fkm_status fkmi_train_step(struct fkm_context *context, const fkm_params *params, struct fkmi_state *state,
                           struct fkmi_trainer *trainer, struct fkmi_train_work *work,
                           const struct fkmi_rows *rows, const struct fkmi_targets *targets, double rate,
                           struct fkmi_random random, double *loss)
{
    struct fkmi_step step;

    FKMI_TRY(compute(&step, context, params, state, trainer, work, rows, targets, random));
    if (step.weight > 0)
        fkmi_update(&step, state, trainer, rate);
    *loss = step.loss;
    return FKM_OK;
}
