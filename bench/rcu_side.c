/* SPDX-License-Identifier: GPL-2.0-only */
/* Compiled once for each SIDE_*; inlines in one, exported functions in another. */
#if defined(SIDE_TDPMMU)
#include <tdpmmu/rcu.h>
#define SIDE side_tdpmmu
#define NAME "tdpmmu"
#elif defined(SIDE_TDPMMU_EXPORTED)
#define TDPMMU_NO_INLINE
#include <tdpmmu/rcu.h>
#define SIDE side_tdpmmu_exported
#define NAME "tdpmmu"
#elif defined(SIDE_MEMB)
#define _LGPL_SOURCE
#include <urcu/urcu-memb.h>
#define SIDE side_memb
#define NAME "memb"
#elif defined(SIDE_MEMB_EXPORTED)
#include <urcu/urcu-memb.h>
#define SIDE side_memb_exported
#define NAME "memb"
#elif defined(SIDE_BP)
#define _LGPL_SOURCE
#include <urcu/urcu-bp.h>
#define SIDE side_bp
#define NAME "bp"
#elif defined(SIDE_QSBR)
#define _LGPL_SOURCE
#include <urcu/urcu-qsbr.h>
#define SIDE side_qsbr
#define NAME "qsbr"
#endif

/* liburcu's flavors under names of their own, ours as they are. */
#if defined(SIDE_MEMB) || defined(SIDE_MEMB_EXPORTED)
#define DO(what) urcu_memb_##what
#elif defined(SIDE_BP)
#define DO(what) urcu_bp_##what
#elif defined(SIDE_QSBR)
#define DO(what) urcu_qsbr_##what
#else
#define DO(what) rcu_##what
#define rcu_synchronize_rcu synchronize_rcu
#define rcu_call_rcu call_rcu
#define rcu_thread_offline tdpmmu_rcu_thread_offline
#define rcu_thread_online tdpmmu_rcu_thread_online
#define rcu_register_thread() ((void)tdpmmu_rcu_register_thread())
#define rcu_unregister_thread tdpmmu_rcu_unregister_thread
#endif
#ifdef SIDE_QSBR
#define QUIESCENT() urcu_qsbr_quiescent_state()
#else
#define QUIESCENT() ((void)0)
#endif

#include "rcu_side.h"

#define FORGET() __asm__ volatile("" ::: "memory")

static void side_register(void)
{
    DO(register_thread)();
}

static void side_unregister(void)
{
    DO(unregister_thread)();
}

/* Only to qsbr does it make a difference; the others' idle threads are merely outside. */
static void side_go_idle(void)
{
#ifdef SIDE_QSBR
    urcu_qsbr_thread_offline();
#endif
}

static void side_come_back(void)
{
#ifdef SIDE_QSBR
    urcu_qsbr_thread_online();
#endif
}

static void side_pairs(unsigned long count)
{
    for (unsigned long i = 0; i < count; i++) {
        DO(read_lock)();
        FORGET();
        DO(read_unlock)();
    }
}

static void side_nested(unsigned long count)
{
    DO(read_lock)();
    FORGET();
    side_pairs(count);
    FORGET();
    DO(read_unlock)();
}

static void side_read_until(int *stop)
{
    while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
        side_pairs(50);
        QUIESCENT();
    }
}

static void side_synchronize(unsigned long count)
{
    for (unsigned long i = 0; i < count; i++)
        DO(synchronize_rcu)();
}

static void count_callback(struct rcu_head *head)
{
    (void)head;
    callbacks_run++;
}

static void side_enqueue(void *heads, unsigned long count)
{
    struct rcu_head *head = heads;

    for (unsigned long i = 0; i < count; i++)
        DO(call_rcu)(&head[i], count_callback);
}

static void side_lock(void)
{
    DO(read_lock)();
}

static void side_unlock(void)
{
    DO(read_unlock)();
}

static void side_barrier(void)
{
    DO(barrier)();
}

const struct rcu_side SIDE = {
    NAME, side_register, side_unregister, side_go_idle, side_come_back, side_pairs, side_nested,
    side_read_until, side_synchronize, side_enqueue, side_lock, side_unlock, side_barrier,
    sizeof(struct rcu_head),
};
