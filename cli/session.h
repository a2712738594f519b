/* session.h — what several commands do: make a context, load a model, score rows.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_CLI_SESSION_H
#define FKM_CLI_SESSION_H

#include "options.h"
#include "output.h"
#include "schema.h"

/* A context by --threads and --memory-limit; `used` bytes are held by us already. */
int session_context(const struct options *options, size_t used, fkm_context **out);
/* Loads path and reads its schema. */
int session_model(fkm_context *context, const char *path, fkm_model **model, struct schema *schema);
/* Writes path, whole or not at all. */
int session_save(const fkm_model *model, const char *path);

fkm_strategy session_strategy(const struct options *options);
/* Rows of a batch so that rows x width numbers stay small. */
int64_t session_batch_rows(int64_t width);

/* Scores of rows in memory. */
int scores_of(const fkm_model *model, const fkm_batch *batch, fkm_scores *scores);
/* Those that fit the task, as lines of a table or members of an object. */
void scores_print(struct output *output, fkm_task task, const fkm_scores *scores);
void scores_json(struct json *json, fkm_task task, const fkm_scores *scores);
/* The one score that says most, in words: "accuracy 0.931". */
void scores_short(struct text *text, fkm_task task, const fkm_scores *scores);

/* The commands, each in its own file. */
int run_fit(const struct options *options);
int run_finetune(const struct options *options);
int run_predict(const struct options *options);
int run_evaluate(const struct options *options);
int run_inspect(const struct options *options);
int run_convert(const struct options *options);
/* fit --stream; cmd_fit_stream.c */
int run_fit_stream(const struct options *options);

/* ---- learn.c: what fit and finetune share */
/* --task, --lr and the parameters of a new model. */
int learn_params(const struct options *options, fkm_params *params);
/* What is known of the rows before they are read. */
void learn_schema(const struct options *options, const fkm_params *params, const char *data_path,
                  struct schema *schema);
/* --lr auto, --early-stopping-rounds, --eval-fraction against each other. */
int learn_check(const struct options *options, bool finetunes);
/* How a call that learned from rows ended; bad rows are told with their file. */
int learn_ended(fkm_status status, const char *data_path, const char *eval_path);
struct learn_report {
    const char *model_path;
    int64_t n_rows;
    int64_t first_history; /* lines before this one are of earlier runs */
    double seconds;
    const char *eval_path; /* NULL: no rows to score */
    fkm_scores scores;
};
/* The summary: words on stderr, or JSON on stdout with --json. */
int learn_report(const struct options *options, const fkm_model *model, const struct schema *schema,
                 const struct learn_report *report);

#endif
