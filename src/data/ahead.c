/* ahead.c — a thread that reads a source's next batch while the last one is being learned.
 *
 * Two slots: one is handed out, the thread fills the other with a copy of what the source lends, the position behind
 * it, and the failure if there was one, which comes up when that batch would have. A batch is wished for when the one
 * before is handed out; the thread touches the source only while a wish is open, the caller only while none is.
 * SPDX-License-Identifier: Apache-2.0 */
#include "data/ahead.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/dtype.h"
#include "base/memory.h"

struct slot {
    fkm_batch batch;
    char *memory; /* what the batch points into */
    size_t room;
    int64_t max_rows; /* that were asked for */
    fkm_status status, position_status;
    char message[FKMI_MESSAGE_BYTES]; /* of the first of them that failed */
    char position[FKMI_POSITION_BYTES];
    int64_t n_classes;
};

struct fkmi_ahead {
    fkm_source *source;
    struct slot slots[2];
    int out;     /* the slot handed out */
    bool is_out; /* the source stands behind it, but for what is in the other one */
    bool waits;  /* the other one has a batch, an end or a failure */
    bool threaded;
    bool wished, quits; /* under lock */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
};

/* ---- a batch and its copy */

/* Moves what a batch points to into `to`, one after the other; with to NULL it only counts. Returns the bytes. */
static size_t move_batch(fkm_batch *batch, char *to)
{
    const int64_t n = batch->n_rows, stride = batch->row_stride ? batch->row_stride : batch->n_cols;
    const int64_t entries = batch->indptr ? batch->indptr[n] : 0,
                  tags = batch->tag_indptr ? batch->tag_indptr[n] : 0;
    const size_t value = fkmi_dtype_size(batch->dtype);
    size_t used = 0;

#define MOVE(field, count, size)                                                                             \
    do {                                                                                                     \
        const size_t bytes = batch->field ? (size_t)(count) * (size) : 0;                                    \
        if (to && batch->field) {                                                                            \
            memcpy(to + used, batch->field, bytes);                                                          \
            batch->field = (const void *)(to + used);                                                        \
        }                                                                                                    \
        used += (bytes + 63) & ~(size_t)63;                                                                  \
    } while (0)
    MOVE(x, (n - 1) * stride + batch->n_cols, value);
    MOVE(values, entries, value);
    MOVE(indptr, n + 1, sizeof *batch->indptr);
    MOVE(indices, entries, sizeof *batch->indices);
    MOVE(weight, n, sizeof *batch->weight);
    MOVE(mask, n * batch->n_cols, sizeof *batch->mask);
    MOVE(labels, n, sizeof *batch->labels);
    MOVE(tag_indptr, n + 1, sizeof *batch->tag_indptr);
    MOVE(tags, tags, sizeof *batch->tags);
    MOVE(targets, n * batch->n_targets, sizeof *batch->targets);
#undef MOVE
    return used;
}

static fkm_status read_batch(fkm_source *source, struct slot *slot)
{
    size_t bytes;

    FKMI_TRY(fkmi_source_next(source, slot->max_rows, &slot->batch));
    if (slot->batch.n_rows == 0)
        return FKM_OK;
    bytes = move_batch(&slot->batch, NULL);
    if (bytes > slot->room) {
        fkmi_free(slot->memory);
        slot->memory = NULL;
        slot->room = 0;
        FKMI_TRY(fkmi_alloc(&slot->memory, (int64_t)bytes, 1));
        slot->room = bytes;
    }
    move_batch(&slot->batch, slot->memory);
    return FKM_OK;
}

static void keep_message(struct slot *slot)
{
    snprintf(slot->message, sizeof slot->message, "%s", fkm_last_error());
}

static void fill(fkm_source *source, struct slot *slot)
{
    slot->status = read_batch(source, slot);
    if (slot->status != FKM_OK)
        slot->batch = (fkm_batch)FKM_BATCH_INIT;
    keep_message(slot);
    slot->position_status = fkmi_source_tell(source, slot->position, sizeof slot->position);
    if (slot->status == FKM_OK && slot->position_status != FKM_OK)
        keep_message(slot);
    slot->n_classes = fkmi_source_class_count(source);
}

/* ---- the thread */

static void *read_on(void *argument)
{
    struct fkmi_ahead *ahead = argument;

    pthread_mutex_lock(&ahead->lock);
    for (;;) {
        while (!ahead->wished && !ahead->quits)
            pthread_cond_wait(&ahead->changed, &ahead->lock);
        if (!ahead->wished)
            break;
        pthread_mutex_unlock(&ahead->lock);
        fill(ahead->source, &ahead->slots[1 - ahead->out]);
        pthread_mutex_lock(&ahead->lock);
        ahead->waits = true;
        ahead->wished = false;
        pthread_cond_broadcast(&ahead->changed);
    }
    pthread_mutex_unlock(&ahead->lock);
    return NULL;
}

static void wish(struct fkmi_ahead *ahead, int64_t max_rows)
{
    ahead->slots[1 - ahead->out].max_rows = max_rows;
    pthread_mutex_lock(&ahead->lock);
    ahead->wished = true;
    pthread_cond_broadcast(&ahead->changed);
    pthread_mutex_unlock(&ahead->lock);
}

void fkmi_ahead_rest(struct fkmi_ahead *ahead)
{
    pthread_mutex_lock(&ahead->lock);
    while (ahead->wished)
        pthread_cond_wait(&ahead->changed, &ahead->lock);
    pthread_mutex_unlock(&ahead->lock);
}

fkm_status fkmi_ahead_begin(fkm_source *source)
{
    struct fkmi_ahead *ahead = source->ahead;
    sigset_t all, before;

    if (!source->words.read_anywhere)
        return FKM_OK;
    if (!ahead) {
        FKMI_TRY(fkmi_alloc(&ahead, 1, sizeof *ahead));
        ahead->source = source;
        pthread_mutex_init(&ahead->lock, NULL);
        pthread_cond_init(&ahead->changed, NULL);
        source->ahead = ahead;
    }
    assert(!ahead->threaded);
    ahead->quits = false;
    sigfillset(&all); /* signals are for threads that expect them */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ahead->threaded = pthread_create(&ahead->thread, NULL, read_on, ahead) == 0; /* without one: one by one */
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return FKM_OK;
}

void fkmi_ahead_end(fkm_source *source)
{
    struct fkmi_ahead *ahead = source->ahead;

    if (!ahead || !ahead->threaded)
        return;
    pthread_mutex_lock(&ahead->lock);
    ahead->quits = true;
    pthread_cond_broadcast(&ahead->changed);
    pthread_mutex_unlock(&ahead->lock);
    pthread_join(ahead->thread, NULL);
    ahead->threaded = false;
}

void fkmi_ahead_free(struct fkmi_ahead *ahead)
{
    if (!ahead)
        return;
    assert(!ahead->threaded);
    for (int i = 0; i < 2; i++)
        fkmi_free(ahead->slots[i].memory);
    pthread_cond_destroy(&ahead->changed);
    pthread_mutex_destroy(&ahead->lock);
    fkmi_free(ahead);
}

/* ---- what the source answers */

/* The source where its reader believes it to be. */
static fkm_status forget(struct fkmi_ahead *ahead)
{
    const struct slot *out = &ahead->slots[ahead->out];

    if (!ahead->waits)
        return FKM_OK;
    ahead->waits = false;
    ahead->is_out = false;
    if (out->position_status != FKM_OK)
        return fkmi_fail(out->position_status, "%s", out->message);
    return fkmi_source_seek(ahead->source, out->position);
}

fkm_status fkmi_ahead_next(struct fkmi_ahead *ahead, int64_t max_rows, fkm_batch *batch)
{
    struct slot *slot;

    fkmi_ahead_rest(ahead);
    if (ahead->waits && ahead->slots[1 - ahead->out].max_rows != max_rows)
        FKMI_TRY(forget(ahead));
    if (!ahead->waits && !ahead->threaded) {
        ahead->is_out = false;
        return fkmi_source_next(ahead->source, max_rows, batch);
    }
    if (!ahead->waits) {
        wish(ahead, max_rows);
        fkmi_ahead_rest(ahead);
    }
    ahead->waits = false;
    ahead->out = 1 - ahead->out;
    ahead->is_out = true;
    slot = &ahead->slots[ahead->out];
    *batch = slot->batch;
    if (slot->status != FKM_OK)
        return fkmi_fail(slot->status, "%s", slot->message);
    if (ahead->threaded && slot->batch.n_rows > 0 && slot->position_status == FKM_OK)
        wish(ahead, max_rows);
    return FKM_OK;
}

fkm_status fkmi_ahead_seek(struct fkmi_ahead *ahead, const char *position)
{
    const struct slot *out = &ahead->slots[ahead->out];

    fkmi_ahead_rest(ahead);
    if (ahead->waits && position && out->position_status == FKM_OK && strcmp(position, out->position) == 0)
        return FKM_OK; /* the next batch is here */
    ahead->waits = false;
    ahead->is_out = false;
    return fkmi_source_seek(ahead->source, position);
}

fkm_status fkmi_ahead_tell(struct fkmi_ahead *ahead, char *position, size_t size)
{
    const struct slot *out = &ahead->slots[ahead->out];
    const size_t length = strlen(out->position);

    if (!ahead->is_out) {
        fkmi_ahead_rest(ahead);
        return fkmi_source_tell(ahead->source, position, size);
    }
    if (out->position_status != FKM_OK)
        return fkmi_fail(out->position_status, "%s", out->message);
    if (length >= size)
        return fkmi_fail(FKM_EINVAL, "a position needs %zu bytes, there are %zu", length + 1, size);
    memcpy(position, out->position, length + 1);
    return FKM_OK;
}

int64_t fkmi_ahead_class_count(struct fkmi_ahead *ahead)
{
    fkmi_ahead_rest(ahead);
    return ahead->is_out ? ahead->slots[ahead->out].n_classes : fkmi_source_class_count(ahead->source);
}
