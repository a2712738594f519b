/* screen.h — the prototypes of a pack once more, as bytes: what says of most of them that they are too far, at a
 * fraction of what a tile of floats costs. docs/engine.md has the bound and its proof.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BACKENDS_SCREEN_H
#define FKMI_BACKENDS_SCREEN_H

#include "backends/cpu/cpu.h"

enum {
    FKMI_SCREEN_KEPT = 12, /* candidates of a row that wait for their distances */
    FKMI_SCREEN_MOST_PLACES = 16,
    FKMI_SCREEN_HOMES = 4 /* panels that a tile of rows meets first */
};

/* Belongs to a pack; empty until a scan needs it. Scans on any threads may share it. */
struct fkmi_screen;
fkm_status fkmi_screen_create(struct fkmi_screen **out);
void fkmi_screen_free(struct fkmi_screen *screen); /* NULL is fine */
/* The pack holds other prototypes from now on; no scan is under way. */
void fkmi_screen_renew(struct fkmi_screen *screen);
/* The screen that a scan for the `most` nearest of every row should use, filled if need be, or NULL; whether with heads,
 * for which rows are to be put in order. */
fkm_status fkmi_screen_ready(struct fkm_context *context, const struct fkmi_pack *pack,
                             const struct fkmi_rows *rows, enum fkmi_scan_bytes wish, int64_t most,
                             struct fkmi_screen **use, bool *heads);

/* What the screen knows of a row. */
struct fkmi_screened {
    double least, most; /* euclidean: bounds of |row|^2; cosine: of the score of a prototype at distance 0 */
    double reach, rest; /* of its bytes: at least |scale q|, |e| */
    int32_t n;
    bool left;                                     /* nothing is known: for the tiles of floats */
    struct fkmi_byte_rival kept[FKMI_SCREEN_KEPT]; /* lanes of all panels */
};

/* A cell: rows of the view against all prototypes. */
struct fkmi_screen_cell {
    struct fkmi_screen *screen;
    const struct fkmi_rows *rows;
    const int64_t *picked; /* n rows, or NULL: first .. first + n */
    int64_t first, n, most;
    const int32_t *near;        /* by row of the view: the panel that it is near to; NULL: without heads */
    const int32_t *slot;        /* with class_begin: prototypes of the row's own class do not count */
    const int64_t *class_begin; /* or NULL */
    const double *within;       /* by row of the view: farther prototypes need not be found; or NULL */
    struct fkmi_direct *direct;
    struct fkmi_shortlist *lists; /* n, started: exact when the cell is done */
    int64_t *left;                /* n: rows of the view for which there was no answer */
    int64_t n_left, work;
    bool always; /* even where tiles of floats are cheaper */
    /* scratch */
    struct fkmi_screened *screened;
    float *scale, *reach, *rest, *staged;
    float *threshold; /* prototypes whose scores are below it for certain are too far */
    uint8_t *x;
    int8_t *bytes;
    float *scores,
        *low; /* of a tile against a block of panels; what some prototype of a lane scores, by row and lane */
    struct fkmi_byte_rival *rivals; /* of one row in a block */
    /* heads */
    float *numbers, *head_scale, *head_reach, *head_rest; /* of a tile; by tile; by row */
    int8_t *head_bytes;
    uint8_t *head_x;
    float *packed, *transposed;
    double *head_square, *head_error; /* by row: |numbers|^2; how far they are from the truth */
    uint64_t *near_tiles; /* by panel: tiles that have not met it and from which balls do not rule it out */
    int32_t *homes;       /* FKMI_SCREEN_HOMES by tile, -1 behind the last */
    int64_t n_tested, n_passed;
};
void fkmi_screen_carve(struct fkmi_screen_cell *cell, struct fkmi_carve *carve, const struct fkmi_pack *pack,
                       const struct fkmi_screen *screen, bool heads, int64_t n);
/* near[i] for rows begin .. end of the view; memory: fkmi_screen_near_size bytes, aligned. */
size_t fkmi_screen_near_size(const struct fkmi_screen *screen, const struct fkmi_pack *pack);
void fkmi_screen_find_near(struct fkmi_screen *screen, const struct fkmi_pack *pack,
                           const struct fkmi_rows *rows, int64_t begin, int64_t end, void *memory,
                           int32_t *near);
int64_t fkmi_screen_panels(const struct fkmi_pack *pack);
fkm_status fkmi_screen_run(struct fkmi_screen_cell *cell, const struct fkmi_pack *pack);

#endif
