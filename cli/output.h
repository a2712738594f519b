/* output.h — results: to stdout, or to a file that appears whole or not at all.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_CLI_OUTPUT_H
#define FKM_CLI_OUTPUT_H

#include <stdio.h>

#include "text.h"

struct output {
    FILE *file;
    char *path, *partial; /* NULL: written directly (stdout, a device, a pipe) */
    const char *name;     /* for messages */
    int error;            /* first errno met; 0: none */
};
/* path NULL or "-" is stdout. */
int output_open(struct output *output, const char *path);
/* Whether a file at path could be created: asked before long work starts. */
int output_possible(const char *path);

void output_puts(struct output *output, const char *text);
void output_bytes(struct output *output, const void *bytes, size_t size);
void output_printf(struct output *output, const char *format, ...) PRINTF_LIKE(2, 3);
/* One CSV field, quoted when it must be; `first` says whether a separator goes in front. */
void output_field(struct output *output, const char *text, bool first, char separator);
void output_real(struct output *output, double value, bool first, char separator);
void output_float(struct output *output, float value, bool first, char separator);
void output_int(struct output *output, int64_t value, bool first, char separator);

/* EXIT_FINE, EXIT_IO (said), or EXIT_CLOSED (nobody reads any more: stop quietly). */
int output_check(struct output *output);
/* Flushes, syncs, renames; what failed on the way is an error here at the latest. */
int output_close(struct output *output);
/* Leaves nothing behind; does nothing when closed. */
void output_abandon(struct output *output);

/* ---- json.c: indented JSON; key is NULL in arrays; what is not finite is null */
struct json {
    struct output *output;
    int depth;
    bool empty;
};
void json_open(struct json *json, const char *key, char bracket); /* '{' or '[' */
void json_close(struct json *json, char bracket);
void json_text(struct json *json, const char *key, const char *value); /* NULL: null */
void json_real(struct json *json, const char *key, double value);
void json_int(struct json *json, const char *key, int64_t value);
void json_bool(struct json *json, const char *key, bool value);

#endif
