/* bench_fit.c — whole calls through the public API: what they take in time and in memory.
 *
 * Rows are a mixture of Gaussians, the same in every run. Each case runs in a process of its own, so that no
 * peak hides another; code, stacks and kernels are warm before memory is looked at. One JSON line per case,
 * bytes in millions:
 *   median_s, spread, cpu_s    of the call, over the repeats
 *   seeding_s                  until the first pass begins (by the clock of the progress callback)
 *   epoch_s, epoch_cpu_s       a pass, without the last (which pushes, where there is pushing)
 *   epoch_all_s                (the call - seeding) / passes: pushing, thresholds and upkeep included
 *   process_mb                 resident before the first array
 *   input_mb, before_mb        arrays of the batch; resident when the call begins, less process_mb
 *   need_mb, need_first_mb     peak - before: what the call took for itself; the first time it was made (a second
 *                              fine-tuning holds what the first has left as well)
 *   used_mb, budget_mb         peak - process, and what it may be: input + 10 % + the caller's answers + 8 K D
 *                              bytes; of load: the file + 16 MiB. Meant for the full shapes.
 * bench_fit [--quick] [--threads N] [--repeats N] [part of a case's name]: 3 repeats, X1 once
 * SPDX-License-Identifier: Apache-2.0 */
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "fastkmeans/fastkmeans.h"

enum { MAX_REPEATS = 21, MAX_PASSES = 64, PUSHING_PASSES = 1, STREAM_ROWS = 40960, STREAM_BATCHES = 4 };
static const double MB = 1e6;

struct workload {
    fkm_task task;
    int64_t n, dim, n_classes; /* classes, tags, or strata of the target */
    int32_t k;                 /* by class; clusters */
    int64_t passes, asked;     /* asked: rows to predict */
    int64_t sampled;           /* other classes of a gradient batch; 0: all */
};

struct data {
    fkm_batch batch;
    float *x;
    int64_t *labels, *tag_indptr;
    int32_t *tags;
    double *targets;
    size_t bytes;
};

/* One repeated call, and what it found out besides its time. */
struct job {
    struct workload shape;
    fkm_context *context;
    fkm_params params;
    struct data data;
    fkm_model *model;
    void *answers;
    size_t answer_bytes;
    char path[512], second_path[520];
    double pass_at[MAX_PASSES], pass_cpu[MAX_PASSES]; /* of the fit under way */
    int64_t n_passes;
    double seeding[MAX_REPEATS], epoch[MAX_REPEATS], epoch_cpu[MAX_REPEATS], epoch_all[MAX_REPEATS];
    double grew; /* of a stream */
    int repeat;
};

struct bench_case {
    const char *name;
    struct workload shape;
    fkm_init init;
    void (*prepare)(struct job *job);
    void (*call)(struct job *job);
};

/* ---- memory and time */

/* Bytes of a line of /proc/self/status: VmRSS, VmHWM. */
static double resident(const char *name)
{
    char line[256];
    double kilobytes = 0;
    FILE *file = fopen("/proc/self/status", "r");

    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
            kilobytes = strtod(line + strlen(name) + 1, NULL);
    if (file)
        fclose(file);
    return 1024 * kilobytes;
}

static void forget_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");

    if (file) {
        fputs("5", file);
        fclose(file);
    }
}

static double cpu_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Sorts the values. */
static double median_of(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, ascending);
    return values[n / 2];
}

static void *need(size_t bytes)
{
    void *memory = calloc(bytes > 0 ? bytes : 1, 1);

    if (!memory) {
        fprintf(stderr, "%zu bytes cannot be had\n", bytes);
        exit(EXIT_FAILURE);
    }
    return memory;
}

/* ---- rows */

static int64_t centre_count(const struct workload *shape)
{
    if (shape->task == FKM_TASK_CLUSTER)
        return shape->k;
    return shape->task == FKM_TASK_MULTILABEL ? shape->n_classes : shape->n_classes * shape->k;
}

/* Three different tags: offsets 0, 1 .. a third, a third .. two thirds. */
static int64_t tag_of(const struct workload *shape, int64_t i, int t)
{
    const int64_t third = shape->n_classes / 3, first = i * 7919 % shape->n_classes;

    const int64_t offset[] = {0, 1 + i * 31 % third, third + 1 + i * 17 % third};

    return (first + offset[t]) % shape->n_classes;
}

static void fill_answers(struct data *data, const struct workload *shape, int64_t n)
{
    if (shape->task == FKM_TASK_CLASSIFY) {
        data->batch.labels = data->labels = need((size_t)n * sizeof *data->labels);
        for (int64_t i = 0; i < n; i++)
            data->labels[i] = i * 7919 % centre_count(shape) % shape->n_classes;
        data->bytes += (size_t)n * sizeof *data->labels;
    } else if (shape->task == FKM_TASK_MULTILABEL) {
        data->batch.tag_indptr = data->tag_indptr = need((size_t)(n + 1) * sizeof *data->tag_indptr);
        data->batch.tags = data->tags = need((size_t)(3 * n) * sizeof *data->tags);
        data->batch.n_tags = shape->n_classes;
        for (int64_t i = 0; i < 3 * n; i++)
            data->tags[i] = (int32_t)tag_of(shape, i / 3, (int)(i % 3));
        for (int64_t i = 0; i <= n; i++)
            data->tag_indptr[i] = 3 * i;
        data->bytes += (size_t)(n + 1) * sizeof *data->tag_indptr + (size_t)(3 * n) * sizeof *data->tags;
    } else if (shape->task == FKM_TASK_REGRESS) {
        data->batch.targets = data->targets = need((size_t)n * sizeof *data->targets);
        data->batch.n_targets = 1;
        for (int64_t i = 0; i < n; i++) {
            const float *x = data->x + i * shape->dim;
            data->targets[i] = (double)(x[0] + x[1] * x[2] + x[3] * x[3]);
        }
        data->bytes += (size_t)n * sizeof *data->targets;
    }
}

/* Centres stand three deviations apart, so that the passes have work to do. */
static void make_data(struct data *data, const struct workload *shape, int64_t n, uint64_t seed, bool answers)
{
    const int64_t dim = shape->dim, n_centres = centre_count(shape);
    const int per_row = shape->task == FKM_TASK_MULTILABEL ? 3 : 1;
    float *centres = need((size_t)(n_centres * dim) * sizeof *centres), apart = 3;

    while (apart * apart * 2 * (float)dim > 9)
        apart *= 0.95f;
    memset(data, 0, sizeof *data);
    data->bytes = (size_t)(n * dim) * sizeof *data->x;
    data->x = need(data->bytes);
    bench_fill(centres, n_centres * dim, 1);
    bench_fill(data->x, n * dim, seed);
    for (int64_t i = 0; i < n; i++)
        for (int t = 0; t < per_row; t++) {
            const int64_t c = per_row == 3 ? tag_of(shape, i, t) : i * 7919 % n_centres;
            for (int64_t d = 0; d < dim; d++)
                data->x[i * dim + d] += apart * centres[c * dim + d];
        }
    free(centres);
    data->batch = (fkm_batch)FKM_BATCH_INIT;
    data->batch.n_rows = n;
    data->batch.n_cols = dim;
    data->batch.dtype = FKM_DTYPE_F32;
    data->batch.x = data->x;
    if (answers)
        fill_answers(data, shape, n);
}

static void free_data(struct data *data)
{
    free(data->x);
    free(data->labels);
    free(data->tag_indptr);
    free(data->tags);
    free(data->targets);
    memset(data, 0, sizeof *data);
}

/* ---- calls */

static int note_pass(void *user, const fkm_progress *progress)
{
    struct job *job = user;

    (void)progress;
    if (job->n_passes < MAX_PASSES) {
        job->pass_cpu[job->n_passes] = cpu_now();
        job->pass_at[job->n_passes++] = bench_now();
    }
    return 0;
}

static void fit(struct job *job, int64_t passes)
{
    fkm_fit_options options = FKM_FIT_OPTIONS_INIT;

    options.max_iters = passes;
    options.tol = 0;
    options.progress = note_pass;
    options.user = job;
    job->n_passes = 0;
    fkm_model_free(job->model);
    bench_check(fkm_model_create(job->context, &job->params, &job->model));
    bench_check(fkm_model_fit(job->model, &job->data.batch, &options));
}

static void call_fit(struct job *job)
{
    const double start = bench_now();
    double total, plain;
    int64_t last;

    fit(job, job->shape.passes);
    total = bench_now() - start;
    last = job->n_passes - 1 > PUSHING_PASSES ? job->n_passes - 1 - PUSHING_PASSES : job->n_passes - 1;
    plain = last > 0 ? (job->pass_at[last] - job->pass_at[0]) / (double)last : total;
    job->epoch[job->repeat] = plain;
    job->epoch_cpu[job->repeat] = last > 0 ? (job->pass_cpu[last] - job->pass_cpu[0]) / (double)last : total;
    job->seeding[job->repeat] = job->pass_at[0] - start - plain;
    job->epoch_all[job->repeat] = (total - job->seeding[job->repeat]) / (double)job->n_passes;
}

static void call_finetune(struct job *job)
{
    fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;
    const double start = bench_now();

    options.epochs = 2;
    bench_check(fkm_model_finetune(job->model, &job->data.batch, &options));
    job->epoch_all[job->repeat] = (bench_now() - start) / 2;
}

static void call_predict(struct job *job)
{
    const fkm_batch *batch = &job->data.batch;

    switch (job->shape.task) {
    case FKM_TASK_CLUSTER:
    case FKM_TASK_CLASSIFY:
        bench_check(fkm_model_predict_labels(job->model, batch, job->answers));
        break;
    case FKM_TASK_MULTILABEL:
        bench_check(fkm_model_predict_tags(job->model, batch, FKM_STRATEGY_ADAPTIVE, 1, job->answers));
        break;
    case FKM_TASK_REGRESS:
        bench_check(fkm_model_predict_values(job->model, batch, job->answers));
        break;
    }
}

/* The arrays hold a few batches, which come round again. */
static void call_stream(struct job *job)
{
    const int64_t rows = job->shape.n / STREAM_BATCHES;
    const double before = resident("VmRSS");

    for (int i = 0; i < 5 * STREAM_BATCHES; i++) {
        const int64_t begin = i % STREAM_BATCHES * rows;
        fkm_batch batch = job->data.batch;

        batch.n_rows = rows;
        batch.x = job->data.x + begin * job->shape.dim;
        batch.labels = job->data.labels + begin;
        bench_check(fkm_model_fit_batch(job->model, &batch, NULL));
    }
    job->grew += job->repeat > 0 ? resident("VmRSS") - before : 0;
}

static void call_save(struct job *job) { bench_check(fkm_model_save(job->model, job->second_path)); }

static void call_load(struct job *job)
{
    fkm_model_free(job->model);
    job->model = NULL;
    bench_check(fkm_model_load(job->context, job->path, &job->model));
}

/* ---- what stands before the first call */

static void prepare_rows(struct job *job) { make_data(&job->data, &job->shape, job->shape.n, 2, true); }

static void prepare_fitted(struct job *job)
{
    prepare_rows(job);
    fit(job, 3);
}

/* Without pushes, which take longer than all the rest where classes are many. */
static void prepare_extreme(struct job *job)
{
    job->params.repulsion_factor = 0;
    prepare_rows(job);
    fit(job, 2);
}

static void prepare_predict(struct job *job)
{
    const struct workload *shape = &job->shape;
    const size_t width = shape->task == FKM_TASK_MULTILABEL ? (size_t)shape->n_classes : 8;

    (shape->sampled > 0 ? prepare_extreme : prepare_fitted)(job);
    free_data(&job->data);
    make_data(&job->data, shape, shape->asked, 3, false);
    job->answer_bytes = (size_t)shape->asked * width;
    job->answers = need(job->answer_bytes);
    memset(job->answers, 1, job->answer_bytes);
}

static void prepare_stream(struct job *job)
{
    prepare_rows(job);
    bench_check(fkm_model_create(job->context, &job->params, &job->model));
    call_stream(job); /* seeding, and the memory a stream keeps */
}

static void prepare_load(struct job *job) { (void)job; }

/* What a model keeps for learning is not in a file: a loaded one shows what saving takes. */
static void prepare_save(struct job *job) { call_load(job); }

/* Makes the file in a process of its own. */
static void write_model(struct job *job)
{
    const char *folder = getenv("TMPDIR");
    int status, file;
    pid_t writer;

    snprintf(job->path, sizeof job->path, "%s/bench_fit_XXXXXX", folder ? folder : "/tmp");
    file = mkstemp(job->path);
    if (file < 0) {
        perror(job->path);
        exit(EXIT_FAILURE);
    }
    close(file);
    snprintf(job->second_path, sizeof job->second_path, "%s.again", job->path);
    fflush(stdout);
    writer = fork();
    if (writer == 0) {
        fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;
        float *points = need((size_t)(job->shape.k * job->shape.dim) * sizeof *points);

        bench_check(fkm_context_create(&options, &job->context));
        bench_fill(points, job->shape.k * job->shape.dim, 1);
        make_data(&job->data, &job->shape, job->shape.n, 2, true);
        bench_check(fkm_model_create(job->context, &job->params, &job->model));
        bench_check(fkm_model_set_start(job->model, points, job->shape.k, job->shape.dim, NULL));
        bench_check(fkm_model_fit_batch(job->model, &job->data.batch, NULL));
        bench_check(fkm_model_save(job->model, job->path));
        _exit(EXIT_SUCCESS);
    }
    if (writer < 0 || waitpid(writer, &status, 0) != writer || status != 0) {
        fprintf(stderr, "%s was not written\n", job->path);
        unlink(job->path);
        exit(EXIT_FAILURE);
    }
}

/* ---- cases */

#define F1                                                                                                   \
    {                                                                                                        \
        FKM_TASK_CLASSIFY, 50000, 784, 10, 20, 13, 10000, 0                                                  \
    }
#define R1                                                                                                   \
    {                                                                                                        \
        FKM_TASK_REGRESS, 50000, 128, 20, 20, 13, 50000, 0                                                   \
    }
#define M1                                                                                                   \
    {                                                                                                        \
        FKM_TASK_MULTILABEL, 20000, 128, 500, 3, 13, 4000, 0                                                 \
    }
#define F2                                                                                                   \
    {                                                                                                        \
        FKM_TASK_CLASSIFY, 20000, 128, 5000, 3, 13, 4000, 0                                                  \
    }
#define F3                                                                                                   \
    {                                                                                                        \
        FKM_TASK_CLASSIFY, 20000, 128, 500, 3, 13, 4000, 0                                                   \
    }
#define X1                                                                                                   \
    {                                                                                                        \
        FKM_TASK_CLASSIFY, 600000, 128, 120000, 3, 6, 10000, 1024                                            \
    } /* five rows a class */
#define C1                                                                                                   \
    {                                                                                                        \
        FKM_TASK_CLUSTER, 100000, 128, 1, 1000, 20, 100000, 0                                                \
    }
#define STREAM                                                                                               \
    {                                                                                                        \
        FKM_TASK_CLASSIFY, STREAM_ROWS, 128, 10, 20, 3, 0, 0                                                 \
    }
#define FILE1                                                                                                \
    {                                                                                                        \
        FKM_TASK_CLUSTER, 256, 1024, 1, 12800, 1, 0, 0                                                       \
    } /* 8 K D bytes: starts are kept too */

static const struct bench_case cases[] = {
    {"F1.fit", F1, FKM_INIT_KMEANSPP, prepare_rows, call_fit},
    {"F1.fit_random", F1, FKM_INIT_RANDOM, prepare_rows, call_fit},
    {"F1.finetune", F1, FKM_INIT_RANDOM, prepare_fitted, call_finetune},
    {"F1.predict", F1, FKM_INIT_RANDOM, prepare_predict, call_predict},
    {"F2.fit", F2, FKM_INIT_KMEANSPP, prepare_rows, call_fit},
    {"F2.finetune", F2, FKM_INIT_RANDOM, prepare_fitted, call_finetune},
    {"F2.predict", F2, FKM_INIT_RANDOM, prepare_predict, call_predict},
    {"F3.fit", F3, FKM_INIT_KMEANSPP, prepare_rows, call_fit},
    {"F3.finetune", F3, FKM_INIT_RANDOM, prepare_fitted, call_finetune},
    {"F3.predict", F3, FKM_INIT_RANDOM, prepare_predict, call_predict},
    {"X1.fit", X1, FKM_INIT_KMEANSPP, prepare_rows, call_fit},
    {"X1.finetune", X1, FKM_INIT_RANDOM, prepare_extreme, call_finetune},
    {"X1.predict", X1, FKM_INIT_RANDOM, prepare_predict, call_predict},
    {"R1.fit", R1, FKM_INIT_KMEANSPP, prepare_rows, call_fit},
    {"R1.finetune", R1, FKM_INIT_RANDOM, prepare_fitted, call_finetune},
    {"R1.predict", R1, FKM_INIT_RANDOM, prepare_predict, call_predict},
    {"M1.fit", M1, FKM_INIT_KMEANSPP, prepare_rows, call_fit},
    {"M1.finetune", M1, FKM_INIT_RANDOM, prepare_fitted, call_finetune},
    {"M1.predict", M1, FKM_INIT_RANDOM, prepare_predict, call_predict},
    {"C.fit", C1, FKM_INIT_KMEANSPP, prepare_rows, call_fit},
    {"C.fit_random", C1, FKM_INIT_RANDOM, prepare_rows, call_fit},
    {"C.predict", C1, FKM_INIT_RANDOM, prepare_predict, call_predict},
    {"stream.fit_batch", STREAM, FKM_INIT_KMEANSPP, prepare_stream, call_stream},
    {"file.save", FILE1, FKM_INIT_RANDOM, prepare_save, call_save},
    {"file.load", FILE1, FKM_INIT_RANDOM, prepare_load, call_load},
};
enum { N_CASES = sizeof cases / sizeof *cases };

/* The same calls on little, so that a smoke test takes seconds. */
static void shrink(struct workload *shape)
{
    const bool many = shape->n_classes > 100;

    shape->n = shape->n > 256 ? shape->n / 40 : shape->n;
    shape->asked = shape->asked > 256 ? shape->asked / 40 : shape->asked;
    shape->dim /= 8;
    shape->n_classes = many ? shape->n_classes / 10 : shape->n_classes;
    shape->k = shape->k >= 1000 ? shape->k / 20 : shape->k;
    shape->passes = shape->passes > 6 ? 6 : shape->passes;
}

static fkm_params params_of(const struct workload *shape, fkm_init init)
{
    fkm_params params = FKM_PARAMS_INIT;

    params.task = shape->task;
    params.metric = FKM_METRIC_EUCLIDEAN;
    params.soft = FKM_SOFT_SOFTMAX_SCALED;
    params.init = init;
    params.k_init = shape->k;
    params.k_targets = (int32_t)shape->n_classes;
    params.k_features = shape->k;
    params.negative_sampling = shape->sampled;
    return params;
}

/* Code, stacks and tables of this task become resident before anything is counted. */
static void warm_up(const struct job *job)
{
    struct job small = {.context = job->context, .params = job->params, .shape = job->shape};

    small.shape.n = 600;
    small.shape.dim = 32;
    small.shape.n_classes = 6;
    small.shape.k = 2;
    small.shape.asked = 600;
    small.shape.passes = 6;
    small.params.k_init = small.params.k_features = 2;
    small.params.k_targets = 6;
    prepare_rows(&small);
    call_fit(&small);
    call_finetune(&small);
    free_data(&small.data);
    prepare_predict(&small);
    call_predict(&small);
    free_data(&small.data);
    free(small.answers);
    fkm_model_free(small.model);
    malloc_trim(0);
}

struct figures {
    double seconds[MAX_REPEATS], cpu[MAX_REPEATS];
    double process, before, peak_first, peak; /* bytes */
};

static double budget_of(const struct job *job, const struct bench_case *which)
{
    struct stat file;
    int64_t k = centre_count(&job->shape);

    if (job->shape.task == FKM_TASK_MULTILABEL)
        k *= job->shape.k;
    if (which->call == call_load && stat(job->path, &file) == 0)
        return (double)file.st_size + (double)(16 << 20);
    return 1.1 * (double)job->data.bytes + (double)job->answer_bytes + 8.0 * (double)(k * job->shape.dim);
}

static void print_case(struct job *job, const struct bench_case *which, struct figures *f, int repeats)
{
    static const char *const tasks[] = {"cluster", "classify", "multilabel", "regress"};
    const double median = median_of(f->seconds, repeats), used = f->peak - f->process;
    const double budget = budget_of(job, which);
    fkm_model_info info = {.struct_size = sizeof info};

    bench_check(fkm_model_describe(job->model, &info));
    printf("{\"bench\":\"fit\",\"case\":\"%s\",\"task\":\"%s\",\"n\":%lld,\"dim\":%lld,\"classes\":%lld,"
           "\"k\":%lld,",
           which->name, tasks[job->shape.task], (long long)job->data.batch.n_rows, (long long)info.dim,
           (long long)info.n_classes, (long long)info.k);
    printf("\"isa\":\"%s\",\"threads\":%d,\"median_s\":%.5f,\"spread\":%.3f,\"cpu_s\":%.5f,", fkm_isa(),
           fkm_context_threads(job->context), median, (f->seconds[repeats - 1] - f->seconds[0]) / median,
           median_of(f->cpu, repeats));
    if (which->call == call_fit)
        printf(
            "\"passes\":%lld,\"seeding_s\":%.5f,\"epoch_s\":%.5f,\"epoch_cpu_s\":%.5f,\"epoch_all_s\":%.5f,",
            (long long)job->n_passes, median_of(job->seeding, repeats), median_of(job->epoch, repeats),
            median_of(job->epoch_cpu, repeats), median_of(job->epoch_all, repeats));
    if (which->call == call_finetune)
        printf("\"epoch_s\":%.5f,", median_of(job->epoch_all, repeats));
    if (which->call == call_stream)
        printf("\"rows_per_s\":%.0f,\"grew_mb\":%.2f,", 5.0 * (double)job->shape.n / median, job->grew / MB);
    printf("\"process_mb\":%.2f,\"input_mb\":%.2f,\"before_mb\":%.2f,\"need_mb\":%.2f,\"need_first_mb\":%.2f,"
           "\"used_mb\":%.2f,\"budget_mb\":%.2f,\"within\":%s}\n",
           f->process / MB, (double)job->data.bytes / MB, (f->before - f->process) / MB,
           (f->peak - f->before) / MB, (f->peak_first - f->before) / MB, used / MB, budget / MB,
           used <= budget ? "true" : "false");
    fflush(stdout);
}

/* As calls of the command and of Python: what these hold to come back to is measured too. */
static int never(void *user)
{
    (void)user;
    return 0;
}

static void run_case(const struct bench_case *which, bool quick, int threads, int repeats)
{
    fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;
    struct job job = {.shape = which->shape};
    struct figures figures;

    if (quick)
        shrink(&job.shape);
    job.params = params_of(&job.shape, which->init);
    if (which->call == call_load || which->call == call_save)
        write_model(&job);
    options.n_threads = threads;
    bench_check(fkm_context_create(&options, &job.context));
    fkm_set_interrupt(never, NULL);
    warm_up(&job);
    figures.process = resident("VmRSS");
    which->prepare(&job);
    malloc_trim(0);
    figures.before = resident("VmRSS");
    forget_peak();
    for (job.repeat = 0; job.repeat < repeats; job.repeat++) {
        const double start = bench_now(), cpu = cpu_now();

        which->call(&job);
        figures.seconds[job.repeat] = bench_now() - start;
        figures.cpu[job.repeat] = cpu_now() - cpu;
        if (job.repeat == 0)
            figures.peak_first = resident("VmHWM");
    }
    figures.peak = resident("VmHWM");
    print_case(&job, which, &figures, repeats);
    if (job.path[0]) {
        unlink(job.path);
        unlink(job.second_path);
    }
    free_data(&job.data);
    free(job.answers);
    fkm_model_free(job.model);
    fkm_context_free(job.context);
}

/* This program again, for one case. */
static bool run_apart(int index, bool quick, int threads, int repeats)
{
    char text[3][24];
    char *arguments[] = {"bench_fit", "--case",    text[0], "--threads",
                         text[1],     "--repeats", text[2], quick ? "--quick" : NULL,
                         NULL};
    const int values[] = {index, threads, repeats};
    int status;
    pid_t child;

    for (int i = 0; i < 3; i++)
        snprintf(text[i], sizeof text[i], "%d", values[i]);
    child = fork();
    if (child == 0) {
        execv("/proc/self/exe", arguments);
        perror("/proc/self/exe");
        _exit(EXIT_FAILURE);
    }
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

/* Cases of half a minute and more are run once, unless somebody asks for more. */
static int repeats_of(const struct bench_case *which, bool quick, int asked)
{
    if (asked < 1)
        return quick || which->shape.n >= 500000 ? 1 : 3;
    return asked < MAX_REPEATS ? asked : MAX_REPEATS;
}

int main(int argc, char **argv)
{
    const char *part = "";
    int threads = -1, repeats = 0, only = -1, failed = 0;
    bool quick = false;

    for (int i = 1; i < argc; i++) {
        const bool valued = i + 1 < argc;
        if (strcmp(argv[i], "--quick") == 0)
            quick = true;
        else if (strcmp(argv[i], "--threads") == 0 && valued)
            threads = atoi(argv[++i]);
        else if (strcmp(argv[i], "--repeats") == 0 && valued)
            repeats = atoi(argv[++i]);
        else if (strcmp(argv[i], "--case") == 0 && valued) /* how run_apart calls */
            only = atoi(argv[++i]);
        else
            part = argv[i];
    }
    if (only >= 0 && only < N_CASES) {
        run_case(&cases[only], quick, threads, repeats_of(&cases[only], quick, repeats));
        return EXIT_SUCCESS;
    }
    for (int i = 0; i < N_CASES; i++)
        if (strstr(cases[i].name, part) && !run_apart(i, quick, threads, repeats)) {
            fprintf(stderr, "%s failed\n", cases[i].name);
            failed++;
        }
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
