/* class_bests.c — the nearest prototype of each class, from the scores of a tile.
 *
 * Prototypes of a class lie side by side, so a class is a segment of a panel, or of several: what came out of the
 * panels before stands in the output, as a score until the class ends.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "backends/cpu/scan.h"

void fkmi_find_segments(const struct fkmi_scan_job *job, int64_t panel, struct fkmi_segments *segments)
{
    const int64_t cols = job->pack->tile->cols, first = panel * cols, left = job->pack->k - first;
    const int64_t n = left < cols ? left : cols, *class_begin = job->class_begin;
    int64_t c = segments->n > 0 ? segments->of[segments->n - 1].which : 0;

    segments->n = 0;
    for (; c < job->n_classes && class_begin[c] < first + n; c++) {
        const int64_t begin = class_begin[c] - first, end = class_begin[c + 1] - first;

        if (end <= 0 || begin == end)
            continue;
        segments->of[segments->n++] = (struct fkmi_segment){.which = c,
                                                            .begin = (int32_t)(begin > 0 ? begin : 0),
                                                            .end = (int32_t)(end < n ? end : n),
                                                            .begins = begin >= 0,
                                                            .ends = end <= n};
    }
}

/* What a class brings from the panels before, as a score, unless a better one has come. */
static bool keep_carried(enum fkmi_real real, void *best, double carried)
{
    if (fkmi_real_get(real, best, 0) > carried)
        return false;
    if (real == FKMI_REAL_F64)
        *(double *)best = carried;
    else
        *(float *)best = (float)carried; /* which it was */
    return true;
}

/* Scores of classes that have ended become distances. */
static void write_distances(const struct fkmi_pack *pack, const struct fkmi_row_facts *facts,
                            const struct fkmi_segments *segments, const void *best, double *distance)
{
    const struct fkmi_segment *of = segments->of;
    const int last = segments->n - 1;
    const bool side_by_side = of[last].which - of[0].which == last; /* no class between them is empty */
    double apart[FKMI_MOST_SEGMENTS], *out = side_by_side ? distance + of[0].which : apart;

    fkmi_pack_vector(pack)->of_scores[pack->space.metric](
        best, of[last].ends ? last + 1 : last, facts->square, facts->size > 0 ? 1 / facts->size : 0.0,
        facts->factor, out);
    if (!of[last].ends)
        out[last] = fkmi_real_get(pack->space.real, best, last);
    for (int s = 0; !side_by_side && s < segments->n; s++)
        distance[of[s].which] = apart[s];
}

static void write_lanes(enum fkmi_real real, const struct fkmi_segments *segments, const void *lane,
                        int32_t first, int begin, int32_t *index)
{
    for (int s = begin; s < segments->n; s++)
        index[segments->of[s].which] = first + (int32_t)fkmi_real_get(real, lane, s);
}

void fkmi_classes_of_tile(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch, int64_t first,
                          int64_t t, int64_t panel, const struct fkmi_segments *segments)
{
    const struct fkmi_pack *pack = job->pack;
    const enum fkmi_real real = pack->space.real;
    const int64_t rows = pack->tile->rows, cols = pack->tile->cols, which = segments->of[0].which;
    const size_t row_size = (size_t)cols * fkmi_real_size(real);
    int32_t begin[FKMI_MOST_SEGMENTS], end[FKMI_MOST_SEGMENTS];

    for (int s = 0; s < segments->n; s++) {
        begin[s] = segments->of[s].begin;
        end[s] = segments->of[s].end;
    }
    pack->tile->bests(scratch->scores, segments->n, begin, end, scratch->other,
                      job->index ? scratch->scores : NULL);
    for (int64_t r = 0, i = t * rows; r < rows && i < scratch->block.n; r++, i++) {
        const int64_t at = fkmi_scan_row(job, first, i) * job->stride;
        double *distance = job->distance + at;
        char *best = scratch->other + (size_t)r * row_size;
        const bool stays = !segments->of[0].begins && keep_carried(real, best, distance[which]);

        if (job->index)
            write_lanes(real, segments, scratch->scores + (size_t)r * row_size, (int32_t)(panel * cols),
                        stays, job->index + at);
        write_distances(pack, &scratch->block.facts[i], segments, best, distance);
    }
}

void fkmi_empty_classes(const struct fkmi_scan_job *job, int64_t first, int64_t n)
{
    for (int64_t c = 0; c < job->n_classes; c++) {
        if (job->class_begin[c] < job->class_begin[c + 1])
            continue;
        for (int64_t i = 0; i < n; i++) {
            const int64_t at = fkmi_scan_row(job, first, i) * job->stride + c;

            job->distance[at] = INFINITY;
            if (job->index)
                job->index[at] = -1;
        }
    }
}
