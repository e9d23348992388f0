/* SPDX-License-Identifier: GPL-2.0-only */
/* Ordering. */
#ifndef CP_FENCE_H
#define CP_FENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)
#pragma clang assume_nonnull begin

/* Stops the compiler, not the CPU: the other side runs cp_membarrier(). */
static inline void cp_signal_fence(void)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

#ifdef TDPMMU_SCHEDULE_POINTS
void cp_yield(void);
#endif

static inline void cp_cpu_relax(void)
{
#ifdef TDPMMU_SCHEDULE_POINTS
    cp_yield();
#elif defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
#endif
}

/*
 * A full fence in every running thread of the process, and in this one.  Call
 * only where cp_has_membarrier(), as it is while tdpmmu_rcu_gp lacks TDPMMU_RCU_FENCE.
 */
void cp_membarrier(void);

/* Is there membarrier in this process?  Changes in a forked child only, before it runs. */
bool cp_has_membarrier(void);

/*
 * Full fences of a reader that begins and of the grace period it may meet, where
 * TDPMMU_RCU_FENCE is set.  A thread sanitizer sees no fences and knows nothing of
 * membarrier; so under it that bit is always set, and these tell it what they order.
 */
void cp_reader_fence(void);
void cp_grace_period_fence(void);

/*
 * Likewise of a reader that has noted an SRCU section, and of a grace period just before its
 * membarrier: who begins after that sees what was before.  For all else about notes the words
 * themselves tell enough.
 */
#ifdef CP_TSAN
void cp_section_noted(void);
void cp_sections_fenced(void);
#else
static inline void cp_section_noted(void) {}
static inline void cp_sections_fenced(void) {}
#endif

/*
 * Under valgrind, declare a word initialised: call_rcu() looks at the func field
 * of a head that its caller need not have set.
 */
extern uint32_t cp_under_valgrind;
static inline uint32_t cp_under_valgrind_now(void) { return cp_under_valgrind; }
void cp_valgrind_defined(void *address, size_t bytes);

#pragma clang assume_nonnull end
#pragma GCC visibility pop

#endif
