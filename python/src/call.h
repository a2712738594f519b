/* call.h — one call of the library without the GIL, and the ways back into Python while it works: the progress
 * callback, signals.
 *
 *     fkmpy_call_begin(&call, state, progress);            gives the GIL away
 *     status = fkm_model_fit(...);
 *     if (!fkmpy_call_end(&call, status)) ...              takes it back; false with an exception
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMPY_CALL_H
#define FKMPY_CALL_H

#include "module.h"

struct fkmpy_call {
    const struct fkmpy_state *state;
    PyThreadState *thread; /* NULL while Python runs */
    PyObject *progress;    /* borrowed; NULL: nobody */
    bool asks;             /* signals are handled by this thread */
    bool stopped;          /* by the callback or a signal: Python is not asked again */
};

/* progress: a callable, None or NULL. */
void fkmpy_call_begin(struct fkmpy_call *call, const struct fkmpy_state *state, PyObject *progress);
bool fkmpy_call_end(struct fkmpy_call *call, fkm_status status);

/* For the library's options: the function is NULL where nobody listens; user is the call. */
fkm_progress_fn *fkmpy_call_progress(const struct fkmpy_call *call);

/* Around Python in a function that the library calls back. An exception stays pending for fkmpy_call_end; who
 * leaves one behind sets `stopped` and returns a failure. */
void fkmpy_call_enter_python(struct fkmpy_call *call);
void fkmpy_call_leave_python(struct fkmpy_call *call);

/* Raises TypeError unless progress is None, NULL or callable. */
bool fkmpy_is_progress(PyObject *progress);

#endif
