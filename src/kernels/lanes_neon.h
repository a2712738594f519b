/* lanes_neon.h — what a 128-bit register of 64-bit ARM can do: v32 holds 4 floats, v64 holds 2 doubles.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_KERNELS_LANES_H
#define FKMI_KERNELS_LANES_H

#include <arm_neon.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FKMI_INLINE static inline __attribute__((always_inline))

typedef float32x4_t v32;
typedef float64x2_t v64;
#define V32_LANES 4
#define V64_LANES 2
/* 12 rows x 2 registers of sums, 2 of prototypes, 6 of rows, weights and terms: all 32 registers */
#define V32_ROWS 12
#define V64_ROWS 12

FKMI_INLINE v32 v32_zero(void) { return vdupq_n_f32(0); }
FKMI_INLINE v32 v32_set1(float x) { return vdupq_n_f32(x); }
FKMI_INLINE v32 v32_load(const float *p) { return vld1q_f32(p); }
FKMI_INLINE void v32_store(float *p, v32 x) { vst1q_f32(p, x); }
/* n values, then zeros */
FKMI_INLINE v32 v32_load_part(const float *p, int64_t n)
{
    v32 x = v32_zero();
    if (n >= 4)
        return v32_load(p);
    if (n > 0)
        x = vld1q_lane_f32(p, x, 0);
    if (n > 1)
        x = vld1q_lane_f32(p + 1, x, 1);
    return n > 2 ? vld1q_lane_f32(p + 2, x, 2) : x;
}
FKMI_INLINE void v32_store_part(float *p, v32 x, int64_t n)
{
    if (n >= 4)
        v32_store(p, x);
    else {
        if (n > 0)
            vst1q_lane_f32(p, x, 0);
        if (n > 1)
            vst1q_lane_f32(p + 1, x, 1);
        if (n > 2)
            vst1q_lane_f32(p + 2, x, 2);
    }
}
FKMI_INLINE v32 v32_load_f32(const float *p) { return vld1q_f32(p); }
FKMI_INLINE v32 v32_load_f16(const uint16_t *p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
FKMI_INLINE v32 v32_load_bf16(const uint16_t *p)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}
FKMI_INLINE void v32_store_f16(uint16_t *p, v32 x) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(x))); }
FKMI_INLINE v32 v32_add(v32 a, v32 b) { return vaddq_f32(a, b); }
FKMI_INLINE v32 v32_sub(v32 a, v32 b) { return vsubq_f32(a, b); }
FKMI_INLINE v32 v32_mul(v32 a, v32 b) { return vmulq_f32(a, b); }
FKMI_INLINE v32 v32_div(v32 a, v32 b) { return vdivq_f32(a, b); }
FKMI_INLINE v32 v32_sqrt(v32 a) { return vsqrtq_f32(a); }
FKMI_INLINE v32 v32_fma(v32 a, v32 b, v32 c) { return vfmaq_f32(c, a, b); }  /* a b + c */
FKMI_INLINE v32 v32_fnma(v32 a, v32 b, v32 c) { return vfmsq_f32(c, a, b); } /* c - a b */
FKMI_INLINE v32 v32_abs(v32 a) { return vabsq_f32(a); }
FKMI_INLINE v32 v32_sign(v32 a) /* -1, 0 or 1 */
{
    const v32 above = vbslq_f32(vcgtzq_f32(a), v32_set1(1.0f), v32_zero());
    return vbslq_f32(vcltzq_f32(a), v32_set1(-1.0f), above);
}
FKMI_INLINE double v32_sum(v32 a) { return (double)vaddvq_f32(a); }
/* b where one of them is NaN, which the instructions of these names would not give */
FKMI_INLINE v32 v32_max(v32 a, v32 b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
FKMI_INLINE v32 v32_pick(v32 a, v32 b, v32 x, v32 y) /* x where a > b, else y */
{
    return vbslq_f32(vcgtq_f32(a, b), x, y);
}
FKMI_INLINE v32 v32_min(v32 a, v32 b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
FKMI_INLINE float v32_peak(v32 a, v32 b) { return vmaxnmvq_f32(vmaxnmq_f32(a, b)); } /* of all lanes */
FKMI_INLINE uint32_t v32_above(v32 a, v32 b)                                         /* a > b, by bits */
{
    static const uint32_t bits[4] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(vcgtq_f32(a, b), vld1q_u32(bits)));
}
FKMI_INLINE v32 v32_low_halves(v32 a, v32 b)
{
    return vreinterpretq_f32_f64(vtrn1q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
}
FKMI_INLINE v32 v32_high_halves(v32 a, v32 b)
{
    return vreinterpretq_f32_f64(vtrn2q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
}
/* 4 x 4, in place */
FKMI_INLINE void v32_transpose(v32 r[4])
{
    const v32 a = vtrn1q_f32(r[0], r[1]), b = vtrn2q_f32(r[0], r[1]);
    const v32 c = vtrn1q_f32(r[2], r[3]), d = vtrn2q_f32(r[2], r[3]);
    r[0] = v32_low_halves(a, c);
    r[1] = v32_low_halves(b, d);
    r[2] = v32_high_halves(a, c);
    r[3] = v32_high_halves(b, d);
}

/* Bytes, four to a lane. All instructions take signed ones: rows have seven bits, which stay below 128 when packed. */
typedef int32x4_t v8;
#define BYTE_MOST   63
#define BYTE_OFFSET 64
#if defined(__ARM_FEATURE_DOTPROD) /* not measured: AVX2's bytes gain less */
#define BYTES_LEAST_K           512
#define BYTES_LEAST_COORDINATES 65536
#define BYTES_LEAST_BY_PLACE    48
#else /* four instructions, as many as the floats take */
#define BYTES_LEAST_K           0
#define BYTES_LEAST_COORDINATES 0
#define BYTES_LEAST_BY_PLACE    0
#endif
#define HEADS_LEAST_K 768
FKMI_INLINE v8 v8_load(const void *p)
{
    v8 x;
    memcpy(&x, p, sizeof x);
    return x;
}
FKMI_INLINE v8 v8_set1(const void *quad)
{
    int32_t bits;
    memcpy(&bits, quad, sizeof bits);
    return vdupq_n_s32(bits);
}
FKMI_INLINE v8 v8_dot(v8 sum, v8 x, v8 p) /* 32-bit sums of x below 128 times signed p */
{
    const int8x16_t a = vreinterpretq_s8_s32(x), b = vreinterpretq_s8_s32(p);
#if defined(__ARM_FEATURE_DOTPROD)
    return vdotq_s32(sum, a, b);
#else /* pairs of products meet in 16 bits: 2 x 127 x 127 fits */
    return vpadalq_s16(sum, vpaddq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)), vmull_high_s8(a, b)));
#endif
}
FKMI_INLINE v32 v32_of_v8(v8 sum) { return vcvtq_f32_s32(sum); }
/* As 32-bit integers; of floats, the nearest. */
FKMI_INLINE v8 v8_of_v32(v32 x) { return vcvtnq_s32_f32(x); }
FKMI_INLINE v8 v8_add(v8 a, v8 b) { return vaddq_s32(a, b); }
FKMI_INLINE v8 v8_sub(v8 a, v8 b) { return vsubq_s32(a, b); }
FKMI_INLINE v8 v8_and(v8 a, v8 b) { return vandq_s32(a, b); }
FKMI_INLINE bool v8_all_negative(v8 a) { return vmaxvq_s32(a) < 0; }
/* n <= 4 integers of -128 .. 127, stored as bytes; their sum */
FKMI_INLINE int32_t v32_store_bytes(int8_t *p, v32 x, int64_t n)
{
    const int32x4_t q = vcvtnq_s32_f32(x);
    const int16x4_t words = vmovn_s32(q);
    const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
    memcpy(p, &bytes, (size_t)(n < 4 ? n : 4));
    return vaddvq_s32(q);
}

FKMI_INLINE v64 v64_zero(void) { return vdupq_n_f64(0); }
FKMI_INLINE v64 v64_set1(double x) { return vdupq_n_f64(x); }
FKMI_INLINE v64 v64_load(const double *p) { return vld1q_f64(p); }
FKMI_INLINE void v64_store(double *p, v64 x) { vst1q_f64(p, x); }
FKMI_INLINE v64 v64_load_part(const double *p, int64_t n)
{
    return n >= 2 ? v64_load(p) : n > 0 ? vld1q_lane_f64(p, v64_zero(), 0) : v64_zero();
}
FKMI_INLINE void v64_store_part(double *p, v64 x, int64_t n)
{
    if (n >= 2)
        v64_store(p, x);
    else if (n > 0)
        vst1q_lane_f64(p, x, 0);
}
FKMI_INLINE v64 v64_load_f64(const double *p) { return vld1q_f64(p); }
FKMI_INLINE v64 v64_load_f32(const float *p) { return vcvt_f64_f32(vld1_f32(p)); }
FKMI_INLINE v64 v64_add(v64 a, v64 b) { return vaddq_f64(a, b); }
FKMI_INLINE v64 v64_sub(v64 a, v64 b) { return vsubq_f64(a, b); }
FKMI_INLINE v64 v64_mul(v64 a, v64 b) { return vmulq_f64(a, b); }
FKMI_INLINE v64 v64_div(v64 a, v64 b) { return vdivq_f64(a, b); }
FKMI_INLINE v64 v64_sqrt(v64 a) { return vsqrtq_f64(a); }
FKMI_INLINE v64 v64_fma(v64 a, v64 b, v64 c) { return vfmaq_f64(c, a, b); }
FKMI_INLINE v64 v64_fnma(v64 a, v64 b, v64 c) { return vfmsq_f64(c, a, b); }
FKMI_INLINE v64 v64_abs(v64 a) { return vabsq_f64(a); }
FKMI_INLINE v64 v64_sign(v64 a)
{
    const v64 above = vbslq_f64(vcgtzq_f64(a), v64_set1(1.0), v64_zero());
    return vbslq_f64(vcltzq_f64(a), v64_set1(-1.0), above);
}
FKMI_INLINE double v64_sum(v64 a) { return vaddvq_f64(a); }
FKMI_INLINE double v64_peak(v64 a, v64 b) { return vmaxnmvq_f64(vmaxnmq_f64(a, b)); }
FKMI_INLINE uint32_t v64_above(v64 a, v64 b)
{
    static const uint64_t bits[2] = {1, 2};
    return (uint32_t)vaddvq_u64(vandq_u64(vcgtq_f64(a, b), vld1q_u64(bits)));
}
FKMI_INLINE v64 v64_below(v64 a, double top, v64 other)
{
    return vbslq_f64(vcltq_f64(a, v64_set1(top)), a, other);
}
FKMI_INLINE v64 v64_max(v64 a, v64 b) { return vbslq_f64(vcgtq_f64(a, b), a, b); } /* as v32_max */
FKMI_INLINE v64 v64_pick(v64 a, v64 b, v64 x, v64 y)                               /* as v32_pick */
{
    return vbslq_f64(vcgtq_f64(a, b), x, y);
}
FKMI_INLINE v64 v64_if_above(v64 a, v64 b, v64 x) /* x where a > b, else 0 */
{
    return vbslq_f64(vcgtq_f64(a, b), x, v64_zero());
}
/* 2^n for whole n of -1022 .. 1023 */
FKMI_INLINE v64 v64_power(v64 n)
{
    return vreinterpretq_f64_u64(vshlq_n_u64(vreinterpretq_u64_f64(v64_add(n, v64_set1(0x1p52 + 1023))), 52));
}
/* x > 0 as mantissa 2^exponent, the mantissa in [1, 2); none of x is denormal */
FKMI_INLINE v64 v64_exponent(v64 x, v64 *mantissa)
{
    const uint64x2_t bits = vreinterpretq_u64_f64(x), one = vreinterpretq_u64_f64(v64_set1(1));
    const uint64x2_t large = vreinterpretq_u64_f64(v64_set1(0x1p52));
    const uint64x2_t low = vandq_u64(bits, vdupq_n_u64(((uint64_t)1 << 52) - 1));
    *mantissa = vreinterpretq_f64_u64(vorrq_u64(low, one));
    return v64_sub(vreinterpretq_f64_u64(vorrq_u64(vshrq_n_u64(bits, 52), large)), v64_set1(0x1p52 + 1023));
}
/* 2 x 2, in place */
FKMI_INLINE void v64_transpose(v64 r[2])
{
    const v64 a = vtrn1q_f64(r[0], r[1]);
    r[1] = vtrn2q_f64(r[0], r[1]);
    r[0] = a;
}

#endif
