/* state.c — the arrays of a model's prototypes: they grow geometrically, and only as a whole.
 * SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/state.h"

#include <assert.h>
#include <math.h>
#include <string.h>

void fkmi_state_free(struct fkmi_state *state)
{
    fkmi_free(state->points);
    fkmi_free(state->lists.begin);
    fkmi_free(state->lists.index);
    fkmi_free(state->lists.value);
    fkmi_free(state->mass);
    fkmi_free(state->ages);
    fkmi_free(state->targets);
    fkmi_free(state->bias);
    fkmi_free(state->theta);
    fkmi_free(state->frozen);
    fkmi_free(state->class_label);
    fkmi_free(state->class_begin);
    fkmi_free(state->strata);
    fkmi_free(state->alpha);
    fkmi_free(state->beta);
    fkmi_free(state->threshold);
    fkmi_free(state->feature_weights);
    fkmi_free(state->tuning);
    *state = (struct fkmi_state){0};
}

fkm_status fkmi_state_copy(struct fkmi_state *out, const struct fkmi_state *state)
{
    fkm_status status = FKM_OK;
    const int64_t k = state->k, n_classes = state->n_classes, m = state->n_targets;
    const int64_t n_entries = state->listed && state->lists.begin ? state->lists.begin[k] : 0;

    *out = (struct fkmi_state){.dtype = state->dtype,
                               .dim = state->dim,
                               .k = k,
                               .n_classes = n_classes,
                               .n_targets = m,
                               .scale = state->scale,
                               .listed = state->listed,
                               .list_capacity = n_entries,
                               .k_capacity = k,
                               .class_capacity = n_classes};
    FKMI_TRY_GOTO(fkmi_copy(&out->lists.begin, state->lists.begin, k + 1, sizeof(int64_t)));
    FKMI_TRY_GOTO(fkmi_copy(&out->lists.index, state->lists.index, n_entries, sizeof(int32_t)));
    FKMI_TRY_GOTO(fkmi_copy(&out->lists.value, state->lists.value, n_entries, fkmi_dtype_size(state->dtype)));
    FKMI_TRY_GOTO(fkmi_copy(&out->points, state->points, k * state->dim, fkmi_dtype_size(state->dtype)));
    FKMI_TRY_GOTO(fkmi_copy(&out->mass, state->mass, k, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->ages, state->ages, k * state->dim, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->targets, state->targets, k * m, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->bias, state->bias, k, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->theta, state->theta, k, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->frozen, state->frozen, k, 1));
    FKMI_TRY_GOTO(fkmi_copy(&out->class_label, state->class_label, n_classes, sizeof(int64_t)));
    FKMI_TRY_GOTO(fkmi_copy(&out->class_begin, state->class_begin, n_classes + 1, sizeof(int64_t)));
    FKMI_TRY_GOTO(fkmi_copy(&out->strata, state->strata, n_classes * m, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->alpha, state->alpha, n_classes, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->beta, state->beta, n_classes, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->threshold, state->threshold, n_classes, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->feature_weights, state->feature_weights, state->dim, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_copy(&out->tuning, state->tuning, 1, sizeof *out->tuning));
done:
    if (status != FKM_OK)
        fkmi_state_free(out);
    return status;
}

static int64_t larger_capacity(int64_t capacity, int64_t needed)
{
    if (needed <= capacity)
        return capacity;
    return needed > 2 * capacity ? needed : 2 * capacity;
}

/* Room for k prototypes. The capacity is written last: a failure on the way leaves some arrays longer than it
 * says. */
static fkm_status reserve_prototypes(struct fkmi_state *state, int64_t k)
{
    const int64_t capacity = larger_capacity(state->k_capacity, k);

    if (capacity == state->k_capacity && (state->points || state->lists.begin))
        return FKM_OK;
    if (state->listed)
        FKMI_TRY(fkmi_resize(&state->lists.begin, capacity + 1, sizeof(int64_t)));
    else
        FKMI_TRY(fkmi_resize(&state->points, capacity * state->dim, fkmi_dtype_size(state->dtype)));
    FKMI_TRY(fkmi_resize(&state->mass, capacity, sizeof(double)));
    FKMI_TRY(fkmi_resize(&state->bias, capacity, sizeof(double)));
    FKMI_TRY(fkmi_resize(&state->theta, capacity, sizeof(double)));
    FKMI_TRY(fkmi_resize(&state->frozen, capacity, 1));
    if (state->ages)
        FKMI_TRY(fkmi_resize(&state->ages, capacity * state->dim, sizeof(double)));
    if (state->n_targets > 0)
        FKMI_TRY(fkmi_resize(&state->targets, capacity * state->n_targets, sizeof(double)));
    state->k_capacity = capacity;
    return FKM_OK;
}

static fkm_status reserve_classes(struct fkmi_state *state, int64_t n_classes)
{
    const int64_t capacity = larger_capacity(state->class_capacity, n_classes);

    if (capacity == state->class_capacity && state->class_begin)
        return FKM_OK;
    FKMI_TRY(fkmi_resize(&state->class_label, capacity, sizeof(int64_t)));
    FKMI_TRY(fkmi_resize(&state->class_begin, capacity + 1, sizeof(int64_t)));
    if (state->strata)
        FKMI_TRY(fkmi_resize(&state->strata, capacity * state->n_targets, sizeof(double)));
    if (state->alpha)
        FKMI_TRY(fkmi_resize(&state->alpha, capacity, sizeof(double)));
    if (state->beta)
        FKMI_TRY(fkmi_resize(&state->beta, capacity, sizeof(double)));
    if (state->threshold)
        FKMI_TRY(fkmi_resize(&state->threshold, capacity, sizeof(double)));
    state->class_capacity = capacity;
    return FKM_OK;
}

fkm_status fkmi_state_reserve(struct fkmi_state *state, int64_t k, int64_t n_classes)
{
    FKMI_TRY(reserve_prototypes(state, k));
    return reserve_classes(state, n_classes);
}

/* Room for n entries of lists in all. */
static fkm_status reserve_entries(struct fkmi_state *state, int64_t n)
{
    const int64_t capacity = larger_capacity(state->list_capacity, n);

    if (n <= state->list_capacity && state->lists.index)
        return FKM_OK;
    FKMI_TRY(fkmi_resize(&state->lists.index, capacity, sizeof *state->lists.index));
    FKMI_TRY(fkmi_resize(&state->lists.value, capacity, fkmi_dtype_size(state->dtype)));
    state->list_capacity = capacity;
    return FKM_OK;
}

/* k points (reals) as lists behind those there are. */
static fkm_status append_lists(struct fkmi_state *state, const void *points, int64_t k)
{
    const fkm_dtype real = fkmi_real_of(state->dtype) == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32;
    struct fkmi_lists *lists = &state->lists;
    int64_t at = lists->begin[state->k], n = 0;

    for (int64_t i = 0; i < k * state->dim; i++)
        n += fkmi_dtype_get(points, real, i) != 0;
    FKMI_TRY(reserve_entries(state, at + n));
    for (int64_t j = 0; j < k; j++) {
        for (int64_t d = 0; d < state->dim; d++) {
            const double value = fkmi_dtype_get(points, real, j * state->dim + d);

            if (value == 0)
                continue;
            lists->index[at] = (int32_t)d;
            fkmi_dtype_set(lists->value, state->dtype, at++, value);
        }
        lists->begin[state->k + j + 1] = at;
    }
    return FKM_OK;
}

fkm_status fkmi_state_whole_points(const struct fkmi_state *state, void *out)
{
    const size_t size = fkmi_dtype_size(state->dtype);
    char *points;

    if (fkmi_alloc(&points, state->k_capacity * state->dim, size) != FKM_OK)
        return fkmi_fail(
            FKM_ENOMEM,
            "%lld prototypes of %lld features, kept as lists of what is not 0, would take %.3g GB "
            "as whole points, which this call needs",
            (long long)state->k, (long long)state->dim,
            (double)state->k * (double)state->dim * (double)size / 1e9);
    for (int64_t j = 0; j < state->k; j++)
        for (int64_t e = state->lists.begin[j]; e < state->lists.begin[j + 1]; e++)
            memcpy(points + (size_t)(j * state->dim + state->lists.index[e]) * size,
                   (const char *)state->lists.value + (size_t)e * size, size);
    memcpy(out, &points, sizeof points);
    return FKM_OK;
}

fkm_status fkmi_state_need_points(struct fkmi_state *state)
{
    if (!state->listed)
        return FKM_OK;
    FKMI_TRY(fkmi_state_whole_points(state, &state->points));
    fkmi_free(state->lists.begin);
    fkmi_free(state->lists.index);
    fkmi_free(state->lists.value);
    state->lists = (struct fkmi_lists){0};
    state->list_capacity = 0;
    state->listed = false;
    return FKM_OK;
}

/* The room for prototypes stays. */
fkm_status fkmi_state_copy_lists(struct fkmi_state *to, const struct fkmi_state *from)
{
    const int64_t n = from->lists.begin[from->k];

    if (n > to->list_capacity) {
        FKMI_TRY(fkmi_resize(&to->lists.index, n, sizeof *to->lists.index));
        FKMI_TRY(fkmi_resize(&to->lists.value, n, fkmi_dtype_size(to->dtype)));
        to->list_capacity = n;
    }
    memcpy(to->lists.begin, from->lists.begin, (size_t)(from->k + 1) * sizeof *to->lists.begin);
    memcpy(to->lists.index, from->lists.index, (size_t)n * sizeof *to->lists.index);
    memcpy(to->lists.value, from->lists.value, (size_t)n * fkmi_dtype_size(to->dtype));
    return FKM_OK;
}

fkm_status fkmi_state_fit_lists(struct fkmi_state *state)
{
    const int64_t n = state->lists.begin[state->k];

    FKMI_TRY(fkmi_resize(&state->lists.index, n, sizeof *state->lists.index));
    FKMI_TRY(fkmi_resize(&state->lists.value, n, fkmi_dtype_size(state->dtype)));
    state->list_capacity = n;
    return FKM_OK;
}

void fkmi_state_load(const struct fkmi_state *state, int64_t j, double *point)
{
    if (!state->listed) {
        for (int64_t d = 0; d < state->dim; d++)
            point[d] = fkmi_dtype_get(state->points, state->dtype, j * state->dim + d);
        return;
    }
    memset(point, 0, (size_t)state->dim * sizeof *point);
    for (int64_t e = state->lists.begin[j]; e < state->lists.begin[j + 1]; e++)
        point[state->lists.index[e]] = fkmi_dtype_get(state->lists.value, state->dtype, e);
}

/* What stands beside the points of a class that has just been written behind the others. */
static void add_class_of(struct fkmi_state *state, int64_t label, const double *targets, int64_t k)
{
    const int64_t first = state->k, slot = state->n_classes, m = state->n_targets;
    const double theta = first > 0 ? state->theta[0] : FKMI_THETA_PHASE1;

    for (int64_t j = first; j < first + k; j++) {
        state->mass[j] = 1;
        state->bias[j] = 0;
        state->theta[j] = theta;
        state->frozen[j] = 0;
    }
    if (state->ages)
        for (int64_t i = first * state->dim; i < (first + k) * state->dim; i++)
            state->ages[i] = 1;
    for (int64_t i = 0; i < k * m; i++)
        state->targets[first * m + i] = targets ? targets[i] : 0;
    state->class_label[slot] = label;
    state->class_begin[slot] = first;
    state->class_begin[slot + 1] = first + k;
    for (int64_t t = 0; t < m && state->strata; t++)
        state->strata[slot * m + t] = 0;
    if (state->alpha)
        state->alpha[slot] = 0;
    if (state->beta)
        state->beta[slot] = 0;
    if (state->threshold)
        state->threshold[slot] = 0;
    state->k = first + k;
    state->n_classes = slot + 1;
}

static fkm_status reserve_class(struct fkmi_state *state, int64_t k)
{
    if (state->k + k > INT32_MAX)
        return fkmi_fail(FKM_EINVAL, "%lld prototypes are more than %d", (long long)(state->k + k),
                         INT32_MAX);
    return fkmi_state_reserve(state, state->k + k, state->n_classes + 1);
}

fkm_status fkmi_state_add_class(struct fkmi_state *state, const struct fkmi_kernels *kernels, int64_t label,
                                const void *points, const double *targets, int64_t k)
{
    FKMI_TRY(reserve_class(state, k));
    if (state->listed)
        FKMI_TRY(append_lists(state, points, k));
    else
        kernels->vector[fkmi_real_of(state->dtype)].store[state->dtype](fkmi_state_point(state, state->k),
                                                                        points, k * state->dim);
    add_class_of(state, label, targets, k);
    return FKM_OK;
}

fkm_status fkmi_state_add_rows(struct fkmi_state *state, const struct fkmi_space *space, int64_t label,
                               const struct fkmi_rows *rows, const int64_t *pick, const double *targets,
                               int64_t k)
{
    struct fkmi_lists *lists = &state->lists;
    int64_t n = 0, at;

    FKMI_TRY(reserve_class(state, k));
    for (int64_t j = 0; j < k; j++)
        n += rows->indptr[fkmi_row(rows, pick[j]) + 1] - rows->indptr[fkmi_row(rows, pick[j])];
    at = lists->begin[state->k];
    FKMI_TRY(reserve_entries(state, at + n));
    for (int64_t j = 0; j < k; j++) {
        const int64_t row = fkmi_row(rows, pick[j]);
        const double scale = fkmi_row_scale(rows, space, pick[j]);

        for (int64_t e = rows->indptr[row]; e < rows->indptr[row + 1]; e++) {
            const double v = fkmi_dtype_get(rows->values, rows->dtype, e);

            if (v == 0)
                continue;
            lists->index[at] = rows->indices[e];
            fkmi_dtype_set(lists->value, state->dtype, at++, scale > 0 ? v * scale : v);
        }
        lists->begin[state->k + j + 1] = at;
    }
    add_class_of(state, label, targets, k);
    return FKM_OK;
}

void fkmi_state_truncate(struct fkmi_state *state, int64_t n_classes)
{
    if (n_classes >= state->n_classes)
        return;
    state->k = state->class_begin[n_classes];
    state->n_classes = n_classes;
}

fkm_status fkmi_state_need_ages(struct fkmi_state *state)
{
    if (state->ages)
        return FKM_OK;
    FKMI_TRY(fkmi_alloc(&state->ages, state->k_capacity * state->dim, sizeof(double)));
    for (int64_t j = 0; j < state->k; j++)
        for (int64_t d = 0; d < state->dim; d++)
            state->ages[j * state->dim + d] = state->mass[j];
    return FKM_OK;
}

static void move_doubles(double *array, int64_t to, int64_t from, int64_t n)
{
    if (array)
        memmove(array + to * n, array + from * n, (size_t)n * sizeof *array);
}

/* List `from` becomes list `to`, whose begin stands: lists before it may only have moved down. */
static void move_list(struct fkmi_lists *lists, int64_t to, int64_t begin, int64_t n, size_t size)
{
    memmove(lists->index + lists->begin[to], lists->index + begin, (size_t)n * sizeof *lists->index);
    memmove((char *)lists->value + (size_t)lists->begin[to] * size,
            (char *)lists->value + (size_t)begin * size, (size_t)n * size);
    lists->begin[to + 1] = lists->begin[to] + n;
}

static void move_prototype(struct fkmi_state *state, int64_t to, int64_t from)
{
    if (to == from)
        return;
    if (!state->listed)
        memmove(fkmi_state_point(state, to), fkmi_state_point(state, from),
                (size_t)state->dim * fkmi_dtype_size(state->dtype));
    move_doubles(state->mass, to, from, 1);
    move_doubles(state->bias, to, from, 1);
    move_doubles(state->theta, to, from, 1);
    move_doubles(state->ages, to, from, state->dim);
    move_doubles(state->targets, to, from, state->n_targets);
    state->frozen[to] = state->frozen[from];
}

void fkmi_state_compact(struct fkmi_state *state, const uint8_t *keep)
{
    const size_t size = fkmi_dtype_size(state->dtype);
    int64_t to = 0, end = 0; /* of the lists so far, where they were */

    for (int64_t slot = 0, from = 0; slot < state->n_classes; slot++) {
        const int64_t begin = to;
        for (; from < state->class_begin[slot + 1]; from++) {
            const int64_t first = end;

            end = state->listed ? state->lists.begin[from + 1] : 0;
            if (!keep[from])
                continue;
            if (state->listed)
                move_list(&state->lists, to, first, end - first, size);
            move_prototype(state, to++, from);
        }
        assert(to > begin);
        state->class_begin[slot] = begin;
    }
    state->k = to;
    if (state->n_classes > 0)
        state->class_begin[state->n_classes] = to;
}

void fkmi_state_owners(const struct fkmi_state *state, int32_t *owner)
{
    for (int64_t slot = 0; slot < state->n_classes; slot++)
        for (int64_t j = state->class_begin[slot]; j < state->class_begin[slot + 1]; j++)
            owner[j] = (int32_t)slot;
}

bool fkmi_point_normalise(const struct fkmi_space *space, double *point)
{
    double largest = 0, square = 0, length;

    if (space->metric != FKM_METRIC_COSINE)
        return true;
    for (int64_t d = 0; d < space->dim; d++)
        largest = fmax(largest, fabs(point[d]));
    if (!(largest > 0) || !isfinite(largest))
        return false;
    for (int64_t d = 0; d < space->dim; d++) { /* divided first: squares neither overflow nor vanish */
        const double x = point[d] / largest;
        square += (space->feature_weights ? space->feature_weights[d] : 1) * x * x;
    }
    length = sqrt(square) * largest;
    if (!(length > 0))
        return false;
    for (int64_t d = 0; d < space->dim; d++)
        point[d] /= length;
    return true;
}

struct fkmi_space fkmi_state_space(const struct fkmi_state *state, fkm_metric metric)
{
    return (struct fkmi_space){.metric = metric,
                               .dim = state->dim,
                               .real = fkmi_real_of(state->dtype),
                               .feature_weights = state->feature_weights,
                               .tuning = state->tuning};
}
