/* update.c — one step of Adam (Kingma & Ba 2015) on everything that learns.
 *
 * Dense batches decay the moments of all prototypes, as the textbook has it. When rows are CSR or classes are
 * sampled, only prototypes with a gradient decay and move, so that a step costs what it touched (prototypes that are
 * lists: columns_step.c). Storage
 * types narrower than the real type keep the unrounded prototypes in trainer->master.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "train/columns_step.h"

static const double LEAST_WEIGHT = 1e-3; /* of a feature, before they are scaled to sum dim */

struct update_job {
    struct fkmi_step *step;
    struct fkmi_state *state;
    struct fkmi_trainer *trainer;
    double rate, fix_1, fix_2;
};

static bool moves(const struct fkmi_step *step, int64_t prototype)
{
    return !step->state->frozen[prototype] && (!step->lazy || step->gradient.touched[prototype]);
}

static void normalise(const struct fkmi_step *step, void *point)
{
    const int64_t dim = step->space.dim;
    const double square = step->vector->dot(point, point, step->in.shared_weight, dim);
    const double scale = 1 / sqrt(square);

    if (!(square > 0) || !isfinite(scale))
        return;
    if (step->real == FKMI_REAL_F32)
        for (int64_t d = 0; d < dim; d++)
            ((float *)point)[d] *= (float)scale;
    else
        for (int64_t d = 0; d < dim; d++)
            ((double *)point)[d] *= scale;
}

/* The unrounded prototype; anew from the stored one when something else has moved that since. */
static void *master_of(const struct update_job *job, int64_t j, void *scratch)
{
    const struct fkmi_step *step = job->step;
    const struct fkmi_state *state = job->state;
    void *stored = fkmi_state_point(state, j), *master;

    if (!job->trainer->master)
        return stored;
    master = fkmi_real_at(step, job->trainer->master, j * state->dim);
    step->vector->store[state->dtype](scratch, master, state->dim);
    if (memcmp(scratch, stored, (size_t)state->dim * fkmi_dtype_size(state->dtype)) != 0)
        step->vector->load[state->dtype](master, stored, state->dim);
    return master;
}

static fkm_status move_points(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct update_job *job = argument;
    const struct fkmi_step *step = job->step;
    const int64_t dim = step->space.dim;
    const bool unit = step->space.metric == FKM_METRIC_COSINE && step->params->normalize_prototypes;
    void *scratch = fkmi_real_at(step, step->point_scratch, thread * dim);

    for (int64_t place = begin; place < end; place++) {
        const int64_t j = fkmi_prototype_at(step, place);
        void *point;

        if (!moves(step, j))
            continue;
        point = master_of(job, j, scratch);
        step->vector->adam(point, fkmi_real_at(step, job->trainer->point_m, j * dim),
                           fkmi_real_at(step, job->trainer->point_v, j * dim),
                           step->gradient.touched[j] ? fkmi_gradient_at(step, j) : NULL, dim,
                           job->rate * job->trainer->unit, FKMI_BETA_1, FKMI_BETA_2, job->fix_1, job->fix_2);
        if (unit)
            normalise(step, point);
        if (job->trainer->master)
            step->vector->store[job->state->dtype](fkmi_state_point(job->state, j), point, dim);
    }
    return FKM_OK;
}

/* The few parameters beside the prototypes are doubles. */
static void move(const struct update_job *job, double *p, double *m, double *v, const double *g, int64_t n,
                 double unit)
{
    job->step->context->kernels->vector[FKMI_REAL_F64].adam(p, m, v, g, n, job->rate * unit, FKMI_BETA_1,
                                                            FKMI_BETA_2, job->fix_1, job->fix_2);
}

void fkmi_train_settle(struct fkmi_train_work *work, struct fkmi_state *state)
{
    for (int64_t j = 1; work->theta_lags && j < state->k; j++)
        state->theta[j] = fkmi_theta_of(work, state->theta, j);
    work->theta_lags = false;
}

/* One theta for all: what moves place 0 moves the others as far. */
static void move_shared_theta(const struct update_job *job)
{
    struct fkmi_train_work *work = job->step->work;

    if (!work->theta_lags)
        work->theta_before = job->state->theta[0];
    move(job, job->state->theta, job->trainer->theta_m, job->trainer->theta_v, job->step->gradient.theta, 1,
         1);
    work->theta_lags = true;
    if (!work->theta_may_lag || !job->step->active.prototype)
        fkmi_train_settle(work, job->state);
}

static void move_each(const struct update_job *job)
{
    const struct fkmi_step *step = job->step;
    const struct fkmi_gradient *g = &step->gradient;
    const int64_t m = job->state->n_targets;
    struct fkmi_trainer *trainer = job->trainer;

    for (int64_t place = 0; place < step->active.k; place++) {
        const int64_t j = fkmi_prototype_at(step, place);

        if (!moves(step, j))
            continue;
        if (step->per_prototype) {
            move(job, job->state->theta + j, trainer->theta_m + j, trainer->theta_v + j, g->theta + place, 1,
                 1);
            move(job, job->state->bias + j, trainer->bias_m + j, trainer->bias_v + j, g->bias + place, 1, 1);
        }
        for (int64_t t = 0; g->targets && t < m; t++) {
            /* in units of the targets' spread, as the loss is */
            const double unit = trainer->target_std[t], standard = g->targets[place * m + t] * unit;

            move(job, job->state->targets + j * m + t, trainer->target_m + j * m + t,
                 trainer->target_v + j * m + t, &standard, 1, unit);
        }
    }
}

static void move_tags(const struct update_job *job)
{
    const struct fkmi_step *step = job->step;
    struct fkmi_trainer *trainer = job->trainer;

    for (int64_t c = 0; c < step->active.n_classes; c++) {
        const int64_t slot = step->active.class_slot ? step->active.class_slot[c] : c;

        move(job, job->state->alpha + slot, trainer->alpha_m + slot, trainer->alpha_v + slot,
             step->gradient.alpha + c, 1, 1);
        move(job, job->state->beta + slot, trainer->beta_m + slot, trainer->beta_v + slot,
             step->gradient.beta + c, 1, 1);
    }
}

static void move_weights(const struct update_job *job)
{
    const int64_t dim = job->step->space.dim;
    double *weights = job->state->feature_weights, sum = 0;

    move(job, weights, job->trainer->weight_m, job->trainer->weight_v, job->step->gradient.weights, dim, 1);
    for (int64_t d = 0; d < dim; d++) {
        if (!(weights[d] > LEAST_WEIGHT))
            weights[d] = LEAST_WEIGHT;
        sum += weights[d];
    }
    for (int64_t d = 0; d < dim; d++)
        weights[d] *= (double)dim / sum;
    job->step->vector->load[FKM_DTYPE_F64](job->step->in.shared_weight, weights,
                                           dim); /* lengths are under these */
}

void fkmi_update(struct fkmi_step *step, struct fkmi_state *state, struct fkmi_trainer *trainer, double rate)
{
    const double t = (double)++trainer->step;
    struct update_job job = {step, state, trainer, rate, 1 - pow(FKMI_BETA_1, t), 1 - pow(FKMI_BETA_2, t)};

    if (step->gradient.weights)
        move_weights(&job);
    if (step->learns_theta && !step->per_prototype)
        move_shared_theta(&job);
    if (step->per_prototype || step->gradient.targets)
        move_each(&job);
    if (step->gradient.beta)
        move_tags(&job);
    if (step->sparse)
        fkmi_train_columns_update(step, trainer, rate);
    else
        (void)fkmi_parallel_whole(step->context->pool, step->active.k,
                                  fkmi_vectors_per_block(step->space.dim, 4), move_points, &job);
}
