/* file_check.c — whether the values of a model file make a model that every call can work with. The file may come
 * from a stranger: what is not checked here must not matter anywhere.
 * SPDX-License-Identifier: Apache-2.0 */
#include <float.h>

#include "estimators/model.h"

/* No sum of squares of values up to this overflows, whatever the number of them. */
static const double MOST = 1e100;

/* Doubles within [low, high]; NULL is fine. */
static fkm_status check_range(const double *values, int64_t n, double low, double high, const char *name)
{
    for (int64_t i = 0; values && i < n; i++) {
        FKMI_TRY(fkmi_check_every(1 << 20, i));
        if (!(values[i] >= low && values[i] <= high))
            return fkmi_fail(FKM_EDATA, "the model file has %g in '%s'", values[i], name);
    }
    return FKM_OK;
}

/* Weights of features: their sum is their number. */
static fkm_status check_weights(const double *weights, int64_t dim, const char *name)
{
    const double n = (double)dim;
    double sum = 0;

    FKMI_TRY(check_range(weights, dim, 0, n * (1 + 1e-6), name));
    for (int64_t d = 0; weights && d < dim; d++)
        sum += weights[d];
    if (weights && !(fabs(sum - n) <= 1e-6 * n))
        return fkmi_fail(FKM_EDATA, "the model file's '%s' sum to %g, not to %lld", name, sum,
                         (long long)dim);
    return FKM_OK;
}

/* ---- prototypes */

static fkm_status check_classes(const fkm_model *model)
{
    const struct fkmi_state *state = &model->learned.state;
    const int64_t k = state->k, c = state->n_classes;

    if (model->params.task == FKM_TASK_CLUSTER && c != 1)
        return fkmi_fail(FKM_EDATA, "the model file has a clusterer of %lld classes", (long long)c);
    if (state->class_begin[0] != 0 || state->class_begin[c] != k)
        return fkmi_fail(FKM_EDATA, "the model file's classes hold %lld of %lld prototypes",
                         (long long)state->class_begin[c], (long long)k);
    for (int64_t i = 0; i < c; i++) {
        if (state->class_begin[i + 1] <= state->class_begin[i] || state->class_begin[i + 1] > k)
            return fkmi_fail(FKM_EDATA, "class %lld of the model file ends with prototype %lld of %lld",
                             (long long)i, (long long)state->class_begin[i + 1], (long long)k);
        if (model->params.task == FKM_TASK_MULTILABEL &&
            (state->class_label[i] < 0 || state->class_label[i] > INT32_MAX))
            return fkmi_fail(FKM_EDATA, "the model file has tag %lld", (long long)state->class_label[i]);
    }
    return FKM_OK;
}

/* Every class has a label of its own. */
static fkm_status check_labels(const struct fkmi_state *state)
{
    fkm_status status = FKM_OK;
    int64_t *order = NULL;

    FKMI_TRY_GOTO(fkmi_alloc(&order, state->n_classes, sizeof *order));
    fkmi_classes_rank(state->class_label, state->n_classes, order);
    for (int64_t c = 1; c < state->n_classes; c++)
        if (state->class_label[order[c]] == state->class_label[order[c - 1]])
            FKMI_TRY_GOTO(fkmi_fail(FKM_EDATA, "the model file has class %lld twice",
                                    (long long)state->class_label[order[c]]));
done:
    fkmi_free(order);
    return status;
}

static fkm_status check_tensors(const fkm_model *model)
{
    const struct fkmi_state *state = &model->learned.state;
    const bool tags = model->params.task == FKM_TASK_MULTILABEL,
               values = model->params.task == FKM_TASK_REGRESS;

    if ((!state->points && !state->listed) || !state->mass || !state->bias || !state->theta ||
        !state->frozen || !state->class_label || !state->class_begin)
        return fkmi_fail(FKM_EDATA, "the model file lacks a tensor of its %lld prototypes",
                         (long long)state->k);
    if (tags != (state->alpha != NULL) || tags != (state->beta != NULL) ||
        tags != (state->threshold != NULL) || values != (state->targets != NULL) ||
        values != (state->strata != NULL) || values != (state->n_targets > 0))
        return fkmi_fail(FKM_EDATA, "the model file's tensors do not fit a %s", model->estimator->name);
    return FKM_OK;
}

/* Lists one behind the other, each of finite values in columns that ascend. */
static fkm_status check_lists(const fkm_model *model)
{
    const struct fkmi_state *state = &model->learned.state;
    const struct fkmi_lists *lists = &state->lists;
    const struct fkmi_trainer *trainer = &model->trainer;

    if (state->ages || trainer->point_m || trainer->point_v || trainer->master || trainer->anchor ||
        trainer->gradient)
        return fkmi_fail(FKM_EDATA, "the model file has lists of prototypes beside tensors of whole ones");
    if (lists->begin[0] != 0)
        return fkmi_fail(FKM_EDATA, "the first prototype of the model file begins at %lld",
                         (long long)lists->begin[0]);
    for (int64_t j = 0; j < state->k; j++) {
        int64_t before = -1;

        FKMI_TRY(fkmi_check_every(1 << 12, j));
        if (lists->begin[j + 1] < lists->begin[j] || lists->begin[j + 1] > state->list_capacity)
            return fkmi_fail(FKM_EDATA, "prototype %lld of the model file ends at %lld of %lld", (long long)j,
                             (long long)lists->begin[j + 1], (long long)state->list_capacity);
        for (int64_t e = lists->begin[j]; e < lists->begin[j + 1]; e++) {
            if (lists->index[e] <= before || lists->index[e] >= state->dim)
                return fkmi_fail(FKM_EDATA,
                                 "prototype %lld of the model file has column %d after %lld of %lld",
                                 (long long)j, lists->index[e], (long long)before, (long long)state->dim);
            if (!isfinite(fkmi_dtype_get(lists->value, state->dtype, e)))
                return fkmi_fail(FKM_EDATA, "prototype %lld of the model file is not finite", (long long)j);
            before = lists->index[e];
        }
    }
    return FKM_OK;
}

static fkm_status check_state(const fkm_model *model)
{
    const struct fkmi_state *state = &model->learned.state;
    const int64_t k = state->k, c = state->n_classes;

    FKMI_TRY(check_tensors(model));
    FKMI_TRY(check_classes(model));
    FKMI_TRY(check_labels(state));
    if (state->listed)
        FKMI_TRY(check_lists(model));
    for (int64_t i = 0; !state->listed && i < k * state->dim; i++) {
        FKMI_TRY(fkmi_check_every(1 << 20, i));
        if (!isfinite(fkmi_dtype_get(state->points, state->dtype, i)))
            return fkmi_fail(FKM_EDATA, "prototype %lld of the model file is not finite",
                             (long long)(i / state->dim));
    }
    FKMI_TRY(check_range(state->mass, k, 0, MOST, "centroid_weights"));
    FKMI_TRY(check_range(state->ages, k * state->dim, 0, MOST, "centroid_ages"));
    FKMI_TRY(check_range(state->bias, k, -MOST, MOST, "bias"));
    FKMI_TRY(check_range(state->theta, k, -MOST, MOST, "theta"));
    FKMI_TRY(check_range(state->targets, state->n_targets * k, -DBL_MAX, DBL_MAX, "centroid_targets"));
    FKMI_TRY(check_range(state->strata, state->n_targets * c, -DBL_MAX, DBL_MAX, "strata"));
    FKMI_TRY(check_range(state->alpha, c, -MOST, MOST, "tag_alpha"));
    FKMI_TRY(check_range(state->beta, c, -MOST, MOST, "tag_beta"));
    FKMI_TRY(check_range(state->threshold, c, -DBL_MAX, DBL_MAX, "tag_threshold"));
    FKMI_TRY(check_weights(state->feature_weights, state->dim, "feature_weights"));
    for (int64_t i = 0; i < k; i++)
        if (state->frozen[i] > 1)
            return fkmi_fail(FKM_EDATA, "the model file has %d in 'frozen'", state->frozen[i]);
    return state->tuning ? fkmi_tuning_check(state->tuning) : FKM_OK;
}

static fkm_status check_importance(const fkm_model *model)
{
    const struct fkmi_importance *importance = &model->learned.importance;
    const int64_t n = importance->n_classes * importance->dim, dim = n > 0 ? model->learned.state.dim : 0;
    const bool some = importance->count || importance->mean || importance->m2;
    const bool all = importance->count && importance->mean && importance->m2;

    if (importance->dim != dim ||
        (n > 0 ? !all : importance->n_classes != 0 || (some && model->learned.state.k > 0)))
        return fkmi_fail(FKM_EDATA, "the model file has the importance of %lld features in %lld classes",
                         (long long)importance->dim, (long long)importance->n_classes);
    FKMI_TRY(check_range(importance->count, n, 0, MOST, "importance.count"));
    FKMI_TRY(check_range(importance->mean, n, -0x1p61, 0x1p61, "importance.mean")); /* rows reach 2^60 */
    return check_range(importance->m2, n, 0, DBL_MAX * 1e-100, "importance.m2");
}

/* ---- the optimizer */

/* A mean of gradients and a mean of their squares. By Cauchy's inequality Adam's m is at most 7.3 sqrt(v), but for
 * gradients whose squares vanish; what claims more would throw parameters anywhere in one step. */
static fkm_status check_moments(const void *m, const void *v, fkm_dtype dtype, int64_t n, const char *name)
{
    if ((m == NULL) != (v == NULL))
        return fkmi_fail(FKM_EDATA, "the model file has one of two moments of the %s", name);
    for (int64_t i = 0; m && i < n; i++) {
        const double mean = fkmi_dtype_get(m, dtype, i), square = fkmi_dtype_get(v, dtype, i);
        FKMI_TRY(fkmi_check_every(1 << 20, i));
        if (!(square >= 0 && isfinite(square) && fabs(mean) <= 8 * sqrt(square) + 1e-15))
            return fkmi_fail(FKM_EDATA, "the model file has moments %g and %g of the %s", mean, square, name);
    }
    return FKM_OK;
}

static fkm_status check_finite(const void *reals, fkm_dtype dtype, int64_t n, const char *name)
{
    for (int64_t i = 0; reals && i < n; i++) {
        FKMI_TRY(fkmi_check_every(1 << 20, i));
        if (!isfinite(fkmi_dtype_get(reals, dtype, i)))
            return fkmi_fail(FKM_EDATA, "the model file's %s is not finite", name);
    }
    return FKM_OK;
}

static bool has_tensors(const struct fkmi_trainer *t)
{
    return t->point_m || t->point_v || t->master || t->target_m || t->target_v || t->theta_m || t->theta_v ||
           t->bias_m || t->bias_v || t->weight_m || t->weight_v || t->alpha_m || t->alpha_v || t->beta_m ||
           t->beta_v || t->held.begin || t->feature_std || t->target_mean || t->target_std || t->anchor ||
           t->gradient;
}

/* Moments one behind the other, in columns that ascend. */
static fkm_status check_held(const fkm_model *model)
{
    const struct fkmi_state *state = &model->learned.state;
    const struct fkmi_trainer *t = &model->trainer;
    const struct fkmi_held_moments *held = &t->held;
    const fkm_dtype real = t->real == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32;
    const bool half = state->dtype == FKM_DTYPE_F16 || state->dtype == FKM_DTYPE_BF16;
    const int64_t n = held->begin[state->k];

    if ((n != 0 && half != (held->master != NULL)) || t->point_m || held->begin[0] != 0)
        return fkmi_fail(FKM_EDATA, "the model file lacks a tensor of its optimizer, or has one too many");
    for (int64_t j = 0; j < state->k; j++) {
        int64_t before = -1;

        FKMI_TRY(fkmi_check_every(1 << 12, j));
        if (held->begin[j + 1] < held->begin[j] || held->begin[j + 1] > n)
            return fkmi_fail(FKM_EDATA, "the moments of prototype %lld of the model file end at %lld of %lld",
                             (long long)j, (long long)held->begin[j + 1], (long long)n);
        for (int64_t e = held->begin[j]; e < held->begin[j + 1]; e++) {
            if (held->index[e] <= before || held->index[e] >= state->dim)
                return fkmi_fail(
                    FKM_EDATA,
                    "the moments of prototype %lld of the model file have column %d after %lld of %lld",
                    (long long)j, held->index[e], (long long)before, (long long)state->dim);
            before = held->index[e];
        }
    }
    FKMI_TRY(check_moments(held->m, held->v, real, n, "prototypes"));
    return check_finite(held->master, real, n, "unrounded prototypes");
}

static fkm_status check_trainer(const fkm_model *model)
{
    const struct fkmi_trainer *t = &model->trainer;
    const struct fkmi_state *state = &model->learned.state;
    const int64_t k = state->k, dim = state->dim, c = state->n_classes, m = state->n_targets;
    const fkm_dtype real = t->real == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32;
    const bool half = state->dtype == FKM_DTYPE_F16 || state->dtype == FKM_DTYPE_BF16;
    const bool tags = model->params.task == FKM_TASK_MULTILABEL,
               values = model->params.task == FKM_TASK_REGRESS;

    if (!t->begun)
        return has_tensors(t) ? fkmi_fail(FKM_EDATA, "the model file has an optimizer without steps")
                              : FKM_OK;
    if ((!state->listed && !t->held.begin && (!t->point_m || half != (t->master != NULL))) ||
        values != (t->target_m != NULL) || values != (t->target_mean != NULL) ||
        values != (t->target_std != NULL) || tags != (t->alpha_m != NULL) || tags != (t->beta_m != NULL))
        return fkmi_fail(FKM_EDATA, "the model file lacks a tensor of its optimizer, or has one too many");
    if (!(t->unit <= 0x1p62))
        return fkmi_fail(FKM_EDATA, "the model file has %g as the spread of its prototypes", t->unit);
    if (t->held.begin)
        FKMI_TRY(check_held(model));
    FKMI_TRY(check_moments(t->point_m, t->point_v, real, k * dim, "prototypes"));
    FKMI_TRY(check_moments(t->target_m, t->target_v, FKM_DTYPE_F64, k * m, "targets"));
    FKMI_TRY(check_moments(t->theta_m, t->theta_v, FKM_DTYPE_F64, k, "temperatures"));
    FKMI_TRY(check_moments(t->bias_m, t->bias_v, FKM_DTYPE_F64, k, "biases"));
    FKMI_TRY(check_moments(t->weight_m, t->weight_v, FKM_DTYPE_F64, dim, "feature weights"));
    FKMI_TRY(check_moments(t->alpha_m, t->alpha_v, FKM_DTYPE_F64, c, "slopes of tags"));
    FKMI_TRY(check_moments(t->beta_m, t->beta_v, FKM_DTYPE_F64, c, "offsets of tags"));
    FKMI_TRY(check_finite(t->master, real, k * dim, "unrounded prototypes"));
    FKMI_TRY(check_finite(t->gradient, real, k * dim, "gradient"));
    FKMI_TRY(check_finite(t->anchor, real, k * dim, "anchor"));
    FKMI_TRY(check_range(t->feature_std, dim, 0, 0x1p62, "train.feature_std"));
    FKMI_TRY(check_range(t->target_mean, m, -DBL_MAX, DBL_MAX, "train.target_mean"));
    return check_range(t->target_std, m, DBL_TRUE_MIN, DBL_MAX, "train.target_std");
}

/* ---- what a user set before the first fit */

static fkm_status check_settings(const fkm_model *model)
{
    const struct fkmi_start *start = &model->start;
    const bool labelled =
        model->params.task == FKM_TASK_CLASSIFY || model->params.task == FKM_TASK_MULTILABEL;
    const double most = fkmi_most_value(&model->params);

    if ((model->user_dim > 0) != (model->user_weights != NULL))
        return fkmi_fail(FKM_EDATA, "the model file has no weights of %lld features",
                         (long long)model->user_dim);
    FKMI_TRY(check_weights(model->user_weights, model->user_dim, "user_weights"));
    if ((start->k > 0) != (start->dim > 0) ||
        (start->k > 0) != ((start->points != NULL) + (start->wide != NULL)) ||
        (start->wide && model->params.dtype != FKM_DTYPE_F64) ||
        (start->k > 0 && labelled) != (start->label != NULL))
        return fkmi_fail(FKM_EDATA, "the model file lacks some of its %lld starting prototypes",
                         (long long)start->k);
    if (start->dim > 0 && model->user_dim > 0 && start->dim != model->user_dim)
        return fkmi_fail(FKM_EDATA,
                         "the model file has %lld columns of starting prototypes, %lld feature weights",
                         (long long)start->dim, (long long)model->user_dim);
    for (int64_t i = 0; i < start->k * start->dim; i++) {
        FKMI_TRY(fkmi_check_every(1 << 20, i));
        const double value = start->wide ? start->wide[i] : (double)start->points[i];

        if (!(fabs(value) <= most))
            return fkmi_fail(FKM_EDATA, "starting prototype %lld of the model file has %g",
                             (long long)(i / start->dim), value);
    }
    return FKM_OK;
}

fkm_status fkmi_model_check(const fkm_model *model)
{
    const struct fkmi_state *state = &model->learned.state;

    FKMI_TRY(check_settings(model));
    if (!(model->learning_rate <= FKMI_MOST_RATE))
        return fkmi_fail(FKM_EDATA, "the model file has a learning rate of %g", model->learning_rate);
    if (state->k == 0) {
        if (state->dim != 0 || state->tuning || state->n_targets != 0 ||
            model->learned.importance.n_classes != 0 || model->learned.importance.dim != 0 ||
            model->trainer.begun)
            return fkmi_fail(FKM_EDATA, "the model file has %lld features and no prototypes",
                             (long long)state->dim);
        return FKM_OK;
    }
    FKMI_TRY(check_state(model));
    FKMI_TRY(check_importance(model));
    return check_trainer(model);
}
