/* lists_rows.c — dense rows against prototypes that are lists: they become CSR rows, some at a time.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "backends/cpu/cpu.h"

#define VALUES_AT_ONCE ((int64_t)1 << 20)

struct csr {
    char *values;
    int64_t *indptr;
    int32_t *indices;
};

static void compress(const struct fkmi_rows *rows, struct csr *csr)
{
    const size_t size = fkmi_dtype_size(rows->dtype);

    csr->indptr[0] = 0;
    for (int64_t i = 0; i < rows->n; i++) {
        const char *x = fkmi_dense_row(rows, i);
        int64_t at = csr->indptr[i];

        for (int64_t d = 0; d < rows->dim; d++) {
            if (fkmi_dtype_get(x, rows->dtype, d) == 0)
                continue;
            memcpy(csr->values + (size_t)at * size, x + (size_t)d * size, size);
            csr->indices[at++] = (int32_t)d;
        }
        csr->indptr[i + 1] = at;
    }
}

fkm_status fkmi_cpu_scan_dense_lists(struct fkm_context *context, const struct fkmi_rows *rows,
                                     const struct fkmi_pack *pack, const struct fkmi_scan *scan,
                                     int64_t width)
{
    const int64_t fit = VALUES_AT_ONCE / rows->dim, most = fit < 1 ? 1 : fit < rows->n ? fit : rows->n;
    const size_t size = fkmi_dtype_size(rows->dtype);
    struct csr csr = {0};
    fkm_status status = FKM_OK;

    FKMI_TRY_GOTO(fkmi_alloc(&csr.values, most * rows->dim, size));
    FKMI_TRY_GOTO(fkmi_alloc(&csr.indices, most * rows->dim, sizeof *csr.indices));
    FKMI_TRY_GOTO(fkmi_alloc(&csr.indptr, most + 1, sizeof *csr.indptr));
    for (int64_t first = 0; first < rows->n; first += most) {
        const int64_t n = rows->n - first < most ? rows->n - first : most;
        const struct fkmi_rows some = fkmi_rows_slice(rows, first, n);
        const struct fkmi_rows sparse = {.n = n,
                                         .dim = rows->dim,
                                         .dtype = rows->dtype,
                                         .values = csr.values,
                                         .indptr = csr.indptr,
                                         .indices = csr.indices};
        struct fkmi_scan part = *scan;

        compress(&some, &csr);
        part.slot = scan->slot ? scan->slot + first : NULL;
        part.within = scan->within ? scan->within + first : NULL;
        part.index = scan->index ? scan->index + first * width : NULL;
        part.distance = scan->distance + first * width;
        FKMI_TRY_GOTO(fkmi_cpu_scan(context, &sparse, pack, &part));
    }
done:
    fkmi_free(csr.values);
    fkmi_free(csr.indices);
    fkmi_free(csr.indptr);
    return status;
}
