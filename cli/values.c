/* values.c — single values of batches, whatever their type.
 * SPDX-License-Identifier: Apache-2.0 */
#include "values.h"

#include <math.h>
#include <string.h>

/* IEEE 754 binary16: sign, 5 bits of exponent, 10 of fraction. */
static double half_value(uint16_t bits)
{
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const double sign = bits >> 15 ? -1.0 : 1.0;
    if (exponent == 31)
        return fraction ? (double)NAN : sign * (double)INFINITY;
    return sign * (exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24));
}

/* The upper half of a float. */
static double bfloat_value(uint16_t bits)
{
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return (double)value;
}

double value_in(const void *values, fkm_dtype dtype, int64_t i)
{
    switch (dtype) {
    case FKM_DTYPE_F64:
        return ((const double *)values)[i];
    case FKM_DTYPE_F16:
        return half_value(((const uint16_t *)values)[i]);
    case FKM_DTYPE_BF16:
        return bfloat_value(((const uint16_t *)values)[i]);
    case FKM_DTYPE_F32:
        break;
    }
    return (double)((const float *)values)[i];
}

double value_of(const fkm_batch *batch, int64_t i, int64_t j)
{
    return value_in(batch->x, batch->dtype, i * (batch->row_stride ? batch->row_stride : batch->n_cols) + j);
}

bool value_present(const fkm_batch *batch, int64_t i, int64_t j)
{
    return !(batch->mask && batch->mask[i * batch->n_cols + j] == 0) && !isnan(value_of(batch, i, j));
}

fkm_dtype widened(fkm_dtype dtype) { return dtype == FKM_DTYPE_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32; }
size_t widened_size(fkm_dtype dtype) { return dtype == FKM_DTYPE_F64 ? sizeof(double) : sizeof(float); }

void values_widen(const void *values, fkm_dtype dtype, int64_t first, int64_t n, void *out)
{
    if (dtype == FKM_DTYPE_F32 || dtype == FKM_DTYPE_F64) {
        const size_t size = widened_size(dtype);
        memcpy(out, (const char *)values + (size_t)first * size, (size_t)n * size);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        ((float *)out)[i] = (float)value_in(values, dtype, first + i);
}
