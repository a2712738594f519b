/* words.h — the words of a text: runs of letters and digits, with upper and lower case made one.
 *
 * Text is UTF-8; a byte that is not part of it separates words, as spaces and punctuation do. A word has two
 * characters at least and FKMI_WORD_BYTES_MAX bytes at most; others are left out. Of scripts written without spaces
 * (Han, Hiragana, Katakana) each character is a word.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_TEXT_WORDS_H
#define FKMI_TEXT_WORDS_H

#include "base/error.h"

#define FKMI_WORD_BYTES_MAX 256

/* Word i is text[begin[i] .. begin[i + 1] - 1): a space follows each, so that words i to j with the spaces between
 * them are text[begin[i] .. begin[j + 1] - 1). */
struct fkmi_words { /* zeroed: none; memory is kept for the next text */
    char *text;
    size_t text_room;
    int64_t *begin; /* n + 1 */
    int64_t n, room;
};
fkm_status fkmi_words_read(struct fkmi_words *words, const char *text, size_t length);
void fkmi_words_free(struct fkmi_words *words);

#endif
