/* bench_tune.c — where use_compile pays: the same model with and without it, the same calls in turn.
 *
 *     bench_tune [--quick]
 *
 * For each shape a classifier learns from normal rows, twice; then rows are predicted, a few at a time and many, and a
 * gradient step is taken. Answers are compared: they must be the same bits. One JSON line for each case, with the least
 * time of each; "gain" is standard / tuned. "tuning" lines say what the measurement itself costs in fit.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "fastkmeans/fastkmeans.h"

struct shape {
    int64_t classes, per_class, dim;
    fkm_metric metric;
};
static const struct shape shapes[] = {
    {2, 1, 4, FKM_METRIC_EUCLIDEAN},       {3, 3, 4, FKM_METRIC_EUCLIDEAN},
    {10, 2, 16, FKM_METRIC_EUCLIDEAN},     {10, 3, 64, FKM_METRIC_COSINE},
    {26, 10, 16, FKM_METRIC_EUCLIDEAN},    {10, 30, 784, FKM_METRIC_EUCLIDEAN},
    {100, 3, 128, FKM_METRIC_COSINE},      {100, 10, 128, FKM_METRIC_EUCLIDEAN},
    {1000, 10, 128, FKM_METRIC_EUCLIDEAN}, {10, 5, 32, FKM_METRIC_L1},
};
static const int64_t row_counts[] = {1, 16, 256, 4096};
enum { MOST_ROWS = 20000 };

static double least(double a, double b) { return a < b ? a : b; }

static fkm_batch batch_of(const float *x, const int64_t *labels, int64_t n, int64_t dim)
{
    fkm_batch batch = FKM_BATCH_INIT;

    batch.n_rows = n;
    batch.n_cols = dim;
    batch.x = x;
    batch.labels = labels;
    return batch;
}

static fkm_model *model_of(fkm_context *context, const struct shape *shape, bool tuned,
                           const fkm_batch *batch, double *seconds)
{
    fkm_params params = FKM_PARAMS_INIT;
    fkm_fit_options options = FKM_FIT_OPTIONS_INIT;
    fkm_model *model;
    double start;

    params.metric = shape->metric;
    params.soft = FKM_SOFT_SOFTMAX_SCALED;
    params.k_init = (int32_t)shape->per_class;
    params.use_compile = tuned;
    options.max_iters = 2;
    bench_check(fkm_model_create(context, &params, &model));
    start = bench_now();
    bench_check(fkm_model_fit(model, batch, &options));
    *seconds = bench_now() - start;
    return model;
}

struct sides {
    fkm_model *model[2]; /* standard, tuned */
    double seconds[2];
};

static void report(const struct shape *shape, const char *call, int64_t n, const struct sides *sides)
{
    static const char *const metrics[] = {"cosine", "euclidean", "l1"};

    printf("{\"call\": \"%s\", \"rows\": %lld, \"k\": %lld, \"dim\": %lld, \"distance\": \"%s\", "
           "\"standard_us\": %.2f, \"tuned_us\": %.2f, \"gain\": %.2f}\n",
           call, (long long)n, (long long)(shape->classes * shape->per_class), (long long)shape->dim,
           metrics[shape->metric], 1e6 * sides->seconds[0], 1e6 * sides->seconds[1],
           sides->seconds[0] / sides->seconds[1]);
    fflush(stdout);
}

static void predict(struct sides *sides, const fkm_batch *batch, int repeats, int64_t *labels[2])
{
    sides->seconds[0] = sides->seconds[1] = 1e9;
    for (int i = 0; i < 2 * repeats; i++) {
        const double start = bench_now();

        bench_check(fkm_model_predict_labels(sides->model[i % 2], batch, labels[i % 2]));
        sides->seconds[i % 2] = least(sides->seconds[i % 2], bench_now() - start);
    }
    if (memcmp(labels[0], labels[1], (size_t)batch->n_rows * sizeof **labels) != 0) {
        fprintf(stderr, "the answers differ\n");
        exit(EXIT_FAILURE);
    }
}

static void learn(struct sides *sides, const fkm_batch *batch, int repeats)
{
    sides->seconds[0] = sides->seconds[1] = 1e9;
    for (int i = 0; i < 2 * repeats; i++) {
        const double start = bench_now();

        bench_check(fkm_model_gradient_step(sides->model[i % 2], batch, NULL));
        sides->seconds[i % 2] = least(sides->seconds[i % 2], bench_now() - start);
    }
}

static void run(fkm_context *context, const struct shape *shape, bool quick)
{
    const int64_t k = shape->classes * shape->per_class, n = quick ? 10 * k : MOST_ROWS;
    float *x = malloc((size_t)(n * shape->dim) * sizeof *x);
    int64_t *labels = malloc((size_t)n * sizeof *labels),
            *found[2] = {malloc((size_t)n * sizeof *labels), malloc((size_t)n * sizeof *labels)};
    fkm_batch batch = batch_of(x, labels, n, shape->dim);
    struct sides sides;

    if (!x || !labels || !found[0] || !found[1])
        exit(EXIT_FAILURE);
    bench_fill(x, n * shape->dim, 7);
    for (int64_t i = 0; i < n; i++) {
        labels[i] = i % shape->classes;
        x[i * shape->dim + labels[i] % shape->dim] += 3;
    }
    for (int side = 0; side < 2; side++)
        sides.model[side] = model_of(context, shape, side == 1, &batch, &sides.seconds[side]);
    report(shape, "fit of 2 passes, tuning included", n, &sides);
    for (size_t i = 0; i < sizeof row_counts / sizeof *row_counts; i++) {
        batch.n_rows = row_counts[i] < n ? row_counts[i] : n;
        predict(&sides, &batch, quick ? 2 : row_counts[i] > 256 ? 60 : 600, found);
        report(shape, "predict", batch.n_rows, &sides);
    }
    batch.n_rows = n < 256 ? n : 256;
    learn(&sides, &batch, quick ? 2 : 200);
    report(shape, "gradient step", batch.n_rows, &sides);
    for (int side = 0; side < 2; side++) {
        fkm_model_free(sides.model[side]);
        free(found[side]);
    }
    free(x);
    free(labels);
}

int main(int argc, char **argv)
{
    const bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    fkm_context *context;

    bench_check(fkm_context_create(NULL, &context));
    for (size_t i = 0; i < (quick ? 4 : sizeof shapes / sizeof *shapes); i++)
        run(context, &shapes[i], quick);
    fkm_context_free(context);
    return 0;
}
