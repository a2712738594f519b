/* sketch.c — principal directions of a sample of the rows, the rows along them, and the test that rules points out.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/sketch.h"

#include <math.h>
#include <string.h>

#include "base/random.h"

enum {
    SMALL_DIM = 8, /* up to here a sketch is in floats */
    LEAST_WIDTH = 16,
    MOST_WIDTH = 48,
    MOST_SAMPLE = 1024,
    LEAST_SAMPLE = 64,
    SAMPLE_VALUES = 1 << 18,
    SUBSPACE_ROUNDS = 4,
    PROBES = 512,      /* rows, */
    PROBE_POINTS = 16, /* points among them, */
    WORTH = 5,         /* and a pair in so many may be left for a sketch to be worth its price */
    ROWS_AT_ONCE = 256
};
/* (a + b)^2 <= (1 + SPLIT) a^2 + (1 + 1 / SPLIT) b^2 */
static const double SPLIT = 1.0 / 64;
static const double LARGEST = 0x1p14; /* of a sketch's length: f16 ends at 2^16 */

struct sketch_job {
    struct fkmi_sketch *sketch;
    const struct fkmi_rows *rows;
    const struct fkmi_space *space;
    const struct fkmi_kernels *kernels;
    int64_t n_directions;
    double *mean, *map;    /* dim; map: root of what a coordinate weighs, or NULL */
    double *directions;    /* n_directions x dim, orthonormal; NULL: the coordinates themselves */
    double *sample, *next; /* n_sample x dim; n_directions x dim */
    int64_t n_sample;
    double *longest;      /* by block */
    uint16_t *keys;       /* n x FKMI_KEYS */
    const int64_t *order; /* places of the view; NULL: as they come */
    char *scratch;
    size_t scratch_per_thread;
};

/* What a thread needs for one row. */
struct row_scratch {
    char *real;
    double *wide, *numbers;
};

static void carve_row(struct row_scratch *scratch, struct fkmi_carve *carve, const struct sketch_job *job)
{
    scratch->real = fkmi_carve(carve, job->sketch->dim, fkmi_real_size(job->space->real));
    scratch->wide = fkmi_carve(carve, job->sketch->dim, sizeof(double));
    scratch->numbers = fkmi_carve(carve, job->sketch->width, sizeof(double));
}

static struct row_scratch scratch_of(const struct sketch_job *job, int thread)
{
    struct fkmi_carve carve = {job->scratch + (size_t)thread * job->scratch_per_thread, 0};
    struct row_scratch scratch;

    carve_row(&scratch, &carve, job);
    return scratch;
}

bool fkmi_sketch_possible(const struct fkmi_space *space, const struct fkmi_rows *rows)
{
    return !fkmi_rows_sparse(rows) && !rows->mask && space->metric != FKM_METRIC_L1;
}

/* ---- rows as vectors */

/* Row i as distances see it: map (x - mean), in f64; returns its square. */
static double load_row(const struct sketch_job *job, const struct row_scratch *scratch, int64_t i,
                       double *out)
{
    const struct fkmi_vector *vector = &job->kernels->vector[FKMI_REAL_F64];
    const int64_t dim = job->sketch->dim;

    fkmi_row_load(job->rows, job->space, i, scratch->real);
    vector->load[job->space->real == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32](out, scratch->real, dim);
    vector->transform(out, out, job->mean, job->map, dim);
    return vector->dot(out, out, NULL, dim);
}

/* The numbers of row i, not yet scaled. */
static void sketch_row(const struct sketch_job *job, const struct row_scratch *scratch, int64_t i)
{
    const struct fkmi_vector *vector = &job->kernels->vector[FKMI_REAL_F64];
    const int64_t dim = job->sketch->dim, n = job->n_directions;
    double left = load_row(job, scratch, i, job->directions ? scratch->wide : scratch->numbers);

    if (!job->directions)
        return;
    for (int64_t q = 0; q < n; q++) {
        scratch->numbers[q] = vector->dot(scratch->wide, job->directions + q * dim, NULL, dim);
        left -= scratch->numbers[q] * scratch->numbers[q];
    }
    scratch->numbers[n] = sqrt(fmax(left, 0.0));
}

/* ---- principal directions: orthogonal iteration on a sample */

static fkm_status load_sample(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct sketch_job *job = argument;
    const struct row_scratch scratch = scratch_of(job, thread);

    for (int64_t s = begin; s < end; s++)
        (void)load_row(job, &scratch, s * job->rows->n / job->n_sample, job->sample + s * job->sketch->dim);
    return FKM_OK;
}

/* next = sample^T sample direction */
static fkm_status multiply(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct sketch_job *job = argument;
    const struct fkmi_vector *vector = &job->kernels->vector[FKMI_REAL_F64];
    const int64_t dim = job->sketch->dim;

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
    const struct fkmi_vector *vector = &job->kernels->vector[FKMI_REAL_F64];
    const int64_t dim = job->sketch->dim;

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
    const int64_t dim = job->sketch->dim;

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
    for (int64_t i = 0; i < job->n_directions * job->sketch->dim; i++)
        job->next[i] = fkmi_random_normal(&random);
    for (int round = 0; round < SUBSPACE_ROUNDS; round++) {
        orthonormalise(job);
        FKMI_TRY(fkmi_parallel(context->pool, job->n_directions, 1, multiply, job));
    }
    orthonormalise(job);
    return FKM_OK;
}

/* ---- the whole sketch */

static fkm_status measure_rows(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct sketch_job *job = argument;
    const struct row_scratch scratch = scratch_of(job, thread);
    double longest = 0;

    for (int64_t i = begin; i < end; i++)
        longest = fmax(longest, load_row(job, &scratch, i, scratch.wide));
    job->longest[begin / ROWS_AT_ONCE] = longest;
    return FKM_OK;
}

static fkm_status fill_keys(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct sketch_job *job = argument;
    const struct row_scratch scratch = scratch_of(job, thread);

    for (int64_t i = begin; i < end; i++) {
        sketch_row(job, &scratch, i);
        for (int64_t key = 0; key < FKMI_KEYS && key < job->sketch->width; key++) {
            const uint16_t half = fkmi_f16_of_f32((float)(scratch.numbers[key] * job->sketch->scale));
            job->keys[i * FKMI_KEYS + key] = (uint16_t)(half ^ (half & 0x8000u ? 0xffffu : 0x8000u));
        }
    }
    return FKM_OK;
}

static char *value_at(const struct fkmi_sketch *sketch, char *values, int64_t i, int64_t q)
{
    const int64_t cols = sketch->tile->cols, panel = i / cols;

    return values + (size_t)((panel * sketch->width + q) * cols + i % cols) * fkmi_dtype_size(sketch->dtype);
}

static fkm_status fill_values(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct sketch_job *job = argument;
    const struct fkmi_sketch *sketch = job->sketch;
    const struct row_scratch scratch = scratch_of(job, thread);

    for (int64_t i = begin; i < end; i++) {
        sketch_row(job, &scratch, job->order[i]);
        for (int64_t q = 0; q < sketch->width; q++)
            fkmi_dtype_set(value_at(sketch, sketch->values, i, q), sketch->dtype, 0,
                           scratch.numbers[q] * sketch->scale);
    }
    return FKM_OK;
}

/* The centre of a panel, and the ball around it. */
static fkm_status fill_balls(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct sketch_job *job = argument;
    struct fkmi_sketch *sketch = job->sketch;
    const int64_t cols = sketch->tile->cols;

    (void)thread;
    for (int64_t panel = begin; panel < end; panel++) {
        const int64_t first = panel * cols, n = sketch->n - first < cols ? sketch->n - first : cols;
        double square[32] = {0}, radius = 0, norm2 = 0;

        for (int64_t q = 0; q < sketch->width; q++) {
            double mean = 0;
            char *centre = value_at(sketch, sketch->ball_values, panel, q);

            for (int64_t r = 0; r < n; r++)
                mean += fkmi_dtype_get(value_at(sketch, sketch->values, first + r, q), sketch->dtype, 0) /
                        (double)n;
            fkmi_dtype_set(centre, sketch->dtype, 0, mean);
            mean = fkmi_dtype_get(centre, sketch->dtype, 0);
            norm2 += mean * mean;
            for (int64_t r = 0; r < n; r++) {
                const double off =
                    fkmi_dtype_get(value_at(sketch, sketch->values, first + r, q), sketch->dtype, 0) - mean;
                square[r] += off * off;
            }
        }
        for (int64_t r = 0; r < n; r++)
            radius = fmax(radius, sqrt(square[r]));
        sketch->ball_radius[panel] = (float)(radius * (1 + 0x1p-20));
        sketch->ball_square[panel] = norm2;
    }
    return FKM_OK;
}

/* What a coordinate weighs in distances, as a root; cosine's rows have unit length with their weights already. */
static fkm_status find_map(struct sketch_job *job)
{
    const double *weights = job->space->feature_weights;
    const int64_t dim = job->sketch->dim;
    double sum = 0;

    if (!weights)
        return FKM_OK;
    FKMI_TRY(fkmi_alloc(&job->map, dim, sizeof *job->map));
    for (int64_t d = 0; d < dim; d++)
        sum += weights[d];
    for (int64_t d = 0; d < dim; d++)
        job->map[d] = sqrt(weights[d] * (job->space->metric == FKM_METRIC_COSINE ? 1.0
                                         : sum > 0                               ? (double)dim / sum
                                                                                 : 0.0));
    return FKM_OK;
}

/* What the type of the sketch and of the distances cost. The length left over is the root of a difference: an error of
 * 2^-52 of the square becomes its root. */
static void find_errors(const struct sketch_job *job)
{
    struct fkmi_sketch *sketch = job->sketch;
    const double terms = (double)(sketch->dim + 64);
    const double unit = job->space->real == FKMI_REAL_F64 ? 0x1p-52 : 0x1p-23;

    sketch->error = (sketch->dtype == FKM_DTYPE_F16 ? 0x1.1p-11 : 0x1p-22) + sqrt((terms + 1e4) * 0x1p-51);
    sketch->least_error = sketch->dtype == FKM_DTYPE_F16 ? 0x1p-25 * sqrt((double)sketch->width) : 0x1p-100;
    sketch->share = 1 + terms * unit;
    sketch->extra = sketch->metric == FKM_METRIC_COSINE ? terms * unit : 0x1p-1040;
    sketch->rounding = (double)(sketch->width + 16) * 0x1p-23;
}

static void shape_of(struct fkmi_sketch *sketch, const struct fkmi_kernels *kernels)
{
    int64_t width = sketch->dim / 8;

    width = width < LEAST_WIDTH ? LEAST_WIDTH : width > MOST_WIDTH ? MOST_WIDTH : width;
    sketch->width = width < sketch->dim ? width : sketch->dim;
    sketch->dtype = sketch->dim <= SMALL_DIM ? FKM_DTYPE_F32 : FKM_DTYPE_F16;
    sketch->tile = &kernels->tile[sketch->dtype];
    sketch->n_panels = (sketch->n - 1) / sketch->tile->cols + 1;
    sketch->n_cells = (sketch->n_panels - 1) / sketch->tile->cols + 1;
}

static fkm_status allocate(struct fkmi_sketch *sketch)
{
    const int64_t cols = sketch->tile->cols;
    const size_t size = fkmi_dtype_size(sketch->dtype);

    FKMI_TRY(fkmi_alloc(&sketch->values, sketch->n_panels * cols * sketch->width, size));
    FKMI_TRY(fkmi_alloc(&sketch->bias, sketch->n_panels * cols, sizeof(float)));
    FKMI_TRY(fkmi_alloc(&sketch->ball_values, sketch->n_cells * cols * sketch->width, size));
    FKMI_TRY(fkmi_alloc(&sketch->ball_bias, sketch->n_cells * cols, sizeof(float)));
    FKMI_TRY(fkmi_alloc(&sketch->ball_radius, sketch->n_panels, sizeof(float)));
    FKMI_TRY(fkmi_alloc(&sketch->ball_square, sketch->n_panels, sizeof(double)));
    for (int64_t i = 0; i < sketch->n_panels * cols; i++)
        sketch->bias[i] = -INFINITY; /* rows that pad the last panel cannot be improved */
    for (int64_t i = 0; i < sketch->n_cells * cols; i++)
        sketch->ball_bias[i] = -INFINITY;
    return FKM_OK;
}

static fkm_status find_order(struct fkm_context *context, struct sketch_job *job, int64_t *order)
{
    struct fkmi_sketch *sketch = job->sketch;
    double longest = 0;

    for (int64_t i = 0; i < sketch->n; i++)
        order[i] = i;
    FKMI_TRY(fkmi_parallel(context->pool, sketch->n, ROWS_AT_ONCE, measure_rows, job));
    for (int64_t b = 0; b * ROWS_AT_ONCE < sketch->n; b++)
        longest = fmax(longest, job->longest[b]);
    sketch->scale = longest > 0 ? ldexp(LARGEST, -ilogb(sqrt(longest)) - 1) : 1;
    FKMI_TRY(fkmi_parallel(context->pool, sketch->n, ROWS_AT_ONCE, fill_keys, job));
    return fkmi_order_by_keys(context->pool, job->keys, sketch->tile->cols, sketch->n, order);
}

/* How far row i, of this minimum, and a point can be apart. */
static double chord_of(const struct fkmi_sketch *sketch, double distance)
{
    const double most = sketch->share * distance + sketch->extra;

    return sqrt(sketch->metric == FKM_METRIC_COSINE ? 2 * most : most);
}

/* Whether few enough of some pairs of rows are near in their sketches. */
static fkm_status probe(const struct sketch_job *job, const double *distance, bool *worth)
{
    const struct row_scratch scratch = scratch_of(job, 0);
    const int64_t n = job->rows->n, width = job->sketch->width;
    double *numbers;
    int64_t n_pairs = 0, n_left = 0;

    FKMI_TRY(fkmi_alloc(&numbers, PROBES * width, sizeof *numbers));
    for (int64_t s = 0; s < PROBES; s++) {
        sketch_row(job, &scratch, s * n / PROBES);
        memcpy(numbers + s * width, scratch.numbers, (size_t)width * sizeof *numbers);
    }
    for (int64_t s = 0; s < PROBES; s++) {
        const double held = distance[s * n / PROBES], chord = chord_of(job->sketch, held);

        for (int64_t p = 0; p < PROBES && held > 0; p += PROBES / PROBE_POINTS) {
            double square = 0;

            for (int64_t q = 0; q < width; q++) {
                const double off = numbers[s * width + q] - numbers[p * width + q];
                square += off * off;
            }
            n_pairs++;
            n_left += square < chord * chord;
        }
    }
    fkmi_free(numbers);
    *worth = n_left * WORTH <= n_pairs;
    return FKM_OK;
}

fkm_status fkmi_sketch_create(struct fkm_context *context, const struct fkmi_space *space,
                              const struct fkmi_rows *rows, const double *distance, struct fkmi_sketch **out,
                              int64_t **places)
{
    const int n_threads = fkmi_pool_threads_here(context->pool);
    struct sketch_job job = {.rows = rows, .space = space, .kernels = context->kernels};
    struct fkmi_carve carve = {NULL, 0};
    struct row_scratch measured;
    struct fkmi_sketch *sketch = NULL;
    int64_t *order = NULL;
    bool worth = true;
    fkm_status status = FKM_OK;

    *out = NULL;
    FKMI_TRY_GOTO(fkmi_alloc(&sketch, 1, sizeof *sketch));
    *sketch = (struct fkmi_sketch){
        .metric = space->metric, .n = rows->n, .dim = rows->dim, .kernels = context->kernels};
    job.sketch = sketch;
    shape_of(sketch, context->kernels);
    find_errors(&job);
    job.n_directions = sketch->width < sketch->dim ? sketch->width - 1 : 0;
    job.n_sample = SAMPLE_VALUES / sketch->dim > MOST_SAMPLE ? MOST_SAMPLE : SAMPLE_VALUES / sketch->dim;
    job.n_sample = job.n_sample < LEAST_SAMPLE ? LEAST_SAMPLE : job.n_sample;
    job.n_sample = job.n_sample > rows->n ? rows->n : job.n_sample;
    carve_row(&measured, &carve, &job);
    job.scratch_per_thread = carve.used;
    FKMI_TRY_GOTO(fkmi_alloc(&job.scratch, n_threads, carve.used));
    FKMI_TRY_GOTO(fkmi_alloc(&job.mean, rows->dim, sizeof(double)));
    FKMI_TRY_GOTO(find_map(&job));
    FKMI_TRY_GOTO(fkmi_alloc(&job.sample, job.n_sample * rows->dim, sizeof(double)));
    FKMI_TRY_GOTO(find_mean(context, &job));
    if (job.n_directions > 0) {
        FKMI_TRY_GOTO(fkmi_alloc(&job.directions, job.n_directions * rows->dim, sizeof(double)));
        FKMI_TRY_GOTO(fkmi_alloc(&job.next, job.n_directions * rows->dim, sizeof(double)));
        FKMI_TRY_GOTO(find_directions(context, &job));
    }
    fkmi_free(job.sample);
    job.sample = NULL;
    if (distance)
        FKMI_TRY_GOTO(probe(&job, distance, &worth));
    if (!worth)
        goto done;
    FKMI_TRY_GOTO(fkmi_alloc(&order, rows->n, sizeof *order));
    FKMI_TRY_GOTO(fkmi_alloc(&job.longest, rows->n / ROWS_AT_ONCE + 1, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_alloc(&job.keys, rows->n * FKMI_KEYS, sizeof(uint16_t)));
    FKMI_TRY_GOTO(find_order(context, &job, order));
    fkmi_free(job.keys);
    job.keys = NULL;
    job.order = order;
    FKMI_TRY_GOTO(allocate(sketch));
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, sketch->n, ROWS_AT_ONCE, fill_values, &job));
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, sketch->n_panels, 64, fill_balls, &job));
    *out = sketch;
    *places = order;
    sketch = NULL;
    order = NULL;
done:
    fkmi_sketch_free(sketch);
    fkmi_free(order);
    fkmi_free(job.scratch);
    fkmi_free(job.mean);
    fkmi_free(job.map);
    fkmi_free(job.directions);
    fkmi_free(job.next);
    fkmi_free(job.sample);
    fkmi_free(job.longest);
    fkmi_free(job.keys);
    return status;
}

void fkmi_sketch_free(struct fkmi_sketch *sketch)
{
    if (!sketch)
        return;
    fkmi_free(sketch->values);
    fkmi_free(sketch->bias);
    fkmi_free(sketch->ball_values);
    fkmi_free(sketch->ball_bias);
    fkmi_free(sketch->ball_radius);
    fkmi_free(sketch->ball_square);
    fkmi_free(sketch);
}

/* ---- screening */

/* Squares of the rows of a panel. */
static void squares_of(const struct fkmi_sketch *sketch, const char *values, int64_t panel, double *square)
{
    const int64_t cols = sketch->tile->cols, n = sketch->width * cols;
    float number[MOST_WIDTH * 32];

    sketch->kernels->vector[FKMI_REAL_F32].load[sketch->dtype](
        number, values + (size_t)(panel * n) * fkmi_dtype_size(sketch->dtype), n);
    for (int64_t r = 0; r < cols; r++)
        square[r] = 0;
    for (int64_t q = 0; q < sketch->width; q++)
        for (int64_t r = 0; r < cols; r++)
            square[r] += (double)number[q * cols + r] * (double)number[q * cols + r];
}

/* How far a point can be from a row, whose sketch has this square, in sketches, and still nearer than `distance`; the
 * point's own error comes on top. */
static double reach_of(const struct fkmi_sketch *sketch, double square, double distance)
{
    return (chord_of(sketch, distance) * sketch->scale + sketch->error * sqrt(square) + sketch->least_error) *
           (1 + 0x1p-40);
}

/* (T - |s|^2) / 2, and what the rounding of the dot product may take from it. */
static float bias_of(const struct fkmi_sketch *sketch, double square, double reach)
{
    const double limit = (1 + SPLIT) * reach * reach;

    return (float)((limit - square) / 2 + sketch->rounding * (limit + square));
}

void fkmi_sketch_update(struct fkmi_sketch *sketch, int64_t panel, const double *distance)
{
    const int64_t cols = sketch->tile->cols, first = panel * cols;
    const int64_t n = sketch->n - first < cols ? sketch->n - first : cols;
    double square[32], farthest = -1;

    squares_of(sketch, sketch->values, panel, square);
    for (int64_t r = 0; r < n; r++) {
        const double reach = distance[r] > 0 ? reach_of(sketch, square[r], distance[r]) : -1;

        sketch->bias[first + r] = reach < 0 ? -INFINITY : bias_of(sketch, square[r], reach);
        farthest = reach > farthest ? reach : farthest;
    }
    sketch->ball_bias[panel] = farthest < 0 ? -INFINITY
                                            : bias_of(sketch, sketch->ball_square[panel],
                                                      farthest + (double)sketch->ball_radius[panel]);
}

static int tiles_of(const struct fkmi_sketch *sketch, int64_t n)
{
    return (int)((n + sketch->tile->rows - 1) / sketch->tile->rows);
}

size_t fkmi_sketch_points_size(const struct fkmi_sketch *sketch, int64_t n)
{
    struct fkmi_carve carve = {NULL, 0};
    const int64_t places = (int64_t)tiles_of(sketch, n) * sketch->tile->rows;

    fkmi_carve(&carve, places * sketch->width, sizeof(float));
    fkmi_carve(&carve, places, sizeof(float));
    return carve.used;
}

void fkmi_sketch_load_points(const struct fkmi_sketch *sketch, const int64_t *drawn, int64_t n, void *memory,
                             struct fkmi_sketch_points *points)
{
    const int64_t rows = sketch->tile->rows, width = sketch->width, places = tiles_of(sketch, n) * rows;
    struct fkmi_carve carve = {memory, 0};

    points->n_tiles = tiles_of(sketch, n);
    points->values = fkmi_carve(&carve, places * width, sizeof(float));
    points->threshold = fkmi_carve(&carve, places, sizeof(float));
    for (int64_t j = 0; j < places; j++) {
        float *values = points->values + j / rows * rows * width + j % rows;
        double square = 0, error;

        for (int64_t q = 0; q < width; q++) {
            const double value =
                j < n ? fkmi_dtype_get(value_at(sketch, sketch->values, drawn[j], q), sketch->dtype, 0) : 0;
            values[q * rows] = (float)value;
            square += value * value;
        }
        points->threshold[j] = INFINITY; /* points that pad the last tile */
        if (j >= n)
            continue;
        error = sketch->error * sqrt(square) + sketch->least_error;
        points->threshold[j] =
            (float)(square / 2 - (1 + 1 / SPLIT) * error * error / 2 - sketch->rounding * square);
    }
}

/* Lanes of a panel of rows (or of balls) that each point of a tile may improve; returns those of any. */
static uint32_t hits_of(const struct fkmi_sketch *sketch, const struct fkmi_sketch_points *points, int tile,
                        const char *values, const float *bias, int64_t panel, float *scores, uint32_t *lanes)
{
    const int64_t cols = sketch->tile->cols, rows = sketch->tile->rows, width = sketch->width;
    const char *panel_at = values + (size_t)(panel * width * cols) * fkmi_dtype_size(sketch->dtype);
    uint32_t hit, any = 0;

    sketch->tile->dot(points->values + tile * rows * width, panel_at, bias + panel * cols, width, scores);
    hit = sketch->tile->above(scores, points->threshold + tile * rows, lanes);
    for (uint32_t left = hit; left; left &= left - 1)
        any |= lanes[__builtin_ctz(left)];
    return any;
}

static void screen_panel(const struct fkmi_sketch *sketch, const struct fkmi_sketch_points *points,
                         int64_t panel, float *scores, uint16_t *maybe)
{
    const int rows = sketch->tile->rows;
    uint32_t lanes[32];

    for (int tile = 0; tile < points->n_tiles; tile++) {
        if (!hits_of(sketch, points, tile, sketch->values, sketch->bias, panel, scores, lanes))
            continue;
        for (int r = 0; r < rows && tile * rows + r < FKMI_MOST_TRIALS; r++)
            for (uint32_t left = lanes[r]; left; left &= left - 1)
                maybe[__builtin_ctz(left)] |= (uint16_t)(1u << (tile * rows + r));
    }
}

void fkmi_sketch_screen(const struct fkmi_sketch *sketch, const struct fkmi_sketch_points *points,
                        int64_t first, int64_t n, float *scores, uint16_t *maybe)
{
    const int64_t cols = sketch->tile->cols, begin = first / cols, end = (first + n - 1) / cols + 1;
    uint32_t lanes[32];

    memset(maybe, 0, (size_t)n * sizeof *maybe);
    for (int64_t cell = begin / cols; cell * cols < end; cell++) {
        uint32_t any = 0;

        for (int tile = 0; tile < points->n_tiles; tile++)
            any |= hits_of(sketch, points, tile, sketch->ball_values, sketch->ball_bias, cell, scores, lanes);
        for (; any; any &= any - 1) {
            const int64_t panel = cell * cols + __builtin_ctz(any);
            if (panel >= begin && panel < end)
                screen_panel(sketch, points, panel, scores, maybe + panel * cols - first);
        }
    }
}
