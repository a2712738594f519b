/* json.c — indented JSON on an output.
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>

#include "output.h"

static void quoted(struct json *json, const char *text)
{
    output_puts(json->output, "\"");
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\')
            output_printf(json->output, "\\%c", *c);
        else if ((unsigned char)*c < 0x20 || *c == 0x7f)
            output_printf(json->output, "\\u%04x", (unsigned)(unsigned char)*c);
        else
            output_bytes(json->output, c, 1);
    }
    output_puts(json->output, "\"");
}

static void new_line(struct json *json) { output_printf(json->output, "\n%*s", 2 * json->depth, ""); }

static void begin(struct json *json, const char *key)
{
    if (json->depth > 0) {
        if (!json->empty)
            output_puts(json->output, ",");
        new_line(json);
    }
    json->empty = false;
    if (key) {
        quoted(json, key);
        output_puts(json->output, ": ");
    }
}

void json_open(struct json *json, const char *key, char bracket)
{
    begin(json, key);
    output_bytes(json->output, &bracket, 1);
    json->depth++;
    json->empty = true;
}

void json_close(struct json *json, char bracket)
{
    json->depth--;
    if (!json->empty)
        new_line(json);
    json->empty = false;
    output_bytes(json->output, &bracket, 1);
    if (json->depth == 0)
        output_puts(json->output, "\n");
}

void json_text(struct json *json, const char *key, const char *value)
{
    begin(json, key);
    if (value)
        quoted(json, value);
    else
        output_puts(json->output, "null");
}

void json_real(struct json *json, const char *key, double value)
{
    char number[NUMBER_BYTES];
    begin(json, key);
    output_puts(json->output, isfinite(value) ? number_text(number, value) : "null");
}

void json_int(struct json *json, const char *key, int64_t value)
{
    begin(json, key);
    output_printf(json->output, "%" PRId64, value);
}

void json_bool(struct json *json, const char *key, bool value)
{
    begin(json, key);
    output_puts(json->output, value ? "true" : "false");
}
