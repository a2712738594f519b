/* bench_scaling.c — how the cost of a scan grows: with rows, prototypes, coordinates, places and threads.
 *
 * One JSON line for each case, where one of them varies, and one for each series with the exponent that fits it best
 * (least squares of the logarithms): 1 is cost in proportion, 0 none. Rows are those of a mixture of 1000 Gaussians.
 * bench_scaling [part of a series' name] [repeats]
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backends/backend.h"
#include "bench.h"

enum { MOST_CASES = 6, N_CLUSTERS = 1000 };
enum what { ROWS, PROTOTYPES, COORDINATES, PLACES, THREADS, N_WHAT };

static const char *const names[N_WHAT] = {"n", "k", "dim", "top_k", "threads"};

/* By `what`; the others stay as in `usual`. */
static const int64_t usual[N_WHAT] = {20000, 2000, 128, 1, 2};
static const int64_t values[N_WHAT][MOST_CASES] = {
    {2500, 5000, 10000, 20000, 40000, 80000},
    {250, 500, 1000, 2000, 8000, 32000},
    {16, 32, 64, 128, 256, 512},
    {1, 2, 4, 8, 16, 64},
    {1, 2, 4, 0, 0, 0},
};

struct job {
    fkm_context *context;
    struct fkmi_rows rows;
    struct fkmi_pack *pack;
    struct fkmi_scan scan;
};

static void run_scan(void *argument)
{
    struct job *job = argument;

    bench_check(job->context->backend->scan(job->context, &job->rows, job->pack, &job->scan));
}

/* Rows around the means of clusters, whose coordinates matter less and less. */
static void fill(float *rows, int64_t n, int64_t dim, uint64_t seed)
{
    float mean[512];

    bench_fill(rows, n * dim, seed);
    for (int64_t i = 0; i < n; i++) {
        bench_fill(mean, dim, (uint64_t)(i * 7919 % N_CLUSTERS) * 2654435761u + 1);
        for (int64_t d = 0; d < dim; d++)
            rows[i * dim + d] = (rows[i * dim + d] + 3 * mean[d]) / sqrtf((float)(1 + d));
    }
}

static double seconds_of(const int64_t *shape, enum fkmi_scan_bytes bytes, int repeats)
{
    const int64_t n = shape[ROWS], k = shape[PROTOTYPES], dim = shape[COORDINATES], top_k = shape[PLACES];
    fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;
    const struct fkmi_space space = {.metric = FKM_METRIC_EUCLIDEAN, .dim = dim, .real = FKMI_REAL_F32};
    struct job job = {0};
    float *rows, *points;
    int32_t *index;
    double *distance;
    struct bench_times times;

    options.n_threads = (int32_t)shape[THREADS];
    bench_check(fkm_context_create(&options, &job.context));
    bench_check(fkmi_alloc(&rows, n * dim, sizeof *rows));
    bench_check(fkmi_alloc(&points, k * dim, sizeof *points));
    bench_check(fkmi_alloc(&index, n * top_k, sizeof *index));
    bench_check(fkmi_alloc(&distance, n * top_k, sizeof *distance));
    fill(rows, n, dim, 1);
    fill(points, k, dim, 2);
    bench_check(job.context->backend->pack(job.context, &space, FKM_DTYPE_F32, points, k, false, &job.pack));
    job.rows = (struct fkmi_rows){.n = n, .dim = dim, .dtype = FKM_DTYPE_F32, .x = rows, .stride = dim};
    job.scan = (struct fkmi_scan){.kind = top_k > 1 ? FKMI_SCAN_TOP_K : FKMI_SCAN_NEAREST,
                                  .top_k = top_k,
                                  .bytes = bytes,
                                  .index = index,
                                  .distance = distance};
    times = bench_repeat(run_scan, &job, repeats);
    job.context->backend->pack_free(job.pack);
    fkmi_free(rows);
    fkmi_free(points);
    fkmi_free(index);
    fkmi_free(distance);
    fkm_context_free(job.context);
    return times.median;
}

/* The slope of log y over log x. */
static double exponent(const int64_t *x, const double *y, int n)
{
    double sx = 0, sy = 0, sxx = 0, sxy = 0;

    for (int i = 0; i < n; i++) {
        const double a = log((double)x[i]), b = log(y[i]);

        sx += a;
        sy += b;
        sxx += a * a;
        sxy += a * b;
    }
    return (n * sxy - sx * sy) / (n * sxx - sx * sx);
}

static void run_series(enum what what, enum fkmi_scan_bytes bytes, int repeats)
{
    const char *engine = bytes == FKMI_BYTES_NEVER ? "floats" : "as chosen";
    double seconds[MOST_CASES];
    int n = 0;

    for (; n < MOST_CASES && values[what][n] > 0; n++) {
        int64_t shape[N_WHAT];

        memcpy(shape, usual, sizeof shape);
        shape[what] = values[what][n];
        seconds[n] = seconds_of(shape, bytes, repeats);
        printf("{\"bench\":\"scaling\",\"series\":\"%s\",\"engine\":\"%s\"", names[what], engine);
        for (int w = 0; w < N_WHAT; w++)
            printf(",\"%s\":%lld", names[w], (long long)shape[w]);
        printf(",\"median_ms\":%.3f}\n", 1e3 * seconds[n]);
        fflush(stdout);
    }
    printf("{\"bench\":\"scaling\",\"series\":\"%s\",\"engine\":\"%s\",\"exponent\":%.2f}\n", names[what],
           engine, exponent(values[what], seconds, n));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const int repeats = argc > 2 ? atoi(argv[2]) : 3;

    for (int what = 0; what < N_WHAT; what++)
        if (argc < 2 || strcmp(names[what], argv[1]) == 0 || argv[1][0] == '\0') {
            run_series((enum what)what, FKMI_BYTES_IF_WORTH, repeats);
            run_series((enum what)what, FKMI_BYTES_NEVER, repeats);
        }
    return EXIT_SUCCESS;
}
