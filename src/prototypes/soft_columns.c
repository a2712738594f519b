/* soft_columns.c — shares of CSR rows, added up by column for a panel of prototypes at a time.
 *
 * Rows are kept by column as well. What makes shares of a row's distances is found first; then the panels' prototypes are
 * measured once more, and their shares lie side by side by row, so that a column's entries are added to its sums in
 * registers. Full passes use the sums of a panel before they go on to
 * the next: nothing of the size of rows x prototypes is held, nor of prototypes x columns but the prototypes.
 * SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "prototypes/cells.h"

enum { MOST_WIDE = 64, COLUMNS_PER_CHUNK = 512, COLUMNS_AT_ONCE = 64 };
#define LEAST_SQUARE                                                                                         \
    1e-280 /* of a sum: between these, neither it nor its terms have vanished or overflowed */
#define MOST_SQUARE 1e280

struct columns {
    struct fkmi_soft_room *room;
    struct fkmi_cells *cells;
    struct fkm_context *context;
    const fkm_params *params;
    const struct fkmi_state *state;
    struct fkmi_space space;
    const struct fkmi_pack *pack;
    const struct fkmi_rows *all;
    const int32_t *slot;
    double scale;
    /* the block of rows and the panel under way */
    struct fkmi_rows rows;
    int64_t first_row, first, n; /* prototypes [first, first + n) */
    const int64_t *begin;
    double *sum;      /* dim x wide */
    bool fresh, last; /* the first block of rows, the last one */
    /* where prototypes move */
    struct fkmi_state *moved;
    double factor[MOST_WIDE]; /* from sums to points; 0: stays */
};

static int64_t chunks_of(int64_t dim) { return (dim - 1) / COLUMNS_PER_CHUNK + 1; }

/* ---- rows by column */

static void lay_out_block(struct fkmi_soft_columns *columns, const struct fkmi_rows *rows,
                          const struct fkmi_space *space, int64_t *begin)
{
    const int64_t dim = rows->dim;
    int64_t at = begin[0];

    memset(begin + 1, 0, (size_t)dim * sizeof *begin);
    for (int64_t i = 0; i < rows->n; i++) {
        const int64_t r = fkmi_row(rows, i);

        for (int64_t e = rows->indptr[r]; e < rows->indptr[r + 1]; e++)
            begin[rows->indices[e] + 1]++;
    }
    for (int64_t d = 0; d < dim; d++) { /* begin[d + 1] walks from where column d begins to where it ends */
        const int64_t n = begin[d + 1];

        begin[d + 1] = at;
        at += n;
    }
    for (int64_t i = 0; i < rows->n; i++) {
        const int64_t r = fkmi_row(rows, i);
        const double scale = fkmi_row_scale(rows, space, i);

        for (int64_t e = rows->indptr[r]; e < rows->indptr[r + 1]; e++) {
            int64_t *to = &begin[rows->indices[e] + 1];

            columns->row[*to] = (int32_t)i;
            columns->value[(*to)++] = scale * fkmi_dtype_get(rows->values, rows->dtype, e);
        }
    }
}

fkm_status fkmi_soft_take_columns(struct fkmi_soft_room *room, struct fkmi_arena *arena,
                                  struct fkm_context *context, const fkm_params *params,
                                  const struct fkmi_state *state, const struct fkmi_rows *rows)
{
    const struct fkmi_space space = fkmi_state_space(state, params->metric);
    const int64_t n = rows->n, dim = state->dim;
    const int64_t wide = context->kernels->vector[FKMI_REAL_F64].wide;
    struct fkmi_soft_columns *columns = &room->columns;
    int64_t n_entries = 0, n_blocks;

    assert(wide <= MOST_WIDE);
    columns->wide = wide;
    room->block = n < FKMI_MOST_SHARES / wide ? n : FKMI_MOST_SHARES / wide;
    n_blocks = n > 0 ? (n - 1) / room->block + 1 : 0;
    for (int64_t i = 0; i < n; i++)
        n_entries += rows->indptr[fkmi_row(rows, i) + 1] - rows->indptr[fkmi_row(rows, i)];
    FKMI_TRY(fkmi_arena_take(arena, &room->share, room->block * wide, sizeof(double)));
    FKMI_TRY(fkmi_arena_take(arena, &columns->facts, n, sizeof *columns->facts));
    FKMI_TRY(fkmi_arena_take(arena, &columns->begin, n_blocks * (dim + 1), sizeof *columns->begin));
    FKMI_TRY(fkmi_arena_take(arena, &columns->row, n_entries, sizeof *columns->row));
    FKMI_TRY(fkmi_arena_take(arena, &columns->value, n_entries, sizeof *columns->value));
    FKMI_TRY(fkmi_arena_take(arena, &columns->square, chunks_of(dim) * wide, sizeof(double)));
    for (int64_t b = 0; b < n_blocks; b++) {
        const int64_t left = n - b * room->block;
        const struct fkmi_rows block =
            fkmi_rows_slice(rows, b * room->block, left < room->block ? left : room->block);

        columns->begin[b * (dim + 1)] = b > 0 ? columns->begin[b * (dim + 1) - 1] : 0;
        lay_out_block(columns, &block, &space, columns->begin + b * (dim + 1));
    }
    return FKM_OK;
}

/* ---- distances of a block of rows to a panel's prototypes */

static void choose_panel(struct columns *c, int64_t panel)
{
    const int64_t wide = c->room->columns.wide, left = c->state->k - panel * wide;

    c->first = panel * wide;
    c->n = left < wide ? left : wide;
}

/* False when all rows have been. */
static bool choose_block(struct columns *c, int64_t first_row)
{
    const int64_t most = c->room->block, left = c->all->n - first_row, n = left < most ? left : most;

    if (left <= 0)
        return false;
    c->first_row = first_row;
    c->rows = fkmi_rows_slice(c->all, first_row, n);
    c->begin = c->room->columns.begin + first_row / most * (c->state->dim + 1);
    c->fresh = first_row == 0;
    c->last = n == left;
    return true;
}

static fkm_status measure_block(const struct columns *c)
{
    const struct fkmi_scan scan = {.kind = FKMI_SCAN_ALL,
                                   .begin = c->first,
                                   .end = c->first + c->room->columns.wide,
                                   .distance = c->room->share};

    return c->context->backend->scan(c->context, &c->rows, c->pack, &scan);
}

/* ---- what makes shares of distances */

static fkm_status weigh_rows(void *job, int64_t begin, int64_t end, int thread)
{
    const struct columns *c = job;

    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        struct fkmi_soft_row *row = &c->room->columns.facts[c->first_row + i];

        if (c->first == 0)
            fkmi_soft_row_begin(row);
        fkmi_soft_row_weigh(row, c->params, c->scale, c->room->owner, c->slot[c->first_row + i], c->first,
                            c->n, c->room->share + i * c->room->columns.wide);
        if (c->first + c->n == c->state->k)
            fkmi_soft_row_end(row);
    }
    return FKM_OK;
}

static fkm_status weigh_all(struct columns *c)
{
    for (int64_t panel = 0; panel * c->room->columns.wide < c->state->k; panel++) {
        choose_panel(c, panel);
        for (int64_t first = 0; choose_block(c, first); first += c->room->block) {
            FKMI_TRY(measure_block(c));
            FKMI_TRY(fkmi_parallel(c->context->pool, c->rows.n, 256, weigh_rows, c));
        }
    }
    return FKM_OK;
}

/* ---- a panel's sums */

static fkm_status share_rows(void *job, int64_t begin, int64_t end, int thread)
{
    const struct columns *c = job;
    const int64_t wide = c->room->columns.wide;

    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int32_t slot = c->slot[c->first_row + i];
        const double u = slot >= 0 ? fkmi_row_weight(&c->rows, i) : 0;
        double *share = c->room->share + i * wide;

        if (u > 0)
            fkmi_soft_row_share(&c->room->columns.facts[c->first_row + i], c->params, c->scale,
                                c->room->owner, slot, u, c->first, c->n, share);
        memset(share + (u > 0 ? c->n : 0), 0, (size_t)(u > 0 ? wide - c->n : wide) * sizeof *share);
    }
    return FKM_OK;
}

/* Lengths are those of all coordinates, once the last block of rows is in. */
static fkm_status add_columns(void *job, int64_t begin, int64_t end, int thread)
{
    static const double zeros[MOST_WIDE];
    const struct columns *c = job;
    const struct fkmi_soft_columns *columns = &c->room->columns;
    const struct fkmi_vector *vector = &c->context->kernels->vector[FKMI_REAL_F64];
    const int64_t wide = columns->wide, dim = c->state->dim;

    (void)thread;
    for (int64_t chunk = begin; chunk < end; chunk++) {
        const int64_t from = chunk * COLUMNS_PER_CHUNK, to = from + COLUMNS_PER_CHUNK;
        double *square = columns->square + chunk * wide;

        memset(square, 0, (size_t)wide * sizeof *square);
        for (int64_t d = from; d < to && d < dim; d++) {
            double *sum = c->sum + d * wide;
            const int64_t at = c->begin[d], n = c->begin[d + 1] - at;

            if (c->fresh)
                memset(sum, 0, (size_t)wide * sizeof *sum);
            if (n > 0)
                vector->columns_dot(columns->value + at, columns->row + at, n, c->room->share, sum);
            if (c->last && c->space.metric == FKM_METRIC_COSINE)
                vector->add_square(square, sum, zeros, NULL,
                                   c->space.feature_weights ? c->space.feature_weights[d] : 1.0, wide);
        }
    }
    return FKM_OK;
}

static fkm_status add_panel(struct columns *c, int64_t panel)
{
    const int64_t wide = c->room->columns.wide;

    choose_panel(c, panel);
    for (int64_t first = 0; choose_block(c, first); first += c->room->block) {
        FKMI_TRY(measure_block(c));
        FKMI_TRY(fkmi_parallel(c->context->pool, c->rows.n, 256, share_rows, c));
        for (int64_t i = 0; i < c->rows.n; i++)
            for (int64_t j = 0; j < c->n; j++)
                c->cells->pull.mass[c->first + j] += c->room->share[i * wide + j];
        FKMI_TRY(fkmi_parallel(c->context->pool, chunks_of(c->state->dim), 1, add_columns, c));
    }
    return FKM_OK;
}

/* ---- moving a panel's prototypes */

/* The mean of one whose length floats cannot tell. */
static bool mean_of(const struct columns *c, int64_t lane, double *point)
{
    const double mass = c->cells->pull.mass[c->first + lane];

    for (int64_t d = 0; d < c->state->dim; d++)
        point[d] = c->sum[d * c->room->columns.wide + lane] / mass;
    return fkmi_point_normalise(&c->space, point);
}

static void find_factors(struct columns *c, double *point, double *shift)
{
    const struct fkmi_kernels *kernels = c->context->kernels;
    const struct fkmi_soft_columns *columns = &c->room->columns;
    double *before = point + c->state->dim;

    for (int64_t lane = 0; lane < columns->wide; lane++) {
        const int64_t j = c->first + lane;
        double square = 0;

        c->factor[lane] = 0;
        if (lane >= c->n || c->moved->frozen[j] || !(c->cells->pull.mass[j] > 0))
            continue;
        for (int64_t chunk = 0; chunk < chunks_of(c->state->dim); chunk++)
            square += columns->square[chunk * columns->wide + lane];
        if (c->space.metric != FKM_METRIC_COSINE)
            c->factor[lane] = 1 / c->cells->pull.mass[j];
        else if (square > LEAST_SQUARE && square < MOST_SQUARE)
            c->factor[lane] = 1 / sqrt(square);
        else if (mean_of(c, lane, point)) {
            fkmi_point_load(c->moved, kernels, j, before);
            fkmi_point_store(c->moved, kernels, j, point);
            fkmi_point_load(c->moved, kernels, j, point);
            shift[j] = fkmi_point_shift(point, before, c->state->dim);
        }
    }
}

/* n values of a prototype, from coordinate d on; returns the square of the way they go. */
static double move_part(const struct columns *c, int64_t lane, int64_t d, int64_t n, double *values)
{
    const struct fkmi_vector *vector = &c->context->kernels->vector[FKMI_REAL_F64];
    const fkm_dtype dtype = c->moved->dtype;
    char *at = (char *)fkmi_state_point(c->moved, c->first + lane) + (size_t)d * fkmi_dtype_size(dtype);
    double before[COLUMNS_AT_ONCE];

    for (int64_t i = 0; i < n; i++)
        values[i] *= c->factor[lane];
    vector->load[dtype](before, at, n);
    vector->store[dtype](at, values, n);
    vector->load[dtype](values, at, n); /* as stored, so that half precision comes to rest */
    return vector->distance[FKM_METRIC_EUCLIDEAN](values, before, NULL, n);
}

static fkm_status move_columns(void *job, int64_t begin, int64_t end, int thread)
{
    struct columns *c = job;
    const int64_t wide = c->room->columns.wide, dim = c->state->dim;
    double values[MOST_WIDE * COLUMNS_AT_ONCE];

    (void)thread;
    for (int64_t chunk = begin; chunk < end; chunk++) {
        const int64_t from = chunk * COLUMNS_PER_CHUNK,
                      to = from + COLUMNS_PER_CHUNK < dim ? from + COLUMNS_PER_CHUNK : dim;
        double *square = c->room->columns.square + chunk * wide;

        memset(square, 0, (size_t)wide * sizeof *square);
        for (int64_t d = from; d < to; d += COLUMNS_AT_ONCE) {
            const int n = to - d < COLUMNS_AT_ONCE ? (int)(to - d) : COLUMNS_AT_ONCE;
            const void *row[COLUMNS_AT_ONCE];

            for (int i = 0; i < n; i++)
                row[i] = c->sum + (d + i) * wide;
            c->context->kernels->tile[FKM_DTYPE_F64].pack(row, n, wide, COLUMNS_AT_ONCE, values);
            for (int64_t lane = 0; lane < c->n; lane++)
                if (c->factor[lane] > 0)
                    square[lane] += move_part(c, lane, d, n, values + lane * COLUMNS_AT_ONCE);
        }
    }
    return FKM_OK;
}

static fkm_status move_panel(struct columns *c, double *point, double *shift)
{
    const int64_t wide = c->room->columns.wide, n_chunks = chunks_of(c->state->dim);

    find_factors(c, point, shift);
    FKMI_TRY(fkmi_parallel(c->context->pool, n_chunks, 1, move_columns, c));
    for (int64_t lane = 0; lane < c->n; lane++) {
        double square = 0;

        for (int64_t chunk = 0; chunk < n_chunks; chunk++)
            square += c->room->columns.square[chunk * wide + lane];
        if (c->factor[lane] > 0)
            shift[c->first + lane] = sqrt(square);
    }
    return FKM_OK;
}

/* ---- entry points */

/* What each row's shares are made from. */
static fkm_status begin(struct columns *c, struct fkmi_soft_room *room, struct fkmi_cells *cells,
                        struct fkm_context *context, const fkm_params *params, const struct fkmi_state *state,
                        const struct fkmi_pack *pack, const struct fkmi_rows *rows, const int32_t *slot,
                        double scale)
{
    *c = (struct columns){.room = room,
                          .cells = cells,
                          .context = context,
                          .params = params,
                          .state = state,
                          .space = fkmi_state_space(state, params->metric),
                          .pack = pack,
                          .all = rows,
                          .slot = slot,
                          .scale = scale};
    fkmi_state_owners(state, room->owner);
    return weigh_all(c);
}

fkm_status fkmi_soft_gather_columns(struct fkmi_soft_room *room, struct fkmi_cells *cells,
                                    struct fkm_context *context, const fkm_params *params,
                                    const struct fkmi_state *state, const struct fkmi_pack *pack,
                                    const struct fkmi_rows *rows, const int32_t *slot, double scale)
{
    const int64_t wide = room->columns.wide;
    struct columns c;

    FKMI_TRY(begin(&c, room, cells, context, params, state, pack, rows, slot, scale));
    for (int64_t panel = 0; panel * wide < state->k; panel++) {
        c.sum = cells->pull.sum + panel * wide * state->dim;
        FKMI_TRY(add_panel(&c, panel));
    }
    return FKM_OK;
}

fkm_status fkmi_soft_move_columns(struct fkmi_soft_room *room, struct fkmi_cells *cells,
                                  struct fkm_context *context, const fkm_params *params,
                                  struct fkmi_state *state, const struct fkmi_pack *pack,
                                  const struct fkmi_rows *rows, const int32_t *slot, double scale,
                                  double *point, double *shift)
{
    const int64_t wide = room->columns.wide;
    struct columns c;

    memset(shift, 0, (size_t)state->k * sizeof *shift);
    FKMI_TRY(begin(&c, room, cells, context, params, state, pack, rows, slot, scale));
    c.sum = cells->pull.sum;
    c.moved = state;
    for (int64_t panel = 0; panel * wide < state->k; panel++) {
        FKMI_TRY(add_panel(&c, panel));
        FKMI_TRY(move_panel(&c, point, shift));
    }
    return FKM_OK;
}
