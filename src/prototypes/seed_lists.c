/* seed_lists.c — greedy k-means++ whose candidates are scattered over the columns, so that a row's distance costs what
 * its entries do (Arthur & Vassilvitskii 2007, with 2 + floor(ln k) candidates a step).
 * SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/seed_lists.h"

#include <assert.h>
#include <math.h>

#include "prototypes/seed.h"

struct seeding {
    const struct fkmi_space *space;
    const struct fkmi_rows *rows;
    double *column; /* dim: the candidate; 0 elsewhere */
    double *scale;  /* by row: 1 / norm for cosine, else 1 */
    double *weight; /* by row: 0 for rows that cannot be told from others */
    double *least;  /* by row: the distance to the nearest seed */
    double *next;   /* candidates x rows: what it would be */
};

static double value_at(const struct fkmi_rows *rows, const struct fkmi_space *space, int64_t e)
{
    const double v = rows->dtype == FKM_DTYPE_F32 ? (double)((const float *)rows->values)[e]
                                                  : fkmi_dtype_get(rows->values, rows->dtype, e);

    return space->real == FKMI_REAL_F32 ? (double)(float)v : v;
}

static double weight_of(const struct fkmi_space *space, int32_t d)
{
    return space->feature_weights ? space->feature_weights[d] : 1.0;
}

/* Row i into the columns (or zeros in its place); its size. */
static double scatter(const struct seeding *s, int64_t i, bool clear)
{
    const int64_t row = fkmi_row(s->rows, i);
    const bool l1 = s->space->metric == FKM_METRIC_L1;
    double size = 0;

    for (int64_t e = s->rows->indptr[row]; e < s->rows->indptr[row + 1]; e++) {
        const int32_t d = s->rows->indices[e];
        const double v = clear ? 0 : value_at(s->rows, s->space, e) * s->scale[i], w = weight_of(s->space, d);

        s->column[d] = v;
        size += l1 ? w * fabs(v) : w * v * v;
    }
    return size;
}

/* Of row i to the scattered candidate; squared for l1, 0 where it is rounding. */
static double pull_of(const struct seeding *s, int64_t i, double size)
{
    const int64_t row = fkmi_row(s->rows, i);
    const fkm_metric metric = s->space->metric;
    double near = 0, covered = 0, distance;

    for (int64_t e = s->rows->indptr[row]; e < s->rows->indptr[row + 1]; e++) {
        const int32_t d = s->rows->indices[e];
        const double v = value_at(s->rows, s->space, e) * s->scale[i], w = weight_of(s->space, d),
                     c = s->column[d];

        near += metric == FKM_METRIC_COSINE ? w * v * c
                : metric == FKM_METRIC_L1   ? w * fabs(v - c)
                                            : w * (v - c) * (v - c);
        covered += metric == FKM_METRIC_L1 ? w * fabs(c) : w * c * c;
    }
    distance = metric == FKM_METRIC_COSINE ? 1 - near : near + fmax(size - covered, 0.0);
    if (!(distance > fkmi_same_distance(s->space)))
        return 0;
    return metric == FKM_METRIC_L1 ? distance * distance : distance;
}

/* What candidate row `to` would make of the pulls, into next; returns what they add up to. */
static double try_row(const struct seeding *s, int64_t to, double *next)
{
    const double size = scatter(s, to, false);
    double total = 0;

    for (int64_t i = 0; i < s->rows->n; i++) {
        const double pull = s->weight[i] > 0 && i != to ? pull_of(s, i, size) : 0;

        next[i] = pull < s->least[i] ? pull : s->least[i];
        total += s->weight[i] * next[i];
    }
    (void)scatter(s, to, true);
    return total;
}

/* The row at which the running sum of pulls passes a place in [0, total). */
static int64_t row_at(const struct seeding *s, double place)
{
    int64_t last = 0;

    for (int64_t i = 0; i < s->rows->n; i++) {
        const double pull = s->weight[i] * s->least[i];

        if (!(pull > 0))
            continue;
        last = i;
        if (place < pull)
            return i;
        place -= pull;
    }
    return last;
}

/* Rows count by their weight; all alike when none has any. Those without a direction never do. Returns the total. */
static double begin(const struct seeding *s)
{
    double total = 0;

    for (int turn = 0; turn < 2 && !(total > 0); turn++)
        for (int64_t i = 0; i < s->rows->n; i++) {
            s->scale[i] = fkmi_row_scale(s->rows, s->space, i);
            s->weight[i] = !(s->scale[i] > 0) ? 0 : turn == 0 ? fkmi_row_weight(s->rows, i) : 1;
            s->least[i] = 1;
            total += s->weight[i];
        }
    return total;
}

fkm_status fkmi_seed_rows(const struct fkmi_space *space, const struct fkmi_rows *rows, int64_t k,
                          struct fkmi_random random, double *column, int64_t *pick, int64_t *k_seeded)
{
    const int64_t n = rows->n, n_tries = 2 + (int64_t)floor(log((double)k));
    struct seeding s = {.space = space, .rows = rows, .column = column};
    double *memory = NULL, total;
    fkm_status status = FKM_OK;

    assert(fkmi_rows_sparse(rows) && n >= 1 && k >= 1 && k <= FKMI_MOST_LIST_SEEDS);
    FKMI_TRY_GOTO(fkmi_alloc(&memory, (3 + n_tries) * n, sizeof *memory));
    s.scale = memory;
    s.weight = memory + n;
    s.least = memory + 2 * n;
    s.next = memory + 3 * n;
    total = begin(&s);
    *k_seeded = 1;
    if (!(total > 0)) { /* rows without direction: any will do */
        pick[0] = fkmi_random_below(&random, n);
        goto done;
    }
    pick[0] = row_at(&s, fkmi_random_uniform(&random) * total);
    for (int64_t i = 0; i < n; i++)
        s.least[i] = INFINITY;
    total = try_row(&s, pick[0], s.least);
    for (; *k_seeded < k && total > 0; (*k_seeded)++) { /* 0: every row lies on a seed */
        double best = INFINITY;
        int64_t chosen = 0;

        for (int64_t t = 0; t < n_tries; t++) {
            const int64_t to = row_at(&s, fkmi_random_uniform(&random) * total);
            const double left = try_row(&s, to, s.next + t * n);

            if (left < best) {
                best = left;
                chosen = t;
                pick[*k_seeded] = to;
            }
        }
        for (int64_t i = 0; i < n; i++)
            s.least[i] = s.next[chosen * n + i];
        total = best;
    }
done:
    fkmi_free(memory);
    return status;
}
