/* module.c — fast_kmeans._core: the module, its functions, its state.
 * SPDX-License-Identifier: Apache-2.0 */
#include "module.h"

#include "arrays.h"
#include "context.h"
#include "errors.h"
#include "model.h"

struct fkmpy_state *fkmpy_state_of(PyTypeObject *type) { return PyType_GetModuleState(type); }

/* ---- functions */

static PyObject *isa(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyUnicode_FromString(fkm_isa());
}

static PyObject *tasks_of(unsigned tasks)
{
    static const char *const names[] = {"clusterer", "classifier", "multilabel", "regressor"};
    PyObject *list = PyList_New(0), *tuple = NULL;
    bool is_fine = list != NULL;

    for (int i = 0; i < 4 && is_fine; i++)
        if (tasks & (1u << i)) {
            PyObject *name = PyUnicode_FromString(names[i]);
            is_fine = name && PyList_Append(list, name) == 0;
            Py_XDECREF(name);
        }
    if (is_fine)
        tuple = PyList_AsTuple(list);
    Py_XDECREF(list);
    return tuple;
}

static PyObject *parameters(PyObject *module, PyObject *unused)
{
    static const char *const kinds[] = {"choice", "int", "real", "bool"};
    PyObject *out = PyList_New(0);

    (void)module;
    (void)unused;
    for (size_t i = 0; out && i < fkm_param_count(); i++) {
        const fkm_param_info *info = fkm_param_at(i);
        PyObject *row =
            Py_BuildValue("{s:s,s:s,s:z,s:s,s:s,s:s,s:N}", "name", info->name, "kind", kinds[info->kind],
                          "choices", info->choices, "default", info->standard, "valid", info->valid, "help",
                          info->help, "tasks", tasks_of(info->tasks));
        if (!row || PyList_Append(out, row) != 0)
            Py_CLEAR(out);
        Py_XDECREF(row);
    }
    return out;
}

static PyObject *asymmetric_loss(PyObject *module, PyObject *args, PyObject *keywords)
{
    enum { PROBABILITY, POSITIVE, LOSS, GRADIENT, N };
    static const char *const names[] = {"probability", "positive", "loss", "gradient"};
    static const unsigned dtypes[] = {FKMPY_F64, FKMPY_BYTES, FKMPY_F64, FKMPY_F64};
    PyObject *objects[N] = {NULL};
    struct fkmpy_array arrays[N] = {0};
    struct fkmpy_call call;
    double gamma_pos, gamma_neg, clip;
    bool is_fine = true;

    if (!PyArg_ParseTupleAndKeywords(
            args, keywords, "OOddd|OO:asymmetric_loss",
            FKMPY_NAMES("probability", "positive", "gamma_pos", "gamma_neg", "clip", "loss", "gradient"),
            &objects[PROBABILITY], &objects[POSITIVE], &gamma_pos, &gamma_neg, &clip, &objects[LOSS],
            &objects[GRADIENT]))
        return NULL;
    for (int i = 0; i < N && is_fine; i++)
        is_fine = fkmpy_array_borrow(&arrays[i], objects[i],
                                     &(struct fkmpy_want){.name = names[i],
                                                          .dtypes = dtypes[i],
                                                          .n_dims = 1,
                                                          .shape = {i == 0 ? FKMPY_ANY : arrays[0].shape[0]},
                                                          .writes = i >= LOSS,
                                                          .may_be_absent = i >= LOSS});
    if (is_fine) {
        fkmpy_call_begin(&call, PyModule_GetState(module), NULL);
        is_fine =
            fkmpy_call_end(&call, fkm_asymmetric_loss(arrays[PROBABILITY].shape[0],
                                                      (const double *)(void *)arrays[PROBABILITY].data,
                                                      (const uint8_t *)arrays[POSITIVE].data, gamma_pos,
                                                      gamma_neg, clip, (double *)(void *)arrays[LOSS].data,
                                                      (double *)(void *)arrays[GRADIENT].data));
    }
    for (int i = 0; i < N; i++)
        fkmpy_array_release(&arrays[i]);
    return is_fine ? Py_NewRef(Py_None) : NULL;
}

static PyObject *model_from_bytes(PyObject *module, PyObject *args)
{
    struct fkmpy_state *state = PyModule_GetState(module);
    PyObject *data, *number, *context, *model;
    int n_threads;

    if (!PyArg_ParseTuple(args, "OO!:_model_from_bytes", &data, &PyLong_Type, &number) ||
        !PyArg_ParseTuple(args, "Oi", &data, &n_threads))
        return NULL;
    context = Py_XNewRef(PyDict_GetItemWithError(state->contexts, number));
    if (!context && !PyErr_Occurred()) {
        context = fkmpy_context_new(state, n_threads, NULL, 0);
        if (context && PyDict_SetItem(state->contexts, number, context) != 0)
            Py_CLEAR(context);
    }
    model = context ? fkmpy_model_read(state, context, data) : NULL;
    Py_XDECREF(context);
    return model;
}

/* ---- the module */

/* Keeps what `made` is: the state owns the reference. */
static bool keep(PyObject *module, PyObject **place, PyObject *made, const char *name)
{
    *place = made;
    return made && (!name || PyModule_AddObjectRef(module, name, made) == 0);
}

static int execute(PyObject *module)
{
    struct fkmpy_state *state = PyModule_GetState(module);
    PyObject *threading = PyImport_ImportModule("threading");

    state->main_thread = threading ? PyObject_GetAttrString(threading, "main_thread") : NULL;
    Py_XDECREF(threading);
    state->contexts = PyDict_New();
    return state->main_thread && state->contexts &&
                   PyModule_AddStringConstant(module, "__version__", fkm_version()) == 0 &&
                   keep(module, &state->interrupted,
                        PyErr_NewExceptionWithDoc("fast_kmeans._core.InterruptedByCallback",
                                                  "The progress callback asked to stop; the model is usable.",
                                                  NULL, NULL),
                        "InterruptedByCallback") &&
                   keep(module, &state->context_type, fkmpy_context_type(module), "Context") &&
                   keep(module, &state->batch_type, fkmpy_batch_type(module), "Batch") &&
                   keep(module, &state->model_type, fkmpy_model_type(module), "Model") &&
                   keep(module, &state->source_type, fkmpy_source_type(module), "Source")
               ? 0
               : -1;
}

static int traverse(PyObject *module, visitproc visit, void *arg)
{
    const struct fkmpy_state *state = PyModule_GetState(module);

    if (state) {
        Py_VISIT(state->context_type);
        Py_VISIT(state->batch_type);
        Py_VISIT(state->model_type);
        Py_VISIT(state->source_type);
        Py_VISIT(state->interrupted);
        Py_VISIT(state->main_thread);
        Py_VISIT(state->contexts);
    }
    return 0;
}

static int clear(PyObject *module)
{
    struct fkmpy_state *state = PyModule_GetState(module);

    if (state) {
        Py_CLEAR(state->context_type);
        Py_CLEAR(state->batch_type);
        Py_CLEAR(state->model_type);
        Py_CLEAR(state->source_type);
        Py_CLEAR(state->interrupted);
        Py_CLEAR(state->main_thread);
        Py_CLEAR(state->contexts);
    }
    return 0;
}

static void destroy(void *module) { clear(module); }

static PyMethodDef functions[] = {
    FKMPY_METHOD("isa", isa, METH_NOARGS,
                 "isa($module)\n--\n\nThe instruction set of the kernels: 'avx512', 'avx2_vnni', 'avx2', "
                 "'neon_dot', 'neon' or 'scalar'."),
    FKMPY_METHOD("parameters", parameters, METH_NOARGS,
                 "parameters($module)\n--\n\nThe table of parameters, one dict each."),
    FKMPY_METHOD(
        "asymmetric_loss", asymmetric_loss, FKMPY_KEYWORDS,
        "asymmetric_loss($module, probability, positive, gamma_pos, gamma_neg, clip, loss=None, "
        "gradient=None)\n--\n\n"
        "Asymmetric loss of each probability, and its derivative. probability, loss, gradient: float64 n;\n"
        "positive: uint8 or bool, n."),
    FKMPY_METHOD("_model_from_bytes", model_from_bytes, METH_VARARGS,
                 "_model_from_bytes($module, data, n_threads, /)\n--\n\nWhat a pickled Model calls."),
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED}, /* models lock themselves, everything else is constant */
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fast_kmeans._core",
    .m_doc = "The C extension: each function checks its arguments, borrows buffers, releases the GIL and "
             "calls one "
             "function of fastkmeans.h.",
    .m_size = sizeof(struct fkmpy_state),
    .m_methods = functions,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = destroy,
};

PyMODINIT_FUNC PyInit__core(void);
PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&definition); }
