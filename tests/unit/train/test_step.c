/* test_step.c — what a gradient step moves, and what it leaves alone: Adam by the letter, frozen prototypes,
 * any number of threads, failures, memory.
 * SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <stdlib.h>

#include "base/memory.h"

/* ---- a state and trainer as bytes */

static void put(char **at, const void *bytes, int64_t count, size_t size)
{
    if (!bytes)
        return;
    memcpy(*at, bytes, (size_t)count * size);
    *at += (size_t)count * size;
}

static size_t photograph(const struct world *world, char *out)
{
    const struct fkmi_state *s = &world->state;
    const struct fkmi_trainer *t = &world->trainer;
    const size_t real = fkmi_real_size(t->real), d = sizeof(double);
    char *at = out;

    put(&at, s->points, s->k * s->dim, fkmi_dtype_size(s->dtype));
    put(&at, s->targets, s->k * s->n_targets, d);
    put(&at, s->theta, s->k, d);
    put(&at, s->bias, s->k, d);
    put(&at, s->mass, s->k, d);
    put(&at, s->alpha, s->n_classes, d);
    put(&at, s->beta, s->n_classes, d);
    put(&at, s->feature_weights, s->dim, d);
    put(&at, &t->step, 1, sizeof t->step);
    put(&at, &t->begun, 1, sizeof t->begun);
    if (!t->begun)
        return (size_t)(at - out);
    put(&at, t->point_m, t->k * t->dim, real);
    put(&at, t->point_v, t->k * t->dim, real);
    put(&at, t->master, t->k * t->dim, real);
    put(&at, t->anchor, t->k * t->dim, real);
    put(&at, t->gradient, t->k * t->dim, real);
    put(&at, t->target_m, t->k * t->n_targets, d);
    put(&at, t->target_v, t->k * t->n_targets, d);
    put(&at, t->theta_m, t->k, d);
    put(&at, t->theta_v, t->k, d);
    put(&at, t->bias_m, t->k, d);
    put(&at, t->bias_v, t->k, d);
    put(&at, t->weight_m, t->dim, d);
    put(&at, t->weight_v, t->dim, d);
    put(&at, t->alpha_m, t->n_classes, d);
    put(&at, t->alpha_v, t->n_classes, d);
    put(&at, t->beta_m, t->n_classes, d);
    put(&at, t->beta_v, t->n_classes, d);
    return (size_t)(at - out);
}

enum { PHOTO = 1 << 20 };

static void everything_on(struct world *world)
{
    world->params.auto_feature_weights = 1;
    world->params.l2_reg = 0.1;
    world->params.diversity_reg = 0.1;
    world->params.noise = 0.1;
    world->params.label_smoothing = 0.1;
    world->params.prototype_scale = 1;
    world->params.normalize_prototypes = 1;
}

/* ---- */

TEST(adam_is_adam)
{
    const double rate = 0.02;
    struct world world;
    double unit = 0, mean = 0, *p, *m, *v;
    int64_t n;

    world_make(&world, (struct world_wish){WORLD_WISH, .task = FKM_TASK_CLASSIFY, .weight = true});
    world_begin(&world);
    n = world.state.k * world.state.dim;
    CHECK_OK(fkmi_alloc(&p, n, sizeof *p));
    CHECK_OK(fkmi_alloc(&m, n, sizeof *m));
    CHECK_OK(fkmi_alloc(&v, n, sizeof *v));
    for (int64_t i = 0; i < n; i++)
        mean += (p[i] = world_point(&world, 0, i)) / (double)n;
    for (int64_t i = 0; i < n; i++)
        unit += (p[i] - mean) * (p[i] - mean) / (double)n;
    unit = sqrt(unit);
    CHECK_NEAR(unit, world.trainer.unit, 1e-12);
    for (int t = 1; t <= 20; t++) {
        world_loss(&world);
        for (int64_t i = 0; i < n; i++) {
            const double g = world_gradient(&world, 0, i);

            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.999 * v[i] + 0.001 * g * g;
            p[i] -= rate * unit * (m[i] / (1 - pow(0.9, t))) / (sqrt(v[i] / (1 - pow(0.999, t))) + 1e-8);
        }
        world_step(&world, rate, 0);
        CHECK_INT(t, world.trainer.step);
        for (int64_t i = 0; i < n; i++)
            CHECK_NEAR(p[i], world_point(&world, 0, i), 1e-9);
    }
    fkmi_free(p);
    fkmi_free(m);
    fkmi_free(v);
    world_free(&world);
}

TEST(begin_starts_theta_at_0_and_keeps_a_learned_one)
{
    struct world world;

    world_make(&world, (struct world_wish){WORLD_WISH, .task = FKM_TASK_CLASSIFY});
    CHECK_NEAR(FKMI_THETA_PHASE1, world.state.theta[0], 0);
    world_begin(&world);
    for (int64_t j = 0; j < world.state.k; j++)
        CHECK_NEAR(0, world.state.theta[j], 0);
    world_step(&world, 0.1, 0);
    CHECK(world.state.theta[0] != 0);
    for (int64_t j = 1; j < world.state.k; j++)
        CHECK_NEAR(world.state.theta[0], world.state.theta[j], 0);
    world.state.theta[0] = 0.5;
    world_begin(&world);
    CHECK_NEAR(0.5, world.state.theta[0], 0);
    CHECK_INT(0, world.trainer.step);
    world_free(&world);
}

TEST(tags_begin_at_their_share)
{
    struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_MULTILABEL, .weight = true, .mask = true};
    struct world world;

    wish.n = 200;
    world_make(&world, wish);
    world_begin(&world);
    for (int c = 0; c < wish.classes; c++) {
        double mean = 0, share = 0, total = 0;

        CHECK_NEAR(1, world.state.alpha[c], 0);
        for (int i = 0; i < wish.n; i++) {
            const double u = (double)world.weight[i];
            double nearest = INFINITY;

            for (int j = 0; j < wish.k; j++)
                nearest = fmin(nearest, world_distance(&world, world.x + i * wish.dim,
                                                       world.mask + i * wish.dim, c * wish.k + j));
            total += u;
            mean += u / (1 + exp(nearest / (0.7 * 2.5 * exp(world.state.theta[0])) - world.state.beta[c]));
            for (int64_t t = world.tag_indptr[i]; t < world.tag_indptr[i + 1]; t++)
                share += world.tag_slot[t] == c ? u : 0;
        }
        CHECK_NEAR(share / total, mean / total, 1e-6);
    }
    world_free(&world);
}

/* The logistic loss of all tags at a slope, each with the beta that is best there, by plain loops. */
static double loss_at(const struct world *world, double slope)
{
    const struct world_wish *wish = &world->wish;
    double loss = 0;

    for (int c = 0; c < wish->classes; c++) {
        double z[200], has[200], n_has = 0, low = -1e3, high = 1e3, least = 0;

        for (int i = 0; i < wish->n; i++) {
            double nearest = INFINITY;

            for (int j = 0; j < wish->k; j++)
                nearest =
                    fmin(nearest, world_distance(world, world->x + i * wish->dim, NULL, c * wish->k + j));
            z[i] = -slope * nearest / (0.7 * 2.5);
            has[i] = 0;
            for (int64_t t = world->tag_indptr[i]; t < world->tag_indptr[i + 1]; t++)
                has[i] = world->tag_slot[t] == c ? 1 : has[i];
            n_has += has[i];
        }
        for (int i = 0; i < wish->n; i++)
            has[i] = has[i] > 0 ? (n_has + 1) / (n_has + 2) : 1 / (wish->n - n_has + 2);
        for (int step = 0; step < 100; step++) { /* the loss is convex in beta */
            const double beta = (low + high) / 2;
            double pull = 0;

            least = 0;
            for (int i = 0; i < wish->n; i++) {
                const double p = 1 / (1 + exp(-(z[i] + beta)));

                pull += p - has[i];
                least += has[i] * log1p(exp(-(z[i] + beta))) + (1 - has[i]) * log1p(exp(z[i] + beta));
            }
            if (pull > 0)
                high = beta;
            else
                low = beta;
        }
        loss += least;
    }
    return loss;
}

TEST(tags_begin_at_the_slope_that_tells_best)
{
    struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_MULTILABEL};

    for (uint64_t seed = 1; seed < 6; seed++) {
        struct world world;
        double slope;

        wish.n = 180;
        wish.seed = seed;
        world_make(&world, wish);
        world_begin(&world);
        slope = exp(-world.state.theta[0]);
        if (slope > 0.07 && slope < 60) { /* else the least is at an end of what is looked at */
            CHECK(loss_at(&world, slope) <= loss_at(&world, slope * 1.01));
            CHECK(loss_at(&world, slope) <= loss_at(&world, slope / 1.01));
        }
        for (int64_t j = 1; j < world.state.k; j++)
            CHECK_NEAR(world.state.theta[0], world.state.theta[j], 0);
        world_free(&world);
    }
}

TEST(a_tag_of_nobody_begins_low_but_finite)
{
    struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_MULTILABEL};
    struct world world;

    world_make(&world, wish);
    memset(world.tag_indptr, 0, (size_t)(wish.n + 1) * sizeof(int64_t));
    world_begin(&world);
    for (int c = 0; c < wish.classes; c++)
        CHECK(isfinite(world.state.beta[c]));
    for (int t = 0; t < 50; t++)
        world_step(&world, 0.1, (uint64_t)t);
    CHECK(isfinite(world_loss(&world)));
    world_free(&world);
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
                world_make(&world, wish);
                world.params.normalize_prototypes = metric == FKM_METRIC_COSINE;
                world_begin(&world);
                first = world_loss(&world);
                for (int t = 0; t < 60; t++)
                    world_step(&world, 0.03, (uint64_t)t);
                CHECK(world_loss(&world) < 0.97 * first);
                world_free(&world);
            }
}

TEST(cosine_prototypes_stay_on_the_sphere)
{
    for (int dtype = 0; dtype < 4; dtype++) {
        struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLASSIFY};
        struct world world;

        wish.metric = FKM_METRIC_COSINE;
        wish.dtype = (fkm_dtype)dtype;
        world_make(&world, wish);
        world.params.normalize_prototypes = 1;
        world_begin(&world);
        world_step(&world, 0.1, 0);
        for (int64_t j = 0; j < world.state.k; j++) {
            double square = 0;

            for (int64_t d = 0; d < wish.dim; d++)
                square += world_point(&world, j, d) * world_point(&world, j, d);
            CHECK_NEAR(1, square, dtype == FKM_DTYPE_BF16 ? 0.01 : dtype == FKM_DTYPE_F16 ? 2e-3 : 1e-6);
        }
        world_free(&world);
    }
}

TEST(half_precision_remembers_small_steps)
{
    struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLASSIFY};
    struct world half, full;

    wish.dtype = FKM_DTYPE_BF16;
    world_make(&half, wish);
    wish.dtype = FKM_DTYPE_F32;
    world_make(&full, wish);
    world_begin(&half);
    world_begin(&full);
    for (int t = 0; t < 100; t++) { /* each step is far below a unit of the last place of most coordinates */
        world_step(&half, 2e-4, 0);
        world_step(&full, 2e-4, 0);
    }
    for (int64_t at = 0; at < full.state.k * wish.dim; at++)
        CHECK_NEAR(world_point(&full, 0, at), world_point(&half, 0, at),
                   0.008 + 0.008 * fabs(world_point(&full, 0, at)));
    {
        double moved = 0;

        for (int64_t at = 0; at < full.state.k * wish.dim; at++)
            moved += fabs(((const float *)half.trainer.master)[at] - world_point(&half, 0, at)) > 0;
        CHECK(moved > 10); /* the master keeps what rounding drops */
    }
    /* somebody else moves a prototype: the master follows */
    fkmi_dtype_set(half.state.points, FKM_DTYPE_BF16, 0, 5.0);
    world_step(&half, 2e-4, 0);
    CHECK_NEAR(5, ((const float *)half.trainer.master)[0], 0.01);
    world_free(&half);
    world_free(&full);
}

TEST(frozen_prototypes_stay)
{
    for (int task = 0; task < 4; task++) {
        struct world_wish wish = {WORLD_WISH, .task = (fkm_task)task, .feature_weights = true};
        struct world world;
        double before[64], target[8];

        world_make(&world, wish);
        everything_on(&world);
        world.state.frozen[2] = world.state.frozen[7] = 1;
        world_begin(&world);
        for (int64_t d = 0; d < wish.dim; d++) {
            before[d] = world_point(&world, 2, d);
            before[wish.dim + d] = world_point(&world, 7, d);
        }
        for (int64_t t = 0; t < world.state.n_targets; t++)
            target[t] = world.state.targets[2 * world.state.n_targets + t];
        for (int t = 0; t < 5; t++)
            world_step(&world, 0.1, (uint64_t)t);
        for (int64_t d = 0; d < wish.dim; d++) {
            CHECK_NEAR(before[d], world_point(&world, 2, d), 0);
            CHECK_NEAR(before[wish.dim + d], world_point(&world, 7, d), 0);
            CHECK_NEAR(0, world_gradient(&world, 2, d), 0);
            CHECK_NEAR(0, ((double *)world.trainer.point_m)[2 * wish.dim + d], 0);
            CHECK_NEAR(0, ((double *)world.trainer.point_v)[7 * wish.dim + d], 0);
        }
        for (int64_t t = 0; t < world.state.n_targets; t++)
            CHECK_NEAR(target[t], world.state.targets[2 * world.state.n_targets + t], 0);
        if (world.trainer.theta_m && task != FKM_TASK_MULTILABEL)
            CHECK_NEAR(0, world.state.theta[2], 0);
        CHECK(world_gradient(&world, 3, 0) != 0);
        world_free(&world);
    }
}

TEST(feature_weights_stay_positive_and_sum_to_dim)
{
    struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLASSIFY, .feature_weights = true};
    struct world world;
    double sum = 0, changed = 0, before[5];

    world_make(&world, wish);
    world.params.auto_feature_weights = 1;
    world_begin(&world);
    memcpy(before, world.state.feature_weights, sizeof before);
    for (int t = 0; t < 100; t++)
        world_step(&world, 0.1, (uint64_t)t);
    for (int d = 0; d < wish.dim; d++) {
        CHECK(world.state.feature_weights[d] > 1e-4);
        sum += world.state.feature_weights[d];
        changed += fabs(world.state.feature_weights[d] - before[d]);
    }
    CHECK_NEAR(wish.dim, sum, 1e-9);
    CHECK(changed > 0.1);
    world_free(&world);
}

TEST(any_number_of_threads_gives_the_same_bits)
{
    char *first = malloc(PHOTO), *other = malloc(PHOTO);

    CHECK(first && other);
    for (int task = 0; task < 4; task++)
        for (int what = 0; what < 4; what++) {
            size_t size = 0;

            for (int threads = 1; threads <= 8; threads++) {
                struct world_wish wish = {WORLD_WISH, .task = (fkm_task)task, .weight = true};
                struct world world;

                wish.dtype = what == 3 ? FKM_DTYPE_F16 : FKM_DTYPE_F32;
                wish.metric = (fkm_metric)(what % 3);
                wish.csr = what == 1;
                wish.mask = what == 2;
                wish.feature_weights = true;
                wish.n = 300;
                wish.dim = 150;
                wish.classes = 8;
                wish.k = 5;
                wish.threads = threads;
                world_make(&world, wish);
                everything_on(&world);
                world_begin(&world);
                for (int t = 0; t < 4; t++)
                    world_step(&world, 0.03, (uint64_t)t);
                if (threads == 1)
                    size = photograph(&world, first);
                else
                    CHECK(photograph(&world, other) == size && memcmp(first, other, size) == 0);
                world_free(&world);
            }
        }
    free(first);
    free(other);
}

TEST(a_failed_allocation_leaves_all_as_it_was)
{
    char *before = malloc(PHOTO), *after = malloc(PHOTO);

    CHECK(before && after);
    for (int task = 0; task < 4; task++)
        for (int csr = 0; csr < 2; csr++) {
            struct world_wish wish = {WORLD_WISH, .task = (fkm_task)task, .feature_weights = true};
            struct world world;
            fkm_status status = FKM_ENOMEM;
            size_t size;

            wish.csr = csr;
            wish.dtype = csr ? FKM_DTYPE_F16 : FKM_DTYPE_F64;
            world_make(&world, wish);
            everything_on(&world);
            size = photograph(&world, before);
            for (int64_t n = 1; status != FKM_OK; n++) { /* the beginning */
                fkmi_memory_fail(n, 0);
                status = fkmi_trainer_begin(&world.trainer, world.context, &world.params, &world.state,
                                            &world.rows, &world.targets);
                fkmi_memory_fail(0, 0);
                CHECK(status == FKM_OK || status == FKM_ENOMEM);
                if (status != FKM_OK)
                    CHECK(photograph(&world, after) == size && memcmp(before, after, size) == 0);
                CHECK(n < 1000);
            }
            world_step(&world, 0.01, 1);
            size = photograph(&world, before);
            status = FKM_ENOMEM;
            for (int64_t n = 1; status != FKM_OK; n++) { /* a step */
                double loss;

                fkmi_train_work_free(&world.work, world.context->backend);
                fkmi_memory_fail(n, 0);
                status = fkmi_train_step(world.context, &world.params, &world.state, &world.trainer,
                                         &world.work, &world.rows, &world.targets, 0.03, world.random, &loss);
                fkmi_memory_fail(0, 0);
                CHECK(status == FKM_OK || status == FKM_ENOMEM);
                if (status != FKM_OK)
                    CHECK(photograph(&world, after) == size && memcmp(before, after, size) == 0);
                CHECK(n < 1000);
            }
            CHECK(photograph(&world, after) == size && memcmp(before, after, size) != 0);
            world_free(&world);
        }
    free(before);
    free(after);
}

TEST(a_failed_copy_or_growth_leaves_all_as_it_was)
{
    char *before = malloc(PHOTO), *after = malloc(PHOTO);
    struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLASSIFY};
    struct fkmi_trainer copy;
    struct world world;
    double points[15];
    fkm_status status = FKM_ENOMEM;
    size_t size;

    CHECK(before && after);
    world_make(&world, wish);
    everything_on(&world);
    world_begin(&world);
    world_step(&world, 0.03, 0);
    size = photograph(&world, before);
    for (int64_t n = 1; status != FKM_OK; n++) {
        fkmi_memory_fail(n, 0);
        status = fkmi_trainer_copy(&copy, &world.trainer);
        fkmi_memory_fail(0, 0);
        CHECK(status == FKM_OK || (status == FKM_ENOMEM && copy.point_m == NULL));
    }
    fkmi_trainer_free(&copy);

    /* a class of three comes */
    for (int i = 0; i < 15; i++)
        points[i] = i;
    CHECK_OK(fkmi_state_add_class(&world.state, world.context->kernels, 77, points, NULL, 3));
    status = FKM_ENOMEM;
    for (int64_t n = 1; status != FKM_OK; n++) {
        fkmi_memory_fail(n, 0);
        status = fkmi_trainer_grow(&world.trainer, &world.state);
        fkmi_memory_fail(0, 0);
        world.state.k = 12; /* the photo of what was there before */
        world.state.n_classes = 4;
        if (status != FKM_OK)
            CHECK(photograph(&world, after) == size && memcmp(before, after, size) == 0);
        world.state.k = 15;
        world.state.n_classes = 5;
    }
    CHECK_INT(15, world.trainer.k);
    CHECK_INT(5, world.trainer.n_classes);
    CHECK_NEAR(14, ((const double *)world.trainer.anchor)[74], 0);
    CHECK_NEAR(0, ((const double *)world.trainer.point_v)[74], 0);
    CHECK(((const double *)world.trainer.point_v)[0] > 0);
    world_step(&world, 0.03, 1);
    world_free(&world);
    free(before);
    free(after);
}

/* Classes that come one by one find moments of zero, also where forgotten ones have left some. */
TEST(classes_come_and_go_under_the_optimizer)
{
    struct world world;
    double points[15] = {0}, moment, theta;
    int64_t allocations = 0;

    world_make(&world, (struct world_wish){WORLD_WISH, .task = FKM_TASK_CLASSIFY});
    world_begin(&world);
    world_step(&world, 0.03, 0);
    moment = ((const double *)world.trainer.point_m)[5 * 5 + 2];
    theta = world.trainer.theta_m[0];
    CHECK(moment != 0 && theta != 0);
    for (int64_t c = 0; c < 200; c++) {
        const int64_t k = world.state.k, n_classes = world.state.n_classes;
        double *fresh;

        CHECK_OK(fkmi_state_add_class(&world.state, world.context->kernels, 100 + c, points, NULL, 3));
        for (int round = 0; round < 2; round++) {
            fkmi_memory_fail(0, 0);
            CHECK_OK(fkmi_trainer_grow(&world.trainer, &world.state));
            allocations += fkmi_memory_fail(0, 0);
            CHECK_INT(world.state.k, world.trainer.k);
            CHECK_INT(world.state.n_classes, world.trainer.n_classes);
            fresh = (double *)world.trainer.point_m + k * 5;
            for (int64_t i = 0; i < 15; i++) {
                CHECK_NEAR(0, fresh[i], 0);
                fresh[i] = 1 - round;
            }
            if (round == 0)
                fkmi_trainer_truncate(&world.trainer, k, n_classes);
        }
        CHECK_NEAR(moment, ((const double *)world.trainer.point_m)[5 * 5 + 2], 0);
        CHECK_NEAR(theta, world.trainer.theta_m[0], 0); /* shared: it belongs to no prototype */
    }
    CHECK(allocations < 100);
    world_step(&world, 0.03, 1);
    world_free(&world);
}

TEST(a_loss_that_is_not_finite_moves_nothing)
{
    char *before = malloc(PHOTO), *after = malloc(PHOTO);
    struct world world;
    double loss;
    size_t size;

    CHECK(before && after);
    world_make(&world, (struct world_wish){WORLD_WISH, .task = FKM_TASK_CLUSTER});
    world_begin(&world);
    world_step(&world, 0.01, 0);
    memset(world.trainer.gradient, 0, (size_t)(world.state.k * world.state.dim) * sizeof(double));
    size = photograph(&world, before);
    ((double *)world.stored)[3] = 1e200;
    CHECK_STATUS(FKM_ESTATE,
                 fkmi_train_step(world.context, &world.params, &world.state, &world.trainer, &world.work,
                                 &world.rows, &world.targets, 0.01, world.random, &loss));
    CHECK_SAYS("the loss is", fkm_last_error());
    memset(world.trainer.gradient, 0, (size_t)(world.state.k * world.state.dim) * sizeof(double));
    CHECK(photograph(&world, after) == size && memcmp(before, after, size) == 0);
    ((double *)world.stored)[3] = 0;
    world_step(&world, 0.01, 0);
    world_free(&world);
    free(before);
    free(after);
}

TEST(hard_routing_is_refused_with_the_cure)
{
    struct world world;
    double loss;

    world_make(&world, (struct world_wish){WORLD_WISH, .task = FKM_TASK_CLASSIFY});
    world_begin(&world);
    world.params.soft = FKM_SOFT_HARD;
    CHECK_STATUS(FKM_ESTATE,
                 fkmi_train_step(world.context, &world.params, &world.state, &world.trainer, &world.work,
                                 &world.rows, &world.targets, 0.01, world.random, &loss));
    CHECK_SAYS("softmax_scaled", fkm_last_error());
    world_free(&world);
}

TEST(rows_without_weight_teach_nothing)
{
    char *before = malloc(PHOTO), *after = malloc(PHOTO);
    struct world world;
    size_t size;

    CHECK(before && after);
    world_make(&world, (struct world_wish){WORLD_WISH, .task = FKM_TASK_CLASSIFY, .weight = true});
    world_begin(&world);
    world_step(&world, 0.1, 0);
    size = photograph(&world, before);
    memset(world.weight, 0, 23 * sizeof(float));
    world_step(&world, 0.1, 0);
    CHECK(photograph(&world, after) == size && memcmp(before, after, size) == 0);
    CHECK_NEAR(0, world_loss(&world), 0);
    world_free(&world);
    free(before);
    free(after);
}

TEST(a_steady_stream_of_steps_allocates_nothing)
{
    for (int task = 0; task < 4; task++)
        for (int csr = 0; csr < 2; csr++) {
            struct world_wish wish = {WORLD_WISH, .task = (fkm_task)task, .feature_weights = true,
                                      .threads = 2};
            struct world world;
            int64_t held;

            wish.csr = csr;
            wish.n = 100;
            world_make(&world, wish);
            everything_on(&world);
            world.params.negative_sampling = 2;
            for (int i = 0; i < wish.n; i++) /* as many classes in each batch */
                world.slot[i] = i % 2;
            world_begin(&world);
            for (int t = 0; t < 5; t++)
                world_step(&world, 0.01, (uint64_t)t);
            held = (int64_t)fkmi_memory_held();
            fkmi_memory_fail(0, 0);
            for (int t = 5; t < 20; t++)
                world_step(&world, 0.01, (uint64_t)t);
            CHECK_INT(0, fkmi_memory_fail(0, 0));
            CHECK_INT(held, fkmi_memory_held());
            world_free(&world);
        }
}

/* The last gradient is that of the last step, whichever classes the steps before it had drawn. */
TEST(gradients_of_sampled_classes_are_cleared)
{
    struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLASSIFY};
    struct world often, once;

    wish.classes = 12;
    wish.n = 60;
    world_make(&often, wish);
    world_make(&once, wish);
    often.params.negative_sampling = once.params.negative_sampling = 3;
    world_begin(&often);
    world_begin(&once);
    for (int t = 0; t < 8; t++) {
        often.rows.n = t == 4 ? 60 : 2;
        world_step(&often, 0, (uint64_t)t);
    }
    once.rows.n = 2;
    world_step(&once, 0, 7);
    CHECK(memcmp(often.trainer.gradient, once.trainer.gradient,
                 (size_t)(once.state.k * once.state.dim) * sizeof(double)) == 0);
    CHECK(memcmp(often.trainer.touched, once.trainer.touched, (size_t)once.state.k) == 0);
    world_free(&often);
    world_free(&once);
}

TEST(csr_steps_leave_untouched_prototypes_and_their_moments)
{
    struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLASSIFY, .csr = true};
    struct world world;
    double moment, point;

    wish.classes = 10;
    wish.n = 10;
    world_make(&world, wish);
    world.params.top_k_train = 2;
    world_begin(&world);
    world_step(&world, 0.1, 0);
    world.rows.n = 1;
    {
        int64_t untouched = -1;

        world_loss(&world);
        for (int64_t j = 0; j < world.state.k; j++) {
            bool any = false;

            for (int64_t d = 0; d < wish.dim; d++)
                any = any || world_gradient(&world, j, d) != 0;
            if (!any && ((const double *)world.trainer.point_m)[j * wish.dim] != 0)
                untouched = j;
        }
        CHECK(untouched >= 0);
        moment = ((const double *)world.trainer.point_m)[untouched * wish.dim];
        point = world_point(&world, untouched, 0);
        world_step(&world, 0.1, 0);
        CHECK_NEAR(moment, ((const double *)world.trainer.point_m)[untouched * wish.dim], 0);
        CHECK_NEAR(point, world_point(&world, untouched, 0), 0);
    }
    world_free(&world);
}
