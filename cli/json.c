/* json.c — indented JSON on an output.
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>

#include "output.h"

/* Bytes of the UTF-8 character at text; 0: it is none. */
static int character_at(const char *text)
{
    const unsigned char first = (unsigned char)text[0], second = (unsigned char)text[1];
    const int length = first < 0x80   ? 1
                       : first < 0xc2 ? 0
                       : first < 0xe0 ? 2
                       : first < 0xf0 ? 3
                       : first < 0xf5 ? 4
                                      : 0;
    const bool outside = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
                         (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
    for (int i = 1; i < length; i++)
        if (((unsigned char)text[i] & 0xc0) != 0x80)
            return 0;
    return outside ? 0 : length;
}

/* Names of files may be any bytes: those that are no UTF-8 become U+FFFD, so that it stays JSON. */
static void quoted(struct json *json, const char *text)
{
    output_puts(json->output, "\"");
    for (const char *c = text; *c;) {
        const int length = character_at(c);
        if (*c == '"' || *c == '\\')
            output_printf(json->output, "\\%c", *c);
        else if ((unsigned char)*c < 0x20 || *c == 0x7f)
            output_printf(json->output, "\\u%04x", (unsigned)(unsigned char)*c);
        else if (length == 0)
            output_puts(json->output, "\\ufffd");
        else
            output_bytes(json->output, c, (size_t)length);
        c += length > 0 ? length : 1;
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
