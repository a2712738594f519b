/* passes.c — a pass over rows whose last labels are known: rows whose bounds say that they stay are not read at all.
 *
 * The others are sorted by their last label and go through near.c, cell by cell, in chunks that stay in L2; those that
 * change sides are taken off one sum and put to another afterwards, in an order of labels and rows alone. So the sums
 * have the same bits, whatever was found out in which way and on which thread.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/passes.h"

#include <assert.h>
#include <string.h>

#include "backends/cpu/passes_inside.h"
#include "backends/cpu/screen_bytes.h"
#include "base/interrupt.h"

#define LEAST_ROWS      2048 /* below, a pass is over before anything pays */
#define LEAST_K         8
#define ROWS_FOR_POINT  8     /* a prototype's own neighbours are found once for its rows */
#define MOST_K          16384 /* of which a thread holds how far they are from some others */
#define CHUNKS_PER_SPAN 16
#define ITEMS_WANTED    64
#define PART_ROWS       16384 /* so many open rows are sorted by cell, so that what is known of a row stays near: */
#define PART_ROWS_OF_K  1024 /* so many, or so many for each cell */
#define PASSES_TO_SKIP  7    /* after one in which most rows had to meet all prototypes */

static void passes_free(struct fkmi_passes *passes)
{
    if (!passes)
        return;
    fkmi_free(passes->points);
    fkmi_free(passes->drift);
    if (passes->order != passes->room)
        fkmi_free(passes->order);
    fkmi_free(passes->cells);
    fkmi_free(passes->mean);
    fkmi_free(passes);
}

static fkm_status passes_create(struct fkm_context *context, const struct fkmi_space *space,
                                const struct fkmi_rows *rows, fkm_dtype dtype, int64_t k,
                                enum fkmi_scan_bytes wish, int32_t *room, struct fkmi_passes **out)
{
    const struct fkmi_byte_tile *tile = &context->kernels->bytes;
    struct fkmi_passes *passes = NULL;
    fkm_status status = FKM_OK;

    *out = NULL;
    if (wish == FKMI_BYTES_NEVER || fkmi_rows_sparse(rows) || rows->mask || !tile->runs_here() ||
        space->metric != FKM_METRIC_EUCLIDEAN || space->real != FKMI_REAL_F32 || k > MOST_K || rows->n < 1 ||
        rows->n > INT32_MAX)
        return FKM_OK;
    if (wish == FKMI_BYTES_IF_WORTH &&
        (tile->least_k == 0 || rows->n < LEAST_ROWS || k < LEAST_K || rows->n / k < ROWS_FOR_POINT))
        return FKM_OK;
    FKMI_TRY_GOTO(fkmi_alloc(&passes, 1, sizeof *passes));
    *passes = (struct fkmi_passes){.n = rows->n,
                                   .k = k,
                                   .dim = rows->dim,
                                   .n_open = rows->n,
                                   .room = room,
                                   .always = wish == FKMI_BYTES_ALWAYS,
                                   .point_size = (size_t)rows->dim * fkmi_dtype_size(dtype)};
    FKMI_TRY_GOTO(fkmi_alloc(&passes->points, k, passes->point_size));
    FKMI_TRY_GOTO(fkmi_alloc(&passes->drift, k, sizeof *passes->drift));
    FKMI_TRY_GOTO(fkmi_alloc(&passes->cells, k, sizeof *passes->cells));
    FKMI_TRY_GOTO(fkmi_alloc(&passes->mean, rows->dim, sizeof *passes->mean));
    *out = passes;
    passes = NULL;
done:
    passes_free(passes);
    return status;
}

/* The first pass does without, and takes as much for other things: that is freed before. */
static fkm_status take_rows(struct fkm_context *context, struct fkmi_passes *passes)
{
    if (passes->order)
        return FKM_OK;
    passes->order = passes->room;
    fkmi_scratch_trim(context);
    return passes->order ? FKM_OK : fkmi_alloc(&passes->order, passes->n, sizeof *passes->order);
}

static void passes_changed(struct fkmi_passes *passes, int what)
{
    if (what & (FKMI_CHANGED_INDEX | FKMI_CHANGED_DISTANCE))
        passes->bounded = false;
    if (what & (FKMI_CHANGED_INDEX | FKMI_CHANGED_SUMS))
        passes->summed = false;
}

static int64_t rows_per_span(const struct fkmi_rows *rows) { return fkmi_near_rows(rows) * CHUNKS_PER_SPAN; }

/* ---- open rows by cell, part by part */

static int is_open(const struct fkmi_pass_job *job, int64_t i)
{
    return (job->pass->index[i] >= 0) & !(job->bound[i].low > 0);
}

/* A counting sort of one part of the rows, without branches, which could not be foreseen. */
static void sort_part(const struct fkmi_pass_job *job, int64_t part)
{
    const int64_t k = job->passes->k, first = part * job->part_rows, left = job->rows->n - first;
    const int64_t last = first + (left < job->part_rows ? left : job->part_rows);
    const int32_t *index = job->pass->index;
    int32_t *begin = job->begin + part * (k + 1), at = (int32_t)first, none;

    memset(begin, 0, (size_t)(k + 1) * sizeof *begin);
    for (int64_t i = first; i < last; i++)
        begin[index[i] + 1] += is_open(job, i); /* index -1: of nothing */
    for (int64_t j = 0; j <= k; j++) /* begin[j + 1] walks from behind the last row of j to its first */
        begin[j] = at += begin[j];
    for (int64_t i = last; i-- > first;) {
        const int open = is_open(job, i);
        const int32_t place = begin[index[i] + 1] -= open;
        int32_t *to = open ? &job->passes->order[place] : &none;

        *to = (int32_t)i;
    }
    memmove(begin, begin + 1, (size_t)k * sizeof *begin);
    begin[k] = at;
}

static fkm_status sort_parts(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct fkmi_pass_job *job = argument;

    (void)thread;
    for (int64_t part = begin; part < end; part++)
        sort_part(job, part);
    return FKM_OK;
}

/* ---- spans */

static fkm_status run_span(const struct fkmi_pass_job *job, struct fkmi_near *near, struct fkmi_span *span,
                           int c)
{
    const int64_t chunk = fkmi_near_rows(job->rows);
    int32_t *order = job->passes->order + span->begin;

    near->total = 0;
    for (int64_t first = 0; first < span->n; first += chunk) {
        const int64_t n = span->n - first < chunk ? span->n - first : chunk;

        FKMI_TRY(fkmi_check_interrupt());
        span->n_far += fkmi_near_assign(near, &job->near, c, order + first, n);
        for (int64_t i = first; i < first + n; i++)
            if (job->pass->index[order[i]] != span->cell || job->bound[order[i]].low == FKMI_NEAR_FAR)
                order[span->n_moved++] = order[i];
    }
    span->total = near->total;
    return FKM_OK;
}

/* Spans begin .. end: at most as many as a tile of bytes has rows. */
static fkm_status run_spans(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct fkmi_pass_job *job = argument;
    struct fkmi_carve carve = {job->scratch + (size_t)thread * job->scratch_per_thread, 0};
    struct fkmi_near near;
    int32_t cells[32];
    int n_cells = 0;

    fkmi_near_carve(&near, &carve, &job->near);
    for (int64_t s = begin; s < end; s++)
        if (n_cells == 0 || cells[n_cells - 1] != job->spans[s].cell)
            cells[n_cells++] = job->spans[s].cell;
    fkmi_near_measure(&near, &job->near, cells, n_cells);
    n_cells = 0;
    for (int64_t s = begin; s < end; s++) {
        n_cells += cells[n_cells] != job->spans[s].cell;
        FKMI_TRY(run_span(job, &near, &job->spans[s], n_cells));
    }
    return FKM_OK;
}

static int64_t count_spans(const struct fkmi_pass_job *job)
{
    const int64_t k = job->passes->k, most = rows_per_span(job->rows);
    int64_t n = 0;

    for (int64_t at = 0; at < job->n_parts * k; at++) {
        const int32_t *begin = job->begin + at / k * (k + 1) + at % k;

        n += (begin[1] - begin[0] + most - 1) / most;
    }
    return n;
}

/* Those of one part after the other. */
static void cut_spans(struct fkmi_pass_job *job)
{
    const int64_t most = rows_per_span(job->rows), k = job->passes->k;
    int64_t n = 0;

    for (int64_t j = 0; j < k; j++)
        job->first_span[j] = -1;
    for (int64_t at = 0; at < job->n_parts * k; at++) {
        const int64_t part = at / k, j = at % k;
        const int32_t *cell = job->begin + part * (k + 1) + j;

        for (int64_t begin = cell[0]; begin < cell[1]; begin += most) {
            job->spans[n] = (struct fkmi_span){.begin = begin,
                                               .n = cell[1] - begin < most ? cell[1] - begin : most,
                                               .next = -1,
                                               .cell = (int32_t)j};
            if (job->first_span[j] < 0)
                job->first_span[j] = n;
            else
                job->spans[job->last_span[j]].next = n;
            job->last_span[j] = n++;
        }
    }
    assert(n == job->n_spans);
}

/* The rows' memory is given back at once: what comes after needs as much. */
static fkm_status run_all_spans(struct fkm_context *context, struct fkmi_pass_job *job)
{
    const int rows = context->kernels->bytes.rows;
    const int64_t block = (job->n_spans - 1) / ITEMS_WANTED + 1;
    struct fkmi_carve carve = {NULL, 0};
    struct fkmi_near near;
    void *memory = NULL;
    fkm_status status = FKM_OK;

    fkmi_near_carve(&near, &carve, &job->near);
    job->scratch_per_thread = carve.used;
    FKMI_TRY_GOTO(
        fkmi_scratch_take(context, carve.used * (size_t)fkmi_pool_threads_here(context->pool), &memory));
    job->scratch = memory;
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, job->n_spans, block > rows ? rows : block, run_spans, job));
done:
    fkmi_scratch_give(context, memory);
    return status;
}

/* Open rows find their labels and bounds, and the sums follow. */
static fkm_status run_cells(struct fkm_context *context, struct fkmi_pass_job *job)
{
    const int64_t k = job->passes->k, n_spans = count_spans(job);
    const bool summed = job->passes->summed;
    int64_t n_far = 0;
    struct fkmi_carve carve = {NULL, 0};
    void *memory = NULL;
    fkm_status status = FKM_OK;

    for (int turn = 0; turn < 2; turn++) {
        job->spans = fkmi_carve(&carve, n_spans, sizeof *job->spans);
        job->first_span = fkmi_carve(&carve, k, sizeof *job->first_span);
        job->last_span = fkmi_carve(&carve, k, sizeof *job->last_span);
        if (turn == 0) {
            FKMI_TRY_GOTO(fkmi_scratch_take(context, carve.used, &memory));
            carve = (struct fkmi_carve){memory, 0};
        }
    }
    job->n_spans = n_spans;
    cut_spans(job);
    job->passes->summed = false;
    FKMI_TRY_GOTO(run_all_spans(context, job));
    job->passes->n_open = 0;
    for (int64_t s = 0; s < n_spans; s++) {
        n_far += job->spans[s].n_far;
        job->passes->n_open += job->spans[s].n;
        job->total += job->spans[s].total;
    }
    FKMI_TRY_GOTO(fkmi_pass_scan_far(context, job, n_far));
    if (2 * n_far > job->rows->n && !job->passes->always)
        job->passes->n_skipped = PASSES_TO_SKIP;
    if (summed)
        FKMI_TRY_GOTO(fkmi_pass_move_rows(context, job));
    else
        FKMI_TRY_GOTO(fkmi_pass_add_all(context, job->passes, job->rows, job->pass));
done:
    fkmi_scratch_give(context, memory);
    return status;
}

/* ---- a pass */

/* Labels and distances by a scan of all rows and prototypes. */
static fkm_status meet_all(struct fkm_context *context, struct fkmi_passes *passes,
                           const struct fkmi_rows *rows, const struct fkmi_pass *pass)
{
    const struct fkmi_scan scan = fkmi_pass_scan(pass);
    double total;

    passes->bounded = passes->summed = false;
    FKMI_TRY(fkmi_cpu_scan(context, rows, pass->pack, &scan));
    FKMI_TRY(fkmi_pass_add_all(context, passes, rows, pass));
    FKMI_TRY(fkmi_pass_add_distances(context, rows, pass, &total));
    return fkmi_pass_total(context, passes, rows, pass, &total);
}

/* From the labels of the last pass. */
static fkm_status meet_near(struct fkm_context *context, struct fkmi_passes *passes,
                            const struct fkmi_rows *rows, const struct fkmi_pass *pass,
                            const struct fkmi_screen *screen)
{
    const int64_t k = passes->k, least = PART_ROWS_OF_K * k > PART_ROWS ? PART_ROWS_OF_K * k : PART_ROWS;
    const double share = (double)rows->n / (double)(passes->n_open > 0 ? passes->n_open : 1);
    const int64_t part_rows =
        (double)least * share < (double)rows->n ? (int64_t)((double)least * share) : rows->n;
    struct fkmi_pass_job job = {.passes = passes,
                                .rows = rows,
                                .pass = pass,
                                .bound = (void *)pass->distance,
                                .part_rows = part_rows,
                                .n_parts = (rows->n - 1) / part_rows + 1};
    void *begin = NULL;
    fkm_status status = FKM_OK;

    static_assert(sizeof *job.bound == sizeof *pass->distance, "distances make room for bounds");
    job.near = (struct fkmi_near_pass){.context = context,
                                       .rows = rows,
                                       .pack = pass->pack,
                                       .screen = screen,
                                       .class_begin = pass->kind == FKMI_SCAN_OWN ? pass->class_begin : NULL,
                                       .n_classes = pass->n_classes,
                                       .totals = !passes->known,
                                       .drift = passes->drift,
                                       .bound = job.bound,
                                       .index = pass->index};
    FKMI_TRY_GOTO(take_rows(context, passes));
    if (passes->known)
        FKMI_TRY_GOTO(fkmi_pass_drift(context, passes, pass->pack));
    else
        memset(passes->drift, 0, (size_t)k * sizeof *passes->drift);
    if (passes->bounded)
        FKMI_TRY_GOTO(fkmi_pass_bound(context, &job));
    else
        memset(job.bound, 0, (size_t)rows->n * sizeof *job.bound);
    passes->bounded = false;
    FKMI_TRY_GOTO(fkmi_scratch_take(context, (size_t)(job.n_parts * (k + 1)) * sizeof *job.begin, &begin));
    job.begin = begin;
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, job.n_parts, 1, sort_parts, &job));
    FKMI_TRY_GOTO(run_cells(context, &job));
    FKMI_TRY_GOTO(fkmi_pass_total(context, passes, rows, pass, job.near.totals ? &job.total : NULL));
done:
    fkmi_scratch_give(context, begin);
    return status;
}

/* After most rows had to meet all prototypes the next passes let them do so at once. */
static bool expect_far(struct fkmi_passes *passes)
{
    if (passes->n_skipped == 0)
        return false;
    passes->n_skipped--;
    return true;
}

static fkm_status passes_run(struct fkm_context *context, struct fkmi_passes *passes,
                             const struct fkmi_rows *rows, const struct fkmi_pass *pass)
{
    struct fkmi_screen *screen = NULL;
    bool heads, begun = passes->known;

    if (!begun)
        FKMI_TRY(fkmi_pass_guess(context, passes, rows, pass, &begun));
    if (begun && !expect_far(passes))
        FKMI_TRY(fkmi_screen_ready(context, pass->pack, rows, FKMI_BYTES_ALWAYS, 1, &screen, &heads));
    if (screen)
        FKMI_TRY(meet_near(context, passes, rows, pass, screen));
    else
        FKMI_TRY(meet_all(context, passes, rows, pass));
    memcpy(passes->points, pass->pack->points, (size_t)passes->k * passes->point_size);
    passes->bounded = screen != NULL;
    passes->known = true;
    return FKM_OK;
}

const struct fkmi_passes_family fkmi_passes_cpu = {
    .create = passes_create,
    .run = passes_run,
    .measure = fkmi_passes_measure,
    .pairs = fkmi_passes_pairs,
    .changed = passes_changed,
    .free = passes_free,
};
