/* regressor.c — two stages: strata of the targets first, prototypes inside each stratum second.
 *
 * Strata are clusters of y (k_targets of them), or quantiles when k_targets is 'auto' and y is one number; 'auto'
 * takes ceil((2 n)^(1/3)) strata (Terrell & Scott 1985, the fewest bins a histogram of n values needs).
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "estimators/model.h"

enum { STRATA_PASSES = 100, ROWS_OF_STRATUM = 256, LEAST_ROWS = 8192 }; /* rows that tell where strata lie */

static fkm_status check_targets(const struct fkmi_learned *learned, const fkm_batch *batch, int64_t n)
{
    if (!batch->targets || batch->n_targets < 1)
        return fkmi_fail(FKM_EINVAL, "a regressor needs targets, the batch has %lld of them",
                         (long long)(batch->targets ? batch->n_targets : 0));
    if (learned->state.k > 0 && batch->n_targets != learned->state.n_targets)
        return fkmi_fail(FKM_EINVAL, "batch has %lld targets, the model expects %lld",
                         (long long)batch->n_targets, (long long)learned->state.n_targets);
    if (batch->n_targets > PTRDIFF_MAX / (int64_t)sizeof(double) / n)
        return fkmi_fail(FKM_EINVAL, "targets of %lld x %lld are larger than memory", (long long)n,
                         (long long)batch->n_targets);
    for (int64_t i = 0; i < n * batch->n_targets; i++) {
        FKMI_TRY(fkmi_check_every(1 << 20, i));
        if (!isfinite(batch->targets[i]))
            return fkmi_fail(FKM_EINVAL, "target %lld of row %lld is %g", (long long)(i % batch->n_targets),
                             (long long)(i / batch->n_targets), batch->targets[i]);
    }
    return FKM_OK;
}

/* Targets with mean 0 and variance 1 each; a constant target becomes 0. */
static fkm_status standardise(const double *y, int64_t n, int64_t m, double *out)
{
    for (int64_t t = 0; t < m; t++) {
        double mean = 0, square = 0, scale;
        FKMI_TRY(fkmi_check_interrupt());
        for (int64_t i = 0; i < n; i++)
            mean += y[i * m + t] / (double)n;
        for (int64_t i = 0; i < n; i++)
            square += (y[i * m + t] - mean) * (y[i * m + t] - mean) / (double)n;
        scale = square > 0 ? 1 / sqrt(square) : 0.0;
        for (int64_t i = 0; i < n; i++)
            out[i * m + t] = (y[i * m + t] - mean) * scale;
    }
    return FKM_OK;
}

struct ranked {
    double value;
    int64_t row;
};

static int by_value(const void *a, const void *b)
{
    const struct ranked *left = a, *right = b;

    if (left->value != right->value)
        return left->value < right->value ? -1 : 1;
    return left->row < right->row ? -1 : left->row > right->row;
}

/* Equal values share a stratum; the boundaries are the quantiles. */
static fkm_status strata_by_quantile(const double *y, int64_t n, int64_t k, int32_t *slot)
{
    struct ranked *ranked;
    int32_t stratum = 0;
    int64_t taken = 0;

    FKMI_TRY(fkmi_alloc(&ranked, n, sizeof *ranked));
    for (int64_t i = 0; i < n; i++)
        ranked[i] = (struct ranked){y[i], i};
    qsort(ranked, (size_t)n, sizeof *ranked, by_value);
    for (int64_t i = 0; i < n; i++) {
        if (i > 0 && ranked[i].value != ranked[i - 1].value && taken > 0 &&
            i * k >= n * (int64_t)(stratum + 1)) {
            stratum++;
            taken = 0;
        }
        slot[ranked[i].row] = stratum;
        taken++;
    }
    fkmi_free(ranked);
    return FKM_OK;
}

/* So many rows for each of k strata: enough to find their centres. One of each of as many parts of all, whichever period
 * rows have. *order: theirs, to be freed. */
static fkm_status pick_some(const struct fkmi_rows *all, int64_t k, int64_t **order, struct fkmi_rows *some)
{
    const int64_t wanted = k * ROWS_OF_STRATUM > LEAST_ROWS ? k * ROWS_OF_STRATUM : LEAST_ROWS;
    struct fkmi_random random = fkmi_random_from((uint64_t)all->n);

    *some = *all;
    if (all->n <= wanted)
        return FKM_OK;
    FKMI_TRY(fkmi_alloc(order, wanted, sizeof **order));
    for (int64_t i = 0; i < wanted; i++) {
        const double place = ((double)i + fkmi_random_uniform(&random)) * ((double)all->n / (double)wanted);

        (*order)[i] = place < (double)all->n ? (int64_t)place : all->n - 1;
    }
    *some = fkmi_rows_pick(all, *order, wanted);
    return FKM_OK;
}

/* Sorted values of the rows of a view with one column, and what those before each weigh and add up to (n + 1 each). */
struct line {
    struct ranked *value;
    double *weight, *sum;
    int64_t n;
};

static void free_line(struct line *line)
{
    fkmi_free(line->value);
    fkmi_free(line->weight);
    fkmi_free(line->sum);
}

static fkm_status make_line(const struct fkmi_rows *rows, struct line *line)
{
    FKMI_TRY(fkmi_alloc(&line->value, rows->n, sizeof *line->value));
    FKMI_TRY(fkmi_alloc(&line->weight, rows->n + 1, sizeof *line->weight));
    FKMI_TRY(fkmi_alloc(&line->sum, rows->n + 1, sizeof *line->sum));
    line->n = rows->n;
    for (int64_t i = 0; i < rows->n; i++)
        line->value[i] = (struct ranked){((const double *)rows->x)[fkmi_row(rows, i)], i};
    qsort(line->value, (size_t)rows->n, sizeof *line->value, by_value);
    for (int64_t i = 0; i < rows->n; i++) {
        const double u = fkmi_row_weight(rows, line->value[i].row);

        line->weight[i + 1] = line->weight[i] + u;
        line->sum[i + 1] = line->sum[i] + u * line->value[i].value;
    }
    return FKM_OK;
}

/* How many values are at most this. */
static int64_t values_up_to(const struct line *line, double most)
{
    int64_t low = 0, high = line->n;

    while (low < high) {
        const int64_t middle = low + (high - low) / 2;

        if (line->value[middle].value <= most)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* k-means of one number a row: clusters are stretches of the sorted values, so that a pass only looks for their ends. */
static fkm_status cluster_line(const struct fkmi_rows *rows, double *points, int64_t k)
{
    struct line line = {0};
    struct ranked *centre = NULL;
    bool moved = true;
    fkm_status status = FKM_OK;

    FKMI_TRY_GOTO(make_line(rows, &line));
    FKMI_TRY_GOTO(fkmi_alloc(&centre, k, sizeof *centre));
    for (int64_t j = 0; j < k; j++)
        centre[j] = (struct ranked){points[j], j};
    qsort(centre, (size_t)k, sizeof *centre, by_value);
    for (int pass = 0; pass < STRATA_PASSES && moved; pass++) {
        int64_t begin = 0;

        moved = false;
        for (int64_t j = 0; j < k; j++) {
            const double most = j + 1 < k ? centre[j].value / 2 + centre[j + 1].value / 2 : INFINITY;
            const int64_t up_to = values_up_to(&line, most), end = up_to > begin ? up_to : begin;
            const double weight = line.weight[end] - line.weight[begin];
            const double mean = weight > 0 ? (line.sum[end] - line.sum[begin]) / weight : centre[j].value;

            moved = moved || mean != centre[j].value;
            centre[j].value = mean;
            begin = end;
        }
    }
    for (int64_t j = 0; j < k; j++)
        points[centre[j].row] = centre[j].value;
done:
    free_line(&line);
    fkmi_free(centre);
    return status;
}

/* Clusters of y in double precision, by the library's own phase 1. */
static fkm_status strata_by_clustering(const fkm_model *model, const double *y, const float *weight,
                                       int64_t n, int64_t m, int64_t k, int32_t *slot)
{
    fkm_status status = FKM_OK;
    struct fkm_context *context = model->context;
    fkm_params params = FKM_PARAMS_INIT;
    struct fkmi_state state = {.dtype = FKM_DTYPE_F64, .dim = m, .scale = 1};
    struct fkmi_space space;
    struct fkmi_phase1 work = {0};
    struct fkmi_pack *pack = NULL;
    const struct fkmi_rows rows = {
        .n = n, .dim = m, .dtype = FKM_DTYPE_F64, .x = y, .stride = m, .weight = weight};
    const bool on_line = m == 1 && model->params.target_metric != FKM_METRIC_COSINE;
    struct fkmi_rows some;
    int64_t *order = NULL;
    const struct fkmi_random random =
        fkmi_random_split(fkmi_model_random(model, FKMI_STREAM_SEED, 0), UINT64_MAX);
    double *points = NULL, *distance = NULL;
    int64_t n_passes;

    params.task = FKM_TASK_CLUSTER;
    params.metric = model->params.target_metric;
    params.dtype = FKM_DTYPE_F64;
    params.min_weight = 0;
    space = fkmi_state_space(&state, params.metric);
    FKMI_TRY_GOTO(pick_some(&rows, k, &order, &some));
    FKMI_TRY_GOTO(fkmi_alloc(&points, k * m, sizeof *points));
    FKMI_TRY_GOTO(fkmi_seed(context, &space, &some, FKM_INIT_KMEANSPP, k, random, points, &k));
    if (on_line)
        FKMI_TRY_GOTO(cluster_line(&some, points, k));
    FKMI_TRY_GOTO(fkmi_state_add_class(&state, context->kernels, 0, points, NULL, k));
    memset(slot, 0, (size_t)n * sizeof *slot);
    if (!on_line)
        FKMI_TRY_GOTO(fkmi_lloyd(context, &params, &state, &work, &some, slot, NULL, STRATA_PASSES, 1e-9,
                                 random, NULL, NULL, &n_passes));
    space = fkmi_state_space(&state, params.metric);
    FKMI_TRY_GOTO(context->backend->pack(context, &space, state.dtype, state.points, state.k, false, &pack));
    FKMI_TRY_GOTO(fkmi_alloc(&distance, n, sizeof *distance));
    FKMI_TRY_GOTO(context->backend->scan(
        context, &rows, pack,
        &(struct fkmi_scan){.kind = FKMI_SCAN_NEAREST, .index = slot, .distance = distance}));
done:
    context->backend->pack_free(pack);
    fkmi_phase1_free(&work, context->backend);
    fkmi_state_free(&state);
    fkmi_free(points);
    fkmi_free(order);
    fkmi_free(distance);
    return status;
}

/* Renumbers the strata that have rows and computes their centres. */
static fkm_status number_strata(const double *y, int64_t n, int64_t m, int64_t k, int32_t *slot,
                                struct fkmi_lesson *lesson)
{
    fkm_status status = FKM_OK;
    int32_t *number = NULL, n_strata = 0;
    double *count = NULL, *centre = NULL;

    FKMI_TRY_GOTO(fkmi_alloc(&number, k, sizeof *number));
    FKMI_TRY_GOTO(fkmi_alloc(&count, k, sizeof *count));
    for (int64_t i = 0; i < n; i++)
        count[slot[i]]++;
    for (int64_t c = 0; c < k; c++)
        number[c] = count[c] > 0 ? n_strata++ : -1;
    FKMI_TRY_GOTO(fkmi_alloc(&centre, n_strata * m, sizeof *centre));
    for (int64_t i = 0; i < n; i++) {
        const int32_t old = slot[i];
        FKMI_TRY_GOTO(fkmi_check_every(4096, i));
        slot[i] = number[old];
        for (int64_t t = 0; t < m; t++)
            centre[slot[i] * m + t] += y[i * m + t] / count[old];
    }
    lesson->strata = centre;
    lesson->n_strata = n_strata;
    centre = NULL;
done:
    fkmi_free(number);
    fkmi_free(count);
    fkmi_free(centre);
    return status;
}

static fkm_status find_strata(const fkm_model *model, const fkm_batch *batch, struct fkmi_lesson *lesson)
{
    fkm_status status = FKM_OK;
    const int64_t n = lesson->base.n, m = batch->n_targets;
    const bool automatic = model->params.k_targets == FKM_K_AUTO;
    int64_t k = automatic ? (int64_t)ceil(cbrt(2.0 * (double)n)) : model->params.k_targets;
    double *standard = NULL;

    k = model->start.k > 0 ? 1 : k > n ? n : k; /* starting prototypes come without strata */
    FKMI_TRY_GOTO(fkmi_alloc(&standard, n * m, sizeof *standard));
    if (model->params.target_metric == FKM_METRIC_COSINE)
        memcpy(standard, batch->targets, (size_t)(n * m) * sizeof *standard);
    else
        FKMI_TRY_GOTO(standardise(batch->targets, n, m, standard));
    if (k == 1)
        memset(lesson->slot, 0, (size_t)n * sizeof *lesson->slot);
    else if (automatic && m == 1)
        FKMI_TRY_GOTO(strata_by_quantile(standard, n, k, lesson->slot));
    else
        FKMI_TRY_GOTO(strata_by_clustering(model, standard, lesson->base.weight, n, m, k, lesson->slot));
    FKMI_TRY_GOTO(number_strata(batch->targets, n, m, k, lesson->slot, lesson));
done:
    fkmi_free(standard);
    return status;
}

/* The stratum whose centre is nearest, each target in units of the strata's own spread. */
static fkm_status nearest_strata(const struct fkmi_state *state, const fkm_batch *batch, int64_t n,
                                 int32_t *slot)
{
    const int64_t m = state->n_targets, k = state->n_classes;
    fkm_status status = FKM_OK;
    double *unit;

    FKMI_TRY(fkmi_alloc(&unit, m, sizeof *unit));
    for (int64_t t = 0; t < m; t++) {
        double mean = 0, square = 0;
        for (int64_t c = 0; c < k; c++)
            mean += state->strata[c * m + t] / (double)k;
        for (int64_t c = 0; c < k; c++)
            square += (state->strata[c * m + t] - mean) * (state->strata[c * m + t] - mean);
        unit[t] = square > 0 ? 1 / square : 0.0;
    }
    for (int64_t i = 0; i < n; i++) {
        double best = INFINITY;
        FKMI_TRY_GOTO(fkmi_check_every(64, i));
        for (int64_t c = 0; c < k; c++) {
            double d = 0;
            for (int64_t t = 0; t < m; t++) {
                const double e = batch->targets[i * m + t] - state->strata[c * m + t];
                d += e * e * unit[t];
            }
            if (d < best) {
                best = d;
                slot[i] = (int32_t)c;
            }
        }
    }
done:
    fkmi_free(unit);
    return status;
}

static fkm_status read(const fkm_model *model, struct fkmi_learned *learned, const fkm_batch *batch,
                       bool grow, struct fkmi_lesson *lesson)
{
    const int64_t n = lesson->base.n;

    FKMI_TRY(check_targets(learned, batch, n));
    lesson->targets.values = batch->targets;
    lesson->targets.n_targets = batch->n_targets;
    if (!grow)
        return FKM_OK;
    FKMI_TRY(fkmi_alloc(&lesson->slot, n, sizeof *lesson->slot));
    if (learned->state.k > 0)
        return nearest_strata(&learned->state, batch, n, lesson->slot);
    FKMI_TRY(find_strata(model, batch, lesson));
    for (int64_t c = learned->classes.n; c < lesson->n_strata; c++)
        FKMI_TRY(fkmi_classes_add(&learned->classes, c));
    return FKM_OK;
}

static int32_t k_wanted(const fkm_model *model, int64_t label)
{
    (void)label;
    return model->params.k_features;
}

struct score_job {
    const struct fkmi_state *state;
    const struct fkmi_lesson *lesson;
    double *error; /* by row: weighted squared error, each target over its own variance */
    const double *unit;
};

static void score_row(void *argument, int64_t row, const struct fkmi_candidates *candidates, double *scratch)
{
    const struct score_job *job = argument;
    const int64_t m = job->state->n_targets;
    const double *y = job->lesson->targets.values + fkmi_row(&job->lesson->rows, row) * m;
    double error = 0;

    (void)scratch;
    for (int64_t t = 0; t < m; t++) {
        double e = -y[t];
        for (int64_t c = 0; c < candidates->width; c++)
            if (candidates->index[c] >= 0)
                e += candidates->weight[c] * job->state->targets[candidates->index[c] * m + t];
        error += e * e * job->unit[t];
    }
    job->error[row] = fkmi_row_weight(&job->lesson->rows, row) * error;
}

/* Minus the root of the mean squared error, each target in units of its standard deviation. */
static fkm_status score(const struct fkmi_oracle *oracle, const struct fkmi_lesson *lesson, double *out)
{
    fkm_status status = FKM_OK;
    const int64_t n = lesson->rows.n, m = oracle->state->n_targets;
    struct score_job job = {oracle->state, lesson, NULL, NULL};
    double *unit = NULL, sum = 0, weight = 0;

    FKMI_TRY_GOTO(fkmi_alloc(&unit, m, sizeof *unit));
    FKMI_TRY_GOTO(fkmi_alloc(&job.error, n, sizeof *job.error));
    for (int64_t t = 0; t < m; t++) {
        double mean = 0, square = 0;
        FKMI_TRY_GOTO(fkmi_check_interrupt());
        for (int64_t i = 0; i < n; i++)
            mean += lesson->targets.values[fkmi_row(&lesson->rows, i) * m + t] / (double)n;
        for (int64_t i = 0; i < n; i++) {
            const double e = lesson->targets.values[fkmi_row(&lesson->rows, i) * m + t] - mean;
            square += e * e / (double)n;
        }
        unit[t] = square > 0 ? 1 / square : 1.0;
    }
    job.unit = unit;
    FKMI_TRY_GOTO(fkmi_oracle_each(oracle, &lesson->rows, oracle->params->top_k, 0, score_row, &job));
    for (int64_t i = 0; i < n; i++) {
        sum += job.error[i];
        weight += fkmi_row_weight(&lesson->rows, i);
    }
    *out = weight > 0 ? -sqrt(sum / weight / (double)m) : 0.0;
done:
    fkmi_free(unit);
    fkmi_free(job.error);
    return status;
}

const struct fkmi_estimator fkmi_regressor = {
    .name = "regressor", .read = read, .k_wanted = k_wanted, .score = score};
