/* learn.c — what fit and finetune share: their options against each other, and the summary at the end.
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "input.h"
#include "session.h"
#include "talk.h"

static int task_of(const struct options *options, fkm_task *task)
{
    const char *name;
    TRY(option_required(options, "task", &name));
    for (int i = FKM_TASK_CLUSTER; i <= FKM_TASK_REGRESS; i++)
        if (option_is(options, "task", task_name((fkm_task)i)))
            *task = (fkm_task)i;
    return EXIT_FINE;
}

int learn_params(const struct options *options, fkm_params *params)
{
    *params = (fkm_params)FKM_PARAMS_INIT;
    TRY(task_of(options, &params->task));
    params->missing = option_is(options, "missing", "error") ? FKM_MISSING_ERROR : FKM_MISSING_MASK;
    TRY(options_params(options, params));
    if (option_given(options, "finetune") && (params->soft == FKM_SOFT_HARD || params->soft == FKM_SOFT_MEAN))
        return fail_usage(
            "fit",
            "--finetune needs gradients; --soft-type hard and mean have none: use scaled or softmax_scaled");
    return EXIT_FINE;
}

void learn_schema(const struct options *options, const fkm_params *params, const char *data_path,
                  struct schema *schema)
{
    const fkm_format format = input_format(options, data_path);
    *schema = (struct schema){.task = params->task, .index_base = -1};
    schema->dtype = params->dtype == FKM_DTYPE_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32;
    if (format == FKM_FORMAT_NPY || format == FKM_FORMAT_LIBSVM)
        return; /* targets are files of their own, or in a fixed place */
    if (option_given(options, "target"))
        schema->target = need_copy(option_text(options, "target"));
    if (option_given(options, "weight"))
        schema->weight = need_copy(option_text(options, "weight"));
}

int learn_check(const struct options *options, bool finetunes)
{
    const char *command = options_command(options)->name;
    if (option_given(options, "lr") && !finetunes)
        return fail_usage(command, "--lr belongs to phase 2; add --finetune EPOCHS");
    if (option_given(options, "lr") && !option_is(options, "lr", "auto") &&
        !(option_real(options, "lr") > 0 && option_real(options, "lr") <= 10))
        return fail_usage(command, "--lr is '%s'; valid: auto or a number in (0, 10]",
                          option_text(options, "lr"));
    if (option_given(options, "eval-fraction") && option_real(options, "eval-fraction") >= 1)
        return fail_usage(command, "--eval-fraction is %s; valid: a number in [0, 1)",
                          option_text(options, "eval-fraction"));
    if (option_given(options, "eval") && option_given(options, "eval-fraction"))
        return fail_usage(command, "--eval and --eval-fraction exclude each other");
    if (option_given(options, "early-stopping-rounds")) {
        if (!finetunes)
            return fail_usage(command, "--early-stopping-rounds belongs to phase 2; add --finetune EPOCHS");
        if (!option_given(options, "eval") && !(option_real(options, "eval-fraction") > 0))
            return fail_usage(command, "--early-stopping-rounds needs --eval or --eval-fraction");
    }
    return EXIT_FINE;
}

int learn_ended(fkm_status status, const char *data_path, const char *eval_path)
{
    const bool in_eval = eval_path && strncmp(fkm_last_error(), "eval: ", strlen("eval: ")) == 0;
    return fail_status(status, BLAME_ROWS,
                       status == FKM_EINVAL ? input_name(in_eval ? eval_path : data_path) : NULL);
}

/* The score on held-out rows that the model was kept for: the best of phase 2, else the last of phase 1. */
static double held_out_score(const fkm_model *model, const fkm_model_info *info, int64_t first)
{
    double score = NAN;
    bool finetuned = false;
    for (int64_t i = first; i < info->n_history; i++) {
        fkm_history line = {.struct_size = sizeof line};
        if (fkm_model_history(model, i, &line) != FKM_OK || isnan(line.eval))
            continue;
        const bool in_phase_2 = strcmp(line.phase, "finetune") == 0;
        if (!in_phase_2 || !finetuned || line.eval > score)
            score = line.eval;
        finetuned = in_phase_2;
    }
    return score;
}

static int report_json(const fkm_model_info *info, const struct learn_report *report, double held_out)
{
    struct output output;
    TRY(output_open(&output, NULL));
    struct json json = {&output, 0, true};
    json_open(&json, NULL, '{');
    json_text(&json, "model", report->model_path);
    json_text(&json, "task", task_name(info->params.task));
    json_int(&json, "rows", report->n_rows);
    json_int(&json, "features", info->dim);
    if (info->params.task == FKM_TASK_CLASSIFY || info->params.task == FKM_TASK_MULTILABEL)
        json_int(&json, "classes", info->n_classes);
    if (info->params.task == FKM_TASK_REGRESS)
        json_int(&json, "targets", info->n_targets);
    json_int(&json, "prototypes", info->k);
    json_int(&json, "iterations", info->iterations);
    json_int(&json, "batches", info->batches);
    json_int(&json, "gradient_steps", info->gradient_steps);
    json_real(&json, "learning_rate", info->learning_rate);
    json_real(&json, "held_out_score", held_out);
    json_real(&json, "seconds", round(1e3 * report->seconds) / 1e3);
    if (report->eval_path) {
        json_open(&json, "eval", '{');
        json_text(&json, "data", report->eval_path);
        scores_json(&json, info->params.task, &report->scores);
        json_close(&json, '}');
    }
    json_close(&json, '}');
    return output_close(&output);
}

static void report_words(const fkm_model_info *info, const struct schema *schema,
                         const struct learn_report *report, double held_out)
{
    char rows[NUMBER_BYTES], features[NUMBER_BYTES], k[NUMBER_BYTES], classes[NUMBER_BYTES];
    struct text line = {0};
    text_printf(&line, "%s: %s prototypes", task_name(info->params.task), count_text(k, info->k));
    if (info->params.task == FKM_TASK_CLASSIFY || info->params.task == FKM_TASK_MULTILABEL)
        text_printf(&line, " of %s %s", count_text(classes, info->n_classes),
                    info->params.task == FKM_TASK_CLASSIFY ? "classes" : "tags");
    text_printf(&line, " from %s rows x %s features%s, %.2f s", count_text(rows, report->n_rows),
                count_text(features, info->dim), schema->standard.n > 0 ? " (standardized)" : "",
                report->seconds);
    if (info->gradient_steps > 0)
        text_printf(&line, ", %" PRId64 " gradient steps", info->gradient_steps);
    say("%s", line.bytes);
    if (report->eval_path) {
        line.length = 0;
        text_printf(&line, "%s: ", report->eval_path);
        scores_short(&line, info->params.task, &report->scores);
        say("%s", line.bytes);
    } else if (!isnan(held_out)) {
        say("held-out rows: score %.6g", held_out);
    }
    say("wrote %s", report->model_path);
    text_free(&line);
}

int learn_report(const struct options *options, const fkm_model *model, const struct schema *schema,
                 const struct learn_report *report)
{
    fkm_model_info info = {.struct_size = sizeof info};
    TRY(fail_status(fkm_model_describe(model, &info), BLAME_CALL, NULL));
    const double held_out = held_out_score(model, &info, report->first_history);
    report_words(&info, schema, report, held_out);
    return option_flag(options, "json") ? report_json(&info, report, held_out) : EXIT_FINE;
}
