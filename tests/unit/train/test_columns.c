/* test_columns.c — steps on CSR rows whose prototypes are lists: gradients against central differences, whole steps
 * against Adam by the letter on touched coordinates, the same bits on any number of threads, failures.
 * SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include "base/memory.h"
#include "train/columns.h"

static const double H = 1e-6, BETA_1 = 0.9, BETA_2 = 0.999;

/* Points of which most coordinates are 0. */
static void thin_out(struct world *world)
{
    for (int64_t at = 0; at < world->state.k * world->state.dim; at++)
        if (at % 7 > 2)
            fkmi_dtype_set(world->state.points, world->state.dtype, at, 0);
}

/* The same prototypes as lists. */
static void make_lists(struct world *world)
{
    struct fkmi_state *state = &world->state;
    const size_t size = fkmi_dtype_size(state->dtype);
    int64_t at = 0;

    CHECK_OK(fkmi_alloc(&state->lists.begin, state->k_capacity + 1, sizeof(int64_t)));
    CHECK_OK(fkmi_alloc(&state->lists.index, state->k * state->dim, sizeof(int32_t)));
    CHECK_OK(fkmi_alloc(&state->lists.value, state->k * state->dim, size));
    for (int64_t j = 0; j < state->k; j++) {
        for (int64_t d = 0; d < state->dim; d++)
            if (world_point(world, j, d) != 0) {
                state->lists.index[at] = (int32_t)d;
                memcpy((char *)state->lists.value + (size_t)at++ * size,
                       (const char *)state->points + (size_t)(j * state->dim + d) * size, size);
            }
        state->lists.begin[j + 1] = at;
    }
    state->list_capacity = state->k * state->dim;
    state->listed = true;
    fkmi_free(state->points);
    state->points = NULL;
}

/* Two models of one start: with points, for plain loops, and with lists. */
static void make_two(struct world_wish wish, struct world *points, struct world *lists)
{
    struct world *both[] = {points, lists};

    wish.csr = true;
    for (int which = 0; which < 2; which++) {
        world_make(both[which], wish);
        both[which]->params.asl_clip = 0;
        thin_out(both[which]);
        if (which == 1)
            make_lists(both[which]);
        world_begin(both[which]);
    }
}

static void free_two(struct world *points, struct world *lists)
{
    world_free(points);
    world_free(lists);
}

/* The first moment of coordinate d of prototype j; 0 of one that is not held. */
static double moment(const struct world *world, int64_t j, int64_t d)
{
    const struct fkmi_train_columns *columns = world->trainer.columns;
    const struct fkmi_train_column *column = &columns->column[d];

    for (int32_t e = 0; e < column->n; e++)
        if ((column->whole ? e : fkmi_column_prototypes(columns, column)[e]) == j)
            return ((const struct fkmi_moment_64 *)(const void *)fkmi_column_moments(columns, column))[e].m;
    return 0;
}

static bool touched(const struct world *points, int64_t j, int64_t d)
{
    if (points->state.frozen[j])
        return false;
    for (int64_t i = 0; i < points->rows.n; i++)
        if (points->x[i * points->wish.dim + d] != 0 && world_pulls(points, i, j))
            return true;
    return false;
}

static double difference(struct world *world, int64_t at)
{
    double *place = (double *)world->state.points + at;
    const double old = *place;
    double up, down;

    *place = old + H;
    up = world_naive_loss(world);
    *place = old - H;
    down = world_naive_loss(world);
    *place = old;
    return (up - down) / (2 * H);
}

TEST(gradients_are_those_of_the_loss)
{
    for (int task = 0; task < 4; task++)
        for (int what = 0; what < 12; what++) {
            struct world_wish wish = {WORLD_WISH, .task = (fkm_task)task, .weight = true};
            struct world points, lists;
            int n_touched = 0;

            wish.metric = (fkm_metric)(what % 3);
            wish.feature_weights = what >= 6;
            wish.soft = what % 6 >= 3 ? FKM_SOFT_SCALED : FKM_SOFT_SOFTMAX_SCALED;
            wish.n = 5;
            wish.dim =
                23; /* so that every row meets every prototype: ties at a cosine of 0 have no gradient */
            make_two(wish, &points, &lists);
            CHECK_NEAR(world_naive_loss(&points), world_loss(&lists), 1e-9);
            world_step(&lists, 0, 0);
            for (int64_t j = 0; j < points.state.k; j++)
                for (int64_t d = 0; d < wish.dim; d++) {
                    const bool is = touched(&points, j, d);
                    const double expected = is ? difference(&points, j * wish.dim + d) : 0;

                    CHECK_NEAR(expected, 10 * moment(&lists, j, d), 2e-6 * (1 + fabs(expected)));
                    n_touched += is;
                }
            CHECK(n_touched > 10 && n_touched < points.state.k * wish.dim);
            free_two(&points, &lists);
        }
}

/* What moves beside the prototypes is as in the other model. */
static void copy_small(struct world *to, const struct world *from)
{
    const struct fkmi_state *state = &from->state;

    memcpy(to->state.theta, state->theta, (size_t)state->k * sizeof(double));
    memcpy(to->state.bias, state->bias, (size_t)state->k * sizeof(double));
    if (state->targets)
        memcpy(to->state.targets, state->targets, (size_t)(state->k * state->n_targets) * sizeof(double));
    if (state->alpha)
        memcpy(to->state.alpha, state->alpha, (size_t)state->n_classes * sizeof(double));
    if (state->beta)
        memcpy(to->state.beta, state->beta, (size_t)state->n_classes * sizeof(double));
}

static void put_on_sphere(const struct world *world, double *point)
{
    const double *w = world->state.feature_weights;
    double square = 0;

    for (int64_t d = 0; d < world->state.dim; d++)
        square += (w ? w[d] : 1) * point[d] * point[d];
    for (int64_t d = 0; square > 0 && d < world->state.dim; d++)
        point[d] /= sqrt(square);
}

/* Adam by the letter on the touched coordinates of p, whose gradient is that of whole points. */
static void naive_step(struct world *points, double *m, double *v, double rate, int t)
{
    const int64_t k = points->state.k, dim = points->state.dim;
    double *p = points->state.points, next[64 * 16], was;

    CHECK(k * dim <= 64 * 16);
    world_loss(points);
    for (int64_t at = 0; at < k * dim; at++) {
        const double g = world_gradient(points, 0, at);

        next[at] = p[at];
        m[at] *= BETA_1;
        v[at] *= BETA_2;
        if (!touched(points, at / dim, at % dim))
            continue;
        m[at] += (1 - BETA_1) * g;
        v[at] += (1 - BETA_2) * g * g;
        was = next[at];
        next[at] = was - rate * points->trainer.unit * (m[at] / (1 - pow(BETA_1, t))) /
                             (sqrt(v[at] / (1 - pow(BETA_2, t))) + 1e-8);
    }
    for (int64_t j = 0; j < k; j++) {
        bool moved = false;

        for (int64_t d = 0; d < dim; d++)
            moved = moved || touched(points, j, d);
        for (int64_t i = 0; i < points->rows.n; i++)
            moved = moved || world_pulls(points, i, j);
        if (moved && !points->state.frozen[j] && points->params.normalize_prototypes)
            put_on_sphere(points, next + j * dim);
    }
    memcpy(p, next, (size_t)(k * dim) * sizeof *p);
}

TEST(steps_are_those_of_adam_on_touched_coordinates)
{
    for (int task = 0; task < 4; task++)
        for (int what = 0; what < 12; what++) {
            struct world_wish wish = {WORLD_WISH, .task = (fkm_task)task};
            struct world points, lists;
            double m[64 * 16] = {0}, v[64 * 16] = {0}, *point;

            wish.metric = (fkm_metric)(what % 3);
            wish.feature_weights = what % 6 >= 3;
            wish.dim = 9;
            make_two(wish, &points, &lists);
            points.params.normalize_prototypes = lists.params.normalize_prototypes =
                wish.metric == FKM_METRIC_COSINE;
            points.params.prototype_scale = lists.params.prototype_scale = what >= 6;
            points.params.top_k_train = lists.params.top_k_train = what >= 6 ? -1 : 3;
            points.state.frozen[4] = lists.state.frozen[4] = 1;
            CHECK_NEAR(points.trainer.unit, lists.trainer.unit, 1e-12);
            CHECK_OK(fkmi_alloc(&point, wish.dim, sizeof *point));
            for (int t = 1; t <= 12; t++) {
                copy_small(&points, &lists);
                points.rows.n = lists.rows.n = 3 + t; /* other rows touch other coordinates */
                naive_step(&points, m, v, 0.05, t);
                world_step(&lists, 0.05, 0);
                if (t % 4 > 0)
                    continue;
                CHECK_OK(fkmi_train_columns_export(lists.trainer.columns, &lists.state));
                for (int64_t j = 0; j < points.state.k; j++) {
                    fkmi_state_load(&lists.state, j, point);
                    for (int64_t d = 0; d < wish.dim; d++)
                        CHECK_NEAR(world_point(&points, j, d), point[d], 1e-9);
                }
            }
            fkmi_free(point);
            free_two(&points, &lists);
        }
}

static void start(struct world *world, struct world_wish wish)
{
    wish.csr = true;
    world_make(world, wish);
    thin_out(world);
    make_lists(world);
    world->params.noise = 0.1;
    world->params.normalize_prototypes = 1;
    world_begin(world);
}

static void check_same_lists(const struct fkmi_state *a, const struct fkmi_state *b)
{
    const int64_t n = a->lists.begin[a->k];

    CHECK(memcmp(a->lists.begin, b->lists.begin, (size_t)(a->k + 1) * sizeof(int64_t)) == 0);
    CHECK(memcmp(a->lists.index, b->lists.index, (size_t)n * sizeof(int32_t)) == 0);
    CHECK(memcmp(a->lists.value, b->lists.value, (size_t)n * fkmi_dtype_size(a->dtype)) == 0);
}

static void check_same(const struct fkmi_state *a, const struct fkmi_state *b)
{
    check_same_lists(a, b);
    CHECK(memcmp(a->theta, b->theta, (size_t)a->k * sizeof(double)) == 0);
}

TEST(any_number_of_threads_gives_the_same_bits)
{
    for (int task = 0; task < 4; task++)
        for (int dtype = 0; dtype < 4; dtype++) {
            struct world_wish wish = {WORLD_WISH, .task = (fkm_task)task, .weight = true};
            struct world first, other;

            wish.dtype = (fkm_dtype)dtype;
            wish.metric = (fkm_metric)((task + dtype) % 3);
            wish.n = 200;
            wish.dim = 150;
            wish.classes = 20;
            start(&first, wish);
            for (int t = 0; t < 4; t++)
                world_step(&first, 0.03, (uint64_t)t);
            CHECK_OK(fkmi_train_columns_export(first.trainer.columns, &first.state));
            for (int threads = 2; threads <= 16; threads = 2 * threads + 1) {
                wish.threads = threads;
                start(&other, wish);
                for (int t = 0; t < 4; t++)
                    world_step(&other, 0.03, (uint64_t)t);
                CHECK_OK(fkmi_train_columns_export(other.trainer.columns, &other.state));
                check_same(&first.state, &other.state);
                world_free(&other);
            }
            world_free(&first);
        }
}

TEST(steps_lower_the_loss_of_every_task)
{
    for (int task = 0; task < 4; task++)
        for (int metric = 0; metric < 3; metric++)
            for (int dtype = 0; dtype < 4; dtype++) {
                struct world_wish wish = {WORLD_WISH, .task = (fkm_task)task};
                struct world world;
                double first;

                wish.metric = (fkm_metric)metric;
                wish.dtype = (fkm_dtype)dtype;
                wish.n = 100;
                wish.csr = true;
                world_make(&world, wish);
                make_lists(&world);
                world.params.normalize_prototypes = metric == FKM_METRIC_COSINE;
                world_begin(&world);
                first = world_loss(&world);
                for (int t = 0; t < 60; t++)
                    world_step(&world, 0.03, (uint64_t)t);
                CHECK(world_loss(&world) < 0.97 * first);
                world_free(&world);
            }
}

/* Lists of all lengths, from empty ones to those that become whole columns, come back as they were. */
TEST(columns_hold_what_lists_say)
{
    for (int dtype = 0; dtype < 4; dtype++) {
        struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLUSTER, .csr = true};
        struct world world;
        struct fkmi_state before;
        struct fkmi_train_columns *columns;

        wish.dtype = (fkm_dtype)dtype;
        wish.dim = 40;
        wish.classes = 30;
        world_make(&world, wish);
        for (int64_t at = 0; at < world.state.k * wish.dim; at++)
            if (at / wish.dim % (1 + at % wish.dim) != 0) /* columns of ever fewer prototypes */
                fkmi_dtype_set(world.state.points, wish.dtype, at, 0);
        make_lists(&world);
        CHECK_OK(fkmi_state_copy(&before, &world.state));
        CHECK_OK(
            fkmi_train_columns_create(&world.state, FKM_METRIC_COSINE, &world.trainer.held, 0, &columns));
        CHECK(columns->column[0].whole && !columns->column[39].whole);
        for (int64_t n = 1; n < 100; n += 7) /* nothing is lost on the way to a whole column */
            CHECK_OK(fkmi_column_reserve(columns, &columns->column[39], n));
        CHECK(columns->column[39].whole);
        CHECK_OK(fkmi_train_columns_export(columns, &world.state));
        check_same(&before, &world.state);
        fkmi_train_columns_free(columns);
        fkmi_state_free(&before);
        world_free(&world);
    }
}

TEST(a_failed_allocation_moves_nothing)
{
    struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLASSIFY, .threads = 2};
    struct world world;
    struct fkmi_state before;
    fkm_status status = FKM_ENOMEM;

    wish.n = 60;
    wish.dim = 80;
    wish.classes = 40;
    start(&world, wish);
    CHECK_OK(fkmi_train_columns_export(world.trainer.columns, &world.state));
    CHECK_OK(fkmi_state_copy(&before, &world.state));
    for (int64_t n = 1; status != FKM_OK; n++) {
        double loss;

        fkmi_memory_fail(n, 0);
        status = fkmi_train_step(world.context, &world.params, &world.state, &world.trainer, &world.work,
                                 &world.rows, &world.targets, 0.05, world.random, &loss);
        fkmi_memory_fail(0, 0);
        CHECK(status == FKM_OK || status == FKM_ENOMEM);
        CHECK(status == FKM_OK || n < 10000);
        if (status == FKM_OK)
            break;
        CHECK_INT(0, world.trainer.columns->step);
        CHECK_OK(fkmi_train_columns_export(world.trainer.columns, &world.state));
        check_same(&before, &world.state);
    }
    CHECK_INT(1, world.trainer.columns->step);
    for (int64_t n = 1;; n++) { /* so does an export */
        fkmi_memory_fail(n, 0);
        status = fkmi_train_columns_export(world.trainer.columns, &world.state);
        fkmi_memory_fail(0, 0);
        if (status == FKM_OK)
            break;
        check_same_lists(&before, &world.state);
    }
    CHECK(world.state.lists.begin[world.state.k] > before.lists.begin[before.k]); /* lists have grown */
    fkmi_state_free(&before);
    world_free(&world);
}

TEST(a_loss_that_is_not_finite_moves_nothing)
{
    struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLUSTER};
    struct world world;
    struct fkmi_state before;
    double loss;

    start(&world, wish);
    world.params.noise = 0;
    world_step(&world, 0.01, 0);
    CHECK_OK(fkmi_train_columns_export(world.trainer.columns, &world.state));
    CHECK_OK(fkmi_state_copy(&before, &world.state));
    world.values[3] = 1e200;
    CHECK_STATUS(FKM_ESTATE,
                 fkmi_train_step(world.context, &world.params, &world.state, &world.trainer, &world.work,
                                 &world.rows, &world.targets, 0.01, world.random, &loss));
    CHECK_OK(fkmi_train_columns_export(world.trainer.columns, &world.state));
    check_same(&before, &world.state);
    world.values[3] = 0;
    world_step(&world, 0.01, 0);
    fkmi_state_free(&before);
    world_free(&world);
}

/* Rows without entries, and a prototype without any. */
TEST(empty_rows_and_empty_lists_do_no_harm)
{
    for (int metric = 0; metric < 3; metric++) {
        struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLASSIFY, .csr = true};
        struct world world;

        wish.metric = (fkm_metric)metric;
        world_make(&world, wish);
        for (int64_t at = 0; at < wish.dim; at++)
            fkmi_dtype_set(world.state.points, wish.dtype, at, 0);
        make_lists(&world);
        world.params.normalize_prototypes = metric == FKM_METRIC_COSINE;
        world_begin(&world);
        for (int t = 0; t < 10; t++)
            world_step(&world, 0.05, (uint64_t)t);
        memset(world.indptr, 0, (size_t)(wish.n + 1) * sizeof *world.indptr);
        for (int t = 0; t < 3; t++)
            world_step(&world, 0.05, (uint64_t)t);
        CHECK(isfinite(world_loss(&world)));
        world_free(&world);
    }
}

TEST(a_steady_stream_of_steps_allocates_nothing)
{
    struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLASSIFY, .threads = 2};
    struct world world;

    wish.n = 100;
    start(&world, wish);
    for (int t = 0; t < 5; t++)
        world_step(&world, 0.01, (uint64_t)t);
    fkmi_memory_fail(0, 0);
    for (int t = 5; t < 20; t++)
        world_step(&world, 0.01, (uint64_t)t);
    CHECK_INT(0, fkmi_memory_fail(0, 0));
    world_free(&world);
}
