/* lock.c — who may use a model: any number of answering calls, or one that learns.
 * SPDX-License-Identifier: Apache-2.0 */
#include "lock.h"

#include <sched.h>
#include <time.h>
#include <unistd.h>

#define WAIT_NANOSECONDS 100000000 /* between two looks at signals */

enum verdict { GRANTED, WAITS, OWN, LOST };

static void begin(struct fkmpy_lock *lock)
{
    pthread_mutex_init(&lock->mutex, NULL);
    pthread_cond_init(&lock->freed, NULL);
}

/* Of a forked child's threads only the one that forked is there; the mutex is in any state. */
static void clear_after_fork(struct fkmpy_lock *lock)
{
    const unsigned long here = PyThread_get_thread_ident();
    struct fkmpy_hold **at = &lock->holds;

    begin(lock);
    while (*at)
        if ((*at)->thread == here) {
            at = &(*at)->next;
        } else {
            lock->lost = lock->lost || ((*at)->learns && (*at)->granted);
            *at = (*at)->next;
        }
}

static void notice_fork(struct fkmpy_lock *lock)
{
    const int process = (int)getpid();
    int owner = atomic_load(&lock->process);

    while (owner != process)
        if (owner == -process) {
            sched_yield();
            owner = atomic_load(&lock->process);
        } else if (atomic_compare_exchange_strong(&lock->process, &owner, -process)) {
            clear_after_fork(lock);
            atomic_store(&lock->process, process);
            return;
        }
}

static enum verdict judge(const struct fkmpy_lock *lock, const struct fkmpy_hold *asking)
{
    bool is_inside = false, must_wait = false;

    if (lock->lost)
        return LOST;
    for (const struct fkmpy_hold *hold = lock->holds; hold; hold = hold->next)
        if (hold->thread == asking->thread && hold->granted) {
            if (hold->learns || asking->learns)
                return OWN;
            is_inside = true;
        }
    if (is_inside) /* it answers already: letting a waiting learner pass would never end */
        return GRANTED;
    for (const struct fkmpy_hold *hold = lock->holds; hold; hold = hold->next)
        if (hold->thread != asking->thread)
            must_wait = must_wait || (asking->learns ? hold->granted : hold->learns);
    return must_wait ? WAITS : GRANTED;
}

static void list(struct fkmpy_lock *lock, struct fkmpy_hold *hold)
{
    hold->next = lock->holds;
    lock->holds = hold;
}

static void unlist(struct fkmpy_lock *lock, const struct fkmpy_hold *hold)
{
    for (struct fkmpy_hold **at = &lock->holds; *at; at = &(*at)->next)
        if (*at == hold) {
            *at = hold->next;
            return;
        }
}

/* A moment, without the GIL; then signals. */
static bool wait_a_while(struct fkmpy_lock *lock, const struct fkmpy_hold *hold)
{
    PyThreadState *thread = PyEval_SaveThread();
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += WAIT_NANOSECONDS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&lock->mutex);
    if (judge(lock, hold) == WAITS)
        pthread_cond_timedwait(&lock->freed, &lock->mutex, &until);
    pthread_mutex_unlock(&lock->mutex);
    PyEval_RestoreThread(thread);
    return PyErr_CheckSignals() == 0;
}

/* ---- entry points */

void fkmpy_lock_open(struct fkmpy_lock *lock)
{
    begin(lock);
    atomic_store(&lock->process, (int)getpid());
}

void fkmpy_lock_close(struct fkmpy_lock *lock)
{
    notice_fork(lock);
    pthread_cond_destroy(&lock->freed);
    pthread_mutex_destroy(&lock->mutex);
}

bool fkmpy_lock_take(struct fkmpy_lock *lock, struct fkmpy_hold *hold, bool learns)
{
    enum verdict verdict;
    bool is_listed = false, is_interrupted = false;

    *hold = (struct fkmpy_hold){.thread = PyThread_get_thread_ident(), .learns = learns};
    for (;;) {
        notice_fork(lock);
        pthread_mutex_lock(&lock->mutex);
        verdict = is_interrupted ? WAITS : judge(lock, hold);
        hold->granted = verdict == GRANTED;
        if (!is_listed && (hold->granted || (verdict == WAITS && learns))) {
            list(lock, hold);
            is_listed = true;
        }
        if (is_listed && !hold->granted && (verdict != WAITS || is_interrupted)) {
            unlist(lock, hold);
            pthread_cond_broadcast(&lock->freed);
        }
        pthread_mutex_unlock(&lock->mutex);
        if (verdict != WAITS || is_interrupted)
            break;
        is_interrupted = !wait_a_while(lock, hold);
    }
    if (verdict == OWN)
        PyErr_SetString(PyExc_RuntimeError,
                        "this thread is inside another call of the same model, which must end "
                        "first: a progress callback cannot use the model it reports on");
    if (verdict == LOST)
        PyErr_SetString(PyExc_RuntimeError,
                        "the process was forked while another thread was teaching this model; "
                        "its state is unknown here: load the model again");
    return hold->granted;
}

void fkmpy_lock_give(struct fkmpy_lock *lock, struct fkmpy_hold *hold)
{
    notice_fork(lock);
    pthread_mutex_lock(&lock->mutex);
    unlist(lock, hold);
    pthread_cond_broadcast(&lock->freed);
    pthread_mutex_unlock(&lock->mutex);
}
