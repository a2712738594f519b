/* seed.c — greedy k-means++ with a running minimum, random rows, and how many prototypes are worth having.
 *
 * Each step draws 2 + floor(ln k) candidate rows in proportion to u D(x)^2 and keeps the one that lowers the
 * potential sum u D(x)^2 most. Rows are drawn for several steps ahead, so that one pass over the data serves them all:
 * a row drawn in proportion to an older pull is kept with the probability that its pull has fallen to, which makes it
 * one drawn in proportion to the present pull. Sums run over fixed blocks in order, so the seeds do not depend on the
 * number of threads.
 * SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/seed.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "prototypes/mean.h"
#include "prototypes/route.h"

#define POINT_VALUES  ((int64_t)1 << 22) /* of rows drawn ahead */
#define SHARE_OF_ROWS 64                 /* one of so many is drawn ahead at most: they become points */
#define LISTED        2                  /* entries of lists for each row, about */
/* The first candidates come nearer to most rows. Where rows are many, they are looked at by parts, which takes less memory. */
#define MANY_ROWS  ((int64_t)1 << 14)
#define PART       4
#define MANY_SEEDS 8192 /* from so many on, in two levels */

struct seeding {
    struct fkm_context *context;
    const struct fkmi_space *space;
    const struct fkmi_rows *rows;
    double *mean; /* dim: stands in for masked coordinates; NULL without a mask */
    double *row;  /* dim */
    struct fkmi_random random;
    /* greedy */
    enum fkmi_screening screening;
    struct fkmi_minima *minima;
    struct fkmi_pack *pack;
    int64_t n_candidates;              /* of a step */
    char *candidates;                  /* most_drawn x dim reals */
    int64_t most_drawn, n_drawn, next; /* rows drawn ahead, the next one to be used */
    double total, fall; /* pull when they were drawn; what a step left of it since the time before */
    int64_t drawn[FKMI_MOST_TRIALS];
    double pull[FKMI_MOST_TRIALS]; /* when it was drawn */
};

static size_t point_size(const struct seeding *s)
{
    return (size_t)s->rows->dim * fkmi_real_size(s->space->real);
}

static fkm_dtype real_dtype(enum fkmi_real real)
{
    return real == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32;
}

/* Row i of the view as a starting point; masked coordinates take the mean's place. */
static void load_point(const struct seeding *s, int64_t i, void *point)
{
    const struct fkmi_rows *rows = s->rows;
    const int64_t dim = rows->dim, r = fkmi_row(rows, i);
    const double length = fkmi_row_length(rows, s->space, i);

    fkmi_row_load(rows, s->space, i, point);
    if (!s->mean)
        return;
    for (int64_t d = 0; d < dim; d++)
        s->row[d] = rows->mask[r * dim + d] > 0
                        ? length * fkmi_dtype_get(point, real_dtype(s->space->real), d)
                        : s->mean[d];
    fkmi_point_normalise(s->space, s->row);
    s->context->kernels->vector[FKMI_REAL_F64].store[real_dtype(s->space->real)](point, s->row, dim);
}

/* ---- greedy k-means++ */

static double total_pull(const struct fkmi_minima *minima)
{
    double total = 0;

    for (int64_t b = 0; b < minima->n_blocks; b++)
        total += minima->sum[b];
    return total;
}

/* The row at which the running sum of pulls passes a place in [0, total). */
static int64_t row_at(const struct fkmi_minima *minima, double place)
{
    int64_t block = 0, last = -1, end;

    while (block + 1 < minima->n_blocks && (minima->sum[block] <= 0 || place >= minima->sum[block]))
        place -= minima->sum[block++];
    while (block > 0 && minima->sum[block] <= 0) /* rounding may carry the place past the end */
        block--;
    end = (block + 1) * minima->block < minima->rows.n ? (block + 1) * minima->block : minima->rows.n;
    for (int64_t i = block * minima->block; i < end; i++) {
        const double pull = fkmi_minima_pull(minima, i);
        if (pull > 0) {
            last = i;
            if (place < pull)
                return i;
        }
        place -= pull;
    }
    return last;
}

/* Rows as points; sparse ones are looked at as they are. */
static fkm_status pack_rows(struct seeding *s, const int64_t *drawn, int64_t n)
{
    if (fkmi_rows_sparse(s->rows))
        return FKM_OK;
    for (int64_t j = 0; j < n; j++)
        load_point(s, drawn[j], s->candidates + (size_t)j * point_size(s));
    return s->context->backend->pack(s->context, s->space, real_dtype(s->space->real), s->candidates, n,
                                     s->rows->mask != NULL, &s->pack);
}

/* Begins with every row whose weight and direction count; with all that have a direction when none of them has
 * weight. *total is 0 when no row can be told from another. */
static fkm_status begin_minima(struct seeding *s, int64_t k, double *total)
{
    const struct fkmi_minima_family *family = s->context->backend->minima;
    struct fkmi_minima_wish wish = {
        .k = k, .n_trials = s->n_candidates, .screening = s->screening, .same = fkmi_same_distance(s->space)};

    FKMI_TRY(family->create(s->context, s->space, s->rows, &wish, &s->minima));
    *total = total_pull(s->minima);
    if (*total > 0)
        return FKM_OK;
    family->free(s->minima);
    s->minima = NULL;
    wish.alike = true;
    FKMI_TRY(family->create(s->context, s->space, s->rows, &wish, &s->minima));
    *total = total_pull(s->minima);
    return FKM_OK;
}

/* Rows for the steps to come: as pulls fall by a factor f a step, 1 / f^i rows have to be drawn for a candidate of the i-th
 * step, 2 at most. Their lists, which get shorter, are as long as memory for them allows, going by those before and, where these
 * were few, by what is usual: of s + 1 points each is the nearest of one row in s + 1. */
static int64_t rows_to_draw(const struct seeding *s, int64_t n_seeded, int64_t k)
{
    const double steps = s->fall < 1 ? log(0.5) / log(s->fall) : (double)k;
    const double wanted = fmin(floor(steps), (double)(k - n_seeded));
    const double left = pow(s->fall, wanted), needed = (double)s->n_candidates * wanted * (1 + 1 / left) / 2;
    const double listed = fmax(s->context->backend->minima->listed(s->minima),
                               (double)s->rows->n / (double)(4 * (n_seeded + 1)));
    const double most = fmin((double)s->most_drawn, LISTED * (double)s->rows->n / fmax(listed, 1));
    const int64_t n = (int64_t)ceil(fmin(needed, most));

    return n < s->n_candidates ? s->n_candidates : n;
}

/* Draws rows for the steps to come. s->total is 0 when every row lies on a seed. */
static fkm_status draw_ahead(struct seeding *s, int64_t n_steps, int64_t n_seeded, int64_t k)
{
    const struct fkmi_minima_family *family = s->context->backend->minima;
    const double before = s->total;
    int64_t n;

    FKMI_TRY(family->settle(s->context, s->minima));
    s->total = total_pull(s->minima);
    s->n_drawn = s->next = 0;
    if (!(s->total > 0))
        return FKM_OK;
    s->fall = pow(s->total / before, 1 / (double)n_steps);
    for (n = rows_to_draw(s, n_seeded, k); s->n_drawn < n; s->n_drawn++) {
        const int64_t i = row_at(s->minima, fkmi_random_uniform(&s->random) * s->total);

        s->drawn[s->n_drawn] = i;
        s->pull[s->n_drawn] = fkmi_minima_pull(s->minima, i);
    }
    return FKM_OK;
}

static fkm_status look_at(struct seeding *s, const int64_t *drawn, int64_t n)
{
    FKMI_TRY(pack_rows(s, drawn, n));
    return s->context->backend->minima->look(s->context, s->minima, s->pack, drawn, n);
}

/* The next candidates among the rows drawn; returns how many there were. Those of the first step were drawn in
 * proportion to what pulls still are. */
static int64_t choose(struct seeding *s, int64_t *chosen)
{
    int64_t n = 0;

    for (; n < s->n_candidates && s->next < s->n_drawn; s->next++)
        if (s->next < s->n_candidates || fkmi_random_uniform(&s->random) * s->pull[s->next] <
                                             fkmi_minima_pull(s->minima, s->drawn[s->next]))
            chosen[n++] = s->next;
    return n;
}

/* Adds the candidate that gains most; ties to the first drawn. Returns its row. */
static int64_t add_seed(struct seeding *s, const int64_t *chosen)
{
    const struct fkmi_minima_family *family = s->context->backend->minima;
    double most = -1;
    int64_t best = 0;

    for (int64_t c = 0; c < s->n_candidates; c++) {
        const double gain = family->gain(s->minima, chosen[c]);

        if (gain > most) {
            most = gain;
            best = chosen[c];
        }
    }
    family->take(s->minima, best);
    return s->drawn[best];
}

/* Adds the best of the first candidates, looked at part by part. */
static fkm_status add_second_seed(struct seeding *s, int64_t *seed)
{
    const struct fkmi_minima_family *family = s->context->backend->minima;
    const int64_t n = s->n_drawn, last = (n - 1) / PART * PART;
    double most = -1;
    int64_t best = 0;

    for (int64_t begin = 0; begin < n; begin += PART) {
        const int64_t n_part = n - begin < PART ? n - begin : PART;

        FKMI_TRY(look_at(s, s->drawn + begin, n_part));
        for (int64_t j = 0; j < n_part; j++) {
            const double gain = family->gain(s->minima, j);

            best = gain > most ? begin + j : best;
            most = gain > most ? gain : most;
        }
    }
    if (best < last)
        FKMI_TRY(look_at(s, s->drawn + best, 1));
    family->take(s->minima, best < last ? 0 : best - last);
    *seed = s->drawn[best];
    return FKM_OK;
}

/* How many rows may be drawn ahead. */
static int64_t most_to_draw(const struct seeding *s, int64_t k)
{
    const struct fkmi_rows *rows = s->rows;
    int64_t most = FKMI_MOST_TRIALS;

    if (!fkmi_rows_sparse(rows))
        most = most < POINT_VALUES / rows->dim ? most : POINT_VALUES / rows->dim;
    most = most < rows->n / SHARE_OF_ROWS ? most : rows->n / SHARE_OF_ROWS;
    most = most < s->n_candidates * k ? most : s->n_candidates * k;
    return most < s->n_candidates ? s->n_candidates : most;
}

static fkm_status seed_greedily(struct seeding *s, int64_t k, int64_t *seeds, int64_t *k_seeded)
{
    const int64_t n_wanted = 2 + (int64_t)floor(log((double)k));
    int64_t n_taken = 1;

    s->n_candidates = n_wanted < FKMI_MOST_TRIALS ? n_wanted : FKMI_MOST_TRIALS;
    s->most_drawn = most_to_draw(s, k);
    if (!fkmi_rows_sparse(s->rows))
        FKMI_TRY(fkmi_alloc(&s->candidates, s->most_drawn, point_size(s)));
    FKMI_TRY(begin_minima(s, k, &s->total));
    *k_seeded = 1;
    seeds[0] = s->total > 0 ? row_at(s->minima, fkmi_random_uniform(&s->random) * s->total)
                            : fkmi_random_below(&s->random, s->rows->n);
    if (!(s->total > 0) || k == 1) /* rows without direction: any will do */
        return FKM_OK;
    FKMI_TRY(pack_rows(s, seeds, 1));
    FKMI_TRY(s->context->backend->minima->start(s->context, s->minima, s->pack, seeds));
    s->total = total_pull(s->minima);
    while (*k_seeded < k) {
        int64_t chosen[FKMI_MOST_TRIALS];

        FKMI_TRY(draw_ahead(s, n_taken, *k_seeded, k));
        if (!(s->total > 0))
            return FKM_OK; /* every row lies on a seed */
        if (*k_seeded == 1 && s->rows->n >= MANY_ROWS) {
            FKMI_TRY(add_second_seed(s, &seeds[1]));
            *k_seeded = 2;
            continue;
        }
        FKMI_TRY(look_at(s, s->drawn, s->n_drawn));
        for (n_taken = 0; *k_seeded < k && choose(s, chosen) == s->n_candidates; n_taken++)
            seeds[(*k_seeded)++] = add_seed(s, chosen);
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

/* Rows that may be seeds, in order: with weight and direction; without weight if none has any; all if none has a
 * direction either, and no row can be told from another: *k becomes 1. */
static int64_t list_rows(const struct seeding *s, int64_t *listed, int64_t *k)
{
    const struct fkmi_rows *rows = s->rows;
    int64_t n = 0;

    for (int turn = 0; n == 0; turn++) {
        for (int64_t i = 0; i < rows->n; i++)
            if ((turn > 0 || fkmi_row_weight(rows, i) > 0) &&
                (turn > 1 || fkmi_row_scale(rows, s->space, i) > 0))
                listed[n++] = i;
        *k = turn > 1 ? 1 : *k;
    }
    return n;
}

/* Rows in random order, without those equal to one taken before. */
static fkm_status seed_randomly(struct seeding *s, int64_t k, int64_t *seeds, int64_t *k_seeded)
{
    fkm_status status = FKM_OK;
    int64_t *order = NULL, *taken = NULL, n, capacity = 4; /* taken: a hash table of seeds + 1; 0 is free */
    uint64_t *hash = NULL;
    char *point = NULL, *other = NULL;

    *k_seeded = 0;
    while (capacity < 2 * k)
        capacity *= 2;
    FKMI_TRY_GOTO(fkmi_alloc(&order, s->rows->n, sizeof *order));
    FKMI_TRY_GOTO(fkmi_alloc(&taken, capacity, sizeof *taken));
    FKMI_TRY_GOTO(fkmi_alloc(&hash, k, sizeof *hash));
    FKMI_TRY_GOTO(fkmi_alloc(&point, 1, point_size(s)));
    FKMI_TRY_GOTO(fkmi_alloc(&other, 1, point_size(s)));
    n = list_rows(s, order, &k);
    fkmi_random_shuffle(&s->random, order, n);
    for (int64_t i = 0; i < n && *k_seeded < k; i++) {
        int64_t place;
        bool is_new = true;

        load_point(s, order[i], point);
        hash[*k_seeded] = hash_of(point, point_size(s));
        place = (int64_t)(hash[*k_seeded] & (uint64_t)(capacity - 1));
        for (; taken[place] > 0 && is_new; place = (place + 1) & (capacity - 1)) {
            if (hash[taken[place] - 1] != hash[*k_seeded])
                continue;
            load_point(s, seeds[taken[place] - 1], other);
            is_new = memcmp(other, point, point_size(s)) != 0;
        }
        if (!is_new)
            continue;
        seeds[*k_seeded] = order[i];
        taken[place] = ++*k_seeded;
    }
done:
    fkmi_free(order);
    fkmi_free(taken);
    fkmi_free(hash);
    fkmi_free(point);
    fkmi_free(other);
    return status;
}

/* ---- entry points */

double fkmi_same_distance(const struct fkmi_space *space)
{
    if (space->metric != FKM_METRIC_COSINE)
        return 0;
    return 4 * (space->real == FKMI_REAL_F64 ? DBL_EPSILON : (double)FLT_EPSILON);
}

/* What stands in for masked coordinates. */
static fkm_status begin_seeding(struct seeding *s)
{
    if (!s->rows->mask)
        return FKM_OK;
    FKMI_TRY(fkmi_alloc(&s->mean, s->rows->dim, sizeof(double)));
    FKMI_TRY(fkmi_alloc(&s->row, s->rows->dim, sizeof(double)));
    return fkmi_mean_row(s->context, s->space, s->rows, s->mean);
}

static void end_seeding(struct seeding *s)
{
    s->context->backend->pack_free(s->pack);
    s->context->backend->minima->free(s->minima);
    fkmi_free(s->candidates);
    fkmi_free(s->mean);
    fkmi_free(s->row);
}

fkm_status fkmi_seed_at_once(struct fkm_context *context, const struct fkmi_space *space,
                             const struct fkmi_rows *rows, int64_t k, struct fkmi_random random,
                             enum fkmi_screening screening, int64_t *seeds, int64_t *k_seeded, double *left)
{
    struct seeding s = {
        .context = context, .space = space, .rows = rows, .random = random, .screening = screening};
    fkm_status status = FKM_OK;

    FKMI_TRY_GOTO(begin_seeding(&s));
    FKMI_TRY_GOTO(seed_greedily(&s, k, seeds, k_seeded));
    if (left) {
        FKMI_TRY_GOTO(context->backend->minima->settle(context, s.minima));
        *left = total_pull(s.minima);
    }
done:
    end_seeding(&s);
    return status;
}

fkm_status fkmi_seed_rows(struct fkm_context *context, const struct fkmi_space *space,
                          const struct fkmi_rows *rows, fkm_init init, int64_t k, struct fkmi_random random,
                          enum fkmi_screening screening, int64_t *seeds, int64_t *k_seeded)
{
    struct seeding s = {.context = context, .space = space, .rows = rows, .random = random};
    fkm_status status = FKM_OK;

    if (init != FKM_INIT_RANDOM) {
        if (k >= MANY_SEEDS && !fkmi_rows_sparse(rows) && !rows->mask && screening == FKMI_SCREEN_IF_WORTH) {
            FKMI_TRY(fkmi_seed_by_groups(context, space, rows, k, random, seeds, k_seeded));
            if (*k_seeded == k)
                return FKM_OK; /* else so many rows are equal that only a look at all of them can tell */
        }
        return fkmi_seed_at_once(context, space, rows, k, random, screening, seeds, k_seeded, NULL);
    }
    FKMI_TRY_GOTO(begin_seeding(&s));
    FKMI_TRY_GOTO(seed_randomly(&s, k, seeds, k_seeded));
done:
    end_seeding(&s);
    return status;
}

fkm_status fkmi_seed_points(struct fkm_context *context, const struct fkmi_space *space,
                            const struct fkmi_rows *rows, const int64_t *seeds, int64_t k, void *points)
{
    struct seeding s = {.context = context, .space = space, .rows = rows};
    fkm_status status = FKM_OK;

    FKMI_TRY_GOTO(begin_seeding(&s));
    for (int64_t j = 0; j < k; j++)
        load_point(&s, seeds[j], (char *)points + (size_t)j * point_size(&s));
done:
    end_seeding(&s);
    return status;
}

fkm_status fkmi_seed(struct fkm_context *context, const struct fkmi_space *space,
                     const struct fkmi_rows *rows, fkm_init init, int64_t k, struct fkmi_random random,
                     void *points, int64_t *k_seeded)
{
    int64_t *seeds = NULL;
    fkm_status status = FKM_OK;

    FKMI_TRY_GOTO(fkmi_alloc(&seeds, k, sizeof *seeds));
    FKMI_TRY_GOTO(
        fkmi_seed_rows(context, space, rows, init, k, random, FKMI_SCREEN_IF_WORTH, seeds, k_seeded));
    FKMI_TRY_GOTO(fkmi_seed_points(context, space, rows, seeds, *k_seeded, points));
done:
    fkmi_free(seeds);
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
