/* columns_held.c — the moments of columns between calls: lists by prototype, as copies and files keep them.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "train/columns.h"
#include "train/step.h"

void fkmi_held_free(struct fkmi_held_moments *held)
{
    fkmi_free(held->begin);
    fkmi_free(held->index);
    fkmi_free(held->m);
    fkmi_free(held->v);
    fkmi_free(held->master);
    *held = (struct fkmi_held_moments){0};
}

fkm_status fkmi_held_copy(struct fkmi_held_moments *out, const struct fkmi_held_moments *held, int64_t k,
                          size_t real)
{
    const int64_t n = held->begin ? held->begin[k] : 0;
    fkm_status status = FKM_OK;

    *out = (struct fkmi_held_moments){0};
    FKMI_TRY_GOTO(fkmi_copy(&out->begin, held->begin, k + 1, sizeof *out->begin));
    FKMI_TRY_GOTO(fkmi_copy(&out->index, held->index, n, sizeof *out->index));
    FKMI_TRY_GOTO(fkmi_copy(&out->m, held->m, n, real));
    FKMI_TRY_GOTO(fkmi_copy(&out->v, held->v, n, real));
    FKMI_TRY_GOTO(fkmi_copy(&out->master, held->master, n, real));
done:
    if (status != FKM_OK)
        fkmi_held_free(out);
    return status;
}

/* Adam's moments of entry e of a column, in f64, and the step that they are from. */
static struct fkmi_moment_64 moment_of(const struct fkmi_train_columns *columns,
                                       const struct fkmi_train_column *column, int64_t e)
{
    const void *moments = fkmi_column_moments(columns, column);
    struct fkmi_moment_32 narrow;

    if (columns->real == FKMI_REAL_F64)
        return ((const struct fkmi_moment_64 *)moments)[e];
    narrow = ((const struct fkmi_moment_32 *)moments)[e];
    return (struct fkmi_moment_64){(double)narrow.m, (double)narrow.v, narrow.step};
}

fkm_status fkmi_train_columns_hold(const struct fkmi_train_columns *columns, fkm_dtype dtype,
                                   struct fkmi_held_moments *out)
{
    const bool half = fkmi_dtype_size(dtype) != columns->real_size;
    struct fkmi_held_moments next = {0};
    int64_t *at = NULL;
    fkm_status status = FKM_OK;

    FKMI_TRY_GOTO(fkmi_alloc(&next.begin, columns->k + 1, sizeof *next.begin));
    FKMI_TRY_GOTO(fkmi_alloc(&at, columns->k, sizeof *at));
    for (int pass = 0; pass < 2; pass++) { /* counts, then fills */
        for (int64_t d = 0; d < columns->dim; d++) {
            const struct fkmi_train_column *column = &columns->column[d];
            const int32_t *prototype = column->whole ? NULL : fkmi_column_prototypes(columns, column);

            for (int64_t e = 0; e < column->n; e++) {
                const int64_t j = prototype ? prototype[e] : e;
                const double c = half ? fkmi_column_real(columns, fkmi_column_values(column), e) : 0.0;
                const struct fkmi_moment_64 is = moment_of(columns, column, e);
                const int64_t missed = columns->step - (int64_t)is.step;

                if (is.m == 0 && is.v == 0 && c == 0)
                    continue;
                if (pass == 0) {
                    next.begin[j + 1]++;
                    continue;
                }
                next.index[at[j]] = (int32_t)d;
                fkmi_column_set_real(columns, next.m, at[j],
                                     is.m * fkmi_decay_of(columns->decay_1, FKMI_BETA_1, missed));
                fkmi_column_set_real(columns, next.v, at[j],
                                     is.v * fkmi_decay_of(columns->decay_2, FKMI_BETA_2, missed));
                if (half)
                    fkmi_column_set_real(columns, next.master, at[j], c);
                at[j]++;
            }
        }
        if (pass == 1)
            break;
        for (int64_t j = 0; j < columns->k; j++) {
            next.begin[j + 1] += next.begin[j];
            at[j] = next.begin[j];
        }
        FKMI_TRY_GOTO(fkmi_alloc(&next.index, next.begin[columns->k], sizeof *next.index));
        FKMI_TRY_GOTO(fkmi_alloc(&next.m, next.begin[columns->k], columns->real_size));
        FKMI_TRY_GOTO(fkmi_alloc(&next.v, next.begin[columns->k], columns->real_size));
        if (half)
            FKMI_TRY_GOTO(fkmi_alloc(&next.master, next.begin[columns->k], columns->real_size));
    }
    fkmi_held_free(out);
    *out = next;
    next = (struct fkmi_held_moments){0};
done:
    fkmi_held_free(&next);
    fkmi_free(at);
    return status;
}

void fkmi_held_spread(const struct fkmi_held_moments *held, int64_t k, int64_t dim, size_t real, void *m,
                      void *v, void *master)
{
    for (int64_t j = 0; held->begin && j < k; j++)
        for (int64_t e = held->begin[j]; e < held->begin[j + 1]; e++) {
            const size_t to = (size_t)(j * dim + held->index[e]) * real, from = (size_t)e * real;

            memcpy((char *)m + to, (const char *)held->m + from, real);
            memcpy((char *)v + to, (const char *)held->v + from, real);
            if (held->master)
                memcpy((char *)master + to, (const char *)held->master + from, real);
        }
}
