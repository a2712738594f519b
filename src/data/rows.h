/* rows.h — a checked, borrowed view of a batch's rows; a view may pick and reorder rows without copying.
 *
 * Loading applies what every consumer needs: masked entries become 0 before anything touches them, cosine rows
 * become unit rows (under the active weights), values widen to the real type.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_DATA_ROWS_H
#define FKMI_DATA_ROWS_H

#include <stdbool.h>

#include "base/dtype.h"
#include "base/error.h"
#include "base/threads.h"

struct fkmi_rows {
    int64_t n, dim;
    const int64_t *order; /* row i of the view is row order[i] of the arrays below; NULL: i itself */
    fkm_dtype dtype;
    const void *x;      /* dense, or NULL */
    int64_t stride;     /* elements */
    const void *values; /* CSR, when x is NULL */
    const int64_t *indptr;
    const int32_t *indices;
    const float *mask;   /* rows x dim or NULL; row r at mask + r * dim */
    const float *weight; /* by row, or NULL */
};
static inline int64_t fkmi_row(const struct fkmi_rows *rows, int64_t i)
{
    return rows->order ? rows->order[i] : i;
}
static inline double fkmi_row_weight(const struct fkmi_rows *rows, int64_t i)
{
    return rows->weight ? (double)rows->weight[fkmi_row(rows, i)] : 1.0;
}
static inline bool fkmi_rows_sparse(const struct fkmi_rows *rows) { return rows->x == NULL; }

/* How distances are measured. */
struct fkmi_space {
    fkm_metric metric;
    int64_t dim;
    enum fkmi_real real;
    const double *feature_weights;    /* dim, summing to dim; NULL: all ones */
    const struct fkmi_tuning *tuning; /* how scans run fastest (backends/tuning.h); NULL: as they stand */
};

/* Values beyond are refused, in every dtype: distances square them and sum over columns in float, which ends at
 * 2^128. */
#define FKMI_MOST_VALUE 0x1p60

/* What a NaN means when a batch is checked. With FKM_MISSING_MASK the view gets a mask of its own: *owned_mask
 * (fkmi_free) is then set and combines batch->mask with the NaNs. */
fkm_status fkmi_rows_check(struct fkmi_rows *rows, const fkm_batch *batch, int64_t expected_dim /* 0: any */,
                           fkm_missing missing, struct fkmi_pool *pool, float **owned_mask);
/* A view of n rows chosen by `order` (indices into base, borrowed); base must have no order itself. */
struct fkmi_rows fkmi_rows_pick(const struct fkmi_rows *base, const int64_t *order, int64_t n);
/* Rows [begin, begin + n) of the view, again as a view. */
struct fkmi_rows fkmi_rows_slice(const struct fkmi_rows *rows, int64_t begin, int64_t n);

/* Row i densely into out (dim reals): widened, masked entries 0, unit length for cosine (norm under weights and
 * mask; an all-zero row stays 0). CSR rows are scattered: for the few places that need a dense row. */
void fkmi_row_load(const struct fkmi_rows *rows, const struct fkmi_space *space, int64_t i, void *out);
/* The active weights a = w * m of row i into out (dim reals); returns the factor dim / sum a, 0 when A = 0, and
 * writes nothing when neither weights nor mask exist (returns 1, *present = false). */
double fkmi_row_active(const struct fkmi_rows *rows, const struct fkmi_space *space, int64_t i, void *out,
                       bool *present);
/* 1 / norm of row i for cosine (0 for a zero row, and for a norm below 2^-126 in float), 1 for other metrics. */
double fkmi_row_scale(const struct fkmi_rows *rows, const struct fkmi_space *space, int64_t i);
/* The length that row i as loaded has in sums of rows: sqrt(A / D) for cosine with a mask, the part of a unit row
 * that is expected where the mask looks; else 1. */
double fkmi_row_length(const struct fkmi_rows *rows, const struct fkmi_space *space, int64_t i);

#endif
