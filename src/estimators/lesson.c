/* lesson.c — from a user's batch to checked rows with class slots.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "estimators/model.h"

void fkmi_lesson_free(struct fkmi_lesson *lesson)
{
    fkmi_free(lesson->slot);
    fkmi_free(lesson->strata);
    fkmi_free(lesson->owned_mask);
    fkmi_free(lesson->owned_rows);
    fkmi_free(lesson->owned_view);
    fkmi_free(lesson->owned_slots);
    memset(lesson, 0, sizeof *lesson);
}

/* Targets are by row of base, so they are read from slot only as long as no row is held out. */
static bool slot_is_target(const struct fkmi_lesson *lesson)
{
    return lesson->slot == lesson->targets.slot || lesson->slot == lesson->targets.tag_slot;
}

void fkmi_lesson_drop_view(struct fkmi_lesson *lesson)
{
    fkmi_free(lesson->owned_view);
    lesson->owned_view = NULL;
    lesson->view = (struct fkmi_rows){0};
    if (!slot_is_target(lesson)) {
        fkmi_free(lesson->slot);
        lesson->slot = NULL;
    }
}

double fkmi_most_value(const fkm_params *params)
{
    /* the means of rows are stored as they are, but unit vectors for cosine */
    return params->dtype == FKM_DTYPE_F16 && params->metric != FKM_METRIC_COSINE ? 65504.0 : FKMI_MOST_VALUE;
}

/* Prototypes in half precision cannot follow rows beyond its range. */
static fkm_status check_range(const fkm_model *model, const struct fkmi_rows *rows)
{
    const double most = fkmi_most_value(&model->params);
    const bool sparse = fkmi_rows_sparse(rows);
    const int64_t rows_per_check = 1 + (1 << 18) / rows->dim;

    if (most >= FKMI_MOST_VALUE || rows->dtype == FKM_DTYPE_F16)
        return FKM_OK;
    for (int64_t i = 0; i < rows->n; i++) {
        const int64_t begin = sparse ? rows->indptr[i] : 0, end = sparse ? rows->indptr[i + 1] : rows->dim;
        FKMI_TRY(fkmi_check_every(rows_per_check, i));
        for (int64_t e = begin; e < end; e++) {
            const double x = sparse ? fkmi_dtype_get(rows->values, rows->dtype, e)
                                    : fkmi_dtype_get(rows->x, rows->dtype, i * rows->stride + e);
            if (fabs(x) > most && !(rows->mask && rows->mask[i * rows->dim + e] == 0.0f))
                return fkmi_fail(FKM_EINVAL,
                                 "row %lld, column %lld is %g; prototypes of dtype float16 reach %g only: "
                                 "use bfloat16 or float32",
                                 (long long)i, (long long)(sparse ? rows->indices[e] : e), x, most);
        }
    }
    return FKM_OK;
}

fkm_status fkmi_lesson_open(const fkm_model *model, struct fkmi_learned *learned, const fkm_batch *batch,
                            bool grow, struct fkmi_lesson *lesson)
{
    fkm_status status = FKM_OK;
    const int64_t dim = learned->state.k > 0  ? learned->state.dim
                        : model->user_dim > 0 ? model->user_dim
                                              : model->start.dim;

    memset(lesson, 0, sizeof *lesson);
    if (!batch)
        return fkmi_fail(FKM_EINVAL, "batch is NULL");
    FKMI_TRY_GOTO(fkmi_rows_check(&lesson->base, batch, dim, model->params.missing, model->context->pool,
                                  &lesson->owned_mask));
    FKMI_TRY_GOTO(check_range(model, &lesson->base));
    lesson->rows = lesson->view = lesson->base;
    FKMI_TRY_GOTO(model->estimator->read(model, learned, batch, grow, lesson));
done:
    if (status != FKM_OK)
        fkmi_lesson_free(lesson);
    return status;
}

/* Takes back held rows of classes that would keep none; returns how many stay held. */
static fkm_status leave_one_each(const struct fkmi_lesson *lesson, uint8_t *is_held, int64_t *n_held)
{
    int32_t n_slots = 0;
    int64_t *kept;

    for (int64_t i = 0; lesson->slot && i < lesson->view.n; i++)
        n_slots = lesson->slot[i] >= n_slots ? lesson->slot[i] + 1 : n_slots;
    FKMI_TRY(fkmi_alloc(&kept, n_slots, sizeof *kept));
    for (int64_t i = 0; lesson->slot && i < lesson->view.n; i++)
        kept[lesson->slot[i]] += !is_held[fkmi_row(&lesson->view, i)];
    for (int64_t i = 0; lesson->slot && i < lesson->view.n; i++)
        if (kept[lesson->slot[i]] == 0) {
            kept[lesson->slot[i]] = 1;
            is_held[fkmi_row(&lesson->view, i)] = 0;
        }
    *n_held = 0;
    for (int64_t i = 0; i < lesson->base.n; i++)
        *n_held += is_held[i];
    fkmi_free(kept);
    return FKM_OK;
}

fkm_status fkmi_lesson_hold_out(struct fkmi_lesson *lesson, double fraction, struct fkmi_random random,
                                struct fkmi_lesson *held)
{
    fkm_status status = FKM_OK;
    const int64_t n = lesson->base.n;
    int64_t n_held = (int64_t)(fraction * (double)n + 0.5), n_view = 0;
    int64_t *order = NULL, *kept = NULL, *view = NULL;
    int32_t *slot = NULL;
    uint8_t *is_held = NULL;

    memset(held, 0, sizeof *held);
    if (!(fraction > 0 && fraction < 1))
        return fkmi_fail(FKM_EINVAL, "eval_fraction is %g; it must be in (0, 1)", fraction);
    if (n < 2)
        return fkmi_fail(FKM_EINVAL, "eval_fraction needs at least 2 rows, there is %lld", (long long)n);
    n_held = n_held < 1 ? 1 : n_held > n - 1 ? n - 1 : n_held;
    FKMI_TRY_GOTO(fkmi_alloc(&order, n, sizeof *order));
    FKMI_TRY_GOTO(fkmi_alloc(&is_held, n, 1));
    FKMI_TRY_GOTO(fkmi_alloc(&view, lesson->view.n, sizeof *view));
    if (lesson->slot)
        FKMI_TRY_GOTO(fkmi_alloc(&slot, lesson->view.n, sizeof *slot));
    for (int64_t i = 0; i < n; i++)
        order[i] = i;
    fkmi_random_shuffle(&random, order, n);
    for (int64_t i = 0; i < n_held; i++)
        is_held[order[i]] = 1;
    FKMI_TRY_GOTO(leave_one_each(lesson, is_held, &n_held));
    if (n_held == 0)
        FKMI_TRY_GOTO(fkmi_fail(FKM_EINVAL,
                                "eval_fraction %g of %lld rows leaves none to hold out: every class needs "
                                "a row to learn from",
                                fraction, (long long)n));
    FKMI_TRY_GOTO(fkmi_alloc(&kept, n - n_held, sizeof *kept));
    for (int64_t i = 0, h = 0, k = 0; i < n; i++) { /* both in the batch's order */
        if (is_held[i])
            order[h++] = i;
        else
            kept[k++] = i;
    }
    for (int64_t i = 0; i < lesson->view.n; i++) {
        const int64_t row = fkmi_row(&lesson->view, i);
        if (is_held[row])
            continue;
        if (slot)
            slot[n_view] = lesson->slot[i];
        view[n_view++] = row;
    }
    held->base = lesson->base;
    held->rows = fkmi_rows_pick(&lesson->base, order, n_held);
    held->view = held->rows;
    held->targets = lesson->targets;
    held->owned_rows = order;
    order = NULL;
    fkmi_free(lesson->owned_rows);
    fkmi_free(lesson->owned_view);
    lesson->owned_rows = kept;
    lesson->owned_view = view;
    if (slot_is_target(lesson) && !lesson->owned_slots)
        lesson->owned_slots = lesson->slot;
    else
        fkmi_free(lesson->slot);
    lesson->slot = slot;
    lesson->rows = fkmi_rows_pick(&lesson->base, kept, n - n_held);
    lesson->view = fkmi_rows_pick(&lesson->base, view, n_view);
    kept = view = NULL;
    slot = NULL;
done:
    fkmi_free(order);
    fkmi_free(kept);
    fkmi_free(view);
    fkmi_free(slot);
    fkmi_free(is_held);
    return status;
}
