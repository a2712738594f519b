/* passes_pairs.c — the two nearest prototypes of rows of which one that is likely to be near is known.
 *
 * Rows go cell by cell, as in a pass; those for which too many prototypes are near are scanned.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "backends/cpu/passes_inside.h"
#include "base/interrupt.h"

#define FAR_AT_ONCE 4096

struct pairs_job {
    struct fkmi_near_pass near;
    int32_t *order, *begin; /* rows of cell j are order[begin[j]] .. order[begin[j + 1] - 1] */
    int32_t *index;
    double *distance;
    char *scratch;
    size_t scratch_per_thread;
};

static fkm_status run_cells(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct pairs_job *job = argument;
    const int64_t chunk = fkmi_near_rows(job->near.rows);
    struct fkmi_carve carve = {job->scratch + (size_t)thread * job->scratch_per_thread, 0};
    struct fkmi_near near;
    int32_t cells[32];
    int n_cells = 0;

    for (int64_t j = begin; j < end; j++)
        if (job->begin[j + 1] > job->begin[j])
            cells[n_cells++] = (int32_t)j;
    fkmi_near_carve(&near, &carve, &job->near);
    fkmi_near_measure(&near, &job->near, cells, n_cells);
    for (int c = 0; c < n_cells; c++) {
        const int32_t last = job->begin[cells[c] + 1];

        for (int64_t first = job->begin[cells[c]]; first < last; first += chunk) {
            FKMI_TRY(fkmi_check_interrupt());
            fkmi_near_pairs(&near, &job->near, c, job->order + first,
                            last - first < chunk ? last - first : chunk, job->index, job->distance);
        }
    }
    return FKM_OK;
}

static void sort_rows(const struct pairs_job *job, const int32_t *label, int64_t n, int64_t k)
{
    int32_t *begin = job->begin;

    memset(begin, 0, (size_t)(k + 2) * sizeof *begin);
    for (int64_t i = 0; i < n; i++)
        begin[label[i] + 2]++;
    for (int64_t j = 0; j <= k; j++)
        begin[j + 1] += begin[j];
    for (int64_t i = 0; i < n; i++) /* begin[j + 1] walks from the first row of j to behind its last */
        job->order[begin[label[i] + 1]++] = (int32_t)i;
}

/* Rows without an answer. */
static fkm_status scan_far(struct fkm_context *context, const struct pairs_job *job)
{
    const struct fkmi_rows *rows = job->near.rows;
    struct fkmi_rows base = *rows;
    struct fkmi_carve carve = {NULL, 0};
    int64_t *order = NULL, n = 0;
    int32_t *row = NULL, *index = NULL;
    double *distance = NULL;
    void *memory = NULL;
    fkm_status status = FKM_OK;

    for (int turn = 0; turn < 2; turn++) {
        order = fkmi_carve(&carve, FAR_AT_ONCE, sizeof *order);
        row = fkmi_carve(&carve, FAR_AT_ONCE, sizeof *row);
        index = fkmi_carve(&carve, 2 * FAR_AT_ONCE, sizeof *index);
        distance = fkmi_carve(&carve, 2 * FAR_AT_ONCE, sizeof *distance);
        if (turn == 0) {
            FKMI_TRY_GOTO(fkmi_scratch_take(context, carve.used, &memory));
            carve = (struct fkmi_carve){memory, 0};
        }
    }
    base.order = NULL;
    for (int64_t i = 0; i < rows->n; i++) {
        if (job->index[2 * i] < 0) {
            row[n] = (int32_t)i;
            order[n++] = fkmi_row(rows, i);
        }
        if (n == FAR_AT_ONCE || (n > 0 && i + 1 == rows->n)) {
            const struct fkmi_rows view = fkmi_rows_pick(&base, order, n);
            const struct fkmi_scan scan = {
                .kind = FKMI_SCAN_TOP_K, .top_k = 2, .index = index, .distance = distance};

            FKMI_TRY_GOTO(fkmi_cpu_scan(context, &view, job->near.pack, &scan));
            for (int64_t far = 0; far < n; far++) {
                memcpy(job->index + 2 * row[far], index + 2 * far, 2 * sizeof *index);
                memcpy(job->distance + 2 * row[far], distance + 2 * far, 2 * sizeof *distance);
            }
            n = 0;
        }
    }
done:
    fkmi_scratch_give(context, memory);
    return status;
}

fkm_status fkmi_passes_pairs(struct fkm_context *context, struct fkmi_passes *passes,
                             const struct fkmi_pack *pack, const struct fkmi_rows *rows, const int32_t *label,
                             int32_t *index, double *distance)
{
    struct pairs_job job = {
        .near = {.context = context, .rows = rows, .pack = pack, .n_classes = 1, .drift = passes->drift},
        .index = index,
        .distance = distance};
    const struct fkmi_scan scan = {.kind = FKMI_SCAN_TOP_K, .top_k = 2, .index = index, .distance = distance};
    struct fkmi_carve carve = {NULL, 0};
    struct fkmi_screen *screen = NULL;
    struct fkmi_near near;
    void *memory = NULL;
    bool heads;
    fkm_status status = FKM_OK;

    FKMI_TRY(fkmi_screen_ready(context, pack, rows, FKMI_BYTES_ALWAYS, 1, &screen, &heads));
    if (!screen)
        return fkmi_cpu_scan(context, rows, pack, &scan);
    job.near.screen = screen;
    fkmi_near_carve(&near, &carve, &job.near);
    job.scratch_per_thread = carve.used;
    carve = (struct fkmi_carve){NULL, 0};
    for (int turn = 0; turn < 2; turn++) {
        job.order = fkmi_carve(&carve, rows->n, sizeof *job.order);
        job.begin = fkmi_carve(&carve, pack->k + 2, sizeof *job.begin);
        job.scratch = fkmi_carve(&carve, fkmi_pool_threads_here(context->pool), job.scratch_per_thread);
        if (turn == 0) {
            FKMI_TRY_GOTO(fkmi_scratch_take(context, carve.used, &memory));
            carve = (struct fkmi_carve){memory, 0};
        }
    }
    sort_rows(&job, label, rows->n, pack->k);
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, pack->k, context->kernels->bytes.rows, run_cells, &job));
    fkmi_scratch_give(context, memory);
    memory = NULL;
    FKMI_TRY_GOTO(scan_far(context, &job));
done:
    fkmi_scratch_give(context, memory);
    return status;
}
