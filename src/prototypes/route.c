/* route.c — from distances to routing weights.
 *
 * scaled: r ~ (eps s + d)^-p, in logarithms so that neither 0 nor 1e30 overflows. softmax_scaled: r ~ exp(b -
 * d/tau). SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/route.h"

#include <math.h>

#define IDW_FLOOR 1e-6 /* eps: a row on a prototype gives it nearly all weight, not infinite weight */

static double known_scale(double scale) { return scale > 0 && isfinite(scale) ? scale : 1; }

struct fkmi_routing fkmi_routing_of(const fkm_params *params, const struct fkmi_state *state)
{
    /* Squared distances need half the exponent of l1. GLVQ draws its borders for the nearest prototype alone,
     * so a softer blend would blur them: twice the exponent keeps the two answers together. */
    const double of_metric = params->metric == FKM_METRIC_L1 ? 8 : 4;
    const bool sharp = params->task == FKM_TASK_CLASSIFY && params->repulsion == FKM_REPULSION_GLVQ;
    const double standard_power = sharp ? 2 * of_metric : of_metric;

    return (struct fkmi_routing){.soft = params->soft,
                                 .metric = params->metric,
                                 .power = params->idw_power > 0 ? params->idw_power : standard_power,
                                 .temperature = params->temperature,
                                 .scale = known_scale(state->scale),
                                 .bias = state->bias,
                                 .theta = state->theta};
}

double fkmi_routing_tau(const struct fkmi_routing *routing, int64_t j)
{
    return routing->temperature * known_scale(routing->scale) * exp(routing->theta[j]);
}

void fkmi_route_logits(const struct fkmi_routing *routing, int64_t n, const int32_t *index,
                       const double *distance, double *logit)
{
    const double floor = IDW_FLOOR * known_scale(routing->scale);
    struct fkmi_tau tau = {0};

    for (int64_t i = 0; i < n; i++) {
        logit[i] = 0;
        if (index[i] < 0)
            continue;
        if (routing->soft == FKM_SOFT_SCALED)
            logit[i] = -routing->power * log(floor + distance[i]);
        else if (routing->soft == FKM_SOFT_SOFTMAX_SCALED)
            logit[i] =
                routing->bias[index[i]] - distance[i] / fkmi_routing_tau_again(routing, index[i], &tau);
    }
}

/* Ties go to the lower index; a distance that is no number is behind all others. */
static bool nearer(double a, int32_t index_a, double b, int32_t index_b)
{
    if (isnan(a) || isnan(b))
        return isnan(b) && !isnan(a);
    return a < b || (a == b && index_a < index_b);
}

/* All weight to the nearest candidate; nothing when there is none. */
static void route_nearest(int64_t n, const int32_t *index, const double *distance, double *weight)
{
    int64_t nearest = -1;

    for (int64_t i = 0; i < n; i++) {
        weight[i] = 0;
        if (index[i] >= 0 &&
            (nearest < 0 || nearer(distance[i], index[i], distance[nearest], index[nearest])))
            nearest = i;
    }
    if (nearest >= 0)
        weight[nearest] = 1;
}

static void route_evenly(int64_t n, const int32_t *index, double *weight)
{
    int64_t present = 0;

    for (int64_t i = 0; i < n; i++)
        present += index[i] >= 0;
    for (int64_t i = 0; i < n; i++)
        weight[i] = index[i] >= 0 ? 1.0 / (double)present : 0;
}

void fkmi_route(const struct fkmi_routing *routing, int64_t n, const int32_t *index, const double *distance,
                double *weight)
{
    double largest = -INFINITY, sum = 0;

    if (routing->soft == FKM_SOFT_HARD) {
        route_nearest(n, index, distance, weight);
        return;
    }
    if (routing->soft == FKM_SOFT_MEAN) {
        route_evenly(n, index, weight);
        return;
    }
    fkmi_route_logits(routing, n, index, distance, weight);
    for (int64_t i = 0; i < n; i++)
        if (index[i] >= 0 && weight[i] > largest)
            largest = weight[i];
    for (int64_t i = 0; i < n; i++) {
        weight[i] = index[i] >= 0 ? exp(weight[i] - largest) : 0;
        sum += weight[i];
    }
    if (!(sum > 0) || !isfinite(sum)) {
        route_nearest(n, index, distance, weight);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        weight[i] /= sum;
}
