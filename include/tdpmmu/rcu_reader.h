/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The readers' other names.  The kernel has flavors for code that interrupts or is
 * preempted in different ways; a thread here has one, and all of these are
 * rcu_read_lock() and its kin.  They may be mixed, as nesting counts them together.
 */
#ifndef TDPMMU_RCU_READER_H
#define TDPMMU_RCU_READER_H

#include "rcu.h"

/* rcu_read_lock() and rcu_read_unlock(). */
static inline void rcu_read_lock_bh(void)
{
    rcu_read_lock();
}

static inline void rcu_read_unlock_bh(void)
{
    rcu_read_unlock();
}

static inline void rcu_read_lock_sched(void)
{
    rcu_read_lock();
}

static inline void rcu_read_unlock_sched(void)
{
    rcu_read_unlock();
}

static inline void rcu_read_lock_sched_notrace(void)
{
    rcu_read_lock();
}

static inline void rcu_read_unlock_sched_notrace(void)
{
    rcu_read_unlock();
}

/*
 * Is the calling thread in a reader?  Of whatever name: a true answer says what lockdep's
 * says, that a grace period waits for the caller.
 */
static inline bool rcu_read_lock_bh_held(void)
{
    return rcu_read_lock_held();
}

static inline bool rcu_read_lock_sched_held(void)
{
    return rcu_read_lock_held();
}

static inline bool rcu_read_lock_any_held(void)
{
    return rcu_read_lock_held();
}

/* liburcu's names for threads and readers, unless liburcu gave them a flavor of its own. */
#ifndef rcu_read_ongoing
static inline int rcu_read_ongoing(void)
{
    return rcu_read_lock_held();
}
#endif

#ifndef rcu_register_thread
static inline void rcu_register_thread(void)
{
    (void)tdpmmu_rcu_register_thread();
}
#endif

#ifndef rcu_unregister_thread
static inline void rcu_unregister_thread(void)
{
    tdpmmu_rcu_unregister_thread();
}
#endif

#ifndef rcu_thread_online
static inline void rcu_thread_online(void)
{
    tdpmmu_rcu_thread_online();
}
#endif

#ifndef rcu_thread_offline
static inline void rcu_thread_offline(void)
{
    tdpmmu_rcu_thread_offline();
}
#endif

/* Readers here have no quiescent states to announce. */
#ifndef rcu_quiescent_state
static inline void rcu_quiescent_state(void)
{
}
#endif

/*
 * guard(rcu)(); a reader until the end of the block, however it is left;
 * scoped_guard(rcu) statement: a reader around the statement, from which break leaves.
 * Follow the kernel's <linux/cleanup.h>, whose macros find the three names below where a rig
 * has that header.  Not in C++, where guard is a common name, nor with TDPMMU_NO_GUARD.
 */
typedef struct tdpmmu_rcu_guard {
    bool inside;
} class_rcu_t;

static inline class_rcu_t class_rcu_constructor(void)
{
    class_rcu_t guard = { true };

    rcu_read_lock();
    return guard;
}

static inline void class_rcu_destructor(class_rcu_t *guard)
{
    if (guard->inside)
        rcu_read_unlock();
}

/* What the kernel's scoped_guard() asks: not NULL while the reader is there. */
static inline void *class_rcu_lock_ptr(class_rcu_t *guard)
{
    return guard->inside ? guard : NULL;
}

#if !defined(__cplusplus) && !defined(TDPMMU_NO_GUARD)
#if defined(__has_include)
#if __has_include(<linux/cleanup.h>)
#include <linux/cleanup.h>
#endif
#endif
#ifndef guard
#define TDPMMU_PASTE_(a, b) a##b
#define TDPMMU_PASTE(a, b) TDPMMU_PASTE_(a, b)
#define TDPMMU_GUARD_(name, variable)                                               \
    class_##name##_t variable __attribute__((cleanup(class_##name##_destructor), unused)) = \
        class_##name##_constructor
#define guard(name) TDPMMU_GUARD_(name, TDPMMU_PASTE(tdpmmu_guard_, __COUNTER__))
#endif
#ifndef scoped_guard
/* The loop runs once; its second variable only says whether it has. */
#define TDPMMU_SCOPED_GUARD_(name, argument, ...)                                   \
    for (class_##name##_t scope__ __attribute__((cleanup(class_##name##_destructor))) = \
             class_##name##_constructor(argument), *done__ = NULL;                  \
         !done__; done__ = &scope__)
#define scoped_guard(...) TDPMMU_SCOPED_GUARD_(__VA_ARGS__, , )
#endif
#endif

#endif
