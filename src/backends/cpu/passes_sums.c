/* passes_sums.c — what the rows of each cell add up to, kept up to date with the rows that change sides.
 *
 * A sum that rows are taken off and put to loses some bits each time, far more where they were larger than what is left.
 * How many at most is kept for every cell; when it could be felt, all rows are added up anew. The sum of all distances
 * follows from the sums: sum u |x - c|^2 = sum u |x - m|^2 + mass |c - m|^2 - 2 (c - m) . (sum - mass m), for any m, here
 * the mean of all rows; the first term is the same in all passes.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/passes_inside.h"

#include <math.h>
#include <string.h>

#include "backends/cpu/screen_bytes.h"
#include "base/interrupt.h"

#define MOST_ERROR     0x1p-32 /* of a sum's length: a 256th of what rounding to floats does */
#define LEAST_MASS     0x1p-20 /* a cell with less than this of what it once had may have none */
#define LEAST_SHARE    0x1p-16 /* of the spread, and */
#define LEAST_PART     0.25 /* of the last one added up: smaller sums of distances are added up from distances */
#define ROWS_TOGETHER  4    /* added in one go */
#define ROWS_AHEAD     8
#define MEASURED_ROWS  1024
#define CELLS_TOGETHER 16

/* ---- all rows */

static void find_mean(struct fkmi_passes *passes, const struct fkmi_pass *pass)
{
    double mass = 0;

    memset(passes->mean, 0, (size_t)passes->dim * sizeof *passes->mean);
    for (int64_t j = 0; j < passes->k; j++) {
        mass += pass->mass[j];
        for (int64_t d = 0; d < passes->dim; d++)
            passes->mean[d] += pass->sum[j * passes->dim + d];
    }
    for (int64_t d = 0; d < passes->dim && mass > 0; d++)
        passes->mean[d] /= mass;
    passes->centred = true;
}

fkm_status fkmi_pass_add_all(struct fkm_context *context, struct fkmi_passes *passes,
                             const struct fkmi_rows *rows, const struct fkmi_pass *pass)
{
    const int64_t k = passes->k;

    passes->summed = false;
    memset(pass->sum, 0, (size_t)(k * passes->dim) * sizeof *pass->sum);
    memset(pass->mass, 0, (size_t)k * sizeof *pass->mass);
    FKMI_TRY(fkmi_cpu_accumulate(context, rows, &pass->pack->space, pass->index, NULL, 0, k, pass->sum,
                                 pass->mass, NULL));
    for (int64_t j = 0; j < k; j++)
        passes->cells[j] = (struct fkmi_cell_sum){.most = pass->mass[j]};
    for (int64_t i = 0; i < rows->n; i++)
        if (pass->index[i] >= 0)
            passes->cells[pass->index[i]].n++;
    if (!passes->centred)
        find_mean(passes, pass);
    passes->summed = true;
    return FKM_OK;
}

/* ---- rows that change sides */

/* sum += sign u x and mass += sign u, row after row; returns the sum of weights times lengths. */
static double add_rows(const struct fkmi_pass_job *job, const int32_t *row, int64_t n, double sign,
                       double *sum, double *mass, char *reals)
{
    const struct fkmi_rows *rows = job->rows;
    const struct fkmi_vector *vector = fkmi_pack_vector(job->pass->pack);
    const void *x[ROWS_TOGETHER];
    double scale[ROWS_TOGETHER];
    double length = 0;

    for (int64_t i = 0; i < n;) {
        int held = 0;

        for (; held < ROWS_TOGETHER && i < n; held++, i++) {
            const double u = fkmi_row_weight(rows, row[i]);

            if (i + ROWS_AHEAD < n)
                fkmi_fetch_row(rows, row[i + ROWS_AHEAD], FKMI_LONG_ROW);
            x[held] = fkmi_dense_row(rows, row[i]);
            if (rows->dtype != FKM_DTYPE_F32) {
                char *loaded = reals + (size_t)(held * rows->dim) * sizeof(float);

                vector->load[rows->dtype](loaded, x[held], rows->dim);
                x[held] = loaded;
            }
            scale[held] = sign * u;
            *mass += scale[held];
            length += u > 0 ? u * sqrt(vector->dot(x[held], x[held], NULL, rows->dim)) : 0;
        }
        vector->add_rows_f64(sum, x, scale, held, rows->dim);
    }
    return length;
}

static double length_of(const struct fkmi_pass_job *job, const double *sum)
{
    return sqrt(job->pass->pack->kernels->vector[FKMI_REAL_F64].dot(sum, sum, NULL, job->rows->dim));
}

/* Those that leave, by row, then those that come, by where from and by row. */
static void move_rows_of(const struct fkmi_pass_job *job, int64_t j, char *reals)
{
    const int64_t arrived = job->arrived_begin[j], n_arrived = job->arrived_begin[j + 1] - arrived;
    struct fkmi_cell_sum *cell = &job->passes->cells[j];
    double *sum = job->pass->sum + j * job->rows->dim, *mass = &job->pass->mass[j], length;
    int64_t n = n_arrived;

    for (int64_t s = job->first_span[j]; s >= 0; s = job->spans[s].next)
        n += job->spans[s].n_moved;
    if (n == 0)
        return;
    length = length_of(job, sum);
    for (int64_t s = job->first_span[j]; s >= 0; s = job->spans[s].next) {
        const struct fkmi_span *span = &job->spans[s];

        length += add_rows(job, job->passes->order + span->begin, span->n_moved, -1, sum, mass, reals);
        cell->n -= span->n_moved;
    }
    length += add_rows(job, job->arrived + arrived, n_arrived, 1, sum, mass, reals);
    cell->n += n_arrived;
    cell->most = fmax(cell->most, *mass);
    cell->error += 0x1p-53 * (double)n * length;
    if (cell->n > 0)
        return;
    memset(sum, 0, (size_t)job->rows->dim * sizeof *sum);
    *mass = 0;
    *cell = (struct fkmi_cell_sum){0};
}

static fkm_status move_rows(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct fkmi_pass_job *job = argument;
    char *reals = job->scratch + (size_t)thread * job->scratch_per_thread;

    for (int64_t j = begin; j < end; j++)
        move_rows_of(job, j, reals);
    return FKM_OK;
}

/* Whether a cell's sum may have lost too much. */
static bool is_worn(const struct fkmi_pass_job *job, int64_t j)
{
    const struct fkmi_cell_sum *cell = &job->passes->cells[j];

    if (!(job->pass->mass[j] >= LEAST_MASS * cell->most))
        return true;
    return cell->error > 0 &&
           !(cell->error <= MOST_ERROR * length_of(job, job->pass->sum + j * job->rows->dim));
}

/* Counts, then places: old cell by old cell, so that the order is the same however rows were cut into parts. */
static void sort_arrivals(struct fkmi_pass_job *job, int64_t *next)
{
    const int64_t k = job->passes->k;

    memset(next, 0, (size_t)(k + 1) * sizeof *next);
    for (int turn = 0; turn < 2; turn++) {
        for (int64_t j = 0; j < k; j++)
            for (int64_t s = job->first_span[j]; s >= 0; s = job->spans[s].next) {
                const int32_t *row = job->passes->order + job->spans[s].begin;

                for (int64_t i = 0; i < job->spans[s].n_moved; i++)
                    if (turn == 0)
                        next[job->pass->index[row[i]] + 1]++;
                    else
                        job->arrived[next[job->pass->index[row[i]]]++] = row[i];
            }
        for (int64_t j = 0; turn == 0 && j < k; j++)
            next[j + 1] += next[j];
        if (turn == 0)
            memcpy(job->arrived_begin, next, (size_t)(k + 1) * sizeof *next);
    }
}

fkm_status fkmi_pass_move_rows(struct fkm_context *context, struct fkmi_pass_job *job)
{
    const int64_t k = job->passes->k;
    int64_t *next = NULL, n_moved = 0;
    void *memory = NULL;
    struct fkmi_carve carve = {NULL, 0};
    bool worn = false;
    fkm_status status = FKM_OK;

    for (int64_t s = 0; s < job->n_spans; s++)
        n_moved += job->spans[s].n_moved;
    if (n_moved == 0) {
        job->passes->summed = true;
        return FKM_OK;
    }
    if (2 * n_moved > job->rows->n) /* each would be read twice */
        return fkmi_pass_add_all(context, job->passes, job->rows, job->pass);
    job->scratch_per_thread = (size_t)(ROWS_TOGETHER * job->rows->dim) * sizeof(double);
    for (int turn = 0; turn < 2; turn++) {
        job->arrived = fkmi_carve(&carve, n_moved, sizeof *job->arrived);
        job->arrived_begin = fkmi_carve(&carve, k + 1, sizeof *job->arrived_begin);
        next = fkmi_carve(&carve, k + 1, sizeof *next);
        job->scratch = fkmi_carve(&carve, fkmi_pool_threads_here(context->pool), job->scratch_per_thread);
        if (turn == 0) {
            FKMI_TRY_GOTO(fkmi_scratch_take(context, carve.used, &memory));
            carve = (struct fkmi_carve){memory, 0};
        }
    }
    sort_arrivals(job, next);
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, k, CELLS_TOGETHER, move_rows, job));
    for (int64_t j = 0; j < k; j++)
        worn |= is_worn(job, j);
    job->passes->summed = true;
    if (worn)
        FKMI_TRY_GOTO(fkmi_pass_add_all(context, job->passes, job->rows, job->pass));
done:
    fkmi_scratch_give(context, memory);
    return status;
}

/* ---- distances */

struct measuring {
    struct fkmi_pack pack; /* with the points of the last pass */
    const struct fkmi_rows *rows;
    const int32_t *index;
    const double *known; /* n, or NULL: to be measured */
    double *distance;    /* n, or NULL */
    double *sum;         /* by block: of weights times distances; or NULL */
    char *scratch;
    size_t scratch_per_thread;
};

static fkm_status measure_rows(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct measuring *m = argument;
    struct fkmi_carve carve = {m->scratch + (size_t)thread * m->scratch_per_thread, 0};
    struct fkmi_direct direct;
    double sum = 0;

    fkmi_direct_carve(&direct, &carve, &m->pack, m->rows, 0);
    for (int64_t i = begin; i < end; i++) {
        double distance = (double)INFINITY;

        if (m->index[i] >= 0 && !m->known) {
            fkmi_direct_row(&direct, i);
            distance = fkmi_direct_distance(&direct, m->index[i]);
        } else if (m->known)
            distance = m->known[i];
        if (m->index[i] >= 0)
            sum += fkmi_row_weight(m->rows, i) * distance;
        if (m->distance)
            m->distance[i] = distance;
    }
    if (m->sum)
        m->sum[begin / MEASURED_ROWS] = sum;
    return FKM_OK;
}

/* known, distance, *total: each may be NULL. */
static fkm_status measure(struct fkm_context *context, const struct fkmi_pack *pack, const void *points,
                          const struct fkmi_rows *rows, const int32_t *index, const double *known,
                          double *distance, double *total)
{
    const int64_t n_blocks = (rows->n - 1) / MEASURED_ROWS + 1;
    struct measuring m = {.pack = *pack, .rows = rows, .index = index, .known = known, .distance = distance};
    struct fkmi_carve carve = {NULL, 0};
    struct fkmi_direct direct;
    void *memory = NULL;
    fkm_status status = FKM_OK;

    m.pack.points = points;
    fkmi_direct_carve(&direct, &carve, pack, rows, 0);
    m.scratch_per_thread = carve.used;
    carve = (struct fkmi_carve){NULL, 0};
    for (int turn = 0; turn < 2; turn++) {
        m.scratch = fkmi_carve(&carve, fkmi_pool_threads_here(context->pool), m.scratch_per_thread);
        m.sum = total ? fkmi_carve(&carve, n_blocks, sizeof *m.sum) : NULL;
        if (turn == 0) {
            FKMI_TRY_GOTO(fkmi_scratch_take(context, carve.used, &memory));
            carve = (struct fkmi_carve){memory, 0};
        }
    }
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, rows->n, MEASURED_ROWS, measure_rows, &m));
    for (int64_t b = 0; total && b < n_blocks; b++)
        *total += m.sum[b];
done:
    fkmi_scratch_give(context, memory);
    return status;
}

fkm_status fkmi_pass_measure(struct fkm_context *context, const struct fkmi_pack *pack,
                             const struct fkmi_rows *rows, const int32_t *index, double *distance)
{
    return measure(context, pack, pack->points, rows, index, NULL, distance, NULL);
}

fkm_status fkmi_pass_add_distances(struct fkm_context *context, const struct fkmi_rows *rows,
                                   const struct fkmi_pass *pass, double *total)
{
    *total = 0;
    return measure(context, pass->pack, pass->pack->points, rows, pass->index, pass->distance, NULL, total);
}

fkm_status fkmi_passes_measure(struct fkm_context *context, struct fkmi_passes *passes,
                               const struct fkmi_pack *pack, const struct fkmi_rows *rows,
                               const int32_t *index, double *distance)
{
    passes->bounded = false;
    return measure(context, pack, passes->points, rows, index, NULL, distance, NULL);
}

/* ---- their sum */

struct totalling {
    const struct fkmi_passes *passes;
    const struct fkmi_pass *pass;
    double *term,
        *doubt; /* k: what the cell adds; by how much that may be wrong, for what its sum has lost */
};

static fkm_status find_terms(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct totalling *t = argument;
    const int64_t dim = t->passes->dim;
    const struct fkmi_pack *pack = t->pass->pack;
    const struct fkmi_vector *vector = &pack->kernels->vector[FKMI_REAL_F64];
    double point[256];

    (void)thread;
    for (int64_t j = begin; j < end; j++) {
        const double *sum = t->pass->sum + j * dim, mass = t->pass->mass[j];
        const char *stored = (const char *)pack->points + (size_t)j * t->passes->point_size;
        double term = 0, square = 0;

        for (int64_t first = 0; first < dim; first += 256) {
            const int64_t n = dim - first < 256 ? dim - first : 256;

            vector->load[pack->dtype](point, stored + (size_t)first * fkmi_dtype_size(pack->dtype), n);
            for (int64_t d = 0; d < n; d++) {
                const double w = pack->feature_weights ? pack->feature_weights[first + d] : 1.0;
                const double m = t->passes->mean[first + d], off = point[d] - m;

                term += w * off * (mass * off - 2 * (sum[first + d] - mass * m));
                square += w * off * w * off;
            }
        }
        t->term[j] = term;
        t->doubt[j] = 2 * sqrt(square) * t->passes->cells[j].error;
    }
    return FKM_OK;
}

fkm_status fkmi_pass_total(struct fkm_context *context, struct fkmi_passes *passes,
                           const struct fkmi_rows *rows, const struct fkmi_pass *pass, const double *known)
{
    struct totalling t = {passes, pass, NULL, NULL};
    double terms = 0, doubt = 0, *total = pass->sum_distance;
    const double factor = pass->pack->factor;
    void *memory = NULL;
    fkm_status status = FKM_OK;

    FKMI_TRY_GOTO(fkmi_scratch_take(context, (size_t)(2 * passes->k) * sizeof *t.term, &memory));
    t.term = memory;
    t.doubt = t.term + passes->k;
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, passes->k, CELLS_TOGETHER, find_terms, &t));
    for (int64_t j = 0; j < passes->k; j++) {
        terms += t.term[j];
        doubt += t.doubt[j];
    }
    fkmi_scratch_give(context, memory);
    memory = NULL;
    *total = factor * (passes->spread + terms);
    if (!known && passes->totalled && *total > LEAST_SHARE * factor * fabs(passes->spread) &&
        *total > LEAST_PART * passes->measured && factor * doubt <= fkmi_screen_rounding(pass->pack) * *total)
        return FKM_OK;
    *total = known ? *known : 0;
    if (!known)
        FKMI_TRY_GOTO(measure(context, pass->pack, pass->pack->points, rows, pass->index, NULL, NULL, total));
    passes->spread = (factor > 0 ? *total / factor : 0) - terms;
    passes->measured = *total;
    passes->totalled = true;
done:
    fkmi_scratch_give(context, memory);
    return status;
}
