/* vectorizer.c — learns which terms texts have and in how many of them each one comes.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/vectorizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/memory.h"

#define HASHED_FEATURES ((int64_t)1 << 18)
#define FEATURES_MAX    ((int64_t)1 << 30)
#define TERM_BYTES_MAX  (FKMI_NGRAMS_MAX * (FKMI_WORD_BYTES_MAX + 1))

/* ---- making */

static fkm_status check_options(const fkm_vectorizer_options *given, fkm_vectorizer_options *options)
{
    *options = (fkm_vectorizer_options)FKM_VECTORIZER_OPTIONS_INIT;
    if (given) {
        if (given->struct_size < sizeof(size_t) || given->struct_size > sizeof *options)
            return fkmi_fail(FKM_EINVAL, "fkm_vectorizer_options has struct_size %zu, this library knows %zu",
                             given->struct_size, sizeof *options);
        memcpy(options, given, given->struct_size);
        options->struct_size = sizeof *options;
    }
    if (options->n_features < 0 || options->n_features > FEATURES_MAX)
        return fkmi_fail(FKM_EINVAL, "n_features is %lld, valid: 0 to %lld", (long long)options->n_features,
                         (long long)FEATURES_MAX);
    if (options->ngrams < 1 || options->ngrams > FKMI_NGRAMS_MAX)
        return fkmi_fail(FKM_EINVAL, "ngrams is %d, valid: 1 to %d", (int)options->ngrams, FKMI_NGRAMS_MAX);
    if (options->min_documents < 1)
        return fkmi_fail(FKM_EINVAL, "min_documents is %lld; it must be >= 1",
                         (long long)options->min_documents);
    options->hashed = options->hashed != 0;
    options->sublinear = options->sublinear != 0;
    if (options->hashed && options->n_features == 0)
        options->n_features = HASHED_FEATURES;
    return FKM_OK;
}

fkm_status fkm_vectorizer_create(const fkm_vectorizer_options *options, fkm_vectorizer **out)
{
    fkm_status status = FKM_OK;
    fkm_vectorizer *vectorizer = NULL;
    fkm_vectorizer_options full;

    if (!out)
        return fkmi_fail(FKM_EINVAL, "out is NULL");
    *out = NULL;
    FKMI_TRY(check_options(options, &full));
    FKMI_TRY_GOTO(fkmi_alloc(&vectorizer, 1, sizeof *vectorizer));
    vectorizer->options = full;
    atomic_init(&vectorizer->holders, 1);
    if (full.hashed) {
        FKMI_TRY_GOTO(fkmi_alloc(&vectorizer->counts, full.n_features, sizeof *vectorizer->counts));
        vectorizer->n_features = vectorizer->count_room = full.n_features;
    }
    *out = vectorizer;
    vectorizer = NULL;
done:
    fkm_vectorizer_free(vectorizer);
    return status;
}

fkm_vectorizer *fkmi_vectorizer_share(const fkm_vectorizer *vectorizer)
{
    fkm_vectorizer *shared = (fkm_vectorizer *)(uintptr_t)vectorizer; /* only its holders change */

    atomic_fetch_add(&shared->holders, 1);
    return shared;
}

void fkm_vectorizer_free(fkm_vectorizer *vectorizer)
{
    if (!vectorizer || atomic_fetch_sub(&vectorizer->holders, 1) > 1)
        return;
    fkmi_terms_free(&vectorizer->terms);
    fkmi_free(vectorizer->counts);
    fkmi_free(vectorizer->idf);
    fkmi_free(vectorizer);
}

fkm_status fkmi_vectorizer_check(const fkm_vectorizer *vectorizer, bool finished)
{
    if (!vectorizer)
        return fkmi_fail(FKM_EINVAL, "vectorizer is NULL");
    if (vectorizer->finished != finished)
        return fkmi_fail(FKM_ESTATE, finished ? "the vectorizer is not finished yet"
                                              : "the vectorizer is finished: it learns no more");
    return FKM_OK;
}

/* ---- learning */

fkm_status fkm_vectorizer_learn(fkm_vectorizer *vectorizer, int64_t n, const char *const *texts,
                                const size_t *lengths)
{
    fkm_status status = FKM_OK;
    struct fkmi_text_row row = {0};

    FKMI_TRY(fkmi_vectorizer_check(vectorizer, false));
    if (n < 0)
        return fkmi_fail(FKM_EINVAL, "there are %lld texts", (long long)n);
    if (n > 0 && !texts)
        return fkmi_fail(FKM_EINVAL, "texts is NULL, there should be %lld", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        FKMI_TRY_GOTO(fkmi_check_interrupt());
        if (!texts[i])
            FKMI_TRY_GOTO(fkmi_fail(FKM_EINVAL, "text %lld is NULL", (long long)i));
        fkmi_text_row_begin(&row);
        FKMI_TRY_GOTO(fkmi_text_row_add(vectorizer, &row, texts[i], lengths ? lengths[i] : strlen(texts[i])));
        FKMI_TRY_GOTO(fkmi_text_row_end(vectorizer, &row));
    }
done:
    fkmi_text_row_free(&row);
    return status;
}

struct candidate {
    const char *text;
    int64_t count;
};

static int by_text(const void *a, const void *b)
{
    return strcmp(((const struct candidate *)a)->text, ((const struct candidate *)b)->text);
}

/* The most frequent first, ties by text. */
static int by_count(const void *a, const void *b)
{
    const struct candidate *first = a, *second = b;

    if (first->count != second->count)
        return first->count > second->count ? -1 : 1;
    return by_text(a, b);
}

/* The terms to keep, in the order of their bytes. */
static fkm_status choose(const fkm_vectorizer *vectorizer, struct candidate **chosen, int64_t *n)
{
    const int64_t most = vectorizer->options.n_features;

    *n = 0;
    FKMI_TRY(fkmi_alloc(chosen, vectorizer->terms.n, sizeof **chosen));
    for (int64_t i = 0; i < vectorizer->terms.n; i++)
        if (vectorizer->counts[i] >= vectorizer->options.min_documents)
            (*chosen)[(*n)++] = (struct candidate){vectorizer->terms.texts[i], vectorizer->counts[i]};
    if (most > 0 && *n > most) {
        qsort(*chosen, (size_t)*n, sizeof **chosen, by_count);
        *n = most;
    }
    qsort(*chosen, (size_t)*n, sizeof **chosen, by_text);
    return FKM_OK;
}

static fkm_status make_idf(fkm_vectorizer *vectorizer)
{
    FKMI_TRY(fkmi_alloc(&vectorizer->idf, vectorizer->n_features, sizeof *vectorizer->idf));
    for (int64_t i = 0; i < vectorizer->n_features; i++)
        vectorizer->idf[i] =
            log((1.0 + (double)vectorizer->documents) / (1.0 + (double)vectorizer->counts[i])) + 1;
    return FKM_OK;
}

/* A vocabulary of the chosen terms in the place of the candidates. */
static fkm_status settle(fkm_vectorizer *vectorizer, const struct candidate *chosen, int64_t n)
{
    fkm_status status = FKM_OK;
    struct fkmi_terms terms = {0};
    int64_t *counts = NULL, number;

    FKMI_TRY_GOTO(fkmi_alloc(&counts, n, sizeof *counts));
    for (int64_t i = 0; i < n; i++) {
        FKMI_TRY_GOTO(fkmi_terms_number(&terms, chosen[i].text, strlen(chosen[i].text), &number));
        counts[i] = chosen[i].count;
    }
    fkmi_terms_free(&vectorizer->terms);
    fkmi_free(vectorizer->counts);
    vectorizer->terms = terms;
    vectorizer->counts = counts;
    vectorizer->n_features = vectorizer->count_room = n;
    terms = (struct fkmi_terms){0};
    counts = NULL;
done:
    fkmi_terms_free(&terms);
    fkmi_free(counts);
    return status;
}

fkm_status fkm_vectorizer_finish(fkm_vectorizer *vectorizer)
{
    fkm_status status = FKM_OK;
    struct candidate *chosen = NULL;
    int64_t n = 0;

    FKMI_TRY(fkmi_vectorizer_check(vectorizer, false));
    if (vectorizer->documents == 0)
        return fkmi_fail(FKM_ESTATE, "the vectorizer has learned from no text");
    if (!vectorizer->options.hashed) {
        FKMI_TRY_GOTO(choose(vectorizer, &chosen, &n));
        if (n == 0)
            FKMI_TRY_GOTO(fkmi_fail(FKM_EDATA, "none of the %lld terms is in %lld of the %lld texts",
                                    (long long)vectorizer->terms.n,
                                    (long long)vectorizer->options.min_documents,
                                    (long long)vectorizer->documents));
        FKMI_TRY_GOTO(settle(vectorizer, chosen, n));
    }
    FKMI_TRY_GOTO(make_idf(vectorizer));
    vectorizer->finished = true;
done:
    fkmi_free(chosen);
    return status;
}

/* ---- from a file */

/* Words that stand in a text as they stand here. */
static fkm_status check_term(struct fkmi_words *words, const char *term, size_t length, bool *good)
{
    FKMI_TRY(fkmi_words_read(words, term, length));
    *good = words->n >= 1 && words->n <= FKMI_NGRAMS_MAX && words->begin[words->n] == (int64_t)length + 1 &&
            memcmp(words->text, term, length) == 0;
    return FKM_OK;
}

/* The terms must be as finishing leaves them: ascending, each what a text can have. */
static fkm_status restore_terms(fkm_vectorizer *vectorizer, int64_t n, const char *texts, int64_t bytes)
{
    fkm_status status = FKM_OK;
    struct fkmi_words words = {0};
    const char *at = texts, *end = texts + bytes, *before = "";
    int64_t number;

    for (int64_t i = 0; i < n; i++) {
        const char *stop = at < end ? memchr(at, 0, (size_t)(end - at)) : NULL;

        bool good = stop && strcmp(before, at) < 0 && stop - at <= TERM_BYTES_MAX;

        FKMI_TRY_GOTO(fkmi_check_every(1 << 16, i));
        if (good)
            FKMI_TRY_GOTO(check_term(&words, at, (size_t)(stop - at), &good));
        if (!good)
            FKMI_TRY_GOTO(fkmi_fail(FKM_EDATA, "term %lld of %lld is damaged", (long long)i, (long long)n));
        FKMI_TRY_GOTO(fkmi_terms_number(&vectorizer->terms, at, (size_t)(stop - at), &number));
        before = at;
        at = stop + 1;
    }
    if (at != end)
        FKMI_TRY_GOTO(fkmi_fail(FKM_EDATA, "%lld bytes follow the last of %lld terms", (long long)(end - at),
                                (long long)n));
done:
    fkmi_words_free(&words);
    return status;
}

fkm_status fkmi_vectorizer_restore(const fkm_vectorizer_options *options, int64_t documents,
                                   int64_t n_features, const int64_t *counts, const char *texts,
                                   int64_t bytes, fkm_vectorizer **out)
{
    fkm_status status = FKM_OK;
    fkm_vectorizer *vectorizer = NULL;

    *out = NULL;
    FKMI_TRY_GOTO(fkm_vectorizer_create(options, &vectorizer));
    if (n_features < 1 || (options->hashed && n_features != vectorizer->n_features) ||
        (texts == NULL) != (options->hashed != 0))
        FKMI_TRY_GOTO(fkmi_fail(FKM_EDATA, "%lld features do not fit the vectorizer", (long long)n_features));
    for (int64_t i = 0; i < n_features; i++)
        if (counts[i] < (options->hashed ? 0 : 1) || counts[i] > documents)
            FKMI_TRY_GOTO(fkmi_fail(FKM_EDATA, "term %lld is in %lld of %lld texts", (long long)i,
                                    (long long)counts[i], (long long)documents));
    if (texts)
        FKMI_TRY_GOTO(restore_terms(vectorizer, n_features, texts, bytes));
    fkmi_free(vectorizer->counts);
    vectorizer->counts = NULL;
    FKMI_TRY_GOTO(fkmi_copy(&vectorizer->counts, counts, n_features, sizeof *counts));
    vectorizer->documents = documents;
    vectorizer->n_features = vectorizer->count_room = n_features;
    FKMI_TRY_GOTO(make_idf(vectorizer));
    vectorizer->finished = true;
    *out = vectorizer;
    vectorizer = NULL;
done:
    fkm_vectorizer_free(vectorizer);
    return status;
}

/* ---- looking inside */

fkm_status fkm_vectorizer_describe(const fkm_vectorizer *vectorizer, fkm_vectorizer_info *info)
{
    fkm_vectorizer_info full = {.struct_size = sizeof full};

    if (!vectorizer || !info)
        return fkmi_fail(FKM_EINVAL, "%s is NULL", vectorizer ? "info" : "vectorizer");
    if (info->struct_size < sizeof(size_t) || info->struct_size > sizeof full)
        return fkmi_fail(FKM_EINVAL, "fkm_vectorizer_info has struct_size %zu, this library knows %zu",
                         info->struct_size, sizeof full);
    full.struct_size = info->struct_size;
    full.options = vectorizer->options;
    full.finished = vectorizer->finished;
    full.n_features = vectorizer->n_features;
    full.n_documents = vectorizer->documents;
    memcpy(info, &full, info->struct_size);
    return FKM_OK;
}

const char *fkm_vectorizer_term(const fkm_vectorizer *vectorizer, int64_t feature)
{
    const bool known = vectorizer && vectorizer->finished && !vectorizer->options.hashed && feature >= 0 &&
                       feature < vectorizer->n_features;

    return known ? vectorizer->terms.texts[feature] : NULL;
}

fkm_status fkm_vectorizer_idf(const fkm_vectorizer *vectorizer, double *idf)
{
    FKMI_TRY(fkmi_vectorizer_check(vectorizer, true));
    if (!idf)
        return fkmi_fail(FKM_EINVAL, "idf is NULL");
    memcpy(idf, vectorizer->idf, (size_t)vectorizer->n_features * sizeof *idf);
    return FKM_OK;
}
