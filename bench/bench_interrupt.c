/* bench_interrupt.c — how soon a call ends once its user wants it to (fkm_set_interrupt), through the public API.
 *
 * A first run is asked and says no: gap_ms is the longest time between two questions, the call's beginning and end
 * among them. Then the call runs again and again and is told to stop, at moments spread over its length. One JSON
 * line per case:
 *   call_s                    the whole call
 *   gap_ms, gap_at_s          longest silence, and when it began
 *   gap_cpu_ms                most that the calling thread itself worked in a silence
 *   median_ms, worst_ms       from the moment the answer turned to yes until the call had returned
 *   worst_at_s                the moment of the worst
 * bench_interrupt [--quick] [--threads N] [--moments N] [part of a case's name]
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "fastkmeans/fastkmeans.h"

enum { MAX_MOMENTS = 200 };

struct data {
    fkm_batch batch;
    float *x, *values;
    int64_t *indptr, *labels, *tag_indptr;
    int32_t *indices, *tags;
    double *targets;
};

struct job {
    fkm_context *context;
    fkm_params params;
    fkm_model *prepared, *model; /* every call works on a copy */
    struct data data;
    void *answers;
    char path[256];
};

struct shape {
    fkm_task task;
    int64_t n, dim, n_classes, n_targets;
    int32_t k;
    int64_t per_row; /* entries of a CSR row; 0: dense */
};

struct bench_case {
    const char *name;
    struct shape shape;
    void (*prepare)(struct job *job, const struct shape *shape);
    fkm_status (*call)(struct job *job);
};

/* ---- questions */

static struct {
    double stop_at; /* INFINITY: never */
    double last, longest, longest_at;
    double last_cpu, longest_cpu;
} question;

static double cpu_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* A place to stop at: what worked silently for long is above it. */
__attribute__((noinline)) static void note_silence(double silent, double worked)
{
    if (silent > question.longest) {
        question.longest = silent;
        question.longest_at = question.last;
    }
    if (worked > question.longest_cpu)
        question.longest_cpu = worked;
}

static void answer(void)
{
    const double now = bench_now(), cpu = cpu_now();

    note_silence(now - question.last, cpu - question.last_cpu);
    question.last = now;
    question.last_cpu = cpu;
}

static int ask(void *unused)
{
    (void)unused;
    answer();
    return question.last >= question.stop_at;
}

/* ---- rows */

static void *need(int64_t count, size_t size)
{
    void *memory = calloc((size_t)count, size);

    if (!memory) {
        fprintf(stderr, "%lld x %zu bytes cannot be had\n", (long long)count, size);
        exit(EXIT_FAILURE);
    }
    return memory;
}

static void fill_dense(struct data *data, const struct shape *shape)
{
    const int64_t n_centres = 64;
    float *centres = need(n_centres * shape->dim, sizeof *centres);

    data->x = need(shape->n * shape->dim, sizeof *data->x);
    bench_fill(centres, n_centres * shape->dim, 1);
    bench_fill(data->x, shape->n * shape->dim, 2);
    for (int64_t i = 0; i < shape->n; i++)
        for (int64_t d = 0; d < shape->dim; d++)
            data->x[i * shape->dim + d] += 0.5f * centres[i * 7919 % n_centres * shape->dim + d];
    data->batch.dtype = FKM_DTYPE_F32;
    data->batch.x = data->x;
    free(centres);
}

/* Entries evenly over the columns, from another column in each row. */
static void fill_sparse(struct data *data, const struct shape *shape)
{
    const int64_t n = shape->n, m = shape->per_row, apart = shape->dim / m;

    data->values = need(n * m, sizeof *data->values);
    data->indices = need(n * m, sizeof *data->indices);
    data->indptr = need(n + 1, sizeof *data->indptr);
    bench_fill(data->values, n * m, 3);
    for (int64_t e = 0; e < n * m; e++) {
        data->values[e] = fabsf(data->values[e]) + 0.1f;
        data->indices[e] = (int32_t)(e % m * apart + e / m * 7919 % apart);
    }
    for (int64_t i = 0; i <= n; i++)
        data->indptr[i] = i * m;
    data->batch.dtype = FKM_DTYPE_F32;
    data->batch.values = data->values;
    data->batch.indices = data->indices;
    data->batch.indptr = data->indptr;
}

static void fill_answers(struct data *data, const struct shape *shape)
{
    const int64_t n = shape->n, m = shape->n_targets;

    if (shape->task == FKM_TASK_CLASSIFY) {
        data->batch.labels = data->labels = need(n, sizeof *data->labels);
        for (int64_t i = 0; i < n; i++)
            data->labels[i] = i * 7919 % shape->n_classes;
    } else if (shape->task == FKM_TASK_MULTILABEL) {
        data->batch.tag_indptr = data->tag_indptr = need(n + 1, sizeof *data->tag_indptr);
        data->batch.tags = data->tags = need(2 * n, sizeof *data->tags);
        data->batch.n_tags = shape->n_classes;
        for (int64_t i = 0; i < n; i++) {
            data->tags[2 * i] = (int32_t)(i * 7919 % shape->n_classes);
            data->tags[2 * i + 1] = (int32_t)((i * 7919 + 1 + i % 3) % shape->n_classes);
        }
        for (int64_t i = 0; i <= n; i++)
            data->tag_indptr[i] = 2 * i;
    } else if (shape->task == FKM_TASK_REGRESS) {
        data->batch.targets = data->targets = need(n * m, sizeof *data->targets);
        data->batch.n_targets = m;
        for (int64_t i = 0; i < n; i++)
            for (int64_t t = 0; t < m; t++)
                data->targets[i * m + t] = sin((double)(i * 7919 % 1000 + t)) + (double)(i % 17) * 0.01;
    }
}

static void free_data(struct data *data)
{
    free(data->x);
    free(data->values);
    free(data->indices);
    free(data->indptr);
    free(data->labels);
    free(data->tag_indptr);
    free(data->tags);
    free(data->targets);
}

/* ---- what stands before the call */

static void prepare_rows(struct job *job, const struct shape *shape)
{
    job->data.batch = (fkm_batch)FKM_BATCH_INIT;
    job->data.batch.n_rows = shape->n;
    job->data.batch.n_cols = shape->dim;
    if (shape->per_row > 0)
        fill_sparse(&job->data, shape);
    else
        fill_dense(&job->data, shape);
    fill_answers(&job->data, shape);
    job->params.task = shape->task;
    job->params.k_init = shape->k;
    if (shape->task == FKM_TASK_REGRESS) {
        job->params.k_targets = (int32_t)shape->n_classes;
        job->params.k_features = shape->k;
    }
    bench_check(fkm_model_create(job->context, &job->params, &job->prepared));
}

/* One pass from random rows: what comes after it is what is looked at. */
static void prepare_fitted(struct job *job, const struct shape *shape)
{
    fkm_fit_options options = FKM_FIT_OPTIONS_INIT;

    job->params.init = FKM_INIT_RANDOM;
    prepare_rows(job, shape);
    options.max_iters = 1;
    bench_check(fkm_model_fit(job->prepared, &job->data.batch, &options));
    job->answers = need(shape->n, sizeof(int64_t) * 2);
}

static void prepare_transform(struct job *job, const struct shape *shape)
{
    prepare_fitted(job, shape);
    free(job->answers);
    job->answers = need(shape->n * shape->k, sizeof(float));
}

static void prepare_whole_batches(struct job *job, const struct shape *shape)
{
    job->params.finetune_batch_size = 10000;
    prepare_fitted(job, shape);
}

static void prepare_f16(struct job *job, const struct shape *shape)
{
    job->params.dtype = FKM_DTYPE_F16;
    job->params.metric = FKM_METRIC_EUCLIDEAN;
    prepare_rows(job, shape);
}

static void prepare_weights(struct job *job, const struct shape *shape)
{
    job->params.auto_feature_weights = 1;
    prepare_rows(job, shape);
}

/* Almost all prototypes of the class merge. */
static void prepare_merging(struct job *job, const struct shape *shape)
{
    job->params.merge_threshold = 10;
    job->params.metric = FKM_METRIC_EUCLIDEAN;
    job->params.min_weight = 0;
    job->params.init = FKM_INIT_RANDOM;
    prepare_rows(job, shape);
}

static void prepare_glvq(struct job *job, const struct shape *shape)
{
    job->params.repulsion = FKM_REPULSION_GLVQ;
    job->params.init = FKM_INIT_RANDOM;
    prepare_rows(job, shape);
}

static void prepare_saved(struct job *job, const struct shape *shape)
{
    prepare_fitted(job, shape);
    bench_check(fkm_model_gradient_step(job->prepared, &job->data.batch, NULL));
    snprintf(job->path, sizeof job->path, "/tmp/fkm-bench-%ld.fkm", (long)getpid());
    bench_check(fkm_model_save(job->prepared, job->path));
}

/* Probabilities in answers; the bytes of x tell which tags are there. */
static void prepare_loss(struct job *job, const struct shape *shape)
{
    double *probability = need(shape->n, sizeof *probability);

    prepare_rows(job, shape);
    for (int64_t i = 0; i < shape->n; i++)
        probability[i] = (double)(i % 1000) / 1000;
    job->answers = probability;
    job->data.targets = need(shape->n, sizeof *job->data.targets);
}

/* ---- calls */

static fkm_status call_fit(struct job *job)
{
    fkm_fit_options options = FKM_FIT_OPTIONS_INIT;

    options.max_iters = 12;
    return fkm_model_fit(job->model, &job->data.batch, &options);
}

static fkm_status call_fit_batch(struct job *job)
{
    return fkm_model_fit_batch(job->model, &job->data.batch, NULL);
}

static fkm_status call_gradient_step(struct job *job)
{
    return fkm_model_gradient_step(job->model, &job->data.batch, NULL);
}

static fkm_status call_finetune(struct job *job)
{
    fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;

    options.epochs = 5;
    return fkm_model_finetune(job->model, &job->data.batch, &options);
}

static fkm_status call_search(struct job *job)
{
    return fkm_model_find_learning_rate(job->model, &job->data.batch, NULL);
}

static fkm_status call_predict(struct job *job)
{
    return fkm_model_predict_labels(job->model, &job->data.batch, job->answers);
}

static fkm_status call_transform(struct job *job)
{
    return fkm_model_transform(job->model, &job->data.batch, job->answers);
}

static fkm_status call_importance(struct job *job)
{
    double *weights = need(job->data.batch.n_cols, sizeof *weights);
    const fkm_status status = fkm_model_feature_importance(job->model, &job->data.batch, weights);

    free(weights);
    return status;
}

static fkm_status call_evaluate(struct job *job)
{
    fkm_evaluation *evaluation = NULL;
    fkm_status status = fkm_evaluation_create(job->model, FKM_STRATEGY_ADAPTIVE, 1, &evaluation);

    if (status == FKM_OK)
        status = fkm_evaluation_add(evaluation, &job->data.batch);
    fkm_evaluation_free(evaluation);
    return status;
}

static fkm_status call_set_start(struct job *job)
{
    return fkm_model_set_start(job->model, job->data.x, job->data.batch.n_rows, job->data.batch.n_cols, NULL);
}

static fkm_status call_load(struct job *job)
{
    fkm_model *model = NULL;
    const fkm_status status = fkm_model_load(job->context, job->path, &model);

    fkm_model_free(model);
    return status;
}

static fkm_status call_loss(struct job *job)
{
    return fkm_asymmetric_loss(job->data.batch.n_rows, job->answers, (uint8_t *)job->data.x, 1.5, 3.5, 0.05,
                               job->data.targets, NULL);
}

static const struct bench_case cases[] = {
    {"fit_cluster", {FKM_TASK_CLUSTER, 100000, 128, 1, 0, 1000, 0}, prepare_rows, call_fit},
    {"fit_classify", {FKM_TASK_CLASSIFY, 100000, 64, 5, 0, 200, 0}, prepare_rows, call_fit},
    {"fit_many_classes", {FKM_TASK_CLASSIFY, 100000, 64, 20, 0, 50, 0}, prepare_rows, call_fit},
    {"fit_glvq", {FKM_TASK_CLASSIFY, 50000, 64, 10, 0, 20, 0}, prepare_glvq, call_fit},
    {"fit_multilabel", {FKM_TASK_MULTILABEL, 50000, 64, 100, 0, 5, 0}, prepare_rows, call_fit},
    {"fit_regress", {FKM_TASK_REGRESS, 100000, 32, 200, 3, 5, 0}, prepare_rows, call_fit},
    {"fit_regress_many_targets", {FKM_TASK_REGRESS, 100000, 8, 20, 100, 5, 0}, prepare_rows, call_fit},
    {"fit_sparse", {FKM_TASK_CLASSIFY, 20000, 50000, 10, 0, 10, 100}, prepare_rows, call_fit},
    {"fit_sparse_cluster", {FKM_TASK_CLUSTER, 20000, 50000, 1, 0, 50, 100}, prepare_rows, call_fit},
    {"fit_sparse_weights", {FKM_TASK_CLASSIFY, 20000, 50000, 100, 0, 2, 100}, prepare_weights, call_fit},
    {"fit_half", {FKM_TASK_CLUSTER, 200000, 256, 1, 0, 20, 0}, prepare_f16, call_fit},
    {"fit_weights", {FKM_TASK_CLASSIFY, 100000, 512, 50, 0, 2, 0}, prepare_weights, call_fit},
    {"fit_merging", {FKM_TASK_CLUSTER, 40000, 64, 1, 0, 8000, 0}, prepare_merging, call_fit},
    {"fit_batch_merging", {FKM_TASK_CLUSTER, 20000, 64, 1, 0, 8000, 0}, prepare_merging, call_fit_batch},
    {"fit_batch", {FKM_TASK_CLASSIFY, 200000, 128, 10, 0, 100, 0}, prepare_fitted, call_fit_batch},
    {"gradient_step", {FKM_TASK_CLASSIFY, 10000, 784, 10, 0, 30, 0}, prepare_fitted, call_gradient_step},
    {"finetune", {FKM_TASK_CLASSIFY, 10000, 784, 10, 0, 30, 0}, prepare_whole_batches, call_finetune},
    {"finetune_small_batches", {FKM_TASK_CLASSIFY, 20000, 784, 10, 0, 30, 0}, prepare_fitted, call_finetune},
    {"finetune_sparse", {FKM_TASK_CLASSIFY, 20000, 50000, 10, 0, 10, 100}, prepare_fitted, call_finetune},
    {"finetune_multilabel", {FKM_TASK_MULTILABEL, 20000, 64, 500, 0, 3, 0}, prepare_fitted, call_finetune},
    {"finetune_regress", {FKM_TASK_REGRESS, 50000, 32, 200, 50, 5, 0}, prepare_fitted, call_finetune},
    {"search", {FKM_TASK_CLASSIFY, 10000, 784, 10, 0, 30, 0}, prepare_whole_batches, call_search},
    {"predict", {FKM_TASK_CLUSTER, 1000000, 64, 1, 0, 1000, 0}, prepare_fitted, call_predict},
    {"transform", {FKM_TASK_CLUSTER, 200000, 64, 1, 0, 1000, 0}, prepare_transform, call_transform},
    {"evaluate", {FKM_TASK_CLASSIFY, 500000, 64, 10, 0, 100, 0}, prepare_fitted, call_evaluate},
    {"evaluate_tags", {FKM_TASK_MULTILABEL, 100000, 64, 200, 0, 3, 0}, prepare_fitted, call_evaluate},
    {"importance", {FKM_TASK_CLASSIFY, 200000, 512, 10, 0, 1, 0}, prepare_rows, call_importance},
    {"importance_sparse", {FKM_TASK_CLASSIFY, 50000, 50000, 500, 0, 1, 100}, prepare_rows, call_importance},
    {"set_start", {FKM_TASK_CLUSTER, 200000, 1000, 1, 0, 1, 0}, prepare_rows, call_set_start},
    {"load", {FKM_TASK_CLUSTER, 40000, 1000, 1, 0, 40000, 0}, prepare_saved, call_load},
    {"asymmetric_loss", {FKM_TASK_CLUSTER, 50000000, 1, 1, 0, 1, 0}, prepare_loss, call_loss},
};

/* ---- measuring */

static fkm_status timed_call(struct job *job, const struct bench_case *what, double stop_after, double *start,
                             double *end)
{
    fkm_status status;

    fkm_model_free(job->model);
    bench_check(fkm_model_copy(job->prepared, &job->model));
    question.longest = question.longest_cpu = 0;
    *start = question.last = bench_now();
    question.last_cpu = cpu_now();
    question.stop_at = *start + stop_after;
    fkm_set_interrupt(ask, NULL);
    status = what->call(job);
    fkm_set_interrupt(NULL, NULL);
    answer();
    *end = question.last;
    if (status != FKM_EINTERRUPTED)
        bench_check((int)status);
    return status;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void run_case(fkm_context *context, const struct bench_case *what, int moments, bool quick)
{
    struct job job = {.context = context, .params = FKM_PARAMS_INIT};
    struct shape shape = what->shape;
    double start, end, length, gap, gap_cpu, gap_at, late[MAX_MOMENTS], worst_at = 0, worst = 0;
    int n = 0;

    if (quick) {
        shape.n = shape.n / 100 > 100 ? shape.n / 100 : 100;
        shape.k = shape.k > 50 ? 50 : shape.k;
        shape.n_classes = shape.n_classes > 5 ? 5 : shape.n_classes;
    }
    job.params.soft = FKM_SOFT_SOFTMAX_SCALED;
    what->prepare(&job, &shape);
    timed_call(&job, what, INFINITY, &start, &end);
    length = end - start;
    gap = question.longest;
    gap_cpu = question.longest_cpu;
    gap_at = question.longest_at - start;
    for (int i = 0; i < moments; i++) {
        const double after = length * (i + 0.5) / moments;

        if (timed_call(&job, what, after, &start, &end) != FKM_EINTERRUPTED)
            continue; /* over before it was asked again */
        late[n] = end - start - after;
        if (late[n] > worst) {
            worst = late[n];
            worst_at = after;
        }
        n++;
    }
    qsort(late, (size_t)n, sizeof *late, ascending);
    printf("{\"case\": \"%s\", \"threads\": %d, \"call_s\": %.3f, \"gap_ms\": %.0f, \"gap_at_s\": %.3f, "
           "\"gap_cpu_ms\": %.0f, \"interrupts\": %d, \"median_ms\": %.0f, \"worst_ms\": %.0f, "
           "\"worst_at_s\": %.3f}\n",
           what->name, (int)fkm_context_threads(context), length, 1e3 * gap, gap_at, 1e3 * gap_cpu, n,
           n > 0 ? 1e3 * late[n / 2] : 0.0, 1e3 * worst, worst_at);
    fflush(stdout);
    fkm_model_free(job.model);
    fkm_model_free(job.prepared);
    free(job.answers);
    free_data(&job.data);
    if (job.path[0])
        (void)unlink(job.path);
}

int main(int argc, char **argv)
{
    fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;
    const char *part = "";
    bool quick = false;
    int moments = 5;
    fkm_context *context;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0)
            quick = true;
        else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc)
            options.n_threads = (int32_t)strtol(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--moments") == 0 && i + 1 < argc)
            moments = (int)strtol(argv[++i], NULL, 10);
        else
            part = argv[i];
    }
    moments = moments < 0 ? 0 : moments > MAX_MOMENTS ? MAX_MOMENTS : moments;
    bench_check(fkm_context_create(&options, &context));
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        if (strstr(cases[c].name, part))
            run_case(context, &cases[c], moments, quick);
    fkm_context_free(context);
    return 0;
}
