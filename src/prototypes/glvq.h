/* glvq.h — generalised learning vector quantisation (Sato & Yamada 1996) in mini-batches.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_PROTOTYPES_GLVQ_H
#define FKMI_PROTOTYPES_GLVQ_H

#include "prototypes/cells.h"

/* Epochs of batch steps after Lloyd: the nearest own prototype towards the row, the nearest other one away
 * from it, both weighted by how much the row is in doubt. The step falls from 0.1 to 0. */
fkm_status fkmi_glvq(struct fkm_context *context, const fkm_params *params, struct fkmi_state *state,
                     const struct fkmi_rows *rows, const int32_t *slot, struct fkmi_random random);

#endif
