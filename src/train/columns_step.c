/* columns_step.c — a step on CSR rows that costs what their columns hold.
 *
 * A coordinate is touched when one of the rows that pull at its prototype has an entry there. Its gradient is that of
 * dense rows, and Adam moves it; the moments of the others decay, which is made up for when they are touched again. What
 * the gradient has along the prototype outside of what was touched is left out. Columns are cut into blocks, the same
 * for any number of threads; each has one writer and adds its rows in ascending order.
 * SPDX-License-Identifier: Apache-2.0 */
#include "train/columns_step.h"

#include <float.h>
#include <math.h>
#include <string.h>

fkm_status fkmi_train_columns_plan(struct fkmi_step *step)
{
    struct fkmi_arena *arena = &step->work->arena;
    const int64_t n_threads = fkmi_pool_threads(step->context->pool), k = step->active.k,
                  n = step->chunk_rows, entries = step->chunk_entries;
    struct fkmi_sparse *s;

    FKMI_TRY(fkmi_arena_take(arena, &step->sparse, 1, sizeof *step->sparse));
    s = step->sparse;
    FKMI_TRY(fkmi_arena_take(arena, &s->distance, n_threads * k, sizeof *s->distance));
    FKMI_TRY(fkmi_arena_take(arena, &s->pull, n * step->width, sizeof *s->pull));
    FKMI_TRY(fkmi_arena_take(arena, &s->pull_begin, n + 1, sizeof *s->pull_begin));
    FKMI_TRY(fkmi_arena_take(arena, &s->along, k, sizeof *s->along));
    FKMI_TRY(fkmi_arena_take(arena, &s->column, entries, sizeof *s->column));
    FKMI_TRY(fkmi_arena_take(arena, &s->row, entries, sizeof *s->row));
    FKMI_TRY(fkmi_arena_take(arena, &s->entry, entries, sizeof *s->entry));
    FKMI_TRY(fkmi_arena_take(arena, &s->entry_begin, entries + 2, sizeof *s->entry_begin));
    FKMI_TRY(fkmi_arena_take(arena, &s->touched_begin, entries + 1, sizeof *s->touched_begin));
    FKMI_TRY(fkmi_arena_take(arena, &s->n_touched, entries, sizeof *s->n_touched));
    FKMI_TRY(fkmi_arena_take(arena, &s->n_new, entries, sizeof *s->n_new));
    FKMI_TRY(fkmi_arena_take(arena, &s->before, FKMI_COLUMN_BLOCKS * k, sizeof *s->before));
    FKMI_TRY(fkmi_arena_take(arena, &s->after, FKMI_COLUMN_BLOCKS * k, sizeof *s->after));
    FKMI_TRY(fkmi_arena_take(arena, &s->tally, n_threads * k, sizeof *s->tally));
    FKMI_TRY(fkmi_arena_take(arena, &s->p, n_threads * k, step->real_size));
    FKMI_TRY(fkmi_arena_take(arena, &s->m, n_threads * k, step->real_size));
    FKMI_TRY(fkmi_arena_take(arena, &s->v, n_threads * k, step->real_size));
    FKMI_TRY(fkmi_arena_take(arena, &s->scale, k, sizeof *s->scale));
    FKMI_TRY(fkmi_arena_take(arena, &s->zero, k, sizeof *s->zero));
    fkmi_train_columns_scale(step->trainer->columns, s->scale);
    return fkmi_arena_take(arena, &step->gradient.touched, k, 1);
}

/* ---- what the rows said, by row and by column */

static void list_pulls(struct fkmi_step *step)
{
    const struct fkmi_train_columns *columns = step->trainer->columns;
    const struct fkmi_chunk *chunk = &step->chunk;
    struct fkmi_sparse *s = step->sparse;
    int64_t n = 0;

    for (int64_t i = 0; i < chunk->n; i++) {
        for (int64_t c = 0; c < chunk->count[i]; c++) {
            const int64_t at = i * step->width + c;
            const int32_t j = fkmi_place_at(step, i, c);
            const double slope = chunk->slope[at];

            if (j < 0 || slope == 0 || step->state->frozen[j])
                continue;
            switch (columns->metric) {
            case FKM_METRIC_EUCLIDEAN: /* 2 (c - x) */
                s->pull[n].scale = -2 * slope;
                s->along[j] += 2 * slope;
                break;
            case FKM_METRIC_COSINE: /* of a zero prototype there is none */
                if (!(columns->size[j] > 0))
                    continue;
                s->pull[n].scale = -slope / sqrt(columns->size[j]);
                s->along[j] += slope * (1 - chunk->distance[at]) / columns->size[j];
                break;
            case FKM_METRIC_L1: /* sign(c - x), which is sign(c) off the row's entries */
                s->pull[n].scale = slope;
                s->along[j] += slope;
                break;
            }
            s->pull[n++].prototype = j;
        }
        s->pull_begin[i + 1] = n;
    }
}

/* A counting sort of the entries by column. */
static void sort_entries(struct fkmi_step *step)
{
    const struct fkmi_rows *rows = &step->chunk.rows;
    struct fkmi_sparse *s = step->sparse;
    int32_t *place = step->trainer->columns->place;
    int64_t *begin = s->entry_begin + 1; /* of column c, once those before are counted */

    for (int64_t i = 0; i < step->chunk.n; i++) {
        const int64_t row = fkmi_row(rows, i);

        for (int64_t e = rows->indptr[row]; e < rows->indptr[row + 1]; e++) {
            const int32_t d = rows->indices[e];

            if (place[d] < 0) {
                place[d] = (int32_t)s->n_columns;
                s->column[s->n_columns++] = d;
            }
            begin[place[d] + 1]++;
        }
    }
    for (int64_t c = 0; c < s->n_columns; c++)
        begin[c + 1] += begin[c];
    for (int64_t i = 0; i < step->chunk.n; i++) {
        const int64_t row = fkmi_row(rows, i), from = rows->indptr[row];

        for (int64_t e = from; e < rows->indptr[row + 1]; e++) {
            const int64_t at = begin[place[rows->indices[e]]]++;

            s->row[at] = (int32_t)i;
            s->entry[at] = step->in.entries_begin[i] + e - from;
        }
    }
    for (int64_t c = 0; c < s->n_columns; c++) /* begin[c] has come to where c + 1 begins */
        place[s->column[c]] = -1;
}

/* Room for the touched coordinates of each column, and the blocks of columns, which have about as many each. */
static fkm_status cut_columns(struct fkmi_step *step)
{
    struct fkmi_sparse *s = step->sparse;
    const int64_t k = step->active.k;
    int64_t c = 0, n;

    for (int64_t at = 0; at < s->n_columns; at++) {
        int64_t pulls = 0;

        for (int64_t e = s->entry_begin[at]; e < s->entry_begin[at + 1]; e++)
            pulls += s->pull_begin[s->row[e] + 1] - s->pull_begin[s->row[e]];
        s->touched_begin[at + 1] = s->touched_begin[at] + (pulls < k ? pulls : k);
    }
    n = s->touched_begin[s->n_columns];
    for (int64_t block = 1; block <= FKMI_COLUMN_BLOCKS; block++) {
        while (c < s->n_columns && s->touched_begin[c + 1] <= n * block / FKMI_COLUMN_BLOCKS)
            c++;
        s->block_begin[block] = block == FKMI_COLUMN_BLOCKS ? s->n_columns : c;
    }
    FKMI_TRY(fkmi_arena_take(&step->work->arena, &s->touched, n, sizeof *s->touched));
    return fkmi_arena_take(&step->work->arena, &s->g, n, step->real_size);
}

/* ---- one column */

static double weight_at(const struct fkmi_step *step, int64_t d)
{
    return step->space.feature_weights ? step->space.feature_weights[d] : 1.0;
}

/* Notes where the prototypes of a list are; what is noted of others is old. */
static void find_prototypes(const struct fkmi_train_columns *columns, const struct fkmi_train_column *column,
                            struct fkmi_tally *tally)
{
    const int32_t *prototype;

    if (column->whole || column->n == 0)
        return;
    prototype = fkmi_column_prototypes(columns, column);
    for (int32_t e = 0; e < column->n; e++)
        tally[prototype[e]].where = e;
}

/* The place of prototype j in the column, -1 when it is not there. */
static inline int32_t place_of(const struct fkmi_train_columns *columns,
                               const struct fkmi_train_column *column, const struct fkmi_tally *tally,
                               int32_t j)
{
    const int32_t where = tally[j].where;

    if (column->whole)
        return j;
    return where < column->n && fkmi_column_prototypes(columns, column)[where] == j ? where : -1;
}

static inline double coordinate(const struct fkmi_train_columns *columns,
                                const struct fkmi_train_column *column, const struct fkmi_tally *tally,
                                int32_t j)
{
    const int32_t at = place_of(columns, column, tally, j);

    return at < 0 ? 0.0 : columns->factor[j] * fkmi_column_real(columns, fkmi_column_values(column), at);
}

static inline double size_of(fkm_metric metric, double w, double c)
{
    return w * (metric == FKM_METRIC_L1 ? fabs(c) : c * c);
}

static inline int sign(double c) { return (c > 0) - (c < 0); }

/* Adds up the rows of column c; the prototypes they pull at, in the order in which they come. */
static int32_t add_rows(const struct fkmi_step *step, struct fkmi_tally *tally, int64_t c, int32_t *touched)
{
    const struct fkmi_sparse *s = step->sparse;
    const struct fkmi_train_columns *columns = step->trainer->columns;
    const struct fkmi_train_column *column = &columns->column[s->column[c]];
    const bool l1 = columns->metric == FKM_METRIC_L1;
    const int32_t stamp = (int32_t)(c + 1);
    int32_t n = 0;

    for (int64_t t = s->entry_begin[c]; t < s->entry_begin[c + 1]; t++) {
        const struct fkmi_pull *pull = s->pull + s->pull_begin[s->row[t]],
                               *end = s->pull + s->pull_begin[s->row[t] + 1];
        const double x = fkmi_column_real(columns, step->in.entries, s->entry[t]);

        for (; pull < end; pull++) {
            struct fkmi_tally *of = &tally[pull->prototype];
            double slope = x;

            if (of->stamp != stamp) {
                of->stamp = stamp;
                of->sum = 0;
                touched[n++] = pull->prototype;
            }
            if (l1) {
                const double p = coordinate(columns, column, tally, pull->prototype);
                slope = sign(p - x) - sign(p);
            }
            of->sum += pull->scale * slope;
        }
    }
    return n;
}

/* The gradient of what is touched in column c, and its part of the prototypes' sizes. */
static void pull_column(const struct fkmi_step *step, struct fkmi_tally *tally, int64_t c, double *before,
                        int32_t *bad)
{
    struct fkmi_sparse *s = step->sparse;
    const struct fkmi_train_columns *columns = step->trainer->columns;
    const struct fkmi_train_column *column = &columns->column[s->column[c]];
    const bool l1 = columns->metric == FKM_METRIC_L1;
    const double w = weight_at(step, s->column[c]);
    int32_t *touched = s->touched + s->touched_begin[c];
    char *g = s->g + (size_t)s->touched_begin[c] * step->real_size;

    find_prototypes(columns, column, tally);
    s->n_touched[c] = add_rows(step, tally, c, touched);
    for (int32_t t = 0; t < s->n_touched[c]; t++) {
        const int32_t j = touched[t];
        const double p = coordinate(columns, column, tally, j);
        const double slope = w * (tally[j].sum + s->along[j] * (l1 ? sign(p) : p));

        fkmi_column_set_real(columns, g, t, slope);
        if (!(fabs(slope) <= (columns->real == FKMI_REAL_F64 ? DBL_MAX : (double)FLT_MAX)))
            *bad = j;
        before[j] += size_of(columns->metric, w, p);
        s->n_new[c] += place_of(columns, column, tally, j) < 0;
    }
}

static fkm_status pull_columns(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct fkmi_step *step = argument;
    struct fkmi_sparse *s = step->sparse;

    for (int64_t block = begin; block < end; block++) {
        s->bad[block] = -1;
        for (int64_t c = s->block_begin[block]; c < s->block_begin[block + 1]; c++)
            pull_column(step, s->tally + thread * step->active.k, c, s->before + block * step->active.k,
                        &s->bad[block]);
    }
    return FKM_OK;
}

static fkm_status reserve_columns(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct fkmi_step *step = argument;
    const struct fkmi_sparse *s = step->sparse;
    const struct fkmi_train_columns *columns = step->trainer->columns;

    (void)thread;
    for (int64_t c = s->block_begin[begin]; c < s->block_begin[end]; c++) {
        struct fkmi_train_column *column = &columns->column[s->column[c]];

        FKMI_TRY(fkmi_column_reserve(columns, column, (int64_t)column->n + s->n_new[c]));
    }
    return FKM_OK;
}

fkm_status fkmi_train_columns_backward(struct fkmi_step *step)
{
    struct fkmi_sparse *s = step->sparse;

    list_pulls(step);
    sort_entries(step);
    FKMI_TRY(cut_columns(step));
    FKMI_TRY(fkmi_parallel(step->context->pool, FKMI_COLUMN_BLOCKS, 1, pull_columns, step));
    for (int block = 0; block < FKMI_COLUMN_BLOCKS; block++)
        if (s->bad[block] >= 0)
            return fkmi_fail(FKM_ESTATE,
                             "the gradient of prototype %d is not finite: the learning rate may be too "
                             "large or a feature out of range",
                             s->bad[block]);
    return fkmi_parallel(step->context->pool, FKMI_COLUMN_BLOCKS, 1, reserve_columns, step);
}

/* ---- the move */

struct move_job {
    struct fkmi_step *step;
    struct fkmi_train_columns *columns;
    double rate, fix_1, fix_2;
};

/* What is touched in a column, taken out for Adam, with the decay of the steps that it was not touched in, and put
 * back. */
#define TAKE(REAL, MOMENT)                                                                                   \
    do {                                                                                                     \
        const REAL *value = (const void *)fkmi_column_values(column);                                        \
        const struct MOMENT *moment = (const void *)fkmi_column_moments(columns, column);                    \
        for (int32_t t = 0; t < n; t++) {                                                                    \
            const int32_t j = touched[t], at = column->whole ? j : tally[j].where;                           \
            const int64_t missed = columns->step - 1 - (int64_t)moment[at].step;                             \
            ((REAL *)p)[t] = (REAL)(columns->factor[j] * (double)value[at]);                                 \
            ((REAL *)m)[t] = moment[at].m * (REAL)fkmi_decay_of(columns->decay_1, FKMI_BETA_1, missed);      \
            ((REAL *)v)[t] = moment[at].v * (REAL)fkmi_decay_of(columns->decay_2, FKMI_BETA_2, missed);      \
        }                                                                                                    \
    } while (0)
#define PUT(REAL, MOMENT, COUNT)                                                                             \
    do {                                                                                                     \
        REAL *value = (void *)fkmi_column_values(column);                                                    \
        struct MOMENT *moment = (void *)fkmi_column_moments(columns, column);                                \
        for (int32_t t = 0; t < n; t++) {                                                                    \
            const int32_t j = touched[t], at = column->whole ? j : tally[j].where;                           \
            value[at] = (REAL)((double)((const REAL *)p)[t] / columns->factor[j]);                           \
            moment[at] = (struct MOMENT){((const REAL *)m)[t], ((const REAL *)v)[t], (COUNT)columns->step};  \
            after[j] += size_of(metric, w, columns->factor[j] * (double)value[at]);                          \
        }                                                                                                    \
    } while (0)

/* Adam on what is touched in column c. */
static void move_column(const struct move_job *job, int64_t c, int thread, double *after)
{
    const struct fkmi_train_columns *columns = job->columns;
    const struct fkmi_sparse *s = job->step->sparse;
    struct fkmi_train_column *column = &job->columns->column[s->column[c]];
    const int32_t *touched = s->touched + s->touched_begin[c], n = s->n_touched[c];
    const double w = weight_at(job->step, s->column[c]);
    const fkm_metric metric = columns->metric;
    const int64_t room = thread * columns->k;
    struct fkmi_tally *tally = s->tally + room;
    void *p = s->p + (size_t)room * columns->real_size, *m = s->m + (size_t)room * columns->real_size,
         *v = s->v + (size_t)room * columns->real_size;

    find_prototypes(columns, column, tally);
    for (int32_t t = 0; t < n && s->n_new[c] > 0; t++)
        if (place_of(columns, column, tally, touched[t]) < 0) {
            tally[touched[t]].where = column->n;
            fkmi_column_prototypes(columns, column)[column->n++] = touched[t];
        }
    if (columns->real == FKMI_REAL_F32)
        TAKE(float, fkmi_moment_32);
    else
        TAKE(double, fkmi_moment_64);
    job->step->vector->adam(p, m, v, s->g + (size_t)s->touched_begin[c] * columns->real_size, n, job->rate,
                            FKMI_BETA_1, FKMI_BETA_2, job->fix_1, job->fix_2);
    if (columns->real == FKMI_REAL_F32)
        PUT(float, fkmi_moment_32, uint32_t);
    else
        PUT(double, fkmi_moment_64, uint64_t);
}

static fkm_status move_columns(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct move_job *job = argument;
    const struct fkmi_sparse *s = job->step->sparse;

    for (int64_t block = begin; block < end; block++)
        for (int64_t c = s->block_begin[block]; c < s->block_begin[block + 1]; c++)
            move_column(job, c, thread, s->after + block * job->columns->k);
    return FKM_OK;
}

/* Factors go into the values: after many steps they would leave what a float can hold. */
static void fold_factors(struct fkmi_train_columns *columns)
{
    for (int64_t d = 0; d < columns->dim; d++) {
        struct fkmi_train_column *column = &columns->column[d];
        char *values = fkmi_column_values(column);
        const int32_t *prototype = column->whole ? NULL : fkmi_column_prototypes(columns, column);

        for (int64_t e = 0; e < column->n; e++)
            fkmi_column_set_real(columns, values, e,
                                 columns->factor[prototype ? prototype[e] : e] *
                                     fkmi_column_real(columns, values, e));
    }
    for (int64_t j = 0; j < columns->k; j++)
        columns->factor[j] = 1;
}

void fkmi_train_columns_update(struct fkmi_step *step, struct fkmi_trainer *trainer, double rate)
{
    struct fkmi_train_columns *columns = trainer->columns;
    const struct fkmi_sparse *s = step->sparse;
    const bool unit = columns->metric == FKM_METRIC_COSINE && step->params->normalize_prototypes;
    const double t = (double)(columns->step = trainer->step);
    struct move_job job = {step, columns, rate * trainer->unit, 1 - pow(FKMI_BETA_1, t),
                           1 - pow(FKMI_BETA_2, t)};
    bool far = false;

    (void)fkmi_parallel_whole(step->context->pool, FKMI_COLUMN_BLOCKS, 1, move_columns, &job);
    for (int64_t j = 0; j < columns->k; j++) {
        double before = 0, after = 0;

        if (!step->gradient.touched[j])
            continue;
        for (int block = 0; block < FKMI_COLUMN_BLOCKS; block++) {
            before += s->before[block * columns->k + j];
            after += s->after[block * columns->k + j];
        }
        columns->size[j] = fmax(columns->size[j] - before, 0.0) + after;
        if (unit && columns->size[j] > 0) {
            columns->factor[j] /= sqrt(columns->size[j]);
            columns->size[j] = 1;
            far |= columns->factor[j] < 1e-6 || columns->factor[j] > 1e6;
        }
    }
    if (far)
        fold_factors(columns);
}
