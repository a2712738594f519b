/* test_maintain.c — truncation, pruning and merging against plain loops.
 * SPDX-License-Identifier: Apache-2.0 */
#include "unit/prototypes/field.h"

#include <stdlib.h>

#include "prototypes/maintain.h"

static int64_t run(struct field *f, double light, const int64_t **old_of_new)
{
    struct fkmi_upkeep upkeep;
    int64_t removed;

    fkmi_arena_reset(&f->work.arena);
    CHECK_OK(fkmi_upkeep_take(&upkeep, &f->work.arena, &f->params, &f->state));
    CHECK_OK(fkmi_upkeep_run(&upkeep, f->context, &f->params, &f->state, light, &removed));
    if (old_of_new)
        *old_of_new = upkeep.old_of_new;
    return removed;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* numpy's quantile. */
static double naive_quantile(double *values, int64_t n, double q)
{
    const double place = q * (double)(n - 1);
    const int64_t rank = (int64_t)place;

    qsort(values, (size_t)n, sizeof *values, compare);
    return rank + 1 < n ? values[rank] + (place - (double)rank) * (values[rank + 1] - values[rank])
                        : values[rank];
}

static double distance(const struct field *f, const double *points, int64_t a, int64_t b)
{
    return naive_distance(f->wish.metric, points + a * f->wish.dim, points + b * f->wish.dim, f->w, NULL,
                          f->wish.dim);
}

/* All pairwise distances of k points; returns how many. */
static int64_t all_pairs(const struct field *f, const double *points, int64_t k, double *pairs)
{
    int64_t n = 0;

    for (int64_t a = 0; a < k; a++)
        for (int64_t b = 0; b < a; b++)
            pairs[n++] = distance(f, points, a, b);
    return n;
}

/* Merges the nearest pair of a class below the limit until there is none; alive: k flags. */
static int64_t naive_merge(const struct field *f, double *points, double *mass, uint8_t *alive, double below)
{
    const int dim = f->wish.dim;

    for (int64_t merged = 0;; merged++) {
        int64_t best_a = -1, best_b = -1;
        double best = below, sum;
        for (int c = 0; c < f->wish.classes; c++)
            for (int64_t a = f->state.class_begin[c]; a < f->state.class_begin[c + 1]; a++)
                for (int64_t b = a + 1; b < f->state.class_begin[c + 1]; b++)
                    if (alive[a] && alive[b] && !f->state.frozen[a] && !f->state.frozen[b] &&
                        distance(f, points, a, b) < best) {
                        best = distance(f, points, a, b);
                        best_a = a;
                        best_b = b;
                    }
        if (best_a < 0)
            return merged;
        sum = mass[best_a] + mass[best_b];
        for (int d = 0; d < dim; d++)
            points[best_a * dim + d] =
                (mass[best_a] * points[best_a * dim + d] + mass[best_b] * points[best_b * dim + d]) / sum;
        naive_normalise(f, points + best_a * dim);
        mass[best_a] = sum;
        alive[best_b] = 0;
    }
}

static void check_merge(struct field_wish wish, double threshold, bool relative, double percentile)
{
    struct field f;
    const int64_t k = wish.classes * wish.k;
    double *points, *mass = calloc((size_t)k, sizeof *mass), *pairs = calloc((size_t)(k * k), sizeof *pairs);
    double mean = 0, below = threshold;
    uint8_t *alive = calloc((size_t)k, 1);
    const int64_t *old_of_new;
    int64_t merged, n, to = 0;

    field_make(&f, wish);
    points = field_points(&f.state);
    for (int64_t j = 0; j < k; j++) {
        f.state.mass[j] = mass[j] = 1 + (double)(j % 7);
        f.state.frozen[j] = j % 9 == 4;
        alive[j] = 1;
    }
    n = all_pairs(&f, points, k, pairs);
    for (int64_t i = 0; i < n; i++)
        mean += pairs[i] / (double)n;
    if (relative)
        below *= mean;
    if (percentile >= 0)
        below = fmin(below, naive_quantile(pairs, n, percentile));
    f.params.merge_threshold = threshold;
    f.params.relative_merge = relative;
    f.params.percentile_threshold = percentile;
    merged = naive_merge(&f, points, mass, alive, below);
    CHECK(merged > 3 && merged < k - wish.classes); /* the case says something */
    CHECK_INT(merged, run(&f, 0, &old_of_new));
    CHECK_INT(k - merged, f.state.k);
    for (int64_t j = 0; j < k; j++) {
        if (!alive[j])
            continue;
        CHECK_INT(j, old_of_new[to]);
        CHECK_NEAR(mass[j], f.state.mass[to], 1e-12);
        for (int d = 0; d < wish.dim; d++)
            CHECK_NEAR(points[j * wish.dim + d], field_point(&f.state, to, d), 1e-12);
        to++;
    }
    free(points);
    free(mass);
    free(pairs);
    free(alive);
    field_free(&f);
}

TEST(the_nearest_pairs_merge_first)
{
    for (int weights = 0; weights < 2; weights++) {
        const struct field_wish wish = {FIELD_WISH, .k = 20, .feature_weights = weights, .threads = 2};
        struct field_wish l1 = wish, cosine = wish;
        l1.metric = FKM_METRIC_L1;
        cosine.metric = FKM_METRIC_COSINE;
        check_merge(wish, 4, false, -1);
        check_merge(l1, 3.5, false, -1);
        check_merge(cosine, 0.2, false, -1);
    }
}

TEST(classes_of_many_merge_the_same_pairs)
{
    for (int kind = 0; kind < 4;
         kind++) { /* f32 decides the same where pairs are not too close to each other */
        struct field_wish wish = {FIELD_WISH,   .n = 500, .k = 80, .dim = 9, .feature_weights = kind & 1,
                                  .threads = 2, .seed = 7};
        struct field_wish cosine = wish;

        cosine.metric = FKM_METRIC_COSINE;
        check_merge(wish, 8, false, -1);
        check_merge(cosine, 0.15, false, -1);
        check_merge(wish, 0.3, true, kind & 2 ? 0.05 : -1);
    }
}

TEST(relative_and_percentile_limits_look_at_all_pairs)
{
    const struct field_wish wish = {FIELD_WISH, .k = 20};

    check_merge(wish, 0.4, true, -1);
    check_merge(wish, 1e9, false, 0.05);
    check_merge(wish, 0.4, true, 0.9);
    check_merge(wish, 4, false, 0.9);
}

TEST(identical_prototypes_merge_whatever_their_masses)
{
    struct field f;

    field_make(&f, (struct field_wish){FIELD_WISH, .classes = 1, .k = 4});
    for (int i = 0; i < 20; i++)
        ((double *)f.state.points)[i] = i % 5;
    for (int j = 0; j < 4; j++)
        f.state.mass[j] = 0;
    f.params.merge_threshold = 1e-6;
    CHECK_INT(3, run(&f, 0, NULL));
    CHECK_INT(1, f.state.k);
    for (int d = 0; d < 5; d++)
        CHECK_NEAR(d, field_point(&f.state, 0, d), 0);
    field_free(&f);
}

TEST(merging_blends_ages_and_targets)
{
    struct field f;

    field_make(&f, (struct field_wish){FIELD_WISH, .dim = 2, .classes = 1, .k = 2, .targets = 1});
    CHECK_OK(fkmi_state_need_ages(&f.state));
    memcpy(f.state.points, (double[]){1, 0, 2, 8}, 4 * sizeof(double));
    memcpy(f.state.ages, (double[]){3, 0, 1, 4}, 4 * sizeof(double));
    memcpy(f.state.mass, (double[]){3, 5}, 2 * sizeof(double));
    memcpy(f.state.targets, (double[]){10, 18}, 2 * sizeof(double));
    f.params.merge_threshold = 1e9;
    CHECK_INT(1, run(&f, 0, NULL));
    CHECK_NEAR(1.25, field_point(&f.state, 0, 0), 1e-15);
    CHECK_NEAR(8, field_point(&f.state, 0, 1), 1e-15);
    CHECK_NEAR(4, f.state.ages[0], 0);
    CHECK_NEAR(4, f.state.ages[1], 0);
    CHECK_NEAR(8, f.state.mass[0], 0);
    CHECK_NEAR(15, f.state.targets[0], 1e-12);
    field_free(&f);
}

TEST(light_prototypes_go_but_the_heaviest_and_the_frozen_stay)
{
    struct field f;
    static const double mass[9] = {0.5, 2, 0.1, 0.2, 0.3, 0.1, 5, 0.4, 6};
    static const int64_t left[6] = {0, 1, 3, 4, 6, 8}; /* 3 frozen; 4 the heaviest of a light class */
    const int64_t *old_of_new;

    field_make(&f, (struct field_wish){FIELD_WISH, .classes = 3, .k = 3});
    memcpy(f.state.mass, mass, sizeof mass);
    f.state.frozen[3] = 1;
    CHECK_INT(3, run(&f, 0.5, &old_of_new));
    CHECK_INT(6, f.state.k);
    for (int j = 0; j < 6; j++) {
        CHECK_INT(left[j], old_of_new[j]);
        CHECK_NEAR(mass[left[j]], f.state.mass[j], 0);
    }
    field_free(&f);
}

static void check_truncation(fkm_metric metric, double threshold, double percentile)
{
    struct field f;
    double *points, *sorted, below = threshold;
    int cut = 0;

    field_make(&f, (struct field_wish){FIELD_WISH, .metric = metric, .k = 10, .dim = 8, .spread = 0});
    points = field_points(&f.state);
    sorted = field_points(&f.state);
    f.params.sparse = 1;
    f.params.truncation_threshold = threshold;
    f.params.percentile_threshold = percentile;
    f.state.frozen[5] = 1;
    for (int i = 0; i < 240; i++)
        sorted[i] = fabs(sorted[i]);
    if (percentile >= 0)
        below = fmin(below, naive_quantile(sorted, 240, percentile));
    CHECK_INT(0, run(&f, 0, NULL));
    for (int j = 0; j < 30; j++) {
        for (int d = 0; d < 8; d++)
            if (fabs(points[j * 8 + d]) < below && j != 5) {
                points[j * 8 + d] = 0;
                cut++;
            }
        naive_normalise(&f, points + j * 8);
        for (int d = 0; d < 8; d++)
            CHECK_NEAR(points[j * 8 + d], field_point(&f.state, j, d), 1e-12);
    }
    CHECK(cut > 5 && cut < 200);
    f.params.sparse = 0; /* nothing happens unless asked */
    ((double *)f.state.points)[0] = threshold / 2;
    CHECK_INT(0, run(&f, 0, NULL));
    CHECK_NEAR(threshold / 2, field_point(&f.state, 0, 0), 0);
    free(points);
    free(sorted);
    field_free(&f);
}

TEST(small_coordinates_become_zero)
{
    check_truncation(FKM_METRIC_EUCLIDEAN, 0.3, -1);
    check_truncation(FKM_METRIC_COSINE, 0.1, -1);
    check_truncation(FKM_METRIC_COSINE, 0.5, 0.1);
    check_truncation(FKM_METRIC_L1, 1e9, 0.25);
}

TEST(truncation_leaves_a_direction)
{
    struct field f;
    double *before, *after;

    field_make(&f, (struct field_wish){FIELD_WISH, .metric = FKM_METRIC_COSINE});
    f.params.sparse = 1;
    f.params.truncation_threshold = 2; /* above every coordinate of a unit vector */
    before = field_points(&f.state);
    CHECK_INT(0, run(&f, 0, NULL));
    after = field_points(&f.state);
    for (int i = 0; i < 60; i++)
        CHECK_NEAR(before[i], after[i], 0);
    free(before);
    free(after);
    field_free(&f);
}

/* More prototypes than are sampled: limits come from a sample, but merging still sees every pair. */
TEST(large_states_are_sampled)
{
    struct field f;

    field_make(&f, (struct field_wish){FIELD_WISH, .classes = 2, .k = 1500, .dim = 2, .threads = 2});
    for (int i = 0; i < 6000; i++)
        ((double *)f.state.points)[i] =
            10.0 * (i / 4) + (i % 2 ? 0 : 1e-3 * (i / 2 % 2)); /* pairs 1e-3 apart */
    f.params.merge_threshold = 1e-9;                           /* times some 1e7 */
    f.params.relative_merge = 1;
    CHECK_INT(1500, run(&f, 0, NULL));
    CHECK_INT(1500, f.state.k);
    CHECK_INT(750, f.state.class_begin[1]);
    field_free(&f);
}
