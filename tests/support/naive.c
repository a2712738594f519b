/* naive.c — oracles: slow, short, obvious.
 * SPDX-License-Identifier: Apache-2.0 */
#include "support/naive.h"

#include <math.h>
#include <string.h>

uint64_t naive_u64(struct naive_random *random) /* splitmix64 (Steele et al. 2014) */
{
    uint64_t z = (random->state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int64_t naive_below(struct naive_random *random, int64_t n)
{
    return (int64_t)(naive_u64(random) % (uint64_t)n);
}
double naive_uniform(struct naive_random *random) { return (double)(naive_u64(random) >> 11) * 0x1p-53; }

double naive_normal(struct naive_random *random)
{
    double sum = 0;

    for (int i = 0; i < 12; i++)
        sum += naive_uniform(random);
    sum -= 6;
    return sum < -4 ? -4 : sum > 4 ? 4 : sum;
}

/* ---- storage */

size_t naive_size(fkm_dtype dtype) { return dtype == FKM_DTYPE_F64 ? 8 : dtype == FKM_DTYPE_F32 ? 4 : 2; }

/* The value of a 16-bit float with `fraction` fraction bits. */
static double half_value(uint16_t bits, int fraction)
{
    const int exponent_bits = 15 - fraction, bias = (1 << (exponent_bits - 1)) - 1;
    const int exponent = bits >> fraction & ((1 << exponent_bits) - 1), rest = bits & ((1 << fraction) - 1);
    const double sign = bits >> 15 ? -1 : 1;

    if (exponent == (1 << exponent_bits) - 1)
        return rest ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0)
        return sign * ldexp(rest, 1 - bias - fraction);
    return sign * ldexp(rest + (1 << fraction), exponent - bias - fraction);
}

double naive_get(const void *array, fkm_dtype dtype, int64_t i)
{
    switch (dtype) {
    case FKM_DTYPE_F64:
        return ((const double *)array)[i];
    case FKM_DTYPE_F16:
        return half_value(((const uint16_t *)array)[i], 10);
    case FKM_DTYPE_BF16:
        return half_value(((const uint16_t *)array)[i], 7);
    default:
        return (double)((const float *)array)[i];
    }
}

/* Magnitudes of halves are ordered like their bits: bisect, then round to the nearer neighbour or to even. */
static uint16_t half_of(double value, int fraction)
{
    const uint16_t infinity = (uint16_t)(((1 << (15 - fraction)) - 1) << fraction);
    const double magnitude = fabs(value);
    uint16_t low = 0, high = infinity, sign = signbit(value) ? 0x8000 : 0;

    if (isnan(value))
        return (uint16_t)(infinity | 1 << (fraction - 1));
    while (high - low > 1) {
        const uint16_t middle = (uint16_t)((low + high) / 2);
        if (half_value(middle, fraction) <= magnitude)
            low = middle;
        else
            high = middle;
    }
    {
        const double below = half_value(low, fraction);
        /* past the largest number the next step of the same length would be where infinity stands */
        const double above = high == infinity ? below + (below - half_value((uint16_t)(low - 1), fraction))
                                              : half_value(high, fraction);
        const double middle = below / 2 + above / 2;
        const bool up = magnitude > middle || (magnitude == middle && (low & 1));
        return (uint16_t)((up ? high : low) | sign);
    }
}

void naive_set(void *array, fkm_dtype dtype, int64_t i, double value)
{
    switch (dtype) {
    case FKM_DTYPE_F64:
        ((double *)array)[i] = value;
        break;
    case FKM_DTYPE_F16:
        ((uint16_t *)array)[i] = half_of(value, 10);
        break;
    case FKM_DTYPE_BF16:
        ((uint16_t *)array)[i] = half_of(value, 7);
        break;
    default:
        ((float *)array)[i] = (float)value;
        break;
    }
}

/* ---- distances */

double naive_distance(fkm_metric metric, const double *x, const double *c, const double *w, const float *m,
                      int64_t dim)
{
    double sum = 0, active = 0, xx = 0, cc = 0;

    for (int64_t d = 0; d < dim; d++) {
        const double a = (w ? w[d] : 1.0) * (m ? (double)m[d] : 1.0);

        active += a;
        if (m && m[d] == 0.0f)
            continue; /* x may be anything */
        if (metric == FKM_METRIC_EUCLIDEAN)
            sum += a * (x[d] - c[d]) * (x[d] - c[d]);
        else if (metric == FKM_METRIC_L1)
            sum += a * fabs(x[d] - c[d]);
        else {
            sum += a * x[d] * c[d];
            xx += a * x[d] * x[d];
            cc += a * c[d] * c[d];
        }
    }
    if (active == 0)
        return 0;
    if (metric != FKM_METRIC_COSINE)
        return sum * (double)dim / active;
    return xx > 0 && cc > 0 ? 1 - sum / (sqrt(xx) * sqrt(cc)) : 1;
}

void naive_nearest(fkm_metric metric, const double *x, const double *points, int64_t dim, const double *w,
                   const float *m, int64_t begin, int64_t end, int64_t skip_begin, int64_t skip_end,
                   int64_t most, int64_t *index, double *distance)
{
    for (int64_t place = 0; place < most; place++) {
        index[place] = -1;
        distance[place] = (double)INFINITY;
    }
    for (int64_t j = begin; j < end; j++) {
        double d;
        int64_t place = most;

        if (j >= skip_begin && j < skip_end)
            continue;
        d = naive_distance(metric, x, points + j * dim, w, m, dim);
        while (place > 0 && (d < distance[place - 1] || index[place - 1] < 0))
            place--;
        for (int64_t behind = most - 1; behind > place; behind--) {
            index[behind] = index[behind - 1];
            distance[behind] = distance[behind - 1];
        }
        if (place < most) {
            index[place] = j;
            distance[place] = d;
        }
    }
}
