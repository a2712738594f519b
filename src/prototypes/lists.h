/* lists.h — prototypes that keep only the coordinates that are not 0: where rows are CSR and have few columns in
 * common, those of 5,000 classes of text take a thirtieth of the memory, and a pass costs what its rows do.
 *
 * A state whose prototypes are lists (state->listed) comes from a fit to CSR rows, a first batch of them, or a file. Full
 * passes, batches, fine-tuning, upkeep and answers work on it as it is; what needs points makes them first
 * (fkmi_state_need_points).
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_PROTOTYPES_LISTS_H
#define FKMI_PROTOTYPES_LISTS_H

#include "prototypes/phase1.h"

/* Whether k prototypes of these rows should be lists: they will be much smaller, and no parameter asks for what only
 * points can do. */
bool fkmi_lists_pay(const fkm_params *params, const struct fkmi_rows *rows, int64_t k);
/* Whether a state of lists can learn a batch of these rows as it is, and its lists are still much smaller than points. */
bool fkmi_lists_stay(const fkm_params *params, const struct fkmi_rows *rows, const struct fkmi_state *state);
/* What fkmi_lloyd does, for a state of lists. */
fkm_status fkmi_lloyd_lists(struct fkm_context *context, const fkm_params *params, struct fkmi_state *state,
                            struct fkmi_phase1 *work, const struct fkmi_rows *rows, const int32_t *slot,
                            const double *values, int64_t max_iters, double tol, fkmi_pass_fn *after_pass,
                            void *user, int64_t *n_passes);
/* Entries smaller than `below` go; cosine renormalises what is left. A list that would lose all its entries, and so its
 * direction, stays, and so do frozen ones. values: room for dim doubles. */
void fkmi_lists_truncate(struct fkmi_state *state, const struct fkmi_kernels *kernels,
                         const fkm_params *params, double below, double *values);
/* Coordinate d of prototype j. */
double fkmi_list_value(const struct fkmi_state *state, int64_t j, int32_t d);
/* Unit length under the feature weights for cosine, of n values in these columns, as fkmi_point_normalise. */
bool fkmi_list_normalise(const struct fkmi_space *space, const int32_t *index, int64_t n, double *values);

#endif
