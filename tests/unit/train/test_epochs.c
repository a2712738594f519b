/* test_epochs.c — passes over the data: the schedule, early stopping, interruption, and the learning-rate
 * search.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "world.h"

#include "base/memory.h"

struct watch {
    int64_t epochs, steps, last_step, stop_at_epoch, stop_at_step;
    double scores[64], rates[64], losses[64];
    double point[64]; /* by epoch: a coordinate when the score was asked for */
    struct world *world;
};

static fkm_status score(void *user, const struct fkmi_state *state, double *out)
{
    struct watch *watch = user;

    watch->point[watch->epochs] = ((const double *)state->points)[0];
    *out = watch->scores[watch->epochs];
    return FKM_OK;
}

static fkm_status after_epoch(void *user, int64_t epoch, double loss, double value, double rate)
{
    struct watch *watch = user;

    (void)value;
    CHECK_INT(watch->epochs + 1, epoch);
    watch->losses[watch->epochs] = loss;
    watch->rates[watch->epochs] = rate;
    watch->epochs++;
    return watch->epochs == watch->stop_at_epoch ? fkmi_fail(FKM_EINTERRUPTED, "enough") : FKM_OK;
}

static fkm_status after_step(void *user, int64_t step, int64_t steps, double loss)
{
    struct watch *watch = user;

    CHECK(step > watch->last_step && step <= steps && isfinite(loss));
    watch->last_step = step;
    watch->steps++;
    return watch->stop_at_step > 0 && step >= watch->stop_at_step ? fkmi_fail(FKM_EINTERRUPTED, "enough")
                                                                  : FKM_OK;
}

static fkm_status run(struct world *world, struct watch *watch, int64_t epochs, int64_t rounds, bool scored)
{
    const struct fkmi_epochs how = {.epochs = epochs,
                                    .early_stopping_rounds = rounds,
                                    .rate = 0.03,
                                    .score = scored ? score : NULL,
                                    .after_epoch = after_epoch,
                                    .after_step = after_step,
                                    .user = watch};

    return fkmi_train_epochs(world->context, &world->params, &world->state, &world->trainer, &world->work,
                             &world->rows, &world->targets, &how, world->random);
}

static void make(struct world *world, int n, int batch)
{
    struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLASSIFY};

    wish.n = n;
    world_make(world, wish);
    world->params.finetune_batch_size = batch;
    world_begin(world);
}

TEST(epochs_lower_the_loss_and_count_their_steps)
{
    struct watch watch = {0};
    struct world world;
    double first;

    make(&world, 300, 16);
    first = world_loss(&world);
    CHECK_OK(run(&world, &watch, 10, 0, false));
    CHECK_INT(10, watch.epochs);
    CHECK_INT(190, world.trainer.step); /* 300 rows are 18 batches of 16 and one of 12 */
    CHECK_INT(190 / 16, watch.steps);
    CHECK(world_loss(&world) < first);
    CHECK(watch.losses[9] < watch.losses[0]);
    world_free(&world);
}

TEST(the_rate_warms_up_and_falls_along_a_cosine)
{
    struct watch watch = {0};
    struct world world;

    make(&world, 100, 100); /* one step an epoch */
    CHECK_OK(run(&world, &watch, 40, 0, false));
    for (int t = 0; t < 40; t++) {
        const double warm =
            t + 1 < 4 ? (t + 1) / 4.0 : 1.0; /* 50 steps, or a tenth of all when that is less */

        CHECK_NEAR(0.03 * warm * 0.5 * (1 + cos(acos(-1.0) * t / 40)), watch.rates[t], 1e-12);
    }
    world_free(&world);
}

/* Steps of sampled classes leave the shared theta of others behind; an epoch, whole or not, ends with one theta. */
static void check_sampled_theta(int64_t stop_at_step)
{
    struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLASSIFY};
    struct watch watch = {.stop_at_step = stop_at_step};
    struct world world;

    wish.classes = 12;
    wish.n = 300;
    world_make(&world, wish);
    world.params.finetune_batch_size = 2;
    world.params.negative_sampling = 3;
    world_begin(&world);
    CHECK_INT(stop_at_step > 0 ? FKM_EINTERRUPTED : FKM_OK, run(&world, &watch, 1, 0, false));
    CHECK(world.state.theta[0] != 0);
    for (int64_t j = 1; j < world.state.k; j++)
        CHECK_NEAR(world.state.theta[0], world.state.theta[j], 0);
    CHECK(!world.work.theta_lags && !world.work.theta_may_lag);
    world_free(&world);
}
TEST(sampled_classes_end_with_one_theta)
{
    check_sampled_theta(0);
    check_sampled_theta(32);
}

TEST(a_theta_that_lags_changes_no_bit)
{
    struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_CLASSIFY};
    struct world lagging, plain;

    wish.classes = 12;
    wish.n = 60;
    world_make(&lagging, wish);
    world_make(&plain, wish);
    for (struct world *world = &lagging; world; world = world == &lagging ? &plain : NULL) {
        world->params.negative_sampling = 3;
        world->params.label_smoothing = 0.1;
        world_begin(world);
        world->work.theta_may_lag = world == &lagging;
        for (int t = 0; t < 12; t++) {
            world->rows.n = t % 4 == 3 ? 60 : 2; /* now and then all classes are in the batch */
            world_step(world, 0.1, (uint64_t)t);
        }
        fkmi_train_settle(&world->work, &world->state);
    }
    CHECK(memcmp(lagging.state.theta, plain.state.theta, (size_t)plain.state.k * sizeof(double)) == 0);
    CHECK(memcmp(lagging.state.points, plain.state.points,
                 (size_t)(plain.state.k * plain.state.dim) * sizeof(double)) == 0);
    world_free(&lagging);
    world_free(&plain);
}

TEST(the_best_state_comes_back)
{
    struct watch watch = {.scores = {0.5, 0.9, 0.7, 0.8, 0.6}};
    struct world world;

    make(&world, 100, 32);
    CHECK_OK(run(&world, &watch, 5, 0, true));
    CHECK_INT(5, watch.epochs);
    CHECK(watch.point[4] != watch.point[1]);
    CHECK_NEAR(watch.point[1], world_point(&world, 0, 0), 0);
    world_free(&world);
}

TEST(early_stopping_stops_after_rounds_without_a_better_score)
{
    struct watch watch = {.scores = {0.5, 0.9, 0.7, 0.8, 0.6, 1.0}};
    struct world world;

    make(&world, 100, 32);
    CHECK_OK(run(&world, &watch, 6, 2, true));
    CHECK_INT(4, watch.epochs);
    CHECK_NEAR(watch.point[1], world_point(&world, 0, 0), 0);
    world_free(&world);
}

TEST(an_interruption_leaves_the_best_so_far)
{
    struct watch watch = {.scores = {0.5, 0.9, 0.7, 0.8, 0.6}, .stop_at_epoch = 3};
    struct world world;

    make(&world, 100, 32);
    CHECK_STATUS(FKM_EINTERRUPTED, run(&world, &watch, 5, 0, true));
    CHECK_NEAR(watch.point[1], world_point(&world, 0, 0), 0);
    world_free(&world);
}

TEST(an_interruption_without_scores_leaves_the_current_state)
{
    struct watch watch = {.stop_at_step = 16};
    struct world world;

    make(&world, 100, 5);
    CHECK_STATUS(FKM_EINTERRUPTED, run(&world, &watch, 5, 0, false));
    CHECK_INT(16, world.trainer.step);
    CHECK(isfinite(world_loss(&world)));
    world_free(&world);
}

TEST(epochs_are_the_same_for_any_number_of_threads)
{
    double loss = 0;

    for (int threads = 1; threads < 4; threads++) {
        struct world_wish wish = {WORLD_WISH, .task = FKM_TASK_REGRESS, .threads = threads};
        struct watch watch = {0};
        struct world world;

        wish.n = 200;
        world_make(&world, wish);
        world.params.finetune_batch_size = 32;
        world_begin(&world);
        CHECK_OK(run(&world, &watch, 3, 0, false));
        if (threads > 1)
            CHECK_NEAR(loss, watch.losses[2], 0);
        loss = watch.losses[2];
        world_free(&world);
    }
}

TEST(a_search_finds_a_rate_and_leaves_all_as_it_was)
{
    for (int begun = 0; begun < 2; begun++) {
        double curve_rate[FKMI_SEARCH_STEPS], curve_loss[FKMI_SEARCH_STEPS], rate, best = INFINITY;
        struct fkmi_state state;
        struct fkmi_trainer trainer;
        struct world world;
        int n, lowest = 0;

        world_make(&world, (struct world_wish){WORLD_WISH, .task = FKM_TASK_MULTILABEL});
        world.params.finetune_batch_size = 8;
        if (begun)
            world_begin(&world);
        CHECK_OK(fkmi_state_copy(&state, &world.state));
        CHECK_OK(fkmi_trainer_copy(&trainer, &world.trainer));
        CHECK_OK(fkmi_train_search(world.context, &world.params, &world.state, &world.trainer, &world.rows,
                                   &world.targets, world.random, curve_rate, curve_loss, &n, &rate));
        CHECK(n > 10 && n <= FKMI_SEARCH_STEPS);
        CHECK_NEAR(1e-5, curve_rate[0], 1e-15);
        CHECK_NEAR(1e-5 * pow(1e5, 1 / 99.0), curve_rate[1], 1e-12);
        for (int t = 0; t < n; t++)
            if (curve_loss[t] < best) {
                best = curve_loss[t];
                lowest = t;
            }
        CHECK_NEAR(fmin(0.1, fmax(1e-3, curve_rate[lowest] / 10)), rate, 1e-15);
        CHECK(memcmp(state.points, world.state.points, (size_t)(state.k * state.dim) * 8) == 0);
        CHECK(memcmp(state.theta, world.state.theta, (size_t)state.k * 8) == 0);
        CHECK(memcmp(state.beta, world.state.beta, (size_t)state.n_classes * 8) == 0);
        CHECK_INT(begun, world.trainer.begun);
        CHECK_INT(0, world.trainer.step);
        if (begun)
            CHECK(memcmp(trainer.point_m, world.trainer.point_m, (size_t)(state.k * state.dim) * 8) == 0);
        fkmi_state_free(&state);
        fkmi_trainer_free(&trainer);
        world_free(&world);
    }
}

TEST(a_search_fails_cleanly_when_memory_does)
{
    double curve_rate[FKMI_SEARCH_STEPS], curve_loss[FKMI_SEARCH_STEPS], rate;
    fkm_status status = FKM_ENOMEM;
    struct world world;
    size_t held;
    int n;

    world_make(&world, (struct world_wish){WORLD_WISH, .task = FKM_TASK_CLASSIFY});
    CHECK_OK(fkmi_train_search(world.context, &world.params, &world.state, &world.trainer, &world.rows,
                               &world.targets, world.random, curve_rate, curve_loss, &n,
                               &rate)); /* what the context keeps is there */
    held = fkmi_memory_held();
    for (int64_t at = 1; status != FKM_OK; at++) {
        fkmi_memory_fail(at, 0);
        status = fkmi_train_search(world.context, &world.params, &world.state, &world.trainer, &world.rows,
                                   &world.targets, world.random, curve_rate, curve_loss, &n, &rate);
        fkmi_memory_fail(0, 0);
        CHECK(status == FKM_OK || status == FKM_ENOMEM);
        CHECK_INT(held, fkmi_memory_held());
    }
    world_free(&world);
}

TEST(epochs_fail_cleanly_when_memory_does)
{
    fkm_status status = FKM_ENOMEM;
    struct world world;

    make(&world, 50, 16);
    for (int64_t at = 1; status != FKM_OK; at++) {
        struct watch watch = {.scores = {1, 2}};

        fkmi_train_work_free(&world.work, world.context->backend);
        fkmi_memory_fail(at, 0);
        status = run(&world, &watch, 2, 0, true);
        fkmi_memory_fail(0, 0);
        CHECK(status == FKM_OK || status == FKM_ENOMEM);
    }
    CHECK(isfinite(world_loss(&world)));
    world_free(&world);
}
