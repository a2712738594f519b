/* test_model_bad_input.c — bad input gets an error that names the thing and the numbers, and the model stays as it was;
 * odd but valid input works.
 * SPDX-License-Identifier: Apache-2.0 */
#include <float.h>
#include <stdlib.h>

#include "support/data.h"

enum { N = 60, DIM = 4 };

/* Every call that takes a batch. */
static fkm_status call(int which, fkm_model *model, const fkm_batch *batch)
{
    static int64_t labels[4096];
    static float numbers[65536];
    static double values[65536];
    static uint8_t tags[65536];

    switch (which) {
    case 0:
        return fkm_model_fit(model, batch, NULL);
    case 1:
        return fkm_model_fit_batch(model, batch, NULL);
    case 2:
        return fkm_model_gradient_step(model, batch, NULL);
    case 3:
        return fkm_model_finetune(model, batch, NULL);
    case 4:
        return fkm_model_find_learning_rate(model, batch, NULL);
    case 5:
        return fkm_model_transform(model, batch, numbers);
    default:
        break;
    }
    fkm_model_info info = {.struct_size = sizeof info};
    CHECK_OK(fkm_model_describe(model, &info));
    switch (info.params.task) {
    case FKM_TASK_MULTILABEL:
        return fkm_model_predict_tags(model, batch, FKM_STRATEGY_GAP, 1, tags);
    case FKM_TASK_REGRESS:
        return fkm_model_predict_values(model, batch, values);
    default:
        return fkm_model_predict_labels(model, batch, labels);
    }
}
enum { N_CALLS = 7, N_LEARNING_CALLS = 5 };

static fkm_model *fitted(fkm_task task, const struct data *data)
{
    const fkm_params params = data_params(task);
    const fkm_batch batch = data_batch(data, task, 0, N);
    fkm_model *model;

    CHECK_OK(fkm_model_create(context_of(2), &params, &model));
    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    CHECK_OK(fkm_model_gradient_step(model, &batch, NULL));
    return model;
}

/* Every call refuses the batch with words and leaves every byte of the model. */
static void expect_refusal_from(int first, fkm_model *model, const fkm_batch *batch, int n_calls,
                                fkm_status expected, const char *words)
{
    for (int c = first; c < n_calls; c++) {
        struct bytes before = model_bytes(model);
        const fkm_status status = call(c, model, batch);
        if (status != expected)
            test_fail(__FILE__, __LINE__, "call %d: %s instead of %s (%s)", c, fkm_status_name(status),
                      fkm_status_name(expected), words);
        CHECK_SAYS(words, fkm_last_error());
        CHECK_SAME_BYTES(before, model_bytes(model));
    }
}

static void expect_refusal(fkm_model *model, const fkm_batch *batch, int n_calls, fkm_status expected,
                           const char *words)
{
    expect_refusal_from(0, model, batch, n_calls, expected, words);
}

TEST(bad_rows_are_refused_by_every_call)
{
    struct data data = data_make(N, DIM, 3, 40);
    float x[N * DIM], weight[N], mask[N * DIM];

    for (int t = 0; t < 4; t++) {
        fkm_model *model = fitted(data_tasks[t], &data);
        const fkm_batch good = data_batch(&data, data_tasks[t], 0, N);
        fkm_batch bad = good;

        bad.n_rows = 0;
        expect_refusal(model, &bad, N_CALLS, FKM_EINVAL, "0 rows");
        bad = good;
        bad.n_cols = 3;
        bad.row_stride = DIM;
        expect_refusal_from(1, model, &bad, N_CALLS, FKM_EINVAL,
                            "3 columns"); /* fit begins anew, with any width */
        CHECK_SAYS("4", fkm_last_error());
        bad = good;
        bad.x = NULL;
        expect_refusal(model, &bad, N_CALLS, FKM_EINVAL, "x");
        bad = good;
        bad.struct_size = 3;
        expect_refusal(model, &bad, N_CALLS, FKM_EINVAL, "struct_size");
        memcpy(x, data.x, sizeof x);
        bad = good;
        bad.x = x;
        x[7 * DIM + 2] = NAN;
        expect_refusal(model, &bad, N_CALLS, FKM_EINVAL, "row 7");
        x[7 * DIM + 2] = -INFINITY;
        expect_refusal(model, &bad, N_CALLS, FKM_EINVAL, "row 7");
        x[7 * DIM + 2] = 1e30f;
        expect_refusal(model, &bad, N_CALLS, FKM_EINVAL, "1e+30");
        bad = good;
        bad.weight = weight;
        for (int i = 0; i < N; i++)
            weight[i] = 1;
        weight[9] = -0.5f;
        expect_refusal(model, &bad, N_CALLS, FKM_EINVAL, "-0.5");
        weight[9] = NAN;
        expect_refusal(model, &bad, N_CALLS, FKM_EINVAL, "nan");
        bad = good;
        bad.mask = mask;
        for (int i = 0; i < N * DIM; i++)
            mask[i] = 1;
        mask[5 * DIM + 1] = 1.5f;
        expect_refusal(model, &bad, N_CALLS, FKM_EINVAL, "1.5");
        fkm_model_free(model);
    }
    data_free(&data);
}

TEST(bad_csr_is_refused_by_every_call)
{
    struct data data = data_make(N, DIM, 3, 41);
    fkm_model *model = fitted(FKM_TASK_CLASSIFY, &data);
    const fkm_batch good = data_batch_csr(&data, FKM_TASK_CLASSIFY);
    int64_t indptr[N + 1];
    int32_t *indices = calloc(N * DIM, sizeof *indices);
    fkm_batch bad = good;

    memcpy(indptr, data.indptr, sizeof indptr);
    bad.indptr = indptr;
    indptr[0] = 1;
    expect_refusal(model, &bad, N_CALLS, FKM_EINVAL, "indptr");
    indptr[0] = 0;
    indptr[4] = indptr[3] - 1;
    expect_refusal(model, &bad, N_CALLS, FKM_EINVAL, "indptr");
    bad = good;
    bad.indices = indices;
    memcpy(indices, data.indices, (size_t)data.indptr[N] * sizeof *indices);
    indices[0] = DIM;
    expect_refusal(model, &bad, N_CALLS, FKM_EINVAL, "4");
    indices[0] = -1;
    expect_refusal(model, &bad, N_CALLS, FKM_EINVAL, "-1");
    bad = good;
    bad.mask = data.mask;
    expect_refusal(model, &bad, N_CALLS, FKM_EUNSUPPORTED, "mask");
    fkm_model_free(model);
    free(indices);
    data_free(&data);
}

TEST(bad_targets_are_refused_by_learning_calls)
{
    struct data data = data_make(N, DIM, 3, 42);
    fkm_model *classifier = fitted(FKM_TASK_CLASSIFY, &data), *tagger = fitted(FKM_TASK_MULTILABEL, &data),
              *regressor = fitted(FKM_TASK_REGRESS, &data);
    fkm_batch bad = data_batch(&data, FKM_TASK_CLASSIFY, 0, N);
    int32_t tags[3 * N];
    double targets[2 * N];

    bad.labels = NULL;
    expect_refusal(classifier, &bad, N_LEARNING_CALLS, FKM_EINVAL, "labels");
    bad = data_batch(&data, FKM_TASK_MULTILABEL, 0, N);
    bad.tag_indptr = NULL;
    expect_refusal(tagger, &bad, N_LEARNING_CALLS, FKM_EINVAL, "tags");
    bad = data_batch(&data, FKM_TASK_MULTILABEL, 0, N);
    memcpy(tags, data.tags, (size_t)data.tag_indptr[N] * sizeof *tags);
    bad.tags = tags;
    tags[2] = 3;
    expect_refusal(tagger, &bad, N_LEARNING_CALLS, FKM_EINVAL, "tag 3");
    tags[2] = -1;
    expect_refusal(tagger, &bad, N_LEARNING_CALLS, FKM_EINVAL, "tag -1");
    tags[2] = tags[1];
    expect_refusal(tagger, &bad, N_LEARNING_CALLS, FKM_EINVAL, "twice");
    bad = data_batch(&data, FKM_TASK_REGRESS, 0, N);
    bad.targets = NULL;
    expect_refusal(regressor, &bad, N_LEARNING_CALLS, FKM_EINVAL, "targets");
    bad = data_batch(&data, FKM_TASK_REGRESS, 0, N);
    memcpy(targets, data.targets, sizeof targets);
    bad.targets = targets;
    targets[11] = NAN;
    expect_refusal(regressor, &bad, N_LEARNING_CALLS, FKM_EINVAL, "row 5");
    fkm_model_free(classifier);
    fkm_model_free(tagger);
    fkm_model_free(regressor);
    data_free(&data);
}

TEST(an_unseen_label_is_refused_where_nothing_can_be_seeded)
{
    struct data data = data_make(N, DIM, 3, 43);
    fkm_model *model = fitted(FKM_TASK_CLASSIFY, &data);
    fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, N);
    int64_t labels[N];
    struct bytes before = model_bytes(model);

    memcpy(labels, data.labels, sizeof labels);
    labels[17] = 99;
    batch.labels = labels;
    CHECK_STATUS(FKM_EINVAL, fkm_model_finetune(model, &batch, NULL));
    CHECK_SAYS("label 99", fkm_last_error());
    CHECK_SAYS("row 17", fkm_last_error());
    CHECK_SAME_BYTES(before, model_bytes(model));
    fkm_model_free(model);
    data_free(&data);
}

TEST(questions_to_an_unfitted_model_are_refused)
{
    struct data data = data_make(N, DIM, 3, 44);

    for (int t = 0; t < 4; t++) {
        const fkm_params params = data_params(data_tasks[t]);
        const fkm_batch batch = data_batch(&data, data_tasks[t], 0, N);
        fkm_model *model;
        double numbers[64];
        CHECK_OK(fkm_model_create(context_of(1), &params, &model));
        for (int c = 2; c < N_CALLS; c++) {
            CHECK_STATUS(FKM_ESTATE, call(c, model, &batch));
            CHECK_SAYS("fit", fkm_last_error());
        }
        CHECK_STATUS(FKM_ESTATE, fkm_model_centroids(model, numbers));
        CHECK_STATUS(FKM_ESTATE, fkm_model_freeze(model, NULL, 0));
        fkm_model_free(model);
    }
    data_free(&data);
}

TEST(parameters_out_of_range_are_refused_with_what_is_valid)
{
    fkm_params params = data_params(FKM_TASK_CLASSIFY);
    fkm_model *model = (fkm_model *)&params;

    params.temperature = 0;
    CHECK_STATUS(FKM_EINVAL, fkm_model_create(context_of(1), &params, &model));
    CHECK_SAYS("temperature", fkm_last_error());
    CHECK(model == NULL);
    params = data_params(FKM_TASK_CLASSIFY);
    params.metric = (fkm_metric)7;
    CHECK_STATUS(FKM_EINVAL, fkm_model_create(context_of(1), &params, &model));
    CHECK_SAYS("euclidean", fkm_last_error());
    params = data_params(FKM_TASK_CLASSIFY);
    params.k_init = 0;
    CHECK_STATUS(FKM_EINVAL, fkm_model_create(context_of(1), &params, &model));
    CHECK_SAYS("k_init", fkm_last_error());
    params = data_params(FKM_TASK_CLASSIFY);
    CHECK_STATUS(FKM_EINVAL, fkm_params_set(&params, "distance", "manhattan"));
    CHECK_SAYS("manhattan", fkm_last_error());
    CHECK_SAYS("cosine", fkm_last_error());
}

TEST(options_out_of_range_are_refused)
{
    struct data data = data_make(N, DIM, 3, 45);
    fkm_model *model = fitted(FKM_TASK_CLASSIFY, &data);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, N);
    fkm_fit_options fit = FKM_FIT_OPTIONS_INIT;
    fkm_finetune_options finetune = FKM_FINETUNE_OPTIONS_INIT;

    fit.max_iters = 0;
    CHECK_STATUS(FKM_EINVAL, fkm_model_fit(model, &batch, &fit));
    CHECK_SAYS("max_iters is 0", fkm_last_error());
    fit.max_iters = 5;
    fit.tol = -1;
    CHECK_STATUS(FKM_EINVAL, fkm_model_fit(model, &batch, &fit));
    fit.tol = 0;
    fit.eval_fraction = 1;
    CHECK_STATUS(FKM_EINVAL, fkm_model_fit(model, &batch, &fit));
    finetune.epochs = 0;
    CHECK_STATUS(FKM_EINVAL, fkm_model_finetune(model, &batch, &finetune));
    finetune.epochs = 1;
    finetune.lr = NAN;
    CHECK_STATUS(FKM_EINVAL, fkm_model_finetune(model, &batch, &finetune));
    CHECK_STATUS(FKM_EINVAL, fkm_model_freeze(model, (uint8_t[]){1}, 1));
    CHECK_SAYS("6 prototypes", fkm_last_error());
    CHECK_STATUS(FKM_EINVAL, fkm_model_nearest(model, &batch, INT64_MAX, (int64_t[]){7}, NULL, NULL));
    CHECK_SAYS("9223372036854775807 prototypes", fkm_last_error());
    CHECK_STATUS(FKM_EINVAL, fkm_model_save(model, ""));
    CHECK_SAYS("path is empty", fkm_last_error());
    fkm_model_free(model);
    data_free(&data);
}

/* ---- odd, but valid */

static void expect_learning(fkm_task task, const fkm_batch *batch, int64_t k_at_most)
{
    const fkm_metric metrics[] = {FKM_METRIC_COSINE, FKM_METRIC_EUCLIDEAN, FKM_METRIC_L1};
    double points[4096];

    for (int m = 0; m < 3; m++) {
        fkm_params params = data_params(task);
        fkm_model_info info = {.struct_size = sizeof info};
        fkm_model *model;
        params.metric = metrics[m];
        CHECK_OK(fkm_model_create(context_of(2), &params, &model));
        CHECK_OK(fkm_model_fit(model, batch, NULL));
        CHECK_OK(fkm_model_fit_batch(model, batch, NULL));
        CHECK_OK(fkm_model_gradient_step(model, batch, NULL));
        CHECK_OK(fkm_model_finetune(model, batch, NULL));
        CHECK_OK(fkm_model_describe(model, &info));
        CHECK(info.k >= 1 && info.k <= k_at_most);
        CHECK_OK(fkm_model_centroids(model, points));
        for (int64_t i = 0; i < info.k * info.dim; i++)
            CHECK(isfinite(points[i]));
        CHECK_OK(call(N_CALLS - 1, model, batch));
        fkm_model_free(model);
    }
}

/* Whoever frees what a call has given may do so whatever it said. */
TEST(a_call_that_fails_gives_nothing)
{
    static char other;
    fkm_context *const context = context_of(1);
    fkm_model *model;
    fkm_evaluation *evaluation;
    fkm_vectorizer *vectorizer;
    fkm_text_rows *rows;
    fkm_source *source;

#define CHECK_GIVES_NOTHING(call, out)                                                                       \
    do {                                                                                                     \
        (out) = (void *)&other;                                                                              \
        CHECK((call) != FKM_OK);                                                                             \
        CHECK((out) == NULL);                                                                                \
    } while (0)
    CHECK_GIVES_NOTHING(fkm_model_create(NULL, NULL, &model), model);
    CHECK_GIVES_NOTHING(fkm_model_copy(NULL, &model), model);
    CHECK_GIVES_NOTHING(fkm_model_load(NULL, "m", &model), model);
    CHECK_GIVES_NOTHING(fkm_model_load(context, NULL, &model), model);
    CHECK_GIVES_NOTHING(fkm_model_load(context, "/no/such/file", &model), model);
    CHECK_GIVES_NOTHING(fkm_model_from_bytes(context, NULL, 1, &model), model);
    CHECK_GIVES_NOTHING(fkm_model_from_bytes(context, "?", 1, &model), model);
    CHECK_GIVES_NOTHING(fkm_evaluation_create(NULL, FKM_STRATEGY_GAP, 1, &evaluation), evaluation);
    CHECK_GIVES_NOTHING(fkm_model_vectorizer(NULL, &vectorizer), vectorizer);
    CHECK_GIVES_NOTHING(fkm_text_rows_create(NULL, &rows), rows);
    CHECK_GIVES_NOTHING(fkm_source_create(NULL, NULL, &source), source);
    CHECK_GIVES_NOTHING(fkm_source_open(NULL, NULL, &source), source);
    CHECK_GIVES_NOTHING(fkm_source_from_arrow(NULL, NULL, &source), source);
#undef CHECK_GIVES_NOTHING
}

TEST(one_row_is_enough)
{
    struct data data = data_make(N, DIM, 3, 46);

    for (int t = 0; t < 4; t++) {
        const fkm_batch batch = data_batch(&data, data_tasks[t], 3, 1);
        expect_learning(data_tasks[t], &batch, 1);
    }
    data_free(&data);
}

TEST(more_prototypes_than_rows_become_as_many_as_rows)
{
    struct data data = data_make(N, DIM, 1, 47);

    for (int t = 0; t < 4; t++) {
        const fkm_batch batch = data_batch(&data, data_tasks[t], 0, 2);
        expect_learning(data_tasks[t], &batch, 2);
    }
    data_free(&data);
}

TEST(one_class_alone_works)
{
    struct data data = data_make(N, DIM, 1, 48);

    for (int t = 0; t < 4; t++) {
        const fkm_batch batch = data_batch(&data, data_tasks[t], 0, N);
        expect_learning(data_tasks[t], &batch, 12);
    }
    data_free(&data);
}

TEST(constant_columns_and_duplicate_rows_work)
{
    struct data data = data_make(N, DIM, 3, 49);

    for (int64_t i = 0; i < N; i++) {
        data.x[i * DIM + 1] = 5;
        if (i >= 3)
            memcpy(data.x + i * DIM, data.x + i % 3 * DIM, DIM * sizeof *data.x);
    }
    for (int t = 0; t < 4; t++) {
        const fkm_batch batch = data_batch(&data, data_tasks[t], 0, N);
        expect_learning(data_tasks[t], &batch, 24);
    }
    data_free(&data);
}

TEST(rows_of_zeros_work)
{
    struct data data = data_make(N, DIM, 3, 50);

    memset(data.x, 0, N * DIM * sizeof *data.x);
    for (int t = 0; t < 4; t++) {
        const fkm_batch batch = data_batch(&data, data_tasks[t], 0, N);
        expect_learning(data_tasks[t], &batch, 24);
    }
    data_free(&data);
}

TEST(huge_and_tiny_values_work)
{
    struct data data = data_make(N, DIM, 3, 51);
    const float scales[] = {1e-18f, 1e15f};

    for (int s = 0; s < 2; s++) {
        for (int64_t i = 0; i < N * DIM; i++)
            data.x[i] *= scales[s];
        for (int t = 0; t < 4; t++) {
            const fkm_batch batch = data_batch(&data, data_tasks[t], 0, N);
            expect_learning(data_tasks[t], &batch, 24);
        }
        for (int64_t i = 0; i < N * DIM; i++)
            data.x[i] /= scales[s];
    }
    data_free(&data);
}
