/* classes.h — from labels to slots: a hash map built once and grown as classes appear.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_PROTOTYPES_CLASSES_H
#define FKMI_PROTOTYPES_CLASSES_H

#include "base/memory.h"

struct fkmi_classes {    /* zeroed: empty */
    int64_t n, capacity; /* capacity of the table, a power of two */
    int64_t *label;      /* by table place */
    int32_t *slot;       /* by table place; -1: free */
    int64_t *by_slot;    /* labels, capacity / 2 of them */
};
void fkmi_classes_free(struct fkmi_classes *classes);
/* The slot, or -1. */
int32_t fkmi_classes_find(const struct fkmi_classes *classes, int64_t label);
/* Adds label as slot classes->n; it must not be there yet. */
fkm_status fkmi_classes_add(struct fkmi_classes *classes, int64_t label);
/* Back to the first n slots; labels by slot are given. */
fkm_status fkmi_classes_rebuild(struct fkmi_classes *classes, const int64_t *label_by_slot, int64_t n);
/* Forgets the slots from n on. */
void fkmi_classes_truncate(struct fkmi_classes *classes, int64_t n);
/* order[rank] = slot, ascending by label. */
void fkmi_classes_rank(const int64_t *label_by_slot, int64_t n, int64_t *order);

#endif
