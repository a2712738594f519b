/* inside.c — methods of Model for looking inside: what it is, copies of its arrays, its history.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "arrays.h"
#include "errors.h"
#include "model.h"

static PyObject *params_dict(const struct fkmpy_state *state, const fkm_params *params)
{
    PyObject *dict = PyDict_New();
    char text[256];

    for (size_t i = 0; dict && i < fkm_param_count(); i++) {
        const char *name = fkm_param_at(i)->name;
        const fkm_status status = fkm_params_get(params, name, text, sizeof text);
        PyObject *value = status == FKM_OK ? PyUnicode_FromString(text) : NULL;

        if (status != FKM_OK)
            fkmpy_raise(state, status);
        if (!value || PyDict_SetItemString(dict, name, value) != 0)
            Py_CLEAR(dict);
        Py_XDECREF(value);
    }
    return dict;
}

/* A copy of what the model keeps until its parameters change, for which nobody else may use it. */
static PyObject *params_of(const struct fkmpy_use *use, const fkm_params *params)
{
    PyObject *known = atomic_load(&use->self->params), *nobody = NULL;

    if (!known) {
        known = params_dict(use->state, params);
        if (known && !atomic_compare_exchange_strong(&use->self->params, &nobody, known)) {
            Py_DECREF(known); /* another thread was faster */
            known = nobody;
        }
    }
    return known ? PyDict_Copy(known) : NULL;
}

PyObject *fkmpy_model_describe(PyObject *self, PyObject *unused)
{
    struct fkmpy_use use;
    fkm_model_info info;
    PyObject *params, *out;
    bool is_fine;

    (void)unused;
    if (!fkmpy_use_begin(&use, self, ANSWERS))
        return NULL;
    is_fine = fkmpy_use_describe(&use, &info);
    params = is_fine ? params_of(&use, &info.params) : NULL;
    fkmpy_use_abandon(&use);
    if (!params)
        return NULL;
    out = Py_BuildValue("{s:N,s:N,s:N,s:N}", "params", params, "fitted", PyBool_FromLong(info.fitted),
                        "has_ages", PyBool_FromLong(info.has_ages), "has_optimizer",
                        PyBool_FromLong(info.has_optimizer));
    if (!out)
        return NULL;
    const struct {
        const char *name;
        long long value;
    } counts[] = {{"k", info.k},
                  {"dim", info.dim},
                  {"n_classes", info.n_classes},
                  {"n_targets", info.n_targets},
                  {"batches", info.batches},
                  {"iterations", info.iterations},
                  {"gradient_steps", info.gradient_steps},
                  {"n_history", info.n_history},
                  {"bytes", (long long)info.bytes}};
    const struct {
        const char *name;
        double value;
    } numbers[] = {{"learning_rate", info.learning_rate},
                   {"scale", info.scale},
                   {"temperature", info.temperature},
                   {"idw_power", info.idw_power}};
    is_fine = true;
    for (size_t i = 0; is_fine && i < sizeof counts / sizeof counts[0]; i++) {
        PyObject *value = PyLong_FromLongLong(counts[i].value);
        is_fine = value && PyDict_SetItemString(out, counts[i].name, value) == 0;
        Py_XDECREF(value);
    }
    for (size_t i = 0; is_fine && i < sizeof numbers / sizeof numbers[0]; i++) {
        PyObject *value = PyFloat_FromDouble(numbers[i].value);
        is_fine = value && PyDict_SetItemString(out, numbers[i].name, value) == 0;
        Py_XDECREF(value);
    }
    if (!is_fine)
        Py_CLEAR(out);
    return out;
}

/* ---- arrays */

enum side { NONE, K, DIM, CLASSES, TARGETS, TWO, THREE };

static int64_t length_of(const fkm_model_info *info, enum side side)
{
    switch (side) {
    case K:
        return info->k;
    case DIM:
        return info->dim;
    case CLASSES:
        return info->n_classes;
    case TARGETS:
        return info->n_targets;
    case TWO:
        return 2;
    case THREE:
        return 3;
    default:
        return 1;
    }
}

/* Each has one of the three functions. */
#define ALL    (~0u)
#define TAGS   (1u << FKM_TASK_MULTILABEL)
#define VALUES (1u << FKM_TASK_REGRESS)
#define LABELS (TAGS | 1u << FKM_TASK_CLASSIFY)
static const struct field {
    const char *name;
    unsigned tasks; /* that have it */
    enum side rows, cols;
    fkm_status (*reals)(const fkm_model *model, double *out);
    fkm_status (*integers)(const fkm_model *model, int64_t *out);
    fkm_status (*bytes)(const fkm_model *model, uint8_t *out);
} fields[] = {
    {"centroids", ALL, K, DIM, fkm_model_centroids, NULL, NULL},
    {"centroid_weights", ALL, K, NONE, fkm_model_centroid_weights, NULL, NULL},
    {"centroid_ages", ALL, K, DIM, fkm_model_centroid_ages, NULL, NULL},
    {"centroid_labels", LABELS, K, NONE, NULL, fkm_model_centroid_labels, NULL},
    {"centroid_targets", VALUES, K, TARGETS, fkm_model_centroid_targets, NULL, NULL},
    {"centroid_gradients", ALL, K, DIM, fkm_model_centroid_gradients, NULL, NULL},
    {"centroid_routing", ALL, K, TWO, fkm_model_centroid_routing, NULL, NULL},
    {"frozen", ALL, K, NONE, NULL, NULL, fkm_model_frozen},
    {"feature_weights", ALL, DIM, NONE, fkm_model_feature_weights, NULL, NULL},
    {"classes", LABELS, CLASSES, NONE, NULL, fkm_model_classes, NULL},
    {"tag_scores", TAGS, CLASSES, THREE, fkm_model_tag_scores, NULL, NULL},
};
#define N_FIELDS (sizeof fields / sizeof fields[0])

static const struct field *field_called(const char *name)
{
    for (size_t i = 0; i < N_FIELDS; i++)
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    PyErr_Format(PyExc_ValueError, "a model has no array called '%s'", name);
    return NULL;
}

static fkm_status fill(const fkm_model *model, const struct field *field, void *out)
{
    return field->reals      ? field->reals(model, out)
           : field->integers ? field->integers(model, out)
                             : field->bytes(model, out);
}

/* Shapes are checked where the model is fitted and its task has the array; else the library says what is missing,
 * before it writes. */
static bool borrow_field(struct fkmpy_array *array, PyObject *out, const struct field *field,
                         const fkm_model_info *info)
{
    const int64_t rows = length_of(info, field->rows), cols = length_of(info, field->cols);
    const bool is_known = info->fitted && (field->tasks & 1u << info->params.task);

    return fkmpy_array_borrow(
        array, out,
        &(struct fkmpy_want){.name = "out",
                             .dtypes = field->reals      ? FKMPY_F64
                                       : field->integers ? FKMPY_I64
                                                         : FKMPY_BYTES,
                             .n_dims = field->cols == NONE ? 1 : 2,
                             .shape = {is_known ? rows : FKMPY_ANY, is_known ? cols : FKMPY_ANY},
                             .writes = true});
}

PyObject *fkmpy_model_get(PyObject *self, PyObject *args, PyObject *keywords)
{
    const char *name;
    PyObject *out;
    const struct field *field;
    fkm_model_info info;
    struct fkmpy_array array;
    struct fkmpy_use use;
    bool is_fine;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "sO:get", FKMPY_NAMES("name", "out"), &name, &out))
        return NULL;
    field = field_called(name);
    if (!field || !fkmpy_use_begin(&use, self, ANSWERS))
        return NULL;
    if (!fkmpy_use_describe(&use, &info) || !borrow_field(&array, out, field, &info)) {
        fkmpy_use_abandon(&use);
        return NULL;
    }
    fkmpy_use_work(&use, NULL);
    is_fine = fkmpy_use_end(&use, fill(use.model, field, array.data));
    fkmpy_array_release(&array);
    return is_fine ? Py_NewRef(Py_None) : NULL;
}

PyObject *fkmpy_model_centroids_csr(PyObject *self, PyObject *args, PyObject *keywords)
{
    PyObject *given[3] = {NULL, NULL, NULL};
    struct fkmpy_array arrays[3] = {0};
    fkm_model_info info;
    struct fkmpy_use use;
    bool is_fine;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|OO:centroids_csr",
                                     FKMPY_NAMES("indptr", "indices", "values"), &given[0], &given[1],
                                     &given[2]) ||
        !fkmpy_use_begin(&use, self, ANSWERS))
        return NULL;
    is_fine = fkmpy_use_describe(&use, &info);
    const struct fkmpy_want wanted[] = {{.name = "indptr",
                                         .dtypes = FKMPY_I64,
                                         .n_dims = 1,
                                         .shape = {is_fine && info.fitted ? info.k + 1 : FKMPY_ANY},
                                         .writes = true},
                                        {.name = "indices",
                                         .dtypes = FKMPY_I32,
                                         .n_dims = 1,
                                         .shape = {FKMPY_ANY},
                                         .writes = true,
                                         .may_be_absent = true},
                                        {.name = "values",
                                         .dtypes = FKMPY_F64,
                                         .n_dims = 1,
                                         .shape = {FKMPY_ANY},
                                         .writes = true,
                                         .may_be_absent = true}};
    for (int i = 0; is_fine && i < 3; i++)
        is_fine = fkmpy_array_borrow(&arrays[i], given[i], &wanted[i]);
    if (is_fine && arrays[1].data && arrays[2].data && arrays[1].shape[0] != arrays[2].shape[0]) {
        PyErr_Format(PyExc_ValueError, "indices has length %lld, values has length %lld",
                     (long long)arrays[1].shape[0], (long long)arrays[2].shape[0]);
        is_fine = false;
    }
    if (is_fine) {
        fkmpy_use_work(&use, NULL);
        is_fine =
            fkmpy_use_end(&use, fkm_model_centroids_csr(use.model, arrays[1].data ? arrays[1].shape[0] : 0,
                                                        (int64_t *)(void *)arrays[0].data,
                                                        (int32_t *)(void *)arrays[1].data,
                                                        (double *)(void *)arrays[2].data));
    } else {
        fkmpy_use_abandon(&use);
    }
    for (int i = 0; i < 3; i++)
        fkmpy_array_release(&arrays[i]);
    return is_fine ? Py_NewRef(Py_None) : NULL;
}

/* ---- history */

static PyObject *line_of(const struct fkmpy_use *use, int64_t index)
{
    fkm_history line = {.struct_size = sizeof line};
    const fkm_status status = fkm_model_history(use->model, index, &line);

    if (status != FKM_OK) {
        fkmpy_raise(use->state, status);
        return NULL;
    }
    return Py_BuildValue("{s:s,s:L,s:d,s:d,s:d,s:d,s:L}", "phase", line.phase, "epoch", (long long)line.epoch,
                         "loss", line.loss, "shift", line.shift, "eval", line.eval, "lr", line.lr, "k",
                         (long long)line.k);
}

PyObject *fkmpy_model_history(PyObject *self, PyObject *args, PyObject *keywords)
{
    long long begin = 0;
    fkm_model_info info;
    struct fkmpy_use use;
    PyObject *out;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|L:history", FKMPY_NAMES("begin"), &begin))
        return NULL;
    if (begin < 0)
        return PyErr_Format(PyExc_ValueError, "begin is %lld; it must be >= 0", begin);
    if (!fkmpy_use_begin(&use, self, ANSWERS))
        return NULL;
    out = fkmpy_use_describe(&use, &info) ? PyList_New(0) : NULL;
    for (int64_t i = begin; out && i < info.n_history; i++) {
        PyObject *line = line_of(&use, i);

        if (!line || PyList_Append(out, line) != 0)
            Py_CLEAR(out);
        Py_XDECREF(line);
    }
    fkmpy_use_abandon(&use);
    return out;
}
