/* bench_seed.c — greedy k-means++: seconds, and the potential it leaves. One JSON line per case and seed.
 *
 * bench_seed --classes C [--rows N] [--dim D] [--k K] [--nnz ENTRIES: sparse rows] [--threads N]: that many classes of
 *            equal size, K seeds each, one class a task.
 * bench_seed [--data mixture|isotropic|clusters|heavy|equal] [--metric cosine|euclidean|l1] [--rows N] [--dim D] [--k K]
 *            [--threads N] [--seeds N] [--every 1: measure every distance, in one go] [--write FILE.npy] [--read FILE.npy]
 *            [--quick]
 *
 * mixture: 50 x 20 Gaussians in two levels, with a power-law spectrum, unequal sizes and a random rotation; clusters: 1,000
 * round ones; heavy: exp of a normal number; equal: 500 different rows. --write keeps the rows for another program; --read takes those of one (float32, C order).
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "prototypes/seed.h"

struct wish {
    const char *data, *write, *read;
    fkm_metric metric;
    int64_t n, dim, k, threads, seeds, classes, nnz;
    bool every;
};

static double *normals(int64_t n, struct fkmi_random *random)
{
    double *values = malloc((size_t)n * sizeof *values);

    for (int64_t i = 0; values && i < n; i++)
        values[i] = fkmi_random_normal(random);
    return values;
}

/* A product of reflections turns the rows. */
static void rotate(float *x, int64_t n, int64_t dim, struct fkmi_random *random)
{
    for (int turn = 0; turn < 8; turn++) {
        double *mirror = normals(dim, random), norm2 = 0;

        for (int64_t d = 0; d < dim; d++)
            norm2 += mirror[d] * mirror[d];
        for (int64_t i = 0; i < n; i++) {
            float *row = x + i * dim;
            double dot = 0;

            for (int64_t d = 0; d < dim; d++)
                dot += mirror[d] * (double)row[d];
            for (int64_t d = 0; d < dim; d++)
                row[d] -= (float)(2 * dot / norm2 * mirror[d]);
        }
        free(mirror);
    }
}

static void fill_mixture(float *x, int64_t n, int64_t dim, struct fkmi_random *random)
{
    enum { GROUPS = 50, PARTS = 20 };
    double *group = normals(GROUPS * dim, random), *part = normals(GROUPS * PARTS * dim, random);
    double share[GROUPS * PARTS], total = 0;

    for (int c = 0; c < GROUPS * PARTS; c++)
        total += share[c] = pow(fkmi_random_uniform(random), 3);
    for (int64_t i = 0; i < n; i++) {
        double place = fkmi_random_uniform(random) * total;
        int c = 0;

        while (c + 1 < GROUPS * PARTS && place >= share[c])
            place -= share[c++];
        for (int64_t d = 0; d < dim; d++)
            x[i * dim + d] = (float)((4 * group[c / PARTS * dim + d] + 1.5 * part[c * dim + d] +
                                      fkmi_random_normal(random)) /
                                     sqrt((double)(d + 1)));
    }
    free(group);
    free(part);
    rotate(x, n, dim, random);
}

static void fill(const struct wish *wish, float *x)
{
    struct fkmi_random random = fkmi_random_from(7);
    const int64_t dim = wish->dim, n_centres = strcmp(wish->data, "equal") == 0 ? 500 : 1000;
    double *centres = normals(n_centres * dim, &random);

    if (strcmp(wish->data, "mixture") == 0)
        fill_mixture(x, wish->n, dim, &random);
    else
        for (int64_t i = 0; i < wish->n; i++) {
            const double *centre = centres + fkmi_random_below(&random, n_centres) * dim;

            for (int64_t d = 0; d < dim; d++)
                x[i * dim + d] =
                    (float)(strcmp(wish->data, "equal") == 0   ? centre[d]
                            : strcmp(wish->data, "heavy") == 0 ? exp(1.5 * fkmi_random_normal(&random))
                            : strcmp(wish->data, "clusters") == 0
                                ? 3 * centre[d] + fkmi_random_normal(&random)
                                : fkmi_random_normal(&random));
        }
    free(centres);
}

static void write_npy(const char *path, const float *x, int64_t n, int64_t dim)
{
    FILE *file = fopen(path, "wb");
    char header[129];

    if (!file)
        return;
    snprintf(header, sizeof header,
             "%cNUMPY%c%c%c%c{'descr': '<f4', 'fortran_order': False, 'shape': (%lld, %lld), }", 0x93, 1, 0,
             118, 0, (long long)n, (long long)dim);
    memset(header + 10 + strlen(header + 10), ' ', 118 - strlen(header + 10));
    memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10);
    header[127] = '\n';
    fwrite(header, 1, 128, file);
    fwrite(x, sizeof *x, (size_t)(n * dim), file);
    fclose(file);
}

/* Rows of a file; NULL: it cannot be read, or holds something else. */
static float *read_npy(const char *path, int64_t *n, int64_t *dim)
{
    FILE *file = fopen(path, "rb");
    unsigned char start[10];
    char header[1024] = {0};
    const char *shape;
    long long rows = 0, cols = 0;
    float *x = NULL;
    size_t length = 0;

    if (file && fread(start, 1, 10, file) == 10)
        length = start[8] + 256u * start[9];
    if (length > 0 && length < sizeof header && fread(header, 1, length, file) == length &&
        strstr(header, "'<f4'") && strstr(header, "False") && (shape = strchr(header, '(')) != NULL &&
        sscanf(shape, "(%lld, %lld)", &rows, &cols) == 2) {
        x = malloc((size_t)(rows * cols) * sizeof *x);
        if (x && fread(x, sizeof *x, (size_t)(rows * cols), file) != (size_t)(rows * cols)) {
            free(x);
            x = NULL;
        }
    }
    if (file)
        fclose(file);
    *n = rows;
    *dim = cols;
    return x;
}

static double potential(struct fkm_context *context, const struct fkmi_space *space,
                        const struct fkmi_rows *rows, const void *points, int64_t k)
{
    double *distance = malloc((size_t)rows->n * sizeof *distance), sum = 0;
    const struct fkmi_scan scan = {.kind = FKMI_SCAN_NEAREST, .distance = distance};
    struct fkmi_pack *pack = NULL;

    bench_check(context->backend->pack(context, space, FKM_DTYPE_F32, points, k, false, &pack));
    bench_check(context->backend->scan(context, rows, pack, &scan));
    for (int64_t i = 0; i < rows->n; i++)
        sum += space->metric == FKM_METRIC_L1 ? distance[i] * distance[i] : distance[i];
    context->backend->pack_free(pack);
    free(distance);
    return sum;
}

static void run(struct wish *wish)
{
    static const char *const metrics[] = {
        [FKM_METRIC_COSINE] = "cosine", [FKM_METRIC_EUCLIDEAN] = "euclidean", [FKM_METRIC_L1] = "l1"};
    float *x = wish->read ? read_npy(wish->read, &wish->n, &wish->dim)
                          : malloc((size_t)(wish->n * wish->dim) * sizeof *x);
    float *points = malloc((size_t)(wish->k * wish->dim) * sizeof *points);
    const struct fkmi_space space = {.metric = wish->metric, .dim = wish->dim, .real = FKMI_REAL_F32};
    const struct fkmi_rows rows = {
        .n = wish->n, .dim = wish->dim, .dtype = FKM_DTYPE_F32, .x = x, .stride = wish->dim};
    fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;
    fkm_context *context;
    int64_t *seeds = malloc((size_t)wish->k * sizeof *seeds);

    options.n_threads = (int32_t)wish->threads;
    bench_check(fkm_context_create(&options, &context));
    if (!x || !points) {
        fprintf(stderr, "no rows to measure on\n");
        exit(EXIT_FAILURE);
    }
    if (!wish->read)
        fill(wish, x);
    if (wish->write)
        write_npy(wish->write, x, wish->n, wish->dim);
    for (int64_t seed = 0; seed < wish->seeds; seed++) {
        int64_t found;
        double start, seconds;
        clock_t cpu;

        fkmi_memory_reset_peak();
        cpu = clock();
        start = bench_now();
        bench_check(fkmi_seed_rows(context, &space, &rows, FKM_INIT_KMEANSPP, wish->k,
                                   fkmi_random_from((uint64_t)seed),
                                   wish->every ? FKMI_SCREEN_NOTHING : FKMI_SCREEN_IF_WORTH, seeds, &found));
        bench_check(fkmi_seed_points(context, &space, &rows, seeds, found, points));
        seconds = bench_now() - start;
        cpu = clock() - cpu;
        printf("{\"bench\": \"seed\", \"data\": \"%s\", \"metric\": \"%s\", \"n\": %lld, \"dim\": %lld, "
               "\"k\": %lld, "
               "\"threads\": %d, \"every\": %s, \"seed\": %lld, \"seconds\": %.4f, \"cpu_s\": %.4f, "
               "\"found\": %lld, "
               "\"potential\": %.9g, \"peak_mb\": %.2f}\n",
               wish->data, metrics[wish->metric], (long long)wish->n, (long long)wish->dim,
               (long long)wish->k, (int)fkm_context_threads(context), wish->every ? "true" : "false",
               (long long)seed, seconds, (double)cpu / CLOCKS_PER_SEC, (long long)found,
               potential(context, &space, &rows, points, found), (double)fkmi_memory_peak() / 1e6);
        fflush(stdout);
    }
    fkm_context_free(context);
    free(x);
    free(points);
    free(seeds);
}

/* Random rows; sparse ones have their columns in ascending order. */
static void fill_rows(const struct wish *wish, struct fkmi_rows *rows)
{
    struct fkmi_random random = fkmi_random_from(7);
    const int64_t per_row = wish->nnz > 0 ? wish->nnz : wish->dim, step = wish->dim / per_row;
    float *values = malloc((size_t)(wish->n * per_row) * sizeof *values);
    int64_t *indptr = malloc((size_t)(wish->n + 1) * sizeof *indptr);
    int32_t *indices = wish->nnz > 0 ? malloc((size_t)(wish->n * per_row) * sizeof *indices) : NULL;

    for (int64_t e = 0; e < wish->n * per_row; e++) {
        values[e] = (float)(0.1 + fkmi_random_uniform(&random));
        if (indices)
            indices[e] = (int32_t)(e % per_row * step + fkmi_random_below(&random, step));
    }
    for (int64_t i = 0; i <= wish->n; i++)
        indptr[i] = i * per_row;
    *rows = (struct fkmi_rows){.n = wish->n, .dim = wish->dim, .dtype = FKM_DTYPE_F32};
    if (indices) {
        rows->values = values;
        rows->indices = indices;
        rows->indptr = indptr;
    } else {
        rows->x = values;
        rows->stride = wish->dim;
    }
}

struct classes_job {
    const struct wish *wish;
    struct fkm_context *context;
    struct fkmi_rows rows;
    const int64_t *order;
    int64_t *seeds; /* by thread */
};

static fkm_status seed_classes(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct classes_job *job = argument;
    const struct wish *wish = job->wish;
    const struct fkmi_space space = {.metric = wish->metric, .dim = wish->dim, .real = FKMI_REAL_F32};
    const int64_t n = wish->n / wish->classes;

    for (int64_t c = begin; c < end; c++) {
        const struct fkmi_rows rows = fkmi_rows_pick(&job->rows, job->order + c * n, n);
        int64_t found;

        FKMI_TRY(fkmi_seed_rows(job->context, &space, &rows, FKM_INIT_KMEANSPP, wish->k,
                                fkmi_random_from((uint64_t)c), FKMI_SCREEN_IF_WORTH,
                                job->seeds + thread * wish->k, &found));
    }
    return FKM_OK;
}

static void run_classes(const struct wish *wish)
{
    fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;
    struct classes_job job = {.wish = wish};
    int64_t *order = malloc((size_t)wish->n * sizeof *order);
    double start;
    clock_t cpu;

    options.n_threads = (int32_t)wish->threads;
    bench_check(fkm_context_create(&options, &job.context));
    fill_rows(wish, &job.rows);
    for (int64_t i = 0; i < wish->n; i++) /* classes lie scattered */
        order[i] = i % (wish->n / wish->classes) * wish->classes + i / (wish->n / wish->classes);
    job.order = order;
    job.seeds = malloc((size_t)(fkm_context_threads(job.context) * wish->k) * sizeof *job.seeds);
    fkmi_memory_reset_peak();
    cpu = clock();
    start = bench_now();
    bench_check(fkmi_parallel(job.context->pool, wish->classes, 1, seed_classes, &job));
    start = bench_now() - start;
    cpu = clock() - cpu;
    printf("{\"bench\": \"seed\", \"classes\": %lld, \"n\": %lld, \"dim\": %lld, \"k\": %lld, \"nnz\": %lld, "
           "\"threads\": %d, \"seconds\": %.4f, \"cpu_s\": %.4f, \"peak_mb\": %.2f}\n",
           (long long)wish->classes, (long long)wish->n, (long long)wish->dim, (long long)wish->k,
           (long long)wish->nnz, (int)fkm_context_threads(job.context), start, (double)cpu / CLOCKS_PER_SEC,
           (double)fkmi_memory_peak() / 1e6);
    fkm_context_free(job.context);
    free(order);
    free(job.seeds);
}

int main(int argc, char **argv)
{
    struct wish wish = {.data = "mixture",
                        .metric = FKM_METRIC_EUCLIDEAN,
                        .n = 100000,
                        .dim = 128,
                        .k = 1000,
                        .threads = 2,
                        .seeds = 1};

    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "0";
        struct {
            const char *name;
            int64_t *number;
        } numbers[] = {{"--rows", &wish.n},          {"--dim", &wish.dim},     {"--k", &wish.k},
                       {"--threads", &wish.threads}, {"--seeds", &wish.seeds}, {"--classes", &wish.classes},
                       {"--nnz", &wish.nnz}};

        if (strcmp(argv[i], "--quick") == 0) {
            wish.n = 3000;
            wish.dim = 16;
            wish.k = 40;
            continue;
        }
        for (size_t a = 0; a < sizeof numbers / sizeof *numbers; a++)
            if (strcmp(argv[i], numbers[a].name) == 0)
                *numbers[a].number = strtoll(value, NULL, 10);
        if (strcmp(argv[i], "--data") == 0)
            wish.data = value;
        if (strcmp(argv[i], "--write") == 0)
            wish.write = value;
        if (strcmp(argv[i], "--read") == 0)
            wish.read = wish.data = value;
        if (strcmp(argv[i], "--every") == 0)
            wish.every = value[0] == '1';
        if (strcmp(argv[i], "--metric") == 0)
            wish.metric = value[0] == 'c'   ? FKM_METRIC_COSINE
                          : value[0] == 'l' ? FKM_METRIC_L1
                                            : FKM_METRIC_EUCLIDEAN;
        i++;
    }
    if (wish.classes > wish.n) {
        fprintf(stderr, "%lld classes need as many rows at least; --rows is %lld\n", (long long)wish.classes,
                (long long)wish.n);
        return EXIT_FAILURE;
    }
    if (wish.classes > 0)
        run_classes(&wish);
    else
        run(&wish);
    return EXIT_SUCCESS;
}
