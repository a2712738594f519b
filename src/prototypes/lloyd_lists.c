/* lloyd_lists.c — full passes over CSR rows whose prototypes are lists: the sums, means and pushes of lloyd.c, with the
 * same bits, at the cost of the rows' entries.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "base/interrupt.h"
#include "prototypes/lists.h"
#include "prototypes/lists_cells.h"
#include "prototypes/maintain.h"
#include "prototypes/seed.h"
#include "prototypes/targets.h"

struct passes {
    struct fkmi_list_cells c;
    int32_t *kept_index;   /* n, or NULL: nobody asks for cells after the passes */
    double *kept_distance; /* those of the last whole pass, while another is under way */
};

static fkm_status take_memory(struct passes *p, bool push, bool needs_cells)
{
    struct fkmi_arena *arena = &p->c.work->arena;

    FKMI_TRY(fkmi_list_cells_take(&p->c, push));
    if (!needs_cells)
        return FKM_OK;
    FKMI_TRY(fkmi_arena_take(arena, &p->kept_index, p->c.rows->n, sizeof *p->kept_index));
    return fkmi_arena_take(arena, &p->kept_distance, p->c.rows->n, sizeof *p->kept_distance);
}

/* ---- prototypes without rows move to the row of their class that is served worst, as revive.c does */

/* distance[i] = min(distance[i], that to row `to`) for the rows of the class. */
static fkm_status serve_class(struct fkmi_list_cells *p, const int64_t *members, int64_t n, int64_t to,
                              double *distance, struct fkmi_pack **pack)
{
    const int64_t row = fkmi_row(p->rows, to), begin = p->rows->indptr[row],
                  size = p->rows->indptr[row + 1] - begin;
    const size_t value_size = fkmi_dtype_size(p->rows->dtype);
    int64_t list_begin[2] = {0, size};
    const int64_t class_begin[2] = {0, 1};
    const struct fkmi_lists list = {list_begin, (int32_t *)(uintptr_t)(p->rows->indices + begin),
                                    (char *)(uintptr_t)p->rows->values + (size_t)begin * value_size};
    struct fkmi_rows base = *p->rows, view;
    fkm_status status = FKM_OK;
    int64_t *order = NULL;
    int32_t *slot = NULL;
    double *served = NULL;

    base.order = NULL;
    FKMI_TRY_GOTO(fkmi_alloc(&order, n, sizeof *order));
    FKMI_TRY_GOTO(fkmi_alloc(&slot, n, sizeof *slot));
    FKMI_TRY_GOTO(fkmi_alloc(&served, n, sizeof *served));
    for (int64_t m = 0; m < n; m++)
        order[m] = fkmi_row(p->rows, members[m]);
    view = fkmi_rows_pick(&base, order, n);
    FKMI_TRY_GOTO(
        p->context->backend->pack_lists(p->context, &p->space, p->rows->dtype, &list, 1, false, pack));
    FKMI_TRY_GOTO(p->context->backend->scan(p->context, &view, *pack,
                                            &(struct fkmi_scan){.kind = FKMI_SCAN_OWN,
                                                                .slot = slot,
                                                                .class_begin = class_begin,
                                                                .n_classes = 1,
                                                                .distance = served}));
    for (int64_t m = 0; m < n; m++)
        distance[members[m]] = fmin(distance[members[m]], served[m]);
    distance[to] = 0; /* taken, whatever rounding says */
done:
    fkmi_free(order);
    fkmi_free(slot);
    fkmi_free(served);
    return status;
}

/* Rows of class c, from its prototypes' groups. */
static int64_t members_of(const struct fkmi_list_cells *p, int64_t c, int64_t *members)
{
    int64_t n = 0;

    for (int64_t j = p->state->class_begin[c]; j < p->state->class_begin[c + 1]; j++)
        for (int64_t at = p->pull.begin[j]; at < p->pull.begin[j + 1]; at++)
            members[n++] = p->pull.row[at];
    return n;
}

static int64_t farthest(const struct fkmi_list_cells *p, const int64_t *members, int64_t n,
                        const double *distance)
{
    double largest = fkmi_same_distance(&p->space);
    int64_t found = -1;

    for (int64_t m = 0; m < n; m++) {
        const int64_t i = members[m];

        if (!(fkmi_row_weight(p->rows, i) > 0) || !(fkmi_row_scale(p->rows, &p->space, i) > 0))
            continue;
        if (distance[i] > largest || (found >= 0 && distance[i] == largest && i < found)) {
            largest = distance[i];
            found = i;
        }
    }
    return found;
}

static fkm_status choose_revivals(struct fkmi_list_cells *p)
{
    const struct fkmi_state *state = p->state;
    struct fkmi_pack *pack = NULL;
    int64_t *members = NULL;
    double *distance = NULL;
    fkm_status status = FKM_OK;

    for (int64_t c = 0; c < state->n_classes; c++) {
        int64_t n = -1;

        for (int64_t j = state->class_begin[c]; j < state->class_begin[c + 1]; j++) {
            int64_t to;

            if (p->pull.mass[j] > 0 || state->frozen[j])
                continue;
            if (!members) {
                FKMI_TRY_GOTO(fkmi_alloc(&members, p->rows->n, sizeof *members));
                FKMI_TRY_GOTO(fkmi_copy(&distance, p->cells.distance, p->rows->n, sizeof *distance));
            }
            n = n < 0 ? members_of(p, c, members) : n;
            to = farthest(p, members, n, distance);
            if (to < 0)
                break;
            p->moved_to[j] = to;
            FKMI_TRY_GOTO(serve_class(p, members, n, to, distance, &pack));
        }
    }
done:
    p->context->backend->pack_free(pack);
    fkmi_free(members);
    fkmi_free(distance);
    return status;
}

/* ---- new lists */

/* The mean of j's rows, pushed: values in the columns `index`; -1 when it has no direction. */
static int64_t mean_list(const struct fkmi_list_cells *c, int64_t j, int thread, int32_t *index,
                         double *values)
{
    const int64_t dim = c->state->dim, n = fkmi_list_cells_add(c, j, thread, index);
    double *sum = c->sum + thread * dim, *push_sum = c->push_sum + (c->push_sum ? thread * dim : 0);
    const bool pushed = c->pushes && c->push.mass[j] > 0;
    bool good;

    for (int64_t e = 0; e < n; e++) {
        values[e] = sum[index[e]] / c->pull.mass[j];
        sum[index[e]] = 0;
    }
    good = fkmi_list_normalise(&c->space, index, n, values);
    if (good && pushed) {
        fkmi_list_cells_push(c, j, c->pull.mass[j], index, n, push_sum, values);
        (void)fkmi_list_normalise(&c->space, index, n, values);
    }
    for (int64_t e = 0; pushed && e < n; e++)
        push_sum[index[e]] = 0;
    return good ? n : -1;
}

static fkm_status make_lists(void *job, int64_t begin, int64_t end, int thread)
{
    struct fkmi_list_cells *c = job;
    double *values = c->values + thread * c->state->dim;

    for (int64_t j = begin; j < end; j++) {
        int32_t *index = c->work->spare.index + c->place[j];
        int64_t n = -1;

        if (c->moved_to[j] >= 0)
            n = fkmi_list_cells_row(c, c->moved_to[j], index, values);
        else if (c->pull.mass[j] > 0 && !c->state->frozen[j])
            n = mean_list(c, j, thread, index, values);
        if (n < 0)
            fkmi_list_cells_keep(c, j); /* it stays */
        else
            fkmi_list_cells_store(c, j, n, values);
    }
    return FKM_OK;
}

static void exchange_cells(struct passes *p)
{
    int32_t *index = p->c.cells.index;
    double *distance = p->c.cells.distance;

    if (!p->kept_index)
        return;
    p->c.cells.index = p->kept_index;
    p->c.cells.distance = p->kept_distance;
    p->kept_index = index;
    p->kept_distance = distance;
}

static fkm_status pass(struct passes *p, bool last, struct fkmi_moved *moved)
{
    struct fkmi_state *state = p->c.state;

    *moved = (struct fkmi_moved){0};
    FKMI_TRY(fkmi_list_cells_assign(&p->c));
    if (!last) /* a prototype moved now would end without rows */
        FKMI_TRY(choose_revivals(&p->c));
    FKMI_TRY(fkmi_list_cells_places(&p->c, false));
    FKMI_TRY(fkmi_parallel(p->c.context->pool, state->k, 16, make_lists, &p->c));
    fkmi_list_cells_exchange(&p->c);
    memcpy(state->mass, p->c.pull.mass, (size_t)state->k * sizeof(double));
    fkmi_cells_moved(&p->c.cells, moved);
    for (int64_t j = 0; j < state->k; j++)
        moved->shift = fmax(moved->shift, p->c.shift[j]);
    return FKM_OK;
}

static fkm_status run_passes(struct passes *p, bool push, int64_t max_iters, double tol,
                             fkmi_pass_fn *after_pass, void *user, int64_t *n_passes, fkm_status *stopped)
{
    bool settled = false;

    while (*n_passes < max_iters) {
        const bool last = *n_passes + 1 == max_iters;
        struct fkmi_moved moved;
        fkm_status status;

        p->c.pushes = push && (settled || last); /* as in lloyd.c */
        exchange_cells(p);
        status = pass(p, last || p->c.pushes, &moved);
        if (status == FKM_EINTERRUPTED && *n_passes > 0) {
            exchange_cells(p);
            *stopped = status; /* the lists are those of the last whole pass */
            return FKM_OK;
        }
        FKMI_TRY(status);
        ++*n_passes;
        if (p->c.cells.weight > 0)
            p->c.state->scale = moved.mean_distance > 0 ? moved.mean_distance : 1;
        if (after_pass)
            *stopped = after_pass(user, *n_passes, &moved);
        settled = moved.shift < tol || moved.shift == 0;
        if (*stopped != FKM_OK || p->c.pushes || (settled && !push))
            break;
    }
    return FKM_OK;
}

/* Targets as the last whole pass found them; then what is light or small goes. */
static fkm_status settle(struct passes *p, const double *values, bool merge)
{
    fkm_params params = *p->c.params;
    struct fkmi_state *state = p->c.state;
    const int64_t m = state->n_targets;
    struct fkmi_cell_targets targets;
    struct fkmi_upkeep room;
    int64_t removed;

    if (values && state->targets) {
        FKMI_TRY(fkmi_cell_targets_take(&targets, &p->c.work->arena, state));
        fkmi_cell_targets_gather(&targets, p->c.params, state, &p->c.cells, p->c.rows, values, state->scale);
        for (int64_t j = 0; j < state->k; j++)
            if (targets.total[j] > 0 && !state->frozen[j])
                memcpy(state->targets + j * m, targets.mean + j * m, (size_t)m * sizeof(double));
    }
    if (!merge)
        params.merge_threshold = -1;
    FKMI_TRY(fkmi_upkeep_take(&room, &p->c.work->arena, &params, state));
    return fkmi_upkeep_run(&room, p->c.context, &params, state, params.min_weight * p->c.cells.row_weight,
                           &removed);
}

fkm_status fkmi_lloyd_lists(struct fkm_context *context, const fkm_params *params, struct fkmi_state *state,
                            struct fkmi_phase1 *work, const struct fkmi_rows *rows, const int32_t *slot,
                            const double *values, int64_t max_iters, double tol, fkmi_pass_fn *after_pass,
                            void *user, int64_t *n_passes)
{
    struct passes p = {.c = {.context = context,
                             .params = params,
                             .state = state,
                             .space = fkmi_state_space(state, params->metric),
                             .work = work,
                             .rows = rows,
                             .slot = slot}};
    const bool push = fkmi_repels(params, state);
    const int64_t interrupts = fkmi_interrupts();
    fkm_status status = FKM_OK, stopped = FKM_OK;

    *n_passes = 0;
    FKMI_TRY_GOTO(take_memory(&p, push, values && state->targets));
    FKMI_TRY_GOTO(run_passes(&p, push, max_iters, tol, after_pass, user, n_passes, &stopped));
    if (stopped != FKM_OK && stopped != FKM_EINTERRUPTED)
        FKMI_TRY_GOTO(stopped);
    status = settle(&p, values, fkmi_interrupts() == interrupts);
    if (status == FKM_OK)
        status = fkmi_state_fit_lists(state);
    if (status == FKM_OK)
        status = stopped;
done:
    fkmi_phase1_free(work, context->backend); /* a model keeps no memory of the size of its rows */
    return status;
}
