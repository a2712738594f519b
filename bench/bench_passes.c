/* bench_passes.c — Lloyd's passes from rows drawn at random: those that begin from the labels of the last one, against
 * scans of all rows and prototypes, in turn.
 *
 * bench_passes [part of a case's name] [repeats] [threads]
 *
 * One JSON line per case: shape, seconds (least of the repeats) and processor seconds of 20 passes each way, of the
 * first and of the last, and the sums of distances that both end with. mixture: 50 groups of 20 Gaussians whose spread
 * falls as a power of the coordinate, turned by a Hadamard matrix; isotropic: nothing to find.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "backends/passes.h"
#include "bench.h"

enum { PASSES = 20, GROUPS = 50, CLUSTERS = 1000 };

struct bench_case {
    const char *name;
    int64_t n, dim, k;
    bool mixture;
};
static const struct bench_case cases[] = {
    {"mixture-128", 100000, 128, 1000, true}, {"mixture-64", 1000000, 64, 100, true},
    {"mixture-768", 50000, 768, 1000, true},  {"mixture-1024", 100000, 1024, 300, true},
    {"mixture-32", 200000, 32, 50, true},     {"isotropic-128", 50000, 128, 1000, false},
};

struct run {
    double seconds, cpu, first, last, sum;
};

struct work {
    fkm_context *context;
    const struct bench_case *which;
    struct fkmi_space space;
    struct fkmi_rows rows;
    float *x, *points;
    int32_t *index;
    double *distance, *sum, *mass, total;
};

/* ---- rows */

static void add(float *x, int64_t dim, float scale, uint64_t seed)
{
    float noise[2048];

    bench_fill(noise, dim, seed * 2654435761u + 1);
    for (int64_t d = 0; d < dim; d++)
        x[d] += scale * noise[d];
}

static void turn(float *x, int64_t dim)
{
    int64_t block = 1;

    while (dim % (2 * block) == 0)
        block *= 2;
    for (int64_t step = 1; step < block; step *= 2)
        for (int64_t d = 0; d < dim; d++)
            if (!(d / step & 1)) {
                const float a = x[d], b = x[d + step];

                x[d] = (a + b) * 0.70710678f;
                x[d + step] = (a - b) * 0.70710678f;
            }
}

static void make_rows(const struct bench_case *which, float *x)
{
    for (int64_t i = 0; i < which->n; i++) {
        const uint64_t drawn = (uint64_t)i * 0x9e3779b97f4a7c15u >> 40;
        const uint64_t cluster = drawn * drawn / ((uint64_t)1 << 24) * CLUSTERS >> 24; /* of unequal sizes */
        float *row = x + i * which->dim;

        memset(row, 0, (size_t)which->dim * sizeof *row);
        add(row, which->dim, 1, 100000 + (uint64_t)i);
        if (!which->mixture)
            continue;
        add(row, which->dim, 3, 1000 + cluster % GROUPS);
        add(row, which->dim, 1.5f, 2000 + cluster);
        for (int64_t d = 0; d < which->dim; d++)
            row[d] *= powf((float)(1 + d), -0.6f) * (d & 5 ? 1 : -1);
        turn(row, which->dim);
    }
}

/* ---- passes */

static double sum_of(const struct work *w)
{
    double sum = 0;

    for (int64_t i = 0; i < w->which->n; i++)
        sum += w->distance[i];
    return sum;
}

static void move_points(struct work *w)
{
    for (int64_t j = 0; j < w->which->k; j++)
        for (int64_t d = 0; d < w->which->dim && w->mass[j] > 0; d++)
            w->points[j * w->which->dim + d] = (float)(w->sum[j * w->which->dim + d] / w->mass[j]);
}

static void pass_once(struct work *w, struct fkmi_passes *passes, struct fkmi_pack **pack)
{
    const struct fkmi_backend *backend = w->context->backend;
    const int64_t k = w->which->k, dim = w->which->dim;

    bench_check(backend->pack(w->context, &w->space, FKM_DTYPE_F32, w->points, k, false, pack));
    if (passes) {
        const struct fkmi_pass pass = {.pack = *pack,
                                       .kind = FKMI_SCAN_NEAREST,
                                       .index = w->index,
                                       .distance = w->distance,
                                       .sum = w->sum,
                                       .mass = w->mass,
                                       .sum_distance = &w->total};

        bench_check(backend->passes->run(w->context, passes, &w->rows, &pass));
    } else {
        memset(w->sum, 0, (size_t)(k * dim) * sizeof *w->sum);
        memset(w->mass, 0, (size_t)k * sizeof *w->mass);
        const struct fkmi_scan scan = {.kind = FKMI_SCAN_NEAREST, .index = w->index, .distance = w->distance};

        bench_check(backend->scan(w->context, &w->rows, *pack, &scan));
        bench_check(backend->accumulate(w->context, &w->rows, &w->space, w->index, NULL, 0, k, w->sum,
                                        w->mass, NULL));
        w->total = sum_of(w);
    }
    move_points(w);
}

static struct run run_passes(struct work *w, bool known)
{
    const struct fkmi_passes_family *family = w->context->backend->passes;
    struct fkmi_passes *passes = NULL;
    struct fkmi_pack *pack = NULL;
    struct run run = {0};
    const double begun = bench_now(), used = (double)clock();

    for (int64_t j = 0; j < w->which->k; j++)
        memcpy(w->points + j * w->which->dim, w->x + j * 7919 % w->which->n * w->which->dim,
               (size_t)w->which->dim * sizeof *w->points);
    bench_check(family->create(w->context, &w->space, &w->rows, FKM_DTYPE_F32, w->which->k,
                               known ? FKMI_BYTES_IF_WORTH : FKMI_BYTES_NEVER, NULL, &passes));
    for (int at = 0; at < PASSES; at++) {
        const double start = bench_now();

        pass_once(w, passes, &pack);
        run.last = bench_now() - start;
        run.first = at == 0 ? run.last : run.first;
    }
    run.seconds = bench_now() - begun;
    run.cpu = ((double)clock() - used) / CLOCKS_PER_SEC;
    run.sum = w->total;
    family->free(passes);
    w->context->backend->pack_free(pack);
    return run;
}

static void run_case(const struct bench_case *which, int repeats, int threads)
{
    fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;
    struct work w = {.which = which,
                     .space = {.metric = FKM_METRIC_EUCLIDEAN, .dim = which->dim, .real = FKMI_REAL_F32}};
    struct run best[2] = {{0}};

    options.n_threads = threads;
    bench_check(fkm_context_create(&options, &w.context));
    bench_check(fkmi_alloc(&w.x, which->n * which->dim, sizeof *w.x));
    bench_check(fkmi_alloc(&w.points, which->k * which->dim, sizeof *w.points));
    bench_check(fkmi_alloc(&w.index, which->n, sizeof *w.index));
    bench_check(fkmi_alloc(&w.distance, which->n, sizeof *w.distance));
    bench_check(fkmi_alloc(&w.sum, which->k * which->dim, sizeof *w.sum));
    bench_check(fkmi_alloc(&w.mass, which->k, sizeof *w.mass));
    make_rows(which, w.x);
    w.rows = (struct fkmi_rows){
        .n = which->n, .dim = which->dim, .dtype = FKM_DTYPE_F32, .x = w.x, .stride = which->dim};
    for (int turn = 0; turn < repeats; turn++)
        for (int known = 1; known >= 0; known--) {
            const struct run run = run_passes(&w, known);

            if (turn == 0 || run.seconds < best[known].seconds)
                best[known] = run;
        }
    printf("{\"bench\":\"passes\",\"data\":\"%s\",\"n\":%lld,\"dim\":%lld,\"k\":%lld,\"isa\":\"%s\","
           "\"threads\":%d,",
           which->name, (long long)which->n, (long long)which->dim, (long long)which->k,
           w.context->kernels->isa, threads);
    for (int known = 1; known >= 0; known--)
        printf("\"%s\":{\"seconds\":%.4f,\"cpu_s\":%.4f,\"first_ms\":%.2f,\"last_ms\":%.2f,\"sum\":%.9g},",
               known ? "passes" : "scans", best[known].seconds, best[known].cpu, 1e3 * best[known].first,
               1e3 * best[known].last, best[known].sum);
    printf("\"times\":%.2f}\n", best[0].seconds / best[1].seconds);
    fflush(stdout);
    fkmi_free(w.x);
    fkmi_free(w.points);
    fkmi_free(w.index);
    fkmi_free(w.distance);
    fkmi_free(w.sum);
    fkmi_free(w.mass);
    fkm_context_free(w.context);
}

int main(int argc, char **argv)
{
    const int repeats = argc > 2 ? atoi(argv[2]) : 3, threads = argc > 3 ? atoi(argv[3]) : 2;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (argc < 2 || strstr(cases[i].name, argv[1]))
            run_case(&cases[i], repeats, threads);
    return EXIT_SUCCESS;
}
