/* tuning.h — how scans of one model's shape run fastest, as it was measured: which way, on how many threads, in cells
 * of how many rows (use_compile). Nothing in it changes an answer.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BACKENDS_TUNING_H
#define FKMI_BACKENDS_TUNING_H

#include "backends/backend.h"

enum fkmi_way {
    FKMI_WAY_STANDARD,
    FKMI_WAY_DIRECT, /* distances computed at once */
    FKMI_WAY_TILES,  /* tiles of floats */
    FKMI_WAY_BYTES,  /* bytes first, where they can be */
    FKMI_N_WAYS
};
/* Plain numbers, so that a file holds them as a tensor. */
struct fkmi_choice {
    int64_t way;
    int64_t alone; /* 1: the calling thread does all of it */
    int64_t tiles; /* of rows in a cell; 0: as many as stand without a measurement */
};
#define FKMI_MOST_TILES 64

enum fkmi_tuned { FKMI_TUNED_NEAREST, FKMI_TUNED_TOP_K, FKMI_N_TUNED };
enum { FKMI_N_SIZES = 4 }; /* of scans: 1 row, up to 16, up to 256, more */
struct fkmi_tuning {
    int64_t k; /* prototypes it was measured with; 0: nothing was measured */
    struct fkmi_choice choice[FKMI_N_TUNED][FKMI_N_SIZES];
};
enum { FKMI_TUNING_NUMBERS = 1 + FKMI_N_TUNED * FKMI_N_SIZES * 3 };
_Static_assert(sizeof(struct fkmi_tuning) == FKMI_TUNING_NUMBERS * sizeof(int64_t), "a tensor of I64");

static inline int fkmi_size_of_scan(int64_t n_rows)
{
    return n_rows <= 1 ? 0 : n_rows <= 16 ? 1 : n_rows <= 256 ? 2 : 3;
}
/* Whether measurements with tuning->k prototypes say something about k of them. */
static inline bool fkmi_tuning_fits(const struct fkmi_tuning *tuning, int64_t k)
{
    return tuning->k > 0 && 2 * k <= 3 * tuning->k && 3 * k >= 2 * tuning->k;
}
static inline struct fkmi_choice fkmi_choice_of(const struct fkmi_tuning *tuning, int64_t k,
                                                enum fkmi_tuned kind, int64_t n_rows)
{
    return fkmi_tuning_fits(tuning, k) ? tuning->choice[kind][fkmi_size_of_scan(n_rows)]
                                       : (struct fkmi_choice){0};
}
/* FKM_EDATA unless every number is one that scans understand. */
fkm_status fkmi_tuning_check(const struct fkmi_tuning *tuning);

/* Measures scans of the first of these rows against the k prototypes, each choice in turn; some milliseconds. Shapes so
 * large that nothing depends on the choice are left as they stand. A space that has a tuning is measured without. */
fkm_status fkmi_tune(struct fkm_context *context, const struct fkmi_space *space, fkm_dtype dtype,
                     const void *points, int64_t k, int64_t top_k, const struct fkmi_rows *rows,
                     struct fkmi_tuning *tuning);

#endif
