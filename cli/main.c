/* main.c — the command fkm: finds the command, runs it, ends with its exit code.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "options.h"
#include "output.h"
#include "session.h"
#include "talk.h"

static int run_version(const struct options *options)
{
    struct output output;
    fkm_context *context = NULL;
    TRY(session_context(options, 0, &context));
    const int threads = (int)fkm_context_threads(context);
    fkm_context_free(context);
    TRY(output_open(&output, NULL));
    if (option_flag(options, "json")) {
        struct json json = {&output, 0, true};
        json_open(&json, NULL, '{');
        json_text(&json, "version", fkm_version());
        json_text(&json, "isa", fkm_isa());
        json_int(&json, "threads", threads);
        json_close(&json, '}');
    } else {
        output_printf(&output, "fkm %s (%s, %d thread%s)\n", fkm_version(), fkm_isa(), threads,
                      threads == 1 ? "" : "s");
    }
    return output_close(&output);
}

static const struct command fit = {
    "fit",
    FOR_FIT,
    {NULL},
    run_fit,
    "Learn a model from rows",
    "fkm fit --task TASK --data FILE [--target COLUMN] --model FILE [OPTIONS] [PARAMETERS]",
    "Learns prototypes from the rows of --data and writes them to --model. Phase 1 places and moves\n"
    "prototypes; --finetune adds phase 2, gradient steps that sharpen them. The model keeps the names\n"
    "of columns and classes, so that later commands read rows the same way and answer with names.\n"
    "\n"
    "All rows are loaded into memory unless --stream is given. With --stream, --checkpoint and\n"
    "--resume, a run that was interrupted or killed goes on where its checkpoint was written and ends\n"
    "with the same model, byte for byte.\n"
    "\n"
    "Parameters are written with dashes or underscores; each can stand in a --config file as a line\n"
    "`name = value`, as can every other option.",
    "  fkm fit --task classifier --data train.csv --target species --model flowers.fkm \\\n"
    "          --distance euclidean --standardize --k-init 10 --finetune 30 --eval test.csv\n"
    "  fkm fit --task regressor --data houses.csv --target price --model houses.fkm \\\n"
    "          --distance euclidean --standardize --soft-type softmax_scaled --finetune 50 \\\n"
    "          --eval-fraction 0.1 --early-stopping-rounds 5\n"
    "  fkm fit --task multilabel --data train.svm --model tags.fkm --k-init 1 --finetune 20\n"
    "  fkm fit --task clusterer --data points.npy --model clusters.fkm --k-init 100\n"
    "  fkm fit --task classifier --data huge.csv.gz --target label --model huge.fkm --stream \\\n"
    "          --epochs 2 --checkpoint huge.ckpt --resume"};

static const struct command finetune = {
    "finetune",
    FOR_FINETUNE,
    {NULL},
    run_finetune,
    "Sharpen a model with gradient steps",
    "fkm finetune --model FILE --data FILE [--epochs N] [OPTIONS]",
    "Runs phase 2 on a model made by fkm fit and replaces its file, or writes --output. The model\n"
    "remembers its target and columns. Models with soft_type hard or mean have no gradients.",
    "  fkm finetune --model flowers.fkm --data train.csv --epochs 30 --lr auto\n"
    "  fkm finetune --model flowers.fkm --data train.csv --epochs 100 --eval test.csv \\\n"
    "               --early-stopping-rounds 5 --output better.fkm"};

static const struct command predict = {
    "predict",
    FOR_PREDICT,
    {NULL},
    run_predict,
    "Answer for rows, as CSV",
    "fkm predict --model FILE --data FILE [OPTIONS]",
    "Writes one line for each row: the class, the tags joined by ';', the number of the cluster, or\n"
    "the target values. Rows are read in batches, so files of any length and pipes are fine. Target\n"
    "and weight columns may be in the file or not; on standard input say --target when they are.",
    "  fkm predict --model flowers.fkm --data new.csv > answers.csv\n"
    "  fkm predict --model flowers.fkm --data new.csv --proba --output answers.csv\n"
    "  zcat new.csv.gz | fkm predict --model flowers.fkm --data - --header no\n"
    "  fkm predict --model tags.fkm --data test.svm --strategy top_k --top-k 3\n"
    "  fkm predict --model flowers.fkm --data new.csv --nearest 5"};

static const struct command evaluate = {
    "evaluate",
    FOR_EVALUATE,
    {NULL},
    run_evaluate,
    "Score a model on rows with targets",
    "fkm evaluate --model FILE --data FILE [OPTIONS]",
    "Prints accuracy, F1, log loss and the accuracy of the nearest prototype alone (classifier), F1\n"
    "and precision at 1 to 5 (multilabel), root mean square error and R2 (regressor), and the sum of\n"
    "the distances to the nearest prototype.",
    "  fkm evaluate --model flowers.fkm --data test.csv\n"
    "  fkm evaluate --model flowers.fkm --data test.csv --json"};

static const struct command inspect = {
    "inspect",
    FOR_INSPECT,
    {"model", NULL},
    run_inspect,
    "Show what a model has learned",
    "fkm inspect FILE [OPTIONS]",
    "Prints the model's task, size, prototypes of each class with their mass and spread, feature\n"
    "weights and history. --json has all of it for programs.",
    "  fkm inspect flowers.fkm\n"
    "  fkm inspect flowers.fkm --history > history.csv\n"
    "  fkm inspect flowers.fkm --centroids > prototypes.csv"};

static const struct command convert = {
    "convert",
    FOR_CONVERT,
    {"data", "output", NULL},
    run_convert,
    "Rows from one file format into another",
    "fkm convert FILE FILE [OPTIONS]",
    "Reads CSV, TSV, libsvm (each also .gz) or npy and writes CSV, TSV, libsvm or npy. Without\n"
    "--target, every column of a CSV file is a feature. A missing value is an empty field in CSV and\n"
    "NaN in npy; libsvm has none.",
    "  fkm convert train.csv train.svm --target species\n"
    "  fkm convert houses.csv rows.npy --target price --task regressor --target-output prices.npy\n"
    "  fkm convert tags.svm tags.csv --task multilabel"};

static const struct command version = {"version",
                                       FOR_VERSION,
                                       {NULL},
                                       run_version,
                                       "Print version, instruction set and threads",
                                       "fkm version [--json]",
                                       NULL,
                                       NULL};

static const struct command *const commands[] = {&fit,     &finetune, &predict, &evaluate,
                                                 &inspect, &convert,  &version, NULL};

static const struct command *command_named(const char *name)
{
    for (int i = 0; commands[i]; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static int fail_command(const char *name)
{
    const char *near = NULL;
    size_t least = 3;
    for (int i = 0; commands[i]; i++)
        if (word_distance(name, commands[i]->name) < least) {
            least = word_distance(name, commands[i]->name);
            near = commands[i]->name;
        }
    if (near)
        return fail_usage(NULL, "unknown command '%s'; did you mean '%s'?", name, near);
    return fail_usage(NULL, "unknown command '%s'", name);
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct options *options = NULL;
    if (asks_for_help(argc, argv))
        return help_command(command);
    int code = options_parse(command, argc, argv, &options);
    if (code == EXIT_FINE) {
        talk_quiet(command->bit & (FOR_VERSION | FOR_HELP) ? false : option_flag(options, "quiet"));
        code = command->run(options);
    }
    options_free(options);
    return code;
}

static int dispatch(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : NULL;
    if (!word)
        return fail_usage(NULL, "no command");
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || (strcmp(word, "help") == 0 && argc == 2))
        return help_all(commands);
    if (strcmp(word, "--version") == 0)
        word = "version";
    if (strcmp(word, "help") == 0) {
        const struct command *asked = command_named(argv[2]);
        return asked ? help_command(asked) : fail_command(argv[2]);
    }
    const struct command *command = command_named(word);
    return command ? run(command, argc - 2, argv + 2) : fail_command(word);
}

int main(int argc, char **argv)
{
    watch_signals();
    const int code = dispatch(argc, argv);
    if (code == EXIT_CLOSED) /* nobody reads what we write: not an error */
        return EXIT_FINE;
    if (interrupted() && code != EXIT_FINE && code != EXIT_CHECKPOINT)
        return interrupted_code();
    return code;
}
