/* dtype.c — half, bfloat16, float, double: sizes, names, conversion in integer arithmetic.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/dtype.h"

#include <assert.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[FKMI_N_DTYPES] = {
    [FKM_DTYPE_F32] = {"float32", 4},
    [FKM_DTYPE_F16] = {"float16", 2},
    [FKM_DTYPE_BF16] = {"bfloat16", 2},
    [FKM_DTYPE_F64] = {"float64", 8},
};

size_t fkmi_dtype_size(fkm_dtype dtype)
{
    assert((unsigned)dtype < FKMI_N_DTYPES);
    return dtypes[dtype].size;
}

const char *fkmi_dtype_name(fkm_dtype dtype)
{
    assert((unsigned)dtype < FKMI_N_DTYPES);
    return dtypes[dtype].name;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* value / 2^shift to the nearest integer, ties to even. */
static uint32_t shift_round(uint32_t value, unsigned shift)
{
    const uint32_t half = 1u << (shift - 1), rest = value & ((1u << shift) - 1);
    const uint32_t whole = value >> shift;

    return whole + (rest > half || (rest == half && (whole & 1u)) ? 1u : 0u);
}

float fkmi_f32_of_f16(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = (half >> 10) & 0x1fu;
    const uint32_t fraction = half & 0x3ffu;

    if (exponent == 0x1f)
        return float_of(sign | 0x7f800000u | fraction << 13);
    if (exponent == 0) { /* zero and subnormals: fraction * 2^-24, exact in float */
        const float magnitude = (float)fraction * 0x1p-24f;

        return float_of(sign | bits_of(magnitude));
    }
    return float_of(sign | (exponent + 112) << 23 | fraction << 13);
}

uint16_t fkmi_f16_of_f32(float value)
{
    const uint32_t bits = bits_of(value), magnitude = bits & 0x7fffffffu;
    const uint32_t sign = (bits >> 16) & 0x8000u;
    uint32_t half;

    if (magnitude > 0x7f800000u) /* NaN stays NaN: quiet, with the top of its payload */
        half = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
    else if (magnitude >= 0x477ff000u) /* 65520 and more round to infinity */
        half = 0x7c00u;
    else if (magnitude >= 0x38800000u) /* 2^-14 and more: normal; a carry moves into the exponent by itself */
        half = shift_round(magnitude - 0x38000000u, 13);
    else if (magnitude >= 0x33000000u) { /* 2^-25 and more: subnormal */
        const uint32_t exponent = magnitude >> 23, fraction = (magnitude & 0x7fffffu) | 0x800000u;

        half = shift_round(fraction, 126 - exponent);
    } else
        half = 0;
    return (uint16_t)(sign | half);
}

float fkmi_f32_of_bf16(uint16_t half) { return float_of((uint32_t)half << 16); }

uint16_t fkmi_bf16_of_f32(float value)
{
    const uint32_t bits = bits_of(value);

    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)shift_round(bits, 16);
}

/* The float nearest towards zero with its last bit set when inexact ("round to odd"): rounding that again to
 * fewer bits gives what rounding the double at once would give (Boldo & Melquiond 2008). */
static float float_to_odd(double value)
{
    const float nearest = (float)value;
    uint32_t bits = bits_of(nearest);

    if ((double)nearest == value || value != value)
        return nearest;
    if (value > 0 ? (double)nearest > value : (double)nearest < value)
        bits--;
    return float_of(bits | 1u);
}

double fkmi_dtype_get(const void *array, fkm_dtype dtype, int64_t i)
{
    switch (dtype) {
    case FKM_DTYPE_F16:
        return (double)fkmi_f32_of_f16(((const uint16_t *)array)[i]);
    case FKM_DTYPE_BF16:
        return (double)fkmi_f32_of_bf16(((const uint16_t *)array)[i]);
    case FKM_DTYPE_F64:
        return ((const double *)array)[i];
    default:
        return (double)((const float *)array)[i];
    }
}

void fkmi_dtype_set(void *array, fkm_dtype dtype, int64_t i, double value)
{
    switch (dtype) {
    case FKM_DTYPE_F16:
        ((uint16_t *)array)[i] = fkmi_f16_of_f32(float_to_odd(value));
        break;
    case FKM_DTYPE_BF16:
        ((uint16_t *)array)[i] = fkmi_bf16_of_f32(float_to_odd(value));
        break;
    case FKM_DTYPE_F64:
        ((double *)array)[i] = value;
        break;
    default:
        ((float *)array)[i] = (float)value;
        break;
    }
}
