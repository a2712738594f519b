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
#define WORK_OF_SCORE         4
#define WORK_OF_DISTANCE(dim) (20 + (dim) / 16)
#define WORK_TO_SAVE(k, dim)  ((k) * (dim) / 80)
#define BYTES_PER_BLOCK       ((int64_t)1 << 19)
#define ROWS_AHEAD            6    /* asked for while rows come from here and there */
#define BYTES_AHEAD           1024 /* the processor finds the rest of a long row itself */
#define PACKS_TO_SKIP         15   /* after prototypes for which the screen did not pay */
#define MOST_PASSED           4    /* heads pay when they rule out one tile in so many */

/* ---- thresholds */

/* Thresholds are compared in floats: no score that counts may be lost. */
static void set_threshold(struct fkmi_screen_cell *cell, int64_t i, int64_t at)
{
    const double threshold = cell->screened[i].threshold;

    cell->threshold[at] = (float)(threshold - 0x1p-20 * fabs(threshold) - 0x1p-100);
}

static void raise_threshold(struct fkmi_screened *row, double threshold)
{
    if (threshold > row->threshold)
        row->threshold = threshold;
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
                       const struct fkmi_screen *screen, bool heads, int64_t most, int64_t n)
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
    cell->scores = fkmi_carve(carve, scores, sizeof *cell->scores);
    cell->staged = fkmi_carve(carve, (heads ? tile->rows : 1) * pack->dim, sizeof *cell->staged);
    cell->x = fkmi_carve(carve, n_tiles * tile->rows * ((pack->dim + 3) / 4), 4);
    cell->bytes = fkmi_carve(carve, pack->dim + 4, 1);
    if (most > 1) {
        cell->block = fkmi_carve(carve, panels_per_block(pack) * scores, sizeof *cell->block);
        cell->peaks = fkmi_carve(carve, n_tiles * scores, sizeof *cell->peaks);
    }
    if (heads)
        fkmi_heads_carve(cell, carve, pack, screen, n);
}

FKMI_FETCH void fetch_row(const struct fkmi_screen_cell *cell, int64_t i)
{
    const struct fkmi_rows *rows = cell->rows;
    const size_t size = fkmi_dtype_size(rows->dtype), bytes = (size_t)rows->dim * size;
    const char *x;

    if (!cell->picked || i >= cell->n)
        return;
    x = (const char *)rows->x + (size_t)(fkmi_row(rows, cell->picked[i]) * rows->stride) * size;
    for (size_t at = 0; at < bytes && at < BYTES_AHEAD; at += 64)
        __builtin_prefetch(x + at);
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
    row->threshold = -INFINITY;
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
    if (cell->within)
        raise_threshold(row, threshold_of_distance(pack, row, cell->within[fkmi_screen_row(cell, i)]));
    set_threshold(cell, i, at);
    memset(cell->bytes + pack->dim, 0, 4);
    for (int64_t quad = 0; quad < screen->n_quads; quad++)
        fkmi_screen_set_quad(tile, cell->bytes + quad * 4, to + quad * tile->rows * 4);
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

/* Distances to what was kept. */
static void settle(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t i)
{
    struct fkmi_screened *row = &cell->screened[i];
    struct fkmi_shortlist *list = &cell->lists[i];

    if (row->n > 0)
        fkmi_direct_row(cell->direct, fkmi_screen_row(cell, i));
    while (row->n > 0) {
        int best = 0;
        int32_t index;

        for (int c = 1; c < row->n; c++)
            if (row->kept[c].upper > row->kept[best].upper)
                best = c;
        if ((double)row->kept[best].upper < row->threshold)
            break;
        index = row->kept[best].index;
        row->kept[best] = row->kept[--row->n];
        fkmi_shortlist_keep(list, cell->most,
                            (struct fkmi_candidate){-fkmi_direct_distance(cell->direct, index), index});
        cell->work += WORK_OF_DISTANCE(pack->dim);
        if (list->n == cell->most)
            raise_threshold(row, threshold_of_distance(pack, row, -list->best[0].score));
    }
    row->n = 0;
}

static float not_below(double value)
{
    const float narrow = (float)value;

    return (double)narrow < value ? narrow + fabsf(narrow) * 0x1p-23f + 0x1p-126f : narrow;
}

static void forget_lost(struct fkmi_screened *row)
{
    int n = 0;

    for (int c = 0; c < row->n; c++)
        if (!((double)row->kept[c].upper < row->threshold))
            row->kept[n++] = row->kept[c];
    row->n = n;
}

static void offer(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t i, double score,
                  int64_t j)
{
    const struct fkmi_screen *screen = cell->screen;
    struct fkmi_screened *row = &cell->screened[i];
    const double error =
        row->reach * (double)screen->rest[j] + row->rest * (double)screen->size[j] + (double)screen->slack[j];

    cell->work += WORK_OF_SCORE;
    if (score + error < row->threshold)
        return;
    if (cell->most == 1)
        raise_threshold(row, threshold_of_score(pack, row, score - error));
    if (row->n == FKMI_SCREEN_KEPT)
        forget_lost(row);
    if (row->n == FKMI_SCREEN_KEPT)
        settle(cell, pack, i);
    row->kept[row->n].upper = not_below(score + error);
    row->kept[row->n++].index = (int32_t)fkmi_screen_prototype(screen, j);
}

/* Those of some lanes of a panel that row i may be matched with. */
static uint32_t lanes_allowed(const struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t i,
                              int64_t panel, uint32_t lanes)
{
    const int cols = fkmi_screen_tile(pack)->cols;
    const int64_t first = panel * cols, left = pack->k - first;
    const int32_t slot = cell->class_begin ? cell->slot[fkmi_screen_row(cell, i)] : -1;

    if (left < cols)
        lanes &= (uint32_t)(((uint64_t)1 << left) - 1);
    for (uint32_t bits = slot >= 0 ? lanes : 0; bits; bits &= bits - 1) {
        const int64_t j = fkmi_screen_prototype(cell->screen, first + __builtin_ctz(bits));

        if (j >= cell->class_begin[slot] && j < cell->class_begin[slot + 1])
            lanes &= ~(bits & -bits);
    }
    return lanes;
}

/* Scores below this are of no use to the row whose floats stand at `at`, whichever of the panel's they are. */
static float least_of(const struct fkmi_screen_cell *cell, const struct fkmi_byte_panel *panel, int64_t at)
{
    return cell->threshold[at] - panel->slack - cell->reach[at] * panel->rest - cell->rest[at] * panel->size;
}

/* The scores of row r of tile t in these lanes: the best first, which shows how few of the others count. */
static void offer_lanes(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t t, int r,
                        int64_t panel, uint32_t lanes)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const int64_t i = t * tile->rows + r, at = t * tile->stride + r, first = panel * tile->cols;
    const float *scores = cell->scores + r * tile->cols;
    float least;

    for (int64_t place = 0; place < cell->most && lanes; place++) {
        int best = __builtin_ctz(lanes);

        for (uint32_t bits = lanes & (lanes - 1); bits; bits &= bits - 1)
            if (scores[__builtin_ctz(bits)] > scores[best])
                best = __builtin_ctz(bits);
        offer(cell, pack, i, (double)scores[best], first + best);
        lanes &= ~(1u << best);
    }
    if (cell->screened[i].threshold == -INFINITY)
        settle(cell, pack, i);
    set_threshold(cell, i, at);
    if (!lanes)
        return;
    least = least_of(cell, &cell->screen->panels[panel], at);
    for (; lanes; lanes &= lanes - 1)
        if (!(scores[__builtin_ctz(lanes)] < least))
            offer(cell, pack, i, (double)scores[__builtin_ctz(lanes)], first + __builtin_ctz(lanes));
    set_threshold(cell, i, at);
}

/* Rows of which nothing is known yet: what their best scores rule out need not be looked at. */
static uint32_t offer_best(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t t,
                           int64_t panel, uint32_t hit, uint32_t *lanes)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    uint32_t taken[32] = {0};
    float least[32];

    for (int r = 0; r < tile->rows; r++)
        least[r] = INFINITY;
    for (; hit; hit &= hit - 1) {
        const int r = __builtin_ctz(hit);
        const int64_t i = t * tile->rows + r, at = t * tile->stride + r;
        const float *scores = cell->scores + r * tile->cols;
        const int best = pack->kernels->tile[FKM_DTYPE_F32].highest(scores);

        if (lanes_allowed(cell, pack, i, panel, lanes[r] & 1u << best)) {
            offer(cell, pack, i, (double)scores[best], panel * tile->cols + best);
            set_threshold(cell, i, at);
            taken[r] = 1u << best;
        }
        least[r] = least_of(cell, &cell->screen->panels[panel], at);
    }
    hit = pack->kernels->tile[FKM_DTYPE_F32].above(cell->scores, least, lanes);
    for (int r = 0; r < tile->rows; r++)
        lanes[r] &= ~taken[r];
    return hit;
}

static void screen_tile(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t t, int64_t panel,
                        bool begins)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const struct fkmi_screen *screen = cell->screen;
    const struct fkmi_byte_rows rows = {cell->scale + t * tile->stride, cell->threshold + t * tile->stride,
                                        cell->reach + t * tile->stride, cell->rest + t * tile->stride};
    const bool all = !cell->class_begin && (panel + 1) * tile->cols <= pack->k;
    uint32_t lanes[32];
    uint32_t hit = tile->screen(cell->x + t * tile->rows * screen->n_quads * 4, &screen->panels[panel],
                                screen->n_quads, &rows, cell->scores, lanes);

    if (begins && cell->most == 1)
        hit = offer_best(cell, pack, t, panel, hit, lanes);
    for (; hit; hit &= hit - 1) {
        const int r = __builtin_ctz(hit);

        offer_lanes(cell, pack, t, r, panel,
                    all ? lanes[r] : lanes_allowed(cell, pack, t * tile->rows + r, panel, lanes[r]));
    }
}

/* What is near shows how far everything else has to be. */
static fkm_status meet_homes(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t n_tiles)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);

    for (int64_t t = 0; t < n_tiles; t++) {
        FKMI_TRY(fkmi_check_interrupt());
        for (int h = 0; h < FKMI_SCREEN_HOMES && cell->homes[t * FKMI_SCREEN_HOMES + h] >= 0; h++)
            screen_tile(cell, pack, t, cell->homes[t * FKMI_SCREEN_HOMES + h], h == 0);
        for (int64_t r = 0; r < tile->rows && t * tile->rows + r < cell->n; r++)
            if (!cell->screened[t * tile->rows + r].left) {
                settle(cell, pack, t * tile->rows + r);
                set_threshold(cell, t * tile->rows + r, t * tile->stride + r);
            }
    }
    fkmi_heads_find_far(cell, pack);
    return FKM_OK;
}

/* ---- the several nearest
 *
 * A heap of candidates would rise slowly to the threshold that matters. So scores of a block of panels are kept, and
 * the best of each lane: the m-th best lane holds the m-th best prototype, or nearly, and as m prototypes score at
 * least as much, it rules out all but about m of them before any distance is computed. */

/* What the peaks of a tile rule out; worst: the largest errors of all panels they come from. */
static void raise_by_peaks(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t t,
                           const struct fkmi_byte_panel *worst)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const struct fkmi_tile *floats = &pack->kernels->tile[FKM_DTYPE_F32];

    for (int r = 0; r < tile->rows && t * tile->rows + r < cell->n; r++) {
        const int64_t i = t * tile->rows + r, at = t * tile->stride + r;
        struct fkmi_screened *row = &cell->screened[i];
        const double error =
            row->reach * (double)worst->rest + row->rest * (double)worst->size + (double)worst->slack;
        const double score = floats->place(cell->peaks + i * tile->cols, cell->most);

        if (row->left || !(score > (double)LEAST_SCORE))
            continue;
        raise_threshold(row, threshold_of_score(pack, row, score - error));
        set_threshold(cell, i, at);
    }
}

static void screen_block(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t t,
                         int64_t begin, int64_t end, const struct fkmi_byte_panel *worst)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const struct fkmi_screen *screen = cell->screen;
    const int64_t scores = (int64_t)tile->rows * tile->cols;
    const uint8_t *x = cell->x + t * tile->rows * screen->n_quads * 4;
    float *block = cell->block, least[32];
    uint32_t lanes[32];

    for (int64_t panel = begin; panel < end; panel++)
        tile->peaks(x, &screen->panels[panel], screen->n_quads, cell->scale + t * tile->stride,
                    block + (panel - begin) * scores, cell->peaks + t * scores);
    raise_by_peaks(cell, pack, t, worst);
    for (int64_t panel = begin; panel < end; panel++, block += scores) {
        uint32_t hit;

        for (int r = 0; r < tile->rows; r++)
            least[r] = least_of(cell, &screen->panels[panel], t * tile->stride + r);
        hit = pack->kernels->tile[FKM_DTYPE_F32].above(block, least, lanes);
        for (; hit; hit &= hit - 1) {
            const int r = __builtin_ctz(hit);
            const int64_t i = t * tile->rows + r;

            for (lanes[r] = lanes_allowed(cell, pack, i, panel, lanes[r]); lanes[r];
                 lanes[r] &= lanes[r] - 1) {
                const int lane = __builtin_ctz(lanes[r]);

                offer(cell, pack, i, (double)block[r * tile->cols + lane], panel * tile->cols + lane);
            }
            set_threshold(cell, i, t * tile->stride + r);
        }
    }
}

static fkm_status screen_several(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t n_tiles,
                                 int64_t n_panels, int64_t most_work)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const int64_t per_block = panels_per_block(pack);
    struct fkmi_byte_panel worst = {0};

    for (int64_t at = 0; at < n_tiles * tile->rows * tile->cols; at++)
        cell->peaks[at] = -INFINITY;
    for (int64_t begin = 0; begin < n_panels && cell->work <= most_work; begin += per_block) {
        const int64_t end = begin + per_block < n_panels ? begin + per_block : n_panels;

        FKMI_TRY(fkmi_check_interrupt());
        for (int64_t panel = begin; panel < end; panel++) {
            worst.rest = fmaxf(worst.rest, cell->screen->panels[panel].rest);
            worst.size = fmaxf(worst.size, cell->screen->panels[panel].size);
            worst.slack = fmaxf(worst.slack, cell->screen->panels[panel].slack);
        }
        for (int64_t t = 0; t < n_tiles; t++)
            screen_block(cell, pack, t, begin, end, &worst);
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
    const int64_t most_work = cell->always ? INT64_MAX : cell->n * WORK_TO_SAVE(pack->k, pack->dim);

    cell->n_left = cell->n_tested = cell->n_passed = 0;
    cell->work = 0;
    if (!cell->always && atomic_load_explicit(&screen->n_skipped, memory_order_relaxed) > 0)
        return give_up(cell);
    if (!cell->always && atomic_load_explicit(&screen->n_headless, memory_order_relaxed) > 0)
        cell->near = NULL;
    load_rows(cell, pack);
    if (cell->near)
        FKMI_TRY(meet_homes(cell, pack, n_tiles));
    else if (cell->most > 1)
        FKMI_TRY(screen_several(cell, pack, n_tiles, n_panels, most_work));
    for (int64_t panel = 0; (cell->near || cell->most == 1) && panel < n_panels && cell->work <= most_work;
         panel++) {
        FKMI_TRY(fkmi_check_interrupt());
        for (int64_t t = 0; t < n_tiles; t++)
            if (!cell->near)
                screen_tile(cell, pack, t, panel, panel == 0);
            else if (fkmi_heads_may_reach(cell, pack, t, panel))
                screen_tile(cell, pack, t, panel, false);
    }
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
                              cell->screened[i + 1].kept[0].index);
        settle(cell, pack, i);
    }
    learn_from(cell, screen, cell->work <= most_work);
    learn_from_heads(cell);
    return FKM_OK;
}
