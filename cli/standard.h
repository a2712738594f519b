/* standard.h — (x - mean) / deviation for each feature: measured once, kept in the model, applied ever after.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_CLI_STANDARD_H
#define FKM_CLI_STANDARD_H

#include "fastkmeans/fastkmeans.h"
#include "text.h"

struct standard {
    int64_t n; /* features; 0: rows are taken as they are */
    double *mean, *deviation;
    double *square, *weight; /* while measuring: sum of squared differences, mass (one per feature) */
};
/* Takes the rows of a dense batch into account (missing entries aside). */
void standard_measure(struct standard *standard, const fkm_batch *batch);
/* Turns sums into deviations; a feature that never changes gets deviation 1. */
void standard_finish(struct standard *standard);
/* x: n_rows x n, packed, changed in place. */
void standard_apply(const struct standard *standard, void *x, fkm_dtype dtype, int64_t n_rows);
void standard_free(struct standard *standard);

/* As text: "[1.5, 2, ...]". */
char *standard_text(const double *values, int64_t n);
bool standard_read(struct standard *standard, const char *mean, const char *deviation);

/* A source that hands out the rows of `inner` standardized; both the standard and inner are borrowed. *sparse
 * becomes true when a batch could not be: its rows are sparse. */
fkm_status standard_source(fkm_source *inner, const struct standard *standard, bool *sparse,
                           fkm_source **out);

#endif
