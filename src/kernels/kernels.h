/* kernels.h — the hot loops: one table per instruction set, chosen once, FKM_ISA overrides.
 *
 * "real" arrays are float or double (enum fkmi_real); panels are in one of the four storage types and widened as
 * they are loaded. Every loop of a row adds in an order that depends on the row's length alone, never on its
 * neighbours or its place in a tile.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_KERNELS_KERNELS_H
#define FKMI_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/dtype.h"

/* Tiles: `rows` rows against one panel of `cols` prototypes. Rows are packed dimension-major: x[d * rows + r];
 * panels too: p[d * cols + j]. scores[r * cols + j] is written whole (rows x cols reals, 64-byte aligned). */
struct fkmi_tile {
    int rows, cols;
    /* bias[j] + sum_d x p */
    void (*dot)(const void *x, const void *panel, const void *bias, int64_t dim, void *scores);
    /* -sum_d |x - p| */
    void (*l1)(const void *x, const void *panel, int64_t dim, void *scores);
    /* -sum_d a |x - p|, a packed like x */
    void (*l1_weighted)(const void *x, const void *a, const void *panel, int64_t dim, void *scores);
    /* one CSR row: scores[j] = bias[j] + sum over the row's entries of v p */
    void (*dot_sparse)(const void *values, const int32_t *indices, int64_t n, const void *panel,
                       const void *bias, void *scores);
    /* one CSR row: scores[j] = bias[j] - sum over the row's entries of a (|v - p| - |p|); a by column, or NULL */
    void (*l1_sparse)(const void *values, const int32_t *indices, int64_t n, const void *a, const void *panel,
                      const void *bias, void *scores);
    /* the same sums without bias or a, in f64: they are as exact as the panel and the values are */
    void (*dot_sparse_f64)(const void *values, const int32_t *indices, int64_t n, const void *panel,
                           double *sums);
    void (*l1_sparse_f64)(const void *values, const int32_t *indices, int64_t n, const void *panel,
                          double *sums);
    /* packed[d * width + r] = row[r][d] for n rows of dim reals, 0 for n <= r < width: both layouts above */
    void (*pack)(const void *const *row, int n, int64_t dim, int width, void *packed);
    /* bit j of lanes[r] says scores[r * cols + j] > threshold[r]; returns bit r for the rows that have any */
    uint32_t (*above)(const void *scores, const void *threshold, uint32_t *lanes);
    /* the first lane of the largest of one row's cols scores; some lane when one of them is NaN */
    int (*highest)(const void *scores);
    /* For each row, the largest of its scores in lanes begin[s] .. end[s] for s < n <= cols, and unless lane is NULL the
     * first lane that has it, as a real: rows x cols of both, of which the first n of a row count; lane may be scores. Of
     * NaNs nothing is promised. */
    void (*bests)(const void *scores, int n, const int32_t *begin, const int32_t *end, void *best,
                  void *lane);
    /* peaks[i] becomes the larger of itself and of scores[i]; rows x cols of each */
    void (*raise)(const void *scores, void *peaks);
    /* To n <= cols numbers and their indices come those of one row's scores against n_panels panels, first index first,
     * that are above *threshold; tiles follow each other. How many there are then, or cols + 1 when they are more than
     * cols: what is there is of no use then. */
    int (*passing)(const void *scores, int64_t n_panels, const void *threshold, int32_t first, int n,
                   void *score, int32_t *index);
    /* the m-th largest of one row's cols values; -inf for m > cols */
    double (*place)(const void *values, int64_t m);
};

/* Loops over one or two vectors of n reals. `a` are active weights, NULL for all ones. */
struct fkmi_vector {
    void (*load[FKMI_N_DTYPES])(void *real, const void *stored, int64_t n);
    void (*store[FKMI_N_DTYPES])(void *stored, const void *real, int64_t n);       /* nearest even */
    double (*dot)(const void *x, const void *c, const void *a, int64_t n);         /* sum a x c */
    double (*square_f64)(const void *x, int64_t n);                                /* sum x^2, in f64 */
    double (*distance[3])(const void *x, const void *c, const void *a, int64_t n); /* by fkm_metric; direct:
        euclidean sum a (x-c)^2, l1 sum a |x-c|, cosine 1 - cos with 1 for a zero vector */
    /* to several points: the bits of as many single calls */
    void (*distances[3])(const void *x, const void *const *points, int64_t n_points, const void *a, int64_t n,
                         double *out);
    /* By fkm_metric: the distances that n scores s of a tile's row stand for, which are square - 2 s, -s, or 1 - unit s, 2
     * at most; those that are not above 0 are 0; times factor. Reads whole vectors of scores. */
    void (*of_scores[3])(const void *scores, int64_t n, double square, double unit, double factor,
                         double *distance);
    void (*transform)(void *out, const void *x, const void *mu, const void *s,
                      int64_t n);                                         /* out = s (x - mu);
        mu, s or both may be NULL; out may be x */
    void (*add_f64)(double *sum, const void *x, double scale, int64_t n); /* sum += scale x */
    /* sum += scale[0] x[0], then scale[1] x[1], ...: the bits of as many add_f64, in fewer passes over sum */
    void (*add_rows_f64)(double *sum, const void *const *x, const double *scale, int64_t n_rows, int64_t n);
    /* gradients of a distance, added to real g: */
    void (*add_difference)(void *g, const void *x, const void *c, const void *a, double scale,
                           int64_t n); /* g += scale a (c - x) */
    /* g += scale[0] a (c - x[0]), then scale[1] ...: the bits of as many add_difference */
    void (*add_differences)(void *g, const void *const *x, const double *scale, int64_t n_rows, const void *c,
                            const void *a, int64_t n);
    void (*add_sign)(void *g, const void *x, const void *c, const void *a, double scale,
                     int64_t n); /* g += scale a sign(c - x), sign 0 = 0 */
    void (*add_scaled)(void *g, const void *x, const void *a, double scale, int64_t n); /* g += scale a x */
    void (*add_square)(void *g, const void *x, const void *c, const void *m, double scale,
                       int64_t n); /* g += scale m (x - c)^2 */
    void (*add_absolute)(void *g, const void *x, const void *c, const void *m, double scale,
                         int64_t n); /* g += scale m |x - c| */
    /* Adam (Kingma & Ba 2015): m, v decay, p -= step * (m / fix1) / (sqrt(v / fix2) + 1e-8); g NULL: zeros */
    void (*adam)(void *p, void *m, void *v, const void *g, int64_t n, double step, double beta1, double beta2,
                 double fix1, double fix2);
    /* One CSR row against `wide` prototypes of which some columns are held whole, panel[column * wide + j]:
     * sums[j] += sum over the entries of v p, or of |v| + |p| - |v - p|, which is 0 where p is. */
    int wide;
    void (*columns_dot)(const void *values, const int32_t *columns, int64_t n, const void *panel, void *sums);
    void (*columns_l1)(const void *values, const int32_t *columns, int64_t n, const void *panel, void *sums);
};

/* What bytes q stand for: x = scale q + e. */
struct fkmi_quantised {
    float scale;
    double square, rest2; /* sum x^2, sum e^2, by floats */
    int64_t sum;          /* sum q */
};
/* A panel of bytes. */
struct fkmi_byte_panel {
    const int8_t *bytes;
    const int32_t *start;                /* cols: minus offset times the sum of the bytes */
    const float *scale, *bias;           /* cols */
    float rest, size, slack;             /* the largest of its prototypes */
    const float *rests, *sizes, *slacks; /* cols: of each; for `bounds` alone */
};
/* Floats by row of a tile, `stride` of them. */
struct fkmi_byte_rows {
    const float *scale, *threshold, *reach, *rest;
};

struct fkmi_byte_rival {
    float upper; /* what it scores at most */
    int32_t lane;
};

/* Tiles of bytes: dot products that cost a fraction of those of floats, and are as exact as the bytes are. A row's
 * bytes stand in -most .. most and are packed as unsigned ones, `offset` higher, prototypes' in -127 .. 127 as they
 * are; both four dimensions at a time, zeros behind the last: x[(d / 4 * rows + r) * 4 + d % 4], panels with cols. */
struct fkmi_byte_tile {
    bool (*runs_here)(void);
    /* From so many prototypes, coordinates of them, and prototypes for each of several nearest on they are measured to
     * save time; 0: never. The last: and from how many prototypes on heads do. */
    int64_t least_k, least_coordinates, least_by_place, least_for_heads;
    int rows, cols, stride; /* stride: floats by row come in groups of this many, of which `rows` count */
    int most, offset;
    /* Nearest integers of x most / max |x|, and what they stand for */
    void (*quantise)(const float *x, int64_t n, int most, int8_t *bytes, struct fkmi_quantised *facts);
    /* s = row_scale (scale sum_d x p) + bias for every row and lane. bit j of lanes[r] says that
     * s >= threshold[r] - reach[r] panel->rest - rest[r] panel->size - panel->slack, about; returns bit r for the rows
     * that have any, whose scores are in scores[r * cols + j] */
    uint32_t (*screen)(const void *x, const struct fkmi_byte_panel *panel, int64_t n_quads,
                       const struct fkmi_byte_rows *rows, float *scores, uint32_t *lanes);
    /* Whether any score may reach its row's limit, one `unit` > 0 being the product of the scales of all rows and lanes:
     * never false when, for exact s = unit sum_d x p + bias, a score does. Biases are at most 2^26 units, bytes' sums
     * at most 2^24. */
    bool (*reaches)(const void *x, const struct fkmi_byte_panel *panel, int64_t n_quads,
                    const struct fkmi_byte_rows *rows, float unit);
    /* the scores that `screen` compares, all of them */
    void (*scores)(const void *x, const struct fkmi_byte_panel *panel, int64_t n_quads,
                   const float *row_scale, float *scores);
    /* One row's scores against some panels, `stride` floats apart: each becomes score + error, and low[j] the
     * larger of itself and of score - error in lane j of any; error = reach rests[j] + rest sizes[j] + slacks[j]. */
    void (*bounds)(float *scores, int64_t stride, const struct fkmi_byte_panel *panels, int64_t n_panels,
                   float reach, float rest, float *low);
    /* Those of them that are above the threshold, lane by lane and panel by panel; returns how many. */
    int64_t (*rivals)(const float *upper, int64_t stride, int64_t n_panels, float threshold,
                      struct fkmi_byte_rival *rivals);
};

struct fkmi_kernels {
    const char *isa; /* "avx512", "avx2_vnni", "avx2", "neon_dot", "neon", "scalar" */
    bool (*runs_here)(void);
    struct fkmi_tile tile[FKMI_N_DTYPES]; /* by the panel's storage type; rows are its real type */
    struct fkmi_vector vector[FKMI_N_REALS];
    struct fkmi_byte_tile bytes;
    /* The asymmetric loss (Ridnik et al. 2021) of n tags that a row lacks: with p = 1 / (1 + exp(-z)) and
     * m = max(p - clip, 0), *loss is the sum of -weight m^gamma log(1 - m). Those with a derivative by z that is not 0 are
     * written, ascending, with it; returns how many. weight NULL: ones; z: -700 .. 700, or -inf, which adds nothing. Within
     * 1e-12 of each for a gamma of 0, or of 1 and more (smaller ones lose digits just above the clip); 1 - m counts as
     * 2^-52 at least. */
    int64_t (*asl_lacking)(const double *z, const double *weight, int64_t n, double gamma, double clip,
                           int32_t *which, double *slope, double *loss);
};

/* The best table that runs here, or the one that FKM_ISA names. Every table is whole. Never NULL. */
const struct fkmi_kernels *fkmi_kernels_best(void);
/* All tables of this build that run here, best first; for tests. Returns how many. */
int fkmi_kernels_all(const struct fkmi_kernels **tables, int capacity);

#endif
