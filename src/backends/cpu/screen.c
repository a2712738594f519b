/* screen.c — rows against prototypes as bytes: which prototypes cannot be the nearest.
 *
 * A row y and a prototype g, both moved so that the prototypes' mean is the origin, are y = t q + e and g = s p + f
 * with small integers q and p. Their product is t s q.p, exact in integers, but for |t q| |f| + |e| |g| (Cauchy and
 * Schwarz). A prototype whose score cannot reach the best one's, by this bound and that of rounding, has lost; direct
 * distances decide among the others, so that the answer has the bits of a scan without a screen.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/screen_bytes.h"

#include <assert.h>
#include <string.h>

#include "base/interrupt.h"

#define LEAST_SCORE (-0x1p90f) /* what pads a panel scores less */
/* What a row may cost beside its bytes before tiles of floats are cheaper, in about ns */
#define WORK_OF_ROW           8
#define WORK_OF_SCORE         3
#define WORK_OF_DISTANCE(dim) (20 + (dim) / 16)
#define WORK_TO_SAVE(k, dim)  ((k) * (dim) / 80)
#define BYTES_PER_BLOCK       ((int64_t)1 << 19)
#define CROWD                 16 /* one row and panel in so many has something to look at: blocks pay again */
#define ROWS_AHEAD            6  /* asked for while rows come from here and there */
#define BYTES_AHEAD           4096 /* the processor finds the rest of a long row itself */
#define PACKS_TO_SKIP         15   /* after prototypes for which the screen did not pay */
#define MOST_PASSED           4    /* heads pay when they rule out one tile in so many */

/* ---- thresholds */

/* Thresholds are compared in floats: no score that counts may be lost, even as floats add its error to it. */
static void raise_threshold(float *threshold, double to)
{
    const float raised = (float)(to - 0x1p-20 * fabs(to) - 0x1p-100);

    if (raised > *threshold)
        *threshold = raised;
}

/* There is a prototype that scores at least `score`: what a rival must reach that could be as near, by distances as
 * they are computed. */
static double threshold_of_score(const struct fkmi_pack *pack, const struct fkmi_screened *row, double score)
{
    const double rounding = fkmi_screen_rounding(pack);
    double distance;

    if (fkmi_screen_cosine(pack))
        return score - 16 * rounding;
    distance = row->most - 2 * score;
    return score - 4 * rounding * (distance > 0 ? distance : 0.0) - 64 * FKMI_UNIT * row->most;
}

/* The same of a prototype at this distance, as it was computed. */
static double threshold_of_distance(const struct fkmi_pack *pack, const struct fkmi_screened *row,
                                    double distance)
{
    const double d = distance / pack->factor * (1 + 4 * fkmi_screen_rounding(pack));

    if (fkmi_screen_cosine(pack))
        return threshold_of_score(pack, row, row->least - distance);
    return threshold_of_score(pack, row, (row->least - d) / 2);
}

/* ---- rows */

/* Of which the bytes, and the scores of a tile, stay in L2. */
static int64_t panels_per_block(const struct fkmi_pack *pack)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const int64_t n_panels = (pack->k - 1) / tile->cols + 1,
                  bytes = (int64_t)tile->cols * (pack->dim + 4 * tile->rows);
    const int64_t fitting = BYTES_PER_BLOCK / bytes < 4 ? 4 : BYTES_PER_BLOCK / bytes;

    return fitting < n_panels ? fitting : n_panels;
}

void fkmi_screen_carve(struct fkmi_screen_cell *cell, struct fkmi_carve *carve, const struct fkmi_pack *pack,
                       const struct fkmi_screen *screen, bool heads, int64_t n)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const int64_t n_tiles = (n - 1) / tile->rows + 1, floats = n_tiles * tile->stride;
    const int64_t scores = (int64_t)tile->rows * tile->cols;

    *cell = (struct fkmi_screen_cell){0};
    cell->left = fkmi_carve(carve, n, sizeof *cell->left);
    cell->screened = fkmi_carve(carve, n, sizeof *cell->screened);
    cell->scale = fkmi_carve(carve, floats, sizeof *cell->scale);
    cell->threshold = fkmi_carve(carve, floats, sizeof *cell->threshold);
    cell->reach = fkmi_carve(carve, floats, sizeof *cell->reach);
    cell->rest = fkmi_carve(carve, floats, sizeof *cell->rest);
    cell->low = fkmi_carve(carve, n_tiles * scores, sizeof *cell->low);
    cell->scores = fkmi_carve(carve, panels_per_block(pack) * scores, sizeof *cell->scores);
    cell->rivals = fkmi_carve(carve, panels_per_block(pack) * tile->cols, sizeof *cell->rivals);
    cell->staged = fkmi_carve(carve, (heads ? tile->rows : 1) * pack->dim, sizeof *cell->staged);
    cell->x = fkmi_carve(carve, n_tiles * tile->rows * ((pack->dim + 3) / 4), 4);
    cell->bytes = fkmi_carve(carve, pack->dim + 4, 1);
    if (heads)
        fkmi_heads_carve(cell, carve, pack, screen, n);
}

FKMI_FETCH void fetch_row(const struct fkmi_screen_cell *cell, int64_t i)
{
    if ((cell->picked || cell->rows->order) &&
        i < cell->n) /* rows in memory's order come without being asked for */
        fkmi_fetch_row(cell->rows, fkmi_screen_row(cell, i), BYTES_AHEAD);
}

/* Row r of tile t. */
static void load_row(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t t, int64_t r)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const struct fkmi_screen *screen = cell->screen;
    const int64_t i = t * tile->rows + r, at = t * tile->stride + r;
    struct fkmi_screened *row = &cell->screened[i];
    const double rounding = fkmi_screen_rounding(pack);
    uint8_t *to = cell->x + (t * tile->rows * screen->n_quads + r) * 4;
    struct fkmi_quantised facts = {0};
    float *staged = cell->staged + (cell->near ? r * pack->dim : 0);

    row->n = 0;
    row->left = !fkmi_screen_stage(screen, pack, cell->rows, fkmi_screen_row(cell, i), staged, row);
    if (!row->left) {
        tile->quantise(staged, pack->dim, tile->most, cell->bytes, &facts);
        if (!fkmi_screen_cosine(pack)) {
            row->least = facts.square * (1 - 2 * rounding);
            row->most = facts.square * (1 + 2 * rounding);
            row->left = !(facts.square >= FKMI_LEAST_SQUARE && facts.square < FKMI_MOST_SQUARE);
        }
    }
    if (row->left) {
        cell->threshold[at] = INFINITY;
        cell->scale[at] = cell->reach[at] = cell->rest[at] = 0;
        return;
    }
    row->rest = (double)fkmi_rounded_up(fkmi_screen_rest(pack, &facts));
    row->reach = (double)fkmi_rounded_up(fkmi_screen_norm(pack, &facts) + row->rest);
    cell->scale[at] = facts.scale;
    cell->reach[at] = (float)row->reach;
    cell->rest[at] = (float)row->rest;
    for (int lane = 0; lane < tile->cols; lane++)
        cell->low[i * tile->cols + lane] = -INFINITY;
    cell->threshold[at] = -INFINITY;
    if (cell->within)
        raise_threshold(&cell->threshold[at],
                        threshold_of_distance(pack, row, cell->within[fkmi_screen_row(cell, i)]));
    memset(cell->bytes + pack->dim, 0, 4);
    fkmi_screen_set_row(tile, cell->bytes, screen->n_quads, to);
}

static void load_rows(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const int64_t n_tiles = (cell->n - 1) / tile->rows + 1;

    for (int64_t t = 0; t < n_tiles; t++) {
        for (int64_t r = 0; r < tile->stride; r++) {
            const int64_t at = t * tile->stride + r;

            if (r < tile->rows && t * tile->rows + r < cell->n) {
                fetch_row(cell, t * tile->rows + r + ROWS_AHEAD);
                load_row(cell, pack, t, r);
            } else {
                cell->threshold[at] = INFINITY; /* nothing beats what pads a tile */
                cell->scale[at] = cell->reach[at] = cell->rest[at] = 0;
            }
        }
        if (cell->near) {
            fkmi_heads_load(cell, pack, t);
            fkmi_heads_finish(cell, pack, t);
        }
    }
}

/* ---- candidates */

/* Row r of tile t. */
struct place {
    int64_t i, at; /* in the cell; among floats by row */
};

static struct place place_of(const struct fkmi_pack *pack, int64_t t, int64_t r)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);

    return (struct place){t * tile->rows + r, t * tile->stride + r};
}

/* Distances to what was kept. */
static void settle(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, struct place place)
{
    struct fkmi_screened *row = &cell->screened[place.i];
    struct fkmi_shortlist *list = &cell->lists[place.i];
    float *threshold = &cell->threshold[place.at];

    if (row->n > 0)
        fkmi_direct_row(cell->direct, fkmi_screen_row(cell, place.i));
    while (row->n > 0) {
        int best = 0;
        int32_t index;

        for (int c = 1; c < row->n; c++)
            if (row->kept[c].upper > row->kept[best].upper)
                best = c;
        if (!(row->kept[best].upper > *threshold))
            break;
        index = (int32_t)fkmi_screen_prototype(cell->screen, row->kept[best].lane);
        row->kept[best] = row->kept[--row->n];
        fkmi_shortlist_keep(list, cell->most,
                            (struct fkmi_candidate){-fkmi_direct_distance(cell->direct, index), index});
        cell->work += WORK_OF_DISTANCE(pack->dim);
        if (list->n == cell->most)
            raise_threshold(threshold, threshold_of_distance(pack, row, -list->best[0].score));
    }
    row->n = 0;
}

static void forget_lost(struct fkmi_screened *row, float threshold)
{
    int n = 0;

    for (int c = 0; c < row->n; c++)
        if (row->kept[c].upper > threshold)
            row->kept[n++] = row->kept[c];
    row->n = n;
}

static void keep(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, struct place place,
                 struct fkmi_byte_rival rival)
{
    struct fkmi_screened *row = &cell->screened[place.i];

    if (row->n == FKMI_SCREEN_KEPT)
        forget_lost(row, cell->threshold[place.at]);
    if (row->n == FKMI_SCREEN_KEPT)
        settle(cell, pack, place);
    row->kept[row->n++] = rival;
}

/* The `most`-th best lane: so many prototypes score at least as much, each in a lane of its own. */
static void raise_by_lows(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, struct place place)
{
    const float *low = cell->low + place.i * fkmi_screen_tile(pack)->cols;
    const double score = pack->kernels->tile[FKM_DTYPE_F32].place(low, cell->most);

    if (score > (double)LEAST_SCORE)
        raise_threshold(&cell->threshold[place.at],
                        threshold_of_score(pack, &cell->screened[place.i], score - 0x1p-22 * fabs(score)));
}

/* A row's scores against some panels, `stride` floats apart. */
static void offer_row(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, struct place place,
                      float *scores, int64_t stride, int64_t panel, int64_t n_panels)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    int64_t n;

    tile->bounds(scores, stride, &cell->screen->panels[panel], n_panels, cell->reach[place.at],
                 cell->rest[place.at], cell->low + place.i * tile->cols);
    raise_by_lows(cell, pack, place);
    n = tile->rivals(scores, stride, n_panels, cell->threshold[place.at], cell->rivals);
    cell->work += n * WORK_OF_SCORE;
    for (int64_t at = 0; at < n; at++) {
        struct fkmi_byte_rival rival = cell->rivals[at];

        rival.lane += (int32_t)(panel * tile->cols);
        if (rival.lane < pack->k && rival.upper > cell->threshold[place.at])
            keep(cell, pack, place, rival);
    }
}

/* From prototypes of the row's own class nothing follows. */
static void forget_class(const struct fkmi_screen_cell *cell, const struct fkmi_pack *pack,
                         struct place place, float *scores, int64_t stride, int64_t panel, int64_t n_panels)
{
    const int64_t cols = fkmi_screen_tile(pack)->cols;
    const int32_t slot = cell->slot[fkmi_screen_row(cell, place.i)];
    const int64_t begin = slot >= 0 ? cell->class_begin[slot] : 0,
                  end = slot >= 0 ? cell->class_begin[slot + 1] : 0;

    for (int64_t p = 0; begin < end && p < n_panels; p++, scores += stride) {
        const int64_t first = (panel + p) * cols, left = pack->k - first, n = left < cols ? left : cols;

        if (cell->screen->order)
            for (int64_t lane = 0; lane < n; lane++) {
                const int64_t j = cell->screen->order[first + lane];

                scores[lane] = j >= begin && j < end ? -INFINITY : scores[lane];
            }
        else
            for (int64_t j = begin > first ? begin : first; j < end && j < first + n; j++)
                scores[j - first] = -INFINITY;
    }
}

/* ---- one panel at a time, where most are ruled out */

/* How many rows of the tile had something to look at. */
static int screen_tile(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t t, int64_t panel)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const struct fkmi_screen *screen = cell->screen;
    const struct fkmi_byte_rows rows = {cell->scale + t * tile->stride, cell->threshold + t * tile->stride,
                                        cell->reach + t * tile->stride, cell->rest + t * tile->stride};
    uint32_t lanes[32];
    uint32_t hit = tile->screen(cell->x + t * tile->rows * screen->n_quads * 4, &screen->panels[panel],
                                screen->n_quads, &rows, cell->scores, lanes);
    const int n_hit = __builtin_popcount(hit);

    for (; hit; hit &= hit - 1) {
        const int r = __builtin_ctz(hit);
        float *scores = cell->scores + r * tile->cols;

        if (cell->class_begin)
            forget_class(cell, pack, place_of(pack, t, r), scores, 0, panel, 1);
        cell->work += WORK_OF_ROW;
        offer_row(cell, pack, place_of(pack, t, r), scores, 0, panel, 1);
    }
    return n_hit;
}

static fkm_status screen_tiles(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t n_tiles,
                               int64_t n_panels, int64_t most_work)
{
    const uint64_t all = ~(uint64_t)0 >> (FKMI_MOST_TILES - n_tiles);

    assert(n_tiles <= FKMI_MOST_TILES);
    for (int64_t panel = 0; panel < n_panels && cell->work <= most_work; panel++) {
        FKMI_TRY(fkmi_check_interrupt());
        for (uint64_t tiles = cell->near ? cell->near_tiles[panel] : all; tiles; tiles &= tiles - 1) {
            const int64_t t = __builtin_ctzll(tiles);

            if (!cell->near || fkmi_heads_may_reach(cell, pack, t, panel))
                screen_tile(cell, pack, t, panel);
        }
    }
    return FKM_OK;
}

/* What is near shows how far everything else has to be. */
static fkm_status meet_homes(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t n_tiles)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);

    for (int64_t t = 0; t < n_tiles; t++) {
        FKMI_TRY(fkmi_check_interrupt());
        for (int h = 0; h < FKMI_SCREEN_HOMES && cell->homes[t * FKMI_SCREEN_HOMES + h] >= 0; h++)
            screen_tile(cell, pack, t, cell->homes[t * FKMI_SCREEN_HOMES + h]);
        for (int64_t r = 0; r < tile->rows && t * tile->rows + r < cell->n; r++)
            if (!cell->screened[t * tile->rows + r].left)
                settle(cell, pack, place_of(pack, t, r));
    }
    fkmi_heads_find_far(cell, pack);
    return FKM_OK;
}

/* ---- a block of panels at a time
 *
 * Thresholds that rise from panel to panel let many prototypes pass that are ruled out later. So the scores of a block are
 * kept: what they are at least, lane by lane, comes first. Once a block has set thresholds, most panels are ruled out as a
 * whole, and go by one at a time for as long as that is so: it is not with heavy tails. */

static void screen_block(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t t,
                         int64_t begin, int64_t n)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const struct fkmi_screen *screen = cell->screen;
    const int64_t stride = (int64_t)tile->rows * tile->cols;

    for (int64_t p = 0; p < n; p++)
        tile->scores(cell->x + t * tile->rows * screen->n_quads * 4, &screen->panels[begin + p],
                     screen->n_quads, cell->scale + t * tile->stride, cell->scores + p * stride);
    for (int64_t r = 0; r < tile->rows && t * tile->rows + r < cell->n; r++) {
        const struct place place = place_of(pack, t, r);
        float *scores = cell->scores + r * tile->cols;

        if (cell->screened[place.i].left)
            continue;
        if (cell->class_begin)
            forget_class(cell, pack, place, scores, stride, begin, n);
        offer_row(cell, pack, place, scores, stride, begin, n);
    }
}

static fkm_status screen_blocks(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t n_tiles,
                                int64_t n_panels, int64_t most_work)
{
    const int64_t per_block = panels_per_block(pack);
    bool crowded = n_panels <= 2 * per_block;

    for (int64_t begin = 0; begin < n_panels; begin += per_block) {
        const int64_t n = begin + per_block < n_panels ? per_block : n_panels - begin;
        int64_t n_hit = 0;

        FKMI_TRY(fkmi_check_interrupt());
        for (int64_t t = 0; t < n_tiles && cell->work <= most_work; t++)
            if (begin == 0 || crowded)
                screen_block(cell, pack, t, begin, n);
            else
                for (int64_t p = 0; p < n; p++)
                    n_hit += screen_tile(cell, pack, t, begin + p);
        crowded = crowded || n_hit > cell->n * n / CROWD;
    }
    return FKM_OK;
}

/* After more than a few cells for which bytes did not pay, the next ones and the next packs do without. */
static void learn_from(const struct fkmi_screen_cell *cell, struct fkmi_screen *screen, bool paid)
{
    if (paid)
        atomic_fetch_add(&screen->n_fine, 1);
    else if (4 * (atomic_fetch_add(&screen->n_poor, 1) + 1) > atomic_load(&screen->n_fine) + 4 &&
             !cell->always)
        atomic_store(&screen->n_skipped, PACKS_TO_SKIP + 1);
}

/* Where heads let too much of more than a few cells pass, the next ones and the next packs do without them. */
static void learn_from_heads(const struct fkmi_screen_cell *cell)
{
    struct fkmi_screen *screen = cell->screen;

    if (!cell->near || cell->always)
        return;
    if (cell->n_passed <= cell->n_tested / MOST_PASSED * (MOST_PASSED - 1))
        atomic_fetch_add(&screen->n_tight, 1);
    else if (4 * (atomic_fetch_add(&screen->n_loose, 1) + 1) > atomic_load(&screen->n_tight) + 4)
        atomic_store(&screen->n_headless, PACKS_TO_SKIP + 1);
}

/* All rows are for the tiles of floats. */
static fkm_status give_up(struct fkmi_screen_cell *cell)
{
    cell->n_left = cell->n;
    for (int64_t i = 0; i < cell->n; i++) {
        cell->screened[i].left = true;
        cell->left[i] = fkmi_screen_row(cell, i);
    }
    return FKM_OK;
}

fkm_status fkmi_screen_run(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    struct fkmi_screen *screen = cell->screen;
    const int64_t n_panels = (pack->k - 1) / tile->cols + 1, n_tiles = (cell->n - 1) / tile->rows + 1;
    const int64_t n_floats =
        (int64_t)(fkmi_real_size(pack->space.real) / sizeof(float)); /* tiles of f64 take longer */
    const int64_t most_work =
        cell->always ? INT64_MAX : cell->n * WORK_TO_SAVE(pack->k, pack->dim) * n_floats;

    cell->n_left = cell->n_tested = cell->n_passed = 0;
    cell->work = 0;
    if (!cell->always && atomic_load_explicit(&screen->n_skipped, memory_order_relaxed) > 0)
        return give_up(cell);
    if (!cell->always && atomic_load_explicit(&screen->n_headless, memory_order_relaxed) > 0)
        cell->near = NULL;
    load_rows(cell, pack);
    if (cell->near)
        FKMI_TRY(meet_homes(cell, pack, n_tiles));
    if (cell->near || (cell->class_begin && screen->order)) /* whose lanes are of any class */
        FKMI_TRY(screen_tiles(cell, pack, n_tiles, n_panels, most_work));
    else
        FKMI_TRY(screen_blocks(cell, pack, n_tiles, n_panels, most_work));
    if (cell->work > most_work) {
        learn_from(cell, screen, false);
        return give_up(cell);
    }
    for (int64_t i = 0; i < cell->n; i++) {
        if (cell->screened[i].left) {
            cell->left[cell->n_left++] = fkmi_screen_row(cell, i);
            continue;
        }
        if (i + 1 < cell->n && cell->screened[i + 1].n > 0)
            fkmi_direct_fetch(cell->direct, fkmi_screen_row(cell, i + 1),
                              fkmi_screen_prototype(screen, cell->screened[i + 1].kept[0].lane));
        settle(cell, pack, place_of(pack, i / tile->rows, i % tile->rows));
    }
    learn_from(cell, screen, cell->work <= most_work);
    learn_from_heads(cell);
    return FKM_OK;
}
