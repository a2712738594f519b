/* passes.h — full passes over the same rows, one after the other: from the labels of the last pass, and from how far
 * prototypes have moved since, follows for most rows and prototypes that they need not meet. docs/engine.md has the
 * bounds and their proof.
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
    int32_t *index;     /* n: as the last pass left it, or any prototypes of the rows' own classes */
    double *distance;   /* n */
    double *sum, *mass; /* k x dim, k: added to */
};

struct fkmi_passes_family {
    /* *out stays NULL where such passes would not be faster (wish: as for scans), or cannot be: sparse or masked
     * rows, other metrics than euclidean. The rows must stay as they are. */
    fkm_status (*create)(struct fkm_context *context, const struct fkmi_space *space,
                         const struct fkmi_rows *rows, fkm_dtype dtype, int64_t k, enum fkmi_scan_bytes wish,
                         struct fkmi_passes **out);
    /* Index and distance have the bits of that scan, sum and mass those of one order of the rows, which depends on
     * the labels before and after alone. On failure index and distance hold anything that is valid here. */
    fkm_status (*run)(struct fkm_context *context, struct fkmi_passes *passes, const struct fkmi_rows *rows,
                      const struct fkmi_pass *pass);
    /* Labels have been changed by others since the last pass. */
    void (*forget)(struct fkmi_passes *passes);
    void (*free)(struct fkmi_passes *passes); /* NULL is fine */
};
extern const struct fkmi_passes_family fkmi_passes_cpu;

#endif
