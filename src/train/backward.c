/* backward.c — from slopes by distance to the gradient of each prototype.
 *
 * A counting sort turns "row -> candidates" into "prototype -> rows", rows ascending. Dense rows are added
 * one by one as (c - x), which stays accurate far from the origin; of CSR rows only the stored entries are
 * touched and the part along c is added once per prototype. Frozen prototypes get no gradient.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "train/columns_step.h"

enum { ROWS_TOGETHER = 32 };

fkm_status fkmi_backward_plan(struct fkmi_step *step)
{
    struct fkmi_arena *arena = &step->work->arena;
    struct fkmi_gradient *g = &step->gradient;
    const int64_t k = step->active.k, dim = step->state->dim;

    FKMI_TRY(fkmi_arena_take(arena, &step->list_begin, k + 1, sizeof *step->list_begin));
    FKMI_TRY(fkmi_arena_take(arena, &step->list, step->chunk_rows * step->width, sizeof *step->list));
    FKMI_TRY(fkmi_arena_take(arena, &step->point_scratch, fkmi_pool_threads(step->context->pool) * dim,
                             step->real_size));
    if (step->learns_theta)
        FKMI_TRY(fkmi_arena_take(arena, &g->theta, step->per_prototype ? k : 1, sizeof *g->theta));
    if (step->per_prototype)
        FKMI_TRY(fkmi_arena_take(arena, &g->bias, k, sizeof *g->bias));
    if (step->chunk.slope_target)
        FKMI_TRY(fkmi_arena_take(arena, &g->targets, k * step->state->n_targets, sizeof *g->targets));
    if (step->params->task == FKM_TASK_MULTILABEL) {
        FKMI_TRY(fkmi_arena_take(arena, &g->alpha, step->active.n_classes, sizeof *g->alpha));
        FKMI_TRY(fkmi_arena_take(arena, &g->beta, step->active.n_classes, sizeof *g->beta));
    }
    return FKM_OK;
}

/* ---- lists by prototype */

/* Candidates of a row of the chunk. */
struct candidates {
    int64_t n;
    const int32_t *index; /* NULL: candidate c is place c */
    const double *slope;
    bool all; /* targets are pulled even where moving the prototype would change nothing */
};

static struct candidates candidates_of(const struct fkmi_step *step, int64_t i)
{
    const struct fkmi_chunk *chunk = &step->chunk;

    return (struct candidates){chunk->count[i], chunk->index ? chunk->index + i * step->width : NULL,
                               chunk->slope + i * step->width, chunk->slope_target != NULL};
}

/* The place that candidate c pulls at, or -1. */
static inline int32_t pulled(const struct candidates *candidates, int64_t c)
{
    return !candidates->all && candidates->slope[c] == 0 ? -1
           : candidates->index                           ? candidates->index[c]
                                                         : (int32_t)c;
}

static void make_lists(struct fkmi_step *step)
{
    const struct fkmi_chunk *chunk = &step->chunk;
    int64_t *begin = step->list_begin;

    memset(begin, 0, (size_t)(step->active.k + 1) * sizeof *begin);
    for (int64_t i = 0; i < chunk->n; i++) {
        const struct candidates candidates = candidates_of(step, i);

        for (int64_t c = 0; c < candidates.n; c++)
            if (pulled(&candidates, c) >= 0)
                begin[pulled(&candidates, c) + 1]++;
    }
    for (int64_t j = 0; j < step->active.k; j++)
        begin[j + 1] += begin[j];
    for (int64_t i = 0; i < chunk->n; i++) {
        const struct candidates candidates = candidates_of(step, i);
        const int64_t first = i * step->width;

        for (int64_t c = 0; c < candidates.n; c++)
            if (pulled(&candidates, c) >= 0)
                step->list[begin[pulled(&candidates, c)]++] = (int32_t)(first + c);
    }
    for (int64_t j = step->active.k; j > 0; j--) /* begin[j] has moved to the end of its list */
        begin[j] = begin[j - 1];
    begin[0] = 0;
}

/* ---- dense rows */

static double squared_norm(const struct fkmi_step *step, const void *c, const void *a)
{
    return step->vector->dot(c, c, a, step->space.dim);
}

/* d = 1 - x c / |c| with unit x: dd/dc = -(a x / |c| - cos a c / |c|^2), norms under the active weights. */
static void add_cosine(const struct fkmi_step *step, void *g, const void *c, const int32_t *list, int64_t n)
{
    const struct fkmi_vector *vector = step->vector;
    const int64_t dim = step->space.dim;
    double square = 0, along = 0;

    if (!step->in.weight_by_row)
        square = squared_norm(step, c, step->in.weight);
    for (int64_t t = 0; t < n; t++) {
        const int64_t i = fkmi_row_at(step, list[t]);
        const double slope = step->chunk.slope[list[t]], cosine = 1 - step->chunk.distance[list[t]];
        const void *a = fkmi_weight_at(step, i);

        if (step->in.weight_by_row)
            square = squared_norm(step, c, a);
        if (!(square > 0))
            continue; /* a zero prototype is at distance 1 from everything, whichever way it moves */
        vector->add_scaled(g, fkmi_x_at(step, i), a, -slope / sqrt(square), dim);
        if (step->in.weight_by_row)
            vector->add_scaled(g, c, a, slope * cosine / square, dim);
        else
            along += slope * cosine / square;
    }
    if (along != 0)
        vector->add_scaled(g, c, step->in.weight, along, dim);
}

/* Rows under the same weights, several at a time. */
static void add_euclidean(const struct fkmi_step *step, void *g, const void *c, const int32_t *list,
                          int64_t n)
{
    const void *row[ROWS_TOGETHER];
    double scale[ROWS_TOGETHER];

    for (int64_t t = 0; t < n;) {
        int64_t rows = 0;

        for (; rows < ROWS_TOGETHER && t < n; rows++, t++) {
            const int64_t i = fkmi_row_at(step, list[t]);

            row[rows] = fkmi_x_at(step, i);
            scale[rows] = 2 * step->chunk.slope[list[t]] * fkmi_factor_at(step, i);
        }
        step->vector->add_differences(g, row, scale, rows, c, step->in.weight, step->space.dim);
    }
}

static void add_dense(const struct fkmi_step *step, void *g, const void *c, const int32_t *list, int64_t n)
{
    const bool euclidean = step->space.metric == FKM_METRIC_EUCLIDEAN;

    if (step->space.metric == FKM_METRIC_COSINE) {
        add_cosine(step, g, c, list, n);
        return;
    }
    if (euclidean && !step->in.weight_by_row) {
        add_euclidean(step, g, c, list, n);
        return;
    }
    for (int64_t t = 0; t < n; t++) {
        const int64_t i = fkmi_row_at(step, list[t]);
        const double slope = step->chunk.slope[list[t]] * fkmi_factor_at(step, i);

        if (euclidean)
            step->vector->add_difference(g, fkmi_x_at(step, i), c, fkmi_weight_at(step, i), 2 * slope,
                                         step->space.dim);
        else
            step->vector->add_sign(g, fkmi_x_at(step, i), c, fkmi_weight_at(step, i), slope, step->space.dim);
    }
}

/* ---- CSR rows: weights are the same for all rows */

/* g += scale a x over the row's entries. */
#define SCATTER(TYPE)                                                                                        \
    do {                                                                                                     \
        const TYPE *x = (const TYPE *)step->in.entries + from, *a = step->in.weight;                         \
        TYPE *out = g;                                                                                       \
        for (int64_t t = 0; t < n; t++)                                                                      \
            out[column[t]] += (TYPE)scale * (a ? a[column[t]] : (TYPE)1) * x[t];                             \
    } while (0)
/* g += scale a (sign(c - x) - sign(c)) over the row's entries. */
#define SCATTER_SIGN(TYPE)                                                                                   \
    do {                                                                                                     \
        const TYPE *x = (const TYPE *)step->in.entries + from, *a = step->in.weight, *point = c;             \
        TYPE *out = g;                                                                                       \
        for (int64_t t = 0; t < n; t++) {                                                                    \
            const TYPE p = point[column[t]];                                                                 \
            const int sign = (p > x[t]) - (p < x[t]) - (p > 0) + (p < 0);                                    \
            out[column[t]] += (TYPE)scale * (a ? a[column[t]] : (TYPE)1) * (TYPE)sign;                       \
        }                                                                                                    \
    } while (0)

static const int32_t *entries_of(const struct fkmi_step *step, int64_t i, int64_t *from, int64_t *n)
{
    const struct fkmi_rows *rows = &step->chunk.rows;

    *from = step->in.entries_begin[i];
    *n = step->in.entries_begin[i + 1] - *from;
    return rows->indices + rows->indptr[fkmi_row(rows, i)];
}

static void scatter(const struct fkmi_step *step, void *g, int64_t i, double scale)
{
    int64_t from, n;
    const int32_t *column = entries_of(step, i, &from, &n);

    if (step->real == FKMI_REAL_F32)
        SCATTER(float);
    else
        SCATTER(double);
}

static void scatter_sign(const struct fkmi_step *step, void *g, const void *c, int64_t i, double scale)
{
    int64_t from, n;
    const int32_t *column = entries_of(step, i, &from, &n);

    if (step->real == FKMI_REAL_F32)
        SCATTER_SIGN(float);
    else
        SCATTER_SIGN(double);
}

static void add_sparse(const struct fkmi_step *step, void *g, const void *c, const int32_t *list, int64_t n)
{
    const struct fkmi_vector *vector = step->vector;
    const fkm_metric metric = step->space.metric;
    const double square = metric == FKM_METRIC_COSINE ? squared_norm(step, c, step->in.weight) : 1.0;
    double along = 0;

    if (!(square > 0))
        return;
    for (int64_t t = 0; t < n; t++) {
        const int64_t i = fkmi_row_at(step, list[t]);
        const double slope = step->chunk.slope[list[t]];

        switch (metric) {
        case FKM_METRIC_EUCLIDEAN: /* 2 (c - x) */
            scatter(step, g, i, -2 * slope);
            along += 2 * slope;
            break;
        case FKM_METRIC_COSINE:
            scatter(step, g, i, -slope / sqrt(square));
            along += slope * (1 - step->chunk.distance[list[t]]) / square;
            break;
        case FKM_METRIC_L1: /* sign(c - x), which is sign(c) off the row's entries */
            scatter_sign(step, g, c, i, slope);
            along += slope;
            break;
        }
    }
    if (metric == FKM_METRIC_L1)
        vector->add_sign(g, step->in.zero, c, step->in.weight, along, step->space.dim);
    else
        vector->add_scaled(g, c, step->in.weight, along, step->space.dim);
}

/* ---- one place */

static void add_small(const struct fkmi_step *step, int64_t place, const int32_t *list, int64_t n)
{
    const struct fkmi_chunk *chunk = &step->chunk;
    const struct fkmi_gradient *g = &step->gradient;
    const int64_t m = step->state->n_targets;

    for (int64_t t = 0; t < n; t++) {
        if (step->per_prototype) {
            if (step->learns_theta)
                g->theta[place] += chunk->slope_theta[list[t]];
            g->bias[place] += chunk->slope_bias[list[t]];
        }
        if (g->targets)
            for (int64_t o = 0; o < m; o++)
                g->targets[place * m + o] += chunk->slope_target[list[t] * m + o];
    }
}

static void add_point(struct fkmi_step *step, int64_t place, void *scratch, const int32_t *list, int64_t n)
{
    const void *c = fkmi_point_at(step, place, scratch);
    void *g = fkmi_gradient_at(step, fkmi_prototype_at(step, place));

    if (step->in.entries)
        add_sparse(step, g, c, list, n);
    else
        add_dense(step, g, c, list, n);
    if (!isfinite(step->vector->dot(g, g, NULL, step->space.dim))) /* while it is in L1 */
        atomic_store_explicit(&step->is_odd, true, memory_order_relaxed);
}

static void clear_place(const struct fkmi_step *step, int64_t prototype)
{
    if (!step->gradient.touched[prototype])
        return;
    memset(fkmi_gradient_at(step, prototype), 0, (size_t)step->space.dim * step->real_size);
    step->gradient.touched[prototype] = 0;
}

static fkm_status add_places(void *argument, int64_t begin, int64_t end, int thread)
{
    struct fkmi_step *step = argument;
    void *scratch = fkmi_real_at(step, step->point_scratch, thread * step->space.dim);

    for (int64_t place = begin; place < end; place++) {
        const int64_t prototype = fkmi_prototype_at(step, place);
        const int32_t *list = step->list + step->list_begin[place];
        const int64_t n = step->list_begin[place + 1] - step->list_begin[place];

        if (step->clears)
            clear_place(step, prototype);
        if (n == 0 || step->state->frozen[prototype])
            continue;
        step->gradient.touched[prototype] = 1;
        if (!step->sparse)
            add_point(step, place, scratch, list, n);
        add_small(step, place, list, n);
    }
    return FKM_OK;
}

fkm_status fkmi_backward(struct fkmi_step *step)
{
    const struct fkmi_chunk *chunk = &step->chunk;
    struct fkm_context *context = step->context;
    const int64_t k = step->active.k;
    int64_t per_place;

    make_lists(step);
    per_place = step->list_begin[k] / k + 1;
    FKMI_TRY(fkmi_parallel(context->pool, k, fkmi_vectors_per_block(step->space.dim, per_place), add_places,
                           step));
    if (step->learns_theta && !step->per_prototype)
        for (int64_t i = 0; i < chunk->n; i++)
            step->gradient.theta[0] += chunk->slope_theta[i];
    if (step->gradient.beta)
        fkmi_tags_backward(step);
    if (step->gradient.weights)
        FKMI_TRY(fkmi_backward_weights(step));
    return step->sparse ? fkmi_train_columns_backward(step) : FKM_OK;
}
