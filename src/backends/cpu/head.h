/* head.h — prototypes and rows in few numbers, as bytes: what says of a whole tile that none of its rows can be nearest
 * to any prototype of a panel, at a fraction of what the tile of all their bytes costs.
 *
 * With orthonormal directions B, y.g = (By).(Bg) + rests' product <= (By).(Bg) + |rest of y| |rest of g| (Cauchy and
 * Schwarz): a product of vectors of few numbers, the length of the rest being one more. Prototypes are put into panels
 * by bisection, rows into tiles by the nearest panel, so that most pairs of a tile and a panel are far apart.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BACKENDS_HEAD_H
#define FKMI_BACKENDS_HEAD_H

#include "backends/cpu/cpu.h"

enum { FKMI_HEAD_MOST_WIDTH = 48 };

struct fkmi_head {
    int64_t width, n_quads, n_panels;
    float *directions; /* width - 1, laid out as prototypes of a tile of floats */
    /* in |y|: the rounding of numbers; how far from orthonormal directions are; how wrong products of heads can be */
    double projection, skew, inexact;
    int8_t *bytes;                  /* n_panels x n_quads x cols x 4 */
    int32_t *start;                 /* by lane */
    struct fkmi_byte_panel *panels; /* bias and slack are those of all bytes */
    float *scale;                   /* by panel: of its lanes */
    float *most_bias;               /* by panel */
    float *centres;                 /* of the panels, laid out as prototypes of a tile of floats */
    float *centre_bias, *ball_bias; /* by panel; the same and the square of a radius around its numbers */
};

/* Numbers of a point for prototypes of so many coordinates; 0: too few for a head. */
int64_t fkmi_head_width(int64_t dim);
void fkmi_head_carve(struct fkmi_head *head, struct fkmi_carve *carve, const struct fkmi_pack *pack);
/* At least how far the numbers of a point of at most this length are from the truth; tail: the last of them. */
double fkmi_head_error(const struct fkmi_head *head, double norm, float tail);
void fkmi_head_find_error(struct fkmi_head *head, const struct fkmi_pack *pack, double skew);
/* The numbers of n <= a tile's rows staged points, dim apart, width apart; transposed: a tile of points, scores: its. */
void fkmi_head_project(const struct fkmi_head *head, const struct fkmi_pack *pack, const float *staged, int n,
                       float *transposed, float *scores, float *numbers);
/* panel[r] of n <= a tile's rows: the one with the nearest centre; numbers[r] are a row's; scratch: a tile of rows and
 * its scores. */
void fkmi_head_nearest(const struct fkmi_head *head, const struct fkmi_pack *pack,
                       const float *const *numbers, int n, float *packed, float *scores, int32_t *panel);

/* ---- making one */

/* The panel of these numbers (of as many points as it has, width each), whose lengths are at most norms. */
void fkmi_head_fill_panel(struct fkmi_head *head, const struct fkmi_pack *pack,
                          const struct fkmi_byte_panel *whole, const float *norms, const float *numbers,
                          int64_t panel);
void fkmi_head_pad_centres(struct fkmi_head *head, int64_t cols);

/* Point j of the pack, moved. */
typedef void fkmi_head_point_fn(const struct fkmi_pack *pack, const float *centre, int64_t j, float *staged);
/* Directions along which the points differ most; directions: as those of a head. *skew: at least |B B^T - 1|. */
fkm_status fkmi_head_directions(struct fkm_context *context, const struct fkmi_pack *pack,
                                const float *centre, fkmi_head_point_fn *point, int64_t n, float *directions,
                                double *skew);
/* order: n points in leaves of `leaf`, those of a leaf and of its neighbours near each other. numbers: n x width. */
fkm_status fkmi_head_order(struct fkm_context *context, const float *numbers, int64_t n, int64_t width,
                           int64_t leaf, int64_t *order);

#endif
