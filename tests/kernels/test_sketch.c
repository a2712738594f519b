/* test_sketch.c — sketches, of directions or of whole rows, never hide a nearer point, and rule out most of the others.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "backends/cpu/sketch.h"
#include "support/naive.h"
#include "support/test.h"

enum { N = 1500, MOST_DIM = 200, POINTS = 45, WORDS = 3 };

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

/* All rows against some of them; every row has the same distance to beat, or, now and then, none. */
static struct count screen(fkm_metric metric, int dim, const double *weights, double share, bool whole)
{
    fkm_context *context;
    const struct fkmi_space space = {
        .metric = metric, .dim = dim, .real = FKMI_REAL_F32, .feature_weights = weights};
    const struct fkmi_rows rows = {.n = N, .dim = dim, .dtype = FKM_DTYPE_F32, .x = x, .stride = dim};
    struct fkmi_sketch *sketch;
    struct fkmi_sketch_points points;
    struct fkmi_sketch_scratch scratch;
    struct fkmi_carve carve = {NULL, 0};
    struct count count = {0, 0, 0, 0};
    static double held[N], distance[N * POINTS];
    static uint32_t maybe[FKMI_SKETCH_BLOCK * WORDS];
    int64_t drawn[POINTS];

    CHECK_OK(fkm_context_create(NULL, &context));
    CHECK(fkmi_sketch_possible_whole(context, &space, &rows));
    if (whole)
        CHECK_OK(fkmi_sketch_create_whole(context, &space, &rows, &sketch));
    else {
        struct fkmi_sketch_trial *trial;

        CHECK_OK(fkmi_sketch_try(context, &space, &rows, &trial));
        CHECK_OK(fkmi_sketch_create(context, trial, &sketch));
        fkmi_sketch_trial_free(trial);
    }
    for (int j = 0; j < POINTS; j++)
        drawn[j] = j * N / POINTS;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < POINTS; j++) {
            double wide[2][MOST_DIM];

            for (int d = 0; d < dim; d++) {
                wide[0][d] = (double)x[i * dim + d];
                wide[1][d] = (double)x[drawn[j] * dim + d];
            }
            distance[i * POINTS + j] = naive_distance(metric, wide[0], wide[1], weights, NULL, dim);
        }
    for (int i = 0; i < N; i++) /* a share of the distance to the first point */
        held[i] = i % 97 == 5 ? 0 : share * distance[i * POINTS];
    fkmi_sketch_carve(&scratch, &carve, sketch);
    fkmi_sketch_carve_points(&points, &carve, sketch, POINTS);
    carve = (struct fkmi_carve){aligned_alloc(64, carve.used), 0};
    fkmi_sketch_carve(&scratch, &carve, sketch);
    fkmi_sketch_carve_points(&points, &carve, sketch, POINTS);
    fkmi_sketch_load_points(sketch, &rows, drawn, &scratch, &points);
    for (int64_t b = 0; b * FKMI_SKETCH_BLOCK < N; b++) {
        const int64_t first = b * FKMI_SKETCH_BLOCK;

        fkmi_sketch_screen(sketch, &rows, &points, b, held + first, &scratch, maybe);
        for (int64_t i = first; i < N && i < first + FKMI_SKETCH_BLOCK; i++)
            for (int j = 0; j < 32 * (WORDS - 1); j++) {
                const uint32_t *words = maybe + (i - first) * WORDS;
                const bool kept = (words[0] >> (j / 32) & 1) != 0 && (words[1 + j / 32] >> (j % 32) & 1) != 0;
                const bool nearer = j < POINTS && held[i] > 0 && distance[i * POINTS + j] < held[i];

                CHECK(!kept || (j < POINTS && held[i] > 0));
                count.nearer += nearer;
                count.missed += nearer && !kept;
                count.kept += kept && !nearer;
                count.pairs += !nearer;
            }
    }
    free(carve.base);
    fkmi_sketch_free(sketch);
    fkm_context_free(context);
    return count;
}

TEST(no_nearer_point_is_ruled_out)
{
    static const int dims[] = {1, 2, 8, 9, 32, 33, 64, 200};
    static double weights[MOST_DIM];

    for (size_t at = 0; at < sizeof dims / sizeof *dims; at++)
        for (int kind = 0; kind < 24; kind++) {
            const int dim = dims[at], far = kind % 6;
            double sum = 0;
            struct count count;

            make_rows(dim, far == 1 ? 1000 : 0, kind % 2 ? 1 : 0.01, (uint64_t)(kind + 1));
            for (int d = 0; d < dim; d++)
                sum += weights[d] = d % 5 == 4 ? 0 : 1 + d % 3;
            for (int d = 0; d < dim; d++)
                weights[d] *= dim / sum;
            for (int i = 0; i < N * dim; i++) /* tiny, huge */
                x[i] *= far == 3 ? 1e-17f : far == 4 ? 1e16f : 1;
            if (far == 2) /* one row beyond all measure; another that is next to nothing */
                for (int d = 0; d < dim; d++) {
                    x[7 * dim + d] = 1e17f;
                    x[1001 * dim + d] = 1e-17f;
                }
            if (far == 5) /* rows of a sample alone are far smaller than the others */
                for (int i = 0; i < N; i++)
                    for (int d = 0; d < dim && i % 3; d++)
                        x[i * dim + d] *= 1e12f;
            count = screen(kind % 2 ? FKM_METRIC_COSINE : FKM_METRIC_EUCLIDEAN, dim,
                           kind % 4 > 1 ? weights : NULL,
                           kind < 6    ? 0.5
                           : kind < 12 ? 1
                                       : 0.999,
                           kind % 8 > 3);
            CHECK_INT(0, count.missed);
        }
}

TEST(most_far_points_are_ruled_out)
{
    for (int whole = 0; whole < 2; whole++)
        for (int dim = 2; dim <= 200; dim *= 10)
            for (int offset = 0; offset < 2; offset++) {
                struct count count;

                make_rows(dim, 1000 * offset, 0.2, 5);
                count = screen(FKM_METRIC_EUCLIDEAN, dim, NULL, 0.1, whole);
                CHECK(count.nearer > 0);
                CHECK(count.kept * 20 < count.pairs);
            }
}
