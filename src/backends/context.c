/* context.c — where work runs: threads, kernels, a backend, and scratch memory that outlives the calls
 * using it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/backend.h"

#include <pthread.h>
#include <string.h>

/* ---- scratch: a few blocks of memory handed from call to call */

#define BLOCKS_KEPT  3 /* a scan holds two */
#define HEADER_BYTES 64
#define MOST_TIMES   4          /* a block serves for a part of it, */
#define ANY_BYTES    (64 << 10) /* or it is small: a large one is wanted for something large soon */

struct header { /* before the memory of a block */
    size_t bytes;
};
struct fkmi_scratch {
    pthread_mutex_t lock;
    struct header *kept[BLOCKS_KEPT]; /* NULL: a free place */
};
_Static_assert(sizeof(struct header) <= HEADER_BYTES, "the header must leave memory aligned");

/* The smallest kept block that is large enough, or NULL; *too_large: it would be wasted on so little. */
static struct header *take_kept(struct fkmi_scratch *scratch, size_t bytes, bool *too_large)
{
    struct header *found = NULL;
    int at = -1;

    pthread_mutex_lock(&scratch->lock);
    for (int i = 0; i < BLOCKS_KEPT; i++) {
        struct header *block = scratch->kept[i];
        if (block && block->bytes >= bytes && (at < 0 || block->bytes < scratch->kept[at]->bytes))
            at = i;
    }
    *too_large =
        at >= 0 && scratch->kept[at]->bytes > ANY_BYTES && scratch->kept[at]->bytes / MOST_TIMES > bytes;
    if (at >= 0 && !*too_large) {
        found = scratch->kept[at];
        scratch->kept[at] = NULL;
    }
    pthread_mutex_unlock(&scratch->lock);
    return found;
}

/* Forgets all kept blocks. */
static void drop_kept(struct fkmi_scratch *scratch)
{
    struct header *gone[BLOCKS_KEPT];

    pthread_mutex_lock(&scratch->lock);
    memcpy(gone, scratch->kept, sizeof gone);
    memset(scratch->kept, 0, sizeof gone);
    pthread_mutex_unlock(&scratch->lock);
    for (int i = 0; i < BLOCKS_KEPT; i++)
        fkmi_free(gone[i]);
}

/* Keeps the block; returns the block that has to go for it, or NULL. */
static struct header *keep(struct fkmi_scratch *scratch, struct header *block)
{
    struct header *gone = block;
    int at = 0;

    pthread_mutex_lock(&scratch->lock);
    for (int i = 0; i < BLOCKS_KEPT && scratch->kept[at]; i++)
        if (!scratch->kept[i] || scratch->kept[i]->bytes < scratch->kept[at]->bytes)
            at = i;
    if (!scratch->kept[at] || scratch->kept[at]->bytes < block->bytes) {
        gone = scratch->kept[at];
        scratch->kept[at] = block;
    }
    pthread_mutex_unlock(&scratch->lock);
    return gone;
}

fkm_status fkmi_scratch_take(struct fkm_context *context, size_t bytes, void *out)
{
    bool too_large = false;
    struct header *block = context->scratch ? take_kept(context->scratch, bytes, &too_large) : NULL;
    void *memory;

    if (!block) {
        if (bytes > (size_t)INT64_MAX - HEADER_BYTES)
            return fkmi_fail(FKM_ENOMEM, "scratch memory of %zu bytes is more than there can be", bytes);
        if (!too_large) /* all are too small: a larger one serves their purpose too */
            fkmi_scratch_trim(context);
        FKMI_TRY(fkmi_alloc(&block, (int64_t)(bytes + HEADER_BYTES), 1));
        block->bytes = bytes;
    }
    memory = (char *)block + HEADER_BYTES;
    memcpy(out, &memory, sizeof memory);
    return FKM_OK;
}

void fkmi_scratch_give(struct fkm_context *context, void *memory)
{
    struct header *block = memory ? (struct header *)(void *)((char *)memory - HEADER_BYTES) : NULL;

    if (block)
        fkmi_free(context->scratch ? keep(context->scratch, block) : block);
}

void fkmi_scratch_trim(struct fkm_context *context)
{
    if (context->scratch)
        drop_kept(context->scratch);
}

static fkm_status scratch_create(struct fkmi_scratch **out)
{
    FKMI_TRY(fkmi_alloc(out, 1, sizeof **out));
    if (pthread_mutex_init(&(*out)->lock, NULL) != 0) {
        fkmi_free(*out);
        *out = NULL;
        return fkmi_fail(FKM_ENOMEM, "cannot create a lock");
    }
    return FKM_OK;
}

static void scratch_free(struct fkmi_scratch *scratch)
{
    if (!scratch)
        return;
    drop_kept(scratch);
    pthread_mutex_destroy(&scratch->lock);
    fkmi_free(scratch);
}

/* ---- contexts */

fkm_status fkm_context_create(const fkm_context_options *options, fkm_context **out)
{
    const fkm_context_options standard = FKM_CONTEXT_OPTIONS_INIT;
    fkm_context *context = NULL;
    fkm_status status = FKM_OK;

    if (!out)
        return fkmi_fail(FKM_EINVAL, "out is NULL");
    *out = NULL;
    if (!options)
        options = &standard;
    if (options->struct_size != sizeof *options)
        return fkmi_fail(FKM_EINVAL,
                         "options.struct_size is %zu, expected %zu; begin with FKM_CONTEXT_OPTIONS_INIT",
                         options->struct_size, sizeof *options);
    if (options->n_threads < -1)
        return fkmi_fail(FKM_EINVAL, "n_threads is %d; valid: -1 or more", (int)options->n_threads);
    if (options->device && strncmp(options->device, "cuda", 4) == 0)
        return fkmi_fail(FKM_EUNSUPPORTED, "device is %s: this build has no CUDA backend", options->device);
    if (options->device && strcmp(options->device, "cpu") != 0)
        return fkmi_fail(FKM_EINVAL, "device is \"%s\"; valid: cpu", options->device);

    fkmi_memory_set_limit(options->memory_limit);
    FKMI_TRY_GOTO(fkmi_alloc(&context, 1, sizeof *context));
    context->backend = &fkmi_backend_cpu;
    context->kernels = fkmi_kernels_best();
    FKMI_TRY_GOTO(scratch_create(&context->scratch));
    FKMI_TRY_GOTO(fkmi_pool_create(options->n_threads, &context->pool));
    *out = context;
    context = NULL;
done:
    fkm_context_free(context);
    return status;
}

void fkm_context_free(fkm_context *context)
{
    if (!context)
        return;
    fkmi_pool_free(context->pool);
    scratch_free(context->scratch);
    fkmi_free(context);
}

fkm_status fkm_context_set_search(fkm_context *context, const fkm_search_functions *functions, void *self)
{
    if (!context)
        return fkmi_fail(FKM_EINVAL, "context is NULL");
    if (!functions) {
        context->search = (struct fkmi_search){0};
        return FKM_OK;
    }
    if (functions->struct_size != sizeof *functions)
        return fkmi_fail(FKM_EINVAL, "fkm_search_functions.struct_size is %zu, this library expects %zu",
                         functions->struct_size, sizeof *functions);
    if (!functions->build || !functions->search || !functions->drop)
        return fkmi_fail(FKM_EINVAL, "fkm_search_functions.%s is NULL",
                         !functions->build    ? "build"
                         : !functions->search ? "search"
                                              : "drop");
    context->search = (struct fkmi_search){*functions, self};
    return FKM_OK;
}

int32_t fkm_context_threads(const fkm_context *context)
{
    return context ? fkmi_pool_threads(context->pool) : 0;
}
