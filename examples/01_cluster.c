/* 01_cluster.c — finds three groups in 600 unlabelled points and says which group a new point belongs to.
 * Build: cc 01_cluster.c $(pkg-config --cflags --libs fastkmeans)
 * SPDX-License-Identifier: Apache-2.0 */
#include <fastkmeans/fastkmeans.h>

#include <stdio.h>
#include <stdlib.h>

enum { N = 600, D = 2, K = 3 };

static void check(fkm_status status)
{
    if (status == FKM_OK)
        return;
    fprintf(stderr, "%s: %s\n", fkm_status_name(status), fkm_last_error());
    exit(EXIT_FAILURE);
}

static float noise(void) { return (float)rand() / (float)RAND_MAX - 0.5f; }

int main(void)
{
    static const float middle[K][D] = {{0, 0}, {4, 0}, {2, 3}};
    static float points[N][D];
    fkm_params params = FKM_PARAMS_INIT;
    fkm_batch batch = FKM_BATCH_INIT, question = FKM_BATCH_INIT;
    fkm_context *context = NULL;
    fkm_model *model = NULL;
    double centroids[K][D], mass[K];
    int64_t group;

    for (int i = 0; i < N; i++)
        for (int j = 0; j < D; j++)
            points[i][j] = middle[i % K][j] + noise();
    batch.n_rows = N, batch.n_cols = D, batch.x = points;

    params.task = FKM_TASK_CLUSTER;
    params.metric = FKM_METRIC_EUCLIDEAN;
    params.k_init = K;
    check(fkm_context_create(NULL, &context)); /* every core */
    check(fkm_model_create(context, &params, &model));
    check(fkm_model_fit(model, &batch, NULL));

    check(fkm_model_centroids(model, &centroids[0][0]));
    check(fkm_model_centroid_weights(model, mass));
    for (int k = 0; k < K; k++)
        printf("group %d: %3.0f points around (%.2f, %.2f)\n", k, mass[k], centroids[k][0], centroids[k][1]);

    question.n_rows = 1, question.n_cols = D, question.x = (float[]){1.9f, 2.8f};
    check(fkm_model_predict_labels(model, &question, &group));
    printf("(1.9, 2.8) belongs to the group around (%.1f, %.1f)\n", centroids[group][0], centroids[group][1]);

    fkm_model_free(model);
    fkm_context_free(context);
    return EXIT_SUCCESS;
}
