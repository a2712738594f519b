/* meeting.h — sparse rows against a few of their own: distances from the columns that both have.
 *
 * The points' entries are grouped by column, in a hash table whose size depends on them alone, so that neither time nor
 * memory knows how many columns there are. SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BACKENDS_MEETING_H
#define FKMI_BACKENDS_MEETING_H

#include "backends/cpu/cpu.h"

struct fkmi_meeting {
    const struct fkmi_rows *rows;
    const struct fkmi_space *space;
    double factor; /* dim / sum of the feature weights */
    int64_t k, n_places;
    int shift;       /* 32 less the bits of a place */
    int32_t *column; /* n_places: -1: free */
    int32_t *begin;  /* n_places + 1: entries of this column; points in order */
    int32_t *point;  /* by entry */
    double *value;   /* by entry */
    double *size;    /* k: sum w c^2, or sum w |c| */
    double *root;    /* k: its root */
};

/* Bytes that a meeting of these points needs. */
size_t fkmi_meeting_size(const struct fkmi_rows *rows, const int64_t *drawn, int64_t k);
void fkmi_meeting_begin(struct fkmi_meeting *meeting, const struct fkmi_space *space,
                        const struct fkmi_rows *rows, const int64_t *drawn, int64_t k, void *memory);
/* Distances of row i to all points. They are exact in that f64 holds what they are made of: equal rows have 0. */
void fkmi_meeting_row(const struct fkmi_meeting *meeting, int64_t i, double *distance);

#endif
