/* classifier.c — many prototypes per class; the class of the largest routed probability wins.
 * SPDX-License-Identifier: Apache-2.0 */
#include "estimators/model.h"

static fkm_status read(const fkm_model *model, struct fkmi_learned *learned, const fkm_batch *batch,
                       bool grow, struct fkmi_lesson *lesson)
{
    const int64_t n = lesson->base.n;

    (void)model;
    if (!batch->labels)
        return fkmi_fail(FKM_EINVAL, "a classifier needs labels, the batch has none");
    FKMI_TRY(fkmi_alloc(&lesson->slot, n, sizeof *lesson->slot));
    for (int64_t i = 0; i < n; i++) {
        int32_t slot = fkmi_classes_find(&learned->classes, batch->labels[i]);
        if (slot < 0 && !grow)
            return fkmi_fail(FKM_EINVAL, "label %lld of row %lld was never seen in phase 1",
                             (long long)batch->labels[i], (long long)i);
        if (slot < 0) {
            slot = (int32_t)learned->classes.n;
            FKMI_TRY(fkmi_classes_add(&learned->classes, batch->labels[i]));
        }
        lesson->slot[i] = slot;
    }
    lesson->targets.slot = lesson->slot; /* until some rows are held out */
    return FKM_OK;
}

int32_t fkmi_class_sums(const struct fkmi_state *state, const int32_t *owner,
                        const struct fkmi_candidates *candidates, double *sums)
{
    int32_t best = -1;

    for (int64_t c = 0; c < candidates->width; c++)
        if (candidates->index[c] >= 0)
            sums[owner[candidates->index[c]]] += candidates->weight[c];
    for (int64_t c = 0; c < candidates->width; c++) {
        int32_t slot;
        if (candidates->index[c] < 0)
            continue;
        slot = owner[candidates->index[c]];
        if (best < 0 || sums[slot] > sums[best] ||
            (sums[slot] == sums[best] && state->class_label[slot] < state->class_label[best]))
            best = slot;
    }
    return best;
}

void fkmi_class_clear(const int32_t *owner, const struct fkmi_candidates *candidates, double *sums)
{
    for (int64_t c = 0; c < candidates->width; c++)
        if (candidates->index[c] >= 0)
            sums[owner[candidates->index[c]]] = 0;
}

struct score_job {
    const struct fkmi_state *state;
    const struct fkmi_lesson *lesson;
    const int32_t *owner;
    double *value; /* by row: right + 1e-3 * log-probability, weighted */
};

static void score_row(void *argument, int64_t row, const struct fkmi_candidates *candidates, double *scratch)
{
    const struct score_job *job = argument;
    const int32_t own = job->lesson->targets.slot[fkmi_row(&job->lesson->rows, row)];
    const int32_t best = fkmi_class_sums(job->state, job->owner, candidates, scratch);
    const double p = scratch[own] > 1e-6 ? scratch[own] : 1e-6;

    job->value[row] = fkmi_row_weight(&job->lesson->rows, row) * ((best == own ? 1.0 : 0.0) + 1e-3 * log(p));
    fkmi_class_clear(job->owner, candidates, scratch);
}

/* Weighted accuracy; the log-probability decides between equals. */
static fkm_status score(const struct fkmi_oracle *oracle, const struct fkmi_lesson *lesson, double *out)
{
    fkm_status status = FKM_OK;
    struct score_job job = {oracle->state, lesson, NULL, NULL};
    int32_t *owner = NULL;
    double sum = 0, weight = 0;

    FKMI_TRY_GOTO(fkmi_alloc(&owner, oracle->state->k, sizeof *owner));
    FKMI_TRY_GOTO(fkmi_alloc(&job.value, lesson->rows.n, sizeof *job.value));
    fkmi_state_owners(oracle->state, owner);
    job.owner = owner;
    FKMI_TRY_GOTO(fkmi_oracle_each(oracle, &lesson->rows, oracle->params->top_k, oracle->state->n_classes,
                                   score_row, &job));
    for (int64_t i = 0; i < lesson->rows.n; i++) {
        sum += job.value[i];
        weight += fkmi_row_weight(&lesson->rows, i);
    }
    *out = weight > 0 ? sum / weight : 0.0;
done:
    fkmi_free(owner);
    fkmi_free(job.value);
    return status;
}

const struct fkmi_estimator fkmi_classifier = {
    .name = "classifier", .read = read, .k_wanted = fkmi_model_class_k, .score = score};
