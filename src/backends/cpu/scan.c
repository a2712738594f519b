/* scan.c — rows against packed prototypes, with the epilogue the caller asked for.
 *
 * Work is cut into cells: some rows, small enough to stay in L2 when laid out, against some panels. For
 * each panel and each tile of rows, the scores of a tile go to a scratch that never leaves L1; the
 * epilogue reads them there. When there are few rows, the panels are cut too, and the lists of the parts
 * are merged in order. Where a tile would be mostly padding (a few rows, a few prototypes) direct
 * distances are computed at once.
 * SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "backends/cpu/scan.h"
#include "backends/minima.h"
#include "backends/passes.h"
#include "base/cpu.h"
#include "base/interrupt.h"

#define FEW_PROTOTYPES      12 /* up to here, direct distances cost no more than a tile */
#define FEW_ROWS            3
#define TILES_PER_CELL      40
#define TILES_OF_SMALL_CELL 12 /* against prototypes that stay in L2: more would save nothing */
#define LIST_BYTES_PER_CELL ((int64_t)4 << 20)
#define SUM_BYTES_PER_CELL                                                                                   \
    ((int64_t)1 << 19) /* of scores against a chunk of lists: beside its columns in L2 */
#define CELLS_WANTED  8
#define WORK_PER_CELL ((int64_t)1 << 18) /* multiplications that are worth another thread */
#define WORK_OF_ROW   2000               /* what else a row costs, in multiplications */
#define WORK_TO_SHARE 700000.0           /* less is over before other threads have begun */

#define ROWS_NEAR_AT_ONCE 168 /* whole tiles of 14, 6 and 4 rows */

#define ROWS_PER_CHECK 16 /* between two for an interrupt */

static void carve_cell(struct fkmi_scan_cell *scratch, struct fkmi_carve *carve,
                       const struct fkmi_scan_job *job)
{
    const struct fkmi_pack *pack = job->pack;
    const struct fkmi_tile *tile = pack->tile;
    const size_t real = fkmi_real_size(pack->space.real);
    const int64_t n = job->rows_per_cell < job->rows->n ? job->rows_per_cell : job->rows->n,
                  own_lists = job->epilogue == FKMI_LISTS && job->n_parts == 1 ? n : 0;

    *scratch = (struct fkmi_scan_cell){0};
    fkmi_direct_carve(&scratch->direct, carve, pack, job->rows, job->most_entries);
    scratch->lists = fkmi_carve(carve, own_lists, sizeof *scratch->lists);
    scratch->candidates = fkmi_carve(carve, own_lists * job->most, sizeof *scratch->candidates);
    if (job->direct)
        return;
    if (job->screen && job->n_parts == 1)
        fkmi_screen_carve(&scratch->screen, carve, pack, job->screen, job->near != NULL, n);
    fkmi_block_carve(&scratch->block, carve, pack, job->rows, n, job->most_cell_entries);
    scratch->threshold = fkmi_carve(carve, ((n - 1) / tile->rows + 1) * tile->rows, real);
    scratch->finer =
        fkmi_carve(carve, fkmi_rows_sparse(job->rows) && !pack->listed ? n : 0, sizeof *scratch->finer);
    scratch->scores = fkmi_carve(carve, (int64_t)tile->rows * tile->cols, real);
    scratch->other = fkmi_carve(carve, (int64_t)tile->rows * tile->cols, real);
    fkmi_several_carve(job, scratch, carve);
}

static struct fkmi_scan_cell scratch_of(const struct fkmi_scan_job *job, int thread)
{
    struct fkmi_carve carve = {job->scratch + (size_t)thread * job->scratch_per_thread, 0};
    struct fkmi_scan_cell scratch;

    carve_cell(&scratch, &carve, job);
    return scratch;
}

/* ---- cells */

static fkm_status scan_tiles(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch,
                             struct fkmi_shortlist *lists, int64_t list_stride, int64_t first,
                             int64_t panel_begin, int64_t panel_end, const struct fkmi_range *range)
{
    const struct fkmi_pack *pack = job->pack;
    struct fkmi_segments segments;

    segments.n = 0;
    if (scratch->several.per_block > 0)
        return fkmi_several_tiles(job, scratch, lists, list_stride, panel_begin, panel_end);
    for (int64_t panel = panel_begin; panel < panel_end; panel++) {
        const uint32_t allowed = fkmi_lanes_between(panel, pack->tile->cols, range->begin, range->end);

        FKMI_TRY(fkmi_check_every(FKMI_PANELS_PER_CHECK, panel - panel_begin));
        if (job->epilogue == FKMI_CLASSES)
            fkmi_find_segments(job, panel, &segments);
        for (int64_t t = 0; t < scratch->block.n_tiles; t++) {
            if (pack->listed && t == 0)
                fkmi_block_sums(&scratch->block, pack, panel);
            if (scratch->block.sparse) /* a full list is judged row by row, entries jumping about in memory */
                FKMI_TRY(fkmi_check_interrupt());
            fkmi_block_fetch(&scratch->block, job->rows);
            fkmi_block_scores(&scratch->block, pack, t, panel, scratch->scores, scratch->other);
            if (job->epilogue == FKMI_LISTS)
                fkmi_offer_tile(job, scratch, lists, list_stride, first, t, panel, allowed,
                                panel == panel_begin);
            else if (job->epilogue == FKMI_CLASSES)
                fkmi_classes_of_tile(job, scratch, first, t, panel, &segments);
            else
                fkmi_all_of_tile(job, scratch, first, t, panel);
        }
    }
    return FKM_OK;
}

static void write_list(const struct fkmi_scan_job *job, struct fkmi_shortlist *list, int64_t row)
{
    fkmi_shortlist_write(list, job->width, job->index ? job->index + row * job->stride : NULL,
                         job->distance + row * job->stride);
}

/* A sparse row's distances jump about in memory: 16 rows can take a tenth of a second. */
static fkm_status check_at_row(const struct fkmi_scan_job *job, int64_t i)
{
    return fkmi_rows_sparse(job->rows) ? fkmi_check_interrupt() : fkmi_check_every(ROWS_PER_CHECK, i);
}

/* Lists for rows first .. first + n against panels [panel_begin, panel_end), every row by direct
 * distances. */
static fkm_status judge_cell(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch,
                             struct fkmi_shortlist *lists, int64_t list_stride, int64_t first, int64_t n,
                             int64_t panel_begin, int64_t panel_end)
{
    const int64_t cols = job->pack->tile->cols;

    for (int64_t i = 0; i < n; i++) {
        const int64_t row = fkmi_scan_row(job, first, i);
        struct fkmi_range range = fkmi_scan_range(job, row);

        FKMI_TRY(check_at_row(job, i));
        range.begin = range.begin > panel_begin * cols ? range.begin : panel_begin * cols;
        range.end = range.end < panel_end * cols ? range.end : panel_end * cols;
        if (range.begin < range.end)
            fkmi_direct_row(&scratch->direct, row);
        fkmi_shortlist_judge_range(&lists[i * list_stride], job->most, &scratch->direct, &range);
    }
    return FKM_OK;
}

static void start_lists(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch, int64_t n)
{
    const struct fkmi_pack *pack = job->pack;
    const int64_t rows = pack->tile->rows, n_padded = ((n - 1) / rows + 1) * rows;

    for (int64_t i = 0; i < n; i++)
        if (job->n_parts == 1)
            fkmi_shortlist_start(&scratch->lists[i], scratch->candidates + i * job->most);
    for (int64_t i = 0; scratch->threshold && i < n_padded; i++) /* nothing beats what pads the last tile */
        fkmi_set_threshold(pack->space.real, scratch->threshold, i, i < n ? -INFINITY : INFINITY);
}

static bool few_prototypes(const struct fkmi_scan_job *job, const struct fkmi_range *range, int64_t n)
{
    const int64_t n_allowed = range->end - range->begin;

    if (fkmi_rows_sparse(job->rows)) /* a sparse row has no tile to share */
        return n_allowed <= 2;
    return n_allowed <= FEW_PROTOTYPES || n <= FEW_ROWS;
}

/* What is left to do once a cell has seen its panels. */
static fkm_status finish_rows(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch,
                              struct fkmi_shortlist *lists, int64_t first, int64_t n, int64_t part)
{
    if (job->epilogue == FKMI_LISTS && job->n_parts == 1)
        FKMI_TRY(fkmi_scan_make_finer(job, scratch, lists, first));
    for (int64_t i = 0; i < n; i++) {
        const int64_t row = fkmi_scan_row(job, first, i);
        const struct fkmi_row_facts *facts = &scratch->block.facts[i];

        FKMI_TRY(check_at_row(job, i));
        if (job->epilogue != FKMI_LISTS) {
            if (facts->unusual)
                fkmi_replace_row(job, &scratch->direct, row);
        } else if (job->n_parts > 1) {
            if (part == 0) /* every part has the same facts */
                job->facts[row] = *facts;
        } else {
            const struct fkmi_range range = fkmi_scan_range(job, row);

            if (i + 1 < n && lists[i + 1].n > 0)
                fkmi_direct_fetch(&scratch->direct, fkmi_scan_row(job, first, i + 1),
                                  lists[i + 1].best[0].index);
            fkmi_direct_row(&scratch->direct, row);
            fkmi_scan_judge_row(job, scratch, &lists[i], i, &range);
            write_list(job, &lists[i], row);
        }
    }
    return FKM_OK;
}

/* Answers what bytes can answer; the rows that are left go through tiles of floats. */
static fkm_status run_screened(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch, int64_t first,
                               int64_t n)
{
    const struct fkmi_range range = {0, job->pack->k, 0, 0};
    struct fkmi_screen_cell *screen = &scratch->screen;
    struct fkmi_scan_job rest = *job;

    screen->screen = job->screen;
    screen->near = job->near;
    screen->rows = job->rows;
    screen->picked = job->picked ? job->picked + first : NULL;
    screen->first = first;
    screen->n = n;
    screen->most = job->most;
    screen->always = job->always;
    screen->slot = job->slot;
    screen->class_begin = job->class_begin;
    screen->within = job->within;
    screen->direct = &scratch->direct;
    screen->lists = scratch->lists;
    FKMI_TRY(fkmi_screen_run(screen, job->pack));
    for (int64_t i = 0; i < n; i++)
        if (!screen->screened[i].left)
            write_list(job, &scratch->lists[i], fkmi_scan_row(job, first, i));
    if (screen->n_left == 0)
        return FKM_OK;
    rest.picked = screen->left;
    FKMI_TRY(fkmi_panels_ready(job->context, job->pack));
    start_lists(&rest, scratch, screen->n_left);
    fkmi_block_load(&scratch->block, job->pack, job->rows, screen->left, 0, screen->n_left);
    FKMI_TRY(scan_tiles(&rest, scratch, scratch->lists, 1, 0, 0, job->pack->n_panels, &range));
    return finish_rows(&rest, scratch, scratch->lists, 0, screen->n_left, 0);
}

static fkm_status run_cell(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch, int64_t cell)
{
    const int64_t part = cell % job->n_parts, block = cell / job->n_parts, cols = job->pack->tile->cols;
    const int64_t first = job->groups ? job->groups[block].begin : block * job->rows_per_cell;
    const int64_t left = job->rows->n - first;
    const int64_t n = job->groups                 ? job->groups[block].n
                      : left < job->rows_per_cell ? left
                                                  : job->rows_per_cell;
    const struct fkmi_range range = job->groups || job->epilogue == FKMI_ALL
                                        ? fkmi_scan_range(job, fkmi_scan_row(job, first, 0))
                                        : (struct fkmi_range){0, job->pack->k, 0, 0};
    const int64_t panel_begin = range.begin / cols, n_panels = (range.end + cols - 1) / cols - panel_begin;
    const int64_t begin = panel_begin + n_panels * part / job->n_parts;
    const int64_t end = panel_begin + n_panels * (part + 1) / job->n_parts;
    const bool shared = job->n_parts > 1;
    struct fkmi_shortlist *lists = shared ? job->lists + first * job->n_parts + part : scratch->lists;

    if (job->epilogue == FKMI_LISTS)
        start_lists(job, scratch, n);
    if (job->epilogue == FKMI_CLASSES)
        fkmi_empty_classes(job, first, n);
    if (job->direct || (job->groups && few_prototypes(job, &range, n))) {
        FKMI_TRY(judge_cell(job, scratch, lists, job->n_parts, first, n, begin, end));
        for (int64_t i = 0; !shared && i < n; i++)
            write_list(job, &lists[i], fkmi_scan_row(job, first, i));
        return FKM_OK;
    }
    if (job->screen && !shared)
        return run_screened(job, scratch, first, n);
    FKMI_TRY(fkmi_panels_ready(job->context, job->pack));
    fkmi_block_load(&scratch->block, job->pack, job->rows, job->picked ? job->picked + first : NULL, first,
                    n);
    if (!job->picked && part == 0)
        fkmi_block_expect(&scratch->block, job->rows, first + job->n_threads * job->rows_per_cell,
                          job->rows_per_cell, scratch->block.n_tiles * (end - begin));
    FKMI_TRY(scan_tiles(job, scratch, lists, job->n_parts, first, begin, end, &range));
    return finish_rows(job, scratch, lists, first, n, part);
}

static fkm_status run_cells(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct fkmi_scan_job *job = argument;
    struct fkmi_scan_cell scratch = scratch_of(job, thread);

    for (int64_t cell = begin; cell < end; cell++)
        FKMI_TRY(run_cell(job, &scratch, cell));
    return FKM_OK;
}

/* Joins the parts of each row. */
static fkm_status merge_rows(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct fkmi_scan_job *job = argument;
    struct fkmi_scan_cell scratch = scratch_of(job, thread);

    for (int64_t row = begin; row < end; row++) {
        struct fkmi_shortlist *lists = job->lists + row * job->n_parts;
        const struct fkmi_range range = fkmi_scan_range(job, row);

        for (int64_t part = 1; part < job->n_parts; part++)
            if (job->direct)
                fkmi_shortlist_join(&lists[0], job->most, &lists[part]);
            else
                fkmi_shortlist_merge(&lists[0], job->most, job->pack, &job->facts[row], &lists[part]);
        if (!job->direct) {
            fkmi_direct_row(&scratch.direct, row);
            if (fkmi_scan_can_be_finer(job, &job->facts[row], &lists[0])) {
                fkmi_block_load(&scratch.block, job->pack, job->rows, NULL, row, 1);
                FKMI_TRY(fkmi_scan_make_finer(job, &scratch, lists, row));
                fkmi_scan_judge_row(job, &scratch, &lists[0], 0, &range);
            } else
                fkmi_shortlist_judge(&lists[0], job->most, &job->facts[row], &scratch.direct, &range);
        }
        write_list(job, &lists[0], row);
    }
    return FKM_OK;
}

/* ---- cutting the work */

/* Rows that stay in half of L2 when laid out, in whole tiles, or in an eighth where prototypes have room beside them
 * and need not be read from farther away; fewer when that gives every thread something. */
static int64_t rows_per_cell_of(const struct fkmi_scan_job *job, int n_threads)
{
    const struct fkmi_pack *pack = job->pack;
    const int64_t rows = pack->tile->rows, l2 = (int64_t)fkmi_cpu_l2_bytes();
    const int64_t column_bytes = (int64_t)fkmi_real_size(pack->space.real) * (job->rows->mask ? 2 : 1);
    const int64_t row_bytes = pack->dim * column_bytes,
                  list_bytes = job->most * (int64_t)sizeof(struct fkmi_candidate);
    const int64_t by_cells = (job->rows->n - 1) / (n_threads > 1 ? CELLS_WANTED : 1) / rows + 1;
    const bool small = pack->k <= l2 / row_bytes;
    int64_t most = small ? TILES_OF_SMALL_CELL : TILES_PER_CELL;
    int64_t tiles = fkmi_rows_sparse(job->rows) ? most : l2 / (small ? 8 : 2) / (row_bytes * rows);

    if (job->choice.tiles > 0)
        tiles = most = job->choice.tiles;
    if (pack->columns && tiles > SUM_BYTES_PER_CELL / (pack->columns->chunk * column_bytes * rows))
        tiles = SUM_BYTES_PER_CELL / (pack->columns->chunk * column_bytes * rows);
    if (tiles > LIST_BYTES_PER_CELL / (list_bytes * rows))
        tiles = LIST_BYTES_PER_CELL / (list_bytes * rows);
    tiles = tiles > by_cells ? by_cells : tiles;
    tiles = tiles > most ? most : tiles;
    return (tiles > 1 ? tiles : 1) * rows;
}

/* Few rows against many prototypes: the panels are shared out as well. */
static int64_t parts_of(const struct fkmi_scan_job *job, int64_t n_cells, int n_threads)
{
    const struct fkmi_pack *pack = job->pack;
    const int64_t work =
        job->rows->n * pack->dim < INT64_MAX / pack->k ? job->rows->n * pack->dim * pack->k : INT64_MAX;
    int64_t parts = CELLS_WANTED / 2 / n_cells;

    if (job->epilogue != FKMI_LISTS || job->picked || n_threads == 1)
        return 1;
    if (parts > work / n_cells / WORK_PER_CELL)
        parts = work / n_cells / WORK_PER_CELL;
    if (parts > (pack->columns ? pack->columns->n_chunks : pack->n_panels))
        parts = pack->columns ? pack->columns->n_chunks : pack->n_panels;
    return parts > 1 ? parts : 1;
}

static void count_entries(struct fkmi_scan_job *job, int64_t n_blocks)
{
    const struct fkmi_rows *rows = job->rows;

    for (int64_t block = 0; fkmi_rows_sparse(rows) && block < n_blocks; block++) {
        const int64_t first = job->groups ? job->groups[block].begin : block * job->rows_per_cell;
        const int64_t n = job->groups ? job->groups[block].n : job->rows_per_cell;
        int64_t sum = 0;

        for (int64_t i = 0; i < n && first + i < rows->n; i++) {
            const int64_t row = fkmi_row(rows, fkmi_scan_row(job, first, i)),
                          entries = rows->indptr[row + 1] - rows->indptr[row];

            sum += entries;
            if (entries > job->most_entries)
                job->most_entries = entries;
        }
        if (sum > job->most_cell_entries)
            job->most_cell_entries = sum;
    }
}

/* Whether cells will ask for panels for certain: all threads make them before, else one would while the others wait. */
static bool needs_panels(const struct fkmi_scan_job *job, int64_t n_groups)
{
    if (job->direct || (job->screen && job->n_parts == 1))
        return false;
    for (int64_t g = 0; job->groups && g < n_groups; g++) {
        const struct fkmi_range range = fkmi_scan_range(job, fkmi_scan_row(job, job->groups[g].begin, 0));

        if (!few_prototypes(job, &range, job->groups[g].n))
            return true;
    }
    return !job->groups;
}

static fkm_status run(struct fkm_context *context, struct fkmi_scan_job *job, int64_t n_groups)
{
    const int n_threads = fkmi_pool_threads_here(job->pool);
    const int64_t n = job->rows->n;
    const int64_t n_blocks = job->groups ? n_groups : (n - 1) / job->rows_per_cell + 1;
    struct fkmi_scan_cell measured;
    struct fkmi_carve carve = {NULL, 0};
    struct fkmi_candidate *candidates;
    void *memory = NULL;
    fkm_status status = FKM_OK;

    job->n_threads = n_threads;
    job->n_parts = parts_of(job, n_blocks, n_threads);
    if (needs_panels(job, n_groups))
        FKMI_TRY(fkmi_panels_ready(context, job->pack));
    count_entries(job, n_blocks);
    for (int pass = 0; pass < 2; pass++) { /* counts, then cuts */
        const int64_t n_lists = job->epilogue == FKMI_LISTS && job->n_parts > 1 ? n * job->n_parts : 0;

        job->lists = n_lists ? fkmi_carve(&carve, n_lists, sizeof *job->lists) : NULL;
        candidates = fkmi_carve(&carve, n_lists * job->most, sizeof *candidates);
        job->facts = fkmi_carve(&carve, n_lists ? n : 0, sizeof *job->facts);
        if (pass == 0) {
            struct fkmi_carve cell = {NULL, 0};

            carve_cell(&measured, &cell, job);
            job->scratch_per_thread = cell.used;
            FKMI_TRY_GOTO(fkmi_scratch_take(context, carve.used + cell.used * (size_t)n_threads, &memory));
            carve = (struct fkmi_carve){memory, 0};
            continue;
        }
        job->scratch = (char *)memory + carve.used;
        for (int64_t i = 0; i < n_lists; i++)
            fkmi_shortlist_start(&job->lists[i], candidates + i * job->most);
    }
    FKMI_TRY_GOTO(fkmi_parallel(job->pool, n_blocks * job->n_parts, 1, run_cells, job));
    if (job->lists)
        FKMI_TRY_GOTO(fkmi_parallel(job->pool, n, 8, merge_rows, job));
done:
    fkmi_scratch_give(context, memory);
    return status;
}

/* Rows by class, each class cut into groups of at most rows_per_cell; rows of no class come last. */
static fkm_status scan_own(struct fkm_context *context, struct fkmi_scan_job *job)
{
    const int64_t n = job->rows->n, n_slots = job->n_classes + 1,
                  most_groups = n_slots + n / job->rows_per_cell;
    struct fkmi_carve carve = {NULL, 0};
    int64_t *start = NULL, *picked = NULL, n_groups = 0;
    struct fkmi_scan_group *groups = NULL;
    void *memory = NULL;
    fkm_status status = FKM_OK;

    for (int pass = 0; pass < 2; pass++) {
        start = fkmi_carve(&carve, n_slots + 1, sizeof *start);
        picked = fkmi_carve(&carve, n, sizeof *picked);
        groups = fkmi_carve(&carve, most_groups, sizeof *groups);
        if (pass == 0) {
            FKMI_TRY_GOTO(fkmi_scratch_take(context, carve.used, &memory));
            carve = (struct fkmi_carve){memory, 0};
        }
    }
    memset(start, 0, (size_t)(n_slots + 1) * sizeof *start);
    for (int64_t i = 0; i < n; i++)
        start[(job->slot[i] < 0 ? job->n_classes : job->slot[i]) + 1]++;
    for (int64_t s = 0; s < n_slots; s++)
        start[s + 1] += start[s];
    for (int64_t s = 0; s < n_slots; s++)
        for (int64_t begin = start[s]; begin < start[s + 1]; begin += job->rows_per_cell) {
            const int64_t left = start[s + 1] - begin;
            groups[n_groups++] =
                (struct fkmi_scan_group){begin, left < job->rows_per_cell ? left : job->rows_per_cell,
                                         s < job->n_classes ? (int32_t)s : -1};
        }
    for (int64_t i = 0; i < n; i++)
        picked[start[job->slot[i] < 0 ? job->n_classes : job->slot[i]]++] = i;
    assert(n_groups <= most_groups);
    job->picked = picked;
    job->own_only = true;
    job->groups = groups;
    FKMI_TRY_GOTO(run(context, job, n_groups));
done:
    fkmi_scratch_give(context, memory);
    return status;
}

/* ---- rows in the order of the panels that they are near to */

struct near_job {
    const struct fkmi_scan_job *scan;
    int32_t *near;
    char *scratch;
    size_t scratch_per_thread;
};

static fkm_status find_near(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct near_job *job = argument;

    fkmi_screen_find_near(job->scan->screen, job->scan->pack, job->scan->rows, begin, end,
                          job->scratch + (size_t)thread * job->scratch_per_thread, job->near);
    return FKM_OK;
}

static fkm_status scan_in_order(struct fkm_context *context, struct fkmi_scan_job *job)
{
    const int64_t n = job->rows->n, n_panels = fkmi_screen_panels(job->pack);
    const int n_threads = fkmi_pool_threads_here(context->pool);
    struct near_job near = {.scan = job, .scratch_per_thread = fkmi_screen_near_size(job->screen, job->pack)};
    struct fkmi_carve carve = {NULL, 0};
    int64_t *picked = NULL, *start = NULL;
    void *memory = NULL;
    fkm_status status = FKM_OK;

    for (int pass = 0; pass < 2; pass++) {
        near.near = fkmi_carve(&carve, n, sizeof *near.near);
        picked = fkmi_carve(&carve, n, sizeof *picked);
        start = fkmi_carve(&carve, n_panels + 1, sizeof *start);
        near.scratch = fkmi_carve(&carve, n_threads, near.scratch_per_thread);
        if (pass == 0) {
            FKMI_TRY_GOTO(fkmi_scratch_take(context, carve.used, &memory));
            carve = (struct fkmi_carve){memory, 0};
        }
    }
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, n, ROWS_NEAR_AT_ONCE, find_near, &near));
    memset(start, 0, (size_t)(n_panels + 1) * sizeof *start);
    for (int64_t i = 0; i < n; i++)
        start[near.near[i] + 1]++;
    for (int64_t p = 0; p < n_panels; p++)
        start[p + 1] += start[p];
    for (int64_t i = 0; i < n; i++)
        picked[start[near.near[i]]++] = i;
    job->near = near.near;
    job->picked = picked;
    FKMI_TRY_GOTO(run(context, job, 0));
done:
    fkmi_scratch_give(context, memory);
    return status;
}

/* Some ways of scanning have no use for a reach: the answer is the same. */
static void forget_far(const struct fkmi_scan_job *job)
{
    for (int64_t i = 0; job->within && i < job->rows->n; i++) {
        if (job->distance[i] <= job->within[i])
            continue;
        job->distance[i] = INFINITY;
        if (job->index)
            job->index[i] = -1;
    }
}

fkm_status fkmi_cpu_scan(struct fkm_context *context, const struct fkmi_rows *rows,
                         const struct fkmi_pack *pack, const struct fkmi_scan *scan)
{
    struct fkmi_scan_job job = {.context = context,
                                .rows = rows,
                                .pack = pack,
                                .epilogue = FKMI_LISTS,
                                .width = 1,
                                .stride = 1,
                                .index = scan->index,
                                .distance = scan->distance};
    struct fkmi_scan_job own;
    enum fkmi_scan_bytes bytes = scan->bytes;
    bool own_too = false, heads = false;

    assert(rows->dim == pack->dim);
    if (rows->n == 0)
        return FKM_OK;
    if (rows->mask && !pack->masked)
        return fkmi_fail(FKM_EINTERNAL,
                         "rows have a mask, but the prototypes were packed without room for one");
    switch (scan->kind) {
    case FKMI_SCAN_NEAREST:
        break;
    case FKMI_SCAN_TOP_K:
        job.width = job.stride = scan->top_k;
        break;
    case FKMI_SCAN_OWN:
    case FKMI_SCAN_OTHER:
    case FKMI_SCAN_OWN_OTHER:
        job.slot = scan->slot;
        job.class_begin = scan->class_begin;
        job.n_classes = scan->n_classes;
        own_too = scan->kind == FKMI_SCAN_OWN_OTHER;
        job.within = scan->kind == FKMI_SCAN_OTHER ? scan->within : NULL;
        job.stride = own_too ? 2 : 1;
        break;
    case FKMI_SCAN_CLASSES:
        job.epilogue = FKMI_CLASSES;
        job.class_begin = scan->class_begin;
        job.n_classes = scan->n_classes;
        job.stride = scan->n_classes;
        break;
    case FKMI_SCAN_ALL:
        assert(scan->begin % pack->tile->cols == 0);
        job.epilogue = FKMI_ALL;
        job.index = NULL;
        job.begin = scan->begin;
        job.stride = scan->end > 0 ? scan->end - scan->begin : pack->k;
        job.end = scan->begin + job.stride < pack->k ? scan->begin + job.stride : pack->k;
        break;
    }
    if (pack->listed && !fkmi_rows_sparse(rows))
        return fkmi_cpu_scan_dense_lists(context, rows, pack, scan, job.stride);
    job.most = job.width < pack->k ? job.width : pack->k;
    if (pack->listed && (scan->kind == FKMI_SCAN_OWN || own_too))
        FKMI_TRY(fkmi_cpu_scan_own_lists(context, rows, pack, scan, job.stride));
    if (pack->listed && scan->kind == FKMI_SCAN_OWN)
        return FKM_OK;
    assert(!pack->listed || pack->columns);
    if (scan->kind == FKMI_SCAN_NEAREST || scan->kind == FKMI_SCAN_TOP_K)
        job.choice = fkmi_choice_of(&pack->tuning, pack->k,
                                    job.width > 1 ? FKMI_TUNED_TOP_K : FKMI_TUNED_NEAREST, rows->n);
    if (!job.choice.alone &&
        (double)rows->n * ((double)pack->k * (double)pack->dim + WORK_OF_ROW) > WORK_TO_SHARE)
        job.pool = context->pool;
    job.rows_per_cell = rows_per_cell_of(&job, fkmi_pool_threads_here(job.pool));
    if (scan->kind == FKMI_SCAN_OWN)
        return scan_own(context, &job);
    job.direct =
        job.epilogue == FKMI_LISTS && few_prototypes(&job, &(struct fkmi_range){0, pack->k, 0, 0}, rows->n);
    if (job.choice.way != FKMI_WAY_STANDARD) {
        job.direct = job.choice.way == FKMI_WAY_DIRECT;
        if (bytes == FKMI_BYTES_IF_WORTH)
            bytes = job.choice.way == FKMI_WAY_BYTES ? FKMI_BYTES_MEASURED : FKMI_BYTES_NEVER;
    }
    if (own_too) { /* own in the even places, other in the odd ones */
        own = job;
        own.direct = false;
        job.distance++;
        job.index = job.index ? job.index + 1 : NULL;
        if (!pack->listed)
            FKMI_TRY(scan_own(context, &own));
    }
    if (job.epilogue == FKMI_LISTS && !job.direct)
        FKMI_TRY(fkmi_screen_ready(context, pack, rows, bytes, job.most, &job.screen, &heads));
    job.always = scan->bytes == FKMI_BYTES_ALWAYS || scan->bytes == FKMI_BYTES_HEADS;
    FKMI_TRY(heads ? scan_in_order(context, &job) : run(context, &job, 0));
    forget_far(&job);
    return FKM_OK;
}

static int64_t rows_together(const struct fkmi_pack *pack) { return pack->tile->rows; }

const struct fkmi_backend fkmi_backend_cpu = {
    .name = "cpu",
    .pack = fkmi_cpu_pack,
    .pack_lists = fkmi_cpu_pack_lists,
    .pack_free = fkmi_cpu_pack_free,
    .pack_trim = fkmi_cpu_pack_trim,
    .rows_together = rows_together,
    .scan = fkmi_cpu_scan,
    .rank = fkmi_cpu_rank,
    .accumulate = fkmi_cpu_accumulate,
    .minima = &fkmi_minima_cpu,
    .passes = &fkmi_passes_cpu,
};
