/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Spinlocks for the kernel's test programs.  In the kernel a thread with a spinlock cannot be
 * preempted, and so is an RCU reader; some tests look at what they have given to call_rcu()
 * under one.  So here a spinlock is a mutex and a reader.
 */
#ifndef KERNEL_SUITES_SPINLOCK_H
#define KERNEL_SUITES_SPINLOCK_H

#include <pthread.h>
#include <stdbool.h>

#include <linux/rcupdate.h>

typedef pthread_mutex_t spinlock_t;
#define __SPIN_LOCK_UNLOCKED(name) (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER
#define DEFINE_SPINLOCK(name) pthread_mutex_t name = PTHREAD_MUTEX_INITIALIZER
#define spin_lock_init(lock) pthread_mutex_init(lock, NULL)

static inline void spin_lock(spinlock_t *lock)
{
    rcu_read_lock();
    pthread_mutex_lock(lock);
}

static inline void spin_unlock(spinlock_t *lock)
{
    pthread_mutex_unlock(lock);
    rcu_read_unlock();
}

/* There are no interrupts. */
#define spin_lock_nested(lock, subclass) spin_lock(lock)
#define spin_lock_bh(lock) spin_lock(lock)
#define spin_unlock_bh(lock) spin_unlock(lock)
#define spin_lock_irq(lock) spin_lock(lock)
#define spin_unlock_irq(lock) spin_unlock(lock)
#define spin_lock_irqsave(lock, flags) ((void)(flags), spin_lock(lock))
#define spin_unlock_irqrestore(lock, flags) ((void)(flags), spin_unlock(lock))

#endif
