/* whole_columns.inl.h — one CSR row against WIDE prototypes whose columns are held whole: sums that stay in registers while
 * the row's entries go by. Included once per real type; expects BITS, ISA, the lanes and the steps.
 * SPDX-License-Identifier: Apache-2.0 */
#define WIDE_VECTORS 8 /* enough chains to hide the latency of a multiply-add, few enough for 16 registers */
#define WIDE         (WIDE_VECTORS * LANES)

FKMI_INLINE void V(columns)(V(step_fn) * step, const REAL *restrict values, const int32_t *restrict columns,
                            int64_t n, const REAL *restrict panel, REAL *restrict sums)
{
    VEC sum[WIDE_VECTORS];

    _Pragma("GCC unroll 8") for (int c = 0; c < WIDE_VECTORS; c++) sum[c] = V(load)(sums + c * LANES);
    for (int64_t i = 0; i < n; i++) {
        const REAL *p = panel + (int64_t)columns[i] * WIDE;
        const VEC v = V(set1)(values[i]);

        _Pragma("GCC unroll 8") for (int c = 0; c < WIDE_VECTORS; c++) sum[c] =
            step(sum[c], v, V(load)(p + c * LANES), v);
    }
    _Pragma("GCC unroll 8") for (int c = 0; c < WIDE_VECTORS; c++) V(store)(sums + c * LANES, sum[c]);
}
static void FN(columns_dot)(const void *values, const int32_t *columns, int64_t n, const void *panel,
                            void *sums)
{
    V(columns)(V(step_dot), values, columns, n, panel, sums);
}
static void FN(columns_l1)(const void *values, const int32_t *columns, int64_t n, const void *panel,
                           void *sums)
{
    V(columns)(V(step_minus_l1_pair), values, columns, n, panel, sums);
}
