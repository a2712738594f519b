/* polish.c — one scan for the two nearest prototypes finds the few rows worth a closer look; those are taken
 * one after the other with means that move at once. SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/polish.h"

#define LEAST_GAIN 1e-6 /* relative: below it rounding could move a row to and fro for ever */

struct polishing {
    struct fkm_context *context;
    struct fkmi_state *state;
    struct fkmi_space space;
    const struct fkmi_rows *rows;
    const struct fkmi_cells *cells;
    const struct fkmi_pairs *pairs;
    double *mass;  /* k, as rows move */
    double *means; /* k x dim, as rows move */
    double *row;   /* dim */
    void *real;    /* dim reals */
};

static bool worth_moving(double u, double d_a, double n_a, double d_b, double n_b)
{
    return n_a > u && d_b * (n_b / (n_b + u)) < (1 - LEAST_GAIN) * d_a * (n_a / (n_a - u));
}

static double distance_to(const struct polishing *p, const double *mean)
{
    return p->context->kernels->vector[FKMI_REAL_F64].distance[FKM_METRIC_EUCLIDEAN](
        p->row, mean, p->space.feature_weights, p->state->dim);
}

/* Row i from a to b, when that still gains with the means of now. */
static bool move_row(const struct polishing *p, int64_t i, int64_t a, int64_t b)
{
    const int64_t dim = p->state->dim;
    const fkm_dtype dtype = p->space.real == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32;
    const double u = fkmi_row_weight(p->rows, i);
    double *mean_a = p->means + a * dim, *mean_b = p->means + b * dim;

    fkmi_row_load(p->rows, &p->space, i, p->real);
    p->context->kernels->vector[FKMI_REAL_F64].load[dtype](p->row, p->real, dim);
    if (!worth_moving(u, distance_to(p, mean_a), p->mass[a], distance_to(p, mean_b), p->mass[b]))
        return false;
    for (int64_t d = 0; d < dim; d++) {
        mean_a[d] -= u / (p->mass[a] - u) * (p->row[d] - mean_a[d]);
        mean_b[d] += u / (p->mass[b] + u) * (p->row[d] - mean_b[d]);
    }
    p->mass[a] -= u;
    p->mass[b] += u;
    return true;
}

/* The rows from `first` on that the pairs were found for; returns how many changed sides. */
static int64_t sweep_block(const struct polishing *p, int64_t first, int64_t n)
{
    int64_t moves = 0;

    for (int64_t i = 0; i < n; i++) {
        const int32_t *index = p->pairs->index + 2 * i;
        const double *distance = p->pairs->distance + 2 * i;
        const int32_t a = p->cells->index[first + i];
        const int there = index[0] == a; /* which of the two is the other one */
        const int32_t b = index[there];
        const double u = fkmi_row_weight(p->rows, first + i);
        if (a < 0 || !(u > 0) || (!there && index[1] != a))
            continue; /* its cell is no longer one of its two nearest: the next pass takes it */
        if (worth_moving(u, distance[!there], p->mass[a], distance[there], p->mass[b]))
            moves += move_row(p, first + i, a, b);
    }
    return moves;
}

fkm_status fkmi_pairs_scan(const struct fkmi_pairs *pairs, struct fkm_context *context,
                           const struct fkmi_rows *block, const struct fkmi_pack *pack)
{
    const struct fkmi_scan scan = {
        .kind = FKMI_SCAN_TOP_K, .top_k = 2, .index = pairs->index, .distance = pairs->distance};

    return context->backend->scan(context, block, pack, &scan);
}

fkm_status fkmi_polish(struct fkm_context *context, const fkm_params *params, struct fkmi_state *state,
                       const struct fkmi_rows *rows, struct fkmi_cells *cells, const struct fkmi_pairs *pairs,
                       struct fkmi_pack **pack, int64_t *moves)
{
    fkm_status status = FKM_OK;
    const int64_t k = state->k, dim = state->dim;
    struct polishing p = {.context = context,
                          .state = state,
                          .space = fkmi_state_space(state, params->metric),
                          .rows = rows,
                          .cells = cells,
                          .pairs = pairs,
                          .means = cells->pull.sum};

    *moves = 0;
    FKMI_TRY_GOTO(fkmi_copy(&p.mass, cells->pull.mass, k, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_alloc(&p.row, dim, sizeof(double)));
    FKMI_TRY_GOTO(fkmi_alloc(&p.real, dim, sizeof(double)));
    context->kernels->vector[FKMI_REAL_F64].load[state->dtype](p.means, state->points, k * dim);
    FKMI_TRY_GOTO(fkmi_state_pack(context, params, state, rows, pack));
    for (int64_t first = 0; first < rows->n; first += pairs->block) {
        const int64_t left = rows->n - first, n = left < pairs->block ? left : pairs->block;
        const struct fkmi_rows block = fkmi_rows_slice(rows, first, n);

        FKMI_TRY_GOTO(fkmi_pairs_scan(pairs, context, &block, *pack));
        *moves += sweep_block(&p, first, n);
    }
    for (int64_t j = 0; j<k && * moves> 0; j++)
        fkmi_point_store(state, context->kernels, j, p.means + j * dim);
done:
    fkmi_free(p.mass);
    fkmi_free(p.row);
    fkmi_free(p.real);
    return status;
}
