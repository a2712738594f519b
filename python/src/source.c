/* source.c — Source: rows from files, Arrow streams and iterators, and learning from them.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batches.h"
#include "errors.h"
#include "model.h"

#define CAPSULE        "arrow_array_stream"
#define POSITION_BYTES 256

struct fkmpy_source {
    PyObject_HEAD fkm_source *source; /* NULL once closed by the garbage collector */
    struct fkmpy_batches batches;     /* its self, if it comes from an iterator */
    atomic_bool busy;
};

/* ---- one call at a time */

static bool take(struct fkmpy_source *self)
{
    if (!self->source) {
        PyErr_SetString(PyExc_RuntimeError, "the source is closed");
        return false;
    }
    if (atomic_exchange(&self->busy, true)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the source is in use by another call, or by the one that asks it for rows");
        return false;
    }
    return true;
}

static void give(struct fkmpy_source *self) { atomic_store(&self->busy, false); }

/* Takes the source and gives the GIL away; fkmpy_call_end and give() end it. */
static bool begin(struct fkmpy_source *self, struct fkmpy_call *call)
{
    if (!take(self))
        return false;
    self->batches.call = call;
    fkmpy_call_begin(call, fkmpy_state_of(Py_TYPE((PyObject *)self)), NULL);
    return true;
}

static bool end(struct fkmpy_source *self, struct fkmpy_call *call, fkm_status status)
{
    const bool is_fine = fkmpy_call_end(call, status);

    self->batches.call = NULL;
    give(self);
    return is_fine;
}

/* ---- options */

/* The place of a word in names, which ends with NULL; false with ValueError. */
static bool choose(const char *what, const char *word, const char *const *names, int *place)
{
    char valid[80] = "";

    for (*place = 0; names[*place]; ++*place) {
        const size_t used = strlen(valid);

        if (strcmp(word, names[*place]) == 0)
            return true;
        snprintf(valid + used, sizeof valid - used, "%s%s", used ? ", " : "", names[*place]);
    }
    PyErr_Format(PyExc_ValueError, "%s is '%s'; valid: %s", what, word, valid);
    return false;
}

/* What the callers say as words. */
struct words {
    const char *task, *format, *missing, *dtype;
};

static bool set_words(const struct words *words, fkm_source_options *options)
{
    static const char *const tasks[] = {"clusterer", "classifier", "multilabel", "regressor", NULL};
    static const char *const formats[] = {"auto", "csv", "tsv", "libsvm", "npy", NULL};
    static const char *const missing[] = {"error", "mask", NULL};
    static const char *const dtypes[] = {"float32", "float64", NULL};
    int task, format, meaning, dtype;

    if (!words->task) {
        PyErr_SetString(PyExc_TypeError, "the keyword argument task is missing");
        return false;
    }
    if (!choose("task", words->task, tasks, &task) || !choose("format", words->format, formats, &format) ||
        !choose("missing", words->missing, missing, &meaning) ||
        !choose("dtype", words->dtype, dtypes, &dtype))
        return false;
    options->task = (fkm_task)task;
    options->format = (fkm_format)format;
    options->missing = (fkm_missing)meaning;
    options->dtype = dtype == 0 ? FKM_DTYPE_F32 : FKM_DTYPE_F64;
    return true;
}

/* Text that C can hold; NULL with an exception. Lives as long as the object. */
static const char *text_of(PyObject *object, const char *what)
{
    Py_ssize_t length;
    const char *text;

    if (!PyUnicode_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s holds %R; it must be text", what, object);
        return NULL;
    }
    text = PyUnicode_AsUTF8AndSize(object, &length);
    if (text && strlen(text) != (size_t)length) {
        PyErr_Format(PyExc_ValueError, "%s holds %R with a null character", what, object);
        return NULL;
    }
    return text;
}

/* Names of classes, borrowed from a tuple that keeps them. */
struct class_names {
    PyObject *tuple;
    const char **texts;
};

static void class_names_release(struct class_names *names)
{
    Py_CLEAR(names->tuple);
    free(names->texts);
    names->texts = NULL;
}

static bool class_names_borrow(struct class_names *names, PyObject *given, fkm_source_options *options)
{
    Py_ssize_t n;

    if (!given || given == Py_None)
        return true;
    if (PyUnicode_Check(given)) {
        PyErr_SetString(PyExc_TypeError, "class_names is one text; it must be a list of them");
        return false;
    }
    names->tuple = PySequence_Tuple(given);
    if (!names->tuple)
        return false;
    n = PyTuple_Size(names->tuple);
    names->texts = malloc((size_t)(n + 1) * sizeof *names->texts);
    if (!names->texts) {
        PyErr_NoMemory();
        return false;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        names->texts[i] = text_of(PyTuple_GetItem(names->tuple, i), "class_names");
        if (!names->texts[i])
            return false;
    }
    options->class_names = names->texts;
    options->n_class_names = n;
    return true;
}

/* None leaves NULL: a converter like PyUnicode_FSConverter. Columns are names too: files and tables are named alike. */
static int path_or_none(PyObject *object, void *out)
{
    if (!object) { /* cleaning up */
        Py_CLEAR(*(PyObject **)out);
        return 1;
    }
    if (object == Py_None) {
        *(PyObject **)out = NULL;
        return 1;
    }
    return PyUnicode_FSConverter(object, out);
}

static const char *text_or_null(PyObject *bytes) { return bytes ? PyBytes_AsString(bytes) : NULL; }

/* ---- making sources */

static struct fkmpy_source *make(PyObject *type)
{
    struct fkmpy_source *self = (void *)PyType_GenericAlloc((PyTypeObject *)type, 0);

    if (self)
        atomic_init(&self->busy, false);
    return self;
}

static PyObject *made(struct fkmpy_source *self, bool is_fine)
{
    if (!is_fine)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static PyObject *open_path(PyObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *path = NULL, *target = NULL, *weight = NULL, *given = NULL;
    struct words words = {NULL, "auto", "mask", "float32"};
    fkm_source_options options = FKM_SOURCE_OPTIONS_INIT;
    struct class_names names = {0};
    struct fkmpy_source *self = NULL;
    struct fkmpy_call call;
    const char *text;
    long long n_cols = 0;
    bool is_fine = false;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&|$sO&O&siLissO:open",
                                     FKMPY_NAMES("path", "task", "target", "weight", "format", "header",
                                                 "n_cols", "index_base", "missing", "dtype", "class_names"),
                                     PyUnicode_FSConverter, &path, &words.task, path_or_none, &target,
                                     path_or_none, &weight, &words.format, &options.header, &n_cols,
                                     &options.index_base, &words.missing, &words.dtype, &given))
        return NULL;
    options.target = text_or_null(target);
    options.weight = text_or_null(weight);
    options.n_cols = n_cols;
    if (set_words(&words, &options) && class_names_borrow(&names, given, &options))
        self = make(type);
    if (self) {
        text = PyBytes_AsString(path);
        fkmpy_call_begin(&call, fkmpy_state_of((PyTypeObject *)type), NULL);
        is_fine = fkmpy_call_end(&call, fkm_source_open(text, &options, &self->source));
    }
    class_names_release(&names);
    Py_XDECREF(weight);
    Py_XDECREF(target);
    Py_DECREF(path);
    return made(self, is_fine);
}

/* The capsule of a stream, which may be the object itself; a new reference. */
static PyObject *capsule_of(PyObject *object)
{
    PyObject *export, *capsule;

    if (PyCapsule_CheckExact(object)) {
        capsule = Py_NewRef(object);
    } else {
        export = PyObject_GetAttrString(object, "__arrow_c_stream__");
        if (!export && PyErr_ExceptionMatches(PyExc_AttributeError))
            PyErr_Format(PyExc_TypeError, "stream must have __arrow_c_stream__ or be such a capsule, not %R",
                         (PyObject *)Py_TYPE(object));
        capsule = export ? PyObject_CallNoArgs(export) : NULL;
        Py_XDECREF(export);
    }
    if (capsule && !PyCapsule_IsValid(capsule, CAPSULE)) {
        PyErr_Format(PyExc_TypeError, "%R is no capsule of the name '" CAPSULE "'", capsule);
        Py_CLEAR(capsule);
    }
    return capsule;
}

static PyObject *from_arrow(PyObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *stream, *target = NULL, *weight = NULL, *given = NULL, *capsule = NULL;
    struct words words = {NULL, "auto", "mask", "float32"};
    fkm_source_options options = FKM_SOURCE_OPTIONS_INIT;
    struct class_names names = {0};
    struct fkmpy_source *self = NULL;
    struct fkmpy_call call;
    struct ArrowArrayStream *moved;
    bool is_fine = false;

    if (!PyArg_ParseTupleAndKeywords(
            args, keywords, "O|$sO&O&ssO:from_arrow",
            FKMPY_NAMES("stream", "task", "target", "weight", "missing", "dtype", "class_names"), &stream,
            &words.task, path_or_none, &target, path_or_none, &weight, &words.missing, &words.dtype, &given))
        return NULL;
    options.target = text_or_null(target);
    options.weight = text_or_null(weight);
    if (set_words(&words, &options) && class_names_borrow(&names, given, &options))
        capsule = capsule_of(stream);
    if (capsule)
        self = make(type);
    if (self) { /* the stream moves out of the capsule, which is then empty */
        moved = PyCapsule_GetPointer(capsule, CAPSULE);
        fkmpy_call_begin(&call, fkmpy_state_of((PyTypeObject *)type), NULL);
        is_fine = fkmpy_call_end(&call, fkm_source_from_arrow(moved, &options, &self->source));
    }
    Py_XDECREF(capsule);
    class_names_release(&names);
    Py_XDECREF(weight);
    Py_XDECREF(target);
    return made(self, is_fine);
}

static PyObject *from_batches(PyObject *type, PyObject *args, PyObject *keywords)
{
    const struct fkmpy_state *state = fkmpy_state_of((PyTypeObject *)type);
    PyObject *start, *names = NULL;
    int again = 1;
    struct fkmpy_source *self;
    fkm_status status;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|pO:from_batches",
                                     FKMPY_NAMES("start", "again", "class_names"), &start, &again, &names))
        return NULL;
    if (names && names != Py_None && !PyList_Check(names)) {
        PyErr_Format(PyExc_TypeError, "class_names must be a list, not %R", (PyObject *)Py_TYPE(names));
        return NULL;
    }
    if (!PyCallable_Check(start)) {
        PyErr_Format(PyExc_TypeError, "start must be callable, not %R", (PyObject *)Py_TYPE(start));
        return NULL;
    }
    self = make(type);
    if (!self)
        return NULL;
    self->batches.start = Py_NewRef(start);
    self->batches.again = again;
    if (names && names != Py_None)
        self->batches.class_names = Py_NewRef(names);
    status = fkm_source_create(&fkmpy_batches_functions, &self->batches, &self->source);
    if (status != FKM_OK)
        fkmpy_raise(state, status);
    return made(self, status == FKM_OK);
}

/* ---- rows as Python sees them: copies, so that they may be kept */

static PyObject *view_of(const void *data, int64_t n_items, size_t item, const char *format)
{
    PyObject *bytes = PyBytes_FromStringAndSize(data, n_items * (Py_ssize_t)item);
    PyObject *plain = bytes ? PyMemoryView_FromObject(bytes) : NULL;
    PyObject *view = plain ? PyObject_CallMethod(plain, "cast", "s", format) : NULL;

    Py_XDECREF(plain);
    Py_XDECREF(bytes);
    return view;
}

static PyObject *table_of(const void *data, int64_t n_rows, int64_t n_cols, size_t item, const char *format)
{
    PyObject *bytes = PyBytes_FromStringAndSize(data, n_rows * n_cols * (Py_ssize_t)item);
    PyObject *plain = bytes ? PyMemoryView_FromObject(bytes) : NULL;
    PyObject *view =
        plain ? PyObject_CallMethod(plain, "cast", "s(LL)", format, (long long)n_rows, (long long)n_cols)
              : NULL;

    Py_XDECREF(plain);
    Py_XDECREF(bytes);
    return view;
}

/* How a dtype is named and viewed; memoryviews know no halves, so theirs are bits. */
static const struct {
    const char *name, *format;
    size_t bytes;
} dtypes[] = {[FKM_DTYPE_F32] = {"float32", "f", 4},
              [FKM_DTYPE_F16] = {"float16", "H", 2},
              [FKM_DTYPE_BF16] = {"bfloat16", "H", 2},
              [FKM_DTYPE_F64] = {"float64", "d", 8}};

static PyObject *dense_rows(const fkm_batch *batch)
{
    const int64_t stride = batch->row_stride ? batch->row_stride : batch->n_cols;
    const size_t item = dtypes[batch->dtype].bytes, row = (size_t)batch->n_cols * item;
    PyObject *rows;
    char *packed;

    if (stride == batch->n_cols)
        return table_of(batch->x, batch->n_rows, batch->n_cols, item, dtypes[batch->dtype].format);
    packed = malloc((size_t)batch->n_rows * row + 1);
    if (!packed)
        return PyErr_NoMemory();
    for (int64_t i = 0; i < batch->n_rows; i++)
        memcpy(packed + (size_t)i * row, (const char *)batch->x + (size_t)(i * stride) * item, row);
    rows = table_of(packed, batch->n_rows, batch->n_cols, item, dtypes[batch->dtype].format);
    free(packed);
    return rows;
}

static PyObject *sparse_rows(const fkm_batch *batch)
{
    const int64_t n = batch->indptr[batch->n_rows];

    return Py_BuildValue("(NNNL)",
                         view_of(batch->values, n, dtypes[batch->dtype].bytes, dtypes[batch->dtype].format),
                         view_of(batch->indptr, batch->n_rows + 1, sizeof(int64_t), "q"),
                         view_of(batch->indices, n, sizeof(int32_t), "i"), (long long)batch->n_cols);
}

static PyObject *tags_of(const fkm_batch *batch)
{
    return Py_BuildValue("(NNL)", view_of(batch->tag_indptr, batch->n_rows + 1, sizeof(int64_t), "q"),
                         view_of(batch->tags, batch->tag_indptr[batch->n_rows], sizeof(int32_t), "i"),
                         (long long)batch->n_tags);
}

static PyObject *none(void) { return Py_NewRef(Py_None); }

static PyObject *dict_of(const fkm_batch *batch)
{
    const int64_t n = batch->n_rows;

    return Py_BuildValue(
        "{s:s,s:N,s:N,s:N,s:N,s:N,s:N,s:N}", "dtype", dtypes[batch->dtype].name, "x",
        batch->x ? dense_rows(batch) : none(), "csr", batch->x ? none() : sparse_rows(batch), "weight",
        batch->weight ? view_of(batch->weight, n, sizeof(float), "f") : none(), "mask",
        batch->mask ? table_of(batch->mask, n, batch->n_cols, sizeof(float), "f") : none(), "labels",
        batch->labels ? view_of(batch->labels, n, sizeof(int64_t), "q") : none(), "tags",
        batch->tag_indptr ? tags_of(batch) : none(), "targets",
        batch->targets ? table_of(batch->targets, n, batch->n_targets, sizeof(double), "d") : none());
}

static PyObject *next_rows(PyObject *object, PyObject *args, PyObject *keywords)
{
    struct fkmpy_source *self = (struct fkmpy_source *)object;
    struct fkmpy_call call;
    fkm_batch batch;
    long long max_rows;
    PyObject *rows = NULL;
    bool is_fine;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "L:next", FKMPY_NAMES("max_rows"), &max_rows) ||
        !begin(self, &call))
        return NULL;
    is_fine = fkmpy_call_end(&call, fkm_source_next(self->source, max_rows, &batch));
    self->batches.call = NULL;
    if (is_fine)
        rows = batch.n_rows > 0 ? dict_of(&batch) : none();
    give(self); /* now the memory of the rows may change */
    return rows;
}

/* ---- places and words */

static PyObject *tell(PyObject *object, PyObject *unused)
{
    struct fkmpy_source *self = (struct fkmpy_source *)object;
    char position[POSITION_BYTES];
    struct fkmpy_call call;

    (void)unused;
    if (!begin(self, &call) || !end(self, &call, fkm_source_tell(self->source, position, sizeof position)))
        return NULL;
    return PyUnicode_FromString(position);
}

static PyObject *seek(PyObject *object, PyObject *args, PyObject *keywords)
{
    struct fkmpy_source *self = (struct fkmpy_source *)object;
    const char *position = NULL;
    struct fkmpy_call call;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|z:seek", FKMPY_NAMES("position"), &position) ||
        !begin(self, &call) || !end(self, &call, fkm_source_seek(self->source, position)))
        return NULL;
    return none();
}

static PyObject *class_names(PyObject *object, PyObject *unused)
{
    struct fkmpy_source *self = (struct fkmpy_source *)object;
    PyObject *list;

    (void)unused;
    if (!take(self))
        return NULL;
    list = PyList_New(0);
    for (int64_t i = 0; list && i < fkm_source_class_count(self->source); i++) {
        PyObject *name = PyUnicode_FromString(fkm_source_class_name(self->source, i));

        if (!name || PyList_Append(list, name) != 0)
            Py_CLEAR(list);
        Py_XDECREF(name);
    }
    give(self);
    return list;
}

static PyObject *column_name(PyObject *object, PyObject *args, PyObject *keywords)
{
    struct fkmpy_source *self = (struct fkmpy_source *)object;
    PyObject *text;
    const char *name;
    long long index;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "L:column_name", FKMPY_NAMES("index"), &index) ||
        !take(self))
        return NULL;
    name = fkm_source_column_name(self->source, index);
    text = name ? PyUnicode_FromString(name) : none();
    give(self);
    return text;
}

static PyObject *note(PyObject *object, PyObject *unused)
{
    struct fkmpy_source *self = (struct fkmpy_source *)object;
    PyObject *text;

    (void)unused;
    if (!take(self))
        return NULL;
    text = PyUnicode_DecodeFSDefault(fkm_source_note(self->source)); /* a path in it may be any bytes */
    give(self);
    return text;
}

/* ---- learning */

PyObject *fkmpy_model_fit_source(PyObject *self, PyObject *args, PyObject *keywords)
{
    PyObject *object, *checkpoint = NULL, *progress = NULL;
    fkm_stream_options options = FKM_STREAM_OPTIONS_INIT;
    long long epochs = 1, checkpoint_batches = 0;
    int gradient_step = 0, resume = 0;
    struct fkmpy_source *source;
    struct fkmpy_use use;
    bool is_fine = false;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|LpO&LpO:fit_source",
                                     FKMPY_NAMES("source", "epochs", "gradient_step", "checkpoint",
                                                 "checkpoint_batches", "resume", "progress"),
                                     &object, &epochs, &gradient_step, path_or_none, &checkpoint,
                                     &checkpoint_batches, &resume, &progress))
        return NULL;
    options.epochs = epochs;
    options.gradient_step = gradient_step;
    options.checkpoint = text_or_null(checkpoint);
    options.checkpoint_batches = checkpoint_batches;
    options.resume = resume;
    source = (struct fkmpy_source *)object;
    if (Py_TYPE(object) != (PyTypeObject *)fkmpy_state_of(Py_TYPE(self))->source_type)
        PyErr_Format(PyExc_TypeError, "source must be a Source, not %R", (PyObject *)Py_TYPE(object));
    else if (fkmpy_is_progress(progress) && take(source)) {
        if (fkmpy_use_begin(&use, self, LEARNS)) {
            source->batches.call = &use.call;
            fkmpy_use_work(&use, progress);
            options.progress = fkmpy_call_progress(&use.call);
            options.user = &use.call;
            is_fine = fkmpy_use_end(&use, fkm_model_fit_source(use.model, source->source, &options));
            source->batches.call = NULL;
        }
        give(source);
    }
    Py_XDECREF(checkpoint);
    return is_fine ? none() : NULL;
}

/* ---- the type */

static int traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    return fkmpy_batches_visit(&((const struct fkmpy_source *)object)->batches, visit, arg);
}

/* A stream that is released may need Python, on this thread or on its own. */
static int clear(PyObject *object)
{
    struct fkmpy_source *self = (struct fkmpy_source *)object;
    fkm_source *source = self->source;
    PyObject *type, *value, *trace;

    PyErr_Fetch(&type, &value, &trace);
    self->source = NULL;
    Py_BEGIN_ALLOW_THREADS fkm_source_close(source);
    Py_END_ALLOW_THREADS fkmpy_batches_clear(&self->batches);
    PyErr_Restore(type, value, trace);
    return 0;
}

static void destroy(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    clear(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

PyObject *fkmpy_source_type(PyObject *module)
{
    static PyMethodDef methods[] = {
        FKMPY_METHOD(
            "open", open_path, FKMPY_KEYWORDS | METH_CLASS,
            "open($type, path, *, task, target=None, weight=None, format='auto', header=-1, n_cols=0,\n"
            "     index_base=-1, missing='mask', dtype='float32', class_names=None)\n--\n\n"
            "Rows of a file; '-' is standard input."),
        FKMPY_METHOD(
            "from_arrow", from_arrow, FKMPY_KEYWORDS | METH_CLASS,
            "from_arrow($type, stream, *, task, target=None, weight=None, missing='mask', dtype='float32',\n"
            "           class_names=None)\n--\n\n"
            "Rows of an Arrow stream of record batches: an object with __arrow_c_stream__, or such a "
            "capsule."),
        FKMPY_METHOD(
            "from_batches", from_batches, FKMPY_KEYWORDS | METH_CLASS,
            "from_batches($type, start, again=True, class_names=None)\n--\n\n"
            "Rows of the Batch objects that the iterator start() gives; again: start may be called again; "
            "class_names: a list of the labels' names, which may grow with the batches."),
        FKMPY_METHOD("next", next_rows, FKMPY_KEYWORDS,
                     "next($self, max_rows)\n--\n\nThe next rows, copied; None at the end."),
        FKMPY_METHOD("tell", tell, METH_NOARGS, "tell($self)\n--\n\nThe position of the next row, as text."),
        FKMPY_METHOD("seek", seek, FKMPY_KEYWORDS,
                     "seek($self, position=None)\n--\n\nTo a position of tell(); None: to the start."),
        FKMPY_METHOD("class_names", class_names, METH_NOARGS,
                     "class_names($self)\n--\n\nNames of the classes or tags seen so far, by number."),
        FKMPY_METHOD("column_name", column_name, FKMPY_KEYWORDS,
                     "column_name($self, index)\n--\n\nThe name of a feature, or None."),
        FKMPY_METHOD("note", note, METH_NOARGS, "note($self)\n--\n\nWhat the source decided by looking."),
        {NULL, NULL, 0, NULL},
    };
    PyType_Slot slots[] = {
        {Py_tp_doc, "Where rows come from; one thread. Made by open(), from_arrow() or from_batches()."},
        {Py_tp_dealloc, destroy},
        {Py_tp_traverse, traverse},
        {Py_tp_clear, clear},
        {Py_tp_methods, methods},
        {0, NULL},
    };
    PyType_Spec spec = {.name = "fast_kmeans._core.Source",
                        .basicsize = sizeof(struct fkmpy_source),
                        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
                                 Py_TPFLAGS_DISALLOW_INSTANTIATION,
                        .slots = slots};

    return PyType_FromModuleAndSpec(module, &spec, NULL);
}
