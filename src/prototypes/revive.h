/* revive.h — a second life for dead prototypes.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_PROTOTYPES_REVIVE_H
#define FKMI_PROTOTYPES_REVIVE_H

#include "prototypes/cells.h"

/* In a full pass, once masses are known: each prototype without any goes to the row of its class that lies farthest
 * from the class's prototypes, several of them to different rows. One stays where it is when every row of the class
 * lies on a prototype. Lowers cells->distance by the new places; *shift grows to the largest move. On failure none
 * has moved. pack: the pass's. */
fkm_status fkmi_revive(struct fkm_context *context, const fkm_params *params, struct fkmi_state *state,
                       struct fkmi_cells *cells, const struct fkmi_pack *pack, const struct fkmi_rows *rows,
                       const int32_t *slot, double *shift);

/* In a stream: a prototype whose mass has decayed below min_weight splits the one of its class with the
 * largest within-sum in this batch: it goes to that one's farthest row, and both take half its mass. */
struct fkmi_split {    /* room for it, from an arena */
    double *within;    /* k */
    int64_t *farthest; /* k: row of the view, -1: none */
    void *row;         /* dim reals */
    double *point;     /* dim */
    bool measured;     /* within and farthest are known */
};
fkm_status fkmi_split_take(struct fkmi_split *split, struct fkmi_arena *arena,
                           const struct fkmi_state *state);
/* Which prototype of class c the dead j splits, -1: j is not dead, or there is none. within[] of one that has been split is
 * to become 0. mass: theirs by now. */
int64_t fkmi_split_donor(struct fkmi_split *split, const fkm_params *params, const struct fkmi_state *state,
                         const struct fkmi_cells *cells, const struct fkmi_rows *rows, const double *mass,
                         int64_t c, int64_t j);
/* Both take half the donor's mass; j answers and routes as it does. */
void fkmi_split_halve(struct fkmi_state *state, int64_t donor, int64_t j);
void fkmi_split_dead(struct fkmi_split *split, struct fkm_context *context, const fkm_params *params,
                     struct fkmi_state *state, const struct fkmi_cells *cells, const struct fkmi_rows *rows);

#endif
