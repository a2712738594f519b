/* writer_npy.c — rows as a .npy array (format 1.0), targets as a second one beside it.
 *
 * The number of rows is known last, so the header is written twice: a header of 128 bytes has room for any
 * number.
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "talk.h"
#include "values.h"
#include "writers.h"

enum { HEADER_BYTES = 128, BEGIN_BYTES = 10 };

static void put_header(struct output *output, const char *type, int64_t n_rows, int64_t n_cols)
{
    char header[HEADER_BYTES + 1];
    char shape[64];
    if (n_cols < 0)
        snprintf(shape, sizeof shape, "(%" PRId64 ",)", n_rows);
    else
        snprintf(shape, sizeof shape, "(%" PRId64 ", %" PRId64 ")", n_rows, n_cols);
    memset(header, ' ', sizeof header);
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = HEADER_BYTES - BEGIN_BYTES;
    header[9] = 0;
    const int length = snprintf(header + BEGIN_BYTES, HEADER_BYTES - BEGIN_BYTES,
                                "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", type, shape);
    header[BEGIN_BYTES + length] = ' ';
    header[HEADER_BYTES - 1] = '\n';
    output_bytes(output, header, HEADER_BYTES);
}

static int put_header_again(struct output *output, const char *type, int64_t n_rows, int64_t n_cols)
{
    TRY(output_check(output));
    if (fseek(output->file, 0, SEEK_SET) != 0)
        return fail(EXIT_IO, "cannot write %s: %s", output->name, strerror(errno));
    put_header(output, type, n_rows, n_cols);
    return EXIT_FINE;
}

static bool as_doubles(const struct writing *writing)
{
    return option_is(writing->options, "dtype", "float64");
}

static int begin_npy(struct writing *writing, const fkm_batch *first)
{
    const char *beside = option_text(writing->options, "target-output");
    if (!writing->output.partial)
        return fail_usage("convert", "npy needs a file to write to: --output NAME.npy");
    if (first->weight)
        return fail_usage("convert", "npy rows have no place for weights");
    if (has_targets(first) && !beside)
        return fail_usage("convert", "npy keeps targets in a file of their own: --target-output NAME.npy");
    writing->n_cols = first->n_cols;
    writing->n_targets = first->targets ? first->n_targets : 1;
    writing->row = need((size_t)first->n_cols, sizeof *writing->row);
    put_header(&writing->output, as_doubles(writing) ? "<f8" : "<f4", 0, writing->n_cols);
    if (has_targets(first)) {
        TRY(output_open(&writing->beside, beside));
        if (!writing->beside.partial)
            return fail_usage("convert", "npy needs a file to write to: --target-output NAME.npy");
        put_header(&writing->beside, "<f8", 0, 0);
    }
    return EXIT_FINE;
}

static int put_value(struct writing *writing, double value, int64_t row, int64_t column)
{
    const float narrow = (float)value;
    if (as_doubles(writing)) {
        output_bytes(&writing->output, &value, sizeof value);
        return EXIT_FINE;
    }
    if (isinf(narrow) && !isinf(value))
        return fail(EXIT_BAD_DATA,
                    "row %" PRId64 ", feature %" PRId64 ": %g does not fit into float32; use --dtype float64",
                    row, column, value);
    output_bytes(&writing->output, &narrow, sizeof narrow);
    return EXIT_FINE;
}

/* Classes whose names are whole numbers are written as these, others by their order of appearance. */
static int64_t class_number(struct writing *writing, int64_t label)
{
    int64_t number = label;
    if (label < 0 || label >= writing->schema->classes.n)
        return label;
    if (parse_int(writing->schema->classes.name[label], &number))
        return number;
    if (!writing->numbers_said)
        say("classes that are not numbers are written as their order of appearance: '%s' is %" PRId64,
            writing->schema->classes.name[label], label);
    writing->numbers_said = true;
    return label;
}

static void put_targets(struct writing *writing, const fkm_batch *batch, int64_t i)
{
    if (batch->labels) {
        const int64_t number = class_number(writing, batch->labels[i]);
        output_bytes(&writing->beside, &number, sizeof number);
    } else if (batch->targets) {
        output_bytes(&writing->beside, batch->targets + i * batch->n_targets,
                     (size_t)batch->n_targets * sizeof *batch->targets);
    } else if (batch->tag_indptr) {
        const int64_t n = batch->tag_indptr[i + 1] - batch->tag_indptr[i];
        writing->tags =
            need_room(writing->tags, &writing->tag_capacity, writing->n_all_tags + n, sizeof *writing->tags);
        for (int64_t t = 0; t < n; t++)
            writing->tags[writing->n_all_tags++] = batch->tags[batch->tag_indptr[i] + t];
        writing->tag_ends = need_room(writing->tag_ends, &writing->row_capacity, writing->n_rows + i + 1,
                                      sizeof *writing->tag_ends);
        writing->tag_ends[writing->n_rows + i] = writing->n_all_tags;
        if (batch->n_tags > writing->n_tags)
            writing->n_tags = batch->n_tags;
    }
}

static int npy_rows(struct writing *writing, const fkm_batch *batch)
{
    for (int64_t i = 0; i < batch->n_rows; i++) {
        if (interrupted())
            return interrupted_code();
        for (int64_t j = 0; j < writing->n_cols; j++)
            writing->row[j] = !batch->x                    ? 0
                              : value_present(batch, i, j) ? value_of(batch, i, j)
                                                           : (double)NAN;
        for (int64_t at = batch->x ? 0 : batch->indptr[i]; !batch->x && at < batch->indptr[i + 1]; at++)
            writing->row[batch->indices[at]] = value_in(batch->values, batch->dtype, at);
        for (int64_t j = 0; j < writing->n_cols; j++)
            TRY(put_value(writing, writing->row[j], writing->n_rows + i, j));
        if (writing->beside.file)
            put_targets(writing, batch, i);
    }
    return EXIT_FINE;
}

/* Rows x tags of 0 and 1. */
static void put_tag_matrix(struct writing *writing)
{
    uint8_t *row = need((size_t)writing->n_tags, 1);
    int64_t at = 0;
    for (int64_t i = 0; i < writing->n_rows; i++) {
        memset(row, 0, (size_t)writing->n_tags);
        for (; at < writing->tag_ends[i]; at++)
            row[writing->tags[at]] = 1;
        output_bytes(&writing->beside, row, (size_t)writing->n_tags);
    }
    free(row);
}

static int end_npy(struct writing *writing)
{
    TRY(put_header_again(&writing->output, as_doubles(writing) ? "<f8" : "<f4", writing->n_rows,
                         writing->n_cols));
    if (!writing->beside.file)
        return EXIT_FINE;
    switch (writing->schema->task) {
    case FKM_TASK_CLASSIFY:
        return put_header_again(&writing->beside, "<i8", writing->n_rows, -1);
    case FKM_TASK_MULTILABEL:
        put_tag_matrix(writing);
        return put_header_again(&writing->beside, "|u1", writing->n_rows, writing->n_tags);
    case FKM_TASK_REGRESS:
        return put_header_again(&writing->beside, "<f8", writing->n_rows, writing->n_targets);
    case FKM_TASK_CLUSTER:
        break;
    }
    return EXIT_FINE;
}

const struct writer npy_writer = {"npy", begin_npy, npy_rows, end_npy};
