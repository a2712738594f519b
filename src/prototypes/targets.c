/* targets.c — means of targets, cell by cell.
 * SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/targets.h"

#include <math.h>
#include <string.h>

#include "prototypes/route.h"

fkm_status fkmi_cell_targets_take(struct fkmi_cell_targets *targets, struct fkmi_arena *arena,
                                  const struct fkmi_state *state)
{
    FKMI_TRY(fkmi_arena_take(arena, &targets->mean, state->k * state->n_targets, sizeof(double)));
    FKMI_TRY(fkmi_arena_take(arena, &targets->total, state->k, sizeof(double)));
    return fkmi_arena_take(arena, &targets->nearest, state->k, sizeof(double));
}

struct weighing {
    fkm_soft how;
    fkm_metric metric;
    double scale, tau;
};

/* How much a row counts among those of its prototype, before its own weight. */
static double likeness(const struct weighing *w, double distance, double nearest, bool first_nearest)
{
    switch (w->how) {
    case FKM_SOFT_HARD:
        return first_nearest ? 1 : 0;
    case FKM_SOFT_SCALED:
        return fmax(0, fkmi_similarity(w->metric, distance, w->scale));
    case FKM_SOFT_SOFTMAX_SCALED:
        return exp(-(distance - nearest) / w->tau);
    default:
        return 1;
    }
}

static void add_row(struct fkmi_cell_targets *targets, int64_t j, double weight, const double *value,
                    int64_t m)
{
    targets->total[j] += weight;
    for (int64_t t = 0; t < m; t++)
        targets->mean[j * m + t] += weight * (value[t] - targets->mean[j * m + t]) / targets->total[j];
}

/* Adds rows to their cells; evenly: those cells only that similarity gave nothing. */
static void add_rows(struct fkmi_cell_targets *targets, const struct weighing *w,
                     const struct fkmi_cells *cells, const struct fkmi_rows *rows, const double *values,
                     int64_t m, bool evenly)
{
    for (int64_t i = 0; i < cells->n; i++) {
        const int32_t j = cells->index[i];
        const double u = fkmi_row_weight(rows, i);
        double weight;

        if (j < 0 || !(u > 0) || (evenly && !isinf(targets->nearest[j])))
            continue;
        weight = evenly ? u
                        : u * likeness(w, cells->distance[i], targets->nearest[j],
                                       cells->distance[i] == targets->nearest[j] && targets->total[j] == 0);
        if (weight > 0)
            add_row(targets, j, weight, values + fkmi_row(rows, i) * m, m);
    }
}

void fkmi_cell_targets_gather(struct fkmi_cell_targets *targets, const fkm_params *params,
                              const struct fkmi_state *state, const struct fkmi_cells *cells,
                              const struct fkmi_rows *rows, const double *values, double scale)
{
    const int64_t m = state->n_targets;
    const double s = scale > 0 ? scale : 1;
    const struct weighing w = {params->target_assignment, params->metric, s,
                               params->temperature * s * exp(FKMI_THETA_PHASE1)};

    memset(targets->mean, 0, (size_t)(state->k * m) * sizeof(double));
    for (int64_t j = 0; j < state->k; j++) {
        targets->total[j] = 0;
        targets->nearest[j] = INFINITY;
    }
    for (int64_t i = 0; i < cells->n; i++)
        if (cells->index[i] >= 0 && fkmi_row_weight(rows, i) > 0)
            targets->nearest[cells->index[i]] = fmin(targets->nearest[cells->index[i]], cells->distance[i]);
    add_rows(targets, &w, cells, rows, values, m, false);
    for (int64_t j = 0; j < state->k; j++)
        if (targets->total[j] == 0)
            targets->nearest[j] = INFINITY; /* marks cells still empty */
    add_rows(targets, &w, cells, rows, values, m, true);
}
