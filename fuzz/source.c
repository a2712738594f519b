/* source.c — reads a source in several ways that must agree.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "data/source.h"
#include "base/dtype.h"
#include "fuzz/fuzz.h"
#include "io/open.h"

static int is_finite(double value) { return value - value == 0; }

static void check_row_values(const fkm_batch *batch, int finite)
{
    int64_t i, j;

    for (i = 0; i < batch->n_rows; i++) {
        for (j = 0; batch->x && j < batch->n_cols; j++) {
            const double value = fkmi_dtype_get(batch->x, batch->dtype, i * batch->n_cols + j);

            REQUIRE(!finite || is_finite(value));
            if (batch->mask) {
                const float mask = batch->mask[i * batch->n_cols + j];

                REQUIRE(mask == 0 || mask == 1);
                REQUIRE(mask == 1 || value == 0);
            }
        }
        for (j = batch->x ? 0 : batch->indptr[i]; !batch->x && j < batch->indptr[i + 1]; j++) {
            REQUIRE(batch->indices[j] >= 0 && batch->indices[j] < batch->n_cols);
            REQUIRE(j == batch->indptr[i] || batch->indices[j - 1] < batch->indices[j]);
            REQUIRE(is_finite(fkmi_dtype_get(batch->values, batch->dtype, j)));
        }
    }
}

static void check_batch(const fkm_source *source, const fkm_batch *batch, int64_t max_rows, int finite)
{
    const int64_t n_classes = fkm_source_class_count(source);
    int64_t i, j;

    REQUIRE(batch->n_rows >= 0 && batch->n_rows <= max_rows);
    if (batch->n_rows == 0)
        return;
    REQUIRE(batch->n_cols >= 1);
    REQUIRE((batch->x != NULL) != (batch->values != NULL));
    REQUIRE(batch->x || batch->indptr[0] == 0);
    check_row_values(batch, finite);
    for (i = 0; i < batch->n_rows; i++) {
        REQUIRE(!batch->weight || (batch->weight[i] >= 0 && is_finite((double)batch->weight[i])));
        REQUIRE(!batch->labels || n_classes == 0 || (batch->labels[i] >= 0 && batch->labels[i] < n_classes));
        for (j = 0; batch->targets && j < batch->n_targets; j++)
            REQUIRE(is_finite(batch->targets[i * batch->n_targets + j]));
        for (j = batch->tag_indptr ? batch->tag_indptr[i] : 0;
             batch->tag_indptr && j < batch->tag_indptr[i + 1]; j++) {
            REQUIRE(batch->tags[j] >= 0 && batch->tags[j] < batch->n_tags);
            REQUIRE(j == batch->tag_indptr[i] || batch->tags[j - 1] < batch->tags[j]);
        }
    }
    for (i = 0; i < n_classes; i++)
        REQUIRE(fkm_source_class_name(source, i) && fkm_source_class_name(source, i)[0]);
}

static float mask_at(const fkm_batch *batch, int64_t i, int64_t j)
{
    return batch->mask ? batch->mask[i * batch->n_cols + j] : 1;
}

static void check_same_entries(const fkm_batch *a, int64_t i, const fkm_batch *b, int64_t k)
{
    const int64_t n = a->indptr[i + 1] - a->indptr[i], from = a->indptr[i], to = b->indptr[k];
    const size_t item = fkmi_dtype_size(a->dtype);

    REQUIRE(n == b->indptr[k + 1] - to);
    REQUIRE(n == 0 || memcmp(a->indices + from, b->indices + to, (size_t)n * sizeof(int32_t)) == 0);
    REQUIRE(n == 0 || memcmp((const char *)a->values + (size_t)from * item,
                             (const char *)b->values + (size_t)to * item, (size_t)n * item) == 0);
}

/* Row i of a is row k of b. */
static void check_same_row(const fkm_batch *a, int64_t i, const fkm_batch *b, int64_t k)
{
    const size_t item = fkmi_dtype_size(a->dtype), row = (size_t)a->n_cols * item;
    int64_t j;

    REQUIRE(a->n_cols == b->n_cols && a->dtype == b->dtype && !a->x == !b->x && a->n_targets == b->n_targets);
    REQUIRE(!a->labels == !b->labels && !a->weight == !b->weight && !a->tag_indptr == !b->tag_indptr);
    if (a->x) {
        REQUIRE(memcmp((const char *)a->x + (size_t)i * row, (const char *)b->x + (size_t)k * row, row) == 0);
        for (j = 0; j < a->n_cols; j++)
            REQUIRE(mask_at(a, i, j) == mask_at(b, k, j));
    } else {
        check_same_entries(a, i, b, k);
    }
    REQUIRE(!a->labels || a->labels[i] == b->labels[k]);
    REQUIRE(!a->weight || a->weight[i] == b->weight[k]);
    for (j = 0; j < a->n_targets; j++)
        REQUIRE(a->targets[i * a->n_targets + j] == b->targets[k * b->n_targets + j]);
    if (a->tag_indptr) {
        const int64_t n = a->tag_indptr[i + 1] - a->tag_indptr[i];

        REQUIRE(n == b->tag_indptr[k + 1] - b->tag_indptr[k]);
        REQUIRE(n == 0 || memcmp(a->tags + a->tag_indptr[i], b->tags + b->tag_indptr[k],
                                 (size_t)n * sizeof(int32_t)) == 0);
    }
}

static fkm_source *open_again(const void *bytes, size_t size, const fkm_source_options *options)
{
    fkm_source *source;

    REQUIRE(fkmi_source_open_bytes(bytes, size, options, &source) == FKM_OK);
    return source;
}

static void compare_batch_sizes(const void *bytes, size_t size, const fkm_source_options *options, int finite,
                                int same_end)
{
    fkm_source *many = open_again(bytes, size, options), *single = open_again(bytes, size, options);
    fkm_batch batch, row;
    fkm_status status;
    int64_t i;

    for (;;) {
        status = fkm_source_next(many, 1000, &batch);
        if (status != FKM_OK)
            break;
        check_batch(many, &batch, 1000, finite);
        for (i = 0; i < batch.n_rows; i++) {
            REQUIRE(fkm_source_next(single, 1, &row) == FKM_OK && row.n_rows == 1);
            check_batch(single, &row, 1, finite);
            check_same_row(&batch, i, &row, 0);
        }
        if (batch.n_rows == 0)
            break;
    }
    if (same_end) {
        REQUIRE(fkm_source_next(single, 1, &row) == status);
        REQUIRE(status != FKM_OK || row.n_rows == 0);
    }
    fkm_source_close(many);
    fkm_source_close(single);
}

/* Opens a second source with the names the first one knows. */
static fkm_source *open_with_names(const void *bytes, size_t size, const fkm_source_options *options,
                                   const fkm_source *source)
{
    fkm_source_options known = *options;
    const char **names;
    fkm_source *second;
    int64_t i;

    known.n_class_names = fkm_source_class_count(source);
    names = malloc(sizeof *names * (size_t)(known.n_class_names + 1));
    REQUIRE(names != NULL);
    for (i = 0; i < known.n_class_names; i++)
        names[i] = fkm_source_class_name(source, i);
    known.class_names = names;
    second = open_again(bytes, size, &known);
    free(names);
    return second;
}

static void compare_resumed(const void *bytes, size_t size, const fkm_source_options *options)
{
    fkm_source *first = open_again(bytes, size, options), *second = NULL;
    char position[FKMI_POSITION_BYTES], again[FKMI_POSITION_BYTES];
    fkm_batch a, b;
    fkm_status status;

    status = fkm_source_next(first, 3, &a);
    if (status == FKM_OK && a.n_rows > 0) {
        REQUIRE(fkm_source_tell(first, position, sizeof position) == FKM_OK);
        second = open_with_names(bytes, size, options, first);
        REQUIRE(fkm_source_seek(second, position) == FKM_OK);
        REQUIRE(fkm_source_tell(second, again, sizeof again) == FKM_OK);
        REQUIRE(strcmp(position, again) == 0);
    }
    while (second && status == FKM_OK && a.n_rows > 0) {
        status = fkm_source_next(first, 1, &a);
        REQUIRE(fkm_source_next(second, 1, &b) == status);
        if (status == FKM_OK) {
            REQUIRE(a.n_rows == b.n_rows && a.n_tags == b.n_tags);
            if (a.n_rows > 0)
                check_same_row(&a, 0, &b, 0);
        }
    }
    fkm_source_close(first);
    fkm_source_close(second);
}

void fuzz_source(const void *bytes, size_t size, const fkm_source_options *options, int finite, int same_end)
{
    fkm_source *source;

    if (fkmi_source_open_bytes(bytes, size, options, &source) != FKM_OK)
        return;
    fkm_source_close(source);
    compare_batch_sizes(bytes, size, options, finite, same_end);
    compare_resumed(bytes, size, options);
}
