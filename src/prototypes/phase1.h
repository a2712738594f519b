/* phase1.h — hard streaming updates: full passes over rows at hand (Lloyd) and one batch at a time (EMA),
 * with repulsion, dead prototypes, merging and pruning.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_PROTOTYPES_PHASE1_H
#define FKMI_PROTOTYPES_PHASE1_H

#include "base/memory.h"
#include "base/random.h"
#include "prototypes/state.h"

/* What a caller wants to know of the rows of a view after full passes: memory of its own, which they may work in. */
struct fkmi_answers {
    int64_t *nearest; /* n: prototypes */
    double *distance; /* n */
    bool found;       /* they are those of the state as it is now */
};

/* Memory that phase 1 keeps from call to call, so that a steady stream allocates nothing. Zeroed: empty. */
struct fkmi_phase1 {
    struct fkmi_pack *pack;
    struct fkmi_arena arena;
    struct fkmi_lists spare; /* prototypes that are lists: index and value of the next ones */
    int64_t spare_capacity;
    /* After fkmi_ema_batch, until the next call: the index before the batch of each prototype there is now.
     * NULL when none was pruned or merged. */
    const int64_t *old_of_new;
    struct fkmi_answers *answers; /* for the next fkmi_lloyd, or NULL */
};
void fkmi_phase1_free(struct fkmi_phase1 *work, const struct fkmi_backend *backend);

/* What a pass or a batch did. */
struct fkmi_moved {
    double shift;         /* largest distance any prototype moved (euclidean length of the move) */
    double mean_distance; /* weighted mean of d to the row's nearest own prototype, before the move */
    double sum_distance;  /* weighted sum of the same */
    double weight;        /* total weight of the rows */
    int64_t merged;       /* prototypes merged or pruned */
};
/* Called after each pass; a status other than FKM_OK stops (FKM_EINTERRUPTED keeps what was learned). */
typedef fkm_status fkmi_pass_fn(void *user, int64_t pass, const struct fkmi_moved *moved);

/* Targets of regression (params->task == FKM_TASK_REGRESS) travel with phase 1: after the last pass (or in
 * each batch) prototype targets become the means that params->target_assignment asks for, over the rows
 * assigned to each. values is rows-of-the-batch x n_targets (indexed by fkmi_row), or NULL. */

/* Passes over all rows of the view until max_iters or shift < tol. slot: class slot by row of the view, -1:
 * the row is ignored. Prototypes are seeded already. Sets masses to the last pass's, state->scale to the
 * weighted mean distance (0 counts as 1), ages when rows have a mask. Classifier: window repulsion on top of
 * each pass's means, or glvq epochs after the passes. Clusterer: moves idle prototypes where they are worth
 * more (swap.h). At the end prunes what is lighter than min_weight mean rows, merges and truncates. Frozen
 * prototypes stay. work->answers are found where that takes no more than another pass. FKM_EINTERRUPTED of after_pass ends the passes in order. A user who interrupts (interrupt.h) ends
 * them where the last whole one did, and what follows them is left out; with *n_passes 0 nothing has moved. On
 * FKM_ENOMEM the state may hold a finished earlier pass: callers fit a copy. */
fkm_status fkmi_lloyd(struct fkm_context *context, const fkm_params *params, struct fkmi_state *state,
                      struct fkmi_phase1 *work, const struct fkmi_rows *rows, const int32_t *slot,
                      const double *values, int64_t max_iters, double tol, struct fkmi_random random,
                      fkmi_pass_fn *after_pass, void *user, int64_t *n_passes);

/* One batch: decay, assignment, EMA, repulsion, truncation/renormalising, prune, merge, scale (running mean
 * weighted by mass). Everything that can fail happens before anything moves: on failure the state is as it
 * was; but a user who may interrupt (interrupt.h) can stop it between two merges. rows whose slot is -1 are ignored. params->assignment LINEAR or SOFTMAX: soft assignment of section 9.
 */
fkm_status fkmi_ema_batch(struct fkm_context *context, const fkm_params *params, struct fkmi_state *state,
                          struct fkmi_phase1 *work, const struct fkmi_rows *rows, const int32_t *slot,
                          const double *values, struct fkmi_random random, struct fkmi_moved *moved);

#endif
