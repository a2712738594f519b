/* writers.c — rows as CSV, TSV and libsvm text. Arrays: writer_npy.c.
 * SPDX-License-Identifier: Apache-2.0 */
#include "writers.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "talk.h"
#include "values.h"

const struct writer *const writers[] = {&csv_writer, &tsv_writer, &libsvm_writer, &npy_writer, NULL};

void writing_free(struct writing *writing)
{
    free(writing->row);
    free(writing->tags);
    free(writing->tag_ends);
}

bool has_targets(const fkm_batch *batch) { return batch->labels || batch->tag_indptr || batch->targets; }

/* The shortest text that gives the number back: for numbers that came from text, that text. */
static void put_number(struct output *output, double value, fkm_dtype dtype)
{
    char number[NUMBER_BYTES];
    output_puts(output, dtype == FKM_DTYPE_F64 ? number_text(number, value)
                                               : number_text_float(number, (float)value));
}

/* A name that is one word for the format: without any of these letters. */
static int check_word(const char *name, const char *forbidden, const char *format)
{
    const char *bad = strpbrk(name, forbidden);
    if (!bad && *name)
        return EXIT_FINE;
    return fail(EXIT_BAD_DATA, "the name '%s' cannot be written as %s: it %s", name, format,
                *name ? "has a blank, a comma or another separator in it" : "is empty");
}

/* ---- CSV and TSV */

static char separator_of(const struct writing *writing)
{
    return writing->writer == &tsv_writer ? '\t' : ',';
}

static int begin_table(struct writing *writing, const fkm_batch *first)
{
    const char separator = separator_of(writing);
    const char *weight = option_text(writing->options, "weight");
    const char *target = option_text(writing->options, "target");
    char number[NUMBER_BYTES];
    struct names targets = {0};
    int64_t column;

    writing->n_cols = first->n_cols;
    writing->n_targets = first->targets ? first->n_targets : has_targets(first);
    for (int64_t j = 0; j < first->n_cols; j++)
        output_field(&writing->output, schema_column(writing->schema, j, number), j == 0, separator);
    if (target)
        names_from_list(&targets, target);
    for (int64_t t = 0; t < writing->n_targets; t++) {
        const bool named = targets.n == writing->n_targets && writing->schema->columns.n > 0 &&
                           !parse_int(targets.name[t], &column);
        snprintf(number, sizeof number, writing->n_targets > 1 ? "target_%" PRId64 : "target", t);
        output_field(&writing->output, named ? targets.name[t] : number, false, separator);
    }
    if (first->weight)
        output_field(&writing->output,
                     weight && writing->schema->columns.n > 0 && !parse_int(weight, &column) ? weight
                                                                                             : "weight",
                     false, separator);
    output_puts(&writing->output, "\n");
    names_free(&targets);
    return EXIT_FINE;
}

static int put_table_targets(struct writing *writing, const fkm_batch *batch, int64_t i)
{
    const char separator = separator_of(writing);
    char number[NUMBER_BYTES];
    if (batch->labels)
        output_field(&writing->output, schema_class(writing->schema, batch->labels[i], number), false,
                     separator);
    if (batch->tag_indptr) {
        struct text joined = {0};
        text_puts(&joined, "");
        for (int64_t at = batch->tag_indptr[i]; at < batch->tag_indptr[i + 1]; at++) {
            const char *name = schema_class(writing->schema, batch->tags[at], number);
            const int code = check_word(name, "; ,", writing->writer->name);
            text_printf(&joined, "%s%s", joined.length ? ";" : "", name);
            if (code != EXIT_FINE) {
                text_free(&joined);
                return code;
            }
        }
        output_field(&writing->output, joined.bytes, false, separator);
        text_free(&joined);
    }
    for (int64_t t = 0; batch->targets && t < batch->n_targets; t++)
        output_real(&writing->output, batch->targets[i * batch->n_targets + t], false, separator);
    return EXIT_FINE;
}

static int table_rows(struct writing *writing, const fkm_batch *batch)
{
    const char separator[] = {separator_of(writing), '\0'};
    for (int64_t i = 0; i < batch->n_rows; i++) {
        int64_t at = batch->x ? 0 : batch->indptr[i];
        if (interrupted())
            return interrupted_code();
        for (int64_t j = 0; j < writing->n_cols; j++) {
            output_puts(&writing->output, j ? separator : "");
            if (batch->x && value_present(batch, i, j))
                put_number(&writing->output, value_of(batch, i, j), batch->dtype);
            else if (!batch->x && at < batch->indptr[i + 1] && batch->indices[at] == j)
                put_number(&writing->output, value_in(batch->values, batch->dtype, at++), batch->dtype);
            else if (!batch->x)
                output_puts(&writing->output, "0");
        }
        TRY(put_table_targets(writing, batch, i));
        if (batch->weight)
            output_float(&writing->output, batch->weight[i], false, separator[0]);
        output_puts(&writing->output, "\n");
    }
    return EXIT_FINE;
}

static int end_text(struct writing *writing)
{
    (void)writing;
    return EXIT_FINE;
}

const struct writer csv_writer = {"csv", begin_table, table_rows, end_text};
const struct writer tsv_writer = {"tsv", begin_table, table_rows, end_text};

/* ---- libsvm: indices from 1, zeros left out */

static int begin_libsvm(struct writing *writing, const fkm_batch *first)
{
    if (first->weight)
        return fail_usage("convert", "libsvm has no place for weights");
    writing->n_cols = first->n_cols;
    return EXIT_FINE;
}

static int put_label(struct writing *writing, const fkm_batch *batch, int64_t i)
{
    char number[NUMBER_BYTES];
    if (batch->labels) {
        const char *name = schema_class(writing->schema, batch->labels[i], number);
        TRY(check_word(name, " ,#:\t", "libsvm"));
        output_puts(&writing->output, name);
    } else if (batch->tag_indptr) {
        const int64_t begin = batch->tag_indptr[i];
        for (int64_t at = begin; at < batch->tag_indptr[i + 1]; at++)
            output_printf(&writing->output, "%s%" PRId32, at > begin ? "," : "", batch->tags[at]);
        if (begin == batch->tag_indptr[i + 1])
            output_puts(&writing->output, " "); /* a line that begins with a blank has no tags */
    } else if (batch->targets) {
        for (int64_t t = 0; t < batch->n_targets; t++)
            output_real(&writing->output, batch->targets[i * batch->n_targets + t], t == 0, ',');
    } else {
        output_puts(&writing->output, "0");
    }
    return EXIT_FINE;
}

static void put_entry(struct writing *writing, int64_t j, double value, fkm_dtype dtype)
{
    if (value == 0)
        return;
    output_printf(&writing->output, " %" PRId64 ":", j + 1);
    put_number(&writing->output, value, dtype);
}

static int libsvm_rows(struct writing *writing, const fkm_batch *batch)
{
    for (int64_t i = 0; i < batch->n_rows; i++) {
        if (interrupted())
            return interrupted_code();
        TRY(put_label(writing, batch, i));
        for (int64_t j = 0; batch->x && j < batch->n_cols; j++) {
            if (!value_present(batch, i, j))
                return fail(EXIT_BAD_DATA,
                            "row %" PRId64 ", feature %" PRId64 ": the value is missing, which libsvm "
                            "cannot say (an absent feature is 0)",
                            writing->n_rows + i, j);
            put_entry(writing, j, value_of(batch, i, j), batch->dtype);
        }
        for (int64_t at = batch->x ? 0 : batch->indptr[i]; !batch->x && at < batch->indptr[i + 1]; at++)
            put_entry(writing, batch->indices[at], value_in(batch->values, batch->dtype, at), batch->dtype);
        output_puts(&writing->output, "\n");
    }
    return EXIT_FINE;
}

static int end_libsvm(struct writing *writing)
{
    struct text names = {0};
    if (writing->schema->task == FKM_TASK_MULTILABEL && writing->schema->classes.n > 0) {
        for (int64_t t = 0; t < writing->schema->classes.n && t < 10; t++)
            text_printf(&names, "%s%" PRId64 " = %s", t ? ", " : "", t, writing->schema->classes.name[t]);
        say("tags are written as numbers: %s%s", names.bytes, writing->schema->classes.n > 10 ? ", ..." : "");
    }
    text_free(&names);
    return EXIT_FINE;
}

const struct writer libsvm_writer = {"libsvm", begin_libsvm, libsvm_rows, end_libsvm};
