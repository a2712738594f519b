/* test_cluster.c — the clusterer leaves poor optima: swaps of prototypes, then of single rows.
 * SPDX-License-Identifier: Apache-2.0 */
#include "unit/prototypes/field.h"

#include <stdlib.h>

#include "base/interrupt.h"

#define SIDE 5 /* SIDE x SIDE clusters on a grid */

/* A grid of clusters whose starting prototypes all lie in the first of them. */
static void make_grid_of(struct field *f, int rows_of_cluster, fkm_metric metric, fkm_dtype dtype,
                         int threads)
{
    struct naive_random random = {5};

    field_make(f, (struct field_wish){FIELD_WISH, .metric = metric, .dtype = dtype,
                                      .n = rows_of_cluster * SIDE * SIDE, .dim = 2, .classes = 1,
                                      .k = SIDE * SIDE, .threads = threads, .weight = true});
    f->params.task = FKM_TASK_CLUSTER;
    for (int i = 0; i < f->wish.n; i++) {
        const int cell = i % (SIDE * SIDE);
        naive_set(f->stored, dtype, 2 * i, 10 * (cell % SIDE) + naive_normal(&random));
        naive_set(f->stored, dtype, 2 * i + 1, 10 * (cell / SIDE) + naive_normal(&random));
        f->weight[i] = 0.75f + 0.5f * (float)naive_uniform(&random);
    }
    for (int i = 0; i < 2 * f->wish.n; i++)
        f->loaded[i] = f->x[i] = naive_get(f->stored, dtype, i);
    for (int i = 0; i < 2 * SIDE * SIDE; i++)
        naive_set(f->state.points, dtype, i, naive_uniform(&random));
}

static void make_grid(struct field *f, fkm_metric metric, fkm_dtype dtype, int threads)
{
    make_grid_of(f, 30, metric, dtype, threads);
}

static double sum_of_distances(const struct field *f, const double *points, int64_t k)
{
    double sum = 0;

    for (int i = 0; i < f->wish.n; i++) {
        int64_t index;
        double d;
        naive_nearest(f->wish.metric, f->loaded + 2 * i, points, 2, NULL, NULL, 0, k, 0, 0, 1, &index, &d);
        sum += field_weight(f, i) * d;
    }
    return sum;
}

/* What the true partition costs. */
static double best_sum(const struct field *f)
{
    double points[2 * SIDE * SIDE] = {0}, weight[SIDE * SIDE] = {0};

    for (int i = 0; i < f->wish.n; i++) {
        const int cell = i % (SIDE * SIDE);
        weight[cell] += field_weight(f, i);
        for (int d = 0; d < 2; d++)
            points[2 * cell + d] += field_weight(f, i) * f->x[2 * i + d];
    }
    for (int i = 0; i < 2 * SIDE * SIDE; i++)
        points[i] /= weight[i / 2];
    return sum_of_distances(f, points, SIDE * SIDE);
}

TEST(prototypes_find_every_cluster_from_a_bad_start)
{
    static const fkm_metric metrics[] = {FKM_METRIC_EUCLIDEAN, FKM_METRIC_L1};
    static const fkm_dtype dtypes[] = {FKM_DTYPE_F32, FKM_DTYPE_F64, FKM_DTYPE_F16};

    for (int m = 0; m < 2; m++)
        for (int t = 0; t < 3; t++) {
            struct field f;
            double *points;

            make_grid(&f, metrics[m], dtypes[t], 1);
            CHECK_OK(field_lloyd(&f, 200, 1e-6));
            points = field_points(&f.state);
            CHECK_INT(SIDE * SIDE, f.state.k);
            CHECK(sum_of_distances(&f, points, f.state.k) < 1.002 * best_sum(&f));
            free(points);
            field_free(&f);
        }
}

/* So many rows that a look takes a part of them. */
TEST(a_part_of_the_rows_tells_what_to_exchange)
{
    struct field f, other;
    double *points;

    make_grid_of(&f, 2800, FKM_METRIC_EUCLIDEAN, FKM_DTYPE_F32, 1);
    make_grid_of(&other, 2800, FKM_METRIC_EUCLIDEAN, FKM_DTYPE_F32, 3);
    CHECK_OK(field_lloyd(&f, 100, 1e-6));
    CHECK_OK(field_lloyd(&other, 100, 1e-6));
    CHECK(field_same_state(&f.state, &other.state));
    points = field_points(&f.state);
    CHECK(sum_of_distances(&f, points, f.state.k) < 1.001 * best_sum(&f));
    free(points);
    field_free(&f);
    field_free(&other);
}

/* Without the clusterer's help the same start stays in a much worse optimum: the test above could fail. */
TEST(the_start_is_bad_indeed)
{
    struct field f;
    double *points;

    make_grid(&f, FKM_METRIC_EUCLIDEAN, FKM_DTYPE_F64, 1);
    f.params.task = FKM_TASK_REGRESS;
    CHECK_OK(field_lloyd(&f, 200, 1e-6));
    points = field_points(&f.state);
    CHECK(sum_of_distances(&f, points, f.state.k) > 1.5 * best_sum(&f));
    free(points);
    field_free(&f);
}

static fkm_status count_passes(void *user, int64_t pass, const struct fkmi_moved *moved)
{
    (void)moved;
    *(int64_t *)user = pass;
    return FKM_OK;
}

TEST(swaps_never_pass_max_iters_nor_end_worse_than_plain_passes)
{
    for (int64_t max_iters = 1; max_iters < 40; max_iters++) {
        struct field swaps, plain;
        double *a, *b;
        int64_t n_passes, counted = 0;

        make_grid(&swaps, FKM_METRIC_EUCLIDEAN, FKM_DTYPE_F64, 1);
        make_grid(&plain, FKM_METRIC_EUCLIDEAN, FKM_DTYPE_F64, 1);
        plain.params.task = FKM_TASK_REGRESS;
        CHECK_OK(fkmi_lloyd(swaps.context, &swaps.params, &swaps.state, &swaps.work, &swaps.rows, swaps.slot,
                            NULL, max_iters, 0, fkmi_random_from(1), count_passes, &counted, &n_passes));
        CHECK_OK(field_lloyd(&plain, max_iters, 0));
        CHECK(n_passes <= max_iters);
        CHECK_INT(n_passes, counted);
        a = field_points(&swaps.state);
        b = field_points(&plain.state);
        CHECK(sum_of_distances(&swaps, a, swaps.state.k) <=
              1.01 * sum_of_distances(&plain, b, plain.state.k));
        free(a);
        free(b);
        field_free(&swaps);
        field_free(&plain);
    }
}

/* However few passes are allowed: an exchange that none of them judges must not stay. */
TEST(swaps_end_no_worse_than_they_began)
{
    for (int64_t max_iters = 1; max_iters < 12; max_iters++)
        for (int good = 0; good < 2; good++) {
            struct field f;
            double *before, *after;

            make_grid(&f, FKM_METRIC_EUCLIDEAN, FKM_DTYPE_F64, 1);
            f.params.task = good ? FKM_TASK_CLUSTER : FKM_TASK_REGRESS;
            CHECK_OK(field_lloyd(&f, 300, 0)); /* comes to rest, in the best optimum or in a poor one */
            before = field_points(&f.state);
            f.params.task = FKM_TASK_CLUSTER;
            CHECK_OK(field_lloyd(&f, max_iters, 1e-6));
            after = field_points(&f.state);
            CHECK(sum_of_distances(&f, after, f.state.k) <=
                  (1 + 1e-9) * sum_of_distances(&f, before, f.state.k));
            free(before);
            free(after);
            field_free(&f);
        }
}

struct user {
    int64_t asked, stop_at;
};

static int ask(void *user)
{
    struct user *u = user;

    return ++u->asked == u->stop_at;
}

static fkm_status stop_after(void *user, int64_t pass, const struct fkmi_moved *moved)
{
    (void)moved;
    return pass == *(const int64_t *)user ? fkmi_fail(FKM_EINTERRUPTED, "enough") : FKM_OK;
}

/* At any question of a fit that tries exchanges and polishes: what stays is what a fit stopped after that pass leaves. */
TEST(an_interrupted_try_is_undone)
{
    int64_t n_stopped = 0, n_passes, ignored;

    for (struct user user = {.stop_at = 1};;
         user = (struct user){.stop_at = user.stop_at + 7 + user.stop_at / 50}) {
        struct field f, stopped;
        fkm_status status;

        make_grid(&f, FKM_METRIC_EUCLIDEAN, FKM_DTYPE_F64, 1);
        fkmi_interrupt_every(0);
        fkm_set_interrupt(ask, &user);
        status = fkmi_lloyd(f.context, &f.params, &f.state, &f.work, &f.rows, f.slot, NULL, 40, 1e-6,
                            fkmi_random_from(1), NULL, NULL, &n_passes);
        fkm_set_interrupt(NULL, NULL);
        fkmi_interrupt_every(-1);
        make_grid(&stopped, FKM_METRIC_EUCLIDEAN, FKM_DTYPE_F64, 1);
        if (status == FKM_EINTERRUPTED && n_passes > 0) {
            n_stopped++;
            CHECK_STATUS(FKM_EINTERRUPTED,
                         fkmi_lloyd(stopped.context, &f.params, &stopped.state, &stopped.work, &stopped.rows,
                                    stopped.slot, NULL, 40, 1e-6, fkmi_random_from(1), stop_after, &n_passes,
                                    &ignored));
        }
        if (status == FKM_EINTERRUPTED)
            CHECK(field_same_state(&f.state, &stopped.state));
        field_free(&f);
        field_free(&stopped);
        if (status == FKM_OK)
            break;
    }
    CHECK(n_stopped > 50);
}

TEST(threads_do_not_change_a_bit)
{
    struct fkmi_state first = {0};

    for (int threads = 1; threads <= 8; threads *= 2) {
        struct field f;

        make_grid(&f, FKM_METRIC_EUCLIDEAN, FKM_DTYPE_F32, threads);
        CHECK_OK(field_lloyd(&f, 100, 1e-6));
        if (threads == 1)
            CHECK_OK(fkmi_state_copy(&first, &f.state));
        CHECK(field_same_state(&first, &f.state));
        field_free(&f);
    }
    fkmi_state_free(&first);
}

/* Where a fit ends, no single row gains by changing sides: Hartigan & Wong's condition, over all prototypes.
 */
TEST(no_row_gains_by_changing_sides)
{
    struct field f;
    double mass[9] = {0}, *points;
    int64_t index[300];
    double distance[300];

    field_make(&f, (struct field_wish){FIELD_WISH, .n = 300, .dim = 2, .classes = 1, .k = 9, .spread = 0});
    f.params.task = FKM_TASK_CLUSTER;
    CHECK_OK(field_lloyd(&f, 500, 1e-12));
    points = field_points(&f.state);
    naive_assign(&f, points, f.state.class_begin, index, distance);
    for (int i = 0; i < 300; i++)
        mass[index[i]]++;
    for (int i = 0; i < 300; i++) {
        int64_t two[2];
        double d[2];
        naive_nearest(f.wish.metric, f.loaded + 2 * i, points, 2, NULL, NULL, 0, 9, 0, 0, 2, two, d);
        CHECK(d[1] * mass[two[1]] / (mass[two[1]] + 1) >=
              (1 - 1e-5) * d[0] * mass[two[0]] / (mass[two[0]] - 1));
    }
    free(points);
    field_free(&f);
}

TEST(every_failing_allocation_is_reported)
{
    for (int64_t n = 1;; n++) {
        struct field f;
        fkm_status status;

        make_grid(&f, FKM_METRIC_EUCLIDEAN, FKM_DTYPE_F64, 1);
        (void)fkmi_memory_fail(n, 0);
        status = field_lloyd(&f, 60, 0);
        (void)fkmi_memory_fail(0, 0);
        CHECK(status == FKM_OK || status == FKM_ENOMEM);
        field_free(&f);
        if (status == FKM_OK)
            break;
        CHECK(n < 3000);
        n += n > 60 ? 7 : 0;
    }
}
