/* test_loss.c — every derivative of the row losses against central differences.
 * SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "base/random.h"
#include "train/loss.h"

enum { N = 9, K = 12, CLASSES = 4, M = 3 };

struct row {
    double bias[K], theta[K], distance[N], shift[N], targets[K * M], y[M], std[M];
    int32_t index[N], slot[N];
    struct fkmi_routing routing;
};

static void make_row(struct row *row, fkm_soft soft, uint64_t seed)
{
    struct fkmi_random random = fkmi_random_from(seed);

    for (int j = 0; j < K; j++) {
        row->bias[j] = fkmi_random_normal(&random);
        row->theta[j] = 0.3 * fkmi_random_normal(&random);
        for (int t = 0; t < M; t++)
            row->targets[j * M + t] = 5 + 3 * fkmi_random_normal(&random);
    }
    for (int t = 0; t < M; t++) {
        row->y[t] = 5 + fkmi_random_normal(&random);
        row->std[t] = 0.5 + fkmi_random_uniform(&random);
    }
    for (int c = 0; c < N; c++) {
        row->index[c] = (int32_t)((c * 5) % K);
        row->slot[c] = (int32_t)(c % (CLASSES - 1)); /* class 3 has no candidate */
        row->distance[c] = 0.2 + 0.3 * c + fkmi_random_uniform(&random);
        row->shift[c] = row->slot[c] == 2 ? 1.7 : 0.0;
    }
    row->routing = (struct fkmi_routing){.soft = soft,
                                         .metric = FKM_METRIC_EUCLIDEAN,
                                         .power = 4,
                                         .temperature = 0.8,
                                         .scale = 1.3,
                                         .bias = row->bias,
                                         .theta = row->theta};
}

/* -sum_c t_c log p_c by the letter, in plain sums. */
static double naive_nll(const struct row *row, bool shifted, int own, double smoothing)
{
    double p[CLASSES] = {0}, sum = 0, loss = 0, rest = 1;

    for (int c = 0; c < N; c++) {
        const int j = row->index[c];
        const double s = row->routing.scale;
        double e;

        if (row->routing.soft == FKM_SOFT_SCALED)
            e = pow(1e-6 * s + row->distance[c], -row->routing.power);
        else
            e = exp(row->bias[j] - row->distance[c] / (0.8 * s * exp(row->theta[j])));
        e *= shifted ? exp(row->shift[c]) : 1.0;
        p[row->slot[c]] += e;
        sum += e;
    }
    for (int c = 0; c < CLASSES; c++)
        if (c != own && p[c] > 0) {
            loss -= smoothing / CLASSES * log(p[c] / sum);
            rest -= smoothing / CLASSES;
        }
    return loss - rest * log(p[own] / sum);
}

static double nll(const struct row *row, bool shifted, int own, double smoothing, double *g, double *theta,
                  double *bias)
{
    return fkmi_loss_nll(&row->routing, N, row->index, row->slot, row->distance, shifted ? row->shift : NULL,
                         own, CLASSES, smoothing, g, theta, bias);
}

static void check_nll(fkm_soft soft, bool shifted, double smoothing)
{
    const double h = 1e-6;

    for (uint64_t seed = 1; seed <= 5; seed++) {
        double g[N], theta[N], bias[N], unused[3][N];
        const int own = (int)(seed % (CLASSES - 1));
        struct row row;

        make_row(&row, soft, seed);
        CHECK_NEAR(naive_nll(&row, shifted, own, smoothing),
                   nll(&row, shifted, own, smoothing, g, theta, bias), 1e-10);
        for (int c = 0; c < N; c++) {
            double *const place[3] = {&row.distance[c], &row.theta[row.index[c]], &row.bias[row.index[c]]};
            const double analytic[3] = {g[c], theta[c], bias[c]};

            for (int what = 0; what < 3; what++) {
                const double old = *place[what];
                double up, down;

                *place[what] = old + h;
                up = nll(&row, shifted, own, smoothing, unused[0], unused[1], unused[2]);
                *place[what] = old - h;
                down = nll(&row, shifted, own, smoothing, unused[0], unused[1], unused[2]);
                *place[what] = old;
                CHECK_NEAR((up - down) / (2 * h), analytic[what], 1e-6);
            }
        }
    }
}

TEST(nll_softmax_has_the_right_slopes) { check_nll(FKM_SOFT_SOFTMAX_SCALED, false, 0); }
TEST(nll_scaled_has_the_right_slopes) { check_nll(FKM_SOFT_SCALED, false, 0); }
TEST(nll_with_shares_of_sampled_classes) { check_nll(FKM_SOFT_SOFTMAX_SCALED, true, 0); }
TEST(nll_scaled_with_shares_of_sampled_classes) { check_nll(FKM_SOFT_SCALED, true, 0); }
TEST(nll_smoothed) { check_nll(FKM_SOFT_SOFTMAX_SCALED, false, 0.2); }
TEST(nll_smoothed_scaled_and_shared) { check_nll(FKM_SOFT_SCALED, true, 0.1); }

TEST(nll_stays_finite_where_probabilities_underflow)
{
    double g[N], theta[N], bias[N], sum = 0;
    struct row row;

    make_row(&row, FKM_SOFT_SOFTMAX_SCALED, 3);
    for (int c = 0; c < N; c++)
        row.distance[c] = row.slot[c] == 0 ? 1e5 : (double)c;
    CHECK(nll(&row, false, 0, 0, g, theta, bias) > 5e4);
    for (int c = 0; c < N; c++) {
        CHECK(isfinite(g[c]) && isfinite(theta[c]) && isfinite(bias[c]));
        sum += bias[c];
        if (row.slot[c] == 0)
            CHECK(bias[c] <= 0); /* own prototypes are still called */
    }
    CHECK_NEAR(0, sum, 1e-12);
    CHECK_NEAR(-1, bias[0] + bias[3] + bias[6], 1e-12);
}

TEST(nll_of_one_class_is_0)
{
    const struct fkmi_routing routing = {.soft = FKM_SOFT_SCALED, .power = 4, .scale = 1};
    double g[2], theta[2], bias[2];

    CHECK_NEAR(0,
               fkmi_loss_nll(&routing, 2, (int32_t[]){0, 1}, (int32_t[]){0, 0}, (double[]){0.0, 1.0}, NULL, 0,
                             1, 0.1, g, theta, bias),
               1e-15);
    CHECK_NEAR(0, g[0], 1e-9);
    CHECK_NEAR(0, g[1], 1e-15);
}

static double naive_mse(const struct row *row, const double *std)
{
    double sum = 0, loss = 0, e[N];

    for (int c = 0; c < N; c++) {
        const int j = row->index[c];
        const double s = row->routing.scale;

        e[c] = row->routing.soft == FKM_SOFT_SCALED
                   ? pow(1e-6 * s + row->distance[c], -row->routing.power)
                   : exp(row->bias[j] - row->distance[c] / (0.8 * s * exp(row->theta[j])));
        sum += e[c];
    }
    for (int t = 0; t < M; t++) {
        double y = 0;

        for (int c = 0; c < N; c++)
            y += e[c] / sum * row->targets[row->index[c] * M + t];
        loss += (y - row->y[t]) * (y - row->y[t]) / (std ? std[t] * std[t] : 1) / M;
    }
    return loss;
}

static double mse(const struct row *row, const double *std, double *g, double *theta, double *bias,
                  double *target)
{
    double predicted[M];

    return fkmi_loss_mse(&row->routing, N, row->index, row->distance, row->targets, M, row->y, std, g, theta,
                         bias, target, predicted);
}

static void check_mse(fkm_soft soft, bool standardised)
{
    const double h = 1e-6;

    for (uint64_t seed = 1; seed <= 5; seed++) {
        double g[N], theta[N], bias[N], target[N * M], unused[3][N], unused_target[N * M];
        struct row row;
        const double *std = standardised ? row.std : NULL;

        make_row(&row, soft, seed);
        CHECK_NEAR(naive_mse(&row, std), mse(&row, std, g, theta, bias, target), 1e-10);
        for (int c = 0; c < N; c++) {
            double *place[3 + M] = {&row.distance[c], &row.theta[row.index[c]], &row.bias[row.index[c]]};
            double analytic[3 + M] = {g[c], theta[c], bias[c]};

            for (int t = 0; t < M; t++) {
                place[3 + t] = &row.targets[row.index[c] * M + t];
                analytic[3 + t] = target[c * M + t];
            }
            for (int what = 0; what < 3 + M; what++) {
                const double old = *place[what];
                double up, down;

                *place[what] = old + h;
                up = mse(&row, std, unused[0], unused[1], unused[2], unused_target);
                *place[what] = old - h;
                down = mse(&row, std, unused[0], unused[1], unused[2], unused_target);
                *place[what] = old;
                CHECK_NEAR((up - down) / (2 * h), analytic[what], 1e-6 * (1 + fabs(analytic[what])));
            }
        }
    }
}

TEST(mse_softmax_has_the_right_slopes) { check_mse(FKM_SOFT_SOFTMAX_SCALED, true); }
TEST(mse_scaled_has_the_right_slopes) { check_mse(FKM_SOFT_SCALED, true); }
TEST(mse_in_the_users_units) { check_mse(FKM_SOFT_SOFTMAX_SCALED, false); }

TEST(mse_says_what_it_predicted)
{
    const struct fkmi_routing routing = {.soft = FKM_SOFT_SCALED, .power = 4, .scale = 1};
    double g[2], theta[2], bias[2], target[2], predicted;

    CHECK_NEAR(0.25,
               fkmi_loss_mse(&routing, 2, (int32_t[]){1, 0}, (double[]){2, 2}, (double[]){3, 4}, 1,
                             (double[]){3}, NULL, g, theta, bias, target, &predicted),
               1e-12);
    CHECK_NEAR(3.5, predicted, 1e-12);
    CHECK_NEAR(0.5, target[0], 1e-12);
}

static double naive_asl(double p, bool positive, double gamma_pos, double gamma_neg, double clip)
{
    const double m = p - clip > 0 ? p - clip : 0;

    return positive ? -pow(1 - p, gamma_pos) * log(p) : -pow(m, gamma_neg) * log(1 - m);
}

TEST(asl_has_the_right_value_and_slope)
{
    const double gammas[] = {0, 0.5, 1, 2, 3, 4, 2.5}, clips[] = {0, 0.05}, h = 1e-7;

    for (int positive = 0; positive < 2; positive++)
        for (int a = 0; a < 7; a++)
            for (int b = 0; b < 2; b++)
                for (double p = 0.01; p < 0.995; p += 0.0173) {
                    double g, unused, difference;

                    CHECK_NEAR(naive_asl(p, positive, gammas[a], gammas[a], clips[b]),
                               fkmi_loss_asl(p, positive, gammas[a], gammas[a], clips[b], &g), 1e-12);
                    difference = (fkmi_loss_asl(p + h, positive, gammas[a], gammas[a], clips[b], &unused) -
                                  fkmi_loss_asl(p - h, positive, gammas[a], gammas[a], clips[b], &unused)) /
                                 (2 * h);
                    CHECK_NEAR(difference, g, 2e-6 * (1 + fabs(g)));
                }
}

TEST(asl_is_finite_at_the_ends)
{
    for (int positive = 0; positive < 2; positive++)
        for (int end = 0; end < 2; end++)
            for (double gamma = 0; gamma < 5; gamma += 0.5) {
                double g;

                CHECK(isfinite(fkmi_loss_asl(end, positive, gamma, gamma, 0, &g)));
                CHECK(isfinite(g * 0.5) || end == 0); /* -1/p at p = 0, times p (1 - p) by the caller */
            }
}

TEST(asl_forgives_what_is_below_the_clip)
{
    double g;

    CHECK_NEAR(0, fkmi_loss_asl(0.049, false, 1, 4, 0.05, &g), 0);
    CHECK_NEAR(0, g, 0);
    CHECK(fkmi_loss_asl(0.3, false, 1, 4, 0.05, &g) > 0 && g > 0);
}

/* ---- the public asymmetric loss */

/* Ridnik et al. 2021, eq. 4-6: L+ = (1-p)^g+ log p, L- = p_m^g- log(1-p_m), p_m = max(p - clip, 0). */
static double asymmetric(double p, bool positive, double gamma_pos, double gamma_neg, double clip)
{
    const double shifted = fmax(p - clip, 0);

    return positive ? -pow(1 - p, gamma_pos) * log(p) : -pow(shifted, gamma_neg) * log(1 - shifted);
}

TEST(the_asymmetric_loss_is_its_formula_and_its_gradient_the_slope)
{
    static const double settings[][3] = {{1, 4, 0.05}, {0, 0, 0}, {2, 1, 0.2}, {0.5, 2.5, 0}, {3, 0.3, 0.9}};
    enum { PLACES = 40, ALL = 2 * PLACES };
    const double h = 1e-6;

    for (size_t s = 0; s < sizeof settings / sizeof *settings; s++) {
        const double pos = settings[s][0], neg = settings[s][1], clip = settings[s][2];
        double p[ALL], loss[ALL], gradient[ALL], up[ALL], down[ALL], beside[ALL];
        uint8_t positive[ALL];

        for (int i = 0; i < ALL; i++) {
            p[i] = 0.013 + 0.0241 * (i % PLACES); /* no place within h of a clip */
            positive[i] = (uint8_t)(i < PLACES ? 0 : 1 + i % 255);
        }
        CHECK_OK(fkm_asymmetric_loss(ALL, p, positive, pos, neg, clip, loss, gradient));
        for (int i = 0; i < ALL; i++)
            CHECK_NEAR(asymmetric(p[i], positive[i] != 0, pos, neg, clip), loss[i], 1e-12);
        for (int i = 0; i < ALL; i++)
            beside[i] = p[i] + h;
        CHECK_OK(fkm_asymmetric_loss(ALL, beside, positive, pos, neg, clip, up, NULL));
        for (int i = 0; i < ALL; i++)
            beside[i] = p[i] - h;
        CHECK_OK(fkm_asymmetric_loss(ALL, beside, positive, pos, neg, clip, down, NULL));
        for (int i = 0; i < ALL; i++)
            CHECK_NEAR((up[i] - down[i]) / (2 * h), gradient[i], 1e-6 * fmax(1, fabs(gradient[i])));
    }
}

TEST(the_asymmetric_loss_is_finite_at_both_ends)
{
    static const double gammas[] = {0, 0.5, 1, 4};
    const double p[] = {0, 1, 0, 1};
    const uint8_t positive[] = {0, 0, 1, 1};
    double loss[4], gradient[4];

    for (int g = 0; g < 4; g++) {
        CHECK_OK(fkm_asymmetric_loss(4, p, positive, gammas[g], gammas[g], 0, loss, gradient));
        for (int i = 0; i < 4; i++)
            CHECK(isfinite(loss[i]) && isfinite(gradient[i]));
        CHECK_NEAR(0, loss[0], 0);
        CHECK(loss[1] > 30 && loss[2] > 700);
        CHECK_NEAR(0, loss[3], 1e-6);
    }
    CHECK_OK(fkm_asymmetric_loss(4, p, positive, 1, 4, 0.05, NULL, gradient)); /* either output alone */
    CHECK_OK(fkm_asymmetric_loss(4, p, positive, 1, 4, 0.05, loss, NULL));
    CHECK_OK(fkm_asymmetric_loss(0, NULL, NULL, 1, 4, 0.05, NULL, NULL));
}

TEST(the_asymmetric_loss_refuses_what_is_none)
{
    const double good[] = {0.25, 0.5}, bad[][2] = {{0.25, -1e-9}, {0.25, 1.0000001}, {0.25, NAN}};
    const double settings[][3] = {{-1, 4, 0},       {1, -0.5, 0},    {1, 4, -0.1}, {1, 4, 1},
                                  {NAN, 4, 0},      {1, NAN, 0},     {1, 4, NAN},  {1, 4, 2},
                                  {INFINITY, 4, 0}, {1, INFINITY, 0}};
    const char *const names[] = {"asl_gamma_pos", "asl_gamma_neg", "asl_clip", "asl_clip",
                                 "asl_gamma_pos", "asl_gamma_neg", "asl_clip", "asl_clip",
                                 "asl_gamma_pos", "asl_gamma_neg"};
    const uint8_t positive[] = {1, 0};
    double loss[2] = {7, 7};

    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(FKM_EINVAL, fkm_asymmetric_loss(2, bad[i], positive, 1, 4, 0.05, loss, NULL));
        CHECK_SAYS("probability 1 is", fkm_last_error());
        CHECK_NEAR(7, loss[0], 0); /* nothing is written before all is checked */
    }
    for (size_t s = 0; s < sizeof settings / sizeof *settings; s++) {
        CHECK_STATUS(FKM_EINVAL, fkm_asymmetric_loss(2, good, positive, settings[s][0], settings[s][1],
                                                     settings[s][2], loss, NULL));
        CHECK_SAYS(names[s], fkm_last_error());
    }
    CHECK_STATUS(FKM_EINVAL, fkm_asymmetric_loss(-1, good, positive, 1, 4, 0, loss, NULL));
    CHECK_STATUS(FKM_EINVAL, fkm_asymmetric_loss(2, NULL, positive, 1, 4, 0, loss, NULL));
    CHECK_SAYS("probability is NULL", fkm_last_error());
    CHECK_STATUS(FKM_EINVAL, fkm_asymmetric_loss(2, good, NULL, 1, 4, 0, loss, NULL));
    CHECK_SAYS("positive is NULL", fkm_last_error());
}
