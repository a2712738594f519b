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

#define LEAST_SQUARE 1e-24 /* as for tiles of floats */
#define MOST_SQUARE  1e30
/* What a row may cost beside its bytes before tiles of floats are cheaper, in about ns */
#define WORK_OF_SCORE         4
#define WORK_OF_DISTANCE(dim) (20 + (dim) / 16)
#define WORK_TO_SAVE(k, dim)  ((k) * (dim) / 80)
#define PACKS_TO_SKIP         15 /* after prototypes for which the screen did not pay */

/* ---- rows */

void fkmi_screen_carve(struct fkmi_screen_cell *cell, struct fkmi_carve *carve, const struct fkmi_pack *pack,
                       int64_t n)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const int64_t n_tiles = (n - 1) / tile->rows + 1, floats = n_tiles * tile->stride;

    *cell = (struct fkmi_screen_cell){0};
    cell->left = fkmi_carve(carve, n, sizeof *cell->left);
    cell->screened = fkmi_carve(carve, n, sizeof *cell->screened);
    cell->scale = fkmi_carve(carve, floats, sizeof *cell->scale);
    cell->threshold = fkmi_carve(carve, floats, sizeof *cell->threshold);
    cell->reach = fkmi_carve(carve, floats, sizeof *cell->reach);
    cell->rest = fkmi_carve(carve, floats, sizeof *cell->rest);
    cell->scores = fkmi_carve(carve, (int64_t)tile->rows * tile->cols, sizeof *cell->scores);
    cell->staged = fkmi_carve(carve, pack->dim, sizeof *cell->staged);
    cell->x = fkmi_carve(carve, n_tiles * tile->rows * ((pack->dim + 3) / 4), 4);
    cell->bytes = fkmi_carve(carve, pack->dim + 4, 1);
}

/* Thresholds are compared in floats: no score that counts may be lost. */
static void set_threshold(struct fkmi_screen_cell *cell, int64_t i, int64_t at)
{
    const double threshold = cell->screened[i].threshold;

    cell->threshold[at] = (float)(threshold - 0x1p-20 * fabs(threshold) - 0x1p-100);
}

/* Row i of the cell, moved; false when its squares leave the range of floats. */
static bool stage_row(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t i)
{
    const struct fkmi_rows *rows = cell->rows;
    const struct fkmi_vector *vector = fkmi_pack_vector(pack);
    const struct fkmi_screen *screen = pack->screen;
    struct fkmi_screened *row = &cell->screened[i];
    const double rounding = fkmi_screen_rounding(pack);
    const void *x = (const char *)rows->x +
                    (size_t)(fkmi_row(rows, cell->first + i) * rows->stride) * fkmi_dtype_size(rows->dtype);
    double square, product;

    if (!fkmi_screen_cosine(pack) && rows->dtype == FKM_DTYPE_F32) {
        vector->transform(cell->staged, x, screen->centre, pack->map, pack->dim);
        return true;
    }
    vector->load[rows->dtype](cell->staged, x, pack->dim);
    if (!fkmi_screen_cosine(pack)) {
        fkmi_screen_move(pack, screen->centre, 1, cell->staged);
        return true;
    }
    square = vector->dot(cell->staged, cell->staged, pack->weights, pack->dim);
    if (!(square >= LEAST_SQUARE && square < MOST_SQUARE))
        return false;
    fkmi_screen_move(pack, NULL, 1 / sqrt(square), cell->staged);
    product = vector->dot(cell->staged, screen->centre, NULL, pack->dim);
    vector->transform(cell->staged, cell->staged, screen->centre, NULL, pack->dim);
    row->least = 1 - product - 16 * rounding;
    row->most = 1 - product + 16 * rounding;
    return true;
}

/* Row r of tile t. */
static void load_row(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t t, int64_t r)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const struct fkmi_screen *screen = pack->screen;
    const int64_t i = t * tile->rows + r, at = t * tile->stride + r;
    struct fkmi_screened *row = &cell->screened[i];
    const uint32_t lower = (uint32_t)(128 - tile->offset) * 0x01010101u;
    const double rounding = fkmi_screen_rounding(pack);
    uint8_t *to = cell->x + (t * tile->rows * screen->n_quads + r) * 4;
    struct fkmi_quantised facts = {0};

    row->n = 0;
    row->threshold = -INFINITY;
    row->left = !stage_row(cell, pack, i);
    if (!row->left) {
        tile->quantise(cell->staged, pack->dim, tile->most, cell->bytes, &facts);
        if (!fkmi_screen_cosine(pack)) {
            row->least = facts.square * (1 - 2 * rounding);
            row->most = facts.square * (1 + 2 * rounding);
            row->left = !(facts.square >= LEAST_SQUARE && facts.square < MOST_SQUARE);
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
    cell->threshold[at] = -INFINITY;
    memset(cell->bytes + pack->dim, 0, 4);
    for (int64_t quad = 0; quad < screen->n_quads; quad++) { /* unsigned, and `offset` more */
        uint32_t bits;

        memcpy(&bits, cell->bytes + quad * 4, 4);
        bits = (bits ^ 0x80808080u) - lower;
        memcpy(to + quad * tile->rows * 4, &bits, 4);
    }
}

static void load_rows(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const int64_t n_tiles = (cell->n - 1) / tile->rows + 1;

    for (int64_t t = 0; t < n_tiles; t++)
        for (int64_t r = 0; r < tile->stride; r++) {
            const int64_t at = t * tile->stride + r;

            if (r < tile->rows && t * tile->rows + r < cell->n) {
                load_row(cell, pack, t, r);
                continue;
            }
            cell->threshold[at] = INFINITY; /* nothing beats what pads a tile */
            cell->scale[at] = cell->reach[at] = cell->rest[at] = 0;
        }
}

/* ---- candidates */

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

/* Distances to what was kept. */
static void settle(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t i)
{
    struct fkmi_screened *row = &cell->screened[i];
    struct fkmi_shortlist *list = &cell->lists[i];

    if (row->n > 0)
        fkmi_direct_row(cell->direct, cell->first + i);
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
    const struct fkmi_screen *screen = pack->screen;
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
    row->kept[row->n++].index = (int32_t)j;
}

/* Lanes of a panel that row i may be matched with. */
static uint32_t lanes_allowed(const struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t i,
                              int64_t panel)
{
    const int cols = fkmi_screen_tile(pack)->cols;
    const int64_t first = panel * cols, left = pack->k - first;
    uint64_t allowed = ((uint64_t)1 << (left < cols ? left : cols)) - 1;

    if (cell->class_begin && cell->slot[cell->first + i] >= 0) {
        const int32_t slot = cell->slot[cell->first + i];
        const int64_t begin = cell->class_begin[slot] - first, end = cell->class_begin[slot + 1] - first;

        if (begin < cols && end > 0)
            allowed &= ~((((uint64_t)1 << (end < cols ? end : cols)) - 1) &
                         ~(((uint64_t)1 << (begin > 0 ? begin : 0)) - 1));
    }
    return (uint32_t)allowed;
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
    least = least_of(cell, &pack->screen->panels[panel], at);
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

        if (lanes[r] & lanes_allowed(cell, pack, i, panel) & 1u << best) {
            offer(cell, pack, i, (double)scores[best], panel * tile->cols + best);
            set_threshold(cell, i, at);
            taken[r] = 1u << best;
        }
        least[r] = least_of(cell, &pack->screen->panels[panel], at);
    }
    hit = pack->kernels->tile[FKM_DTYPE_F32].above(cell->scores, least, lanes);
    for (int r = 0; r < tile->rows; r++)
        lanes[r] &= ~taken[r];
    return hit;
}

static void screen_tile(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t t, int64_t panel)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const struct fkmi_screen *screen = pack->screen;
    const struct fkmi_byte_rows rows = {cell->scale + t * tile->stride, cell->threshold + t * tile->stride,
                                        cell->reach + t * tile->stride, cell->rest + t * tile->stride};
    const bool all = !cell->class_begin && (panel + 1) * tile->cols <= pack->k;
    uint32_t lanes[32];
    uint32_t hit = tile->screen(cell->x + t * tile->rows * screen->n_quads * 4, &screen->panels[panel],
                                screen->n_quads, &rows, cell->scores, lanes);

    if (panel == 0 && cell->most == 1)
        hit = offer_best(cell, pack, t, panel, hit, lanes);
    for (; hit; hit &= hit - 1) {
        const int r = __builtin_ctz(hit);

        offer_lanes(cell, pack, t, r, panel,
                    all ? lanes[r] : lanes[r] & lanes_allowed(cell, pack, t * tile->rows + r, panel));
    }
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

/* All rows are for the tiles of floats. */
static fkm_status give_up(struct fkmi_screen_cell *cell)
{
    cell->n_left = cell->n;
    for (int64_t i = 0; i < cell->n; i++) {
        cell->screened[i].left = true;
        cell->left[i] = cell->first + i;
    }
    return FKM_OK;
}

fkm_status fkmi_screen_run(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    struct fkmi_screen *screen = pack->screen;
    const int64_t n_panels = (pack->k - 1) / tile->cols + 1, n_tiles = (cell->n - 1) / tile->rows + 1;
    const int64_t most_work = cell->always ? INT64_MAX : cell->n * WORK_TO_SAVE(pack->k, pack->dim);

    cell->n_left = 0;
    cell->work = 0;
    if (!cell->always && atomic_load_explicit(&screen->n_skipped, memory_order_relaxed) > 0)
        return give_up(cell);
    load_rows(cell, pack);
    for (int64_t panel = 0; panel < n_panels; panel++) {
        FKMI_TRY(fkmi_check_interrupt());
        for (int64_t t = 0; t < n_tiles; t++)
            screen_tile(cell, pack, t, panel);
        if (cell->work > most_work) {
            learn_from(cell, screen, false);
            return give_up(cell);
        }
    }
    for (int64_t i = 0; i < cell->n; i++) {
        if (cell->screened[i].left) {
            cell->left[cell->n_left++] = cell->first + i;
            continue;
        }
        if (i + 1 < cell->n && cell->screened[i + 1].n > 0)
            fkmi_direct_fetch(cell->direct, cell->first + i + 1, cell->screened[i + 1].kept[0].index);
        settle(cell, pack, i);
    }
    learn_from(cell, screen, cell->work <= most_work);
    return FKM_OK;
}
