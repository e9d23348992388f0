/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One thread, instruction by instruction: the CPU's trap flag stops it after each, and at one
 * of them a test does what other threads might.  Done for the first, the second, and so on to
 * the last, that is every place where this thread can be preempted once.
 *
 * What is stepped must not block SIGTRAP, as the library does at a thread's first use of it and
 * when it starts a thread: a test uses it before.  x86-64; for one file of a program.
 */
#ifndef STEPS_H
#define STEPS_H

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static __thread struct {
    long count, stop_at;
    void (*action)(void);
    bool acted;
    bool held; /* what runs now is the test's own and no place to stop at */
} stepping;

#define TRAP_FLAG "0x100"

/* From the next instruction on. */
#define BEGIN_STEPS() \
    __asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; orq $" TRAP_FLAG \
                     ", (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::: "memory", "cc")
#define END_STEPS() \
    __asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; andq $~" TRAP_FLAG \
                     ", (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::: "memory", "cc")

static void on_step(int signal_number)
{
    (void)signal_number;
    if (stepping.held || ++stepping.count != stepping.stop_at)
        return;
    stepping.acted = true;
    stepping.action();
}

static void allow_steps(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_handler = on_step;
    sigaction(SIGTRAP, &action, NULL);
}

/* Before a run: which instruction, and what then. */
static void plan_step(long stop_at, void (*action)(void))
{
    stepping.count = 0;
    stepping.stop_at = stop_at;
    stepping.action = action;
    stepping.acted = false;
    stepping.held = false;
}

/* body, stopped once; false if it had no such instruction. */
static bool run_in_steps(long stop_at, void (*action)(void), void (*body)(void))
{
    plan_step(stop_at, action);
    BEGIN_STEPS();
    body();
    END_STEPS();
    return stepping.acted;
}

#endif
