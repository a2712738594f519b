/* words.c — cuts UTF-8 into words by short tables of code points, in linear time.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/words.h"

#include <stdbool.h>

#include "base/memory.h"

struct range {
    int32_t first, last;
};

/* What separates words beyond ASCII: punctuation, symbols, what is private or not assigned to a script. Every other
 * code point counts as a letter, marks that combine with letters among them. Ascending. */
static const struct range separators[] = {
    {0x80, 0xa9},       {0xab, 0xb1},        {0xb4, 0xb4},     {0xb6, 0xb8},     {0xbb, 0xbb},
    {0xbf, 0xbf},       {0xd7, 0xd7},        {0xf7, 0xf7},     {0x2c2, 0x2c5},   {0x2d2, 0x2df},
    {0x37e, 0x37e},     {0x387, 0x387},      {0x55a, 0x55f},   {0x589, 0x58f},   {0x5be, 0x5be},
    {0x5c0, 0x5c0},     {0x5c3, 0x5c3},      {0x5f3, 0x5f4},   {0x600, 0x60f},   {0x61b, 0x61f},
    {0x66a, 0x66d},     {0x6d4, 0x6d4},      {0x6dd, 0x6de},   {0x700, 0x70f},   {0x964, 0x965},
    {0x970, 0x970},     {0xe3f, 0xe3f},      {0xe4f, 0xe4f},   {0xe5a, 0xe5b},   {0x10fb, 0x10fb},
    {0x1360, 0x1368},   {0x1680, 0x1680},    {0x17d4, 0x17d6}, {0x2000, 0x200b}, {0x200e, 0x206f},
    {0x207a, 0x207e},   {0x208a, 0x208e},    {0x20a0, 0x20cf}, {0x2190, 0x245f}, {0x249c, 0x24e9},
    {0x2500, 0x2775},   {0x2794, 0x2bff},    {0x2e00, 0x2e7f}, {0x3000, 0x3004}, {0x3008, 0x3020},
    {0x3030, 0x3030},   {0x303d, 0x3040},    {0x309b, 0x309c}, {0x30a0, 0x30a0}, {0x30fb, 0x30fb},
    {0xe000, 0xf8ff},   {0xfd3e, 0xfd3f},    {0xfe10, 0xfe1f}, {0xfe30, 0xfe6f}, {0xfeff, 0xff0f},
    {0xff1a, 0xff20},   {0xff3b, 0xff40},    {0xff5b, 0xff65}, {0xffe0, 0xffff}, {0x1d000, 0x1d3ff},
    {0x1f000, 0x1faff}, {0xe0000, 0x10ffff},
};

/* Characters that are words by themselves. Ascending; separators come first. */
static const struct range ideographs[] = {
    {0x3005, 0x3007}, {0x3041, 0x30ff}, {0x31f0, 0x31ff}, {0x3400, 0x4dbf},
    {0x4e00, 0x9fff}, {0xf900, 0xfaff}, {0xff66, 0xff9d}, {0x20000, 0x3ffff},
};

static bool is_in(const struct range *ranges, int n, int32_t c)
{
    int low = 0, high = n;

    while (low < high) {
        const int middle = (low + high) / 2;

        if (c > ranges[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && c >= ranges[low].first;
}
#define IS_IN(ranges, c) is_in(ranges, (int)(sizeof(ranges) / sizeof *(ranges)), c)

/* Lower case of Latin, Greek, Cyrillic and Armenian letters, whose UTF-8 is as long as that of the upper case. */
static int32_t fold(int32_t c)
{
    static const struct {
        int32_t first, last;
        int32_t add; /* 0: every second letter is the next one's upper case, beginning with the first */
    } cases[] = {
        {0xc0, 0xd6, 32},    {0xd8, 0xde, 32},     {0x100, 0x12f, 0},    {0x132, 0x137, 0},
        {0x139, 0x148, 0},   {0x14a, 0x177, 0},    {0x178, 0x178, -121}, {0x179, 0x17e, 0},
        {0x386, 0x386, 38},  {0x388, 0x38a, 37},   {0x38c, 0x38c, 64},   {0x38e, 0x38f, 63},
        {0x391, 0x3a1, 32},  {0x3a3, 0x3ab, 32},   {0x3c2, 0x3c2, 1},    {0x400, 0x40f, 80},
        {0x410, 0x42f, 32},  {0x460, 0x481, 0},    {0x48a, 0x4bf, 0},    {0x4c0, 0x4c0, 15},
        {0x4c1, 0x4ce, 0},   {0x4d0, 0x52f, 0},    {0x531, 0x556, 48},   {0x1e00, 0x1e95, 0},
        {0x1ea0, 0x1eff, 0}, {0xff21, 0xff3a, 32},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases && c >= cases[i].first; i++)
        if (c <= cases[i].last)
            return cases[i].add != 0 ? c + cases[i].add : c + ((c - cases[i].first) % 2 == 0);
    return c;
}

/* The code point at `at` and its bytes; -1 and 1 for a byte that is no UTF-8. */
static int32_t decode(const unsigned char *at, const unsigned char *end, int *bytes)
{
    static const int32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const int n = *at < 0x80 ? 1 : *at < 0xc2 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : *at < 0xf5 ? 4 : 0;
    int32_t c;

    *bytes = 1;
    if (n <= 1)
        return n == 1 ? *at : -1;
    if (end - at < n)
        return -1;
    c = *at & (0xff >> (n + 1));
    for (int i = 1; i < n; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return -1;
        c = c << 6 | (at[i] & 0x3f);
    }
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return -1;
    *bytes = n;
    return c;
}

static char *encode(char *out, int32_t c, int bytes)
{
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};

    if (bytes == 1) {
        *out = (char)c;
        return out + 1;
    }
    for (int i = bytes - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(unsigned char)(0x80 | (c & 0x3f));
    out[0] = (char)(unsigned char)(lead[bytes] | c);
    return out + bytes;
}

/* Room for the words of `length` bytes: a character of one byte is no word, so a word and its space are at most
 * 3/2 of the text. */
static fkm_status make_room(struct fkmi_words *words, size_t length)
{
    const size_t text_room = length + length / 2 + 2;
    const int64_t room = (int64_t)(length / 2) + 2;

    if (text_room > words->text_room) {
        FKMI_TRY(fkmi_resize(&words->text, (int64_t)(2 * text_room), 1));
        words->text_room = 2 * text_room;
    }
    if (room > words->room) {
        FKMI_TRY(fkmi_resize(&words->begin, 2 * room, sizeof *words->begin));
        words->room = 2 * room;
    }
    return FKM_OK;
}

/* The word that was being written ends: keeps it or takes it back. Returns where the next one goes. */
static char *end_word(struct fkmi_words *words, char *out, int64_t characters, bool ideograph)
{
    char *begin = words->text + words->begin[words->n];

    if (characters == 0)
        return out;
    if ((characters < 2 && !ideograph) || out - begin > FKMI_WORD_BYTES_MAX)
        return begin;
    *out++ = ' ';
    words->begin[++words->n] = out - words->text;
    return out;
}

fkm_status fkmi_words_read(struct fkmi_words *words, const char *text, size_t length)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + length;
    int64_t characters = 0; /* of the word being written */
    char *out;
    int bytes;

    FKMI_TRY(make_room(words, length));
    out = words->text;
    words->n = 0;
    words->begin[0] = 0;
    for (; at < end; at += bytes) {
        const int32_t c = decode(at, end, &bytes);
        const bool ascii = c >= 0 && c < 0x80;

        if (ascii &&
            ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || c == '_')) {
            *out++ = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
            characters++;
        } else if (c < 0x80 || IS_IN(separators, c)) {
            out = end_word(words, out, characters, false);
            characters = 0;
        } else if (IS_IN(ideographs, c)) {
            out = end_word(words, out, characters, false);
            out = end_word(words, encode(out, c, bytes), 1, true);
            characters = 0;
        } else {
            out = encode(out, fold(c), bytes);
            characters++;
        }
    }
    end_word(words, out, characters, false);
    return FKM_OK;
}

void fkmi_words_free(struct fkmi_words *words)
{
    fkmi_free(words->text);
    fkmi_free(words->begin);
    *words = (struct fkmi_words){0};
}
