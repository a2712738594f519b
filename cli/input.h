/* input.h — rows of a file or of standard input, read the way the model wants them.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_CLI_INPUT_H
#define FKM_CLI_INPUT_H

#include "options.h"
#include "schema.h"

enum input_use {
    INPUT_LEARNS_CLASSES, /* targets needed; classes may be new */
    INPUT_SCORES,         /* targets needed; every class must be known */
    INPUT_EVAL,           /* the same for --eval, whose npy targets have an option of their own */
    INPUT_ASKS            /* targets, when they are there, are skipped */
};
struct input {
    const char *path;
    enum input_use use;
    fkm_format format;
    struct schema *schema; /* borrowed; not changed here */
    bool checked;          /* columns have been compared */
    bool sparse_refused;
    bool refuses_nan; /* npy arrays: --missing error */
    bool unknown_tags_said;
    int64_t n_rows;       /* handed out so far */
    fkm_source *file;     /* names and notes come from here */
    fkm_source *standard; /* over file, when the schema standardizes; else NULL */
    const char **known;   /* the schema's class names */
};
/* Standard input or another pipe: it is read once, from the front. */
bool input_once(const char *path);
/* How messages call it. */
const char *input_name(const char *path);
/* EXIT_FINE, or EXIT_NO_INPUT (said): missing, not readable, a folder. */
int input_readable(const char *path);
/* Says what is wrong: a missing file is EXIT_NO_INPUT, wrong rows EXIT_BAD_DATA. */
int input_open(struct input *input, const struct options *options, const char *path, struct schema *schema,
               enum input_use use);
void input_close(struct input *input); /* a zeroed one is fine */
/* The source whose rows are as the model wants them. */
fkm_source *input_source(const struct input *input);
/* At most max_rows rows; n_rows 0: the end. Checks names and number of columns once. */
int input_next(struct input *input, int64_t max_rows, fkm_batch *batch);
/* Back to the first row. */
int input_rewind(struct input *input);
/* Compares the columns with the schema's; needs to be called once a batch was read past input_next. */
int input_check(struct input *input, const fkm_batch *batch);
/* Takes over what the file tells: classes, names of columns, the base of indices. */
void input_describe(const struct input *input, struct schema *schema, int64_t n_cols);
/* Only new classes; true when there were any. */
bool input_describe_classes(const struct input *input, struct schema *schema);
/* By option and name. */
fkm_format input_format(const struct options *options, const char *path);

#endif
