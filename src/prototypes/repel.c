/* repel.c — which rows push, and how far a pushed prototype steps back.
 * SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/repel.h"

#include <math.h>

#define WINDOW_NEAR (0.8 / 1.2 * (0.8 / 1.2)) /* LVQ2.1's window of width 0.2, for squared distances */
#define GLVQ_STEEP  10.0

bool fkmi_repels(const fkm_params *params, const struct fkmi_state *state)
{
    return params->task == FKM_TASK_CLASSIFY && params->repulsion_factor > 0 && state->n_classes > 1;
}

double fkmi_glvq_slope(double own, double other)
{
    const double sum = own + other;
    double f;

    if (!(sum > 0) || !isfinite(sum))
        return 0;
    f = 1 / (1 + exp(-GLVQ_STEEP * (own - other) / sum));
    return GLVQ_STEEP * f * (1 - f);
}

static double push_of(fkm_repulsion repulsion, double own, double other)
{
    if (repulsion == FKM_REPULSION_GLVQ) /* 4 / 10 makes the slope's peak 1 */
        return own + other > 0 ? 4 / GLVQ_STEEP * fkmi_glvq_slope(own, other) * own / (own + other) : 0;
    return fmin(own, other) > WINDOW_NEAR * fmax(own, other) ? 1 : 0;
}

void fkmi_push_choose(const fkm_params *params, int64_t n, const int32_t *pair_index,
                      const double *pair_distance, int32_t *index, double *factor)
{
    for (int64_t i = 0; i < n; i++) {
        const bool both = pair_index[2 * i] >= 0 && pair_index[2 * i + 1] >= 0;
        factor[i] = both ? push_of(params->repulsion, pair_distance[2 * i], pair_distance[2 * i + 1]) : 0;
        index[i] = factor[i] > 0 ? pair_index[2 * i + 1] : -1;
    }
}

void fkmi_push_point(const fkm_params *params, const struct fkmi_sums *push, int64_t dim, int64_t j,
                     double mass, double *point)
{
    const double pushing = push->mass[j];
    const double step = pushing > 0 ? params->repulsion_factor * fmin(0.5, pushing / (mass + pushing)) : 0;

    if (!(step > 0))
        return;
    for (int64_t d = 0; d < dim; d++) {
        const double age = fkmi_sums_age(push, dim, j, d);
        if (age > 0)
            point[d] += step * (point[d] - push->sum[j * dim + d] / age);
    }
}
