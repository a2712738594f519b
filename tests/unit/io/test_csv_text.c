/* test_csv_text.c — text columns of CSV and TSV: counted first, then rows; other columns left out; what is refused.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "unit/io/source_tools.h"

static const char table[] = "id,title,kind,body,w\r\n"
                            "1,Red apple,fruit,\"An apple, \"\"RED\"\"\nand sweet\",1\r\n"
                            "x,green,grass,tall green,2\n"
                            "3,,none,,0.5\n";

static fkm_source_options text_options(const char *target, const char *text, fkm_vectorizer *vectorizer)
{
    fkm_source_options options = options_of(FKM_FORMAT_CSV, FKM_TASK_CLASSIFY, target);

    options.text = text;
    options.vectorizer = vectorizer;
    return options;
}

static fkm_vectorizer *unfinished(int ngrams)
{
    fkm_vectorizer_options options = FKM_VECTORIZER_OPTIONS_INIT;
    fkm_vectorizer *vectorizer;

    options.ngrams = ngrams;
    CHECK_OK(fkm_vectorizer_create(&options, &vectorizer));
    return vectorizer;
}

static void check_row(const fkm_vectorizer *vectorizer, const fkm_batch *batch, int64_t row,
                      const char *expected)
{
    char joined[400] = "";

    for (int64_t e = batch->indptr[row]; e < batch->indptr[row + 1]; e++) {
        strcat(joined, fkm_vectorizer_term(vectorizer, batch->indices[e]));
        strcat(joined, "|");
    }
    CHECK_TEXT(expected, joined);
}

TEST(texts_are_counted_then_become_rows)
{
    fkm_vectorizer *vectorizer = unfinished(2);
    fkm_source_options options = text_options("kind", "title,body", vectorizer);
    fkm_source *source;
    fkm_batch batch;

    options.weight = "w";
    source = source_of(table, &options);
    CHECK_SAYS("header: yes; 2 text columns", fkm_source_note(source));
    for (int64_t rows = 0; rows < 3; rows += batch.n_rows) {
        CHECK_OK(fkm_source_next(source, 2, &batch));
        CHECK_INT(0, batch.n_cols);
        CHECK_INT(0, batch.indptr[batch.n_rows]);
    }
    CHECK_OK(fkm_vectorizer_finish(vectorizer));
    CHECK_OK(fkm_source_seek(source, NULL));
    CHECK_OK(fkm_source_next(source, 10, &batch));
    CHECK_INT(3, batch.n_rows);
    CHECK(batch.x == NULL && batch.mask == NULL);
    check_row(vectorizer, &batch, 0,
              "an|an apple|and|and sweet|apple|apple red|red|red and|red apple|sweet|");
    check_row(vectorizer, &batch, 1, "green|tall|tall green|"); /* not "green tall": these are two columns */
    check_row(vectorizer, &batch, 2, "");
    CHECK_INT(13, batch.n_cols);
    CHECK_INT(2, batch.labels[2]);
    CHECK_NEAR(0.5, batch.weight[2], 0);
    CHECK_OK(fkm_source_next(source, 10, &batch));
    CHECK_INT(0, batch.n_rows);
    fkm_source_close(source);
    fkm_vectorizer_free(vectorizer);
    CHECK_INT(0, (long long)fkmi_memory_held());
}

TEST(text_columns_by_number_have_no_header_unless_told)
{
    fkm_vectorizer *vectorizer = unfinished(1);
    fkm_source_options options = text_options("-1", "0", vectorizer);
    fkm_source *source = source_of("some words,label\nother words,label\n", &options);
    fkm_batch batch;

    CHECK_SAYS("header: no", fkm_source_note(source));
    CHECK_OK(fkm_source_next(source, 10, &batch));
    CHECK_INT(2, batch.n_rows);
    fkm_source_close(source);
    fkm_vectorizer_free(vectorizer);
}

TEST(what_is_refused)
{
    fkm_vectorizer *vectorizer = unfinished(1);
    fkm_source_options options = text_options("kind", "kind", vectorizer);

    check_refused(FKM_EINVAL, "column 2 is asked for twice", table, &options);
    options.text = "nobody";
    check_refused(FKM_EINVAL, "no column is named \"nobody\" (text)", table, &options);
    options.text = "title";
    options.missing = FKM_MISSING_ERROR;
    check_refused(FKM_EDATA, "column 1 (title): the text is missing", table, &options);
    options.format = FKM_FORMAT_LIBSVM;
    check_refused(FKM_EINVAL, "only CSV and TSV have text columns", "1 1:2\n", &options);
    options.vectorizer = NULL;
    check_refused(FKM_EINVAL, "text needs a vectorizer", table, &options);
    fkm_vectorizer_free(vectorizer);
}
