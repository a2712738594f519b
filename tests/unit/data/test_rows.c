/* test_rows.c — every way a batch can be wrong is named; views and single rows are what plain loops say.
 * SPDX-License-Identifier: Apache-2.0 */
#include "data/rows.h"

#include <float.h>

#include "base/memory.h"
#include "base/random.h"
#include "support/test.h"

static fkm_status check_as(const fkm_batch *batch, int64_t dim, fkm_missing missing)
{
    struct fkmi_rows rows;
    float *mask;
    const fkm_status status = fkmi_rows_check(&rows, batch, dim, missing, NULL, &mask);

    fkmi_free(mask);
    return status;
}

static void check_refused(const fkm_batch *batch, const char *message)
{
    CHECK_STATUS(FKM_EINVAL, check_as(batch, 0, FKM_MISSING_ERROR));
    CHECK_TEXT(message, fkm_last_error());
}

static fkm_batch dense(int64_t n, int64_t dim, const float *x)
{
    fkm_batch batch = FKM_BATCH_INIT;

    batch.n_rows = n;
    batch.n_cols = dim;
    batch.x = x;
    return batch;
}

static fkm_batch sparse(int64_t n, int64_t dim, const float *values, const int64_t *indptr,
                        const int32_t *indices)
{
    fkm_batch batch = FKM_BATCH_INIT;

    batch.n_rows = n;
    batch.n_cols = dim;
    batch.values = values;
    batch.indptr = indptr;
    batch.indices = indices;
    return batch;
}

static const float six[] = {1, 2, 3, 4, 5, 6};
static const int64_t starts[] = {0, 2, 2, 3};
static const int32_t columns[] = {0, 3, 1};

TEST(wrong_shapes_are_named)
{
    fkm_batch batch = dense(2, 3, six);

    CHECK_OK(check_as(&batch, 0, FKM_MISSING_ERROR));
    CHECK_OK(check_as(&batch, 3, FKM_MISSING_ERROR));
    CHECK_STATUS(FKM_EINVAL, check_as(&batch, 10, FKM_MISSING_ERROR));
    CHECK_TEXT("batch has 3 columns, the model expects 10", fkm_last_error());
    CHECK_STATUS(FKM_EINVAL, check_as(NULL, 0, FKM_MISSING_ERROR));
    batch.n_rows = 0;
    check_refused(&batch, "batch has 0 rows");
    batch.n_rows = -5;
    check_refused(&batch, "batch has -5 rows");
    batch = dense(2, 0, six);
    check_refused(&batch, "batch has 0 columns");
    batch = dense(2, 3, NULL);
    check_refused(&batch, "batch has neither dense rows (x) nor sparse rows (values, indptr, indices)");
    batch = dense(2, 3, six);
    batch.indptr = starts;
    check_refused(&batch, "batch has both dense rows (x) and sparse rows (values, indptr, indices)");
    batch = dense(2, 3, six);
    batch.row_stride = 2;
    check_refused(&batch, "batch.row_stride is 2, less than its 3 columns");
    batch = dense(2, 3, six);
    batch.row_stride = -3;
    CHECK_STATUS(FKM_EINVAL, check_as(&batch, 0, FKM_MISSING_ERROR));
    batch = dense(2, 3, six);
    batch.dtype = (fkm_dtype)9;
    check_refused(&batch, "batch.dtype is 9; valid: 0 to 3");
    batch = dense(INT64_MAX / 4, INT64_MAX / 4, six);
    CHECK_STATUS(FKM_EINVAL, check_as(&batch, 0, FKM_MISSING_ERROR));
    CHECK_SAYS("larger than memory", fkm_last_error());
    batch = dense(2, 3, six);
    batch.struct_size = 16;
    CHECK_STATUS(FKM_EINVAL, check_as(&batch, 0, FKM_MISSING_ERROR));
    CHECK_SAYS("batch.struct_size is 16", fkm_last_error());
}

TEST(wrong_weights_and_masks_are_named)
{
    fkm_batch batch = dense(2, 3, six);
    float weight[] = {1, -0.5f}, mask[] = {0, 1, 0.5f, -0.0f, 1, 1};

    batch.weight = weight;
    check_refused(&batch, "weight of row 1 is -0.5; it must be >= 0 and finite");
    weight[1] = NAN;
    check_refused(&batch, "weight of row 1 is nan; it must be >= 0 and finite");
    weight[1] = INFINITY;
    CHECK_STATUS(FKM_EINVAL, check_as(&batch, 0, FKM_MISSING_ERROR));
    weight[0] = weight[1] = 0;
    check_refused(&batch, "all 2 weights are 0");
    weight[1] = 3;
    batch.mask = mask;
    CHECK_OK(check_as(&batch, 0, FKM_MISSING_ERROR));
    mask[4] = 1.5f;
    check_refused(&batch, "mask of row 1, column 1 is 1.5; it must be in [0, 1]");
    mask[4] = NAN;
    check_refused(&batch, "mask of row 1, column 1 is nan; it must be in [0, 1]");
    mask[4] = -0.25f;
    check_refused(&batch, "mask of row 1, column 1 is -0.25; it must be in [0, 1]");
}

TEST(values_that_are_no_numbers_are_named)
{
    float x[] = {1, 2, 3, 4, NAN, 6}, mask[] = {1, 1, 1, 1, 0, 1};
    fkm_batch batch = dense(2, 3, x);

    check_refused(&batch, "row 1, column 1 is NaN; mask missing values, or say missing='mask'");
    x[4] = -INFINITY;
    check_refused(&batch, "row 1, column 1 is infinite");
    CHECK_STATUS(FKM_EINVAL, check_as(&batch, 0, FKM_MISSING_MASK)); /* infinite is not missing */
    x[4] = 1e19f;
    CHECK_STATUS(FKM_EINVAL, check_as(&batch, 0, FKM_MISSING_ERROR));
    CHECK_SAYS("row 1, column 1 is 1e+19; values beyond 1.15292e+18 would overflow", fkm_last_error());
    batch.mask = mask; /* what is masked may be anything */
    CHECK_OK(check_as(&batch, 0, FKM_MISSING_ERROR));
    x[4] = NAN;
    CHECK_OK(check_as(&batch, 0, FKM_MISSING_ERROR));
    mask[4] = 0.001f;
    CHECK_STATUS(FKM_EINVAL, check_as(&batch, 0, FKM_MISSING_ERROR));
}

/* Any place, dtype, width and stride: one bad value is found, and named; without it nothing is. */
TEST(one_bad_value_is_found_wherever_it_is)
{
    static const double bad[] = {NAN, INFINITY, -INFINITY, 0x1p61, -0x1p61};
    static const fkm_dtype dtypes[] = {FKM_DTYPE_F32, FKM_DTYPE_F16, FKM_DTYPE_BF16, FKM_DTYPE_F64};
    struct fkmi_random random = fkmi_random_from(1);
    struct fkmi_pool *pool;
    double *x;

    CHECK_OK(fkmi_pool_create(3, &pool));
    CHECK_OK(fkmi_alloc(&x, 210000, sizeof *x));
    for (int round = 0; round < 400; round++) {
        const fkm_dtype dtype = dtypes[round % 4];
        const int64_t n = 1 + fkmi_random_below(&random, round < 300 ? 40 : 3000);
        const int64_t dim = 1 + fkmi_random_below(&random, 65),
                      stride = dim + fkmi_random_below(&random, 2) * 3;
        const int64_t row = fkmi_random_below(&random, n), column = fkmi_random_below(&random, dim);
        fkm_batch batch = dense(n, dim, (const float *)x);
        struct fkmi_rows rows;
        float *mask;
        char expected[64];

        for (int64_t i = 0; i < n * stride; i++) /* what lies between rows is not looked at */
            fkmi_dtype_set(x, dtype, i, i % stride < dim ? (i % 7 == 0 ? -60000 : 60000) : (double)NAN);
        batch.dtype = dtype;
        batch.row_stride = stride;
        CHECK_OK(fkmi_rows_check(&rows, &batch, dim, FKM_MISSING_MASK, pool, &mask));
        CHECK(!mask);
        CHECK_INT(stride, rows.stride);
        fkmi_dtype_set(x, dtype, row * stride + column, bad[round % 5]); /* 2^61 is infinite as f16 */
        CHECK_STATUS(FKM_EINVAL, fkmi_rows_check(&rows, &batch, dim, FKM_MISSING_ERROR, pool, &mask));
        snprintf(expected, sizeof expected, "row %lld, column %lld is ", (long long)row, (long long)column);
        CHECK_SAYS(expected, fkm_last_error());
        CHECK(!mask);
    }
    fkmi_free(x);
    fkmi_pool_free(pool);
}

TEST(the_largest_values_allowed_pass)
{
    const float x[] = {0x1p60f, -0x1p60f, -0.0f, FLT_MIN, 0x1p-149f, 0};
    const double y[] = {0x1p60, -0x1p60, 0x1p-1074, 0x1.0000000000001p60};
    fkm_batch batch = dense(2, 3, x);

    CHECK_OK(check_as(&batch, 0, FKM_MISSING_ERROR));
    batch = dense(1, 3, NULL);
    batch.x = y;
    batch.dtype = FKM_DTYPE_F64;
    CHECK_OK(check_as(&batch, 0, FKM_MISSING_ERROR));
    batch.n_cols = 4;
    CHECK_STATUS(FKM_EINVAL, check_as(&batch, 0, FKM_MISSING_ERROR));
}

TEST(the_first_of_many_bad_values_is_named_for_any_number_of_threads)
{
    enum { N = 20000, D = 10 };
    float *x;

    CHECK_OK(fkmi_alloc(&x, N * D, sizeof *x));
    for (int64_t i = 77777; i < N * D; i += 13)
        x[i] = NAN;
    for (int n_threads = 1; n_threads <= 4; n_threads++) {
        const fkm_batch batch = dense(N, D, x);
        struct fkmi_pool *pool;
        struct fkmi_rows rows;
        float *mask;

        CHECK_OK(fkmi_pool_create(n_threads, &pool));
        CHECK_STATUS(FKM_EINVAL, fkmi_rows_check(&rows, &batch, 0, FKM_MISSING_ERROR, pool, &mask));
        CHECK_SAYS("row 7777, column 7 is NaN", fkm_last_error());
        fkmi_pool_free(pool);
    }
    fkmi_free(x);
}

TEST(missing_values_become_a_mask)
{
    enum { N = 9000, D = 11 };
    const size_t before = fkmi_memory_held();
    struct fkmi_random random = fkmi_random_from(4);
    struct fkmi_pool *pool;
    struct fkmi_rows rows;
    float *x, *given, *mask;
    fkm_batch batch;

    CHECK_OK(fkmi_pool_create(2, &pool));
    CHECK_OK(fkmi_alloc(&x, N * D, sizeof *x));
    CHECK_OK(fkmi_alloc(&given, N * D, sizeof *given));
    for (int64_t i = 0; i < N * D; i++) {
        x[i] = fkmi_random_below(&random, 50) == 0 ? NAN : 1.0f;
        given[i] = (float)fkmi_random_below(&random, 3) / 2;
    }
    batch = dense(N, D, x);
    CHECK_OK(fkmi_rows_check(&rows, &batch, 0, FKM_MISSING_MASK, pool, &mask));
    CHECK(mask && rows.mask == mask);
    for (int64_t i = 0; i < N * D; i++)
        CHECK_NEAR(isnan(x[i]) ? 0 : 1, mask[i], 0);
    fkmi_free(mask);
    batch.mask = given;
    CHECK_OK(fkmi_rows_check(&rows, &batch, 0, FKM_MISSING_MASK, pool, &mask));
    CHECK(mask && rows.mask == mask);
    for (int64_t i = 0; i < N * D; i++)
        CHECK_NEAR(isnan(x[i]) ? 0.0f : given[i], mask[i], 0);
    fkmi_free(mask);
    for (int64_t i = 0; i < N * D; i++) /* all that is missing is masked already: no mask of our own */
        given[i] = isnan(x[i]) ? 0.0f : 1.0f;
    CHECK_OK(fkmi_rows_check(&rows, &batch, 0, FKM_MISSING_MASK, pool, &mask));
    CHECK(!mask && rows.mask == given);
    x[5] = INFINITY;
    given[5] = 1;
    CHECK_STATUS(FKM_EINVAL, fkmi_rows_check(&rows, &batch, 0, FKM_MISSING_MASK, pool, &mask));
    fkmi_memory_fail(1, 1);
    x[5] = NAN;
    CHECK_STATUS(FKM_ENOMEM, fkmi_rows_check(&rows, &batch, 0, FKM_MISSING_MASK, pool, &mask));
    fkmi_memory_fail(0, 0);
    CHECK(!mask);
    fkmi_free(x);
    fkmi_free(given);
    fkmi_pool_free(pool);
    CHECK_INT(before, fkmi_memory_held());
}

TEST(ragged_sparse_rows_are_named)
{
    float values[] = {1, 2, 3};
    int64_t indptr[] = {0, 2, 2, 3};
    int32_t indices[] = {0, 3, 1};
    const int64_t none[] = {0, 0, 0, 0};
    float mask[12] = {0};
    fkm_batch batch = sparse(3, 4, values, indptr, indices);

    CHECK_OK(check_as(&batch, 4, FKM_MISSING_ERROR));
    CHECK_STATUS(FKM_EINVAL, check_as(&batch, 5, FKM_MISSING_ERROR));
    indices[1] = 4;
    check_refused(&batch, "row 0 has column 4; columns are 0 to 3");
    indices[1] = -1;
    check_refused(&batch, "row 0 has column -1; columns are 0 to 3");
    indices[1] = 0;
    check_refused(&batch, "row 0 has column 0 after 0; columns must ascend");
    indices[0] = 2;
    indices[1] = 1;
    check_refused(&batch, "row 0 has column 1 after 2; columns must ascend");
    indices[0] = 0;
    indptr[2] = 1;
    check_refused(&batch, "indptr[2] is 1, less than the 2 before it");
    indptr[2] = 2;
    indptr[0] = 1;
    check_refused(&batch, "indptr[0] is 1; it must be 0");
    indptr[0] = 0;
    values[2] = NAN;
    check_refused(&batch, "row 2, column 1 is NaN; a missing value needs dense rows and a mask");
    values[2] = 1e30f;
    CHECK_STATUS(FKM_EINVAL, check_as(&batch, 0, FKM_MISSING_ERROR));
    CHECK_SAYS("row 2, column 1 is 1e+30", fkm_last_error());
    values[2] = 3;
    batch.mask = mask;
    CHECK_STATUS(FKM_EUNSUPPORTED, check_as(&batch, 0, FKM_MISSING_ERROR));
    CHECK_SAYS("a mask needs dense rows", fkm_last_error());
    batch.mask = NULL;
    batch.indices = NULL;
    check_refused(&batch, "sparse rows have 3 values, but indices is NULL");
    batch = sparse(3, 4, NULL, none, NULL); /* rows of zeros need no values */
    CHECK_OK(check_as(&batch, 0, FKM_MISSING_ERROR));
    batch = sparse(3, (int64_t)1 << 40, values, indptr, indices);
    CHECK_STATUS(FKM_EINVAL, check_as(&batch, 0, FKM_MISSING_ERROR));
}

TEST(views_pick_and_slice)
{
    static const int64_t order[] = {2, 0, 2, 1};
    const float x[] = {1, 2, 99, 3, 4, 99, 5, 6, 99}, weight[] = {1, 2, 3}, mask[] = {1, 0, 1, 1, 0, 1};
    const struct fkmi_space space = {.metric = FKM_METRIC_EUCLIDEAN, .dim = 2, .real = FKMI_REAL_F32};
    fkm_batch batch = dense(3, 2, x);
    struct fkmi_rows rows, picked, slice;
    float *owned, out[2];

    batch.row_stride = 3;
    batch.weight = weight;
    batch.mask = mask;
    CHECK_OK(fkmi_rows_check(&rows, &batch, 0, FKM_MISSING_ERROR, NULL, &owned));
    picked = fkmi_rows_pick(&rows, order, 4);
    CHECK_INT(4, picked.n);
    CHECK_NEAR(3, fkmi_row_weight(&picked, 0), 0);
    fkmi_row_load(&picked, &space, 0, out);
    CHECK_NEAR(0, out[0], 0);
    CHECK_NEAR(6, out[1], 0);
    fkmi_row_load(&picked, &space, 1, out);
    CHECK_NEAR(1, out[0], 0);
    CHECK_NEAR(0, out[1], 0);
    slice = fkmi_rows_slice(&picked, 2, 2);
    CHECK_INT(2, slice.n);
    CHECK_INT(1, fkmi_row(&slice, 1));
    CHECK_NEAR(2, fkmi_row_weight(&slice, 1), 0);
    slice = fkmi_rows_slice(&rows, 1, 2);
    CHECK_NEAR(3, fkmi_row_weight(&slice, 1), 0);
    fkmi_row_load(&slice, &space, 0, out);
    CHECK_NEAR(3, out[0], 0);
    CHECK_NEAR(4, out[1], 0);
    fkmi_row_load(&slice, &space, 1, out);
    CHECK_NEAR(0, out[0], 0);
    batch = sparse(3, 4, six, starts, columns);
    CHECK_OK(fkmi_rows_check(&rows, &batch, 0, FKM_MISSING_ERROR, NULL, &owned));
    slice = fkmi_rows_slice(&rows, 2, 1);
    CHECK(fkmi_rows_sparse(&slice));
    CHECK_NEAR(1, fkmi_row_weight(&slice, 0), 0);
    {
        float row[4];
        const struct fkmi_space wide = {.metric = FKM_METRIC_L1, .dim = 4, .real = FKMI_REAL_F32};

        fkmi_row_load(&slice, &wide, 0, row);
        CHECK(row[0] == 0 && row[1] == 3 && row[2] == 0 && row[3] == 0);
    }
}

/* What a row must look like, from the formulas, in doubles. */
static void expected_row(const double *x, const float *mask, const double *weights, bool cosine, int64_t dim,
                         double *out)
{
    double sum = 0;

    for (int64_t j = 0; j < dim; j++) {
        out[j] = mask && mask[j] == 0 ? 0 : x[j];
        sum += (weights ? weights[j] : 1) * (mask ? (double)mask[j] : 1) * out[j] * out[j];
    }
    for (int64_t j = 0; j < dim && cosine; j++)
        out[j] = sum > 0 ? out[j] / sqrt(sum) : 0;
}

static double get_real(const void *row, enum fkmi_real real, int64_t j)
{
    return fkmi_dtype_get(row, real == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32, j);
}

TEST(rows_are_loaded_as_the_formulas_say)
{
    enum { N = 5, MOST_DIM = 9 };
    static const fkm_dtype dtypes[] = {FKM_DTYPE_F32, FKM_DTYPE_F16, FKM_DTYPE_BF16, FKM_DTYPE_F64};
    struct fkmi_random random = fkmi_random_from(9);

    for (int round = 0; round < 64 * 20; round++) {
        const fkm_dtype dtype = dtypes[round & 3];
        const enum fkmi_real real = round & 4 ? FKMI_REAL_F64 : FKMI_REAL_F32;
        const bool cosine = round & 8, masked = round & 16, weighted = round & 32;
        const int64_t dim = 1 + fkmi_random_below(&random, MOST_DIM);
        double storage[N * MOST_DIM], weights[MOST_DIM], expected[MOST_DIM], out[MOST_DIM], x[MOST_DIM],
            active, sum;
        float mask[N * MOST_DIM], *owned;
        const struct fkmi_space space = {.metric = cosine ? FKM_METRIC_COSINE : FKM_METRIC_EUCLIDEAN,
                                         .dim = dim,
                                         .real = real,
                                         .feature_weights = weighted ? weights : NULL};
        const double tolerance = real == FKMI_REAL_F64 ? 1e-14 : 2e-7;
        fkm_batch batch = dense(N, dim, (const float *)storage);
        struct fkmi_rows rows;
        bool present;

        for (int64_t j = 0; j < N * dim; j++) {
            mask[j] = (float)fkmi_random_below(&random, 3) / 2;
            fkmi_dtype_set(storage, dtype, j,
                           masked && mask[j] == 0 ? (double)NAN
                           : j < dim              ? 0
                                                  : fkmi_random_normal(&random));
        }
        for (int64_t j = 0; j < dim; j++)
            weights[j] = fkmi_random_uniform(&random) + 0.1;
        batch.dtype = dtype;
        batch.mask = masked ? mask : NULL;
        CHECK_OK(fkmi_rows_check(&rows, &batch, dim, FKM_MISSING_ERROR, NULL, &owned));
        for (int64_t i = 0; i < N; i++) {
            for (int64_t j = 0; j < dim; j++)
                x[j] = fkmi_dtype_get(storage, dtype, i * dim + j);
            expected_row(x, masked ? mask + i * dim : NULL, weighted ? weights : NULL, cosine, dim, expected);
            fkmi_row_load(&rows, &space, i, out);
            for (int64_t j = 0; j < dim; j++)
                CHECK_NEAR(expected[j], get_real(out, real, j), tolerance * (1 + fabs(expected[j])));
            active = fkmi_row_active(&rows, &space, i, out, &present);
            CHECK(present == (masked || weighted));
            sum = 0;
            for (int64_t j = 0; j < dim && present; j++) {
                const double a = (weighted ? weights[j] : 1) * (masked ? (double)mask[i * dim + j] : 1);

                CHECK_NEAR(a, get_real(out, real, j), 2e-7);
                sum += a;
            }
            CHECK_NEAR(!present ? 1 : sum > 0 ? (double)dim / sum : 0, active, 1e-12 * active);
        }
    }
}

TEST(sparse_rows_are_loaded_and_scaled)
{
    const double weights[] = {2, 0.5, 1, 0.5};
    struct fkmi_space space = {.metric = FKM_METRIC_COSINE, .dim = 4, .real = FKMI_REAL_F64};
    const fkm_batch batch = sparse(3, 4, six, starts, columns);
    struct fkmi_rows rows;
    double out[4];
    float *owned;
    bool present;

    CHECK_OK(fkmi_rows_check(&rows, &batch, 0, FKM_MISSING_ERROR, NULL, &owned));
    CHECK_NEAR(1 / sqrt(5), fkmi_row_scale(&rows, &space, 0), 1e-15);
    CHECK_NEAR(0, fkmi_row_scale(&rows, &space, 1), 0);
    fkmi_row_load(&rows, &space, 0, out);
    CHECK_NEAR(1 / sqrt(5), out[0], 1e-15);
    CHECK_NEAR(2 / sqrt(5), out[3], 1e-15);
    CHECK(out[1] == 0 && out[2] == 0);
    fkmi_row_load(&rows, &space, 1, out);
    CHECK(out[0] == 0 && out[3] == 0);
    CHECK_NEAR(1, fkmi_row_active(&rows, &space, 0, out, &present), 0);
    CHECK(!present);
    space.feature_weights = weights;
    CHECK_NEAR(1 / sqrt(2 * 1 + 0.5 * 4), fkmi_row_scale(&rows, &space, 0), 1e-15);
    CHECK_NEAR(1, fkmi_row_active(&rows, &space, 0, out, &present), 1e-15);
    CHECK(present);
    CHECK_NEAR(2, out[0], 0);
    space.metric = FKM_METRIC_L1;
    CHECK_NEAR(1, fkmi_row_scale(&rows, &space, 0), 0);
}

TEST(what_a_mask_leaves_of_a_row_has_its_share_of_the_length)
{
    const float x[] = {1, 1, 1, 1, 1, 1, 1, 1}, mask[] = {1, 1, 1, 1, 1, 0.5f, 0, 0};
    const double weights[] = {2, 1, 0.5, 0.5};
    fkm_batch batch = dense(2, 4, x);
    struct fkmi_space space = {.metric = FKM_METRIC_COSINE, .dim = 4, .real = FKMI_REAL_F64};
    struct fkmi_rows rows;
    float *owned;

    CHECK_OK(fkmi_rows_check(&rows, &batch, 0, FKM_MISSING_ERROR, NULL, &owned));
    CHECK_NEAR(1, fkmi_row_length(&rows, &space, 1), 0);
    batch.mask = mask;
    CHECK_OK(fkmi_rows_check(&rows, &batch, 0, FKM_MISSING_ERROR, NULL, &owned));
    CHECK_NEAR(1, fkmi_row_length(&rows, &space, 0), 0);
    CHECK_NEAR(sqrt(1.5 / 4), fkmi_row_length(&rows, &space, 1), 1e-15);
    space.feature_weights = weights;
    CHECK_NEAR(1, fkmi_row_length(&rows, &space, 0), 1e-15);
    CHECK_NEAR(sqrt(2.5 / 4), fkmi_row_length(&rows, &space, 1), 1e-15);
    space.metric = FKM_METRIC_EUCLIDEAN;
    CHECK_NEAR(1, fkmi_row_length(&rows, &space, 1), 0);
}

TEST(a_row_too_short_to_scale_counts_as_zero)
{
    const float x[] = {0x1p-130f, 0, 0x1p-120f, 0};
    const fkm_batch batch = dense(2, 2, x);
    struct fkmi_space space = {.metric = FKM_METRIC_COSINE, .dim = 2, .real = FKMI_REAL_F32};
    struct fkmi_rows rows;
    float *owned, out[2];

    CHECK_OK(fkmi_rows_check(&rows, &batch, 0, FKM_MISSING_ERROR, NULL, &owned));
    CHECK_NEAR(0, fkmi_row_scale(&rows, &space, 0), 0);
    CHECK_NEAR(0x1p120, fkmi_row_scale(&rows, &space, 1), 0);
    fkmi_row_load(&rows, &space, 1, out);
    CHECK_NEAR(1, out[0], 0);
    space.real = FKMI_REAL_F64;
    CHECK_NEAR(0x1p130, fkmi_row_scale(&rows, &space, 0), 0);
}
