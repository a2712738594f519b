/* lanes_scalar.h — the lanes every compiler can make: 128-bit vectors of the GNU language, which become SSE2,
 * NEON or plain scalars. v32 holds 4 floats, v64 holds 2 doubles.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_KERNELS_LANES_H
#define FKMI_KERNELS_LANES_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/dtype.h"

/* Picks lanes of two vectors: clang and gcc 12 share a builtin, older gcc has its own. */
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE32(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#define SHUFFLE64(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE32(a, b, ...) __builtin_shuffle(a, b, (v32_bits){__VA_ARGS__})
#define SHUFFLE64(a, b, ...) __builtin_shuffle(a, b, (v64_bits){__VA_ARGS__})
#endif

#define FKMI_INLINE static inline __attribute__((always_inline))

typedef float v32 __attribute__((vector_size(16)));
typedef double v64 __attribute__((vector_size(16)));
typedef int32_t v32_bits __attribute__((vector_size(16)));
typedef uint32_t v32_unsigned __attribute__((vector_size(16)));
typedef int64_t v64_bits __attribute__((vector_size(16)));
#define V32_LANES 4
#define V64_LANES 2
#define V32_ROWS  4
#define V64_ROWS  4

FKMI_INLINE v32 v32_zero(void) { return (v32){0}; }
FKMI_INLINE v32 v32_set1(float x) { return (v32){x, x, x, x}; }
FKMI_INLINE v32 v32_load(const float *p)
{
    v32 x;
    memcpy(&x, p, sizeof x);
    return x;
}
FKMI_INLINE void v32_store(float *p, v32 x) { memcpy(p, &x, sizeof x); }
/* n values, then zeros */
FKMI_INLINE v32 v32_load_part(const float *p, int64_t n)
{
    v32 x = {0};
    memcpy(&x, p, (size_t)(n < 4 ? n : 4) * sizeof *p);
    return x;
}
FKMI_INLINE void v32_store_part(float *p, v32 x, int64_t n)
{
    memcpy(p, &x, (size_t)(n < 4 ? n : 4) * sizeof *p);
}
FKMI_INLINE v32 v32_load_f32(const float *p) { return v32_load(p); }
FKMI_INLINE v32 v32_load_f16(const uint16_t *p)
{
    return (v32){fkmi_f32_of_f16(p[0]), fkmi_f32_of_f16(p[1]), fkmi_f32_of_f16(p[2]), fkmi_f32_of_f16(p[3])};
}
FKMI_INLINE v32 v32_load_bf16(const uint16_t *p)
{
    const v32_bits bits = {p[0], p[1], p[2], p[3]};
    return (v32)(bits << 16);
}
FKMI_INLINE void v32_store_f16(uint16_t *p, v32 x)
{
    for (int i = 0; i < 4; i++)
        p[i] = fkmi_f16_of_f32(x[i]);
}
FKMI_INLINE v32 v32_add(v32 a, v32 b) { return a + b; }
FKMI_INLINE v32 v32_sub(v32 a, v32 b) { return a - b; }
FKMI_INLINE v32 v32_mul(v32 a, v32 b) { return a * b; }
FKMI_INLINE v32 v32_div(v32 a, v32 b) { return a / b; }
FKMI_INLINE v32 v32_sqrt(v32 a) { return (v32){sqrtf(a[0]), sqrtf(a[1]), sqrtf(a[2]), sqrtf(a[3])}; }
FKMI_INLINE v32 v32_fma(v32 a, v32 b, v32 c) { return a * b + c; }
FKMI_INLINE v32 v32_fnma(v32 a, v32 b, v32 c) { return c - a * b; }
FKMI_INLINE v32 v32_abs(v32 a) { return (v32)((v32_bits)a & INT32_MAX); }
FKMI_INLINE v32 v32_sign(v32 a) /* -1, 0 or 1 */
{
    return (v32)(((a > 0) & (v32_bits)v32_set1(1.0f)) | ((a < 0) & (v32_bits)v32_set1(-1.0f)));
}
FKMI_INLINE double v32_sum(v32 a) { return (double)((a[0] + a[2]) + (a[1] + a[3])); }
FKMI_INLINE v32 v32_max(v32 a, v32 b)
{
    const v32_bits larger = a > b;
    return (v32)(((v32_bits)a & larger) | ((v32_bits)b & ~larger));
}
FKMI_INLINE v32 v32_pick(v32 a, v32 b, v32 x, v32 y) /* x where a > b, else y */
{
    const v32_bits larger = a > b;
    return (v32)(((v32_bits)x & larger) | ((v32_bits)y & ~larger));
}
FKMI_INLINE float v32_peak(v32 a, v32 b) /* of all lanes */
{
    const v32 c = v32_max(a, b);
    const float low = c[0] > c[1] ? c[0] : c[1], high = c[2] > c[3] ? c[2] : c[3];
    return low > high ? low : high;
}
FKMI_INLINE uint32_t v32_above(v32 a, v32 b) /* a > b, by bits */
{
    const v32_bits bits = (a > b) & (v32_bits){1, 2, 4, 8};
    return (uint32_t)(bits[0] | bits[1] | bits[2] | bits[3]);
}
/* 4 x 4, in place */
FKMI_INLINE void v32_transpose(v32 r[4])
{
    const v32 a = SHUFFLE32(r[0], r[1], 0, 4, 1, 5);
    const v32 b = SHUFFLE32(r[0], r[1], 2, 6, 3, 7);
    const v32 c = SHUFFLE32(r[2], r[3], 0, 4, 1, 5);
    const v32 d = SHUFFLE32(r[2], r[3], 2, 6, 3, 7);
    r[0] = SHUFFLE32(a, c, 0, 1, 4, 5);
    r[1] = SHUFFLE32(a, c, 2, 3, 6, 7);
    r[2] = SHUFFLE32(b, d, 0, 1, 4, 5);
    r[3] = SHUFFLE32(b, d, 2, 3, 6, 7);
}

/* Bytes, four to a lane; sums wrap. */
typedef uint8_t v8 __attribute__((vector_size(16)));
#define BYTE_MOST               127
#define BYTES_LEAST_K           0
#define BYTES_LEAST_COORDINATES 0
#define BYTES_LEAST_BY_PLACE    0
#define HEADS_LEAST_K           0
#define BYTE_OFFSET             128
FKMI_INLINE v8 v8_load(const void *p)
{
    v8 x;
    memcpy(&x, p, sizeof x);
    return x;
}
FKMI_INLINE v8 v8_set1(const void *quad)
{
    uint32_t bits;
    memcpy(&bits, quad, sizeof bits);
    return (v8)(v32_unsigned){bits, bits, bits, bits};
}
FKMI_INLINE v8 v8_dot(v8 sum, v8 x, v8 p) /* 32-bit sums of unsigned x times signed p */
{
    v32_unsigned s = (v32_unsigned)sum;
    for (int i = 0; i < 4; i++)
        for (int b = 0; b < 4; b++)
            s[i] += (uint32_t)(x[4 * i + b] * (int8_t)p[4 * i + b]);
    return (v8)s;
}
FKMI_INLINE v32 v32_of_v8(v8 sum)
{
    const v32_bits s = (v32_bits)sum;
    return (v32){(float)s[0], (float)s[1], (float)s[2], (float)s[3]};
}

/* As 32-bit integers; of floats, the nearest or a neighbour of it. */
FKMI_INLINE v8 v8_of_v32(v32 x)
{
    return (v8)(v32_bits){(int32_t)x[0], (int32_t)x[1], (int32_t)x[2], (int32_t)x[3]};
}
FKMI_INLINE v8 v8_add(v8 a, v8 b) { return (v8)((v32_unsigned)a + (v32_unsigned)b); }
FKMI_INLINE v8 v8_sub(v8 a, v8 b) { return (v8)((v32_unsigned)a - (v32_unsigned)b); }
FKMI_INLINE v8 v8_and(v8 a, v8 b) { return a & b; }
FKMI_INLINE bool v8_all_negative(v8 a)
{
    const v32_bits s = (v32_bits)a;
    return (s[0] & s[1] & s[2] & s[3]) < 0;
}
FKMI_INLINE v32 v32_min(v32 a, v32 b) /* b where a is NaN */
{
    const v32_bits less = a < b;
    return (v32)(((v32_bits)a & less) | ((v32_bits)b & ~less));
}
/* n <= 4 integers of -128 .. 127, stored as bytes; their sum */
FKMI_INLINE int32_t v32_store_bytes(int8_t *p, v32 x, int64_t n)
{
    for (int64_t i = 0; i < n && i < 4; i++)
        p[i] = (int8_t)x[i];
    return (int32_t)x[0] + (int32_t)x[1] + (int32_t)x[2] + (int32_t)x[3];
}

FKMI_INLINE v64 v64_zero(void) { return (v64){0}; }
FKMI_INLINE v64 v64_set1(double x) { return (v64){x, x}; }
FKMI_INLINE v64 v64_load(const double *p)
{
    v64 x;
    memcpy(&x, p, sizeof x);
    return x;
}
FKMI_INLINE void v64_store(double *p, v64 x) { memcpy(p, &x, sizeof x); }
FKMI_INLINE v64 v64_load_part(const double *p, int64_t n)
{
    v64 x = {0};
    memcpy(&x, p, (size_t)(n < 2 ? n : 2) * sizeof *p);
    return x;
}
FKMI_INLINE void v64_store_part(double *p, v64 x, int64_t n)
{
    memcpy(p, &x, (size_t)(n < 2 ? n : 2) * sizeof *p);
}
FKMI_INLINE v64 v64_load_f64(const double *p) { return v64_load(p); }
FKMI_INLINE v64 v64_load_f32(const float *p) { return (v64){p[0], p[1]}; }
FKMI_INLINE v64 v64_add(v64 a, v64 b) { return a + b; }
FKMI_INLINE v64 v64_sub(v64 a, v64 b) { return a - b; }
FKMI_INLINE v64 v64_mul(v64 a, v64 b) { return a * b; }
FKMI_INLINE v64 v64_div(v64 a, v64 b) { return a / b; }
FKMI_INLINE v64 v64_sqrt(v64 a) { return (v64){sqrt(a[0]), sqrt(a[1])}; }
FKMI_INLINE v64 v64_fma(v64 a, v64 b, v64 c) { return a * b + c; }
FKMI_INLINE v64 v64_fnma(v64 a, v64 b, v64 c) { return c - a * b; }
FKMI_INLINE v64 v64_abs(v64 a) { return (v64)((v64_bits)a & INT64_MAX); }
FKMI_INLINE v64 v64_sign(v64 a)
{
    return (v64)(((a > 0) & (v64_bits)v64_set1(1.0)) | ((a < 0) & (v64_bits)v64_set1(-1.0)));
}
FKMI_INLINE double v64_sum(v64 a) { return a[0] + a[1]; }
FKMI_INLINE double v64_peak(v64 a, v64 b)
{
    const double low = a[0] > b[0] ? a[0] : b[0], high = a[1] > b[1] ? a[1] : b[1];
    return low > high ? low : high;
}
FKMI_INLINE uint32_t v64_above(v64 a, v64 b)
{
    return (uint32_t)(a[0] > b[0]) | (uint32_t)(a[1] > b[1]) << 1;
}
FKMI_INLINE v64 v64_below(v64 a, double top, v64 other) /* lanes of a that are below top, else of other */
{
    const v64_bits below = a < top;
    return (v64)(((v64_bits)a & below) | ((v64_bits)other & ~below));
}
FKMI_INLINE v64 v64_max(v64 a, v64 b) { return (v64){a[0] > b[0] ? a[0] : b[0], a[1] > b[1] ? a[1] : b[1]}; }
FKMI_INLINE v64 v64_pick(v64 a, v64 b, v64 x, v64 y) /* as v32_pick */
{
    const v64_bits larger = a > b;
    return (v64)(((v64_bits)x & larger) | ((v64_bits)y & ~larger));
}
FKMI_INLINE v64 v64_if_above(v64 a, v64 b, v64 x) /* x where a > b, else 0 */
{
    return (v64)((a > b) & (v64_bits)x);
}
/* 2^n for whole n of -1022 .. 1023 */
FKMI_INLINE v64 v64_power(v64 n) { return (v64)((v64_bits)(n + (0x1p52 + 1023)) << 52); }
/* x > 0 as mantissa 2^exponent, the mantissa in [1, 2); none of x is denormal */
FKMI_INLINE v64 v64_exponent(v64 x, v64 *mantissa)
{
    const v64_bits bits = (v64_bits)x, one = (v64_bits)v64_set1(1), large = (v64_bits)v64_set1(0x1p52);
    *mantissa = (v64)((bits & (((int64_t)1 << 52) - 1)) | one);
    return (v64)((bits >> 52) | large) - (0x1p52 + 1023);
}
FKMI_INLINE void v64_transpose(v64 r[2])
{
    const v64 a = SHUFFLE64(r[0], r[1], 0, 2);
    r[1] = SHUFFLE64(r[0], r[1], 1, 3);
    r[0] = a;
}

#endif
