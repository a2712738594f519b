/* arrays.c — one array borrowed from Python. Nothing is converted or copied: what does not fit is refused.
 * SPDX-License-Identifier: Apache-2.0 */
#include "arrays.h"

#include <stdio.h>
#include <string.h>

#include "dlpack.h"

#define LEGACY    "dltensor"
#define VERSIONED "dltensor_versioned"

struct dtype_row {
    enum fkmpy_dtype dtype;
    const char *name, *formats; /* of the buffer protocol */
    uint8_t code, bytes;        /* of DLPack */
};
static const struct dtype_row dtype_table[] = {
    {FKMPY_F16, "float16", "e", DLPACK_FLOAT, 2},
    {FKMPY_BF16, "bfloat16", "", DLPACK_BFLOAT, 2},
    {FKMPY_F32, "float32", "f", DLPACK_FLOAT, 4},
    {FKMPY_F64, "float64", "d", DLPACK_FLOAT, 8},
    {FKMPY_I32, "int32", "il", DLPACK_INT, 4},
    {FKMPY_I64, "int64", "qln", DLPACK_INT, 8},
    {FKMPY_U8, "uint8", "B", DLPACK_UINT, 1},
    {FKMPY_BOOL, "bool", "?", DLPACK_BOOL, 1},
    /* known by name, for messages */
    {FKMPY_OTHER, "int8", "b", DLPACK_INT, 1},
    {FKMPY_OTHER, "int16", "h", DLPACK_INT, 2},
    {FKMPY_OTHER, "uint16", "H", DLPACK_UINT, 2},
    {FKMPY_OTHER, "uint32", "IL", DLPACK_UINT, 4},
    {FKMPY_OTHER, "uint64", "QLN", DLPACK_UINT, 8},
};
#define N_DTYPES (sizeof dtype_table / sizeof dtype_table[0])

/* ---- text for messages */

static const char *dtypes_text(unsigned dtypes, char *text, size_t size)
{
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < N_DTYPES && used < size; i++)
        if (dtypes & dtype_table[i].dtype)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", dtype_table[i].name);
    return text;
}

static const char *shape_text(const int64_t *shape, int n_dims, char *text, size_t size)
{
    char one[2][24];

    for (int i = 0; i < n_dims; i++)
        if (shape[i] == FKMPY_ANY)
            snprintf(one[i], sizeof one[i], "any");
        else
            snprintf(one[i], sizeof one[i], "%lld", (long long)shape[i]);
    snprintf(text, size, n_dims == 1 ? "(%s,)" : "(%s, %s)", one[0], n_dims == 1 ? "" : one[1]);
    return text;
}

/* ---- shapes and strides as given; sizes of dimensions above the second matter to nobody */

static bool take_layout(struct fkmpy_array *array, const char *name, int n_dims, const int64_t *shape,
                        const int64_t *stride)
{
    int64_t next = 1;

    if (n_dims < 1 || n_dims > 2) {
        PyErr_Format(PyExc_ValueError, "%s has %d dimensions; expected 1 or 2", name, n_dims);
        return false;
    }
    array->n_dims = n_dims;
    for (int i = n_dims - 1; i >= 0; i--) {
        array->shape[i] = shape[i];
        array->stride[i] = stride ? stride[i] : next;
        next *= shape[i];
    }
    return true;
}

/* ---- the buffer protocol */

static void name_format(struct fkmpy_array *array, const char *format)
{
    const char *letter = format;
    const uint16_t one = 1;
    const bool is_little = *(const uint8_t *)&one == 1;

    array->dtype = FKMPY_OTHER;
    snprintf(array->dtype_text, sizeof array->dtype_text, "'%.16s'", format);
    if (*letter == '@' || *letter == '=' || *letter == (is_little ? '<' : '>'))
        letter++;
    if (*letter == '\0' || letter[1] != '\0')
        return;
    for (size_t i = 0; i < N_DTYPES; i++)
        if (strchr(dtype_table[i].formats, *letter) && dtype_table[i].bytes == array->item_bytes) {
            array->dtype = dtype_table[i].dtype;
            snprintf(array->dtype_text, sizeof array->dtype_text, "%s", dtype_table[i].name);
        }
}

/* Exporters say in many ways that they have no such buffer; what is read-only is told apart from the rest. */
static bool get_buffer(struct fkmpy_array *array, PyObject *object, const struct fkmpy_want *want)
{
    if (PyObject_GetBuffer(object, &array->view, want->writes ? PyBUF_RECORDS : PyBUF_RECORDS_RO) == 0)
        return true;
    array->view.obj = NULL;
    if (want->writes) {
        PyErr_Clear();
        if (PyObject_GetBuffer(object, &array->view, PyBUF_RECORDS_RO) == 0) {
            PyBuffer_Release(&array->view);
            PyErr_Format(PyExc_ValueError, "%s is read-only", want->name);
            return false;
        }
        array->view.obj = NULL;
    }
    if (PyErr_ExceptionMatches(PyExc_ValueError)) { /* numpy, of dtypes that no format letter describes */
        PyErr_Clear();
        PyErr_Format(PyExc_TypeError, "%s is %R of a dtype that cannot be borrowed", want->name,
                     (PyObject *)Py_TYPE(object));
    }
    return false;
}

static bool borrow_buffer(struct fkmpy_array *array, PyObject *object, const struct fkmpy_want *want)
{
    int64_t shape[2], stride[2];
    const Py_buffer *view = &array->view;

    if (!get_buffer(array, object, want))
        return false;
    array->item_bytes = view->itemsize;
    name_format(array, view->format ? view->format : "B");
    array->is_read_only = view->readonly != 0;
    array->data = view->buf;
    for (int i = 0; i < view->ndim && i < 2; i++) {
        shape[i] = view->shape[i];
        stride[i] = view->strides[i];
        if (array->item_bytes < 1 || (shape[i] > 1 && stride[i] % array->item_bytes != 0)) {
            PyErr_Format(
                PyExc_ValueError,
                "%s has a stride of %lld bytes, which is no multiple of its %lld-byte values; pass a "
                "contiguous copy",
                want->name, (long long)stride[i], (long long)array->item_bytes);
            return false;
        }
        stride[i] /= array->item_bytes;
    }
    return take_layout(array, want->name, view->ndim, shape, stride);
}

/* ---- DLPack */

static bool refuse_device(const char *name, int type, int id)
{
    static const char *const names[] = {
        [2] = "cuda",    [4] = "opencl",  [7] = "vulkan",   [8] = "metal",
        [9] = "vpi",     [10] = "rocm",   [12] = "ext_dev", [13] = "cuda_managed",
        [14] = "oneapi", [15] = "webgpu", [16] = "hexagon", [17] = "maia"};
    const char *known = type >= 0 && type < (int)(sizeof names / sizeof names[0]) ? names[type] : NULL;
    char unknown[32];

    snprintf(unknown, sizeof unknown, "device type %d", type);
    PyErr_Format(PyExc_NotImplementedError,
                 "%s is on %s:%d; this build works on the CPU: pass a copy in its memory", name,
                 known ? known : unknown, id);
    return false;
}

static bool is_in_memory(int type)
{
    return type == DLPACK_CPU || type == DLPACK_CUDA_HOST || type == DLPACK_ROCM_HOST;
}

static bool borrow_tensor(struct fkmpy_array *array, const struct dlpack_tensor *tensor, const char *name)
{
    if (!is_in_memory(tensor->device.type))
        return refuse_device(name, tensor->device.type, tensor->device.id);
    array->item_bytes = tensor->dtype.bits / 8;
    array->dtype = FKMPY_OTHER;
    snprintf(array->dtype_text, sizeof array->dtype_text, "code %d, %d bits", tensor->dtype.code,
             tensor->dtype.bits);
    for (size_t i = 0; i < N_DTYPES; i++)
        if (tensor->dtype.lanes == 1 && tensor->dtype.code == dtype_table[i].code &&
            tensor->dtype.bits == 8 * dtype_table[i].bytes) {
            array->dtype = dtype_table[i].dtype;
            snprintf(array->dtype_text, sizeof array->dtype_text, "%s", dtype_table[i].name);
        }
    array->data = tensor->data ? (char *)tensor->data + tensor->byte_offset : NULL;
    return take_layout(array, name, tensor->n_dims, tensor->shape, tensor->strides);
}

/* The tensor in the capsule becomes ours: renaming the capsule is how its maker is told. */
static bool borrow_capsule(struct fkmpy_array *array, PyObject *capsule, const char *name)
{
    if (PyCapsule_IsValid(capsule, VERSIONED)) {
        struct dlpack_versioned *managed = PyCapsule_GetPointer(capsule, VERSIONED);
        if (!managed || PyCapsule_SetName(capsule, "used_" VERSIONED) != 0)
            return false;
        array->tensor = managed;
        array->is_versioned = true;
        if (managed->version.major != DLPACK_MAJOR) { /* what lies behind the flags is unknown */
            PyErr_Format(PyExc_BufferError,
                         "%s is a DLPack tensor of version %u; this build reads version %d", name,
                         (unsigned)managed->version.major, DLPACK_MAJOR);
            return false;
        }
        array->is_read_only = (managed->flags & DLPACK_READ_ONLY) != 0;
        return borrow_tensor(array, &managed->tensor, name);
    }
    if (PyCapsule_IsValid(capsule, LEGACY)) {
        struct dlpack_legacy *managed = PyCapsule_GetPointer(capsule, LEGACY);
        if (!managed || PyCapsule_SetName(capsule, "used_" LEGACY) != 0)
            return false;
        array->tensor = managed;
        return borrow_tensor(array, &managed->tensor, name);
    }
    if (!PyErr_Occurred())
        PyErr_Format(PyExc_TypeError, "%s is no DLPack capsule, or one that was used before", name);
    return false;
}

/* Asked first: making the capsule of a foreign device may wait for that device. */
static bool check_device(PyObject *object, const char *name)
{
    PyObject *method = PyObject_GetAttrString(object, "__dlpack_device__");
    PyObject *answer = method ? PyObject_CallNoArgs(method) : NULL;
    int type = 0, id = 0;
    bool is_fine = answer && PyTuple_Check(answer) && PyArg_ParseTuple(answer, "ii", &type, &id);

    if (!is_fine && !PyErr_Occurred())
        PyErr_Format(PyExc_TypeError, "%s: __dlpack_device__ gave no pair of numbers", name);
    if (is_fine && !is_in_memory(type))
        is_fine = refuse_device(name, type, id);
    Py_XDECREF(answer);
    Py_XDECREF(method);
    return is_fine;
}

/* Makers from before version 1 do not know max_version. */
static PyObject *ask_capsule(PyObject *object)
{
    PyObject *method = PyObject_GetAttrString(object, "__dlpack__");
    PyObject *none = method ? PyTuple_New(0) : NULL;
    PyObject *newest = none ? Py_BuildValue("{s:(ii)}", "max_version", DLPACK_MAJOR, 0) : NULL;
    PyObject *capsule = newest ? PyObject_Call(method, none, newest) : NULL;

    if (!capsule && newest && PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
        capsule = PyObject_CallNoArgs(method);
    }
    Py_XDECREF(newest);
    Py_XDECREF(none);
    Py_XDECREF(method);
    return capsule;
}

static bool borrow_dlpack(struct fkmpy_array *array, PyObject *object, const char *name)
{
    PyObject *capsule;
    bool is_fine;

    if (!check_device(object, name) || !(capsule = ask_capsule(object)))
        return false;
    is_fine = borrow_capsule(array, capsule, name);
    Py_DECREF(capsule);
    return is_fine;
}

/* ---- what was borrowed against what is wanted */

static bool check_dtype(const struct fkmpy_array *array, const struct fkmpy_want *want)
{
    char text[96];

    if (array->dtype & want->dtypes)
        return true;
    PyErr_Format(PyExc_TypeError, "%s has dtype %s; expected %s", want->name, array->dtype_text,
                 dtypes_text(want->dtypes, text, sizeof text));
    return false;
}

static bool check_shape(const struct fkmpy_array *array, const struct fkmpy_want *want)
{
    bool is_same = array->n_dims == want->n_dims;
    char is[64], wanted[64];

    for (int i = 0; is_same && i < want->n_dims; i++)
        is_same = want->shape[i] == FKMPY_ANY || want->shape[i] == array->shape[i];
    if (is_same)
        return true;
    PyErr_Format(PyExc_ValueError, "%s has shape %s; expected %s", want->name,
                 shape_text(array->shape, array->n_dims, is, sizeof is),
                 shape_text(want->shape, want->n_dims, wanted, sizeof wanted));
    return false;
}

static bool check_layout(struct fkmpy_array *array, const struct fkmpy_want *want)
{
    const int last = array->n_dims - 1;
    const int64_t n_rows = array->shape[0], n_cols = array->n_dims == 2 ? array->shape[1] : 1;

    if (n_rows == 0 || n_cols == 0)
        return true; /* nothing is read */
    if (array->shape[last] > 1 && array->stride[last] != 1) {
        PyErr_Format(PyExc_ValueError, "%s has values %lld apart along its last axis; pass a contiguous copy",
                     want->name, (long long)array->stride[last]);
        return false;
    }
    if (array->n_dims == 2 && n_rows == 1)
        array->stride[0] = n_cols; /* there is no next row */
    if (array->n_dims == 2 && (want->strided_rows ? array->stride[0] < n_cols : array->stride[0] != n_cols)) {
        PyErr_Format(PyExc_ValueError,
                     "%s has rows of %lld values that lie %lld apart; pass a contiguous copy", want->name,
                     (long long)n_cols, (long long)array->stride[0]);
        return false;
    }
    if ((uintptr_t)array->data % (uintptr_t)array->item_bytes != 0) {
        PyErr_Format(PyExc_ValueError, "%s is not aligned to its %lld-byte values; pass a copy", want->name,
                     (long long)array->item_bytes);
        return false;
    }
    return true;
}

static bool check(struct fkmpy_array *array, const struct fkmpy_want *want)
{
    if (!check_dtype(array, want) || !check_shape(array, want) || !check_layout(array, want))
        return false;
    if (want->writes && array->is_read_only) {
        PyErr_Format(PyExc_ValueError, "%s is read-only", want->name);
        return false;
    }
    return true;
}

/* ---- entry points */

static bool borrow(struct fkmpy_array *array, PyObject *object, const struct fkmpy_want *want)
{
    if (PyObject_CheckBuffer(object))
        return borrow_buffer(array, object, want);
    if (PyCapsule_CheckExact(object))
        return borrow_capsule(array, object, want->name);
    if (PyObject_HasAttrString(object, "__dlpack__"))
        return borrow_dlpack(array, object, want->name);
    PyErr_Format(PyExc_TypeError, "%s must be an array (buffer protocol or DLPack), not %R", want->name,
                 (PyObject *)Py_TYPE(object));
    return false;
}

bool fkmpy_array_borrow(struct fkmpy_array *array, PyObject *object, const struct fkmpy_want *want)
{
    *array = (struct fkmpy_array){0};
    if (want->may_be_absent && (!object || object == Py_None))
        return true;
    if (borrow(array, object, want) && check(array, want))
        return true;
    fkmpy_array_release(array);
    return false;
}

void fkmpy_array_release(struct fkmpy_array *array)
{
    struct fkmpy_array gone = *array;
    PyObject *type, *value, *traceback;

    *array = (struct fkmpy_array){0}; /* first, since what follows may run any code */
    if (!gone.tensor && !gone.view.obj)
        return;
    PyErr_Fetch(&type, &value, &traceback); /* the reason for giving back must outlive that code */
    if (gone.tensor && gone.is_versioned) {
        struct dlpack_versioned *managed = gone.tensor;
        if (managed->release)
            managed->release(managed);
    } else if (gone.tensor) {
        struct dlpack_legacy *managed = gone.tensor;
        if (managed->release)
            managed->release(managed);
    }
    if (gone.view.obj)
        PyBuffer_Release(&gone.view);
    PyErr_Restore(type, value, traceback);
}

int fkmpy_array_visit(const struct fkmpy_array *array, visitproc visit, void *arg)
{
    Py_VISIT(array->view.obj);
    return 0;
}
