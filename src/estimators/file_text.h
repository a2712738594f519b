/* file_text.h — the vectorizer of a model in its file.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_ESTIMATORS_FILE_TEXT_H
#define FKMI_ESTIMATORS_FILE_TEXT_H

#include "estimators/model.h"
#include "io/safetensors.h"

#define FKMI_TEXT_TENSORS 2
/* The numbers that go into the metadata as text.NAME; none without a vectorizer. */
int fkmi_text_number_count(const fkm_model *model);
void fkmi_text_number_write(const fkm_model *model, int i, const char **name, char value[32]);
/* Adds up to FKMI_TEXT_TENSORS tensors, which live as long as the model and *owned, to be freed by the caller. */
fkm_status fkmi_text_tensors(const fkm_model *model, struct fkmi_tensor *tensors, int *n, char **owned);
/* The vectorizer of a file, if it has one, into a model whose width is known. */
fkm_status fkmi_text_read(struct fkmi_tensor_file *file, fkm_model *model);

#endif
