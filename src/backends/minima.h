/* minima.h — the distance of every row to the nearest of a growing set of points, and what other points would change:
 * the steps of greedy k-means++.
 *
 * Many points are looked at in one pass over the rows, for several steps to come: those that come nearer to a row are
 * noted with their distances, and nothing else needs to be known of them later, for minima only fall.
 *
 * Dense rows without a mask (euclidean and cosine) are looked at as bytes first: along a few principal directions
 * where those tell most points apart, else whole. A point that is too far in bytes cannot lower a minimum, so that
 * most distances are never computed. The answers are those of computing all. Sparse rows meet sparse points column by
 * column.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BACKENDS_MINIMA_H
#define FKMI_BACKENDS_MINIMA_H

#include "backends/backend.h"

enum { FKMI_MOST_TRIALS = 1024 /* points of one look: 32 words of bits */ };

/* When distances are ruled out. */
enum fkmi_screening {
    FKMI_SCREEN_IF_WORTH, /* by what a sample of the rows says of it */
    FKMI_SCREEN_SKETCH,   /* for tests: by directions, from the first look on */
    FKMI_SCREEN_WHOLE,    /* for tests: by whole rows */
    FKMI_SCREEN_NOTHING,  /* for tests: never */
};

struct fkmi_minima_wish {
    int64_t k, n_trials; /* points that will come; those that are looked at for each */
    enum fkmi_screening screening;
    bool alike;  /* weights do not count */
    double same; /* distances up to this are 0 */
};

/* Minima count through u D: u is the row's weight (0 for a row without direction, in cosine), D the distance, or its
 * square for l1. Until the first point comes every D is 1. */
struct fkmi_minima {
    struct fkmi_rows rows;
    double *distance; /* n; 0 for rows without weight too */
    double *sum;      /* n_blocks: sum of u D over `block` rows each, when it was settled last */
    int64_t n_blocks, block;
    struct fkmi_minima_work *work; /* the backend's */
};

/* u D of row i. */
double fkmi_minima_pull(const struct fkmi_minima *minima, int64_t i);

struct fkmi_minima_family {
    fkm_status (*create)(struct fkm_context *context, const struct fkmi_space *space,
                         const struct fkmi_rows *rows, const struct fkmi_minima_wish *wish,
                         struct fkmi_minima **out);
    /* Points are rows: point j is row drawn[j], and point j of the pack, which sparse rows do without (NULL).
     * The first one joins. */
    fkm_status (*start)(struct fkm_context *context, struct fkmi_minima *minima, const struct fkmi_pack *pack,
                        const int64_t *drawn);
    /* Finds the rows that each of k points would come nearer to. */
    fkm_status (*look)(struct fkm_context *context, struct fkmi_minima *minima, const struct fkmi_pack *pack,
                       const int64_t *drawn, int64_t k);
    /* How many rows are nearer to a point of the last look than they were, on average; n before the first. */
    double (*listed)(const struct fkmi_minima *minima);
    /* By how much point j of those looked at last would lower the sum, as minima are now. */
    double (*gain)(const struct fkmi_minima *minima, int64_t j);
    /* Point j of those looked at last joins. */
    void (*take)(struct fkmi_minima *minima, int64_t j);
    /* Sums what stands. */
    fkm_status (*settle)(struct fkm_context *context, struct fkmi_minima *minima);
    void (*free)(struct fkmi_minima *minima); /* NULL is fine */
};
extern const struct fkmi_minima_family fkmi_minima_cpu;

#endif
