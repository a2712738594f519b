/* trainer.c — the optimizer's memory: where phase 2 begins and what it carries from step to step.
 * SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "train/columns.h"
#include "train/step.h"

void fkmi_trainer_free(struct fkmi_trainer *trainer)
{
    fkmi_free(trainer->point_m);
    fkmi_free(trainer->point_v);
    fkmi_free(trainer->master);
    fkmi_free(trainer->target_m);
    fkmi_free(trainer->target_v);
    fkmi_free(trainer->theta_m);
    fkmi_free(trainer->theta_v);
    fkmi_free(trainer->bias_m);
    fkmi_free(trainer->bias_v);
    fkmi_free(trainer->weight_m);
    fkmi_free(trainer->weight_v);
    fkmi_free(trainer->alpha_m);
    fkmi_free(trainer->alpha_v);
    fkmi_free(trainer->beta_m);
    fkmi_free(trainer->beta_v);
    fkmi_free(trainer->feature_std);
    fkmi_free(trainer->target_mean);
    fkmi_free(trainer->target_std);
    fkmi_free(trainer->anchor);
    fkmi_free(trainer->gradient);
    fkmi_free(trainer->touched);
    fkmi_free(trainer->listed);
    fkmi_train_columns_free(trainer->columns);
    fkmi_held_free(&trainer->held);
    *trainer = (struct fkmi_trainer){0};
}

fkm_status fkmi_trainer_copy(struct fkmi_trainer *out, const struct fkmi_trainer *from)
{
    fkm_status status = FKM_OK;
    const size_t real = fkmi_real_size(from->real);
    const int64_t k = from->k, dim = from->dim, m = from->n_targets, c = from->n_classes;

    *out = (struct fkmi_trainer){.begun = from->begun,
                                 .step = from->step,
                                 .k = k,
                                 .dim = dim,
                                 .n_classes = c,
                                 .n_targets = m,
                                 .real = from->real,
                                 .unit = from->unit};
    FKMI_TRY_GOTO(fkmi_copy(&out->point_m, from->point_m, k * dim, real));
    FKMI_TRY_GOTO(fkmi_copy(&out->point_v, from->point_v, k * dim, real));
    FKMI_TRY_GOTO(fkmi_copy(&out->master, from->master, k * dim, real));
    FKMI_TRY_GOTO(fkmi_held_copy(&out->held, &from->held, k, real));
    FKMI_TRY_GOTO(fkmi_copy(&out->target_m, from->target_m, k * m, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->target_v, from->target_v, k * m, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->theta_m, from->theta_m, k, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->theta_v, from->theta_v, k, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->bias_m, from->bias_m, k, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->bias_v, from->bias_v, k, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->weight_m, from->weight_m, dim, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->weight_v, from->weight_v, dim, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->alpha_m, from->alpha_m, c, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->alpha_v, from->alpha_v, c, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->beta_m, from->beta_m, c, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->beta_v, from->beta_v, c, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->feature_std, from->feature_std, dim, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->target_mean, from->target_mean, m, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->target_std, from->target_std, m, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->anchor, from->anchor, k * dim, real));
    FKMI_TRY_GOTO(fkmi_copy(&out->gradient, from->gradient, k * dim, real));
    FKMI_TRY_GOTO(fkmi_copy(&out->touched, from->touched, k, sizeof *out->touched));
done:
    if (status != FKM_OK)
        fkmi_trainer_free(out);
    return status;
}

static int64_t room_of(const struct fkmi_trainer *trainer)
{
    return trainer->k_room > trainer->k ? trainer->k_room : trainer->k;
}

static int64_t class_room_of(const struct fkmi_trainer *trainer)
{
    return trainer->class_room > trainer->n_classes ? trainer->class_room : trainer->n_classes;
}

/* ---- what begins with phase 2 */

/* What lists do not hold is 0. */
static double unit_of_lists(const struct fkmi_state *state)
{
    const int64_t held = state->lists.begin[state->k];
    const double n = (double)state->k * (double)state->dim;
    double mean = 0, square, about_0 = 0;

    for (int64_t e = 0; e < held; e++)
        mean += fkmi_dtype_get(state->lists.value, state->dtype, e) / n;
    square = (n - (double)held) * mean * mean;
    for (int64_t e = 0; e < held; e++) {
        const double c = fkmi_dtype_get(state->lists.value, state->dtype, e);

        square += (c - mean) * (c - mean);
        about_0 += c * c;
    }
    return square > 0 ? sqrt(square / n) : about_0 > 0 ? sqrt(about_0 / n) : 1.0;
}

/* Standard deviation of all coordinates of all prototypes: the unit of the learning rate. */
static fkm_status prototype_unit(const struct fkm_context *context, const struct fkmi_state *state,
                                 double *unit)
{
    const struct fkmi_vector *vector = &context->kernels->vector[FKMI_REAL_F64];
    const int64_t dim = state->dim;
    const double n = (double)state->k * (double)dim;
    double mean = 0, square = 0, about_0 = 0, *point;

    if (state->listed) {
        *unit = unit_of_lists(state);
        return FKM_OK;
    }
    FKMI_TRY(fkmi_alloc(&point, dim, sizeof *point));
    for (int64_t j = 0; j < state->k; j++) {
        vector->load[state->dtype](point, fkmi_state_point(state, j), dim);
        for (int64_t d = 0; d < dim; d++)
            mean += point[d];
    }
    mean /= n;
    for (int64_t j = 0; j < state->k; j++) {
        vector->load[state->dtype](point, fkmi_state_point(state, j), dim);
        for (int64_t d = 0; d < dim; d++) {
            square += (point[d] - mean) * (point[d] - mean);
            about_0 += point[d] * point[d];
        }
    }
    fkmi_free(point);
    /* one coordinate in all: its distance from 0 is the next best scale */
    *unit = square > 0 ? sqrt(square / n) : about_0 > 0 ? sqrt(about_0 / n) : 1.0;
    return FKM_OK;
}

/* All prototypes in reals, with room for more. */
static fkm_status copy_points(const struct fkm_context *context, const struct fkmi_state *state, int64_t room,
                              void *out)
{
    const enum fkmi_real real = fkmi_real_of(state->dtype);
    void *points;

    FKMI_TRY(fkmi_alloc(&points, room * state->dim, fkmi_real_size(real)));
    context->kernels->vector[real].load[state->dtype](points, state->points, state->k * state->dim);
    memcpy(out, &points, sizeof points);
    return FKM_OK;
}

static fkm_status moments(double **m, double **v, int64_t n)
{
    if (!*m)
        FKMI_TRY(fkmi_alloc(m, n, sizeof **m));
    if (!*v)
        FKMI_TRY(fkmi_alloc(v, n, sizeof **v));
    return FKM_OK;
}

/* What has a place for each coordinate of whole points. */
static fkm_status complete_points(struct fkmi_trainer *trainer, const struct fkm_context *context,
                                  const fkm_params *params, const struct fkmi_state *state)
{
    const int64_t k = room_of(trainer), dim = state->dim;
    const size_t real = fkmi_real_size(trainer->real);

    if (!trainer->point_m)
        FKMI_TRY(fkmi_alloc(&trainer->point_m, k * dim, real));
    if (!trainer->point_v)
        FKMI_TRY(fkmi_alloc(&trainer->point_v, k * dim, real));
    if (!trainer->master && fkmi_dtype_size(state->dtype) != real)
        FKMI_TRY(copy_points(context, state, k, &trainer->master));
    fkmi_held_spread(&trainer->held, trainer->k, dim, real, trainer->point_m, trainer->point_v,
                     trainer->master);
    fkmi_held_free(&trainer->held); /* they were lists until now */
    if (!trainer->touched) {
        FKMI_TRY(fkmi_alloc(&trainer->touched, k, sizeof *trainer->touched));
        memset(trainer->touched, 1, (size_t)k); /* a gradient from elsewhere may hold anything */
    }
    if (!trainer->listed && params->negative_sampling > 0) {
        FKMI_TRY(fkmi_alloc(&trainer->listed, k, sizeof *trainer->listed));
        trainer->n_listed = -1;
    }
    if (!trainer->gradient)
        FKMI_TRY(fkmi_alloc(&trainer->gradient, k * dim, real));
    if (!trainer->anchor && params->l2_reg > 0)
        FKMI_TRY(copy_points(context, state, k, &trainer->anchor));
    return FKM_OK;
}

fkm_status fkmi_trainer_complete(struct fkmi_trainer *trainer, const struct fkm_context *context,
                                 const fkm_params *params, const struct fkmi_state *state,
                                 const struct fkmi_rows *rows)
{
    const int64_t k = room_of(trainer), n_classes = class_room_of(trainer), dim = state->dim;

    if (state->listed && !trainer->columns)
        FKMI_TRY(fkmi_train_columns_create(state, params->metric, &trainer->held, trainer->step,
                                           &trainer->columns));
    if (!state->listed)
        FKMI_TRY(complete_points(trainer, context, params, state));
    if (fkmi_learns_theta(params))
        FKMI_TRY(moments(&trainer->theta_m, &trainer->theta_v, k));
    if (fkmi_learns_each(params))
        FKMI_TRY(moments(&trainer->bias_m, &trainer->bias_v, k));
    if (params->task == FKM_TASK_REGRESS)
        FKMI_TRY(moments(&trainer->target_m, &trainer->target_v, k * state->n_targets));
    if (params->auto_feature_weights && state->feature_weights)
        FKMI_TRY(moments(&trainer->weight_m, &trainer->weight_v, dim));
    if (params->task == FKM_TASK_MULTILABEL) {
        FKMI_TRY(moments(&trainer->alpha_m, &trainer->alpha_v, n_classes));
        FKMI_TRY(moments(&trainer->beta_m, &trainer->beta_v, n_classes));
    }
    if (params->noise > 0 && !trainer->feature_std) {
        double *std;
        fkm_status status;

        FKMI_TRY(fkmi_alloc(&std, dim, sizeof *std));
        status = fkmi_feature_std(rows, std);
        if (status != FKM_OK) {
            fkmi_free(std);
            return status;
        }
        trainer->feature_std = std;
    }
    return FKM_OK;
}

/* Weighted mean and standard deviation of each target; a constant target has unit 1. */
static fkm_status target_moments(struct fkmi_trainer *trainer, const struct fkmi_rows *rows,
                                 const struct fkmi_targets *targets)
{
    const int64_t m = targets->n_targets;

    FKMI_TRY(fkmi_alloc(&trainer->target_mean, m, sizeof(double)));
    FKMI_TRY(fkmi_alloc(&trainer->target_std, m, sizeof(double)));
    for (int64_t t = 0; t < m; t++) {
        double weight = 0, mean = 0, square = 0;

        for (int64_t i = 0; i < rows->n; i++) { /* West 1979 */
            const double u = fkmi_row_weight(rows, i), y = targets->values[fkmi_row(rows, i) * m + t];
            const double away = y - mean;

            if (!(u > 0))
                continue;
            weight += u;
            mean += away * u / weight;
            square += u * away * (y - mean);
        }
        trainer->target_mean[t] = mean;
        trainer->target_std[t] = square > 0 ? sqrt(square / weight) : 1.0;
    }
    return FKM_OK;
}

/* A theta as phase 1 left it becomes 0; one that was learned stays. *fresh: all are as phase 1 left them. */
static fkm_status begin_theta(const struct fkmi_state *state, double **theta, bool *fresh)
{
    FKMI_TRY(fkmi_copy(theta, state->theta, state->k, sizeof **theta));
    *fresh = true;
    for (int64_t j = 0; j < state->k; j++)
        if ((*theta)[j] == FKMI_THETA_PHASE1)
            (*theta)[j] = 0;
        else
            *fresh = false;
    return FKM_OK;
}

fkm_status fkmi_trainer_begin(struct fkmi_trainer *trainer, struct fkm_context *context,
                              const fkm_params *params, struct fkmi_state *state,
                              const struct fkmi_rows *rows, const struct fkmi_targets *targets)
{
    fkm_status status = FKM_OK;
    const bool tags = params->task == FKM_TASK_MULTILABEL;
    const struct fkmi_space space = fkmi_state_space(state, params->metric);
    struct fkmi_routing routing = fkmi_routing_of(params, state);
    struct fkmi_trainer fresh = {.begun = true,
                                 .k = state->k,
                                 .dim = state->dim,
                                 .n_classes = state->n_classes,
                                 .n_targets = state->n_targets,
                                 .real = fkmi_real_of(state->dtype)};
    double *theta = NULL, *beta = NULL, *new_alpha = NULL, *new_beta = NULL, slope = 1;
    struct fkmi_pack *pack = NULL;
    bool is_fresh;

    FKMI_TRY_GOTO(prototype_unit(context, state, &fresh.unit));
    FKMI_TRY_GOTO(fkmi_trainer_complete(&fresh, context, params, state, rows));
    if (fresh.touched)
        memset(fresh.touched, 0, (size_t)state->k); /* its gradient is new, so zero */
    if (params->task == FKM_TASK_REGRESS)
        FKMI_TRY_GOTO(target_moments(&fresh, rows, targets));
    FKMI_TRY_GOTO(begin_theta(state, &theta, &is_fresh));
    if (tags) {
        routing.theta = theta;
        slope = is_fresh ? 0 : 1; /* 0: to be found */
        FKMI_TRY_GOTO(fkmi_alloc(&beta, state->n_classes, sizeof *beta));
        FKMI_TRY_GOTO(fkmi_state_pack_in(context, &space, state, rows->mask != NULL, &pack));
        FKMI_TRY_GOTO(fkmi_prior(context, state, pack, &routing, rows, targets, FKMI_PRIOR_SCORES,
                                 is_fresh ? &slope : NULL, beta));
        if (!state->alpha)
            FKMI_TRY_GOTO(fkmi_alloc(&new_alpha, state->class_capacity, sizeof *new_alpha));
        if (!state->beta)
            FKMI_TRY_GOTO(fkmi_alloc(&new_beta, state->class_capacity, sizeof *new_beta));
    }

    /* nothing fails from here on */
    for (int64_t j = 0; j < state->k; j++)
        state->theta[j] = theta[j] - log(slope);
    if (new_alpha) {
        state->alpha = new_alpha;
        new_alpha = NULL;
    }
    if (new_beta) {
        state->beta = new_beta;
        new_beta = NULL;
    }
    for (int64_t c = 0; tags && c < state->n_classes; c++) {
        state->alpha[c] = 1;
        state->beta[c] = beta[c];
    }
    fkmi_trainer_free(trainer);
    *trainer = fresh;
    fresh = (struct fkmi_trainer){0};
done:
    fkmi_trainer_free(&fresh);
    context->backend->pack_free(pack);
    fkmi_free(theta);
    fkmi_free(beta);
    fkmi_free(new_alpha);
    fkmi_free(new_beta);
    return status;
}

/* ---- classes come */

/* An array with a row of `size` bytes for each prototype or class, room for `room` of them, zeros from n on. */
static fkm_status lengthen(void *array, int64_t n, int64_t n_new, int64_t room, size_t size)
{
    char *rows;

    memcpy(&rows, array, sizeof rows);
    if (!rows)
        return FKM_OK;
    FKMI_TRY(fkmi_resize(&rows, room, size));
    memcpy(array, &rows, sizeof rows);
    memset(rows + (size_t)n * size, 0, (size_t)(n_new - n) * size);
    return FKM_OK;
}

static int64_t room_for(int64_t n, int64_t room) { return n <= room ? room : n > 2 * room ? n : 2 * room; }

static void load_new(void *reals, const struct fkmi_trainer *trainer, const struct fkmi_state *state)
{
    const size_t real = fkmi_real_size(trainer->real);

    if (reals)
        fkmi_kernels_best()->vector[trainer->real].load[state->dtype](
            (char *)reals + (size_t)(trainer->k * state->dim) * real, fkmi_state_point(state, trainer->k),
            (state->k - trainer->k) * state->dim);
}

/* A theta shared by all keeps its moments in place 0, and needs none for what is new. */
fkm_status fkmi_trainer_grow(struct fkmi_trainer *trainer, const struct fkmi_state *state)
{
    const int64_t k = trainer->k, k_new = state->k, c = trainer->n_classes, c_new = state->n_classes;
    const int64_t k_room = room_for(k_new, room_of(trainer));
    const int64_t c_room = room_for(c_new, class_room_of(trainer));
    const size_t row = (size_t)trainer->dim * fkmi_real_size(trainer->real);
    const size_t targets = (size_t)trainer->n_targets * sizeof(double);

    assert((!trainer->columns || k_new == k) && trainer->dim == state->dim && k_new >= k && c_new >= c);
    if (trainer->held.begin) {
        FKMI_TRY(fkmi_resize(&trainer->held.begin, k_new + 1, sizeof *trainer->held.begin));
        for (int64_t j = k; j < k_new; j++)
            trainer->held.begin[j + 1] = trainer->held.begin[k];
    }
    FKMI_TRY(lengthen(&trainer->point_m, k, k_new, k_room, row));
    FKMI_TRY(lengthen(&trainer->point_v, k, k_new, k_room, row));
    FKMI_TRY(lengthen(&trainer->master, k, k_new, k_room, row));
    FKMI_TRY(lengthen(&trainer->anchor, k, k_new, k_room, row));
    FKMI_TRY(lengthen(&trainer->gradient, k, k_new, k_room, row));
    FKMI_TRY(lengthen(&trainer->touched, k, k_new, k_room, sizeof *trainer->touched));
    FKMI_TRY(lengthen(&trainer->listed, k, k_new, k_room, sizeof *trainer->listed));
    FKMI_TRY(lengthen(&trainer->target_m, k, k_new, k_room, targets));
    FKMI_TRY(lengthen(&trainer->target_v, k, k_new, k_room, targets));
    FKMI_TRY(lengthen(&trainer->theta_m, k, k_new, k_room, sizeof(double)));
    FKMI_TRY(lengthen(&trainer->theta_v, k, k_new, k_room, sizeof(double)));
    FKMI_TRY(lengthen(&trainer->bias_m, k, k_new, k_room, sizeof(double)));
    FKMI_TRY(lengthen(&trainer->bias_v, k, k_new, k_room, sizeof(double)));
    FKMI_TRY(lengthen(&trainer->alpha_m, c, c_new, c_room, sizeof(double)));
    FKMI_TRY(lengthen(&trainer->alpha_v, c, c_new, c_room, sizeof(double)));
    FKMI_TRY(lengthen(&trainer->beta_m, c, c_new, c_room, sizeof(double)));
    FKMI_TRY(lengthen(&trainer->beta_v, c, c_new, c_room, sizeof(double)));
    load_new(trainer->master, trainer, state);
    load_new(trainer->anchor, trainer, state);
    trainer->k = k_new;
    trainer->n_classes = c_new;
    trainer->k_room = k_room;
    trainer->class_room = c_room;
    return FKM_OK;
}

void fkmi_trainer_truncate(struct fkmi_trainer *trainer, int64_t k, int64_t n_classes)
{
    if (k < trainer->k)
        trainer->n_listed = -1; /* the list may name what goes */
    trainer->k = k;
    trainer->n_classes = n_classes;
}
