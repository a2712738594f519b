/* near.c — rows of one cell against the prototypes near its own.
 *
 * A row at distance u from its cell's prototype a is at least g - u from one that is g from a: prototypes with g > 2 u
 * have lost. The others are few; rows and they, both less a, become bytes, whose products say who must still be
 * measured (screen.c has the bound, with the prototypes' mean where here is a: a's own score is 0). What the row was
 * found to be away from all others, less what they move, is enough for most rows in later passes.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/near.h"

#include <assert.h>
#include <float.h>
#include <string.h>

#include "backends/cpu/screen_bytes.h"

#define CHUNK_BYTES  ((int64_t)2 << 20) /* of rows, which are read twice: in what is near to a core */
#define LEAST_CHUNK  32
#define MOST_CHUNK   1024
#define NEAR_BYTES   ((int64_t)1 << 20)
#define LEAST_NEAR   32
#define MOST_NEAR    256
#define FEW_NEAR     6     /* up to here distances cost no more than bytes */
#define MARGIN       0.15  /* rows learn about prototypes so much farther than their own, at most: */
#define DRIFTS_AHEAD 3.0   /* what these may move in so many passes like the last */
#define LEAST_SQUARE 1e-24 /* as for tiles of floats */
#define MOST_SQUARE  1e30
#define BYTES_AHEAD  4096
#define N_BUCKETS    32
#define LEAST_MARGIN 0.01
#define LEAST_BOUND  0x1p-120f /* floats below round by more than a part of themselves */
#define UP           (1 + 0x1p-19)
#define DOWN         (1 - 0x1p-20) /* more than the rounding of what it is multiplied with, to float and in doubles */

static int64_t n_quads_of(const struct fkmi_pack *pack) { return (pack->dim + 3) / 4; }

int64_t fkmi_near_rows(const struct fkmi_rows *rows)
{
    const int64_t n = CHUNK_BYTES / (rows->dim * (int64_t)fkmi_dtype_size(rows->dtype));

    return n < LEAST_CHUNK ? LEAST_CHUNK : n > MOST_CHUNK ? MOST_CHUNK : n;
}

static int most_near(const struct fkmi_pack *pack)
{
    const int64_t n = NEAR_BYTES / (pack->dim + 4);

    return n < LEAST_NEAR ? LEAST_NEAR : n > MOST_NEAR ? MOST_NEAR : (int)(n / LEAST_NEAR * LEAST_NEAR);
}

void fkmi_near_carve(struct fkmi_near *near, struct fkmi_carve *carve, const struct fkmi_near_pass *pass)
{
    const struct fkmi_pack *pack = pass->pack;
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const int64_t n_quads = (pack->dim + 3) / 4, n = fkmi_near_rows(pass->rows);
    const int64_t most = (most_near(pack) + tile->cols - 1) / tile->cols * tile->cols;
    struct fkmi_near_list *list = &near->list;

    *near = (struct fkmi_near){0};
    near->gaps = fkmi_carve(carve, tile->rows * pack->k, sizeof *near->gaps);
    near->centre = fkmi_carve(carve, pack->dim, sizeof *near->centre);
    near->staged = fkmi_carve(carve, pack->dim, sizeof *near->staged);
    near->candidates = fkmi_carve(carve, pack->k, sizeof *near->candidates);
    near->own = fkmi_carve(carve, n, sizeof *near->own);
    near->within = fkmi_carve(carve, pack->k, sizeof *near->within);
    near->square = fkmi_carve(carve, n, sizeof *near->square);
    near->reach = fkmi_carve(carve, n, sizeof *near->reach);
    near->open = fkmi_carve(carve, n, sizeof *near->open);
    near->sorted = fkmi_carve(carve, n, sizeof *near->sorted);
    near->x = fkmi_carve(carve, tile->rows * n_quads, 4);
    near->bytes = fkmi_carve(carve, tile->rows * n_quads, 4);
    near->tile_scale = fkmi_carve(carve, tile->stride, sizeof(float));
    near->tile_threshold = fkmi_carve(carve, tile->stride, sizeof(float));
    near->tile_reach = fkmi_carve(carve, tile->stride, sizeof(float));
    near->tile_rest = fkmi_carve(carve, tile->stride, sizeof(float));
    near->scores = fkmi_carve(carve, tile->rows * tile->cols, sizeof(float));
    list->index = fkmi_carve(carve, most, sizeof *list->index);
    list->gap = fkmi_carve(carve, most, sizeof *list->gap);
    list->beyond = fkmi_carve(carve, most / tile->cols, sizeof *list->beyond);
    list->bytes = fkmi_carve(carve, most * n_quads, 4);
    list->facts = fkmi_carve(carve, most, sizeof *list->facts);
    list->panels = fkmi_carve(carve, most / tile->cols, sizeof *list->panels);
    list->packed = fkmi_carve(carve, most * n_quads, 4);
    list->start = fkmi_carve(carve, most, sizeof *list->start);
    list->scale = fkmi_carve(carve, most, sizeof(float));
    list->bias = fkmi_carve(carve, most, sizeof(float));
    list->rest = fkmi_carve(carve, most, sizeof(float));
    list->size = fkmi_carve(carve, most, sizeof(float));
    list->slack = fkmi_carve(carve, most, sizeof(float));
    fkmi_direct_carve(&near->direct, carve, pack, pass->rows, 0);
}

static void load_point(const struct fkmi_pack *pack, int64_t j, float *to)
{
    fkmi_pack_vector(pack)->load[pack->dtype](
        to, (const char *)pack->points + (size_t)(j * pack->dim) * fkmi_dtype_size(pack->dtype), pack->dim);
}

/* A row or a prototype, less the cell's own. */
static void stage(struct fkmi_near *near, const struct fkmi_pack *pack, fkm_dtype dtype, const void *x)
{
    const struct fkmi_vector *vector = fkmi_pack_vector(pack);

    if (dtype != FKM_DTYPE_F32) {
        vector->load[dtype](near->staged, x, pack->dim);
        x = near->staged;
    }
    vector->transform(near->staged, x, near->centre, pack->map, pack->dim);
}

/* ---- tiles of bytes */

/* Row r of the tile is near->staged; more of its facts in *facts. */
static void stage_row(struct fkmi_near *near, const struct fkmi_pack *pack, int r,
                      struct fkmi_quantised *facts)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const int64_t n_quads = n_quads_of(pack);
    uint8_t *bytes = near->bytes + r * n_quads * 4;
    const uint8_t offset = (uint8_t)tile->offset;
    double rest;

    tile->quantise(near->staged, pack->dim, tile->most, (int8_t *)bytes, facts);
    rest = fkmi_screen_rest(pack, facts);
    memset(bytes + pack->dim, 0, (size_t)(n_quads * 4 - pack->dim));
    for (int64_t d = 0; d < n_quads * 4; d++)
        bytes[d] = (uint8_t)(bytes[d] + offset);
    near->tile_scale[r] = facts->scale;
    near->tile_rest[r] = fkmi_rounded_up(rest);
    near->tile_reach[r] = fkmi_rounded_up(fkmi_screen_norm(pack, facts) + rest);
}

static void pack_tile(struct fkmi_near *near, const struct fkmi_pack *pack, int n)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const void *row[32];

    for (int r = 0; r < n; r++)
        row[r] = near->bytes + r * n_quads_of(pack) * 4;
    for (int r = n; r < tile->stride; r++) {
        near->tile_threshold[r] = INFINITY;
        near->tile_scale[r] = near->tile_rest[r] = near->tile_reach[r] = 0;
    }
    pack->kernels->tile[FKM_DTYPE_F32].pack(row, n, n_quads_of(pack), tile->rows, near->x);
}

/* ---- how far prototypes are from each other */

static void find_class(struct fkmi_near_cell *cell, const struct fkmi_near_pass *pass, int32_t j)
{
    int64_t low = 0, high = pass->n_classes;

    *cell = (struct fkmi_near_cell){j, 0, 0, pass->pack->k};
    if (!pass->class_begin)
        return;
    while (high - low > 1) { /* class_begin[low] <= j < class_begin[high] */
        const int64_t middle = (low + high) / 2;

        if (pass->class_begin[middle] <= j)
            low = middle;
        else
            high = middle;
    }
    *cell = (struct fkmi_near_cell){j, low, pass->class_begin[low], pass->class_begin[low + 1]};
}

/* The scores of row r of the tile, when they are numbers, as gaps. */
static void keep_gaps(struct fkmi_near *near, const struct fkmi_near_pass *pass, int r, int64_t panel,
                      float square, bool known)
{
    const struct fkmi_screen *screen = pass->screen;
    const int cols = fkmi_screen_tile(pass->pack)->cols;
    const int64_t first = panel * cols, left = pass->pack->k - first;
    const int n = left < cols ? (int)left : cols;
    const float *score = near->scores + r * cols, *rest = screen->rest + first, *size = screen->size + first,
                *slack = screen->slack + first, reach = near->tile_reach[r], row_rest = near->tile_rest[r];
    float *gaps = near->gaps + r * pass->pack->k, here[64];

    for (int l = 0; l < n; l++) {
        const float error = reach * rest[l] + row_rest * size[l] + slack[l];
        const float gap = square - 2 * (score[l] + error) - (fabsf(score[l]) + error) * 0x1p-20f;

        here[l] = known && gap > 0 ? gap : 0;
    }
    for (int l = 0; l < n; l++)
        gaps[fkmi_screen_prototype(screen, first + l)] = here[l];
}

void fkmi_near_measure(struct fkmi_near *near, const struct fkmi_near_pass *pass, const int32_t *cells, int n)
{
    const struct fkmi_pack *pack = pass->pack;
    const struct fkmi_screen *screen = pass->screen;
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const double rounding = fkmi_screen_rounding(pack);
    const struct fkmi_byte_rows rows = {near->tile_scale, near->tile_threshold, near->tile_reach,
                                        near->tile_rest};
    int64_t begin = INT64_MAX, end = 0;
    float square[32];
    uint32_t lanes[32];

    assert(n <= tile->rows && tile->rows <= 32);
    for (int r = 0; r < n; r++) {
        struct fkmi_quantised facts = {0};

        find_class(&near->cells[r], pass, cells[r]);
        begin = near->cells[r].begin < begin ? near->cells[r].begin : begin;
        end = near->cells[r].end > end ? near->cells[r].end : end;
        load_point(pack, cells[r], near->staged);
        fkmi_screen_move(pack, screen->centre, 1, near->staged);
        stage_row(near, pack, r, &facts);
        near->tile_threshold[r] = -INFINITY;
        square[r] = (float)(facts.square * (1 - 2 * rounding)) * (1 - 0x1p-20f) - 0x1p-100f;
    }
    pack_tile(near, pack, n);
    if (screen->order) { /* lanes of any class may be anywhere */
        begin = 0;
        end = pack->k;
    }
    for (int64_t panel = begin / tile->cols; panel * tile->cols < end; panel++) {
        const uint32_t hit =
            tile->screen(near->x, &screen->panels[panel], screen->n_quads, &rows, near->scores, lanes);

        for (int r = 0; r < n; r++)
            keep_gaps(near, pass, r, panel, square[r], hit >> r & 1);
    }
}

/* ---- the list of a cell */

/* The `most` nearest come first. Hoare's quickselect, the middle one being the pivot. */
static void select_nearest(struct fkmi_candidate *c, int64_t n, int64_t most)
{
    int64_t begin = 0, end = n;

    while (end - begin > 1) {
        const double pivot = c[begin + (end - begin) / 2].score;
        int64_t i = begin, j = end - 1;

        while (i <= j) {
            while (c[i].score > pivot)
                i++;
            while (c[j].score < pivot)
                j--;
            if (i <= j) {
                const struct fkmi_candidate held = c[i];
                c[i++] = c[j];
                c[j--] = held;
            }
        }
        if (most <= j)
            end = j + 1;
        else if (most >= i)
            begin = i;
        else
            return;
    }
}

/* The ring of a prototype this far from the cell's own: rings are as wide as each other, the last one's end is the
 * list's radius. */
static int ring_at(const struct fkmi_near_list *list, double gap)
{
    const double ring = gap * list->rings;

    return ring < FKMI_NEAR_RINGS - 1 ? (int)ring : FKMI_NEAR_RINGS - 1;
}

int64_t fkmi_near_within(struct fkmi_near *near, const struct fkmi_near_pass *pass, int c, double square)
{
    const struct fkmi_near_cell *cell = &near->cells[c];
    const float *gaps = near->gaps + c * pass->pack->k;
    const float limit = square < (double)FLT_MAX ? (float)square * (1 + 0x1p-22f) : INFINITY;
    int64_t n = 0, own = 0;

    for (int64_t j = cell->begin; j < cell->end; j++) { /* without branches, which could not be foreseen */
        near->within[n] = (int32_t)j;
        n += gaps[j] <= limit;
    }
    while (own < n && near->within[own] != cell->cell)
        own++;
    if (own < n)
        memmove(near->within + own, near->within + own + 1, (size_t)(--n - own) * sizeof *near->within);
    return n;
}

/* Prototypes of the class that may lie within `radius` of the cell's own, as far as there is room. */
static void list_near(struct fkmi_near *near, const struct fkmi_near_pass *pass, int c, double radius)
{
    const float *gaps = near->gaps + c * pass->pack->k;
    const int most = most_near(pass->pack);
    struct fkmi_near_list *list = &near->list;
    int64_t n = fkmi_near_within(near, pass, c, radius * radius);

    for (int64_t i = 0; i < n; i++)
        near->candidates[i] = (struct fkmi_candidate){-(double)gaps[near->within[i]], near->within[i]};
    list->radius = radius;
    if (n > most) {
        double nearest = INFINITY;

        select_nearest(near->candidates, n, most);
        for (int64_t i = most; i < n; i++)
            nearest = fmin(nearest, -near->candidates[i].score);
        list->radius = nearest > 0 ? sqrt(nearest) * DOWN : -1;
        n = most;
    }
    list->n = (int)n;
    list->rings = list->radius > 1e-300 ? FKMI_NEAR_RINGS / list->radius : 0;
    for (int ring = 0; ring < FKMI_NEAR_RINGS; ring++)
        list->drift[ring] = 0;
    for (int i = 0; i < list->n; i++) {
        const int32_t j = near->candidates[i].index;
        int ring;

        list->index[i] = j;
        list->gap[i] = sqrt(fmax(-near->candidates[i].score, 0)) * DOWN;
        ring = ring_at(list, list->gap[i]);
        list->drift[ring] = fmax(list->drift[ring], pass->drift[j]);
    }
    for (int ring = 1; ring < FKMI_NEAR_RINGS; ring++)
        list->drift[ring] = fmax(list->drift[ring], list->drift[ring - 1]);
}

/* Lanes first .. of the list, whose facts and bytes stand where `order` says. */
static void pack_panel(struct fkmi_near_list *list, const struct fkmi_pack *pack, const int *order, int first)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const int64_t n_quads = n_quads_of(pack);
    struct fkmi_byte_panel *panel = &list->panels[first / tile->cols];
    int8_t *packed = list->packed + first * n_quads * 4;
    const void *row[64];
    int n = 0;

    *panel = (struct fkmi_byte_panel){.bytes = packed,
                                      .start = list->start + first,
                                      .scale = list->scale + first,
                                      .bias = list->bias + first};
    for (int at = first; at < first + tile->cols; at++) {
        const struct fkmi_quantised facts =
            at < list->n ? list->facts[order[at]] : (struct fkmi_quantised){0};
        const double rest = fkmi_screen_rest(pack, &facts), norm = fkmi_screen_norm(pack, &facts);

        list->start[at] = (int32_t)(-tile->offset * facts.sum);
        list->scale[at] = facts.scale;
        list->bias[at] = at < list->n ? (float)(-facts.square / 2) : -0x1p99f;
        list->rest[at] = fkmi_rounded_up(rest + 32 * FKMI_UNIT * (norm + rest));
        list->size[at] = fkmi_rounded_up(norm);
        list->slack[at] =
            fkmi_rounded_up((2 * fkmi_screen_rounding(pack) + 64 * FKMI_UNIT) * norm * norm / 2);
        panel->rest = fmaxf(panel->rest, list->rest[at]);
        panel->size = fmaxf(panel->size, list->size[at]);
        panel->slack = fmaxf(panel->slack, list->slack[at]);
        if (at < list->n)
            row[n++] = list->bytes + order[at] * n_quads * 4;
    }
    pack->kernels->tile[FKM_DTYPE_F32].pack(row, n, n_quads, tile->cols, packed);
}

static int bucket_of(double value, double scale)
{
    const double bucket = value * scale;

    return bucket < N_BUCKETS - 1 ? (int)bucket : N_BUCKETS - 1;
}

/* The places of n prototypes whose gaps are at most `radius`, roughly the nearest first, become `order`. */
static void sort_list(const struct fkmi_near_list *list, const int *kept, int n, double radius, int *order)
{
    const double scale = radius > 1e-300 ? (N_BUCKETS - 1) / radius : 0;
    int begin[N_BUCKETS + 1] = {0};

    for (int i = 0; i < n; i++)
        begin[1 + bucket_of(list->gap[kept[i]], scale)]++;
    for (int b = 0; b < N_BUCKETS; b++)
        begin[b + 1] += begin[b];
    for (int i = 0; i < n; i++)
        order[begin[bucket_of(list->gap[kept[i]], scale)]++] = kept[i];
}

/* Less the cell's prototype, as bytes, in panels; those beyond `radius` are left out. */
static void pack_list(struct fkmi_near *near, const struct fkmi_pack *pack, double radius)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const double rounding = fkmi_screen_rounding(pack);
    const int64_t n_quads = n_quads_of(pack);
    struct fkmi_near_list *list = &near->list;
    int kept[MOST_NEAR + 1], order[MOST_NEAR], n = 0;
    double least = INFINITY;

    for (int i = 0; i < list->n; i++) {
        struct fkmi_quantised *facts = &list->facts[i];
        int8_t *bytes = list->bytes + i * n_quads * 4;

        if (list->gap[i] > radius)
            continue;
        stage(near, pack, pack->dtype,
              (const char *)pack->points +
                  (size_t)(list->index[i] * pack->dim) * fkmi_dtype_size(pack->dtype));
        tile->quantise(near->staged, pack->dim, 127, bytes, facts);
        memset(bytes + pack->dim, 0, (size_t)(n_quads * 4 - pack->dim));
        list->gap[i] = fmax(list->gap[i], sqrt(facts->square) * (1 - rounding) * DOWN - 0x1p-50);
        kept[n] = i;
        n += list->gap[i] <= radius;
    }
    sort_list(list, kept, n, radius, order);
    for (int i = 0; i < n; i++) /* in that order, through the room of candidates */
        near->candidates[i] = (struct fkmi_candidate){list->gap[order[i]], list->index[order[i]]};
    for (int i = n; i-- > 0;) {
        list->gap[i] = near->candidates[i].score;
        list->index[i] = near->candidates[i].index;
        least = fmin(least, list->gap[i]);
        list->beyond[i / tile->cols] = least;
    }
    list->n = n;
    for (int first = 0; first < n; first += tile->cols)
        pack_panel(list, pack, order, first);
}

/* ---- rows */

/* What is known of a row while prototypes are looked at. */
struct found {
    int32_t index;
    double distance, square; /* and the mapped square of that, at most */
    double others;           /* squared distance of all others, at least */
};

static double at_most(const struct fkmi_pack *pack, double distance)
{
    return distance / pack->factor * (1 + 4 * fkmi_screen_rounding(pack));
}

static double at_least(const struct fkmi_pack *pack, double distance)
{
    return distance / pack->factor * (1 - 4 * fkmi_screen_rounding(pack));
}

/* Prototype j is measured. */
static void measure_one(struct fkmi_near *near, const struct fkmi_pack *pack, int64_t row, int32_t j,
                        struct found *found)
{
    double distance;

    if (near->direct.i != row)
        fkmi_direct_row(&near->direct, row);
    distance = fkmi_direct_distance(&near->direct, j);
    if (distance < found->distance || (distance == found->distance && j < found->index)) {
        found->others = fmin(found->others, at_least(pack, found->distance));
        *found = (struct found){j, distance, at_most(pack, distance), found->others};
    } else
        found->others = fmin(found->others, at_least(pack, distance));
}

/* up, low: in doubles, as precise as these. */
static struct fkmi_near_bound bound_of(double up, double low)
{
    const float below = low < (double)FLT_MAX ? (float)low * (1 - 0x1p-20f) - LEAST_BOUND : FLT_MAX / 2;

    return (struct fkmi_near_bound){(float)up * (1 + 0x1p-20f) + LEAST_BOUND, below > 0 ? below : 0};
}

/* The row keeps what was found; `beyond`: what it has not met is at least so far from it. */
static void keep(const struct fkmi_near_pass *pass, int64_t row, const struct found *found, double beyond)
{
    pass->index[row] = found->index;
    pass->bound[row] = bound_of(sqrt(found->square), fmin(sqrt(found->others), beyond) * DOWN);
}

/* Asks for what will be needed of a row, all of which lies anywhere. */
FKMI_FETCH void fetch_row(const struct fkmi_near_pass *pass, int64_t i, int64_t row_bytes)
{
    const char *x =
        (const char *)pass->rows->x + fkmi_row(pass->rows, i) * pass->rows->stride * pass->value_size;

    for (int64_t at = 0; at < row_bytes; at += 64)
        __builtin_prefetch(x + at);
    __builtin_prefetch(x + row_bytes - 1); /* rows need not begin where a line of the cache does */
    __builtin_prefetch(&pass->bound[i], 1);
    __builtin_prefetch(&pass->index[i], 1);
}

/* The distance of every row to its cell's prototype; returns the largest root. */
static double measure_own(struct fkmi_near *near, const struct fkmi_near_pass *pass, int32_t own,
                          const int32_t *row, int64_t n)
{
    const double most_of = at_most(pass->pack, 1);
    const int64_t row_bytes = pass->pack->dim * pass->value_size;
    const int64_t ahead = BYTES_AHEAD / row_bytes + 1;
    double most = 0;

    for (int64_t i = 0; i < ahead && i < n; i++)
        fetch_row(pass, row[i], row_bytes);
    for (int64_t i = 0; i < n; i++) {
        double distance;

        if (i + ahead < n)
            fetch_row(pass, row[i + ahead], row_bytes);
        fkmi_direct_row(&near->direct, row[i]);
        distance = fkmi_direct_distance(&near->direct, own);
        near->own[i] = distance;
        near->square[i] = distance * most_of * (1 + 0x1p-50);
        most = near->square[i] > most ? near->square[i] : most;
    }
    return sqrt(most);
}

/* Rows whose bounds now say that no other prototype can be as near are done; the others stay open or are far. */
static int64_t leave_settled(struct fkmi_near *near, const struct fkmi_near_pass *pass, const int32_t *row,
                             int64_t n, double *most_reach, int64_t *n_far)
{
    const struct fkmi_near_list *list = &near->list;
    const double rounding = fkmi_screen_rounding(pass->pack);
    int64_t n_open = 0;

    *most_reach = 0;
    *n_far = 0;
    for (int64_t i = 0; i < n; i++) {
        const double u = sqrt(near->square[i]) * UP;
        const double low = -(double)pass->bound[row[i]].low;

        if (low > 0 && low * low * (1 - 4 * rounding) > near->square[i]) {
            pass->bound[row[i]] = bound_of(sqrt(near->square[i]), low);
            continue;
        }
        near->reach[i] =
            2 * u + fmin(MARGIN * u, DRIFTS_AHEAD * list->drift[ring_at(list, (2 + LEAST_MARGIN) * u)]);
        if (!(near->reach[i] <= list->radius)) {
            pass->bound[row[i]].low = FKMI_NEAR_FAR;
            (*n_far)++;
            continue;
        }
        *most_reach = fmax(*most_reach, near->reach[i]);
        near->open[n_open++] = (int32_t)i;
    }
    return n_open;
}

static void meet_few(struct fkmi_near *near, const struct fkmi_near_pass *pass, int32_t own,
                     const int32_t *row, int64_t n_open)
{
    const struct fkmi_near_list *list = &near->list;

    for (int64_t o = 0; o < n_open; o++) {
        const int32_t i = near->open[o];
        struct found found = {own, near->own[i], near->square[i], INFINITY};

        for (int l = 0; l < list->n; l++)
            if (list->gap[l] <= near->reach[i])
                measure_one(near, pass->pack, row[i], list->index[l], &found);
        keep(pass, row[i], &found, near->reach[i] - sqrt(near->square[i]) * UP);
    }
}

/* Open rows, those that reach farthest first, roughly. */
static void sort_open(struct fkmi_near *near, int64_t n_open, double most_reach)
{
    int64_t begin[N_BUCKETS + 1] = {0};
    double least = most_reach, scale;

    for (int64_t o = 0; o < n_open; o++)
        least = fmin(least, near->reach[near->open[o]]);
    scale = most_reach > least ? (N_BUCKETS - 1) / (most_reach - least) : 0;
    if (!(scale < 1e300))
        scale = 0;
    for (int64_t o = 0; o < n_open; o++)
        begin[1 + bucket_of(most_reach - near->reach[near->open[o]], scale)]++;
    for (int b = 0; b < N_BUCKETS; b++)
        begin[b + 1] += begin[b];
    for (int64_t o = 0; o < n_open; o++)
        near->sorted[begin[bucket_of(most_reach - near->reach[near->open[o]], scale)]++] = near->open[o];
}

/* Row r of the tile meets the lanes of a panel that its bytes do not rule out. */
static void meet_lanes(struct fkmi_near *near, const struct fkmi_near_pass *pass, int64_t row, int r,
                       int first, uint32_t lanes, double square, struct found *found)
{
    const struct fkmi_near_list *list = &near->list;
    const int cols = fkmi_screen_tile(pass->pack)->cols;
    const double rounding = fkmi_screen_rounding(pass->pack);

    for (; lanes; lanes &= lanes - 1) {
        const int lane = __builtin_ctz(lanes), l = first + lane;
        double error, away;

        if (l >= list->n)
            break;
        error = (double)near->tile_reach[r] * (double)list->rest[l] +
                (double)near->tile_rest[r] * (double)list->size[l] + (double)list->slack[l];
        away = square - 2 * ((double)near->scores[r * cols + lane] + error);
        if (away * (1 - 4 * rounding) > found->square)
            found->others = fmin(found->others, away);
        else
            measure_one(near, pass->pack, row, list->index[l], found);
    }
}

static void meet_tile(struct fkmi_near *near, const struct fkmi_near_pass *pass, int32_t own,
                      const int32_t *row, const int32_t *open, int n)
{
    const struct fkmi_pack *pack = pass->pack;
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const struct fkmi_near_list *list = &near->list;
    const double rounding = fkmi_screen_rounding(pack);
    const struct fkmi_byte_rows rows = {near->tile_scale, near->tile_threshold, near->tile_reach,
                                        near->tile_rest};
    struct found found[32];
    double square[32], reach = 0;
    uint32_t lanes[32];

    for (int r = 0; r < n; r++) {
        const int32_t i = open[r];
        const double u = sqrt(near->square[i]) * UP, within = near->reach[i] - u;
        const void *x =
            (const char *)pass->rows->x +
            (size_t)(fkmi_row(pass->rows, row[i]) * pass->rows->stride) * fkmi_dtype_size(pass->rows->dtype);
        struct fkmi_quantised facts = {0};
        double threshold;

        found[r] = (struct found){own, near->own[i], near->square[i], INFINITY};
        reach = fmax(reach, near->reach[i]);
        stage(near, pack, pass->rows->dtype, x);
        stage_row(near, pack, r, &facts);
        square[r] = facts.square * (1 - 2 * rounding);
        threshold = (square[r] - within * within) / 2;
        near->tile_threshold[r] = (float)(threshold - 0x1p-20 * (fabs(threshold) + square[r]) - 0x1p-100);
        if (!(facts.square >= LEAST_SQUARE && facts.square < MOST_SQUARE)) {
            for (int l = 0; l < list->n; l++)
                if (list->gap[l] <= near->reach[i])
                    measure_one(near, pack, row[i], list->index[l], &found[r]);
            near->tile_threshold[r] = INFINITY;
        }
    }
    pack_tile(near, pack, n);
    for (int first = 0; first < list->n; first += tile->cols) {
        uint32_t hit;

        if (list->beyond[first / tile->cols] > reach)
            break;
        hit = tile->screen(near->x, &list->panels[first / tile->cols], n_quads_of(pack), &rows, near->scores,
                           lanes);
        for (; hit; hit &= hit - 1) {
            const int r = __builtin_ctz(hit);

            if (r < n)
                meet_lanes(near, pass, row[open[r]], r, first, lanes[r], square[r], &found[r]);
        }
    }
    for (int r = 0; r < n; r++) {
        const double u = sqrt(near->square[open[r]]) * UP;

        keep(pass, row[open[r]], &found[r], near->reach[open[r]] - u);
    }
}

struct fkmi_near_bound fkmi_near_bound_at(const struct fkmi_pack *pack, double distance)
{
    return bound_of(sqrt(at_most(pack, distance)), 0);
}

int64_t fkmi_near_assign(struct fkmi_near *near, const struct fkmi_near_pass *pass, int c, const int32_t *row,
                         int64_t n)
{
    const struct fkmi_pack *pack = pass->pack;
    const int rows = fkmi_screen_tile(pack)->rows;
    const int32_t own = near->cells[c].cell;
    const double most = measure_own(near, pass, own, row, n) * UP;
    double reach;
    int64_t n_open, n_far;

    list_near(near, pass, c, (2 + MARGIN) * most * UP);
    n_open = leave_settled(near, pass, row, n, &reach, &n_far);
    if (n_open > 0 && near->list.n <= FEW_NEAR)
        meet_few(near, pass, own, row, n_open);
    else if (n_open > 0) {
        load_point(pack, own, near->centre);
        pack_list(near, pack, reach);
        sort_open(near, n_open, reach);
        for (int64_t first = 0; first < n_open; first += rows)
            meet_tile(near, pass, own, row, near->sorted + first,
                      (int)(n_open - first < rows ? n_open - first : rows));
    }
    return n_far;
}
