/* vectorizer.h — the inside of a public fkm_vectorizer, and one row made of texts.
 *
 * A row's words and the n-grams of up to options.ngrams neighbouring words are its terms. tf = how often a term comes
 * (sublinear: 1 + ln of it), idf = ln((1 + documents) / (1 + count)) + 1; a row holds tf x idf, divided by its length.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_TEXT_VECTORIZER_H
#define FKMI_TEXT_VECTORIZER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "text/terms.h"
#include "text/words.h"

#define FKMI_NGRAMS_MAX 5

struct fkm_vectorizer {
    fkm_vectorizer_options options;
    atomic_long holders; /* finished ones are shared */
    bool finished;
    int64_t n_features; /* 0 while a vocabulary grows */
    int64_t documents;
    int64_t *counts; /* documents with each feature; while a vocabulary grows, with each term */
    int64_t count_room;
    double *idf;
    struct fkmi_terms terms; /* finished: by ascending bytes, its numbers are the features */
};
/* One more owner of a finished one; fkm_vectorizer_free lets go. */
fkm_vectorizer *fkmi_vectorizer_share(const fkm_vectorizer *vectorizer);
/* A finished one from what a file says. texts: n_features zero-terminated terms one after the other (bytes in all),
 * NULL when hashed. FKM_EDATA for anything that finishing could not have made. */
fkm_status fkmi_vectorizer_restore(const fkm_vectorizer_options *options, int64_t documents,
                                   int64_t n_features, const int64_t *counts, const char *texts,
                                   int64_t bytes, fkm_vectorizer **out);
fkm_status fkmi_vectorizer_check(const fkm_vectorizer *vectorizer, bool finished);

/* A row in the making: begin, add texts, then end or count. One thread. */
struct fkmi_text_row { /* zeroed: empty */
    struct fkmi_words words;
    int32_t *ids, *spare; /* the terms as they come */
    int64_t n_ids, id_room;
    int32_t *index; /* ascending; n entries of the ended row */
    double *value;
    int64_t n, room;
};
void fkmi_text_row_begin(struct fkmi_text_row *row);
/* Terms do not reach over from one text to the next. New terms join a vocabulary that is not finished. */
fkm_status fkmi_text_row_add(fkm_vectorizer *vectorizer, struct fkmi_text_row *row, const char *text,
                             size_t length);
/* Not finished: counts the row's terms; the row has no entries. Finished: makes its entries. */
fkm_status fkmi_text_row_end(fkm_vectorizer *vectorizer, struct fkmi_text_row *row);
void fkmi_text_row_free(struct fkmi_text_row *row);

#endif
