/* lines.h — the lines of a text file, one at a time, with their numbers and byte offsets.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_IO_LINES_H
#define FKMI_IO_LINES_H

#include "io/bytes.h"

#define FKMI_LINE_BYTES_MAX ((size_t)64 << 20)

struct fkmi_lines {
    struct fkmi_bytes *bytes; /* borrowed */
    bool quoted;              /* a line break between double quotes belongs to the line (CSV) */
    char *buffer;             /* buffer[begin .. end) is read and not yet consumed */
    size_t capacity, begin, end;
    int64_t offset; /* in the stream, of buffer[begin] */
    int64_t line;   /* its line number, from 1 */
    int64_t first;  /* where the first line begins: behind a byte order mark */
    bool ended;     /* the stream has nothing after buffer[end) */
    bool lost;      /* a failed seek moved the stream and could not move it back */
    /* the search for the end of the line that begins at buffer[begin] */
    size_t length; /* of that line with its end; 0: not found yet */
    size_t searched;
    int64_t breaks;
    bool in_quotes;
};
struct fkmi_line {
    const char *text; /* without line end; NULL: the end of the stream */
    size_t length;
};

/* Skips a UTF-8 byte order mark. */
fkm_status fkmi_lines_begin(struct fkmi_lines *lines, struct fkmi_bytes *bytes, bool quoted);
void fkmi_lines_free(struct fkmi_lines *lines); /* a zeroed one is fine */
/* The next line, valid until the next call; it stays next until fkmi_lines_advance. Ends are LF or CRLF.
 * FKM_EDATA for a zero byte or a line over 64 MiB. */
fkm_status fkmi_lines_peek(struct fkmi_lines *lines, struct fkmi_line *line);
void fkmi_lines_advance(struct fkmi_lines *lines);
/* Back or forth to the line that begins at this offset: as told before. FKM_EDATA when no line begins there;
 * the place is then as it was; where the stream could not go back, reading fails until a seek succeeds. */
fkm_status fkmi_lines_seek(struct fkmi_lines *lines, int64_t offset, int64_t line);
/* For looking ahead: the next line and those that end within FKMI_LOOK_BYTES from its beginning. Does not
 * depend on the pieces a pipe delivers. */
#define FKMI_LOOK_BYTES ((size_t)64 << 10)
fkm_status fkmi_lines_look(struct fkmi_lines *lines, const char **text, size_t *length);

/* "name, line 12: message"; returns status. */
fkm_status fkmi_lines_fail(const struct fkmi_lines *lines, fkm_status status, const char *format, ...)
    FKMI_PRINTF(3, 4);
/* The beginning of a text for a message: printable, short, zero-terminated. */
#define FKMI_EXCERPT_BYTES 48
void fkmi_excerpt(char out[FKMI_EXCERPT_BYTES], const char *text, size_t length);
bool fkmi_is_utf8(const char *text, size_t length);

#endif
