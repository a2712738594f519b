/* source.c — Source: where rows come from.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model.h"

PyObject *fkmpy_model_fit_source(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    (void)args;
    (void)keywords;
    PyErr_SetString(PyExc_NotImplementedError, "this build has no sources");
    return NULL;
}

PyObject *fkmpy_source_type(PyObject *module)
{
    PyType_Slot slots[] = {{Py_tp_doc, "Where rows come from; one thread."}, {0, NULL}};
    PyType_Spec spec = {.name = "fast_kmeans._core.Source",
                        .basicsize = sizeof(PyObject),
                        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                        .slots = slots};

    return PyType_FromModuleAndSpec(module, &spec, NULL);
}
