/* 04_regress.c — learns a surface from a stream of batches, keeps the model in a file and asks the file.
 * Build: cc 04_regress.c $(pkg-config --cflags --libs fastkmeans) -lm
 * SPDX-License-Identifier: Apache-2.0 */
#include <fastkmeans/fastkmeans.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 2000, D = 2 };

static void check(fkm_status status)
{
    if (status == FKM_OK)
        return;
    fprintf(stderr, "%s: %s\n", fkm_status_name(status), fkm_last_error());
    exit(EXIT_FAILURE);
}

static fkm_batch next_batch(float x[N][D], double y[N])
{
    for (int i = 0; i < N; i++) {
        x[i][0] = (float)(2.0 * rand() / RAND_MAX - 1), x[i][1] = (float)(2.0 * rand() / RAND_MAX - 1);
        y[i] = sin(3.0 * x[i][0]) + x[i][1] * x[i][1];
    }
    return (fkm_batch){
        .struct_size = sizeof(fkm_batch), .n_rows = N, .n_cols = D, .x = x, .targets = y, .n_targets = 1};
}

int main(void)
{
    static float x[N][D];
    static double y[N], answer[N];
    const char *path = "04_regress.safetensors";
    fkm_params params = FKM_PARAMS_INIT;
    fkm_context *context = NULL;
    fkm_model *model = NULL, *loaded = NULL;
    double squares = 0;

    params.task = FKM_TASK_REGRESS, params.metric = FKM_METRIC_EUCLIDEAN;
    check(fkm_context_create(NULL, &context));
    check(fkm_model_create(context, &params, &model));
    for (int step = 0; step < 200; step++) { /* a stream may go on for ever: nothing is kept but prototypes */
        const fkm_batch batch = next_batch(x, y);
        check(step < 20 ? fkm_model_fit_batch(model, &batch, NULL)
                        : fkm_model_gradient_step(model, &batch, NULL));
    }
    check(fkm_model_save(model, path));

    check(fkm_model_load(context, path, &loaded));
    const fkm_batch test = next_batch(x, y);
    check(fkm_model_predict_values(loaded, &test, answer));
    for (int i = 0; i < N; i++)
        squares += (answer[i] - y[i]) * (answer[i] - y[i]);
    printf("root mean squared error on %d new rows: %.3f\n", N, sqrt(squares / N));
    fkm_model_free(loaded);
    fkm_model_free(model);
    fkm_context_free(context);
    return sqrt(squares / N) < 0.2 ? EXIT_SUCCESS : EXIT_FAILURE;
}
