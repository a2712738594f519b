/* seeding.c — the first prototypes of classes that have none, and what a state keeps per class beside them.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "estimators/model.h"
#include "prototypes/lists.h"

#define LARGE_CLASS 4e6 /* bytes */

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
    int64_t *seed_at;     /* by class: first of its rows in seeds */
    int64_t *seeds;       /* rows of the class's view */
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
                                      .dtype = start->wide ? FKM_DTYPE_F64 : FKM_DTYPE_F32,
                                      .stride = start->dim,
                                      .x = start->wide ? (const void *)(start->wide + i * start->dim)
                                                       : (const void *)(start->points + i * start->dim)};
        if (starts_here(start, i, seeding->label[c]) && n < seeding->k[c])
            fkmi_row_load(&one, &seeding->space, 0, points + (size_t)(n++ * start->dim) * real_size);
    }
    return FKM_OK;
}

static bool is_given(const struct seeding *seeding, int64_t c)
{
    const struct fkmi_start *start = &seeding->model->start;
    bool given = false;

    for (int64_t i = 0; i < start->k && !given; i++)
        given = starts_here(start, i, seeding->label[c]);
    return given;
}

static fkm_status seed(void *job, int64_t begin, int64_t end, int thread)
{
    struct seeding *seeding = job;
    fkm_model *model = seeding->model;

    (void)thread;
    for (int64_t c = begin; c < end; c++) {
        const struct fkmi_rows rows = class_rows(seeding, c);

        if (!is_given(seeding, c))
            FKMI_TRY(fkmi_seed_rows(
                model->context, &seeding->space, &rows, model->params.init, seeding->k[c],
                fkmi_random_split(fkmi_model_random(model, FKMI_STREAM_SEED, 1), (uint64_t)seeding->label[c]),
                FKMI_SCREEN_IF_WORTH, seeding->seeds + seeding->seed_at[c], &seeding->k[c]));
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

/* Classes in parallel when there are many, one after the other (parallel inside) when there are few, or when those of
 * several threads would drive each other out of the caches. */
static fkm_status over_classes(struct seeding *seeding, fkmi_range_fn *body)
{
    const int64_t n = seeding->n_new;
    const struct fkmi_rows *base = seeding->base;
    const double bytes = (double)seeding->begin[n] * (double)base->dim * (double)fkmi_dtype_size(base->dtype);
    struct fkmi_pool *pool = seeding->model->context->pool;

    if (n >= 4 * fkmi_pool_threads(pool) && (fkmi_rows_sparse(base) || bytes < (double)n * LARGE_CLASS))
        return fkmi_parallel(pool, n, 1, body, seeding);
    return body(seeding, 0, n, 0);
}

/* Appends class c to the state; points: room for k[c] x dim reals. */
static fkm_status add_class(const struct seeding *seeding, const struct fkmi_lesson *lesson, int64_t c,
                            char *points, double *targets)
{
    struct fkmi_state *state = &seeding->learned->state;
    const struct fkmi_rows rows = class_rows(seeding, c);
    const int64_t *seeds = seeding->seeds + seeding->seed_at[c];
    const fkm_model *model = seeding->model;

    if (targets)
        stratum_targets(seeding, lesson, c, targets);
    if (state->listed)
        return fkmi_state_add_rows(state, &seeding->space, seeding->label[c], &rows, seeds, targets,
                                   seeding->k[c]);
    if (is_given(seeding, c))
        FKMI_TRY(take_start(seeding, c, points));
    else
        FKMI_TRY(fkmi_seed_points(model->context, &seeding->space, &rows, seeds, seeding->k[c], points));
    return fkmi_state_add_class(state, model->context->kernels, seeding->label[c], points, targets,
                                seeding->k[c]);
}

static fkm_status add_classes(const struct seeding *seeding, const struct fkmi_lesson *lesson)
{
    struct fkmi_state *state = &seeding->learned->state;
    fkm_status status = FKM_OK;
    int64_t found = 0, most = 0;
    double *targets = NULL;
    char *points = NULL;

    for (int64_t c = 0; c < seeding->n_new; c++) {
        found += seeding->k[c];
        most = most < seeding->k[c] ? seeding->k[c] : most;
    }
    if (state->k + found <= INT32_MAX)
        FKMI_TRY_GOTO(fkmi_state_reserve(state, state->k + found, seeding->learned->classes.n));
    if (lesson->strata)
        FKMI_TRY_GOTO(fkmi_alloc(&targets, most * state->n_targets, sizeof *targets));
    if (!state->listed)
        FKMI_TRY_GOTO(fkmi_alloc(&points, most * state->dim, fkmi_real_size(seeding->space.real)));
    for (int64_t c = 0; c < seeding->n_new; c++)
        FKMI_TRY_GOTO(add_class(seeding, lesson, c, points, targets));
done:
    fkmi_free(targets);
    fkmi_free(points);
    return status;
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
    int64_t total = 0;

    if (seeding.n_new == 0)
        return FKM_OK;
    FKMI_TRY_GOTO(fkmi_alloc(&seeding.begin, seeding.n_new + 1, sizeof *seeding.begin));
    FKMI_TRY_GOTO(fkmi_alloc(&seeding.k, seeding.n_new, sizeof *seeding.k));
    FKMI_TRY_GOTO(fkmi_alloc(&seeding.seed_at, seeding.n_new, sizeof *seeding.seed_at));
    seeding.label = learned->classes.by_slot + first;
    FKMI_TRY_GOTO(group_rows(&seeding, lesson));
    FKMI_TRY_GOTO(over_classes(&seeding, want));
    FKMI_TRY_GOTO(respect_k_max(&seeding));
    for (int64_t c = 0; c < seeding.n_new; c++) {
        seeding.seed_at[c] = total;
        total += seeding.k[c];
    }
    if (model->start.k == 0 && state->k == 0)
        state->listed = fkmi_lists_pay(&model->params, &lesson->view, total);
    FKMI_TRY_GOTO(fkmi_alloc(&seeding.seeds, total, sizeof *seeding.seeds));
    FKMI_TRY_GOTO(over_classes(&seeding, seed));
    fkmi_scratch_trim(model->context); /* the scans to come see all rows */
    FKMI_TRY_GOTO(add_classes(&seeding, lesson));
    FKMI_TRY_GOTO(dress_classes(model, state, lesson, first));
done:
    if (status != FKM_OK)
        fkmi_state_truncate(state, first);
    fkmi_free(seeding.begin);
    fkmi_free(seeding.order);
    fkmi_free(seeding.k);
    fkmi_free(seeding.seed_at);
    fkmi_free(seeding.seeds);
    return status;
}
