/* fuzz_model.c — model files: what loads answers for a row, makes rows of texts when it has words, and saves to bytes
 * that load and save alike.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"

static fkm_context *shared_context(void)
{
    static fkm_context *context;

    if (!context) {
        fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;

        options.n_threads = 1;
        REQUIRE(fkm_context_create(&options, &context) == FKM_OK);
    }
    return context;
}

/* The answer to one row; whatever the model holds, it must be defined. */
static void predict(const fkm_model *model, const fkm_model_info *info)
{
    fkm_batch batch = FKM_BATCH_INIT;
    float *row = calloc((size_t)info->dim + 1, sizeof *row);
    float *proba = calloc((size_t)info->n_classes + 1, sizeof *proba);
    double *values = calloc((size_t)info->n_targets + 1, sizeof *values);
    int64_t i, label = 0;
    fkm_status status;

    REQUIRE(row && proba && values);
    for (i = 0; i < info->dim; i++)
        row[i] = (float)(i % 7) - 2;
    batch.n_rows = 1;
    batch.n_cols = info->dim;
    batch.x = row;
    if (info->params.task == FKM_TASK_REGRESS)
        status = fkm_model_predict_values(model, &batch, values);
    else if (info->params.task == FKM_TASK_MULTILABEL)
        status = fkm_model_predict_proba(model, &batch, proba);
    else
        status = fkm_model_predict_labels(model, &batch, &label);
    REQUIRE(status == FKM_OK || !info->fitted);
    if (status == FKM_OK && info->params.task == FKM_TASK_CLUSTER)
        REQUIRE(label >= 0 && label < info->k);
    for (i = 0; status == FKM_OK && info->params.task == FKM_TASK_MULTILABEL && i < info->n_classes; i++)
        REQUIRE(proba[i] >= 0 && proba[i] <= 1);
    free(row);
    free(proba);
    free(values);
}

/* Rows of texts: unknown words, none, and the words that the file told, each of which is a feature. */
static void make_rows(const fkm_model *model, const fkm_model_info *info)
{
    const char *texts[] = {"an apple, and A PEAR", "", "\xc3\xa4\xff cat", NULL};
    fkm_vectorizer_info words = {.struct_size = sizeof words};
    fkm_vectorizer *vectorizer;
    fkm_text_rows *rows;
    fkm_batch batch;
    int64_t labels[4];

    REQUIRE(fkm_model_vectorizer(model, &vectorizer) == FKM_OK);
    if (!vectorizer)
        return;
    REQUIRE(fkm_vectorizer_describe(vectorizer, &words) == FKM_OK && words.finished);
    REQUIRE(!info->fitted || words.n_features == info->dim);
    texts[3] = words.options.hashed ? "car" : fkm_vectorizer_term(vectorizer, words.n_features - 1);
    REQUIRE(texts[3]);
    REQUIRE(fkm_text_rows_create(vectorizer, &rows) == FKM_OK);
    REQUIRE(fkm_text_rows_make(rows, 4, texts, NULL, &batch) == FKM_OK);
    REQUIRE(batch.n_rows == 4 && batch.n_cols == words.n_features && batch.indptr[0] == 0);
    for (int64_t i = 0; i < 4; i++)
        for (int64_t e = batch.indptr[i]; e < batch.indptr[i + 1]; e++) {
            const float value = ((const float *)batch.values)[e];

            REQUIRE(batch.indices[e] >= 0 && batch.indices[e] < batch.n_cols);
            REQUIRE(e == batch.indptr[i] || batch.indices[e] > batch.indices[e - 1]);
            REQUIRE(value >= -1.001f && value <= 1.001f);
        }
    if (info->fitted && info->params.task == FKM_TASK_CLASSIFY)
        REQUIRE(fkm_model_predict_labels(model, &batch, labels) == FKM_OK);
    fkm_text_rows_free(rows);
    fkm_vectorizer_free(vectorizer);
}

static void save_and_compare(const fkm_model *model)
{
    void *bytes, *bytes_again;
    size_t size, size_again;
    fkm_model *again;

    REQUIRE(fkm_model_to_bytes(model, &bytes, &size) == FKM_OK);
    REQUIRE(fkm_model_from_bytes(shared_context(), bytes, size, &again) == FKM_OK);
    REQUIRE(fkm_model_to_bytes(again, &bytes_again, &size_again) == FKM_OK);
    REQUIRE(size == size_again && memcmp(bytes, bytes_again, size) == 0);
    fkm_model_free(again);
    fkm_free(bytes);
    fkm_free(bytes_again);
}

static void try_bytes(const uint8_t *bytes, size_t size)
{
    fkm_model_info info = {.struct_size = sizeof info};
    fkm_model *model;

    if (fkm_model_from_bytes(shared_context(), bytes, size, &model) != FKM_OK)
        return;
    REQUIRE(fkm_model_describe(model, &info) == FKM_OK);
    predict(model, &info);
    make_rows(model, &info);
    save_and_compare(model);
    fkm_model_free(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);

    REQUIRE(copy != NULL);
    try_bytes(data, size);
    if (size > 0)
        memcpy(copy, data, size);
    fuzz_fix_checksum(copy, size);
    try_bytes(copy, size);
    free(copy);
    return 0;
}
