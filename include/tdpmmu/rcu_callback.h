/* SPDX-License-Identifier: GPL-2.0-only */
/* Callbacks: what there is beside call_rcu(), rcu_barrier() and tdpmmu_kfree_rcu() of rcu.h. */
#ifndef TDPMMU_RCU_CALLBACK_H
#define TDPMMU_RCU_CALLBACK_H

#include "rcu.h"

TDPMMU_BEGIN_DECLS

typedef void (*rcu_callback_t)(struct rcu_head *head);
typedef void (*call_rcu_func_t)(struct rcu_head *head, rcu_callback_t func);

/*
 * Run func(head) after a grace period, as call_rcu() does: no callback is put off here to save power, which a hurry
 * would have to forbid.
 * Any lock.
 */
void call_rcu_hurry(struct rcu_head *head, void (*func)(struct rcu_head *head));

/*
 * Make head one that rcu_head_after_call_rcu() can be asked about.  A head that is queued, or
 * NULL: a warning, no effect.  Any lock.
 */
void rcu_head_init(struct rcu_head *head);

/*
 * Was head, after rcu_head_init(), given to call_rcu() with func?  The answer is yes from that call until
 * func begins to run: who asks must know that it does not, as inside a reader
 * that found the object.  A head in another state (other function, callback over, never
 * initialised), or NULL: a warning, and false.  Any lock.
 */
bool rcu_head_after_call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head));

/*
 * Free an object that has no head in it after a grace period: give it to free_object, or to free() if that is
 * NULL.  Allocates, and where there is no memory waits for a grace period.  NULL, or a reader that it would wait for:
 * a warning, no effect.  The macro kfree_rcu_mightsleep() calls it.  No lock, not in RCU.  Follows kvfree_call_rcu().
 */
void tdpmmu_kfree_rcu_mightsleep(void *object, void (*free_object)(void *object));

TDPMMU_END_DECLS

/* The kernel's debugging of objects on a stack, which has nothing to do here. */
#define init_rcu_head(head) ((void)(head))
#define destroy_rcu_head(head) ((void)(head))
#define init_rcu_head_on_stack(head) ((void)(head))
#define destroy_rcu_head_on_stack(head) ((void)(head))

/*
 * free(ptr) after a grace period; field is its struct rcu_head.  NULL: nothing.  Memory of
 * malloc() is all of one kind, so kvfree_rcu() is the same.  Follow kfree_rcu(), kvfree_rcu().
 */
#define kfree_rcu(ptr, field)                                                       \
    (__extension__({                                                                \
        __typeof__(*(ptr)) *object__ = (ptr);                                       \
        if (object__)                                                               \
            tdpmmu_kfree_rcu(object__, &object__->field, NULL);                     \
    }))
#define kvfree_rcu(ptr, field) kfree_rcu(ptr, field)

/* Likewise of an object without a head, where the caller may wait.  No lock, not in RCU. */
#define kfree_rcu_mightsleep(ptr)                                                   \
    (__extension__({                                                                \
        __typeof__(ptr) object__ = (ptr);                                           \
        if (object__)                                                               \
            tdpmmu_kfree_rcu_mightsleep((void *)object__, NULL);                    \
    }))
#define kvfree_rcu_mightsleep(ptr) kfree_rcu_mightsleep(ptr)

#endif
