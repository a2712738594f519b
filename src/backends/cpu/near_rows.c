/* near_rows.c — the rows of one cell that bounds leave open: measured against their own prototype, then against the list.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/near_inside.h"

#define FEW_NEAR           6    /* up to here distances cost no more than bytes */
#define MARGIN             0.15 /* rows learn about prototypes so much farther than their own, at most, */
#define WIDE_MARGIN        0.3  /* or where many share a list: */
#define MANY_ROWS          256
#define DRIFTS_AHEAD       6.0 /* what these may move in so many passes like the last */
#define LEAST_MARGIN       0.01
#define ENTRIES_OF_SCAN(k) (8 + (k) / 64) /* of a list, that cost as much as to scan a row */
#define LEAST_BOUND        0x1p-120f      /* floats below round by more than a part of themselves */
#define UP                 FKMI_NEAR_UP
#define DOWN               FKMI_NEAR_DOWN

/* What is known of a row while prototypes are looked at. */
struct found {
    int32_t index;
    double distance, square; /* and the mapped square of that, at most */
    double others;           /* squared distance of all others, at least */
};

static double at_least(const struct fkmi_pack *pack, double distance)
{
    return distance / pack->factor * (1 - 4 * fkmi_screen_rounding(pack));
}

static void hear_of(struct found *found, double square)
{
    found->others = square < found->others ? square : found->others;
}

/* Prototype j is measured. */
static void measure_one(struct fkmi_near *near, const struct fkmi_pack *pack, int64_t row, int32_t j,
                        struct found *found)
{
    double distance;

    if (near->direct.i != row)
        fkmi_direct_row(&near->direct, row);
    distance = fkmi_direct_distance(&near->direct, j);
    if (distance < found->distance || (distance == found->distance && j < found->index)) {
        hear_of(found, at_least(pack, found->distance));
        *found = (struct found){j, distance, fkmi_near_at_most(pack, distance), found->others};
    } else
        hear_of(found, at_least(pack, distance));
}

/* up, low: in doubles, as precise as these. */
static struct fkmi_near_bound bound_of(double up, double low)
{
    const float below = low < (double)FLT_MAX ? (float)low * (1 - 0x1p-20f) - LEAST_BOUND : FLT_MAX / 2;

    return (struct fkmi_near_bound){(float)up * (1 + 0x1p-20f) + LEAST_BOUND, below > 0 ? below : 0};
}

/* The row keeps what was found; `beyond`: what it has not met is at least so far from it. */
static void keep(struct fkmi_near *near, const struct fkmi_near_pass *pass, int64_t row,
                 const struct found *found, double beyond)
{
    const double others = sqrt(found->others);

    if (pass->totals)
        near->total += fkmi_row_weight(pass->rows, row) * found->distance;
    pass->index[row] = found->index;
    pass->bound[row] = bound_of(sqrt(found->square), (others < beyond ? others : beyond) * DOWN);
}

/* Asks for what will be needed of a row, all of which lies anywhere. */
FKMI_FETCH void fetch_row(const struct fkmi_near_pass *pass, int64_t i)
{
    fkmi_fetch_row(pass->rows, i, SIZE_MAX);
    __builtin_prefetch(&pass->bound[i], 1);
    __builtin_prefetch(&pass->index[i], 1);
}

/* The distance of every row to its cell's prototype. Rows whose bounds now say that no other can be as near are done, the
 * others get a place and become bytes; returns how many, and in *most the largest of their distances. */
static int64_t measure_own(struct fkmi_near *near, const struct fkmi_near_pass *pass, int32_t own,
                           const int32_t *row, int64_t n, double *most)
{
    const struct fkmi_pack *pack = pass->pack;
    const struct fkmi_vector *vector = fkmi_pack_vector(pack);
    const double most_of = fkmi_near_at_most(pack, 1) * (1 + 0x1p-50),
                 shrink = 1 - 4 * fkmi_screen_rounding(pack);
    const int64_t ahead = fkmi_near_ahead(pass->rows);
    int64_t n_open = 0;

    *most = 0;
    for (int64_t i = 0; i < ahead && i < n; i++)
        fetch_row(pass, row[i]);
    for (int64_t i = 0; i < n; i++) {
        const double low = -(double)pass->bound[row[i]].low;
        double distance, square;

        if (i + ahead < n)
            fetch_row(pass, row[i + ahead]);
        fkmi_direct_row(&near->direct, row[i]);
        distance = fkmi_direct_distance(&near->direct, own);
        square = distance * most_of;
        if (low > 0 && low * low * shrink > square) {
            pass->bound[row[i]] = bound_of(sqrt(square), low);
            continue;
        }
        vector->transform(near->staged, near->direct.x, near->centre, pack->map, pack->dim);
        near->size[n_open] = fkmi_near_quantise(near, pack, n_open);
        near->row[n_open] = row[i];
        near->own[n_open] = distance;
        near->square[n_open] = square;
        near->up[n_open] = sqrt(square) * UP;
        *most = near->up[n_open] > *most ? near->up[n_open] : *most;
        n_open++;
    }
    return n_open;
}

/* How far a prototype may be that a row must meet; rows that reach beyond the list are far, the others stay open. */
static int64_t find_reach(struct fkmi_near *near, const struct fkmi_near_pass *pass, int64_t n, double margin,
                          double *most_reach)
{
    const struct fkmi_near_list *list = &near->list;
    int64_t n_open = 0;

    *most_reach = 0;
    for (int64_t i = 0; i < n; i++) {
        const double u = near->up[i], most = margin * u;
        const double drift = DRIFTS_AHEAD * list->drift[fkmi_near_ring(list, (2 + LEAST_MARGIN) * u)];
        const double reach = 2 * u + (drift < most ? drift : most);

        near->reach[i] = reach;
        if (!(reach <= list->radius)) {
            pass->bound[near->row[i]].low = FKMI_NEAR_FAR;
            continue;
        }
        *most_reach = reach > *most_reach ? reach : *most_reach;
        near->open[n_open++] = (int32_t)i;
    }
    return n_open;
}

/* A few rows that reach farther than the others would make the list of all longer: where a scan of theirs costs less they
 * are far. Returns how many stay open, and what these reach. */
static int64_t leave_far(struct fkmi_near *near, const struct fkmi_near_pass *pass, int64_t n_open,
                         double *most_reach)
{
    const struct fkmi_near_list *list = &near->list;
    const double scale = *most_reach > 1e-300 ? FKMI_NEAR_BUCKETS / *most_reach : 0;
    const int64_t cost = ENTRIES_OF_SCAN(pass->pack->k);
    int64_t entries[FKMI_NEAR_BUCKETS] = {0}, rows[FKMI_NEAR_BUCKETS] = {0}, saved = 0, most = 0, n = 0;
    int first_far = FKMI_NEAR_BUCKETS;

    for (int l = 0; l < list->n; l++)
        if (list->gap[l] <= *most_reach)
            entries[fkmi_near_bucket(list->gap[l], scale)]++;
    for (int64_t o = 0; o < n_open; o++)
        rows[fkmi_near_bucket(near->reach[near->open[o]], scale)]++;
    for (int b = FKMI_NEAR_BUCKETS; b-- > 0;) {
        saved += entries[b] - cost * rows[b];
        if (saved > most) {
            most = saved;
            first_far = b;
        }
    }
    if (first_far == FKMI_NEAR_BUCKETS)
        return n_open;
    *most_reach = 0;
    for (int64_t o = 0; o < n_open; o++) {
        const int32_t i = near->open[o];

        if (fkmi_near_bucket(near->reach[i], scale) >= first_far) {
            pass->bound[near->row[i]].low = FKMI_NEAR_FAR;
            continue;
        }
        *most_reach = near->reach[i] > *most_reach ? near->reach[i] : *most_reach;
        near->open[n++] = i;
    }
    return n;
}

static void meet_few(struct fkmi_near *near, const struct fkmi_near_pass *pass, int32_t own, int64_t n_open)
{
    const struct fkmi_near_list *list = &near->list;

    for (int64_t o = 0; o < n_open; o++) {
        const int32_t i = near->open[o];
        struct found found = {own, near->own[i], near->square[i], INFINITY};

        for (int l = 0; l < list->n; l++)
            if (list->gap[l] <= near->reach[i])
                measure_one(near, pass->pack, near->row[i], list->index[l], &found);
        keep(near, pass, near->row[i], &found, near->reach[i] - near->up[i]);
    }
}

/* Open rows, those that reach farthest first, roughly. */
static void sort_open(struct fkmi_near *near, int64_t n_open, double most_reach)
{
    int64_t begin[FKMI_NEAR_BUCKETS + 1] = {0};
    double least = most_reach, scale;

    for (int64_t o = 0; o < n_open; o++)
        least = near->reach[near->open[o]] < least ? near->reach[near->open[o]] : least;
    scale = most_reach > least ? (FKMI_NEAR_BUCKETS - 1) / (most_reach - least) : 0;
    if (!(scale < 1e300))
        scale = 0;
    for (int64_t o = 0; o < n_open; o++)
        begin[1 + fkmi_near_bucket(most_reach - near->reach[near->open[o]], scale)]++;
    for (int b = 0; b < FKMI_NEAR_BUCKETS; b++)
        begin[b + 1] += begin[b];
    for (int64_t o = 0; o < n_open; o++)
        near->sorted[begin[fkmi_near_bucket(most_reach - near->reach[near->open[o]], scale)]++] =
            near->open[o];
}

/* Rows of a tile and what is known of them. */
struct meeting {
    struct fkmi_near *near;
    const struct fkmi_pack *pack;
    const int32_t *place;
    double shrink;
    struct found found[32];
};

static void hear(void *argument, int r, int l, double away)
{
    struct meeting *meeting = argument;
    struct fkmi_near *near = meeting->near;
    struct found *found = &meeting->found[r];

    if (away * meeting->shrink > found->square)
        hear_of(found, away);
    else
        measure_one(near, meeting->pack, near->row[meeting->place[r]], near->list.index[l], found);
}

static void meet_tile(struct fkmi_near *near, const struct fkmi_near_pass *pass, int32_t own,
                      const int32_t *open, int n)
{
    struct meeting meeting = {near, pass->pack, open, 1 - 4 * fkmi_screen_rounding(pass->pack), {{0}}};

    for (int r = 0; r < n; r++)
        meeting.found[r] = (struct found){own, near->own[open[r]], near->square[open[r]], INFINITY};
    fkmi_near_meet(near, pass->pack, open, n, hear, &meeting);
    for (int r = 0; r < n; r++)
        keep(near, pass, near->row[open[r]], &meeting.found[r], near->reach[open[r]] - near->up[open[r]]);
}

struct fkmi_near_bound fkmi_near_bound_at(const struct fkmi_pack *pack, double distance)
{
    return bound_of(sqrt(fkmi_near_at_most(pack, distance)), 0);
}

int64_t fkmi_near_assign(struct fkmi_near *near, const struct fkmi_near_pass *pass, int c, const int32_t *row,
                         int64_t n)
{
    const struct fkmi_pack *pack = pass->pack;
    const int rows = fkmi_screen_tile(pack)->rows;
    const int32_t own = near->cells[c].cell;
    double most, margin, reach;
    int64_t n_kept, n_open;

    fkmi_near_load(pack, own, near->centre);
    n_kept = measure_own(near, pass, own, row, n, &most);
    if (n_kept == 0)
        return 0;
    margin = n_kept < MANY_ROWS ? MARGIN : WIDE_MARGIN;
    fkmi_near_list(near, pass, c, (2 + margin) * most * UP);
    n_open = find_reach(near, pass, n_kept, margin, &reach);
    n_open = leave_far(near, pass, n_open, &reach);
    if (n_open > 0 && near->list.n <= FEW_NEAR)
        meet_few(near, pass, own, n_open);
    else if (n_open > 0) {
        fkmi_near_list_pack(near, pack, reach);
        sort_open(near, n_open, reach);
        for (int64_t first = 0; first < n_open; first += rows)
            meet_tile(near, pass, own, near->sorted + first,
                      (int)(n_open - first < rows ? n_open - first : rows));
    }
    return n_kept - n_open;
}
