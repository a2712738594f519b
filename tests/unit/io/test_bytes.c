/* test_bytes.c — byte streams: files, pipes, memory, gzip; what is cut off or damaged is refused.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "io/lines.h"
#include "unit/io/source_tools.h"

#define N_BYTES 300000
static unsigned char content[N_BYTES];

static void fill_content(void)
{
    uint32_t state = 1;

    for (int i = 0; i < N_BYTES; i++) {
        state = state * 1664525u + 1013904223u;
        content[i] = (unsigned char)("abcdefgh\n"[(state >> 16) % 9]);
    }
}

/* Reads everything in pieces of `piece` and compares with the content from `offset` on. */
static void check_content(struct fkmi_bytes *bytes, int64_t offset, size_t piece)
{
    static unsigned char buffer[N_BYTES];
    int64_t at = offset;
    size_t got;

    for (;;) {
        CHECK_OK(fkmi_bytes_read(bytes, buffer, piece, &got));
        if (got == 0)
            break;
        CHECK(at + (int64_t)got <= N_BYTES);
        CHECK(memcmp(buffer, content + at, got) == 0);
        at += (int64_t)got;
    }
    CHECK_INT(N_BYTES, at);
}

static void check_stream(struct fkmi_bytes *bytes)
{
    check_content(bytes, 0, 1000);
    CHECK_OK(fkmi_bytes_seek(bytes, 123457));
    CHECK_INT(123457, bytes->offset);
    check_content(bytes, 123457, 65536);
    CHECK_OK(fkmi_bytes_seek(bytes, 5));
    CHECK_OK(fkmi_bytes_seek(bytes, 200000));
    check_content(bytes, 200000, 7777);
    CHECK_OK(fkmi_bytes_seek(bytes, N_BYTES));
    check_content(bytes, N_BYTES, 1);
    CHECK_STATUS(FKM_EINVAL, fkmi_bytes_seek(bytes, N_BYTES + 1));
    CHECK_SAYS("300001", fkm_last_error());
    CHECK_STATUS(FKM_EINVAL, fkmi_bytes_seek(bytes, -1));
    CHECK_OK(fkmi_bytes_seek(bytes, 0));
    check_content(bytes, 0, 100000);
}

TEST(a_file_and_memory_read_and_seek_alike)
{
    const char *folder = make_folder(), *path = path_in(folder, "x.csv");
    struct fkmi_bytes *bytes;
    const void *data;
    size_t size;

    fill_content();
    write_file(path, content, N_BYTES);
    CHECK_OK(fkmi_bytes_open(path, &bytes));
    CHECK(!fkmi_bytes_forward_only(bytes));
    check_stream(bytes);
    CHECK_OK(fkmi_bytes_map(bytes, &data, &size));
    CHECK_INT(N_BYTES, size);
    CHECK(memcmp(data, content, N_BYTES) == 0);
    CHECK_OK(fkmi_bytes_still_whole(bytes));
    CHECK(truncate(path, 1000) == 0);
    CHECK_STATUS(FKM_EIO, fkmi_bytes_still_whole(bytes));
    CHECK_SAYS("shrank from 300000 to 1000", fkm_last_error());
    fkmi_bytes_close(bytes);
    CHECK_OK(fkmi_bytes_open_memory(content, N_BYTES, "memory", &bytes));
    check_stream(bytes);
    fkmi_bytes_close(bytes);
    remove_folder(folder);
    CHECK_INT(0, fkmi_memory_held());
}

TEST(what_cannot_be_opened_is_named)
{
    const char *folder = make_folder();
    struct fkmi_bytes *bytes;

    CHECK_STATUS(FKM_EIO, fkmi_bytes_open(path_in(folder, "none.csv"), &bytes));
    CHECK_SAYS("none.csv: No such file", fkm_last_error());
    CHECK_STATUS(FKM_EIO, fkmi_bytes_open(folder, &bytes));
    CHECK_SAYS("it is a folder", fkm_last_error());
    write_file(path_in(folder, "plain.csv.gz"), "a,b\n", 4);
    CHECK_STATUS(FKM_EDATA, fkmi_bytes_open(path_in(folder, "plain.csv.gz"), &bytes));
    CHECK_SAYS("plain.csv.gz is named .gz", fkm_last_error());
    remove_folder(folder);
}

TEST(a_failed_seek_never_skips_rows)
{
    const char *folder = make_folder();
    static char path[128];
    struct fkmi_bytes *bytes;
    struct fkmi_lines lines;
    struct fkmi_line line;
    int ends[2];

    strcpy(path, path_in(folder, "pipe"));
    CHECK(pipe(ends) == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
    if (access(path, R_OK) != 0)
        test_skip("no /proc/self/fd");
    CHECK(write(ends[1], "one\ntwo\nthree\n", 14) == 14);
    CHECK_OK(fkmi_bytes_open(path, &bytes));
    close(ends[1]);
    CHECK_OK(fkmi_lines_begin(&lines, bytes, false));
    CHECK_OK(fkmi_lines_peek(&lines, &line));
    fkmi_lines_advance(&lines);
    CHECK_STATUS(FKM_EUNSUPPORTED, fkmi_lines_seek(&lines, 0, 1)); /* backwards: nothing moved */
    CHECK_OK(fkmi_lines_peek(&lines, &line));
    CHECK(memcmp(line.text, "two", 3) == 0);
    while (!lines.ended) { /* all is in the buffer */
        CHECK_OK(fkmi_lines_peek(&lines, &line));
        fkmi_lines_advance(&lines);
    }
    CHECK_STATUS(FKM_EINVAL, fkmi_lines_seek(&lines, 1000, 1));
    CHECK_OK(fkmi_lines_peek(&lines, &line)); /* nothing was there to be skipped */
    fkmi_lines_free(&lines);
    fkmi_bytes_close(bytes);
    close(ends[0]);
    remove_folder(folder);
}

static void *feed_pipe(void *path)
{
    FILE *pipe = fopen(path, "wb");

    for (size_t at = 0; pipe && at < N_BYTES; at += 1500) {
        const size_t n = N_BYTES - at < 1500 ? N_BYTES - at : 1500;

        if (fwrite(content + at, 1, n, pipe) != n || fflush(pipe) != 0)
            break;
    }
    if (pipe)
        fclose(pipe);
    return NULL;
}

TEST(a_pipe_goes_forward_only)
{
    const char *folder = make_folder();
    static char path[128];
    struct fkmi_bytes *bytes;
    pthread_t feeder;
    const void *data;
    size_t size;

    fill_content();
    strcpy(path, path_in(folder, "pipe"));
    CHECK(mkfifo(path, 0600) == 0);
    CHECK(pthread_create(&feeder, NULL, feed_pipe, path) == 0);
    CHECK_OK(fkmi_bytes_open(path, &bytes));
    CHECK(fkmi_bytes_forward_only(bytes));
    CHECK_OK(fkmi_bytes_map(bytes, &data, &size));
    CHECK(data == NULL);
    CHECK_OK(fkmi_bytes_seek(bytes, 1)); /* inside what was read to recognise gzip */
    CHECK_OK(fkmi_bytes_seek(bytes, 100000));
    CHECK_STATUS(FKM_EUNSUPPORTED, fkmi_bytes_seek(bytes, 99999));
    CHECK_SAYS("cannot go back", fkm_last_error());
    check_content(bytes, 100000, 4096);
    CHECK_STATUS(FKM_EINVAL, fkmi_bytes_seek(bytes, N_BYTES + 1));
    fkmi_bytes_close(bytes);
    CHECK(pthread_join(feeder, NULL) == 0);
    remove_folder(folder);
}

/* ---- gzip: packed here as stored blocks, so that the oracle needs no packer */

static uint32_t crc_of(const unsigned char *bytes, size_t n)
{
    uint32_t crc = 0xffffffffu;

    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static size_t put_member(unsigned char *out, const unsigned char *bytes, size_t n)
{
    static const unsigned char head[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};
    const uint32_t crc = crc_of(bytes, n), length = (uint32_t)n;
    size_t at = 10, done = 0;

    memcpy(out, head, 10);
    do {
        const size_t piece = n - done < 65535 ? n - done : 65535;

        out[at++] = done + piece == n;
        out[at++] = (unsigned char)piece;
        out[at++] = (unsigned char)(piece >> 8);
        out[at++] = (unsigned char)~piece;
        out[at++] = (unsigned char)(~piece >> 8);
        memcpy(out + at, bytes + done, piece);
        at += piece;
        done += piece;
    } while (done < n);
    for (int i = 0; i < 4; i++)
        out[at++] = (unsigned char)(crc >> (8 * i));
    for (int i = 0; i < 4; i++)
        out[at++] = (unsigned char)(length >> (8 * i));
    return at;
}

#ifdef FKM_WITH_ZLIB
TEST(gzip_of_several_members_reads_and_seeks)
{
    static unsigned char packed[N_BYTES + 1000];
    const char *folder = make_folder();
    const char *path = path_in(folder, "packed"); /* no .gz: known by its first bytes */
    struct fkmi_bytes *bytes;
    size_t n;

    fill_content();
    n = put_member(packed, content, 100000);
    n += put_member(packed + n, content, 0);
    n += put_member(packed + n, content + 100000, N_BYTES - 100000);
    CHECK_OK(fkmi_bytes_open_memory(packed, n, "memory", &bytes));
    check_stream(bytes);
    fkmi_bytes_close(bytes);
    write_file(path, packed, n);
    CHECK_OK(fkmi_bytes_open(path, &bytes));
    CHECK(!fkmi_bytes_forward_only(bytes));
    check_stream(bytes);
    fkmi_bytes_close(bytes);
    remove_folder(folder);
    CHECK_INT(0, fkmi_memory_held());
}

/* Reads in pieces; how much arrives must not depend on their size. */
static fkm_status read_pieces(const unsigned char *packed, size_t n, size_t piece, size_t *total)
{
    static unsigned char buffer[4096];
    struct fkmi_bytes *bytes;
    fkm_status status = fkmi_bytes_open_memory(packed, n, "some.gz", &bytes);
    size_t got = 1;

    *total = 0;
    if (status != FKM_OK)
        return status;
    while (status == FKM_OK && got > 0) {
        status = fkmi_bytes_read(bytes, buffer, piece, &got);
        *total += status == FKM_OK ? got : 0;
    }
    if (status != FKM_OK) /* and it stays so */
        CHECK_STATUS(status, fkmi_bytes_read(bytes, buffer, piece, &got));
    fkmi_bytes_close(bytes);
    return status;
}

static fkm_status read_all(const unsigned char *packed, size_t n, size_t *total)
{
    size_t in_small_pieces;
    const fkm_status small = read_pieces(packed, n, 3, &in_small_pieces);

    CHECK_STATUS(small, read_pieces(packed, n, 4096, total));
    CHECK_INT(*total, in_small_pieces);
    return small;
}

TEST(every_truncation_and_every_flip_of_gzip_is_refused)
{
    static unsigned char packed[N_BYTES + 1000], damaged[N_BYTES + 1000];
    size_t n, total;

    fill_content();
    n = put_member(packed, content, 40);
    n += put_member(packed + n, content, 20);
    CHECK_OK(read_all(packed, n, &total));
    CHECK_INT(60, total);
    for (size_t cut = 0; cut < n; cut++) {
        if (cut == 63) /* where the first member ends, so does a whole file */
            continue;
        CHECK_STATUS(FKM_EDATA, read_all(packed, cut, &total));
        CHECK_SAYS("some.gz", fkm_last_error());
    }
    for (size_t bit = 0; bit < 8 * n; bit++) {
        const size_t byte = bit / 8 % 63;

        if (byte >= 3 && byte < 10) /* flags, time, system: gzip does not protect them */
            continue;
        memcpy(damaged, packed, n);
        damaged[bit / 8] ^= (unsigned char)(1u << bit % 8);
        if (byte == 10 && damaged[bit / 8] > 1) /* padding bits of a stored block are free */
            continue;
        CHECK_STATUS(FKM_EDATA, read_all(damaged, n, &total));
    }
    memcpy(damaged, packed, n);
    damaged[n] = 'x';
    CHECK_STATUS(FKM_EDATA, read_all(damaged, n + 1, &total));
}
#else
TEST(gzip_without_zlib_is_said)
{
    unsigned char packed[100];
    struct fkmi_bytes *bytes;
    const size_t n = put_member(packed, (const unsigned char *)"abc", 3);

    CHECK_STATUS(FKM_EUNSUPPORTED, fkmi_bytes_open_memory(packed, n, "memory", &bytes));
    CHECK_SAYS("this build has no zlib", fkm_last_error());
}
#endif

/* ---- lines */

TEST(lines_keep_their_numbers_and_offsets)
{
    static const char text[] = "\xef\xbb\xbf"
                               "one\r\n\n\"two\nlines\"\nlast";
    struct fkmi_bytes *bytes;
    struct fkmi_lines lines;
    struct fkmi_line line;

    CHECK_OK(fkmi_bytes_open_memory(text, sizeof text - 1, "memory", &bytes));
    CHECK_OK(fkmi_lines_begin(&lines, bytes, true));
    CHECK_OK(fkmi_lines_peek(&lines, &line));
    CHECK_INT(3, line.length);
    CHECK(memcmp(line.text, "one", 3) == 0);
    CHECK_INT(3, lines.offset);
    fkmi_lines_advance(&lines);
    CHECK_OK(fkmi_lines_peek(&lines, &line));
    CHECK_INT(0, line.length);
    fkmi_lines_advance(&lines);
    CHECK_INT(3, lines.line);
    CHECK_INT(9, lines.offset);
    CHECK_OK(fkmi_lines_peek(&lines, &line));
    CHECK_INT(11, line.length);
    fkmi_lines_advance(&lines);
    CHECK_INT(5, lines.line);
    CHECK_OK(fkmi_lines_peek(&lines, &line));
    CHECK_INT(4, line.length);
    fkmi_lines_advance(&lines);
    CHECK_OK(fkmi_lines_peek(&lines, &line));
    CHECK(line.text == NULL);
    CHECK_INT((int64_t)sizeof text - 1, lines.offset);
    CHECK_OK(fkmi_lines_seek(&lines, 9, 3));
    CHECK_OK(fkmi_lines_peek(&lines, &line));
    CHECK_INT(11, line.length);
    CHECK_STATUS(FKM_EDATA, fkmi_lines_seek(&lines, 11, 3));
    CHECK_SAYS("no line of memory begins at byte 11", fkm_last_error());
    CHECK_STATUS(FKM_EINVAL, fkmi_lines_seek(&lines, 4000, 3));
    CHECK_INT(9, lines.offset); /* as it was */
    CHECK_OK(fkmi_lines_peek(&lines, &line));
    CHECK_INT(11, line.length);
    fkmi_lines_free(&lines);
    fkmi_bytes_close(bytes);
}

TEST(a_line_longer_than_64_MiB_is_refused)
{
    const size_t size = FKMI_LINE_BYTES_MAX + 2;
    struct fkmi_bytes *bytes;
    struct fkmi_lines lines;
    struct fkmi_line line;
    char *text = malloc(size);

    CHECK(text != NULL);
    memset(text, 'x', size);
    CHECK_OK(fkmi_bytes_open_memory(text, size, "memory", &bytes));
    CHECK_OK(fkmi_lines_begin(&lines, bytes, false));
    CHECK_STATUS(FKM_EDATA, fkmi_lines_peek(&lines, &line));
    CHECK_SAYS("memory, line 1: longer than", fkm_last_error());
    text[FKMI_LINE_BYTES_MAX] = '\n';
    CHECK_OK(fkmi_lines_seek(&lines, 0, 1));
    fkmi_lines_free(&lines);
    CHECK_OK(fkmi_bytes_seek(bytes, 0));
    CHECK_OK(fkmi_lines_begin(&lines, bytes, false));
    CHECK_OK(fkmi_lines_peek(&lines, &line));
    CHECK_INT((int64_t)FKMI_LINE_BYTES_MAX, line.length);
    fkmi_lines_free(&lines);
    fkmi_bytes_close(bytes);
    free(text);
}

TEST(utf8_is_recognised)
{
    static const char *const good[] = {"", "abc", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    static const char *const bad[] = {"\x80",
                                      "\xc3",
                                      "\xc0\xaf",
                                      "\xed\xa0\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xff",
                                      "\xe2\x82",
                                      "\xf8\x88\x80\x80\x80"};

    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK(fkmi_is_utf8(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(!fkmi_is_utf8(bad[i], strlen(bad[i])));
}
