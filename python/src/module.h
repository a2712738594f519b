/* module.h — what the files of the extension share: the state of the module and its types.
 *
 * The module keeps everything in its state, so any number of interpreters that share a GIL may load it.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMPY_MODULE_H
#define FKMPY_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <fastkmeans/fastkmeans.h>
#include <stdbool.h>

struct fkmpy_state {
    PyObject *context_type, *batch_type, *model_type, *source_type;
    PyObject *interrupted; /* InterruptedByCallback */
    PyObject *main_thread; /* threading.main_thread */
    PyObject *contexts;    /* of unpickled models, by number of threads: each has a pool */
};

/* Of one of our types; they are final, so Py_TYPE(self) is one. */
struct fkmpy_state *fkmpy_state_of(PyTypeObject *type);

/* Each makes its type: a new reference, or NULL with an exception. */
PyObject *fkmpy_context_type(PyObject *module);
PyObject *fkmpy_batch_type(PyObject *module);
PyObject *fkmpy_model_type(PyObject *module);
PyObject *fkmpy_source_type(PyObject *module);

/* Entries of tables of methods and slots. A text begins with the signature for help(): "name($self, x)\n--\n\n". */
#define FKMPY_METHOD(name, function, flags, text)                                                            \
    {                                                                                                        \
        name, (PyCFunction)(void (*)(void))(function), flags, text                                           \
    }
#define FKMPY_KEYWORDS (METH_VARARGS | METH_KEYWORDS)
/* PyArg_ParseTupleAndKeywords takes char **, though it changes nothing. */
#define FKMPY_NAMES(...) ((char **)(void *)(const char *[]){__VA_ARGS__, NULL})

#endif
