/* csv_fields.h — the fields of one CSV or TSV line, by the quoting rules of RFC 4180.
 *
 * A field in double quotes may hold delimiters, line breaks and doubled quotes; a quote anywhere else is an
 * error. Spaces around an unquoted field do not count.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_IO_CSV_FIELDS_H
#define FKMI_IO_CSV_FIELDS_H

#include <stdbool.h>
#include <string.h>

struct fkmi_csv_field {
    const char *text; /* in the line, or unescaped in the scratch memory */
    size_t length;
};
struct fkmi_csv_cursor {
    const char *at, *begin, *end;
    char delimiter;
    bool more;       /* another field follows; a line has at least one */
    bool has_quotes; /* the line holds a quote somewhere */
    char *scratch;   /* as long as the line when it has quotes: each field unescapes to its own place */
};

static inline void fkmi_csv_begin(struct fkmi_csv_cursor *cursor, const char *line, size_t length,
                                  char delimiter, bool has_quotes, char *scratch)
{
    *cursor = (struct fkmi_csv_cursor){line, line, line + length, delimiter, true, has_quotes, scratch};
}

/* cursor->at stands behind an opening quote. */
static inline const char *fkmi_csv_next_quoted(struct fkmi_csv_cursor *cursor, struct fkmi_csv_field *field)
{
    const char *begin = cursor->at, *from = begin, *quote;
    char *unescaped = cursor->scratch + (begin - cursor->begin);
    size_t n = 0;

    while ((quote = memchr(from, '"', (size_t)(cursor->end - from))) != NULL) {
        const bool doubled = quote + 1 < cursor->end && quote[1] == '"';
        const size_t piece = (size_t)(quote - from) + (doubled ? 1 : 0);

        memcpy(unescaped + n, from, piece);
        n += piece;
        from = quote + 1 + (doubled ? 1 : 0);
        if (!doubled)
            break;
    }
    if (!quote)
        return "a quote is not closed";
    field->text = unescaped;
    field->length = n;
    cursor->at = from;
    cursor->more = from < cursor->end;
    if (cursor->more && *cursor->at++ != cursor->delimiter)
        return "text follows a closing quote";
    return NULL;
}

/* The next field; returns what is wrong with it, or NULL. */
static inline const char *fkmi_csv_next(struct fkmi_csv_cursor *cursor, struct fkmi_csv_field *field)
{
    const char *begin = cursor->at, *end;

    if (cursor->has_quotes && begin < cursor->end && *begin == '"') {
        cursor->at++;
        return fkmi_csv_next_quoted(cursor, field);
    }
    end = begin;
    while (end < cursor->end && *end != cursor->delimiter)
        end++;
    cursor->more = end < cursor->end;
    cursor->at = end + 1;
    while (begin < end && *begin == ' ')
        begin++;
    while (begin < end && end[-1] == ' ')
        end--;
    field->text = begin;
    field->length = (size_t)(end - begin);
    if (cursor->has_quotes && begin < end && memchr(begin, '"', (size_t)(end - begin)))
        return "a quote stands inside an unquoted field";
    return NULL;
}

#endif
