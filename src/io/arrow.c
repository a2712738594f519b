/* arrow.c — an Arrow C stream of record batches as a source of rows.
 *
 * Rows are gathered up to max_rows, so what comes out does not depend on how the producer cuts its batches. Labels
 * that are integers or truth values are themselves, unless class names are known: then their texts ("3", "true")
 * are numbered, as texts always are. A NaN is a missing value, as in CSV. A position is "arrow ROW"; rows before it
 * are read again to get there.
 * SPDX-License-Identifier: Apache-2.0 */
#include "io/arrow.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/memory.h"
#include "io/arrow_source.h"
#include "io/open.h"

#define ROWS_PER_SKIP 4096

/* ---- the stream */

static fkm_status stream_fail(struct fkmi_arrow *arrow, int code)
{
    const char *words = arrow->stream.get_last_error ? arrow->stream.get_last_error(&arrow->stream) : NULL;

    return fkmi_fail(code == ENOMEM ? FKM_ENOMEM : FKM_EIO, "%s: %s", FKMI_ARROW_TABLE,
                     words && words[0] ? words : strerror(code));
}

static void release_array(struct fkmi_arrow *arrow)
{
    if (arrow->array.release)
        arrow->array.release(&arrow->array);
    arrow->array.release = NULL;
}

static fkm_status look_at_batch(struct fkmi_arrow *arrow)
{
    const struct ArrowArray *array = &arrow->array;
    const struct fkmi_arrow_view *view = &arrow->batch.view;

    if (array->n_children != arrow->columns.n)
        return fkmi_fail(FKM_EDATA, "%s: a batch with %lld columns, the schema has %d", FKMI_ARROW_TABLE,
                         (long long)array->n_children, (int)arrow->columns.n);
    for (int32_t c = 0; c < arrow->columns.n; c++) {
        fkm_status status = FKM_OK;

        if (arrow->first[c] >= 0)
            status = fkmi_arrow_look(arrow->schema.children[c], array->children[c], view->offset,
                                     view->length, &arrow->column[c]);
        if (status != FKM_OK) {
            char message[FKMI_ARROW_MESSAGE];

            snprintf(message, sizeof message, "%s", fkm_last_error());
            return fkmi_arrow_column_fail(arrow, status, c, "%s", message);
        }
    }
    return FKM_OK;
}

/* The next batch, empty ones too. */
static fkm_status pull(struct fkmi_arrow *arrow)
{
    fkm_status status;
    int code;

    release_array(arrow);
    arrow->row = 0;
    code = arrow->stream.get_next(&arrow->stream, &arrow->array);
    if (code != 0) {
        arrow->array.release = NULL; /* what a failed call wrote is not ours */
        return stream_fail(arrow, code);
    }
    if (!arrow->array.release) {
        arrow->ended = true;
        return FKM_OK;
    }
    status = fkmi_arrow_look(&arrow->schema, &arrow->array, 0, arrow->array.length, &arrow->batch);
    if (status != FKM_OK)
        return fkmi_fail_within(status, FKMI_ARROW_TABLE);
    return look_at_batch(arrow);
}

static int64_t rows_at_hand(const struct fkmi_arrow *arrow)
{
    return arrow->array.release ? arrow->batch.view.length - arrow->row : 0;
}

static fkm_status pull_rows(struct fkmi_arrow *arrow)
{
    if (arrow->failed != FKM_OK)
        return fkmi_fail(arrow->failed, "%s", arrow->message);
    arrow->failed = pull(arrow);
    if (arrow->failed != FKM_OK) {
        snprintf(arrow->message, sizeof arrow->message, "%s", fkm_last_error());
        release_array(arrow);
    }
    return arrow->failed;
}

/* ---- the source */

static fkm_status arrow_next(void *self, int64_t max_rows, fkm_batch *batch)
{
    struct fkmi_arrow *arrow = self;
    struct fkmi_gather *gather = &arrow->gather;
    fkm_status status = FKM_OK;

    if (arrow->handed_out)
        fkmi_gather_restart(gather);
    arrow->handed_out = false;
    if (gather->n_rows > max_rows)
        return fkmi_fail(FKM_EINVAL, "max_rows is %lld, an interrupted call has read %lld",
                         (long long)max_rows, (long long)gather->n_rows);
    while (status == FKM_OK && gather->n_rows < max_rows && !arrow->ended) {
        int64_t n = max_rows - gather->n_rows;

        status = fkmi_check_interrupt();
        if (status != FKM_OK)
            return status; /* what is gathered stays: the stream has no way back */
        if (rows_at_hand(arrow) == 0) {
            status = pull_rows(arrow);
            continue;
        }
        n = n < rows_at_hand(arrow) ? n : rows_at_hand(arrow);
        status =
            fkmi_arrow_read_block(arrow, n < FKMI_ARROW_BLOCK_ROWS ? n : FKMI_ARROW_BLOCK_ROWS, max_rows);
    }
    if (status != FKM_OK && gather->n_rows == 0)
        return status; /* rows before a bad one go out first; the bad one is next again */
    fkmi_gather_batch(gather, arrow->names.n > 0 ? arrow->names.n : arrow->n_tags, batch);
    arrow->rows += gather->n_rows;
    arrow->handed_out = true;
    return FKM_OK;
}

static fkm_status arrow_seek(void *self, const char *position)
{
    struct fkmi_arrow *arrow = self;
    int64_t row = 0;

    if (position)
        FKMI_TRY(fkmi_position_read(position, "arrow", 1, &row));
    if (row < arrow->rows)
        return fkmi_fail(FKM_EUNSUPPORTED,
                         "an Arrow stream cannot be read twice: at row %lld, asked for row %lld",
                         (long long)arrow->rows, (long long)row);
    while (arrow->rows < row) {
        const int64_t rest = row - arrow->rows;
        fkm_batch batch;

        FKMI_TRY(arrow_next(arrow, rest < ROWS_PER_SKIP ? rest : ROWS_PER_SKIP, &batch));
        if (batch.n_rows == 0)
            return fkmi_fail(FKM_EINVAL, "row %lld lies beyond the end of %s (%lld rows)", (long long)row,
                             FKMI_ARROW_TABLE, (long long)arrow->rows);
    }
    return FKM_OK;
}

static fkm_status arrow_tell(void *self, char *position, size_t size)
{
    const struct fkmi_arrow *arrow = self;

    return fkmi_position_write(position, size, "arrow", 1, &arrow->rows);
}

static void arrow_close(void *self)
{
    struct fkmi_arrow *arrow = self;

    release_array(arrow);
    if (arrow->schema.release)
        arrow->schema.release(&arrow->schema);
    arrow->stream.release(&arrow->stream);
    fkmi_columns_free(&arrow->columns);
    fkmi_names_free(&arrow->names);
    fkmi_gather_free(&arrow->gather);
    fkmi_free(arrow->column);
    fkmi_free(arrow->first);
    fkmi_free(arrow->feature_text);
    fkmi_free(arrow->feature_names);
    fkmi_free(arrow->note);
    fkmi_free(arrow);
}

static int64_t class_count(const void *self) { return ((const struct fkmi_arrow *)self)->names.n; }

static const char *class_name(const void *self, int64_t index)
{
    return ((const struct fkmi_arrow *)self)->names.texts[index];
}

static const char *column_name(const void *self, int64_t index)
{
    const struct fkmi_arrow *arrow = self;

    return index < arrow->gather.n_cols ? arrow->feature_names[index] : NULL;
}

static const char *note(const void *self) { return ((const struct fkmi_arrow *)self)->note; }

/* ---- opening */

static fkm_status read_schema(struct fkmi_arrow *arrow)
{
    struct ArrowSchema *schema = &arrow->schema;
    char words[FKMI_ARROW_TYPE_BYTES];
    const int code = arrow->stream.get_schema(&arrow->stream, schema);

    if (code != 0) {
        schema->release = NULL;
        return stream_fail(arrow, code);
    }
    if (fkmi_arrow_kind(schema) != FKMI_ARROW_STRUCT) {
        fkmi_arrow_type_words(words, schema);
        return fkmi_fail(FKM_EDATA, "%s holds one column of type %s; rows come from record batches (a table)",
                         FKMI_ARROW_TABLE, words);
    }
    if (schema->n_children < 1 || schema->n_children > FKMI_COLUMNS_MAX)
        return fkmi_fail(FKM_EDATA, "%s has %lld columns; valid: 1 to %d", FKMI_ARROW_TABLE,
                         (long long)schema->n_children, FKMI_COLUMNS_MAX);
    return FKM_OK;
}

/* Takes the stream over, also when it fails. */
static fkm_status open_stream(struct ArrowArrayStream *stream, const fkm_source_options *given,
                              fkm_source **out)
{
    const fkm_source_functions functions = {.struct_size = sizeof(fkm_source_functions),
                                            .next = arrow_next,
                                            .seek = arrow_seek,
                                            .tell = arrow_tell,
                                            .close = arrow_close};
    const struct fkmi_source_words words = {class_count, class_name, column_name, note, false};
    fkm_source_options options;
    fkm_status status = FKM_OK;
    struct fkmi_arrow *arrow = NULL;

    FKMI_TRY_GOTO(fkmi_source_options(given, &options));
    if (options.text)
        FKMI_TRY_GOTO(fkmi_fail(FKM_EUNSUPPORTED, "only CSV and TSV have text columns"));
    FKMI_TRY_GOTO(fkmi_alloc(&arrow, 1, sizeof *arrow));
    arrow->stream = *stream;
    stream->release = NULL;
    arrow->task = options.task;
    arrow->missing = options.missing;
    arrow->handed_out = true;
    FKMI_TRY_GOTO(read_schema(arrow));
    FKMI_TRY_GOTO(fkmi_arrow_decide(arrow, &options));
    FKMI_TRY_GOTO(fkmi_source_create(&functions, &words, arrow, out));
    arrow = NULL;
done:
    if (arrow)
        arrow_close(arrow);
    if (stream->release)
        stream->release(stream);
    return status;
}

fkm_status fkm_source_from_arrow(struct ArrowArrayStream *stream, const fkm_source_options *options,
                                 fkm_source **out)
{
    struct ArrowArrayStream moved;

    if (out)
        *out = NULL;
    if (!stream || !stream->release)
        return fkmi_fail(FKM_EINVAL, "source from Arrow: the stream is %s",
                         stream ? "released already" : "NULL");
    moved = *stream;
    stream->release = NULL;
    if (!out) {
        moved.release(&moved);
        return fkmi_fail(FKM_EINVAL, "source from Arrow: out is NULL");
    }
    return open_stream(&moved, options, out);
}
