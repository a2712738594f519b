/* soft.c — shares of rows: relu(sim - lambda [other class]) normalised, or its softmax.
 *
 * Rows go in blocks of at most MOST_SHARES shares. Shares are written row by row, then added up prototype by
 * prototype in row order: one writer each, the same bits for any number of threads.
 * SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/soft.h"

#include <math.h>

#include "prototypes/cells.h"
#include "prototypes/route.h"

#define MOST_SHARES        ((int64_t)1 << 21) /* 16 MiB */
#define PROTOTYPES_AT_ONCE 16                 /* their sums stay in the cache while a row passes */
#define SPARSE_AT_ONCE     256                /* of CSR rows: their sums by column, which rows come back to */

fkm_status fkmi_soft_take(struct fkmi_soft_room *room, struct fkmi_arena *arena, struct fkm_context *context,
                          const struct fkmi_state *state, int64_t n)
{
    room->block = MOST_SHARES / state->k;
    if (room->block < 1)
        room->block = 1;
    if (room->block > n)
        room->block = n;
    FKMI_TRY(fkmi_arena_take(arena, &room->share, room->block * state->k, sizeof(double)));
    FKMI_TRY(fkmi_arena_take(arena, &room->owner, state->k, sizeof(int32_t)));
    return fkmi_arena_take(arena, &room->rows, fkmi_pool_threads(context->pool) * state->dim, sizeof(double));
}

static double score_of(const fkm_params *params, double scale, bool other_class, double distance)
{
    return fkmi_similarity(params->metric, distance, scale) - (other_class ? params->lambda_penalty : 0);
}

void fkmi_soft_shares(const fkm_params *params, double scale, const int32_t *owner, int32_t slot, int64_t k,
                      double *share)
{
    int64_t best = 0;
    double largest, sum = 0;

    for (int64_t j = 0; j < k; j++) {
        share[j] = score_of(params, scale, owner[j] != slot, share[j]);
        if (share[j] > share[best])
            best = j;
    }
    largest = share[best];
    for (int64_t j = 0; j < k; j++) {
        share[j] = params->assignment == FKM_ASSIGN_SOFTMAX ? exp((share[j] - largest) / params->temperature)
                                                            : fmax(share[j], 0);
        sum += share[j];
    }
    if (sum > 0 && isfinite(sum)) {
        for (int64_t j = 0; j < k; j++)
            share[j] /= sum;
        return;
    }
    for (int64_t j = 0; j < k; j++) /* a row without score goes to its nearest */
        share[j] = j == best ? 1 : 0;
}

struct gathering {
    struct fkmi_soft_room *room;
    struct fkmi_cells *cells;
    struct fkm_context *context;
    const fkm_params *params;
    const struct fkmi_state *state;
    struct fkmi_space space;
    const struct fkmi_rows *rows; /* of the block */
    const int32_t *slot;
    double scale;
};

static fkm_status share_rows(void *job, int64_t begin, int64_t end, int thread)
{
    const struct gathering *g = job;
    const int64_t k = g->state->k;

    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        double *share = g->room->share + i * k;
        const double u = g->slot[i] >= 0 ? fkmi_row_weight(g->rows, i) : 0;
        if (u > 0)
            fkmi_soft_shares(g->params, g->scale, g->room->owner, g->slot[i], k, share);
        for (int64_t j = 0; j < k; j++)
            share[j] = u > 0 ? u * share[j] : 0;
    }
    return FKM_OK;
}

/* sum[j] += share x for the prototypes [begin, end) and one row, whose loaded values are in `row`. */
static void add_dense(const struct gathering *g, int64_t i, int64_t begin, int64_t end, void *row)
{
    const struct fkmi_sums *pull = &g->cells->pull;
    const int64_t dim = g->state->dim;
    const double *share = g->room->share + i * g->state->k;
    const float *mask = g->rows->mask ? g->rows->mask + fkmi_row(g->rows, i) * dim : NULL;
    const double length = fkmi_row_length(g->rows, &g->space, i);

    fkmi_row_load(g->rows, &g->space, i, row);
    for (int64_t j = begin; j < end; j++) {
        if (!(share[j] > 0))
            continue;
        if (!mask) {
            g->context->kernels->vector[g->space.real].add_f64(pull->sum + j * dim, row, share[j], dim);
            continue;
        }
        for (int64_t d = 0; d < dim; d++) {
            const double x = g->space.real == FKMI_REAL_F64 ? ((double *)row)[d] : (double)((float *)row)[d];
            pull->sum[j * dim + d] += share[j] * (double)mask[d] * length * x;
            pull->ages[j * dim + d] += share[j] * (double)mask[d];
        }
    }
}

/* sum[d][begin .. end) += x[d] share over the row's entries: shares lie side by side, and so do these sums. */
static void add_sparse(const struct gathering *g, int64_t i, int64_t begin, int64_t end, double *values)
{
    const int64_t r = fkmi_row(g->rows, i), first = g->rows->indptr[r], n = g->rows->indptr[r + 1] - first;
    const int64_t k = g->state->k;
    const int32_t *indices = g->rows->indices + first;
    const struct fkmi_vector *vector = &g->context->kernels->vector[FKMI_REAL_F64];
    const double *share = g->room->share + i * k, scale = fkmi_row_scale(g->rows, &g->space, i);
    const char *stored = (const char *)g->rows->values + (size_t)first * fkmi_dtype_size(g->rows->dtype);

    vector->load[g->rows->dtype](values, stored, n);
    for (int64_t e = 0; e < n; e++)
        vector->add_f64(g->cells->pull.sum + indices[e] * k + begin, share + begin, scale * values[e],
                        end - begin);
}

static fkm_status add_shares(void *job, int64_t begin, int64_t end, int thread)
{
    const struct gathering *g = job;
    void *row = g->room->rows + (size_t)thread * (size_t)g->state->dim * sizeof(double);

    for (int64_t i = 0; i < g->rows->n; i++) {
        const double *share = g->room->share + i * g->state->k;
        double any = 0;
        for (int64_t j = begin; j < end; j++) {
            g->cells->pull.mass[j] += share[j];
            any += share[j];
        }
        if (!(any > 0))
            continue;
        if (fkmi_rows_sparse(g->rows))
            add_sparse(g, i, begin, end, row);
        else
            add_dense(g, i, begin, end, row);
    }
    return FKM_OK;
}

fkm_status fkmi_soft_gather(struct fkmi_soft_room *room, struct fkmi_cells *cells,
                            struct fkm_context *context, const fkm_params *params,
                            const struct fkmi_state *state, const struct fkmi_pack *pack,
                            const struct fkmi_rows *rows, const int32_t *slot, double scale)
{
    struct fkmi_rows block;
    struct gathering g = {room,   cells, context, params, state, fkmi_state_space(state, params->metric),
                          &block, slot,  scale};
    const struct fkmi_scan scan = {.kind = FKMI_SCAN_ALL, .distance = room->share};

    fkmi_state_owners(state, room->owner);
    for (int64_t first = 0; first < rows->n; first += room->block) {
        const int64_t left = rows->n - first;
        block = fkmi_rows_slice(rows, first, left < room->block ? left : room->block);
        g.slot = slot + first;
        FKMI_TRY(context->backend->scan(context, &block, pack, &scan));
        FKMI_TRY(fkmi_parallel(context->pool, block.n, 64, share_rows, &g));
        FKMI_TRY(fkmi_parallel(context->pool, state->k,
                               fkmi_rows_sparse(rows) ? SPARSE_AT_ONCE : PROTOTYPES_AT_ONCE, add_shares, &g));
    }
    return FKM_OK;
}
