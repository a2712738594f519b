/* screen_bytes.h — the inside of a screen: prototypes and rows as bytes, and what bounds the error of their products.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BACKENDS_SCREEN_BYTES_H
#define FKMI_BACKENDS_SCREEN_BYTES_H

#include <math.h>
#include <stdatomic.h>

#include "backends/cpu/head.h"
#include "backends/cpu/screen.h"

#define FKMI_UNIT 0x1p-24

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
    _Atomic int n_headless; /* packs left to scan without heads */
    void *memory;           /* holds all of the above */
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

#endif
