/* words.c — text columns: the words of the rows are learned in a pass of their own, before anything else.
 * SPDX-License-Identifier: Apache-2.0 */
#include "words.h"

#include <inttypes.h>
#include <string.h>

#include "progress.h"
#include "session.h"
#include "talk.h"

static fkm_vectorizer_options asked(const struct options *options)
{
    fkm_vectorizer_options settings = FKM_VECTORIZER_OPTIONS_INIT;
    const int64_t ngrams = option_int(options, "text-ngrams");
    settings.hashed = option_flag(options, "text-hash");
    settings.n_features = option_given(options, "text-features") ? option_int(options, "text-features") : 0;
    settings.min_documents = option_int(options, "text-min-rows");
    settings.ngrams = ngrams < INT32_MAX ? (int32_t)ngrams : INT32_MAX;
    settings.sublinear = option_is(options, "text-counts", "log");
    return settings;
}

int words_check(const struct options *options)
{
    static const char *const details[] = {"text-features", "text-hash",   "text-ngrams",
                                          "text-min-rows", "text-counts", NULL};
    if (!option_given(options, "text")) {
        for (int i = 0; details[i]; i++)
            if (option_given(options, details[i]))
                return fail_usage(options_command(options)->name, "--%s needs --text COLUMN", details[i]);
        return EXIT_FINE;
    }
    if (option_flag(options, "standardize"))
        return fail_usage(options_command(options)->name,
                          "--standardize needs dense rows; those of --text are sparse");
    if (option_flag(options, "text-hash") && option_given(options, "text-min-rows"))
        return fail_usage(options_command(options)->name,
                          "--text-min-rows leaves out rare terms; with --text-hash nobody knows them");
    if (option_given(options, "data") && input_once(option_text(options, "data")))
        return fail_usage(options_command(options)->name,
                          "%s can be read once, and --text reads it twice: first for its words; give a file",
                          input_name(option_text(options, "data")));
    return EXIT_FINE;
}

static int count_texts(struct input *input)
{
    struct progress progress;
    fkm_batch batch;
    progress_start(&progress);
    do {
        TRY(input_next(input, session_batch_rows(1024), &batch));
        progress_rows(&progress, "reading words", input->n_rows);
    } while (batch.n_rows > 0);
    talk_end_line();
    if (input->n_rows == 0)
        return fail(EXIT_BAD_DATA, "%s has no rows", input->path);
    return EXIT_FINE;
}

int words_learn(const struct options *options, const char *path, struct schema *schema)
{
    const fkm_vectorizer_options settings = asked(options);
    struct input input = {0};
    int code = EXIT_FINE;
    if (!option_given(options, "text"))
        return EXIT_FINE;
    schema->text = need_copy(option_text(options, "text"));
    TRY(fail_status(fkm_vectorizer_create(&settings, &schema->vectorizer), BLAME_OPTIONS, NULL));
    TRY_GOTO(input_open(&input, options, path, schema, INPUT_ASKS)); /* targets can wait */
    TRY_GOTO(count_texts(&input));
    TRY_GOTO(fail_status(fkm_vectorizer_finish(schema->vectorizer), BLAME_ROWS, path));
done:
    talk_end_line();
    input_close(&input);
    return code;
}

void words_say(const struct schema *schema, const char *path)
{
    fkm_vectorizer_info info = {.struct_size = sizeof info};
    char rows[NUMBER_BYTES], features[NUMBER_BYTES];
    if (!schema->vectorizer || fkm_vectorizer_describe(schema->vectorizer, &info) != FKM_OK)
        return;
    say("%s: %s %s of %s texts", path, count_text(features, info.n_features),
        info.options.hashed ? "columns for the hashed terms" : "terms", count_text(rows, info.n_documents));
}

int words_check_same(const struct options *options, const char *checkpoint, const struct schema *schema)
{
    fkm_vectorizer_info info = {.struct_size = sizeof info};
    const fkm_vectorizer_options now = asked(options);
    const bool has_text = schema->text && schema->vectorizer, asks = option_given(options, "text");
    if (has_text != asks || (asks && strcmp(schema->text, option_text(options, "text")) != 0))
        return fail_usage(options_command(options)->name, "%s was made with --text %s, now it is %s",
                          checkpoint, has_text ? schema->text : "missing",
                          asks ? option_text(options, "text") : "missing");
    if (!asks)
        return EXIT_FINE;
    TRY(fail_status(fkm_vectorizer_describe(schema->vectorizer, &info), BLAME_CALL, NULL));
    if (info.options.hashed != now.hashed || info.options.ngrams != now.ngrams ||
        info.options.sublinear != now.sublinear || info.options.min_documents != now.min_documents ||
        (now.n_features > 0 && info.n_features > now.n_features) ||
        (now.hashed && now.n_features > 0 && info.n_features != now.n_features))
        return fail_usage(options_command(options)->name,
                          "%s was made with other --text options; --resume goes on with the same ones",
                          checkpoint);
    return EXIT_FINE;
}
