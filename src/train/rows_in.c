/* rows_in.c — a chunk's rows as backward reads them: reals, unit length for cosine, masked entries 0. Rows
 * that are that already stay where they are; CSR rows stay CSR.
 * SPDX-License-Identifier: Apache-2.0 */
#include "train/step.h"

enum { VALUES_PER_BLOCK = 16384 };

fkm_status fkmi_rows_in_plan(struct fkmi_step *step)
{
    struct fkmi_arena *arena = &step->work->arena;
    const int64_t dim = step->space.dim, n = step->chunk_rows;
    struct fkmi_rows_in *in = &step->in;

    FKMI_TRY(fkmi_arena_take(arena, &in->zero, dim, step->real_size));
    if (fkmi_rows_sparse(step->rows)) {
        FKMI_TRY(fkmi_arena_take(arena, &in->entries, step->chunk_entries, step->real_size));
        FKMI_TRY(fkmi_arena_take(arena, &in->entries_begin, n + 1, sizeof *in->entries_begin));
    } else if (!step->direct) {
        FKMI_TRY(fkmi_arena_take(arena, &in->loaded, n * dim, step->real_size));
    }
    if (step->space.feature_weights) {
        FKMI_TRY(fkmi_arena_take(arena, &in->shared_weight, dim, step->real_size));
        step->vector->load[FKM_DTYPE_F64](in->shared_weight, step->space.feature_weights, dim);
    }
    in->weight = in->shared_weight;
    in->weight_by_row = step->rows->mask != NULL;
    if (in->weight_by_row) {
        FKMI_TRY(fkmi_arena_take(arena, &in->weight, n * dim, step->real_size));
        FKMI_TRY(fkmi_arena_take(arena, &in->factor, n, sizeof *in->factor));
    }
    return FKM_OK;
}

/* Entries of CSR row i: widened and scaled like a loaded row. */
static void load_entries(const struct fkmi_step *step, int64_t i)
{
    const struct fkmi_rows *rows = &step->chunk.rows;
    const struct fkmi_rows_in *in = &step->in;
    const int64_t from = rows->indptr[fkmi_row(rows, i)], n = in->entries_begin[i + 1] - in->entries_begin[i];
    const char *stored = (const char *)rows->values + (size_t)from * fkmi_dtype_size(rows->dtype);
    const double scale = fkmi_row_scale(rows, &step->space, i);
    void *out = fkmi_real_at(step, in->entries, in->entries_begin[i]);

    step->vector->load[rows->dtype](out, stored, n);
    if (scale == 1)
        return;
    for (int64_t t = 0; t < n; t++) {
        if (step->real == FKMI_REAL_F32)
            ((float *)out)[t] *= (float)scale;
        else
            ((double *)out)[t] *= scale;
    }
}

static fkm_status load_rows(void *argument, int64_t begin, int64_t end, int thread)
{
    struct fkmi_step *step = argument;
    const struct fkmi_rows *rows = &step->chunk.rows;
    const struct fkmi_rows_in *in = &step->in;
    bool present;

    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        if (in->entries)
            load_entries(step, i);
        if (in->loaded)
            fkmi_row_load(rows, &step->space, i, fkmi_real_at(step, in->loaded, i * rows->dim));
        if (in->weight_by_row)
            in->factor[i] = fkmi_row_active(rows, &step->space, i,
                                            fkmi_real_at(step, in->weight, i * rows->dim), &present);
    }
    return FKM_OK;
}

fkm_status fkmi_rows_in(struct fkmi_step *step)
{
    const struct fkmi_rows *rows = &step->chunk.rows;
    const struct fkmi_rows_in *in = &step->in;
    int64_t per_block = VALUES_PER_BLOCK / rows->dim;

    if (in->entries) {
        for (int64_t i = 0; i < rows->n; i++) {
            const int64_t row = fkmi_row(rows, i);

            in->entries_begin[i + 1] = in->entries_begin[i] + rows->indptr[row + 1] - rows->indptr[row];
        }
        per_block = VALUES_PER_BLOCK / (in->entries_begin[rows->n] / rows->n + 1);
    } else if (!in->loaded && !in->weight_by_row) {
        return FKM_OK;
    }
    return fkmi_parallel(step->context->pool, rows->n, per_block > 1 ? per_block : 1, load_rows, step);
}
