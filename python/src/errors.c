/* errors.c — the library's failures as Python's exceptions.
 * SPDX-License-Identifier: Apache-2.0 */
#include "errors.h"

static PyObject *exception_of(const struct fkmpy_state *state, fkm_status status)
{
    switch (status) {
    case FKM_EINVAL:
    case FKM_EDATA:
        return PyExc_ValueError;
    case FKM_ENOMEM:
        return PyExc_MemoryError;
    case FKM_EIO:
        return PyExc_OSError;
    case FKM_ESTATE:
        return PyExc_RuntimeError;
    case FKM_EUNSUPPORTED:
        return PyExc_NotImplementedError;
    case FKM_EINTERRUPTED:
        return state->interrupted;
    default:
        return PyExc_SystemError;
    }
}

void fkmpy_raise(const struct fkmpy_state *state, fkm_status status)
{
    PyObject *message;

    if (status == FKM_EINTERRUPTED && PyErr_Occurred())
        return;
    message = PyUnicode_DecodeFSDefault(fkm_last_error()); /* a path in it may be any bytes */
    if (!message)
        return;
    PyErr_SetObject(exception_of(state, status), message);
    Py_DECREF(message);
}
