/* sketch.h — rows in few numbers: coordinates along the principal directions, and the length of what is left.
 *
 * |s(x) - s(c)| <= |x - c|: the directions are orthonormal, and by the triangle inequality what is left of x and of c
 * differs by at least the difference of its lengths. (For cosine, x and c are unit vectors and |x - c|^2 = 2 d.) With
 * T(x) the largest |s(x) - s(c)|^2 at which c can still be nearer than x's present minimum, c is ruled out by
 *     s(x).s(c) + (T(x) - |s(x)|^2) / 2 <= |s(c)|^2 / 2,
 * which is a tile of dot products with biases. T grants every rounding its due (find_bias in sketch.c).
 *
 * Rows are ordered by a k-d tree over the sketch, so that those of a panel lie together: the ball around a panel is
 * asked before its rows are, and balls are rows of panels themselves.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BACKENDS_SKETCH_H
#define FKMI_BACKENDS_SKETCH_H

#include "backends/cpu/cpu.h"
#include "backends/minima.h"

struct fkmi_sketch {
    const struct fkmi_kernels *kernels;
    const struct fkmi_tile *tile;
    fkm_metric metric;
    fkm_dtype dtype;
    int64_t n, dim, width;     /* width: numbers of a row */
    int64_t n_panels, n_cells; /* panels of tile->cols rows; cells of tile->cols panels */
    double scale;              /* sketches are multiplied by this, so that they fit their type */
    double error, least_error; /* of a sketch: error |s| + least_error */
    double share, extra;       /* a distance d was computed: the true one is at most share d + extra */
    double rounding;           /* of a dot product */
    char *values;              /* n_panels x width x cols */
    float *bias;               /* n_panels x cols */
    char *ball_values;         /* n_cells x width x cols: centres of panels */
    float *ball_bias;          /* n_cells x cols */
    float *ball_radius;        /* n_panels */
    double *ball_square;       /* n_panels: of the centre */
};

/* Points that are rows of the sketch, laid out for tiles. */
struct fkmi_sketch_points {
    int n_tiles;
    float *values;    /* n_tiles x width x tile->rows */
    float *threshold; /* n_tiles x tile->rows */
};

/* True where rows of such a view can have a sketch. */
bool fkmi_sketch_possible(const struct fkmi_space *space, const struct fkmi_rows *rows);
/* *places: the rows of the view in the sketch's order (fkmi_free). distance: each row's minimum, or NULL; *out stays NULL
 * when a sample of the rows says that sketches would rule out too few points nearer than these. */
fkm_status fkmi_sketch_create(struct fkm_context *context, const struct fkmi_space *space,
                              const struct fkmi_rows *rows, const double *distance, struct fkmi_sketch **out,
                              int64_t **places);
void fkmi_sketch_free(struct fkmi_sketch *sketch);
/* The rows of a panel can be improved by points nearer than `distance` (of each row) only; 0: by none. */
void fkmi_sketch_update(struct fkmi_sketch *sketch, int64_t panel, const double *distance);
/* Lays out n rows of the sketch as points; room for fkmi_sketch_points_size bytes, aligned. */
size_t fkmi_sketch_points_size(const struct fkmi_sketch *sketch, int64_t n);
void fkmi_sketch_load_points(const struct fkmi_sketch *sketch, const int64_t *drawn, int64_t n, void *memory,
                             struct fkmi_sketch_points *points);
/* maybe[i - first] gets bit j where point j might be nearer to row i; first and n are in whole cells' panels:
 * multiples of tile->cols, but for the end. scores: a tile's. */
void fkmi_sketch_screen(const struct fkmi_sketch *sketch, const struct fkmi_sketch_points *points,
                        int64_t first, int64_t n, float *scores, uint16_t *maybe);

/* ---- order.c */

#define FKMI_KEYS 8 /* of a row: its first numbers */
/* Sorts order[0 .. n) by a k-d tree over the rows' keys (row order[i] has keys + order[i] * FKMI_KEYS), with leaves of
 * `leaf` rows. */
fkm_status fkmi_order_by_keys(struct fkmi_pool *pool, const uint16_t *keys, int64_t leaf, int64_t n,
                              int64_t *order);

#endif
