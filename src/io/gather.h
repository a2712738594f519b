/* gather.h — rows read from text, gathered into the batch that a source hands out.
 *
 * Memory grows with the rows of a batch and is kept for the next one. A row that turns out bad halfway is
 * dropped by not being ended.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_IO_GATHER_H
#define FKMI_IO_GATHER_H

#include <stdbool.h>

#include "base/error.h"

struct fkmi_gather {
    /* what a row has; fixed before the first row */
    int64_t n_cols, n_targets;
    fkm_dtype dtype; /* float32 or float64 */
    bool sparse, labelled, tagged, weighted;

    int64_t n_rows, room;
    int64_t begun;                /* rows after n_rows that are being filled */
    int64_t n_values, value_room; /* CSR: entries of all rows, the begun one included */
    int64_t n_tags, tag_room;
    void *values;     /* dense: room x n_cols; CSR: value_room */
    int32_t *indices; /* CSR */
    int64_t *indptr;
    float *mask; /* room x n_cols, once this batch misses a value */
    int64_t mask_room;
    bool masked;
    int64_t first_missed; /* row; INT64_MAX: none */
    float *weight;
    int64_t *labels;
    int64_t *tag_indptr;
    int32_t *tags;
    double *targets;
};
void fkmi_gather_restart(struct fkmi_gather *gather);
void fkmi_gather_free(struct fkmi_gather *gather);
/* Makes room for n rows (dense: values n_rows x n_cols on) and clears what they may leave out. */
fkm_status fkmi_gather_begin_rows(struct fkmi_gather *gather, int64_t n, int64_t max_rows);
/* Dense: column j of the i-th begun row has no value. */
fkm_status fkmi_gather_miss(struct fkmi_gather *gather, int64_t i, int64_t j);
/* CSR and tags: one more entry of the first begun row; *fits as fkmi_gather_put says. */
fkm_status fkmi_gather_entry(struct fkmi_gather *gather, int32_t index, double value, bool *fits);
fkm_status fkmi_gather_tag(struct fkmi_gather *gather, int32_t tag);
/* Ends the first begun row: sorts its entries and tags. False, with the number that comes twice, when one does. */
bool fkmi_gather_end_row(struct fkmi_gather *gather, int32_t *twice, bool *twice_is_tag);
/* Element i of a dtype array; false when the value is too large for the dtype. */
static inline bool fkmi_gather_put(void *values, fkm_dtype dtype, int64_t i, double value)
{
    float narrow;

    if (dtype == FKM_DTYPE_F64) {
        ((double *)values)[i] = value;
        return true;
    }
    narrow = (float)value;
    ((float *)values)[i] = narrow;
    return narrow - narrow == 0.0f; /* neither infinite nor NaN */
}
/* The rows so far as a batch that borrows from gather. n_tags: how many tags exist. */
void fkmi_gather_batch(const struct fkmi_gather *gather, int64_t n_tags, fkm_batch *batch);

#endif
