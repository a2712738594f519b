/* test_threads.c — every block once, the same failure for any number of threads, nesting, callers at once,
 * forks.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "support/test.h"

#if defined(__SANITIZE_THREAD__)
#define THREADS_AFTER_FORK 0 /* the sanitizer forbids them */
#else
#define THREADS_AFTER_FORK 1
#endif
#if defined(__SANITIZE_ADDRESS__)
#define FORK_WHILE_THREADS_START 0 /* the sanitizer's own list of threads stays locked in the child */
#else
#define FORK_WHILE_THREADS_START THREADS_AFTER_FORK
#endif

enum { MOST = 5000 };
struct count_job {
    int64_t block, n;
    int n_threads;
    int visits[MOST]; /* each item has one writer */
    atomic_int wrong;
};

static fkm_status count_visits(void *argument, int64_t begin, int64_t end, int thread)
{
    struct count_job *job = argument;
    const int64_t full = begin + job->block;

    if (begin % job->block != 0 || end != (full < job->n ? full : job->n) || thread < 0 ||
        thread >= job->n_threads)
        atomic_fetch_add(&job->wrong, 1);
    for (int64_t i = begin; i < end; i++)
        job->visits[i]++;
    return FKM_OK;
}

static bool visits_each_item_once(struct fkmi_pool *pool, int64_t n, int64_t block)
{
    struct count_job *job;
    bool right;

    if (fkmi_alloc(&job, 1, sizeof *job) != FKM_OK)
        return false;
    job->block = block;
    job->n = n;
    job->n_threads = fkmi_pool_threads(pool);
    right = fkmi_parallel(pool, n, block, count_visits, job) == FKM_OK && atomic_load(&job->wrong) == 0;
    for (int64_t i = 0; i < MOST; i++)
        right = right && job->visits[i] == (i < n);
    fkmi_free(job);
    return right;
}

TEST(each_item_is_visited_once_for_any_shape_and_any_number_of_threads)
{
    static const int64_t sizes[] = {0, 1, 2, 63, 64, 65, 1000, MOST}, blocks[] = {1, 7, 64, 6000};
    static const int threads[] = {1, 2, 3, 8};

    for (size_t t = 0; t < 4; t++) {
        struct fkmi_pool *pool;

        CHECK_OK(fkmi_pool_create(threads[t], &pool));
        CHECK_INT(threads[t], fkmi_pool_threads(pool));
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++)
                CHECK(visits_each_item_once(pool, sizes[s], blocks[b]));
        fkmi_pool_free(pool);
    }
    CHECK(visits_each_item_once(NULL, 100, 7)); /* no pool: the caller alone */
    fkmi_pool_free(NULL);
}

TEST(a_pool_asks_the_process_how_many_cores_it_may_use)
{
    struct fkmi_pool *pool;

    CHECK_OK(fkmi_pool_create(-1, &pool));
    CHECK(fkmi_pool_threads(pool) >= 1);
    CHECK(fkmi_pool_threads(pool) <= sysconf(_SC_NPROCESSORS_CONF));
    fkmi_pool_free(pool);
    CHECK_STATUS(FKM_EINVAL, fkmi_pool_create(1000000, &pool));
    CHECK(!pool);
}

TEST(many_small_calls_in_a_row)
{
    struct fkmi_pool *pool;

    CHECK_OK(fkmi_pool_create(4, &pool));
    for (int i = 0; i < 3000; i++)
        CHECK(visits_each_item_once(pool, 20 + i % 50, 5));
    for (int i = 0; i < 20; i++) { /* with time to fall asleep in between */
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        CHECK(visits_each_item_once(pool, 100, 5));
    }
    fkmi_pool_free(pool);
}

struct meeting {
    unsigned everyone; /* one bit for each thread that must come */
    atomic_uint seen;
};

/* Every block waits until all threads have come: how busy the machine is does not matter, only whether each
 * thread comes at all. After the deadline the meeting has failed. */
static fkm_status meet(void *argument, int64_t begin, int64_t end, int thread)
{
    struct meeting *meeting = argument;

    (void)begin;
    (void)end;
    atomic_fetch_or(&meeting->seen, 1u << thread);
    for (int i = 0; i < 20000; i++) {
        if (atomic_load(&meeting->seen) == meeting->everyone)
            return FKM_OK;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return fkmi_fail(FKM_EINTERNAL, "only %#x of %#x came", atomic_load(&meeting->seen), meeting->everyone);
}

static bool all_threads_come(struct fkmi_pool *pool)
{
    const int n_threads = fkmi_pool_threads(pool);
    struct meeting meeting = {.everyone = (1u << n_threads) - 1};

    return fkmi_parallel(pool, n_threads, 1, meet, &meeting) == FKM_OK;
}

TEST(the_work_is_shared)
{
    struct fkmi_pool *pool;

    CHECK_OK(fkmi_pool_create(3, &pool));
    for (int i = 0; i < 200; i++) {
        if (i % 10 == 0) /* with time to fall asleep in between */
            nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
        CHECK(all_threads_come(pool));
    }
    fkmi_pool_free(pool);
}

struct fail_job {
    int64_t from; /* every block at or above it fails */
    atomic_int ran;
};

static fkm_status fail_from(void *argument, int64_t begin, int64_t end, int thread)
{
    struct fail_job *job = argument;

    (void)end;
    (void)thread;
    atomic_fetch_add(&job->ran, 1);
    if (begin < job->from)
        return FKM_OK;
    if (begin % 20 == 0)
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL); /* lets blocks above fail earlier */
    return fkmi_fail(begin % 20 == 0 ? FKM_EDATA : FKM_EIO, "block at %lld", (long long)begin);
}

TEST(the_lowest_failing_block_reaches_the_caller)
{
    for (int n_threads = 1; n_threads <= 4; n_threads++) {
        struct fkmi_pool *pool;

        CHECK_OK(fkmi_pool_create(n_threads, &pool));
        for (int round = 0; round < 50; round++) {
            struct fail_job job = {.from = 200 + 10 * round};
            char expected[32];

            snprintf(expected, sizeof expected, "block at %lld", (long long)job.from);
            CHECK_STATUS(job.from % 20 == 0 ? FKM_EDATA : FKM_EIO,
                         fkmi_parallel(pool, 100000, 10, fail_from, &job));
            CHECK_TEXT(expected, fkm_last_error());
            CHECK(atomic_load(&job.ran) >= job.from / 10 + 1);
            CHECK(atomic_load(&job.ran) < 5000); /* the rest was skipped */
        }
        CHECK(visits_each_item_once(pool, 1000, 10)); /* a failure leaves the pool usable */
        fkmi_pool_free(pool);
    }
}

struct nest_job {
    struct fkmi_pool *pool;
    atomic_int inner, wrong;
};

static fkm_status inner_body(void *argument, int64_t begin, int64_t end, int thread)
{
    struct nest_job *job = argument;

    if (thread != 0)
        atomic_fetch_add(&job->wrong, 1);
    atomic_fetch_add(&job->inner, (int)(end - begin));
    return begin >= 90 ? fkmi_fail(FKM_EINVAL, "inner") : FKM_OK;
}

static fkm_status outer_body(void *argument, int64_t begin, int64_t end, int thread)
{
    struct nest_job *job = argument;

    (void)thread;
    for (int64_t i = begin; i < end; i++)
        FKMI_TRY(fkmi_parallel(job->pool, i == 7 ? 100 : 90, 10, inner_body, job));
    return FKM_OK;
}

TEST(nested_calls_run_serially)
{
    struct nest_job job = {0};

    CHECK_OK(fkmi_pool_create(3, &job.pool));
    CHECK_OK(fkmi_parallel(job.pool, 7, 1, outer_body, &job));
    CHECK_INT(7 * 90, atomic_load(&job.inner));
    CHECK_INT(0, atomic_load(&job.wrong));
    CHECK_STATUS(FKM_EINVAL, fkmi_parallel(job.pool, 20, 1, outer_body, &job));
    CHECK_TEXT("inner", fkm_last_error());
    fkmi_pool_free(job.pool);
}

static void *call_often(void *pool)
{
    bool right = true;

    for (int i = 0; i < 300; i++)
        right = right && visits_each_item_once(pool, 200 + i, 9);
    return right ? pool : NULL;
}

TEST(callers_may_come_at_once)
{
    struct fkmi_pool *pool;
    pthread_t callers[4];
    void *result;

    CHECK_OK(fkmi_pool_create(3, &pool));
    for (int i = 0; i < 4; i++)
        CHECK_INT(0, pthread_create(&callers[i], NULL, call_often, pool));
    for (int i = 0; i < 4; i++) {
        pthread_join(callers[i], &result);
        CHECK(result == pool);
    }
    fkmi_pool_free(pool);
}

/* 0 when `child` saw what it should. */
static int in_child(int (*child)(struct fkmi_pool *pool), struct fkmi_pool *pool)
{
    const pid_t process = fork();
    int status = -1;

    if (process == 0)
        _exit(child(pool));
    if (process < 0 || waitpid(process, &status, 0) != process)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int work_in_child(struct fkmi_pool *pool)
{
    alarm(100);
    for (int i = 0; i < 20; i++)
        if (!visits_each_item_once(pool, 500, 3))
            return 1;
    if (!all_threads_come(pool))
        return 2; /* the child has no threads of its own */
    fkmi_pool_free(pool);
    return 0;
}

static int free_in_child(struct fkmi_pool *pool)
{
    alarm(100);
    fkmi_pool_free(pool);
    return 0;
}

TEST(a_forked_child_starts_its_own_threads)
{
    struct fkmi_pool *pool;

    if (!THREADS_AFTER_FORK)
        test_skip("no threads after fork under this sanitizer");
    CHECK_OK(fkmi_pool_create(3, &pool));
    CHECK(visits_each_item_once(pool, 500, 3));
    CHECK_INT(0, in_child(work_in_child, pool)); /* workers still spinning */
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    CHECK_INT(0, in_child(work_in_child, pool)); /* workers asleep */
    CHECK_INT(0, in_child(free_in_child, pool));
    CHECK(visits_each_item_once(pool, 500, 3));
    fkmi_pool_free(pool);
}

static fkm_status add_items(void *argument, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    atomic_fetch_add((atomic_int *)argument, (int)(end - begin));
    return FKM_OK;
}

/* Allocates nothing: a sanitizer's allocator does not survive a fork while it is in use. */
static void *keep_busy(void *argument)
{
    struct nest_job *job = argument;

    while (atomic_load(&job->wrong) == 0) {
        atomic_int items = 0;

        if (fkmi_parallel(job->pool, 400, 1, add_items, &items) != FKM_OK || atomic_load(&items) != 400)
            return NULL;
    }
    return job;
}

TEST(a_fork_in_the_middle_of_another_callers_work)
{
    struct nest_job job = {0};
    pthread_t caller;
    void *result;
    int failed = 0;

    if (!THREADS_AFTER_FORK)
        test_skip("no threads after fork under this sanitizer");
    CHECK_OK(fkmi_pool_create(3, &job.pool));
    CHECK_INT(0, pthread_create(&caller, NULL, keep_busy, &job));
    for (int i = 0; i < 20; i++)
        failed += in_child(work_in_child, job.pool) != 0;
    atomic_store(&job.wrong, 1);
    pthread_join(caller, &result);
    CHECK(result == &job);
    CHECK_INT(0, failed);
    fkmi_pool_free(job.pool);
}

static void *start_the_pool(void *argument)
{
    struct nest_job *job = argument;
    atomic_int items = 0;

    return fkmi_parallel(job->pool, 400, 1, add_items, &items) == FKM_OK ? job : NULL;
}

static int share_in_child(struct fkmi_pool *pool)
{
    alarm(100);
    return all_threads_come(pool) ? 0 : 2;
}

/* The child must not count on the thread that was starting the workers: it has no such thread. */
TEST(a_fork_while_another_caller_starts_the_threads)
{
    int failed = 0;

    if (!FORK_WHILE_THREADS_START)
        test_skip("no threads after fork under this sanitizer");
    for (int i = 0; i < 60; i++) {
        struct nest_job job = {0};
        pthread_t caller;
        void *result;

        CHECK_OK(fkmi_pool_create(30, &job.pool)); /* many, so that starting them takes a while */
        CHECK_INT(0, pthread_create(&caller, NULL, start_the_pool, &job));
        nanosleep(&(struct timespec){.tv_nsec = i * 5000}, NULL); /* to meet it at different places */
        failed += in_child(share_in_child, job.pool) != 0;
        pthread_join(caller, &result);
        CHECK(result == &job);
        fkmi_pool_free(job.pool);
    }
    CHECK_INT(0, failed);
}
