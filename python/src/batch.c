/* batch.c — Batch: rows with optional targets, weights and mask, borrowed for the life of the object.
 * SPDX-License-Identifier: Apache-2.0 */
#include "batch.h"

#include "arrays.h"

enum { X, VALUES, INDPTR, INDICES, WEIGHT, MASK, LABELS, TAG_INDPTR, TAGS, TARGETS, N_ARRAYS };

struct fkmpy_batch {
    PyObject_HEAD struct fkmpy_array arrays[N_ARRAYS];
    fkm_batch batch;
};

/* ---- borrowing */

static fkm_dtype dtype_of(const struct fkmpy_array *array)
{
    switch (array->dtype) {
    case FKMPY_F16:
        return FKM_DTYPE_F16;
    case FKMPY_BF16:
        return FKM_DTYPE_BF16;
    case FKMPY_F64:
        return FKM_DTYPE_F64;
    default:
        return FKM_DTYPE_F32;
    }
}

/* What the pair (offsets of rows, entries) promises; checked at each call, since others may write to the arrays. */
static bool check_offsets(const struct fkmpy_array *indptr, const struct fkmpy_array *entries,
                          const char *name)
{
    const int64_t end = ((const int64_t *)(void *)indptr->data)[indptr->shape[0] - 1];

    if (end <= entries->shape[0])
        return true;
    PyErr_Format(PyExc_ValueError, "%s ends at %lld, but there are %lld entries", name, (long long)end,
                 (long long)entries->shape[0]);
    return false;
}

static bool borrow_dense(struct fkmpy_batch *self, PyObject *x)
{
    struct fkmpy_array *array = &self->arrays[X];

    if (!fkmpy_array_borrow(array, x,
                            &(struct fkmpy_want){.name = "x",
                                                 .dtypes = FKMPY_REALS,
                                                 .n_dims = 2,
                                                 .shape = {FKMPY_ANY, FKMPY_ANY},
                                                 .strided_rows = true}))
        return false;
    self->batch.n_rows = array->shape[0];
    self->batch.n_cols = array->shape[1];
    self->batch.dtype = dtype_of(array);
    self->batch.x = array->data;
    self->batch.row_stride = array->stride[0];
    return true;
}

static bool borrow_sparse(struct fkmpy_batch *self, PyObject *csr)
{
    struct fkmpy_array *values = &self->arrays[VALUES], *indptr = &self->arrays[INDPTR],
                       *indices = &self->arrays[INDICES];
    PyObject *parts[3];
    long long n_cols;

    if (!PyTuple_Check(csr)) {
        PyErr_Format(PyExc_TypeError, "csr must be a tuple (values, indptr, indices, n_cols), not %R",
                     (PyObject *)Py_TYPE(csr));
        return false;
    }
    if (!PyArg_ParseTuple(csr, "OOOL;csr must be (values, indptr, indices, n_cols)", &parts[0], &parts[1],
                          &parts[2], &n_cols))
        return false;
    if (!fkmpy_array_borrow(
            values, parts[0],
            &(struct fkmpy_want){
                .name = "csr values", .dtypes = FKMPY_REALS, .n_dims = 1, .shape = {FKMPY_ANY}}) ||
        !fkmpy_array_borrow(
            indptr, parts[1],
            &(struct fkmpy_want){
                .name = "csr indptr", .dtypes = FKMPY_I64, .n_dims = 1, .shape = {FKMPY_ANY}}) ||
        !fkmpy_array_borrow(
            indices, parts[2],
            &(struct fkmpy_want){
                .name = "csr indices", .dtypes = FKMPY_I32, .n_dims = 1, .shape = {values->shape[0]}}))
        return false;
    if (indptr->shape[0] < 1) {
        PyErr_SetString(PyExc_ValueError, "csr indptr is empty; it has one entry more than there are rows");
        return false;
    }
    self->batch.n_rows = indptr->shape[0] - 1;
    self->batch.n_cols = n_cols;
    self->batch.dtype = dtype_of(values);
    self->batch.values = values->data;
    self->batch.indptr = (const int64_t *)(void *)indptr->data;
    self->batch.indices = (const int32_t *)(void *)indices->data;
    return true;
}

static bool borrow_tags(struct fkmpy_batch *self, PyObject *tags)
{
    struct fkmpy_array *indptr = &self->arrays[TAG_INDPTR], *entries = &self->arrays[TAGS];
    PyObject *parts[2];
    long long n_tags;

    if (!tags || tags == Py_None)
        return true;
    if (!PyTuple_Check(tags)) {
        PyErr_Format(PyExc_TypeError, "tags must be a tuple (indptr, tags, n_tags), not %R",
                     (PyObject *)Py_TYPE(tags));
        return false;
    }
    if (!PyArg_ParseTuple(tags, "OOL;tags must be (indptr, tags, n_tags)", &parts[0], &parts[1], &n_tags))
        return false;
    if (!fkmpy_array_borrow(indptr, parts[0],
                            &(struct fkmpy_want){.name = "tags indptr",
                                                 .dtypes = FKMPY_I64,
                                                 .n_dims = 1,
                                                 .shape = {self->batch.n_rows + 1}}) ||
        !fkmpy_array_borrow(
            entries, parts[1],
            &(struct fkmpy_want){.name = "tags", .dtypes = FKMPY_I32, .n_dims = 1, .shape = {FKMPY_ANY}}))
        return false;
    self->batch.tag_indptr = (const int64_t *)(void *)indptr->data;
    self->batch.tags = (const int32_t *)(void *)entries->data;
    self->batch.n_tags = n_tags;
    return true;
}

/* The arrays beside the rows; None borrows nothing and leaves NULL. */
static bool borrow_beside(struct fkmpy_batch *self, PyObject *weight, PyObject *mask, PyObject *labels,
                          PyObject *targets)
{
    struct fkmpy_array *arrays = self->arrays;
    fkm_batch *batch = &self->batch;
    const int64_t n = batch->n_rows;

    if (!fkmpy_array_borrow(
            &arrays[WEIGHT], weight,
            &(struct fkmpy_want){
                .name = "weight", .dtypes = FKMPY_F32, .n_dims = 1, .shape = {n}, .may_be_absent = true}) ||
        !fkmpy_array_borrow(&arrays[MASK], mask,
                            &(struct fkmpy_want){.name = "mask",
                                                 .dtypes = FKMPY_F32,
                                                 .n_dims = 2,
                                                 .shape = {n, batch->n_cols},
                                                 .may_be_absent = true}) ||
        !fkmpy_array_borrow(
            &arrays[LABELS], labels,
            &(struct fkmpy_want){
                .name = "labels", .dtypes = FKMPY_I64, .n_dims = 1, .shape = {n}, .may_be_absent = true}) ||
        !fkmpy_array_borrow(&arrays[TARGETS], targets,
                            &(struct fkmpy_want){.name = "targets",
                                                 .dtypes = FKMPY_F64,
                                                 .n_dims = 2,
                                                 .shape = {n, FKMPY_ANY},
                                                 .may_be_absent = true}))
        return false;
    batch->weight = (const float *)(void *)arrays[WEIGHT].data;
    batch->mask = (const float *)(void *)arrays[MASK].data;
    batch->labels = (const int64_t *)(void *)arrays[LABELS].data;
    batch->targets = (const double *)(void *)arrays[TARGETS].data;
    batch->n_targets = arrays[TARGETS].shape[1];
    return true;
}

static bool is_none(const PyObject *object) { return !object || object == Py_None; }

const fkm_batch *fkmpy_batch_of(PyObject *object, const struct fkmpy_state *state, const char *name)
{
    const struct fkmpy_batch *self = (const struct fkmpy_batch *)object;

    if (Py_TYPE(object) != (PyTypeObject *)state->batch_type) {
        PyErr_Format(PyExc_TypeError, "%s must be a Batch, not %R", name, (PyObject *)Py_TYPE(object));
        return NULL;
    }
    if ((self->batch.indptr && !check_offsets(&self->arrays[INDPTR], &self->arrays[VALUES], "csr indptr")) ||
        (self->batch.tag_indptr &&
         !check_offsets(&self->arrays[TAG_INDPTR], &self->arrays[TAGS], "tags indptr")))
        return NULL;
    return &self->batch;
}

/* ---- the type */

static PyObject *create(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *x = NULL, *csr = NULL, *weight = NULL, *mask = NULL, *labels = NULL, *tags = NULL,
             *targets = NULL;
    struct fkmpy_batch *self;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|O$OOOOOO:Batch",
                                     FKMPY_NAMES("x", "csr", "weight", "mask", "labels", "tags", "targets"),
                                     &x, &csr, &weight, &mask, &labels, &tags, &targets))
        return NULL;
    if (is_none(x) == is_none(csr)) {
        PyErr_Format(PyExc_ValueError, "%s; a batch has one of them",
                     is_none(x) ? "neither x nor csr is given" : "both x and csr are given");
        return NULL;
    }
    self = (void *)PyType_GenericAlloc(type, 0);
    if (!self)
        return NULL;
    self->batch = (fkm_batch)FKM_BATCH_INIT;
    if (!(is_none(csr) ? borrow_dense(self, x) : borrow_sparse(self, csr)) ||
        !borrow_beside(self, weight, mask, labels, targets) || !borrow_tags(self, tags) ||
        !fkmpy_batch_of((PyObject *)self, fkmpy_state_of(type), "batch")) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int traverse(PyObject *object, visitproc visit, void *arg)
{
    const struct fkmpy_batch *self = (const struct fkmpy_batch *)object;
    int stop = 0;

    Py_VISIT(Py_TYPE(object));
    for (int i = 0; i < N_ARRAYS && stop == 0; i++)
        stop = fkmpy_array_visit(&self->arrays[i], visit, arg);
    return stop;
}

/* Breaks cycles through the arrays. The batch is empty afterwards, for finalizers that still reach it. */
static int clear(PyObject *object)
{
    struct fkmpy_batch *self = (struct fkmpy_batch *)object;

    self->batch = (fkm_batch)FKM_BATCH_INIT;
    for (int i = 0; i < N_ARRAYS; i++)
        fkmpy_array_release(&self->arrays[i]);
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

static PyObject *get_n_rows(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(((const struct fkmpy_batch *)self)->batch.n_rows);
}

static PyObject *get_n_cols(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(((const struct fkmpy_batch *)self)->batch.n_cols);
}

PyObject *fkmpy_batch_type(PyObject *module)
{
    static PyGetSetDef properties[] = {
        {"n_rows", get_n_rows, NULL, "Number of rows.", NULL},
        {"n_cols", get_n_cols, NULL, "Number of columns.", NULL},
        {NULL, NULL, NULL, NULL, NULL},
    };
    PyType_Slot slots[] = {
        {Py_tp_doc,
         "Batch(x=None, *, csr=None, weight=None, mask=None, labels=None, tags=None, targets=None)\n--\n\n"
         "Rows with optional targets, weights and mask, borrowed for the life of the object.\n\n"
         "x: (n_rows, n_cols) of float16, bfloat16 (DLPack only), float32 or float64; rows may be strided,\n"
         "the columns of a row are adjacent. CSR: csr=(values, indptr int64, indices int32, n_cols).\n"
         "weight: float32, n_rows. mask: float32, n_rows x n_cols. labels: int64, n_rows.\n"
         "tags: (indptr int64, tags int32, n_tags). targets: float64, n_rows x n_targets."},
        {Py_tp_new, create},
        {Py_tp_dealloc, destroy},
        {Py_tp_traverse, traverse},
        {Py_tp_clear, clear},
        {Py_tp_getset, properties},
        {0, NULL},
    };
    PyType_Spec spec = {.name = "fast_kmeans._core.Batch",
                        .basicsize = sizeof(struct fkmpy_batch),
                        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
                        .slots = slots};

    return PyType_FromModuleAndSpec(module, &spec, NULL);
}
