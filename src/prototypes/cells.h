/* cells.h — what the rows nearest to each prototype add up to, and how a prototype moves there: shared by
 * full passes and batches. SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_PROTOTYPES_CELLS_H
#define FKMI_PROTOTYPES_CELLS_H

#include "backends/passes.h"
#include "prototypes/phase1.h"
#include "prototypes/repel.h"
#include "prototypes/soft.h"

/* Sums by prototype: of all, or of some at a time, beginning with `first`. */
struct fkmi_sums {
    double *sum; /* at_once x dim: sum u m x; where it is lent, from fkmi_cells_borrow on */
    int64_t first, at_once;
    bool lent;
    int64_t
        wide; /* not 0: sums come in panels of so many prototypes, dim x wide each, as those of soft shares of
                   * CSR rows add up fastest */
    double *mass; /* k: sum u */
    double *ages; /* k x dim: sum u m; NULL without a mask, with one at_once is k */
    bool filled;  /* not zeros, as memory is when it is taken */
};
enum fkmi_sums_held {
    FKMI_SUMS_WHOLE, /* of all prototypes */
    FKMI_SUMS_KEPT,  /* the pull of all, which somebody keeps or works in, the push of some at a time */
    FKMI_SUMS_SOME   /* of some at a time; of soft shares that come in panels of one panel */
};
/* The weight that coordinate d of prototype j received. */
static inline double fkmi_sums_age(const struct fkmi_sums *sums, int64_t dim, int64_t j, int64_t d)
{
    return sums->ages ? sums->ages[j * dim + d] : sums->mass[j];
}

static inline double fkmi_sums_at(const struct fkmi_sums *sums, int64_t dim, int64_t j, int64_t d)
{
    return sums->sum[sums->wide > 0 ? (j / sums->wide * dim + d) * sums->wide + j % sums->wide
                                    : (j - sums->first) * dim + d];
}

struct fkmi_cells {
    int64_t n, k, dim;
    int32_t *index;   /* n: the nearest prototype of the row's own class, -1: none */
    double *distance; /* n: to it; with passes, bounds of theirs until fkmi_cells_measure */
    struct fkmi_sums pull, push;
    double weight, sum_distance; /* over rows with an index */
    double row_weight;           /* mean weight of a row that has one, 0 without any */
    struct fkmi_passes *passes;  /* what passes know of the rows from one to the next, or NULL */
    bool measured;               /* distance holds distances */
    bool pushes;                 /* whom rows push is gathered too */
    bool softly;                 /* pull holds shares of rows (soft.h); there is no push then */
    bool by_panel;               /* pull has room for one panel, and only masses are known after gathering */
    struct fkmi_soft_room soft;
    struct fkmi_pushers pushers;
    int32_t *pushed;     /* n: whom each row pushes, -1: nobody */
    double *push_factor; /* n: of the row's weight; NULL: 1 */
    void *borrowed;
};

/* Takes memory from the arena, and of answers unless they are NULL; push: with sums of rows that push. Panels of soft
 * shares are added up and used by fkmi_soft_move_columns where only one is held. */
fkm_status fkmi_cells_take(struct fkmi_cells *cells, struct fkmi_arena *arena, struct fkm_context *context,
                           const fkm_params *params, const struct fkmi_state *state,
                           const struct fkmi_rows *rows, const struct fkmi_answers *answers, bool push,
                           enum fkmi_sums_held held);
/* s for this gathering: the state's, or the mean distance just found while the state's is unknown. */
double fkmi_cells_scale(const struct fkmi_cells *cells, const struct fkmi_state *state);
/* Assigns each row to its own class's nearest prototype, and finds masses and whom it pushes. With soft assignment every
 * prototype takes its share, which is added up at once; index and distance are still those of the nearest. */
fkm_status fkmi_cells_gather(struct fkmi_cells *cells, struct fkm_context *context, const fkm_params *params,
                             const struct fkmi_state *state, const struct fkmi_pack *pack,
                             const struct fkmi_rows *rows, const int32_t *slot);
/* Memory for sums that are lent, from after gathering until prototypes have moved: scans use the same. */
fkm_status fkmi_cells_borrow(struct fkmi_cells *cells, struct fkm_context *context);
void fkmi_cells_give_back(struct fkmi_cells *cells, struct fkm_context *context);
/* Adds up what was gathered, for the fkmi_cells_at_once prototypes from `first` on, or as many as there are. */
fkm_status fkmi_cells_add(struct fkmi_cells *cells, struct fkm_context *context,
                          const struct fkmi_space *space, const struct fkmi_rows *rows, int64_t first);
int64_t fkmi_cells_at_once(const struct fkmi_cells *cells);
/* The distances of the last gathering, where they are not known yet. */
fkm_status fkmi_cells_measure(struct fkmi_cells *cells, struct fkm_context *context,
                              const struct fkmi_pack *pack, const struct fkmi_rows *rows);
/* The totals of distances, from index and distance. */
void fkmi_cells_total(struct fkmi_cells *cells, const struct fkmi_rows *rows);
void fkmi_cells_moved(const struct fkmi_cells *cells, struct fkmi_moved *moved);

/* Lays out the state's points for scans of these rows. */
fkm_status fkmi_state_pack(struct fkm_context *context, const fkm_params *params,
                           const struct fkmi_state *state, const struct fkmi_rows *rows,
                           struct fkmi_pack **pack);
/* Point j as dim doubles, and back (nearest even). */
void fkmi_point_load(const struct fkmi_state *state, const struct fkmi_kernels *kernels, int64_t j,
                     double *point);
void fkmi_point_store(struct fkmi_state *state, const struct fkmi_kernels *kernels, int64_t j,
                      const double *point);
double fkmi_point_shift(const double *a, const double *b, int64_t dim); /* |a - b| */

#endif
