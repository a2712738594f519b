/* pack.c — what a scan must know of prototypes: the map that they and rows go through, their norms and biases. They
 * are read where they are; bytes (screen_bytes.c) and panels (panels.c) of them are made by the first scan that needs
 * those.
 *
 * Euclidean scores x.c - |c|^2/2 cancel when all points lie far from the origin. When the mean of the
 * prototypes is large beside their spread, it is subtracted from prototypes and rows alike.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/screen.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define DIMS_PER_MEAN    64
#define POINTS_FOR_MEAN  64
#define POINTS_PER_BLOCK 32
#define FAR_FROM_ORIGIN  4.0 /* |mean|^2 over the mean square distance to it, from which centring pays */

static const double zeros[FKMI_DIMS_PER_CHUNK]; /* also read as floats */

struct pack_job {
    struct fkmi_pack *pack;
    /* measured first, by euclidean only */
    double *mean, *squares; /* dim; by chunk of DIMS_PER_MEAN */
    char *scratch;
    size_t scratch_per_thread;
};

struct thread_scratch {
    char *staged; /* at most FKMI_DIMS_PER_CHUNK reals */
    double *wide; /* the same */
};

static void carve_thread(struct thread_scratch *scratch, struct fkmi_carve *carve,
                         const struct fkmi_pack *pack)
{
    const int64_t dims = pack->dim < FKMI_DIMS_PER_CHUNK ? pack->dim : FKMI_DIMS_PER_CHUNK;

    scratch->staged = fkmi_carve(carve, dims, fkmi_real_size(pack->space.real));
    scratch->wide = fkmi_carve(carve, dims, sizeof(double));
}

static struct thread_scratch scratch_of(const struct pack_job *job, int thread)
{
    struct fkmi_carve carve = {job->scratch + (size_t)thread * job->scratch_per_thread, 0};
    struct thread_scratch scratch;

    carve_thread(&scratch, &carve, job->pack);
    return scratch;
}

static const char *point_at(const struct pack_job *job, int64_t j, int64_t d)
{
    return (const char *)job->pack->points +
           (size_t)(j * job->pack->dim + d) * fkmi_dtype_size(job->pack->dtype);
}

static void set_real(enum fkmi_real real, void *array, int64_t i, double value)
{
    if (real == FKMI_REAL_F64)
        ((double *)array)[i] = value;
    else
        ((float *)array)[i] = (float)value;
}

/* ---- is the mean far from the origin? Some prototypes tell, and any centre will do. */

static int64_t sampled(const struct fkmi_pack *pack)
{
    return pack->k < POINTS_FOR_MEAN ? pack->k : POINTS_FOR_MEAN;
}

static fkm_status measure_chunks(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct pack_job *job = argument;
    const struct fkmi_pack *pack = job->pack;
    const struct fkmi_vector *vector = &pack->kernels->vector[FKMI_REAL_F64];
    const struct thread_scratch scratch = scratch_of(job, thread);

    for (int64_t chunk = begin; chunk < end; chunk++) {
        const int64_t d = chunk * DIMS_PER_MEAN, left = pack->dim - d,
                      n = left < DIMS_PER_MEAN ? left : DIMS_PER_MEAN;

        memset(job->mean + d, 0, (size_t)n * sizeof *job->mean);
        job->squares[chunk] = 0;
        for (int64_t i = 0; i < sampled(pack); i++) {
            vector->load[pack->dtype](scratch.wide, point_at(job, i * pack->k / sampled(pack), d), n);
            vector->add_f64(job->mean + d, scratch.wide, 1.0, n);
            job->squares[chunk] += vector->dot(scratch.wide, scratch.wide, NULL, n);
        }
    }
    return FKM_OK;
}

static fkm_status measure(struct fkm_context *context, struct pack_job *job)
{
    struct fkmi_pack *pack = job->pack;
    const int64_t n_chunks = (pack->dim - 1) / DIMS_PER_MEAN + 1;
    double mean_square = 0, mean_norm2 = 0;

    FKMI_TRY(fkmi_parallel(context->pool, n_chunks, 1, measure_chunks, job));
    for (int64_t chunk = 0; chunk < n_chunks; chunk++)
        mean_square += job->squares[chunk] / (double)sampled(pack);
    for (int64_t d = 0; d < pack->dim; d++) {
        job->mean[d] /= (double)sampled(pack);
        mean_norm2 += job->mean[d] * job->mean[d];
    }
    pack->centred = mean_norm2 > FAR_FROM_ORIGIN * (mean_square - mean_norm2);
    return FKM_OK;
}

/* ---- where everything lies */

static fkm_dtype panel_dtype_of(const struct fkmi_pack *pack, const double *weights)
{
    const bool half = pack->dtype == FKM_DTYPE_F16 || pack->dtype == FKM_DTYPE_BF16;
    /* bf16 prototypes that were not made unit vectors reach where products overflow; f16 ones cannot */
    const bool needs_norm = pack->space.metric == FKM_METRIC_COSINE && pack->dtype == FKM_DTYPE_BF16;

    if (pack->space.real == FKMI_REAL_F64)
        return FKM_DTYPE_F64;
    return half && !weights && !pack->centred && !needs_norm ? pack->dtype : FKM_DTYPE_F32;
}

static void carve_pack(struct fkmi_pack *pack, struct fkmi_carve *carve, bool weighted)
{
    const size_t real = fkmi_real_size(pack->space.real);
    const int64_t cols = pack->tile->cols, lanes = pack->n_panels * cols, dim = pack->dim;

    pack->bias = fkmi_carve(carve, lanes, real);
    pack->sparse_bias = fkmi_carve(carve, lanes, real);
    pack->scale = pack->space.metric == FKM_METRIC_COSINE && fkmi_panels_are_stored(pack)
                      ? fkmi_carve(carve, lanes, real)
                      : NULL;
    pack->size = fkmi_carve(carve, pack->k, sizeof *pack->size);
    pack->centre = pack->centred ? fkmi_carve(carve, dim, real) : NULL;
    pack->wide_centre = pack->centred ? fkmi_carve(carve, dim, sizeof(double)) : NULL;
    pack->map = weighted ? fkmi_carve(carve, dim, real) : NULL;
    pack->weights = weighted ? fkmi_carve(carve, dim, real) : NULL;
    pack->feature_weights = weighted ? fkmi_carve(carve, dim, sizeof(double)) : NULL;
}

/* Centre, weights and the map, as reals. */
void fkmi_pack_fill_map(struct fkmi_pack *pack, const double *weights, const double *mean)
{
    const enum fkmi_real real = pack->space.real;
    double sum = 0;

    pack->factor = 1;
    pack->centre_norm2 = 0;
    for (int64_t d = 0; pack->centred && d < pack->dim; d++) {
        set_real(real, pack->centre, d, mean[d]);
        pack->wide_centre[d] = real == FKMI_REAL_F64 ? mean[d] : (double)(float)mean[d];
        pack->centre_norm2 += (weights ? weights[d] : 1.0) * pack->wide_centre[d] * pack->wide_centre[d];
    }
    for (int64_t d = 0; weights && d < pack->dim; d++) {
        pack->feature_weights[d] = weights[d];
        set_real(real, pack->weights, d, weights[d]);
        set_real(real, pack->map, d, pack->space.metric == FKM_METRIC_L1 ? weights[d] : sqrt(weights[d]));
        sum += weights[d];
    }
    if (weights)
        pack->factor = sum > 0 ? (double)pack->dim / sum : 0.0;
}

/* ---- norms and biases */

struct norms {
    double size;             /* sum w c^2, or sum w |c| for l1 */
    double norm2, by_centre; /* mapped: its square, its product with the mapped centre */
};

static struct norms measure_point(const struct pack_job *job, const struct thread_scratch *scratch, int64_t j)
{
    const struct fkmi_pack *pack = job->pack;
    const struct fkmi_vector *wide = &pack->kernels->vector[FKMI_REAL_F64], *vector = fkmi_pack_vector(pack);
    const bool euclidean = pack->space.metric == FKM_METRIC_EUCLIDEAN,
               l1 = pack->space.metric == FKM_METRIC_L1;
    const size_t real = fkmi_real_size(pack->space.real);
    struct norms norms = {0};

    if (euclidean && !pack->centre && !pack->map && fkmi_dtype_size(pack->dtype) == real) {
        norms.size = norms.norm2 = vector->square_f64(point_at(job, j, 0), pack->dim);
        return norms;
    }
    for (int64_t d = 0; d < pack->dim; d += FKMI_DIMS_PER_CHUNK) {
        const int64_t n = pack->dim - d < FKMI_DIMS_PER_CHUNK ? pack->dim - d : FKMI_DIMS_PER_CHUNK;
        const double *w = pack->feature_weights ? pack->feature_weights + d : NULL;
        const char *centre = pack->centre ? pack->centre + (size_t)d * real : NULL;
        const char *map = pack->map ? pack->map + (size_t)d * real : NULL;

        wide->load[pack->dtype](scratch->wide, point_at(job, j, d), n);
        norms.size += l1 ? wide->distance[FKM_METRIC_L1](scratch->wide, zeros, w, n)
                         : wide->dot(scratch->wide, scratch->wide, w, n);
        if (!euclidean || (!centre && !map))
            continue;
        vector->load[pack->dtype](scratch->staged, point_at(job, j, d), n);
        vector->transform(scratch->staged, scratch->staged, centre, map, n);
        norms.norm2 += vector->dot(scratch->staged, scratch->staged, NULL, n);
        if (centre) /* the map is in `staged`: root w (c - centre); times root w centre */
            norms.by_centre += vector->dot(centre, scratch->staged, map, n);
    }
    if (euclidean && !pack->centre && !pack->map)
        norms.norm2 = norms.size;
    return norms;
}

static fkm_status measure_points(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct pack_job *job = argument;
    const struct thread_scratch scratch = scratch_of(job, thread);
    struct fkmi_pack *pack = job->pack;
    const enum fkmi_real real = pack->space.real;
    const bool l1 = pack->space.metric == FKM_METRIC_L1;

    for (int64_t j = begin; j < end; j++) {
        const struct norms norms = j < pack->k ? measure_point(job, &scratch, j) : (struct norms){0};

        if (j < pack->k)
            pack->size[j] = norms.size;
        set_real(real, pack->bias, j, -norms.norm2 / 2);
        set_real(real, pack->sparse_bias, j, l1 ? -norms.size : -norms.norm2 / 2 - norms.by_centre);
        if (pack->scale)
            set_real(real, pack->scale, j, norms.size > 0 ? 1 / sqrt(norms.size) : 0.0);
    }
    return FKM_OK;
}

/* The largest norm a mapped euclidean prototype has, and whether scores can be trusted with such norms. */
void fkmi_pack_find_norm(struct fkmi_pack *pack, const void *biases)
{
    const bool f64 = pack->space.real == FKMI_REAL_F64;
    double most = 0;

    for (int64_t j = 0; j < pack->k; j++) {
        const double bias = f64 ? ((const double *)biases)[j] : (double)((const float *)biases)[j];

        if (!(-2 * bias <= most))
            most = -2 * bias;
    }
    pack->norm = sqrt(most);
    pack->unusual = pack->space.metric == FKM_METRIC_EUCLIDEAN &&
                    (!(most < (f64 ? 1e280 : 1e30)) || (most > 0 && most < (f64 ? 1e-280 : 1e-24)));
}

fkm_status fkmi_cpu_pack(struct fkm_context *context, const struct fkmi_space *space, fkm_dtype dtype,
                         const void *points, int64_t k, bool masked, struct fkmi_pack **pack)
{
    const struct fkmi_kernels *kernels = context->kernels;
    const int n_threads = fkmi_pool_threads_here(context->pool);
    struct fkmi_pack next = {.space = *space,
                             .wide = *space,
                             .dtype = dtype,
                             .dim = space->dim,
                             .k = k,
                             .points = points,
                             .masked = masked,
                             .kernels = kernels,
                             .memory = *pack ? (*pack)->memory : NULL,
                             .capacity = *pack ? (*pack)->capacity : 0,
                             .panels = *pack ? (*pack)->panels : NULL,
                             .screen = *pack ? (*pack)->screen : NULL,
                             .ordered = *pack ? (*pack)->ordered : NULL,
                             .tuning = space->tuning ? *space->tuning : (struct fkmi_tuning){0}};
    struct pack_job job = {.pack = &next};
    struct thread_scratch scratch;
    struct fkmi_carve carve = {NULL, 0};
    struct fkmi_pack *fresh = NULL;
    struct fkmi_screen *screen = NULL, *ordered = NULL;
    struct fkmi_panels *panels = NULL;
    void *memory = NULL, *grown = NULL;
    fkm_status status = FKM_OK;

    assert(k >= 1 && space->dim >= 1);
    next.space.tuning = next.wide.tuning = NULL; /* the caller's may go before the pack does */
    next.wide.real = FKMI_REAL_F64;
    next.tile = &kernels->tile[space->real == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32];
    next.n_panels = (k - 1) / next.tile->cols + 1;

    carve_thread(&scratch, &carve, &next);
    job.scratch_per_thread = carve.used;
    carve.used *= (size_t)n_threads;
    fkmi_carve(&carve, next.dim, sizeof(double));
    fkmi_carve(&carve, (next.dim - 1) / DIMS_PER_MEAN + 1, sizeof(double));
    FKMI_TRY_GOTO(fkmi_scratch_take(context, carve.used, &memory));
    carve = (struct fkmi_carve){memory, job.scratch_per_thread * (size_t)n_threads};
    job.scratch = memory;
    job.mean = fkmi_carve(&carve, next.dim, sizeof(double));
    job.squares = fkmi_carve(&carve, (next.dim - 1) / DIMS_PER_MEAN + 1, sizeof(double));

    if (space->metric == FKM_METRIC_EUCLIDEAN)
        FKMI_TRY_GOTO(measure(context, &job));
    next.panel_dtype = panel_dtype_of(&next, space->feature_weights);
    next.tile = &kernels->tile[next.panel_dtype];
    carve = (struct fkmi_carve){NULL, 0};
    carve_pack(&next, &carve, space->feature_weights != NULL);
    if (!*pack) {
        FKMI_TRY_GOTO(fkmi_alloc(&fresh, 1, sizeof *fresh));
        FKMI_TRY_GOTO(fkmi_panels_create(&panels));
        FKMI_TRY_GOTO(fkmi_screen_create(&screen));
        FKMI_TRY_GOTO(fkmi_screen_create(&ordered));
    }
    if (carve.used > next.capacity || !next.memory) {
        next.capacity = fkmi_larger_capacity(next.capacity, carve.used);
        status = fkmi_alloc(&grown, (int64_t)next.capacity, 1);
        if (status != FKM_OK && next.capacity > carve.used) { /* then without room for more */
            next.capacity = carve.used;
            status = fkmi_alloc(&grown, (int64_t)next.capacity, 1);
        }
        FKMI_TRY_GOTO(status);
        next.memory = grown;
    }

    /* From here on nothing fails: the old content may be overwritten. */
    carve = (struct fkmi_carve){next.memory, 0};
    carve_pack(&next, &carve, space->feature_weights != NULL);
    fkmi_pack_fill_map(&next, space->feature_weights, job.mean);
    next.space.feature_weights = next.wide.feature_weights = next.feature_weights;
    status = fkmi_parallel_whole(context->pool, next.n_panels * next.tile->cols, POINTS_PER_BLOCK,
                                 measure_points, &job);
    assert(status == FKM_OK);
    fkmi_pack_find_norm(&next, next.bias);
    if (grown && *pack)
        fkmi_free((*pack)->memory);
    if (*pack)
        fkmi_list_columns_free((*pack)->columns);
    if (fresh) {
        *pack = fresh;
        next.panels = panels;
        next.screen = screen;
        next.ordered = ordered;
    }
    fkmi_panels_renew(next.panels);
    fkmi_screen_renew(next.screen);
    fkmi_screen_renew(next.ordered);
    **pack = next;
    fresh = NULL;
    panels = NULL;
    screen = ordered = NULL;
    grown = NULL;
done:
    fkmi_free(grown);
    fkmi_free(fresh);
    fkmi_panels_free(panels);
    fkmi_screen_free(screen);
    fkmi_screen_free(ordered);
    fkmi_scratch_give(context, memory);
    return status;
}

void fkmi_cpu_pack_trim(struct fkmi_pack *pack)
{
    if (pack)
        fkmi_panels_trim(pack->panels);
}

void fkmi_cpu_pack_free(struct fkmi_pack *pack)
{
    if (!pack)
        return;
    fkmi_panels_free(pack->panels);
    fkmi_screen_free(pack->screen);
    fkmi_screen_free(pack->ordered);
    fkmi_list_columns_free(pack->columns);
    fkmi_free(pack->memory);
    fkmi_free(pack);
}
