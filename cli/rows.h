/* rows.h — all rows of an input in memory, dense or CSR.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_CLI_ROWS_H
#define FKM_CLI_ROWS_H

#include "input.h"

struct array {
    void *bytes;
    int64_t n, capacity; /* elements */
};
struct rows {
    int64_t n, n_cols, n_tags, n_targets;
    fkm_dtype dtype;
    bool sparse;
    struct array x, mask;                 /* dense */
    struct array values, indptr, indices; /* CSR */
    struct array weight, labels, tag_indptr, tags, targets;
};
/* Reads to the end; fails when more than limit bytes would be held (0: no limit) or there are no rows. */
int rows_load(struct rows *rows, struct input *input, size_t limit);
/* The rows as one batch, borrowed. */
fkm_batch rows_batch(const struct rows *rows);
size_t rows_bytes(const struct rows *rows);
void rows_free(struct rows *rows);

#endif
