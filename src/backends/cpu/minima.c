/* minima.c — running minima of distances: which of many points come nearer to which rows, and what that gains.
 *
 * A dense row is measured directly against the points that its bytes could not rule out, a sparse one against those with
 * which it shares columns, and the others at no price. A point's list has the rows that it comes nearer to, with their
 * distances. What it gains is summed over them in their order, so it does not depend on how many others were measured.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/minima.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "backends/cpu/meeting.h"
#include "backends/cpu/sketch.h"
#include "base/interrupt.h"

enum {
    BLOCK = FKMI_SKETCH_BLOCK,
    LEAST_PARTS = 64,    /* where rows are enough, */
    MOST_BLOCKS = 16,    /* of a part */
    LEAST_ROWS = 2048,   /* with bytes, */
    LEAST_POINTS = 4,    /* after so many points */
    ROWS_PER_CHECK = 64, /* for an interrupt */
    ROWS_AHEAD = 4,      /* asked for from memory before they are needed */
    SPARE = 16           /* entries */
};

/* What lists of points hold: distances in the space's reals, floats times `scale`, so that no size of numbers is lost. */
struct entries {
    int64_t capacity;
    void *distance;
    uint16_t *row; /* of the part */
};
/* Of a part at work, row by row: with the point of each. */
struct gathered {
    struct entries entries;
    uint16_t *point;
    int64_t n;
};
/* Blocks of rows that share lists: point j has entries begin[j] .. begin[j + 1], in the order of the rows. */
struct part {
    struct entries nearer;
    uint32_t *begin;  /* n_begins */
    int64_t n_begins; /* room for them */
    int64_t n_left;   /* pairs that were measured */
};

struct fkmi_minima_work {
    struct fkmi_space space;
    struct fkmi_sketch *sketch; /* or NULL */
    struct fkmi_minima_wish wish;
    int64_t n_taken, k;    /* points of the last look */
    double scale, unscale; /* of floats, a power of two; its inverse */
    int64_t n_parts, part_blocks;
    struct part *parts;        /* n_parts */
    struct gathered *gathered; /* n_gathered, by thread */
    int n_gathered;
    struct fkmi_sketch_trial *trial; /* directions, until they are worth it; or NULL */
    double left_whole;               /* share of pairs that whole rows left when they were looked at last */
    int64_t next_probe;              /* how many points there are when directions may be asked next */
};

struct minima_job {
    struct fkmi_minima *minima;
    const struct fkmi_pack *pack; /* dense rows */
    int64_t k;
    struct fkmi_sketch_points points;
    struct fkmi_meeting meeting; /* sparse rows */
    char *scratch;
    size_t scratch_per_thread;
};

/* What a thread needs for a block. */
struct block_scratch {
    struct fkmi_direct direct;
    struct fkmi_sketch_scratch sketch;
    uint32_t *maybe;  /* with a sketch: BLOCK x words: points to be measured */
    int32_t *point;   /* numbers of points */
    int16_t *listed;  /* rows to measure, from the first of the block */
    double *distance; /* k */
};

static void carve_block(struct block_scratch *scratch, struct fkmi_carve *carve, const struct minima_job *job)
{
    const struct fkmi_minima *minima = job->minima;

    if (!fkmi_rows_sparse(&minima->rows))
        fkmi_direct_carve(&scratch->direct, carve, job->pack, &minima->rows, 0);
    scratch->maybe = NULL;
    if (minima->work->sketch) {
        fkmi_sketch_carve(&scratch->sketch, carve, minima->work->sketch);
        scratch->maybe = fkmi_carve(carve, BLOCK * fkmi_sketch_words(job->k), sizeof *scratch->maybe);
    }
    scratch->point = fkmi_carve(carve, job->k, sizeof *scratch->point);
    scratch->listed = fkmi_carve(carve, BLOCK, sizeof *scratch->listed);
    scratch->distance = fkmi_carve(carve, job->k, sizeof *scratch->distance);
}

static struct block_scratch scratch_of(const struct minima_job *job, int thread)
{
    struct fkmi_carve carve = {job->scratch + (size_t)thread * job->scratch_per_thread, 0};
    struct block_scratch scratch = {.listed = NULL};

    carve_block(&scratch, &carve, job);
    return scratch;
}

/* Points as the rows' bytes see them, or as columns. */
static void carve_points(struct minima_job *job, struct fkmi_carve *carve, const int64_t *drawn)
{
    const struct fkmi_minima *minima = job->minima;
    void *memory;

    if (minima->work->sketch)
        fkmi_sketch_carve_points(&job->points, carve, minima->work->sketch, job->k);
    if (!fkmi_rows_sparse(&minima->rows))
        return;
    memory = fkmi_carve(carve, (int64_t)fkmi_meeting_size(&minima->rows, drawn, job->k), 1);
    if (memory)
        fkmi_meeting_begin(&job->meeting, &minima->work->space, &minima->rows, drawn, job->k, memory);
}

/* Memory for all threads, and for the points. */
static fkm_status take_scratch(struct fkm_context *context, struct minima_job *job, const int64_t *drawn,
                               void **memory)
{
    const size_t n_threads = (size_t)fkmi_pool_threads_here(context->pool);
    struct fkmi_carve carve = {NULL, 0}, points = {NULL, 0};
    struct block_scratch measured;

    carve_block(&measured, &carve, job);
    job->scratch_per_thread = carve.used;
    carve_points(job, &points, drawn);
    FKMI_TRY(fkmi_scratch_take(context, carve.used * n_threads + points.used, memory));
    job->scratch = *memory;
    points = (struct fkmi_carve){job->scratch + carve.used * n_threads, 0};
    carve_points(job, &points, drawn);
    return FKM_OK;
}

/* ---- what minima count for */

static double weight_of(const struct fkmi_minima *minima, int64_t i)
{
    return minima->work->wish.alike ? 1.0 : fkmi_row_weight(&minima->rows, i);
}

static double counted(const struct fkmi_minima *minima, double distance)
{
    return minima->work->space.metric == FKM_METRIC_L1 ? distance * distance : distance;
}

double fkmi_minima_pull(const struct fkmi_minima *minima, int64_t i)
{
    return weight_of(minima, i) * counted(minima, minima->distance[i]);
}

static int64_t rows_of(const struct fkmi_minima *minima, int64_t block)
{
    const int64_t left = minima->rows.n - block * BLOCK;

    return left < BLOCK ? left : BLOCK;
}

static fkm_status sum_blocks(void *argument, int64_t begin, int64_t end, int thread)
{
    struct fkmi_minima *minima = argument;

    (void)thread;
    for (int64_t block = begin; block < end; block++) {
        const int64_t first = block * BLOCK, n = rows_of(minima, block);
        double sum[4] = {0}; /* additions side by side */

        for (int64_t i = 0; i < n; i++)
            sum[i & 3] += fkmi_minima_pull(minima, first + i);
        minima->sum[block] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    }
    return FKM_OK;
}

static fkm_status minima_settle(struct fkm_context *context, struct fkmi_minima *minima)
{
    return fkmi_parallel(context->pool, minima->n_blocks, 16, sum_blocks, minima);
}

/* ---- which points might be nearer */

/* Lists the block's rows that have to be measured, and with a sketch sets the bits of points that might be nearer; returns
 * how many. */
static int64_t list_rows(const struct minima_job *job, struct block_scratch *scratch, int64_t block)
{
    const struct fkmi_minima *minima = job->minima;
    const int64_t first = block * BLOCK, n = rows_of(minima, block), n_words = fkmi_sketch_words(job->k);
    int64_t n_listed = 0;

    if (scratch->maybe)
        fkmi_sketch_screen(minima->work->sketch, &minima->rows, &job->points, block, minima->distance + first,
                           &scratch->sketch, scratch->maybe);
    for (int64_t i = 0; i < n; i++) {
        const bool any = !scratch->maybe || scratch->maybe[i * n_words] != 0;

        scratch->listed[n_listed] = (int16_t)i;
        n_listed += any && minima->distance[first + i] > 0;
    }
    return n_listed;
}

/* ---- entries */

static fkm_status resize(const struct fkmi_minima_work *work, struct entries *entries, int64_t capacity)
{
    entries->capacity = 0;
    FKMI_TRY(fkmi_resize(&entries->distance, capacity, fkmi_real_size(work->space.real)));
    FKMI_TRY(fkmi_resize(&entries->row, capacity, sizeof *entries->row));
    entries->capacity = capacity;
    return FKM_OK;
}

static double entry_distance(const struct fkmi_minima_work *work, const struct entries *entries, int64_t e)
{
    return work->space.real == FKMI_REAL_F64 ? ((const double *)entries->distance)[e]
                                             : (double)((const float *)entries->distance)[e] * work->unscale;
}

static void set_entry(const struct fkmi_minima_work *work, const struct entries *entries, int64_t e,
                      int64_t row, double distance)
{
    entries->row[e] = (uint16_t)row;
    if (work->space.real == FKMI_REAL_F64)
        ((double *)entries->distance)[e] = distance;
    else /* no distance becomes 0 */
        ((float *)entries->distance)[e] =
            distance > 0 ? fmaxf((float)(distance * work->scale), FLT_TRUE_MIN) : 0;
}

/* ---- looking */

static double beyond_same(const struct fkmi_minima *minima, double distance)
{
    return distance > minima->work->wish.same ? distance : 0;
}

static fkm_status make_room(const struct fkmi_minima_work *work, struct gathered *gathered, int64_t more)
{
    const int64_t wanted = gathered->n + more;
    int64_t capacity = gathered->entries.capacity > 0 ? gathered->entries.capacity : 2048;

    if (wanted <= gathered->entries.capacity)
        return FKM_OK;
    while (capacity < wanted)
        capacity *= 2;
    FKMI_TRY(fkmi_resize(&gathered->point, capacity, sizeof *gathered->point));
    return resize(work, &gathered->entries, capacity);
}

/* The points of a row's words; returns how many. */
static int64_t points_of(const uint32_t *words, int32_t *points)
{
    int64_t n = 0;

    for (uint32_t count = words[0]; count; count &= count - 1) {
        const int w = __builtin_ctz(count);

        for (uint32_t bits = words[1 + w]; bits; bits &= bits - 1)
            points[n++] = 32 * w + __builtin_ctz(bits);
    }
    return n;
}

/* Distances of a row to the points that might be nearer, whose numbers are in scratch->point. Returns how many. */
static int64_t measure_row(const struct minima_job *job, struct block_scratch *scratch, int64_t block,
                           int64_t i)
{
    int64_t n = job->k;

    if (fkmi_rows_sparse(&job->minima->rows)) {
        fkmi_meeting_row(&job->meeting, block * BLOCK + i, scratch->distance);
        return n;
    }
    if (scratch->maybe)
        n = points_of(scratch->maybe + i * fkmi_sketch_words(job->k), scratch->point);
    fkmi_direct_row(&scratch->direct, block * BLOCK + i);
    for (int64_t begin = 0; begin < n; begin += FKMI_DIRECT_MOST)
        fkmi_direct_distances(&scratch->direct, scratch->point + begin,
                              n - begin < FKMI_DIRECT_MOST ? (int)(n - begin) : FKMI_DIRECT_MOST,
                              scratch->distance + begin);
    return n;
}

static fkm_status look_at_block(const struct minima_job *job, struct block_scratch *scratch, int64_t block,
                                struct gathered *gathered, int64_t *n_left)
{
    const struct fkmi_minima *minima = job->minima;
    const bool sparse = fkmi_rows_sparse(&minima->rows);
    const int64_t first = block * BLOCK, n_listed = list_rows(job, scratch, block);
    const int64_t before = block % minima->work->part_blocks * BLOCK; /* rows of the part */

    for (int64_t at = 0; !sparse && at < n_listed && at < ROWS_AHEAD; at++)
        fkmi_fetch_row(&minima->rows, first + scratch->listed[at], FKMI_LONG_ROW);
    for (int64_t at = 0; at < n_listed; at++) {
        const int64_t i = scratch->listed[at];
        const double held = minima->distance[first + i];
        int64_t n;

        FKMI_TRY(fkmi_check_every(ROWS_PER_CHECK, at));
        FKMI_TRY(make_room(minima->work, gathered, job->k));
        if (!sparse && at + ROWS_AHEAD < n_listed)
            fkmi_fetch_row(&minima->rows, first + scratch->listed[at + ROWS_AHEAD], FKMI_LONG_ROW);
        n = measure_row(job, scratch, block, i);
        for (int64_t p = 0; p < n; p++) {
            if (!(scratch->distance[p] < held))
                continue;
            set_entry(minima->work, &gathered->entries, gathered->n, before + i,
                      beyond_same(minima, scratch->distance[p]));
            gathered->point[gathered->n++] = (uint16_t)scratch->point[p];
        }
        *n_left += n;
    }
    return FKM_OK;
}

/* Row by row becomes point by point. */
static fkm_status keep(const struct fkmi_minima_work *work, struct part *part,
                       const struct gathered *gathered)
{
    const size_t size = fkmi_real_size(work->space.real);
    uint32_t *begin;

    if (gathered->n > part->nearer.capacity || part->nearer.capacity > gathered->n + gathered->n / 8 + SPARE)
        FKMI_TRY(resize(work, &part->nearer, gathered->n));
    if (work->k >= part->n_begins) {
        FKMI_TRY(fkmi_resize(&part->begin, work->k + 1, sizeof *part->begin));
        part->n_begins = work->k + 1;
    }
    begin = part->begin;
    memset(begin, 0, (size_t)(work->k + 1) * sizeof *begin);
    for (int64_t e = 0; e < gathered->n; e++)
        begin[gathered->point[e] + 1]++;
    for (int64_t j = 0; j < work->k; j++)
        begin[j + 1] += begin[j];
    for (int64_t e = 0; e < gathered->n; e++) {
        const uint32_t at = begin[gathered->point[e]]++;

        memcpy((char *)part->nearer.distance + at * size,
               (const char *)gathered->entries.distance + (size_t)e * size, size);
        part->nearer.row[at] = gathered->entries.row[e];
    }
    memmove(begin + 1, begin, (size_t)work->k * sizeof *begin);
    begin[0] = 0;
    return FKM_OK;
}

static fkm_status look_at_parts(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct minima_job *job = argument;
    const struct fkmi_minima *minima = job->minima;
    struct fkmi_minima_work *work = minima->work;
    struct block_scratch scratch = scratch_of(job, thread);
    struct gathered *gathered = &work->gathered[thread];

    for (int64_t j = 0; j < job->k; j++)
        scratch.point[j] = (int32_t)j;
    for (int64_t at = begin; at < end; at++) {
        struct part *part = &work->parts[at];
        const int64_t first = at * work->part_blocks, after = first + work->part_blocks;

        gathered->n = part->n_left = 0;
        for (int64_t block = first; block < after && block < minima->n_blocks; block++)
            FKMI_TRY(look_at_block(job, &scratch, block, gathered, &part->n_left));
        FKMI_TRY(keep(work, part, gathered));
    }
    return FKM_OK;
}

/* ---- bytes, where they are worth it */

/* What a pair of a row and a point costs, about, in ns: of whole rows by bytes, directly, and directly by itself. Whole rows
 * are made bytes once for all points of a look. */
static double cost_of_whole(const struct fkmi_minima *minima, int64_t n_points)
{
    return (double)minima->rows.dim * (1.0 / 200 + 0.5 / (double)n_points);
}

static double cost_of_all(const struct fkmi_minima *minima) { return 1 + (double)minima->rows.dim / 40; }

static double cost_of_distance(const struct fkmi_minima *minima)
{
    return 10 + (double)minima->rows.dim / 12;
}

/* The least of what a pair costs without directions. */
static double cost_without(struct fkm_context *context, const struct fkmi_minima *minima, int64_t n_points)
{
    return fkmi_sketch_possible_whole(context, &minima->work->space, &minima->rows)
               ? fmin(cost_of_whole(minima, n_points), cost_of_all(minima))
               : cost_of_all(minima);
}

/* The share of pairs that directions may leave to be worth it: those that whole rows leave, and as many as can be measured
 * while whole rows are looked at. */
static double most_left(struct fkm_context *context, const struct fkmi_minima *minima, int64_t n_points)
{
    const double share = cost_without(context, minima, n_points) / cost_of_distance(minima);

    return fmin(share + minima->work->left_whole, 0.5);
}

/* Whether the looks to come would cost clearly more than directions do. */
static bool looks_are_many(struct fkm_context *context, const struct fkmi_minima *minima, int64_t n_points)
{
    const struct fkmi_minima_wish *wish = &minima->work->wish;
    const double to_come = (double)(wish->k - minima->work->n_taken) * (double)wish->n_trials;

    return to_come * (double)minima->rows.n * cost_without(context, minima, n_points) >
           2 * fkmi_sketch_cost(&minima->rows);
}

/* What the last look left to be measured. Directions that were worth it may be so no longer, once many points share the price
 * of bytes of whole rows. */
static void judge_sketch(struct fkm_context *context, struct fkmi_minima *minima)
{
    struct fkmi_minima_work *work = minima->work;
    double left = 0;

    if (!work->sketch || work->k == 0 || work->wish.screening != FKMI_SCREEN_IF_WORTH)
        return;
    for (int64_t p = 0; p < work->n_parts; p++)
        left += (double)work->parts[p].n_left;
    left /= (double)minima->rows.n * (double)work->k;
    if (work->sketch->whole)
        work->left_whole = left;
    else if (left > 1.5 * most_left(context, minima, work->k)) {
        fkmi_sketch_free(work->sketch);
        work->sketch = NULL;
        work->next_probe = 2 * work->n_taken;
    }
}

/* Rows along directions, found at the first time of asking. */
static fkm_status make_sketch(struct fkm_context *context, struct fkmi_minima *minima, double most)
{
    struct fkmi_minima_work *work = minima->work;
    struct fkmi_sketch *sketch;

    if (!work->trial)
        FKMI_TRY(fkmi_sketch_try(context, &work->space, &minima->rows, &work->trial));
    if (most < 1 && fkmi_sketch_left(work->trial, minima->distance) > most)
        return FKM_OK;
    FKMI_TRY(fkmi_sketch_create(context, work->trial, &sketch));
    fkmi_sketch_trial_free(work->trial);
    work->trial = NULL;
    fkmi_sketch_free(work->sketch);
    work->sketch = sketch;
    return FKM_OK;
}

/* Directions, once they are worth it; until then, whole rows. */
static fkm_status look_for_sketch(struct fkm_context *context, struct fkmi_minima *minima, int64_t n_points)
{
    struct fkmi_minima_work *work = minima->work;
    const struct fkmi_space *space = &work->space;
    const bool whole = fkmi_sketch_possible_whole(context, space, &minima->rows);

    if (!fkmi_sketch_possible(context, space, &minima->rows))
        return FKM_OK;
    switch (work->wish.screening) {
    case FKMI_SCREEN_NOTHING:
        return FKM_OK;
    case FKMI_SCREEN_SKETCH:
        return work->sketch ? FKM_OK : make_sketch(context, minima, 1);
    case FKMI_SCREEN_WHOLE:
        return work->sketch || !whole
                   ? FKM_OK
                   : fkmi_sketch_create_whole(context, space, &minima->rows, &work->sketch);
    default:
        break;
    }
    if (minima->rows.n < LEAST_ROWS || work->n_taken < LEAST_POINTS)
        return FKM_OK;
    if ((!work->sketch || work->sketch->whole) && work->n_taken >= work->next_probe &&
        looks_are_many(context, minima, n_points))
        FKMI_TRY(make_sketch(context, minima, most_left(context, minima, n_points)));
    if (!work->sketch && whole && cost_of_whole(minima, n_points) < cost_of_all(minima))
        FKMI_TRY(fkmi_sketch_create_whole(context, space, &minima->rows, &work->sketch));
    return FKM_OK;
}

static fkm_status minima_look(struct fkm_context *context, struct fkmi_minima *minima,
                              const struct fkmi_pack *pack, const int64_t *drawn, int64_t k)
{
    struct fkmi_minima_work *work = minima->work;
    struct minima_job job = {.minima = minima, .pack = pack, .k = k};
    void *memory = NULL;
    fkm_status status = FKM_OK;

    assert(k <= FKMI_MOST_TRIALS && work->n_taken > 0);
    FKMI_TRY_GOTO(look_for_sketch(context, minima, k));
    work->k = k;
    FKMI_TRY_GOTO(take_scratch(context, &job, drawn, &memory));
    if (work->sketch) {
        struct block_scratch scratch = scratch_of(&job, 0);

        fkmi_sketch_load_points(work->sketch, &minima->rows, drawn, &scratch.sketch, &job.points);
    }
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, work->n_parts, 1, look_at_parts, &job));
    judge_sketch(context, minima);
done:
    fkmi_scratch_give(context, memory);
    return status;
}

/* ---- what a look found */

static double minima_listed(const struct fkmi_minima *minima)
{
    const struct fkmi_minima_work *work = minima->work;
    double n = 0;

    if (work->k == 0)
        return (double)minima->rows.n;
    for (int64_t p = 0; p < work->n_parts; p++)
        n += work->parts[p].begin[work->k];
    return n / (double)work->k;
}

static double minima_gain(const struct fkmi_minima *minima, int64_t j)
{
    const struct fkmi_minima_work *work = minima->work;
    double gain = 0;

    for (int64_t p = 0; p < work->n_parts; p++) {
        const struct part *part = &work->parts[p];
        const int64_t first = p * work->part_blocks * BLOCK;

        for (uint32_t e = part->begin[j]; e < part->begin[j + 1]; e++) {
            const int64_t i = first + part->nearer.row[e];
            const double held = minima->distance[i], d = entry_distance(work, &part->nearer, e);

            if (d < held)
                gain += weight_of(minima, i) * (counted(minima, held) - counted(minima, d));
        }
    }
    return gain;
}

static void minima_take(struct fkmi_minima *minima, int64_t j)
{
    struct fkmi_minima_work *work = minima->work;

    for (int64_t p = 0; p < work->n_parts; p++) {
        const struct part *part = &work->parts[p];
        double *held = minima->distance + p * work->part_blocks * BLOCK;

        for (uint32_t e = part->begin[j]; e < part->begin[j + 1]; e++) {
            const double d = entry_distance(work, &part->nearer, e);

            held[part->nearer.row[e]] = d < held[part->nearer.row[e]] ? d : held[part->nearer.row[e]];
        }
    }
    work->n_taken++;
}

/* ---- the beginning and the end */

static fkm_status measure_blocks(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct minima_job *job = argument;
    struct fkmi_minima *minima = job->minima;
    struct block_scratch scratch = scratch_of(job, thread);

    for (int64_t i = begin * BLOCK; i < end * BLOCK && i < minima->rows.n; i++) {
        double distance;

        FKMI_TRY(fkmi_check_every(ROWS_PER_CHECK, i));
        if (!(minima->distance[i] > 0))
            continue;
        if (fkmi_rows_sparse(&minima->rows))
            fkmi_meeting_row(&job->meeting, i, &distance);
        else {
            fkmi_direct_row(&scratch.direct, i);
            distance = fkmi_direct_distance(&scratch.direct, 0);
        }
        minima->distance[i] = beyond_same(minima, distance);
    }
    return FKM_OK;
}

/* For floats that hold distances: none is larger than those to the first point. */
static void find_scale(const struct fkmi_minima *minima)
{
    double most = 0;
    int exponent;

    for (int64_t i = 0; i < minima->rows.n; i++)
        most = minima->distance[i] > most ? minima->distance[i] : most;
    exponent = most > 0 && isfinite(most) ? ilogb(most) : 0;
    exponent = exponent < -1000 ? -1000 : exponent; /* of floats none is as small */
    minima->work->scale = ldexp(1, -exponent);
    minima->work->unscale = ldexp(1, exponent);
}

static fkm_status minima_start(struct fkm_context *context, struct fkmi_minima *minima,
                               const struct fkmi_pack *pack, const int64_t *drawn)
{
    struct minima_job job = {.minima = minima, .pack = pack, .k = 1};
    void *memory = NULL;
    fkm_status status = FKM_OK;

    FKMI_TRY_GOTO(take_scratch(context, &job, drawn, &memory));
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, minima->n_blocks, 1, measure_blocks, &job));
    minima->work->n_taken = 1;
    find_scale(minima);
    FKMI_TRY_GOTO(minima_settle(context, minima));
done:
    fkmi_scratch_give(context, memory);
    return status;
}

static fkm_status start_blocks(void *argument, int64_t begin, int64_t end, int thread)
{
    struct fkmi_minima *minima = argument;

    (void)thread;
    for (int64_t i = begin * BLOCK; i < end * BLOCK && i < minima->rows.n; i++)
        minima->distance[i] =
            weight_of(minima, i) > 0 && fkmi_row_scale(&minima->rows, &minima->work->space, i) > 0 ? 1 : 0;
    return FKM_OK;
}

static void free_entries(struct entries *entries)
{
    fkmi_free(entries->distance);
    fkmi_free(entries->row);
}

static void free_work(struct fkmi_minima_work *work)
{
    for (int64_t p = 0; work->parts && p < work->n_parts; p++) {
        free_entries(&work->parts[p].nearer);
        fkmi_free(work->parts[p].begin);
    }
    for (int t = 0; work->gathered && t < work->n_gathered; t++) {
        free_entries(&work->gathered[t].entries);
        fkmi_free(work->gathered[t].point);
    }
    fkmi_sketch_free(work->sketch);
    fkmi_sketch_trial_free(work->trial);
    fkmi_free(work->parts);
    fkmi_free(work->gathered);
    fkmi_free(work);
}

static void minima_free(struct fkmi_minima *minima)
{
    if (!minima)
        return;
    if (minima->work)
        free_work(minima->work);
    fkmi_free(minima->distance);
    fkmi_free(minima->sum);
    fkmi_free(minima);
}

static fkm_status minima_create(struct fkm_context *context, const struct fkmi_space *space,
                                const struct fkmi_rows *rows, const struct fkmi_minima_wish *wish,
                                struct fkmi_minima **out)
{
    struct fkmi_minima *minima = NULL;
    struct fkmi_minima_work *work;
    fkm_status status = FKM_OK;

    FKMI_TRY_GOTO(fkmi_alloc(&minima, 1, sizeof *minima));
    minima->rows = *rows;
    minima->block = BLOCK;
    minima->n_blocks = (rows->n - 1) / BLOCK + 1;
    FKMI_TRY_GOTO(fkmi_alloc(&minima->work, 1, sizeof *minima->work));
    work = minima->work;
    *work = (struct fkmi_minima_work){
        .space = *space, .wish = *wish, .n_gathered = fkmi_pool_threads(context->pool)};
    work->part_blocks = minima->n_blocks / LEAST_PARTS;
    work->part_blocks = work->part_blocks < 1             ? 1
                        : work->part_blocks > MOST_BLOCKS ? MOST_BLOCKS
                                                          : work->part_blocks;
    work->n_parts = (minima->n_blocks - 1) / work->part_blocks + 1;
    FKMI_TRY_GOTO(fkmi_alloc(&minima->distance, rows->n, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_alloc(&minima->sum, minima->n_blocks, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_alloc(&work->parts, work->n_parts, sizeof *work->parts));
    FKMI_TRY_GOTO(fkmi_alloc(&work->gathered, work->n_gathered, sizeof *work->gathered));
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, minima->n_blocks, 16, start_blocks, minima));
    FKMI_TRY_GOTO(minima_settle(context, minima));
    *out = minima;
    minima = NULL;
done:
    minima_free(minima);
    return status;
}

const struct fkmi_minima_family fkmi_minima_cpu = {minima_create, minima_start, minima_look,   minima_listed,
                                                   minima_gain,   minima_take,  minima_settle, minima_free};
