/* maintain.c — truncation and pruning; merging is in merge.c.
 *
 * percentile_threshold and relative_merge look at the distribution of all coordinates and of all pairwise
 * distances; an evenly spaced sample of at most 65,536 coordinates and 1,024 prototypes stands for them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/maintain.h"

#include <math.h>
#include <string.h>

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
        FKMI_TRY(fkmi_arena_take(arena, &upkeep->from, k, sizeof *upkeep->from));
        if (state->listed) {
            FKMI_TRY(fkmi_arena_take(arena, &upkeep->index, dim, sizeof *upkeep->index));
            FKMI_TRY(fkmi_arena_take(arena, &upkeep->size, k, sizeof *upkeep->size));
        } else if (fkmi_dtype_size(state->dtype) != real_size)
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

double fkmi_quantile(double *values, int64_t n, double q)
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
    for (int64_t i = 0; i < n; i++) { /* the whole quotient first: i * all may be large, but fits */
        const int64_t at = (int64_t)((double)i * ((double)all / (double)n));

        upkeep->sample[i] =
            fabs(state->listed ? fkmi_list_value(state, at / state->dim, (int32_t)(at % state->dim))
                               : fkmi_dtype_get(state->points, state->dtype, at));
    }
    return fmin(params->truncation_threshold, fkmi_quantile(upkeep->sample, n, params->percentile_threshold));
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

fkm_status fkmi_upkeep_run(struct fkmi_upkeep *upkeep, struct fkm_context *context, const fkm_params *params,
                           struct fkmi_state *state, double light, int64_t *removed)
{
    fkm_status status = FKM_OK;
    int64_t n = 0;

    if (truncates(params))
        truncate_points(upkeep, context->kernels, params, state);
    *removed = prune(upkeep, state, light);
    if (merges(params))
        status = fkmi_merge(upkeep, context, params, state, removed);
    for (int64_t j = 0; j < state->k; j++)
        if (upkeep->keep[j])
            upkeep->old_of_new[n++] = j;
    if (*removed > 0)
        fkmi_state_compact(state, upkeep->keep);
    return status;
}
