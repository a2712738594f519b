/* search.c — approximate search by a Python object. It is called without the GIL, and may come from any thread.
 *
 * An exception stays pending on the calling thread, where the end of the call finds it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "search.h"

static PyObject *memory_of(const void *memory, int64_t count, size_t size, int flags)
{
    return PyMemoryView_FromMemory((char *)(uintptr_t)memory, (Py_ssize_t)count * (Py_ssize_t)size, flags);
}

static fkm_status build(void *self, const float *points, int64_t k, int64_t dim, void **index)
{
    const PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *memory = memory_of(points, k * dim, sizeof *points, PyBUF_READ);

    *index = memory ? PyObject_CallMethod(self, "build", "OLL", memory, (long long)k, (long long)dim) : NULL;
    Py_XDECREF(memory);
    PyGILState_Release(gil);
    return *index ? FKM_OK : FKM_EINTERRUPTED;
}

static fkm_status find(void *self, void *index, const float *rows, int64_t n_rows, int64_t dim,
                       int64_t n_wanted, int32_t n_threads, int64_t *numbers)
{
    const PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *from = memory_of(rows, n_rows * dim, sizeof *rows, PyBUF_READ);
    PyObject *to = memory_of(numbers, n_rows * n_wanted, sizeof *numbers, PyBUF_WRITE);
    PyObject *done =
        from && to ? PyObject_CallMethod(self, "find", "OOLLLiO", (PyObject *)index, from, (long long)n_rows,
                                         (long long)dim, (long long)n_wanted, (int)n_threads, to)
                   : NULL;
    const fkm_status status = done ? FKM_OK : FKM_EINTERRUPTED;

    Py_XDECREF(done);
    Py_XDECREF(to);
    Py_XDECREF(from);
    PyGILState_Release(gil);
    return status;
}

static void drop(void *self, void *index)
{
    const PyGILState_STATE gil = PyGILState_Ensure();

    (void)self;
    Py_DECREF((PyObject *)index);
    PyGILState_Release(gil);
}

fkm_status fkmpy_search_set(fkm_context *context, PyObject *search)
{
    const fkm_search_functions functions = {
        .struct_size = sizeof functions, .build = build, .search = find, .drop = drop};

    return fkm_context_set_search(context, &functions, search);
}
