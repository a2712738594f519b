/* prior.c — where the scores of tags begin: beta such that the mean of sigmoid(slope z + beta) over the rows is the tag's
 * share of them, by Newton's method kept inside a bracket, and one slope for all tags such that the logistic loss
 * is least, by bisection: the loss is convex in it. For the slope, n rows that have a tag say (n + 1) / (n + 2) and those
 * without 1 / (n + 2), so that few rows do not pretend to know (Platt 1999). Rows are thinned out evenly when there are more
 * scores than a few million; tags come in groups, and what is kept of all rows is one group's scores. The slope is that of the
 * first group: tags that were met first, so mostly the frequent ones.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "train/step.h"

static const double LEAST_SLOPE = 1.0 / 16, MOST_SLOPE = 64;
enum { SLOPE_STEPS = 14 };
enum { SCORES_AT_ONCE = 1 << 18, SCAN_AT_ONCE = 1 << 15, MOST_STEPS = 60 };

struct column {         /* a tag of the group */
    double rows, score; /* that have it: how many, sum of their scores */
    double pull;        /* derivative of the loss by the slope */
    double beta;        /* of the last slope looked at, where the next begins */
};
struct prior_job {
    int64_t n;
    int64_t first, group; /* tags of the group; first is the tag of column 0 */
    float *score;         /* n x group: -d / tau of the nearest prototype */
    const double *weight; /* n */
    const double *share;  /* by tag */
    double total, *beta;
    double slope;
    bool steps; /* betas that are numbers go a step */
    struct column *column;
};

static double logit(double p) { return log(p / (1 - p)); }

/* Mean of sigmoid(slope score + beta) over the rows; *slope is its derivative by beta. */
static double mean_of(const struct prior_job *job, int64_t column, double beta, double *slope)
{
    double mean = 0;

    *slope = 0;
    for (int64_t i = 0; i < job->n; i++) {
        const double p = 1 / (1 + exp(-(job->slope * (double)job->score[i * job->group + column] + beta)));

        mean += job->weight[i] * p;
        *slope += job->weight[i] * p * (1 - p);
    }
    *slope /= job->total;
    return mean / job->total;
}

/* The beta at which that mean is the share; Newton's method begins at start where that can be. */
static double solve_column(const struct prior_job *job, int64_t column, double share, double start)
{
    double least = INFINITY, most = -INFINITY, low, high, beta;

    for (int64_t i = 0; i < job->n; i++) {
        const double z = job->slope * (double)job->score[i * job->group + column];

        least = z < least ? z : least;
        most = z > most ? z : most;
    }
    low = logit(share) - most; /* every p is at most the share; and the other way round */
    high = logit(share) - least;
    beta = start > low && start < high ? start : low;
    for (int step = 0; step < MOST_STEPS && high - low > 1e-9 * (1 + fabs(low)); step++) {
        double slope, error = mean_of(job, column, beta, &slope) - share, next;

        if (error > 0)
            high = beta;
        else
            low = beta;
        next = beta - error / slope;
        if (fabs(error) < 1e-10)
            break;
        beta = next > low && next < high ? next : (low + high) / 2;
    }
    return beta;
}

/* From a beta that stands for other rows towards these: exact for scores that are all equal, and it never runs away. */
static double step_column(const struct prior_job *job, int64_t column, double share, double beta)
{
    double slope;
    const double mean = mean_of(job, column, beta, &slope);

    return mean > 0 && mean < 1 ? beta + logit(share) - logit(mean)
                                : solve_column(job, column, share, -INFINITY);
}

static fkm_status solve(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct prior_job *job = argument;

    (void)thread;
    for (int64_t column = begin; column < end; column++) {
        double *beta = &job->beta[job->first + column];
        const double share = job->share[job->first + column];

        *beta = job->steps && !isnan(*beta) ? step_column(job, column, share, *beta)
                                            : solve_column(job, column, share, -INFINITY);
    }
    return FKM_OK;
}

/* ---- the slope */

/* dL/dslope = sum u (p - t) z, at the beta that goes with the slope; t is what a row says of the tag. */
static fkm_status pull(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct prior_job *job = argument;

    (void)thread;
    for (int64_t column = begin; column < end; column++) {
        struct column *tag = &job->column[column];
        const double n = (double)job->n, with = (tag->rows + 1) / (tag->rows + 2),
                     without = 1 / (n - tag->rows + 2);
        const double share = (tag->rows * with + (n - tag->rows) * without) / n;
        const double beta = tag->beta = solve_column(job, column, share, tag->beta);

        tag->pull = (without - with) * tag->score;
        for (int64_t i = 0; i < job->n; i++) {
            const double z = (double)job->score[i * job->group + column];

            tag->pull += job->weight[i] * z * (1 / (1 + exp(-(job->slope * z + beta))) - without);
        }
    }
    return FKM_OK;
}

static void meet(struct prior_job *job, const struct fkmi_rows *sample, const struct fkmi_targets *targets)
{
    for (int64_t i = 0; i < job->n; i++) {
        const int64_t row = fkmi_row(sample, i);

        for (int64_t t = targets->tag_indptr[row]; t < targets->tag_indptr[row + 1]; t++) {
            const int64_t column = targets->tag_slot[t] - job->first;

            if (column < 0 || column >= job->group)
                continue;
            job->column[column].rows += job->weight[i] * (double)job->n / job->total;
            job->column[column].score += job->weight[i] * (double)job->score[i * job->group + column];
        }
    }
}

static fkm_status find_slope(struct fkm_context *context, struct prior_job *job,
                             const struct fkmi_rows *sample, const struct fkmi_targets *targets)
{
    double low = log(LEAST_SLOPE), high = log(MOST_SLOPE);

    meet(job, sample, targets);
    for (int step = 0; step < SLOPE_STEPS; step++) {
        double sum = 0;

        job->slope = exp((low + high) / 2);
        FKMI_TRY(fkmi_parallel(context->pool, job->group, 8, pull, job));
        for (int64_t column = 0; column < job->group; column++)
            sum += job->column[column].pull;
        if (sum > 0)
            high = log(job->slope);
        else
            low = log(job->slope);
    }
    return FKM_OK;
}

/* Each tag's share of the rows' weight; a tag of none or all of them is taken for half a row less sure. */
static void shares(const struct fkmi_rows *rows, const struct fkmi_targets *targets, int64_t n_classes,
                   double *share)
{
    double total = 0;

    for (int64_t i = 0; i < rows->n; i++) {
        const int64_t row = fkmi_row(rows, i);

        total += fkmi_row_weight(rows, i);
        for (int64_t t = targets->tag_indptr[row]; t < targets->tag_indptr[row + 1]; t++)
            share[targets->tag_slot[t]] += fkmi_row_weight(rows, i);
    }
    for (int64_t c = 0; c < n_classes; c++) {
        const double least = 0.5 / (double)(rows->n + 1);

        share[c] = total > 0 ? share[c] / total : 0.5;
        share[c] = share[c] < least ? least : share[c] > 1 - least ? 1 - least : share[c];
    }
}

/* Scores of the group's tags. */
static fkm_status score_rows(struct fkm_context *context, const struct fkmi_pack *pack,
                             const struct fkmi_state *state, const struct fkmi_routing *routing,
                             const struct fkmi_rows *rows, int64_t at_a_time, int32_t *index,
                             double *distance, const struct prior_job *job)
{
    const int64_t n_classes = state->n_classes;

    for (int64_t begin = 0; begin < rows->n; begin += at_a_time) {
        const int64_t n = rows->n - begin < at_a_time ? rows->n - begin : at_a_time;
        const struct fkmi_rows block = fkmi_rows_slice(rows, begin, n);

        FKMI_TRY(context->backend->scan(context, &block, pack,
                                        &(struct fkmi_scan){.kind = FKMI_SCAN_CLASSES,
                                                            .class_begin = state->class_begin,
                                                            .n_classes = n_classes,
                                                            .index = index,
                                                            .distance = distance}));
        for (int64_t i = 0; i < n; i++)
            for (int64_t column = 0; column < job->group; column++) {
                const int64_t at = i * n_classes + job->first + column;

                job->score[(begin + i) * job->group + column] =
                    index[at] < 0 ? 0.0f : (float)(-distance[at] / fkmi_routing_tau(routing, index[at]));
            }
    }
    return FKM_OK;
}

fkm_status fkmi_prior(struct fkm_context *context, const struct fkmi_state *state,
                      const struct fkmi_pack *pack, const struct fkmi_routing *routing,
                      const struct fkmi_rows *rows, const struct fkmi_targets *targets, int64_t most_scores,
                      double *slope, double *beta)
{
    fkm_status status = FKM_OK;
    const int64_t n_classes = state->n_classes, most = most_scores / n_classes + 1;
    const int64_t n = rows->n < most ? rows->n : most;
    const int64_t at_once = SCAN_AT_ONCE / n_classes + 1, at_a_time = n < at_once ? n : at_once;
    const int64_t in_groups = SCORES_AT_ONCE / (n + 1) + 1,
                  most_tags = n_classes < in_groups ? n_classes : in_groups;
    struct fkmi_rows sample = *rows;
    struct fkmi_routing unit = *routing;
    struct prior_job job = {.n = n, .beta = beta, .slope = 1};
    double *weight = NULL, *share = NULL, *distance = NULL;
    int64_t *order = NULL;
    int32_t *index = NULL;

    if (slope) { /* which takes the temperature's place, whatever that is */
        unit.temperature = 1;
        job.steps = *slope != 0;
        job.slope = *slope / routing->temperature;
    }
    FKMI_TRY_GOTO(fkmi_alloc(&weight, n, sizeof *weight));
    FKMI_TRY_GOTO(fkmi_alloc(&share, n_classes, sizeof *share));
    FKMI_TRY_GOTO(fkmi_alloc(&order, n, sizeof *order));
    FKMI_TRY_GOTO(fkmi_alloc(&index, at_a_time * n_classes, sizeof *index));
    FKMI_TRY_GOTO(fkmi_alloc(&distance, at_a_time * n_classes, sizeof *distance));
    FKMI_TRY_GOTO(fkmi_alloc(&job.score, n * most_tags, sizeof *job.score));
    FKMI_TRY_GOTO(fkmi_alloc(&job.column, most_tags, sizeof *job.column));
    for (int64_t i = 0; i < n; i++) {
        const int64_t chosen = (int64_t)((double)i * ((double)rows->n / (double)n));

        order[i] = fkmi_row(rows, chosen);
        weight[i] = fkmi_row_weight(rows, chosen);
        job.total += weight[i];
    }
    sample.n = n;
    sample.order = order;
    if (!(job.total > 0)) { /* rows without weight say nothing about the mean */
        for (int64_t i = 0; i < n; i++)
            weight[i] = 1;
        job.total = (double)n;
    }
    shares(rows, targets, n_classes, share);
    job.weight = weight;
    job.share = share;
    for (job.first = 0; job.first < n_classes; job.first += most_tags) {
        job.group = n_classes - job.first < most_tags ? n_classes - job.first : most_tags;
        FKMI_TRY_GOTO(score_rows(context, pack, state, &unit, &sample, at_a_time, index, distance, &job));
        if (slope && *slope == 0 && job.first == 0)
            FKMI_TRY_GOTO(find_slope(context, &job, &sample, targets));
        FKMI_TRY_GOTO(fkmi_parallel(context->pool, job.group, 8, solve, &job));
    }
    if (slope)
        *slope = job.slope * routing->temperature;
done:
    fkmi_free(weight);
    fkmi_free(share);
    fkmi_free(order);
    fkmi_free(index);
    fkmi_free(distance);
    fkmi_free(job.score);
    fkmi_free(job.column);
    return status;
}
