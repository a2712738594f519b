/* options.h — one table of options, the parameters of fkm_param_at() appended, feeds the command line,
 * configuration files and help.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_CLI_OPTIONS_H
#define FKM_CLI_OPTIONS_H

#include "text.h"

#include "fastkmeans/fastkmeans.h"

enum command_bit {
    FOR_FIT = 1,
    FOR_FINETUNE = 2,
    FOR_PREDICT = 4,
    FOR_EVALUATE = 8,
    FOR_INSPECT = 16,
    FOR_CONVERT = 32,
    FOR_VERSION = 64,
    FOR_HELP = 128,
    FOR_ALL = 255
};

enum option_kind { OPTION_TEXT, OPTION_CHOICE, OPTION_INT, OPTION_REAL, OPTION_SIZE, OPTION_FLAG };

/* Groups of the help text, in this order. */
enum option_group {
    GROUP_FILES,
    GROUP_ROWS,
    GROUP_LEARNING,
    GROUP_STREAM,
    GROUP_ANSWERS,
    GROUP_RUNNING,
    GROUPS
};

struct option {
    const char *name; /* as typed after "--" */
    char letter;      /* 0: none */
    enum option_kind kind;
    const char *value;    /* "FILE"; NULL for flags */
    const char *choices;  /* the words of a choice; words a number may be as well; or NULL */
    double least;         /* of numbers */
    const char *standard; /* the default, or NULL */
    const char *help;
    enum option_group group;
    unsigned commands;
};
extern const struct option option_table[];
extern const size_t option_count;

struct options; /* what was asked for */

struct command {
    const char *name;
    unsigned bit;
    const char *positional[3]; /* options that words without "--" fill, in order; ends with NULL */
    int (*run)(const struct options *options);
    const char *summary;  /* one line for `fkm --help` */
    const char *usage;    /* lines after "Usage: " */
    const char *about;    /* paragraphs */
    const char *examples; /* lines */
};

/* Parses argv (what follows the command), then --config under it. Says what is wrong; a usage error is 2. */
int options_parse(const struct command *command, int argc, char **argv, struct options **out);
void options_free(struct options *options);

const struct command *options_command(const struct options *options);
/* The value as text, the default when it was not given, or NULL. The name must be in the table; an option
 * that the command does not have was not given. */
const char *option_text(const struct options *options, const char *name);
bool option_given(const struct options *options, const char *name);
bool option_flag(const struct options *options, const char *name);
bool option_is(const struct options *options, const char *name, const char *word);
int64_t option_int(const struct options *options, const char *name); /* checked when it was parsed */
double option_real(const struct options *options, const char *name);
size_t option_size(const struct options *options, const char *name);
/* The option, or a usage error that names it. */
int option_required(const struct options *options, const char *name, const char **out);
/* Sets every parameter that was given; refuses those of other tasks. */
int options_params(const struct options *options, fkm_params *params);

/* Whether the command line can set this parameter; names of options come first. */
bool param_is_flag(const fkm_param_info *info);
const char *task_name(fkm_task task); /* clusterer, classifier, multilabel, regressor */

/* config.c: calls set() for each `name = value` line of the file. */
typedef int config_set_fn(struct options *options, const char *name, const char *value, const char *where);
int config_read(const char *path, config_set_fn *set, struct options *options);

/* help.c: both write to stdout. */
int help_command(const struct command *command);
int help_all(const struct command *const *commands);

#endif
