/* model.c — Model: the type, its files, and what may be set beside learning.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model.h"

#include <string.h>

#include "arrays.h"
#include "context.h"
#include "errors.h"

/* ---- a method at work */

bool fkmpy_use_begin(struct fkmpy_use *use, PyObject *self, enum fkmpy_purpose purpose)
{
    use->self = (struct fkmpy_model *)self;
    use->model = use->self->model;
    use->state = fkmpy_state_of(Py_TYPE(self));
    return fkmpy_lock_take(&use->self->lock, &use->hold, purpose == LEARNS);
}

void fkmpy_use_abandon(struct fkmpy_use *use) { fkmpy_lock_give(&use->self->lock, &use->hold); }

void fkmpy_use_work(struct fkmpy_use *use, PyObject *progress)
{
    fkmpy_call_begin(&use->call, use->state, progress);
}

bool fkmpy_use_end(struct fkmpy_use *use, fkm_status status)
{
    const bool is_fine = fkmpy_call_end(&use->call, status);

    fkmpy_use_abandon(use);
    return is_fine;
}

bool fkmpy_use_describe(struct fkmpy_use *use, fkm_model_info *info)
{
    fkm_status status;

    *info = (fkm_model_info){.struct_size = sizeof *info};
    status = fkm_model_describe(use->model, info);
    if (status != FKM_OK)
        fkmpy_raise(use->state, status);
    return status == FKM_OK;
}

bool fkmpy_strategy_of(const char *name, fkm_strategy *strategy)
{
    static const char *const names[] = {"adaptive", "gap", "top_k"};

    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0) {
            *strategy = (fkm_strategy)i;
            return true;
        }
    PyErr_Format(PyExc_ValueError, "strategy is '%s'; valid: adaptive, gap, top_k", name);
    return false;
}

/* ---- making models */

/* Takes the model, also when it fails. */
static PyObject *wrap(const struct fkmpy_state *state, PyObject *context, fkm_model *model)
{
    struct fkmpy_model *self = (void *)PyType_GenericAlloc((PyTypeObject *)state->model_type, 0);

    if (!self) {
        fkm_model_free(model);
        return NULL;
    }
    self->model = model;
    Py_INCREF(context);
    self->context = context;
    fkmpy_lock_open(&self->lock);
    return (PyObject *)self;
}

static bool set_param(const struct fkmpy_state *state, PyObject *key, PyObject *value, fkm_params *params)
{
    const char *name, *text;
    Py_ssize_t n_name, n_text;
    fkm_status status;

    if (!PyUnicode_Check(key) || !PyUnicode_Check(value)) {
        PyErr_Format(PyExc_TypeError, "params holds %R: %R; names and values are text", key, value);
        return false;
    }
    name = PyUnicode_AsUTF8AndSize(key, &n_name);
    text = name ? PyUnicode_AsUTF8AndSize(value, &n_text) : NULL;
    if (!text)
        return false;
    if (strlen(name) != (size_t)n_name || strlen(text) != (size_t)n_text) {
        PyErr_Format(PyExc_ValueError, "params holds %R: %R with a null character", key, value);
        return false;
    }
    status = fkm_params_set(params, name, text);
    if (status != FKM_OK)
        fkmpy_raise(state, status);
    return status == FKM_OK;
}

static bool set_params(const struct fkmpy_state *state, PyObject *given, fkm_params *params)
{
    PyObject *dict = PyDict_Copy(given), *key, *value; /* nobody else writes to the copy */
    Py_ssize_t at = 0;
    bool is_fine = dict != NULL;

    while (is_fine && PyDict_Next(dict, &at, &key, &value))
        is_fine = set_param(state, key, value, params);
    Py_XDECREF(dict);
    return is_fine;
}

static PyObject *create(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    const struct fkmpy_state *state = fkmpy_state_of(type);
    PyObject *context, *dict;
    fkm_params params = FKM_PARAMS_INIT;
    fkm_context *home;
    fkm_model *model = NULL;
    fkm_status status;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO!:Model", FKMPY_NAMES("context", "params"), &context,
                                     &PyDict_Type, &dict))
        return NULL;
    home = fkmpy_context_of(context, state);
    if (!home || !set_params(state, dict, &params))
        return NULL;
    status = fkm_model_create(home, &params, &model);
    if (status != FKM_OK) {
        fkmpy_raise(state, status);
        return NULL;
    }
    return wrap(state, context, model);
}

static PyObject *load(PyObject *type, PyObject *args, PyObject *keywords)
{
    const struct fkmpy_state *state = fkmpy_state_of((PyTypeObject *)type);
    PyObject *context, *path;
    const char *text;
    fkm_context *home;
    fkm_model *model = NULL;
    struct fkmpy_call call;
    bool is_fine;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO&:load", FKMPY_NAMES("context", "path"), &context,
                                     PyUnicode_FSConverter, &path))
        return NULL;
    home = fkmpy_context_of(context, state);
    if (!home) {
        Py_DECREF(path);
        return NULL;
    }
    text = PyBytes_AsString(path);
    fkmpy_call_begin(&call, state, NULL);
    is_fine = fkmpy_call_end(&call, fkm_model_load(home, text, &model));
    Py_DECREF(path);
    return is_fine ? wrap(state, context, model) : (fkm_model_free(model), NULL);
}

PyObject *fkmpy_model_read(const struct fkmpy_state *state, PyObject *context, PyObject *data)
{
    fkm_context *home = fkmpy_context_of(context, state);
    fkm_model *model = NULL;
    struct fkmpy_call call;
    Py_buffer view;
    bool is_fine;

    if (!home || PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) != 0)
        return NULL;
    fkmpy_call_begin(&call, state, NULL);
    is_fine = fkmpy_call_end(&call, fkm_model_from_bytes(home, view.buf, (size_t)view.len, &model));
    PyBuffer_Release(&view);
    return is_fine ? wrap(state, context, model) : (fkm_model_free(model), NULL);
}

static PyObject *from_bytes(PyObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *context, *data;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO:from_bytes", FKMPY_NAMES("context", "data"),
                                     &context, &data))
        return NULL;
    return fkmpy_model_read(fkmpy_state_of((PyTypeObject *)type), context, data);
}

static PyObject *copy(PyObject *self, PyObject *ignored)
{
    struct fkmpy_use use;
    fkm_model *model = NULL;

    (void)ignored; /* the memo of __deepcopy__: nothing in a model is shared */
    if (!fkmpy_use_begin(&use, self, ANSWERS))
        return NULL;
    fkmpy_use_work(&use, NULL);
    if (!fkmpy_use_end(&use, fkm_model_copy(use.model, &model))) {
        fkm_model_free(model);
        return NULL;
    }
    return wrap(use.state, use.self->context, model);
}

/* ---- files */

static PyObject *save(PyObject *self, PyObject *args, PyObject *keywords)
{
    PyObject *path;
    const char *text;
    struct fkmpy_use use;
    bool is_fine;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&:save", FKMPY_NAMES("path"), PyUnicode_FSConverter,
                                     &path))
        return NULL;
    text = PyBytes_AsString(path);
    is_fine = fkmpy_use_begin(&use, self, ANSWERS);
    if (is_fine) {
        fkmpy_use_work(&use, NULL);
        is_fine = fkmpy_use_end(&use, fkm_model_save(use.model, text));
    }
    Py_DECREF(path);
    return is_fine ? Py_NewRef(Py_None) : NULL;
}

static PyObject *to_bytes(PyObject *self, PyObject *unused)
{
    struct fkmpy_use use;
    void *bytes = NULL;
    size_t size = 0;
    PyObject *out = NULL;

    (void)unused;
    if (!fkmpy_use_begin(&use, self, ANSWERS))
        return NULL;
    fkmpy_use_work(&use, NULL);
    if (fkmpy_use_end(&use, fkm_model_to_bytes(use.model, &bytes, &size)))
        out = PyBytes_FromStringAndSize(bytes, (Py_ssize_t)size);
    fkm_free(bytes);
    return out;
}

/* What a pickle holds is the model file, so loading one runs nothing but our reader. */
static PyObject *reduce(PyObject *self, PyObject *unused)
{
    PyObject *module = PyType_GetModule(Py_TYPE(self));
    PyObject *rebuild = module ? PyObject_GetAttrString(module, "_model_from_bytes") : NULL;
    PyObject *bytes = rebuild ? to_bytes(self, unused) : NULL;
    PyObject *out = NULL;

    if (bytes)
        out = Py_BuildValue("O(Oi)", rebuild, bytes,
                            fkmpy_context_threads_asked(((struct fkmpy_model *)self)->context));
    Py_XDECREF(bytes);
    Py_XDECREF(rebuild);
    return out;
}

/* ---- settings */

/* The end of every setter: what it borrowed goes back. */
static PyObject *set(PyObject *self, fkm_status (*setter)(fkm_model *model, const struct fkmpy_array *arrays),
                     struct fkmpy_array *arrays)
{
    struct fkmpy_use use;
    bool is_fine = fkmpy_use_begin(&use, self, LEARNS);

    if (is_fine) {
        fkmpy_use_work(&use, NULL);
        is_fine = fkmpy_use_end(&use, setter(use.model, arrays));
    }
    fkmpy_array_release(&arrays[0]);
    fkmpy_array_release(&arrays[1]);
    return is_fine ? Py_NewRef(Py_None) : NULL;
}

static fkm_status give_start(fkm_model *model, const struct fkmpy_array *arrays)
{
    const struct fkmpy_array *points = &arrays[0];
    const int64_t *labels = (const int64_t *)(void *)arrays[1].data;

    if (points->dtype == FKMPY_F64)
        return fkm_model_set_start_f64(model, (const double *)(void *)points->data, points->shape[0],
                                       points->shape[1], labels);
    return fkm_model_set_start(model, (const float *)(void *)points->data, points->shape[0], points->shape[1],
                               labels);
}

static PyObject *set_start(PyObject *self, PyObject *args, PyObject *keywords)
{
    PyObject *points, *labels = NULL;
    struct fkmpy_array arrays[2] = {0};

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|O:set_start", FKMPY_NAMES("points", "labels"),
                                     &points, &labels))
        return NULL;
    if (!fkmpy_array_borrow(&arrays[0], points,
                            &(struct fkmpy_want){.name = "points",
                                                 .dtypes = FKMPY_F32 | FKMPY_F64,
                                                 .n_dims = 2,
                                                 .shape = {FKMPY_ANY, FKMPY_ANY}}))
        return NULL;
    if (!fkmpy_array_borrow(&arrays[1], labels,
                            &(struct fkmpy_want){.name = "labels",
                                                 .dtypes = FKMPY_I64,
                                                 .n_dims = 1,
                                                 .shape = {arrays[0].shape[0]},
                                                 .may_be_absent = true})) {
        fkmpy_array_release(&arrays[0]);
        return NULL;
    }
    return set(self, give_start, arrays);
}

static fkm_status give_weights(fkm_model *model, const struct fkmpy_array *arrays)
{
    return fkm_model_set_feature_weights(model, (const double *)(void *)arrays[0].data, arrays[0].shape[0]);
}

static PyObject *set_feature_weights(PyObject *self, PyObject *args, PyObject *keywords)
{
    PyObject *weights;
    struct fkmpy_array arrays[2] = {0};

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O:set_feature_weights", FKMPY_NAMES("weights"),
                                     &weights))
        return NULL;
    if (!fkmpy_array_borrow(
            &arrays[0], weights,
            &(struct fkmpy_want){.name = "weights", .dtypes = FKMPY_F64, .n_dims = 1, .shape = {FKMPY_ANY}}))
        return NULL;
    return set(self, give_weights, arrays);
}

static fkm_status give_frozen(fkm_model *model, const struct fkmpy_array *arrays)
{
    return fkm_model_freeze(model, (const uint8_t *)arrays[0].data, arrays[0].shape[0]);
}

static PyObject *freeze(PyObject *self, PyObject *args, PyObject *keywords)
{
    PyObject *frozen = NULL;
    struct fkmpy_array arrays[2] = {0};

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|O:freeze", FKMPY_NAMES("frozen"), &frozen))
        return NULL;
    if (!fkmpy_array_borrow(&arrays[0], frozen,
                            &(struct fkmpy_want){.name = "frozen",
                                                 .dtypes = FKMPY_BYTES,
                                                 .n_dims = 1,
                                                 .shape = {FKMPY_ANY},
                                                 .may_be_absent = true}))
        return NULL;
    return set(self, give_frozen, arrays);
}

static PyObject *set_class_k(PyObject *self, PyObject *args, PyObject *keywords)
{
    long long label;
    int k;
    struct fkmpy_use use;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "Li:set_class_k", FKMPY_NAMES("label", "k"), &label, &k))
        return NULL;
    if (!fkmpy_use_begin(&use, self, LEARNS))
        return NULL;
    fkmpy_use_work(&use, NULL);
    return fkmpy_use_end(&use, fkm_model_set_class_k(use.model, label, k)) ? Py_NewRef(Py_None) : NULL;
}

static PyObject *change_param(PyObject *self, PyObject *args, PyObject *keywords)
{
    const char *name, *value;
    struct fkmpy_use use;
    PyObject *known;
    fkm_status status;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "ss:set_param", FKMPY_NAMES("name", "value"), &name,
                                     &value))
        return NULL;
    if (!fkmpy_use_begin(&use, self, LEARNS))
        return NULL;
    status = fkm_model_set_param(use.model, name, value);
    if (status != FKM_OK)
        fkmpy_raise(use.state, status);
    known = atomic_exchange(&use.self->params, NULL); /* describe() asks again */
    fkmpy_use_abandon(&use);
    Py_XDECREF(known);
    return status == FKM_OK ? Py_NewRef(Py_None) : NULL;
}

static PyObject *set_note(PyObject *self, PyObject *args, PyObject *keywords)
{
    const char *name, *value;
    struct fkmpy_use use;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "sz:set_note", FKMPY_NAMES("name", "value"), &name,
                                     &value))
        return NULL;
    if (!fkmpy_use_begin(&use, self, LEARNS))
        return NULL;
    fkmpy_use_work(&use, NULL);
    return fkmpy_use_end(&use, fkm_model_set_note(use.model, name, value)) ? Py_NewRef(Py_None) : NULL;
}

static PyObject *note(PyObject *self, PyObject *args, PyObject *keywords)
{
    const char *name, *value;
    struct fkmpy_use use;
    PyObject *out;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "s:note", FKMPY_NAMES("name"), &name))
        return NULL;
    if (!fkmpy_use_begin(&use, self, ANSWERS))
        return NULL;
    value = fkm_model_note(use.model, name);
    out = value ? PyUnicode_FromString(value) : Py_NewRef(Py_None);
    fkmpy_use_abandon(&use);
    return out;
}

/* ---- the type */

static int traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((struct fkmpy_model *)self)->context);
    return 0;
}

/* There is no tp_clear: neither a context nor a dict of text refers to more, so no cycle passes through a model. */
static void destroy(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    struct fkmpy_model *self = (struct fkmpy_model *)object;

    PyObject_GC_UnTrack(object);
    if (self->context) {
        fkmpy_lock_close(&self->lock);
        if (!self->lock.lost) /* else its memory may be in any state: better left to the end of the process */
            fkm_model_free(self->model);
    }
    Py_XDECREF(atomic_load(&self->params));
    Py_XDECREF(self->context);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

PyObject *fkmpy_model_type(PyObject *module)
{
    static PyMethodDef methods[] = {
        FKMPY_METHOD("load", load, FKMPY_KEYWORDS | METH_CLASS,
                     "load($type, context, path)\n--\n\nThe model in the file."),
        FKMPY_METHOD("from_bytes", from_bytes, FKMPY_KEYWORDS | METH_CLASS,
                     "from_bytes($type, context, data)\n--\n\nThe model of to_bytes()."),
        FKMPY_METHOD("save", save, FKMPY_KEYWORDS,
                     "save($self, path)\n--\n\nWrites the model file; readers see the old one or the new."),
        FKMPY_METHOD("to_bytes", to_bytes, METH_NOARGS,
                     "to_bytes($self)\n--\n\nThe bytes of the model file."),
        FKMPY_METHOD("copy", copy, METH_NOARGS,
                     "copy($self)\n--\n\nA model of its own, in the same context."),
        FKMPY_METHOD("__copy__", copy, METH_NOARGS, "__copy__($self)\n--\n\ncopy()"),
        FKMPY_METHOD("__deepcopy__", copy, METH_O, "__deepcopy__($self, memo)\n--\n\ncopy()"),
        FKMPY_METHOD(
            "__reduce__", reduce, METH_NOARGS,
            "__reduce__($self)\n--\n\nA pickle holds the bytes of the model file and the number of threads."),
        FKMPY_METHOD("set_start", set_start, FKMPY_KEYWORDS,
                     "set_start($self, points, labels=None)\n--\n\n"
                     "Before the first fit: starting prototypes, float32 or float64 k x dim, and their "
                     "labels, int64 k."),
        FKMPY_METHOD("set_feature_weights", set_feature_weights, FKMPY_KEYWORDS,
                     "set_feature_weights($self, weights)\n--\n\n"
                     "Before the first fit: weights of the features, float64 dim, normalised to sum dim."),
        FKMPY_METHOD("set_class_k", set_class_k, FKMPY_KEYWORDS,
                     "set_class_k($self, label, k)\n--\n\n"
                     "Before the first fit: prototypes of one class, overriding k_init."),
        FKMPY_METHOD("freeze", freeze, FKMPY_KEYWORDS,
                     "freeze($self, frozen=None)\n--\n\n"
                     "Frozen prototypes never move, merge or die. frozen: uint8 or bool, k; None: all."),
        FKMPY_METHOD("set_param", change_param, FKMPY_KEYWORDS,
                     "set_param($self, name, value)\n--\n\n"
                     "One parameter from now on, as text; RuntimeError when what was learned depends on it."),
        FKMPY_METHOD("set_note", set_note, FKMPY_KEYWORDS,
                     "set_note($self, name, value)\n--\n\n"
                     "Free text that the file keeps beside the model; None removes it."),
        FKMPY_METHOD("note", note, FKMPY_KEYWORDS, "note($self, name)\n--\n\nThe note, or None."),
        FKMPY_METHOD(
            "rows_of_texts", fkmpy_model_rows_of_texts, METH_O,
            "rows_of_texts($self, texts)\n--\n\n"
            "Sparse rows of a list of texts by the model's vectorizer: bytes of the values (float32), of "
            "indptr\n(int64) and of the indices (int32), and the number of columns; None when the model "
            "has no vectorizer."),
        FKMPY_METHOD("fit", fkmpy_model_fit, FKMPY_KEYWORDS,
                     "fit($self, batch, max_iters=100, tol=1e-4, eval=None, eval_fraction=0.0, "
                     "progress=None, nearest=None, "
                     "distance=None)\n--\n\n"
                     "Phase 1 on the whole of the data: seeding, then full passes; learns anew. True when "
                     "nearest (int64, n)\n"
                     "and distance (float64, n) hold what the method nearest would tell of the rows now."),
        FKMPY_METHOD(
            "fit_batch", fkmpy_model_fit_batch, FKMPY_KEYWORDS,
            "fit_batch($self, batch)\n--\n\n"
            "Phase 1 on one batch; may be called for ever. Returns the largest move of a prototype."),
        FKMPY_METHOD("last_merged", fkmpy_model_last_merged, METH_NOARGS,
                     "last_merged($self)\n--\n\nPrototypes merged or pruned by the last fit_batch."),
        FKMPY_METHOD("gradient_step", fkmpy_model_gradient_step, FKMPY_KEYWORDS,
                     "gradient_step($self, batch)\n--\n\n"
                     "Phase 2 on the batch as it is: one Adam step. Returns the loss before the step."),
        FKMPY_METHOD(
            "finetune", fkmpy_model_finetune, FKMPY_KEYWORDS,
            "finetune($self, batch, epochs=10, lr=0.0, search=False, early_stopping_rounds=0, eval=None, "
            "eval_fraction=0.0, progress=None)\n--\n\n"
            "Phase 2 over epochs of shuffled mini-batches. lr 0: the parameter learning_rate, else the\n"
            "search if it is asked for."),
        FKMPY_METHOD("find_learning_rate", fkmpy_model_find_learning_rate, FKMPY_KEYWORDS,
                     "find_learning_rate($self, batch)\n--\n\n"
                     "Learning-rate search on a copy; its curve is in the history."),
        FKMPY_METHOD("feature_importance", fkmpy_model_feature_importance, FKMPY_KEYWORDS,
                     "feature_importance($self, batch, out)\n--\n\n"
                     "ANOVA importance of each feature, summing to dim; out: float64 dim."),
        FKMPY_METHOD(
            "fit_source", fkmpy_model_fit_source, FKMPY_KEYWORDS,
            "fit_source($self, source, epochs=1, gradient_step=False, checkpoint=None, checkpoint_batches=0, "
            "resume=False, progress=None)\n--\n\n"
            "Learns from a Source batch by batch; its position is part of the model."),
        FKMPY_METHOD(
            "predict_labels", fkmpy_model_predict_labels, FKMPY_KEYWORDS,
            "predict_labels($self, batch, out)\n--\n\n"
            "Clusterer: nearest prototype; classifier: label of the most probable class. out: int64 n."),
        FKMPY_METHOD("predict_proba", fkmpy_model_predict_proba, FKMPY_KEYWORDS,
                     "predict_proba($self, batch, out)\n--\n\nClassifier and multi-label; out: float32 n x "
                     "n_classes."),
        FKMPY_METHOD(
            "predict_top", fkmpy_model_predict_top, FKMPY_KEYWORDS,
            "predict_top($self, batch, m, labels, proba)\n--\n\nClassifier and multi-label: the m most "
            "probable, best first; labels: int64 n x m, proba: float32 n x m."),
        FKMPY_METHOD("predict_tags", fkmpy_model_predict_tags, FKMPY_KEYWORDS,
                     "predict_tags($self, batch, strategy, top_k, out)\n--\n\n"
                     "Multi-label; strategy: 'adaptive', 'gap' or 'top_k'; out: uint8 n x n_classes."),
        FKMPY_METHOD("predict_values", fkmpy_model_predict_values, FKMPY_KEYWORDS,
                     "predict_values($self, batch, out)\n--\n\nRegressor; out: float64 n x n_targets."),
        FKMPY_METHOD(
            "nearest", fkmpy_model_nearest, FKMPY_KEYWORDS,
            "nearest($self, batch, top_k, index=None, distance=None, routing=None)\n--\n\n"
            "The top_k nearest prototypes of each row, nearest first; index: int64, distance and routing:\n"
            "float64, each n x top_k; missing places hold -1, inf, 0."),
        FKMPY_METHOD(
            "transform", fkmpy_model_transform, FKMPY_KEYWORDS,
            "transform($self, batch, out)\n--\n\nSimilarities to every prototype; out: float32 n x k."),
        FKMPY_METHOD("scores", fkmpy_model_scores, FKMPY_KEYWORDS,
                     "scores($self, batch, strategy='adaptive', top_k=1)\n--\n\n"
                     "Scores on rows with targets, as a dict; NaN where one does not fit the task."),
        FKMPY_METHOD("describe", fkmpy_model_describe, METH_NOARGS,
                     "describe($self)\n--\n\nParameters (text), shape and counters of the model, as a dict."),
        FKMPY_METHOD("get", fkmpy_model_get, FKMPY_KEYWORDS,
                     "get($self, name, out)\n--\n\n"
                     "Fills out with the array called name: centroids, centroid_weights, centroid_ages,\n"
                     "centroid_labels, centroid_targets, centroid_gradients, centroid_routing, frozen,\n"
                     "feature_weights, classes, tag_scores."),
        FKMPY_METHOD(
            "centroids_csr", fkmpy_model_centroids_csr, FKMPY_KEYWORDS,
            "centroids_csr($self, indptr, indices=None, values=None)\n--\n\n"
            "Centroids without zeros: fills indptr (int64 k + 1) alone, then, with arrays of indptr[k]\n"
            "places, indices (int32) and values (float64) too."),
        FKMPY_METHOD("history", fkmpy_model_history, FKMPY_KEYWORDS,
                     "history($self, begin=0)\n--\n\n"
                     "Lines of the history from line `begin` on, oldest first, as dicts."),
        {NULL, NULL, 0, NULL},
    };
    PyType_Slot slots[] = {
        {Py_tp_doc,
         "Model(context, params)\n--\n\n"
         "One model of any task; params: names and values of the table, as text, with 'task' among them.\n\n"
         "predict and its kin: any number of threads; a call that learns waits for them, and they for it.\n"
         "A call from inside a progress callback of the same model is a RuntimeError."},
        {Py_tp_new, create},
        {Py_tp_dealloc, destroy},
        {Py_tp_traverse, traverse},
        {Py_tp_methods, methods},
        {0, NULL},
    };
    PyType_Spec spec = {.name = "fast_kmeans._core.Model",
                        .basicsize = sizeof(struct fkmpy_model),
                        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
                        .slots = slots};

    return PyType_FromModuleAndSpec(module, &spec, NULL);
}
