/* seed.h — where prototypes begin: greedy k-means++ (Arthur & Vassilvitskii 2007, with 2 + floor(ln k)
 * candidates a step), random rows, and how many are worth having. SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_PROTOTYPES_SEED_H
#define FKMI_PROTOTYPES_SEED_H

#include "backends/minima.h"
#include "base/random.h"

/* Chooses min(k, distinct rows) rows of the view (n >= 1; rows of weight 0 are never chosen unless all are). How
 * distances are ruled out changes no bit of the result. */
fkm_status fkmi_seed_rows(struct fkm_context *context, const struct fkmi_space *space,
                          const struct fkmi_rows *rows, fkm_init init, int64_t k, struct fkmi_random random,
                          enum fkmi_screening screening, int64_t *seeds, int64_t *k_seeded);
/* Its ways, by greedy k-means++: all seeds in one go (*left, or NULL: the potential that remains), and in two levels, where
 * dense rows get so many seeds that one go would take long (less than k seeds: too many rows are equal). */
fkm_status fkmi_seed_at_once(struct fkm_context *context, const struct fkmi_space *space,
                             const struct fkmi_rows *rows, int64_t k, struct fkmi_random random,
                             enum fkmi_screening screening, int64_t *seeds, int64_t *k_seeded, double *left);
fkm_status fkmi_seed_by_groups(struct fkm_context *context, const struct fkmi_space *space,
                               const struct fkmi_rows *rows, int64_t k, struct fkmi_random random,
                               int64_t *seeds, int64_t *k_seeded);
/* k rows of the same view as points, k x dim reals: cosine gives unit vectors; masked coordinates of a row take the
 * view's (weighted) mean of that coordinate, 0 without any. */
fkm_status fkmi_seed_points(struct fkm_context *context, const struct fkmi_space *space,
                            const struct fkmi_rows *rows, const int64_t *seeds, int64_t k, void *points);
/* Both. */
fkm_status fkmi_seed(struct fkm_context *context, const struct fkmi_space *space,
                     const struct fkmi_rows *rows, fkm_init init, int64_t k, struct fkmi_random random,
                     void *points, int64_t *k_seeded);
/* Distances up to this are rounding: the rows are equal. 0 but for cosine. */
double fkmi_same_distance(const struct fkmi_space *space);
/* Geometric information dispersion: max(1, min(n, ceil(3 sqrt(n) (1 - mean clip(sim(x, mean), 0, 1))))). */
fkm_status fkmi_auto_k(struct fkm_context *context, const struct fkmi_space *space,
                       const struct fkmi_rows *rows, bool auto_scale, int64_t *k);

#endif
