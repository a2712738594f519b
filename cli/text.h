/* text.h — memory that is always there, growing text, lists of names, and numbers as text.
 *
 * Memory the command asks for itself either comes or ends the program with a message: nothing of value is
 * open then, since files are written aside and renamed last.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_CLI_TEXT_H
#define FKM_CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PRINTF_LIKE(format_at, first_at) __attribute__((format(printf, format_at, first_at)))

void *need(size_t count, size_t size);                    /* zeroed */
void *need_more(void *memory, size_t count, size_t size); /* realloc */
/* Makes room for `wanted` elements, doubling; *capacity counts elements. */
void *need_room(void *memory, int64_t *capacity, int64_t wanted, size_t size);
char *need_copy(const char *text);

struct text {
    char *bytes; /* NULL or terminated */
    size_t length, capacity;
};
void text_add(struct text *text, const char *part, size_t length);
void text_puts(struct text *text, const char *part);
void text_printf(struct text *text, const char *format, ...) PRINTF_LIKE(2, 3);
void text_free(struct text *text);

struct names {
    char **name;
    int64_t n, capacity;
};
void names_add(struct names *names, const char *name, size_t length);
/* A line for each name; a backslash, line feed or carriage return inside a name is written \\, \n, \r. */
void names_from_lines(struct names *names, const char *lines);
char *names_to_lines(const struct names *names);             /* freed by the caller */
void names_from_list(struct names *names, const char *list); /* "a,b,c" */
void names_free(struct names *names);

/* The shortest text that reads back to the same number; nan is "". */
#define NUMBER_BYTES 32
const char *number_text(char text[NUMBER_BYTES], double value);
const char *number_text_float(char text[NUMBER_BYTES], float value);
/* 12345678 as "12,345,678". */
const char *count_text(char text[NUMBER_BYTES], int64_t value);
/* 12345678 bytes as "11.8 MiB". */
const char *size_text(char text[NUMBER_BYTES], double bytes);

/* Whole-text numbers; false when anything is left over. */
bool parse_int(const char *text, int64_t *out);
bool parse_real(const char *text, double *out);
bool parse_size(const char *text, size_t *out); /* 1500000, 64K, 2M, 1.5G, 8GiB */

/* Both texts the same when '_' counts as '-'. */
bool same_word(const char *a, const char *b);
/* How many letters must change; '_' counts as '-'. */
size_t word_distance(const char *a, const char *b);
/* Whether `word` is one of the words in "a|b|c". */
bool one_of(const char *word, const char *choices);

#endif
