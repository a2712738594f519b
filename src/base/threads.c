/* threads.c — a pool that cuts work into blocks by size alone and hands them out in ascending order.
 *
 * A job is published through one atomic word: generation, whether it is open, how many workers are inside. A
 * worker enters an open job by adding itself to that word, so one that wakes late finds it closed and touches
 * nothing; the caller closes the job and waits until nobody is inside. Idle threads look for work for some
 * microseconds before they sleep, since the next call often follows at once.
 *
 * The lowest failing block is the same for any number of threads: blocks are claimed in ascending order, and
 * only blocks above one that has failed are skipped. An interrupt fails the block the caller would do next, or the
 * first after the last while it waits for the others; they look at `stopped` then.
 * SPDX-License-Identifier: Apache-2.0 */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* sched_getaffinity */
#endif
#include "base/threads.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/interrupt.h"
#include "base/memory.h"

#define MOST_THREADS     1024
#define SPIN_NANOSECONDS 30000
#define OPEN             ((uint64_t)1 << 31)
#define INSIDE           (OPEN - 1) /* mask: workers inside the job */
#define GENERATION       ((uint64_t)1 << 32)
#define NO_BLOCK         INT64_MAX

struct worker {
    struct fkmi_pool *pool;
    pthread_t thread;
    int number; /* 1 and up; the caller is 0 */
};

struct fkmi_pool {
    int n_threads, n_workers; /* wanted, with the caller; running, without */
    bool spins;               /* every thread can have a core */
    struct worker *workers;
    atomic_int owner; /* process of the workers, negative while a thread of it starts them; 0: none yet */

    atomic_flag busy; /* a caller is using the workers */
    atomic_uint_fast64_t job_state;
    atomic_bool quit;
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    atomic_int n_asleep; /* workers waiting for `wake` */

    /* The job; written before it opens, read inside only. */
    int64_t n, block, n_blocks;
    fkmi_range_fn *body;
    void *job;
    atomic_int_fast64_t next_block, failed_block;
    atomic_bool stopped; /* interrupted: whoever works on a long block should end it */
    fkm_status status;   /* of failed_block, as its message; under lock */
    char message[FKMI_MESSAGE_BYTES];
};

static _Thread_local bool inside_a_job; /* of any pool: what is called from here runs serially */

/* ---- waiting */

static void pause_a_little(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool there_is_work(uint64_t state, uint64_t seen)
{
    return (state & OPEN) && state / GENERATION != seen;
}
static bool all_have_left(uint64_t state, uint64_t unused)
{
    (void)unused;
    return (state & INSIDE) == 0;
}

/* Looks at the job's state for a while; true once `what` holds. */
static bool spin_until(struct fkmi_pool *pool, bool (*what)(uint64_t state, uint64_t seen), uint64_t seen)
{
    int64_t end;

    if (what(atomic_load(&pool->job_state), seen))
        return true;
    if (!pool->spins)
        return false;
    end = fkmi_monotonic_nanoseconds() + SPIN_NANOSECONDS;
    do {
        for (int i = 0; i < 16; i++) {
            pause_a_little();
            if (what(atomic_load(&pool->job_state), seen))
                return true;
        }
    } while (fkmi_monotonic_nanoseconds() < end);
    return false;
}

/* `done` waits on the clock that nobody sets, where there is the choice. */
#if defined(__APPLE__)
#define WAITING_CLOCK CLOCK_REALTIME
static void begin_done(pthread_cond_t *done) { pthread_cond_init(done, NULL); }
#else
#define WAITING_CLOCK CLOCK_MONOTONIC
static void begin_done(pthread_cond_t *done)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, WAITING_CLOCK);
    pthread_cond_init(done, &attributes);
    pthread_condattr_destroy(&attributes);
}
#endif

/* Under the lock: until somebody signals, or it is time to check for an interrupt. */
static void wait_a_while(struct fkmi_pool *pool)
{
    const int64_t pause = fkmi_interrupt_pause();
    struct timespec until;

    clock_gettime(WAITING_CLOCK, &until);
    until.tv_sec += (time_t)(pause / 1000000000);
    until.tv_nsec += (long)(pause % 1000000000);
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&pool->done, &pool->lock, &until);
}

/* ---- blocks */

static void note_failure(struct fkmi_pool *pool, int64_t block, fkm_status status)
{
    if (status == FKM_EINTERRUPTED)
        atomic_store(&pool->stopped, true);
    pthread_mutex_lock(&pool->lock);
    if (block < atomic_load(&pool->failed_block)) {
        atomic_store(&pool->failed_block, block);
        pool->status = status;
        snprintf(pool->message, sizeof pool->message, "%s", fkm_last_error());
    }
    pthread_mutex_unlock(&pool->lock);
}

static int64_t end_of(int64_t begin, int64_t block, int64_t n)
{
    return n - begin < block ? n : begin + block;
}

static void work_on_blocks(struct fkmi_pool *pool, int thread)
{
    for (;;) {
        const int64_t block = atomic_fetch_add(&pool->next_block, 1);
        int64_t begin;
        fkm_status status;

        if (block >= pool->n_blocks || block > atomic_load(&pool->failed_block))
            return; /* the blocks to come lie above it too */
        begin = block * pool->block;
        status = fkmi_check_interrupt();
        if (status == FKM_OK)
            status = pool->body(pool->job, begin, end_of(begin, pool->block, pool->n), thread);
        if (status != FKM_OK)
            note_failure(pool, block, status);
    }
}

static fkm_status work_alone(int64_t n, int64_t block, fkmi_range_fn *body, void *job)
{
    const bool was_inside = inside_a_job;
    fkm_status status = FKM_OK;

    inside_a_job = true;
    for (int64_t begin = 0; begin < n && status == FKM_OK; begin = end_of(begin, block, n)) {
        status = fkmi_check_interrupt();
        if (status == FKM_OK)
            status = body(job, begin, end_of(begin, block, n), 0);
    }
    inside_a_job = was_inside;
    return status;
}

/* ---- workers */

static bool enter(struct fkmi_pool *pool, uint64_t *seen)
{
    uint64_t state = atomic_load(&pool->job_state);

    while (there_is_work(state, *seen))
        if (atomic_compare_exchange_weak(&pool->job_state, &state, state + 1)) {
            *seen = state / GENERATION;
            return true;
        }
    return false;
}

static void leave(struct fkmi_pool *pool)
{
    const uint64_t state = atomic_fetch_sub(&pool->job_state, 1) - 1;

    if ((state & (OPEN | INSIDE)) == 0) { /* the last one out of a closed job tells the caller */
        pthread_mutex_lock(&pool->lock);
        pthread_cond_signal(&pool->done);
        pthread_mutex_unlock(&pool->lock);
    }
}

/* False when the pool ends. n_asleep rises before the state is read, and the caller reads n_asleep after it
 * has changed the state: one of the two sees the other. */
static bool sleep_until_work(struct fkmi_pool *pool, uint64_t seen)
{
    bool quit;

    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->n_asleep, 1);
    while (!(quit = atomic_load(&pool->quit)) && !there_is_work(atomic_load(&pool->job_state), seen))
        pthread_cond_wait(&pool->wake, &pool->lock);
    atomic_fetch_sub(&pool->n_asleep, 1);
    pthread_mutex_unlock(&pool->lock);
    return !quit;
}

static void *run_worker(void *argument)
{
    struct worker *worker = argument;
    struct fkmi_pool *pool = worker->pool;
    uint64_t seen = 0;

    inside_a_job = true;
    fkmi_interrupt_follow(&pool->stopped);
    do {
        while (enter(pool, &seen)) {
            work_on_blocks(pool, worker->number);
            leave(pool);
            spin_until(pool, there_is_work, seen);
        }
    } while (sleep_until_work(pool, seen));
    return NULL;
}

/* Fewer threads than wanted is no failure: the caller does what they would have done. Signals are for the
 * caller's own threads. */
static void start_workers(struct fkmi_pool *pool)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (pool->n_workers = 0; pool->n_workers < pool->n_threads - 1; pool->n_workers++) {
        struct worker *worker = &pool->workers[pool->n_workers];

        *worker = (struct worker){.pool = pool, .number = pool->n_workers + 1};
        if (pthread_create(&worker->thread, NULL, run_worker, worker) != 0)
            break;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void begin_state(struct fkmi_pool *pool)
{
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    begin_done(&pool->done);
    atomic_store(&pool->job_state, 0);
    atomic_store(&pool->n_asleep, 0);
    atomic_store(&pool->quit, false);
    atomic_flag_clear(&pool->busy);
}

/* True when workers of this process exist. In a forked child the parent's are gone and its locks are in any
 * state, so all begins anew, also when the fork met the parent starting them; other threads of this process
 * that call meanwhile work alone. */
static bool workers_are_here(struct fkmi_pool *pool)
{
    const int process = (int)getpid();
    int owner = atomic_load(&pool->owner);

    if (owner == process)
        return true;
    if (owner == -process || !atomic_compare_exchange_strong(&pool->owner, &owner, -process))
        return false;
    begin_state(pool);
    start_workers(pool);
    atomic_store(&pool->owner, process);
    return true;
}

/* ---- entry points */

static int cores_allowed(void)
{
    long n = 0;
#if defined(__linux__)
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) == 0)
        n = CPU_COUNT(&set);
#endif
    if (n < 1)
        n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > MOST_THREADS ? MOST_THREADS : (int)n;
}

fkm_status fkmi_pool_create(int n_threads, struct fkmi_pool **out)
{
    const int n_cores = cores_allowed();
    struct fkmi_pool *pool = NULL;
    fkm_status status = FKM_OK;

    *out = NULL;
    if (n_threads <= 0)
        n_threads = n_cores;
    if (n_threads > MOST_THREADS)
        return fkmi_fail(FKM_EINVAL, "n_threads is %d; at most %d are possible", n_threads, MOST_THREADS);
    FKMI_TRY_GOTO(fkmi_alloc(&pool, 1, sizeof *pool));
    pool->n_threads = n_threads;
    pool->spins = n_threads <= n_cores;
    FKMI_TRY_GOTO(fkmi_alloc(&pool->workers, n_threads, sizeof *pool->workers));
    atomic_store(&pool->owner, 0);
    *out = pool;
    pool = NULL;
done:
    fkmi_pool_free(pool);
    return status;
}

void fkmi_pool_free(struct fkmi_pool *pool)
{
    if (!pool)
        return;
    if (atomic_load(&pool->owner) == (int)getpid()) { /* a forked child has nobody to wait for */
        pthread_mutex_lock(&pool->lock);
        atomic_store(&pool->quit, true);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
        for (int i = 0; i < pool->n_workers; i++)
            pthread_join(pool->workers[i].thread, NULL);
        pthread_cond_destroy(&pool->wake);
        pthread_cond_destroy(&pool->done);
        pthread_mutex_destroy(&pool->lock);
    }
    fkmi_free(pool->workers);
    fkmi_free(pool);
}

int fkmi_pool_threads(const struct fkmi_pool *pool) { return pool ? pool->n_threads : 1; }

int fkmi_pool_threads_here(const struct fkmi_pool *pool)
{
    return inside_a_job ? 1 : fkmi_pool_threads(pool);
}

static void open_job(struct fkmi_pool *pool)
{
    const uint64_t generation = atomic_load(&pool->job_state) / GENERATION + 1;

    atomic_store(&pool->job_state, (generation & UINT32_MAX) * GENERATION | OPEN);
    if (atomic_load(&pool->n_asleep) > 0) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
    }
}

/* The others may still be at long blocks: whoever waits for them is asked meanwhile. */
static void close_job(struct fkmi_pool *pool)
{
    atomic_fetch_and(&pool->job_state, ~OPEN);
    if (spin_until(pool, all_have_left, 0))
        return;
    pthread_mutex_lock(&pool->lock);
    while (!all_have_left(atomic_load(&pool->job_state), 0)) {
        fkm_status status;

        if (!fkmi_interruptible() || atomic_load(&pool->stopped)) {
            pthread_cond_wait(&pool->done, &pool->lock);
            continue;
        }
        wait_a_while(pool);
        pthread_mutex_unlock(&pool->lock);
        status = fkmi_check_interrupt();
        if (status != FKM_OK)
            note_failure(pool, pool->n_blocks, status);
        pthread_mutex_lock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
}

fkm_status fkmi_parallel(struct fkmi_pool *pool, int64_t n, int64_t block, fkmi_range_fn *body, void *job)
{
    fkm_status status;

    assert(n >= 0 && block >= 1);
    if (!pool || pool->n_threads == 1 || n <= block || inside_a_job || !workers_are_here(pool) ||
        atomic_flag_test_and_set(&pool->busy))
        return work_alone(n, block, body, job);

    pool->n = n;
    pool->block = block;
    pool->n_blocks = n / block + (n % block != 0);
    pool->body = body;
    pool->job = job;
    pool->status = FKM_OK;
    atomic_store(&pool->next_block, 0);
    atomic_store(&pool->failed_block, NO_BLOCK);
    atomic_store(&pool->stopped, false);
    inside_a_job = true;
    open_job(pool);
    work_on_blocks(pool, 0);
    close_job(pool);
    inside_a_job = false;
    status = pool->status;
    if (status != FKM_OK)
        fkmi_fail(status, "%s", pool->message);
    atomic_flag_clear(&pool->busy);
    return status;
}

fkm_status fkmi_parallel_whole(struct fkmi_pool *pool, int64_t n, int64_t block, fkmi_range_fn *body,
                               void *job)
{
    fkm_status status;

    fkmi_hold_interrupts();
    status = fkmi_parallel(pool, n, block, body, job);
    fkmi_release_interrupts();
    return status;
}
