/* arrow_rows.c — from the arrays of a record batch to gathered rows.
 *
 * Features are converted column by column in blocks of rows; what else a row has, row by row. The first bad row ends a
 * block, whatever column it is bad in.
 * SPDX-License-Identifier: Apache-2.0 */
#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "io/arrow_source.h"

#define RUN_VALUES 256
#define TAG_MAX    (INT32_MAX - 1)

/* ---- messages */

/* About the i-th row of the block that is being read; item -1: the column has no items. */
static fkm_status value_fail(const struct fkmi_arrow *arrow, int64_t i, int32_t column, int64_t item,
                             const char *format, ...) FKMI_PRINTF(5, 6);
static fkm_status value_fail(const struct fkmi_arrow *arrow, int64_t i, int32_t column, int64_t item,
                             const char *format, ...)
{
    const long long row = (long long)(arrow->rows + arrow->gather.n_rows + i);
    char words[FKMI_COLUMN_BYTES], message[FKMI_ARROW_MESSAGE];
    va_list values;

    va_start(values, format);
    vsnprintf(message, sizeof message, format, values);
    va_end(values);
    fkmi_column_words(words, &arrow->columns, column);
    if (item >= 0)
        return fkmi_fail(FKM_EDATA, "%s, row %lld: %s, item %lld: %s", FKMI_ARROW_TABLE, row, words,
                         (long long)item, message);
    return fkmi_fail(FKM_EDATA, "%s, row %lld: %s: %s", FKMI_ARROW_TABLE, row, words, message);
}

/* The same with the message that is there. */
static fkm_status value_fail_within(const struct fkmi_arrow *arrow, fkm_status status, int64_t i,
                                    int32_t column)
{
    char message[FKMI_ARROW_MESSAGE];

    if (status != FKM_EDATA)
        return status;
    snprintf(message, sizeof message, "%s", fkm_last_error());
    return value_fail(arrow, i, column, -1, "%s", message);
}

/* ---- features */

/* Where a run of values goes: row `row` of the block, feature `feature`, and down the rows or across the features. */
struct run {
    int32_t column;
    int64_t row, feature, item; /* item of a list; -1: none */
    bool down;
};

static bool all_fit(const double *values, int64_t n, fkm_dtype dtype)
{
    const double most = dtype == FKM_DTYPE_F64 ? DBL_MAX : (double)FLT_MAX;
    bool fit = true;

    for (int64_t k = 0; k < n; k++)
        fit &= fabs(values[k]) <= most; /* false for NaN */
    return fit;
}

static void put_all(struct fkmi_gather *gather, const double *values, int64_t n, int64_t at, int64_t step)
{
    float *narrow = gather->values;
    double *wide = gather->values;

    if (gather->dtype == FKM_DTYPE_F64)
        for (int64_t k = 0; k < n; k++)
            wide[at + k * step] = values[k];
    else
        for (int64_t k = 0; k < n; k++)
            narrow[at + k * step] = (float)values[k];
}

static fkm_status put_missing(struct fkmi_arrow *arrow, const struct run *run, int64_t row, int64_t feature,
                              int64_t item)
{
    struct fkmi_gather *gather = &arrow->gather;

    if (arrow->missing == FKM_MISSING_ERROR)
        return value_fail(arrow, row, run->column, item, "the value is missing");
    (void)fkmi_gather_put(gather->values, gather->dtype, (gather->n_rows + row) * gather->n_cols + feature,
                          0.0);
    return fkmi_gather_miss(gather, row, feature);
}

/* One by one. *done of n are there when it fails. */
static fkm_status put_some(struct fkmi_arrow *arrow, const struct fkmi_arrow_view *view, int64_t first,
                           const double *values, int64_t n, const struct run *run, int64_t *done)
{
    struct fkmi_gather *gather = &arrow->gather;

    for (*done = 0; *done < n; ++*done) {
        const int64_t k = *done, row = run->row + (run->down ? k : 0);
        const int64_t feature = run->feature + (run->down ? 0 : k);
        const int64_t item = run->item < 0 ? -1 : run->item + k;

        if (fkmi_arrow_is_null(view, first + k) || isnan(values[k]))
            FKMI_TRY(put_missing(arrow, run, row, feature, item));
        else if (isinf(values[k]))
            return value_fail(arrow, row, run->column, item, "%g is not a finite number", values[k]);
        else if (!fkmi_gather_put(gather->values, gather->dtype,
                                  (gather->n_rows + row) * gather->n_cols + feature, values[k]))
            return value_fail(arrow, row, run->column, item, "%g is not within the range of float32",
                              values[k]);
    }
    return FKM_OK;
}

/* Values [first, first + n) of the view, n <= RUN_VALUES. */
static fkm_status put_run(struct fkmi_arrow *arrow, const struct fkmi_arrow_view *view, int64_t first,
                          int64_t n, const struct run *run, int64_t *done)
{
    struct fkmi_gather *gather = &arrow->gather;
    double values[RUN_VALUES];

    fkmi_arrow_doubles(view, first, n, values);
    if (view->valid || !all_fit(values, n, gather->dtype))
        return put_some(arrow, view, first, values, n, run, done);
    put_all(gather, values, n, (gather->n_rows + run->row) * gather->n_cols + run->feature,
            run->down ? gather->n_cols : 1);
    *done = n;
    return FKM_OK;
}

static fkm_status put_list(struct fkmi_arrow *arrow, int32_t column, int64_t row)
{
    const struct fkmi_arrow_view *view = &arrow->column[column].view;
    struct run run = {.column = column, .row = row, .feature = arrow->first[column], .item = 0};
    int64_t begin, end, done;

    FKMI_TRY(fkmi_arrow_list(view, arrow->row + row, &begin, &end));
    if (fkmi_arrow_is_null(view, arrow->row + row)) {
        for (int64_t j = 0; j < view->list_size; j++)
            FKMI_TRY(put_missing(arrow, &run, row, run.feature + j, -1));
        return FKM_OK;
    }
    for (int64_t at = begin; at < end; at += RUN_VALUES) {
        const int64_t n = end - at < RUN_VALUES ? end - at : RUN_VALUES;

        FKMI_TRY(put_run(arrow, view->items, at, n, &run, &done));
        run.feature += n;
        run.item += n;
    }
    return FKM_OK;
}

/* The block's rows of one column; when it fails, *n is the number of rows before the bad one. */
static fkm_status put_feature(struct fkmi_arrow *arrow, int32_t column, int64_t *n)
{
    const struct fkmi_arrow_view *view = &arrow->column[column].view;
    const struct run run = {.column = column, .feature = arrow->first[column], .item = -1, .down = true};
    fkm_status status = FKM_OK;
    int64_t row = 0;

    if (!view->items)
        return put_run(arrow, view, arrow->row, *n, &run, n);
    while (row < *n && status == FKM_OK) {
        status = put_list(arrow, column, row);
        row += status == FKM_OK;
    }
    *n = row;
    return status;
}

/* ---- what a row has besides: one row at a time, the first of the block */

static fkm_status put_weight(struct fkmi_arrow *arrow, int32_t column)
{
    const struct fkmi_arrow_view *view = &arrow->column[column].view;
    const double value = fkmi_arrow_double(view, arrow->row);

    if (fkmi_arrow_is_null(view, arrow->row))
        return value_fail(arrow, 0, column, -1, "the weight is missing");
    if (!(value >= 0) || !fkmi_gather_put(arrow->gather.weight, FKM_DTYPE_F32, arrow->gather.n_rows, value))
        return value_fail(arrow, 0, column, -1, "%g is not a weight (finite, >= 0)", value);
    return FKM_OK;
}

/* The number of a name: of a text, a word of a dictionary, or an integer. `what` is what must be there. */
static fkm_status number_of(struct fkmi_arrow *arrow, int32_t column, const struct fkmi_arrow_view *view,
                            int64_t i, const char *what, int64_t *number)
{
    bool null = fkmi_arrow_is_null(view, i);
    char digits[32];
    const char *text = digits;
    size_t length;
    int64_t value;

    if (!null) {
        FKMI_TRY(value_fail_within(arrow, fkmi_arrow_word(&view, &i), 0, column));
        null = fkmi_arrow_is_null(view, i);
    }
    if (null)
        return value_fail(arrow, 0, column, -1, "the %s is missing", what);
    if (fkmi_arrow_is_text(view->kind)) {
        FKMI_TRY(value_fail_within(arrow, fkmi_arrow_text(view, i, &text, &length), 0, column));
        if (length == 0)
            return value_fail(arrow, 0, column, -1, "the %s is empty", what);
    } else {
        if (!fkmi_arrow_int64(view, i, &value))
            return value_fail(arrow, 0, column, -1, "the %s is larger than 2^63 - 1", what);
        *number = value;
        if (!arrow->by_name)
            return FKM_OK;
        if (view->kind == FKMI_ARROW_BOOL)
            text = value ? "true" : "false";
        else
            snprintf(digits, sizeof digits, "%lld", (long long)value);
        length = strlen(text);
    }
    return value_fail_within(arrow, fkmi_names_number(&arrow->names, text, length, number), 0, column);
}

static fkm_status put_tag(struct fkmi_arrow *arrow, int32_t column, int64_t tag)
{
    if (tag < 0 || tag > TAG_MAX)
        return value_fail(arrow, 0, column, -1, "%lld is not a tag (0 to %d)", (long long)tag, TAG_MAX);
    return fkmi_gather_tag(&arrow->gather, (int32_t)tag);
}

static fkm_status put_tag_list(struct fkmi_arrow *arrow, int32_t column)
{
    const struct fkmi_arrow_view *view = &arrow->column[column].view;
    int64_t begin, end, tag;

    if (fkmi_arrow_is_null(view, arrow->row))
        return value_fail(arrow, 0, column, -1, "the list of tags is missing (an empty one has none)");
    FKMI_TRY(value_fail_within(arrow, fkmi_arrow_list(view, arrow->row, &begin, &end), 0, column));
    for (int64_t i = begin; i < end; i++) {
        FKMI_TRY(number_of(arrow, column, view->items, i, "tag", &tag));
        FKMI_TRY(put_tag(arrow, column, tag));
    }
    return FKM_OK;
}

/* A text that lists tags, as in CSV: "3;17", "rock jazz". */
static fkm_status put_tag_text(struct fkmi_arrow *arrow, int32_t column)
{
    const struct fkmi_arrow_view *view = &arrow->column[column].view;
    bool null = fkmi_arrow_is_null(view, arrow->row);
    int64_t row = arrow->row, tag;
    const char *at, *end, *name;
    size_t length;

    if (!null) {
        FKMI_TRY(value_fail_within(arrow, fkmi_arrow_word(&view, &row), 0, column));
        null = fkmi_arrow_is_null(view, row);
    }
    if (null)
        return value_fail(arrow, 0, column, -1, "the text of tags is missing (an empty one has none)");
    FKMI_TRY(value_fail_within(arrow, fkmi_arrow_text(view, row, &at, &length), 0, column));
    end = at + length;
    while ((length = fkmi_names_next(&at, end, &name)) > 0) {
        FKMI_TRY(value_fail_within(arrow, fkmi_names_number(&arrow->names, name, length, &tag), 0, column));
        FKMI_TRY(fkmi_gather_tag(&arrow->gather, (int32_t)tag));
    }
    return FKM_OK;
}

/* A number of the regressor, or 0 and 1 of the multi-label classifier. */
static fkm_status put_number(struct fkmi_arrow *arrow, int32_t column, const struct fkmi_arrow_view *view,
                             int64_t i, int64_t item, int64_t target)
{
    struct fkmi_gather *gather = &arrow->gather;
    const double value = fkmi_arrow_double(view, i);

    if (fkmi_arrow_is_null(view, i))
        return value_fail(arrow, 0, column, item, "the target is missing");
    if (arrow->task == FKM_TASK_MULTILABEL) {
        if (value != 0 && value != 1)
            return value_fail(arrow, 0, column, item, "%g is not 0 or 1", value);
        return value != 0 ? fkmi_gather_tag(gather, (int32_t)target) : FKM_OK;
    }
    if (!isfinite(value))
        return value_fail(arrow, 0, column, item, "%g is not a finite number", value);
    gather->targets[gather->n_rows * gather->n_targets + target] = value;
    return FKM_OK;
}

static fkm_status put_numbers(struct fkmi_arrow *arrow, int32_t column)
{
    const struct fkmi_arrow_view *view = &arrow->column[column].view;
    int64_t begin, end;

    if (!view->items)
        return put_number(arrow, column, view, arrow->row, -1, arrow->first[column]);
    if (fkmi_arrow_is_null(view, arrow->row))
        return value_fail(arrow, 0, column, -1, "the target is missing");
    FKMI_TRY(fkmi_arrow_list(view, arrow->row, &begin, &end));
    for (int64_t i = begin; i < end; i++)
        FKMI_TRY(put_number(arrow, column, view->items, i, i - begin, arrow->first[column] + i - begin));
    return FKM_OK;
}

static fkm_status put_target(struct fkmi_arrow *arrow, int32_t column)
{
    const struct fkmi_arrow_view *view = &arrow->column[column].view;

    if (arrow->task == FKM_TASK_CLASSIFY)
        return number_of(arrow, column, view, arrow->row, "label",
                         &arrow->gather.labels[arrow->gather.n_rows]);
    if (arrow->task == FKM_TASK_MULTILABEL && (view->words || fkmi_arrow_is_text(view->kind)))
        return put_tag_text(arrow, column);
    if (arrow->task == FKM_TASK_MULTILABEL && view->items && view->kind != FKMI_ARROW_FIXED_LIST)
        return put_tag_list(arrow, column);
    return put_numbers(arrow, column);
}

/* Ends the block's first row. */
static fkm_status finish_row(struct fkmi_arrow *arrow)
{
    struct fkmi_gather *gather = &arrow->gather;
    const bool targets = gather->labelled || gather->tagged || gather->n_targets > 0;
    int32_t twice;
    bool is_tag;

    for (int32_t c = 0; arrow->columns.weighted && c < arrow->columns.n; c++)
        if (arrow->columns.role[c] == FKMI_COLUMN_WEIGHT)
            FKMI_TRY(put_weight(arrow, c));
    for (int32_t t = 0; targets && t < arrow->columns.n_targets; t++)
        FKMI_TRY(put_target(arrow, arrow->columns.target[t]));
    if (!fkmi_gather_end_row(gather, &twice, &is_tag)) {
        if (arrow->names.n > 0)
            return value_fail(arrow, 0, arrow->columns.target[0], -1, "the tag \"%s\" is there twice",
                              arrow->names.texts[twice]);
        return value_fail(arrow, 0, arrow->columns.target[0], -1, "the tag %d is there twice", (int)twice);
    }
    if (gather->tagged && gather->n_tags > gather->tag_indptr[gather->n_rows - 1] &&
        gather->tags[gather->n_tags - 1] >= arrow->n_tags)
        arrow->n_tags = gather->tags[gather->n_tags - 1] + 1;
    arrow->row++;
    return FKM_OK;
}

fkm_status fkmi_arrow_read_block(struct fkmi_arrow *arrow, int64_t n, int64_t max_rows)
{
    const struct fkmi_columns *columns = &arrow->columns;
    fkm_status bad = FKM_OK;

    for (int64_t i = 0; i < n && bad == FKM_OK; i++) {
        if (!fkmi_arrow_is_null(&arrow->batch.view, arrow->row + i))
            continue;
        bad = fkmi_fail(FKM_EDATA, "%s, row %lld: the whole row is null", FKMI_ARROW_TABLE,
                        (long long)(arrow->rows + arrow->gather.n_rows + i));
        n = i;
    }
    FKMI_TRY(fkmi_gather_begin_rows(&arrow->gather, n, max_rows));
    for (int32_t f = 0; f < columns->n_features && n > 0; f++) {
        const fkm_status status = put_feature(arrow, columns->feature[f], &n);

        if (status != FKM_OK && status != FKM_EDATA)
            return status;
        bad = status != FKM_OK ? status : bad;
    }
    for (; n > 0; n--)
        FKMI_TRY(finish_row(arrow));
    return bad;
}
