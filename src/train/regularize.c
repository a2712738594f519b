/* regularize.c — what the loss says about the prototypes themselves: stay near the end of phase 1 (l2), stay
 * apart from others of the same class (diversity). Both act on the prototypes that take part in the step, and
 * leave feature weights alone.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "train/step.h"

enum { MOST_SAMPLED = 1024, STREAM_DIVERSITY = 3 };

fkm_status fkmi_regularize_plan(struct fkmi_step *step)
{
    struct fkmi_arena *arena = &step->work->arena;
    struct fkmi_diversity *diversity = &step->diversity;
    const int64_t k = step->active.k, most = k < MOST_SAMPLED ? k : MOST_SAMPLED;
    const bool pulled = step->params->l2_reg > 0 && step->trainer->anchor;

    if (step->params->diversity_reg > 0) {
        FKMI_TRY(fkmi_arena_take(arena, &diversity->place, most, sizeof *diversity->place));
        FKMI_TRY(fkmi_arena_take(arena, &diversity->begin, most, sizeof *diversity->begin));
        FKMI_TRY(fkmi_arena_take(arena, &diversity->end, most, sizeof *diversity->end));
        FKMI_TRY(fkmi_arena_take(arena, &diversity->square, most, sizeof *diversity->square));
        FKMI_TRY(fkmi_arena_take(arena, &diversity->order,
                                 k > step->active.n_classes ? k : step->active.n_classes,
                                 sizeof *diversity->order));
        FKMI_TRY(fkmi_arena_take(arena, &diversity->points, most * step->space.dim, step->real_size));
    }
    if (pulled || step->params->diversity_reg > 0)
        FKMI_TRY(fkmi_arena_take(arena, &diversity->part, k, sizeof *diversity->part));
    return FKM_OK;
}

/* ---- l2: mean over prototypes of |c - anchor|^2 */

static fkm_status pull_back(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct fkmi_step *step = argument;
    const struct fkmi_vector *vector = step->vector;
    const int64_t dim = step->space.dim;
    const double strength = step->params->l2_reg / (double)step->active.k;
    void *scratch = fkmi_real_at(step, step->point_scratch, thread * dim);

    for (int64_t place = begin; place < end; place++) {
        const int64_t prototype = fkmi_prototype_at(step, place);
        const void *c = fkmi_point_at(step, place, scratch);
        const void *anchor = fkmi_real_at(step, step->trainer->anchor, prototype * dim);

        step->diversity.part[place] = strength * vector->distance[FKM_METRIC_EUCLIDEAN](anchor, c, NULL, dim);
        if (step->state->frozen[prototype] || step->diversity.part[place] == 0)
            continue;
        vector->add_difference(fkmi_gradient_at(step, prototype), anchor, c, NULL, 2 * strength, dim);
        step->gradient.touched[prototype] = 1;
    }
    return FKM_OK;
}

/* ---- diversity: mean over same-class pairs of sim^2 */

/* Classes in random order until MOST_SAMPLED prototypes are in; of the last one, random prototypes. */
static int64_t sample(struct fkmi_step *step)
{
    const struct fkmi_active *active = &step->active;
    struct fkmi_diversity *diversity = &step->diversity;
    struct fkmi_random random = fkmi_random_split(step->random, STREAM_DIVERSITY);
    const bool all = active->k <= MOST_SAMPLED;
    int64_t *order = diversity->order, n = 0, n_classes = 0;

    for (int64_t c = 0; c < active->n_classes; c++)
        order[c] = c;
    if (!all)
        fkmi_random_shuffle(&random, order, active->n_classes);
    while (n_classes < active->n_classes && n < MOST_SAMPLED) {
        const int64_t slot = order[n_classes++], first = active->class_begin[slot];
        const int64_t size = active->class_begin[slot + 1] - first, room = MOST_SAMPLED - n, before = n;

        if (size <= room) {
            for (int64_t j = 0; j < size; j++)
                diversity->place[n++] = first + j;
        } else { /* the last class: its numbers may take the place of the order */
            for (int64_t j = 0; j < size; j++)
                order[j] = first + j;
            fkmi_random_shuffle(&random, order, size);
            for (int64_t j = 0; j < room; j++)
                diversity->place[n++] = order[j];
        }
        for (int64_t t = before; t < n; t++) {
            diversity->begin[t] = before;
            diversity->end[t] = n;
        }
    }
    return n;
}

/* d(sim^2)/dd */
static double slope_of(const struct fkmi_step *step, double similarity)
{
    if (step->space.metric == FKM_METRIC_COSINE)
        return -2 * similarity;
    return -2 * similarity * similarity * similarity / step->routing.scale;
}

static fkm_status push_apart(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct fkmi_step *step = argument;
    const struct fkmi_vector *vector = step->vector;
    const struct fkmi_diversity *diversity = &step->diversity;
    const fkm_metric metric = step->space.metric;
    const int64_t dim = step->space.dim;
    const double strength = step->params->diversity_reg / diversity->n_pairs;
    const void *a = diversity->weight;

    (void)thread;
    for (int64_t s = begin; s < end; s++) {
        const int64_t prototype = fkmi_prototype_at(step, diversity->place[s]);
        const void *c = fkmi_real_at(step, diversity->points, s * dim);
        const bool frozen = step->state->frozen[prototype];
        void *g = fkmi_gradient_at(step, prototype);
        double along = 0;

        diversity->part[s] = 0;
        for (int64_t o = diversity->begin[s]; o < diversity->end[s]; o++) {
            const void *other = fkmi_real_at(step, diversity->points, o * dim);
            double distance, similarity, slope;

            if (o == s)
                continue;
            distance = vector->distance[metric](other, c, a, dim);
            similarity = fkmi_similarity(metric, distance, step->routing.scale);
            slope = strength * slope_of(step, similarity);
            diversity->part[s] +=
                strength * similarity * similarity / 2; /* each pair is seen from both ends */
            if (frozen)
                continue;
            step->gradient.touched[prototype] = 1;
            switch (metric) {
            case FKM_METRIC_EUCLIDEAN:
                vector->add_difference(g, other, c, a, 2 * slope, dim);
                break;
            case FKM_METRIC_L1:
                vector->add_sign(g, other, c, a, slope, dim);
                break;
            case FKM_METRIC_COSINE:
                if (!(diversity->square[s] > 0) || !(diversity->square[o] > 0))
                    break;
                vector->add_scaled(g, other, a, -slope / sqrt(diversity->square[s] * diversity->square[o]),
                                   dim);
                along += slope * similarity / diversity->square[s];
                break;
            }
        }
        if (along != 0)
            vector->add_scaled(g, c, a, along, dim);
    }
    return FKM_OK;
}

static fkm_status add_diversity(struct fkmi_step *step)
{
    struct fkmi_diversity *diversity = &step->diversity;
    const int64_t dim = step->space.dim, n = sample(step);
    double pairs = 0;

    for (int64_t s = 0; s < n; s++)
        pairs += (double)(diversity->end[s] - diversity->begin[s] - 1) / 2;
    if (pairs == 0)
        return FKM_OK;
    diversity->n_pairs = pairs;
    diversity->weight = step->in.shared_weight;
    for (int64_t s = 0; s < n; s++) {
        void *point = fkmi_real_at(step, diversity->points, s * dim);
        const void *c = fkmi_point_at(step, diversity->place[s], point);

        if (c != point)
            memcpy(point, c, (size_t)dim * step->real_size);
        diversity->square[s] = step->vector->dot(point, point, diversity->weight, dim);
    }
    FKMI_TRY(fkmi_parallel(step->context->pool, n,
                           fkmi_vectors_per_block(dim, n / step->active.n_classes + 1), push_apart, step));
    for (int64_t s = 0; s < n; s++)
        step->loss += diversity->part[s];
    return FKM_OK;
}

fkm_status fkmi_regularize(struct fkmi_step *step)
{
    if (step->params->l2_reg > 0 && step->trainer->anchor) {
        FKMI_TRY(fkmi_parallel(step->context->pool, step->active.k,
                               fkmi_vectors_per_block(step->space.dim, 1), pull_back, step));
        for (int64_t place = 0; place < step->active.k; place++)
            step->loss += step->diversity.part[place];
    }
    return step->params->diversity_reg > 0 ? add_diversity(step) : FKM_OK;
}
