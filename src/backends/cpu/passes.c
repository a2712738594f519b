/* passes.c — a pass over rows whose last labels are known: cell by cell, each row read from memory once.
 *
 * Rows are sorted by their last label and go through near.c in chunks that stay in L2; those that keep their label are
 * added up there and then, in row order, and those that change it afterwards, by where they came from. So the sums have
 * one order, whatever was found out in which way and on which thread. Long cells are cut into spans with sums of their
 * own, which are joined in order.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/passes.h"

#include <math.h>
#include <string.h>

#include "backends/cpu/near.h"
#include "backends/cpu/screen_bytes.h"
#include "base/interrupt.h"

#define LEAST_ROWS      2048 /* below, a pass is over before anything pays */
#define LEAST_K         8
#define ROWS_FOR_POINT  8     /* a prototype's own neighbours are found once for its rows */
#define MOST_K          16384 /* of which a thread holds how far they are from some others */
#define CHUNKS_PER_SPAN 16
#define ITEMS_WANTED    64
#define PART_ROWS       16384 /* sorted by cell in themselves, so that what is known of a row stays near: */
#define PART_ROWS_OF_K  256   /* so many, or so many for each cell */
#define PASSES_TO_SKIP  7     /* after one in which most rows had to meet all prototypes */
#define ROWS_TOGETHER   4     /* added in one go */

struct fkmi_passes {
    int64_t n, k, dim;
    size_t point_size;
    bool known, bounded; /* there was a pass; its bounds hold */
    bool always;         /* for tests */
    int n_skipped;       /* passes left to do by scans */
    void *points;        /* k x dim: of the last pass */
    double *drift;       /* k */
    int32_t *order;      /* n */
    float *bound;        /* n */
};

static void passes_free(struct fkmi_passes *passes)
{
    if (!passes)
        return;
    fkmi_free(passes->points);
    fkmi_free(passes->drift);
    fkmi_free(passes->order);
    fkmi_free(passes->bound);
    fkmi_free(passes);
}

static fkm_status passes_create(struct fkm_context *context, const struct fkmi_space *space,
                                const struct fkmi_rows *rows, fkm_dtype dtype, int64_t k,
                                enum fkmi_scan_bytes wish, struct fkmi_passes **out)
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
                                   .always = wish == FKMI_BYTES_ALWAYS,
                                   .point_size = (size_t)rows->dim * fkmi_dtype_size(dtype)};
    FKMI_TRY_GOTO(fkmi_alloc(&passes->points, k, passes->point_size));
    FKMI_TRY_GOTO(fkmi_alloc(&passes->drift, k, sizeof *passes->drift));
    *out = passes;
    passes = NULL;
done:
    passes_free(passes);
    return status;
}

/* The first pass does without, and takes as much for other things: that is freed before. */
static fkm_status take_rows(struct fkm_context *context, struct fkmi_passes *passes)
{
    if (passes->bound)
        return FKM_OK;
    fkmi_scratch_trim(context);
    if (!passes->order)
        FKMI_TRY(fkmi_alloc(&passes->order, passes->n, sizeof *passes->order));
    return fkmi_alloc(&passes->bound, passes->n, sizeof *passes->bound);
}

static void passes_forget(struct fkmi_passes *passes) { passes->bounded = false; }

/* ---- one pass */

struct span {
    int64_t begin, n, n_moved; /* of order; moved rows come last */
    int64_t n_far, next;       /* next: the cell's next span, -1: none */
    double *sum, mass;         /* of the rows that stay */
    int32_t cell;
};

struct pass_job {
    struct fkmi_passes *passes;
    const struct fkmi_rows *rows;
    const struct fkmi_pass *pass;
    struct fkmi_near_pass near;
    struct span *spans;
    int64_t n_spans;
    int64_t *first_span, *last_span; /* k: of each cell, -1: none */
    bool met;                        /* labels were found by a scan of everything */
    int64_t part_rows, n_parts;
    int32_t *begin; /* n_parts x (k + 1): rows of cell j in a part are order[begin[j] .. begin[j + 1]) */
    int64_t *moved_begin;
    int32_t *moved; /* rows that changed, by new label */
    char *scratch;
    size_t scratch_per_thread;
    int64_t n_far; /* rows that met all prototypes */
};

/* Room of a thread beside near's. */
struct room {
    struct fkmi_near near;
    int32_t *moved; /* rows of a span */
    char *reals;
};

static int64_t rows_per_span(const struct fkmi_rows *rows) { return fkmi_near_rows(rows) * CHUNKS_PER_SPAN; }

static void carve_room(struct room *room, struct fkmi_carve *carve, const struct pass_job *job)
{
    room->moved = fkmi_carve(carve, rows_per_span(job->rows), sizeof *room->moved);
    room->reals = fkmi_carve(carve, ROWS_TOGETHER * job->rows->dim, sizeof(double));
    if (!job->met)
        fkmi_near_carve(&room->near, carve, &job->near);
}

static void take_room(struct room *room, const struct pass_job *job, int thread)
{
    struct fkmi_carve carve = {job->scratch + (size_t)thread * job->scratch_per_thread, 0};

    carve_room(room, &carve, job);
}

/* ---- rows by cell, part by part */

/* A counting sort of one part of the rows. */
static void sort_part(const struct pass_job *job, int64_t part)
{
    const int64_t k = job->passes->k, first = part * job->part_rows, left = job->rows->n - first;
    const int64_t last = first + (left < job->part_rows ? left : job->part_rows);
    const int32_t *index = job->pass->index;
    int32_t *begin = job->begin + part * (k + 1), at = (int32_t)first;

    memset(begin, 0, (size_t)(k + 1) * sizeof *begin);
    for (int64_t i = first; i < last; i++)
        if (index[i] >= 0)
            begin[index[i] + 1]++;
        else
            job->pass->distance[i] = (double)INFINITY;
    for (int64_t j = 0; j <= k; j++) /* begin[j + 1] walks from behind the last row of j to its first */
        begin[j] = at += begin[j];
    for (int64_t i = last; i-- > first;)
        if (index[i] >= 0)
            job->passes->order[--begin[index[i] + 1]] = (int32_t)i;
    memmove(begin, begin + 1, (size_t)k * sizeof *begin);
    begin[k] = at;
}

static fkm_status sort_parts(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct pass_job *job = argument;

    (void)thread;
    for (int64_t part = begin; part < end; part++)
        sort_part(job, part);
    return FKM_OK;
}

/* How far prototypes have moved, as they are mapped. */
static void measure_drift(struct fkmi_passes *passes, const struct fkmi_pack *pack)
{
    const struct fkmi_vector *vector = &pack->kernels->vector[FKMI_REAL_F64];
    const double rounding = fkmi_screen_rounding(pack);

    for (int64_t j = 0; j < passes->k; j++) {
        const char *before = (const char *)passes->points + (size_t)j * passes->point_size;
        const char *now = (const char *)pack->points + (size_t)j * passes->point_size;
        double square = 0;

        for (int64_t d = 0; d < passes->dim; d += 256) {
            const int64_t n = passes->dim - d < 256 ? passes->dim - d : 256;
            const size_t at = (size_t)d * fkmi_dtype_size(pack->dtype);
            double a[256], b[256];

            vector->load[pack->dtype](a, before + at, n);
            vector->load[pack->dtype](b, now + at, n);
            square += vector->distance[FKM_METRIC_EUCLIDEAN](
                a, b, pack->feature_weights ? pack->feature_weights + d : NULL, n);
        }
        passes->drift[j] = sqrt(square) * (1 + 4 * rounding);
    }
}

/* ---- sums */

static const char *row_at(const struct fkmi_rows *rows, int64_t i)
{
    return (const char *)rows->x + (size_t)(fkmi_row(rows, i) * rows->stride) * fkmi_dtype_size(rows->dtype);
}

/* sum += u x, row after row; returns the sum of u. */
static double add_rows(const struct pass_job *job, const int32_t *row, int64_t n, double *sum, char *reals)
{
    const struct fkmi_rows *rows = job->rows;
    const struct fkmi_vector *vector = fkmi_pack_vector(job->pass->pack);
    const void *x[ROWS_TOGETHER];
    double scale[ROWS_TOGETHER], mass = 0;

    for (int64_t i = 0; i < n;) {
        int held = 0;

        for (; held < ROWS_TOGETHER && i < n; held++, i++) {
            if (i + 16 < n)
                __builtin_prefetch(row_at(rows, row[i + 16]));
            x[held] = row_at(rows, row[i]);
            scale[held] = fkmi_row_weight(rows, row[i]);
            mass += scale[held];
            if (rows->dtype != FKM_DTYPE_F32) {
                char *loaded = reals + (size_t)(held * rows->dim) * sizeof(float);

                vector->load[rows->dtype](loaded, x[held], rows->dim);
                x[held] = loaded;
            }
        }
        vector->add_rows_f64(sum, x, scale, held, rows->dim);
    }
    return mass;
}

static fkm_status run_span(const struct pass_job *job, struct room *room, struct span *span, int c)
{
    const int64_t chunk = fkmi_near_rows(job->rows);
    int32_t *order = job->passes->order + span->begin, *stayed = order;

    for (int64_t first = 0; first < span->n; first += chunk) {
        const int64_t n = span->n - first < chunk ? span->n - first : chunk;
        const int32_t *begin = stayed;
        int64_t n_far;

        FKMI_TRY(fkmi_check_interrupt());
        if (!job->met) {
            FKMI_TRY(fkmi_near_assign(&room->near, &job->near, c, order + first, n, &n_far));
            span->n_far += n_far;
        }
        for (int64_t i = first; i < first + n; i++)
            if (job->pass->index[order[i]] == span->cell)
                *stayed++ = order[i];
            else
                room->moved[span->n_moved++] = order[i];
        span->mass += add_rows(job, begin, stayed - begin, span->sum, room->reals);
    }
    memcpy(stayed, room->moved, (size_t)span->n_moved * sizeof *stayed);
    return FKM_OK;
}

/* Spans begin .. end: at most as many as a tile of bytes has rows. */
static fkm_status run_spans(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct pass_job *job = argument;
    struct room room;
    int32_t cells[32];
    int n_cells = 0;

    take_room(&room, job, thread);
    for (int64_t s = begin; s < end; s++)
        if (n_cells == 0 || cells[n_cells - 1] != job->spans[s].cell)
            cells[n_cells++] = job->spans[s].cell;
    if (!job->met)
        fkmi_near_measure(&room.near, &job->near, cells, n_cells);
    n_cells = 0;
    for (int64_t s = begin; s < end; s++) {
        n_cells += cells[n_cells] != job->spans[s].cell;
        FKMI_TRY(run_span(job, &room, &job->spans[s], n_cells));
    }
    return FKM_OK;
}

/* What changed sides, by where it came from, and the spans of one cell. */
static fkm_status join_cells(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct pass_job *job = argument;
    const int64_t dim = job->rows->dim;
    struct room room;

    take_room(&room, job, thread);
    for (int64_t j = begin; j < end; j++) {
        double *sum = job->pass->sum + j * dim;

        for (int64_t s = job->first_span[j]; s >= 0; s = job->spans[s].next) {
            for (int64_t d = 0; job->spans[s].sum != sum && d < dim; d++)
                sum[d] += job->spans[s].sum[d];
            job->pass->mass[j] += job->spans[s].mass;
        }
        job->pass->mass[j] += add_rows(job, job->moved + job->moved_begin[j],
                                       job->moved_begin[j + 1] - job->moved_begin[j], sum, room.reals);
    }
    return FKM_OK;
}

static fkm_status join(struct fkm_context *context, struct pass_job *job)
{
    const int64_t k = job->passes->k;
    int64_t *next = NULL, n_moved = 0;
    void *memory = NULL;
    struct fkmi_carve carve = {NULL, 0};
    fkm_status status = FKM_OK;

    for (int64_t s = 0; s < job->n_spans; s++)
        n_moved += job->spans[s].n_moved;
    for (int turn = 0; turn < 2; turn++) {
        job->moved = fkmi_carve(&carve, n_moved, sizeof *job->moved);
        job->moved_begin = fkmi_carve(&carve, k + 1, sizeof *job->moved_begin);
        next = fkmi_carve(&carve, k + 1, sizeof *next);
        if (turn == 0) {
            FKMI_TRY_GOTO(fkmi_scratch_take(context, carve.used, &memory));
            carve = (struct fkmi_carve){memory, 0};
        }
    }
    memset(next, 0, (size_t)(k + 1) * sizeof *next);
    for (int turn = 0; turn < 2; turn++) { /* counts, then places */
        for (int64_t s = 0; s < job->n_spans; s++) {
            const struct span *span = &job->spans[s];
            const int32_t *row = job->passes->order + span->begin + span->n - span->n_moved;

            for (int64_t i = 0; i < span->n_moved; i++)
                if (turn == 0)
                    next[job->pass->index[row[i]] + 1]++;
                else
                    job->moved[next[job->pass->index[row[i]]]++] = row[i];
        }
        for (int64_t j = 0; turn == 0 && j < k; j++)
            next[j + 1] += next[j];
        if (turn == 0)
            memcpy(job->moved_begin, next, (size_t)(k + 1) * sizeof *next);
    }
    status = fkmi_parallel(context->pool, k, (k - 1) / ITEMS_WANTED + 1, join_cells, job);
done:
    fkmi_scratch_give(context, memory);
    return status;
}

static int64_t spans_of(const struct pass_job *job, int64_t part, int64_t j)
{
    const int32_t *begin = job->begin + part * (job->passes->k + 1) + j;
    const int64_t most = rows_per_span(job->rows);

    return (begin[1] - begin[0] + most - 1) / most;
}

/* How many there are; *n_extra: those that are not the first of their cell. */
static int64_t count_spans(const struct pass_job *job, int64_t *n_extra)
{
    int64_t n = 0;

    *n_extra = 0;
    for (int64_t j = 0; j < job->passes->k; j++) {
        int64_t here = 0;

        for (int64_t part = 0; part < job->n_parts; part++)
            here += spans_of(job, part, j);
        n += here;
        *n_extra += here > 1 ? here - 1 : 0;
    }
    return n;
}

/* Those of one part after the other. The first of a cell adds to its sum, others to sums of their own in `extra`. */
static void cut_spans(struct pass_job *job, double *extra)
{
    const int64_t most = rows_per_span(job->rows), dim = job->rows->dim, k = job->passes->k;
    int64_t n = 0;

    for (int64_t j = 0; j < k; j++)
        job->first_span[j] = -1;
    for (int64_t at = 0; at < job->n_parts * k; at++) {
        const int64_t part = at / k, j = at % k;
        const int32_t *cell = job->begin + part * (k + 1) + j;

        for (int64_t begin = cell[0]; begin < cell[1]; begin += most) {
            struct span *span = &job->spans[n];

            *span = (struct span){.begin = begin,
                                  .n = cell[1] - begin < most ? cell[1] - begin : most,
                                  .next = -1,
                                  .sum = job->pass->sum + j * dim,
                                  .cell = (int32_t)j};
            if (job->first_span[j] < 0)
                job->first_span[j] = n;
            else {
                job->spans[job->last_span[j]].next = n;
                span->sum = memset(extra, 0, (size_t)dim * sizeof *extra);
                extra += dim;
            }
            job->last_span[j] = n++;
        }
    }
}

static fkm_status run_cells(struct fkm_context *context, struct pass_job *job)
{
    const int n_threads = fkmi_pool_threads_here(context->pool);
    int64_t n_extra;
    const int64_t n_spans = count_spans(job, &n_extra), k = job->passes->k;
    const int rows = context->kernels->bytes.rows;
    int64_t block = (n_spans - 1) / ITEMS_WANTED + 1;
    double *extra = NULL;
    struct fkmi_carve carve = {NULL, 0};
    struct room room;
    void *memory = NULL;
    fkm_status status = FKM_OK;

    carve_room(&room, &carve, job);
    job->scratch_per_thread = carve.used;
    carve = (struct fkmi_carve){NULL, 0};
    for (int turn = 0; turn < 2; turn++) {
        job->spans = fkmi_carve(&carve, n_spans, sizeof *job->spans);
        job->first_span = fkmi_carve(&carve, k, sizeof *job->first_span);
        job->last_span = fkmi_carve(&carve, k, sizeof *job->last_span);
        extra = fkmi_carve(&carve, n_extra * job->rows->dim, sizeof *extra);
        job->scratch = fkmi_carve(&carve, n_threads, job->scratch_per_thread);
        if (turn == 0) {
            FKMI_TRY_GOTO(fkmi_scratch_take(context, carve.used, &memory));
            carve = (struct fkmi_carve){memory, 0};
        }
    }
    cut_spans(job, extra);
    job->n_spans = n_spans;
    block = block > rows ? rows : block;
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, job->n_spans, block, run_spans, job));
    for (int64_t s = 0; s < job->n_spans; s++)
        job->n_far += job->spans[s].n_far;
    FKMI_TRY_GOTO(join(context, job));
done:
    fkmi_scratch_give(context, memory);
    return status;
}

/* Labels by a scan of all rows and prototypes. */
static fkm_status scan_all(struct fkm_context *context, const struct fkmi_rows *rows,
                           const struct fkmi_pass *pass)
{
    const struct fkmi_scan scan = {.kind = pass->kind,
                                   .slot = pass->slot,
                                   .class_begin = pass->class_begin,
                                   .n_classes = pass->n_classes,
                                   .index = pass->index,
                                   .distance = pass->distance};

    return fkmi_cpu_scan(context, rows, pass->pack, &scan);
}

static fkm_status first_pass(struct fkm_context *context, const struct fkmi_rows *rows,
                             const struct fkmi_pass *pass)
{
    FKMI_TRY(scan_all(context, rows, pass));
    return fkmi_cpu_accumulate(context, rows, &pass->pack->space, pass->index, NULL, pass->pack->k, pass->sum,
                               pass->mass, NULL);
}

/* After most rows had to meet all prototypes the next passes let them do so at once. */
static bool expect_far(struct fkmi_passes *passes)
{
    if (passes->n_skipped == 0)
        return false;
    passes->n_skipped--;
    return true;
}

static fkm_status next_pass(struct fkm_context *context, struct fkmi_passes *passes,
                            const struct fkmi_rows *rows, const struct fkmi_pass *pass)
{
    const int64_t k = passes->k, part_rows = PART_ROWS_OF_K * k > PART_ROWS ? PART_ROWS_OF_K * k : PART_ROWS;
    struct pass_job job = {.passes = passes,
                           .rows = rows,
                           .pass = pass,
                           .near = {.context = context,
                                    .rows = rows,
                                    .pack = pass->pack,
                                    .class_begin = pass->kind == FKMI_SCAN_OWN ? pass->class_begin : NULL,
                                    .n_classes = pass->n_classes,
                                    .drift = passes->drift,
                                    .value_size = (int64_t)fkmi_dtype_size(rows->dtype),
                                    .bounded = passes->bounded,
                                    .bound = passes->bound,
                                    .index = pass->index,
                                    .distance = pass->distance},
                           .part_rows = part_rows,
                           .n_parts = (rows->n - 1) / part_rows + 1};
    struct fkmi_screen *screen = NULL;
    bool heads;
    void *begin = NULL;
    fkm_status status = FKM_OK;

    passes->bounded = false;
    FKMI_TRY_GOTO(fkmi_scratch_take(context, (size_t)(job.n_parts * (k + 1)) * sizeof *job.begin, &begin));
    job.begin = begin;
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, job.n_parts, 1, sort_parts, &job));
    measure_drift(passes, pass->pack);
    if (!expect_far(passes))
        FKMI_TRY_GOTO(fkmi_screen_ready(context, pass->pack, rows, FKMI_BYTES_ALWAYS, 1, &screen, &heads));
    job.near.screen = screen;
    job.met = !screen;
    if (job.met)
        FKMI_TRY_GOTO(scan_all(context, rows, pass));
    FKMI_TRY_GOTO(run_cells(context, &job));
    passes->bounded = !job.met;
    if (2 * job.n_far > rows->n && !passes->always)
        passes->n_skipped = PASSES_TO_SKIP;
done:
    fkmi_scratch_give(context, begin);
    return status;
}

static fkm_status passes_run(struct fkm_context *context, struct fkmi_passes *passes,
                             const struct fkmi_rows *rows, const struct fkmi_pass *pass)
{
    if (passes->known) {
        FKMI_TRY(take_rows(context, passes));
        FKMI_TRY(next_pass(context, passes, rows, pass));
    } else
        FKMI_TRY(first_pass(context, rows, pass));
    memcpy(passes->points, pass->pack->points, (size_t)passes->k * passes->point_size);
    passes->known = true;
    return FKM_OK;
}

const struct fkmi_passes_family fkmi_passes_cpu = {
    .create = passes_create,
    .run = passes_run,
    .forget = passes_forget,
    .free = passes_free,
};
