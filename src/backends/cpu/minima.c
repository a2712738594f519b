/* minima.c — running minima of distances: which of a few points come nearer to which rows, and what that gains.
 *
 * A row is measured directly against the points that a cheap test could not rule out: the sketch where there is one,
 * scores of a tile for sparse rows. What a point gains is summed over the rows it comes nearer to, in their order, so
 * it does not depend on how many others were measured.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/minima.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "backends/cpu/sketch.h"
#include "base/interrupt.h"

enum {
    SMALL_BLOCK = 128, /* rows of a block where every one is measured */
    LEAST_ROWS = 2048, /* with a sketch, */
    LEAST_POINTS = 16, /* after so many points */
    PANELS_AT_ONCE = 32,
    ROWS_PER_CHECK = 64, /* for an interrupt */
    ROWS_AHEAD = 4,      /* asked for from memory before they are needed */
    TOUCHED_TOGETHER = 4 /* blocks not worth waking a thread for */
};

struct fkmi_minima_work {
    struct fkmi_space space;
    struct fkmi_sketch *sketch; /* or NULL */
    int64_t *order;
    struct fkmi_minima_wish wish;
    int64_t n_taken;
    int64_t most_entries, most_block_entries; /* sparse: of a row, of a block */
    uint16_t *nearer;                         /* n: bit j: point j of the last try is nearer */
    uint16_t *any;                            /* by block: all of these */
    int64_t *touched;                         /* blocks */
};

struct minima_job {
    struct fkmi_minima *minima;
    const struct fkmi_pack *pack;
    struct fkmi_sketch_points points;
    double *gain; /* n_blocks x k */
    int64_t taken;
    char *scratch;
    size_t scratch_per_thread;
};

/* What a thread needs for a block. */
struct block_scratch {
    struct fkmi_direct direct;
    struct fkmi_block block; /* sparse */
    float *scores, *other;
    int16_t *listed; /* rows to measure, from the first of the block */
};

static void carve_block(struct block_scratch *scratch, struct fkmi_carve *carve, const struct minima_job *job)
{
    const struct fkmi_minima *minima = job->minima;
    const struct fkmi_tile *tile = job->pack->tile;
    const bool sparse = fkmi_rows_sparse(&minima->rows);

    fkmi_direct_carve(&scratch->direct, carve, job->pack, &minima->rows, minima->work->most_entries);
    if (sparse)
        fkmi_block_carve(&scratch->block, carve, job->pack, &minima->rows, minima->block,
                         minima->work->most_block_entries);
    scratch->scores = fkmi_carve(carve, (int64_t)32 * 32, sizeof(double));
    scratch->other = fkmi_carve(carve, sparse ? (int64_t)tile->rows * tile->cols : 0, sizeof(double));
    scratch->listed = fkmi_carve(carve, minima->block, sizeof *scratch->listed);
}

static struct block_scratch scratch_of(const struct minima_job *job, int thread)
{
    struct fkmi_carve carve = {job->scratch + (size_t)thread * job->scratch_per_thread, 0};
    struct block_scratch scratch = {.listed = NULL};

    carve_block(&scratch, &carve, job);
    return scratch;
}

static fkm_status take_scratch(struct fkm_context *context, struct minima_job *job, size_t extra,
                               void **memory)
{
    const size_t n_threads = (size_t)fkmi_pool_threads_here(context->pool);
    struct fkmi_carve carve = {NULL, 0};
    struct block_scratch measured;

    carve_block(&measured, &carve, job);
    job->scratch_per_thread = carve.used;
    FKMI_TRY(fkmi_scratch_take(context, carve.used * n_threads + extra, memory));
    job->scratch = *memory;
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
    const int64_t left = minima->rows.n - block * minima->block;

    return left < minima->block ? left : minima->block;
}

static void sum_block(struct fkmi_minima *minima, int64_t block)
{
    const int64_t first = block * minima->block, n = rows_of(minima, block);
    const double *distance = minima->distance + first;
    double sum[8] = {0};

    if ((minima->work->wish.alike || !minima->rows.weight) && minima->work->space.metric != FKM_METRIC_L1) {
        int64_t i = 0;
        for (; i + 8 <= n; i += 8) /* eight sums: additions side by side */
            for (int lane = 0; lane < 8; lane++)
                sum[lane] += distance[i + lane];
        for (; i < n; i++)
            sum[0] += distance[i];
    } else
        for (int64_t i = 0; i < n; i++)
            sum[0] += fkmi_minima_pull(minima, first + i);
    minima->sum[block] = ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

/* ---- which points might be nearer */

/* A score that a point has at least when it is nearer than `distance`. */
static double score_at(const struct fkmi_pack *pack, const struct fkmi_row_facts *facts, double distance)
{
    double score;

    if (pack->space.metric == FKM_METRIC_EUCLIDEAN)
        score = (facts->square - distance / facts->factor) / 2;
    else if (pack->space.metric == FKM_METRIC_L1)
        score = -distance / facts->factor;
    else
        score = (1 - distance) * facts->size;
    return fkmi_score_threshold(facts, score);
}

static void screen_sparse(const struct minima_job *job, struct block_scratch *scratch, int64_t first,
                          int64_t n, uint16_t *maybe)
{
    const struct fkmi_pack *pack = job->pack;
    const int64_t rows = pack->tile->rows, cols = pack->tile->cols;

    fkmi_block_load(&scratch->block, pack, &job->minima->rows, NULL, first, n);
    for (int64_t i = 0; i < n; i++)
        maybe[i] = scratch->block.facts[i].unusual ? (uint16_t)((1u << pack->k) - 1) : 0;
    for (int64_t panel = 0; panel < pack->n_panels; panel++)
        for (int64_t t = 0; t < scratch->block.n_tiles; t++) {
            fkmi_block_scores(&scratch->block, pack, t, panel, scratch->scores, scratch->other);
            for (int64_t i = t * rows; i < n && i < (t + 1) * rows; i++) {
                const struct fkmi_row_facts *facts = &scratch->block.facts[i];
                const double least = score_at(pack, facts, job->minima->distance[first + i]);

                for (int64_t j = panel * cols; j < pack->k && j < (panel + 1) * cols; j++) {
                    const int64_t at = (i - t * rows) * cols + j - panel * cols;
                    const double score = pack->space.real == FKMI_REAL_F64
                                             ? ((const double *)(const void *)scratch->scores)[at]
                                             : (double)scratch->scores[at];
                    if (!(score < least)) /* nor when one of them is no number */
                        maybe[i] |= (uint16_t)(1u << j);
                }
            }
        }
}

/* Sets the bits of points that might be nearer, and lists their rows; returns how many. */
static int64_t list_rows(const struct minima_job *job, struct block_scratch *scratch, int64_t first,
                         int64_t n)
{
    const struct fkmi_minima *minima = job->minima;
    struct fkmi_minima_work *work = minima->work;
    const bool everything = work->wish.screening & FKMI_SCREEN_NOTHING;
    uint16_t *maybe = work->nearer + first;
    int64_t n_listed = 0;

    if (work->sketch && !everything)
        fkmi_sketch_screen(work->sketch, &job->points, first, n, scratch->scores, maybe);
    else if (fkmi_rows_sparse(&minima->rows) && !everything)
        screen_sparse(job, scratch, first, n, maybe);
    else
        for (int64_t i = 0; i < n; i++)
            maybe[i] = (uint16_t)((1u << job->pack->k) - 1);
    for (int64_t i = 0; i < n; i++) {
        uint64_t next;

        if (i + 4 <= n && (memcpy(&next, maybe + i, sizeof next), next == 0)) {
            i += 3; /* four rows without */
            continue;
        }
        if (!(minima->distance[first + i] > 0))
            maybe[i] = 0;
        scratch->listed[n_listed] = (int16_t)i;
        n_listed += maybe[i] != 0;
    }
    return n_listed;
}

/* ---- trying and taking */

static double beyond_same(const struct fkmi_minima *minima, double distance)
{
    return distance > minima->work->wish.same ? distance : 0;
}

/* A sparse row's distances jump about in memory: a few of them take a moment. */
static fkm_status check_at_row(const struct fkmi_minima *minima, int64_t i)
{
    return fkmi_check_every(fkmi_rows_sparse(&minima->rows) ? 1 : ROWS_PER_CHECK, i);
}

/* The numbers of the bits; returns how many. */
static int bits_of(unsigned bits, int32_t *numbers)
{
    int n = 0;

    for (; bits; bits &= bits - 1)
        numbers[n++] = __builtin_ctz(bits);
    return n;
}

static fkm_status try_block(const struct minima_job *job, struct block_scratch *scratch, int64_t block)
{
    const struct fkmi_minima *minima = job->minima;
    const int64_t first = block * minima->block, n = rows_of(minima, block);
    const int64_t n_listed = list_rows(job, scratch, first, n);
    double *gain = job->gain + block * job->pack->k;
    unsigned any = 0;

    for (int64_t j = 0; j < job->pack->k; j++)
        gain[j] = 0;
    for (int64_t at = 0; at < n_listed && at < ROWS_AHEAD; at++)
        fkmi_direct_fetch(&scratch->direct, first + scratch->listed[at], 0);
    for (int64_t at = 0; at < n_listed; at++) {
        const int64_t i = first + scratch->listed[at];
        const double held = minima->distance[i], weight = weight_of(minima, i), pull = counted(minima, held);
        double distance[FKMI_MOST_TRIALS];
        int32_t point[FKMI_MOST_TRIALS];
        const int n_points = bits_of(minima->work->nearer[i], point);
        unsigned nearer = 0;

        FKMI_TRY(check_at_row(minima, at));
        if (at + ROWS_AHEAD < n_listed)
            fkmi_direct_fetch(&scratch->direct, first + scratch->listed[at + ROWS_AHEAD], 0);
        fkmi_direct_row(&scratch->direct, i);
        fkmi_direct_distances(&scratch->direct, point, n_points, distance);
        for (int p = 0; p < n_points; p++) {
            const double d = beyond_same(minima, distance[p]);

            if (d < held) {
                nearer |= 1u << point[p];
                gain[point[p]] += weight * (pull - counted(minima, d));
            }
        }
        minima->work->nearer[i] = (uint16_t)nearer;
        any |= nearer;
    }
    minima->work->any[block] = (uint16_t)any;
    return FKM_OK;
}

static fkm_status try_blocks(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct minima_job *job = argument;
    struct block_scratch scratch = scratch_of(job, thread);

    for (int64_t block = begin; block < end; block++)
        FKMI_TRY(try_block(job, &scratch, block));
    return FKM_OK;
}

static fkm_status minima_try(struct fkm_context *context, struct fkmi_minima *minima,
                             const struct fkmi_pack *pack, const int64_t *drawn, double *gain)
{
    const struct fkmi_sketch *sketch = minima->work->sketch;
    const size_t points_size = sketch ? fkmi_sketch_points_size(sketch, pack->k) : 0;
    struct minima_job job = {.minima = minima, .pack = pack};
    struct fkmi_carve carve;
    void *memory = NULL;
    fkm_status status = FKM_OK;

    assert(pack->k <= FKMI_MOST_TRIALS && minima->work->n_taken > 0);
    FKMI_TRY_GOTO(take_scratch(
        context, &job, points_size + 128 + (size_t)(minima->n_blocks * pack->k) * sizeof(double), &memory));
    carve =
        (struct fkmi_carve){memory, job.scratch_per_thread * (size_t)fkmi_pool_threads_here(context->pool)};
    job.gain = fkmi_carve(&carve, minima->n_blocks * pack->k, sizeof(double));
    if (sketch)
        fkmi_sketch_load_points(sketch, drawn, pack->k, fkmi_carve(&carve, (int64_t)points_size, 1),
                                &job.points);
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, minima->n_blocks, 1, try_blocks, &job));
    for (int64_t j = 0; j < pack->k; j++) {
        gain[j] = 0;
        for (int64_t block = 0; block < minima->n_blocks; block++)
            gain[j] += job.gain[block * pack->k + j];
    }
done:
    fkmi_scratch_give(context, memory);
    return status;
}

/* Rows whose minimum the point lowers; the sketch of their panels follows. */
static fkm_status take_block(const struct minima_job *job, struct block_scratch *scratch, int64_t block)
{
    struct fkmi_minima *minima = job->minima;
    struct fkmi_sketch *sketch = minima->work->sketch;
    const int64_t first = block * minima->block, end = first + rows_of(minima, block);
    const int64_t together = sketch ? sketch->tile->cols : end - first;
    const uint16_t bit = (uint16_t)(1u << job->taken);

    for (int64_t begin = first; begin < end; begin += together) {
        bool changed = false;

        for (int64_t i = begin; i < begin + together && i < end; i++) {
            if (!(minima->work->nearer[i] & bit))
                continue;
            FKMI_TRY(check_at_row(minima, i));
            fkmi_direct_row(&scratch->direct, i);
            minima->distance[i] = beyond_same(minima, fkmi_direct_distance(&scratch->direct, job->taken));
            changed = true;
        }
        if (changed && sketch)
            fkmi_sketch_update(sketch, begin / together, minima->distance + begin);
    }
    sum_block(minima, block);
    return FKM_OK;
}

static fkm_status take_blocks(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct minima_job *job = argument;
    struct block_scratch scratch = scratch_of(job, thread);

    for (int64_t at = begin; at < end; at++)
        FKMI_TRY(take_block(job, &scratch, job->minima->work->touched[at]));
    return FKM_OK;
}

/* ---- the order of a sketch */

static fkm_status sketch_panels(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct fkmi_minima *minima = argument;
    struct fkmi_sketch *sketch = minima->work->sketch;

    (void)thread;
    for (int64_t panel = begin; panel < end; panel++)
        fkmi_sketch_update(sketch, panel, minima->distance + panel * sketch->tile->cols);
    return FKM_OK;
}

static fkm_status sum_blocks(void *argument, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    for (int64_t block = begin; block < end; block++)
        sum_block(argument, block);
    return FKM_OK;
}

/* values[i] = values[places[i]], in place: cycle by cycle, places done with are marked by their complement. */
static void permute(double *values, int64_t *places, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const double first = values[i];
        int64_t to = i;

        if (places[i] < 0)
            continue;
        while (places[to] != i) {
            const int64_t from = places[to];

            places[to] = ~from;
            values[to] = values[from];
            to = from;
        }
        places[to] = ~i;
        values[to] = first;
    }
    for (int64_t i = 0; i < n; i++)
        places[i] = ~places[i];
}

static bool is_time_for_a_sketch(const struct fkmi_minima *minima)
{
    const struct fkmi_minima_work *work = minima->work;
    const int64_t n = work->n_taken;

    if (work->sketch || !fkmi_sketch_possible(&work->space, &minima->rows))
        return false;
    if (work->wish.screening & FKMI_SCREEN_EARLY)
        return true;
    return minima->rows.n >= LEAST_ROWS && n >= LEAST_POINTS && (n & (n - 1)) == 0 && work->wish.k >= 2 * n;
}

/* Once a sketch is worth its price, rows take its order. */
static fkm_status make_sketch(struct fkm_context *context, struct fkmi_minima *minima)
{
    struct fkmi_minima_work *work = minima->work;
    const bool early = work->wish.screening & FKMI_SCREEN_EARLY;
    int64_t *places;

    FKMI_TRY(fkmi_sketch_create(context, &work->space, &minima->rows, early ? NULL : minima->distance,
                                &work->sketch, &places));
    if (!work->sketch)
        return FKM_OK;
    work->order = places;
    permute(minima->distance, places, minima->rows.n);
    for (int64_t i = 0; i < minima->rows.n; i++)
        places[i] = fkmi_row(&minima->rows, places[i]);
    minima->rows.order = work->order;
    minima->block = FKMI_MINIMA_BLOCK;
    minima->n_blocks = (minima->rows.n - 1) / minima->block + 1;
    FKMI_TRY(fkmi_parallel(context->pool, work->sketch->n_panels, PANELS_AT_ONCE, sketch_panels, minima));
    return fkmi_parallel(context->pool, minima->n_blocks, 1, sum_blocks, minima);
}

static fkm_status minima_take(struct fkm_context *context, struct fkmi_minima *minima,
                              const struct fkmi_pack *pack, int64_t j)
{
    struct fkmi_minima_work *work = minima->work;
    struct minima_job job = {.minima = minima, .pack = pack, .taken = j};
    int64_t n_touched = 0;
    void *memory = NULL;
    fkm_status status = FKM_OK;

    FKMI_TRY_GOTO(take_scratch(context, &job, 0, &memory));
    if (work->n_taken == 0) /* the first point lowers all that count */
        for (int64_t i = 0; i < minima->rows.n; i++)
            work->nearer[i] = (uint16_t)(minima->distance[i] > 0 ? 1u << j : 0u);
    for (int64_t block = 0; block < minima->n_blocks; block++)
        if (work->n_taken == 0 || work->any[block] >> j & 1)
            work->touched[n_touched++] = block;
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, n_touched,
                                n_touched <= TOUCHED_TOGETHER ? TOUCHED_TOGETHER : 1, take_blocks, &job));
    work->n_taken++;
    if (is_time_for_a_sketch(minima))
        FKMI_TRY_GOTO(make_sketch(context, minima));
done:
    fkmi_scratch_give(context, memory);
    return status;
}

/* ---- the beginning and the end */

static void count_entries(const struct fkmi_minima *minima)
{
    const struct fkmi_rows *rows = &minima->rows;
    struct fkmi_minima_work *work = minima->work;

    for (int64_t block = 0; fkmi_rows_sparse(rows) && block < minima->n_blocks; block++) {
        int64_t sum = 0;

        for (int64_t i = block * minima->block; i < block * minima->block + rows_of(minima, block); i++) {
            const int64_t row = fkmi_row(rows, i), entries = rows->indptr[row + 1] - rows->indptr[row];

            sum += entries;
            work->most_entries = entries > work->most_entries ? entries : work->most_entries;
        }
        work->most_block_entries = sum > work->most_block_entries ? sum : work->most_block_entries;
    }
}

static fkm_status start_blocks(void *argument, int64_t begin, int64_t end, int thread)
{
    struct fkmi_minima *minima = argument;

    (void)thread;
    for (int64_t block = begin; block < end; block++) {
        for (int64_t i = block * minima->block; i < block * minima->block + rows_of(minima, block); i++)
            minima->distance[i] =
                weight_of(minima, i) > 0 && fkmi_row_scale(&minima->rows, &minima->work->space, i) > 0 ? 1
                                                                                                       : 0;
        sum_block(minima, block);
    }
    return FKM_OK;
}

static void minima_free(struct fkmi_minima *minima)
{
    if (!minima)
        return;
    if (minima->work) {
        fkmi_sketch_free(minima->work->sketch);
        fkmi_free(minima->work->order);
        fkmi_free(minima->work->nearer);
        fkmi_free(minima->work->any);
        fkmi_free(minima->work->touched);
    }
    fkmi_free(minima->work);
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
    FKMI_TRY_GOTO(fkmi_alloc(&minima->work, 1, sizeof *minima->work));
    work = minima->work;
    *work = (struct fkmi_minima_work){.space = *space, .wish = *wish};
    minima->rows = *rows;
    minima->block = SMALL_BLOCK;
    minima->n_blocks = (rows->n - 1) / minima->block + 1;
    FKMI_TRY_GOTO(fkmi_alloc(&minima->distance, rows->n, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_alloc(&minima->sum, minima->n_blocks, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_alloc(&work->nearer, rows->n, sizeof *work->nearer));
    FKMI_TRY_GOTO(fkmi_alloc(&work->any, minima->n_blocks, sizeof *work->any));
    FKMI_TRY_GOTO(fkmi_alloc(&work->touched, minima->n_blocks, sizeof *work->touched));
    count_entries(minima);
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, minima->n_blocks, 1, start_blocks, minima));
    *out = minima;
    minima = NULL;
done:
    minima_free(minima);
    return status;
}

const struct fkmi_minima_family fkmi_minima_cpu = {minima_create, minima_try, minima_take, minima_free};
