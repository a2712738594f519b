/* loss.c — losses of one row and their derivatives, from the distances of its candidates.
 *
 * Everything is shifted by the largest logit of its sum, so no exp overflows and a probability that
 * underflows still has a finite logarithm and the right gradient.
 * SPDX-License-Identifier: Apache-2.0 */
#include "train/loss.h"

#include <assert.h>
#include <float.h>
#include <math.h>

#include "base/interrupt.h"

static const double EPSILON = 1e-6; /* of 'scaled', in units of s: a row on a prototype has a finite logit */

/* Chain from logits to distances, temperatures and biases: softmax_scaled l = b - d/tau, scaled
 * l = -p log(eps s + d). g_distance holds dL/dl on entry. */
static void through_logits(const struct fkmi_routing *routing, int64_t n, const int32_t *index,
                           const double *distance, double *g_distance, double *g_theta, double *g_bias)
{
    const double eps = EPSILON * (routing->scale > 0 ? routing->scale : 1.0);
    struct fkmi_tau tau = {0};

    if (routing->soft == FKM_SOFT_SOFTMAX_SCALED) {
        for (int64_t c = 0; c < n; c++) {
            const double g = g_distance[c], inverse = 1 / fkmi_routing_tau_again(routing, index[c], &tau);

            g_bias[c] = g;
            g_theta[c] = g * distance[c] * inverse;
            g_distance[c] = -g * inverse;
        }
    } else {
        assert(routing->soft == FKM_SOFT_SCALED); /* the others have no gradient and are refused before */
        for (int64_t c = 0; c < n; c++) {
            g_bias[c] = g_theta[c] = 0;
            g_distance[c] *= -routing->power / (eps + distance[c]);
        }
    }
}

static double largest(const double *values, int64_t n)
{
    double most = values[0];

    for (int64_t c = 1; c < n; c++)
        if (values[c] > most)
            most = values[c];
    return most;
}

/* Log of the sum of exp(logit) over the candidates of class `which` from `begin` on; share[c] receives each
 * one's part of that sum. */
static double class_log_sum(int64_t begin, int64_t n, const int32_t *slot, int32_t which, const double *logit,
                            double *share)
{
    double most = -INFINITY, sum = 0;

    for (int64_t c = begin; c < n; c++)
        if (slot[c] == which && !(logit[c] <= most))
            most = logit[c];
    for (int64_t c = begin; c < n; c++)
        if (slot[c] == which)
            sum += share[c] = exp(logit[c] - most);
    for (int64_t c = begin; c < n; c++)
        if (slot[c] == which)
            share[c] /= sum;
    return most + log(sum);
}

double fkmi_loss_nll(const struct fkmi_routing *routing, int64_t n, const int32_t *index, const int32_t *slot,
                     const double *distance, const double *shift, int32_t own, int64_t n_classes,
                     double smoothing, double *g_distance, double *g_theta, double *g_bias)
{
    double *logit = g_theta, *share = g_bias, *g = g_distance;
    double most, sum = 0, loss, elsewhere = 0;

    fkmi_route_logits(routing, n, index, distance, logit);
    if (shift)
        for (int64_t c = 0; c < n; c++)
            logit[c] += shift[c];
    most = largest(logit, n);
    for (int64_t c = 0; c < n; c++) {
        share[c] = -1; /* its class has not been summed */
        sum += g[c] = exp(logit[c] - most);
    }
    loss = most + log(sum);
    for (int64_t c = 0; c < n; c++)
        g[c] /= sum;

    /* L = log sum_all - sum_c t_c log sum_c, since the t_c sum to 1. A class without a candidate has
     * probability 0 whatever the prototypes do: its share of the smoothing stays with the row's own class. */
    if (smoothing > 0) {
        const double target = smoothing / (double)n_classes;

        for (int64_t c = 0; c < n; c++) {
            if (slot[c] == own || share[c] >= 0)
                continue;
            loss -= target * class_log_sum(c, n, slot, slot[c], logit, share);
            elsewhere += target;
        }
        for (int64_t c = 0; c < n; c++)
            if (slot[c] != own)
                g[c] -= target * share[c];
    }
    loss -= (1 - elsewhere) * class_log_sum(0, n, slot, own, logit, share);
    for (int64_t c = 0; c < n; c++)
        if (slot[c] == own)
            g[c] -= (1 - elsewhere) * share[c];
    through_logits(routing, n, index, distance, g_distance, g_theta, g_bias);
    return loss;
}

double fkmi_loss_mse(const struct fkmi_routing *routing, int64_t n, const int32_t *index,
                     const double *distance, const double *targets, int64_t n_targets, const double *y,
                     const double *std, double *g_distance, double *g_theta, double *g_bias, double *g_target,
                     double *predicted)
{
    double *logit = g_distance, *r = g_theta, *g = g_bias,
           *answer = g_target; /* row 0 of g_target, written last */
    double most, sum = 0, loss = 0;

    fkmi_route_logits(routing, n, index, distance, logit);
    most = largest(logit, n);
    for (int64_t c = 0; c < n; c++)
        sum += r[c] = exp(logit[c] - most);
    for (int64_t c = 0; c < n; c++)
        r[c] /= sum;

    for (int64_t t = 0; t < n_targets; t++) {
        answer[t] = 0;
        for (int64_t c = 0; c < n; c++)
            answer[t] += r[c] * targets[index[c] * n_targets + t];
        if (predicted)
            predicted[t] = answer[t];
    }
    for (int64_t c = 0; c < n; c++)
        g[c] = 0;
    for (int64_t t = 0; t < n_targets; t++) {
        const double unit = std ? std[t] : 1.0;
        const double error = answer[t] - y[t], pull = 2 * error / ((double)n_targets * unit * unit);

        loss += error / unit * (error / unit) / (double)n_targets;
        for (int64_t c = 0; c < n; c++)
            g[c] += r[c] * pull * (targets[index[c] * n_targets + t] - answer[t]);
    }
    for (int64_t c = n - 1; c >= 0; c--)
        for (int64_t t = 0; t < n_targets; t++) {
            const double unit = std ? std[t] : 1.0;

            g_target[c * n_targets + t] = r[c] * 2 * (answer[t] - y[t]) / ((double)n_targets * unit * unit);
        }
    for (int64_t c = 0; c < n; c++)
        g_distance[c] = g[c];
    through_logits(routing, n, index, distance, g_distance, g_theta, g_bias);
    return loss;
}

/* base^power; the small whole powers people use are products. */
static double power(double base, double exponent)
{
    if (exponent == 0)
        return 1;
    if (exponent == 1)
        return base;
    if (exponent == 2)
        return base * base;
    if (exponent == 3)
        return base * base * base;
    if (exponent == 4)
        return base * base * base * base;
    return pow(base, exponent);
}

double fkmi_loss_asl(double p, bool positive, double gamma_pos, double gamma_neg, double clip, double *g)
{
    if (positive) {
        const double q = 1 - p < DBL_EPSILON ? DBL_EPSILON : 1 - p, log_p = log(p < DBL_MIN ? DBL_MIN : p);

        /* (1-p)^{gamma-1} (gamma log p - (1-p)/p), opened so that gamma < 1 stays finite near p = 1 */
        *g = (gamma_pos > 0 ? gamma_pos * power(q, gamma_pos - 1) * log_p : 0.0) -
             power(q, gamma_pos) / (p < DBL_MIN ? DBL_MIN : p);
        return -power(q, gamma_pos) * log_p;
    }
    {
        const double m = p - clip, q = 1 - m < DBL_EPSILON ? DBL_EPSILON : 1 - m;

        if (m <= 0) {
            *g = 0;
            return 0;
        }
        *g = power(m, gamma_neg) / q - (gamma_neg > 0 ? gamma_neg * power(m, gamma_neg - 1) * log(q) : 0.0);
        return -power(m, gamma_neg) * log(q);
    }
}

/* ---- for users who have probabilities of their own */

static fkm_status check_probabilities(int64_t n, const double *probability)
{
    for (int64_t i = 0; i < n; i++) {
        FKMI_TRY(fkmi_check_every(1 << 20, i));
        if (!(probability[i] >= 0 && probability[i] <= 1))
            return fkmi_fail(FKM_EINVAL, "probability %lld is %g; it must be in [0, 1]", (long long)i,
                             probability[i]);
    }
    return FKM_OK;
}

fkm_status fkm_asymmetric_loss(int64_t n, const double *probability, const uint8_t *positive,
                               double gamma_pos, double gamma_neg, double clip, double *loss,
                               double *gradient)
{
    fkm_params params = FKM_PARAMS_INIT;

    params.task = FKM_TASK_MULTILABEL;
    params.asl_gamma_pos = gamma_pos;
    params.asl_gamma_neg = gamma_neg;
    params.asl_clip = clip;
    FKMI_TRY(fkm_params_check(&params));
    if (n < 0)
        return fkmi_fail(FKM_EINVAL, "there are %lld probabilities", (long long)n);
    if (n > 0 && (!probability || !positive))
        return fkmi_fail(FKM_EINVAL, "%s is NULL", probability ? "positive" : "probability");
    FKMI_TRY(check_probabilities(n, probability));
    for (int64_t i = 0; i < n; i++) {
        double slope, l;

        FKMI_TRY(fkmi_check_every(1 << 16, i));
        l = fkmi_loss_asl(probability[i], positive[i] != 0, gamma_pos, gamma_neg, clip, &slope);
        if (loss)
            loss[i] = l;
        if (gradient)
            gradient[i] = slope;
    }
    return FKM_OK;
}
