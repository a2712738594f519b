/* lock.h — who may use a model: any number of answering calls, or one that learns; first come, first served.
 *
 * Holds and waits are listed, so that a thread that comes again is recognised (it would wait for itself), and so that a
 * forked child can drop those of threads it does not have.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMPY_LOCK_H
#define FKMPY_LOCK_H

#include <pthread.h>
#include <stdatomic.h>

#include "module.h"

struct fkmpy_hold { /* lives on the stack of the call */
    struct fkmpy_hold *next;
    unsigned long thread;
    uint64_t turn; /* of arrival; 0: not listed yet */
    bool learns, granted;
};

struct fkmpy_lock {
    pthread_mutex_t mutex; /* held for moments, never while waiting for the GIL */
    pthread_cond_t freed;
    struct fkmpy_hold *holds;
    uint64_t next_turn;
    atomic_int process; /* whose holds these are; negative while a thread of it clears away */
    bool lost;          /* forked while another thread was learning: nobody knows what the model is now */
};

void fkmpy_lock_open(struct fkmpy_lock *lock);
void fkmpy_lock_close(struct fkmpy_lock *lock);
/* Waits without the GIL. False with an exception: RuntimeError when this thread already holds the model (and either
 * call learns) or the model is lost, or what a signal handler raised. */
bool fkmpy_lock_take(struct fkmpy_lock *lock, struct fkmpy_hold *hold, bool learns);
void fkmpy_lock_give(struct fkmpy_lock *lock, struct fkmpy_hold *hold);

#endif
