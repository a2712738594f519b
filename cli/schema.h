/* schema.h — what a model knows of its rows: names of columns and classes, the target, standardization. Kept
 * as notes of the model, so that every later command reads rows the way they were learned.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_CLI_SCHEMA_H
#define FKM_CLI_SCHEMA_H

#include "standard.h"

struct schema {
    fkm_task task;
    fkm_dtype dtype;      /* of rows in memory: FKM_DTYPE_F32 or FKM_DTYPE_F64 */
    int64_t n_cols;       /* 0: any */
    char *target;         /* columns, or NULL */
    char *weight;         /* the column of the rows' weights, or NULL */
    int32_t index_base;   /* libsvm: 0, 1; -1: look */
    struct names classes; /* empty: classes are numbers */
    struct names columns; /* empty: unknown */
    struct standard standard;
    char *text;                 /* text columns, or NULL */
    fkm_vectorizer *vectorizer; /* what makes rows of texts, or NULL */
};
/* From the notes; EXIT_BAD_DATA when they contradict the model. */
int schema_from_model(const fkm_model *model, const char *path, struct schema *schema);
/* Into the notes. */
int schema_to_model(const struct schema *schema, fkm_model *model);
/* Only the classes: they grow while a stream is read. */
fkm_status schema_classes_to_model(const struct schema *schema, fkm_model *model);
void schema_free(struct schema *schema);

/* The name of a class or tag, or its number as text. */
const char *schema_class(const struct schema *schema, int64_t label, char number[NUMBER_BYTES]);
/* The name of feature j, or "x3". */
const char *schema_column(const struct schema *schema, int64_t j, char number[NUMBER_BYTES]);
/* The name of target j of n: its column, or "prediction" / "prediction_2". */
void schema_targets(const struct schema *schema, int64_t n, struct names *out);

#endif
