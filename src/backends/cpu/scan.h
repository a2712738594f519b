/* scan.h — the inside of a scan: what one is about, what a cell of rows works with, and the epilogues that read the
 * scores of a tile while they are in L1.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BACKENDS_SCAN_H
#define FKMI_BACKENDS_SCAN_H

#include "backends/cpu/screen.h"

enum fkmi_epilogue { FKMI_LISTS, FKMI_CLASSES, FKMI_ALL };

/* Rows of one class, for scans of the row's own class. */
struct fkmi_scan_group {
    int64_t begin, n; /* in job->picked */
    int32_t slot;     /* -1: no class */
};

struct fkmi_scan_job {
    struct fkm_context *context;
    const struct fkmi_rows *rows;
    const struct fkmi_pack *pack;
    enum fkmi_epilogue epilogue;
    int64_t most, width, stride; /* candidates kept; places written; places from row to row */
    int32_t *index;
    double *distance;
    int64_t begin, end;         /* ALL: of these prototypes */
    const int32_t *slot;        /* to skip (own == false) or to search (own) */
    const int64_t *class_begin; /* NULL: all prototypes */
    int64_t n_classes;
    const double *within;  /* by row, or NULL: farther prototypes need not be found */
    const int64_t *picked; /* rows by class, with groups; else NULL */
    const struct fkmi_scan_group *groups;
    struct fkmi_choice choice;
    struct fkmi_pool *pool; /* NULL: the caller does all of it */
    int n_threads;
    int64_t rows_per_cell, n_parts;
    bool direct;
    bool own_only;              /* rows are picked by class, and meet their own prototypes */
    struct fkmi_screen *screen; /* most prototypes are ruled out as bytes; or NULL */
    const int32_t
        *near;   /* with heads: by row, the panel of the screen that it is near to; rows are picked by it */
    bool always; /* bytes even where they do not pay */
    int64_t most_entries, most_cell_entries; /* sparse: of a row, of a cell */
    char *scratch;
    size_t scratch_per_thread;
    /* n_parts > 1: by row and part */
    struct fkmi_shortlist *lists;
    struct fkmi_row_facts *facts;
};

/* Of lists of several nearest, by row of a tile, or of all tiles of a cell. */
struct fkmi_several {
    int64_t per_block; /* panels that a tile meets at a time; 0: the lists are made otherwise */
    char *kept;        /* scores of a tile against these */
    char *peaks;       /* the best score of each lane */
    char *score;       /* of what passed, at most `cols` each */
    int32_t *index;
    int *n; /* more than cols: the list was offered all */
};

/* What a cell needs besides its rows. */
struct fkmi_scan_cell {
    struct fkmi_block block;
    struct fkmi_direct direct;
    struct fkmi_screen_cell screen;
    struct fkmi_shortlist *lists;
    struct fkmi_candidate *candidates;
    char *threshold; /* reals by row */
    char *scores, *other;
    struct fkmi_several several;
    int64_t *finer; /* sparse: rows of the block whose scores are made once more */
};

static inline int64_t fkmi_scan_row(const struct fkmi_scan_job *job, int64_t first, int64_t i)
{
    return job->picked ? job->picked[first + i] : first + i;
}

static inline struct fkmi_range fkmi_scan_range(const struct fkmi_scan_job *job, int64_t row)
{
    struct fkmi_range range = {0, job->pack->k, 0, 0};

    if (job->epilogue == FKMI_ALL)
        return (struct fkmi_range){job->begin, job->end, 0, 0};
    if (!job->class_begin || job->epilogue != FKMI_LISTS)
        return range;
    if (job->own_only) {
        const int32_t slot = job->slot[row];
        return (struct fkmi_range){slot < 0 ? 0 : job->class_begin[slot],
                                   slot < 0 ? 0 : job->class_begin[slot + 1], 0, 0};
    }
    if (job->slot[row] >= 0) {
        range.skip_begin = job->class_begin[job->slot[row]];
        range.skip_end = job->class_begin[job->slot[row] + 1];
    }
    return range;
}

/* Between two checks for an interrupt. */
#define FKMI_PANELS_PER_CHECK 16

/* ---- several.c: lists of several nearest, of dense rows */

void fkmi_several_carve(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch,
                        struct fkmi_carve *carve);
fkm_status fkmi_several_tiles(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch,
                              struct fkmi_shortlist *lists, int64_t list_stride, int64_t panel_begin,
                              int64_t panel_end);

/* ---- epilogue.c: tile t of the cell that begins at row `first`, its scores in cell->scores */

/* Rounded down, so that a threshold in f32 lets through what the list would keep. */
void fkmi_set_threshold(enum fkmi_real real, void *thresholds, int64_t i, double threshold);
/* Bits of the lanes of a panel that hold prototypes [begin, end). */
uint32_t fkmi_lanes_between(int64_t panel, int cols, int64_t begin, int64_t end);
/* Lists of the rows, `list_stride` apart; begins: nothing was offered to them before. */
void fkmi_offer_tile(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch,
                     struct fkmi_shortlist *lists, int64_t list_stride, int64_t first, int64_t t,
                     int64_t panel, uint32_t allowed, bool begins);
void fkmi_all_of_tile(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch, int64_t first,
                      int64_t t, int64_t panel);
/* CLASSES and ALL for a row whose scores mean nothing. */
void fkmi_replace_row(const struct fkmi_scan_job *job, struct fkmi_direct *direct, int64_t row);

/* ---- finer.c: sparse rows with more rivals than fit */

bool fkmi_scan_can_be_finer(const struct fkmi_scan_job *job, const struct fkmi_row_facts *facts,
                            const struct fkmi_shortlist *list);
/* The lists of such rows once more, and their facts, for the block that begins at row `first`: lists by row of it. */
fkm_status fkmi_scan_make_finer(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch,
                                struct fkmi_shortlist *lists, int64_t first);
/* Direct distances have the last word; row i of the block. */
void fkmi_scan_judge_row(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch,
                         struct fkmi_shortlist *list, int64_t i, const struct fkmi_range *range);

/* ---- class_bests.c */

enum { FKMI_MOST_SEGMENTS = 64 };
/* Lanes of a panel that hold prototypes of one class; whether the class begins and ends there. */
struct fkmi_segment {
    int64_t which;
    int32_t begin, end;
    bool begins, ends;
};
struct fkmi_segments {
    int n;
    struct fkmi_segment of[FKMI_MOST_SEGMENTS];
};
/* Those of a panel; they were of a panel before, or n is 0. */
void fkmi_find_segments(const struct fkmi_scan_job *job, int64_t panel, struct fkmi_segments *segments);
/* Panels come in order; a class's distance is there once the class has ended. */
void fkmi_classes_of_tile(const struct fkmi_scan_job *job, struct fkmi_scan_cell *scratch, int64_t first,
                          int64_t t, int64_t panel, const struct fkmi_segments *segments);
/* For classes without a prototype. */
void fkmi_empty_classes(const struct fkmi_scan_job *job, int64_t first, int64_t n);

#endif
