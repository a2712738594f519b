/* weights.c — the gradient of the feature weights, when they are learned.
 *
 * With active weights a = w m everything carries the factor a, which is divided by w at the end:
 *   euclidean, l1   w dd/dw = (D/A) (a e(x - c) - a d / D), e the square or the absolute value
 *   cosine          w dd/dw = -a (x c / |c| - cos/2 (x^2 + c^2 / |c|^2)), x of unit length
 * Each thread owns a range of coordinates and adds all pairs of rows and candidates in order. Of CSR rows the
 * stored entries are added pair by pair, what depends on c alone once per prototype.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "train/step.h"

enum { COORDINATES_PER_BLOCK = 128 };

fkm_status fkmi_weights_plan(struct fkmi_step *step)
{
    struct fkmi_arena *arena = &step->work->arena;
    struct fkmi_weights_in *in = &step->weights;
    const int64_t dim = step->space.dim, k = step->active.k;

    if (!step->params->auto_feature_weights || !step->state->feature_weights)
        return FKM_OK;
    FKMI_TRY(fkmi_arena_take(arena, &step->gradient.weights, dim, sizeof *step->gradient.weights));
    FKMI_TRY(fkmi_arena_take(arena, &in->sum, dim, step->real_size));
    FKMI_TRY(fkmi_arena_take(arena, &in->along, k, sizeof *in->along));
    if (step->space.metric == FKM_METRIC_COSINE)
        FKMI_TRY(fkmi_arena_take(arena, &in->square, step->chunk_rows * step->width, sizeof *in->square));
    if (fkmi_dtype_size(step->state->dtype) != step->real_size) {
        FKMI_TRY(fkmi_arena_take(arena, &in->points, k * dim, step->real_size));
        step->vector->load[step->state->dtype](in->points, step->active.points, k * dim);
    }
    return FKM_OK;
}

static const void *point_at(const struct fkmi_step *step, int64_t place)
{
    const void *points = step->weights.points ? step->weights.points : step->active.points;

    return fkmi_real_at(step, points, place * step->space.dim);
}

/* |c|^2 of each pair under the row's active weights. */
static fkm_status square_norms(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct fkmi_step *step = argument;

    (void)thread;
    for (int64_t i = begin; i < end; i++)
        for (int64_t c = 0; c < step->chunk.count[i]; c++) {
            const int64_t at = i * step->width + c;
            const int32_t place = fkmi_place_at(step, i, c);

            if (place < 0 || step->chunk.slope[at] == 0)
                continue;
            step->weights.square[at] = step->vector->dot(point_at(step, place), point_at(step, place),
                                                         fkmi_weight_at(step, i), step->space.dim);
        }
    return FKM_OK;
}

/* ---- dense rows, coordinates [begin, end) */

#define ADD_COSINE(TYPE)                                                                                     \
    do {                                                                                                     \
        const TYPE *u = x, *p = c, *weight = a;                                                              \
        TYPE *out = sum;                                                                                     \
        for (int64_t d = 0; d < n; d++)                                                                      \
            out[d] -= (TYPE)slope * weight[d] *                                                              \
                      (u[d] * p[d] * (TYPE)inverse -                                                         \
                       (TYPE)(cosine / 2) * (u[d] * u[d] + p[d] * p[d] * (TYPE)(inverse * inverse)));        \
    } while (0)

static void add_cosine(const struct fkmi_step *step, void *sum, const void *x, const void *c, const void *a,
                       double slope, double cosine, double square, int64_t n)
{
    const double inverse = square > 0 ? 1 / sqrt(square) : 0.0;

    if (square <= 0)
        return;
    if (step->real == FKMI_REAL_F32)
        ADD_COSINE(float);
    else
        ADD_COSINE(double);
}

static fkm_status add_dense(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct fkmi_step *step = argument;
    const struct fkmi_vector *vector = step->vector;
    const struct fkmi_chunk *chunk = &step->chunk;
    const int64_t n = end - begin;
    void *sum = fkmi_real_at(step, step->weights.sum, begin);

    (void)thread;
    for (int64_t i = 0; i < chunk->n; i++) {
        const void *x = fkmi_real_at(step, fkmi_x_at(step, i), begin);
        const void *a = fkmi_real_at(step, fkmi_weight_at(step, i), begin);
        const double factor = fkmi_factor_at(step, i);
        double shared = 0;

        for (int64_t rank = 0; rank < chunk->count[i]; rank++) {
            const int64_t at = i * step->width + rank;
            const int32_t place = fkmi_place_at(step, i, rank);
            const double slope = chunk->slope[at];
            const void *c;

            if (place < 0 || slope == 0)
                continue;
            c = fkmi_real_at(step, point_at(step, place), begin);
            switch (step->space.metric) {
            case FKM_METRIC_EUCLIDEAN:
                vector->add_square(sum, x, c, a, slope * factor, n);
                shared += slope * chunk->distance[at];
                break;
            case FKM_METRIC_L1:
                vector->add_absolute(sum, x, c, a, slope * factor, n);
                shared += slope * chunk->distance[at];
                break;
            case FKM_METRIC_COSINE:
                add_cosine(step, sum, x, c, a, slope, 1 - chunk->distance[at], step->weights.square[at], n);
                break;
            }
        }
        if (shared != 0)
            vector->add_scaled(sum, a, NULL, -shared * factor / (double)step->space.dim, n);
    }
    return FKM_OK;
}

/* ---- CSR rows */

#define ADD_ENTRIES(TYPE, ABS)                                                                               \
    do {                                                                                                     \
        const TYPE *x = (const TYPE *)step->in.entries + from, *a = step->in.weight, *c = point;             \
        TYPE *out = step->weights.sum;                                                                       \
        for (int64_t t = 0; t < n; t++) {                                                                    \
            const TYPE p = c[column[t]];                                                                     \
            TYPE e;                                                                                          \
            if (metric == FKM_METRIC_EUCLIDEAN)                                                              \
                e = x[t] * (x[t] - 2 * p);                                                                   \
            else if (metric == FKM_METRIC_L1)                                                                \
                e = ABS(x[t] - p) - ABS(p);                                                                  \
            else                                                                                             \
                e = (TYPE)(cosine / 2) * x[t] * x[t] - x[t] * p * (TYPE)inverse;                             \
            out[column[t]] += (TYPE)slope * a[column[t]] * e;                                                \
        }                                                                                                    \
    } while (0)

static void add_entries(const struct fkmi_step *step, int64_t i, const void *point, double slope,
                        double cosine, double inverse)
{
    const struct fkmi_rows *rows = &step->chunk.rows;
    const fkm_metric metric = step->space.metric;
    const int64_t from = step->in.entries_begin[i], n = step->in.entries_begin[i + 1] - from;
    const int32_t *column = rows->indices + rows->indptr[fkmi_row(rows, i)];

    if (step->real == FKMI_REAL_F32)
        ADD_ENTRIES(float, fabsf);
    else
        ADD_ENTRIES(double, fabs);
}

static fkm_status add_along(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct fkmi_step *step = argument;
    const void *a = fkmi_real_at(step, step->in.weight, begin),
               *zero = fkmi_real_at(step, step->in.zero, begin);
    void *sum = fkmi_real_at(step, step->weights.sum, begin);

    (void)thread;
    for (int64_t place = 0; place < step->active.k; place++) {
        const void *c = fkmi_real_at(step, point_at(step, place), begin);

        if (step->weights.along[place] == 0)
            continue;
        if (step->space.metric == FKM_METRIC_L1)
            step->vector->add_absolute(sum, zero, c, a, step->weights.along[place], end - begin);
        else
            step->vector->add_square(sum, zero, c, a, step->weights.along[place], end - begin);
    }
    return FKM_OK;
}

static fkm_status add_sparse(struct fkmi_step *step)
{
    const struct fkmi_chunk *chunk = &step->chunk;
    const bool is_cosine = step->space.metric == FKM_METRIC_COSINE;
    double *along = step->weights.along, shared = 0;

    memset(along, 0, (size_t)step->active.k * sizeof *along);
    for (int64_t i = 0; i < chunk->n; i++)
        for (int64_t rank = 0; rank < chunk->count[i]; rank++) {
            const int64_t at = i * step->width + rank;
            const int32_t place = fkmi_place_at(step, i, rank);
            const double slope = chunk->slope[at], square = is_cosine ? step->weights.square[at] : 1.0;

            if (place < 0 || slope == 0 || !(square > 0))
                continue;
            add_entries(step, i, point_at(step, place), slope, 1 - chunk->distance[at], 1 / sqrt(square));
            along[place] += is_cosine ? slope * (1 - chunk->distance[at]) / (2 * square) : slope;
            shared += is_cosine ? 0.0 : slope * chunk->distance[at];
        }
    step->vector->add_scaled(step->weights.sum, step->in.weight, NULL, -shared / (double)step->space.dim,
                             step->space.dim);
    return fkmi_parallel(step->context->pool, step->space.dim, COORDINATES_PER_BLOCK, add_along, step);
}

fkm_status fkmi_backward_weights(struct fkmi_step *step)
{
    const double *weights = step->state->feature_weights;
    const int64_t dim = step->space.dim;

    memset(step->weights.sum, 0, (size_t)dim * step->real_size);
    if (step->weights.square)
        FKMI_TRY(fkmi_parallel(step->context->pool, step->chunk.n, 16, square_norms, step));
    if (step->in.entries)
        FKMI_TRY(add_sparse(step));
    else
        FKMI_TRY(fkmi_parallel(step->context->pool, dim, COORDINATES_PER_BLOCK, add_dense, step));
    for (int64_t d = 0; d < dim; d++) {
        const double sum = step->real == FKMI_REAL_F32 ? (double)((const float *)step->weights.sum)[d]
                                                       : ((const double *)step->weights.sum)[d];

        if (weights[d] > 0)
            step->gradient.weights[d] += sum / weights[d];
    }
    return FKM_OK;
}
