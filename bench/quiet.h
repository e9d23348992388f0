/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Quiet moments, and medians: what the benchmarks share.
 *
 * Processors of a rented machine share cores with strangers.  When the other half of a core gets busy,
 * code runs up to twice as slow for milliseconds or minutes.  A probe is a short piece of work that
 * feels it: independent additions do, a chain of multiplications does not.  A sample is quiet if the
 * probes just before and after it took hardly longer than the best that is known.
 */
#ifndef QUIET_H
#define QUIET_H

#include <stdbool.h>

/* The monotonic clock, nanoseconds. */
double now_ns(void);

/*
 * A stretch of this thread's work.  Its own time is what it had of a processor; the elapsed one is for work
 * that waits for other threads.  Undisturbed: the thread lost no processor on the way, but for some hundredths.
 */
struct stretch {
    double elapsed_ns, own_ns;
    long switches;
};
struct stretch stretch_begin(void);
void stretch_end(struct stretch *stretch);
bool stretch_is_undisturbed(const struct stretch *stretch);

/* How slow this processor is just now, and the slower of two at once; ns, about 60 us of work. */
double quiet_probe(void);
double quiet_probe_pair(void);

/* The best that this process saw or was told of: of another process on the same machine, say. */
double quiet_best(void);
void quiet_know(double best);

/* Is that as good as the best, but for some hundredths? */
bool quiet_is(double probe);

/* Probes until it is quiet, at most so often, with naps between; the last probe's result. */
double quiet_wait(double (*probe)(void), int times, long nap_us);

/* How many moments were waited through so far. */
extern unsigned long quiet_moments_skipped;

void nap_us(long us);

/* Sorts the values; 0 if there is none. */
double median(double *values, int count);

#endif
