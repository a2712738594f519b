/* columns.c — lists of prototypes turned into columns that grow, and back.
 * SPDX-License-Identifier: Apache-2.0 */
#include "train/columns.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "train/step.h"

/* A column is whole from one prototype in so many on: it then takes at most so many times the memory, and adding all of
 * it to a row's sums is as quick as walking along the list. */
enum { WHOLE_FROM = 8 };

void fkmi_train_columns_free(struct fkmi_train_columns *columns)
{
    if (!columns)
        return;
    for (int64_t d = 0; columns->column && d < columns->dim; d++)
        fkmi_free(columns->column[d].memory);
    fkmi_free(columns->column);
    fkmi_free(columns->factor);
    fkmi_free(columns->size);
    fkmi_free(columns->place);
    fkmi_free(columns->decay_1);
    fkmi_free(columns->decay_2);
    fkmi_free(columns);
}

/* The content of a column in new memory, prototypes in their own places when it becomes whole. */
static void move_column(const struct fkmi_train_columns *columns, const struct fkmi_train_column *from,
                        struct fkmi_train_column *to)
{
    const int32_t *prototype = from->memory ? fkmi_column_prototypes(columns, from) : NULL;

    for (int part = 0; part < 2; part++) {
        const size_t size = part == 0 ? columns->real_size : fkmi_moment_size(columns);
        const char *old = part == 0 ? from->memory : fkmi_column_moments(columns, from);
        char *new = part == 0 ? to->memory : fkmi_column_moments(columns, to);

        if (!to->whole)
            memcpy(new, old, (size_t)from->n * size);
        for (int64_t e = 0; to->whole && e < from->n; e++)
            memcpy(new + (size_t)prototype[e] * size, old + (size_t)e * size, size);
    }
    if (!to->whole)
        memcpy(fkmi_column_prototypes(columns, to), prototype, (size_t)from->n * sizeof *prototype);
    to->n = to->whole ? to->room : from->n;
}

fkm_status fkmi_column_reserve(const struct fkmi_train_columns *columns, struct fkmi_train_column *column,
                               int64_t n)
{
    const bool whole = n * WHOLE_FROM >= columns->k;
    const int64_t room = whole ? columns->k : n + n / 2 + 1;
    struct fkmi_train_column next = {.room = (int32_t)room, .whole = whole};

    if (column->whole || n <= column->room)
        return FKM_OK;
    FKMI_TRY(fkmi_alloc(&next.memory, room,
                        columns->real_size + fkmi_moment_size(columns) + (whole ? 0 : sizeof(int32_t))));
    if (column->memory)
        move_column(columns, column, &next);
    next.n = whole ? (int32_t)columns->k : next.n;
    fkmi_free(column->memory);
    *column = next;
    return FKM_OK;
}

static double weight_of(const struct fkmi_state *state, int64_t d)
{
    return state->feature_weights ? state->feature_weights[d] : 1.0;
}

static double size_of(const struct fkmi_train_columns *columns, const struct fkmi_state *state, int64_t d,
                      double c)
{
    return weight_of(state, d) * (columns->metric == FKM_METRIC_L1 ? fabs(c) : c * c);
}

/* The real c as the state stores it. */
static inline double as_stored(fkm_dtype dtype, double c)
{
    char stored[sizeof(double)];

    if (dtype == FKM_DTYPE_F32 || dtype == FKM_DTYPE_F64)
        return c;
    fkmi_dtype_set(stored, dtype, 0, c);
    return fkmi_dtype_get(stored, dtype, 0);
}

/* The coordinates of prototype j, columns ascending, that its list or its moments have. */
struct walk {
    int64_t at, end, held_at, held_end; /* next: in the lists, in what is held */
    int32_t column;
    bool listed, held; /* where this one is: at - 1, held_at - 1 */
};

static bool next_coordinate(const struct fkmi_state *state, const struct fkmi_held_moments *held,
                            struct walk *walk)
{
    const int32_t a = walk->at < walk->end ? state->lists.index[walk->at] : INT32_MAX;
    const int32_t b = walk->held_at < walk->held_end ? held->index[walk->held_at] : INT32_MAX;

    if (a == INT32_MAX && b == INT32_MAX)
        return false;
    walk->column = a < b ? a : b;
    walk->listed = a <= b;
    walk->held = b <= a;
    walk->at += walk->listed;
    walk->held_at += walk->held;
    return true;
}

static struct walk begin_walk(const struct fkmi_state *state, const struct fkmi_held_moments *held, int64_t j)
{
    return (struct walk){.at = state->lists.begin[j],
                         .end = state->lists.begin[j + 1],
                         .held_at = held->begin ? held->begin[j] : 0,
                         .held_end = held->begin ? held->begin[j + 1] : 0};
}

/* Puts the coordinate where the walk is into its column. */
static void put_coordinate(struct fkmi_train_columns *columns, const struct fkmi_state *state,
                           const struct fkmi_held_moments *held, const struct walk *walk, int64_t j)
{
    struct fkmi_train_column *column = &columns->column[walk->column];
    const int64_t at = column->whole ? j : column->n, h = walk->held_at - 1;
    double c = walk->listed ? fkmi_dtype_get(state->lists.value, state->dtype, walk->at - 1) : 0.0;

    if (!column->whole)
        fkmi_column_prototypes(columns, column)[column->n++] = (int32_t)j;
    if (walk->held && held->master) { /* unless something else has moved it since */
        const double master = fkmi_column_real(columns, held->master, h);

        c = as_stored(state->dtype, master) == c ? master : c;
    }
    fkmi_column_set_real(columns, fkmi_column_values(column), at, c);
    columns->size[j] += size_of(columns, state, walk->column, c);
    if (!walk->held)
        return;
    if (columns->real == FKMI_REAL_F64)
        ((struct fkmi_moment_64 *)(void *)fkmi_column_moments(columns, column))[at] = (struct fkmi_moment_64){
            ((const double *)held->m)[h], ((const double *)held->v)[h], (uint64_t)columns->step};
    else
        ((struct fkmi_moment_32 *)(void *)fkmi_column_moments(columns, column))[at] = (struct fkmi_moment_32){
            ((const float *)held->m)[h], ((const float *)held->v)[h], (uint32_t)columns->step};
}

fkm_status fkmi_train_columns_create(const struct fkmi_state *state, fkm_metric metric,
                                     const struct fkmi_held_moments *held, int64_t step,
                                     struct fkmi_train_columns **out)
{
    const int64_t k = state->k, dim = state->dim;
    struct fkmi_train_columns *columns = NULL;
    int32_t *count = NULL;
    fkm_status status = FKM_OK;

    FKMI_TRY_GOTO(fkmi_alloc(&columns, 1, sizeof *columns));
    *columns = (struct fkmi_train_columns){
        .dim = dim, .k = k, .step = step, .metric = metric, .real = fkmi_real_of(state->dtype)};
    columns->real_size = fkmi_real_size(columns->real);
    FKMI_TRY_GOTO(fkmi_alloc(&columns->column, dim, sizeof *columns->column));
    FKMI_TRY_GOTO(fkmi_alloc(&columns->factor, k, sizeof *columns->factor));
    FKMI_TRY_GOTO(fkmi_alloc(&columns->size, k, sizeof *columns->size));
    FKMI_TRY_GOTO(fkmi_alloc(&columns->place, dim, sizeof *columns->place));
    FKMI_TRY_GOTO(fkmi_alloc(&columns->decay_1, FKMI_DECAYS, sizeof *columns->decay_1));
    FKMI_TRY_GOTO(fkmi_alloc(&columns->decay_2, FKMI_DECAYS, sizeof *columns->decay_2));
    for (int steps = 0; steps < FKMI_DECAYS; steps++) {
        columns->decay_1[steps] = pow(FKMI_BETA_1, steps);
        columns->decay_2[steps] = pow(FKMI_BETA_2, steps);
    }
    FKMI_TRY_GOTO(fkmi_alloc(&count, dim, sizeof *count));
    for (int64_t j = 0; j < k; j++) {
        struct walk walk = begin_walk(state, held, j);

        while (next_coordinate(state, held, &walk))
            count[walk.column]++;
    }
    for (int64_t d = 0; d < dim; d++) {
        columns->place[d] = -1;
        if (count[d] > 0)
            FKMI_TRY_GOTO(fkmi_column_reserve(columns, &columns->column[d], count[d]));
    }
    for (int64_t j = 0; j < k; j++) {
        struct walk walk = begin_walk(state, held, j);

        columns->factor[j] = 1;
        while (next_coordinate(state, held, &walk))
            put_coordinate(columns, state, held, &walk, j);
    }
    *out = columns;
    columns = NULL;
done:
    fkmi_free(count);
    fkmi_train_columns_free(columns);
    return status;
}

/* Factors go into the values; coordinates that are not 0 as stored, by prototype, at count[j + 1]. */
static void fold(struct fkmi_train_columns *columns, const struct fkmi_state *state, int64_t *count)
{
    memset(columns->size, 0, (size_t)columns->k * sizeof *columns->size);
    for (int64_t d = 0; d < columns->dim; d++) {
        struct fkmi_train_column *column = &columns->column[d];
        char *values = fkmi_column_values(column);
        const int32_t *prototype = column->whole ? NULL : fkmi_column_prototypes(columns, column);

        for (int64_t e = 0; e < column->n; e++) {
            const int64_t j = prototype ? prototype[e] : e;
            double c;

            fkmi_column_set_real(columns, values, e,
                                 columns->factor[j] * fkmi_column_real(columns, values, e));
            c = fkmi_column_real(columns, values, e);
            columns->size[j] += size_of(columns, state, d, c);
            count[j + 1] += as_stored(state->dtype, c) != 0;
        }
    }
    for (int64_t j = 0; j < columns->k; j++)
        columns->factor[j] = 1;
}

fkm_status fkmi_train_columns_export(struct fkmi_train_columns *columns, struct fkmi_state *state)
{
    const int64_t k = columns->k;
    struct fkmi_lists next = {0};
    int64_t *at = NULL;
    fkm_status status = FKM_OK;

    FKMI_TRY_GOTO(fkmi_alloc(&next.begin, state->k_capacity + 1, sizeof *next.begin));
    FKMI_TRY_GOTO(fkmi_alloc(&at, k, sizeof *at));
    fold(columns, state, next.begin);
    for (int64_t j = 0; j < k; j++) {
        next.begin[j + 1] += next.begin[j];
        at[j] = next.begin[j];
    }
    FKMI_TRY_GOTO(fkmi_alloc(&next.index, next.begin[k], sizeof *next.index));
    FKMI_TRY_GOTO(fkmi_alloc(&next.value, next.begin[k], fkmi_dtype_size(state->dtype)));
    for (int64_t d = 0; d < columns->dim; d++) {
        const struct fkmi_train_column *column = &columns->column[d];
        const int32_t *prototype = column->whole ? NULL : fkmi_column_prototypes(columns, column);

        for (int64_t e = 0; e < column->n; e++) {
            const int64_t j = prototype ? prototype[e] : e;
            const double c =
                as_stored(state->dtype, fkmi_column_real(columns, fkmi_column_values(column), e));

            if (c == 0)
                continue;
            next.index[at[j]] = (int32_t)d;
            if (state->dtype == FKM_DTYPE_F32)
                ((float *)next.value)[at[j]++] = (float)c;
            else
                fkmi_dtype_set(next.value, state->dtype, at[j]++, c);
        }
    }
    fkmi_free(state->lists.begin);
    fkmi_free(state->lists.index);
    fkmi_free(state->lists.value);
    state->lists = next;
    state->list_capacity = next.begin[k];
    next = (struct fkmi_lists){0};
done:
    fkmi_free(next.begin);
    fkmi_free(next.index);
    fkmi_free(next.value);
    fkmi_free(at);
    return status;
}
