/* interrupt.h — asks the user of the calling thread, now and then, whether its call should stop.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BASE_INTERRUPT_H
#define FKMI_BASE_INTERRUPT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/error.h"

/* FKM_EINTERRUPTED when the call is to stop. fkmi_parallel checks before each block; loops that work long without it
 * check themselves. On any thread: one that helps looks whether the call it helps has stopped. A clock read, or less
 * when nobody registered. */
fkm_status fkmi_check_interrupt(void);
/* In the i-th turn of a loop of which `period` turns take a moment. */
static inline fkm_status fkmi_check_every(int64_t period, int64_t i)
{
    return i % period == 0 ? fkmi_check_interrupt() : FKM_OK;
}
/* How often this thread's user has said stop: a call that keeps what it has done so far must end soon after that. */
int64_t fkmi_interrupts(void);
/* True when this thread's user may be asked: where an interrupted call would need memory to undo what it did. */
bool fkmi_interruptible(void);
/* From hold to release nobody is asked on this thread: for work that must not end half-way. They nest. */
void fkmi_hold_interrupts(void);
void fkmi_release_interrupts(void);

/* ---- threads.c */

/* This thread helps others from now on: it stops when *stopped says so, and asks nobody. */
void fkmi_interrupt_follow(const atomic_bool *stopped);
int64_t fkmi_monotonic_nanoseconds(void);
/* How long a thread that waits may sleep before it checks again. */
int64_t fkmi_interrupt_pause(void);

/* ---- tests */

/* At least so many nanoseconds between two questions; 0: every check asks. Negative: the standard. */
void fkmi_interrupt_every(int64_t nanoseconds);

#endif
