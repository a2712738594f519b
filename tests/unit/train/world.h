/* world.h — a small model with rows to learn from, and its loss by plain loops in f64 that never call the
 * library.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_TESTS_UNIT_TRAIN_WORLD_H
#define FKM_TESTS_UNIT_TRAIN_WORLD_H

#include "support/test.h"

#include "train/train.h"

struct world_wish {
    fkm_task task;
    fkm_metric metric;
    fkm_dtype dtype;
    fkm_soft soft;
    int n, dim, classes, k; /* k prototypes per class */
    int targets;            /* regressor */
    int threads;            /* 0: 1 */
    bool csr, mask, weight, feature_weights;
    uint64_t seed;
};
#define WORLD_WISH                                                                                           \
    .metric = FKM_METRIC_EUCLIDEAN, .dtype = FKM_DTYPE_F64, .soft = FKM_SOFT_SOFTMAX_SCALED, .n = 23,        \
    .dim = 5, .classes = 4, .k = 3, .targets = 2, .seed = 7

struct world {
    struct world_wish wish;
    struct fkm_context *context;
    fkm_params params;
    struct fkmi_state state;
    struct fkmi_trainer trainer;
    struct fkmi_train_work work;
    struct fkmi_rows rows;
    struct fkmi_targets targets;
    struct fkmi_random random;
    double *x; /* n x dim, whatever the rows' storage */
    float *mask, *weight;
    int32_t *slot, *tag_slot, *indices;
    int64_t *tag_indptr, *indptr;
    double *values;
    void *stored;
};

void world_make(struct world *world, struct world_wish wish); /* phase 2 has not begun */
void world_begin(struct world *world);
void world_free(struct world *world);
double world_loss(struct world *world); /* of the library; writes trainer.gradient */
void world_step(struct world *world, double rate, uint64_t random);
double world_point(const struct world *world, int64_t j, int64_t d);
double world_gradient(const struct world *world, int64_t j, int64_t d);
double world_distance(const struct world *world, const double *x, const float *mask, int64_t j); /* naive */
/* Whether row i moves prototype j (multi-label: with asl_clip 0). */
bool world_pulls(const struct world *world, int64_t i, int64_t j);
double world_naive_loss(const struct world *world); /* with l2 and diversity; no noise, no sampling */

#endif
