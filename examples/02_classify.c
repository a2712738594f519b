/* 02_classify.c — learns two rings that no straight line can part: phase 1 places prototypes, phase 2 refines.
 * Build: cc 02_classify.c $(pkg-config --cflags --libs fastkmeans) -lm
 * SPDX-License-Identifier: Apache-2.0 */
#include <fastkmeans/fastkmeans.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 1000, D = 2 };

static void check(fkm_status status)
{
    if (status == FKM_OK)
        return;
    fprintf(stderr, "%s: %s\n", fkm_status_name(status), fkm_last_error());
    exit(EXIT_FAILURE);
}

static double noise(void) { return (double)rand() / RAND_MAX - 0.5; }

/* Row i lies on the inner ring (label 0) or the outer one (label 1). */
static fkm_batch rings(float x[N][D], int64_t labels[N])
{
    for (int i = 0; i < N; i++) {
        const double angle = 6.2832 * rand() / RAND_MAX, radius = 1 + i % 2 + 0.6 * noise();
        x[i][0] = (float)(radius * cos(angle)), x[i][1] = (float)(radius * sin(angle));
        labels[i] = i % 2;
    }
    return (fkm_batch){.struct_size = sizeof(fkm_batch), .n_rows = N, .n_cols = D, .x = x, .labels = labels};
}

int main(void)
{
    static float x[2][N][D];
    static int64_t labels[2][N];
    fkm_params params = FKM_PARAMS_INIT;
    fkm_scores scores = {.struct_size = sizeof scores};
    fkm_context *context = NULL;
    fkm_model *model = NULL;
    fkm_evaluation *evaluation = NULL;

    const fkm_batch train = rings(x[0], labels[0]), test = rings(x[1], labels[1]);
    check(fkm_params_set(&params, "distance", "euclidean")); /* fields can be set by name, too */
    check(fkm_params_set(&params, "k_init", "6"));           /* six prototypes for each class */
    check(fkm_context_create(NULL, &context));
    check(fkm_model_create(context, &params, &model));
    check(fkm_model_fit(model, &train, NULL));
    check(fkm_model_finetune(model, &train, NULL));

    check(fkm_evaluation_create(model, FKM_STRATEGY_ADAPTIVE, 1, &evaluation));
    check(fkm_evaluation_add(evaluation, &test));
    check(fkm_evaluation_scores(evaluation, &scores));
    printf("accuracy on %d new rows: %.3f\n", N, scores.accuracy);
    fkm_evaluation_free(evaluation);
    fkm_model_free(model);
    fkm_context_free(context);
    return scores.accuracy > 0.9 ? EXIT_SUCCESS : EXIT_FAILURE;
}
