/* screen_rivals.inl.h — all scores of a tile of bytes, and which of a row's count when each is wrong by as much as it may be.
 * Included once, for f32, behind screen.inl.h; expects ISA and the lanes.
 * SPDX-License-Identifier: Apache-2.0 */

static void FKMI_PASTE(byte_scores, _, ISA, )(const void *x, const struct fkmi_byte_panel *panel,
                                              int64_t n_quads, const float *row_scale, float *restrict scores)
{
    v8 sum[V32_ROWS][2];
    v32 scale0, scale1, bias0, bias1;

    FKMI_PASTE(sum_bytes, _, ISA, )(sum, x, panel, n_quads);
    scale0 = v32_load(panel->scale);
    scale1 = v32_load(panel->scale + V32_LANES);
    bias0 = v32_load(panel->bias);
    bias1 = v32_load(panel->bias + V32_LANES);
    _Pragma("GCC unroll 16") for (int r = 0; r < V32_ROWS; r++)
    {
        const v32 s = v32_set1(row_scale[r]);

        v32_store(scores + r * 2 * V32_LANES, v32_fma(s, v32_mul(scale0, v32_of_v8(sum[r][0])), bias0));
        v32_store(scores + r * 2 * V32_LANES + V32_LANES,
                  v32_fma(s, v32_mul(scale1, v32_of_v8(sum[r][1])), bias1));
    }
}

/* Scores of one row become what they are at most; returns what they are at least. */
FKMI_INLINE v32 FKMI_PASTE(byte_bounds, _, ISA, )(float *scores, const struct fkmi_byte_panel *panel,
                                                  int64_t lane, v32 reach, v32 rest)
{
    const v32 error = v32_fma(reach, v32_load(panel->rests + lane),
                              v32_fma(rest, v32_load(panel->sizes + lane), v32_load(panel->slacks + lane)));
    const v32 score = v32_load(scores + lane);

    v32_store(scores + lane, v32_add(score, error));
    return v32_sub(score, error);
}

static void FKMI_PASTE(bounds, _, ISA, )(float *scores, int64_t stride, const struct fkmi_byte_panel *panels,
                                         int64_t n_panels, float row_reach, float row_rest, float *low)
{
    const v32 reach = v32_set1(row_reach), rest = v32_set1(row_rest);
    v32 low0 = v32_load(low), low1 = v32_load(low + V32_LANES);

    for (int64_t p = 0; p < n_panels; p++, scores += stride) {
        low0 = v32_max(low0, FKMI_PASTE(byte_bounds, _, ISA, )(scores, &panels[p], 0, reach, rest));
        low1 = v32_max(low1, FKMI_PASTE(byte_bounds, _, ISA, )(scores, &panels[p], V32_LANES, reach, rest));
    }
    v32_store(low, low0);
    v32_store(low + V32_LANES, low1);
}

static int64_t FKMI_PASTE(rivals, _, ISA, )(const float *upper, int64_t stride, int64_t n_panels,
                                            float threshold, struct fkmi_byte_rival *rivals)
{
    const v32 least = v32_set1(threshold);
    int64_t n = 0;

    for (int64_t p = 0; p < n_panels; p++, upper += stride) {
        uint32_t lanes = v32_above(v32_load(upper), least) | v32_above(v32_load(upper + V32_LANES), least)
                                                                 << V32_LANES;

        for (; lanes; lanes &= lanes - 1) {
            const int lane = __builtin_ctz(lanes);

            rivals[n++] = (struct fkmi_byte_rival){upper[lane], (int32_t)(p * 2 * V32_LANES + lane)};
        }
    }
    return n;
}
