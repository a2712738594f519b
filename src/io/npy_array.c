/* npy_array.c — the .npy format, versions 1 to 3: magic, header length, a Python dictionary, the array.
 *
 * The dictionary is read as what numpy writes: the keys 'descr', 'fortran_order' and 'shape', each once.
 * Nothing is evaluated; anything else is refused.
 * SPDX-License-Identifier: Apache-2.0 */
#include "io/npy_array.h"

#include <string.h>

#include "base/dtype.h"
#include "base/memory.h"
#include "io/lines.h"

#define HEADER_BYTES_MAX 65536

/* ---- the dictionary */

struct reader {
    const char *at, *end;
};
struct header {
    char descr[16];
    bool fortran_order;
    int n_dims;
    int64_t shape[2];
    bool has_descr, has_order, has_shape;
};

static void skip_space(struct reader *reader)
{
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\n'))
        reader->at++;
}

/* Takes the word if it comes next, after spaces. */
static bool take(struct reader *reader, const char *word)
{
    const size_t length = strlen(word);

    skip_space(reader);
    if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0)
        return false;
    reader->at += length;
    return true;
}

/* 'text' or "text" without escapes, shorter than size. */
static bool take_text(struct reader *reader, char *text, size_t size)
{
    const char quote = take(reader, "'") ? '\'' : '"';
    size_t n = 0;

    if (quote == '"' && !take(reader, "\""))
        return false;
    while (reader->at < reader->end && *reader->at != quote) {
        if (*reader->at == '\\' || n + 1 >= size)
            return false;
        text[n++] = *reader->at++;
    }
    text[n] = 0;
    return reader->at++ < reader->end;
}

static bool take_int(struct reader *reader, int64_t *out)
{
    const char *begin;

    skip_space(reader);
    begin = reader->at;
    *out = 0;
    for (; reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9'; reader->at++) {
        if (*out > (INT64_MAX - 9) / 10)
            return false;
        *out = 10 * *out + (*reader->at - '0');
    }
    return reader->at > begin;
}

/* (3, 4) or (3,); sizes beyond the second are counted only. */
static bool take_shape(struct reader *reader, struct header *header)
{
    int64_t size;

    if (!take(reader, "("))
        return false;
    while (!take(reader, ")")) {
        if (!take_int(reader, &size))
            return false;
        if (header->n_dims < 2)
            header->shape[header->n_dims] = size;
        header->n_dims++;
        if (!take(reader, ",")) /* a tuple of one needs its comma */
            return header->n_dims > 1 && take(reader, ")");
    }
    return true;
}

static bool take_member(struct reader *reader, struct header *header)
{
    char key[16];
    bool *seen;

    if (!take_text(reader, key, sizeof key) || !take(reader, ":"))
        return false;
    if (strcmp(key, "descr") == 0) {
        seen = &header->has_descr;
        if (!take_text(reader, header->descr, sizeof header->descr))
            return false;
    } else if (strcmp(key, "fortran_order") == 0) {
        seen = &header->has_order;
        header->fortran_order = take(reader, "True");
        if (!header->fortran_order && !take(reader, "False"))
            return false;
    } else if (strcmp(key, "shape") == 0) {
        seen = &header->has_shape;
        header->n_dims = 0;
        if (!take_shape(reader, header))
            return false;
    } else {
        return false;
    }
    if (*seen)
        return false;
    *seen = true;
    return true;
}

static bool take_header(struct reader *reader, struct header *header)
{
    if (!take(reader, "{"))
        return false;
    while (!take(reader, "}")) {
        if (!take_member(reader, header))
            return false;
        if (!take(reader, ",")) {
            if (!take(reader, "}"))
                return false;
            break;
        }
    }
    skip_space(reader);
    return reader->at == reader->end && header->has_descr && header->has_order && header->has_shape;
}

/* ---- the file */

static fkm_status read_exactly(struct fkmi_bytes *bytes, void *buffer, int64_t n)
{
    int64_t have = 0;

    while (have < n) {
        size_t got;

        FKMI_TRY(fkmi_bytes_read(bytes, (char *)buffer + have, (size_t)(n - have), &got));
        if (got == 0)
            return fkmi_fail(FKM_EDATA, "%s ends at byte %lld, in the middle of the array", bytes->name,
                             (long long)bytes->offset);
        have += (int64_t)got;
    }
    return FKM_OK;
}

static fkm_status set_type(struct fkmi_npy *npy, const char *descr)
{
    static const struct {
        const char *descr;
        enum fkmi_npy_kind kind;
        int64_t item;
    } types[] = {{"<f2", FKMI_NPY_FLOAT, 2}, {"<f4", FKMI_NPY_FLOAT, 4}, {"<f8", FKMI_NPY_FLOAT, 8},
                 {"|i1", FKMI_NPY_INT, 1},   {"<i2", FKMI_NPY_INT, 2},   {"<i4", FKMI_NPY_INT, 4},
                 {"<i8", FKMI_NPY_INT, 8},   {"|u1", FKMI_NPY_UINT, 1},  {"<u2", FKMI_NPY_UINT, 2},
                 {"<u4", FKMI_NPY_UINT, 4},  {"<u8", FKMI_NPY_UINT, 8},  {"|b1", FKMI_NPY_BOOL, 1}};
    size_t i;

    for (i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(descr, types[i].descr) == 0) {
            npy->kind = types[i].kind;
            npy->item = types[i].item;
            return FKM_OK;
        }
    }
    if (descr[0] == '>')
        return fkmi_fail(FKM_EUNSUPPORTED, "%s is big-endian (\"%s\"): save it as little-endian",
                         npy->bytes->name, descr);
    if (descr[1] == 'O')
        return fkmi_fail(FKM_EUNSUPPORTED, "%s holds Python objects: save it with a number type",
                         npy->bytes->name);
    return fkmi_fail(FKM_EUNSUPPORTED,
                     "%s holds elements of type \"%s\": valid are f2, f4, f8, i1 to i8, u1 to u8, b1",
                     npy->bytes->name, descr);
}

static fkm_status set_shape(struct fkmi_npy *npy, const struct header *header)
{
    if (header->n_dims < 1 || header->n_dims > 2)
        return fkmi_fail(FKM_EUNSUPPORTED, "%s has %d dimensions, valid: 1 or 2", npy->bytes->name,
                         header->n_dims);
    if (header->fortran_order && header->n_dims > 1)
        return fkmi_fail(FKM_EUNSUPPORTED,
                         "%s is in column-major order (fortran_order): save a row-major copy",
                         npy->bytes->name);
    npy->n_dims = header->n_dims;
    npy->n_rows = header->shape[0];
    npy->n_cols = header->n_dims == 2 ? header->shape[1] : 1;
    if (npy->n_cols > INT64_MAX / 16 || (npy->n_cols > 0 && npy->n_rows > INT64_MAX / 16 / npy->n_cols))
        return fkmi_fail(FKM_EDATA, "%s has an impossible shape: %lld x %lld", npy->bytes->name,
                         (long long)npy->n_rows, (long long)npy->n_cols);
    return FKM_OK;
}

static fkm_status read_header(struct fkmi_npy *npy)
{
    unsigned char front[12];
    int64_t length;
    struct reader reader;
    struct header header = {0};

    FKMI_TRY(read_exactly(npy->bytes, front, 8));
    if (memcmp(front, "\x93NUMPY", 6) != 0)
        return fkmi_fail(FKM_EDATA, "%s is not an .npy file: it does not begin as one", npy->bytes->name);
    if (front[6] < 1 || front[6] > 3 || front[7] != 0)
        return fkmi_fail(FKM_EUNSUPPORTED, "%s is .npy version %d.%d, valid: 1.0, 2.0, 3.0", npy->bytes->name,
                         front[6], front[7]);
    FKMI_TRY(read_exactly(npy->bytes, front + 8, front[6] == 1 ? 2 : 4));
    length = front[8] | front[9] << 8;
    if (front[6] > 1)
        length |= (int64_t)front[10] << 16 | (int64_t)front[11] << 24;
    if (length > HEADER_BYTES_MAX)
        return fkmi_fail(FKM_EDATA, "%s has a header of %lld bytes, at most %d are valid", npy->bytes->name,
                         (long long)length, HEADER_BYTES_MAX);
    FKMI_TRY(fkmi_resize(&npy->buffer, length + 1, 1));
    npy->buffer_bytes = length + 1;
    FKMI_TRY(read_exactly(npy->bytes, npy->buffer, length));
    reader = (struct reader){npy->buffer, npy->buffer + length};
    if (!take_header(&reader, &header)) {
        char shown[FKMI_EXCERPT_BYTES];

        fkmi_excerpt(shown, npy->buffer, (size_t)length);
        return fkmi_fail(FKM_EDATA, "%s has a header that is not understood at byte %lld: %s",
                         npy->bytes->name, (long long)(reader.at - npy->buffer), shown);
    }
    npy->data = npy->bytes->offset;
    FKMI_TRY(set_type(npy, header.descr));
    return set_shape(npy, &header);
}

/* A mapped file must be as large as its shape says, no less and no more. */
static fkm_status check_size(struct fkmi_npy *npy)
{
    const int64_t expected = npy->data + npy->n_rows * npy->n_cols * npy->item;
    const void *map;
    size_t size;

    FKMI_TRY(fkmi_bytes_map(npy->bytes, &map, &size));
    npy->map = map;
    if (map && (int64_t)size != expected)
        return fkmi_fail(FKM_EDATA, "%s has %zu bytes, its header promises %lld", npy->bytes->name, size,
                         (long long)expected);
    return FKM_OK;
}

fkm_status fkmi_npy_begin(struct fkmi_npy *npy, struct fkmi_bytes *bytes)
{
    fkm_status status;

    *npy = (struct fkmi_npy){.bytes = bytes};
    status = read_header(npy);
    if (status == FKM_OK)
        status = check_size(npy);
    if (status != FKM_OK) {
        fkmi_free(npy->buffer);
        *npy = (struct fkmi_npy){0};
    }
    return status;
}

void fkmi_npy_end(struct fkmi_npy *npy)
{
    fkmi_bytes_close(npy->bytes);
    fkmi_free(npy->buffer);
    *npy = (struct fkmi_npy){0};
}

/* Reads `length` bytes into the buffer, which grows only as bytes arrive: a header may promise any number. */
static fkm_status read_growing(struct fkmi_npy *npy, int64_t length)
{
    enum { FIRST_PIECE = 1 << 20 };

    for (int64_t have = 0; have < length;) {
        const int64_t left = length - have;
        int64_t piece = npy->buffer_bytes - have;

        if (piece <= 0) {
            piece = have > FIRST_PIECE ? have : FIRST_PIECE;
            piece = piece < left ? piece : left;
            FKMI_TRY(fkmi_resize(&npy->buffer, have + piece, 1));
            npy->buffer_bytes = have + piece;
        }
        piece = piece < left ? piece : left;
        FKMI_TRY(read_exactly(npy->bytes, npy->buffer + have, piece));
        have += piece;
    }
    return FKM_OK;
}

fkm_status fkmi_npy_rows(struct fkmi_npy *npy, int64_t first, int64_t n, const char **rows)
{
    const int64_t row_bytes = npy->n_cols * npy->item, place = npy->data + first * row_bytes;

    if (npy->map) {
        FKMI_TRY(fkmi_bytes_still_whole(npy->bytes));
        fkmi_bytes_passed(npy->bytes, place);
        *rows = npy->map + place;
        return FKM_OK;
    }
    if (npy->bytes->offset != place)
        FKMI_TRY(fkmi_bytes_seek(npy->bytes, place));
    FKMI_TRY(read_growing(npy, n * row_bytes));
    *rows = npy->buffer;
    return FKM_OK;
}

fkm_status fkmi_npy_check_end(struct fkmi_npy *npy)
{
    const int64_t expected = npy->data + npy->n_rows * npy->n_cols * npy->item;
    char more;
    size_t got;

    if (npy->map)
        return FKM_OK;
    if (npy->bytes->offset != expected)
        FKMI_TRY(fkmi_bytes_seek(npy->bytes, expected));
    FKMI_TRY(fkmi_bytes_read(npy->bytes, &more, 1, &got));
    if (got > 0)
        return fkmi_fail(FKM_EDATA, "%s goes on after the %lld bytes its header promises", npy->bytes->name,
                         (long long)expected);
    return FKM_OK;
}

/* ---- elements; a mapped file may put them at any address */

bool fkmi_npy_int64(const struct fkmi_npy *npy, const char *rows, int64_t i, int64_t *out)
{
    const char *at = rows + i * npy->item;
    uint64_t bits = 0;

    memcpy(&bits, at, (size_t)npy->item); /* little-endian, as this processor */
    if (npy->kind == FKMI_NPY_INT && npy->item < 8) {
        const uint64_t sign = UINT64_C(1) << (8 * npy->item - 1);

        bits = (bits ^ sign) - sign;
    }
    *out = (int64_t)bits;
    return npy->kind == FKMI_NPY_INT || *out >= 0;
}

double fkmi_npy_double(const struct fkmi_npy *npy, const char *rows, int64_t i)
{
    const char *at = rows + i * npy->item;
    int64_t integer;
    uint64_t bits;
    uint16_t half;
    double wide;
    float single;

    if (npy->kind != FKMI_NPY_FLOAT) {
        if (fkmi_npy_int64(npy, rows, i, &integer))
            return (double)integer;
        memcpy(&bits, at, sizeof bits);
        return (double)bits;
    }
    switch (npy->item) {
    case 2:
        memcpy(&half, at, sizeof half);
        return (double)fkmi_f32_of_f16(half);
    case 4:
        memcpy(&single, at, sizeof single);
        return (double)single;
    default:
        memcpy(&wide, at, sizeof wide);
        return wide;
    }
}
