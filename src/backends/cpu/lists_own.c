/* lists_own.c — the nearest prototype of each row's own class, prototypes being lists.
 *
 * A class's prototypes are scattered over the columns, LANES at a time, and each of its rows gathers from there:
 * distances come directly, in f64, in the order in which fkmi_direct_distance adds them.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "backends/cpu/cpu.h"
#include "base/interrupt.h"

enum { LANES = 4, ROWS_PER_GROUP = 1024 };

struct group {
    int64_t begin, n; /* in order */
    int32_t slot;
};
struct own_job {
    const struct fkmi_rows *rows;
    const struct fkmi_pack *pack;
    const struct fkmi_scan *scan;
    int64_t stride;
    const int64_t *order;
    const struct group *groups;
    int64_t most_entries;
    double *scattered; /* by thread: dim x LANES, zeros between groups */
    double *values;    /* by thread: most_entries */
};

static void scatter(const struct own_job *job, int64_t first, int64_t n, double *scattered, bool clear)
{
    const struct fkmi_pack *pack = job->pack;

    for (int64_t lane = 0; lane < n; lane++)
        for (int64_t e = pack->lists.begin[first + lane]; e < pack->lists.begin[first + lane + 1]; e++)
            scattered[(int64_t)pack->lists.index[e] * LANES + lane] =
                clear ? 0.0
                      : (pack->dtype == FKM_DTYPE_F32 ? (double)((const float *)pack->lists.value)[e]
                                                      : fkmi_dtype_get(pack->lists.value, pack->dtype, e));
}

/* Distances of a row to the scattered prototypes. */
static void gather(struct fkmi_direct *direct, const double *scattered, int64_t first, int64_t n,
                   double *distance)
{
    const struct fkmi_pack *pack = direct->pack;
    const fkm_metric metric = pack->space.metric;
    double near[LANES] = {0}, covered[LANES] = {0};

    for (int64_t e = 0; e < direct->n; e++) {
        const int64_t d = direct->indices[e];
        const double v = direct->values[e], w = pack->feature_weights ? pack->feature_weights[d] : 1.0;
        const double *c = scattered + d * LANES;

        switch (metric) {
        case FKM_METRIC_COSINE:
            for (int lane = 0; lane < LANES; lane++)
                near[lane] += w * v * c[lane];
            break;
        case FKM_METRIC_L1:
            for (int lane = 0; lane < LANES; lane++) {
                near[lane] += w * fabs(v - c[lane]);
                covered[lane] += w * fabs(c[lane]);
            }
            break;
        case FKM_METRIC_EUCLIDEAN:
            for (int lane = 0; lane < LANES; lane++) {
                near[lane] += w * (v - c[lane]) * (v - c[lane]);
                covered[lane] += w * c[lane] * c[lane];
            }
            break;
        }
    }
    for (int lane = 0; lane < n; lane++)
        distance[lane] = fkmi_direct_finish(direct, first + lane, near[lane], covered[lane]);
}

static fkm_status run_group(const struct own_job *job, const struct group *group, int thread)
{
    const struct fkmi_scan *scan = job->scan;
    const int64_t begin = scan->class_begin[group->slot], end = scan->class_begin[group->slot + 1];
    double *scattered = job->scattered + (int64_t)thread * job->pack->dim * LANES;
    struct fkmi_direct direct = {
        .pack = job->pack, .rows = job->rows, .values = job->values + (int64_t)thread * job->most_entries};

    for (int64_t first = begin; first < end; first += LANES) {
        const int64_t n = end - first < LANES ? end - first : LANES;

        scatter(job, first, n, scattered, false);
        for (int64_t i = group->begin; i < group->begin + group->n; i++) {
            const int64_t row = job->order[i], at = row * job->stride;
            double distance[LANES];

            fkmi_direct_row(&direct, row);
            gather(&direct, scattered, first, n, distance);
            for (int lane = 0; lane < n; lane++)
                if ((first == begin && lane == 0) || distance[lane] < scan->distance[at]) {
                    scan->distance[at] = distance[lane];
                    if (scan->index)
                        scan->index[at] = (int32_t)(first + lane);
                }
        }
        scatter(job, first, n, scattered, true);
    }
    return FKM_OK;
}

static fkm_status run_groups(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct own_job *job = argument;

    for (int64_t g = begin; g < end; g++) {
        FKMI_TRY(fkmi_check_interrupt());
        FKMI_TRY(run_group(job, &job->groups[g], thread));
    }
    return FKM_OK;
}

/* Rows by class, in their order, each class cut into groups; rows without one get their answer at once. */
static int64_t make_groups(const struct own_job *job, int64_t *next, int64_t *order, struct group *groups)
{
    const struct fkmi_scan *scan = job->scan;
    int64_t n_groups = 0;

    memset(next, 0, (size_t)(scan->n_classes + 1) * sizeof *next);
    for (int64_t i = 0; i < job->rows->n; i++) {
        const int32_t slot = scan->slot[i];

        if (slot >= 0 && scan->class_begin[slot] < scan->class_begin[slot + 1]) {
            next[slot + 1]++;
            continue;
        }
        scan->distance[i * job->stride] = INFINITY;
        if (scan->index)
            scan->index[i * job->stride] = -1;
    }
    for (int64_t slot = 0; slot < scan->n_classes; slot++) {
        const int64_t n = next[slot + 1];

        next[slot + 1] += next[slot];
        for (int64_t at = 0; at < n; at += ROWS_PER_GROUP)
            groups[n_groups++] = (struct group){
                next[slot] + at, n - at < ROWS_PER_GROUP ? n - at : ROWS_PER_GROUP, (int32_t)slot};
    }
    for (int64_t i = 0; i < job->rows->n; i++) {
        const int32_t slot = scan->slot[i];

        if (slot >= 0 && scan->class_begin[slot] < scan->class_begin[slot + 1])
            order[next[slot]++] = i;
    }
    return n_groups;
}

fkm_status fkmi_cpu_scan_own_lists(struct fkm_context *context, const struct fkmi_rows *rows,
                                   const struct fkmi_pack *pack, const struct fkmi_scan *scan, int64_t stride)
{
    const int n_threads = fkmi_pool_threads_here(context->pool);
    struct own_job job = {.rows = rows, .pack = pack, .scan = scan, .stride = stride};
    struct fkmi_carve carve = {NULL, 0};
    int64_t *next = NULL, *order = NULL, n_groups;
    struct group *groups = NULL;
    void *memory = NULL;
    fkm_status status = FKM_OK;

    for (int64_t i = 0; i < rows->n; i++) {
        const int64_t row = fkmi_row(rows, i), n = rows->indptr[row + 1] - rows->indptr[row];

        job.most_entries = n > job.most_entries ? n : job.most_entries;
    }
    for (int pass = 0; pass < 2; pass++) {
        next = fkmi_carve(&carve, scan->n_classes + 1, sizeof *next);
        order = fkmi_carve(&carve, rows->n, sizeof *order);
        groups = fkmi_carve(&carve, scan->n_classes + rows->n / ROWS_PER_GROUP + 1, sizeof *groups);
        job.values = fkmi_carve(&carve, n_threads * job.most_entries, sizeof *job.values);
        job.scattered = fkmi_carve(&carve, n_threads * pack->dim * LANES, sizeof *job.scattered);
        if (pass == 0) {
            FKMI_TRY_GOTO(fkmi_scratch_take(context, carve.used, &memory));
            carve = (struct fkmi_carve){memory, 0};
        }
    }
    memset(job.scattered, 0, (size_t)(n_threads * pack->dim * LANES) * sizeof *job.scattered);
    n_groups = make_groups(&job, next, order, groups);
    job.order = order;
    job.groups = groups;
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, n_groups, 1, run_groups, &job));
done:
    fkmi_scratch_give(context, memory);
    return status;
}
