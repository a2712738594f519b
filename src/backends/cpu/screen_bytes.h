/* screen_bytes.h — the inside of a screen: prototypes and rows as bytes, and what bounds the error of their products.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BACKENDS_SCREEN_BYTES_H
#define FKMI_BACKENDS_SCREEN_BYTES_H

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "backends/cpu/head.h"
#include "backends/cpu/screen.h"

#define FKMI_UNIT         0x1p-24
#define FKMI_LEAST_SQUARE 1e-24 /* as for tiles of floats */
#define FKMI_MOST_SQUARE  1e30

enum fkmi_screen_state { FKMI_SCREEN_EMPTY, FKMI_SCREEN_FILLING, FKMI_SCREEN_FULL };

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
    float *centre;  /* dim */
    int32_t *order; /* by lane: the prototype; NULL: as they come */
    bool has_head;
    struct fkmi_head head;
    _Atomic int n_headless;       /* packs left to scan without heads */
    _Atomic int n_loose, n_tight; /* cells of this pack of which heads let most tiles pass, and did not */
    void *memory;                 /* holds all of the above */
    size_t capacity;
};

static inline const struct fkmi_byte_tile *fkmi_screen_tile(const struct fkmi_pack *pack)
{
    return &pack->kernels->bytes;
}

static inline bool fkmi_screen_cosine(const struct fkmi_pack *pack)
{
    return pack->space.metric == FKM_METRIC_COSINE;
}

/* Bounds the relative rounding of a sum of dim products. */
static inline double fkmi_screen_rounding(const struct fkmi_pack *pack)
{
    return (double)(pack->dim + 32) * FKMI_UNIT;
}

/* At least `value`, which is >= 0, by more than floats lose when they multiply and add it to others. */
static inline float fkmi_rounded_up(double value) { return (float)(value * (1 + 0x1p-18)) + 0x1p-126f; }

/* Prototype in a lane. */
static inline int64_t fkmi_screen_prototype(const struct fkmi_screen *screen, int64_t lane)
{
    return screen->order ? screen->order[lane] : lane;
}

/* A point with the prototypes' mean as origin. Cosine: of the unit vector, its norm being 1 / unit. */
void fkmi_screen_move(const struct fkmi_pack *pack, const float *centre, double unit, float *x);
/* At least |x - scale q|, and at least |x|. */
double fkmi_screen_rest(const struct fkmi_pack *pack, const struct fkmi_quantised *facts);
double fkmi_screen_norm(const struct fkmi_pack *pack, const struct fkmi_quantised *facts);

/* A row of the view, moved; false when its squares leave the range of floats. Cosine: row's bounds are found. */
bool fkmi_screen_stage(const struct fkmi_screen *screen, const struct fkmi_pack *pack,
                       const struct fkmi_rows *rows, int64_t i, float *staged, struct fkmi_screened *row);

static inline int64_t fkmi_screen_row(const struct fkmi_screen_cell *cell, int64_t i)
{
    return cell->picked ? cell->picked[i] : cell->first + i;
}

/* The bytes of a row as tiles want them: four at a time, unsigned, and `offset` more. */
static inline void fkmi_screen_set_row(const struct fkmi_byte_tile *tile, const int8_t *restrict bytes,
                                       int64_t n_quads, uint8_t *restrict to)
{
    const uint32_t less = (uint32_t)(128 - tile->offset) * 0x01010101u;
    const int64_t stride = (int64_t)tile->rows * 4;

    for (int64_t quad = 0; quad < n_quads; quad++) {
        uint32_t bits;

        memcpy(&bits, bytes + quad * 4, 4);
        bits = (bits ^ 0x80808080u) - less;
        memcpy(to + quad * stride, &bits, 4);
    }
}

/* ---- heads of a cell's rows (screen_heads.c) */

void fkmi_heads_carve(struct fkmi_screen_cell *cell, struct fkmi_carve *carve, const struct fkmi_pack *pack,
                      const struct fkmi_screen *screen, int64_t n);
/* The numbers of the rows of tile t, which have just been staged; what is made of them. */
void fkmi_heads_load(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t t);
void fkmi_heads_finish(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t t);
/* Once thresholds are known: panels that balls around them rule out, for whole tiles. */
void fkmi_heads_find_far(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack);
/* Whether a row of the tile may be nearest to a prototype of the panel, which it has not met. */
bool fkmi_heads_may_reach(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack, int64_t t,
                          int64_t panel);

#endif
