/* oracle.c — the nearest prototypes of many rows and what routes to them, a block of rows at a time: no path holds
 * an n x k matrix. A row's answer never depends on the other rows.
 * SPDX-License-Identifier: Apache-2.0 */
#include "estimators/model.h"

enum { BLOCK_ENTRIES = 1 << 17, MAX_BLOCK_ROWS = 8192, MIN_BLOCK_ROWS = 64 };

fkm_status fkmi_oracle_on(fkm_context *context, const fkm_params *params, const struct fkmi_state *state,
                          bool masked, struct fkmi_pack **pack, struct fkmi_oracle *oracle)
{
    *oracle = (struct fkmi_oracle){context, params, state, NULL, fkmi_state_space(state, params->metric)};
    FKMI_TRY(
        context->backend->pack(context, &oracle->space, state->dtype, state->points, state->k, masked, pack));
    oracle->pack = *pack;
    return FKM_OK;
}

fkm_status fkmi_oracle_open(const fkm_model *model, bool masked, struct fkmi_oracle *oracle)
{
    fkm_model *self = (fkm_model *)(uintptr_t)model; /* the packs are a cache behind a lock */
    fkm_status status = FKM_OK;
    const int which = masked ? 1 : 0;

    fkmi_hold_interrupts(); /* whoever is asked may want answers of this model */
    pthread_mutex_lock(&self->pack_lock);
    if (!self->packed[which]) {
        status = fkmi_oracle_on(model->context, &model->params, &model->learned.state, masked,
                                &self->packs[which], oracle);
        self->packed[which] = status == FKM_OK;
    } else {
        *oracle =
            (struct fkmi_oracle){model->context, &model->params, &model->learned.state, self->packs[which],
                                 fkmi_state_space(&model->learned.state, model->params.metric)};
    }
    pthread_mutex_unlock(&self->pack_lock);
    fkmi_release_interrupts();
    return status;
}

int64_t fkmi_oracle_width(const struct fkmi_oracle *oracle, int64_t top_k)
{
    return top_k < 0 || top_k > oracle->state->k ? oracle->state->k : top_k;
}

/* One block of rows on its way through scan and body. */
struct block {
    const struct fkmi_oracle *oracle;
    struct fkmi_routing routing;
    int64_t first, width, n_scratch;
    int32_t *index;
    double *distance, *weight, *scratch;
    fkmi_row_fn *row_body;
    fkmi_tags_fn *tags_body;
    void *job;
};

static int64_t block_rows(int64_t n, int64_t width)
{
    int64_t rows = BLOCK_ENTRIES / width;

    rows = rows > MAX_BLOCK_ROWS ? MAX_BLOCK_ROWS : rows < MIN_BLOCK_ROWS ? MIN_BLOCK_ROWS : rows;
    return rows < n ? rows : n;
}

static fkm_status block_open(struct block *block, const struct fkmi_oracle *oracle, int64_t rows,
                             int64_t width, int64_t n_scratch, bool weights)
{
    block->oracle = oracle;
    block->routing = fkmi_routing_of(oracle->params, oracle->state);
    block->width = width;
    block->n_scratch = n_scratch;
    FKMI_TRY(fkmi_alloc(&block->index, rows * width, sizeof *block->index));
    FKMI_TRY(fkmi_alloc(&block->distance, rows * width, sizeof *block->distance));
    if (weights)
        FKMI_TRY(fkmi_alloc(&block->weight, rows * width, sizeof *block->weight));
    return fkmi_alloc(&block->scratch, n_scratch * fkmi_pool_threads(oracle->context->pool),
                      sizeof *block->scratch);
}

static void block_free(struct block *block)
{
    fkmi_free(block->index);
    fkmi_free(block->distance);
    fkmi_free(block->weight);
    fkmi_free(block->scratch);
}

static fkm_status route_rows(void *argument, int64_t begin, int64_t end, int thread)
{
    struct block *block = argument;

    for (int64_t i = begin; i < end; i++) {
        const int64_t at = i * block->width;
        const struct fkmi_candidates candidates = {block->width, block->index + at, block->distance + at,
                                                   block->weight + at};
        fkmi_route(&block->routing, block->width, candidates.index, candidates.distance, block->weight + at);
        block->row_body(block->job, block->first + i, &candidates,
                        block->scratch + thread * block->n_scratch);
    }
    return FKM_OK;
}

fkm_status fkmi_oracle_each(const struct fkmi_oracle *oracle, const struct fkmi_rows *rows, int64_t top_k,
                            int64_t n_scratch, fkmi_row_fn *body, void *job)
{
    fkm_status status = FKM_OK;
    struct fkm_context *context = oracle->context;
    const int64_t width = fkmi_oracle_width(oracle, top_k), per_block = block_rows(rows->n, width);
    struct block block = {.row_body = body, .job = job};

    FKMI_TRY_GOTO(block_open(&block, oracle, per_block, width, n_scratch, true));
    for (block.first = 0; block.first < rows->n; block.first += per_block) {
        const int64_t n = rows->n - block.first < per_block ? rows->n - block.first : per_block;
        const struct fkmi_rows some = fkmi_rows_slice(rows, block.first, n);
        const struct fkmi_scan scan = {.kind = width == 1 ? FKMI_SCAN_NEAREST : FKMI_SCAN_TOP_K,
                                       .top_k = width,
                                       .index = block.index,
                                       .distance = block.distance};
        FKMI_TRY_GOTO(context->backend->scan(context, &some, oracle->pack, &scan));
        FKMI_TRY_GOTO(fkmi_parallel(context->pool, n, 256, route_rows, &block));
    }
done:
    block_free(&block);
    return status;
}

static fkm_status score_tags(void *argument, int64_t begin, int64_t end, int thread)
{
    struct block *block = argument;
    const struct fkmi_state *state = block->oracle->state;

    for (int64_t i = begin; i < end; i++) {
        double *z = block->distance + i * block->width;
        for (int64_t c = 0; c < block->width; c++) {
            const int32_t j = block->index[i * block->width + c];
            z[c] = j < 0 ? -INFINITY
                         : state->beta[c] - state->alpha[c] * z[c] / fkmi_routing_tau(&block->routing, j);
        }
        block->tags_body(block->job, block->first + i, z, thread);
    }
    return FKM_OK;
}

fkm_status fkmi_oracle_each_tags(const struct fkmi_oracle *oracle, const struct fkmi_rows *rows,
                                 fkmi_tags_fn *body, void *job)
{
    fkm_status status = FKM_OK;
    struct fkm_context *context = oracle->context;
    const int64_t width = oracle->state->n_classes, per_block = block_rows(rows->n, width);
    struct block block = {.tags_body = body, .job = job};

    FKMI_TRY_GOTO(block_open(&block, oracle, per_block, width, 0, false));
    for (block.first = 0; block.first < rows->n; block.first += per_block) {
        const int64_t n = rows->n - block.first < per_block ? rows->n - block.first : per_block;
        const struct fkmi_rows some = fkmi_rows_slice(rows, block.first, n);
        const struct fkmi_scan scan = {.kind = FKMI_SCAN_CLASSES,
                                       .class_begin = oracle->state->class_begin,
                                       .n_classes = width,
                                       .index = block.index,
                                       .distance = block.distance};
        FKMI_TRY_GOTO(context->backend->scan(context, &some, oracle->pack, &scan));
        FKMI_TRY_GOTO(fkmi_parallel(context->pool, n, 64, score_tags, &block));
    }
done:
    block_free(&block);
    return status;
}
