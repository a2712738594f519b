/* memory.c — allocation: one header before each block, atomic counters, a limit, a failure on demand.
 *
 * Large blocks come straight from the kernel: they are zero without being touched, and go back when freed.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include <assert.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT     ((size_t)64)
#define MAPPED_AT     ((size_t)1 << 18) /* blocks from this size on are mapped */
#define HUGE_PAGES_AT ((size_t)4 << 20) /* smaller blocks would waste much of a 2 MiB page */
#define ARENA_BLOCK   ((size_t)64 << 10)
#define BLOCK_IS_OURS 0x666b6d69u

/* Sanitizers watch malloc, not mmap. */
#if defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(memory_sanitizer))
#elif defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif
#if SANITIZED
#define FKMI_MAPS 0
#elif defined(__linux__)
#define FKMI_MAPS 1
#include <sys/mman.h>
#else
#define FKMI_MAPS 0
#endif

struct header {
    size_t size;  /* as asked, without this header */
    size_t total; /* as taken from the system */
    uint32_t ours;
    bool mapped;
};
static_assert(sizeof(struct header) <= ALIGNMENT, "the header must leave blocks aligned");

static struct {
    atomic_size_t held, peak, limit;
    atomic_int_fast64_t asked, fail_at;
    atomic_bool fail_for_ever;
} memory;

/* ---- counting */

static bool told_to_fail(void)
{
    const int_fast64_t this_one = atomic_fetch_add_explicit(&memory.asked, 1, memory_order_relaxed) + 1;
    const int_fast64_t fail_at = atomic_load_explicit(&memory.fail_at, memory_order_relaxed);

    if (fail_at == 0)
        return false;
    return this_one == fail_at || (this_one > fail_at && atomic_load(&memory.fail_for_ever));
}

/* Counts `bytes` as held, unless the limit forbids. */
static fkm_status count_in(size_t bytes)
{
    const size_t limit = atomic_load_explicit(&memory.limit, memory_order_relaxed);
    size_t held = atomic_load_explicit(&memory.held, memory_order_relaxed), peak;

    do {
        if (limit > 0 && (bytes > limit || held > limit - bytes))
            return fkmi_fail(FKM_ENOMEM,
                             "%zu bytes more than the %zu held would pass the memory limit of %zu", bytes,
                             held, limit);
    } while (!atomic_compare_exchange_weak(&memory.held, &held, held + bytes));
    held += bytes;
    peak = atomic_load_explicit(&memory.peak, memory_order_relaxed);
    while (held > peak && !atomic_compare_exchange_weak(&memory.peak, &peak, held))
        ;
    return FKM_OK;
}

static void count_out(size_t bytes) { atomic_fetch_sub(&memory.held, bytes); }

/* ---- the system's memory */

static void *take_from_system(size_t total, bool *mapped)
{
    void *start;

    *mapped = false;
#if FKMI_MAPS
    if (total >= MAPPED_AT) {
        start = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (start == MAP_FAILED)
            return NULL;
#if defined(MADV_HUGEPAGE)
        if (total >= HUGE_PAGES_AT)
            (void)madvise(start, total, MADV_HUGEPAGE); /* a wish: without it all still works */
#endif
        *mapped = true;
        return start;
    }
#endif
    start = aligned_alloc(ALIGNMENT, total);
    if (start)
        memset(start, 0, total);
    return start;
}

static void give_to_system(void *start, size_t total, bool mapped)
{
#if FKMI_MAPS
    if (mapped) {
        (void)munmap(start, total);
        return;
    }
#endif
    (void)total;
    assert(!mapped);
    free(start);
}

static struct header *header_of(const void *block)
{
    struct header *header = (struct header *)((char *)block - ALIGNMENT);

    assert(header->ours == BLOCK_IS_OURS);
    return header;
}

/* count * size rounded up to whole lines plus the header; false when that is no size at all. */
static bool total_of(int64_t count, size_t size, size_t *bytes, size_t *total)
{
    const size_t most = (size_t)PTRDIFF_MAX - 2 * ALIGNMENT;

    if (count < 0 || (size > 0 && (uint64_t)count > most / size))
        return false;
    *bytes = (size_t)count * size;
    *total = ((*bytes + ALIGNMENT - 1) & ~(ALIGNMENT - 1)) + ALIGNMENT;
    return true;
}

/* ---- blocks */

static fkm_status take(void **out, int64_t count, size_t size)
{
    size_t bytes, total;
    struct header *header;
    bool mapped;

    *out = NULL;
    if (!total_of(count, size, &bytes, &total))
        return fkmi_fail(FKM_ENOMEM, "%lld x %zu bytes are more than memory can hold", (long long)count,
                         size);
    if (told_to_fail())
        return fkmi_fail(FKM_ENOMEM, "out of memory: %zu bytes (told to fail)", bytes);
    FKMI_TRY(count_in(total));
    header = take_from_system(total, &mapped);
    if (!header) {
        count_out(total);
        return fkmi_fail(FKM_ENOMEM, "out of memory: %zu bytes", bytes);
    }
    *header = (struct header){.size = bytes, .total = total, .ours = BLOCK_IS_OURS, .mapped = mapped};
    *out = (char *)header + ALIGNMENT;
    return FKM_OK;
}

fkm_status fkmi_alloc(void *out, int64_t count, size_t size)
{
    void *block;
    const fkm_status status = take(&block, count, size);

    memcpy(out, &block, sizeof block); /* out points to a pointer of the caller's type */
    return status;
}

fkm_status fkmi_resize(void *block, int64_t count, size_t size)
{
    void *old, *fresh;

    memcpy(&old, block, sizeof old);
    if (old && count >= 0 && size > 0 && header_of(old)->size / size == (size_t)count &&
        header_of(old)->size % size == 0)
        return FKM_OK;
    FKMI_TRY(take(&fresh, count, size));
    if (old) {
        const size_t had = header_of(old)->size, has = header_of(fresh)->size;

        memcpy(fresh, old, had < has ? had : has);
        fkmi_free(old);
    }
    memcpy(block, &fresh, sizeof fresh);
    return FKM_OK;
}

void fkmi_free(void *block)
{
    struct header *header;
    size_t total;

    if (!block)
        return;
    header = header_of(block);
    total = header->total;
    header->ours = 0;
    give_to_system(header, total, header->mapped);
    count_out(total);
}

void fkm_free(void *memory_of_ours) { fkmi_free(memory_of_ours); }

fkm_status fkmi_copy(void *out, const void *source, int64_t count, size_t size)
{
    void *block = NULL;
    fkm_status status = FKM_OK;

    if (source) {
        status = take(&block, count, size);
        if (status == FKM_OK)
            memcpy(block, source, (size_t)count * size);
    }
    memcpy(out, &block, sizeof block);
    return status;
}

fkm_status fkmi_format(char **out, const char *format, ...)
{
    va_list arguments;
    fkm_status status;
    int length;

    *out = NULL;
    va_start(arguments, format);
    length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0)
        return fkmi_fail(FKM_EINVAL, "text cannot be formatted");
    status = fkmi_alloc(out, (int64_t)length + 1, 1);
    if (status != FKM_OK)
        return status;
    va_start(arguments, format);
    vsnprintf(*out, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return FKM_OK;
}

/* ---- what the process holds */

size_t fkmi_memory_held(void) { return atomic_load(&memory.held); }
size_t fkmi_memory_peak(void) { return atomic_load(&memory.peak); }
void fkmi_memory_reset_peak(void) { atomic_store(&memory.peak, atomic_load(&memory.held)); }
void fkmi_memory_set_limit(size_t bytes) { atomic_store(&memory.limit, bytes); }

int64_t fkmi_memory_fail(int64_t n, int for_ever)
{
    int64_t asked;

    atomic_store(&memory.fail_at, 0);
    asked = (int64_t)atomic_exchange(&memory.asked, 0);
    atomic_store(&memory.fail_for_ever, for_ever != 0);
    atomic_store(&memory.fail_at, n);
    return asked;
}

/* ---- arenas */

struct fkmi_arena_block {
    struct fkmi_arena_block *next;
    size_t size, used; /* bytes behind this struct */
    size_t dirty;      /* bytes ever handed out: those behind are still zero */
};
static_assert(sizeof(struct fkmi_arena_block) <= ALIGNMENT, "an arena's blocks must stay aligned");

fkm_status fkmi_arena_take(struct fkmi_arena *arena, void *out, int64_t count, size_t size)
{
    struct fkmi_arena_block *block = arena->current, *last = NULL;
    void *nothing = NULL;
    size_t bytes, total;
    char *start;

    memcpy(out, &nothing, sizeof nothing);
    if (!total_of(count, size, &bytes, &total))
        return fkmi_fail(FKM_ENOMEM, "%lld x %zu bytes are more than memory can hold", (long long)count,
                         size);
    bytes = total > ALIGNMENT ? total - ALIGNMENT : 0;
    if (bytes == 0)
        bytes = ALIGNMENT; /* two blocks never share an address */

    /* Only forwards: equal sequences of takes find equal places, so a second round allocates nothing. */
    for (; block && block->size - block->used < bytes; block = block->next)
        last = block;
    if (!block) {
        const size_t least = arena->wanted > ARENA_BLOCK ? arena->wanted : ARENA_BLOCK;
        size_t room = bytes > least ? bytes : least;
        fkm_status status = fkmi_alloc(&block, (int64_t)(ALIGNMENT + room), 1);

        if (status == FKM_ENOMEM && arena->wanted > 0) { /* what is more than asked for was a wish */
            room = bytes > ARENA_BLOCK ? bytes : ARENA_BLOCK;
            status = fkmi_alloc(&block, (int64_t)(ALIGNMENT + room), 1);
        }
        FKMI_TRY(status);
        block->size = room;
        if (last)
            last->next = block;
        else
            arena->blocks = block;
        arena->wanted = 0;
        arena->grew = arena->settled;
    }
    arena->current = block;
    arena->taken += bytes;
    start = (char *)block + ALIGNMENT + block->used;
    if (block->dirty > block->used) {
        const size_t used_before = block->dirty - block->used;

        memset(start, 0, bytes < used_before ? bytes : used_before);
    }
    block->used += bytes;
    if (block->dirty < block->used)
        block->dirty = block->used;
    memcpy(out, &start, sizeof start);
    return FKM_OK;
}

void fkmi_arena_reset(struct fkmi_arena *arena)
{
    const size_t taken = arena->taken;

    if (arena->grew) { /* blocks that were too small would stay so, and more would come */
        fkmi_arena_free(arena);
        arena->wanted = taken + taken / 4;
        return;
    }
    for (struct fkmi_arena_block *block = arena->blocks; block; block = block->next)
        block->used = 0;
    arena->current = arena->blocks;
    arena->settled = arena->blocks != NULL;
    arena->taken = 0;
}

void fkmi_arena_free(struct fkmi_arena *arena)
{
    while (arena->blocks) {
        struct fkmi_arena_block *next = arena->blocks->next;

        fkmi_free(arena->blocks);
        arena->blocks = next;
    }
    *arena = (struct fkmi_arena)FKMI_ARENA_INIT;
}
