/* threads.h — one pool of threads per context. Results never depend on the number of threads: work is cut into
 * blocks by size alone, each output has one writer.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BASE_THREADS_H
#define FKMI_BASE_THREADS_H

#include "base/error.h"

struct fkmi_pool;
/* Work on [begin, end) by thread number `thread` (0 .. fkmi_pool_threads - 1), for scratch memory. */
typedef fkm_status fkmi_range_fn(void *job, int64_t begin, int64_t end, int thread);

/* n_threads <= 0: one per core this process may use (affinity honoured). Threads start at the first parallel
 * call and start anew in a forked child. */
fkm_status fkmi_pool_create(int n_threads, struct fkmi_pool **out);
void fkmi_pool_free(struct fkmi_pool *pool);
int fkmi_pool_threads(const struct fkmi_pool *pool); /* 1 for NULL */
/* How many of them a parallel call from here can use: 1 inside another one. */
int fkmi_pool_threads_here(const struct fkmi_pool *pool);
/* Calls body on blocks of [0, n); the caller works too. Any number of threads may call at once on one pool (a
 * busy pool makes the second caller do its blocks itself, as thread 0 of its own: scratch indexed by `thread`
 * belongs to the call). Nested calls run serially. The first failing block's status and message (lowest block)
 * reach the caller: the same block for any number of threads; blocks above it may have been skipped.
 * pool NULL: the caller does all blocks, in order. FKM_EINTERRUPTED when the caller's user says so (interrupt.h):
 * some blocks are then not done; a body that works long may check as well. */
fkm_status fkmi_parallel(struct fkmi_pool *pool, int64_t n, int64_t block, fkmi_range_fn *body, void *job);
/* The same, never interrupted: for blocks that change what a failed call must leave as it was. */
fkm_status fkmi_parallel_whole(struct fkmi_pool *pool, int64_t n, int64_t block, fkmi_range_fn *body,
                               void *job);

#endif
