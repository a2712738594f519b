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

/* The best score of each segment and, unless lane is NULL, its lane. */
#define BESTS(real, with_lane)                                                                               \
    do {                                                                                                     \
        for (int s = 0; s < segments->n; s++) {                                                              \
            const int32_t end = segments->of[s].end;                                                         \
            int32_t at = segments->of[s].begin;                                                              \
            real most = ((const real *)scores)[at];                                                          \
                                                                                                             \
            for (int32_t j = at + 1; j < end; j++) { /* without branches: nobody can guess */                \
                const real score = ((const real *)scores)[j];                                                \
                                                                                                             \
                at = (with_lane) && score > most ? j : at;                                                   \
                most = score > most ? score : most;                                                          \
            }                                                                                                \
            best[s] = (double)most;                                                                          \
            if (with_lane)                                                                                   \
                lane[s] = at;                                                                                \
        }                                                                                                    \
    } while (0)

static void bests_of_row(enum fkmi_real real, const void *scores, const struct fkmi_segments *segments,
                         double *best, int32_t *lane)
{
    if (real == FKMI_REAL_F64)
        BESTS(double, lane);
    else if (lane)
        BESTS(float, true);
    else
        BESTS(float, false);
}

static inline void distances_of(const struct fkmi_row_facts *facts, fkm_metric metric, int n, double *best)
{
    const double unit = facts->size > 0 ? 1 / facts->size : 0.0, square = facts->square,
                 factor = facts->factor;

    for (int s = 0; s < n; s++)
        best[s] = fkmi_score_distance(metric, square, unit, factor, best[s]);
}

/* Scores of classes that have ended become distances. */
static void finish_bests(const struct fkmi_pack *pack, const struct fkmi_row_facts *facts,
                         const struct fkmi_segments *segments, double *best)
{
    const int n = segments->of[segments->n - 1].ends ? segments->n : segments->n - 1;

    switch (pack->space.metric) { /* one loop for each, without choices inside */
    case FKM_METRIC_EUCLIDEAN:
        distances_of(facts, FKM_METRIC_EUCLIDEAN, n, best);
        break;
    case FKM_METRIC_L1:
        distances_of(facts, FKM_METRIC_L1, n, best);
        break;
    default:
        distances_of(facts, FKM_METRIC_COSINE, n, best);
        break;
    }
}

void fkmi_classes_of_tile(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch, int64_t first,
                          int64_t t, int64_t panel, const struct fkmi_segments *segments)
{
    const struct fkmi_pack *pack = job->pack;
    const struct fkmi_segment *of = segments->of;
    const int64_t rows = pack->tile->rows, cols = pack->tile->cols;
    const size_t row_size = (size_t)cols * fkmi_real_size(pack->space.real);
    double best[FKMI_MOST_SEGMENTS];
    int32_t lane[FKMI_MOST_SEGMENTS];

    for (int64_t r = 0, i = t * rows; r < rows && i < scratch->block.n; r++, i++) {
        const int64_t at = fkmi_scan_row(job, first, i) * job->stride;
        double *distance = job->distance + at;
        int32_t *index = job->index ? job->index + at : NULL;
        bool stays = false; /* the class goes on from the panel before, where a better one was */

        bests_of_row(pack->space.real, scratch->scores + (size_t)r * row_size, segments, best,
                     index ? lane : NULL);
        if (!of[0].begins && !(best[0] > distance[of[0].which])) {
            best[0] = distance[of[0].which];
            stays = true;
        }
        for (int s = stays; index && s < segments->n; s++)
            index[of[s].which] = (int32_t)(panel * cols) + lane[s];
        finish_bests(pack, &scratch->block.facts[i], segments, best);
        for (int s = 0; s < segments->n; s++)
            distance[of[s].which] = best[s];
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
