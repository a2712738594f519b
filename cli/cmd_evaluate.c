/* cmd_evaluate.c — fkm evaluate: scores of a model on rows with targets, batch by batch.
 * SPDX-License-Identifier: Apache-2.0 */
#include "input.h"
#include "progress.h"
#include "session.h"
#include "talk.h"

static int add_rows(const fkm_model *model, struct input *input, fkm_evaluation *evaluation)
{
    struct progress progress;
    fkm_model_info info = {.struct_size = sizeof info};
    fkm_batch batch;
    TRY(fail_status(fkm_model_describe(model, &info), BLAME_CALL, NULL));
    const int64_t at_once = session_batch_rows(info.dim > info.n_classes ? info.dim : info.n_classes);
    progress_start(&progress);
    for (;;) {
        TRY(input_next(input, at_once, &batch));
        if (batch.n_rows == 0)
            break;
        TRY(fail_status(fkm_evaluation_add(evaluation, &batch), BLAME_ROWS, input->path));
        progress_rows(&progress, "evaluating", input->n_rows);
    }
    talk_end_line();
    if (input->n_rows == 0)
        return fail(EXIT_BAD_DATA, "%s has no rows", input->path);
    return EXIT_FINE;
}

static int print(const struct options *options, fkm_task task, const fkm_scores *scores)
{
    struct output output;
    TRY(output_open(&output, NULL));
    if (option_flag(options, "json")) {
        struct json json = {&output, 0, true};
        json_open(&json, NULL, '{');
        json_text(&json, "model", option_text(options, "model"));
        json_text(&json, "data", option_text(options, "data"));
        json_text(&json, "task", task_name(task));
        scores_json(&json, task, scores);
        json_close(&json, '}');
    } else {
        scores_print(&output, task, scores);
    }
    return output_close(&output);
}

int run_evaluate(const struct options *options)
{
    const char *model_path, *data_path;
    fkm_context *context = NULL;
    fkm_model *model = NULL;
    fkm_evaluation *evaluation = NULL;
    struct schema schema = {0};
    struct input input = {0};
    fkm_scores scores = {.struct_size = sizeof scores};
    int code = EXIT_FINE;

    TRY(option_required(options, "model", &model_path));
    TRY(option_required(options, "data", &data_path));
    TRY_GOTO(session_context(options, 0, &context));
    TRY_GOTO(session_model(context, model_path, &model, &schema));
    TRY_GOTO(input_open(&input, options, data_path, &schema, INPUT_SCORES));
    TRY_GOTO(fail_status(
        fkm_evaluation_create(model, session_strategy(options), option_int(options, "top-k"), &evaluation),
        BLAME_OPTIONS, NULL));
    TRY_GOTO(add_rows(model, &input, evaluation));
    TRY_GOTO(fail_status(fkm_evaluation_scores(evaluation, &scores), BLAME_ROWS, data_path));
    TRY_GOTO(print(options, schema.task, &scores));
done:
    talk_end_line();
    fkm_evaluation_free(evaluation);
    input_close(&input);
    schema_free(&schema);
    fkm_model_free(model);
    fkm_context_free(context);
    return code;
}
