/* tuning.c — use_compile: how scans of a model run fastest is measured on the first rows it sees, and kept with it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "estimators/model.h"

#define MOST_PLACES 64 /* of a row's answer, in a measurement */

fkm_status fkmi_model_tune(const fkm_model *model, const struct fkmi_lesson *lesson, struct fkmi_state *state)
{
    const struct fkmi_space space = fkmi_state_space(state, model->params.metric);
    const int64_t top_k = model->params.top_k;
    struct fkmi_tuning *fresh = NULL;
    fkm_status status = FKM_OK;

    if (!model->params.use_compile || state->listed || /* lists are scanned in one way only */
        (state->tuning && fkmi_tuning_fits(state->tuning, state->k)))
        return FKM_OK;
    FKMI_TRY_GOTO(fkmi_alloc(&fresh, 1, sizeof *fresh));
    FKMI_TRY_GOTO(fkmi_tune(model->context, &space, state->dtype, state->points, state->k,
                            top_k < 0 || top_k > MOST_PLACES ? MOST_PLACES : top_k, &lesson->rows, fresh));
    fkmi_free(state->tuning);
    state->tuning = fresh;
    fresh = NULL;
done:
    fkmi_free(fresh);
    return status;
}
