/* state.h — everything a model has learned: its prototypes, grouped by class, and what routes to them.
 *
 * A "slot" is a class in order of discovery: a class of the classifier, a tag of the multi-label model, a
 * stratum of the regressor, the one slot 0 of the clusterer. Prototypes of a slot are contiguous:
 * [class_begin[slot], class_begin[slot + 1]).
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_PROTOTYPES_STATE_H
#define FKMI_PROTOTYPES_STATE_H

#include "backends/tuning.h"

/* theta of phase 1: log(1/4), a routing sharper than the mean distance; fine-tuning begins at 0. */
#define FKMI_THETA_PHASE1 (-1.3862943611198906)

struct fkmi_state {
    fkm_dtype dtype;
    int64_t dim, k, n_classes, n_targets;
    bool listed;             /* prototypes are lists, and points is NULL */
    struct fkmi_lists lists; /* begin: k_capacity + 1 */
    int64_t list_capacity;   /* entries there is room for */
    void *points;         /* k x dim, dtype; unit vectors for cosine (unless normalize_prototypes is off) */
    double *mass;         /* k: w_k */
    double *ages;         /* k x dim once a mask was seen, else NULL */
    double *targets;      /* k x n_targets (regressor), else NULL */
    double *bias;         /* k: b_j; 0 unless prototype_scale learns it */
    double *theta;        /* k: tau_j = temperature * scale * exp(theta_j); one value in all places unless
                             prototype_scale */
    uint8_t *frozen;      /* k */
    int64_t *class_label; /* n_classes: label by slot */
    int64_t *class_begin; /* n_classes + 1 */
    double *strata;       /* n_classes x n_targets: centre of each stratum (regressor), else NULL */
    double *alpha, *beta, *threshold; /* n_classes (multi-label), else NULL; thresholds of the score z */
    double *feature_weights;          /* dim, sum dim, or NULL */
    struct fkmi_tuning *tuning;       /* how its scans run fastest; NULL: not measured */
    double scale;                     /* s; exactly 1 until known, 0 counts as 1 */
    int64_t k_capacity, class_capacity;
};

/* A zeroed state is empty and valid; set dtype, dim, n_targets, scale before adding to it. */
void fkmi_state_free(struct fkmi_state *state); /* frees the content and zeroes the struct */
fkm_status fkmi_state_copy(struct fkmi_state *out, const struct fkmi_state *state);
/* Room for k prototypes and n_classes classes in all, so that adding them moves nothing. */
fkm_status fkmi_state_reserve(struct fkmi_state *state, int64_t k, int64_t n_classes);
/* Appends a class with k prototypes (k x dim reals of state->dtype's real type, stored as dtype or as lists); masses 1,
 * bias 0, theta as the first prototype's (FKMI_THETA_PHASE1 for the first). Arrays by class that exist
 * (strata, alpha,
 * ...) grow with it, new places 0. targets (k x n_targets) may be NULL. On failure the state
 * is as it was. */
fkm_status fkmi_state_add_class(struct fkmi_state *state, const struct fkmi_kernels *kernels, int64_t label,
                                const void *points, const double *targets, int64_t k);
/* The same of a state of lists: the prototypes are rows `pick` of the (sparse) view, of unit length for cosine. */
fkm_status fkmi_state_add_rows(struct fkmi_state *state, const struct fkmi_space *space, int64_t label,
                               const struct fkmi_rows *rows, const int64_t *pick, const double *targets,
                               int64_t k);
/* Drops the classes from slot n_classes on: undoes fkmi_state_add_class. */
void fkmi_state_truncate(struct fkmi_state *state, int64_t n_classes);
/* Allocates ages (k x dim), each coordinate at its prototype's mass. No-op when they exist. */
fkm_status fkmi_state_need_ages(struct fkmi_state *state);
/* The points that lists stand for, in memory of their own. FKM_ENOMEM says how much they would take. */
fkm_status fkmi_state_whole_points(const struct fkmi_state *state, void *out);
/* Points in the place of lists. */
fkm_status fkmi_state_need_points(struct fkmi_state *state);
/* The lists of another state of as many prototypes. On failure the state is as it was. */
fkm_status fkmi_state_copy_lists(struct fkmi_state *to, const struct fkmi_state *from);
/* Lists: gives back room that they do not fill. */
fkm_status fkmi_state_fit_lists(struct fkmi_state *state);
/* Prototype j as dim doubles, whichever way it is kept. */
void fkmi_state_load(const struct fkmi_state *state, int64_t j, double *point);
/* Removes prototypes whose keep flag is 0, compacting everything. No class may lose its last one (asserted).
 */
void fkmi_state_compact(struct fkmi_state *state, const uint8_t *keep);
/* The class slot of each prototype, into owner (k). */
void fkmi_state_owners(const struct fkmi_state *state, int32_t *owner);
/* Address of prototype j; not of lists. */
static inline void *fkmi_state_point(const struct fkmi_state *state, int64_t j)
{
    return (char *)state->points + (size_t)(j * state->dim) * fkmi_dtype_size(state->dtype);
}
/* Unit length under the feature weights for cosine, where points lie on the sphere; nothing for other
 * metrics. False, and the point (dim doubles) as it was, when it has no direction. */
bool fkmi_point_normalise(const struct fkmi_space *space, double *point);
/* Lays out the prototypes for scans of all kinds; masked: of rows with a mask, which lists cannot have. */
fkm_status fkmi_state_pack_in(struct fkm_context *context, const struct fkmi_space *space,
                              const struct fkmi_state *state, bool masked, struct fkmi_pack **pack);
struct fkmi_space fkmi_state_space(const struct fkmi_state *state, fkm_metric metric);

#endif
