/* seed_groups.c — many seeds in two levels: greedy k-means++ once for some coarse seeds, whose rows are groups, then in
 * each group for its share of the seeds, so that candidates meet the rows of their group only.
 *
 * Shares go by what the groups lack: half of the seeds by their potentials beside the coarse seeds, the others by
 * what that half would leave.
 * SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/seed.h"

#include <math.h>

enum { LEAST_GROUPS = 16, SEEDS_PER_GROUP = 512 };

struct groups {
    struct fkm_context *context;
    const struct fkmi_space *space;
    const struct fkmi_rows *rows;
    struct fkmi_rows base; /* rows without their order */
    struct fkmi_random random;
    int64_t n;
    int64_t *begin;         /* n + 1 */
    int64_t *order, *place; /* rows of base, group by group; the same as rows of the view */
    int64_t *k, *k_found;   /* by group */
    int64_t *seed_at;       /* by group: its first seed */
    double *left;           /* by group: its potential */
    int64_t *seeds;         /* places in the group, then rows of the view */
};

static int64_t size_of(const struct groups *groups, int64_t g)
{
    return groups->begin[g + 1] - groups->begin[g];
}

/* Coarse seeds, and the rows nearest to each. */
static fkm_status make_groups(struct groups *groups, int64_t n_wanted)
{
    struct fkm_context *context = groups->context;
    const struct fkmi_rows *rows = groups->rows;
    const fkm_dtype dtype = groups->space->real == FKMI_REAL_F64 ? FKM_DTYPE_F64 : FKM_DTYPE_F32;
    struct fkmi_pack *pack = NULL;
    int64_t *coarse = NULL;
    int32_t *index = NULL;
    double *distance = NULL;
    void *points = NULL;
    fkm_status status = FKM_OK;

    FKMI_TRY_GOTO(fkmi_alloc(&coarse, n_wanted, sizeof *coarse));
    FKMI_TRY_GOTO(fkmi_seed_at_once(context, groups->space, rows, n_wanted,
                                    fkmi_random_split(groups->random, UINT64_MAX), FKMI_SCREEN_IF_WORTH,
                                    coarse, &groups->n, NULL));
    FKMI_TRY_GOTO(fkmi_alloc(&points, groups->n * rows->dim, fkmi_real_size(groups->space->real)));
    FKMI_TRY_GOTO(fkmi_seed_points(context, groups->space, rows, coarse, groups->n, points));
    FKMI_TRY_GOTO(
        context->backend->pack(context, groups->space, dtype, points, groups->n, rows->mask != NULL, &pack));
    FKMI_TRY_GOTO(fkmi_alloc(&index, rows->n, sizeof *index));
    FKMI_TRY_GOTO(fkmi_alloc(&distance, rows->n, sizeof *distance));
    FKMI_TRY_GOTO(context->backend->scan(
        context, rows, pack,
        &(struct fkmi_scan){.kind = FKMI_SCAN_NEAREST, .index = index, .distance = distance}));
    FKMI_TRY_GOTO(fkmi_alloc(&groups->begin, groups->n + 1, sizeof *groups->begin));
    FKMI_TRY_GOTO(fkmi_alloc(&groups->order, rows->n, sizeof *groups->order));
    FKMI_TRY_GOTO(fkmi_alloc(&groups->place, rows->n, sizeof *groups->place));
    FKMI_TRY_GOTO(fkmi_alloc(&groups->k, groups->n, sizeof *groups->k));
    FKMI_TRY_GOTO(fkmi_alloc(&groups->k_found, groups->n, sizeof *groups->k_found));
    FKMI_TRY_GOTO(fkmi_alloc(&groups->seed_at, groups->n, sizeof *groups->seed_at));
    FKMI_TRY_GOTO(fkmi_alloc(&groups->left, groups->n, sizeof *groups->left));
    for (int64_t i = 0; i < rows->n; i++) {
        const double d = groups->space->metric == FKM_METRIC_L1 ? distance[i] * distance[i] : distance[i];

        groups->begin[index[i] + 1]++;
        groups->left[index[i]] += fkmi_row_weight(rows, i) * d;
    }
    for (int64_t g = 0; g < groups->n; g++) {
        groups->begin[g + 1] += groups->begin[g];
        groups->seed_at[g] = groups->begin[g]; /* where its next row goes, until there are seeds */
    }
    for (int64_t i = 0; i < rows->n; i++) {
        const int64_t at = groups->seed_at[index[i]]++;

        groups->order[at] = fkmi_row(rows, i);
        groups->place[at] = i;
    }
done:
    context->backend->pack_free(pack);
    fkmi_free(coarse);
    fkmi_free(index);
    fkmi_free(distance);
    fkmi_free(points);
    return status;
}

/* `more` seeds for the groups in proportion to what they lack, none beyond its rows; what a full group cannot take goes to
 * the others. */
static void share_out(struct groups *groups, int64_t more)
{
    for (int64_t before = 0; more > 0 && more != before;) {
        double lacking = 0, passed = 0;
        int64_t given = 0, wanted = 0;

        before = more;
        for (int64_t g = 0; g < groups->n; g++)
            lacking += groups->k[g] < size_of(groups, g) ? groups->left[g] : 0;
        for (int64_t g = 0; g < groups->n && lacking > 0; g++) {
            const int64_t room = size_of(groups, g) - groups->k[g];
            int64_t share;

            if (room <= 0)
                continue;
            passed += groups->left[g];
            share = (int64_t)((double)more * fmin(passed / lacking, 1)) - wanted;
            wanted += share;
            share = share < room ? share : room;
            groups->k[g] += share;
            given += share;
        }
        more -= given;
    }
}

static fkm_status seed_groups(void *argument, int64_t begin, int64_t end, int thread)
{
    struct groups *groups = argument;

    (void)thread;
    for (int64_t g = begin; g < end; g++) {
        const struct fkmi_rows rows =
            fkmi_rows_pick(&groups->base, groups->order + groups->begin[g], size_of(groups, g));

        groups->k_found[g] = 0;
        if (groups->k[g] > 0)
            FKMI_TRY(fkmi_seed_at_once(groups->context, groups->space, &rows, groups->k[g],
                                       fkmi_random_split(groups->random, (uint64_t)g), FKMI_SCREEN_IF_WORTH,
                                       groups->seeds + groups->seed_at[g], &groups->k_found[g],
                                       &groups->left[g]));
    }
    return FKM_OK;
}

static fkm_status seed_all_groups(struct groups *groups)
{
    int64_t total = 0;

    for (int64_t g = 0; g < groups->n; g++) {
        groups->seed_at[g] = total;
        total += groups->k[g];
    }
    return fkmi_parallel(groups->context->pool, groups->n, 1, seed_groups, groups);
}

fkm_status fkmi_seed_by_groups(struct fkm_context *context, const struct fkmi_space *space,
                               const struct fkmi_rows *rows, int64_t k, struct fkmi_random random,
                               int64_t *seeds, int64_t *k_seeded)
{
    struct groups groups = {
        .context = context, .space = space, .rows = rows, .base = *rows, .random = random, .seeds = seeds};
    int64_t n_wanted = LEAST_GROUPS, total = 0;
    fkm_status status = FKM_OK;

    *k_seeded = 0;
    while (SEEDS_PER_GROUP * n_wanted < k)
        n_wanted *= 2;
    groups.base.order = NULL;
    FKMI_TRY_GOTO(make_groups(&groups, n_wanted));
    for (int64_t g = 0; g < groups.n; g++)
        total += groups.k[g] = size_of(&groups, g) > 0;
    share_out(&groups, k / 2 - total);
    FKMI_TRY_GOTO(seed_all_groups(&groups));
    total = 0;
    for (int64_t g = 0; g < groups.n; g++)
        total += groups.k[g] = groups.k_found[g];
    share_out(&groups, k - total);
    FKMI_TRY_GOTO(seed_all_groups(&groups));
    for (int64_t g = 0; g < groups.n; g++)
        for (int64_t j = 0; j < groups.k_found[g]; j++)
            seeds[(*k_seeded)++] = groups.place[groups.begin[g] + seeds[groups.seed_at[g] + j]];
done:
    fkmi_free(groups.begin);
    fkmi_free(groups.order);
    fkmi_free(groups.place);
    fkmi_free(groups.k);
    fkmi_free(groups.k_found);
    fkmi_free(groups.seed_at);
    fkmi_free(groups.left);
    return status;
}
