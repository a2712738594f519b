/* maintain.h — keeps prototypes few and sparse: truncation, pruning, merging.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_PROTOTYPES_MAINTAIN_H
#define FKMI_PROTOTYPES_MAINTAIN_H

#include "prototypes/cells.h"

struct fkmi_upkeep {       /* from an arena; large arrays only where the parameters ask for what needs them */
    uint8_t *keep;         /* k */
    int64_t *old_of_new;   /* k */
    double *point, *other; /* dim, dim */
    void *points;          /* k x dim reals, to merge halves; else NULL */
    int32_t *index;        /* dim, to merge lists */
    double *size, *from;   /* k: of lists, sum w c^2 or w |c|; distances from one prototype */
    void *weights;         /* dim reals: feature weights, or NULL */
    /* k: the nearest later mergeable prototype of the class; -1: none is near enough; -2: not known, but no nearer than
     * the distance says. */
    int32_t *partner;
    double *partner_distance;
    double *sample;                   /* coordinates or pairwise distances */
    int64_t n_coordinates, n_sampled; /* coordinates; prototypes whose pairs are measured */
};
fkm_status fkmi_upkeep_take(struct fkmi_upkeep *upkeep, struct fkmi_arena *arena, const fkm_params *params,
                            const struct fkmi_state *state);
/* Truncates small coordinates (params->sparse), removes prototypes of mass below `light`, merges pairs of a
 * class nearest first. A class keeps its last prototype; frozen ones are left alone. *removed: how many went;
 * upkeep->old_of_new then names those that stayed. FKM_EINTERRUPTED: not every pair has merged. */
fkm_status fkmi_upkeep_run(struct fkmi_upkeep *upkeep, struct fkm_context *context, const fkm_params *params,
                           struct fkmi_state *state, double light, int64_t *removed);

/* Merges pairs, once pruning has said which prototypes stay (merge.c). */
fkm_status fkmi_merge(struct fkmi_upkeep *upkeep, struct fkm_context *context, const fkm_params *params,
                      struct fkmi_state *state, int64_t *merged);
/* The q-quantile, linear between neighbours; +inf of nothing. Reorders the values. */
double fkmi_quantile(double *values, int64_t n, double q);

#endif
