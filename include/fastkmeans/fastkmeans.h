/* fastkmeans.h — the public face of libfastkmeans: prototype-based clustering, classification, tagging and
 * regression on endless rows.
 *
 * A model condenses rows into prototypes. Phase 1 (fkm_model_fit, fkm_model_fit_batch) moves the nearest
 * prototype, phase 2 (fkm_model_finetune, fkm_model_gradient_step) fine-tunes prototypes by gradient, phase 3
 * (fkm_model_predict_*) answers by blending the nearest ones.
 *
 * Every function that can fail returns a status; fkm_last_error() then names the thing and the numbers. A call
 * that fails leaves the model as it was. The library never prints, aborts or exits.
 *
 * What holds everywhere, unless a comment says otherwise:
 *   arrays     are the caller's, row-major, used during the call only; an output overlaps no input
 *   *out       receives an object to be given to its own free or close function; NULL when the call fails
 *   structs    begin with their FKM_..._INIT; those that a call fills (fkm_model_info, fkm_scores, fkm_history,
 *              fkm_vectorizer_info) with struct_size = sizeof themselves
 *   errors     FKM_EINVAL: a NULL, a size or a value that is not valid; FKM_ENOMEM; comments name the others
 *   threads    several may work at once with different objects; with the same one as its type says
 *   fork       a child may go on with what its parent had, unless another thread was inside a call just then
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTKMEANS_H
#define FASTKMEANS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define FKM_API
#else
#define FKM_API __attribute__((visibility("default")))
#endif
#if defined(__GNUC__)
#define FKM_MUST_CHECK __attribute__((warn_unused_result))
#else
#define FKM_MUST_CHECK
#endif

/* ---- status ---------------------------------------------------------------------------------------- */

typedef enum fkm_status {
    FKM_OK = 0,
    FKM_EINVAL = 1,       /* an argument or a value in the data is not valid */
    FKM_ENOMEM = 2,       /* memory, or the context's memory limit, is exhausted */
    FKM_EIO = 3,          /* reading or writing a file failed */
    FKM_EDATA = 4,        /* a file is malformed or damaged */
    FKM_ESTATE = 5,       /* the call does not fit the model's state: not fitted, hard routing, ... */
    FKM_EUNSUPPORTED = 6, /* valid, but not in this build or not for this kind of input */
    FKM_EINTERRUPTED = 7, /* a callback asked to stop (progress, fkm_set_interrupt); the model is usable */
    FKM_EINTERNAL = 8     /* our fault */
} fkm_status;

/** This thread's last message; never NULL. Valid until the next failing call of this thread. */
FKM_API const char *fkm_last_error(void);
/** "FKM_EINVAL" and so on; never NULL. */
FKM_API const char *fkm_status_name(fkm_status status);
/** "0.1.0". */
FKM_API const char *fkm_version(void);
/** The instruction set the kernels of this process use: "avx512", "avx2_vnni", "avx2", "neon_dot", "neon" or "scalar"
 *  (FKM_ISA overrides). */
FKM_API const char *fkm_isa(void);

/** Asked now and then, at most 20 times a second, while a call of this thread works, on this thread; non-zero stops
 *  that call with FKM_EINTERRUPTED, within a tenth of a second or so. The model is then what it was before the call;
 *  fit keeps the passes that were whole, finetune its steps, fit_source its batches. What follows the passes (GLVQ,
 *  merging) is left out then, and thresholds come from a sample of the rows. Saving to a file is not interrupted. The
 *  function may use other models; about what it calls nobody is asked. */
typedef int fkm_interrupt_fn(void *user);
/** Each thread has its own, until it sets another; NULL: nobody is asked. */
FKM_API void fkm_set_interrupt(fkm_interrupt_fn *ask, void *user);

/* ---- settings -------------------------------------------------------------------------------------- */

typedef enum fkm_task { FKM_TASK_CLUSTER, FKM_TASK_CLASSIFY, FKM_TASK_MULTILABEL, FKM_TASK_REGRESS } fkm_task;
typedef enum fkm_metric { FKM_METRIC_COSINE, FKM_METRIC_EUCLIDEAN, FKM_METRIC_L1 } fkm_metric;
typedef enum fkm_dtype { FKM_DTYPE_F32, FKM_DTYPE_F16, FKM_DTYPE_BF16, FKM_DTYPE_F64 } fkm_dtype;
typedef enum fkm_init { FKM_INIT_KMEANSPP, FKM_INIT_RANDOM } fkm_init;
typedef enum fkm_soft { FKM_SOFT_HARD, FKM_SOFT_MEAN, FKM_SOFT_SCALED, FKM_SOFT_SOFTMAX_SCALED } fkm_soft;
typedef enum fkm_repulsion { FKM_REPULSION_WINDOW, FKM_REPULSION_GLVQ } fkm_repulsion;
/** How phase 1 of the classifier shares a row among prototypes; LINEAR and SOFTMAX are soft assignment. */
typedef enum fkm_assignment { FKM_ASSIGN_HARD, FKM_ASSIGN_LINEAR, FKM_ASSIGN_SOFTMAX } fkm_assignment;
typedef enum fkm_strategy { FKM_STRATEGY_ADAPTIVE, FKM_STRATEGY_GAP, FKM_STRATEGY_TOP_K } fkm_strategy;
typedef enum fkm_missing { FKM_MISSING_ERROR, FKM_MISSING_MASK } fkm_missing;

#define FKM_K_AUTO (-1) /* k_init, k_targets, k_features: ask the data */

/** Settings of a new model: begin with FKM_PARAMS_INIT, then change what matters to you, by field or by name
 *  (fkm_params_set). Every field, its default and its valid values stand in fkm_param_at()'s table. */
typedef struct fkm_params {
    size_t struct_size; /* set by FKM_PARAMS_INIT; lets the struct grow under old callers */
    fkm_task task;
    fkm_metric metric;
    fkm_dtype dtype; /* storage of prototypes; sums are f32, or f64 for f64 */
    fkm_init init;
    fkm_soft soft;       /* routing of phases 2 and 3 */
    double temperature;  /* divides distances before the softmax; > 0 */
    int32_t top_k;       /* prototypes blended at inference; -1: all */
    int32_t top_k_train; /* prototypes routed in training; 0: max(top_k, 8) */
    double idw_power;    /* exponent of 'scaled'; 0: 4 (euclidean, cosine) or 8 (l1) */
    int32_t auto_feature_weights;
    int64_t negative_sampling; /* classes sampled per gradient batch; 0: all classes */
    double diversity_reg;
    double l2_reg;
    int32_t use_faiss;
    int32_t use_compile;
    uint64_t seed; /* same seed, data and instruction set: same bits, any thread count */
    int64_t batch_size;
    int64_t finetune_batch_size;
    double learning_rate; /* relative to the standard deviation of the prototypes; 0: 0.03 */
    fkm_missing missing;  /* what a NaN in a row means */
    /* phase 1 */
    int32_t k_init;              /* clusters, or prototypes per class or label; FKM_K_AUTO */
    int64_t k_max;               /* upper bound on the total number of prototypes; 0: none */
    int32_t auto_scale;          /* auto-k divides distances by D times the mean variance */
    double min_weight;           /* prototypes lighter than this are pruned */
    double truncation_threshold; /* coordinates smaller than this become 0 when `sparse` is asked */
    int32_t sparse;
    double merge_threshold;      /* < 0: never merge */
    int32_t relative_merge;      /* merge_threshold is times the mean pairwise distance */
    double percentile_threshold; /* in [0, 1]; < 0: off */
    double decay;                /* masses are multiplied by this before each batch; 1: off */
    /* classifier */
    double repulsion_factor;
    fkm_repulsion repulsion;
    fkm_assignment assignment;
    double lambda_penalty;
    double label_smoothing;
    int32_t prototype_scale;      /* a temperature and a bias per prototype */
    double noise;                 /* in fractions of the feature standard deviation */
    int32_t normalize_prototypes; /* cosine: unit prototypes after each step */
    /* multi-label */
    double asl_gamma_neg;
    double asl_gamma_pos;
    double asl_clip;
    /* regressor */
    int32_t k_targets;
    int32_t k_features;
    fkm_metric target_metric;
    fkm_soft target_assignment;
} fkm_params;

/* Initialisers give every field in its place, which C and every C++ take without a warning. */
#define FKM_PARAMS_INIT                                                                                      \
    {                                                                                                        \
        sizeof(fkm_params), FKM_TASK_CLASSIFY, FKM_METRIC_COSINE, FKM_DTYPE_F32, FKM_INIT_KMEANSPP,          \
            FKM_SOFT_SCALED, 1.0 /* temperature */, 5 /* top_k */, 0, 0.0, 0 /* auto_feature_weights */, 0,  \
            0.0, 0.0, 0, 0, 42 /* seed */, 10240 /* batch_size */, 256 /* finetune_batch_size */, 0.0,       \
            FKM_MISSING_ERROR, 3 /* k_init */, 0, 0, 1e-3 /* min_weight */, 1e-4 /* truncation_threshold */, \
            0, -1.0 /* merge_threshold */, 0, -1.0 /* percentile_threshold */, 1.0 /* decay */,              \
            0.05 /* repulsion_factor */, FKM_REPULSION_WINDOW, FKM_ASSIGN_HARD, 0.1 /* lambda_penalty */,    \
            0.0, 0, 0.0, 1 /* normalize_prototypes */, 4.0 /* asl_gamma_neg */, 1.0 /* asl_gamma_pos */,     \
            0.05 /* asl_clip */, 20 /* k_targets */, 10 /* k_features */, FKM_METRIC_EUCLIDEAN,              \
            FKM_SOFT_SCALED /* target_assignment */                                                          \
    }

typedef enum fkm_param_kind {
    FKM_PARAM_CHOICE,
    FKM_PARAM_INT,
    FKM_PARAM_REAL,
    FKM_PARAM_BOOL
} fkm_param_kind;
/** One row of the table of parameters: feeds flags, configuration files, help texts and bindings. */
typedef struct fkm_param_info {
    const char *name; /* the documented name: "distance", "k_init", ... */
    fkm_param_kind kind;
    const char *choices;  /* "cosine|euclidean|l1"; also words a number may be: "auto", "none"; or NULL */
    const char *standard; /* the default, as text */
    const char *valid;    /* "> 0", "in [0, 1]", ...; for messages and help */
    const char *help;     /* one line */
    unsigned tasks;       /* bit (1u << fkm_task) for each task that uses it */
} fkm_param_info;

/** Rows of the table, which never changes. */
FKM_API size_t fkm_param_count(void);
/** Row `index`, for ever valid; NULL when index >= fkm_param_count(). */
FKM_API const fkm_param_info *fkm_param_at(size_t index);
/** Sets the parameter called name from text. FKM_EINVAL names the parameter, the value and what is valid. */
FKM_API FKM_MUST_CHECK fkm_status fkm_params_set(fkm_params *params, const char *name, const char *value);
/** Writes the parameter's value as text that fkm_params_set accepts; at most size bytes, always terminated. */
FKM_API FKM_MUST_CHECK fkm_status fkm_params_get(const fkm_params *params, const char *name, char *text,
                                                 size_t size);
/** Checks every field; FKM_EINVAL names the first that is not valid, its value and what is. */
FKM_API FKM_MUST_CHECK fkm_status fkm_params_check(const fkm_params *params);

/* ---- context --------------------------------------------------------------------------------------- */

/** Where work runs: threads, device, memory limit. Shared by any number of models and threads. One call at a time has its
 *  workers; those of other threads meanwhile do their work themselves. */
typedef struct fkm_context fkm_context;
typedef struct fkm_context_options {
    size_t struct_size;
    int32_t n_threads;  /* -1 or 0: one per core this process may use */
    const char *device; /* NULL or "cpu" */
    size_t
        memory_limit; /* bytes all models and calls of this process may hold, by the context made last; 0: none */
} fkm_context_options;
#define FKM_CONTEXT_OPTIONS_INIT                                                                             \
    {                                                                                                        \
        sizeof(fkm_context_options), -1 /* n_threads */, NULL, 0                                             \
    }

/** options NULL: the defaults. FKM_EUNSUPPORTED: a device that this build does not have. */
FKM_API FKM_MUST_CHECK fkm_status fkm_context_create(const fkm_context_options *options, fkm_context **out);
FKM_API void fkm_context_free(fkm_context *context); /* NULL is fine; models made in it must be gone */
/** How many threads work, the caller's among them; 0 for NULL. */
FKM_API int32_t fkm_context_threads(const fkm_context *context);

/** Approximate search for the parameter use_faiss, by a library of the caller's. It proposes candidates; the model ranks
 *  them by its own distances. Functions return FKM_OK or what went wrong, and answer a row alike whatever rows it comes
 *  with. They are called on the thread that asks, and may be called by several threads at once. */
typedef struct fkm_search_functions {
    size_t struct_size;
    /** An index of k points (k x dim, float32), whose Euclidean distances count; the points are gone after the call. */
    fkm_status (*build)(void *self, const float *points, int64_t k, int64_t dim, void **index);
    /** The numbers of n_wanted points near each of n_rows rows (n_rows x n_wanted), -1: none. */
    fkm_status (*search)(void *self, void *index, const float *rows, int64_t n_rows, int64_t dim,
                         int64_t n_wanted, int32_t n_threads, int64_t *numbers);
    void (*drop)(void *self, void *index); /* an index is not needed any more */
} fkm_search_functions;
/** Before the first model of the context is made; NULL: none any more. */
FKM_API FKM_MUST_CHECK fkm_status fkm_context_set_search(fkm_context *context,
                                                         const fkm_search_functions *functions, void *self);

/* ---- batches --------------------------------------------------------------------------------------- */

/** Rows, at least one, with optional targets, weights and mask; what a call does not need it does not look at.
 *  Dense: x is n_rows x n_cols. CSR: values, indptr (n_rows + 1), indices (strictly ascending in each row). */
typedef struct fkm_batch {
    size_t struct_size;
    int64_t n_rows, n_cols;
    fkm_dtype dtype; /* of x or of values */
    const void *x;
    int64_t row_stride; /* elements from row to row; 0: n_cols */
    const void *values;
    const int64_t *indptr;
    const int32_t *indices;
    const float *weight;       /* n_rows, >= 0, or NULL for all ones */
    const float *mask;         /* n_rows x n_cols in [0, 1], or NULL for all ones; dense rows only */
    const int64_t *labels;     /* classifier: n_rows, any values */
    const int64_t *tag_indptr; /* multi-label: tags of row i are tags[tag_indptr[i] .. tag_indptr[i+1]) */
    const int32_t *tags;       /* 0-based; n_tags of them exist */
    int64_t n_tags;
    const double *targets; /* regressor: n_rows x n_targets, row-major */
    int64_t n_targets;
} fkm_batch;
#define FKM_BATCH_INIT                                                                                       \
    {                                                                                                        \
        sizeof(fkm_batch), 0, 0, FKM_DTYPE_F32, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0,  \
            NULL, 0                                                                                          \
    }

/* ---- models ---------------------------------------------------------------------------------------- */

/** One model of any task. predict, evaluate, save, inspect: any number of threads; everything else: one. */
typedef struct fkm_model fkm_model;

/** An unfitted model; params are copied. The context must outlive it. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_create(fkm_context *context, const fkm_params *params,
                                                   fkm_model **out);
FKM_API void fkm_model_free(fkm_model *model); /* NULL is fine */
/** A second model of the same context with everything the first one holds; it has nothing in common with it. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_copy(const fkm_model *model, fkm_model **out);

/** The model file is safetensors with a checksum. Writing is atomic: readers see the old file or the new one, which has
 *  the old one's permissions. FKM_EIO, and the old file is what it was: no folder, no space, no permission. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_save(const fkm_model *model, const char *path);
/** FKM_EIO: the file cannot be read. FKM_EDATA: it is no model file, or damaged; nothing in it is believed unseen. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_load(fkm_context *context, const char *path, fkm_model **out);
/** The same bytes in memory; *bytes is freed with fkm_free. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_to_bytes(const fkm_model *model, void **bytes, size_t *size);
FKM_API FKM_MUST_CHECK fkm_status fkm_model_from_bytes(fkm_context *context, const void *bytes, size_t size,
                                                       fkm_model **out);
/** Frees what fkm_model_to_bytes gave; NULL is fine. */
FKM_API void fkm_free(void *memory);

/** Before the first fit, else FKM_ESTATE: starting prototypes (k x dim). Classifier: labels (k); multi-label: the tag
 *  of each; regressor: NULL, targets then come from the first fit. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_set_start(fkm_model *model, const float *points, int64_t k,
                                                      int64_t dim, const int64_t *labels);
/** The same from f64, which a model of dtype F64 begins with as they are. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_set_start_f64(fkm_model *model, const double *points, int64_t k,
                                                          int64_t dim, const int64_t *labels);
/** Weights of the features (dim, >= 0, not all 0), normalised to sum dim. Before the first fit, else FKM_ESTATE. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_set_feature_weights(fkm_model *model, const double *weights,
                                                                int64_t dim);
/** Changes one parameter from now on, also of a model that has learned: how it answers (top_k, soft_type,
 *  temperature, ...) and how it goes on learning. FKM_ESTATE for those that what was learned depends on: task,
 *  distance, dtype, auto_feature_weights, normalize_prototypes, prototype_scale, target_distance, and the temperature
 *  of a multi-label model, whose thresholds were found with it. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_set_param(fkm_model *model, const char *name, const char *value);
/** k prototypes for the class `label`, instead of k_init. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_set_class_k(fkm_model *model, int64_t label, int32_t k);
/** Frozen prototypes never move, merge or die. frozen has k entries (non-zero: frozen), or is NULL to freeze all.
 *  FKM_ESTATE before the first fit. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_freeze(fkm_model *model, const uint8_t *frozen, int64_t k);
/** Free text the file keeps beside the model (UTF-8): names of columns, of classes, ...; NULL value removes.
 *  Names begin with a letter and hold letters, digits, '_', '.'; at most 64 bytes. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_set_note(fkm_model *model, const char *name, const char *value);
/** The note, or NULL; valid until the model changes. */
FKM_API const char *fkm_model_note(const fkm_model *model, const char *name);

/* ---- learning -------------------------------------------------------------------------------------- */

/** What a progress callback sees. */
typedef struct fkm_progress {
    const char *phase;     /* "fit", "finetune", "learning rate" */
    int64_t step, steps;   /* of the whole call; steps 0: unknown */
    int64_t epoch, epochs; /* 1-based */
    int64_t rows;          /* rows seen in this call */
    double loss;           /* phase 2: mean loss; phase 1: mean distance to the nearest prototype */
    double shift;          /* phase 1: largest move of a prototype */
    double eval;           /* score on the evaluation rows; NaN when there are none */
    int64_t k;
} fkm_progress;
/** Called between batches on the calling thread; returning non-zero stops the call with FKM_EINTERRUPTED. */
typedef int fkm_progress_fn(void *user, const fkm_progress *progress);

typedef struct fkm_fit_options {
    size_t struct_size;
    int64_t max_iters; /* epochs of phase 1 */
    double tol;        /* stop when no prototype moved further than this */
    const fkm_batch *eval;
    double eval_fraction; /* rows held out when eval is NULL; 0: none */
    fkm_progress_fn *progress;
    void *user;
    /* NULL, or n_rows each, in which fit works and may leave the nearest prototype of each row and its distance, as
     * fkm_model_nearest would find them: *answered says whether it has, where it costs less than to ask. */
    int64_t *nearest;
    double *distance;
    int32_t *answered;
} fkm_fit_options;
#define FKM_FIT_OPTIONS_INIT                                                                                 \
    {                                                                                                        \
        sizeof(fkm_fit_options), 100 /* max_iters */, 1e-4 /* tol */, NULL, 0.0, NULL, NULL, NULL, NULL,     \
            NULL                                                                                             \
    }

typedef struct fkm_finetune_options {
    size_t struct_size;
    int64_t epochs;
    double lr;      /* relative, at most 10; 0: params.learning_rate, else the search if it is set */
    int32_t search; /* run the learning-rate search when no rate is given */
    int64_t early_stopping_rounds; /* epochs without a better evaluation; 0: never stop early */
    const fkm_batch *eval;
    double eval_fraction;
    fkm_progress_fn *progress;
    void *user;
} fkm_finetune_options;
#define FKM_FINETUNE_OPTIONS_INIT                                                                            \
    {                                                                                                        \
        sizeof(fkm_finetune_options), 10 /* epochs */, 0.0, 0, 0, NULL, 0.0, NULL, NULL                      \
    }

/** Phase 1 on the whole of the data: seeding, then full passes. A model that has learned before is fitted anew.
 *  options NULL: the defaults. FKM_EINTERRUPTED: the passes that were whole are kept. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_fit(fkm_model *model, const fkm_batch *batch,
                                                const fkm_fit_options *options);
/** Phase 1 on one batch; may be called for ever. Classes first seen here are seeded here.
 *  shift   receives the largest move of a prototype; may be NULL
 *  Returns FKM_EINVAL (shape, NaN, negative weight), FKM_ENOMEM; on failure the model is as it was. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_fit_batch(fkm_model *model, const fkm_batch *batch,
                                                      double *shift);
/** What the last fit_batch did besides moving: prototypes merged or pruned in it. */
FKM_API int64_t fkm_model_last_merged(const fkm_model *model);
/** Phase 2 on the batch as it is: one Adam step. loss (may be NULL) is the loss before the step.
 *  Returns FKM_ESTATE for soft 'hard' and 'mean', or before phase 1. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_gradient_step(fkm_model *model, const fkm_batch *batch,
                                                          double *loss);
/** Phase 2 over epochs of shuffled mini-batches of finetune_batch_size rows. options NULL: the defaults.
 *  Returns FKM_ESTATE as fkm_model_gradient_step does; FKM_EINTERRUPTED: the steps that were done are kept. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_finetune(fkm_model *model, const fkm_batch *batch,
                                                     const fkm_finetune_options *options);
/** Learning-rate search on a copy: the model is bit for bit what it was, but for learning_rate_. The curve is in
 *  the history. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_find_learning_rate(fkm_model *model, const fkm_batch *batch,
                                                               double *lr);
/** ANOVA importance of each feature (dim), summing to dim; the model does not change. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_feature_importance(const fkm_model *model, const fkm_batch *batch,
                                                               double *weights);

/* ---- answers --------------------------------------------------------------------------------------- */

/* Rows have as many columns as those the model learned from, else FKM_EINVAL. FKM_ESTATE: the model has not learned
 * yet, or its task gives no such answer. A row's answer does not depend on the rows beside it. */

/** Clusterer: nearest prototype. Classifier: label of the most probable class, ties to the lower label. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_predict_labels(const fkm_model *model, const fkm_batch *batch,
                                                           int64_t *labels);
/** Classifier and multi-label: n_rows x n_classes, columns in the order of fkm_model_classes. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_predict_proba(const fkm_model *model, const fkm_batch *batch,
                                                          float *proba);
/** Classifier and multi-label: the m most probable classes or tags of each row, most probable first, ties to the lower
 *  label; m between 1 and n_classes. labels and proba: n_rows x m. For models with so many classes that a column for each
 *  would not fit. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_predict_top(const fkm_model *model, const fkm_batch *batch,
                                                        int64_t m, int64_t *labels, float *proba);
/** Multi-label: n_rows x n_classes of 0 and 1, columns in the order of fkm_model_classes (the tags seen in phase 1).
 *  top_k counts for FKM_STRATEGY_TOP_K only. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_predict_tags(const fkm_model *model, const fkm_batch *batch,
                                                         fkm_strategy strategy, int64_t top_k, uint8_t *tags);
/** Regressor: n_rows x n_targets. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_predict_values(const fkm_model *model, const fkm_batch *batch,
                                                           double *values);
/** The top_k nearest prototypes of each row, nearest first, with distances and routing weights; each output is
 *  n_rows x top_k and may be NULL; missing places hold -1, inf, 0. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_nearest(const fkm_model *model, const fkm_batch *batch,
                                                    int64_t top_k, int64_t *index, double *distance,
                                                    double *routing);
/** Similarities to every prototype: n_rows x k. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_transform(const fkm_model *model, const fkm_batch *batch,
                                                      float *similarity);

/** Asymmetric loss of n probabilities in [0, 1] (Ridnik et al. 2021), each on its own.
 *  positive   n, non-zero where the tag is there
 *  loss       n, or NULL
 *  gradient   n: d loss / d probability, or NULL
 *  Returns FKM_EINVAL for a probability outside [0, 1] or a setting that fkm_params would refuse. */
FKM_API FKM_MUST_CHECK fkm_status fkm_asymmetric_loss(int64_t n, const double *probability,
                                                      const uint8_t *positive, double gamma_pos,
                                                      double gamma_neg, double clip, double *loss,
                                                      double *gradient);

/** Scores of a model on rows with targets; what does not fit the task is NaN. */
typedef struct fkm_scores {
    size_t struct_size;
    int64_t n_rows;
    double accuracy, macro_f1, micro_f1, log_loss, precision_at[5]; /* precision_at[k-1] */
    double rmse, r2;
    double sse;              /* sum of weighted distances to the nearest prototype */
    double nearest_accuracy; /* classifier: the nearest prototype alone */
} fkm_scores;
/** Any number of batches, then the scores. One thread per evaluation; the model outlives it and does not learn. */
typedef struct fkm_evaluation fkm_evaluation;
/** strategy and top_k choose the tags of a multi-label model; others do not look at them. */
FKM_API FKM_MUST_CHECK fkm_status fkm_evaluation_create(const fkm_model *model, fkm_strategy strategy,
                                                        int64_t top_k, fkm_evaluation **out);
/** Rows with their targets; they count by their weights. */
FKM_API FKM_MUST_CHECK fkm_status fkm_evaluation_add(fkm_evaluation *evaluation, const fkm_batch *batch);
/** Of all rows added so far; FKM_ESTATE when there are none. */
FKM_API FKM_MUST_CHECK fkm_status fkm_evaluation_scores(const fkm_evaluation *evaluation, fkm_scores *scores);
FKM_API void fkm_evaluation_free(fkm_evaluation *evaluation); /* NULL is fine */

/* ---- looking inside -------------------------------------------------------------------------------- */

typedef struct fkm_model_info {
    size_t struct_size;
    fkm_params params;
    int32_t fitted, has_ages, has_optimizer;
    int64_t k, dim, n_classes, n_targets, batches, iterations, gradient_steps, n_history;
    double learning_rate; /* relative; 0 when none was chosen yet */
    double scale;         /* s: mean distance to the nearest prototype in phase 1 */
    double temperature;   /* temperature * s * exp(theta) */
    size_t bytes;         /* memory the model holds */
    double idw_power;     /* of 'scaled': the exponent in use, also where the parameter is 'auto' */
} fkm_model_info;
/** What a model is and how large; also of one that has not learned. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_describe(const fkm_model *model, fkm_model_info *info);

/** Copies of the fitted state; the caller gives arrays of the sizes of fkm_model_describe. FKM_ESTATE when the
 *  model has no such thing (ages without masks, targets outside the regressor, ...). */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_centroids(const fkm_model *model, double *points); /* k x dim */
/** The same without zeros, whether the model keeps them or not: those of prototype j are indices and values
 *  [indptr[j], indptr[j + 1]), columns ascending. Asked twice: with n_entries 0, indices and values NULL it fills indptr
 *  alone (k + 1), whose last number is how many there are; then with that number and arrays of that size.
 *  Returns FKM_EINVAL when the model has another number of them than n_entries (it may have learned since). */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_centroids_csr(const fkm_model *model, int64_t n_entries,
                                                          int64_t *indptr, int32_t *indices, double *values);
FKM_API FKM_MUST_CHECK fkm_status fkm_model_centroid_weights(const fkm_model *model, double *mass); /* k */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_centroid_ages(const fkm_model *model, double *ages); /* k x dim */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_centroid_labels(const fkm_model *model, int64_t *label); /* k */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_centroid_targets(const fkm_model *model,
                                                             double *values); /* k x n_targets */
/* FKM_ESTATE before the first gradient step, and of models that keep prototypes of sparse rows as lists. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_centroid_gradients(const fkm_model *model,
                                                               double *gradient);            /* k x dim */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_frozen(const fkm_model *model, uint8_t *frozen); /* k */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_feature_weights(const fkm_model *model,
                                                            double *weights); /* dim */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_classes(const fkm_model *model,
                                                    int64_t *labels); /* n_classes, ascending */
/** k x 2: temperature tau_j and bias b_j of each prototype, whose share under 'softmax_scaled' is proportional to
 *  exp(b_j - d_j / tau_j). */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_centroid_routing(const fkm_model *model, double *routing);
/** Multi-label: n_classes x 3, rows in the order of fkm_model_classes: alpha, beta and the threshold of 'adaptive'.
 *  A tag's score is z = beta - alpha d / tau, d and tau those of its nearest prototype; its probability is
 *  1 / (1 + exp(-z)), and 'adaptive' gives it when z is at least the threshold. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_tag_scores(const fkm_model *model, double *scores);

/** One line of the history, oldest first. */
typedef struct fkm_history {
    size_t struct_size;
    const char *phase; /* "fit", "finetune", "learning rate" */
    int64_t epoch;     /* of the learning-rate search: the step */
    double loss, shift, eval, lr;
    int64_t k;
} fkm_history;
/** Line `index` of info.n_history; phase is valid for ever. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_history(const fkm_model *model, int64_t index, fkm_history *out);

/* ---- texts ----------------------------------------------------------------------------------------- */

/** Turns texts into sparse rows: TF-IDF of their words. It learns from texts, is finished, then makes rows; a finished
 *  one never changes, and any number of threads may use it. What words are, and how they are weighed:
 *  docs/text.md. */
typedef struct fkm_vectorizer fkm_vectorizer;
typedef struct fkm_vectorizer_options {
    size_t struct_size;
    int64_t n_features; /* at most so many terms, those of the most texts; 0: all. hashed: columns; 0: 2^18 */
    int64_t min_documents; /* terms of fewer texts are left out; does not count when hashed */
    int32_t ngrams;        /* terms are one word, or up to so many in a row: 1 to 5 */
    int32_t sublinear;     /* a term that comes n times counts 1 + ln n instead of n */
    int32_t hashed;        /* terms are hashed into n_features columns instead of having one of their own */
} fkm_vectorizer_options;
#define FKM_VECTORIZER_OPTIONS_INIT                                                                          \
    {                                                                                                        \
        sizeof(fkm_vectorizer_options), 0, 1 /* min_documents */, 1 /* ngrams */, 1 /* sublinear */, 0       \
    }
/** options NULL: the defaults. */
FKM_API FKM_MUST_CHECK fkm_status fkm_vectorizer_create(const fkm_vectorizer_options *options,
                                                        fkm_vectorizer **out);
FKM_API void fkm_vectorizer_free(fkm_vectorizer *vectorizer); /* NULL is fine */
/** Counts the terms of n texts (UTF-8); may be called again and again. lengths NULL: they end with a zero byte.
 *  FKM_EDATA for more than 2^24 different terms, unless they are hashed. When it fails, some texts may have been
 *  counted. */
FKM_API FKM_MUST_CHECK fkm_status fkm_vectorizer_learn(fkm_vectorizer *vectorizer, int64_t n,
                                                       const char *const *texts, const size_t *lengths);
/** Settles the features; learning ends. FKM_EDATA when no term is left, FKM_ESTATE before any text or the second time. */
FKM_API FKM_MUST_CHECK fkm_status fkm_vectorizer_finish(fkm_vectorizer *vectorizer);
typedef struct fkm_vectorizer_info {
    size_t struct_size;
    fkm_vectorizer_options options;
    int32_t finished;
    int64_t n_features, n_documents;
} fkm_vectorizer_info;
FKM_API FKM_MUST_CHECK fkm_status fkm_vectorizer_describe(const fkm_vectorizer *vectorizer,
                                                          fkm_vectorizer_info *info);
/** The term of a feature, ascending by bytes; NULL when they are hashed. */
FKM_API const char *fkm_vectorizer_term(const fkm_vectorizer *vectorizer, int64_t feature);
/** n_features weights; FKM_ESTATE before it is finished. */
FKM_API FKM_MUST_CHECK fkm_status fkm_vectorizer_idf(const fkm_vectorizer *vectorizer, double *idf);

/** Memory for rows made of texts by a finished vectorizer. One thread. */
typedef struct fkm_text_rows fkm_text_rows;
/** The vectorizer may be freed before the rows. */
FKM_API FKM_MUST_CHECK fkm_status fkm_text_rows_create(const fkm_vectorizer *vectorizer, fkm_text_rows **out);
FKM_API void fkm_text_rows_free(fkm_text_rows *rows); /* NULL is fine */
/** *batch receives n CSR rows (float32) of length 1, or 0 without a known term; borrowed until the next call. */
FKM_API FKM_MUST_CHECK fkm_status fkm_text_rows_make(fkm_text_rows *rows, int64_t n, const char *const *texts,
                                                     const size_t *lengths, fkm_batch *batch);

/** A model keeps the finished vectorizer that makes its rows, and so does its file. The model's own hold: the caller
 *  still frees his. NULL removes it. FKM_EINVAL when its features are not the model's. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_set_vectorizer(fkm_model *model,
                                                           const fkm_vectorizer *vectorizer);
/** The model's vectorizer, to be freed with fkm_vectorizer_free; NULL when it has none. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_vectorizer(const fkm_model *model, fkm_vectorizer **out);

/* ---- streams --------------------------------------------------------------------------------------- */

/** Where rows come from: a file opened with fkm_source_open, or your own functions. One thread. */
typedef struct fkm_source fkm_source;
typedef struct fkm_source_functions {
    size_t struct_size;
    /** Fills *batch with at most max_rows rows, borrowed until the next call; n_rows 0: the end. */
    fkm_status (*next)(void *self, int64_t max_rows, fkm_batch *batch);
    /** Back to the position that `tell` wrote; NULL: to the start. */
    fkm_status (*seek)(void *self, const char *position);
    /** Writes the position of the next row as UTF-8 text, at most size bytes with its zero. */
    fkm_status (*tell)(void *self, char *position, size_t size);
    void (*close)(void *self); /* may be NULL */
    /* Names of the labels or tags 0, 1, ... handed out so far, for the model file; both may be NULL. A name is valid
     * until the next call. */
    int64_t (*class_count)(void *self);
    const char *(*class_name)(void *self, int64_t index);
} fkm_source_functions;
/** functions are copied; self is given to each of them, on the thread that uses the source. Both class functions or none;
 *  the others but close are needed. When it fails, close is not called. */
FKM_API FKM_MUST_CHECK fkm_status fkm_source_create(const fkm_source_functions *functions, void *self,
                                                    fkm_source **out);

typedef enum fkm_format {
    FKM_FORMAT_AUTO,
    FKM_FORMAT_CSV,
    FKM_FORMAT_TSV,
    FKM_FORMAT_LIBSVM,
    FKM_FORMAT_NPY
} fkm_format;
typedef struct fkm_source_options {
    size_t struct_size;
    fkm_format format; /* AUTO: by the name (.csv, .tsv, .svm, .libsvm, .txt, .npy, each also .gz) */
    fkm_task task;     /* decides what the target columns mean */
    const char *
        target; /* CSV, Arrow: name or 0-based number (-1: the last) of the target column(s), comma-separated;
                           NULL: none. npy: path of the file with the targets */
    const char *weight;  /* CSV, Arrow: name or number of the weight column; npy: path; NULL: none */
    int32_t header;      /* CSV: 1 yes, 0 no, -1 look */
    int64_t n_cols;      /* libsvm: width; 0: largest index of the first pass */
    int32_t index_base;  /* libsvm: 0, 1, or -1: look (the decision is in fkm_source_note) */
    fkm_missing missing; /* an empty or NA field: an error, or mask 0 */
    fkm_dtype dtype;     /* of the rows handed out: FKM_DTYPE_F32 or FKM_DTYPE_F64 */
    const char *const *class_names; /* known names of classes or tags, in order; new ones are appended */
    int64_t n_class_names;
    const char
        *text; /* CSV: name or number of the text column(s), comma-separated: `vectorizer` makes the rows of
                         them, and other features are left out; NULL: none */
    fkm_vectorizer
        *vectorizer; /* borrowed until close. While it is not finished, the texts that are read are counted,
                                   and rows come without entries */
} fkm_source_options;
#define FKM_SOURCE_OPTIONS_INIT                                                                              \
    {                                                                                                        \
        sizeof(fkm_source_options), FKM_FORMAT_AUTO, FKM_TASK_CLASSIFY, NULL, NULL, -1 /* header */, 0,      \
            -1 /* index_base */, FKM_MISSING_MASK, FKM_DTYPE_F32, NULL, 0, NULL, NULL                        \
    }
/** path "-" is standard input; options NULL: the defaults. FKM_EIO: the file cannot be read; FKM_EDATA: it is not what
 *  its format says; FKM_EUNSUPPORTED: a kind of it that is not read. Messages name file and line. */
FKM_API FKM_MUST_CHECK fkm_status fkm_source_open(const char *path, const fkm_source_options *options,
                                                  fkm_source **out);
struct ArrowArrayStream; /* of the Arrow C stream interface */
/** Rows of an Arrow C stream of record batches. The stream is moved: the source releases it, also when opening
 *  fails. options->target and ->weight name columns as for CSV (names, or 0-based numbers); every other column is a
 *  feature: integers, floating point, booleans, or fixed-size lists of them, which are several features ("col[0]",
 *  "col[1]", ...). A null or NaN in a feature is an error or mask 0 (options->missing); elsewhere it is an error.
 *  Classifier: the target is integers or booleans, which are the labels themselves unless class_names are given, or
 *  texts, also behind a dictionary. Multi-label: lists of integers (tags) or texts, a text that lists tags as in CSV,
 *  several columns or a fixed-size list of 0 and 1. Regressor: numbers, several columns or a fixed-size list of them.
 *  Batches hold max_rows rows however the producer cuts its own. The position is the number of rows handed out. A
 *  stream cannot be read twice: seeking back is FKM_EUNSUPPORTED, seeking forward reads and drops rows. */
FKM_API FKM_MUST_CHECK fkm_status fkm_source_from_arrow(struct ArrowArrayStream *stream,
                                                        const fkm_source_options *options, fkm_source **out);
/** *batch receives at most max_rows rows, borrowed until the next call of the source; n_rows 0: the end. FKM_EDATA: a row
 *  is not what it should be. */
FKM_API FKM_MUST_CHECK fkm_status fkm_source_next(fkm_source *source, int64_t max_rows, fkm_batch *batch);
/** Back, or on, to a position that fkm_source_tell wrote; NULL: to the start. FKM_EUNSUPPORTED: it can be read once. */
FKM_API FKM_MUST_CHECK fkm_status fkm_source_seek(fkm_source *source, const char *position);
/** The position of the next row as text, at most size bytes with its zero; 256 are enough for every source. */
FKM_API FKM_MUST_CHECK fkm_status fkm_source_tell(fkm_source *source, char *position, size_t size);
FKM_API void fkm_source_close(fkm_source *source); /* NULL is fine */
/** Text labels become numbers 0, 1, ... in order of appearance; these are their names so far. Names are valid until the
 *  source is used again; NULL: there is none of this index. */
FKM_API int64_t fkm_source_class_count(const fkm_source *source);
FKM_API const char *fkm_source_class_name(const fkm_source *source, int64_t index);
/** Name of feature column i, or NULL. */
FKM_API const char *fkm_source_column_name(const fkm_source *source, int64_t index);
/** What the source decided by looking ("index base 1", "header: yes"); never NULL. */
FKM_API const char *fkm_source_note(const fkm_source *source);

typedef struct fkm_stream_options {
    size_t struct_size;
    int64_t epochs;
    int32_t gradient_step;      /* 0: phase 1, 1: phase 2 */
    const char *checkpoint;     /* path, or NULL */
    int64_t checkpoint_batches; /* save after every so many batches; 0: at the end only */
    int32_t resume;             /* begin at the position kept in the model instead of the source's start */
    fkm_progress_fn *progress;
    void *user;
} fkm_stream_options;
#define FKM_STREAM_OPTIONS_INIT                                                                              \
    {                                                                                                        \
        sizeof(fkm_stream_options), 1 /* epochs */, 0, NULL, 0, 0, NULL, NULL                                \
    }
/** Learns from a source, batch_size rows at a time (gradient steps: finetune_batch_size). The position is part of the
 *  model, so a checkpoint and its place in the stream cannot disagree. options NULL: the defaults.
 *  FKM_EINVAL: rows of a batch that is not valid; batches count from 0 over the whole stream, rows within the batch.
 *  Batches learned before one that fails, or before FKM_EINTERRUPTED, are kept; the last checkpoint is then that of the
 *  last save, or of the interruption. */
FKM_API FKM_MUST_CHECK fkm_status fkm_model_fit_source(fkm_model *model, fkm_source *source,
                                                       const fkm_stream_options *options);

#ifdef __cplusplus
}
#endif
#endif
