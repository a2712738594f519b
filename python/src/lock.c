/* lock.c — who may use a model: any number of answering calls, or one that learns; first come, first served. A thread
 * that calls in a loop has the GIL when its call ends, so without turns it would always be first again.
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

/* A hold stands in the way of one that came later, and once granted of any, where either of the two learns. */
static bool is_in_the_way(const struct fkmpy_hold *hold, const struct fkmpy_hold *asking)
{
    return (hold->learns || asking->learns) && (hold->granted || hold->turn < asking->turn);
}

static enum verdict judge(const struct fkmpy_lock *lock, const struct fkmpy_hold *asking)
{
    bool is_inside = false, must_wait = false;

    if (lock->lost)
        return LOST;
    for (const struct fkmpy_hold *hold = lock->holds; hold; hold = hold->next) {
        const bool is_own = hold->thread == asking->thread;

        if (is_own && hold->granted && (hold->learns || asking->learns))
            return OWN;
        is_inside = is_inside || (is_own && hold->granted);
        must_wait = must_wait || (!is_own && is_in_the_way(hold, asking));
    }
    /* Who answers already and asks once more does not wait for those who wait for it. */
    return must_wait && !is_inside ? WAITS : GRANTED;
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

/* A signal handler that asks while its thread waits comes with that turn: those behind it wait for both. */
static uint64_t turn_of(struct fkmpy_lock *lock, const struct fkmpy_hold *asking)
{
    for (const struct fkmpy_hold *hold = lock->holds; hold; hold = hold->next)
        if (hold->thread == asking->thread)
            return hold->turn;
    return ++lock->next_turn;
}

/* Listed from the first look on, until it is refused or gives up. */
static enum verdict look(struct fkmpy_lock *lock, struct fkmpy_hold *hold, bool gives_up)
{
    enum verdict verdict;

    notice_fork(lock);
    pthread_mutex_lock(&lock->mutex);
    if (hold->turn == 0) {
        hold->turn = turn_of(lock, hold);
        list(lock, hold);
    }
    verdict = judge(lock, hold);
    hold->granted = verdict == GRANTED && !gives_up;
    if (!hold->granted && (verdict != WAITS || gives_up)) {
        unlist(lock, hold);
        pthread_cond_broadcast(&lock->freed);
    }
    pthread_mutex_unlock(&lock->mutex);
    return verdict;
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
    bool gives_up = false;

    *hold = (struct fkmpy_hold){.thread = PyThread_get_thread_ident(), .learns = learns};
    while ((verdict = look(lock, hold, gives_up)) == WAITS && !gives_up)
        gives_up = !wait_a_while(lock, hold);
    if (gives_up)
        return false;
    if (verdict == OWN)
        PyErr_SetString(PyExc_RuntimeError,
                        "this thread is inside another call of the same model, which must end "
                        "first: a progress callback cannot use the model it reports on");
    if (verdict == LOST)
        PyErr_SetString(PyExc_RuntimeError,
                        "the process was forked while another thread was teaching this model; "
                        "its state is unknown here: load the model again");
    return verdict == GRANTED;
}

void fkmpy_lock_give(struct fkmpy_lock *lock, struct fkmpy_hold *hold)
{
    notice_fork(lock);
    pthread_mutex_lock(&lock->mutex);
    unlist(lock, hold);
    pthread_cond_broadcast(&lock->freed);
    pthread_mutex_unlock(&lock->mutex);
}
