/* session.c — what several commands do: make a context, load a model, score rows.
 * SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include <math.h>

#if defined(FKM_WITH_FAISS)
#include "faiss_search.h"
#endif
#include "input.h"
#include "talk.h"

int session_context(const struct options *options, size_t used, fkm_context **out)
{
    fkm_context_options settings = FKM_CONTEXT_OPTIONS_INIT;
    const size_t limit = option_size(options, "memory-limit");
    if (!option_is(options, "threads", "auto"))
        settings.n_threads = (int32_t)option_int(options, "threads");
    if (limit > 0 && used >= limit)
        return fail(EXIT_OTHER, "the rows alone need more than --memory-limit");
    settings.memory_limit = limit > 0 ? limit - used : 0;
    TRY(fail_status(fkm_context_create(&settings, out), BLAME_OPTIONS, NULL));
#if defined(FKM_WITH_FAISS)
    TRY(fail_status(faiss_search_set(*out), BLAME_OPTIONS, NULL));
#endif
    return 0;
}

int session_model(fkm_context *context, const char *path, fkm_model **model, struct schema *schema)
{
    TRY(input_readable(path));
    TRY(fail_status(fkm_model_load(context, path, model), BLAME_MODEL_FILE, path));
    return schema_from_model(*model, path, schema);
}

int session_save(const fkm_model *model, const char *path)
{
    TRY(output_possible(path));
    return fail_status(fkm_model_save(model, path), BLAME_OUTPUT, path);
}

fkm_strategy session_strategy(const struct options *options)
{
    return option_is(options, "strategy", "gap")     ? FKM_STRATEGY_GAP
           : option_is(options, "strategy", "top_k") ? FKM_STRATEGY_TOP_K
                                                     : FKM_STRATEGY_ADAPTIVE;
}

int64_t session_batch_rows(int64_t width)
{
    const int64_t rows = ((int64_t)1 << 22) / (width > 0 ? width : 1);
    return rows < 16 ? 16 : rows > 4096 ? 4096 : rows;
}

/* ---- scores */

int scores_of(const fkm_model *model, const fkm_batch *batch, fkm_scores *scores)
{
    fkm_evaluation *evaluation = NULL;
    *scores = (fkm_scores){.struct_size = sizeof *scores};
    fkm_status status = fkm_evaluation_create(model, FKM_STRATEGY_ADAPTIVE, 1, &evaluation);
    if (status == FKM_OK)
        status = fkm_evaluation_add(evaluation, batch);
    if (status == FKM_OK)
        status = fkm_evaluation_scores(evaluation, scores);
    fkm_evaluation_free(evaluation);
    return fail_status(status, BLAME_ROWS, NULL);
}

/* Names for people and for programs; which tasks they belong to. */
static const struct score {
    const char *title, *key;
    size_t offset;
    unsigned tasks;
} score_table[] = {
    {"accuracy", "accuracy", offsetof(fkm_scores, accuracy),
     1u << FKM_TASK_CLASSIFY | 1u << FKM_TASK_MULTILABEL},
    {"macro F1", "macro_f1", offsetof(fkm_scores, macro_f1),
     1u << FKM_TASK_CLASSIFY | 1u << FKM_TASK_MULTILABEL},
    {"micro F1", "micro_f1", offsetof(fkm_scores, micro_f1),
     1u << FKM_TASK_CLASSIFY | 1u << FKM_TASK_MULTILABEL},
    {"precision at 1", "precision_at_1", offsetof(fkm_scores, precision_at[0]), 1u << FKM_TASK_MULTILABEL},
    {"precision at 2", "precision_at_2", offsetof(fkm_scores, precision_at[1]), 1u << FKM_TASK_MULTILABEL},
    {"precision at 3", "precision_at_3", offsetof(fkm_scores, precision_at[2]), 1u << FKM_TASK_MULTILABEL},
    {"precision at 4", "precision_at_4", offsetof(fkm_scores, precision_at[3]), 1u << FKM_TASK_MULTILABEL},
    {"precision at 5", "precision_at_5", offsetof(fkm_scores, precision_at[4]), 1u << FKM_TASK_MULTILABEL},
    {"log loss", "log_loss", offsetof(fkm_scores, log_loss),
     1u << FKM_TASK_CLASSIFY | 1u << FKM_TASK_MULTILABEL},
    {"nearest prototype alone", "nearest_accuracy", offsetof(fkm_scores, nearest_accuracy),
     1u << FKM_TASK_CLASSIFY},
    {"root mean square error", "rmse", offsetof(fkm_scores, rmse), 1u << FKM_TASK_REGRESS},
    {"R2", "r2", offsetof(fkm_scores, r2), 1u << FKM_TASK_REGRESS},
    {"sum of distances", "sse", offsetof(fkm_scores, sse), 15},
};
enum { SCORES = sizeof score_table / sizeof score_table[0] };

static double score_of(const fkm_scores *scores, int i)
{
    return *(const double *)(const void *)((const char *)scores + score_table[i].offset);
}

void scores_print(struct output *output, fkm_task task, const fkm_scores *scores)
{
    char number[NUMBER_BYTES];
    output_printf(output, "%-24s %12s\n", "rows", count_text(number, scores->n_rows));
    for (int i = 0; i < SCORES; i++)
        if ((score_table[i].tasks & (1u << task)) && !isnan(score_of(scores, i)))
            output_printf(output, "%-24s %12.6g\n", score_table[i].title, score_of(scores, i));
}

void scores_json(struct json *json, fkm_task task, const fkm_scores *scores)
{
    json_int(json, "rows", scores->n_rows);
    for (int i = 0; i < SCORES; i++)
        if (score_table[i].tasks & (1u << task))
            json_real(json, score_table[i].key, score_of(scores, i));
}

void scores_short(struct text *text, fkm_task task, const fkm_scores *scores)
{
    switch (task) {
    case FKM_TASK_CLUSTER:
        text_printf(text, "sum of distances %.6g", scores->sse);
        break;
    case FKM_TASK_CLASSIFY:
        text_printf(text, "accuracy %.4f", scores->accuracy);
        break;
    case FKM_TASK_MULTILABEL:
        text_printf(text, "micro F1 %.4f, precision at 1 %.4f", scores->micro_f1, scores->precision_at[0]);
        break;
    case FKM_TASK_REGRESS:
        text_printf(text, "root mean square error %.6g, R2 %.4f", scores->rmse, scores->r2);
        break;
    }
}
