/* bench_sparse.c — text in CSR rows: fitting, fine-tuning and predicting a classifier. One JSON line per step.
 *
 * bench_sparse [--rows N] [--dim D] [--words W] [--classes C] [--k K] [--asked N] [--iters N] [--epochs N]
 *              [--metric cosine|euclidean|l1] [--dtype float32|bfloat16|float16|float64] [--repulsion R]
 *              [--assignment hard|linear|softmax] [--batches 1: a stream of batches instead of fit] [--threads N]
 *              [--repeats N] [--top-k K] [--write PREFIX] [--quick]
 *
 * Documents draw five words in six from Zipf's law over all, one from 200 of their class; weights are those of
 * TF-IDF, rows have unit length. --write keeps the rows as PREFIX.indptr, .indices, .values, .labels for another program.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "fastkmeans/fastkmeans.h"

enum { TOPIC = 200 };

struct wish {
    int64_t n, dim, words, classes, k, asked, iters, epochs, threads, repeats, top_k;
    const char *metric, *dtype, *repulsion, *assignment, *write;
    bool batches;
};

struct rows {
    int64_t n, *indptr, *labels;
    int32_t *indices;
    float *values;
};

static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static double uniform(uint64_t *state) { return (double)(draw(state) >> 11) * 0x1p-53; }

/* Rank in [0, n) with probability about 1 / (rank + 1). */
static int64_t zipf(uint64_t *state, int64_t n)
{
    const int64_t rank = (int64_t)exp(uniform(state) * log((double)n + 1)) - 1;

    return rank < 0 ? 0 : rank < n ? rank : n - 1;
}

/* The column of a rank: words do not come in the order of how common they are. 7919 is a prime. */
static int32_t column_of(int64_t rank, int64_t dim) { return (int32_t)(rank * 7919 % dim); }

static int by_column(const void *a, const void *b)
{
    return (*(const int32_t *)a > *(const int32_t *)b) - (*(const int32_t *)a < *(const int32_t *)b);
}

static void *need(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (!memory) {
        fprintf(stderr, "out of memory\n");
        exit(EXIT_FAILURE);
    }
    return memory;
}

static struct rows make_rows(const struct wish *wish, int64_t n, uint64_t seed)
{
    struct rows rows = {.n = n};

    rows.indptr = need((size_t)n + 1, sizeof *rows.indptr);
    rows.labels = need((size_t)n, sizeof *rows.labels);
    rows.indices = need((size_t)(n * wish->words), sizeof *rows.indices);
    rows.values = need((size_t)(n * wish->words), sizeof *rows.values);
    for (int64_t i = 0; i < n; i++) {
        int32_t *out = rows.indices + rows.indptr[i];
        const int64_t label = (int64_t)(draw(&seed) % (uint64_t)wish->classes);
        int64_t found = 0;
        double square = 0;

        rows.labels[i] = label;
        for (int64_t e = 0; e < wish->words; e++) {
            int64_t rank = zipf(&seed, wish->dim);

            if (e % 6 == 0) { /* a word of the class: always the same for one label and place */
                uint64_t word = (uint64_t)(label * TOPIC + zipf(&seed, TOPIC)) * 7919 + 17;
                rank = (int64_t)(draw(&word) % (uint64_t)wish->dim);
            }
            out[e] = column_of(rank, wish->dim);
        }
        qsort(out, (size_t)wish->words, sizeof *out, by_column);
        for (int64_t e = 0; e < wish->words; e++) {
            float *value = rows.values + rows.indptr[i];

            if (found > 0 && out[found - 1] == out[e]) {
                value[found - 1] += 1;
                continue;
            }
            out[found] = out[e];
            value[found++] = 1;
        }
        for (int64_t e = 0; e < found; e++) {
            float *value = rows.values + rows.indptr[i] + e;
            uint64_t word = (uint64_t)out[e];

            *value =
                (1 + logf(*value)) * (float)(2 + 6 * uniform(&word)); /* an idf of its own for each word */
            square += (double)*value * (double)*value;
        }
        for (int64_t e = 0; e < found; e++)
            rows.values[rows.indptr[i] + e] /= (float)sqrt(square);
        rows.indptr[i + 1] = rows.indptr[i] + found;
    }
    return rows;
}

static void write_array(const char *prefix, const char *name, const void *data, size_t size)
{
    char path[4096];
    FILE *file;

    snprintf(path, sizeof path, "%s.%s", prefix, name);
    file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        fprintf(stderr, "cannot write %s\n", path);
        exit(EXIT_FAILURE);
    }
}

static void write_rows(const char *prefix, const struct rows *rows)
{
    const size_t entries = (size_t)rows->indptr[rows->n];

    write_array(prefix, "indptr", rows->indptr, (size_t)(rows->n + 1) * sizeof *rows->indptr);
    write_array(prefix, "indices", rows->indices, entries * sizeof *rows->indices);
    write_array(prefix, "values", rows->values, entries * sizeof *rows->values);
    write_array(prefix, "labels", rows->labels, (size_t)rows->n * sizeof *rows->labels);
}

static fkm_batch batch_of(const struct wish *wish, const struct rows *rows, int64_t first, int64_t n)
{
    fkm_batch batch = FKM_BATCH_INIT;

    batch.n_rows = n;
    batch.n_cols = wish->dim;
    batch.dtype = FKM_DTYPE_F32;
    batch.values = rows->values;
    batch.indices = rows->indices;
    batch.indptr = rows->indptr + first;
    batch.labels = rows->labels + first;
    return batch;
}

/* The most memory this process has had, in MB. */
static double peak_mb(void)
{
    char line[256];
    double kb = 0;
    FILE *file = fopen("/proc/self/status", "r");

    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "VmHWM:", 6) == 0)
            kb = strtod(line + 6, NULL);
    if (file)
        fclose(file);
    return kb / 1000;
}

static void report(const struct wish *wish, const char *step, int64_t rows, double seconds, double spread,
                   double quality)
{
    printf("{\"bench\": \"sparse\", \"step\": \"%s\", \"rows\": %lld, \"dim\": %lld, \"words\": %lld, "
           "\"classes\": %lld, "
           "\"k\": %lld, \"metric\": \"%s\", \"dtype\": \"%s\", \"assignment\": \"%s\", \"repulsion\": %s, "
           "\"iters\": %lld, "
           "\"threads\": %lld, \"seconds\": %.6f, \"spread\": %.3f, \"rows_per_s\": %.0f, \"quality\": %.5g, "
           "\"peak_mb\": %.0f}\n",
           step, (long long)rows, (long long)wish->dim, (long long)wish->words, (long long)wish->classes,
           (long long)wish->k, wish->metric, wish->dtype, wish->assignment, wish->repulsion,
           (long long)wish->iters, (long long)wish->threads, seconds, spread, (double)rows / seconds, quality,
           peak_mb());
    fflush(stdout);
}

struct job {
    const struct wish *wish;
    const struct rows *rows;
    fkm_model *model;
    int64_t *answer, passes;
};

static int count_pass(void *user, const fkm_progress *progress)
{
    ((struct job *)user)->passes = progress->step;
    return 0;
}

static void fit(void *argument)
{
    struct job *job = argument;
    const fkm_batch batch = batch_of(job->wish, job->rows, 0, job->rows->n);
    fkm_fit_options options = FKM_FIT_OPTIONS_INIT;

    options.max_iters = job->wish->iters;
    options.tol = 0;
    options.progress = count_pass;
    options.user = job;
    bench_check(fkm_model_fit(job->model, &batch, &options));
}

static void stream(void *argument)
{
    enum { AT_ONCE = 10240 };
    struct job *job = argument;
    int64_t *indptr = need(AT_ONCE + 1, sizeof *indptr); /* a batch's row pointers begin at 0 */

    for (int64_t epoch = 0; epoch < job->wish->iters; epoch++)
        for (int64_t first = 0; first < job->rows->n; first += AT_ONCE) {
            const int64_t left = job->rows->n - first, n = left < AT_ONCE ? left : AT_ONCE;
            fkm_batch batch = batch_of(job->wish, job->rows, first, n);

            for (int64_t i = 0; i <= n; i++)
                indptr[i] = batch.indptr[i] - batch.indptr[0];
            batch.values = (const float *)batch.values + batch.indptr[0];
            batch.indices += batch.indptr[0];
            batch.indptr = indptr;
            bench_check(fkm_model_fit_batch(job->model, &batch, NULL));
        }
    free(indptr);
}

static void predict(void *argument)
{
    struct job *job = argument;
    const fkm_batch batch = batch_of(job->wish, job->rows, 0, job->rows->n);

    bench_check(fkm_model_predict_labels(job->model, &batch, job->answer));
}

static void finetune(void *argument)
{
    struct job *job = argument;
    const fkm_batch batch = batch_of(job->wish, job->rows, 0, job->rows->n);
    fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;

    options.epochs = job->wish->epochs;
    bench_check(fkm_model_finetune(job->model, &batch, &options));
}

static void set(fkm_params *params, const char *name, const char *value)
{
    bench_check(fkm_params_set(params, name, value));
}

static double right(const struct rows *rows, const int64_t *answer)
{
    int64_t n = 0;

    for (int64_t i = 0; i < rows->n; i++)
        n += answer[i] == rows->labels[i];
    return (double)n / (double)rows->n;
}

static void run(const struct wish *wish)
{
    const struct rows rows = make_rows(wish, wish->n, 1), asked = make_rows(wish, wish->asked, 2);
    fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;
    fkm_params params = FKM_PARAMS_INIT;
    fkm_context *context;
    struct job job = {.wish = wish, .rows = &rows}, ask = {.wish = wish, .rows = &asked};
    struct bench_times times;
    double begun;
    char text[32];

    if (wish->write) {
        char path[4096];

        write_rows(wish->write, &rows);
        snprintf(path, sizeof path, "%s.asked", wish->write);
        write_rows(path, &asked);
        return;
    }
    report(wish, "input", wish->n, 1, 0, (double)rows.indptr[rows.n] / (double)rows.n);
    options.n_threads = (int32_t)wish->threads;
    bench_check(fkm_context_create(&options, &context));
    set(&params, "task", "classifier");
    set(&params, "distance", wish->metric);
    set(&params, "dtype", wish->dtype);
    set(&params, "repulsion_factor", wish->repulsion);
    set(&params, "assignment", wish->assignment);
    snprintf(text, sizeof text, "%lld", (long long)wish->top_k);
    set(&params, "top_k", text);
    snprintf(text, sizeof text, "%lld", (long long)wish->k);
    set(&params, "k_init", text);
    bench_check(fkm_model_create(context, &params, &job.model));
    begun = bench_now();
    if (wish->batches)
        stream(&job);
    else
        fit(&job);
    report(wish, wish->batches ? "batches" : "fit", wish->n, bench_now() - begun, 0,
           (double)(wish->batches ? wish->iters : job.passes));
    ask.model = job.model;
    ask.answer = need((size_t)wish->asked, sizeof *ask.answer);
    begun = bench_now();
    predict(&ask);
    report(wish, "predict first", wish->asked, bench_now() - begun, 0, right(&asked, ask.answer));
    times = bench_repeat(predict, &ask, (int)wish->repeats);
    report(wish, "predict", wish->asked, times.median, times.spread, right(&asked, ask.answer));
    if (wish->epochs > 0) {
        begun = bench_now();
        finetune(&job);
        begun = bench_now() - begun;
        predict(&ask);
        report(wish, "finetune", wish->n * wish->epochs, begun, 0, right(&asked, ask.answer));
    }
    fkm_model_free(job.model);
    fkm_context_free(context);
}

int main(int argc, char **argv)
{
    struct wish wish = {.n = 16000,
                        .dim = 50000,
                        .words = 100,
                        .classes = 500,
                        .k = 3,
                        .asked = 4000,
                        .iters = 10,
                        .threads = 2,
                        .repeats = 5,
                        .top_k = 1,
                        .metric = "cosine",
                        .dtype = "float32",
                        .repulsion = "0.05",
                        .assignment = "hard"};

    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "0";
        const struct {
            const char *name;
            int64_t *number;
        } numbers[] = {{"--rows", &wish.n},          {"--dim", &wish.dim},       {"--words", &wish.words},
                       {"--classes", &wish.classes}, {"--k", &wish.k},           {"--asked", &wish.asked},
                       {"--iters", &wish.iters},     {"--epochs", &wish.epochs}, {"--threads", &wish.threads},
                       {"--repeats", &wish.repeats}, {"--top-k", &wish.top_k}};
        const struct {
            const char *name, **text;
        } texts[] = {{"--metric", &wish.metric},
                     {"--dtype", &wish.dtype},
                     {"--repulsion", &wish.repulsion},
                     {"--assignment", &wish.assignment},
                     {"--write", &wish.write}};

        if (strcmp(argv[i], "--quick") == 0) {
            wish.n = 400;
            wish.dim = 3000;
            wish.classes = 20;
            wish.asked = 100;
            wish.iters = 3;
            wish.epochs = 1;
            wish.repeats = 1;
            continue;
        }
        for (size_t a = 0; a < sizeof numbers / sizeof *numbers; a++)
            if (strcmp(argv[i], numbers[a].name) == 0)
                *numbers[a].number = strtoll(value, NULL, 10);
        for (size_t a = 0; a < sizeof texts / sizeof *texts; a++)
            if (strcmp(argv[i], texts[a].name) == 0)
                *texts[a].text = value;
        if (strcmp(argv[i], "--batches") == 0)
            wish.batches = value[0] == '1';
        i++;
    }
    run(&wish);
    return EXIT_SUCCESS;
}
