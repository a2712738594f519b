/* block.c — lays rows out for tiles and says what their scores mean.
 * SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "backends/cpu/cpu.h"

static const double no_bias[64]; /* also read as floats */

static fkm_dtype dtype_of(enum fkmi_real real)
{
    return real == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32;
}

static bool rows_need_staging(const struct fkmi_pack *pack, const struct fkmi_rows *rows)
{
    return pack->centre || pack->map || rows->mask || rows->dtype != dtype_of(pack->space.real);
}

void fkmi_block_carve(struct fkmi_block *block, struct fkmi_carve *carve, const struct fkmi_pack *pack,
                      const struct fkmi_rows *rows, int64_t n, int64_t n_entries)
{
    const size_t real = fkmi_real_size(pack->space.real);
    const int64_t per_tile = pack->tile->rows, n_tiles = (n - 1) / per_tile + 1;

    *block = (struct fkmi_block){.sparse = fkmi_rows_sparse(rows), .masked = rows->mask != NULL};
    block->facts = fkmi_carve(carve, n, sizeof *block->facts);
    if (block->sparse) {
        block->values = fkmi_carve(carve, n, sizeof *block->values);
        block->indices = fkmi_carve(carve, n, sizeof *block->indices);
        block->n_entries = fkmi_carve(carve, n, sizeof *block->n_entries);
        block->skipped = fkmi_carve(carve, n, sizeof *block->skipped);
        block->value_memory = fkmi_carve(carve, rows_need_staging(pack, rows) ? n_entries : 0, real);
        if (pack->columns) {
            block->sums = fkmi_carve(carve, n * pack->columns->chunk, real);
            block->part_values = fkmi_carve(carve, n_entries, real);
            block->part_columns = fkmi_carve(carve, n_entries, sizeof *block->part_columns);
            block->part_begin = fkmi_carve(carve, n + 1, sizeof *block->part_begin);
            block->n_whole = fkmi_carve(carve, n, sizeof *block->n_whole);
        }
        return;
    }
    block->x = fkmi_carve(carve, n_tiles * per_tile * pack->dim, real);
    if (rows_need_staging(pack, rows))
        block->staging = fkmi_carve(carve, per_tile * pack->dim, real);
    if (block->masked) {
        block->m = fkmi_carve(carve, n_tiles * per_tile * pack->dim, real);
        block->staging_m = fkmi_carve(carve, per_tile * pack->dim, real);
    }
}

/* ---- facts */

/* `terms` were added up for a score; a map, a centre and the direct distance itself cost a few roundings
 * more. */
static double rounding_of(const struct fkmi_pack *pack, int64_t terms)
{
    return (double)(terms + 32) * (pack->space.real == FKMI_REAL_F64 ? 0x1p-53 : 0x1p-24);
}

static bool any_nonzero(enum fkmi_real real, const void *x, int64_t n)
{
    bool any = false;

    for (int64_t i = 0; i < n; i++)
        any |= real == FKMI_REAL_F64 ? ((const double *)x)[i] != 0 : ((const float *)x)[i] != 0;
    return any;
}

/* x: n reals whose squares add up to `square`, or to so little that it vanished. */
static bool is_unusual(const struct fkmi_pack *pack, double square, const void *x, int64_t n)
{
    const bool f64 = pack->space.real == FKMI_REAL_F64;

    if (square >= (f64 ? 1e-280 : 1e-24))
        return !(square < (f64 ? 1e280 : 1e30));
    return any_nonzero(pack->space.real, x, n);
}

/* How far below a score a rival may lie, for a rival and a distance as large as they can be. A euclidean
 * score adds up x.c and |c|^2 / 2; a centred sparse row counts its centre in its size. */
static void find_slack(const struct fkmi_pack *pack, struct fkmi_row_facts *facts)
{
    const double error = 2 * facts->rounding, size = facts->size; /* this score's and the rival's */
    const double norm = pack->norm;

    facts->slope = 0;
    switch (pack->space.metric) {
    case FKM_METRIC_EUCLIDEAN:
        facts->slack = error * (size * norm + norm * norm / 2 + (size + norm) * (size + norm) / 2);
        break;
    case FKM_METRIC_L1:
        facts->slack = error * 4 * size;
        facts->slope = 2 * error;
        break;
    default:
        facts->slack = error * 4 * size;
    }
}

double fkmi_score_close_threshold(const struct fkmi_pack *pack, const struct fkmi_row_facts *facts,
                                  double score)
{
    const double quick = fkmi_score_threshold(facts, score);
    double distance, norm, close;

    if (pack->space.metric != FKM_METRIC_EUCLIDEAN)
        return quick;
    /* a rival at most as far has a norm of at most |x| + |x - c| */
    distance = fmax(facts->square - 2 * score, 0.0) + 8 * facts->rounding * facts->size * facts->size;
    norm = facts->size + sqrt(distance);
    close = score - 2 * facts->rounding * (facts->size * norm + norm * norm / 2 + distance / 2);
    return fmax(close, quick);
}

/* x: the n values of the row as they were mapped. */
static struct fkmi_row_facts facts_of(const struct fkmi_pack *pack, const void *x, int64_t n, double square,
                                      double factor, int64_t terms)
{
    const bool l1 = pack->space.metric == FKM_METRIC_L1;
    struct fkmi_row_facts facts = {
        .square = square,
        .size = l1 ? sqrt((double)terms * square) : sqrt(square), /* sum |x| <= sqrt(n sum x^2) */
        .factor = factor,
        .rounding = rounding_of(pack, terms),
        .unusual = !l1 && (pack->unusual || is_unusual(pack, square, x, n)),
    };

    find_slack(pack, &facts);
    return facts;
}

/* ---- sparse rows */

static void load_sparse_row(struct fkmi_block *block, const struct fkmi_pack *pack,
                            const struct fkmi_rows *rows, int64_t at, int64_t i, int64_t *n_staged)
{
    const enum fkmi_real real = pack->space.real;
    const size_t size = fkmi_real_size(real);
    const int64_t row = fkmi_row(rows, i), first = rows->indptr[row], n = rows->indptr[row + 1] - first;
    const struct fkmi_vector *vector = fkmi_pack_vector(pack);
    const int32_t *indices = n > 0 ? rows->indices + first : NULL;
    const void *values =
        n > 0 ? (const char *)rows->values + (size_t)first * fkmi_dtype_size(rows->dtype) : NULL;
    double square = 0, by_centre = 0, l1 = 0;

    if (rows_need_staging(pack, rows) && n > 0) {
        char *staged = block->value_memory + (size_t)*n_staged * size;

        vector->load[rows->dtype](staged, values, n);
        for (int64_t e = 0; pack->map && e < n; e++)
            if (real == FKMI_REAL_F64)
                ((double *)(void *)staged)[e] *= ((double *)(void *)pack->map)[indices[e]];
            else
                ((float *)(void *)staged)[e] *= ((float *)(void *)pack->map)[indices[e]];
        values = staged;
        *n_staged += n;
    }
    block->values[at] = values;
    block->indices[at] = indices;
    block->n_entries[at] = n;
    block->skipped[at] = 0;
    for (int64_t e = 0; e < n; e++) {
        const double v =
            real == FKMI_REAL_F64 ? ((const double *)values)[e] : (double)((const float *)values)[e];

        square += v * v;
        l1 += fabs(v);
        if (pack->centre) /* values are root w x: another root w makes w x centre */
            by_centre += v * pack->wide_centre[indices[e]] *
                         (pack->feature_weights ? sqrt(pack->feature_weights[indices[e]]) : 1.0);
    }
    block->facts[at] = facts_of(pack, values, n, square, pack->factor, n);
    if (pack->space.metric == FKM_METRIC_COSINE)
        block->facts[at].factor = 1;
    if (pack->space.metric == FKM_METRIC_L1)
        block->facts[at].size = l1;
    if (pack->centre) {
        block->facts[at].square = fmax(square - 2 * by_centre + pack->centre_norm2, 0.0);
        block->facts[at].size += sqrt(pack->centre_norm2);
    }
    find_slack(pack, &block->facts[at]);
}

/* ---- dense rows */

static void load_masked_row(const struct fkmi_pack *pack, const struct fkmi_rows *rows, int64_t i,
                            char *staged, char *mask, struct fkmi_row_facts *facts)
{
    const struct fkmi_vector *vector = fkmi_pack_vector(pack);
    const fkm_metric metric = pack->space.metric;
    bool present;
    double factor = fkmi_row_active(rows, &pack->space, i, mask, &present), square;

    if (metric == FKM_METRIC_COSINE)
        factor = factor > 0 ? 1 : 0;
    fkmi_row_load(rows, &pack->space, i, staged);
    vector->load[FKM_DTYPE_F32](mask, rows->mask + fkmi_row(rows, i) * rows->dim, pack->dim);
    if (pack->centre || pack->map)
        vector->transform(staged, staged, pack->centre, pack->map, pack->dim);
    square = vector->dot(staged, staged, mask, pack->dim);
    if (metric != FKM_METRIC_L1)
        vector->transform(staged, staged, NULL, mask, pack->dim);
    *facts = facts_of(pack, staged, pack->dim, square, factor, 2 * pack->dim);
}

static void load_dense_tile(struct fkmi_block *block, const struct fkmi_pack *pack,
                            const struct fkmi_rows *rows, const int64_t *picked, int64_t first, int64_t t)
{
    const struct fkmi_vector *vector = fkmi_pack_vector(pack);
    const size_t row_size = (size_t)pack->dim * fkmi_real_size(pack->space.real);
    const int64_t begin = t * pack->tile->rows, left = block->n - begin;
    const int n = left < pack->tile->rows ? (int)left : pack->tile->rows;
    const bool l1 = pack->space.metric == FKM_METRIC_L1;
    const void *x[32], *m[32];

    assert(n <= 32);
    for (int r = 0; r < n; r++) {
        const int64_t i = picked ? picked[begin + r] : first + begin + r;
        char *staged = block->staging ? block->staging + (size_t)r * row_size : NULL;

        x[r] = staged ? staged : fkmi_dense_row(rows, i);
        if (block->masked) {
            m[r] = block->staging_m + (size_t)r * row_size;
            load_masked_row(pack, rows, i, staged, block->staging_m + (size_t)r * row_size,
                            &block->facts[begin + r]);
            continue;
        }
        if (staged) {
            const void *from = fkmi_dense_row(rows, i);

            if (rows->dtype != dtype_of(pack->space.real)) {
                vector->load[rows->dtype](staged, from, pack->dim);
                from = staged;
            }
            vector->transform(staged, from, pack->centre, pack->map, pack->dim);
        }
        block->facts[begin + r] =
            facts_of(pack, x[r], pack->dim, l1 && !pack->map ? 0.0 : vector->dot(x[r], x[r], NULL, pack->dim),
                     pack->space.metric == FKM_METRIC_COSINE ? 1.0 : pack->factor, pack->dim);
    }
    pack->tile->pack(x, n, pack->dim, pack->tile->rows, block->x + (size_t)(t * pack->tile->rows) * row_size);
    if (block->masked)
        pack->tile->pack(m, n, pack->dim, pack->tile->rows,
                         block->m + (size_t)(t * pack->tile->rows) * row_size);
}

void fkmi_block_load(struct fkmi_block *block, const struct fkmi_pack *pack, const struct fkmi_rows *rows,
                     const int64_t *picked, int64_t first, int64_t n)
{
    int64_t n_staged = 0;

    block->n = n;
    block->n_tiles = (n - 1) / pack->tile->rows + 1;
    for (int64_t i = 0; block->sparse && i < n; i++)
        load_sparse_row(block, pack, rows, i, picked ? picked[i] : first + i, &n_staged);
    if (pack->columns)
        fkmi_block_split(block, pack);
    for (int64_t t = 0; !block->sparse && t < block->n_tiles; t++)
        load_dense_tile(block, pack, rows, picked, first, t);
}

/* ---- rows to come */

void fkmi_block_expect(struct fkmi_block *block, const struct fkmi_rows *rows, int64_t first, int64_t n,
                       int64_t n_turns)
{
    block->next = first;
    block->next_end = fkmi_rows_sparse(rows) || first >= rows->n ? first
                      : rows->n - first < n                      ? rows->n
                                                                 : first + n;
    block->next_step = (n - 1) / n_turns + 1;
}

/* Into L2: tiles are computed meanwhile, in L1. */
FKMI_FETCH void fetch_row(const struct fkmi_rows *rows, int64_t i)
{
    const char *row = fkmi_dense_row(rows, i);
    const int64_t size = rows->dim * (int64_t)fkmi_dtype_size(rows->dtype);

    for (int64_t at = 0; at < size; at += 64)
        __builtin_prefetch(row + at, 0, 2);
}

void fkmi_block_fetch(struct fkmi_block *block, const struct fkmi_rows *rows)
{
    const int64_t left = block->next_end - block->next, n = left < block->next_step ? left : block->next_step;

    for (int64_t i = block->next; i < block->next + n; i++)
        fetch_row(rows, i);
    block->next += n;
}

/* ---- scores */

/* Under a mask: x.c - sum m c^2 / 2, and x.c / sqrt(sum m c^2). */
static void join_masked(const struct fkmi_pack *pack, void *scores, const void *squares)
{
    const int n = pack->tile->rows * pack->tile->cols;
    const bool cosine = pack->space.metric == FKM_METRIC_COSINE;

#define JOIN(real, root)                                                                                     \
    do {                                                                                                     \
        real *s = scores;                                                                                    \
        const real *q = squares;                                                                             \
        for (int i = 0; i < n; i++)                                                                          \
            s[i] = cosine ? (q[i] > 0 ? s[i] / root(q[i]) : 0) : s[i] - q[i] / 2;                            \
    } while (0)
    if (pack->space.real == FKMI_REAL_F64)
        JOIN(double, sqrt);
    else
        JOIN(float, sqrtf);
#undef JOIN
}

static void scale_scores(const struct fkmi_pack *pack, int64_t panel, float *scores)
{
    const int rows = pack->tile->rows, cols = pack->tile->cols;
    const float *scale =
        (const float *)(const void *)pack->scale + panel * cols; /* half storage: reals are f32 */

    for (int r = 0; r < rows; r++)
        for (int j = 0; j < cols; j++)
            scores[r * cols + j] *= scale[j];
}

static void sparse_scores(const struct fkmi_block *block, const struct fkmi_pack *pack, int64_t t,
                          const char *panel, const char *bias, char *scores)
{
    const struct fkmi_tile *tile = pack->tile;
    const size_t row_size = (size_t)tile->cols * fkmi_real_size(pack->space.real);

    for (int64_t r = 0, i = t * tile->rows; r < tile->rows && i < block->n; r++, i++)
        if (block->skipped[i])
            continue;
        else if (pack->space.metric == FKM_METRIC_L1)
            tile->l1_sparse(block->values[i], block->indices[i], block->n_entries[i], NULL, panel, bias,
                            scores + (size_t)r * row_size);
        else
            tile->dot_sparse(block->values[i], block->indices[i], block->n_entries[i], panel, bias,
                             scores + (size_t)r * row_size);
}

/* Biases are those of exact prototypes, from their sizes: |c|^2 = |c - m|^2 + 2 (c - m).m + |m|^2. */
void fkmi_block_fine_scores(const struct fkmi_block *block, const struct fkmi_pack *pack, int64_t i,
                            int64_t panel, double *scores)
{
    const struct fkmi_tile *tile = pack->tile;
    const int64_t first = panel * tile->cols, left = pack->k - first,
                  n = left < tile->cols ? left : tile->cols;
    const char *at = pack->panels->values + (size_t)(first * pack->dim) * fkmi_dtype_size(pack->panel_dtype);
    const bool l1 = pack->space.metric == FKM_METRIC_L1;

    (l1 ? tile->l1_sparse_f64 : tile->dot_sparse_f64)(block->values[i], block->indices[i],
                                                      block->n_entries[i], at, scores);
    for (int64_t j = 0; j < n; j++) {
        const double size = pack->size[first + j];

        if (pack->space.metric == FKM_METRIC_EUCLIDEAN)
            scores[j] -= (size - pack->centre_norm2) / 2;
        else if (l1)
            scores[j] -= size;
        else if (pack->scale)
            scores[j] = size > 0 ? scores[j] / sqrt(size) : 0.0;
    }
}

/* Numbers of a prototype were rounded when they were made a unit vector's or moved by the centre, both factors of a
 * product when they were mapped, by a map that is rounded itself, and the row's when they came from f64. Sums are in f64,
 * and so are direct distances. */
struct fkmi_row_facts fkmi_block_fine_facts(const struct fkmi_block *block, const struct fkmi_pack *pack,
                                            int64_t i)
{
    const bool cosine = pack->space.metric == FKM_METRIC_COSINE;
    const int n = (pack->centre || (cosine && !pack->scale) ? 1 : 0) + (pack->map ? 4 : 0) + 1;
    struct fkmi_row_facts facts = block->facts[i];

    facts.rounding = n * (pack->space.real == FKMI_REAL_F64 ? 0x1p-53 : 0x1p-24) +
                     2 * (double)(block->n_entries[i] + 32) * 0x1p-53; /* the score's and the distance's */
    find_slack(pack, &facts);
    if (cosine) /* of two scores, and nothing else */
        facts.slack = 2 * facts.rounding * facts.size;
    return facts;
}

/* Out of the sums of the rows against a chunk. */
static void listed_scores(const struct fkmi_block *block, const struct fkmi_pack *pack, int64_t t,
                          int64_t panel, char *scores)
{
    const struct fkmi_tile *tile = pack->tile;
    const size_t real = fkmi_real_size(pack->space.real), row_size = (size_t)tile->cols * real;
    const int64_t lane = panel * tile->cols % pack->columns->chunk;

    for (int r = 0; r < tile->rows && t * tile->rows + r < block->n; r++)
        memcpy(scores + (size_t)r * row_size,
               block->sums + (size_t)((t * tile->rows + r) * pack->columns->chunk + lane) * real, row_size);
}

void fkmi_block_scores(const struct fkmi_block *block, const struct fkmi_pack *pack, int64_t t, int64_t panel,
                       void *scores, void *other)
{
    const struct fkmi_tile *tile = pack->tile;
    const size_t real = fkmi_real_size(pack->space.real);
    const size_t x_at = (size_t)(t * tile->rows * pack->dim) * real, lane = (size_t)(panel * tile->cols);
    const char *panel_at =
        pack->listed ? NULL
                     : pack->panels->values + lane * (size_t)pack->dim * fkmi_dtype_size(pack->panel_dtype);

    if (pack->listed)
        listed_scores(block, pack, t, panel, scores);
    else if (block->sparse)
        sparse_scores(block, pack, t, panel_at, pack->sparse_bias + lane * real, scores);
    else if (pack->space.metric == FKM_METRIC_L1 && block->masked)
        tile->l1_weighted(block->x + x_at, block->m + x_at, panel_at, pack->dim, scores);
    else if (pack->space.metric == FKM_METRIC_L1)
        tile->l1(block->x + x_at, panel_at, pack->dim, scores);
    else if (block->masked) {
        const struct fkmi_tile *reals = &pack->kernels->tile[dtype_of(pack->space.real)];

        tile->dot(block->x + x_at, panel_at, no_bias, pack->dim, scores);
        reals->dot(block->m + x_at, pack->panels->squares + lane * (size_t)pack->dim * real, no_bias,
                   pack->dim, other);
        join_masked(pack, scores, other);
    } else
        tile->dot(block->x + x_at, panel_at, pack->bias + lane * real, pack->dim, scores);
    if (pack->scale && !block->masked)
        scale_scores(pack, panel, scores);
}
