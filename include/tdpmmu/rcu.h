/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Userspace RCU.  Readers nest, need no registration, run no fence and write
 * only their own thread's memory.  Usable alone: nothing here needs a VM.
 */
#ifndef TDPMMU_RCU_H
#define TDPMMU_RCU_H

#include "types.h"

TDPMMU_BEGIN_DECLS

/*
 * A thread's reader word: 0 never used; TDPMMU_RCU_IDLE registered, outside;
 * otherwise the grace-period word as it was when the outermost reader began,
 * plus the nesting depth in the low 16 bits.
 */
#define TDPMMU_RCU_NEST_MASK UINT64_C(0xffff)
#define TDPMMU_RCU_IDLE UINT64_C(0x10000)
/* In the grace-period word: readers must run full fences (no membarrier). */
#define TDPMMU_RCU_FENCE UINT64_C(0x20000)
/* One grace period; the bits above count them. */
#define TDPMMU_RCU_GP_ONE UINT64_C(0x40000)

struct tdpmmu_rcu_reader {
    uint64_t word;  /* written by its thread, read by whoever waits for a grace period */
    uint64_t slot[7]; /* private */
};

/* The calling thread's reader. Private to the inlines below. */
extern __thread struct tdpmmu_rcu_reader tdpmmu_rcu_self
    __attribute__((tls_model("initial-exec")));

/* The grace-period word, always with nesting depth 1. Private likewise. */
extern uint64_t tdpmmu_rcu_gp;

/* Rare halves of the inlines: first use, misuse. */
void tdpmmu_rcu_read_lock_slow(void);
void tdpmmu_rcu_read_unlock_slow(void);

/*
 * The exported twins of the inlines, and what a build that cannot inline them
 * (Swift, a thread sanitizer, -O0) calls.  Same names, same behaviour.
 */
#if defined(__swift__) || defined(__SANITIZE_THREAD__) || defined(TDPMMU_NO_INLINE)
#define TDPMMU_RCU_INLINE 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TDPMMU_RCU_INLINE 0
#endif
#endif
#ifndef TDPMMU_RCU_INLINE
#define TDPMMU_RCU_INLINE 1
#endif

/*
 * Begin a read-side critical section; nests up to 65535 deep, in any thread, at
 * any time.  Never blocks, takes no lock except at a thread's first use.
 * Follows rcu_read_lock().
 */
void rcu_read_lock(void);

/*
 * End the innermost read-side critical section.  Without one: a warning, no
 * effect.  Follows rcu_read_unlock().
 */
void rcu_read_unlock(void);

#if TDPMMU_RCU_INLINE
/* gnu_inline: inlined where the compiler likes, else the exported function. */
extern inline __attribute__((gnu_inline, always_inline)) void rcu_read_lock(void)
{
    uint64_t word = __atomic_load_n(&tdpmmu_rcu_self.word, __ATOMIC_RELAXED);
    uint64_t gp;

    if (__builtin_expect(word != TDPMMU_RCU_IDLE, 0)) {
        /* Nested, and neither for the first nor for the 65536th time? */
        if ((word & TDPMMU_RCU_NEST_MASK) - 1 < TDPMMU_RCU_NEST_MASK - 1)
            __atomic_store_n(&tdpmmu_rcu_self.word, word + 1, __ATOMIC_RELAXED);
        else
            tdpmmu_rcu_read_lock_slow();
        return;
    }
    /* Acquire: pairs with the grace period's release of a new number. */
    gp = __atomic_load_n(&tdpmmu_rcu_gp, __ATOMIC_ACQUIRE);
    __atomic_store_n(&tdpmmu_rcu_self.word, gp, __ATOMIC_RELAXED);
    /* Pairs with the membarrier (or fence) in the grace period. */
    if (__builtin_expect(gp & TDPMMU_RCU_FENCE, 0))
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    else
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

extern inline __attribute__((gnu_inline, always_inline)) void rcu_read_unlock(void)
{
    uint64_t word = __atomic_load_n(&tdpmmu_rcu_self.word, __ATOMIC_RELAXED);

    if (__builtin_expect((word & TDPMMU_RCU_NEST_MASK) != 1, 0)) {
        if (word & TDPMMU_RCU_NEST_MASK)
            __atomic_store_n(&tdpmmu_rcu_self.word, word - 1, __ATOMIC_RELAXED);
        else
            tdpmmu_rcu_read_unlock_slow();
        return;
    }
    /* Release: pairs with the acquiring load of the grace period's scan. */
    __atomic_store_n(&tdpmmu_rcu_self.word, TDPMMU_RCU_IDLE, __ATOMIC_RELEASE);
}
#endif

/* Is the calling thread inside a read-side critical section? */
bool rcu_read_lock_held(void);

/*
 * Wait until every reader that was inside when the call began has left.
 * Inside a reader: a warning and an immediate return (it would wait for itself).
 * Follows synchronize_rcu().
 */
void synchronize_rcu(void);

/*
 * Run func(head) once, in the library's callback thread, after a grace period.
 * Returns at once and allocates nothing; head must stay untouched until func
 * runs.  Callable inside a reader and from a callback.  NULL head or func, or a
 * head that is still queued: a warning, no effect.  Follows call_rcu().
 */
void call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head));

/*
 * Wait until every callback queued by call_rcu() before the call has run.
 * Inside a reader or a callback: a warning and an immediate return.
 * Follows rcu_barrier().
 */
void rcu_barrier(void);

/*
 * Are readers free of fences?  Yes if the system has private expedited
 * membarrier, unless the environment has TDPMMU_RCU_FENCES=1 when the library is
 * loaded.
 */
bool tdpmmu_rcu_readers_fence_free(void);

TDPMMU_END_DECLS

/*
 * Load a pointer that an updater publishes with rcu_assign_pointer(), for use
 * inside this reader.  Acquire, so that what it points to is seen initialised;
 * pairs with the release in rcu_assign_pointer().
 */
#define rcu_dereference(p) __atomic_load_n(&(p), __ATOMIC_ACQUIRE)
/* Publish v, initialised before, to readers. */
#define rcu_assign_pointer(p, v) __atomic_store_n(&(p), (v), __ATOMIC_RELEASE)
/* Load the pointer to look at it, not at what it points to; no reader needed. */
#define rcu_access_pointer(p) __atomic_load_n(&(p), __ATOMIC_RELAXED)
/* Store where no reader can be, or a NULL. */
#define RCU_INIT_POINTER(p, v) __atomic_store_n(&(p), (v), __ATOMIC_RELAXED)

#endif
