/* schema.c — what a model knows of its rows, to and from its notes.
 * SPDX-License-Identifier: Apache-2.0 */
#include "schema.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "talk.h"

int schema_from_model(const fkm_model *model, const char *path, struct schema *schema)
{
    fkm_model_info info = {.struct_size = sizeof info};
    *schema = (struct schema){.index_base = -1};
    TRY(fail_status(fkm_model_describe(model, &info), BLAME_CALL, path));
    schema->task = info.params.task;
    schema->dtype = info.params.dtype == FKM_DTYPE_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32;
    schema->n_cols = info.dim;

    const char *classes = fkm_model_note(model, "class_names"), *columns = fkm_model_note(model, "columns");
    const char *target = fkm_model_note(model, "target"), *base = fkm_model_note(model, "index_base");
    const char *mean = fkm_model_note(model, "standardize.mean"),
               *std = fkm_model_note(model, "standardize.std");
    TRY(fail_status(fkm_model_vectorizer(model, &schema->vectorizer), BLAME_CALL, path));
    if (fkm_model_note(model, "text"))
        schema->text = need_copy(fkm_model_note(model, "text"));
    if (classes)
        names_from_lines(&schema->classes, classes);
    if (columns)
        names_from_lines(&schema->columns, columns);
    if (target)
        schema->target = need_copy(target);
    if (fkm_model_note(model, "weight"))
        schema->weight = need_copy(fkm_model_note(model, "weight"));
    if (base)
        schema->index_base = strcmp(base, "1") == 0;
    if (schema->columns.n > 0 && info.dim > 0 && schema->columns.n != info.dim)
        return fail(EXIT_BAD_DATA, "%s names %" PRId64 " columns, the model has %" PRId64, path,
                    schema->columns.n, info.dim);
    if (mean && (!std || !standard_read(&schema->standard, mean, std) ||
                 (info.dim > 0 && schema->standard.n != info.dim)))
        return fail(EXIT_BAD_DATA,
                    "%s: the notes standardize.mean and standardize.std do not fit its %" PRId64 " columns",
                    path, info.dim);
    return EXIT_FINE;
}

fkm_status schema_classes_to_model(const struct schema *schema, fkm_model *model)
{
    if (schema->classes.n == 0)
        return FKM_OK;
    char *lines = names_to_lines(&schema->classes);
    const fkm_status status = fkm_model_set_note(model, "class_names", lines);
    free(lines);
    return status;
}

static fkm_status set_names(fkm_model *model, const char *note, const struct names *names)
{
    char *lines = names->n > 0 ? names_to_lines(names) : NULL;
    const fkm_status status = fkm_model_set_note(model, note, lines);
    free(lines);
    return status;
}

static fkm_status set_numbers(fkm_model *model, const char *note, const double *values, int64_t n)
{
    char *text = n > 0 ? standard_text(values, n) : NULL;
    const fkm_status status = fkm_model_set_note(model, note, text);
    free(text);
    return status;
}

int schema_to_model(const struct schema *schema, fkm_model *model)
{
    /* All are set anew, so that their order in the file does not depend on when each one became known. */
    static const char *const all[] = {"class_names", "columns",          "target",          "weight",
                                      "index_base",  "standardize.mean", "standardize.std", "text"};
    const char *base = schema->index_base < 0 ? NULL : schema->index_base ? "1" : "0";
    fkm_status status = FKM_OK;
    for (size_t i = 0; i < sizeof all / sizeof all[0] && status == FKM_OK; i++)
        status = fkm_model_set_note(model, all[i], NULL);
    if (status == FKM_OK)
        status = schema_classes_to_model(schema, model);
    if (status == FKM_OK)
        status = set_names(model, "columns", &schema->columns);
    if (status == FKM_OK)
        status = fkm_model_set_note(model, "target", schema->target);
    if (status == FKM_OK)
        status = fkm_model_set_note(model, "weight", schema->weight);
    if (status == FKM_OK)
        status = fkm_model_set_note(model, "index_base", base);
    if (status == FKM_OK)
        status = set_numbers(model, "standardize.mean", schema->standard.mean, schema->standard.n);
    if (status == FKM_OK)
        status = set_numbers(model, "standardize.std", schema->standard.deviation, schema->standard.n);
    if (status == FKM_OK)
        status = fkm_model_set_note(model, "text", schema->text);
    if (status == FKM_OK)
        status = fkm_model_set_vectorizer(model, schema->vectorizer);
    return fail_status(status, BLAME_CALL, NULL);
}

void schema_free(struct schema *schema)
{
    free(schema->target);
    free(schema->weight);
    free(schema->text);
    fkm_vectorizer_free(schema->vectorizer);
    names_free(&schema->classes);
    names_free(&schema->columns);
    standard_free(&schema->standard);
    *schema = (struct schema){0};
}

/* ---- names */

const char *schema_class(const struct schema *schema, int64_t label, char number[NUMBER_BYTES])
{
    if (label >= 0 && label < schema->classes.n)
        return schema->classes.name[label];
    snprintf(number, NUMBER_BYTES, "%" PRId64, label);
    return number;
}

const char *schema_column(const struct schema *schema, int64_t j, char number[NUMBER_BYTES])
{
    if (j < schema->columns.n)
        return schema->columns.name[j];
    if (fkm_vectorizer_term(schema->vectorizer, j))
        return fkm_vectorizer_term(schema->vectorizer, j);
    snprintf(number, NUMBER_BYTES, "x%" PRId64, j);
    return number;
}

void schema_targets(const struct schema *schema, int64_t n, struct names *out)
{
    char number[NUMBER_BYTES];
    int64_t column;
    if (schema->target)
        names_from_list(out, schema->target);
    bool named = out->n == n;
    for (int64_t i = 0; named && i < n; i++) /* a column given by its number has no name we know */
        named = !parse_int(out->name[i], &column);
    if (named)
        return;
    names_free(out);
    for (int64_t i = 0; i < n; i++) {
        snprintf(number, sizeof number, "prediction_%" PRId64, i);
        names_add(out, n == 1 ? "prediction" : number, strlen(n == 1 ? "prediction" : number));
    }
}
