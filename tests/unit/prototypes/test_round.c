/* test_round.c — stochastic rounding keeps the mean and never leaves the two neighbours.
 * SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "prototypes/round.h"

static double nearest(fkm_dtype dtype, double value)
{
    uint16_t half;

    fkmi_dtype_set(&half, dtype, 0, value);
    return fkmi_dtype_get(&half, dtype, 0);
}

TEST(the_mean_is_right_and_only_neighbours_appear)
{
    static const fkm_dtype halves[] = {FKM_DTYPE_F16, FKM_DTYPE_BF16};
    static const double start[] = {1.0, -1.0, 3.1415926, -0.1, 1e-3, 2047.3, -6e-8, 3e-8};

    for (int h = 0; h < 2; h++)
        for (int s = 0; s < 8; s++) {
            const double value = start[s] * 1.00037;
            const int n = 20000;
            double sum = 0, low = INFINITY, high = -INFINITY;
            for (int i = 0; i < n; i++) {
                double one = value;
                fkmi_round_randomly(halves[h], 11, i, &one, 1);
                CHECK_NEAR(one, nearest(halves[h], one), 0); /* representable */
                sum += one;
                low = fmin(low, one);
                high = fmax(high, one);
            }
            CHECK(low <= value && value <= high);
            CHECK(nearest(halves[h], value) == low || nearest(halves[h], value) == high);
            CHECK_NEAR(value, sum / n, 5 * (high - low) * 0.5 / sqrt(n) + 1e-300); /* five standard errors */
        }
}

TEST(representable_values_and_wide_types_stay)
{
    double values[5] = {0, 1.5, -2, 0.333, 65504};
    double wide[2] = {1.0 / 3, -7.7e-200};

    values[3] = nearest(FKM_DTYPE_F16, values[3]);
    for (int64_t j = 0; j < 100; j++) {
        double copy[5];
        memcpy(copy, values, sizeof copy);
        fkmi_round_randomly(FKM_DTYPE_F16, 5, j, copy, 5);
        for (int d = 0; d < 5; d++)
            CHECK_NEAR(values[d], copy[d], 0);
    }
    fkmi_round_randomly(FKM_DTYPE_F64, 5, 0, wide, 2);
    CHECK_NEAR(1.0 / 3, wide[0], 0);
    CHECK_NEAR(-7.7e-200, wide[1], 0);
}

TEST(noise_belongs_to_prototype_and_coordinate)
{
    double a[9], b[9], c[9];
    int differ = 0;

    for (int d = 0; d < 9; d++)
        a[d] = b[d] = c[d] = 1.0003 + 0.01 * d;
    fkmi_round_randomly(FKM_DTYPE_F16, 3, 4, a, 9);
    fkmi_round_randomly(FKM_DTYPE_F16, 3, 4, b, 9);
    fkmi_round_randomly(FKM_DTYPE_F16, 3, 5, c, 9);
    for (int d = 0; d < 9; d++) {
        CHECK_NEAR(a[d], b[d], 0);
        differ += a[d] != c[d];
    }
    CHECK(differ > 0);
}
