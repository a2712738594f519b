/* columns_scan.c — CSR rows against prototypes by column: sums of all prototypes in f64, so that distances need no second
 * look; what the caller asked for is then picked from them. A row's answer depends on nothing but the row.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "base/interrupt.h"
#include "train/columns_step.h"

enum { ROWS_PER_BLOCK = 4 };

struct scan_job {
    const struct fkmi_step *step;
    const struct fkmi_train_columns *columns;
    const struct fkmi_rows *rows;
    const struct fkmi_scan *scan;
    int64_t width;
};

/* ---- sums of one row: x c of all prototypes, or for l1 what |x - c| has over |x| + |c| */

#define ADD_LIST(REAL)                                                                                       \
    do {                                                                                                     \
        const REAL *value = (const REAL *)(const void *)fkmi_column_values(column);                          \
        for (int32_t e = 0; e < column->n; e++)                                                              \
            sums[prototype[e]] += x * (double)value[e];                                                      \
    } while (0)

static void add_products(const struct scan_job *job, const struct fkmi_train_column *column, double x,
                         double *sums)
{
    const struct fkmi_train_columns *columns = job->columns;
    const int32_t *prototype;

    if (column->whole) {
        job->step->vector->add_f64(sums, fkmi_column_values(column), x, columns->k);
        return;
    }
    prototype = fkmi_column_prototypes(columns, column);
    if (columns->real == FKMI_REAL_F32)
        ADD_LIST(float);
    else
        ADD_LIST(double);
}

static void add_absolutes(const struct scan_job *job, const struct fkmi_train_column *column, double w,
                          double x, double *sums)
{
    const struct fkmi_train_columns *columns = job->columns;
    const int32_t *prototype = column->whole ? NULL : fkmi_column_prototypes(columns, column);

    for (int64_t e = 0; e < column->n; e++) {
        const int64_t j = prototype ? prototype[e] : e;
        const double c = columns->factor[j] * fkmi_column_real(columns, fkmi_column_values(column), e);

        sums[j] += w * (fabs(x - c) - fabs(x) - fabs(c));
    }
}

/* Distances of row i to all prototypes. */
static void measure(const struct scan_job *job, int64_t i, double *distance)
{
    const struct fkmi_train_columns *columns = job->columns;
    const struct fkmi_rows *rows = job->rows;
    const double *weights = job->step->space.feature_weights, *scale = job->step->sparse->scale;
    const double *size_of = columns->metric == FKM_METRIC_COSINE ? job->step->sparse->zero : columns->size;
    const int64_t row = fkmi_row(rows, i), k = columns->k;
    const fkm_metric metric = columns->metric;
    const double most = metric == FKM_METRIC_COSINE ? 2.0 : (double)INFINITY;
    double size = 0, base, factor; /* size: of the row, as of a prototype */

    memset(distance, 0, (size_t)k * sizeof *distance);
    for (int64_t e = rows->indptr[row]; e < rows->indptr[row + 1]; e++) {
        const struct fkmi_train_column *column = &columns->column[rows->indices[e]];
        const double given = fkmi_dtype_get(rows->values, rows->dtype, e),
                     x = columns->real == FKMI_REAL_F32 ? (double)(float)given : given;
        const double w = weights ? weights[rows->indices[e]] : 1.0;

        size += metric == FKM_METRIC_L1 ? w * fabs(x) : w * x * x;
        if (column->n == 0)
            continue;
        if (metric == FKM_METRIC_L1)
            add_absolutes(job, column, w, x, distance);
        else
            add_products(job, column, w * x, distance);
    }
    base = metric == FKM_METRIC_COSINE ? 1.0 : size;
    factor = metric != FKM_METRIC_COSINE ? 1.0 : size > 0 ? 1 / sqrt(size) : 0.0;
    for (int64_t j = 0; j < k; j++) {
        const double d = base + size_of[j] - factor * scale[j] * distance[j];

        distance[j] = d < 0 ? 0.0 : d > most ? most : d; /* NaN stays */
    }
}

/* ---- what the caller wants of them */

/* The nearest of [begin, end), the first of several; -1 of none. */
static int32_t nearest_of(const double *distance, int64_t begin, int64_t end)
{
    int64_t best = begin;

    for (int64_t j = begin + 1; j < end; j++)
        if (distance[j] < distance[best])
            best = j;
    return begin < end ? (int32_t)best : -1;
}

static void write_nearest(const double *distance, int64_t begin, int64_t end, int32_t *index, double *out)
{
    *index = nearest_of(distance, begin, end);
    *out = *index < 0 ? INFINITY : distance[*index];
}

static void write_top(const double *distance, int64_t k, int64_t top_k, int32_t *index, double *out)
{
    int64_t n = 0;

    for (int64_t j = 0; j < k; j++) {
        int64_t at;

        if (n == top_k && !(distance[j] < out[n - 1]))
            continue;
        n += n < top_k;
        for (at = n - 1; at > 0 && distance[j] < out[at - 1]; at--) {
            out[at] = out[at - 1];
            index[at] = index[at - 1];
        }
        out[at] = distance[j];
        index[at] = (int32_t)j;
    }
    for (; n < top_k; n++) {
        index[n] = -1;
        out[n] = INFINITY;
    }
}

static void answer(const struct scan_job *job, int64_t i, const double *distance)
{
    const struct fkmi_scan *scan = job->scan;
    const int64_t *begin = scan->class_begin, k = job->columns->k;
    int32_t *index = scan->index ? scan->index + i * job->width : NULL;
    double *out = scan->distance + i * job->width;

    switch (scan->kind) {
    case FKMI_SCAN_NEAREST:
        write_nearest(distance, 0, k, index, out);
        break;
    case FKMI_SCAN_TOP_K:
        write_top(distance, k, scan->top_k, index, out);
        break;
    case FKMI_SCAN_OWN:
        write_nearest(distance, begin[scan->slot[i]], begin[scan->slot[i] + 1], index, out);
        break;
    case FKMI_SCAN_CLASSES:
        for (int64_t c = 0; c < scan->n_classes; c++)
            write_nearest(distance, begin[c], begin[c + 1], index + c, out + c);
        break;
    default: /* FKMI_SCAN_ALL; others do not teach */
        memcpy(out, distance, (size_t)k * sizeof *out);
    }
}

static fkm_status scan_rows(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct scan_job *job = argument;
    double *distance = job->step->sparse->distance + thread * job->columns->k;

    FKMI_TRY(fkmi_check_interrupt());
    for (int64_t i = begin; i < end; i++) {
        measure(job, i, distance);
        answer(job, i, distance);
    }
    return FKM_OK;
}

/* What a prototype's sums are multiplied by: a cosine, twice a product, minus what l1 is less. */
void fkmi_train_columns_scale(const struct fkmi_train_columns *columns, double *scale)
{
    for (int64_t j = 0; j < columns->k; j++)
        if (columns->metric == FKM_METRIC_COSINE)
            scale[j] = columns->size[j] > 0 ? columns->factor[j] / sqrt(columns->size[j]) : 0.0;
        else
            scale[j] = columns->metric == FKM_METRIC_EUCLIDEAN ? 2 * columns->factor[j] : -1.0;
}

fkm_status fkmi_train_columns_scan(const struct fkmi_step *step, const struct fkmi_rows *rows,
                                   const struct fkmi_scan *scan)
{
    struct scan_job job = {step, step->trainer->columns, rows, scan, 1};

    if (scan->kind == FKMI_SCAN_TOP_K)
        job.width = scan->top_k;
    else if (scan->kind == FKMI_SCAN_CLASSES)
        job.width = scan->n_classes;
    else if (scan->kind == FKMI_SCAN_ALL)
        job.width = job.columns->k;
    return fkmi_parallel(step->context->pool, rows->n, ROWS_PER_BLOCK, scan_rows, &job);
}
