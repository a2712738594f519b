/* weights.c — feature weights from the importance that phase 1 sees.
 * SPDX-License-Identifier: Apache-2.0 */
#include "estimators/model.h"

/* Slots for the importance of features: the classes, or the nearest prototypes of a clusterer (*owned). */
static fkm_status importance_slots(const fkm_model *model, const struct fkmi_state *state,
                                   const struct fkmi_lesson *lesson, const int32_t **slot, int32_t **owned,
                                   int64_t *n)
{
    fkm_status status = FKM_OK;
    struct fkmi_oracle oracle;
    struct fkmi_pack *pack = NULL;
    double *distance = NULL;

    *slot = lesson->slot;
    *n = state->n_classes;
    if (model->params.task != FKM_TASK_CLUSTER)
        return FKM_OK;
    *n = state->k;
    FKMI_TRY_GOTO(fkmi_alloc(owned, lesson->view.n, sizeof **owned));
    FKMI_TRY_GOTO(fkmi_alloc(&distance, lesson->view.n, sizeof *distance));
    FKMI_TRY_GOTO(
        fkmi_oracle_on(model->context, &model->params, state, lesson->view.mask != NULL, &pack, &oracle));
    FKMI_TRY_GOTO(model->context->backend->scan(
        model->context, &lesson->view, pack,
        &(struct fkmi_scan){.kind = FKMI_SCAN_NEAREST, .index = *owned, .distance = distance}));
    *slot = *owned;
done:
    model->context->backend->pack_free(pack);
    fkmi_free(distance);
    return status;
}

/* Adds the lesson to the running statistics and, with auto_feature_weights, sets the weights they give. */
fkm_status fkmi_learn_importance(const fkm_model *model, struct fkmi_learned *learned,
                                 const struct fkmi_lesson *lesson)
{
    fkm_status status = FKM_OK;
    struct fkmi_state *state = &learned->state;
    int32_t *owned = NULL;
    const int32_t *slot;
    int64_t n_slots;

    if (!model->params.auto_feature_weights)
        return FKM_OK;
    FKMI_TRY_GOTO(importance_slots(model, state, lesson, &slot, &owned, &n_slots));
    if (n_slots < learned->classes.n)
        n_slots = learned->classes.n;
    /* A clusterer's statistics go by prototype: they start over once some were merged or pruned. */
    if (owned && learned->importance.n_classes > n_slots)
        fkmi_importance_free(&learned->importance);
    FKMI_TRY_GOTO(fkmi_importance_add(model->context, &learned->importance, &lesson->view, slot, n_slots));
    if (!state->feature_weights)
        FKMI_TRY_GOTO(fkmi_alloc(&state->feature_weights, state->dim, sizeof(double)));
    fkmi_importance_weights(&learned->importance, state->feature_weights);
done:
    fkmi_free(owned);
    return status;
}

fkm_status fkm_model_feature_importance(const fkm_model *model, const fkm_batch *batch, double *weights)
{
    fkm_status status = FKM_OK;
    struct fkmi_learned copy = {0};
    struct fkmi_lesson lesson = {0};
    struct fkmi_importance importance = {0};
    int32_t *owned = NULL;
    const int32_t *slot;
    int64_t n_slots;

    if (!model || !weights)
        return fkmi_fail(FKM_EINVAL, "%s is NULL", model ? "weights" : "model");
    if (model->params.task == FKM_TASK_CLUSTER)
        FKMI_TRY(fkmi_model_need_fitted(model, "the feature importance of a clusterer"));
    FKMI_TRY_GOTO(fkmi_learned_copy(&copy, &model->learned));
    FKMI_TRY_GOTO(fkmi_lesson_open(model, &copy, batch, true, &lesson));
    FKMI_TRY_GOTO(importance_slots(model, &copy.state, &lesson, &slot, &owned, &n_slots));
    if (n_slots < copy.classes.n)
        n_slots = copy.classes.n;
    FKMI_TRY_GOTO(fkmi_importance_add(model->context, &importance, &lesson.view, slot, n_slots));
    fkmi_importance_weights(&importance, weights);
done:
    fkmi_importance_free(&importance);
    fkmi_lesson_free(&lesson);
    fkmi_learned_free(&copy);
    fkmi_free(owned);
    return status;
}
