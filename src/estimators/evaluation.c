/* evaluation.c — scores of a model over any number of batches: accuracy, F1, P@k, log loss, RMSE, R2, SSE.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "estimators/model.h"

enum { AT = 5, MARKS_AT_ONCE = 1 << 22 }; /* precision at 1 .. AT; row and tag pairs held at a time */

/* Weighted counts of one class or tag. */
struct counts {
    double hit, extra, missed;
};

struct fkm_evaluation {
    const fkm_model *model;
    fkm_strategy strategy;
    int64_t top_k, n_rows, n_classes, n_targets; /* of the model when the evaluation began */
    double weight, right, nearest_right, log_loss, distance, precise[AT];
    struct counts *counts; /* by class slot; one more for classes the model does not know */
    double *target;        /* by target: sum u y, sum u y^2, sum u (y - mean)^2 by Welford, sum u e^2 */
};
enum { Y_WEIGHT, Y_MEAN, Y_M2, Y_ERROR, Y_FIELDS };

fkm_status fkm_evaluation_create(const fkm_model *model, fkm_strategy strategy, int64_t top_k,
                                 fkm_evaluation **out)
{
    fkm_status status = FKM_OK;
    fkm_evaluation *evaluation = NULL;

    if (!out)
        return fkmi_fail(FKM_EINVAL, "out is NULL");
    *out = NULL;
    FKMI_TRY(fkmi_model_need_fitted(model, "an evaluation"));
    FKMI_TRY(fkmi_strategy_check(strategy, top_k));
    FKMI_TRY_GOTO(fkmi_alloc(&evaluation, 1, sizeof *evaluation));
    evaluation->model = model;
    evaluation->strategy = strategy;
    evaluation->top_k = top_k;
    evaluation->n_classes = model->learned.state.n_classes;
    evaluation->n_targets = model->learned.state.n_targets;
    FKMI_TRY_GOTO(fkmi_alloc(&evaluation->counts, evaluation->n_classes + 1, sizeof *evaluation->counts));
    FKMI_TRY_GOTO(fkmi_alloc(&evaluation->target, model->learned.state.n_targets * Y_FIELDS, sizeof(double)));
    *out = evaluation;
    evaluation = NULL;
done:
    fkm_evaluation_free(evaluation);
    return status;
}

void fkm_evaluation_free(fkm_evaluation *evaluation)
{
    if (!evaluation)
        return;
    fkmi_free(evaluation->counts);
    fkmi_free(evaluation->target);
    fkmi_free(evaluation);
}

/* What the rows of one batch answer, row by row; summed up afterwards in row order. */
struct marks {
    fkm_evaluation *evaluation;
    const fkm_batch *batch;
    struct fkmi_rows rows;
    float *owned_mask;
    int32_t *owner;
    double *distance;       /* to the nearest prototype */
    int32_t *nearest;       /* nearest prototype */
    int32_t *best;          /* classifier: winning slot */
    double *proba;          /* classifier: of the true class */
    double *value;          /* regressor: n x n_targets */
    uint8_t *chosen;        /* multi-label, per thread: n_classes */
    int64_t *order;         /* multi-label, per thread */
    uint8_t *mark;          /* multi-label, of a block of rows: rows x n_classes of CHOSEN and TRUE */
    int64_t *unknown;       /* multi-label, of a block: tags of the row the model does not know */
    double *precise;        /* multi-label: n x AT */
    int64_t first, n_block; /* the block */
};

static void marks_free(struct marks *marks)
{
    fkmi_free(marks->owned_mask);
    fkmi_free(marks->owner);
    fkmi_free(marks->distance);
    fkmi_free(marks->nearest);
    fkmi_free(marks->best);
    fkmi_free(marks->proba);
    fkmi_free(marks->value);
    fkmi_free(marks->chosen);
    fkmi_free(marks->order);
    fkmi_free(marks->mark);
    fkmi_free(marks->unknown);
    fkmi_free(marks->precise);
}

/* ---- clusterer, classifier, regressor: from candidates */

static void mark_row(void *job, int64_t row, const struct fkmi_candidates *candidates, double *scratch)
{
    struct marks *marks = job;
    const struct fkm_model *model = marks->evaluation->model;
    const struct fkmi_state *state = &model->learned.state;

    marks->nearest[row] = candidates->index[0];
    marks->distance[row] = candidates->distance[0];
    if (model->params.task == FKM_TASK_CLASSIFY) {
        const int32_t own = fkmi_classes_find(&model->learned.classes, marks->batch->labels[row]);
        marks->best[row] = fkmi_class_sums(state, marks->owner, candidates, scratch);
        marks->proba[row] = own < 0 ? 0.0 : scratch[own];
        fkmi_class_clear(marks->owner, candidates, scratch);
    } else if (model->params.task == FKM_TASK_REGRESS) {
        double *value = marks->value + row * state->n_targets;
        for (int64_t c = 0; c < candidates->width; c++)
            for (int64_t t = 0; candidates->index[c] >= 0 && t < state->n_targets; t++)
                value[t] +=
                    candidates->weight[c] * state->targets[candidates->index[c] * state->n_targets + t];
    }
}

static void add_class_row(struct marks *marks, int64_t row, double weight)
{
    fkm_evaluation *evaluation = marks->evaluation;
    const struct fkm_model *model = evaluation->model;
    int32_t own = fkmi_classes_find(&model->learned.classes, marks->batch->labels[row]);
    const int32_t best = marks->best[row];
    const double p = marks->proba[row] > 1e-15 ? marks->proba[row] : 1e-15;

    if (own < 0)
        own = (int32_t)model->learned.state.n_classes;
    evaluation->log_loss -= weight * log(p < 1 ? p : 1.0);
    evaluation->nearest_right += marks->owner[marks->nearest[row]] == own ? weight : 0.0;
    if (best == own) {
        evaluation->right += weight;
        evaluation->counts[own].hit += weight;
        return;
    }
    evaluation->counts[own].missed += weight;
    evaluation->counts[best].extra += weight;
}

static void add_value_row(struct marks *marks, int64_t row, double weight)
{
    const int64_t m = marks->evaluation->model->learned.state.n_targets;

    for (int64_t t = 0; t < m; t++) {
        double *sums = marks->evaluation->target + t * Y_FIELDS;
        const double y = marks->batch->targets[row * m + t], error = marks->value[row * m + t] - y;
        const double before = y - sums[Y_MEAN];
        if (weight <= 0)
            continue;
        sums[Y_WEIGHT] += weight;
        sums[Y_MEAN] += weight / sums[Y_WEIGHT] * before; /* West 1979 */
        sums[Y_M2] += weight * before * (y - sums[Y_MEAN]);
        sums[Y_ERROR] += weight * error * error;
    }
}

static fkm_status add_by_candidates(struct marks *marks, const struct fkmi_oracle *oracle)
{
    fkm_evaluation *evaluation = marks->evaluation;
    const fkm_model *model = evaluation->model;
    const int64_t n = marks->rows.n, top_k = model->params.task == FKM_TASK_CLUSTER ? 1 : model->params.top_k;

    FKMI_TRY(fkmi_alloc(&marks->owner, model->learned.state.k, sizeof *marks->owner));
    FKMI_TRY(fkmi_alloc(&marks->nearest, n, sizeof *marks->nearest));
    FKMI_TRY(fkmi_alloc(&marks->distance, n, sizeof *marks->distance));
    FKMI_TRY(fkmi_alloc(&marks->best, n, sizeof *marks->best));
    FKMI_TRY(fkmi_alloc(&marks->proba, n, sizeof *marks->proba));
    FKMI_TRY(fkmi_alloc(&marks->value, n * model->learned.state.n_targets, sizeof *marks->value));
    fkmi_state_owners(&model->learned.state, marks->owner);
    FKMI_TRY(fkmi_oracle_each(oracle, &marks->rows, top_k, model->learned.state.n_classes, mark_row, marks));
    for (int64_t i = 0; i < n; i++) {
        const double weight = fkmi_row_weight(&marks->rows, i);
        evaluation->weight += weight;
        evaluation->distance += weight * marks->distance[i];
        if (model->params.task == FKM_TASK_CLASSIFY)
            add_class_row(marks, i, weight);
        else if (model->params.task == FKM_TASK_REGRESS)
            add_value_row(marks, i, weight);
    }
    return FKM_OK;
}

/* ---- multi-label */

enum { CHOSEN = 1, TRUE = 2 };

static void mark_tags(void *job, int64_t row, const double *z, int thread)
{
    struct marks *marks = job;
    const fkm_evaluation *evaluation = marks->evaluation;
    const struct fkmi_learned *learned = &evaluation->model->learned;
    const fkm_batch *batch = marks->batch;
    const int64_t n = evaluation->n_classes, r = marks->first + row;
    uint8_t *chosen = marks->chosen + thread * n, *mark = marks->mark + row * n;
    int64_t *order = marks->order + thread * n;

    memset(mark, 0, (size_t)n);
    marks->unknown[row] = 0;
    for (int64_t t = batch->tag_indptr[r]; t < batch->tag_indptr[r + 1]; t++) {
        const int32_t slot = fkmi_classes_find(&learned->classes, batch->tags[t]);
        if (slot >= 0)
            mark[slot] = TRUE;
        else
            marks->unknown[row]++;
    }
    fkmi_tags_choose(&learned->state, FKM_STRATEGY_TOP_K, AT, z, order, chosen);
    for (int64_t k = 0, right = 0; k < AT; k++) {
        right += k < n && mark[order[k]] == TRUE;
        marks->precise[r * AT + k] = (double)right / (double)(k + 1);
    }
    fkmi_tags_choose(&learned->state, evaluation->strategy, evaluation->top_k, z, order, chosen);
    for (int64_t c = 0; c < n; c++)
        mark[c] = (uint8_t)(mark[c] | (chosen[c] ? CHOSEN : 0));
}

/* The counts of tags [begin, end) over the rows of the block, in their order: one writer each. */
static fkm_status count_tags(void *job, int64_t begin, int64_t end, int thread)
{
    const struct marks *marks = job;
    const int64_t n = marks->evaluation->n_classes;

    (void)thread;
    for (int64_t i = 0; i < marks->n_block; i++) {
        const double weight = fkmi_row_weight(&marks->rows, marks->first + i);
        for (int64_t c = begin; c < end; c++) {
            struct counts *counts = &marks->evaluation->counts[c];
            const uint8_t mark = marks->mark[i * n + c];
            if (mark == (CHOSEN | TRUE))
                counts->hit += weight;
            else if (mark == CHOSEN)
                counts->extra += weight;
            else if (mark == TRUE)
                counts->missed += weight;
        }
    }
    return FKM_OK;
}

static void add_block(struct marks *marks)
{
    fkm_evaluation *evaluation = marks->evaluation;

    (void)fkmi_parallel_whole(evaluation->model->context->pool, evaluation->n_classes, 64, count_tags, marks);
    for (int64_t i = 0; i < marks->n_block; i++) {
        const double weight = fkmi_row_weight(&marks->rows, marks->first + i);
        evaluation->weight += weight;
        evaluation->counts[evaluation->n_classes].missed += weight * (double)marks->unknown[i];
        for (int64_t k = 0; k < AT; k++)
            evaluation->precise[k] += weight * marks->precise[(marks->first + i) * AT + k];
    }
}

/* Everything that can fail in a block comes before its counts, but an earlier block may have been counted: the
 * evaluation's sums are put back then. */
static fkm_status add_tags(struct marks *marks, const struct fkmi_oracle *oracle)
{
    fkm_status status = FKM_OK;
    fkm_evaluation *evaluation = marks->evaluation;
    const fkm_evaluation before = *evaluation;
    const int64_t n = evaluation->n_classes, n_threads = fkmi_pool_threads(evaluation->model->context->pool);
    const int64_t most = MARKS_AT_ONCE / n < 1 ? 1 : MARKS_AT_ONCE / n;
    const int64_t block = most < marks->rows.n ? most : marks->rows.n;
    struct counts *counts = NULL;

    FKMI_TRY_GOTO(fkmi_copy(&counts, evaluation->counts, n + 1, sizeof *counts));
    FKMI_TRY_GOTO(fkmi_alloc(&marks->chosen, n * n_threads, 1));
    FKMI_TRY_GOTO(fkmi_alloc(&marks->order, n * n_threads, sizeof *marks->order));
    FKMI_TRY_GOTO(fkmi_alloc(&marks->mark, block * n, 1));
    FKMI_TRY_GOTO(fkmi_alloc(&marks->unknown, block, sizeof *marks->unknown));
    FKMI_TRY_GOTO(fkmi_alloc(&marks->precise, marks->rows.n * AT, sizeof *marks->precise));
    for (marks->first = 0; marks->first < marks->rows.n; marks->first += block) {
        const int64_t left = marks->rows.n - marks->first;
        struct fkmi_rows some;
        marks->n_block = left < block ? left : block;
        some = fkmi_rows_slice(&marks->rows, marks->first, marks->n_block);
        FKMI_TRY_GOTO(fkmi_oracle_each_tags(oracle, &some, mark_tags, marks));
        add_block(marks);
    }
done:
    if (status != FKM_OK && counts) {
        memcpy(evaluation->counts, counts, (size_t)(n + 1) * sizeof *counts);
        *evaluation = before;
    }
    fkmi_free(counts);
    return status;
}

/* ---- batches in, scores out */

static fkm_status check_answers(const fkm_model *model, const fkm_batch *batch)
{
    if (model->params.task == FKM_TASK_CLASSIFY && !batch->labels)
        return fkmi_fail(FKM_EINVAL, "evaluating a classifier needs labels, the batch has none");
    if (model->params.task == FKM_TASK_MULTILABEL)
        return fkmi_tags_check(batch);
    if (model->params.task != FKM_TASK_REGRESS)
        return FKM_OK;
    if (!batch->targets || batch->n_targets != model->learned.state.n_targets)
        return fkmi_fail(FKM_EINVAL, "batch has %lld targets, the model expects %lld",
                         (long long)(batch->targets ? batch->n_targets : 0),
                         (long long)model->learned.state.n_targets);
    for (int64_t i = 0; i < batch->n_rows * batch->n_targets; i++)
        if (!isfinite(batch->targets[i]))
            return fkmi_fail(FKM_EINVAL, "target %lld of row %lld is %g", (long long)(i % batch->n_targets),
                             (long long)(i / batch->n_targets), batch->targets[i]);
    return FKM_OK;
}

fkm_status fkm_evaluation_add(fkm_evaluation *evaluation, const fkm_batch *batch)
{
    fkm_status status = FKM_OK;
    struct marks marks = {.evaluation = evaluation, .batch = batch};
    struct fkmi_oracle oracle;
    const fkm_model *model;

    if (!evaluation || !batch)
        return fkmi_fail(FKM_EINVAL, "%s is NULL", evaluation ? "batch" : "evaluation");
    model = evaluation->model;
    if (model->learned.state.n_classes != evaluation->n_classes ||
        model->learned.state.n_targets != evaluation->n_targets)
        return fkmi_fail(FKM_ESTATE,
                         "the model has learned other classes or targets since this evaluation began");
    FKMI_TRY_GOTO(fkmi_rows_check(&marks.rows, batch, model->learned.state.dim, model->params.missing,
                                  model->context->pool, &marks.owned_mask));
    FKMI_TRY_GOTO(check_answers(model, batch));
    FKMI_TRY_GOTO(fkmi_oracle_open(model, marks.rows.mask != NULL, &oracle));
    if (model->params.task == FKM_TASK_MULTILABEL)
        FKMI_TRY_GOTO(add_tags(&marks, &oracle));
    else
        FKMI_TRY_GOTO(add_by_candidates(&marks, &oracle));
    evaluation->n_rows += marks.rows.n;
done:
    marks_free(&marks);
    return status;
}

static double f1(const struct counts *counts)
{
    const double both = 2 * counts->hit + counts->extra + counts->missed;

    return both > 0 ? 2 * counts->hit / both : 0.0;
}

static void class_scores(const fkm_evaluation *evaluation, fkm_scores *scores)
{
    const int64_t n = evaluation->n_classes;
    struct counts all = {0};
    double macro = 0, n_met = 0;

    for (int64_t c = 0; c <= n; c++) {
        const struct counts *counts = &evaluation->counts[c];
        all.hit += counts->hit;
        all.extra += counts->extra;
        all.missed += counts->missed;
        if (counts->hit + counts->extra + counts->missed >
            0) { /* classes that nobody has or answers do not count */
            macro += f1(counts);
            n_met += 1;
        }
    }
    scores->macro_f1 = n_met > 0 ? macro / n_met : 0.0;
    scores->micro_f1 = f1(&all);
}

static void value_scores(const fkm_evaluation *evaluation, fkm_scores *scores)
{
    const int64_t m = evaluation->n_targets;
    double mse = 0, r2 = 0;

    for (int64_t t = 0; t < m; t++) {
        const double *sums = evaluation->target + t * Y_FIELDS;
        mse += sums[Y_ERROR] / sums[Y_WEIGHT] / (double)m;
        r2 += (sums[Y_M2] > 0 ? 1 - sums[Y_ERROR] / sums[Y_M2] : sums[Y_ERROR] > 0 ? 0.0 : 1.0) / (double)m;
    }
    scores->rmse = sqrt(mse);
    scores->r2 = r2;
}

fkm_status fkm_evaluation_scores(const fkm_evaluation *evaluation, fkm_scores *out)
{
    fkm_scores scores;
    double weight;
    size_t size;
    fkm_task task;

    if (!evaluation || !out)
        return fkmi_fail(FKM_EINVAL, "%s is NULL", evaluation ? "scores" : "evaluation");
    size = out->struct_size;
    if (size < sizeof(size_t) || size > sizeof scores)
        return fkmi_fail(FKM_EINVAL, "fkm_scores has struct_size %zu, this library knows %zu", size,
                         sizeof scores);
    if (!(evaluation->weight > 0))
        return fkmi_fail(FKM_ESTATE, "no row was evaluated yet");
    weight = evaluation->weight;
    task = evaluation->model->params.task;
    scores = (fkm_scores){.struct_size = size,
                          .n_rows = evaluation->n_rows,
                          .accuracy = NAN,
                          .macro_f1 = NAN,
                          .micro_f1 = NAN,
                          .log_loss = NAN,
                          .precision_at = {NAN, NAN, NAN, NAN, NAN},
                          .rmse = NAN,
                          .r2 = NAN,
                          .sse = NAN,
                          .nearest_accuracy = NAN};
    if (task != FKM_TASK_MULTILABEL)
        scores.sse = evaluation->distance;
    if (task == FKM_TASK_CLASSIFY) {
        scores.accuracy = evaluation->right / weight;
        scores.nearest_accuracy = evaluation->nearest_right / weight;
        scores.log_loss = evaluation->log_loss / weight;
    }
    if (task == FKM_TASK_CLASSIFY || task == FKM_TASK_MULTILABEL)
        class_scores(evaluation, &scores);
    for (int k = 0; task == FKM_TASK_MULTILABEL && k < AT; k++)
        scores.precision_at[k] = evaluation->precise[k] / weight;
    if (task == FKM_TASK_REGRESS)
        value_scores(evaluation, &scores);
    memcpy(out, &scores, size);
    return FKM_OK;
}
