/* finer.c — sparse rows with more rivals than fit: scores in f64 tell many more prototypes apart.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/scan.h"
#include "base/interrupt.h"

bool fkmi_scan_can_be_finer(const struct fkmi_scan_job *job, const struct fkmi_row_facts *facts,
                            const struct fkmi_shortlist *list)
{
    return list->crowded && fkmi_rows_sparse(job->rows) && !job->pack->listed && !facts->unusual;
}

/* Lanes of a panel that belong to a range. */
static uint32_t lanes_of(const struct fkmi_range *range, int64_t panel, int cols)
{
    return fkmi_lanes_between(panel, cols, range->begin, range->end) &
           ~fkmi_lanes_between(panel, cols, range->skip_begin, range->skip_end);
}

fkm_status fkmi_scan_make_finer(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch,
                                struct fkmi_shortlist *lists, int64_t first)
{
    const struct fkmi_pack *pack = job->pack;
    struct fkmi_block *block = &scratch->block;
    struct fkmi_range range;
    double scores[64];
    int64_t begin = pack->n_panels, end = 0, n = 0;

    for (int64_t i = 0; i < block->n; i++) {
        if (!fkmi_scan_can_be_finer(job, &block->facts[i], &lists[i]))
            continue;
        range = fkmi_scan_range(job, fkmi_scan_row(job, first, i));
        begin = range.begin / pack->tile->cols < begin ? range.begin / pack->tile->cols : begin;
        end = (range.end - 1) / pack->tile->cols + 1 > end ? (range.end - 1) / pack->tile->cols + 1 : end;
        block->facts[i] = fkmi_block_fine_facts(block, pack, i);
        fkmi_shortlist_start(&lists[i], lists[i].best);
        scratch->finer[n++] = i;
    }
    for (int64_t panel = begin; panel < end; panel++) { /* which stays in the cache for all of these rows */
        FKMI_TRY(fkmi_check_interrupt());
        for (int64_t at = 0; at < n; at++) {
            const int64_t i = scratch->finer[at];
            struct fkmi_shortlist *list = &lists[i];

            range = fkmi_scan_range(job, fkmi_scan_row(job, first, i));
            fkmi_block_fine_scores(block, pack, i, panel, scores);
            for (uint32_t left = lanes_of(&range, panel, pack->tile->cols); left; left &= left - 1) {
                const int lane = __builtin_ctz(left);

                if (scores[lane] > list->threshold)
                    fkmi_shortlist_offer(list, job->most, pack, &block->facts[i], scores[lane],
                                         panel * pack->tile->cols + lane);
            }
        }
    }
    return FKM_OK;
}

/* A row with more rivals even so: direct distances to all that can still win, and to nothing else, for they jump about in
 * memory. */
static void judge_crowded(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch,
                          struct fkmi_shortlist *list, int64_t i, const struct fkmi_range *range)
{
    const struct fkmi_pack *pack = job->pack;
    const int64_t cols = pack->tile->cols;
    double scores[64];

    list->n = 0;
    for (int64_t panel = range->begin / cols; panel * cols < range->end; panel++) {
        fkmi_block_fine_scores(&scratch->block, pack, i, panel, scores);
        for (uint32_t left = lanes_of(range, panel, (int)cols); left; left &= left - 1) {
            const int64_t lane = __builtin_ctz(left), j = panel * cols + lane;

            if (!(scores[lane] < list->threshold)) /* one of the best may stand at it */
                fkmi_shortlist_keep(
                    list, job->most,
                    (struct fkmi_candidate){-fkmi_direct_distance(&scratch->direct, j), (int32_t)j});
        }
    }
}

void fkmi_scan_judge_row(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch,
                         struct fkmi_shortlist *list, int64_t i, const struct fkmi_range *range)
{
    const struct fkmi_row_facts *facts = &scratch->block.facts[i];

    if (fkmi_scan_can_be_finer(job, facts, list))
        judge_crowded(job, scratch, list, i, range);
    else
        fkmi_shortlist_judge(list, job->most, facts, &scratch->direct, range);
}
