/* prior.c — where the offsets of tags begin: beta such that the mean of sigmoid(z + beta) over the rows is
 * the tag's share of them. Newton's method, kept inside a bracket. Rows are thinned out evenly when there are
 * more scores than a few million; tags come in groups, and what is kept of all rows is one group's scores.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "train/step.h"

enum { MOST_SCORES = 1 << 21, SCORES_AT_ONCE = 1 << 18, SCAN_AT_ONCE = 1 << 15, MOST_STEPS = 60 };

struct prior_job {
    int64_t n;
    int64_t first, group; /* tags of the group; first is the tag of column 0 */
    float *score;         /* n x group: -d / tau of the nearest prototype */
    const double *weight; /* n */
    const double *share;  /* by tag */
    double total, *beta;
};

/* Mean of sigmoid(score + beta) over the rows, minus the share; *slope is its derivative. */
static double excess(const struct prior_job *job, int64_t column, double beta, double *slope)
{
    double mean = 0;

    *slope = 0;
    for (int64_t i = 0; i < job->n; i++) {
        const double p = 1 / (1 + exp(-((double)job->score[i * job->group + column] + beta)));

        mean += job->weight[i] * p;
        *slope += job->weight[i] * p * (1 - p);
    }
    *slope /= job->total;
    return mean / job->total - job->share[job->first + column];
}

static fkm_status solve(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct prior_job *job = argument;

    (void)thread;
    for (int64_t column = begin; column < end; column++) {
        const int64_t tag = job->first + column;
        const double logit = log(job->share[tag] / (1 - job->share[tag]));
        double least = INFINITY, most = -INFINITY, low, high, beta;

        for (int64_t i = 0; i < job->n; i++) {
            const double z = (double)job->score[i * job->group + column];

            least = z < least ? z : least;
            most = z > most ? z : most;
        }
        low = logit - most; /* every p is at most the share; and the other way round */
        high = logit - least;
        beta = low;
        for (int step = 0; step < MOST_STEPS && high - low > 1e-9 * (1 + fabs(low)); step++) {
            double slope, error = excess(job, column, beta, &slope), next;

            if (error > 0)
                high = beta;
            else
                low = beta;
            next = beta - error / slope;
            if (fabs(error) < 1e-10)
                break;
            beta = next > low && next < high ? next : (low + high) / 2;
        }
        job->beta[tag] = beta;
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

fkm_status fkmi_prior_beta(struct fkm_context *context, const struct fkmi_state *state,
                           const struct fkmi_space *space, const struct fkmi_routing *routing,
                           const struct fkmi_rows *rows, const struct fkmi_targets *targets, double *beta)
{
    fkm_status status = FKM_OK;
    const int64_t n_classes = state->n_classes, most = MOST_SCORES / n_classes + 1;
    const int64_t n = rows->n < most ? rows->n : most;
    const int64_t at_once = SCAN_AT_ONCE / n_classes + 1, at_a_time = n < at_once ? n : at_once;
    const int64_t in_groups = SCORES_AT_ONCE / (n + 1) + 1,
                  most_tags = n_classes < in_groups ? n_classes : in_groups;
    struct fkmi_rows sample = *rows;
    struct fkmi_pack *pack = NULL;
    struct prior_job job = {.n = n, .beta = beta};
    double *weight = NULL, *share = NULL, *distance = NULL;
    int64_t *order = NULL;
    int32_t *index = NULL;

    FKMI_TRY_GOTO(fkmi_alloc(&weight, n, sizeof *weight));
    FKMI_TRY_GOTO(fkmi_alloc(&share, n_classes, sizeof *share));
    FKMI_TRY_GOTO(fkmi_alloc(&order, n, sizeof *order));
    FKMI_TRY_GOTO(fkmi_alloc(&index, at_a_time * n_classes, sizeof *index));
    FKMI_TRY_GOTO(fkmi_alloc(&distance, at_a_time * n_classes, sizeof *distance));
    FKMI_TRY_GOTO(fkmi_alloc(&job.score, n * most_tags, sizeof *job.score));
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
    FKMI_TRY_GOTO(context->backend->pack(context, space, state->dtype, state->points, state->k,
                                         rows->mask != NULL, &pack));
    shares(rows, targets, n_classes, share);
    job.weight = weight;
    job.share = share;
    for (job.first = 0; job.first < n_classes; job.first += most_tags) {
        job.group = n_classes - job.first < most_tags ? n_classes - job.first : most_tags;
        FKMI_TRY_GOTO(score_rows(context, pack, state, routing, &sample, at_a_time, index, distance, &job));
        FKMI_TRY_GOTO(fkmi_parallel(context->pool, job.group, 8, solve, &job));
    }
done:
    context->backend->pack_free(pack);
    fkmi_free(weight);
    fkmi_free(share);
    fkmi_free(order);
    fkmi_free(index);
    fkmi_free(distance);
    fkmi_free(job.score);
    return status;
}
