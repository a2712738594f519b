/* test_seed.c — where seeds fall, how likely, and how many are worth having.
 * SPDX-License-Identifier: Apache-2.0 */
#include "unit/prototypes/field.h"

#include <stdlib.h>

#include "prototypes/seed.h"

static fkm_status seed(const struct field *f, fkm_init init, int64_t k, uint64_t random, double *points,
                       int64_t *found)
{
    const struct fkmi_space space = fkmi_state_space(&f->state, f->wish.metric);

    return fkmi_seed(f->context, &space, &f->rows, init, k, fkmi_random_from(random), points, found);
}

/* The row that a point is; -1: none. */
static int64_t row_of(const struct field *f, const double *point)
{
    const int dim = f->wish.dim;

    for (int i = 0; i < f->wish.n; i++) {
        int d = 0;
        while (d < dim && fabs(point[d] - f->loaded[i * dim + d]) < 1e-12)
            d++;
        if (d == dim)
            return i;
    }
    return -1;
}

/* sum u D^2 to the nearest of k points. */
static double potential(const struct field *f, const double *points, int64_t k)
{
    double sum = 0;

    for (int i = 0; i < f->wish.n; i++) {
        int64_t index;
        double d;
        naive_nearest(f->wish.metric, f->loaded + i * f->wish.dim, points, f->wish.dim, f->w,
                      f->mask ? f->mask + i * f->wish.dim : NULL, 0, k, 0, 0, 1, &index, &d);
        sum += field_weight(f, i) * (f->wish.metric == FKM_METRIC_L1 ? d * d : d);
    }
    return sum;
}

TEST(seeds_are_different_rows_with_weight)
{
    for (int metric = 0; metric < 3; metric++)
        for (int init = 0; init < 2; init++) {
            struct field f;
            double points[30 * 5];
            int64_t found, taken[30];

            field_make(&f, (struct field_wish){FIELD_WISH, .metric = (fkm_metric)metric, .weight = true,
                                               .feature_weights = metric == 1});
            CHECK_OK(seed(&f, (fkm_init)init, 30, 9, points, &found));
            CHECK_INT(30, found);
            for (int j = 0; j < 30; j++) {
                taken[j] = row_of(&f, points + j * 5);
                CHECK(taken[j] >= 0);
                CHECK(field_weight(&f, taken[j]) > 0);
                for (int i = 0; i < j; i++)
                    CHECK(taken[i] != taken[j]);
            }
            field_free(&f);
        }
}

/* Greedy k-means++ must beat random rows clearly: averaged over seeds, on clustered rows. */
TEST(the_potential_is_lower_than_that_of_random_rows)
{
    for (int metric = 0; metric < 3; metric++) {
        struct field f;
        double greedy = 0, random = 0, points[8 * 5];
        int64_t found;

        field_make(&f, (struct field_wish){FIELD_WISH, .metric = (fkm_metric)metric, .n = 400, .classes = 5,
                                           .spread = 12});
        for (uint64_t s = 0; s < 20; s++) {
            CHECK_OK(seed(&f, FKM_INIT_KMEANSPP, 8, s, points, &found));
            greedy += potential(&f, points, 8);
            CHECK_OK(seed(&f, FKM_INIT_RANDOM, 8, s, points, &found));
            random += potential(&f, points, 8);
        }
        CHECK(greedy < 0.8 * random);
        field_free(&f);
    }
}

/* Three places with weights: every outcome's probability can be counted. D is the distance itself: euclidean
 * ones are squared, and so are those of l1 before they count. */
static void check_draws(fkm_metric metric)
{
    static const double place[3] = {0, 1, 3};
    static const float weight[3] = {5, 2, 1};
    struct field f;
    double rows[3], expected[3][3] = {{0}}, counted[3][3] = {{0}};
    const int runs = 20000;

    field_make(&f, (struct field_wish){FIELD_WISH, .metric = metric, .n = 3, .dim = 1, .classes = 1, .k = 1});
    memcpy(rows, place, sizeof rows);
    f.rows.x = rows;
    f.rows.weight = weight;
    for (int a = 0; a < 3; a++) { /* first by weight; then the better of two drawn by u D^2 */
        double pull[3], left[3], total = 0;
        for (int i = 0; i < 3; i++)
            total += pull[i] = (double)weight[i] * (place[i] - place[a]) * (place[i] - place[a]);
        for (int b = 0; b < 3; b++) {
            left[b] = 0;
            for (int i = 0; i < 3; i++)
                left[b] += (double)weight[i] * fmin((place[i] - place[a]) * (place[i] - place[a]),
                                                    (place[i] - place[b]) * (place[i] - place[b]));
        }
        for (int b = 0; b < 3; b++)
            for (int c = 0; c < 3; c++)
                expected[a][left[c] < left[b] ? c : b] +=
                    (double)weight[a] / 8 * pull[b] / total * pull[c] / total;
    }
    for (int run = 0; run < runs; run++) {
        double points[2];
        int64_t found;
        int a = 0, b = 0;
        CHECK_OK(seed(&f, FKM_INIT_KMEANSPP, 2, (uint64_t)run, points, &found));
        CHECK_INT(2, found);
        while (place[a] != points[0])
            a++;
        while (place[b] != points[1])
            b++;
        counted[a][b] += 1.0 / runs;
    }
    for (int a = 0; a < 3; a++)
        for (int b = 0; b < 3; b++)
            CHECK_NEAR(expected[a][b], counted[a][b], 4.5 * sqrt(expected[a][b] / runs) + 1e-12);
    field_free(&f);
}

TEST(candidates_are_drawn_in_proportion_to_weight_and_distance)
{
    check_draws(FKM_METRIC_EUCLIDEAN);
    check_draws(FKM_METRIC_L1);
}

TEST(equal_rows_give_one_seed_each)
{
    for (int metric = 0; metric < 3; metric++)
        for (int init = 0; init < 2; init++)
            for (int dtype = 0; dtype < 2; dtype++) {
                struct field f;
                double points[20 * 3];
                int64_t found;

                field_make(&f, (struct field_wish){FIELD_WISH, .metric = (fkm_metric)metric, .n = 50,
                                                   .dim = 3, .dtype = dtype ? FKM_DTYPE_F32 : FKM_DTYPE_F64});
                for (int i = 4; i < 50; i++) /* four kinds of rows */
                    for (int d = 0; d < 3; d++)
                        naive_set(f.stored, f.wish.dtype, i * 3 + d, f.x[i % 4 * 3 + d]);
                CHECK_OK(seed(&f, (fkm_init)init, 20, 1, points, &found));
                CHECK_INT(4, found);
                field_free(&f);
            }
}

TEST(zero_rows_are_no_seeds_for_cosine)
{
    struct field f;
    double points[10 * 3];
    int64_t found;

    field_make(&f, (struct field_wish){FIELD_WISH, .metric = FKM_METRIC_COSINE, .n = 12, .dim = 3});
    for (int i = 3; i < 12; i++)
        for (int d = 0; d < 3; d++)
            naive_set(f.stored, f.wish.dtype, i * 3 + d, 0);
    CHECK_OK(seed(&f, FKM_INIT_KMEANSPP, 10, 1, points, &found));
    CHECK_INT(3, found);
    for (int j = 0; j < 3; j++)
        CHECK_NEAR(1,
                   points[j * 3] * points[j * 3] + points[j * 3 + 1] * points[j * 3 + 1] +
                       points[j * 3 + 2] * points[j * 3 + 2],
                   1e-12);
    memset(f.stored, 0, 36 * sizeof(double)); /* all are zero: one seed, somewhere */
    CHECK_OK(seed(&f, FKM_INIT_KMEANSPP, 10, 1, points, &found));
    CHECK_INT(1, found);
    field_free(&f);
}

TEST(rows_without_weight_are_taken_when_there_are_no_others)
{
    struct field f;
    double points[4 * 5];
    int64_t found;
    float none[120] = {0};

    field_make(&f, (struct field_wish){FIELD_WISH});
    f.rows.weight = none;
    CHECK_OK(seed(&f, FKM_INIT_KMEANSPP, 4, 1, points, &found));
    CHECK_INT(4, found);
    field_free(&f);
}

TEST(masked_coordinates_take_the_mean)
{
    struct field f;
    double points[10 * 5], mean[5];
    int64_t found;

    field_make(&f, (struct field_wish){FIELD_WISH, .mask = true, .weight = true});
    for (int d = 0; d < 5; d++) {
        double sum = 0, age = 0;
        for (int i = 0; i < 120; i++) {
            sum += field_weight(&f, i) * field_mask(&f, i, d) * f.loaded[i * 5 + d];
            age += field_weight(&f, i) * field_mask(&f, i, d);
        }
        mean[d] = sum / age;
    }
    CHECK_OK(seed(&f, FKM_INIT_KMEANSPP, 10, 4, points, &found));
    CHECK_INT(10, found);
    for (int j = 0; j < 10; j++) {
        bool is_row = false;
        for (int i = 0; i < 120 && !is_row; i++) {
            int d = 0;
            while (d < 5 && fabs(points[j * 5 + d] -
                                 (field_mask(&f, i, d) > 0 ? f.loaded[i * 5 + d] : mean[d])) < 1e-12)
                d++;
            is_row = d == 5;
        }
        CHECK(is_row);
    }
    field_free(&f);
}

TEST(sparse_rows_give_the_seeds_of_dense_ones)
{
    struct field f;
    double a[10 * 5], b[10 * 5];
    int64_t found;

    field_make(&f, (struct field_wish){FIELD_WISH, .csr = true});
    CHECK_OK(seed(&f, FKM_INIT_KMEANSPP, 10, 4, a, &found));
    f.rows = (struct fkmi_rows){.n = 120, .dim = 5, .dtype = FKM_DTYPE_F64, .x = f.x, .stride = 5};
    CHECK_OK(seed(&f, FKM_INIT_KMEANSPP, 10, 4, b, &found));
    for (int i = 0; i < 50; i++)
        CHECK_NEAR(b[i], a[i], 1e-12);
    field_free(&f);
}

TEST(threads_do_not_change_seeds)
{
    double first[40 * 5];

    for (int threads = 1; threads <= 8; threads *= 2) {
        struct field f;
        double points[40 * 5];
        int64_t found;

        field_make(&f, (struct field_wish){FIELD_WISH, .n = 5000, .weight = true, .threads = threads});
        CHECK_OK(seed(&f, FKM_INIT_KMEANSPP, 40, 2, points, &found));
        CHECK_INT(40, found);
        if (threads == 1)
            memcpy(first, points, sizeof first);
        CHECK(memcmp(first, points, sizeof first) == 0);
        field_free(&f);
    }
}

TEST(a_view_seeds_from_its_rows_only)
{
    struct field f;
    int64_t order[30], found;
    double points[8 * 5];
    struct fkmi_rows all;

    field_make(&f, (struct field_wish){FIELD_WISH});
    for (int i = 0; i < 30; i++)
        order[i] = 90 + (i * 7) % 30;
    all = f.rows;
    f.rows = fkmi_rows_pick(&all, order, 30);
    CHECK_OK(seed(&f, FKM_INIT_KMEANSPP, 8, 1, points, &found));
    for (int j = 0; j < 8; j++)
        CHECK(row_of(&f, points + j * 5) >= 90);
    field_free(&f);
}

TEST(a_failed_allocation_is_reported)
{
    struct field f;
    double points[8 * 5];
    int64_t found, n = 1;
    fkm_status status;

    field_make(&f, (struct field_wish){FIELD_WISH, .mask = true});
    do {
        (void)fkmi_memory_fail(n, 0);
        status = seed(&f, FKM_INIT_KMEANSPP, 8, 1, points, &found);
        (void)fkmi_memory_fail(0, 0);
        CHECK(status == FKM_OK || status == FKM_ENOMEM);
    } while (status != FKM_OK && n++ < 200);
    CHECK(n > 5 && n < 200);
    field_free(&f);
}

/* ---- auto_k */

static int64_t naive_auto_k(const struct field *f, bool scaled)
{
    const int n = f->wish.n, dim = f->wish.dim;
    double *mean = calloc((size_t)dim, sizeof *mean), weight = 0, spread = 0, likeness = 0, present = 0;

    for (int d = 0; d < dim; d++) {
        double sum = 0, age = 0;
        for (int i = 0; i < n; i++) {
            sum += field_weight(f, i) * field_mask(f, i, d) * f->loaded[i * dim + d];
            age += field_weight(f, i) * field_mask(f, i, d);
        }
        mean[d] = sum / age;
    }
    for (int turn = 0; turn < 2; turn++)
        for (int i = 0; i < n; i++) {
            const double d = naive_distance(f->wish.metric, f->loaded + i * dim, mean, f->w,
                                            f->mask ? f->mask + i * dim : NULL, dim);
            const double s = scaled ? spread / weight : 1;
            const double sim = f->wish.metric == FKM_METRIC_COSINE ? 1 - d : 1 / (1 + d / s);
            if (turn == 0) {
                weight += field_weight(f, i);
                spread += field_weight(f, i) * d;
                present += field_weight(f, i) > 0;
            } else
                likeness += field_weight(f, i) * fmin(fmax(sim, 0), 1);
        }
    free(mean);
    return (int64_t)fmax(1, fmin(present, ceil(3 * sqrt(present) * (1 - likeness / weight))));
}

TEST(auto_k_follows_the_formula)
{
    for (int metric = 0; metric < 3; metric++)
        for (int kind = 0; kind < 8; kind++) {
            struct field f;
            struct fkmi_space space;
            int64_t k;

            field_make(&f, (struct field_wish){FIELD_WISH, .metric = (fkm_metric)metric, .mask = kind & 1,
                                               .weight = kind & 2, .feature_weights = kind & 4});
            space = fkmi_state_space(&f.state, f.wish.metric);
            for (int scaled = 0; scaled < 2; scaled++) {
                CHECK_OK(fkmi_auto_k(f.context, &space, &f.rows, scaled, &k));
                CHECK_INT(naive_auto_k(&f, scaled && metric != FKM_METRIC_COSINE), k);
            }
            field_free(&f);
        }
}

TEST(auto_k_is_at_least_one_and_at_most_n)
{
    struct field f;
    struct fkmi_space space;
    int64_t k;

    field_make(&f, (struct field_wish){FIELD_WISH, .n = 4, .spread = 0, .offset = 0});
    space = fkmi_state_space(&f.state, f.wish.metric);
    for (int i = 0; i < 20; i++)
        ((double *)f.stored)[i] = i / 5 * 1e6;
    CHECK_OK(fkmi_auto_k(f.context, &space, &f.rows, false, &k));
    CHECK_INT(4, k);
    memset(f.stored, 0, 20 * sizeof(double));
    CHECK_OK(fkmi_auto_k(f.context, &space, &f.rows, true, &k));
    CHECK_INT(1, k);
    field_free(&f);
}
