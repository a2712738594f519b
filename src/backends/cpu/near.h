/* near.h — the rows of one cell and the few prototypes near enough to its own to take one of them.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BACKENDS_NEAR_H
#define FKMI_BACKENDS_NEAR_H

#include <float.h>

#include "backends/cpu/screen.h"

/* What is known of a row between passes. up: its own prototype is at most so far. low: no other one is nearer; where low
 * is not above 0 the row is open, it must be looked at, and no other prototype is nearer than -low. */
struct fkmi_near_bound {
    float up, low;
};
#define FKMI_NEAR_FAR (-FLT_MAX) /* low: too many prototypes are near */

/* What is the same for all cells of a pass. */
struct fkmi_near_pass {
    struct fkm_context *context;
    const struct fkmi_rows *rows;
    const struct fkmi_pack *pack;
    const struct fkmi_screen *screen; /* the pack's, filled */
    const int64_t *class_begin;       /* NULL: rows may be with any prototype */
    int64_t n_classes;
    bool totals;
    const double *drift;           /* k: how far each prototype has moved since the last pass, at most */
    struct fkmi_near_bound *bound; /* by row, and: */
    int32_t *index;
};

struct fkmi_near_cell { /* of the cells that were measured together */
    int32_t cell;
    int64_t class, begin, end; /* and the prototypes of its class */
};
enum { FKMI_NEAR_RINGS = 32 };
struct fkmi_near_list { /* prototypes near a cell's own, roughly the nearest first, as bytes less that one */
    int n;
    double radius; /* all of the class that are not in the list are farther than this from the cell's own */
    double rings,
        drift[FKMI_NEAR_RINGS]; /* rings in a unit; the farthest one in a ring or nearer has moved */
    int32_t *index;             /* and how far they are, at least; bytes, n x n_quads */
    double *gap, *beyond;       /* beyond: by panel, the least gap in it and in all behind it */
    int8_t *bytes;
    struct fkmi_quantised *facts;
    struct fkmi_byte_panel *panels;
    int8_t *packed;
    int32_t *start;
    float *scale, *bias, *rest, *size, *slack;
};
struct fkmi_near { /* room of one thread */
    double
        total; /* of weights times distances of the rows that have met prototypes, where totals are wanted */
    double grow, lost; /* what makes of a square's root its largest value: see fkmi_near_sizes */
    struct fkmi_near_cell cells[32];
    float *gaps;   /* cells x k: squared, at least */
    float *centre; /* dim: the prototype of the cell at hand */
    float *staged;
    struct fkmi_near_list list;
    struct fkmi_candidate *candidates; /* of the list, while it is sorted; score: the gap */
    int32_t *within;                   /* k: prototypes, see fkmi_near_within */
    /* by place: rows for which bounds were not enough, */
    int32_t *row;
    double *own; /* distance to the cell's own prototype, */
    union {
        double *square; /* its mapped square, at most */
        double *first;  /* of near_pairs.c: the distance to the first of the list */
    };
    double *up;     /* the root of that square */
    double *reach;  /* how far a prototype may be that must be met */
    uint8_t *bytes; /* x n_quads x 4: less the cell's prototype, as tiles want them */
    double *size;   /* the square that is in them, by floats; and what screens ask about them */
    float *scale, *rest, *norm;
    int32_t *open, *sorted; /* places of those that are not far */
    /* of a tile */
    uint8_t *x;
    float *tile_scale, *tile_threshold, *tile_reach, *tile_rest, *scores;
    struct fkmi_direct direct;
};
void fkmi_near_carve(struct fkmi_near *near, struct fkmi_carve *carve, const struct fkmi_near_pass *pass);
/* Rows that are looked at together. */
int64_t fkmi_near_rows(const struct fkmi_rows *rows);
/* How far the prototypes of their classes are from some cells' own (at most as many as a tile of bytes has rows). */
void fkmi_near_measure(struct fkmi_near *near, const struct fkmi_near_pass *pass, const int32_t *cells,
                       int n);
/* near->within becomes the prototypes of the c-th of those cells' class, without its own, whose squared gaps may be at
 * most `square`; returns how many there are. */
int64_t fkmi_near_within(struct fkmi_near *near, const struct fkmi_near_pass *pass, int c, double square);
/* Finds the nearest of n open rows of the c-th of those cells (n <= fkmi_near_rows), and their bounds; rows that are left
 * to a scan of all prototypes get the bound FKMI_NEAR_FAR. Returns how many these are. */
int64_t fkmi_near_assign(struct fkmi_near *near, const struct fkmi_near_pass *pass, int c, const int32_t *row,
                         int64_t n);
/* The two nearest of n rows (index and distance: by row, two each), which should be near the c-th of those cells' own;
 * index -1 where too many prototypes are near. Of the pass drifts, bounds and labels are not used. */
void fkmi_near_pairs(struct fkmi_near *near, const struct fkmi_near_pass *pass, int c, const int32_t *row,
                     int64_t n, int32_t *index, double *distance);
/* Of a row whose own prototype is at this distance, nothing being known of the others. */
struct fkmi_near_bound fkmi_near_bound_at(const struct fkmi_pack *pack, double distance);

#endif
