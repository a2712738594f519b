/* csv_columns.c — header or not.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "io/csv_columns.h"

#include <strings.h>

#include "base/memory.h"
#include "base/number.h"

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

/* A first line that could not be data, or hardly. Targets may be text, so only features speak for one. */
static bool looks_like_header(const struct fkmi_columns *columns, const struct fkmi_csv_field *fields)
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

static fkm_status keep_names(struct fkmi_columns *columns, const char *table,
                             const struct fkmi_csv_field *fields)
{
    struct fkmi_column_name *names;
    fkm_status status;
    int32_t i;

    FKMI_TRY(fkmi_alloc(&names, columns->n, sizeof *names));
    for (i = 0; i < columns->n; i++)
        names[i] = (struct fkmi_column_name){fields[i].text, fields[i].length};
    status = fkmi_columns_name(columns, table, names);
    fkmi_free(names);
    return status;
}

fkm_status fkmi_csv_columns_decide(struct fkmi_columns *columns, const fkm_source_options *options,
                                   const char *table, const struct fkmi_csv_field *fields, int32_t n)
{
    bool header =
        options->header > 0 || (options->header < 0 && (fkmi_columns_list_has_name(options->target) ||
                                                        fkmi_columns_list_has_name(options->weight) ||
                                                        fkmi_columns_list_has_name(options->text)));

    FKMI_TRY(fkmi_columns_begin(columns, n));
    if (options->header < 0 && !header && !options->text) {
        FKMI_TRY(fkmi_columns_assign(columns, options, table));
        header = looks_like_header(columns, fields);
    }
    if (header)
        FKMI_TRY(keep_names(columns, table, fields));
    return fkmi_columns_assign(columns, options, table);
}
