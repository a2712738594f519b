/* test_model_inside.c — what a model tells about its routing is what its answers are made of.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>

#include "support/data.h"

enum { N = 120, DIM = 4, N_CLASSES = 3 };

static fkm_model *learned(fkm_params params, const fkm_batch *batch)
{
    fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;
    fkm_model *model;

    options.epochs = 3;
    options.lr = 0.1;
    CHECK_OK(fkm_model_create(context_of(1), &params, &model));
    CHECK_OK(fkm_model_fit(model, batch, NULL));
    if (params.soft == FKM_SOFT_SOFTMAX_SCALED)
        CHECK_OK(fkm_model_finetune(model, batch, &options));
    return model;
}

static fkm_model_info info_of(const fkm_model *model)
{
    fkm_model_info info = {.struct_size = sizeof info};

    CHECK_OK(fkm_model_describe(model, &info));
    return info;
}

TEST(temperatures_and_biases_give_the_shares_of_softmax)
{
    struct data data = data_make(N, DIM, N_CLASSES, 70);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, N);

    for (int each = 0; each < 2; each++) {
        fkm_params params = data_params(FKM_TASK_CLASSIFY);
        double routing[2 * 16], distance[4 * N], share[4 * N], spread = 0;
        int64_t index[4 * N];

        params.prototype_scale = each;
        fkm_model *model = learned(params, &batch);
        const fkm_model_info info = info_of(model);
        CHECK(info.k > 4 && info.k <= 16);
        CHECK_OK(fkm_model_centroid_routing(model, routing));
        CHECK_NEAR(info.temperature, routing[0], 0);
        for (int64_t j = 0; j < info.k; j++)
            spread += fabs(routing[2 * j] - routing[0]) + fabs(routing[2 * j + 1]);
        CHECK((spread > 1e-3) == each);
        CHECK_OK(fkm_model_nearest(model, &batch, 4, index, distance, share));
        for (int64_t i = 0; i < N; i++) {
            double e[4], sum = 0;
            for (int c = 0; c < 4; c++) {
                const double *of = routing + 2 * index[4 * i + c];
                e[c] = exp(of[1] - distance[4 * i + c] / of[0]);
                sum += e[c];
            }
            for (int c = 0; c < 4; c++)
                CHECK_NEAR(e[c] / sum, share[4 * i + c], 1e-9);
        }
        fkm_model_free(model);
    }
    data_free(&data);
}

TEST(the_exponent_of_scaled_is_told)
{
    const fkm_metric metrics[] = {FKM_METRIC_COSINE, FKM_METRIC_EUCLIDEAN, FKM_METRIC_L1};
    const double expected[] = {4, 4, 8};
    struct data data = data_make(N, DIM, N_CLASSES, 71);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, N);

    for (int m = 0; m < 3; m++)
        for (int mode = 0; mode < 3; mode++) { /* plain, sharper for glvq, given */
            fkm_params params = data_params(FKM_TASK_CLASSIFY);
            double distance[2 * N], share[2 * N];

            params.metric = metrics[m];
            params.soft = FKM_SOFT_SCALED;
            params.repulsion = mode == 1 ? FKM_REPULSION_GLVQ : FKM_REPULSION_WINDOW;
            params.idw_power = mode == 2 ? 3 : 0;
            fkm_model *model = learned(params, &batch);
            const fkm_model_info info = info_of(model);
            CHECK_NEAR(mode == 2 ? 3 : mode == 1 ? 2 * expected[m] : expected[m], info.idw_power, 0);
            CHECK_OK(fkm_model_nearest(model, &batch, 2, NULL, distance, share));
            for (int64_t i = 0; i < N; i++) {
                const double floor = 1e-6 * info.scale;
                const double ratio =
                    pow((floor + distance[2 * i + 1]) / (floor + distance[2 * i]), info.idw_power);
                CHECK_NEAR(1 / (1 + 1 / ratio), share[2 * i], 1e-9);
            }
            fkm_model_free(model);
        }
    data_free(&data);
}

TEST(scores_of_tags_give_probabilities_and_answers)
{
    struct data data = data_make(N + 2, DIM, N_CLASSES, 72);
    const fkm_batch batch = data_batch(&data, FKM_TASK_MULTILABEL, 2, N); /* tag 2 is discovered first */
    fkm_model *model = learned(data_params(FKM_TASK_MULTILABEL), &batch);
    const fkm_model_info info = info_of(model);
    double scores[3 * N_CLASSES], routing[2 * 16], distance[16 * N];
    int64_t index[16 * N], labels[16];
    float proba[N_CLASSES * N];
    uint8_t tags[N_CLASSES * N];

    CHECK(info.k <= 16);
    CHECK_OK(fkm_model_tag_scores(model, scores));
    CHECK_OK(fkm_model_centroid_routing(model, routing));
    CHECK_OK(fkm_model_centroid_labels(model, labels));
    CHECK_OK(fkm_model_nearest(model, &batch, info.k, index, distance, NULL));
    CHECK_OK(fkm_model_predict_proba(model, &batch, proba));
    CHECK_OK(fkm_model_predict_tags(model, &batch, FKM_STRATEGY_ADAPTIVE, 1, tags));
    for (int64_t i = 0; i < N; i++)
        for (int64_t tag = 0; tag < N_CLASSES; tag++) {
            int64_t at = i * info.k;
            double z;
            while (labels[index[at]] != tag)
                at++;
            z = scores[3 * tag + 1] - scores[3 * tag] * distance[at] / routing[2 * index[at]];
            CHECK_NEAR(1 / (1 + exp(-z)), proba[i * N_CLASSES + tag], 1e-4);
            if (fabs(z - scores[3 * tag + 2]) > 1e-3)
                CHECK_INT(z > scores[3 * tag + 2], tags[i * N_CLASSES + tag]);
        }
    fkm_model_free(model);
    data_free(&data);
}

TEST(models_without_routing_or_tags_say_so)
{
    struct data data = data_make(N, DIM, N_CLASSES, 73);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, N);
    const fkm_params params = data_params(FKM_TASK_CLASSIFY);
    double numbers[64];
    fkm_model *model;

    CHECK_OK(fkm_model_create(context_of(1), &params, &model));
    CHECK_STATUS(FKM_ESTATE, fkm_model_centroid_routing(model, numbers));
    CHECK_STATUS(FKM_ESTATE, fkm_model_tag_scores(model, numbers));
    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    CHECK_STATUS(FKM_EINVAL, fkm_model_centroid_routing(model, NULL));
    CHECK_STATUS(FKM_ESTATE, fkm_model_tag_scores(model, numbers));
    CHECK_SAYS("classifier has no tags", fkm_last_error());
    fkm_model_free(model);
    data_free(&data);
}
