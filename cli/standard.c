/* standard.c — (x - mean) / deviation for each feature: measured once, kept in the model, applied ever after.
 * SPDX-License-Identifier: Apache-2.0 */
#include "standard.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "values.h"

/* Welford's recurrence with weights (West 1979). */
static void measure_value(struct standard *standard, int64_t column, double value, double weight)
{
    if (!(weight > 0) || !isfinite(value))
        return;
    standard->weight[column] += weight;
    const double away = value - standard->mean[column];
    standard->mean[column] += away * weight / standard->weight[column];
    standard->square[column] += weight * away * (value - standard->mean[column]);
}

void standard_measure(struct standard *standard, const fkm_batch *batch)
{
    const int64_t n = batch->n_cols;
    if (!standard->mean) {
        standard->n = n;
        standard->mean = need((size_t)n, sizeof(double));
        standard->deviation = need((size_t)n, sizeof(double));
        standard->square = need((size_t)n, sizeof(double));
        standard->weight = need((size_t)n, sizeof(double));
    }
    for (int64_t i = 0; i < batch->n_rows; i++)
        for (int64_t j = 0; j < n && j < standard->n; j++) {
            const double weight = (batch->weight ? (double)batch->weight[i] : 1.0) *
                                  (batch->mask ? (double)batch->mask[i * n + j] : 1.0);
            measure_value(standard, j, value_of(batch, i, j), weight);
        }
}

void standard_finish(struct standard *standard)
{
    for (int64_t j = 0; j < standard->n; j++) {
        const double variance = standard->weight[j] > 0 ? standard->square[j] / standard->weight[j] : 0;
        const double deviation = sqrt(variance);
        /* Rounding leaves a trace of variance in a large constant. */
        const bool varies = deviation > 1e-12 * fabs(standard->mean[j]);
        standard->deviation[j] = varies ? deviation : 1.0;
    }
}

void standard_apply(const struct standard *standard, void *x, fkm_dtype dtype, int64_t n_rows)
{
    for (int64_t i = 0; i < n_rows; i++)
        for (int64_t j = 0; j < standard->n; j++) {
            const int64_t at = i * standard->n + j;
            if (dtype == FKM_DTYPE_F64)
                ((double *)x)[at] = (((double *)x)[at] - standard->mean[j]) / standard->deviation[j];
            else
                ((float *)x)[at] =
                    (float)(((double)((float *)x)[at] - standard->mean[j]) / standard->deviation[j]);
        }
}

void standard_free(struct standard *standard)
{
    free(standard->mean);
    free(standard->deviation);
    free(standard->square);
    free(standard->weight);
    *standard = (struct standard){0};
}

/* ---- as text */

char *standard_text(const double *values, int64_t n)
{
    struct text text = {0};
    char number[NUMBER_BYTES];
    text_puts(&text, "[");
    for (int64_t j = 0; j < n; j++) {
        text_puts(&text, j ? ", " : "");
        text_puts(&text, number_text(number, values[j]));
    }
    text_puts(&text, "]");
    return text.bytes;
}

static double *read_numbers(const char *text, int64_t *n)
{
    double *values = NULL;
    int64_t count = 0, capacity = 0;
    const char *at = text + (*text == '[');
    while (*at && *at != ']') {
        char *end;
        const double value = strtod(at, &end);
        if (end == at || !isfinite(value)) {
            free(values);
            return NULL;
        }
        values = need_room(values, &capacity, count + 1, sizeof *values);
        values[count++] = value;
        at = end + strspn(end, ", ");
    }
    *n = count;
    return values;
}

bool standard_read(struct standard *standard, const char *mean, const char *deviation)
{
    int64_t n_means = 0, n_deviations = 0;
    *standard = (struct standard){0};
    standard->mean = read_numbers(mean, &n_means);
    standard->deviation = read_numbers(deviation, &n_deviations);
    bool fine = standard->mean && standard->deviation && n_means == n_deviations;
    for (int64_t j = 0; fine && j < n_means; j++)
        fine = standard->deviation[j] > 0;
    if (fine)
        standard->n = n_means;
    else
        standard_free(standard);
    return fine;
}

/* ---- as a source */

struct standard_rows {
    fkm_source *inner;
    const struct standard *standard;
    bool *sparse;
    void *x; /* the batch handed out */
    int64_t capacity;
};

static fkm_status next_rows(void *self, int64_t max_rows, fkm_batch *batch)
{
    struct standard_rows *rows = self;
    const fkm_status status = fkm_source_next(rows->inner, max_rows, batch);
    if (status != FKM_OK || batch->n_rows == 0)
        return status;
    if (!batch->x) {
        *rows->sparse = true;
        return FKM_EUNSUPPORTED;
    }
    if (batch->n_cols != rows->standard->n)
        return FKM_OK; /* whoever takes the batch says what is wrong with its width */
    const int64_t n = batch->n_cols, stride = batch->row_stride ? batch->row_stride : n;
    rows->x = need_room(rows->x, &rows->capacity, batch->n_rows * n, sizeof(double));
    for (int64_t i = 0; i < batch->n_rows; i++)
        values_widen(batch->x, batch->dtype, i * stride, n,
                     (char *)rows->x + (size_t)(i * n) * widened_size(batch->dtype));
    batch->dtype = widened(batch->dtype);
    standard_apply(rows->standard, rows->x, batch->dtype, batch->n_rows);
    batch->x = rows->x;
    batch->row_stride = 0;
    return FKM_OK;
}

static fkm_status seek_rows(void *self, const char *position)
{
    return fkm_source_seek(((struct standard_rows *)self)->inner, position);
}

static fkm_status tell_rows(void *self, char *position, size_t size)
{
    return fkm_source_tell(((struct standard_rows *)self)->inner, position, size);
}

static void close_rows(void *self)
{
    struct standard_rows *rows = self;
    free(rows->x);
    free(rows);
}

fkm_status standard_source(fkm_source *inner, const struct standard *standard, bool *sparse, fkm_source **out)
{
    const fkm_source_functions functions = {.struct_size = sizeof functions,
                                            .next = next_rows,
                                            .seek = seek_rows,
                                            .tell = tell_rows,
                                            .close = close_rows};
    struct standard_rows *rows = need(1, sizeof *rows);
    *rows = (struct standard_rows){.inner = inner, .standard = standard, .sparse = sparse};
    const fkm_status status = fkm_source_create(&functions, rows, out);
    if (status != FKM_OK)
        free(rows);
    return status;
}
