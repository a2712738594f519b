/* file.c — the model file: everything a model needs to go on, bit for bit, as tensors and text.
 *
 * One list of tensors serves writing and reading. Reading trusts nothing: counts come from the metadata, shapes must
 * agree with them, and values are checked before the model is handed out. docs/model-file.md describes the format.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/number.h"
#include "estimators/file_text.h"

static const char FORMAT[] = "fastkmeans-model-1";
enum { HISTORY_FIELDS = 7, PLACE_FIELDS = 3, MAX_TENSORS = 56 };

/* ---- the list of tensors */

/* Where a tensor lives in a model. A NULL array is not in the file. */
struct field {
    const char *name;
    enum fkmi_tensor_type type;
    int n_dims;
    int64_t shape[2];
    void **array;
};
struct fields {
    struct field items[MAX_TENSORS];
    int n;
};

static void add(struct fields *fields, const char *name, enum fkmi_tensor_type type, int64_t rows,
                int64_t cols, void *array /* pointer to a pointer */)
{
    struct field *field = &fields->items[fields->n++];

    *field = (struct field){name, type, cols < 0 ? 1 : 2, {rows, cols < 0 ? 0 : cols}, array};
}

/* Every tensor of a model whose counts are known. */
static void list_fields(fkm_model *model, struct fields *fields)
{
    struct fkmi_state *state = &model->learned.state;
    struct fkmi_trainer *trainer = &model->trainer;
    struct fkmi_importance *importance = &model->learned.importance;
    const enum fkmi_tensor_type real =
        fkmi_real_of(model->params.dtype) == FKMI_REAL_F64 ? FKMI_TENSOR_F64 : FKMI_TENSOR_F32;
    const int64_t k = state->k, dim = state->dim, c = state->n_classes, m = state->n_targets;
    const int64_t n_entries = state->lists.begin ? state->lists.begin[k] : -1; /* any, when a file is read */

    struct fkmi_held_moments *held = &trainer->held;
    const int64_t n_held = held->begin ? held->begin[k] : -1;

    fields->n = 0;
    add(fields, "centroids", fkmi_tensor_type_of(model->params.dtype), k, dim, &state->points);
    add(fields, "centroids.begin", FKMI_TENSOR_I64, k + 1, -1, &state->lists.begin);
    add(fields, "centroids.columns", FKMI_TENSOR_I32, n_entries, -1, &state->lists.index);
    add(fields, "centroids.values", fkmi_tensor_type_of(model->params.dtype), n_entries, -1,
        &state->lists.value);
    add(fields, "centroid_weights", FKMI_TENSOR_F64, k, -1, &state->mass);
    add(fields, "centroid_ages", FKMI_TENSOR_F64, k, dim, &state->ages);
    add(fields, "centroid_targets", FKMI_TENSOR_F64, k, m, &state->targets);
    add(fields, "bias", FKMI_TENSOR_F64, k, -1, &state->bias);
    add(fields, "theta", FKMI_TENSOR_F64, k, -1, &state->theta);
    add(fields, "frozen", FKMI_TENSOR_U8, k, -1, &state->frozen);
    add(fields, "class_labels", FKMI_TENSOR_I64, c, -1, &state->class_label);
    add(fields, "class_begin", FKMI_TENSOR_I64, c + 1, -1, &state->class_begin);
    add(fields, "strata", FKMI_TENSOR_F64, c, m, &state->strata);
    add(fields, "tag_alpha", FKMI_TENSOR_F64, c, -1, &state->alpha);
    add(fields, "tag_beta", FKMI_TENSOR_F64, c, -1, &state->beta);
    add(fields, "tag_threshold", FKMI_TENSOR_F64, c, -1, &state->threshold);
    add(fields, "feature_weights", FKMI_TENSOR_F64, dim, -1, &state->feature_weights);
    add(fields, "tuning", FKMI_TENSOR_I64, FKMI_TUNING_NUMBERS, -1, &state->tuning);
    add(fields, "importance.count", FKMI_TENSOR_F64, importance->n_classes, importance->dim,
        &importance->count);
    add(fields, "importance.mean", FKMI_TENSOR_F64, importance->n_classes, importance->dim,
        &importance->mean);
    add(fields, "importance.m2", FKMI_TENSOR_F64, importance->n_classes, importance->dim, &importance->m2);
    add(fields, "adam.centroids.m", real, k, dim, &trainer->point_m);
    add(fields, "adam.centroids.v", real, k, dim, &trainer->point_v);
    add(fields, "adam.master", real, k, dim, &trainer->master);
    add(fields, "adam.lists.begin", FKMI_TENSOR_I64, k + 1, -1, &held->begin);
    add(fields, "adam.lists.columns", FKMI_TENSOR_I32, n_held, -1, &held->index);
    add(fields, "adam.lists.m", real, n_held, -1, &held->m);
    add(fields, "adam.lists.v", real, n_held, -1, &held->v);
    add(fields, "adam.lists.master", real, n_held, -1, &held->master);
    add(fields, "adam.gradient", real, k, dim, &trainer->gradient);
    add(fields, "adam.anchor", real, k, dim, &trainer->anchor);
    add(fields, "adam.targets.m", FKMI_TENSOR_F64, k, m, &trainer->target_m);
    add(fields, "adam.targets.v", FKMI_TENSOR_F64, k, m, &trainer->target_v);
    add(fields, "adam.theta.m", FKMI_TENSOR_F64, k, -1, &trainer->theta_m);
    add(fields, "adam.theta.v", FKMI_TENSOR_F64, k, -1, &trainer->theta_v);
    add(fields, "adam.bias.m", FKMI_TENSOR_F64, k, -1, &trainer->bias_m);
    add(fields, "adam.bias.v", FKMI_TENSOR_F64, k, -1, &trainer->bias_v);
    add(fields, "adam.weights.m", FKMI_TENSOR_F64, dim, -1, &trainer->weight_m);
    add(fields, "adam.weights.v", FKMI_TENSOR_F64, dim, -1, &trainer->weight_v);
    add(fields, "adam.alpha.m", FKMI_TENSOR_F64, c, -1, &trainer->alpha_m);
    add(fields, "adam.alpha.v", FKMI_TENSOR_F64, c, -1, &trainer->alpha_v);
    add(fields, "adam.beta.m", FKMI_TENSOR_F64, c, -1, &trainer->beta_m);
    add(fields, "adam.beta.v", FKMI_TENSOR_F64, c, -1, &trainer->beta_v);
    add(fields, "train.feature_std", FKMI_TENSOR_F64, dim, -1, &trainer->feature_std);
    add(fields, "train.target_mean", FKMI_TENSOR_F64, m, -1, &trainer->target_mean);
    add(fields, "train.target_std", FKMI_TENSOR_F64, m, -1, &trainer->target_std);
    add(fields, "user_weights", FKMI_TENSOR_F64, model->user_dim, -1, &model->user_weights);
    add(fields, "start.points", FKMI_TENSOR_F32, model->start.k, model->start.dim, &model->start.points);
    add(fields, "start.wide_points", FKMI_TENSOR_F64, model->start.k, model->start.dim, &model->start.wide);
    add(fields, "start.labels", FKMI_TENSOR_I64, model->start.k, -1, &model->start.label);
}

/* Scalars of a model, in the metadata as decimal text (doubles read back to the same bits). */
struct scalar {
    const char *name;
    int64_t *integer; /* one of the two */
    double *real;
    int64_t most; /* of an integer: counts multiply without overflow, counters go on counting */
};
enum { MAX_SCALARS = 24 };
#define COUNT   ((int64_t)1 << 30)
#define COUNTER ((int64_t)1 << 53)

static int list_scalars(fkm_model *model, int64_t *begun, int64_t *n_history,
                        struct scalar scalars[MAX_SCALARS])
{
    struct fkmi_state *state = &model->learned.state;
    const struct scalar all[] = {
        {"dim", &state->dim, NULL, COUNT},
        {"k", &state->k, NULL, COUNT},
        {"n_classes", &state->n_classes, NULL, COUNT},
        {"n_targets", &state->n_targets, NULL, COUNT},
        {"scale", NULL, &state->scale, 0},
        {"importance.dim", &model->learned.importance.dim, NULL, COUNT},
        {"importance.n_classes", &model->learned.importance.n_classes, NULL, COUNT},
        {"batches", &model->batches, NULL, COUNTER},
        {"iterations", &model->iterations, NULL, COUNTER},
        {"gradient_steps", &model->gradient_steps, NULL, COUNTER},
        {"last_merged", &model->last_merged, NULL, COUNTER},
        {"learning_rate_found", NULL, &model->learning_rate, 0},
        {"adam.begun", begun, NULL, 1},
        {"adam.step", &model->trainer.step, NULL, COUNTER},
        {"adam.unit", NULL, &model->trainer.unit, 0},
        {"user_dim", &model->user_dim, NULL, COUNT},
        {"start.k", &model->start.k, NULL, COUNT},
        {"start.dim", &model->start.dim, NULL, COUNT},
        {"n_class_k", &model->n_class_k, NULL, COUNT},
        {"n_history", n_history, NULL, COUNT},
        {"place.epoch", &model->place.epoch, NULL, COUNTER},
        {"place.batch", &model->place.batch, NULL, COUNTER},
        {"place.rows", &model->place.rows, NULL, COUNTER},
    };
    _Static_assert(sizeof all / sizeof *all <= MAX_SCALARS, "room for all scalars");

    memcpy(scalars, all, sizeof all);
    return (int)(sizeof all / sizeof *all);
}

/* ---- writing */

/* Texts for the metadata, growing; names and values are owned. */
struct texts {
    struct fkmi_text *items;
    int64_t n, capacity;
};

static void texts_free(struct texts *texts)
{
    for (int64_t i = 0; i < texts->n; i++) {
        fkmi_free((void *)(uintptr_t)texts->items[i].name);
        fkmi_free((void *)(uintptr_t)texts->items[i].value);
    }
    fkmi_free(texts->items);
}

static fkm_status add_text(struct texts *texts, const char *prefix, const char *name, const char *value)
{
    fkm_status status = FKM_OK;
    char *own_name = NULL, *own_value = NULL;

    if (texts->n == texts->capacity) {
        const int64_t capacity = texts->capacity > 0 ? 2 * texts->capacity : 64;
        FKMI_TRY_GOTO(fkmi_resize(&texts->items, capacity, sizeof *texts->items));
        texts->capacity = capacity;
    }
    FKMI_TRY_GOTO(fkmi_format(&own_name, "%s%s", prefix, name));
    FKMI_TRY_GOTO(fkmi_copy(&own_value, value, (int64_t)strlen(value) + 1, 1));
    texts->items[texts->n++] = (struct fkmi_text){own_name, own_value};
    own_name = own_value = NULL;
done:
    fkmi_free(own_name);
    fkmi_free(own_value);
    return status;
}

static fkm_status write_texts(const fkm_model *model, struct texts *texts)
{
    struct scalar scalars[MAX_SCALARS];
    int64_t begun = model->trainer.begun, n_history = model->history.n;
    const int n = list_scalars((fkm_model *)(uintptr_t)model, &begun, &n_history, scalars);
    char text[64];

    FKMI_TRY(add_text(texts, "", "format", FORMAT));
    FKMI_TRY(add_text(texts, "", "library", fkm_version()));
    for (size_t i = 0; i < fkm_param_count(); i++) {
        const char *name = fkm_param_at(i)->name;
        FKMI_TRY(fkm_params_get(&model->params, name, text, sizeof text));
        FKMI_TRY(add_text(texts, "param.", name, text));
    }
    for (int i = 0; i < n; i++) {
        if (scalars[i].real)
            fkmi_print_double(text, *scalars[i].real);
        else
            snprintf(text, sizeof text, "%lld", (long long)*scalars[i].integer);
        FKMI_TRY(add_text(texts, "state.", scalars[i].name, text));
    }
    FKMI_TRY(add_text(texts, "", "position", model->place.position));
    for (int i = 0; i < fkmi_text_number_count(model); i++) {
        const char *name;
        fkmi_text_number_write(model, i, &name, text);
        FKMI_TRY(add_text(texts, "text.", name, text));
    }
    for (int64_t i = 0; i < model->n_notes; i++)
        FKMI_TRY(add_text(texts, "note.", model->notes[i].name, model->notes[i].value));
    return FKM_OK;
}

static struct fkmi_tensor tensor_of(const char *name, enum fkmi_tensor_type type, int n_dims, int64_t rows,
                                    int64_t cols, const void *data)
{
    struct fkmi_tensor tensor = {.type = type, .n_dims = n_dims, .shape = {rows, cols}, .data = data};

    snprintf(tensor.name, sizeof tensor.name, "%s", name);
    return tensor;
}

/* The history and the prototypes per class as plain tables of numbers. */
static fkm_status write_tables(const fkm_model *model, double **history, int64_t **class_k)
{
    FKMI_TRY(fkmi_alloc(history, model->history.n * HISTORY_FIELDS, sizeof **history));
    FKMI_TRY(fkmi_alloc(class_k, model->n_class_k * 2, sizeof **class_k));
    for (int64_t i = 0; i < model->history.n; i++) {
        const struct fkmi_history_line *line = &model->history.lines[i];
        const double fields[HISTORY_FIELDS] = {(double)line->phase, (double)line->epoch, line->loss,
                                               line->shift,         line->eval,          line->lr,
                                               (double)line->k};
        memcpy(*history + i * HISTORY_FIELDS, fields, sizeof fields);
    }
    for (int64_t i = 0; i < model->n_class_k; i++) {
        (*class_k)[2 * i] = model->class_k[i].label;
        (*class_k)[2 * i + 1] = model->class_k[i].k;
    }
    return FKM_OK;
}

/* Where the file goes: a path, or memory. */
struct target {
    const char *path;
    void **bytes;
    size_t *size;
};

static fkm_status write_model(const fkm_model *model, const struct target *target)
{
    fkm_status status = FKM_OK;
    struct fields fields;
    struct fkmi_tensor tensors[MAX_TENSORS + 2 + FKMI_TEXT_TENSORS];
    struct texts texts = {0};
    double *history = NULL;
    int64_t *class_k = NULL;
    char *terms = NULL;
    int n = 0;

    if (target->path) /* a stream that is interrupted saves */
        fkmi_hold_interrupts();
    list_fields((fkm_model *)(uintptr_t)model, &fields); /* only read from here on */
    for (int i = 0; i < fields.n; i++) {
        const struct field *field = &fields.items[i];
        if (*field->array && field->shape[0] > 0)
            tensors[n++] = tensor_of(field->name, field->type, field->n_dims, field->shape[0],
                                     field->shape[1], *field->array);
    }
    FKMI_TRY_GOTO(write_tables(model, &history, &class_k));
    if (model->history.n > 0)
        tensors[n++] = tensor_of("history", FKMI_TENSOR_F64, 2, model->history.n, HISTORY_FIELDS, history);
    if (model->n_class_k > 0)
        tensors[n++] = tensor_of("class_k", FKMI_TENSOR_I64, 2, model->n_class_k, 2, class_k);
    FKMI_TRY_GOTO(fkmi_text_tensors(model, tensors, &n, &terms));
    FKMI_TRY_GOTO(write_texts(model, &texts));
    if (target->path)
        FKMI_TRY_GOTO(fkmi_tensors_save(target->path, tensors, n, texts.items, texts.n));
    else
        FKMI_TRY_GOTO(fkmi_tensors_to_bytes(tensors, n, texts.items, texts.n, target->bytes, target->size));
done:
    if (target->path)
        fkmi_release_interrupts();
    texts_free(&texts);
    fkmi_free(history);
    fkmi_free(class_k);
    fkmi_free(terms);
    return status;
}

fkm_status fkm_model_save(const fkm_model *model, const char *path)
{
    if (!model || !path)
        return fkmi_fail(FKM_EINVAL, "%s is NULL", model ? "path" : "model");
    return write_model(model, &(struct target){.path = path});
}

fkm_status fkm_model_to_bytes(const fkm_model *model, void **bytes, size_t *size)
{
    if (!model || !bytes || !size)
        return fkmi_fail(FKM_EINVAL, "%s is NULL", model ? "bytes or size" : "model");
    *bytes = NULL;
    *size = 0;
    return write_model(model, &(struct target){.bytes = bytes, .size = size});
}

/* ---- reading */

static fkm_status read_params(const struct fkmi_tensor_file *file, fkm_params *params)
{
    const fkm_params standard = FKM_PARAMS_INIT;
    const char *format = fkmi_tensors_text(file, "format");

    if (!format || strcmp(format, FORMAT) != 0)
        return fkmi_fail(FKM_EDATA, "this is no model of ours: its format is '%.40s', we read '%s'",
                         format ? format : "missing", FORMAT);
    *params = standard;
    for (size_t i = 0; i < fkm_param_count(); i++) {
        const char *name = fkm_param_at(i)->name, *value;
        char key[80];
        snprintf(key, sizeof key, "param.%s", name);
        value = fkmi_tensors_text(file, key);
        if (!value)
            continue; /* a parameter younger than the file keeps its default */
        if (fkm_params_set(params, name, value) != FKM_OK)
            return fkmi_fail_within(FKM_EDATA, "model file");
    }
    return FKM_OK;
}

static fkm_status read_scalars(const struct fkmi_tensor_file *file, const struct scalar *scalars, int n)
{
    for (int i = 0; i < n; i++) {
        const struct scalar *scalar = &scalars[i];
        const char *value;
        char key[80];
        bool good;
        snprintf(key, sizeof key, "state.%s", scalar->name);
        value = fkmi_tensors_text(file, key);
        if (!value)
            return fkmi_fail(FKM_EDATA, "the model file lacks '%s'", key);
        if (scalar->integer)
            good = fkmi_parse_int64(value, strlen(value), scalar->integer) && *scalar->integer >= 0 &&
                   *scalar->integer <= scalar->most;
        else
            good = fkmi_parse_double(value, strlen(value), scalar->real) && isfinite(*scalar->real) &&
                   *scalar->real >= 0;
        if (!good)
            return fkmi_fail(FKM_EDATA, "the model file has '%.40s' as '%s'", value, key);
    }
    return FKM_OK;
}

static fkm_status read_fields(struct fkmi_tensor_file *file, const struct fields *fields)
{
    for (int i = 0; i < fields->n; i++) {
        const struct field *field = &fields->items[i];
        if (fkmi_tensors_find(file, field->name))
            FKMI_TRY(
                fkmi_tensors_read(file, field->name, field->type, field->n_dims, field->shape, field->array));
    }
    return FKM_OK;
}

/* Prototypes that are lists: as many entries as they say. */
static fkm_status read_lists(const struct fkmi_tensor_file *file, struct fkmi_state *state)
{
    const struct fkmi_tensor *columns = fkmi_tensors_find(file, "centroids.columns"),
                             *values = fkmi_tensors_find(file, "centroids.values");
    const int64_t n_columns = columns ? columns->shape[0] : 0, n_values = values ? values->shape[0] : 0;
    struct fkmi_lists *lists = &state->lists;

    if (!lists->begin)
        return columns || values ? fkmi_fail(FKM_EDATA, "the model file lacks 'centroids.begin'") : FKM_OK;
    if (state->points || n_columns != n_values || n_columns != lists->begin[state->k])
        return fkmi_fail(FKM_EDATA, "the model file has %lld columns and %lld values of prototypes with %lld",
                         (long long)n_columns, (long long)n_values, (long long)lists->begin[state->k]);
    if (!lists->index)
        FKMI_TRY(fkmi_alloc(&lists->index, 0, sizeof *lists->index));
    if (!lists->value)
        FKMI_TRY(fkmi_alloc(&lists->value, 0, 1));
    state->listed = true;
    state->list_capacity = n_columns;
    return FKM_OK;
}

/* Moments by column: as many of each as they say. */
static fkm_status check_held_shapes(const struct fkmi_tensor_file *file, const struct fkmi_held_moments *held,
                                    int64_t k)
{
    const char *const names[] = {"adam.lists.columns", "adam.lists.m", "adam.lists.v", "adam.lists.master"};

    for (int i = 0; i < 4; i++) {
        const struct fkmi_tensor *tensor = fkmi_tensors_find(file, names[i]);

        if (tensor && (!held->begin || tensor->shape[0] != held->begin[k]))
            return fkmi_fail(FKM_EDATA, "the model file has %lld entries in '%s' and not as many moments",
                             (long long)tensor->shape[0], names[i]);
        if (!tensor && held->begin && held->begin[k] != 0 && i < 3)
            return fkmi_fail(FKM_EDATA, "the model file lacks '%s'", names[i]);
    }
    return FKM_OK;
}

static fkm_status read_history(struct fkmi_tensor_file *file, int64_t n, fkm_model *model)
{
    fkm_status status = FKM_OK;
    double *table = NULL;
    const int64_t shape[2] = {n, HISTORY_FIELDS};

    if (n == 0)
        return FKM_OK;
    FKMI_TRY_GOTO(fkmi_tensors_read(file, "history", FKMI_TENSOR_F64, 2, shape, &table));
    for (int64_t i = 0; i < n; i++) {
        const double *at = table + i * HISTORY_FIELDS;
        if (!(at[0] >= FKMI_PHASE_FIT && at[0] <= FKMI_PHASE_SEARCH && at[1] >= 0 && at[1] < 1e15 &&
              at[6] >= 0 && at[6] < 1e15))
            FKMI_TRY_GOTO(
                fkmi_fail(FKM_EDATA, "line %lld of the model file's history is damaged", (long long)i));
        FKMI_TRY_GOTO(fkmi_history_add(&model->history,
                                       &(struct fkmi_history_line){.phase = (enum fkmi_phase)(int)at[0],
                                                                   .epoch = (int64_t)at[1],
                                                                   .loss = at[2],
                                                                   .shift = at[3],
                                                                   .eval = at[4],
                                                                   .lr = at[5],
                                                                   .k = (int64_t)at[6]}));
    }
done:
    fkmi_free(table);
    return status;
}

static fkm_status read_class_k(struct fkmi_tensor_file *file, int64_t n, fkm_model *model)
{
    fkm_status status = FKM_OK;
    int64_t *table = NULL;
    const int64_t shape[2] = {n, 2};

    if (n == 0)
        return FKM_OK;
    FKMI_TRY_GOTO(fkmi_tensors_read(file, "class_k", FKMI_TENSOR_I64, 2, shape, &table));
    FKMI_TRY_GOTO(fkmi_alloc(&model->class_k, n, sizeof *model->class_k));
    for (int64_t i = 0; i < n; i++) {
        const int64_t label = table[2 * i], k = table[2 * i + 1];
        if (k < 1 || k > INT32_MAX || (i > 0 && label <= table[2 * i - 2]))
            FKMI_TRY_GOTO(fkmi_fail(FKM_EDATA,
                                    "class %lld has %lld prototypes in the model file, or comes too late",
                                    (long long)label, (long long)k));
        model->class_k[i] = (struct fkmi_class_k){label, (int32_t)k};
    }
    model->n_class_k = model->class_k_capacity = n;
done:
    fkmi_free(table);
    return status;
}

static fkm_status read_notes(const struct fkmi_tensor_file *file, fkm_model *model)
{
    const int64_t n = fkmi_tensors_text_count(file);
    const char *position = fkmi_tensors_text(file, "position");

    if (!position || strlen(position) >= sizeof model->place.position)
        return fkmi_fail(FKM_EDATA, "the model file has no position, or one longer than %d bytes",
                         FKMI_POSITION_BYTES - 1);
    snprintf(model->place.position, sizeof model->place.position, "%s", position);
    for (int64_t i = 0; i < n; i++) {
        const struct fkmi_text text = fkmi_tensors_text_at(file, i);
        if (strncmp(text.name, "note.", 5) != 0)
            continue;
        const fkm_status status = fkm_model_set_note(model, text.name + 5, text.value);
        if (status != FKM_OK)
            return status == FKM_ENOMEM ? status : fkmi_fail_within(FKM_EDATA, "model file");
    }
    return FKM_OK;
}

static fkm_status read_model(fkm_context *context, struct fkmi_tensor_file *file, fkm_model **out)
{
    fkm_status status = FKM_OK;
    fkm_model *model = NULL;
    fkm_params params;
    struct fields fields;
    struct scalar scalars[MAX_SCALARS];
    int64_t begun = 0, n_history = 0;
    struct fkmi_state *state;
    int n;

    FKMI_TRY_GOTO(read_params(file, &params));
    if (fkm_params_check(&params) != FKM_OK)
        FKMI_TRY_GOTO(fkmi_fail_within(FKM_EDATA, "model file"));
    FKMI_TRY_GOTO(fkmi_model_new(context, &params, &model));
    state = &model->learned.state;
    state->dtype = params.dtype;
    n = list_scalars(model, &begun, &n_history, scalars);
    FKMI_TRY_GOTO(read_scalars(file, scalars, n));
    const int64_t n_class_k = model->n_class_k;
    model->n_class_k = 0; /* grows as they are read */
    if ((state->k == 0) != (state->n_classes == 0) || state->n_classes > state->k ||
        (state->k > 0 && state->dim == 0))
        FKMI_TRY_GOTO(fkmi_fail(FKM_EDATA,
                                "the model file has %lld prototypes in %lld classes of %lld features",
                                (long long)state->k, (long long)state->n_classes, (long long)state->dim));
    model->trainer.begun = begun == 1;
    model->trainer.k = begun ? state->k : 0;
    model->trainer.dim = begun ? state->dim : 0;
    model->trainer.n_classes = begun ? state->n_classes : 0;
    model->trainer.n_targets = begun ? state->n_targets : 0;
    model->trainer.real = fkmi_real_of(params.dtype);
    list_fields(model, &fields);
    FKMI_TRY_GOTO(read_fields(file, &fields));
    FKMI_TRY_GOTO(read_lists(file, state));
    FKMI_TRY_GOTO(check_held_shapes(file, &model->trainer.held, state->k));
    state->k_capacity = state->k;
    state->class_capacity = state->n_classes;
    model->learned.importance.class_capacity = model->learned.importance.n_classes;
    FKMI_TRY_GOTO(read_history(file, n_history, model));
    FKMI_TRY_GOTO(read_class_k(file, n_class_k, model));
    FKMI_TRY_GOTO(read_notes(file, model));
    FKMI_TRY_GOTO(fkmi_text_read(file, model));
    FKMI_TRY_GOTO(fkmi_model_check(model));
    if (state->k > 0)
        FKMI_TRY_GOTO(fkmi_classes_rebuild(&model->learned.classes, state->class_label, state->n_classes));
    *out = model;
    model = NULL;
done:
    fkm_model_free(model);
    return status;
}

fkm_status fkm_model_load(fkm_context *context, const char *path, fkm_model **out)
{
    fkm_status status = FKM_OK;
    struct fkmi_tensor_file *file = NULL;

    if (out)
        *out = NULL;
    if (!context || !path || !out)
        return fkmi_fail(FKM_EINVAL, "%s is NULL", !context ? "context" : !path ? "path" : "out");
    FKMI_TRY_GOTO(fkmi_tensors_open(path, &file));
    FKMI_TRY_GOTO(read_model(context, file, out));
done:
    fkmi_tensors_close(file);
    return status;
}

fkm_status fkm_model_from_bytes(fkm_context *context, const void *bytes, size_t size, fkm_model **out)
{
    fkm_status status = FKM_OK;
    struct fkmi_tensor_file *file = NULL;

    if (out)
        *out = NULL;
    if (!context || !bytes || !out)
        return fkmi_fail(FKM_EINVAL, "%s is NULL", !context ? "context" : !bytes ? "bytes" : "out");
    FKMI_TRY_GOTO(fkmi_tensors_open_bytes(bytes, size, &file));
    FKMI_TRY_GOTO(read_model(context, file, out));
done:
    fkmi_tensors_close(file);
    return status;
}
