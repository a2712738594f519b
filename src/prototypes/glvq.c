/* glvq.c — GLVQ without gradients of the parameters' own: batch steps on real copies of the prototypes.
 *
 * With mu = (d+ - d-) / (d+ + d-), f = sigmoid(10 mu), a row pulls its own prototype by f' d- / (d+ + d-) and
 * pushes the other by f' d+ / (d+ + d-). A batch moves a prototype by step * sum w (x - c), at most MOST_PULL
 * of the way: without that bound a prototype that many rows push would run away. SPDX-License-Identifier:
 * Apache-2.0 */
#include "prototypes/glvq.h"

#include <math.h>
#include <string.h>

#include "prototypes/repel.h"

#define EPOCHS         15
#define ROWS_PER_BATCH 256
#define FIRST_STEP     0.1
#define MOST_PULL      0.5

struct glvq {
    struct fkm_context *context;
    const struct fkmi_state *state;
    struct fkmi_space space;
    fkm_dtype dtype; /* of points */
    struct fkmi_rows base;
    double row_weight; /* mean weight: the step does not depend on the weights' unit */
    struct fkmi_pack *pack;
    void *points; /* k x dim reals */
    struct fkmi_sums pull, push;
    int64_t *order, *row;                /* rows of the view, shuffled; the same as rows of the arrays */
    int32_t *slot, *index, *own, *other; /* of a batch: n, 2 n, n, n */
    double *distance, *pull_factor, *push_factor;
};

static fkm_status take_sums(struct fkmi_sums *sums, int64_t k, int64_t dim, bool masked)
{
    FKMI_TRY(fkmi_alloc(&sums->sum, k * dim, sizeof(double)));
    FKMI_TRY(fkmi_alloc(&sums->mass, k, sizeof(double)));
    return masked ? fkmi_alloc(&sums->ages, k * dim, sizeof(double)) : FKM_OK;
}

static void free_sums(struct fkmi_sums *sums)
{
    fkmi_free(sums->sum);
    fkmi_free(sums->mass);
    fkmi_free(sums->ages);
}

static fkm_status take_memory(struct glvq *g, const struct fkmi_rows *rows)
{
    const int64_t k = g->state->k, dim = g->state->dim;

    FKMI_TRY(fkmi_alloc(&g->points, k * dim, fkmi_real_size(g->space.real)));
    FKMI_TRY(take_sums(&g->pull, k, dim, rows->mask != NULL));
    FKMI_TRY(take_sums(&g->push, k, dim, rows->mask != NULL));
    FKMI_TRY(fkmi_alloc(&g->order, rows->n, sizeof(int64_t)));
    FKMI_TRY(fkmi_alloc(&g->row, ROWS_PER_BATCH, sizeof(int64_t)));
    FKMI_TRY(fkmi_alloc(&g->slot, ROWS_PER_BATCH, sizeof(int32_t)));
    FKMI_TRY(fkmi_alloc(&g->index, 2 * ROWS_PER_BATCH, sizeof(int32_t)));
    FKMI_TRY(fkmi_alloc(&g->own, ROWS_PER_BATCH, sizeof(int32_t)));
    FKMI_TRY(fkmi_alloc(&g->other, ROWS_PER_BATCH, sizeof(int32_t)));
    FKMI_TRY(fkmi_alloc(&g->distance, 2 * ROWS_PER_BATCH, sizeof(double)));
    FKMI_TRY(fkmi_alloc(&g->pull_factor, ROWS_PER_BATCH, sizeof(double)));
    return fkmi_alloc(&g->push_factor, ROWS_PER_BATCH, sizeof(double));
}

static void free_memory(struct glvq *g)
{
    g->context->backend->pack_free(g->pack);
    fkmi_free(g->points);
    free_sums(&g->pull);
    free_sums(&g->push);
    fkmi_free(g->order);
    fkmi_free(g->row);
    fkmi_free(g->slot);
    fkmi_free(g->index);
    fkmi_free(g->own);
    fkmi_free(g->other);
    fkmi_free(g->distance);
    fkmi_free(g->pull_factor);
    fkmi_free(g->push_factor);
}

static void clear_sums(const struct glvq *g, const struct fkmi_sums *sums)
{
    const size_t bytes = (size_t)g->state->k * sizeof(double);

    memset(sums->sum, 0, bytes * (size_t)g->state->dim);
    memset(sums->mass, 0, bytes);
    if (sums->ages)
        memset(sums->ages, 0, bytes * (size_t)g->state->dim);
}

/* From pairs of distances to who is pulled and pushed, and how strongly. */
static void weigh_pairs(struct glvq *g, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const double own = g->distance[2 * i], other = g->distance[2 * i + 1];
        const bool both = g->index[2 * i] >= 0 && g->index[2 * i + 1] >= 0;
        const double slope = both ? fkmi_glvq_slope(own, other) / g->row_weight : 0;
        g->own[i] = slope > 0 ? g->index[2 * i] : -1;
        g->other[i] = slope > 0 ? g->index[2 * i + 1] : -1;
        g->pull_factor[i] = slope > 0 ? slope * other / (own + other) : 0;
        g->push_factor[i] = slope > 0 ? slope * own / (own + other) : 0;
    }
}

static void move_point(const struct glvq *g, int64_t j, double step, double *point)
{
    const int64_t dim = g->state->dim;
    const double total = g->pull.mass[j] + g->push.mass[j];
    void *stored = (char *)g->points + (size_t)(j * dim) * fkmi_real_size(g->space.real);

    if (!(total > 0) || g->state->frozen[j])
        return;
    if (step * total > MOST_PULL)
        step = MOST_PULL / total;
    g->context->kernels->vector[FKMI_REAL_F64].load[g->dtype](point, stored, dim);
    for (int64_t d = 0; d < dim; d++) {
        const double toward = g->pull.sum[j * dim + d] - fkmi_sums_age(&g->pull, dim, j, d) * point[d];
        const double away = g->push.sum[j * dim + d] - fkmi_sums_age(&g->push, dim, j, d) * point[d];
        point[d] += step * (toward - away);
    }
    if (fkmi_point_normalise(&g->space, point))
        g->context->kernels->vector[FKMI_REAL_F64].store[g->dtype](stored, point, dim);
}

static fkm_status step_batch(struct glvq *g, const int32_t *slot, const int64_t *order, int64_t n,
                             double step, double *point)
{
    const struct fkmi_backend *backend = g->context->backend;
    const struct fkmi_state *state = g->state;
    const struct fkmi_scan scan = {.kind = FKMI_SCAN_OWN_OTHER,
                                   .slot = g->slot,
                                   .class_begin = state->class_begin,
                                   .n_classes = state->n_classes,
                                   .index = g->index,
                                   .distance = g->distance};
    struct fkmi_rows view;

    for (int64_t i = 0; i < n; i++)
        g->slot[i] = slot[order[i]];
    view = fkmi_rows_pick(&g->base, g->row, n);
    FKMI_TRY(
        backend->pack(g->context, &g->space, g->dtype, g->points, state->k, g->base.mask != NULL, &g->pack));
    FKMI_TRY(backend->scan(g->context, &view, g->pack, &scan));
    weigh_pairs(g, n);
    clear_sums(g, &g->pull);
    clear_sums(g, &g->push);
    FKMI_TRY(backend->accumulate(g->context, &view, &g->space, g->own, g->pull_factor, 0, state->k,
                                 g->pull.sum, g->pull.mass, g->pull.ages));
    FKMI_TRY(backend->accumulate(g->context, &view, &g->space, g->other, g->push_factor, 0, state->k,
                                 g->push.sum, g->push.mass, g->push.ages));
    for (int64_t j = 0; j < state->k; j++)
        move_point(g, j, step, point);
    return FKM_OK;
}

static double mean_weight(const struct fkmi_rows *rows)
{
    double sum = 0;
    int64_t n = 0;

    for (int64_t i = 0; i < rows->n; i++) {
        sum += fkmi_row_weight(rows, i);
        n += fkmi_row_weight(rows, i) > 0;
    }
    return n > 0 ? sum / (double)n : 1;
}

fkm_status fkmi_glvq(struct fkm_context *context, const fkm_params *params, struct fkmi_state *state,
                     const struct fkmi_rows *rows, const int32_t *slot, struct fkmi_random random)
{
    fkm_status status = FKM_OK;
    const int64_t batches = (rows->n + ROWS_PER_BATCH - 1) / ROWS_PER_BATCH;
    struct glvq g = {.context = context,
                     .state = state,
                     .space = fkmi_state_space(state, params->metric),
                     .base = *rows,
                     .row_weight = mean_weight(rows)};
    double *point = NULL;
    int64_t done_batches = 0;

    g.base.order = NULL;
    g.dtype = g.space.real == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32;
    FKMI_TRY_GOTO(take_memory(&g, rows));
    FKMI_TRY_GOTO(fkmi_alloc(&point, state->dim, sizeof *point));
    context->kernels->vector[g.space.real].load[state->dtype](g.points, state->points, state->k * state->dim);
    for (int64_t i = 0; i < rows->n; i++)
        g.order[i] = i;
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        fkmi_random_shuffle(&random, g.order, rows->n);
        for (int64_t first = 0; first < rows->n; first += ROWS_PER_BATCH) {
            const int64_t left = rows->n - first, n = left < ROWS_PER_BATCH ? left : ROWS_PER_BATCH;
            const double step = FIRST_STEP * (1 - (double)done_batches++ / (double)(EPOCHS * batches));
            for (int64_t i = 0; i < n; i++)
                g.row[i] = fkmi_row(rows, g.order[first + i]);
            FKMI_TRY_GOTO(step_batch(&g, slot, g.order + first, n, step, point));
        }
    }
    for (int64_t j = 0; j < state->k;
         j++) /* frozen points have not changed; the rest rounds to the storage type */
        context->kernels->vector[g.space.real].store[state->dtype](
            fkmi_state_point(state, j),
            (char *)g.points + (size_t)(j * state->dim) * fkmi_real_size(g.space.real), state->dim);
done:
    free_memory(&g);
    fkmi_free(point);
    return status;
}
