/* test_tuning.c — whatever way a tuning sends scans, their answers have the same bits; what the measurement finds is
 * one that scans understand.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "backends/tuning.h"
#include "support/naive.h"
#include "support/test.h"

struct problem {
    int64_t n, k, dim;
    struct fkmi_space space;
    struct fkmi_rows rows;
    float *x, *points, *mask;
};

static void *room(int64_t count, size_t size)
{
    void *memory = calloc((size_t)count + 1, size);

    if (!memory)
        abort();
    return memory;
}

/* Many ties: small integers, and prototypes that are rows. */
static struct problem problem_of(struct naive_random *random, fkm_metric metric, int64_t n, int64_t k,
                                 int64_t dim, bool masked)
{
    struct problem p = {.n = n, .k = k, .dim = dim};

    p.x = room(n * dim, sizeof *p.x);
    p.points = room(k * dim, sizeof *p.points);
    p.mask = masked ? room(n * dim, sizeof *p.mask) : NULL;
    for (int64_t i = 0; i < n * dim; i++)
        p.x[i] = naive_below(random, 4) ? (float)naive_normal(random) : (float)naive_below(random, 3);
    for (int64_t i = 0; i < k; i++)
        for (int64_t d = 0; d < dim; d++)
            p.points[i * dim + d] = naive_below(random, 20) ? p.x[naive_below(random, n) % (i + 1) * dim + d]
                                                            : (float)naive_normal(random);
    for (int64_t i = 0; masked && i < n * dim; i++)
        p.mask[i] = naive_below(random, 5) ? 1.0f : 0.0f;
    p.space = (struct fkmi_space){.metric = metric, .dim = dim, .real = FKMI_REAL_F32};
    p.rows = (struct fkmi_rows){
        .n = n, .dim = dim, .dtype = FKM_DTYPE_F32, .x = p.x, .stride = dim, .mask = p.mask};
    return p;
}

static void drop(struct problem *p)
{
    free(p->x);
    free(p->points);
    free(p->mask);
}

static fkm_context *context_of(int n_threads)
{
    fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;
    fkm_context *context;

    options.n_threads = n_threads;
    CHECK_OK(fkm_context_create(&options, &context));
    return context;
}

struct answer {
    int32_t *index;
    double *distance;
    size_t places;
};

static struct answer scan(fkm_context *context, const struct problem *p, const struct fkmi_tuning *tuning,
                          int64_t top_k)
{
    struct answer answer = {room(p->n * top_k, sizeof(int32_t)), room(p->n * top_k, sizeof(double)),
                            (size_t)(p->n * top_k)};
    struct fkmi_space space = p->space;
    struct fkmi_pack *pack = NULL;

    space.tuning = tuning;
    CHECK_OK(context->backend->pack(context, &space, FKM_DTYPE_F32, p->points, p->k, p->mask, &pack));
    CHECK_OK(
        context->backend->scan(context, &p->rows, pack,
                               &(struct fkmi_scan){.kind = top_k > 1 ? FKMI_SCAN_TOP_K : FKMI_SCAN_NEAREST,
                                                   .top_k = top_k,
                                                   .index = answer.index,
                                                   .distance = answer.distance}));
    context->backend->pack_free(pack);
    return answer;
}

static void check_same(struct answer wanted, struct answer found)
{
    CHECK(memcmp(wanted.index, found.index, wanted.places * sizeof *wanted.index) == 0);
    CHECK(memcmp(wanted.distance, found.distance, wanted.places * sizeof *wanted.distance) == 0);
    free(found.index);
    free(found.distance);
}

TEST(every_choice_gives_the_same_bits)
{
    static const int64_t sizes[] = {1, 2, 16, 17, 90, 300}, numbers[] = {1, 5, 33, 130};
    const int64_t tiles[] = {0, 1, 3, FKMI_MOST_TILES};
    struct naive_random random = {1};
    fkm_context *context = context_of(3);

    for (int repeat = 0; repeat < 48; repeat++) {
        const int64_t n = sizes[repeat % 6], k = numbers[repeat / 6 % 4], dim = 1 + naive_below(&random, 140),
                      top_k = repeat % 2 ? 1 : 1 + naive_below(&random, 6);
        struct problem p =
            problem_of(&random, (fkm_metric)(repeat % 3), n, k, dim, naive_below(&random, 4) == 0);
        const struct answer wanted = scan(context, &p, NULL, top_k);

        for (int64_t way = 0; way < FKMI_N_WAYS; way++)
            for (int64_t alone = 0; alone < 2; alone++)
                for (int t = 0; t < 4; t++) {
                    struct fkmi_tuning tuning = {.k = k};

                    for (int i = 0; i < FKMI_N_TUNED * FKMI_N_SIZES; i++)
                        tuning.choice[i / FKMI_N_SIZES][i % FKMI_N_SIZES] =
                            (struct fkmi_choice){way, alone, tiles[t]};
                    check_same(wanted, scan(context, &p, &tuning, top_k));
                }
        free(wanted.index);
        free(wanted.distance);
        drop(&p);
    }
    fkm_context_free(context);
}

TEST(a_measurement_is_one_that_scans_understand)
{
    struct naive_random random = {2};

    for (int threads = 1; threads < 3; threads++) {
        fkm_context *context = context_of(threads);

        for (int metric = 0; metric < 3; metric++) {
            struct problem p = problem_of(&random, (fkm_metric)metric, 400, 40, 24, metric == 1);
            struct fkmi_tuning tuning;

            for (int64_t top_k = 1; top_k < 60; top_k += 29) {
                const struct answer wanted = scan(context, &p, NULL, top_k < 40 ? top_k : 40);

                CHECK_OK(fkmi_tune(context, &p.space, FKM_DTYPE_F32, p.points, p.k, top_k, &p.rows, &tuning));
                CHECK_OK(fkmi_tuning_check(&tuning));
                CHECK_INT(p.k, tuning.k);
                check_same(wanted, scan(context, &p, &tuning, top_k < 40 ? top_k : 40));
                free(wanted.index);
                free(wanted.distance);
            }
            drop(&p);
        }
        fkm_context_free(context);
    }
}

TEST(a_tuning_says_nothing_of_other_shapes)
{
    struct fkmi_tuning tuning = {.k = 90};

    tuning.choice[FKMI_TUNED_TOP_K][2].way = FKMI_WAY_DIRECT;
    CHECK_INT(FKMI_WAY_DIRECT, fkmi_choice_of(&tuning, 90, FKMI_TUNED_TOP_K, 256).way);
    CHECK_INT(FKMI_WAY_DIRECT, fkmi_choice_of(&tuning, 135, FKMI_TUNED_TOP_K, 17).way);
    CHECK_INT(FKMI_WAY_DIRECT, fkmi_choice_of(&tuning, 60, FKMI_TUNED_TOP_K, 17).way);
    CHECK_INT(FKMI_WAY_STANDARD, fkmi_choice_of(&tuning, 136, FKMI_TUNED_TOP_K, 17).way);
    CHECK_INT(FKMI_WAY_STANDARD, fkmi_choice_of(&tuning, 59, FKMI_TUNED_TOP_K, 17).way);
    CHECK_INT(FKMI_WAY_STANDARD, fkmi_choice_of(&tuning, 90, FKMI_TUNED_TOP_K, 257).way);
    CHECK_INT(FKMI_WAY_STANDARD, fkmi_choice_of(&tuning, 90, FKMI_TUNED_NEAREST, 256).way);
}

TEST(numbers_that_are_no_measurement_are_refused)
{
    struct fkmi_tuning good = {.k = 3}, bad[5] = {good, good, good, good, good};

    CHECK_OK(fkmi_tuning_check(&good));
    bad[0].k = -1;
    bad[1].choice[1][3].way = FKMI_N_WAYS;
    bad[2].choice[0][0].way = -1;
    bad[3].choice[0][1].alone = 2;
    bad[4].choice[1][2].tiles = FKMI_MOST_TILES + 1;
    for (int i = 0; i < 5; i++)
        CHECK_STATUS(FKM_EDATA, fkmi_tuning_check(&bad[i]));
}
