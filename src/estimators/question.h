/* question.h — rows checked against a model, and an oracle to ask about them: where every answer begins.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_ESTIMATORS_QUESTION_H
#define FKMI_ESTIMATORS_QUESTION_H

#include "estimators/model.h"

struct fkmi_question { /* zeroed: nothing was asked */
    struct fkmi_oracle oracle;
    struct fkmi_rows rows;
    float *owned_mask;
    const struct fkmi_class_map *classes; /* the model's */
};
/* out: the caller's array, which must not be NULL; what: the call, for messages. Free it after a failure too. */
fkm_status fkmi_question_ask(const fkm_model *model, const fkm_batch *batch, const void *out,
                             const char *what, struct fkmi_question *question);
void fkmi_question_free(struct fkmi_question *question);
/* FKM_ESTATE for an unfitted model and for one of another task than these two. */
fkm_status fkmi_question_need_task(const fkm_model *model, fkm_task task, fkm_task other, const char *what);

#endif
