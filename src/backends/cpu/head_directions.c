/* head_directions.c — a few orthonormal directions along which points differ most, by orthogonal iteration on a sample;
 * then turned at random among themselves, so that no number is far larger than the others.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/head.h"

#include <math.h>
#include <string.h>

#include "base/random.h"

enum { MOST_SAMPLE = 1024, LEAST_SAMPLE = 128, SAMPLE_VALUES = 1 << 18, ROUNDS = 3 };

struct directions_job {
    const struct fkmi_vector *vector; /* of f32 */
    const struct fkmi_vector *wide;
    const struct fkmi_pack *pack;
    const float *centre;
    fkmi_head_point_fn *point;
    int64_t dim, n, n_sample;
    float *sample, *narrow; /* n_sample x dim; n x dim */
    double *next;           /* n x dim */
};

static fkm_status load_sample(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct directions_job *job = argument;

    (void)thread;
    for (int64_t s = begin; s < end; s++)
        job->point(job->pack, job->centre, s * job->pack->k / job->n_sample, job->sample + s * job->dim);
    return FKM_OK;
}

/* next = sample^T sample direction */
static fkm_status multiply(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct directions_job *job = argument;

    (void)thread;
    for (int64_t q = begin; q < end; q++) {
        memset(job->next + q * job->dim, 0, (size_t)job->dim * sizeof *job->next);
        for (int64_t s = 0; s < job->n_sample; s++) {
            const float *x = job->sample + s * job->dim;

            job->vector->add_f64(job->next + q * job->dim, x,
                                 job->vector->dot(x, job->narrow + q * job->dim, NULL, job->dim), job->dim);
        }
    }
    return FKM_OK;
}

static void make_random(double *values, int64_t n, uint64_t seed)
{
    struct fkmi_random random = fkmi_random_from(seed);

    for (int64_t i = 0; i < n; i++)
        values[i] = fkmi_random_normal(&random);
}

/* Takes from row q what it has of the rows before it (Gram and Schmidt, twice, which is enough); false when nothing but
 * rounding is left. */
static bool make_orthogonal(const struct fkmi_vector *wide, double *rows, int64_t q, int64_t dim)
{
    double *row = rows + q * dim;

    for (int time = 0; time < 2; time++) {
        const double before = sqrt(wide->dot(row, row, NULL, dim));
        double after;

        for (int64_t p = 0; p < q; p++)
            wide->add_f64(row, rows + p * dim, -wide->dot(row, rows + p * dim, NULL, dim), dim);
        after = sqrt(wide->dot(row, row, NULL, dim));
        if (!(after > 1e-10 * before && isfinite(after)))
            return false;
        for (int64_t d = 0; d < dim; d++)
            row[d] /= after;
    }
    return true;
}

/* Rows that depend on those before them, as all but a few do where points lie in a plane, become random ones. */
static void orthonormalise(const struct fkmi_vector *wide, double *rows, int64_t n, int64_t dim)
{
    for (int64_t q = 0; q < n; q++)
        for (uint64_t seed = 1; !make_orthogonal(wide, rows, q, dim); seed++)
            make_random(rows + q * dim, dim, seed);
}

/* directions = turn next, turn being orthonormal. */
static void turn(const struct directions_job *job, double *turns, float *directions)
{
    double sum[1 << 10];

    make_random(turns, job->n * job->n, 0);
    orthonormalise(job->wide, turns, job->n, job->n);
    for (int64_t q = 0; q < job->n; q++)
        for (int64_t first = 0; first < job->dim; first += 1 << 10) {
            const int64_t left = job->dim - first, size = left < 1 << 10 ? left : 1 << 10;

            memset(sum, 0, sizeof sum);
            for (int64_t p = 0; p < job->n; p++)
                job->wide->add_f64(sum, job->next + p * job->dim + first, turns[q * job->n + p], size);
            for (int64_t d = 0; d < size; d++)
                directions[q * job->dim + first + d] = (float)sum[d];
        }
}

/* At least |B B^T - 1|, by Frobenius' norm. */
static double skew_of(const struct directions_job *job, const float *directions, double *a, double *b)
{
    double sum = 0;

    for (int64_t q = 0; q < job->n; q++) {
        job->wide->load[FKM_DTYPE_F32](a, directions + q * job->dim, job->dim);
        for (int64_t p = 0; p <= q; p++) {
            double off;

            job->wide->load[FKM_DTYPE_F32](b, directions + p * job->dim, job->dim);
            off = job->wide->dot(a, b, NULL, job->dim) - (p == q ? 1 : 0);
            sum += (p == q ? 1 : 2) * off * off;
        }
    }
    return sqrt(sum) * 1.001 + 1e-12;
}

fkm_status fkmi_head_directions(struct fkm_context *context, const struct fkmi_pack *pack,
                                const float *centre, fkmi_head_point_fn *point, int64_t n, float *directions,
                                double *skew)
{
    struct directions_job job = {.vector = &pack->kernels->vector[FKMI_REAL_F32],
                                 .wide = &pack->kernels->vector[FKMI_REAL_F64],
                                 .pack = pack,
                                 .centre = centre,
                                 .point = point,
                                 .dim = pack->dim,
                                 .n = n};
    struct fkmi_carve carve = {NULL, 0};
    const struct fkmi_tile *tile = &pack->kernels->tile[FKM_DTYPE_F32];
    const void *row[64];
    double *turns = NULL;
    void *memory = NULL;
    fkm_status status = FKM_OK;

    job.n_sample = SAMPLE_VALUES / pack->dim;
    job.n_sample = job.n_sample > MOST_SAMPLE ? MOST_SAMPLE : job.n_sample;
    job.n_sample = job.n_sample < LEAST_SAMPLE ? LEAST_SAMPLE : job.n_sample;
    job.n_sample = job.n_sample > pack->k ? pack->k : job.n_sample;
    for (int pass = 0; pass < 2; pass++) {
        job.sample = fkmi_carve(&carve, job.n_sample * job.dim, sizeof *job.sample);
        job.narrow = fkmi_carve(&carve, n * job.dim, sizeof *job.narrow);
        job.next = fkmi_carve(&carve, n * job.dim, sizeof *job.next);
        turns = fkmi_carve(&carve, n * n > 2 * job.dim ? n * n : 2 * job.dim, sizeof *turns);
        if (pass == 0) {
            FKMI_TRY_GOTO(fkmi_scratch_take(context, carve.used, &memory));
            carve = (struct fkmi_carve){memory, 0};
        }
    }
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, job.n_sample, 16, load_sample, &job));
    make_random(job.next, n * job.dim, 0);
    for (int round = 0; round < ROUNDS; round++) {
        orthonormalise(job.wide, job.next, n, job.dim);
        job.wide->store[FKM_DTYPE_F32](job.narrow, job.next, n * job.dim);
        FKMI_TRY_GOTO(fkmi_parallel(context->pool, n, 1, multiply, &job));
    }
    orthonormalise(job.wide, job.next, n, job.dim);
    turn(&job, turns, job.narrow);
    *skew = skew_of(&job, job.narrow, turns, turns + job.dim);
    for (int64_t q = 0; q < n; q += tile->cols) {
        const int some = (int)(n - q < tile->cols ? n - q : tile->cols);

        for (int c = 0; c < some; c++)
            row[c] = job.narrow + (q + c) * job.dim;
        tile->pack(row, some, job.dim, tile->cols, directions + q * job.dim);
    }
done:
    fkmi_scratch_give(context, memory);
    return status;
}
