/* passes_inside.h — what the files of passes share: the rows' bounds, the order of those that are looked at, the sums.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BACKENDS_PASSES_INSIDE_H
#define FKMI_BACKENDS_PASSES_INSIDE_H

#include "backends/cpu/near.h"
#include "backends/passes.h"

/* How the sums of a cell were come by. */
struct fkmi_cell_sum {
    int64_t n;    /* rows */
    double most;  /* the largest mass since they were added up anew, */
    double error; /* and what roundings may have done to the length of the sum since, at most */
};

struct fkmi_passes {
    int64_t n, k, dim;
    size_t point_size;
    bool known, bounded, summed; /* there was a pass; its bounds hold; its sums are right */
    bool always;                 /* for tests */
    int n_skipped;               /* passes left to do by scans */
    int64_t n_open;              /* rows that the last pass had to look at */
    void *points;                /* k x dim: of the last pass */
    double *drift;               /* k */
    int32_t *order, *room;       /* n; room: of the caller, for order, or NULL */
    struct fkmi_cell_sum *cells; /* k */
    double *mean;                /* dim: of all rows, about */
    bool centred, totalled;      /* mean is known; so are */
    double spread;               /* the sum of weights times squared distances of rows to it, */
    double measured;             /* and the sum of distances that it was found from */
};

struct fkmi_span {             /* rows of a cell that are looked at */
    int64_t begin, n, n_moved; /* of order; those that change sides come first, in their order */
    int64_t n_far,
        next;     /* far ones count as such until all are scanned; next: the cell's next span, -1: none */
    double total; /* of weights times distances, where all rows are measured */
    int32_t cell;
};

struct fkmi_pass_job {
    struct fkmi_passes *passes;
    const struct fkmi_rows *rows;
    const struct fkmi_pass *pass;
    struct fkmi_near_pass near;
    struct fkmi_near_bound *bound; /* n */
    double total;                  /* as of a span, of all */
    int64_t part_rows, n_parts;
    int32_t *begin; /* n_parts x (k + 1): open rows of cell j in a part are order[begin[j] .. begin[j + 1]) */
    struct fkmi_span *spans;
    int64_t n_spans;
    int64_t *first_span, *last_span; /* k: of each cell, -1: none */
    int64_t *arrived_begin;
    int32_t *arrived; /* rows that changed sides, by new label */
    char *scratch;
    size_t scratch_per_thread;
};

/* A scan of all prototypes that answers what the pass asks. */
static inline struct fkmi_scan fkmi_pass_scan(const struct fkmi_pass *pass)
{
    return (struct fkmi_scan){.kind = pass->kind,
                              .slot = pass->slot,
                              .class_begin = pass->class_begin,
                              .n_classes = pass->n_classes,
                              .index = pass->index,
                              .distance = pass->distance};
}

/* passes_bounds.c: how far the pack's prototypes have moved since the last pass. */
fkm_status fkmi_pass_drift(struct fkm_context *context, struct fkmi_passes *passes,
                           const struct fkmi_pack *pack);
/* The bounds of all rows after that; rows whose bounds are not enough are open. */
fkm_status fkmi_pass_bound(struct fkm_context *context, struct fkmi_pass_job *job);

/* passes_guess.c: index becomes labels to begin from, where *guessed says that they are good. */
fkm_status fkmi_pass_guess(struct fkm_context *context, const struct fkmi_passes *passes,
                           const struct fkmi_rows *rows, const struct fkmi_pass *pass, bool *guessed);
/* passes_far.c: the far rows of all spans, n of them, find their labels by scans of all prototypes. */
fkm_status fkmi_pass_scan_far(struct fkm_context *context, struct fkmi_pass_job *job, int64_t n);

/* passes_sums.c: all rows are added up. */
fkm_status fkmi_pass_add_all(struct fkm_context *context, struct fkmi_passes *passes,
                             const struct fkmi_rows *rows, const struct fkmi_pass *pass);
/* Rows that changed sides are taken off one sum and put to another. */
fkm_status fkmi_pass_move_rows(struct fkm_context *context, struct fkmi_pass_job *job);
/* known: the sum of weights times distances, or NULL. */
fkm_status fkmi_pass_total(struct fkm_context *context, struct fkmi_passes *passes,
                           const struct fkmi_rows *rows, const struct fkmi_pass *pass, const double *known);
/* The sum of weights times pass->distance. */
fkm_status fkmi_pass_add_distances(struct fkm_context *context, const struct fkmi_rows *rows,
                                   const struct fkmi_pass *pass, double *total);
fkm_status fkmi_passes_measure(struct fkm_context *context, struct fkmi_passes *passes,
                               const struct fkmi_pack *pack, const struct fkmi_rows *rows,
                               const int32_t *index, double *distance);
/* passes_pairs.c */
fkm_status fkmi_passes_pairs(struct fkm_context *context, struct fkmi_passes *passes,
                             const struct fkmi_pack *pack, const struct fkmi_rows *rows, const int32_t *label,
                             int32_t *index, double *distance);
/* The distance of each row to its prototype of the pack. */
fkm_status fkmi_pass_measure(struct fkm_context *context, const struct fkmi_pack *pack,
                             const struct fkmi_rows *rows, const int32_t *index, double *distance);

#endif
