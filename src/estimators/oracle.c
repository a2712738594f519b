/* oracle.c — the nearest prototypes of many rows and what routes to them, a block of rows at a time: no path holds
 * an n x k matrix. A row's answer never depends on the other rows.
 * SPDX-License-Identifier: Apache-2.0 */
#include "estimators/model.h"

enum {
    BLOCK_BYTES = 1 << 16, /* of answers in a block that a thread has for itself */
    MOST_BLOCK_ROWS = 256,
    LEAST_ROWS_OF_LARGE_MODELS = 64,
    LARGE_MODEL_BYTES = 1 << 20,
    MOST_BYTES = 8 << 20,           /* of answers in memory, unless a single block takes more, */
    MOST_BYTES_OF_BLOCK = 64 << 20, /* and that no more than this, or a row */
    ROWS_OF_A_PART = 16,
    LARGE_K = 256,
    MOST_WIDTH_OF_LARGE = 16,
    SHARE_OF_INPUT = 16 /* that answers in memory may take where a scan gains from many rows */
};
static const double LARGE_WORK = 4e9;

fkm_status fkmi_oracle_on(fkm_context *context, const fkm_params *params, const struct fkmi_state *state,
                          bool masked, struct fkmi_pack **pack, struct fkmi_oracle *oracle)
{
    *oracle =
        (struct fkmi_oracle){context, params, state, NULL, fkmi_state_space(state, params->metric), NULL};
    FKMI_TRY(fkmi_state_pack_in(context, &oracle->space, state, masked, pack));
    oracle->pack = *pack;
    return FKM_OK;
}

/* For rows with a mask, where prototypes are lists: their points beside them. */
static fkm_status open_whole(fkm_model *model, struct fkmi_oracle *oracle)
{
    const struct fkmi_state *state = &model->learned.state;

    *oracle = (struct fkmi_oracle){
        model->context, &model->params, state, NULL, fkmi_state_space(state, model->params.metric), NULL};
    fkmi_free(model->whole_points);
    model->whole_points = NULL;
    FKMI_TRY(fkmi_state_whole_points(state, &model->whole_points));
    FKMI_TRY(model->context->backend->pack(model->context, &oracle->space, state->dtype, model->whole_points,
                                           state->k, true, &model->packs[1]));
    oracle->pack = model->packs[1];
    return FKM_OK;
}

fkm_status fkmi_oracle_open(const fkm_model *model, bool masked, struct fkmi_oracle *oracle)
{
    fkm_model *self = (fkm_model *)(uintptr_t)model; /* the packs are a cache behind a lock */
    fkm_status status = FKM_OK;
    const int which = masked ? 1 : 0;
    const bool approximate = model->params.use_faiss && !masked && !model->learned.state.listed &&
                             fkmi_approximate_possible(model->context, model->params.metric);

    fkmi_hold_interrupts(); /* whoever is asked may want answers of this model */
    pthread_mutex_lock(&self->pack_lock);
    if (!self->packed[which]) {
        status = masked && model->learned.state.listed
                     ? open_whole(self, oracle)
                     : fkmi_oracle_on(model->context, &model->params, &model->learned.state, masked,
                                      &self->packs[which], oracle);
        self->packed[which] = status == FKM_OK;
    } else {
        *oracle = (struct fkmi_oracle){model->context,
                                       &model->params,
                                       &model->learned.state,
                                       self->packs[which],
                                       fkmi_state_space(&model->learned.state, model->params.metric),
                                       NULL};
    }
    if (status == FKM_OK && approximate && !self->approximate)
        status =
            fkmi_approximate_create(model->context, &oracle->space, model->learned.state.dtype,
                                    model->learned.state.points, model->learned.state.k, &self->approximate);
    oracle->approximate = status == FKM_OK && approximate ? self->approximate : NULL;
    pthread_mutex_unlock(&self->pack_lock);
    fkmi_release_interrupts();
    return status;
}

int64_t fkmi_oracle_width(const struct fkmi_oracle *oracle, int64_t top_k)
{
    return top_k < 0 || top_k > oracle->state->k ? oracle->state->k : top_k;
}

/* ---- rows in blocks: many rows go to the threads a block each, which scans alone; few go one block at a time,
 * scanned by all threads. Either way an answer is the same. */

struct asking {
    const struct fkmi_oracle *oracle;
    const struct fkmi_rows *rows;
    struct fkmi_scan scan; /* of a block at the first place */
    int64_t width, n_scratch;
    int64_t block, room; /* rows of a block that a thread has for itself; rows in memory */
    bool alone;          /* threads have blocks for themselves */
    bool searched;       /* not scanned: the oracle's approximate index is asked */
    struct fkmi_routing routing;
    int32_t *index; /* room x width, like distance and weight; NULL: not needed */
    double *distance, *weight, *scratch;
    double tau; /* of every prototype, when there is no index */
    fkmi_row_fn *row_body;
    fkmi_tags_fn *tags_body;
    void *job;
    int64_t first; /* row at the first place, when blocks are shared */
};

/* So much to compare that a scan gains from knowing many rows at once: it puts them in order. */
static bool is_large(const struct fkmi_oracle *oracle, const struct fkmi_rows *rows, int64_t width)
{
    return !fkmi_rows_sparse(rows) && !rows->mask && width <= MOST_WIDTH_OF_LARGE &&
           oracle->state->k >= LARGE_K &&
           (double)rows->n * (double)oracle->state->k * (double)rows->dim > LARGE_WORK;
}

/* Small enough to stay in a cache with its rows; larger where prototypes do not, so that they are read less often. */
static void size_blocks(struct asking *asking, int64_t row_bytes, int n_threads)
{
    const struct fkmi_oracle *oracle = asking->oracle;
    const struct fkmi_state *state = oracle->state;
    const int64_t together = oracle->context->backend->rows_together(oracle->pack);
    const double model_bytes = (double)state->k * (double)state->dim * (double)fkmi_dtype_size(state->dtype);
    const int64_t least = model_bytes > LARGE_MODEL_BYTES ? LEAST_ROWS_OF_LARGE_MODELS : 1;
    int64_t rows = BLOCK_BYTES / row_bytes;

    rows = rows > MOST_BLOCK_ROWS ? MOST_BLOCK_ROWS : rows < least ? least : rows;
    asking->block = rows > together ? rows / together * together : together;
    if (asking->block > MOST_BYTES_OF_BLOCK / row_bytes)
        asking->block = MOST_BYTES_OF_BLOCK / row_bytes > 1 ? MOST_BYTES_OF_BLOCK / row_bytes : 1;
    asking->room = asking->block * n_threads;
    asking->alone = asking->rows->n >= 4 * asking->room;
    if (asking->room > MOST_BYTES / row_bytes) {
        asking->alone = false;
        asking->room = asking->block;
    }
    if (is_large(oracle, asking->rows, asking->width)) {
        const int64_t row = asking->rows->dim * (int64_t)fkmi_dtype_size(asking->rows->dtype);
        const int64_t share = (double)asking->rows->n * (double)row / SHARE_OF_INPUT < MOST_BYTES
                                  ? asking->rows->n * row / SHARE_OF_INPUT
                                  : MOST_BYTES;

        asking->alone = false;
        if (asking->room < share / row_bytes)
            asking->room = share / row_bytes / together * together;
    }
    if (asking->searched) { /* by one thread, many rows at a time */
        asking->alone = false;
        asking->room = MOST_BYTES / row_bytes > asking->block ? MOST_BYTES / row_bytes : asking->block;
    }
    asking->room = asking->room < asking->rows->n ? asking->room : asking->rows->n;
}

static fkm_status asking_open(struct asking *asking, bool index, bool weights)
{
    struct fkmi_pool *pool = asking->oracle->context->pool;
    const size_t entry = (index ? sizeof(int32_t) : 0) + (weights ? 2 : 1) * sizeof(double);

    asking->routing = fkmi_routing_of(asking->oracle->params, asking->oracle->state);
    size_blocks(asking, asking->width * (int64_t)entry, fkmi_pool_threads_here(pool));
    if (index)
        FKMI_TRY(fkmi_alloc(&asking->index, asking->room * asking->width, sizeof *asking->index));
    FKMI_TRY(fkmi_alloc(&asking->distance, asking->room * asking->width, sizeof *asking->distance));
    if (weights)
        FKMI_TRY(fkmi_alloc(&asking->weight, asking->room * asking->width, sizeof *asking->weight));
    return fkmi_alloc(&asking->scratch, asking->n_scratch * fkmi_pool_threads(pool), sizeof *asking->scratch);
}

static void asking_free(struct asking *asking)
{
    fkmi_free(asking->index);
    fkmi_free(asking->distance);
    fkmi_free(asking->weight);
    fkmi_free(asking->scratch);
}

static void route_row(const struct asking *asking, int64_t row, int64_t at, int thread)
{
    const struct fkmi_candidates candidates = {asking->width, asking->index + at, asking->distance + at,
                                               asking->weight + at};

    fkmi_route(&asking->routing, asking->width, candidates.index, candidates.distance, asking->weight + at);
    asking->row_body(asking->job, row, &candidates, asking->scratch + thread * asking->n_scratch);
}

static void score_tags(const struct asking *asking, int64_t row, int64_t at, int thread)
{
    const struct fkmi_state *state = asking->oracle->state;
    const double unit = 1 / asking->tau;
    double *z = asking->distance + at;

    for (int64_t c = 0; asking->index && c < asking->width;
         c++) /* temperatures differ: in units of the first */
        if (asking->index[at + c] >= 0)
            z[c] *= asking->tau / fkmi_routing_tau(&asking->routing, asking->index[at + c]);
    for (int64_t c = 0; c < asking->width; c++) /* inf: no prototype */
        z[c] = z[c] == INFINITY ? -INFINITY : state->beta[c] - state->alpha[c] * (z[c] * unit);
    asking->tags_body(asking->job, row, z, thread);
}

/* Rows first .. first + n, whose scan lies from `place` on. */
static void answer(const struct asking *asking, int64_t first, int64_t n, int64_t place, int thread)
{
    for (int64_t i = 0; i < n; i++)
        if (asking->row_body)
            route_row(asking, first + i, (place + i) * asking->width, thread);
        else
            score_tags(asking, first + i, (place + i) * asking->width, thread);
}

static fkm_status scan_rows(const struct asking *asking, int64_t first, int64_t n, int64_t place)
{
    const struct fkmi_oracle *oracle = asking->oracle;
    const struct fkmi_rows rows = fkmi_rows_slice(asking->rows, first, n);
    struct fkmi_scan scan = asking->scan;

    scan.index = asking->index ? asking->index + place * asking->width : NULL;
    scan.distance = asking->distance + place * asking->width;
    if (asking->searched)
        return fkmi_approximate_nearest(oracle->approximate, &rows, oracle->pack, asking->width, scan.index,
                                        scan.distance);
    return oracle->context->backend->scan(oracle->context, &rows, oracle->pack, &scan);
}

static fkm_status block_alone(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct asking *asking = argument;
    const int64_t place = thread * asking->block;

    FKMI_TRY(scan_rows(asking, begin, end - begin, place));
    answer(asking, begin, end - begin, place, thread);
    return FKM_OK;
}

static fkm_status part_of_block(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct asking *asking = argument;

    answer(asking, asking->first + begin, end - begin, begin, thread);
    return FKM_OK;
}

static fkm_status ask_all(struct asking *asking)
{
    struct fkmi_pool *pool = asking->oracle->context->pool;
    const int64_t n = asking->rows->n;

    if (asking->alone)
        return fkmi_parallel(pool, n, asking->block, block_alone, asking);
    for (asking->first = 0; asking->first < n; asking->first += asking->room) {
        const int64_t here = n - asking->first < asking->room ? n - asking->first : asking->room;

        FKMI_TRY(scan_rows(asking, asking->first, here, 0));
        FKMI_TRY(fkmi_parallel(pool, here, ROWS_OF_A_PART, part_of_block, asking));
    }
    return FKM_OK;
}

fkm_status fkmi_oracle_each(const struct fkmi_oracle *oracle, const struct fkmi_rows *rows, int64_t top_k,
                            int64_t n_scratch, fkmi_row_fn *body, void *job)
{
    fkm_status status = FKM_OK;
    const int64_t width = fkmi_oracle_width(oracle, top_k);
    struct asking asking = {
        .oracle = oracle,
        .rows = rows,
        .width = width,
        .searched = fkmi_approximate_serves(oracle->approximate, rows, width),
        .n_scratch = n_scratch,
        .scan = {.kind = width == 1 ? FKMI_SCAN_NEAREST : FKMI_SCAN_TOP_K, .top_k = width},
        .row_body = body,
        .job = job};

    FKMI_TRY_GOTO(asking_open(&asking, true, true));
    FKMI_TRY_GOTO(ask_all(&asking));
done:
    asking_free(&asking);
    return status;
}

/* Fine-tuning learns one temperature for all prototypes; a file may say otherwise. */
static bool one_temperature(const struct fkmi_state *state)
{
    for (int64_t j = 1; j < state->k; j++)
        if (state->theta[j] != state->theta[0])
            return false;
    return true;
}

fkm_status fkmi_oracle_each_tags(const struct fkmi_oracle *oracle, const struct fkmi_rows *rows,
                                 fkmi_tags_fn *body, void *job)
{
    fkm_status status = FKM_OK;
    const struct fkmi_state *state = oracle->state;
    struct asking asking = {
        .oracle = oracle,
        .rows = rows,
        .width = state->n_classes,
        .scan = {.kind = FKMI_SCAN_CLASSES, .class_begin = state->class_begin, .n_classes = state->n_classes},
        .tags_body = body,
        .job = job};

    FKMI_TRY_GOTO(asking_open(&asking, !one_temperature(state), false));
    asking.tau = fkmi_routing_tau(&asking.routing, 0);
    FKMI_TRY_GOTO(ask_all(&asking));
done:
    asking_free(&asking);
    return status;
}
