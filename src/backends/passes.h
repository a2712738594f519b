/* passes.h — full passes over the same rows, one after the other: from the labels of the last pass, and from how far
 * prototypes have moved since, follows for most rows that they need not be looked at. docs/engine.md has the bounds
 * and their proof.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BACKENDS_PASSES_H
#define FKMI_BACKENDS_PASSES_H

#include "backends/backend.h"

struct fkmi_passes; /* what is known of the rows of a view from pass to pass; belongs to a backend */

/* One pass. The pack's points may be any: those of the last pass moved a little, or far. */
struct fkmi_pass {
    const struct fkmi_pack *pack;
    enum fkmi_scan_kind kind;   /* NEAREST or OWN, as for scans: */
    const int32_t *slot;        /* by row: its class, -1: none */
    const int64_t *class_begin; /* n_classes + 1 */
    int64_t n_classes;
    int32_t *index;       /* n: as the last pass left it, or any prototypes of the rows' own classes */
    double *distance;     /* n: room that passes keep bounds in; `measure` fills it */
    double *sum, *mass;   /* k x dim, k: as the last pass left them; become those of the rows */
    double *sum_distance; /* becomes the sum of weights times distances, as precise as these are */
};

enum fkmi_passes_changed { /* by others since the last pass; index: the sums are then wrong as well */
                           FKMI_CHANGED_INDEX = 1,
                           FKMI_CHANGED_DISTANCE = 2,
                           FKMI_CHANGED_SUMS = 4
};

struct fkmi_passes_family {
    /* *out stays NULL where such passes would not be faster (wish: as for scans), or cannot be: sparse or masked
     * rows, other metrics than euclidean. The rows must stay as they are. room: n numbers that may be used, or NULL. */
    fkm_status (*create)(struct fkm_context *context, const struct fkmi_space *space,
                         const struct fkmi_rows *rows, fkm_dtype dtype, int64_t k, enum fkmi_scan_bytes wish,
                         int32_t *room, struct fkmi_passes **out);
    /* Index has the bits of that scan. Sums are right to 2^-32 of their lengths, and their bits depend on the labels
     * of all passes alone. On failure index and distance hold anything that is valid here. */
    fkm_status (*run)(struct fkm_context *context, struct fkmi_passes *passes, const struct fkmi_rows *rows,
                      const struct fkmi_pass *pass);
    /* The distances of the last pass, with the bits of that scan. pack: one of the same space and dtype. */
    fkm_status (*measure)(struct fkm_context *context, struct fkmi_passes *passes,
                          const struct fkmi_pack *pack, const struct fkmi_rows *rows, const int32_t *index,
                          double *distance);
    /* The two nearest prototypes of each of some rows, of any class, with the bits of a scan for them; label: prototypes
     * that should be near. The passes are as they were. */
    fkm_status (*pairs)(struct fkm_context *context, struct fkmi_passes *passes, const struct fkmi_pack *pack,
                        const struct fkmi_rows *rows, const int32_t *label, int32_t *index, double *distance);
    void (*changed)(struct fkmi_passes *passes, int what);
    void (*free)(struct fkmi_passes *passes); /* NULL is fine */
};
extern const struct fkmi_passes_family fkmi_passes_cpu;

#endif
