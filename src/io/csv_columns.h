/* csv_columns.h — the columns of a CSV file, and whether its first line names them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_IO_CSV_COLUMNS_H
#define FKMI_IO_CSV_COLUMNS_H

#include "io/columns.h"
#include "io/csv_fields.h"

/* Decides by the fields of the first line. A header is there when options->header says so; when it says
 * "look": if a target, weight or text is asked for by name, or (without texts, which look like names) if no field is
 * a number or a word for a missing value and at least one feature field is not empty. The columns have names when
 * there is a header. */
fkm_status fkmi_csv_columns_decide(struct fkmi_columns *columns, const fkm_source_options *options,
                                   const char *table, const struct fkmi_csv_field *fields, int32_t n);
/* An empty field, "?", or in any case "na", "nan", "null". */
bool fkmi_csv_missing(const char *text, size_t length);

#endif
