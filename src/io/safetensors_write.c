/* safetensors_write.c — named tensors and text into one file or block of memory.
 *
 * Tensors lie in order of falling element size, so that each is aligned; the header is padded with spaces to
 * 8 bytes. The checksum is made with its own digits as '0' and then put in their place.
 * SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/sha256.h"
#include "io/replace.h"
#include "io/safetensors_layout.h"

const struct fkmi_tensor_type_row fkmi_tensor_types[FKMI_N_TENSOR_TYPES] = {
    [FKMI_TENSOR_F64] = {"F64", 8},   [FKMI_TENSOR_F32] = {"F32", 4}, [FKMI_TENSOR_F16] = {"F16", 2},
    [FKMI_TENSOR_BF16] = {"BF16", 2}, [FKMI_TENSOR_I64] = {"I64", 8}, [FKMI_TENSOR_I32] = {"I32", 4},
    [FKMI_TENSOR_U8] = {"U8", 1},
};

size_t fkmi_tensor_type_size(enum fkmi_tensor_type type) { return fkmi_tensor_types[type].size; }

enum fkmi_tensor_type fkmi_tensor_type_of(fkm_dtype dtype)
{
    switch (dtype) {
    case FKM_DTYPE_F16:
        return FKMI_TENSOR_F16;
    case FKM_DTYPE_BF16:
        return FKMI_TENSOR_BF16;
    case FKM_DTYPE_F64:
        return FKMI_TENSOR_F64;
    default:
        return FKMI_TENSOR_F32;
    }
}

/* A file about to be written: the header as bytes, and the tensors in file order. */
struct layout {
    char *front; /* the 8 bytes of length and the header */
    size_t front_size;
    int order[FKMI_TENSORS_MAX];
    int n;
    int64_t data_size;
};

static int64_t tensor_bytes(const struct fkmi_tensor *tensor)
{
    int64_t count = 1;
    int i;

    for (i = 0; i < tensor->n_dims; i++)
        count *= tensor->shape[i];
    return count * (int64_t)fkmi_tensor_types[tensor->type].size;
}

static void set_order(struct layout *layout, const struct fkmi_tensor *tensors, int n_tensors)
{
    size_t size;
    int i;

    for (size = 8; size > 0; size /= 2)
        for (i = 0; i < n_tensors; i++)
            if (fkmi_tensor_types[tensors[i].type].size == size)
                layout->order[layout->n++] = i;
}

static void write_tensor_entry(struct fkmi_json_writer *json, const struct fkmi_tensor *tensor, int64_t begin)
{
    int i;

    fkmi_json_begin(json, tensor->name, '{');
    fkmi_json_string(json, "dtype", fkmi_tensor_types[tensor->type].name);
    fkmi_json_begin(json, "shape", '[');
    for (i = 0; i < tensor->n_dims; i++)
        fkmi_json_integer(json, NULL, tensor->shape[i]);
    fkmi_json_end(json, ']');
    fkmi_json_begin(json, "data_offsets", '[');
    fkmi_json_integer(json, NULL, begin);
    fkmi_json_integer(json, NULL, begin + tensor_bytes(tensor));
    fkmi_json_end(json, ']');
    fkmi_json_end(json, '}');
}

/* The header as JSON, with zeros for a checksum. */
static void write_header(struct fkmi_json_writer *json, struct layout *layout,
                         const struct fkmi_tensor *tensors, const struct fkmi_text *texts, int64_t n_texts)
{
    char zeros[65];
    int64_t i;

    memset(zeros, '0', 64);
    zeros[64] = 0;
    fkmi_json_begin(json, NULL, '{');
    fkmi_json_begin(json, "__metadata__", '{');
    fkmi_json_string(json, "sha256", zeros);
    for (i = 0; i < n_texts; i++)
        fkmi_json_string(json, texts[i].name, texts[i].value);
    fkmi_json_end(json, '}');
    for (i = 0; i < layout->n; i++) {
        const struct fkmi_tensor *tensor = &tensors[layout->order[i]];

        write_tensor_entry(json, tensor, layout->data_size);
        layout->data_size += tensor_bytes(tensor);
    }
    fkmi_json_end(json, '}');
}

/* Never write what cannot be read back: a name that comes twice, for one. */
static fkm_status check_readable(const struct fkmi_json_writer *json)
{
    struct fkmi_json read = {0};
    const fkm_status status = fkmi_json_parse(&read, json->text, json->length, FKMI_TENSORS_NODES_MAX);

    fkmi_json_free(&read);
    return status == FKM_EDATA ? fkmi_fail_within(FKM_EINVAL, "names and notes of a model file") : status;
}

/* Puts the length in front and spaces behind. */
static fkm_status frame_header(struct layout *layout, const struct fkmi_json_writer *json)
{
    const size_t length = (json->length + 7) / 8 * 8;
    size_t i;

    if ((int64_t)length > FKMI_TENSORS_HEADER_MAX)
        return fkmi_fail(FKM_EINVAL, "names and notes take %zu bytes, a file holds %lld", length,
                         (long long)FKMI_TENSORS_HEADER_MAX);
    FKMI_TRY(fkmi_alloc(&layout->front, (int64_t)length + 8, 1));
    layout->front_size = length + 8;
    for (i = 0; i < 8; i++)
        layout->front[i] = (char)(unsigned char)(length >> (8 * i));
    memcpy(layout->front + 8, json->text, json->length);
    memset(layout->front + 8 + json->length, ' ', length - json->length);
    assert(memcmp(layout->front + 8, FKMI_TENSORS_FRONT, FKMI_TENSORS_FRONT_BYTES) == 0);
    return FKM_OK;
}

/* May be interrupted: whoever saves decides. */
static fkm_status add_tensor(struct fkmi_sha256 *hash, const struct fkmi_tensor *tensor)
{
    enum { BYTES_PER_CHECK = 1 << 20 };
    const int64_t size = tensor_bytes(tensor);

    for (int64_t at = 0; at < size; at += BYTES_PER_CHECK) {
        FKMI_TRY(fkmi_check_interrupt());
        fkmi_sha256_add(hash, (const char *)tensor->data + at,
                        (size_t)(size - at < BYTES_PER_CHECK ? size - at : BYTES_PER_CHECK));
    }
    return FKM_OK;
}

static fkm_status put_checksum(struct layout *layout, const struct fkmi_tensor *tensors)
{
    struct fkmi_sha256 hash;
    char hex[65];
    int i;

    fkmi_sha256_begin(&hash);
    fkmi_sha256_add(&hash, layout->front, layout->front_size);
    for (i = 0; i < layout->n; i++)
        FKMI_TRY(add_tensor(&hash, &tensors[layout->order[i]]));
    fkmi_sha256_end(&hash, hex);
    memcpy(layout->front + 8 + FKMI_TENSORS_FRONT_BYTES, hex, 64);
    return FKM_OK;
}

static fkm_status lay_out(struct layout *layout, const struct fkmi_tensor *tensors, int n_tensors,
                          const struct fkmi_text *texts, int64_t n_texts)
{
    fkm_status status = FKM_OK;
    struct fkmi_json_writer json = {0};

    if (n_tensors > FKMI_TENSORS_MAX)
        return fkmi_fail(FKM_EINTERNAL, "%d tensors, a file holds %d", n_tensors, FKMI_TENSORS_MAX);
    if (n_texts >= FKMI_TEXTS_MAX)
        return fkmi_fail(FKM_EINVAL, "%lld notes, a file holds fewer than %d", (long long)n_texts,
                         FKMI_TEXTS_MAX);
    set_order(layout, tensors, n_tensors);
    write_header(&json, layout, tensors, texts, n_texts);
    FKMI_TRY_GOTO(json.status);
    FKMI_TRY_GOTO(check_readable(&json));
    FKMI_TRY_GOTO(frame_header(layout, &json));
    FKMI_TRY_GOTO(put_checksum(layout, tensors));
done:
    fkmi_json_writer_free(&json);
    return status;
}

fkm_status fkmi_tensors_save(const char *path, const struct fkmi_tensor *tensors, int n_tensors,
                             const struct fkmi_text *texts, int64_t n_texts)
{
    fkm_status status = FKM_OK;
    struct layout layout = {0};
    struct fkmi_replacement file = {0};
    int i;

    FKMI_TRY_GOTO(lay_out(&layout, tensors, n_tensors, texts, n_texts));
    FKMI_TRY_GOTO(fkmi_replace_begin(&file, path));
    FKMI_TRY_GOTO(fkmi_replace_write(&file, layout.front, layout.front_size));
    for (i = 0; i < layout.n; i++) {
        const struct fkmi_tensor *tensor = &tensors[layout.order[i]];

        FKMI_TRY_GOTO(fkmi_replace_write(&file, tensor->data, (size_t)tensor_bytes(tensor)));
    }
    FKMI_TRY_GOTO(fkmi_replace_commit(&file));
done:
    fkmi_replace_end(&file);
    fkmi_free(layout.front);
    return status;
}

fkm_status fkmi_tensors_to_bytes(const struct fkmi_tensor *tensors, int n_tensors,
                                 const struct fkmi_text *texts, int64_t n_texts, void **bytes, size_t *size)
{
    fkm_status status = FKM_OK;
    struct layout layout = {0};
    char *at;
    int i;

    *bytes = NULL;
    *size = 0;
    FKMI_TRY_GOTO(lay_out(&layout, tensors, n_tensors, texts, n_texts));
    FKMI_TRY_GOTO(fkmi_alloc(bytes, (int64_t)layout.front_size + layout.data_size, 1));
    *size = layout.front_size + (size_t)layout.data_size;
    at = *bytes;
    memcpy(at, layout.front, layout.front_size);
    at += layout.front_size;
    for (i = 0; i < layout.n; i++) {
        const struct fkmi_tensor *tensor = &tensors[layout.order[i]];
        const size_t n = (size_t)tensor_bytes(tensor);

        if (n > 0)
            memcpy(at, tensor->data, n);
        at += n;
    }
done:
    fkmi_free(layout.front);
    return status;
}
