/* dlpack.h — the structures of the DLPack exchange format, major version 1, and of its unversioned predecessor, as
 * its documentation lays them out (https://dmlc.github.io/dlpack/latest/c_api.html).
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMPY_DLPACK_H
#define FKMPY_DLPACK_H

#include <stdint.h>

#define DLPACK_MAJOR     1
#define DLPACK_READ_ONLY ((uint64_t)1) /* flag */

enum dlpack_device { DLPACK_CPU = 1, DLPACK_CUDA = 2, DLPACK_CUDA_HOST = 3, DLPACK_ROCM_HOST = 11 };
enum dlpack_code { DLPACK_INT = 0, DLPACK_UINT = 1, DLPACK_FLOAT = 2, DLPACK_BFLOAT = 4, DLPACK_BOOL = 6 };

struct dlpack_tensor {
    void *data;
    struct {
        int32_t type, id;
    } device;
    int32_t n_dims;
    struct {
        uint8_t code, bits;
        uint16_t lanes;
    } dtype;
    int64_t *shape, *strides; /* strides in elements; NULL: row-major */
    uint64_t byte_offset;
};

struct dlpack_legacy { /* capsule "dltensor" */
    struct dlpack_tensor tensor;
    void *context;
    void (*release)(struct dlpack_legacy *self);
};

struct dlpack_versioned { /* capsule "dltensor_versioned" */
    struct {
        uint32_t major, minor;
    } version;
    void *context;
    void (*release)(struct dlpack_versioned *self);
    uint64_t flags;
    struct dlpack_tensor tensor;
};

#endif
