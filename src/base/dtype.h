/* dtype.h — the four storage types and conversion between them, one value at a time (round to nearest even).
 * "real" is what sums are kept in: float, or double for FKM_DTYPE_F64.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BASE_DTYPE_H
#define FKMI_BASE_DTYPE_H

#include <stddef.h>
#include <stdint.h>

#include "fastkmeans/fastkmeans.h"

#define FKMI_N_DTYPES 4
enum fkmi_real { FKMI_REAL_F32, FKMI_REAL_F64 };
#define FKMI_N_REALS 2

size_t fkmi_dtype_size(fkm_dtype dtype);      /* 4, 2, 2, 8 */
const char *fkmi_dtype_name(fkm_dtype dtype); /* "float32", ... */
static inline enum fkmi_real fkmi_real_of(fkm_dtype dtype)
{
    return dtype == FKM_DTYPE_F64 ? FKMI_REAL_F64 : FKMI_REAL_F32;
}
static inline size_t fkmi_real_size(enum fkmi_real real) { return real == FKMI_REAL_F64 ? 8 : 4; }

float fkmi_f32_of_f16(uint16_t half);
float fkmi_f32_of_bf16(uint16_t half);
uint16_t fkmi_f16_of_f32(float value);
uint16_t fkmi_bf16_of_f32(float value);
/* Element i of an array of dtype. */
double fkmi_dtype_get(const void *array, fkm_dtype dtype, int64_t i);
void fkmi_dtype_set(void *array, fkm_dtype dtype, int64_t i, double value);

#endif
