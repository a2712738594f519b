/* test_model_lists.c — models whose prototypes are lists: every call works on them, or makes whole points first; their
 * files come back, and damaged ones are refused.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/memory.h"
#include "estimators/model.h"
#include "io/safetensors.h"
#include "support/data.h"

enum { ROWS = 120, DIM = 40000, CLASSES = 9, ENTRIES = 20 };

/* CSR rows: half of a row's columns are those of its class. */
struct text {
    int64_t indptr[ROWS + 1], labels[ROWS], tag_indptr[ROWS + 1];
    int32_t indices[ROWS * ENTRIES], tags[ROWS];
    float values[ROWS * ENTRIES];
    double targets[ROWS];
};

static struct text *text_make(void)
{
    struct text *text = calloc(1, sizeof *text);

    for (int i = 0; i < ROWS; i++) {
        const int label = i % CLASSES;

        text->labels[i] = label;
        text->tags[i] = label;
        text->tag_indptr[i + 1] = i + 1;
        text->targets[i] = label + 0.1 * (i % 5);
        for (int e = 0; e < ENTRIES; e++) {
            const int own = label * 50 + (i * 7 + e * 3) % 50, any = 1000 + (i * 7919 + e * 104729) % 30000;

            text->indices[i * ENTRIES + e] =
                e % 2 ? DIM / 50 * e + own % (DIM / 50 / 2) : DIM / 50 * e + any % 400;
            text->values[i * ENTRIES + e] = (float)(1 + (i * 31 + e * 17) % 10) / 10;
        }
        text->indptr[i + 1] = (i + 1) * ENTRIES;
    }
    return text;
}

static fkm_batch batch_of(const struct text *text)
{
    fkm_batch batch = FKM_BATCH_INIT;

    batch.n_rows = ROWS;
    batch.n_cols = DIM;
    batch.values = text->values;
    batch.indices = text->indices;
    batch.indptr = text->indptr;
    batch.labels = text->labels;
    batch.tag_indptr = text->tag_indptr;
    batch.tags = text->tags;
    batch.n_tags = CLASSES;
    batch.targets = text->targets;
    batch.n_targets = 1;
    return batch;
}

static fkm_model *fitted(const struct text *text, fkm_task task)
{
    const fkm_batch batch = batch_of(text);
    fkm_params params = data_params(task);
    fkm_model *model;

    params.metric = FKM_METRIC_COSINE;
    params.k_init = task == FKM_TASK_CLUSTER ? 30 : 4;
    params.k_targets = 9;
    CHECK_OK(fkm_model_create(context_of(2), &params, &model));
    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    return model;
}

static double *nearest_of(const fkm_model *model, const fkm_batch *batch)
{
    double *distance = calloc(ROWS, sizeof *distance);

    CHECK_OK(fkm_model_nearest(model, batch, 1, NULL, distance, NULL));
    return distance;
}

static void check_near(const double *a, const double *b)
{
    for (int i = 0; i < ROWS; i++)
        CHECK_NEAR(a[i], b[i], 1e-6);
}

TEST(sparse_rows_make_lists_for_every_task)
{
    struct text *text = text_make();
    const fkm_batch batch = batch_of(text);

    for (int t = 0; t < 4; t++) {
        fkm_model *model = fitted(text, data_tasks[t]), *copy;
        double *distance = nearest_of(model, &batch), *again;

        CHECK(model->learned.state.listed);
        CHECK_OK(fkm_model_copy(model, &copy));
        again = nearest_of(copy, &batch);
        CHECK(memcmp(distance, again, ROWS * sizeof *again) == 0);
        CHECK_OK(fkmi_model_need_points(copy));
        free(again);
        again = nearest_of(copy, &batch);
        check_near(distance, again);
        free(distance);
        free(again);
        fkm_model_free(copy);
        fkm_model_free(model);
    }
    free(text);
}

TEST(dense_rows_and_masked_ones_get_the_same_answers)
{
    struct text *text = text_make();
    fkm_batch batch = batch_of(text);
    fkm_model *model = fitted(text, FKM_TASK_CLASSIFY);
    float *dense = calloc((size_t)ROWS * DIM, sizeof *dense),
          *mask = malloc((size_t)ROWS * DIM * sizeof *mask);
    double *sparse = nearest_of(model, &batch), *other;
    double *points = calloc((size_t)model->learned.state.k * DIM, sizeof *points), square = 0;

    for (int i = 0; i < ROWS; i++)
        for (int e = 0; e < ENTRIES; e++)
            dense[(int64_t)i * DIM + text->indices[i * ENTRIES + e]] = text->values[i * ENTRIES + e];
    for (int64_t i = 0; i < (int64_t)ROWS * DIM; i++)
        mask[i] = 1;
    batch.values = NULL;
    batch.indices = NULL;
    batch.indptr = NULL;
    batch.x = dense;
    other = nearest_of(model, &batch);
    CHECK(memcmp(sparse, other, ROWS * sizeof *other) == 0);
    free(other);
    batch.mask = mask;
    other = nearest_of(model, &batch);
    check_near(sparse, other);
    CHECK(model->learned.state.listed);
    CHECK_OK(fkm_model_centroids(model, points));
    for (int64_t d = 0; d < DIM; d++)
        square += points[d] * points[d];
    CHECK_NEAR(square, 1, 1e-6);
    free(other);
    free(sparse);
    free(points);
    free(dense);
    free(mask);
    fkm_model_free(model);
    free(text);
}

/* Without zeros, and the same in full. */
static void check_csr(const fkm_model *model)
{
    const int64_t k = model->learned.state.k, dim = model->learned.state.dim;
    double *points = calloc((size_t)(k * dim), sizeof *points), *values;
    int64_t *begin = calloc((size_t)k + 1, sizeof *begin), n;
    int32_t *indices;

    CHECK_OK(fkm_model_centroids(model, points));
    CHECK_OK(fkm_model_centroids_csr(model, 0, begin, NULL, NULL));
    n = begin[k];
    CHECK(n > 0 && n < k * dim);
    indices = calloc((size_t)n, sizeof *indices);
    values = calloc((size_t)n, sizeof *values);
    CHECK_STATUS(FKM_EINVAL, fkm_model_centroids_csr(model, n - 1, begin, indices, values));
    CHECK_SAYS("not 0", fkm_last_error());
    CHECK_STATUS(FKM_EINVAL, fkm_model_centroids_csr(model, n, begin, NULL, NULL));
    CHECK_STATUS(FKM_EINVAL, fkm_model_centroids_csr(model, n, begin, indices, NULL));
    CHECK_STATUS(FKM_EINVAL, fkm_model_centroids_csr(model, n, NULL, indices, values));
    CHECK_STATUS(FKM_EINVAL, fkm_model_centroids_csr(NULL, n, begin, indices, values));
    CHECK_OK(fkm_model_centroids_csr(model, n, begin, indices, values));
    CHECK_INT(n, begin[k]);
    for (int64_t j = 0; j < k; j++)
        for (int64_t e = begin[j]; e < begin[j + 1]; e++) {
            CHECK(values[e] != 0 && (e == begin[j] || indices[e] > indices[e - 1]));
            CHECK(points[j * dim + indices[e]] == values[e]);
            points[j * dim + indices[e]] = 0;
        }
    for (int64_t i = 0; i < k * dim; i++)
        CHECK(points[i] == 0);
    free(points);
    free(begin);
    free(indices);
    free(values);
}

TEST(centroids_without_zeros)
{
    struct text *text = text_make();
    fkm_model *model = fitted(text, FKM_TASK_CLASSIFY), *unfitted;
    int64_t begin[2];

    check_csr(model);
    CHECK_OK(fkmi_model_need_points(model));
    check_csr(model);
    CHECK_OK(fkm_model_create(model->context, &model->params, &unfitted));
    CHECK_STATUS(FKM_ESTATE, fkm_model_centroids_csr(unfitted, 0, begin, NULL, NULL));
    fkm_model_free(unfitted);
    fkm_model_free(model);
    free(text);
}

/* Steps one by one, with a copy and a file in between: moments go with the model. */
TEST(gradient_steps_keep_lists)
{
    struct text *text = text_make();
    fkm_batch batch = batch_of(text);
    const fkm_dtype dtypes[] = {FKM_DTYPE_F32, FKM_DTYPE_F64, FKM_DTYPE_F16, FKM_DTYPE_BF16};

    for (int t = 0; t < 4; t++)
        for (int d = 0; d < 4; d++) {
            fkm_params params = data_params(data_tasks[t]);
            fkm_model *model, *copy, *back;
            struct bytes bytes;
            double first, loss = 0;

            params.metric = FKM_METRIC_COSINE;
            params.dtype = dtypes[d];
            params.k_init = data_tasks[t] == FKM_TASK_CLUSTER ? 30 : 4;
            params.k_targets = 9;
            params.learning_rate = 0.1;
            CHECK_OK(fkm_model_create(context_of(2), &params, &model));
            CHECK_OK(fkm_model_fit(model, &batch, NULL));
            CHECK_OK(fkm_model_gradient_step(model, &batch, &first));
            for (int step = 0; step < 5; step++)
                CHECK_OK(fkm_model_gradient_step(model, &batch, NULL));
            CHECK(model->learned.state.listed && model->trainer.held.begin && !model->trainer.columns);
            CHECK_OK(fkm_model_copy(model, &copy));
            bytes = model_bytes(model);
            CHECK_OK(fkm_model_from_bytes(context_of(1), bytes.data, bytes.size, &back));
            CHECK_SAME_BYTES(model_bytes(back), bytes);
            for (int step = 0; step < 3; step++) {
                CHECK_OK(fkm_model_gradient_step(model, &batch, &loss));
                CHECK_OK(fkm_model_gradient_step(copy, &batch, NULL));
                CHECK_OK(fkm_model_gradient_step(back, &batch, NULL));
            }
            /* a clusterer's prototypes were at their best already */
            CHECK(params.task == FKM_TASK_CLUSTER ? loss < first + 1e-5 : loss < first);
            CHECK_SAME_BYTES(model_bytes(copy), model_bytes(model));
            CHECK_SAME_BYTES(model_bytes(back), model_bytes(model));
            fkm_model_free(copy);
            fkm_model_free(back);
            fkm_model_free(model);
        }
    free(text);
}

/* What was held becomes whole beside the room for more classes, which the same step brings. */
TEST(dense_rows_of_new_classes_come_after_sparse_ones)
{
    static const int64_t labels[] = {0, 1, 77, 78};
    static const fkm_dtype dtypes[] = {FKM_DTYPE_F32, FKM_DTYPE_BF16};
    struct text *text = text_make();
    float *dense = calloc((size_t)4 * DIM, sizeof *dense);
    fkm_batch batch = batch_of(text), rows = FKM_BATCH_INIT;

    for (int i = 0; i < 4; i++)
        dense[i * DIM + i] = 1;
    rows.n_rows = 4;
    rows.n_cols = DIM;
    rows.x = dense;
    rows.labels = labels;
    for (int t = 0; t < 2; t++) {
        fkm_params params = data_params(FKM_TASK_CLASSIFY);
        struct bytes bytes;
        fkm_model *model, *back;

        params.metric = FKM_METRIC_COSINE;
        params.k_init = 4;
        params.dtype = dtypes[t];
        CHECK_OK(fkm_model_create(context_of(2), &params, &model));
        CHECK_OK(fkm_model_fit(model, &batch, NULL));
        CHECK_OK(fkm_model_gradient_step(model, &batch, NULL));
        CHECK(model->learned.state.listed && model->trainer.held.begin);
        CHECK_OK(fkm_model_gradient_step(model, &rows, NULL));
        CHECK_INT(CLASSES + 2, model->learned.state.n_classes);
        bytes = model_bytes(model);
        CHECK_OK(fkm_model_from_bytes(context_of(1), bytes.data, bytes.size, &back));
        CHECK_SAME_BYTES(model_bytes(back), bytes);
        fkm_model_free(back);
        fkm_model_free(model);
    }
    free(dense);
    free(text);
}

/* Of a single class there is nothing to learn, and no moment to keep. */
TEST(a_file_of_lists_may_hold_no_moments)
{
    struct text *text = text_make();
    const fkm_batch batch = batch_of(text);
    fkm_params params = data_params(FKM_TASK_CLASSIFY);
    struct bytes bytes;
    fkm_model *model, *back;

    memset(text->labels, 0, sizeof text->labels);
    params.metric = FKM_METRIC_COSINE;
    params.k_init = 30;
    CHECK_OK(fkm_model_create(context_of(2), &params, &model));
    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    CHECK_OK(fkm_model_gradient_step(model, &batch, NULL));
    CHECK(model->trainer.held.begin);
    bytes = model_bytes(model);
    CHECK_OK(fkm_model_from_bytes(context_of(1), bytes.data, bytes.size, &back));
    CHECK_SAME_BYTES(model_bytes(back), bytes);
    fkm_model_free(back);
    fkm_model_free(model);
    free(text);
}

/* New classes, then dense rows, for which moments become whole as well. */
TEST(gradient_steps_go_on_whatever_comes)
{
    struct text *text = text_make();
    fkm_batch batch = batch_of(text);
    fkm_model *model = fitted(text, FKM_TASK_CLASSIFY);
    float *dense = calloc((size_t)ROWS * DIM, sizeof *dense);
    const int64_t k = model->learned.state.k;
    double moment = 0, held;

    CHECK_OK(fkm_model_gradient_step(model, &batch, NULL));
    for (int i = 0; i < ROWS; i++)
        text->labels[i] += i % 2 ? 1000 : 0;
    CHECK_OK(fkm_model_gradient_step(model, &batch, NULL));
    CHECK(model->learned.state.listed && model->learned.state.k > k);
    CHECK_OK(fkm_model_gradient_step(model, &batch, NULL));
    for (int64_t e = 0; e < model->trainer.held.begin[model->learned.state.k]; e++)
        moment += (double)((const float *)model->trainer.held.v)[e];
    held = moment;
    CHECK(held > 0);
    for (int i = 0; i < ROWS; i++)
        for (int e = 0; e < ENTRIES; e++)
            dense[(int64_t)i * DIM + text->indices[i * ENTRIES + e]] = text->values[i * ENTRIES + e];
    batch.values = NULL;
    batch.indices = NULL;
    batch.indptr = NULL;
    batch.x = dense;
    CHECK_OK(fkm_model_gradient_step(model, &batch, NULL));
    CHECK(!model->learned.state.listed && !model->trainer.held.begin && model->trainer.point_v);
    for (int64_t at = 0; at < model->learned.state.k * DIM; at++)
        moment -= (double)((const float *)model->trainer.point_v)[at];
    CHECK(moment < 1e-3 * held); /* what was held is there */
    fkm_model_free(model);
    free(dense);
    free(text);
}

static fkm_model *streamed(const struct text *text, fkm_task task, double merge_threshold)
{
    const fkm_batch batch = batch_of(text);
    fkm_params params = data_params(task);
    fkm_model *model;

    params.metric = FKM_METRIC_COSINE;
    params.k_init = task == FKM_TASK_CLUSTER ? 30 : 4;
    params.k_targets = 9;
    params.merge_threshold = merge_threshold;
    CHECK_OK(fkm_model_create(context_of(2), &params, &model));
    for (int t = 0; t < 3; t++)
        CHECK_OK(fkm_model_fit_batch(model, &batch, NULL));
    return model;
}

TEST(batches_keep_lists)
{
    struct text *text = text_make();
    const fkm_batch batch = batch_of(text);

    for (int t = 0; t < 4; t++) {
        fkm_model *model = streamed(text, data_tasks[t], -1), *fit = fitted(text, data_tasks[t]), *whole;
        double *a, *b;

        CHECK(model->learned.state.listed); /* from the first batch on */
        CHECK_OK(fkm_model_copy(fit, &whole));
        CHECK_OK(fkmi_model_need_points(whole));
        CHECK_OK(fkm_model_fit_batch(fit, &batch, NULL)); /* and after a fit */
        CHECK_OK(fkm_model_fit_batch(whole, &batch, NULL));
        CHECK(fit->learned.state.listed && !whole->learned.state.listed);
        a = nearest_of(fit, &batch);
        b = nearest_of(whole, &batch);
        check_near(a, b);
        free(a);
        free(b);
        fkm_model_free(model);
        fkm_model_free(fit);
        fkm_model_free(whole);
    }
    free(text);
}

/* A class that a later batch brings, dense rows, and what asks for points. */
TEST(batches_of_lists_go_on_whatever_comes)
{
    struct text *text = text_make();
    fkm_batch batch = batch_of(text);
    fkm_model *model = streamed(text, FKM_TASK_CLASSIFY, -1),
              *merging = streamed(text, FKM_TASK_CLASSIFY, 1.5);
    float *dense = calloc((size_t)ROWS * DIM, sizeof *dense);
    const int64_t k = model->learned.state.k;

    CHECK(merging->learned.state.listed && merging->learned.state.k < k);
    for (int i = 0; i < ROWS; i++)
        text->labels[i] += i % 2 ? 1000 : 0;
    CHECK_OK(fkm_model_fit_batch(model, &batch, NULL));
    CHECK(model->learned.state.listed && model->learned.state.k > k);
    batch.values = NULL;
    batch.indices = NULL;
    batch.indptr = NULL;
    batch.x = dense;
    CHECK_OK(fkm_model_fit_batch(model, &batch, NULL));
    CHECK(!model->learned.state.listed);
    fkm_model_free(model);
    fkm_model_free(merging);
    free(dense);
    free(text);
}

TEST(fine_tuning_keeps_lists)
{
    struct text *text = text_make();
    const fkm_batch batch = batch_of(text);

    for (int t = 0; t < 4; t++) {
        fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;
        fkm_model *model = fitted(text, data_tasks[t]), *again = fitted(text, data_tasks[t]), *back;
        double *before = nearest_of(model, &batch), *after, lr, gradient;
        struct bytes bytes;

        CHECK_OK(fkm_model_find_learning_rate(model, &batch, &lr));
        CHECK_OK(fkm_model_find_learning_rate(again, &batch, &lr));
        CHECK(model->learned.state.listed);
        after = nearest_of(model, &batch);
        CHECK(memcmp(before, after, ROWS * sizeof *after) == 0); /* the search works on a copy */
        free(after);
        options.epochs = 3;
        options.eval_fraction = 0.2;
        options.early_stopping_rounds = 2;
        for (int call = 0; call < 2; call++) {
            CHECK_OK(fkm_model_finetune(model, &batch, &options));
            CHECK_OK(fkm_model_finetune(again, &batch, &options));
        }
        CHECK(model->learned.state.listed);
        CHECK_SAME_BYTES(model_bytes(model), model_bytes(again));
        after = nearest_of(model, &batch);
        CHECK(memcmp(before, after, ROWS * sizeof *after) != 0);
        free(after);
        CHECK_STATUS(FKM_ESTATE, fkm_model_centroid_gradients(model, &gradient));
        bytes = model_bytes(model);
        CHECK_OK(fkm_model_from_bytes(context_of(1), bytes.data, bytes.size, &back));
        fkm_free(bytes.data);
        CHECK(back->learned.state.listed && back->trainer.begun);
        CHECK_OK(fkm_model_finetune(back, &batch, &options));
        CHECK_OK(fkm_model_finetune(model, &batch, &options));
        CHECK_SAME_BYTES(model_bytes(back), model_bytes(model));
        CHECK_OK(fkm_model_gradient_step(back, &batch, NULL));
        CHECK(back->learned.state.listed);
        free(before);
        fkm_model_free(model);
        fkm_model_free(again);
        fkm_model_free(back);
    }
    free(text);
}

/* Rows with a mask are scored while epochs last. */
TEST(masked_rows_to_evaluate_on_make_whole_points)
{
    struct text *text = text_make();
    const fkm_batch batch = batch_of(text);
    fkm_model *model = fitted(text, FKM_TASK_CLASSIFY);
    fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;
    fkm_batch eval = batch;
    float *dense = calloc((size_t)ROWS * DIM, sizeof *dense),
          *mask = calloc((size_t)ROWS * DIM, sizeof *mask);

    for (int64_t i = 0; i < (int64_t)ROWS * DIM; i++)
        mask[i] = 1;
    eval.values = NULL;
    eval.indices = NULL;
    eval.indptr = NULL;
    eval.x = dense;
    eval.mask = mask;
    options.epochs = 1;
    options.eval = &eval;
    CHECK_OK(fkm_model_finetune(model, &batch, &options));
    CHECK(!model->learned.state.listed);
    free(dense);
    free(mask);
    fkm_model_free(model);
    free(text);
}

TEST(parameters_that_need_whole_points_get_them)
{
    struct text *text = text_make();
    const fkm_batch batch = batch_of(text);

    for (int way = 0; way < 2; way++) {
        fkm_params params = data_params(FKM_TASK_CLASSIFY);
        fkm_model *model;

        params.k_init = 4;
        params.assignment = way == 0 ? FKM_ASSIGN_LINEAR : FKM_ASSIGN_HARD;
        params.repulsion = way == 1 ? FKM_REPULSION_GLVQ : FKM_REPULSION_WINDOW;
        CHECK_OK(fkm_model_create(context_of(2), &params, &model));
        CHECK_OK(fkm_model_fit(model, &batch, NULL));
        CHECK(!model->learned.state.listed);
        fkm_model_free(model);
    }
    free(text);
}

/* ---- files */

TEST(files_bring_lists_back)
{
    struct text *text = text_make();
    const fkm_batch batch = batch_of(text);

    for (int t = 0; t < 4; t++) {
        fkm_model *model = fitted(text, data_tasks[t]), *back;
        struct bytes bytes = model_bytes(model);
        double *before = nearest_of(model, &batch), *after;

        CHECK_OK(fkm_model_from_bytes(context_of(1), bytes.data, bytes.size, &back));
        CHECK(back->learned.state.listed);
        after = nearest_of(back, &batch);
        CHECK(memcmp(before, after, ROWS * sizeof *after) == 0);
        CHECK(bytes.size < 200000); /* whole points would take millions */
        CHECK_SAME_BYTES(model_bytes(back), bytes);
        free(before);
        free(after);
        fkm_model_free(model);
        fkm_model_free(back);
    }
    free(text);
}

struct damage {
    const char *tensor; /* left out when entry < 0 */
    int64_t entry;
    double value;
};

/* What the file of a model with one thing changed gives. */
static fkm_status load_damaged(const fkm_model *model, const struct damage *damage)
{
    struct bytes bytes = model_bytes(model);
    struct fkmi_tensor tensors[FKMI_TENSORS_MAX];
    struct fkmi_text texts[256];
    struct fkmi_tensor_file *file;
    void *data[FKMI_TENSORS_MAX], *damaged = NULL;
    size_t size = 0;
    fkm_model *back = NULL;
    fkm_status status;
    int n = 0, n_texts;

    CHECK_OK(fkmi_tensors_open_bytes(bytes.data, bytes.size, &file));
    n_texts = (int)fkmi_tensors_text_count(file);
    for (int i = 0; i < n_texts; i++)
        texts[i] = fkmi_tensors_text_at(file, i);
    for (int i = 0; i < fkmi_tensors_count(file); i++) {
        struct fkmi_tensor *tensor = &tensors[n];

        *tensor = *fkmi_tensors_at(file, i);
        if (strcmp(tensor->name, damage->tensor) == 0 && damage->entry < 0)
            continue;
        CHECK_OK(
            fkmi_tensors_read(file, tensor->name, tensor->type, tensor->n_dims, tensor->shape, &data[n]));
        tensor->data = data[n];
        if (strcmp(tensor->name, damage->tensor) == 0 && tensor->type == FKMI_TENSOR_I64)
            ((int64_t *)data[n])[damage->entry] = (int64_t)damage->value;
        if (strcmp(tensor->name, damage->tensor) == 0 && tensor->type == FKMI_TENSOR_I32)
            ((int32_t *)data[n])[damage->entry] = (int32_t)damage->value;
        if (strcmp(tensor->name, damage->tensor) == 0 && tensor->type == FKMI_TENSOR_F32)
            ((float *)data[n])[damage->entry] = (float)damage->value;
        n++;
    }
    CHECK_OK(fkmi_tensors_to_bytes(tensors, n, texts, n_texts, &damaged, &size));
    status = fkm_model_from_bytes(context_of(1), damaged, size, &back);
    fkm_model_free(back);
    for (int i = 0; i < n; i++)
        fkmi_free(data[i]);
    fkmi_tensors_close(file);
    fkm_free(damaged);
    fkm_free(bytes.data);
    return status;
}

TEST(files_with_damaged_lists_are_refused)
{
    struct text *text = text_make();
    fkm_model *model = fitted(text, FKM_TASK_CLASSIFY);
    const int64_t k = model->learned.state.k;
    const struct damage damages[] = {
        {"centroids.begin", 0, 1},
        {"centroids.begin", 0, -1},
        {"centroids.begin", 1, -5},
        {"centroids.begin", 1, 1e15},
        {"centroids.begin", k, 3},
        {"centroids.begin", k, 1e15},
        {"centroids.begin", 2, 0},
        {"centroids.columns", 0, -1},
        {"centroids.columns", 3, DIM},
        {"centroids.columns", 4, 0},
        {"centroids.columns", 2, 2147483647},
        {"centroids.values", 1, (double)NAN},
        {"centroids.values", 1, (double)INFINITY},
        {"centroids.begin", -1, 0},
        {"centroids.columns", -1, 0},
        {"centroids.values", -1, 0},
    };

    const struct damage of_moments[] = {
        {"adam.lists.begin", 0, 1},       {"adam.lists.begin", 3, -1},    {"adam.lists.begin", 5, 1 << 20},
        {"adam.lists.columns", 0, -1},    {"adam.lists.columns", 3, DIM}, {"adam.lists.columns", 4, 0},
        {"adam.lists.m", 1, (double)NAN}, {"adam.lists.m", 1, 1e9},       {"adam.lists.v", 1, -1},
        {"adam.lists.begin", -1, 0},      {"adam.lists.columns", -1, 0},  {"adam.lists.m", -1, 0},
        {"adam.lists.v", -1, 0},
    };
    const fkm_batch batch = batch_of(text);

    CHECK_OK(load_damaged(model, &(struct damage){"nothing", 0, 0}));
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++)
        if (load_damaged(model, &damages[i]) != FKM_EDATA)
            test_fail(__FILE__, __LINE__, "damage %d of %s was not found", (int)i, damages[i].tensor);
    CHECK_OK(fkm_model_gradient_step(model, &batch, NULL));
    CHECK_OK(load_damaged(model, &(struct damage){"nothing", 0, 0}));
    for (size_t i = 0; i < sizeof of_moments / sizeof *of_moments; i++)
        if (load_damaged(model, &of_moments[i]) != FKM_EDATA)
            test_fail(__FILE__, __LINE__, "damage %d of %s was not found", (int)i, of_moments[i].tensor);
    fkm_model_free(model);
    free(text);
}

/* ---- memory */

TEST(failing_allocations_of_fine_tuning_leave_the_model_as_it_was)
{
    struct text *text = text_make();
    fkm_batch batch = batch_of(text);
    fkm_model *model = fitted(text, FKM_TASK_CLASSIFY), *before;
    fkm_status status = FKM_ENOMEM;

    CHECK_OK(fkm_model_copy(model, &before));
    batch.n_rows = 20;
    for (int64_t n = 1; status != FKM_OK; n += 1 + n / 8) {
        fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;

        options.epochs = 1;
        options.eval_fraction = 0.3;
        fkmi_memory_fail(n, 0);
        status = fkm_model_finetune(model, &batch, &options);
        fkmi_memory_fail(0, 0);
        CHECK(status == FKM_OK || status == FKM_ENOMEM);
        if (status != FKM_OK)
            CHECK_SAME_BYTES(model_bytes(model), model_bytes(before));
    }
    fkm_model_free(model);
    fkm_model_free(before);
    free(text);
}

TEST(failing_allocations_leave_the_model_as_it_was)
{
    struct text *text = text_make();
    const fkm_batch batch = batch_of(text);
    fkm_model *model = fitted(text, FKM_TASK_CLASSIFY);
    struct bytes before = model_bytes(model);
    fkm_status status = FKM_ENOMEM;

    for (int64_t n = 1; status == FKM_ENOMEM && n < 2000; n++) {
        fkmi_memory_fail(n, 0);
        status = fkm_model_fit(model, &batch, NULL);
        fkmi_memory_fail(0, 0);
        CHECK(status == FKM_OK || status == FKM_ENOMEM);
        if (status != FKM_OK)
            CHECK(model->learned.state.listed);
    }
    CHECK_OK(status);
    CHECK(model->learned.state.listed);
    fkm_model_free(model);
    model = fitted(text, FKM_TASK_CLASSIFY);
    CHECK_SAME_BYTES(model_bytes(model), before);
    fkm_model_free(model);
    free(text);
}
