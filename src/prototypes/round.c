/* round.c — stochastic rounding, four numbers of noise at a time.
 * SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/round.h"

#include <math.h>
#include <stdbool.h>

#include "base/random.h"

static double widen(fkm_dtype dtype, uint16_t half)
{
    return dtype == FKM_DTYPE_F16 ? (double)fkmi_f32_of_f16(half) : (double)fkmi_f32_of_bf16(half);
}

/* The representable number on the far side of value from `half`. */
static uint16_t across(uint16_t half, double here, double value)
{
    const bool up = value > here;

    if (here == 0)
        return up ? 0x0001 : 0x8001;
    return (uint16_t)(up == (here > 0) ? half + 1
                                       : half - 1); /* sign and magnitude: away from 0, or towards it */
}

static double round_one(fkm_dtype dtype, double value, uint32_t noise)
{
    const uint16_t half =
        dtype == FKM_DTYPE_F16 ? fkmi_f16_of_f32((float)value) : fkmi_bf16_of_f32((float)value);
    const double here = widen(dtype, half);
    double there;

    if (here == value || !isfinite(here))
        return here;
    there = widen(dtype, across(half, here, value));
    if (!isfinite(there))
        return here;
    return (double)noise * 0x1p-32 < (value - here) / (there - here) ? there : here;
}

void fkmi_round_randomly(fkm_dtype dtype, uint64_t key, int64_t prototype, double *values, int64_t n)
{
    uint32_t noise[4];

    if (dtype != FKM_DTYPE_F16 && dtype != FKM_DTYPE_BF16)
        return;
    for (int64_t d = 0; d < n; d++) {
        if (d % 4 == 0)
            fkmi_philox(key, (uint64_t)prototype, (uint64_t)(d / 4), noise);
        values[d] = round_one(dtype, values[d], noise[d % 4]);
    }
}

void fkmi_round_list_randomly(fkm_dtype dtype, uint64_t key, int64_t prototype, const int32_t *column,
                              double *values, int64_t n)
{
    uint32_t noise[4];

    if (dtype != FKM_DTYPE_F16 && dtype != FKM_DTYPE_BF16)
        return;
    for (int64_t e = 0; e < n; e++) {
        if (e == 0 || column[e] / 4 != column[e - 1] / 4)
            fkmi_philox(key, (uint64_t)prototype, (uint64_t)(column[e] / 4), noise);
        values[e] = round_one(dtype, values[e], noise[column[e] % 4]);
    }
}
