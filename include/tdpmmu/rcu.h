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
 * plus the nesting depth in the low 15 bits.  A grace period that has to sleep until
 * this reader leaves sets TDPMMU_RCU_WAKE, which leads the last unlock astray.
 */
#define TDPMMU_RCU_NEST_MASK UINT64_C(0x7fff)
#define TDPMMU_RCU_WAKE UINT64_C(0x8000)
#define TDPMMU_RCU_IDLE UINT64_C(0x10000)
/* In the grace-period word: readers must run full fences (no membarrier). */
#define TDPMMU_RCU_FENCE UINT64_C(0x20000)
/* One grace period; the bits above count them. */
#define TDPMMU_RCU_GP_ONE UINT64_C(0x40000)

struct tdpmmu_rcu_reader {
    uint64_t word;  /* written by its thread, read by threads that wait for a grace period */
    uint64_t slot[7]; /* private */
};

/* The calling thread's reader. Private to the inlines below. */
extern __thread struct tdpmmu_rcu_reader tdpmmu_rcu_self
    __attribute__((tls_model("initial-exec")));

/* The grace-period word, always with nesting depth 1. Private likewise. */
extern uint64_t tdpmmu_rcu_gp;

/* The rare half of rcu_read_lock(), for the inline to call: first use, misuse, depth.  Any lock. */
void tdpmmu_rcu_read_lock_slow(void);
/* The rare half of rcu_read_unlock(), for the inline to call: a thread to wake, misuse.  In RCU. */
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
 * Begin a read-side critical section; nests up to 32767 deep, in any thread, at
 * any time, also in a signal handler.  Never blocks, takes no lock except at a
 * thread's first use (see tdpmmu_rcu_register_thread()).  Any lock.
 * Follows rcu_read_lock().
 */
void rcu_read_lock(void);

/*
 * End the innermost read-side critical section.  Without one: a warning, no
 * effect.  In RCU.  Follows rcu_read_unlock().
 */
void rcu_read_unlock(void);

#if TDPMMU_RCU_INLINE
/* gnu_inline: inlined where the compiler likes, else the exported function. */
extern inline __attribute__((gnu_inline, always_inline)) void rcu_read_lock(void)
{
    uint64_t word = __atomic_load_n(&tdpmmu_rcu_self.word, __ATOMIC_RELAXED);
    uint64_t gp;

    if (__builtin_expect(word == TDPMMU_RCU_IDLE, 1)) {
        /* Acquire: pairs with the grace period's release of a new number. */
        gp = __atomic_load_n(&tdpmmu_rcu_gp, __ATOMIC_ACQUIRE);
        __atomic_store_n(&tdpmmu_rcu_self.word, gp, __ATOMIC_RELAXED);
        /* Pairs with the membarrier (or fence) in the grace period. */
        if (__builtin_expect(gp & TDPMMU_RCU_FENCE, 0))
            __atomic_thread_fence(__ATOMIC_SEQ_CST);
        else
            __atomic_signal_fence(__ATOMIC_SEQ_CST);
        return;
    }
    /* Nested: depth 1 to 32766, and nobody to wake? */
    if (__builtin_expect((uint16_t)(word - 1) < TDPMMU_RCU_NEST_MASK - 1, 1))
        __atomic_store_n(&tdpmmu_rcu_self.word, word + 1, __ATOMIC_RELAXED);
    else
        tdpmmu_rcu_read_lock_slow();
}

extern inline __attribute__((gnu_inline, always_inline)) void rcu_read_unlock(void)
{
    uint64_t word = __atomic_load_n(&tdpmmu_rcu_self.word, __ATOMIC_RELAXED);

    if ((uint16_t)word == 1) { /* or nested, as often: neither is moved out of the way */
        /* Release: pairs with the acquiring load of the grace period's scan. */
        __atomic_store_n(&tdpmmu_rcu_self.word, TDPMMU_RCU_IDLE, __ATOMIC_RELEASE);
        return;
    }
    /* Nested: depth 2 to 32767, and nobody to wake? */
    if (__builtin_expect((uint16_t)(word - 2) < TDPMMU_RCU_NEST_MASK - 1, 1))
        __atomic_store_n(&tdpmmu_rcu_self.word, word - 1, __ATOMIC_RELAXED);
    else
        tdpmmu_rcu_read_unlock_slow();
}
#endif

/* Is the calling thread inside a read-side critical section?  Any lock. */
bool rcu_read_lock_held(void);

/*
 * Wait until every reader that was inside when the call began has left.
 * A cancellation of the thread (pthread_cancel()) is held off meanwhile, here and in all
 * functions of rcu.h and srcu.h that wait.
 * Inside a reader (it would wait for itself), or with a VM's mmu_lock held: a warning and
 * an immediate return.  No lock, not in RCU.
 */
void synchronize_rcu(void);

/*
 * Wait as synchronize_rcu() does, and the processor is not left to others meanwhile.
 * No lock, not in RCU.
 */
void synchronize_rcu_expedited(void);

/*
 * Run func(head) once, in the library's callback thread, after a grace period.
 * Allocates nothing; head must stay untouched until func runs.  Returns at once,
 * unless callbacks pile up (see tdpmmu_rcu_set_flood_limit()).  Callable inside a
 * reader and from a callback, not in a signal handler.  NULL head or func, or a
 * head that is still queued: a warning, no effect.  Any lock.  Follows call_rcu().
 *
 * func never runs inside call_rcu().  Where no thread can be started (a warning, once), and in exit
 * handlers that run after the library's own, callbacks wait for rcu_barrier(), in whose caller
 * they run then, or for a thread that can be started later.  At exit() the callback thread is
 * given 20 ms to run what is queued; what has not run when all exit handlers have is lost, and
 * a line on stderr says how many.  func has as much stack as a thread of the program has by
 * default (pthread_setattr_default_np() before the first call_rcu() changes it).  If it ends
 * its thread (pthread_exit()), or returns inside a reader: a warning, another thread goes on, the
 * reader is ended.
 */
void call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head));

/*
 * Wait until every callback queued by call_rcu() before the call has run.
 * Inside a reader or a callback, or with a VM's mmu_lock held: a warning and an immediate
 * return.  No lock, not in RCU, not in an RCU callback.  Follows rcu_barrier().
 */
void rcu_barrier(void);

/*
 * Free an object after a grace period: give it to free_object, or to free() if that is NULL.
 * head is a field of the object, less than 4096 bytes from its begin: if not, or
 * if one of the two is NULL, or head is queued: a warning, no effect.  In all else
 * as call_rcu(); rcu_barrier() waits for it too.  The macro kfree_rcu() of rcu_callback.h calls it.
 * Any lock.  Follows kvfree_call_rcu().
 */
void tdpmmu_kfree_rcu(void *object, struct rcu_head *head, void (*free_object)(void *object));

/*
 * Polled grace periods: get a cookie, and ask later whether its grace period is over.  A cookie stands for the
 * grace period that begins next after the call; it is over when poll_state_synchronize_rcu() says true, which
 * orders memory as a return from synchronize_rcu() does.
 *
 * get_state_ asks for nothing: the cookie comes true when a grace period happens
 * to run.  start_poll_ has the callback thread run one.  A cookie that was never
 * given out: a warning, and false.  Any lock.
 * Returns a cookie; or, of poll_state_, whether the cookie's grace period is over.
 */
unsigned long get_state_synchronize_rcu(void);
unsigned long start_poll_synchronize_rcu(void);
bool poll_state_synchronize_rcu(unsigned long cookie);

/*
 * Wait for a cookie's grace period, unless it is over.  A cookie that
 * was never given out, or a reader that it would wait for: a warning, and an immediate
 * return.  No lock, not in RCU.
 */
void cond_synchronize_rcu(unsigned long cookie);

/*
 * Let the calling thread join RCU now.  Threads join by themselves at their first use of RCU, and leave when they
 * exit; this is for threads that want a say in when.
 *
 * Registering is what a first use would do, and coming online is the same.  Only a thread whose very first use of RCU
 * may be in a signal handler needs
 * it: joining takes a lock (signals blocked) and may allocate if the program had
 * used up 32 thread-specific keys before the library was loaded.
 * 0, -EINVAL if the thread is exiting.  Any lock.  Follows rcu_register_thread() of liburcu.
 */
int tdpmmu_rcu_register_thread(void);
void tdpmmu_rcu_thread_online(void);

/*
 * Let the calling thread leave RCU: grace periods do not look at it any more.  A thread outside a
 * reader costs them one load, so this is for programs with very many idle threads.
 * Its next use of RCU brings it online again.  Unregistering is the same thing.
 * Inside a reader: a warning, no effect.  Any lock, not in RCU.
 * Follows rcu_unregister_thread() of liburcu.
 */
void tdpmmu_rcu_unregister_thread(void);
void tdpmmu_rcu_thread_offline(void);

/*
 * Set how long a grace period may last until the warning handler is told, and again
 * each time as much has passed: ms milliseconds, 21000 unless set; 0 means never.  The warning is
 * of kind TDPMMU_WARN_RCU, value[0] the system's number (gettid) of the thread whose
 * reader is in the way (0: one that exits), value[1] the milliseconds; its text names
 * the thread and lasts for the call only.  It comes from whatever thread waits, and
 * the handler must not wait for a grace period itself (a second warning, no wait).
 * The same time holds for SRCU, whose warning has the domain in value[0].  Any lock.
 * Follows the parameter rcu_cpu_stall_timeout.
 */
void tdpmmu_rcu_set_stall_timeout_ms(unsigned int ms);

/*
 * Set how many callbacks may wait until call_rcu() slows its caller down, by some milliseconds for every 4096
 * and never for good: one for each
 * KiB of the machine's memory unless set; callbacks 0 means never.  A reader that does not
 * leave so makes the memory grow, but cannot make anyone wait for ever; and a
 * caller inside a reader, or in a callback, is not slowed down at all.  Any lock.
 */
void tdpmmu_rcu_set_flood_limit(uint64_t callbacks);

/*
 * Is the caller inside a reader?  If not, a warning of kind TDPMMU_WARN_LOCK that
 * names function.  rcu_dereference() calls it in code that is compiled with
 * TDPMMU_RCU_DEBUG defined.  In RCU.
 */
bool tdpmmu_rcu_check_reader(const char *function);

/* Grace periods that tdpmmu_rcu_break_for_tests() can spoil. */
#define TDPMMU_BREAK_SYNC 1u      /* synchronize_rcu() */
#define TDPMMU_BREAK_EXPEDITED 2u /* synchronize_rcu_expedited() */
#define TDPMMU_BREAK_CALL 4u      /* call_rcu(), kfree_rcu() */
#define TDPMMU_BREAK_POLL 8u      /* the polled ones, and cond_synchronize_rcu() */
#define TDPMMU_BREAK_SRCU 16u     /* all of SRCU */

/*
 * Spoil grace periods, for torture tests, which must be seen to fail: from now on those named in what (bits
 * TDPMMU_BREAK_SYNC to TDPMMU_BREAK_SRCU; 0: none) do not wait for readers.  Returns whether it was done: only where
 * the environment has TDPMMU_ALLOW_BREAKING=1, else nothing happens.  Any lock.
 */
bool tdpmmu_rcu_break_for_tests(unsigned int what);

/*
 * Are readers free of fences?  Yes if the system has private expedited
 * membarrier, unless the environment has TDPMMU_RCU_FENCES=1 when the library is
 * loaded.  Any lock.
 */
bool tdpmmu_rcu_readers_fence_free(void);

TDPMMU_END_DECLS

/* What belongs to it, in headers of its own for their length. */
#include "rcu_pointer.h"
#include "rcu_reader.h"
#include "rcu_poll.h"
#include "rcu_callback.h"

#endif
