/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * SRCU: RCU whose readers may sleep for as long as they like, in domains that do
 * not wait for each other.  Readers of one domain never delay a grace period of
 * another, nor one of plain RCU.
 */
#ifndef TDPMMU_SRCU_H
#define TDPMMU_SRCU_H

#include "rcu.h"

TDPMMU_BEGIN_DECLS

/*
 * Make a domain usable.  Allocates nothing.  One that has no readers, callbacks or threads that wait for it, and was
 * not cleaned up since it was initialised, is made anew, with a warning.
 * Returns 0; -EINVAL for NULL; -EBUSY, with a warning and no effect, if it is a domain already and has readers,
 * callbacks or threads that wait for it.  Any lock.
 */
int init_srcu_struct(struct srcu_struct *ssp);

/*
 * End a domain.  One that has no callbacks to run, no readers and nobody who waits may also just
 * vanish, with the memory or the plugin that it is in; the library does not look at it again.
 * Refused with a warning, and the domain stays usable, while it has
 * readers, callbacks that have not run (call srcu_barrier() first) or threads that
 * wait for it; and if it was never initialised.  Not in a reader of ssp.
 */
void cleanup_srcu_struct(struct srcu_struct *ssp);

/*
 * Begin a read-side section of the domain; nests, also with other domains, may
 * sleep.  Not for signal handlers.
 * Returns the index that srcu_read_unlock() wants, in the same thread; or, with a warning, -EINVAL (the domain was
 * never initialised) or -ENOMEM (no memory to remember the section, only from the fifth domain at once in one thread).
 * After a negative value there is no section.
 * Any lock.
 */
int srcu_read_lock(struct srcu_struct *ssp);

/*
 * End the section that srcu_read_lock() began, whose index idx is.  An index that it did not give to
 * this thread for this domain, or that was used up: a warning, no effect.
 * In a reader of ssp.
 */
void srcu_read_unlock(struct srcu_struct *ssp, int idx);

/*
 * Is the calling thread inside a read-side section of the domain that srcu_read_lock() began?
 * Any lock.
 */
bool srcu_read_lock_held(const struct srcu_struct *ssp);

/*
 * Begin a read-side section of the domain that belongs to no thread: whoever has the index that
 * is returned may end it with srcu_up_read(), also in another thread, in a callback or in a signal
 * handler.  srcu_read_lock_held() does not count it, and a thread's exit does not end it.  A
 * forked child has a copy of it.  Not for signal handlers.
 * Returns the index, or, with a warning, -EINVAL (the domain was never initialised).  Any lock.
 */
int srcu_down_read(struct srcu_struct *ssp);

/*
 * End a section that srcu_down_read() began, whose index idx is.  An index that it did not give out for this domain,
 * or gave out no more often than it was used up: a warning, no effect.  Any lock.
 */
void srcu_up_read(struct srcu_struct *ssp, int idx);

/*
 * Is the caller inside a reader of the domain?  If not, a warning of kind TDPMMU_WARN_LOCK that
 * names function.  srcu_dereference() calls it in code that is compiled with
 * TDPMMU_RCU_DEBUG defined.  In a reader of ssp.
 */
bool tdpmmu_srcu_check_reader(const struct srcu_struct *ssp, const char *function);

/*
 * Wait until every reader of the domain that was inside when the call began has
 * left.  Inside one of its readers, inside RCU, or with a VM's mmu_lock held: a warning
 * and an immediate return.  Allowed
 * inside a reader of another domain, as long as no two wait for each other.
 * No lock, not in RCU, not in a reader of ssp.
 * Follows synchronize_srcu().
 */
void synchronize_srcu(struct srcu_struct *ssp);

/* Wait as synchronize_srcu() does: every grace period here is as quick as it can be.
 * No lock, not in RCU, not in a reader of ssp. */
void synchronize_srcu_expedited(struct srcu_struct *ssp);

/*
 * Run func(head) once, in the callback thread of call_rcu(), after a grace period
 * of the domain; callbacks of one domain run in the order of the calls.  Allocates
 * nothing.  NULL, a head that is queued already, a domain never initialised: a
 * warning, no effect.  Callable inside readers and callbacks.  Any lock.
 * Follows call_srcu().
 */
void call_srcu(struct srcu_struct *ssp, struct rcu_head *head,
               void (*func)(struct rcu_head *head));

/*
 * Wait until every callback queued with call_srcu() for the domain before the call
 * has run.  Inside one of its readers, inside RCU, in a callback, or with a VM's mmu_lock
 * held: a warning and an immediate return.
 * No lock, not in RCU, not in a reader of ssp, not in an RCU callback.  Follows srcu_barrier().
 */
void srcu_barrier(struct srcu_struct *ssp);

/*
 * Polled grace periods of a domain: get a cookie for the grace period that begins next, and ask later whether it is
 * over.  start_poll_ has the callback thread run one.  A domain never
 * initialised, or a cookie that was never given out: a warning, and 0 or false.
 * Returns a cookie; or, of poll_state_, whether the cookie's grace period is over.
 * Any lock.
 */
unsigned long get_state_synchronize_srcu(struct srcu_struct *ssp);
unsigned long start_poll_synchronize_srcu(struct srcu_struct *ssp);
bool poll_state_synchronize_srcu(struct srcu_struct *ssp, unsigned long cookie);

TDPMMU_END_DECLS

/* A domain with static storage, usable from the start. */
#define DEFINE_SRCU(name) struct srcu_struct name = { &(name), { 0 } }
#define DEFINE_STATIC_SRCU(name) static DEFINE_SRCU(name)

/*
 * Load a pointer inside a reader of ssp; as rcu_dereference().  The _check form is also for those
 * who keep updaters out otherwise, or read by srcu_down_read(): condition says that they do.  Code
 * that is compiled with TDPMMU_RCU_DEBUG defined gets a warning if neither is the case.
 */
#ifdef TDPMMU_RCU_DEBUG
#define srcu_dereference_check(p, ssp, condition)                                   \
    ((void)((condition) || tdpmmu_srcu_check_reader((ssp), __func__)), rcu_dereference_raw(p))
#else
#define srcu_dereference_check(p, ssp, condition) \
    ((void)(ssp), (void)(condition), rcu_dereference_raw(p))
#endif
#define srcu_dereference(p, ssp) srcu_dereference_check(p, ssp, 0)

#endif
