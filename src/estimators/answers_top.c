/* answers_top.c — the few most probable classes or tags of each row, where a column for each would not fit.
 * SPDX-License-Identifier: Apache-2.0 */
#include "estimators/question.h"

struct top {
    const struct fkmi_question *question;
    const struct fkmi_state *state;
    int64_t m, *labels; /* slots while a row is being answered */
    float *proba;
    double *scores; /* by thread, m: of tags */
};

static bool is_better(const struct top *top, double score, int64_t slot, double other_score, int64_t other)
{
    if (score != other_score)
        return score > other_score;
    return top->question->classes->rank[slot] < top->question->classes->rank[other];
}

/* Places a class among the n best, best first; returns how many there are then. */
static int64_t offer(const struct top *top, double score, int64_t slot, int64_t n, int64_t *slots,
                     double *scores)
{
    int64_t place = n;

    if (n == top->m) {
        if (!is_better(top, score, slot, scores[n - 1], slots[n - 1]))
            return n;
        place = n - 1;
    }
    for (; place > 0 && is_better(top, score, slot, scores[place - 1], slots[place - 1]); place--) {
        scores[place] = scores[place - 1];
        slots[place] = slots[place - 1];
    }
    scores[place] = score;
    slots[place] = slot;
    return n < top->m ? n + 1 : n;
}

/* The sums of classes that were looked at become negative, until all are cleared. */
static void write_classes(void *job, int64_t row, const struct fkmi_candidates *candidates, double *scratch)
{
    const struct top *top = job;
    const struct fkmi_question *question = top->question;
    int64_t *slots = top->labels + row * top->m, n = 0;
    double *scores = scratch + top->state->n_classes;

    fkmi_class_sums(top->state, question->classes->owner, candidates, scratch);
    for (int64_t c = 0; c < candidates->width; c++) {
        const int32_t slot = candidates->index[c] < 0 ? -1 : question->classes->owner[candidates->index[c]];

        if (slot < 0 || scratch[slot] < 0)
            continue;
        n = offer(top, scratch[slot], slot, n, slots, scores);
        scratch[slot] = -1;
    }
    for (int64_t r = 0; n < top->m; r++) /* all others have probability 0 */
        if (scratch[question->classes->order[r]] >= 0) {
            scores[n] = 0;
            slots[n++] = question->classes->order[r];
        }
    for (int64_t i = 0; i < top->m; i++) {
        top->proba[row * top->m + i] = (float)scores[i];
        slots[i] = top->state->class_label[slots[i]];
    }
    fkmi_class_clear(question->classes->owner, candidates, scratch);
}

static void write_tags(void *job, int64_t row, const double *z, int thread)
{
    const struct top *top = job;
    int64_t *slots = top->labels + row * top->m, n = 0;
    double *scores = top->scores + thread * top->m;

    for (int64_t c = 0; c < top->state->n_classes; c++)
        n = offer(top, z[c], c, n, slots, scores);
    for (int64_t i = 0; i < top->m; i++) {
        top->proba[row * top->m + i] = (float)fkmi_sigmoid(scores[i]);
        slots[i] = top->state->class_label[slots[i]];
    }
}

fkm_status fkm_model_predict_top(const fkm_model *model, const fkm_batch *batch, int64_t m, int64_t *labels,
                                 float *proba)
{
    fkm_status status = FKM_OK;
    struct fkmi_question question = {0};
    struct top top = {.question = &question, .m = m, .labels = labels, .proba = proba};

    FKMI_TRY(
        fkmi_question_need_task(model, FKM_TASK_CLASSIFY, FKM_TASK_MULTILABEL, "probabilities to predict"));
    FKMI_TRY_GOTO(
        fkmi_question_ask(model, batch, labels ? (const void *)proba : NULL, "predict_top", &question));
    top.state = question.oracle.state;
    if (m < 1 || m > top.state->n_classes)
        FKMI_TRY_GOTO(fkmi_fail(FKM_EINVAL, "m is %lld; it must be between 1 and the %lld classes",
                                (long long)m, (long long)top.state->n_classes));
    FKMI_TRY_GOTO(fkmi_alloc(&top.scores, m * fkmi_pool_threads(model->context->pool), sizeof *top.scores));
    if (model->params.task == FKM_TASK_MULTILABEL)
        FKMI_TRY_GOTO(fkmi_oracle_each_tags(&question.oracle, &question.rows, write_tags, &top));
    else
        FKMI_TRY_GOTO(fkmi_oracle_each(&question.oracle, &question.rows, model->params.top_k,
                                       top.state->n_classes + m, write_classes, &top));
done:
    fkmi_free(top.scores);
    fkmi_question_free(&question);
    return status;
}
