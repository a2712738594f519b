/* test_sketch.c — sketches never hide a nearer point, and rule out most of the others; the order of a k-d tree.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "backends/cpu/sketch.h"
#include "support/naive.h"
#include "support/test.h"

enum { N = 1500, MOST_DIM = 200, POINTS = 16 };

static float x[N * MOST_DIM];

/* Groups of rows, stretched along the first coordinates, far from the origin when asked for. */
static void make_rows(int dim, double offset, double spread, uint64_t seed)
{
    struct naive_random random = {seed};
    static double centre[20 * MOST_DIM];

    for (int i = 0; i < 20 * dim; i++)
        centre[i] = 4 * naive_normal(&random);
    for (int i = 0; i < N; i++) {
        const double *near = centre + naive_below(&random, 20) * dim;
        for (int d = 0; d < dim; d++)
            x[i * dim + d] = (float)(offset + (near[d] + spread * naive_normal(&random)) / sqrt(1 + d));
    }
}

struct count {
    int64_t nearer, missed, kept, pairs;
};

/* All rows against 16 of them; every row has the same distance to beat. */
static struct count screen(fkm_metric metric, int dim, const double *weights, double share)
{
    fkm_context *context;
    const struct fkmi_space space = {
        .metric = metric, .dim = dim, .real = FKMI_REAL_F32, .feature_weights = weights};
    const struct fkmi_rows rows = {.n = N, .dim = dim, .dtype = FKM_DTYPE_F32, .x = x, .stride = dim};
    struct fkmi_sketch *sketch;
    struct fkmi_sketch_points points;
    struct count count = {0, 0, 0, 0};
    double wide[2][MOST_DIM], held[N];
    int64_t *places, drawn[POINTS];
    int64_t cols;
    void *memory;
    float *scores = aligned_alloc(64, 32 * 32 * sizeof *scores);
    uint16_t *maybe = calloc(N, sizeof *maybe);

    CHECK_OK(fkm_context_create(NULL, &context));
    CHECK_OK(fkmi_sketch_create(context, &space, &rows, NULL, &sketch, &places));
    cols = sketch->tile->cols;
    for (int j = 0; j < POINTS; j++)
        drawn[j] = j * N / POINTS;
    for (int i = 0; i < N; i++) { /* a share of the distance to the first point */
        for (int d = 0; d < dim; d++) {
            wide[0][d] = (double)x[places[i] * dim + d];
            wide[1][d] = (double)x[places[drawn[0]] * dim + d];
        }
        held[i] = share * naive_distance(metric, wide[0], wide[1], weights, NULL, dim);
    }
    for (int64_t panel = 0; panel < sketch->n_panels; panel++)
        fkmi_sketch_update(sketch, panel, held + panel * cols);
    memory = aligned_alloc(64, (fkmi_sketch_points_size(sketch, POINTS) + 63) / 64 * 64);
    fkmi_sketch_load_points(sketch, drawn, POINTS, memory, &points);
    fkmi_sketch_screen(sketch, &points, 0, N, scores, maybe);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < POINTS; j++) {
            const bool kept = maybe[i] >> j & 1;
            bool nearer;

            for (int d = 0; d < dim; d++) {
                wide[0][d] = (double)x[places[i] * dim + d];
                wide[1][d] = (double)x[places[drawn[j]] * dim + d];
            }
            nearer = held[i] > 0 && naive_distance(metric, wide[0], wide[1], weights, NULL, dim) < held[i];
            count.nearer += nearer;
            count.missed += nearer && !kept;
            count.kept += kept && !nearer;
            count.pairs += !nearer;
        }
    free(memory);
    free(scores);
    free(maybe);
    fkmi_sketch_free(sketch);
    fkmi_free(places);
    fkm_context_free(context);
    return count;
}

TEST(no_nearer_point_is_ruled_out)
{
    static const int dims[] = {1, 2, 8, 9, 17, 64, 200};
    double weights[MOST_DIM];

    for (size_t at = 0; at < sizeof dims / sizeof *dims; at++)
        for (int kind = 0; kind < 12; kind++) {
            const int dim = dims[at];
            double sum = 0;
            struct count count;

            make_rows(dim, kind % 3 == 1 ? 1000 : 0, kind % 2 ? 1 : 0.01, (uint64_t)(kind + 1));
            for (int d = 0; d < dim; d++)
                sum += weights[d] = d % 5 == 4 ? 0 : 1 + d % 3;
            for (int d = 0; d < dim; d++)
                weights[d] *= dim / sum;
            if (kind % 3 == 2) /* one row beyond all measure */
                for (int d = 0; d < dim; d++)
                    x[7 * dim + d] = 1e7f;
            count = screen(kind % 2 ? FKM_METRIC_COSINE : FKM_METRIC_EUCLIDEAN, dim,
                           kind % 4 > 1 ? weights : NULL, kind < 6 ? 0.5 : 1);
            CHECK_INT(0, count.missed);
        }
}

TEST(most_far_points_are_ruled_out)
{
    for (int dim = 2; dim <= 200; dim *= 10) {
        struct count count;

        make_rows(dim, 0, 0.2, 5);
        count = screen(FKM_METRIC_EUCLIDEAN, dim, NULL, 0.1);
        CHECK(count.nearer > 0);
        CHECK(count.kept * 20 < count.pairs);
    }
}

static int ascending(const void *a, const void *b)
{
    const int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;

    return (i > j) - (i < j);
}

/* Sum over the leaves of what each key spans. */
static int64_t spans(const uint16_t *keys, const int64_t *order, int n, int leaf)
{
    int64_t sum = 0;

    for (int begin = 0; begin < n; begin += leaf)
        for (int key = 0; key < FKMI_KEYS; key++) {
            int least = 1 << 16, most = 0;
            for (int i = begin; i < n && i < begin + leaf; i++) {
                const int value = keys[order[i] * FKMI_KEYS + key];
                least = value < least ? value : least;
                most = value > most ? value : most;
            }
            sum += most - least;
        }
    return sum;
}

TEST(an_order_holds_every_row_once_and_puts_close_ones_together)
{
    enum { MOST = 9000, LEAF = 32 };
    static uint16_t keys[MOST * FKMI_KEYS];
    static int64_t order[MOST], as_given[MOST];
    static const int sizes[] = {1, 31, 32, 33, 63, 64, 65, 1000, MOST};
    struct naive_random random = {4};

    for (int kind = 0; kind < 4; kind++)
        for (size_t at = 0; at < sizeof sizes / sizeof *sizes; at++) {
            const int n = sizes[at];

            for (int i = 0; i < n * FKMI_KEYS; i++) /* keys of numbers; two numbers; one; infinite ones */
                keys[i] = (uint16_t)(kind == 0   ? 0x8000 + naive_below(&random, 0x7000)
                                     : kind == 1 ? 0x9000 + 0x1000 * naive_below(&random, 2)
                                     : kind == 2 ? 0xa000
                                                 : naive_below(&random, 0x10000));
            for (int i = 0; i < n; i++)
                order[i] = as_given[i] = i;
            CHECK_OK(fkmi_order_by_keys(NULL, keys, LEAF, n, order));
            if (kind == 0 && n >= 1000)
                CHECK(spans(keys, order, n, LEAF) * 10 < 9 * spans(keys, as_given, n, LEAF));
            qsort(order, (size_t)n, sizeof *order, ascending);
            for (int i = 0; i < n; i++)
                CHECK_INT(i, order[i]);
        }
}
