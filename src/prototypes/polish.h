/* polish.h — single rows change sides where both means would gain: Hartigan & Wong 1979.
 *
 * Lloyd stops where every row lies with its nearest mean. A row's own pull on its mean is then left out of
 * account: moving a row of weight u from a to b changes the sum of squares by d_b u n_b / (n_b + u) - d_a u
 * n_a / (n_a - u), which can be negative although d_a < d_b. Optima of this rule are fewer and better than
 * Lloyd's. SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_PROTOTYPES_POLISH_H
#define FKMI_PROTOTYPES_POLISH_H

#include "prototypes/cells.h"

/* Room for the two nearest prototypes of a block of rows. */
struct fkmi_pairs {
    int64_t block;
    int32_t *index;   /* 2 block */
    double *distance; /* 2 block */
};
/* Scans a block for them. */
fkm_status fkmi_pairs_scan(const struct fkmi_pairs *pairs, struct fkm_context *context,
                           const struct fkmi_rows *block, const struct fkmi_pack *pack);

/* One sweep over the rows in order, each between its own prototype and the nearest other one; the points are
 * the means of the cells. *moves: rows that changed sides. Squared euclidean distances, dense rows, no mask.
 * Costs about one pass, and of the cells the sums, which become the means as rows move. */
fkm_status fkmi_polish(struct fkm_context *context, const fkm_params *params, struct fkmi_state *state,
                       const struct fkmi_rows *rows, struct fkmi_cells *cells, const struct fkmi_pairs *pairs,
                       struct fkmi_pack **pack, int64_t *moves);

#endif
