/* repel.c — which rows push, and how far a pushed prototype steps back.
 * SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/repel.h"

#include <math.h>

#include "prototypes/cells.h"

#define WINDOW_NEAR (0.8 / 1.2 * (0.8 / 1.2)) /* LVQ2.1's window of width 0.2, for squared distances */
#define GLVQ_STEEP  10.0

bool fkmi_repels(const fkm_params *params, const struct fkmi_state *state)
{
    return params->task == FKM_TASK_CLASSIFY && params->repulsion_factor > 0 && state->n_classes > 1;
}

double fkmi_glvq_slope(double own, double other)
{
    const double sum = own + other;
    double f;

    if (!(sum > 0) || !isfinite(sum))
        return 0;
    f = 1 / (1 + exp(-GLVQ_STEEP * (own - other) / sum));
    return GLVQ_STEEP * f * (1 - f);
}

/* Own prototypes at distance 0 are never left: such rows push nobody, and neither does the window's rule where the
 * other is farther than this. */
static double reach_of(fkm_repulsion repulsion, double own)
{
    if (!(own > 0))
        return -1;
    return repulsion == FKM_REPULSION_GLVQ ? (double)INFINITY : own / WINDOW_NEAR * (1 + 0x1p-50);
}

static double push_of(fkm_repulsion repulsion, double own, double other)
{
    if (repulsion == FKM_REPULSION_GLVQ) /* 4 / 10 makes the slope's peak 1 */
        return 4 / GLVQ_STEEP * fkmi_glvq_slope(own, other) * own / (own + other);
    return fmin(own, other) > WINDOW_NEAR * fmax(own, other) ? 1 : 0;
}

fkm_status fkmi_pushers_take(struct fkmi_pushers *pushers, struct fkmi_arena *arena, int64_t n,
                             int64_t at_once)
{
    const int64_t most = at_once < n ? at_once : n;

    *pushers = (struct fkmi_pushers){.most = most};
    FKMI_TRY(fkmi_arena_take(arena, &pushers->row, most, sizeof *pushers->row));
    FKMI_TRY(fkmi_arena_take(arena, &pushers->order, most, sizeof *pushers->order));
    FKMI_TRY(fkmi_arena_take(arena, &pushers->slot, most, sizeof *pushers->slot));
    FKMI_TRY(fkmi_arena_take(arena, &pushers->within, most, sizeof *pushers->within));
    FKMI_TRY(fkmi_arena_take(arena, &pushers->index, most, sizeof *pushers->index));
    return fkmi_arena_take(arena, &pushers->factor, most, sizeof *pushers->factor);
}

static void collect(struct fkmi_pushers *p, fkm_repulsion repulsion, const struct fkmi_rows *rows,
                    const int32_t *slot, const int32_t *own, const double *own_distance, int64_t *next)
{
    struct fkmi_rows base = *rows;

    base.order = NULL;
    p->n = 0;
    for (; *next < rows->n && p->n < p->most; ++*next) {
        const int64_t i = *next;
        const double within = own[i] >= 0 ? reach_of(repulsion, own_distance[i]) : -1;

        if (within < 0 || !(fkmi_row_weight(rows, i) > 0))
            continue;
        p->row[p->n] = i;
        p->order[p->n] = fkmi_row(rows, i);
        p->slot[p->n] = slot[i];
        p->within[p->n++] = within;
    }
    p->rows = fkmi_rows_pick(&base, p->order, p->n);
}

fkm_status fkmi_pushers_find(struct fkmi_pushers *pushers, struct fkm_context *context,
                             const fkm_params *params, const struct fkmi_state *state,
                             const struct fkmi_pack *pack, const struct fkmi_rows *rows, const int32_t *slot,
                             const int32_t *own, const double *own_distance, int64_t *next)
{
    const struct fkmi_scan scan = {.kind = FKMI_SCAN_OTHER,
                                   .slot = pushers->slot,
                                   .class_begin = state->class_begin,
                                   .n_classes = state->n_classes,
                                   .within = pushers->within,
                                   .index = pushers->index,
                                   .distance = pushers->factor};

    collect(pushers, params->repulsion, rows, slot, own, own_distance, next);
    FKMI_TRY(context->backend->scan(context, &pushers->rows, pack, &scan));
    for (int64_t m = 0; m < pushers->n; m++) {
        if (pushers->index[m] >= 0)
            pushers->factor[m] =
                push_of(params->repulsion, own_distance[pushers->row[m]], pushers->factor[m]);
        if (pushers->index[m] < 0 || !(pushers->factor[m] > 0)) {
            pushers->index[m] = -1;
            pushers->factor[m] = 0;
        }
    }
    return FKM_OK;
}

void fkmi_push_point(const fkm_params *params, const struct fkmi_sums *push, int64_t dim, int64_t j,
                     double mass, double *point)
{
    const double pushing = push->mass[j];
    const double step = pushing > 0 ? params->repulsion_factor * fmin(0.5, pushing / (mass + pushing)) : 0;

    if (!(step > 0))
        return;
    for (int64_t d = 0; d < dim; d++) {
        const double age = fkmi_sums_age(push, dim, j, d);
        if (age > 0)
            point[d] += step * (point[d] - fkmi_sums_at(push, dim, j, d) / age);
    }
}
