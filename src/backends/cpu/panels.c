/* panels.c — prototypes laid out for tiles: mapped, in panels of `cols`, dimension-major. The first scan that needs
 * them makes them; where bytes tell enough, none does.
 *
 * Panels are in the storage type where that is exact: no weights, no centre, no normalising; else they are
 * reals.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/cpu.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

struct panels_state {
    struct fkmi_panels shown;
    atomic_bool full;
    pthread_mutex_t lock;
    void *memory;
    size_t capacity;
};

struct panels_job {
    const struct fkmi_pack *pack;
    struct fkmi_panels *panels;
    char *scratch;
    size_t scratch_per_thread;
};

struct thread_scratch {
    char *staged;     /* cols x at most FKMI_DIMS_PER_CHUNK reals */
    char *transposed; /* the same by dimension, for halves */
};

fkm_status fkmi_panels_create(struct fkmi_panels **out)
{
    struct panels_state *state;

    FKMI_TRY(fkmi_alloc(&state, 1, sizeof *state));
    pthread_mutex_init(&state->lock, NULL);
    *out = &state->shown;
    return FKM_OK;
}

static struct panels_state *state_of(struct fkmi_panels *panels) { return (struct panels_state *)panels; }

void fkmi_panels_free(struct fkmi_panels *panels)
{
    struct panels_state *state = state_of(panels);

    if (!state)
        return;
    pthread_mutex_destroy(&state->lock);
    fkmi_free(state->memory);
    fkmi_free(state);
}

void fkmi_panels_trim(struct fkmi_panels *panels)
{
    struct panels_state *state = state_of(panels);

    atomic_store(&state->full, false);
    fkmi_free(state->memory);
    state->memory = NULL;
    state->capacity = 0;
}

void fkmi_panels_renew(struct fkmi_panels *panels) { atomic_store(&state_of(panels)->full, false); }

/* ---- one panel */

static int64_t dims_at_once(const struct fkmi_pack *pack)
{
    return pack->dim < FKMI_DIMS_PER_CHUNK ? pack->dim : FKMI_DIMS_PER_CHUNK;
}

static void carve_thread(struct thread_scratch *scratch, struct fkmi_carve *carve,
                         const struct fkmi_pack *pack)
{
    const size_t real = fkmi_real_size(pack->space.real);
    const int64_t n = pack->tile->cols * dims_at_once(pack);

    scratch->staged = fkmi_carve(carve, n, real);
    scratch->transposed = fkmi_carve(carve, fkmi_panels_are_stored(pack) ? n : 0, real);
}

static void scale_reals(enum fkmi_real real, void *x, int64_t n, double scale)
{
    float *f32 = x;
    double *f64 = x;

    if (real == FKMI_REAL_F64)
        for (int64_t i = 0; i < n; i++)
            f64[i] *= scale;
    else
        for (int64_t i = 0; i < n; i++)
            f32[i] = (float)((double)f32[i] * scale);
}

/* Prototype j's coordinates d .. d + n as the panel holds them, in reals. */
static const void *stage_point(const struct fkmi_pack *pack, int64_t j, int64_t d, int64_t n, void *staged)
{
    const struct fkmi_vector *vector = fkmi_pack_vector(pack);
    const size_t real = fkmi_real_size(pack->space.real), at = (size_t)d * real,
                 stored = fkmi_dtype_size(pack->dtype);
    const char *point = (const char *)pack->points + (size_t)(j * pack->dim + d) * stored;
    const bool to_unit = pack->space.metric == FKM_METRIC_COSINE && !pack->scale;

    if (stored == real && !to_unit && !pack->centre && !pack->map)
        return point;
    vector->load[pack->dtype](staged, point, n);
    if (to_unit && pack->size[j] > 0) /* first, while an extreme prototype still fits */
        scale_reals(pack->space.real, staged, n, 1 / sqrt(pack->size[j]));
    if (pack->centre || pack->map)
        vector->transform(staged, staged, pack->centre ? pack->centre + at : NULL,
                          pack->map ? pack->map + at : NULL, n);
    return staged;
}

static void fill_panel(const struct panels_job *job, const struct thread_scratch *scratch, int64_t panel)
{
    const struct fkmi_pack *pack = job->pack;
    const struct fkmi_vector *vector = fkmi_pack_vector(pack);
    const enum fkmi_real real = pack->space.real;
    const size_t real_size = fkmi_real_size(real), stored_size = fkmi_dtype_size(pack->panel_dtype);
    const int cols = pack->tile->cols;
    const int64_t first = panel * cols, left = pack->k - first;
    const int n_points = left < cols ? (int)left : cols;
    const void *row[64];

    assert(cols <= 64);
    for (int64_t d = 0; d < pack->dim; d += FKMI_DIMS_PER_CHUNK) {
        const int64_t n = pack->dim - d < FKMI_DIMS_PER_CHUNK ? pack->dim - d : FKMI_DIMS_PER_CHUNK;
        const size_t at = (size_t)((panel * pack->dim + d) * cols);

        for (int j = 0; j < n_points; j++)
            row[j] = stage_point(pack, first + j, d, n,
                                 scratch->staged + (size_t)(j * dims_at_once(pack)) * real_size);
        if (fkmi_panels_are_stored(pack)) {
            pack->tile->pack(row, n_points, n, cols, scratch->transposed);
            vector->store[pack->panel_dtype](job->panels->values + at * stored_size, scratch->transposed,
                                             n * cols);
        } else
            pack->tile->pack(row, n_points, n, cols, job->panels->values + at * stored_size);
        for (int j = 0; job->panels->squares && j < n_points; j++) {
            char *staged = scratch->staged + (size_t)(j * dims_at_once(pack)) * real_size;

            vector->transform(staged, row[j], NULL, row[j], n);
            row[j] = staged;
        }
        if (job->panels->squares)
            pack->tile->pack(row, n_points, n, cols, job->panels->squares + at * real_size);
    }
}

static fkm_status fill_panels(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct panels_job *job = argument;
    struct fkmi_carve carve = {job->scratch + (size_t)thread * job->scratch_per_thread, 0};
    struct thread_scratch scratch;

    carve_thread(&scratch, &carve, job->pack);
    for (int64_t panel = begin; panel < end; panel++)
        fill_panel(job, &scratch, panel);
    return FKM_OK;
}

/* ---- entry point */

static void carve_panels(struct fkmi_panels *panels, struct fkmi_carve *carve, const struct fkmi_pack *pack)
{
    const bool squares = pack->masked && pack->space.metric != FKM_METRIC_L1;
    const int64_t n = pack->n_panels * pack->tile->cols * pack->dim;

    panels->values = fkmi_carve(carve, n, fkmi_dtype_size(pack->panel_dtype));
    panels->squares = squares ? fkmi_carve(carve, n, fkmi_real_size(pack->space.real)) : NULL;
}

static fkm_status fill(struct fkm_context *context, const struct fkmi_pack *pack, struct panels_state *state)
{
    struct panels_job job = {.pack = pack, .panels = &state->shown};
    struct thread_scratch scratch;
    struct fkmi_carve carve = {NULL, 0};
    size_t capacity;
    void *memory = NULL;
    fkm_status status = FKM_OK;

    carve_panels(&state->shown, &carve, pack);
    if (carve.used > state->capacity) {
        fkmi_free(state->memory);
        state->memory = NULL;
        capacity = fkmi_larger_capacity(state->capacity, carve.used);
        state->capacity = 0;
        FKMI_TRY_GOTO(fkmi_alloc(&state->memory, (int64_t)capacity, 1));
        state->capacity = capacity;
    }
    carve = (struct fkmi_carve){state->memory, 0};
    carve_panels(&state->shown, &carve, pack);
    carve = (struct fkmi_carve){NULL, 0};
    carve_thread(&scratch, &carve, pack);
    job.scratch_per_thread = carve.used;
    FKMI_TRY_GOTO(
        fkmi_scratch_take(context, carve.used * (size_t)fkmi_pool_threads_here(context->pool), &memory));
    job.scratch = memory;
    /* whoever an interrupt asks may scan too, and would wait for the lock */
    FKMI_TRY_GOTO(fkmi_parallel_whole(context->pool, pack->n_panels, 1, fill_panels, &job));
done:
    fkmi_scratch_give(context, memory);
    return status;
}

fkm_status fkmi_panels_ready(struct fkm_context *context, const struct fkmi_pack *pack)
{
    struct panels_state *state = state_of(pack->panels);
    fkm_status status = FKM_OK;

    if (pack->listed || atomic_load_explicit(&state->full, memory_order_acquire))
        return FKM_OK;
    pthread_mutex_lock(&state->lock);
    if (!atomic_load_explicit(&state->full, memory_order_relaxed)) {
        status = fill(context, pack, state);
        atomic_store_explicit(&state->full, status == FKM_OK, memory_order_release);
    }
    pthread_mutex_unlock(&state->lock);
    return status;
}
