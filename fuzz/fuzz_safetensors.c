/* fuzz_safetensors.c — the container of model files: what opens can be read, written again and read back
 * alike.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "fuzz/fuzz.h"
#include "io/safetensors.h"

static void *read_tensor(struct fkmi_tensor_file *file, const struct fkmi_tensor *tensor)
{
    void *data;

    REQUIRE(fkmi_tensors_read(file, tensor->name, tensor->type, tensor->n_dims, tensor->shape, &data) ==
            FKM_OK);
    return data;
}

static void check_same(struct fkmi_tensor_file *a, struct fkmi_tensor_file *b)
{
    int64_t t;
    int i;

    REQUIRE(fkmi_tensors_count(a) == fkmi_tensors_count(b));
    REQUIRE(fkmi_tensors_text_count(a) == fkmi_tensors_text_count(b));
    for (t = 0; t < fkmi_tensors_text_count(a); t++)
        REQUIRE(strcmp(fkmi_tensors_text_at(a, t).value,
                       fkmi_tensors_text(b, fkmi_tensors_text_at(a, t).name)) == 0);
    for (i = 0; i < fkmi_tensors_count(a); i++) {
        const struct fkmi_tensor *tensor = fkmi_tensors_at(a, i);
        void *x = read_tensor(a, tensor), *y = read_tensor(b, tensor);

        REQUIRE(memcmp(x, y, (size_t)(tensor->end - tensor->begin)) == 0);
        fkmi_free(x);
        fkmi_free(y);
    }
}

static void write_and_compare(struct fkmi_tensor_file *file)
{
    static struct fkmi_tensor tensors[FKMI_TENSORS_MAX];
    const int n = fkmi_tensors_count(file);
    const int64_t n_texts = fkmi_tensors_text_count(file);
    struct fkmi_text *texts;
    struct fkmi_tensor_file *again;
    void *bytes;
    size_t size;
    int64_t i;

    REQUIRE(fkmi_alloc(&texts, n_texts, sizeof *texts) == FKM_OK);
    for (i = 0; i < n_texts; i++)
        texts[i] = fkmi_tensors_text_at(file, i);
    for (i = 0; i < n; i++) {
        tensors[i] = *fkmi_tensors_at(file, (int)i);
        tensors[i].data = read_tensor(file, &tensors[i]);
    }
    REQUIRE(fkmi_tensors_to_bytes(tensors, n, texts, n_texts, &bytes, &size) == FKM_OK);
    REQUIRE(fkmi_tensors_open_bytes(bytes, size, &again) == FKM_OK);
    check_same(file, again);
    fkmi_tensors_close(again);
    fkmi_free(bytes);
    fkmi_free(texts);
    for (i = 0; i < n; i++)
        fkmi_free((void *)(uintptr_t)tensors[i].data);
}

static void try_bytes(const uint8_t *bytes, size_t size)
{
    struct fkmi_tensor_file *file;

    if (fkmi_tensors_open_bytes(bytes, size, &file) != FKM_OK)
        return;
    write_and_compare(file);
    fkmi_tensors_close(file);
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
