/* cmd_convert.c — fkm convert: rows from one format into another, batch by batch. The writers: writers.c.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "input.h"
#include "progress.h"
#include "session.h"
#include "talk.h"
#include "words.h"
#include "writers.h"

static int writer_of(const struct options *options, const char *path, const struct writer **out)
{
    const char *word = option_text(options, "to");
    const char *dot = strrchr(path, '.');
    static const struct {
        const char *end, *word;
    } ends[] = {{".csv", "csv"},       {".tsv", "tsv"},         {".tab", "tsv"},    {".svm", "libsvm"},
                {".libsvm", "libsvm"}, {".svmlight", "libsvm"}, {".txt", "libsvm"}, {".npy", "npy"}};
    if (strcmp(word, "auto") == 0 && strcmp(path, "-") == 0)
        word = "csv";
    for (size_t i = 0; strcmp(word, "auto") == 0 && dot && i < sizeof ends / sizeof ends[0]; i++)
        if (strcmp(dot, ends[i].end) == 0)
            word = ends[i].word;
    for (int i = 0; writers[i]; i++)
        if (strcmp(writers[i]->name, word) == 0) {
            *out = writers[i];
            return EXIT_FINE;
        }
    return fail_usage("convert", "cannot tell the format of %s by its name; say --to csv, tsv, libsvm or npy",
                      path);
}

/* Without --task, targets are classes: any text passes through. Without targets there is nothing to mean. */
static fkm_task task_of(const struct options *options, fkm_format format)
{
    for (int i = FKM_TASK_CLUSTER; i <= FKM_TASK_REGRESS; i++)
        if (option_is(options, "task", task_name((fkm_task)i)))
            return (fkm_task)i;
    return option_given(options, "target") || format == FKM_FORMAT_LIBSVM ? FKM_TASK_CLASSIFY
                                                                          : FKM_TASK_CLUSTER;
}

static int copy_rows(struct writing *writing, struct input *input)
{
    struct progress progress;
    fkm_batch batch;
    progress_start(&progress);
    for (;;) {
        TRY(input_next(input, session_batch_rows(1024), &batch));
        if (batch.n_rows == 0)
            break;
        if (input->n_rows == batch.n_rows) { /* the first batch */
            input_describe(input, writing->schema, batch.n_cols);
            TRY(writing->writer->begin(writing, &batch));
        }
        input_describe_classes(input, writing->schema);
        TRY(writing->writer->rows(writing, &batch));
        TRY(output_check(&writing->output));
        writing->n_rows += batch.n_rows;
        progress_rows(&progress, "converting", writing->n_rows);
    }
    talk_end_line();
    if (writing->n_rows == 0)
        return fail(EXIT_BAD_DATA, "%s has no rows", input->path);
    return writing->writer->end(writing);
}

int run_convert(const struct options *options)
{
    const char *data_path, *output_path;
    struct schema schema = {.dtype = FKM_DTYPE_F64, .index_base = -1};
    struct writing writing = {.options = options, .schema = &schema};
    struct input input = {0};
    int code = EXIT_FINE;
    char number[NUMBER_BYTES];

    TRY(option_required(options, "data", &data_path));
    TRY(option_required(options, "output", &output_path));
    TRY(words_check(options));
    TRY(writer_of(options, output_path, &writing.writer));
    schema.task = task_of(options, input_format(options, data_path));
    TRY_GOTO(words_learn(options, data_path, &schema));
    TRY_GOTO(input_open(&input, options, data_path, &schema, INPUT_LEARNS_CLASSES));
    TRY_GOTO(output_open(&writing.output, output_path));
    TRY_GOTO(copy_rows(&writing, &input));
    TRY_GOTO(output_close(&writing.output));
    if (writing.beside.file)
        TRY_GOTO(output_close(&writing.beside));
    if (strcmp(output_path, "-") != 0)
        say("wrote %s: %s rows", output_path, count_text(number, writing.n_rows));
done:
    talk_end_line();
    output_abandon(&writing.output);
    output_abandon(&writing.beside);
    writing_free(&writing);
    input_close(&input);
    schema_free(&schema);
    return code;
}
