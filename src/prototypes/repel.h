/* repel.h — LVQ repulsion: the nearest prototype of a wrong class steps back from the rows it nearly took.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_PROTOTYPES_REPEL_H
#define FKMI_PROTOTYPES_REPEL_H

#include "prototypes/cells.h"

/* Whether this model's phase 1 pushes at all. */
bool fkmi_repels(const fkm_params *params, const struct fkmi_state *state);
/* GLVQ's f'(mu) of a row with distances d+ and d-, 10 sigmoid'(10 mu); 0 where both distances are 0. */
double fkmi_glvq_slope(double own, double other);
/* Which rows push which prototype: from pairs (own, other) as of FKMI_SCAN_OWN_OTHER to index (-1: none) and
 * the factor of the row's weight. 'window': 1 inside the window; 'glvq': its weight f' d+/(d+ + d-), at most
 * about 1. */
void fkmi_push_choose(const fkm_params *params, int64_t n, const int32_t *pair_index,
                      const double *pair_distance, int32_t *index, double *factor);
/* c_- += repulsion_factor eta (c_- - mean of the pushing rows), eta = min(1/2, W_push / (W_- + W_push)):
 * bounded, and never away from the origin. mass: W_-. */
void fkmi_push_point(const fkm_params *params, const struct fkmi_sums *push, int64_t dim, int64_t j,
                     double mass, double *point);

#endif
