/* inside.c — copies of what a model has learned, for people who look inside.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "estimators/model.h"

static const char *const phase_names[] = {
    [FKMI_PHASE_FIT] = "fit", [FKMI_PHASE_FINETUNE] = "finetune", [FKMI_PHASE_SEARCH] = "learning rate"};

/* Bytes of the arrays a state holds. */
static size_t state_bytes(const struct fkmi_state *state)
{
    const size_t k = (size_t)state->k_capacity, dim = (size_t)state->dim;
    size_t bytes = k * (3 * sizeof(double) + 1);

    if (state->listed)
        bytes += (k + 1) * sizeof(int64_t) +
                 (size_t)state->list_capacity * (sizeof(int32_t) + fkmi_dtype_size(state->dtype));
    else
        bytes += k * dim * fkmi_dtype_size(state->dtype);

    if (state->ages)
        bytes += k * dim * sizeof(double);
    if (state->targets)
        bytes += k * (size_t)state->n_targets * sizeof(double);
    return bytes + (size_t)state->class_capacity * 2 * sizeof(int64_t);
}

fkm_status fkm_model_describe(const fkm_model *model, fkm_model_info *info)
{
    fkm_model_info full = {.struct_size = sizeof full};
    const struct fkmi_state *state;
    size_t size;

    if (!model || !info)
        return fkmi_fail(FKM_EINVAL, "%s is NULL", model ? "info" : "model");
    size = info->struct_size;
    if (size < sizeof(size_t) || size > sizeof full)
        return fkmi_fail(FKM_EINVAL, "fkm_model_info has struct_size %zu, this library knows %zu", size,
                         sizeof full);
    state = &model->learned.state;
    full.params = model->params;
    full.fitted = state->k > 0;
    full.has_ages = state->ages != NULL;
    full.has_optimizer = model->trainer.begun;
    full.k = state->k;
    full.dim = state->dim;
    full.n_classes = state->n_classes;
    full.n_targets = state->n_targets;
    full.batches = model->batches;
    full.iterations = model->iterations;
    full.gradient_steps = model->gradient_steps;
    full.n_history = model->history.n;
    full.learning_rate = model->learning_rate;
    full.scale = state->scale;
    if (state->k > 0) {
        const struct fkmi_routing routing = fkmi_routing_of(&model->params, state);
        full.temperature = fkmi_routing_tau(&routing, 0);
        full.idw_power = routing.power;
    }
    full.bytes = sizeof *model + state_bytes(state);
    full.struct_size = size;
    memcpy(info, &full, size);
    return FKM_OK;
}

/* The state, when the model is fitted and out is given. */
static fkm_status look(const fkm_model *model, const void *out, const char *what,
                       const struct fkmi_state **state)
{
    FKMI_TRY(fkmi_model_need_fitted(model, what));
    if (!out)
        return fkmi_fail(FKM_EINVAL, "the array for %s is NULL", what);
    *state = &model->learned.state;
    return FKM_OK;
}

static fkm_status copy_doubles(double *out, const double *values, int64_t n, const char *what)
{
    if (!values)
        return fkmi_fail(FKM_ESTATE, "this model has no %s", what);
    memcpy(out, values, (size_t)n * sizeof *out);
    return FKM_OK;
}

fkm_status fkm_model_centroids(const fkm_model *model, double *points)
{
    const struct fkmi_state *state;

    FKMI_TRY(look(model, points, "centroids", &state));
    for (int64_t j = 0; j < state->k; j++)
        fkmi_state_load(state, j, points + j * state->dim);
    return FKM_OK;
}

/* The coordinates of prototype j that are not 0, to indices and values unless those are NULL; how many. */
static int64_t entries_of(const struct fkmi_state *state, int64_t j, int32_t *indices, double *values)
{
    const struct fkmi_lists *lists = &state->lists;
    const int64_t first = state->listed ? lists->begin[j] : 0,
                  n = state->listed ? lists->begin[j + 1] - first : state->dim;
    const void *stored = state->listed ? lists->value : fkmi_state_point(state, j);
    int64_t found = 0;

    for (int64_t e = 0; e < n; e++) {
        const double value = fkmi_dtype_get(stored, state->dtype, first + e);

        if (value == 0)
            continue;
        if (values) {
            indices[found] = state->listed ? lists->index[first + e] : (int32_t)e;
            values[found] = value;
        }
        found++;
    }
    return found;
}

fkm_status fkm_model_centroids_csr(const fkm_model *model, int64_t n_entries, int64_t *indptr,
                                   int32_t *indices, double *values)
{
    const struct fkmi_state *state;
    int64_t n = 0;

    FKMI_TRY(look(model, indptr, "the beginnings of centroids", &state));
    if (!indices != !values)
        return fkmi_fail(FKM_EINVAL, "of indices and values, one is NULL and one is not");
    for (int64_t j = 0; j < state->k; j++)
        n += entries_of(state, j, NULL, NULL);
    if (n_entries != (indices ? n : 0))
        return fkmi_fail(FKM_EINVAL, "the arrays hold %lld numbers, centroids have %lld that are not 0",
                         (long long)n_entries, (long long)n);
    indptr[0] = 0;
    for (int64_t j = 0; j < state->k; j++)
        indptr[j + 1] = indptr[j] + entries_of(state, j, indices ? indices + indptr[j] : NULL,
                                               indices ? values + indptr[j] : NULL);
    return FKM_OK;
}

fkm_status fkm_model_centroid_weights(const fkm_model *model, double *mass)
{
    const struct fkmi_state *state;

    FKMI_TRY(look(model, mass, "centroid weights", &state));
    return copy_doubles(mass, state->mass, state->k, "centroid weights");
}

fkm_status fkm_model_centroid_ages(const fkm_model *model, double *ages)
{
    const struct fkmi_state *state;

    FKMI_TRY(look(model, ages, "ages", &state));
    return copy_doubles(ages, state->ages, state->k * state->dim,
                        "ages by coordinate: no mask was ever seen");
}

fkm_status fkm_model_centroid_labels(const fkm_model *model, int64_t *labels)
{
    const struct fkmi_state *state;

    FKMI_TRY(look(model, labels, "centroid labels", &state));
    if (model->params.task == FKM_TASK_CLUSTER || model->params.task == FKM_TASK_REGRESS)
        return fkmi_fail(FKM_ESTATE, "prototypes of a %s have no labels", model->estimator->name);
    for (int64_t c = 0; c < state->n_classes; c++)
        for (int64_t j = state->class_begin[c]; j < state->class_begin[c + 1]; j++)
            labels[j] = state->class_label[c];
    return FKM_OK;
}

fkm_status fkm_model_centroid_targets(const fkm_model *model, double *values)
{
    const struct fkmi_state *state;

    FKMI_TRY(look(model, values, "centroid targets", &state));
    return copy_doubles(values, state->targets, state->k * state->n_targets, "targets");
}

fkm_status fkm_model_centroid_gradients(const fkm_model *model, double *gradient)
{
    const struct fkmi_state *state;
    const struct fkmi_trainer *trainer;

    FKMI_TRY(look(model, gradient, "gradients", &state));
    trainer = &model->trainer;
    if (trainer->begun && (state->listed || !trainer->gradient))
        return fkmi_fail(FKM_ESTATE, "the last gradient step was on sparse rows, which keep no gradients");
    if (!trainer->begun)
        return fkmi_fail(FKM_ESTATE, "there are no gradients before the first gradient step");
    for (int64_t i = 0; i < state->k * state->dim; i++)
        gradient[i] = trainer->real == FKMI_REAL_F64 ? ((const double *)trainer->gradient)[i]
                                                     : (double)((const float *)trainer->gradient)[i];
    return FKM_OK;
}

fkm_status fkm_model_frozen(const fkm_model *model, uint8_t *frozen)
{
    const struct fkmi_state *state;

    FKMI_TRY(look(model, frozen, "the frozen mask", &state));
    memcpy(frozen, state->frozen, (size_t)state->k);
    return FKM_OK;
}

fkm_status fkm_model_feature_weights(const fkm_model *model, double *weights)
{
    const struct fkmi_state *state;

    FKMI_TRY(look(model, weights, "feature weights", &state));
    for (int64_t d = 0; d < state->dim; d++)
        weights[d] = state->feature_weights ? state->feature_weights[d] : 1.0;
    return FKM_OK;
}

fkm_status fkm_model_classes(const fkm_model *model, int64_t *labels)
{
    const struct fkmi_state *state;

    FKMI_TRY(look(model, labels, "classes", &state));
    if (model->params.task == FKM_TASK_CLUSTER || model->params.task == FKM_TASK_REGRESS)
        return fkmi_fail(FKM_ESTATE, "a %s has no classes", model->estimator->name);
    fkmi_classes_rank(state->class_label, state->n_classes, labels);
    for (int64_t c = 0; c < state->n_classes; c++)
        labels[c] = state->class_label[labels[c]];
    return FKM_OK;
}

fkm_status fkm_model_centroid_routing(const fkm_model *model, double *out)
{
    const struct fkmi_state *state;
    struct fkmi_routing routing;

    FKMI_TRY(look(model, out, "temperatures and biases", &state));
    routing = fkmi_routing_of(&model->params, state);
    for (int64_t j = 0; j < state->k; j++) {
        out[2 * j] = fkmi_routing_tau(&routing, j);
        out[2 * j + 1] = state->bias[j];
    }
    return FKM_OK;
}

fkm_status fkm_model_tag_scores(const fkm_model *model, double *scores)
{
    fkm_status status = FKM_OK;
    const struct fkmi_state *state;
    int64_t *order = NULL;

    FKMI_TRY(look(model, scores, "the scores of tags", &state));
    if (model->params.task != FKM_TASK_MULTILABEL)
        return fkmi_fail(FKM_ESTATE, "a %s has no tags", model->estimator->name);
    FKMI_TRY_GOTO(fkmi_alloc(&order, state->n_classes, sizeof *order));
    fkmi_classes_rank(state->class_label, state->n_classes, order);
    for (int64_t c = 0; c < state->n_classes; c++) {
        scores[3 * c] = state->alpha[order[c]];
        scores[3 * c + 1] = state->beta[order[c]];
        scores[3 * c + 2] = state->threshold[order[c]];
    }
done:
    fkmi_free(order);
    return status;
}

fkm_status fkm_model_history(const fkm_model *model, int64_t index, fkm_history *out)
{
    const struct fkmi_history_line *line;
    fkm_history full;
    size_t size;

    if (!model || !out)
        return fkmi_fail(FKM_EINVAL, "%s is NULL", model ? "out" : "model");
    size = out->struct_size;
    if (size < sizeof(size_t) || size > sizeof full)
        return fkmi_fail(FKM_EINVAL, "fkm_history has struct_size %zu, this library knows %zu", size,
                         sizeof full);
    if (index < 0 || index >= model->history.n)
        return fkmi_fail(FKM_EINVAL, "history line %lld of %lld", (long long)index,
                         (long long)model->history.n);
    line = &model->history.lines[index];
    full = (fkm_history){.struct_size = size,
                         .phase = phase_names[line->phase],
                         .epoch = line->epoch,
                         .loss = line->loss,
                         .shift = line->shift,
                         .eval = line->eval,
                         .lr = line->lr,
                         .k = line->k};
    memcpy(out, &full, size);
    return FKM_OK;
}
