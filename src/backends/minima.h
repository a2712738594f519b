/* minima.h — the distance of every row to the nearest of a growing set of points, and what another point would
 * change: a step of greedy k-means++.
 *
 * Dense rows without a mask (euclidean and cosine) are put into an order in which neighbours lie close together,
 * and get a sketch: a few numbers for each row, never farther apart than the rows are. A point that is too far in the
 * sketch cannot lower a minimum, so that most distances are never computed. The answers are those of computing all.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BACKENDS_MINIMA_H
#define FKMI_BACKENDS_MINIMA_H

#include "backends/backend.h"

enum {
    FKMI_MOST_TRIALS = 16, /* points that one try takes */
    FKMI_MINIMA_BLOCK = 1024
};

/* Bits. */
enum fkmi_screening {
    FKMI_SCREEN_IF_WORTH = 0, /* once a sample of the rows says that a sketch rules most points out */
    FKMI_SCREEN_EARLY = 1,    /* from the second point on, wherever there can be a sketch */
    FKMI_SCREEN_NOTHING = 2,  /* the order of the above, and every distance: for tests */
};

struct fkmi_minima_wish {
    int64_t k; /* points that will come */
    unsigned screening;
    bool alike;  /* weights do not count */
    double same; /* distances up to this are 0 */
};

/* Minima count through u D: u is the row's weight (0 for a row without direction, in cosine), D the distance, or its
 * square for l1. Until the first point comes every D is 1. */
struct fkmi_minima {
    struct fkmi_rows rows; /* a view of the rows given, in an order of its own, which a take may change */
    double *distance;      /* n; 0 for rows without weight too */
    double *sum;           /* n_blocks: sum of u D over `block` rows each */
    int64_t n_blocks, block;
    struct fkmi_minima_work *work; /* the backend's */
};

/* u D of row i. */
double fkmi_minima_pull(const struct fkmi_minima *minima, int64_t i);

struct fkmi_minima_family {
    fkm_status (*create)(struct fkm_context *context, const struct fkmi_space *space,
                         const struct fkmi_rows *rows, const struct fkmi_minima_wish *wish,
                         struct fkmi_minima **out);
    /* By how much each point of the pack would lower the sum; point j is row drawn[j] of minima->rows. */
    fkm_status (*try)(struct fkm_context *context, struct fkmi_minima *minima, const struct fkmi_pack *pack,
                      const int64_t *drawn, double *gain);
    /* Point j of the pack that was tried last, or of a pack that holds the first one, joins. */
    fkm_status (*take)(struct fkm_context *context, struct fkmi_minima *minima, const struct fkmi_pack *pack,
                       int64_t j);
    void (*free)(struct fkmi_minima *minima); /* NULL is fine */
};
extern const struct fkmi_minima_family fkmi_minima_cpu;

#endif
