/* test_gradient.c — losses and gradients of whole batches: against plain loops and central differences, for
 * all tasks, metrics and ways to give rows.
 * SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

static const double H = 1e-6;

/* (L(p + h) - L(p - h)) / 2h */
static double difference(struct world *world, double *place)
{
    const double old = *place;
    double up, down;

    *place = old + H;
    up = world_loss(world);
    *place = old - H;
    down = world_loss(world);
    *place = old;
    return (up - down) / (2 * H);
}

static void check_near(double expected, double actual, const char *what, int64_t at)
{
    if (!(fabs(expected - actual) <= 2e-6 * (1 + fabs(expected))))
        test_fail(__FILE__, __LINE__, "%s %lld: gradient %.9g, difference %.9g", what, (long long)at, actual,
                  expected);
}

static void check_points(struct world *world)
{
    const int64_t n = world->state.k * world->state.dim;
    double *gradient, most = 0;

    world_loss(world);
    CHECK_OK(fkmi_copy(&gradient, world->trainer.gradient, n, sizeof(double)));
    for (int64_t at = 0; at < n; at++) {
        check_near(difference(world, (double *)world->state.points + at), gradient[at], "point", at);
        most = fmax(most, fabs(gradient[at]));
    }
    CHECK(most > 1e-3); /* there was something to check */
    fkmi_free(gradient);
}

/* Adam's first moment after one step from nothing is a tenth of the gradient. */
static void check_others(struct world *world)
{
    struct fkmi_state *state = &world->state, before;
    const int64_t m = state->n_targets;
    struct fkmi_trainer trainer;
    double loss, shared = 0;

    CHECK_OK(fkmi_state_copy(&before, state));
    CHECK_OK(fkmi_trainer_copy(&trainer, &world->trainer));
    CHECK_OK(fkmi_train_step(world->context, &world->params, &before, &trainer, &world->work, &world->rows,
                             &world->targets, 0.01, world->random, &loss));
    fkmi_state_free(&before);
    if (trainer.theta_m) {
        for (int64_t j = 0; j < state->k; j++) {
            const double slope = difference(world, &state->theta[j]);

            shared += slope;
            if (world->params.prototype_scale)
                check_near(slope, 10 * trainer.theta_m[j], "theta", j);
        }
        if (!world->params.prototype_scale)
            check_near(shared, 10 * trainer.theta_m[0], "shared theta", 0);
        CHECK(fabs(shared) > 1e-4);
    }
    for (int64_t j = 0; trainer.bias_m && j < state->k; j++)
        check_near(difference(world, &state->bias[j]), 10 * trainer.bias_m[j], "bias", j);
    for (int64_t at = 0; trainer.target_m && at < state->k * m; at++)
        check_near(difference(world, &state->targets[at]) * trainer.target_std[at % m],
                   10 * trainer.target_m[at], "target", at);
    for (int64_t c = 0; trainer.alpha_m && c < state->n_classes; c++) {
        check_near(difference(world, &state->alpha[c]), 10 * trainer.alpha_m[c], "alpha", c);
        check_near(difference(world, &state->beta[c]), 10 * trainer.beta_m[c], "beta", c);
    }
    /* weights sum to dim: only their differences mean something */
    for (int64_t d = 1; trainer.weight_m && d < state->dim; d++) {
        const double old_0 = state->feature_weights[0], old_d = state->feature_weights[d];
        double up, down;

        state->feature_weights[0] = old_0 - H;
        state->feature_weights[d] = old_d + H;
        up = world_loss(world);
        state->feature_weights[0] = old_0 + H;
        state->feature_weights[d] = old_d - H;
        down = world_loss(world);
        state->feature_weights[0] = old_0;
        state->feature_weights[d] = old_d;
        check_near((up - down) / (2 * H), 10 * (trainer.weight_m[d] - trainer.weight_m[0]), "weight", d);
    }
    fkmi_trainer_free(&trainer);
}

static void check_all(struct world *world)
{
    world_begin(world);
    for (int64_t j = 0; j < world->state.k; j++) { /* away from where everything starts */
        world->state.theta[j] = world->params.prototype_scale ? -0.3 + 0.05 * (double)j : -0.2;
        world->state.bias[j] = world->params.prototype_scale ? 0.1 * (double)(j % 5) : 0.0;
    }
    for (int64_t c = 0; world->state.alpha && c < world->state.n_classes; c++)
        world->state.alpha[c] = 0.7 + 0.1 * (double)c;
    CHECK_NEAR(world_naive_loss(world), world_loss(world), 1e-9);
    check_points(world);
    check_others(world);
    world_free(world);
}

static void check_rows(struct world_wish wish)
{
    const fkm_metric metrics[] = {FKM_METRIC_EUCLIDEAN, FKM_METRIC_COSINE, FKM_METRIC_L1};

    for (int what = 0; what < 7; what++)
        for (int metric = 0; metric < 3; metric++) {
            struct world world;

            wish.metric = metrics[metric];
            wish.weight = what != 0;
            wish.feature_weights = what == 2 || what == 4 || what == 6;
            wish.mask = what == 3 || what == 4;
            wish.csr = what == 5 || what == 6;
            world_make(&world, wish);
            world.params.auto_feature_weights = wish.feature_weights;
            check_all(&world);
        }
}

TEST(classifier_softmax) { check_rows((struct world_wish){WORLD_WISH, .task = FKM_TASK_CLASSIFY}); }
TEST(classifier_scaled)
{
    struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLASSIFY};

    wish.soft = FKM_SOFT_SCALED;
    check_rows(wish);
}
TEST(clusterer) { check_rows((struct world_wish){WORLD_WISH, .task = FKM_TASK_CLUSTER}); }
TEST(regressor) { check_rows((struct world_wish){WORLD_WISH, .task = FKM_TASK_REGRESS}); }
TEST(tagger) { check_rows((struct world_wish){WORLD_WISH, .task = FKM_TASK_MULTILABEL}); }

TEST(classifier_with_two_and_all_prototypes)
{
    for (int top_k = -1; top_k < 3; top_k += 3)
        for (int soft = 0; soft < 2; soft++) {
            struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLASSIFY};
            struct world world;

            wish.soft = soft ? FKM_SOFT_SCALED : FKM_SOFT_SOFTMAX_SCALED;
            world_make(&world, wish);
            world.params.top_k_train = top_k;
            check_all(&world);
        }
}

TEST(regressor_with_all_prototypes)
{
    struct world world;

    world_make(&world, (struct world_wish){WORLD_WISH, .task = FKM_TASK_REGRESS});
    world.params.top_k = -1;
    check_all(&world);
}

TEST(scale_and_bias_per_prototype)
{
    for (int task = 0; task < 2; task++) {
        struct world world;

        world_make(&world,
                   (struct world_wish){WORLD_WISH, .task = task ? FKM_TASK_CLASSIFY : FKM_TASK_REGRESS});
        world.params.prototype_scale = 1;
        check_all(&world);
    }
}

TEST(label_smoothing)
{
    struct world world;

    world_make(&world, (struct world_wish){WORLD_WISH, .task = FKM_TASK_CLASSIFY});
    world.params.label_smoothing = 0.15;
    check_all(&world);
}

TEST(regularisers)
{
    for (int metric = 0; metric < 3; metric++)
        for (int weights = 0; weights < 2; weights++) {
            struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLASSIFY};
            struct world world;

            wish.metric = (fkm_metric)metric;
            wish.feature_weights = weights;
            world_make(&world, wish);
            world.params.l2_reg = 0.3;
            world.params.diversity_reg = 0.8;
            world_begin(&world);
            for (int64_t at = 0; at < world.state.k * world.state.dim; at++)
                ((double *)world.state.points)[at] += 0.1 * (double)(at % 7);
            CHECK_NEAR(world_naive_loss(&world), world_loss(&world), 1e-9);
            check_points(&world);
            world_free(&world);
        }
}

TEST(noise_disturbs_and_has_gradients)
{
    for (int what = 0; what < 3; what++) {
        struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLASSIFY};
        struct world world;
        double plain, noisy;

        wish.csr = what == 1;
        wish.mask = what == 2;
        wish.metric = what == 0 ? FKM_METRIC_COSINE : FKM_METRIC_EUCLIDEAN;
        world_make(&world, wish);
        world.params.noise = 0.3;
        world_begin(&world);
        noisy = world_loss(&world);
        plain = world_naive_loss(&world);
        CHECK(fabs(noisy - plain) > 1e-6);
        CHECK_NEAR(noisy, world_loss(&world), 0);
        check_points(&world);
        world.random = fkmi_random_from(100);
        CHECK(world_loss(&world) != noisy);
        world_free(&world);
    }
}

TEST(noise_has_the_width_asked_for)
{
    struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLUSTER};
    struct world world;
    double spread = 0, loss = 0;

    /* one prototype: mean |x + e - c|^2 = mean |x - c|^2 + sigma^2 sum_d std_d^2 */
    wish.classes = wish.k = 1;
    wish.n = 20000;
    world_make(&world, wish);
    loss = world_naive_loss(&world);
    world.params.noise = 0.5;
    world_begin(&world);
    for (int d = 0; d < wish.dim; d++)
        spread += world.trainer.feature_std[d] * world.trainer.feature_std[d];
    CHECK_NEAR(loss + 0.25 * spread, world_loss(&world), 0.03 * spread);
    world_free(&world);
}

TEST(sampled_classes_have_gradients_and_the_others_none)
{
    for (int task = 0; task < 2; task++) {
        struct world_wish wish = {WORLD_WISH, .task = task ? FKM_TASK_CLASSIFY : FKM_TASK_MULTILABEL};
        struct world world;
        int n_zero = 0;

        wish.classes = 12;
        wish.n = 3;
        world_make(&world, wish);
        for (int i = 0; i < wish.n; i++) {
            world.slot[i] = i % 2 ? 3 : 7;
            world.tag_slot[i] = i % 2 ? 3 : 7;
            world.tag_indptr[i + 1] = i + 1;
        }
        world.params.negative_sampling = 3;
        world.params.top_k_train = -1;
        world_begin(&world);
        check_points(&world);
        check_others(&world);
        world_loss(&world);
        for (int c = 0; c < wish.classes; c++)
            n_zero += world_gradient(&world, c * wish.k, 0) == 0 &&
                      world_gradient(&world, c * wish.k + 1, 0) == 0 &&
                      world_gradient(&world, c * wish.k + 2, 0) == 0;
        CHECK(n_zero >= 7); /* 12 - 2 in the batch - 3 sampled */
        CHECK(world_gradient(&world, 3 * wish.k, 0) != 0 || world_gradient(&world, 3 * wish.k + 1, 0) != 0 ||
              world_gradient(&world, 3 * wish.k + 2, 0) != 0);
        world_free(&world);
    }
}

TEST(sampling_is_unbiased_enough)
{
    struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_MULTILABEL};
    struct world world;
    double exact, mean = 0;

    wish.classes = 20;
    wish.n = 5;
    world_make(&world, wish);
    for (int i = 0; i < wish.n; i++) {
        world.tag_slot[i] = 4;
        world.tag_indptr[i + 1] = i + 1;
    }
    world_begin(&world);
    exact = world_loss(&world);
    for (int t = 0; t < 4000; t++) {
        world.params.negative_sampling = 1 + t % 19;
        world.random = fkmi_random_from((uint64_t)t);
        mean += world_loss(&world) / 4000;
    }
    CHECK_NEAR(exact, mean, 0.03 * exact);
    world_free(&world);
}

TEST(sampling_all_classes_is_no_sampling)
{
    struct world world;
    double loss;

    world_make(&world, (struct world_wish){WORLD_WISH, .task = FKM_TASK_CLASSIFY});
    world_begin(&world);
    loss = world_loss(&world);
    world.params.negative_sampling = 100;
    CHECK_NEAR(loss, world_loss(&world), 0);
    world_free(&world);
}

TEST(csr_rows_say_what_dense_rows_say)
{
    for (int metric = 0; metric < 3; metric++)
        for (int dtype = 0; dtype < 2; dtype++) {
            struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLASSIFY, .csr = true, .weight = true,
                                      .feature_weights = true};
            struct world world;
            double *sparse, loss;

            wish.metric = (fkm_metric)metric;
            wish.dtype = dtype ? FKM_DTYPE_F32 : FKM_DTYPE_F64;
            wish.dim = 37;
            world_make(&world, wish);
            world_begin(&world);
            loss = world_loss(&world);
            CHECK_OK(fkmi_alloc(&sparse, world.state.k * wish.dim, sizeof *sparse));
            for (int64_t at = 0; at < world.state.k * wish.dim; at++)
                sparse[at] = world_gradient(&world, 0, at);
            world.rows.x = world.x;
            world.rows.stride = wish.dim;
            CHECK_NEAR(loss, world_loss(&world), dtype ? 1e-4 : 1e-12);
            for (int64_t at = 0; at < world.state.k * wish.dim; at++)
                CHECK_NEAR(world_gradient(&world, 0, at), sparse[at], dtype ? 1e-5 : 1e-12);
            fkmi_free(sparse);
            world_free(&world);
        }
}

TEST(half_precision_has_the_gradient_of_its_rounded_prototypes)
{
    const fkm_dtype dtypes[] = {FKM_DTYPE_F16, FKM_DTYPE_BF16};

    for (int t = 0; t < 2; t++)
        for (int metric = 0; metric < 3; metric++) {
            struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLASSIFY, .feature_weights = true};
            struct world half, full;

            wish.metric = (fkm_metric)metric;
            wish.dtype = dtypes[t];
            world_make(&half, wish);
            wish.dtype = FKM_DTYPE_F64;
            world_make(&full, wish);
            for (int64_t at = 0; at < full.state.k * wish.dim; at++)
                ((double *)full.state.points)[at] = world_point(&half, 0, at);
            half.params.auto_feature_weights = full.params.auto_feature_weights = 1;
            world_begin(&half);
            world_begin(&full);
            CHECK_NEAR(world_naive_loss(&full), world_loss(&half), 1e-4);
            world_loss(&full);
            for (int64_t at = 0; at < full.state.k * wish.dim; at++)
                CHECK_NEAR(world_gradient(&full, 0, at), world_gradient(&half, 0, at), 1e-5);
            world_step(&half, 0.01, 0);
            world_step(&full, 0.01, 0);
            for (int64_t d = 0; d < wish.dim; d++)
                CHECK_NEAR(full.trainer.weight_m[d], half.trainer.weight_m[d], 1e-6);
            world_free(&half);
            world_free(&full);
        }
}

TEST(rows_far_from_the_origin_keep_their_gradient)
{
    struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLASSIFY};
    struct world near, far;

    wish.dtype = FKM_DTYPE_F32;
    world_make(&near, wish);
    world_make(&far, wish);
    for (int i = 0; i < wish.n * wish.dim; i++) { /* multiples of 2^-6 survive + 1024 in f32 */
        near.x[i] = round(near.x[i] * 64) / 64;
        ((float *)near.stored)[i] = (float)near.x[i];
        ((float *)far.stored)[i] = (float)(near.x[i] + 1024);
    }
    for (int64_t i = 0; i < near.state.k * wish.dim; i++) {
        const double c = round(world_point(&near, 0, i) * 64) / 64;

        ((float *)near.state.points)[i] = (float)c;
        ((float *)far.state.points)[i] = (float)(c + 1024);
    }
    world_begin(&near);
    world_begin(&far);
    CHECK_NEAR(world_loss(&near), world_loss(&far), 1e-5);
    for (int64_t at = 0; at < near.state.k * wish.dim; at++)
        CHECK_NEAR(world_gradient(&near, 0, at), world_gradient(&far, 0, at), 1e-5);
    world_free(&near);
    world_free(&far);
}

TEST(picked_rows_are_the_rows_they_name)
{
    struct world world;
    int64_t order[23];
    double loss;

    world_make(&world,
               (struct world_wish){WORLD_WISH, .task = FKM_TASK_CLASSIFY, .mask = true, .weight = true});
    world_begin(&world);
    loss = world_loss(&world);
    for (int i = 0; i < 23; i++)
        order[i] = (i * 7) % 23;
    world.rows = fkmi_rows_pick(&world.rows, order, 23);
    CHECK_NEAR(loss, world_loss(&world), 1e-12);
    check_points(&world);
    world_free(&world);
}

TEST(a_batch_too_large_for_one_chunk_has_the_same_gradient)
{
    struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLASSIFY};
    struct world world;
    double *halves, loss = 0;

    wish.n = 150000; /* x 9 candidates */
    wish.dim = 2;
    wish.threads = 2;
    world_make(&world, wish);
    world_begin(&world);
    CHECK_OK(fkmi_alloc(&halves, world.state.k * 2, sizeof *halves));
    for (int half = 0; half < 2; half++) {
        const struct fkmi_rows all = world.rows;

        world.rows.n = 75000;
        world.rows.x = (double *)world.stored + half * 150000;
        world.targets.slot = world.slot + half * 75000;
        loss += world_loss(&world) / 2;
        for (int64_t at = 0; at < world.state.k * 2; at++)
            halves[at] += world_gradient(&world, 0, at) / 2;
        world.rows = all;
        world.targets.slot = world.slot;
    }
    CHECK_NEAR(loss, world_loss(&world), 1e-12);
    for (int64_t at = 0; at < world.state.k * 2; at++)
        CHECK_NEAR(halves[at], world_gradient(&world, 0, at), 1e-12);
    fkmi_free(halves);
    world_free(&world);
}

/* Tags have smaller chunks: a part of these rows fits one, all of them do not. */
TEST(tags_in_several_chunks_have_the_same_gradient)
{
    enum { N = 24000, PARTS = 4, ROWS = N / PARTS, DIM = 2 };
    struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_MULTILABEL};
    struct world world;
    struct fkmi_rows all;
    double *parts, loss = 0;

    wish.n = N;
    wish.dim = DIM;
    wish.threads = 2;
    world_make(&world, wish);
    world_begin(&world);
    all = world.rows;
    CHECK_OK(fkmi_alloc(&parts, world.state.k * DIM, sizeof *parts));
    for (int64_t part = 0; part < PARTS; part++) {
        world.rows.n = ROWS;
        world.rows.x = (double *)world.stored + part * ROWS * DIM;
        world.targets.tag_indptr = world.tag_indptr + part * ROWS;
        loss += world_loss(&world) / PARTS;
        for (int64_t at = 0; at < world.state.k * DIM; at++)
            parts[at] += world_gradient(&world, 0, at) / PARTS;
    }
    world.rows = all;
    world.targets.tag_indptr = world.tag_indptr;
    CHECK_NEAR(loss, world_loss(&world), 1e-12);
    for (int64_t at = 0; at < world.state.k * DIM; at++)
        CHECK_NEAR(parts[at], world_gradient(&world, 0, at), 1e-12);
    fkmi_free(parts);
    world_free(&world);
}
