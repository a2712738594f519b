/* naive.h — plain f64 loops that say what the fast ones must give; they share no code with them.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_TESTS_SUPPORT_NAIVE_H
#define FKM_TESTS_SUPPORT_NAIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "fastkmeans/fastkmeans.h"

/* ---- numbers: the same in every run */

struct naive_random {
    uint64_t state;
};
uint64_t naive_u64(struct naive_random *random);
int64_t naive_below(struct naive_random *random, int64_t n); /* [0, n) */
double naive_uniform(struct naive_random *random);           /* [0, 1) */
double naive_normal(struct naive_random *random);            /* about N(0, 1), within [-4, 4] */

/* ---- storage: one value at a time, by definition of the formats */

size_t naive_size(fkm_dtype dtype);
double naive_get(const void *array, fkm_dtype dtype, int64_t i);
/* Stores the representable value nearest to `value`, ties to even, found by trying. */
void naive_set(void *array, fkm_dtype dtype, int64_t i, double value);

/* ---- distances (w: feature weights or NULL; m: mask or NULL) */

double naive_distance(fkm_metric metric, const double *x, const double *c, const double *w, const float *m,
                      int64_t dim);
/* The `most` nearest of prototypes [begin, end) outside [skip_begin, skip_end): index -1 and inf where
 * there is none. points: k x dim. */
void naive_nearest(fkm_metric metric, const double *x, const double *points, int64_t dim, const double *w,
                   const float *m, int64_t begin, int64_t end, int64_t skip_begin, int64_t skip_end,
                   int64_t most, int64_t *index, double *distance);

#endif
