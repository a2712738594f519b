/* test_soft.c — soft assignment: shares and the moves they make.
 * SPDX-License-Identifier: Apache-2.0 */
#include "unit/prototypes/field.h"

#include <stdlib.h>

/* Shares by the definition; d: k distances of a row of class slot. */
static void naive_shares(const struct field *f, const double *d, double s, int32_t slot, double *share)
{
    const int64_t k = f->state.k;
    double sum = 0, best = -INFINITY;
    int64_t at = 0;

    for (int64_t j = 0; j < k; j++) {
        const bool own = j >= f->state.class_begin[slot] && j < f->state.class_begin[slot + 1];
        const double sim = f->wish.metric == FKM_METRIC_COSINE ? 1 - d[j] : 1 / (1 + d[j] / s);
        const double score = sim - (own ? 0 : f->params.lambda_penalty);
        share[j] =
            f->params.assignment == FKM_ASSIGN_LINEAR ? fmax(score, 0) : exp(score / f->params.temperature);
        sum += share[j];
        if (score > best) {
            best = score;
            at = j;
        }
    }
    for (int64_t j = 0; j < k; j++)
        share[j] = sum > 0 ? share[j] / sum : j == at;
}

static void check_batch(struct field_wish wish, fkm_assignment assignment, double lambda)
{
    struct field f;
    struct fkmi_moved moved;
    double *points, *share, *sum, *age, *mass, *distance, *nearest, total = 0, weight = 0, s;
    int64_t k, *index;

    field_make(&f, wish);
    f.params.assignment = assignment;
    f.params.lambda_penalty = lambda;
    f.params.temperature = 0.2;
    f.params.repulsion_factor = 0.5; /* the penalty takes its place */
    f.slot[4] = -1;
    k = f.state.k;
    points = field_points(&f.state);
    share = calloc((size_t)(wish.n * k), sizeof *share);
    sum = calloc((size_t)(k * wish.dim), sizeof *sum);
    age = calloc((size_t)(k * wish.dim), sizeof *age);
    mass = calloc((size_t)k, sizeof *mass);
    distance = calloc((size_t)k, sizeof *distance);
    nearest = calloc((size_t)wish.n, sizeof *nearest);
    index = calloc((size_t)wish.n, sizeof *index);
    naive_assign(&f, points, f.state.class_begin, index, nearest);
    for (int i = 0; i < wish.n; i++)
        if (index[i] >= 0) {
            total += field_weight(&f, i) * nearest[i];
            weight += field_weight(&f, i);
        }
    s = total / weight; /* unknown before the batch: its own */
    for (int i = 0; i < wish.n; i++) {
        if (f.slot[i] < 0)
            continue;
        for (int64_t j = 0; j < k; j++)
            distance[j] = naive_distance(wish.metric, f.loaded + i * wish.dim, points + j * wish.dim, f.w,
                                         f.mask ? f.mask + i * wish.dim : NULL, wish.dim);
        naive_shares(&f, distance, s, f.slot[i], share + i * k);
    }
    naive_sums(&f, share, k, sum, age, mass);
    CHECK_OK(field_ema(&f, 0, &moved));
    CHECK_INT(k, f.state.k);
    CHECK_NEAR(s, moved.mean_distance, 1e-9 * (1 + s));
    for (int64_t j = 0; j < k; j++) {
        double *c = points + j * wish.dim;
        CHECK_NEAR(1 + mass[j], f.state.mass[j], 1e-8);
        for (int d = 0; d < wish.dim; d++) {
            const double n = wish.mask ? age[j * wish.dim + d] : mass[j];
            if (n > 0)
                c[d] += n / (1 + n) * (sum[j * wish.dim + d] / n - c[d]);
        }
        naive_normalise(&f, c);
        for (int d = 0; d < wish.dim; d++)
            CHECK_NEAR(c[d], field_point(&f.state, j, d), 1e-8);
    }
    free(points);
    free(share);
    free(sum);
    free(age);
    free(mass);
    free(distance);
    free(nearest);
    free(index);
    field_free(&f);
}

TEST(every_prototype_takes_its_share)
{
    for (int metric = 0; metric < 3; metric++)
        for (int kind = 0; kind < 8; kind++)
            if (!((kind & 1) && (kind & 4)))
                for (int a = FKM_ASSIGN_LINEAR; a <= FKM_ASSIGN_SOFTMAX; a++)
                    check_batch((struct field_wish){FIELD_WISH, .metric = (fkm_metric)metric,
                                                    .mask = kind & 1, .weight = kind & 2, .csr = kind & 4,
                                                    .feature_weights = kind & 2, .threads = 2},
                                (fkm_assignment)a, 0.1);
}

TEST(rows_without_score_go_to_their_nearest)
{
    const double lambda = 2.5; /* more than any similarity: other classes never score */

    check_batch((struct field_wish){FIELD_WISH, .metric = FKM_METRIC_COSINE, .k = 1, .spread = -9},
                FKM_ASSIGN_LINEAR, lambda);
}

TEST(many_rows_go_in_blocks)
{
    check_batch((struct field_wish){FIELD_WISH, .n = 9000, .k = 100}, FKM_ASSIGN_LINEAR,
                0.2); /* 2.7 million shares */
}

/* One pass, and what its sums and masses must be. */
static void check_pass(struct field_wish wish, fkm_assignment assignment)
{
    struct field f;
    double *before, *share, *sum, *age, *mass, *distance, *nearest, total = 0, weight = 0;
    int64_t k, *index;

    field_make(&f, wish);
    f.params.assignment = assignment;
    f.params.temperature = 0.2;
    f.slot[4] = -1;
    k = f.state.k;
    f.state.frozen[1] = 1;
    before = field_points(&f.state);
    share = calloc((size_t)(wish.n * k), sizeof *share);
    sum = calloc((size_t)(k * wish.dim), sizeof *sum);
    age = calloc((size_t)(k * wish.dim), sizeof *age);
    mass = calloc((size_t)k, sizeof *mass);
    distance = calloc((size_t)k, sizeof *distance);
    nearest = calloc((size_t)wish.n, sizeof *nearest);
    index = calloc((size_t)wish.n, sizeof *index);
    naive_assign(&f, before, f.state.class_begin, index, nearest);
    for (int i = 0; i < wish.n; i++)
        if (index[i] >= 0) {
            total += field_weight(&f, i) * nearest[i];
            weight += field_weight(&f, i);
        }
    for (int i = 0; i < wish.n; i++) {
        if (f.slot[i] < 0)
            continue;
        for (int64_t j = 0; j < k; j++)
            distance[j] = naive_distance(wish.metric, f.loaded + i * wish.dim, before + j * wish.dim, f.w,
                                         NULL, wish.dim);
        naive_shares(&f, distance, total / weight, f.slot[i], share + i * k);
    }
    naive_sums(&f, share, k, sum, age, mass);
    CHECK_OK(field_lloyd(&f, 1, 0));
    CHECK_INT(k, f.state.k);
    for (int64_t j = 0; j < k; j++) {
        double *c = sum + j * wish.dim;

        CHECK_NEAR(mass[j], f.state.mass[j], 1e-8);
        for (int d = 0; d < wish.dim; d++)
            c[d] = j == 1 ? before[j * wish.dim + d] : c[d] / mass[j];
        if (j != 1)
            naive_normalise(&f, c);
        for (int d = 0; d < wish.dim; d++)
            CHECK_NEAR(c[d], field_point(&f.state, j, d), 1e-8);
    }
    free(before);
    free(share);
    free(sum);
    free(age);
    free(mass);
    free(distance);
    free(nearest);
    free(index);
    field_free(&f);
}

TEST(full_passes_share_rows_too)
{
    for (int metric = 0; metric < 3; metric++)
        for (int kind = 0; kind < 4; kind++)
            for (int a = FKM_ASSIGN_LINEAR; a <= FKM_ASSIGN_SOFTMAX; a++)
                check_pass((struct field_wish){FIELD_WISH, .metric = (fkm_metric)metric, .csr = kind & 1,
                                               .weight = kind & 2, .feature_weights = kind & 2, .threads = 2},
                           (fkm_assignment)a);
}

TEST(csr_rows_go_panel_by_panel_and_block_by_block)
{
    check_pass((struct field_wish){FIELD_WISH, .metric = FKM_METRIC_COSINE, .csr = true, .n = 700, .k = 70,
                                   .dim = 9, .threads = 2},
               FKM_ASSIGN_LINEAR); /* 210 prototypes */
    check_pass((struct field_wish){FIELD_WISH, .metric = FKM_METRIC_EUCLIDEAN, .csr = true, .n = 700, .k = 70,
                                   .dim = 1100},
               FKM_ASSIGN_SOFTMAX);
    check_pass((struct field_wish){FIELD_WISH, .metric = FKM_METRIC_COSINE, .csr = true, .n = 40000, .k = 2},
               FKM_ASSIGN_SOFTMAX); /* two blocks of 32,768 rows, where a register holds 8 doubles */
    check_batch(
        (struct field_wish){FIELD_WISH, .metric = FKM_METRIC_COSINE, .csr = true, .n = 40000, .k = 30},
        FKM_ASSIGN_LINEAR, 0.2);
}

TEST(threads_do_not_change_a_bit)
{
    struct fkmi_state first = {0};

    for (int threads = 1; threads <= 8; threads *= 2) {
        struct field f;
        struct fkmi_moved moved;
        field_make(&f, (struct field_wish){FIELD_WISH, .n = 1000, .k = 30, .mask = true, .threads = threads});
        f.params.assignment = FKM_ASSIGN_SOFTMAX;
        CHECK_OK(field_ema(&f, 0, &moved));
        CHECK_OK(field_ema(&f, 1, &moved));
        if (threads == 1)
            CHECK_OK(fkmi_state_copy(&first, &f.state));
        CHECK(field_same_state(&first, &f.state));
        field_free(&f);
    }
    fkmi_state_free(&first);
}

TEST(nor_do_they_of_full_passes_over_csr_rows)
{
    struct fkmi_state first = {0};

    for (int threads = 1; threads <= 8; threads *= 2) {
        struct field f;
        field_make(&f, (struct field_wish){FIELD_WISH, .metric = FKM_METRIC_COSINE, .dtype = FKM_DTYPE_F32,
                                           .n = 1000, .dim = 600, .k = 30, .csr = true, .threads = threads});
        f.params.assignment = FKM_ASSIGN_SOFTMAX;
        CHECK_OK(field_lloyd(&f, 3, 0));
        if (threads == 1)
            CHECK_OK(fkmi_state_copy(&first, &f.state));
        CHECK(field_same_state(&first, &f.state));
        field_free(&f);
    }
    fkmi_state_free(&first);
}
