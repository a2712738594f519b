/* soft.h — soft assignment: every prototype takes its share of every row.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_PROTOTYPES_SOFT_H
#define FKMI_PROTOTYPES_SOFT_H

#include "prototypes/state.h"

struct fkmi_cells;

#define FKMI_MOST_SHARES ((int64_t)1 << 21) /* held at once: 16 MiB */

/* What makes shares of a row's scores. */
struct fkmi_soft_row {
    double largest, total; /* score; sum of what becomes of scores; 0: the row goes to its nearest */
    int64_t nearest;
};
/* CSR rows by column, and what is known of each: their shares go to `wide` prototypes at a time (soft_columns.c). */
struct fkmi_soft_columns {
    int64_t wide;
    struct fkmi_soft_row *facts; /* by row */
    /* Entries of column d in block b of rows: [begin[b * (dim + 1) + d], begin[... + 1]). */
    int64_t *begin;
    int32_t *row;   /* of the block */
    double *value;  /* as loaded */
    double *square; /* by chunk of columns: wide */
};
struct fkmi_soft_room { /* from an arena */
    int64_t block;      /* rows at once */
    double *share;      /* FKMI_MOST_SHARES at most: distances, then shares times the row's weight */
    int32_t *owner;     /* k */
    char *rows;         /* dense: n_threads x dim doubles */
    struct fkmi_soft_columns columns;
};
fkm_status fkmi_soft_take(struct fkmi_soft_room *room, struct fkmi_arena *arena, struct fkm_context *context,
                          const fkm_params *params, const struct fkmi_state *state,
                          const struct fkmi_rows *rows);
/* Begins, goes on with the distances to prototypes [begin, begin + n), and ends the facts of a row; distances become
 * scores. */
void fkmi_soft_row_begin(struct fkmi_soft_row *row);
void fkmi_soft_row_weigh(struct fkmi_soft_row *row, const fkm_params *params, double scale,
                         const int32_t *owner, int32_t slot, int64_t begin, int64_t n, double *distance);
void fkmi_soft_row_end(struct fkmi_soft_row *row);
/* From distances to shares times u, once the facts are known. */
void fkmi_soft_row_share(const struct fkmi_soft_row *row, const fkm_params *params, double scale,
                         const int32_t *owner, int32_t slot, double u, int64_t begin, int64_t n,
                         double *share);
/* Shares of one row in k prototypes: from distances to shares that sum to 1, in place. */
void fkmi_soft_shares(const fkm_params *params, double scale, const int32_t *owner, int32_t slot, int64_t k,
                      double *share);
/* Adds the shares of all rows to cells->pull, which is clear; cells->index and cells->distance are known. scale: s. */
fkm_status fkmi_soft_gather(struct fkmi_soft_room *room, struct fkmi_cells *cells,
                            struct fkm_context *context, const fkm_params *params,
                            const struct fkmi_state *state, const struct fkmi_pack *pack,
                            const struct fkmi_rows *rows, const int32_t *slot, double scale);
/* The same of CSR rows, whose sums come in panels (cells.h). */
fkm_status fkmi_soft_gather_columns(struct fkmi_soft_room *room, struct fkmi_cells *cells,
                                    struct fkm_context *context, const fkm_params *params,
                                    const struct fkmi_state *state, const struct fkmi_pack *pack,
                                    const struct fkmi_rows *rows, const int32_t *slot, double scale);
/* And then moves every prototype to its mean, panel by panel, so that there is room for the sums of one panel alone;
 * shift: how far, k. Once it has begun, a failure leaves some prototypes moved. point: 2 dim doubles. */
fkm_status fkmi_soft_move_columns(struct fkmi_soft_room *room, struct fkmi_cells *cells,
                                  struct fkm_context *context, const fkm_params *params,
                                  struct fkmi_state *state, const struct fkmi_pack *pack,
                                  const struct fkmi_rows *rows, const int32_t *slot, double scale,
                                  double *point, double *shift);
/* Memory that these two need besides, from the arena. */
fkm_status fkmi_soft_take_columns(struct fkmi_soft_room *room, struct fkmi_arena *arena,
                                  struct fkm_context *context, const fkm_params *params,
                                  const struct fkmi_state *state, const struct fkmi_rows *rows);

#endif
