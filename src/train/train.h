/* train.h — phase 2: gradients of the four losses, Adam, the learning-rate search.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_TRAIN_TRAIN_H
#define FKMI_TRAIN_TRAIN_H

#include "base/random.h"
#include "prototypes/route.h"
#include "prototypes/state.h"

/* What rows should answer; by row of the batch (fkmi_row), only what the task needs is set. */
struct fkmi_targets {
    const int32_t *slot;       /* classifier: class slot, -1 unknown (refused before it gets here) */
    const int64_t *tag_indptr; /* multi-label */
    const int32_t *tag_slot;
    const double *values; /* regressor: rows x n_targets */
    int64_t n_targets;
};

struct fkmi_train_columns;

/* Moments of coordinates, by prototype, columns ascending: those of j are at [begin[j], begin[j + 1]). */
struct fkmi_held_moments { /* zeroed: none */
    int64_t *begin;        /* k + 1 */
    int32_t *index;
    void *m, *v, *master; /* reals; master: unrounded coordinates for f16 and bf16 */
};

/* The optimizer: Adam's moments and what was fixed when fine-tuning began. Part of the model file. */
struct fkmi_trainer { /* zeroed: phase 2 has not begun */
    bool begun;
    int64_t step; /* Adam steps taken */
    int64_t k, dim, n_classes, n_targets;
    int64_t k_room, class_room; /* what arrays have room for; 0: k, n_classes */
    enum fkmi_real real;
    double unit; /* standard deviation of the prototypes when phase 2 began: the unit of the learning rate */
    void *point_m, *point_v;     /* k x dim reals */
    void *master;                /* k x dim reals: unrounded prototypes for f16 and bf16; NULL for f32, f64 */
    double *target_m, *target_v; /* k x n_targets */
    double *theta_m, *theta_v, *bias_m, *bias_v; /* k (one shared theta: place 0 is used) */
    double *weight_m, *weight_v;                 /* dim, with auto_feature_weights */
    double *alpha_m, *alpha_v, *beta_m, *beta_v; /* n_classes */
    double *feature_std;                         /* dim, with noise */
    double *target_mean, *target_std;            /* n_targets: errors are standardised inside */
    void *anchor;                  /* k x dim reals: prototypes at the end of phase 1, with l2_reg */
    void *gradient;                /* k x dim reals: the last gradient, zero rows where frozen */
    struct fkmi_held_moments held; /* of a state of lists, in the place of all k x dim arrays */
    struct fkmi_train_columns
        *columns;     /* the same while a call lasts, else NULL: neither copied nor in the file */
    uint8_t *touched; /* k: rows of the gradient that hold something; NULL: any may. Not in the file */
    int32_t *listed;  /* where classes are sampled: the touched ones, n_listed of them; -1: any may be */
    int64_t n_listed;
};
void fkmi_trainer_free(struct fkmi_trainer *trainer); /* and zeroes it */
fkm_status fkmi_trainer_copy(struct fkmi_trainer *out, const struct fkmi_trainer *trainer);
/* Begins phase 2 from phase 1's state and the rows at hand: unit, moments, anchor, feature_std, target
 * moments; multi-label: alpha 1 and beta so that the mean p is the prior (state changes); a theta as phase 1
 * left it becomes 0, for tags what tells best which rows have them; a learned one stays. A trainer that has begun begins anew. On failure trainer and state
 * are as they were. */
fkm_status fkmi_trainer_begin(struct fkmi_trainer *trainer, struct fkm_context *context,
                              const fkm_params *params, struct fkmi_state *state,
                              const struct fkmi_rows *rows, const struct fkmi_targets *targets);
/* Classes were added behind the state's others: their prototypes have no moments yet. Room grows geometrically. On
 * failure as it was. */
fkm_status fkmi_trainer_grow(struct fkmi_trainer *trainer, const struct fkmi_state *state);
/* Forgets them again. */
void fkmi_trainer_truncate(struct fkmi_trainer *trainer, int64_t k, int64_t n_classes);

/* ---- prior.c: beta of each tag so that its mean probability over the rows is its share of them. About most_scores
 * scores are looked at: rows are thinned out evenly. slope, unless it is NULL, is what the scores of all tags are
 * multiplied by: 0 is replaced by the one that tells best which rows have them. With another one a beta that is not
 * NaN goes a step from where it stands, which reads a score once: +logit(share) - logit(mean probability). pack holds the
 * state's prototypes. */
enum { FKMI_PRIOR_SCORES = 1 << 21 };
fkm_status fkmi_prior(struct fkm_context *context, const struct fkmi_state *state,
                      const struct fkmi_pack *pack, const struct fkmi_routing *routing,
                      const struct fkmi_rows *rows, const struct fkmi_targets *targets, int64_t most_scores,
                      double *slope, double *beta);

/* Memory of gradient batches, kept from step to step. Zeroed: empty. */
struct fkmi_train_work {
    struct fkmi_pack *pack;
    struct fkmi_arena arena;
    /* Of sampled classes: by slot, the number in the list of the last step or -1; and that list. */
    int32_t *class_of, *listed;
    int64_t class_room, list_room, n_listed;
    /* A theta shared by all moves with every step. Where classes are sampled it may do so in place 0 alone, until
     * settled: the others then stand where it stood at theta_before. */
    bool theta_may_lag, theta_lags;
    bool of_copies; /* a step that fails leaves a state and a trainer that nobody keeps */
    double theta_before;
};
/* Moves what lags. */
void fkmi_train_settle(struct fkmi_train_work *work, struct fkmi_state *state);
void fkmi_train_work_free(struct fkmi_train_work *work, const struct fkmi_backend *backend);

/* One Adam step on the rows of the view; *loss is sum(u l) / sum(u) before the step, with regularisers.
 * rate: relative learning rate of this step. noise and sampling draw from random. Everything that can fail
 * happens before anything changes. FKM_ESTATE when the loss or a gradient is not finite (nothing moves;
 * trainer->gradient may hold what was found). Rows of total weight 0 change nothing. CSR rows and sampled
 * classes move only the prototypes they touched, whose moments alone decay; of prototypes that are lists CSR rows move only
 * the coordinates they touched, in trainer->columns: the state's lists follow with fkmi_train_columns_export. */
fkm_status fkmi_train_step(struct fkm_context *context, const fkm_params *params, struct fkmi_state *state,
                           struct fkmi_trainer *trainer, struct fkmi_train_work *work,
                           const struct fkmi_rows *rows, const struct fkmi_targets *targets, double rate,
                           struct fkmi_random random, double *loss);
/* Loss and gradient only, for tests and the regularisers' reports: nothing moves; trainer->gradient is
 * written. */
fkm_status fkmi_train_loss(struct fkm_context *context, const fkm_params *params,
                           const struct fkmi_state *state, struct fkmi_trainer *trainer,
                           struct fkmi_train_work *work, const struct fkmi_rows *rows,
                           const struct fkmi_targets *targets, struct fkmi_random random, double *loss);

/* Whether these rows teach prototypes that are lists as they are; else they must be points first. */
bool fkmi_train_takes_lists(const fkm_params *params, const struct fkmi_rows *rows);

/* Epochs of shuffled mini-batches: 50 warm-up steps (a tenth of all when that is less), then cosine to 0. On
 * FKM_EINTERRUPTED the best state so far is put back when there is a score, else the current one stays. On
 * another failure state and trainer are those of the last finished step, but for the gradient, which may be a part of one:
 * train a copy. */
struct fkmi_epochs {
    int64_t epochs, early_stopping_rounds; /* rounds 0: never early */
    double rate;
    /* score on held-out rows, larger is better; NULL: none. The best state is put back at the end. */
    fkm_status (*score)(void *user, const struct fkmi_state *state, double *score);
    /* after each epoch; a status other than FKM_OK stops; may be NULL */
    fkm_status (*after_epoch)(void *user, int64_t epoch, double loss, double score, double rate);
    /* now and then inside an epoch (about every 16 steps), so that a caller can interrupt; may be NULL */
    fkm_status (*after_step)(void *user, int64_t step, int64_t steps, double loss);
    void *user;
};
fkm_status fkmi_train_epochs(struct fkm_context *context, const fkm_params *params, struct fkmi_state *state,
                             struct fkmi_trainer *trainer, struct fkmi_train_work *work,
                             const struct fkmi_rows *rows, const struct fkmi_targets *targets,
                             const struct fkmi_epochs *how, struct fkmi_random random);

/* Learning-rate search on copies: 1e-5 to 1 in 100 steps. curve_rate and curve_loss (100 each) receive the
 * curve, *n_curve its length; *rate = minimum of the smoothed loss / 10, within [1e-3, 0.1]. */
#define FKMI_SEARCH_STEPS 100
fkm_status fkmi_train_search(struct fkm_context *context, const fkm_params *params,
                             const struct fkmi_state *state, const struct fkmi_trainer *trainer,
                             const struct fkmi_rows *rows, const struct fkmi_targets *targets,
                             struct fkmi_random random, double *curve_rate, double *curve_loss, int *n_curve,
                             double *rate);

#endif
