/* lists_pack.c — prototypes that are lists, laid out by column for scans of CSR rows.
 *
 * A column that many prototypes have is held whole, zeros and all: its products are vectors that stay in registers.
 * The others keep only what is not 0. Prototypes go in chunks, so that the sums of some rows against one stay in L2.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "backends/cpu/screen.h"
#include "base/interrupt.h"

/* A column is held whole from one prototype in so many on: an entry of a list costs as much as so many lanes. */
#define WHOLE_FROM    12
#define LEAST_CHUNK   1024
#define MOST_CHUNK    65536
#define CHUNKS_WANTED 32
#define ENTRIES       512 /* of a list that are converted at a time */

struct lists_job {
    struct fkmi_pack *pack;
    struct fkmi_list_columns *columns;
};

/* Entries [from, from + n) of the lists, as the panels of dense prototypes hold them, but for the length of cosine. */
static void load_entries(const struct fkmi_pack *pack, int64_t from, int64_t n, void *reals)
{
    const char *stored = (const char *)pack->lists.value + (size_t)from * fkmi_dtype_size(pack->dtype);

    fkmi_pack_vector(pack)->load[pack->dtype](reals, stored, n);
}

/* ---- what is known of each prototype: its size, its bias */

static fkm_status measure_lists(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct lists_job *job = argument;
    struct fkmi_pack *pack = job->pack;
    const fkm_metric metric = pack->space.metric;

    (void)thread;
    for (int64_t j = begin; j < end; j++) {
        double size = 0, bias;

        for (int64_t e = pack->lists.begin[j]; e < pack->lists.begin[j + 1]; e++) {
            const double c = fkmi_dtype_get(pack->lists.value, pack->dtype, e);
            const double w = pack->feature_weights ? pack->feature_weights[pack->lists.index[e]] : 1.0;

            size += metric == FKM_METRIC_L1 ? w * fabs(c) : w * c * c;
        }
        pack->size[j] = size;
        bias = metric == FKM_METRIC_EUCLIDEAN ? -size / 2 : metric == FKM_METRIC_L1 ? -size : 0.0;
        if (pack->space.real == FKMI_REAL_F64)
            ((double *)(void *)pack->sparse_bias)[j] = bias;
        else
            ((float *)(void *)pack->sparse_bias)[j] = (float)bias;
    }
    return FKM_OK;
}

/* ---- columns */

void fkmi_list_columns_free(struct fkmi_list_columns *columns)
{
    if (!columns)
        return;
    fkmi_free(columns->memory);
    fkmi_free(columns->entry_memory);
    fkmi_free(columns);
}

static int64_t chunk_of(const struct fkmi_pack *pack)
{
    const int64_t wide = fkmi_pack_vector(pack)->wide;
    int64_t chunk = (pack->k - 1) / CHUNKS_WANTED + 1;

    chunk = chunk < LEAST_CHUNK ? LEAST_CHUNK : chunk > MOST_CHUNK ? MOST_CHUNK : chunk;
    return (chunk + wide - 1) / wide * wide > MOST_CHUNK ? MOST_CHUNK : (chunk + wide - 1) / wide * wide;
}

static int64_t last_of(const struct fkmi_pack *pack, int64_t chunk)
{
    const int64_t end = (chunk + 1) * pack->columns->chunk;

    return end < pack->k ? end : pack->k;
}

/* Entries by column d of each chunk, at begin[d + 1]. */
static fkm_status count_chunks(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct lists_job *job = argument;
    const struct fkmi_pack *pack = job->pack;

    (void)thread;
    for (int64_t c = begin; c < end; c++) {
        uint32_t *count = pack->columns->begin + c * (pack->dim + 1) + 1;
        const int64_t first = pack->lists.begin[c * pack->columns->chunk],
                      last = pack->lists.begin[last_of(pack, c)];

        for (int64_t e = first; e < last; e++)
            count[pack->lists.index[e]]++;
    }
    return FKM_OK;
}

/* Which columns are held whole; where the entries of the others begin. */
static void choose_columns(struct fkmi_pack *pack)
{
    struct fkmi_list_columns *columns = pack->columns;
    const int64_t dim = pack->dim;

    for (int64_t d = 0; d < dim; d++) {
        int64_t count = 0;

        for (int64_t c = 0; c < columns->n_chunks; c++)
            count += columns->begin[c * (dim + 1) + d + 1];
        columns->whole[d] = count * WHOLE_FROM >= pack->k ? (int32_t)columns->n_whole++ : -1;
    }
    for (int64_t c = 0; c < columns->n_chunks; c++) {
        uint32_t *begin = columns->begin + c * (dim + 1);

        for (int64_t d = 0; d < dim; d++)
            begin[d + 1] = begin[d] + (columns->whole[d] < 0 ? begin[d + 1] : 0);
        columns->base[c + 1] = columns->base[c] + begin[dim];
    }
}

static void put_real(enum fkmi_real real, void *array, int64_t i, double value)
{
    if (real == FKMI_REAL_F64)
        ((double *)array)[i] = value;
    else
        ((float *)array)[i] = (float)value;
}

static void put_list(const struct fkmi_pack *pack, int64_t c, int64_t j)
{
    const struct fkmi_list_columns *columns = pack->columns;
    const enum fkmi_real real = pack->space.real;
    const int64_t wide = fkmi_pack_vector(pack)->wide;
    const bool unit = pack->space.metric == FKM_METRIC_COSINE;
    const double scale = !unit ? 1.0 : pack->size[j] > 0 ? 1 / sqrt(pack->size[j]) : 0.0;
    uint32_t *next = columns->begin + c * (pack->dim + 1);
    double room[ENTRIES];

    for (int64_t first = pack->lists.begin[j], n; first < pack->lists.begin[j + 1]; first += n) {
        const int64_t left = pack->lists.begin[j + 1] - first;

        n = left < ENTRIES ? left : ENTRIES;
        load_entries(pack, first, n, room);
        for (int64_t e = 0; e < n; e++) {
            const int64_t d = pack->lists.index[first + e];
            const double map = !pack->map              ? 1.0
                               : real == FKMI_REAL_F64 ? ((const double *)(void *)pack->map)[d]
                                                       : (double)((const float *)(void *)pack->map)[d];
            const double value =
                (real == FKMI_REAL_F64 ? room[e] : (double)((const float *)(void *)room)[e]) * scale * map;

            if (columns->whole[d] >= 0) {
                put_real(real, columns->panels,
                         (j / wide * columns->n_whole + columns->whole[d]) * wide + j % wide, value);
                continue;
            }
            if (real == FKMI_REAL_F64)
                ((struct fkmi_entry_64 *)(void *)columns->entries)[columns->base[c] + next[d]++] =
                    (struct fkmi_entry_64){value, (uint64_t)(j - c * columns->chunk)};
            else
                ((struct fkmi_entry_32 *)(void *)columns->entries)[columns->base[c] + next[d]++] =
                    (struct fkmi_entry_32){(float)value, (uint32_t)(j - c * columns->chunk)};
        }
    }
}

static fkm_status fill_chunks(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct lists_job *job = argument;
    const struct fkmi_pack *pack = job->pack;

    (void)thread;
    for (int64_t c = begin; c < end; c++) {
        uint32_t *next = pack->columns->begin + c * (pack->dim + 1);

        for (int64_t j = c * pack->columns->chunk; j < last_of(pack, c); j++)
            put_list(pack, c, j);
        memmove(next + 1, next,
                (size_t)pack->dim * sizeof *next); /* each has come to where the next begins */
        next[0] = 0;
    }
    return FKM_OK;
}

static fkm_status make_columns(struct fkm_context *context, struct lists_job *job,
                               struct fkmi_list_columns **out)
{
    struct fkmi_pack *pack = job->pack;
    const size_t real = fkmi_real_size(pack->space.real);
    const int64_t wide = fkmi_pack_vector(pack)->wide, n_panels = (pack->k - 1) / wide + 1;
    struct fkmi_list_columns *columns = NULL;
    struct fkmi_carve carve = {NULL, 0};
    fkm_status status = FKM_OK;

    FKMI_TRY_GOTO(fkmi_alloc(&columns, 1, sizeof *columns));
    pack->columns = columns;
    columns->chunk = chunk_of(pack);
    columns->n_chunks = (pack->k - 1) / columns->chunk + 1;
    for (int64_t c = 0; c < columns->n_chunks; c++)
        if (pack->lists.begin[last_of(pack, c)] - pack->lists.begin[c * columns->chunk] > UINT32_MAX)
            FKMI_TRY_GOTO(fkmi_fail(FKM_ENOMEM, "prototypes %lld to %lld have more than %u entries",
                                    (long long)(c * columns->chunk), (long long)last_of(pack, c) - 1,
                                    UINT32_MAX));
    for (int pass = 0; pass < 2; pass++) {
        columns->whole = fkmi_carve(&carve, pack->dim, sizeof *columns->whole);
        columns->begin = fkmi_carve(&carve, columns->n_chunks * (pack->dim + 1), sizeof *columns->begin);
        columns->base = fkmi_carve(&carve, columns->n_chunks + 1, sizeof *columns->base);
        if (pass == 0) {
            FKMI_TRY_GOTO(fkmi_alloc(&columns->memory, (int64_t)carve.used, 1));
            carve = (struct fkmi_carve){columns->memory, 0};
        }
    }
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, columns->n_chunks, 1, count_chunks, job));
    choose_columns(pack);
    carve = (struct fkmi_carve){NULL, 0};
    for (int pass = 0; pass < 2; pass++) {
        const int64_t n = columns->base[columns->n_chunks];

        columns->panels = fkmi_carve(&carve, n_panels * columns->n_whole * wide, real);
        columns->entries = fkmi_carve(&carve, n, fkmi_entry_size(pack->space.real));
        if (pass == 0) {
            FKMI_TRY_GOTO(fkmi_alloc(&columns->entry_memory, (int64_t)carve.used, 1));
            carve = (struct fkmi_carve){columns->entry_memory, 0};
        }
    }
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, columns->n_chunks, 1, fill_chunks, job));
    *out = columns;
    columns = NULL;
done:
    fkmi_list_columns_free(columns);
    return status;
}

/* ---- entry point */

fkm_status fkmi_cpu_pack_lists(struct fkm_context *context, const struct fkmi_space *space, fkm_dtype dtype,
                               const struct fkmi_lists *lists, int64_t k, bool search,
                               struct fkmi_pack **pack)
{
    const struct fkmi_kernels *kernels = context->kernels;
    const size_t real = fkmi_real_size(space->real);
    struct fkmi_pack next = {.space = *space,
                             .wide = *space,
                             .dtype = dtype,
                             .dim = space->dim,
                             .k = k,
                             .kernels = kernels,
                             .listed = true,
                             .lists = *lists,
                             .panels = *pack ? (*pack)->panels : NULL,
                             .screen = *pack ? (*pack)->screen : NULL,
                             .ordered = *pack ? (*pack)->ordered : NULL,
                             .tuning = space->tuning ? *space->tuning : (struct fkmi_tuning){0}};
    struct lists_job job = {.pack = &next};
    struct fkmi_pack *fresh = NULL;
    struct fkmi_panels *panels = NULL;
    struct fkmi_screen *screen = NULL, *ordered = NULL;
    struct fkmi_carve carve = {NULL, 0};
    void *memory = NULL;
    fkm_status status = FKM_OK;

    next.space.tuning = next.wide.tuning = NULL; /* the caller's may go before the pack does */
    next.wide.real = FKMI_REAL_F64;
    next.panel_dtype = space->real == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32;
    next.tile = &kernels->tile[next.panel_dtype];
    next.n_panels = (k - 1) / next.tile->cols + 1;
    for (int pass = 0; pass < 2; pass++) {
        const int64_t weighted = space->feature_weights ? space->dim : 0;

        next.size = fkmi_carve(&carve, k, sizeof *next.size);
        next.sparse_bias = fkmi_carve(&carve, next.n_panels * next.tile->cols, real);
        next.map = fkmi_carve(&carve, weighted, real);
        next.weights = fkmi_carve(&carve, weighted, real);
        next.feature_weights = fkmi_carve(&carve, weighted, sizeof(double));
        if (pass == 0) {
            FKMI_TRY_GOTO(fkmi_alloc(&memory, (int64_t)carve.used, 1));
            next.capacity = carve.used;
            carve = (struct fkmi_carve){memory, 0};
        }
    }
    if (!space->feature_weights)
        next.map = next.weights = NULL, next.feature_weights = NULL;
    fkmi_pack_fill_map(&next, space->feature_weights, NULL);
    next.memory = memory;
    next.space.feature_weights = next.wide.feature_weights = next.feature_weights;
    if (!*pack) {
        FKMI_TRY_GOTO(fkmi_alloc(&fresh, 1, sizeof *fresh));
        FKMI_TRY_GOTO(fkmi_panels_create(&panels));
        FKMI_TRY_GOTO(fkmi_screen_create(&screen));
        FKMI_TRY_GOTO(fkmi_screen_create(&ordered));
        next.panels = panels;
        next.screen = screen;
        next.ordered = ordered;
    }
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, k, 64, measure_lists, &job));
    fkmi_pack_find_norm(&next, next.sparse_bias);
    if (search)
        FKMI_TRY_GOTO(make_columns(context, &job, &next.columns));
    if (*pack) {
        fkmi_free((*pack)->memory);
        fkmi_list_columns_free((*pack)->columns);
    } else {
        *pack = fresh;
    }
    fkmi_panels_renew(next.panels);
    fkmi_screen_renew(next.screen);
    fkmi_screen_renew(next.ordered);
    **pack = next;
    fresh = NULL;
    panels = NULL;
    screen = ordered = NULL;
    memory = NULL;
done:
    fkmi_free(memory);
    fkmi_free(fresh);
    fkmi_panels_free(panels);
    fkmi_screen_free(screen);
    fkmi_screen_free(ordered);
    return status;
}
