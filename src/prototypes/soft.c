/* soft.c — shares of rows: relu(sim - lambda [other class]) normalised, or its softmax.
 *
 * Rows go in blocks of at most MOST_SHARES shares. Shares are written row by row, then added up prototype by
 * prototype in row order: one writer each, the same bits for any number of threads.
 * SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/soft.h"

#include <math.h>

#include "prototypes/cells.h"
#include "prototypes/route.h"

#define PROTOTYPES_AT_ONCE 16 /* their sums stay in the cache while a row passes */

fkm_status fkmi_soft_take(struct fkmi_soft_room *room, struct fkmi_arena *arena, struct fkm_context *context,
                          const fkm_params *params, const struct fkmi_state *state,
                          const struct fkmi_rows *rows)
{
    FKMI_TRY(fkmi_arena_take(arena, &room->owner, state->k, sizeof(int32_t)));
    if (fkmi_rows_sparse(rows))
        return fkmi_soft_take_columns(room, arena, context, params, state, rows);
    room->block = FKMI_MOST_SHARES / state->k;
    if (room->block < 1)
        room->block = 1;
    if (room->block > rows->n)
        room->block = rows->n;
    FKMI_TRY(fkmi_arena_take(arena, &room->share, room->block * state->k, sizeof(double)));
    return fkmi_arena_take(arena, &room->rows, fkmi_pool_threads(context->pool) * state->dim, sizeof(double));
}

static double score_of(const fkm_params *params, double scale, bool other_class, double distance)
{
    return fkmi_similarity(params->metric, distance, scale) - (other_class ? params->lambda_penalty : 0);
}

static double weigh(const fkm_params *params, double score, double largest)
{
    if (params->assignment == FKM_ASSIGN_SOFTMAX)
        return exp((score - largest) / params->temperature);
    return score > 0 ? score : 0;
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
        share[j] = weigh(params, share[j], largest);
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

void fkmi_soft_row_begin(struct fkmi_soft_row *row)
{
    *row = (struct fkmi_soft_row){.largest = -INFINITY, .nearest = 0};
}

void fkmi_soft_row_weigh(struct fkmi_soft_row *row, const fkm_params *params, double scale,
                         const int32_t *owner, int32_t slot, int64_t begin, int64_t n, double *distance)
{
    const double before = row->largest;
    double *score = distance, sum = 0;

    for (int64_t j = 0; j < n; j++) {
        score[j] = score_of(params, scale, owner[begin + j] != slot, distance[j]);
        if (score[j] > row->largest) {
            row->largest = score[j];
            row->nearest = begin + j;
        }
    }
    if (params->assignment == FKM_ASSIGN_SOFTMAX && row->largest > before)
        row->total *= exp((before - row->largest) / params->temperature);
    for (int64_t j = 0; j < n; j++)
        sum += weigh(params, score[j], row->largest);
    row->total += sum;
}

void fkmi_soft_row_end(struct fkmi_soft_row *row)
{
    if (!(row->total > 0) || !isfinite(row->total))
        row->total = 0;
}

void fkmi_soft_row_share(const struct fkmi_soft_row *row, const fkm_params *params, double scale,
                         const int32_t *owner, int32_t slot, double u, int64_t begin, int64_t n,
                         double *share)
{
    for (int64_t j = 0; j < n; j++) {
        const double score = score_of(params, scale, owner[begin + j] != slot, share[j]);

        if (row->total > 0)
            share[j] = u * (weigh(params, score, row->largest) / row->total);
        else
            share[j] = begin + j == row->nearest ? u : 0;
    }
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
        if (any > 0)
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
        FKMI_TRY(fkmi_parallel(context->pool, state->k, PROTOTYPES_AT_ONCE, add_shares, &g));
    }
    return FKM_OK;
}
