/* json.h — strict JSON (RFC 8259): a writer, and a reader that never recurses and bounds what it takes.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BASE_JSON_H
#define FKMI_BASE_JSON_H

#include <stdbool.h>

#include "base/error.h"

/* ---- reader: a flat array of nodes in document order */
enum fkmi_json_kind {
    FKMI_JSON_NULL,
    FKMI_JSON_BOOL,
    FKMI_JSON_NUMBER,
    FKMI_JSON_STRING,
    FKMI_JSON_ARRAY,
    FKMI_JSON_OBJECT
};
struct fkmi_json_node {
    enum fkmi_json_kind kind;
    const char *key;    /* member name inside an object, else NULL; unescaped, zero-terminated */
    const char *text;   /* STRING: unescaped, zero-terminated; NUMBER: as written */
    double number;      /* NUMBER */
    bool boolean;       /* BOOL */
    int32_t n_children; /* ARRAY, OBJECT */
    int32_t end;        /* index one past the node's last descendant: its next sibling */
};
struct fkmi_json {
    struct fkmi_json_node *nodes; /* nodes[0] is the document */
    int32_t n_nodes;
    char *text; /* the unescaped strings */
};
/* FKM_EDATA with the byte offset for anything that is not one strict JSON value: trailing text, duplicate member
 * names, invalid UTF-8, control characters, lone surrogates, embedded zeros, depth > 16, more than max_nodes. */
fkm_status fkmi_json_parse(struct fkmi_json *json, const char *text, size_t length, int32_t max_nodes);
void fkmi_json_free(struct fkmi_json *json); /* zeroes it; a zeroed json is fine */
/* The member, or NULL. object is a node of json. */
const struct fkmi_json_node *fkmi_json_member(const struct fkmi_json *json,
                                              const struct fkmi_json_node *object, const char *key);
bool fkmi_json_int64(const struct fkmi_json_node *node, int64_t *out);

/* ---- writer */
struct fkmi_json_writer {
    char *text; /* zero-terminated */
    size_t length, capacity;
    fkm_status status; /* the first failure; later calls do nothing */
    bool comma;
};
void fkmi_json_begin(struct fkmi_json_writer *writer, const char *key,
                     char bracket);                                /* '{' or '['; key NULL in arrays */
void fkmi_json_end(struct fkmi_json_writer *writer, char bracket); /* '}' or ']' */
void fkmi_json_string(struct fkmi_json_writer *writer, const char *key,
                      const char *value);                                              /* value NULL: null */
void fkmi_json_double(struct fkmi_json_writer *writer, const char *key, double value); /* NaN, inf: null */
void fkmi_json_integer(struct fkmi_json_writer *writer, const char *key, int64_t value);
void fkmi_json_boolean(struct fkmi_json_writer *writer, const char *key, bool value);
void fkmi_json_writer_free(struct fkmi_json_writer *writer);

#endif
