/* bench_scan.c — rows against packed prototypes through the backend, packing of the rows included.
 *
 * One JSON line per case: shape, storage type, instruction set, threads, median and spread of the times,
 * GFLOP/s (2 n k dim per scan; own: of the row's class) and what part of the multiply-add peak of those
 * threads that is; the peak is measured in the same run. bench_scan [part of a case's name] [repeats]
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "backends/backend.h"
#include "bench.h"

struct bench_case {
    const char *name;
    int64_t n, k, dim;
    fkm_dtype dtype;
    fkm_metric metric;
    enum fkmi_scan_kind kind;
    int64_t top_k;
    int threads;
};

static const struct bench_case cases[] = {
    {"nearest", 100000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1},
    {"nearest", 100000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 2},
    {"nearest", 200000, 100, 64, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1},
    {"nearest", 20000, 1000, 768, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1},
    {"nearest", 20000, 300, 1024, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1},
    {"nearest", 10000, 10000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1},
    {"nearest", 50000, 1000, 128, FKM_DTYPE_F64, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1},
    {"nearest", 50000, 1000, 128, FKM_DTYPE_F16, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1},
    {"nearest", 50000, 1000, 128, FKM_DTYPE_BF16, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 1},
    {"nearest", 50000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_COSINE, FKMI_SCAN_NEAREST, 0, 1},
    {"nearest", 50000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_L1, FKMI_SCAN_NEAREST, 0, 1},
    {"top_k", 50000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_TOP_K, 5, 1},
    {"top_k", 20000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_TOP_K, 64, 1},
    {"all", 20000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_ALL, 0, 1},
    {"classes", 50000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_CLASSES, 0, 1},
    {"own", 50000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_OWN, 0, 1},
    {"own_other", 50000, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_OWN_OTHER, 0, 1},
    {"nearest", 256, 1000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 2},
    {"nearest", 1, 10000, 128, FKM_DTYPE_F32, FKM_METRIC_EUCLIDEAN, FKMI_SCAN_NEAREST, 0, 2},
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
    struct bench_times scan, pack;
    double flops, peak;

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
    bench_fill(points, which->k * which->dim, 1);
    bench_fill(rows, which->n * which->dim, 2);
    for (int64_t i = 0; i < which->n; i++) { /* rows around prototypes */
        slot[i] = (int32_t)(i * 7919 % n_classes);
        for (int64_t d = 0; d < which->dim; d++)
            rows[i * which->dim + d] += points[i * 7919 % which->k * which->dim + d];
    }
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
    scan = bench_repeat(run_scan, &job, repeats);
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
    printf("\"pack_ms\":%.4f}\n", 1e3 * pack.median);
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
        if (argc < 2 || strstr(cases[i].name, argv[1]))
            run_case(&cases[i], repeats);
    return EXIT_SUCCESS;
}
