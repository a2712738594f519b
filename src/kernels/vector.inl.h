/* vector.inl.h — loops over one or two vectors of reals. Included once per real type; expects BITS, ISA,
 * the lanes and the steps. Four chains of sums hide the latency of an addition; the tail joins the first
 * chain.
 * SPDX-License-Identifier: Apache-2.0 */
FKMI_INLINE double V(sum_of)(V(step_fn) * step, const REAL *x, const REAL *c, const REAL *a, int64_t n)
{
    VEC s0 = V(zero)(), s1 = V(zero)(), s2 = V(zero)(), s3 = V(zero)();
    const VEC one = V(set1)(1);
    int64_t i = 0;

#define WEIGHT(at) (a ? V(load)(a + (at)) : one)
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        s0 = step(s0, V(load)(x + i), V(load)(c + i), WEIGHT(i));
        s1 = step(s1, V(load)(x + i + LANES), V(load)(c + i + LANES), WEIGHT(i + LANES));
        s2 = step(s2, V(load)(x + i + 2 * LANES), V(load)(c + i + 2 * LANES), WEIGHT(i + 2 * LANES));
        s3 = step(s3, V(load)(x + i + 3 * LANES), V(load)(c + i + 3 * LANES), WEIGHT(i + 3 * LANES));
    }
    for (; i + LANES <= n; i += LANES)
        s0 = step(s0, V(load)(x + i), V(load)(c + i), WEIGHT(i));
#undef WEIGHT
    if (i < n)
        s0 = step(s0, V(load_part)(x + i, n - i), V(load_part)(c + i, n - i),
                  a ? V(load_part)(a + i, n - i) : one);
    return V(sum)(V(add)(V(add)(s0, s1), V(add)(s2, s3)));
}

static double FN(dot)(const void *x, const void *c, const void *a, int64_t n)
{
    return a ? V(sum_of)(V(step_dot_weighted), x, c, a, n) : V(sum_of)(V(step_dot), x, c, NULL, n);
}
static double FN(euclidean)(const void *x, const void *c, const void *a, int64_t n)
{
    return a ? V(sum_of)(V(step_euclidean_weighted), x, c, a, n)
             : V(sum_of)(V(step_euclidean), x, c, NULL, n);
}
static double FN(l1)(const void *x, const void *c, const void *a, int64_t n)
{
    return a ? V(sum_of)(V(step_l1_weighted), x, c, a, n) : V(sum_of)(V(step_l1), x, c, NULL, n);
}

/* As many times sum_of, side by side: each point's sums are added up as above. */
#define TOGETHER (ROWS > 12 ? 4 : 2) /* points whose sums fit the registers */
FKMI_INLINE void V(sums_of)(V(step_fn) * step, const REAL *x, const REAL *const *c, const REAL *a, int64_t n,
                            double *out)
{
    VEC s[TOGETHER][4];
    const VEC one = V(set1)(1);
    int64_t i = 0;

#define STEP(chain, at)                                                                                      \
    do {                                                                                                     \
        const VEC xi = V(load)(x + (at)), w = a ? V(load)(a + (at)) : one;                                   \
        _Pragma("GCC unroll 4") for (int p = 0; p < TOGETHER; p++) s[p][chain] =                             \
            step(s[p][chain], xi, V(load)(c[p] + (at)), w);                                                  \
    } while (0)
    _Pragma("GCC unroll 4") for (int p = 0; p < TOGETHER; p++)
    {
        s[p][0] = s[p][1] = s[p][2] = s[p][3] = V(zero)();
    }
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        STEP(0, i);
        STEP(1, i + LANES);
        STEP(2, i + 2 * LANES);
        STEP(3, i + 3 * LANES);
    }
    for (; i + LANES <= n; i += LANES)
        STEP(0, i);
#undef STEP
    if (i < n) {
        const VEC xi = V(load_part)(x + i, n - i), w = a ? V(load_part)(a + i, n - i) : one;
        _Pragma("GCC unroll 4") for (int p = 0; p < TOGETHER; p++) s[p][0] =
            step(s[p][0], xi, V(load_part)(c[p] + i, n - i), w);
    }
    _Pragma("GCC unroll 4") for (int p = 0; p < TOGETHER; p++) out[p] =
        V(sum)(V(add)(V(add)(s[p][0], s[p][1]), V(add)(s[p][2], s[p][3])));
}
#define DISTANCES(name, plain, weighted)                                                                     \
    static void FN(name)(const void *x, const void *const *points, int64_t n_points, const void *a,          \
                         int64_t n, double *out)                                                             \
    {                                                                                                        \
        int64_t j = 0;                                                                                       \
        for (; j + TOGETHER <= n_points; j += TOGETHER) {                                                    \
            const REAL *c[TOGETHER];                                                                         \
            for (int p = 0; p < TOGETHER; p++)                                                               \
                c[p] = points[j + p];                                                                        \
            if (a)                                                                                           \
                V(sums_of)(weighted, x, c, a, n, out + j);                                                   \
            else                                                                                             \
                V(sums_of)(plain, x, c, NULL, n, out + j);                                                   \
        }                                                                                                    \
        for (; j < n_points; j++)                                                                            \
            out[j] = a ? V(sum_of)(weighted, x, points[j], a, n) : V(sum_of)(plain, x, points[j], NULL, n);  \
    }
DISTANCES(euclidean_many, V(step_euclidean), V(step_euclidean_weighted))
DISTANCES(l1_many, V(step_l1), V(step_l1_weighted))
#undef DISTANCES
#undef TOGETHER

/* 1 - cos of two vectors, from their product and squared norms; 1 when one of them is zero. */
FKMI_INLINE double V(cosine_of)(double dot, double xx, double cc)
{
    const double distance = 1.0 - dot / (sqrt(xx) * sqrt(cc));

    if (xx == 0 || cc == 0)
        return 1.0;
    return distance < 0 ? 0.0 : distance > 2 ? 2.0 : distance;
}

static double FN(cosine)(const void *x_at, const void *c_at, const void *a_at, int64_t n)
{
    const REAL *x = x_at, *c = c_at, *a = a_at;
    VEC d0 = V(zero)(), x0 = V(zero)(), c0 = V(zero)(), d1 = V(zero)(), x1 = V(zero)(), c1 = V(zero)();
    int64_t i = 0;

    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        const VEC u = V(load)(x + i), v = V(load)(c + i), w = V(load)(x + i + LANES),
                  z = V(load)(c + i + LANES);
        const VEC au = a ? V(mul)(V(load)(a + i), u) : u, av = a ? V(mul)(V(load)(a + i), v) : v;
        const VEC aw = a ? V(mul)(V(load)(a + i + LANES), w) : w,
                  az = a ? V(mul)(V(load)(a + i + LANES), z) : z;
        d0 = V(fma)(au, v, d0);
        x0 = V(fma)(au, u, x0);
        c0 = V(fma)(av, v, c0);
        d1 = V(fma)(aw, z, d1);
        x1 = V(fma)(aw, w, x1);
        c1 = V(fma)(az, z, c1);
    }
    for (; i < n; i += LANES) {
        const VEC u = V(load_part)(x + i, n - i), v = V(load_part)(c + i, n - i);
        const VEC weight = a ? V(load_part)(a + i, n - i) : V(set1)(1);
        const VEC au = V(mul)(weight, u), av = V(mul)(weight, v);
        d0 = V(fma)(au, v, d0);
        x0 = V(fma)(au, u, x0);
        c0 = V(fma)(av, v, c0);
    }
    return V(cosine_of)(V(sum)(V(add)(d0, d1)), V(sum)(V(add)(x0, x1)), V(sum)(V(add)(c0, c1)));
}

/* Several cosines share the row's own sum; each is added up as above. */
#define TOGETHER (ROWS > 12 ? 4 : 2)
FKMI_INLINE void V(cosines_of)(const REAL *x, const REAL *const *c, const REAL *a, int64_t n, double *out)
{
    VEC dot[TOGETHER][2], cc[TOGETHER][2], xx[2] = {V(zero)(), V(zero)()};
    int64_t i = 0;

#define STEP(chain, load, at, w)                                                                             \
    do {                                                                                                     \
        const VEC u = load(x, at), au = a ? V(mul)(w, u) : u;                                                \
        xx[chain] = V(fma)(au, u, xx[chain]);                                                                \
        _Pragma("GCC unroll 4") for (int p = 0; p < TOGETHER; p++)                                           \
        {                                                                                                    \
            const VEC v = load(c[p], at), av = a ? V(mul)(w, v) : v;                                         \
            dot[p][chain] = V(fma)(au, v, dot[p][chain]);                                                    \
            cc[p][chain] = V(fma)(av, v, cc[p][chain]);                                                      \
        }                                                                                                    \
    } while (0)
#define WHOLE(from, at)  V(load)((from) + (at))
#define PARTLY(from, at) V(load_part)((from) + (at), n - (at))
    _Pragma("GCC unroll 4") for (int p = 0; p < TOGETHER; p++)
    {
        dot[p][0] = dot[p][1] = cc[p][0] = cc[p][1] = V(zero)();
    }
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        STEP(0, WHOLE, i, WHOLE(a, i));
        STEP(1, WHOLE, i + LANES, WHOLE(a, i + LANES));
    }
    for (; i < n; i += LANES)
        STEP(0, PARTLY, i, PARTLY(a, i));
#undef STEP
#undef WHOLE
#undef PARTLY
    _Pragma("GCC unroll 4") for (int p = 0; p < TOGETHER; p++) out[p] =
        V(cosine_of)(V(sum)(V(add)(dot[p][0], dot[p][1])), V(sum)(V(add)(xx[0], xx[1])),
                     V(sum)(V(add)(cc[p][0], cc[p][1])));
}
static void FN(cosine_many)(const void *x, const void *const *points, int64_t n_points, const void *a,
                            int64_t n, double *out)
{
    int64_t j = 0;

    for (; j + TOGETHER <= n_points; j += TOGETHER) {
        const REAL *c[TOGETHER];

        for (int p = 0; p < TOGETHER; p++)
            c[p] = points[j + p];
        if (a)
            V(cosines_of)(x, c, a, n, out + j);
        else
            V(cosines_of)(x, c, NULL, n, out + j);
    }
    for (; j < n_points; j++)
        out[j] = FN(cosine)(x, points[j], a, n);
}
#undef TOGETHER

/* out = s (x - mu); s and mu may be NULL */
static void FN(transform)(void *out_at, const void *x_at, const void *mu_at, const void *s_at, int64_t n)
{
    REAL *out = out_at;
    const REAL *x = x_at, *mu = mu_at, *s = s_at;
    const VEC none = V(zero)(), one = V(set1)(1);
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        const VEC y = V(sub)(V(load)(x + i), mu ? V(load)(mu + i) : none);
        V(store)(out + i, V(mul)(y, s ? V(load)(s + i) : one));
    }
    if (i < n) {
        const VEC y = V(sub)(V(load_part)(x + i, n - i), mu ? V(load_part)(mu + i, n - i) : none);
        V(store_part)(out + i, V(mul)(y, s ? V(load_part)(s + i, n - i) : one), n - i);
    }
}

/* Updates of g: one coordinate's change is `change`, in registers. */
typedef VEC V(change_fn)(VEC g, VEC x, VEC c, VEC a, VEC scale);

FKMI_INLINE void V(update)(V(change_fn) * change, REAL *g, const REAL *x, const REAL *c, const REAL *a,
                           double scale, int64_t n)
{
    const VEC s = V(set1)((REAL)scale), one = V(set1)(1);
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
        V(store)(g + i, change(V(load)(g + i), V(load)(x + i), V(load)(c + i), a ? V(load)(a + i) : one, s));
    if (i < n)
        V(store_part)
    (g + i,
     change(V(load_part)(g + i, n - i), V(load_part)(x + i, n - i), V(load_part)(c + i, n - i),
            a ? V(load_part)(a + i, n - i) : one, s),
     n - i);
}

FKMI_INLINE VEC V(change_difference)(VEC g, VEC x, VEC c, VEC a, VEC s)
{
    return V(fma)(V(mul)(s, a), V(sub)(c, x), g);
}
FKMI_INLINE VEC V(change_sign)(VEC g, VEC x, VEC c, VEC a, VEC s)
{
    return V(fma)(V(mul)(s, a), V(sign)(V(sub)(c, x)), g);
}
FKMI_INLINE VEC V(change_scaled)(VEC g, VEC x, VEC c, VEC a, VEC s)
{
    (void)c;
    return V(fma)(V(mul)(s, a), x, g);
}
FKMI_INLINE VEC V(change_square)(VEC g, VEC x, VEC c, VEC a, VEC s)
{
    const VEC difference = V(sub)(x, c);
    return V(fma)(V(mul)(V(mul)(s, a), difference), difference, g);
}
FKMI_INLINE VEC V(change_absolute)(VEC g, VEC x, VEC c, VEC a, VEC s)
{
    return V(fma)(V(mul)(s, a), V(abs)(V(sub)(x, c)), g);
}
static void FN(add_difference)(void *g, const void *x, const void *c, const void *a, double scale, int64_t n)
{
    V(update)(V(change_difference), g, x, c, a, scale, n);
}
/* Registers of g and c stay where they are while the rows go by. */
#define UPDATE_VECTORS 4

static void FN(add_differences)(void *g_at, const void *const *row, const double *scale, int64_t n_rows,
                                const void *c_at, const void *a_at, int64_t n)
{
    REAL *g = g_at;
    const REAL *c = c_at, *a = a_at;
    int64_t i = 0;

    for (; i + UPDATE_VECTORS * LANES <= n; i += UPDATE_VECTORS * LANES) {
        VEC sum[UPDATE_VECTORS], point[UPDATE_VECTORS];

        for (int v = 0; v < UPDATE_VECTORS; v++) {
            sum[v] = V(load)(g + i + v * LANES);
            point[v] = V(load)(c + i + v * LANES);
        }
        for (int64_t r = 0; r < n_rows; r++) {
            const VEC s = V(set1)((REAL)scale[r]);
            const REAL *x = (const REAL *)row[r] + i;

            for (int v = 0; v < UPDATE_VECTORS; v++)
                sum[v] = V(change_difference)(sum[v], V(load)(x + v * LANES), point[v],
                                              a ? V(load)(a + i + v * LANES) : V(set1)(1), s);
        }
        for (int v = 0; v < UPDATE_VECTORS; v++)
            V(store)(g + i + v * LANES, sum[v]);
    }
    for (int64_t r = 0; r < n_rows && i < n; r++)
        FN(add_difference)(g + i, (const REAL *)row[r] + i, c + i, a ? a + i : NULL, scale[r], n - i);
}
#undef UPDATE_VECTORS

static void FN(add_sign)(void *g, const void *x, const void *c, const void *a, double scale, int64_t n)
{
    V(update)(V(change_sign), g, x, c, a, scale, n);
}
static void FN(add_scaled)(void *g, const void *x, const void *a, double scale, int64_t n)
{
    V(update)(V(change_scaled), g, x, x, a, scale, n);
}
static void FN(add_square)(void *g, const void *x, const void *c, const void *m, double scale, int64_t n)
{
    V(update)(V(change_square), g, x, c, m, scale, n);
}
static void FN(add_absolute)(void *g, const void *x, const void *c, const void *m, double scale, int64_t n)
{
    V(update)(V(change_absolute), g, x, c, m, scale, n);
}

/* sum += scale[0] row[0] + scale[1] row[1] + ..., in this order: sums that stay in registers for several
 * rows */
FKMI_INLINE void V(add_rows)(double *sum, const REAL *const *row, const double *scale, int n_rows, int64_t n)
{
    int64_t i = 0;

    for (; i + V64_LANES <= n; i += V64_LANES) {
        v64 s = v64_load(sum + i);
        for (int r = 0; r < n_rows; r++)
            s = v64_fma(v64_set1(scale[r]), FKMI_PASTE(v64_load_f, BITS, , )(row[r] + i), s);
        v64_store(sum + i, s);
    }
    for (; i < n; i++) { /* a lane's own rounding, so that a sum does not depend on where a vector was cut */
        v64 s = v64_load_part(sum + i, 1);
        for (int r = 0; r < n_rows; r++)
            s = v64_fma(v64_set1(scale[r]), v64_set1((double)row[r][i]), s);
        v64_store_part(sum + i, s, 1);
    }
}

/* sum x^2 in f64 */
static double FN(square_f64)(const void *x_at, int64_t n)
{
    const REAL *x = x_at;
    v64 s0 = v64_zero(), s1 = v64_zero(), s2 = v64_zero(), s3 = v64_zero();
    double sum;
    int64_t i = 0;

#define WIDENED(at) FKMI_PASTE(v64_load_f, BITS, , )(x + (at))
    for (; i + 4 * V64_LANES <= n; i += 4 * V64_LANES) {
        const v64 x0 = WIDENED(i), x1 = WIDENED(i + V64_LANES), x2 = WIDENED(i + 2 * V64_LANES),
                  x3 = WIDENED(i + 3 * V64_LANES);
        s0 = v64_fma(x0, x0, s0);
        s1 = v64_fma(x1, x1, s1);
        s2 = v64_fma(x2, x2, s2);
        s3 = v64_fma(x3, x3, s3);
    }
#undef WIDENED
    sum = v64_sum(v64_add(v64_add(s0, s1), v64_add(s2, s3)));
    for (; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

static void FN(add_f64)(double *sum, const void *x, double scale, int64_t n)
{
    const REAL *const row[1] = {x};

    V(add_rows)(sum, row, &scale, 1, n);
}

static void FN(add_rows_f64)(double *sum, const void *const *x, const double *scale, int64_t n_rows,
                             int64_t n)
{
    const REAL *row[4];

    for (; n_rows >= 4; n_rows -= 4, x += 4, scale += 4) {
        for (int r = 0; r < 4; r++)
            row[r] = x[r];
        V(add_rows)(sum, row, scale, 4, n);
    }
    for (; n_rows > 0; n_rows--, x++, scale++)
        FN(add_f64)(sum, *x, *scale, n);
}

/* distances out of scores: `far` in v64, of which what is not above 0 is 0 */
#define OF_SCORES(name, far)                                                                                 \
    static void FN(name)(const void *scores_at, int64_t n, double square, double unit, double factor,        \
                         double *distance)                                                                   \
    {                                                                                                        \
        const REAL *scores = scores_at;                                                                      \
        const v64 sq = v64_set1(square), u = v64_set1(unit), f = v64_set1(factor);                           \
                                                                                                             \
        for (int64_t i = 0; i < n; i += V64_LANES) {                                                         \
            const v64 s = FKMI_PASTE(v64_load_f, BITS, , )(scores + i), d = far;                             \
            const v64 scaled = v64_mul(v64_if_above(d, v64_zero(), d), f);                                   \
                                                                                                             \
            (void)sq;                                                                                        \
            (void)u;                                                                                         \
            if (n - i >= V64_LANES)                                                                          \
                v64_store(distance + i, scaled);                                                             \
            else                                                                                             \
                v64_store_part(distance + i, scaled, n - i);                                                 \
        }                                                                                                    \
    }
OF_SCORES(euclidean_of_scores, v64_sub(sq, v64_add(s, s)))
OF_SCORES(l1_of_scores, v64_sub(v64_zero(), s))
OF_SCORES(cosine_of_scores, v64_below(v64_sub(v64_set1(1), v64_mul(s, u)), 2, v64_set1(2)))
#undef OF_SCORES

struct V(adam) {
    VEC keep_1, keep_2, take_1, take_2, rate, unfix;
};
/* Of one register: moments and the point's new values. */
FKMI_INLINE void V(adam_step)(const struct V(adam) * how, VEC *p, VEC *m, VEC *v, VEC g)
{
    *m = V(fma)(how->keep_1, *m, V(mul)(how->take_1, g));
    *v = V(fma)(how->keep_2, *v, V(mul)(how->take_2, V(mul)(g, g)));
    *p = V(sub)(*p,
                V(div)(V(mul)(how->rate, *m), V(add)(V(sqrt)(V(mul)(*v, how->unfix)), V(set1)((REAL)1e-8))));
}

static void FN(adam)(void *p_at, void *m_at, void *v_at, const void *g_at, int64_t n, double step,
                     double beta1, double beta2, double fix1, double fix2)
{
    REAL *p = p_at, *m = m_at, *v = v_at;
    const REAL *g = g_at;
    const struct V(adam)
        how = {V(set1)((REAL)beta1),       V(set1)((REAL)beta2),         V(set1)((REAL)(1 - beta1)),
               V(set1)((REAL)(1 - beta2)), V(set1)((REAL)(step / fix1)), V(set1)((REAL)(1 / fix2))};
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        VEC pi = V(load)(p + i), mi = V(load)(m + i), vi = V(load)(v + i);

        V(adam_step)(&how, &pi, &mi, &vi, g ? V(load)(g + i) : V(zero)());
        V(store)(m + i, mi);
        V(store)(v + i, vi);
        V(store)(p + i, pi);
    }
    if (i < n) {
        VEC pi = V(load_part)(p + i, n - i), mi = V(load_part)(m + i, n - i), vi = V(load_part)(v + i, n - i);

        V(adam_step)(&how, &pi, &mi, &vi, g ? V(load_part)(g + i, n - i) : V(zero)());
        V(store_part)(m + i, mi, n - i);
        V(store_part)(v + i, vi, n - i);
        V(store_part)(p + i, pi, n - i);
    }
}

/* packed[d * width + r] = row[r][d], zeros for r >= n */
static void FN(pack)(const void *const *row, int n, int64_t dim, int width, void *packed_at)
{
    REAL *packed = packed_at;
    const int last_group = (width - 1) / LANES * LANES;

    for (int64_t d = 0; d < dim; d += LANES) {
        /* A group narrower than a register is stored whole: what it spills lies in a group written after
         * it. */
        for (int group = last_group; group >= 0; group -= LANES) {
            VEC block[LANES];
            for (int r = 0; r < LANES; r++)
                block[r] =
                    group + r < n ? V(load_part)((const REAL *)row[group + r] + d, dim - d) : V(zero)();
            V(transpose)(block);
            for (int i = 0; i < LANES && d + i < dim; i++) {
                REAL *to = packed + (d + i) * width + group;
                if ((d + i) * width + group + LANES <= dim * width)
                    V(store)(to, block[i]);
                else
                    V(store_part)(to, block[i], width - group);
            }
        }
    }
}

/* bit j of lanes[r]: scores[r * cols + j] > threshold[r]; returns the rows that have any */
static uint32_t FN(above)(const void *scores_at, const void *threshold_at, uint32_t *lanes)
{
    const REAL *scores = scores_at, *threshold = threshold_at;
    uint32_t rows = 0;

    for (int r = 0; r < ROWS; r++) {
        const VEC t = V(set1)(threshold[r]);
        lanes[r] = V(above)(V(load)(scores + r * COLS), t) | V(above)(V(load)(scores + r * COLS + LANES), t)
                                                                 << LANES;
        rows |= (uint32_t)(lanes[r] != 0) << r;
    }
    return rows;
}

/* the first lane of the largest of COLS scores */
static int FN(highest)(const void *scores_at)
{
    const REAL *scores = scores_at;
    const VEC a = V(load)(scores), b = V(load)(scores + LANES), peak = V(set1)(V(peak)(a, b));
    const uint32_t below = V(above)(peak, a) | V(above)(peak, b) << LANES;

    return __builtin_ctzll(~(uint64_t)below) %
           COLS; /* a NaN counts as large: the caller looks at what it gets */
}

/* peaks: the larger of themselves and of the scores, ROWS x COLS */
static void FN(raise)(const void *scores_at, void *peaks_at)
{
    const REAL *scores = scores_at;
    REAL *peaks = peaks_at;

    for (int i = 0; i < ROWS * COLS; i += LANES)
        V(store)(peaks + i, V(max)(V(load)(peaks + i), V(load)(scores + i)));
}

/* of LANES rows from `group` on: rows of COLS reals out of n columns of them */
FKMI_INLINE void V(store_columns)(const VEC *column, int n, int group, REAL *rows)
{
    for (int begin = 0; begin < n; begin += LANES) {
        VEC block[LANES];

        for (int i = 0; i < LANES; i++)
            block[i] = begin + i < n ? column[begin + i] : V(zero)();
        V(transpose)(block);
        for (int r = 0; r < LANES && group + r < ROWS; r++)
            V(store)(rows + (group + r) * COLS + begin, block[r]);
    }
}
/* the best of some lanes of each row, and where: with rows side by side, nobody need guess which is larger */
static void FN(bests)(const void *scores_at, int n, const int32_t *begin, const int32_t *end, void *best,
                      void *lane)
{
    const REAL *scores = scores_at;

    for (int group = 0; group < ROWS; group += LANES) {
        VEC column[COLS], most[COLS], where[COLS];

        for (int half = 0; half < COLS; half += LANES) {
            for (int r = 0; r < LANES; r++)
                column[half + r] = group + r < ROWS ? V(load)(scores + (group + r) * COLS + half) : V(zero)();
            V(transpose)(column + half);
        }
        for (int s = 0; s < n; s++) {
            VEC m = column[begin[s]], at = V(set1)((REAL)begin[s]);

            for (int j = begin[s] + 1; j < end[s]; j++) {
                at = V(pick)(column[j], m, V(set1)((REAL)j), at);
                m = V(pick)(column[j], m, column[j], m);
            }
            most[s] = m;
            where[s] = at;
        }
        V(store_columns)(most, n, group, best);
        if (lane)
            V(store_columns)(where, n, group, lane);
    }
}

/* those of a row's scores, against panel after panel, that are above the threshold */
static int FN(passing)(const void *scores_at, int64_t n_panels, const void *threshold, int32_t first, int n,
                       void *score_at, int32_t *index)
{
    enum {
        TOGETHER = 64 / COLS
    }; /* panels whose lanes are bits of one word: nobody can guess where they end */
    const REAL *scores = scores_at;
    const VEC t = V(set1)(*(const REAL *)threshold);
    REAL *score = score_at;

    for (int64_t panel = 0; panel < n_panels; panel += TOGETHER) {
        uint64_t bits = 0;

        for (int64_t p = 0; p < TOGETHER && panel + p < n_panels; p++) {
            const REAL *at = scores + (panel + p) * ROWS * COLS;
            const uint64_t a = V(above)(V(load)(at), t), b = V(above)(V(load)(at + LANES), t);

            bits |= (a | b << LANES) << (p * COLS);
        }
        for (; bits; bits &= bits - 1) {
            const int bit = __builtin_ctzll(bits);

            if (n == COLS)
                return COLS + 1;
            score[n] = scores[(panel + bit / COLS) * ROWS * COLS + bit % COLS];
            index[n++] = first + (int32_t)(panel * COLS) + bit;
        }
    }
    return n;
}

/* the m-th largest of COLS values: of those that fewer than m are above, the least. Counting has no chain of operations
 * as long as taking one after the other. */
static double FN(place)(const void *values_at, int64_t m)
{
    const REAL *values = values_at;
    const VEC a = V(load)(values), b = V(load)(values + LANES), one = V(set1)(1), none = V(zero)();
    const VEC wanted = V(set1)((REAL)m), last = V(set1)((REAL)-INFINITY);
    VEC above_a = none, above_b = none;

    if (m > COLS)
        return -(double)INFINITY;
    _Pragma("GCC unroll 4") for (int j = 0; j < COLS; j++)
    {
        const VEC v = V(set1)(values[j]);

        above_a = V(pick)(v, a, V(add)(above_a, one), above_a);
        above_b = V(pick)(v, b, V(add)(above_b, one), above_b);
    }
    return -(double)V(peak)(V(pick)(wanted, above_a, V(sub)(none, a), last),
                            V(pick)(wanted, above_b, V(sub)(none, b), last));
}
