/* fuzz_csv.c — CSV and TSV. The first byte chooses task and format, the second how columns are read, and whether
 * they are texts.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"

/* One of a vocabulary, one that hashes. */
static fkm_vectorizer *vectorizer_of(int hashed)
{
    static const char *const texts[] = {"one two, THREE", "a b c", "0 1 10 11",
                                        "y w \xe4\xb8\xad\xc3\x84\xc3\x96"};
    static fkm_vectorizer *made[2];
    fkm_vectorizer_options options = FKM_VECTORIZER_OPTIONS_INIT;

    if (!made[hashed]) {
        options.hashed = hashed;
        options.n_features = hashed ? 17 : 0;
        options.ngrams = 2;
        REQUIRE(fkm_vectorizer_create(&options, &made[hashed]) == FKM_OK);
        REQUIRE(fkm_vectorizer_learn(made[hashed], 4, texts, NULL) == FKM_OK);
        REQUIRE(fkm_vectorizer_finish(made[hashed]) == FKM_OK);
    }
    return made[hashed];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const targets[] = {NULL, "0", "-1", "y", "0,-1", "a, 1", "1", "y,-2"};
    static const char *const columns_of_text[] = {NULL, "0", "text", "1,-1"};
    static const char *const weights[] = {NULL, "w", "-1", "1"};
    fkm_source_options options = FKM_SOURCE_OPTIONS_INIT;

    if (size < 2)
        return 0;
    options.task = (fkm_task)(data[0] & 3);
    options.format = data[0] & 4 ? FKM_FORMAT_TSV : FKM_FORMAT_CSV;
    options.missing = data[0] & 8 ? FKM_MISSING_ERROR : FKM_MISSING_MASK;
    options.dtype = data[0] & 16 ? FKM_DTYPE_F64 : FKM_DTYPE_F32;
    options.header = (data[0] >> 5 & 3) % 3 - 1;
    options.target = targets[data[1] & 7];
    options.weight = weights[data[1] >> 3 & 3];
    options.text = columns_of_text[data[1] >> 5 & 3];
    options.vectorizer = options.text ? vectorizer_of(data[1] >> 7) : NULL;
    fuzz_source(data + 2, size - 2, &options, 1, 1);
    return 0;
}
