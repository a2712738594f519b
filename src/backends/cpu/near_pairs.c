/* near_pairs.c — the two nearest prototypes of rows that should be near a cell's own.
 *
 * A row at most u from the cell's prototype and v from another one, u <= v or not, need not meet any that is farther than
 * u + max(u, v) from the cell's own: these are farther from the row than both. The other one is the first of the list.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/near_inside.h"

#define RADIUS 2.6 /* of the list, in the farthest row's distances */

struct two { /* nearest first */
    int32_t index[2];
    double distance[2], square; /* the second one's mapped square, at most */
};

static bool comes_before(double distance, int32_t j, double other, int32_t index)
{
    return distance < other || (distance == other && j < index);
}

static void meet(const struct fkmi_pack *pack, int32_t j, double distance, struct two *two)
{
    if (!comes_before(distance, j, two->distance[1], two->index[1]))
        return;
    if (comes_before(distance, j, two->distance[0], two->index[0]))
        *two = (struct two){{j, two->index[0]}, {distance, two->distance[0]}, 0};
    else
        *two = (struct two){{two->index[0], j}, {two->distance[0], distance}, 0};
    two->square = fkmi_near_at_most(pack, two->distance[1]);
}

static void measure(struct fkmi_near *near, const struct fkmi_pack *pack, int64_t row, int32_t j,
                    struct two *two)
{
    if (near->direct.i != row)
        fkmi_direct_row(&near->direct, row);
    meet(pack, j, fkmi_direct_distance(&near->direct, j), two);
}

/* Every row is measured against the cell's own prototype and becomes bytes; returns the largest distance. */
static double measure_own(struct fkmi_near *near, const struct fkmi_near_pass *pass, int32_t own,
                          const int32_t *row, int64_t n)
{
    const struct fkmi_pack *pack = pass->pack;
    const int64_t ahead = fkmi_near_ahead(pass->rows);
    double most = 0;

    for (int64_t i = 0; i < ahead && i < n; i++)
        fkmi_fetch_row(pass->rows, row[i], SIZE_MAX);
    for (int64_t i = 0; i < n; i++) {
        if (i + ahead < n)
            fkmi_fetch_row(pass->rows, row[i + ahead], SIZE_MAX);
        fkmi_direct_row(&near->direct, row[i]);
        near->own[i] = fkmi_direct_distance(&near->direct, own);
        near->up[i] = sqrt(fkmi_near_at_most(pack, near->own[i])) * FKMI_NEAR_UP;
        most = near->up[i] > most ? near->up[i] : most;
        fkmi_pack_vector(pack)->transform(near->staged, near->direct.x, near->centre, pack->map, pack->dim);
        near->size[i] = fkmi_near_quantise(near, pack, i);
    }
    return most;
}

/* Rows of a tile and what is known of them. */
struct meeting {
    struct fkmi_near *near;
    const struct fkmi_pack *pack;
    const int32_t *row, *place;
    double shrink;
    struct two two[32];
};

static void hear(void *argument, int r, int l, double away)
{
    struct meeting *meeting = argument;
    struct two *two = &meeting->two[r];

    if (l > 0 && away * meeting->shrink <= two->square) /* the first of the list has been met */
        measure(meeting->near, meeting->pack, meeting->row[meeting->place[r]], meeting->near->list.index[l],
                two);
}

/* Those of n places that the list suffices for stay in near->open, with the distance that they may reach; returns how
 * many, the others have no answer. */
static int64_t find_reach(struct fkmi_near *near, const struct fkmi_near_pass *pass, const int32_t *row,
                          int64_t n, int32_t *index)
{
    const struct fkmi_near_list *list = &near->list;
    int64_t n_open = 0;

    for (int64_t i = 0; i < n; i++) {
        double other;

        index[2 * row[i]] = -1;
        if (list->n == 0)
            continue;
        fkmi_direct_row(&near->direct, row[i]);
        near->first[i] = fkmi_direct_distance(&near->direct, list->index[0]);
        other = sqrt(fkmi_near_at_most(pass->pack, near->first[i])) * FKMI_NEAR_UP;
        near->reach[i] = near->up[i] + (other > near->up[i] ? other : near->up[i]);
        if (near->reach[i] <= list->radius)
            near->open[n_open++] = (int32_t)i;
    }
    return n_open;
}

void fkmi_near_pairs(struct fkmi_near *near, const struct fkmi_near_pass *pass, int c, const int32_t *row,
                     int64_t n, int32_t *index, double *distance)
{
    const struct fkmi_pack *pack = pass->pack;
    const int rows = fkmi_screen_tile(pack)->rows;
    const int32_t own = near->cells[c].cell;
    int64_t n_open;
    double most;

    fkmi_near_load(pack, own, near->centre);
    most = measure_own(near, pass, own, row, n);
    fkmi_near_list(near, pass, c, RADIUS * most);
    fkmi_near_list_pack(near, pack, RADIUS * most);
    n_open = find_reach(near, pass, row, n, index);
    for (int64_t first = 0; first < n_open; first += rows) {
        const int32_t *place = near->open + first;
        const int held = (int)(n_open - first < rows ? n_open - first : rows);
        struct meeting meeting = {near,           pack, row, place, 1 - 4 * fkmi_screen_rounding(pack),
                                  {{{0}, {0}, 0}}};
        struct two *two = meeting.two;

        for (int r = 0; r < held; r++) {
            two[r] = (struct two){{own, INT32_MAX}, {near->own[place[r]], INFINITY}, INFINITY};
            meet(pack, near->list.index[0], near->first[place[r]], &two[r]);
        }
        fkmi_near_meet(near, pack, place, held, hear, &meeting);
        for (int r = 0; r < held; r++)
            for (int at = 0; at < 2; at++) {
                index[2 * row[place[r]] + at] = two[r].index[at];
                distance[2 * row[place[r]] + at] = two[r].distance[at];
            }
    }
}
