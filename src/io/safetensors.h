/* safetensors.h — named tensors and text in one file, with a SHA-256 over everything; reading trusts nothing.
 *
 * Layout: 8 bytes little-endian header length, the JSON header, the tensors. __metadata__ holds our strings
 * and "sha256": the hash of the whole file with the 64 hex digits themselves as '0'.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_IO_SAFETENSORS_H
#define FKMI_IO_SAFETENSORS_H

#include "base/dtype.h"
#include "base/error.h"

#define FKMI_TENSORS_MAX     100
#define FKMI_TENSOR_DIMS_MAX 3
#define FKMI_TEXTS_MAX       10000 /* with the checksum */

enum fkmi_tensor_type {
    FKMI_TENSOR_F64,
    FKMI_TENSOR_F32,
    FKMI_TENSOR_F16,
    FKMI_TENSOR_BF16,
    FKMI_TENSOR_I64,
    FKMI_TENSOR_I32,
    FKMI_TENSOR_U8
};
struct fkmi_tensor {
    char name[48];
    enum fkmi_tensor_type type;
    int n_dims;
    int64_t shape[FKMI_TENSOR_DIMS_MAX];
    const void *data;   /* writing: borrowed; reading: NULL */
    int64_t begin, end; /* reading: bytes in the data section */
};
struct fkmi_text { /* one member of __metadata__ */
    const char *name, *value;
};
size_t fkmi_tensor_type_size(enum fkmi_tensor_type type);
enum fkmi_tensor_type fkmi_tensor_type_of(fkm_dtype dtype);

/* path.partial, every write checked, fsync, rename, fsync of the folder; on failure nothing is left behind
 * and an old file is untouched. */
fkm_status fkmi_tensors_save(const char *path, const struct fkmi_tensor *tensors, int n_tensors,
                             const struct fkmi_text *texts, int64_t n_texts);
fkm_status fkmi_tensors_to_bytes(const struct fkmi_tensor *tensors, int n_tensors,
                                 const struct fkmi_text *texts, int64_t n_texts, void **bytes, size_t *size);

struct fkmi_tensor_file; /* an opened and verified file */
/* FKM_EDATA for anything not exactly as it should be: the checksum is verified here. bytes are borrowed. */
fkm_status fkmi_tensors_open(const char *path, struct fkmi_tensor_file **out);
fkm_status fkmi_tensors_open_bytes(const void *bytes, size_t size, struct fkmi_tensor_file **out);
void fkmi_tensors_close(struct fkmi_tensor_file *file); /* NULL is fine */
int fkmi_tensors_count(const struct fkmi_tensor_file *file);
const struct fkmi_tensor *fkmi_tensors_at(const struct fkmi_tensor_file *file, int i);
const struct fkmi_tensor *fkmi_tensors_find(const struct fkmi_tensor_file *file,
                                            const char *name);        /* or NULL */
int64_t fkmi_tensors_text_count(const struct fkmi_tensor_file *file); /* without sha256 */
struct fkmi_text fkmi_tensors_text_at(const struct fkmi_tensor_file *file, int64_t i);
const char *fkmi_tensors_text(const struct fkmi_tensor_file *file, const char *name); /* or NULL */
/* Reads the tensor into fresh memory. FKM_EDATA names the tensor and both types or shapes when type, n_dims
 * or a shape entry >= 0 differ. */
fkm_status fkmi_tensors_read(struct fkmi_tensor_file *file, const char *name, enum fkmi_tensor_type type,
                             int n_dims, const int64_t *shape, void *out /* pointer to a pointer */);

#endif
