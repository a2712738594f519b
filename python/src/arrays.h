/* arrays.h — one array borrowed from Python: by the buffer protocol, or from a DLPack tensor in the CPU's memory.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMPY_ARRAYS_H
#define FKMPY_ARRAYS_H

#include "module.h"

enum fkmpy_dtype { /* bits, so that a set of them is a number */
                   FKMPY_OTHER = 0,
                   FKMPY_F16 = 1,
                   FKMPY_BF16 = 2,
                   FKMPY_F32 = 4,
                   FKMPY_F64 = 8,
                   FKMPY_I32 = 16,
                   FKMPY_I64 = 32,
                   FKMPY_U8 = 64,
                   FKMPY_BOOL = 128,
};
#define FKMPY_REALS (FKMPY_F16 | FKMPY_BF16 | FKMPY_F32 | FKMPY_F64)
#define FKMPY_BYTES (FKMPY_U8 | FKMPY_BOOL)
#define FKMPY_ANY   (-1) /* length */

/* All zero: nothing is borrowed. */
struct fkmpy_array {
    Py_buffer view; /* view.obj is NULL unless the buffer protocol gave it */
    void *tensor;   /* struct dlpack_versioned or dlpack_legacy, ours to release; or NULL */
    bool is_versioned;
    enum fkmpy_dtype dtype;
    char dtype_text[24];
    int64_t item_bytes;
    bool is_read_only;
    char *data;
    int n_dims;
    int64_t shape[2], stride[2]; /* in elements */
};

/* What an argument must be. */
struct fkmpy_want {
    const char *name; /* of the argument, for messages */
    unsigned dtypes;
    int n_dims; /* 1 or 2 */
    int64_t shape[2];
    bool writes;        /* an output */
    bool strided_rows;  /* rows may lie apart; else the array is C-contiguous */
    bool may_be_absent; /* None or NULL borrows nothing */
};

/* False with TypeError (no array, wrong dtype) or ValueError (shape, layout, read-only), naming the argument. */
bool fkmpy_array_borrow(struct fkmpy_array *array, PyObject *object, const struct fkmpy_want *want);
/* Gives it back, once; the array is then all zero. */
void fkmpy_array_release(struct fkmpy_array *array);
int fkmpy_array_visit(const struct fkmpy_array *array, visitproc visit, void *arg);

#endif
