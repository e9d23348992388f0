/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * More polled grace periods, beside get_state_, start_poll_, poll_state_ and
 * cond_synchronize_rcu() of rcu.h: expedited ones, and cookies in a struct, which the kernel
 * calls full.  Each follows the kernel's function of its name.
 */
#ifndef TDPMMU_RCU_POLL_H
#define TDPMMU_RCU_POLL_H

#include "rcu.h"

TDPMMU_BEGIN_DECLS

/* A full cookie.  The kernel has two, as expedited grace periods count apart; here none do. */
struct rcu_gp_oldstate {
    unsigned long rgos_norm;
};

/*
 * Of all cookies ever given out, so many at most are not over at one time: that of the grace
 * period that runs, and that of the next.
 */
#define NUM_ACTIVE_RCU_POLL_OLDSTATE 2
#define NUM_ACTIVE_RCU_POLL_FULL_OLDSTATE NUM_ACTIVE_RCU_POLL_OLDSTATE

/* Returns a cookie that is over, and the same as none that other functions give.  Any lock. */
unsigned long get_completed_synchronize_rcu(void);

/*
 * Have a grace period run, as start_poll_synchronize_rcu() does: the callback thread puts none off.
 * Returns its cookie.  Any lock.
 */
unsigned long start_poll_synchronize_rcu_expedited(void);

/*
 * Wait for a cookie's grace period as cond_synchronize_rcu() does, and the processor is not left to others.
 * No lock, not in RCU.
 */
void cond_synchronize_rcu_expedited(unsigned long cookie);

/*
 * Polled grace periods whose cookies are in a struct: as get_completed_synchronize_rcu(),
 * get_state_synchronize_rcu(), start_poll_synchronize_rcu() and poll_state_synchronize_rcu(), with the cookie in *rgosp.
 * NULL: a warning, no effect, false.
 * Returns, of poll_state_, whether the cookie's grace period is over.
 * Any lock.
 */
void get_completed_synchronize_rcu_full(struct rcu_gp_oldstate *rgosp);
void get_state_synchronize_rcu_full(struct rcu_gp_oldstate *rgosp);
void start_poll_synchronize_rcu_full(struct rcu_gp_oldstate *rgosp);
void start_poll_synchronize_rcu_expedited_full(struct rcu_gp_oldstate *rgosp);
bool poll_state_synchronize_rcu_full(struct rcu_gp_oldstate *rgosp);

/*
 * Wait for the grace period of the cookie in *rgosp, unless it is over; as cond_synchronize_rcu() and
 * cond_synchronize_rcu_expedited().  NULL: a warning, and an immediate return.  No lock, not in RCU.
 */
void cond_synchronize_rcu_full(struct rcu_gp_oldstate *rgosp);
void cond_synchronize_rcu_expedited_full(struct rcu_gp_oldstate *rgosp);

/*
 * Do two cookies stand for the same grace period?  Then one of them need not be kept.  NULL: a
 * warning, and false.  Any lock.
 */
bool same_state_synchronize_rcu_full(struct rcu_gp_oldstate *rgosp1, struct rcu_gp_oldstate *rgosp2);

TDPMMU_END_DECLS

/* The same of two cookies of unsigned long. */
static inline bool same_state_synchronize_rcu(unsigned long oldstate1, unsigned long oldstate2)
{
    return oldstate1 == oldstate2;
}

#endif
