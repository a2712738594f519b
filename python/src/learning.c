/* learning.c — methods of Model that learn.
 * SPDX-License-Identifier: Apache-2.0 */
#include "arrays.h"
#include "batch.h"
#include "model.h"

/* A batch, an evaluation batch or none, a listener. */
static bool check_arguments(PyObject *self, PyObject *batch, PyObject *eval, PyObject *progress,
                            const fkm_batch **rows, const fkm_batch **eval_rows)
{
    const struct fkmpy_state *state = fkmpy_state_of(Py_TYPE(self));

    *eval_rows = NULL;
    *rows = fkmpy_batch_of(batch, state, "batch");
    if (!*rows || !fkmpy_is_progress(progress))
        return false;
    if (eval && eval != Py_None) {
        *eval_rows = fkmpy_batch_of(eval, state, "eval");
        return *eval_rows != NULL;
    }
    return true;
}

PyObject *fkmpy_model_fit(PyObject *self, PyObject *args, PyObject *keywords)
{
    static const char *const names[] = {"nearest", "distance"};
    static const unsigned dtypes[] = {FKMPY_I64, FKMPY_F64};
    PyObject *batch, *eval = NULL, *progress = NULL, *outs[2] = {NULL, NULL};
    const fkm_batch *rows;
    struct fkmpy_array arrays[2] = {0};
    bool is_fine = true;
    int32_t answered = 0;
    fkm_fit_options options = FKM_FIT_OPTIONS_INIT;
    long long max_iters = options.max_iters;
    struct fkmpy_use use;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|LdOdOOO:fit",
                                     FKMPY_NAMES("batch", "max_iters", "tol", "eval", "eval_fraction",
                                                 "progress", "nearest", "distance"),
                                     &batch, &max_iters, &options.tol, &eval, &options.eval_fraction,
                                     &progress, &outs[0], &outs[1]))
        return NULL;
    if (!check_arguments(self, batch, eval, progress, &rows, &options.eval))
        return NULL;
    for (int i = 0; i < 2 && is_fine; i++)
        is_fine = fkmpy_array_borrow(&arrays[i], outs[i],
                                     &(struct fkmpy_want){.name = names[i],
                                                          .dtypes = dtypes[i],
                                                          .n_dims = 1,
                                                          .shape = {rows->n_rows},
                                                          .writes = true,
                                                          .may_be_absent = true});
    if (is_fine && (is_fine = fkmpy_use_begin(&use, self, LEARNS))) {
        options.max_iters = max_iters;
        options.nearest = (int64_t *)(void *)arrays[0].data;
        options.distance = (double *)(void *)arrays[1].data;
        options.answered = &answered;
        fkmpy_use_work(&use, progress);
        options.progress = fkmpy_call_progress(&use.call);
        options.user = &use.call;
        is_fine = fkmpy_use_end(&use, fkm_model_fit(use.model, rows, &options));
    }
    for (int i = 0; i < 2; i++)
        fkmpy_array_release(&arrays[i]);
    return is_fine ? PyBool_FromLong(answered) : NULL;
}

PyObject *fkmpy_model_finetune(PyObject *self, PyObject *args, PyObject *keywords)
{
    PyObject *batch, *eval = NULL, *progress = NULL;
    const fkm_batch *rows;
    fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;
    long long epochs = options.epochs, rounds = 0;
    int search = 0;
    struct fkmpy_use use;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|LdpLOdO:finetune",
                                     FKMPY_NAMES("batch", "epochs", "lr", "search", "early_stopping_rounds",
                                                 "eval", "eval_fraction", "progress"),
                                     &batch, &epochs, &options.lr, &search, &rounds, &eval,
                                     &options.eval_fraction, &progress))
        return NULL;
    if (!check_arguments(self, batch, eval, progress, &rows, &options.eval) ||
        !fkmpy_use_begin(&use, self, LEARNS))
        return NULL;
    options.epochs = epochs;
    options.search = search;
    options.early_stopping_rounds = rounds;
    fkmpy_use_work(&use, progress);
    options.progress = fkmpy_call_progress(&use.call);
    options.user = &use.call;
    return fkmpy_use_end(&use, fkm_model_finetune(use.model, rows, &options)) ? Py_NewRef(Py_None) : NULL;
}

/* Methods that take a batch and give a number. */
static PyObject *number_of(PyObject *self, PyObject *args, PyObject *keywords, const char *format,
                           fkm_status (*method)(fkm_model *model, const fkm_batch *batch, double *number))
{
    PyObject *batch;
    const fkm_batch *rows;
    double number = 0;
    struct fkmpy_use use;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, format, FKMPY_NAMES("batch"), &batch))
        return NULL;
    rows = fkmpy_batch_of(batch, fkmpy_state_of(Py_TYPE(self)), "batch");
    if (!rows || !fkmpy_use_begin(&use, self, LEARNS))
        return NULL;
    fkmpy_use_work(&use, NULL);
    return fkmpy_use_end(&use, method(use.model, rows, &number)) ? PyFloat_FromDouble(number) : NULL;
}

PyObject *fkmpy_model_fit_batch(PyObject *self, PyObject *args, PyObject *keywords)
{
    return number_of(self, args, keywords, "O:fit_batch", fkm_model_fit_batch);
}

PyObject *fkmpy_model_gradient_step(PyObject *self, PyObject *args, PyObject *keywords)
{
    return number_of(self, args, keywords, "O:gradient_step", fkm_model_gradient_step);
}

PyObject *fkmpy_model_find_learning_rate(PyObject *self, PyObject *args, PyObject *keywords)
{
    return number_of(self, args, keywords, "O:find_learning_rate", fkm_model_find_learning_rate);
}

PyObject *fkmpy_model_last_merged(PyObject *self, PyObject *unused)
{
    struct fkmpy_use use;
    long long merged;

    (void)unused;
    if (!fkmpy_use_begin(&use, self, ANSWERS))
        return NULL;
    merged = fkm_model_last_merged(use.model);
    fkmpy_use_abandon(&use);
    return PyLong_FromLongLong(merged);
}

PyObject *fkmpy_model_feature_importance(PyObject *self, PyObject *args, PyObject *keywords)
{
    PyObject *batch, *out;
    const fkm_batch *rows;
    struct fkmpy_array array;
    struct fkmpy_use use;
    bool is_fine;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO:feature_importance", FKMPY_NAMES("batch", "out"),
                                     &batch, &out))
        return NULL;
    rows = fkmpy_batch_of(batch, fkmpy_state_of(Py_TYPE(self)), "batch");
    if (!rows ||
        !fkmpy_array_borrow(
            &array, out,
            &(struct fkmpy_want){
                .name = "out", .dtypes = FKMPY_F64, .n_dims = 1, .shape = {rows->n_cols}, .writes = true}))
        return NULL;
    is_fine = fkmpy_use_begin(&use, self, ANSWERS);
    if (is_fine) {
        fkmpy_use_work(&use, NULL);
        is_fine =
            fkmpy_use_end(&use, fkm_model_feature_importance(use.model, rows, (double *)(void *)array.data));
    }
    fkmpy_array_release(&array);
    return is_fine ? Py_NewRef(Py_None) : NULL;
}
