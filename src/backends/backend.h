/* backend.h — the operations a device offers, and the context that carries them.
 *
 * The one primitive of all phases is the scan: rows against packed prototypes, with an epilogue that keeps what
 * the caller asked for. No scan holds an n x k matrix unless FKMI_SCAN_ALL asked for exactly that.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BACKENDS_BACKEND_H
#define FKMI_BACKENDS_BACKEND_H

#include "base/memory.h"
#include "base/threads.h"
#include "data/rows.h"
#include "kernels/kernels.h"

/* Approximate search that somebody else makes; build NULL: nobody does. */
struct fkmi_search {
    fkm_search_functions functions;
    void *self;
};
struct fkm_context {
    struct fkmi_pool *pool;
    const struct fkmi_backend *backend;
    const struct fkmi_kernels *kernels;
    struct fkmi_search search;
    struct fkmi_scratch *scratch; /* memory of finished calls, kept for the next ones; NULL: none is kept */
};
/* Memory for one call: *out receives at least `bytes` bytes, not cleared, 64-byte aligned. Any thread. */
fkm_status fkmi_scratch_take(struct fkm_context *context, size_t bytes, void *out);
void fkmi_scratch_give(struct fkm_context *context, void *memory); /* NULL is fine */
/* Frees what no call is using: where the next calls will be of another kind. */
void fkmi_scratch_trim(struct fkm_context *context);

enum fkmi_scan_kind {
    FKMI_SCAN_NEAREST,   /* width 1: the nearest prototype */
    FKMI_SCAN_TOP_K,     /* width top_k: nearest first */
    FKMI_SCAN_OWN,       /* width 1: the nearest of the row's own class */
    FKMI_SCAN_OTHER,     /* width 1: the nearest of any other class */
    FKMI_SCAN_OWN_OTHER, /* width 2: own, then other */
    FKMI_SCAN_CLASSES,   /* width n_classes: the nearest of each class */
    FKMI_SCAN_ALL        /* width k, or end - begin: distances only, index is not written */
};
/* NEAREST, TOP_K, OTHER and OWN_OTHER may look at prototypes as bytes first; the answer has the same bits. */
enum fkmi_scan_bytes {
    FKMI_BYTES_IF_WORTH,
    FKMI_BYTES_MEASURED, /* as the one before, but for shapes that were measured to be worth it */
    FKMI_BYTES_ALWAYS, /* wherever they can be used, without heads; the following are for tests and benchmarks */
    FKMI_BYTES_HEADS, /* wherever they can be used, with heads */
    FKMI_BYTES_NEVER,
};
/* Outputs hold n x width entries; index may be NULL. Where there is no candidate (an empty class, fewer than
 * top_k prototypes, slot -1 for OWN, none within reach) the index is -1 and the distance +inf. Ties go to the lower index.
 * Distances carry the factor D/A of masks, are never negative, and for every kind but CLASSES and ALL are
 * computed directly from (x - c), so they stay accurate far from the origin. A row with A = 0 has distance 0 to
 * every prototype. Cosine: a zero row or a zero prototype has distance 1. */
struct fkmi_scan {
    enum fkmi_scan_kind kind;
    int64_t top_k;
    const int32_t *slot; /* OWN, OTHER, OWN_OTHER: class slot by row of the view; -1: none */
    const int64_t
        *class_begin; /* n_classes + 1: prototypes of slot c are [class_begin[c], class_begin[c+1]) */
    int64_t n_classes;
    /* ALL: of prototypes [begin, end) alone, end 0: of all. begin is a multiple of the wide of fkmi_vector; places of
     * an end beyond k are not written. */
    int64_t begin, end;
    const double *within; /* OTHER, by row of the view: prototypes farther away do not count; NULL: all do */
    enum fkmi_scan_bytes bytes;
    int32_t *index;
    double *distance;
};

struct fkmi_pack; /* prototypes laid out for scanning; belongs to a backend */

/* Points as lists of their coordinates that are not 0, columns ascending: point j is at [begin[j], begin[j + 1]). */
struct fkmi_lists {
    int64_t *begin; /* k + 1 */
    int32_t *index;
    void *value; /* in the prototypes' dtype */
};

struct fkmi_backend {
    const char *name;
    /* Lays out k prototypes (row-major, dtype) for a space; the points are read by later scans too and must not
     * change before the last of them. *pack may hold an older pack (or NULL), whose memory is reused; on failure it
     * stays valid with its old content. masked: rows with a mask will be scanned (needs room for the squares). */
    fkm_status (*pack)(struct fkm_context *context, const struct fkmi_space *space, fkm_dtype dtype,
                       const void *points, int64_t k, bool masked, struct fkmi_pack **pack);
    /* The same for prototypes that are lists, which must not change either. Rows with a mask cannot be scanned.
     * search: scans for more than the prototypes of the row's own class will come. */
    fkm_status (*pack_lists)(struct fkm_context *context, const struct fkmi_space *space, fkm_dtype dtype,
                             const struct fkmi_lists *lists, int64_t k, bool search, struct fkmi_pack **pack);
    void (*pack_free)(struct fkmi_pack *pack); /* NULL is fine */
    /* Frees the panels that a scan of another kind than those to come has made of prototypes. NULL is fine. */
    void (*pack_trim)(struct fkmi_pack *pack);
    /* A scan of a multiple of this many rows wastes nothing. */
    int64_t (*rows_together)(const struct fkmi_pack *pack);
    /* Scans all rows of the view, in parallel. rows->dim equals the pack's. */
    fkm_status (*scan)(struct fkm_context *context, const struct fkmi_rows *rows,
                       const struct fkmi_pack *pack, const struct fkmi_scan *scan);
    /* Of n_candidates numbers for each dense row the `width` nearest prototypes, written as TOP_K does, with the same
     * distances. Numbers that are no prototype, or come again, do not count; a row with fewer than width of them is
     * scanned whole. */
    fkm_status (*rank)(struct fkm_context *context, const struct fkmi_rows *rows,
                       const struct fkmi_pack *pack, const int64_t *candidates, int64_t n_candidates,
                       int64_t width, int32_t *index, double *distance);
    /* Sums of the k prototypes from `first` on, in row order, one writer each: for each row i of prototype index[i] =
     * first + j, 0 <= j < k, and weight u: sum[j] += u m x (x as loaded, times fkmi_row_length), mass[j] += u, and when
     * ages is not NULL ages[j] += u m. sum and ages are k x dim, mass k; all are added to, not cleared. factor (or
     * NULL) multiplies the weight of row i. */
    fkm_status (*accumulate)(struct fkm_context *context, const struct fkmi_rows *rows,
                             const struct fkmi_space *space, const int32_t *index, const double *factor,
                             int64_t first, int64_t k, double *sum, double *mass, double *ages);
    const struct fkmi_minima_family *minima; /* minima.h */
    const struct fkmi_passes_family *passes; /* passes.h */
};
extern const struct fkmi_backend fkmi_backend_cpu;

#endif
