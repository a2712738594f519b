/* ema.h — what batches of a stream share, whether prototypes are points or lists.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_PROTOTYPES_EMA_H
#define FKMI_PROTOTYPES_EMA_H

#include "prototypes/targets.h"

/* The running mean distance, weighted by the mass behind it. */
void fkmi_ema_scale(struct fkmi_state *state, const struct fkmi_cells *cells, double mass_before);
/* Targets of prototype j, whose mass has grown, move towards those of its rows. */
void fkmi_ema_targets(struct fkmi_state *state, const struct fkmi_cells *cells,
                      const struct fkmi_cell_targets *targets, int64_t j);
/* fkmi_ema_batch of a state of lists (ema_lists.c). */
fkm_status fkmi_ema_lists(struct fkm_context *context, const fkm_params *params, struct fkmi_state *state,
                          struct fkmi_phase1 *work, const struct fkmi_rows *rows, const int32_t *slot,
                          const double *values, uint64_t noise_key, struct fkmi_moved *moved);

#endif
