/* model.h — the inside of a public fkm_model: one learned state, one optimizer, one table of what its task does.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_ESTIMATORS_MODEL_H
#define FKMI_ESTIMATORS_MODEL_H

#include <math.h>
#include <pthread.h>

#include "base/interrupt.h"
#include "base/params.h"
#include "data/source.h"
#include "index/approximate.h"
#include "prototypes/classes.h"
#include "prototypes/importance.h"
#include "prototypes/phase1.h"
#include "prototypes/seed.h"
#include "text/vectorizer.h"
#include "train/train.h"

/* Of learning rates, which are relative to the spread of the prototypes: 1 is too large already, and what is far
 * larger would throw prototypes out of the range of numbers. */
#define FKMI_MOST_RATE 10.0

enum fkmi_phase { FKMI_PHASE_FIT, FKMI_PHASE_FINETUNE, FKMI_PHASE_SEARCH };

struct fkmi_history_line {
    enum fkmi_phase phase;
    int64_t epoch, k;
    double loss, shift, eval, lr;
};
struct fkmi_history {
    struct fkmi_history_line *lines;
    int64_t n, capacity;
};
struct fkmi_note {
    char *name, *value;
};
/* Starting prototypes the user gave before the first fit. */
struct fkmi_start {
    float *points; /* k x dim; these, or */
    double *wide;  /* k x dim, of a model of f64 */
    int64_t *label;
    int64_t k, dim;
};
/* k_list: prototypes of particular classes. */
struct fkmi_class_k {
    int64_t label;
    int32_t k;
};
/* How far a stream has been learned; the text is the source's. */
struct fkmi_place {
    char position[FKMI_POSITION_BYTES]; /* "": the start */
    int64_t epoch, batch, rows;
};

/* What a learning call replaces as a whole when it succeeds, and everything the model file keeps of it. */
struct fkmi_learned {
    struct fkmi_state state;
    struct fkmi_classes classes;
    struct fkmi_importance importance;
};

/* Of a state's classes and prototypes, for answers. */
struct fkmi_class_map {
    bool known;     /* and of the state as it is */
    int32_t *owner; /* class slot by prototype */
    int64_t *order; /* class slots, ascending by label */
    int64_t *rank;  /* column by class slot: its place among those */
};

struct fkm_model {
    struct fkm_context *context;
    fkm_params params;
    const struct fkmi_estimator *estimator;
    struct fkmi_learned learned; /* empty (k 0) until phase 1 */
    struct fkmi_trainer trainer;
    int64_t batches;        /* phase 1 batches */
    int64_t iterations;     /* passes of the last fit */
    int64_t gradient_steps; /* Adam steps since fit */
    int64_t last_merged;
    double learning_rate; /* found by the search; 0: none */
    double *user_weights; /* user_dim feature weights given before the first fit, or NULL */
    int64_t user_dim;
    struct fkmi_start start;
    struct fkmi_class_k *class_k; /* ascending by label */
    int64_t n_class_k, class_k_capacity;
    struct fkmi_history history;
    struct fkmi_note *notes;
    int64_t n_notes;
    struct fkmi_place place;
    fkm_vectorizer *vectorizer; /* what makes rows of texts, finished and shared; or NULL */

    /* Not in the file: memory of the learning calls, and packs made at the first answer after learning. */
    struct fkmi_phase1 phase1;
    struct fkmi_train_work train_work;
    struct fkmi_pack *packs[2]; /* plain, and with room for masks */
    bool packed[2];
    void *whole_points;                   /* what packs[1] looks at where prototypes are lists */
    struct fkmi_approximate *approximate; /* use_faiss: over the same prototypes; NULL: not made yet */
    struct fkmi_class_map class_map;
    pthread_mutex_t pack_lock;
};

/* A batch, checked and in the library's terms. A row may appear several times in `view` (once per tag). */
struct fkmi_lesson {
    struct fkmi_rows base;       /* every row of the batch, in its order: what fkmi_row's numbers refer to */
    struct fkmi_rows rows;       /* the rows to learn from or to score */
    struct fkmi_rows view;       /* the rows of phase 1 */
    int32_t *slot;               /* by row of the view: class, tag, stratum, 0 */
    struct fkmi_targets targets; /* by row of base */
    double *strata;              /* regressor, when phase 1 begins: n_strata x n_targets centres */
    int64_t n_strata;
    float *owned_mask;
    int64_t *owned_rows, *owned_view; /* orders */
    int32_t *owned_slots;             /* of base, once some rows are held out; before, slot serves */
};
void fkmi_lesson_free(struct fkmi_lesson *lesson); /* and zeroes it */

/* What an answer is made from: a state with its pack. Only reads, so any number of threads may share one. */
struct fkmi_oracle {
    struct fkm_context *context;
    const fkm_params *params;
    const struct fkmi_state *state;
    const struct fkmi_pack *pack;
    struct fkmi_space space;
    const struct fkmi_approximate *approximate; /* or NULL */
};

/* One per task. */
struct fkmi_estimator {
    const char *name;
    /* Checks the targets of a batch; fills view, slot and targets of a lesson whose rows are checked already. grow:
     * unseen classes get slots >= state.n_classes in learned->classes, still without prototypes; otherwise they are
     * refused. phase 1 is false for gradients and scores: view and slot may then stay empty. */
    fkm_status (*read)(const fkm_model *model, struct fkmi_learned *learned, const fkm_batch *batch,
                       bool grow, struct fkmi_lesson *lesson);
    /* How many prototypes a new slot should get at most; FKM_K_AUTO asks the data. */
    int32_t (*k_wanted)(const fkm_model *model, int64_t label);
    /* Larger is better; for early stopping and history. */
    fkm_status (*score)(const struct fkmi_oracle *oracle, const struct fkmi_lesson *lesson, double *score);
    /* What answers need besides prototypes (thresholds), from rows with targets; may be NULL. share: how much
     * these rows count against what was known, 1: all. */
    fkm_status (*calibrate)(const struct fkmi_oracle *oracle, const struct fkmi_lesson *lesson, double share,
                            struct fkmi_state *state);
};
extern const struct fkmi_estimator fkmi_clusterer, fkmi_classifier, fkmi_multilabel, fkmi_regressor;

/* ---- model.c */
fkm_status fkmi_model_need_fitted(const fkm_model *model, const char *what);
/* A model with the task's table and empty state. */
fkm_status fkmi_model_new(fkm_context *context, const fkm_params *params, fkm_model **out);
fkm_status fkmi_history_add(struct fkmi_history *history, const struct fkmi_history_line *line);
/* Prototypes a new class of this label should get at most: its own number, or k_init. */
int32_t fkmi_model_class_k(const fkm_model *model, int64_t label);
/* Forgets the packs, which look at the prototypes: these have changed, or may move. Their memory stays. */
void fkmi_model_changed(fkm_model *model);
void fkmi_model_drop_packs(fkm_model *model); /* their memory too: a long call begins */
/* Whole points where prototypes are lists, for what cannot work on lists; answers stay the same. */
fkm_status fkmi_model_need_points(fkm_model *model);
void fkmi_learned_free(struct fkmi_learned *learned);
fkm_status fkmi_learned_copy(struct fkmi_learned *out, const struct fkmi_learned *learned);
/* Forgets classes from n_classes on: undoes a lesson that grew. */
void fkmi_learned_truncate(struct fkmi_learned *learned, int64_t n_classes);

/* ---- question.c */
void fkmi_class_map_free(struct fkmi_class_map *map);

/* ---- file_check.c */
/* FKM_EDATA unless every value of a model just read is one that all calls can work with. */
fkm_status fkmi_model_check(const fkm_model *model);

/* ---- lesson.c */
/* The largest magnitude a coordinate of rows to learn from may have. */
double fkmi_most_value(const fkm_params *params);
/* Checks rows (width, values) and reads targets. On failure the lesson is empty. */
fkm_status fkmi_lesson_open(const fkm_model *model, struct fkmi_learned *learned, const fkm_batch *batch,
                            bool grow, struct fkmi_lesson *lesson);
/* Frees what only phase 1 and holding out need: view, and slot unless the targets are read from it. */
void fkmi_lesson_drop_view(struct fkmi_lesson *lesson);
/* Moves a fraction of the rows (at least one, never all) from lesson into held, drawn by random. held borrows from
 * lesson and is freed first. */
fkm_status fkmi_lesson_hold_out(struct fkmi_lesson *lesson, double fraction, struct fkmi_random random,
                                struct fkmi_lesson *held);

/* ---- seeding.c */
/* Seeds the classes of learned->classes that have no prototypes yet, from the lesson's view. On failure the state
 * is as it was. Prototypes of a state without any may become lists (prototypes/lists.h). */
fkm_status fkmi_seed_classes(fkm_model *model, struct fkmi_learned *learned, struct fkmi_lesson *lesson);

/* ---- weights.c */
/* With auto_feature_weights: adds the lesson to the running statistics and sets the weights they give. */
fkm_status fkmi_learn_importance(const fkm_model *model, struct fkmi_learned *learned,
                                 const struct fkmi_lesson *lesson);

/* ---- tuning.c */
/* With use_compile, unless this state was measured already: how its scans run fastest, on the lesson's rows. */
fkm_status fkmi_model_tune(const fkm_model *model, const struct fkmi_lesson *lesson,
                           struct fkmi_state *state);

/* ---- learn.c */
/* What answers of the task need besides prototypes (offsets of scores, thresholds), from a lesson with targets; share:
 * how much it counts beside those before. */
fkm_status fkmi_model_calibrate(const fkm_model *model, const struct fkmi_lesson *lesson, double share,
                                struct fkmi_state *state);
/* The same at the end of a call that keeps what it has learned: since the user has interrupted it (interrupts: how often
 * before it began), or does so now (*stopped becomes FKM_EINTERRUPTED), from a sample of the rows. */
fkm_status fkmi_model_calibrate_kept(const fkm_model *model, const struct fkmi_lesson *lesson,
                                     int64_t interrupts, struct fkmi_state *state, fkm_status *stopped);
/* Names of the streams of random numbers, all split from params.seed. */
enum fkmi_stream {
    FKMI_STREAM_SEED,
    FKMI_STREAM_PASS,
    FKMI_STREAM_BATCH,
    FKMI_STREAM_HOLD_OUT,
    FKMI_STREAM_GRADIENT,
    FKMI_STREAM_EPOCHS,
    FKMI_STREAM_SEARCH
};
struct fkmi_random fkmi_model_random(const fkm_model *model, enum fkmi_stream stream, int64_t counter);

/* ---- oracle.c: answers in blocks of rows; every output is by row of the rows given */
/* Points the oracle at the model's own state, packing it when it has changed. Any number of threads. */
fkm_status fkmi_oracle_open(const fkm_model *model, bool masked, struct fkmi_oracle *oracle);
/* An oracle on a state that is still being learned; *pack is reused or made and belongs to the caller. */
fkm_status fkmi_oracle_on(fkm_context *context, const fkm_params *params, const struct fkmi_state *state,
                          bool masked, struct fkmi_pack **pack, struct fkmi_oracle *oracle);
/* Number of candidates of a row: min(top_k, k); all for top_k -1. */
int64_t fkmi_oracle_width(const struct fkmi_oracle *oracle, int64_t top_k);
/* The candidates of one row, nearest first. */
struct fkmi_candidates {
    int64_t width;
    const int32_t *index; /* -1: none */
    const double *distance;
    const double *weight; /* routing; sums to 1 */
};
/* scratch: n_scratch doubles of this thread, zero at the first row; leave it zero. */
typedef void fkmi_row_fn(void *job, int64_t row, const struct fkmi_candidates *candidates, double *scratch);
fkm_status fkmi_oracle_each(const struct fkmi_oracle *oracle, const struct fkmi_rows *rows, int64_t top_k,
                            int64_t n_scratch, fkmi_row_fn *body, void *job);
/* Multi-label: the score z of each tag, by slot (-inf without a prototype); thread numbers scratch of the caller. */
typedef void fkmi_tags_fn(void *job, int64_t row, const double *z, int thread);
fkm_status fkmi_oracle_each_tags(const struct fkmi_oracle *oracle, const struct fkmi_rows *rows,
                                 fkmi_tags_fn *body, void *job);
static inline double fkmi_sigmoid(double z) { return 1.0 / (1.0 + exp(-z)); }

/* ---- classifier.c, multilabel.c */
/* Adds up the routing weights by class slot into scratch (zero before; fkmi_class_clear makes it zero again) and
 * returns the best slot: ties to the lower label. */
int32_t fkmi_class_sums(const struct fkmi_state *state, const int32_t *owner,
                        const struct fkmi_candidates *candidates, double *sums);
void fkmi_class_clear(const int32_t *owner, const struct fkmi_candidates *candidates, double *sums);
/* Refuses tags that are missing, negative, beyond n_tags or twice in a row, and row pointers that fall. */
fkm_status fkmi_tags_check(const fkm_batch *batch);
fkm_status fkmi_strategy_check(fkm_strategy strategy, int64_t top_k);
/* Marks the tags a strategy chooses: chosen by slot, 0 or 1. order is room for n slots. */
void fkmi_tags_choose(const struct fkmi_state *state, fkm_strategy strategy, int64_t top_k, const double *z,
                      int64_t *order, uint8_t *chosen);

#endif
