/* test_model_many_tags.c — where rows x tags are very many, thresholds come from a sample of the rows.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>

#include "fastkmeans/fastkmeans.h"
#include "support/test.h"

/* ROWS x TAGS scores are as many as are looked at. */
enum { ROWS = 8192, TAGS = 16384, EACH = 4, DIM = 2, ASKED = 64 };

/* The thresholds of a model of these rows, each of which comes `copies` times, and the tags of some others. */
static double *thresholds_of(int copies, uint8_t *tags)
{
    const int64_t n = (int64_t)ROWS * copies;
    fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;
    fkm_params params = FKM_PARAMS_INIT;
    fkm_fit_options fitting = FKM_FIT_OPTIONS_INIT;
    fkm_batch batch = FKM_BATCH_INIT;
    fkm_context *context;
    fkm_model *model;
    float *x = malloc(sizeof *x * (size_t)(n * DIM));
    int64_t *indptr = malloc(sizeof *indptr * (size_t)(n + 1));
    int32_t *tag = malloc(sizeof *tag * (size_t)(n * EACH));
    double *scores = malloc(sizeof *scores * 3 * TAGS);

    CHECK(x && indptr && tag && scores);
    for (int64_t i = 0; i < n; i++) {
        const int64_t row = i / copies;

        for (int64_t d = 0; d < DIM; d++)
            x[i * DIM + d] = (float)((row * (row + 3 * d + 1) * 7919) % 1009) / 1009;
        for (int t = 0; t < EACH; t++)
            tag[i * EACH + t] = (int32_t)((row % (TAGS / EACH)) * EACH + t);
    }
    for (int64_t i = 0; i <= n; i++)
        indptr[i] = i * EACH;
    batch.n_rows = n;
    batch.n_cols = DIM;
    batch.dtype = FKM_DTYPE_F32;
    batch.x = x;
    batch.tag_indptr = indptr;
    batch.tags = tag;
    batch.n_tags = TAGS;
    params.task = FKM_TASK_MULTILABEL;
    params.metric = FKM_METRIC_EUCLIDEAN;
    params.k_init = 1;
    fitting.max_iters = 2;
    CHECK_OK(fkm_context_create(&options, &context));
    CHECK_OK(fkm_model_create(context, &params, &model));
    CHECK_OK(fkm_model_fit(model, &batch, &fitting));
    CHECK_OK(fkm_model_tag_scores(model, scores));
    for (int64_t c = 0; c < TAGS; c++)
        scores[c] = scores[3 * c + 2];
    batch.n_rows = ASKED;
    for (int64_t i = 0; i < ASKED * DIM; i++)
        x[i] = (float)((i * 7919) % 1009) / 1009;
    CHECK_OK(fkm_model_predict_tags(model, &batch, FKM_STRATEGY_ADAPTIVE, 1, tags));
    fkm_model_free(model);
    fkm_context_free(context);
    free(x);
    free(indptr);
    free(tag);
    return scores;
}

/* Of rows that all come twice, one beside the other, a sample of half of them has each once. */
TEST(half_of_the_rows_twice_tell_the_same_thresholds)
{
    static uint8_t tags[2][ASKED * TAGS];
    double *once = thresholds_of(1, tags[0]), *twice = thresholds_of(2, tags[1]);
    int64_t differ = 0, chosen = 0;

    for (int64_t c = 0; c < TAGS; c++) {
        CHECK(isfinite(once[c]));
        CHECK_NEAR(once[c], twice[c], 1e-3 * (1 + fabs(once[c])));
    }
    for (int64_t i = 0; i < (int64_t)ASKED * TAGS; i++) {
        differ += tags[0][i] != tags[1][i];
        chosen += tags[0][i];
    }
    CHECK(chosen > 0 && differ <= chosen / 50);
    free(once);
    free(twice);
}
