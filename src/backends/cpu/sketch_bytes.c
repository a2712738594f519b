/* sketch_bytes.c — the bytes of rows and points, and which points they cannot rule out.
 *
 * With u = 2^-24: a tile computes s = t (t' q.q') + b, b = -|t' q'|^2 / 2, in floats, off by at most 4u (|t q| |t' q'| + b),
 * which is within 2u |t q|^2 + 4u |t' q'|^2. Thresholds and slacks grant 32u and 64u of these, and 32u of what a threshold
 * is made of; lengths are rounded up.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/sketch_bytes.h"

#include <math.h>
#include <string.h>

#define UNIT      0x1p-24
#define UP        (1 + 0x1p-18) /* more than the rounding of what it is multiplied with */
#define UNDERFLOW 1e-19         /* root of what a square can lose */
#define TOO_LONG  1e15          /* of a sketch: rows beyond are never ruled out, nor rule out */

int64_t fkmi_sketch_tiles(const struct fkmi_sketch *sketch)
{
    return (FKMI_SKETCH_BLOCK - 1) / sketch->tile->rows + 1;
}

struct fkmi_sketch_rows fkmi_sketch_block(const struct fkmi_sketch *sketch, int64_t block)
{
    const struct fkmi_byte_tile *tile = sketch->tile;
    const int64_t t = block * fkmi_sketch_tiles(sketch);

    return (struct fkmi_sketch_rows){sketch->bytes + t * tile->rows * sketch->n_quads * 4,
                                     sketch->unit + t * tile->stride, sketch->square + t * tile->stride,
                                     sketch->rest + t * tile->stride};
}

/* Where the block's i-th row has its first bytes, and its floats. */
static int64_t bytes_at(const struct fkmi_sketch *sketch, int64_t i)
{
    const int rows = sketch->tile->rows;

    return (i / rows * rows * sketch->n_quads + i % rows) * 4;
}

static int64_t floats_at(const struct fkmi_sketch *sketch, int64_t i)
{
    return i / sketch->tile->rows * sketch->tile->stride + i % sketch->tile->rows;
}

/* ---- a row */

static double square_of(const int8_t *bytes, int64_t n)
{
    int64_t sum = 0;

    for (int64_t q = 0; q < n; q += 1024) {
        const int many = n - q < 1024 ? (int)(n - q) : 1024;
        int32_t part = 0;

        for (int d = 0; d < many; d++)
            part += (int16_t)bytes[q + d] * (int16_t)bytes[q + d];
        sum += part;
    }
    return (double)sum;
}

void fkmi_sketch_round(const struct fkmi_sketch *sketch, const struct fkmi_sketch_rows *rows, int64_t i,
                       const float *numbers, double error, uint8_t *bytes)
{
    const struct fkmi_byte_tile *tile = sketch->tile;
    const int64_t at = floats_at(sketch, i), n_bytes = 4 * sketch->n_quads;
    struct fkmi_quantised facts;
    double norm, rest;

    tile->quantise(numbers, sketch->width, tile->most, (int8_t *)bytes, &facts);
    memset(bytes + sketch->width, 0, (size_t)(n_bytes - sketch->width));
    norm = sqrt(facts.square);
    rest = sqrt(facts.rest2) * (1 + (double)(sketch->width + 32) * UNIT) + 24 * UNIT * norm +
           UNDERFLOW * sqrt((double)sketch->width) + error;
    rows->unit[at] = facts.scale;
    rows->square[at] =
        (float)((double)facts.scale * (double)facts.scale * square_of((int8_t *)bytes, sketch->width));
    rows->rest[at] = norm < TOO_LONG ? (float)(rest * UP) : INFINITY;
    for (int64_t b = 0; b < n_bytes; b++)
        bytes[b] = (uint8_t)(bytes[b] + tile->offset);
}

/* Four bytes move together, as floats do. */
void fkmi_sketch_place(const struct fkmi_sketch *sketch, const struct fkmi_sketch_rows *rows, int64_t t,
                       int n, const uint8_t *bytes)
{
    const void *row[32];

    for (int r = 0; r < n; r++)
        row[r] = bytes + (int64_t)r * sketch->n_quads * 4;
    sketch->kernels->tile[FKM_DTYPE_F32].pack(row, n, sketch->n_quads, sketch->tile->rows,
                                              rows->bytes + t * sketch->tile->rows * sketch->n_quads * 4);
}

double fkmi_sketch_chord(const struct fkmi_sketch *sketch, double distance)
{
    const double most = sketch->share * distance + sketch->extra;

    return sqrt(sketch->space.metric == FKM_METRIC_COSINE ? 2 * most : most);
}

/* ---- whole rows, anew for every look */

/* The floats are off by a few units: of what is left once the mean is taken away, and, for cosine, of a unit vector. */
static void round_whole(const struct fkmi_sketch *sketch, const struct fkmi_rows *view, int64_t row,
                        const struct fkmi_sketch_scratch *scratch, const struct fkmi_sketch_rows *rows,
                        int64_t i, uint8_t *bytes)
{
    const struct fkmi_vector *vector = &sketch->kernels->vector[FKMI_REAL_F32];
    const bool cosine = sketch->space.metric == FKM_METRIC_COSINE;
    const float *x = (const float *)view->x + fkmi_row(view, row) * view->stride;

    if (view->dtype != FKM_DTYPE_F32 || cosine) {
        fkmi_row_load(view, &sketch->space, row, scratch->numbers);
        x = scratch->numbers;
    }
    vector->transform(scratch->numbers, x, sketch->mean, sketch->map, sketch->space.dim);
    fkmi_sketch_round(sketch, rows, i, scratch->numbers, cosine ? 16 * UNIT * sketch->scale : 0, bytes);
}

/* Rows of a block, kept or made. */
static struct fkmi_sketch_rows rows_of(const struct fkmi_sketch *sketch, const struct fkmi_rows *view,
                                       int64_t block, int64_t n, const struct fkmi_sketch_scratch *scratch)
{
    const struct fkmi_sketch_rows rows = {scratch->bytes, scratch->unit, scratch->square, scratch->rest};
    const int per_tile = sketch->tile->rows;

    if (!sketch->whole)
        return fkmi_sketch_block(sketch, block);
    for (int64_t begin = 0; begin < n; begin += per_tile) {
        int r = 0;

        for (; r < per_tile && begin + r < n; r++)
            round_whole(sketch, view, block * FKMI_SKETCH_BLOCK + begin + r, scratch, &rows, begin + r,
                        scratch->staged + (int64_t)r * sketch->n_quads * 4);
        fkmi_sketch_place(sketch, &rows, begin / per_tile, r, scratch->staged);
    }
    return rows;
}

/* ---- scratch */

void fkmi_sketch_carve(struct fkmi_sketch_scratch *scratch, struct fkmi_carve *carve,
                       const struct fkmi_sketch *sketch)
{
    const struct fkmi_byte_tile *tile = sketch->tile;
    const int64_t n_tiles = fkmi_sketch_tiles(sketch), places = n_tiles * tile->stride;
    const int64_t dim = sketch->whole ? sketch->space.dim : 0, kept = sketch->whole ? n_tiles : 0;

    scratch->numbers = fkmi_carve(carve, dim, sizeof(float));
    scratch->staged = fkmi_carve(carve, sketch->whole ? tile->rows * sketch->n_quads : 0, 4);
    scratch->bytes = fkmi_carve(carve, kept * tile->rows * sketch->n_quads, 4);
    scratch->unit = fkmi_carve(carve, kept * tile->stride, sizeof(float));
    scratch->square = fkmi_carve(carve, kept * tile->stride, sizeof(float));
    scratch->rest = fkmi_carve(carve, kept * tile->stride, sizeof(float));
    scratch->threshold = fkmi_carve(carve, places, sizeof(float));
    scratch->reach = fkmi_carve(carve, places, sizeof(float));
    scratch->nothing = fkmi_carve(carve, tile->stride, sizeof(float));
    scratch->scores = fkmi_carve(carve, (int64_t)32 * 32, sizeof(float));
}

/* ---- points */

void fkmi_sketch_carve_points(struct fkmi_sketch_points *points, struct fkmi_carve *carve,
                              const struct fkmi_sketch *sketch, int64_t n)
{
    const int cols = sketch->tile->cols;
    const int64_t n_panels = (n - 1) / cols + 1, lanes = n_panels * cols;

    points->n = n;
    points->n_panels = n_panels;
    points->panels = fkmi_carve(carve, n_panels, sizeof *points->panels);
    points->bytes = fkmi_carve(carve, lanes * sketch->n_quads, 4);
    points->start = fkmi_carve(carve, lanes, sizeof *points->start);
    points->unit = fkmi_carve(carve, lanes, sizeof *points->unit);
    points->bias = fkmi_carve(carve, lanes, sizeof *points->bias);
}

/* Lane j from the i-th of some rows. */
static void set_point(const struct fkmi_sketch *sketch, struct fkmi_sketch_points *points, int64_t j,
                      const struct fkmi_sketch_rows *rows, int64_t i)
{
    const struct fkmi_byte_tile *tile = sketch->tile;
    const int64_t at = floats_at(sketch, i), lane = j % tile->cols;
    struct fkmi_byte_panel *panel = &points->panels[j / tile->cols];
    int8_t *to = points->bytes + (j / tile->cols * tile->cols * sketch->n_quads + lane) * 4;
    const uint8_t *from = rows->bytes + bytes_at(sketch, i);
    const double rest = (double)rows->rest[at], square = (double)rows->square[at];
    int32_t sum = 0;

    if (!isfinite(rest)) { /* its score is the highest there is */
        points->bias[j] = 0x1p126f;
        return;
    }
    for (int64_t quad = 0; quad < sketch->n_quads; quad++) {
        for (int b = 0; b < 4; b++) {
            const int byte = from[quad * tile->rows * 4 + b] - tile->offset;

            to[quad * tile->cols * 4 + b] = (int8_t)byte;
            sum += byte;
        }
    }
    points->start[j] = -tile->offset * sum;
    points->unit[j] = rows->unit[at];
    points->bias[j] = (float)(-square / 2);
    panel->rest = fmaxf(panel->rest, (float)(rest * UP));
    panel->slack = fmaxf(panel->slack, (float)(64 * UNIT * square * UP));
}

void fkmi_sketch_load_points(const struct fkmi_sketch *sketch, const struct fkmi_rows *rows,
                             const int64_t *drawn, struct fkmi_sketch_scratch *scratch,
                             struct fkmi_sketch_points *points)
{
    const int cols = sketch->tile->cols;
    const int64_t lanes = points->n_panels * cols;
    const struct fkmi_sketch_rows made = {scratch->bytes, scratch->unit, scratch->square, scratch->rest};

    memset(points->bytes, 0, (size_t)(lanes * sketch->n_quads) * 4);
    memset(points->start, 0, (size_t)lanes * sizeof *points->start);
    memset(points->unit, 0, (size_t)lanes * sizeof *points->unit);
    for (int64_t p = 0; p < points->n_panels; p++)
        points->panels[p] = (struct fkmi_byte_panel){.bytes = points->bytes + p * cols * sketch->n_quads * 4,
                                                     .start = points->start + p * cols,
                                                     .scale = points->unit + p * cols,
                                                     .bias = points->bias + p * cols};
    for (int64_t j = 0; j < lanes; j++) {
        points->bias[j] = -0x1p126f; /* lanes without a point */
        if (j < points->n && sketch->whole) {
            round_whole(sketch, rows, drawn[j], scratch, &made, 0, scratch->staged);
            fkmi_sketch_place(sketch, &made, 0, 1, scratch->staged);
            set_point(sketch, points, j, &made, 0);
        } else if (j < points->n) {
            const struct fkmi_sketch_rows kept = fkmi_sketch_block(sketch, drawn[j] / FKMI_SKETCH_BLOCK);
            set_point(sketch, points, j, &kept, drawn[j] % FKMI_SKETCH_BLOCK);
        }
    }
    for (int64_t p = 0; p < points->n_panels; p++) /* R = A + F: (A^2 + 2 A F + F^2) / 2 */
        points->panels[p].slack += points->panels[p].rest * points->panels[p].rest / 2 * (float)UP;
}

/* ---- what cannot be ruled out */

static void set_thresholds(const struct fkmi_sketch *sketch, const struct fkmi_sketch_rows *rows,
                           const double *distance, int64_t n, const struct fkmi_sketch_scratch *scratch)
{
    const struct fkmi_byte_tile *tile = sketch->tile;
    const int64_t n_tiles = (n - 1) / tile->rows + 1;

    for (int64_t at = 0; at < n_tiles * tile->stride; at++) {
        scratch->threshold[at] = INFINITY; /* nothing beats what pads a tile */
        scratch->reach[at] = 0;
    }
    memset(scratch->nothing, 0, (size_t)tile->stride * sizeof *scratch->nothing);
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = floats_at(sketch, i);
        const double square = (double)rows->square[at], rest = (double)rows->rest[at];
        double reach;

        if (!(distance[i] > 0))
            continue;
        scratch->threshold[at] = -INFINITY;
        reach = fkmi_sketch_chord(sketch, distance[i]) * sketch->scale + rest;
        if (!(reach < TOO_LONG))
            continue;
        scratch->threshold[at] =
            (float)((square - reach * reach) / 2 - 32 * UNIT * (square + reach * reach) - 1e-36);
        scratch->reach[at] = (float)(reach * UP);
    }
}

/* Of points from `first` on, in a row's words. */
static void set_bits(uint32_t *words, int64_t first, uint32_t bits)
{
    const int64_t w = first / 32;

    if (!bits)
        return;
    if (!(words[0] >> w & 1))
        words[1 + w] = 0;
    words[0] |= UINT32_C(1) << w;
    words[1 + w] |= bits << (first % 32);
}

void fkmi_sketch_screen(const struct fkmi_sketch *sketch, const struct fkmi_rows *rows,
                        const struct fkmi_sketch_points *points, int64_t b, const double *distance,
                        struct fkmi_sketch_scratch *scratch, uint32_t *maybe)
{
    const struct fkmi_byte_tile *tile = sketch->tile;
    const int64_t left = rows->n - b * FKMI_SKETCH_BLOCK;
    const int64_t n = left < FKMI_SKETCH_BLOCK ? left : FKMI_SKETCH_BLOCK;
    const struct fkmi_sketch_rows bytes = rows_of(sketch, rows, b, n, scratch);
    const int64_t n_words = fkmi_sketch_words(points->n);
    uint32_t lanes[32];

    set_thresholds(sketch, &bytes, distance, n, scratch);
    for (int64_t i = 0; i < n; i++)
        maybe[i * n_words] = 0;
    for (int64_t t = 0; t * tile->rows < n; t++) {
        const struct fkmi_byte_rows facts = {bytes.unit + t * tile->stride,
                                             scratch->threshold + t * tile->stride,
                                             scratch->reach + t * tile->stride, scratch->nothing};

        for (int64_t p = 0; p < points->n_panels; p++) {
            const int64_t n_lanes = points->n - p * tile->cols;
            const uint32_t real = n_lanes < 32 ? (1u << n_lanes) - 1 : UINT32_MAX;
            uint32_t hit = tile->screen(bytes.bytes + t * tile->rows * sketch->n_quads * 4,
                                        &points->panels[p], sketch->n_quads, &facts, scratch->scores, lanes);

            for (; hit; hit &= hit - 1) {
                const int r = __builtin_ctz(hit);

                if (t * tile->rows + r < n)
                    set_bits(maybe + (t * tile->rows + r) * n_words, p * tile->cols, lanes[r] & real);
            }
        }
    }
}
