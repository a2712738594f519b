/* test_model_hostile.c — model files from strangers: every scalar, parameter and tensor of a good file replaced by
 * something else, with a checksum that fits. Such a file is refused, or gives a model that every call survives.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/memory.h"
#include "io/safetensors.h"
#include "support/data.h"

enum { MOST_TENSORS = FKMI_TENSORS_MAX, MOST_TEXTS = 256, ROWS = 24, MOST_DIM = 64 };

/* A model file taken apart. */
struct parts {
    struct fkmi_tensor tensors[MOST_TENSORS];
    void *data[MOST_TENSORS];
    struct fkmi_text texts[MOST_TEXTS];
    int n_tensors, n_texts;
    struct fkmi_tensor_file *file; /* owns the texts */
    struct bytes bytes;
};

static int64_t count_of(const struct fkmi_tensor *tensor)
{
    int64_t n = 1;

    for (int d = 0; d < tensor->n_dims; d++)
        n *= tensor->shape[d];
    return n;
}

static void take_apart(const fkm_model *model, struct parts *parts)
{
    memset(parts, 0, sizeof *parts);
    parts->bytes = model_bytes(model);
    CHECK_OK(fkmi_tensors_open_bytes(parts->bytes.data, parts->bytes.size, &parts->file));
    parts->n_tensors = fkmi_tensors_count(parts->file);
    parts->n_texts = (int)fkmi_tensors_text_count(parts->file);
    CHECK(parts->n_texts <= MOST_TEXTS);
    for (int i = 0; i < parts->n_tensors; i++) {
        struct fkmi_tensor *tensor = &parts->tensors[i];
        *tensor = *fkmi_tensors_at(parts->file, i);
        CHECK_OK(fkmi_tensors_read(parts->file, tensor->name, tensor->type, tensor->n_dims, tensor->shape,
                                   &parts->data[i]));
        tensor->data = parts->data[i];
    }
    for (int i = 0; i < parts->n_texts; i++)
        parts->texts[i] = fkmi_tensors_text_at(parts->file, i);
}

static void parts_free(struct parts *parts)
{
    for (int i = 0; i < parts->n_tensors; i++)
        fkmi_free(parts->data[i]);
    fkmi_tensors_close(parts->file);
    fkm_free(parts->bytes.data);
}

/* ---- what is done with a file that loads */

/* Rows for a model of any width, with targets of every kind. */
struct rows {
    float x[ROWS * MOST_DIM], mask[ROWS * MOST_DIM];
    int64_t labels[ROWS], tag_indptr[ROWS + 1];
    int32_t tags[ROWS];
    double targets[ROWS * MOST_DIM];
};

static fkm_batch rows_for(const fkm_model_info *info, struct rows *rows)
{
    fkm_batch batch = FKM_BATCH_INIT;

    for (int64_t i = 0; i < ROWS * MOST_DIM; i++) {
        rows->x[i] = (float)((i * 7919) % 23) - 11;
        rows->mask[i] = i % 5 == 0 ? 0.0f : 1.0f;
        rows->targets[i] = (double)(i % 11);
    }
    for (int64_t i = 0; i < ROWS; i++) {
        rows->labels[i] = i % 3 * 3 - 2;
        rows->tags[i] = (int32_t)(i % 3);
        rows->tag_indptr[i + 1] = i + 1;
    }
    rows->tag_indptr[0] = 0;
    batch.n_rows = ROWS;
    batch.n_cols = info->dim;
    batch.x = rows->x;
    batch.labels = rows->labels;
    batch.tag_indptr = rows->tag_indptr;
    batch.tags = rows->tags;
    batch.targets = rows->targets;
    batch.n_targets = info->n_targets > 0 ? info->n_targets : 1;
    return batch;
}

/* The place a failing check names. */
static char story[200];
#define SURVIVES(condition)                                                                                  \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            test_fail(__FILE__, __LINE__, "%s, with %s (%s)", #condition, story, fkm_last_error());          \
    } while (0)

static void ask_everything(const fkm_model *model, const fkm_batch *batch, const fkm_model_info *info)
{
    const size_t n = ROWS * (size_t)(info->k + info->n_classes + info->n_targets + 4);
    int64_t *index = calloc(n, sizeof *index);
    double *values = calloc(n, sizeof *values), *more = calloc(n, sizeof *more);
    float *floats = calloc(n, sizeof *floats);
    uint8_t *chosen = calloc(n, 1);
    fkm_evaluation *evaluation;
    fkm_scores scores = {.struct_size = sizeof scores};
    const fkm_task task = info->params.task;

    SURVIVES(fkm_model_nearest(model, batch, 3, index, values, more) == FKM_OK);
    for (int64_t i = 0; i < 3 * ROWS; i++)
        SURVIVES(index[i] < info->k && index[i] >= (i % 3 == 0 ? 0 : -1));
    SURVIVES(fkm_model_transform(model, batch, floats) == FKM_OK);
    if (task == FKM_TASK_CLUSTER || task == FKM_TASK_CLASSIFY)
        SURVIVES(fkm_model_predict_labels(model, batch, index) == FKM_OK);
    if (task == FKM_TASK_CLASSIFY || task == FKM_TASK_MULTILABEL)
        SURVIVES(fkm_model_predict_proba(model, batch, floats) == FKM_OK);
    if (task == FKM_TASK_CLASSIFY || task == FKM_TASK_MULTILABEL)
        SURVIVES(fkm_model_predict_top(model, batch, 1, index, floats) == FKM_OK);
    for (int s = 0; task == FKM_TASK_MULTILABEL && s < 3; s++)
        SURVIVES(fkm_model_predict_tags(model, batch, (fkm_strategy)s, 2, chosen) == FKM_OK);
    if (task == FKM_TASK_REGRESS)
        SURVIVES(fkm_model_predict_values(model, batch, values) == FKM_OK);
    SURVIVES(fkm_evaluation_create(model, FKM_STRATEGY_ADAPTIVE, 0, &evaluation) == FKM_OK);
    SURVIVES(fkm_evaluation_add(evaluation, batch) == FKM_OK);
    SURVIVES(fkm_evaluation_scores(evaluation, &scores) == FKM_OK);
    fkm_evaluation_free(evaluation);
    free(index);
    free(values);
    free(more);
    free(floats);
    free(chosen);
}

/* A model that was loaded saves what loads again. */
static void save_again(const fkm_model *model)
{
    struct bytes bytes = {0};
    fkm_model *again = NULL;

    SURVIVES(fkm_model_to_bytes(model, &bytes.data, &bytes.size) == FKM_OK);
    SURVIVES(fkm_model_from_bytes(context_of(1), bytes.data, bytes.size, &again) == FKM_OK);
    fkm_model_free(again);
    fkm_free(bytes.data);
}

/* Learning may refuse (gradients that are not finite, more classes than k_max, ...), but leaves a model to ask. */
static void learn_and_ask(fkm_model *model, const fkm_batch *batch, bool gradient_first, const float *mask)
{
    fkm_model_info info = {.struct_size = sizeof info};
    fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;
    fkm_batch masked = *batch;

    options.epochs = 1;
    masked.mask = mask;
    if (gradient_first) {
        (void)!fkm_model_gradient_step(model, batch, NULL);
        (void)!fkm_model_gradient_step(model, &masked, NULL);
        (void)!fkm_model_finetune(model, batch, &options);
    } else {
        (void)!fkm_model_fit_batch(model, batch, NULL);
        (void)!fkm_model_fit_batch(model, &masked, NULL);
        (void)!fkm_model_gradient_step(model, batch, NULL);
    }
    SURVIVES(fkm_model_describe(model, &info) == FKM_OK);
    if (info.fitted)
        ask_everything(model, batch, &info);
}

static void live(const fkm_model *model)
{
    static struct rows rows;
    fkm_model_info info = {.struct_size = sizeof info};
    double importance[MOST_DIM];
    fkm_fit_options options = FKM_FIT_OPTIONS_INIT;

    SURVIVES(fkm_model_describe(model, &info) == FKM_OK);
    save_again(model);
    if (!info.fitted) {
        info.dim = 5;
        info.n_targets = 2;
    }
    SURVIVES(info.dim <= MOST_DIM && info.n_targets <= MOST_DIM);
    const fkm_batch batch = rows_for(&info, &rows);
    if (info.fitted)
        ask_everything(model, &batch, &info);
    (void)!fkm_model_feature_importance(model, &batch, importance);
    for (int64_t i = 0; i < info.n_history; i++) {
        fkm_history line = {.struct_size = sizeof line};
        SURVIVES(fkm_model_history(model, i, &line) == FKM_OK && line.phase != NULL);
    }
    for (int way = 0; way < 3; way++) {
        fkm_model *copy;
        SURVIVES(fkm_model_copy(model, &copy) == FKM_OK);
        options.max_iters = 3;
        if (way == 2)
            (void)!fkm_model_fit(copy, &batch, &options);
        learn_and_ask(copy, &batch, way == 1, rows.mask);
        fkm_model_free(copy);
    }
}

static void try_parts(const struct fkmi_tensor *tensors, int n_tensors, const struct fkmi_text *texts,
                      int n_texts)
{
    struct bytes bytes = {0};
    fkm_model *model;
    fkm_status status;

    CHECK_OK(fkmi_tensors_to_bytes(tensors, n_tensors, texts, n_texts, &bytes.data, &bytes.size));
    status = fkm_model_from_bytes(context_of(1), bytes.data, bytes.size, &model);
    fkm_free(bytes.data);
    SURVIVES(status == FKM_OK || status == FKM_EDATA);
    if (status != FKM_OK)
        return;
    live(model);
    fkm_model_free(model);
}

/* ---- replacements */

static void try_texts(struct parts *parts)
{
    static const char *const values[] = {"0",         "-1",         "1",          "2",
                                         "3",         "7",          "1073741823", "9223372036854775807",
                                         "nan",       "1e308",      "1e-308",     "auto",
                                         "none",      "cosine",     "euclidean",  "l1",
                                         "f16",       "float64",    "hard",       "scaled",
                                         "clusterer", "classifier", "multilabel", "regressor",
                                         "cluster",   "classify",   "regress",    "float16",
                                         "window",    "glvq",       "softmax",    ""};

    for (int i = 0; i < parts->n_texts; i++) {
        const struct fkmi_text kept = parts->texts[i];
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            snprintf(story, sizeof story, "'%s' as %s instead of '%.40s'", values[v], kept.name, kept.value);
            parts->texts[i].value = values[v];
            try_parts(parts->tensors, parts->n_tensors, parts->texts, parts->n_texts);
        }
        parts->texts[i] = parts->texts[parts->n_texts - 1];
        snprintf(story, sizeof story, "no %s", kept.name);
        try_parts(parts->tensors, parts->n_tensors, parts->texts, parts->n_texts - 1);
        parts->texts[i] = kept;
    }
}

static void put(void *data, const struct fkmi_tensor *tensor, int64_t i, double value)
{
    const double whole = value >= 9e18 ? 9e18 : value <= -9e18 ? -9e18 : value == value ? value : 0;

    if (tensor->type == FKMI_TENSOR_F64)
        ((double *)data)[i] = value;
    else if (tensor->type == FKMI_TENSOR_F32)
        ((float *)data)[i] = value > 3e38 ? 3e38f : value < -3e38 ? -3e38f : (float)value;
    else if (tensor->type == FKMI_TENSOR_I64)
        ((int64_t *)data)[i] = (int64_t)whole;
    else if (tensor->type == FKMI_TENSOR_U8)
        ((uint8_t *)data)[i] = (uint8_t)((int64_t)whole & 255);
    else
        ((uint16_t *)data)[i] = value != value ? 0x7fff : value > 1 ? 0x7bff : value < -1 ? 0xfbff : 0;
}

/* The last value, or all of them. */
static void try_values(struct parts *parts, int which)
{
    static const double values[] = {0, -1, 1, 1e12, 1e37, 1e100, 1e300, -1e300, 1e308, 1e-300, NAN, INFINITY};
    struct fkmi_tensor *tensor = &parts->tensors[which];
    const int64_t n = count_of(tensor);
    const size_t size = (size_t)n * fkmi_tensor_type_size(tensor->type);
    void *data = malloc(size + 1);

    tensor->data = data;
    for (size_t v = 0; v < sizeof values / sizeof *values; v++)
        for (int all = 0; all < 2; all++) {
            memcpy(data, parts->data[which], size);
            for (int64_t i = all ? 0 : n - 1; i < n; i++)
                put(data, tensor, i, values[v]);
            snprintf(story, sizeof story, "%g in %s of %s", values[v], all ? "all" : "the last",
                     tensor->name);
            try_parts(parts->tensors, parts->n_tensors, parts->texts, parts->n_texts);
        }
    tensor->data = parts->data[which];
    free(data);
}

static void try_tensors(struct parts *parts)
{
    for (int i = 0; i < parts->n_tensors; i++) {
        const struct fkmi_tensor kept = parts->tensors[i];
        const struct fkmi_tensor *last = &parts->tensors[parts->n_tensors - 1];
        try_values(parts, i);
        parts->tensors[i].n_dims = 1;
        parts->tensors[i].shape[0] = count_of(&kept) - 1;
        snprintf(story, sizeof story, "a shorter %s", kept.name);
        try_parts(parts->tensors, parts->n_tensors, parts->texts, parts->n_texts);
        parts->tensors[i].shape[0] = 0;
        snprintf(story, sizeof story, "an empty %s", kept.name);
        try_parts(parts->tensors, parts->n_tensors, parts->texts, parts->n_texts);
        parts->tensors[i] = *last;
        snprintf(story, sizeof story, "no %s", kept.name);
        try_parts(parts->tensors, parts->n_tensors - 1, parts->texts, parts->n_texts);
        parts->tensors[i] = kept;
    }
}

/* ---- the files that are taken apart */

/* Three features made of texts: terms of their own, or hashed. */
static void give_vectorizer(fkm_model *model, bool hashed)
{
    static const char *const texts[] = {"one two", "two three", "one"};
    fkm_vectorizer_options options = FKM_VECTORIZER_OPTIONS_INIT;
    fkm_vectorizer *vectorizer;

    options.hashed = hashed;
    options.n_features = 3;
    CHECK_OK(fkm_vectorizer_create(&options, &vectorizer));
    CHECK_OK(fkm_vectorizer_learn(vectorizer, 3, texts, NULL));
    CHECK_OK(fkm_vectorizer_finish(vectorizer));
    CHECK_OK(fkm_model_set_vectorizer(model, vectorizer));
    fkm_vectorizer_free(vectorizer);
}

static fkm_model *rich_model(fkm_task task, fkm_dtype dtype, fkm_metric metric, const struct data *data)
{
    fkm_params params = data_params(task);
    fkm_batch batch = data_batch(data, task, 0, data->n);
    fkm_fit_options options = FKM_FIT_OPTIONS_INIT;
    fkm_model *model;

    params.dtype = dtype;
    params.metric = metric;
    params.l2_reg = 0.01;
    params.noise = 0.05;
    params.auto_feature_weights = 1;
    params.prototype_scale = task == FKM_TASK_CLASSIFY;
    options.max_iters = 3;
    CHECK_OK(fkm_model_create(context_of(1), &params, &model));
    CHECK_OK(fkm_model_set_class_k(model, 1, 2));
    CHECK_OK(fkm_model_set_note(model, "names", "a, b"));
    CHECK_OK(fkm_model_fit(model, &batch, &options));
    batch.mask = data->mask;
    CHECK_OK(fkm_model_fit_batch(model, &batch, NULL));
    batch.mask = NULL;
    CHECK_OK(fkm_model_gradient_step(model, &batch, NULL));
    if (task == FKM_TASK_CLASSIFY || task == FKM_TASK_MULTILABEL)
        give_vectorizer(model, task == FKM_TASK_MULTILABEL);
    return model;
}

static void try_model(const fkm_model *model)
{
    struct parts parts;

    take_apart(model, &parts);
    snprintf(story, sizeof story, "nothing replaced");
    try_parts(parts.tensors, parts.n_tensors, parts.texts, parts.n_texts);
    try_tensors(&parts);
    try_texts(&parts);
    parts_free(&parts);
}

static void try_task(fkm_task task, fkm_dtype dtype, fkm_metric metric)
{
    struct data data = data_make(36, 3, 3, 50);
    fkm_model *model = rich_model(task, dtype, metric, &data);

    try_model(model);
    fkm_model_free(model);
    data_free(&data);
}

TEST(clusterers_from_strangers) { try_task(FKM_TASK_CLUSTER, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN); }

TEST(classifiers_from_strangers) { try_task(FKM_TASK_CLASSIFY, FKM_DTYPE_F16, FKM_METRIC_COSINE); }

TEST(taggers_from_strangers) { try_task(FKM_TASK_MULTILABEL, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN); }

TEST(regressors_from_strangers) { try_task(FKM_TASK_REGRESS, FKM_DTYPE_F64, FKM_METRIC_L1); }

TEST(unfitted_models_from_strangers)
{
    const float points[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    const double weights[5] = {1, 2, 1, 1, 0};
    const int64_t labels[2] = {1, -2};

    for (int t = 0; t < 4; t++) {
        const fkm_params params = data_params(data_tasks[t]);
        fkm_model *model;
        CHECK_OK(fkm_model_create(context_of(1), &params, &model));
        CHECK_OK(fkm_model_set_start(model, points, 2, 5, labels));
        CHECK_OK(fkm_model_set_feature_weights(model, weights, 5));
        try_model(model);
        fkm_model_free(model);
    }
}
