/* cmd_inspect.c — fkm inspect: what a person can read in a model. The tables in numbers: inspect_csv.c.
 * SPDX-License-Identifier: Apache-2.0 */
#include "inspect.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "talk.h"

/* ---- gathering */

/* Prototypes without labels (clusterer, regressor) are one group. */
static int64_t group_of(const struct inspect *model, int64_t j)
{
    if (!model->label || !model->classes)
        return 0;
    int64_t low = 0, high = model->info.n_classes - 1;
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (model->classes[middle] < model->label[j])
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Root mean square distance of a group's prototypes from their common mean, by mass. */
static void measure_spread(struct inspect *model)
{
    const int64_t k = model->info.k, dim = model->info.dim;
    double *mean = need((size_t)(model->n_groups * dim), sizeof *mean);
    for (int64_t j = 0; j < k; j++) {
        const struct group *group = &model->groups[group_of(model, j)];
        for (int64_t d = 0; group->mass > 0 && d < dim; d++)
            mean[(group - model->groups) * dim + d] +=
                model->points[j * dim + d] * model->mass[j] / group->mass;
    }
    for (int64_t j = 0; j < k; j++) {
        struct group *group = &model->groups[group_of(model, j)];
        double square = 0;
        for (int64_t d = 0; d < dim; d++) {
            const double away = model->points[j * dim + d] - mean[(group - model->groups) * dim + d];
            square += away * away;
        }
        if (group->mass > 0)
            group->spread += square * model->mass[j] / group->mass;
    }
    for (int64_t g = 0; g < model->n_groups; g++)
        model->groups[g].spread = sqrt(model->groups[g].spread);
    free(mean);
}

static void make_groups(struct inspect *model)
{
    model->n_groups = model->label && model->classes ? model->info.n_classes : 1;
    model->groups = need((size_t)model->n_groups, sizeof *model->groups);
    for (int64_t g = 0; g < model->n_groups; g++)
        model->groups[g].label = model->classes ? model->classes[g] : 0;
    for (int64_t j = 0; j < model->info.k; j++) {
        struct group *group = &model->groups[group_of(model, j)];
        group->k++;
        group->mass += model->mass[j];
        model->total_mass += model->mass[j];
    }
    if (model->points)
        measure_spread(model);
}

static int gather(struct inspect *model)
{
    const size_t k = (size_t)model->info.k, dim = (size_t)model->info.dim;
    const bool labelled =
        model->schema.task == FKM_TASK_CLASSIFY || model->schema.task == FKM_TASK_MULTILABEL;
    if (!model->info.fitted)
        return EXIT_FINE;
    model->mass = need(k, sizeof *model->mass);
    TRY(fail_status(fkm_model_centroid_weights(model->model, model->mass), BLAME_CALL, NULL));
    if (labelled) {
        model->label = need(k, sizeof *model->label);
        model->classes = need((size_t)model->info.n_classes, sizeof *model->classes);
        TRY(fail_status(fkm_model_centroid_labels(model->model, model->label), BLAME_CALL, NULL));
        TRY(fail_status(fkm_model_classes(model->model, model->classes), BLAME_CALL, NULL));
    }
    if (model->schema.task == FKM_TASK_REGRESS && model->wants_points) {
        model->targets = need(k * (size_t)model->info.n_targets, sizeof *model->targets);
        TRY(fail_status(fkm_model_centroid_targets(model->model, model->targets), BLAME_CALL, NULL));
    }
    model->feature_weights = need(dim, sizeof *model->feature_weights);
    if (fkm_model_feature_weights(model->model, model->feature_weights) != FKM_OK) {
        free(model->feature_weights); /* all features count the same */
        model->feature_weights = NULL;
    }
    /* Spread is not worth gigabytes. */
    if (model->wants_points || k * dim <= (size_t)1 << 26) {
        model->points = need(k * dim, sizeof *model->points);
        TRY(fail_status(fkm_model_centroids(model->model, model->points), BLAME_CALL, NULL));
    }
    make_groups(model);
    return EXIT_FINE;
}

/* ---- orders */

static int by_mass(const void *a, const void *b)
{
    const struct group *left = a, *right = b;
    if (left->mass != right->mass)
        return left->mass < right->mass ? 1 : -1;
    return left->label < right->label ? -1 : left->label > right->label;
}

static int by_k(const void *a, const void *b)
{
    const int64_t left = ((const struct group *)a)->k, right = ((const struct group *)b)->k;
    return left < right ? -1 : left > right;
}

struct feature {
    int64_t column;
    double weight;
};
static int by_weight(const void *a, const void *b)
{
    const struct feature *left = a, *right = b;
    if (left->weight != right->weight)
        return left->weight < right->weight ? 1 : -1;
    return left->column < right->column ? -1 : 1;
}

static struct feature *features_by_weight(const struct inspect *model)
{
    struct feature *features = need((size_t)model->info.dim, sizeof *features);
    for (int64_t d = 0; d < model->info.dim; d++)
        features[d] = (struct feature){d, model->feature_weights[d]};
    qsort(features, (size_t)model->info.dim, sizeof *features, by_weight);
    return features;
}

/* ---- for people */

static void line(struct inspect *model, const char *title, const char *format, ...) PRINTF_LIKE(3, 4);
static void line(struct inspect *model, const char *title, const char *format, ...)
{
    char buffer[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(buffer, sizeof buffer, format, arguments);
    va_end(arguments);
    output_printf(&model->output, "%-20s %s\n", title, buffer);
}

static const char *param(const struct inspect *model, const char *name, char text[64])
{
    if (fkm_params_get(&model->info.params, name, text, 64) != FKM_OK)
        strcpy(text, "?");
    return text;
}

static void print_summary(struct inspect *model)
{
    const fkm_model_info *info = &model->info;
    char a[64], b[64], c[64];
    line(model, "task", "%s", task_name(info->params.task));
    line(model, "distance", "%s", param(model, "distance", a));
    line(model, "storage", "%s", param(model, "dtype", a));
    line(model, "routing", "%s, top_k %s, temperature %s", param(model, "soft_type", a),
         param(model, "top_k", b), param(model, "temperature", c));
    line(model, "memory", "%s", size_text(a, (double)info->bytes));
    if (!info->fitted) {
        line(model, "state", "has not learned anything yet");
        return;
    }
    line(model, "features", "%s%s", count_text(a, info->dim),
         model->schema.standard.n ? ", standardized" : "");
    if (model->label)
        line(model, info->params.task == FKM_TASK_CLASSIFY ? "classes" : "tags", "%s",
             count_text(a, info->n_classes));
    if (info->params.task == FKM_TASK_REGRESS)
        line(model, "targets", "%s", count_text(a, info->n_targets));
    line(model, "prototypes", "%s", count_text(a, info->k));
    line(model, "mass", "%.6g", model->total_mass);
    line(model, "scale", "%.6g (mean distance to the nearest prototype in phase 1)", info->scale);
    if (info->params.soft == FKM_SOFT_SOFTMAX_SCALED)
        line(model, "temperature", "%.6g (as learned, times scale)", info->temperature);
    line(model, "learned from", "%" PRId64 " passes, %" PRId64 " batches, %" PRId64 " gradient steps",
         info->iterations, info->batches, info->gradient_steps);
    if (info->learning_rate > 0)
        line(model, "learning rate", "%.6g", info->learning_rate);
}

static void print_groups(struct inspect *model)
{
    const int64_t n = model->n_groups;
    char number[NUMBER_BYTES];
    if (!model->label || n == 0)
        return;
    qsort(model->groups, (size_t)n, sizeof *model->groups, by_k);
    const int64_t least = model->groups[0].k, median = model->groups[n / 2].k, most = model->groups[n - 1].k;
    const char *what = model->schema.task == FKM_TASK_CLASSIFY ? "class" : "tag";
    output_printf(&model->output,
                  "\nprototypes per %s: least %" PRId64 ", median %" PRId64 ", most %" PRId64 "\n", what,
                  least, median, most);
    qsort(model->groups, (size_t)n, sizeof *model->groups, by_mass);
    output_printf(&model->output, "\n%-24s %10s %12s %12s\n", what, "prototypes", "mass", "spread");
    for (int64_t g = 0; g < n && g < model->top; g++) {
        const struct group *group = &model->groups[g];
        output_printf(&model->output, "%-24s %10" PRId64 " %12.6g",
                      schema_class(&model->schema, group->label, number), group->k, group->mass);
        if (model->points)
            output_printf(&model->output, " %12.6g", group->spread);
        output_puts(&model->output, "\n");
    }
    if (n > model->top)
        output_printf(&model->output, "(%" PRId64 " more; --top N shows more)\n", n - model->top);
}

static void print_features(struct inspect *model)
{
    char number[NUMBER_BYTES];
    if (!model->feature_weights)
        return;
    struct feature *features = features_by_weight(model);
    const bool equal = features[0].weight == features[model->info.dim - 1].weight;
    if (!equal) {
        output_printf(&model->output, "\n%-24s %12s\n", "feature", "weight");
        for (int64_t i = 0; i < model->info.dim && i < model->top; i++)
            output_printf(&model->output, "%-24s %12.6g\n",
                          schema_column(&model->schema, features[i].column, number), features[i].weight);
        if (model->info.dim > model->top)
            output_printf(&model->output, "(%" PRId64 " more; --top N shows more)\n",
                          model->info.dim - model->top);
    }
    free(features);
}

static void print_cell(struct output *output, double value)
{
    if (isnan(value))
        output_printf(output, " %12s", "-");
    else
        output_printf(output, " %12.6g", value);
}

static int print_last_history(struct inspect *model)
{
    const int64_t n = model->info.n_history, first = n > model->top ? n - model->top : 0;
    if (n == 0)
        return EXIT_FINE;
    output_printf(&model->output, "\n%-14s %6s %12s %12s %12s %12s %8s\n", "history", "epoch", "loss",
                  "shift", "eval", "rate", "k");
    if (first > 0)
        output_printf(&model->output, "(%" PRId64 " lines before; --history prints all)\n", first);
    for (int64_t i = first; i < n; i++) {
        fkm_history entry = {.struct_size = sizeof entry};
        TRY(fail_status(fkm_model_history(model->model, i, &entry), BLAME_CALL, NULL));
        output_printf(&model->output, "%-14s %6" PRId64, entry.phase, entry.epoch);
        print_cell(&model->output, entry.loss);
        print_cell(&model->output, entry.shift);
        print_cell(&model->output, entry.eval);
        print_cell(&model->output, entry.lr);
        output_printf(&model->output, " %8" PRId64 "\n", entry.k);
    }
    return EXIT_FINE;
}

static void print_notes(struct inspect *model)
{
    struct text columns = {0};
    if (model->schema.target)
        line(model, "target", "%s", model->schema.target);
    if (model->schema.weight)
        line(model, "weight column", "%s", model->schema.weight);
    for (int64_t j = 0; j < model->schema.columns.n && j < model->top; j++)
        text_printf(&columns, "%s%s", j ? ", " : "", model->schema.columns.name[j]);
    if (columns.bytes)
        output_printf(&model->output, "%-20s %s%s\n", "columns", columns.bytes,
                      model->schema.columns.n > model->top ? ", ..." : "");
    text_free(&columns);
}

static int print_text(struct inspect *model)
{
    print_summary(model);
    print_notes(model);
    print_groups(model);
    print_features(model);
    return print_last_history(model);
}

/* ---- for programs */

static void json_params(struct inspect *model, struct json *json)
{
    char value[256];
    double number;
    json_open(json, "params", '{');
    for (size_t i = 0; i < fkm_param_count(); i++) {
        const fkm_param_info *info = fkm_param_at(i);
        if (!(info->tasks & (1u << model->schema.task)) ||
            fkm_params_get(&model->info.params, info->name, value, sizeof value) != FKM_OK)
            continue;
        if (info->kind == FKM_PARAM_BOOL)
            json_bool(json, info->name, one_of(value, "true|yes|1"));
        else if (info->kind == FKM_PARAM_INT || info->kind == FKM_PARAM_REAL)
            if (parse_real(value, &number))
                json_real(json, info->name, number);
            else
                json_text(json, info->name, value);
        else
            json_text(json, info->name, value);
    }
    json_close(json, '}');
}

static void json_groups(struct inspect *model, struct json *json)
{
    char number[NUMBER_BYTES];
    if (!model->label)
        return;
    qsort(model->groups, (size_t)model->n_groups, sizeof *model->groups, by_mass);
    json_open(json, "classes", '[');
    for (int64_t g = 0; g < model->n_groups; g++) {
        json_open(json, NULL, '{');
        json_text(json, "name", schema_class(&model->schema, model->groups[g].label, number));
        json_int(json, "label", model->groups[g].label);
        json_int(json, "prototypes", model->groups[g].k);
        json_real(json, "mass", model->groups[g].mass);
        json_real(json, "spread", model->points ? model->groups[g].spread : NAN);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void json_features(struct inspect *model, struct json *json)
{
    char number[NUMBER_BYTES];
    if (!model->feature_weights)
        return;
    json_open(json, "feature_weights", '[');
    for (int64_t d = 0; d < model->info.dim; d++) {
        json_open(json, NULL, '{');
        json_text(json, "column", schema_column(&model->schema, d, number));
        json_real(json, "weight", model->feature_weights[d]);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static int json_history(struct inspect *model, struct json *json)
{
    json_open(json, "history", '[');
    for (int64_t i = 0; i < model->info.n_history; i++) {
        fkm_history entry = {.struct_size = sizeof entry};
        TRY(fail_status(fkm_model_history(model->model, i, &entry), BLAME_CALL, NULL));
        json_open(json, NULL, '{');
        json_text(json, "phase", entry.phase);
        json_int(json, "epoch", entry.epoch);
        json_real(json, "loss", entry.loss);
        json_real(json, "shift", entry.shift);
        json_real(json, "eval", entry.eval);
        json_real(json, "lr", entry.lr);
        json_int(json, "k", entry.k);
        json_close(json, '}');
    }
    json_close(json, ']');
    return EXIT_FINE;
}

static int print_json(struct inspect *model)
{
    struct json json = {&model->output, 0, true};
    const fkm_model_info *info = &model->info;
    json_open(&json, NULL, '{');
    json_text(&json, "task", task_name(info->params.task));
    json_bool(&json, "fitted", info->fitted);
    json_int(&json, "features", info->dim);
    json_int(&json, "prototypes", info->k);
    json_int(&json, "n_classes", info->n_classes);
    json_int(&json, "n_targets", info->n_targets);
    json_int(&json, "bytes", (int64_t)info->bytes);
    json_real(&json, "mass", model->total_mass);
    json_real(&json, "scale", info->scale);
    json_real(&json, "temperature", info->temperature);
    json_real(&json, "learning_rate", info->learning_rate);
    json_int(&json, "iterations", info->iterations);
    json_int(&json, "batches", info->batches);
    json_int(&json, "gradient_steps", info->gradient_steps);
    json_bool(&json, "standardized", model->schema.standard.n > 0);
    json_text(&json, "target", model->schema.target);
    json_open(&json, "columns", '[');
    for (int64_t j = 0; j < model->schema.columns.n; j++)
        json_text(&json, NULL, model->schema.columns.name[j]);
    json_close(&json, ']');
    json_params(model, &json);
    json_groups(model, &json);
    json_features(model, &json);
    TRY(json_history(model, &json));
    json_close(&json, '}');
    return EXIT_FINE;
}

/* ---- entry */

static int check(const struct options *options)
{
    const int asked =
        option_flag(options, "json") + option_flag(options, "history") + option_flag(options, "centroids");
    if (asked > 1)
        return fail_usage("inspect", "--json, --history and --centroids exclude each other");
    return EXIT_FINE;
}

int run_inspect(const struct options *options)
{
    struct inspect model = {.info = {.struct_size = sizeof model.info},
                            .top = option_given(options, "top") ? option_int(options, "top") : 10,
                            .wants_points = option_flag(options, "centroids")};
    fkm_context *context = NULL;
    const char *path;
    int code = EXIT_FINE;

    TRY(check(options));
    TRY(option_required(options, "model", &path));
    TRY_GOTO(session_context(options, 0, &context));
    TRY_GOTO(session_model(context, path, &model.model, &model.schema));
    TRY_GOTO(fail_status(fkm_model_describe(model.model, &model.info), BLAME_CALL, NULL));
    TRY_GOTO(gather(&model));
    TRY_GOTO(output_open(&model.output, option_text(options, "output")));
    TRY_GOTO(option_flag(options, "json")        ? print_json(&model)
             : option_flag(options, "history")   ? inspect_history_csv(&model)
             : option_flag(options, "centroids") ? inspect_centroids_csv(&model)
                                                 : print_text(&model));
    TRY_GOTO(output_close(&model.output));
done:
    output_abandon(&model.output);
    free(model.mass);
    free(model.label);
    free(model.classes);
    free(model.targets);
    free(model.points);
    free(model.feature_weights);
    free(model.groups);
    schema_free(&model.schema);
    fkm_model_free(model.model);
    fkm_context_free(context);
    return code;
}
