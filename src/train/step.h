/* step.h — inside one gradient batch: which prototypes take part, what the rows said, what the gradient is.
 *
 * The rows go through in chunks (nearly always one): forward finds each row's candidates and the derivative
 * of the loss by their distances, backward turns the candidates into lists by prototype, so that each
 * prototype's gradient has one writer and adds its rows in ascending order. Nothing depends on the number of
 * threads.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_TRAIN_STEP_H
#define FKMI_TRAIN_STEP_H

#include <stdatomic.h>

#include "train/train.h"

#define FKMI_BETA_1 0.9 /* Adam's */
#define FKMI_BETA_2 0.999

struct fkmi_sparse; /* columns_step.h */

/* The prototypes of this step, numbered 0 .. k-1 ("places"): all of the state's, or those of sampled classes.
 */
struct fkmi_active {
    int64_t k, n_classes;
    const int64_t *prototype;   /* by place: number in the state; NULL: the same */
    const int64_t *class_begin; /* n_classes + 1 */
    const int32_t *class_slot;  /* by active class: slot in the state; NULL: the same */
    const int32_t *class_of;    /* by slot of the state: active class or -1; NULL: the same */
    const int32_t *owner;       /* by place: active class */
    const double
        *log_share;     /* by active class: log(N / S) of sampled ones, 0 of those in the batch; or NULL */
    double share;       /* N / S */
    const void *points; /* k x dim, in the state's dtype */
    const double *bias, *theta; /* by place */
};

/* A disturbed copy of a chunk's rows. */
struct fkmi_noise {
    void *values; /* reals: chunk_rows x dim, or the stored values of CSR rows */
    float *mask;
    int64_t *indptr;
    int32_t *indices;
};

static inline int64_t fkmi_active_class(const struct fkmi_active *active, int32_t slot)
{
    return active->class_of ? active->class_of[slot] : slot;
}

/* What a chunk of rows said: n rows of at most `width` candidates each. A candidate's position is row * width + its
 * rank. */
struct fkmi_chunk {
    int64_t begin, n;       /* of the batch's rows */
    struct fkmi_rows given; /* the rows as they came */
    struct fkmi_rows rows;  /* what is measured: the same, or a disturbed copy */
    int32_t *count;         /* by row: candidates */
    int32_t *index;         /* by position: place of the prototype, -1: none; NULL: the rank itself */
    double *distance;       /* by position */
    double *slope;          /* by position: dL/dd, with the row's share of the weight */
    double *slope_theta;    /* by position with a theta per prototype, else by row (summed); NULL: no theta */
    double *slope_bias;     /* by position: dL/db, or dL/dz of the multi-label model; or NULL */
    double *slope_target;   /* by position x n_targets; or NULL */
    double *loss;           /* by row */
};

/* Memory of the scans. */
struct fkmi_scans {
    int32_t *near_index;   /* chunk_rows x top_k */
    double *near_distance; /* chunk_rows x top_k */
    int32_t *own;          /* by row: active class */
    int64_t *order;        /* rows that did not meet their own class; by place among them: */
    int32_t *slot, *index;
    double *distance;
    int32_t *rank;     /* by row: place among those, -1: met */
    int32_t *identity; /* 0 .. width - 1 */
};

/* Rows as backward reads them. */
struct fkmi_rows_in {
    void *loaded;        /* reals: rows x dim; NULL: read where they are, or CSR */
    void *shared_weight; /* feature weights in reals (dim); NULL: all 1 */
    void *weight;        /* active weights, reals: rows x dim with masks, else shared_weight */
    bool weight_by_row;
    double *factor;         /* by row: D / A; NULL: all 1 */
    void *entries;          /* CSR: entries of the rows in reals, scaled for cosine */
    int64_t *entries_begin; /* CSR: by row + 1 */
    void *zero;             /* dim reals */
};

/* Of the multi-label model, by active class. */
struct fkmi_tags_in {
    double *alpha, *beta;
    double *weight;  /* what sampled tags count; NULL: all 1 */
    double unit;     /* 1 / tau of all prototypes; 0: each has its own */
    bool some_empty; /* tags without a prototype */
};

/* Memory of the feature weights' gradient. */
struct fkmi_weights_in {
    void *sum;      /* dim reals: w times the gradient of a chunk */
    void *points;   /* active prototypes in reals where they are stored otherwise, else NULL */
    double *square; /* by position: |c|^2 under the row's weights (cosine) */
    double *along;  /* by place: what depends on the prototype alone (CSR) */
};

/* Memory of the regularisers; a sampled prototype s is compared with those in [begin[s], end[s]). */
struct fkmi_diversity {
    int64_t *place, *begin, *end, *order;
    double *square, *part; /* |c|^2; each prototype's part of the loss */
    void *points;          /* reals */
    const void *weight;
    double n_pairs;
};

struct fkmi_gradient {
    void *points;         /* k of the state x dim reals */
    uint8_t *touched;     /* k of the state: rows of it that hold something */
    double *theta, *bias; /* by place (one place when theta is shared); or NULL */
    double *targets;      /* by place x n_targets; or NULL */
    double *weights;      /* dim; or NULL */
    double *alpha, *beta; /* by active class; or NULL */
};

struct fkmi_step {
    struct fkm_context *context;
    const fkm_params *params;
    const struct fkmi_state *state;
    const struct fkmi_trainer *trainer;
    struct fkmi_train_work *work;
    const struct fkmi_rows *rows;
    const struct fkmi_targets *targets;
    const struct fkmi_vector *vector;
    struct fkmi_space space;
    enum fkmi_real real;
    size_t real_size;
    struct fkmi_random random;
    struct fkmi_active active;
    struct fkmi_routing routing; /* by place */
    double weight;               /* sum of u */
    double loss;

    enum fkmi_scan_kind scan;
    int64_t width, top_k;              /* candidates a row can have; those of the scan */
    bool own;                          /* the nearest of the row's own class joins them */
    bool direct;                       /* rows are read where they are */
    bool learns_theta, per_prototype;  /* theta; one with a bias for each prototype */
    bool lazy;                         /* prototypes without a gradient keep their moments */
    int64_t chunk_rows, chunk_entries; /* at most; entries of CSR rows */
    struct fkmi_noise noise;
    struct fkmi_chunk chunk;
    struct fkmi_scans scans;
    struct fkmi_rows_in in;
    struct fkmi_tags_in tags;
    struct fkmi_weights_in weights;
    struct fkmi_diversity diversity;
    double *row_scratch; /* by thread: scratch_size doubles */
    int64_t scratch_size;
    void *point_scratch; /* by thread: dim reals */
    bool clears;         /* backward begins with zeros, in place of what stands there */
    atomic_bool is_odd;  /* a prototype's gradient is not finite, before any regulariser */
    int64_t *list_begin; /* k + 1 */
    int32_t *list;       /* positions of the candidates that pull at a place, rows ascending */
    struct fkmi_gradient gradient;
    struct fkmi_sparse
        *sparse; /* CSR rows whose prototypes are lists: in the place of gradient.points; else NULL */
};

static inline void *fkmi_real_at(const struct fkmi_step *step, const void *reals, int64_t i)
{
    return (char *)(uintptr_t)reals + (size_t)i * step->real_size;
}
static inline int64_t fkmi_prototype_at(const struct fkmi_step *step, int64_t place)
{
    return step->active.prototype ? step->active.prototype[place] : place;
}
static inline double fkmi_theta_of(const struct fkmi_train_work *work, const double *theta, int64_t prototype)
{
    if (!work->theta_lags || prototype == 0)
        return theta[prototype];
    return theta[prototype] == work->theta_before ? theta[0]
                                                  : theta[prototype] + (theta[0] - work->theta_before);
}
static inline void *fkmi_gradient_at(const struct fkmi_step *step, int64_t prototype)
{
    return fkmi_real_at(step, step->gradient.points, prototype * step->state->dim);
}
static inline int32_t fkmi_place_at(const struct fkmi_step *step, int64_t row, int64_t rank)
{
    return step->chunk.index ? step->chunk.index[row * step->width + rank] : (int32_t)rank;
}
/* The chunk's row that a candidate's position belongs to. */
static inline int64_t fkmi_row_at(const struct fkmi_step *step, int32_t position)
{
    return (uint32_t)position / (uint32_t)step->width; /* a shorter division than that of 64 bits */
}
/* Where the targets of the chunk's row i are. */
static inline int64_t fkmi_target_row(const struct fkmi_step *step, int64_t i)
{
    return fkmi_row(step->rows, step->chunk.begin + i);
}
/* Row i of the chunk and its active weights; dense rows. */
static inline const void *fkmi_x_at(const struct fkmi_step *step, int64_t i)
{
    const struct fkmi_rows *rows = &step->chunk.rows;

    return step->in.loaded ? fkmi_real_at(step, step->in.loaded, i * rows->dim)
                           : fkmi_real_at(step, rows->x, fkmi_row(rows, i) * rows->stride);
}
static inline const void *fkmi_weight_at(const struct fkmi_step *step, int64_t i)
{
    return step->in.weight_by_row ? fkmi_real_at(step, step->in.weight, i * step->space.dim)
                                  : step->in.weight;
}
static inline double fkmi_factor_at(const struct fkmi_step *step, int64_t i)
{
    return step->in.factor ? step->in.factor[i] : 1.0;
}
/* The prototype at a place in reals: where it is, if its storage type is the real type, else widened in
 * scratch. */
static inline const void *fkmi_point_at(const struct fkmi_step *step, int64_t place, void *scratch)
{
    const fkm_dtype dtype = step->state->dtype;
    const char *point =
        (const char *)step->active.points + (size_t)(place * step->state->dim) * fkmi_dtype_size(dtype);

    if (fkmi_dtype_size(dtype) == step->real_size)
        return point;
    step->vector->load[dtype](scratch, point, step->state->dim);
    return scratch;
}
/* How many vectors of dim reals, each read `times` times, are worth a thread's attention. */
static inline int64_t fkmi_vectors_per_block(int64_t dim, int64_t times)
{
    const int64_t n = 32768 / ((dim + 64) * (times > 0 ? times : 1));

    return n > 1 ? n : 1;
}

/* ---- sampling.c: all prototypes, or those of the batch's classes and of sampled others. */
fkm_status fkmi_active_choose(struct fkmi_step *step);
/* ---- noise.c: the chunk's rows with Gaussian noise on their values (CSR: on the stored ones). */
fkm_status fkmi_feature_std(const struct fkmi_rows *rows, double *std); /* dim; constant features: 0 */
fkm_status fkmi_noise_plan(struct fkmi_step *step);
fkm_status fkmi_noise_rows(struct fkmi_step *step);
/* ---- forward.c: decide (what a row takes part in) comes before the size of chunks, plan (memory) after it.
 */
fkm_status fkmi_forward_decide(struct fkmi_step *step);
fkm_status fkmi_forward_plan(struct fkmi_step *step);
fkm_status fkmi_forward(struct fkmi_step *step);
/* ---- tags.c: loss and slopes of row i, of whose candidates those without a slope go; scratch: 4 n_classes. */
fkm_status fkmi_tags_plan(struct fkmi_step *step);
void fkmi_tag_row(struct fkmi_step *step, int64_t i, double share, double *scratch);
void fkmi_tags_backward(struct fkmi_step *step); /* adds the chunk to the gradients of alpha and beta */
/* ---- rows_in.c: the chunk's rows and active weights in reals. */
fkm_status fkmi_rows_in_plan(struct fkmi_step *step);
fkm_status fkmi_rows_in(struct fkmi_step *step);
/* ---- backward.c, weights.c: adds the chunk to the gradient; all memory is taken before. */
fkm_status fkmi_backward_plan(struct fkmi_step *step);
fkm_status fkmi_backward(struct fkmi_step *step);
fkm_status fkmi_weights_plan(struct fkmi_step *step);
fkm_status fkmi_backward_weights(struct fkmi_step *step);
/* ---- regularize.c: adds l2 and diversity to loss and gradient. */
fkm_status fkmi_regularize_plan(struct fkmi_step *step);
fkm_status fkmi_regularize(struct fkmi_step *step);
/* ---- update.c: Adam on everything that learns; cannot fail. state and trainer are those of the step. */
void fkmi_update(struct fkmi_step *step, struct fkmi_state *state, struct fkmi_trainer *trainer, double rate);
/* ---- trainer.c: the arrays that these parameters need and that are not there yet. */
fkm_status fkmi_trainer_complete(struct fkmi_trainer *trainer, const struct fkm_context *context,
                                 const fkm_params *params, const struct fkmi_state *state,
                                 const struct fkmi_rows *rows);
static inline bool fkmi_learns_theta(const fkm_params *params)
{
    if (params->task == FKM_TASK_CLASSIFY || params->task == FKM_TASK_REGRESS)
        return params->soft == FKM_SOFT_SOFTMAX_SCALED;
    return params->task == FKM_TASK_MULTILABEL;
}
static inline bool fkmi_learns_each(const fkm_params *params)
{
    return params->prototype_scale && params->task != FKM_TASK_MULTILABEL && fkmi_learns_theta(params);
}

#endif
