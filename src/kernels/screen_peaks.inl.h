/* screen_peaks.inl.h — a tile of bytes for the several nearest: all its scores, and the best of each lane so far.
 * Included once, for f32, behind screen.inl.h; expects ISA and the lanes.
 * SPDX-License-Identifier: Apache-2.0 */

static void FKMI_PASTE(screen_peaks, _, ISA, )(const void *x_at, const struct fkmi_byte_panel *panel,
                                               int64_t n_quads, const float *row_scale,
                                               float *restrict scores, float *restrict peaks)
{
    const uint8_t *restrict x = x_at;
    const int8_t *restrict p = panel->bytes;
    const v32 scale0 = v32_load(panel->scale), scale1 = v32_load(panel->scale + V32_LANES);
    const v32 bias0 = v32_load(panel->bias), bias1 = v32_load(panel->bias + V32_LANES);
    v8 sum[V32_ROWS][2];

    _Pragma("GCC unroll 16") for (int r = 0; r < V32_ROWS; r++)
    {
        sum[r][0] = v8_load(panel->start);
        sum[r][1] = v8_load(panel->start + V32_LANES);
    }
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
    _Pragma("GCC unroll 16") for (int r = 0; r < V32_ROWS; r++)
    {
        const v32 s = v32_set1(row_scale[r]);
        const v32 s0 = v32_fma(s, v32_mul(scale0, v32_of_v8(sum[r][0])), bias0);
        const v32 s1 = v32_fma(s, v32_mul(scale1, v32_of_v8(sum[r][1])), bias1);
        float *peak = peaks + r * 2 * V32_LANES;

        v32_store(scores + r * 2 * V32_LANES, s0);
        v32_store(scores + r * 2 * V32_LANES + V32_LANES, s1);
        v32_store(peak, v32_max(v32_load(peak), s0));
        v32_store(peak + V32_LANES, v32_max(v32_load(peak + V32_LANES), s1));
    }
}
