/* search.c — the learning-rate search (Smith 2017): the rate grows from step to step on a copy of the model;
 * a tenth of the rate where the smoothed loss was lowest is the answer.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "train/train.h"

static const double FIRST_RATE = 1e-5, LAST_RATE = 1, LEAST = 1e-3, MOST = 0.1;
static const double SMOOTHING = 0.9, HOPELESS = 4; /* times the best loss so far */
enum { STREAM_ORDER = 1, STREAM_STEP = 2 };

struct search {
    struct fkm_context *context;
    const fkm_params *params;
    struct fkmi_state state;
    struct fkmi_trainer trainer;
    struct fkmi_train_work work;
    int64_t *order, n, next, round;
    struct fkmi_random random;
};

/* The next batch of a shuffled cycle over the rows; a cycle's last batch may be short. */
static struct fkmi_rows next_batch(struct search *search, const struct fkmi_rows *rows)
{
    struct fkmi_rows batch = *rows;
    const int64_t wanted = search->params->finetune_batch_size;

    if (search->next >= search->n) {
        struct fkmi_random random = fkmi_random_split(search->random, STREAM_ORDER);

        random = fkmi_random_split(random, (uint64_t)search->round++);
        for (int64_t i = 0; i < search->n; i++)
            search->order[i] = fkmi_row(rows, i);
        fkmi_random_shuffle(&random, search->order, search->n);
        search->next = 0;
    }
    batch.order = search->order + search->next;
    batch.n = search->n - search->next < wanted ? search->n - search->next : wanted;
    search->next += batch.n;
    return batch;
}

static fkm_status grow_rate(struct search *search, const struct fkmi_rows *rows,
                            const struct fkmi_targets *targets, double *curve_rate, double *curve_loss,
                            int *n_curve)
{
    const struct fkmi_random steps = fkmi_random_split(search->random, STREAM_STEP);
    double average = 0, best = INFINITY;

    for (int t = 0; t < FKMI_SEARCH_STEPS; t++) {
        const double rate = FIRST_RATE * pow(LAST_RATE / FIRST_RATE, t / (double)(FKMI_SEARCH_STEPS - 1));
        const struct fkmi_rows batch = next_batch(search, rows);
        double loss = NAN;
        const fkm_status status =
            fkmi_train_step(search->context, search->params, &search->state, &search->trainer, &search->work,
                            &batch, targets, rate, fkmi_random_split(steps, (uint64_t)t), &loss);

        if (status == FKM_ESTATE && *n_curve > 0)
            return FKM_OK; /* not finite any more: the rate has gone too far */
        FKMI_TRY(status);
        average = SMOOTHING * average + (1 - SMOOTHING) * loss;
        curve_rate[t] = rate;
        curve_loss[t] = average / (1 - pow(SMOOTHING, t + 1));
        *n_curve = t + 1;
        if (curve_loss[t] > HOPELESS * best)
            return FKM_OK;
        if (curve_loss[t] < best)
            best = curve_loss[t];
    }
    return FKM_OK;
}

fkm_status fkmi_train_search(struct fkm_context *context, const fkm_params *params,
                             const struct fkmi_state *state, const struct fkmi_trainer *trainer,
                             const struct fkmi_rows *rows, const struct fkmi_targets *targets,
                             struct fkmi_random random, double *curve_rate, double *curve_loss, int *n_curve,
                             double *rate)
{
    fkm_status status = FKM_OK;
    struct search search = {
        .context = context, .params = params, .n = rows->n, .next = rows->n, .random = random};
    int lowest = 0;

    *n_curve = 0;
    if (rows->n == 0)
        return fkmi_fail(FKM_EINVAL, "the learning-rate search has 0 rows");
    FKMI_TRY_GOTO(fkmi_alloc(&search.order, rows->n, sizeof *search.order));
    FKMI_TRY_GOTO(fkmi_state_copy(&search.state, state));
    if (trainer->begun)
        FKMI_TRY_GOTO(fkmi_trainer_copy(&search.trainer, trainer));
    else
        FKMI_TRY_GOTO(fkmi_trainer_begin(&search.trainer, context, params, &search.state, rows, targets));
    FKMI_TRY_GOTO(grow_rate(&search, rows, targets, curve_rate, curve_loss, n_curve));
    for (int t = 1; t < *n_curve; t++)
        if (curve_loss[t] < curve_loss[lowest])
            lowest = t;
    *rate = fmin(fmax(curve_rate[lowest] / 10, LEAST), MOST);
done:
    fkmi_state_free(&search.state);
    fkmi_trainer_free(&search.trainer);
    fkmi_train_work_free(&search.work, context->backend);
    fkmi_free(search.order);
    return status;
}
