/* params.h — what the rest of the library asks of the table of parameters (public: fkm_param_at, fkm_params_set).
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BASE_PARAMS_H
#define FKMI_BASE_PARAMS_H

#include "base/error.h"

/* Copies the caller's params (which may be an older, shorter struct: struct_size) over the defaults and checks. */
fkm_status fkmi_params_take(fkm_params *out, const fkm_params *params);
/* Names of enum values as the documents write them: "cosine", "softmax_scaled", "classifier", ... */
const char *fkmi_task_name(fkm_task task); /* clusterer, classifier, multilabel, regressor */
const char *fkmi_metric_name(fkm_metric metric);
const char *fkmi_soft_name(fkm_soft soft);

#endif
