/* columns.h — what the columns of a table are: features, targets, a weight; and their names.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_IO_COLUMNS_H
#define FKMI_IO_COLUMNS_H

#include <stdbool.h>

#include "base/error.h"

#define FKMI_COLUMNS_MAX 1000000

/* role of a column: >= 0 the number of a feature column, FKMI_COLUMN_WEIGHT, FKMI_COLUMN_TARGET(t) for
 * target t (which is its own inverse), FKMI_COLUMN_TEXT, or with texts FKMI_COLUMN_UNUSED for any other */
#define FKMI_COLUMN_WEIGHT    (-1)
#define FKMI_COLUMN_TARGET(t) (-2 - (t))
#define FKMI_COLUMN_TEXT      INT32_MIN
#define FKMI_COLUMN_UNUSED    (INT32_MIN + 1)

struct fkmi_columns {
    int32_t n, n_features, n_targets, n_texts;
    int32_t *role;
    int32_t *feature, *target; /* their columns, in order */
    bool weighted;
    char *text;         /* the names, one zero-terminated text after the other */
    const char **names; /* by column; NULL: they have none */
};
struct fkmi_column_name {
    const char *text;
    size_t length;
};

fkm_status fkmi_columns_begin(struct fkmi_columns *columns, int32_t n);
/* Copies a name for each column; FKM_EDATA for one that is not UTF-8. `table` is what messages call the table. */
fkm_status fkmi_columns_name(struct fkmi_columns *columns, const char *table,
                             const struct fkmi_column_name *names);
/* Roles by options->target, ->weight and ->text: lists of names or 0-based numbers, negative ones from the end. May
 * be called again. FKM_EINVAL for a column that does not exist, is there or asked for twice, or when no feature is
 * left. */
fkm_status fkmi_columns_assign(struct fkmi_columns *columns, const fkm_source_options *options,
                               const char *table);
/* The list has an entry that is no number. */
bool fkmi_columns_list_has_name(const char *list);
void fkmi_columns_free(struct fkmi_columns *columns);
/* "column 3" or "column 3 (width)" for messages. */
#define FKMI_COLUMN_BYTES 80
void fkmi_column_words(char out[FKMI_COLUMN_BYTES], const struct fkmi_columns *columns, int32_t column);

#endif
