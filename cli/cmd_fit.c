/* cmd_fit.c — fkm fit: a new model from rows in memory. Rows in a stream: cmd_fit_stream.c.
 * SPDX-License-Identifier: Apache-2.0 */
#include "progress.h"
#include "rows.h"
#include "session.h"
#include "talk.h"
#include "words.h"

struct fit {
    const struct options *options;
    const char *model_path, *data_path, *eval_path;
    fkm_params params;
    struct schema schema;
    struct rows rows, eval_rows;
    fkm_context *context;
    fkm_model *model;
    struct progress progress;
};

/* Rows, what they tell, and their standardization. */
static int load_rows(struct fit *fit, size_t limit)
{
    struct input input;
    int code = EXIT_FINE;
    TRY(words_learn(fit->options, fit->data_path, &fit->schema));
    TRY_GOTO(input_open(&input, fit->options, fit->data_path, &fit->schema, INPUT_LEARNS_CLASSES));
    TRY_GOTO(rows_load(&fit->rows, &input, limit));
    input_describe(&input, &fit->schema, fit->rows.n_cols);
    if (*fkm_source_note(input.file))
        say("%s: %s", fit->data_path, fkm_source_note(input.file));
    words_say(&fit->schema, fit->data_path);
    if (option_flag(fit->options, "standardize")) {
        const fkm_batch batch = rows_batch(&fit->rows);
        if (fit->rows.sparse)
            TRY_GOTO(
                fail(EXIT_BAD_DATA, "%s has sparse rows; --standardize needs dense ones", fit->data_path));
        standard_measure(&fit->schema.standard, &batch);
        standard_finish(&fit->schema.standard);
        standard_apply(&fit->schema.standard, fit->rows.x.bytes, fit->rows.dtype, fit->rows.n);
    }
done:
    input_close(&input);
    return code;
}

static int load_eval(struct fit *fit, size_t limit)
{
    struct input input = {0};
    int code = EXIT_FINE;
    if (!fit->eval_path)
        return EXIT_FINE;
    TRY_GOTO(input_open(&input, fit->options, fit->eval_path, &fit->schema, INPUT_EVAL));
    TRY_GOTO(rows_load(&fit->eval_rows, &input, limit));
done:
    input_close(&input);
    return code;
}

static int phase_1(struct fit *fit, const fkm_batch *batch, const fkm_batch *eval)
{
    fkm_fit_options options = FKM_FIT_OPTIONS_INIT;
    options.max_iters = option_int(fit->options, "max-iters");
    options.tol = option_real(fit->options, "tol");
    options.eval = eval;
    options.eval_fraction = option_real(fit->options, "eval-fraction");
    options.progress = progress_learning;
    options.user = &fit->progress;
    return learn_ended(fkm_model_fit(fit->model, batch, &options), fit->data_path, fit->eval_path);
}

static int phase_2(struct fit *fit, const fkm_batch *batch, const fkm_batch *eval)
{
    fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;
    if (!option_given(fit->options, "finetune"))
        return EXIT_FINE;
    options.epochs = option_int(fit->options, "finetune");
    options.search = option_is(fit->options, "lr", "auto");
    options.lr = options.search ? 0 : option_real(fit->options, "lr");
    options.early_stopping_rounds = option_int(fit->options, "early-stopping-rounds");
    options.eval = eval;
    options.eval_fraction = option_real(fit->options, "eval-fraction");
    options.progress = progress_learning;
    options.user = &fit->progress;
    return learn_ended(fkm_model_finetune(fit->model, batch, &options), fit->data_path, fit->eval_path);
}

static int learn(struct fit *fit)
{
    const size_t limit = option_size(fit->options, "memory-limit");
    struct progress whole;
    struct learn_report report = {.model_path = fit->model_path, .eval_path = fit->eval_path};

    TRY(load_rows(fit, limit));
    TRY(load_eval(fit, limit));
    TRY(session_context(fit->options, rows_bytes(&fit->rows) + rows_bytes(&fit->eval_rows), &fit->context));
    TRY(fail_status(fkm_model_create(fit->context, &fit->params, &fit->model), BLAME_OPTIONS, NULL));
    const fkm_batch batch = rows_batch(&fit->rows), eval_batch = rows_batch(&fit->eval_rows);
    const fkm_batch *eval = fit->eval_path ? &eval_batch : NULL;

    progress_start(&whole);
    progress_start(&fit->progress);
    TRY(phase_1(fit, &batch, eval));
    TRY(phase_2(fit, &batch, eval));
    talk_end_line();
    TRY(schema_to_model(&fit->schema, fit->model));
    report.n_rows = fit->rows.n;
    report.seconds = progress_seconds(&whole);
    if (eval)
        TRY(scores_of(fit->model, eval, &report.scores));
    TRY(session_save(fit->model, fit->model_path));
    return learn_report(fit->options, fit->model, &fit->schema, &report);
}

static int check(const struct options *options)
{
    static const char *const of_streams[] = {"epochs", "checkpoint", "checkpoint-batches", "resume", NULL};
    for (int i = 0; of_streams[i]; i++)
        if (option_given(options, of_streams[i]))
            return fail_usage("fit", "--%s needs --stream", of_streams[i]);
    TRY(words_check(options));
    return learn_check(options, option_given(options, "finetune"));
}

int run_fit(const struct options *options)
{
    struct fit fit = {.options = options, .eval_path = option_text(options, "eval")};
    int code = EXIT_FINE;

    if (option_flag(options, "stream"))
        return run_fit_stream(options);
    TRY(check(options));
    TRY(learn_params(options, &fit.params));
    TRY(option_required(options, "data", &fit.data_path));
    TRY(option_required(options, "model", &fit.model_path));
    TRY(output_possible(fit.model_path));
    learn_schema(options, &fit.params, fit.data_path, &fit.schema);
    code = learn(&fit);
    talk_end_line();
    fkm_model_free(fit.model);
    fkm_context_free(fit.context);
    rows_free(&fit.rows);
    rows_free(&fit.eval_rows);
    schema_free(&fit.schema);
    return code;
}
