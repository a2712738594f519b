/* cmd_finetune.c — fkm finetune: phase 2 on a model that has learned before.
 * SPDX-License-Identifier: Apache-2.0 */
#include "progress.h"
#include "rows.h"
#include "session.h"
#include "talk.h"

struct finetune {
    const struct options *options;
    const char *model_path, *data_path, *eval_path, *output_path;
    struct schema schema;
    struct rows rows, eval_rows;
    fkm_context *context;
    fkm_model *model;
    struct progress progress;
};

static int load(struct finetune *job, const char *path, enum input_use use, struct rows *rows)
{
    struct input input;
    const size_t limit = option_size(job->options, "memory-limit");
    int code = EXIT_FINE;
    TRY_GOTO(input_open(&input, job->options, path, &job->schema, use));
    TRY_GOTO(rows_load(rows, &input, limit));
done:
    input_close(&input);
    return code;
}

static int learn(struct finetune *job)
{
    fkm_finetune_options settings = FKM_FINETUNE_OPTIONS_INIT;
    struct learn_report report = {.model_path = job->output_path, .eval_path = job->eval_path};
    fkm_model_info info = {.struct_size = sizeof info};
    struct progress whole;

    TRY(session_context(job->options, 0, &job->context));
    TRY(session_model(job->context, job->model_path, &job->model, &job->schema));
    TRY(fail_status(fkm_model_describe(job->model, &info), BLAME_CALL, NULL));
    report.first_history = info.n_history;
    TRY(load(job, job->data_path, INPUT_SCORES, &job->rows));
    if (job->eval_path)
        TRY(load(job, job->eval_path, INPUT_EVAL, &job->eval_rows));
    const fkm_batch batch = rows_batch(&job->rows), eval_batch = rows_batch(&job->eval_rows);
    const fkm_batch *eval = job->eval_path ? &eval_batch : NULL;

    progress_start(&whole);
    progress_start(&job->progress);
    settings.epochs = option_int(job->options, "epochs");
    settings.search = option_is(job->options, "lr", "auto");
    settings.lr = settings.search ? 0 : option_real(job->options, "lr");
    settings.early_stopping_rounds = option_int(job->options, "early-stopping-rounds");
    settings.eval = eval;
    settings.eval_fraction = option_real(job->options, "eval-fraction");
    settings.progress = progress_learning;
    settings.user = &job->progress;
    TRY(learn_ended(fkm_model_finetune(job->model, &batch, &settings), job->data_path, job->eval_path));
    talk_end_line();
    report.n_rows = job->rows.n;
    report.seconds = progress_seconds(&whole);
    if (eval)
        TRY(scores_of(job->model, eval, &report.scores));
    TRY(session_save(job->model, job->output_path));
    return learn_report(job->options, job->model, &job->schema, &report);
}

int run_finetune(const struct options *options)
{
    struct finetune job = {.options = options, .eval_path = option_text(options, "eval")};
    int code;

    TRY(learn_check(options, true));
    TRY(option_required(options, "model", &job.model_path));
    TRY(option_required(options, "data", &job.data_path));
    job.output_path = option_given(options, "output") ? option_text(options, "output") : job.model_path;
    TRY(output_possible(job.output_path));
    code = learn(&job);
    talk_end_line();
    fkm_model_free(job.model);
    fkm_context_free(job.context);
    rows_free(&job.rows);
    rows_free(&job.eval_rows);
    schema_free(&job.schema);
    return code;
}
