/* seed_lists.h — greedy k-means++ for a few seeds among CSR rows, which stay what they are: rows.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_PROTOTYPES_SEED_LISTS_H
#define FKMI_PROTOTYPES_SEED_LISTS_H

#include "base/random.h"
#include "prototypes/state.h"

/* From so many on, what fkmi_seed does to spare distances pays. */
#define FKMI_MOST_LIST_SEEDS 32

/* Picks min(k, distinct rows) rows of a CSR view (n >= 1, k <= FKMI_MOST_LIST_SEEDS) as fkmi_seed does, on this thread,
 * in a time that depends on their entries alone; pick: rows of the view. column: dim zeros, and zeros afterwards. */
fkm_status fkmi_seed_rows(const struct fkmi_space *space, const struct fkmi_rows *rows, int64_t k,
                          struct fkmi_random random, double *column, int64_t *pick, int64_t *k_seeded);
/* Appends a class whose prototypes are rows `pick` of the view (cosine: of unit length) to a state of lists. */
fkm_status fkmi_state_add_rows(struct fkmi_state *state, const struct fkmi_space *space, int64_t label,
                               const struct fkmi_rows *rows, const int64_t *pick, const double *targets,
                               int64_t k);

#endif
