/* test_vectors.c — every vector loop of every table that runs here, against f64 loops.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "kernels/kernels.h"
#include "support/naive.h"
#include "support/test.h"

enum { LENGTH_MOST = 150, GUARD = 4 };

/* Vectors of one length in a real type (with room behind that must stay as it is) and in f64. */
struct operands {
    const struct fkmi_vector *vector;
    fkm_dtype real;
    int64_t n;
    double unit;
    double x[LENGTH_MOST], c[LENGTH_MOST], a[LENGTH_MOST], g[LENGTH_MOST];
    double rx[LENGTH_MOST + GUARD], rc[LENGTH_MOST + GUARD], ra[LENGTH_MOST + GUARD], rg[LENGTH_MOST + GUARD];
};

static void fill(struct operands *o, double *wide, void *narrow, bool positive, struct naive_random *random)
{
    for (int64_t i = 0; i < LENGTH_MOST + GUARD; i++) {
        double value = naive_normal(random);

        if (positive)
            value = naive_below(random, 5) ? fabs(value) : 0;
        naive_set(narrow, o->real, i, i < o->n ? value : 77);
        if (i < o->n)
            wide[i] = naive_get(narrow, o->real, i);
    }
}

typedef void check_fn(struct operands *o, struct naive_random *random);

static void for_every_vector(check_fn *check)
{
    const struct fkmi_kernels *tables[8];
    const int n = fkmi_kernels_all(tables, 8);
    const struct naive_random same = {11}; /* for every instruction set */
    struct naive_random random = same;
    static struct operands o;

    for (int i = 0; i < n; random = same, i++)
        for (int real = 0; real < FKMI_N_REALS; real++)
            for (int64_t length = 0; length <= LENGTH_MOST; length += length < 70 ? 1 : 7) {
                o.vector = &tables[i]->vector[real];
                o.real = real == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32;
                o.unit = real == FKMI_REAL_F64 ? 0x1p-53 : 0x1p-24;
                o.n = length;
                fill(&o, o.x, o.rx, false, &random);
                fill(&o, o.c, o.rc, false, &random);
                fill(&o, o.a, o.ra, true, &random);
                fill(&o, o.g, o.rg, false, &random);
                check(&o, &random);
            }
}

static void check_guard(const struct operands *o, const void *narrow)
{
    for (int64_t i = o->n; i < o->n + GUARD; i++)
        CHECK_NEAR(77, naive_get(narrow, o->real, i), 0);
}

static void check_sums(struct operands *o, struct naive_random *random)
{
    (void)random;
    for (int weighted = 0; weighted < 2; weighted++) {
        double dot = 0, dot_size = 0, squares = 0, l1 = 0, xx = 0, cc = 0;
        const void *a = weighted ? o->ra : NULL;

        for (int64_t i = 0; i < o->n; i++) {
            const double w = weighted ? o->a[i] : 1, x = o->x[i], c = o->c[i];
            dot += w * x * c;
            dot_size += w * fabs(x * c);
            squares += w * (x - c) * (x - c);
            l1 += w * fabs(x - c);
            xx += w * x * x;
            cc += w * c * c;
        }
        CHECK_NEAR(xx, weighted ? xx : o->vector->square_f64(o->rx, o->n), (double)(o->n + 4) * 0x1p-53 * xx);
        CHECK_NEAR(dot, o->vector->dot(o->rx, o->rc, a, o->n), 2 * (double)(o->n + 4) * o->unit * dot_size);
        CHECK_NEAR(squares, o->vector->distance[FKM_METRIC_EUCLIDEAN](o->rx, o->rc, a, o->n),
                   2 * (double)(o->n + 4) * o->unit * squares);
        CHECK_NEAR(l1, o->vector->distance[FKM_METRIC_L1](o->rx, o->rc, a, o->n),
                   2 * (double)(o->n + 4) * o->unit * l1);
        CHECK_NEAR(xx > 0 && cc > 0 ? 1 - dot / sqrt(xx * cc) : 1,
                   o->vector->distance[FKM_METRIC_COSINE](o->rx, o->rc, a, o->n),
                   4 * (double)(o->n + 4) * o->unit);
    }
}
TEST(products_and_distances) { for_every_vector(check_sums); }

static void check_several(struct operands *o, struct naive_random *random)
{
    static double points[7][LENGTH_MOST + GUARD], wide[LENGTH_MOST];
    const void *at[7];
    double distance[7];

    for (int j = 0; j < 7; j++) {
        fill(o, wide, points[j], false, random);
        at[j] = points[j];
    }
    for (int metric = 0; metric < 3; metric++)
        for (int weighted = 0; weighted < 2; weighted++)
            for (int n = 0; n <= 7; n++) {
                const void *a = weighted ? o->ra : NULL;

                o->vector->distances[metric](o->rx, at, n, a, o->n, distance);
                for (int j = 0; j < n; j++)
                    CHECK(o->vector->distance[metric](o->rx, points[j], a, o->n) == distance[j]);
            }
}
TEST(several_distances_have_the_bits_of_single_ones) { for_every_vector(check_several); }

static void check_cosine_ends(struct operands *o, struct naive_random *random)
{
    (void)random;
    CHECK_NEAR(0, o->vector->distance[FKM_METRIC_COSINE](o->rx, o->rx, NULL, o->n), o->n ? 4 * o->unit : 1);
    for (int64_t i = 0; i < o->n; i++)
        naive_set(o->rc, o->real, i, 0);
    CHECK_NEAR(1, o->vector->distance[FKM_METRIC_COSINE](o->rx, o->rc, NULL, o->n), 0);
    CHECK_NEAR(1, o->vector->distance[FKM_METRIC_COSINE](o->rc, o->rc, NULL, o->n), 0);
    for (int64_t i = 0; i < o->n; i++)
        naive_set(o->rc, o->real, i, -2 * o->x[i]);
    if (o->n > 0)
        CHECK_NEAR(2, o->vector->distance[FKM_METRIC_COSINE](o->rx, o->rc, NULL, o->n), 4 * o->unit);
}
TEST(cosine_of_a_vector_with_itself_with_zero_and_with_its_opposite) { for_every_vector(check_cosine_ends); }

static void check_transform(struct operands *o, struct naive_random *random)
{
    static double out[LENGTH_MOST + GUARD];

    for (int kind = 0; kind < 4; kind++) {
        fill(o, o->g, out, false, random);
        o->vector->transform(out, o->rx, kind & 1 ? o->rc : NULL, kind & 2 ? o->ra : NULL, o->n);
        for (int64_t i = 0; i < o->n; i++) {
            const double expected = (o->x[i] - (kind & 1 ? o->c[i] : 0)) * (kind & 2 ? o->a[i] : 1);
            CHECK_NEAR(expected, naive_get(out, o->real, i), 3 * o->unit * fabs(expected));
        }
        check_guard(o, out);
    }
    o->vector->transform(o->rx, o->rx, o->rc, NULL, o->n); /* in place */
    for (int64_t i = 0; i < o->n; i++)
        CHECK_NEAR(o->x[i] - o->c[i], naive_get(o->rx, o->real, i), 2 * o->unit * fabs(o->x[i] - o->c[i]));
}
TEST(transform_shifts_and_scales) { for_every_vector(check_transform); }

/* The largest distance the cosine knows is reached, and what is not above 0 comes out as 0. */
static void check_of_scores(struct operands *o, struct naive_random *random)
{
    double distance[LENGTH_MOST + 1];
    const double square = 2 * naive_uniform(random), unit = 3 * naive_uniform(random),
                 factor = naive_uniform(random);

    for (int metric = 0; metric < 3; metric++) {
        distance[o->n] = 77;
        o->vector->of_scores[metric](o->rx, o->n, square, unit, factor, distance);
        for (int64_t i = 0; i < o->n; i++) {
            const double s = o->x[i], cosine = 1 - s * unit;
            const double far = metric == FKM_METRIC_EUCLIDEAN ? square - 2 * s
                               : metric == FKM_METRIC_L1      ? -s
                               : cosine < 2                   ? cosine
                                                              : 2;

            CHECK((far > 0 ? far : 0) * factor == distance[i]);
        }
        CHECK(distance[o->n] == 77);
    }
}
TEST(scores_become_distances) { for_every_vector(check_of_scores); }

static void check_add_f64(struct operands *o, struct naive_random *random)
{
    double sum[LENGTH_MOST + 1], cut[LENGTH_MOST + 1];
    const double scale = naive_normal(random);

    for (int64_t i = 0; i <= o->n; i++)
        cut[i] = sum[i] = naive_normal(random);
    o->vector->add_f64(sum, o->rx, scale, o->n);
    CHECK_NEAR(cut[o->n], sum[o->n], 0);
    for (int64_t i = 0; i < o->n; i++)
        CHECK_NEAR(cut[i] + scale * o->x[i], sum[i], 4 * 0x1p-53 * (fabs(cut[i]) + fabs(scale * o->x[i])));
    { /* the same bits when it comes in two pieces */
        const int64_t middle = naive_below(random, o->n + 1);
        o->vector->add_f64(cut, o->rx, scale, middle);
        o->vector->add_f64(cut + middle, (const char *)o->rx + (size_t)middle * naive_size(o->real), scale,
                           o->n - middle);
        CHECK(memcmp(cut, sum, (size_t)o->n * sizeof *sum) == 0);
    }
}
TEST(sums_are_kept_in_f64) { for_every_vector(check_add_f64); }

static void check_add_rows(struct operands *o, struct naive_random *random)
{
    double one_by_one[LENGTH_MOST + 1], together[LENGTH_MOST + 1], scale[9];
    const void *const vectors[] = {o->rx, o->rc, o->ra, o->rg};
    const void *x[9];
    const int64_t n_rows = naive_below(random, 10);

    for (int64_t i = 0; i <= o->n; i++)
        together[i] = one_by_one[i] = naive_normal(random);
    for (int64_t r = 0; r < n_rows; r++) {
        x[r] = vectors[naive_below(random, 4)];
        scale[r] = naive_normal(random);
        o->vector->add_f64(one_by_one, x[r], scale[r], o->n);
    }
    o->vector->add_rows_f64(together, x, scale, n_rows, o->n);
    CHECK(memcmp(one_by_one, together, (size_t)(o->n + 1) * sizeof *together) == 0);
}
TEST(rows_added_together_give_the_bits_of_rows_added_one_by_one) { for_every_vector(check_add_rows); }

static void check_add_differences(struct operands *o, struct naive_random *random)
{
    static double one_by_one[LENGTH_MOST + GUARD], together[LENGTH_MOST + GUARD];
    const size_t size = (size_t)(o->n + 1) * (o->real == FKM_DTYPE_F64 ? sizeof(double) : sizeof(float));
    double scale[9];
    const void *const vectors[] = {o->rx, o->rc, o->ra, o->rg};
    const void *x[9], *a = naive_below(random, 2) ? o->ra : NULL;
    const int64_t n_rows = naive_below(random, 10);

    memcpy(one_by_one, o->rg, size);
    memcpy(together, o->rg, size);
    for (int64_t r = 0; r < n_rows; r++) {
        x[r] = vectors[naive_below(random, 4)];
        scale[r] = naive_normal(random);
        o->vector->add_difference(one_by_one, x[r], o->rc, a, scale[r], o->n);
    }
    o->vector->add_differences(together, x, scale, n_rows, o->rc, a, o->n);
    CHECK(memcmp(one_by_one, together, size) == 0);
}
TEST(differences_added_together_give_the_bits_of_those_added_one_by_one)
{
    for_every_vector(check_add_differences);
}

enum update { DIFFERENCE, SIGN, SCALED, SQUARE, ABSOLUTE, N_UPDATES };

static void check_updates(struct operands *o, struct naive_random *random)
{
    const double scale = naive_normal(random);

    if (o->n > 2) { /* a tie has sign 0 */
        o->c[1] = o->x[1];
        naive_set(o->rc, o->real, 1, o->x[1]);
    }
    for (int update = 0; update < N_UPDATES; update++)
        for (int weighted = 0; weighted < 2; weighted++) {
            const struct fkmi_vector *v = o->vector;
            const void *a = weighted ? o->ra : NULL;

            fill(o, o->g, o->rg, false, random);
            switch (update) {
            case DIFFERENCE:
                v->add_difference(o->rg, o->rx, o->rc, a, scale, o->n);
                break;
            case SIGN:
                v->add_sign(o->rg, o->rx, o->rc, a, scale, o->n);
                break;
            case SCALED:
                v->add_scaled(o->rg, o->rx, a, scale, o->n);
                break;
            case SQUARE:
                v->add_square(o->rg, o->rx, o->rc, a, scale, o->n);
                break;
            default:
                v->add_absolute(o->rg, o->rx, o->rc, a, scale, o->n);
                break;
            }
            for (int64_t i = 0; i < o->n; i++) {
                const double x = o->x[i], c = o->c[i], w = weighted ? o->a[i] : 1;
                const double change = scale * w *
                                      (update == DIFFERENCE ? c - x
                                       : update == SIGN     ? (double)((c > x) - (c < x))
                                       : update == SCALED   ? x
                                       : update == SQUARE   ? (x - c) * (x - c)
                                                            : fabs(x - c));
                CHECK_NEAR(o->g[i] + change, naive_get(o->rg, o->real, i),
                           8 * o->unit * (fabs(o->g[i]) + fabs(change)));
            }
            check_guard(o, o->rg);
        }
}
TEST(gradients_are_added) { for_every_vector(check_updates); }

static void check_adam(struct operands *o, struct naive_random *random)
{
    static double p[LENGTH_MOST + GUARD], v[LENGTH_MOST + GUARD];
    double wide_p[LENGTH_MOST], wide_v[LENGTH_MOST];
    const double step = 0.05, beta1 = 0.9, beta2 = 0.999;

    fill(o, wide_p, p, false, random);
    fill(o, wide_v, v, true, random);
    for (int t = 1; t <= 5; t++) {
        const double fix1 = 1 - pow(beta1, t), fix2 = 1 - pow(beta2, t);
        const bool idle = t > 3; /* no gradient */

        o->vector->adam(p, o->rx, v, idle ? NULL : o->rg, o->n, step, beta1, beta2, fix1, fix2); /* m is x */
        for (int64_t i = 0; i < o->n; i++) {
            const double g = idle ? 0 : o->g[i];

            o->x[i] = beta1 * o->x[i] + (1 - beta1) * g;
            wide_v[i] = beta2 * wide_v[i] + (1 - beta2) * g * g;
            wide_p[i] -= step * (o->x[i] / fix1) / (sqrt(wide_v[i] / fix2) + 1e-8);
            CHECK_NEAR(o->x[i], naive_get(o->rx, o->real, i), 1e3 * o->unit);
            CHECK_NEAR(wide_v[i], naive_get(v, o->real, i), 1e3 * o->unit);
            CHECK_NEAR(wide_p[i], naive_get(p, o->real, i), 1e3 * o->unit * (1 + fabs(wide_p[i])));
        }
    }
    check_guard(o, p);
    check_guard(o, v);
    check_guard(o, o->rx);
}
TEST(adam_moves_parameters_by_moments) { for_every_vector(check_adam); }

/* The loss of one tag that a row lacks, and its derivative by z, by definition. */
static long double lacking(double z, double gamma, double clip, long double *slope)
{
    const long double e = expl(-(long double)z), p = 1 / (1 + e), m = p - (long double)clip;
    const long double q = p * e + clip < 0x1p-52L ? 0x1p-52L : p * e + clip; /* 1 - m */

    *slope = 0;
    if (isinf(z) || m <= 0)
        return 0;
    *slope = powl(m, gamma) / q - (gamma > 0 ? gamma * powl(m, gamma - 1) * logl(q) : 0);
    *slope *= p * p * e;
    return -powl(m, gamma) * logl(q);
}

TEST(losses_of_lacking_tags)
{
    static const double gammas[] = {0, 0.5, 1, 2, 2.5, 3, 4, 7}, clips[] = {0, 0.05, 0.5};
    const struct fkmi_kernels *tables[8];
    const int n_tables = fkmi_kernels_all(tables, 8);
    const struct naive_random same = {17}; /* for every instruction set */
    struct naive_random random = same;
    double z[LENGTH_MOST], weight[LENGTH_MOST], slope[LENGTH_MOST];
    int32_t which[LENGTH_MOST];

    for (int t = 0; t < n_tables; random = same, t++)
        for (int c = 0; c < 8 * 3 * 2; c++)
            for (int64_t n = 0; n < LENGTH_MOST; n += n < 40 ? 1 : 13) {
                const double gamma = gammas[c % 8], clip = clips[c / 8 % 3];
                const bool weighted = c / 24 == 1;
                long double sum = 0, by_z;
                int64_t n_found, at = 0;
                double got;

                for (int64_t i = 0; i < n; i++) {
                    const int64_t kind = naive_below(&random, 12);

                    z[i] = kind == 0   ? -INFINITY
                           : kind == 1 ? 30
                           : kind == 2 ? -30
                                       : 4 * naive_normal(&random);
                    weight[i] = 1 + naive_uniform(&random);
                }
                n_found =
                    tables[t]->asl_lacking(z, weighted ? weight : NULL, n, gamma, clip, which, slope, &got);
                for (int64_t i = 0; i < n; i++) {
                    const long double w = weighted ? (long double)weight[i] : 1;
                    const double found = at < n_found && which[at] == i ? slope[at++] : 0;

                    sum += w * lacking(z[i], gamma, clip, &by_z);
                    /* p - clip cancels near the clip */
                    CHECK_NEAR((double)(w * by_z), found, 1e-12 * (1 + fabs((double)by_z)));
                }
                CHECK(n_found == at);
                CHECK_NEAR((double)sum, got, 1e-12 * (1 + (double)sum));
            }
}

/* Numbers that round in every way a format knows: ties, denormals, overflow, infinities. */
static double hard_number(struct naive_random *random, int64_t i)
{
    static const double fixed[] = {0,
                                   -0.0,
                                   1,
                                   65504,
                                   65519.9,
                                   65520,
                                   65536,
                                   1e-8,
                                   2.98e-8,
                                   2.9802322387695312e-8,
                                   5.9604644775390625e-8,
                                   6.0975e-5,
                                   1.00390625,
                                   1.01171875,
                                   1.0009765625,
                                   1.00048828125,
                                   1.001464843750001,
                                   3.3895e38,
                                   1e-40,
                                   -3.5e38,
                                   1e300,
                                   -1e-300};
    const int64_t n = (int64_t)(sizeof fixed / sizeof *fixed);

    if (i < n)
        return fixed[i];
    if (i == n)
        return (double)INFINITY;
    return ldexp(naive_normal(random), (int)naive_below(random, 60) - 40);
}

TEST(storage_rounds_to_the_nearest_and_ties_to_even)
{
    const struct fkmi_kernels *tables[8];
    const int n_tables = fkmi_kernels_all(tables, 8);
    const struct naive_random same = {5}; /* for every instruction set */
    struct naive_random random = same;
    enum { N = 997 };
    static double real[N], back[N], stored[N + 1];

    for (int t = 0; t < n_tables; random = same, t++)
        for (int r = 0; r < FKMI_N_REALS; r++)
            for (int dtype = 0; dtype < FKMI_N_DTYPES; dtype++) {
                const fkm_dtype real_dtype = r == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32;

                for (int64_t i = 0; i < N; i++)
                    naive_set(real, real_dtype, i, hard_number(&random, i));
                for (int64_t length = N; length >= N - 40; length -= 13) {
                    memset(stored, 0x5a, sizeof stored);
                    tables[t]->vector[r].store[dtype](stored, real, length);
                    CHECK_INT(0x5a, ((unsigned char *)stored)[(size_t)length * naive_size((fkm_dtype)dtype)]);
                    for (int64_t i = 0; i < length; i++) {
                        double expected;
                        char one[8];

                        naive_set(one, (fkm_dtype)dtype, 0, naive_get(real, real_dtype, i));
                        expected = naive_get(one, (fkm_dtype)dtype, 0);
                        CHECK_NEAR(expected, naive_get(stored, (fkm_dtype)dtype, i), 0);
                    }
                    tables[t]->vector[r].load[dtype](back, stored, length);
                    for (int64_t i = 0; i < length; i++) {
                        char one[8];

                        naive_set(one, real_dtype, 0, naive_get(stored, (fkm_dtype)dtype, i));
                        CHECK_NEAR(naive_get(one, real_dtype, 0), naive_get(back, real_dtype, i), 0);
                    }
                }
            }
}
