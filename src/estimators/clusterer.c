/* clusterer.c — no targets: one class, slot 0, whose prototypes are the clusters.
 * SPDX-License-Identifier: Apache-2.0 */
#include "estimators/model.h"

static fkm_status read(const fkm_model *model, struct fkmi_learned *learned, const fkm_batch *batch,
                       bool grow, struct fkmi_lesson *lesson)
{
    (void)model;
    (void)batch;
    if (grow && learned->classes.n == 0)
        FKMI_TRY(fkmi_classes_add(&learned->classes, 0));
    return fkmi_alloc(&lesson->slot, lesson->view.n, sizeof *lesson->slot); /* all 0 */
}

static int32_t k_wanted(const fkm_model *model, int64_t label)
{
    (void)label;
    return model->params.k_init;
}

struct score_job {
    const struct fkmi_rows *rows;
    double *distance;
};

static void keep_distance(void *argument, int64_t row, const struct fkmi_candidates *candidates,
                          double *scratch)
{
    const struct score_job *job = argument;

    (void)scratch;
    job->distance[row] = fkmi_row_weight(job->rows, row) * candidates->distance[0];
}

/* Minus the weighted mean distance to the nearest prototype. */
static fkm_status score(const struct fkmi_oracle *oracle, const struct fkmi_lesson *lesson, double *out)
{
    fkm_status status = FKM_OK;
    struct score_job job = {&lesson->rows, NULL};
    double sum = 0, weight = 0;

    FKMI_TRY_GOTO(fkmi_alloc(&job.distance, lesson->rows.n, sizeof *job.distance));
    FKMI_TRY_GOTO(fkmi_oracle_each(oracle, &lesson->rows, 1, 0, keep_distance, &job));
    for (int64_t i = 0; i < lesson->rows.n; i++) {
        sum += job.distance[i];
        weight += fkmi_row_weight(&lesson->rows, i);
    }
    *out = weight > 0 ? -sum / weight : 0.0;
done:
    fkmi_free(job.distance);
    return status;
}

const struct fkmi_estimator fkmi_clusterer = {
    .name = "clusterer", .read = read, .k_wanted = k_wanted, .score = score};
