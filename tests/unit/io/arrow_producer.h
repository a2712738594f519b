/* arrow_producer.h — a small producer of Arrow C streams for the tests: columns made of exact-size buffers, cut
 * into batches as asked, every release counted.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_TESTS_UNIT_IO_ARROW_PRODUCER_H
#define FKM_TESTS_UNIT_IO_ARROW_PRODUCER_H

#include <errno.h>

#include "io/arrow.h"
#include "unit/io/source_tools.h"

/* A whole column, from which batches are slices. */
struct column {
    const char *format, *name;
    int64_t length, null_count;
    int64_t n_buffers;
    void *buffers[8];
    struct column *child, *dictionary; /* owned */
};

enum { COLUMNS_MAX = 24, CHUNKS_MAX = 16, EMPTY = -1 };
struct table {
    struct column *columns[COLUMNS_MAX]; /* owned */
    int64_t n_columns, n_rows;
    uint8_t *valid; /* of the rows; NULL: none is null */
    bool lies_about_length;
};

static int live_schemas, live_arrays, live_streams; /* exported and not yet released */

/* ---- making columns */

static inline void *exact(const void *bytes, size_t size)
{
    void *copy = malloc(size > 0 ? size : 1);

    CHECK(copy != NULL);
    if (size > 0)
        memcpy(copy, bytes, size);
    return copy;
}

static inline struct column *column_of(const char *format, const char *name, int64_t length,
                                       int64_t n_buffers)
{
    struct column *column = calloc(1, sizeof *column);

    CHECK(column != NULL);
    column->format = format;
    column->name = name;
    column->length = length;
    column->n_buffers = n_buffers;
    return column;
}

static inline struct column *fixed_width(const char *format, const char *name, int64_t length,
                                         const void *values, size_t size)
{
    struct column *column = column_of(format, name, length, 2);

    column->buffers[1] = exact(values, (size_t)length * size);
    return column;
}
#define NUMBERS(format, name, type, ...)                                                                     \
    fixed_width(format, name, sizeof((type[]){__VA_ARGS__}) / sizeof(type), (type[]){__VA_ARGS__},           \
                sizeof(type))

/* Bits from a text like "1101". */
static inline uint8_t *bits_of(const char *text)
{
    const size_t n = strlen(text);
    uint8_t *bits = calloc(1, (n + 7) / 8 + 1);

    CHECK(bits != NULL);
    for (size_t i = 0; i < n; i++)
        if (text[i] == '1')
            bits[i / 8] |= (uint8_t)(1u << i % 8);
    return bits;
}

static inline struct column *bools(const char *name, const char *text)
{
    struct column *column = column_of("b", name, (int64_t)strlen(text), 2);

    column->buffers[1] = bits_of(text);
    return column;
}

/* Which values are there, as bits; null_count as told, so that it may be -1 or a lie. */
static inline struct column *with_nulls(struct column *column, const char *valid, int64_t null_count)
{
    column->buffers[0] = bits_of(valid);
    column->null_count = null_count;
    return column;
}

/* format "u", "U" or "vu". Texts of more than 12 bytes of a view lie in two buffers, in turn. */
static inline struct column *texts(const char *format, const char *name, int64_t n, const char *const *values)
{
    struct column *column = column_of(format, name, n, 3);
    size_t total = 0;
    char *bytes;

    for (int64_t i = 0; i < n; i++)
        total += strlen(values[i]);
    bytes = malloc(total > 0 ? total : 1);
    if (format[0] == 'v') {
        char *views = calloc((size_t)n, 16), *pieces[2] = {malloc(total + 1), malloc(total + 1)};
        int64_t used[2] = {0, 0};

        for (int64_t i = 0; i < n; i++) {
            const int32_t length = (int32_t)strlen(values[i]), piece = (int32_t)(i % 2);

            memcpy(views + 16 * i, &length, 4);
            memcpy(views + 16 * i + 4, values[i], length <= 12 ? (size_t)length : 4);
            if (length > 12) {
                const int32_t offset = (int32_t)used[piece];

                memcpy(views + 16 * i + 8, &piece, 4);
                memcpy(views + 16 * i + 12, &offset, 4);
                memcpy(pieces[piece] + offset, values[i], (size_t)length);
                used[piece] += length;
            }
        }
        free(bytes);
        column->n_buffers = 5;
        column->buffers[1] = views;
        column->buffers[2] = pieces[0];
        column->buffers[3] = pieces[1];
        column->buffers[4] = exact(used, sizeof used);
        return column;
    }
    column->buffers[1] = malloc((size_t)(n + 1) * 8);
    column->buffers[2] = bytes;
    total = 0;
    for (int64_t i = 0; i <= n; i++) {
        if (format[0] == 'u')
            ((int32_t *)column->buffers[1])[i] = (int32_t)total;
        else
            ((int64_t *)column->buffers[1])[i] = (int64_t)total;
        if (i < n) {
            memcpy(bytes + total, values[i], strlen(values[i]));
            total += strlen(values[i]);
        }
    }
    return column;
}

/* format "+l" or "+L": list i has items offsets[i] .. offsets[i + 1]. */
static inline struct column *lists(const char *format, const char *name, int64_t n, const int64_t *offsets,
                                   struct column *items)
{
    struct column *column = column_of(format, name, n, 2);

    column->child = items;
    column->buffers[1] = malloc((size_t)(n + 1) * (format[1] == 'l' ? 4 : 8));
    for (int64_t i = 0; i <= n; i++)
        if (format[1] == 'l')
            ((int32_t *)column->buffers[1])[i] = (int32_t)offsets[i];
        else
            ((int64_t *)column->buffers[1])[i] = offsets[i];
    return column;
}

static inline struct column *fixed_lists(const char *format, const char *name, int64_t n,
                                         struct column *items)
{
    struct column *column = column_of(format, name, n, 1);

    column->child = items;
    return column;
}

static inline struct column *dictionary(struct column *indices, struct column *words)
{
    indices->dictionary = words;
    return indices;
}

static inline void column_free(struct column *column)
{
    if (!column)
        return;
    for (int b = 0; b < 8; b++)
        free(column->buffers[b]);
    column_free(column->child);
    column_free(column->dictionary);
    free(column);
}

static inline void table_add(struct table *table, struct column *column)
{
    CHECK(table->n_columns < COLUMNS_MAX);
    table->columns[table->n_columns++] = column;
    table->n_rows = column->length;
}

static inline void table_free(struct table *table)
{
    for (int64_t c = 0; c < table->n_columns; c++)
        column_free(table->columns[c]);
    free(table->valid);
    *table = (struct table){0};
}

/* ---- exporting */

static inline void schema_release(struct ArrowSchema *schema)
{
    for (int64_t c = 0; c < schema->n_children; c++) {
        if (schema->children[c]->release)
            schema->children[c]->release(schema->children[c]);
        free(schema->children[c]);
    }
    free(schema->children);
    if (schema->dictionary) {
        schema->dictionary->release(schema->dictionary);
        free(schema->dictionary);
    }
    CHECK(live_schemas-- > 0);
    schema->release = NULL;
}

static inline void schema_of(const struct column *column, struct ArrowSchema *out)
{
    *out = (struct ArrowSchema){.format = column->format,
                                .name = column->name,
                                .flags = ARROW_FLAG_NULLABLE,
                                .n_children = column->child ? 1 : 0,
                                .release = schema_release};
    live_schemas++;
    if (column->child) {
        out->children = malloc(sizeof *out->children);
        out->children[0] = malloc(sizeof **out->children);
        schema_of(column->child, out->children[0]);
    }
    if (column->dictionary) {
        out->dictionary = malloc(sizeof *out->dictionary);
        schema_of(column->dictionary, out->dictionary);
    }
}

static inline void array_release(struct ArrowArray *array)
{
    for (int64_t c = 0; c < array->n_children; c++) {
        if (array->children[c]->release)
            array->children[c]->release(array->children[c]);
        free(array->children[c]);
    }
    free(array->children);
    free(array->buffers);
    if (array->dictionary) {
        array->dictionary->release(array->dictionary);
        free(array->dictionary);
    }
    CHECK(live_arrays-- > 0);
    array->release = NULL;
}

static inline void array_of(const struct column *column, int64_t begin, int64_t n, struct ArrowArray *out)
{
    *out = (struct ArrowArray){.length = n,
                               .null_count = column->null_count,
                               .offset = begin,
                               .n_buffers = column->n_buffers,
                               .n_children = column->child ? 1 : 0,
                               .buffers = malloc(sizeof(void *) * 8),
                               .release = array_release};
    live_arrays++;
    memcpy(out->buffers, column->buffers, sizeof column->buffers);
    if (column->child) {
        out->children = malloc(sizeof *out->children);
        out->children[0] = malloc(sizeof **out->children);
        array_of(column->child, 0, column->child->length, out->children[0]);
    }
    if (column->dictionary) {
        out->dictionary = malloc(sizeof *out->dictionary);
        array_of(column->dictionary, 0, column->dictionary->length, out->dictionary);
    }
}

/* How a table goes out. */
struct producer {
    const struct table *table;
    int64_t chunks[CHUNKS_MAX]; /* rows of the batches in turn, EMPTY: none; at 0 the one before repeats */
    bool offset_in_root;        /* slices by the offset of the struct, not of its columns */
    int fails_with, fails_at;   /* errno from get_next number fails_at (from 1); 0 is get_schema */
    const char *error;
    int64_t row;
    int calls, n_calls_after_end;
};

static inline int get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out)
{
    const struct producer *producer = stream->private_data;
    const struct table *table = producer->table;

    if (producer->fails_with && producer->fails_at == 0)
        return producer->fails_with;
    *out = (struct ArrowSchema){.format = "+s", .n_children = table->n_columns, .release = schema_release};
    live_schemas++;
    out->children = malloc(sizeof *out->children * (size_t)table->n_columns);
    for (int64_t c = 0; c < table->n_columns; c++) {
        out->children[c] = malloc(sizeof **out->children);
        schema_of(table->columns[c], out->children[c]);
    }
    return 0;
}

static inline int64_t next_chunk(const struct producer *producer, int call)
{
    int at = 0;

    while (at < call && at + 1 < CHUNKS_MAX && producer->chunks[at + 1] != 0)
        at++;
    return producer->chunks[at] == EMPTY ? 0 : producer->chunks[at];
}

static inline int get_next(struct ArrowArrayStream *stream, struct ArrowArray *out)
{
    struct producer *producer = stream->private_data;
    const struct table *table = producer->table;
    const int64_t rest = table->n_rows - producer->row, begin = producer->row;
    int64_t n = next_chunk(producer, producer->calls);

    if (++producer->calls == producer->fails_at && producer->fails_with)
        return producer->fails_with;
    *out = (struct ArrowArray){0};
    if (rest == 0) {
        CHECK_INT(0, producer->n_calls_after_end++);
        return 0;
    }
    n = n < rest ? n : rest;
    *out = (struct ArrowArray){.length = n,
                               .null_count = table->valid ? -1 : 0,
                               .offset = producer->offset_in_root ? begin : 0,
                               .n_buffers = 1,
                               .n_children = table->n_columns,
                               .buffers = calloc(1, sizeof(void *)),
                               .release = array_release};
    live_arrays++;
    CHECK(!table->valid || producer->offset_in_root);
    out->buffers[0] = table->valid;
    out->children = malloc(sizeof *out->children * (size_t)table->n_columns);
    for (int64_t c = 0; c < table->n_columns; c++) {
        out->children[c] = malloc(sizeof **out->children);
        if (producer->offset_in_root)
            array_of(table->columns[c], 0, begin + n, out->children[c]);
        else
            array_of(table->columns[c], begin, n, out->children[c]);
        if (table->lies_about_length)
            out->children[c]->length = -3;
    }
    producer->row += n;
    return 0;
}

static inline const char *get_last_error(struct ArrowArrayStream *stream)
{
    return ((const struct producer *)stream->private_data)->error;
}

static inline void stream_release(struct ArrowArrayStream *stream)
{
    CHECK(live_streams-- > 0);
    stream->release = NULL;
}

static inline struct ArrowArrayStream stream_of(struct producer *producer)
{
    live_streams++;
    return (struct ArrowArrayStream){get_schema, get_next, get_last_error, stream_release, producer};
}

#endif
