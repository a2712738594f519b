/* approximate.c — an index of prototypes made by the context's search functions, and rows ranked by it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "index/approximate.h"

#include <math.h>

#include "base/interrupt.h"
#include "base/memory.h"

enum {
    ROWS_TOGETHER = 4096, /* of one search */
    ROWS_OF_A_PART = 64,
    CANDIDATES_MORE = 8, /* than wanted, at least: floats order nearly equal distances wrongly */
    LEAST_SHARE = 4      /* more than 1 / 4 of all prototypes are faster scanned */
};

struct fkmi_approximate {
    struct fkm_context *context;
    const struct fkmi_search *search;
    struct fkmi_space space;
    void *index;
    int64_t k;
};

bool fkmi_approximate_possible(const struct fkm_context *context, fkm_metric metric)
{
    return context->search.functions.build && metric != FKM_METRIC_L1;
}

/* What a failing function of somebody else's has said, or that it has said nothing. */
static fkm_status explain(fkm_status status, const char *function)
{
    if (status != FKM_OK && status != FKM_EINTERRUPTED)
        return fkmi_fail(status, "the search's %s function returned %s", function, fkm_status_name(status));
    return status;
}

/* ---- points and rows as floats: unit vectors for cosine, scaled by the roots of the feature weights */

struct loading {
    const struct fkmi_rows *rows;
    const struct fkmi_space *space;
    float *out;   /* n x dim */
    char *buffer; /* by thread: dim reals */
};

static fkm_status load_rows(void *argument, int64_t begin, int64_t end, int thread)
{
    const struct loading *loading = argument;
    const struct fkmi_space *space = loading->space;
    const int64_t dim = space->dim;
    char *real = loading->buffer + (size_t)(thread * dim) * fkmi_real_size(space->real);

    for (int64_t i = begin; i < end; i++) {
        float *out = loading->out + i * dim;

        fkmi_row_load(loading->rows, space, i, real);
        for (int64_t d = 0; d < dim; d++) {
            const double value = space->real == FKMI_REAL_F64
                                     ? ((const double *)(const void *)real)[d]
                                     : (double)((const float *)(const void *)real)[d];

            out[d] = (float)(space->feature_weights ? value * sqrt(space->feature_weights[d]) : value);
        }
    }
    return FKM_OK;
}

static fkm_status load(struct fkm_context *context, const struct fkmi_space *space,
                       const struct fkmi_rows *rows, float *out)
{
    fkm_status status = FKM_OK;
    struct loading loading = {.rows = rows, .space = space, .out = out};

    FKMI_TRY_GOTO(fkmi_alloc(&loading.buffer, fkmi_pool_threads(context->pool) * space->dim,
                             fkmi_real_size(space->real)));
    FKMI_TRY_GOTO(fkmi_parallel(context->pool, rows->n, ROWS_OF_A_PART, load_rows, &loading));
done:
    fkmi_free(loading.buffer);
    return status;
}

/* ---- the index */

fkm_status fkmi_approximate_create(struct fkm_context *context, const struct fkmi_space *space,
                                   fkm_dtype dtype, const void *points, int64_t k,
                                   struct fkmi_approximate **out)
{
    fkm_status status = FKM_OK;
    struct fkmi_approximate *approximate = NULL;
    const struct fkmi_rows rows = {
        .n = k, .dim = space->dim, .dtype = dtype, .x = points, .stride = space->dim};
    float *floats = NULL;

    *out = NULL;
    FKMI_TRY_GOTO(fkmi_alloc(&approximate, 1, sizeof *approximate));
    approximate->context = context;
    approximate->search = &context->search;
    approximate->space = *space;
    approximate->k = k;
    FKMI_TRY_GOTO(fkmi_alloc(&floats, k * space->dim, sizeof *floats));
    FKMI_TRY_GOTO(load(context, space, &rows, floats));
    FKMI_TRY_GOTO(explain(approximate->search->functions.build(approximate->search->self, floats, k,
                                                               space->dim, &approximate->index),
                          "build"));
    *out = approximate;
    approximate = NULL;
done:
    fkmi_free(floats);
    fkmi_free(approximate); /* only when there is no index */
    return status;
}

void fkmi_approximate_free(struct fkmi_approximate *approximate)
{
    if (!approximate)
        return;
    approximate->search->functions.drop(approximate->search->self, approximate->index);
    fkmi_free(approximate);
}

bool fkmi_approximate_serves(const struct fkmi_approximate *approximate, const struct fkmi_rows *rows,
                             int64_t width)
{
    return approximate && !fkmi_rows_sparse(rows) && !rows->mask && width < approximate->k / LEAST_SHARE;
}

static fkm_status rank_some(const struct fkmi_approximate *approximate, const struct fkmi_rows *rows,
                            const struct fkmi_pack *pack, int64_t width, int64_t wanted, float *floats,
                            int64_t *candidates, int32_t *index, double *distance)
{
    struct fkm_context *context = approximate->context;

    FKMI_TRY(load(context, &approximate->space, rows, floats));
    FKMI_TRY(explain(approximate->search->functions.search(approximate->search->self, approximate->index,
                                                           floats, rows->n, approximate->space.dim, wanted,
                                                           fkmi_pool_threads(context->pool), candidates),
                     "search"));
    return context->backend->rank(context, rows, pack, candidates, wanted, width, index, distance);
}

fkm_status fkmi_approximate_nearest(const struct fkmi_approximate *approximate, const struct fkmi_rows *rows,
                                    const struct fkmi_pack *pack, int64_t width, int32_t *index,
                                    double *distance)
{
    fkm_status status = FKM_OK;
    const int64_t more = width / 2 > CANDIDATES_MORE ? width / 2 : CANDIDATES_MORE;
    const int64_t wanted = width + more < approximate->k ? width + more : approximate->k;
    const int64_t room = rows->n < ROWS_TOGETHER ? rows->n : ROWS_TOGETHER;
    float *floats = NULL;
    int64_t *candidates = NULL;

    FKMI_TRY_GOTO(fkmi_alloc(&floats, room * approximate->space.dim, sizeof *floats));
    FKMI_TRY_GOTO(fkmi_alloc(&candidates, room * wanted, sizeof *candidates));
    for (int64_t first = 0; first < rows->n; first += room) {
        const struct fkmi_rows some =
            fkmi_rows_slice(rows, first, rows->n - first < room ? rows->n - first : room);

        FKMI_TRY_GOTO(fkmi_check_interrupt());
        FKMI_TRY_GOTO(rank_some(approximate, &some, pack, width, wanted, floats, candidates,
                                index + first * width, distance + first * width));
    }
done:
    fkmi_free(floats);
    fkmi_free(candidates);
    return status;
}
