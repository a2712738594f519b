/* test_threads_interrupt.c — who is asked, on which thread, and what ends when the answer is to stop.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/interrupt.h"
#include "base/threads.h"
#include "support/test.h"

/* A user who counts the questions and says stop at one of them. */
struct user {
    int asked, stop_at; /* stop_at 0: never */
    pthread_t thread;
    bool elsewhere; /* asked on another thread than it registered on */
    struct fkmi_pool *pool;
    bool works; /* calls the library when asked */
};

static fkm_status count_items(void *argument, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    atomic_fetch_add((atomic_int *)argument, (int)(end - begin));
    return FKM_OK;
}

static int ask(void *argument)
{
    struct user *user = argument;
    atomic_int items = 0;

    user->asked++;
    user->elsewhere = user->elsewhere || !pthread_equal(user->thread, pthread_self());
    if (user->works && (fkmi_parallel(user->pool, 100, 1, count_items, &items) != FKM_OK || items != 100))
        user->elsewhere = true;
    return user->asked == user->stop_at;
}

/* Every check asks from here to leave_user. */
static void enter_user(struct user *user)
{
    user->thread = pthread_self();
    fkmi_interrupt_every(0);
    fkm_set_interrupt(ask, user);
}

static void leave_user(void)
{
    fkm_set_interrupt(NULL, NULL);
    fkmi_interrupt_every(-1);
}

TEST(nobody_is_asked_who_did_not_register)
{
    const int64_t before = fkmi_interrupts();

    CHECK(!fkmi_interruptible());
    CHECK_OK(fkmi_check_interrupt());
    CHECK_INT(before, fkmi_interrupts());
}

TEST(the_user_is_asked_before_each_block_and_can_stop_at_any)
{
    struct fkmi_pool *pool;

    CHECK_OK(fkmi_pool_create(1, &pool));
    for (int stop_at = 0; stop_at <= 21; stop_at++) {
        struct user user = {.stop_at = stop_at};
        const int64_t before = fkmi_interrupts();
        atomic_int items = 0;
        fkm_status status;

        enter_user(&user);
        CHECK(fkmi_interruptible());
        status = fkmi_parallel(pool, 200, 10, count_items, &items);
        leave_user();
        if (stop_at == 0 || stop_at > 20) {
            CHECK_OK(status);
            CHECK_INT(200, items);
            CHECK_INT(20, user.asked);
            CHECK_INT(before, fkmi_interrupts());
        } else {
            CHECK_STATUS(FKM_EINTERRUPTED, status);
            CHECK_TEXT("interrupted", fkm_last_error());
            CHECK_INT(10 * (stop_at - 1), items);
            CHECK_INT(stop_at, user.asked); /* never again once it has said stop */
            CHECK_INT(before + 1, fkmi_interrupts());
        }
    }
    fkmi_pool_free(pool);
}

TEST(only_the_calling_thread_is_asked)
{
    for (int n_threads = 1; n_threads <= 4; n_threads++) {
        struct fkmi_pool *pool;

        CHECK_OK(fkmi_pool_create(n_threads, &pool));
        for (int round = 0; round < 100; round++) {
            struct user user = {.stop_at = round % 10};
            atomic_int items = 0;
            fkm_status status;

            enter_user(&user);
            status = fkmi_parallel(pool, 1000, 5, count_items, &items);
            leave_user();
            CHECK(!user.elsewhere);
            if (status == FKM_OK)
                CHECK_INT(1000, items);
            else
                CHECK_STATUS(FKM_EINTERRUPTED, status);
            CHECK((status == FKM_OK) == (user.stop_at == 0 || user.asked < user.stop_at));
        }
        fkmi_pool_free(pool);
    }
}

TEST(held_work_is_done_whole)
{
    struct fkmi_pool *pool;
    struct user user = {.stop_at = 1};
    atomic_int items = 0;

    CHECK_OK(fkmi_pool_create(3, &pool));
    enter_user(&user);
    CHECK_OK(fkmi_parallel_whole(pool, 1000, 5, count_items, &items));
    fkmi_hold_interrupts();
    fkmi_hold_interrupts();
    fkmi_release_interrupts();
    CHECK_OK(fkmi_check_interrupt());
    CHECK(!fkmi_interruptible());
    CHECK_OK(fkmi_parallel(pool, 1000, 5, count_items, &items));
    CHECK_INT(0, user.asked);
    fkmi_release_interrupts();
    CHECK_STATUS(FKM_EINTERRUPTED, fkmi_check_interrupt());
    CHECK_INT(1, user.asked);
    leave_user();
    CHECK_INT(2000, items);
    fkmi_pool_free(pool);
}

TEST(questions_keep_their_distance)
{
    struct user user = {0};

    enter_user(&user);
    fkmi_interrupt_every((int64_t)3600 * 1000000000);
    fkm_set_interrupt(ask, &user);
    for (int i = 0; i < 1000; i++)
        CHECK_OK(fkmi_check_interrupt());
    leave_user();
    CHECK_INT(0, user.asked);
}

/* ---- who waits for others is asked, and they notice */

struct long_work {
    atomic_int begun;   /* blocks of workers under way */
    atomic_int ended;   /* those that an interrupt ended */
    atomic_bool nested; /* the long work is a parallel call of its own */
    struct fkmi_pool *pool;
};

static bool wait_for(const atomic_int *number, int least)
{
    for (int i = 0; i < 20000; i++) {
        if (atomic_load(number) >= least)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return false;
}

static fkm_status pass_time(void *argument, int64_t begin, int64_t end, int thread)
{
    (void)argument;
    (void)begin;
    (void)end;
    (void)thread;
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return FKM_OK;
}

/* The caller's own block is over when a worker is at its own, which never ends by itself within the test's time. */
static fkm_status work_long(void *argument, int64_t begin, int64_t end, int thread)
{
    struct long_work *work = argument;
    fkm_status status = FKM_OK;

    (void)begin;
    (void)end;
    if (thread == 0)
        return wait_for(&work->begun, 1) ? FKM_OK : fkmi_fail(FKM_EINTERNAL, "no worker came");
    atomic_fetch_add(&work->begun, 1);
    if (atomic_load(&work->nested)) {
        status = fkmi_parallel(work->pool, 20000, 1, pass_time, NULL);
    } else {
        for (int i = 0; i < 20000 && status == FKM_OK; i++) {
            pass_time(NULL, 0, 0, 0);
            status = fkmi_check_interrupt();
        }
    }
    atomic_fetch_add(&work->ended, status == FKM_EINTERRUPTED);
    return status;
}

static int stop_when_a_worker_works(void *argument)
{
    struct long_work *work = argument;

    return atomic_load(&work->begun) > 0;
}

TEST(workers_end_their_long_blocks_when_the_caller_is_told_to_stop)
{
    for (int nested = 0; nested < 2; nested++)
        for (int n_threads = 2; n_threads <= 4; n_threads++) {
            struct long_work work = {.nested = nested == 1};
            fkm_status status;

            CHECK_OK(fkmi_pool_create(n_threads, &work.pool));
            fkmi_interrupt_every(0);
            fkm_set_interrupt(stop_when_a_worker_works, &work);
            status = fkmi_parallel(work.pool, 2, 1, work_long, &work);
            leave_user();
            CHECK_STATUS(FKM_EINTERRUPTED, status);
            CHECK_TEXT("interrupted", fkm_last_error());
            CHECK(atomic_load(&work.begun) >= 1);
            CHECK_INT(atomic_load(&work.begun), atomic_load(&work.ended));
            fkmi_pool_free(work.pool);
        }
}

/* ---- nesting */

static fkm_status inner_calls(void *argument, int64_t begin, int64_t end, int thread)
{
    struct user *user = argument;
    atomic_int items = 0;

    (void)thread;
    for (int64_t i = begin; i < end; i++)
        FKMI_TRY(fkmi_parallel(user->pool, 50, 5, count_items, &items));
    return FKM_OK;
}

TEST(nested_calls_stop_too)
{
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        struct user whole = {0};

        CHECK_OK(fkmi_pool_create(n_threads, &whole.pool));
        for (int stop_at = 1; stop_at <= 30; stop_at++) {
            struct user user = {.stop_at = stop_at, .pool = whole.pool};
            fkm_status status;

            enter_user(&user);
            status = fkmi_parallel(user.pool, 30, 1, inner_calls, &user);
            leave_user();
            CHECK(!user.elsewhere);
            if (n_threads == 1) { /* blocks and the blocks inside them: 30 x 11 questions */
                CHECK_STATUS(FKM_EINTERRUPTED, status);
                CHECK_INT(stop_at, user.asked);
            } else {
                CHECK((status == FKM_EINTERRUPTED) == (user.asked >= stop_at));
            }
        }
        fkmi_pool_free(whole.pool);
    }
}

TEST(a_question_may_call_the_library)
{
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        struct user user = {.works = true};
        atomic_int items = 0;

        CHECK_OK(fkmi_pool_create(n_threads, &user.pool));
        enter_user(&user);
        CHECK_OK(fkmi_parallel(user.pool, 400, 10, count_items, &items));
        CHECK_INT(400, items);
        CHECK(n_threads > 1 || user.asked == 40); /* what it calls is not asked about */
        user.stop_at = user.asked + 1;
        CHECK_STATUS(FKM_EINTERRUPTED, fkmi_check_interrupt());
        leave_user();
        CHECK(!user.elsewhere);
        fkmi_pool_free(user.pool);
    }
}

/* ---- callers at once: each has its own user */

struct caller {
    struct fkmi_pool *pool;
    bool stops, right;
};

static void *call_often(void *argument)
{
    struct caller *caller = argument;

    caller->right = true;
    for (int i = 0; i < 200; i++) {
        struct user user = {.stop_at = caller->stops ? 1 : 0, .thread = pthread_self()};
        atomic_int items = 0;
        fkm_status status;

        fkm_set_interrupt(ask, &user);
        status = fkmi_parallel(caller->pool, 300, 7, count_items, &items);
        fkm_set_interrupt(NULL, NULL);
        if (user.elsewhere || (status == FKM_EINTERRUPTED) != (user.asked > 0 && caller->stops) ||
            (status == FKM_OK && items != 300))
            caller->right = false;
    }
    return NULL;
}

TEST(one_callers_interrupt_is_no_other_callers)
{
    struct fkmi_pool *pool;
    struct caller callers[4];
    pthread_t threads[4];

    CHECK_OK(fkmi_pool_create(3, &pool));
    fkmi_interrupt_every(0);
    for (int i = 0; i < 4; i++) {
        callers[i] = (struct caller){.pool = pool, .stops = i % 2 == 1};
        CHECK_INT(0, pthread_create(&threads[i], NULL, call_often, &callers[i]));
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        CHECK(callers[i].right);
    }
    fkmi_interrupt_every(-1);
    fkmi_pool_free(pool);
}
