/* test_dtype.c — all 65536 halves of both kinds, and rounding against the nearest representable number found
 * by search.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/dtype.h"

#include <float.h>

#include "base/random.h"
#include "support/test.h"

/* What the bits of a half mean, from the formats' definitions. */
static double meaning(uint16_t half, int exponent_bits)
{
    const int fraction_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
    const int exponent = (half & 0x7fff) >> fraction_bits, fraction = half & ((1 << fraction_bits) - 1);
    const double sign = half & 0x8000 ? -1 : 1;

    if (exponent == (1 << exponent_bits) - 1)
        return fraction ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0)
        return sign * ldexp(fraction, 1 - bias - fraction_bits);
    return sign * ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
}

/* The positive half nearest to value >= 0, ties to even: halves ascend with their bits. Infinity stands where
 * the next power of two would. */
static uint16_t nearest(double value, int exponent_bits)
{
    const int fraction_bits = 15 - exponent_bits;
    const int infinity = ((1 << exponent_bits) - 1) << fraction_bits;
    int low = 0, high = infinity;
    double below, above;

    while (high - low > 1) {
        const int middle = (low + high) / 2;

        if (meaning((uint16_t)middle, exponent_bits) <= value)
            low = middle;
        else
            high = middle;
    }
    below = meaning((uint16_t)low, exponent_bits);
    above = high == infinity ? ldexp(1, 1 << (exponent_bits - 1)) : meaning((uint16_t)high, exponent_bits);
    if (value >= above)
        return (uint16_t)high;
    if (value - below != above - value)
        return (uint16_t)(value - below < above - value ? low : high);
    return (uint16_t)(low % 2 == 0 ? low : high);
}

TEST(sizes_and_names)
{
    CHECK_INT(4, fkmi_dtype_size(FKM_DTYPE_F32));
    CHECK_INT(2, fkmi_dtype_size(FKM_DTYPE_F16));
    CHECK_INT(2, fkmi_dtype_size(FKM_DTYPE_BF16));
    CHECK_INT(8, fkmi_dtype_size(FKM_DTYPE_F64));
    CHECK_TEXT("float32", fkmi_dtype_name(FKM_DTYPE_F32));
    CHECK_TEXT("float16", fkmi_dtype_name(FKM_DTYPE_F16));
    CHECK_TEXT("bfloat16", fkmi_dtype_name(FKM_DTYPE_BF16));
    CHECK_TEXT("float64", fkmi_dtype_name(FKM_DTYPE_F64));
}

TEST(every_half_means_what_the_format_says_and_comes_back)
{
    for (int bits = 0; bits <= 0xffff; bits++) {
        const uint16_t half = (uint16_t)bits;
        const double f16 = meaning(half, 5), bf16 = meaning(half, 8);

        if (isnan(f16)) {
            CHECK(isnan(fkmi_f32_of_f16(half)));
            CHECK(isnan(meaning(fkmi_f16_of_f32(fkmi_f32_of_f16(half)), 5)));
        } else {
            CHECK(f16 == (double)fkmi_f32_of_f16(half));
            CHECK(!signbit(f16) == !signbit(fkmi_f32_of_f16(half)));
            CHECK_INT(half, fkmi_f16_of_f32(fkmi_f32_of_f16(half)));
        }
        if (isnan(bf16)) {
            CHECK(isnan(fkmi_f32_of_bf16(half)));
            CHECK(isnan(meaning(fkmi_bf16_of_f32(fkmi_f32_of_bf16(half)), 8)));
        } else {
            CHECK(bf16 == (double)fkmi_f32_of_bf16(half));
            CHECK_INT(half, fkmi_bf16_of_f32(fkmi_f32_of_bf16(half)));
        }
    }
}

static void check_rounding(double value)
{
    uint16_t half;

    fkmi_dtype_set(&half, FKM_DTYPE_F16, 0, value);
    CHECK_INT(nearest(fabs(value), 5) | (signbit(value) ? 0x8000 : 0), half);
    fkmi_dtype_set(&half, FKM_DTYPE_BF16, 0, value);
    CHECK_INT(nearest(fabs(value), 8) | (signbit(value) ? 0x8000 : 0), half);
    if (isfinite((float)value)) {
        CHECK_INT(nearest(fabs((double)(float)value), 5) | (signbit(value) ? 0x8000 : 0),
                  fkmi_f16_of_f32((float)value));
        CHECK_INT(nearest(fabs((double)(float)value), 8) | (signbit(value) ? 0x8000 : 0),
                  fkmi_bf16_of_f32((float)value));
    }
}

TEST(numbers_round_to_the_nearest_half_with_ties_to_even)
{
    struct fkmi_random random = fkmi_random_from(5);

    for (int exponent_bits = 5; exponent_bits <= 8; exponent_bits += 3) {
        const int infinity = exponent_bits == 5 ? 0x7c00 : 0x7f80;

        for (int half = 0; half < infinity - 1;
             half++) { /* the middle of two neighbours, and a hair beside it */
            const double below = meaning((uint16_t)half, exponent_bits);
            const double middle = (below + meaning((uint16_t)(half + 1), exponent_bits)) / 2;

            check_rounding(middle);
            check_rounding(nextafter(middle, 0));
            check_rounding(-nextafter(middle, 1e300));
        }
    }
    for (int i = 0; i < 100000; i++) {
        const int exponent = (int)fkmi_random_below(&random, 300) - 160;

        check_rounding((fkmi_random_uniform(&random) * 2 - 1) * ldexp(1, exponent));
    }
    check_rounding(65519.999);
    check_rounding(65520);
    check_rounding((double)FLT_MAX);
    check_rounding(1e300);
    check_rounding(1e-300);
    check_rounding(-1e-300);
    CHECK_INT(0x7c00, fkmi_f16_of_f32(INFINITY));
    CHECK_INT(0xfc00, fkmi_f16_of_f32(-INFINITY));
    CHECK_INT(0xff80, fkmi_bf16_of_f32(-INFINITY));
}

TEST(elements_of_arrays)
{
    static const fkm_dtype dtypes[] = {FKM_DTYPE_F32, FKM_DTYPE_F16, FKM_DTYPE_BF16, FKM_DTYPE_F64};

    for (int d = 0; d < 4; d++) {
        double storage[4] = {0};

        fkmi_dtype_set(storage, dtypes[d], 2, -1.5);
        fkmi_dtype_set(storage, dtypes[d], 0, NAN);
        CHECK(isnan(fkmi_dtype_get(storage, dtypes[d], 0)));
        CHECK_NEAR(0, fkmi_dtype_get(storage, dtypes[d], 1), 0);
        CHECK_NEAR(-1.5, fkmi_dtype_get(storage, dtypes[d], 2), 0);
    }
}
