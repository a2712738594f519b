/* repel.h — LVQ repulsion: the nearest prototype of a wrong class steps back from the rows it nearly took.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_PROTOTYPES_REPEL_H
#define FKMI_PROTOTYPES_REPEL_H

#include "backends/backend.h"
#include "prototypes/state.h"

struct fkmi_sums;

/* Whether this model's phase 1 pushes at all. */
bool fkmi_repels(const fkm_params *params, const struct fkmi_state *state);
/* GLVQ's f'(mu) of a row with distances d+ and d-, 10 sigmoid'(10 mu); 0 where both distances are 0. */
double fkmi_glvq_slope(double own, double other);

/* Rows of a view that may push, some of them at a time, and whom they push. */
struct fkmi_pushers {
    int64_t most, n;
    int64_t *row;   /* rows of the view, ascending */
    int64_t *order; /* the same as rows of the arrays */
    int32_t *slot;  /* their classes */
    double *within; /* a prototype of another class that is farther away is not pushed */
    int32_t *index; /* the one that is, -1: none */
    double *factor; /* of the row's weight; until that is known, the distance */
    struct fkmi_rows rows;
};
/* Takes memory from the arena for a view of n rows, no more than at_once of them at a time. */
fkm_status fkmi_pushers_take(struct fkmi_pushers *pushers, struct fkmi_arena *arena, int64_t n,
                             int64_t at_once);
/* Collects rows from *next on, as far as there is room, and finds whom each pushes: 'window' (with the factor 1) inside
 * the window; 'glvq' with its weight f' d+/(d+ + d-), at most about 1. own, own_distance: by row of the view, the
 * nearest of its own class. *next becomes the first row that is left. */
fkm_status fkmi_pushers_find(struct fkmi_pushers *pushers, struct fkm_context *context,
                             const fkm_params *params, const struct fkmi_state *state,
                             const struct fkmi_pack *pack, const struct fkmi_rows *rows, const int32_t *slot,
                             const int32_t *own, const double *own_distance, int64_t *next);
/* c_- += repulsion_factor eta (c_- - mean of the pushing rows), eta = min(1/2, W_push / (W_- + W_push)):
 * bounded, and never away from the origin. mass: W_-. */
void fkmi_push_point(const fkm_params *params, const struct fkmi_sums *push, int64_t dim, int64_t j,
                     double mass, double *point);

#endif
