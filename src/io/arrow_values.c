/* arrow_values.c — types, validity bits, numbers, texts, lists and dictionaries of Arrow arrays.
 *
 * Loads go through memcpy: the interface recommends alignment, it does not promise it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "io/arrow_values.h"

#include <stdio.h>
#include <string.h>

#include "base/dtype.h"
#include "base/number.h"

/* ---- types */

static const struct {
    const char *format, *words;
    bool prefix; /* more follows: a size, a unit, a time zone */
    enum fkmi_arrow_kind kind;
} types[] = {
    {"b", "bool", false, FKMI_ARROW_BOOL},
    {"c", "int8", false, FKMI_ARROW_INT8},
    {"C", "uint8", false, FKMI_ARROW_UINT8},
    {"s", "int16", false, FKMI_ARROW_INT16},
    {"S", "uint16", false, FKMI_ARROW_UINT16},
    {"i", "int32", false, FKMI_ARROW_INT32},
    {"I", "uint32", false, FKMI_ARROW_UINT32},
    {"l", "int64", false, FKMI_ARROW_INT64},
    {"L", "uint64", false, FKMI_ARROW_UINT64},
    {"e", "float16", false, FKMI_ARROW_FLOAT16},
    {"f", "float32", false, FKMI_ARROW_FLOAT32},
    {"g", "float64", false, FKMI_ARROW_FLOAT64},
    {"u", "utf8", false, FKMI_ARROW_UTF8},
    {"U", "large utf8", false, FKMI_ARROW_LARGE_UTF8},
    {"vu", "utf8 view", false, FKMI_ARROW_UTF8_VIEW},
    {"+l", "list", false, FKMI_ARROW_LIST},
    {"+L", "large list", false, FKMI_ARROW_LARGE_LIST},
    {"+w:", "fixed-size list", true, FKMI_ARROW_FIXED_LIST},
    {"+s", "struct", false, FKMI_ARROW_STRUCT},
    {"n", "null", false, FKMI_ARROW_OTHER},
    {"z", "binary", false, FKMI_ARROW_OTHER},
    {"Z", "large binary", false, FKMI_ARROW_OTHER},
    {"vz", "binary view", false, FKMI_ARROW_OTHER},
    {"w:", "fixed-size binary", true, FKMI_ARROW_OTHER},
    {"d:", "decimal", true, FKMI_ARROW_OTHER},
    {"td", "date", true, FKMI_ARROW_OTHER},
    {"tt", "time", true, FKMI_ARROW_OTHER},
    {"ts", "timestamp", true, FKMI_ARROW_OTHER},
    {"tD", "duration", true, FKMI_ARROW_OTHER},
    {"ti", "interval", true, FKMI_ARROW_OTHER},
    {"+v", "list view", true, FKMI_ARROW_OTHER},
    {"+m", "map", false, FKMI_ARROW_OTHER},
    {"+u", "union", true, FKMI_ARROW_OTHER},
    {"+r", "run-end encoded values", false, FKMI_ARROW_OTHER},
};
#define N_TYPES (sizeof types / sizeof types[0])

/* N_TYPES when there is no such type. */
static size_t find_type(const char *format)
{
    size_t t = 0;

    while (t < N_TYPES && (types[t].prefix ? strncmp(format, types[t].format, strlen(types[t].format))
                                           : strcmp(format, types[t].format)) != 0)
        t++;
    return t;
}

enum fkmi_arrow_kind fkmi_arrow_kind(const struct ArrowSchema *schema)
{
    const size_t t = find_type(schema->format);

    return t < N_TYPES ? types[t].kind : FKMI_ARROW_OTHER;
}

enum fkmi_arrow_kind fkmi_arrow_meaning(const struct ArrowSchema *schema)
{
    return fkmi_arrow_kind(schema->dictionary ? schema->dictionary : schema);
}

bool fkmi_arrow_is_integer(enum fkmi_arrow_kind kind)
{
    return kind >= FKMI_ARROW_BOOL && kind <= FKMI_ARROW_UINT64;
}

bool fkmi_arrow_is_number(enum fkmi_arrow_kind kind)
{
    return kind >= FKMI_ARROW_BOOL && kind <= FKMI_ARROW_FLOAT64;
}

bool fkmi_arrow_is_text(enum fkmi_arrow_kind kind)
{
    return kind >= FKMI_ARROW_UTF8 && kind <= FKMI_ARROW_UTF8_VIEW;
}

static bool is_list(enum fkmi_arrow_kind kind)
{
    return kind >= FKMI_ARROW_LIST && kind <= FKMI_ARROW_FIXED_LIST;
}

int64_t fkmi_arrow_list_size(const struct ArrowSchema *schema)
{
    const char *digits = schema->format + strlen("+w:");
    int64_t size;

    return fkmi_parse_int64(digits, strlen(digits), &size) && size > 0 ? size : 0;
}

static void one_type(char *out, size_t size, const struct ArrowSchema *schema)
{
    const size_t t = find_type(schema->format);

    if (t < N_TYPES)
        snprintf(out, size, "%s", types[t].words);
    else
        snprintf(out, size, "\"%.20s\"", schema->format);
}

void fkmi_arrow_type_words(char out[FKMI_ARROW_TYPE_BYTES], const struct ArrowSchema *schema)
{
    const struct ArrowSchema *below = schema->dictionary ? schema->dictionary
                                      : is_list(fkmi_arrow_kind(schema)) && schema->n_children == 1
                                          ? schema->children[0]
                                          : NULL;
    char outer[32], inner[32];

    one_type(outer, sizeof outer, schema);
    if (below)
        one_type(inner, sizeof inner, below->dictionary ? below->dictionary : below);
    snprintf(out, FKMI_ARROW_TYPE_BYTES, below ? "%s of %s%s" : "%s",
             schema->dictionary ? "dictionary" : outer, below && below->dictionary ? "dictionary of " : "",
             below ? inner : "");
}

/* ---- looking at an array */

static int64_t buffers_of(enum fkmi_arrow_kind kind)
{
    if (kind == FKMI_ARROW_FIXED_LIST || kind == FKMI_ARROW_STRUCT)
        return 1;
    return kind == FKMI_ARROW_UTF8 || kind == FKMI_ARROW_LARGE_UTF8 ? 3 : 2;
}

static fkm_status look_at_counts(const struct ArrowArray *array, enum fkmi_arrow_kind kind, int64_t offset,
                                 int64_t length)
{
    const int64_t n_buffers = buffers_of(kind);

    if (array->length < 0 || array->offset < 0 || array->length > INT64_MAX - array->offset)
        return fkmi_fail(FKM_EDATA, "an array of length %lld at offset %lld", (long long)array->length,
                         (long long)array->offset);
    if (offset > array->length || length > array->length - offset)
        return fkmi_fail(FKM_EDATA, "an array of length %lld, its batch needs %lld", (long long)array->length,
                         (long long)(offset + length));
    if (kind == FKMI_ARROW_UTF8_VIEW ? array->n_buffers < 3 : array->n_buffers != n_buffers)
        return fkmi_fail(FKM_EDATA, "an array with %lld buffers, its type has %lld%s",
                         (long long)array->n_buffers,
                         (long long)(kind == FKMI_ARROW_UTF8_VIEW ? 3 : n_buffers),
                         kind == FKMI_ARROW_UTF8_VIEW ? " or more" : "");
    if (n_buffers > 1 && !array->buffers[1] && array->length > 0)
        return fkmi_fail(FKM_EDATA, "an array of %lld values without a buffer", (long long)array->length);
    if (array->null_count > 0 && !array->buffers[0])
        return fkmi_fail(FKM_EDATA, "an array of %lld nulls that does not say which",
                         (long long)array->null_count);
    return FKM_OK;
}

static fkm_status look_at_one(const struct ArrowSchema *schema, const struct ArrowArray *array,
                              int64_t offset, int64_t length, struct fkmi_arrow_view *view)
{
    const enum fkmi_arrow_kind kind = fkmi_arrow_kind(schema);

    FKMI_TRY(look_at_counts(array, kind, offset, length));
    *view = (struct fkmi_arrow_view){.kind = kind,
                                     .offset = array->offset + offset,
                                     .length = length,
                                     .valid = array->null_count != 0 ? array->buffers[0] : NULL};
    if (buffers_of(kind) > 1)
        view->values = array->buffers[1];
    if (kind == FKMI_ARROW_UTF8 || kind == FKMI_ARROW_LARGE_UTF8)
        view->texts = array->buffers[2];
    if (kind == FKMI_ARROW_UTF8_VIEW) {
        view->pieces = array->buffers + 2;
        view->n_pieces = array->n_buffers - 3;
        view->piece_bytes = array->buffers[array->n_buffers - 1];
        if (view->n_pieces > 0 && !view->piece_bytes)
            return fkmi_fail(FKM_EDATA, "an array of texts that does not say how long they are");
    }
    if (kind == FKMI_ARROW_FIXED_LIST)
        view->list_size = fkmi_arrow_list_size(schema);
    return FKM_OK;
}

static fkm_status look_below(const struct ArrowSchema *schema, const struct ArrowArray *array,
                             struct fkmi_arrow_view *view, struct fkmi_arrow_view *words)
{
    if (!schema->dictionary)
        return FKM_OK;
    if (!array->dictionary)
        return fkmi_fail(FKM_EDATA, "an array of indices without a dictionary");
    view->words = words;
    return look_at_one(schema->dictionary, array->dictionary, 0, array->dictionary->length, words);
}

fkm_status fkmi_arrow_look(const struct ArrowSchema *schema, const struct ArrowArray *array, int64_t offset,
                           int64_t length, struct fkmi_arrow_column *column)
{
    struct fkmi_arrow_view *view = &column->view;
    const struct ArrowArray *items;

    FKMI_TRY(look_at_one(schema, array, offset, length, view));
    if (!is_list(view->kind))
        return look_below(schema, array, view, &column->words);
    if (array->n_children != 1)
        return fkmi_fail(FKM_EDATA, "a list with %lld children", (long long)array->n_children);
    items = array->children[0];
    view->items = &column->items;
    FKMI_TRY(look_at_one(schema->children[0], items, 0, items->length, &column->items));
    if (view->kind == FKMI_ARROW_FIXED_LIST && view->offset + length > items->length / view->list_size)
        return fkmi_fail(FKM_EDATA, "%lld lists of %lld items, of which there are %lld",
                         (long long)(view->offset + length), (long long)view->list_size,
                         (long long)items->length);
    return look_below(schema->children[0], items, &column->items, &column->words);
}

/* ---- values */

static bool bit(const uint8_t *bits, int64_t i) { return bits[i / 8] >> (i % 8) & 1; }

bool fkmi_arrow_is_null(const struct fkmi_arrow_view *view, int64_t i)
{
    return view->valid && !bit(view->valid, view->offset + i);
}

/* value_of(element): what a stored element is as a number */
#define DEFINE_LOAD(name, type, value_of)                                                                    \
    static void name(const void *values, int64_t first, int64_t n, double *out)                              \
    {                                                                                                        \
        for (int64_t k = 0; k < n; k++) {                                                                    \
            type element;                                                                                    \
                                                                                                             \
            memcpy(&element, (const char *)values + (size_t)(first + k) * sizeof element, sizeof element);   \
            out[k] = (double)value_of(element);                                                              \
        }                                                                                                    \
    }
DEFINE_LOAD(load_int8, int8_t, )
DEFINE_LOAD(load_uint8, uint8_t, )
DEFINE_LOAD(load_int16, int16_t, )
DEFINE_LOAD(load_uint16, uint16_t, )
DEFINE_LOAD(load_int32, int32_t, )
DEFINE_LOAD(load_uint32, uint32_t, )
DEFINE_LOAD(load_int64, int64_t, )
DEFINE_LOAD(load_uint64, uint64_t, )
DEFINE_LOAD(load_float16, uint16_t, fkmi_f32_of_f16)
DEFINE_LOAD(load_float32, float, )
DEFINE_LOAD(load_float64, double, )

static void load_bool(const void *values, int64_t first, int64_t n, double *out)
{
    for (int64_t k = 0; k < n; k++)
        out[k] = bit(values, first + k);
}

static void (*const loads[])(const void *values, int64_t first, int64_t n, double *out) = {
    [FKMI_ARROW_BOOL] = load_bool,       [FKMI_ARROW_INT8] = load_int8,
    [FKMI_ARROW_UINT8] = load_uint8,     [FKMI_ARROW_INT16] = load_int16,
    [FKMI_ARROW_UINT16] = load_uint16,   [FKMI_ARROW_INT32] = load_int32,
    [FKMI_ARROW_UINT32] = load_uint32,   [FKMI_ARROW_INT64] = load_int64,
    [FKMI_ARROW_UINT64] = load_uint64,   [FKMI_ARROW_FLOAT16] = load_float16,
    [FKMI_ARROW_FLOAT32] = load_float32, [FKMI_ARROW_FLOAT64] = load_float64,
};

void fkmi_arrow_doubles(const struct fkmi_arrow_view *view, int64_t first, int64_t n, double *out)
{
    loads[view->kind](view->values, view->offset + first, n, out);
}

double fkmi_arrow_double(const struct fkmi_arrow_view *view, int64_t i)
{
    double value;

    fkmi_arrow_doubles(view, i, 1, &value);
    return value;
}

bool fkmi_arrow_int64(const struct fkmi_arrow_view *view, int64_t i, int64_t *value)
{
    if (view->kind != FKMI_ARROW_INT64 && view->kind != FKMI_ARROW_UINT64) {
        *value = (int64_t)fkmi_arrow_double(view, i);
        return true;
    }
    memcpy(value, (const char *)view->values + (size_t)(view->offset + i) * sizeof *value, sizeof *value);
    return view->kind == FKMI_ARROW_INT64 || *value >= 0;
}

/* Value i of an array of offsets. */
static int64_t offset_at(const void *offsets, bool large, int64_t i)
{
    int32_t small;
    int64_t value;

    if (large) {
        memcpy(&value, (const char *)offsets + (size_t)i * sizeof value, sizeof value);
        return value;
    }
    memcpy(&small, (const char *)offsets + (size_t)i * sizeof small, sizeof small);
    return small;
}

/* A text of at most 12 bytes lies in its view; of a longer one, where: a prefix, the piece, the offset in it. */
static fkm_status viewed_text(const struct fkmi_arrow_view *view, int64_t i, const char **text,
                              size_t *length)
{
    const char *at = (const char *)view->values + (size_t)(view->offset + i) * 16;
    int32_t bytes, piece, offset;

    memcpy(&bytes, at, sizeof bytes);
    memcpy(&piece, at + 8, sizeof piece);
    memcpy(&offset, at + 12, sizeof offset);
    *length = (size_t)bytes;
    *text = at + 4;
    if (bytes >= 0 && bytes <= 12)
        return FKM_OK;
    if (bytes < 0 || piece < 0 || piece >= view->n_pieces || offset < 0 ||
        bytes > offset_at(view->piece_bytes, true, piece) - offset)
        return fkmi_fail(FKM_EDATA, "a text of %d bytes at %d of buffer %d lies outside it", (int)bytes,
                         (int)offset, (int)piece);
    *text = (const char *)view->pieces[piece] + offset;
    return FKM_OK;
}

fkm_status fkmi_arrow_text(const struct fkmi_arrow_view *view, int64_t i, const char **text, size_t *length)
{
    const bool large = view->kind == FKMI_ARROW_LARGE_UTF8;
    int64_t begin, end;

    if (view->kind == FKMI_ARROW_UTF8_VIEW)
        return viewed_text(view, i, text, length);
    begin = offset_at(view->values, large, view->offset + i);
    end = offset_at(view->values, large, view->offset + i + 1);
    if (begin < 0 || end < begin || (end > begin && !view->texts))
        return fkmi_fail(FKM_EDATA, "a text that begins at %lld and ends at %lld", (long long)begin,
                         (long long)end);
    *text = end > begin ? view->texts + begin : "";
    *length = (size_t)(end - begin);
    return FKM_OK;
}

fkm_status fkmi_arrow_list(const struct fkmi_arrow_view *view, int64_t i, int64_t *begin, int64_t *end)
{
    const bool large = view->kind == FKMI_ARROW_LARGE_LIST;

    if (view->kind == FKMI_ARROW_FIXED_LIST) {
        *begin = (view->offset + i) * view->list_size;
        *end = *begin + view->list_size;
        return FKM_OK;
    }
    *begin = offset_at(view->values, large, view->offset + i);
    *end = offset_at(view->values, large, view->offset + i + 1);
    if (*begin < 0 || *end < *begin || *end > view->items->length)
        return fkmi_fail(FKM_EDATA, "a list of items %lld to %lld, of which there are %lld",
                         (long long)*begin, (long long)*end, (long long)view->items->length);
    return FKM_OK;
}

fkm_status fkmi_arrow_word(const struct fkmi_arrow_view **view, int64_t *i)
{
    int64_t index;

    if (!(*view)->words)
        return FKM_OK;
    if (!fkmi_arrow_int64(*view, *i, &index) || index < 0 || index >= (*view)->words->length)
        return fkmi_fail(FKM_EDATA, "an index outside the %lld words of its dictionary",
                         (long long)(*view)->words->length);
    *view = (*view)->words;
    *i = index;
    return FKM_OK;
}
