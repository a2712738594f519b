/* test_passes.c — passes that know the last one's labels find those of a scan of everything, bit for bit, wherever
 * prototypes went in between; their sums are those of plain loops, and the same for any number of threads.
 * SPDX-License-Identifier: Apache-2.0 */
#include <float.h>
#include <stdlib.h>

#include "backends/passes.h"
#include "support/naive.h"
#include "support/test.h"

enum data {
    CLUSTERS,
    NOTHING,     /* isotropic: every prototype is near */
    HEAVY_TAILS, /* exp of normal numbers, cubed here and there */
    COPIES,      /* rows that are copies of few */
    NEAR_COPIES, /* one rounding apart */
    FAR,         /* far from the origin */
    CONSTANT,
    TINY, /* denormal numbers and zeros */
    LARGE,
    OUTLIER, /* one row far from all others */
    LATTICE, /* small integers: many ties */
    N_DATA
};
static const char *const data_names[] = {"clusters",    "nothing", "heavy tails", "copies",
                                         "near copies", "far",     "constant",    "tiny",
                                         "large",       "outlier", "lattice"};

struct problem {
    enum data data;
    int64_t n, k, dim, stride, n_classes;
    fkm_dtype dtype, row_dtype;
    bool own;
    struct fkmi_space space;
    struct fkmi_rows rows;
    void *x, *points;
    float *weight;
    double *feature_weights;
    int64_t *order, *class_begin;
    int32_t *slot;
};

static void *room(int64_t count, size_t size)
{
    void *memory = calloc((size_t)count + 1, size);

    if (!memory)
        abort();
    return memory;
}

static double value_of(const struct problem *p, struct naive_random *random, int64_t i, int64_t d)
{
    struct naive_random place = {(uint64_t)((i * 2654435761) % 11 * 7919 + d * 31 + 1)};
    struct naive_random copied = {(uint64_t)(naive_below(random, 9) * 977 + d * 131 + 5)};
    const double base = naive_normal(&place), noise = naive_normal(random);

    switch (p->data) {
    case CLUSTERS:
        return 3 * base + noise;
    case HEAVY_TAILS:
        return exp(1.5 * (base + noise)) * (naive_below(random, 50) ? 1 : 30);
    case COPIES:
        return base;
    case NEAR_COPIES:
        return (double)nextafterf((float)base, naive_below(random, 2) ? 1e9f : -1e9f);
    case FAR:
        return 1e5 + base + 1e-2 * noise;
    case CONSTANT:
        return 0.1;
    case TINY:
        return naive_below(random, 3) ? noise * 1e-41 : naive_below(random, 2) ? 0 : noise * 1e-13;
    case LARGE:
        return (base + noise) * (naive_below(random, 50) ? 1e14 : 1e18);
    case OUTLIER:
        return (base + noise) * (i == p->n / 2 ? 1e6 : 1);
    case LATTICE:
        return (double)naive_below(&copied, 3) - 1 + (naive_below(random, 9) ? 0 : 1);
    default:
        return noise;
    }
}

static double in_range(fkm_dtype dtype, double value)
{
    return dtype == FKM_DTYPE_F16 ? fmax(fmin(value, 6e4), -6e4) : value;
}

/* Prototype j becomes row i of the arrays. */
static void put_row(struct problem *p, int64_t j, int64_t i)
{
    for (int64_t d = 0; d < p->dim; d++)
        naive_set(p->points, p->dtype, j * p->dim + d,
                  in_range(p->dtype, naive_get(p->x, p->row_dtype, i * p->stride + d)));
}

static struct problem problem_of(struct naive_random *random, enum data data, int64_t n, int64_t k,
                                 int64_t dim)
{
    struct problem p = {.data = data, .n = n, .k = k, .dim = dim, .stride = dim + naive_below(random, 3)};

    p.own = naive_below(random, 3) == 0;
    p.n_classes = p.own ? 1 + naive_below(random, 6) : 1;
    p.dtype = naive_below(random, 3)   ? FKM_DTYPE_F32
              : naive_below(random, 2) ? FKM_DTYPE_F16
                                       : FKM_DTYPE_BF16;
    p.row_dtype = naive_below(random, 3) ? FKM_DTYPE_F32 : (fkm_dtype)naive_below(random, FKMI_N_DTYPES);
    if (data == LARGE && p.dtype == FKM_DTYPE_F16)
        p.dtype = FKM_DTYPE_F32;
    if (data == LARGE && p.row_dtype == FKM_DTYPE_F16)
        p.row_dtype = FKM_DTYPE_F32;
    p.x = room(n * p.stride, naive_size(p.row_dtype));
    p.points = room(k * dim, naive_size(p.dtype));
    p.slot = room(n, sizeof *p.slot);
    p.class_begin = room(p.n_classes + 1, sizeof *p.class_begin);
    p.feature_weights = room(dim, sizeof *p.feature_weights);
    p.weight = room(n, sizeof *p.weight);
    p.order = room(n, sizeof *p.order);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t d = 0; d < dim; d++)
            naive_set(p.x, p.row_dtype, i * p.stride + d, in_range(p.row_dtype, value_of(&p, random, i, d)));
        p.slot[i] = (int32_t)(p.own ? naive_below(random, p.n_classes + 1) - 1 : 0);
        p.weight[i] = naive_below(random, 5) ? (float)naive_uniform(random) : 0;
        p.order[i] = n - 1 - i;
    }
    for (int64_t j = 0; j < k; j++)
        put_row(&p, j, naive_below(random, n));
    for (int64_t c = 1; c <= p.n_classes; c++)
        p.class_begin[c] =
            c == p.n_classes ? k : p.class_begin[c - 1] + naive_below(random, k - p.class_begin[c - 1] + 1);
    for (int64_t d = 0; d < dim; d++)
        p.feature_weights[d] = naive_below(random, 6) ? naive_uniform(random) * 2 : 0.0;
    p.feature_weights[0] = 1;
    p.space = (struct fkmi_space){.metric = FKM_METRIC_EUCLIDEAN,
                                  .dim = dim,
                                  .real = FKMI_REAL_F32,
                                  .feature_weights = naive_below(random, 3) ? NULL : p.feature_weights};
    p.rows = (struct fkmi_rows){.n = n,
                                .dim = dim,
                                .dtype = p.row_dtype,
                                .x = p.x,
                                .stride = p.stride,
                                .order = naive_below(random, 2) ? p.order : NULL,
                                .weight = naive_below(random, 2) ? p.weight : NULL};
    return p;
}

static void drop(struct problem *p)
{
    free(p->x);
    free(p->points);
    free(p->slot);
    free(p->class_begin);
    free(p->feature_weights);
    free(p->weight);
    free(p->order);
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

/* What one context makes of the passes. */
struct walk {
    fkm_context *context;
    struct fkmi_pack *pack;
    struct fkmi_passes *passes;
    int32_t *index, *room;
    double *distance, *sum, *mass, sum_distance;
};

static struct walk walk_of(const struct problem *p, int n_threads, const struct fkmi_kernels *kernels)
{
    struct walk w = {.context = context_of(n_threads, kernels),
                     .room = n_threads > 1 ? room(p->n, sizeof *w.room) : NULL};

    CHECK_OK(w.context->backend->passes->create(w.context, &p->space, &p->rows, p->dtype, p->k,
                                                FKMI_BYTES_ALWAYS, w.room, &w.passes));
    CHECK(w.passes != NULL);
    w.index = room(p->n, sizeof *w.index);
    w.distance = room(p->n, sizeof *w.distance);
    w.sum = room(p->k * p->dim, sizeof *w.sum);
    w.mass = room(p->k, sizeof *w.mass);
    return w;
}

static void end_walk(struct walk *w)
{
    w->context->backend->passes->free(w->passes);
    w->context->backend->pack_free(w->pack);
    fkm_context_free(w->context);
    free(w->index);
    free(w->room);
    free(w->distance);
    free(w->sum);
    free(w->mass);
}

static struct fkmi_pass pass_of(struct walk *w, const struct problem *p)
{
    CHECK_OK(w->context->backend->pack(w->context, &p->space, p->dtype, p->points, p->k, false, &w->pack));
    return (struct fkmi_pass){.pack = w->pack,
                              .kind = p->own ? FKMI_SCAN_OWN : FKMI_SCAN_NEAREST,
                              .slot = p->slot,
                              .class_begin = p->class_begin,
                              .n_classes = p->n_classes,
                              .index = w->index,
                              .distance = w->distance,
                              .sum = w->sum,
                              .mass = w->mass,
                              .sum_distance = &w->sum_distance};
}

static void step(struct walk *w, const struct problem *p)
{
    const struct fkmi_pass pass = pass_of(w, p);

    CHECK_OK(w->context->backend->passes->run(w->context, w->passes, &p->rows, &pass));
}

/* The bits of a scan of everything, by floats; measured: distances too, which passes do not find otherwise. */
static bool found_right(const struct walk *w, const struct problem *p, bool measured)
{
    struct fkmi_scan scan = {.kind = p->own ? FKMI_SCAN_OWN : FKMI_SCAN_NEAREST,
                             .slot = p->slot,
                             .class_begin = p->class_begin,
                             .n_classes = p->n_classes,
                             .bytes = FKMI_BYTES_NEVER,
                             .index = room(p->n, sizeof *scan.index),
                             .distance = room(p->n, sizeof *scan.distance)};
    double total = 0;
    bool right;

    CHECK_OK(w->context->backend->scan(w->context, &p->rows, w->pack, &scan));
    right = memcmp(scan.index, w->index, (size_t)p->n * sizeof *scan.index) == 0;
    for (int64_t i = 0; i < p->n; i++)
        if (scan.index[i] >= 0)
            total += fkmi_row_weight(&p->rows, i) * scan.distance[i];
    right = right && fabs(total - w->sum_distance) <= (double)(p->dim + 32) * 0x1p-21 * total;
    if (measured) {
        CHECK_OK(w->context->backend->passes->measure(w->context, w->passes, w->pack, &p->rows, w->index,
                                                      w->distance));
        right = right && memcmp(scan.distance, w->distance, (size_t)p->n * sizeof *scan.distance) == 0;
    }
    free(scan.index);
    free(scan.distance);
    return right;
}

/* From labels that are right, or any, the bits of a scan for two. */
static bool paired_right(const struct walk *w, const struct problem *p, struct naive_random *random)
{
    struct fkmi_scan scan = {.kind = FKMI_SCAN_TOP_K,
                             .top_k = 2,
                             .bytes = FKMI_BYTES_NEVER,
                             .index = room(2 * p->n, sizeof *scan.index),
                             .distance = room(2 * p->n, sizeof *scan.distance)};
    int32_t *label = room(p->n, sizeof *label), *index = room(2 * p->n, sizeof *index);
    double *distance = room(2 * p->n, sizeof *distance);
    const int64_t wrong = 1 + naive_below(random, 20);
    bool right;

    for (int64_t i = 0; i < p->n; i++)
        label[i] = i % wrong && w->index[i] >= 0 ? w->index[i] : (int32_t)naive_below(random, p->k);
    CHECK_OK(w->context->backend->scan(w->context, &p->rows, w->pack, &scan));
    CHECK_OK(
        w->context->backend->passes->pairs(w->context, w->passes, w->pack, &p->rows, label, index, distance));
    right = memcmp(scan.index, index, (size_t)(2 * p->n) * sizeof *index) == 0 &&
            memcmp(scan.distance, distance, (size_t)(2 * p->n) * sizeof *distance) == 0;
    free(scan.index);
    free(scan.distance);
    free(label);
    free(index);
    free(distance);
    return right;
}

static bool added_right(const struct walk *w, const struct problem *p)
{
    double *sum = room(p->k * p->dim, sizeof *sum), *size = room(p->k, sizeof *size);
    double *mass = room(p->k, sizeof *mass);
    bool right = true;

    for (int64_t i = 0; i < p->n; i++) {
        const int64_t row = fkmi_row(&p->rows, i);
        const double u = p->rows.weight ? (double)p->weight[row] : 1.0;

        if (w->index[i] < 0)
            continue;
        mass[w->index[i]] += u;
        for (int64_t d = 0; d < p->dim; d++) {
            const double value = (double)(float)naive_get(p->x, p->row_dtype, row * p->stride + d);

            sum[w->index[i] * p->dim + d] += u * value;
            size[w->index[i]] += u * fabs(value);
        }
    }
    for (int64_t j = 0; j < p->k; j++) {
        right = right && fabs(mass[j] - w->mass[j]) <= 1e-9 * mass[j];
        for (int64_t d = 0; d < p->dim; d++)
            right = right && fabs(sum[j * p->dim + d] - w->sum[j * p->dim + d]) <= 0x1p-31 * size[j];
    }
    free(sum);
    free(size);
    free(mass);
    return right;
}

/* Where prototypes go before the next pass. */
static void move_points(struct problem *p, const struct walk *w, struct naive_random *random)
{
    const int64_t way = naive_below(random, 6);

    for (int64_t j = 0; j < p->k && way > 0; j++) {
        const bool jumps = way == 2 && naive_below(random, 8) == 0,
                   joins = way == 3 && naive_below(random, 8) == 0;

        if (way == 4 || jumps)
            put_row(p, j, naive_below(random, p->n));
        else if (joins) {
            const int64_t other = naive_below(random, p->k);
            memmove((char *)p->points + (size_t)(j * p->dim) * naive_size(p->dtype),
                    (char *)p->points + (size_t)(other * p->dim) * naive_size(p->dtype),
                    (size_t)p->dim * naive_size(p->dtype));
        } else
            for (int64_t d = 0; d < p->dim; d++) {
                const double now = naive_get(p->points, p->dtype, j * p->dim + d);
                const double mean = w->mass[j] > 0 ? w->sum[j * p->dim + d] / w->mass[j] : now;

                naive_set(p->points, p->dtype, j * p->dim + d,
                          in_range(p->dtype, way == 5 ? now + 1e-3 * (mean - now) : mean));
            }
    }
}

static bool same_everywhere(const struct walk *a, const struct walk *b, const struct problem *p)
{
    return memcmp(a->index, b->index, (size_t)p->n * sizeof *a->index) == 0 &&
           memcmp(&a->sum_distance, &b->sum_distance, sizeof a->sum_distance) == 0 &&
           memcmp(a->sum, b->sum, (size_t)(p->k * p->dim) * sizeof *a->sum) == 0 &&
           memcmp(a->mass, b->mass, (size_t)p->k * sizeof *a->mass) == 0;
}

static void check_walk(struct problem *p, const struct fkmi_kernels *kernels, struct naive_random *random,
                       int n_steps)
{
    struct walk one = walk_of(p, 1, kernels), three = walk_of(p, 3, kernels);

    for (int at = 0; at < n_steps; at++) {
        const bool changed = at > 0 && naive_below(random, 5) == 0;

        for (int64_t i = 0; i < p->n && changed; i++)
            if (one.index[i] >= 0 && naive_below(random, 3) == 0) {
                const int64_t c = p->own ? p->slot[i] : 0;

                one.index[i] = three.index[i] =
                    (int32_t)(p->class_begin[c] +
                              naive_below(random, p->class_begin[c + 1] - p->class_begin[c]));
            }
        if (changed) {
            one.context->backend->passes->changed(one.passes, FKMI_CHANGED_INDEX);
            three.context->backend->passes->changed(three.passes, FKMI_CHANGED_INDEX);
        }
        step(&one, p);
        step(&three, p);
        if (!found_right(&one, p, naive_below(random, 4) == 0) || !added_right(&one, p) ||
            !same_everywhere(&one, &three, p))
            test_fail(__FILE__, __LINE__,
                      "%s, step %d, isa %s, n %lld, k %lld, dim %lld, dtypes %d %d, %s%s%s%s",
                      data_names[p->data], at, one.context->kernels->isa, (long long)p->n, (long long)p->k,
                      (long long)p->dim, p->dtype, p->row_dtype, p->own ? "own " : "",
                      p->space.feature_weights ? "weighted " : "",
                      found_right(&one, p, false) ? "" : "labels ", added_right(&one, p) ? "" : "sums");
        if (naive_below(random, 3) == 0 &&
            (!paired_right(&one, p, random) || !paired_right(&three, p, random)))
            test_fail(__FILE__, __LINE__, "%s, step %d, isa %s, n %lld, k %lld, dim %lld: pairs",
                      data_names[p->data], at, one.context->kernels->isa, (long long)p->n, (long long)p->k,
                      (long long)p->dim);
        move_points(p, &one, random);
    }
    end_walk(&one);
    end_walk(&three);
}

static void check_data(enum data data)
{
    const struct fkmi_kernels *tables[8];
    const int n_tables = fkmi_kernels_all(tables, 8);
    const struct naive_random same = {(uint64_t)data + 77}; /* for every instruction set */
    struct naive_random random = same;

    for (int t = 0; t < n_tables; random = same, t++)
        for (int repeat = 0; repeat < 12; repeat++) {
            const int64_t dim = 1 + naive_below(&random, repeat % 4 ? 40 : 200);
            const int64_t k = 2 + naive_below(&random, repeat % 4 == 1 ? 400 : 90);
            struct problem p = problem_of(&random, data, 30 + naive_below(&random, 500), k, dim);

            check_walk(&p, tables[t], &random, 8);
            drop(&p);
        }
}

TEST(clusters) { check_data(CLUSTERS); }
TEST(nothing_to_find) { check_data(NOTHING); }
TEST(heavy_tails) { check_data(HEAVY_TAILS); }
TEST(copies) { check_data(COPIES); }
TEST(near_copies) { check_data(NEAR_COPIES); }
TEST(far_from_the_origin) { check_data(FAR); }
TEST(constant_rows) { check_data(CONSTANT); }
TEST(tiny_values) { check_data(TINY); }
TEST(large_values) { check_data(LARGE); }
TEST(one_outlier) { check_data(OUTLIER); }
TEST(points_on_a_lattice) { check_data(LATTICE); }

TEST(cells_of_many_rows)
{
    struct naive_random random = {5};

    for (int at = 0; at < 3; at++) {
        struct problem p = problem_of(&random, at == 1 ? NOTHING : CLUSTERS, 40000, 3 + at * 5, 3);

        check_walk(&p, NULL, &random, 4);
        drop(&p);
    }
}

/* Where the first pass begins from guesses if a sample says that they are good. */
TEST(rows_of_many_columns)
{
    struct naive_random random = {8};

    for (int at = 0; at < 4; at++) {
        struct problem p = problem_of(&random,
                                      at == 1   ? NOTHING
                                      : at == 2 ? OUTLIER
                                                : CLUSTERS,
                                      2100, 70, 520);
        struct walk w = walk_of(&p, 2, NULL);

        w.context->backend->passes->free(w.passes);
        CHECK_OK(w.context->backend->passes->create(w.context, &p.space, &p.rows, p.dtype, p.k,
                                                    FKMI_BYTES_IF_WORTH, NULL, &w.passes));
        CHECK((w.passes != NULL) == (w.context->kernels->bytes.least_k > 0));
        for (int pass = 0; w.passes && pass < 3; pass++) {
            step(&w, &p);
            CHECK(found_right(&w, &p, false));
            CHECK(added_right(&w, &p));
            move_points(&p, &w, &random);
        }
        end_walk(&w);
        drop(&p);
    }
}

TEST(other_rows_and_metrics_are_left_to_scans)
{
    struct naive_random random = {6};
    struct problem p = problem_of(&random, CLUSTERS, 100, 20, 8);
    fkm_context *context = context_of(1, NULL);
    struct fkmi_passes *passes = NULL;
    struct fkmi_rows masked = p.rows;
    struct fkmi_space space = p.space;

    masked.mask = p.weight;
    CHECK_OK(context->backend->passes->create(context, &p.space, &masked, p.dtype, p.k, FKMI_BYTES_ALWAYS,
                                              NULL, &passes));
    CHECK(passes == NULL);
    space.metric = FKM_METRIC_L1;
    CHECK_OK(context->backend->passes->create(context, &space, &p.rows, p.dtype, p.k, FKMI_BYTES_ALWAYS, NULL,
                                              &passes));
    CHECK(passes == NULL);
    CHECK_OK(context->backend->passes->create(context, &p.space, &p.rows, p.dtype, p.k, FKMI_BYTES_IF_WORTH,
                                              NULL, &passes));
    CHECK(passes == NULL); /* too few rows */
    fkm_context_free(context);
    drop(&p);
}

/* In the pass after n_done others. */
static void fail_allocations(const struct problem *p, int n_done)
{
    fkm_status status = FKM_ENOMEM;

    for (int64_t nth = 1; status == FKM_ENOMEM; nth++) {
        struct walk w = walk_of(p, 1, NULL);
        struct fkmi_pass pass;

        for (int at = 0; at < n_done; at++)
            step(&w, p);
        pass = pass_of(&w, p);
        fkmi_memory_fail(nth, 0);
        status = w.context->backend->passes->run(w.context, w.passes, &p->rows, &pass);
        fkmi_memory_fail(0, 0);
        if (status == FKM_OK)
            CHECK(found_right(&w, p, true));
        end_walk(&w);
    }
    CHECK_OK(status);
}

static void fail_allocations_of_pairs(const struct problem *p)
{
    int32_t *label = room(p->n, sizeof *label), *index = room(2 * p->n, sizeof *index);
    double *distance = room(2 * p->n, sizeof *distance);
    struct naive_random random = {9};
    fkm_status status = FKM_ENOMEM;

    for (int64_t nth = 1; status == FKM_ENOMEM; nth++) {
        struct walk w = walk_of(p, 1, NULL);

        step(&w, p);
        fkmi_scratch_trim(w.context);
        fkmi_memory_fail(nth, 0);
        status =
            w.context->backend->passes->pairs(w.context, w.passes, w.pack, &p->rows, label, index, distance);
        fkmi_memory_fail(0, 0);
        CHECK(paired_right(&w, p, &random));
        end_walk(&w);
    }
    CHECK_OK(status);
    free(label);
    free(index);
    free(distance);
}

TEST(every_failing_allocation_is_reported)
{
    struct naive_random random = {7};
    struct problem near = problem_of(&random, CLUSTERS, 600, 40, 12);
    struct problem far = problem_of(&random, NOTHING, 600, 300, 12); /* more near a row than a list holds */

    for (int n_done = 0; n_done < 2; n_done++) {
        fail_allocations(&near, n_done);
        fail_allocations(&far, n_done);
    }
    fail_allocations_of_pairs(&near);
    fail_allocations_of_pairs(&far);
    drop(&near);
    drop(&far);
}
