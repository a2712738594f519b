/* screen.c — rows against prototypes as bytes: which prototypes cannot be the nearest.
 *
 * A row y and a prototype g, both moved so that the prototypes' mean is the origin, are y = t q + e and g = s p + f
 * with small integers q and p. Their product is t s q.p, exact in integers, but for |t q| |f| + |e| |g| (Cauchy and
 * Schwarz). A prototype whose score cannot reach the best one's, by this bound and that of rounding, has lost; direct
 * distances decide among the others, so that the answer has the bits of a scan without a screen.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/screen.h"

#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/interrupt.h"

#define MOST_DIM        65536 /* sums of as many products of bytes fit in 32 bits */
#define LEAST_ROWS      256   /* from which filling the screen pays */
#define POINTS_FOR_MEAN 256
#define UNIT            0x1p-24
#define UP              (1 + 0x1p-18) /* more than the rounding of what it is multiplied with */
#define LEAST_SQUARE    1e-24         /* as for tiles of floats */
#define MOST_SQUARE     1e30
#define LEAST_WEIGHT    1e-30
#define UNDERFLOW       1e-19 /* root of what a square can lose */
/* What a row may cost beside its bytes before tiles of floats are cheaper, in about ns */
#define WORK_OF_SCORE         4
#define WORK_OF_DISTANCE(dim) (20 + (dim) / 16)
#define WORK_TO_SAVE(k, dim)  ((k) * (dim) / 80)
#define PACKS_TO_SKIP         15 /* after prototypes for which the screen did not pay */

enum state { EMPTY, FILLING, FULL };

struct fkmi_screen {
    _Atomic int state;
    _Atomic int64_t n_rows;     /* scanned since the pack was made */
    _Atomic int n_skipped;      /* packs left to scan without a screen */
    _Atomic int n_poor, n_fine; /* cells of this pack for which bytes did not pay, and did */
    int64_t n_quads;
    int8_t *bytes;  /* n_panels x n_quads x cols x 4 */
    int32_t *start; /* by lane, as the following */
    float *scale, *bias;
    float *rest, *size, *slack; /* |f|, |g| and the rounding of a score, rounded up */
    struct fkmi_byte_panel *panels;
    float *centre; /* dim */
    void *memory;  /* holds all of the above */
    size_t capacity;
};

fkm_status fkmi_screen_create(struct fkmi_screen **out) { return fkmi_alloc(out, 1, sizeof **out); }

void fkmi_screen_free(struct fkmi_screen *screen)
{
    if (!screen)
        return;
    fkmi_free(screen->memory);
    fkmi_free(screen);
}

void fkmi_screen_renew(struct fkmi_screen *screen)
{
    const int n_skipped = atomic_load(&screen->n_skipped);

    atomic_store(&screen->state, EMPTY);
    atomic_store(&screen->n_rows, 0);
    atomic_store(&screen->n_poor, 0);
    atomic_store(&screen->n_fine, 0);
    atomic_store(&screen->n_skipped, n_skipped > 0 ? n_skipped - 1 : 0);
}

static const struct fkmi_byte_tile *tile_of(const struct fkmi_pack *pack) { return &pack->kernels->bytes; }

static bool is_cosine(const struct fkmi_pack *pack) { return pack->space.metric == FKM_METRIC_COSINE; }

/* Bounds the relative rounding of a sum of dim products. */
static double rounding_of(const struct fkmi_pack *pack) { return (double)(pack->dim + 32) * UNIT; }

/* At least `value`, which is >= 0, by more than floats lose when they multiply and add it to others. */
static float rounded_up(double value) { return (float)(value * UP) + 0x1p-126f; }

/* ---- bytes of a point */

/* A point with the prototypes' mean as origin. Cosine: of the unit vector, its norm being 1 / unit. */
static void move_point(const struct fkmi_pack *pack, const float *centre, double unit, float *x)
{
    const struct fkmi_vector *vector = fkmi_pack_vector(pack);

    if (!is_cosine(pack)) {
        vector->transform(x, x, centre, pack->map, pack->dim);
        return;
    }
    for (int64_t d = 0; d < pack->dim; d++)
        x[d] = (float)((double)x[d] * unit);
    if (pack->map)
        vector->transform(x, x, NULL, pack->map, pack->dim);
    if (centre)
        vector->transform(x, x, centre, NULL, pack->dim);
}

static void load_point(const struct fkmi_pack *pack, int64_t j, float *staged)
{
    const size_t size = fkmi_dtype_size(pack->dtype);

    fkmi_pack_vector(pack)->load[pack->dtype](
        staged, (const char *)pack->points + (size_t)(j * pack->dim) * size, pack->dim);
}

static double unit_of(const struct fkmi_pack *pack, int64_t j)
{
    return pack->size[j] > 0 ? 1 / sqrt(pack->size[j]) : 1.0;
}

/* At least |x - scale q|. */
static double rest_of(const struct fkmi_pack *pack, const struct fkmi_quantised *facts)
{
    return sqrt(facts->rest2) * (1 + rounding_of(pack)) + 8 * UNIT * sqrt(facts->square) +
           UNDERFLOW * sqrt((double)pack->dim);
}

/* At least |x|. */
static double norm_of(const struct fkmi_pack *pack, const struct fkmi_quantised *facts)
{
    return sqrt(facts->square) * (1 + rounding_of(pack)) + UNDERFLOW * sqrt((double)pack->dim);
}

/* ---- filling */

struct fill_job {
    const struct fkmi_pack *pack;
    struct fkmi_screen *screen;
    char *scratch;
    size_t scratch_per_thread;
};

struct fill_scratch {
    float *staged;
    int8_t *bytes;
};

static void carve_fill(struct fill_scratch *scratch, struct fkmi_carve *carve, const struct fkmi_pack *pack)
{
    scratch->staged = fkmi_carve(carve, pack->dim, sizeof *scratch->staged);
    scratch->bytes = fkmi_carve(carve, pack->dim + 4, 1);
}

static void carve_screen(struct fkmi_screen *screen, struct fkmi_carve *carve, const struct fkmi_pack *pack)
{
    const struct fkmi_byte_tile *tile = tile_of(pack);
    const int64_t n_panels = (pack->k - 1) / tile->cols + 1, lanes = n_panels * tile->cols;

    screen->n_quads = (pack->dim + 3) / 4;
    screen->bytes = fkmi_carve(carve, lanes * screen->n_quads, 4);
    screen->start = fkmi_carve(carve, lanes, sizeof *screen->start);
    screen->scale = fkmi_carve(carve, lanes, sizeof *screen->scale);
    screen->bias = fkmi_carve(carve, lanes, sizeof *screen->bias);
    screen->rest = fkmi_carve(carve, lanes, sizeof *screen->rest);
    screen->size = fkmi_carve(carve, lanes, sizeof *screen->size);
    screen->slack = fkmi_carve(carve, lanes, sizeof *screen->slack);
    screen->panels = fkmi_carve(carve, n_panels, sizeof *screen->panels);
    screen->centre = fkmi_carve(carve, pack->dim, sizeof *screen->centre);
}

/* Any origin gives a bound that holds; the mean of some of the prototypes gives a close one. */
static void find_centre(const struct fkmi_pack *pack, float *centre, float *staged)
{
    const int64_t n = pack->k < POINTS_FOR_MEAN ? pack->k : POINTS_FOR_MEAN;

    memset(centre, 0, (size_t)pack->dim * sizeof *centre);
    for (int64_t i = 0; i < n; i++) {
        const int64_t j = pack->k / n * i;

        load_point(pack, j, staged);
        if (is_cosine(pack))
            move_point(pack, NULL, unit_of(pack, j), staged);
        for (int64_t d = 0; d < pack->dim; d++)
            centre[d] += staged[d] / (float)n;
    }
}

static void fill_lane(const struct fill_job *job, const struct fill_scratch *scratch, int64_t panel,
                      int64_t lane)
{
    const struct fkmi_pack *pack = job->pack;
    struct fkmi_screen *screen = job->screen;
    const struct fkmi_byte_tile *tile = tile_of(pack);
    const int64_t j = panel * tile->cols + lane;
    const double rounding = rounding_of(pack);
    int8_t *to = screen->bytes + panel * screen->n_quads * tile->cols * 4 + lane * 4;
    struct fkmi_quantised facts = {0};
    double rest = 0, norm = 0, bias = -0x1p99, size = 0;

    memset(scratch->bytes, 0, (size_t)screen->n_quads * 4);
    if (j < pack->k) {
        load_point(pack, j, scratch->staged);
        move_point(pack, screen->centre, unit_of(pack, j), scratch->staged);
        tile->quantise(scratch->staged, pack->dim, 127, scratch->bytes, &facts);
        rest = rest_of(pack, &facts);
        norm = norm_of(pack, &facts);
        if (is_cosine(pack)) {
            const struct fkmi_vector *vector = fkmi_pack_vector(pack);

            bias = vector->dot(scratch->staged, screen->centre, NULL, pack->dim);
            size = norm * sqrt(vector->dot(screen->centre, screen->centre, NULL, pack->dim));
        } else {
            bias = -facts.square / 2;
            size = norm * norm / 2;
        }
    }
    for (int64_t quad = 0; quad < screen->n_quads; quad++)
        memcpy(to + quad * tile->cols * 4, scratch->bytes + quad * 4, 4);
    screen->start[j] = (int32_t)(-tile->offset * facts.sum);
    screen->scale[j] = facts.scale;
    screen->bias[j] = (float)bias;
    screen->rest[j] = rounded_up(rest + 32 * UNIT * (norm + rest));
    screen->size[j] = rounded_up(norm);
    screen->slack[j] = rounded_up((2 * rounding + 64 * UNIT) * size);
}

static fkm_status fill_panels(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct fill_job *job = argument;
    struct fkmi_screen *screen = job->screen;
    const int cols = tile_of(job->pack)->cols;
    struct fkmi_carve carve = {job->scratch + (size_t)thread * job->scratch_per_thread, 0};
    struct fill_scratch scratch;

    carve_fill(&scratch, &carve, job->pack);
    for (int64_t panel = begin; panel < end; panel++) {
        const int64_t first = panel * cols;
        struct fkmi_byte_panel *facts = &screen->panels[panel];

        *facts = (struct fkmi_byte_panel){.bytes = screen->bytes + panel * screen->n_quads * cols * 4,
                                          .start = screen->start + first,
                                          .scale = screen->scale + first,
                                          .bias = screen->bias + first};
        for (int lane = 0; lane < cols; lane++) {
            fill_lane(job, &scratch, panel, lane);
            facts->rest = fmaxf(facts->rest, screen->rest[first + lane]);
            facts->size = fmaxf(facts->size, screen->size[first + lane]);
            facts->slack = fmaxf(facts->slack, screen->slack[first + lane]);
        }
    }
    return FKM_OK;
}

static fkm_status fill(struct fkm_context *context, const struct fkmi_pack *pack, struct fkmi_screen *screen)
{
    const int n_threads = fkmi_pool_threads_here(context->pool);
    struct fill_job job = {.pack = pack, .screen = screen};
    struct fill_scratch scratch;
    struct fkmi_carve carve = {NULL, 0};
    void *memory = NULL;
    fkm_status status = FKM_OK;

    carve_fill(&scratch, &carve, pack);
    job.scratch_per_thread = carve.used;
    carve = (struct fkmi_carve){NULL, 0};
    carve_screen(screen, &carve, pack);
    if (carve.used > screen->capacity) {
        fkmi_free(screen->memory);
        screen->memory = NULL;
        screen->capacity = 0;
        FKMI_TRY_GOTO(fkmi_alloc(&screen->memory, (int64_t)carve.used, 1));
        screen->capacity = carve.used;
    }
    carve = (struct fkmi_carve){screen->memory, 0};
    carve_screen(screen, &carve, pack);
    FKMI_TRY_GOTO(fkmi_scratch_take(context, job.scratch_per_thread * (size_t)n_threads, &memory));
    job.scratch = memory;
    carve = (struct fkmi_carve){memory, 0};
    carve_fill(&scratch, &carve, pack);
    find_centre(pack, screen->centre, scratch.staged);
    FKMI_TRY_GOTO(
        fkmi_parallel(context->pool, (pack->k - 1) / tile_of(pack)->cols + 1, 4, fill_panels, &job));
done:
    fkmi_scratch_give(context, memory);
    return status;
}

static bool can_screen(const struct fkmi_pack *pack, const struct fkmi_rows *rows, int64_t most)
{
    if (!tile_of(pack)->runs_here() || pack->space.real != FKMI_REAL_F32 || pack->unusual ||
        fkmi_rows_sparse(rows) || rows->mask || pack->space.metric == FKM_METRIC_L1 || pack->dim > MOST_DIM ||
        !(pack->factor > 0) || most > FKMI_SCREEN_MOST_PLACES)
        return false;
    for (int64_t d = 0; pack->feature_weights && d < pack->dim; d++)
        if (pack->feature_weights[d] != 0 && pack->feature_weights[d] < LEAST_WEIGHT)
            return false;
    return true;
}

/* A list of several nearest has a lower threshold, and fills with as many distances. */
static bool is_worth(const struct fkmi_pack *pack, int64_t most)
{
    const struct fkmi_byte_tile *tile = tile_of(pack);

    return tile->least_k > 0 && pack->k / most >= tile->least_k &&
           pack->k / most * pack->dim >= tile->least_coordinates &&
           atomic_load(&pack->screen->n_skipped) == 0;
}

fkm_status fkmi_screen_ready(struct fkm_context *context, const struct fkmi_pack *pack,
                             const struct fkmi_rows *rows, enum fkmi_scan_bytes wish, int64_t most, bool *use)
{
    struct fkmi_screen *screen = pack->screen;
    int empty = EMPTY;
    fkm_status status;

    *use = false;
    if (wish == FKMI_BYTES_NEVER || !can_screen(pack, rows, most))
        return FKM_OK;
    if (wish == FKMI_BYTES_IF_WORTH && !is_worth(pack, most))
        return FKM_OK;
    if (atomic_load_explicit(&screen->state, memory_order_acquire) == FULL) {
        *use = true;
        return FKM_OK;
    }
    if (atomic_fetch_add(&screen->n_rows, rows->n) + rows->n < LEAST_ROWS && wish == FKMI_BYTES_IF_WORTH)
        return FKM_OK;
    if (!atomic_compare_exchange_strong(&screen->state, &empty, FILLING))
        return FKM_OK; /* another scan is about to fill it: this one does without */
    status = fill(context, pack, screen);
    atomic_store_explicit(&screen->state, status == FKM_OK ? FULL : EMPTY, memory_order_release);
    *use = status == FKM_OK;
    return status;
}

/* ---- rows */

void fkmi_screen_carve(struct fkmi_screen_cell *cell, struct fkmi_carve *carve, const struct fkmi_pack *pack,
                       int64_t n)
{
    const struct fkmi_byte_tile *tile = tile_of(pack);
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
    const double rounding = rounding_of(pack);
    const void *x = (const char *)rows->x +
                    (size_t)(fkmi_row(rows, cell->first + i) * rows->stride) * fkmi_dtype_size(rows->dtype);
    double square, product;

    if (!is_cosine(pack) && rows->dtype == FKM_DTYPE_F32) {
        vector->transform(cell->staged, x, screen->centre, pack->map, pack->dim);
        return true;
    }
    vector->load[rows->dtype](cell->staged, x, pack->dim);
    if (!is_cosine(pack)) {
        move_point(pack, screen->centre, 1, cell->staged);
        return true;
    }
    square = vector->dot(cell->staged, cell->staged, pack->weights, pack->dim);
    if (!(square >= LEAST_SQUARE && square < MOST_SQUARE))
        return false;
    move_point(pack, NULL, 1 / sqrt(square), cell->staged);
    product = vector->dot(cell->staged, screen->centre, NULL, pack->dim);
    vector->transform(cell->staged, cell->staged, screen->centre, NULL, pack->dim);
    row->least = 1 - product - 16 * rounding;
    row->most = 1 - product + 16 * rounding;
    return true;
}

/* Row r of tile t. */
static void load_row(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t t, int64_t r)
{
    const struct fkmi_byte_tile *tile = tile_of(pack);
    const struct fkmi_screen *screen = pack->screen;
    const int64_t i = t * tile->rows + r, at = t * tile->stride + r;
    struct fkmi_screened *row = &cell->screened[i];
    const uint32_t lower = (uint32_t)(128 - tile->offset) * 0x01010101u;
    const double rounding = rounding_of(pack);
    uint8_t *to = cell->x + (t * tile->rows * screen->n_quads + r) * 4;
    struct fkmi_quantised facts = {0};

    row->n = 0;
    row->threshold = -INFINITY;
    row->left = !stage_row(cell, pack, i);
    if (!row->left) {
        tile->quantise(cell->staged, pack->dim, tile->most, cell->bytes, &facts);
        if (!is_cosine(pack)) {
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
    row->rest = (double)rounded_up(rest_of(pack, &facts));
    row->reach = (double)rounded_up(norm_of(pack, &facts) + row->rest);
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
    const struct fkmi_byte_tile *tile = tile_of(pack);
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
    const double rounding = rounding_of(pack);
    double distance;

    if (is_cosine(pack))
        return score - 16 * rounding;
    distance = row->most - 2 * score;
    return score - 4 * rounding * (distance > 0 ? distance : 0.0) - 64 * UNIT * row->most;
}

/* The same of a prototype at this distance, as it was computed. */
static double threshold_of_distance(const struct fkmi_pack *pack, const struct fkmi_screened *row,
                                    double distance)
{
    const double d = distance / pack->factor * (1 + 4 * rounding_of(pack));

    if (is_cosine(pack))
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
    const int cols = tile_of(pack)->cols;
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
    const struct fkmi_byte_tile *tile = tile_of(pack);
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
    const struct fkmi_byte_tile *tile = tile_of(pack);
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
    const struct fkmi_byte_tile *tile = tile_of(pack);
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
    const struct fkmi_byte_tile *tile = tile_of(pack);
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
