/* test_scan.c — every kind of scan against f64 loops, over random small cases; and the same bits however
 * rows and threads are divided.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "backends/backend.h"
#include "support/naive.h"
#include "support/test.h"

enum shape { NORMAL, FAR, NEAR_TIES, COPIES, NEAR_COPIES, HUDDLED, LARGE, SMALL, SMALL_ROWS };

/* A random problem, as the backend sees it and in f64. */
struct problem {
    fkm_metric metric;
    fkm_dtype dtype, row_dtype; /* of prototypes, of rows */
    enum shape shape;
    bool sparse, masked, weighted, listed; /* listed: prototypes as lists */
    int64_t n, dim, k, n_classes;
    struct fkmi_space space;
    struct fkmi_rows rows;
    double *x, *c, *w; /* n x dim and k x dim as the model sees them, dim */
    void *stored_x, *points, *values;
    int64_t *indptr;
    int32_t *indices, *slot;
    float *mask;
    int64_t *class_begin;
    struct fkmi_lists lists;
    double unit;
};

static void *room(int64_t count, size_t size)
{
    void *memory = calloc((size_t)count + 1, size);

    if (!memory)
        abort();
    return memory;
}

static void drop(struct problem *p)
{
    void *const all[] = {p->x,           p->c,           p->w,           p->stored_x,   p->points,
                         p->values,      p->indptr,      p->indices,     p->slot,       p->mask,
                         p->class_begin, p->lists.begin, p->lists.index, p->lists.value};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* Coordinate d of a point. Prototypes and rows draw from the same few centres. */
static double coordinate(const struct problem *p, struct naive_random *random, int64_t centre, int64_t d)
{
    struct naive_random place = {(uint64_t)(centre * 1000 + d)};
    const double base = naive_normal(&place), noise = naive_normal(random);

    switch (p->shape) {
    case FAR:
        return 1e4 + 3 * base + noise;
    case NEAR_TIES:
    case NEAR_COPIES:
        return 1e3 * base + 1e-2 * noise; /* far centres: no shift brings all of them near the origin */
    case HUDDLED: /* all around one centre: many scores, and few of them can be told apart in f32 */
        place.state = (uint64_t)d;
        return naive_normal(&place) + 1e-6 * noise;
    case LARGE:
        return (base + noise) * (p->dtype == FKM_DTYPE_F16 ? 1e3 : 1e18);
    case SMALL:
        return (base + noise) * (p->dtype == FKM_DTYPE_F16 ? 1e-3 : 1e-22);
    default:
        return base + noise;
    }
}

static void make_rows(struct problem *p, struct naive_random *random)
{
    const bool wide = p->dtype == FKM_DTYPE_F64;
    const int64_t stride = p->dim + (p->n % 3);

    p->x = room(p->n * p->dim, sizeof(double));
    p->stored_x = room(p->n * stride, naive_size(p->row_dtype));
    p->values = room(p->n * p->dim, naive_size(p->row_dtype));
    p->indices = room(p->n * p->dim, sizeof *p->indices);
    p->indptr = room(p->n + 1, sizeof *p->indptr);
    p->mask = room(p->n * p->dim, sizeof *p->mask);
    for (int64_t i = 0; i < p->n; i++) {
        const int64_t centre = naive_below(random, 5);
        const bool zero = naive_below(random, 12) == 0, unmasked = naive_below(random, 8) == 0;
        int64_t entry = p->indptr[i];

        for (int64_t d = 0; d < p->dim; d++) {
            double value = zero ? 0 : coordinate(p, random, centre, d);
            float *mask = &p->mask[i * p->dim + d];

            if (p->sparse && naive_below(random, 3))
                value = 0;
            if (p->shape == SMALL_ROWS)
                value *= 1e-22;
            naive_set(p->stored_x, p->row_dtype, i * stride + d, value);
            value = naive_get(p->stored_x, p->row_dtype, i * stride + d);
            p->x[i * p->dim + d] = wide ? value : (double)(float)value;
            if (value != 0 || naive_below(random, 9) == 0) { /* a stored zero is allowed */
                p->indices[entry] = (int32_t)d;
                naive_set(p->values, p->row_dtype, entry++, value);
            }
            *mask = unmasked                      ? 0.0f
                    : naive_below(random, 3) == 0 ? 0.0f
                    : naive_below(random, 3)      ? 1.0f
                                                  : 0.5f;
            if (p->masked && *mask == 0.0f && naive_below(random, 2)) /* what is hidden may be anything */
                naive_set(p->stored_x, p->row_dtype, i * stride + d, (double)NAN);
        }
        p->indptr[i + 1] = entry;
    }
    p->rows = (struct fkmi_rows){.n = p->n, .dim = p->dim, .dtype = p->row_dtype};
    if (p->sparse) {
        p->rows.values = p->values;
        p->rows.indptr = p->indptr;
        p->rows.indices = p->indices;
    } else {
        p->rows.x = p->stored_x;
        p->rows.stride = stride;
        p->rows.mask = p->masked ? p->mask : NULL;
    }
}

static void make_prototypes(struct problem *p, struct naive_random *random)
{
    p->c = room(p->k * p->dim, sizeof(double));
    p->points = room(p->k * p->dim, naive_size(p->dtype));
    for (int64_t j = 0; j < p->k; j++) {
        const int64_t centre = naive_below(random, 5), copied = j > 0 ? naive_below(random, j) : 0;
        const bool zero = naive_below(random, 15) == 0,
                   copy = (p->shape == COPIES || p->shape == NEAR_COPIES) && j > 2;

        for (int64_t d = 0; d < p->dim; d++) {
            double value = zero ? 0 : coordinate(p, random, centre, d);

            if (p->listed && naive_below(random, d % 4 == 0 ? 20 : 2)) /* some columns are nearly empty */
                value = 0;
            naive_set(p->points, p->dtype, j * p->dim + d, copy ? p->c[copied * p->dim + d] : value);
            p->c[j * p->dim + d] = naive_get(p->points, p->dtype, j * p->dim + d);
        }
    }
    p->lists.begin = room(p->k + 1, sizeof *p->lists.begin);
    p->lists.index = room(p->k * p->dim, sizeof *p->lists.index);
    p->lists.value = room(p->k * p->dim, naive_size(p->dtype));
    for (int64_t j = 0, at = 0; j < p->k; j++) {
        for (int64_t d = 0; d < p->dim; d++)
            if (p->c[j * p->dim + d] != 0 || (j + d) % 9 == 0) { /* a stored zero is allowed */
                p->lists.index[at] = (int32_t)d;
                naive_set(p->lists.value, p->dtype, at++, p->c[j * p->dim + d]);
            }
        p->lists.begin[j + 1] = at;
    }
    p->w = room(p->dim, sizeof(double));
    if (p->weighted) {
        double sum = 0;

        for (int64_t d = 0; d < p->dim; d++)
            sum += p->w[d] = d > 0 && naive_below(random, 5) == 0 ? 0 : 0.1 + naive_uniform(random);
        for (int64_t d = 0; d < p->dim; d++)
            p->w[d] *= (double)p->dim / sum;
    }
}

static void make_classes(struct problem *p, struct naive_random *random)
{
    p->class_begin = room(p->n_classes + 1, sizeof *p->class_begin);
    p->slot = room(p->n, sizeof *p->slot);
    for (int64_t c = 1; c < p->n_classes; c++) /* some classes are empty */
        p->class_begin[c] = naive_below(random, p->k + 1);
    for (int64_t c = 1; c < p->n_classes; c++)
        for (int64_t b = c; b > 1 && p->class_begin[b] < p->class_begin[b - 1]; b--) {
            const int64_t swapped = p->class_begin[b];
            p->class_begin[b] = p->class_begin[b - 1];
            p->class_begin[b - 1] = swapped;
        }
    p->class_begin[p->n_classes] = p->k;
    for (int64_t i = 0; i < p->n; i++)
        p->slot[i] = (int32_t)naive_below(random, p->n_classes + 1) - 1;
}

static bool lists_wanted; /* by problem_of */

static struct problem problem_of(struct naive_random *random, fkm_metric metric, fkm_dtype dtype, bool sparse,
                                 bool masked, bool weighted, enum shape shape)
{
    struct problem p = {.metric = metric,
                        .dtype = dtype,
                        .shape = shape,
                        .sparse = sparse,
                        .masked = masked,
                        .weighted = weighted,
                        .listed = lists_wanted,
                        .unit = dtype == FKM_DTYPE_F64 ? 0x1p-53 : 0x1p-24};

    p.row_dtype = naive_below(random, 2) ? (dtype == FKM_DTYPE_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32)
                                         : (fkm_dtype)naive_below(random, 4);
    if (shape >= LARGE && dtype != FKM_DTYPE_F16 && p.row_dtype == FKM_DTYPE_F16)
        p.row_dtype = FKM_DTYPE_F32;
    p.n = naive_below(random, 4) ? 1 + naive_below(random, 50) : 1 + naive_below(random, 3);
    p.dim = 1 + naive_below(random, naive_below(random, 3) ? 20 : 75);
    p.k = naive_below(random, 4) ? 1 + naive_below(random, 90) : 1 + naive_below(random, 14);
    p.n_classes = 1 + naive_below(random, 6);
    make_rows(&p, random);
    make_prototypes(&p, random);
    make_classes(&p, random);
    p.space = (struct fkmi_space){.metric = metric,
                                  .dim = p.dim,
                                  .real = fkmi_real_of(dtype),
                                  .feature_weights = weighted ? p.w : NULL};
    return p;
}

static const float *mask_of(const struct problem *p, int64_t i)
{
    return p->masked ? p->mask + i * p->dim : NULL;
}
static const double *weights_of(const struct problem *p) { return p->weighted ? p->w : NULL; }

static double distance_to(const struct problem *p, int64_t i, int64_t j)
{
    return naive_distance(p->metric, p->x + i * p->dim, p->c + j * p->dim, weights_of(p), mask_of(p, i),
                          p->dim);
}

/* What rounding may do to a distance of row i that was computed from x - c. */
static double direct_tolerance(const struct problem *p, double distance)
{
    const double steps = 4 * (double)(p->dim + 8) * p->unit;

    if (p->sparse && p->shape == HUDDLED) /* in f64, whatever the model's type */
        return 1e-13 * (double)p->dim * (1 + distance);
    if (p->metric != FKM_METRIC_COSINE)
        return steps * distance;
    /* Small ones are computed in f64 whatever the model's type; what is left is the rounding of a masked row. */
    return distance < 0.0099 ? 1e-12 + 4 * p->unit * sqrt(2 * fmax(distance, 0)) : steps;
}

/* sum w (x - mean of the prototypes)^2, and the same around the origin */
static double spread(const struct problem *p, const double *x, bool centred)
{
    double sum = 0;

    for (int64_t d = 0; d < p->dim; d++) {
        double mean = 0;

        for (int64_t j = 0; centred && j < p->k; j++)
            mean += p->c[j * p->dim + d] / (double)p->k;
        sum += (p->weighted ? p->w[d] : 1.0) * (x[d] - mean) * (x[d] - mean);
    }
    return sum;
}

/* And to one that came from scores: points lie as far from the origin as they do, or from the prototypes'
 * mean when that is what makes distances accurate. A sparse row is not moved itself, so the mean's own
 * size counts too. */
static double score_tolerance(const struct problem *p, int64_t i, int64_t j, double distance)
{
    const double *x = p->x + i * p->dim, *c = p->c + j * p->dim, *w = p->w;
    const double steps = 8 * (double)(p->dim + 32) * p->unit;
    const bool centred = (p->shape == FAR || p->shape == HUDDLED) && !p->listed;
    /* Where all products vanish nothing tells that they are not 0: each loses half of the smallest number. */
    const double lost = (double)(p->dim + 2) * (p->dtype == FKM_DTYPE_F64 ? 0x1p-1074 : 0x1p-149);
    double sum = 0, active = 0;

    for (int64_t d = 0; d < p->dim; d++)
        active += (p->weighted ? w[d] : 1.0) * (p->masked ? (double)p->mask[i * p->dim + d] : 1.0);
    if (p->metric == FKM_METRIC_COSINE)
        return 4 * steps;
    if (active == 0)
        return 0;
    if (p->metric == FKM_METRIC_L1) {
        for (int64_t d = 0; d < p->dim; d++)
            sum += (p->weighted ? w[d] : 1.0) * (fabs(x[d]) + fabs(c[d]));
        return steps * (p->sparse || p->listed || p->weighted ? sum * (double)p->dim / active : distance);
    }
    sum = spread(p, x, centred) + spread(p, c, centred);
    if (p->sparse)
        sum += spread(p, x, false) + spread(p, c, false);
    return 2 * (steps * sum + lost) * (double)p->dim / active;
}

static void explain(const struct problem *p, const char *isa, const char *what, int64_t i)
{
    printf("  %s: metric %d, dtype %d, rows %d, shape %d, %s%s%s n %lld, dim %lld, k %lld: row %lld\n", what,
           p->metric, p->dtype, p->row_dtype, p->shape, p->sparse ? "sparse, " : "",
           p->masked ? "masked, " : "", p->weighted ? "weighted, " : "", (long long)p->n, (long long)p->dim,
           (long long)p->k, (long long)i);
    printf("  isa %s\n", isa);
}

/* Ties go to the lower index: copies of the prototype in `place` with lower indices stand before it. */
static bool copies_precede(const struct problem *p, const int32_t *index, int64_t place, int64_t begin,
                           int64_t skip_begin, int64_t skip_end)
{
    const double *point = p->c + index[place] * p->dim;

    for (int64_t j = begin; j < index[place]; j++) {
        bool stands = (j >= skip_begin && j < skip_end) ||
                      memcmp(p->c + j * p->dim, point, (size_t)p->dim * sizeof *point) != 0;

        for (int64_t before = 0; before < place; before++)
            stands |= index[before] == j;
        if (!stands)
            return false;
    }
    return true;
}

/* Places of one row against the nearest of a range of prototypes. */
static bool places_agree(const struct problem *p, int64_t i, const struct fkmi_scan *scan, int64_t at,
                         int64_t most, int64_t begin, int64_t end, int64_t skip_begin, int64_t skip_end)
{
    int64_t index[128];
    double distance[128];

    naive_nearest(p->metric, p->x + i * p->dim, p->c, p->dim, weights_of(p), mask_of(p, i), begin, end,
                  skip_begin, skip_end, most, index, distance);
    for (int64_t place = 0; place < most; place++) {
        const int64_t j = scan->index[at + place];
        const double d = scan->distance[at + place], tolerance = direct_tolerance(p, distance[place]);

        if (index[place] < 0) {
            if (j != -1 || d != (double)INFINITY)
                return false;
            continue;
        }
        if (j < begin || j >= end || (j >= skip_begin && j < skip_end))
            return false;
        if (!(fabs(d - distance[place]) <= tolerance) || !(d >= 0) ||
            !(fabs(d - distance_to(p, i, j)) <= tolerance))
            return false;
        for (int64_t before = 0; before < place; before++)
            if (scan->index[at + before] == j)
                return false;
        if (place > 0 && scan->distance[at + place - 1] > d)
            return false;
        if (!copies_precede(p, scan->index + at, place, begin, skip_begin, skip_end))
            return false;
    }
    return true;
}

static bool row_agrees(const struct problem *p, int64_t i, const struct fkmi_scan *scan, int64_t width)
{
    const int32_t slot = p->slot[i];
    const int64_t own_begin = slot < 0 ? 0 : p->class_begin[slot],
                  own_end = slot < 0 ? 0 : p->class_begin[slot + 1];
    const int64_t at = i * width;

    switch (scan->kind) {
    case FKMI_SCAN_NEAREST:
    case FKMI_SCAN_TOP_K:
        return places_agree(p, i, scan, at, width, 0, p->k, 0, 0);
    case FKMI_SCAN_OWN:
        return places_agree(p, i, scan, at, 1, own_begin, own_end, 0, 0);
    case FKMI_SCAN_OTHER:
        return places_agree(p, i, scan, at, 1, 0, p->k, own_begin, own_end);
    case FKMI_SCAN_OWN_OTHER:
        return places_agree(p, i, scan, at, 1, own_begin, own_end, 0, 0) &&
               places_agree(p, i, scan, at + 1, 1, 0, p->k, own_begin, own_end);
    case FKMI_SCAN_CLASSES:
        for (int64_t c = 0; c < p->n_classes; c++) {
            int64_t nearest;
            double d;

            naive_nearest(p->metric, p->x + i * p->dim, p->c, p->dim, weights_of(p), mask_of(p, i),
                          p->class_begin[c], p->class_begin[c + 1], 0, 0, 1, &nearest, &d);
            if (nearest < 0) {
                if (scan->index[at + c] != -1 || scan->distance[at + c] != (double)INFINITY)
                    return false;
            } else {
                const int32_t j = scan->index[at + c];
                if (j < p->class_begin[c] || j >= p->class_begin[c + 1])
                    return false;
                if (!(fabs(scan->distance[at + c] - d) <= score_tolerance(p, i, nearest, d)) ||
                    !(fabs(distance_to(p, i, j) - d) <= 2 * score_tolerance(p, i, nearest, d)))
                    return false;
            }
        }
        return true;
    default:
        for (int64_t j = 0; j < p->k; j++) {
            const double d = distance_to(p, i, j);

            if (!(fabs(scan->distance[at + j] - d) <= score_tolerance(p, i, j, d)) ||
                !(scan->distance[at + j] >= 0))
                return false;
        }
        return true;
    }
}

static const enum fkmi_scan_kind kinds[] = {FKMI_SCAN_NEAREST, FKMI_SCAN_TOP_K,     FKMI_SCAN_OWN,
                                            FKMI_SCAN_OTHER,   FKMI_SCAN_OWN_OTHER, FKMI_SCAN_CLASSES,
                                            FKMI_SCAN_ALL};
enum { N_KINDS = 7 };

static int64_t width_of(const struct problem *p, const struct fkmi_scan *scan)
{
    switch (scan->kind) {
    case FKMI_SCAN_TOP_K:
        return scan->top_k;
    case FKMI_SCAN_OWN_OTHER:
        return 2;
    case FKMI_SCAN_CLASSES:
        return p->n_classes;
    case FKMI_SCAN_ALL:
        return p->k;
    default:
        return 1;
    }
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

static struct fkmi_scan scan_of(const struct problem *p, enum fkmi_scan_kind kind, int64_t top_k)
{
    struct fkmi_scan scan = {.kind = kind,
                             .top_k = top_k,
                             .slot = p->slot,
                             .class_begin = p->class_begin,
                             .n_classes = p->n_classes};

    scan.index = room(p->n * width_of(p, &scan), sizeof *scan.index);
    scan.distance = room(p->n * width_of(p, &scan), sizeof *scan.distance);
    return scan;
}

static fkm_status pack_problem(fkm_context *context, const struct problem *p, struct fkmi_pack **pack)
{
    if (p->listed)
        return context->backend->pack_lists(context, &p->space, p->dtype, &p->lists, p->k, true, pack);
    return context->backend->pack(context, &p->space, p->dtype, p->points, p->k, p->masked, pack);
}

/* A scan with a reach answers as one without, but for what is farther away. */
static void check_within(fkm_context *context, const struct problem *p, const struct fkmi_pack *pack)
{
    struct naive_random random = {(uint64_t)(p->n + p->k + p->dim)};
    struct fkmi_scan scan = scan_of(p, FKMI_SCAN_OTHER, 1), near = scan_of(p, FKMI_SCAN_OTHER, 1);
    double *within = room(p->n, sizeof *within);

    CHECK_OK(context->backend->scan(context, &p->rows, pack, &scan));
    for (int64_t i = 0; i < p->n; i++)
        within[i] = naive_below(&random, 6) ? scan.distance[i] * (double)naive_below(&random, 3) : -1;
    near.within = within;
    CHECK_OK(context->backend->scan(context, &p->rows, pack, &near));
    for (int64_t i = 0; i < p->n; i++) {
        const bool found = scan.distance[i] <= within[i];

        CHECK_INT(found ? scan.index[i] : -1, near.index[i]);
        CHECK(near.distance[i] == (found ? scan.distance[i] : (double)INFINITY));
    }
    free(scan.index);
    free(scan.distance);
    free(near.index);
    free(near.distance);
    free(within);
}

static void check_problem(fkm_context *context, const struct problem *p, struct fkmi_pack **pack,
                          struct naive_random *random)
{
    CHECK_OK(pack_problem(context, p, pack));
    for (int kind = 0; kind < N_KINDS; kind++) {
        const int64_t top_k =
            naive_below(random, 3) ? 1 + naive_below(random, 6) : 1 + naive_below(random, 100);
        struct fkmi_scan scan = scan_of(p, kinds[kind], top_k);

        CHECK_OK(context->backend->scan(context, &p->rows, *pack, &scan));
        for (int64_t i = 0; i < p->n; i++)
            if (!row_agrees(p, i, &scan, width_of(p, &scan))) {
                explain(p, context->kernels->isa, "scan", i);
                test_fail(__FILE__, __LINE__, "scan kind %d, top_k %lld", kind, (long long)top_k);
            }
        free(scan.index);
        free(scan.distance);
    }
    check_within(context, p, *pack);
}

/* `repeats` problems for each metric and storage type, on every table; one pack is reused all along. */
static void check_many(enum shape shape, bool sparse, bool masked, bool weighted, int repeats, uint64_t seed)
{
    const struct fkmi_kernels *tables[8];
    const int n_tables = fkmi_kernels_all(tables, 8);
    const struct naive_random same = {seed}; /* for every instruction set */
    struct naive_random random = same;

    for (int t = 0; t < n_tables; random = same, t++) {
        fkm_context *context = context_of(2, tables[t]);
        struct fkmi_pack *pack = NULL;

        for (int metric = 0; metric < 3; metric++)
            for (int dtype = 0; dtype < FKMI_N_DTYPES; dtype++)
                for (int repeat = 0; repeat < repeats; repeat++) {
                    struct problem p = problem_of(&random, (fkm_metric)metric, (fkm_dtype)dtype, sparse,
                                                  masked, weighted, shape);
                    check_problem(context, &p, &pack, &random);
                    drop(&p);
                }
        context->backend->pack_free(pack);
        fkm_context_free(context);
    }
}

TEST(dense_rows) { check_many(NORMAL, false, false, false, 8, 1); }
TEST(dense_rows_with_feature_weights) { check_many(NORMAL, false, false, true, 5, 2); }
TEST(masked_rows) { check_many(NORMAL, false, true, false, 5, 3); }
TEST(masked_rows_with_feature_weights) { check_many(NORMAL, false, true, true, 5, 4); }
TEST(sparse_rows) { check_many(NORMAL, true, false, false, 6, 5); }
TEST(sparse_rows_that_cover_most_of_a_prototype) { check_many(NEAR_COPIES, true, false, false, 6, 34); }
TEST(sparse_rows_with_feature_weights) { check_many(NORMAL, true, false, true, 4, 6); }
TEST(points_far_from_the_origin)
{
    check_many(FAR, false, false, false, 4, 7);
    check_many(FAR, false, true, true, 3, 8);
}
TEST(sparse_points_far_from_the_origin)
{
    check_many(FAR, true, false, false, 3, 9);
    check_many(FAR, true, false, true, 3, 10);
}
TEST(scores_that_rounding_cannot_tell_apart)
{
    check_many(NEAR_TIES, false, false, false, 5, 11);
    check_many(NEAR_TIES, true, false, false, 2, 12);
    check_many(NEAR_TIES, false, true, false, 2, 13);
}
TEST(sparse_rows_with_more_rivals_than_a_list_has_room_for)
{
    check_many(HUDDLED, true, false, false, 4, 28);
    check_many(HUDDLED, true, false, true, 3, 29);
}
TEST(copies_of_a_prototype_tie_to_the_lowest_index)
{
    check_many(COPIES, false, false, false, 5, 14);
    check_many(COPIES, true, false, false, 2, 15);
    check_many(COPIES, false, true, false, 2, 16);
    check_many(NEAR_COPIES, false, false, false, 6, 26);
}
TEST(values_whose_squares_leave_the_range_of_floats)
{
    check_many(LARGE, false, false, false, 2, 17);
    check_many(SMALL, false, false, false, 2, 18);
    check_many(SMALL, false, true, true, 2, 19);
    check_many(SMALL_ROWS, false, false, false, 2, 27);
}

/* Prototypes as lists: of CSR rows and of dense ones. */
static void check_lists(enum shape shape, bool weighted, int repeats, uint64_t seed)
{
    lists_wanted = true;
    check_many(shape, true, false, weighted, repeats, seed);
    check_many(shape, false, false, weighted, 1 + repeats / 2, seed + 1000);
    lists_wanted = false;
}
TEST(lists_of_prototypes) { check_lists(NORMAL, false, 8, 31); }
TEST(lists_with_feature_weights) { check_lists(NORMAL, true, 5, 32); }
TEST(lists_far_from_the_origin) { check_lists(FAR, false, 3, 33); }
TEST(lists_that_rounding_cannot_tell_apart)
{
    check_lists(NEAR_TIES, false, 3, 34);
    check_lists(COPIES, false, 3, 35);
    check_lists(NEAR_COPIES, false, 3, 36);
}
TEST(lists_whose_squares_leave_the_range_of_floats)
{
    check_lists(LARGE, false, 2, 37);
    check_lists(SMALL, false, 2, 38);
    check_lists(SMALL_ROWS, false, 2, 39);
}

/* Everything the scan of `p` writes, as bytes, row by row in the pieces that `random` cuts (NULL: at
 * once). */
static void scan_pieces(fkm_context *context, const struct problem *p, const struct fkmi_pack *pack,
                        const struct fkmi_scan *whole, struct naive_random *random)
{
    const int64_t width = width_of(p, whole);

    for (int64_t begin = 0; begin < p->n;) {
        int64_t n = p->n - begin;
        struct fkmi_scan piece = *whole;
        struct fkmi_rows rows;

        if (random)
            n = 1 + naive_below(random, naive_below(random, 2) ? 4 : n) % n;
        rows = fkmi_rows_slice(&p->rows, begin, n);
        piece.slot = whole->slot + begin;
        piece.index = whole->index + begin * width;
        piece.distance = whole->distance + begin * width;
        CHECK_OK(context->backend->scan(context, &rows, pack, &piece));
        begin += n;
    }
}

TEST(any_number_of_threads_and_any_split_give_the_same_bits)
{
    static const int threads[] = {1, 2, 3, 8};
    struct naive_random random = {20};

    for (int repeat = 0; repeat < 32; repeat++) {
        const bool sparse = repeat % 4 == 3, masked = repeat % 4 == 2 && repeat < 24;
        struct problem p;

        lists_wanted = repeat >= 24;
        p = problem_of(&random, (fkm_metric)(repeat % 3), (fkm_dtype)(repeat / 3 % 4), sparse, masked,
                       repeat % 5 == 0, (enum shape)(repeat % 4));

        for (int kind = 0; kind < N_KINDS; kind++) {
            struct fkmi_scan first = {0};

            for (int t = 0; t < 8; t++) {
                fkm_context *context = context_of(threads[t / 2], NULL);
                struct fkmi_pack *pack = NULL;
                struct fkmi_scan scan = scan_of(&p, kinds[kind], 3);
                const size_t places = (size_t)(p.n * width_of(&p, &scan));

                CHECK_OK(pack_problem(context, &p, &pack));
                scan_pieces(context, &p, pack, &scan, t % 2 ? &random : NULL);
                if (t == 0)
                    first = scan;
                else {
                    CHECK(memcmp(first.index, scan.index, places * sizeof *scan.index) == 0);
                    CHECK(memcmp(first.distance, scan.distance, places * sizeof *scan.distance) == 0);
                    free(scan.index);
                    free(scan.distance);
                }
                context->backend->pack_free(pack);
                fkm_context_free(context);
            }
            free(first.index);
            free(first.distance);
        }
        drop(&p);
    }
    lists_wanted = false;
}

/* Enough work that few rows are matched with parts of the panels, on their own lists. */
TEST(few_rows_against_many_prototypes)
{
    struct naive_random random = {21};
    fkm_context *context = context_of(2, NULL);
    struct fkmi_pack *pack = NULL;

    for (int repeat = 0; repeat < 9; repeat++) {
        static const enum shape shapes[] = {NORMAL, COPIES, NEAR_TIES};
        struct problem p = {.metric = (fkm_metric)(repeat % 3),
                            .dtype = FKM_DTYPE_F32,
                            .row_dtype = FKM_DTYPE_F32,
                            .shape = shapes[repeat / 3],
                            .sparse = repeat == 4,
                            .unit = 0x1p-24,
                            .n = repeat % 2 ? 17 : 2,
                            .dim = repeat % 2 ? 100 : 400,
                            .k = repeat % 2 ? 1200 : 2000,
                            .n_classes = 3};

        make_rows(&p, &random);
        make_prototypes(&p, &random);
        make_classes(&p, &random);
        p.space = (struct fkmi_space){.metric = p.metric, .dim = p.dim, .real = FKMI_REAL_F32};
        check_problem(context, &p, &pack, &random);
        {
            struct fkmi_scan at_once = scan_of(&p, FKMI_SCAN_TOP_K, 20),
                             cut = scan_of(&p, FKMI_SCAN_TOP_K, 20);

            scan_pieces(context, &p, pack, &at_once, NULL);
            scan_pieces(context, &p, pack, &cut, &random);
            CHECK(memcmp(at_once.index, cut.index, (size_t)(p.n * 20) * sizeof *cut.index) == 0);
            CHECK(memcmp(at_once.distance, cut.distance, (size_t)(p.n * 20) * sizeof *cut.distance) == 0);
            free(at_once.index);
            free(at_once.distance);
            free(cut.index);
            free(cut.distance);
        }
        drop(&p);
    }
    context->backend->pack_free(pack);
    fkm_context_free(context);
}

TEST(distances_to_some_prototypes_are_those_to_all)
{
    struct naive_random random = {30};
    fkm_context *context = context_of(2, NULL);
    struct fkmi_pack *pack = NULL;

    for (int repeat = 0; repeat < 48; repeat++) {
        struct problem p = problem_of(&random, (fkm_metric)(repeat % 3), (fkm_dtype)(repeat / 3 % 4),
                                      repeat % 2, false, repeat % 5 == 0,
                                      repeat < 36   ? NORMAL
                                      : repeat < 42 ? LARGE
                                                    : SMALL);
        const int64_t wide = context->kernels->vector[FKMI_REAL_F64].wide;
        struct fkmi_scan all = scan_of(&p, FKMI_SCAN_ALL, 1);
        double *part = room(p.n * wide, sizeof *part);

        CHECK_OK(pack_problem(context, &p, &pack));
        CHECK_OK(context->backend->scan(context, &p.rows, pack, &all));
        for (int64_t begin = 0; begin < p.k; begin += wide) {
            const int64_t n = p.k - begin < wide ? p.k - begin : wide;
            const struct fkmi_scan some = {
                .kind = FKMI_SCAN_ALL, .begin = begin, .end = begin + wide, .distance = part};

            CHECK_OK(context->backend->scan(context, &p.rows, pack, &some));
            for (int64_t i = 0; i < p.n; i++)
                CHECK(memcmp(part + i * wide, all.distance + i * p.k + begin, (size_t)n * sizeof *part) == 0);
        }
        free(part);
        free(all.index);
        free(all.distance);
        drop(&p);
    }
    context->backend->pack_free(pack);
    fkm_context_free(context);
}

TEST(a_view_picks_and_repeats_rows)
{
    struct naive_random random = {22};
    fkm_context *context = context_of(2, NULL);
    struct fkmi_pack *pack = NULL;

    for (int repeat = 0; repeat < 24; repeat++) {
        struct problem p = problem_of(&random, (fkm_metric)(repeat % 3), FKM_DTYPE_F32, repeat % 4 == 1,
                                      repeat % 4 == 2, repeat % 2, NORMAL);
        struct fkmi_rows base = p.rows;
        int64_t *order = room(p.n, sizeof *order);
        const int64_t width = 4;
        struct fkmi_scan plain = scan_of(&p, FKMI_SCAN_TOP_K, width),
                         picked = scan_of(&p, FKMI_SCAN_TOP_K, width);

        for (int64_t i = 0; i < p.n; i++)
            order[i] = naive_below(&random, p.n);
        CHECK_OK(context->backend->pack(context, &p.space, p.dtype, p.points, p.k, p.masked, &pack));
        CHECK_OK(context->backend->scan(context, &base, pack, &plain));
        p.rows = fkmi_rows_pick(&base, order, p.n);
        CHECK_OK(context->backend->scan(context, &p.rows, pack, &picked));
        for (int64_t i = 0; i < p.n; i++) {
            CHECK(memcmp(plain.index + order[i] * width, picked.index + i * width,
                         (size_t)width * sizeof *plain.index) == 0);
            CHECK(memcmp(plain.distance + order[i] * width, picked.distance + i * width,
                         (size_t)width * sizeof *plain.distance) == 0);
        }
        free(plain.index);
        free(plain.distance);
        free(picked.index);
        free(picked.distance);
        free(order);
        drop(&p);
    }
    context->backend->pack_free(pack);
    fkm_context_free(context);
}

TEST(an_index_need_not_be_asked_for)
{
    struct naive_random random = {23};
    fkm_context *context = context_of(2, NULL);
    struct fkmi_pack *pack = NULL;
    struct problem p = problem_of(&random, FKM_METRIC_EUCLIDEAN, FKM_DTYPE_F32, false, false, false, NORMAL);

    CHECK_OK(context->backend->pack(context, &p.space, p.dtype, p.points, p.k, false, &pack));
    for (int kind = 0; kind < N_KINDS; kind++) {
        struct fkmi_scan with = scan_of(&p, kinds[kind], 2), without = scan_of(&p, kinds[kind], 2);
        int32_t *unused = without.index;

        without.index = NULL;
        CHECK_OK(context->backend->scan(context, &p.rows, pack, &with));
        CHECK_OK(context->backend->scan(context, &p.rows, pack, &without));
        CHECK(memcmp(with.distance, without.distance, (size_t)(p.n * width_of(&p, &with)) * sizeof(double)) ==
              0);
        free(unused);
        free(with.index);
        free(with.distance);
        free(without.distance);
    }
    context->backend->pack_free(pack);
    fkm_context_free(context);
    drop(&p);
}

TEST(a_failed_pack_leaves_the_old_one_and_a_stream_allocates_nothing)
{
    struct naive_random random = {24};
    fkm_context *context = context_of(2, NULL);
    struct fkmi_pack *pack = NULL;
    struct problem small =
        problem_of(&random, FKM_METRIC_EUCLIDEAN, FKM_DTYPE_F32, false, false, false, NORMAL);
    struct problem other = problem_of(&random, FKM_METRIC_L1, FKM_DTYPE_F64, false, true, true, NORMAL);
    struct fkmi_scan before = scan_of(&small, FKMI_SCAN_NEAREST, 1),
                     after = scan_of(&small, FKMI_SCAN_NEAREST, 1);
    int64_t n_failures = 0;
    fkm_status status = FKM_OK;

    CHECK_OK(context->backend->pack(context, &small.space, small.dtype, small.points, small.k, false, &pack));
    CHECK_OK(context->backend->scan(context, &small.rows, pack, &before));
    (void)fkmi_memory_fail(0, 0);
    for (int repeat = 0; repeat < 5; repeat++) {
        CHECK_OK(
            context->backend->pack(context, &small.space, small.dtype, small.points, small.k, false, &pack));
        CHECK_OK(context->backend->scan(context, &small.rows, pack, &before));
    }
    CHECK_INT(0, fkmi_memory_fail(0, 0));
    for (int64_t n = 1; n < 20; n++) {
        (void)fkmi_memory_fail(n, 1);
        status =
            context->backend->pack(context, &other.space, other.dtype, other.points, other.k, true, &pack);
        (void)fkmi_memory_fail(0, 0);
        if (status == FKM_OK)
            break;
        CHECK_INT(FKM_ENOMEM, status);
        n_failures++;
        CHECK_OK(context->backend->scan(context, &small.rows, pack, &after));
        CHECK(memcmp(before.index, after.index, (size_t)small.n * sizeof *after.index) == 0);
        CHECK(memcmp(before.distance, after.distance, (size_t)small.n * sizeof *after.distance) == 0);
    }
    CHECK_INT(FKM_OK, status);
    CHECK(n_failures > 0);
    context->backend->pack_free(pack);
    context->backend->pack_free(NULL);
    fkm_context_free(context);
    free(before.index);
    free(before.distance);
    free(after.index);
    free(after.distance);
    drop(&small);
    drop(&other);
}

TEST(a_mask_needs_a_pack_with_room_for_it)
{
    struct naive_random random = {25};
    fkm_context *context = context_of(1, NULL);
    struct fkmi_pack *pack = NULL;
    struct problem p = problem_of(&random, FKM_METRIC_EUCLIDEAN, FKM_DTYPE_F32, false, true, false, NORMAL);
    struct fkmi_scan scan = scan_of(&p, FKMI_SCAN_NEAREST, 1);

    CHECK_OK(context->backend->pack(context, &p.space, p.dtype, p.points, p.k, false, &pack));
    CHECK_STATUS(FKM_EINTERNAL, context->backend->scan(context, &p.rows, pack, &scan));
    CHECK_SAYS("mask", fkm_last_error());
    context->backend->pack_free(pack);
    fkm_context_free(context);
    free(scan.index);
    free(scan.distance);
    drop(&p);
}
