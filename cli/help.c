/* help.c — help texts, set from the tables of commands, options and parameters.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "output.h"
#include "talk.h"

enum { WIDTH = 90, INDENT = 30, TASKS = 4 };

/* Prints text from column `at` on, broken at blanks before WIDTH, continued at `indent`. */
static void wrapped(struct output *output, const char *text, size_t at, size_t indent)
{
    bool fresh = true; /* nothing printed on this line yet */
    while (*text) {
        const size_t word = strcspn(text, " ");
        if (!fresh && at + 1 + word > WIDTH) {
            output_printf(output, "\n%*s", (int)indent, "");
            at = indent;
            fresh = true;
        }
        output_printf(output, "%s%.*s", fresh ? "" : " ", (int)word, text);
        at += word + !fresh;
        fresh = false;
        text += word;
        text += strspn(text, " ");
    }
    output_puts(output, "\n");
}

/* "  --k-init N|auto     Clusters, or ..." */
static void entry(struct output *output, const char *left, const char *right)
{
    const size_t length = strlen(left);
    output_printf(output, "  %s", left);
    if (length + 4 > INDENT)
        output_printf(output, "\n%*s", INDENT, "");
    else
        output_printf(output, "%*s", (int)(INDENT - 2 - length), "");
    wrapped(output, right, INDENT, INDENT);
}

static void print_option(struct output *output, const struct option *option)
{
    struct text left = {0}, right = {0};
    if (option->letter)
        text_printf(&left, "-%c, ", option->letter);
    text_printf(&left, "--%s", option->name);
    if (option->value)
        text_printf(&left, " %s", option->value);
    text_puts(&right, option->help);
    if (option->kind == OPTION_CHOICE && strcmp(option->value, option->choices) != 0)
        text_printf(&right, ": %s", option->choices);
    if (option->standard)
        text_printf(&right, " (default %s)", option->standard);
    entry(output, left.bytes, right.bytes);
    text_free(&left);
    text_free(&right);
}

static const char *param_value(const fkm_param_info *info)
{
    switch (info->kind) {
    case FKM_PARAM_CHOICE:
        return info->choices ? info->choices : "WORD";
    case FKM_PARAM_INT:
        return "N";
    case FKM_PARAM_REAL:
        return "R";
    case FKM_PARAM_BOOL:
        break;
    }
    return info->standard && strcmp(info->standard, "true") == 0 ? "yes|no" : NULL;
}

static void print_param(struct output *output, const fkm_param_info *info)
{
    struct text left = {0}, right = {0};
    const char *value = param_value(info);
    text_printf(&left, "--%s", info->name);
    for (char *c = left.bytes; *c; c++)
        if (*c == '_')
            *c = '-';
    if (value && info->kind == FKM_PARAM_CHOICE && strlen(value) > 40)
        text_puts(&left, " WORD");
    else if (value)
        text_printf(&left, " %s", value);
    if (info->choices && info->kind != FKM_PARAM_CHOICE && info->kind != FKM_PARAM_BOOL)
        text_printf(&left, "|%s", info->choices);
    text_puts(&right, info->help ? info->help : "");
    if (value && info->kind == FKM_PARAM_CHOICE && strlen(value) > 40)
        text_printf(&right, ": %s", value);
    text_puts(&right, " (");
    if (info->valid && *info->valid && info->kind != FKM_PARAM_CHOICE && info->kind != FKM_PARAM_BOOL)
        text_printf(&right, "%s; ", info->valid);
    text_printf(&right, "default %s)", info->standard && *info->standard ? info->standard : "none");
    entry(output, left.bytes, right.bytes);
    text_free(&left);
    text_free(&right);
}

/* ---- one command */

static void print_options(struct output *output, const struct command *command)
{
    static const char *const titles[GROUPS] = {"Files", "Rows", "Learning", "Streams", "Answers", "Running"};
    for (int group = 0; group < GROUPS; group++) {
        bool titled = false;
        for (size_t i = 0; i < option_count; i++) {
            const struct option *option = &option_table[i];
            if ((int)option->group != group || !(option->commands & command->bit))
                continue;
            if (!titled)
                output_printf(output, "\n%s:\n", titles[group]);
            titled = true;
            print_option(output, option);
        }
    }
}

static void print_params_of(struct output *output, unsigned tasks)
{
    bool titled = false;
    for (size_t i = 0; i < fkm_param_count(); i++) {
        const fkm_param_info *info = fkm_param_at(i);
        if (info->tasks != tasks || !param_is_flag(info))
            continue;
        if (!titled) {
            const char *between =
                tasks + 1 == 1u << TASKS ? "\nParameters of every model: " : "\nParameters of ";
            for (unsigned task = 0; task < TASKS; task++)
                if (tasks & (1u << task)) {
                    output_printf(output, "%s%s", between, task_name((fkm_task)task));
                    between = ", ";
                }
            output_puts(output, ":\n");
        }
        titled = true;
        print_param(output, info);
    }
}

static int count_of(unsigned tasks)
{
    int n = 0;
    for (; tasks; tasks &= tasks - 1)
        n++;
    return n;
}

/* Those of most tasks first. */
static void print_params(struct output *output)
{
    for (int n = TASKS; n > 0; n--)
        for (unsigned tasks = 1; tasks < 1u << TASKS; tasks++)
            if (count_of(tasks) == n)
                print_params_of(output, tasks);
}

int help_command(const struct command *command)
{
    struct output output;
    TRY(output_open(&output, NULL));
    output_printf(&output, "%s\n\nUsage: %s\n", command->summary, command->usage);
    if (command->about)
        output_printf(&output, "\n%s\n", command->about);
    print_options(&output, command);
    if (command->bit == FOR_FIT)
        print_params(&output);
    if (command->examples)
        output_printf(&output, "\nExamples:\n%s\n", command->examples);
    return output_close(&output);
}

int help_all(const struct command *const *commands)
{
    struct output output;
    TRY(output_open(&output, NULL));
    output_puts(
        &output,
        "fkm: clustering, classification, tagging and regression with prototypes, on rows without end\n"
        "\n"
        "Usage: fkm COMMAND [OPTIONS]\n"
        "\n"
        "Commands:\n");
    for (; *commands; commands++)
        output_printf(&output, "  %-10s %s\n", (*commands)->name, (*commands)->summary);
    output_puts(&output,
                "\n"
                "'fkm help COMMAND' or 'fkm COMMAND --help' lists its options with examples.\n"
                "\n"
                "A first model, from a CSV file whose column 'species' holds the classes:\n"
                "  fkm fit --task classifier --data train.csv --target species --standardize \\\n"
                "          --distance euclidean --finetune 30 --model flowers.fkm\n"
                "  fkm evaluate --model flowers.fkm --data test.csv\n"
                "  fkm predict --model flowers.fkm --data new.csv > answers.csv\n"
                "  fkm inspect flowers.fkm\n"
                "\n"
                "Results go to standard output, remarks to standard error. Exit codes:\n"
                "  0 done   1 failed   2 wrong usage   65 bad data   66 no input   73 cannot create output\n"
                "  74 reading or writing failed   75 interrupted, checkpoint kept   130, 143 interrupted\n");
    return output_close(&output);
}
