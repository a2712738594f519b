/* bench_scan.c — rows against packed prototypes through the backend, packing of the rows included.
 *
 * One JSON line per case: shape, storage type, instruction set, threads, median and spread of the times,
 * GFLOP/s (2 n k dim per scan; own: of the row's class) and what part of the multiply-add peak of those
 * threads that is; the peak is measured in the same run; the same scan without bytes, each in turn, and what
 * the first scan with a pack costs more. bench_scan [part of a case's name or data] [repeats]
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backends/backend.h"
#include "bench.h"

/* AROUND: rows around prototypes. MIXTURE: 50 groups of 20 clusters, a spectrum that falls as 1 / d, rotated; a
 * prototype is the mean of 8 rows of a cluster. HEAVY: exp of that. ISOTROPIC: rows alike in all directions. */
enum data { AROUND, MIXTURE, HEAVY, ISOTROPIC };

static const char *const data_names[] = {"around", "mixture", "heavy", "isotropic"};

struct bench_case {
    const char *name;
    int64_t n, k, dim;
    fkm_dtype dtype;
    fkm_metric metric;
    enum fkmi_scan_kind kind;
    int64_t top_k;
    int threads;
    enum data data;
};

static const struct bench_case cases[] = {
    {"nearest", 100000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1, AROUND},
    {"nearest", 100000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 2, AROUND},
    {"nearest", 200000, 100, 64, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1, AROUND},
    {"nearest", 20000, 1000, 768, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1, AROUND},
    {"nearest", 20000, 300, 1024, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1, AROUND},
    {"nearest", 10000, 10000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1, AROUND},
    {"nearest", 50000, 1000, 128, FKM_DTYPE_F64, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1, AROUND},
    {"nearest", 50000, 1000, 128, FKM_DTYPE_F16, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1, AROUND},
    {"nearest", 50000, 1000, 128, FKM_DTYPE_BF16, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1, AROUND},
    {"nearest", 50000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_COSINE, FKMI_SCAN_NEAREST, 0, 1, AROUND},
    {"nearest", 50000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_L1, FKMI_SCAN_NEAREST, 0, 1, AROUND},
    {"top_k", 50000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_TOP_K, 5, 1, AROUND},
    {"top_k", 20000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_TOP_K, 64, 1, AROUND},
    {"all", 20000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_ALL, 0, 1, AROUND},
    {"classes", 50000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_CLASSES, 0, 1, AROUND},
    {"own", 50000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_OWN, 0, 1, AROUND},
    {"own_other", 50000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_OWN_OTHER, 0, 1, AROUND},
    {"nearest", 256, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 2, AROUND},
    {"nearest", 1, 10000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 2, AROUND},
    {"nearest", 100000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1, MIXTURE},
    {"nearest", 100000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 2, MIXTURE},
    {"nearest", 100000, 10000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1, MIXTURE},
    {"nearest", 100000, 10000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 2, MIXTURE},
    {"nearest", 10000, 100000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1, MIXTURE},
    {"nearest", 10000, 100000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 2, MIXTURE},
    {"nearest", 100000, 1000, 768, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1, MIXTURE},
    {"nearest", 100000, 1000, 768, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 2, MIXTURE},
    {"nearest", 100000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1, HEAVY},
    {"nearest", 100000, 10000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1, HEAVY},
    {"nearest", 10000, 100000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1, HEAVY},
    {"nearest", 100000, 1000, 768, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1, HEAVY},
    {"nearest", 100000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1, ISOTROPIC},
    {"nearest", 100000, 10000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1, ISOTROPIC},
    {"nearest", 10000, 100000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1, ISOTROPIC},
    {"nearest", 100000, 1000, 768, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1, ISOTROPIC},
    {"nearest", 100000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_COSINE, FKMI_SCAN_NEAREST, 0, 1, MIXTURE},
    {"top_k", 100000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_TOP_K, 5, 1, MIXTURE},
    {"own_other", 100000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_OWN_OTHER, 0, 1, MIXTURE},
};

struct bench_job {
    fkm_context *context;
    struct fkmi_space space;
    struct fkmi_rows rows;
    struct fkmi_pack *pack;
    struct fkmi_scan scan;
    fkm_dtype dtype;
    int64_t k;
    void *points;
};

/* ---- data */

static void add_noise(float *x, int64_t dim, double scale, uint64_t seed)
{
    float noise[2048];

    bench_fill(noise, dim, seed * 2654435761u + 1);
    for (int64_t d = 0; d < dim; d++)
        x[d] += (float)(scale / sqrt((double)(1 + d))) * noise[d];
}

/* Walsh and Hadamard's rotation of blocks, after changes of sign. */
static void rotate(float *x, int64_t dim)
{
    int64_t block = 1;

    while (dim % (2 * block) == 0)
        block *= 2;
    for (int64_t d = 0; d < dim; d++)
        x[d] *= (float)((uint64_t)d * 2654435761u >> 7 & 1 ? 1 : -1) / sqrtf((float)block);
    for (int64_t step = 1; step < block; step *= 2)
        for (int64_t d = 0; d < dim; d++)
            if (!(d / step & 1)) {
                const float a = x[d], b = x[d + step];

                x[d] = a + b;
                x[d + step] = a - b;
            }
}

static void make_row(float *x, const struct bench_case *which, int64_t cluster, uint64_t seed)
{
    memset(x, 0, (size_t)which->dim * sizeof *x);
    if (which->data == ISOTROPIC) {
        bench_fill(x, which->dim, seed * 2654435761u + 1);
        return;
    }
    add_noise(x, which->dim, 4, 1000 + (uint64_t)cluster / 20);
    add_noise(x, which->dim, 2, 2000 + (uint64_t)cluster);
    add_noise(x, which->dim, 1, 100000 + seed);
    rotate(x, which->dim);
    for (int64_t d = 0; which->data == HEAVY && d < which->dim; d++)
        x[d] = expf(x[d]);
}

static void make_data(const struct bench_case *which, float *rows, float *points)
{
    const int64_t dim = which->dim;
    float x[2048];

    if (which->data == AROUND) {
        bench_fill(points, which->k * dim, 1);
        bench_fill(rows, which->n * dim, 2);
        for (int64_t i = 0; i < which->n; i++)
            for (int64_t d = 0; d < dim; d++)
                rows[i * dim + d] += points[i * 7919 % which->k * dim + d];
        return;
    }
    for (int64_t i = 0; i < which->n; i++)
        make_row(rows + i * dim, which, i * 7919 % 1000, (uint64_t)i);
    memset(points, 0, (size_t)(which->k * dim) * sizeof *points);
    for (int64_t j = 0; j < which->k; j++)
        for (int64_t row = 0; row < 8; row++) {
            make_row(x, which, j % 1000, (uint64_t)(which->n + 8 * j + row));
            for (int64_t d = 0; d < dim; d++)
                points[j * dim + d] += x[d] / 8;
        }
}

/* ---- cases */

static void run_scan(void *argument)
{
    struct bench_job *job = argument;

    bench_check(job->context->backend->scan(job->context, &job->rows, job->pack, &job->scan));
}

static void run_pack(void *argument)
{
    struct bench_job *job = argument;

    bench_check(job->context->backend->pack(job->context, &job->space, job->dtype, job->points, job->k, false,
                                            &job->pack));
}

static void run_case(const struct bench_case *which, int repeats)
{
    static const char *const metrics[] = {"cosine", "euclidean", "l1"};
    fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;
    struct bench_job job = {.dtype = which->dtype, .k = which->k};
    const enum fkmi_real real = fkmi_real_of(which->dtype);
    const fkm_dtype row_dtype = real == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32;
    const int64_t n_classes = which->k / 10 > 0 ? which->k / 10 : 1;
    const int64_t width = which->kind == FKMI_SCAN_TOP_K     ? which->top_k
                          : which->kind == FKMI_SCAN_CLASSES ? n_classes
                          : which->kind == FKMI_SCAN_ALL     ? which->k
                                                             : 2;
    float *rows, *points;
    void *stored_rows, *index, *distance;
    int32_t *slot;
    int64_t *class_begin;
    struct bench_times scan, floats, pack;
    double seconds[101], seconds_of_floats[101], flops, peak, first;

    options.n_threads = which->threads;
    bench_check(fkm_context_create(&options, &job.context));
    bench_check(fkmi_alloc(&rows, which->n * which->dim, sizeof *rows));
    bench_check(fkmi_alloc(&points, which->k * which->dim, sizeof *points));
    bench_check(fkmi_alloc(&stored_rows, which->n * which->dim, fkmi_real_size(real)));
    bench_check(fkmi_alloc(&job.points, which->k * which->dim, fkmi_dtype_size(which->dtype)));
    bench_check(fkmi_alloc(&index, which->n * width, sizeof(int32_t)));
    bench_check(fkmi_alloc(&distance, which->n * width, sizeof(double)));
    bench_check(fkmi_alloc(&slot, which->n, sizeof *slot));
    bench_check(fkmi_alloc(&class_begin, n_classes + 1, sizeof *class_begin));
    make_data(which, rows, points);
    for (int64_t i = 0; i < which->n; i++)
        slot[i] = (int32_t)(i * 7919 % n_classes);
    for (int64_t c = 0; c <= n_classes; c++)
        class_begin[c] = which->k * c / n_classes;
    job.context->kernels->vector[FKMI_REAL_F32].store[row_dtype](stored_rows, rows, which->n * which->dim);
    job.context->kernels->vector[FKMI_REAL_F32].store[which->dtype](job.points, points,
                                                                    which->k * which->dim);
    job.space = (struct fkmi_space){.metric = which->metric, .dim = which->dim, .real = real};
    job.rows = (struct fkmi_rows){
        .n = which->n, .dim = which->dim, .dtype = row_dtype, .x = stored_rows, .stride = which->dim};
    job.scan = (struct fkmi_scan){.kind = which->kind,
                                  .top_k = which->top_k,
                                  .slot = slot,
                                  .class_begin = class_begin,
                                  .n_classes = n_classes,
                                  .index = index,
                                  .distance = distance};
    pack = bench_repeat(run_pack, &job, repeats);
    {
        const double start = bench_now();

        run_scan(&job);
        first = bench_now() - start;
    }
    for (int i = 0; i < repeats && i < 101; i++) /* in turn: other work on the machine meets both */
        for (int bytes = 0; bytes < 2; bytes++) {
            const double start = bench_now();

            job.scan.bytes = bytes ? FKMI_BYTES_IF_WORTH : FKMI_BYTES_NEVER;
            run_scan(&job);
            (bytes ? seconds : seconds_of_floats)[i] = bench_now() - start;
        }
    scan = bench_times_of(seconds, repeats);
    floats = bench_times_of(seconds_of_floats, repeats);
    flops = 2.0 * (double)which->n * (double)which->k * (double)which->dim;
    if (which->kind == FKMI_SCAN_OWN) /* a row meets its own class only */
        flops /= (double)n_classes;
    peak = bench_peak(job.context->kernels->isa, real == FKMI_REAL_F64 ? 64 : 32) * which->threads;
    printf("{\"bench\":\"scan\",\"kind\":\"%s\",\"metric\":\"%s\",\"n\":%lld,\"k\":%lld,\"dim\":%lld,",
           which->name, metrics[which->metric], (long long)which->n, (long long)which->k,
           (long long)which->dim);
    printf("\"top_k\":%lld,\"dtype\":\"%s\",\"isa\":\"%s\",\"threads\":%d,", (long long)which->top_k,
           fkmi_dtype_name(which->dtype), job.context->kernels->isa, which->threads);
    printf(
        "\"median_ms\":%.4f,\"spread\":%.3f,\"gflops\":%.1f,\"peak_gflops\":%.1f,\"percent_of_peak\":%.1f,",
        1e3 * scan.median, scan.spread, flops / scan.median / 1e9, peak,
        100 * flops / scan.median / 1e9 / peak);
    printf("\"least_ms\":%.4f,\"floats_least_ms\":%.4f,\"floats_ms\":%.4f,\"data\":\"%s\",", 1e3 * scan.least,
           1e3 * floats.least, 1e3 * floats.median, data_names[which->data]);
    printf("\"pack_ms\":%.4f,\"first_ms\":%.4f}\n", 1e3 * pack.median, 1e3 * (first - scan.least));
    fflush(stdout);
    job.context->backend->pack_free(job.pack);
    fkmi_free(rows);
    fkmi_free(points);
    fkmi_free(stored_rows);
    fkmi_free(job.points);
    fkmi_free(index);
    fkmi_free(distance);
    fkmi_free(slot);
    fkmi_free(class_begin);
    fkm_context_free(job.context);
}

int main(int argc, char **argv)
{
    const int repeats = argc > 2 ? atoi(argv[2]) : 7;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (argc < 2 || strstr(cases[i].name, argv[1]) || strstr(data_names[cases[i].data], argv[1]))
            run_case(&cases[i], repeats);
    return EXIT_SUCCESS;
}
