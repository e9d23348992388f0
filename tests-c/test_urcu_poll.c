/* SPDX-License-Identifier: GPL-2.0-only */
/* needs: urcu/flavor.h from liburcu-dev */
/*
 * A flavor's two poll functions, which liburcu has since 0.14.  Before an older one, the
 * newer flavor is declared here.
 */
#define TDPMMU_NO_LOCK_MACROS /* read_lock is also a field of a flavor */
#include <stdbool.h>

#if !__has_include(<urcu/urcu-poll.h>)
#define _URCU_POLL_H
#define _URCU_FLAVOR_H
struct rcu_head;
struct urcu_atfork {
    void (*before_fork)(void *), (*after_fork_parent)(void *), (*after_fork_child)(void *);
    void *priv;
};
struct urcu_gp_poll_state {
    unsigned long grace_period_id;
};
struct rcu_flavor_struct {
    void (*read_lock)(void), (*read_unlock)(void);
    int (*read_ongoing)(void);
    void (*read_quiescent_state)(void);
    void (*update_call_rcu)(struct rcu_head *, void (*)(struct rcu_head *));
    void (*update_synchronize_rcu)(void);
    void (*update_defer_rcu)(void (*)(void *), void *);
    void (*thread_offline)(void), (*thread_online)(void), (*register_thread)(void), (*unregister_thread)(void);
    void (*barrier)(void);
    void (*register_rculfhash_atfork)(struct urcu_atfork *), (*unregister_rculfhash_atfork)(struct urcu_atfork *);
    struct urcu_gp_poll_state (*update_start_poll_synchronize_rcu)(void);
    bool (*update_poll_state_synchronize_rcu)(struct urcu_gp_poll_state);
};
#endif

#include <tdpmmu/urcu_flavor.h>

#include "rcu_helpers.h"

static void polls_of_the_flavor(void **state)
{
    const struct rcu_flavor_struct *flavor = tdpmmu_urcu_flavor();
    struct urcu_gp_poll_state first, second;

    (void)state;
    flavor->read_lock();
    first = flavor->update_start_poll_synchronize_rcu();
    nap_ms(5);
    assert_false(flavor->update_poll_state_synchronize_rcu(first));
    flavor->read_unlock();
    while (!flavor->update_poll_state_synchronize_rcu(first)) /* nobody else asks for it */
        nap_ms(1);
    flavor->read_lock();
    second = flavor->update_start_poll_synchronize_rcu();
    assert_true(flavor->update_poll_state_synchronize_rcu(first));
    assert_false(flavor->update_poll_state_synchronize_rcu(second));
    flavor->read_unlock();
    flavor->update_synchronize_rcu();
    assert_true(flavor->update_poll_state_synchronize_rcu(second));
    second.grace_period_id += 1000;
    assert_false(flavor->update_poll_state_synchronize_rcu(second));
    assert_one_warning("poll_state_synchronize_rcu");
}

/* liburcu's macros of these names are gone, and the library's are there. */
static void names_are_the_librarys(void **state)
{
    int value = 1, other = 2, *pointer = &value;

    (void)state;
    assert_ptr_equal(rcu_xchg_pointer(&pointer, &other), &value);
    assert_ptr_equal(rcu_cmpxchg_pointer(&pointer, &value, &value), &other);
    assert_ptr_equal(rcu_cmpxchg_pointer(&pointer, &other, NULL), &other);
    rcu_set_pointer(&pointer, &value);
    rcu_read_lock();
    assert_int_equal(rcu_read_ongoing(), 1);
    assert_ptr_equal(rcu_dereference(pointer), &value);
    rcu_read_unlock();
    assert_int_equal(rcu_read_ongoing(), 0);
    assert_false(rcu_read_lock_held());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RCU_TEST(polls_of_the_flavor),
        RCU_TEST(names_are_the_librarys),
    };

    return cmocka_run_group_tests_name("urcu_poll", tests, NULL, NULL);
}
