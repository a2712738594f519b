/* data.c — small made-up data and whole-model comparisons for tests of the public API.
 * SPDX-License-Identifier: Apache-2.0 */
#include "support/data.h"

#include <stdlib.h>

const fkm_task data_tasks[4] = {FKM_TASK_CLUSTER, FKM_TASK_CLASSIFY, FKM_TASK_MULTILABEL, FKM_TASK_REGRESS};

/* splitmix64 (Steele, Lea & Flood 2014): independent of the library's own numbers. */
static uint64_t next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double uniform(uint64_t *state) { return (double)(next(state) >> 11) * 0x1p-53; }

static double bell(uint64_t *state)
{
    double sum = -6;

    for (int i = 0; i < 12; i++)
        sum += uniform(state);
    return sum;
}

static void *need(size_t count, size_t size)
{
    void *memory = calloc(count > 0 ? count : 1, size);

    if (!memory)
        abort();
    return memory;
}

struct data data_make(int64_t n, int64_t dim, int64_t n_classes, uint64_t seed)
{
    struct data data = {.n = n, .dim = dim, .n_classes = n_classes, .n_targets = 2};
    const size_t rows = (size_t)n, cells = (size_t)(n * dim);
    float *centre = need((size_t)(2 * n_classes * dim), sizeof *centre);
    uint64_t state = seed;
    int64_t n_tags = 0, n_values = 0;

    data.x = need(cells, sizeof *data.x);
    data.labels = need(rows, sizeof *data.labels);
    data.tag_indptr = need(rows + 1, sizeof *data.tag_indptr);
    data.tags = need(3 * rows, sizeof *data.tags);
    data.targets = need(2 * rows, sizeof *data.targets);
    data.weight = need(rows, sizeof *data.weight);
    data.mask = need(cells, sizeof *data.mask);
    data.indptr = need(rows + 1, sizeof *data.indptr);
    data.indices = need(cells, sizeof *data.indices);
    data.values = need(cells, sizeof *data.values);
    for (int64_t i = 0; i < 2 * n_classes * dim; i++)
        centre[i] = (float)(3 * bell(&state));
    for (int64_t i = 0; i < n; i++) {
        const int64_t label = i % n_classes, cell = 2 * label + (int64_t)(next(&state) % 2);
        double sum = 0;
        data.labels[i] = label * 3 - 2; /* not 0, 1, 2: labels are any numbers */
        data.weight[i] = (float)(0.5 + uniform(&state));
        for (int64_t d = 0; d < dim; d++) {
            const int64_t at = i * dim + d;
            data.x[at] = uniform(&state) < 0.2 ? 0.0f : (float)(centre[cell * dim + d] + bell(&state));
            data.mask[at] = d > 0 && next(&state) % 7 == 0 ? 0.0f : 1.0f;
            sum += data.x[at];
            if (data.x[at] != 0) {
                data.indices[n_values] = (int32_t)d;
                data.values[n_values++] = data.x[at];
            }
        }
        data.indptr[i + 1] = n_values;
        for (int64_t t = 0; t <= i % 3 && t < n_classes; t++)
            data.tags[n_tags++] = (int32_t)((label + t) % n_classes);
        data.tag_indptr[i + 1] = n_tags;
        data.targets[2 * i] = 10 * (double)label + 0.1 * sum;
        data.targets[2 * i + 1] = sum - (double)label;
    }
    free(centre);
    return data;
}

void data_free(struct data *data)
{
    free(data->x);
    free(data->labels);
    free(data->tag_indptr);
    free(data->tags);
    free(data->targets);
    free(data->weight);
    free(data->mask);
    free(data->indptr);
    free(data->indices);
    free(data->values);
    memset(data, 0, sizeof *data);
}

static void add_targets(const struct data *data, fkm_task task, int64_t first, fkm_batch *batch)
{
    if (task == FKM_TASK_CLASSIFY)
        batch->labels = data->labels + first;
    if (task == FKM_TASK_REGRESS) {
        batch->targets = data->targets + first * data->n_targets;
        batch->n_targets = data->n_targets;
    }
}

fkm_batch data_batch(const struct data *data, fkm_task task, int64_t first, int64_t n)
{
    fkm_batch batch = FKM_BATCH_INIT;

    batch.n_rows = n;
    batch.n_cols = data->dim;
    batch.x = data->x + first * data->dim;
    add_targets(data, task, first, &batch);
    if (task == FKM_TASK_MULTILABEL) { /* indptr must begin with 0: kept in a few static windows */
        enum { WINDOWS = 8, MOST = 4096 };
        static int64_t window[WINDOWS][MOST + 1];
        static int turn;
        int64_t *indptr = window[turn++ % WINDOWS];
        CHECK(n <= MOST);
        for (int64_t i = 0; i <= n; i++)
            indptr[i] = data->tag_indptr[first + i] - data->tag_indptr[first];
        batch.tag_indptr = indptr;
        batch.tags = data->tags + data->tag_indptr[first];
        batch.n_tags = data->n_classes;
    }
    return batch;
}

fkm_batch data_batch_csr(const struct data *data, fkm_task task)
{
    fkm_batch batch = data_batch(data, task, 0, data->n);

    batch.x = NULL;
    batch.values = data->values;
    batch.indptr = data->indptr;
    batch.indices = data->indices;
    return batch;
}

fkm_params data_params(fkm_task task)
{
    fkm_params params = FKM_PARAMS_INIT;

    params.task = task;
    params.metric = FKM_METRIC_EUCLIDEAN;
    params.soft = FKM_SOFT_SOFTMAX_SCALED;
    params.k_init = task == FKM_TASK_CLUSTER ? 6 : 2;
    params.k_targets = 4;
    params.k_features = 3;
    params.finetune_batch_size = 32;
    return params;
}

struct bytes model_bytes(const fkm_model *model)
{
    struct bytes bytes = {0};

    CHECK_OK(fkm_model_to_bytes(model, &bytes.data, &bytes.size));
    return bytes;
}

bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && a.size > 0 && memcmp(a.data, b.data, a.size) == 0;
}

fkm_context *context_of(int n_threads)
{
    static fkm_context *contexts[65];

    CHECK(n_threads >= 1 && n_threads <= 64);
    if (!contexts[n_threads]) {
        fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;
        options.n_threads = n_threads;
        CHECK_OK(fkm_context_create(&options, &contexts[n_threads]));
    }
    return contexts[n_threads];
}
