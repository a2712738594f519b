/* input.c — rows of a file or of standard input, read the way the model wants them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "input.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "talk.h"
#include "values.h"

static bool is_stdin(const char *path) { return strcmp(path, "-") == 0; }

static bool ends_with(const char *text, size_t length, const char *end)
{
    const size_t n = strlen(end);
    return length >= n && strncmp(text + length - n, end, n) == 0;
}

fkm_format input_format(const struct options *options, const char *path)
{
    static const struct {
        const char *end;
        fkm_format format;
    } ends[] = {{".csv", FKM_FORMAT_CSV},    {".tsv", FKM_FORMAT_TSV},       {".tab", FKM_FORMAT_TSV},
                {".svm", FKM_FORMAT_LIBSVM}, {".libsvm", FKM_FORMAT_LIBSVM}, {".svmlight", FKM_FORMAT_LIBSVM},
                {".txt", FKM_FORMAT_LIBSVM}, {".npy", FKM_FORMAT_NPY}};
    static const char *const words[] = {"auto", "csv", "tsv", "libsvm", "npy"};
    for (int i = FKM_FORMAT_CSV; i <= FKM_FORMAT_NPY; i++)
        if (option_is(options, "format", words[i]))
            return (fkm_format)i;
    if (is_stdin(path))
        return FKM_FORMAT_CSV;
    size_t length = strlen(path);
    if (ends_with(path, length, ".gz"))
        length -= 3;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (ends_with(path, length, ends[i].end))
            return ends[i].format;
    return FKM_FORMAT_AUTO;
}

/* ---- opening */

bool input_once(const char *path)
{
    struct stat info;
    return is_stdin(path) || (stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode));
}

const char *input_name(const char *path) { return is_stdin(path) ? "standard input" : path; }

int input_readable(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0 || access(path, R_OK) != 0)
        return fail(EXIT_NO_INPUT, "cannot read %s: %s", path, strerror(errno));
    if (S_ISDIR(info.st_mode))
        return fail(EXIT_NO_INPUT, "cannot read %s: it is a folder", path);
    return EXIT_FINE;
}

static bool is_table(const struct input *input)
{
    return input->format != FKM_FORMAT_NPY && input->format != FKM_FORMAT_LIBSVM;
}

static const char *asked_text(const struct input *input, const struct options *options)
{
    return option_given(options, "text") ? option_text(options, "text") : input->schema->text;
}

static fkm_status open_file(struct input *input, const struct options *options, const char *target,
                            const char *weight)
{
    fkm_source_options settings = FKM_SOURCE_OPTIONS_INIT;
    const bool skips = input->use == INPUT_ASKS;
    settings.format = input->format;
    /* For a clusterer, target columns are left out unread: rows to answer may have anything there. */
    settings.task = skips ? FKM_TASK_CLUSTER : input->schema->task;
    settings.target = target;
    settings.weight = weight;
    settings.header = option_is(options, "header", "yes") ? 1 : option_is(options, "header", "no") ? 0 : -1;
    settings.n_cols = input->schema->n_cols;
    if (settings.n_cols == 0 && option_given(options, "n-cols"))
        settings.n_cols = option_int(options, "n-cols");
    settings.index_base = option_is(options, "index-base", "auto")
                              ? input->schema->index_base
                              : (int32_t)option_int(options, "index-base");
    settings.missing = option_is(options, "missing", "error") ? FKM_MISSING_ERROR : FKM_MISSING_MASK;
    settings.dtype = input->schema->dtype;
    if (is_table(input) && input->schema->vectorizer) {
        settings.text = asked_text(input, options);
        settings.vectorizer = input->schema->vectorizer;
    }
    settings.class_names = skips ? NULL : input->known;
    settings.n_class_names = skips ? 0 : input->schema->classes.n;
    return fkm_source_open(input->path, &settings, &input->file);
}

/* Whether the opened file has the width the model wants. A row that cannot be read decides nothing: its error
 * comes again when rows are asked for. */
static bool width_fits(struct input *input)
{
    fkm_batch batch = FKM_BATCH_INIT;
    const fkm_status status = fkm_source_next(input->file, 1, &batch);
    if (status == FKM_OK && batch.n_rows > 0 && batch.n_cols != input->schema->n_cols)
        return false;
    return fkm_source_seek(input->file, NULL) == FKM_OK;
}

/* Columns that the model remembers and nobody named now (the target of rows to answer, the weight) may be
 * there or not: the first combination that gives the model its width is right. */
static fkm_status open_trying(struct input *input, const struct options *options,
                              const char *const targets[2], const char *const weights[2])
{
    fkm_status status = FKM_OK;
    for (int t = 0; t < 2; t++)
        for (int w = 0; w < 2; w++) {
            if ((t == 1 && !targets[0]) || (w == 1 && !weights[0]))
                continue; /* the same again */
            const bool last = (t == 1 || !targets[0]) && (w == 1 || !weights[0]);
            status = open_file(input, options, targets[t], weights[w]);
            if (status == FKM_OK && (last || width_fits(input)))
                return FKM_OK;
            fkm_source_close(input->file);
            input->file = NULL;
        }
    return status;
}

/* What the command line says of columns; an .npy file given with --eval has its own --eval-target. */
static const char *asked_target(const struct input *input, const struct options *options)
{
    return option_text(options, input->use == INPUT_EVAL && !is_table(input) ? "eval-target" : "target");
}

static const char *asked_weight(const struct input *input, const struct options *options)
{
    return input->use == INPUT_EVAL && !is_table(input) ? NULL : option_text(options, "weight");
}

static bool scores(const struct input *input)
{
    return input->use == INPUT_SCORES || input->use == INPUT_EVAL;
}

static fkm_status open_by_use(struct input *input, const struct options *options)
{
    const bool remembers = is_table(input) && input->schema->n_cols > 0;
    const bool can_try = remembers && !input_once(input->path);
    const char *target = asked_target(input, options), *weight = asked_weight(input, options);
    const char *targets[2] = {target, target}, *weights[2] = {weight, weight};
    if (!target && remembers && (can_try || scores(input)))
        targets[0] = input->schema->target;
    if (!weight && can_try)
        weights[0] = input->schema->weight;
    if (input->use != INPUT_ASKS)
        targets[1] = targets[0];
    if (!can_try)
        return open_file(input, options, targets[0], weights[0]);
    return open_trying(input, options, targets, weights);
}

/* Targets and weights of an .npy file are files of their own. */
static int check_columns_readable(const struct input *input, const struct options *options)
{
    const char *target = asked_target(input, options), *weight = asked_weight(input, options);
    if (input->format == FKM_FORMAT_NPY && target)
        TRY(input_readable(target));
    if (input->format == FKM_FORMAT_NPY && weight)
        TRY(input_readable(weight));
    return EXIT_FINE;
}

static int check_target(const struct input *input, const struct options *options)
{
    const bool remembered = is_table(input) && input->schema->target;
    if (input->use == INPUT_ASKS || input->schema->task == FKM_TASK_CLUSTER ||
        input->format == FKM_FORMAT_LIBSVM || asked_target(input, options) || remembered)
        return EXIT_FINE;
    return fail_usage(options_command(options)->name, "--%s is missing: which %s holds the targets of %s?",
                      input->use == INPUT_EVAL ? "eval-target" : "target",
                      input->format == FKM_FORMAT_NPY ? "file" : "column", input->path);
}

static int check_text(const struct input *input, const struct options *options)
{
    if (option_given(options, "text") && !is_table(input))
        return fail_usage(options_command(options)->name,
                          "--text: only CSV and TSV have text columns, not %s", input->path);
    if (option_given(options, "text") && !input->schema->vectorizer)
        return fail_usage(options_command(options)->name, "--text: the model did not learn from texts");
    if (input->schema->vectorizer && is_table(input) && !asked_text(input, options))
        return fail_usage(options_command(options)->name,
                          "--text is missing: which column of %s holds the texts?", input->path);
    return EXIT_FINE;
}

int input_open(struct input *input, const struct options *options, const char *path, struct schema *schema,
               enum input_use use)
{
    *input =
        (struct input){.path = path, .schema = schema, .use = use, .format = input_format(options, path)};
    input->refuses_nan = input->format == FKM_FORMAT_NPY && option_is(options, "missing", "error");
    if (!is_stdin(path))
        TRY(input_readable(path));
    TRY(check_columns_readable(input, options));
    TRY(check_target(input, options));
    TRY(check_text(input, options));
    input->known = need((size_t)schema->classes.n, sizeof *input->known);
    for (int64_t i = 0; i < schema->classes.n; i++)
        input->known[i] = schema->classes.name[i];
    TRY(fail_status(open_by_use(input, options), BLAME_ROWS, is_stdin(path) ? NULL : path));
    if (schema->standard.n > 0)
        TRY(fail_status(
            standard_source(input->file, &schema->standard, &input->sparse_refused, &input->standard),
            BLAME_CALL, NULL));
    return EXIT_FINE;
}

void input_close(struct input *input)
{
    fkm_source_close(input->standard);
    fkm_source_close(input->file);
    free(input->known);
    *input = (struct input){0};
}

fkm_source *input_source(const struct input *input)
{
    return input->standard ? input->standard : input->file;
}

/* ---- reading */

static int check_names(const struct input *input, int64_t n_cols)
{
    const struct names *expected = &input->schema->columns;
    for (int64_t j = 0; j < expected->n && j < n_cols; j++) {
        const char *name = fkm_source_column_name(input->file, j);
        if (!name)
            return EXIT_FINE; /* no header here */
        if (strcmp(name, expected->name[j]) != 0)
            return fail(EXIT_BAD_DATA,
                        "%s: feature column %" PRId64 " is '%s', the model was trained with '%s' there",
                        input->path, j, name, expected->name[j]);
    }
    return EXIT_FINE;
}

/* Rows to score may not have classes the model cannot answer. Tags are many, and new ones appear every day:
 * they count as missed. */
static int check_classes(struct input *input)
{
    const int64_t known = input->schema->classes.n;
    if (!scores(input) || known == 0 || fkm_source_class_count(input->file) <= known)
        return EXIT_FINE;
    const char *name = fkm_source_class_name(input->file, known);
    if (input->schema->task != FKM_TASK_MULTILABEL)
        return fail(EXIT_BAD_DATA, "%s: the model does not know the class '%s'", input->path, name);
    if (!input->unknown_tags_said)
        say("%s: the model does not know the tag '%s'; unknown tags count as missed", input->path, name);
    input->unknown_tags_said = true;
    return EXIT_FINE;
}

static int check_nan(const struct input *input, const fkm_batch *batch)
{
    for (int64_t i = 0; i < batch->n_rows; i++)
        for (int64_t j = 0; j < batch->n_cols; j++)
            if (isnan(value_of(batch, i, j)))
                return fail(EXIT_BAD_DATA, "%s: row %" PRId64 ", feature %" PRId64 " is missing (NaN)",
                            input->path, input->n_rows + i, j);
    return EXIT_FINE;
}

int input_check(struct input *input, const fkm_batch *batch)
{
    if (input->sparse_refused)
        return fail(EXIT_BAD_DATA, "%s has sparse rows; --standardize needs dense ones", input->path);
    TRY(check_classes(input));
    if (input->checked || batch->n_rows == 0)
        return EXIT_FINE;
    TRY(check_names(input, batch->n_cols));
    if (input->schema->n_cols > 0 && batch->n_cols != input->schema->n_cols)
        return fail(EXIT_BAD_DATA, "%s has %" PRId64 " feature columns, the model expects %" PRId64,
                    input->path, batch->n_cols, input->schema->n_cols);
    input->checked = true;
    return EXIT_FINE;
}

int input_next(struct input *input, int64_t max_rows, fkm_batch *batch)
{
    *batch = (fkm_batch)FKM_BATCH_INIT;
    if (interrupted())
        return interrupted_code();
    const fkm_status status = fkm_source_next(input_source(input), max_rows, batch);
    if (input->sparse_refused)
        return input_check(input, batch);
    TRY(fail_status(status, BLAME_ROWS, is_stdin(input->path) ? NULL : input->path));
    TRY(input_check(input, batch));
    if (input->refuses_nan)
        TRY(check_nan(input, batch));
    input->n_rows += batch->n_rows;
    return EXIT_FINE;
}

int input_rewind(struct input *input)
{
    input->n_rows = 0;
    return fail_status(fkm_source_seek(input_source(input), NULL), BLAME_ROWS, input->path);
}

/* ---- what a file tells */

bool input_describe_classes(const struct input *input, struct schema *schema)
{
    const int64_t n = fkm_source_class_count(input->file), before = schema->classes.n;
    for (int64_t i = before; i < n; i++) {
        const char *name = fkm_source_class_name(input->file, i);
        names_add(&schema->classes, name, strlen(name));
    }
    return n > before;
}

void input_describe(const struct input *input, struct schema *schema, int64_t n_cols)
{
    const char *note = fkm_source_note(input->file);
    input_describe_classes(input, schema);
    if (strstr(note, "index base 0"))
        schema->index_base = 0;
    else if (strstr(note, "index base 1"))
        schema->index_base = 1;
    if (schema->columns.n == 0)
        for (int64_t j = 0; j < n_cols; j++) {
            const char *name = fkm_source_column_name(input->file, j);
            if (!name) {
                names_free(&schema->columns);
                break;
            }
            names_add(&schema->columns, name, strlen(name));
        }
    schema->n_cols = n_cols;
}
