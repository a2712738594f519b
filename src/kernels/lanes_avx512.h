/* lanes_avx512.h — what a 512-bit register can do: v32 holds 16 floats, v64 holds 8 doubles.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_KERNELS_LANES_H
#define FKMI_KERNELS_LANES_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FKMI_INLINE static inline __attribute__((always_inline))

typedef __m512 v32;
typedef __m512d v64;
#define V32_LANES 16
#define V64_LANES 8
/* 14 rows x 2 registers of sums, 2 of prototypes and 2 of rows: all 32 registers */
#define V32_ROWS 14
#define V64_ROWS 14

FKMI_INLINE __mmask16 v32_first(int64_t n) { return (__mmask16)((1u << (n < 16 ? n : 16)) - 1); }
FKMI_INLINE v32 v32_zero(void) { return _mm512_setzero_ps(); }
FKMI_INLINE v32 v32_set1(float x) { return _mm512_set1_ps(x); }
FKMI_INLINE v32 v32_load(const float *p) { return _mm512_loadu_ps(p); }
FKMI_INLINE void v32_store(float *p, v32 x) { _mm512_storeu_ps(p, x); }
/* n values, then zeros */
FKMI_INLINE v32 v32_load_part(const float *p, int64_t n) { return _mm512_maskz_loadu_ps(v32_first(n), p); }
FKMI_INLINE void v32_store_part(float *p, v32 x, int64_t n) { _mm512_mask_storeu_ps(p, v32_first(n), x); }
FKMI_INLINE v32 v32_load_f32(const float *p) { return _mm512_loadu_ps(p); }
FKMI_INLINE v32 v32_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
}
FKMI_INLINE v32 v32_load_bf16(const uint16_t *p)
{
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
FKMI_INLINE void v32_store_f16(uint16_t *p, v32 x)
{
    _mm256_storeu_si256((void *)p, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
FKMI_INLINE v32 v32_add(v32 a, v32 b) { return _mm512_add_ps(a, b); }
FKMI_INLINE v32 v32_sub(v32 a, v32 b) { return _mm512_sub_ps(a, b); }
FKMI_INLINE v32 v32_mul(v32 a, v32 b) { return _mm512_mul_ps(a, b); }
FKMI_INLINE v32 v32_div(v32 a, v32 b) { return _mm512_div_ps(a, b); }
FKMI_INLINE v32 v32_sqrt(v32 a) { return _mm512_sqrt_ps(a); }
FKMI_INLINE v32 v32_fma(v32 a, v32 b, v32 c) { return _mm512_fmadd_ps(a, b, c); }   /* a b + c */
FKMI_INLINE v32 v32_fnma(v32 a, v32 b, v32 c) { return _mm512_fnmadd_ps(a, b, c); } /* c - a b */
FKMI_INLINE v32 v32_abs(v32 a) { return _mm512_abs_ps(a); }
FKMI_INLINE v32 v32_sign(v32 a) /* -1, 0 or 1 */
{
    const v32 above = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, v32_zero(), _CMP_GT_OQ), v32_set1(1.0f));
    return _mm512_mask_mov_ps(above, _mm512_cmp_ps_mask(a, v32_zero(), _CMP_LT_OQ), v32_set1(-1.0f));
}
FKMI_INLINE double v32_sum(v32 a) { return (double)_mm512_reduce_add_ps(a); }
FKMI_INLINE v32 v32_max(v32 a, v32 b) { return _mm512_max_ps(a, b); }
FKMI_INLINE v32 v32_pick(v32 a, v32 b, v32 x, v32 y) /* x where a > b, else y */
{
    return _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), x);
}
FKMI_INLINE float v32_peak(v32 a, v32 b)
{
    return _mm512_reduce_max_ps(_mm512_max_ps(a, b));
} /* of all lanes */
FKMI_INLINE uint32_t v32_above(v32 a, v32 b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
} /* a > b, by bits */
/* 16 x 16, in place */
FKMI_INLINE void v32_transpose(v32 r[16])
{
    v32 s[16];
    _Pragma("GCC unroll 16") for (int i = 0; i < 16; i += 4)
    {
        const v32 a = _mm512_unpacklo_ps(r[i], r[i + 1]), b = _mm512_unpackhi_ps(r[i], r[i + 1]);
        const v32 c = _mm512_unpacklo_ps(r[i + 2], r[i + 3]), d = _mm512_unpackhi_ps(r[i + 2], r[i + 3]);
        s[i] = _mm512_shuffle_ps(a, c, 0x44);
        s[i + 1] = _mm512_shuffle_ps(a, c, 0xee);
        s[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
        s[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
    }
    _Pragma("GCC unroll 16") for (int i = 0; i < 4; i++) /* 4 x 4 of quarters */
    {
        const v32 a = _mm512_shuffle_f32x4(s[i], s[i + 4], 0x88),
                  b = _mm512_shuffle_f32x4(s[i], s[i + 4], 0xdd);
        const v32 c = _mm512_shuffle_f32x4(s[i + 8], s[i + 12], 0x88);
        const v32 d = _mm512_shuffle_f32x4(s[i + 8], s[i + 12], 0xdd);
        r[i] = _mm512_shuffle_f32x4(a, c, 0x88);
        r[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
        r[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
}

/* Bytes, four to a lane. gcc 12 copies the sums of its own function for this instruction from register to register. */
typedef __m512i v8;
#define BYTE_MOST               127
#define BYTES_LEAST_K           128
#define BYTES_LEAST_COORDINATES 10240
#define BYTES_LEAST_BY_PLACE    24
#define HEADS_LEAST_K           1280
#define BYTE_OFFSET             128
FKMI_INLINE v8 v8_load(const void *p) { return _mm512_loadu_si512(p); }
FKMI_INLINE v8 v8_set1(const void *quad)
{
    int32_t bits;
    memcpy(&bits, quad, sizeof bits);
    return _mm512_set1_epi32(bits);
}
FKMI_INLINE v8 v8_dot(v8 sum, v8 x, v8 p) /* 32-bit sums of unsigned x times signed p */
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(p));
    return sum;
}
FKMI_INLINE v32 v32_of_v8(v8 sum) { return _mm512_cvtepi32_ps(sum); }
/* As 32-bit integers; of floats, the nearest. */
FKMI_INLINE v8 v8_of_v32(v32 x) { return _mm512_cvtps_epi32(x); }
FKMI_INLINE v8 v8_add(v8 a, v8 b) { return _mm512_add_epi32(a, b); }
FKMI_INLINE v8 v8_sub(v8 a, v8 b) { return _mm512_sub_epi32(a, b); }
FKMI_INLINE v8 v8_and(v8 a, v8 b) { return _mm512_and_si512(a, b); }
FKMI_INLINE bool v8_all_negative(v8 a) { return _mm512_movepi32_mask(a) == 0xffffu; }
FKMI_INLINE v32 v32_min(v32 a, v32 b) { return _mm512_min_ps(a, b); }
/* n <= 16 integers of -128 .. 127, stored as bytes; their sum */
FKMI_INLINE int32_t v32_store_bytes(int8_t *p, v32 x, int64_t n)
{
    const __m512i q = _mm512_cvtps_epi32(x);
    _mm_mask_storeu_epi8(p, v32_first(n), _mm512_cvtepi32_epi8(q));
    return _mm512_reduce_add_epi32(q);
}

FKMI_INLINE __mmask8 v64_first(int64_t n) { return (__mmask8)((1u << (n < 8 ? n : 8)) - 1); }
FKMI_INLINE v64 v64_zero(void) { return _mm512_setzero_pd(); }
FKMI_INLINE v64 v64_set1(double x) { return _mm512_set1_pd(x); }
FKMI_INLINE v64 v64_load(const double *p) { return _mm512_loadu_pd(p); }
FKMI_INLINE void v64_store(double *p, v64 x) { _mm512_storeu_pd(p, x); }
FKMI_INLINE v64 v64_load_part(const double *p, int64_t n) { return _mm512_maskz_loadu_pd(v64_first(n), p); }
FKMI_INLINE void v64_store_part(double *p, v64 x, int64_t n) { _mm512_mask_storeu_pd(p, v64_first(n), x); }
FKMI_INLINE v64 v64_load_f64(const double *p) { return _mm512_loadu_pd(p); }
FKMI_INLINE v64 v64_load_f32(const float *p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }
FKMI_INLINE v64 v64_add(v64 a, v64 b) { return _mm512_add_pd(a, b); }
FKMI_INLINE v64 v64_sub(v64 a, v64 b) { return _mm512_sub_pd(a, b); }
FKMI_INLINE v64 v64_mul(v64 a, v64 b) { return _mm512_mul_pd(a, b); }
FKMI_INLINE v64 v64_div(v64 a, v64 b) { return _mm512_div_pd(a, b); }
FKMI_INLINE v64 v64_sqrt(v64 a) { return _mm512_sqrt_pd(a); }
FKMI_INLINE v64 v64_fma(v64 a, v64 b, v64 c) { return _mm512_fmadd_pd(a, b, c); }
FKMI_INLINE v64 v64_fnma(v64 a, v64 b, v64 c) { return _mm512_fnmadd_pd(a, b, c); }
FKMI_INLINE v64 v64_abs(v64 a) { return _mm512_abs_pd(a); }
FKMI_INLINE v64 v64_sign(v64 a)
{
    const v64 above = _mm512_maskz_mov_pd(_mm512_cmp_pd_mask(a, v64_zero(), _CMP_GT_OQ), v64_set1(1.0));
    return _mm512_mask_mov_pd(above, _mm512_cmp_pd_mask(a, v64_zero(), _CMP_LT_OQ), v64_set1(-1.0));
}
FKMI_INLINE double v64_sum(v64 a) { return _mm512_reduce_add_pd(a); }
FKMI_INLINE double v64_peak(v64 a, v64 b) { return _mm512_reduce_max_pd(_mm512_max_pd(a, b)); }
FKMI_INLINE uint32_t v64_above(v64 a, v64 b) { return _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ); }
FKMI_INLINE v64 v64_below(v64 a, double top, v64 other) /* lanes of a that are below top, else of other */
{
    return _mm512_mask_mov_pd(other, _mm512_cmp_pd_mask(a, v64_set1(top), _CMP_LT_OQ), a);
}
FKMI_INLINE v64 v64_max(v64 a, v64 b) { return _mm512_max_pd(a, b); }
FKMI_INLINE v64 v64_pick(v64 a, v64 b, v64 x, v64 y) /* as v32_pick */
{
    return _mm512_mask_mov_pd(y, _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ), x);
}
FKMI_INLINE v64 v64_if_above(v64 a, v64 b, v64 x) /* x where a > b, else 0 */
{
    return _mm512_maskz_mov_pd(_mm512_cmp_pd_mask(a, b, _CMP_GT_OQ), x);
}
/* 2^n for whole n of -1022 .. 1023 */
FKMI_INLINE v64 v64_power(v64 n) { return _mm512_scalef_pd(v64_set1(1), n); }
/* x > 0 as mantissa 2^exponent, the mantissa in [1, 2); none of x is denormal */
FKMI_INLINE v64 v64_exponent(v64 x, v64 *mantissa)
{
    *mantissa = _mm512_getmant_pd(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
    return _mm512_getexp_pd(x);
}
/* 8 x 8, in place */
FKMI_INLINE void v64_transpose(v64 r[8])
{
    v64 s[8];
    _Pragma("GCC unroll 8") for (int i = 0; i < 8; i += 2)
    {
        s[i] = _mm512_unpacklo_pd(r[i], r[i + 1]);
        s[i + 1] = _mm512_unpackhi_pd(r[i], r[i + 1]);
    }
    _Pragma("GCC unroll 8") for (int i = 0; i < 2; i++)
    {
        const v64 a = _mm512_shuffle_f64x2(s[i], s[i + 2], 0x88),
                  b = _mm512_shuffle_f64x2(s[i], s[i + 2], 0xdd);
        const v64 c = _mm512_shuffle_f64x2(s[i + 4], s[i + 6], 0x88);
        const v64 d = _mm512_shuffle_f64x2(s[i + 4], s[i + 6], 0xdd);
        r[i] = _mm512_shuffle_f64x2(a, c, 0x88);
        r[i + 2] = _mm512_shuffle_f64x2(b, d, 0x88);
        r[i + 4] = _mm512_shuffle_f64x2(a, c, 0xdd);
        r[i + 6] = _mm512_shuffle_f64x2(b, d, 0xdd);
    }
}

#endif
