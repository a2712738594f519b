/* call.c — one call of the library without the GIL.
 * SPDX-License-Identifier: Apache-2.0 */
#include "call.h"

#include "errors.h"

/* Python handles signals on its main thread only, so nobody else needs to be asked. */
static bool signals_come_here(const struct fkmpy_state *state)
{
    PyObject *thread = PyObject_CallNoArgs(state->main_thread);
    PyObject *ident = thread ? PyObject_GetAttrString(thread, "ident") : NULL;
    const unsigned long number = ident ? PyLong_AsUnsignedLong(ident) : 0;
    const bool here = !PyErr_Occurred() && number == PyThread_get_thread_ident();

    PyErr_Clear();
    Py_XDECREF(ident);
    Py_XDECREF(thread);
    return here;
}

/* ---- from the library into Python */

static int ask(void *user)
{
    struct fkmpy_call *call = user;

    if (!call->stopped) {
        fkmpy_call_enter_python(call);
        call->stopped = PyErr_CheckSignals() != 0;
        fkmpy_call_leave_python(call);
    }
    return call->stopped;
}

void fkmpy_call_enter_python(struct fkmpy_call *call)
{
    PyEval_RestoreThread(call->thread);
    call->thread = NULL;
}

/* What ran in Python may have been a call of its own, which has taken our place. */
void fkmpy_call_leave_python(struct fkmpy_call *call)
{
    call->thread = PyEval_SaveThread();
    if (call->asks)
        fkm_set_interrupt(ask, call);
}

/* True stops the call. */
static bool tell(PyObject *listener, const fkm_progress *progress)
{
    PyObject *told = Py_BuildValue("{s:s,s:L,s:L,s:L,s:L,s:L,s:d,s:d,s:d,s:L}", "phase", progress->phase,
                                   "step", (long long)progress->step, "steps", (long long)progress->steps,
                                   "epoch", (long long)progress->epoch, "epochs", (long long)progress->epochs,
                                   "rows", (long long)progress->rows, "loss", progress->loss, "shift",
                                   progress->shift, "eval", progress->eval, "k", (long long)progress->k);
    PyObject *answer = told ? PyObject_CallFunctionObjArgs(listener, told, NULL) : NULL;
    const bool stops = !answer || PyObject_IsTrue(answer) != 0;

    Py_XDECREF(answer);
    Py_XDECREF(told);
    return stops;
}

static int progress_of_call(void *user, const fkm_progress *progress)
{
    struct fkmpy_call *call = user;

    if (!call->stopped) {
        fkmpy_call_enter_python(call);
        call->stopped = tell(call->progress, progress) || PyErr_CheckSignals() != 0;
        fkmpy_call_leave_python(call);
    }
    return call->stopped;
}

fkm_progress_fn *fkmpy_call_progress(const struct fkmpy_call *call)
{
    return call->progress ? progress_of_call : NULL;
}

/* ---- entry points */

bool fkmpy_is_progress(PyObject *progress)
{
    if (!progress || progress == Py_None || PyCallable_Check(progress))
        return true;
    PyErr_Format(PyExc_TypeError, "progress must be callable or None, not %R", (PyObject *)Py_TYPE(progress));
    return false;
}

void fkmpy_call_begin(struct fkmpy_call *call, const struct fkmpy_state *state, PyObject *progress)
{
    *call = (struct fkmpy_call){
        .state = state, .progress = progress == Py_None ? NULL : progress, .asks = signals_come_here(state)};
    fkmpy_call_leave_python(call);
}

bool fkmpy_call_end(struct fkmpy_call *call, fkm_status status)
{
    if (call->asks)
        fkm_set_interrupt(NULL, NULL);
    fkmpy_call_enter_python(call);
    if (status != FKM_OK && !PyErr_Occurred())
        fkmpy_raise(call->state, status);
    return !PyErr_Occurred();
}
