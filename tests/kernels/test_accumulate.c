/* test_accumulate.c — sums, masses and ages by prototype against f64 loops, bit for bit the same for any
 * number of threads.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "backends/backend.h"
#include "support/naive.h"
#include "support/test.h"

enum { N_MOST = 200, DIM_MOST = 130, K_MOST = 40 };

struct problem {
    fkm_metric metric;
    fkm_dtype row_dtype;
    bool f64, sparse, masked, weighted, factored, aged;
    int64_t n, dim, k, first, some; /* sums of `some` of k prototypes */
    struct fkmi_space space;
    struct fkmi_rows rows;
    double x[N_MOST * DIM_MOST], feature_weights[DIM_MOST], factor[N_MOST]; /* x as the model sees it */
    double stored[N_MOST * DIM_MOST], values[N_MOST * DIM_MOST];            /* room for any type */
    float mask[N_MOST * DIM_MOST], weight[N_MOST];
    int64_t indptr[N_MOST + 1], order[N_MOST];
    int32_t indices[N_MOST * DIM_MOST], index[N_MOST];
};

static void draw_row(struct problem *p, int64_t i, struct naive_random *random)
{
    int64_t entry = p->indptr[i];
    const bool zero = naive_below(random, 10) == 0;

    for (int64_t d = 0; d < p->dim; d++) {
        const int64_t at = i * p->dim + d;
        double value = zero || (p->sparse && naive_below(random, 3)) ? 0 : naive_normal(random);

        naive_set(p->stored, p->row_dtype, at, value);
        value = naive_get(p->stored, p->row_dtype, at);
        p->x[at] = p->f64 ? value : (double)(float)value;
        p->mask[at] = naive_below(random, 3) ? 1.0f : naive_below(random, 2) ? 0.0f : 0.25f;
        if (value != 0) {
            p->indices[entry] = (int32_t)d;
            naive_set(p->values, p->row_dtype, entry++, value);
        }
        if (p->masked && p->mask[at] == 0.0f)
            naive_set(p->stored, p->row_dtype, at, (double)NAN);
    }
    p->indptr[i + 1] = entry;
    p->weight[i] = naive_below(random, 6) ? (float)naive_uniform(random) * 3 : 0.0f;
    p->factor[i] = naive_normal(random);
    p->index[i] = (int32_t)(naive_below(random, p->k + 1) - 1);
    p->order[i] = naive_below(random, p->n);
}

static void draw(struct problem *p, struct naive_random *random, int turn)
{
    p->metric = (fkm_metric)(turn % 3);
    p->row_dtype = (fkm_dtype)naive_below(random, FKMI_N_DTYPES);
    p->f64 = naive_below(random, 2);
    p->sparse = turn % 4 == 1;
    p->masked = turn % 4 == 2;
    p->weighted = naive_below(random, 2);
    p->factored = naive_below(random, 2);
    p->aged = naive_below(random, 2);
    p->n = 1 + naive_below(random, N_MOST);
    p->dim = 1 + naive_below(random, DIM_MOST);
    p->k = 1 + naive_below(random, naive_below(random, 2) ? 4 : K_MOST);
    p->first = naive_below(random, 2) ? 0 : naive_below(random, p->k);
    p->some = p->first == 0 ? p->k : 1 + naive_below(random, p->k - p->first);
    p->indptr[0] = 0;
    for (int64_t d = 0; d < p->dim; d++)
        p->feature_weights[d] = /* summing to dim */
            (0.5 + (double)(d % 2)) * (double)p->dim / (0.5 * (double)p->dim + (double)(p->dim / 2));
    for (int64_t i = 0; i < p->n; i++)
        draw_row(p, i, random);
    p->space = (struct fkmi_space){.metric = p->metric,
                                   .dim = p->dim,
                                   .real = p->f64 ? FKMI_REAL_F64 : FKMI_REAL_F32,
                                   .feature_weights = turn % 5 == 0 ? p->feature_weights : NULL};
    p->rows = (struct fkmi_rows){.n = p->n,
                                 .dim = p->dim,
                                 .dtype = p->row_dtype,
                                 .order = naive_below(random, 2) ? p->order : NULL,
                                 .weight = p->weighted ? p->weight : NULL};
    if (p->sparse) {
        p->rows.values = p->values;
        p->rows.indptr = p->indptr;
        p->rows.indices = p->indices;
    } else {
        p->rows.x = p->stored;
        p->rows.stride = p->dim;
        p->rows.mask = p->masked ? p->mask : NULL;
    }
}

struct sums {
    double sum[K_MOST * DIM_MOST], mass[K_MOST], ages[K_MOST * DIM_MOST];
};

static void naive_sums(const struct problem *p, struct sums *out)
{
    for (int64_t i = 0; i < p->n; i++) {
        const int64_t row = p->rows.order ? p->order[i] : i, j = p->index[i];
        const double u = (p->weighted ? (double)p->weight[row] : 1.0) * (p->factored ? p->factor[i] : 1.0);
        const double *x = p->x + row * p->dim;
        double square = 0, active = 0, scale = 1;

        if (j < p->first || j >= p->first + p->some)
            continue;
        for (int64_t d = 0; d < p->dim; d++) {
            const double a = (p->space.feature_weights ? p->feature_weights[d] : 1.0) *
                             (p->masked ? (double)p->mask[row * p->dim + d] : 1.0);

            square += a * x[d] * x[d];
            active += a;
        }
        if (p->metric == FKM_METRIC_COSINE) /* what a mask leaves of a unit row has its share of the length */
            scale = square > 0 ? sqrt(active / (double)p->dim / square) : 0;
        for (int64_t d = 0; d < p->dim; d++) {
            const double m = p->masked ? (double)p->mask[row * p->dim + d] : 1.0;

            out->sum[j * p->dim + d] += u * m * scale * x[d];
            out->ages[j * p->dim + d] += u * m;
        }
        out->mass[j] += u;
    }
}

static fkm_context *context_of(int n_threads, const struct fkmi_kernels *kernels)
{
    fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;
    fkm_context *context;

    options.n_threads = n_threads;
    CHECK_OK(fkm_context_create(&options, &context));
    context->kernels = kernels;
    return context;
}

TEST(sums_masses_and_ages_for_any_number_of_threads)
{
    static struct problem p;
    static struct sums start, expected, first, got;
    static const int threads[] = {1, 2, 3, 8};
    const struct fkmi_kernels *tables[8];
    const int n_tables = fkmi_kernels_all(tables, 8);
    struct naive_random random = {31};

    for (int turn = 0; turn < 120; turn++) {
        draw(&p, &random, turn);
        for (int64_t at = 0; at < K_MOST * DIM_MOST; at++) { /* everything is added to what is there */
            start.sum[at] = naive_normal(&random);
            start.ages[at] = naive_normal(&random);
            start.mass[at % K_MOST] = naive_normal(&random);
        }
        expected = start;
        naive_sums(&p, &expected);
        for (int table = 0; table < n_tables; table++)
            for (int t = 0; t < 4; t++) {
                fkm_context *context = context_of(threads[t], tables[table]);
                /* unit rows are rounded to the model's type, or scaled by the norm before rounding */
                const double tolerance = p.metric == FKM_METRIC_COSINE && !p.f64 ? 1e-4 : 1e-9;

                got = start;
                CHECK_OK(context->backend->accumulate(context, &p.rows, &p.space, p.index,
                                                      p.factored ? p.factor : NULL, p.first, p.some,
                                                      got.sum + p.first * p.dim, got.mass + p.first,
                                                      p.aged ? got.ages + p.first * p.dim : NULL));
                fkm_context_free(context);
                for (int64_t at = 0; at < p.k * p.dim; at++) {
                    CHECK_NEAR(expected.sum[at], got.sum[at], tolerance);
                    CHECK_NEAR(p.aged ? expected.ages[at] : start.ages[at], got.ages[at], 1e-9);
                }
                for (int64_t j = 0; j < p.k; j++)
                    CHECK_NEAR(expected.mass[j], got.mass[j], 1e-9);
                for (int64_t at = p.k * p.dim; at < K_MOST * DIM_MOST; at++)
                    CHECK(got.sum[at] == start.sum[at]);
                if (t == 0)
                    first = got;
                else
                    CHECK(memcmp(&first, &got, sizeof got) == 0);
            }
    }
}

TEST(sums_of_f32_rows_are_exact_in_f64)
{
    enum { MANY = 150000 }; /* more than are grouped at once */
    static float x[MANY * 3];
    static int32_t index[MANY];
    fkm_context *context = context_of(2, fkmi_kernels_best());
    const struct fkmi_space space = {.metric = FKM_METRIC_EUCLIDEAN, .dim = 3, .real = FKMI_REAL_F32};
    const struct fkmi_rows rows = {.n = MANY, .dim = 3, .dtype = FKM_DTYPE_F32, .x = x, .stride = 3};
    double sum[3] = {0}, mass[1] = {0};

    for (int i = 0; i < MANY; i++) {
        x[3 * i] = 16777216.0f;
        x[3 * i + 1] = 1.0f;
        x[3 * i + 2] = i % 2 ? 1e10f : -1e10f;
    }
    CHECK_OK(context->backend->accumulate(context, &rows, &space, index, NULL, 0, 1, sum, mass, NULL));
    CHECK_NEAR(16777216.0 * MANY, sum[0], 0);
    CHECK_NEAR(MANY, sum[1], 0);
    CHECK_NEAR(0, sum[2], 0);
    CHECK_NEAR(MANY, mass[0], 0);
    fkm_context_free(context);
}
