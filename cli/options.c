/* options.c — reads the command line and configuration files into one array of values, checked as they come.
 * SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "talk.h"

/* Value i < option_count belongs to the option, the rest to the parameters. */
struct options {
    const struct command *command;
    char **value;    /* NULL: not given */
    bool *from_line; /* given on the command line: stands above the configuration file */
    size_t count;
};

const char *task_name(fkm_task task)
{
    static const char *const names[] = {"clusterer", "classifier", "multilabel", "regressor"};
    return names[task];
}

static const struct option *option_named(const char *name)
{
    for (size_t i = 0; i < option_count; i++)
        if (same_word(option_table[i].name, name))
            return &option_table[i];
    return NULL;
}

/* An option of `fit` with the same name (task, missing, ...) stands for the parameter. */
bool param_is_flag(const fkm_param_info *info)
{
    for (size_t i = 0; i < option_count; i++)
        if ((option_table[i].commands & FOR_FIT) && same_word(option_table[i].name, info->name))
            return false;
    return true;
}

/* ---- finding what a word means */

static size_t find(const struct command *command, const char *name)
{
    for (size_t i = 0; i < option_count; i++)
        if ((option_table[i].commands & command->bit) && same_word(option_table[i].name, name))
            return i;
    if (command->bit == FOR_FIT)
        for (size_t i = 0; i < fkm_param_count(); i++)
            if (param_is_flag(fkm_param_at(i)) && same_word(fkm_param_at(i)->name, name))
                return option_count + i;
    return SIZE_MAX;
}

static const char *nearest_name(const struct command *command, const char *name)
{
    const char *best = NULL;
    size_t least = strlen(name) / 3 + 2;
    for (size_t i = 0; i < option_count + fkm_param_count(); i++) {
        const char *candidate;
        if (i < option_count)
            candidate = option_table[i].commands & command->bit ? option_table[i].name : NULL;
        else
            candidate = command->bit == FOR_FIT ? fkm_param_at(i - option_count)->name : NULL;
        if (candidate && word_distance(name, candidate) < least) {
            least = word_distance(name, candidate);
            best = candidate;
        }
    }
    return best;
}

/* "k_init" as it is typed: "k-init". */
static char *dashed(const char *name)
{
    char *copy = need_copy(name);
    for (char *c = copy; *c; c++)
        if (*c == '_')
            *c = '-';
    return copy;
}

static int fail_unknown(const struct command *command, const char *name, const char *where)
{
    const char *near = nearest_name(command, name);
    const struct option *elsewhere = option_named(name);
    int code;
    for (size_t i = 0; i < fkm_param_count(); i++)
        if (same_word(fkm_param_at(i)->name, name))
            return fail_usage(command->name, "%s--%s is a parameter of fkm fit; a model keeps it", where,
                              name);
    if (near) {
        char *typed = dashed(near);
        code = fail_usage(command->name, "%sunknown option --%s; did you mean --%s?", where, name, typed);
        free(typed);
    } else if (elsewhere) {
        code = fail_usage(command->name, "%s--%s is not an option of fkm %s", where, name, command->name);
    } else {
        code = fail_usage(command->name, "%sunknown option --%s", where, name);
    }
    return code;
}

/* ---- checking values */

static bool is_yes(const char *value) { return one_of(value, "yes|true|on|1"); }
static bool is_no(const char *value) { return one_of(value, "no|false|off|0"); }

static int check_value(const struct command *command, const struct option *option, const char *value,
                       const char *where)
{
    int64_t whole;
    double real;
    size_t size;
    char least[NUMBER_BYTES];

    number_text(least, option->least);
    switch (option->kind) {
    case OPTION_TEXT:
        return *value ? EXIT_FINE : fail_usage(command->name, "%s--%s is empty", where, option->name);
    case OPTION_CHOICE:
        if (!one_of(value, option->choices))
            return fail_usage(command->name, "%s--%s is '%s'; valid: %s", where, option->name, value,
                              option->choices);
        return EXIT_FINE;
    case OPTION_FLAG:
        if (!is_yes(value) && !is_no(value))
            return fail_usage(command->name, "%s--%s is '%s'; valid: yes, no", where, option->name, value);
        return EXIT_FINE;
    case OPTION_INT:
        if (!one_of(value, option->choices) && (!parse_int(value, &whole) || (double)whole < option->least))
            return fail_usage(command->name, "%s--%s is '%s'; valid: %s%sa whole number >= %s", where,
                              option->name, value, option->choices ? option->choices : "",
                              option->choices ? " or " : "", least);
        return EXIT_FINE;
    case OPTION_REAL:
        if (!one_of(value, option->choices) && (!parse_real(value, &real) || real < option->least))
            return fail_usage(command->name, "%s--%s is '%s'; valid: %s%sa number >= %s", where, option->name,
                              value, option->choices ? option->choices : "", option->choices ? " or " : "",
                              least);
        return EXIT_FINE;
    case OPTION_SIZE:
        if (!parse_size(value, &size) || size == 0)
            return fail_usage(command->name, "%s--%s is '%s'; valid: a number of bytes such as 500M or 8G",
                              where, option->name, value);
        return EXIT_FINE;
    }
    return EXIT_FINE;
}

/* Parameters are checked by the library itself, on settings nobody keeps. */
static int check_param(const struct command *command, const fkm_param_info *info, const char *value,
                       const char *where)
{
    fkm_params scratch = FKM_PARAMS_INIT;
    if (fkm_params_set(&scratch, info->name, value) == FKM_OK)
        return EXIT_FINE;
    return fail_usage(command->name, "%s%s", where, fkm_last_error());
}

static int set_value(struct options *options, size_t at, const char *value, const char *where)
{
    if (at < option_count)
        TRY(check_value(options->command, &option_table[at], value, where));
    else
        TRY(check_param(options->command, fkm_param_at(at - option_count), value, where));
    free(options->value[at]);
    options->value[at] = need_copy(value);
    return EXIT_FINE;
}

static bool is_flag(size_t at)
{
    if (at < option_count)
        return option_table[at].kind == OPTION_FLAG;
    return fkm_param_at(at - option_count)->kind == FKM_PARAM_BOOL;
}

/* ---- the command line */

static size_t find_letter(const struct command *command, char letter)
{
    for (size_t i = 0; i < option_count; i++)
        if (letter && option_table[i].letter == letter && (option_table[i].commands & command->bit))
            return i;
    return SIZE_MAX;
}

/* --name value, --name=value, --flag, -x value; *i moves over what was used. */
static int take_option(struct options *options, int argc, char **argv, int *i)
{
    const struct command *command = options->command;
    const char *word = argv[*i];
    const char *equals = word[1] == '-' ? strchr(word, '=') : NULL;
    char *name = need_copy(word[1] == '-' ? word + 2 : word + 1);
    const char *value = equals ? equals + 1 : NULL;
    size_t at;
    int code = EXIT_FINE;

    if (equals)
        name[equals - word - 2] = '\0';
    at = word[1] == '-' ? find(command, name) : word[2] ? SIZE_MAX : find_letter(command, word[1]);
    if (at == SIZE_MAX) {
        code = word[1] == '-' ? fail_unknown(command, name, "")
                              : fail_usage(command->name, "unknown option %s", word);
        goto done;
    }
    if (!value && is_flag(at)) {
        const bool said = *i + 1 < argc && (is_yes(argv[*i + 1]) || is_no(argv[*i + 1]));
        value = said ? argv[++*i] : "yes";
    } else if (!value) {
        if (*i + 1 >= argc || strncmp(argv[*i + 1], "--", 2) == 0) {
            code = fail_usage(command->name, "%s needs a value", word);
            goto done;
        }
        value = argv[++*i];
    }
    TRY_GOTO(set_value(options, at, value, ""));
    options->from_line[at] = true;
done:
    free(name);
    return code;
}

static int take_positional(struct options *options, const char *word)
{
    const struct command *command = options->command;
    for (int p = 0; p < 2 && command->positional[p]; p++) {
        const size_t at = find(command, command->positional[p]);
        if (options->from_line[at])
            continue;
        TRY(set_value(options, at, word, ""));
        options->from_line[at] = true;
        return EXIT_FINE;
    }
    return fail_usage(command->name, "'%s' belongs to no option; files are named with %s", word,
                      command->bit & (FOR_VERSION | FOR_HELP) ? "an option" : "--data or --model");
}

static int set_from_config(struct options *options, const char *name, const char *value, const char *where)
{
    const size_t at = find(options->command, name);
    if (at == SIZE_MAX)
        return fail_unknown(options->command, name, where);
    if (same_word(name, "config") || same_word(name, "help"))
        return fail_usage(options->command->name, "%s--%s belongs on the command line", where, name);
    return options->from_line[at] ? EXIT_FINE : set_value(options, at, value, where);
}

int options_parse(const struct command *command, int argc, char **argv, struct options **out)
{
    struct options *options = need(1, sizeof *options);
    int code = EXIT_FINE;
    bool only_words = false;

    options->command = command;
    options->count = option_count + fkm_param_count();
    options->value = need(options->count, sizeof *options->value);
    options->from_line = need(options->count, sizeof *options->from_line);
    *out = options;
    for (int i = 0; i < argc && code == EXIT_FINE; i++) {
        if (!only_words && strcmp(argv[i], "--") == 0)
            only_words = true;
        else if (!only_words && argv[i][0] == '-' && argv[i][1])
            code = take_option(options, argc, argv, &i);
        else
            code = take_positional(options, argv[i]);
    }
    if (code == EXIT_FINE && find(command, "config") != SIZE_MAX && option_given(options, "config") &&
        !option_flag(options, "help"))
        code = config_read(option_text(options, "config"), set_from_config, options);
    return code;
}

void options_free(struct options *options)
{
    if (!options)
        return;
    for (size_t i = 0; i < options->count; i++)
        free(options->value[i]);
    free(options->value);
    free(options->from_line);
    free(options);
}

/* ---- what was asked for */

const struct command *options_command(const struct options *options) { return options->command; }

/* The option of this command, or one of another, which then was not given. */
static size_t index_of(const struct options *options, const char *name)
{
    const size_t at = find(options->command, name);
    const struct option *elsewhere = option_named(name);
    if (at < option_count)
        return at;
    assert(elsewhere);
    return (size_t)(elsewhere - option_table);
}

bool option_given(const struct options *options, const char *name)
{
    return options->value[index_of(options, name)] != NULL;
}

const char *option_text(const struct options *options, const char *name)
{
    const size_t at = index_of(options, name);
    return options->value[at] ? options->value[at] : option_table[at].standard;
}

bool option_flag(const struct options *options, const char *name)
{
    const char *value = option_text(options, name);
    return value && is_yes(value);
}

bool option_is(const struct options *options, const char *name, const char *word)
{
    const char *value = option_text(options, name);
    return value && strcmp(value, word) == 0;
}

int64_t option_int(const struct options *options, const char *name)
{
    int64_t value = 0;
    const char *text = option_text(options, name);
    if (text)
        parse_int(text, &value);
    return value;
}

double option_real(const struct options *options, const char *name)
{
    double value = 0;
    const char *text = option_text(options, name);
    if (text)
        parse_real(text, &value);
    return value;
}

size_t option_size(const struct options *options, const char *name)
{
    size_t value = 0;
    const char *text = option_text(options, name);
    if (text)
        parse_size(text, &value);
    return value;
}

int option_required(const struct options *options, const char *name, const char **out)
{
    *out = option_text(options, name);
    if (*out)
        return EXIT_FINE;
    return fail_usage(options->command->name, "--%s is missing", name);
}

int options_params(const struct options *options, fkm_params *params)
{
    for (size_t i = 0; i < fkm_param_count(); i++) {
        const fkm_param_info *info = fkm_param_at(i);
        const char *value = options->value[option_count + i];
        if (!value)
            continue;
        if (!(info->tasks & (1u << params->task))) {
            char *typed = dashed(info->name);
            const int code = fail_usage(options->command->name, "--%s is not a parameter of the %s", typed,
                                        task_name(params->task));
            free(typed);
            return code;
        }
        if (fkm_params_set(params, info->name, value) != FKM_OK)
            return fail_usage(options->command->name, "%s", fkm_last_error());
    }
    if (fkm_params_check(params) != FKM_OK)
        return fail_usage(options->command->name, "%s", fkm_last_error());
    return EXIT_FINE;
}
