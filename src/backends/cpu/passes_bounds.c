/* passes_bounds.c — what is left of the rows' bounds once prototypes have moved.
 *
 * A row at most u from its own prototype a, which moved by v, is now at most u + v from it. Prototypes within r of a
 * have come closer to the row by what the farthest of them moved; others are at least r - u - v away. Rings around a
 * hold that farthest move for each r. So a row costs a look at its two numbers and at one of a table.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/passes_inside.h"

#include <math.h>
#include <string.h>

#include "backends/cpu/screen_bytes.h"

#define SWEPT_ROWS 8192
#define UP         (1 + 0x1p-21f) /* more than the roundings of floats here */
#define DOWN       (1 - 0x1p-21f)
#define BEYOND     2.02 /* rings go so far, in the farthest row's distances */

struct rings { /* around a prototype, as wide as each other */
    float width, per_unit;
    float own;                        /* how far it has moved */
    float drift[FKMI_NEAR_RINGS + 1]; /* the farthest one in a ring or nearer; the last: of all */
};

struct farthest {
    double drift, others;
    int64_t which;
};

struct sweep {
    struct fkmi_pass_job *job;
    struct rings *rings;       /* k */
    struct farthest *farthest; /* by class */
    float *most;               /* threads x k: the largest upper bound of a cell's rows, < 0: none */
    int n_threads;
    float shrink; /* what is farther by more than this cannot win by rounding */
    char *scratch;
    size_t scratch_per_thread;
};

struct drift_job {
    struct fkmi_passes *passes;
    const struct fkmi_pack *pack;
};

/* As prototypes are mapped. */
static fkm_status measure_drift(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct drift_job *job = argument;
    const struct fkmi_pack *pack = job->pack;
    const struct fkmi_passes *passes = job->passes;
    const struct fkmi_vector *vector = &pack->kernels->vector[FKMI_REAL_F64];

    (void)thread;
    for (int64_t j = begin; j < end; j++) {
        const char *before = (const char *)passes->points + (size_t)j * passes->point_size;
        const char *now = (const char *)pack->points + (size_t)j * passes->point_size;
        double square = 0;

        for (int64_t d = 0; d < passes->dim; d += 256) {
            const int64_t n = passes->dim - d < 256 ? passes->dim - d : 256;
            const size_t at = (size_t)d * fkmi_dtype_size(pack->dtype);
            double a[256], b[256];

            vector->load[pack->dtype](a, before + at, n);
            vector->load[pack->dtype](b, now + at, n);
            square += vector->distance[FKM_METRIC_EUCLIDEAN](
                a, b, pack->feature_weights ? pack->feature_weights + d : NULL, n);
        }
        passes->drift[j] = sqrt(square) * (1 + 4 * fkmi_screen_rounding(pack));
    }
    return FKM_OK;
}

fkm_status fkmi_pass_drift(struct fkm_context *context, struct fkmi_passes *passes,
                           const struct fkmi_pack *pack)
{
    struct drift_job job = {passes, pack};

    return fkmi_parallel(context->pool, passes->k, 16, measure_drift, &job);
}

/* ---- one bound from above, by cell */

static fkm_status raise_bounds(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct sweep *sweep = argument;
    const int32_t *index = sweep->job->pass->index;
    struct fkmi_near_bound *bound = sweep->job->bound;
    float *most = sweep->most + thread * sweep->job->passes->k;

    for (int64_t i = begin; i < end; i++)
        if (index[i] >= 0) {
            const float up = (bound[i].up + sweep->rings[index[i]].own) * UP;

            bound[i].up = up;
            most[index[i]] = up > most[index[i]] ? up : most[index[i]];
        }
    return FKM_OK;
}

/* ---- rings */

/* The farthest move of a class's prototypes, and of all but the one that has made it. */
static void find_farthest(const double *drift, int64_t begin, int64_t end, struct farthest *farthest)
{
    *farthest = (struct farthest){.which = -1};
    for (int64_t j = begin; j < end; j++)
        if (drift[j] > farthest->drift) {
            farthest->others = farthest->drift;
            farthest->drift = drift[j];
            farthest->which = j;
        } else if (drift[j] > farthest->others)
            farthest->others = drift[j];
}

static void fill_rings(const struct sweep *sweep, struct fkmi_near *near, int c, float most)
{
    const struct fkmi_near_cell *cell = &near->cells[c];
    const float *gaps = near->gaps + c * sweep->job->passes->k;
    const double *drift = sweep->job->passes->drift;
    struct rings *rings = &sweep->rings[cell->cell];
    const double radius = fmax(BEYOND * (double)most, 1e-30), per_unit = FKMI_NEAR_RINGS / radius;
    const int64_t n = fkmi_near_within(near, &sweep->job->near, c, radius * radius);
    const struct farthest *all = &sweep->farthest[cell->class];
    double farthest[FKMI_NEAR_RINGS + 1] = {0};

    for (int64_t i = 0; i < n; i++) {
        const int32_t j = near->within[i];
        const double at = sqrt((double)gaps[j]) * (double)DOWN * per_unit;
        double *ring = &farthest[at < FKMI_NEAR_RINGS - 1 ? (int)at : FKMI_NEAR_RINGS - 1];

        *ring = drift[j] > *ring ? drift[j] : *ring;
    }
    rings->width = (float)(radius / FKMI_NEAR_RINGS) * DOWN;
    rings->per_unit = (float)per_unit;
    farthest[FKMI_NEAR_RINGS] = all->which == cell->cell ? all->others : all->drift;
    for (int ring = 0; ring <= FKMI_NEAR_RINGS; ring++) {
        if (ring > 0)
            farthest[ring] = fmax(farthest[ring], farthest[ring - 1]);
        rings->drift[ring] = (float)farthest[ring] * UP + 0x1p-120f;
    }
}

static fkm_status find_rings(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct sweep *sweep = argument;
    const struct fkmi_near_pass *pass = &sweep->job->near;
    const int64_t k = sweep->job->passes->k;
    struct fkmi_carve carve = {sweep->scratch + (size_t)thread * sweep->scratch_per_thread, 0};
    struct fkmi_near near;
    int32_t cells[32];
    float most[32];
    int n = 0;

    for (int64_t j = begin; j < end; j++) {
        float here = -1;

        for (int t = 0; t < sweep->n_threads; t++)
            here = fmaxf(here, sweep->most[t * k + j]);
        if (here < 0)
            continue;
        cells[n] = (int32_t)j;
        most[n++] = here;
    }
    fkmi_near_carve(&near, &carve, pass);
    fkmi_near_measure(&near, pass, cells, n);
    for (int c = 0; c < n; c++)
        fill_rings(sweep, &near, c, most[c]);
    return FKM_OK;
}

/* ---- the other bound */

/* Without branches, which could not be foreseen. Behind the last ring the bound is the one that holds anywhere. */
static struct fkmi_near_bound lower_bound(const struct sweep *sweep, struct fkmi_near_bound bound,
                                          const struct rings *rings)
{
    const float place = 2.01f * bound.up * rings->per_unit;
    const int at = (int)(place < FKMI_NEAR_RINGS ? place : FKMI_NEAR_RINGS);
    const float left = bound.low - rings->drift[at], beyond = rings->width * (float)(at + 1) - bound.up;
    const float anywhere = bound.low - rings->drift[FKMI_NEAR_RINGS];
    const float here = left < beyond ? left : beyond, low = (here > anywhere ? here : anywhere) * DOWN;
    const float positive = (low + fabsf(low)) / 2; /* or 0 */
    const int open = !(positive * sweep->shrink > bound.up);

    return (struct fkmi_near_bound){bound.up, positive * (float)(1 - 2 * open)};
}

static fkm_status lower_bounds(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct sweep *sweep = argument;
    const int32_t *index = sweep->job->pass->index;
    struct fkmi_near_bound *bound = sweep->job->bound;

    (void)thread;
    for (int64_t i = begin; i < end; i++)
        if (index[i] >= 0)
            bound[i] = lower_bound(sweep, bound[i], &sweep->rings[index[i]]);
    return FKM_OK;
}

fkm_status fkmi_pass_bound(struct fkm_context *context, struct fkmi_pass_job *job)
{
    const int64_t *class_begin = job->near.class_begin;
    const int64_t n = job->rows->n, k = job->passes->k, n_classes = class_begin ? job->near.n_classes : 1;
    const double rounding = fkmi_screen_rounding(job->pass->pack);
    struct sweep sweep = {.job = job,
                          .n_threads = fkmi_pool_threads_here(context->pool),
                          .shrink = (float)(1 - 4 * rounding) * DOWN};
    struct fkmi_carve carve = {NULL, 0};
    struct fkmi_near near;
    void *memory = NULL;
    fkm_status status = FKM_OK;

    fkmi_near_carve(&near, &carve, &job->near);
    sweep.scratch_per_thread = carve.used;
    carve = (struct fkmi_carve){NULL, 0};
    for (int turn = 0; turn < 2; turn++) {
        sweep.rings = fkmi_carve(&carve, k, sizeof *sweep.rings);
        sweep.farthest = fkmi_carve(&carve, n_classes, sizeof *sweep.farthest);
        sweep.most = fkmi_carve(&carve, sweep.n_threads * k, sizeof *sweep.most);
        sweep.scratch = fkmi_carve(&carve, sweep.n_threads, sweep.scratch_per_thread);
        if (turn == 0) {
            FKMI_TRY_GOTO(fkmi_scratch_take(context, carve.used, &memory));
            carve = (struct fkmi_carve){memory, 0};
        }
    }
    for (int64_t j = 0; j < sweep.n_threads * k; j++)
        sweep.most[j] = -1;
    for (int64_t j = 0; j < k; j++)
        sweep.rings[j].own = (float)job->passes->drift[j] * UP + 0x1p-120f;
    for (int64_t c = 0; c < n_classes; c++)
        find_farthest(job->passes->drift, class_begin ? class_begin[c] : 0,
                      class_begin ? class_begin[c + 1] : k, &sweep.farthest[c]);
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, n, SWEPT_ROWS, raise_bounds, &sweep));
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, k, context->kernels->bytes.rows, find_rings, &sweep));
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, n, SWEPT_ROWS, lower_bounds, &sweep));
done:
    fkmi_scratch_give(context, memory);
    return status;
}
