/* texts.c — rows that the vectorizer of a model makes of texts.
 * SPDX-License-Identifier: Apache-2.0 */
#include "errors.h"
#include "model.h"

/* The UTF-8 of a list of texts, borrowed from it. */
struct texts {
    Py_ssize_t n;
    const char **text;
    size_t *length;
};

static bool texts_open(struct texts *texts, PyObject *list)
{
    texts->n = PyList_Size(list);
    texts->text = PyMem_Calloc((size_t)texts->n + 1, sizeof *texts->text);
    texts->length = PyMem_Calloc((size_t)texts->n + 1, sizeof *texts->length);
    if (!texts->text || !texts->length)
        return PyErr_NoMemory() != NULL;
    for (Py_ssize_t i = 0; i < texts->n; i++) {
        PyObject *text = PyList_GetItem(list, i);
        Py_ssize_t length = 0;

        if (!PyUnicode_Check(text)) {
            PyErr_Format(PyExc_TypeError, "text %zd is a %R, not a str", i, (PyObject *)Py_TYPE(text));
            return false;
        }
        texts->text[i] = PyUnicode_AsUTF8AndSize(text, &length);
        texts->length[i] = (size_t)length;
        if (!texts->text[i])
            return false;
    }
    return true;
}

static void texts_close(struct texts *texts)
{
    PyMem_Free(texts->text);
    PyMem_Free(texts->length);
}

/* (values, indptr, indices, n_cols) of a CSR batch. */
static PyObject *csr_of(const fkm_batch *batch)
{
    const Py_ssize_t n = (Py_ssize_t)batch->n_rows, entries = n > 0 ? (Py_ssize_t)batch->indptr[n] : 0;

    return Py_BuildValue("(y#y#y#L)", (const char *)batch->values, entries * (Py_ssize_t)sizeof(float),
                         (const char *)batch->indptr, (n + 1) * (Py_ssize_t)sizeof(int64_t),
                         (const char *)batch->indices, entries * (Py_ssize_t)sizeof(int32_t),
                         (long long)batch->n_cols);
}

PyObject *fkmpy_model_rows_of_texts(PyObject *self, PyObject *list)
{
    const struct fkmpy_state *state = fkmpy_state_of(Py_TYPE(self));
    struct fkmpy_use use;
    struct texts texts = {0};
    fkm_vectorizer *vectorizer = NULL;
    fkm_text_rows *rows = NULL;
    fkm_batch batch;
    fkm_status status;
    PyObject *out = NULL;

    if (!PyList_Check(list))
        return PyErr_Format(PyExc_TypeError, "texts must be a list, not %R", (PyObject *)Py_TYPE(list));
    if (!fkmpy_use_begin(&use, self, ANSWERS))
        return NULL;
    status = fkm_model_vectorizer(use.model, &vectorizer);
    fkmpy_use_abandon(&use);
    if (status == FKM_OK && !vectorizer)
        return Py_NewRef(Py_None);
    if (status == FKM_OK)
        status = fkm_text_rows_create(vectorizer, &rows);
    if (status == FKM_OK && texts_open(&texts, list)) {
        status = fkm_text_rows_make(rows, texts.n, texts.text, texts.length, &batch);
        if (status == FKM_OK)
            out = csr_of(&batch);
    }
    if (status != FKM_OK)
        fkmpy_raise(state, status);
    texts_close(&texts);
    fkm_text_rows_free(rows);
    fkm_vectorizer_free(vectorizer);
    return out;
}
