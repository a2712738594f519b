/* test_screen.c — scans that look at prototypes as bytes first answer with the bits of those that do not, whatever the
 * data; tiles of bytes against loops.
 * SPDX-License-Identifier: Apache-2.0 */
#include <float.h>
#include <stdlib.h>

#include "backends/backend.h"
#include "support/naive.h"
#include "support/test.h"

enum data {
    CLUSTERS,
    HEAVY_TAILS, /* exp of normal numbers, cubed here and there */
    COPIES,      /* prototypes that are each other's copies, rows that are copies of prototypes */
    NEAR_COPIES, /* prototypes one rounding apart */
    FAR,         /* far from the origin */
    CONSTANT,    /* all rows and prototypes the same */
    TINY,        /* denormal numbers and zeros */
    LARGE,
    OUTLIERS, /* single coordinates, rows and prototypes far above the others */
    SPHERE,   /* all distances alike */
    LATTICE,  /* small integers: many ties */
    N_DATA
};
static const char *const data_names[] = {"clusters", "heavy tails", "copies", "near copies",
                                         "far",      "constant",    "tiny",   "large",
                                         "outliers", "sphere",      "lattice"};

struct problem {
    enum data data;
    int64_t n, k, dim, n_classes;
    fkm_dtype dtype, row_dtype;
    struct fkmi_space space;
    struct fkmi_rows rows;
    float *x, *c;
    void *stored_x, *points;
    double *weights;
    int32_t *slot;
    int64_t *class_begin;
};

static void *room(int64_t count, size_t size)
{
    void *memory = calloc((size_t)count + 1, size);

    if (!memory)
        abort();
    return memory;
}

static void fill(struct problem *p, struct naive_random *random, float *at, const float *other,
                 int64_t n_other)
{
    const bool copy = other && n_other > 0 && naive_below(random, 2);
    const int64_t copied = copy ? naive_below(random, n_other) : 0, centre = naive_below(random, 7);
    struct naive_random place = {(uint64_t)centre * 7919};
    const double outlier = naive_below(random, 40) == 0 ? 1e6 : 1;
    double norm2 = 0;

    for (int64_t d = 0; d < p->dim; d++) {
        const double base = naive_normal(&place), noise = naive_normal(random);
        double value = 0;

        switch (p->data) {
        case CLUSTERS:
            value = 2 * base + noise;
            break;
        case HEAVY_TAILS:
            value = exp(1.5 * (base + noise));
            value = naive_below(random, 30) ? value : value * value * value;
            break;
        case COPIES:
            value = copy ? (double)other[copied * p->dim + d] : base + noise;
            break;
        case NEAR_COPIES:
            value =
                copy ? (double)nextafterf(other[copied * p->dim + d], naive_below(random, 2) ? 1e9f : -1e9f)
                     : 3 + 1e-3 * noise;
            break;
        case FAR:
            value = 1e5 + base + 1e-2 * noise;
            break;
        case CONSTANT:
            value = 0.1;
            break;
        case TINY:
            value = naive_below(random, 3) ? noise * 1e-41 : naive_below(random, 2) ? 0 : noise * 1e-13;
            break;
        case LARGE:
            value = (base + noise) * (naive_below(random, 50) ? 1e14 : 1e18);
            break;
        case OUTLIERS:
            value = (base + noise) * outlier * (naive_below(random, 60) ? 1 : 1e4);
            break;
        case LATTICE:
            value = (double)naive_below(random, 3) - 1;
            break;
        default:
            value = noise;
        }
        at[d] = (float)value;
        norm2 += value * value;
    }
    for (int64_t d = 0; p->data == SPHERE && d < p->dim; d++)
        at[d] /= (float)sqrt(norm2);
}

static struct problem problem_of(struct naive_random *random, enum data data, fkm_metric metric, int64_t n,
                                 int64_t k, int64_t dim, bool weighted)
{
    struct problem p = {.data = data, .n = n, .k = k, .dim = dim, .n_classes = 1 + naive_below(random, 5)};
    const int64_t stride = dim + naive_below(random, 3);

    p.dtype = naive_below(random, 3) ? FKM_DTYPE_F32 : (fkm_dtype)naive_below(random, FKMI_N_DTYPES);
    p.row_dtype = naive_below(random, 3) ? FKM_DTYPE_F32 : (fkm_dtype)naive_below(random, FKMI_N_DTYPES);
    if (data == LARGE && p.dtype == FKM_DTYPE_F16)
        p.dtype = FKM_DTYPE_F32;
    if (data == LARGE && p.row_dtype == FKM_DTYPE_F16)
        p.row_dtype = FKM_DTYPE_F32;
    p.x = room(n * dim, sizeof *p.x);
    p.c = room(k * dim, sizeof *p.c);
    p.stored_x = room(n * stride, naive_size(p.row_dtype));
    p.points = room(k * dim, naive_size(p.dtype));
    p.slot = room(n, sizeof *p.slot);
    p.class_begin = room(p.n_classes + 1, sizeof *p.class_begin);
    p.weights = room(dim, sizeof *p.weights);
    for (int64_t j = 0; j < k; j++) {
        fill(&p, random, p.c + j * dim, p.c, j);
        for (int64_t d = 0; d < dim; d++) {
            double value = (double)p.c[j * dim + d];

            if (p.dtype == FKM_DTYPE_F16)
                value = fmax(fmin(value, 6e4), -6e4);
            if (p.dtype == FKM_DTYPE_F64) /* many that floats cannot tell apart */
                value *= 1 + ldexp((double)naive_below(random, 3), -40);
            naive_set(p.points, p.dtype, j * dim + d, value);
        }
    }
    for (int64_t i = 0; i < n; i++) {
        fill(&p, random, p.x + i * dim, p.c, k);
        p.slot[i] = (int32_t)naive_below(random, p.n_classes + 1) - 1;
        for (int64_t d = 0; d < dim; d++) {
            double value = (double)p.x[i * dim + d];

            if (p.row_dtype == FKM_DTYPE_F16)
                value = fmax(fmin(value, 6e4), -6e4);
            if (p.row_dtype == FKM_DTYPE_F64)
                value *= 1 + ldexp((double)naive_below(random, 3), -40);
            naive_set(p.stored_x, p.row_dtype, i * stride + d, value);
        }
    }
    for (int64_t c = 1; c <= p.n_classes; c++)
        p.class_begin[c] =
            c == p.n_classes ? k : p.class_begin[c - 1] + naive_below(random, k - p.class_begin[c - 1] + 1);
    for (int64_t d = 0; d < dim; d++)
        p.weights[d] = naive_below(random, 6) ? naive_uniform(random) * 2 : 0.0;
    p.weights[0] = 1;
    p.space = (struct fkmi_space){.metric = metric,
                                  .dim = dim,
                                  .real = fkmi_real_of(p.dtype),
                                  .feature_weights = weighted ? p.weights : NULL};
    p.rows = (struct fkmi_rows){.n = n, .dim = dim, .dtype = p.row_dtype, .x = p.stored_x, .stride = stride};
    return p;
}

static void drop(struct problem *p)
{
    free(p->x);
    free(p->c);
    free(p->stored_x);
    free(p->points);
    free(p->slot);
    free(p->class_begin);
    free(p->weights);
}

static fkm_context *context_of(int n_threads, const struct fkmi_kernels *kernels)
{
    fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;
    fkm_context *context;

    options.n_threads = n_threads;
    CHECK_OK(fkm_context_create(&options, &context));
    if (kernels)
        context->kernels = kernels;
    return context;
}

/* ---- scans with and without bytes */

static const enum fkmi_scan_kind kinds[] = {FKMI_SCAN_NEAREST, FKMI_SCAN_TOP_K, FKMI_SCAN_OTHER,
                                            FKMI_SCAN_OWN_OTHER};
enum { N_KINDS = 4 };

static struct fkmi_scan scan_of(const struct problem *p, enum fkmi_scan_kind kind, int64_t top_k,
                                enum fkmi_scan_bytes bytes)
{
    const int64_t width = kind == FKMI_SCAN_TOP_K ? top_k : 2;
    struct fkmi_scan scan = {.kind = kind,
                             .top_k = top_k,
                             .slot = p->slot,
                             .class_begin = p->class_begin,
                             .n_classes = p->n_classes,
                             .bytes = bytes};

    scan.index = room(p->n * width, sizeof *scan.index);
    scan.distance = room(p->n * width, sizeof *scan.distance);
    return scan;
}

static int64_t width_of(const struct fkmi_scan *scan)
{
    return scan->kind == FKMI_SCAN_TOP_K ? scan->top_k : scan->kind == FKMI_SCAN_OWN_OTHER ? 2 : 1;
}

static bool same_bits(const struct problem *p, const struct fkmi_scan *a, const struct fkmi_scan *b)
{
    const size_t places = (size_t)(p->n * width_of(a));

    return memcmp(a->index, b->index, places * sizeof *a->index) == 0 &&
           memcmp(a->distance, b->distance, places * sizeof *a->distance) == 0;
}

static void free_scan(struct fkmi_scan *scan)
{
    free(scan->index);
    free(scan->distance);
}

/* How far prototypes of another class may be: around the distances that a scan found, or exactly as far. */
static double *within_of(const struct problem *p, struct naive_random *random, const double *distance)
{
    double *within = room(p->n, sizeof *within);

    for (int64_t i = 0; i < p->n; i++) {
        static const double factors[] = {0.5, 0.999, 1, 1.001, 2};
        const int64_t choice = naive_below(random, 8);

        within[i] = choice < 5    ? factors[choice] * distance[i]
                    : choice == 5 ? -1
                    : choice == 6 ? 0
                                  : INFINITY;
    }
    return within;
}

/* Scans with a reach find what is within, and nothing else. */
static void check_within(fkm_context *context, const struct problem *p, const struct fkmi_pack *pack,
                         struct naive_random *random)
{
    static const enum fkmi_scan_bytes ways[] = {FKMI_BYTES_NEVER, FKMI_BYTES_ALWAYS, FKMI_BYTES_HEADS,
                                                FKMI_BYTES_IF_WORTH};
    struct fkmi_scan expected = scan_of(p, FKMI_SCAN_OTHER, 1, FKMI_BYTES_NEVER);
    double *within;

    CHECK_OK(context->backend->scan(context, &p->rows, pack, &expected));
    within = within_of(p, random, expected.distance);
    for (int64_t i = 0; i < p->n; i++)
        if (!(expected.distance[i] <= within[i])) {
            expected.distance[i] = INFINITY;
            expected.index[i] = -1;
        }
    for (int way = 0; way < 4; way++) {
        struct fkmi_scan scan = scan_of(p, FKMI_SCAN_OTHER, 1, ways[way]);

        scan.within = within;
        CHECK_OK(context->backend->scan(context, &p->rows, pack, &scan));
        if (!same_bits(p, &expected, &scan))
            test_fail(__FILE__, __LINE__, "%s within a reach, way %d, isa %s, metric %d, k %lld, dim %lld",
                      data_names[p->data], way, context->kernels->isa, p->space.metric, (long long)p->k,
                      (long long)p->dim);
        free_scan(&scan);
    }
    free_scan(&expected);
    free(within);
}

static void check_problem(fkm_context *context, const struct problem *p, struct fkmi_pack **pack,
                          int64_t top_k)
{
    struct naive_random random = {(uint64_t)(p->n + p->k + p->dim)};

    CHECK_OK(context->backend->pack(context, &p->space, p->dtype, p->points, p->k, false, pack));
    for (int kind = 0; kind < N_KINDS; kind++) {
        struct fkmi_scan floats = scan_of(p, kinds[kind], top_k, FKMI_BYTES_NEVER);
        struct fkmi_scan bytes = scan_of(p, kinds[kind], top_k, FKMI_BYTES_ALWAYS);
        struct fkmi_scan heads = scan_of(p, kinds[kind], top_k, FKMI_BYTES_HEADS);
        struct fkmi_scan chosen = scan_of(p, kinds[kind], top_k, FKMI_BYTES_IF_WORTH);

        CHECK_OK(context->backend->scan(context, &p->rows, *pack, &floats));
        CHECK_OK(context->backend->scan(context, &p->rows, *pack, &bytes));
        CHECK_OK(context->backend->scan(context, &p->rows, *pack, &heads));
        CHECK_OK(context->backend->scan(context, &p->rows, *pack, &chosen));
        if (!same_bits(p, &floats, &bytes) || !same_bits(p, &floats, &heads) ||
            !same_bits(p, &floats, &chosen))
            test_fail(
                __FILE__, __LINE__,
                "%s%s, isa %s, metric %d, kind %d, top_k %lld, n %lld, k %lld, dim %lld, dtypes %d %d, %s",
                data_names[p->data], same_bits(p, &floats, &heads) ? "" : " with heads",
                context->kernels->isa, p->space.metric, kind, (long long)top_k, (long long)p->n,
                (long long)p->k, (long long)p->dim, p->dtype, p->row_dtype,
                p->space.feature_weights ? "weighted" : "plain");
        free_scan(&floats);
        free_scan(&bytes);
        free_scan(&heads);
        free_scan(&chosen);
    }
    check_within(context, p, *pack, &random);
}

static void check_data(enum data data)
{
    const struct fkmi_kernels *tables[8];
    const int n_tables = fkmi_kernels_all(tables, 8);
    const struct naive_random same = {(uint64_t)data + 1}; /* for every instruction set */
    struct naive_random random = same;

    for (int t = 0; t < n_tables; random = same, t++) {
        fkm_context *context = context_of(2, tables[t]);
        struct fkmi_pack *pack = NULL;

        for (int repeat = 0; repeat < 24; repeat++) {
            const fkm_metric metric = repeat % 3 == 2 ? FKM_METRIC_COSINE : FKM_METRIC_EUCLIDEAN;
            const int64_t dim = 1 + naive_below(&random, repeat % 4 ? 40 : 300);
            const int64_t k = 13 + naive_below(&random, repeat % 5 ? 120 : 500);
            struct problem p =
                problem_of(&random, data, metric, 4 + naive_below(&random, 70), k, dim, repeat % 4 == 1);

            check_problem(context, &p, &pack, 1 + naive_below(&random, repeat % 2 ? 4 : 18));
            drop(&p);
        }
        context->backend->pack_free(pack);
        fkm_context_free(context);
    }
}

TEST(clusters) { check_data(CLUSTERS); }
TEST(heavy_tails) { check_data(HEAVY_TAILS); }
TEST(copies) { check_data(COPIES); }
TEST(near_copies) { check_data(NEAR_COPIES); }
TEST(far_from_the_origin) { check_data(FAR); }
TEST(constant_rows) { check_data(CONSTANT); }
TEST(tiny_values) { check_data(TINY); }
TEST(large_values) { check_data(LARGE); }
TEST(outliers) { check_data(OUTLIERS); }
TEST(points_on_a_sphere) { check_data(SPHERE); }
TEST(points_on_a_lattice) { check_data(LATTICE); }

TEST(long_rows)
{
    static const int64_t dims[] = {1, 2, 3, 5, 63, 127, 129, 511, 999, 1025, 1999, 2000};
    struct naive_random random = {50};
    fkm_context *context = context_of(2, NULL);
    struct fkmi_pack *pack = NULL;

    for (int at = 0; at < 12; at++) /* the last: more prototypes than a block has room for */
        for (int metric = 0; metric < 2; metric++) {
            struct problem p = problem_of(&random, (enum data)(at % 2 ? HEAVY_TAILS : CLUSTERS),
                                          (fkm_metric)metric, 60, at < 8 ? 45 : 300, dims[at], false);

            check_problem(context, &p, &pack, 3);
            drop(&p);
        }
    context->backend->pack_free(pack);
    fkm_context_free(context);
}

/* Enough rows and prototypes that the choice is left to the scan: for some data it finds that bytes do not pay. */
TEST(bytes_that_pay_and_bytes_that_do_not)
{
    struct naive_random random = {51};
    fkm_context *context = context_of(2, NULL);
    struct fkmi_pack *pack = NULL;

    for (int data = 0; data < N_DATA; data++) {
        struct problem p = problem_of(&random, (enum data)data, FKM_METRIC_EUCLIDEAN, 700, 600, 40, false);

        for (int repeat = 0; repeat < 2; repeat++)
            check_problem(context, &p, &pack, 2);
        drop(&p);
    }
    context->backend->pack_free(pack);
    fkm_context_free(context);
}

TEST(any_number_of_threads_and_any_split_give_the_same_bits)
{
    static const int threads[] = {1, 2, 3, 16};
    struct naive_random random = {52};

    for (int data = 0; data < N_DATA; data++) {
        struct problem p =
            problem_of(&random, (enum data)data, (fkm_metric)(data % 2), 300, 230, 17 + data, false);
        struct fkmi_scan first = scan_of(&p, FKMI_SCAN_TOP_K, 3, FKMI_BYTES_NEVER);

        for (int t = 0; t < 8; t++) {
            fkm_context *context = context_of(threads[t % 4], NULL);
            struct fkmi_pack *pack = NULL;
            struct fkmi_scan scan =
                scan_of(&p, FKMI_SCAN_TOP_K, 3, t < 4 ? FKMI_BYTES_ALWAYS : FKMI_BYTES_HEADS);

            CHECK_OK(context->backend->pack(context, &p.space, p.dtype, p.points, p.k, false, &pack));
            if (t == 0)
                CHECK_OK(context->backend->scan(context, &p.rows, pack, &first));
            for (int64_t begin = 0; begin < p.n;) {
                const int64_t n = 1 + naive_below(&random, p.n - begin);
                struct fkmi_rows rows = fkmi_rows_slice(&p.rows, begin, n);
                struct fkmi_scan piece = scan;

                piece.index += begin * 3;
                piece.distance += begin * 3;
                CHECK_OK(context->backend->scan(context, &rows, pack, &piece));
                begin += n;
            }
            CHECK(same_bits(&p, &first, &scan));
            free_scan(&scan);
            context->backend->pack_free(pack);
            fkm_context_free(context);
        }
        free_scan(&first);
        drop(&p);
    }
}

TEST(a_view_picks_rows)
{
    struct naive_random random = {53};
    fkm_context *context = context_of(1, NULL);
    struct fkmi_pack *pack = NULL;
    struct problem p = problem_of(&random, CLUSTERS, FKM_METRIC_EUCLIDEAN, 120, 200, 33, false);
    struct fkmi_rows base = p.rows;
    int64_t *order = room(p.n, sizeof *order);
    struct fkmi_scan plain = scan_of(&p, FKMI_SCAN_NEAREST, 1, FKMI_BYTES_ALWAYS),
                     picked = scan_of(&p, FKMI_SCAN_NEAREST, 1, FKMI_BYTES_HEADS);

    for (int64_t i = 0; i < p.n; i++)
        order[i] = naive_below(&random, p.n);
    CHECK_OK(context->backend->pack(context, &p.space, p.dtype, p.points, p.k, false, &pack));
    CHECK_OK(context->backend->scan(context, &base, pack, &plain));
    p.rows = fkmi_rows_pick(&base, order, p.n);
    CHECK_OK(context->backend->scan(context, &p.rows, pack, &picked));
    for (int64_t i = 0; i < p.n; i++)
        CHECK(picked.index[i] == plain.index[order[i]] && picked.distance[i] == plain.distance[order[i]]);
    free_scan(&plain);
    free_scan(&picked);
    free(order);
    context->backend->pack_free(pack);
    fkm_context_free(context);
    drop(&p);
}

TEST(a_failed_scan_can_be_repeated_and_a_stream_allocates_nothing)
{
    struct naive_random random = {54};
    fkm_context *context = context_of(2, NULL);
    struct fkmi_pack *pack = NULL;
    struct problem p = problem_of(&random, CLUSTERS, FKM_METRIC_EUCLIDEAN, 100, 300, 40, false);
    struct fkmi_scan floats = scan_of(&p, FKMI_SCAN_NEAREST, 1, FKMI_BYTES_NEVER),
                     bytes = scan_of(&p, FKMI_SCAN_NEAREST, 1, FKMI_BYTES_HEADS);
    int64_t n_failures = 0;
    fkm_status status = FKM_OK;

    CHECK_OK(context->backend->pack(context, &p.space, p.dtype, p.points, p.k, false, &pack));
    CHECK_OK(context->backend->scan(context, &p.rows, pack, &floats));
    for (int64_t n = 1; n < 40; n++) {
        (void)fkmi_memory_fail(n, 0);
        status = context->backend->scan(context, &p.rows, pack, &bytes);
        (void)fkmi_memory_fail(0, 0);
        if (status == FKM_OK)
            break;
        CHECK_INT(FKM_ENOMEM, status);
        n_failures++;
    }
    CHECK_OK(status);
    CHECK(!context->kernels->bytes.runs_here() || n_failures > 0);
    CHECK(same_bits(&p, &floats, &bytes));
    for (int repeat = 0; repeat < 4; repeat++) {
        if (repeat == 1) /* packing may want a block of its own size once */
            (void)fkmi_memory_fail(0, 0);
        CHECK_OK(context->backend->pack(context, &p.space, p.dtype, p.points, p.k, false, &pack));
        CHECK_OK(context->backend->scan(context, &p.rows, pack, &bytes));
    }
    CHECK_INT(0, fkmi_memory_fail(0, 0));
    free_scan(&floats);
    free_scan(&bytes);
    context->backend->pack_free(pack);
    fkm_context_free(context);
    drop(&p);
}

/* ---- tiles of bytes */

TEST(tiles_of_bytes_add_up_exactly)
{
    static const int64_t n_quads[] = {1, 2, 7, 33, 16384};
    const struct fkmi_kernels *tables[8];
    const int n_tables = fkmi_kernels_all(tables, 8);
    const struct naive_random same = {55}; /* for every instruction set */
    struct naive_random random = same;

    for (int table = 0; table < n_tables; random = same, table++) {
        const struct fkmi_byte_tile *tile = &tables[table]->bytes;
        const int rows = tile->rows, cols = tile->cols;

        for (int at = 0; at < 5 && tile->runs_here(); at++) {
            const int64_t quads = n_quads[at];
            uint8_t *x = room(rows * quads, 4);
            int8_t *p = room(cols * quads, 4);
            int32_t start[64] = {0};
            float scale[64], bias[64], scores[32 * 64], row_scale[64] = {0}, threshold[64], zeros[64] = {0};
            float all_scores[32 * 64];
            uint32_t lanes[32] = {0}, hit;
            const struct fkmi_byte_panel panel = {.bytes = p,
                                                  .start = start,
                                                  .scale = scale,
                                                  .bias = bias,
                                                  .rest = 0,
                                                  .size = 0,
                                                  .slack = 0.5f};
            const struct fkmi_byte_rows facts = {row_scale, threshold, zeros, zeros};

            for (int64_t b = 0; b < 4 * quads; b++) { /* all extreme in the longest */
                const int64_t quad = b / 4, byte = b % 4;

                for (int r = 0; r < rows; r++)
                    x[(quad * rows + r) * 4 + byte] =
                        (uint8_t)(tile->offset +
                                  (at == 4 ? (r % 2 ? tile->most : -tile->most)
                                           : naive_below(&random, 2 * tile->most + 1) - tile->most));
                for (int j = 0; j < cols; j++)
                    p[(quad * cols + j) * 4 + byte] =
                        (int8_t)(at == 4 ? (j % 3 ? 127 : -127) : naive_below(&random, 255) - 127);
            }
            for (int j = 0; j < cols; j++) {
                int64_t sum = 0;

                for (int64_t b = 0; b < 4 * quads; b++)
                    sum += p[(b / 4 * cols + j) * 4 + b % 4];
                start[j] = (int32_t)(-tile->offset * sum);
                scale[j] = ldexpf(1, j % 3);
                bias[j] = (float)(j % 5);
            }
            for (int r = 0; r < rows; r++) {
                row_scale[r] = ldexpf(1, r % 2);
                threshold[r] = r == 0 ? INFINITY : r == 1 ? -INFINITY : 100;
            }
            hit = tile->screen(x, &panel, quads, &facts, scores, lanes);
            tile->scores(x, &panel, quads, row_scale, all_scores);
            for (int i = 0; i < rows * cols; i++)
                CHECK(!(hit >> i / cols & 1) || memcmp(&scores[i], &all_scores[i], sizeof *scores) == 0);
            for (int r = 0; r < rows; r++)
                for (int j = 0; j < cols; j++) {
                    int64_t sum = 0;
                    float expected;

                    for (int64_t b = 0; b < 4 * quads; b++)
                        sum += (x[(b / 4 * rows + r) * 4 + b % 4] - tile->offset) *
                               p[(b / 4 * cols + j) * 4 + b % 4];
                    expected = (float)((double)row_scale[r] * (double)scale[j] * (double)(float)sum +
                                       (double)bias[j]);
                    CHECK(expected <= threshold[r] + 1 || (lanes[r] >> j & 1));
                    CHECK(expected >= threshold[r] - 1 || !(lanes[r] >> j & 1));
                    CHECK_NEAR((double)expected, (double)all_scores[r * cols + j],
                               fabs((double)expected) * 0x1p-23);
                    if (!(hit >> r & 1))
                        CHECK_INT(0, lanes[r]);
                }
            free(x);
            free(p);
        }
    }
}

TEST(bounds_are_lane_by_lane_and_rivals_those_above_a_threshold)
{
    enum { PANELS = 5, WIDE = 64 };
    const struct fkmi_kernels *tables[8];
    const int n_tables = fkmi_kernels_all(tables, 8);
    const struct naive_random same = {57}; /* for every instruction set */
    struct naive_random random = same;

    for (int table = 0; table < n_tables; random = same, table++)
        for (int repeat = 0; repeat < 100; repeat++) {
            const struct fkmi_byte_tile *tile = &tables[table]->bytes;
            const int cols = tile->cols;
            const int64_t n = naive_below(&random, PANELS + 1), stride = cols + naive_below(&random, 9);
            float rests[PANELS * WIDE], sizes[PANELS * WIDE], slacks[PANELS * WIDE], low[WIDE];
            float given[PANELS * (WIDE + 9)], upper[PANELS * (WIDE + 9)], before[WIDE];
            const float reach = (float)naive_uniform(&random), rest = (float)naive_uniform(&random);
            const float threshold = repeat % 10 == 0 ? -INFINITY : (float)naive_normal(&random);
            struct fkmi_byte_panel panels[PANELS] = {{0}};
            struct fkmi_byte_rival rivals[PANELS * WIDE];
            int64_t n_rivals = 0;

            for (int at = 0; at < PANELS * WIDE; at++) {
                rests[at] = (float)naive_uniform(&random);
                sizes[at] = (float)naive_uniform(&random);
                slacks[at] = (float)naive_uniform(&random);
            }
            for (int p = 0; p < PANELS; p++)
                panels[p] = (struct fkmi_byte_panel){
                    .rests = rests + p * cols, .sizes = sizes + p * cols, .slacks = slacks + p * cols};
            for (int at = 0; at < PANELS * (WIDE + 9); at++)
                given[at] = upper[at] = naive_below(&random, 9) ? (float)naive_normal(&random) : -INFINITY;
            for (int j = 0; j < cols; j++)
                before[j] = low[j] = naive_below(&random, 2) ? -INFINITY : (float)naive_normal(&random);
            tile->bounds(upper, stride, panels, n, reach, rest, low);
            for (int j = 0; j < cols; j++) {
                double least = (double)before[j];

                for (int64_t p = 0; p < n; p++) {
                    const int64_t at = p * cols + j;
                    const double score = (double)given[p * stride + j],
                                 error = (double)reach * (double)rests[at] +
                                         (double)rest * (double)sizes[at] + (double)slacks[at];

                    least = fmax(least, score - error);
                    if (score == -(double)INFINITY)
                        CHECK(upper[p * stride + j] == -INFINITY);
                    else
                        CHECK_NEAR(score + error, (double)upper[p * stride + j], 1e-6);
                }
                if (least == -(double)INFINITY)
                    CHECK(low[j] == -INFINITY);
                else
                    CHECK_NEAR(least, (double)low[j], 1e-6);
            }
            for (int64_t at = 0; at < PANELS * stride; at++)
                CHECK((at < n * stride && at % stride < cols) || upper[at] == given[at]);
            CHECK(tile->rivals(upper, stride, n, threshold, rivals) <= n * cols);
            for (int64_t lane = 0; lane < n * cols; lane++) {
                const float value = upper[lane / cols * stride + lane % cols];

                if (value > threshold) {
                    CHECK_INT(lane, rivals[n_rivals].lane);
                    CHECK(rivals[n_rivals++].upper == value);
                }
            }
            CHECK_INT(n_rivals, tile->rivals(upper, stride, n, threshold, rivals));
        }
}

TEST(bytes_and_their_rest_make_up_the_numbers)
{
    const struct fkmi_kernels *tables[8];
    const int n_tables = fkmi_kernels_all(tables, 8);
    const struct naive_random same = {56}; /* for every instruction set */
    struct naive_random random = same;

    for (int table = 0; table < n_tables; random = same, table++)
        for (int repeat = 0; repeat < 200; repeat++) {
            static const double sizes[] = {1, 1e-20, 1e12, 1e-41, 0};
            const int64_t n = 1 + naive_below(&random, 70);
            const int most = repeat % 2 ? 127 : 63;
            const double size = sizes[repeat % 5];
            float x[80];
            int8_t bytes[80];
            struct fkmi_quantised facts;
            double square = 0, rest2 = 0;
            int64_t sum = 0;

            memset(bytes, 77, sizeof bytes);
            for (int64_t i = 0; i < n; i++)
                x[i] = (float)(size * (repeat % 3 ? naive_normal(&random) : exp(3 * naive_normal(&random))));
            tables[table]->bytes.quantise(x, n, most, bytes, &facts);
            for (int64_t i = 0; i < n; i++) {
                const double e = (double)x[i] - (double)facts.scale * bytes[i];

                CHECK(abs(bytes[i]) <= most);
                CHECK(facts.scale == 0 ? bytes[i] == 0 : fabs(e) <= 0.5001 * (double)facts.scale);
                square += (double)x[i] * (double)x[i];
                rest2 += e * e;
                sum += bytes[i];
            }
            CHECK_INT(sum, facts.sum);
            CHECK_INT(77, bytes[n]);
            CHECK_NEAR(square, facts.square, 1e-5 * square + 1e-36);
            CHECK_NEAR(sqrt(rest2), sqrt(facts.rest2), 1e-5 * sqrt(rest2) + 1e-6 * sqrt(square) + 1e-18);
        }
}
