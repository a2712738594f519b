/* model.h — Model: one object, its methods in model.c (the type, files, settings), learning.c, answers.c,
 * inside.c.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMPY_MODEL_H
#define FKMPY_MODEL_H

#include "call.h"
#include "lock.h"
#include "module.h"

struct fkmpy_model {
    PyObject_HEAD fkm_model *model;
    PyObject *context; /* outlives the model */
    /* A dict, once somebody asked: writing 45 numbers as text takes a third of a millisecond. */
    _Atomic(PyObject *) params;
    struct fkmpy_lock lock;
};

/* One method at work: it holds the model, and then the library runs without the GIL.
 *
 *     if (!fkmpy_use_begin(&use, self, LEARNS)) return NULL;     may wait
 *     ...                                                        checks that need the model; fkmpy_use_abandon(&use)
 *     fkmpy_use_work(&use, progress);                            the GIL is gone
 *     status = fkm_model_fit_batch(use.model, batch, &shift);
 *     if (!fkmpy_use_end(&use, status)) return NULL;
 */
struct fkmpy_use {
    struct fkmpy_model *self;
    fkm_model *model;
    const struct fkmpy_state *state;
    struct fkmpy_hold hold;
    struct fkmpy_call call;
};
enum fkmpy_purpose { ANSWERS, LEARNS };
bool fkmpy_use_begin(struct fkmpy_use *use, PyObject *self, enum fkmpy_purpose purpose);
void fkmpy_use_abandon(struct fkmpy_use *use);
void fkmpy_use_work(struct fkmpy_use *use, PyObject *progress);
bool fkmpy_use_end(struct fkmpy_use *use, fkm_status status);
/* What the model is, while it is held; false with an exception. */
bool fkmpy_use_describe(struct fkmpy_use *use, fkm_model_info *info);

/* "adaptive", "gap", "top_k"; false with ValueError. */
bool fkmpy_strategy_of(const char *name, fkm_strategy *strategy);

/* The methods. */
#define FKMPY_DECLARE(name) PyObject *fkmpy_model_##name(PyObject *self, PyObject *args, PyObject *keywords)
FKMPY_DECLARE(fit);
FKMPY_DECLARE(fit_batch);
FKMPY_DECLARE(gradient_step);
FKMPY_DECLARE(finetune);
FKMPY_DECLARE(find_learning_rate);
FKMPY_DECLARE(feature_importance);
FKMPY_DECLARE(fit_source); /* in source.c */
FKMPY_DECLARE(predict_labels);
FKMPY_DECLARE(predict_proba);
FKMPY_DECLARE(predict_top);
FKMPY_DECLARE(predict_tags);
FKMPY_DECLARE(predict_values);
FKMPY_DECLARE(nearest);
FKMPY_DECLARE(transform);
FKMPY_DECLARE(scores);
FKMPY_DECLARE(get);
FKMPY_DECLARE(centroids_csr);
FKMPY_DECLARE(history);
#undef FKMPY_DECLARE
PyObject *fkmpy_model_last_merged(PyObject *self, PyObject *unused);
PyObject *fkmpy_model_describe(PyObject *self, PyObject *unused);
PyObject *fkmpy_model_rows_of_texts(PyObject *self, PyObject *list); /* in texts.c */

/* The model of to_bytes(), in that context. */
PyObject *fkmpy_model_read(const struct fkmpy_state *state, PyObject *context, PyObject *data);

#endif
