/* gather.c — the growing arrays behind a batch of rows read from text.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "io/gather.h"

#include "base/dtype.h"
#include "base/memory.h"

#define FIRST_ROOM 256 /* rows */

void fkmi_gather_restart(struct fkmi_gather *gather)
{
    gather->n_rows = 0;
    gather->begun = 0;
    gather->n_values = 0;
    gather->n_tags = 0;
    gather->masked = false;
    gather->first_missed = INT64_MAX;
}

void fkmi_gather_free(struct fkmi_gather *gather)
{
    fkmi_free(gather->values);
    fkmi_free(gather->indices);
    fkmi_free(gather->indptr);
    fkmi_free(gather->mask);
    fkmi_free(gather->weight);
    fkmi_free(gather->labels);
    fkmi_free(gather->tag_indptr);
    fkmi_free(gather->tags);
    fkmi_free(gather->targets);
    *gather = (struct fkmi_gather){0};
}

/* Rows to columns, checked: rows x n_cols fits whatever an allocation may count. */
static fkm_status cells(const struct fkmi_gather *gather, int64_t rows, int64_t *count)
{
    *count = 0;
    if (gather->n_cols > 0 && rows > INT64_MAX / gather->n_cols)
        return fkmi_fail(FKM_ENOMEM, "%lld rows of %lld columns are too many", (long long)rows,
                         (long long)gather->n_cols);
    *count = rows * gather->n_cols;
    return FKM_OK;
}

static fkm_status grow_values(struct fkmi_gather *gather)
{
    const int64_t room = gather->value_room > 0 ? 2 * gather->value_room : 4096;

    FKMI_TRY(fkmi_resize(&gather->values, room, fkmi_dtype_size(gather->dtype)));
    FKMI_TRY(fkmi_resize(&gather->indices, room, sizeof *gather->indices));
    gather->value_room = room;
    return FKM_OK;
}

static fkm_status grow_tags(struct fkmi_gather *gather)
{
    const int64_t room = gather->tag_room > 0 ? 2 * gather->tag_room : 1024;

    FKMI_TRY(fkmi_resize(&gather->tags, room, sizeof *gather->tags));
    gather->tag_room = room;
    return FKM_OK;
}

static fkm_status grow_rows(struct fkmi_gather *gather, int64_t needed, int64_t max_rows)
{
    const int64_t doubled = gather->room < FIRST_ROOM ? FIRST_ROOM : 2 * gather->room;
    const int64_t wished = doubled < max_rows ? doubled : max_rows;
    const int64_t room = wished > needed ? wished : needed;
    int64_t n_cells;

    if (gather->sparse) {
        FKMI_TRY(fkmi_resize(&gather->indptr, room + 1, sizeof *gather->indptr));
        if (gather->value_room == 0) /* rows without entries still need an array */
            FKMI_TRY(grow_values(gather));
    } else {
        FKMI_TRY(cells(gather, room, &n_cells));
        FKMI_TRY(fkmi_resize(&gather->values, n_cells, fkmi_dtype_size(gather->dtype)));
    }
    if (gather->weighted)
        FKMI_TRY(fkmi_resize(&gather->weight, room, sizeof *gather->weight));
    if (gather->labelled)
        FKMI_TRY(fkmi_resize(&gather->labels, room, sizeof *gather->labels));
    if (gather->tagged) {
        FKMI_TRY(fkmi_resize(&gather->tag_indptr, room + 1, sizeof *gather->tag_indptr));
        if (gather->tag_room == 0)
            FKMI_TRY(grow_tags(gather));
    }
    if (gather->n_targets > 0)
        FKMI_TRY(fkmi_resize(&gather->targets, room * gather->n_targets, sizeof *gather->targets));
    gather->room = room;
    return FKM_OK;
}

/* Room for the mask; ones for rows [first, n_rows + begun). */
static fkm_status mask_rows(struct fkmi_gather *gather, int64_t first)
{
    int64_t i, n_cells;

    if (gather->mask_room < gather->room) {
        FKMI_TRY(cells(gather, gather->room, &n_cells));
        FKMI_TRY(fkmi_resize(&gather->mask, n_cells, sizeof *gather->mask));
        gather->mask_room = gather->room;
    }
    for (i = first * gather->n_cols; i < (gather->n_rows + gather->begun) * gather->n_cols; i++)
        gather->mask[i] = 1.0f;
    return FKM_OK;
}

fkm_status fkmi_gather_begin_rows(struct fkmi_gather *gather, int64_t n, int64_t max_rows)
{
    gather->begun = n;
    if (gather->n_rows + n > gather->room)
        FKMI_TRY(grow_rows(gather, gather->n_rows + n, max_rows));
    if (gather->masked)
        FKMI_TRY(mask_rows(gather, gather->n_rows));
    if (gather->sparse) { /* entries of a row that was dropped go with it */
        if (gather->n_rows == 0)
            gather->indptr[0] = 0;
        gather->n_values = gather->indptr[gather->n_rows];
    }
    if (gather->tagged) {
        if (gather->n_rows == 0)
            gather->tag_indptr[0] = 0;
        gather->n_tags = gather->tag_indptr[gather->n_rows];
    }
    return FKM_OK;
}

fkm_status fkmi_gather_miss(struct fkmi_gather *gather, int64_t i, int64_t j)
{
    if (!gather->masked)
        FKMI_TRY(mask_rows(gather, 0));
    gather->masked = true;
    if (gather->n_rows + i < gather->first_missed)
        gather->first_missed = gather->n_rows + i;
    gather->mask[(gather->n_rows + i) * gather->n_cols + j] = 0.0f;
    return FKM_OK;
}

fkm_status fkmi_gather_entry(struct fkmi_gather *gather, int32_t index, double value, bool *fits)
{
    if (gather->n_values == gather->value_room)
        FKMI_TRY(grow_values(gather));
    gather->indices[gather->n_values] = index;
    *fits = fkmi_gather_put(gather->values, gather->dtype, gather->n_values, value);
    gather->n_values++;
    return FKM_OK;
}

fkm_status fkmi_gather_tag(struct fkmi_gather *gather, int32_t tag)
{
    if (gather->n_tags == gather->tag_room)
        FKMI_TRY(grow_tags(gather));
    gather->tags[gather->n_tags++] = tag;
    return FKM_OK;
}

/* ---- sorting a row: heapsort, since a hostile row may be long and in any order */

struct row_keys {
    int32_t *keys;
    void *values; /* moves along; NULL: nothing does */
    fkm_dtype dtype;
};

static void swap_places(const struct row_keys *row, int64_t a, int64_t b)
{
    const int32_t key = row->keys[a];

    row->keys[a] = row->keys[b];
    row->keys[b] = key;
    if (row->values) {
        const double value = fkmi_dtype_get(row->values, row->dtype, a);

        fkmi_dtype_set(row->values, row->dtype, a, fkmi_dtype_get(row->values, row->dtype, b));
        fkmi_dtype_set(row->values, row->dtype, b, value);
    }
}

static void sift_down(const struct row_keys *row, int64_t at, int64_t n)
{
    for (;;) {
        int64_t child = 2 * at + 1;

        if (child >= n)
            return;
        if (child + 1 < n && row->keys[child + 1] > row->keys[child])
            child++;
        if (row->keys[at] >= row->keys[child])
            return;
        swap_places(row, at, child);
        at = child;
    }
}

/* Sorts ascending; false, with the key, when one comes twice. */
static bool sort_keys(const struct row_keys *row, int64_t n, int32_t *twice)
{
    int64_t i, sorted = 1;

    while (sorted < n && row->keys[sorted - 1] < row->keys[sorted])
        sorted++;
    if (sorted >= n)
        return true;
    for (i = n / 2; i-- > 0;)
        sift_down(row, i, n);
    for (i = n; i-- > 1;) {
        swap_places(row, 0, i);
        sift_down(row, 0, i);
    }
    for (i = 1; i < n; i++) {
        if (row->keys[i - 1] == row->keys[i]) {
            *twice = row->keys[i];
            return false;
        }
    }
    return true;
}

bool fkmi_gather_end_row(struct fkmi_gather *gather, int32_t *twice, bool *twice_is_tag)
{
    if (gather->sparse && gather->n_values > gather->indptr[gather->n_rows]) {
        const int64_t begin = gather->indptr[gather->n_rows];
        const struct row_keys row = {gather->indices + begin,
                                     (char *)gather->values + (size_t)begin * fkmi_dtype_size(gather->dtype),
                                     gather->dtype};

        *twice_is_tag = false;
        if (!sort_keys(&row, gather->n_values - begin, twice))
            return false;
    }
    if (gather->tagged && gather->n_tags > gather->tag_indptr[gather->n_rows]) {
        const int64_t begin = gather->tag_indptr[gather->n_rows];
        const struct row_keys row = {gather->tags + begin, NULL, FKM_DTYPE_F32};

        *twice_is_tag = true;
        if (!sort_keys(&row, gather->n_tags - begin, twice))
            return false;
    }
    gather->n_rows++;
    gather->begun--;
    if (gather->sparse)
        gather->indptr[gather->n_rows] = gather->n_values;
    if (gather->tagged)
        gather->tag_indptr[gather->n_rows] = gather->n_tags;
    return true;
}

void fkmi_gather_batch(const struct fkmi_gather *gather, int64_t n_tags, fkm_batch *batch)
{
    *batch = (fkm_batch)FKM_BATCH_INIT;
    batch->n_rows = gather->n_rows;
    batch->n_cols = gather->n_cols;
    batch->dtype = gather->dtype;
    if (gather->n_rows == 0)
        return;
    if (gather->sparse) {
        batch->values = gather->values;
        batch->indices = gather->indices;
        batch->indptr = gather->indptr;
    } else {
        batch->x = gather->values;
        batch->mask = gather->masked && gather->first_missed < gather->n_rows ? gather->mask : NULL;
    }
    batch->weight = gather->weighted ? gather->weight : NULL;
    batch->labels = gather->labelled ? gather->labels : NULL;
    if (gather->tagged) {
        batch->tag_indptr = gather->tag_indptr;
        batch->tags = gather->tags;
        batch->n_tags = n_tags;
    }
    batch->targets = gather->n_targets > 0 ? gather->targets : NULL;
    batch->n_targets = gather->n_targets;
}
