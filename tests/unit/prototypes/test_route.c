/* test_route.c — routing weights against the formulas written out.
 * SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "prototypes/route.h"

static const double bias[4] = {0.3, -0.2, 0, 0.7}, theta[4] = {0.1, -0.4, 0.9, 0};

static struct fkmi_routing routing_of(fkm_soft soft, double power, double scale)
{
    return (struct fkmi_routing){.soft = soft,
                                 .metric = FKM_METRIC_EUCLIDEAN,
                                 .power = power,
                                 .temperature = 0.5,
                                 .scale = scale,
                                 .bias = bias,
                                 .theta = theta};
}

static double sum_of(const double *weight, int n)
{
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += weight[i];
    return sum;
}

TEST(scaled_is_the_power_of_the_distance)
{
    const struct fkmi_routing routing = routing_of(FKM_SOFT_SCALED, 4, 3);
    const int32_t index[4] = {2, 0, 3, 1};
    const double distance[4] = {0.5, 0.7, 2, 9};
    double weight[4], raw[4];

    fkmi_route(&routing, 4, index, distance, weight);
    for (int i = 0; i < 4; i++)
        raw[i] = pow(1e-6 * 3 + distance[i], -4);
    for (int i = 0; i < 4; i++)
        CHECK_NEAR(raw[i] / sum_of(raw, 4), weight[i], 1e-14);
}

TEST(softmax_uses_each_prototypes_temperature_and_bias)
{
    const struct fkmi_routing routing = routing_of(FKM_SOFT_SOFTMAX_SCALED, 4, 3);
    const int32_t index[4] = {2, 0, 3, 1};
    const double distance[4] = {0.5, 0.7, 2, 9};
    double weight[4], raw[4], logit[4];

    fkmi_route(&routing, 4, index, distance, weight);
    fkmi_route_logits(&routing, 4, index, distance, logit);
    for (int i = 0; i < 4; i++) {
        const double tau = 0.5 * 3 * exp(theta[index[i]]);
        CHECK_NEAR(tau, fkmi_routing_tau(&routing, index[i]), 1e-14);
        CHECK_NEAR(bias[index[i]] - distance[i] / tau, logit[i], 1e-14);
        raw[i] = exp(bias[index[i]] - distance[i] / tau);
    }
    for (int i = 0; i < 4; i++)
        CHECK_NEAR(raw[i] / sum_of(raw, 4), weight[i], 1e-14);
}

TEST(hard_and_mean_need_no_distances_in_order)
{
    struct fkmi_routing routing = routing_of(FKM_SOFT_HARD, 4, 1);
    const int32_t index[4] = {3, 2, 1, -1};
    const double distance[4] = {2, 1, 1, INFINITY};
    double weight[4];

    fkmi_route(&routing, 4, index, distance, weight);
    CHECK_NEAR(1, weight[2], 0); /* a tie goes to the lower index */
    CHECK_NEAR(1, sum_of(weight, 4), 0);
    routing.soft = FKM_SOFT_MEAN;
    fkmi_route(&routing, 4, index, distance, weight);
    for (int i = 0; i < 4; i++)
        CHECK_NEAR(i < 3 ? 1.0 / 3 : 0, weight[i], 1e-15);
}

TEST(missing_candidates_get_nothing)
{
    static const fkm_soft all[] = {FKM_SOFT_HARD, FKM_SOFT_MEAN, FKM_SOFT_SCALED, FKM_SOFT_SOFTMAX_SCALED};
    const int32_t index[3] = {1, -1, -1}, none[2] = {-1, -1};
    const double distance[3] = {4, INFINITY, INFINITY};
    double weight[3];

    for (int s = 0; s < 4; s++) {
        const struct fkmi_routing routing = routing_of(all[s], 4, 1);
        fkmi_route(&routing, 3, index, distance, weight);
        CHECK_NEAR(1, weight[0], 0);
        CHECK_NEAR(0, weight[1], 0);
        CHECK_NEAR(0, weight[2], 0);
        fkmi_route(&routing, 2, none, distance, weight);
        CHECK_NEAR(0, weight[0], 0);
        CHECK_NEAR(0, weight[1], 0);
    }
}

TEST(extreme_distances_still_sum_to_one)
{
    static const double distances[][3] = {{0, 0, 1},
                                          {0, 1e-300, 1e300},
                                          {1e300, 1e301, 1e302},
                                          {1e-320, 1, 2},
                                          {1e308, 1e308, 1e308},
                                          {0, 1e5, 1e9},
                                          {INFINITY, INFINITY, INFINITY},
                                          {3, NAN, 5},
                                          {NAN, NAN, 2}};
    static const double scales[] = {1, 1e-300, 1e300, 0};
    const int32_t index[3] = {0, 1, 2};
    double weight[3];

    for (size_t a = 0; a < sizeof distances / sizeof *distances; a++)
        for (int b = 0; b < 4; b++)
            for (int soft = FKM_SOFT_SCALED; soft <= FKM_SOFT_SOFTMAX_SCALED; soft++) {
                const struct fkmi_routing routing = routing_of((fkm_soft)soft, 8, scales[b]);
                fkmi_route(&routing, 3, index, distances[a], weight);
                CHECK_NEAR(1, sum_of(weight, 3), 1e-12);
                for (int i = 0; i < 3; i++)
                    CHECK(weight[i] >= 0 && weight[i] <= 1);
            }
}

TEST(what_is_no_number_falls_back_to_the_nearest)
{
    const struct fkmi_routing routing = routing_of(FKM_SOFT_SCALED, 4, 1);
    const int32_t index[3] = {0, 1, 2};
    const double distance[3] = {NAN, 7, 5};
    double weight[3];

    fkmi_route(&routing, 3, index, distance, weight);
    CHECK_NEAR(0, weight[0], 0);
    CHECK_NEAR(0, weight[1], 0);
    CHECK_NEAR(1, weight[2], 0);
}

TEST(a_routing_follows_the_parameters)
{
    fkm_params params = FKM_PARAMS_INIT;
    struct fkmi_state state = {.scale = 0};

    params.repulsion = FKM_REPULSION_WINDOW;
    params.metric = FKM_METRIC_COSINE;
    CHECK_NEAR(4, fkmi_routing_of(&params, &state).power, 0);
    CHECK_NEAR(1, fkmi_routing_of(&params, &state).scale, 0); /* 0 counts as 1 */
    params.metric = FKM_METRIC_EUCLIDEAN;
    CHECK_NEAR(4, fkmi_routing_of(&params, &state).power, 0);
    params.metric = FKM_METRIC_L1;
    CHECK_NEAR(8, fkmi_routing_of(&params, &state).power, 0);
    params.repulsion = FKM_REPULSION_GLVQ;
    CHECK_NEAR(16, fkmi_routing_of(&params, &state).power, 0);
    params.idw_power = 2.5;
    CHECK_NEAR(2.5, fkmi_routing_of(&params, &state).power, 0);
}

TEST(similarity_falls_from_one)
{
    CHECK_NEAR(1, fkmi_similarity(FKM_METRIC_EUCLIDEAN, 0, 3), 0);
    CHECK_NEAR(0.5, fkmi_similarity(FKM_METRIC_EUCLIDEAN, 3, 3), 1e-15);
    CHECK_NEAR(0.25, fkmi_similarity(FKM_METRIC_L1, 3, 0), 1e-15);
    CHECK_NEAR(-0.5, fkmi_similarity(FKM_METRIC_COSINE, 1.5, 9), 1e-15);
}
