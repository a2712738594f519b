/* learn.c — phase 1: fitting rows at hand anew, and learning one batch of a stream.
 *
 * fit works on a fresh state and replaces the model's at the end. fit_batch works in place: what can fail comes
 * before anything moves, and classes seeded for it are dropped again on failure.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "estimators/model.h"

struct fkmi_random fkmi_model_random(const fkm_model *model, enum fkmi_stream stream, int64_t counter)
{
    return fkmi_random_split(fkmi_random_split(fkmi_random_from(model->params.seed), (uint64_t)stream),
                             (uint64_t)counter);
}

void fkmi_learned_shrink(struct fkmi_learned *learned, int64_t n_classes)
{
    if (learned->state.n_classes > n_classes)
        fkmi_state_truncate(&learned->state, n_classes);
    fkmi_classes_truncate(&learned->classes, n_classes);
}

/* ---- seeding classes */

/* Rows of the new classes, class by class, and where their prototypes go. */
struct seeding {
    fkm_model *model;
    struct fkmi_learned *learned;
    const struct fkmi_rows *base;
    struct fkmi_space space;
    int64_t first_slot, n_new;
    int64_t *begin;       /* n_new + 1: rows of class first_slot + c are order[begin[c] ..] */
    int64_t *order;       /* rows of base */
    int64_t *k;           /* by class: wanted, then found */
    int64_t *point_at;    /* by class: first prototype in points */
    char *points;         /* reals */
    const int64_t *label; /* by class */
};

static fkm_status group_rows(struct seeding *seeding, const struct fkmi_lesson *lesson)
{
    const int64_t n = lesson->view.n;
    int64_t *next = seeding->k; /* free until k is known */

    for (int64_t i = 0; i < n; i++)
        if (lesson->slot[i] >= seeding->first_slot)
            seeding->begin[lesson->slot[i] - seeding->first_slot + 1]++;
    for (int64_t c = 0; c < seeding->n_new; c++) {
        seeding->begin[c + 1] += seeding->begin[c];
        next[c] = seeding->begin[c];
    }
    FKMI_TRY(fkmi_alloc(&seeding->order, seeding->begin[seeding->n_new], sizeof *seeding->order));
    for (int64_t i = 0; i < n; i++)
        if (lesson->slot[i] >= seeding->first_slot)
            seeding->order[next[lesson->slot[i] - seeding->first_slot]++] = fkmi_row(&lesson->view, i);
    return FKM_OK;
}

static struct fkmi_rows class_rows(const struct seeding *seeding, int64_t c)
{
    return fkmi_rows_pick(seeding->base, seeding->order + seeding->begin[c],
                          seeding->begin[c + 1] - seeding->begin[c]);
}

/* Starting prototypes the user gave belong to a class by label; to the only class without labels. */
static bool starts_here(const struct fkmi_start *start, int64_t i, int64_t label)
{
    return !start->label || start->label[i] == label;
}

static fkm_status want(void *job, int64_t begin, int64_t end, int thread)
{
    struct seeding *seeding = job;
    const fkm_model *model = seeding->model;

    (void)thread;
    for (int64_t c = begin; c < end; c++) {
        const struct fkmi_rows rows = class_rows(seeding, c);
        const int32_t wanted = model->estimator->k_wanted(model, seeding->label[c]);
        int64_t given = 0;
        for (int64_t i = 0; i < model->start.k; i++)
            given += starts_here(&model->start, i, seeding->label[c]);
        seeding->k[c] = given > 0 ? given : wanted;
        if (given == 0 && wanted == FKM_K_AUTO)
            FKMI_TRY(fkmi_auto_k(model->context, &seeding->space, &rows, model->params.auto_scale,
                                 &seeding->k[c]));
        else if (given == 0 && seeding->k[c] > rows.n)
            seeding->k[c] = rows.n;
    }
    return FKM_OK;
}

/* Keeps the total within k_max; classes shrink in proportion, none below 1. */
static fkm_status respect_k_max(struct seeding *seeding)
{
    const int64_t k_max = seeding->model->params.k_max, held = seeding->learned->state.k;
    int64_t total = 0, shrunk = 0;

    for (int64_t c = 0; c < seeding->n_new; c++)
        total += seeding->k[c];
    if (k_max <= 0 || held + total <= k_max)
        return FKM_OK;
    if (held + seeding->n_new > k_max)
        return fkmi_fail(FKM_EINVAL,
                         "k_max is %lld, but %lld prototypes are there and %lld new classes need one each",
                         (long long)k_max, (long long)held, (long long)seeding->n_new);
    for (int64_t c = 0; c < seeding->n_new; c++) {
        const double share = (double)seeding->k[c] / (double)total * (double)(k_max - held);
        seeding->k[c] = share < 1 ? 1 : (int64_t)share;
        shrunk += seeding->k[c];
    }
    for (int64_t c = 0; held + shrunk > k_max; c = (c + 1) % seeding->n_new)
        if (seeding->k[c] > 1) {
            seeding->k[c]--;
            shrunk--;
        }
    return FKM_OK;
}

static fkm_status take_start(const struct seeding *seeding, int64_t c, char *points)
{
    const struct fkmi_start *start = &seeding->model->start;
    const size_t real_size = fkmi_real_size(seeding->space.real);
    int64_t n = 0;

    for (int64_t i = 0; i < start->k; i++) {
        const struct fkmi_rows one = {.n = 1,
                                      .dim = start->dim,
                                      .dtype = FKM_DTYPE_F32,
                                      .stride = start->dim,
                                      .x = start->points + i * start->dim};
        if (starts_here(start, i, seeding->label[c]) && n < seeding->k[c])
            fkmi_row_load(&one, &seeding->space, 0, points + (size_t)(n++ * start->dim) * real_size);
    }
    return FKM_OK;
}

static fkm_status seed(void *job, int64_t begin, int64_t end, int thread)
{
    struct seeding *seeding = job;
    fkm_model *model = seeding->model;
    const size_t row_size = (size_t)seeding->space.dim * fkmi_real_size(seeding->space.real);

    (void)thread;
    for (int64_t c = begin; c < end; c++) {
        const struct fkmi_rows rows = class_rows(seeding, c);
        char *points = seeding->points + (size_t)seeding->point_at[c] * row_size;
        bool given = false;
        for (int64_t i = 0; i < model->start.k && !given; i++)
            given = starts_here(&model->start, i, seeding->label[c]);
        if (given)
            FKMI_TRY(take_start(seeding, c, points));
        else
            FKMI_TRY(fkmi_seed(
                model->context, &seeding->space, &rows, model->params.init, seeding->k[c],
                fkmi_random_split(fkmi_model_random(model, FKMI_STREAM_SEED, 1), (uint64_t)seeding->label[c]),
                points, &seeding->k[c]));
    }
    return FKM_OK;
}

/* Weighted mean targets of a stratum's rows: what its prototypes answer until phase 1 has passed over them. */
static void stratum_targets(const struct seeding *seeding, const struct fkmi_lesson *lesson, int64_t c,
                            double *targets)
{
    const int64_t m = lesson->targets.n_targets;
    const double *centre = lesson->strata + c * m;

    for (int64_t i = 0; i < seeding->k[c]; i++)
        memcpy(targets + i * m, centre, (size_t)m * sizeof *targets);
}

/* What a state keeps per class beside its prototypes. */
static fkm_status dress_classes(fkm_model *model, struct fkmi_state *state, struct fkmi_lesson *lesson,
                                int64_t first)
{
    if (model->params.task == FKM_TASK_MULTILABEL) {
        double **const arrays[] = {&state->alpha, &state->beta, &state->threshold};
        const double standard[] = {1.0, 0.0, 0.0}; /* a threshold of 0 is a probability of 1/2 */
        for (int a = 0; a < 3; a++) {
            if (!*arrays[a])
                FKMI_TRY(fkmi_alloc(arrays[a], state->class_capacity, sizeof(double)));
            for (int64_t c = first; c < state->n_classes; c++)
                (*arrays[a])[c] = standard[a];
        }
    }
    if (lesson->strata) {
        FKMI_TRY(fkmi_resize(&lesson->strata, state->class_capacity * state->n_targets, sizeof(double)));
        state->strata = lesson->strata;
        lesson->strata = NULL;
    }
    return FKM_OK;
}

/* Classes in parallel when there are many, one after the other (parallel inside) when there are few. */
static fkm_status over_classes(struct seeding *seeding, fkmi_range_fn *body)
{
    struct fkmi_pool *pool = seeding->model->context->pool;

    if (seeding->n_new >= 4 * fkmi_pool_threads(pool))
        return fkmi_parallel(pool, seeding->n_new, 1, body, seeding);
    return body(seeding, 0, seeding->n_new, 0);
}

fkm_status fkmi_seed_classes(fkm_model *model, struct fkmi_learned *learned, struct fkmi_lesson *lesson)
{
    fkm_status status = FKM_OK;
    struct fkmi_state *state = &learned->state;
    const int64_t first = state->n_classes;
    struct seeding seeding = {.model = model,
                              .learned = learned,
                              .base = &lesson->base,
                              .first_slot = first,
                              .n_new = learned->classes.n - first,
                              .space = fkmi_state_space(state, model->params.metric)};
    int64_t *label = NULL, total = 0;
    double *targets = NULL;

    if (seeding.n_new == 0)
        return FKM_OK;
    FKMI_TRY_GOTO(fkmi_alloc(&label, seeding.n_new, sizeof *label));
    FKMI_TRY_GOTO(fkmi_alloc(&seeding.begin, seeding.n_new + 1, sizeof *seeding.begin));
    FKMI_TRY_GOTO(fkmi_alloc(&seeding.k, seeding.n_new, sizeof *seeding.k));
    FKMI_TRY_GOTO(fkmi_alloc(&seeding.point_at, seeding.n_new, sizeof *seeding.point_at));
    fkmi_classes_labels(&learned->classes, first, label);
    seeding.label = label;
    FKMI_TRY_GOTO(group_rows(&seeding, lesson));
    FKMI_TRY_GOTO(over_classes(&seeding, want));
    FKMI_TRY_GOTO(respect_k_max(&seeding));
    for (int64_t c = 0; c < seeding.n_new; c++) {
        seeding.point_at[c] = total;
        total += seeding.k[c];
    }
    FKMI_TRY_GOTO(fkmi_alloc(&seeding.points, total * state->dim, fkmi_real_size(seeding.space.real)));
    FKMI_TRY_GOTO(over_classes(&seeding, seed));
    if (lesson->strata)
        FKMI_TRY_GOTO(fkmi_alloc(&targets, total * state->n_targets, sizeof *targets));
    for (int64_t c = 0; c < seeding.n_new; c++) {
        const char *points =
            seeding.points + (size_t)(seeding.point_at[c] * state->dim) * fkmi_real_size(seeding.space.real);
        if (targets)
            stratum_targets(&seeding, lesson, c, targets);
        FKMI_TRY_GOTO(
            fkmi_state_add_class(state, model->context->kernels, label[c], points, targets, seeding.k[c]));
    }
    FKMI_TRY_GOTO(dress_classes(model, state, lesson, first));
done:
    if (status != FKM_OK)
        fkmi_state_truncate(state, first);
    fkmi_free(label);
    fkmi_free(targets);
    fkmi_free(seeding.begin);
    fkmi_free(seeding.order);
    fkmi_free(seeding.k);
    fkmi_free(seeding.point_at);
    fkmi_free(seeding.points);
    return status;
}

/* ---- feature weights */

/* Slots for the importance of features: the classes, or the nearest prototypes of a clusterer (*owned). */
static fkm_status importance_slots(const fkm_model *model, const struct fkmi_state *state,
                                   const struct fkmi_lesson *lesson, const int32_t **slot, int32_t **owned,
                                   int64_t *n)
{
    fkm_status status = FKM_OK;
    struct fkmi_oracle oracle;
    struct fkmi_pack *pack = NULL;
    double *distance = NULL;

    *slot = lesson->slot;
    *n = state->n_classes;
    if (model->params.task != FKM_TASK_CLUSTER)
        return FKM_OK;
    *n = state->k;
    FKMI_TRY_GOTO(fkmi_alloc(owned, lesson->view.n, sizeof **owned));
    FKMI_TRY_GOTO(fkmi_alloc(&distance, lesson->view.n, sizeof *distance));
    FKMI_TRY_GOTO(
        fkmi_oracle_on(model->context, &model->params, state, lesson->view.mask != NULL, &pack, &oracle));
    FKMI_TRY_GOTO(model->context->backend->scan(
        model->context, &lesson->view, pack,
        &(struct fkmi_scan){.kind = FKMI_SCAN_NEAREST, .index = *owned, .distance = distance}));
    *slot = *owned;
done:
    model->context->backend->pack_free(pack);
    fkmi_free(distance);
    return status;
}

/* Adds the lesson to the running statistics and, with auto_feature_weights, sets the weights they give. */
static fkm_status learn_importance(const fkm_model *model, struct fkmi_learned *learned,
                                   const struct fkmi_lesson *lesson)
{
    fkm_status status = FKM_OK;
    struct fkmi_state *state = &learned->state;
    int32_t *owned = NULL;
    const int32_t *slot;
    int64_t n_slots;

    if (!model->params.auto_feature_weights)
        return FKM_OK;
    FKMI_TRY_GOTO(importance_slots(model, state, lesson, &slot, &owned, &n_slots));
    if (n_slots < learned->classes.n)
        n_slots = learned->classes.n;
    FKMI_TRY_GOTO(fkmi_importance_add(model->context, &learned->importance, &lesson->view, slot, n_slots));
    if (!state->feature_weights)
        FKMI_TRY_GOTO(fkmi_alloc(&state->feature_weights, state->dim, sizeof(double)));
    fkmi_importance_weights(&learned->importance, state->feature_weights);
done:
    fkmi_free(owned);
    return status;
}

fkm_status fkm_model_feature_importance(const fkm_model *model, const fkm_batch *batch, double *weights)
{
    fkm_status status = FKM_OK;
    struct fkmi_learned copy = {0};
    struct fkmi_lesson lesson = {0};
    struct fkmi_importance importance = {0};
    int32_t *owned = NULL;
    const int32_t *slot;
    int64_t n_slots;

    if (!model || !weights)
        return fkmi_fail(FKM_EINVAL, "%s is NULL", model ? "weights" : "model");
    if (model->params.task == FKM_TASK_CLUSTER)
        FKMI_TRY(fkmi_model_need_fitted(model, "the feature importance of a clusterer"));
    FKMI_TRY_GOTO(fkmi_learned_copy(&copy, &model->learned));
    FKMI_TRY_GOTO(fkmi_lesson_open(model, &copy, batch, true, &lesson));
    FKMI_TRY_GOTO(importance_slots(model, &copy.state, &lesson, &slot, &owned, &n_slots));
    if (n_slots < copy.classes.n)
        n_slots = copy.classes.n;
    FKMI_TRY_GOTO(fkmi_importance_add(model->context, &importance, &lesson.view, slot, n_slots));
    fkmi_importance_weights(&importance, weights);
done:
    fkmi_importance_free(&importance);
    fkmi_lesson_free(&lesson);
    fkmi_learned_free(&copy);
    fkmi_free(owned);
    return status;
}

/* ---- fit */

/* An empty state for rows of this width. */
static fkm_status begin_state(const fkm_model *model, const struct fkmi_lesson *lesson,
                              struct fkmi_state *state)
{
    state->dtype = model->params.dtype;
    state->dim = lesson->base.dim;
    state->n_targets = lesson->targets.n_targets;
    state->scale = 1;
    return fkmi_copy(&state->feature_weights, model->user_weights, model->user_dim, sizeof(double));
}

/* What follows the passes of a fit. */
struct watch {
    const fkm_model *model;
    const struct fkmi_learned *learned;
    const struct fkmi_lesson *eval; /* NULL: none */
    const fkm_fit_options *options;
    struct fkmi_history *history;
    struct fkmi_pack *pack;
    int64_t passes, rows;
};

static fkm_status after_pass(void *user, int64_t pass, const struct fkmi_moved *moved)
{
    struct watch *watch = user;
    const fkm_model *model = watch->model;
    const struct fkmi_state *state = &watch->learned->state;
    double score = NAN;

    (void)pass;
    watch->passes++;
    if (watch->eval) {
        struct fkmi_oracle oracle;
        FKMI_TRY(fkmi_oracle_on(model->context, &model->params, state, watch->eval->rows.mask != NULL,
                                &watch->pack, &oracle));
        FKMI_TRY(model->estimator->score(&oracle, watch->eval, &score));
    }
    FKMI_TRY(fkmi_history_add(watch->history, &(struct fkmi_history_line){.phase = FKMI_PHASE_FIT,
                                                                          .epoch = watch->passes,
                                                                          .k = state->k,
                                                                          .loss = moved->mean_distance,
                                                                          .shift = moved->shift,
                                                                          .eval = score,
                                                                          .lr = NAN}));
    if (watch->options->progress) {
        const fkm_progress progress = {.phase = "fit",
                                       .step = watch->passes,
                                       .epoch = watch->passes,
                                       .epochs = watch->options->max_iters,
                                       .rows = watch->rows * watch->passes,
                                       .loss = moved->mean_distance,
                                       .shift = moved->shift,
                                       .eval = score,
                                       .k = state->k};
        if (watch->options->progress(watch->options->user, &progress) != 0)
            return fkmi_fail(FKM_EINTERRUPTED, "interrupted after %lld passes", (long long)watch->passes);
    }
    return FKM_OK;
}

static fkm_status check_fit_options(const fkm_fit_options *options, fkm_fit_options *full)
{
    const fkm_fit_options standard = FKM_FIT_OPTIONS_INIT;

    *full = standard;
    if (options) {
        if (options->struct_size < sizeof(size_t) || options->struct_size > sizeof *full)
            return fkmi_fail(FKM_EINVAL, "fkm_fit_options has struct_size %zu, this library knows %zu",
                             options->struct_size, sizeof *full);
        memcpy(full, options, options->struct_size);
    }
    if (full->max_iters < 1)
        return fkmi_fail(FKM_EINVAL, "max_iters is %lld; it must be at least 1", (long long)full->max_iters);
    if (!(full->tol >= 0))
        return fkmi_fail(FKM_EINVAL, "tol is %g; it must be >= 0", full->tol);
    if (!(full->eval_fraction >= 0 && full->eval_fraction < 1))
        return fkmi_fail(FKM_EINVAL, "eval_fraction is %g; it must be in [0, 1)", full->eval_fraction);
    return FKM_OK;
}

/* Passes over the rows until nothing moves; twice for a clusterer with automatic feature weights, whose weights are
 * known only when its clusters are. */
static fkm_status run_passes(fkm_model *model, struct fkmi_learned *fresh, struct fkmi_lesson *lesson,
                             const fkm_fit_options *options, struct watch *watch)
{
    const bool weigh_later = model->params.task == FKM_TASK_CLUSTER && model->params.auto_feature_weights;
    int64_t n_passes;

    FKMI_TRY(fkmi_lloyd(model->context, &model->params, &fresh->state, &model->phase1, &lesson->view,
                        lesson->slot, lesson->targets.values, options->max_iters, options->tol,
                        fkmi_model_random(model, FKMI_STREAM_PASS, 0), after_pass, watch, &n_passes));
    if (!weigh_later)
        return FKM_OK;
    FKMI_TRY(learn_importance(model, fresh, lesson));
    return fkmi_lloyd(model->context, &model->params, &fresh->state, &model->phase1, &lesson->view,
                      lesson->slot, NULL, options->max_iters, options->tol,
                      fkmi_model_random(model, FKMI_STREAM_PASS, 1), after_pass, watch, &n_passes);
}

fkm_status fkmi_model_calibrate(const fkm_model *model, const struct fkmi_lesson *lesson, double share,
                                struct fkmi_state *state)
{
    fkm_status status = FKM_OK;
    struct fkmi_oracle oracle;
    struct fkmi_pack *pack = NULL;

    if (!model->estimator->calibrate)
        return FKM_OK;
    FKMI_TRY_GOTO(
        fkmi_oracle_on(model->context, &model->params, state, lesson->rows.mask != NULL, &pack, &oracle));
    FKMI_TRY_GOTO(model->estimator->calibrate(&oracle, lesson, share, state));
done:
    model->context->backend->pack_free(pack);
    return status;
}

fkm_status fkm_model_fit(fkm_model *model, const fkm_batch *batch, const fkm_fit_options *given)
{
    fkm_status status = FKM_OK, stopped = FKM_OK;
    fkm_fit_options options;
    struct fkmi_learned fresh = {0};
    struct fkmi_lesson lesson = {0}, held = {0}, eval = {0};
    struct fkmi_history history = {0};
    struct watch watch = {0};

    if (!model)
        return fkmi_fail(FKM_EINVAL, "model is NULL");
    FKMI_TRY(check_fit_options(given, &options));
    FKMI_TRY_GOTO(fkmi_lesson_open(model, &fresh, batch, true, &lesson));
    FKMI_TRY_GOTO(begin_state(model, &lesson, &fresh.state));
    watch = (struct watch){.model = model, .learned = &fresh, .options = &options, .history = &history};
    if (options.eval_fraction > 0 && !options.eval) {
        FKMI_TRY_GOTO(fkmi_lesson_hold_out(&lesson, options.eval_fraction,
                                           fkmi_model_random(model, FKMI_STREAM_HOLD_OUT, 0), &held));
        watch.eval = &held;
    }
    watch.rows = lesson.rows.n;
    if (model->params.task != FKM_TASK_CLUSTER)
        FKMI_TRY_GOTO(learn_importance(model, &fresh, &lesson));
    FKMI_TRY_GOTO(fkmi_seed_classes(model, &fresh, &lesson));
    if (options.eval) {
        const fkm_status read = fkmi_lesson_open(model, &fresh, options.eval, false, &eval);
        if (read != FKM_OK)
            FKMI_TRY_GOTO(fkmi_fail_within(read, "eval"));
        watch.eval = &eval;
    }
    stopped = run_passes(model, &fresh, &lesson, &options, &watch);
    if (stopped != FKM_OK && stopped != FKM_EINTERRUPTED)
        FKMI_TRY_GOTO(stopped);
    FKMI_TRY_GOTO(fkmi_model_calibrate(model, watch.eval && watch.eval->rows.n > 0 ? watch.eval : &lesson,
                                       1.0, &fresh.state));

    fkmi_learned_free(&model->learned);
    fkmi_trainer_free(&model->trainer);
    fkmi_free(model->history.lines);
    model->learned = fresh;
    model->history = history;
    model->batches = 1;
    model->iterations = watch.passes;
    model->gradient_steps = 0;
    model->last_merged = 0;
    model->learning_rate = 0;
    memset(&model->place, 0, sizeof model->place);
    fkmi_model_changed(model);
    memset(&fresh, 0, sizeof fresh);
    memset(&history, 0, sizeof history);
    status = stopped;
done:
    model->context->backend->pack_free(watch.pack);
    fkmi_learned_free(&fresh);
    fkmi_lesson_free(&held);
    fkmi_lesson_free(&eval);
    fkmi_lesson_free(&lesson);
    fkmi_free(history.lines);
    return status;
}

/* ---- fit_batch */

/* The first batch of a stream makes a state of its own, the later ones move the model's. */
static fkm_status first_batch(fkm_model *model, const fkm_batch *batch, struct fkmi_moved *moved)
{
    fkm_status status = FKM_OK;
    struct fkmi_learned fresh = {0};
    struct fkmi_lesson lesson = {0};

    FKMI_TRY_GOTO(fkmi_lesson_open(model, &fresh, batch, true, &lesson));
    FKMI_TRY_GOTO(begin_state(model, &lesson, &fresh.state));
    if (model->params.task != FKM_TASK_CLUSTER)
        FKMI_TRY_GOTO(learn_importance(model, &fresh, &lesson));
    FKMI_TRY_GOTO(fkmi_seed_classes(model, &fresh, &lesson));
    FKMI_TRY_GOTO(fkmi_ema_batch(model->context, &model->params, &fresh.state, &model->phase1, &lesson.view,
                                 lesson.slot, lesson.targets.values,
                                 fkmi_model_random(model, FKMI_STREAM_BATCH, 0), moved));
    if (model->params.task == FKM_TASK_CLUSTER)
        FKMI_TRY_GOTO(learn_importance(model, &fresh, &lesson));
    FKMI_TRY_GOTO(fkmi_model_calibrate(model, &lesson, 1.0, &fresh.state));
    fkmi_learned_free(&model->learned);
    model->learned = fresh;
    memset(&fresh, 0, sizeof fresh);
done:
    fkmi_learned_free(&fresh);
    fkmi_lesson_free(&lesson);
    return status;
}

/* With automatic weights or thresholds something can fail after the prototypes have moved, so the batch works on a
 * copy; the plain models move in place. */
static fkm_status next_batch(fkm_model *model, const fkm_batch *batch, struct fkmi_moved *moved)
{
    fkm_status status = FKM_OK;
    const bool on_copy = model->params.auto_feature_weights || model->estimator->calibrate;
    struct fkmi_learned copy = {0}, *learned = &model->learned;
    struct fkmi_lesson lesson = {0};
    const int64_t n_classes = learned->state.n_classes;

    if (on_copy) {
        FKMI_TRY_GOTO(fkmi_learned_copy(&copy, learned));
        learned = &copy;
    }
    FKMI_TRY_GOTO(fkmi_lesson_open(model, learned, batch, true, &lesson));
    FKMI_TRY_GOTO(fkmi_seed_classes(model, learned, &lesson));
    if (on_copy)
        FKMI_TRY_GOTO(learn_importance(model, learned, &lesson));
    FKMI_TRY_GOTO(fkmi_ema_batch(model->context, &model->params, &learned->state, &model->phase1,
                                 &lesson.view, lesson.slot, lesson.targets.values,
                                 fkmi_model_random(model, FKMI_STREAM_BATCH, model->batches), moved));
    if (on_copy) {
        FKMI_TRY_GOTO(
            fkmi_model_calibrate(model, &lesson, 1.0 / (double)(model->batches + 1), &learned->state));
        fkmi_learned_free(&model->learned);
        model->learned = copy;
        memset(&copy, 0, sizeof copy);
    }
done:
    if (status != FKM_OK && !on_copy)
        fkmi_learned_shrink(&model->learned, n_classes);
    fkmi_learned_free(&copy);
    fkmi_lesson_free(&lesson);
    return status;
}

fkm_status fkm_model_fit_batch(fkm_model *model, const fkm_batch *batch, double *shift)
{
    struct fkmi_moved moved = {0};

    if (!model)
        return fkmi_fail(FKM_EINVAL, "model is NULL");
    if (model->learned.state.k == 0)
        FKMI_TRY(first_batch(model, batch, &moved));
    else
        FKMI_TRY(next_batch(model, batch, &moved));
    fkmi_trainer_free(&model->trainer); /* its moments belong to prototypes that have moved since */
    model->batches++;
    model->last_merged = moved.merged;
    fkmi_model_changed(model);
    if (shift)
        *shift = moved.shift;
    return FKM_OK;
}
