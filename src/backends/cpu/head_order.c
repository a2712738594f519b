/* head_order.c — points by bisection: a node is cut between two of its parts, at a multiple of a leaf, until leaves are
 * left. Points that are alike come to lie together, and so do leaves.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/head.h"

#include <string.h>

enum { SAMPLE = 512, ROUNDS = 3, LEAST_SHARE = 8 };

struct node {
    int64_t begin, n;
};
struct keyed {
    float key;
    int32_t point;
};
struct order_job {
    const struct fkmi_vector *vector;
    const float *numbers;
    int64_t width, leaf;
    int64_t *order;
    struct keyed *keyed; /* by place */
    struct node *nodes, *next;
};

static const float *numbers_at(const struct order_job *job, int64_t place)
{
    return job->numbers + job->order[place] * job->width;
}

/* The one of some places of the node that is farthest from x. */
static const float *farthest(const struct order_job *job, struct node node, const float *x)
{
    const int64_t n = node.n < SAMPLE ? node.n : SAMPLE;
    const float *found = NULL;
    double most = -1;

    for (int64_t s = 0; s < n; s++) {
        const float *y = numbers_at(job, node.begin + s * node.n / n);
        const double d = job->vector->distance[FKM_METRIC_EUCLIDEAN](x, y, NULL, job->width);

        if (d > most) {
            most = d;
            found = y;
        }
    }
    return found ? found : numbers_at(job, node.begin);
}

/* toward = b - a; points beyond *middle along it are nearer to b */
static void line_between(const struct order_job *job, const float *a, const float *b, float *toward,
                         double *middle)
{
    for (int64_t q = 0; q < job->width; q++)
        toward[q] = b[q] - a[q];
    *middle = (job->vector->dot(b, b, NULL, job->width) - job->vector->dot(a, a, NULL, job->width)) / 2;
}

/* Two means of a sample of the node. */
static void find_line(const struct order_job *job, struct node node, float *toward, double *middle)
{
    const int64_t n = node.n < SAMPLE ? node.n : SAMPLE, width = job->width;
    float a[FKMI_HEAD_MOST_WIDTH], b[FKMI_HEAD_MOST_WIDTH];

    memcpy(a, farthest(job, node, numbers_at(job, node.begin)), (size_t)width * sizeof *a);
    memcpy(b, farthest(job, node, a), (size_t)width * sizeof *b);
    for (int round = 0; round < ROUNDS; round++) {
        double sum[2][FKMI_HEAD_MOST_WIDTH] = {{0}};
        int64_t count[2] = {0};

        line_between(job, a, b, toward, middle);
        for (int64_t s = 0; s < n; s++) {
            const float *x = numbers_at(job, node.begin + s * node.n / n);
            const int side = job->vector->dot(x, toward, NULL, width) > *middle;

            job->vector->add_f64(sum[side], x, 1, width);
            count[side]++;
        }
        if (!count[0] || !count[1])
            return;
        for (int64_t q = 0; q < width; q++) {
            a[q] = (float)(sum[0][q] / (double)count[0]);
            b[q] = (float)(sum[1][q] / (double)count[1]);
        }
    }
    line_between(job, a, b, toward, middle);
}

static bool is_before(struct keyed a, struct keyed b)
{
    return a.key < b.key || (a.key == b.key && a.point < b.point);
}

/* The `rank` smallest come first (Hoare 1961). */
static void select_smallest(struct keyed *keyed, int64_t n, int64_t rank)
{
    int64_t low = 0, high = n - 1;
    uint32_t state = 1;

    while (low < high) {
        const struct keyed pivot = keyed[low + (int64_t)((state >> 8) % (uint64_t)(high - low + 1))];
        int64_t i = low, j = high;

        state = state * 1664525u + 1013904223u;
        while (i <= j) {
            while (is_before(keyed[i], pivot))
                i++;
            while (is_before(pivot, keyed[j]))
                j--;
            if (i <= j) {
                const struct keyed other = keyed[i];

                keyed[i++] = keyed[j];
                keyed[j--] = other;
            }
        }
        if (rank <= j)
            high = j;
        else if (rank >= i)
            low = i;
        else
            return;
    }
}

/* Where the node is cut: the leaves nearest to where its parts meet, neither part being too small. */
static int64_t cut_of(const struct order_job *job, struct node node, int64_t n_before)
{
    const int64_t n_leaves = (node.n - 1) / job->leaf + 1, least = n_leaves / LEAST_SHARE + 1;
    int64_t leaves = (n_before + job->leaf / 2) / job->leaf;

    leaves = leaves < least ? least : leaves;
    leaves = leaves > n_leaves - least ? n_leaves - least : leaves;
    return (leaves < 1 ? 1 : leaves) * job->leaf;
}

static fkm_status split_nodes(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct order_job *job = argument;
    float toward[FKMI_HEAD_MOST_WIDTH];

    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const struct node node = job->nodes[i];
        struct keyed *keyed = job->keyed + node.begin;
        double middle;
        int64_t n_before = 0, cut;

        job->next[2 * i] = node;
        job->next[2 * i + 1] = (struct node){node.begin + node.n, 0};
        if (node.n <= job->leaf)
            continue;
        find_line(job, node, toward, &middle);
        for (int64_t p = 0; p < node.n; p++) {
            const double along = job->vector->dot(numbers_at(job, node.begin + p), toward, NULL, job->width);

            keyed[p] = (struct keyed){(float)along, (int32_t)job->order[node.begin + p]};
            n_before += !(along > middle);
        }
        cut = cut_of(job, node, n_before);
        select_smallest(keyed, node.n, cut);
        for (int64_t p = 0; p < node.n; p++)
            job->order[node.begin + p] = keyed[p].point;
        job->next[2 * i].n = cut;
        job->next[2 * i + 1] = (struct node){node.begin + cut, node.n - cut};
    }
    return FKM_OK;
}

/* The nodes of the next level that have to be cut, in front; returns how many. */
static int64_t keep_large(const struct order_job *job, int64_t n)
{
    int64_t kept = 0;

    for (int64_t i = 0; i < n; i++)
        if (job->next[i].n > job->leaf)
            job->nodes[kept++] = job->next[i];
    return kept;
}

fkm_status fkmi_head_order(struct fkm_context *context, const float *numbers, int64_t n, int64_t width,
                           int64_t leaf, int64_t *order)
{
    struct order_job job = {.vector = &context->kernels->vector[FKMI_REAL_F32],
                            .numbers = numbers,
                            .width = width,
                            .leaf = leaf,
                            .order = order};
    struct fkmi_carve carve = {NULL, 0};
    int64_t n_nodes = 1;
    void *memory = NULL;
    fkm_status status = FKM_OK;

    for (int pass = 0; pass < 2; pass++) {
        job.keyed = fkmi_carve(&carve, n, sizeof *job.keyed);
        job.nodes = fkmi_carve(&carve, n / leaf + 1, sizeof *job.nodes);
        job.next = fkmi_carve(&carve, 2 * (n / leaf + 1), sizeof *job.next);
        if (pass == 0) {
            FKMI_TRY_GOTO(fkmi_scratch_take(context, carve.used, &memory));
            carve = (struct fkmi_carve){memory, 0};
        }
    }
    for (int64_t i = 0; i < n; i++)
        order[i] = i;
    job.nodes[0] = (struct node){0, n};
    while (n_nodes > 0) {
        FKMI_TRY_GOTO(fkmi_parallel(context->pool, n_nodes, 1, split_nodes, &job));
        n_nodes = keep_large(&job, 2 * n_nodes);
    }
done:
    fkmi_scratch_give(context, memory);
    return status;
}
