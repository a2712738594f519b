/* columns.c — which column is what: by name first, then by number.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "io/columns.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/number.h"
#include "io/lines.h"

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

bool fkmi_columns_list_has_name(const char *list)
{
    struct wish wish;

    while (next_wish(&list, &wish))
        if (!wish.is_number)
            return true;
    return false;
}

/* The column a wish means: by name first, then by number, from the end when negative. */
static fkm_status find_column(const struct fkmi_columns *columns, const char *table, const struct wish *wish,
                              const char *what, int32_t *column)
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
                             "%s: the %s column \"%s\" is there twice, as column %d and column %d", table,
                             what, shown, (int)found, (int)i);
        found = i;
    }
    if (found < 0 && wish->is_number) {
        const int64_t number = wish->number < 0 ? wish->number + columns->n : wish->number;

        if (number < 0 || number >= columns->n)
            return fkmi_fail(FKM_EINVAL, "%s: there is no %s column %s, there are %d columns", table, what,
                             shown, (int)columns->n);
        found = (int32_t)number;
    }
    if (found < 0)
        return fkmi_fail(FKM_EINVAL, "%s: no column is named \"%s\" (%s), there are %d columns%s", table,
                         shown, what, (int)columns->n,
                         columns->names ? "" : ": the file is read without a header");
    *column = found;
    return FKM_OK;
}

/* Gives the columns of a list their role. */
static fkm_status assign_targets(struct fkmi_columns *columns, const fkm_source_options *options,
                                 const char *table)
{
    const char *list = options->target;
    struct wish wish;
    int32_t column;

    while (next_wish(&list, &wish)) {
        FKMI_TRY(find_column(columns, table, &wish, "target", &column));
        if (columns->role[column] < 0)
            return fkmi_fail(FKM_EINVAL, "%s: column %d is asked for twice", table, (int)column);
        columns->role[column] = FKMI_COLUMN_TARGET(columns->n_targets);
        columns->target[columns->n_targets++] = column;
    }
    return FKM_OK;
}

/* Texts are the features; columns without a role are left out. */
static fkm_status assign_texts(struct fkmi_columns *columns, const fkm_source_options *options,
                               const char *table)
{
    const char *list = options->text;
    struct wish wish;
    int32_t column;

    while (next_wish(&list, &wish)) {
        FKMI_TRY(find_column(columns, table, &wish, "text", &column));
        if (columns->role[column] < 0)
            return fkmi_fail(FKM_EINVAL, "%s: column %d is asked for twice", table, (int)column);
        columns->role[column] = FKMI_COLUMN_TEXT;
        columns->n_texts++;
    }
    for (column = 0; column < columns->n; column++)
        if (columns->role[column] == 0)
            columns->role[column] = FKMI_COLUMN_UNUSED;
    return FKM_OK;
}

fkm_status fkmi_columns_assign(struct fkmi_columns *columns, const fkm_source_options *options,
                               const char *table)
{
    const char *weight = options->weight;
    struct wish wish;
    int32_t i;

    columns->n_features = columns->n_targets = columns->n_texts = 0;
    columns->weighted = false;
    for (i = 0; i < columns->n; i++)
        columns->role[i] = 0;
    if (next_wish(&weight, &wish)) {
        if (weight)
            return fkmi_fail(FKM_EINVAL, "weight \"%s\" names more than one column", options->weight);
        FKMI_TRY(find_column(columns, table, &wish, "weight", &i));
        columns->role[i] = FKMI_COLUMN_WEIGHT;
        columns->weighted = true;
    }
    FKMI_TRY(assign_targets(columns, options, table));
    if (columns->n_targets > 1 && options->task == FKM_TASK_CLASSIFY)
        return fkmi_fail(FKM_EINVAL, "target \"%s\" names %d columns, a classifier has one", options->target,
                         (int)columns->n_targets);
    if (options->text)
        return assign_texts(columns, options, table);
    for (i = 0; i < columns->n; i++) {
        if (columns->role[i] < 0)
            continue;
        columns->feature[columns->n_features] = i;
        columns->role[i] = columns->n_features++;
    }
    if (columns->n_features == 0)
        return fkmi_fail(FKM_EINVAL, "%s: no feature column is left of %d", table, (int)columns->n);
    return FKM_OK;
}

fkm_status fkmi_columns_begin(struct fkmi_columns *columns, int32_t n)
{
    columns->n = n;
    FKMI_TRY(fkmi_alloc(&columns->role, n, sizeof *columns->role));
    FKMI_TRY(fkmi_alloc(&columns->feature, n, sizeof *columns->feature));
    return fkmi_alloc(&columns->target, n, sizeof *columns->target);
}

fkm_status fkmi_columns_name(struct fkmi_columns *columns, const char *table,
                             const struct fkmi_column_name *names)
{
    size_t total = 0;
    char *at;
    int32_t i;

    for (i = 0; i < columns->n; i++)
        total += names[i].length + 1;
    FKMI_TRY(fkmi_alloc(&columns->text, (int64_t)total, 1));
    FKMI_TRY(fkmi_alloc(&columns->names, columns->n, sizeof *columns->names));
    at = columns->text;
    for (i = 0; i < columns->n; i++) {
        if (!fkmi_is_utf8(names[i].text, names[i].length))
            return fkmi_fail(FKM_EDATA, "%s: the name of column %d is not UTF-8", table, (int)i);
        memcpy(at, names[i].text, names[i].length);
        columns->names[i] = at;
        at += names[i].length + 1;
    }
    return FKM_OK;
}

void fkmi_columns_free(struct fkmi_columns *columns)
{
    fkmi_free(columns->role);
    fkmi_free(columns->feature);
    fkmi_free(columns->target);
    fkmi_free(columns->text);
    fkmi_free(columns->names);
    *columns = (struct fkmi_columns){0};
}

void fkmi_column_words(char out[FKMI_COLUMN_BYTES], const struct fkmi_columns *columns, int32_t column)
{
    char shown[FKMI_EXCERPT_BYTES];

    if (!columns->names) {
        snprintf(out, FKMI_COLUMN_BYTES, "column %d", (int)column);
        return;
    }
    fkmi_excerpt(shown, columns->names[column], strlen(columns->names[column]));
    snprintf(out, FKMI_COLUMN_BYTES, "column %d (%s)", (int)column, shown);
}
