/* csv_columns.c — header or not, and which column is what.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "io/csv_columns.h"

#include <stdio.h>
#include <strings.h>

#include "base/memory.h"
#include "base/number.h"

/* One entry of a list like "species,-1". */
struct wish {
    const char *text;
    size_t length;
    bool is_number;
    int64_t number;
};

/* The next entry of the list; false at its end. */
static bool next_wish(const char **list, struct wish *wish)
{
    const char *begin = *list, *end;

    if (!begin)
        return false;
    end = begin + strcspn(begin, ",");
    *list = *end == ',' ? end + 1 : NULL;
    while (begin < end && *begin == ' ')
        begin++;
    while (begin < end && end[-1] == ' ')
        end--;
    wish->text = begin;
    wish->length = (size_t)(end - begin);
    wish->is_number = fkmi_parse_int64(begin, wish->length, &wish->number);
    return true;
}

static bool is_number(const struct fkmi_csv_field *field)
{
    double value;

    return fkmi_parse_double(field->text, field->length, &value);
}

bool fkmi_csv_missing(const char *text, size_t length)
{
    switch (length) {
    case 0:
        return true;
    case 1:
        return *text == '?';
    case 2:
        return strncasecmp(text, "na", 2) == 0;
    case 3:
        return strncasecmp(text, "nan", 3) == 0;
    case 4:
        return strncasecmp(text, "null", 4) == 0;
    default:
        return false;
    }
}

static bool has_name(const char *list)
{
    struct wish wish;

    while (next_wish(&list, &wish))
        if (!wish.is_number)
            return true;
    return false;
}

/* The column a wish means: by name first, then by number, from the end when negative. */
static fkm_status find_column(const struct fkmi_csv_columns *columns, const struct fkmi_lines *lines,
                              const struct wish *wish, const char *what, int32_t *column)
{
    char shown[FKMI_EXCERPT_BYTES];
    int32_t i, found = -1;

    fkmi_excerpt(shown, wish->text, wish->length);
    for (i = 0; columns->names && i < columns->n; i++) {
        if (strlen(columns->names[i]) != wish->length ||
            memcmp(columns->names[i], wish->text, wish->length) != 0)
            continue;
        if (found >= 0)
            return fkmi_fail(FKM_EINVAL,
                             "%s: the %s column \"%s\" is there twice, as column %d and column %d",
                             lines->bytes->name, what, shown, (int)found, (int)i);
        found = i;
    }
    if (found < 0 && wish->is_number) {
        const int64_t number = wish->number < 0 ? wish->number + columns->n : wish->number;

        if (number < 0 || number >= columns->n)
            return fkmi_fail(FKM_EINVAL, "%s: there is no %s column %s, the file has %d columns",
                             lines->bytes->name, what, shown, (int)columns->n);
        found = (int32_t)number;
    }
    if (found < 0)
        return fkmi_fail(FKM_EINVAL, "%s: no column is named \"%s\" (%s)%s", lines->bytes->name, shown, what,
                         columns->header ? "" : ": the file is read without a header");
    *column = found;
    return FKM_OK;
}

/* Gives the columns of a list their role. */
static fkm_status assign_targets(struct fkmi_csv_columns *columns, const fkm_source_options *options,
                                 const struct fkmi_lines *lines)
{
    const char *list = options->target;
    struct wish wish;
    int32_t column;

    while (next_wish(&list, &wish)) {
        FKMI_TRY(find_column(columns, lines, &wish, "target", &column));
        if (columns->role[column] < 0)
            return fkmi_fail(FKM_EINVAL, "%s: column %d is asked for twice", lines->bytes->name, (int)column);
        columns->role[column] = FKMI_CSV_TARGET(columns->n_targets);
        columns->target[columns->n_targets++] = column;
    }
    return FKM_OK;
}

static fkm_status assign_roles(struct fkmi_csv_columns *columns, const fkm_source_options *options,
                               const struct fkmi_lines *lines)
{
    const char *weight = options->weight;
    struct wish wish;
    int32_t i;

    for (i = 0; i < columns->n; i++)
        columns->role[i] = 0;
    if (next_wish(&weight, &wish)) {
        if (weight)
            return fkmi_fail(FKM_EINVAL, "weight \"%s\" names more than one column", options->weight);
        FKMI_TRY(find_column(columns, lines, &wish, "weight", &i));
        columns->role[i] = FKMI_CSV_WEIGHT;
        columns->weighted = true;
    }
    FKMI_TRY(assign_targets(columns, options, lines));
    if (columns->n_targets > 1 && options->task == FKM_TASK_CLASSIFY)
        return fkmi_fail(FKM_EINVAL, "target \"%s\" names %d columns, a classifier has one", options->target,
                         (int)columns->n_targets);
    for (i = 0; i < columns->n; i++) {
        if (columns->role[i] < 0)
            continue;
        columns->feature[columns->n_features] = i;
        columns->role[i] = columns->n_features++;
    }
    if (columns->n_features == 0)
        return fkmi_fail(FKM_EINVAL, "%s: no feature column is left of %d", lines->bytes->name,
                         (int)columns->n);
    return FKM_OK;
}

/* A first line that could not be data, or hardly. Targets may be text, so only features speak for one. */
static bool looks_like_header(const struct fkmi_csv_columns *columns, const struct fkmi_csv_field *fields)
{
    bool any_text = false;
    int32_t i;

    for (i = 0; i < columns->n; i++) {
        if (is_number(&fields[i]) ||
            (fields[i].length > 0 && fkmi_csv_missing(fields[i].text, fields[i].length)))
            return false;
        any_text |= columns->role[i] >= 0 && fields[i].length > 0;
    }
    return any_text;
}

static fkm_status keep_names(struct fkmi_csv_columns *columns, const struct fkmi_lines *lines,
                             const struct fkmi_csv_field *fields)
{
    size_t total = 0;
    char *at;
    int32_t i;

    for (i = 0; i < columns->n; i++)
        total += fields[i].length + 1;
    FKMI_TRY(fkmi_alloc(&columns->text, (int64_t)total, 1));
    FKMI_TRY(fkmi_alloc(&columns->names, columns->n, sizeof *columns->names));
    at = columns->text;
    for (i = 0; i < columns->n; i++) {
        if (!fkmi_is_utf8(fields[i].text, fields[i].length))
            return fkmi_lines_fail(lines, FKM_EDATA, "the name of column %d is not UTF-8", (int)i);
        memcpy(at, fields[i].text, fields[i].length);
        columns->names[i] = at;
        at += fields[i].length + 1;
    }
    return FKM_OK;
}

fkm_status fkmi_csv_columns_decide(struct fkmi_csv_columns *columns, const fkm_source_options *options,
                                   const struct fkmi_lines *lines, const struct fkmi_csv_field *fields,
                                   int32_t n)
{
    columns->n = n;
    FKMI_TRY(fkmi_alloc(&columns->role, n, sizeof *columns->role));
    FKMI_TRY(fkmi_alloc(&columns->feature, n, sizeof *columns->feature));
    FKMI_TRY(fkmi_alloc(&columns->target, n, sizeof *columns->target));
    columns->header = options->header > 0 ||
                      (options->header < 0 && (has_name(options->target) || has_name(options->weight)));
    if (options->header < 0 && !columns->header) {
        FKMI_TRY(assign_roles(columns, options, lines));
        columns->header = looks_like_header(columns, fields);
        columns->n_features = columns->n_targets = 0;
    }
    if (columns->header)
        FKMI_TRY(keep_names(columns, lines, fields));
    return assign_roles(columns, options, lines);
}

void fkmi_csv_columns_free(struct fkmi_csv_columns *columns)
{
    fkmi_free(columns->role);
    fkmi_free(columns->feature);
    fkmi_free(columns->target);
    fkmi_free(columns->text);
    fkmi_free(columns->names);
    *columns = (struct fkmi_csv_columns){0};
}

void fkmi_csv_column_words(char out[FKMI_CSV_COLUMN_BYTES], const struct fkmi_csv_columns *columns,
                           int32_t column)
{
    char shown[FKMI_EXCERPT_BYTES];

    if (!columns->names) {
        snprintf(out, FKMI_CSV_COLUMN_BYTES, "column %d", (int)column);
        return;
    }
    fkmi_excerpt(shown, columns->names[column], strlen(columns->names[column]));
    snprintf(out, FKMI_CSV_COLUMN_BYTES, "column %d (%s)", (int)column, shown);
}
