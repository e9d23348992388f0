/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pointers that RCU protects: publishing, loading, replacing; the kernel's names and
 * liburcu's.  p is the pointer itself, an lvalue, not its address.
 *
 * Compiled with -DTDPMMU_RCU_DEBUG, the checks are made that the kernel has under
 * CONFIG_PROVE_RCU; without, a condition c is not even evaluated.
 */
#ifndef TDPMMU_RCU_POINTER_H
#define TDPMMU_RCU_POINTER_H

#include "rcu.h"

TDPMMU_BEGIN_DECLS

/*
 * Give a warning of kind TDPMMU_WARN_LOCK: it names function and has the text, which need
 * last only for the call.  NULL: "unknown", and a text of the library's.  RCU_LOCKDEP_WARN() and the checks of
 * rcu_dereference_check() call it.  Any lock.  Follows lockdep_rcu_suspicious().
 */
void tdpmmu_rcu_lockdep_warn(const char *function, const char *text);

TDPMMU_END_DECLS

/* The kernel's sparse annotations of pointers. */
#ifndef __rcu
#define __rcu
#endif

/*
 * RCU_LOCKDEP_WARN(c, text): a warning if c, each time.  The other two are expressions, for the
 * macros of these headers: a reader, or c; and c alone.
 */
#ifdef TDPMMU_RCU_DEBUG
#define RCU_LOCKDEP_WARN(c, text)                                                   \
    do {                                                                            \
        if (c)                                                                      \
            tdpmmu_rcu_lockdep_warn(__func__, text);                                \
    } while (0)
#define TDPMMU_RCU_READER_OR(c) ((void)((c) || tdpmmu_rcu_check_reader(__func__)))
#define TDPMMU_RCU_EXPECT(c, text) ((void)((c) || (tdpmmu_rcu_lockdep_warn(__func__, text), 0)))
#else
#define RCU_LOCKDEP_WARN(c, text) ((void)sizeof(!(c)))
#define TDPMMU_RCU_READER_OR(c) ((void)sizeof(!(c)))
#define TDPMMU_RCU_EXPECT(c, text) ((void)sizeof(!(c)))
#endif

/* Loading ------------------------------------------------------------------ */

/* Without any check.  Acquire: pairs with the release in rcu_assign_pointer(). */
#define rcu_dereference_raw(p) __atomic_load_n(&(p), __ATOMIC_ACQUIRE)
#define rcu_dereference_raw_check(p) rcu_dereference_raw(p)
/*
 * Load a pointer that an updater publishes with rcu_assign_pointer(), so that what it points
 * to is seen initialised, for use inside this reader; _check: or where c says that the lock is
 * held that keeps updaters out.  There is one kind of reader, so _bh and _sched ask for no other.
 */
#define rcu_dereference_check(p, c) (TDPMMU_RCU_READER_OR(c), rcu_dereference_raw(p))
#define rcu_dereference(p) rcu_dereference_check(p, 0)
#define rcu_dereference_bh_check(p, c) rcu_dereference_check(p, c)
#define rcu_dereference_bh(p) rcu_dereference(p)
#define rcu_dereference_sched_check(p, c) rcu_dereference_check(p, c)
#define rcu_dereference_sched(p) rcu_dereference(p)
/* For updaters: c says that the lock is held that keeps others out.  No reader counts. */
#define rcu_dereference_protected(p, c)                                             \
    (TDPMMU_RCU_EXPECT(c, "rcu_dereference_protected() without its lock"), rcu_access_pointer(p))
/* Load the pointer to look at it, not at what it points to; no reader needed. */
#define rcu_access_pointer(p) __atomic_load_n(&(p), __ATOMIC_RELAXED)
/* From here on something else than RCU protects what the value p points to. */
#define rcu_pointer_handoff(p) (p)
/* A value that came from an __rcu pointer by other means than the macros above. */
#define unrcu_pointer(p) (p)

/* Storing ------------------------------------------------------------------ */

/* Publish v, initialised before, to readers. */
#define rcu_assign_pointer(p, v) __atomic_store_n(&(p), (v), __ATOMIC_RELEASE)
/* Store where no reader can be, or a NULL. */
#define RCU_INIT_POINTER(p, v) __atomic_store_n(&(p), (v), __ATOMIC_RELAXED)
/* In an initialiser: of a field, and of a variable. */
#define RCU_POINTER_INITIALIZER(p, v) .p = RCU_INITIALIZER(v)
#define RCU_INITIALIZER(v) (v)
/* Publish v instead of what p is, and that is the value; c as in rcu_dereference_protected(). */
#define rcu_replace_pointer(p, v, c)                                                \
    (__extension__({                                                                \
        __typeof__(p) replaced__ = rcu_dereference_protected(p, c);                 \
        rcu_assign_pointer(p, v);                                                   \
        replaced__;                                                                 \
    }))

/* liburcu's: these take the pointer's address ------------------------------ */

/*
 * Publish v; publish it only where old is found.  Each gives what was there and, as liburcu's, is
 * a full fence.
 */
#ifndef rcu_xchg_pointer
#define rcu_xchg_pointer(address, v) __atomic_exchange_n((address), (v), __ATOMIC_SEQ_CST)
#endif
#ifndef rcu_cmpxchg_pointer
#define rcu_cmpxchg_pointer(address, old, v)                                        \
    (__extension__({                                                                \
        __typeof__(*(address)) found__ = (old);                                     \
        (void)__atomic_compare_exchange_n((address), &found__, (v), 0, __ATOMIC_SEQ_CST, \
                                          __ATOMIC_SEQ_CST);                        \
        found__;                                                                    \
    }))
#endif
#ifndef rcu_set_pointer
#define rcu_set_pointer(address, v) rcu_assign_pointer(*(address), v)
#endif

#endif
