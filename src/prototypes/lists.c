/* lists.c — when prototypes are lists, and what is done to one.
 * SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/lists.h"

#include <math.h>
#include <string.h>

#include "prototypes/repel.h"

#define LEAST_COORDINATES ((int64_t)1 << 20) /* of points: smaller ones are quick whatever they hold */
#define LEAST_SAVING      4                  /* coordinates of points to an entry of a row */

/* Whether these rows can be learned so, and no parameter asks for what only points can do. */
static bool can_learn(const fkm_params *params, const struct fkmi_rows *rows)
{
    const bool glvq = params->task == FKM_TASK_CLASSIFY && params->repulsion_factor > 0 &&
                      params->repulsion == FKM_REPULSION_GLVQ;

    return fkmi_rows_sparse(rows) && !rows->mask && !glvq && params->assignment == FKM_ASSIGN_HARD;
}

bool fkmi_lists_pay(const fkm_params *params, const struct fkmi_rows *rows, int64_t k)
{
    int64_t entries = 0;

    if (!can_learn(params, rows) || k * rows->dim < LEAST_COORDINATES)
        return false;
    for (int64_t i = 0; i < rows->n; i++) /* the entries of a mean are those of its rows, at most */
        entries += rows->indptr[fkmi_row(rows, i) + 1] - rows->indptr[fkmi_row(rows, i)];
    return entries <= k * rows->dim / LEAST_SAVING;
}

bool fkmi_lists_stay(const fkm_params *params, const struct fkmi_rows *rows, const struct fkmi_state *state)
{
    return can_learn(params, rows) && state->lists.begin[state->k] <= state->k * state->dim / LEAST_SAVING;
}

double fkmi_list_value(const struct fkmi_state *state, int64_t j, int32_t d)
{
    int64_t low = state->lists.begin[j], high = state->lists.begin[j + 1];

    while (low < high) {
        const int64_t middle = low + (high - low) / 2;

        if (state->lists.index[middle] < d)
            low = middle + 1;
        else
            high = middle;
    }
    return low < state->lists.begin[j + 1] && state->lists.index[low] == d
               ? fkmi_dtype_get(state->lists.value, state->dtype, low)
               : 0.0;
}

bool fkmi_list_normalise(const struct fkmi_space *space, const int32_t *index, int64_t n, double *values)
{
    double largest = 0, square = 0, length;

    if (space->metric != FKM_METRIC_COSINE)
        return true;
    for (int64_t e = 0; e < n; e++)
        largest = fmax(largest, fabs(values[e]));
    if (!(largest > 0) || !isfinite(largest))
        return false;
    for (int64_t e = 0; e < n; e++) { /* divided first: squares neither overflow nor vanish */
        const double x = values[e] / largest;
        square += (space->feature_weights ? space->feature_weights[index[e]] : 1) * x * x;
    }
    length = sqrt(square) * largest;
    if (!(length > 0))
        return false;
    for (int64_t e = 0; e < n; e++)
        values[e] /= length;
    return true;
}

/* The entries of prototype j that stay, to the front of `values` and of index + to; how many. */
static int64_t keep_large(const struct fkmi_state *state, const struct fkmi_kernels *kernels, int64_t j,
                          double below, int64_t to, double *values)
{
    const int64_t begin = state->lists.begin[j], n = state->lists.begin[j + 1] - begin;
    const char *stored = (const char *)state->lists.value + (size_t)begin * fkmi_dtype_size(state->dtype);
    int64_t left = 0;

    kernels->vector[FKMI_REAL_F64].load[state->dtype](values, stored, n);
    for (int64_t e = 0; e < n; e++)
        if (!(fabs(values[e]) < below)) {
            state->lists.index[to + left] = state->lists.index[begin + e];
            values[left++] = values[e];
        }
    return left;
}

void fkmi_lists_truncate(struct fkmi_state *state, const struct fkmi_kernels *kernels,
                         const fkm_params *params, double below, double *values)
{
    const struct fkmi_space space = fkmi_state_space(state, params->metric);
    const size_t size = fkmi_dtype_size(state->dtype);
    struct fkmi_lists *lists = &state->lists;
    int64_t to = 0;

    for (int64_t j = 0, begin, end = 0; j < state->k; j++) {
        int64_t left = 0, large = 0;

        begin = end;
        end = lists->begin[j + 1];
        for (int64_t e = begin; e < end; e++)
            large += !(fabs(fkmi_dtype_get(lists->value, state->dtype, e)) < below);
        if (large < end - begin && !state->frozen[j] && (large > 0 || params->metric != FKM_METRIC_COSINE)) {
            lists->begin[j] = begin; /* keep_large reads the list where it was */
            left = keep_large(state, kernels, j, below, to, values);
            if (params->normalize_prototypes)
                (void)fkmi_list_normalise(&space, lists->index + to, left, values);
            kernels->vector[FKMI_REAL_F64].store[state->dtype]((char *)lists->value + (size_t)to * size,
                                                               values, left);
        } else {
            left = end - begin;
            memmove(lists->index + to, lists->index + begin, (size_t)left * sizeof *lists->index);
            memmove((char *)lists->value + (size_t)to * size, (char *)lists->value + (size_t)begin * size,
                    (size_t)left * size);
        }
        lists->begin[j] = to;
        to += left;
    }
    lists->begin[state->k] = to;
}
