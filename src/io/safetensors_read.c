/* safetensors_read.c — opens, distrusts and verifies a safetensors file of ours.
 *
 * Nothing is allocated by what the file says before it is compared with the bytes that are there. The
 * checksum is made from 64 KiB pieces, so opening costs the header; a tensor costs itself when it is read.
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/interrupt.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/sha256.h"
#include "io/safetensors_layout.h"

#define PIECE_BYTES 65536
#define READ_BYTES  (1 << 24) /* at a time: between two checks for an interrupt */

struct fkmi_tensor_file {
    char *name;        /* for messages */
    int fd;            /* -1: the bytes are in memory */
    const char *bytes; /* or NULL */
    int64_t size, data_begin;
    struct fkmi_json json; /* keeps the texts */
    const struct fkmi_json_node *metadata;
    int n_tensors;
    struct fkmi_tensor tensors[FKMI_TENSORS_MAX];
};

static fkm_status damaged(const struct fkmi_tensor_file *file, const char *what)
{
    return fkmi_fail(FKM_EDATA, "%s is damaged or no model file: %s", file->name, what);
}

/* Exactly n bytes from an offset; the caller has compared both with the size. */
static fkm_status read_at(const struct fkmi_tensor_file *file, int64_t offset, void *buffer, int64_t n)
{
    char *at = buffer;

    if (file->fd < 0) {
        if (n > 0)
            memcpy(buffer, file->bytes + offset, (size_t)n);
        return FKM_OK;
    }
    while (n > 0) {
        const ssize_t got = pread(file->fd, at, (size_t)(n < READ_BYTES ? n : READ_BYTES), (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fkmi_fail(FKM_EIO, "cannot read %s: %s", file->name, strerror(errno));
        if (got == 0)
            return fkmi_fail(FKM_EIO, "%s shrank while it was read", file->name);
        at += got;
        offset += got;
        n -= got;
        FKMI_TRY(fkmi_check_interrupt());
    }
    return FKM_OK;
}

/* ---- the checksum */

/* The hash of the file with its 64 digits as '0'; the digits themselves into `written`. */
static fkm_status make_checksum(const struct fkmi_tensor_file *file, char made[65], char written[64])
{
    const int64_t digits = 8 + (int64_t)FKMI_TENSORS_FRONT_BYTES;
    fkm_status status = FKM_OK;
    struct fkmi_sha256 hash;
    char *piece = NULL;
    int64_t at;

    FKMI_TRY(fkmi_alloc(&piece, PIECE_BYTES, 1));
    fkmi_sha256_begin(&hash);
    for (at = 0; at < file->size; at += PIECE_BYTES) {
        const int64_t n = file->size - at < PIECE_BYTES ? file->size - at : PIECE_BYTES;

        FKMI_TRY_GOTO(fkmi_check_interrupt());
        FKMI_TRY_GOTO(read_at(file, at, piece, n));
        if (at == 0) { /* the digits stand near the beginning */
            memcpy(written, piece + digits, 64);
            memset(piece + digits, '0', 64);
        }
        fkmi_sha256_add(&hash, piece, (size_t)n);
    }
    fkmi_sha256_end(&hash, made);
done:
    fkmi_free(piece);
    return status;
}

static fkm_status verify_checksum(const struct fkmi_tensor_file *file)
{
    char made[65], written[64];

    FKMI_TRY(make_checksum(file, made, written));
    if (memcmp(made, written, 64) != 0)
        return damaged(file, "its checksum does not fit");
    return FKM_OK;
}

/* ---- the header */

static bool read_type(const char *name, enum fkmi_tensor_type *type)
{
    int i;

    for (i = 0; i < FKMI_N_TENSOR_TYPES; i++) {
        if (strcmp(name, fkmi_tensor_types[i].name) == 0) {
            *type = (enum fkmi_tensor_type)i;
            return true;
        }
    }
    return false;
}

/* Shape and number of bytes; false when they are impossible in a file of `most` bytes. */
static bool read_shape(const struct fkmi_json_node *node, struct fkmi_tensor *tensor, int64_t most,
                       int64_t *bytes)
{
    int i;

    if (node->kind != FKMI_JSON_ARRAY || node->n_children > FKMI_TENSOR_DIMS_MAX)
        return false;
    tensor->n_dims = node->n_children;
    *bytes = (int64_t)fkmi_tensor_types[tensor->type].size;
    for (i = 0; i < tensor->n_dims; i++) {
        int64_t *size = &tensor->shape[i];

        if (!fkmi_json_int64(&node[1 + i], size) || *size < 0 || *size > most)
            return false;
        if (*size > 0 && *bytes > most / *size)
            return false;
        *bytes *= *size;
    }
    return true;
}

/* Reads one entry of the header; it must begin where the one before ended. */
static fkm_status read_entry(struct fkmi_tensor_file *file, const struct fkmi_json_node *node)
{
    const struct fkmi_json_node *dtype, *shape, *offsets;
    struct fkmi_tensor *tensor = &file->tensors[file->n_tensors];
    const int64_t data_size = file->size - file->data_begin;
    const int64_t begin = file->n_tensors > 0 ? tensor[-1].end : 0;
    int64_t bytes;

    if (file->n_tensors == FKMI_TENSORS_MAX)
        return damaged(file, "too many tensors");
    dtype = fkmi_json_member(&file->json, node, "dtype");
    shape = fkmi_json_member(&file->json, node, "shape");
    offsets = fkmi_json_member(&file->json, node, "data_offsets");
    if (!node->key[0] || strlen(node->key) >= sizeof tensor->name)
        return damaged(file, "a tensor's name is empty or too long");
    if (!dtype || !shape || !offsets || node->n_children != 3)
        return damaged(file, "a tensor's entry is not dtype, shape, data_offsets");
    memcpy(tensor->name, node->key, strlen(node->key) + 1);
    if (dtype->kind != FKMI_JSON_STRING || !read_type(dtype->text, &tensor->type))
        return damaged(file, "a tensor's type is not one of ours");
    if (!read_shape(shape, tensor, data_size, &bytes))
        return damaged(file, "a tensor's shape is impossible");
    if (offsets->kind != FKMI_JSON_ARRAY || offsets->n_children != 2 ||
        !fkmi_json_int64(&offsets[1], &tensor->begin) || !fkmi_json_int64(&offsets[2], &tensor->end))
        return damaged(file, "a tensor's data_offsets are not two integers");
    if (tensor->begin != begin || bytes > data_size - begin || tensor->end != begin + bytes)
        return damaged(file, "a tensor does not lie where its shape and the tensor before it say");
    file->n_tensors++;
    return FKM_OK;
}

static fkm_status read_entries(struct fkmi_tensor_file *file)
{
    const struct fkmi_json_node *root = file->json.nodes, *node;
    int32_t i;

    if (root->kind != FKMI_JSON_OBJECT)
        return damaged(file, "its header is not an object");
    for (i = 1; i < root->end; i = file->json.nodes[i].end) {
        node = &file->json.nodes[i];
        if (node->kind != FKMI_JSON_OBJECT)
            return damaged(file, "an entry of its header is not an object");
        if (strcmp(node->key, "__metadata__") == 0)
            file->metadata = node; /* names are unique */
        else
            FKMI_TRY(read_entry(file, node));
    }
    if ((file->n_tensors > 0 ? file->tensors[file->n_tensors - 1].end : 0) != file->size - file->data_begin)
        return damaged(file, "its size is not that of its tensors");
    for (i = 1; i <= file->metadata->n_children; i++)
        if (file->metadata[i].kind != FKMI_JSON_STRING)
            return damaged(file, "a note is not a text");
    return FKM_OK;
}

static fkm_status read_header(struct fkmi_tensor_file *file)
{
    fkm_status status = FKM_OK;
    unsigned char front[8];
    char *text = NULL;
    uint64_t length = 0;
    int i;

    if (file->size < 8)
        return damaged(file, "it is too short");
    FKMI_TRY(read_at(file, 0, front, 8));
    for (i = 8; i-- > 0;)
        length = length << 8 | front[i];
    if (length > (uint64_t)FKMI_TENSORS_HEADER_MAX || (int64_t)length > file->size - 8 || length % 8 != 0 ||
        length < FKMI_TENSORS_FRONT_BYTES + 64)
        return damaged(file, "its header has an impossible length");
    file->data_begin = 8 + (int64_t)length;
    FKMI_TRY(fkmi_alloc(&text, (int64_t)length, 1));
    FKMI_TRY_GOTO(read_at(file, 8, text, (int64_t)length));
    if (memcmp(text, FKMI_TENSORS_FRONT, FKMI_TENSORS_FRONT_BYTES) != 0)
        FKMI_TRY_GOTO(damaged(file, "its header does not begin with a checksum"));
    FKMI_TRY_GOTO(verify_checksum(file));
    status = fkmi_json_parse(&file->json, text, (size_t)length, FKMI_TENSORS_NODES_MAX);
    if (status != FKM_OK)
        fkmi_fail_within(status, file->name);
done:
    fkmi_free(text);
    return status;
}

/* Takes fd over. */
static fkm_status open_any(const char *name, int fd, const void *bytes, int64_t size,
                           struct fkmi_tensor_file **out)
{
    fkm_status status = FKM_OK;
    struct fkmi_tensor_file *file = NULL;

    status = fkmi_alloc(&file, 1, sizeof *file);
    if (status != FKM_OK) {
        if (fd >= 0)
            close(fd);
        return status;
    }
    file->fd = fd;
    file->bytes = bytes;
    file->size = size;
    FKMI_TRY_GOTO(fkmi_format(&file->name, "%s", name));
    FKMI_TRY_GOTO(read_header(file));
    FKMI_TRY_GOTO(read_entries(file));
    *out = file;
    file = NULL;
done:
    fkmi_tensors_close(file);
    return status;
}

fkm_status fkmi_tensors_open(const char *path, struct fkmi_tensor_file **out)
{
    struct stat info;
    int fd;

    *out = NULL;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe of this name must not make us wait */
    if (fd < 0)
        return fkmi_fail(FKM_EIO, "cannot open %s: %s", path, strerror(errno));
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return fkmi_fail(FKM_EIO, "cannot read %s: it is not a regular file", path);
    }
    return open_any(path, fd, NULL, (int64_t)info.st_size, out);
}

fkm_status fkmi_tensors_open_bytes(const void *bytes, size_t size, struct fkmi_tensor_file **out)
{
    *out = NULL;
    if (size > INT64_MAX)
        return fkmi_fail(FKM_EINVAL, "%zu bytes are impossible", size);
    return open_any("the model", -1, bytes, (int64_t)size, out);
}

void fkmi_tensors_close(struct fkmi_tensor_file *file)
{
    if (!file)
        return;
    if (file->fd >= 0)
        close(file->fd);
    fkmi_json_free(&file->json);
    fkmi_free(file->name);
    fkmi_free(file);
}

/* ---- looking inside */

int fkmi_tensors_count(const struct fkmi_tensor_file *file) { return file->n_tensors; }

const struct fkmi_tensor *fkmi_tensors_at(const struct fkmi_tensor_file *file, int i)
{
    return &file->tensors[i];
}

const struct fkmi_tensor *fkmi_tensors_find(const struct fkmi_tensor_file *file, const char *name)
{
    int i;

    for (i = 0; i < file->n_tensors; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    return NULL;
}

/* The checksum is the first text; the others follow it. */
int64_t fkmi_tensors_text_count(const struct fkmi_tensor_file *file)
{
    return file->metadata->n_children - 1;
}

struct fkmi_text fkmi_tensors_text_at(const struct fkmi_tensor_file *file, int64_t i)
{
    const struct fkmi_json_node *node = &file->metadata[2 + i];

    return (struct fkmi_text){node->key, node->text};
}

const char *fkmi_tensors_text(const struct fkmi_tensor_file *file, const char *name)
{
    const struct fkmi_json_node *node = fkmi_json_member(&file->json, file->metadata, name);

    return node && strcmp(name, "sha256") != 0 ? node->text : NULL;
}

fkm_status fkmi_tensors_read(struct fkmi_tensor_file *file, const char *name, enum fkmi_tensor_type type,
                             int n_dims, const int64_t *shape, void *out)
{
    const struct fkmi_tensor *tensor = fkmi_tensors_find(file, name);
    fkm_status status;
    char *data;
    int i;

    memset(out, 0, sizeof(void *));
    if (!tensor)
        return fkmi_fail(FKM_EDATA, "%s has no tensor \"%s\"", file->name, name);
    if (tensor->type != type)
        return fkmi_fail(FKM_EDATA, "%s: tensor \"%s\" is %s, expected %s", file->name, name,
                         fkmi_tensor_types[tensor->type].name, fkmi_tensor_types[type].name);
    if (tensor->n_dims != n_dims)
        return fkmi_fail(FKM_EDATA, "%s: tensor \"%s\" has %d dimensions, expected %d", file->name, name,
                         tensor->n_dims, n_dims);
    for (i = 0; i < n_dims; i++)
        if (shape[i] >= 0 && tensor->shape[i] != shape[i])
            return fkmi_fail(FKM_EDATA, "%s: tensor \"%s\" has %lld entries in dimension %d, expected %lld",
                             file->name, name, (long long)tensor->shape[i], i, (long long)shape[i]);
    FKMI_TRY(fkmi_alloc(&data, tensor->end - tensor->begin, 1));
    status = read_at(file, file->data_begin + tensor->begin, data, tensor->end - tensor->begin);
    if (status == FKM_OK)
        memcpy(out, &data, sizeof data);
    else
        fkmi_free(data);
    return status;
}
