/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Failures: what the system gives to the library, memory for instance, can be refused to it
 * at any one call.  A rig makes the first such call of an operation fail, then the second, and
 * so on until the operation makes no more of them:
 *
 *     for (n = 1, calls = n; calls >= n; n++) {
 *         tdpmmu_fail_nth(TDPMMU_FAIL_ANY | TDPMMU_FAIL_HERE, n);
 *         ret = the operation;
 *         calls = tdpmmu_fail_count(TDPMMU_FAIL_ANY);
 *         tdpmmu_fail_nth(TDPMMU_FAIL_ANY, 0);
 *         is ret right, is all as it was, does it work now?
 *     }
 *
 * The number of tables of one VM is limited by table_limit (struct tdpmmu_vm_config).
 */
#ifndef TDPMMU_RIG_FAIL_H
#define TDPMMU_RIG_FAIL_H

#include "types.h"

TDPMMU_BEGIN_DECLS

enum tdpmmu_fail {
    /* Memory from malloc() and the like of it; and a place for a handler that runs when a thread
     * or the process ends, which may need some. */
    TDPMMU_FAIL_ALLOCATION = 1 << 0,
    /* Address space for tables: a stretch of it, and blocks of 2 MiB that become usable. */
    TDPMMU_FAIL_MMAP = 1 << 1,
    /* A thread of the library's own: EAGAIN. */
    TDPMMU_FAIL_THREAD = 1 << 2,
    /* A sleep: it is over at once, as where a signal comes.  Waking never fails. */
    TDPMMU_FAIL_FUTEX = 1 << 3,
    /* A fence in all threads: ENOMEM, then it is made at the next attempt.  A forked child that
     * asks whether there are such fences hears that there are none. */
    TDPMMU_FAIL_MEMBARRIER = 1 << 4,
    /* A write() into a file of events: ENOSPC. */
    TDPMMU_FAIL_WRITE = 1 << 5,
    TDPMMU_FAIL_ANY = (1 << 6) - 1,

    /* With these: the n-th call and all after it. */
    TDPMMU_FAIL_ONWARDS = 1 << 8,
    /* Calls of the calling thread only, counted and failing. */
    TDPMMU_FAIL_HERE = 1 << 9,
};

/*
 * Let the n-th of the library's calls of some kinds fail, and count them from now on, in this process.  what: bits
 * of enum tdpmmu_fail, all these kinds are counted together; n: counted from 1; 0: none fails and none is
 * counted any more, as at first.  The last plan holds, for the process; a forked child has a copy.
 * A call that another thread makes just now may still go by the plan before.
 * 0, or -EINVAL (no kind, unknown bits).  Any lock.
 */
int tdpmmu_fail_nth(unsigned int what, uint64_t n);

/*
 * How many calls were counted by the last plan of tdpmmu_fail_nth()?  what: of which kinds, bits of
 * enum tdpmmu_fail.  The count is still there when the plan is replaced by n = 0.
 * Returns the count.  Any lock.
 */
uint64_t tdpmmu_fail_count(unsigned int what);

TDPMMU_END_DECLS

#endif
