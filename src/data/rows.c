/* rows.c — checks a batch once, so that nothing behind it meets a NaN, a wrong width or a ragged row; and
 * loads single rows.
 *
 * The check is a full pass over the data on every call. It looks at bits: the magnitudes of floats are
 * ordered like their bit patterns, so "too large, infinite or NaN" is one integer comparison, which
 * vectorises. Only a block that fails it is looked at again, value by value.
 * SPDX-License-Identifier: Apache-2.0 */
#include "data/rows.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"

#define VALUES_PER_BLOCK 65536

/* ---- shape */

static fkm_status check_shape(const fkm_batch *batch, int64_t expected_dim)
{
    if (batch->struct_size != sizeof *batch)
        return fkmi_fail(FKM_EINVAL,
                         "batch.struct_size is %zu, this library expects %zu; begin with FKM_BATCH_INIT",
                         batch->struct_size, sizeof *batch);
    if (batch->n_rows < 1)
        return fkmi_fail(FKM_EINVAL, "batch has %lld rows", (long long)batch->n_rows);
    if (batch->n_cols < 1)
        return fkmi_fail(FKM_EINVAL, "batch has %lld columns", (long long)batch->n_cols);
    if (expected_dim > 0 && batch->n_cols != expected_dim)
        return fkmi_fail(FKM_EINVAL, "batch has %lld columns, the model expects %lld",
                         (long long)batch->n_cols, (long long)expected_dim);
    if ((unsigned)batch->dtype >= FKMI_N_DTYPES)
        return fkmi_fail(FKM_EINVAL, "batch.dtype is %d; valid: 0 to %d", (int)batch->dtype,
                         FKMI_N_DTYPES - 1);
    if (batch->x && (batch->values || batch->indptr || batch->indices))
        return fkmi_fail(FKM_EINVAL,
                         "batch has both dense rows (x) and sparse rows (values, indptr, indices)");
    if (!batch->x && !batch->indptr)
        return fkmi_fail(FKM_EINVAL,
                         "batch has neither dense rows (x) nor sparse rows (values, indptr, indices)");
    return FKM_OK;
}

static fkm_status check_dense_shape(const fkm_batch *batch)
{
    const int64_t stride = batch->row_stride ? batch->row_stride : batch->n_cols;

    if (stride < batch->n_cols)
        return fkmi_fail(FKM_EINVAL, "batch.row_stride is %lld, less than its %lld columns",
                         (long long)stride, (long long)batch->n_cols);
    if (stride > PTRDIFF_MAX / (int64_t)sizeof(double) / batch->n_rows)
        return fkmi_fail(FKM_EINVAL, "batch of %lld x %lld values is larger than memory",
                         (long long)batch->n_rows, (long long)stride);
    return FKM_OK;
}

static fkm_status check_sparse_shape(const fkm_batch *batch)
{
    const int64_t *indptr = batch->indptr;

    if (batch->n_cols > INT32_MAX)
        return fkmi_fail(FKM_EINVAL, "sparse rows have %lld columns; at most %d are possible",
                         (long long)batch->n_cols, INT32_MAX);
    if (batch->mask)
        return fkmi_fail(FKM_EUNSUPPORTED, "a mask needs dense rows; these are sparse");
    if (indptr[0] != 0)
        return fkmi_fail(FKM_EINVAL, "indptr[0] is %lld; it must be 0", (long long)indptr[0]);
    for (int64_t i = 0; i < batch->n_rows; i++)
        if (indptr[i + 1] < indptr[i])
            return fkmi_fail(FKM_EINVAL, "indptr[%lld] is %lld, less than the %lld before it",
                             (long long)i + 1, (long long)indptr[i + 1], (long long)indptr[i]);
    if (indptr[batch->n_rows] > 0 && (!batch->values || !batch->indices))
        return fkmi_fail(FKM_EINVAL, "sparse rows have %lld values, but %s is NULL",
                         (long long)indptr[batch->n_rows], batch->values ? "indices" : "values");
    return FKM_OK;
}

static fkm_status check_weight(const float *weight, int64_t n)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++) {
        if (!(weight[i] >= 0 && weight[i] <= 3.402823466e38f))
            return fkmi_fail(FKM_EINVAL, "weight of row %lld is %g; it must be >= 0 and finite", (long long)i,
                             (double)weight[i]);
        sum += (double)weight[i];
    }
    if (!(sum > 0))
        return fkmi_fail(FKM_EINVAL, "all %lld weights are 0", (long long)n);
    return FKM_OK;
}

/* ---- values: fast answers over a run of them */

/* True when a magnitude lies above `most` (of the same type, as bits). The difference of two numbers below
 * the sign bit borrows exactly when the second is larger. */
#define DEFINE_ANY_BEYOND(name, word, sign)                                                                  \
    static bool name(const void *values, int64_t n, word most)                                               \
    {                                                                                                        \
        word borrows = 0;                                                                                    \
                                                                                                             \
        for (int64_t j = 0; j < n; j++) {                                                                    \
            word bits;                                                                                       \
                                                                                                             \
            memcpy(&bits, (const char *)values + (size_t)j * sizeof bits, sizeof bits);                      \
            borrows = (word)(borrows | (word)(most - (word)(bits & (word) ~(sign))));                        \
        }                                                                                                    \
        return (borrows & (sign)) != 0;                                                                      \
    }
DEFINE_ANY_BEYOND(any_beyond_16, uint16_t, 0x8000u)
DEFINE_ANY_BEYOND(any_beyond_32, uint32_t, 0x80000000u)
DEFINE_ANY_BEYOND(any_beyond_64, uint64_t, 0x8000000000000000u)

static bool any_value_bad(const void *values, fkm_dtype dtype, int64_t n)
{
    const float most_float = (float)FKMI_MOST_VALUE;
    const double most_double = FKMI_MOST_VALUE;
    uint32_t most_32;
    uint64_t most_64;

    switch (dtype) {
    case FKM_DTYPE_F16:
        return any_beyond_16(values, n, 0x7bff); /* 65504: only infinities and NaN lie above */
    case FKM_DTYPE_BF16:
        return any_beyond_16(values, n, fkmi_bf16_of_f32(most_float));
    case FKM_DTYPE_F64:
        memcpy(&most_64, &most_double, sizeof most_64);
        return any_beyond_64(values, n, most_64);
    default:
        memcpy(&most_32, &most_float, sizeof most_32);
        return any_beyond_32(values, n, most_32);
    }
}

/* In [0, 1]: no sign, no borrow. True for -0 too, which a second look then accepts. */
static bool any_mask_bad(const float *mask, int64_t n)
{
    const uint32_t one = 0x3f800000u;
    uint32_t borrows = 0;

    for (int64_t j = 0; j < n; j++) {
        uint32_t bits;

        memcpy(&bits, mask + j, sizeof bits);
        borrows |= bits | (one - bits);
    }
    return (borrows & 0x80000000u) != 0;
}

/* ---- values: the whole batch */

struct check_job {
    const fkm_batch *batch;
    int64_t stride;
    fkm_missing missing;
    float *mask;   /* FKM_MISSING_MASK, second pass: receives the mask; else NULL */
    bool *has_nan; /* FKM_MISSING_MASK, first pass: one for each block */
    int64_t rows_per_block;
};

static const char *row_values(const struct check_job *job, int64_t row)
{
    const fkm_batch *batch = job->batch;

    return (const char *)batch->x + (size_t)(row * job->stride) * fkmi_dtype_size(batch->dtype);
}

static bool is_bad(double value) { return !(fabs(value) <= FKMI_MOST_VALUE); }

static fkm_status refuse_value(double value, int64_t row, int64_t column, const char *cure)
{
    if (isnan(value))
        return fkmi_fail(FKM_EINVAL, "row %lld, column %lld is NaN%s", (long long)row, (long long)column,
                         cure);
    if (isinf(value))
        return fkmi_fail(FKM_EINVAL, "row %lld, column %lld is infinite", (long long)row, (long long)column);
    return fkmi_fail(FKM_EINVAL, "row %lld, column %lld is %g; values beyond %g would overflow",
                     (long long)row, (long long)column, value, FKMI_MOST_VALUE);
}

static fkm_status check_mask(const fkm_batch *batch, int64_t begin, int64_t end)
{
    const int64_t n = batch->n_cols;

    if (any_mask_bad(batch->mask + begin * n, (end - begin) * n))
        for (int64_t at = begin * n; at < end * n; at++)
            if (!(batch->mask[at] >= 0.0f && batch->mask[at] <= 1.0f))
                return fkmi_fail(FKM_EINVAL, "mask of row %lld, column %lld is %g; it must be in [0, 1]",
                                 (long long)(at / n), (long long)(at % n), (double)batch->mask[at]);
    return FKM_OK;
}

/* A row with something in it: what the mask hides may be anything, and a NaN may be a missing value. */
static fkm_status check_row_closely(const struct check_job *job, int64_t row, bool *has_nan)
{
    const fkm_batch *batch = job->batch;
    const float *mask = batch->mask ? batch->mask + row * batch->n_cols : NULL;
    const char *values = row_values(job, row);

    for (int64_t j = 0; j < batch->n_cols; j++) {
        const double value = fkmi_dtype_get(values, batch->dtype, j);

        if (!is_bad(value) || (mask && mask[j] == 0.0f))
            continue;
        if (isnan(value) && job->missing == FKM_MISSING_MASK)
            *has_nan = true;
        else
            return refuse_value(value, row, j, "; mask missing values, or say missing='mask'");
    }
    return FKM_OK;
}

static fkm_status check_dense_rows(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct check_job *job = argument;
    const fkm_batch *batch = job->batch;
    const bool dense = job->stride == batch->n_cols;
    bool has_nan = false;

    (void)thread;
    if (batch->mask)
        FKMI_TRY(check_mask(batch, begin, end));
    if (dense && !any_value_bad(row_values(job, begin), batch->dtype, (end - begin) * batch->n_cols))
        return FKM_OK;
    for (int64_t row = begin; row < end; row++)
        if (any_value_bad(row_values(job, row), batch->dtype, batch->n_cols))
            FKMI_TRY(check_row_closely(job, row, &has_nan));
    if (has_nan)
        job->has_nan[begin / job->rows_per_block] = true;
    return FKM_OK;
}

static fkm_status mask_missing(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct check_job *job = argument;
    const fkm_batch *batch = job->batch;

    (void)thread;
    for (int64_t row = begin; row < end; row++) {
        const char *values = row_values(job, row);
        float *mask = job->mask + row * batch->n_cols;

        for (int64_t j = 0; j < batch->n_cols; j++) {
            const float given = batch->mask ? batch->mask[row * batch->n_cols + j] : 1.0f;

            mask[j] = isnan(fkmi_dtype_get(values, batch->dtype, j)) ? 0.0f : given;
        }
    }
    return FKM_OK;
}

static fkm_status check_sparse_rows(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct check_job *job = argument;
    const fkm_batch *batch = job->batch;
    const int64_t first = batch->indptr[begin], last = batch->indptr[end];
    const bool bad_values = last > first && any_value_bad((const char *)batch->values +
                                                              (size_t)first * fkmi_dtype_size(batch->dtype),
                                                          batch->dtype, last - first);

    (void)thread;
    for (int64_t row = begin; row < end; row++) {
        int64_t before = -1;

        for (int64_t at = batch->indptr[row]; at < batch->indptr[row + 1]; at++) {
            const int64_t column = batch->indices[at];
            const double value = bad_values ? fkmi_dtype_get(batch->values, batch->dtype, at) : 0.0;

            if (column < 0 || column >= batch->n_cols)
                return fkmi_fail(FKM_EINVAL, "row %lld has column %lld; columns are 0 to %lld",
                                 (long long)row, (long long)column, (long long)batch->n_cols - 1);
            if (column <= before)
                return fkmi_fail(FKM_EINVAL, "row %lld has column %lld after %lld; columns must ascend",
                                 (long long)row, (long long)column, (long long)before);
            if (is_bad(value))
                return refuse_value(value, row, column, "; a missing value needs dense rows and a mask");
            before = column;
        }
    }
    return FKM_OK;
}

static int64_t rows_per_block(int64_t values_per_row)
{
    return values_per_row >= VALUES_PER_BLOCK ? 1
                                              : VALUES_PER_BLOCK / (values_per_row > 0 ? values_per_row : 1);
}

static fkm_status check_sparse(const fkm_batch *batch, struct fkmi_pool *pool)
{
    struct check_job job = {.batch = batch};
    const int64_t mean = batch->indptr[batch->n_rows] / batch->n_rows + 1;

    return fkmi_parallel(pool, batch->n_rows, rows_per_block(mean), check_sparse_rows, &job);
}

static fkm_status check_dense(const fkm_batch *batch, fkm_missing missing, struct fkmi_pool *pool,
                              float **owned_mask)
{
    struct check_job job = {.batch = batch,
                            .stride = batch->row_stride ? batch->row_stride : batch->n_cols,
                            .missing = missing,
                            .rows_per_block = rows_per_block(batch->n_cols)};
    const int64_t n_blocks = (batch->n_rows - 1) / job.rows_per_block + 1;
    bool has_nan = false;
    fkm_status status = FKM_OK;

    if (missing == FKM_MISSING_MASK)
        FKMI_TRY_GOTO(fkmi_alloc(&job.has_nan, n_blocks, sizeof *job.has_nan));
    FKMI_TRY_GOTO(fkmi_parallel(pool, batch->n_rows, job.rows_per_block, check_dense_rows, &job));
    for (int64_t block = 0; missing == FKM_MISSING_MASK && block < n_blocks; block++)
        has_nan = has_nan || job.has_nan[block];
    if (has_nan) {
        FKMI_TRY_GOTO(fkmi_alloc(&job.mask, batch->n_rows * batch->n_cols, sizeof *job.mask));
        FKMI_TRY_GOTO(fkmi_parallel(pool, batch->n_rows, job.rows_per_block, mask_missing, &job));
        *owned_mask = job.mask;
        job.mask = NULL;
    }
done:
    fkmi_free(job.has_nan);
    fkmi_free(job.mask);
    return status;
}

fkm_status fkmi_rows_check(struct fkmi_rows *rows, const fkm_batch *batch, int64_t expected_dim,
                           fkm_missing missing, struct fkmi_pool *pool, float **owned_mask)
{
    *rows = (struct fkmi_rows){0};
    *owned_mask = NULL;
    if (!batch)
        return fkmi_fail(FKM_EINVAL, "batch is NULL");
    FKMI_TRY(check_shape(batch, expected_dim));
    FKMI_TRY(batch->x ? check_dense_shape(batch) : check_sparse_shape(batch));
    if (batch->weight)
        FKMI_TRY(check_weight(batch->weight, batch->n_rows));
    FKMI_TRY(batch->x ? check_dense(batch, missing, pool, owned_mask) : check_sparse(batch, pool));
    *rows = (struct fkmi_rows){
        .n = batch->n_rows,
        .dim = batch->n_cols,
        .dtype = batch->dtype,
        .x = batch->x,
        .stride = batch->row_stride ? batch->row_stride : batch->n_cols,
        .values = batch->values,
        .indptr = batch->indptr,
        .indices = batch->indices,
        .mask = *owned_mask ? *owned_mask : batch->mask,
        .weight = batch->weight,
    };
    return FKM_OK;
}

/* ---- views */

struct fkmi_rows fkmi_rows_pick(const struct fkmi_rows *base, const int64_t *order, int64_t n)
{
    struct fkmi_rows picked = *base;

    assert(!base->order);
    picked.order = order;
    picked.n = n;
    return picked;
}

struct fkmi_rows fkmi_rows_slice(const struct fkmi_rows *rows, int64_t begin, int64_t n)
{
    struct fkmi_rows slice = *rows;

    assert(begin >= 0 && n >= 0 && begin + n <= rows->n);
    slice.n = n;
    if (rows->order) {
        slice.order = rows->order + begin;
        return slice;
    }
    if (rows->x)
        slice.x = (const char *)rows->x + (size_t)(begin * rows->stride) * fkmi_dtype_size(rows->dtype);
    else
        slice.indptr = rows->indptr + begin; /* it still counts from the first value of the batch */
    if (rows->mask)
        slice.mask = rows->mask + begin * rows->dim;
    if (rows->weight)
        slice.weight = rows->weight + begin;
    return slice;
}

/* ---- single rows */

/* The row as fkmi_row_load gives it, but for its length. Each type of value and of real gets its own loop. */
#define WIDEN(real, TYPE, CONVERT)                                                                           \
    do {                                                                                                     \
        const TYPE *values = from;                                                                           \
        for (int64_t j = 0; j < n; j++)                                                                      \
            ((real *)out)[indices ? indices[j] : j] = (real)CONVERT(values[j]);                              \
    } while (0)
#define WIDEN_ANY(real)                                                                                      \
    switch (dtype) {                                                                                         \
    case FKM_DTYPE_F16:                                                                                      \
        WIDEN(real, uint16_t, fkmi_f32_of_f16);                                                              \
        break;                                                                                               \
    case FKM_DTYPE_BF16:                                                                                     \
        WIDEN(real, uint16_t, fkmi_f32_of_bf16);                                                             \
        break;                                                                                               \
    case FKM_DTYPE_F64:                                                                                      \
        WIDEN(real, double, );                                                                               \
        break;                                                                                               \
    default:                                                                                                 \
        WIDEN(real, float, );                                                                                \
        break;                                                                                               \
    }

static void widen_f32(const void *from, fkm_dtype dtype, const int32_t *indices, int64_t n, void *out)
{
    WIDEN_ANY(float)
}

static void widen_f64(const void *from, fkm_dtype dtype, const int32_t *indices, int64_t n, void *out)
{
    WIDEN_ANY(double)
}

static const float *mask_of(const struct fkmi_rows *rows, int64_t row)
{
    return rows->mask ? rows->mask + row * rows->dim : NULL;
}

static void scale_row(void *out, enum fkmi_real real, int64_t n, double scale)
{
    for (int64_t j = 0; j < n; j++)
        if (real == FKMI_REAL_F64)
            ((double *)out)[j] *= scale;
        else
            ((float *)out)[j] = (float)((double)((float *)out)[j] * scale);
}

void fkmi_row_load(const struct fkmi_rows *rows, const struct fkmi_space *space, int64_t i, void *out)
{
    const int64_t row = fkmi_row(rows, i);
    const size_t size = fkmi_dtype_size(rows->dtype);
    const float *mask = mask_of(rows, row);
    const void *from;
    const int32_t *indices = NULL;
    int64_t n = rows->dim;

    if (fkmi_rows_sparse(rows)) {
        const int64_t first = rows->indptr[row];

        n = rows->indptr[row + 1] - first;
        memset(out, 0, (size_t)rows->dim * fkmi_real_size(space->real));
        if (n == 0)
            return;
        indices = rows->indices + first;
        from = (const char *)rows->values + (size_t)first * size;
    } else
        from = (const char *)rows->x + (size_t)(row * rows->stride) * size;

    if (space->real == FKMI_REAL_F64)
        widen_f64(from, rows->dtype, indices, n, out);
    else
        widen_f32(from, rows->dtype, indices, n, out);
    for (int64_t j = 0; mask && j < n; j++)
        if (mask[j] == 0.0f) {
            if (space->real == FKMI_REAL_F64)
                ((double *)out)[j] = 0;
            else
                ((float *)out)[j] = 0;
        }
    if (space->metric == FKM_METRIC_COSINE)
        scale_row(out, space->real, rows->dim, fkmi_row_scale(rows, space, i));
}

double fkmi_row_active(const struct fkmi_rows *rows, const struct fkmi_space *space, int64_t i, void *out,
                       bool *present)
{
    const float *mask = mask_of(rows, fkmi_row(rows, i));
    const double *weights = space->feature_weights;
    double sum = 0;

    *present = mask || weights;
    if (!*present)
        return 1.0;
    for (int64_t j = 0; j < rows->dim; j++) {
        const double active = (weights ? weights[j] : 1.0) * (mask ? (double)mask[j] : 1.0);

        sum += active;
        if (space->real == FKMI_REAL_F64)
            ((double *)out)[j] = active;
        else
            ((float *)out)[j] = (float)active;
    }
    return sum > 0 ? (double)rows->dim / sum : 0.0;
}

double fkmi_row_scale(const struct fkmi_rows *rows, const struct fkmi_space *space, int64_t i)
{
    const int64_t row = fkmi_row(rows, i);
    const float *mask = mask_of(rows, row);
    const double *weights = space->feature_weights;
    const bool sparse = fkmi_rows_sparse(rows);
    const int64_t first = sparse ? rows->indptr[row] : row * rows->stride;
    const int64_t n = sparse ? rows->indptr[row + 1] - first : rows->dim;
    const double least = space->real == FKMI_REAL_F64 ? 0.0 : 0x1p-252; /* below, 1 / norm is no float */
    double sum = 0;

    if (space->metric != FKM_METRIC_COSINE)
        return 1.0;
    for (int64_t j = 0; j < n; j++) {
        const int64_t column = sparse ? rows->indices[first + j] : j;
        const double value = fkmi_dtype_get(sparse ? rows->values : rows->x, rows->dtype, first + j);

        if (!mask || mask[column] > 0.0f)
            sum += (weights ? weights[column] : 1.0) * (mask ? (double)mask[column] : 1.0) * value * value;
    }
    return sum > least ? 1.0 / sqrt(sum) : 0.0;
}

double fkmi_row_length(const struct fkmi_rows *rows, const struct fkmi_space *space, int64_t i)
{
    const float *mask = mask_of(rows, fkmi_row(rows, i));
    const double *weights = space->feature_weights;
    double sum = 0;

    if (space->metric != FKM_METRIC_COSINE || !mask)
        return 1.0;
    for (int64_t j = 0; j < rows->dim; j++)
        sum += (weights ? weights[j] : 1.0) * (double)mask[j];
    return sqrt(sum / (double)rows->dim);
}
