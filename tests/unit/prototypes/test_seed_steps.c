/* test_seed_steps.c — each step of greedy k-means++ against plain loops, and what ruling distances out must not change.
 * SPDX-License-Identifier: Apache-2.0 */
#include "unit/prototypes/field.h"

#include <stdlib.h>

#include "base/interrupt.h"
#include "prototypes/seed.h"

static struct fkmi_space space_of(const struct field *f)
{
    return fkmi_state_space(&f->state, f->wish.metric);
}

static fkm_status seed(const struct field *f, int64_t k, uint64_t random, enum fkmi_screening screening,
                       double *points, int64_t *found)
{
    const struct fkmi_space space = space_of(f);
    int64_t *seeds = calloc((size_t)k, sizeof *seeds);
    fkm_status status = fkmi_seed_rows(f->context, &space, &f->rows, FKM_INIT_KMEANSPP, k,
                                       fkmi_random_from(random), screening, seeds, found);

    if (status == FKM_OK)
        status = fkmi_seed_points(f->context, &space, &f->rows, seeds, *found, points);
    free(seeds);
    return status;
}

/* ---- a step, in f64 */

static double naive_pull(const struct field *f, int64_t row, double distance)
{
    return field_weight(f, row) * (f->wish.metric == FKM_METRIC_L1 ? distance * distance : distance);
}

static double naive_to(const struct field *f, int64_t row, const double *point)
{
    const int dim = f->wish.dim;

    return naive_distance(f->wish.metric, f->loaded + row * dim, point, f->w,
                          f->mask ? f->mask + row * dim : NULL, dim);
}

/* Looks at rows, takes some of them, and compares gains, distances and sums. */
static void check_steps(struct field_wish wish, enum fkmi_screening screening)
{
    enum { LOOKS = 8, TAKEN = 3, MOST = 40 };
    struct field f;
    const struct fkmi_minima_family *family;
    const struct fkmi_minima_wish settings = {.k = LOOKS * TAKEN, .screening = screening};
    struct fkmi_minima *minima;
    struct fkmi_pack *pack = NULL;
    struct fkmi_space space;
    struct naive_random random = {wish.seed + 1};
    double *points, *held;
    int64_t drawn[MOST];
    const int64_t first = 5;

    field_make(&f, wish);
    space = space_of(&f);
    family = f.context->backend->minima;
    points = calloc((size_t)(MOST * wish.dim), sizeof *points);
    held = calloc((size_t)wish.n, sizeof *held);
    CHECK_OK(family->create(f.context, &space, &f.rows, &settings, &minima));
    memcpy(points, f.loaded + first * wish.dim, (size_t)wish.dim * sizeof *points);
    CHECK_OK(f.context->backend->pack(f.context, &space, FKM_DTYPE_F64, points, 1, wish.mask, &pack));
    CHECK_OK(family->start(f.context, minima, pack, &first));
    for (int row = 0; row < wish.n; row++)
        held[row] = naive_to(&f, row, points);
    for (int look = 0; look < LOOKS; look++) {
        const int n_points = look == 0 ? 1 : look % 2 ? MOST : 7;
        double sum = 0, expected = 0;

        for (int p = 0; p < n_points; p++) {
            drawn[p] = naive_below(&random, wish.n);
            memcpy(points + p * wish.dim, f.loaded + drawn[p] * wish.dim, (size_t)wish.dim * sizeof *points);
        }
        CHECK_OK(
            f.context->backend->pack(f.context, &space, FKM_DTYPE_F64, points, n_points, wish.mask, &pack));
        CHECK_OK(family->settle(f.context, minima));
        for (int64_t row = 0; row < wish.n; row++) { /* what stands before the look */
            CHECK_NEAR(field_weight(&f, row) > 0 ? held[row] : 0, minima->distance[row],
                       1e-9 * (1 + held[row]));
            expected += naive_pull(&f, row, held[row]);
        }
        for (int64_t b = 0; b < minima->n_blocks; b++)
            sum += minima->sum[b];
        CHECK_NEAR(expected, sum, 1e-9 * expected);
        CHECK_OK(family->look(f.context, minima, pack, drawn, n_points));
        for (int taken = 0; taken < TAKEN; taken++) { /* gains go by what was taken since */
            const int best = taken * 11 % n_points;

            for (int p = 0; p < n_points; p++) {
                double lowered = 0;

                for (int64_t row = 0; row < wish.n; row++)
                    lowered += naive_pull(&f, row, held[row]) -
                               naive_pull(&f, row, fmin(naive_to(&f, row, points + p * wish.dim), held[row]));
                CHECK_NEAR(lowered, family->gain(minima, p), 1e-9 * expected);
            }
            family->take(minima, best);
            for (int64_t row = 0; row < wish.n; row++)
                held[row] = fmin(naive_to(&f, row, points + best * wish.dim), held[row]);
        }
    }
    family->free(minima);
    f.context->backend->pack_free(pack);
    free(points);
    free(held);
    field_free(&f);
}

TEST(minima_gains_and_sums_are_those_of_plain_loops)
{
    for (int metric = 0; metric < 3; metric++)
        for (int kind = 0; kind < 16; kind++) {
            const struct field_wish wish = {
                FIELD_WISH,         .metric = (fkm_metric)metric, .n = 700,         .dim = kind & 8 ? 40 : 6,
                .weight = kind & 1, .feature_weights = kind & 2,  .mask = kind & 4, .threads = 2};
            struct field_wish sparse = wish;

            check_steps(wish, FKMI_SCREEN_IF_WORTH);
            check_steps(wish, FKMI_SCREEN_SKETCH);
            sparse.csr = true;
            sparse.mask = false;
            if (metric != FKM_METRIC_COSINE) /* some sparse rows are empty: no direction */
                check_steps(sparse, FKMI_SCREEN_IF_WORTH);
        }
}

/* As many points in one look as there may be: gains, and what is left once some have joined. */
TEST(a_look_may_be_for_a_thousand_points)
{
    enum { N = 1200, DIM = 40, TAKEN = 30 };

    for (enum fkmi_screening screening = FKMI_SCREEN_SKETCH; screening <= FKMI_SCREEN_NOTHING; screening++) {
        const struct fkmi_minima_wish settings = {.k = FKMI_MOST_TRIALS, .screening = screening};
        struct field f;
        struct fkmi_minima *minima;
        struct fkmi_pack *pack = NULL;
        struct naive_random random = {5};
        double *points = calloc((size_t)FKMI_MOST_TRIALS * DIM, sizeof *points), held[N];
        int64_t drawn[FKMI_MOST_TRIALS];

        field_make(&f, (struct field_wish){FIELD_WISH, .n = N, .dim = DIM, .classes = 30, .spread = 6,
                                           .dtype = FKM_DTYPE_F64, .threads = 2});
        const struct fkmi_space space = space_of(&f);
        const struct fkmi_minima_family *family = f.context->backend->minima;

        for (int p = 0; p < FKMI_MOST_TRIALS; p++) {
            drawn[p] = naive_below(&random, N);
            memcpy(points + p * DIM, f.loaded + drawn[p] * DIM, DIM * sizeof *points);
        }
        CHECK_OK(family->create(f.context, &space, &f.rows, &settings, &minima));
        CHECK_OK(f.context->backend->pack(f.context, &space, FKM_DTYPE_F64, points, 1, false, &pack));
        CHECK_OK(family->start(f.context, minima, pack, drawn));
        for (int i = 0; i < N; i++)
            held[i] = naive_to(&f, i, points);
        CHECK_OK(f.context->backend->pack(f.context, &space, FKM_DTYPE_F64, points, FKMI_MOST_TRIALS, false,
                                          &pack));
        CHECK_OK(family->look(f.context, minima, pack, drawn, FKMI_MOST_TRIALS));
        for (int taken = 0; taken < TAKEN; taken++) {
            const int j = FKMI_MOST_TRIALS - 1 - taken * 34;
            double gain = 0;

            for (int i = 0; i < N; i++) {
                const double d = fmin(naive_to(&f, i, points + j * DIM), held[i]);

                gain += naive_pull(&f, i, held[i]) - naive_pull(&f, i, d);
                held[i] = d;
            }
            CHECK_NEAR(gain, family->gain(minima, j), 1e-9 * (1 + gain));
            family->take(minima, j);
        }
        for (int i = 0; i < N; i++)
            CHECK_NEAR(held[i], minima->distance[i], 1e-9 * (1 + held[i]));
        CHECK(family->listed(minima) > 1 && family->listed(minima) < N);
        family->free(minima);
        f.context->backend->pack_free(pack);
        free(points);
        field_free(&f);
    }
}

/* ---- the same seeds */

/* Rows that try bounds: as they are, in few copies, heavy-tailed, with equal columns, tiny, huge. */
static void spoil(struct field *f, int kind)
{
    const int n = f->wish.n, dim = f->wish.dim;

    for (int i = 0; i < n; i++)
        for (int d = 0; d < dim; d++) {
            const double value = naive_get(f->stored, f->wish.dtype, i * dim + d);
            naive_set(f->stored, f->wish.dtype, i * dim + d,
                      kind == 1   ? naive_get(f->stored, f->wish.dtype, i % 50 * dim + d)
                      : kind == 2 ? exp(3 * value)
                      : kind == 3 ? (d % 2 ? 5 : value)
                      : kind == 4 ? value * 1e-18
                      : kind == 5 ? value * 1e17
                      : kind == 6 ? 1e4 + value
                                  : value);
        }
}

TEST(ruling_distances_out_changes_no_bit)
{
    static const int dims[] = {2, 8, 11, 40, 150};
    enum { K = 60 };
    double *with = calloc(K * 150, sizeof *with), *without = calloc(K * 150, sizeof *without);

    for (int kind = 0; kind < 7; kind++)
        for (int at = 0; at < 5; at++)
            for (int metric = 0; metric < 2; metric++) /* cosine, euclidean */
                for (int narrow = 0; narrow < 3; narrow++) {
                    static const fkm_dtype halves[] = {FKM_DTYPE_F16, FKM_DTYPE_BF16};
                    const bool half = narrow == 2 && kind != 2 && kind != 5; /* too large for f16 */
                    const fkm_dtype dtype = narrow == 0 ? FKM_DTYPE_F64
                                            : half      ? halves[at % 2]
                                                        : FKM_DTYPE_F32;
                    const enum fkmi_screening screening = (enum fkmi_screening)((kind + at + narrow) % 3);
                    const struct field_wish wish = {FIELD_WISH,       .metric = (fkm_metric)metric,
                                                    .n = 2100,        .dim = dims[at],
                                                    .classes = 7,     .spread = 8,
                                                    .k = 1,           .dtype = dtype,
                                                    .weight = at % 2, .feature_weights = kind % 2,
                                                    .threads = 2};
                    struct field f;
                    int64_t n_with, n_without;

                    field_make(&f, wish);
                    spoil(&f, kind);
                    CHECK_OK(seed(&f, K, 5, screening, with, &n_with));
                    CHECK_OK(seed(&f, K, 5, FKMI_SCREEN_NOTHING, without, &n_without));
                    CHECK_INT(n_without, n_with);
                    if (narrow < 2 && /* others can point the same way, or leave their type */
                        (kind == 0 || (kind == 1 && metric == 1)))
                        CHECK_INT(kind == 0 ? K : 50, n_with);
                    CHECK(memcmp(with, without, (size_t)(n_with * dims[at]) * (narrow ? 4 : 8)) == 0);
                    field_free(&f);
                }
    free(with);
    free(without);
}

TEST(sparse_rows_are_ruled_out_by_scores_without_a_difference)
{
    double with[40 * 9], without[40 * 9];

    for (int metric = 0; metric < 3; metric++) {
        struct field f;
        int64_t found;

        field_make(&f, (struct field_wish){FIELD_WISH, .metric = (fkm_metric)metric, .n = 900, .dim = 9,
                                           .csr = true, .spread = 6, .weight = true});
        CHECK_OK(seed(&f, 40, 5, FKMI_SCREEN_IF_WORTH, with, &found));
        CHECK_INT(40, found);
        CHECK_OK(seed(&f, 40, 5, FKMI_SCREEN_NOTHING, without, &found));
        CHECK(memcmp(with, without, sizeof with) == 0);
        field_free(&f);
    }
}

TEST(threads_do_not_change_seeds_by_sketches)
{
    double first[60 * 12], points[60 * 12];

    for (enum fkmi_screening screening = FKMI_SCREEN_IF_WORTH; screening <= FKMI_SCREEN_NOTHING; screening++)
        for (int threads = 1; threads <= 16; threads = threads < 4 ? threads + 1 : 2 * threads) {
            struct field f;
            int64_t found;

            field_make(&f, (struct field_wish){FIELD_WISH, .n = 5000, .dim = 12, .weight = true,
                                               .threads = threads});
            CHECK_OK(seed(&f, 60, 2, screening, points, &found));
            CHECK_INT(60, found);
            if (threads == 1 && screening == FKMI_SCREEN_IF_WORTH)
                memcpy(first, points, sizeof first);
            CHECK(memcmp(first, points, sizeof first) == 0);
            field_free(&f);
        }
}

/* Many rows: the first candidates are looked at by parts, and directions are asked whether they pay. */
TEST(many_rows_give_the_seeds_of_measuring_everything)
{
    enum { K = 90, DIM = 40 };
    static double points[3][K * DIM];

    for (int at = 0; at < 3; at++) {
        struct field f;
        int64_t found;

        field_make(&f, (struct field_wish){FIELD_WISH, .n = 17000, .dim = DIM, .classes = 30, .spread = 5,
                                           .dtype = FKM_DTYPE_F32, .threads = at == 1 ? 4 : 1});
        CHECK_OK(seed(&f, K, 3, at == 2 ? FKMI_SCREEN_NOTHING : FKMI_SCREEN_IF_WORTH, points[at], &found));
        CHECK_INT(K, found);
        CHECK(memcmp(points[0], points[at], K * DIM * sizeof(float)) == 0);
        field_free(&f);
    }
}

/* ---- rows drawn ahead */

enum { AHEAD = 6000 }; /* one row in 64 is drawn ahead at most: so many are for 15 steps of 6 candidates */

/* Nine clusters pull almost alike and one a little more, all beside a large one where the first seed lies. That one is the
 * second seed whenever it is among the 2 + floor(ln 3) candidates, of which each is a tenth of the time. */
TEST(the_second_seed_is_the_best_of_as_many_candidates_as_a_step_has)
{
    enum { RUNS = 100, N = 20000, DIM = 10, OTHERS = 40, CANDIDATES = 3 };
    struct field f;
    int64_t n_best = 0, n_runs = 0, found;
    double points[3 * DIM];
    const double p = 1 - pow(0.9, CANDIDATES);

    field_make(&f, (struct field_wish){FIELD_WISH, .n = N, .dim = DIM, .threads = 2});
    for (int64_t i = 0; i < N; i++)
        for (int d = 0; d < DIM; d++)
            naive_set(f.stored, FKM_DTYPE_F64, i * DIM + d,
                      i < OTHERS * DIM && i % DIM == d ? 10 + (d == 0 ? 0.1 : 0) : 0);
    for (uint64_t run = 0; run < RUNS; run++) {
        int from_origin = 0;

        CHECK_OK(seed(&f, 3, run, FKMI_SCREEN_IF_WORTH, points, &found));
        CHECK_INT(3, found);
        for (int d = 0; d < DIM; d++)
            from_origin += points[d] == 0;
        if (from_origin < DIM)
            continue;
        n_runs++;
        n_best += points[DIM] > 10;
    }
    CHECK(n_runs > RUNS / 2);
    CHECK_NEAR(p, (double)n_best / (double)n_runs, 4 * sqrt(p * (1 - p) / (double)n_runs));
    field_free(&f);
}

static int64_t draw(const double *pull, int64_t n, struct naive_random *random)
{
    double total = 0, place;

    for (int64_t i = 0; i < n; i++)
        total += pull[i];
    place = naive_uniform(random) * total;
    for (int64_t i = 0; i < n; i++) {
        if (place < pull[i])
            return i;
        place -= pull[i];
    }
    return n - 1;
}

/* The potential that greedy k-means++ leaves, step by step, each candidate drawn from what the step before left. */
static double naive_greedy(const struct field *f, int64_t k, struct naive_random *random)
{
    enum { N = AHEAD };
    const int n_candidates = 2 + (int)log((double)k), dim = f->wish.dim;
    double held[N], total = 0;
    int64_t best = naive_below(random, N);

    for (int i = 0; i < N; i++)
        held[i] = naive_to(f, i, f->loaded + best * dim);
    for (int64_t step = 1; step < k; step++) {
        double most = -1;
        int64_t drawn[16];

        for (int c = 0; c < n_candidates; c++)
            drawn[c] = draw(held, N, random);
        for (int c = 0; c < n_candidates; c++) {
            double gain = 0;

            for (int i = 0; i < N; i++)
                gain += held[i] - fmin(held[i], naive_to(f, i, f->loaded + drawn[c] * dim));
            if (gain > most) {
                most = gain;
                best = drawn[c];
            }
        }
        for (int i = 0; i < N; i++)
            held[i] = fmin(held[i], naive_to(f, i, f->loaded + best * dim));
    }
    for (int i = 0; i < N; i++)
        total += held[i];
    return total;
}

/* Drawing ahead changes no probability: means over many runs, against steps one by one. */
TEST(rows_drawn_ahead_are_as_good_as_rows_drawn_in_time)
{
    enum { RUNS = 40, K = 60, N = AHEAD, DIM = 4 };
    struct field f;
    struct naive_random random = {77};
    double points[K * DIM], sum[2] = {0}, square[2] = {0}, spread;

    field_make(&f, (struct field_wish){FIELD_WISH, .n = N, .dim = DIM, .classes = 40, .spread = 9});
    for (uint64_t run = 0; run < RUNS; run++)
        for (int naive = 0; naive < 2; naive++) {
            double potential = 0;
            int64_t found = K;

            if (naive)
                potential = naive_greedy(&f, K, &random);
            else
                CHECK_OK(seed(&f, K, run, FKMI_SCREEN_IF_WORTH, points, &found));
            for (int64_t i = 0; i < N && !naive; i++) {
                double least = INFINITY;
                for (int64_t j = 0; j < found; j++)
                    least = fmin(least, naive_to(&f, i, points + j * DIM));
                potential += least;
            }
            sum[naive] += potential / RUNS;
            square[naive] += potential * potential / RUNS;
        }
    spread = sqrt((square[0] - sum[0] * sum[0] + square[1] - sum[1] * sum[1]) / RUNS);
    CHECK(spread < 0.02 * sum[1]); /* or it would show nothing */
    CHECK_NEAR(sum[1], sum[0], 4 * spread);
    field_free(&f);
}

/* As many seeds as there are far, tight clusters find each of them, unless rows count that were drawn when their cluster had
 * no seed yet. */
TEST(rows_drawn_before_their_cluster_had_a_seed_count_no_more)
{
    enum { RUNS = 40, K = 16, N = AHEAD, DIM = 4 };
    struct naive_random random = {78};
    double points[K * DIM];
    struct field f;
    int64_t found;

    field_make(&f, (struct field_wish){FIELD_WISH, .n = N, .dim = DIM});
    for (int64_t i = 0; i < N; i++)
        for (int d = 0; d < DIM; d++)
            naive_set(f.stored, FKM_DTYPE_F64, i * DIM + d,
                      (i % DIM == d ? 100 * (double)(1 + i % K / DIM) : 0) + 1e-3 * naive_normal(&random));
    for (uint64_t run = 0; run < RUNS; run++) {
        bool served[K] = {false};

        CHECK_OK(seed(&f, K, run, FKMI_SCREEN_IF_WORTH, points, &found));
        CHECK_INT(K, found);
        for (int64_t j = 0; j < K; j++)
            for (int d = 0; d < DIM; d++)
                if (points[j * DIM + d] > 50)
                    served[d + DIM * ((int)(points[j * DIM + d] / 100 + 0.5) - 1)] = true;
        for (int c = 0; c < K; c++)
            CHECK(served[c]);
    }
    field_free(&f);
}

/* ---- two levels */

static double potential_of(const struct field *f, const int64_t *seeds, int64_t k)
{
    double sum = 0;

    for (int64_t i = 0; i < f->wish.n; i++) {
        double least = INFINITY;

        for (int64_t j = 0; j < k; j++)
            least = fmin(least, naive_to(f, i, f->loaded + seeds[j] * f->wish.dim));
        sum += naive_pull(f, i, least);
    }
    return sum;
}

TEST(seeds_by_groups_are_nearly_as_good_as_all_in_one_go)
{
    enum { N = 4000, K = 900 };
    static int64_t seeds[K], plain[K], first[K];

    for (int metric = 0; metric < 3; metric++) {
        double two = 0, one = 0;

        for (int threads = 1; threads <= 4; threads++) {
            struct field f;
            struct fkmi_space space;
            int64_t found;

            field_make(&f, (struct field_wish){FIELD_WISH, .metric = (fkm_metric)metric, .n = N, .dim = 4,
                                               .classes = 70, .spread = 7, .weight = metric != 1,
                                               .threads = threads});
            space = space_of(&f);
            CHECK_OK(fkmi_seed_by_groups(f.context, &space, &f.rows, K, fkmi_random_from(3), seeds, &found));
            CHECK_INT(K, found);
            if (threads == 1) {
                memcpy(first, seeds, sizeof seeds);
                CHECK_OK(fkmi_seed_at_once(f.context, &space, &f.rows, K, fkmi_random_from(3),
                                           FKMI_SCREEN_IF_WORTH, plain, &found, &one));
                CHECK_INT(K, found);
                CHECK_NEAR(potential_of(&f, plain, K), one, 1e-9 * one);
                two = potential_of(&f, seeds, K);
                CHECK(two < 1.2 * one);
            }
            CHECK(memcmp(first, seeds, sizeof seeds) == 0);
            for (int j = 0; j < K; j++) {
                CHECK(seeds[j] >= 0 && seeds[j] < N && field_weight(&f, seeds[j]) > 0);
                for (int i = 0; i < j; i++)
                    CHECK(seeds[i] != seeds[j]);
            }
            field_free(&f);
        }
    }
}

TEST(many_seeds_among_equal_rows_are_all_that_differ)
{
    enum { N = 11000, KINDS = 90, MANY = 9000 };
    static double points[MANY * 5];
    struct field f;
    int64_t found;

    field_make(&f, (struct field_wish){FIELD_WISH, .n = N});
    for (int i = KINDS; i < N; i++)
        for (int d = 0; d < f.wish.dim; d++)
            naive_set(f.stored, f.wish.dtype, i * f.wish.dim + d,
                      naive_get(f.stored, f.wish.dtype, i % KINDS * f.wish.dim + d));
    CHECK_OK(seed(&f, MANY, 1, FKMI_SCREEN_IF_WORTH, points, &found));
    CHECK_INT(KINDS, found);
    field_free(&f);
    field_make(&f, (struct field_wish){FIELD_WISH, .n = N});
    CHECK_OK(seed(&f, MANY, 1, FKMI_SCREEN_IF_WORTH, points, &found));
    CHECK_INT(MANY, found);
    field_free(&f);
}

/* ---- ends */

TEST(there_may_be_one_row_and_more_seeds_than_rows)
{
    for (enum fkmi_screening screening = FKMI_SCREEN_IF_WORTH; screening <= FKMI_SCREEN_NOTHING; screening++)
        for (int n = 1; n <= 70; n += 23) {
            struct field f;
            double points[80 * 5];
            int64_t found;

            field_make(&f, (struct field_wish){FIELD_WISH, .n = n, .classes = 1, .k = 1});
            CHECK_OK(seed(&f, 80, 1, screening, points, &found));
            CHECK_INT(n, found);
            field_free(&f);
        }
}

TEST(a_failed_allocation_of_a_sketch_is_reported)
{
    struct field f;
    double points[20 * 30];
    int64_t found, n = 1;
    fkm_status status;

    field_make(&f, (struct field_wish){FIELD_WISH, .n = 300, .dim = 30, .feature_weights = true});
    do {
        (void)fkmi_memory_fail(n, 1);
        status = seed(&f, 20, 1, FKMI_SCREEN_SKETCH, points, &found);
        (void)fkmi_memory_fail(0, 0);
        CHECK(status == FKM_OK || status == FKM_ENOMEM);
    } while (status != FKM_OK && n++ < 300);
    CHECK(n > 20 && n < 300);
    field_free(&f);
}

static int64_t asked, stop_at;
static int ask(void *user)
{
    (void)user;
    return ++asked == stop_at;
}

/* A class seeded inside a parallel call. */
static fkm_status seed_class(void *job, int64_t begin, int64_t end, int thread)
{
    double points[40 * 12];
    int64_t found;

    (void)begin;
    (void)end;
    (void)thread;
    return seed(job, 40, 2, FKMI_SCREEN_SKETCH, points, &found);
}

TEST(seeding_stops_when_asked_to)
{
    for (int csr = 0; csr < 2; csr++) {
        struct field f;
        int64_t n_stopped = 0;

        field_make(&f, (struct field_wish){FIELD_WISH, .n = 3000, .dim = 12, .csr = csr});
        fkmi_interrupt_every(0);
        fkm_set_interrupt(ask, NULL);
        for (stop_at = 1; stop_at < 100000; stop_at += 1 + stop_at / 4) {
            fkm_status status;

            asked = 0;
            status = fkmi_parallel(f.context->pool, 1, 1, seed_class, &f);
            CHECK_INT(asked >= stop_at ? FKM_EINTERRUPTED : FKM_OK, status);
            n_stopped += status == FKM_EINTERRUPTED;
            if (status == FKM_OK)
                break;
        }
        fkm_set_interrupt(NULL, NULL);
        fkmi_interrupt_every(-1);
        CHECK(n_stopped > 10);
        field_free(&f);
    }
}
