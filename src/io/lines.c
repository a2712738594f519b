/* lines.c — cuts a byte stream into lines without copying them out of its buffer.
 *
 * The buffer holds whole lines and the beginning of one more; it grows only for a line longer than itself. A
 * line is searched once, however small the pieces a pipe delivers it in.
 * SPDX-License-Identifier: Apache-2.0 */
#include "io/lines.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

#define BLOCK_BYTES ((size_t)64 << 10)

static void forget_search(struct fkmi_lines *lines)
{
    lines->length = lines->searched = 0;
    lines->breaks = 0;
    lines->in_quotes = false;
}

/* Reads more behind buffer[end), making room first. */
static fkm_status refill(struct fkmi_lines *lines)
{
    size_t got;

    if (lines->begin > 0) {
        memmove(lines->buffer, lines->buffer + lines->begin, lines->end - lines->begin);
        lines->end -= lines->begin;
        lines->begin = 0;
    }
    if (lines->capacity - lines->end < BLOCK_BYTES / 2) {
        const size_t capacity = lines->capacity > 0 ? 2 * lines->capacity : BLOCK_BYTES;

        FKMI_TRY(fkmi_resize(&lines->buffer, (int64_t)capacity, 1));
        lines->capacity = capacity;
    }
    FKMI_TRY(fkmi_bytes_read(lines->bytes, lines->buffer + lines->end, lines->capacity - lines->end, &got));
    lines->end += got;
    lines->ended = got == 0;
    return FKM_OK;
}

static bool odd_quotes(const char *text, const char *end)
{
    bool odd = false;

    while ((text = memchr(text, '"', (size_t)(end - text))) != NULL) {
        odd = !odd;
        text++;
    }
    return odd;
}

/* Looks for the end of the line in what is new in the buffer. */
static void search(struct fkmi_lines *lines)
{
    const char *begin = lines->buffer + lines->begin, *end = lines->buffer + lines->end;

    while (begin + lines->searched < end) {
        const char *from = begin + lines->searched;
        const char *lf = memchr(from, '\n', (size_t)(end - from));
        const char *to = lf ? lf : end;

        if (lines->quoted)
            lines->in_quotes ^= odd_quotes(from, to);
        lines->searched = (size_t)(to - begin);
        if (!lf)
            return;
        lines->searched++;
        lines->breaks++;
        if (!lines->in_quotes) {
            lines->length = lines->searched;
            return;
        }
    }
}

fkm_status fkmi_lines_begin(struct fkmi_lines *lines, struct fkmi_bytes *bytes, bool quoted)
{
    *lines = (struct fkmi_lines){.bytes = bytes, .quoted = quoted, .line = 1};
    do
        FKMI_TRY(refill(lines));
    while (lines->end < 3 && !lines->ended);
    if (lines->end >= 3 && memcmp(lines->buffer, "\xef\xbb\xbf", 3) == 0) {
        lines->begin = 3;
        lines->offset = lines->first = 3;
    }
    return FKM_OK;
}

void fkmi_lines_free(struct fkmi_lines *lines)
{
    fkmi_free(lines->buffer);
    lines->buffer = NULL;
}

fkm_status fkmi_lines_peek(struct fkmi_lines *lines, struct fkmi_line *line)
{
    size_t length;
    const char *text;

    if (lines->lost)
        return fkmi_fail(FKM_ESTATE, "the place in %s is lost: a seek failed and could not be undone",
                         lines->bytes->name);
    while (lines->length == 0) {
        search(lines);
        if (lines->length > 0)
            break;
        if (lines->end - lines->begin > FKMI_LINE_BYTES_MAX)
            return fkmi_lines_fail(lines, FKM_EDATA, "longer than %zu bytes%s", FKMI_LINE_BYTES_MAX,
                                   lines->in_quotes ? " (a quote is not closed)" : "");
        if (lines->ended) {
            if (lines->begin == lines->end) {
                *line = (struct fkmi_line){NULL, 0};
                return FKM_OK;
            }
            lines->length = lines->end - lines->begin; /* the last line has no line end */
            break;
        }
        FKMI_TRY(refill(lines));
    }
    text = lines->buffer + lines->begin;
    length = lines->length;
    if (text[length - 1] == '\n') {
        length--;
        if (length > 0 && text[length - 1] == '\r')
            length--;
    }
    if (length > FKMI_LINE_BYTES_MAX)
        return fkmi_lines_fail(lines, FKM_EDATA, "longer than %zu bytes", FKMI_LINE_BYTES_MAX);
    if (memchr(text, 0, length))
        return fkmi_lines_fail(lines, FKM_EDATA, "holds a zero byte: this is not text");
    *line = (struct fkmi_line){text, length};
    return FKM_OK;
}

void fkmi_lines_advance(struct fkmi_lines *lines)
{
    lines->begin += lines->length;
    lines->offset += (int64_t)lines->length;
    lines->line += lines->breaks;
    forget_search(lines);
}

/* Whether a line begins at buffer[at]; the byte before is still in the buffer. */
static bool line_begins(const struct fkmi_lines *lines, size_t at, int64_t offset)
{
    return offset == lines->first || at == lines->end || lines->buffer[at - 1] == '\n';
}

/* Empties the buffer and reads from one byte before offset, to see that a line ends there: the file may be
 * another one by now. */
static fkm_status read_from(struct fkmi_lines *lines, int64_t offset)
{
    const int64_t early = offset > 0 ? offset - 1 : 0;

    FKMI_TRY(fkmi_bytes_seek(lines->bytes, early));
    lines->begin = lines->end = 0;
    lines->offset = early;
    lines->ended = false;
    forget_search(lines);
    while (lines->end < 2 && !lines->ended)
        FKMI_TRY(refill(lines));
    if ((int64_t)lines->end < offset - early)
        return fkmi_fail(FKM_EINVAL, "byte %lld lies beyond the end of %s", (long long)offset,
                         lines->bytes->name);
    return FKM_OK;
}

static fkm_status go_to(struct fkmi_lines *lines, int64_t offset, int64_t line)
{
    size_t at;

    /* the byte at the beginning of the buffer is where a line begins already */
    if (offset < lines->offset || offset - lines->offset > (int64_t)(lines->end - lines->begin))
        FKMI_TRY(read_from(lines, offset));
    at = lines->begin + (size_t)(offset - lines->offset);
    if (offset != lines->offset && !line_begins(lines, at, offset))
        return fkmi_fail(FKM_EDATA, "no line of %s begins at byte %lld: is it another file now?",
                         lines->bytes->name, (long long)offset);
    lines->begin = at;
    lines->offset = offset;
    lines->line = line;
    forget_search(lines);
    return FKM_OK;
}

fkm_status fkmi_lines_seek(struct fkmi_lines *lines, int64_t offset, int64_t line)
{
    const int64_t old_offset = lines->offset, old_line = lines->line, stream_at = lines->bytes->offset;
    char message[FKMI_MESSAGE_BYTES];
    fkm_status status;

    if (offset < lines->first || line < 1)
        return fkmi_fail(FKM_EINVAL, "no line of %s begins at byte %lld", lines->bytes->name,
                         (long long)offset);
    status = go_to(lines, offset, line);
    if (status == FKM_OK) {
        lines->lost = false;
        return FKM_OK;
    }
    if (lines->offset == old_offset && lines->bytes->offset == stream_at) /* the buffer is as it was */
        return status;
    memcpy(message, fkm_last_error(), sizeof message);
    lines->lost = lines->lost || read_from(lines, old_offset) != FKM_OK;
    lines->begin += (size_t)(lines->lost ? 0 : old_offset - lines->offset);
    lines->offset = old_offset;
    lines->line = old_line;
    return fkmi_fail(status, "%s", message);
}

fkm_status fkmi_lines_look(struct fkmi_lines *lines, const char **text, size_t *length)
{
    struct fkmi_line line;
    size_t looked;

    while (lines->end - lines->begin < FKMI_LOOK_BYTES && !lines->ended)
        FKMI_TRY(refill(lines));
    FKMI_TRY(fkmi_lines_peek(lines, &line));
    *text = lines->buffer + lines->begin;
    looked = lines->end - lines->begin < FKMI_LOOK_BYTES ? lines->end - lines->begin : FKMI_LOOK_BYTES;
    while (looked > 0 && (*text)[looked - 1] != '\n')
        looked--;
    *length = looked > lines->length ? looked : lines->length;
    return FKM_OK;
}

fkm_status fkmi_lines_fail(const struct fkmi_lines *lines, fkm_status status, const char *format, ...)
{
    char message[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return fkmi_fail(status, "%s, line %lld: %s", lines->bytes->name, (long long)lines->line, message);
}

void fkmi_excerpt(char out[FKMI_EXCERPT_BYTES], const char *text, size_t length)
{
    const size_t shown = length < FKMI_EXCERPT_BYTES - 4 ? length : FKMI_EXCERPT_BYTES - 4;
    size_t i;

    for (i = 0; i < shown; i++) {
        const unsigned char c = (unsigned char)text[i];

        out[i] = c < 0x20 || c > 0x7e ? '?' : (char)c;
    }
    snprintf(out + shown, FKMI_EXCERPT_BYTES - shown, "%s", shown < length ? "..." : "");
}

bool fkmi_is_utf8(const char *text, size_t length)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + length;

    while (at < end) {
        static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
        uint32_t code;
        int more, i;

        if (*at < 0x80) {
            at++;
            continue;
        }
        more = *at >= 0xf0 && *at < 0xf8   ? 3
               : *at >= 0xe0 && *at < 0xf0 ? 2
               : *at >= 0xc0 && *at < 0xe0 ? 1
                                           : 0;
        if (more == 0 || end - at <= more)
            return false;
        code = (uint32_t)(*at++ & (0x3f >> more));
        for (i = 0; i < more; i++, at++) {
            if ((*at & 0xc0) != 0x80)
                return false;
            code = code << 6 | (*at & 0x3f);
        }
        if (code < smallest[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
            return false;
    }
    return true;
}
