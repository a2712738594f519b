/* question.c — a batch checked against a model, and the map of its classes, which is made once for each change.
 * SPDX-License-Identifier: Apache-2.0 */
#include "estimators/question.h"

void fkmi_class_map_free(struct fkmi_class_map *map)
{
    fkmi_free(map->owner);
    fkmi_free(map->order);
    fkmi_free(map->rank);
    *map = (struct fkmi_class_map){0};
}

static fkm_status make_map(struct fkmi_class_map *map, const struct fkmi_state *state)
{
    FKMI_TRY(fkmi_resize(&map->owner, state->k_capacity, sizeof *map->owner));
    FKMI_TRY(fkmi_resize(&map->order, state->class_capacity, sizeof *map->order));
    FKMI_TRY(fkmi_resize(&map->rank, state->class_capacity, sizeof *map->rank));
    fkmi_state_owners(state, map->owner);
    fkmi_classes_rank(state->class_label, state->n_classes, map->order);
    for (int64_t r = 0; r < state->n_classes; r++)
        map->rank[map->order[r]] = r;
    map->known = true;
    return FKM_OK;
}

static fkm_status map_classes(const fkm_model *model, const struct fkmi_class_map **map)
{
    fkm_model *self = (fkm_model *)(uintptr_t)model; /* a cache behind a lock, like the packs */
    fkm_status status = FKM_OK;

    fkmi_hold_interrupts();
    pthread_mutex_lock(&self->pack_lock);
    if (!self->class_map.known)
        status = make_map(&self->class_map, &model->learned.state);
    pthread_mutex_unlock(&self->pack_lock);
    fkmi_release_interrupts();
    *map = &self->class_map;
    return status;
}

void fkmi_question_free(struct fkmi_question *question) { fkmi_free(question->owned_mask); }

fkm_status fkmi_question_ask(const fkm_model *model, const fkm_batch *batch, const void *out,
                             const char *what, struct fkmi_question *question)
{
    FKMI_TRY(fkmi_model_need_fitted(model, what));
    if (!batch || !out)
        return fkmi_fail(FKM_EINVAL, "%s is NULL", batch ? "the output array" : "batch");
    FKMI_TRY(fkmi_rows_check(&question->rows, batch, model->learned.state.dim, model->params.missing,
                             model->context->pool, &question->owned_mask));
    FKMI_TRY(fkmi_oracle_open(model, question->rows.mask != NULL, &question->oracle));
    return map_classes(model, &question->classes);
}

fkm_status fkmi_question_need_task(const fkm_model *model, fkm_task task, fkm_task other, const char *what)
{
    FKMI_TRY(fkmi_model_need_fitted(model, what));
    if (model->params.task != task && model->params.task != other)
        return fkmi_fail(FKM_ESTATE, "a %s has no %s", model->estimator->name, what);
    return FKM_OK;
}
