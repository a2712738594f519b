/* sketch.c — rows in few numbers: principal directions of a sample, the rows along them, and what bytes keep of that.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/sketch.h"

#include <math.h>
#include <string.h>

#include "backends/cpu/sketch_bytes.h"
#include "base/random.h"

#define PRODUCT_NS 0.15 /* of a coordinate with a direction's */

enum {
    MOST_COORDINATES = 32, /* up to here a sketch holds the coordinates themselves */
    LEAST_WIDTH = 24,
    MOST_WIDTH = 96,
    MOST_SAMPLE = 1024,
    LEAST_SAMPLE = 64,
    SAMPLE_VALUES = 1 << 18,
    SUBSPACE_ROUNDS = 4,
    PROBES = 512,     /* rows, */
    PROBE_POINTS = 16 /* points among them */
};

struct sketch_job {
    struct fkmi_sketch *sketch;
    const struct fkmi_rows *rows;
    int64_t dim, n_directions;
    double *mean, *map;    /* dim; map: root of what a coordinate weighs, or NULL */
    double *directions;    /* n_directions x dim, orthonormal; NULL: the coordinates themselves */
    double *sample, *next; /* n_sample x dim; n_directions x dim */
    int64_t n_sample;
    double usual; /* of the sample: the length of what directions leave, in the middle */
    char *scratch;
    size_t scratch_per_thread;
};

/* What a thread needs for one row. */
struct row_scratch {
    char *real;
    double *wide, *numbers;
    float *narrow;
    uint8_t *bytes; /* of a tile's rows */
};

static void carve_row(struct row_scratch *scratch, struct fkmi_carve *carve, const struct sketch_job *job)
{
    const int64_t width = job->sketch->width;

    scratch->real = fkmi_carve(carve, job->dim, fkmi_real_size(job->sketch->space.real));
    scratch->wide = fkmi_carve(carve, job->dim, sizeof(double));
    scratch->numbers = fkmi_carve(carve, width, sizeof(double));
    scratch->narrow = fkmi_carve(carve, width, sizeof(float));
    scratch->bytes = fkmi_carve(carve, job->sketch->tile->rows * job->sketch->n_quads, 4);
}

static struct row_scratch scratch_of(const struct sketch_job *job, int thread)
{
    struct fkmi_carve carve = {job->scratch + (size_t)thread * job->scratch_per_thread, 0};
    struct row_scratch scratch;

    carve_row(&scratch, &carve, job);
    return scratch;
}

bool fkmi_sketch_possible(const struct fkm_context *context, const struct fkmi_space *space,
                          const struct fkmi_rows *rows)
{
    return context->kernels->bytes.runs_here() && !fkmi_rows_sparse(rows) && !rows->mask &&
           space->metric != FKM_METRIC_L1;
}

bool fkmi_sketch_possible_whole(const struct fkm_context *context, const struct fkmi_space *space,
                                const struct fkmi_rows *rows)
{
    return fkmi_sketch_possible(context, space, rows) && space->real == FKMI_REAL_F32 &&
           rows->dim <= FKMI_SKETCH_MOST_DIM;
}

/* ---- rows as vectors */

static const struct fkmi_vector *vector_of(const struct sketch_job *job)
{
    return &job->sketch->kernels->vector[FKMI_REAL_F64];
}

/* Row i as distances see it: map (x - mean), in f64; returns its square. */
static double load_row(const struct sketch_job *job, const struct row_scratch *scratch, int64_t i,
                       double *out)
{
    const struct fkmi_space *space = &job->sketch->space;
    const struct fkmi_vector *vector = vector_of(job);
    const int64_t dim = job->dim;

    fkmi_row_load(job->rows, space, i, scratch->real);
    vector->load[space->real == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32](out, scratch->real, dim);
    vector->transform(out, out, job->mean, job->map, dim);
    return vector->dot(out, out, NULL, dim);
}

/* The numbers of row i, not yet scaled. What is left is counted from what is left of others, so that it fits into a byte
 * as well as they do. */
static void sketch_row(const struct sketch_job *job, const struct row_scratch *scratch, int64_t i)
{
    const struct fkmi_vector *vector = vector_of(job);
    const int64_t dim = job->dim, n = job->n_directions;
    double left = load_row(job, scratch, i, job->directions ? scratch->wide : scratch->numbers);

    if (!job->directions)
        return;
    for (int64_t q = 0; q < n; q++) {
        scratch->numbers[q] = vector->dot(scratch->wide, job->directions + q * dim, NULL, dim);
        left -= scratch->numbers[q] * scratch->numbers[q];
    }
    scratch->numbers[n] = sqrt(fmax(left, 0.0)) - job->usual;
}

/* ---- principal directions: orthogonal iteration on a sample */

static fkm_status load_sample(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct sketch_job *job = argument;
    const struct row_scratch scratch = scratch_of(job, thread);

    for (int64_t s = begin; s < end; s++)
        (void)load_row(job, &scratch, s * job->rows->n / job->n_sample, job->sample + s * job->dim);
    return FKM_OK;
}

/* next = sample^T sample direction */
static fkm_status multiply(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct sketch_job *job = argument;
    const struct fkmi_vector *vector = vector_of(job);
    const int64_t dim = job->dim;

    (void)thread;
    for (int64_t q = begin; q < end; q++) {
        const double *direction = job->directions + q * dim;
        double *next = job->next + q * dim;

        memset(next, 0, (size_t)dim * sizeof *next);
        for (int64_t s = 0; s < job->n_sample; s++) {
            const double *row = job->sample + s * dim;
            vector->add_f64(next, row, vector->dot(row, direction, NULL, dim), dim);
        }
    }
    return FKM_OK;
}

/* Gram-Schmidt, twice, which is enough; a direction that depends on those before it becomes 0. */
static void orthonormalise(const struct sketch_job *job)
{
    const struct fkmi_vector *vector = vector_of(job);
    const int64_t dim = job->dim;

    for (int64_t q = 0; q < job->n_directions; q++) {
        double *next = job->next + q * dim, *direction = job->directions + q * dim;

        memcpy(direction, next, (size_t)dim * sizeof *next);
        for (int turn = 0; turn < 3; turn++) {
            const double before = sqrt(vector->dot(direction, direction, NULL, dim));
            double after;

            for (int64_t p = 0; turn < 2 && p < q; p++) {
                const double *other = job->directions + p * dim;
                vector->add_f64(direction, other, -vector->dot(direction, other, NULL, dim), dim);
            }
            after = sqrt(vector->dot(direction, direction, NULL, dim));
            for (int64_t d = 0; d < dim; d++)
                direction[d] = after > 1e-10 * before ? direction[d] / after : 0;
        }
    }
}

static fkm_status find_mean(struct fkm_context *context, struct sketch_job *job)
{
    const int64_t dim = job->dim;

    FKMI_TRY(fkmi_parallel(context->pool, job->n_sample, 16, load_sample, job));
    for (int64_t s = 0; s < job->n_sample; s++)
        context->kernels->vector[FKMI_REAL_F64].add_f64(job->mean, job->sample + s * dim,
                                                        1 / (double)job->n_sample, dim);
    for (int64_t d = 0; job->map && d < dim; d++) /* the sample is mapped */
        job->mean[d] = job->map[d] > 0 ? job->mean[d] / job->map[d] : 0;
    return FKM_OK;
}

static fkm_status find_directions(struct fkm_context *context, struct sketch_job *job)
{
    struct fkmi_random random = fkmi_random_from(0);

    FKMI_TRY(fkmi_parallel(context->pool, job->n_sample, 16, load_sample, job)); /* about the mean now */
    for (int64_t i = 0; i < job->n_directions * job->dim; i++)
        job->next[i] = fkmi_random_normal(&random);
    for (int round = 0; round < SUBSPACE_ROUNDS; round++) {
        orthonormalise(job);
        FKMI_TRY(fkmi_parallel(context->pool, job->n_directions, 1, multiply, job));
    }
    orthonormalise(job);
    return FKM_OK;
}

/* ---- the sketch */

static double norm_of_numbers(const struct sketch_job *job, const struct row_scratch *scratch)
{
    return sqrt(vector_of(job)->dot(scratch->numbers, scratch->numbers, NULL, job->sketch->width));
}

/* The usual length of what directions leave, and of a whole sketch. */
static void find_scale(struct sketch_job *job)
{
    const struct row_scratch scratch = scratch_of(job, 0);
    const int64_t width = job->sketch->width;
    double left = 0, longest = 0;

    for (int64_t s = 0; job->directions && s < job->n_sample; s++) {
        sketch_row(job, &scratch, s * job->rows->n / job->n_sample);
        left += scratch.numbers[width - 1] / (double)job->n_sample;
    }
    job->usual = left;
    for (int64_t s = 0; s < job->n_sample; s++) {
        sketch_row(job, &scratch, s * job->rows->n / job->n_sample);
        longest = fmax(longest, norm_of_numbers(job, &scratch));
    }
    job->sketch->scale = longest > 0 ? ldexp(1, -ilogb(longest)) : 1;
}

/* The length left over is the root of a difference: an error of 2^-52 of the square becomes its root. */
static double error_of(const struct sketch_job *job, const struct row_scratch *scratch)
{
    const double norm = norm_of_numbers(job, scratch) + job->usual;

    return norm * sqrt(((double)job->dim + 1e4) * 0x1p-51) * job->sketch->scale;
}

static void fill_tile(const struct sketch_job *job, const struct row_scratch *scratch, int64_t block,
                      int64_t t)
{
    const struct fkmi_sketch *sketch = job->sketch;
    const struct fkmi_sketch_rows rows = fkmi_sketch_block(sketch, block);
    const int64_t first = block * FKMI_SKETCH_BLOCK, begin = t * sketch->tile->rows;
    int r = 0;

    for (; r < sketch->tile->rows && begin + r < FKMI_SKETCH_BLOCK && first + begin + r < sketch->n; r++) {
        sketch_row(job, scratch, first + begin + r);
        for (int64_t q = 0; q < sketch->width; q++)
            scratch->narrow[q] = (float)(scratch->numbers[q] * sketch->scale);
        fkmi_sketch_round(sketch, &rows, begin + r, scratch->narrow, error_of(job, scratch),
                          scratch->bytes + (int64_t)r * sketch->n_quads * 4);
    }
    if (r > 0)
        fkmi_sketch_place(sketch, &rows, t, r, scratch->bytes);
}

static fkm_status fill_blocks(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct sketch_job *job = argument;
    const struct row_scratch scratch = scratch_of(job, thread);

    for (int64_t block = begin; block < end; block++)
        for (int64_t t = 0; t < fkmi_sketch_tiles(job->sketch); t++)
            fill_tile(job, &scratch, block, t);
    return FKM_OK;
}

/* What a coordinate weighs in distances, as a root; cosine's rows have unit length with their weights already. */
static fkm_status find_map(struct sketch_job *job)
{
    const double *weights = job->sketch->space.feature_weights;
    const int64_t dim = job->dim;
    double sum = 0;

    if (!weights)
        return FKM_OK;
    FKMI_TRY(fkmi_alloc(&job->map, dim, sizeof *job->map));
    for (int64_t d = 0; d < dim; d++)
        sum += weights[d];
    for (int64_t d = 0; d < dim; d++)
        job->map[d] = sqrt(weights[d] * (job->sketch->space.metric == FKM_METRIC_COSINE ? 1.0
                                         : sum > 0                                      ? (double)dim / sum
                                                                                        : 0.0));
    return FKM_OK;
}

/* What the rounding of computed distances may hide. */
static void find_errors(struct fkmi_sketch *sketch)
{
    const double terms = (double)(sketch->space.dim + 64);
    const double unit = sketch->space.real == FKMI_REAL_F64 ? 0x1p-52 : 0x1p-23;

    sketch->share = 1 + terms * unit;
    sketch->extra = sketch->space.metric == FKM_METRIC_COSINE ? terms * unit : 0x1p-1040;
}

static int64_t width_of(int64_t dim)
{
    const int64_t width = dim / 8 < LEAST_WIDTH ? LEAST_WIDTH : dim / 8 > MOST_WIDTH ? MOST_WIDTH : dim / 8;

    return dim <= MOST_COORDINATES ? dim : width;
}

static int64_t sample_of(const struct fkmi_rows *rows)
{
    const int64_t spared = SAMPLE_VALUES / rows->dim;
    const int64_t n = spared > MOST_SAMPLE ? MOST_SAMPLE : spared < LEAST_SAMPLE ? LEAST_SAMPLE : spared;

    return n < rows->n ? n : rows->n;
}

double fkmi_sketch_cost(const struct fkmi_rows *rows)
{
    const int64_t width = width_of(rows->dim), n_directions = width < rows->dim ? width - 1 : 0;
    const double product = (double)rows->dim * PRODUCT_NS;

    return product * (double)(n_directions + 4) *
           (double)(rows->n + 2 * (SUBSPACE_ROUNDS + 1) * sample_of(rows));
}

static fkm_status begin(struct fkm_context *context, struct sketch_job *job, const struct fkmi_space *space,
                        bool whole)
{
    struct fkmi_sketch *sketch = job->sketch;
    const int64_t dim = job->dim;
    struct fkmi_carve carve = {NULL, 0};
    struct row_scratch measured;

    *sketch = (struct fkmi_sketch){.space = *space,
                                   .n = job->rows->n,
                                   .kernels = context->kernels,
                                   .tile = &context->kernels->bytes,
                                   .whole = whole};
    sketch->width = whole ? dim : width_of(dim);
    sketch->n_quads = (sketch->width + 3) / 4;
    find_errors(sketch);
    job->n_directions = sketch->width < dim ? sketch->width - 1 : 0;
    job->n_sample = whole && job->rows->n > LEAST_SAMPLE ? LEAST_SAMPLE : sample_of(job->rows);
    carve_row(&measured, &carve, job);
    job->scratch_per_thread = carve.used;
    FKMI_TRY(fkmi_alloc(&job->scratch, fkmi_pool_threads_here(context->pool), carve.used));
    FKMI_TRY(fkmi_alloc(&job->mean, dim, sizeof(double)));
    FKMI_TRY(find_map(job));
    FKMI_TRY(fkmi_alloc(&job->sample, job->n_sample * dim, sizeof(double)));
    FKMI_TRY(find_mean(context, job));
    if (job->n_directions > 0) {
        FKMI_TRY(fkmi_alloc(&job->directions, job->n_directions * dim, sizeof(double)));
        FKMI_TRY(fkmi_alloc(&job->next, job->n_directions * dim, sizeof(double)));
        FKMI_TRY(find_directions(context, job));
    }
    fkmi_free(job->sample);
    job->sample = NULL;
    return FKM_OK;
}

static fkm_status fill(struct fkm_context *context, struct sketch_job *job)
{
    struct fkmi_sketch *sketch = job->sketch;
    const int64_t n_blocks = (sketch->n - 1) / FKMI_SKETCH_BLOCK + 1;
    const int64_t slots = fkmi_sketch_tiles(sketch) * sketch->tile->rows,
                  places = fkmi_sketch_tiles(sketch) * sketch->tile->stride;

    FKMI_TRY(fkmi_alloc(&sketch->bytes, n_blocks * slots * sketch->n_quads, 4));
    FKMI_TRY(fkmi_alloc(&sketch->unit, n_blocks * places, sizeof(float)));
    FKMI_TRY(fkmi_alloc(&sketch->square, n_blocks * places, sizeof(float)));
    FKMI_TRY(fkmi_alloc(&sketch->rest, n_blocks * places, sizeof(float)));
    return fkmi_parallel(context->pool, n_blocks, 4, fill_blocks, job);
}

/* What turns rows into numbers, scaled. */
static fkm_status keep_map(const struct sketch_job *job)
{
    struct fkmi_sketch *sketch = job->sketch;

    FKMI_TRY(fkmi_alloc(&sketch->mean, job->dim, sizeof(float)));
    FKMI_TRY(fkmi_alloc(&sketch->map, job->dim, sizeof(float)));
    for (int64_t d = 0; d < job->dim; d++) {
        sketch->mean[d] = (float)job->mean[d];
        sketch->map[d] = (float)((job->map ? job->map[d] : 1.0) * sketch->scale);
    }
    return FKM_OK;
}

static void free_job(struct sketch_job *job)
{
    fkmi_sketch_free(job->sketch);
    fkmi_free(job->scratch);
    fkmi_free(job->mean);
    fkmi_free(job->map);
    fkmi_free(job->directions);
    fkmi_free(job->next);
    fkmi_free(job->sample);
}

static fkm_status make_map(struct fkm_context *context, const struct fkmi_space *space,
                           struct sketch_job *job, bool whole)
{
    FKMI_TRY(fkmi_alloc(&job->sketch, 1, sizeof *job->sketch));
    FKMI_TRY(begin(context, job, space, whole));
    find_scale(job);
    return FKM_OK;
}

fkm_status fkmi_sketch_create_whole(struct fkm_context *context, const struct fkmi_space *space,
                                    const struct fkmi_rows *rows, struct fkmi_sketch **out)
{
    struct sketch_job job = {.rows = rows, .dim = rows->dim};
    fkm_status status = FKM_OK;

    FKMI_TRY_GOTO(make_map(context, space, &job, true));
    FKMI_TRY_GOTO(keep_map(&job));
    *out = job.sketch;
    job.sketch = NULL;
done:
    free_job(&job);
    return status;
}

/* ---- a trial of directions */

struct fkmi_sketch_trial {
    struct sketch_job job;
    float *numbers; /* PROBES x width: of rows */
};

fkm_status fkmi_sketch_try(struct fkm_context *context, const struct fkmi_space *space,
                           const struct fkmi_rows *rows, struct fkmi_sketch_trial **out)
{
    struct fkmi_sketch_trial *trial = NULL;
    struct row_scratch scratch;
    fkm_status status = FKM_OK;
    int64_t width;

    FKMI_TRY_GOTO(fkmi_alloc(&trial, 1, sizeof *trial));
    trial->job = (struct sketch_job){.rows = rows, .dim = rows->dim};
    FKMI_TRY_GOTO(make_map(context, space, &trial->job, false));
    scratch = scratch_of(&trial->job, 0);
    width = trial->job.sketch->width;
    FKMI_TRY_GOTO(fkmi_alloc(&trial->numbers, PROBES * width, sizeof *trial->numbers));
    for (int64_t s = 0; s < PROBES; s++) {
        sketch_row(&trial->job, &scratch, s * rows->n / PROBES);
        for (int64_t q = 0; q < width; q++)
            trial->numbers[s * width + q] = (float)scratch.numbers[q];
    }
    *out = trial;
    trial = NULL;
done:
    fkmi_sketch_trial_free(trial);
    return status;
}

double fkmi_sketch_left(const struct fkmi_sketch_trial *trial, const double *distance)
{
    const struct sketch_job *job = &trial->job;
    const struct fkmi_vector *vector = &job->sketch->kernels->vector[FKMI_REAL_F32];
    const int64_t width = job->sketch->width;
    int64_t n_left = 0;

    for (int64_t s = 0; s < PROBES; s++) {
        const double held = distance[s * job->rows->n / PROBES], chord = fkmi_sketch_chord(job->sketch, held);

        for (int64_t p = 0; p < PROBES && held > 0; p += PROBES / PROBE_POINTS)
            n_left +=
                vector->distance[FKM_METRIC_EUCLIDEAN](trial->numbers + s * width, trial->numbers + p * width,
                                                       NULL, width) < chord * chord;
    }
    return (double)n_left / (PROBES * PROBE_POINTS);
}

fkm_status fkmi_sketch_create(struct fkm_context *context, struct fkmi_sketch_trial *trial,
                              struct fkmi_sketch **out)
{
    FKMI_TRY(fill(context, &trial->job));
    *out = trial->job.sketch;
    trial->job.sketch = NULL;
    return FKM_OK;
}

void fkmi_sketch_trial_free(struct fkmi_sketch_trial *trial)
{
    if (!trial)
        return;
    free_job(&trial->job);
    fkmi_free(trial->numbers);
    fkmi_free(trial);
}

/* ---- the end */

void fkmi_sketch_free(struct fkmi_sketch *sketch)
{
    if (!sketch)
        return;
    fkmi_free(sketch->mean);
    fkmi_free(sketch->map);
    fkmi_free(sketch->bytes);
    fkmi_free(sketch->unit);
    fkmi_free(sketch->square);
    fkmi_free(sketch->rest);
    fkmi_free(sketch);
}
