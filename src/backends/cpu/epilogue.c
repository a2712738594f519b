/* epilogue.c — what becomes of the scores of a tile: lists of the nearest, the best of each class, or all of them.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "backends/cpu/scan.h"

void fkmi_set_threshold(enum fkmi_real real, void *thresholds, int64_t i, double threshold)
{
    float narrow = (float)threshold;

    if ((double)narrow > threshold)
        narrow -= fabsf(narrow) * 0x1p-23f + 0x1p-149f;
    if (real == FKMI_REAL_F64)
        ((double *)thresholds)[i] = threshold;
    else
        ((float *)thresholds)[i] = narrow;
}

uint32_t fkmi_lanes_between(int64_t panel, int cols, int64_t begin, int64_t end)
{
    const int64_t first = panel * cols;
    const int64_t low = begin > first ? begin - first : 0, high = end - first < cols ? end - first : cols;

    if (low >= high)
        return 0;
    return (uint32_t)((((uint64_t)1 << high) - 1) & ~(((uint64_t)1 << low) - 1));
}

/* ---- the epilogues, on the scores of tile t against a panel */

static void offer_lane(const struct fkmi_scan_job *job, const struct fkmi_row_facts *facts,
                       struct fkmi_shortlist *list, const void *row_scores, int64_t panel, int lane)
{
    const double score = fkmi_real_get(job->pack->space.real, row_scores, lane);

    if (score > list->threshold)
        fkmi_shortlist_offer(list, job->most, job->pack, facts, score, panel * job->pack->tile->cols + lane);
}

/* Lanes of a panel that row i of the cell may be matched with. */
static uint32_t lanes_allowed(const struct fkmi_scan_job *job, int64_t first, int64_t i, int64_t panel,
                              uint32_t allowed)
{
    if (job->class_begin && !job->own_only) {
        const struct fkmi_range range = fkmi_scan_range(job, fkmi_scan_row(job, first, i));
        allowed &= ~fkmi_lanes_between(panel, job->pack->tile->cols, range.skip_begin, range.skip_end);
    }
    return allowed;
}

/* Before the first panel nothing is known, and every lane would be looked at: begin with the best one.
 * Returns its bit for each row of the tile. */
static void offer_highest(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch,
                          struct fkmi_shortlist *lists, int64_t list_stride, int64_t first, int64_t t,
                          int64_t panel, uint32_t allowed, uint32_t *taken)
{
    const struct fkmi_pack *pack = job->pack;
    const enum fkmi_real real = pack->space.real;
    const int64_t rows = pack->tile->rows, row_size = pack->tile->cols * (int64_t)fkmi_real_size(real);

    for (int64_t r = 0, i = t * rows; r < rows && i < scratch->block.n; r++, i++) {
        const char *row_scores = scratch->scores + r * row_size;
        const int lane = pack->tile->highest(row_scores);
        struct fkmi_shortlist *list = &lists[i * list_stride];

        taken[r] = 0;
        if (!(lanes_allowed(job, first, i, panel, allowed) >> lane & 1))
            continue;
        offer_lane(job, &scratch->block.facts[i], list, row_scores, panel, lane);
        fkmi_set_threshold(real, scratch->threshold, i, list->threshold);
        taken[r] = 1u << lane;
    }
}

void fkmi_offer_tile(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch,
                     struct fkmi_shortlist *lists, int64_t list_stride, int64_t first, int64_t t,
                     int64_t panel, uint32_t allowed, bool begins)
{
    const struct fkmi_pack *pack = job->pack;
    const enum fkmi_real real = pack->space.real;
    const int rows = pack->tile->rows;
    const size_t row_size = (size_t)pack->tile->cols * fkmi_real_size(real);
    const bool has_taken = begins && job->most == 1;
    uint32_t lanes[32], taken[32], hit;

    if (has_taken)
        offer_highest(job, scratch, lists, list_stride, first, t, panel, allowed, taken);
    hit = pack->tile->above(scratch->scores, scratch->threshold + (size_t)(t * rows) * fkmi_real_size(real),
                            lanes);
    for (; hit; hit &= hit - 1) {
        const int r = __builtin_ctz(hit);
        const int64_t i = t * rows + r;
        struct fkmi_shortlist *list = &lists[i * list_stride];
        uint32_t bits =
            lanes_allowed(job, first, i, panel, lanes[r] & allowed & (has_taken ? ~taken[r] : ~0u));

        if (!bits)
            continue;
        for (; bits; bits &= bits - 1)
            offer_lane(job, &scratch->block.facts[i], list, scratch->scores + (size_t)r * row_size, panel,
                       __builtin_ctz(bits));
        if (list->crowded && scratch->block.sparse &&
            !pack->listed) { /* it will begin anew, in f64 or directly */
            scratch->block.skipped[i] = 1;
            fkmi_set_threshold(real, scratch->threshold, i, INFINITY);
        } else
            fkmi_set_threshold(real, scratch->threshold, i, list->threshold);
    }
}

void fkmi_all_of_tile(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch, int64_t first,
                      int64_t t, int64_t panel)
{
    const struct fkmi_pack *pack = job->pack;
    const int64_t rows = pack->tile->rows, cols = pack->tile->cols, left = job->end - panel * cols;
    const int64_t n = left < cols ? left : cols;

    for (int64_t r = 0, i = t * rows; r < rows && i < scratch->block.n; r++, i++) {
        double *distance =
            job->distance + fkmi_scan_row(job, first, i) * job->stride + panel * cols - job->begin;
        const void *scores = scratch->scores + (size_t)(r * cols) * fkmi_real_size(pack->space.real);
        const struct fkmi_row_facts *facts = &scratch->block.facts[i];

        fkmi_pack_vector(pack)->of_scores[pack->space.metric](
            scores, n, facts->square, facts->size > 0 ? 1 / facts->size : 0.0, facts->factor, distance);
    }
}

/* FKMI_CLASSES and FKMI_ALL for a row whose scores mean nothing. */
void fkmi_replace_row(const struct fkmi_scan_job *job, struct fkmi_direct *direct, int64_t row)
{
    double *distance = job->distance + row * job->stride;
    int32_t *index = job->index ? job->index + row * job->stride : NULL;

    fkmi_direct_row(direct, row);
    if (job->epilogue == FKMI_ALL) {
        for (int64_t j = job->begin; j < job->end; j++)
            distance[j - job->begin] = fkmi_direct_distance(direct, j);
        return;
    }
    for (int64_t j = 0, c = 0; j < job->pack->k; j++) {
        const double d = fkmi_direct_distance(direct, j);

        while (j >= job->class_begin[c + 1])
            c++;
        if (j == job->class_begin[c] || d < distance[c]) {
            distance[c] = d;
            if (index)
                index[c] = (int32_t)j;
        }
    }
}
