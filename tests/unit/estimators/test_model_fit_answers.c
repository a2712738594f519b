/* test_model_fit_answers.c — what fit leaves of the nearest prototypes is what asking for them tells, bit for bit.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "support/data.h"

enum { ROWS = 2500, DIM = 7, CLASSES = 3 }; /* enough rows for passes that know the last one's labels */

struct room {
    int64_t nearest[ROWS], asked[ROWS];
    double distance[ROWS], asked_distance[ROWS];
    int32_t answered;
};

static fkm_status fit(fkm_model *model, const fkm_batch *batch, struct room *room, int64_t max_iters,
                      double eval_fraction)
{
    fkm_fit_options options = FKM_FIT_OPTIONS_INIT;

    options.max_iters = max_iters;
    options.eval_fraction = eval_fraction;
    options.nearest = room->nearest;
    options.distance = room->distance;
    options.answered = &room->answered;
    room->answered = -1;
    return fkm_model_fit(model, batch, &options);
}

static fkm_model *new_model(fkm_params params)
{
    fkm_model *model;

    CHECK_OK(fkm_model_create(context_of(2), &params, &model));
    return model;
}

/* Returns whether fit has answered. */
static bool check_fit(fkm_params params, const fkm_batch *batch, int64_t max_iters, double eval_fraction)
{
    struct room *room = calloc(1, sizeof *room);
    fkm_model *model = new_model(params);
    bool answered;

    CHECK_OK(fit(model, batch, room, max_iters, eval_fraction));
    CHECK(room->answered == 0 || room->answered == 1);
    answered = room->answered == 1;
    CHECK_OK(fkm_model_nearest(model, batch, 1, room->asked, room->asked_distance, NULL));
    if (answered) {
        CHECK(memcmp(room->nearest, room->asked, sizeof room->asked) == 0);
        CHECK(memcmp(room->distance, room->asked_distance, sizeof room->asked_distance) == 0);
    }
    fkm_model_free(model);
    free(room);
    return answered;
}

static fkm_params clusterer(int32_t k)
{
    fkm_params params = data_params(FKM_TASK_CLUSTER);

    params.metric = FKM_METRIC_EUCLIDEAN;
    params.k_init = k;
    params.auto_feature_weights = 0;
    return params;
}

TEST(passes_leave_the_nearest)
{
    struct data data = data_make(ROWS, DIM, CLASSES, 4);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLUSTER, 0, ROWS);
    fkm_batch plain = batch;

    plain.weight = NULL;
    for (int64_t max_iters = 2; max_iters < 40; max_iters *= 3)
        for (int32_t k = 8; k < 100; k *= 3) {
            fkm_params params = clusterer(k);

            CHECK(check_fit(params, &batch, max_iters, 0));
            CHECK(check_fit(params, &plain, max_iters, 0));
            params.dtype = FKM_DTYPE_F16;
            CHECK(check_fit(params, &batch, max_iters, 0));
            params.dtype = FKM_DTYPE_F32;
            params.auto_feature_weights = 1;
            CHECK(check_fit(params, &batch, max_iters, 0));
        }
    data_free(&data);
}

static int go_on(void *user)
{
    (void)user;
    return 0;
}

/* Where a user may interrupt, passes of a regressor keep what the one before has left, turn by turn. */
TEST(passes_that_may_be_interrupted_leave_the_nearest)
{
    struct data data = data_make(ROWS, DIM, CLASSES, 8);
    const fkm_batch batch = data_batch(&data, FKM_TASK_REGRESS, 0, ROWS);
    fkm_params params = data_params(FKM_TASK_REGRESS);

    params.metric = FKM_METRIC_EUCLIDEAN;
    params.k_targets = 1;
    params.k_features = 20;
    for (int64_t max_iters = 2; max_iters < 7; max_iters++) {
        CHECK(check_fit(params, &batch, max_iters, 0));
        fkm_set_interrupt(go_on, NULL);
        CHECK(check_fit(params, &batch, max_iters, 0));
        fkm_set_interrupt(NULL, NULL);
    }
    data_free(&data);
}

TEST(fit_says_when_it_does_not_know)
{
    struct data data = data_make(ROWS, DIM, CLASSES, 5);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLUSTER, 0, ROWS),
                    csr = data_batch_csr(&data, FKM_TASK_CLUSTER),
                    labelled = data_batch(&data, FKM_TASK_CLASSIFY, 0, ROWS);
    fkm_batch masked = batch;
    fkm_params params = clusterer(20);

    masked.mask = data.mask;
    CHECK(!check_fit(params, &batch, 1, 0)); /* one pass alone knows nothing of a last one */
    CHECK(!check_fit(params, &batch, 5, 0.2));
    CHECK(!check_fit(params, &csr, 5, 0));
    CHECK(!check_fit(params, &masked, 5, 0));
    params.min_weight = 120; /* mean rows: prototypes go after the last pass */
    CHECK(!check_fit(params, &batch, 5, 0));
    params = clusterer(20);
    params.metric = FKM_METRIC_COSINE;
    CHECK(!check_fit(params, &batch, 5, 0));
    params = data_params(FKM_TASK_CLASSIFY);
    params.metric = FKM_METRIC_EUCLIDEAN;
    params.k_init = 8;
    CHECK(!check_fit(params, &labelled, 5, 0));
    data_free(&data);
}

TEST(failing_allocations_leave_the_model_as_it_was)
{
    struct data data = data_make(ROWS, DIM, CLASSES, 6);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLUSTER, 0, ROWS);
    struct room *room = calloc(1, sizeof *room);
    fkm_model *model = new_model(clusterer(8));
    double before[8 * DIM], after[8 * DIM];
    fkm_status status = FKM_ENOMEM;

    CHECK_OK(fit(model, &batch, room, 1, 0));
    CHECK_OK(fkm_model_centroids(model, before));
    for (int64_t n = 1; status == FKM_ENOMEM; n++) {
        fkmi_memory_fail(n, 0);
        status = fit(model, &batch, room, 3, 0);
        fkmi_memory_fail(0, 0);
        CHECK(status == FKM_OK || (status == FKM_ENOMEM && room->answered == 0));
        if (status == FKM_OK)
            break;
        CHECK_OK(fkm_model_centroids(model, after));
        CHECK(memcmp(before, after, sizeof after) == 0);
    }
    CHECK_OK(status);
    CHECK(room->answered == 1);
    fkm_model_free(model);
    free(room);
    data_free(&data);
}
