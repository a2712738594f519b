/* screen.inl.h — a tile of bytes: ROWS rows against COLS prototypes, of which most are seen to be too far. Included
 * once, for f32; expects ISA and the lanes.
 * SPDX-License-Identifier: Apache-2.0 */
#define BYTE_STRIDE ((V32_ROWS + V32_LANES - 1) / V32_LANES * V32_LANES)

/* Adds the products of a tile's bytes and a panel's. */
FKMI_INLINE void FKMI_PASTE(add_bytes, _, ISA, )(v8 sum[V32_ROWS][2], const uint8_t *restrict x,
                                                 const int8_t *restrict p, int64_t n_quads)
{
    for (int64_t quad = 0; quad < n_quads; quad++) {
        const v8 p0 = v8_load(p), p1 = v8_load(p + 4 * V32_LANES);
        _Pragma("GCC unroll 16") for (int r = 0; r < V32_ROWS; r++)
        {
            const v8 xr = v8_set1(x + 4 * r);
            sum[r][0] = v8_dot(sum[r][0], xr, p0);
            sum[r][1] = v8_dot(sum[r][1], xr, p1);
        }
        p += 8 * V32_LANES;
        x += 4 * V32_ROWS;
    }
}

/* All that its integers add up to. */
FKMI_INLINE void FKMI_PASTE(sum_bytes, _, ISA, )(v8 sum[V32_ROWS][2], const uint8_t *x,
                                                 const struct fkmi_byte_panel *panel, int64_t n_quads)
{
    _Pragma("GCC unroll 16") for (int r = 0; r < V32_ROWS; r++)
    {
        sum[r][0] = v8_load(panel->start);
        sum[r][1] = v8_load(panel->start + V32_LANES);
    }
    FKMI_PASTE(add_bytes, _, ISA, )(sum, x, panel->bytes, n_quads);
}

static uint32_t FKMI_PASTE(screen, _, ISA, )(const void *x, const struct fkmi_byte_panel *panel,
                                             int64_t n_quads, const struct fkmi_byte_rows *rows,
                                             float *restrict scores, uint32_t *restrict lanes)
{
    v32 scale0, scale1, bias0, bias1;
    float least[BYTE_STRIDE];
    uint32_t hit = 0;
    v8 sum[V32_ROWS][2];

    for (int r = 0; r < BYTE_STRIDE; r += V32_LANES) {
        v32 t = v32_sub(v32_load(rows->threshold + r), v32_set1(panel->slack));

        t = v32_fnma(v32_load(rows->reach + r), v32_set1(panel->rest), t);
        v32_store(least + r, v32_fnma(v32_load(rows->rest + r), v32_set1(panel->size), t));
    }
    FKMI_PASTE(sum_bytes, _, ISA, )(sum, x, panel, n_quads);
    scale0 = v32_load(panel->scale);
    scale1 = v32_load(panel->scale + V32_LANES);
    bias0 = v32_load(panel->bias);
    bias1 = v32_load(panel->bias + V32_LANES);
    _Pragma("GCC unroll 16") for (int r = 0; r < V32_ROWS; r++)
    {
        const v32 row_scale = v32_set1(rows->scale[r]), t = v32_set1(least[r]);
        const v32 s0 = v32_fma(row_scale, v32_mul(scale0, v32_of_v8(sum[r][0])), bias0);
        const v32 s1 = v32_fma(row_scale, v32_mul(scale1, v32_of_v8(sum[r][1])), bias1);

        lanes[r] = v32_above(s0, t) | v32_above(s1, t) << V32_LANES;
        if (__builtin_expect(lanes[r] != 0, 0)) {
            v32_store(scores + r * 2 * V32_LANES, s0);
            v32_store(scores + r * 2 * V32_LANES + V32_LANES, s1);
            hit |= 1u << r;
        }
    }
    return hit;
}

/* As integers: limits and biases in units of a product of bytes. What floats round away, and the integers, is granted. */
static bool FKMI_PASTE(reaches, _, ISA, )(const void *x, const struct fkmi_byte_panel *panel, int64_t n_quads,
                                          const struct fkmi_byte_rows *rows, float unit)
{
    const v32 unscale = v32_set1(1 / unit), most = v32_set1(0x1p28f), least = v32_set1(-0x1p30f);
    const v32 grant = v32_set1(0x1p-20f), more = v32_set1(4);
    int32_t limit[BYTE_STRIDE];
    v8 sum[V32_ROWS][2], all;

    for (int r = 0; r < BYTE_STRIDE; r += V32_LANES) {
        v32 t = v32_sub(v32_load(rows->threshold + r), v32_set1(panel->slack));

        t = v32_fnma(v32_load(rows->reach + r), v32_set1(panel->rest), t);
        t = v32_mul(v32_fnma(v32_load(rows->rest + r), v32_set1(panel->size), t), unscale);
        t = v32_sub(v32_fnma(v32_abs(t), grant, t), more);
        t = v32_max(v32_min(t, most), least);
        {
            const v8 integers = v8_of_v32(t);
            memcpy(limit + r, &integers, sizeof integers);
        }
    }
    for (int half = 0; half < 2; half++) {
        v32 b = v32_mul(v32_load(panel->bias + half * V32_LANES), unscale);

        b = v32_max(v32_min(v32_fma(v32_abs(b), grant, b), v32_set1(0x1p27f)), least);
        all = v8_add(v8_load(panel->start + half * V32_LANES), v8_of_v32(b));
        _Pragma("GCC unroll 16") for (int r = 0; r < V32_ROWS; r++) sum[r][half] =
            v8_sub(all, v8_set1(limit + r));
    }
    FKMI_PASTE(add_bytes, _, ISA, )(sum, x, panel->bytes, n_quads);
    all = v8_and(sum[0][0], sum[0][1]);
    _Pragma("GCC unroll 16") for (int r = 1; r < V32_ROWS; r++) all =
        v8_and(all, v8_and(sum[r][0], sum[r][1]));
    return !v8_all_negative(all);
}

/* What bytes add up to, lane by lane. */
struct FKMI_PASTE(quantised, _, ISA, ) {
    v32 square, rest, sum;
};

/* Lanes of v become bytes. */
FKMI_INLINE void FKMI_PASTE(quantise_lanes, _, ISA, )(v32 v, int64_t n, v32 scale, v32 unscale, int8_t *bytes,
                                                      struct FKMI_PASTE(quantised, _, ISA, ) * sums)
{
    const v32 magic = v32_set1(0x1.8p23f); /* adding it rounds to the nearest integer */
    const v32 q = v32_sub(v32_fma(v, unscale, magic), magic), e = v32_fnma(scale, q, v);

    sums->square = v32_fma(v, v, sums->square);
    sums->rest = v32_fma(e, e, sums->rest);
    sums->sum = v32_add(sums->sum, q); /* exact: at most 127 * 65536 */
    (void)v32_store_bytes(bytes, q, n);
}

static void FKMI_PASTE(quantise, _, ISA, )(const float *x, int64_t n, int most, int8_t *bytes,
                                           struct fkmi_quantised *facts)
{
    const int64_t pairs = n / (2 * V32_LANES) * (2 * V32_LANES); /* two of everything: one waits for itself */
    struct FKMI_PASTE(quantised, _, ISA, ) a = {v32_zero(), v32_zero(), v32_zero()}, b = a;
    v32 peaks = v32_zero(), more_peaks = v32_zero(), scale, unscale;
    float peak;

    for (int64_t i = 0; i < pairs; i += 2 * V32_LANES) {
        peaks = v32_max(peaks, v32_abs(v32_load(x + i)));
        more_peaks = v32_max(more_peaks, v32_abs(v32_load(x + i + V32_LANES)));
    }
    for (int64_t i = pairs; i < n; i += V32_LANES)
        peaks = v32_max(peaks, v32_abs(n - i < V32_LANES ? v32_load_part(x + i, n - i) : v32_load(x + i)));
    peak = v32_peak(peaks, more_peaks);
    facts->scale = peak > 1e-30f && peak < 1e30f ? peak / (float)most : 0.0f;
    scale = v32_set1(facts->scale);
    unscale = v32_set1(facts->scale > 0 ? (float)most / peak : 0.0f);
    for (int64_t i = 0; i < pairs; i += 2 * V32_LANES) {
        FKMI_PASTE(quantise_lanes, _, ISA, )(v32_load(x + i), V32_LANES, scale, unscale, bytes + i, &a);
        FKMI_PASTE(quantise_lanes, _, ISA, )
        (v32_load(x + i + V32_LANES), V32_LANES, scale, unscale, bytes + i + V32_LANES, &b);
    }
    for (int64_t i = pairs; i < n; i += V32_LANES) {
        const int64_t left = n - i < V32_LANES ? n - i : V32_LANES;

        FKMI_PASTE(quantise_lanes, _, ISA, )
        (left < V32_LANES ? v32_load_part(x + i, left) : v32_load(x + i), left, scale, unscale, bytes + i,
         &a);
    }
    facts->square = v32_sum(v32_add(a.square, b.square));
    facts->rest2 = v32_sum(v32_add(a.rest, b.rest));
    facts->sum = (int64_t)v32_sum(v32_add(a.sum, b.sum));
}
