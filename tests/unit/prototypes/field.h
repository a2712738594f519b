/* field.h — rows with classes and a seeded state, and the steps of phase 1 by plain loops in f64.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_TESTS_UNIT_PROTOTYPES_FIELD_H
#define FKM_TESTS_UNIT_PROTOTYPES_FIELD_H

#include "support/naive.h"
#include "support/test.h"

#include "prototypes/phase1.h"

struct field_wish {
    fkm_metric metric;
    fkm_dtype dtype;        /* of rows and prototypes */
    int n, dim, classes, k; /* k prototypes per class */
    int targets, threads;
    bool csr, mask, weight, feature_weights;
    double offset, spread; /* where the rows lie; distance between the centres of classes */
    uint64_t seed;
};
/* A test names what differs from this: (struct field_wish){FIELD_WISH, .n = 7}. */
#pragma GCC diagnostic ignored "-Woverride-init"
#define FIELD_WISH                                                                                           \
    .metric = FKM_METRIC_EUCLIDEAN, .dtype = FKM_DTYPE_F64, .n = 120, .dim = 5, .classes = 3, .k = 4,        \
    .threads = 1, .spread = 1.5, .seed = 3

struct field {
    struct field_wish wish;
    fkm_context *context;
    fkm_params params; /* classifier, no repulsion */
    struct fkmi_rows rows;
    int32_t *slot;
    struct fkmi_state state;
    struct fkmi_phase1 work;
    double *x;      /* n x dim as stored */
    double *loaded; /* n x dim: masked entries 0; for cosine of length sqrt(A / D): 1 without a mask */
    double *values; /* n x targets */
    float *mask, *weight;
    double *w; /* dim: feature weights, sum dim; or NULL */
    void *stored;
    int64_t *indptr;
    int32_t *indices;
};

void field_make(struct field *field, struct field_wish wish);
void field_free(struct field *field);
fkm_status field_lloyd(struct field *field, int64_t max_iters,
                       double tol); /* values when there are targets */
fkm_status field_ema(struct field *field, uint64_t random, struct fkmi_moved *moved);
double field_point(const struct fkmi_state *state, int64_t j, int64_t d);
double field_weight(const struct field *field, int64_t i); /* u */
double field_mask(const struct field *field, int64_t i, int64_t d);
/* All points as k x dim doubles; free. */
double *field_points(const struct fkmi_state *state);
/* Everything two states must share bit for bit. */
bool field_same_state(const struct fkmi_state *a, const struct fkmi_state *b);

/* ---- oracles on points (k x dim doubles), classes begin at begin[c] */

/* Nearest prototype of the row's own class; index (n) and distance (n). */
void naive_assign(const struct field *field, const double *points, const int64_t *begin, int64_t *index,
                  double *distance);
/* Unit length under the feature weights, for cosine. */
void naive_normalise(const struct field *field, double *point);
/* Sums of share(i, j) u m x and share(i, j) u m, and of share u by prototype. share: n x k. */
void naive_sums(const struct field *field, const double *share, int64_t k, double *sum, double *age,
                double *mass);

#endif
