/* model.c — making, copying and freeing models, and what a user may set before the first fit.
 * SPDX-License-Identifier: Apache-2.0 */
#include "estimators/model.h"

#include <math.h>
#include <string.h>

#include "io/lines.h"

static const struct fkmi_estimator *const estimators[] = {
    [FKM_TASK_CLUSTER] = &fkmi_clusterer,
    [FKM_TASK_CLASSIFY] = &fkmi_classifier,
    [FKM_TASK_MULTILABEL] = &fkmi_multilabel,
    [FKM_TASK_REGRESS] = &fkmi_regressor,
};

fkm_status fkmi_model_new(fkm_context *context, const fkm_params *params, fkm_model **out)
{
    fkm_model *model;
    fkm_params taken;

    FKMI_TRY(fkmi_params_take(&taken, params));
    FKMI_TRY(fkmi_alloc(&model, 1, sizeof *model));
    model->context = context;
    model->params = taken;
    model->estimator = estimators[taken.task];
    pthread_mutex_init(&model->pack_lock, NULL);
    *out = model;
    return FKM_OK;
}

/* A model read from a file may ask for a search that is not there, and is scanned; nobody else may. */
static fkm_status need_search(const struct fkm_context *context, const fkm_params *params)
{
    if (params->use_faiss && !fkmi_approximate_possible(context, params->metric))
        return fkmi_fail(FKM_EUNSUPPORTED, "use_faiss is true, and no approximate search is there");
    return FKM_OK;
}

fkm_status fkm_model_create(fkm_context *context, const fkm_params *params, fkm_model **out)
{
    fkm_model *model = NULL;
    fkm_status status;

    if (!out)
        return fkmi_fail(FKM_EINVAL, "out is NULL");
    *out = NULL;
    if (!context || !params)
        return fkmi_fail(FKM_EINVAL, "%s is NULL", context ? "params" : "context");
    FKMI_TRY(fkmi_model_new(context, params, &model));
    status = need_search(context, &model->params);
    if (status != FKM_OK)
        fkm_model_free(model);
    else
        *out = model;
    return status;
}

void fkmi_learned_free(struct fkmi_learned *learned)
{
    fkmi_state_free(&learned->state);
    fkmi_classes_free(&learned->classes);
    fkmi_importance_free(&learned->importance);
    memset(learned, 0, sizeof *learned);
}

fkm_status fkmi_learned_copy(struct fkmi_learned *out, const struct fkmi_learned *learned)
{
    fkm_status status = FKM_OK;

    memset(out, 0, sizeof *out);
    FKMI_TRY_GOTO(fkmi_state_copy(&out->state, &learned->state));
    FKMI_TRY_GOTO(fkmi_classes_rebuild(&out->classes, learned->state.class_label, learned->state.n_classes));
    FKMI_TRY_GOTO(fkmi_importance_copy(&out->importance, &learned->importance));
done:
    if (status != FKM_OK)
        fkmi_learned_free(out);
    return status;
}

void fkmi_learned_truncate(struct fkmi_learned *learned, int64_t n_classes)
{
    if (learned->state.n_classes > n_classes)
        fkmi_state_truncate(&learned->state, n_classes);
    fkmi_classes_truncate(&learned->classes, n_classes);
}

static void start_free(struct fkmi_start *start)
{
    fkmi_free(start->points);
    fkmi_free(start->wide);
    fkmi_free(start->label);
}

void fkm_model_free(fkm_model *model)
{
    const struct fkmi_backend *backend;

    if (!model)
        return;
    backend = model->context->backend;
    fkmi_learned_free(&model->learned);
    fkmi_trainer_free(&model->trainer);
    fkmi_free(model->user_weights);
    start_free(&model->start);
    fkmi_free(model->class_k);
    fkmi_free(model->history.lines);
    for (int64_t i = 0; i < model->n_notes; i++) {
        fkmi_free(model->notes[i].name);
        fkmi_free(model->notes[i].value);
    }
    fkmi_free(model->notes);
    fkm_vectorizer_free(model->vectorizer);
    fkmi_phase1_free(&model->phase1, backend);
    fkmi_train_work_free(&model->train_work, backend);
    fkmi_model_drop_packs(model);
    pthread_mutex_destroy(&model->pack_lock);
    fkmi_free(model);
}

fkm_status fkm_model_copy(const fkm_model *model, fkm_model **out)
{
    fkm_status status = FKM_OK;
    fkm_model *copy = NULL;

    if (out)
        *out = NULL;
    if (!model || !out)
        return fkmi_fail(FKM_EINVAL, "%s is NULL", model ? "out" : "model");
    FKMI_TRY_GOTO(fkmi_model_new(model->context, &model->params, &copy));
    FKMI_TRY_GOTO(fkmi_learned_copy(&copy->learned, &model->learned));
    FKMI_TRY_GOTO(fkmi_trainer_copy(&copy->trainer, &model->trainer));
    FKMI_TRY_GOTO(fkmi_copy(&copy->user_weights, model->user_weights, model->user_dim, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&copy->start.points, model->start.points, model->start.k * model->start.dim,
                            sizeof(float)));
    FKMI_TRY_GOTO(
        fkmi_copy(&copy->start.wide, model->start.wide, model->start.k * model->start.dim, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&copy->start.label, model->start.label, model->start.k, sizeof(int64_t)));
    FKMI_TRY_GOTO(fkmi_copy(&copy->class_k, model->class_k, model->n_class_k, sizeof *copy->class_k));
    FKMI_TRY_GOTO(
        fkmi_copy(&copy->history.lines, model->history.lines, model->history.n, sizeof *copy->history.lines));
    for (int64_t i = 0; i < model->n_notes; i++)
        FKMI_TRY_GOTO(fkm_model_set_note(copy, model->notes[i].name, model->notes[i].value));
    FKMI_TRY_GOTO(fkm_model_set_vectorizer(copy, model->vectorizer));
    copy->start.k = model->start.k;
    copy->start.dim = model->start.dim;
    copy->user_dim = model->user_dim;
    copy->n_class_k = copy->class_k_capacity = model->n_class_k;
    copy->history.n = copy->history.capacity = model->history.n;
    copy->batches = model->batches;
    copy->iterations = model->iterations;
    copy->gradient_steps = model->gradient_steps;
    copy->last_merged = model->last_merged;
    copy->learning_rate = model->learning_rate;
    copy->place = model->place;
    *out = copy;
    copy = NULL;
done:
    fkm_model_free(copy);
    return status;
}

void fkmi_model_changed(fkm_model *model)
{
    model->packed[0] = model->packed[1] = false;
    model->class_map.known = false;
    fkmi_approximate_free(model->approximate);
    model->approximate = NULL;
}

void fkmi_model_drop_packs(fkm_model *model)
{
    fkmi_approximate_free(model->approximate);
    model->approximate = NULL;
    for (int i = 0; i < 2; i++) {
        model->context->backend->pack_free(model->packs[i]);
        model->packs[i] = NULL;
        model->packed[i] = false;
    }
    fkmi_free(model->whole_points);
    model->whole_points = NULL;
    fkmi_class_map_free(&model->class_map);
}

fkm_status fkmi_model_need_points(fkm_model *model)
{
    if (model->learned.state.listed)
        fkmi_model_drop_packs(model); /* they look at the lists */
    return fkmi_state_need_points(&model->learned.state);
}

fkm_status fkmi_model_need_fitted(const fkm_model *model, const char *what)
{
    if (!model)
        return fkmi_fail(FKM_EINVAL, "model is NULL");
    if (model->learned.state.k == 0)
        return fkmi_fail(FKM_ESTATE, "%s needs a fitted model: call fit or fit_batch first", what);
    return FKM_OK;
}

fkm_status fkmi_history_add(struct fkmi_history *history, const struct fkmi_history_line *line)
{
    if (history->n == history->capacity) {
        const int64_t capacity = history->capacity > 0 ? 2 * history->capacity : 64;
        FKMI_TRY(fkmi_resize(&history->lines, capacity, sizeof *history->lines));
        history->capacity = capacity;
    }
    history->lines[history->n++] = *line;
    return FKM_OK;
}

static fkm_status need_unfitted(const fkm_model *model, const char *what)
{
    if (!model)
        return fkmi_fail(FKM_EINVAL, "model is NULL");
    if (model->learned.state.k > 0)
        return fkmi_fail(FKM_ESTATE, "%s must be set before the first fit", what);
    return FKM_OK;
}

/* Points the caller may give in either precision. */
struct points {
    const float *narrow;
    const double *wide;
};

static double point_value(const struct points *points, int64_t i)
{
    return points->wide ? points->wide[i] : (double)points->narrow[i];
}

static fkm_status check_start(const fkm_model *model, const struct points *points, int64_t k, int64_t dim)
{
    const double most = fkmi_most_value(&model->params);

    if (!points->narrow && !points->wide)
        return fkmi_fail(FKM_EINVAL, "points is NULL");
    if (k < 1 || dim < 1)
        return fkmi_fail(FKM_EINVAL, "starting prototypes are %lld x %lld; at least 1 x 1 is needed",
                         (long long)k, (long long)dim);
    if (k > INT32_MAX || dim > INT32_MAX)
        return fkmi_fail(FKM_EINVAL, "starting prototypes are %lld x %lld; at most %d each are possible",
                         (long long)k, (long long)dim, INT32_MAX);
    if (model->user_dim > 0 && model->user_dim != dim)
        return fkmi_fail(FKM_EINVAL,
                         "starting prototypes have %lld columns, feature_weights has %lld entries",
                         (long long)dim, (long long)model->user_dim);
    for (int64_t i = 0; i < k * dim; i++) {
        FKMI_TRY(fkmi_check_every(1 << 20, i));
        if (!(fabs(point_value(points, i)) <= most))
            return fkmi_fail(FKM_EINVAL,
                             "starting prototype %lld has %g in column %lld; at most %g is possible",
                             (long long)(i / dim), point_value(points, i), (long long)(i % dim), most);
    }
    return FKM_OK;
}

static fkm_status set_start(fkm_model *model, const struct points *points, int64_t k, int64_t dim,
                            const int64_t *labels)
{
    struct fkmi_start own = {.k = k, .dim = dim};
    fkm_status status = FKM_OK;
    const bool labelled =
        model && (model->params.task == FKM_TASK_CLASSIFY || model->params.task == FKM_TASK_MULTILABEL);

    FKMI_TRY(need_unfitted(model, "the starting prototypes"));
    FKMI_TRY(check_start(model, points, k, dim));
    if (labelled && !labels)
        return fkmi_fail(FKM_EINVAL, "starting prototypes of a %s need a label each", model->estimator->name);
    if (points->wide && model->params.dtype == FKM_DTYPE_F64)
        FKMI_TRY_GOTO(fkmi_alloc(&own.wide, k * dim, sizeof *own.wide));
    else
        FKMI_TRY_GOTO(fkmi_alloc(&own.points, k * dim, sizeof *own.points));
    for (int64_t i = 0; i < k * dim; i++) {
        FKMI_TRY_GOTO(fkmi_check_every(1 << 20, i));
        if (own.wide)
            own.wide[i] = points->wide[i];
        else
            own.points[i] = (float)point_value(points, i);
    }
    FKMI_TRY_GOTO(fkmi_copy(&own.label, labelled ? labels : NULL, k, sizeof(int64_t)));
    start_free(&model->start);
    model->start = own;
    own = (struct fkmi_start){0};
done:
    start_free(&own);
    return status;
}

fkm_status fkm_model_set_start(fkm_model *model, const float *points, int64_t k, int64_t dim,
                               const int64_t *labels)
{
    return set_start(model, &(struct points){.narrow = points}, k, dim, labels);
}

fkm_status fkm_model_set_start_f64(fkm_model *model, const double *points, int64_t k, int64_t dim,
                                   const int64_t *labels)
{
    return set_start(model, &(struct points){.wide = points}, k, dim, labels);
}

fkm_status fkm_model_set_feature_weights(fkm_model *model, const double *weights, int64_t dim)
{
    double *own = NULL, sum = 0;

    FKMI_TRY(need_unfitted(model, "feature weights"));
    if (!weights)
        return fkmi_fail(FKM_EINVAL, "weights is NULL");
    if (dim < 1)
        return fkmi_fail(FKM_EINVAL, "feature_weights has %lld entries; at least 1 is needed",
                         (long long)dim);
    for (int64_t d = 0; d < dim; d++) {
        if (!(weights[d] >= 0) || !isfinite(weights[d]))
            return fkmi_fail(FKM_EINVAL, "feature_weights[%lld] is %g; it must be finite and >= 0",
                             (long long)d, weights[d]);
        sum += weights[d];
    }
    if (!(sum > 0) || !isfinite(sum))
        return fkmi_fail(FKM_EINVAL, "feature_weights sum to %g; the sum must be positive and finite", sum);
    if (!isfinite((double)dim / sum))
        return fkmi_fail(FKM_EINVAL, "feature_weights sum to %g, too little to divide by", sum);
    if (model->start.dim > 0 && model->start.dim != dim)
        return fkmi_fail(FKM_EINVAL,
                         "feature_weights has %lld entries, the starting prototypes have %lld columns",
                         (long long)dim, (long long)model->start.dim);
    FKMI_TRY(fkmi_copy(&own, weights, dim, sizeof(double)));
    for (int64_t d = 0; d < dim; d++)
        own[d] *= (double)dim / sum;
    fkmi_free(model->user_weights);
    model->user_weights = own;
    model->user_dim = dim;
    return FKM_OK;
}

/* Where the label is, or would be, among the classes with a number of their own. */
static int64_t class_k_place(const fkm_model *model, int64_t label)
{
    int64_t low = 0, high = model->n_class_k;

    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (model->class_k[middle].label < label)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Whether what a model has learned depends on the parameter. */
static bool is_settled(const fkm_model *model, const char *name)
{
    static const char *const settled[] = {
        "distance",        "dtype",          "auto_feature_weights", "normalize_prototypes",
        "prototype_scale", "target_distance"};

    if (strcmp(name, "task") == 0) /* it chose the functions, of an unfitted model too */
        return true;
    if (model->learned.state.k == 0)
        return false;
    for (size_t i = 0; i < sizeof settled / sizeof *settled; i++)
        if (strcmp(name, settled[i]) == 0)
            return true;
    return model->params.task == FKM_TASK_MULTILABEL && strcmp(name, "temperature") == 0;
}

fkm_status fkm_model_set_param(fkm_model *model, const char *name, const char *value)
{
    fkm_params changed;

    if (!model || !name)
        return fkmi_fail(FKM_EINVAL, "%s is NULL", model ? "the parameter's name" : "model");
    changed = model->params;
    FKMI_TRY(fkm_params_set(&changed, name, value));
    FKMI_TRY(fkmi_params_take(&changed, &changed));
    if (!model->params.use_faiss)
        FKMI_TRY(need_search(model->context, &changed));
    if (is_settled(model, name))
        return fkmi_fail(FKM_ESTATE, "%s is part of what the %s has learned; a new model can have another",
                         name, model->estimator->name);
    model->params = changed;
    return FKM_OK;
}

fkm_status fkm_model_set_class_k(fkm_model *model, int64_t label, int32_t k)
{
    int64_t at;

    if (!model)
        return fkmi_fail(FKM_EINVAL, "model is NULL");
    if (k < 1)
        return fkmi_fail(FKM_EINVAL, "class %lld is to have %d prototypes; at least 1 is needed",
                         (long long)label, k);
    at = class_k_place(model, label);
    if (at < model->n_class_k && model->class_k[at].label == label) {
        model->class_k[at].k = k;
        return FKM_OK;
    }
    if (model->n_class_k == model->class_k_capacity) {
        const int64_t capacity = model->class_k_capacity > 0 ? 2 * model->class_k_capacity : 16;
        FKMI_TRY(fkmi_resize(&model->class_k, capacity, sizeof *model->class_k));
        model->class_k_capacity = capacity;
    }
    memmove(&model->class_k[at + 1], &model->class_k[at],
            (size_t)(model->n_class_k - at) * sizeof *model->class_k);
    model->class_k[at] = (struct fkmi_class_k){label, k};
    model->n_class_k++;
    return FKM_OK;
}

int32_t fkmi_model_class_k(const fkm_model *model, int64_t label)
{
    const int64_t at = class_k_place(model, label);

    return at < model->n_class_k && model->class_k[at].label == label ? model->class_k[at].k
                                                                      : model->params.k_init;
}

fkm_status fkm_model_freeze(fkm_model *model, const uint8_t *frozen, int64_t k)
{
    FKMI_TRY(fkmi_model_need_fitted(model, "freeze"));
    if (frozen && k != model->learned.state.k)
        return fkmi_fail(FKM_EINVAL, "the mask has %lld entries, the model has %lld prototypes", (long long)k,
                         (long long)model->learned.state.k);
    for (int64_t j = 0; j < model->learned.state.k; j++)
        model->learned.state.frozen[j] = !frozen || frozen[j] ? 1 : 0;
    return FKM_OK;
}

static bool name_is_valid(const char *name)
{
    size_t n = 0;

    for (; name[n]; n++) {
        const char c = name[n];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && (n == 0 || !((c >= '0' && c <= '9') || c == '_' || c == '.')))
            return false;
    }
    return n >= 1 && n <= 64;
}

fkm_status fkm_model_set_note(fkm_model *model, const char *name, const char *value)
{
    fkm_status status = FKM_OK;
    char *own_name = NULL, *own_value = NULL;
    int64_t i = 0;

    if (!model || !name)
        return fkmi_fail(FKM_EINVAL, "%s is NULL", model ? "name" : "model");
    if (!name_is_valid(name))
        return fkmi_fail(FKM_EINVAL,
                         "'%.70s' is no name of a note: a letter, then letters, digits, '_' or '.', at "
                         "most 64",
                         name);
    if (value && !fkmi_is_utf8(value, strlen(value)))
        return fkmi_fail(FKM_EINVAL, "the note '%s' is not UTF-8", name);
    while (i < model->n_notes && strcmp(model->notes[i].name, name) != 0)
        i++;
    if (!value) {
        if (i < model->n_notes) {
            fkmi_free(model->notes[i].name);
            fkmi_free(model->notes[i].value);
            memmove(&model->notes[i], &model->notes[i + 1],
                    (size_t)(model->n_notes - i - 1) * sizeof *model->notes);
            model->n_notes--;
        }
        return FKM_OK;
    }
    FKMI_TRY_GOTO(fkmi_copy(&own_value, value, (int64_t)strlen(value) + 1, 1));
    if (i == model->n_notes) {
        FKMI_TRY_GOTO(fkmi_copy(&own_name, name, (int64_t)strlen(name) + 1, 1));
        FKMI_TRY_GOTO(fkmi_resize(&model->notes, model->n_notes + 1, sizeof *model->notes));
        model->notes[i].name = own_name;
        model->notes[i].value = NULL;
        own_name = NULL;
        model->n_notes++;
    }
    fkmi_free(model->notes[i].value);
    model->notes[i].value = own_value;
    own_value = NULL;
done:
    fkmi_free(own_name);
    fkmi_free(own_value);
    return status;
}

const char *fkm_model_note(const fkm_model *model, const char *name)
{
    for (int64_t i = 0; model && name && i < model->n_notes; i++)
        if (strcmp(model->notes[i].name, name) == 0)
            return model->notes[i].value;
    return NULL;
}

int64_t fkm_model_last_merged(const fkm_model *model) { return model ? model->last_merged : 0; }
