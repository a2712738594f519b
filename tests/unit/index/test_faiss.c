/* test_faiss.c — models that search by faiss answer nearly as those that scan, with the same distances, also after their
 * prototypes have moved; failing allocations of ours.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "faiss_search.h"
#include "support/test.h"

enum { N = 4000, DIM = 12, K = 1500, ASKED = 500, WIDTH = 5 };

/* Rows in clusters around points of their own. */
static float *rows_of(uint64_t seed)
{
    float *x = malloc(sizeof *x * N * DIM);
    uint64_t state = seed;

    CHECK(x);
    for (int64_t i = 0; i < N; i++)
        for (int64_t d = 0; d < DIM; d++) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            x[i * DIM + d] = (float)((i % 97 * (d + 3) * 7) % 31) + (float)(state >> 40) * 0x1p-24f;
        }
    return x;
}

static fkm_batch batch_of(const float *x, int64_t n)
{
    fkm_batch batch = FKM_BATCH_INIT;

    batch.n_rows = n;
    batch.n_cols = DIM;
    batch.dtype = FKM_DTYPE_F32;
    batch.x = x;
    return batch;
}

/* The share of rows with the same nearest; where they agree the distances do. */
static double agreement(const fkm_model *exact, const fkm_model *searching, const float *x)
{
    static int64_t index[2][ASKED * WIDTH];
    static double distance[2][ASKED * WIDTH];
    const fkm_batch asked = batch_of(x, ASKED);
    int64_t same = 0;

    CHECK_OK(fkm_model_nearest(exact, &asked, WIDTH, index[0], distance[0], NULL));
    CHECK_OK(fkm_model_nearest(searching, &asked, WIDTH, index[1], distance[1], NULL));
    for (int64_t i = 0; i < ASKED; i++) {
        const bool agrees = index[0][i * WIDTH] == index[1][i * WIDTH];

        same += agrees;
        CHECK(distance[1][i * WIDTH] >= distance[0][i * WIDTH]);
        CHECK(!agrees || distance[0][i * WIDTH] == distance[1][i * WIDTH]);
        for (int c = 1; c < WIDTH; c++)
            CHECK(distance[1][i * WIDTH + c] >= distance[1][i * WIDTH + c - 1]);
    }
    return (double)same / ASKED;
}

static void check_metric(fkm_metric metric)
{
    fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;
    fkm_context *plain, *context;
    fkm_params params = FKM_PARAMS_INIT;
    fkm_model *exact, *searching;
    float *x = rows_of(1), *later = rows_of(2);
    const fkm_batch first = batch_of(x, N), second = batch_of(later, N);

    params.task = FKM_TASK_CLUSTER;
    params.metric = metric;
    params.k_init = K;
    CHECK_OK(fkm_context_create(&options, &plain));
    CHECK_OK(fkm_context_create(&options, &context));
    CHECK_OK(faiss_search_set(context));
    CHECK_OK(fkm_model_create(plain, &params, &exact));
    params.use_faiss = true;
    CHECK_STATUS(FKM_EUNSUPPORTED, fkm_model_create(plain, &params, &searching));
    CHECK_OK(fkm_model_create(context, &params, &searching));
    CHECK_OK(fkm_model_fit_batch(exact, &first, NULL));
    CHECK_OK(fkm_model_fit_batch(searching, &first, NULL));
    CHECK(agreement(exact, searching, x) > 0.98);
    CHECK_OK(fkm_model_fit_batch(exact, &second, NULL));
    CHECK_OK(fkm_model_fit_batch(searching, &second, NULL));
    CHECK(agreement(exact, searching, later) > 0.98);
    fkm_model_free(exact);
    fkm_model_free(searching);
    fkm_context_free(plain);
    fkm_context_free(context);
    free(x);
    free(later);
}

TEST(euclidean_neighbours) { check_metric(FKM_METRIC_EUCLIDEAN); }
TEST(cosine_neighbours) { check_metric(FKM_METRIC_COSINE); }

TEST(any_number_of_threads_gives_the_same_answers)
{
    static int64_t index[2][ASKED];
    float *x = rows_of(3);
    const fkm_batch rows = batch_of(x, N), asked = batch_of(x, ASKED);

    for (int t = 0; t < 2; t++) {
        fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;
        fkm_params params = FKM_PARAMS_INIT;
        fkm_context *context;
        fkm_model *model;

        options.n_threads = t == 0 ? 1 : 3;
        params.task = FKM_TASK_CLUSTER;
        params.metric = FKM_METRIC_EUCLIDEAN;
        params.k_init = K;
        params.use_faiss = true;
        CHECK_OK(fkm_context_create(&options, &context));
        CHECK_OK(faiss_search_set(context));
        CHECK_OK(fkm_model_create(context, &params, &model));
        CHECK_OK(fkm_model_fit_batch(model, &rows, NULL));
        CHECK_OK(fkm_model_predict_labels(model, &asked, index[t]));
        fkm_model_free(model);
        fkm_context_free(context);
    }
    for (int64_t i = 0; i < ASKED; i++)
        CHECK_INT(index[0][i], index[1][i]);
    free(x);
}
