/* options_table.c — every option of every command; the parameters of models follow from fkm_param_at().
 * SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#define LEARNS (FOR_FIT | FOR_FINETUNE)
#define READS_ROWS (FOR_FIT | FOR_FINETUNE | FOR_PREDICT | FOR_EVALUATE | FOR_CONVERT)
#define HAS_MODEL (FOR_FIT | FOR_FINETUNE | FOR_PREDICT | FOR_EVALUATE | FOR_INSPECT)
#define HAS_JSON (FOR_FIT | FOR_FINETUNE | FOR_EVALUATE | FOR_INSPECT | FOR_VERSION)
#define WORKS (READS_ROWS | FOR_INSPECT)

const struct option option_table[] = {
    {"task", 0, OPTION_CHOICE, "TASK", "clusterer|classifier|multilabel|regressor", 0, NULL,
     "what to learn", GROUP_FILES, FOR_FIT},
    {"task", 0, OPTION_CHOICE, "TASK", "clusterer|classifier|multilabel|regressor", 0, NULL,
     "what the target columns mean: classes unless said otherwise", GROUP_FILES, FOR_CONVERT},
    {"model", 'm', OPTION_TEXT, "FILE", NULL, 0, NULL, "where the model goes", GROUP_FILES, FOR_FIT},
    {"model", 'm', OPTION_TEXT, "FILE", NULL, 0, NULL, "the model", GROUP_FILES, HAS_MODEL & ~FOR_FIT},
    {"data", 'd', OPTION_TEXT, "FILE", NULL, 0, NULL, "the rows; - is standard input", GROUP_FILES, READS_ROWS},
    {"output", 'o', OPTION_TEXT, "FILE", NULL, 0, NULL, "where the model goes; without it --model is replaced",
     GROUP_FILES, FOR_FINETUNE},
    {"output", 'o', OPTION_TEXT, "FILE", NULL, 0, NULL, "where the result goes; without it, or -: standard output",
     GROUP_FILES, FOR_PREDICT | FOR_INSPECT},
    {"output", 'o', OPTION_TEXT, "FILE", NULL, 0, NULL, "where the rows go; - is standard output", GROUP_FILES,
     FOR_CONVERT},
    {"target-output", 0, OPTION_TEXT, "FILE", NULL, 0, NULL, "npy: where the targets go", GROUP_FILES, FOR_CONVERT},
    {"to", 0, OPTION_CHOICE, "FORMAT", "auto|csv|tsv|libsvm|npy", 0, "auto",
     "format of the output; auto: by its name", GROUP_FILES, FOR_CONVERT},
    {"dtype", 0, OPTION_CHOICE, "float32|float64", "float32|float64", 0, "float32", "npy: type of the numbers",
     GROUP_FILES, FOR_CONVERT},

    {"target", 't', OPTION_TEXT, "COLUMNS", NULL, 0, NULL,
     "CSV: name or 0-based number of the target column, or several with commas; npy: the file of the targets",
     GROUP_ROWS, FOR_FIT | FOR_CONVERT},
    {"target", 't', OPTION_TEXT, "COLUMNS", NULL, 0, NULL,
     "CSV: the target columns, if they are not those the model learned from; npy: the file of the targets", GROUP_ROWS,
     READS_ROWS & ~(FOR_FIT | FOR_CONVERT)},
    {"weight", 0, OPTION_TEXT, "COLUMN", NULL, 0, NULL,
     "CSV: name or number of the column with the rows' weights; npy: the file of the weights", GROUP_ROWS,
     READS_ROWS},
    {"format", 0, OPTION_CHOICE, "FORMAT", "auto|csv|tsv|libsvm|npy", 0, "auto",
     "format of the rows; auto: by the name (.csv, .tsv, .svm, .libsvm, .txt, .npy, each also .gz; "
     "standard input is CSV)", GROUP_ROWS, READS_ROWS},
    {"header", 0, OPTION_CHOICE, "yes|no|auto", "yes|no|auto", 0, "auto", "CSV: whether the first line names the columns",
     GROUP_ROWS, READS_ROWS},
    {"index-base", 0, OPTION_CHOICE, "0|1|auto", "0|1|auto", 0, "auto", "libsvm: number of the first feature",
     GROUP_ROWS, READS_ROWS},
    {"n-cols", 0, OPTION_INT, "N", NULL, 1, NULL, "libsvm: number of features; found by a first pass when not given",
     GROUP_ROWS, FOR_FIT | FOR_CONVERT},
    {"missing", 0, OPTION_CHOICE, "mask|error", "mask|error", 0, "mask",
     "an empty or NA field: ignore this coordinate, or stop", GROUP_ROWS, READS_ROWS},
    {"standardize", 0, OPTION_FLAG, NULL, NULL, 0, NULL,
     "subtract each feature's mean and divide by its standard deviation; the model keeps both and every later "
     "command applies them (dense rows only)", GROUP_ROWS, FOR_FIT},

    {"max-iters", 0, OPTION_INT, "N", NULL, 1, "100", "passes of phase 1 at most", GROUP_LEARNING, FOR_FIT},
    {"tol", 0, OPTION_REAL, "R", NULL, 0, "1e-4", "stop phase 1 when no prototype moved further", GROUP_LEARNING,
     FOR_FIT},
    {"finetune", 0, OPTION_INT, "EPOCHS", NULL, 1, NULL, "phase 2 right after: that many epochs of gradient steps",
     GROUP_LEARNING, FOR_FIT},
    {"epochs", 0, OPTION_INT, "N", NULL, 1, "10", "epochs of gradient steps", GROUP_LEARNING, FOR_FINETUNE},
    {"lr", 0, OPTION_REAL, "auto|R", "auto", 0, NULL,
     "learning rate of phase 2, relative to the spread of the prototypes; auto searches one; without it the "
     "model's learning_rate, or 0.03", GROUP_LEARNING, LEARNS},
    {"eval", 0, OPTION_TEXT, "FILE", NULL, 0, NULL,
     "rows to score on; the best state of phase 2 on them is kept", GROUP_LEARNING, LEARNS},
    {"eval-target", 0, OPTION_TEXT, "FILE", NULL, 0, NULL, "npy: the targets of --eval", GROUP_LEARNING, LEARNS},
    {"eval-fraction", 0, OPTION_REAL, "R", NULL, 0, NULL, "hold out this share of the rows instead, e.g. 0.1",
     GROUP_LEARNING, LEARNS},
    {"early-stopping-rounds", 0, OPTION_INT, "N", NULL, 1, NULL,
     "end phase 2 after N epochs without a better score; needs --eval or --eval-fraction", GROUP_LEARNING, LEARNS},

    {"stream", 0, OPTION_FLAG, NULL, NULL, 0, NULL,
     "learn batch by batch instead of loading all rows: memory stays small however long the file is", GROUP_STREAM,
     FOR_FIT},
    {"epochs", 0, OPTION_INT, "N", NULL, 1, "1", "passes of phase 1 over the stream", GROUP_STREAM, FOR_FIT},
    {"checkpoint", 0, OPTION_TEXT, "FILE", NULL, 0, NULL,
     "keep the model and its place in the stream here; also when interrupted", GROUP_STREAM, FOR_FIT},
    {"checkpoint-batches", 0, OPTION_INT, "N", NULL, 1, "100", "save the checkpoint every N batches", GROUP_STREAM,
     FOR_FIT},
    {"resume", 0, OPTION_FLAG, NULL, NULL, 0, NULL,
     "go on from the checkpoint if there is one; the result is that of an undisturbed run, byte for byte",
     GROUP_STREAM, FOR_FIT},

    {"proba", 0, OPTION_FLAG, NULL, NULL, 0, NULL, "add a column of probabilities for each class or tag",
     GROUP_ANSWERS, FOR_PREDICT},
    {"strategy", 0, OPTION_CHOICE, "WORD", "adaptive|gap|top_k", 0, "adaptive",
     "multilabel: a threshold for each tag, cut at the largest drop, or the --top-k best", GROUP_ANSWERS,
     FOR_PREDICT | FOR_EVALUATE},
    {"top-k", 0, OPTION_INT, "N", NULL, 1, "1", "multilabel: tags for each row with --strategy top_k", GROUP_ANSWERS,
     FOR_PREDICT | FOR_EVALUATE},
    {"nearest", 0, OPTION_INT, "N", NULL, 1, NULL,
     "add the N nearest prototypes of each row with their distances and weights", GROUP_ANSWERS, FOR_PREDICT},
    {"history", 0, OPTION_FLAG, NULL, NULL, 0, NULL, "print the whole history as CSV", GROUP_ANSWERS, FOR_INSPECT},
    {"centroids", 0, OPTION_FLAG, NULL, NULL, 0, NULL, "print every prototype as CSV, in the units of the data",
     GROUP_ANSWERS, FOR_INSPECT},
    {"top", 0, OPTION_INT, "N", NULL, 1, "10", "lines of each list", GROUP_ANSWERS, FOR_INSPECT},

    {"config", 0, OPTION_TEXT, "FILE", NULL, 0, NULL,
     "read options and parameters from lines of the form `name = value`; the command line comes first",
     GROUP_RUNNING, WORKS},
    {"threads", 0, OPTION_INT, "N", "auto", 1, "auto", "threads; results do not depend on it", GROUP_RUNNING,
     HAS_MODEL | FOR_VERSION},
    {"memory-limit", 0, OPTION_SIZE, "SIZE", NULL, 0, NULL, "fail rather than use more, e.g. 500M, 8G",
     GROUP_RUNNING, HAS_MODEL},
    {"json", 0, OPTION_FLAG, NULL, NULL, 0, NULL, "results as JSON on stdout", GROUP_RUNNING, HAS_JSON},
    {"quiet", 'q', OPTION_FLAG, NULL, NULL, 0, NULL, "only errors on stderr", GROUP_RUNNING, WORKS},
    {"help", 'h', OPTION_FLAG, NULL, NULL, 0, NULL, "this text", GROUP_RUNNING, FOR_ALL},
};
const size_t option_count = sizeof option_table / sizeof option_table[0];
