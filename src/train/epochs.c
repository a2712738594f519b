/* epochs.c — passes over shuffled mini-batches: the rate warms up, then falls along a cosine to 0; the best
 * state on held-out rows is kept and put back.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "train/columns.h"
#include "train/train.h"

enum { WARM_UP_STEPS = 50, STEPS_BETWEEN_CALLS = 16 };
enum { STREAM_ORDER = 1, STREAM_STEP = 2 };

struct run {
    struct fkm_context *context;
    const fkm_params *params;
    struct fkmi_state *state, best; /* best: what learns of the state, when there is a score */
    struct fkmi_trainer *trainer;
    struct fkmi_train_work *work;
    const struct fkmi_rows *rows;
    const struct fkmi_targets *targets;
    const struct fkmi_epochs *how;
    struct fkmi_random random;
    int64_t *order;
    int64_t batch_rows, steps_per_epoch, steps, step;
    double best_score;
    int64_t best_epoch; /* 0: none yet */
};

/* What of the rate a step uses. */
static double schedule(int64_t step, int64_t steps)
{
    const double pi = 3.141592653589793;
    const int64_t tenth = steps / 10 > 1 ? steps / 10 : 1;
    const int64_t warm_up = tenth < WARM_UP_STEPS ? tenth : WARM_UP_STEPS;
    const double warm = (double)(step + 1) / (double)warm_up;

    return 0.5 * (1 + cos(pi * (double)step / (double)steps)) * (warm < 1 ? warm : 1.0);
}

static void copy_doubles(double *to, const double *from, int64_t n)
{
    if (to && from)
        memcpy(to, from, (size_t)n * sizeof *to);
}

/* All that a step moves; shapes do not change, but for those of lists. */
static fkm_status copy_learned(struct fkmi_state *to, const struct fkmi_state *from)
{
    if (from->listed)
        FKMI_TRY(fkmi_state_copy_lists(to, from));
    else
        memcpy(to->points, from->points, (size_t)(from->k * from->dim) * fkmi_dtype_size(from->dtype));
    copy_doubles(to->targets, from->targets, from->k * from->n_targets);
    copy_doubles(to->theta, from->theta, from->k);
    copy_doubles(to->bias, from->bias, from->k);
    copy_doubles(to->alpha, from->alpha, from->n_classes);
    copy_doubles(to->beta, from->beta, from->n_classes);
    copy_doubles(to->feature_weights, from->feature_weights, from->dim);
    return FKM_OK;
}

static fkm_status one_epoch(struct run *run, int64_t epoch, double *mean_loss, double *rate)
{
    struct fkmi_random random = fkmi_random_split(run->random, STREAM_ORDER);
    const struct fkmi_random steps = fkmi_random_split(run->random, STREAM_STEP);
    struct fkmi_rows shuffled = *run->rows;
    double sum = 0;

    random = fkmi_random_split(random, (uint64_t)epoch);
    for (int64_t i = 0; i < shuffled.n; i++) /* from the same start each time: an epoch's order is its own */
        run->order[i] = fkmi_row(run->rows, i);
    fkmi_random_shuffle(&random, run->order, shuffled.n);
    shuffled.order = run->order;
    for (int64_t begin = 0; begin < shuffled.n; begin += run->batch_rows) {
        const int64_t left = shuffled.n - begin, n = left < run->batch_rows ? left : run->batch_rows;
        const struct fkmi_rows batch = fkmi_rows_slice(&shuffled, begin, n);
        double loss;

        *rate = run->how->rate * schedule(run->step, run->steps);
        FKMI_TRY(fkmi_train_step(run->context, run->params, run->state, run->trainer, run->work, &batch,
                                 run->targets, *rate, fkmi_random_split(steps, (uint64_t)run->step), &loss));
        run->step++;
        sum += loss * (double)n;
        if (run->how->after_step && run->step % STEPS_BETWEEN_CALLS == 0)
            FKMI_TRY(run->how->after_step(run->how->user, run->step, run->steps, loss));
    }
    *mean_loss = sum / (double)shuffled.n;
    return FKM_OK;
}

static fkm_status all_epochs(struct run *run)
{
    for (int64_t epoch = 1; epoch <= run->how->epochs; epoch++) {
        double loss, rate = 0, score = NAN;
        fkm_status status;

        run->work->theta_may_lag = true;
        status = one_epoch(run, epoch, &loss, &rate);
        run->work->theta_may_lag = false;
        fkmi_train_settle(run->work, run->state);
        FKMI_TRY(status);
        if (run->how->score) {
            if (run->trainer->columns)
                FKMI_TRY(fkmi_train_columns_export(run->trainer->columns, run->state));
            FKMI_TRY(run->how->score(run->how->user, run->state, &score));
            if (run->best_epoch == 0 || score > run->best_score) {
                FKMI_TRY(copy_learned(&run->best, run->state));
                run->best_score = score;
                run->best_epoch = epoch;
            }
        }
        if (run->how->after_epoch)
            FKMI_TRY(run->how->after_epoch(run->how->user, epoch, loss, score, rate));
        if (run->how->score && run->how->early_stopping_rounds > 0 &&
            epoch - run->best_epoch >= run->how->early_stopping_rounds)
            return FKM_OK;
    }
    return FKM_OK;
}

fkm_status fkmi_train_epochs(struct fkm_context *context, const fkm_params *params, struct fkmi_state *state,
                             struct fkmi_trainer *trainer, struct fkmi_train_work *work,
                             const struct fkmi_rows *rows, const struct fkmi_targets *targets,
                             const struct fkmi_epochs *how, struct fkmi_random random)
{
    fkm_status status = FKM_OK;
    struct run run = {.context = context,
                      .params = params,
                      .state = state,
                      .trainer = trainer,
                      .work = work,
                      .rows = rows,
                      .targets = targets,
                      .how = how,
                      .random = random,
                      .batch_rows = params->finetune_batch_size};

    if (rows->n == 0)
        return FKM_OK;
    run.steps_per_epoch = (rows->n + run.batch_rows - 1) / run.batch_rows;
    run.steps = how->epochs * run.steps_per_epoch;
    FKMI_TRY_GOTO(fkmi_alloc(&run.order, rows->n, sizeof *run.order));
    if (how->score)
        FKMI_TRY_GOTO(fkmi_state_copy(&run.best, state));
    work->of_copies = true;
    status = all_epochs(&run);
    work->of_copies = false;
    if (trainer->columns && (status == FKM_OK || status == FKM_EINTERRUPTED)) {
        const fkm_status exported = fkmi_train_columns_export(trainer->columns, state);
        status = exported != FKM_OK ? exported : status;
    }
    if (run.best_epoch > 0 && (status == FKM_OK || status == FKM_EINTERRUPTED)) {
        const fkm_status copied = copy_learned(state, &run.best);
        status = copied != FKM_OK ? copied : status;
    }
done:
    fkmi_state_free(&run.best);
    fkmi_free(run.order);
    return status;
}
