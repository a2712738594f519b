/* sketch.h — rows as bytes, and the test that rules points out by them.
 *
 * A sketch holds a row in few numbers: its coordinates along principal directions, and the length of what is left; or
 * all coordinates, about the mean. Either way |s(x) - s(c)| <= |x - c|: directions are orthonormal, and by the triangle
 * inequality what is left of x and of c differs by at least the difference of its lengths. (For cosine, x and c are unit
 * vectors and |x - c|^2 = 2 d.) Numbers are then rounded to bytes, s(x) = t q + e, with |e| known.
 *
 * So c can be nearer than x's minimum d only if |t q - t' q'| <= R with R = chord(d) + |e| + |e'|, that is, if
 *     t t' q.q' - |t' q'|^2 / 2 >= (|t q|^2 - R^2) / 2,
 * a product of bytes, exact in integers, against a threshold (docs/engine.md has the roundings).
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BACKENDS_SKETCH_H
#define FKMI_BACKENDS_SKETCH_H

#include "backends/cpu/cpu.h"
#include "backends/minima.h"

enum { FKMI_SKETCH_BLOCK = 256 /* rows that are looked at together */ };
/* Words of a bit for each point, and before them one with a bit for each word that counts; others hold nothing. */
static inline int64_t fkmi_sketch_words(int64_t n_points) { return 1 + (n_points + 31) / 32; }

struct fkmi_sketch {
    const struct fkmi_kernels *kernels;
    const struct fkmi_byte_tile *tile;
    struct fkmi_space space;
    bool whole;                /* bytes are made anew for every look, and hold all coordinates */
    int64_t n, width, n_quads; /* width: numbers of a row */
    double scale;              /* sketches are multiplied by this, so that most lengths are about 1 */
    double share, extra;       /* a distance d was computed: the true one is at most share d + extra */
    float *mean, *map;         /* whole: dim; numbers are map (x - mean) */
    uint8_t *bytes;            /* blocks x tiles x quads x tile->rows x 4; the following by row of a tile: */
    float *unit, *square, *rest; /* t, |t q|^2, at least |e| */
};

/* Points as panels of bytes. */
struct fkmi_sketch_points {
    int64_t n, n_panels;
    struct fkmi_byte_panel *panels;
    int8_t *bytes;
    int32_t *start;
    float *unit, *bias;
};

/* What a thread needs for a block. */
struct fkmi_sketch_scratch {
    float *numbers;          /* of a row */
    uint8_t *staged, *bytes; /* of a tile's rows, one after the other; of a block's */
    float *unit, *square, *rest, *threshold, *reach, *nothing, *scores; /* nothing: zeros */
};

/* True where rows of such a view can have a sketch, and be looked at whole. */
bool fkmi_sketch_possible(const struct fkm_context *context, const struct fkmi_space *space,
                          const struct fkmi_rows *rows);
bool fkmi_sketch_possible_whole(const struct fkm_context *context, const struct fkmi_space *space,
                                const struct fkmi_rows *rows);
/* Directions, before any row is along them. rows stay where they are until the sketch is made, or the trial freed. */
struct fkmi_sketch_trial;
fkm_status fkmi_sketch_try(struct fkm_context *context, const struct fkmi_space *space,
                           const struct fkmi_rows *rows, struct fkmi_sketch_trial **out);
/* The share of pairs of rows that might be nearer than these minima of the first of them, of a sample. */
double fkmi_sketch_left(const struct fkmi_sketch_trial *trial, const double *distance);
/* Its rows along them. The trial has then served, and can only be freed. */
fkm_status fkmi_sketch_create(struct fkm_context *context, struct fkmi_sketch_trial *trial,
                              struct fkmi_sketch **out);
void fkmi_sketch_trial_free(struct fkmi_sketch_trial *trial);
fkm_status fkmi_sketch_create_whole(struct fkm_context *context, const struct fkmi_space *space,
                                    const struct fkmi_rows *rows, struct fkmi_sketch **out);
/* What finding directions and numbers costs, about, in ns of one thread. */
double fkmi_sketch_cost(const struct fkmi_rows *rows);
void fkmi_sketch_free(struct fkmi_sketch *sketch);

void fkmi_sketch_carve(struct fkmi_sketch_scratch *scratch, struct fkmi_carve *carve,
                       const struct fkmi_sketch *sketch);
/* n rows of the view as points, in memory carved for as many. */
void fkmi_sketch_carve_points(struct fkmi_sketch_points *points, struct fkmi_carve *carve,
                              const struct fkmi_sketch *sketch, int64_t n);
void fkmi_sketch_load_points(const struct fkmi_sketch *sketch, const struct fkmi_rows *rows,
                             const int64_t *drawn, struct fkmi_sketch_scratch *scratch,
                             struct fkmi_sketch_points *points);
/* Rows of block b, with these minima (of its first row on): words of row i, from maybe[i * words] on, say which points might be
 * nearer to it. */
void fkmi_sketch_screen(const struct fkmi_sketch *sketch, const struct fkmi_rows *rows,
                        const struct fkmi_sketch_points *points, int64_t b, const double *distance,
                        struct fkmi_sketch_scratch *scratch, uint32_t *maybe);

#endif
