/* world.c — see world.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <stdlib.h>

static void *fresh(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);

    CHECK(memory != NULL);
    return memory;
}

static void make_rows(struct world *world, struct fkmi_random *random)
{
    const struct world_wish *wish = &world->wish;
    const int64_t n = wish->n, dim = wish->dim;
    const bool f64 = fkmi_real_of(wish->dtype) == FKMI_REAL_F64;
    int64_t at = 0;

    world->x = fresh((size_t)(n * dim), sizeof(double));
    world->mask = fresh((size_t)(n * dim), sizeof(float));
    world->weight = fresh((size_t)n, sizeof(float));
    world->stored = fresh((size_t)(n * dim), 8);
    world->indptr = fresh((size_t)n + 1, sizeof(int64_t));
    world->indices = fresh((size_t)(n * dim), sizeof(int32_t));
    world->values = fresh((size_t)(n * dim), sizeof(double));
    for (int64_t i = 0; i < n; i++) {
        world->weight[i] = (float)(0.5 + fkmi_random_uniform(random));
        for (int64_t d = 0; d < dim; d++) {
            const bool zero = wish->csr && fkmi_random_uniform(random) < 0.5;

            world->x[i * dim + d] =
                zero ? 0 : (double)(float)(fkmi_random_normal(random) + 0.3 * (double)(i % 3));
            world->mask[i * dim + d] = fkmi_random_uniform(random) < 0.7 ? (d == 1 ? 0.5f : 1.0f) : 0.0f;
            if (wish->csr && !zero) {
                world->indices[at] = (int32_t)d;
                world->values[at++] = world->x[i * dim + d];
            }
            if (f64)
                ((double *)world->stored)[i * dim + d] = world->x[i * dim + d];
            else
                ((float *)world->stored)[i * dim + d] = (float)world->x[i * dim + d];
        }
        world->mask[i * dim] = 1; /* every row has something to say */
        world->indptr[i + 1] = at;
    }
    world->rows = (struct fkmi_rows){
        .n = n, .dim = dim, .dtype = f64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32, .x = world->stored, .stride = dim};
    if (wish->csr) {
        world->rows.x = NULL;
        world->rows.dtype = FKM_DTYPE_F64;
        world->rows.values = world->values;
        world->rows.indptr = world->indptr;
        world->rows.indices = world->indices;
    }
    world->rows.mask = wish->mask ? world->mask : NULL;
    world->rows.weight = wish->weight ? world->weight : NULL;
}

static void make_targets(struct world *world, struct fkmi_random *random)
{
    const struct world_wish *wish = &world->wish;
    double *values = fresh((size_t)(wish->n * wish->targets), sizeof(double));
    int64_t at = 0;

    world->slot = fresh((size_t)wish->n, sizeof(int32_t));
    world->tag_indptr = fresh((size_t)wish->n + 1, sizeof(int64_t));
    world->tag_slot = fresh((size_t)(wish->n * wish->classes), sizeof(int32_t));
    for (int64_t i = 0; i < wish->n; i++) {
        world->slot[i] = (int32_t)fkmi_random_below(random, wish->classes);
        for (int32_t c = 0; c < wish->classes; c++)
            if (fkmi_random_uniform(random) < 0.3)
                world->tag_slot[at++] = c;
        world->tag_indptr[i + 1] = at;
        for (int t = 0; t < wish->targets; t++)
            values[i * wish->targets + t] = 100 * t + (t + 1) * fkmi_random_normal(random);
    }
    world->targets = (struct fkmi_targets){.slot = world->slot,
                                           .tag_indptr = world->tag_indptr,
                                           .tag_slot = world->tag_slot,
                                           .values = values,
                                           .n_targets = wish->targets};
}

static void make_state(struct world *world, struct fkmi_random *random)
{
    const struct world_wish *wish = &world->wish;
    const bool f64 = fkmi_real_of(wish->dtype) == FKMI_REAL_F64, regress = wish->task == FKM_TASK_REGRESS;
    struct fkmi_state *state = &world->state;
    double *points = fresh((size_t)(wish->k * wish->dim), sizeof(double));
    float *narrow = fresh((size_t)(wish->k * wish->dim), sizeof(float));
    double *targets = fresh((size_t)(wish->k * wish->targets), sizeof(double));

    *state = (struct fkmi_state){
        .dtype = wish->dtype, .dim = wish->dim, .scale = 2.5, .n_targets = regress ? wish->targets : 0};
    for (int c = 0; c < wish->classes; c++) {
        for (int i = 0; i < wish->k * wish->dim; i++) {
            points[i] = fkmi_random_normal(random);
            narrow[i] = (float)points[i];
        }
        for (int i = 0; i < wish->k * wish->targets; i++)
            targets[i] = 100 * (i % wish->targets) + fkmi_random_normal(random);
        CHECK_OK(fkmi_state_add_class(state, world->context->kernels, c,
                                      f64 ? (void *)points : (void *)narrow, regress ? targets : NULL,
                                      wish->k));
    }
    if (wish->task == FKM_TASK_MULTILABEL) {
        CHECK_OK(fkmi_alloc(&state->alpha, state->class_capacity, sizeof(double)));
        CHECK_OK(fkmi_alloc(&state->beta, state->class_capacity, sizeof(double)));
        CHECK_OK(fkmi_alloc(&state->threshold, state->class_capacity, sizeof(double)));
    }
    if (wish->feature_weights) {
        double sum = 0;

        CHECK_OK(fkmi_alloc(&state->feature_weights, wish->dim, sizeof(double)));
        for (int d = 0; d < wish->dim; d++)
            sum += state->feature_weights[d] = 0.3 + fkmi_random_uniform(random);
        for (int d = 0; d < wish->dim; d++)
            state->feature_weights[d] *= wish->dim / sum;
    }
    free(points);
    free(narrow);
    free(targets);
}

void world_make(struct world *world, struct world_wish wish)
{
    struct fkmi_random random = fkmi_random_from(wish.seed);
    fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;

    *world = (struct world){.wish = wish, .params = FKM_PARAMS_INIT};
    options.n_threads = wish.threads > 0 ? wish.threads : 1;
    CHECK_OK(fkm_context_create(&options, &world->context));
    world->params.task = wish.task;
    world->params.metric = wish.metric;
    world->params.dtype = wish.dtype;
    world->params.soft = wish.soft;
    world->params.temperature = 0.7;
    world->params.normalize_prototypes = 0;
    world->random = fkmi_random_from(99);
    make_rows(world, &random);
    make_targets(world, &random);
    make_state(world, &random);
}

void world_begin(struct world *world)
{
    CHECK_OK(fkmi_trainer_begin(&world->trainer, world->context, &world->params, &world->state, &world->rows,
                                &world->targets));
}

void world_free(struct world *world)
{
    fkmi_train_work_free(&world->work, world->context->backend);
    fkmi_trainer_free(&world->trainer);
    fkmi_state_free(&world->state);
    fkm_context_free(world->context);
    free(world->x);
    free(world->mask);
    free(world->weight);
    free(world->stored);
    free(world->indptr);
    free(world->indices);
    free(world->values);
    free(world->slot);
    free(world->tag_indptr);
    free(world->tag_slot);
    free((double *)(uintptr_t)world->targets.values);
}

double world_loss(struct world *world)
{
    double loss;

    CHECK_OK(fkmi_train_loss(world->context, &world->params, &world->state, &world->trainer, &world->work,
                             &world->rows, &world->targets, world->random, &loss));
    return loss;
}

void world_step(struct world *world, double rate, uint64_t random)
{
    double loss;

    CHECK_OK(fkmi_train_step(world->context, &world->params, &world->state, &world->trainer, &world->work,
                             &world->rows, &world->targets, rate, fkmi_random_split(world->random, random),
                             &loss));
}

double world_point(const struct world *world, int64_t j, int64_t d)
{
    return fkmi_dtype_get(world->state.points, world->state.dtype, j * world->state.dim + d);
}

double world_gradient(const struct world *world, int64_t j, int64_t d)
{
    const int64_t at = j * world->state.dim + d;

    return world->trainer.real == FKMI_REAL_F64 ? ((const double *)world->trainer.gradient)[at]
                                                : (double)((const float *)world->trainer.gradient)[at];
}

/* ---- the naive loss */

static double distance_between(const struct world *world, const double *x, const float *mask, const double *c)
{
    const int64_t dim = world->state.dim;
    double total = 0, sum = 0, xx = 0, cc = 0, xc = 0;

    for (int64_t d = 0; d < dim; d++) {
        const double a = (world->state.feature_weights ? world->state.feature_weights[d] : 1) *
                         (mask ? (double)mask[d] : 1);
        const double value = mask && mask[d] == 0 ? 0 : x[d];

        total += a;
        sum += a *
               (world->params.metric == FKM_METRIC_L1 ? fabs(value - c[d]) : (value - c[d]) * (value - c[d]));
        xx += a * value * value;
        cc += a * c[d] * c[d];
        xc += a * value * c[d];
    }
    if (world->params.metric == FKM_METRIC_COSINE)
        return xx > 0 && cc > 0 ? 1 - xc / sqrt(xx * cc) : 1;
    return sum * (double)dim / total;
}

static void point_of(const struct world *world, int64_t j, double *c)
{
    for (int64_t d = 0; d < world->state.dim; d++)
        c[d] = world_point(world, j, d);
}

double world_distance(const struct world *world, const double *x, const float *mask, int64_t j)
{
    double c[256];

    point_of(world, j, c);
    return distance_between(world, x, mask, c);
}

static double unnormalised(const struct world *world, int64_t j, double d)
{
    const struct fkmi_state *state = &world->state;
    const double power = world->params.metric == FKM_METRIC_L1 ? 8 : 4;

    if (world->params.soft == FKM_SOFT_SCALED)
        return pow(1e-6 * state->scale + d, -power);
    return exp(state->bias[j] - d / (world->params.temperature * state->scale * exp(state->theta[j])));
}

/* Whether prototype j is among those row i learns from. */
static bool takes_part(const struct world *world, const double *distance, int64_t j, int64_t top_k, int own)
{
    const struct fkmi_state *state = &world->state;
    int64_t nearer = 0;
    bool nearest_own = own >= 0 && j >= state->class_begin[own] && j < state->class_begin[own + 1];

    for (int64_t o = 0; o < state->k; o++) {
        const bool before = distance[o] < distance[j] || (distance[o] == distance[j] && o < j);

        nearer += before;
        if (before && own >= 0 && o >= state->class_begin[own] && o < state->class_begin[own + 1])
            nearest_own = false;
    }
    return top_k < 0 || nearer < top_k || nearest_own;
}

static double row_loss(const struct world *world, int64_t i, const double *distance)
{
    const fkm_params *params = &world->params;
    const struct fkmi_state *state = &world->state;
    int64_t top_k = params->top_k_train;
    double loss = 0, sum = 0, p[256] = {0};

    switch (params->task) {
    case FKM_TASK_CLUSTER:
        loss = distance[0];
        for (int64_t j = 1; j < state->k; j++)
            loss = fmin(loss, distance[j]);
        return loss;
    case FKM_TASK_CLASSIFY: {
        const int own = world->slot[i];
        double rest = 1;

        if (top_k == 0)
            top_k = params->top_k < 0 ? -1 : params->top_k > 8 ? params->top_k : 8;
        for (int64_t c = 0; c < state->n_classes; c++)
            for (int64_t j = state->class_begin[c]; j < state->class_begin[c + 1]; j++)
                if (takes_part(world, distance, j, top_k, own)) {
                    p[c] += unnormalised(world, j, distance[j]);
                    sum += unnormalised(world, j, distance[j]);
                }
        for (int64_t c = 0; c < state->n_classes; c++)
            if (c != own && p[c] > 0) {
                loss -= params->label_smoothing / (double)state->n_classes * log(p[c] / sum);
                rest -= params->label_smoothing / (double)state->n_classes;
            }
        return loss - rest * log(p[own] / sum);
    }
    case FKM_TASK_MULTILABEL:
        for (int64_t c = 0; c < state->n_classes; c++) {
            double z = -INFINITY, q, m;
            bool tagged = false;

            for (int64_t t = world->tag_indptr[i]; t < world->tag_indptr[i + 1]; t++)
                tagged = tagged || world->tag_slot[t] == c;
            for (int64_t j = state->class_begin[c]; j < state->class_begin[c + 1]; j++)
                z = fmax(z, -distance[j] / (params->temperature * state->scale * exp(state->theta[j])));
            q = 1 / (1 + exp(-(state->alpha[c] * z + state->beta[c])));
            m = fmax(q - params->asl_clip, 0);
            loss -= tagged ? pow(1 - q, params->asl_gamma_pos) * log(q)
                           : pow(m, params->asl_gamma_neg) * log(1 - m);
        }
        return loss;
    case FKM_TASK_REGRESS: {
        const int64_t n_targets = state->n_targets;

        if (top_k == 0)
            top_k = params->top_k;
        for (int64_t j = 0; j < state->k; j++)
            if (takes_part(world, distance, j, top_k, -1)) {
                sum += unnormalised(world, j, distance[j]);
                for (int64_t t = 0; t < n_targets; t++)
                    p[t] += unnormalised(world, j, distance[j]) * state->targets[j * n_targets + t];
            }
        for (int64_t t = 0; t < n_targets; t++) {
            const double e =
                (p[t] / sum - world->targets.values[i * n_targets + t]) / world->trainer.target_std[t];

            loss += e * e / (double)n_targets;
        }
        return loss;
    }
    }
    return NAN;
}

static double naive_regularisers(const struct world *world)
{
    const struct fkmi_state *state = &world->state;
    double l2 = 0, diversity = 0, a[256], b[256];
    int64_t pairs = 0;

    for (int64_t at = 0; world->params.l2_reg > 0 && at < state->k * state->dim; at++) {
        const double away = world_point(world, 0, at) - ((const double *)world->trainer.anchor)[at];

        l2 += away * away / (double)state->k;
    }
    for (int64_t c = 0; c < state->n_classes; c++)
        for (int64_t i = state->class_begin[c]; i < state->class_begin[c + 1]; i++)
            for (int64_t j = state->class_begin[c]; j < i; j++) {
                double distance, similarity;

                point_of(world, i, a);
                point_of(world, j, b);
                distance = distance_between(world, a, NULL, b);
                similarity = world->params.metric == FKM_METRIC_COSINE ? 1 - distance
                                                                       : 1 / (1 + distance / state->scale);
                diversity += similarity * similarity;
                pairs++;
            }
    return world->params.l2_reg * l2 + world->params.diversity_reg * (pairs ? diversity / (double)pairs : 0);
}

bool world_pulls(const struct world *world, int64_t i, int64_t j)
{
    const fkm_params *params = &world->params;
    const struct fkmi_state *state = &world->state;
    const bool classify = params->task == FKM_TASK_CLASSIFY;
    double distance[256];
    int64_t first = 0, last = state->k, top_k = params->top_k_train;

    for (int64_t o = 0; o < state->k; o++)
        distance[o] = world_distance(world, world->x + i * world->wish.dim, NULL, o);
    if (classify || params->task == FKM_TASK_REGRESS) {
        if (top_k == 0)
            top_k = params->top_k < 0 ? -1 : classify && params->top_k <= 8 ? 8 : params->top_k;
        return takes_part(world, distance, j, top_k, classify ? world->slot[i] : -1);
    }
    for (int64_t c = 0; params->task == FKM_TASK_MULTILABEL && c < state->n_classes; c++)
        if (j >= state->class_begin[c] && j < state->class_begin[c + 1]) {
            first = state->class_begin[c];
            last = state->class_begin[c + 1];
        }
    for (int64_t o = first; o < last; o++)
        if (distance[o] < distance[j] || (distance[o] == distance[j] && o < j))
            return false;
    return true;
}

double world_naive_loss(const struct world *world)
{
    double sum = 0, weight = 0, distance[256];

    for (int64_t i = 0; i < world->wish.n; i++) {
        const double u = world->wish.weight ? (double)world->weight[i] : 1;

        for (int64_t j = 0; j < world->state.k; j++)
            distance[j] = world_distance(world, world->x + i * world->wish.dim,
                                         world->wish.mask ? world->mask + i * world->wish.dim : NULL, j);
        sum += u * row_loss(world, i, distance);
        weight += u;
    }
    return sum / weight + naive_regularisers(world);
}
