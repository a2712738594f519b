/* npy.c — .npy files as a source of rows; targets and weights come from files of their own.
 *
 * Floating-point rows of a plain file are handed out where they lie, in the type they have; other types
 * become options.dtype. A NaN stays a NaN: what it means is the model's parameter `missing`. Labels are the
 * integers themselves. A position is "npy ROW".
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "base/dtype.h"
#include "base/memory.h"
#include "io/gather.h"
#include "io/npy_array.h"
#include "io/open.h"

struct npy {
    struct fkmi_npy x, target, weights;
    fkm_task task;
    fkm_dtype dtype; /* of the rows handed out */
    bool converts;   /* rows go through `values` */
    int64_t row;     /* the next one */
    bool end_checked;
    /* the batch, where it is not in the files themselves */
    void *values;
    int64_t value_room, row_room, tag_room;
    int64_t *labels, *tag_indptr;
    int32_t *tags;
    double *targets;
    float *weight;
    char *note;
};

/* ---- one batch */

static fkm_status convert_rows(struct npy *npy, const char *rows, int64_t n)
{
    const int64_t count = n * npy->x.n_cols;
    int64_t i;

    if (npy->value_room < count) {
        FKMI_TRY(fkmi_resize(&npy->values, count, fkmi_dtype_size(npy->dtype)));
        npy->value_room = count;
    }
    if (npy->x.kind == FKMI_NPY_FLOAT) { /* right type, wrong address */
        memcpy(npy->values, rows, (size_t)(count * npy->x.item));
        return FKM_OK;
    }
    for (i = 0; i < count; i++)
        (void)fkmi_gather_put(npy->values, npy->dtype, i,
                              fkmi_npy_double(&npy->x, rows, i)); /* integers fit */
    return FKM_OK;
}

static fkm_status row_fail(const struct fkmi_npy *array, int64_t row, const char *what)
{
    return fkmi_fail(FKM_EDATA, "%s, row %lld: %s", array->bytes->name, (long long)row, what);
}

static fkm_status read_labels(struct npy *npy, const char *rows, int64_t n)
{
    int64_t i;

    for (i = 0; i < n; i++)
        if (!fkmi_npy_int64(&npy->target, rows, i, &npy->labels[i]))
            return row_fail(&npy->target, npy->row + i, "the label is larger than 2^63 - 1");
    return FKM_OK;
}

static fkm_status read_targets(struct npy *npy, const char *rows, int64_t n)
{
    int64_t i;

    for (i = 0; i < n * npy->target.n_cols; i++) {
        npy->targets[i] = fkmi_npy_double(&npy->target, rows, i);
        if (!isfinite(npy->targets[i]))
            return row_fail(&npy->target, npy->row + i / npy->target.n_cols, "a target is not finite");
    }
    return FKM_OK;
}

static fkm_status read_tags(struct npy *npy, const char *rows, int64_t n)
{
    const int64_t width = npy->target.n_cols;
    int64_t i, j, n_tags = 0;

    npy->tag_indptr[0] = 0;
    for (i = 0; i < n; i++) {
        if (npy->tag_room < n_tags + width) {
            const int64_t room = npy->tag_room < width ? n_tags + width : 2 * npy->tag_room + width;

            FKMI_TRY(fkmi_resize(&npy->tags, room, sizeof *npy->tags));
            npy->tag_room = room;
        }
        for (j = 0; j < width; j++) {
            const double value = fkmi_npy_double(&npy->target, rows, i * width + j);

            if (value != 0 && value != 1)
                return row_fail(&npy->target, npy->row + i, "a tag is neither 0 nor 1");
            if (value != 0)
                npy->tags[n_tags++] = (int32_t)j;
        }
        npy->tag_indptr[i + 1] = n_tags;
    }
    return FKM_OK;
}

static fkm_status read_weights(struct npy *npy, const char *rows, int64_t n)
{
    int64_t i;

    for (i = 0; i < n; i++) {
        const double value = fkmi_npy_double(&npy->weights, rows, i);

        if (!(value >= 0) || !fkmi_gather_put(npy->weight, FKM_DTYPE_F32, i, value))
            return row_fail(&npy->weights, npy->row + i, "a weight is negative or not finite");
    }
    return FKM_OK;
}

static fkm_status grow_rows(struct npy *npy, int64_t n)
{
    if (n <= npy->row_room)
        return FKM_OK;
    if (npy->weights.bytes)
        FKMI_TRY(fkmi_resize(&npy->weight, n, sizeof *npy->weight));
    if (npy->target.bytes && npy->task == FKM_TASK_CLASSIFY)
        FKMI_TRY(fkmi_resize(&npy->labels, n, sizeof *npy->labels));
    if (npy->target.bytes && npy->task == FKM_TASK_MULTILABEL)
        FKMI_TRY(fkmi_resize(&npy->tag_indptr, n + 1, sizeof *npy->tag_indptr));
    if (npy->target.bytes && npy->task == FKM_TASK_REGRESS)
        FKMI_TRY(fkmi_resize(&npy->targets, n * npy->target.n_cols, sizeof *npy->targets));
    npy->row_room = n;
    return FKM_OK;
}

static fkm_status read_batch(struct npy *npy, int64_t n, fkm_batch *batch)
{
    const char *rows;

    FKMI_TRY(fkmi_npy_rows(&npy->x, npy->row, n, &rows));
    if (npy->converts)
        FKMI_TRY(convert_rows(npy, rows, n));
    batch->x = npy->converts ? npy->values : rows;
    FKMI_TRY(grow_rows(npy, n));
    if (npy->weights.bytes) {
        FKMI_TRY(fkmi_npy_rows(&npy->weights, npy->row, n, &rows));
        FKMI_TRY(read_weights(npy, rows, n));
        batch->weight = npy->weight;
    }
    if (!npy->target.bytes)
        return FKM_OK;
    FKMI_TRY(fkmi_npy_rows(&npy->target, npy->row, n, &rows));
    switch (npy->task) {
    case FKM_TASK_CLASSIFY:
        FKMI_TRY(read_labels(npy, rows, n));
        batch->labels = npy->labels;
        break;
    case FKM_TASK_MULTILABEL:
        FKMI_TRY(read_tags(npy, rows, n));
        batch->tag_indptr = npy->tag_indptr;
        batch->tags = npy->tags;
        batch->n_tags = npy->target.n_cols;
        break;
    default:
        FKMI_TRY(read_targets(npy, rows, n));
        batch->targets = npy->targets;
        batch->n_targets = npy->target.n_cols;
    }
    return FKM_OK;
}

static fkm_status check_ends(struct npy *npy)
{
    if (npy->end_checked)
        return FKM_OK;
    FKMI_TRY(fkmi_npy_check_end(&npy->x));
    if (npy->target.bytes)
        FKMI_TRY(fkmi_npy_check_end(&npy->target));
    if (npy->weights.bytes)
        FKMI_TRY(fkmi_npy_check_end(&npy->weights));
    npy->end_checked = true;
    return FKM_OK;
}

/* ---- the source */

static fkm_status npy_next(void *self, int64_t max_rows, fkm_batch *batch)
{
    struct npy *npy = self;
    const int64_t rest = npy->x.n_rows - npy->row, n = max_rows < rest ? max_rows : rest;

    if (max_rows < 1)
        return fkmi_fail(FKM_EINVAL, "max_rows is %lld, valid: >= 1", (long long)max_rows);
    *batch = (fkm_batch)FKM_BATCH_INIT;
    batch->n_cols = npy->x.n_cols;
    batch->dtype = npy->dtype;
    if (n == 0)
        return check_ends(npy);
    FKMI_TRY(read_batch(npy, n, batch));
    batch->n_rows = n;
    npy->row += n;
    return FKM_OK;
}

static fkm_status npy_seek(void *self, const char *position)
{
    struct npy *npy = self;
    int64_t row = 0;

    if (position)
        FKMI_TRY(fkmi_position_read(position, "npy", 1, &row));
    if (row > npy->x.n_rows)
        return fkmi_fail(FKM_EINVAL, "row %lld lies beyond the end of %s (%lld rows)", (long long)row,
                         npy->x.bytes->name, (long long)npy->x.n_rows);
    if (row < npy->row && fkmi_bytes_forward_only(npy->x.bytes))
        return fkmi_fail(FKM_EUNSUPPORTED, "%s cannot go back: at row %lld, asked for row %lld",
                         npy->x.bytes->name, (long long)npy->row, (long long)row);
    npy->row = row;
    return FKM_OK;
}

static fkm_status npy_tell(void *self, char *position, size_t size)
{
    const struct npy *npy = self;

    return fkmi_position_write(position, size, "npy", 1, &npy->row);
}

static void free_all_but_x(struct npy *npy)
{
    fkmi_npy_end(&npy->target);
    fkmi_npy_end(&npy->weights);
    fkmi_free(npy->values);
    fkmi_free(npy->labels);
    fkmi_free(npy->tag_indptr);
    fkmi_free(npy->tags);
    fkmi_free(npy->targets);
    fkmi_free(npy->weight);
    fkmi_free(npy->note);
    fkmi_free(npy);
}

static void npy_close(void *self)
{
    struct npy *npy = self;

    fkmi_npy_end(&npy->x);
    free_all_but_x(npy);
}

static const char *note(const void *self) { return ((const struct npy *)self)->note; }

/* ---- opening */

/* An array beside x, with as many rows. */
static fkm_status open_beside(struct npy *npy, const char *path, const char *what, struct fkmi_npy *array)
{
    struct fkmi_bytes *bytes;
    fkm_status status;

    FKMI_TRY(fkmi_bytes_open(path, &bytes));
    status = fkmi_npy_begin(array, bytes);
    if (status != FKM_OK) {
        fkmi_bytes_close(bytes);
        return status;
    }
    if (array->n_rows != npy->x.n_rows)
        return fkmi_fail(FKM_EDATA, "%s has %lld rows, its %s %s have %lld", npy->x.bytes->name,
                         (long long)npy->x.n_rows, what, path, (long long)array->n_rows);
    return FKM_OK;
}

static fkm_status check_target(const struct npy *npy)
{
    const struct fkmi_npy *target = &npy->target;

    switch (npy->task) {
    case FKM_TASK_CLASSIFY:
        if (target->kind == FKMI_NPY_FLOAT || target->n_cols != 1)
            return fkmi_fail(FKM_EDATA,
                             "labels of a classifier are one integer per row; %s holds %s, %lld per row",
                             target->bytes->name, target->kind == FKMI_NPY_FLOAT ? "fractions" : "integers",
                             (long long)target->n_cols);
        return FKM_OK;
    case FKM_TASK_MULTILABEL:
        if (target->n_dims != 2 || target->n_cols < 1 || target->n_cols >= INT32_MAX)
            return fkmi_fail(FKM_EDATA, "tags are rows x tags of 0 and 1; %s has %d dimensions, %lld columns",
                             target->bytes->name, (int)target->n_dims, (long long)target->n_cols);
        return FKM_OK;
    default:
        if (target->n_cols < 1)
            return fkmi_fail(FKM_EDATA, "%s has no column", target->bytes->name);
        return FKM_OK;
    }
}

/* bytes stay the caller's until this succeeds. */
static fkm_status prepare(struct npy *npy, const fkm_source_options *options)
{
    if (npy->x.n_dims != 2 || npy->x.n_cols < 1)
        return fkmi_fail(FKM_EDATA, "%s has %d dimensions, %lld columns: rows need a 2-D array",
                         npy->x.bytes->name, (int)npy->x.n_dims, (long long)npy->x.n_cols);
    if (npy->x.kind == FKMI_NPY_FLOAT)
        npy->dtype = npy->x.item == 2 ? FKM_DTYPE_F16 : npy->x.item == 4 ? FKM_DTYPE_F32 : FKM_DTYPE_F64;
    npy->converts =
        npy->x.kind != FKMI_NPY_FLOAT ||
        (npy->x.map && ((uintptr_t)npy->x.map + (uintptr_t)npy->x.data) % (uintptr_t)npy->x.item != 0);
    if (options->target && npy->task != FKM_TASK_CLUSTER) {
        FKMI_TRY(open_beside(npy, options->target, "targets", &npy->target));
        FKMI_TRY(check_target(npy));
    }
    if (options->weight) {
        FKMI_TRY(open_beside(npy, options->weight, "weights", &npy->weights));
        if (npy->weights.n_cols != 1)
            return fkmi_fail(FKM_EDATA, "%s has %lld columns, weights are one per row", options->weight,
                             (long long)npy->weights.n_cols);
    }
    return fkmi_format(&npy->note, "%lld rows x %lld columns, %s", (long long)npy->x.n_rows,
                       (long long)npy->x.n_cols, fkmi_dtype_name(npy->dtype));
}

fkm_status fkmi_npy_open(struct fkmi_bytes *bytes, const fkm_source_options *options, fkm_source **out)
{
    const fkm_source_functions functions = {.struct_size = sizeof(fkm_source_functions),
                                            .next = npy_next,
                                            .seek = npy_seek,
                                            .tell = npy_tell,
                                            .close = npy_close};
    const struct fkmi_source_words words = {.note = note};
    fkm_status status = FKM_OK;
    struct npy *npy = NULL;

    FKMI_TRY(fkmi_alloc(&npy, 1, sizeof *npy));
    npy->task = options->task;
    npy->dtype = options->dtype;
    FKMI_TRY_GOTO(fkmi_npy_begin(&npy->x, bytes));
    FKMI_TRY_GOTO(prepare(npy, options));
    FKMI_TRY_GOTO(fkmi_source_create(&functions, &words, npy, out));
    npy = NULL;
done:
    if (npy) {
        fkmi_free(npy->x.buffer); /* its bytes stay the caller's */
        free_all_but_x(npy);
    }
    return status;
}
