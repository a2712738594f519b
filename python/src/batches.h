/* batches.h — an iterator over Batch objects as the functions of a fkm_source.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMPY_BATCHES_H
#define FKMPY_BATCHES_H

#include "call.h"

/* The self of the functions; all zero: nothing is held. */
struct fkmpy_batches {
    PyObject *start;    /* () -> iterator */
    PyObject *iterator; /* NULL: not begun, or ended */
    PyObject *batch;    /* whose rows are being handed out; the core's until the next call */
    int64_t offset;     /* the next row in it */
    int64_t rows;       /* handed out */
    bool again;         /* start may be called more than once */
    bool ended, failed;
    int64_t *indptr, *tag_indptr; /* of a piece of a batch: counted from 0 */
    int64_t indptr_room, tag_room;
    PyObject *class_names; /* a list of str that grows with the batches, or NULL */
    char **names;          /* its texts, for who asks without the GIL */
    int64_t n_names, name_room;
    struct fkmpy_call *call; /* the one the functions are called from */
};
extern const fkm_source_functions fkmpy_batches_functions;

void fkmpy_batches_clear(struct fkmpy_batches *batches);
int fkmpy_batches_visit(const struct fkmpy_batches *batches, visitproc visit, void *arg);

#endif
