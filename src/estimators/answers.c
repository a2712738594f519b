/* answers.c — phase 3: labels, probabilities, tags, values, neighbours. Only reads the model.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "estimators/question.h"

struct answer {
    const struct fkmi_question *question;
    const struct fkmi_state *state;
    void *out, *more[2];
    int64_t width, top_k;
    fkm_strategy strategy;
    int64_t *order;  /* per thread: n_classes */
    uint8_t *chosen; /* per thread: n_classes */
};

/* ---- labels */

static void write_label(void *job, int64_t row, const struct fkmi_candidates *candidates, double *scratch)
{
    const struct answer *answer = job;
    const int32_t best =
        fkmi_class_sums(answer->state, answer->question->classes->owner, candidates, scratch);

    ((int64_t *)answer->out)[row] = answer->state->class_label[best];
    fkmi_class_clear(answer->question->classes->owner, candidates, scratch);
}

static void write_nearest(void *job, int64_t row, const struct fkmi_candidates *candidates, double *scratch)
{
    const struct answer *answer = job;

    (void)scratch;
    ((int64_t *)answer->out)[row] = candidates->index[0];
}

fkm_status fkm_model_predict_labels(const fkm_model *model, const fkm_batch *batch, int64_t *labels)
{
    fkm_status status = FKM_OK;
    struct fkmi_question question = {0};
    struct answer answer = {.question = &question, .out = labels};

    FKMI_TRY(fkmi_question_need_task(model, FKM_TASK_CLUSTER, FKM_TASK_CLASSIFY, "labels to predict"));
    FKMI_TRY_GOTO(fkmi_question_ask(model, batch, labels, "predict", &question));
    answer.state = question.oracle.state;
    if (model->params.task == FKM_TASK_CLUSTER)
        FKMI_TRY_GOTO(fkmi_oracle_each(&question.oracle, &question.rows, 1, 0, write_nearest, &answer));
    else
        FKMI_TRY_GOTO(fkmi_oracle_each(&question.oracle, &question.rows, model->params.top_k,
                                       answer.state->n_classes, write_label, &answer));
done:
    fkmi_question_free(&question);
    return status;
}

/* ---- probabilities */

static void write_proba(void *job, int64_t row, const struct fkmi_candidates *candidates, double *scratch)
{
    const struct answer *answer = job;
    const int64_t n_classes = answer->state->n_classes;
    float *out = (float *)answer->out + row * n_classes;

    memset(out, 0, (size_t)n_classes * sizeof *out);
    fkmi_class_sums(answer->state, answer->question->classes->owner, candidates, scratch);
    for (int64_t c = 0; c < candidates->width; c++)
        if (candidates->index[c] >= 0) {
            const int32_t slot = answer->question->classes->owner[candidates->index[c]];
            out[answer->question->classes->rank[slot]] = (float)scratch[slot];
        }
    fkmi_class_clear(answer->question->classes->owner, candidates, scratch);
}

static void write_tag_proba(void *job, int64_t row, const double *z, int thread)
{
    const struct answer *answer = job;
    float *out = (float *)answer->out + row * answer->state->n_classes;

    (void)thread;
    for (int64_t c = 0; c < answer->state->n_classes; c++)
        out[answer->question->classes->rank[c]] = (float)fkmi_sigmoid(z[c]);
}

fkm_status fkm_model_predict_proba(const fkm_model *model, const fkm_batch *batch, float *proba)
{
    fkm_status status = FKM_OK;
    struct fkmi_question question = {0};
    struct answer answer = {.question = &question, .out = proba};

    FKMI_TRY(
        fkmi_question_need_task(model, FKM_TASK_CLASSIFY, FKM_TASK_MULTILABEL, "probabilities to predict"));
    FKMI_TRY_GOTO(fkmi_question_ask(model, batch, proba, "predict_proba", &question));
    answer.state = question.oracle.state;
    if (model->params.task == FKM_TASK_MULTILABEL)
        FKMI_TRY_GOTO(fkmi_oracle_each_tags(&question.oracle, &question.rows, write_tag_proba, &answer));
    else
        FKMI_TRY_GOTO(fkmi_oracle_each(&question.oracle, &question.rows, model->params.top_k,
                                       answer.state->n_classes, write_proba, &answer));
done:
    fkmi_question_free(&question);
    return status;
}

/* ---- tags */

static void write_tags(void *job, int64_t row, const double *z, int thread)
{
    const struct answer *answer = job;
    const int64_t n_classes = answer->state->n_classes;
    uint8_t *out = (uint8_t *)answer->out + row * n_classes, *chosen = answer->chosen + thread * n_classes;

    fkmi_tags_choose(answer->state, answer->strategy, answer->top_k, z, answer->order + thread * n_classes,
                     chosen);
    for (int64_t c = 0; c < n_classes; c++)
        out[answer->question->classes->rank[c]] = chosen[c];
}

fkm_status fkm_model_predict_tags(const fkm_model *model, const fkm_batch *batch, fkm_strategy strategy,
                                  int64_t top_k, uint8_t *tags)
{
    fkm_status status = FKM_OK;
    struct fkmi_question question = {0};
    struct answer answer = {.question = &question, .out = tags, .strategy = strategy, .top_k = top_k};
    int64_t n;

    FKMI_TRY(fkmi_question_need_task(model, FKM_TASK_MULTILABEL, FKM_TASK_MULTILABEL, "tags to predict"));
    FKMI_TRY(fkmi_strategy_check(strategy, top_k));
    FKMI_TRY_GOTO(fkmi_question_ask(model, batch, tags, "predict", &question));
    answer.state = question.oracle.state;
    n = answer.state->n_classes * fkmi_pool_threads(model->context->pool);
    FKMI_TRY_GOTO(fkmi_alloc(&answer.order, n, sizeof *answer.order));
    FKMI_TRY_GOTO(fkmi_alloc(&answer.chosen, n, 1));
    FKMI_TRY_GOTO(fkmi_oracle_each_tags(&question.oracle, &question.rows, write_tags, &answer));
done:
    fkmi_free(answer.order);
    fkmi_free(answer.chosen);
    fkmi_question_free(&question);
    return status;
}

/* ---- values */

static void write_values(void *job, int64_t row, const struct fkmi_candidates *candidates, double *scratch)
{
    const struct answer *answer = job;
    const int64_t m = answer->state->n_targets;
    double *out = (double *)answer->out + row * m;

    (void)scratch;
    memset(out, 0, (size_t)m * sizeof *out);
    for (int64_t c = 0; c < candidates->width; c++)
        if (candidates->index[c] >= 0)
            for (int64_t t = 0; t < m; t++)
                out[t] += candidates->weight[c] * answer->state->targets[candidates->index[c] * m + t];
}

fkm_status fkm_model_predict_values(const fkm_model *model, const fkm_batch *batch, double *values)
{
    fkm_status status = FKM_OK;
    struct fkmi_question question = {0};
    struct answer answer = {.question = &question, .out = values};

    FKMI_TRY(fkmi_question_need_task(model, FKM_TASK_REGRESS, FKM_TASK_REGRESS, "values to predict"));
    FKMI_TRY_GOTO(fkmi_question_ask(model, batch, values, "predict", &question));
    answer.state = question.oracle.state;
    FKMI_TRY_GOTO(
        fkmi_oracle_each(&question.oracle, &question.rows, model->params.top_k, 0, write_values, &answer));
done:
    fkmi_question_free(&question);
    return status;
}

/* ---- neighbours */

static void write_neighbours(void *job, int64_t row, const struct fkmi_candidates *candidates,
                             double *scratch)
{
    const struct answer *answer = job;
    int64_t *index = answer->out;
    double *distance = answer->more[0], *routing = answer->more[1];

    (void)scratch;
    for (int64_t c = 0; c < answer->width; c++) {
        const int64_t at = row * answer->width + c;
        const bool there = c < candidates->width && candidates->index[c] >= 0;
        if (index)
            index[at] = there ? candidates->index[c] : -1;
        if (distance)
            distance[at] = there ? candidates->distance[c] : INFINITY;
        if (routing)
            routing[at] = there ? candidates->weight[c] : 0.0;
    }
}

fkm_status fkm_model_nearest(const fkm_model *model, const fkm_batch *batch, int64_t top_k, int64_t *index,
                             double *distance, double *routing)
{
    fkm_status status = FKM_OK;
    struct fkmi_question question = {0};
    struct answer answer = {.question = &question, .out = index, .more = {distance, routing}, .width = top_k};
    const void *any = index ? (const void *)index : distance ? (const void *)distance : routing;

    if (top_k < 1)
        return fkmi_fail(FKM_EINVAL, "top_k is %lld; it must be at least 1", (long long)top_k);
    FKMI_TRY_GOTO(fkmi_question_ask(model, batch, any, "nearest", &question));
    if (top_k > INT64_MAX / (int64_t)sizeof *index / question.rows.n)
        FKMI_TRY_GOTO(fkmi_fail(FKM_EINVAL, "answers for %lld rows x %lld prototypes are larger than memory",
                                (long long)question.rows.n, (long long)top_k));
    answer.state = question.oracle.state;
    FKMI_TRY_GOTO(fkmi_oracle_each(&question.oracle, &question.rows, top_k, 0, write_neighbours, &answer));
done:
    fkmi_question_free(&question);
    return status;
}

/* ---- similarities to every prototype, a block of rows at a time */

fkm_status fkm_model_transform(const fkm_model *model, const fkm_batch *batch, float *similarity)
{
    enum { BLOCK_ENTRIES = 1 << 20 };
    fkm_status status = FKM_OK;
    struct fkmi_question question = {0};
    const struct fkmi_state *state;
    double *distance = NULL;
    int64_t block;

    FKMI_TRY_GOTO(fkmi_question_ask(model, batch, similarity, "transform", &question));
    state = question.oracle.state;
    block = BLOCK_ENTRIES / state->k < 1 ? 1 : BLOCK_ENTRIES / state->k;
    block = block < question.rows.n ? block : question.rows.n;
    FKMI_TRY_GOTO(fkmi_alloc(&distance, block * state->k, sizeof *distance));
    for (int64_t first = 0; first < question.rows.n; first += block) {
        const int64_t n = question.rows.n - first < block ? question.rows.n - first : block;
        const struct fkmi_rows some = fkmi_rows_slice(&question.rows, first, n);
        FKMI_TRY_GOTO(
            model->context->backend->scan(model->context, &some, question.oracle.pack,
                                          &(struct fkmi_scan){.kind = FKMI_SCAN_ALL, .distance = distance}));
        for (int64_t i = 0; i < n * state->k; i++)
            similarity[first * state->k + i] =
                (float)fkmi_similarity(model->params.metric, distance[i], state->scale);
    }
done:
    fkmi_free(distance);
    fkmi_question_free(&question);
    return status;
}
