/* lists_cells.h — what the rows nearest to each prototype add up to when prototypes are lists, and the lists that follow:
 * shared by full passes and batches.
 *
 * A thread adds a prototype's rows in an array of all columns, marks the columns it met in a set of bits, and writes the
 * new list into the place kept for it; new lists stand beside the old ones until all are whole.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_PROTOTYPES_LISTS_CELLS_H
#define FKMI_PROTOTYPES_LISTS_CELLS_H

#include "prototypes/cells.h"
#include "prototypes/repel.h"

/* Rows of the view by prototype, ascending: those of j are row[begin[j]] .. row[begin[j + 1] - 1]. */
struct fkmi_grouped {
    int64_t *begin, *row;
    double *mass; /* k: their weight */
};

struct fkmi_list_cells {
    struct fkm_context *context;
    const fkm_params *params;
    struct fkmi_state *state;
    struct fkmi_space space;
    struct fkmi_phase1 *work;
    const struct fkmi_rows *rows;
    const int32_t *slot;
    struct fkmi_cells cells; /* index, distance and masses alone */
    struct fkmi_grouped pull, push;
    bool pushes; /* this time */
    int32_t *push_index;
    double *push_factor;
    struct fkmi_pushers pushers;
    int64_t *moved_to;               /* k: the row that a prototype moves to, or -1 */
    int64_t *place;                  /* k + 1: where the new lists go */
    int64_t *count;                  /* k: their lengths */
    double *shift;                   /* k */
    double *sum, *push_sum, *values; /* threads x dim each; the sums are 0 between prototypes */
    uint64_t *met;                   /* threads x words: no bit is set between prototypes */
};

/* Memory from the arena of work, which begins anew; push: also for rows that push. */
fkm_status fkmi_list_cells_take(struct fkmi_list_cells *c, bool push);
/* Assigns the rows and groups them; moved_to becomes -1. */
fkm_status fkmi_list_cells_assign(struct fkmi_list_cells *c);
/* Room for new lists: with the columns of the rows, and, when they grow, those of the old ones. */
fkm_status fkmi_list_cells_places(struct fkmi_list_cells *c, bool grow);
/* Adds up the rows of j that pull, and those that push when there are; columns met before count too. How many columns were
 * met: they are in `index`, ascending, and no bit is set any more. The caller clears the sums. */
int64_t fkmi_list_cells_add(const struct fkmi_list_cells *c, int64_t j, int thread, int32_t *index);
/* As fkmi_push_point, in the columns of a list; sum: of the rows that push, by column. */
void fkmi_list_cells_push(const struct fkmi_list_cells *c, int64_t j, double mass, const int32_t *index,
                          int64_t n, const double *sum, double *values);
/* A unit row, or the row itself; its length, -1 when it has no direction. */
int64_t fkmi_list_cells_row(const struct fkmi_list_cells *c, int64_t i, int32_t *index, double *values);
/* The new list of j, whose columns are in their place: values that are not 0, and how far that is from the old one. */
void fkmi_list_cells_store(struct fkmi_list_cells *c, int64_t j, int64_t n, double *values);
/* The new list is the old one. */
void fkmi_list_cells_keep(struct fkmi_list_cells *c, int64_t j);
/* The new lists become the state's; the memory of the old ones is for the next. */
void fkmi_list_cells_exchange(struct fkmi_list_cells *c);

static inline int64_t fkmi_words_of(int64_t dim) { return (dim + 63) / 64; }
static inline int64_t fkmi_list_length(const struct fkmi_state *state, int64_t j)
{
    return state->lists.begin[j + 1] - state->lists.begin[j];
}

#endif
