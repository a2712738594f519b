/* lanes_avx2.h — what a 256-bit register can do: v32 holds 8 floats, v64 holds 4 doubles.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_KERNELS_LANES_H
#define FKMI_KERNELS_LANES_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FKMI_INLINE static inline __attribute__((always_inline))

typedef __m256 v32;
typedef __m256d v64;
#define V32_LANES 8
#define V64_LANES 4
/* 6 rows x 2 registers of sums, 2 of prototypes and 2 of rows: all 16 registers */
#define V32_ROWS 6
#define V64_ROWS 6

FKMI_INLINE v32 v32_zero(void) { return _mm256_setzero_ps(); }
FKMI_INLINE v32 v32_set1(float x) { return _mm256_set1_ps(x); }
FKMI_INLINE v32 v32_load(const float *p) { return _mm256_loadu_ps(p); }
FKMI_INLINE void v32_store(float *p, v32 x) { _mm256_storeu_ps(p, x); }
/* n values, then zeros */
FKMI_INLINE v32 v32_load_part(const float *p, int64_t n)
{
    float lanes[8] = {0};
    memcpy(lanes, p, (size_t)(n < 8 ? n : 8) * sizeof *lanes);
    return v32_load(lanes);
}
FKMI_INLINE void v32_store_part(float *p, v32 x, int64_t n)
{
    float lanes[8];
    v32_store(lanes, x);
    memcpy(p, lanes, (size_t)(n < 8 ? n : 8) * sizeof *lanes);
}
FKMI_INLINE v32 v32_load_f32(const float *p) { return _mm256_loadu_ps(p); }
FKMI_INLINE v32 v32_load_f16(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const void *)p)); }
FKMI_INLINE v32 v32_load_bf16(const uint16_t *p)
{
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
FKMI_INLINE void v32_store_f16(uint16_t *p, v32 x)
{
    _mm_storeu_si128((void *)p, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
FKMI_INLINE v32 v32_add(v32 a, v32 b) { return _mm256_add_ps(a, b); }
FKMI_INLINE v32 v32_sub(v32 a, v32 b) { return _mm256_sub_ps(a, b); }
FKMI_INLINE v32 v32_mul(v32 a, v32 b) { return _mm256_mul_ps(a, b); }
FKMI_INLINE v32 v32_div(v32 a, v32 b) { return _mm256_div_ps(a, b); }
FKMI_INLINE v32 v32_sqrt(v32 a) { return _mm256_sqrt_ps(a); }
FKMI_INLINE v32 v32_fma(v32 a, v32 b, v32 c) { return _mm256_fmadd_ps(a, b, c); }   /* a b + c */
FKMI_INLINE v32 v32_fnma(v32 a, v32 b, v32 c) { return _mm256_fnmadd_ps(a, b, c); } /* c - a b */
FKMI_INLINE v32 v32_abs(v32 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
FKMI_INLINE v32 v32_sign(v32 a) /* -1, 0 or 1 */
{
    const v32 above = _mm256_and_ps(_mm256_cmp_ps(a, v32_zero(), _CMP_GT_OQ), v32_set1(1.0f));
    return _mm256_or_ps(above, _mm256_and_ps(_mm256_cmp_ps(a, v32_zero(), _CMP_LT_OQ), v32_set1(-1.0f)));
}
FKMI_INLINE double v32_sum(v32 a)
{
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return (double)_mm_cvtss_f32(_mm_add_ss(half, _mm_shuffle_ps(half, half, 1)));
}
FKMI_INLINE v32 v32_max(v32 a, v32 b) { return _mm256_max_ps(a, b); }
FKMI_INLINE v32 v32_pick(v32 a, v32 b, v32 x, v32 y) /* x where a > b, else y */
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}
FKMI_INLINE float v32_peak(v32 a, v32 b) /* of all lanes */
{
    const __m256 c = _mm256_max_ps(a, b);
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(c), _mm256_extractf128_ps(c, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_shuffle_ps(half, half, 1)));
}
FKMI_INLINE uint32_t v32_above(v32 a, v32 b) /* a > b, by bits */
{
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ));
}
/* 8 x 8, in place */
FKMI_INLINE void v32_transpose(v32 r[8])
{
    v32 s[8];
    _Pragma("GCC unroll 8") for (int i = 0; i < 8; i += 4)
    {
        const v32 a = _mm256_unpacklo_ps(r[i], r[i + 1]), b = _mm256_unpackhi_ps(r[i], r[i + 1]);
        const v32 c = _mm256_unpacklo_ps(r[i + 2], r[i + 3]), d = _mm256_unpackhi_ps(r[i + 2], r[i + 3]);
        s[i] = _mm256_shuffle_ps(a, c, 0x44);
        s[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
        s[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
        s[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
    _Pragma("GCC unroll 8") for (int i = 0; i < 4; i++)
    {
        r[i] = _mm256_permute2f128_ps(s[i], s[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(s[i], s[i + 4], 0x31);
    }
}

/* Bytes, four to a lane. Without AVX-VNNI pairs of products meet in 16 bits: 2 x 127 x 127 fits, so rows have seven
 * bits. */
typedef __m256i v8;
#if defined(__AVXVNNI__)
#define BYTE_MOST               127
#define BYTES_LEAST_K           96
#define BYTES_LEAST_COORDINATES 4096
#define BYTES_LEAST_BY_PLACE    24
#define HEADS_LEAST_K           1280
#define BYTE_OFFSET             128
#else
#define BYTE_MOST               63
#define BYTES_LEAST_K           128
#define BYTES_LEAST_COORDINATES 8192
#define BYTES_LEAST_BY_PLACE    48
#define HEADS_LEAST_K           768
#define BYTE_OFFSET             64
#endif
FKMI_INLINE v8 v8_load(const void *p) { return _mm256_loadu_si256(p); }
FKMI_INLINE v8 v8_set1(const void *quad)
{
    int32_t bits;
    memcpy(&bits, quad, sizeof bits);
    return _mm256_set1_epi32(bits);
}
FKMI_INLINE v8 v8_dot(v8 sum, v8 x, v8 p) /* 32-bit sums of unsigned x times signed p */
{
#if defined(__AVXVNNI__) /* gcc 12 copies the sums of its own function for it from register to register */
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(x), "x"(p));
    return sum;
#else
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(x, p), _mm256_set1_epi16(1)));
#endif
}
FKMI_INLINE v32 v32_of_v8(v8 sum) { return _mm256_cvtepi32_ps(sum); }
/* As 32-bit integers; of floats, the nearest. */
FKMI_INLINE v8 v8_of_v32(v32 x) { return _mm256_cvtps_epi32(x); }
FKMI_INLINE v8 v8_add(v8 a, v8 b) { return _mm256_add_epi32(a, b); }
FKMI_INLINE v8 v8_sub(v8 a, v8 b) { return _mm256_sub_epi32(a, b); }
FKMI_INLINE v8 v8_and(v8 a, v8 b) { return _mm256_and_si256(a, b); }
FKMI_INLINE bool v8_all_negative(v8 a) { return _mm256_movemask_ps(_mm256_castsi256_ps(a)) == 0xff; }
FKMI_INLINE v32 v32_min(v32 a, v32 b) { return _mm256_min_ps(a, b); }
/* n <= 8 integers of -128 .. 127, stored as bytes; their sum */
FKMI_INLINE int32_t v32_store_bytes(int8_t *p, v32 x, int64_t n)
{
    const __m256i q = _mm256_cvtps_epi32(x);
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
    const __m128i sums = _mm_madd_epi16(words, _mm_set1_epi16(1)), pairs = _mm_hadd_epi32(sums, sums);
    int8_t bytes[16];
    _mm_storeu_si128((void *)bytes, _mm_packs_epi16(words, words));
    memcpy(p, bytes, (size_t)(n < 8 ? n : 8));
    return _mm_extract_epi32(pairs, 0) + _mm_extract_epi32(pairs, 1);
}

FKMI_INLINE v64 v64_zero(void) { return _mm256_setzero_pd(); }
FKMI_INLINE v64 v64_set1(double x) { return _mm256_set1_pd(x); }
FKMI_INLINE v64 v64_load(const double *p) { return _mm256_loadu_pd(p); }
FKMI_INLINE void v64_store(double *p, v64 x) { _mm256_storeu_pd(p, x); }
FKMI_INLINE v64 v64_load_part(const double *p, int64_t n)
{
    double lanes[4] = {0};
    memcpy(lanes, p, (size_t)(n < 4 ? n : 4) * sizeof *lanes);
    return v64_load(lanes);
}
FKMI_INLINE void v64_store_part(double *p, v64 x, int64_t n)
{
    double lanes[4];
    v64_store(lanes, x);
    memcpy(p, lanes, (size_t)(n < 4 ? n : 4) * sizeof *lanes);
}
FKMI_INLINE v64 v64_load_f64(const double *p) { return _mm256_loadu_pd(p); }
FKMI_INLINE v64 v64_load_f32(const float *p) { return _mm256_cvtps_pd(_mm_loadu_ps(p)); }
FKMI_INLINE v64 v64_add(v64 a, v64 b) { return _mm256_add_pd(a, b); }
FKMI_INLINE v64 v64_sub(v64 a, v64 b) { return _mm256_sub_pd(a, b); }
FKMI_INLINE v64 v64_mul(v64 a, v64 b) { return _mm256_mul_pd(a, b); }
FKMI_INLINE v64 v64_div(v64 a, v64 b) { return _mm256_div_pd(a, b); }
FKMI_INLINE v64 v64_sqrt(v64 a) { return _mm256_sqrt_pd(a); }
FKMI_INLINE v64 v64_fma(v64 a, v64 b, v64 c) { return _mm256_fmadd_pd(a, b, c); }
FKMI_INLINE v64 v64_fnma(v64 a, v64 b, v64 c) { return _mm256_fnmadd_pd(a, b, c); }
FKMI_INLINE v64 v64_abs(v64 a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
FKMI_INLINE v64 v64_sign(v64 a)
{
    const v64 above = _mm256_and_pd(_mm256_cmp_pd(a, v64_zero(), _CMP_GT_OQ), v64_set1(1.0));
    return _mm256_or_pd(above, _mm256_and_pd(_mm256_cmp_pd(a, v64_zero(), _CMP_LT_OQ), v64_set1(-1.0)));
}
FKMI_INLINE double v64_sum(v64 a)
{
    const __m128d half = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)));
}
FKMI_INLINE double v64_peak(v64 a, v64 b)
{
    const __m256d c = _mm256_max_pd(a, b);
    const __m128d half = _mm_max_pd(_mm256_castpd256_pd128(c), _mm256_extractf128_pd(c, 1));
    return _mm_cvtsd_f64(_mm_max_sd(half, _mm_unpackhi_pd(half, half)));
}
FKMI_INLINE uint32_t v64_above(v64 a, v64 b)
{
    return (uint32_t)_mm256_movemask_pd(_mm256_cmp_pd(a, b, _CMP_GT_OQ));
}
FKMI_INLINE v64 v64_below(v64 a, double top, v64 other) /* lanes of a that are below top, else of other */
{
    return _mm256_blendv_pd(other, a, _mm256_cmp_pd(a, v64_set1(top), _CMP_LT_OQ));
}
FKMI_INLINE v64 v64_max(v64 a, v64 b) { return _mm256_max_pd(a, b); }
FKMI_INLINE v64 v64_pick(v64 a, v64 b, v64 x, v64 y) /* as v32_pick */
{
    return _mm256_blendv_pd(y, x, _mm256_cmp_pd(a, b, _CMP_GT_OQ));
}
FKMI_INLINE v64 v64_if_above(v64 a, v64 b, v64 x) /* x where a > b, else 0 */
{
    return _mm256_and_pd(_mm256_cmp_pd(a, b, _CMP_GT_OQ), x);
}
/* 2^n for whole n of -1022 .. 1023 */
FKMI_INLINE v64 v64_power(v64 n)
{
    const __m256i low = _mm256_castpd_si256(v64_add(n, v64_set1(0x1p52 + 1023)));
    return _mm256_castsi256_pd(_mm256_slli_epi64(low, 52));
}
/* x > 0 as mantissa 2^exponent, the mantissa in [1, 2); none of x is denormal */
FKMI_INLINE v64 v64_exponent(v64 x, v64 *mantissa)
{
    const __m256i bits = _mm256_castpd_si256(x), high = _mm256_srli_epi64(bits, 52);
    const __m256i low = _mm256_and_si256(bits, _mm256_set1_epi64x(((int64_t)1 << 52) - 1));
    *mantissa = _mm256_or_pd(_mm256_castsi256_pd(low), v64_set1(1));
    return v64_sub(_mm256_or_pd(_mm256_castsi256_pd(high), v64_set1(0x1p52)), v64_set1(0x1p52 + 1023));
}
/* 4 x 4, in place */
FKMI_INLINE void v64_transpose(v64 r[4])
{
    const v64 a = _mm256_unpacklo_pd(r[0], r[1]), b = _mm256_unpackhi_pd(r[0], r[1]);
    const v64 c = _mm256_unpacklo_pd(r[2], r[3]), d = _mm256_unpackhi_pd(r[2], r[3]);
    r[0] = _mm256_permute2f128_pd(a, c, 0x20);
    r[1] = _mm256_permute2f128_pd(b, d, 0x20);
    r[2] = _mm256_permute2f128_pd(a, c, 0x31);
    r[3] = _mm256_permute2f128_pd(b, d, 0x31);
}

#endif
