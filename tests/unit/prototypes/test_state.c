/* test_state.c — the arrays of prototypes grow, shrink and copy as one.
 * SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "prototypes/state.h"

#define DIM 3

/* A regressor's state with everything a state can have: class c has c % 3 + 1 prototypes. */
static fkm_status add(struct fkmi_state *state, int64_t c)
{
    const int64_t k = c % 3 + 1;
    float points[3 * DIM];
    double targets[3 * 2];

    for (int i = 0; i < 3 * DIM; i++)
        points[i] = (float)(100 * c + i);
    for (int i = 0; i < 3 * 2; i++)
        targets[i] = (double)(1000 * c + i);
    return fkmi_state_add_class(state, fkmi_kernels_best(), 7 * c, points, targets, k);
}

static struct fkmi_state make(int64_t n_classes)
{
    struct fkmi_state state = {.dtype = FKM_DTYPE_F32, .dim = DIM, .n_targets = 2, .scale = 2.5};

    for (int64_t c = 0; c < n_classes; c++)
        CHECK_OK(add(&state, c));
    return state;
}

static void check_class(const struct fkmi_state *state, int64_t slot, int64_t c)
{
    const int64_t begin = state->class_begin[slot];

    CHECK_INT(7 * c, state->class_label[slot]);
    CHECK_INT(c % 3 + 1, state->class_begin[slot + 1] - begin);
    for (int64_t j = begin; j < state->class_begin[slot + 1]; j++) {
        for (int d = 0; d < DIM; d++)
            CHECK_NEAR(100 * c + (j - begin) * DIM + d, ((float *)fkmi_state_point(state, j))[d], 0);
        for (int t = 0; t < 2; t++)
            CHECK_NEAR(1000 * c + (j - begin) * 2 + t, state->targets[j * 2 + t], 0);
    }
}

TEST(classes_are_contiguous_and_complete)
{
    struct fkmi_state state = make(50);
    int32_t owner[200];

    CHECK_INT(50, state.n_classes);
    CHECK_INT(99, state.k);
    for (int64_t c = 0; c < 50; c++)
        check_class(&state, c, c);
    fkmi_state_owners(&state, owner);
    for (int64_t c = 0; c < 50; c++)
        for (int64_t j = state.class_begin[c]; j < state.class_begin[c + 1]; j++)
            CHECK_INT(c, owner[j]);
    for (int64_t j = 0; j < state.k; j++) {
        CHECK_NEAR(1, state.mass[j], 0);
        CHECK_NEAR(0, state.bias[j], 0);
        CHECK_NEAR(log(0.25), state.theta[j], 1e-15);
        CHECK_INT(0, state.frozen[j]);
    }
    fkmi_state_free(&state);
    CHECK_INT(0, state.k);
}

TEST(a_new_class_takes_the_theta_of_the_first)
{
    struct fkmi_state state = make(2);

    state.theta[0] = 0.75;
    CHECK_OK(add(&state, 2));
    CHECK_NEAR(0.75, state.theta[state.k - 1], 0);
    fkmi_state_free(&state);
}

TEST(ages_begin_at_the_mass_and_grow_with_classes)
{
    struct fkmi_state state = make(3);
    const int64_t k = state.k;

    for (int64_t j = 0; j < k; j++)
        state.mass[j] = (double)(j + 5);
    CHECK_OK(fkmi_state_need_ages(&state));
    CHECK_OK(fkmi_state_need_ages(&state));
    for (int64_t c = 3; c < 40; c++)
        CHECK_OK(add(&state, c));
    for (int64_t j = 0; j < state.k; j++)
        for (int d = 0; d < DIM; d++)
            CHECK_NEAR(j < k ? (double)(j + 5) : 1, state.ages[j * DIM + d], 0);
    fkmi_state_free(&state);
}

TEST(truncating_undoes_an_addition)
{
    struct fkmi_state state = make(4);
    const int64_t k = state.k;

    CHECK_OK(add(&state, 4));
    CHECK_OK(add(&state, 5));
    fkmi_state_truncate(&state, 4);
    CHECK_INT(k, state.k);
    CHECK_INT(4, state.n_classes);
    CHECK_OK(add(&state, 9));
    check_class(&state, 4, 9);
    fkmi_state_free(&state);
}

TEST(compacting_keeps_order_and_owners)
{
    struct fkmi_state state = make(6); /* 1 2 3 1 2 3 prototypes */
    static const uint8_t keep[12] = {1, 0, 1, 1, 0, 1, 1, 1, 1, 0, 0, 1};
    static const int64_t begin[7] = {0, 1, 2, 4, 5, 7, 8};
    int64_t to = 0;

    CHECK_OK(fkmi_state_need_ages(&state));
    for (int64_t j = 0; j < 12; j++) {
        state.mass[j] = (double)j;
        state.bias[j] = 0.5 + (double)j;
        state.theta[j] = -(double)j;
        state.frozen[j] = (uint8_t)(j % 2);
        ((float *)fkmi_state_point(&state, j))[0] = (float)j;
        for (int d = 0; d < DIM; d++)
            state.ages[j * DIM + d] = (double)(j * 10 + d);
        state.targets[2 * j] = (double)(100 + j);
    }
    fkmi_state_compact(&state, keep);
    CHECK_INT(8, state.k);
    for (int c = 0; c < 7; c++)
        CHECK_INT(begin[c], state.class_begin[c]);
    for (int64_t j = 0; j < 12; j++) {
        if (!keep[j])
            continue;
        CHECK_NEAR(j, state.mass[to], 0);
        CHECK_NEAR(0.5 + (double)j, state.bias[to], 0);
        CHECK_NEAR(-(double)j, state.theta[to], 0);
        CHECK_INT(j % 2, state.frozen[to]);
        CHECK_NEAR(j, ((float *)fkmi_state_point(&state, to))[0], 0);
        CHECK_NEAR(j * 10 + 2, state.ages[to * DIM + 2], 0);
        CHECK_NEAR(100 + j, state.targets[2 * to], 0);
        to++;
    }
    fkmi_state_free(&state);
}

static void dress(struct fkmi_state *state)
{
    CHECK_OK(fkmi_state_need_ages(state));
    CHECK_OK(fkmi_alloc(&state->alpha, state->class_capacity, sizeof(double)));
    CHECK_OK(fkmi_alloc(&state->beta, state->class_capacity, sizeof(double)));
    CHECK_OK(fkmi_alloc(&state->threshold, state->class_capacity, sizeof(double)));
    CHECK_OK(fkmi_alloc(&state->strata, state->class_capacity * 2, sizeof(double)));
    CHECK_OK(fkmi_alloc(&state->feature_weights, DIM, sizeof(double)));
    for (int64_t c = 0; c < state->n_classes; c++)
        state->alpha[c] = state->beta[c] = state->threshold[c] = state->strata[2 * c] = (double)(c + 3);
}

static void check_dress(const struct fkmi_state *state, int64_t n)
{
    for (int64_t c = 0; c < state->n_classes; c++) {
        CHECK_NEAR(c < n ? (double)(c + 3) : 0, state->alpha[c], 0);
        CHECK_NEAR(c < n ? (double)(c + 3) : 0, state->beta[c], 0);
        CHECK_NEAR(c < n ? (double)(c + 3) : 0, state->threshold[c], 0);
        CHECK_NEAR(c < n ? (double)(c + 3) : 0, state->strata[2 * c], 0);
    }
}

TEST(a_copy_owns_the_same_values)
{
    struct fkmi_state state = make(5), copy;

    dress(&state);
    state.feature_weights[1] = 2;
    CHECK_OK(fkmi_state_copy(&copy, &state));
    memset(state.points, 0, sizeof(float) * DIM);
    state.mass[0] = 99;
    CHECK_NEAR(1, copy.mass[0], 0);
    CHECK_NEAR(2, copy.feature_weights[1], 0);
    CHECK_NEAR(2.5, copy.scale, 0);
    for (int64_t c = 0; c < 5; c++)
        check_class(&copy, c, c);
    check_dress(&copy, 5);
    CHECK_OK(add(&copy, 5)); /* and can grow */
    check_class(&copy, 5, 5);
    fkmi_state_free(&copy);
    fkmi_state_free(&state);
}

TEST(a_failed_addition_leaves_everything_as_it_was)
{
    for (int64_t n = 1;; n++) {
        struct fkmi_state state = make(5);
        fkm_status status;
        const int64_t k = state.k;

        dress(&state);
        (void)fkmi_memory_fail(n, 0);
        status = FKM_OK;
        for (int64_t c = 5; c < 8 && status == FKM_OK; c++) {
            status = add(&state, c);
            if (status == FKM_OK)
                CHECK_INT(c + 1, state.n_classes);
            else
                CHECK_INT(c, state.n_classes);
        }
        (void)fkmi_memory_fail(0, 0);
        for (int64_t c = 0; c < state.n_classes; c++)
            check_class(&state, c, c);
        check_dress(&state, 5);
        for (int64_t j = 0; j < k * DIM; j++)
            CHECK_NEAR(1, state.ages[j], 0);
        for (int64_t c = state.n_classes; c < 9; c++) /* and it goes on */
            CHECK_OK(add(&state, c));
        check_class(&state, 8, 8);
        fkmi_state_free(&state);
        if (status == FKM_OK)
            break;
        CHECK(n < 100);
    }
}

TEST(normalising_gives_unit_length_under_the_weights)
{
    const double weights[DIM] = {2, 0.5, 0.5};
    struct fkmi_space space = {.metric = FKM_METRIC_COSINE, .dim = DIM, .feature_weights = weights};
    double huge[DIM] = {3e200, -4e200, 1e200}, tiny[DIM] = {1e-200, 2e-200, 0}, zero[DIM] = {0},
           other[DIM] = {3, 4, 5};

    CHECK(fkmi_point_normalise(&space, huge));
    CHECK_NEAR(1, 2 * huge[0] * huge[0] + 0.5 * huge[1] * huge[1] + 0.5 * huge[2] * huge[2], 1e-14);
    CHECK_NEAR(-4.0 / 3, huge[1] / huge[0], 1e-14);
    CHECK(fkmi_point_normalise(&space, tiny));
    CHECK_NEAR(1, 2 * tiny[0] * tiny[0] + 0.5 * tiny[1] * tiny[1], 1e-14);
    CHECK(!fkmi_point_normalise(&space, zero));
    CHECK_NEAR(0, zero[0], 0);
    space.metric = FKM_METRIC_L1;
    CHECK(fkmi_point_normalise(&space, other));
    CHECK_NEAR(3, other[0], 0);
}
