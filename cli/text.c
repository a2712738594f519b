/* text.c — memory that is always there, growing text, lists of names, and numbers as text.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exits.h"

/* ---- memory */

static _Noreturn void no_memory(size_t count, size_t size)
{
    fprintf(stderr,
            "fkm: out of memory: %.0f bytes were refused (fkm fit --stream needs no more than a batch)\n",
            (double)count * (double)size);
    exit(EXIT_OTHER);
}

void *need(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        no_memory(count, size);
    return memory;
}

void *need_more(void *memory, size_t count, size_t size)
{
    void *moved = NULL;
    if (count <= SIZE_MAX / size)
        moved = realloc(memory, count ? count * size : 1);
    if (!moved)
        no_memory(count, size);
    return moved;
}

void *need_room(void *memory, int64_t *capacity, int64_t wanted, size_t size)
{
    if (wanted <= *capacity && memory)
        return memory;
    int64_t larger = *capacity + *capacity / 2;
    if (larger < wanted)
        larger = wanted;
    if (larger < 16)
        larger = 16;
    memory = need_more(memory, (size_t)larger, size);
    *capacity = larger;
    return memory;
}

char *need_copy(const char *text)
{
    const size_t size = strlen(text) + 1;
    return memcpy(need(size, 1), text, size);
}

/* ---- growing text */

void text_add(struct text *text, const char *part, size_t length)
{
    if (text->length + length + 1 > text->capacity) {
        text->capacity = 2 * (text->length + length) + 32;
        text->bytes = need_more(text->bytes, text->capacity, 1);
    }
    memcpy(text->bytes + text->length, part, length);
    text->length += length;
    text->bytes[text->length] = '\0';
}

void text_puts(struct text *text, const char *part) { text_add(text, part, strlen(part)); }

void text_printf(struct text *text, const char *format, ...)
{
    char small[256];
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int length = vsnprintf(small, sizeof small, format, arguments);
    if (length >= 0 && (size_t)length < sizeof small) {
        text_add(text, small, (size_t)length);
    } else if (length > 0) {
        char *large = need((size_t)length + 1, 1);
        vsnprintf(large, (size_t)length + 1, format, again);
        text_add(text, large, (size_t)length);
        free(large);
    }
    va_end(again);
    va_end(arguments);
}

void text_free(struct text *text)
{
    free(text->bytes);
    *text = (struct text){0};
}

/* ---- lists of names */

void names_add(struct names *names, const char *name, size_t length)
{
    names->name = need_room(names->name, &names->capacity, names->n + 1, sizeof *names->name);
    char *copy = need(length + 1, 1);
    memcpy(copy, name, length);
    names->name[names->n++] = copy;
}

void names_from_lines(struct names *names, const char *lines)
{
    struct text name = {0};
    for (const char *c = lines; *c; c++) {
        if (*c == '\n') {
            names_add(names, name.bytes ? name.bytes : "", name.length);
            name.length = 0;
        } else if (*c == '\\' && c[1]) {
            c++;
            text_add(&name, *c == 'n' ? "\n" : *c == 'r' ? "\r" : c, 1);
        } else {
            text_add(&name, c, 1);
        }
    }
    if (name.length > 0)
        names_add(names, name.bytes, name.length);
    text_free(&name);
}

char *names_to_lines(const struct names *names)
{
    struct text lines = {0};
    text_puts(&lines, "");
    for (int64_t i = 0; i < names->n; i++) {
        text_puts(&lines, i > 0 ? "\n" : "");
        for (const char *c = names->name[i]; *c; c++) {
            if (*c == '\\' || *c == '\n' || *c == '\r')
                text_add(&lines, "\\", 1);
            text_add(&lines, *c == '\n' ? "n" : *c == '\r' ? "r" : c, 1);
        }
    }
    return lines.bytes;
}

void names_from_list(struct names *names, const char *list)
{
    while (*list) {
        const size_t length = strcspn(list, ",");
        names_add(names, list, length);
        list += length + (list[length] == ',');
    }
}

void names_free(struct names *names)
{
    for (int64_t i = 0; i < names->n; i++)
        free(names->name[i]);
    free(names->name);
    *names = (struct names){0};
}

/* ---- numbers */

const char *number_text(char text[NUMBER_BYTES], double value)
{
    text[0] = '\0';
    if (isnan(value))
        return text;
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, NUMBER_BYTES, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return text;
}

const char *number_text_float(char text[NUMBER_BYTES], float value)
{
    text[0] = '\0';
    if (isnan(value))
        return text;
    for (int digits = 5; digits <= 9; digits++) {
        snprintf(text, NUMBER_BYTES, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    return text;
}

const char *count_text(char text[NUMBER_BYTES], int64_t value)
{
    char digits[NUMBER_BYTES];
    snprintf(digits, sizeof digits, "%" PRId64, value < 0 ? -value : value);
    const size_t n = strlen(digits);
    size_t at = 0;
    if (value < 0)
        text[at++] = '-';
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

const char *size_text(char text[NUMBER_BYTES], double bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (bytes >= 1024 && unit < 4) {
        bytes /= 1024;
        unit++;
    }
    snprintf(text, NUMBER_BYTES, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return text;
}

bool parse_int(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno == ERANGE || strchr(" \t\n\r\v\f", *text))
        return false;
    *out = value;
    return true;
}

bool parse_real(const char *text, double *out)
{
    char *end;
    const double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value) || strpbrk(text, " \t\n\r\v\fxX"))
        return false;
    *out = value;
    return true;
}

bool parse_size(const char *text, size_t *out)
{
    static const char units[] = "KMGT";
    const size_t number_length = strspn(text, "0123456789.");
    char number[NUMBER_BYTES];
    double value;
    if (number_length == 0 || number_length >= sizeof number)
        return false;
    memcpy(number, text, number_length);
    number[number_length] = '\0';
    if (!parse_real(number, &value))
        return false;
    const char *rest = text + number_length;
    const char *unit = *rest ? strchr(units, *rest >= 'a' && *rest <= 'z' ? *rest - 32 : *rest) : NULL;
    if (unit) {
        value *= pow(1024.0, (double)(unit - units + 1));
        rest++;
        rest += *rest == 'i';
    }
    rest += *rest == 'B';
    if (*rest || value < 0 || value >= 9e18)
        return false;
    *out = (size_t)value;
    return true;
}

/* ---- words */

static char letter_of(char c) { return c == '_' ? '-' : c; }

bool same_word(const char *a, const char *b)
{
    while (*a && letter_of(*a) == letter_of(*b)) {
        a++;
        b++;
    }
    return !*a && !*b;
}

/* Levenshtein's distance, one row of the table at a time; long words are simply far. */
size_t word_distance(const char *a, const char *b)
{
    enum { LONGEST = 63 };
    size_t row[LONGEST + 1];
    const size_t n = strlen(a), m = strlen(b);
    if (n > LONGEST || m > LONGEST)
        return LONGEST;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            const size_t above = row[j];
            const size_t changed = diagonal + (letter_of(a[i - 1]) != letter_of(b[j - 1]));
            const size_t dropped = (above < row[j - 1] ? above : row[j - 1]) + 1;
            row[j] = changed < dropped ? changed : dropped;
            diagonal = above;
        }
    }
    return row[m];
}

bool one_of(const char *word, const char *choices)
{
    const size_t length = strlen(word);
    while (choices && *choices) {
        const size_t next = strcspn(choices, "|");
        if (next == length && strncmp(word, choices, length) == 0)
            return true;
        choices += next + (choices[next] == '|');
    }
    return false;
}
