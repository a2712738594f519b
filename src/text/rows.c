/* rows.c — rows of TF-IDF made of texts.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/memory.h"
#include "text/vectorizer.h"

/* ---- the terms of a row */

void fkmi_text_row_begin(struct fkmi_text_row *row) { row->n_ids = row->n = 0; }

void fkmi_text_row_free(struct fkmi_text_row *row)
{
    fkmi_words_free(&row->words);
    fkmi_free(row->ids);
    fkmi_free(row->spare);
    fkmi_free(row->index);
    fkmi_free(row->value);
    *row = (struct fkmi_text_row){0};
}

/* The feature of a term; -1: none. While a vocabulary grows, its number there. */
static fkm_status feature_of(fkm_vectorizer *vectorizer, const char *term, size_t length, int64_t *feature)
{
    if (vectorizer->options.hashed) {
        *feature = (int64_t)((fkmi_term_hash(term, length) >> 32) * (uint64_t)vectorizer->n_features >> 32);
        return FKM_OK;
    }
    if (vectorizer->finished) {
        *feature = fkmi_terms_find(&vectorizer->terms, term, length);
        return FKM_OK;
    }
    return fkmi_terms_number(&vectorizer->terms, term, length, feature);
}

fkm_status fkmi_text_row_add(fkm_vectorizer *vectorizer, struct fkmi_text_row *row, const char *text,
                             size_t length)
{
    const struct fkmi_words *words = &row->words;
    int64_t needed, feature;

    FKMI_TRY(fkmi_words_read(&row->words, text, length));
    needed = row->n_ids + words->n * vectorizer->options.ngrams;
    if (needed > row->id_room) {
        FKMI_TRY(fkmi_resize(&row->ids, 2 * needed, sizeof *row->ids));
        FKMI_TRY(fkmi_resize(&row->spare, 2 * needed, sizeof *row->spare));
        row->id_room = 2 * needed;
    }
    for (int64_t i = 0; i < words->n; i++) {
        const char *term = words->text + words->begin[i];

        FKMI_TRY(fkmi_check_every(1 << 16, i));
        for (int64_t j = i + 1; j <= words->n && j <= i + vectorizer->options.ngrams; j++) {
            FKMI_TRY(feature_of(vectorizer, term, (size_t)(words->begin[j] - 1 - words->begin[i]), &feature));
            if (feature >= 0)
                row->ids[row->n_ids++] = (int32_t)feature;
        }
    }
    return FKM_OK;
}

/* Radix sort, ascending: a hostile row may be long and in any order. */
static void sort_ids(struct fkmi_text_row *row)
{
    for (int shift = 0; shift < 32; shift += 8) {
        int64_t at[257] = {0};
        int32_t *from = row->ids;

        for (int64_t i = 0; i < row->n_ids; i++)
            at[(from[i] >> shift & 255) + 1]++;
        if (row->n_ids == 0 || at[(from[0] >> shift & 255) + 1] == row->n_ids)
            continue; /* the same everywhere */
        for (int b = 0; b < 256; b++)
            at[b + 1] += at[b];
        for (int64_t i = 0; i < row->n_ids; i++)
            row->spare[at[from[i] >> shift & 255]++] = from[i];
        row->ids = row->spare;
        row->spare = from;
    }
}

/* ---- counting */

static fkm_status count_row(fkm_vectorizer *vectorizer, const struct fkmi_text_row *row)
{
    if (vectorizer->count_room < vectorizer->terms.n) {
        FKMI_TRY(fkmi_resize(&vectorizer->counts, 2 * vectorizer->terms.n, sizeof *vectorizer->counts));
        vectorizer->count_room = 2 * vectorizer->terms.n;
    }
    for (int64_t i = 0; i < row->n_ids; i++)
        if (i == 0 || row->ids[i] != row->ids[i - 1])
            vectorizer->counts[row->ids[i]]++;
    vectorizer->documents++;
    return FKM_OK;
}

/* ---- weighing */

static fkm_status weigh_row(const fkm_vectorizer *vectorizer, struct fkmi_text_row *row)
{
    double square = 0;

    if (row->n_ids > row->room) {
        FKMI_TRY(fkmi_resize(&row->index, 2 * row->n_ids, sizeof *row->index));
        FKMI_TRY(fkmi_resize(&row->value, 2 * row->n_ids, sizeof *row->value));
        row->room = 2 * row->n_ids;
    }
    for (int64_t i = 0, same; i < row->n_ids; i += same) {
        for (same = 1; i + same < row->n_ids && row->ids[i + same] == row->ids[i]; same++)
            ;
        const double tf = vectorizer->options.sublinear ? 1 + log((double)same) : (double)same;
        row->index[row->n] = row->ids[i];
        row->value[row->n] = tf * vectorizer->idf[row->ids[i]];
        square += row->value[row->n] * row->value[row->n];
        row->n++;
    }
    for (int64_t i = 0; i < row->n; i++)
        row->value[i] /= sqrt(square);
    return FKM_OK;
}

fkm_status fkmi_text_row_end(fkm_vectorizer *vectorizer, struct fkmi_text_row *row)
{
    sort_ids(row);
    return vectorizer->finished ? weigh_row(vectorizer, row) : count_row(vectorizer, row);
}

/* ---- a batch of rows */

struct fkm_text_rows {
    fkm_vectorizer *vectorizer;
    struct fkmi_text_row row;
    int64_t *indptr;
    int32_t *indices;
    float *values;
    int64_t row_room, value_room;
};

fkm_status fkm_text_rows_create(const fkm_vectorizer *vectorizer, fkm_text_rows **out)
{
    if (!out)
        return fkmi_fail(FKM_EINVAL, "out is NULL");
    *out = NULL;
    FKMI_TRY(fkmi_vectorizer_check(vectorizer, true));
    FKMI_TRY(fkmi_alloc(out, 1, sizeof **out));
    (*out)->vectorizer = fkmi_vectorizer_share(vectorizer);
    return FKM_OK;
}

void fkm_text_rows_free(fkm_text_rows *rows)
{
    if (!rows)
        return;
    fkm_vectorizer_free(rows->vectorizer);
    fkmi_text_row_free(&rows->row);
    fkmi_free(rows->indptr);
    fkmi_free(rows->indices);
    fkmi_free(rows->values);
    fkmi_free(rows);
}

static fkm_status append(fkm_text_rows *rows, int64_t i)
{
    const struct fkmi_text_row *row = &rows->row;
    const int64_t at = rows->indptr[i], end = at + row->n;

    if (end > rows->value_room || !rows->values) {
        const int64_t room = 2 * end + 64;

        FKMI_TRY(fkmi_resize(&rows->indices, room, sizeof *rows->indices));
        FKMI_TRY(fkmi_resize(&rows->values, room, sizeof *rows->values));
        rows->value_room = room;
    }
    for (int64_t e = 0; e < row->n; e++) {
        rows->indices[at + e] = row->index[e];
        rows->values[at + e] = (float)row->value[e];
    }
    rows->indptr[i + 1] = end;
    return FKM_OK;
}

fkm_status fkm_text_rows_make(fkm_text_rows *rows, int64_t n, const char *const *texts, const size_t *lengths,
                              fkm_batch *batch)
{
    if (!rows || !batch)
        return fkmi_fail(FKM_EINVAL, "%s is NULL", rows ? "batch" : "rows");
    *batch = (fkm_batch)FKM_BATCH_INIT;
    if (n < 0)
        return fkmi_fail(FKM_EINVAL, "there are %lld texts", (long long)n);
    if (n > 0 && !texts)
        return fkmi_fail(FKM_EINVAL, "texts is NULL, there should be %lld", (long long)n);
    if (n >= rows->row_room) {
        FKMI_TRY(fkmi_resize(&rows->indptr, n + 1, sizeof *rows->indptr));
        rows->row_room = n + 1;
    }
    for (int64_t i = 0; i < n; i++) {
        FKMI_TRY(fkmi_check_interrupt());
        if (!texts[i])
            return fkmi_fail(FKM_EINVAL, "text %lld is NULL", (long long)i);
        fkmi_text_row_begin(&rows->row);
        FKMI_TRY(fkmi_text_row_add(rows->vectorizer, &rows->row, texts[i],
                                   lengths ? lengths[i] : strlen(texts[i])));
        FKMI_TRY(fkmi_text_row_end(rows->vectorizer, &rows->row));
        FKMI_TRY(append(rows, i));
    }
    batch->n_rows = n;
    batch->n_cols = rows->vectorizer->n_features;
    batch->indptr = rows->indptr;
    batch->indices = rows->indices;
    batch->values = rows->values;
    return FKM_OK;
}
