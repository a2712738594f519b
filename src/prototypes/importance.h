/* importance.h — ANOVA feature weights: how little a feature varies inside classes.
 * Welford's running moments per class, merged by Chan, Golub & LeVeque 1979.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_PROTOTYPES_IMPORTANCE_H
#define FKMI_PROTOTYPES_IMPORTANCE_H

#include "backends/backend.h"

struct fkmi_importance { /* zeroed: nothing seen */
    int64_t dim, n_classes, class_capacity;
    double *count, *mean,
        *m2; /* n_classes x dim: weight seen (masks make it per coordinate), mean, sum of squares */
};
void fkmi_importance_free(struct fkmi_importance *importance);
fkm_status fkmi_importance_copy(struct fkmi_importance *out, const struct fkmi_importance *importance);
/* Adds the rows of the view, each to the statistics of its slot (0 .. n_classes - 1; -1: skipped). On failure
 * as it was. CSR rows count their zeros, in O(nnz + n_classes dim). */
fkm_status fkmi_importance_add(struct fkm_context *context, struct fkmi_importance *importance,
                               const struct fkmi_rows *rows, const int32_t *slot, int64_t n_classes);
/* w = max(1e-3, 1 - V_w / V_t), scaled to sum dim, into weights (dim); all ones when nothing was seen. */
void fkmi_importance_weights(const struct fkmi_importance *importance, double *weights);

#endif
