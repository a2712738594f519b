/* tile.inl.h — a tile: ROWS rows against COLS prototypes, all sums in registers. Included once per storage
 * type; expects DTYPE (f32, f16, ...), STORED (its C type), BITS of its real type, ISA, the lanes and the
 * steps.
 * SPDX-License-Identifier: Apache-2.0 */
#define LOAD FKMI_PASTE(v, BITS, _load_, DTYPE) /* widens */

FKMI_INLINE void FD(tile)(V(step_fn) * step, const REAL *restrict x, const REAL *restrict a,
                          const STORED *restrict panel, const REAL *restrict bias, int64_t dim,
                          REAL *restrict scores)
{
    VEC sum[ROWS][2];

    _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++)
    {
        sum[r][0] = bias ? V(load)(bias) : V(zero)();
        sum[r][1] = bias ? V(load)(bias + LANES) : V(zero)();
    }
    for (int64_t d = 0; d < dim; d++) {
        const VEC p0 = LOAD(panel + d * COLS), p1 = LOAD(panel + d * COLS + LANES);
        _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++)
        {
            const VEC xr = V(set1)(x[d * ROWS + r]), ar = a ? V(set1)(a[d * ROWS + r]) : V(zero)();
            sum[r][0] = step(sum[r][0], xr, p0, ar);
            sum[r][1] = step(sum[r][1], xr, p1, ar);
        }
    }
    _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++)
    {
        V(store)(scores + r * COLS, sum[r][0]);
        V(store)(scores + r * COLS + LANES, sum[r][1]);
    }
}
static void FD(tile_dot)(const void *x, const void *panel, const void *bias, int64_t dim, void *scores)
{
    FD(tile)(V(step_dot), x, NULL, panel, bias, dim, scores);
}
static void FD(tile_l1)(const void *x, const void *panel, int64_t dim, void *scores)
{
    FD(tile)(V(step_minus_l1), x, NULL, panel, NULL, dim, scores);
}
static void FD(tile_l1_weighted)(const void *x, const void *a, const void *panel, int64_t dim, void *scores)
{
    FD(tile)(V(step_minus_l1_weighted), x, a, panel, NULL, dim, scores);
}

/* One sparse row: four entries at a time, each with its own sums, which hides the latency of an addition. */
FKMI_INLINE void FD(entries)(V(step_fn) * step, const REAL *restrict values, const int32_t *restrict indices,
                             int64_t n, const REAL *restrict a, const STORED *restrict panel,
                             const REAL *restrict bias, REAL *restrict scores)
{
    VEC sum[4][2];
    int64_t i = 0;

#define ENTRY(chain, at)                                                                                     \
    do {                                                                                                     \
        const STORED *p = panel + (int64_t)indices[at] * COLS;                                               \
        const VEC v = V(set1)(values[at]), w = V(set1)(a ? a[indices[at]] : 1);                              \
        sum[chain][0] = step(sum[chain][0], v, LOAD(p), w);                                                  \
        sum[chain][1] = step(sum[chain][1], v, LOAD(p + LANES), w);                                          \
    } while (0)
    _Pragma("GCC unroll 4") for (int c = 0; c < 4; c++)
    {
        sum[c][0] = c ? V(zero)() : V(load)(bias);
        sum[c][1] = c ? V(zero)() : V(load)(bias + LANES);
    }
    for (; i + 4 <= n; i += 4) {
        ENTRY(0, i);
        ENTRY(1, i + 1);
        ENTRY(2, i + 2);
        ENTRY(3, i + 3);
    }
    for (; i < n; i++)
        ENTRY(0, i);
#undef ENTRY
    V(store)(scores, V(add)(V(add)(sum[0][0], sum[1][0]), V(add)(sum[2][0], sum[3][0])));
    V(store)(scores + LANES, V(add)(V(add)(sum[0][1], sum[1][1]), V(add)(sum[2][1], sum[3][1])));
}
static void FD(dot_sparse)(const void *values, const int32_t *indices, int64_t n, const void *panel,
                           const void *bias, void *scores)
{
    FD(entries)(V(step_dot), values, indices, n, NULL, panel, bias, scores);
}
static void FD(l1_sparse)(const void *values, const int32_t *indices, int64_t n, const void *a,
                          const void *panel, const void *bias, void *scores)
{
    FD(entries)(V(step_minus_l1_entry), values, indices, n, a, panel, bias, scores);
}

/* The same in f64, a sum to a lane. */
FKMI_INLINE void FD(entries_f64)(v64_step_fn *step, const REAL *restrict values,
                                 const int32_t *restrict indices, int64_t n, const STORED *restrict panel,
                                 double *restrict sums)
{
    v64 sum[COLS / V64_LANES];
    REAL widened[COLS];

    _Pragma("GCC unroll 8") for (int c = 0; c < COLS / V64_LANES; c++) sum[c] = v64_zero();
    for (int64_t i = 0; i < n; i++) {
        const STORED *p = panel + (int64_t)indices[i] * COLS;
        const REAL *reals = (const void *)p;
        const v64 v = v64_set1((double)values[i]), one = v64_set1(1);

        if (sizeof *p != sizeof *reals) {
            V(store)(widened, LOAD(p));
            V(store)(widened + LANES, LOAD(p + LANES));
            reals = widened;
        }
        _Pragma("GCC unroll 8") for (int c = 0; c < COLS / V64_LANES; c++) sum[c] =
            step(sum[c], v, FKMI_PASTE(v64_load_f, BITS, , )(reals + c * V64_LANES), one);
    }
    _Pragma("GCC unroll 8") for (int c = 0; c < COLS / V64_LANES; c++)
        v64_store(sums + c * V64_LANES, sum[c]);
}
static void FD(dot_sparse_f64)(const void *values, const int32_t *indices, int64_t n, const void *panel,
                               double *sums)
{
    FD(entries_f64)(v64_step_dot, values, indices, n, panel, sums);
}
static void FD(l1_sparse_f64)(const void *values, const int32_t *indices, int64_t n, const void *panel,
                              double *sums)
{
    FD(entries_f64)(v64_step_minus_l1_entry, values, indices, n, panel, sums);
}

#undef LOAD
#undef DTYPE
#undef STORED
