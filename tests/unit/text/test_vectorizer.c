/* test_vectorizer.c — TF-IDF against plain loops over plain lists; states, limits and failing allocations.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/memory.h"
#include "support/test.h"
#include "text/vectorizer.h"

enum { TEXTS = 40, MOST_TERMS = 4000, WORDS = 12 };

/* ---- the oracle: texts of words "aa" ... as lists of numbers, terms as texts compared one by one */

struct corpus {
    char text[TEXTS][WORDS * 4 + 1];
    const char *texts[TEXTS];
    char word[TEXTS][WORDS][4];
    int n_words[TEXTS];
};

static void make_corpus(struct corpus *corpus, uint32_t seed)
{
    memset(corpus, 0, sizeof *corpus);
    for (int i = 0; i < TEXTS; i++) {
        size_t length = 0;

        corpus->n_words[i] = i == 7 ? 0 : i % WORDS + 1;
        for (int w = 0; w < corpus->n_words[i]; w++) {
            seed = seed * 1664525u + 1013904223u;
            snprintf(corpus->word[i][w], 4, "%c%c", 'a' + (int)(seed >> 24) % 4,
                     'a' + (int)(seed >> 16 & 255) % 3);
            memcpy(corpus->text[i] + length, corpus->word[i][w], 2);
            memcpy(corpus->text[i] + length + 2, w % 3 ? "  " : ", ", 2);
            length += 4;
        }
        corpus->texts[i] = corpus->text[i];
    }
}

/* How often words [from, from + n) of the term stand in text i. */
static int occurrences(const struct corpus *corpus, int i, const char *term)
{
    int count = 0;

    for (int n = 1; n <= 3; n++)
        for (int from = 0; from + n <= corpus->n_words[i]; from++) {
            char joined[16] = "";
            for (int w = from; w < from + n; w++) {
                strcat(joined, w > from ? " " : "");
                strcat(joined, corpus->word[i][w]);
            }
            count += strcmp(joined, term) == 0;
        }
    return count;
}

static int documents_with(const struct corpus *corpus, const char *term)
{
    int count = 0;

    for (int i = 0; i < TEXTS; i++)
        count += occurrences(corpus, i, term) > 0;
    return count;
}

static double weight(int tf, int documents, bool sublinear)
{
    const double idf = log((1.0 + TEXTS) / (1.0 + documents)) + 1;

    return tf == 0 ? 0 : (sublinear ? 1 + log(tf) : tf) * idf;
}

static double entry(const fkm_batch *batch, int64_t row, int32_t column)
{
    for (int64_t e = batch->indptr[row]; e < batch->indptr[row + 1]; e++)
        if (batch->indices[e] == column)
            return (double)((const float *)batch->values)[e];
    return 0;
}

static fkm_vectorizer *learned(const fkm_vectorizer_options *options, const struct corpus *corpus)
{
    fkm_vectorizer *vectorizer;

    CHECK_OK(fkm_vectorizer_create(options, &vectorizer));
    CHECK_OK(fkm_vectorizer_learn(vectorizer, TEXTS / 2, corpus->texts, NULL));
    CHECK_OK(fkm_vectorizer_learn(vectorizer, TEXTS - TEXTS / 2, corpus->texts + TEXTS / 2, NULL));
    CHECK_OK(fkm_vectorizer_finish(vectorizer));
    return vectorizer;
}

static void check_against_oracle(const struct corpus *corpus, const fkm_vectorizer *vectorizer,
                                 bool sublinear)
{
    fkm_vectorizer_info info = {.struct_size = sizeof info};
    static double plain[MOST_TERMS];
    static int documents[MOST_TERMS];
    fkm_text_rows *rows;
    fkm_batch batch;

    CHECK_OK(fkm_vectorizer_describe(vectorizer, &info));
    CHECK_OK(fkm_text_rows_create(vectorizer, &rows));
    CHECK_OK(fkm_text_rows_make(rows, TEXTS, corpus->texts, NULL, &batch));
    CHECK_INT(TEXTS, batch.n_rows);
    CHECK_INT(info.n_features, batch.n_cols);
    CHECK(info.n_features <= MOST_TERMS);
    for (int64_t f = 0; f < info.n_features; f++)
        documents[f] = documents_with(corpus, fkm_vectorizer_term(vectorizer, f));
    for (int i = 0; i < TEXTS; i++) {
        double square = 0;
        for (int64_t f = 0; f < info.n_features; f++) {
            plain[f] =
                weight(occurrences(corpus, i, fkm_vectorizer_term(vectorizer, f)), documents[f], sublinear);
            square += plain[f] * plain[f];
        }
        for (int64_t f = 0; f < info.n_features; f++)
            CHECK_NEAR(square > 0 ? plain[f] / sqrt(square) : 0, entry(&batch, i, (int32_t)f), 1e-6);
        for (int64_t e = batch.indptr[i] + 1; e < batch.indptr[i + 1]; e++)
            CHECK(batch.indices[e - 1] < batch.indices[e]);
    }
    fkm_text_rows_free(rows);
}

TEST(rows_are_those_of_plain_loops)
{
    struct corpus corpus;

    for (int ngrams = 1; ngrams <= 3; ngrams++)
        for (int least = 1; least <= 3; least++) {
            fkm_vectorizer_options options = FKM_VECTORIZER_OPTIONS_INIT;
            fkm_vectorizer_info info = {.struct_size = sizeof info};
            fkm_vectorizer *vectorizer;

            make_corpus(&corpus, (uint32_t)(ngrams * 10 + least));
            options.ngrams = ngrams;
            options.min_documents = least;
            options.sublinear = least % 2;
            vectorizer = learned(&options, &corpus);
            CHECK_OK(fkm_vectorizer_describe(vectorizer, &info));
            CHECK(info.finished && info.n_documents == TEXTS && info.n_features > 5);
            for (int64_t f = 0; f < info.n_features; f++) {
                const char *term = fkm_vectorizer_term(vectorizer, f);
                CHECK(f == 0 || strcmp(fkm_vectorizer_term(vectorizer, f - 1), term) < 0);
                CHECK_INT(documents_with(&corpus, term), vectorizer->counts[f]);
                CHECK(vectorizer->counts[f] >= least);
            }
            check_against_oracle(&corpus, vectorizer, options.sublinear);
            fkm_vectorizer_free(vectorizer);
        }
    CHECK_INT(0, (long long)fkmi_memory_held());
}

TEST(the_terms_of_most_texts_are_kept)
{
    static const char *const texts[] = {"aa bb", "aa cc", "aa bb dd", "ee ff"};
    fkm_vectorizer_options options = FKM_VECTORIZER_OPTIONS_INIT;
    fkm_vectorizer *vectorizer;

    options.n_features = 3;
    CHECK_OK(fkm_vectorizer_create(&options, &vectorizer));
    CHECK_OK(fkm_vectorizer_learn(vectorizer, 4, texts, NULL));
    CHECK_OK(fkm_vectorizer_finish(vectorizer));
    CHECK_TEXT("aa", fkm_vectorizer_term(vectorizer, 0));
    CHECK_TEXT("bb", fkm_vectorizer_term(vectorizer, 1));
    CHECK_TEXT("cc", fkm_vectorizer_term(vectorizer, 2)); /* among those of one text, the first */
    CHECK(fkm_vectorizer_term(vectorizer, 3) == NULL && fkm_vectorizer_term(vectorizer, -1) == NULL);
    fkm_vectorizer_free(vectorizer);
}

TEST(hashed_terms_fall_into_their_columns)
{
    static const char *const texts[] = {"one two three", "two", "", "three two one"};
    fkm_vectorizer_options options = FKM_VECTORIZER_OPTIONS_INIT;
    fkm_vectorizer *vectorizer;
    fkm_text_rows *rows;
    fkm_batch batch;
    double idf[1000];

    options.hashed = 1;
    options.n_features = 1000;
    CHECK_OK(fkm_vectorizer_create(&options, &vectorizer));
    CHECK_OK(fkm_vectorizer_learn(vectorizer, 4, texts, NULL));
    CHECK_OK(fkm_vectorizer_finish(vectorizer));
    CHECK_OK(fkm_vectorizer_idf(vectorizer, idf));
    CHECK_OK(fkm_text_rows_create(vectorizer, &rows));
    CHECK_OK(fkm_text_rows_make(rows, 4, texts, NULL, &batch));
    CHECK_INT(1000, batch.n_cols);
    CHECK_INT(3, batch.indptr[1]);
    CHECK_INT(1, batch.indptr[2] - batch.indptr[1]);
    CHECK_INT(0, batch.indptr[3] - batch.indptr[2]);
    CHECK_NEAR(1, ((const float *)batch.values)[3], 0);
    CHECK_NEAR(log(5.0 / 4) + 1, idf[batch.indices[3]], 1e-12);
    CHECK(memcmp(batch.indices, batch.indices + 4, 3 * sizeof(int32_t)) == 0); /* any order of words */
    CHECK(fkm_vectorizer_term(vectorizer, 0) == NULL);
    /* FNV-1a of 64 bits and the finish of MurmurHash3, worked out by hand: files depend on it. */
    CHECK(fkmi_term_hash("", 0) == UINT64_C(0xefd01f60ba992926));
    fkm_text_rows_free(rows);
    fkm_vectorizer_free(vectorizer);
}

TEST(calls_out_of_turn_are_refused)
{
    static const char *const texts[] = {"aa bb", ". !"};
    fkm_vectorizer_options options = FKM_VECTORIZER_OPTIONS_INIT;
    fkm_vectorizer *vectorizer;
    fkm_text_rows *rows;
    double idf[2];

    options.ngrams = 6;
    CHECK_STATUS(FKM_EINVAL, fkm_vectorizer_create(&options, &vectorizer));
    CHECK_SAYS("ngrams is 6", fkm_last_error());
    options.ngrams = 1;
    options.min_documents = 0;
    CHECK_STATUS(FKM_EINVAL, fkm_vectorizer_create(&options, &vectorizer));
    options.min_documents = 2;
    options.n_features = -1;
    CHECK_STATUS(FKM_EINVAL, fkm_vectorizer_create(&options, &vectorizer));
    options.n_features = 0;
    CHECK_OK(fkm_vectorizer_create(&options, &vectorizer));
    CHECK_STATUS(FKM_ESTATE, fkm_vectorizer_finish(vectorizer));
    CHECK_STATUS(FKM_ESTATE, fkm_text_rows_create(vectorizer, &rows));
    CHECK_STATUS(FKM_ESTATE, fkm_vectorizer_idf(vectorizer, idf));
    CHECK_STATUS(FKM_EINVAL, fkm_vectorizer_learn(vectorizer, 2, NULL, NULL));
    CHECK_SAYS("texts is NULL", fkm_last_error());
    CHECK_STATUS(FKM_EINVAL, fkm_vectorizer_learn(vectorizer, -2, texts, NULL));
    CHECK_SAYS("-2 texts", fkm_last_error());
    CHECK_OK(fkm_vectorizer_learn(vectorizer, 2, texts, NULL));
    CHECK_STATUS(FKM_EDATA, fkm_vectorizer_finish(vectorizer));
    CHECK_SAYS("none of the 2 terms is in 2 of the 2 texts", fkm_last_error());
    CHECK_OK(fkm_vectorizer_learn(vectorizer, 1, texts, (const size_t[]){2}));
    CHECK_OK(fkm_vectorizer_finish(vectorizer)); /* "aa" */
    CHECK_TEXT("aa", fkm_vectorizer_term(vectorizer, 0));
    CHECK_STATUS(FKM_ESTATE, fkm_vectorizer_learn(vectorizer, 1, texts, NULL));
    CHECK_STATUS(FKM_ESTATE, fkm_vectorizer_finish(vectorizer));
    fkm_vectorizer_free(vectorizer);
    fkm_vectorizer_free(NULL);
    CHECK_INT(0, (long long)fkmi_memory_held());
}

/* Everything once; what failed is asked again where that is allowed. */
static fkm_status all_of_it(const struct corpus *corpus, const fkm_vectorizer_options *options)
{
    fkm_status status = FKM_OK;
    fkm_vectorizer *vectorizer = NULL;
    fkm_text_rows *rows = NULL;
    fkm_batch batch;

    FKMI_TRY_GOTO(fkm_vectorizer_create(options, &vectorizer));
    FKMI_TRY_GOTO(fkm_vectorizer_learn(vectorizer, TEXTS, corpus->texts, NULL));
    status = fkm_vectorizer_finish(vectorizer);
    if (status == FKM_ENOMEM) {
        CHECK_OK(fkm_vectorizer_finish(vectorizer));
        check_against_oracle(corpus, vectorizer, true);
    }
    FKMI_TRY_GOTO(status);
    FKMI_TRY_GOTO(fkm_text_rows_create(vectorizer, &rows));
    FKMI_TRY_GOTO(fkm_text_rows_make(rows, TEXTS, corpus->texts, NULL, &batch));
done:
    fkm_text_rows_free(rows);
    fkm_vectorizer_free(vectorizer);
    return status;
}

TEST(every_allocation_may_fail)
{
    fkm_vectorizer_options options = FKM_VECTORIZER_OPTIONS_INIT;
    struct corpus corpus;
    int64_t n = 0;

    make_corpus(&corpus, 3);
    options.ngrams = 2;
    for (fkm_status status = FKM_ENOMEM; status != FKM_OK; n++) {
        fkmi_memory_fail(n + 1, 0);
        status = all_of_it(&corpus, &options);
        fkmi_memory_fail(0, 0);
        CHECK(status == FKM_OK || status == FKM_ENOMEM);
        CHECK_INT(0, (long long)fkmi_memory_held());
    }
    CHECK(n > 10);
}
