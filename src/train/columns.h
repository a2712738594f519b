/* columns.h — prototypes that are lists, by column, while they learn from CSR rows: each coordinate that is not 0 with
 * its moments of Adam, and for each prototype a factor of all its coordinates. A step costs what the columns of its
 * rows hold. docs/engine.md has the formulas.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_TRAIN_COLUMNS_H
#define FKMI_TRAIN_COLUMNS_H

#include <math.h>

#include "train/train.h"

/* One column: of n prototypes, in the order in which they came, or of all k of them. One block of memory holds `room`
 * values (reals), as many moments and, unless it is whole, the prototypes' numbers. */
struct fkmi_train_column {
    int32_t n, room;
    bool whole;
    char *memory;
};
/* Adam's moments of a coordinate, as they were after a step. */
struct fkmi_moment_32 {
    float m, v;
    uint32_t step;
};
struct fkmi_moment_64 {
    double m, v;
    uint64_t step;
};

#define FKMI_DECAYS 1024 /* numbers of steps whose decay is kept */

struct fkmi_train_columns {
    int64_t dim, k, step; /* step: Adam steps taken */
    enum fkmi_real real;
    size_t real_size;
    fkm_metric metric;
    struct fkmi_train_column *column; /* dim */
    double *factor;                   /* k: a coordinate of prototype j is factor[j] times its value */
    double *size;                     /* k: sum w c^2, or sum w |c| for l1 */
    int32_t *place;                   /* dim: of a step's columns, their place in its list; else -1 */
    double *decay_1, *decay_2;        /* FKMI_DECAYS: what is left of a moment after so many steps */
};

static inline char *fkmi_column_values(const struct fkmi_train_column *column) { return column->memory; }
static inline size_t fkmi_moment_size(const struct fkmi_train_columns *columns)
{
    return columns->real == FKMI_REAL_F64 ? sizeof(struct fkmi_moment_64) : sizeof(struct fkmi_moment_32);
}
static inline char *fkmi_column_moments(const struct fkmi_train_columns *columns,
                                        const struct fkmi_train_column *column)
{
    return column->memory + (size_t)column->room * columns->real_size;
}
static inline int32_t *fkmi_column_prototypes(const struct fkmi_train_columns *columns,
                                              const struct fkmi_train_column *column)
{
    return (int32_t *)(void *)(fkmi_column_moments(columns, column) +
                               (size_t)column->room * fkmi_moment_size(columns));
}
static inline double fkmi_column_real(const struct fkmi_train_columns *columns, const char *reals, int64_t i)
{
    return columns->real == FKMI_REAL_F64 ? ((const double *)(const void *)reals)[i]
                                          : (double)((const float *)(const void *)reals)[i];
}
static inline void fkmi_column_set_real(const struct fkmi_train_columns *columns, char *reals, int64_t i,
                                        double value)
{
    if (columns->real == FKMI_REAL_F64)
        ((double *)(void *)reals)[i] = value;
    else
        ((float *)(void *)reals)[i] = (float)value;
}

/* What is left of moments after so many steps. */
static inline double fkmi_decay_of(const double *decay, double beta, int64_t steps)
{
    return steps < FKMI_DECAYS ? decay[steps] : pow(beta, (double)steps);
}

/* The lists of the state by column, with the moments held (or none) after `step` steps. */
fkm_status fkmi_train_columns_create(const struct fkmi_state *state, fkm_metric metric,
                                     const struct fkmi_held_moments *held, int64_t step,
                                     struct fkmi_train_columns **out);
void fkmi_train_columns_free(struct fkmi_train_columns *columns); /* NULL is fine */
/* Room for n prototypes in the column: on failure it is as it was. */
fkm_status fkmi_column_reserve(const struct fkmi_train_columns *columns, struct fkmi_train_column *column,
                               int64_t n);
/* The lists of the state become what the columns hold, in its dtype; factors go into the values and sizes are added up
 * anew, so that rounding does not grow. On failure the state is as it was. */
fkm_status fkmi_train_columns_export(struct fkmi_train_columns *columns, struct fkmi_state *state);

/* ---- columns_held.c */
void fkmi_held_free(struct fkmi_held_moments *held); /* and zeroes it */
fkm_status fkmi_held_copy(struct fkmi_held_moments *out, const struct fkmi_held_moments *held, int64_t k,
                          size_t real);
/* What the columns, after an export, remember of their moments; on failure out is as it was. */
fkm_status fkmi_train_columns_hold(const struct fkmi_train_columns *columns, fkm_dtype dtype,
                                   struct fkmi_held_moments *out);
/* Into k x dim zeros, and over the prototypes in `master`, where there are unrounded ones. */
void fkmi_held_spread(const struct fkmi_held_moments *held, int64_t k, int64_t dim, size_t real, void *m,
                      void *v, void *master);

#endif
