/* mean.h — the weighted mean row of a view.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_PROTOTYPES_MEAN_H
#define FKMI_PROTOTYPES_MEAN_H

#include "backends/backend.h"

/* The weighted mean of each coordinate over the rows that have it (dim doubles; 0 where none has). Rows count
 * as loaded: unit rows for cosine. */
fkm_status fkmi_mean_row(struct fkm_context *context, const struct fkmi_space *space,
                         const struct fkmi_rows *rows, double *mean);

#endif
