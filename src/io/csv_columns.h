/* csv_columns.h — what the columns of a table are: features, targets, a weight; and whether they have names.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_IO_CSV_COLUMNS_H
#define FKMI_IO_CSV_COLUMNS_H

#include "io/csv_fields.h"
#include "io/lines.h"

#define FKMI_CSV_COLUMNS_MAX 1000000

/* role of a column: >= 0 the number of a feature, FKMI_CSV_WEIGHT, or FKMI_CSV_TARGET(t) for target t */
#define FKMI_CSV_WEIGHT    (-1)
#define FKMI_CSV_TARGET(t) (-2 - (t))

struct fkmi_csv_columns {
    int32_t n, n_features, n_targets;
    int32_t *role;
    int32_t *feature, *target; /* their columns, in order */
    bool header, weighted;
    char *text;         /* the names, one zero-terminated text after the other */
    const char **names; /* by column; NULL without a header */
};

/* Decides by the fields of the first line. A header is there when options->header says so; when it says
 * "look": if the target or weight is asked for by name, or if no field is a number or a word for a missing
 * value and at least one feature field is not empty. FKM_EINVAL for a column that does not exist. */
fkm_status fkmi_csv_columns_decide(struct fkmi_csv_columns *columns, const fkm_source_options *options,
                                   const struct fkmi_lines *lines, const struct fkmi_csv_field *fields,
                                   int32_t n);
void fkmi_csv_columns_free(struct fkmi_csv_columns *columns);
/* An empty field, "?", or in any case "na", "nan", "null". */
bool fkmi_csv_missing(const char *text, size_t length);
/* "column 3" or "column 3 (width)" for messages. */
#define FKMI_CSV_COLUMN_BYTES 80
void fkmi_csv_column_words(char out[FKMI_CSV_COLUMN_BYTES], const struct fkmi_csv_columns *columns,
                           int32_t column);

#endif
