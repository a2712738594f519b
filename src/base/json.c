/* json.c — strict JSON (RFC 8259): a reader without recursion, and a writer.
 *
 * The reader makes one pass: nodes in document order, a stack of open arrays and objects no deeper than
 * MOST_DEPTH, and one buffer for all strings, which cannot be longer than the document. Names that occur
 * twice in an object are found at the end by sorting, so a hostile document costs no quadratic time.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/number.h"

#define MOST_DEPTH 16

/* What the reader remembers of a node until the end. */
struct json_origin {
    size_t at; /* byte where its name, or else its value, begins */
    int32_t parent;
};

struct json_reader {
    const char *text;
    size_t length, at;
    struct fkmi_json *json;
    struct json_origin *origins; /* beside json->nodes */
    int32_t n_allocated, max_nodes;
    char *free_text; /* the next byte of json->text */
    int32_t open[MOST_DEPTH];
    int depth;
};

/* ---- UTF-8 (RFC 3629) */

static bool continues(const unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((bytes[i] & 0xc0) != 0x80)
            return false;
    return true;
}

/* Bytes of the well-formed character at text[0 .. length), 0 when there is none. */
static size_t character_bytes(const char *text, size_t length)
{
    const unsigned char *bytes = (const unsigned char *)text;
    const unsigned char first = bytes[0];

    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        return length >= 2 && continues(bytes + 1, 1) ? 2 : 0;
    if (first >= 0xe0 && first <= 0xef) {
        if (length < 3 || !continues(bytes + 1, 2))
            return 0;
        if ((first == 0xe0 && bytes[1] < 0xa0) ||
            (first == 0xed && bytes[1] > 0x9f)) /* overlong; surrogate */
            return 0;
        return 3;
    }
    if (first >= 0xf0 && first <= 0xf4) {
        if (length < 4 || !continues(bytes + 1, 3))
            return 0;
        if ((first == 0xf0 && bytes[1] < 0x90) ||
            (first == 0xf4 && bytes[1] > 0x8f)) /* overlong; > U+10FFFF */
            return 0;
        return 4;
    }
    return 0;
}

static char *put_character(char *to, uint32_t point)
{
    if (point < 0x80)
        *to++ = (char)point;
    else if (point < 0x800) {
        *to++ = (char)(0xc0 | point >> 6);
        *to++ = (char)(0x80 | (point & 0x3f));
    } else if (point < 0x10000) {
        *to++ = (char)(0xe0 | point >> 12);
        *to++ = (char)(0x80 | (point >> 6 & 0x3f));
        *to++ = (char)(0x80 | (point & 0x3f));
    } else {
        *to++ = (char)(0xf0 | point >> 18);
        *to++ = (char)(0x80 | (point >> 12 & 0x3f));
        *to++ = (char)(0x80 | (point >> 6 & 0x3f));
        *to++ = (char)(0x80 | (point & 0x3f));
    }
    return to;
}

/* ---- reader: words */

static fkm_status refuse(size_t at, const char *what)
{
    return fkmi_fail(FKM_EDATA, "JSON, byte %zu: %s", at, what);
}

/* The byte at the reading position, or -1 at the end. */
static int peek(const struct json_reader *reader)
{
    return reader->at < reader->length ? (unsigned char)reader->text[reader->at] : -1;
}

static void skip_space(struct json_reader *reader)
{
    int c = peek(reader);

    while (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        reader->at++;
        c = peek(reader);
    }
}

static bool read_four_hex(struct json_reader *reader, uint32_t *out)
{
    uint32_t value = 0;

    if (reader->length - reader->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        const char c = reader->text[reader->at + (size_t)i];
        uint32_t digit;

        if (c >= '0' && c <= '9')
            digit = (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (uint32_t)(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F')
            digit = (uint32_t)(c - 'A') + 10;
        else
            return false;
        value = value << 4 | digit;
    }
    reader->at += 4;
    *out = value;
    return true;
}

/* Behind "\u". A pair of surrogates takes twelve bytes of text and gives four. */
static fkm_status read_code_point(struct json_reader *reader)
{
    const size_t began = reader->at - 2;
    uint32_t point, low;

    if (!read_four_hex(reader, &point))
        return refuse(began, "\\u needs four hexadecimal digits");
    if (point == 0)
        return refuse(began, "a string holds a zero");
    if (point >= 0xdc00 && point <= 0xdfff)
        return refuse(began, "lone surrogate");
    if (point >= 0xd800 && point <= 0xdbff) {
        if (reader->length - reader->at < 2 || memcmp(reader->text + reader->at, "\\u", 2) != 0)
            return refuse(began, "lone surrogate");
        reader->at += 2;
        if (!read_four_hex(reader, &low) || low < 0xdc00 || low > 0xdfff)
            return refuse(began, "lone surrogate");
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    }
    reader->free_text = put_character(reader->free_text, point);
    return FKM_OK;
}

static fkm_status read_escape(struct json_reader *reader)
{
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const int c = peek(reader);
    const char *name;

    if (c == 'u') {
        reader->at++;
        return read_code_point(reader);
    }
    name = c > 0 ? strchr(names, c) : NULL;
    if (!name)
        return refuse(reader->at, "unknown escape");
    *reader->free_text++ = meanings[name - names];
    reader->at++;
    return FKM_OK;
}

static fkm_status read_string(struct json_reader *reader, const char **out)
{
    const size_t began = reader->at++;

    *out = reader->free_text;
    for (;;) {
        const int c = peek(reader);
        size_t bytes;

        if (c < 0)
            return refuse(began, "string without an end");
        if (c == '"')
            break;
        if (c < 0x20)
            return refuse(reader->at, "control character in a string");
        if (c == '\\') {
            reader->at++;
            FKMI_TRY(read_escape(reader));
            continue;
        }
        bytes = character_bytes(reader->text + reader->at, reader->length - reader->at);
        if (bytes == 0)
            return refuse(reader->at, "invalid UTF-8");
        memcpy(reader->free_text, reader->text + reader->at, bytes);
        reader->free_text += bytes;
        reader->at += bytes;
    }
    reader->at++;
    *reader->free_text++ = '\0';
    return FKM_OK;
}

static size_t skip_digits(struct json_reader *reader)
{
    const size_t began = reader->at;

    while (peek(reader) >= '0' && peek(reader) <= '9')
        reader->at++;
    return reader->at - began;
}

static fkm_status read_number(struct json_reader *reader, struct fkmi_json_node *node)
{
    const size_t began = reader->at;
    size_t length;

    if (peek(reader) == '-')
        reader->at++;
    if (peek(reader) == '0')
        reader->at++;
    else if (skip_digits(reader) == 0)
        return refuse(began, "a value was expected");
    if (peek(reader) == '.') {
        reader->at++;
        if (skip_digits(reader) == 0)
            return refuse(reader->at, "a digit was expected");
    }
    if (peek(reader) == 'e' || peek(reader) == 'E') {
        reader->at++;
        if (peek(reader) == '+' || peek(reader) == '-')
            reader->at++;
        if (skip_digits(reader) == 0)
            return refuse(reader->at, "a digit was expected");
    }
    length = reader->at - began;
    if (!fkmi_parse_double(reader->text + began, length, &node->number))
        return refuse(began, "number out of range");
    node->kind = FKMI_JSON_NUMBER;
    node->text = reader->free_text;
    memcpy(reader->free_text, reader->text + began, length);
    reader->free_text[length] = '\0';
    reader->free_text += length + 1;
    return FKM_OK;
}

static bool read_word(struct json_reader *reader, const char *word)
{
    const size_t length = strlen(word);

    if (reader->length - reader->at < length || memcmp(reader->text + reader->at, word, length) != 0)
        return false;
    reader->at += length;
    return true;
}

/* ---- reader: structure */

static fkm_status add_node(struct json_reader *reader, const char *key, size_t at)
{
    struct fkmi_json *json = reader->json;
    const int32_t index = json->n_nodes;
    const int32_t parent = reader->depth > 0 ? reader->open[reader->depth - 1] : -1;

    if (index == reader->max_nodes)
        return fkmi_fail(FKM_EDATA, "JSON, byte %zu: more than %d values", at, reader->max_nodes);
    if (index == reader->n_allocated) {
        const int32_t half = index / 2, room = reader->max_nodes - index;
        const int32_t more = half < 16 ? 16 : half, grown = index + (more < room ? more : room);

        FKMI_TRY(fkmi_resize(&json->nodes, grown, sizeof *json->nodes));
        FKMI_TRY(fkmi_resize(&reader->origins, grown, sizeof *reader->origins));
        reader->n_allocated = grown;
    }
    json->nodes[index] = (struct fkmi_json_node){.key = key, .end = index + 1};
    reader->origins[index] = (struct json_origin){.at = at, .parent = parent};
    if (parent >= 0)
        json->nodes[parent].n_children++;
    json->n_nodes++;
    return FKM_OK;
}

/* A value begins here; an array or object is left open. */
static fkm_status read_value(struct json_reader *reader, const char *key, size_t named_at)
{
    const int32_t index = reader->json->n_nodes;
    struct fkmi_json_node *node;
    const int c = peek(reader);

    FKMI_TRY(add_node(reader, key, key ? named_at : reader->at));
    node = &reader->json->nodes[index];
    switch (c) {
    case '{':
    case '[':
        if (reader->depth == MOST_DEPTH)
            return refuse(reader->at, "nested too deeply");
        node->kind = c == '{' ? FKMI_JSON_OBJECT : FKMI_JSON_ARRAY;
        reader->open[reader->depth++] = index;
        reader->at++;
        return FKM_OK;
    case '"':
        node->kind = FKMI_JSON_STRING;
        return read_string(reader, &node->text);
    case 't':
    case 'f':
        node->kind = FKMI_JSON_BOOL;
        node->boolean = c == 't';
        return read_word(reader, c == 't' ? "true" : "false") ? FKM_OK
                                                              : refuse(reader->at, "a value was expected");
    case 'n':
        node->kind = FKMI_JSON_NULL;
        return read_word(reader, "null") ? FKM_OK : refuse(reader->at, "a value was expected");
    default:
        return read_number(reader, node);
    }
}

static fkm_status read_member(struct json_reader *reader)
{
    const size_t named_at = reader->at;
    const char *key;

    if (peek(reader) != '"')
        return refuse(reader->at, "a member name was expected");
    FKMI_TRY(read_string(reader, &key));
    skip_space(reader);
    if (peek(reader) != ':')
        return refuse(reader->at, "':' was expected");
    reader->at++;
    skip_space(reader);
    return read_value(reader, key, named_at);
}

/* One step inside the innermost open array or object: its end, or its next child. */
static fkm_status read_child(struct json_reader *reader)
{
    const int32_t parent = reader->open[reader->depth - 1];
    struct fkmi_json_node *node = &reader->json->nodes[parent];
    const bool in_object = node->kind == FKMI_JSON_OBJECT;

    skip_space(reader);
    if (peek(reader) == (in_object ? '}' : ']')) {
        reader->at++;
        reader->depth--;
        node->end = reader->json->n_nodes;
        return FKM_OK;
    }
    if (node->n_children > 0) {
        if (peek(reader) != ',')
            return refuse(reader->at, in_object ? "',' or '}' was expected" : "',' or ']' was expected");
        reader->at++;
        skip_space(reader);
    }
    return in_object ? read_member(reader) : read_value(reader, NULL, 0);
}

/* ---- reader: names that occur twice */

static int compare_members(const struct json_reader *reader, int32_t a, int32_t b)
{
    const int32_t parent_a = reader->origins[a].parent, parent_b = reader->origins[b].parent;
    int order;

    if (parent_a != parent_b)
        return parent_a < parent_b ? -1 : 1;
    order = strcmp(reader->json->nodes[a].key, reader->json->nodes[b].key);
    return order ? order : (a > b) - (a < b);
}

static void sift_down(const struct json_reader *reader, int32_t *heap, int32_t n, int32_t at)
{
    for (int32_t child; (child = 2 * at + 1) < n; at = child) {
        const int32_t item = heap[at];

        if (child + 1 < n && compare_members(reader, heap[child], heap[child + 1]) < 0)
            child++;
        if (compare_members(reader, item, heap[child]) >= 0)
            return;
        heap[at] = heap[child];
        heap[child] = item;
    }
}

static void heap_sort(const struct json_reader *reader, int32_t *items, int32_t n)
{
    for (int32_t at = n / 2 - 1; at >= 0; at--)
        sift_down(reader, items, n, at);
    for (int32_t last = n - 1; last > 0; last--) {
        const int32_t item = items[0];

        items[0] = items[last];
        items[last] = item;
        sift_down(reader, items, last, 0);
    }
}

static fkm_status refuse_duplicates(const struct json_reader *reader)
{
    const struct fkmi_json *json = reader->json;
    int32_t *members, n = 0;
    fkm_status status;

    FKMI_TRY(fkmi_alloc(&members, json->n_nodes, sizeof *members));
    for (int32_t i = 0; i < json->n_nodes; i++)
        if (json->nodes[i].key)
            members[n++] = i;
    heap_sort(reader, members, n);
    status = FKM_OK;
    for (int32_t i = 1; i < n && status == FKM_OK; i++) {
        const int32_t a = members[i - 1], b = members[i];

        if (reader->origins[a].parent == reader->origins[b].parent &&
            strcmp(json->nodes[a].key, json->nodes[b].key) == 0)
            status = fkmi_fail(FKM_EDATA, "JSON, byte %zu: member '%.64s' occurs twice",
                               reader->origins[b].at, json->nodes[b].key);
    }
    fkmi_free(members);
    return status;
}

/* ---- reader: entry points */

fkm_status fkmi_json_parse(struct fkmi_json *json, const char *text, size_t length, int32_t max_nodes)
{
    struct json_reader reader = {.text = text, .length = length, .json = json, .max_nodes = max_nodes};
    fkm_status status = FKM_OK;

    *json = (struct fkmi_json){0};
    if (length >= (size_t)PTRDIFF_MAX)
        FKMI_TRY_GOTO(fkmi_fail(FKM_EDATA, "JSON: %zu bytes are too many", length));
    /* Without its quotes a string leaves room for its zero, a number takes that of what follows it. */
    FKMI_TRY_GOTO(fkmi_alloc(&json->text, (int64_t)length + 1, 1));
    reader.free_text = json->text;
    skip_space(&reader);
    FKMI_TRY_GOTO(read_value(&reader, NULL, 0));
    while (reader.depth > 0)
        FKMI_TRY_GOTO(read_child(&reader));
    skip_space(&reader);
    if (reader.at < reader.length)
        FKMI_TRY_GOTO(refuse(reader.at, "text behind the value"));
    FKMI_TRY_GOTO(refuse_duplicates(&reader));
done:
    fkmi_free(reader.origins);
    if (status != FKM_OK)
        fkmi_json_free(json);
    return status;
}

void fkmi_json_free(struct fkmi_json *json)
{
    fkmi_free(json->nodes);
    fkmi_free(json->text);
    *json = (struct fkmi_json){0};
}

const struct fkmi_json_node *fkmi_json_member(const struct fkmi_json *json,
                                              const struct fkmi_json_node *object, const char *key)
{
    const int32_t index = (int32_t)(object - json->nodes);

    if (object->kind != FKMI_JSON_OBJECT)
        return NULL;
    for (int32_t child = index + 1; child < object->end; child = json->nodes[child].end)
        if (strcmp(json->nodes[child].key, key) == 0)
            return &json->nodes[child];
    return NULL;
}

bool fkmi_json_int64(const struct fkmi_json_node *node, int64_t *out)
{
    return node && node->kind == FKMI_JSON_NUMBER && fkmi_parse_int64(node->text, strlen(node->text), out);
}

/* ---- writer */

static void put(struct fkmi_json_writer *writer, const char *text, size_t length)
{
    if (writer->status != FKM_OK)
        return;
    if (length >= writer->capacity - writer->length) { /* one byte stays for the zero */
        const size_t needed = writer->length + length + 1, doubled = 2 * writer->capacity;
        const size_t grown = needed > doubled ? (needed > 256 ? needed : 256) : doubled;

        writer->status = fkmi_resize(&writer->text, (int64_t)grown, 1);
        if (writer->status != FKM_OK)
            return;
        writer->capacity = grown;
    }
    memcpy(writer->text + writer->length, text, length);
    writer->length += length;
    writer->text[writer->length] = '\0';
}

static void put_text(struct fkmi_json_writer *writer, const char *text) { put(writer, text, strlen(text)); }

static void put_escaped(struct fkmi_json_writer *writer, const char *value)
{
    size_t left = strlen(value);

    put_text(writer, "\"");
    while (left > 0 && writer->status == FKM_OK) {
        size_t plain = 0;

        while (plain < left && value[plain] != '"' && value[plain] != '\\' &&
               (unsigned char)value[plain] >= 0x20) {
            const size_t bytes = character_bytes(value + plain, left - plain);

            if (bytes == 0) {
                writer->status = fkmi_fail(FKM_EINVAL, "'%.64s' is not UTF-8", value);
                return;
            }
            plain += bytes;
        }
        put(writer, value, plain);
        value += plain;
        left -= plain;
        if (left > 0) {
            char escape[8];

            if (*value == '"' || *value == '\\')
                snprintf(escape, sizeof escape, "\\%c", *value);
            else
                snprintf(escape, sizeof escape, "\\u%04x", (unsigned)(unsigned char)*value);
            put_text(writer, escape);
            value++;
            left--;
        }
    }
    put_text(writer, "\"");
}

static void put_key(struct fkmi_json_writer *writer, const char *key)
{
    if (writer->comma)
        put_text(writer, ",");
    writer->comma = true;
    if (key) {
        put_escaped(writer, key);
        put_text(writer, ":");
    }
}

void fkmi_json_begin(struct fkmi_json_writer *writer, const char *key, char bracket)
{
    assert(bracket == '{' || bracket == '[');
    put_key(writer, key);
    put(writer, &bracket, 1);
    writer->comma = false;
}

void fkmi_json_end(struct fkmi_json_writer *writer, char bracket)
{
    assert(bracket == '}' || bracket == ']');
    put(writer, &bracket, 1);
    writer->comma = true;
}

void fkmi_json_string(struct fkmi_json_writer *writer, const char *key, const char *value)
{
    put_key(writer, key);
    if (value)
        put_escaped(writer, value);
    else
        put_text(writer, "null");
}

void fkmi_json_double(struct fkmi_json_writer *writer, const char *key, double value)
{
    char text[32];

    put_key(writer, key);
    fkmi_print_double(text, value);
    put_text(writer, isfinite(value) ? text : "null");
}

void fkmi_json_integer(struct fkmi_json_writer *writer, const char *key, int64_t value)
{
    char text[32];

    put_key(writer, key);
    snprintf(text, sizeof text, "%lld", (long long)value);
    put_text(writer, text);
}

void fkmi_json_boolean(struct fkmi_json_writer *writer, const char *key, bool value)
{
    put_key(writer, key);
    put_text(writer, value ? "true" : "false");
}

void fkmi_json_writer_free(struct fkmi_json_writer *writer)
{
    fkmi_free(writer->text);
    *writer = (struct fkmi_json_writer){0};
}
