/* learn.c — phase 1: fitting rows at hand anew, and learning one batch of a stream.
 *
 * fit works on a fresh state and replaces the model's at the end. fit_batch works in place: what can fail comes
 * before anything moves, and classes seeded for it are dropped again on failure.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "estimators/model.h"
#include "prototypes/lists.h"

struct fkmi_random fkmi_model_random(const fkm_model *model, enum fkmi_stream stream, int64_t counter)
{
    return fkmi_random_split(fkmi_random_split(fkmi_random_from(model->params.seed), (uint64_t)stream),
                             (uint64_t)counter);
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

static fkm_status score_pass(struct watch *watch, double *score)
{
    const fkm_model *model = watch->model;
    struct fkmi_oracle oracle;

    FKMI_TRY(fkmi_oracle_on(model->context, &model->params, &watch->learned->state,
                            watch->eval->rows.mask != NULL, &watch->pack, &oracle));
    return model->estimator->score(&oracle, watch->eval, score);
}

static fkm_status after_pass(void *user, int64_t pass, const struct fkmi_moved *moved)
{
    struct watch *watch = user;
    const struct fkmi_state *state = &watch->learned->state;
    fkm_status scored = FKM_OK;
    double score = NAN;

    (void)pass;
    watch->passes++;
    if (watch->eval)
        scored = score_pass(watch, &score);
    if (scored != FKM_OK && scored != FKM_EINTERRUPTED)
        return scored;
    FKMI_TRY(fkmi_history_add(watch->history, &(struct fkmi_history_line){.phase = FKMI_PHASE_FIT,
                                                                          .epoch = watch->passes,
                                                                          .k = state->k,
                                                                          .loss = moved->mean_distance,
                                                                          .shift = moved->shift,
                                                                          .eval = score,
                                                                          .lr = NAN}));
    if (scored != FKM_OK)
        return scored; /* the pass was whole, its score is not */
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
                             const fkm_fit_options *options, struct fkmi_answers *answers,
                             struct watch *watch)
{
    const bool weigh_later = model->params.task == FKM_TASK_CLUSTER && model->params.auto_feature_weights;
    fkm_status status;
    int64_t n_passes;

    model->phase1.answers = weigh_later ? NULL : answers;
    FKMI_TRY(fkmi_lloyd(model->context, &model->params, &fresh->state, &model->phase1, &lesson->view,
                        lesson->slot, lesson->targets.values, options->max_iters, options->tol,
                        fkmi_model_random(model, FKMI_STREAM_PASS, 0), after_pass, watch, &n_passes));
    if (!weigh_later)
        return FKM_OK;
    status = fkmi_learn_importance(model, fresh, lesson);
    if (status != FKM_OK) {
        fkmi_importance_free(&fresh->importance); /* part of the rows may be in it */
        return status;
    }
    model->phase1.answers = answers;
    return fkmi_lloyd(model->context, &model->params, &fresh->state, &model->phase1, &lesson->view,
                      lesson->slot, NULL, options->max_iters, options->tol,
                      fkmi_model_random(model, FKMI_STREAM_PASS, 1), after_pass, watch, &n_passes);
}

enum { PHASE1_SCORES = 1 << 17, PHASE1_ROWS = 256 }; /* looked at, of tags; but so many rows */

static bool tag_is_new(const struct fkmi_state *state, int64_t c)
{
    return state->alpha[c] == 1 && state->beta[c] == 0;
}

/* alpha of the tags, over temperature; 0 while all are new. */
static double slope_of(const struct fkmi_state *state)
{
    for (int64_t c = 0; c < state->n_classes; c++)
        if (!tag_is_new(state, c))
            return state->alpha[c];
    return 0;
}

static void move_score(struct fkmi_state *state, int64_t c, double alpha, double beta)
{
    const double distance = (state->beta[c] - state->threshold[c]) / state->alpha[c];

    state->alpha[c] = alpha;
    state->beta[c] = beta;
    if (state->threshold[c] != 0) /* stays at the distance it stood for */
        state->threshold[c] = beta - alpha * distance;
}

/* Scores of tags as phase 1 leaves them: one alpha at which they tell best which rows have a tag, and beta such that the
 * mean probability of a tag is its share of the rows; gradients learn others. In a stream alpha is found anew in
 * batches 1, 2, 4, 8, ..., since that reads every score some hundred times, and each beta goes with it; every batch moves
 * beta by its share towards its own rows. A tag that is new begins with what these rows say, however little they count. */
static fkm_status begin_scores(const fkm_model *model, const struct fkmi_pack *pack,
                               const struct fkmi_lesson *lesson, double share, struct fkmi_state *state)
{
    fkm_status status = FKM_OK;
    const struct fkmi_routing routing = fkmi_routing_of(&model->params, state);
    const int64_t least = (int64_t)PHASE1_ROWS * state->n_classes, batch = llround(1 / share);
    const int64_t most = least < PHASE1_SCORES ? PHASE1_SCORES : least;
    double *beta = NULL, *anew = NULL, old = slope_of(state), slope = 0;
    const bool finds = old == 0 || (batch & (batch - 1)) == 0;

    if (model->params.task != FKM_TASK_MULTILABEL || state->theta[0] != FKMI_THETA_PHASE1)
        return FKM_OK;
    FKMI_TRY_GOTO(fkmi_alloc(&beta, state->n_classes, sizeof *beta));
    FKMI_TRY_GOTO(fkmi_alloc(&anew, state->n_classes, sizeof *anew));
    for (int64_t c = 0; c < state->n_classes; c++)
        beta[c] = tag_is_new(state, c) || finds ? NAN : state->beta[c];
    if (old != 0 && share < 1)
        FKMI_TRY_GOTO(fkmi_prior(model->context, state, pack, &routing, &lesson->rows, &lesson->targets, most,
                                 &old, beta));
    if (finds)
        FKMI_TRY_GOTO(fkmi_prior(model->context, state, pack, &routing, &lesson->rows, &lesson->targets, most,
                                 &slope, anew));
    for (int64_t c = 0; c < state->n_classes; c++)
        if (tag_is_new(state, c) || share == 1)
            move_score(state, c, finds ? slope : old, finds ? anew[c] : beta[c]);
        else
            move_score(state, c, finds ? slope : old,
                       state->beta[c] + share * (beta[c] - state->beta[c]) + (finds ? anew[c] - beta[c] : 0));
done:
    fkmi_free(beta);
    fkmi_free(anew);
    return status;
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
    FKMI_TRY_GOTO(begin_scores(model, pack, lesson, share, state));
    FKMI_TRY_GOTO(model->estimator->calibrate(&oracle, lesson, share, state));
done:
    model->context->backend->pack_free(pack);
    return status;
}

/* An even sample of the rows, small enough to be scored in a moment. */
static fkm_status sample_rows(const struct fkmi_lesson *lesson, const struct fkmi_state *state,
                              struct fkmi_lesson *some, int64_t **owned)
{
    const int64_t n = lesson->rows.n, moment = 1 << 27, least = 256;
    int64_t n_some = moment / (state->k * state->dim);

    n_some = n_some < least ? least : n_some;
    n_some = n_some < n ? n_some : n;
    *some = *lesson;
    FKMI_TRY(fkmi_alloc(owned, n_some, sizeof **owned));
    for (int64_t i = 0; i < n_some; i++)
        (*owned)[i] = fkmi_row(&lesson->rows, (int64_t)((double)i * ((double)n / (double)n_some)));
    some->rows = fkmi_rows_pick(&lesson->base, *owned, n_some);
    return FKM_OK;
}

fkm_status fkmi_model_calibrate_kept(const fkm_model *model, const struct fkmi_lesson *lesson,
                                     int64_t interrupts, struct fkmi_state *state, fkm_status *stopped)
{
    struct fkmi_lesson some;
    int64_t *owned = NULL;
    fkm_status status = FKM_OK;

    if (!model->estimator->calibrate)
        return FKM_OK;
    if (fkmi_interrupts() == interrupts) {
        status = fkmi_model_calibrate(model, lesson, 1.0, state);
        if (status != FKM_EINTERRUPTED)
            return status;
        *stopped = status;
    }
    fkmi_hold_interrupts();
    status = sample_rows(lesson, state, &some, &owned);
    if (status == FKM_OK)
        status = fkmi_model_calibrate(model, &some, 1.0, state);
    fkmi_release_interrupts();
    fkmi_free(owned);
    return status;
}

/* Whether passes may find what is asked: they see all rows in their order, and no index stands between. */
static bool passes_answer(const fkm_model *model, const struct fkmi_lesson *lesson,
                          const fkm_fit_options *options)
{
    return options->nearest && options->distance && options->answered && !model->params.use_faiss &&
           lesson->view.n == lesson->base.n && !lesson->view.order;
}

fkm_status fkm_model_fit(fkm_model *model, const fkm_batch *batch, const fkm_fit_options *given)
{
    fkm_status status = FKM_OK, stopped = FKM_OK;
    fkm_fit_options options;
    struct fkmi_learned fresh = {0};
    struct fkmi_lesson lesson = {0}, held = {0}, eval = {0};
    struct fkmi_history history = {0};
    struct watch watch = {0};
    struct fkmi_answers answers = {0};
    const int64_t interrupts = fkmi_interrupts();

    if (!model)
        return fkmi_fail(FKM_EINVAL, "model is NULL");
    FKMI_TRY(check_fit_options(given, &options));
    if (options.answered)
        *options.answered = 0;
    fkmi_model_drop_packs(model);
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
        FKMI_TRY_GOTO(fkmi_learn_importance(model, &fresh, &lesson));
    FKMI_TRY_GOTO(fkmi_seed_classes(model, &fresh, &lesson));
    FKMI_TRY_GOTO(fkmi_model_tune(model, &lesson, &fresh.state));
    if (options.eval) {
        const fkm_status read = fkmi_lesson_open(model, &fresh, options.eval, false, &eval);
        if (read != FKM_OK)
            FKMI_TRY_GOTO(fkmi_fail_within(read, "eval"));
        watch.eval = &eval;
    }
    answers = (struct fkmi_answers){.nearest = options.nearest, .distance = options.distance};
    stopped = run_passes(model, &fresh, &lesson, &options,
                         passes_answer(model, &lesson, &options) ? &answers : NULL, &watch);
    model->phase1.answers = NULL;
    if (stopped == FKM_EINTERRUPTED && watch.passes == 0)
        FKMI_TRY_GOTO(fkmi_fail(stopped, "interrupted before the first pass was over"));
    if (stopped != FKM_OK && stopped != FKM_EINTERRUPTED)
        FKMI_TRY_GOTO(stopped);
    fkmi_lesson_drop_view(&lesson);
    FKMI_TRY_GOTO(fkmi_model_calibrate_kept(model, watch.eval ? watch.eval : &lesson, interrupts,
                                            &fresh.state, &stopped));

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
    if (stopped != FKM_OK)
        FKMI_TRY_GOTO(fkmi_fail(stopped, "interrupted after %lld passes", (long long)watch.passes));
    if (options.answered)
        *options.answered = answers.found;
done:
    model->context->backend->pack_free(watch.pack);
    fkmi_learned_free(&fresh);
    fkmi_lesson_free(&held);
    fkmi_lesson_free(&eval);
    fkmi_lesson_free(&lesson);
    fkmi_free(history.lines);
    fkmi_scratch_trim(model->context);
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
        FKMI_TRY_GOTO(fkmi_learn_importance(model, &fresh, &lesson));
    FKMI_TRY_GOTO(fkmi_seed_classes(model, &fresh, &lesson));
    FKMI_TRY_GOTO(fkmi_model_tune(model, &lesson, &fresh.state));
    FKMI_TRY_GOTO(fkmi_ema_batch(model->context, &model->params, &fresh.state, &model->phase1, &lesson.view,
                                 lesson.slot, lesson.targets.values,
                                 fkmi_model_random(model, FKMI_STREAM_BATCH, 0), moved));
    if (model->params.task == FKM_TASK_CLUSTER)
        FKMI_TRY_GOTO(fkmi_learn_importance(model, &fresh, &lesson));
    FKMI_TRY_GOTO(fkmi_model_calibrate(model, &lesson, 1.0, &fresh.state));
    fkmi_learned_free(&model->learned);
    model->learned = fresh;
    memset(&fresh, 0, sizeof fresh);
done:
    fkmi_learned_free(&fresh);
    fkmi_lesson_free(&lesson);
    return status;
}

/* With automatic weights or thresholds something can fail after the prototypes have moved, and merging can be
 * interrupted, so the batch works on a copy; the plain models move in place. */
static fkm_status next_batch(fkm_model *model, const fkm_batch *batch, struct fkmi_moved *moved)
{
    fkm_status status = FKM_OK;
    const bool merges = model->params.merge_threshold >= 0;
    const bool on_copy =
        model->params.auto_feature_weights || model->estimator->calibrate || (merges && fkmi_interruptible());
    struct fkmi_learned copy = {0}, *learned = &model->learned;
    struct fkmi_lesson lesson = {0};
    const int64_t n_classes = learned->state.n_classes;

    if (on_copy) {
        FKMI_TRY_GOTO(fkmi_learned_copy(&copy, learned));
        learned = &copy;
    }
    FKMI_TRY_GOTO(fkmi_lesson_open(model, learned, batch, true, &lesson));
    if (learned->state.listed &&
        (model->start.k > 0 || !fkmi_lists_stay(&model->params, &lesson.view, &learned->state)))
        FKMI_TRY_GOTO(fkmi_state_need_points(&learned->state));
    FKMI_TRY_GOTO(fkmi_seed_classes(model, learned, &lesson));
    FKMI_TRY_GOTO(fkmi_model_tune(model, &lesson, &learned->state));
    if (on_copy)
        FKMI_TRY_GOTO(fkmi_learn_importance(model, learned, &lesson));
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
    if (status != FKM_OK && !on_copy) {
        fkmi_learned_truncate(&model->learned, n_classes);
        fkmi_model_changed(model); /* whoever was asked about an interrupt may have wanted answers */
    }
    fkmi_learned_free(&copy);
    fkmi_lesson_free(&lesson);
    return status;
}

fkm_status fkm_model_fit_batch(fkm_model *model, const fkm_batch *batch, double *shift)
{
    struct fkmi_moved moved = {0};

    if (!model)
        return fkmi_fail(FKM_EINVAL, "model is NULL");
    fkmi_model_changed(model); /* also when it fails: seeding may have moved what the packs look at */
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
