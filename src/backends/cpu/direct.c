/* direct.c — the distance of one row to one prototype, from x - c.
 *
 * Dense rows use the vector loops in the model's real type, and f64 where squares would leave the range of
 * floats; which of the two depends on the row and the prototype alone. Sparse rows visit their entries
 * only: what lies outside them is the prototype's own size, known since it was packed.
 * SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <math.h>

#include "backends/cpu/cpu.h"

/* Sums of squares between these are accurate in floats. */
#define LEAST_SQUARE 1e-24
#define MOST_SQUARE  1e30
/* 1 - cos in floats is off by about 1e-7: below this, by more than a hundred-thousandth of itself. */
#define LEAST_COSINE_DISTANCE 1e-2
/* What is left of a prototype's size is added up anew when it is a smaller part of it. */
#define LEAST_REST 0.25

void fkmi_direct_carve(struct fkmi_direct *direct, struct fkmi_carve *carve, const struct fkmi_pack *pack,
                       const struct fkmi_rows *rows, int64_t most_entries)
{
    const size_t real = fkmi_real_size(pack->space.real);

    *direct = (struct fkmi_direct){.pack = pack, .rows = rows};
    if (fkmi_rows_sparse(rows)) {
        direct->values = fkmi_carve(carve, most_entries, sizeof(double));
        return;
    }
    direct->x_memory = fkmi_carve(carve, pack->dim, real);
    direct->a_memory = fkmi_carve(carve, pack->dim, real);
    direct->c_memory = fkmi_carve(carve, pack->dim, real);
    direct->wide_x = fkmi_carve(carve, pack->dim, sizeof(double));
    direct->wide_a = fkmi_carve(carve, pack->dim, sizeof(double));
    direct->wide_c = fkmi_carve(carve, pack->dim, sizeof(double));
}

static double factor_of(fkm_metric metric, double factor)
{
    if (metric ==
        FKM_METRIC_COSINE) /* a cosine has no scale; only a row without active features is special */
        return factor > 0 ? 1.0 : 0.0;
    return factor;
}

static double weight_of(const struct fkmi_pack *pack, int64_t d)
{
    return pack->feature_weights ? pack->feature_weights[d] : 1.0;
}

static bool is_ordinary(double square) { return square >= LEAST_SQUARE && square <= MOST_SQUARE; }

static void begin_sparse_row(struct fkmi_direct *direct)
{
    const struct fkmi_pack *pack = direct->pack;
    const struct fkmi_rows *rows = direct->rows;
    const int64_t row = fkmi_row(rows, direct->i), first = rows->indptr[row];
    double *values = direct->values;

    direct->n = rows->indptr[row + 1] - first;
    direct->factor = factor_of(pack->space.metric, pack->factor);
    direct->row_size = 0;
    if (direct->n == 0)
        return;
    direct->indices = rows->indices + first;
    pack->kernels->vector[FKMI_REAL_F64].load[rows->dtype](
        values, (const char *)rows->values + (size_t)first * fkmi_dtype_size(rows->dtype), direct->n);
    for (int64_t e = 0; e < direct->n; e++) {
        if (pack->space.real == FKMI_REAL_F32) /* the row as the model sees it */
            values[e] = (double)(float)values[e];
        direct->row_size += weight_of(pack, direct->indices[e]) * values[e] * values[e];
    }
}

void fkmi_direct_row(struct fkmi_direct *direct, int64_t i)
{
    const struct fkmi_pack *pack = direct->pack;
    const struct fkmi_rows *rows = direct->rows;
    const struct fkmi_vector *vector = fkmi_pack_vector(pack);
    const bool same = fkmi_dtype_size(rows->dtype) == fkmi_real_size(pack->space.real);
    bool present;

    direct->i = i;
    direct->wide_row = false;
    direct->has_wide = false;
    if (fkmi_rows_sparse(rows)) {
        begin_sparse_row(direct);
        return;
    }
    if (rows->mask) {
        fkmi_row_load(rows, &pack->space, i, direct->x_memory);
        direct->factor = fkmi_row_active(rows, &pack->space, i, direct->a_memory, &present);
        direct->a = direct->a_memory;
        direct->x = direct->x_memory;
    } else {
        direct->x = fkmi_dense_row(rows, i);
        direct->a = pack->weights;
        direct->factor = pack->factor;
        if (!same) {
            vector->load[rows->dtype](direct->x_memory, direct->x, pack->dim);
            direct->x = direct->x_memory;
        }
    }
    direct->factor = factor_of(pack->space.metric, direct->factor);
    if (pack->space.metric == FKM_METRIC_COSINE)
        direct->wide_row = !is_ordinary(vector->dot(direct->x, direct->x, direct->a, pack->dim));
}

void fkmi_direct_fetch(const struct fkmi_direct *direct, int64_t i, int64_t j)
{
    const struct fkmi_pack *pack = direct->pack;
    const struct fkmi_rows *rows = direct->rows;
    const size_t size = (size_t)pack->dim * fkmi_dtype_size(pack->dtype);

    if (fkmi_rows_sparse(rows))
        return;
    fkmi_fetch((const char *)pack->points + (size_t)j * size, size < FKMI_LONG_ROW ? size : FKMI_LONG_ROW);
    fkmi_fetch_row(rows, i, FKMI_LONG_ROW);
}

/* The size of prototype j outside the row's entries, added up: of a point, and with the same bits of a list. */
static double uncovered_point(const struct fkmi_direct *direct, int64_t j)
{
    const struct fkmi_pack *pack = direct->pack;
    const bool l1 = pack->space.metric == FKM_METRIC_L1;
    double sum = 0;

    for (int64_t e = 0, d = 0; d < pack->dim; d++) {
        if (e < direct->n && direct->indices[e] == d) {
            e++;
            continue;
        }
        const double c = fkmi_dtype_get(pack->points, pack->dtype, j * pack->dim + d), w = weight_of(pack, d);
        sum += l1 ? w * fabs(c) : w * c * c;
    }
    return sum;
}

static double uncovered_list(const struct fkmi_direct *direct, int64_t j)
{
    const struct fkmi_pack *pack = direct->pack;
    const bool l1 = pack->space.metric == FKM_METRIC_L1;
    double sum = 0;

    for (int64_t at = pack->lists.begin[j], e = 0; at < pack->lists.begin[j + 1]; at++) {
        const int32_t d = pack->lists.index[at];

        while (e < direct->n && direct->indices[e] < d)
            e++;
        if (e < direct->n && direct->indices[e] == d)
            continue;
        const double c = fkmi_dtype_get(pack->lists.value, pack->dtype, at), w = weight_of(pack, d);
        sum += l1 ? w * fabs(c) : w * c * c;
    }
    return sum;
}

double fkmi_direct_finish(const struct fkmi_direct *direct, int64_t j, double near, double covered)
{
    const struct fkmi_pack *pack = direct->pack;
    double distance;

    if (pack->space.metric != FKM_METRIC_COSINE) {
        const double rest = pack->size[j] - covered;

        distance = near + (rest >= LEAST_REST * pack->size[j] ? rest
                           : pack->listed                     ? uncovered_list(direct, j)
                                                              : uncovered_point(direct, j));
    } else if (direct->row_size > 0 && pack->size[j] > 0)
        distance = fmin(1 - near / (sqrt(direct->row_size) * sqrt(pack->size[j])), 2.0);
    else
        distance = 1;
    return distance > 0 ? distance * direct->factor : 0.0;
}

/* Coordinate d of prototype j; in a list, from entry *at on, which moves to where the next column may be. */
static double listed_value(const struct fkmi_pack *pack, int64_t j, int32_t d, int64_t *at)
{
    const int32_t *index = pack->lists.index;
    const int64_t end = pack->lists.begin[j + 1];
    int64_t step = 1, low = *at, high;

    while (low + step < end && index[low + step] < d) { /* gallops, then halves */
        low += step;
        step *= 2;
    }
    high = low + step < end ? low + step + 1 : end;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;

        if (index[middle] < d)
            low = middle + 1;
        else
            high = middle;
    }
    *at = low;
    if (low == end || index[low] != d)
        return 0.0;
    return pack->dtype == FKM_DTYPE_F32 ? (double)((const float *)pack->lists.value)[low]
                                        : fkmi_dtype_get(pack->lists.value, pack->dtype, low);
}

static double sparse_distance(const struct fkmi_direct *direct, int64_t j)
{
    const struct fkmi_pack *pack = direct->pack;
    const size_t size = fkmi_dtype_size(pack->dtype);
    const char *point = pack->listed ? NULL : (const char *)pack->points + (size_t)(j * pack->dim) * size;
    const bool cosine = pack->space.metric == FKM_METRIC_COSINE, l1 = pack->space.metric == FKM_METRIC_L1;
    int64_t at = pack->listed ? pack->lists.begin[j] : 0;
    double near = 0,
           covered = 0; /* over the row's entries: the distance, or the product; the prototype's size */

    for (int64_t e = 0; e < direct->n; e++) {
        const int32_t d = direct->indices[e];
        const double v = direct->values[e], w = weight_of(pack, d);
        const double c = pack->listed                   ? listed_value(pack, j, d, &at)
                         : pack->dtype == FKM_DTYPE_F32 ? (double)((const float *)(const void *)point)[d]
                                                        : fkmi_dtype_get(point, pack->dtype, d);

        near += cosine ? w * v * c : l1 ? w * fabs(v - c) : w * (v - c) * (v - c);
        covered += l1 ? w * fabs(c) : w * c * c;
    }
    return fkmi_direct_finish(direct, j, near, covered);
}

static double wide_distance(struct fkmi_direct *direct, int64_t j)
{
    const struct fkmi_pack *pack = direct->pack;
    const struct fkmi_vector *vector = &pack->kernels->vector[FKMI_REAL_F64];
    const size_t size = fkmi_dtype_size(pack->dtype);

    if (!direct->has_wide) {
        bool present;

        /* from the reals, so that f32 models see the same row here as elsewhere */
        vector->load[pack->space.real == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32](direct->wide_x,
                                                                                        direct->x, pack->dim);
        direct->wide_factor =
            factor_of(pack->space.metric,
                      fkmi_row_active(direct->rows, &pack->wide, direct->i, direct->wide_a, &present));
        direct->wide_weighted = present;
        direct->has_wide = true;
    }
    vector->load[pack->dtype](direct->wide_c, (const char *)pack->points + (size_t)(j * pack->dim) * size,
                              pack->dim);
    return vector->distance[pack->space.metric](direct->wide_x, direct->wide_c,
                                                direct->wide_weighted ? direct->wide_a : NULL, pack->dim) *
           direct->wide_factor;
}

/* Whether a distance in reals to prototype j is accurate. */
static bool is_in_range(const struct fkmi_direct *direct, int64_t j, double distance)
{
    const struct fkmi_pack *pack = direct->pack;

    switch (pack->space.metric) {
    case FKM_METRIC_EUCLIDEAN:
        return is_ordinary(distance);
    case FKM_METRIC_COSINE:
        return is_ordinary(pack->size[j]) && isfinite(distance) &&
               (pack->space.real == FKMI_REAL_F64 || distance >= LEAST_COSINE_DISTANCE);
    default:
        return isfinite(distance);
    }
}

double fkmi_direct_distance(struct fkmi_direct *direct, int64_t j)
{
    const struct fkmi_pack *pack = direct->pack;
    const struct fkmi_vector *vector = fkmi_pack_vector(pack);
    const size_t size = fkmi_dtype_size(pack->dtype);
    const void *c;
    double distance;

    if (fkmi_rows_sparse(direct->rows)) /* prototypes may be lists */
        return sparse_distance(direct, j);
    if (direct->wide_row)
        return wide_distance(direct, j);
    c = (const char *)pack->points + (size_t)(j * pack->dim) * size;
    if (size != fkmi_real_size(pack->space.real)) {
        vector->load[pack->dtype](direct->c_memory, c, pack->dim);
        c = direct->c_memory;
    }
    distance = vector->distance[pack->space.metric](direct->x, c, direct->a, pack->dim);
    return is_in_range(direct, j, distance) ? distance * direct->factor : wide_distance(direct, j);
}

void fkmi_direct_distances(struct fkmi_direct *direct, const int32_t *index, int n, double *distance)
{
    const struct fkmi_pack *pack = direct->pack;
    const size_t point_size = (size_t)pack->dim * fkmi_real_size(pack->space.real);
    const void *points[FKMI_DIRECT_MOST];

    assert(n <= FKMI_DIRECT_MOST);
    if (n == 1 || fkmi_rows_sparse(direct->rows) || direct->wide_row ||
        fkmi_dtype_size(pack->dtype) != fkmi_real_size(pack->space.real)) {
        for (int j = 0; j < n; j++)
            distance[j] = fkmi_direct_distance(direct, index[j]);
        return;
    }
    for (int j = 0; j < n; j++)
        points[j] = (const char *)pack->points + (size_t)index[j] * point_size;
    fkmi_pack_vector(pack)->distances[pack->space.metric](direct->x, points, n, direct->a, pack->dim,
                                                          distance);
    for (int j = 0; j < n; j++)
        distance[j] = is_in_range(direct, index[j], distance[j]) ? distance[j] * direct->factor
                                                                 : wide_distance(direct, index[j]);
}
