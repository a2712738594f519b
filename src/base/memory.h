/* memory.h — the only place that allocates: checked, counted, 64-byte aligned, can be told to fail.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BASE_MEMORY_H
#define FKMI_BASE_MEMORY_H

#include <stdbool.h>

#include "base/error.h"

/* *out receives count * size bytes, zeroed and 64-byte aligned. count 0 gives a valid pointer. FKM_ENOMEM on
 * overflow, exhaustion or the memory limit; *out is then NULL. Free with fkmi_free. */
fkm_status fkmi_alloc(void *out, int64_t count, size_t size);
/* Grows or shrinks *block (a pointer to a pointer, may point to NULL); new bytes are zero; on failure *block is
 * as it was. */
fkm_status fkmi_resize(void *block, int64_t count, size_t size);
void fkmi_free(void *block);
/* A copy of count * size bytes; source NULL gives NULL. */
fkm_status fkmi_copy(void *out, const void *source, int64_t count, size_t size);
/* printf into fresh memory. */
fkm_status fkmi_format(char **out, const char *format, ...) FKMI_PRINTF(2, 3);

/* Process-wide: bytes held now and at most since the last reset; limit 0: none. */
size_t fkmi_memory_held(void);
size_t fkmi_memory_peak(void);
void fkmi_memory_reset_peak(void);
void fkmi_memory_set_limit(size_t bytes);
/* Tests: the n-th allocation from now fails (n >= 1), once or from then on; n 0 turns it off. Returns how many
 * allocations were asked for since the last call. */
int64_t fkmi_memory_fail(int64_t n, int for_ever);

/* An arena: many short-lived blocks freed together. Keeps its memory between resets, so a steady stream
 * allocates nothing; when later rounds need more, all becomes one block with room to grow, so that a stream that
 * grows slowly allocates now and then. One thread. */
struct fkmi_arena {
    struct fkmi_arena_block *blocks, *current;
    size_t taken, wanted; /* bytes of this round; of the block to come */
    bool settled, grew;   /* a round has found its blocks; a later one had to add some */
};
fkm_status fkmi_arena_take(struct fkmi_arena *arena, void *out, int64_t count,
                           size_t size);         /* zeroed, aligned */
void fkmi_arena_reset(struct fkmi_arena *arena); /* all blocks become free for reuse; memory is kept */
void fkmi_arena_free(struct fkmi_arena *arena);
#define FKMI_ARENA_INIT                                                                                      \
    {                                                                                                        \
        0                                                                                                    \
    }

#endif
