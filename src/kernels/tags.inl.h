/* tags.inl.h — the loss of the tags that a row lacks, many at a time. Expects ISA and the lanes.
 *
 * exp and log are polynomials after the range has been reduced by powers of 2, exact to a few units in the last place;
 * most tags lie below the clip, where nothing is computed at all.
 * SPDX-License-Identifier: Apache-2.0 */

/* of log 2: so many bits that whole multiples are exact, and the rest */
#define LOG_2_HIGH 0x1.62e42feep-1
#define LOG_2_LOW  0x1.a39ef35793c76p-33

/* -708 <= x <= 708 */
FKMI_INLINE v64 v64_exp(v64 x)
{
    static const double factor[] = {/* 1 / 13!, 1 / 12!, ... 1 / 2! */
                                    1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800,
                                    1.0 / 362880,     1.0 / 40320,     1.0 / 5040,     1.0 / 720,
                                    1.0 / 120,        1.0 / 24,        1.0 / 6,        1.0 / 2};
    const v64 magic = v64_set1(0x1.8p52); /* adding it rounds to whole numbers */
    const v64 n = v64_sub(v64_add(v64_mul(x, v64_set1(0x1.71547652b82fep0)), magic), magic);
    const v64 r = v64_fnma(n, v64_set1(LOG_2_LOW), v64_fnma(n, v64_set1(LOG_2_HIGH), x));
    v64 sum = v64_set1(factor[0]);

    for (int k = 1; k < 12; k++)
        sum = v64_fma(sum, r, v64_set1(factor[k]));
    sum = v64_add(v64_set1(1), v64_fma(v64_mul(sum, r), r, r));
    return v64_mul(sum, v64_power(n));
}

/* x > 0, not denormal: 2 artanh((m - 1) / (m + 1)) of a mantissa around 1, and the exponent */
FKMI_INLINE v64 v64_log(v64 x)
{
    v64 m, e = v64_exponent(x, &m);
    const v64 one = v64_set1(1), half = v64_if_above(m, v64_set1(1.41421356237309515), v64_set1(0.5));
    v64 s, square, sum = v64_set1(2.0 / 23);

    m = v64_fnma(m, half, m);
    e = v64_add(e, v64_add(half, half));
    s = v64_div(v64_sub(m, one), v64_add(m, one));
    square = v64_mul(s, s);
    for (int k = 21; k >= 3; k -= 2)
        sum = v64_fma(sum, square, v64_set1(2.0 / k));
    sum = v64_fma(v64_mul(sum, square), s, v64_add(s, s));
    return v64_fma(e, v64_set1(LOG_2_HIGH), v64_fma(e, v64_set1(LOG_2_LOW), sum));
}

/* base^power for 0 < base <= 1; small whole powers, which people use, are products */
FKMI_INLINE v64 v64_raised(v64 base, double power)
{
    const double most = 708;
    v64 product = v64_set1(1), x;

    if (power == 0 || power == 1 || power == 2 || power == 3 || power == 4) {
        for (int k = 0; k < (int)power; k++)
            product = v64_mul(product, base);
        return product;
    }
    x = v64_mul(v64_set1(power), v64_log(base)); /* what leaves the range of doubles stays at its ends */
    x = v64_max(x, v64_set1(-most));
    return v64_exp(v64_sub(v64_zero(), v64_max(v64_sub(v64_zero(), x), v64_set1(-most))));
}

struct lacking {
    double gamma, clip, least; /* least: scores up to this are below the clip */
};

/* Of LANES scores: the losses; their derivatives. */
FKMI_INLINE v64 v64_lacking(const struct lacking *how, v64 z, v64 *slope)
{
    const v64 one = v64_set1(1), tiny = v64_set1(0x1p-52), none = v64_zero();
    const v64 in_range = v64_max(z, v64_set1(-700));
    const v64 e = v64_exp(v64_sub(none, in_range)), p = v64_div(one, v64_add(one, e)); /* p and 1 - p = e p */
    const v64 above = v64_sub(p, v64_set1(how->clip));
    const v64 m = v64_max(above, v64_set1(1e-300));
    const v64 q = v64_max(v64_fma(e, p, v64_set1(how->clip)), tiny), log_q = v64_log(q); /* 1 - m */
    const v64 raised = v64_raised(m, how->gamma);
    v64 by_p = v64_div(raised, q);

    if (how->gamma > 0)
        by_p = v64_fnma(v64_mul(v64_set1(how->gamma), v64_raised(m, how->gamma - 1)), log_q, by_p);
    *slope =
        v64_if_above(z, v64_set1(-700), v64_if_above(above, none, v64_mul(by_p, v64_mul(p, v64_mul(p, e)))));
    return v64_if_above(z, v64_set1(-700), v64_if_above(above, none, v64_fnma(raised, log_q, none)));
}

static int64_t FKMI_PASTE(asl_lacking, _, ISA, )(const double *z, const double *weight, int64_t n,
                                                 double gamma, double clip, int32_t *which, double *slope,
                                                 double *loss)
{
    const struct lacking how = {gamma, clip, clip > 0 ? -log((1 - clip) / clip) - 1e-9 : -INFINITY};
    const v64 least = v64_set1(how.least);
    double some[V64_LANES];
    int64_t n_found = 0;
    v64 sum = v64_zero();

    for (int64_t i = 0; i < n; i += V64_LANES) {
        const int64_t left = n - i < V64_LANES ? n - i : V64_LANES;
        v64 scores, slopes, losses;

        for (int k = 0; left < V64_LANES && k < V64_LANES; k++) /* nothing is added behind the last */
            some[k] = k < left ? z[i + k] : -INFINITY;
        scores = v64_load(left < V64_LANES ? some : z + i);
        if (!v64_above(scores, least))
            continue;
        losses = v64_lacking(&how, scores, &slopes);
        if (weight) {
            const v64 w = v64_load_part(weight + i, left);

            losses = v64_mul(losses, w);
            slopes = v64_mul(slopes, w);
        }
        sum = v64_add(sum, losses);
        v64_store(some, slopes);
        for (int k = 0; k < left; k++)
            if (some[k] != 0) {
                which[n_found] = (int32_t)(i + k);
                slope[n_found++] = some[k];
            }
    }
    *loss = v64_sum(sum);
    return n_found;
}
#undef LOG_2_HIGH
#undef LOG_2_LOW
