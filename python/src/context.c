/* context.c — Context: threads and the memory limit.
 * SPDX-License-Identifier: Apache-2.0 */
#include "context.h"

#include "errors.h"
#include "search.h"

struct fkmpy_context {
    PyObject_HEAD fkm_context *context;
    PyObject *search; /* or NULL */
    int n_threads;    /* as asked, so that a pickled model asks the machine it wakes up on */
};

PyObject *fkmpy_context_new(struct fkmpy_state *state, int n_threads, const char *device, size_t memory_limit)
{
    fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;
    struct fkmpy_context *self = (void *)PyType_GenericAlloc((PyTypeObject *)state->context_type, 0);
    fkm_status status;

    if (!self)
        return NULL;
    options.n_threads = self->n_threads = n_threads;
    options.device = device;
    options.memory_limit = memory_limit;
    status = fkm_context_create(&options, &self->context);
    if (status != FKM_OK) {
        fkmpy_raise(state, status);
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

fkm_context *fkmpy_context_of(PyObject *object, const struct fkmpy_state *state)
{
    if (Py_TYPE(object) == (PyTypeObject *)state->context_type)
        return ((struct fkmpy_context *)object)->context;
    PyErr_Format(PyExc_TypeError, "context must be a Context, not %R", (PyObject *)Py_TYPE(object));
    return NULL;
}

int fkmpy_context_threads_asked(PyObject *context) { return ((struct fkmpy_context *)context)->n_threads; }

/* ---- the type */

static PyObject *create(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    int n_threads = -1;
    const char *device = "cpu";
    Py_ssize_t memory_limit = 0;
    PyObject *search = Py_None, *self;
    fkm_status status;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|isnO:Context",
                                     FKMPY_NAMES("n_threads", "device", "memory_limit", "search"), &n_threads,
                                     &device, &memory_limit, &search))
        return NULL;
    if (memory_limit < 0)
        return PyErr_Format(PyExc_ValueError, "memory_limit is %zd bytes; it must be >= 0 (0: none)",
                            memory_limit);
    self = fkmpy_context_new(fkmpy_state_of(type), n_threads, device, (size_t)memory_limit);
    if (!self || search == Py_None)
        return self;
    status = fkmpy_search_set(((struct fkmpy_context *)self)->context, search);
    if (status != FKM_OK) {
        fkmpy_raise(fkmpy_state_of(type), status);
        Py_DECREF(self);
        return NULL;
    }
    Py_INCREF(search);
    ((struct fkmpy_context *)self)->search = search;
    return self;
}

static void destroy(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    fkm_context_free(((struct fkmpy_context *)self)->context);
    Py_XDECREF(((struct fkmpy_context *)self)->search);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *get_n_threads(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromLong(fkm_context_threads(((struct fkmpy_context *)self)->context));
}

PyObject *fkmpy_context_type(PyObject *module)
{
    static PyGetSetDef properties[] = {
        {"n_threads", get_n_threads, NULL, "Threads that work at once.", NULL},
        {NULL, NULL, NULL, NULL, NULL},
    };
    PyType_Slot slots[] = {
        {Py_tp_doc,
         "Context(n_threads=-1, device='cpu', memory_limit=0, search=None)\n--\n\n"
         "Threads and memory limit; shared by any number of models and threads.\n\n"
         "n_threads -1: one per core this process may use. memory_limit: bytes that all models and\n"
         "calls of the process may hold, 0 for none; the context made last decides. search: what\n"
         "models with use_faiss ask: build(points, k, dim) gives an index, find(index, rows, n_rows, dim,\n"
         "n_wanted, n_threads, numbers) fills numbers."},
        {Py_tp_new, create},
        {Py_tp_dealloc, destroy},
        {Py_tp_getset, properties},
        {0, NULL},
    };
    PyType_Spec spec = {.name = "fast_kmeans._core.Context",
                        .basicsize = sizeof(struct fkmpy_context),
                        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
                        .slots = slots};

    return PyType_FromModuleAndSpec(module, &spec, NULL);
}
