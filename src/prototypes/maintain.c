/* maintain.c — truncation, pruning, merging.
 *
 * percentile_threshold and relative_merge look at the distribution of all coordinates and of all pairwise
 * distances; an evenly spaced sample of at most 65,536 coordinates and 1,024 prototypes stands for them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/maintain.h"

#include <math.h>
#include <string.h>

#include "base/interrupt.h"
#include "prototypes/lists.h"

#define MOST_COORDINATES 65536
#define MOST_SAMPLED     1024
#define MOST_SAMPLE_WORK ((int64_t)1 << 28) /* coordinates compared when pairs are sampled */

static bool truncates(const fkm_params *params) { return params->sparse && params->truncation_threshold > 0; }
static bool merges(const fkm_params *params) { return params->merge_threshold >= 0; }
static bool has_percentile(const fkm_params *params) { return params->percentile_threshold >= 0; }

static int64_t sampled_prototypes(int64_t k, int64_t dim)
{
    int64_t n = k < MOST_SAMPLED ? k : MOST_SAMPLED;

    while (n > 2 && n * n > MOST_SAMPLE_WORK / dim)
        n /= 2;
    return n;
}

fkm_status fkmi_upkeep_take(struct fkmi_upkeep *upkeep, struct fkmi_arena *arena, const fkm_params *params,
                            const struct fkmi_state *state)
{
    const int64_t k = state->k, dim = state->dim;
    const size_t real_size = fkmi_real_size(fkmi_real_of(state->dtype));
    int64_t n_sample = 0;

    *upkeep = (struct fkmi_upkeep){0};
    FKMI_TRY(fkmi_arena_take(arena, &upkeep->keep, k, 1));
    FKMI_TRY(fkmi_arena_take(arena, &upkeep->old_of_new, k, sizeof(int64_t)));
    FKMI_TRY(fkmi_arena_take(arena, &upkeep->point, dim, sizeof(double)));
    FKMI_TRY(fkmi_arena_take(arena, &upkeep->other, dim, sizeof(double)));
    if (merges(params)) {
        FKMI_TRY(fkmi_arena_take(arena, &upkeep->points, k * dim, real_size));
        FKMI_TRY(fkmi_arena_take(arena, &upkeep->partner, k, sizeof(int32_t)));
        FKMI_TRY(fkmi_arena_take(arena, &upkeep->partner_distance, k, sizeof(double)));
        if (state->feature_weights)
            FKMI_TRY(fkmi_arena_take(arena, &upkeep->weights, dim, real_size));
        if (has_percentile(params) || params->relative_merge)
            upkeep->n_sampled = sampled_prototypes(k, dim);
        n_sample = upkeep->n_sampled * (upkeep->n_sampled - 1) / 2;
    }
    if (truncates(params) && has_percentile(params))
        upkeep->n_coordinates = k * dim < MOST_COORDINATES ? k * dim : MOST_COORDINATES;
    if (n_sample < upkeep->n_coordinates)
        n_sample = upkeep->n_coordinates;
    return n_sample > 0 ? fkmi_arena_take(arena, &upkeep->sample, n_sample, sizeof(double)) : FKM_OK;
}

/* ---- order statistics */

static void swap_doubles(double *a, double *b)
{
    const double held = *a;

    *a = *b;
    *b = held;
}

/* Reorders so that values[rank] is where a sort would put it, smaller ones before (Hoare 1961). */
static void select_rank(double *values, int64_t n, int64_t rank)
{
    for (int64_t low = 0, high = n - 1; low < high;) {
        const double pivot = values[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (values[i] < pivot)
                i++;
            while (values[j] > pivot)
                j--;
            if (i <= j)
                swap_doubles(&values[i++], &values[j--]);
        }
        if (rank <= j)
            high = j;
        else if (rank >= i)
            low = i;
        else
            return;
    }
}

/* The q-quantile, linear between neighbours; +inf of nothing. */
static double quantile(double *values, int64_t n, double q)
{
    const double place = q * (double)(n - 1);
    const int64_t rank = (int64_t)floor(place);
    double next = INFINITY;

    if (n <= 0)
        return INFINITY;
    select_rank(values, n, rank);
    if (rank + 1 >= n)
        return values[rank];
    for (int64_t i = rank + 1; i < n; i++)
        next = fmin(next, values[i]);
    return values[rank] + (place - (double)rank) * (next - values[rank]);
}

/* ---- truncation */

static double truncation_below(struct fkmi_upkeep *upkeep, const fkm_params *params,
                               const struct fkmi_state *state)
{
    const int64_t n = upkeep->n_coordinates, all = state->k * state->dim;

    if (n == 0)
        return params->truncation_threshold;
    for (int64_t i = 0; i < n; i++) /* the whole quotient first: i * all may be large, but fits */
        upkeep->sample[i] = fabs(
            fkmi_dtype_get(state->points, state->dtype, (int64_t)((double)i * ((double)all / (double)n))));
    return fmin(params->truncation_threshold, quantile(upkeep->sample, n, params->percentile_threshold));
}

static void truncate_points(struct fkmi_upkeep *upkeep, const struct fkmi_kernels *kernels,
                            const fkm_params *params, struct fkmi_state *state)
{
    const struct fkmi_space space = fkmi_state_space(state, params->metric);
    const double below = truncation_below(upkeep, params, state);

    if (state->listed) {
        fkmi_lists_truncate(state, kernels, params, below, upkeep->point);
        return;
    }
    for (int64_t j = 0; j < state->k; j++) {
        int64_t cut = 0, left = 0;
        if (state->frozen[j])
            continue;
        fkmi_point_load(state, kernels, j, upkeep->point);
        for (int64_t d = 0; d < state->dim; d++) {
            if (upkeep->point[d] != 0 && fabs(upkeep->point[d]) < below) {
                upkeep->point[d] = 0;
                cut++;
            }
            left += upkeep->point[d] != 0;
        }
        if (cut == 0 || (left == 0 && params->metric == FKM_METRIC_COSINE))
            continue; /* nothing to do, or no direction would be left */
        if (params->normalize_prototypes)
            (void)fkmi_point_normalise(&space, upkeep->point);
        fkmi_point_store(state, kernels, j, upkeep->point);
    }
}

/* ---- pruning */

static int64_t prune(struct fkmi_upkeep *upkeep, const struct fkmi_state *state, double light)
{
    int64_t removed = 0;

    for (int64_t c = 0; c < state->n_classes; c++) {
        const int64_t begin = state->class_begin[c], end = state->class_begin[c + 1];
        int64_t heaviest = begin;
        for (int64_t j = begin; j < end; j++)
            if (state->mass[j] > state->mass[heaviest])
                heaviest = j;
        for (int64_t j = begin; j < end; j++) {
            upkeep->keep[j] = state->frozen[j] || j == heaviest || !(state->mass[j] < light);
            removed += !upkeep->keep[j];
        }
    }
    return removed;
}

/* ---- merging */

struct merging {
    struct fkmi_upkeep *upkeep;
    const struct fkmi_kernels *kernels;
    const fkm_params *params;
    struct fkmi_state *state;
    enum fkmi_real real;
};

static void *real_point(const struct merging *m, int64_t j)
{
    return (char *)m->upkeep->points + (size_t)(j * m->state->dim) * fkmi_real_size(m->real);
}

static double pair_distance(const struct merging *m, int64_t a, int64_t b)
{
    return m->kernels->vector[m->real].distance[m->params->metric](real_point(m, a), real_point(m, b),
                                                                   m->upkeep->weights, m->state->dim);
}

static fkm_status measure_pairs(void *job, int64_t begin, int64_t end, int thread)
{
    const struct merging *m = job;
    const int64_t n = m->upkeep->n_sampled, k = m->state->k;

    (void)thread;
    for (int64_t i = begin; i < end; i++)
        for (int64_t h = 0; h < i; h++)
            m->upkeep->sample[i * (i - 1) / 2 + h] = pair_distance(m, i * k / n, h * k / n);
    return FKM_OK;
}

/* Pairs nearer than this merge. */
static fkm_status merge_below(struct merging *m, struct fkmi_pool *pool, double *below)
{
    const int64_t n = m->upkeep->n_sampled, n_pairs = n * (n - 1) / 2;
    double mean = 0;

    *below = m->params->merge_threshold;
    if (n_pairs == 0)
        return FKM_OK;
    FKMI_TRY(fkmi_parallel(pool, n, 16, measure_pairs, m));
    for (int64_t i = 0; i < n_pairs; i++)
        mean += (m->upkeep->sample[i] - mean) / (double)(i + 1);
    if (m->params->relative_merge)
        *below *= mean;
    if (has_percentile(m->params))
        *below = fmin(*below, quantile(m->upkeep->sample, n_pairs, m->params->percentile_threshold));
    return FKM_OK;
}

static bool mergeable(const struct merging *m, int64_t j)
{
    return m->upkeep->keep[j] && !m->state->frozen[j];
}

static void find_partner(const struct merging *m, int64_t j, int64_t end)
{
    m->upkeep->partner[j] = -1;
    m->upkeep->partner_distance[j] = INFINITY;
    for (int64_t i = j + 1; i < end && mergeable(m, j); i++) {
        const double d = mergeable(m, i) ? pair_distance(m, j, i) : INFINITY;
        if (d < m->upkeep->partner_distance[j]) {
            m->upkeep->partner_distance[j] = d;
            m->upkeep->partner[j] = (int32_t)i;
        }
    }
}

static double blend(double a, double weight_a, double b, double weight_b)
{
    const double sum = weight_a + weight_b;

    return sum > 0 ? a + weight_b / sum * (b - a) : (a + b) / 2;
}

/* Prototype b goes into a: means by mass, per coordinate where ages say so. */
static void merge_into(const struct merging *m, int64_t a, int64_t b)
{
    struct fkmi_state *state = m->state;
    const struct fkmi_space space = fkmi_state_space(state, m->params->metric);
    const int64_t dim = state->dim, n_targets = state->n_targets;
    const double mass_a = state->mass[a], mass_b = state->mass[b];
    double *point = m->upkeep->point;

    fkmi_point_load(state, m->kernels, a, point);
    fkmi_point_load(state, m->kernels, b, m->upkeep->other);
    for (int64_t d = 0; d < dim; d++) {
        double *ages = state->ages;
        point[d] = blend(point[d], ages ? ages[a * dim + d] : mass_a, m->upkeep->other[d],
                         ages ? ages[b * dim + d] : mass_b);
        if (ages)
            ages[a * dim + d] += ages[b * dim + d];
    }
    if (m->params->normalize_prototypes)
        (void)fkmi_point_normalise(&space, point);
    fkmi_point_store(state, m->kernels, a, point);
    m->kernels->vector[m->real].load[state->dtype](real_point(m, a), fkmi_state_point(state, a), dim);
    for (int64_t t = 0; t < n_targets && state->targets; t++)
        state->targets[a * n_targets + t] =
            blend(state->targets[a * n_targets + t], mass_a, state->targets[b * n_targets + t], mass_b);
    state->bias[a] = blend(state->bias[a], mass_a, state->bias[b], mass_b);
    state->theta[a] = blend(state->theta[a], mass_a, state->theta[b], mass_b);
    state->mass[a] = mass_a + mass_b;
    m->upkeep->keep[b] = 0;
}

/* Interrupted, it leaves the pairs that have merged. */
static fkm_status merge_class(const struct merging *m, int64_t begin, int64_t end, double below,
                              int64_t *merged)
{
    struct fkmi_upkeep *upkeep = m->upkeep;

    for (;;) {
        int64_t a = begin, b;
        FKMI_TRY(fkmi_check_interrupt());
        for (int64_t j = begin; j < end; j++)
            if (upkeep->partner_distance[j] < upkeep->partner_distance[a])
                a = j;
        if (!(upkeep->partner_distance[a] < below))
            return FKM_OK;
        b = upkeep->partner[a];
        merge_into(m, a, b);
        ++*merged;
        for (int64_t j = begin; j < end; j++) {
            if (j == a || j == b || upkeep->partner[j] == a || upkeep->partner[j] == b) {
                FKMI_TRY(fkmi_check_interrupt());
                find_partner(m, j, end);
            } else if (j < a && mergeable(m, j)) {
                const double d = pair_distance(m, j, a);
                if (d < upkeep->partner_distance[j]) {
                    upkeep->partner_distance[j] = d;
                    upkeep->partner[j] = (int32_t)a;
                }
            }
        }
    }
}

/* The first partners of prototypes [begin, end), whatever classes they belong to. */
static fkm_status find_partners(void *job, int64_t begin, int64_t end, int thread)
{
    const struct merging *m = job;
    int64_t c = 0, high = m->state->n_classes;

    (void)thread;
    while (high - c > 1) { /* the last class that begins at or before `begin` */
        const int64_t middle = c + (high - c) / 2;
        if (m->state->class_begin[middle] <= begin)
            c = middle;
        else
            high = middle;
    }
    for (int64_t j = begin; j < end; j++) {
        while (m->state->class_begin[c + 1] <= j)
            c++;
        find_partner(m, j, m->state->class_begin[c + 1]);
    }
    return FKM_OK;
}

static fkm_status merge(struct fkmi_upkeep *upkeep, struct fkm_context *context, const fkm_params *params,
                        struct fkmi_state *state, int64_t *merged)
{
    struct merging m = {upkeep, context->kernels, params, state, fkmi_real_of(state->dtype)};
    double below;

    m.kernels->vector[m.real].load[state->dtype](upkeep->points, state->points, state->k * state->dim);
    for (int64_t d = 0; d < state->dim && upkeep->weights; d++)
        fkmi_dtype_set(upkeep->weights, m.real == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32, d,
                       state->feature_weights[d]);
    FKMI_TRY(merge_below(&m, context->pool, &below));
    FKMI_TRY(fkmi_parallel(context->pool, state->k, 64, find_partners, &m));
    for (int64_t c = 0; c < state->n_classes; c++)
        FKMI_TRY(merge_class(&m, state->class_begin[c], state->class_begin[c + 1], below, merged));
    return FKM_OK;
}

fkm_status fkmi_upkeep_run(struct fkmi_upkeep *upkeep, struct fkm_context *context, const fkm_params *params,
                           struct fkmi_state *state, double light, int64_t *removed)
{
    fkm_status status = FKM_OK;
    int64_t n = 0;

    if (truncates(params))
        truncate_points(upkeep, context->kernels, params, state);
    *removed = prune(upkeep, state, light);
    if (merges(params))
        status = merge(upkeep, context, params, state, removed);
    for (int64_t j = 0; j < state->k; j++)
        if (upkeep->keep[j])
            upkeep->old_of_new[n++] = j;
    if (*removed > 0)
        fkmi_state_compact(state, upkeep->keep);
    return status;
}
