/* cmd_fit_stream.c — fkm fit --stream: learns batch by batch, keeps checkpoints, resumes from them.
 *
 * Everything a resumed run needs is in the checkpoint: the library keeps the place in the stream, notes keep
 * the classes met so far, the standardization, and which of the two phases was under way.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "input.h"
#include "progress.h"
#include "session.h"
#include "talk.h"
#include "words.h"

#define PHASE_NOTE "stream.phase"

struct stream {
    const struct options *options;
    const char *model_path, *data_path, *checkpoint; /* checkpoint may be NULL */
    fkm_params params;
    struct schema schema;
    struct input input;
    fkm_context *context;
    fkm_model *model;
    bool resumed;
    int batch_code; /* what went wrong between batches */
    int64_t n_rows, unsaved_batches;
    struct progress progress;
};

/* ---- before learning */

/* Parameters given again must be those of the checkpoint. */
static int check_same_params(const struct stream *stream, const fkm_model_info *info)
{
    char asked[256], kept[256];
    if (info->params.task != stream->params.task)
        return fail_usage("fit", "%s holds a %s, --task asks for a %s", stream->checkpoint,
                          task_name(info->params.task), task_name(stream->params.task));
    for (size_t i = 0; i < fkm_param_count(); i++) {
        const char *name = fkm_param_at(i)->name;
        TRY(fail_status(fkm_params_get(&stream->params, name, asked, sizeof asked), BLAME_CALL, NULL));
        TRY(fail_status(fkm_params_get(&info->params, name, kept, sizeof kept), BLAME_CALL, NULL));
        if (strcmp(asked, kept) != 0)
            return fail_usage("fit",
                              "%s was made with %s = %s, now it is %s; --resume goes on with the same "
                              "parameters",
                              stream->checkpoint, name, kept, asked);
    }
    return EXIT_FINE;
}

/* One pass over the rows for means and deviations. */
static int measure(struct stream *stream)
{
    struct progress progress;
    fkm_batch batch;
    progress_start(&progress);
    for (;;) {
        TRY(input_next(&stream->input, session_batch_rows(1024), &batch));
        if (batch.n_rows == 0)
            break;
        if (!batch.x)
            return fail(EXIT_BAD_DATA, "%s has sparse rows; --standardize needs dense ones",
                        stream->data_path);
        standard_measure(&stream->schema.standard, &batch);
        progress_rows(&progress, "measuring", stream->input.n_rows);
    }
    talk_end_line();
    standard_finish(&stream->schema.standard);
    /* Opened anew: with the standardization on top, and classes numbered as if nothing had been read. */
    input_close(&stream->input);
    return input_open(&stream->input, stream->options, stream->data_path, &stream->schema,
                      INPUT_LEARNS_CLASSES);
}

static int open_new(struct stream *stream)
{
    TRY(words_learn(stream->options, stream->data_path, &stream->schema));
    words_say(&stream->schema, stream->data_path);
    TRY(input_open(&stream->input, stream->options, stream->data_path, &stream->schema,
                   INPUT_LEARNS_CLASSES));
    if (option_flag(stream->options, "standardize"))
        TRY(measure(stream));
    return fail_status(fkm_model_create(stream->context, &stream->params, &stream->model), BLAME_OPTIONS,
                       NULL);
}

static int open_checkpoint(struct stream *stream)
{
    fkm_model_info info = {.struct_size = sizeof info};
    schema_free(&stream->schema);
    TRY(session_model(stream->context, stream->checkpoint, &stream->model, &stream->schema));
    TRY(fail_status(fkm_model_describe(stream->model, &info), BLAME_CALL, NULL));
    TRY(check_same_params(stream, &info));
    TRY(words_check_same(stream->options, stream->checkpoint, &stream->schema));
    if (!fkm_model_note(stream->model, PHASE_NOTE))
        return fail(EXIT_BAD_DATA, "%s is no checkpoint of fkm fit --stream", stream->checkpoint);
    say("going on from %s", stream->checkpoint);
    stream->resumed = true;
    return input_open(&stream->input, stream->options, stream->data_path, &stream->schema,
                      INPUT_LEARNS_CLASSES);
}

/* ---- learning */

/* Classes met so far go into the notes before the model is saved: a checkpoint knows them all. */
static int save_checkpoint(struct stream *stream)
{
    stream->unsaved_batches = 0;
    if (input_describe_classes(&stream->input, &stream->schema))
        TRY(fail_status(schema_classes_to_model(&stream->schema, stream->model), BLAME_CALL, NULL));
    return stream->checkpoint ? session_save(stream->model, stream->checkpoint) : EXIT_FINE;
}

/* Between batches: the model and its place in the stream agree here. */
static int on_progress(void *user, const fkm_progress *now)
{
    struct stream *stream = user;
    stream->n_rows = now->rows;
    stream->unsaved_batches++;
    if (stream->checkpoint && stream->unsaved_batches >= option_int(stream->options, "checkpoint-batches"))
        stream->batch_code = save_checkpoint(stream);
    return progress_learning(&stream->progress, now) || stream->batch_code != EXIT_FINE;
}

static int keep_checkpoint(struct stream *stream)
{
    if (!stream->checkpoint)
        return interrupted_code();
    TRY(save_checkpoint(stream));
    say("interrupted; %s is kept: the same command with --resume goes on", stream->checkpoint);
    return EXIT_CHECKPOINT;
}

static int run_phase(struct stream *stream, const char *phase, int64_t epochs)
{
    fkm_stream_options options = FKM_STREAM_OPTIONS_INIT;
    const char *reached = fkm_model_note(stream->model, PHASE_NOTE);
    options.epochs = epochs;
    options.gradient_step = strcmp(phase, "2") == 0;
    options.resume = stream->resumed && reached && strcmp(reached, phase) == 0;
    options.progress = on_progress;
    options.user = stream;
    TRY(fail_status(fkm_model_set_note(stream->model, PHASE_NOTE, phase), BLAME_CALL, NULL));

    const fkm_status status = fkm_model_fit_source(stream->model, input_source(&stream->input), &options);
    talk_end_line();
    TRY(stream->batch_code);
    if (status == FKM_EINTERRUPTED && interrupted())
        return keep_checkpoint(stream);
    if (status != FKM_OK && stream->input.sparse_refused)
        return input_check(&stream->input, &(fkm_batch)FKM_BATCH_INIT);
    TRY(learn_ended(status, stream->data_path, NULL));
    return save_checkpoint(stream);
}

/* The first row tells the columns; a stream that cannot go back tells them after learning. */
static int look_at_columns(struct stream *stream)
{
    fkm_batch batch;
    if (input_once(stream->data_path))
        return EXIT_FINE;
    TRY(input_next(&stream->input, 1, &batch));
    if (batch.n_rows == 0)
        return fail(EXIT_BAD_DATA, "%s has no rows", stream->data_path);
    input_describe(&stream->input, &stream->schema, batch.n_cols);
    return input_rewind(&stream->input);
}

static int learn(struct stream *stream)
{
    const bool finetunes = option_given(stream->options, "finetune");
    const char *reached = fkm_model_note(stream->model, PHASE_NOTE);
    const bool in_phase_2 = reached && strcmp(reached, "2") == 0;

    TRY(look_at_columns(stream));
    TRY(schema_to_model(&stream->schema, stream->model));
    if (!in_phase_2)
        TRY(run_phase(stream, "1", option_int(stream->options, "epochs")));
    if (finetunes) {
        TRY(input_rewind(&stream->input));
        TRY(run_phase(stream, "2", option_int(stream->options, "finetune")));
    } else if (in_phase_2) {
        return fail_usage("fit", "%s was made with --finetune", stream->checkpoint);
    }
    return fail_status(fkm_model_set_note(stream->model, PHASE_NOTE, NULL), BLAME_CALL, NULL);
}

/* ---- after learning */

static int score(struct stream *stream, struct learn_report *report)
{
    struct input input = {0};
    fkm_evaluation *evaluation = NULL;
    fkm_batch batch;
    int code = EXIT_FINE;
    report->eval_path = option_text(stream->options, "eval");
    report->scores = (fkm_scores){.struct_size = sizeof report->scores};
    if (!report->eval_path)
        return EXIT_FINE;
    TRY_GOTO(input_open(&input, stream->options, report->eval_path, &stream->schema, INPUT_EVAL));
    TRY_GOTO(fail_status(fkm_evaluation_create(stream->model, FKM_STRATEGY_ADAPTIVE, 1, &evaluation),
                         BLAME_CALL, NULL));
    for (;;) {
        TRY_GOTO(input_next(&input, session_batch_rows(1024), &batch));
        if (batch.n_rows == 0)
            break;
        TRY_GOTO(fail_status(fkm_evaluation_add(evaluation, &batch), BLAME_ROWS, input.path));
    }
    TRY_GOTO(fail_status(fkm_evaluation_scores(evaluation, &report->scores), BLAME_ROWS, input.path));
done:
    fkm_evaluation_free(evaluation);
    input_close(&input);
    return code;
}

static int work(struct stream *stream)
{
    struct learn_report report = {.model_path = stream->model_path};
    fkm_model_info info = {.struct_size = sizeof info};
    struct progress whole;
    struct stat file;
    const bool resumes = option_flag(stream->options, "resume") && stat(stream->checkpoint, &file) == 0;

    TRY(session_context(stream->options, 0, &stream->context));
    progress_start(&whole);
    progress_start(&stream->progress);
    TRY(resumes ? open_checkpoint(stream) : open_new(stream));
    TRY(learn(stream));
    TRY(fail_status(fkm_model_describe(stream->model, &info), BLAME_CALL, NULL));
    input_describe(&stream->input, &stream->schema, info.dim);
    TRY(schema_to_model(&stream->schema, stream->model));
    report.n_rows = stream->n_rows;
    report.seconds = progress_seconds(&whole);
    TRY(score(stream, &report));
    TRY(session_save(stream->model, stream->model_path));
    return learn_report(stream->options, stream->model, &stream->schema, &report);
}

static int check(const struct options *options)
{
    static const char *const of_memory[] = {"max-iters", "tol", "eval-fraction", "early-stopping-rounds",
                                            NULL};
    for (int i = 0; of_memory[i]; i++)
        if (option_given(options, of_memory[i]))
            return fail_usage("fit", "--%s needs all rows in memory; it does not go with --stream",
                              of_memory[i]);
    if (option_is(options, "lr", "auto"))
        return fail_usage("fit", "--lr auto needs all rows in memory; give a number with --stream");
    if (!option_given(options, "checkpoint"))
        for (int i = 0; i < 2; i++)
            if (option_given(options, i ? "resume" : "checkpoint-batches"))
                return fail_usage("fit", "--%s needs --checkpoint FILE", i ? "resume" : "checkpoint-batches");
    if (option_given(options, "data") && input_once(option_text(options, "data")) &&
        (option_int(options, "epochs") > 1 || option_given(options, "finetune") ||
         option_flag(options, "standardize") || option_flag(options, "resume")))
        return fail_usage(
            "fit",
            "%s can be read once: --epochs, --finetune, --standardize and --resume need a file with --stream",
            input_name(option_text(options, "data")));
    TRY(words_check(options));
    return learn_check(options, option_given(options, "finetune"));
}

int run_fit_stream(const struct options *options)
{
    struct stream stream = {.options = options, .checkpoint = option_text(options, "checkpoint")};
    int code;

    TRY(check(options));
    TRY(learn_params(options, &stream.params));
    if (option_given(options, "lr"))
        stream.params.learning_rate = option_real(options, "lr");
    TRY(option_required(options, "data", &stream.data_path));
    TRY(option_required(options, "model", &stream.model_path));
    if (stream.checkpoint && strcmp(stream.checkpoint, stream.model_path) == 0)
        return fail_usage("fit", "--checkpoint and --model are the same file, %s", stream.checkpoint);
    TRY(output_possible(stream.model_path));
    if (stream.checkpoint)
        TRY(output_possible(stream.checkpoint));
    learn_schema(options, &stream.params, stream.data_path, &stream.schema);
    code = work(&stream);
    talk_end_line();
    /* Stopped before the first batch: the checkpoint is still there. */
    if (stream.resumed && code == interrupted_code_number())
        code = EXIT_CHECKPOINT;
    input_close(&stream.input);
    fkm_model_free(stream.model);
    fkm_context_free(stream.context);
    schema_free(&stream.schema);
    return code;
}
