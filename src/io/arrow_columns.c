/* arrow_columns.c — what the columns of an Arrow stream are, by their types and the caller's options.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "io/arrow_source.h"

#define ITEM_NAME_ROOM 24 /* "[item]" behind a column's name */

fkm_status fkmi_arrow_column_fail(const struct fkmi_arrow *arrow, fkm_status status, int32_t column,
                                  const char *format, ...)
{
    char words[FKMI_COLUMN_BYTES], message[FKMI_ARROW_MESSAGE];
    va_list values;

    va_start(values, format);
    vsnprintf(message, sizeof message, format, values);
    va_end(values);
    fkmi_column_words(words, &arrow->columns, column);
    return fkmi_fail(status, "%s: %s: %s", FKMI_ARROW_TABLE, words, message);
}

static fkm_status column_is_not(const struct fkmi_arrow *arrow, int32_t column, const char *role,
                                const char *valid)
{
    char words[FKMI_ARROW_TYPE_BYTES];

    fkmi_arrow_type_words(words, arrow->schema.children[column]);
    return fkmi_arrow_column_fail(arrow, FKM_EDATA, column, "type %s cannot be %s; valid: %s", words, role,
                                  valid);
}

/* A number, or a fixed-size list of them: how many; 0: neither. */
static int64_t numbers_of(const struct ArrowSchema *schema)
{
    const struct ArrowSchema *items = schema->n_children == 1 ? schema->children[0] : NULL;

    if (schema->dictionary)
        return 0;
    if (fkmi_arrow_is_number(fkmi_arrow_kind(schema)))
        return 1;
    if (fkmi_arrow_kind(schema) != FKMI_ARROW_FIXED_LIST || !items || items->dictionary ||
        !fkmi_arrow_is_number(fkmi_arrow_kind(items)))
        return 0;
    return fkmi_arrow_list_size(schema);
}

/* Integers, truth values or texts, also behind a dictionary. */
static bool is_label(const struct ArrowSchema *schema)
{
    const enum fkmi_arrow_kind meaning = fkmi_arrow_meaning(schema);

    return (fkmi_arrow_is_integer(meaning) || fkmi_arrow_is_text(meaning)) &&
           (!schema->dictionary || fkmi_arrow_is_integer(fkmi_arrow_kind(schema)));
}

static bool is_tag_list(const struct ArrowSchema *schema)
{
    const enum fkmi_arrow_kind kind = fkmi_arrow_kind(schema);

    if (kind == FKMI_ARROW_LIST || kind == FKMI_ARROW_LARGE_LIST)
        return schema->n_children == 1 && is_label(schema->children[0]);
    return is_label(schema) && fkmi_arrow_is_text(fkmi_arrow_meaning(schema));
}

/* Gives a column's values numbers among the features or the targets; *total counts them. */
static fkm_status number_values(struct fkmi_arrow *arrow, int32_t column, int64_t n, int64_t *total)
{
    if (n > FKMI_COLUMNS_MAX - *total)
        return fkmi_arrow_column_fail(arrow, FKM_EDATA, column, "%lld values more, at most %d are possible",
                                      (long long)n, FKMI_COLUMNS_MAX);
    arrow->first[column] = *total;
    *total += n;
    return FKM_OK;
}

static fkm_status decide_features(struct fkmi_arrow *arrow)
{
    const struct fkmi_columns *columns = &arrow->columns;

    for (int32_t f = 0; f < columns->n_features; f++) {
        const int32_t column = columns->feature[f];
        const int64_t n = numbers_of(arrow->schema.children[column]);

        if (n == 0)
            return column_is_not(arrow, column, "a feature",
                                 "integers, floating point, bool, fixed-size lists of them");
        FKMI_TRY(number_values(arrow, column, n, &arrow->gather.n_cols));
    }
    for (int32_t c = 0; columns->weighted && c < columns->n; c++) {
        if (columns->role[c] != FKMI_COLUMN_WEIGHT)
            continue;
        if (!fkmi_arrow_is_number(fkmi_arrow_meaning(arrow->schema.children[c])) ||
            arrow->schema.children[c]->dictionary)
            return column_is_not(arrow, c, "a weight", "integers, floating point, bool");
        arrow->first[c] = 0;
    }
    return FKM_OK;
}

/* The names of columns of 0 and 1 are the names of the tags. */
static fkm_status name_tags(struct fkmi_arrow *arrow, int32_t column, int64_t n, bool known)
{
    const char *name = arrow->columns.names[column];

    for (int64_t k = 0; k < n; k++) {
        const int64_t tag = arrow->first[column] + k;
        char *item = NULL;
        int64_t number;
        fkm_status status;

        if (arrow->schema.children[column]->n_children == 1)
            FKMI_TRY(fkmi_format(&item, "%s[%lld]", name, (long long)k));
        else
            FKMI_TRY(name[0] ? fkmi_format(&item, "%s", name) : fkmi_format(&item, "column %d", (int)column));
        status = fkmi_names_number(&arrow->names, item, strlen(item), &number);
        if (status == FKM_OK && number != tag)
            status = fkmi_arrow_column_fail(
                arrow, FKM_EINVAL, column, "tag \"%.100s\" is number %lld here and number %lld %s", item,
                (long long)tag, (long long)number, known ? "of class_names" : "by its name");
        fkmi_free(item);
        FKMI_TRY(status);
    }
    return FKM_OK;
}

static fkm_status decide_targets(struct fkmi_arrow *arrow, bool known)
{
    const struct fkmi_columns *columns = &arrow->columns;
    int64_t n_targets = 0;

    for (int32_t t = 0; t < columns->n_targets; t++) {
        const int32_t column = columns->target[t];
        const struct ArrowSchema *schema = arrow->schema.children[column];
        const int64_t n = numbers_of(schema);
        const bool in_list = schema->n_children > 0;

        if (arrow->task == FKM_TASK_CLASSIFY) {
            if (!is_label(schema))
                return column_is_not(arrow, column, "a classifier's target",
                                     "integers, bool, texts, dictionaries of them");
            arrow->first[column] = 0;
        } else if (arrow->task == FKM_TASK_MULTILABEL && columns->n_targets == 1 && is_tag_list(schema)) {
            arrow->first[column] = 0;
        } else if (arrow->task == FKM_TASK_MULTILABEL) {
            if (n == 0 || (columns->n_targets == 1 && !in_list))
                return column_is_not(
                    arrow, column, "a multi-label target",
                    "a list of integers or texts, a text that lists tags, a fixed-size list of 0 "
                    "and 1, several columns of 0 and 1");
            FKMI_TRY(number_values(arrow, column, n, &n_targets));
            FKMI_TRY(name_tags(arrow, column, n, known));
        } else {
            if (n == 0)
                return column_is_not(arrow, column, "a regressor's target",
                                     "integers, floating point, bool, fixed-size lists of them");
            FKMI_TRY(number_values(arrow, column, n, &n_targets));
        }
    }
    arrow->gather.n_targets = arrow->task == FKM_TASK_REGRESS ? n_targets : 0;
    return FKM_OK;
}

/* "width" for a column of one value, "pixels[0]", "pixels[1]", ... for a list. */
static fkm_status name_features(struct fkmi_arrow *arrow)
{
    const struct fkmi_columns *columns = &arrow->columns;
    size_t room = 0, used = 0;

    for (int32_t f = 0; f < columns->n_features; f++) {
        const int32_t column = columns->feature[f];
        const int64_t n = numbers_of(arrow->schema.children[column]);

        room += (size_t)n * (strlen(columns->names[column]) + ITEM_NAME_ROOM);
    }
    FKMI_TRY(fkmi_alloc(&arrow->feature_text, (int64_t)room, 1));
    FKMI_TRY(fkmi_alloc(&arrow->feature_names, arrow->gather.n_cols, sizeof *arrow->feature_names));
    for (int32_t f = 0; f < columns->n_features; f++) {
        const int32_t column = columns->feature[f];
        const struct ArrowSchema *schema = arrow->schema.children[column];

        for (int64_t k = 0; k < numbers_of(schema); k++) {
            char *at = arrow->feature_text + used;

            arrow->feature_names[arrow->first[column] + k] = at;
            used +=
                1 + (size_t)(schema->n_children > 0
                                 ? snprintf(at, room - used, "%s[%lld]", columns->names[column], (long long)k)
                                 : snprintf(at, room - used, "%s", columns->names[column]));
        }
    }
    return FKM_OK;
}

static fkm_status read_columns(struct fkmi_arrow *arrow, const fkm_source_options *options)
{
    const int32_t n = (int32_t)arrow->schema.n_children;
    struct fkmi_column_name *names;
    fkm_status status;

    FKMI_TRY(fkmi_alloc(&names, n, sizeof *names));
    for (int32_t c = 0; c < n; c++) {
        const char *name = arrow->schema.children[c]->name;

        names[c].text = name ? name : "";
        names[c].length = strlen(names[c].text);
    }
    status = fkmi_columns_begin(&arrow->columns, n);
    if (status == FKM_OK)
        status = fkmi_columns_name(&arrow->columns, FKMI_ARROW_TABLE, names);
    fkmi_free(names);
    FKMI_TRY(status);
    FKMI_TRY(fkmi_columns_assign(&arrow->columns, options, FKMI_ARROW_TABLE));
    FKMI_TRY(fkmi_alloc(&arrow->column, n, sizeof *arrow->column));
    FKMI_TRY(fkmi_alloc(&arrow->first, n, sizeof *arrow->first));
    for (int32_t c = 0; c < n; c++)
        arrow->first[c] = -1;
    return FKM_OK;
}

fkm_status fkmi_arrow_decide(struct fkmi_arrow *arrow, const fkm_source_options *options)
{
    struct fkmi_gather *gather = &arrow->gather;
    const bool targets = options->target != NULL, known = options->n_class_names > 0;

    FKMI_TRY(read_columns(arrow, options));
    FKMI_TRY(fkmi_names_begin(&arrow->names, options->class_names, options->n_class_names));
    FKMI_TRY(decide_features(arrow));
    FKMI_TRY(name_features(arrow));
    if (options->task != FKM_TASK_CLUSTER)
        FKMI_TRY(decide_targets(arrow, known));
    arrow->by_name = known;
    gather->dtype = options->dtype;
    gather->weighted = arrow->columns.weighted;
    gather->labelled = targets && arrow->task == FKM_TASK_CLASSIFY;
    gather->tagged = targets && arrow->task == FKM_TASK_MULTILABEL;
    return fkmi_format(&arrow->note, "%lld features of %d columns", (long long)gather->n_cols,
                       (int)arrow->columns.n_features);
}
