/* test_ema.c — batches of a stream against the update written out.
 * SPDX-License-Identifier: Apache-2.0 */
#include "unit/prototypes/field.h"

#include <stdlib.h>

/* What a stream should have learned so far. */
struct naive {
    double *points, *age, *mass; /* k x dim, k x dim, k */
    double scale, shift;
    bool known;
};

static struct naive naive_begin(const struct field *f)
{
    const int64_t k = f->state.k;
    struct naive naive = {field_points(&f->state),
                          calloc((size_t)(k * f->wish.dim), sizeof(double)),
                          calloc((size_t)k, sizeof(double)),
                          1,
                          0,
                          false};

    for (int64_t i = 0; i < k * f->wish.dim; i++)
        naive.age[i] = 1;
    for (int64_t j = 0; j < k; j++)
        naive.mass[j] = 1;
    return naive;
}

static void naive_end(struct naive *naive)
{
    free(naive->points);
    free(naive->age);
    free(naive->mass);
}

/* W *= decay; W += n; c += (n / W) (mean - c); then c_- += rate eta (c_- - mean of the rows in the window).
 */
static void naive_batch(const struct field *f, struct naive *naive, double decay, double rate)
{
    const int n = f->wish.n, dim = f->wish.dim;
    const int64_t k = f->state.k;
    int64_t *index = calloc((size_t)n, sizeof *index);
    double *distance = calloc((size_t)n, sizeof *distance), *share = calloc((size_t)(n * k), sizeof *share);
    double *push = calloc((size_t)(n * k), sizeof *push), *sum = calloc((size_t)(k * dim), sizeof *sum);
    double *age = calloc((size_t)(k * dim), sizeof *sum), *mass = calloc((size_t)k, sizeof *mass);
    double *push_sum = calloc((size_t)(k * dim), sizeof *sum),
           *push_age = calloc((size_t)(k * dim), sizeof *sum);
    double *push_mass = calloc((size_t)k, sizeof *mass), total = 0, weight = 0, before = 0;

    naive_assign(f, naive->points, f->state.class_begin, index, distance);
    for (int i = 0; i < n; i++) {
        int64_t other;
        double d;
        if (index[i] < 0)
            continue;
        share[i * k + index[i]] = 1;
        total += field_weight(f, i) * distance[i];
        weight += field_weight(f, i);
        naive_nearest(f->wish.metric, f->loaded + i * dim, naive->points, dim, f->w,
                      f->mask ? f->mask + i * dim : NULL, 0, k, f->state.class_begin[f->slot[i]],
                      f->state.class_begin[f->slot[i] + 1], 1, &other, &d);
        if (other >= 0 && fmin(d, distance[i]) > 4.0 / 9 * fmax(d, distance[i]))
            push[i * k + other] = 1;
    }
    naive_sums(f, share, k, sum, age, mass);
    naive_sums(f, push, k, push_sum, push_age, push_mass);
    naive->shift = 0;
    for (int64_t j = 0; j < k; j++) {
        double *c = naive->points + j * dim, move = 0, old[32];
        memcpy(old, c, (size_t)dim * sizeof *c);
        before += decay * naive->mass[j];
        naive->mass[j] = decay * naive->mass[j] + mass[j];
        for (int d = 0; d < dim; d++) {
            const double n_jd = f->mask ? age[j * dim + d] : mass[j];
            naive->age[j * dim + d] = decay * naive->age[j * dim + d] + n_jd;
            if (n_jd > 0)
                c[d] += n_jd / naive->age[j * dim + d] * (sum[j * dim + d] / n_jd - c[d]);
        }
        for (int d = 0; d < dim && rate > 0 && push_mass[j] > 0; d++)
            if (push_age[j * dim + d] > 0)
                c[d] += rate * fmin(0.5, push_mass[j] / (naive->mass[j] + push_mass[j])) *
                        (c[d] - push_sum[j * dim + d] / push_age[j * dim + d]);
        naive_normalise(f, c);
        for (int d = 0; d < dim; d++)
            move += (c[d] - old[d]) * (c[d] - old[d]);
        naive->shift = fmax(naive->shift, sqrt(move));
    }
    naive->scale = naive->known ? naive->scale + weight / (before + weight) * (total / weight - naive->scale)
                                : total / weight;
    naive->known = true;
    free(index);
    free(distance);
    free(share);
    free(push);
    free(sum);
    free(age);
    free(mass);
    free(push_sum);
    free(push_age);
    free(push_mass);
}

static void check_stream(struct field_wish wish, double decay, double rate)
{
    const double tolerance = wish.dtype == FKM_DTYPE_F64 ? 1e-11 : 2e-5;
    struct field f;
    struct naive naive;

    field_make(&f, wish);
    f.params.decay = decay;
    f.params.repulsion_factor = rate;
    f.slot[11] = -1;
    naive = naive_begin(&f);
    for (int batch = 0; batch < 4; batch++) {
        struct fkmi_moved moved;
        for (int i = 0; i < 20; i++) /* the batches differ */
            f.slot[i] = (f.slot[i] + 1) % wish.classes;
        naive_batch(&f, &naive, decay, rate);
        CHECK_OK(field_ema(&f, (uint64_t)batch, &moved));
        CHECK_NEAR(naive.shift, moved.shift, tolerance);
        CHECK_INT(0, moved.merged);
        CHECK_NEAR(naive.scale, f.state.scale, tolerance * (1 + naive.scale));
        for (int64_t j = 0; j < f.state.k; j++) {
            CHECK_NEAR(naive.mass[j], f.state.mass[j], 1e-9);
            for (int d = 0; d < wish.dim; d++) {
                CHECK_NEAR(naive.points[j * wish.dim + d], field_point(&f.state, j, d), tolerance);
                if (wish.mask)
                    CHECK_NEAR(naive.age[j * wish.dim + d], f.state.ages[j * wish.dim + d], 1e-9);
            }
        }
    }
    naive_end(&naive);
    field_free(&f);
}

TEST(batches_follow_the_definition)
{
    for (int metric = 0; metric < 3; metric++)
        for (int kind = 0; kind < 16; kind++)
            if (!((kind & 1) && (kind & 8)))
                check_stream((struct field_wish){FIELD_WISH, .n = 300, .metric = (fkm_metric)metric,
                                                 .mask = kind & 1, .weight = kind & 2,
                                                 .feature_weights = kind & 4, .csr = kind & 8, .threads = 2},
                             1, 0);
}

TEST(decay_and_repulsion_follow_the_definition)
{
    for (int metric = 0; metric < 3; metric++)
        for (int mask = 0; mask < 2; mask++) {
            const struct field_wish wish = {FIELD_WISH, .n = 300, .metric = (fkm_metric)metric, .mask = mask,
                                            .weight = true};
            check_stream(wish, 0.7, 0);
            check_stream(wish, 1, 0.3);
            check_stream(wish, 0.9, 0.1);
        }
}

TEST(single_precision_follows_within_rounding)
{
    check_stream((struct field_wish){FIELD_WISH, .n = 300, .dtype = FKM_DTYPE_F32}, 1, 0.1);
    check_stream(
        (struct field_wish){FIELD_WISH, .n = 300, .dtype = FKM_DTYPE_F32, .metric = FKM_METRIC_COSINE}, 1, 0);
}

TEST(ages_appear_with_the_first_mask)
{
    struct field f;
    struct fkmi_moved moved;
    double mass[12];
    float *mask;

    field_make(&f, (struct field_wish){FIELD_WISH, .mask = true});
    mask = f.mask;
    f.rows.mask = NULL;
    CHECK_OK(field_ema(&f, 0, &moved));
    CHECK(f.state.ages == NULL);
    memcpy(mass, f.state.mass, sizeof mass);
    f.rows.mask = mask;
    for (int i = 0; i < 120 * 5; i++)
        mask[i] = i % 5 == 2 ? 0.0f : 1.0f; /* coordinate 2 is never seen */
    CHECK_OK(field_ema(&f, 1, &moved));
    for (int j = 0; j < 12; j++) {
        CHECK_NEAR(mass[j], f.state.ages[j * 5 + 2], 0);
        CHECK_NEAR(f.state.mass[j], f.state.ages[j * 5 + 1], 1e-12);
    }
    f.rows.mask = NULL; /* rows without a mask age every coordinate */
    CHECK_OK(field_ema(&f, 2, &moved));
    for (int j = 0; j < 12; j++)
        CHECK_NEAR(f.state.mass[j] - f.state.ages[j * 5 + 1], 0, 1e-9);
    field_free(&f);
}

TEST(a_masked_coordinate_stays_bit_for_bit)
{
    for (int dtype = 0; dtype < 4; dtype++) {
        struct field f;
        struct fkmi_moved moved;
        double before[12];

        field_make(&f, (struct field_wish){FIELD_WISH, .mask = true, .dtype = (fkm_dtype)dtype});
        f.params.repulsion_factor = 0.3;
        for (int i = 0; i < 120 * 5; i++)
            f.mask[i] = i % 5 == 2 ? 0.0f : 1.0f;
        for (int j = 0; j < 12; j++)
            before[j] = field_point(&f.state, j, 2);
        for (int batch = 0; batch < 3; batch++)
            CHECK_OK(field_ema(&f, 0, &moved));
        for (int j = 0; j < 12; j++)
            CHECK_NEAR(before[j], field_point(&f.state, j, 2), 0);
        CHECK(moved.shift > 0);
        field_free(&f);
    }
}

TEST(frozen_prototypes_count_rows_but_stay)
{
    struct field f;
    struct fkmi_moved moved;
    double before[5];

    field_make(&f, (struct field_wish){FIELD_WISH, .targets = 2});
    f.state.frozen[1] = 1;
    for (int d = 0; d < 5; d++)
        before[d] = field_point(&f.state, 1, d);
    CHECK_OK(field_ema(&f, 0, &moved));
    for (int d = 0; d < 5; d++)
        CHECK_NEAR(before[d], field_point(&f.state, 1, d), 0);
    CHECK(f.state.mass[1] > 1);
    CHECK_NEAR(0, f.state.targets[2], 0);
    CHECK(f.state.targets[0] != 0);
    field_free(&f);
}

TEST(targets_move_with_the_share_of_the_batch)
{
    struct field f;
    struct fkmi_moved moved;
    double *points, distance[120], expected[24] = {0}, mass[12] = {0};
    int64_t index[120];

    field_make(&f, (struct field_wish){FIELD_WISH, .targets = 2, .weight = true});
    f.params.target_assignment = FKM_SOFT_MEAN;
    points = field_points(&f.state);
    naive_assign(&f, points, f.state.class_begin, index, distance);
    for (int i = 0; i < 120; i++) {
        mass[index[i]] += field_weight(&f, i);
        for (int t = 0; t < 2; t++)
            expected[index[i] * 2 + t] += field_weight(&f, i) * f.values[i * 2 + t];
    }
    CHECK_OK(field_ema(&f, 0, &moved));
    for (int j = 0; j < 24; j++) /* targets began at 0 with mass 1 */
        CHECK_NEAR(expected[j] / (1 + mass[j / 2]), f.state.targets[j], 1e-12);
    free(points);
    field_free(&f);
}

/* A prototype of great age in half precision: each batch asks for a move far below half a step. */
TEST(half_precision_does_not_stand_still)
{
    static const fkm_dtype halves[] = {FKM_DTYPE_F16, FKM_DTYPE_BF16};

    for (int h = 0; h < 2; h++) {
        struct field f;
        struct fkmi_moved moved;
        double mean = 0, age = 1;

        field_make(&f, (struct field_wish){FIELD_WISH, .n = 10, .dim = 200, .classes = 1, .k = 1,
                                           .dtype = halves[h]});
        for (int i = 0; i < 10 * 200; i++)
            naive_set(f.stored, halves[h], i, 1.5);
        for (int i = 0; i < 200; i++)
            naive_set(f.state.points, halves[h], i, 1.0);
        f.state.mass[0] = age = 10000;
        for (uint64_t batch = 0; batch < 500; batch++) { /* a move of about 1/2000 */
            CHECK_OK(field_ema(&f, batch, &moved));
            age += 10;
        }
        for (int d = 0; d < 200; d++)
            mean += field_point(&f.state, 0, d) / 200;
        CHECK_NEAR(1.5 - 0.5 * 10000 / age, mean, 0.004);
        field_free(&f);
    }
}

TEST(threads_do_not_change_a_bit)
{
    struct fkmi_state first = {0};

    for (int threads = 1; threads <= 8; threads *= 2) {
        struct field f;
        struct fkmi_moved moved;
        field_make(&f, (struct field_wish){FIELD_WISH, .n = 4000, .k = 30, .dtype = FKM_DTYPE_F16,
                                           .mask = true, .threads = threads});
        f.params.repulsion_factor = 0.1;
        f.params.decay = 0.9;
        for (uint64_t batch = 0; batch < 3; batch++)
            CHECK_OK(field_ema(&f, batch, &moved));
        if (threads == 1)
            CHECK_OK(fkmi_state_copy(&first, &f.state));
        CHECK(field_same_state(&first, &f.state));
        field_free(&f);
    }
    fkmi_state_free(&first);
}

/* Pushed prototypes stay within reach of the data however often they are pushed. */
TEST(repulsion_is_bounded)
{
    static const fkm_repulsion modes[] = {FKM_REPULSION_WINDOW, FKM_REPULSION_GLVQ};

    for (int mode = 0; mode < 2; mode++) {
        struct field f;
        struct fkmi_moved moved;

        field_make(&f, (struct field_wish){FIELD_WISH, .spread = 0, .offset = 100});
        f.params.repulsion_factor = 1;
        f.params.repulsion = modes[mode];
        for (uint64_t batch = 0; batch < 300; batch++)
            CHECK_OK(field_ema(&f, batch, &moved));
        for (int64_t j = 0; j < f.state.k; j++)
            for (int d = 0; d < 5; d++)
                CHECK(fabs(field_point(&f.state, j, d) - 100) < 12);
        field_free(&f);
    }
}

TEST(a_decayed_prototype_splits_the_widest_one)
{
    struct field f;
    struct fkmi_moved moved;
    const double rows[6] = {0, 10, 4, 20, 21, 20}, start[3] = {4, 20, -1000};

    field_make(&f, (struct field_wish){FIELD_WISH, .n = 6, .dim = 1, .classes = 1, .k = 3});
    f.params.decay = 0.25;
    memcpy(f.stored, rows, sizeof rows);
    memcpy(f.state.points, start, sizeof start);
    for (int batch = 0; batch < 4; batch++) {
        CHECK_OK(field_ema(&f, 0, &moved));
        CHECK_NEAR(pow(0.25, batch + 1), f.state.mass[2], 1e-12); /* 0.0039 after the fourth */
    }
    CHECK_OK(field_ema(&f, 0, &moved)); /* 0.00098: dead */
    CHECK_INT(3, f.state.k);
    CHECK_INT(0, moved.merged);
    CHECK_NEAR(10, field_point(&f.state, 2, 0), 1e-12);
    CHECK_NEAR(f.state.mass[0], f.state.mass[2], 1e-12);
    CHECK(f.state.mass[0] > 1 && f.state.mass[0] < 3);
    field_free(&f);
}

TEST(a_dead_prototype_without_rows_to_take_is_pruned)
{
    struct field f;
    struct fkmi_moved moved;

    field_make(&f, (struct field_wish){FIELD_WISH, .classes = 2, .k = 3});
    for (int i = 0; i < 120; i++)
        f.slot[i] = 0; /* class 1 gets nothing */
    f.params.decay = 0.01;
    CHECK_OK(field_ema(&f, 0, &moved));
    CHECK_OK(field_ema(&f, 0, &moved));
    CHECK_INT(2, moved.merged);
    CHECK_INT(4, f.state.k);
    CHECK(f.work.old_of_new != NULL);
    for (int j = 0; j < 4; j++)
        CHECK_INT(j, f.work.old_of_new[j]);
    CHECK_OK(field_ema(&f, 0, &moved));
    CHECK_INT(1, f.state.class_begin[2] - f.state.class_begin[1]); /* the last one stays */
    CHECK(f.work.old_of_new == NULL);
    field_free(&f);
}

TEST(the_scale_is_known_after_the_first_batch_with_distances)
{
    struct field f;
    struct fkmi_moved moved;

    field_make(&f, (struct field_wish){FIELD_WISH, .n = 2, .dim = 1, .classes = 1, .k = 2});
    ((double *)f.stored)[0] = ((double *)f.state.points)[0] = 1e-3;
    ((double *)f.stored)[1] = ((double *)f.state.points)[1] = 2e-3;
    CHECK_OK(field_ema(&f, 0, &moved));
    CHECK_NEAR(1, f.state.scale, 0); /* every row lies on a prototype */
    ((double *)f.stored)[1] = 4e-3;
    CHECK_OK(field_ema(&f, 0, &moved));
    CHECK_NEAR(4e-6 / 2, f.state.scale, 1e-12);
    field_free(&f);
}

TEST(a_steady_stream_allocates_nothing)
{
    for (int soft = 0; soft < 2; soft++) {
        struct field f;
        struct fkmi_moved moved;
        fkm_assignment assignment[] = {FKM_ASSIGN_HARD, FKM_ASSIGN_LINEAR};

        field_make(&f, (struct field_wish){FIELD_WISH, .mask = true, .threads = 2});
        f.params.repulsion_factor = 0.1;
        f.params.assignment = assignment[soft];
        f.params.sparse = 1;
        f.params.merge_threshold = 1e-9;
        f.params.percentile_threshold = 0.1;
        for (uint64_t batch = 0; batch < 3; batch++)
            CHECK_OK(field_ema(&f, batch, &moved));
        (void)fkmi_memory_fail(0, 0);
        for (uint64_t batch = 3; batch < 20; batch++)
            CHECK_OK(field_ema(&f, batch, &moved));
        CHECK_INT(0, fkmi_memory_fail(0, 0));
        field_free(&f);
    }
}

TEST(a_failed_batch_leaves_the_state_as_it_was)
{
    for (int soft = 0; soft < 2; soft++)
        for (int64_t n = 1;; n++) {
            struct field f;
            struct fkmi_moved moved;
            struct fkmi_state before;
            fkm_status status;

            field_make(&f, (struct field_wish){FIELD_WISH, .mask = true, .targets = 2, .threads = 2});
            f.params.task = FKM_TASK_CLASSIFY;
            f.params.repulsion_factor = 0.1;
            f.params.assignment = soft ? FKM_ASSIGN_SOFTMAX : FKM_ASSIGN_HARD;
            f.params.decay = 0.5;
            f.params.sparse = 1;
            f.params.merge_threshold = 0.5;
            f.params.relative_merge = 1;
            f.params.percentile_threshold = 0.5;
            CHECK_OK(fkmi_state_copy(&before, &f.state));
            (void)fkmi_memory_fail(n, 0);
            status = field_ema(&f, 0, &moved);
            (void)fkmi_memory_fail(0, 0);
            CHECK(status == FKM_OK || status == FKM_ENOMEM);
            CHECK(field_same_state(&before, &f.state) == (status != FKM_OK));
            fkmi_state_free(&before);
            field_free(&f);
            if (status == FKM_OK)
                break;
            CHECK(n < 300);
        }
}
