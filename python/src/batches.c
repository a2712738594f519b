/* batches.c — an iterator over Batch objects as the functions of a fkm_source.
 *
 * A batch of more rows than are asked for goes out in pieces; its arrays are not copied. A position is "batches ROWS":
 * the rows handed out since start() was called.
 * SPDX-License-Identifier: Apache-2.0 */
#include "batches.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"

#define WORD "batches "

/* ---- a piece of a batch */

static size_t item_bytes(fkm_dtype dtype)
{
    return dtype == FKM_DTYPE_F64 ? 8 : dtype == FKM_DTYPE_F32 ? 4 : 2;
}

/* The offsets of rows [first, first + n] lie within those of the batch. What lies between is the library's to check.
 * False with an exception. */
static bool check_offsets(const int64_t *indptr, int64_t n_rows, int64_t first, int64_t n, const char *name)
{
    if (indptr[first] >= 0 && indptr[first + n] >= indptr[first] && indptr[first + n] <= indptr[n_rows])
        return true;
    PyErr_Format(PyExc_ValueError, "%s[%lld] is %lld, %s[%lld] is %lld, at the end it is %lld", name,
                 (long long)first, (long long)indptr[first], name, (long long)(first + n),
                 (long long)indptr[first + n], (long long)indptr[n_rows]);
    return false;
}

/* Their copy in *piece, counted from 0. */
static bool copy_offsets(const int64_t *indptr, int64_t first, int64_t n, int64_t **piece, int64_t *room)
{
    if (*room < n + 1) {
        int64_t *more = realloc(*piece, (size_t)(n + 1) * sizeof *more);

        if (!more) {
            PyErr_NoMemory();
            return false;
        }
        *piece = more;
        *room = n + 1;
    }
    for (int64_t i = 0; i <= n; i++)
        (*piece)[i] = (int64_t)((uint64_t)indptr[first + i] - (uint64_t)indptr[first]);
    return true;
}

/* Rows [first, first + n) of whole; false with an exception. */
static bool piece_of(struct fkmpy_batches *self, const fkm_batch *whole, int64_t first, int64_t n,
                     fkm_batch *piece)
{
    const int64_t *indptr = whole->indptr, *tag_indptr = whole->tag_indptr;

    *piece = *whole;
    piece->n_rows = n;
    if ((indptr && !check_offsets(indptr, whole->n_rows, first, n, "csr indptr")) ||
        (tag_indptr && !check_offsets(tag_indptr, whole->n_rows, first, n, "tags indptr")))
        return false;
    if (n == whole->n_rows)
        return true;
    if (whole->x) {
        const int64_t stride = whole->row_stride ? whole->row_stride : whole->n_cols;

        piece->x = (const char *)whole->x + (size_t)(first * stride) * item_bytes(whole->dtype);
    }
    if (indptr) {
        if (!copy_offsets(indptr, first, n, &self->indptr, &self->indptr_room))
            return false;
        piece->indptr = self->indptr;
        piece->values = (const char *)whole->values + (size_t)indptr[first] * item_bytes(whole->dtype);
        piece->indices = whole->indices + indptr[first];
    }
    if (tag_indptr) {
        if (!copy_offsets(tag_indptr, first, n, &self->tag_indptr, &self->tag_room))
            return false;
        piece->tag_indptr = self->tag_indptr;
        piece->tags = whole->tags + tag_indptr[first];
    }
    piece->weight = whole->weight ? whole->weight + first : NULL;
    piece->mask = whole->mask ? whole->mask + first * whole->n_cols : NULL;
    piece->labels = whole->labels ? whole->labels + first : NULL;
    piece->targets = whole->targets ? whole->targets + first * whole->n_targets : NULL;
    return true;
}

/* ---- with the GIL; false with an exception */

static bool begin_iterating(struct fkmpy_batches *self)
{
    PyObject *given = PyObject_CallNoArgs(self->start);

    if (given)
        self->iterator = PyObject_GetIter(given);
    Py_XDECREF(given);
    return self->iterator != NULL;
}

/* The batch to hand rows from: the one at hand, or the next with any. NULL without an exception: the end. */
static const fkm_batch *batch_at_hand(struct fkmpy_batches *self)
{
    for (;;) {
        const fkm_batch *whole = NULL;

        if (self->batch) {
            whole = fkmpy_batch_of(self->batch, self->call->state, "what the iterator gives");
            self->failed = !whole;
            if (!whole || self->offset < whole->n_rows)
                return whole;
            Py_CLEAR(self->batch);
        }
        self->offset = 0;
        if (PyErr_CheckSignals() != 0) /* an iterator in C would never ask */
            return NULL;
        self->batch = PyIter_Next(self->iterator);
        if (!self->batch) {
            self->failed = PyErr_Occurred() != NULL;
            self->ended = !self->failed;
            return NULL;
        }
    }
}

static char *copy_of(PyObject *text)
{
    Py_ssize_t size;
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, &size); /* raises TypeError unless text is a str */
    char *copy = utf8 ? malloc((size_t)size + 1) : NULL;

    if (copy)
        memcpy(copy, utf8, (size_t)size + 1);
    else if (utf8)
        PyErr_NoMemory();
    return copy;
}

/* The names that the latest batch has brought. */
static bool learn_names(struct fkmpy_batches *self)
{
    const Py_ssize_t n = self->class_names ? PyList_Size(self->class_names) : 0;

    if (n > self->name_room) {
        char **more = realloc(self->names, (size_t)n * 2 * sizeof *more);

        if (!more)
            return PyErr_NoMemory() != NULL;
        self->names = more;
        self->name_room = n * 2;
    }
    for (; self->n_names < n; self->n_names++) {
        PyObject *name = PyList_GetItem(self->class_names, self->n_names);

        self->names[self->n_names] = name ? copy_of(name) : NULL;
        if (!self->names[self->n_names])
            return false;
    }
    return true;
}

static bool pull(struct fkmpy_batches *self, int64_t max_rows, fkm_batch *out)
{
    const fkm_batch *whole;
    int64_t n;

    *out = (fkm_batch)FKM_BATCH_INIT;
    if (self->failed) {
        PyErr_SetString(PyExc_RuntimeError, "the batches have failed before and were not started again");
        return false;
    }
    if (self->ended)
        return true;
    if (!self->iterator && !begin_iterating(self))
        return false;
    whole = batch_at_hand(self);
    if (!whole)
        return self->ended;
    n = whole->n_rows - self->offset < max_rows ? whole->n_rows - self->offset : max_rows;
    self->failed = !piece_of(self, whole, self->offset, n, out) || !learn_names(self);
    if (self->failed)
        return false;
    self->offset += n;
    self->rows += n;
    return true;
}

/* After a failure it is unknown which rows are missing, so nothing but a new start helps. Whatever the iterator holds
 * may go then, and at the end. */
static bool pull_and_drop(struct fkmpy_batches *self, int64_t max_rows, fkm_batch *out)
{
    const bool is_fine = pull(self, max_rows, out);

    if (self->failed || self->ended) {
        PyObject *type, *value, *traceback;

        PyErr_Fetch(&type, &value, &traceback);
        Py_CLEAR(self->iterator);
        Py_CLEAR(self->batch);
        PyErr_Restore(type, value, traceback);
    }
    return is_fine;
}

static bool go_to(struct fkmpy_batches *self, int64_t row)
{
    const bool touched = self->iterator || self->ended || self->failed;
    fkm_batch batch;

    if (touched && (row < self->rows || self->failed)) {
        if (!self->again) {
            PyErr_Format(PyExc_NotImplementedError,
                         "the batches cannot be started again: at row %lld, asked for row %lld",
                         (long long)self->rows, (long long)row);
            return false;
        }
        Py_CLEAR(self->iterator);
        Py_CLEAR(self->batch);
        self->rows = self->offset = 0;
        self->ended = self->failed = false;
    }
    while (self->rows < row) {
        if (!pull_and_drop(self, row - self->rows, &batch))
            return false;
        if (batch.n_rows == 0) {
            PyErr_Format(PyExc_ValueError, "row %lld lies beyond the end of the batches (%lld rows)",
                         (long long)row, (long long)self->rows);
            return false;
        }
    }
    return true;
}

static bool row_of(const char *position, int64_t *row)
{
    const char *digits = position + strlen(WORD);
    char *end;

    if (strncmp(position, WORD, strlen(WORD)) == 0 && *digits >= '0' && *digits <= '9') {
        *row = strtoll(digits, &end, 10);
        if (*end == '\0' && *row < INT64_MAX)
            return true;
    }
    PyErr_Format(PyExc_ValueError, "\"%.60s\" is not a position in batches", position);
    return false;
}

/* ---- the functions: without the GIL, from within a call */

/* An exception stays pending for the end of the call; after Ctrl-C and its like what was learned is kept. */
static fkm_status leave(struct fkmpy_call *call, bool is_fine)
{
    const bool is_stopped = !is_fine && !PyErr_ExceptionMatches(PyExc_Exception);

    if (!is_fine)
        call->stopped = true;
    fkmpy_call_leave_python(call);
    return is_fine ? FKM_OK : is_stopped ? FKM_EINTERRUPTED : FKM_EINVAL;
}

static fkm_status next(void *object, int64_t max_rows, fkm_batch *batch)
{
    struct fkmpy_batches *self = object;

    if (self->call->stopped)
        return FKM_EINTERRUPTED;
    fkmpy_call_enter_python(self->call);
    return leave(self->call, pull_and_drop(self, max_rows, batch));
}

static fkm_status seek(void *object, const char *position)
{
    struct fkmpy_batches *self = object;
    int64_t row = 0;

    if (self->call->stopped)
        return FKM_EINTERRUPTED;
    fkmpy_call_enter_python(self->call);
    return leave(self->call, (!position || row_of(position, &row)) && go_to(self, row));
}

static fkm_status tell(void *object, char *position, size_t size)
{
    const struct fkmpy_batches *self = object;

    return snprintf(position, size, WORD "%lld", (long long)self->rows) < (int)size ? FKM_OK : FKM_EINVAL;
}

static int64_t class_count(void *object) { return ((const struct fkmpy_batches *)object)->n_names; }

static const char *class_name(void *object, int64_t index)
{
    return ((const struct fkmpy_batches *)object)->names[index];
}

const fkm_source_functions fkmpy_batches_functions = {.struct_size = sizeof(fkm_source_functions),
                                                      .next = next,
                                                      .seek = seek,
                                                      .tell = tell,
                                                      .class_count = class_count,
                                                      .class_name = class_name};

/* ---- what is held */

void fkmpy_batches_clear(struct fkmpy_batches *batches)
{
    Py_CLEAR(batches->start);
    Py_CLEAR(batches->iterator);
    Py_CLEAR(batches->batch);
    Py_CLEAR(batches->class_names);
    for (int64_t i = 0; i < batches->n_names; i++)
        free(batches->names[i]);
    free(batches->names);
    batches->names = NULL;
    batches->n_names = batches->name_room = 0;
    free(batches->indptr);
    free(batches->tag_indptr);
    batches->indptr = batches->tag_indptr = NULL;
    batches->indptr_room = batches->tag_room = 0;
}

int fkmpy_batches_visit(const struct fkmpy_batches *batches, visitproc visit, void *arg)
{
    Py_VISIT(batches->start);
    Py_VISIT(batches->iterator);
    Py_VISIT(batches->batch);
    Py_VISIT(batches->class_names);
    return 0;
}
