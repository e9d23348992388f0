/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * liburcu's data structures on this library's RCU: tdpmmu_urcu_flavor() is a
 * flavor for cds_lfht_new_flavor() and whatever else takes one.  Needs liburcu's headers
 * (Debian: liburcu-dev); <tdpmmu.h> does not include it.
 *
 * Include it, and liburcu's own headers, before the others of this library: then
 * both agree on struct rcu_head, whose layout is the same and is checked.  liburcu's
 * macros, which make rcu_read_lock() and the rest mean one of its own flavors, are
 * taken away: those names are this library's from here on.
 */
#ifndef TDPMMU_URCU_FLAVOR_H
#define TDPMMU_URCU_FLAVOR_H

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#ifdef URCU_API_MAP
#include <urcu/map/clear.h>
#endif
#ifndef TDPMMU_TYPES_H
#include <urcu/call-rcu.h> /* types.h takes the struct rcu_head that it finds */
#endif
#include <urcu/flavor.h>
#include <urcu/pointer.h>
#ifndef TDPMMU_RCU_H
#undef rcu_dereference
#undef rcu_assign_pointer
#undef rcu_xchg_pointer
#undef rcu_cmpxchg_pointer
#undef rcu_set_pointer
#endif

#include "rcu.h"

TDPMMU_BEGIN_DECLS

/* Private: what rcu.h has inline, and may have an exported function for as well. */
static inline void tdpmmu_urcu_read_lock(void)
{
    rcu_read_lock();
}

static inline void tdpmmu_urcu_read_unlock(void)
{
    rcu_read_unlock();
}

#ifdef _URCU_POLL_H /* since liburcu 0.14, whose cookies are structs */
static inline struct urcu_gp_poll_state tdpmmu_urcu_start_poll(void)
{
    struct urcu_gp_poll_state state = { start_poll_synchronize_rcu() };

    return state;
}

static inline bool tdpmmu_urcu_poll_state(struct urcu_gp_poll_state state)
{
    return poll_state_synchronize_rcu(state.grace_period_id);
}
#endif

struct tdpmmu_urcu_deferred {
    struct rcu_head head;
    void (*function)(void *argument);
    void *argument;
};

static inline void tdpmmu_urcu_run_deferred(void *object)
{
    struct tdpmmu_urcu_deferred *deferred = (struct tdpmmu_urcu_deferred *)object;
    struct tdpmmu_urcu_deferred copy = *deferred;

    free(object);
    copy.function(copy.argument);
}

/* Private: run function(argument) after a grace period; without memory, now, after waiting for it. */
static inline void tdpmmu_urcu_defer(void (*function)(void *argument), void *argument)
{
    struct tdpmmu_urcu_deferred *deferred =
        (struct tdpmmu_urcu_deferred *)malloc(sizeof(*deferred));

    if (!deferred) {
        synchronize_rcu();
        function(argument);
        return;
    }
    deferred->function = function;
    deferred->argument = argument;
    tdpmmu_kfree_rcu(deferred, &deferred->head, tdpmmu_urcu_run_deferred);
}

/*
 * The hash table's worker thread wants to be stopped around fork().  One set of
 * handlers for each program or library that includes this header, as there is one set
 * of hash tables behind them; counted, because every table registers the same.
 */
struct tdpmmu_urcu_fork {
    pthread_mutex_t mutex;
    struct urcu_atfork *hooks;
    unsigned long users;
    bool installed;
};

static inline struct tdpmmu_urcu_fork *tdpmmu_urcu_fork_state(void)
{
    static struct tdpmmu_urcu_fork state = { PTHREAD_MUTEX_INITIALIZER, NULL, 0, false };

    return &state;
}

/* Private: the mutex is held from here to one of the other two. */
static inline void tdpmmu_urcu_before_fork(void)
{
    struct tdpmmu_urcu_fork *state = tdpmmu_urcu_fork_state();

    pthread_mutex_lock(&state->mutex);
    if (state->hooks)
        state->hooks->before_fork(state->hooks->priv);
}

static inline void tdpmmu_urcu_after_fork_parent(void)
{
    struct tdpmmu_urcu_fork *state = tdpmmu_urcu_fork_state();

    if (state->hooks)
        state->hooks->after_fork_parent(state->hooks->priv);
    pthread_mutex_unlock(&state->mutex);
}

static inline void tdpmmu_urcu_after_fork_child(void)
{
    struct tdpmmu_urcu_fork *state = tdpmmu_urcu_fork_state();

    if (state->hooks)
        state->hooks->after_fork_child(state->hooks->priv);
    pthread_mutex_unlock(&state->mutex);
}

static inline void tdpmmu_urcu_register_atfork(struct urcu_atfork *hooks)
{
    struct tdpmmu_urcu_fork *state = tdpmmu_urcu_fork_state();

    pthread_mutex_lock(&state->mutex);
    if (!state->installed)
        state->installed = pthread_atfork(tdpmmu_urcu_before_fork, tdpmmu_urcu_after_fork_parent,
                                          tdpmmu_urcu_after_fork_child) == 0;
    if (state->users++ == 0)
        state->hooks = hooks;
    pthread_mutex_unlock(&state->mutex);
}

static inline void tdpmmu_urcu_unregister_atfork(struct urcu_atfork *hooks)
{
    struct tdpmmu_urcu_fork *state = tdpmmu_urcu_fork_state();

    (void)hooks;
    pthread_mutex_lock(&state->mutex);
    if (state->users && --state->users == 0)
        state->hooks = NULL;
    pthread_mutex_unlock(&state->mutex);
}

/* This library's RCU as a flavor of liburcu; lasts as long as the program. */
static inline const struct rcu_flavor_struct *tdpmmu_urcu_flavor(void)
{
    static struct rcu_flavor_struct flavor;
    static int ready;

    if (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE)) {
        struct tdpmmu_urcu_fork *state = tdpmmu_urcu_fork_state();

        pthread_mutex_lock(&state->mutex);
        flavor.read_lock = tdpmmu_urcu_read_lock;
        flavor.read_unlock = tdpmmu_urcu_read_unlock;
        flavor.read_ongoing = rcu_read_ongoing;
        flavor.read_quiescent_state = rcu_quiescent_state;
        flavor.update_call_rcu = call_rcu;
        flavor.update_synchronize_rcu = synchronize_rcu;
        flavor.update_defer_rcu = tdpmmu_urcu_defer;
        flavor.thread_offline = tdpmmu_rcu_thread_offline;
        flavor.thread_online = tdpmmu_rcu_thread_online;
        flavor.register_thread = rcu_register_thread;
        flavor.unregister_thread = tdpmmu_rcu_unregister_thread;
        flavor.barrier = rcu_barrier;
        flavor.register_rculfhash_atfork = tdpmmu_urcu_register_atfork;
        flavor.unregister_rculfhash_atfork = tdpmmu_urcu_unregister_atfork;
#ifdef _URCU_POLL_H
        flavor.update_start_poll_synchronize_rcu = tdpmmu_urcu_start_poll;
        flavor.update_poll_state_synchronize_rcu = tdpmmu_urcu_poll_state;
#endif
        /* Release: pairs with the acquire above. */
        __atomic_store_n(&ready, 1, __ATOMIC_RELEASE);
        pthread_mutex_unlock(&state->mutex);
    }
    return &flavor;
}

TDPMMU_END_DECLS

/* With liburcu's macros, cds_lfht_new() asks for the flavor of this name. */
#ifdef URCU_API_MAP
#define rcu_flavor (*tdpmmu_urcu_flavor())
#endif

#endif
