/* near_inside.h — what the files about the rows of one cell share.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BACKENDS_NEAR_INSIDE_H
#define FKMI_BACKENDS_NEAR_INSIDE_H

#include "backends/cpu/near.h"
#include "backends/cpu/screen_bytes.h"

#define FKMI_NEAR_UP (1 + 0x1p-19)
#define FKMI_NEAR_DOWN                                                                                       \
    (1 - 0x1p-20) /* more than the rounding of what it is multiplied with, to float and in doubles */
enum { FKMI_NEAR_BUCKETS = 32, FKMI_NEAR_BYTES_AHEAD = 4096 }; /* of a rough sort; of rows that are fetched */

static inline int64_t fkmi_near_quads(const struct fkmi_pack *pack) { return (pack->dim + 3) / 4; }

static inline int fkmi_near_bucket(double value, double scale)
{
    const double bucket = value * scale;

    return bucket < FKMI_NEAR_BUCKETS - 1 ? (int)bucket : FKMI_NEAR_BUCKETS - 1;
}

/* The ring of a prototype this far from the cell's own: rings are as wide as each other, the last one's end is the
 * list's radius. */
static inline int fkmi_near_ring(const struct fkmi_near_list *list, double gap)
{
    const double ring = gap * list->rings;

    return ring < FKMI_NEAR_RINGS - 1 ? (int)ring : FKMI_NEAR_RINGS - 1;
}

/* The mapped square of a distance, at most. */
static inline double fkmi_near_at_most(const struct fkmi_pack *pack, double distance)
{
    return distance / pack->factor * (1 + 4 * fkmi_screen_rounding(pack));
}

/* Of rows, which lie anywhere: so many ahead are asked for. */
static inline int64_t fkmi_near_ahead(const struct fkmi_rows *rows)
{
    return FKMI_NEAR_BYTES_AHEAD / (rows->dim * (int64_t)fkmi_dtype_size(rows->dtype)) + 1;
}

/* At least |x - scale q|, and at least |x|. */
static inline void fkmi_near_sizes(const struct fkmi_near *near, const struct fkmi_quantised *facts,
                                   double *rest, double *norm)
{
    const double root = sqrt(facts->square);

    *rest = sqrt(facts->rest2) * near->grow + 8 * FKMI_UNIT * root + near->lost;
    *norm = root * near->grow + near->lost;
}

/* near_list.c: prototypes of the class of the c-th cell that may lie within `radius` of its own, as far as there is room;
 * and those within `radius` as bytes less the cell's prototype, in panels. */
int fkmi_near_most(const struct fkmi_pack *pack);
void fkmi_near_list(struct fkmi_near *near, const struct fkmi_near_pass *pass, int c, double radius);
void fkmi_near_list_pack(struct fkmi_near *near, const struct fkmi_pack *pack, double radius);

/* near.c: near->staged becomes bytes, in a place of near->bytes; returns its square. */
double fkmi_near_quantise(struct fkmi_near *near, const struct fkmi_pack *pack, int64_t place);
/* What is in n places (at most as many as a tile has rows), with thresholds, becomes a tile. */
void fkmi_near_tile(struct fkmi_near *near, const struct fkmi_pack *pack, const int32_t *place, int n);
/* The rows in n places, with near->up and near->reach, meet the list's prototypes within reach that their bytes do not rule
 * out: each hears of prototype l of the list, whose mapped square is at least `away` from that of place[r]. */
typedef void fkmi_near_hear_fn(void *argument, int r, int l, double away);
void fkmi_near_meet(struct fkmi_near *near, const struct fkmi_pack *pack, const int32_t *place, int n,
                    fkmi_near_hear_fn *hear, void *argument);
void fkmi_near_load(const struct fkmi_pack *pack, int64_t j, float *to); /* prototype j */

#endif
