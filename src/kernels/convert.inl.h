/* convert.inl.h — loading stored values as reals and storing reals, whole vectors at a time. Included once
 * per instruction set; plain loops are left to the compiler's vectoriser.
 * SPDX-License-Identifier: Apache-2.0 */
#define LOOP(name, to_type, from_type, expression)                                                           \
    static void FKMI_PASTE(name, _, ISA, )(void *to_at, const void *from_at, int64_t n)                      \
    {                                                                                                        \
        to_type *restrict to = to_at;                                                                        \
        const from_type *restrict from = from_at;                                                            \
        for (int64_t i = 0; i < n; i++)                                                                      \
            to[i] = (to_type)(expression);                                                                   \
    }

/* double to float, rounded to odd: rounding the result to a half again then equals rounding once. */
FKMI_INLINE float odd_f32(double value)
{
    float narrow = (float)value;
    uint32_t bits;

    memcpy(&bits, &narrow, sizeof bits);
    if ((double)narrow != value && isfinite(value) && !(bits & 1))
        bits += fabs((double)narrow) > fabs(value) ? UINT32_MAX : 1u; /* the odd neighbour on value's side */
    memcpy(&narrow, &bits, sizeof bits);
    return narrow;
}

LOOP(copy_f32, float, float, from[i])
LOOP(copy_f64, double, double, from[i])
LOOP(widen_f32, double, float, from[i])
LOOP(narrow_f64, float, double, from[i])
LOOP(load64_f16, double, uint16_t, fkmi_f32_of_f16(from[i]))
LOOP(load64_bf16, double, uint16_t, fkmi_f32_of_bf16(from[i]))
LOOP(store64_f16, uint16_t, double, fkmi_f16_of_f32(odd_f32(from[i])))
LOOP(store64_bf16, uint16_t, double, fkmi_bf16_of_f32(odd_f32(from[i])))
#undef LOOP

static void FKMI_PASTE(load32_f16, _, ISA, )(void *to_at, const void *from_at, int64_t n)
{
    float *to = to_at;
    const uint16_t *from = from_at;
    int64_t i = 0;

    for (; i + V32_LANES <= n; i += V32_LANES)
        v32_store(to + i, v32_load_f16(from + i));
    for (; i < n; i++)
        to[i] = fkmi_f32_of_f16(from[i]);
}
static void FKMI_PASTE(load32_bf16, _, ISA, )(void *to_at, const void *from_at, int64_t n)
{
    float *to = to_at;
    const uint16_t *from = from_at;
    int64_t i = 0;

    for (; i + V32_LANES <= n; i += V32_LANES)
        v32_store(to + i, v32_load_bf16(from + i));
    for (; i < n; i++)
        to[i] = fkmi_f32_of_bf16(from[i]);
}
static void FKMI_PASTE(store32_f16, _, ISA, )(void *to_at, const void *from_at, int64_t n)
{
    uint16_t *to = to_at;
    const float *from = from_at;
    int64_t i = 0;

    for (; i + V32_LANES <= n; i += V32_LANES)
        v32_store_f16(to + i, v32_load(from + i));
    for (; i < n; i++)
        to[i] = fkmi_f16_of_f32(from[i]);
}
static void FKMI_PASTE(store32_bf16, _, ISA, )(void *to_at, const void *from_at, int64_t n)
{
    uint16_t *restrict to = to_at;
    const float *restrict from = from_at;

    for (int64_t i = 0; i < n; i++) { /* on bits, so that the loop vectorises */
        uint32_t bits, rounded, quiet;

        memcpy(&bits, from + i, sizeof bits);
        rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
        quiet = bits >> 16 | 0x40u;
        to[i] = (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded); /* NaN stays NaN */
    }
}
