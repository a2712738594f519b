/* test_model_edges.c — settings and rows at the edge of what is allowed: they work, or are refused with words.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "estimators/model.h"
#include "support/data.h"

static fkm_model *new_model(fkm_params params, int n_threads)
{
    fkm_model *model;

    CHECK_OK(fkm_model_create(context_of(n_threads), &params, &model));
    return model;
}

TEST(soft_assignment_fits_whole_data)
{
    struct data data = data_make(90, 4, 3, 60);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
    const fkm_assignment kinds[] = {FKM_ASSIGN_LINEAR, FKM_ASSIGN_SOFTMAX};
    const fkm_repulsion repulsions[] = {FKM_REPULSION_WINDOW, FKM_REPULSION_GLVQ};

    for (int a = 0; a < 2; a++)
        for (int r = 0; r < 2; r++) {
            fkm_params params = data_params(FKM_TASK_CLASSIFY);
            int64_t labels[90], right = 0;
            params.assignment = kinds[a];
            params.repulsion = repulsions[r];
            fkm_model *model = new_model(params, 2);
            CHECK_OK(fkm_model_fit(model, &batch, NULL));
            CHECK_OK(fkm_model_predict_labels(model, &batch, labels));
            for (int64_t i = 0; i < data.n; i++)
                right += labels[i] == data.labels[i];
            CHECK(right > 60);
            fkm_model_free(model);
        }
    data_free(&data);
}

TEST(starting_prototypes_and_feature_weights_have_one_width)
{
    const float points[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    const double weights[6] = {1, 1, 1, 1, 1, 1}, tiny[4] = {1e-310, 0, 0, 0};
    fkm_model *model = new_model(data_params(FKM_TASK_CLUSTER), 1);

    CHECK_OK(fkm_model_set_start(model, points, 2, 4, NULL));
    CHECK_STATUS(FKM_EINVAL, fkm_model_set_feature_weights(model, weights, 6));
    CHECK_SAYS("6", fkm_last_error());
    CHECK_STATUS(FKM_EINVAL, fkm_model_set_feature_weights(model, tiny, 4)); /* 4 / 1e-310 is infinite */
    CHECK_OK(fkm_model_set_feature_weights(model, weights, 4));
    CHECK_STATUS(FKM_EINVAL, fkm_model_set_start(model, points, 4, 2, NULL));
    CHECK_SAYS("2 columns", fkm_last_error());
    CHECK_OK(fkm_model_set_start(model, points, 1, 4, NULL));
    CHECK_STATUS(FKM_EINVAL, fkm_model_set_start(model, NULL, 1, 4, NULL));
    CHECK_SAYS("points is NULL", fkm_last_error());
    CHECK_STATUS(FKM_EINVAL, fkm_model_set_feature_weights(model, NULL, 4));
    CHECK_SAYS("weights is NULL", fkm_last_error());
    fkm_model_free(model);
}

TEST(half_precision_refuses_rows_beyond_its_range)
{
    struct data data = data_make(30, 4, 3, 61);

    data.x[7 * 4 + 2] = 1e6f;
    for (int t = 0; t < 4; t++) {
        fkm_batch batch = data_batch(&data, data_tasks[t], 0, data.n);
        fkm_params params = data_params(data_tasks[t]);
        params.dtype = FKM_DTYPE_F16;
        fkm_model *model = new_model(params, 1);
        CHECK_STATUS(FKM_EINVAL, fkm_model_fit(model, &batch, NULL));
        CHECK_SAYS("row 7, column 2", fkm_last_error());
        CHECK_STATUS(FKM_EINVAL, fkm_model_fit_batch(model, &batch, NULL));
        CHECK_STATUS(FKM_EINVAL, fkm_model_set_start(model, data.x, data.n, 4, data.labels));
        batch.mask = data.mask;
        data.mask[7 * 4 + 2] = 0;
        CHECK_OK(fkm_model_fit(model, &batch, NULL));
        data.mask[7 * 4 + 2] = 1;
        CHECK_STATUS(FKM_EINVAL, fkm_model_gradient_step(model, &batch, NULL));
        fkm_model_free(model);
        params.dtype = FKM_DTYPE_BF16;
        model = new_model(params, 1);
        CHECK_OK(fkm_model_fit(model, &batch, NULL));
        fkm_model_free(model);
    }
    data_free(&data);
}

TEST(learning_rates_have_a_bound)
{
    struct data data = data_make(30, 4, 3, 62);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
    fkm_params params = data_params(FKM_TASK_CLASSIFY);
    fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;
    fkm_model *model = new_model(params, 1);

    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    options.lr = 11;
    CHECK_STATUS(FKM_EINVAL, fkm_model_finetune(model, &batch, &options));
    CHECK_SAYS("lr is 11", fkm_last_error());
    fkm_model_free(model);
    data_free(&data);
    params.learning_rate = 1e300;
    CHECK_STATUS(FKM_EINVAL, fkm_params_check(&params));
    CHECK_SAYS("learning_rate", fkm_last_error());
}

TEST(a_note_that_no_file_can_hold_is_refused)
{
    fkm_model *model = new_model(data_params(FKM_TASK_CLUSTER), 1);

    CHECK_STATUS(FKM_EINVAL, fkm_model_set_note(model, "names", "caf\xe9"));
    CHECK_SAYS("'names'", fkm_last_error());
    CHECK(fkm_model_note(model, "names") == NULL);
    CHECK_OK(fkm_model_set_note(model, "names", "caf\xc3\xa9"));
    fkm_model_free(model);
}

/* Numbers of particular classes may come in any order, and be replaced. */
TEST(class_k_may_be_set_in_any_order)
{
    struct data data = data_make(120, 4, 4, 63); /* labels -2, 1, 4, 7 */
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
    const int64_t order[] = {7, -2, 900, 4, -1000, 7};
    const int32_t k[] = {1, 4, 9, 3, 9, 5};
    int64_t count[4] = {0}, labels[64];
    fkm_model_info info = {.struct_size = sizeof info};
    fkm_params params = data_params(FKM_TASK_CLASSIFY);

    params.min_weight = 0;
    fkm_model *model = new_model(params, 1), *copy;
    for (int i = 0; i < 6; i++)
        CHECK_OK(fkm_model_set_class_k(model, order[i], k[i]));
    CHECK_OK(fkm_model_copy(model, &copy));
    CHECK_SAME_BYTES(model_bytes(model), model_bytes(copy));
    fkm_model_free(model);
    CHECK_OK(fkm_model_set_class_k(copy, 5, 5)); /* a copy can grow */
    CHECK_OK(fkm_model_fit(copy, &batch, NULL));
    CHECK_OK(fkm_model_describe(copy, &info));
    CHECK(info.k <= 64);
    CHECK_OK(fkm_model_centroid_labels(copy, labels));
    for (int64_t j = 0; j < info.k; j++)
        count[(labels[j] + 2) / 3]++;
    CHECK_INT(4, count[0]);
    CHECK_INT(2, count[1]);
    CHECK_INT(3, count[2]);
    CHECK_INT(5, count[3]);
    fkm_model_free(copy);
    data_free(&data);
}

/* ---- tags */

static fkm_model *fitted_tagger(const struct data *data, int n_threads)
{
    const fkm_batch batch = data_batch(data, FKM_TASK_MULTILABEL, 0, data->n);
    fkm_model *model = new_model(data_params(FKM_TASK_MULTILABEL), n_threads);

    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    return model;
}

static fkm_status evaluate(const fkm_model *model, const fkm_batch *batch, fkm_scores *scores)
{
    fkm_evaluation *evaluation;
    fkm_status status;

    CHECK_OK(fkm_evaluation_create(model, FKM_STRATEGY_ADAPTIVE, 0, &evaluation));
    status = fkm_evaluation_add(evaluation, batch);
    if (status == FKM_OK)
        status = fkm_evaluation_scores(evaluation, scores);
    fkm_evaluation_free(evaluation);
    return status;
}

TEST(falling_tag_pointers_read_nothing)
{
    struct data data = data_make(30, 4, 3, 64);
    fkm_model *model = fitted_tagger(&data, 1);
    fkm_batch batch = data_batch(&data, FKM_TASK_MULTILABEL, 0, 3);
    const int64_t bad[][4] = {{0, 1000000000, 1, 1}, {-5, 0, 0, 0}, {0, 1, 0, 0}, {1, 1, 1, 1}};
    const int32_t negative[3] = {0, -1, 1}, twice[3] = {0, 2, 2}, too_high[3] = {0, 1, 7};
    const int32_t *const tags[] = {negative, twice, too_high};
    const int64_t good[4] = {0, 1, 1, 3};
    fkm_scores scores = {.struct_size = sizeof scores};
    fkm_evaluation *evaluation;

    for (int b = 0; b < 4; b++) {
        batch.tag_indptr = bad[b];
        CHECK_STATUS(FKM_EINVAL, fkm_model_fit_batch(model, &batch, NULL));
        CHECK_STATUS(FKM_EINVAL, evaluate(model, &batch, &scores));
        CHECK_SAYS("tag_indptr", fkm_last_error());
    }
    batch.tag_indptr = good;
    for (int t = 0; t < 3; t++) {
        batch.tags = tags[t];
        CHECK_STATUS(FKM_EINVAL, fkm_model_fit_batch(model, &batch, NULL));
        CHECK_STATUS(FKM_EINVAL, evaluate(model, &batch, &scores));
    }
    batch.tag_indptr = bad[2];
    batch.tags = NULL;
    CHECK_STATUS(FKM_EINVAL, fkm_model_fit_batch(model, &batch, NULL));
    CHECK_STATUS(FKM_EINVAL, evaluate(model, &batch, &scores));
    CHECK_STATUS(FKM_EINVAL, fkm_evaluation_create(model, (fkm_strategy)7, 1, &evaluation));
    CHECK(evaluation == NULL);
    fkm_model_free(model);
    data_free(&data);
}

TEST(scores_of_tags_do_not_depend_on_threads)
{
    struct data data = data_make(600, 6, 4, 65);
    fkm_scores scores[3];

    for (int64_t i = 0; i < data.n; i++) /* sums of these round */
        data.weight[i] *= (float)(1 + i % 7) / 3;
    for (int i = 0; i < 3; i++) {
        fkm_model *model = fitted_tagger(&data, i == 0 ? 1 : i == 1 ? 2 : 5);
        fkm_batch batch = data_batch(&data, FKM_TASK_MULTILABEL, 0, data.n);
        batch.weight = data.weight;
        memset(&scores[i], 0, sizeof scores[i]);
        scores[i].struct_size = sizeof scores[i];
        for (int again = 0; again < 5; again++) {
            CHECK_OK(evaluate(model, &batch, &scores[i]));
            CHECK(scores[i].micro_f1 == scores[0].micro_f1 && scores[i].macro_f1 == scores[0].macro_f1);
        }
        fkm_model_free(model);
    }
    CHECK(scores[0].micro_f1 > 0.5);
    data_free(&data);
}

/* Only the ratio of weights matters to thresholds whose tags have many rows; here the pooled one is shared. */
TEST(weights_of_any_unit_give_the_same_tags)
{
    struct data data = data_make(120, 4, 3, 66);
    const float units[] = {1, 0x1p-60f, 0x1p100f};
    uint8_t chosen[3][120 * 3];
    float weight[120];

    for (int u = 0; u < 3; u++) {
        fkm_params params = data_params(FKM_TASK_MULTILABEL);
        fkm_batch batch = data_batch(&data, FKM_TASK_MULTILABEL, 0, data.n);
        int64_t n_chosen = 0;
        params.min_weight = 0;
        fkm_model *model = new_model(params, 2);
        for (int i = 0; i < 120; i++)
            weight[i] = units[u] * (float)(1 + i % 3);
        batch.weight = weight;
        CHECK_OK(fkm_model_fit(model, &batch, NULL));
        CHECK_OK(fkm_model_predict_tags(model, &batch, FKM_STRATEGY_ADAPTIVE, 0, chosen[u]));
        for (int i = 0; i < 360; i++)
            n_chosen += chosen[u][i];
        CHECK(n_chosen >= 120 && n_chosen < 360);
        fkm_model_free(model);
    }
    data_free(&data);
}

TEST(a_batch_without_tags_teaches_what_is_not_there)
{
    struct data data = data_make(60, 4, 3, 67);
    fkm_model *model = fitted_tagger(&data, 2);
    fkm_batch batch = data_batch(&data, FKM_TASK_MULTILABEL, 0, data.n);
    const int64_t none[61] = {0};
    double before[64], after[64];
    fkm_model_info info = {.struct_size = sizeof info};

    batch.tag_indptr = none;
    batch.tags = NULL;
    CHECK_OK(fkm_model_describe(model, &info));
    CHECK(info.k * info.dim <= 64);
    CHECK_OK(fkm_model_centroids(model, before));
    CHECK_OK(fkm_model_fit_batch(model, &batch, NULL));
    CHECK_OK(fkm_model_centroids(model, after));
    CHECK(memcmp(before, after, (size_t)(info.k * info.dim) * sizeof *before) == 0);
    CHECK_OK(fkm_model_gradient_step(model, &batch, NULL));
    CHECK_OK(fkm_model_gradient_step(model, &batch, NULL));
    fkm_model_free(model);
    model = new_model(data_params(FKM_TASK_MULTILABEL), 1);
    CHECK_STATUS(FKM_EINVAL, fkm_model_fit(model, &batch, NULL));
    CHECK_SAYS("nothing to learn", fkm_last_error());
    CHECK_STATUS(FKM_EINVAL, fkm_model_fit_batch(model, &batch, NULL));
    fkm_model_free(model);
    data_free(&data);
}

/* ---- evaluations */

TEST(an_evaluation_notices_that_its_model_has_other_classes)
{
    struct data data = data_make(60, 4, 3, 68);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
    fkm_model *model = new_model(data_params(FKM_TASK_CLASSIFY), 1);
    fkm_scores scores = {.struct_size = sizeof scores};
    fkm_evaluation *evaluation;
    fkm_batch grown = batch;
    int64_t labels[60];

    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    CHECK_OK(fkm_evaluation_create(model, FKM_STRATEGY_ADAPTIVE, 0, &evaluation));
    CHECK_OK(fkm_evaluation_add(evaluation, &batch));
    for (int64_t i = 0; i < 60; i++)
        labels[i] = i;
    grown.labels = labels;
    CHECK_OK(fkm_model_fit_batch(model, &grown, NULL));
    CHECK_STATUS(FKM_ESTATE, fkm_evaluation_add(evaluation, &grown));
    CHECK_OK(fkm_evaluation_scores(evaluation, &scores)); /* of the rows before */
    CHECK_INT(60, scores.n_rows);
    fkm_evaluation_free(evaluation);
    fkm_model_free(model);
    data_free(&data);
}

TEST(more_targets_than_memory_are_refused)
{
    struct data data = data_make(30, 4, 3, 69);
    fkm_batch batch = data_batch(&data, FKM_TASK_REGRESS, 0, data.n);
    fkm_model *model = new_model(data_params(FKM_TASK_REGRESS), 1);

    batch.n_targets = INT64_MAX / 16;
    CHECK_STATUS(FKM_EINVAL, fkm_model_fit(model, &batch, NULL));
    CHECK_SAYS("memory", fkm_last_error());
    fkm_model_free(model);
    data_free(&data);
}

/* Statistics go by prototype: after a merge they are those of the next batch alone. */
TEST(a_clusterer_that_merged_prototypes_weighs_features_anew)
{
    const float apart[] = {0, 1, 0, 2, 10, 1, 10, 2, 100, 1, 100, 2}, heavy[] = {9000, 9000};
    const float together[] = {4.9f, 1, 5.1f, 2}, later[] = {5, 1, 5.5f, 3, 99, 1, 101, 4};
    fkm_params params = data_params(FKM_TASK_CLUSTER);
    fkm_batch batch = FKM_BATCH_INIT;
    fkm_model *model;
    double expected[2], weights[2];

    params.auto_feature_weights = 1;
    params.k_init = 3;
    params.merge_threshold = 2;
    CHECK_OK(fkm_model_create(context_of(2), &params, &model));
    batch.n_rows = 6;
    batch.n_cols = 2;
    batch.x = apart;
    CHECK_OK(fkm_model_fit_batch(model, &batch, NULL));
    CHECK_INT(0, fkm_model_last_merged(model));
    batch.n_rows = 2;
    batch.x = together;
    batch.weight = heavy;
    CHECK_OK(fkm_model_fit_batch(model, &batch, NULL));
    CHECK_INT(1, fkm_model_last_merged(model));
    batch.n_rows = 4;
    batch.x = later;
    batch.weight = NULL;
    CHECK_OK(fkm_model_feature_importance(model, &batch, expected));
    CHECK_OK(fkm_model_fit_batch(model, &batch, NULL));
    CHECK_OK(fkm_model_feature_weights(model, weights));
    for (int d = 0; d < 2; d++)
        CHECK_NEAR(expected[d], weights[d], 1e-12);
    fkm_model_free(model);
}

static double *centroids_of(const fkm_model *model, int64_t *n)
{
    fkm_model_info info = {.struct_size = sizeof info};
    double *points;

    CHECK_OK(fkm_model_describe(model, &info));
    *n = info.k * info.dim;
    points = malloc((size_t)*n * sizeof *points);
    CHECK_OK(fkm_model_centroids(model, points));
    return points;
}

static bool holds(struct bytes bytes, const char *text)
{
    const size_t length = strlen(text);

    for (size_t i = 0; i + length <= bytes.size; i++)
        if (memcmp((const char *)bytes.data + i, text, length) == 0)
            return true;
    return false;
}

TEST(use_compile_changes_no_answer_and_stays_in_the_file)
{
    struct data data = data_make(400, 5, 3, 72);

    for (int t = 0; t < 4; t++) {
        const fkm_batch batch = data_batch(&data, data_tasks[t], 0, data.n);
        fkm_model *model[2], *loaded;
        double *points[2];
        int64_t n[2];

        for (int tuned = 0; tuned < 2; tuned++) {
            fkm_params params = data_params(data_tasks[t]);

            params.use_compile = tuned;
            model[tuned] = new_model(params, 2);
            CHECK_OK(fkm_model_fit(model[tuned], &batch, NULL));
            CHECK_OK(fkm_model_finetune(model[tuned], &batch, NULL));
            CHECK_OK(fkm_model_fit_batch(model[tuned], &batch, NULL));
            points[tuned] = centroids_of(model[tuned], &n[tuned]);
            struct bytes bytes = model_bytes(model[tuned]);
            CHECK(holds(bytes, "\"tuning\"") == tuned);
            CHECK_OK(fkm_model_from_bytes(context_of(2), bytes.data, bytes.size, &loaded));
            CHECK_SAME_BYTES(bytes, model_bytes(loaded));
            fkm_model_free(loaded);
            fkm_model_free(model[tuned]);
        }
        CHECK_INT(n[0], n[1]);
        CHECK(memcmp(points[0], points[1], (size_t)n[0] * sizeof *points[0]) == 0);
        free(points[0]);
        free(points[1]);
    }
    data_free(&data);
}

TEST(parameters_change_but_for_what_was_learned)
{
    struct data data = data_make(60, 4, 3, 73);

    for (int t = 0; t < 4; t++) {
        const fkm_batch batch = data_batch(&data, data_tasks[t], 0, data.n);
        fkm_model *model = new_model(data_params(data_tasks[t]), 1);
        fkm_model_info info = {.struct_size = sizeof info};

        CHECK_STATUS(FKM_EINVAL, fkm_model_set_param(NULL, "top_k", "3"));
        CHECK_STATUS(FKM_EINVAL, fkm_model_set_param(model, NULL, "3"));
        CHECK_STATUS(FKM_EINVAL, fkm_model_set_param(model, "top_k", NULL));
        CHECK_STATUS(FKM_ESTATE, fkm_model_set_param(model, "task", "clusterer"));
        CHECK_OK(fkm_model_set_param(model, "dtype", "float64")); /* nothing is learned yet */
        CHECK_OK(fkm_model_fit(model, &batch, NULL));
        CHECK_STATUS(FKM_EINVAL, fkm_model_set_param(model, "top_j", "3"));
        CHECK_STATUS(FKM_EINVAL, fkm_model_set_param(model, "top_k", "0"));
        CHECK_SAYS("top_k is 0", fkm_last_error());
        CHECK_STATUS(FKM_EUNSUPPORTED, fkm_model_set_param(model, "use_faiss", "true"));
        CHECK_STATUS(FKM_ESTATE, fkm_model_set_param(model, "dtype", "float32"));
        CHECK_SAYS("dtype is part of what the", fkm_last_error());
        CHECK_OK(fkm_model_set_param(model, "top_k", "3"));
        CHECK_STATUS(data_tasks[t] == FKM_TASK_MULTILABEL ? FKM_ESTATE : FKM_OK,
                     fkm_model_set_param(model, "temperature", "0.5"));
        CHECK_OK(fkm_model_describe(model, &info));
        CHECK_INT(3, info.params.top_k);
        CHECK_INT(FKM_DTYPE_F64, info.params.dtype);
        CHECK_OK(fkm_model_fit_batch(model, &batch, NULL));
        fkm_model_free(model);
    }
    data_free(&data);
}

/* All rows lie on the prototype and half of them have the tag, so that beta is exactly 0, as that of a new tag is. */
TEST(a_tag_of_half_of_the_rows_is_no_new_one)
{
    const float x[] = {1, 1, 1, 1};
    const int64_t half[] = {0, 1, 2, 2, 2}, most[] = {0, 1, 2, 3, 3};
    const int32_t tags[] = {0, 0, 0};
    fkm_params params = FKM_PARAMS_INIT;
    fkm_batch batch = FKM_BATCH_INIT;
    fkm_model *model;
    double scores[3];

    params.task = FKM_TASK_MULTILABEL;
    params.metric = FKM_METRIC_EUCLIDEAN;
    params.k_init = 1;
    batch.n_rows = 4;
    batch.n_cols = 1;
    batch.dtype = FKM_DTYPE_F32;
    batch.x = x;
    batch.tags = tags;
    batch.n_tags = 1;
    batch.tag_indptr = half;
    model = new_model(params, 1);
    CHECK_OK(fkm_model_fit_batch(model, &batch, NULL));
    CHECK_OK(fkm_model_tag_scores(model, scores));
    CHECK_NEAR(0, scores[1], 1e-12);
    batch.tag_indptr = most;
    CHECK_OK(fkm_model_fit_batch(model, &batch, NULL));
    CHECK_OK(fkm_model_tag_scores(model, scores));
    CHECK_NEAR(log(3) / 2, scores[1], 1e-6); /* the mean of 0 and the logit of 3 / 4 */
    fkm_model_free(model);
}

/* More rows than are looked at for strata: each of a few far targets gets prototypes all the same, with that target. */
TEST(strata_of_many_rows_are_found_from_some)
{
    enum { ROWS = 20000, STRATA = 4 };
    struct data data = data_make(ROWS, 3, 3, 66);
    fkm_batch batch = data_batch(&data, FKM_TASK_REGRESS, 0, ROWS);
    fkm_params params = data_params(FKM_TASK_REGRESS);
    double *targets = calloc(ROWS, sizeof *targets), found[STRATA * 3];
    bool seen[STRATA] = {false};

    for (int64_t i = 0; i < ROWS; i++)
        targets[i] = (double)(i * 7919 % 1000 < 10 ? 0 : 1 + i * 7919 % 3) * 100;
    batch.targets = targets;
    batch.n_targets = 1;
    params.k_targets = STRATA;
    params.k_features = 3;
    fkm_model *model = new_model(params, 2);
    fkm_model_info info = {.struct_size = sizeof info};
    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    CHECK_OK(fkm_model_describe(model, &info));
    CHECK_INT(info.k, STRATA * 3);
    CHECK_OK(fkm_model_centroid_targets(model, found));
    for (int64_t j = 0; j < info.k; j++) {
        const int64_t stratum = (int64_t)(found[j] / 100 + 0.5);

        CHECK_NEAR(found[j], 100 * (double)stratum, 1e-9);
        seen[stratum] = true;
    }
    for (int c = 0; c < STRATA; c++)
        CHECK(seen[c]);
    fkm_model_free(model);
    free(targets);
    data_free(&data);
}

/* Strata of one target are where k-means of the targets comes to rest. */
TEST(strata_of_one_target_are_at_rest)
{
    enum { ROWS = 3000, STRATA = 7 };
    struct data data = data_make(ROWS, 3, 3, 68);
    fkm_batch batch = data_batch(&data, FKM_TASK_REGRESS, 0, ROWS);
    fkm_params params = data_params(FKM_TASK_REGRESS);
    double *targets = calloc(ROWS, sizeof *targets), sum[STRATA] = {0};
    int64_t count[STRATA] = {0};

    for (int64_t i = 0; i < ROWS; i++)
        targets[i] = 5 + exp((double)(i * 7919 % ROWS) / 800);
    batch.targets = targets;
    batch.n_targets = 1;
    params.k_targets = STRATA;
    params.k_features = 2;
    fkm_model *model = new_model(params, 2);
    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    CHECK_INT(STRATA, model->learned.state.n_classes);
    for (int64_t i = 0; i < ROWS; i++) {
        const double *centre = model->learned.state.strata;
        int nearest = 0;

        for (int c = 1; c < STRATA; c++)
            nearest = fabs(targets[i] - centre[c]) < fabs(targets[i] - centre[nearest]) ? c : nearest;
        sum[nearest] += targets[i];
        count[nearest]++;
    }
    for (int c = 0; c < STRATA; c++)
        CHECK_NEAR(sum[c] / (double)count[c], model->learned.state.strata[c], 1e-9);
    fkm_model_free(model);
    free(targets);
    data_free(&data);
}

/* Rows that alternate: a part of them is looked at for strata, and must hold rows of either kind. */
TEST(strata_of_rows_that_alternate)
{
    enum { ROWS = 16384, STRATA = 8, OF_STRATUM = 4 };
    struct data data = data_make(ROWS, 3, 3, 67);
    fkm_batch batch = data_batch(&data, FKM_TASK_REGRESS, 0, ROWS);
    fkm_params params = data_params(FKM_TASK_REGRESS);
    double *targets = calloc((size_t)2 * ROWS, sizeof *targets);

    for (int64_t i = 1; i < ROWS; i += 2) {
        targets[2 * i] = 100 + (double)(i * 7919 % 1000) / 50;
        targets[2 * i + 1] = (double)(i * 104729 % 1000) / 50;
    }
    batch.targets = targets;
    batch.n_targets = 2;
    params.k_targets = STRATA;
    params.k_features = OF_STRATUM;
    fkm_model *model = new_model(params, 2);
    fkm_model_info info = {.struct_size = sizeof info};
    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    CHECK_OK(fkm_model_describe(model, &info));
    CHECK_INT(STRATA * OF_STRATUM, info.k);
    fkm_model_free(model);
    free(targets);
    data_free(&data);
}
