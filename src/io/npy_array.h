/* npy_array.h — one .npy file: its header, and its rows where they lie.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_IO_NPY_ARRAY_H
#define FKMI_IO_NPY_ARRAY_H

#include "io/bytes.h"

enum fkmi_npy_kind { FKMI_NPY_FLOAT, FKMI_NPY_INT, FKMI_NPY_UINT, FKMI_NPY_BOOL };

struct fkmi_npy { /* zeroed: none */
    struct fkmi_bytes *bytes;
    enum fkmi_npy_kind kind;
    int64_t item;           /* bytes of an element: 1, 2, 4, 8 */
    int32_t n_dims;         /* 1 or 2 */
    int64_t n_rows, n_cols; /* n_cols is 1 for 1-D */
    int64_t data;           /* offset of the first row */
    const char *map;        /* the whole file, or NULL: rows are read into the buffer */
    char *buffer;
    int64_t buffer_bytes;
};

/* Reads and checks the header and the size of the file; takes bytes over on success. FKM_EDATA when it is not
 * an .npy file or its size does not fit its shape; FKM_EUNSUPPORTED for objects, structures, big-endian or
 * column-major arrays, more than two dimensions. */
fkm_status fkmi_npy_begin(struct fkmi_npy *npy, struct fkmi_bytes *bytes);
void fkmi_npy_end(struct fkmi_npy *npy);
/* Rows [first, first + n), n >= 1, valid until the next call. */
fkm_status fkmi_npy_rows(struct fkmi_npy *npy, int64_t first, int64_t n, const char **rows);
/* After the last row: a stream must end there too, which also verifies the checksum of gzip. */
fkm_status fkmi_npy_check_end(struct fkmi_npy *npy);
/* Element i of rows as a number; integers beyond 2^53 are rounded. */
double fkmi_npy_double(const struct fkmi_npy *npy, const char *rows, int64_t i);
/* For integer and bool arrays; false when it does not fit. */
bool fkmi_npy_int64(const struct fkmi_npy *npy, const char *rows, int64_t i, int64_t *out);

#endif
