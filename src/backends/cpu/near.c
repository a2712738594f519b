/* near.c — rows of one cell against the prototypes near its own.
 *
 * A row at distance u from its cell's prototype a is at least g - u from one that is g from a: prototypes with g > 2 u
 * have lost. The others are few; rows and they, both less a, become bytes, whose products say who must still be
 * measured (screen.c has the bound, with the prototypes' mean where here is a: a's own score is 0). What the row was
 * found to be away from all others, less what they move, is enough for most rows in later passes.
 *
 * Here: room, tiles of bytes, and how far prototypes are from each other. near_list.c: the list of a cell; near_rows.c:
 * its rows.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/near_inside.h"

#include <assert.h>
#include <string.h>

#define CHUNK_BYTES                                                                                          \
    ((int64_t)2 << 20) /* of rows, of which a quarter becomes bytes: in what is near to a core */
#define LEAST_CHUNK 32 /* and as many as a tile has */
#define MOST_CHUNK  1024

int64_t fkmi_near_rows(const struct fkmi_rows *rows)
{
    const int64_t n = CHUNK_BYTES / (rows->dim * (int64_t)fkmi_dtype_size(rows->dtype));

    return n < LEAST_CHUNK ? LEAST_CHUNK : n > MOST_CHUNK ? MOST_CHUNK : n;
}

void fkmi_near_carve(struct fkmi_near *near, struct fkmi_carve *carve, const struct fkmi_near_pass *pass)
{
    const struct fkmi_pack *pack = pass->pack;
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const int64_t n_quads = fkmi_near_quads(pack), n = fkmi_near_rows(pass->rows);
    const int64_t most = (fkmi_near_most(pack) + tile->cols - 1) / tile->cols * tile->cols;
    const struct fkmi_quantised nothing = {0};
    struct fkmi_near_list *list = &near->list;

    *near =
        (struct fkmi_near){.grow = 1 + fkmi_screen_rounding(pack), .lost = fkmi_screen_norm(pack, &nothing)};
    near->gaps = fkmi_carve(carve, tile->rows * pack->k, sizeof *near->gaps);
    near->centre = fkmi_carve(carve, pack->dim, sizeof *near->centre);
    near->staged = fkmi_carve(carve, pack->dim, sizeof *near->staged);
    near->candidates = fkmi_carve(carve, most, sizeof *near->candidates);
    near->within = fkmi_carve(carve, pack->k, sizeof *near->within);
    near->row = fkmi_carve(carve, n, sizeof *near->row);
    near->own = fkmi_carve(carve, n, sizeof *near->own);
    near->square = fkmi_carve(carve, n, sizeof *near->square);
    near->up = fkmi_carve(carve, n, sizeof *near->up);
    near->reach = fkmi_carve(carve, n, sizeof *near->reach);
    near->size = fkmi_carve(carve, n, sizeof *near->size);
    near->bytes = fkmi_carve(carve, n * n_quads, 4);
    near->scale = fkmi_carve(carve, n, sizeof *near->scale);
    near->rest = fkmi_carve(carve, n, sizeof *near->rest);
    near->norm = fkmi_carve(carve, n, sizeof *near->norm);
    near->open = fkmi_carve(carve, n, sizeof *near->open);
    near->sorted = fkmi_carve(carve, n, sizeof *near->sorted);
    near->x = fkmi_carve(carve, tile->rows * n_quads, 4);
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

void fkmi_near_load(const struct fkmi_pack *pack, int64_t j, float *to)
{
    fkmi_pack_vector(pack)->load[pack->dtype](
        to, (const char *)pack->points + (size_t)(j * pack->dim) * fkmi_dtype_size(pack->dtype), pack->dim);
}

/* ---- tiles of bytes */

double fkmi_near_quantise(struct fkmi_near *near, const struct fkmi_pack *pack, int64_t place)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const int64_t n_bytes = fkmi_near_quads(pack) * 4;
    uint8_t *bytes = near->bytes + place * n_bytes;
    const uint8_t offset = (uint8_t)tile->offset;
    struct fkmi_quantised facts = {0};
    double rest, norm;

    tile->quantise(near->staged, pack->dim, tile->most, (int8_t *)bytes, &facts);
    fkmi_near_sizes(near, &facts, &rest, &norm);
    for (int64_t d = pack->dim; d < n_bytes; d++)
        bytes[d] = 0;
    for (int64_t d = 0; d < n_bytes; d++)
        bytes[d] = (uint8_t)(bytes[d] + offset);
    near->scale[place] = facts.scale;
    near->rest[place] = fkmi_rounded_up(rest);
    near->norm[place] = fkmi_rounded_up(norm + rest);
    return facts.square;
}

void fkmi_near_tile(struct fkmi_near *near, const struct fkmi_pack *pack, const int32_t *place, int n)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const int64_t n_quads = fkmi_near_quads(pack);
    const void *row[32];

    for (int r = 0; r < n; r++) {
        row[r] = near->bytes + place[r] * n_quads * 4;
        near->tile_scale[r] = near->scale[place[r]];
        near->tile_rest[r] = near->rest[place[r]];
        near->tile_reach[r] = near->norm[place[r]];
    }
    for (int r = n; r < tile->stride; r++) {
        near->tile_threshold[r] = INFINITY;
        near->tile_scale[r] = near->tile_rest[r] = near->tile_reach[r] = 0;
    }
    pack->kernels->tile[FKM_DTYPE_F32].pack(row, n, n_quads, tile->rows, near->x);
}

/* Of the lanes of a panel, in row r of the tile. */
static void hear_lanes(const struct fkmi_near *near, int cols, int r, int first, uint32_t lanes,
                       double square, fkmi_near_hear_fn *hear, void *argument)
{
    const struct fkmi_near_list *list = &near->list;

    for (; lanes; lanes &= lanes - 1) {
        const int lane = __builtin_ctz(lanes), l = first + lane;
        double error;

        if (l >= list->n)
            break;
        error = (double)near->tile_reach[r] * (double)list->rest[l] +
                (double)near->tile_rest[r] * (double)list->size[l] + (double)list->slack[l];
        hear(argument, r, l, square - 2 * ((double)near->scores[r * cols + lane] + error));
    }
}

void fkmi_near_meet(struct fkmi_near *near, const struct fkmi_pack *pack, const int32_t *place, int n,
                    fkmi_near_hear_fn *hear, void *argument)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const struct fkmi_near_list *list = &near->list;
    const double shrink = 1 - 2 * fkmi_screen_rounding(pack);
    const struct fkmi_byte_rows rows = {near->tile_scale, near->tile_threshold, near->tile_reach,
                                        near->tile_rest};
    double square[32], reach = 0;
    uint32_t lanes[32];

    for (int r = 0; r < n; r++) {
        const int32_t i = place[r];
        const double within = near->reach[i] - near->up[i];
        double threshold;

        reach = near->reach[i] > reach ? near->reach[i] : reach;
        square[r] = near->size[i] * shrink;
        threshold = (square[r] - within * within) / 2;
        near->tile_threshold[r] = (float)(threshold - 0x1p-20 * (fabs(threshold) + square[r]) - 0x1p-100);
        if (!(near->size[i] >= FKMI_LEAST_SQUARE && near->size[i] < FKMI_MOST_SQUARE)) {
            near->tile_threshold[r] = INFINITY; /* bytes know nothing of it */
            for (int l = 0; l < list->n; l++)
                if (list->gap[l] <= near->reach[i])
                    hear(argument, r, l, -INFINITY);
        }
    }
    fkmi_near_tile(near, pack, place, n);
    for (int first = 0; first < list->n && list->beyond[first / tile->cols] <= reach; first += tile->cols) {
        uint32_t hit = tile->screen(near->x, &list->panels[first / tile->cols], fkmi_near_quads(pack), &rows,
                                    near->scores, lanes);

        for (; hit; hit &= hit - 1)
            if (__builtin_ctz(hit) < n) {
                const int r = __builtin_ctz(hit);

                hear_lanes(near, tile->cols, r, first, lanes[r], square[r], hear, argument);
            }
    }
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
    int32_t place[32];
    uint32_t lanes[32];

    assert(n <= tile->rows && tile->rows <= 32);
    for (int r = 0; r < n; r++) {
        find_class(&near->cells[r], pass, cells[r]);
        begin = near->cells[r].begin < begin ? near->cells[r].begin : begin;
        end = near->cells[r].end > end ? near->cells[r].end : end;
        fkmi_near_load(pack, cells[r], near->staged);
        fkmi_screen_move(pack, screen->centre, 1, near->staged);
        place[r] = r;
        square[r] =
            (float)(fkmi_near_quantise(near, pack, r) * (1 - 2 * rounding)) * (1 - 0x1p-20f) - 0x1p-100f;
        near->tile_threshold[r] = -INFINITY;
    }
    fkmi_near_tile(near, pack, place, n);
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
