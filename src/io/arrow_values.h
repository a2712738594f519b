/* arrow_values.h — what a column of an Arrow record batch holds, value by value.
 *
 * Pointers and the sizes of buffers are the producer's word, as the interface has it; whatever can be checked
 * (counts, offsets into children and dictionaries) is.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_IO_ARROW_VALUES_H
#define FKMI_IO_ARROW_VALUES_H

#include <stdbool.h>

#include "base/error.h"
#include "io/arrow.h"

enum fkmi_arrow_kind {
    FKMI_ARROW_OTHER, /* of no use here */
    FKMI_ARROW_BOOL,
    FKMI_ARROW_INT8,
    FKMI_ARROW_UINT8,
    FKMI_ARROW_INT16,
    FKMI_ARROW_UINT16,
    FKMI_ARROW_INT32,
    FKMI_ARROW_UINT32,
    FKMI_ARROW_INT64,
    FKMI_ARROW_UINT64,
    FKMI_ARROW_FLOAT16,
    FKMI_ARROW_FLOAT32,
    FKMI_ARROW_FLOAT64,
    FKMI_ARROW_UTF8,
    FKMI_ARROW_LARGE_UTF8,
    FKMI_ARROW_UTF8_VIEW,
    FKMI_ARROW_LIST,
    FKMI_ARROW_LARGE_LIST,
    FKMI_ARROW_FIXED_LIST,
    FKMI_ARROW_STRUCT
};
/* Of the values as they lie: for a dictionary, of the indices. */
enum fkmi_arrow_kind fkmi_arrow_kind(const struct ArrowSchema *schema);
/* Of what the values mean: for a dictionary, of its words. */
enum fkmi_arrow_kind fkmi_arrow_meaning(const struct ArrowSchema *schema);
bool fkmi_arrow_is_integer(enum fkmi_arrow_kind kind); /* or a truth value */
bool fkmi_arrow_is_number(enum fkmi_arrow_kind kind);  /* integers, truth values, floating point */
bool fkmi_arrow_is_text(enum fkmi_arrow_kind kind);
/* A fixed-size list's number of items; 0 when the format does not say. */
int64_t fkmi_arrow_list_size(const struct ArrowSchema *schema);
/* "int64", "list of utf8", "dictionary of utf8": for messages. */
#define FKMI_ARROW_TYPE_BYTES 80
void fkmi_arrow_type_words(char out[FKMI_ARROW_TYPE_BYTES], const struct ArrowSchema *schema);

/* An array, borrowed; its values are counted from 0 and lie `offset` further in the buffers. */
struct fkmi_arrow_view {
    enum fkmi_arrow_kind kind;
    int64_t offset, length;
    const uint8_t *valid; /* bits; NULL: nothing is null */
    const void *values;   /* or the offsets of texts and lists */
    const char *texts;
    const void *const *pieces;  /* of an utf8 view: where long texts lie */
    const int64_t *piece_bytes; /* how long each is */
    int64_t n_pieces;
    int64_t list_size;
    const struct fkmi_arrow_view *items, *words; /* of a list, of a dictionary; else NULL */
};
/* A column and the arrays below it. */
struct fkmi_arrow_column {
    struct fkmi_arrow_view view, items, words;
};
/* Looks at values [offset, offset + length) of an array. The column must stay where it is. FKM_EDATA when the
 * array is not what its schema says. */
fkm_status fkmi_arrow_look(const struct ArrowSchema *schema, const struct ArrowArray *array, int64_t offset,
                           int64_t length, struct fkmi_arrow_column *column);
bool fkmi_arrow_is_null(const struct fkmi_arrow_view *view, int64_t i);
/* Numbers [first, first + n) as doubles; null ones are whatever lies there. */
void fkmi_arrow_doubles(const struct fkmi_arrow_view *view, int64_t first, int64_t n, double *out);
double fkmi_arrow_double(const struct fkmi_arrow_view *view, int64_t i);
/* Integers; false when it is 2^63 or larger. */
bool fkmi_arrow_int64(const struct fkmi_arrow_view *view, int64_t i, int64_t *value);
fkm_status fkmi_arrow_text(const struct fkmi_arrow_view *view, int64_t i, const char **text, size_t *length);
/* Items [*begin, *end) of list i, of any kind of list. */
fkm_status fkmi_arrow_list(const struct fkmi_arrow_view *view, int64_t i, int64_t *begin, int64_t *end);
/* From a dictionary's index to its word: *view and *i become those of the word. */
fkm_status fkmi_arrow_word(const struct fkmi_arrow_view **view, int64_t *i);

#endif
