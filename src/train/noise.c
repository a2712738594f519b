/* noise.c — Gaussian noise on the rows of a gradient batch, in fractions of each feature's standard
 * deviation.
 *
 * The noise of a value is a function of the step's random key, the row's place in the batch and the column,
 * so threads cannot change it. Masked values stay 0. Of CSR rows only the stored values are disturbed: noise
 * on the zeros would make them dense.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "train/step.h"

enum { STREAM_NOISE = 1, ROWS_PER_BLOCK = 8 };

/* Variance around the first value seen of each feature: no cancellation far from 0. CSR rows count their
 * zeros. */
fkm_status fkmi_feature_std(const struct fkmi_rows *rows, double *std)
{
    fkm_status status = FKM_OK;
    const int64_t dim = rows->dim;
    const struct fkmi_space plain = {.metric = FKM_METRIC_EUCLIDEAN, .dim = dim, .real = FKMI_REAL_F64};
    double *sum = NULL, *count = NULL, *first = NULL, *x = NULL;

    FKMI_TRY_GOTO(fkmi_alloc(&sum, dim, sizeof *sum));
    FKMI_TRY_GOTO(fkmi_alloc(&count, dim, sizeof *count));
    FKMI_TRY_GOTO(fkmi_alloc(&first, dim, sizeof *first));
    FKMI_TRY_GOTO(fkmi_alloc(&x, dim, sizeof *x));
    memset(std, 0, (size_t)dim * sizeof *std);
    for (int64_t i = 0; i < rows->n; i++) {
        const int64_t row = fkmi_row(rows, i);
        const float *mask = rows->mask ? rows->mask + row * dim : NULL;

        if (fkmi_rows_sparse(rows)) {
            for (int64_t t = rows->indptr[row]; t < rows->indptr[row + 1]; t++) {
                const double value = fkmi_dtype_get(rows->values, rows->dtype, t);

                sum[rows->indices[t]] += value;
                std[rows->indices[t]] += value * value;
            }
            continue;
        }
        fkmi_row_load(rows, &plain, i, x);
        for (int64_t d = 0; d < dim; d++) {
            if (mask && !(mask[d] > 0))
                continue;
            if (count[d]++ == 0)
                first[d] = x[d];
            sum[d] += x[d] - first[d];
            std[d] += (x[d] - first[d]) * (x[d] - first[d]);
        }
    }
    for (int64_t d = 0; d < dim; d++) {
        const double n = fkmi_rows_sparse(rows) ? (double)rows->n : count[d];
        const double variance = n > 0 ? std[d] / n - sum[d] / n * (sum[d] / n) : 0.0;

        std[d] = variance > 0 ? sqrt(variance) : 0.0;
    }
done:
    fkmi_free(sum);
    fkmi_free(count);
    fkmi_free(first);
    fkmi_free(x);
    return status;
}

struct noise_job {
    const struct fkmi_step *step;
    const double *std;
    double sigma;
    uint64_t key;
};

/* Two independent N(0, 1) numbers of a place (Box & Muller 1958). */
static void two_normals(uint64_t key, uint64_t row, uint64_t pair, double out[2])
{
    uint32_t word[4];
    double radius, angle;

    fkmi_philox(key, row, pair, word);
    radius = sqrt(-2 * log(((double)word[0] + 0.5) * 0x1p-32));
    angle = 6.283185307179586 * ((double)word[1] * 0x1p-32);
    out[0] = radius * cos(angle);
    out[1] = radius * sin(angle);
}

static double normal_at(uint64_t key, int64_t row, int64_t column)
{
    double two[2];

    two_normals(key, (uint64_t)row, (uint64_t)column / 2, two);
    return two[column % 2];
}

static void add_at(const struct fkmi_step *step, void *reals, int64_t i, double value)
{
    if (step->real == FKMI_REAL_F32)
        ((float *)reals)[i] += (float)value;
    else
        ((double *)reals)[i] += value;
}

static fkm_status disturb_dense(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct noise_job *job = argument;
    const struct fkmi_step *step = job->step;
    const struct fkmi_rows *rows = &step->chunk.given;
    const int64_t dim = rows->dim;
    /* euclidean: loading must not normalise what is to be disturbed first */
    const struct fkmi_space plain = {.metric = FKM_METRIC_EUCLIDEAN, .dim = dim, .real = step->real};

    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const float *mask = rows->mask ? rows->mask + fkmi_row(rows, i) * dim : NULL;
        void *out = fkmi_real_at(step, step->noise.values, i * dim);

        fkmi_row_load(rows, &plain, i, out);
        if (mask)
            memcpy(step->noise.mask + i * dim, mask, (size_t)dim * sizeof *mask);
        for (int64_t d = 0; d < dim; d += 2) {
            double two[2];

            two_normals(job->key, (uint64_t)(step->chunk.begin + i), (uint64_t)d / 2, two);
            for (int64_t e = d; e < dim && e < d + 2; e++)
                if (!mask || mask[e] > 0)
                    add_at(step, out, e, job->sigma * job->std[e] * two[e - d]);
        }
    }
    return FKM_OK;
}

static fkm_status disturb_sparse(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct noise_job *job = argument;
    const struct fkmi_step *step = job->step;
    const struct fkmi_rows *rows = &step->chunk.given;
    const size_t size = fkmi_dtype_size(rows->dtype);

    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t row = fkmi_row(rows, i), from = rows->indptr[row], n = rows->indptr[row + 1] - from;
        const int64_t to = step->noise.indptr[i];

        step->vector->load[rows->dtype](fkmi_real_at(step, step->noise.values, to),
                                        (const char *)rows->values + (size_t)from * size, n);
        for (int64_t t = 0; t < n; t++) {
            const int32_t column = rows->indices[from + t];

            step->noise.indices[to + t] = column;
            add_at(step, step->noise.values, to + t,
                   job->sigma * job->std[column] * normal_at(job->key, step->chunk.begin + i, column));
        }
    }
    return FKM_OK;
}

fkm_status fkmi_noise_plan(struct fkmi_step *step)
{
    struct fkmi_arena *arena = &step->work->arena;
    struct fkmi_noise *noise = &step->noise;
    const int64_t values = step->chunk_rows * step->rows->dim;

    if (fkmi_rows_sparse(step->rows)) {
        FKMI_TRY(fkmi_arena_take(arena, &noise->indptr, step->chunk_rows + 1, sizeof *noise->indptr));
        FKMI_TRY(fkmi_arena_take(arena, &noise->indices, step->chunk_entries, sizeof *noise->indices));
        return fkmi_arena_take(arena, &noise->values, step->chunk_entries, step->real_size);
    }
    if (step->rows->mask)
        FKMI_TRY(fkmi_arena_take(arena, &noise->mask, values, sizeof *noise->mask));
    return fkmi_arena_take(arena, &noise->values, values, step->real_size);
}

fkm_status fkmi_noise_rows(struct fkmi_step *step)
{
    const struct fkmi_rows *given = &step->chunk.given;
    const struct fkmi_noise *noise = &step->noise;
    struct fkmi_random random = fkmi_random_split(step->random, STREAM_NOISE);
    struct noise_job job = {step, step->trainer->feature_std, step->params->noise, fkmi_random_u64(&random)};
    struct fkmi_rows *rows = &step->chunk.rows;

    *rows = (struct fkmi_rows){.n = given->n,
                               .dim = given->dim,
                               .dtype = step->real == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32};
    if (fkmi_rows_sparse(given)) {
        for (int64_t i = 0; i < given->n; i++) {
            const int64_t row = fkmi_row(given, i);

            noise->indptr[i + 1] = noise->indptr[i] + given->indptr[row + 1] - given->indptr[row];
        }
        rows->values = noise->values;
        rows->indptr = noise->indptr;
        rows->indices = noise->indices;
        return fkmi_parallel(step->context->pool, given->n, ROWS_PER_BLOCK, disturb_sparse, &job);
    }
    rows->x = noise->values;
    rows->stride = given->dim;
    rows->mask = noise->mask;
    return fkmi_parallel(step->context->pool, given->n, ROWS_PER_BLOCK, disturb_dense, &job);
}
