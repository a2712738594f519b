/* soft.h — soft assignment: every prototype takes its share of every row. DESIGN.md section 9.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_PROTOTYPES_SOFT_H
#define FKMI_PROTOTYPES_SOFT_H

#include "prototypes/state.h"

struct fkmi_cells;

struct fkmi_soft_room { /* from an arena */
    int64_t block;      /* rows at once, so that block x k stays bounded */
    double *share;      /* block x k: distances, then shares times the row's weight */
    int32_t *owner;     /* k */
    char *rows;         /* n_threads x dim doubles */
};
fkm_status fkmi_soft_take(struct fkmi_soft_room *room, struct fkmi_arena *arena, struct fkm_context *context,
                          const struct fkmi_state *state, int64_t n);
/* Shares of one row in k prototypes: from distances to shares that sum to 1, in place. */
void fkmi_soft_shares(const fkm_params *params, double scale, const int32_t *owner, int32_t slot, int64_t k,
                      double *share);
/* Adds the shares of all rows to cells->pull; cells->index and cells->distance are known. scale: s. */
fkm_status fkmi_soft_gather(struct fkmi_soft_room *room, struct fkmi_cells *cells,
                            struct fkm_context *context, const fkm_params *params,
                            const struct fkmi_state *state, const struct fkmi_pack *pack,
                            const struct fkmi_rows *rows, const int32_t *slot, double scale);

#endif
