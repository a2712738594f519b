/* batch.h — Batch: rows with optional targets, weights and mask, borrowed for the life of the object.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMPY_BATCH_H
#define FKMPY_BATCH_H

#include "module.h"

/* For one call of the library; NULL with an exception. name: of the argument, for messages. */
const fkm_batch *fkmpy_batch_of(PyObject *object, const struct fkmpy_state *state, const char *name);

#endif
