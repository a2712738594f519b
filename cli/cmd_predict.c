/* cmd_predict.c — fkm predict: answers for rows as CSV, batch by batch.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "input.h"
#include "progress.h"
#include "session.h"
#include "talk.h"

/* What is asked, and memory for the answers of one batch. */
struct predict {
    const struct options *options;
    struct output output;
    struct schema schema;
    struct input input;
    fkm_context *context;
    fkm_model *model;
    fkm_model_info info;
    bool proba;
    int64_t n_nearest, n_top, batch_rows;
    int64_t *labels, *classes, *index, *top_labels;
    float *probabilities, *top_probabilities;
    uint8_t *tags;
    double *values, *distance, *routing;
};

static fkm_task task(const struct predict *job) { return job->schema.task; }
static const char *class_text(const struct predict *job, int64_t column, char number[NUMBER_BYTES])
{
    return schema_class(&job->schema, job->classes ? job->classes[column] : column, number);
}

/* ---- before the first row */

static int check(struct predict *job)
{
    const char *model_path = option_text(job->options, "model");
    job->proba = option_flag(job->options, "proba");
    job->n_nearest = option_int(job->options, "nearest");
    if (!job->info.fitted)
        return fail(EXIT_OTHER, "%s has not learned anything yet", model_path);
    if (job->proba && task(job) != FKM_TASK_CLASSIFY && task(job) != FKM_TASK_MULTILABEL)
        return fail_usage("predict", "--proba: a %s has no probabilities", task_name(task(job)));
    job->n_top = option_int(job->options, "top");
    if (job->n_top > 0 && task(job) != FKM_TASK_CLASSIFY && task(job) != FKM_TASK_MULTILABEL)
        return fail_usage("predict", "--top: a %s has no probabilities", task_name(task(job)));
    if (job->n_top > job->info.n_classes)
        job->n_top = job->info.n_classes;
    if ((option_given(job->options, "strategy") || option_given(job->options, "top-k")) &&
        task(job) != FKM_TASK_MULTILABEL)
        return fail_usage("predict", "--strategy and --top-k are for a multilabel model, %s is a %s",
                          model_path, task_name(task(job)));
    if (option_given(job->options, "top-k") && session_strategy(job->options) != FKM_STRATEGY_TOP_K)
        return fail_usage("predict", "--top-k needs --strategy top_k");
    if (job->n_nearest > job->info.k)
        job->n_nearest = job->info.k;
    return EXIT_FINE;
}

static int make_room(struct predict *job)
{
    const int64_t n_classes = job->info.n_classes, n_targets = job->info.n_targets;
    int64_t width = job->info.dim;
    if (n_classes > width && (job->proba || task(job) == FKM_TASK_MULTILABEL))
        width = n_classes;
    job->batch_rows = session_batch_rows(width);
    const size_t n = (size_t)job->batch_rows;
    job->labels = need(n, sizeof *job->labels);
    if (task(job) == FKM_TASK_MULTILABEL)
        job->tags = need(n * (size_t)n_classes, sizeof *job->tags);
    if (task(job) == FKM_TASK_REGRESS)
        job->values = need(n * (size_t)n_targets, sizeof *job->values);
    if (job->proba)
        job->probabilities = need(n * (size_t)n_classes, sizeof *job->probabilities);
    if (job->n_top > 0) {
        job->top_labels = need(n * (size_t)job->n_top, sizeof *job->top_labels);
        job->top_probabilities = need(n * (size_t)job->n_top, sizeof *job->top_probabilities);
    }
    if (job->n_nearest > 0) {
        job->index = need(n * (size_t)job->n_nearest, sizeof *job->index);
        job->distance = need(n * (size_t)job->n_nearest, sizeof *job->distance);
        job->routing = need(n * (size_t)job->n_nearest, sizeof *job->routing);
    }
    if (task(job) == FKM_TASK_CLASSIFY) {
        job->classes = need((size_t)n_classes, sizeof *job->classes);
        TRY(fail_status(fkm_model_classes(job->model, job->classes), BLAME_CALL, NULL));
    }
    return EXIT_FINE;
}

static void free_room(struct predict *job)
{
    free(job->labels);
    free(job->classes);
    free(job->index);
    free(job->probabilities);
    free(job->top_labels);
    free(job->top_probabilities);
    free(job->tags);
    free(job->values);
    free(job->distance);
    free(job->routing);
}

static void print_header(struct predict *job)
{
    char number[NUMBER_BYTES];
    if (task(job) == FKM_TASK_REGRESS) {
        struct names names = {0};
        schema_targets(&job->schema, job->info.n_targets, &names);
        for (int64_t t = 0; t < names.n; t++)
            output_field(&job->output, names.name[t], t == 0, ',');
        names_free(&names);
    } else {
        output_field(&job->output, "prediction", true, ',');
    }
    for (int64_t c = 0; job->proba && c < job->info.n_classes; c++)
        output_field(&job->output, class_text(job, c, number), false, ',');
    for (int64_t i = 1; i <= job->n_top; i++)
        output_printf(&job->output, ",top_%lld,proba_%lld", (long long)i, (long long)i);
    for (int64_t i = 1; i <= job->n_nearest; i++)
        output_printf(&job->output, ",nearest_%lld,distance_%lld,weight_%lld", (long long)i, (long long)i,
                      (long long)i);
    output_puts(&job->output, "\n");
}

/* ---- one batch */

static fkm_status answer(struct predict *job, const fkm_batch *batch)
{
    fkm_status status = FKM_OK;
    switch (task(job)) {
    case FKM_TASK_CLUSTER:
    case FKM_TASK_CLASSIFY:
        status = fkm_model_predict_labels(job->model, batch, job->labels);
        break;
    case FKM_TASK_MULTILABEL:
        status = fkm_model_predict_tags(job->model, batch, session_strategy(job->options),
                                        option_int(job->options, "top-k"), job->tags);
        break;
    case FKM_TASK_REGRESS:
        status = fkm_model_predict_values(job->model, batch, job->values);
        break;
    }
    if (status == FKM_OK && job->proba)
        status = fkm_model_predict_proba(job->model, batch, job->probabilities);
    if (status == FKM_OK && job->n_top > 0)
        status =
            fkm_model_predict_top(job->model, batch, job->n_top, job->top_labels, job->top_probabilities);
    if (status == FKM_OK && job->n_nearest > 0)
        status =
            fkm_model_nearest(job->model, batch, job->n_nearest, job->index, job->distance, job->routing);
    return status;
}

static void print_tags(struct predict *job, const uint8_t *tags)
{
    struct text joined = {0};
    char number[NUMBER_BYTES];
    text_puts(&joined, "");
    for (int64_t t = 0; t < job->info.n_classes; t++)
        if (tags[t])
            text_printf(&joined, "%s%s", joined.length ? ";" : "", class_text(job, t, number));
    output_field(&job->output, joined.bytes, true, ',');
    text_free(&joined);
}

static void print_row(struct predict *job, int64_t row)
{
    const int64_t n_classes = job->info.n_classes, n_targets = job->info.n_targets;
    char number[NUMBER_BYTES];
    switch (task(job)) {
    case FKM_TASK_CLUSTER:
        output_int(&job->output, job->labels[row], true, ',');
        break;
    case FKM_TASK_CLASSIFY:
        output_field(&job->output, schema_class(&job->schema, job->labels[row], number), true, ',');
        break;
    case FKM_TASK_MULTILABEL:
        print_tags(job, job->tags + row * n_classes);
        break;
    case FKM_TASK_REGRESS:
        for (int64_t t = 0; t < n_targets; t++)
            output_real(&job->output, job->values[row * n_targets + t], t == 0, ',');
        break;
    }
    for (int64_t c = 0; job->proba && c < n_classes; c++)
        output_float(&job->output, job->probabilities[row * n_classes + c], false, ',');
    for (int64_t i = 0; i < job->n_top; i++) {
        const int64_t at = row * job->n_top + i;
        output_field(&job->output, schema_class(&job->schema, job->top_labels[at], number), false, ',');
        output_float(&job->output, job->top_probabilities[at], false, ',');
    }
    for (int64_t i = 0; i < job->n_nearest; i++) {
        const int64_t at = row * job->n_nearest + i;
        output_int(&job->output, job->index[at], false, ',');
        output_real(&job->output, job->distance[at], false, ',');
        output_real(&job->output, job->routing[at], false, ',');
    }
    output_puts(&job->output, "\n");
}

static int answer_rows(struct predict *job)
{
    struct progress progress;
    fkm_batch batch;
    progress_start(&progress);
    print_header(job);
    for (;;) {
        TRY(input_next(&job->input, job->batch_rows, &batch));
        if (batch.n_rows == 0)
            break;
        batch.labels = NULL;
        batch.tag_indptr = NULL;
        batch.tags = NULL;
        batch.targets = NULL;
        batch.weight = NULL;
        TRY(fail_status(answer(job, &batch), BLAME_ROWS, job->input.path));
        for (int64_t i = 0; i < batch.n_rows; i++) {
            if (interrupted())
                return interrupted_code();
            print_row(job, i);
        }
        TRY(output_check(&job->output)); /* answers leave batch by batch */
        progress_rows(&progress, "predicting", job->input.n_rows);
    }
    talk_end_line();
    return EXIT_FINE;
}

int run_predict(const struct options *options)
{
    struct predict job = {.options = options, .info = {.struct_size = sizeof job.info}};
    const char *model_path, *data_path;
    int code = EXIT_FINE;

    TRY(option_required(options, "model", &model_path));
    TRY(option_required(options, "data", &data_path));
    TRY_GOTO(session_context(options, 0, &job.context));
    TRY_GOTO(session_model(job.context, model_path, &job.model, &job.schema));
    TRY_GOTO(fail_status(fkm_model_describe(job.model, &job.info), BLAME_CALL, NULL));
    TRY_GOTO(check(&job));
    TRY_GOTO(input_open(&job.input, options, data_path, &job.schema, INPUT_ASKS));
    TRY_GOTO(make_room(&job));
    TRY_GOTO(output_open(&job.output, option_text(options, "output")));
    TRY_GOTO(answer_rows(&job));
    TRY_GOTO(output_close(&job.output));
done:
    talk_end_line();
    output_abandon(&job.output);
    input_close(&job.input);
    free_room(&job);
    schema_free(&job.schema);
    fkm_model_free(job.model);
    fkm_context_free(job.context);
    return code;
}
