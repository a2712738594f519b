/* finetune.c — phase 2 as users call it: one gradient step, epochs, and the learning-rate search.
 *
 * Epochs work on a copy of what was learned, which replaces it at the end: a failed call changes nothing.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "estimators/model.h"
#include "train/columns.h"

static const double STANDARD_RATE = 0.03; /* relative to the standard deviation of the prototypes */

static fkm_status need_soft_routing(const fkm_model *model, const char *what)
{
    FKMI_TRY(fkmi_model_need_fitted(model, what));
    if (model->params.soft == FKM_SOFT_HARD || model->params.soft == FKM_SOFT_MEAN)
        return fkmi_fail(FKM_ESTATE,
                         "%s needs gradients, and soft_type='%s' has none: use 'scaled' or 'softmax_scaled'",
                         what, fkmi_soft_name(model->params.soft));
    return FKM_OK;
}

static double standard_rate(const fkm_model *model)
{
    if (model->params.learning_rate > 0)
        return model->params.learning_rate;
    return model->learning_rate > 0 ? model->learning_rate : STANDARD_RATE;
}

/* A copy of the trainer, begun from these rows when phase 2 has not begun yet (state then changes too). */
static fkm_status begin(const fkm_model *model, struct fkmi_state *state, const struct fkmi_lesson *lesson,
                        struct fkmi_trainer *trainer)
{
    if (model->trainer.begun)
        return fkmi_trainer_copy(trainer, &model->trainer);
    return fkmi_trainer_begin(trainer, model->context, &model->params, state, &lesson->rows,
                              &lesson->targets);
}

/* What was moved by column is exported by now; the moments become lists again. */
static fkm_status hold_moments(struct fkmi_trainer *trainer, const struct fkmi_state *state)
{
    if (!trainer->columns)
        return FKM_OK;
    FKMI_TRY(fkmi_train_columns_hold(trainer->columns, state->dtype, &trainer->held));
    fkmi_train_columns_free(trainer->columns);
    trainer->columns = NULL;
    return FKM_OK;
}

/* ---- one step */

/* The first step, a model with thresholds and one of lists work on copies; others move in place. Thresholds follow the
 * scores that gradients move: later batches count less, never under a hundredth. */
static fkm_status careful_step(fkm_model *model, const fkm_batch *batch, double *loss)
{
    fkm_status status = FKM_OK;
    struct fkmi_learned copy = {0};
    struct fkmi_trainer trainer = {0};
    struct fkmi_lesson lesson = {0};

    FKMI_TRY_GOTO(fkmi_learned_copy(&copy, &model->learned));
    FKMI_TRY_GOTO(fkmi_lesson_open(model, &copy, batch, true, &lesson));
    if (model->start.k > 0 || !fkmi_train_takes_lists(&model->params, &lesson.rows))
        FKMI_TRY_GOTO(fkmi_state_need_points(&copy.state));
    FKMI_TRY_GOTO(fkmi_seed_classes(model, &copy, &lesson));
    FKMI_TRY_GOTO(begin(model, &copy.state, &lesson, &trainer));
    FKMI_TRY_GOTO(fkmi_trainer_grow(&trainer, &copy.state));
    model->train_work.of_copies = true;
    status = fkmi_train_step(model->context, &model->params, &copy.state, &trainer, &model->train_work,
                             &lesson.rows, &lesson.targets, standard_rate(model),
                             fkmi_model_random(model, FKMI_STREAM_GRADIENT, model->gradient_steps), loss);
    model->train_work.of_copies = false;
    FKMI_TRY_GOTO(status);
    if (trainer.columns)
        FKMI_TRY_GOTO(fkmi_train_columns_export(trainer.columns, &copy.state));
    FKMI_TRY_GOTO(hold_moments(&trainer, &copy.state));
    FKMI_TRY_GOTO(fkmi_model_calibrate(model, &lesson, fmax(1.0 / (double)(model->gradient_steps + 1), 0.01),
                                       &copy.state));
    fkmi_learned_free(&model->learned);
    fkmi_trainer_free(&model->trainer);
    model->learned = copy;
    model->trainer = trainer;
    memset(&copy, 0, sizeof copy);
    memset(&trainer, 0, sizeof trainer);
done:
    fkmi_learned_free(&copy);
    fkmi_trainer_free(&trainer);
    fkmi_lesson_free(&lesson);
    return status;
}

static bool brings_classes(const fkm_model *model, const fkm_batch *batch)
{
    if (model->params.task == FKM_TASK_CLASSIFY && batch && batch->struct_size == sizeof *batch &&
        batch->labels)
        for (int64_t i = 0; i < batch->n_rows; i++)
            if (fkmi_classes_find(&model->learned.classes, batch->labels[i]) < 0)
                return true;
    return false;
}

/* In place: new classes are added behind the others, and forgotten again when something fails. */
static fkm_status quick_step(fkm_model *model, const fkm_batch *batch, double *loss)
{
    fkm_status status = FKM_OK;
    struct fkmi_state *state = &model->learned.state;
    struct fkmi_trainer *trainer = &model->trainer;
    struct fkmi_lesson lesson = {0};
    const int64_t k = state->k, n_classes = state->n_classes;
    const bool grow = brings_classes(model, batch);

    FKMI_TRY_GOTO(fkmi_lesson_open(model, &model->learned, batch, grow, &lesson));
    FKMI_TRY_GOTO(fkmi_seed_classes(model, &model->learned, &lesson));
    FKMI_TRY_GOTO(fkmi_trainer_grow(trainer, state));
    FKMI_TRY_GOTO(fkmi_train_step(
        model->context, &model->params, state, trainer, &model->train_work, &lesson.rows, &lesson.targets,
        standard_rate(model), fkmi_model_random(model, FKMI_STREAM_GRADIENT, model->gradient_steps), loss));
done:
    if (status != FKM_OK && grow) {
        fkmi_learned_truncate(&model->learned, n_classes);
        fkmi_trainer_truncate(trainer, k, n_classes);
        fkmi_model_changed(model); /* whoever was asked about an interrupt may have wanted answers */
    }
    fkmi_lesson_free(&lesson);
    return status;
}

fkm_status fkm_model_gradient_step(fkm_model *model, const fkm_batch *batch, double *loss)
{
    double own_loss = NAN;

    FKMI_TRY(need_soft_routing(model, "a gradient step"));
    fkmi_model_changed(model); /* also when it fails: seeding may have moved what the packs look at */
    if (!model->trainer.begun || model->estimator->calibrate || model->learned.state.listed ||
        model->trainer.held.begin) /* which become whole, and could be half so */
        FKMI_TRY(careful_step(model, batch, &own_loss));
    else
        FKMI_TRY(quick_step(model, batch, &own_loss));
    fkmi_model_changed(model);
    model->gradient_steps++;
    if (loss)
        *loss = own_loss;
    return FKM_OK;
}

/* ---- epochs */

struct watch {
    const fkm_model *model;
    const struct fkmi_lesson *eval; /* NULL: none */
    const fkm_finetune_options *options;
    struct fkmi_history *history;
    struct fkmi_pack *pack;
    int64_t epochs_done, first_epoch, steps_per_epoch, batch_size;
    double loss, score;
};

static fkm_status score_state(void *user, const struct fkmi_state *state, double *score)
{
    struct watch *watch = user;
    struct fkmi_oracle oracle;

    FKMI_TRY(fkmi_oracle_on(watch->model->context, &watch->model->params, state,
                            watch->eval->rows.mask != NULL, &watch->pack, &oracle));
    return watch->model->estimator->score(&oracle, watch->eval, score);
}

static fkm_status tell(const struct watch *watch, int64_t epoch, int64_t step, int64_t steps)
{
    const int64_t k = watch->model->learned.state.k;
    const fkm_progress progress = {.phase = "finetune",
                                   .step = step,
                                   .steps = steps,
                                   .epoch = epoch,
                                   .epochs = watch->options->epochs,
                                   .rows = step * watch->batch_size,
                                   .loss = watch->loss,
                                   .eval = watch->score,
                                   .k = k};

    if (watch->options->progress && watch->options->progress(watch->options->user, &progress) != 0)
        return fkmi_fail(FKM_EINTERRUPTED, "interrupted in epoch %lld", (long long)epoch);
    return FKM_OK;
}

static fkm_status after_step(void *user, int64_t step, int64_t steps, double loss)
{
    struct watch *watch = user;

    watch->loss = loss;
    return tell(watch, watch->epochs_done + 1, step, steps);
}

static fkm_status after_epoch(void *user, int64_t epoch, double loss, double score, double rate)
{
    struct watch *watch = user;

    (void)epoch;
    watch->epochs_done++;
    watch->loss = loss;
    watch->score = watch->eval ? score : NAN;
    FKMI_TRY(fkmi_history_add(watch->history,
                              &(struct fkmi_history_line){.phase = FKMI_PHASE_FINETUNE,
                                                          .epoch = watch->first_epoch + watch->epochs_done,
                                                          .k = watch->model->learned.state.k,
                                                          .loss = loss,
                                                          .shift = NAN,
                                                          .eval = watch->score,
                                                          .lr = rate}));
    return tell(watch, watch->epochs_done, watch->epochs_done * watch->steps_per_epoch,
                watch->options->epochs * watch->steps_per_epoch);
}

static fkm_status check_options(const fkm_finetune_options *options, fkm_finetune_options *full)
{
    const fkm_finetune_options standard = FKM_FINETUNE_OPTIONS_INIT;

    *full = standard;
    if (options) {
        if (options->struct_size < sizeof(size_t) || options->struct_size > sizeof *full)
            return fkmi_fail(FKM_EINVAL, "fkm_finetune_options has struct_size %zu, this library knows %zu",
                             options->struct_size, sizeof *full);
        memcpy(full, options, options->struct_size);
    }
    if (full->epochs < 1)
        return fkmi_fail(FKM_EINVAL, "epochs is %lld; it must be at least 1", (long long)full->epochs);
    if (!(full->lr >= 0 && full->lr <= FKMI_MOST_RATE))
        return fkmi_fail(FKM_EINVAL, "lr is %g; it must be in [0, %g], 0 for the standard rate", full->lr,
                         FKMI_MOST_RATE);
    if (full->early_stopping_rounds < 0)
        return fkmi_fail(FKM_EINVAL, "early_stopping_rounds is %lld; it must be >= 0",
                         (long long)full->early_stopping_rounds);
    if (!(full->eval_fraction >= 0 && full->eval_fraction < 1))
        return fkmi_fail(FKM_EINVAL, "eval_fraction is %g; it must be in [0, 1)", full->eval_fraction);
    return FKM_OK;
}

/* Adds lines to a copy of the model's history, so that a failed call keeps the old one. */
static fkm_status copy_history(const fkm_model *model, struct fkmi_history *history)
{
    FKMI_TRY(fkmi_copy(&history->lines, model->history.lines, model->history.n, sizeof *history->lines));
    history->n = history->capacity = model->history.n;
    return FKM_OK;
}

static fkm_status search(const fkm_model *model, const struct fkmi_state *state,
                         const struct fkmi_lesson *lesson, struct fkmi_history *history, double *rate)
{
    double curve_rate[FKMI_SEARCH_STEPS], curve_loss[FKMI_SEARCH_STEPS];
    int n_curve;

    FKMI_TRY(fkmi_train_search(model->context, &model->params, state, &model->trainer, &lesson->rows,
                               &lesson->targets,
                               fkmi_model_random(model, FKMI_STREAM_SEARCH, model->gradient_steps),
                               curve_rate, curve_loss, &n_curve, rate));
    for (int i = 0; i < n_curve; i++)
        FKMI_TRY(fkmi_history_add(history, &(struct fkmi_history_line){.phase = FKMI_PHASE_SEARCH,
                                                                       .epoch = i + 1,
                                                                       .k = state->k,
                                                                       .loss = curve_loss[i],
                                                                       .shift = NAN,
                                                                       .eval = NAN,
                                                                       .lr = curve_rate[i]}));
    return FKM_OK;
}

fkm_status fkm_model_finetune(fkm_model *model, const fkm_batch *batch, const fkm_finetune_options *given)
{
    fkm_status status = FKM_OK, stopped = FKM_OK;
    fkm_finetune_options options;
    struct fkmi_learned copy = {0};
    struct fkmi_trainer trainer = {0};
    struct fkmi_lesson lesson = {0}, held = {0}, eval = {0};
    struct fkmi_history history = {0};
    struct watch watch = {0};
    const int64_t interrupts = fkmi_interrupts();
    double rate, found = 0;

    FKMI_TRY(need_soft_routing(model, "finetune"));
    FKMI_TRY(check_options(given, &options));
    fkmi_model_drop_packs(model);
    FKMI_TRY_GOTO(fkmi_learned_copy(&copy, &model->learned));
    FKMI_TRY_GOTO(fkmi_lesson_open(model, &copy, batch, false, &lesson));
    FKMI_TRY_GOTO(copy_history(model, &history));
    watch = (struct watch){.model = model,
                           .options = &options,
                           .history = &history,
                           .loss = NAN,
                           .score = NAN,
                           .first_epoch = 0,
                           .batch_size = model->params.finetune_batch_size};
    if (options.eval) {
        const fkm_status read = fkmi_lesson_open(model, &copy, options.eval, false, &eval);
        if (read != FKM_OK)
            FKMI_TRY_GOTO(fkmi_fail_within(read, "eval"));
        watch.eval = &eval;
    } else if (options.eval_fraction > 0) {
        FKMI_TRY_GOTO(fkmi_lesson_hold_out(&lesson, options.eval_fraction,
                                           fkmi_model_random(model, FKMI_STREAM_HOLD_OUT, 0), &held));
        watch.eval = &held;
    } else if (options.early_stopping_rounds > 0) {
        FKMI_TRY_GOTO(fkmi_fail(FKM_EINVAL,
                                "early_stopping_rounds is %lld, but there are no rows to evaluate on: give "
                                "eval or eval_fraction",
                                (long long)options.early_stopping_rounds));
    }
    if (!fkmi_train_takes_lists(&model->params, &lesson.rows) || eval.rows.mask)
        FKMI_TRY_GOTO(fkmi_state_need_points(&copy.state));
    fkmi_lesson_drop_view(&lesson);
    rate = options.lr > 0 ? options.lr : standard_rate(model);
    if (!(options.lr > 0) && options.search && !(model->params.learning_rate > 0) &&
        !(model->learning_rate > 0)) {
        FKMI_TRY_GOTO(search(model, &copy.state, &lesson, &history, &found));
        rate = found;
    }
    FKMI_TRY_GOTO(fkmi_model_tune(model, &lesson, &copy.state));
    FKMI_TRY_GOTO(begin(model, &copy.state, &lesson, &trainer));
    watch.steps_per_epoch = (lesson.rows.n + watch.batch_size - 1) / watch.batch_size;
    stopped = fkmi_train_epochs(model->context, &model->params, &copy.state, &trainer, &model->train_work,
                                &lesson.rows, &lesson.targets,
                                &(struct fkmi_epochs){.epochs = options.epochs,
                                                      .early_stopping_rounds = options.early_stopping_rounds,
                                                      .rate = rate,
                                                      .score = watch.eval ? score_state : NULL,
                                                      .after_epoch = after_epoch,
                                                      .after_step = after_step,
                                                      .user = &watch},
                                fkmi_model_random(model, FKMI_STREAM_EPOCHS, model->gradient_steps));
    fkmi_train_work_free(&model->train_work, model->context->backend);
    if (stopped == FKM_EINTERRUPTED && trainer.step == model->trainer.step)
        FKMI_TRY_GOTO(fkmi_fail(stopped, "interrupted before the first step was over"));
    if (stopped != FKM_OK && stopped != FKM_EINTERRUPTED)
        FKMI_TRY_GOTO(stopped);
    FKMI_TRY_GOTO(hold_moments(&trainer, &copy.state));
    FKMI_TRY_GOTO(fkmi_model_calibrate_kept(model, watch.eval ? watch.eval : &lesson, interrupts, &copy.state,
                                            &stopped));

    model->gradient_steps += trainer.step - model->trainer.step;
    fkmi_learned_free(&model->learned);
    fkmi_trainer_free(&model->trainer);
    fkmi_free(model->history.lines);
    model->learned = copy;
    model->trainer = trainer;
    model->history = history;
    if (found > 0)
        model->learning_rate = found;
    fkmi_model_changed(model);
    memset(&copy, 0, sizeof copy);
    memset(&trainer, 0, sizeof trainer);
    memset(&history, 0, sizeof history);
    if (stopped != FKM_OK)
        status = fkmi_fail(stopped, "interrupted after %lld of %lld epochs", (long long)watch.epochs_done,
                           (long long)options.epochs);
done:
    model->context->backend->pack_free(watch.pack);
    fkmi_learned_free(&copy);
    fkmi_trainer_free(&trainer);
    fkmi_lesson_free(&held);
    fkmi_lesson_free(&eval);
    fkmi_lesson_free(&lesson);
    fkmi_free(history.lines);
    fkmi_scratch_trim(model->context);
    return status;
}

fkm_status fkm_model_find_learning_rate(fkm_model *model, const fkm_batch *batch, double *lr)
{
    fkm_status status = FKM_OK;
    struct fkmi_lesson lesson = {0};
    struct fkmi_history history = {0};
    double rate;

    FKMI_TRY(need_soft_routing(model, "the learning-rate search"));
    FKMI_TRY_GOTO(fkmi_lesson_open(model, &model->learned, batch, false, &lesson));
    if (!fkmi_train_takes_lists(&model->params, &lesson.rows))
        FKMI_TRY_GOTO(fkmi_model_need_points(model));
    FKMI_TRY_GOTO(copy_history(model, &history));
    FKMI_TRY_GOTO(search(model, &model->learned.state, &lesson, &history, &rate));
    fkmi_free(model->history.lines);
    model->history = history;
    model->learning_rate = rate;
    memset(&history, 0, sizeof history);
    if (lr)
        *lr = rate;
done:
    fkmi_lesson_free(&lesson);
    fkmi_free(history.lines);
    fkmi_scratch_trim(model->context);
    return status;
}
