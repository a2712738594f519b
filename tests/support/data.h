/* data.h — small made-up data and whole-model comparisons for tests of the public API.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_TESTS_SUPPORT_DATA_H
#define FKM_TESTS_SUPPORT_DATA_H

#include "support/test.h"

/* Rows around n_classes x 2 centres with targets for every task; free with data_free. */
struct data {
    int64_t n, dim, n_classes, n_targets;
    float *x;
    int64_t *labels;     /* i % n_classes */
    int64_t *tag_indptr; /* one to three tags a row */
    int32_t *tags;
    double *targets;
    float *weight;   /* 0.5 .. 1.5 */
    float *mask;     /* one entry in seven is 0 */
    int64_t *indptr; /* the same x as CSR, zeros left out */
    int32_t *indices;
    float *values;
};
struct data data_make(int64_t n, int64_t dim, int64_t n_classes, uint64_t seed);
void data_free(struct data *data);

/* Rows [first, first + n) as a batch with the targets of the task. */
fkm_batch data_batch(const struct data *data, fkm_task task, int64_t first, int64_t n);
/* The same as CSR (the whole of data only). */
fkm_batch data_batch_csr(const struct data *data, fkm_task task);

/* Sensible small settings of a task: euclidean, softmax_scaled, k_init 2, k_targets 4, k_features 3. */
fkm_params data_params(fkm_task task);
extern const fkm_task data_tasks[4];

/* All bytes of the model file; free with fkm_free. */
struct bytes {
    void *data;
    size_t size;
};
struct bytes model_bytes(const fkm_model *model);
bool bytes_equal(struct bytes a, struct bytes b);
/* Equal model files; frees both. */
#define CHECK_SAME_BYTES(a, b)                                                                               \
    do {                                                                                                     \
        struct bytes test_a_ = (a), test_b_ = (b);                                                           \
        const bool test_same_ = bytes_equal(test_a_, test_b_);                                               \
        fkm_free(test_a_.data);                                                                              \
        fkm_free(test_b_.data);                                                                              \
        CHECK(test_same_ &&#a[0]);                                                                           \
    } while (0)

/* A context with n threads, made once per number. */
fkm_context *context_of(int n_threads);

#endif
