/* answers.c — methods of Model that answer: the caller's arrays are filled.
 * SPDX-License-Identifier: Apache-2.0 */
#include "arrays.h"
#include "batch.h"
#include "model.h"

#define ALL_TASKS (~0u)

/* How many columns an answer has. */
enum width { ONE_VALUE, PER_CLASS, PER_TARGET, PER_PROTOTYPE };

struct answer {
    struct fkmpy_use use;
    const fkm_batch *batch;
    struct fkmpy_array out;
};

/* The width is known of a fitted model whose task has such an answer; of others the library says what is missing,
 * before it writes. */
static int64_t width_of(const fkm_model_info *info, enum width width, unsigned tasks)
{
    if (!info->fitted || !(tasks & 1u << info->params.task))
        return FKMPY_ANY;
    return width == PER_CLASS ? info->n_classes : width == PER_TARGET ? info->n_targets : info->k;
}

/* Holds the model and borrows `out`, then gives the GIL away; false with an exception and nothing held. */
static bool begin(struct answer *answer, PyObject *self, PyObject *batch, PyObject *out, unsigned dtypes,
                  enum width width, unsigned tasks)
{
    fkm_model_info info;
    struct fkmpy_want want = {
        .name = "out", .dtypes = dtypes, .n_dims = width == ONE_VALUE ? 1 : 2, .writes = true};

    answer->batch = fkmpy_batch_of(batch, fkmpy_state_of(Py_TYPE(self)), "batch");
    if (!answer->batch || !fkmpy_use_begin(&answer->use, self, ANSWERS))
        return false;
    if (fkmpy_use_describe(&answer->use, &info)) {
        want.shape[0] = answer->batch->n_rows;
        want.shape[1] = width_of(&info, width, tasks);
        if (fkmpy_array_borrow(&answer->out, out, &want)) {
            fkmpy_use_work(&answer->use, NULL);
            return true;
        }
    }
    fkmpy_use_abandon(&answer->use);
    return false;
}

static PyObject *end(struct answer *answer, fkm_status status)
{
    const bool is_fine = fkmpy_use_end(&answer->use, status);

    fkmpy_array_release(&answer->out);
    return is_fine ? Py_NewRef(Py_None) : NULL;
}

PyObject *fkmpy_model_predict_labels(PyObject *self, PyObject *args, PyObject *keywords)
{
    PyObject *batch, *out;
    struct answer answer;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO:predict_labels", FKMPY_NAMES("batch", "out"), &batch,
                                     &out) ||
        !begin(&answer, self, batch, out, FKMPY_I64, ONE_VALUE, ALL_TASKS))
        return NULL;
    return end(&answer,
               fkm_model_predict_labels(answer.use.model, answer.batch, (int64_t *)(void *)answer.out.data));
}

PyObject *fkmpy_model_predict_proba(PyObject *self, PyObject *args, PyObject *keywords)
{
    PyObject *batch, *out;
    struct answer answer;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO:predict_proba", FKMPY_NAMES("batch", "out"), &batch,
                                     &out) ||
        !begin(&answer, self, batch, out, FKMPY_F32, PER_CLASS,
               1u << FKM_TASK_CLASSIFY | 1u << FKM_TASK_MULTILABEL))
        return NULL;
    return end(&answer,
               fkm_model_predict_proba(answer.use.model, answer.batch, (float *)(void *)answer.out.data));
}

PyObject *fkmpy_model_predict_tags(PyObject *self, PyObject *args, PyObject *keywords)
{
    PyObject *batch, *out;
    const char *name;
    fkm_strategy strategy;
    long long top_k;
    struct answer answer;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OsLO:predict_tags",
                                     FKMPY_NAMES("batch", "strategy", "top_k", "out"), &batch, &name, &top_k,
                                     &out) ||
        !fkmpy_strategy_of(name, &strategy) ||
        !begin(&answer, self, batch, out, FKMPY_BYTES, PER_CLASS, 1u << FKM_TASK_MULTILABEL))
        return NULL;
    return end(&answer, fkm_model_predict_tags(answer.use.model, answer.batch, strategy, top_k,
                                               (uint8_t *)answer.out.data));
}

PyObject *fkmpy_model_predict_values(PyObject *self, PyObject *args, PyObject *keywords)
{
    PyObject *batch, *out;
    struct answer answer;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO:predict_values", FKMPY_NAMES("batch", "out"), &batch,
                                     &out) ||
        !begin(&answer, self, batch, out, FKMPY_F64, PER_TARGET, 1u << FKM_TASK_REGRESS))
        return NULL;
    return end(&answer,
               fkm_model_predict_values(answer.use.model, answer.batch, (double *)(void *)answer.out.data));
}

PyObject *fkmpy_model_transform(PyObject *self, PyObject *args, PyObject *keywords)
{
    PyObject *batch, *out;
    struct answer answer;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO:transform", FKMPY_NAMES("batch", "out"), &batch,
                                     &out) ||
        !begin(&answer, self, batch, out, FKMPY_F32, PER_PROTOTYPE, ALL_TASKS))
        return NULL;
    return end(&answer,
               fkm_model_transform(answer.use.model, answer.batch, (float *)(void *)answer.out.data));
}

PyObject *fkmpy_model_nearest(PyObject *self, PyObject *args, PyObject *keywords)
{
    static const char *const names[] = {"index", "distance", "routing"};
    static const unsigned dtypes[] = {FKMPY_I64, FKMPY_F64, FKMPY_F64};
    PyObject *batch, *outs[3] = {NULL, NULL, NULL};
    long long top_k;
    const fkm_batch *rows;
    struct fkmpy_array arrays[3] = {0};
    struct fkmpy_use use;
    bool is_fine = true;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OL|OOO:nearest",
                                     FKMPY_NAMES("batch", "top_k", "index", "distance", "routing"), &batch,
                                     &top_k, &outs[0], &outs[1], &outs[2]))
        return NULL;
    rows = fkmpy_batch_of(batch, fkmpy_state_of(Py_TYPE(self)), "batch");
    if (!rows)
        return NULL;
    if (top_k < 1)
        return PyErr_Format(PyExc_ValueError, "top_k is %lld; it must be at least 1", top_k);
    for (int i = 0; i < 3 && is_fine; i++)
        is_fine = fkmpy_array_borrow(&arrays[i], outs[i],
                                     &(struct fkmpy_want){.name = names[i],
                                                          .dtypes = dtypes[i],
                                                          .n_dims = 2,
                                                          .shape = {rows->n_rows, top_k},
                                                          .writes = true,
                                                          .may_be_absent = true});
    if (is_fine && (is_fine = fkmpy_use_begin(&use, self, ANSWERS))) {
        fkmpy_use_work(&use, NULL);
        is_fine = fkmpy_use_end(
            &use, fkm_model_nearest(use.model, rows, top_k, (int64_t *)(void *)arrays[0].data,
                                    (double *)(void *)arrays[1].data, (double *)(void *)arrays[2].data));
    }
    for (int i = 0; i < 3; i++)
        fkmpy_array_release(&arrays[i]);
    return is_fine ? Py_NewRef(Py_None) : NULL;
}

PyObject *fkmpy_model_predict_top(PyObject *self, PyObject *args, PyObject *keywords)
{
    PyObject *batch, *outs[2];
    long long m;
    const fkm_batch *rows;
    struct fkmpy_array labels = {0}, proba = {0};
    struct fkmpy_use use;
    bool is_fine;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OLOO:predict_top",
                                     FKMPY_NAMES("batch", "m", "labels", "proba"), &batch, &m, &outs[0],
                                     &outs[1]))
        return NULL;
    rows = fkmpy_batch_of(batch, fkmpy_state_of(Py_TYPE(self)), "batch");
    if (!rows)
        return NULL;
    if (m < 1)
        return PyErr_Format(PyExc_ValueError, "m is %lld; it must be at least 1", m);
    is_fine = fkmpy_array_borrow(&labels, outs[0],
                                 &(struct fkmpy_want){.name = "labels",
                                                      .dtypes = FKMPY_I64,
                                                      .n_dims = 2,
                                                      .shape = {rows->n_rows, m},
                                                      .writes = true}) &&
              fkmpy_array_borrow(&proba, outs[1],
                                 &(struct fkmpy_want){.name = "proba",
                                                      .dtypes = FKMPY_F32,
                                                      .n_dims = 2,
                                                      .shape = {rows->n_rows, m},
                                                      .writes = true}) &&
              fkmpy_use_begin(&use, self, ANSWERS);
    if (is_fine) {
        fkmpy_use_work(&use, NULL);
        is_fine =
            fkmpy_use_end(&use, fkm_model_predict_top(use.model, rows, m, (int64_t *)(void *)labels.data,
                                                      (float *)(void *)proba.data));
    }
    fkmpy_array_release(&labels);
    fkmpy_array_release(&proba);
    return is_fine ? Py_NewRef(Py_None) : NULL;
}

static fkm_status evaluate(const fkm_model *model, const fkm_batch *batch, fkm_strategy strategy,
                           int64_t top_k, fkm_scores *scores)
{
    fkm_evaluation *evaluation = NULL;
    fkm_status status = fkm_evaluation_create(model, strategy, top_k, &evaluation);

    if (status == FKM_OK)
        status = fkm_evaluation_add(evaluation, batch);
    if (status == FKM_OK)
        status = fkm_evaluation_scores(evaluation, scores);
    fkm_evaluation_free(evaluation);
    return status;
}

PyObject *fkmpy_model_scores(PyObject *self, PyObject *args, PyObject *keywords)
{
    PyObject *batch;
    const char *name = "adaptive";
    fkm_strategy strategy;
    long long top_k = 1;
    const fkm_batch *rows;
    fkm_scores scores = {.struct_size = sizeof scores};
    const double *at = scores.precision_at;
    struct fkmpy_use use;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|sL:scores", FKMPY_NAMES("batch", "strategy", "top_k"),
                                     &batch, &name, &top_k) ||
        !fkmpy_strategy_of(name, &strategy))
        return NULL;
    rows = fkmpy_batch_of(batch, fkmpy_state_of(Py_TYPE(self)), "batch");
    if (!rows || !fkmpy_use_begin(&use, self, ANSWERS))
        return NULL;
    fkmpy_use_work(&use, NULL);
    if (!fkmpy_use_end(&use, evaluate(use.model, rows, strategy, top_k, &scores)))
        return NULL;
    return Py_BuildValue("{s:d,s:d,s:d,s:d,s:(ddddd),s:d,s:d,s:d,s:d,s:L}", "accuracy", scores.accuracy,
                         "macro_f1", scores.macro_f1, "micro_f1", scores.micro_f1, "log_loss",
                         scores.log_loss, "precision_at", at[0], at[1], at[2], at[3], at[4], "rmse",
                         scores.rmse, "r2", scores.r2, "sse", scores.sse, "nearest_accuracy",
                         scores.nearest_accuracy, "n_rows", (long long)scores.n_rows);
}
