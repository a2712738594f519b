/* errors.h — the library's failures as Python's exceptions.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMPY_ERRORS_H
#define FKMPY_ERRORS_H

#include "module.h"

/* Raises what the last failing call of this thread said. FKM_EINTERRUPTED keeps an exception that is pending. */
void fkmpy_raise(const struct fkmpy_state *state, fkm_status status);

#endif
