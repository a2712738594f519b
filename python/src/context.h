/* context.h — Context: threads and the memory limit.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMPY_CONTEXT_H
#define FKMPY_CONTEXT_H

#include "module.h"

PyObject *fkmpy_context_new(struct fkmpy_state *state, int n_threads, const char *device,
                            size_t memory_limit);
/* NULL with TypeError when it is none. */
fkm_context *fkmpy_context_of(PyObject *object, const struct fkmpy_state *state);
int fkmpy_context_threads_asked(PyObject *context);

#endif
