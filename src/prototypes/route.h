/* route.h — routing weights over the nearest prototypes.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_PROTOTYPES_ROUTE_H
#define FKMI_PROTOTYPES_ROUTE_H

#include <math.h>

#include "prototypes/state.h"

struct fkmi_routing {
    fkm_soft soft;
    fkm_metric metric;
    double power;               /* p of 'scaled' */
    double temperature;         /* the parameter */
    double scale;               /* s; 0 counts as 1 */
    const double *bias, *theta; /* by prototype, of the state */
};
struct fkmi_routing fkmi_routing_of(const fkm_params *params, const struct fkmi_state *state);
/* tau of prototype j: temperature * s * exp(theta_j). */
double fkmi_routing_tau(const struct fkmi_routing *routing, int64_t j);
/* The same where many prototypes are asked about in turn that share one theta, as nearly all do: exp takes longest. */
struct fkmi_tau {
    double theta, tau; /* of the last one; zeroed: none yet */
};
static inline double fkmi_routing_tau_again(const struct fkmi_routing *routing, int64_t j,
                                            struct fkmi_tau *last)
{
    if (!(last->tau > 0) || routing->theta[j] != last->theta)
        *last = (struct fkmi_tau){routing->theta[j], fkmi_routing_tau(routing, j)};
    return last->tau;
}
/* Logits l_j of n candidates (index, distance), nearest first; n >= 1. 'hard' and 'mean' have none: 0. */
void fkmi_route_logits(const struct fkmi_routing *routing, int64_t n, const int32_t *index,
                       const double *distance, double *logit);
/* Routing weights summing to 1; falls back to the nearest when a sum is 0 or not finite. index -1 gets 0. */
void fkmi_route(const struct fkmi_routing *routing, int64_t n, const int32_t *index, const double *distance,
                double *weight);
/* 1 / (1 + d / s) for euclidean and l1, 1 - d for cosine. */
static inline double fkmi_similarity(fkm_metric metric, double distance, double scale)
{
    return metric == FKM_METRIC_COSINE ? 1 - distance
                                       : 1 / (1 + distance / (scale > 0 && isfinite(scale) ? scale : 1));
}

#endif
