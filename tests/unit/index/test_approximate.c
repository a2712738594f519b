/* test_approximate.c — a search that proposes some prototypes: the answer is the nearest of those, with the distances of
 * scans; failing functions and allocations.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/memory.h"
#include "index/approximate.h"
#include "support/test.h"

enum { K = 60, DIM = 5, N = 37, WIDTH = 4 };

/* Proposes every `step`-th prototype, some twice, some that are none. */
struct proposing {
    int step, built, dropped;
    fkm_status fails_to_build, fails_to_search;
};

static fkm_status build(void *self, const float *points, int64_t k, int64_t dim, void **index)
{
    struct proposing *proposing = self;

    CHECK(k == K && dim == DIM && points[0] == points[0]);
    if (proposing->fails_to_build != FKM_OK)
        return proposing->fails_to_build;
    proposing->built++;
    *index = proposing;
    return FKM_OK;
}

static fkm_status search(void *self, void *index, const float *rows, int64_t n_rows, int64_t dim,
                         int64_t n_wanted, int32_t n_threads, int64_t *numbers)
{
    const struct proposing *proposing = self;

    CHECK(index == self && dim == DIM && n_threads >= 1 && rows[0] == rows[0] && n_wanted == WIDTH + 8);
    for (int64_t i = 0; i < n_rows; i++)
        for (int64_t c = 0; c < n_wanted; c++)
            numbers[i * n_wanted + c] = c == 5 ? -7 : c == 6 ? K : (n_wanted - c) * proposing->step % K;
    return proposing->fails_to_search;
}

static void drop(void *self, void *index)
{
    CHECK(index == self);
    ((struct proposing *)self)->dropped++;
}

struct world {
    fkm_context *context;
    struct proposing proposing;
    float points[K * DIM], x[N * DIM];
    struct fkmi_space space;
    struct fkmi_rows rows;
    struct fkmi_pack *pack;
};

static void open_world(struct world *world, fkm_metric metric)
{
    const fkm_search_functions functions = {sizeof functions, build, search, drop};
    fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;
    uint32_t state = 9;

    memset(world, 0, sizeof *world);
    options.n_threads = 2;
    CHECK_OK(fkm_context_create(&options, &world->context));
    CHECK_OK(fkm_context_set_search(world->context, &functions, &world->proposing));
    world->proposing.step = 3;
    for (int i = 0; i < (K + N) * DIM; i++) {
        state = state * 1664525u + 1013904223u;
        *(i < K * DIM ? &world->points[i] : &world->x[i - K * DIM]) = (float)(state >> 20) / 1000 - 2;
    }
    world->space = (struct fkmi_space){.metric = metric, .dim = DIM, .real = FKMI_REAL_F32};
    world->rows =
        (struct fkmi_rows){.n = N, .dim = DIM, .dtype = FKM_DTYPE_F32, .x = world->x, .stride = DIM};
    CHECK_OK(world->context->backend->pack(world->context, &world->space, FKM_DTYPE_F32, world->points, K,
                                           false, &world->pack));
}

static void close_world(struct world *world)
{
    world->context->backend->pack_free(world->pack);
    fkm_context_free(world->context);
}

static bool is_proposed(int32_t j, int step)
{
    for (int c = 1; c <= WIDTH + 8; c++)
        if (WIDTH + 8 - c != 5 && WIDTH + 8 - c != 6 && c * step % K == j)
            return true;
    return false;
}

/* The nearest of the proposed, by the distances of a scan of all. */
static void check_row(const double *all, int step, const int32_t *index, const double *distance)
{
    bool taken[K] = {false};

    for (int w = 0; w < WIDTH; w++) {
        int32_t best = -1;
        for (int32_t j = 0; j < K; j++)
            if (is_proposed(j, step) && !taken[j] && (best < 0 || all[j] < all[best]))
                best = j;
        taken[best] = true;
        CHECK_INT(best, index[w]);
        CHECK_NEAR(all[best], distance[w], 1e-6 * (1 + all[best]));
        CHECK(w == 0 || distance[w] >= distance[w - 1]);
    }
}

TEST(the_nearest_of_the_proposed)
{
    for (int metric = 0; metric < 2; metric++)
        for (int step = 1; step <= 7; step += 3) {
            struct world world;
            struct fkmi_approximate *approximate;
            double all[N * K], distance[N * WIDTH];
            int32_t index[N * WIDTH];

            open_world(&world, metric ? FKM_METRIC_COSINE : FKM_METRIC_EUCLIDEAN);
            world.proposing.step = step;
            CHECK(fkmi_approximate_possible(world.context, world.space.metric));
            CHECK(!fkmi_approximate_possible(world.context, FKM_METRIC_L1));
            CHECK_OK(fkmi_approximate_create(world.context, &world.space, FKM_DTYPE_F32, world.points, K,
                                             &approximate));
            CHECK(fkmi_approximate_serves(approximate, &world.rows, WIDTH));
            CHECK(!fkmi_approximate_serves(approximate, &world.rows, K / 4));
            CHECK_OK(fkmi_approximate_nearest(approximate, &world.rows, world.pack, WIDTH, index, distance));
            CHECK_OK(
                world.context->backend->scan(world.context, &world.rows, world.pack,
                                             &(struct fkmi_scan){.kind = FKMI_SCAN_ALL, .distance = all}));
            for (int i = 0; i < N; i++)
                check_row(all + i * K, step, index + i * WIDTH, distance + i * WIDTH);
            fkmi_approximate_free(approximate);
            CHECK_INT(1, world.proposing.dropped);
            close_world(&world);
        }
}

TEST(rows_without_enough_candidates_are_scanned)
{
    struct world world;
    int64_t none[N * 3];
    double near[N * WIDTH], distance[N * WIDTH];
    int32_t exact[N * WIDTH], index[N * WIDTH];

    open_world(&world, FKM_METRIC_EUCLIDEAN);
    for (int i = 0; i < N * 3; i++)
        none[i] = i % 3 ? 11 : -1;
    CHECK_OK(world.context->backend->rank(world.context, &world.rows, world.pack, none, 3, WIDTH, index,
                                          distance));
    CHECK_OK(world.context->backend->scan(
        world.context, &world.rows, world.pack,
        &(struct fkmi_scan){.kind = FKMI_SCAN_TOP_K, .top_k = WIDTH, .index = exact, .distance = near}));
    CHECK(memcmp(index, exact, sizeof exact) == 0 && memcmp(distance, near, sizeof near) == 0);
    close_world(&world);
}

TEST(failing_functions_are_named)
{
    struct world world;
    struct fkmi_approximate *approximate;
    double distance[N * WIDTH];
    int32_t index[N * WIDTH];

    open_world(&world, FKM_METRIC_EUCLIDEAN);
    world.proposing.fails_to_build = FKM_EIO;
    CHECK_STATUS(FKM_EIO, fkmi_approximate_create(world.context, &world.space, FKM_DTYPE_F32, world.points, K,
                                                  &approximate));
    CHECK_SAYS("the search's build function returned FKM_EIO", fkm_last_error());
    world.proposing.fails_to_build = FKM_OK;
    CHECK_OK(
        fkmi_approximate_create(world.context, &world.space, FKM_DTYPE_F32, world.points, K, &approximate));
    world.proposing.fails_to_search = FKM_EINTERNAL;
    CHECK_STATUS(FKM_EINTERNAL,
                 fkmi_approximate_nearest(approximate, &world.rows, world.pack, WIDTH, index, distance));
    CHECK_SAYS("the search's search function returned FKM_EINTERNAL", fkm_last_error());
    fkmi_approximate_free(approximate);
    close_world(&world);
}

TEST(every_allocation_may_fail)
{
    struct world world;
    double distance[N * WIDTH];
    int32_t index[N * WIDTH];
    int64_t n = 0;

    open_world(&world, FKM_METRIC_COSINE);
    const size_t held = fkmi_memory_held();
    for (fkm_status status = FKM_ENOMEM; status != FKM_OK; n++) {
        struct fkmi_approximate *approximate = NULL;
        fkmi_memory_fail(n + 1, 0);
        status = fkmi_approximate_create(world.context, &world.space, FKM_DTYPE_F32, world.points, K,
                                         &approximate);
        if (status == FKM_OK)
            status = fkmi_approximate_nearest(approximate, &world.rows, world.pack, WIDTH, index, distance);
        fkmi_memory_fail(0, 0);
        fkmi_approximate_free(approximate);
        fkmi_scratch_trim(world.context);
        CHECK(status == FKM_OK || status == FKM_ENOMEM);
        CHECK(fkmi_memory_held() <= held);
        CHECK_INT(world.proposing.built, world.proposing.dropped);
    }
    CHECK(n > 5);
    close_world(&world);
}

TEST(incomplete_functions_are_refused)
{
    fkm_search_functions functions = {sizeof functions, build, NULL, drop};
    fkm_context *context;

    CHECK_OK(fkm_context_create(NULL, &context));
    CHECK_STATUS(FKM_EINVAL, fkm_context_set_search(context, &functions, NULL));
    CHECK_SAYS("fkm_search_functions.search is NULL", fkm_last_error());
    functions.struct_size = 8;
    CHECK_STATUS(FKM_EINVAL, fkm_context_set_search(context, &functions, NULL));
    CHECK_STATUS(FKM_EINVAL, fkm_context_set_search(NULL, NULL, NULL));
    CHECK_OK(fkm_context_set_search(context, NULL, NULL));
    fkm_context_free(context);
}
