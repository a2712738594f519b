/* columns_step.h — inside a gradient batch of CSR rows whose prototypes are lists: what scan, gradient and update share.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_TRAIN_COLUMNS_STEP_H
#define FKMI_TRAIN_COLUMNS_STEP_H

#include "train/columns.h"
#include "train/step.h"

#define FKMI_COLUMN_BLOCKS 16 /* of a step's columns; each adds up sizes by prototype on its own */

/* A prototype that a row pulls, and what its data's part of the gradient is multiplied by. */
struct fkmi_pull {
    double scale;
    int32_t prototype;
};

/* Of a prototype, while a column is looked at. */
struct fkmi_tally {
    double sum; /* over the rows */
    int32_t stamp,
        where; /* stamp: 1 + the last column it was touched in; where: its place in a list, maybe an old one */
};

struct fkmi_sparse {
    double *distance;     /* by thread: k */
    double *scale, *zero; /* k: of the scan */
    /* the rows' pulls: those of row i are [pull_begin[i], pull_begin[i + 1]) */
    struct fkmi_pull *pull;
    int64_t *pull_begin;
    double *along; /* k: the gradient is along w c, or along w sign(c) for l1, where no row has an entry */
    /* the batch by column, columns as they were met: entries [entry_begin[c], entry_begin[c + 1]), rows ascending */
    int64_t n_columns;
    int32_t *column, *row;
    int64_t *entry_begin, *entry; /* entry: its place in step->in.entries */
    int64_t block_begin[FKMI_COLUMN_BLOCKS + 1];
    /* touched coordinates of column c: [touched_begin[c], touched_begin[c] + n_touched[c]) */
    int64_t *touched_begin;
    int32_t *n_touched, *n_new, *touched; /* touched: prototypes; n_new: that the column does not hold yet */
    char *g;                              /* reals */
    double *before, *after;          /* by block: k; the touched coordinates' part of the prototype's size */
    int32_t bad[FKMI_COLUMN_BLOCKS]; /* a prototype whose gradient is not finite, or -1 */
    /* by thread: k each */
    struct fkmi_tally *tally;
    char *p, *m, *v;
};

/* All memory but that of the touched coordinates. */
fkm_status fkmi_train_columns_plan(struct fkmi_step *step);
void fkmi_train_columns_scale(const struct fkmi_train_columns *columns, double *scale);
/* As backend->scan, for the kinds that teach. */
fkm_status fkmi_train_columns_scan(const struct fkmi_step *step, const struct fkmi_rows *rows,
                                   const struct fkmi_scan *scan);
/* The gradient of the touched coordinates, and room for them in the columns. */
fkm_status fkmi_train_columns_backward(struct fkmi_step *step);
/* One step of Adam on them; cannot fail. */
void fkmi_train_columns_update(struct fkmi_step *step, struct fkmi_trainer *trainer, double rate);

#endif
