/* seed.c — greedy k-means++ with a running minimum, random rows, and how many prototypes are worth having.
 *
 * Each step draws 2 + floor(ln k) candidate rows in proportion to u D(x)^2 and keeps the one that leaves the
 * smallest potential sum u D(x)^2. Besides the rows it holds n distances and one block of candidates'
 * distances. Sums run over fixed blocks in order, so the seeds do not depend on the number of threads.
 * SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/seed.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "prototypes/mean.h"
#include "prototypes/route.h"

#define ROWS_AT_ONCE 16384 /* rows of one scan of the candidates */
#define ROWS_PER_SUM 1024  /* rows of one partial sum; divides ROWS_AT_ONCE */

struct seeding {
    struct fkm_context *context;
    const struct fkmi_space *space;
    const struct fkmi_rows *rows;
    struct fkmi_pack *pack;
    double *mean;     /* dim: stands in for masked coordinates; NULL without a mask */
    double *row;      /* dim */
    double *weight;   /* n: u, 0 where a row cannot be a seed */
    double *distance; /* n: d to the nearest seed so far */
    double *sum;      /* by block of ROWS_PER_SUM rows: sum of u D^2 */
    int64_t n_sums;
    double same; /* distances up to this are rounding: the rows are equal */
    /* one step's candidates */
    int64_t n_candidates;
    char *candidates;   /* n_candidates x dim reals */
    int64_t *drawn;     /* n_candidates: rows of the view */
    double *all;        /* ROWS_AT_ONCE x n_candidates distances */
    double *potentials; /* n_sums x n_candidates */
    int64_t first;      /* the block's first row */
};

static size_t point_size(const struct seeding *s)
{
    return (size_t)s->rows->dim * fkmi_real_size(s->space->real);
}

static fkm_dtype real_dtype(enum fkmi_real real)
{
    return real == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32;
}

/* u D(x)^2: euclidean distances are squared already, and 1 - cos is half the squared chord. */
static double attraction(const struct seeding *s, double weight, double distance)
{
    if (!(distance > s->same))
        return 0;
    return weight * (s->space->metric == FKM_METRIC_L1 ? distance * distance : distance);
}

/* Row i as a starting point; masked coordinates take the mean's place. */
static void load_point(const struct seeding *s, int64_t i, void *point)
{
    const int64_t dim = s->rows->dim, r = fkmi_row(s->rows, i);
    const double length = fkmi_row_length(s->rows, s->space, i);

    fkmi_row_load(s->rows, s->space, i, point);
    if (!s->mean)
        return;
    for (int64_t d = 0; d < dim; d++)
        s->row[d] = s->rows->mask[r * dim + d] > 0
                        ? length * fkmi_dtype_get(point, real_dtype(s->space->real), d)
                        : s->mean[d];
    fkmi_point_normalise(s->space, s->row);
    s->context->kernels->vector[FKMI_REAL_F64].store[real_dtype(s->space->real)](point, s->row, dim);
}

/* ---- sums */

static fkm_status sum_block(void *job, int64_t begin, int64_t end, int thread)
{
    struct seeding *s = job;
    double sum = 0;

    (void)thread;
    for (int64_t i = begin; i < end; i++)
        sum += attraction(s, s->weight[i], s->distance[i]);
    s->sum[begin / ROWS_PER_SUM] = sum;
    return FKM_OK;
}

static fkm_status total_attraction(struct seeding *s, double *total)
{
    FKMI_TRY(fkmi_parallel(s->context->pool, s->rows->n, ROWS_PER_SUM, sum_block, s));
    *total = 0;
    for (int64_t b = 0; b < s->n_sums; b++)
        *total += s->sum[b];
    return FKM_OK;
}

/* The row at which the running sum of attractions passes a place in [0, total). */
static int64_t row_at(const struct seeding *s, double place)
{
    int64_t block = 0, last = -1, end;

    while (block + 1 < s->n_sums && (s->sum[block] <= 0 || place >= s->sum[block]))
        place -= s->sum[block++];
    while (block > 0 && s->sum[block] <= 0) /* rounding may carry the place past the end */
        block--;
    end = (block + 1) * ROWS_PER_SUM < s->rows->n ? (block + 1) * ROWS_PER_SUM : s->rows->n;
    for (int64_t i = block * ROWS_PER_SUM; i < end; i++) {
        const double pull = attraction(s, s->weight[i], s->distance[i]);
        if (pull > 0) {
            last = i;
            if (place < pull)
                return i;
        }
        place -= pull;
    }
    return last;
}

/* ---- greedy k-means++ */

static fkm_status add_potentials(void *job, int64_t begin, int64_t end, int thread)
{
    struct seeding *s = job;
    const int64_t first = s->first + begin;
    double *potential = s->potentials + first / ROWS_PER_SUM * s->n_candidates;

    (void)thread;
    for (int64_t c = 0; c < s->n_candidates; c++)
        potential[c] = 0;
    for (int64_t i = begin; i < end; i++) {
        const double held = s->distance[s->first + i], weight = s->weight[s->first + i];
        const double *distance = s->all + i * s->n_candidates;
        for (int64_t c = 0; c < s->n_candidates; c++)
            potential[c] += attraction(s, weight, distance[c] < held ? distance[c] : held);
    }
    return FKM_OK;
}

/* The candidate that leaves the smallest potential; ties to the first drawn. */
static fkm_status best_candidate(struct seeding *s, int64_t *best)
{
    const struct fkmi_backend *backend = s->context->backend;
    const struct fkmi_scan scan = {.kind = FKMI_SCAN_ALL, .distance = s->all};
    double least = INFINITY;

    *best = 0;
    if (s->n_candidates == 1)
        return FKM_OK;
    FKMI_TRY(backend->pack(s->context, s->space, real_dtype(s->space->real), s->candidates, s->n_candidates,
                           s->rows->mask != NULL, &s->pack));
    for (s->first = 0; s->first < s->rows->n; s->first += ROWS_AT_ONCE) {
        const int64_t left = s->rows->n - s->first, n = left < ROWS_AT_ONCE ? left : ROWS_AT_ONCE;
        const struct fkmi_rows block = fkmi_rows_slice(s->rows, s->first, n);
        FKMI_TRY(backend->scan(s->context, &block, s->pack, &scan));
        FKMI_TRY(fkmi_parallel(s->context->pool, n, ROWS_PER_SUM, add_potentials, s));
    }
    for (int64_t c = 0; c < s->n_candidates; c++) {
        double potential = 0;
        for (int64_t b = 0; b < s->n_sums; b++)
            potential += s->potentials[b * s->n_candidates + c];
        if (potential < least) {
            least = potential;
            *best = c;
        }
    }
    return FKM_OK;
}

/* Lowers every row's distance to that of a new seed; measured directly, so equal rows have distance 0. */
static fkm_status add_seed(struct seeding *s, const void *point)
{
    const struct fkmi_backend *backend = s->context->backend;
    struct fkmi_scan scan = {.kind = FKMI_SCAN_NEAREST, .distance = s->all};

    FKMI_TRY(backend->pack(s->context, s->space, real_dtype(s->space->real), point, 1, s->rows->mask != NULL,
                           &s->pack));
    for (int64_t first = 0; first < s->rows->n; first += ROWS_AT_ONCE) {
        const int64_t left = s->rows->n - first, n = left < ROWS_AT_ONCE ? left : ROWS_AT_ONCE;
        const struct fkmi_rows block = fkmi_rows_slice(s->rows, first, n);
        FKMI_TRY(backend->scan(s->context, &block, s->pack, &scan));
        for (int64_t i = 0; i < n; i++)
            if (s->all[i] < s->distance[first + i])
                s->distance[first + i] = s->all[i];
    }
    return FKM_OK;
}

/* The first seed is drawn by weight alone: every distance is 1 for it. */
static fkm_status draw_first(struct seeding *s, struct fkmi_random *random, int64_t *row)
{
    double total;

    for (int64_t i = 0; i < s->rows->n; i++)
        s->distance[i] = 1;
    FKMI_TRY(total_attraction(s, &total));
    *row = row_at(s, fkmi_random_uniform(random) * total);
    for (int64_t i = 0; i < s->rows->n; i++)
        s->distance[i] = INFINITY;
    return FKM_OK;
}

static fkm_status seed_greedily(struct seeding *s, int64_t k, struct fkmi_random random, char *points,
                                int64_t *k_seeded)
{
    double total;
    int64_t row;

    FKMI_TRY(draw_first(s, &random, &row));
    load_point(s, row, points);
    for (*k_seeded = 1; *k_seeded < k; (*k_seeded)++) {
        char *point = points + (size_t)*k_seeded * point_size(s);
        int64_t best;

        FKMI_TRY(add_seed(s, point - point_size(s)));
        FKMI_TRY(total_attraction(s, &total));
        if (!(total > 0))
            return FKM_OK; /* every row lies on a seed */
        for (int64_t c = 0; c < s->n_candidates; c++) {
            s->drawn[c] = row_at(s, fkmi_random_uniform(&random) * total);
            load_point(s, s->drawn[c], s->candidates + (size_t)c * point_size(s));
        }
        FKMI_TRY(best_candidate(s, &best));
        memcpy(point, s->candidates + (size_t)best * point_size(s), point_size(s));
    }
    return FKM_OK;
}

/* ---- random rows */

static uint64_t hash_of(const void *bytes, size_t n)
{
    const unsigned char *byte = bytes;
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */

    for (size_t i = 0; i < n; i++)
        hash = (hash ^ byte[i]) * UINT64_C(1099511628211);
    return hash ^ (hash >> 29);
}

/* Rows in random order, without those equal to one taken before. */
static fkm_status seed_randomly(struct seeding *s, int64_t k, struct fkmi_random random, char *points,
                                int64_t *k_seeded)
{
    fkm_status status = FKM_OK;
    int64_t *order = NULL, *taken = NULL, n = 0,
            capacity = 4; /* taken: a hash table of seeds + 1; 0 is free */

    *k_seeded = 0;
    while (capacity < 2 * k)
        capacity *= 2;
    FKMI_TRY_GOTO(fkmi_alloc(&order, s->rows->n, sizeof *order));
    FKMI_TRY_GOTO(fkmi_alloc(&taken, capacity, sizeof *taken));
    for (int64_t i = 0; i < s->rows->n; i++)
        if (s->weight[i] > 0)
            order[n++] = i;
    fkmi_random_shuffle(&random, order, n);
    for (int64_t i = 0; i < n && *k_seeded < k; i++) {
        char *point = points + (size_t)*k_seeded * point_size(s);
        int64_t place;

        load_point(s, order[i], point);
        place = (int64_t)(hash_of(point, point_size(s)) & (uint64_t)(capacity - 1));
        while (taken[place] > 0 &&
               memcmp(points + (size_t)(taken[place] - 1) * point_size(s), point, point_size(s)))
            place = (place + 1) & (capacity - 1);
        if (taken[place] == 0)
            taken[place] = ++*k_seeded;
    }
done:
    fkmi_free(order);
    fkmi_free(taken);
    return status;
}

/* ---- entry points */

double fkmi_same_distance(const struct fkmi_space *space)
{
    if (space->metric != FKM_METRIC_COSINE)
        return 0;
    return 4 * (space->real == FKMI_REAL_F64 ? DBL_EPSILON : (double)FLT_EPSILON);
}

/* Weights of the rows as seeds; false when no row can be told from another. A zero row has no direction, so
 * it is no seed for cosine unless all are zero. */
static bool weigh_rows(struct seeding *s)
{
    bool any_weight = false, any_direction = false;

    for (int64_t i = 0; i < s->rows->n; i++) {
        const bool directed = fkmi_row_scale(s->rows, s->space, i) > 0;
        s->weight[i] = directed ? fkmi_row_weight(s->rows, i) : 0;
        any_weight = any_weight || s->weight[i] > 0;
        any_direction = any_direction || directed;
    }
    for (int64_t i = 0; i < s->rows->n && !any_weight; i++)
        s->weight[i] = !any_direction || fkmi_row_scale(s->rows, s->space, i) > 0 ? 1 : 0;
    return any_direction;
}

fkm_status fkmi_seed(struct fkm_context *context, const struct fkmi_space *space,
                     const struct fkmi_rows *rows, fkm_init init, int64_t k, struct fkmi_random random,
                     void *points, int64_t *k_seeded)
{
    const int64_t n = rows->n, block = n < ROWS_AT_ONCE ? n : ROWS_AT_ONCE;
    fkm_status status = FKM_OK;
    struct seeding s = {.context = context, .space = space, .rows = rows};

    s.n_sums = (n + ROWS_PER_SUM - 1) / ROWS_PER_SUM;
    s.n_candidates = 2 + (int64_t)floor(log((double)k));
    s.same = fkmi_same_distance(space);
    FKMI_TRY_GOTO(fkmi_alloc(&s.weight, n, sizeof(double)));
    if (!weigh_rows(&s))
        k = 1;
    if (rows->mask) {
        FKMI_TRY_GOTO(fkmi_alloc(&s.mean, rows->dim, sizeof(double)));
        FKMI_TRY_GOTO(fkmi_alloc(&s.row, rows->dim, sizeof(double)));
        FKMI_TRY_GOTO(fkmi_mean_row(context, space, rows, s.mean));
    }
    if (init == FKM_INIT_RANDOM) {
        FKMI_TRY_GOTO(seed_randomly(&s, k, random, points, k_seeded));
        goto done;
    }
    FKMI_TRY_GOTO(fkmi_alloc(&s.distance, n, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_alloc(&s.sum, s.n_sums, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_alloc(&s.candidates, s.n_candidates, point_size(&s)));
    FKMI_TRY_GOTO(fkmi_alloc(&s.drawn, s.n_candidates, sizeof(int64_t)));
    FKMI_TRY_GOTO(fkmi_alloc(&s.all, block * s.n_candidates, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_alloc(&s.potentials, s.n_sums * s.n_candidates, sizeof(double)));
    FKMI_TRY_GOTO(seed_greedily(&s, k, random, points, k_seeded));
done:
    context->backend->pack_free(s.pack);
    fkmi_free(s.mean);
    fkmi_free(s.row);
    fkmi_free(s.weight);
    fkmi_free(s.distance);
    fkmi_free(s.sum);
    fkmi_free(s.candidates);
    fkmi_free(s.drawn);
    fkmi_free(s.all);
    fkmi_free(s.potentials);
    return status;
}

/* Distances of all rows to one point (dim doubles). */
static fkm_status distances_to(struct fkm_context *context, const struct fkmi_space *space,
                               const struct fkmi_rows *rows, const double *centre, double *distance)
{
    fkm_status status = FKM_OK;
    struct fkmi_pack *pack = NULL;
    const struct fkmi_scan scan = {.kind = FKMI_SCAN_NEAREST, .distance = distance};
    void *point = NULL;

    FKMI_TRY_GOTO(fkmi_alloc(&point, rows->dim, fkmi_real_size(space->real)));
    context->kernels->vector[FKMI_REAL_F64].store[real_dtype(space->real)](point, centre, rows->dim);
    FKMI_TRY_GOTO(
        context->backend->pack(context, space, real_dtype(space->real), point, 1, rows->mask != NULL, &pack));
    FKMI_TRY_GOTO(context->backend->scan(context, rows, pack, &scan));
done:
    context->backend->pack_free(pack);
    fkmi_free(point);
    return status;
}

fkm_status fkmi_auto_k(struct fkm_context *context, const struct fkmi_space *space,
                       const struct fkmi_rows *rows, bool auto_scale, int64_t *k)
{
    const bool scaled = auto_scale && space->metric != FKM_METRIC_COSINE;
    fkm_status status = FKM_OK;
    double *mean = NULL, *distance = NULL, weight = 0, spread = 0, likeness = 0, n, wanted;
    int64_t present = 0;

    FKMI_TRY_GOTO(fkmi_alloc(&mean, rows->dim, sizeof *mean));
    FKMI_TRY_GOTO(fkmi_alloc(&distance, rows->n, sizeof *distance));
    FKMI_TRY_GOTO(fkmi_mean_row(context, space, rows, mean));
    FKMI_TRY_GOTO(distances_to(context, space, rows, mean, distance));
    for (int64_t i = 0; i < rows->n; i++) {
        const double u = fkmi_row_weight(rows, i);
        weight += u;
        spread += u * distance[i];
        present += u > 0;
    }
    /* The mean distance to the mean is D times the mean variance (euclidean), or absolute deviation (l1). */
    spread = scaled && spread > 0 ? spread / weight : 1;
    for (int64_t i = 0; i < rows->n; i++)
        likeness +=
            fkmi_row_weight(rows, i) * fmin(fmax(fkmi_similarity(space->metric, distance[i], spread), 0), 1);
    n = (double)(present > 0 ? present : 1);
    wanted = weight > 0 ? ceil(3 * sqrt(n) * (1 - likeness / weight)) : 1;
    *k = (int64_t)fmax(1, fmin(n, wanted));
done:
    fkmi_free(mean);
    fkmi_free(distance);
    return status;
}
