/* importance.c — running variance of each feature inside each class.
 *
 * Dense rows update by Welford's recurrence, columns shared out among threads. CSR rows go class by class:
 * the mean and spread of the class's rows, with their zeros counted rather than visited, then Chan's merge.
 * SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/importance.h"

#include <math.h>
#include <string.h>

#include "base/interrupt.h"

#define LEAST_WEIGHT   1e-3
#define COLUMNS        64   /* of one piece of work */
#define ROWS_PER_CHECK 4096 /* for an interrupt */

void fkmi_importance_free(struct fkmi_importance *importance)
{
    fkmi_free(importance->count);
    fkmi_free(importance->mean);
    fkmi_free(importance->m2);
    *importance = (struct fkmi_importance){0};
}

fkm_status fkmi_importance_copy(struct fkmi_importance *out, const struct fkmi_importance *importance)
{
    const int64_t n = importance->n_classes * importance->dim;
    fkm_status status = FKM_OK;

    *out = (struct fkmi_importance){
        .dim = importance->dim, .n_classes = importance->n_classes, .class_capacity = importance->n_classes};
    FKMI_TRY_GOTO(fkmi_copy(&out->count, importance->count, n, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->mean, importance->mean, n, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->m2, importance->m2, n, sizeof(double)));
done:
    if (status != FKM_OK)
        fkmi_importance_free(out);
    return status;
}

/* Room for n classes; the capacity is written last, so a failure changes nothing that counts. */
static fkm_status reserve(struct fkmi_importance *importance, int64_t dim, int64_t n)
{
    const int64_t capacity = n > 2 * importance->class_capacity ? n : 2 * importance->class_capacity;

    if (importance->dim != 0 && importance->dim != dim)
        return fkmi_fail(FKM_EINVAL, "batch has %lld columns, the statistics have %lld", (long long)dim,
                         (long long)importance->dim);
    if (n <= importance->class_capacity && importance->m2)
        return FKM_OK;
    FKMI_TRY(fkmi_resize(&importance->count, capacity * dim, sizeof(double)));
    FKMI_TRY(fkmi_resize(&importance->mean, capacity * dim, sizeof(double)));
    FKMI_TRY(fkmi_resize(&importance->m2, capacity * dim, sizeof(double)));
    importance->class_capacity = capacity;
    return FKM_OK;
}

/* Joins the moments of two sets of rows (Chan, Golub & LeVeque 1979). */
static void join(double *count, double *mean, double *m2, double other_count, double other_mean,
                 double other_m2)
{
    const double total = *count + other_count, delta = other_mean - *mean;

    if (!(other_count > 0))
        return;
    *mean += delta * (other_count / total);
    *m2 += other_m2 + delta * delta * (*count * (other_count / total));
    *count = total;
}

/* ---- dense rows */

struct adding {
    const struct fkmi_kernels *kernels;
    struct fkmi_importance *importance;
    const struct fkmi_rows *rows;
    const int32_t *slot;
};

/* Welford's recurrence for columns [begin, end) of one row. */
static void add_values(struct fkmi_importance *importance, int32_t slot, int64_t begin, int64_t end,
                       double weight, const double *value, const float *mask)
{
    const int64_t at = slot * importance->dim;

    for (int64_t d = begin; d < end; d++) {
        const double u = mask ? weight * (double)mask[d] : weight;
        const double x = value[d - begin], delta = x - importance->mean[at + d];
        if (!(u > 0))
            continue;
        importance->count[at + d] += u;
        importance->mean[at + d] += delta * (u / importance->count[at + d]);
        importance->m2[at + d] += u * delta * (x - importance->mean[at + d]);
    }
}

static fkm_status add_columns(void *job, int64_t begin, int64_t end, int thread)
{
    const struct adding *a = job;
    const struct fkmi_rows *rows = a->rows;
    double value[COLUMNS];

    (void)thread;
    for (int64_t i = 0; i < rows->n; i++) {
        const int64_t r = fkmi_row(rows, i);
        const char *x =
            (const char *)rows->x + (size_t)(r * rows->stride + begin) * fkmi_dtype_size(rows->dtype);
        const double weight = fkmi_row_weight(rows, i);
        FKMI_TRY(fkmi_check_every(ROWS_PER_CHECK, i));
        if (a->slot[i] < 0 || !(weight > 0))
            continue;
        a->kernels->vector[FKMI_REAL_F64].load[rows->dtype](value, x, end - begin);
        add_values(a->importance, a->slot[i], begin, end, weight, value,
                   rows->mask ? rows->mask + r * rows->dim : NULL);
    }
    return FKM_OK;
}

/* ---- CSR rows */

struct moments { /* of one class's rows, by column */
    double *present, *sum,
        *m2;                /* weight of the entries that are there; sum u x; sum u (x - mean)^2 of those */
    int64_t *order, *begin; /* rows by class */
};

static double entry(const struct fkmi_rows *rows, int64_t e)
{
    return fkmi_dtype_get(rows->values, rows->dtype, e);
}

static fkm_status add_class(struct fkmi_importance *importance, const struct fkmi_rows *rows,
                            const struct moments *of, int64_t slot)
{
    const int64_t dim = importance->dim, first = of->begin[slot], last = of->begin[slot + 1];
    double total = 0;

    memset(of->present, 0, (size_t)dim * sizeof(double));
    memset(of->sum, 0, (size_t)dim * sizeof(double));
    memset(of->m2, 0, (size_t)dim * sizeof(double));
    for (int64_t p = first; p < last; p++) {
        const int64_t r = fkmi_row(rows, of->order[p]);
        const double u = fkmi_row_weight(rows, of->order[p]);
        FKMI_TRY(fkmi_check_every(ROWS_PER_CHECK, p - first));
        total += u;
        for (int64_t e = rows->indptr[r]; e < rows->indptr[r + 1]; e++) {
            of->present[rows->indices[e]] += u;
            of->sum[rows->indices[e]] += u * entry(rows, e);
        }
    }
    if (!(total > 0))
        return FKM_OK;
    for (int64_t p = first; p < last; p++) { /* around the mean: sums of squares would cancel */
        const int64_t r = fkmi_row(rows, of->order[p]);
        const double u = fkmi_row_weight(rows, of->order[p]);
        FKMI_TRY(fkmi_check_every(ROWS_PER_CHECK, p - first));
        for (int64_t e = rows->indptr[r]; e < rows->indptr[r + 1]; e++) {
            const double delta = entry(rows, e) - of->sum[rows->indices[e]] / total;
            of->m2[rows->indices[e]] += u * delta * delta;
        }
    }
    for (int64_t d = 0; d < dim; d++) {
        const double mean = of->sum[d] / total, zeros = fmax(total - of->present[d], 0);
        join(&importance->count[slot * dim + d], &importance->mean[slot * dim + d],
             &importance->m2[slot * dim + d], total, mean, of->m2[d] + zeros * mean * mean);
    }
    return FKM_OK;
}

static fkm_status take_moments(struct moments *of, const struct fkmi_rows *rows, int64_t n_classes)
{
    FKMI_TRY(fkmi_alloc(&of->present, rows->dim, sizeof(double)));
    FKMI_TRY(fkmi_alloc(&of->sum, rows->dim, sizeof(double)));
    FKMI_TRY(fkmi_alloc(&of->m2, rows->dim, sizeof(double)));
    FKMI_TRY(fkmi_alloc(&of->order, rows->n, sizeof(int64_t)));
    return fkmi_alloc(&of->begin, n_classes + 2, sizeof(int64_t));
}

static void free_moments(struct moments *of)
{
    fkmi_free(of->present);
    fkmi_free(of->sum);
    fkmi_free(of->m2);
    fkmi_free(of->order);
    fkmi_free(of->begin);
}

/* begin[slot] .. begin[slot + 1] are the class's rows in order. */
static void sort_by_class(const struct moments *of, const struct fkmi_rows *rows, const int32_t *slot,
                          int64_t n_classes)
{
    int64_t *end = of->begin + 1; /* counts, then running ends, of the class before */

    for (int64_t i = 0; i < rows->n; i++)
        if (slot[i] >= 0)
            end[slot[i] + 1]++;
    for (int64_t c = 0; c < n_classes; c++)
        end[c + 1] += end[c];
    for (int64_t i = 0; i < rows->n; i++)
        if (slot[i] >= 0)
            of->order[end[slot[i]]++] = i;
}

/* ---- entry points */

fkm_status fkmi_importance_add(struct fkm_context *context, struct fkmi_importance *importance,
                               const struct fkmi_rows *rows, const int32_t *slot, int64_t n_classes)
{
    const int64_t n = n_classes > importance->n_classes ? n_classes : importance->n_classes;
    struct adding adding = {context->kernels, importance, rows, slot};
    struct moments of = {0};
    fkm_status status = FKM_OK;

    FKMI_TRY_GOTO(reserve(importance, rows->dim, n));
    if (fkmi_rows_sparse(rows))
        FKMI_TRY_GOTO(take_moments(&of, rows, n));
    importance->dim = rows->dim;
    importance->n_classes = n;
    if (!fkmi_rows_sparse(rows))
        FKMI_TRY_GOTO(fkmi_parallel(context->pool, rows->dim, COLUMNS, add_columns, &adding));
    else {
        sort_by_class(&of, rows, slot, n);
        for (int64_t c = 0; c < n; c++)
            FKMI_TRY_GOTO(add_class(importance, rows, &of, c));
    }
done:
    free_moments(&of);
    return status;
}

void fkmi_importance_weights(const struct fkmi_importance *importance, double *weights)
{
    const int64_t dim = importance->dim;
    double sum = 0;

    for (int64_t d = 0; d < dim; d++) {
        double count = 0, mean = 0, total = 0, within = 0;
        for (int64_t c = 0; c < importance->n_classes; c++) {
            const int64_t at = c * dim + d;
            join(&count, &mean, &total, importance->count[at], importance->mean[at], importance->m2[at]);
            within += importance->m2[at];
        }
        weights[d] = total > 0 ? fmax(LEAST_WEIGHT, 1 - within / total) : LEAST_WEIGHT;
        sum += weights[d];
    }
    for (int64_t d = 0; d < dim; d++)
        weights[d] *= (double)dim / sum;
}
