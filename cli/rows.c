/* rows.c — all rows of an input in memory, dense or CSR.
 * SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "progress.h"
#include "talk.h"
#include "values.h"

enum { BATCH_ROWS = 2048 };

static void append(struct array *array, const void *elements, int64_t n, size_t size)
{
    array->bytes = need_room(array->bytes, &array->capacity, array->n + n, size);
    memcpy((char *)array->bytes + (size_t)array->n * size, elements, (size_t)n * size);
    array->n += n;
}

static void append_ones(struct array *array, int64_t n)
{
    array->bytes = need_room(array->bytes, &array->capacity, array->n + n, sizeof(float));
    for (int64_t i = 0; i < n; i++)
        ((float *)array->bytes)[array->n++] = 1.0f;
}

/* Row pointers of a batch, shifted behind those we have. */
static void append_pointers(struct array *array, const int64_t *pointers, int64_t n_rows)
{
    const int64_t zero = 0;
    if (array->n == 0)
        append(array, &zero, 1, sizeof zero);
    const int64_t base = ((const int64_t *)array->bytes)[array->n - 1];
    for (int64_t i = 1; i <= n_rows; i++) {
        const int64_t pointer = base + pointers[i] - pointers[0];
        append(array, &pointer, 1, sizeof pointer);
    }
}

/* n elements of any type, kept as floats or doubles. */
static void append_values(struct array *array, const void *values, fkm_dtype dtype, int64_t first, int64_t n)
{
    const size_t size = widened_size(dtype);
    array->bytes = need_room(array->bytes, &array->capacity, array->n + n, size);
    values_widen(values, dtype, first, n, (char *)array->bytes + (size_t)array->n * size);
    array->n += n;
}

static void add_features(struct rows *rows, const fkm_batch *batch)
{
    const int64_t n = batch->n_rows, stride = batch->row_stride ? batch->row_stride : batch->n_cols;
    if (batch->x) {
        for (int64_t i = 0; i < n; i++)
            append_values(&rows->x, batch->x, batch->dtype, i * stride, batch->n_cols);
        /* Most files never need a mask: it begins, filled with ones, where the first one comes. */
        if (batch->mask && rows->mask.n == 0)
            append_ones(&rows->mask, rows->n * batch->n_cols);
        if (batch->mask)
            append(&rows->mask, batch->mask, n * batch->n_cols, sizeof(float));
        else if (rows->mask.n > 0)
            append_ones(&rows->mask, n * batch->n_cols);
    } else {
        const int64_t begin = batch->indptr[0], n_values = batch->indptr[n] - begin;
        append_pointers(&rows->indptr, batch->indptr, n);
        append_values(&rows->values, batch->values, batch->dtype, begin, n_values);
        append(&rows->indices, batch->indices + begin, n_values, sizeof(int32_t));
    }
}

static void add_targets(struct rows *rows, const fkm_batch *batch)
{
    const int64_t n = batch->n_rows;
    if (batch->weight)
        append(&rows->weight, batch->weight, n, sizeof(float));
    if (batch->labels)
        append(&rows->labels, batch->labels, n, sizeof(int64_t));
    if (batch->tag_indptr) {
        append_pointers(&rows->tag_indptr, batch->tag_indptr, n);
        append(&rows->tags, batch->tags + batch->tag_indptr[0], batch->tag_indptr[n] - batch->tag_indptr[0],
               sizeof(int32_t));
        rows->n_tags = batch->n_tags > rows->n_tags ? batch->n_tags : rows->n_tags;
    }
    if (batch->targets) {
        append(&rows->targets, batch->targets, n * batch->n_targets, sizeof(double));
        rows->n_targets = batch->n_targets;
    }
}

static int add(struct rows *rows, const struct input *input, const fkm_batch *batch)
{
    const bool sparse = batch->x == NULL;
    if (rows->n > 0 && (sparse != rows->sparse || (!sparse && batch->n_cols != rows->n_cols)))
        return fail(EXIT_BAD_DATA, "%s: the rows change from %" PRId64 " to %" PRId64 " columns", input->path,
                    rows->n_cols, batch->n_cols);
    rows->sparse = sparse;
    rows->dtype = widened(batch->dtype);
    if (batch->n_cols > rows->n_cols)
        rows->n_cols = batch->n_cols;
    add_features(rows, batch);
    add_targets(rows, batch);
    rows->n += batch->n_rows;
    return EXIT_FINE;
}

int rows_load(struct rows *rows, struct input *input, size_t limit)
{
    struct progress progress;
    fkm_batch batch;
    char held[NUMBER_BYTES], allowed[NUMBER_BYTES];

    *rows = (struct rows){0};
    progress_start(&progress);
    for (;;) {
        TRY(input_next(input, BATCH_ROWS, &batch));
        if (batch.n_rows == 0)
            break;
        TRY(add(rows, input, &batch));
        if (limit > 0 && rows_bytes(rows) > limit)
            return fail(EXIT_OTHER,
                        "the rows of %s need more than --memory-limit: %s after %" PRId64
                        " rows, %s allowed (fkm fit --stream needs no more than a batch)",
                        input->path, size_text(held, (double)rows_bytes(rows)), rows->n,
                        size_text(allowed, (double)limit));
        progress_rows(&progress, "reading", rows->n);
    }
    talk_end_line();
    if (rows->n == 0)
        return fail(EXIT_BAD_DATA, "%s has no rows", input->path);
    return EXIT_FINE;
}

fkm_batch rows_batch(const struct rows *rows)
{
    fkm_batch batch = FKM_BATCH_INIT;
    static const int32_t none;
    static const double nothing;
    batch.n_rows = rows->n;
    batch.n_cols = rows->n_cols;
    batch.dtype = rows->dtype;
    if (rows->sparse) { /* rows without any entry are rows, too */
        batch.values = rows->values.bytes ? rows->values.bytes : &nothing;
        batch.indices = rows->indices.bytes ? rows->indices.bytes : &none;
        batch.indptr = rows->indptr.bytes;
    } else {
        batch.x = rows->x.bytes;
        batch.mask = rows->mask.bytes;
    }
    batch.weight = rows->weight.bytes;
    batch.labels = rows->labels.bytes;
    batch.tag_indptr = rows->tag_indptr.bytes;
    batch.tags = rows->tag_indptr.bytes && !rows->tags.bytes ? &none : rows->tags.bytes;
    batch.n_tags = rows->n_tags;
    batch.targets = rows->targets.bytes;
    batch.n_targets = rows->n_targets;
    return batch;
}

size_t rows_bytes(const struct rows *rows)
{
    const size_t real = widened_size(rows->dtype);
    return (size_t)(rows->x.capacity + rows->values.capacity) * real +
           (size_t)(rows->mask.capacity + rows->weight.capacity) * sizeof(float) +
           (size_t)(rows->indices.capacity + rows->tags.capacity) * sizeof(int32_t) +
           (size_t)(rows->indptr.capacity + rows->labels.capacity + rows->tag_indptr.capacity) *
               sizeof(int64_t) +
           (size_t)rows->targets.capacity * sizeof(double);
}

void rows_free(struct rows *rows)
{
    struct array *arrays[] = {&rows->x,      &rows->mask,   &rows->values,     &rows->indptr, &rows->indices,
                              &rows->weight, &rows->labels, &rows->tag_indptr, &rows->tags,   &rows->targets};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        free(arrays[i]->bytes);
    *rows = (struct rows){0};
}
