/* test_model_learning.c — the four models through the public API: they learn, they answer, they say what they hold.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "support/data.h"

static fkm_model *new_model(fkm_params params, int n_threads)
{
    fkm_model *model;

    CHECK_OK(fkm_model_create(context_of(n_threads), &params, &model));
    return model;
}

static fkm_model_info info_of(const fkm_model *model)
{
    fkm_model_info info = {.struct_size = sizeof info};

    CHECK_OK(fkm_model_describe(model, &info));
    return info;
}

static fkm_scores scores_of(const fkm_model *model, const fkm_batch *batch)
{
    fkm_scores scores = {.struct_size = sizeof scores};
    fkm_evaluation *evaluation;

    CHECK_OK(fkm_evaluation_create(model, FKM_STRATEGY_ADAPTIVE, 1, &evaluation));
    CHECK_OK(fkm_evaluation_add(evaluation, batch));
    CHECK_OK(fkm_evaluation_scores(evaluation, &scores));
    fkm_evaluation_free(evaluation);
    return scores;
}

static double accuracy_of(const fkm_model *model, const struct data *data)
{
    const fkm_batch batch = data_batch(data, FKM_TASK_CLASSIFY, 0, data->n);

    return scores_of(model, &batch).accuracy;
}

/* A clusterer started at the true centres of three far groups must find exactly their means. */
TEST(clusterer_finds_the_means_of_far_groups)
{
    const float x[] = {0, 0, 1, 0, 0, 1, 100, 100, 101, 100, 100, 101, -100, 50, -101, 50, -100, 51};
    fkm_params params = data_params(FKM_TASK_CLUSTER);
    fkm_batch batch = FKM_BATCH_INIT;
    double points[6], mass[3];
    int64_t labels[9];

    params.k_init = 3;
    batch.n_rows = 9;
    batch.n_cols = 2;
    batch.x = x;
    fkm_model *model = new_model(params, 2);
    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    CHECK_OK(fkm_model_centroids(model, points));
    CHECK_OK(fkm_model_centroid_weights(model, mass));
    CHECK_OK(fkm_model_predict_labels(model, &batch, labels));
    for (int g = 0; g < 3; g++) {
        const int64_t j = labels[3 * g];
        CHECK_INT(j, labels[3 * g + 1]);
        CHECK_INT(j, labels[3 * g + 2]);
        CHECK_NEAR((x[6 * g] + x[6 * g + 2] + x[6 * g + 4]) / 3.0, points[2 * j], 1e-5);
        CHECK_NEAR((x[6 * g + 1] + x[6 * g + 3] + x[6 * g + 5]) / 3.0, points[2 * j + 1], 1e-5);
        CHECK_NEAR(3, mass[j], 1e-12);
    }
    CHECK_NEAR(4, scores_of(model, &batch).sse, 1e-4);
    fkm_model_free(model);
}

TEST(classifier_learns_and_fine_tuning_helps_or_holds)
{
    struct data data = data_make(600, 7, 5, 1), fresh = data_make(600, 7, 5, 1);
    fkm_model *model = new_model(data_params(FKM_TASK_CLASSIFY), 2);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, 400);
    fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;
    int64_t classes[5];
    double before;

    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    CHECK_INT(10, info_of(model).k);
    CHECK_OK(fkm_model_classes(model, classes));
    for (int c = 0; c < 5; c++)
        CHECK_INT(c * 3 - 2, classes[c]);
    before = accuracy_of(model, &fresh);
    CHECK(before > 0.85);
    options.epochs = 20;
    CHECK_OK(fkm_model_finetune(model, &batch, &options));
    CHECK(accuracy_of(model, &fresh) >= before - 0.01);
    CHECK(info_of(model).gradient_steps == 20 * 13);
    fkm_model_free(model);
    data_free(&data);
    data_free(&fresh);
}

TEST(probabilities_sum_to_one_and_agree_with_labels)
{
    struct data data = data_make(300, 4, 3, 2);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
    const fkm_soft softs[] = {FKM_SOFT_HARD, FKM_SOFT_MEAN, FKM_SOFT_SCALED, FKM_SOFT_SOFTMAX_SCALED};
    const fkm_metric metrics[] = {FKM_METRIC_COSINE, FKM_METRIC_EUCLIDEAN, FKM_METRIC_L1};
    float proba[900];
    int64_t labels[300];

    for (int m = 0; m < 3; m++)
        for (int s = 0; s < 4; s++) {
            fkm_params params = data_params(FKM_TASK_CLASSIFY);
            params.metric = metrics[m];
            params.soft = softs[s];
            fkm_model *model = new_model(params, 2);
            CHECK_OK(fkm_model_fit(model, &batch, NULL));
            CHECK_OK(fkm_model_predict_proba(model, &batch, proba));
            CHECK_OK(fkm_model_predict_labels(model, &batch, labels));
            for (int64_t i = 0; i < data.n; i++) {
                const float *p = proba + 3 * i;
                const int64_t column = (labels[i] + 2) / 3;
                CHECK_NEAR(1, p[0] + p[1] + p[2], 1e-5);
                for (int c = 0; c < 3; c++)
                    CHECK(p[column] >= p[c]);
            }
            fkm_model_free(model);
        }
    data_free(&data);
}

TEST(multilabel_finds_tags_by_every_strategy)
{
    struct data data = data_make(600, 7, 5, 3);
    const fkm_batch batch = data_batch(&data, FKM_TASK_MULTILABEL, 0, 400),
                    rest = data_batch(&data, FKM_TASK_MULTILABEL, 400, 200);
    fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;
    fkm_model *model = new_model(data_params(FKM_TASK_MULTILABEL), 2);
    uint8_t *tags = calloc(200 * 5, 1);
    double before;

    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    before = scores_of(model, &rest).micro_f1;
    CHECK(before > 0.5);
    options.epochs = 20;
    CHECK_OK(fkm_model_finetune(model, &batch, &options));
    CHECK(scores_of(model, &rest).micro_f1 >= before - 0.02);
    CHECK_OK(fkm_model_predict_tags(model, &rest, FKM_STRATEGY_TOP_K, 2, tags));
    for (int64_t i = 0; i < 200; i++)
        CHECK_INT(2, tags[5 * i] + tags[5 * i + 1] + tags[5 * i + 2] + tags[5 * i + 3] + tags[5 * i + 4]);
    CHECK_OK(fkm_model_predict_tags(model, &rest, FKM_STRATEGY_GAP, 1, tags));
    for (int64_t i = 0; i < 200; i++)
        CHECK(tags[5 * i] + tags[5 * i + 1] + tags[5 * i + 2] + tags[5 * i + 3] + tags[5 * i + 4] >= 1);
    free(tags);
    fkm_model_free(model);
    data_free(&data);
}

TEST(regressor_predicts_vectors_and_fine_tuning_lowers_the_error)
{
    struct data data = data_make(800, 5, 4, 4);
    const fkm_batch batch = data_batch(&data, FKM_TASK_REGRESS, 0, 600),
                    rest = data_batch(&data, FKM_TASK_REGRESS, 600, 200);
    fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;
    fkm_model *model = new_model(data_params(FKM_TASK_REGRESS), 2);
    fkm_scores before, after;

    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    before = scores_of(model, &rest);
    CHECK(before.r2 > 0.3);
    options.epochs = 40;
    CHECK_OK(fkm_model_finetune(model, &batch, &options));
    after = scores_of(model, &rest);
    CHECK(after.rmse < before.rmse);
    fkm_model_free(model);
    data_free(&data);
}

TEST(automatic_counts_choose_prototypes_for_every_task)
{
    struct data data = data_make(400, 3, 4, 5);

    for (int t = 0; t < 4; t++) {
        fkm_params params = data_params(data_tasks[t]);
        const fkm_batch batch = data_batch(&data, data_tasks[t], 0, data.n);
        params.k_init = params.k_targets = params.k_features = FKM_K_AUTO;
        fkm_model *model = new_model(params, 2);
        CHECK_OK(fkm_model_fit(model, &batch, NULL));
        CHECK(info_of(model).k >= 1 && info_of(model).k <= data.n);
        fkm_model_free(model);
    }
    data_free(&data);
}

TEST(k_max_bounds_the_total_and_names_the_impossible)
{
    struct data data = data_make(300, 3, 5, 6);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
    fkm_params params = data_params(FKM_TASK_CLASSIFY);
    fkm_model *model;

    params.k_init = 10;
    params.k_max = 23;
    model = new_model(params, 1);
    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    CHECK(info_of(model).k <= 23 && info_of(model).k >= 15);
    fkm_model_free(model);
    params.k_max = 4;
    model = new_model(params, 1);
    CHECK_STATUS(FKM_EINVAL, fkm_model_fit(model, &batch, NULL));
    CHECK_SAYS("k_max is 4", fkm_last_error());
    CHECK_INT(0, info_of(model).fitted);
    fkm_model_free(model);
    data_free(&data);
}

TEST(classes_may_have_prototypes_of_their_own_number)
{
    struct data data = data_make(300, 3, 3, 7);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
    fkm_model *model = new_model(data_params(FKM_TASK_CLASSIFY), 1);
    int64_t labels[16], seen[3] = {0};

    CHECK_OK(fkm_model_set_class_k(model, -2, 7));
    CHECK_OK(fkm_model_set_class_k(model, 4, 1));
    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    CHECK_INT(10, info_of(model).k);
    CHECK_OK(fkm_model_centroid_labels(model, labels));
    for (int j = 0; j < 10; j++)
        seen[(labels[j] + 2) / 3]++;
    CHECK_INT(7, seen[0]);
    CHECK_INT(2, seen[1]);
    CHECK_INT(1, seen[2]);
    fkm_model_free(model);
    data_free(&data);
}

TEST(a_class_first_seen_in_a_later_batch_is_learned_there)
{
    struct data data = data_make(400, 6, 4, 8);
    fkm_model *model = new_model(data_params(FKM_TASK_CLASSIFY), 2);
    fkm_batch first = data_batch(&data, FKM_TASK_CLASSIFY, 0, 200),
              second = data_batch(&data, FKM_TASK_CLASSIFY, 200, 200);
    int64_t labels[200], early[200], classes[4];
    double shift = -1;

    for (int64_t i = 0; i < 200; i++)
        early[i] = data.labels[i] == 7 ? 4 : data.labels[i]; /* the last class hides in its neighbour */
    first.labels = early;
    CHECK_OK(fkm_model_fit_batch(model, &first, &shift));
    CHECK_INT(3, info_of(model).n_classes);
    CHECK_OK(fkm_model_fit_batch(model, &second, &shift));
    CHECK(shift > 0);
    CHECK_INT(4, info_of(model).n_classes);
    CHECK_OK(fkm_model_classes(model, classes));
    CHECK_INT(7, classes[3]);
    CHECK_OK(fkm_model_predict_labels(model, &second, labels));
    int64_t right = 0;
    for (int64_t i = 0; i < 200; i++)
        right += data.labels[200 + i] == 7 && labels[i] == 7;
    CHECK(right > 25); /* of 50 */
    fkm_model_free(model);
    data_free(&data);
}

TEST(a_gradient_step_seeds_unseen_classes_too)
{
    struct data data = data_make(400, 6, 4, 9);
    fkm_model *model = new_model(data_params(FKM_TASK_CLASSIFY), 2);
    fkm_batch first = data_batch(&data, FKM_TASK_CLASSIFY, 0, 200),
              second = data_batch(&data, FKM_TASK_CLASSIFY, 200, 200);
    int64_t early[200];
    double loss = NAN;

    for (int64_t i = 0; i < 200; i++)
        early[i] = data.labels[i] == 7 ? 4 : data.labels[i];
    first.labels = early;
    CHECK_OK(fkm_model_fit_batch(model, &first, NULL));
    CHECK_OK(fkm_model_gradient_step(model, &first, &loss));
    CHECK(isfinite(loss) && loss > 0);
    CHECK_OK(fkm_model_gradient_step(model, &second, &loss));
    CHECK_INT(4, info_of(model).n_classes);
    CHECK_INT(2, info_of(model).gradient_steps);
    fkm_model_free(model);
    data_free(&data);
}

TEST(hard_and_mean_routing_refuse_gradients_and_say_why)
{
    struct data data = data_make(100, 3, 2, 10);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
    fkm_params params = data_params(FKM_TASK_CLASSIFY);

    params.soft = FKM_SOFT_HARD;
    fkm_model *model = new_model(params, 1);
    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    CHECK_STATUS(FKM_ESTATE, fkm_model_finetune(model, &batch, NULL));
    CHECK_SAYS("softmax_scaled", fkm_last_error());
    CHECK_STATUS(FKM_ESTATE, fkm_model_gradient_step(model, &batch, NULL));
    fkm_model_free(model);
    data_free(&data);
}

TEST(frozen_prototypes_never_move)
{
    struct data data = data_make(400, 4, 3, 11);
    const fkm_batch first = data_batch(&data, FKM_TASK_CLASSIFY, 0, 200),
                    second = data_batch(&data, FKM_TASK_CLASSIFY, 200, 200);
    fkm_model *model = new_model(data_params(FKM_TASK_CLASSIFY), 2);
    fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;
    uint8_t frozen[6] = {1, 0, 0, 1, 0, 0};
    double before[24], after[24], gradient[24];
    bool others_moved = false;

    CHECK_OK(fkm_model_fit(model, &first, NULL));
    CHECK_OK(fkm_model_freeze(model, frozen, 6));
    CHECK_OK(fkm_model_centroids(model, before));
    CHECK_OK(fkm_model_fit_batch(model, &second, NULL));
    CHECK_OK(fkm_model_finetune(model, &first, &options));
    CHECK_OK(fkm_model_gradient_step(model, &second, NULL));
    CHECK_OK(fkm_model_centroids(model, after));
    CHECK_OK(fkm_model_centroid_gradients(model, gradient));
    for (int i = 0; i < 24; i++) {
        if (frozen[i / 4]) {
            CHECK_NEAR(before[i], after[i], 0);
            CHECK_NEAR(0, gradient[i], 0);
        }
        others_moved = others_moved || (!frozen[i / 4] && before[i] != after[i]);
    }
    CHECK(others_moved);
    fkm_model_free(model);
    data_free(&data);
}

TEST(the_learning_rate_search_changes_nothing_else)
{
    struct data data = data_make(300, 4, 3, 12);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
    fkm_model *model = new_model(data_params(FKM_TASK_CLASSIFY), 2);
    double before[24], after[24], lr = 0;
    fkm_history line = {.struct_size = sizeof line};

    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    CHECK_OK(fkm_model_centroids(model, before));
    CHECK_OK(fkm_model_find_learning_rate(model, &batch, &lr));
    CHECK_OK(fkm_model_centroids(model, after));
    CHECK(memcmp(before, after, sizeof before) == 0);
    CHECK(lr >= 1e-3 && lr <= 0.1);
    CHECK_INT(0, info_of(model).has_optimizer);
    CHECK_NEAR(lr, info_of(model).learning_rate, 0);
    CHECK_OK(fkm_model_history(model, info_of(model).n_history - 1, &line));
    CHECK_TEXT("learning rate", line.phase);
    fkm_model_free(model);
    data_free(&data);
}

TEST(csr_rows_learn_what_dense_rows_learn)
{
    struct data data = data_make(300, 6, 3, 13);

    for (int t = 0; t < 4; t++) {
        const fkm_batch dense = data_batch(&data, data_tasks[t], 0, data.n),
                        csr = data_batch_csr(&data, data_tasks[t]);
        fkm_params params = data_params(data_tasks[t]);
        params.metric = t % 2 ? FKM_METRIC_COSINE : FKM_METRIC_EUCLIDEAN;
        fkm_model *a = new_model(params, 2), *b = new_model(params, 2);
        double x[300], y[300];
        fkm_fit_options options = FKM_FIT_OPTIONS_INIT;
        options.max_iters = 2; /* few enough that no row on a border turns */
        CHECK_OK(fkm_model_fit(a, &dense, &options));
        CHECK_OK(fkm_model_fit(b, &csr, &options));
        CHECK_INT(info_of(a).k, info_of(b).k);
        CHECK_OK(fkm_model_centroids(a, x));
        CHECK_OK(fkm_model_centroids(b, y));
        for (int64_t i = 0; i < info_of(a).k * data.dim; i++)
            CHECK_NEAR(x[i], y[i], 1e-4);
        fkm_model_free(a);
        fkm_model_free(b);
    }
    data_free(&data);
}

TEST(masked_entries_never_matter)
{
    struct data data = data_make(300, 6, 3, 14), noisy = data_make(300, 6, 3, 14);

    for (int64_t i = 0; i < data.n * data.dim; i++)
        if (data.mask[i] == 0)
            noisy.x[i] = NAN;
    for (int t = 0; t < 4; t++) {
        fkm_batch a = data_batch(&data, data_tasks[t], 0, data.n),
                  b = data_batch(&noisy, data_tasks[t], 0, data.n);
        fkm_model *one = new_model(data_params(data_tasks[t]), 2),
                  *two = new_model(data_params(data_tasks[t]), 2);
        fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;
        options.epochs = 2;
        a.mask = b.mask = data.mask;
        CHECK_OK(fkm_model_fit(one, &a, NULL));
        CHECK_OK(fkm_model_fit(two, &b, NULL));
        CHECK_OK(fkm_model_fit_batch(one, &a, NULL));
        CHECK_OK(fkm_model_fit_batch(two, &b, NULL));
        CHECK_OK(fkm_model_finetune(one, &a, &options));
        CHECK_OK(fkm_model_finetune(two, &b, &options));
        CHECK_INT(1, info_of(one).has_ages);
        CHECK_SAME_BYTES(model_bytes(one), model_bytes(two));
        fkm_model_free(one);
        fkm_model_free(two);
    }
    data_free(&data);
    data_free(&noisy);
}

TEST(a_nan_is_a_mask_when_asked_to_be)
{
    struct data data = data_make(200, 5, 3, 15);
    fkm_params params = data_params(FKM_TASK_CLASSIFY);
    fkm_batch masked = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n), missing = masked;
    float *x = calloc((size_t)(data.n * data.dim), sizeof *x);

    memcpy(x, data.x, (size_t)(data.n * data.dim) * sizeof *x);
    for (int64_t i = 0; i < data.n * data.dim; i++)
        if (data.mask[i] == 0)
            x[i] = NAN;
    masked.mask = data.mask;
    missing.x = x;
    fkm_model *one = new_model(params, 2);
    CHECK_STATUS(FKM_EINVAL, fkm_model_fit(one, &missing, NULL));
    CHECK_OK(fkm_model_fit(one, &masked, NULL));
    params.missing = FKM_MISSING_MASK;
    fkm_model *two = new_model(params, 2);
    CHECK_OK(fkm_model_fit(two, &missing, NULL));
    double a[30], b[30];
    CHECK_INT(6, info_of(two).k);
    CHECK_OK(fkm_model_centroids(one, a));
    CHECK_OK(fkm_model_centroids(two, b));
    CHECK(memcmp(a, b, sizeof a) == 0);
    fkm_model_free(one);
    fkm_model_free(two);
    free(x);
    data_free(&data);
}

TEST(a_weight_of_two_is_a_row_twice)
{
    struct data data = data_make(120, 3, 2, 16);
    float x[240 * 3], weight[120];
    int64_t labels[240], n = 0;
    fkm_batch once = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n), twice = FKM_BATCH_INIT;
    fkm_params params = data_params(FKM_TASK_CLASSIFY);
    float start[4 * 3];
    const int64_t start_labels[4] = {-2, -2, 1, 1};
    double a[12], b[12], mass[4], mass_twice[4];

    for (int64_t i = 0; i < data.n; i++) {
        weight[i] = i % 3 == 0 ? 2.0f : 1.0f;
        for (int r = 0; r < (i % 3 == 0 ? 2 : 1); r++) {
            memcpy(x + n * 3, data.x + i * 3, 3 * sizeof *x);
            labels[n++] = data.labels[i];
        }
    }
    memcpy(start, data.x, 3 * sizeof *start);
    memcpy(start + 3, data.x + 6, 3 * sizeof *start);
    memcpy(start + 6, data.x + 3, 3 * sizeof *start);
    memcpy(start + 9, data.x + 9, 3 * sizeof *start);
    once.weight = weight;
    twice.n_rows = n;
    twice.n_cols = 3;
    twice.x = x;
    twice.labels = labels;
    fkm_model *one = new_model(params, 2), *two = new_model(params, 2);
    CHECK_OK(fkm_model_set_start(one, start, 4, 3, start_labels));
    CHECK_OK(fkm_model_set_start(two, start, 4, 3, start_labels));
    CHECK_OK(fkm_model_fit(one, &once, NULL));
    CHECK_OK(fkm_model_fit(two, &twice, NULL));
    CHECK_OK(fkm_model_centroids(one, a));
    CHECK_OK(fkm_model_centroids(two, b));
    CHECK_OK(fkm_model_centroid_weights(one, mass));
    CHECK_OK(fkm_model_centroid_weights(two, mass_twice));
    for (int i = 0; i < 12; i++)
        CHECK_NEAR(a[i], b[i], 1e-4);
    for (int j = 0; j < 4; j++)
        CHECK_NEAR(mass[j], mass_twice[j], 1e-9);
    fkm_model_free(one);
    fkm_model_free(two);
    data_free(&data);
}

TEST(automatic_feature_weights_find_the_noise)
{
    struct data data = data_make(400, 4, 2, 17);

    for (int64_t i = 0; i < data.n; i++) { /* two features tell the class, two are noise */
        data.x[4 * i] = (float)(i % 2) * 8 + 0.1f * data.x[4 * i];
        data.x[4 * i + 1] = (float)(i % 2) * -8 + 0.1f * data.x[4 * i + 1];
        data.x[4 * i + 2] = (float)((i * 7919) % 101) / 10;
        data.x[4 * i + 3] = (float)((i * 104729) % 97) / 10;
    }
    for (int t = 0; t < 2; t++) {
        const fkm_task task = t ? FKM_TASK_CLASSIFY : FKM_TASK_CLUSTER;
        const fkm_batch batch = data_batch(&data, task, 0, data.n);
        fkm_params params = data_params(task);
        double weights[4], sum = 0;
        params.auto_feature_weights = 1;
        params.k_init = t ? 1 : 2;
        fkm_model *model = new_model(params, 2);
        CHECK_OK(fkm_model_fit(model, &batch, NULL));
        CHECK_OK(fkm_model_feature_weights(model, weights));
        for (int d = 0; d < 4; d++)
            sum += weights[d];
        CHECK_NEAR(4, sum, 1e-9);
        CHECK(weights[0] > 1.5 && weights[1] > 1.5 && weights[2] < 0.5 && weights[3] < 0.5);
        fkm_model_free(model);
    }
    data_free(&data);
}

TEST(held_out_rows_stop_early_and_bring_back_the_best)
{
    struct data data = data_make(400, 5, 4, 18);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, 300),
                    eval = data_batch(&data, FKM_TASK_CLASSIFY, 300, 100);
    fkm_model *model = new_model(data_params(FKM_TASK_CLASSIFY), 2);
    fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;
    double best = -1;

    options.epochs = 200;
    options.early_stopping_rounds = 3;
    options.lr = 0.5;
    options.eval = &eval;
    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    const int64_t from = info_of(model).n_history;
    CHECK_OK(fkm_model_finetune(model, &batch, &options));
    CHECK(info_of(model).n_history - from < 200);
    for (int64_t i = from; i < info_of(model).n_history; i++) {
        fkm_history line = {.struct_size = sizeof line};
        CHECK_OK(fkm_model_history(model, i, &line));
        best = line.eval > best ? line.eval : best;
    }
    CHECK(scores_of(model, &eval).accuracy >= floor(best * 100) / 100 - 1e-9);
    fkm_model_free(model);
    data_free(&data);
}

TEST(early_stopping_without_rows_to_evaluate_is_refused)
{
    struct data data = data_make(100, 3, 2, 19);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
    fkm_model *model = new_model(data_params(FKM_TASK_CLASSIFY), 1);
    fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;

    options.early_stopping_rounds = 5;
    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    CHECK_STATUS(FKM_EINVAL, fkm_model_finetune(model, &batch, &options));
    CHECK_SAYS("early_stopping_rounds is 5", fkm_last_error());
    fkm_model_free(model);
    data_free(&data);
}

static int stop_at_second(void *user, const fkm_progress *progress)
{
    int *calls = user;

    CHECK(progress->k > 0);
    return ++*calls >= 2;
}

TEST(an_interrupted_call_leaves_a_usable_model)
{
    struct data data = data_make(400, 4, 4, 20);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
    fkm_model *model = new_model(data_params(FKM_TASK_CLASSIFY), 2);
    fkm_fit_options fit = FKM_FIT_OPTIONS_INIT;
    fkm_finetune_options finetune = FKM_FINETUNE_OPTIONS_INIT;
    int calls = 0;

    fit.tol = 0;
    fit.progress = stop_at_second;
    fit.user = &calls;
    CHECK_STATUS(FKM_EINTERRUPTED, fkm_model_fit(model, &batch, &fit));
    CHECK_INT(2, calls);
    CHECK(accuracy_of(model, &data) > 0.6);
    calls = 0;
    finetune.epochs = 50;
    finetune.progress = stop_at_second;
    finetune.user = &calls;
    CHECK_STATUS(FKM_EINTERRUPTED, fkm_model_finetune(model, &batch, &finetune));
    CHECK_INT(2, calls);
    CHECK(accuracy_of(model, &data) > 0.6);
    fkm_model_free(model);
    data_free(&data);
}

static int stop_after_third_epoch(void *user, const fkm_progress *progress)
{
    int *calls = user;

    ++*calls;
    CHECK_INT(*calls, progress->epoch);
    CHECK_INT(2 * progress->epoch, progress->step); /* 400 rows in batches of 256 */
    CHECK_INT(100, progress->steps);
    CHECK(progress->loss > 0);
    return progress->epoch == 3;
}

TEST(finetuning_tells_after_each_epoch_however_short)
{
    struct data data = data_make(400, 4, 4, 20);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
    fkm_params params = data_params(FKM_TASK_CLASSIFY);
    fkm_model *model;
    fkm_finetune_options finetune = FKM_FINETUNE_OPTIONS_INIT;
    fkm_model_info info = {.struct_size = sizeof info};
    int calls = 0;

    params.finetune_batch_size = 256;
    model = new_model(params, 2);
    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    finetune.epochs = 50;
    finetune.progress = stop_after_third_epoch;
    finetune.user = &calls;
    CHECK_STATUS(FKM_EINTERRUPTED, fkm_model_finetune(model, &batch, &finetune));
    CHECK_SAYS("after 3 of 50 epochs", fkm_last_error());
    CHECK_OK(fkm_model_describe(model, &info));
    CHECK_INT(3, calls);
    CHECK_INT(6, info.gradient_steps);
    fkm_model_free(model);
    data_free(&data);
}

TEST(neighbours_come_nearest_first_and_route_to_one)
{
    struct data data = data_make(100, 3, 2, 21);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
    fkm_model *model = new_model(data_params(FKM_TASK_CLASSIFY), 1);
    int64_t index[600];
    double distance[600], routing[600], sum;
    float similarity[400];

    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    CHECK_OK(fkm_model_nearest(model, &batch, 6, index, distance, routing)); /* 4 prototypes, 6 places */
    CHECK_OK(fkm_model_transform(model, &batch, similarity));
    for (int64_t i = 0; i < data.n; i++) {
        sum = 0;
        for (int j = 0; j < 6; j++) {
            const int64_t at = 6 * i + j;
            sum += routing[at];
            if (j >= 4) {
                CHECK_INT(-1, index[at]);
                CHECK(isinf(distance[at]) && routing[at] == 0);
            } else if (j > 0) {
                CHECK(distance[at] >= distance[at - 1] && routing[at] <= routing[at - 1]);
                CHECK(similarity[4 * i + index[at]] <= similarity[4 * i + index[at - 1]]);
            }
        }
        CHECK_NEAR(1, sum, 1e-12);
    }
    fkm_model_free(model);
    data_free(&data);
}

/* R2, RMSE, F1 and log loss against their definitions written out. */
/* The scores of tags begin with a temperature of their own, found from the rows; also where gradients begin with it. */
TEST(temperature_has_no_effect_on_where_tags_begin)
{
    static const double temperatures[] = {1, 1e-40, 1e-9, 30, 1e9};
    struct data data = data_make(300, 4, 3, 69);
    const fkm_batch batch = data_batch(&data, FKM_TASK_MULTILABEL, 0, data.n);
    float first[2][300 * 8], probability[300 * 8];

    for (int at = 0; at < 5; at++) {
        fkm_params params = data_params(FKM_TASK_MULTILABEL);
        const size_t n = (size_t)data.n;

        params.temperature = temperatures[at];
        fkm_model *model = new_model(params, 1);
        CHECK_OK(fkm_model_fit(model, &batch, NULL));
        for (int tuned = 0; tuned < 2; tuned++) {
            const int64_t n_tags = info_of(model).n_classes;

            CHECK(n_tags > 1 && n_tags <= 8);
            if (tuned)
                CHECK_OK(fkm_model_gradient_step(model, &batch, NULL));
            CHECK_OK(fkm_model_predict_proba(model, &batch, probability));
            for (size_t i = 0; i < n * (size_t)n_tags; i++)
                if (at > 0)
                    CHECK_NEAR(first[tuned][i], probability[i], 1e-3);
                else
                    first[tuned][i] = probability[i];
        }
        fkm_model_free(model);
    }
    data_free(&data);
}

TEST(scores_are_what_their_definitions_say)
{
    struct data data = data_make(200, 4, 3, 22);
    fkm_model *classifier = new_model(data_params(FKM_TASK_CLASSIFY), 2),
              *regressor = new_model(data_params(FKM_TASK_REGRESS), 2);
    fkm_batch labelled = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n),
              valued = data_batch(&data, FKM_TASK_REGRESS, 0, data.n);
    int64_t labels[200];
    float proba[600];
    double values[400], right = 0, weight = 0, loss = 0, f1 = 0, mse = 0, r2 = 0;

    labelled.weight = valued.weight = data.weight;
    CHECK_OK(fkm_model_fit(classifier, &labelled, NULL));
    CHECK_OK(fkm_model_fit(regressor, &valued, NULL));
    CHECK_OK(fkm_model_predict_labels(classifier, &labelled, labels));
    CHECK_OK(fkm_model_predict_proba(classifier, &labelled, proba));
    CHECK_OK(fkm_model_predict_values(regressor, &valued, values));
    for (int64_t i = 0; i < data.n; i++) {
        weight += data.weight[i];
        right += labels[i] == data.labels[i] ? data.weight[i] : 0;
        loss -= data.weight[i] * log(fmax(proba[3 * i + (data.labels[i] + 2) / 3], 1e-15));
    }
    for (int64_t label = -2; label <= 4; label += 3) {
        double hit = 0, extra = 0, missed = 0;
        for (int64_t i = 0; i < data.n; i++) {
            hit += labels[i] == label && data.labels[i] == label ? data.weight[i] : 0;
            extra += labels[i] == label && data.labels[i] != label ? data.weight[i] : 0;
            missed += labels[i] != label && data.labels[i] == label ? data.weight[i] : 0;
        }
        f1 += 2 * hit / (2 * hit + extra + missed) / 3;
    }
    for (int t = 0; t < 2; t++) {
        double mean = 0, total = 0, error = 0;
        for (int64_t i = 0; i < data.n; i++)
            mean += data.weight[i] * data.targets[2 * i + t] / weight;
        for (int64_t i = 0; i < data.n; i++) {
            total += data.weight[i] * pow(data.targets[2 * i + t] - mean, 2);
            error += data.weight[i] * pow(data.targets[2 * i + t] - values[2 * i + t], 2);
        }
        mse += error / weight / 2;
        r2 += (1 - error / total) / 2;
    }
    const fkm_scores a = scores_of(classifier, &labelled), b = scores_of(regressor, &valued);
    CHECK_NEAR(right / weight, a.accuracy, 1e-9);
    CHECK_NEAR(right / weight, a.micro_f1, 1e-9);
    CHECK_NEAR(f1, a.macro_f1, 1e-9);
    CHECK_NEAR(loss / weight, a.log_loss, 1e-4);
    CHECK_NEAR(sqrt(mse), b.rmse, 1e-9);
    CHECK_NEAR(r2, b.r2, 1e-9);
    CHECK(isnan(b.accuracy) && isnan(a.rmse));
    fkm_model_free(classifier);
    fkm_model_free(regressor);
    data_free(&data);
}

TEST(all_storage_types_learn_alike)
{
    struct data data = data_make(400, 5, 4, 23);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
    const fkm_dtype dtypes[] = {FKM_DTYPE_F32, FKM_DTYPE_F16, FKM_DTYPE_BF16, FKM_DTYPE_F64};
    fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;
    double reference = 0;

    for (int t = 0; t < 4; t++) {
        fkm_params params = data_params(FKM_TASK_CLASSIFY);
        params.dtype = dtypes[t];
        fkm_model *model = new_model(params, 2);
        CHECK_OK(fkm_model_fit(model, &batch, NULL));
        CHECK_OK(fkm_model_fit_batch(model, &batch, NULL));
        CHECK_OK(fkm_model_finetune(model, &batch, &options));
        if (t == 0)
            reference = accuracy_of(model, &data);
        CHECK_NEAR(reference, accuracy_of(model, &data), 0.02);
        fkm_model_free(model);
    }
    data_free(&data);
}

TEST(notes_are_kept_replaced_and_removed)
{
    fkm_model *model = new_model(data_params(FKM_TASK_CLUSTER), 1);

    CHECK(fkm_model_note(model, "a") == NULL);
    CHECK_OK(fkm_model_set_note(model, "a", "one"));
    CHECK_OK(fkm_model_set_note(model, "b.c_1", "two\nlines"));
    CHECK_OK(fkm_model_set_note(model, "a", "three"));
    CHECK_TEXT("three", fkm_model_note(model, "a"));
    CHECK_OK(fkm_model_set_note(model, "a", NULL));
    CHECK(fkm_model_note(model, "a") == NULL);
    CHECK_TEXT("two\nlines", fkm_model_note(model, "b.c_1"));
    CHECK_STATUS(FKM_EINVAL, fkm_model_set_note(model, "1a", "x"));
    CHECK_STATUS(FKM_EINVAL, fkm_model_set_note(model, "a b", "x"));
    fkm_model_free(model);
}
