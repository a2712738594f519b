/* swap.c — what each prototype is worth, what a second one would be worth, and the tries to exchange them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/swap.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/random.h"
#include "prototypes/polish.h"

#define SLOW_PASS      1e-3 /* relative gain of a pass below which passes have nearly settled */
#define SETTLING_PASS  1e-4 /* the same for the rows that may change sides at the end, */
#define IDLE_PASS      1e-7 /* and for the end of that, so many times in a row: */
#define MOST_IDLE      4
#define LEAST_GAIN     1e-4 /* relative gain that makes a try a success */
#define PASSES_AHEAD   4    /* a try ends when so many passes of the present gain would not save it */
#define MOST_FAILURES  8
#define LEAST_CELLS    16 /* cells looked into: at least so many, */
#define CELLS_SHARE    8  /* and one in so many */
#define SPLIT_PASSES   6
#define ROWS_PER_CHECK 1024 /* for an interrupt */
#define PAIRS_BLOCK    4096 /* rows whose scan for two finds room in what the passes' scan for one has left */
#define CELLS_BLOCK    65536 /* rows whose two nearest are found at once, cell by cell */
#define ROWS_OF_CELL   32    /* rows looked at: on average so many of a cell, */
#define LEAST_ROWS     32768 /* and at least so many: more of them end no lower */
#define POLISHED_ROWS                                                                                        \
    4096 /* more of a cell, on average: a row that changes sides moves its means by nothing */

enum { SCRATCH_VECTORS = 7 }; /* of a thread that halves cells */

struct fkmi_swaps {
    struct fkm_context *context;
    const fkm_params *params;
    struct fkmi_state *state;
    const struct fkmi_rows *rows;
    struct fkmi_rows seen; /* those looked at, during a look: all, or one of each few */
    int64_t *seen_order;   /* their numbers, or NULL */
    struct fkmi_space space;
    int64_t n_cells; /* cells looked into */
    struct fkmi_pack **pack;
    void *held;         /* points to come back to, */
    double *held_mass;  /* k: with what the pass that made them found, */
    double held_scale;  /* likewise */
    double held_sum;    /* and their sum of distances, or what is hardly more than it */
    bool changed;       /* the state's points are others than the last pass, or a try, began with */
    bool interruptible; /* those may be asked for again */
    double last_sum;    /* of the pass before */
    bool trying, tired; /* in a try; no more tries */
    int idle;           /* passes in a row in which changing sides gained next to nothing */
    bool polished;      /* no row is to change sides any more */
    int64_t most_passes;
    int failures; /* in a row */
    /* what the last look found */
    int64_t *cell_begin; /* k + 1: rows of cell j are cell_row[cell_begin[j] ..] */
    int32_t *cell;       /* seen.n, during a look: the cell of each row */
    int32_t *cell_row;   /* seen.n, likewise */
    double *within;      /* k: sum of distances of the cell */
    double *loss;        /* k: what its removal costs */
    int64_t *full;       /* n_cells: cells by falling sum */
    double *gain;        /* n_cells: what a second prototype in cell full[i] gains */
    void *halves;        /* n_cells x 2 points: its two means */
    uint8_t *tried;      /* n_cells x n_cells: single swaps (cell i, i-th cheapest removal) */
    int64_t *cheap;      /* n_cells: prototypes by rising loss */
    /* room */
    struct fkmi_pairs pairs;
    double *scratch; /* threads x SCRATCH_VECTORS x dim */
};

bool fkmi_swaps_possible(const fkm_params *params, const struct fkmi_state *state,
                         const struct fkmi_rows *rows)
{
    if (params->task != FKM_TASK_CLUSTER || params->assignment != FKM_ASSIGN_HARD || state->n_classes != 1 ||
        state->k < 2 || rows->mask || fkmi_rows_sparse(rows) || rows->n > INT32_MAX)
        return false;
    for (int64_t j = 0; j < state->k; j++)
        if (state->frozen[j])
            return false;
    return true;
}

/* Where there are many rows to a cell, a part of them tells as well which prototypes to exchange; whether that was
 * good is for the passes to say, with all. One row of each few that follow each other, whichever period rows have. */
static fkm_status choose_seen(struct fkmi_swaps *s, const struct fkmi_cells *cells)
{
    const int64_t n = s->rows->n, wanted = s->state->k * ROWS_OF_CELL;
    const int64_t stride = n / (wanted > LEAST_ROWS ? wanted : LEAST_ROWS);
    struct fkmi_random random = fkmi_random_from((uint64_t)n);
    struct fkmi_rows base = *s->rows;

    s->seen = *s->rows;
    if (stride < 2)
        return FKM_OK;
    base.order = NULL;
    FKMI_TRY(fkmi_alloc(&s->seen_order, n / stride, sizeof *s->seen_order));
    FKMI_TRY(fkmi_alloc(&s->cell, n / stride, sizeof *s->cell));
    FKMI_TRY(fkmi_alloc(&s->cell_row, n / stride, sizeof *s->cell_row));
    for (int64_t i = 0; i < n / stride; i++) {
        const int64_t row = i * stride + fkmi_random_below(&random, stride);

        s->seen_order[i] = fkmi_row(s->rows, row);
        s->cell[i] = cells->index[row];
    }
    s->seen = fkmi_rows_pick(&base, s->seen_order, n / stride);
    return FKM_OK;
}

static void forget_seen(struct fkmi_swaps *s)
{
    if (s->seen_order) { /* else they are room of the passes */
        fkmi_free(s->cell);
        fkmi_free(s->cell_row);
    }
    fkmi_free(s->seen_order);
    s->cell = s->cell_row = NULL;
    s->seen_order = NULL;
}

static size_t point_bytes(const struct fkmi_state *state)
{
    return (size_t)state->dim * fkmi_dtype_size(state->dtype);
}

static size_t points_bytes(const struct fkmi_state *state) { return (size_t)state->k * point_bytes(state); }

fkm_status fkmi_swaps_create(struct fkm_context *context, const fkm_params *params, struct fkmi_state *state,
                             const struct fkmi_rows *rows, struct fkmi_pack **pack, int64_t most_passes,
                             struct fkmi_swaps **out)
{
    fkm_status status = FKM_OK;
    struct fkmi_swaps *s = NULL;
    const int64_t k = state->k, dim = state->dim;

    *out = NULL;
    FKMI_TRY_GOTO(fkmi_alloc(&s, 1, sizeof *s));
    *s = (struct fkmi_swaps){.context = context,
                             .params = params,
                             .state = state,
                             .rows = rows,
                             .space = fkmi_state_space(state, params->metric),
                             .pack = pack,
                             .last_sum = INFINITY,
                             .interruptible = fkmi_interruptible(),
                             .most_passes = most_passes};
    s->n_cells = k / CELLS_SHARE > LEAST_CELLS ? k / CELLS_SHARE : LEAST_CELLS;
    if (s->n_cells > k)
        s->n_cells = k;
    s->pairs.block = rows->n < PAIRS_BLOCK ? rows->n : PAIRS_BLOCK;
    FKMI_TRY_GOTO(fkmi_alloc(&s->held, (int64_t)points_bytes(state), 1));
    FKMI_TRY_GOTO(fkmi_alloc(&s->held_mass, k, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_alloc(&s->cell_begin, k + 1, sizeof(int64_t)));
    FKMI_TRY_GOTO(fkmi_alloc(&s->within, k, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_alloc(&s->loss, k, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_alloc(&s->full, s->n_cells, sizeof(int64_t)));
    FKMI_TRY_GOTO(fkmi_alloc(&s->cheap, s->n_cells, sizeof(int64_t)));
    FKMI_TRY_GOTO(fkmi_alloc(&s->gain, s->n_cells, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_alloc(&s->halves, s->n_cells * 2, point_bytes(state)));
    FKMI_TRY_GOTO(fkmi_alloc(&s->tried, s->n_cells * s->n_cells, 1));
    FKMI_TRY_GOTO(fkmi_alloc(&s->pairs.index, 2 * s->pairs.block, sizeof(int32_t)));
    FKMI_TRY_GOTO(fkmi_alloc(&s->pairs.distance, 2 * s->pairs.block, sizeof(double)));
    FKMI_TRY_GOTO(
        fkmi_alloc(&s->scratch, fkmi_pool_threads(context->pool) * SCRATCH_VECTORS * dim, sizeof(double)));
    *out = s;
    s = NULL;
done:
    fkmi_swaps_free(s);
    return status;
}

/* What only tries need; to come back from polishing is possible with their copy of the points. */
static void free_tries(struct fkmi_swaps *s, bool with_held)
{
    if (with_held) {
        fkmi_free(s->held);
        s->held = NULL;
    }
    fkmi_free(s->halves);
    s->halves = NULL;
}

void fkmi_swaps_free(struct fkmi_swaps *s)
{
    if (!s)
        return;
    free_tries(s, true);
    fkmi_free(s->held_mass);
    fkmi_free(s->cell_begin);
    fkmi_free(s->within);
    fkmi_free(s->loss);
    fkmi_free(s->full);
    fkmi_free(s->cheap);
    fkmi_free(s->gain);
    fkmi_free(s->tried);
    fkmi_free(s->pairs.index);
    fkmi_free(s->pairs.distance);
    fkmi_free(s->scratch);
    fkmi_free(s);
}

/* ---- the look: losses and gains */

/* Sums and losses of all cells, and the cell of each row seen. */
static fkm_status measure_cells(struct fkmi_swaps *s, const struct fkmi_cells *cells)
{
    const struct fkmi_passes_family *passes = s->context->backend->passes;
    const int64_t k = s->state->k, most = s->seen.n < CELLS_BLOCK ? s->seen.n : CELLS_BLOCK;
    struct fkmi_pairs pairs = {.block = cells->passes ? most : s->pairs.block};
    fkm_status status = FKM_OK;

    memset(s->within, 0, (size_t)k * sizeof(double));
    memset(s->loss, 0, (size_t)k * sizeof(double));
    memset(s->cell_begin, 0, (size_t)(k + 1) * sizeof(int64_t));
    FKMI_TRY_GOTO(fkmi_alloc(&pairs.index, 2 * pairs.block, sizeof *pairs.index));
    FKMI_TRY_GOTO(fkmi_alloc(&pairs.distance, 2 * pairs.block, sizeof *pairs.distance));
    FKMI_TRY_GOTO(fkmi_state_pack(s->context, s->params, s->state, s->rows, s->pack));
    for (int64_t first = 0; first < s->seen.n; first += pairs.block) {
        const int64_t left = s->seen.n - first;
        const struct fkmi_rows block =
            fkmi_rows_slice(&s->seen, first, left < pairs.block ? left : pairs.block);

        if (cells->passes)
            FKMI_TRY_GOTO(passes->pairs(s->context, cells->passes, *s->pack, &block, s->cell + first,
                                        pairs.index, pairs.distance));
        else
            FKMI_TRY_GOTO(fkmi_pairs_scan(&pairs, s->context, &block, *s->pack));
        for (int64_t i = 0; i < block.n; i++) {
            const int32_t j = pairs.index[2 * i];
            const double u = fkmi_row_weight(&block, i);
            const double *distance = pairs.distance + 2 * i;
            s->within[j] += u * distance[0];
            s->loss[j] += u * (distance[1] - distance[0]);
            s->cell_begin[j + 1]++;
            s->cell[first + i] = j;
        }
    }
done:
    fkmi_free(pairs.index);
    fkmi_free(pairs.distance);
    return status;
}

/* From cells by row to rows by cell. */
static fkm_status sort_rows(struct fkmi_swaps *s)
{
    const int64_t k = s->state->k;
    int64_t *next;

    FKMI_TRY(fkmi_alloc(&next, k, sizeof *next));
    for (int64_t j = 0; j < k; j++) {
        s->cell_begin[j + 1] += s->cell_begin[j];
        next[j] = s->cell_begin[j];
    }
    for (int64_t i = 0; i < s->seen.n; i++)
        s->cell_row[next[s->cell[i]]++] = (int32_t)i;
    fkmi_free(next);
    return FKM_OK;
}

/* The n best of k values, best first, ties to the lower index: a selection by insertion, since n is small. */
static void rank(const double *value, int64_t k, bool rising, int64_t *order, int64_t n)
{
    int64_t held = 0;

    for (int64_t j = 0; j < k; j++) {
        int64_t place = held;
        while (place > 0 &&
               (rising ? value[j] < value[order[place - 1]] : value[j] > value[order[place - 1]]))
            place--;
        if (place >= n)
            continue;
        if (held < n)
            held++;
        memmove(order + place + 1, order + place, (size_t)(held - place - 1) * sizeof *order);
        order[place] = j;
    }
}

struct half {
    double *mean, *sum, weight;
};

static void load_row(const struct fkmi_swaps *s, int64_t i, void *real, double *row)
{
    const fkm_dtype dtype = s->space.real == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32;

    fkmi_row_load(&s->seen, &s->space, i, real);
    s->context->kernels->vector[FKMI_REAL_F64].load[dtype](row, real, s->state->dim);
}

static double distance_to(const struct fkmi_swaps *s, const double *row, const double *mean)
{
    return s->context->kernels->vector[FKMI_REAL_F64].distance[s->params->metric](
        row, mean, s->space.feature_weights, s->state->dim);
}

static void take_mean(const struct fkmi_swaps *s, const struct half *half)
{
    for (int64_t d = 0; d < s->state->dim && half->weight > 0; d++)
        half->mean[d] = half->sum[d] / half->weight;
    (void)fkmi_point_normalise(&s->space, half->mean);
}

/* One pass of two means over a cell; *sum receives the distances to the means before it. */
static fkm_status halve_pass(const struct fkmi_swaps *s, int64_t cell, struct half half[2], double *row,
                             void *real, double *sum)
{
    const int64_t dim = s->state->dim;

    *sum = 0;

    for (int h = 0; h < 2; h++) {
        half[h].weight = 0;
        memset(half[h].sum, 0, (size_t)dim * sizeof(double));
    }
    for (int64_t p = s->cell_begin[cell]; p < s->cell_begin[cell + 1]; p++) {
        const double u = fkmi_row_weight(&s->seen, s->cell_row[p]);
        double d0, d1;
        struct half *nearer;

        FKMI_TRY(fkmi_check_every(ROWS_PER_CHECK, p - s->cell_begin[cell]));
        load_row(s, s->cell_row[p], real, row);
        d0 = distance_to(s, row, half[0].mean);
        d1 = distance_to(s, row, half[1].mean);
        nearer = &half[d1 < d0];
        *sum += u * (d1 < d0 ? d1 : d0);
        nearer->weight += u;
        for (int64_t d = 0; d < dim; d++)
            nearer->sum[d] += u * row[d];
    }
    return FKM_OK;
}

static void *half_of(const struct fkmi_swaps *s, int64_t c, int h)
{
    return (char *)s->halves + (size_t)(2 * c + h) * point_bytes(s->state);
}

/* Two means of a cell, begun from its centre mirrored at the farthest row. */
static fkm_status halve_cells(void *job, int64_t begin, int64_t end, int thread)
{
    struct fkmi_swaps *s = job;
    const int64_t dim = s->state->dim;
    double *row = s->scratch + thread * SCRATCH_VECTORS * dim;
    void *real = row + dim;
    double *centre = row + 2 * dim;

    for (int64_t c = begin; c < end; c++) {
        const int64_t cell = s->full[c];
        struct half half[2] = {{row + 3 * dim, row + 4 * dim, 0}, {row + 5 * dim, row + 6 * dim, 0}};
        double farthest = -1, sum = s->within[cell];

        fkmi_point_load(s->state, s->context->kernels, cell, centre);
        memcpy(half[0].mean, centre, (size_t)dim * sizeof(double));
        for (int64_t p = s->cell_begin[cell]; p < s->cell_begin[cell + 1]; p++) {
            double distance;
            FKMI_TRY(fkmi_check_every(ROWS_PER_CHECK, p - s->cell_begin[cell]));
            load_row(s, s->cell_row[p], real, row);
            distance = distance_to(s, row, centre);
            if (distance > farthest && fkmi_row_weight(&s->seen, s->cell_row[p]) > 0) {
                farthest = distance;
                memcpy(half[0].mean, row, (size_t)dim * sizeof(double));
            }
        }
        for (int64_t d = 0; d < dim; d++)
            half[1].mean[d] = 2 * centre[d] - half[0].mean[d];
        for (int turn = 0; turn < SPLIT_PASSES; turn++) {
            FKMI_TRY(halve_pass(s, cell, half, row, real, &sum));
            if (turn + 1 < SPLIT_PASSES)
                for (int h = 0; h < 2; h++)
                    take_mean(s, &half[h]);
        }
        s->gain[c] = s->within[cell] - sum;
        for (int h = 0; h < 2; h++)
            s->context->kernels->vector[FKMI_REAL_F64].store[s->state->dtype](half_of(s, c, h), half[h].mean,
                                                                              dim);
    }
    return FKM_OK;
}

static void hold(struct fkmi_swaps *s)
{
    memcpy(s->held, s->state->points, points_bytes(s->state));
    memcpy(s->held_mass, s->state->mass, (size_t)s->state->k * sizeof *s->held_mass);
    s->held_scale = s->state->scale;
    s->changed = true;
}

/* Losses, gains and halves. sum, gained: of the pass that is over. It was made with the points before these. */
static fkm_status look_at_seen(struct fkmi_swaps *s, struct fkmi_cells *cells, double sum, double gained)
{
    static_assert(sizeof *s->cell + sizeof *s->cell_row == sizeof *cells->distance,
                  "distances make room for rows");
    if (!s->seen_order) { /* the next pass finds distances anew: until then they are room */
        s->cell = (int32_t *)(void *)cells->distance;
        s->cell_row = s->cell + s->seen.n;
        memcpy(s->cell, cells->index, (size_t)s->seen.n * sizeof *s->cell);
        if (cells->passes)
            s->context->backend->passes->changed(cells->passes, FKMI_CHANGED_DISTANCE);
    }
    FKMI_TRY(measure_cells(s, cells));
    if (s->seen_order) {
        s->held_sum =
            sum - (isfinite(gained) && gained > 0 ? gained : 0); /* the next pass will hardly gain more */
    } else {
        s->held_sum = 0;
        for (int64_t j = 0; j < s->state->k; j++)
            s->held_sum += s->within[j];
    }
    FKMI_TRY(sort_rows(s));
    rank(s->within, s->state->k, false, s->full, s->n_cells);
    rank(s->loss, s->state->k, true, s->cheap, s->n_cells);
    return fkmi_parallel(s->context->pool, s->n_cells, 1, halve_cells, s);
}

static fkm_status look(struct fkmi_swaps *s, struct fkmi_cells *cells, double sum, double gained)
{
    fkm_status status;

    fkmi_scratch_trim(s->context); /* a look needs blocks of other sizes than passes do */
    status = choose_seen(s, cells);
    if (status == FKM_OK)
        status = look_at_seen(s, cells, sum, gained);
    forget_seen(s);
    s->context->backend->pack_trim(*s->pack);
    FKMI_TRY(status);
    memset(s->tried, 0, (size_t)(s->n_cells * s->n_cells));
    hold(s);
    return FKM_OK;
}

/* ---- tries */

static void swap(struct fkmi_swaps *s, int64_t c, int64_t removed)
{
    memcpy(fkmi_state_point(s->state, s->full[c]), half_of(s, c, 0), point_bytes(s->state));
    memcpy(fkmi_state_point(s->state, removed), half_of(s, c, 1), point_bytes(s->state));
}

/* The untried swap that promises most; -1 when none is left. */
static int64_t best_swap(const struct fkmi_swaps *s, int64_t *r)
{
    int64_t best = -1;
    double promise = -INFINITY;

    for (int64_t c = 0; c < s->n_cells; c++)
        for (int64_t h = 0; h < s->n_cells; h++) {
            const double here = s->gain[c] - s->loss[s->cheap[h]];
            if (s->tried[c * s->n_cells + h] || s->cheap[h] == s->full[c] || !(here > promise))
                continue;
            promise = here;
            best = c;
            *r = h;
        }
    return best;
}

/* All swaps that promise a gain, best first, each prototype in one of them at most; the single best, when
 * none does or `single`. *any is false when nothing is left to try. */
static fkm_status try_swaps(struct fkmi_swaps *s, bool single, bool *any)
{
    int64_t n = 0, c, h = 0;

    while ((c = best_swap(s, &h)) >= 0) {
        FKMI_TRY(fkmi_check_interrupt());
        const int64_t removed = s->cheap[h], split = s->full[c];
        const bool promising = s->gain[c] > s->loss[removed];
        if (n > 0 && (single || !promising))
            break;
        swap(s, c, removed);
        n++;
        s->tried[c * s->n_cells + h] = 1;
        if (single || !promising)
            break;
        for (int64_t i = 0; i < s->n_cells; i++) /* both are taken, for this try */
            for (int64_t g = 0; g < s->n_cells; g++)
                if (i == c || g == h || s->full[i] == removed || s->cheap[g] == split)
                    s->tried[i * s->n_cells + g] |= 2;
    }
    for (int64_t i = 0; i < s->n_cells * s->n_cells; i++)
        s->tried[i] &= n > 1 ? 0 : 1; /* single swaps of a failed group deserve a try of their own */
    *any = n > 0;
    return FKM_OK;
}

void fkmi_swaps_undo(struct fkmi_swaps *s)
{
    if (!s || !s->changed)
        return;
    memcpy(s->state->points, s->held, points_bytes(s->state));
    memcpy(s->state->mass, s->held_mass, (size_t)s->state->k * sizeof *s->held_mass);
    s->state->scale = s->held_scale;
}

static void go_back(struct fkmi_swaps *s)
{
    fkmi_swaps_undo(s);
    s->trying = false;
    s->last_sum = INFINITY;
}

static bool has_gained(const struct fkmi_swaps *s, double sum)
{
    return sum < (1 - LEAST_GAIN) * s->held_sum;
}

void fkmi_swaps_stop(struct fkmi_swaps *s, const struct fkmi_cells *cells)
{
    if (s->trying && !has_gained(s, cells->sum_distance))
        go_back(s);
}

/* Rows change sides after each pass that has nearly settled, until that gains nothing any more. */
static fkm_status polish(struct fkmi_swaps *s, struct fkmi_cells *cells, double gained, bool settled)
{
    const double sum = cells->sum_distance;
    /* Halves are too coarse to follow single rows. */
    const bool coarse = s->state->dtype == FKM_DTYPE_F16 || s->state->dtype == FKM_DTYPE_BF16;
    int64_t moves;

    s->idle = gained < IDLE_PASS * sum ? s->idle + 1 : 0;
    if (s->params->metric != FKM_METRIC_EUCLIDEAN || coarse || s->idle > MOST_IDLE ||
        s->rows->n / POLISHED_ROWS > s->state->k)
        s->polished = true;
    if (s->polished || !(settled || gained < SETTLING_PASS * sum))
        return FKM_OK;
    if (s->interruptible)
        hold(s);
    FKMI_TRY(fkmi_polish(s->context, s->params, s->state, s->rows, cells, &s->pairs, s->pack, &moves));
    s->context->backend->pack_trim(*s->pack);
    if (cells->passes) /* polishing takes the sums for its means */
        s->context->backend->passes->changed(cells->passes, FKMI_CHANGED_SUMS);
    s->polished = moves == 0 && settled;
    return FKM_OK;
}

/* The last third of the passes is for settling, and nobody judges a try that begins before the last one. */
static bool too_late(const struct fkmi_swaps *s, int64_t passes_left)
{
    return passes_left == 1 || 3 * passes_left < s->most_passes;
}

/* A try has succeeded, failed, or goes on. */
static fkm_status judge_try(struct fkmi_swaps *s, double gained, double sum, bool settled,
                            int64_t passes_left)
{
    if (has_gained(s, sum)) {
        s->trying = s->changed = false;
        s->failures = 0;
    } else if (settled || passes_left == 1 ||
               (isfinite(gained) && sum - PASSES_AHEAD * gained > s->held_sum)) {
        go_back(s);
        s->tired = too_late(s, passes_left) || ++s->failures >= MOST_FAILURES;
        if (!s->tired)
            FKMI_TRY(try_swaps(s, true, &s->trying));
        s->tired = !s->trying;
    }
    return FKM_OK;
}

fkm_status fkmi_swaps_after_pass(struct fkmi_swaps *s, struct fkmi_cells *cells, bool settled,
                                 int64_t passes_left, bool *over)
{
    const double sum = cells->sum_distance, gained = s->last_sum - sum;

    s->last_sum = sum;
    s->changed = s->trying;
    *over = false;
    if (s->trying) {
        FKMI_TRY(judge_try(s, gained, sum, settled, passes_left));
    } else if (s->tired) {
        free_tries(s, !s->interruptible);
        FKMI_TRY(polish(s, cells, gained, settled));
        *over = s->polished;
    } else if (settled || gained < SLOW_PASS * sum) {
        s->tired = too_late(s, passes_left);
        if (!s->tired) {
            FKMI_TRY(look(s, cells, sum, gained));
            FKMI_TRY(try_swaps(s, false, &s->trying));
            s->tired = !s->trying;
            s->last_sum = INFINITY;
        }
    }
    return FKM_OK;
}
