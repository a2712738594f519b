/* near_list.c — the prototypes near a cell's own, as bytes less that one.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/near_inside.h"

#include <string.h>

#define MOST_BYTES ((int64_t)1 << 20)
#define LEAST_NEAR 32
#define MOST_NEAR  256
#define N_STEPS    256

int fkmi_near_most(const struct fkmi_pack *pack)
{
    const int64_t n = MOST_BYTES / (pack->dim + 4);

    return n < LEAST_NEAR ? LEAST_NEAR : n > MOST_NEAR ? MOST_NEAR : (int)(n / LEAST_NEAR * LEAST_NEAR);
}

/* A square that at most `most` of the n prototypes in near->within have gaps within, and not many fewer. */
static double square_of_most(const struct fkmi_near *near, const float *gaps, int64_t n, int most,
                             double square)
{
    const float per_unit = (float)(N_STEPS / square);
    int count[N_STEPS] = {0}, held = 0, step = 0;

    if (!(square > 1e-30 && square < 1e30))
        return -1;
    for (int64_t i = 0; i < n; i++) {
        const float at = gaps[near->within[i]] * per_unit;

        count[at < N_STEPS - 1 ? (int)at : N_STEPS - 1]++;
    }
    while (step < N_STEPS - 1 && held + count[step] <= most)
        held += count[step++];
    return step > 0 ? step / (double)per_unit * FKMI_NEAR_DOWN : -1;
}

/* The farthest move in a ring or nearer. */
static void find_drifts(struct fkmi_near_list *list, const double *drift)
{
    for (int ring = 0; ring < FKMI_NEAR_RINGS; ring++)
        list->drift[ring] = 0;
    for (int i = 0; i < list->n; i++) {
        const double moved = drift[list->index[i]];
        double *here = &list->drift[fkmi_near_ring(list, list->gap[i])];

        *here = moved > *here ? moved : *here;
    }
    for (int ring = 1; ring < FKMI_NEAR_RINGS; ring++)
        list->drift[ring] = fmax(list->drift[ring], list->drift[ring - 1]);
}

void fkmi_near_list(struct fkmi_near *near, const struct fkmi_near_pass *pass, int c, double radius)
{
    const float *gaps = near->gaps + c * pass->pack->k;
    const int most = fkmi_near_most(pass->pack);
    struct fkmi_near_list *list = &near->list;
    int64_t n = fkmi_near_within(near, pass, c, radius * radius);

    list->radius = radius;
    if (n > most) {
        const double square = square_of_most(near, gaps, n, most, radius * radius);

        n = square > 0 ? fkmi_near_within(near, pass, c, square) : 0;
        list->radius = square > 0 ? sqrt(square) * FKMI_NEAR_DOWN : -1;
    }
    list->n = (int)n;
    list->rings = list->radius > 1e-300 ? FKMI_NEAR_RINGS / list->radius : 0;
    for (int i = 0; i < list->n; i++) {
        list->index[i] = near->within[i];
        list->gap[i] = sqrt((double)gaps[near->within[i]]) * FKMI_NEAR_DOWN;
    }
    find_drifts(list, pass->drift);
}

/* ---- panels */

static void stage(struct fkmi_near *near, const struct fkmi_pack *pack, int64_t j)
{
    const struct fkmi_vector *vector = fkmi_pack_vector(pack);
    const float *x = near->staged;

    if (pack->dtype == FKM_DTYPE_F32)
        x = (const float *)pack->points + j * pack->dim;
    else
        fkmi_near_load(pack, j, near->staged);
    vector->transform(near->staged, x, near->centre, pack->map, pack->dim);
}

/* Lanes first .. of the list, whose facts and bytes stand where `order` says. */
static void pack_panel(struct fkmi_near *near, const struct fkmi_pack *pack, const int *order, int first)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const int64_t n_quads = fkmi_near_quads(pack);
    const double slack = 2 * fkmi_screen_rounding(pack) + 64 * FKMI_UNIT;
    struct fkmi_near_list *list = &near->list;
    struct fkmi_byte_panel *panel = &list->panels[first / tile->cols];
    int8_t *packed = list->packed + first * n_quads * 4;
    const void *row[64];
    int n = 0;

    *panel = (struct fkmi_byte_panel){.bytes = packed,
                                      .start = list->start + first,
                                      .scale = list->scale + first,
                                      .bias = list->bias + first};
    for (int at = first; at < first + tile->cols; at++) {
        const struct fkmi_quantised facts =
            at < list->n ? list->facts[order[at]] : (struct fkmi_quantised){0};
        double rest, norm;

        fkmi_near_sizes(near, &facts, &rest, &norm);
        list->start[at] = (int32_t)(-tile->offset * facts.sum);
        list->scale[at] = facts.scale;
        list->bias[at] = at < list->n ? (float)(-facts.square / 2) : -0x1p99f;
        list->rest[at] = fkmi_rounded_up(rest + 32 * FKMI_UNIT * (norm + rest));
        list->size[at] = fkmi_rounded_up(norm);
        list->slack[at] = fkmi_rounded_up(slack * norm * norm / 2);
        panel->rest = list->rest[at] > panel->rest ? list->rest[at] : panel->rest;
        panel->size = list->size[at] > panel->size ? list->size[at] : panel->size;
        panel->slack = list->slack[at] > panel->slack ? list->slack[at] : panel->slack;
        if (at < list->n)
            row[n++] = list->bytes + order[at] * n_quads * 4;
    }
    pack->kernels->tile[FKM_DTYPE_F32].pack(row, n, n_quads, tile->cols, packed);
}

/* The places of n prototypes whose gaps are at most `radius`, roughly the nearest first, become `order`. */
static void sort_list(const struct fkmi_near_list *list, const int *kept, int n, double radius, int *order)
{
    const double scale = radius > 1e-300 ? (FKMI_NEAR_BUCKETS - 1) / radius : 0;
    int begin[FKMI_NEAR_BUCKETS + 1] = {0};

    for (int i = 0; i < n; i++)
        begin[1 + fkmi_near_bucket(list->gap[kept[i]], scale)]++;
    for (int b = 0; b < FKMI_NEAR_BUCKETS; b++)
        begin[b + 1] += begin[b];
    for (int i = 0; i < n; i++)
        order[begin[fkmi_near_bucket(list->gap[kept[i]], scale)]++] = kept[i];
}

void fkmi_near_list_pack(struct fkmi_near *near, const struct fkmi_pack *pack, double radius)
{
    const struct fkmi_byte_tile *tile = fkmi_screen_tile(pack);
    const double down = (1 - fkmi_screen_rounding(pack)) * FKMI_NEAR_DOWN;
    const int64_t n_bytes = fkmi_near_quads(pack) * 4;
    struct fkmi_near_list *list = &near->list;
    int kept[MOST_NEAR + 1], order[MOST_NEAR], n = 0;
    double least = INFINITY;

    for (int i = 0; i < list->n; i++) {
        struct fkmi_quantised *facts = &list->facts[i];
        int8_t *bytes = list->bytes + i * n_bytes;
        double gap;

        if (list->gap[i] > radius)
            continue;
        stage(near, pack, list->index[i]);
        tile->quantise(near->staged, pack->dim, 127, bytes, facts);
        for (int64_t d = pack->dim; d < n_bytes; d++)
            bytes[d] = 0;
        gap = sqrt(facts->square) * down - 0x1p-50;
        list->gap[i] = gap > list->gap[i] ? gap : list->gap[i];
        kept[n] = i;
        n += list->gap[i] <= radius;
    }
    sort_list(list, kept, n, radius, order);
    for (int i = 0; i < n; i++) /* in that order, through the room of candidates */
        near->candidates[i] = (struct fkmi_candidate){list->gap[order[i]], list->index[order[i]]};
    for (int i = n; i-- > 0;) {
        list->gap[i] = near->candidates[i].score;
        list->index[i] = near->candidates[i].index;
        least = list->gap[i] < least ? list->gap[i] : least;
        list->beyond[i / tile->cols] = least;
    }
    list->n = n;
    for (int first = 0; first < n; first += tile->cols)
        pack_panel(near, pack, order, first);
}
