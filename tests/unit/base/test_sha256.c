/* test_sha256.c — the examples of FIPS 180-4, and pieces of every length.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/sha256.h"

#include "support/test.h"

static void hash_in_pieces(const char *text, size_t length, size_t piece, char hex[65])
{
    struct fkmi_sha256 hash;

    fkmi_sha256_begin(&hash);
    for (size_t at = 0; at < length; at += piece)
        fkmi_sha256_add(&hash, text + at, length - at < piece ? length - at : piece);
    fkmi_sha256_end(&hash, hex);
}

TEST(the_standards_examples)
{
    static const struct {
        const char *text, *hex;
    } known[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmno"
         "pqrstnopqrstu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    char hex[65];

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        hash_in_pieces(known[i].text, strlen(known[i].text), 1000, hex);
        CHECK_TEXT(known[i].hex, hex);
    }
}

TEST(a_million_letters_in_pieces_of_any_length)
{
    static const size_t pieces[] = {1, 3, 63, 64, 65, 1000, 1000000};
    static char text[1000000];
    char hex[65];

    memset(text, 'a', sizeof text);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        hash_in_pieces(text, sizeof text, pieces[i], hex);
        CHECK_TEXT("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0", hex);
    }
}

TEST(every_length_around_the_padding)
{
    char text[200], whole[65], pieces[65], before[65] = "";

    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * 7);
    for (size_t length = 0; length < sizeof text; length++) {
        hash_in_pieces(text, length, 1000, whole);
        hash_in_pieces(text, length, 13, pieces);
        CHECK_TEXT(whole, pieces);
        CHECK(strcmp(whole, before) != 0);
        strcpy(before, whole);
    }
}
