/* order.c — an order of rows in which neighbours lie close together: the leaves of a k-d tree, one after the other.
 *
 * A node is cut at the multiple of a leaf nearest to its middle, along the key that varies most. Keys are 16 bits in
 * ascending order, so that two histograms find the middle in a time that no data can spoil.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/sketch.h"

#include "base/interrupt.h"

enum { SAMPLE = 256, MOST_TREES = 64, ROWS_PER_CHECK = 4096 };

struct tree {
    int64_t begin, n;
};
struct order_job {
    const uint16_t *keys;
    int64_t leaf, *order;
    struct tree trees[MOST_TREES];
    int64_t n_trees;
};

static uint16_t key_of(const struct order_job *job, int64_t place, int key)
{
    return job->keys[job->order[place] * FKMI_KEYS + key];
}

/* The key with the largest variance, over some rows of the node. */
static int widest_key(const struct order_job *job, int64_t begin, int64_t n)
{
    const int64_t n_seen = n < SAMPLE ? n : SAMPLE;
    double sum[FKMI_KEYS] = {0}, square[FKMI_KEYS] = {0}, most = -1;
    int widest = 0;

    for (int64_t s = 0; s < n_seen; s++) {
        const uint16_t *keys = job->keys + job->order[begin + s * n / n_seen] * FKMI_KEYS;

        for (int key = 0; key < FKMI_KEYS; key++) {
            const uint16_t bits = keys[key];
            const double value =
                (double)fkmi_f32_of_f16((uint16_t)(bits ^ (bits & 0x8000u ? 0x8000u : 0xffffu)));
            sum[key] += value;
            square[key] += value * value;
        }
    }
    for (int key = 0; key < FKMI_KEYS; key++) {
        const double spread = square[key] - sum[key] * sum[key] / (double)n_seen;
        if (spread > most) {
            most = spread;
            widest = key;
        }
    }
    return widest;
}

/* The bin in which the running count passes `rank`, which becomes the rank inside it. */
static int bin_at(const int64_t *count, int64_t *rank)
{
    int bin = 0;

    while (*rank >= count[bin])
        *rank -= count[bin++];
    return bin;
}

/* The key that comes at `rank` when the node is sorted. */
static uint16_t key_at(const struct order_job *job, int key, int64_t begin, int64_t n, int64_t rank)
{
    int64_t high_count[256] = {0}, low_count[256] = {0};
    int high;

    for (int64_t i = begin; i < begin + n; i++)
        high_count[key_of(job, i, key) >> 8]++;
    high = bin_at(high_count, &rank);
    for (int64_t i = begin; i < begin + n; i++) {
        const uint16_t value = key_of(job, i, key);
        if (value >> 8 == high)
            low_count[value & 255]++;
    }
    return (uint16_t)(high << 8 | bin_at(low_count, &rank));
}

/* Smaller keys first, then equal ones, then larger ones. */
static void part(const struct order_job *job, int key, int64_t begin, int64_t n, uint16_t middle)
{
    int64_t low = begin, i = begin, high = begin + n;

    while (i < high) {
        const uint16_t value = key_of(job, i, key);
        const int64_t row = job->order[i];

        if (value < middle) {
            job->order[i++] = job->order[low];
            job->order[low++] = row;
        } else if (value > middle) {
            job->order[i] = job->order[--high];
            job->order[high] = row;
        } else
            i++;
    }
}

/* Cuts a node; returns the size of its first part. */
static int64_t cut(const struct order_job *job, struct tree node)
{
    const int64_t half = (node.n / job->leaf + 1) / 2 * job->leaf;
    const int key = widest_key(job, node.begin, node.n);

    if (half >= node.n)
        return node.n;
    part(job, key, node.begin, node.n, key_at(job, key, node.begin, node.n, half));
    return half;
}

static fkm_status sort_tree(const struct order_job *job, struct tree node)
{
    while (node.n > job->leaf) {
        const int64_t half = cut(job, node);

        if (node.n > ROWS_PER_CHECK)
            FKMI_TRY(fkmi_check_interrupt());
        FKMI_TRY(sort_tree(job, (struct tree){node.begin, half}));
        node = (struct tree){node.begin + half, node.n - half};
    }
    return FKM_OK;
}

static fkm_status sort_trees(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct order_job *job = argument;

    (void)thread;
    for (int64_t t = begin; t < end; t++)
        FKMI_TRY(sort_tree(job, job->trees[t]));
    return FKM_OK;
}

fkm_status fkmi_order_by_keys(struct fkmi_pool *pool, const uint16_t *keys, int64_t leaf, int64_t n,
                              int64_t *order)
{
    struct order_job job = {keys, leaf, order, {{0, n}}, 1};

    while (job.n_trees < MOST_TREES && job.trees[0].n >= ROWS_PER_CHECK) { /* enough for all threads */
        const int64_t n_nodes = job.n_trees;

        FKMI_TRY(fkmi_check_interrupt());
        for (int64_t t = n_nodes - 1; t >= 0; t--) {
            const struct tree node = job.trees[t];
            const int64_t half = cut(&job, node);

            job.trees[2 * t] = (struct tree){node.begin, half};
            job.trees[2 * t + 1] = (struct tree){node.begin + half, node.n - half};
        }
        job.n_trees = 2 * n_nodes;
    }
    return fkmi_parallel(pool, job.n_trees, 1, sort_trees, &job);
}
