/* tags.c — the multi-label loss of a row, and what it says of its tags' scores z = beta - alpha d / tau.
 *
 * Of the many tags that a row lacks, most have probabilities below the clip: they pull at nothing. What is left of a row's
 * candidates after that is what backward sees.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "train/loss.h"
#include "train/step.h"

static const double LARGEST_SCORE = 30.0; /* beyond, a tag's probability is 0 or 1 and its slope is kept */

/* Fine-tuning learns one temperature for all prototypes; a file may say otherwise. */
static bool one_temperature(const struct fkmi_step *step)
{
    const double *theta = step->routing.theta;

    for (int64_t j = 1; j < step->active.k; j++)
        if (theta[j] != theta[0])
            return false;
    return true;
}

fkm_status fkmi_tags_plan(struct fkmi_step *step)
{
    struct fkmi_arena *arena = &step->work->arena;
    const struct fkmi_active *active = &step->active;
    struct fkmi_tags_in *tags = &step->tags;

    FKMI_TRY(fkmi_arena_take(arena, &tags->alpha, active->n_classes, sizeof *tags->alpha));
    FKMI_TRY(fkmi_arena_take(arena, &tags->beta, active->n_classes, sizeof *tags->beta));
    if (active->log_share)
        FKMI_TRY(fkmi_arena_take(arena, &tags->weight, active->n_classes, sizeof *tags->weight));
    for (int64_t l = 0; l < active->n_classes; l++) {
        const int64_t slot = active->class_slot ? active->class_slot[l] : l;

        tags->alpha[l] = step->state->alpha[slot];
        tags->beta[l] = step->state->beta[slot];
        tags->some_empty |= active->class_begin[l] == active->class_begin[l + 1];
        if (tags->weight) /* sampled tags stand for others too */
            tags->weight[l] = active->log_share[l] != 0 ? active->share : 1.0;
    }
    tags->unit = one_temperature(step) ? 1 / fkmi_routing_tau(&step->routing, 0) : 0.0;
    return FKM_OK;
}

/* 1 / tau of a prototype. */
static inline double unit_of(const struct fkmi_step *step, int64_t place)
{
    return step->tags.unit > 0 ? step->tags.unit : 1 / fkmi_routing_tau(&step->routing, place);
}

/* False when one of them is no number. */
static bool score_tags(const struct fkmi_step *step, const int32_t *index, double *distance, double *z)
{
    const struct fkmi_tags_in *tags = &step->tags;
    const int64_t n = step->active.n_classes;
    int64_t n_odd = 0;

    for (int64_t l = 0; tags->some_empty && l < n; l++)
        distance[l] = index[l] < 0 ? 0 : distance[l];
    for (int64_t l = 0; tags->unit == 0 && l < n; l++)
        z[l] = index[l] < 0 ? 0 : distance[l] * unit_of(step, index[l]);
    for (int64_t l = 0; l < n; l++) {
        const double score =
            tags->beta[l] - tags->alpha[l] * (tags->unit > 0 ? distance[l] * tags->unit : z[l]);

        n_odd += score != score;
        z[l] = score > LARGEST_SCORE ? LARGEST_SCORE : score < -LARGEST_SCORE ? -LARGEST_SCORE : score;
    }
    for (int64_t l = 0; tags->some_empty && l < n; l++)
        z[l] = index[l] < 0 ? -INFINITY : z[l];
    return n_odd == 0;
}

/* Tags of a row that pull at something, and the derivatives by their scores. */
struct pulls {
    int64_t n;
    int32_t *which;
    double *by_z;
};

/* The tags the row has: their losses. Their scores are taken away. */
static double known_tags(const struct fkmi_step *step, int64_t row, double *z, struct pulls *pulls)
{
    const struct fkmi_targets *targets = step->targets;
    double loss = 0;

    for (int64_t t = targets->tag_indptr[row]; t < targets->tag_indptr[row + 1]; t++) {
        const int64_t l = fkmi_active_class(&step->active, targets->tag_slot[t]);
        const double p = 1 / (1 + exp(-z[l])), weight = step->tags.weight ? step->tags.weight[l] : 1.0;
        double by_p;

        if (z[l] == -INFINITY)
            continue;
        loss += weight * fkmi_loss_asl(p, true, step->params->asl_gamma_pos, step->params->asl_gamma_neg,
                                       step->params->asl_clip, &by_p);
        pulls->which[pulls->n] = (int32_t)l;
        pulls->by_z[pulls->n++] = weight * by_p * p * (1 - p);
        z[l] = -INFINITY;
    }
    return loss;
}

void fkmi_tag_row(struct fkmi_step *step, int64_t i, double share, double *scratch)
{
    struct fkmi_chunk *chunk = &step->chunk;
    const int64_t at = i * step->width, n = step->active.n_classes;
    double *z = scratch, *kept = scratch, theta = 0, loss; /* scores are done with when distances are kept */
    struct pulls pulls = {0, (int32_t *)(scratch + 2 * n), scratch + n};
    int32_t *kept_index = (int32_t *)(scratch + 3 * n);
    const bool is_number = score_tags(step, chunk->index + at, chunk->distance + at, z);

    chunk->loss[i] = known_tags(step, fkmi_target_row(step, i), z, &pulls);
    pulls.n += step->context->kernels->asl_lacking(z, step->tags.weight, n, step->params->asl_gamma_neg,
                                                   step->params->asl_clip, pulls.which + pulls.n,
                                                   pulls.by_z + pulls.n, &loss);
    chunk->loss[i] = is_number ? chunk->loss[i] + loss : NAN;
    for (int64_t c = 0; c < pulls.n; c++) {
        const int64_t l = pulls.which[c];
        const double by_z = pulls.by_z[c] * share;

        kept_index[c] = chunk->index[at + l];
        kept[c] = chunk->distance[at + l];
        chunk->slope_bias[at + c] = by_z;
        chunk->slope[at + c] = -by_z * step->tags.alpha[l] * unit_of(step, kept_index[c]);
        theta -= chunk->slope[at + c] * kept[c];
    }
    memcpy(chunk->index + at, kept_index, (size_t)pulls.n * sizeof *kept_index);
    memcpy(chunk->distance + at, kept, (size_t)pulls.n * sizeof *kept);
    chunk->count[i] = (int32_t)pulls.n;
    chunk->slope_theta[i] = theta;
}

void fkmi_tags_backward(struct fkmi_step *step)
{
    const struct fkmi_chunk *chunk = &step->chunk;
    const struct fkmi_gradient *g = &step->gradient;

    for (int64_t i = 0; i < chunk->n; i++)
        for (int64_t at = i * step->width; at < i * step->width + chunk->count[i]; at++) {
            const int64_t l = step->active.owner[chunk->index[at]];

            g->beta[l] += chunk->slope_bias[at];
            g->alpha[l] -= chunk->slope_bias[at] * chunk->distance[at] * unit_of(step, chunk->index[at]);
        }
}
