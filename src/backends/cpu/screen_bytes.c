/* screen_bytes.c — the bytes of a pack's prototypes: made by the first scan that pays for them.
 *
 * A row y and a prototype g, both moved so that the prototypes' mean is the origin, are y = t q + e and g = s p + f
 * with small integers q and p. |f|, |g| and the rounding of scores are kept beside the bytes, rounded up.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/screen_bytes.h"

#include <string.h>

#define MOST_DIM         65536 /* sums of as many products of bytes fit in 32 bits */
#define LEAST_ROWS       256   /* from which filling the screen pays */
#define POINTS_FOR_MEAN  256
#define WIDE_AT_ONCE     128 /* coordinates */
#define HEAD_LEAST_DIM   64  /* from which on heads are measured to save time */
#define HEAD_LEAST_ROWS  1024
#define HEAD_LEAST_WORK  4e9 /* products */
#define HEAD_FOR_SEVERAL 2 /* times as many prototypes: thresholds of the nearest are what rules out panels */
#define LEAST_WEIGHT     1e-30
#define UNDERFLOW        1e-19 /* root of what a square can lose */

fkm_status fkmi_screen_create(struct fkmi_screen **out) { return fkmi_alloc(out, 1, sizeof **out); }

void fkmi_screen_free(struct fkmi_screen *screen)
{
    if (!screen)
        return;
    fkmi_free(screen->memory);
    fkmi_free(screen);
}

void fkmi_screen_renew(struct fkmi_screen *screen)
{
    const int n_skipped = atomic_load(&screen->n_skipped), n_headless = atomic_load(&screen->n_headless);

    atomic_store(&screen->state, FKMI_SCREEN_EMPTY);
    atomic_store(&screen->n_rows, 0);
    atomic_store(&screen->n_poor, 0);
    atomic_store(&screen->n_fine, 0);
    atomic_store(&screen->n_loose, 0);
    atomic_store(&screen->n_tight, 0);
    atomic_store(&screen->n_skipped, n_skipped > 0 ? n_skipped - 1 : 0);
    atomic_store(&screen->n_headless, n_headless > 0 ? n_headless - 1 : 0);
}

/* ---- bytes of a point */

void fkmi_screen_move(const struct fkmi_pack *pack, const float *centre, double unit, float *x)
{
    const struct fkmi_vector *vector = fkmi_pack_vector(pack);

    if (!fkmi_screen_cosine(pack)) {
        vector->transform(x, x, centre, pack->map, pack->dim);
        return;
    }
    for (int64_t d = 0; d < pack->dim; d++)
        x[d] = (float)((double)x[d] * unit);
    if (pack->map)
        vector->transform(x, x, NULL, pack->map, pack->dim);
    if (centre)
        vector->transform(x, x, centre, NULL, pack->dim);
}

static const struct fkmi_vector *floats_of(const struct fkmi_pack *pack)
{
    return &pack->kernels->vector[FKMI_REAL_F32];
}

static bool is_wide(const struct fkmi_pack *pack) { return pack->space.real == FKMI_REAL_F64; }

/* The same for models in f64, of what is stored at x: in f64, some coordinates at a time, and rounded once. */
static void move_wide(const struct fkmi_pack *pack, const float *centre, double unit, fkm_dtype dtype,
                      const char *x, float *to)
{
    const struct fkmi_vector *vector = &pack->kernels->vector[FKMI_REAL_F64];
    const bool cosine = fkmi_screen_cosine(pack);
    double part[WIDE_AT_ONCE], middle[WIDE_AT_ONCE];

    for (int64_t d = 0; d < pack->dim; d += WIDE_AT_ONCE) {
        const int64_t left = pack->dim - d, n = left < WIDE_AT_ONCE ? left : WIDE_AT_ONCE;
        const double *map = pack->map ? (const double *)(const void *)pack->map + d : NULL;

        vector->load[dtype](part, x + (size_t)d * fkmi_dtype_size(dtype), n);
        if (centre)
            vector->load[FKM_DTYPE_F32](middle, centre + d, n);
        for (int64_t i = 0; cosine && i < n; i++)
            part[i] *= unit;
        if (cosine && map)
            vector->transform(part, part, NULL, map, n);
        vector->transform(part, part, centre ? middle : NULL, cosine ? NULL : map, n);
        vector->store[FKM_DTYPE_F32](to + d, part, n);
    }
}

static double wide_square(const struct fkmi_pack *pack, fkm_dtype dtype, const char *x)
{
    const struct fkmi_vector *vector = &pack->kernels->vector[FKMI_REAL_F64];
    double part[WIDE_AT_ONCE], sum = 0;

    for (int64_t d = 0; d < pack->dim; d += WIDE_AT_ONCE) {
        const int64_t left = pack->dim - d, n = left < WIDE_AT_ONCE ? left : WIDE_AT_ONCE;

        vector->load[dtype](part, x + (size_t)d * fkmi_dtype_size(dtype), n);
        sum += vector->dot(part, part, pack->weights ? (const double *)(const void *)pack->weights + d : NULL,
                           n);
    }
    return sum;
}

static const void *point_of(const struct fkmi_pack *pack, int64_t j)
{
    return (const char *)pack->points + (size_t)(j * pack->dim) * fkmi_dtype_size(pack->dtype);
}

static double unit_of(const struct fkmi_pack *pack, int64_t j)
{
    return pack->size[j] > 0 ? 1 / sqrt(pack->size[j]) : 1.0;
}

/* Prototype j, moved. */
static void move_prototype(const struct fkmi_pack *pack, const float *centre, int64_t j, float *staged)
{
    if (is_wide(pack))
        move_wide(pack, centre, unit_of(pack, j), pack->dtype, point_of(pack, j), staged);
    else if (!fkmi_screen_cosine(pack) && pack->dtype == FKM_DTYPE_F32)
        floats_of(pack)->transform(staged, point_of(pack, j), centre, pack->map, pack->dim);
    else {
        floats_of(pack)->load[pack->dtype](staged, point_of(pack, j), pack->dim);
        fkmi_screen_move(pack, centre, unit_of(pack, j), staged);
    }
}

double fkmi_screen_rest(const struct fkmi_pack *pack, const struct fkmi_quantised *facts)
{
    return sqrt(facts->rest2) * (1 + fkmi_screen_rounding(pack)) + 8 * FKMI_UNIT * sqrt(facts->square) +
           UNDERFLOW * sqrt((double)pack->dim);
}

double fkmi_screen_norm(const struct fkmi_pack *pack, const struct fkmi_quantised *facts)
{
    return sqrt(facts->square) * (1 + fkmi_screen_rounding(pack)) + UNDERFLOW * sqrt((double)pack->dim);
}

bool fkmi_screen_stage(const struct fkmi_screen *screen, const struct fkmi_pack *pack,
                       const struct fkmi_rows *rows, int64_t i, float *staged, struct fkmi_screened *row)
{
    const struct fkmi_vector *vector = floats_of(pack);
    const double rounding = fkmi_screen_rounding(pack);
    const void *x = fkmi_dense_row(rows, i);
    double square, product;

    if (!fkmi_screen_cosine(pack) && is_wide(pack)) {
        move_wide(pack, screen->centre, 1, rows->dtype, x, staged);
        return true;
    }
    if (!fkmi_screen_cosine(pack) && rows->dtype == FKM_DTYPE_F32) {
        vector->transform(staged, x, screen->centre, pack->map, pack->dim);
        return true;
    }
    if (!is_wide(pack))
        vector->load[rows->dtype](staged, x, pack->dim);
    if (!fkmi_screen_cosine(pack)) {
        fkmi_screen_move(pack, screen->centre, 1, staged);
        return true;
    }
    square = is_wide(pack) ? wide_square(pack, rows->dtype, x)
                           : vector->dot(staged, staged, pack->weights, pack->dim);
    if (!(square >= FKMI_LEAST_SQUARE && square < FKMI_MOST_SQUARE))
        return false;
    if (is_wide(pack))
        move_wide(pack, NULL, 1 / sqrt(square), rows->dtype, x, staged);
    else
        fkmi_screen_move(pack, NULL, 1 / sqrt(square), staged);
    product = vector->dot(staged, screen->centre, NULL, pack->dim);
    vector->transform(staged, staged, screen->centre, NULL, pack->dim);
    row->least = 1 - product - 16 * rounding;
    row->most = 1 - product + 16 * rounding;
    return true;
}

/* ---- filling */

struct fill_job {
    const struct fkmi_pack *pack;
    struct fkmi_screen *screen;
    float *numbers; /* of heads, k x width; or NULL */
    char *scratch;
    size_t scratch_per_thread;
};

struct fill_scratch {
    float *staged, *transposed, *scores;
    int8_t *bytes; /* of a panel's prototypes, one behind the other */
};

static void carve_fill(struct fill_scratch *scratch, struct fkmi_carve *carve, const struct fkmi_pack *pack,
                       bool heads)
{
    const struct fkmi_tile *tile = &pack->kernels->tile[FKM_DTYPE_F32];
    const int64_t together = heads ? tile->rows : 1;

    scratch->staged = fkmi_carve(carve, together * pack->dim, sizeof *scratch->staged);
    scratch->bytes = fkmi_carve(carve, (pack->dim + 3) / 4 * fkmi_screen_tile(pack)->cols, 4);
    scratch->transposed = fkmi_carve(carve, heads ? together * pack->dim : 0, sizeof *scratch->transposed);
    scratch->scores =
        fkmi_carve(carve, heads ? (int64_t)tile->rows * tile->cols : 0, sizeof *scratch->scores);
}

static void carve_screen(struct fkmi_screen *screen, struct fkmi_carve *carve, const struct fkmi_pack *pack)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const int64_t n_panels = (pack->k - 1) / tile->cols + 1, lanes = n_panels * tile->cols;

    screen->n_quads = (pack->dim + 3) / 4;
    screen->bytes = fkmi_carve(carve, lanes * screen->n_quads, 4);
    screen->start = fkmi_carve(carve, lanes, sizeof *screen->start);
    screen->scale = fkmi_carve(carve, lanes, sizeof *screen->scale);
    screen->bias = fkmi_carve(carve, lanes, sizeof *screen->bias);
    screen->rest = fkmi_carve(carve, lanes, sizeof *screen->rest);
    screen->size = fkmi_carve(carve, lanes, sizeof *screen->size);
    screen->slack = fkmi_carve(carve, lanes, sizeof *screen->slack);
    screen->panels = fkmi_carve(carve, n_panels, sizeof *screen->panels);
    screen->centre = fkmi_carve(carve, pack->dim, sizeof *screen->centre);
    screen->order = screen->has_head ? fkmi_carve(carve, lanes, sizeof *screen->order) : NULL;
    if (screen->has_head)
        fkmi_head_carve(&screen->head, carve, pack);
}

/* Any origin gives a bound that holds; the mean of some of the prototypes gives a close one. */
static void find_centre(const struct fkmi_pack *pack, float *centre, float *staged)
{
    const int64_t n = pack->k < POINTS_FOR_MEAN ? pack->k : POINTS_FOR_MEAN;

    memset(centre, 0, (size_t)pack->dim * sizeof *centre);
    for (int64_t i = 0; i < n; i++) {
        const int64_t j = pack->k / n * i;

        if (fkmi_screen_cosine(pack))
            move_prototype(pack, NULL, j, staged);
        else
            floats_of(pack)->load[pack->dtype](staged, point_of(pack, j), pack->dim);
        floats_of(pack)->add_scaled(centre, staged, NULL, 1 / (double)n, pack->dim);
    }
}

static void fill_lane(const struct fill_job *job, const struct fill_scratch *scratch, int64_t panel,
                      int64_t lane)
{
    const struct fkmi_pack *pack = job->pack;
    struct fkmi_screen *screen = job->screen;
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const int64_t at = panel * tile->cols + lane, j = at < pack->k ? fkmi_screen_prototype(screen, at) : 0;
    const double rounding = fkmi_screen_rounding(pack);
    int8_t *bytes = scratch->bytes + lane * screen->n_quads * 4;
    struct fkmi_quantised facts = {0};
    double rest = 0, norm = 0, bias = -0x1p99, size = 0;

    memset(bytes + screen->n_quads * 4 - 4, 0, 4); /* what pads the last four */
    if (at < pack->k) {
        move_prototype(pack, screen->centre, j, scratch->staged);
        tile->quantise(scratch->staged, pack->dim, 127, bytes, &facts);
        rest = fkmi_screen_rest(pack, &facts);
        norm = fkmi_screen_norm(pack, &facts);
        if (fkmi_screen_cosine(pack)) {
            const struct fkmi_vector *vector = floats_of(pack);

            bias = vector->dot(scratch->staged, screen->centre, NULL, pack->dim);
            size = norm * sqrt(vector->dot(screen->centre, screen->centre, NULL, pack->dim));
        } else {
            bias = -facts.square / 2;
            size = norm * norm / 2;
        }
    }
    screen->start[at] = (int32_t)(-tile->offset * facts.sum);
    screen->scale[at] = facts.scale;
    screen->bias[at] = (float)bias;
    screen->rest[at] = fkmi_rounded_up(rest + 32 * FKMI_UNIT * (norm + rest));
    screen->size[at] = fkmi_rounded_up(norm);
    screen->slack[at] = fkmi_rounded_up((2 * rounding + 64 * FKMI_UNIT) * size);
}

static void fill_head(const struct fill_job *job, int64_t panel)
{
    const int64_t cols = fkmi_screen_tile(job->pack)->cols, width = job->screen->head.width;
    float numbers[64 * FKMI_HEAD_MOST_WIDTH];

    for (int64_t at = panel * cols; at < (panel + 1) * cols && at < job->pack->k; at++)
        memcpy(numbers + (at - panel * cols) * width, job->numbers + job->screen->order[at] * width,
               (size_t)width * sizeof *numbers);
    fkmi_head_fill_panel(&job->screen->head, job->pack, &job->screen->panels[panel],
                         job->screen->size + panel * cols, numbers, panel);
}

static fkm_status fill_panels(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct fill_job *job = argument;
    struct fkmi_screen *screen = job->screen;
    const int cols = fkmi_screen_tile(job->pack)->cols;
    struct fkmi_carve carve = {job->scratch + (size_t)thread * job->scratch_per_thread, 0};
    struct fill_scratch scratch;

    carve_fill(&scratch, &carve, job->pack, job->screen->has_head);
    for (int64_t panel = begin; panel < end; panel++) {
        const int64_t first = panel * cols, left = job->pack->k - first;
        const int n_points = left < cols ? (int)left : cols;
        const void *rows[64];
        struct fkmi_byte_panel *facts = &screen->panels[panel];

        *facts = (struct fkmi_byte_panel){.bytes = screen->bytes + panel * screen->n_quads * cols * 4,
                                          .start = screen->start + first,
                                          .scale = screen->scale + first,
                                          .bias = screen->bias + first,
                                          .rests = screen->rest + first,
                                          .sizes = screen->size + first,
                                          .slacks = screen->slack + first};
        for (int lane = 0; lane < cols; lane++) {
            fill_lane(job, &scratch, panel, lane);
            facts->rest = fmaxf(facts->rest, screen->rest[first + lane]);
            facts->size = fmaxf(facts->size, screen->size[first + lane]);
            facts->slack = fmaxf(facts->slack, screen->slack[first + lane]);
            rows[lane] = scratch.bytes + lane * screen->n_quads * 4;
        }
        /* four bytes are as wide as a float */
        job->pack->kernels->tile[FKM_DTYPE_F32].pack(rows, n_points, screen->n_quads, cols,
                                                     screen->bytes + panel * screen->n_quads * cols * 4);
        if (job->numbers)
            fill_head(job, panel);
    }
    return FKM_OK;
}

static fkm_status project_points(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct fill_job *job = argument;
    const struct fkmi_head *head = &job->screen->head;
    const int64_t together = job->pack->kernels->tile[FKM_DTYPE_F32].rows;
    struct fkmi_carve carve = {job->scratch + (size_t)thread * job->scratch_per_thread, 0};
    struct fill_scratch scratch;

    carve_fill(&scratch, &carve, job->pack, true);
    for (int64_t first = begin; first < end; first += together) {
        const int n = (int)(end - first < together ? end - first : together);

        for (int r = 0; r < n; r++)
            move_prototype(job->pack, job->screen->centre, first + r, scratch.staged + r * job->pack->dim);
        fkmi_head_project(head, job->pack, scratch.staged, n, scratch.transposed, scratch.scores,
                          job->numbers + first * head->width);
    }
    return FKM_OK;
}

/* Directions, the numbers of all prototypes, and the order of panels. */
static fkm_status start_head(struct fkm_context *context, struct fill_job *job, int64_t *order)
{
    const struct fkmi_pack *pack = job->pack;
    struct fkmi_screen *screen = job->screen;
    struct fkmi_head *head = &screen->head;
    double skew;

    FKMI_TRY(fkmi_head_directions(context, pack, screen->centre, move_prototype, head->width - 1,
                                  head->directions, &skew));
    fkmi_head_find_error(head, pack, skew);
    FKMI_TRY(fkmi_parallel(context->pool, pack->k, 84, project_points, job));
    FKMI_TRY(
        fkmi_head_order(context, job->numbers, pack->k, head->width, fkmi_screen_tile(pack)->cols, order));
    for (int64_t at = 0; at < pack->k; at++)
        screen->order[at] = (int32_t)order[at];
    fkmi_head_pad_centres(head, fkmi_screen_tile(pack)->cols);
    return FKM_OK;
}

static fkm_status fill(struct fkm_context *context, const struct fkmi_pack *pack, struct fkmi_screen *screen)
{
    const int n_threads = fkmi_pool_threads_here(context->pool);
    struct fill_job job = {.pack = pack, .screen = screen};
    struct fill_scratch scratch;
    struct fkmi_carve carve = {NULL, 0};
    size_t capacity;
    int64_t *order;
    void *memory = NULL;
    fkm_status status = FKM_OK;

    carve_fill(&scratch, &carve, pack, screen->has_head);
    job.scratch_per_thread = carve.used;
    carve = (struct fkmi_carve){NULL, 0};
    carve_screen(screen, &carve, pack);
    if (carve.used > screen->capacity) {
        fkmi_free(screen->memory);
        screen->memory = NULL;
        capacity = fkmi_larger_capacity(screen->capacity, carve.used);
        screen->capacity = 0;
        FKMI_TRY_GOTO(fkmi_alloc(&screen->memory, (int64_t)capacity, 1));
        screen->capacity = capacity;
    }
    carve = (struct fkmi_carve){screen->memory, 0};
    carve_screen(screen, &carve, pack);
    for (int pass = 0; pass < 2; pass++) {
        carve = (struct fkmi_carve){memory, job.scratch_per_thread * (size_t)n_threads};
        job.scratch = memory;
        job.numbers =
            screen->has_head ? fkmi_carve(&carve, pack->k * screen->head.width, sizeof *job.numbers) : NULL;
        order = fkmi_carve(&carve, screen->has_head ? pack->k : 0, sizeof *order);
        if (pass == 0)
            FKMI_TRY_GOTO(fkmi_scratch_take(context, carve.used, &memory));
    }
    carve = (struct fkmi_carve){memory, 0};
    carve_fill(&scratch, &carve, pack, screen->has_head);
    find_centre(pack, screen->centre, scratch.staged);
    if (screen->has_head)
        FKMI_TRY_GOTO(start_head(context, &job, order));
    FKMI_TRY_GOTO(
        fkmi_parallel(context->pool, (pack->k - 1) / fkmi_screen_tile(pack)->cols + 1, 1, fill_panels, &job));
done:
    fkmi_scratch_give(context, memory);
    return status;
}

/* Models in f64 may hold what floats cannot. */
static bool sizes_fit(const struct fkmi_pack *pack)
{
    bool fit = true;

    for (int64_t j = 0; j < pack->k; j++)
        fit &= pack->size[j] == 0 || (pack->size[j] >= FKMI_LEAST_SQUARE && pack->size[j] < FKMI_MOST_SQUARE);
    return fit;
}

static bool can_screen(const struct fkmi_pack *pack, const struct fkmi_rows *rows, int64_t most)
{
    if (!fkmi_screen_tile(pack)->runs_here() || pack->unusual || fkmi_rows_sparse(rows) || rows->mask ||
        pack->space.metric == FKM_METRIC_L1 || pack->dim > MOST_DIM || !(pack->factor > 0) ||
        most > FKMI_SCREEN_MOST_PLACES)
        return false;
    for (int64_t d = 0; pack->feature_weights && d < pack->dim; d++)
        if (pack->feature_weights[d] != 0 && pack->feature_weights[d] < LEAST_WEIGHT)
            return false;
    return !is_wide(pack) || sizes_fit(pack);
}

/* Several nearest need as many distances, whichever way they are found. */
static bool is_worth(const struct fkmi_pack *pack, enum fkmi_scan_bytes wish, int64_t most)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const bool large = tile->least_k > 0 && pack->k >= tile->least_k &&
                       (most == 1 || pack->k >= tile->least_by_place * most) &&
                       pack->k * pack->dim >= tile->least_coordinates;

    return (large || wish == FKMI_BYTES_MEASURED) && atomic_load(&pack->screen->n_skipped) == 0 &&
           atomic_load(&pack->ordered->n_skipped) == 0;
}

static bool can_have_head(const struct fkmi_pack *pack, const struct fkmi_rows *rows, int64_t most)
{
    return pack->dim >= HEAD_LEAST_DIM && rows->n >= HEAD_LEAST_ROWS &&
           pack->k >= fkmi_screen_tile(pack)->least_for_heads * (most > 1 ? HEAD_FOR_SEVERAL : 1);
}

/* Whether so much is to be done that making heads, and an order for them, is little beside it. */
static bool is_worth_heads(const struct fkmi_pack *pack, const struct fkmi_rows *rows)
{
    return (double)rows->n * (double)pack->k * (double)pack->dim >= HEAD_LEAST_WORK &&
           atomic_load(&pack->ordered->n_headless) == 0;
}

/* True when the screen is full, or has been filled now; one that another scan is filling is left alone. */
static fkm_status make_full(struct fkm_context *context, const struct fkmi_pack *pack,
                            struct fkmi_screen *screen, bool *full)
{
    int empty = FKMI_SCREEN_EMPTY;
    fkm_status status = FKM_OK;

    *full = atomic_load_explicit(&screen->state, memory_order_acquire) == FKMI_SCREEN_FULL;
    if (*full || !atomic_compare_exchange_strong(&screen->state, &empty, FKMI_SCREEN_FILLING))
        return FKM_OK;
    screen->has_head = screen == pack->ordered;
    status = fill(context, pack, screen);
    atomic_store_explicit(&screen->state, status == FKM_OK ? FKMI_SCREEN_FULL : FKMI_SCREEN_EMPTY,
                          memory_order_release);
    *full = status == FKM_OK;
    return status;
}

fkm_status fkmi_screen_ready(struct fkm_context *context, const struct fkmi_pack *pack,
                             const struct fkmi_rows *rows, enum fkmi_scan_bytes wish, int64_t most,
                             struct fkmi_screen **use, bool *heads)
{
    struct fkmi_screen *screen = pack->screen;
    const bool always = wish == FKMI_BYTES_ALWAYS || wish == FKMI_BYTES_HEADS;
    const bool heads_wished = wish == FKMI_BYTES_HEADS && fkmi_head_width(pack->dim) > 0;
    bool full;

    *use = NULL;
    *heads = false;
    if (wish == FKMI_BYTES_NEVER || !can_screen(pack, rows, most))
        return FKM_OK;
    if (!always && !is_worth(pack, wish, most))
        return FKM_OK;
    if (heads_wished || (!always && can_have_head(pack, rows, most) && is_worth_heads(pack, rows))) {
        FKMI_TRY(make_full(context, pack, pack->ordered, &full));
        *use = full ? pack->ordered : NULL;
        *heads = full;
        return FKM_OK;
    }
    if (atomic_load_explicit(&pack->ordered->state, memory_order_acquire) == FKMI_SCREEN_FULL) {
        *use = pack->ordered;
        return FKM_OK;
    }
    if (atomic_load_explicit(&screen->state, memory_order_acquire) != FKMI_SCREEN_FULL &&
        atomic_fetch_add(&screen->n_rows, rows->n) + rows->n < LEAST_ROWS && !always)
        return FKM_OK;
    FKMI_TRY(make_full(context, pack, screen, &full));
    *use = full ? screen : NULL;
    return FKM_OK;
}
