/* accumulate.c — sums of the rows assigned to each prototype.
 *
 * Rows are grouped by prototype first (a counting sort, which keeps their order), so each sum has one
 * writer, needs no lock and adds in row order whatever the number of threads. Few prototypes are shared
 * out by columns as well.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "backends/cpu/cpu.h"
#include "base/interrupt.h"

#define COLUMNS_AT_LEAST   64   /* dense columns worth a piece of their own */
#define BYTES_AHEAD        8192 /* of rows fetched while one is added: what memory's latency asks for */
#define ROWS_TOGETHER      4    /* added in one pass over a sum */
#define COLUMNS_PER_SQUARE 256
#define ROWS_AT_ONCE       65536 /* grouped: so many, */
#define ROWS_PER_SUM       128   /* or so many for each prototype, so that reading sums again costs little */
#define VALUES_PER_CHECK   ((int64_t)1 << 22) /* added between two checks for an interrupt */

struct accumulate_job {
    const struct fkmi_rows *rows;
    const struct fkmi_space *space;
    const struct fkmi_kernels *kernels;
    const double *factor;
    const int64_t *begin;
    const int32_t *row; /* rows of the j-th prototype: row[begin[j] .. begin[j + 1]) */
    double *scale;      /* dense cosine without a mask: 1 / norm, by place in row; else NULL */
    int64_t columns_per_item, n_chunks;
    double *sum, *ages;
    char *scratch; /* by thread: some rows of reals */
    size_t scratch_per_thread;
};

static double weight_of(const struct accumulate_job *job, int64_t i)
{
    return fkmi_row_weight(job->rows, i) * (job->factor ? job->factor[i] : 1.0);
}

static const char *dense_row(const struct fkmi_rows *rows, int64_t i, int64_t column)
{
    return fkmi_dense_row(rows, i) + (size_t)column * fkmi_dtype_size(rows->dtype);
}

/* Rows job->row[first .. last) to sum j; first lies whole groups of ROWS_TOGETHER behind begin[j]. */
static void add_dense(const struct accumulate_job *job, int64_t j, int64_t first, int64_t last,
                      int64_t column, int64_t n, char *scratch)
{
    const struct fkmi_rows *rows = job->rows;
    const bool wide = rows->dtype == FKM_DTYPE_F64;
    /* rows that hold reals are added where they lie; f64 rows of an f32 model are seen as f32 */
    const bool in_place = wide ? job->space->real == FKMI_REAL_F64 : rows->dtype == FKM_DTYPE_F32;
    const struct fkmi_vector *vector =
        &job->kernels->vector[in_place && !wide ? FKMI_REAL_F32 : job->space->real];
    const int64_t row_bytes = n * (int64_t)fkmi_dtype_size(rows->dtype);
    const int64_t ahead = row_bytes * 32 < BYTES_AHEAD ? 32 : BYTES_AHEAD / row_bytes + 1;
    const void *x[ROWS_TOGETHER];
    double scale[ROWS_TOGETHER];

    for (int64_t at = first; at < last;) {
        int n_rows = 0;

        for (; n_rows < ROWS_TOGETHER && at < last; n_rows++, at++) {
            const int64_t i = job->row[at];

            if (at + ahead < last)
                fkmi_fetch(dense_row(rows, job->row[at + ahead], column),
                           (size_t)n * fkmi_dtype_size(rows->dtype));
            x[n_rows] = dense_row(rows, i, column);
            scale[n_rows] = weight_of(job, i) * (job->scale ? job->scale[at] : 1.0);
            if (!in_place) {
                char *loaded = scratch + (size_t)(n_rows * n) * fkmi_real_size(job->space->real);

                vector->load[rows->dtype](loaded, x[n_rows], n);
                x[n_rows] = loaded;
            }
        }
        vector->add_rows_f64(job->sum + j * rows->dim + column, x, scale, n_rows, n);
    }
}

static void add_masked(const struct accumulate_job *job, int64_t j, int64_t first, int64_t last,
                       char *scratch)
{
    const struct fkmi_rows *rows = job->rows;
    const struct fkmi_vector *vector = &job->kernels->vector[job->space->real];
    char *x = scratch, *m = scratch + job->scratch_per_thread / 2;

    for (int64_t at = first; at < last; at++) {
        const int64_t i = job->row[at];
        const double u = weight_of(job, i);

        fkmi_row_load(rows, job->space, i, x);
        vector->load[FKM_DTYPE_F32](m, rows->mask + fkmi_row(rows, i) * rows->dim, rows->dim);
        vector->transform(x, x, NULL, m, rows->dim);
        vector->add_f64(job->sum + j * rows->dim, x, u * fkmi_row_length(rows, job->space, i), rows->dim);
        if (job->ages)
            vector->add_f64(job->ages + j * rows->dim, m, u, rows->dim);
    }
}

static void add_sparse(const struct accumulate_job *job, int64_t j, int64_t first, int64_t last)
{
    const struct fkmi_rows *rows = job->rows;
    const bool narrow = job->space->real == FKMI_REAL_F32 && rows->dtype == FKM_DTYPE_F64;
    double *sum = job->sum + j * rows->dim;

    for (int64_t at = first; at < last; at++) {
        const int64_t i = job->row[at], row = fkmi_row(rows, i);
        const double scale = weight_of(job, i) * fkmi_row_scale(rows, job->space, i);

        for (int64_t e = rows->indptr[row]; e < rows->indptr[row + 1]; e++) {
            const double v = rows->dtype == FKM_DTYPE_F32 ? (double)((const float *)rows->values)[e]
                                                          : fkmi_dtype_get(rows->values, rows->dtype, e);
            sum[rows->indices[e]] += scale * (narrow ? (double)(float)v : v);
        }
    }
}

static fkm_status add_items(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct accumulate_job *job = argument;
    const int64_t dim = job->rows->dim, rows = (VALUES_PER_CHECK / dim / ROWS_TOGETHER + 1) * ROWS_TOGETHER;
    char *scratch = job->scratch + (size_t)thread * job->scratch_per_thread;

    for (int64_t item = begin; item < end; item++) {
        const int64_t j = item / job->n_chunks, column = item % job->n_chunks * job->columns_per_item;
        const int64_t n = dim - column < job->columns_per_item ? dim - column : job->columns_per_item;

        for (int64_t first = job->begin[j]; first < job->begin[j + 1]; first += rows) {
            const int64_t left = job->begin[j + 1] - first, last = first + (left < rows ? left : rows);

            FKMI_TRY(fkmi_check_interrupt());
            if (fkmi_rows_sparse(job->rows))
                add_sparse(job, j, first, last);
            else if (job->rows->mask)
                add_masked(job, j, first, last, scratch);
            else
                add_dense(job, j, first, last, column, n, scratch);
        }
        if (job->ages && !job->rows->mask) {
            double aged = 0;
            for (int64_t at = job->begin[j]; at < job->begin[j + 1]; at++)
                aged += weight_of(job, job->row[at]);
            for (int64_t d = column; d < column + n; d++)
                job->ages[j * dim + d] += aged;
        }
    }
    return FKM_OK;
}

/* 1 / norm of dense rows, as fkmi_row_scale gives it, in vectors. */
static fkm_status find_scales(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct accumulate_job *job = argument;
    const struct fkmi_vector *vector = &job->kernels->vector[FKMI_REAL_F64];
    const double *weights = job->space->feature_weights;
    double wide[COLUMNS_PER_SQUARE];

    (void)thread;
    for (int64_t at = begin; at < end; at++) {
        const int64_t i = job->row[at];
        double square = 0;

        for (int64_t d = 0; d < job->rows->dim; d += COLUMNS_PER_SQUARE) {
            const int64_t left = job->rows->dim - d,
                          n = left < COLUMNS_PER_SQUARE ? left : COLUMNS_PER_SQUARE;

            vector->load[job->rows->dtype](wide, dense_row(job->rows, i, d), n);
            square += vector->dot(wide, wide, weights ? weights + d : NULL, n);
        }
        job->scale[at] = square > 1e-30 ? 1 / sqrt(square) : fkmi_row_scale(job->rows, job->space, i);
    }
    return FKM_OK;
}

/* Groups rows by prototype and adds up their masses. */
static void group_rows(const struct accumulate_job *job, const int32_t *index, int64_t first, int64_t k,
                       int64_t *begin, int32_t *row, double *mass)
{
    memset(begin, 0, (size_t)(k + 2) * sizeof *begin);
    for (int64_t i = 0; i < job->rows->n; i++)
        if (index[i] >= first && index[i] < first + k)
            begin[index[i] - first + 2]++;
    for (int64_t j = 0; j < k; j++)
        begin[j + 2] += begin[j + 1];
    for (int64_t i = 0; i < job->rows->n;
         i++) /* begin[j + 1] walks from the first row of j to the first of j + 1 */
        if (index[i] >= first && index[i] < first + k) {
            row[begin[index[i] - first + 1]++] = (int32_t)i;
            mass[index[i] - first] += weight_of(job, i);
        }
}

static void cut_columns(struct accumulate_job *job, int64_t k, int n_threads)
{
    const int64_t dim = job->rows->dim, chunks = (2 * n_threads - 1) / k + 1,
                  columns = (dim - 1) / chunks + 1;

    job->columns_per_item = columns < COLUMNS_AT_LEAST
                                ? COLUMNS_AT_LEAST
                                : (columns + COLUMNS_AT_LEAST - 1) / COLUMNS_AT_LEAST * COLUMNS_AT_LEAST;
    job->n_chunks = (dim - 1) / job->columns_per_item + 1;
}

/* The bits do not depend on where rows and columns are cut. */
static fkm_status accumulate(struct fkm_context *context, const struct fkmi_rows *rows,
                             const struct fkmi_space *space, const int32_t *index, const double *factor,
                             int64_t first, int64_t k, double *sum, double *mass, double *ages)
{
    const int n_threads = fkmi_pool_threads_here(context->pool);
    const bool plain = !rows->mask && !fkmi_rows_sparse(rows),
               scaled = plain && space->metric == FKM_METRIC_COSINE;
    struct accumulate_job job = {.rows = rows,
                                 .space = space,
                                 .kernels = context->kernels,
                                 .factor = factor,
                                 .columns_per_item = rows->dim,
                                 .n_chunks = 1,
                                 .sum = sum,
                                 .ages = ages};
    struct fkmi_carve carve = {NULL, 0};
    int64_t *begin = NULL;
    int32_t *row = NULL;
    void *memory = NULL;
    fkm_status status = FKM_OK;

    if (plain && k < 2 * n_threads)
        cut_columns(&job, k, n_threads);
    job.scratch_per_thread = ROWS_TOGETHER * (((size_t)rows->dim * sizeof(double) + 63) & ~(size_t)63);
    for (int pass = 0; pass < 2; pass++) { /* counts, then cuts */
        begin = fkmi_carve(&carve, k + 2, sizeof *begin);
        row = fkmi_carve(&carve, rows->n, sizeof *row);
        job.scale = scaled ? fkmi_carve(&carve, rows->n, sizeof *job.scale) : NULL;
        job.scratch = fkmi_carve(&carve, n_threads, job.scratch_per_thread);
        if (pass == 0) {
            FKMI_TRY_GOTO(fkmi_scratch_take(context, carve.used, &memory));
            carve = (struct fkmi_carve){memory, 0};
        }
    }
    group_rows(&job, index, first, k, begin, row, mass);
    job.begin = begin;
    job.row = row;
    if (scaled) /* begin[k]: behind the last row of the last one */
        FKMI_TRY_GOTO(fkmi_parallel(context->pool, begin[k], 256, find_scales, &job));
    FKMI_TRY_GOTO(
        fkmi_parallel(context->pool, k * job.n_chunks, (k * job.n_chunks - 1) / 64 + 1, add_items, &job));
done:
    fkmi_scratch_give(context, memory);
    return status;
}

fkm_status fkmi_cpu_accumulate(struct fkm_context *context, const struct fkmi_rows *rows,
                               const struct fkmi_space *space, const int32_t *index, const double *factor,
                               int64_t first, int64_t k, double *sum, double *mass, double *ages)
{
    const int64_t at_once = k * ROWS_PER_SUM > ROWS_AT_ONCE ? k * ROWS_PER_SUM : ROWS_AT_ONCE;
    const int64_t most = at_once < INT32_MAX ? at_once : INT32_MAX;

    for (int64_t begin = 0; begin < rows->n; begin += most) {
        const int64_t left = rows->n - begin;
        const struct fkmi_rows some = fkmi_rows_slice(rows, begin, left < most ? left : most);

        FKMI_TRY(accumulate(context, &some, space, index + begin, factor ? factor + begin : NULL, first, k,
                            sum, mass, ages));
    }
    return FKM_OK;
}
