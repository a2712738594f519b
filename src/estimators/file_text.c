/* file_text.c — the vectorizer that makes a model's rows: kept with the model, written to its file, read back with
 * suspicion.
 * SPDX-License-Identifier: Apache-2.0 */
#include "estimators/file_text.h"

#include <stdio.h>
#include <string.h>

#include "base/number.h"

fkm_status fkm_model_set_vectorizer(fkm_model *model, const fkm_vectorizer *vectorizer)
{
    if (!model)
        return fkmi_fail(FKM_EINVAL, "model is NULL");
    if (vectorizer) {
        FKMI_TRY(fkmi_vectorizer_check(vectorizer, true));
        if (model->learned.state.dim > 0 && model->learned.state.dim != vectorizer->n_features)
            return fkmi_fail(FKM_EINVAL, "the vectorizer makes %lld features, the model expects %lld",
                             (long long)vectorizer->n_features, (long long)model->learned.state.dim);
        fkmi_vectorizer_share(vectorizer);
    }
    fkm_vectorizer_free(model->vectorizer);
    model->vectorizer = (fkm_vectorizer *)(uintptr_t)vectorizer; /* finished: nobody changes it */
    return FKM_OK;
}

fkm_status fkm_model_vectorizer(const fkm_model *model, fkm_vectorizer **out)
{
    if (out)
        *out = NULL;
    if (!model || !out)
        return fkmi_fail(FKM_EINVAL, "%s is NULL", model ? "out" : "model");
    *out = model->vectorizer ? fkmi_vectorizer_share(model->vectorizer) : NULL;
    return FKM_OK;
}

/* ---- the file */

/* Numbers in the metadata, as text.NAME. */
enum { DOCUMENTS, FEATURES, MIN_DOCUMENTS, NGRAMS, SUBLINEAR, HASHED, NUMBERS };
static const struct {
    const char *name;
    int64_t most;
} numbers[NUMBERS] = {
    [DOCUMENTS] = {"documents", (int64_t)1 << 53},
    [FEATURES] = {"features", (int64_t)1 << 30},
    [MIN_DOCUMENTS] = {"min_documents", (int64_t)1 << 53},
    [NGRAMS] = {"ngrams", FKMI_NGRAMS_MAX},
    [SUBLINEAR] = {"sublinear", 1},
    [HASHED] = {"hashed", 1},
};

int fkmi_text_number_count(const fkm_model *model) { return model->vectorizer ? NUMBERS : 0; }

void fkmi_text_number_write(const fkm_model *model, int i, const char **name, char value[32])
{
    const fkm_vectorizer *vectorizer = model->vectorizer;
    const fkm_vectorizer_options *options = &vectorizer->options;
    const int64_t values[NUMBERS] = {vectorizer->documents, vectorizer->n_features, options->min_documents,
                                     options->ngrams,       options->sublinear,     options->hashed};

    *name = numbers[i].name;
    snprintf(value, 32, "%lld", (long long)values[i]);
}

static struct fkmi_tensor tensor_of(const char *name, enum fkmi_tensor_type type, int64_t n, const void *data)
{
    struct fkmi_tensor tensor = {.type = type, .n_dims = 1, .shape = {n}, .data = data};

    snprintf(tensor.name, sizeof tensor.name, "%s", name);
    return tensor;
}

fkm_status fkmi_text_tensors(const fkm_model *model, struct fkmi_tensor *tensors, int *n, char **owned)
{
    const fkm_vectorizer *vectorizer = model->vectorizer;
    int64_t bytes = 0;
    char *at;

    *owned = NULL;
    if (!vectorizer)
        return FKM_OK;
    tensors[(*n)++] = tensor_of("text.counts", FKMI_TENSOR_I64, vectorizer->n_features, vectorizer->counts);
    if (vectorizer->options.hashed)
        return FKM_OK;
    for (int64_t i = 0; i < vectorizer->n_features; i++)
        bytes += (int64_t)strlen(vectorizer->terms.texts[i]) + 1;
    FKMI_TRY(fkmi_alloc(owned, bytes, 1));
    at = *owned;
    for (int64_t i = 0; i < vectorizer->n_features; i++) {
        const size_t length = strlen(vectorizer->terms.texts[i]) + 1;

        memcpy(at, vectorizer->terms.texts[i], length);
        at += length;
    }
    tensors[(*n)++] = tensor_of("text.terms", FKMI_TENSOR_U8, bytes, *owned);
    return FKM_OK;
}

static fkm_status read_numbers(const struct fkmi_tensor_file *file, int64_t values[NUMBERS])
{
    for (int i = 0; i < NUMBERS; i++) {
        char key[40];
        const char *value;

        snprintf(key, sizeof key, "text.%s", numbers[i].name);
        value = fkmi_tensors_text(file, key);
        if (!value || !fkmi_parse_int64(value, strlen(value), &values[i]) || values[i] < 0 ||
            values[i] > numbers[i].most)
            return fkmi_fail(FKM_EDATA, "the model file has '%.40s' as '%s'", value ? value : "nothing", key);
    }
    return FKM_OK;
}

/* A hashed vectorizer has no terms. */
static fkm_status read_terms(struct fkmi_tensor_file *file, bool hashed, char **terms, int64_t *bytes)
{
    const struct fkmi_tensor *tensor = fkmi_tensors_find(file, "text.terms");
    const int64_t any = -1;

    *terms = NULL;
    *bytes = 0;
    if (hashed)
        return tensor ? fkmi_fail(FKM_EDATA, "the model file has terms that are hashed") : FKM_OK;
    FKMI_TRY(fkmi_tensors_read(file, "text.terms", FKMI_TENSOR_U8, 1, &any, terms));
    *bytes = tensor->shape[0];
    return FKM_OK;
}

fkm_status fkmi_text_read(struct fkmi_tensor_file *file, fkm_model *model)
{
    fkm_status status = FKM_OK;
    fkm_vectorizer_options options = FKM_VECTORIZER_OPTIONS_INIT;
    int64_t values[NUMBERS], bytes;
    int64_t *counts = NULL;
    char *terms = NULL;

    if (!fkmi_tensors_text(file, "text.documents"))
        return FKM_OK;
    FKMI_TRY_GOTO(read_numbers(file, values));
    options.n_features = values[HASHED] ? values[FEATURES] : 0;
    options.min_documents = values[MIN_DOCUMENTS];
    options.ngrams = (int32_t)values[NGRAMS];
    options.sublinear = (int32_t)values[SUBLINEAR];
    options.hashed = (int32_t)values[HASHED];
    FKMI_TRY_GOTO(fkmi_tensors_read(file, "text.counts", FKMI_TENSOR_I64, 1, &values[FEATURES], &counts));
    FKMI_TRY_GOTO(read_terms(file, options.hashed != 0, &terms, &bytes));
    status = fkmi_vectorizer_restore(&options, values[DOCUMENTS], values[FEATURES], counts, terms, bytes,
                                     &model->vectorizer);
    if (status == FKM_EINVAL || status == FKM_EDATA)
        FKMI_TRY_GOTO(fkmi_fail_within(FKM_EDATA, "model file"));
    FKMI_TRY_GOTO(status);
    if (model->learned.state.dim > 0 && model->learned.state.dim != values[FEATURES])
        FKMI_TRY_GOTO(fkmi_fail(FKM_EDATA,
                                "the model file's texts make %lld features, its prototypes have %lld",
                                (long long)values[FEATURES], (long long)model->learned.state.dim));
done:
    fkmi_free(counts);
    fkmi_free(terms);
    return status;
}
