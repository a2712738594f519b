/* passes_far.c — rows for which too many prototypes are near: those of all cells together are scanned, some at a time.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/passes_inside.h"

#define ROWS_AT_ONCE 16384

struct far_rows { /* of the view; as many as there is room for */
    int64_t n, most, *order;
    int32_t *row, *slot, *index;
    double *distance;
};

static void carve_rows(struct far_rows *far, struct fkmi_carve *carve, int64_t most)
{
    *far = (struct far_rows){.most = most};
    far->order = fkmi_carve(carve, most, sizeof *far->order);
    far->row = fkmi_carve(carve, most, sizeof *far->row);
    far->slot = fkmi_carve(carve, most, sizeof *far->slot);
    far->index = fkmi_carve(carve, most, sizeof *far->index);
    far->distance = fkmi_carve(carve, most, sizeof *far->distance);
}

static fkm_status scan_rows(struct fkm_context *context, struct fkmi_pass_job *job, struct far_rows *far)
{
    const struct fkmi_pass *pass = job->pass;
    struct fkmi_scan scan = fkmi_pass_scan(pass);
    struct fkmi_rows base = *job->rows, view;

    for (int64_t i = 0; i < far->n; i++) {
        far->order[i] = fkmi_row(job->rows, far->row[i]);
        far->slot[i] = pass->slot ? pass->slot[far->row[i]] : 0;
    }
    scan.slot = far->slot;
    scan.index = far->index;
    scan.distance = far->distance;
    base.order = NULL;
    view = fkmi_rows_pick(&base, far->order, far->n);
    FKMI_TRY(fkmi_cpu_scan(context, &view, pass->pack, &scan));
    for (int64_t i = 0; i < far->n; i++) {
        pass->index[far->row[i]] = far->index[i];
        job->total += fkmi_row_weight(job->rows, far->row[i]) * far->distance[i];
        job->bound[far->row[i]] = fkmi_near_bound_at(pass->pack, far->distance[i]);
    }
    far->n = 0;
    return FKM_OK;
}

/* Of the rows that counted as moved, those that have. */
static void forget_settled(const struct fkmi_pass_job *job, struct fkmi_span *span)
{
    int32_t *order = job->passes->order + span->begin;
    int64_t n = 0;

    for (int64_t i = 0; i < span->n_moved; i++)
        if (job->pass->index[order[i]] != span->cell)
            order[n++] = order[i];
    span->n_moved = n;
}

fkm_status fkmi_pass_scan_far(struct fkm_context *context, struct fkmi_pass_job *job, int64_t n)
{
    const int64_t most = n < ROWS_AT_ONCE ? n : ROWS_AT_ONCE;
    struct fkmi_carve carve = {NULL, 0};
    struct far_rows far;
    void *memory = NULL;
    fkm_status status = FKM_OK;

    if (n == 0)
        return FKM_OK;
    carve_rows(&far, &carve, most);
    FKMI_TRY_GOTO(fkmi_scratch_take(context, carve.used, &memory));
    carve = (struct fkmi_carve){memory, 0};
    carve_rows(&far, &carve, most);
    for (int64_t s = 0; s < job->n_spans; s++) {
        const int32_t *order = job->passes->order + job->spans[s].begin;

        for (int64_t i = 0; job->spans[s].n_far > 0 && i < job->spans[s].n_moved; i++) {
            if (job->bound[order[i]].low != FKMI_NEAR_FAR)
                continue;
            far.row[far.n++] = order[i];
            if (far.n == far.most)
                FKMI_TRY_GOTO(scan_rows(context, job, &far));
        }
    }
    if (far.n > 0)
        FKMI_TRY_GOTO(scan_rows(context, job, &far));
    for (int64_t s = 0; s < job->n_spans; s++)
        if (job->spans[s].n_far > 0)
            forget_settled(job, &job->spans[s]);
done:
    fkmi_scratch_give(context, memory);
    return status;
}
