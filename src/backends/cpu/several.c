/* several.c — lists of several nearest from tiles of reals.
 *
 * A heap of candidates would rise slowly to the threshold that matters. So the scores of a block of panels are kept, and
 * the best of each lane: different lanes hold different prototypes, so the m-th best lane is reached by m of them, and few
 * more than m pass what it rules out.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "backends/cpu/scan.h"
#include "base/interrupt.h"

#define KEPT_BYTES ((int64_t)1 << 18) /* of scores: in L2 with the rows */

static int64_t scores_of_cell(const struct fkmi_scan_job *job)
{
    const struct fkmi_tile *tile = job->pack->tile;

    return ((job->rows_per_cell - 1) / tile->rows + 1) * tile->rows * tile->cols;
}

static int64_t panels_per_block(const struct fkmi_scan_job *job)
{
    const int64_t n = KEPT_BYTES / (scores_of_cell(job) * (int64_t)fkmi_real_size(job->pack->space.real));

    return n < 1 ? 1 : n < job->pack->n_panels ? n : job->pack->n_panels;
}

void fkmi_several_carve(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch,
                        struct fkmi_carve *carve)
{
    const size_t real = fkmi_real_size(job->pack->space.real);

    if (job->screen && job->n_parts == 1) /* few rows are left to tiles of reals: a heap will do */
        return;
    if (job->epilogue != FKMI_LISTS || job->most < 2 || job->most > job->pack->tile->cols ||
        fkmi_rows_sparse(job->rows)) /* a sparse row has no tile to share */
        return;
    scratch->kept = fkmi_carve(carve, panels_per_block(job) * scores_of_cell(job), real);
    scratch->peaks = fkmi_carve(carve, scores_of_cell(job), real);
}

/* Lanes from n on, behind the last prototype, score nothing. */
static void clear_lanes(const struct fkmi_pack *pack, char *scores, int64_t n)
{
    const int64_t rows = pack->tile->rows, cols = pack->tile->cols;

    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = n; j < cols; j++)
            fkmi_set_threshold(pack->space.real, scores, r * cols + j, -INFINITY);
}

static void raise_by_peaks(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch,
                           struct fkmi_shortlist *lists, int64_t list_stride, int64_t t)
{
    const struct fkmi_tile *tile = job->pack->tile;
    const size_t row_size = (size_t)tile->cols * fkmi_real_size(job->pack->space.real);

    for (int64_t i = t * tile->rows; i < (t + 1) * tile->rows && i < scratch->block.n; i++) {
        struct fkmi_shortlist *list = &lists[i * list_stride];
        const double score = tile->place(scratch->peaks + (size_t)i * row_size, job->most);
        const double threshold = fkmi_score_threshold(&scratch->block.facts[i], score);

        if (threshold > list->threshold) {
            list->threshold = threshold;
            fkmi_set_threshold(job->pack->space.real, scratch->threshold, i, threshold);
        }
    }
}

static void score_panel(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch, int64_t panel,
                        char *kept, size_t tile_size)
{
    const struct fkmi_pack *pack = job->pack;
    const int64_t left = pack->k - panel * pack->tile->cols;

    for (int64_t t = 0; t < scratch->block.n_tiles; t++) {
        char *scores = kept + (size_t)t * tile_size;

        fkmi_block_scores(&scratch->block, pack, t, panel, scores, scratch->other);
        if (left < pack->tile->cols)
            clear_lanes(pack, scores, left);
        pack->tile->raise(scores, scratch->peaks + (size_t)t * tile_size);
    }
}

fkm_status fkmi_several_tiles(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch,
                              struct fkmi_shortlist *lists, int64_t list_stride, int64_t first,
                              int64_t panel_begin, int64_t panel_end)
{
    const struct fkmi_pack *pack = job->pack;
    const int64_t n_tiles = scratch->block.n_tiles, per_block = panels_per_block(job);
    const int64_t cols = pack->tile->cols, n_scores = pack->tile->rows * cols;
    const size_t tile_size = (size_t)n_scores * fkmi_real_size(pack->space.real);
    struct fkmi_scan_cell tile = *scratch; /* whose scores are the kept ones */

    for (int64_t i = 0; i < n_tiles * n_scores; i++)
        fkmi_set_threshold(pack->space.real, scratch->peaks, i, -INFINITY);
    for (int64_t begin = panel_begin; begin < panel_end; begin += per_block) {
        const int64_t end = begin + per_block < panel_end ? begin + per_block : panel_end;

        for (int64_t panel = begin; panel < end; panel++) {
            FKMI_TRY(fkmi_check_every(FKMI_PANELS_PER_CHECK, panel - panel_begin));
            score_panel(job, scratch, panel, scratch->kept + (size_t)((panel - begin) * n_tiles) * tile_size,
                        tile_size);
        }
        for (int64_t t = 0; t < n_tiles; t++) {
            raise_by_peaks(job, scratch, lists, list_stride, t);
            for (int64_t panel = begin; panel < end; panel++) {
                tile.scores = scratch->kept + (size_t)((panel - begin) * n_tiles + t) * tile_size;
                fkmi_offer_tile(job, &tile, lists, list_stride, first, t, panel,
                                fkmi_lanes_between(panel, (int)cols, 0, pack->k), false);
            }
        }
    }
    return FKM_OK;
}
