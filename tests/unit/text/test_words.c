/* test_words.c — what words are: letters of many scripts, cases made one, what is left out, hostile bytes.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/memory.h"
#include "support/test.h"
#include "text/words.h"

/* The words with '|' after each. */
static const char *words_of(const char *text, size_t length)
{
    static char joined[4096];
    struct fkmi_words words = {0};
    size_t n = 0;

    CHECK_OK(fkmi_words_read(&words, text, length));
    for (int64_t i = 0; i < words.n; i++) {
        const size_t bytes = (size_t)(words.begin[i + 1] - 1 - words.begin[i]);

        CHECK(words.text[words.begin[i + 1] - 1] == ' ');
        memcpy(joined + n, words.text + words.begin[i], bytes);
        n += bytes;
        joined[n++] = '|';
    }
    joined[n] = 0;
    fkmi_words_free(&words);
    return joined;
}
#define CHECK_WORDS(expected, text) CHECK_TEXT(expected, words_of(text, strlen(text)))

TEST(words_are_runs_of_letters_and_digits)
{
    CHECK_WORDS("", "");
    CHECK_WORDS("", " a , b. ");
    CHECK_WORDS("hello|world|42|snake_case|", "Hello, WORLD! 42 snake_case x");
    CHECK_WORDS("don|it|is|", "don't  it's is");
    CHECK_WORDS("tabs|lines|", "tabs\tlines\r\n");
    CHECK_WORDS("ab|", "ab");
}

TEST(letters_beyond_ascii_are_letters)
{
    CHECK_WORDS("ünïcode|straße|", "Ünïcode «Straße»");
    CHECK_WORDS("привет|мир|ёлка|", "ПРИВЕТ, Мир — Ёлка!");
    CHECK_WORDS("οδοσ|άνθη|", "ΟΔΟΣ Άνθη");
    CHECK_WORDS("οδοσ|", "οδος"); /* the final sigma is a sigma */
    CHECK_WORDS("zażółć|gęślą|", "ZAŻÓŁĆ gęślą");
    CHECK_WORDS("việt|", "VIỆT");
    CHECK_WORDS("ÿy|žena|", "ŸY Žena");
    CHECK_WORDS("երևան|", "ԵՐևԱՆ");
    CHECK_WORDS("हिन्दी|", "हिन्दी।");
    CHECK_WORDS("한국어|", "한국어");
    CHECK_WORDS("e\xcc\x81t\xc3\xa9|", "E\xcc\x81t\xc3\xa9"); /* combining marks belong to their word */
    CHECK_WORDS("ab|cd|", "ab\xf0\x9f\x98\x80"
                          "cd"); /* an emoji separates */
}

TEST(scripts_without_spaces_give_a_word_for_each_character)
{
    CHECK_WORDS("中|文|ab|", "中文ab、a");
    CHECK_WORDS("こ|れ|", "これ。");
}

TEST(bytes_that_are_no_text_separate)
{
    CHECK_WORDS("ab|cd|", "ab\xff"
                          "cd");
    CHECK_WORDS("ab|cd|", "ab\xc3"
                          "cd"); /* cut off */
    CHECK_WORDS("ab|cd|", "ab\xc0\xaf"
                          "cd"); /* overlong */
    CHECK_WORDS("ab|cd|", "ab\xed\xa0\x80"
                          "cd"); /* a surrogate */
    CHECK_WORDS("ab|cd|", "ab\xf4\x90\x80\x80"
                          "cd"); /* beyond Unicode */
    CHECK_WORDS("ab|", "ab\xe4\xb8");
    CHECK_TEXT("ab|cd|", words_of("ab\0cd", 5));
}

TEST(overlong_words_are_left_out)
{
    char text[FKMI_WORD_BYTES_MAX + 8];

    memset(text, 'x', sizeof text);
    memcpy(text + FKMI_WORD_BYTES_MAX, " end", 4);
    CHECK_INT(FKMI_WORD_BYTES_MAX + 1 + 4, (long long)strlen(words_of(text, FKMI_WORD_BYTES_MAX + 4)));
    memset(text, 'x', sizeof text);
    memcpy(text + FKMI_WORD_BYTES_MAX + 1, " end", 4);
    CHECK_TEXT("end|", words_of(text, FKMI_WORD_BYTES_MAX + 5));
}

/* Any bytes, each length in a block of its own: a sanitizer sees a step too far. */
TEST(any_bytes_are_read_within_bounds)
{
    struct fkmi_words words = {0};
    uint32_t state = 7;

    for (int round = 0; round < 3000; round++) {
        const size_t length = (size_t)(round % 40);
        char *text = malloc(length + 1);

        for (size_t i = 0; i < length; i++) {
            state = state * 1664525u + 1013904223u;
            text[i] = round % 2 ? (char)(state >> 24) : "ab \xc3\xa9\xe4\xb8\xad"[(state >> 24) % 8];
        }
        CHECK_OK(fkmi_words_read(&words, text, length));
        CHECK(words.n < words.room && (size_t)words.begin[words.n] <= words.text_room);
        for (int64_t i = 0; i < words.n; i++)
            CHECK(words.begin[i + 1] > words.begin[i] + 1);
        free(text);
    }
    fkmi_words_free(&words);
    CHECK_INT(0, (long long)fkmi_memory_held());
}
