/* test_lloyd.c — full passes against plain loops.
 * SPDX-License-Identifier: Apache-2.0 */
#include "unit/prototypes/field.h"

#include <stdlib.h>

#include "base/interrupt.h"

/* One pass on points in place, window repulsion on top when rate > 0; means: those before the push. Returns
 * the weighted mean distance to the points before it. */
static double naive_pass(const struct field *f, double *points, double *mass, double *age, double rate)
{
    const int n = f->wish.n, dim = f->wish.dim;
    const int64_t k = f->state.k;
    int64_t *index = calloc((size_t)n, sizeof *index);
    double *distance = calloc((size_t)n, sizeof *distance), *share = calloc((size_t)(n * k), sizeof *share);
    double *push = calloc((size_t)(n * k), sizeof *push), *sum = calloc((size_t)(k * dim), sizeof *sum);
    double *push_sum = calloc((size_t)(k * dim), sizeof *sum),
           *push_age = calloc((size_t)(k * dim), sizeof *sum);
    double *push_mass = calloc((size_t)k, sizeof *mass);
    double total = 0, weight = 0;

    naive_assign(f, points, f->state.class_begin, index, distance);
    for (int i = 0; i < n; i++) {
        int64_t other;
        double d;
        if (index[i] < 0)
            continue;
        share[i * k + index[i]] = 1;
        total += field_weight(f, i) * distance[i];
        weight += field_weight(f, i);
        naive_nearest(f->wish.metric, f->loaded + i * dim, points, dim, f->w,
                      f->mask ? f->mask + i * dim : NULL, 0, k, f->state.class_begin[f->slot[i]],
                      f->state.class_begin[f->slot[i] + 1], 1, &other, &d);
        if (other >= 0 && fmin(d, distance[i]) > 4.0 / 9 * fmax(d, distance[i]))
            push[i * k + other] = 1;
    }
    naive_sums(f, share, k, sum, age, mass);
    naive_sums(f, push, k, push_sum, push_age, push_mass);
    for (int64_t j = 0; j < k; j++) {
        const double eta = rate * fmin(0.5, push_mass[j] / (mass[j] + push_mass[j]));
        if (!(mass[j] > 0) || f->state.frozen[j])
            continue;
        for (int d = 0; d < dim; d++)
            if (age[j * dim + d] > 0)
                points[j * dim + d] = sum[j * dim + d] / age[j * dim + d];
        naive_normalise(f, points + j * dim);
        for (int d = 0; d < dim && rate > 0; d++)
            if (push_age[j * dim + d] > 0)
                points[j * dim + d] +=
                    eta * (points[j * dim + d] - push_sum[j * dim + d] / push_age[j * dim + d]);
        naive_normalise(f, points + j * dim);
    }
    free(index);
    free(distance);
    free(share);
    free(push);
    free(sum);
    free(push_sum);
    free(push_age);
    free(push_mass);
    return total / weight;
}

static void check_passes(struct field_wish wish, double rate, bool freeze)
{
    struct field f;
    double *points, *mass, *age, scale = 0;
    const double tolerance = wish.dtype == FKM_DTYPE_F64 ? 1e-11 : 2e-5;

    field_make(&f, wish);
    f.params.repulsion_factor = rate;
    f.slot[wish.n - 1] = -1;
    if (freeze)
        f.state.frozen[1] = f.state.frozen[5] = 1;
    points = field_points(&f.state);
    mass = calloc((size_t)f.state.k, sizeof *mass);
    age = calloc((size_t)(f.state.k * wish.dim), sizeof *age);
    for (int pass = 0; pass < 3; pass++) {
        scale = naive_pass(&f, points, mass, age, pass == 2 ? rate : 0); /* the last one pushes */
        for (int64_t j = 0; j < f.state.k; j++)
            CHECK(mass[j] > 0); /* or the comparison would meet dead prototypes */
    }
    CHECK_OK(field_lloyd(&f, 3, 0));
    CHECK_INT(wish.classes * wish.k, f.state.k);
    CHECK_NEAR(scale, f.state.scale, tolerance * (1 + scale));
    for (int64_t j = 0; j < f.state.k; j++) {
        CHECK_NEAR(mass[j], f.state.mass[j], 1e-9);
        for (int d = 0; d < wish.dim; d++) {
            CHECK_NEAR(points[j * wish.dim + d], field_point(&f.state, j, d), tolerance);
            if (wish.mask)
                CHECK_NEAR(age[j * wish.dim + d], f.state.ages[j * wish.dim + d], 1e-9);
        }
    }
    CHECK((f.state.ages != NULL) == wish.mask);
    free(points);
    free(mass);
    free(age);
    field_free(&f);
}

TEST(passes_follow_the_definition)
{
    for (int metric = 0; metric < 3; metric++)
        for (int kind = 0; kind < 16; kind++)
            if (!((kind & 1) && (kind & 8)))
                check_passes((struct field_wish){FIELD_WISH, .n = 400, .k = 3, .metric = (fkm_metric)metric,
                                                 .mask = kind & 1, .weight = kind & 2,
                                                 .feature_weights = kind & 4, .csr = kind & 8, .threads = 2},
                             0, kind & 2);
}

TEST(single_precision_follows_within_rounding)
{
    for (int metric = 0; metric < 3; metric++)
        check_passes((struct field_wish){FIELD_WISH, .n = 400, .k = 3, .dtype = FKM_DTYPE_F32,
                                         .metric = (fkm_metric)metric},
                     0, false);
}

TEST(repulsion_acts_on_top_of_the_means)
{
    for (int metric = 0; metric < 3; metric++)
        for (int kind = 0; kind < 4; kind++)
            check_passes((struct field_wish){FIELD_WISH, .n = 400, .k = 3, .metric = (fkm_metric)metric,
                                             .mask = kind & 1, .weight = kind & 2},
                         0.3, kind & 2);
}

/* So many that sums are held of some prototypes at a time: of all kinds; of pushes alone where passes keep the others. */
TEST(sums_of_some_prototypes_at_a_time_follow_too)
{
    for (int csr = 0; csr < 2; csr++)
        check_passes((struct field_wish){FIELD_WISH, .n = 1200, .k = 30, .dim = 900, .csr = csr,
                                         .metric = FKM_METRIC_COSINE},
                     0.3, true);
    check_passes((struct field_wish){FIELD_WISH, .n = 2100, .k = 30, .dim = 800, .dtype = FKM_DTYPE_F32}, 0.3,
                 false);
}

TEST(repulsion_in_blocks_gives_the_same_sums)
{
    struct field a, b;

    field_make(&a, (struct field_wish){FIELD_WISH, .n = 400});
    field_make(&b, (struct field_wish){FIELD_WISH, .n = 400});
    a.params.repulsion_factor = b.params.repulsion_factor = 0.2;
    b.params.batch_size = 7;
    CHECK_OK(field_lloyd(&a, 5, 0));
    CHECK_OK(field_lloyd(&b, 5, 0));
    for (int64_t j = 0; j < a.state.k; j++)
        for (int d = 0; d < 5; d++)
            CHECK_NEAR(field_point(&a.state, j, d), field_point(&b.state, j, d), 1e-12);
    field_free(&a);
    field_free(&b);
}

TEST(passes_come_to_rest)
{
    struct field f;
    double *points, *again;
    double *mass, *age;
    int64_t n_passes;

    field_make(&f, (struct field_wish){FIELD_WISH, .n = 300});
    CHECK_OK(fkmi_lloyd(f.context, &f.params, &f.state, &f.work, &f.rows, f.slot, NULL, 1000, 1e-9,
                        fkmi_random_from(1), NULL, NULL, &n_passes));
    CHECK(n_passes > 2 && n_passes < 100);
    points = field_points(&f.state);
    again = field_points(&f.state);
    mass = calloc((size_t)f.state.k, sizeof *mass);
    age = calloc((size_t)(f.state.k * 5), sizeof *age);
    naive_pass(&f, again, mass, age, 0);
    for (int64_t i = 0; i < f.state.k * 5; i++)
        CHECK_NEAR(points[i], again[i], 1e-9);
    free(points);
    free(again);
    free(mass);
    free(age);
    field_free(&f);
}

TEST(threads_do_not_change_a_bit)
{
    static const fkm_repulsion modes[] = {FKM_REPULSION_WINDOW, FKM_REPULSION_GLVQ};

    for (int mode = 0; mode < 2; mode++) {
        struct fkmi_state first = {0};
        for (int threads = 1; threads <= 8; threads *= 2) {
            struct field f;
            field_make(&f,
                       (struct field_wish){FIELD_WISH, .n = 3000, .k = 40, .mask = mode, .threads = threads});
            f.params.repulsion_factor = 0.1;
            f.params.repulsion = modes[mode];
            CHECK_OK(field_lloyd(&f, 6, 0));
            if (threads == 1)
                CHECK_OK(fkmi_state_copy(&first, &f.state));
            CHECK(field_same_state(&first, &f.state));
            field_free(&f);
        }
        fkmi_state_free(&first);
    }
}

/* ---- dead prototypes */

TEST(a_dead_prototype_goes_to_the_farthest_row_of_its_class)
{
    struct field f;
    const double rows[6] = {0, 1, 2, 50, 100, 101},
                 start[4] = {1, -1000, 100, 9999}; /* class 0: 2, class 1: 2 */
    const int32_t slot[6] = {0, 0, 0, 0, 1, 1};

    field_make(&f, (struct field_wish){FIELD_WISH, .n = 6, .dim = 1, .classes = 2, .k = 2});
    memcpy(f.stored, rows, sizeof rows);
    memcpy(f.state.points, start, sizeof start);
    memcpy(f.slot, slot, sizeof slot);
    CHECK_OK(field_lloyd(&f, 10, 0));
    CHECK_INT(4, f.state.k);
    CHECK_NEAR(1, field_point(&f.state, 0, 0), 1e-12);
    CHECK_NEAR(50, field_point(&f.state, 1, 0), 1e-12);
    CHECK_NEAR(100, fmin(field_point(&f.state, 2, 0), field_point(&f.state, 3, 0)), 1e-12);
    CHECK_NEAR(101, fmax(field_point(&f.state, 2, 0), field_point(&f.state, 3, 0)), 1e-12);
    field_free(&f);
}

TEST(several_dead_prototypes_go_to_different_places)
{
    struct field f;
    double rows[40], start[5] = {0, -500, -501, -502, -503};

    field_make(&f, (struct field_wish){FIELD_WISH, .n = 40, .dim = 1, .classes = 1, .k = 5});
    for (int i = 0; i < 40;
         i++) /* four rows at each of ten places: copies of a row must not be taken twice */
        rows[i] = i / 4 * 10;
    memcpy(f.stored, rows, sizeof rows);
    memcpy(f.state.points, start, sizeof start);
    CHECK_OK(field_lloyd(&f, 20, 0));
    CHECK_INT(5, f.state.k);
    for (int i = 0; i < 5; i++) {
        CHECK(f.state.mass[i] >= 4);
        for (int j = 0; j < i; j++)
            CHECK(fabs(field_point(&f.state, i, 0) - field_point(&f.state, j, 0)) > 5);
    }
    field_free(&f);
}

TEST(a_class_with_fewer_rows_than_prototypes_loses_the_idle_ones)
{
    for (int metric = 0; metric < 3; metric++) {
        struct field f;

        field_make(
            &f, (struct field_wish){FIELD_WISH, .n = 60, .classes = 2, .k = 4, .metric = (fkm_metric)metric});
        for (int i = 0; i < 60; i++) {
            f.slot[i] = i % 2;
            for (int d = 0; d < 5 && i % 2 == 1; d++) /* class 1: two kinds of rows */
                ((double *)f.stored)[i * 5 + d] = f.x[(i % 4) * 5 + d];
        }
        CHECK_OK(field_lloyd(&f, 30, 0));
        CHECK_INT(4, f.state.class_begin[1]);
        CHECK_INT(2, f.state.class_begin[2] - f.state.class_begin[1]);
        field_free(&f);
    }
}

TEST(a_class_without_rows_keeps_one_prototype)
{
    struct field f;

    field_make(&f, (struct field_wish){FIELD_WISH, .classes = 3});
    for (int i = 0; i < 120; i++)
        f.slot[i] = f.slot[i] == 1 ? 0 : f.slot[i];
    CHECK_OK(field_lloyd(&f, 5, 0));
    CHECK_INT(1, f.state.class_begin[2] - f.state.class_begin[1]);
    field_free(&f);
}

TEST(frozen_prototypes_stay_even_when_dead)
{
    struct field f;
    double before[5];

    field_make(&f, (struct field_wish){FIELD_WISH});
    for (int d = 0; d < 5; d++)
        ((double *)f.state.points)[2 * 5 + d] = before[d] = 1e6;
    f.state.frozen[2] = 1;
    CHECK_OK(field_lloyd(&f, 20, 0));
    CHECK_INT(1, f.state.frozen[2]);
    for (int d = 0; d < 5; d++)
        CHECK_NEAR(before[d], field_point(&f.state, 2, d), 0);
    field_free(&f);
}

/* ---- the rest of a fit */

TEST(the_unit_of_weights_does_not_matter)
{
    struct field a, b;

    field_make(&a, (struct field_wish){FIELD_WISH, .n = 300, .weight = true});
    field_make(&b, (struct field_wish){FIELD_WISH, .n = 300, .weight = true});
    for (int i = 0; i < 300; i++)
        b.weight[i] *= 0x1p-20f; /* masses far below min_weight */
    CHECK_OK(field_lloyd(&a, 20, 0));
    CHECK_OK(field_lloyd(&b, 20, 0));
    CHECK_INT(a.state.k, b.state.k);
    for (int64_t j = 0; j < a.state.k; j++) {
        CHECK_NEAR(a.state.mass[j], b.state.mass[j] * 0x1p20, 1e-9);
        for (int d = 0; d < 5; d++)
            CHECK_NEAR(field_point(&a.state, j, d), field_point(&b.state, j, d), 1e-9);
    }
    field_free(&a);
    field_free(&b);
}

struct watch {
    int64_t passes, stop_at;
    double distance[64];
};

static fkm_status after_pass(void *user, int64_t pass, const struct fkmi_moved *moved)
{
    struct watch *watch = user;

    CHECK_INT(++watch->passes, pass);
    watch->distance[pass] = moved->mean_distance;
    CHECK_NEAR(moved->mean_distance * moved->weight, moved->sum_distance, 1e-9 * moved->sum_distance);
    return pass == watch->stop_at ? fkmi_fail(FKM_EINTERRUPTED, "enough") : FKM_OK;
}

TEST(an_interrupted_fit_keeps_what_it_learned)
{
    struct field f, whole;
    struct watch watch = {.stop_at = 3};
    int64_t n_passes;

    field_make(&f, (struct field_wish){FIELD_WISH, .n = 300});
    field_make(&whole, (struct field_wish){FIELD_WISH, .n = 300});
    CHECK_STATUS(FKM_EINTERRUPTED, fkmi_lloyd(f.context, &f.params, &f.state, &f.work, &f.rows, f.slot, NULL,
                                              50, 0, fkmi_random_from(1), after_pass, &watch, &n_passes));
    CHECK_INT(3, n_passes);
    CHECK(watch.distance[2] <= watch.distance[1] && watch.distance[3] <= watch.distance[2]);
    CHECK_NEAR(watch.distance[3], f.state.scale, 0);
    CHECK_OK(field_lloyd(&whole, 3, 0));
    CHECK_INT(whole.state.k, f.state.k);
    for (int64_t j = 0; j < f.state.k; j++)
        for (int d = 0; d < 5; d++)
            CHECK_NEAR(field_point(&whole.state, j, d), field_point(&f.state, j, d), 0);
    field_free(&f);
    field_free(&whole);
}

struct user {
    int64_t asked, stop_at;
};

static int ask(void *user)
{
    struct user *u = user;

    return ++u->asked == u->stop_at;
}

/* Also where the first prototypes have moved when the sums of others are interrupted: those of soft cells of CSR rows. */
static void interrupt_passes(struct field_wish wish, fkm_assignment assignment)
{
    int64_t seen[4] = {0}, n_passes;

    for (struct user user = {.stop_at = 1};; user = (struct user){.stop_at = user.stop_at + 9}) {
        struct field f, whole;
        struct watch watch = {0};
        fkm_status status;

        field_make(&f, wish);
        f.params.repulsion_factor = 0.3;
        f.params.assignment = assignment;
        fkmi_interrupt_every(0);
        fkm_set_interrupt(ask, &user);
        status = fkmi_lloyd(f.context, &f.params, &f.state, &f.work, &f.rows, f.slot, NULL, 3, 0,
                            fkmi_random_from(1), NULL, NULL, &n_passes);
        fkm_set_interrupt(NULL, NULL);
        fkmi_interrupt_every(-1);
        if (status == FKM_OK) {
            field_free(&f);
            break;
        }
        CHECK_STATUS(FKM_EINTERRUPTED, status);
        seen[n_passes]++;
        field_make(&whole, wish);
        watch.stop_at = n_passes;
        if (n_passes > 0)
            CHECK_STATUS(FKM_EINTERRUPTED, fkmi_lloyd(whole.context, &f.params, &whole.state, &whole.work,
                                                      &whole.rows, whole.slot, NULL, 3, 0,
                                                      fkmi_random_from(1), after_pass, &watch, &n_passes));
        CHECK(field_same_state(&f.state, &whole.state));
        field_free(&f);
        field_free(&whole);
    }
    CHECK(seen[0] > 1 && seen[1] > 1 && seen[2] > 1);
}

TEST(an_interrupted_pass_is_undone)
{
    interrupt_passes((struct field_wish){FIELD_WISH, .n = 300, .k = 30, .dim = 900}, FKM_ASSIGN_HARD);
    interrupt_passes((struct field_wish){FIELD_WISH, .n = 60, .k = 50, .dim = 200, .csr = true},
                     FKM_ASSIGN_SOFTMAX);
}

TEST(targets_follow_target_assignment)
{
    static const fkm_soft all[] = {FKM_SOFT_HARD, FKM_SOFT_MEAN, FKM_SOFT_SCALED, FKM_SOFT_SOFTMAX_SCALED};

    for (int a = 0; a < 4; a++)
        for (int weighted = 0; weighted < 2; weighted++) {
            struct field f;
            double *points, distance[120], s;
            int64_t index[120];

            field_make(&f, (struct field_wish){FIELD_WISH, .k = 2, .targets = 2, .weight = weighted});
            f.params.target_assignment = all[a];
            f.params.temperature = 0.8;
            points = field_points(&f.state); /* one pass: targets belong to its assignment */
            naive_assign(&f, points, f.state.class_begin, index, distance);
            CHECK_OK(field_lloyd(&f, 1, 0));
            CHECK_INT(6, f.state.k);
            s = f.state.scale;
            for (int64_t j = 0; j < 6; j++) {
                double sum[2] = {0, 0}, total = 0, nearest = INFINITY;
                for (int i = 0; i < 120; i++)
                    if (index[i] == j && field_weight(&f, i) > 0)
                        nearest = fmin(nearest, distance[i]);
                for (int i = 0; i < 120; i++) {
                    const double d = distance[i],
                                 how[4] = {d == nearest, 1, 1 / (1 + d / s), exp(-d / (0.8 * s / 4))};
                    if (index[i] != j)
                        continue;
                    total += field_weight(&f, i) * how[a];
                    for (int t = 0; t < 2; t++)
                        sum[t] += field_weight(&f, i) * how[a] * f.values[i * 2 + t];
                }
                for (int t = 0; t < 2 && total > 0; t++)
                    CHECK_NEAR(sum[t] / total, f.state.targets[j * 2 + t], 1e-9);
            }
            free(points);
            field_free(&f);
        }
}

static double accuracy(const struct field *f)
{
    double *points = field_points(&f->state), hits = 0;

    for (int i = 0; i < f->wish.n; i++) {
        int64_t index;
        double d;
        naive_nearest(f->wish.metric, f->loaded + i * f->wish.dim, points, f->wish.dim, NULL, NULL, 0,
                      f->state.k, 0, 0, 1, &index, &d);
        hits += index >= f->state.class_begin[f->slot[i]] && index < f->state.class_begin[f->slot[i] + 1];
    }
    free(points);
    return hits / f->wish.n;
}

TEST(glvq_finds_better_borders)
{
    for (int metric = 0; metric < 3; metric++) {
        struct field plain, glvq;

        field_make(&plain, (struct field_wish){FIELD_WISH, .n = 1500, .k = 2, .metric = (fkm_metric)metric});
        field_make(&glvq, (struct field_wish){FIELD_WISH, .n = 1500, .k = 2, .metric = (fkm_metric)metric});
        glvq.params.repulsion_factor = 0.05;
        glvq.params.repulsion = FKM_REPULSION_GLVQ;
        glvq.state.frozen[3] = 1;
        plain.state.frozen[3] = 1;
        CHECK_OK(field_lloyd(&plain, 50, 1e-6));
        CHECK_OK(field_lloyd(&glvq, 50, 1e-6));
        CHECK(accuracy(&glvq) > accuracy(&plain) + 0.005);
        for (int d = 0; d < 5; d++)
            CHECK_NEAR(field_point(&plain.state, 3, d), field_point(&glvq.state, 3, d), 0);
        field_free(&plain);
        field_free(&glvq);
    }
}

TEST(every_failing_allocation_is_reported)
{
    for (int64_t n = 1;; n++) {
        struct field f;
        fkm_status status;

        field_make(&f, (struct field_wish){FIELD_WISH, .mask = true});
        f.params.repulsion_factor = 0.1;
        f.params.merge_threshold = 0.1;
        ((double *)f.state.points)[0] = 1e5; /* one prototype to revive */
        (void)fkmi_memory_fail(n, 0);
        status = field_lloyd(&f, 4, 0);
        (void)fkmi_memory_fail(0, 0);
        CHECK(status == FKM_OK || status == FKM_ENOMEM);
        field_free(&f);
        if (status == FKM_OK)
            break;
        CHECK(n < 300);
    }
}
