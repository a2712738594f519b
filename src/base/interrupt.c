/* interrupt.c — whom to ask, and when. All of it is the thread's own: a worker's user is the caller's, who asks.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/interrupt.h"

#include <time.h>

#define STANDARD_PAUSE 50000000 /* nanoseconds */
#define SHORTEST_PAUSE 1000000  /* of a thread that waits */

struct asking {
    fkm_interrupt_fn *ask;
    void *user;
    int64_t next;  /* the clock at the next question */
    int64_t stops; /* answers that said stop */
    int held;
    bool now;                   /* ask is running: what it calls here is not asked about */
    const atomic_bool *stopped; /* of the call this thread helps; NULL: none */
};

static _Thread_local struct asking mine;
static atomic_int_fast64_t between = STANDARD_PAUSE;

int64_t fkmi_monotonic_nanoseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t pause_length(void) { return (int64_t)atomic_load_explicit(&between, memory_order_relaxed); }

void fkm_set_interrupt(fkm_interrupt_fn *ask, void *user)
{
    mine.ask = ask;
    mine.user = user;
    mine.next = ask ? fkmi_monotonic_nanoseconds() + pause_length() : 0;
}

bool fkmi_interruptible(void) { return mine.ask && mine.held == 0 && !mine.now && !mine.stopped; }

fkm_status fkmi_check_interrupt(void)
{
    bool stop;

    if (mine.stopped) {
        if (mine.held > 0 || !atomic_load_explicit(mine.stopped, memory_order_relaxed))
            return FKM_OK;
        return fkmi_fail(FKM_EINTERRUPTED, "interrupted");
    }
    if (!fkmi_interruptible() || fkmi_monotonic_nanoseconds() < mine.next)
        return FKM_OK;
    mine.now = true;
    stop = mine.ask(mine.user) != 0;
    mine.now = false;
    mine.next = fkmi_monotonic_nanoseconds() + pause_length();
    mine.stops += stop;
    return stop ? fkmi_fail(FKM_EINTERRUPTED, "interrupted") : FKM_OK;
}

int64_t fkmi_interrupts(void) { return mine.stops; }

void fkmi_hold_interrupts(void) { mine.held++; }
void fkmi_release_interrupts(void) { mine.held--; }

void fkmi_interrupt_follow(const atomic_bool *stopped) { mine.stopped = stopped; }

int64_t fkmi_interrupt_pause(void)
{
    const int64_t length = pause_length();

    return length > SHORTEST_PAUSE ? length : SHORTEST_PAUSE;
}

void fkmi_interrupt_every(int64_t nanoseconds)
{
    atomic_store(&between, nanoseconds < 0 ? STANDARD_PAUSE : nanoseconds);
}
