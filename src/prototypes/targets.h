/* targets.h — what a prototype of the regressor answers, from the rows assigned to it.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_PROTOTYPES_TARGETS_H
#define FKMI_PROTOTYPES_TARGETS_H

#include "prototypes/cells.h"

struct fkmi_cell_targets { /* from an arena */
    double *mean;          /* k x n_targets: as params->target_assignment asks */
    double *total;         /* k: weight behind it; 0: the prototype has no rows */
    double *nearest;       /* k: smallest distance of an assigned row */
};
fkm_status fkmi_cell_targets_take(struct fkmi_cell_targets *targets, struct fkmi_arena *arena,
                                  const struct fkmi_state *state);
/* hard: the nearest assigned row's; mean; scaled, softmax_scaled: means weighted by similarity or exp(-d /
 * tau) with tau of phase 1. values: rows of the batch x n_targets, by fkmi_row. scale: s. */
void fkmi_cell_targets_gather(struct fkmi_cell_targets *targets, const fkm_params *params,
                              const struct fkmi_state *state, const struct fkmi_cells *cells,
                              const struct fkmi_rows *rows, const double *values, double scale);

#endif
