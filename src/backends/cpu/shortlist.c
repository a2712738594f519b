/* shortlist.c — the few prototypes of a row that scores cannot tell apart, and the verdict of direct
 * distances.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "backends/cpu/cpu.h"

enum { FEW = 16 }; /* candidates that are sorted without a heap */

static bool is_worse(struct fkmi_candidate a, struct fkmi_candidate b)
{
    return a.score < b.score || (a.score == b.score && a.index > b.index);
}

/* ---- a heap with the worst on top */

static void sift_down(struct fkmi_candidate *heap, int64_t n, int64_t at)
{
    const struct fkmi_candidate moved = heap[at];

    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && is_worse(heap[child + 1], heap[child]))
            child++;
        if (!is_worse(heap[child], moved))
            break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

static void push(struct fkmi_candidate *heap, int64_t n, struct fkmi_candidate candidate)
{
    int64_t at = n;

    for (; at > 0 && is_worse(candidate, heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = candidate;
}

static void make_heap(struct fkmi_candidate *heap, int64_t n)
{
    for (int64_t i = n / 2 - 1; i >= 0; i--)
        sift_down(heap, n, i);
}

/* Best first, by counting for each those before it: without branches, which nobody can guess. */
static void sort_few(struct fkmi_candidate *some, int n)
{
    struct fkmi_candidate sorted[FEW];
    int place[FEW] = {0};

    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++) {
            const int later = (some[i].score < some[j].score) |
                              ((some[i].score == some[j].score) & (some[i].index > some[j].index));

            place[i] += later;
            place[j] += 1 - later;
        }
    for (int i = 0; i < n; i++)
        sorted[place[i]] = some[i];
    memcpy(some, sorted, (size_t)n * sizeof *some);
}

/* Best first, whatever the order was. */
static void sort_best(struct fkmi_candidate *heap, int64_t n)
{
    if (n <= FEW) {
        sort_few(heap, (int)n);
        return;
    }
    make_heap(heap, n);
    for (int64_t left = n - 1; left > 0; left--) {
        const struct fkmi_candidate worst = heap[0];

        heap[0] = heap[left];
        heap[left] = worst;
        sift_down(heap, left, 0);
    }
}

void fkmi_shortlist_keep(struct fkmi_shortlist *list, int64_t most, struct fkmi_candidate candidate)
{
    if (list->n < most)
        push(list->best, list->n++, candidate);
    else if (is_worse(list->best[0], candidate)) {
        list->best[0] = candidate;
        sift_down(list->best, list->n, 0);
    }
}

/* ---- rivals */

static bool same_point(const struct fkmi_pack *pack, int64_t i, int64_t j)
{
    const size_t size = fkmi_dtype_size(pack->dtype), row = (size_t)pack->dim * size;

    if (pack->listed) {
        const struct fkmi_lists *lists = &pack->lists;
        const int64_t n = lists->begin[i + 1] - lists->begin[i];

        return n == lists->begin[j + 1] - lists->begin[j] &&
               memcmp(lists->index + lists->begin[i], lists->index + lists->begin[j],
                      (size_t)n * sizeof *lists->index) == 0 &&
               memcmp((const char *)lists->value + (size_t)lists->begin[i] * size,
                      (const char *)lists->value + (size_t)lists->begin[j] * size, (size_t)n * size) == 0;
    }
    return memcmp((const char *)pack->points + (size_t)i * row, (const char *)pack->points + (size_t)j * row,
                  row) == 0;
}

/* No place is left for this rival. When the list holds `most` copies of the very same prototype already,
 * the copy with the highest index cannot be among the `most` nearest and goes. */
static bool drop_a_copy(struct fkmi_shortlist *list, int64_t most, const struct fkmi_pack *pack,
                        struct fkmi_candidate rival)
{
    int64_t n_copies = 0;
    int highest = -1;

    if (most > FKMI_RIVALS)
        return false;
    for (int64_t i = 0; i < list->n; i++)
        n_copies += list->best[i].score == rival.score && same_point(pack, list->best[i].index, rival.index);
    for (int i = 0; i < list->n_rivals; i++)
        if (list->rival[i].score == rival.score && same_point(pack, list->rival[i].index, rival.index)) {
            n_copies++;
            if (highest < 0 || list->rival[i].index > list->rival[highest].index)
                highest = i;
        }
    if (n_copies < most)
        return false;
    if (highest >= 0 && list->rival[highest].index > rival.index)
        list->rival[highest] = rival;
    return true;
}

static void find_threshold(struct fkmi_shortlist *list, const struct fkmi_pack *pack,
                           const struct fkmi_row_facts *facts)
{
    const double worst = list->best[0].score;
    const double threshold =
        list->close ? fkmi_score_close_threshold(pack, facts, worst) : fkmi_score_threshold(facts, worst);

    if (threshold > list->threshold) /* scores that were not offered may have told more */
        list->threshold = threshold;
}

static void forget_lost_rivals(struct fkmi_shortlist *list)
{
    int n = 0;

    for (int i = 0; i < list->n_rivals; i++)
        if (list->rival[i].score > list->threshold)
            list->rival[n++] = list->rival[i];
    list->n_rivals = n;
}

static void keep_rival(struct fkmi_shortlist *list, int64_t most, const struct fkmi_pack *pack,
                       const struct fkmi_row_facts *facts, struct fkmi_candidate rival)
{
    if (list->crowded)
        return;
    if (list->n_rivals == FKMI_RIVALS)
        forget_lost_rivals(list);
    if (list->n_rivals == FKMI_RIVALS && !list->close) {
        list->close = true;
        find_threshold(list, pack, facts);
        forget_lost_rivals(list);
    }
    if (rival.score <= list->threshold)
        return;
    if (list->n_rivals < FKMI_RIVALS)
        list->rival[list->n_rivals++] = rival;
    else
        list->crowded = !drop_a_copy(list, most, pack, rival);
}

/* ---- entry points */

void fkmi_shortlist_start(struct fkmi_shortlist *list, struct fkmi_candidate *best)
{
    list->threshold = -INFINITY;
    list->n = 0;
    list->n_rivals = 0;
    list->close = false;
    list->crowded = false;
    list->best = best;
}

void fkmi_shortlist_offer(struct fkmi_shortlist *list, int64_t most, const struct fkmi_pack *pack,
                          const struct fkmi_row_facts *facts, double score, int64_t index)
{
    const struct fkmi_candidate candidate = {score, (int32_t)index};

    if (list->n < most) {
        push(list->best, list->n++, candidate);
        if (list->n == most)
            find_threshold(list, pack, facts);
    } else if (is_worse(list->best[0], candidate)) {
        const struct fkmi_candidate out = list->best[0];

        list->best[0] = candidate;
        sift_down(list->best, list->n, 0);
        find_threshold(list, pack, facts);
        if (out.score > list->threshold)
            keep_rival(list, most, pack, facts, out);
    } else if (score > list->threshold)
        keep_rival(list, most, pack, facts, candidate);
}

bool fkmi_shortlist_fill(struct fkmi_shortlist *list, int64_t most, const struct fkmi_pack *pack,
                         const struct fkmi_row_facts *facts, const void *score, const int32_t *index, int n,
                         double worst)
{
    const double threshold = fkmi_score_threshold(facts, worst);
    const double least = threshold > list->threshold ? threshold : list->threshold;
    int64_t n_best = 0, at_worst = 0;
    int n_rivals = 0;

    if (list->n > 0)
        return false;
    for (int c = 0; c < n; c++) {
        const struct fkmi_candidate candidate = {fkmi_real_get(pack->space.real, score, c), index[c]};

        if (candidate.score >= worst) {
            if (n_best == most)
                return false;
            at_worst = candidate.score == worst ? n_best : at_worst;
            list->best[n_best++] = candidate;
        } else if (candidate.score > least) {
            if (n_rivals == FKMI_RIVALS)
                return false;
            list->rival[n_rivals++] = candidate;
        }
    }
    if (n_best < most)
        return false;
    const struct fkmi_candidate top = list->best[at_worst]; /* thresholds come from the one on top */

    list->best[at_worst] = list->best[0];
    list->best[0] = top;
    list->n = n_best;
    list->n_rivals = n_rivals;
    list->threshold = least;
    return true;
}

void fkmi_shortlist_merge(struct fkmi_shortlist *list, int64_t most, const struct fkmi_pack *pack,
                          const struct fkmi_row_facts *facts, const struct fkmi_shortlist *other)
{
    list->crowded |= other->crowded;
    for (int64_t i = 0; i < other->n; i++)
        fkmi_shortlist_offer(list, most, pack, facts, other->best[i].score, other->best[i].index);
    for (int i = 0; i < other->n_rivals; i++)
        fkmi_shortlist_offer(list, most, pack, facts, other->rival[i].score, other->rival[i].index);
}

/* The list as candidates of direct distances: scores become minus those. */
static void judge_kept(struct fkmi_shortlist *list, int64_t most, struct fkmi_direct *direct)
{
    int32_t index[FKMI_DIRECT_MOST];
    double distance[FKMI_DIRECT_MOST];

    for (int64_t i = 0; i < list->n; i += FKMI_DIRECT_MOST) {
        const int n = list->n - i < FKMI_DIRECT_MOST ? (int)(list->n - i) : FKMI_DIRECT_MOST;

        for (int c = 0; c < n; c++)
            index[c] = list->best[i + c].index;
        fkmi_direct_distances(direct, index, n, distance);
        for (int c = 0; c < n; c++)
            list->best[i + c].score = -distance[c];
    }
    if (list->n_rivals > 0)
        make_heap(list->best, list->n);
    for (int i = 0; i < list->n_rivals; i++)
        fkmi_shortlist_keep(list, most,
                            (struct fkmi_candidate){-fkmi_direct_distance(direct, list->rival[i].index),
                                                    list->rival[i].index});
}

void fkmi_shortlist_judge_range(struct fkmi_shortlist *list, int64_t most, struct fkmi_direct *direct,
                                const struct fkmi_range *range)
{
    list->n = 0;
    for (int64_t j = range->begin; j < range->end; j++)
        if (j < range->skip_begin || j >= range->skip_end)
            fkmi_shortlist_keep(list, most,
                                (struct fkmi_candidate){-fkmi_direct_distance(direct, j), (int32_t)j});
}

void fkmi_shortlist_judge(struct fkmi_shortlist *list, int64_t most, const struct fkmi_row_facts *facts,
                          struct fkmi_direct *direct, const struct fkmi_range *range)
{
    const int64_t n_allowed = range->end - range->begin - (range->skip_end - range->skip_begin);

    if (list->crowded || facts->unusual || list->n < (n_allowed < most ? n_allowed : most)) {
        fkmi_shortlist_judge_range(list, most, direct, range);
        return;
    }
    if (list->n_rivals > 0) {
        list->close = true;
        find_threshold(list, direct->pack, facts);
        forget_lost_rivals(list);
    }
    judge_kept(list, most, direct);
}

void fkmi_shortlist_join(struct fkmi_shortlist *list, int64_t most, const struct fkmi_shortlist *other)
{
    for (int64_t i = 0; i < other->n; i++)
        fkmi_shortlist_keep(list, most, other->best[i]);
}

void fkmi_shortlist_write(struct fkmi_shortlist *list, int64_t width, int32_t *index, double *distance)
{
    sort_best(list->best, list->n);
    for (int64_t i = 0; i < width; i++) {
        if (index)
            index[i] = i < list->n ? list->best[i].index : -1;
        distance[i] = i < list->n ? -list->best[i].score : (double)INFINITY;
    }
}
