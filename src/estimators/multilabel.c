/* multilabel.c — k prototypes per tag; a tag's score is that of its nearest prototype, and thresholds per tag turn
 * scores into answers.
 *
 * Thresholds maximise each tag's F1 on the rows at hand (on a sample of them, where rows x tags are very many), shrunk
 * towards the threshold of the best micro-F1 when the tag has few rows. They come from histograms of the scores
 * (never rows x tags in memory), counted in integers so that no order of threads can change them.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>
#include <string.h>

#include "estimators/model.h"

enum { MOST_BYTES_OF_COPIES = 4 << 20 };
enum { HISTOGRAM_ENTRIES = 1 << 17, MAX_BINS = 1024, MIN_BINS = 64, POOLED_BINS = 4096 };
enum { MOST_SCORES = 1 << 27, LEAST_SAMPLE = 8192 }; /* scores looked at; but so many rows */
enum { TAGS_TOGETHER = 64 };
enum { WEIGHT_BITS = 20 }; /* of the largest weight, when weights are counted in integers */
/* Rows of a tag that count as much as the pooled threshold. Large, because scores of the rows a model was trained on
 * flatter it and a tag's own best F1 is not the best micro-F1: on yeast micro-F1 is .667 with 1000, .644 with 10; on
 * bibtex .457 and .440. */
static const double SHRINK = 1000.0;

/* ---- reading tags */

static fkm_status check_row_tags(const fkm_batch *batch, int64_t row)
{
    const int64_t begin = batch->tag_indptr[row], end = batch->tag_indptr[row + 1];

    for (int64_t t = begin; t < end; t++) {
        if (batch->tags[t] < 0 || (batch->n_tags > 0 && batch->tags[t] >= batch->n_tags))
            return fkmi_fail(FKM_EINVAL, "row %lld has tag %d, there are %lld tags", (long long)row,
                             batch->tags[t], (long long)batch->n_tags);
        for (int64_t s = begin; s < t; s++)
            if (batch->tags[s] == batch->tags[t])
                return fkmi_fail(FKM_EINVAL, "row %lld has tag %d twice", (long long)row, batch->tags[t]);
    }
    return FKM_OK;
}

/* The row pointers as a whole come first: only then do they say how many tags may be read. */
fkm_status fkmi_tags_check(const fkm_batch *batch)
{
    const int64_t n = batch->n_rows;

    if (!batch->tag_indptr || (!batch->tags && batch->tag_indptr[n] > 0))
        return fkmi_fail(FKM_EINVAL, "a multi-label model needs tags, the batch has none");
    if (batch->tag_indptr[0] != 0)
        return fkmi_fail(FKM_EINVAL, "tag_indptr begins with %lld instead of 0",
                         (long long)batch->tag_indptr[0]);
    for (int64_t i = 0; i < n; i++)
        if (batch->tag_indptr[i + 1] < batch->tag_indptr[i])
            return fkmi_fail(FKM_EINVAL, "tag_indptr falls from %lld to %lld at row %lld",
                             (long long)batch->tag_indptr[i], (long long)batch->tag_indptr[i + 1],
                             (long long)i);
    for (int64_t i = 0; i < n; i++)
        FKMI_TRY(check_row_tags(batch, i));
    return FKM_OK;
}

fkm_status fkmi_strategy_check(fkm_strategy strategy, int64_t top_k)
{
    if (strategy != FKM_STRATEGY_ADAPTIVE && strategy != FKM_STRATEGY_GAP && strategy != FKM_STRATEGY_TOP_K)
        return fkmi_fail(FKM_EINVAL, "strategy is %d; valid: adaptive, gap, top_k", (int)strategy);
    if (strategy == FKM_STRATEGY_TOP_K && top_k < 1)
        return fkmi_fail(FKM_EINVAL, "top_k is %lld; it must be at least 1", (long long)top_k);
    return FKM_OK;
}

static fkm_status read(const fkm_model *model, struct fkmi_learned *learned, const fkm_batch *batch,
                       bool grow, struct fkmi_lesson *lesson)
{
    const int64_t n = lesson->base.n;
    int64_t n_pairs;

    (void)model;
    FKMI_TRY(fkmi_tags_check(batch));
    n_pairs = batch->tag_indptr[n];
    if (grow && n_pairs == 0 && learned->state.k == 0)
        return fkmi_fail(FKM_EINVAL, "none of the %lld rows has a tag: there is nothing to learn",
                         (long long)n);
    FKMI_TRY(fkmi_alloc(&lesson->slot, n_pairs, sizeof *lesson->slot));
    FKMI_TRY(fkmi_alloc(&lesson->owned_view, n_pairs, sizeof *lesson->owned_view));
    for (int64_t i = 0; i < n; i++)
        for (int64_t t = batch->tag_indptr[i]; t < batch->tag_indptr[i + 1]; t++) {
            int32_t slot = fkmi_classes_find(&learned->classes, batch->tags[t]);
            if (slot < 0 && !grow)
                return fkmi_fail(FKM_EINVAL, "tag %d of row %lld was never seen in phase 1", batch->tags[t],
                                 (long long)i);
            if (slot < 0) {
                slot = (int32_t)learned->classes.n;
                FKMI_TRY(fkmi_classes_add(&learned->classes, batch->tags[t]));
            }
            lesson->slot[t] = slot;
            lesson->owned_view[t] = i;
        }
    lesson->view = fkmi_rows_pick(&lesson->base, lesson->owned_view, n_pairs);
    lesson->targets.tag_indptr = batch->tag_indptr;
    lesson->targets.tag_slot = lesson->slot; /* until some rows are held out */
    return FKM_OK;
}

/* ---- scores of rows with known tags: ranges, then histograms */

struct tally {
    const struct fkmi_lesson *lesson;
    struct fkmi_rows rows; /* the lesson's, or a sample */
    int64_t *owned_rows;
    int64_t n_tags, n_bins;
    double *low, *high; /* per thread and tag: range of z */
    double
        *least; /* and the least z of a row that has the tag; then by tag, from where on rows are counted */
    double pooled_low, pooled_high, pooled_least;
    double unit;       /* what a weight of 1 counts: a power of two */
    size_t count_size; /* bytes of a count in bins */
    bool shared;       /* the threads count in the same bins: copies would be too large */
    void *bins;        /* per thread, if not shared: tag x n_bins x {negative, positive} */
    int64_t *pooled;   /* per thread: POOLED_BINS x {negative, positive} */
    uint8_t *positive; /* per thread and tag; all 0 between rows */
};

static void widen_ranges(void *argument, int64_t row, const double *z, int thread)
{
    struct tally *tally = argument;
    const struct fkmi_targets *targets = &tally->lesson->targets;
    const int64_t r = fkmi_row(&tally->rows, row);
    double *low = tally->low + thread * tally->n_tags, *high = tally->high + thread * tally->n_tags;
    double *least = tally->least + thread * tally->n_tags;

    for (int64_t t = targets->tag_indptr[r]; t < targets->tag_indptr[r + 1]; t++)
        least[targets->tag_slot[t]] = fmin(least[targets->tag_slot[t]], z[targets->tag_slot[t]]);
    for (int64_t c = 0; c < tally->n_tags; c++) {
        if (!isfinite(z[c]))
            continue;
        low[c] = z[c] < low[c] ? z[c] : low[c];
        high[c] = z[c] > high[c] ? z[c] : high[c];
    }
}

static int64_t bin_of(double z, double low, double high, int64_t n_bins)
{
    const double at = high > low ? (z - low) / (high - low) * (double)n_bins : 0.0;

    return !(at > 0)              ? 0
           : at >= (double)n_bins ? n_bins - 1
                                  : (int64_t)at; /* NaN: low and high are too far apart */
}

static void count(const struct tally *tally, int64_t at, int64_t weight, int thread)
{
    const int64_t place = tally->shared ? at : thread * 2 * tally->n_tags * tally->n_bins + at;

#define COUNT(type)                                                                                          \
    do {                                                                                                     \
        if (tally->shared)                                                                                   \
            atomic_fetch_add_explicit((_Atomic type *)tally->bins + place, (type)weight,                     \
                                      memory_order_relaxed);                                                 \
        else                                                                                                 \
            ((type *)tally->bins)[place] = (type)(((type *)tally->bins)[place] + (type)weight);              \
    } while (0)
    if (tally->count_size == sizeof(uint16_t))
        COUNT(uint16_t);
    else if (tally->count_size == sizeof(uint32_t))
        COUNT(uint32_t);
    else
        COUNT(int64_t);
#undef COUNT
}

static int64_t count_at(const void *bins, size_t count_size, int64_t at)
{
    if (count_size == sizeof(int16_t))
        return ((const _Atomic uint16_t *)bins)[at];
    return count_size == sizeof(int32_t) ? (int64_t)((const _Atomic uint32_t *)bins)[at]
                                         : ((const _Atomic int64_t *)bins)[at];
}

/* Tags begin .. end of a row. Which of them count nobody can guess, so they are listed without branches first. What scores
 * less than the least row that has the tag can only make thresholds worse: it is not counted. */
static void count_tags(const struct tally *tally, const double *z, int64_t begin, int64_t end, int64_t weight,
                       int thread)
{
    const uint8_t *positive = tally->positive + thread * tally->n_tags;
    int64_t *pooled = tally->pooled + (int64_t)thread * 2 * POOLED_BINS;
    int32_t all[TAGS_TOGETHER], own[TAGS_TOGETHER];
    int n_all = 0, n_own = 0;

    for (int64_t c = begin; c < end; c++) {
        const int finite = z[c] - z[c] == 0, enough = z[c] >= tally->least[c];

        all[n_all] = own[n_own] = (int32_t)c;
        n_all += finite & (enough | (z[c] >= tally->pooled_least));
        n_own += finite & enough;
    }
    for (int i = 0; i < n_all; i++)
        pooled[2 * bin_of(z[all[i]], tally->pooled_low, tally->pooled_high, POOLED_BINS) +
               positive[all[i]]] += weight;
    for (int i = 0; i < n_own; i++) {
        const int64_t c = own[i], bin = bin_of(z[c], tally->low[c], tally->high[c], tally->n_bins);

        count(tally, 2 * (c * tally->n_bins + bin) + positive[c], weight, thread);
    }
}

static void count_row(void *argument, int64_t row, const double *z, int thread)
{
    struct tally *tally = argument;
    const struct fkmi_targets *targets = &tally->lesson->targets;
    const int64_t r = fkmi_row(&tally->rows, row);
    const int64_t weight = (int64_t)(fkmi_row_weight(&tally->rows, row) * tally->unit + 0.5);
    uint8_t *positive = tally->positive + thread * tally->n_tags;

    for (int64_t t = targets->tag_indptr[r]; t < targets->tag_indptr[r + 1]; t++)
        positive[targets->tag_slot[t]] = 1;
    for (int64_t begin = 0; begin < tally->n_tags; begin += TAGS_TOGETHER) {
        const int64_t left = tally->n_tags - begin;

        count_tags(tally, z, begin, left < TAGS_TOGETHER ? begin + left : begin + TAGS_TOGETHER, weight,
                   thread);
    }
    for (int64_t t = targets->tag_indptr[r]; t < targets->tag_indptr[r + 1]; t++)
        positive[targets->tag_slot[t]] = 0;
}

/* Weights of any size, counted so that their sums are exact; rows without weights are counted themselves. */
static double unit_of(const struct fkmi_rows *rows)
{
    double largest = 0;
    int exponent;

    if (!rows->weight)
        return 1;
    for (int64_t i = 0; i < rows->n; i++) { /* not by fmax(), on whose reduction gcc 12 for ARM breaks down */
        const double weight = fkmi_row_weight(rows, i);

        largest = weight > largest ? weight : largest;
    }
    (void)frexp(largest, &exponent);
    return ldexp(1.0, WEIGHT_BITS + 1 - exponent);
}

/* The z from which on a tag is answered so that F1 is largest, from counts of n_bins bins from `first` on; *f1 and the positives counted
 * are told. Without positives the threshold is above every score. */
static double best_threshold(const void *bins, size_t count_size, int64_t first, int64_t n_bins, double low,
                             double high, double *f1, double *n_positive)
{
    const double width = (high - low) / (double)n_bins;
    double positives = 0, true_positive = 0, false_positive = 0, best = -1,
           at = high + (width > 0 ? width : 1.0);

    for (int64_t b = 0; b < n_bins; b++)
        positives += (double)count_at(bins, count_size, 2 * (first + b) + 1);
    for (int64_t b = n_bins - 1; b >= 0; b--) {
        const int64_t negative = count_at(bins, count_size, 2 * (first + b)),
                      positive = count_at(bins, count_size, 2 * (first + b) + 1);
        if (negative == 0 && positive == 0)
            continue;
        false_positive += (double)negative;
        true_positive += (double)positive;
        const double score = 2 * true_positive / (true_positive + false_positive + positives);
        if (positives > 0 && score > best) {
            best = score;
            at = low + (double)b * width;
        }
    }
    *f1 = best > 0 ? best : 0.0;
    *n_positive = positives;
    return at;
}

/* So far below `score` that its bin is counted whole. */
static double bin_below(double score, double low, double high, int64_t n_bins)
{
    return score - (high - low) / (double)n_bins * 1.5;
}

static void join_ranges(struct tally *tally, int64_t n_threads)
{
    const int64_t n_tags = tally->n_tags;

    tally->pooled_low = tally->pooled_least = INFINITY;
    tally->pooled_high = -INFINITY;
    for (int64_t c = 0; c < n_tags; c++) {
        for (int64_t t = 1; t < n_threads; t++) {
            tally->low[c] = fmin(tally->low[c], tally->low[t * n_tags + c]);
            tally->high[c] = fmax(tally->high[c], tally->high[t * n_tags + c]);
            tally->least[c] = fmin(tally->least[c], tally->least[t * n_tags + c]);
        }
        tally->pooled_low = fmin(tally->pooled_low, tally->low[c]);
        tally->pooled_high = fmax(tally->pooled_high, tally->high[c]);
        tally->pooled_least = fmin(tally->pooled_least, tally->least[c]);
        tally->least[c] = bin_below(tally->least[c], tally->low[c], tally->high[c], tally->n_bins);
    }
    tally->pooled_least = bin_below(tally->pooled_least, tally->pooled_low, tally->pooled_high, POOLED_BINS);
}

static void join_counts(struct tally *tally, int64_t n_threads)
{
    const int64_t n = 2 * tally->n_tags * tally->n_bins;

    for (int64_t t = 1; t < n_threads; t++) {
        for (int64_t b = 0; b < 2 * POOLED_BINS; b++)
            tally->pooled[b] += tally->pooled[t * 2 * POOLED_BINS + b];
        for (int64_t i = 0; !tally->shared && i < n; i++)
            count(tally, i, count_at(tally->bins, tally->count_size, t * n + i), 0);
    }
}

/* All rows, or one from each of as many equal parts, whichever period the rows have. */
static fkm_status choose_rows(struct tally *tally)
{
    const struct fkmi_lesson *lesson = tally->lesson;
    const int64_t n = lesson->rows.n, few = MOST_SCORES / tally->n_tags,
                  n_some = few > LEAST_SAMPLE ? few : LEAST_SAMPLE;
    struct fkmi_random random = fkmi_random_from((uint64_t)n);

    tally->rows = lesson->rows;
    if (n <= n_some)
        return FKM_OK;
    FKMI_TRY(fkmi_alloc(&tally->owned_rows, n_some, sizeof *tally->owned_rows));
    for (int64_t i = 0; i < n_some; i++) {
        const double place = ((double)i + fkmi_random_uniform(&random)) * ((double)n / (double)n_some);

        tally->owned_rows[i] = fkmi_row(&lesson->rows, place < (double)n ? (int64_t)place : n - 1);
    }
    tally->rows = fkmi_rows_pick(&lesson->base, tally->owned_rows, n_some);
    return FKM_OK;
}

static fkm_status tally_open(struct tally *tally, const struct fkmi_oracle *oracle,
                             const struct fkmi_lesson *lesson)
{
    const int64_t n_tags = oracle->state->n_classes, n_threads = fkmi_pool_threads(oracle->context->pool);

    tally->lesson = lesson;
    tally->n_tags = n_tags;
    FKMI_TRY(choose_rows(tally));
    tally->unit = unit_of(&tally->rows);
    tally->n_bins = HISTOGRAM_ENTRIES / n_tags;
    tally->n_bins = tally->n_bins > MAX_BINS ? MAX_BINS : tally->n_bins < MIN_BINS ? MIN_BINS : tally->n_bins;
    FKMI_TRY(fkmi_alloc(&tally->low, n_threads * n_tags, sizeof(double)));
    FKMI_TRY(fkmi_alloc(&tally->high, n_threads * n_tags, sizeof(double)));
    FKMI_TRY(fkmi_alloc(&tally->least, n_threads * n_tags, sizeof(double)));
    FKMI_TRY(fkmi_alloc(&tally->positive, n_threads * n_tags, 1));
    tally->count_size = tally->rows.weight || tally->rows.n > UINT32_MAX ? sizeof(int64_t)
                        : tally->rows.n > UINT16_MAX                     ? sizeof(int32_t)
                                                                         : sizeof(int16_t);
    tally->shared =
        2 * n_tags * tally->n_bins * n_threads > MOST_BYTES_OF_COPIES / (int64_t)tally->count_size;
    FKMI_TRY(fkmi_alloc(&tally->bins, 2 * n_tags * tally->n_bins * (tally->shared ? 1 : n_threads),
                        tally->count_size));
    FKMI_TRY(fkmi_alloc(&tally->pooled, 2 * POOLED_BINS * n_threads, sizeof(int64_t)));
    for (int64_t i = 0; i < n_threads * n_tags; i++) {
        tally->low[i] = tally->least[i] = INFINITY;
        tally->high[i] = -INFINITY;
    }
    FKMI_TRY(fkmi_oracle_each_tags(oracle, &tally->rows, widen_ranges, tally));
    join_ranges(tally, n_threads);
    FKMI_TRY(fkmi_oracle_each_tags(oracle, &tally->rows, count_row, tally));
    join_counts(tally, n_threads);
    return FKM_OK;
}

static void tally_free(struct tally *tally)
{
    fkmi_free(tally->owned_rows);
    fkmi_free(tally->low);
    fkmi_free(tally->high);
    fkmi_free(tally->least);
    fkmi_free(tally->positive);
    fkmi_free(tally->bins);
    fkmi_free(tally->pooled);
}

/* The best micro-F1 that one threshold for all tags can reach. */
static fkm_status score(const struct fkmi_oracle *oracle, const struct fkmi_lesson *lesson, double *out)
{
    fkm_status status = FKM_OK;
    struct tally tally = {0};
    double n_positive;

    FKMI_TRY_GOTO(tally_open(&tally, oracle, lesson));
    best_threshold(tally.pooled, sizeof *tally.pooled, 0, POOLED_BINS, tally.pooled_low, tally.pooled_high,
                   out, &n_positive);
done:
    tally_free(&tally);
    return status;
}

static fkm_status calibrate(const struct fkmi_oracle *oracle, const struct fkmi_lesson *lesson, double share,
                            struct fkmi_state *state)
{
    fkm_status status = FKM_OK;
    struct tally tally = {0};
    double f1, n_positive, pooled;

    FKMI_TRY_GOTO(tally_open(&tally, oracle, lesson));
    pooled = best_threshold(tally.pooled, sizeof *tally.pooled, 0, POOLED_BINS, tally.pooled_low,
                            tally.pooled_high, &f1, &n_positive);
    for (int64_t c = 0; c < tally.n_tags; c++) {
        double z, own;
        if (!(tally.high[c] >= tally.low[c]))
            continue;
        z = best_threshold(tally.bins, tally.count_size, c * tally.n_bins, tally.n_bins, tally.low[c],
                           tally.high[c], &f1, &n_positive);
        own = n_positive / (n_positive + SHRINK * tally.unit);
        z = own * z + (1 - own) * pooled;
        if (!isfinite(z))
            continue;
        if (share < 1 && state->threshold[c] != 0) /* else the tag is new, and has none yet */
            z = state->threshold[c] + share * (z - state->threshold[c]);
        state->threshold[c] = z;
    }
done:
    tally_free(&tally);
    return status;
}

/* ---- answering */

/* Heap sort of order[0 .. n) by z descending, ties to the lower label: no memory, no worst case. */
static bool comes_before(const struct fkmi_state *state, const double *z, int64_t a, int64_t b)
{
    return z[a] > z[b] || (z[a] == z[b] && state->class_label[a] < state->class_label[b]);
}

static void sift(const struct fkmi_state *state, const double *z, int64_t *order, int64_t root, int64_t n)
{
    for (int64_t child; (child = 2 * root + 1) < n; root = child) {
        const int64_t parent = order[root];
        if (child + 1 < n && comes_before(state, z, order[child], order[child + 1]))
            child++;
        if (!comes_before(state, z, parent, order[child]))
            return;
        order[root] = order[child];
        order[child] = parent;
    }
}

static void sort_tags(const struct fkmi_state *state, const double *z, int64_t *order, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        order[i] = i;
    for (int64_t i = n / 2 - 1; i >= 0; i--)
        sift(state, z, order, i, n);
    for (int64_t i = n - 1; i > 0; i--) {
        const int64_t top = order[0];
        order[0] = order[i];
        order[i] = top;
        sift(state, z, order, 0, i);
    }
}

void fkmi_tags_choose(const struct fkmi_state *state, fkm_strategy strategy, int64_t top_k, const double *z,
                      int64_t *order, uint8_t *chosen)
{
    const int64_t n = state->n_classes;
    int64_t n_chosen = top_k < n ? top_k : n;

    memset(chosen, 0, (size_t)n);
    if (strategy == FKM_STRATEGY_ADAPTIVE) {
        for (int64_t c = 0; c < n; c++)
            chosen[c] = z[c] >= state->threshold[c];
        return;
    }
    sort_tags(state, z, order, n);
    if (strategy == FKM_STRATEGY_GAP) {
        double largest = -1;
        n_chosen = 1;
        for (int64_t i = 0; i + 1 < n; i++) {
            const double drop = fkmi_sigmoid(z[order[i]]) - fkmi_sigmoid(z[order[i + 1]]);
            if (drop > largest) {
                largest = drop;
                n_chosen = i + 1;
            }
        }
    }
    for (int64_t i = 0; i < n_chosen; i++)
        chosen[order[i]] = 1;
}

const struct fkmi_estimator fkmi_multilabel = {.name = "multilabel",
                                               .read = read,
                                               .k_wanted = fkmi_model_class_k,
                                               .score = score,
                                               .calibrate = calibrate};
