/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The library's system calls as moments of a test: the program defines syscall() and
 * sched_yield(), which the library's calls come to, and a test does there what another thread
 * might do just then.  For one file of a program; x86-64.
 */
#ifndef MOMENTS_H
#define MOMENTS_H

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

/* What a test has a say in; each may be NULL, and is called in whatever thread it is. */
static struct {
    void (*_Atomic membarrier)(void);               /* before it */
    void (*_Atomic wait)(uint32_t *word, uint32_t expected); /* before a futex wait */
    void (*_Atomic woken)(void);                    /* after it */
    void (*_Atomic wake)(uint32_t *word);           /* before a wake-up */
    void (*_Atomic woke)(void);                     /* after it */
    void (*_Atomic yield)(void);
} at_moment;

/*
 * No wait of the library lasts longer in a thread that says so; one that did has missed its
 * wake-up.  (The callback thread may sleep as long as it likes.)
 */
#define LOST_SECONDS 30
static __thread bool sleeps_are_short;
static atomic_uint lost_wakeups;

static long raw_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* A futex wait without a limit gets one there, and whoever sleeps so long is counted. */
static long wait_on_futex(long word, long operation, long expected, long limit)
{
    struct timespec longest = { LOST_SECONDS, 0 };
    long result;

    if (limit || !sleeps_are_short)
        return raw_syscall(SYS_futex, word, operation, expected, limit, 0, 0);
    result = raw_syscall(SYS_futex, word, operation, expected, (long)&longest, 0, 0);
    if (result == -ETIMEDOUT)
        atomic_fetch_add(&lost_wakeups, 1);
    return result;
}

/* Takes six whatever it was given, as the C library's does, and so reads what an address sanitizer knows as no argument. */
__attribute__((visibility("default"), no_sanitize_address)) long syscall(long number, ...)
{
    long a[6], result;
    va_list list;

    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_membarrier && a[0] != 0 && at_moment.membarrier)
        at_moment.membarrier();
    if (number == SYS_futex && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAKE && at_moment.wake)
        at_moment.wake((uint32_t *)a[0]);
    if (number == SYS_futex && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT) {
        if (at_moment.wait)
            at_moment.wait((uint32_t *)a[0], (uint32_t)a[2]);
        result = wait_on_futex(a[0], a[1], (uint32_t)a[2], a[3]);
        if (at_moment.woken)
            at_moment.woken();
    } else {
        result = raw_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
        if (number == SYS_futex && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAKE && at_moment.woke)
            at_moment.woke();
    }
    if (result >= 0)
        return result;
    errno = (int)-result;
    return -1;
}

__attribute__((visibility("default"))) int sched_yield(void)
{
    if (at_moment.yield)
        at_moment.yield();
    raw_syscall(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    return 0;
}

static void forget_moments(void)
{
    at_moment.membarrier = NULL;
    at_moment.wait = NULL;
    at_moment.woken = NULL;
    at_moment.wake = NULL;
    at_moment.woke = NULL;
    at_moment.yield = NULL;
}

#endif
