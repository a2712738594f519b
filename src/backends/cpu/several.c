/* several.c — lists of several nearest from tiles of reals.
 *
 * A heap of candidates would rise slowly to the threshold that matters. So a tile meets a block of panels, whose scores
 * stay in L1, and keeps the best of each lane: different lanes hold different prototypes, so the m-th best lane is
 * reached by m of them, and few more than m pass what it rules out.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "backends/cpu/scan.h"
#include "base/cpu.h"
#include "base/interrupt.h"

#define KEPT_BYTES      ((int64_t)1 << 15) /* of a tile's scores against a block of panels */
#define TILES_PER_CHECK 8                  /* between two for an interrupt */

static int64_t panels_per_block(const struct fkmi_scan_job *job)
{
    const struct fkmi_pack *pack = job->pack;
    const int64_t real = (int64_t)fkmi_real_size(pack->space.real), cols = pack->tile->cols;
    const int64_t by_scores = KEPT_BYTES / (pack->tile->rows * cols * real);
    const int64_t by_panels = (int64_t)fkmi_cpu_l2_bytes() / 2 / (pack->dim * cols * real);
    const int64_t fitting = by_scores < by_panels ? by_scores : by_panels;
    const int64_t n_blocks = fitting > 1 ? (pack->n_panels - 1) / fitting + 1 : pack->n_panels;

    return (pack->n_panels - 1) / n_blocks + 1;
}

/* A tile's lists are finished before the next one begins: they share their place. */
static bool is_at_once(const struct fkmi_pack *pack, const struct fkmi_several *several)
{
    return several->per_block >= pack->n_panels;
}

void fkmi_several_carve(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch,
                        struct fkmi_carve *carve)
{
    const size_t real = fkmi_real_size(job->pack->space.real);
    const int64_t rows = job->pack->tile->rows, cols = job->pack->tile->cols;
    struct fkmi_several *several = &scratch->several;
    int64_t n_rows;

    *several = (struct fkmi_several){0};
    if (job->screen && job->n_parts == 1) /* few rows are left to tiles of reals: a heap will do */
        return;
    if (job->epilogue != FKMI_LISTS || job->most < 2 || job->most > cols ||
        fkmi_rows_sparse(job->rows)) /* a sparse row has no tile to share */
        return;
    several->per_block = panels_per_block(job);
    n_rows = is_at_once(job->pack, several) ? rows : ((job->rows_per_cell - 1) / rows + 1) * rows;
    several->kept = fkmi_carve(carve, several->per_block * rows * cols, real);
    several->peaks = fkmi_carve(carve, n_rows * cols, real);
    several->score = fkmi_carve(carve, n_rows * cols, real);
    several->index = fkmi_carve(carve, n_rows * cols, sizeof *several->index);
    several->n = fkmi_carve(carve, n_rows, sizeof *several->n);
}

static void set_lowest(enum fkmi_real real, void *reals, int64_t begin, int64_t end)
{
    if (real == FKMI_REAL_F64)
        for (int64_t i = begin; i < end; i++)
            ((double *)reals)[i] = -INFINITY;
    else
        for (int64_t i = begin; i < end; i++)
            ((float *)reals)[i] = -INFINITY;
}

/* ---- one row */

/* What passed, to the list. */
static void offer_passed(const struct fkmi_scan_job *job, const struct fkmi_row_facts *facts,
                         struct fkmi_shortlist *list, const void *score, const int32_t *index, int n)
{
    for (int c = 0; c < n; c++)
        fkmi_shortlist_offer(list, job->most, job->pack, facts,
                             fkmi_real_get(job->pack->space.real, score, c), index[c]);
}

/* So many pass (copies of a prototype do) that the list itself must choose. */
static void offer_panels(const struct fkmi_scan_job *job, const struct fkmi_row_facts *facts,
                         struct fkmi_shortlist *list, const char *scores, int64_t begin, int64_t n)
{
    const struct fkmi_tile *tile = job->pack->tile;

    for (int64_t panel = 0; panel < n; panel++)
        for (int64_t j = 0; j < tile->cols; j++) {
            const double score =
                fkmi_real_get(job->pack->space.real, scores, panel * tile->rows * tile->cols + j);

            if (score > list->threshold)
                fkmi_shortlist_offer(list, job->most, job->pack, facts, score,
                                     (begin + panel) * tile->cols + j);
        }
}

/* Rows of tile t have met all panels: their lists are made of what passed. */
static void finish_tile(const struct fkmi_scan_job *job, const struct fkmi_scan_cell *scratch,
                        struct fkmi_shortlist *lists, int64_t list_stride, int64_t t, int64_t place)
{
    const struct fkmi_pack *pack = job->pack;
    const struct fkmi_tile *tile = pack->tile;
    const size_t real = fkmi_real_size(pack->space.real);
    const struct fkmi_several *several = &scratch->several;

    for (int64_t i = t * tile->rows, at = place * tile->rows;
         i < (t + 1) * tile->rows && i < scratch->block.n; i++, at++) {
        char *score = several->score + (size_t)(at * tile->cols) * real;
        const int32_t *index = several->index + at * tile->cols;
        const int n = several->n[at];

        if (n > tile->cols)
            continue; /* the list was offered all */
        set_lowest(pack->space.real, score, n, tile->cols);
        if (list_stride > 1 ||
            !fkmi_shortlist_fill(&lists[i * list_stride], job->most, pack, &scratch->block.facts[i], score,
                                 index, n, tile->place(score, job->most)))
            offer_passed(job, &scratch->block.facts[i], &lists[i * list_stride], score, index, n);
    }
}

/* ---- one tile and a block of panels, whose scores and peaks are known */

static void raise_by_peaks(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch,
                           struct fkmi_shortlist *list, int64_t i, const char *peaks)
{
    const double score = job->pack->tile->place(peaks, job->most);
    const double threshold = fkmi_score_threshold(&scratch->block.facts[i], score);

    if (threshold > list->threshold) {
        list->threshold = threshold;
        fkmi_set_threshold(job->pack->space.real, scratch->threshold, i, threshold);
    }
}

static void pass_rows(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch,
                      struct fkmi_shortlist *lists, int64_t list_stride, int64_t t, int64_t place,
                      int64_t begin, int64_t end)
{
    const struct fkmi_tile *tile = job->pack->tile;
    const size_t real = fkmi_real_size(job->pack->space.real), row_size = (size_t)tile->cols * real;
    struct fkmi_several *several = &scratch->several;

    for (int64_t r = 0, i = t * tile->rows; r < tile->rows && i < scratch->block.n; r++, i++) {
        const int64_t at = place * tile->rows + r;
        const char *scores = several->kept + (size_t)r * row_size;
        struct fkmi_shortlist *list = &lists[i * list_stride];
        char *score = several->score + (size_t)at * row_size;
        int32_t *index = several->index + at * tile->cols;
        const int before = several->n[at];

        raise_by_peaks(job, scratch, list, i, several->peaks + (size_t)at * row_size);
        if (before <= tile->cols)
            several->n[at] = tile->passing(scores, end - begin, scratch->threshold + (size_t)i * real,
                                           (int32_t)(begin * tile->cols), before, score, index);
        if (several->n[at] <= tile->cols)
            continue;
        if (before <= tile->cols)
            offer_passed(job, &scratch->block.facts[i], list, score, index, before);
        offer_panels(job, &scratch->block.facts[i], list, scores, begin, end - begin);
    }
}

static void score_tile(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch, int64_t t,
                       int64_t place, int64_t begin, int64_t end)
{
    const struct fkmi_pack *pack = job->pack;
    const struct fkmi_tile *tile = pack->tile;
    const size_t tile_size = (size_t)(tile->rows * tile->cols) * fkmi_real_size(pack->space.real);
    struct fkmi_several *several = &scratch->several;

    for (int64_t panel = begin; panel < end; panel++) {
        char *scores = several->kept + (size_t)(panel - begin) * tile_size;
        const int64_t left = pack->k - panel * tile->cols;

        fkmi_block_fetch(&scratch->block, job->rows);
        fkmi_block_scores(&scratch->block, pack, t, panel, scores, scratch->other);
        for (int64_t r = 0; left < tile->cols && r < tile->rows; r++) /* behind the last prototype */
            set_lowest(pack->space.real, scores, r * tile->cols + left, (r + 1) * tile->cols);
        tile->raise(scores, several->peaks + (size_t)place * tile_size);
    }
}

fkm_status fkmi_several_tiles(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch,
                              struct fkmi_shortlist *lists, int64_t list_stride, int64_t panel_begin,
                              int64_t panel_end)
{
    const struct fkmi_tile *tile = job->pack->tile;
    struct fkmi_several *several = &scratch->several;
    const int64_t n_scores = tile->rows * tile->cols, per_block = several->per_block;

    for (int64_t begin = panel_begin; begin < panel_end; begin += per_block) {
        const int64_t end = begin + per_block < panel_end ? begin + per_block : panel_end;

        for (int64_t t = 0; t < scratch->block.n_tiles; t++) {
            const int64_t place = is_at_once(job->pack, several) ? 0 : t;

            FKMI_TRY(fkmi_check_every(TILES_PER_CHECK, t));
            if (begin == panel_begin) {
                set_lowest(job->pack->space.real, several->peaks, place * n_scores, (place + 1) * n_scores);
                for (int r = 0; r < tile->rows; r++)
                    several->n[place * tile->rows + r] = 0;
            }
            score_tile(job, scratch, t, place, begin, end);
            pass_rows(job, scratch, lists, list_stride, t, place, begin, end);
            if (end == panel_end)
                finish_tile(job, scratch, lists, list_stride, t, place);
        }
    }
    return FKM_OK;
}
