/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "quiet.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define STEPS 120000
#define SLACK 1.12

static double best = 1e18;
unsigned long quiet_moments_skipped;

double now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double own_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* How often others were preferred. */
static long switches(void)
{
    struct rusage usage;

    return getrusage(RUSAGE_THREAD, &usage) ? 0 : usage.ru_nivcsw;
}

struct stretch stretch_begin(void)
{
    long before = switches();

    return (struct stretch){ .switches = before, .own_ns = own_ns(), .elapsed_ns = now_ns() };
}

void stretch_end(struct stretch *stretch)
{
    stretch->elapsed_ns = now_ns() - stretch->elapsed_ns;
    stretch->own_ns = own_ns() - stretch->own_ns;
    stretch->switches = switches() - stretch->switches;
}

bool stretch_is_undisturbed(const struct stretch *stretch)
{
    return stretch->switches == 0 || stretch->elapsed_ns < stretch->own_ns * 1.03;
}

void nap_us(long us)
{
    nanosleep(&(struct timespec){ us / 1000000, us % 1000000 * 1000 }, NULL);
}

/* Six sums that do not wait for each other keep all of a core's adders busy. */
static double probe_once(void)
{
    unsigned long a = 1, b = 2, c = 3, d = 4, e = 5, f = 6;
    double start = now_ns();

    for (unsigned long i = 0; i < STEPS; i++) {
        a += i;
        b ^= i;
        c += b;
        d ^= a;
        e += 3;
        f ^= e;
        __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
    }
    return now_ns() - start;
}

double quiet_best(void)
{
    double known;

    __atomic_load(&best, &known, __ATOMIC_RELAXED);
    return known;
}

/* Two threads may probe at once: then the better best may get lost, which does no harm. */
void quiet_know(double took)
{
    if (took < quiet_best())
        __atomic_store(&best, &took, __ATOMIC_RELAXED);
}

static double remember(double took)
{
    quiet_know(took);
    return took;
}

double quiet_probe(void)
{
    return remember(probe_once());
}

static void *probe_thread(void *result)
{
    *(double *)result = probe_once();
    return NULL;
}

double quiet_probe_pair(void)
{
    double mine, other = 0;
    pthread_t thread;

    if (pthread_create(&thread, NULL, probe_thread, &other))
        return quiet_probe();
    mine = probe_once();
    pthread_join(thread, NULL);
    return remember(mine > other ? mine : other);
}

bool quiet_is(double probe)
{
    return probe <= quiet_best() * SLACK;
}

double quiet_wait(double (*probe)(void), int times, long nap)
{
    double took = probe();

    while (!quiet_is(took) && times-- > 0) {
        __atomic_add_fetch(&quiet_moments_skipped, 1, __ATOMIC_RELAXED);
        nap_us(nap);
        took = probe();
    }
    return took;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double median(double *values, int count)
{
    if (!count)
        return 0;
    qsort(values, (size_t)count, sizeof(*values), by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}
