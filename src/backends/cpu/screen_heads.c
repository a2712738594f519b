/* screen_heads.c — heads of a cell's rows: which panels a tile of rows need not meet.
 *
 * Balls are asked first, in the space of heads, where nothing is farther apart than it is: around the prototypes of a
 * panel, and around each row as far as it may be from its nearest. Then heads as bytes.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/screen_bytes.h"

#include <assert.h>

#define BALL_MARGIN 0x1p-14 /* what floats may take from a score of heads, in squares of their lengths */

void fkmi_heads_carve(struct fkmi_screen_cell *cell, struct fkmi_carve *carve, const struct fkmi_pack *pack,
                      const struct fkmi_screen *screen, int64_t n)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const int64_t n_tiles = (n - 1) / tile->rows + 1, floats = n_tiles * tile->stride,
                  width = screen->head.width;
    const int64_t n_groups = (screen->head.n_panels - 1) / tile->cols + 1;

    cell->numbers = fkmi_carve(carve, tile->rows * width, sizeof *cell->numbers);
    cell->head_bytes = fkmi_carve(carve, tile->rows * width, 1);
    cell->head_scale = fkmi_carve(carve, n_tiles, sizeof *cell->head_scale);
    cell->head_reach = fkmi_carve(carve, floats, sizeof *cell->head_reach);
    cell->head_rest = fkmi_carve(carve, floats, sizeof *cell->head_rest);
    cell->head_x = fkmi_carve(carve, n_tiles * tile->rows * width, 1);
    cell->homes = fkmi_carve(carve, n_tiles * FKMI_SCREEN_HOMES, sizeof *cell->homes);
    cell->head_error = fkmi_carve(carve, n, sizeof *cell->head_error);
    cell->head_square = fkmi_carve(carve, n, sizeof *cell->head_square);
    cell->transposed = fkmi_carve(carve, tile->rows * pack->dim, sizeof *cell->transposed);
    cell->packed = fkmi_carve(carve, n_tiles * tile->rows * width, sizeof *cell->packed);
    cell->near_tiles = fkmi_carve(carve, n_groups * tile->cols, sizeof *cell->near_tiles);
}

/* Panels that rows of a tile are near to. */
static void find_homes(struct fkmi_screen_cell *cell, int64_t rows, int64_t t)
{
    int32_t *homes = cell->homes + t * FKMI_SCREEN_HOMES;
    int n = 0;

    for (int h = 0; h < FKMI_SCREEN_HOMES; h++)
        homes[h] = -1;
    for (int64_t i = t * rows; i < (t + 1) * rows && i < cell->n && n < FKMI_SCREEN_HOMES; i++) {
        const int32_t home = cell->near[fkmi_screen_row(cell, i)];
        bool is_new = true;

        for (int h = 0; h < n; h++)
            is_new = is_new && homes[h] != home;
        if (is_new)
            homes[n++] = home;
    }
}

void fkmi_heads_load(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t t)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const int64_t first = t * tile->rows, left = cell->n - first, width = cell->screen->head.width;
    const int n = (int)(left < tile->rows ? left : tile->rows);

    fkmi_head_project(&cell->screen->head, pack, cell->staged, n, cell->transposed, cell->scores,
                      cell->numbers);
    for (int64_t r = 0; r < tile->rows; r++)
        if (r >= n || cell->screened[first + r].left)
            memset(cell->numbers + r * width, 0, (size_t)width * sizeof *cell->numbers);
}

void fkmi_heads_finish(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t t)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const struct fkmi_head *head = &cell->screen->head;
    const struct fkmi_tile *floats = &pack->kernels->tile[FKM_DTYPE_F32];
    const int64_t rows = tile->rows, width = head->width;
    struct fkmi_quantised all;
    const void *row[32];

    tile->quantise(cell->numbers, rows * width, tile->most, cell->head_bytes, &all);
    cell->head_scale[t] = all.scale;
    for (int64_t r = 0; r < tile->stride; r++) {
        const int64_t i = t * rows + r, at = t * tile->stride + r;
        const int8_t *bytes = cell->head_bytes + (r < rows ? r : 0) * width;
        const float *numbers = cell->numbers + (r < rows ? r : 0) * width;
        double rest2 = 0, norm2 = 0, rest;

        cell->head_reach[at] = cell->head_rest[at] = 0;
        if (r >= rows)
            continue;
        for (int64_t q = 0; q < width; q++) {
            const double x = (double)numbers[q], e = x - (double)all.scale * bytes[q];

            rest2 += e * e;
            norm2 += x * x;
        }
        fkmi_screen_set_row(tile, bytes, head->n_quads, cell->head_x + (t * head->n_quads * rows + r) * 4);
        if (i >= cell->n || cell->screened[i].left)
            continue;
        cell->head_square[i] = norm2;
        cell->head_error[i] = fkmi_head_error(head, cell->screened[i].reach, numbers[width - 1]);
        rest = sqrt(rest2) + head->inexact * cell->screened[i].reach;
        cell->head_rest[at] = fkmi_rounded_up(rest);
        cell->head_reach[at] = fkmi_rounded_up(fmax(sqrt(norm2), cell->screened[i].reach) + rest);
    }
    for (int64_t r = 0; r < rows; r++)
        row[r] = cell->numbers + r * width;
    floats->pack(row, (int)rows, width, (int)rows, cell->packed + t * rows * width);
    find_homes(cell, rows, t);
}

/* ---- balls */

/* At least how far a prototype may be from row i and still count, and the row's numbers be from the truth. */
static double reach_of(const struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t t,
                       int64_t r)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const int64_t i = t * tile->rows + r;
    const struct fkmi_screened *row = &cell->screened[i];
    const double threshold = (double)cell->threshold[t * tile->stride + r];
    /* cosine: |y - g|^2 is 2 (1 - cos) between unit vectors, and less from a zero one */
    const double square = fkmi_screen_cosine(pack) ? 2 * (row->most - threshold) : row->most - 2 * threshold;

    if (row->left)
        return 0;
    return sqrt(square > 0 ? square : 0.0) * (1 + 0x1p-18) * (1 + cell->screen->head.skew) +
           cell->head_error[i];
}

/* A panel whose centre is as far from a row as d, d > reach + radius, cannot count. As (a + b)^2 <= 2 a^2 + 2 b^2, that
 * is so where d^2 = |x|^2 - 2 s is above 2 reach^2 + 2 radius^2: a score s + radius^2 below (|x|^2 - 2 reach^2) / 2. */
void fkmi_heads_find_far(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack)
{
    const struct fkmi_tile *tile = &pack->kernels->tile[FKM_DTYPE_F32];
    const struct fkmi_head *head = &cell->screen->head;
    const int64_t rows = tile->rows, cols = tile->cols, width = head->width,
                  n_tiles = (cell->n - 1) / rows + 1;
    const int64_t n_groups = (head->n_panels - 1) / cols + 1;
    float least[32];
    uint32_t lanes[32];

    assert(n_tiles <= FKMI_MOST_TILES);
    memset(cell->near_tiles, 0, (size_t)(n_groups * cols) * sizeof *cell->near_tiles);
    for (int64_t t = 0; t < n_tiles; t++) {
        for (int64_t r = 0, i = t * rows; r < rows; r++, i++) {
            const double reach = i < cell->n ? reach_of(cell, pack, t, r) : 0.0;
            const double square = i < cell->n ? cell->head_square[i] : 0.0;

            least[r] = i < cell->n && !cell->screened[i].left
                           ? (float)(square * (0.5 - BALL_MARGIN) - reach * reach * (1 + BALL_MARGIN))
                           : INFINITY;
        }
        for (int64_t g = 0; g < n_groups; g++) {
            uint32_t hit, near = 0;

            tile->dot(cell->packed + t * rows * width, head->centres + g * cols * width,
                      head->ball_bias + g * cols, width, cell->scores);
            for (hit = tile->above(cell->scores, least, lanes); hit; hit &= hit - 1)
                near |= lanes[__builtin_ctz(hit)];
            for (; near; near &= near - 1)
                cell->near_tiles[g * cols + __builtin_ctz(near)] |= (uint64_t)1 << t;
        }
        for (int h = 0; h < FKMI_SCREEN_HOMES && cell->homes[t * FKMI_SCREEN_HOMES + h] >= 0; h++)
            cell->near_tiles[cell->homes[t * FKMI_SCREEN_HOMES + h]] &= ~((uint64_t)1 << t);
    }
}

/* ---- bytes of heads */

bool fkmi_heads_may_reach(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t t,
                          int64_t panel)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const struct fkmi_head *head = &cell->screen->head;
    const float unit = cell->head_scale[t] * head->scale[panel];
    const struct fkmi_byte_rows rows = {NULL, cell->threshold + t * tile->stride,
                                        cell->head_reach + t * tile->stride,
                                        cell->head_rest + t * tile->stride};
    bool may;

    if (!(unit > 1e-30f) || head->most_bias[panel] > unit * 0x1p26f)
        return true;
    may = tile->reaches(cell->head_x + t * head->n_quads * tile->rows * 4, &head->panels[panel],
                        head->n_quads, &rows, unit);
    cell->n_tested++;
    cell->n_passed += may;
    return may;
}

/* ---- rows in order of their nearest panels */

struct near_scratch {
    float *staged, *transposed, *numbers, *packed, *scores;
};

static void carve_near(struct near_scratch *scratch, struct fkmi_carve *carve,
                       const struct fkmi_screen *screen, const struct fkmi_pack *pack)
{
    const struct fkmi_tile *tile = &pack->kernels->tile[FKM_DTYPE_F32];

    scratch->staged = fkmi_carve(carve, tile->rows * pack->dim, sizeof *scratch->staged);
    scratch->transposed = fkmi_carve(carve, tile->rows * pack->dim, sizeof *scratch->transposed);
    scratch->numbers = fkmi_carve(carve, tile->rows * screen->head.width, sizeof *scratch->numbers);
    scratch->packed = fkmi_carve(carve, tile->rows * screen->head.width, sizeof *scratch->packed);
    scratch->scores = fkmi_carve(carve, (int64_t)tile->rows * tile->cols, sizeof *scratch->scores);
}

size_t fkmi_screen_near_size(const struct fkmi_screen *screen, const struct fkmi_pack *pack)
{
    struct near_scratch scratch;
    struct fkmi_carve carve = {NULL, 0};

    carve_near(&scratch, &carve, screen, pack);
    return carve.used;
}

int64_t fkmi_screen_panels(const struct fkmi_pack *pack)
{
    return (pack->k - 1) / fkmi_screen_tile(pack)->cols + 1;
}

void fkmi_screen_find_near(struct fkmi_screen *screen, const struct fkmi_pack *pack,
                           const struct fkmi_rows *rows, int64_t begin, int64_t end, void *memory,
                           int32_t *near)
{
    const int64_t together = pack->kernels->tile[FKM_DTYPE_F32].rows, width = screen->head.width;
    struct near_scratch scratch;
    struct fkmi_carve carve = {memory, 0};
    const float *numbers[32];

    carve_near(&scratch, &carve, screen, pack);
    for (int64_t first = begin; first < end; first += together) {
        const int n = (int)(end - first < together ? end - first : together);

        for (int r = 0; r < n; r++) {
            struct fkmi_screened row; /* not needed */
            float *staged = scratch.staged + r * pack->dim;

            if (!fkmi_screen_stage(screen, pack, rows, first + r, staged, &row))
                memset(staged, 0, (size_t)pack->dim * sizeof *staged);
            numbers[r] = scratch.numbers + r * width;
        }
        fkmi_head_project(&screen->head, pack, scratch.staged, n, scratch.transposed, scratch.scores,
                          scratch.numbers);
        fkmi_head_nearest(&screen->head, pack, numbers, n, scratch.packed, scratch.scores, near + first);
    }
}
