/* csv.c — CSV and TSV files as a source of rows.
 *
 * Every line has as many fields as the first; feature fields are finite numbers or missing. Lines with
 * nothing in them are skipped unless the table has one column. Labels and tags are texts, numbered in order
 * of appearance. A multi-label target is one column that lists tags (separated by ';', ',' or ' '), or
 * several columns of 0 and 1. With text columns the rows are sparse, made by a vectorizer. A position is "csv OFFSET LINE"; with the class names known then, reading goes
 * on exactly there.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>

#include "base/memory.h"
#include "base/number.h"
#include "io/csv_columns.h"
#include "io/gather.h"
#include "io/lines.h"
#include "io/names.h"
#include "io/open.h"
#include "text/vectorizer.h"

struct csv {
    struct fkmi_bytes *bytes;
    struct fkmi_lines lines;
    struct fkmi_columns columns;
    struct fkmi_names names;
    struct fkmi_gather gather;
    fkm_vectorizer *vectorizer; /* of texts, borrowed; NULL: features are numbers */
    struct fkmi_text_row text_row;
    fkm_task task;
    fkm_missing missing;
    char delimiter;
    char *scratch; /* where the fields of a line with quotes unescape to */
    size_t scratch_room;
    int64_t data_offset, data_line; /* of the first line that is not the header */
    char *note;
};

/* ---- one field */

static fkm_status field_fail(const struct csv *csv, int32_t column, const char *message)
{
    char words[FKMI_COLUMN_BYTES];

    fkmi_column_words(words, &csv->columns, column);
    return fkmi_lines_fail(&csv->lines, FKM_EDATA, "%s: %s", words, message);
}

static fkm_status field_is_not(const struct csv *csv, int32_t column, const struct fkmi_csv_field *field,
                               const char *what)
{
    char words[FKMI_COLUMN_BYTES], shown[FKMI_EXCERPT_BYTES];

    fkmi_column_words(words, &csv->columns, column);
    fkmi_excerpt(shown, field->text, field->length);
    if (csv->lines.offset == csv->lines.first)
        return fkmi_lines_fail(&csv->lines, FKM_EDATA,
                               "%s: \"%s\" is not %s (is this line a header? it is read as data)", words,
                               shown, what);
    return fkmi_lines_fail(&csv->lines, FKM_EDATA, "%s: \"%s\" is not %s", words, shown, what);
}

static fkm_status put_feature(struct csv *csv, int32_t column, const struct fkmi_csv_field *field)
{
    struct fkmi_gather *gather = &csv->gather;
    const int64_t j = csv->columns.role[column], at = gather->n_rows * gather->n_cols + j;
    double value;
    const bool is_number = fkmi_parse_double(field->text, field->length, &value);

    if (is_number && !isnan(value)) {
        if (isinf(value))
            return field_is_not(csv, column, field, "a finite number");
        if (!fkmi_gather_put(gather->values, gather->dtype, at, value))
            return field_is_not(csv, column, field, "within the range of float32");
        return FKM_OK;
    }
    if (!is_number && !fkmi_csv_missing(field->text, field->length))
        return field_is_not(csv, column, field, "a finite number");
    if (csv->missing == FKM_MISSING_ERROR)
        return field_fail(csv, column, "the value is missing");
    fkmi_gather_put(gather->values, gather->dtype, at, 0.0);
    return fkmi_gather_miss(gather, 0, j);
}

static fkm_status put_text(struct csv *csv, int32_t column, const struct fkmi_csv_field *field)
{
    if (field->length == 0 && csv->missing == FKM_MISSING_ERROR)
        return field_fail(csv, column, "the text is missing");
    return fkmi_text_row_add(csv->vectorizer, &csv->text_row, field->text, field->length);
}

/* The entries of the texts' row. */
static fkm_status put_terms(struct csv *csv)
{
    bool fits;

    FKMI_TRY(fkmi_text_row_end(csv->vectorizer, &csv->text_row));
    for (int64_t i = 0; i < csv->text_row.n; i++)
        FKMI_TRY(fkmi_gather_entry(&csv->gather, csv->text_row.index[i], csv->text_row.value[i], &fits));
    return FKM_OK;
}

static fkm_status put_weight(struct csv *csv, int32_t column, const struct fkmi_csv_field *field)
{
    double value;

    if (!fkmi_parse_double(field->text, field->length, &value) || !(value >= 0) ||
        !fkmi_gather_put(csv->gather.weight, FKM_DTYPE_F32, csv->gather.n_rows, value))
        return field_is_not(csv, column, field, "a weight (finite, >= 0)");
    return FKM_OK;
}

static fkm_status number_name(struct csv *csv, int32_t column, const char *text, size_t length,
                              int64_t *number)
{
    char words[FKMI_COLUMN_BYTES + 32];
    const fkm_status status = fkmi_names_number(&csv->names, text, length, number);

    if (status != FKM_EDATA)
        return status;
    fkmi_column_words(words, &csv->columns, column);
    fkmi_fail_within(status, words);
    return fkmi_lines_fail(&csv->lines, status, "%s", fkm_last_error());
}

/* A field that lists tags: "3;17", "rock jazz". */
static fkm_status put_tags(struct csv *csv, int32_t column, const struct fkmi_csv_field *field)
{
    const char *at = field->text, *end = at + field->length, *name;
    size_t length;
    int64_t tag;

    while ((length = fkmi_names_next(&at, end, &name)) > 0) {
        FKMI_TRY(number_name(csv, column, name, length, &tag));
        FKMI_TRY(fkmi_gather_tag(&csv->gather, (int32_t)tag));
    }
    return FKM_OK;
}

static fkm_status put_target(struct csv *csv, int32_t column, int32_t t, const struct fkmi_csv_field *field)
{
    struct fkmi_gather *gather = &csv->gather;
    double value;

    switch (csv->task) {
    case FKM_TASK_CLASSIFY:
        if (field->length == 0)
            return field_fail(csv, column, "the label is missing");
        return number_name(csv, column, field->text, field->length, &gather->labels[gather->n_rows]);
    case FKM_TASK_MULTILABEL:
        if (csv->columns.n_targets == 1)
            return put_tags(csv, column, field);
        if (!fkmi_parse_double(field->text, field->length, &value) || (value != 0 && value != 1))
            return field_is_not(csv, column, field, "0 or 1");
        return value != 0 ? fkmi_gather_tag(gather, t) : FKM_OK;
    case FKM_TASK_REGRESS:
        if (!fkmi_parse_double(field->text, field->length, &value) || !isfinite(value))
            return field_is_not(csv, column, field, "a finite number");
        gather->targets[gather->n_rows * gather->n_targets + t] = value;
        return FKM_OK;
    default:
        return FKM_OK; /* a clusterer leaves its target column out */
    }
}

/* ---- one line */

static fkm_status begin_fields(struct csv *csv, const struct fkmi_line *line, struct fkmi_csv_cursor *cursor)
{
    const bool has_quotes = memchr(line->text, '"', line->length) != NULL;

    if (has_quotes && csv->scratch_room < line->length) {
        const size_t room = line->length > 2 * csv->scratch_room ? line->length : 2 * csv->scratch_room;

        FKMI_TRY(fkmi_resize(&csv->scratch, (int64_t)room, 1));
        csv->scratch_room = room;
    }
    fkmi_csv_begin(cursor, line->text, line->length, csv->delimiter, has_quotes, csv->scratch);
    return FKM_OK;
}

static fkm_status read_row(struct csv *csv, const struct fkmi_line *line, int64_t max_rows)
{
    struct fkmi_csv_cursor cursor;
    struct fkmi_csv_field field;
    int32_t column = 0, twice;
    bool is_tag;

    FKMI_TRY(fkmi_gather_begin_rows(&csv->gather, 1, max_rows));
    FKMI_TRY(begin_fields(csv, line, &cursor));
    fkmi_text_row_begin(&csv->text_row);
    while (cursor.more) {
        const char *problem = fkmi_csv_next(&cursor, &field);

        if (problem)
            return fkmi_lines_fail(&csv->lines, FKM_EDATA, "column %d: %s", (int)column, problem);
        if (column < csv->columns.n) {
            const int32_t role = csv->columns.role[column];

            if (role >= 0)
                FKMI_TRY(put_feature(csv, column, &field));
            else if (role == FKMI_COLUMN_WEIGHT)
                FKMI_TRY(put_weight(csv, column, &field));
            else if (role == FKMI_COLUMN_TEXT)
                FKMI_TRY(put_text(csv, column, &field));
            else if (role != FKMI_COLUMN_UNUSED)
                FKMI_TRY(put_target(csv, column, FKMI_COLUMN_TARGET(role), &field));
        }
        column++;
    }
    if (column != csv->columns.n)
        return fkmi_lines_fail(&csv->lines, FKM_EDATA, "%d fields, the first line has %d", (int)column,
                               (int)csv->columns.n);
    if (csv->vectorizer)
        FKMI_TRY(put_terms(csv));
    if (!fkmi_gather_end_row(&csv->gather, &twice, &is_tag))
        return fkmi_lines_fail(&csv->lines, FKM_EDATA, "the tag \"%s\" is there twice",
                               csv->names.texts[twice]);
    return FKM_OK;
}

/* ---- the source */

static fkm_status csv_next(void *self, int64_t max_rows, fkm_batch *batch)
{
    struct csv *csv = self;
    fkm_status status = FKM_OK;

    if (max_rows < 1)
        return fkmi_fail(FKM_EINVAL, "max_rows is %lld, valid: >= 1", (long long)max_rows);
    fkmi_gather_restart(&csv->gather);
    if (csv->vectorizer)
        csv->gather.n_cols = csv->vectorizer->finished ? csv->vectorizer->n_features : 0;
    while (status == FKM_OK && csv->gather.n_rows < max_rows) {
        struct fkmi_line line;

        status = fkmi_lines_peek(&csv->lines, &line);
        if (status != FKM_OK || !line.text)
            break;
        if (line.length > 0 || csv->columns.n == 1)
            status = read_row(csv, &line, max_rows);
        if (status == FKM_OK)
            fkmi_lines_advance(&csv->lines);
    }
    if (status != FKM_OK && csv->gather.n_rows == 0)
        return status; /* rows before a bad one go out first; the bad one is next again */
    fkmi_gather_batch(&csv->gather, csv->names.n, batch);
    return FKM_OK;
}

static fkm_status csv_seek(void *self, const char *position)
{
    struct csv *csv = self;
    int64_t place[2] = {csv->data_offset, csv->data_line};

    if (position)
        FKMI_TRY(fkmi_position_read(position, "csv", 2, place));
    if (place[0] < csv->data_offset)
        return fkmi_fail(FKM_EINVAL, "\"%.60s\" lies before the first row of %s", position, csv->bytes->name);
    return fkmi_lines_seek(&csv->lines, place[0], place[1]);
}

static fkm_status csv_tell(void *self, char *position, size_t size)
{
    const struct csv *csv = self;
    const int64_t place[2] = {csv->lines.offset, csv->lines.line};

    return fkmi_position_write(position, size, "csv", 2, place);
}

static void free_all_but_bytes(struct csv *csv)
{
    fkmi_lines_free(&csv->lines);
    fkmi_columns_free(&csv->columns);
    fkmi_names_free(&csv->names);
    fkmi_gather_free(&csv->gather);
    fkmi_text_row_free(&csv->text_row);
    fkmi_free(csv->scratch);
    fkmi_free(csv->note);
    fkmi_free(csv);
}

static void csv_close(void *self)
{
    struct csv *csv = self;

    fkmi_bytes_close(csv->bytes);
    free_all_but_bytes(csv);
}

static int64_t class_count(const void *self) { return ((const struct csv *)self)->names.n; }

static const char *class_name(const void *self, int64_t index)
{
    const struct csv *csv = self;

    return index >= 0 && index < csv->names.n ? csv->names.texts[index] : NULL;
}

static const char *column_name(const void *self, int64_t index)
{
    const struct fkmi_columns *columns = &((const struct csv *)self)->columns;

    return columns->names && index >= 0 && index < columns->n_features
               ? columns->names[columns->feature[index]]
               : NULL;
}

static const char *note(const void *self) { return ((const struct csv *)self)->note; }

/* ---- opening */

/* The names of tag columns are the names of the tags. */
static fkm_status name_tag_columns(struct csv *csv, const fkm_source_options *options)
{
    int32_t t;

    for (t = 0; t < csv->columns.n_targets; t++) {
        const int32_t column = csv->columns.target[t];
        char unnamed[32];
        const char *name = unnamed;
        int64_t number;

        snprintf(unnamed, sizeof unnamed, "column %d", (int)column);
        if (csv->columns.names && csv->columns.names[column][0])
            name = csv->columns.names[column];
        FKMI_TRY(number_name(csv, column, name, strlen(name), &number));
        if (number != t)
            return fkmi_fail(FKM_EINVAL, "%s: tag column \"%s\" is number %d here and number %lld %s",
                             csv->bytes->name, name, (int)t, (long long)number,
                             options->n_class_names > 0 ? "of class_names" : "by its name");
    }
    return FKM_OK;
}

/* Reads the first line for the number of columns, the header and the roles. */
static fkm_status read_columns(struct csv *csv, const fkm_source_options *options)
{
    fkm_status status = FKM_OK;
    struct fkmi_csv_field *fields = NULL;
    struct fkmi_csv_cursor cursor;
    struct fkmi_line line;
    int32_t n = 0, room = 0;

    FKMI_TRY(fkmi_lines_peek(&csv->lines, &line));
    if (!line.text)
        return fkmi_fail(FKM_EDATA, "%s is empty", csv->bytes->name);
    FKMI_TRY(begin_fields(csv, &line, &cursor));
    while (cursor.more) {
        const char *problem;

        if (n == FKMI_COLUMNS_MAX)
            FKMI_TRY_GOTO(fkmi_lines_fail(&csv->lines, FKM_EDATA, "more than %d columns", FKMI_COLUMNS_MAX));
        if (n == room) {
            room = room > 0 ? 2 * room : 64;
            FKMI_TRY_GOTO(fkmi_resize(&fields, room, sizeof *fields));
        }
        problem = fkmi_csv_next(&cursor, &fields[n]);
        if (problem)
            FKMI_TRY_GOTO(fkmi_lines_fail(&csv->lines, FKM_EDATA, "column %d: %s", (int)n, problem));
        n++;
    }
    FKMI_TRY_GOTO(fkmi_csv_columns_decide(&csv->columns, options, csv->bytes->name, fields, n));
    if (csv->columns.names)
        fkmi_lines_advance(&csv->lines);
    csv->data_offset = csv->lines.offset;
    csv->data_line = csv->lines.line;
done:
    fkmi_free(fields);
    return status;
}

static fkm_status prepare(struct csv *csv, const fkm_source_options *options)
{
    const bool targets = options->target != NULL;

    FKMI_TRY(fkmi_lines_begin(&csv->lines, csv->bytes, true));
    FKMI_TRY(read_columns(csv, options));
    FKMI_TRY(fkmi_names_begin(&csv->names, options->class_names, options->n_class_names));
    if (csv->task == FKM_TASK_MULTILABEL && csv->columns.n_targets > 1)
        FKMI_TRY(name_tag_columns(csv, options));
    csv->gather.n_cols = csv->columns.n_features;
    csv->gather.sparse = csv->vectorizer != NULL;
    csv->gather.dtype = options->dtype;
    csv->gather.weighted = csv->columns.weighted;
    csv->gather.labelled = targets && csv->task == FKM_TASK_CLASSIFY;
    csv->gather.tagged = targets && csv->task == FKM_TASK_MULTILABEL;
    csv->gather.n_targets = csv->task == FKM_TASK_REGRESS ? csv->columns.n_targets : 0;
    return fkmi_format(&csv->note, "header: %s%s; %d %s columns", csv->columns.names ? "yes" : "no",
                       options->header < 0 ? "" : " (as told)",
                       (int)(csv->vectorizer ? csv->columns.n_texts : csv->columns.n_features),
                       csv->vectorizer ? "text" : "feature");
}

static fkm_status open_delimited(struct fkmi_bytes *bytes, const fkm_source_options *options, char delimiter,
                                 fkm_source **out)
{
    const fkm_source_functions functions = {.struct_size = sizeof(fkm_source_functions),
                                            .next = csv_next,
                                            .seek = csv_seek,
                                            .tell = csv_tell,
                                            .close = csv_close};
    const struct fkmi_source_words words = {class_count, class_name, column_name, note,
                                            !fkmi_bytes_forward_only(bytes)};
    fkm_status status = FKM_OK;
    struct csv *csv = NULL;

    FKMI_TRY(fkmi_alloc(&csv, 1, sizeof *csv));
    csv->bytes = bytes;
    csv->task = options->task;
    csv->vectorizer = options->text ? options->vectorizer : NULL;
    csv->missing = options->missing;
    csv->delimiter = delimiter;
    FKMI_TRY_GOTO(prepare(csv, options));
    FKMI_TRY_GOTO(fkmi_source_create(&functions, &words, csv, out));
    csv = NULL;
done:
    if (csv)
        free_all_but_bytes(csv);
    return status;
}

fkm_status fkmi_csv_open(struct fkmi_bytes *bytes, const fkm_source_options *options, fkm_source **out)
{
    return open_delimited(bytes, options, ',', out);
}

fkm_status fkmi_tsv_open(struct fkmi_bytes *bytes, const fkm_source_options *options, fkm_source **out)
{
    return open_delimited(bytes, options, '\t', out);
}
