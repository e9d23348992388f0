/* SPDX-License-Identifier: GPL-2.0-only */
/* RCU's and SRCU's exported functions, called as they must not be: one warning each,
 * and nothing has changed.  Misuse that needs more than a bad argument is in
 * test_rcu.c, test_rcu_more.c and test_srcu.c. */
#include "rcu_helpers.h"

static void never_called(struct rcu_head *head)
{
    (void)head;
    abort();
}

static void null_domains(void **state)
{
    struct rcu_head head = {0};

    (void)state;
    assert_int_equal(init_srcu_struct(NULL), -22);
    assert_one_warning("init_srcu_struct");
    cleanup_srcu_struct(NULL);
    assert_one_warning("cleanup_srcu_struct");
    assert_int_equal(srcu_read_lock(NULL), -22);
    assert_one_warning("srcu_read_lock");
    srcu_read_unlock(NULL, 0);
    assert_one_warning("srcu_read_unlock");
    assert_int_equal(srcu_down_read(NULL), -22);
    assert_one_warning("srcu_down_read");
    srcu_up_read(NULL, 0);
    assert_one_warning("srcu_up_read");
    assert_false(tdpmmu_srcu_check_reader(NULL, "here"));
    assert_one_warning("tdpmmu_srcu_check_reader");
    assert_false(srcu_read_lock_held(NULL));
    assert_one_warning("srcu_read_lock_held");
    synchronize_srcu(NULL);
    assert_one_warning("synchronize_srcu");
    synchronize_srcu_expedited(NULL);
    assert_one_warning("synchronize_srcu_expedited");
    call_srcu(NULL, &head, never_called);
    assert_one_warning("call_srcu");
    srcu_barrier(NULL);
    assert_one_warning("srcu_barrier");
    assert_int_equal(get_state_synchronize_srcu(NULL), 0);
    assert_one_warning("get_state_synchronize_srcu");
    assert_int_equal(start_poll_synchronize_srcu(NULL), 0);
    assert_one_warning("start_poll_synchronize_srcu");
    assert_false(poll_state_synchronize_srcu(NULL, 0));
    assert_one_warning("poll_state_synchronize_srcu");
}

static void null_callbacks(void **state)
{
    struct rcu_head head = {0};
    struct srcu_struct domain;

    (void)state;
    assert_int_equal(init_srcu_struct(&domain), 0);
    call_srcu(&domain, NULL, never_called);
    assert_one_warning("call_srcu");
    call_srcu(&domain, &head, NULL);
    assert_one_warning("call_srcu");
    srcu_barrier(&domain);
    cleanup_srcu_struct(&domain);
    tdpmmu_kfree_rcu(NULL, &head, NULL);
    assert_one_warning("tdpmmu_kfree_rcu");
    tdpmmu_kfree_rcu(&head, NULL, NULL);
    assert_one_warning("tdpmmu_kfree_rcu");
    tdpmmu_kfree_rcu_mightsleep(NULL, NULL);
    assert_one_warning("tdpmmu_kfree_rcu_mightsleep");
    call_rcu_hurry(NULL, never_called);
    assert_one_warning("call_rcu_hurry");
    call_rcu_hurry(&head, NULL);
    assert_one_warning("call_rcu_hurry");
}

static void null_heads(void **state)
{
    struct rcu_head head;

    (void)state;
    rcu_head_init(NULL);
    assert_one_warning("rcu_head_init");
    rcu_head_init(&head);
    assert_false(rcu_head_after_call_rcu(NULL, never_called));
    assert_one_warning("rcu_head_after_call_rcu");
    assert_false(rcu_head_after_call_rcu(&head, NULL));
    assert_one_warning("rcu_head_after_call_rcu");
}

static void never_freed(void *object)
{
    (void)object;
    abort();
}

/* It may not wait, and does not: the object stays. */
static void freeing_what_has_no_head_inside_a_reader(void **state)
{
    int object;

    (void)state;
    rcu_read_lock();
    tdpmmu_kfree_rcu_mightsleep(&object, never_freed);
    assert_one_warning("tdpmmu_kfree_rcu_mightsleep");
    rcu_read_unlock();
    rcu_barrier();
}

static void null_full_states(void **state)
{
    struct rcu_gp_oldstate full = {7};

    (void)state;
    get_completed_synchronize_rcu_full(NULL);
    assert_one_warning("get_completed_synchronize_rcu_full");
    get_state_synchronize_rcu_full(NULL);
    assert_one_warning("get_state_synchronize_rcu_full");
    start_poll_synchronize_rcu_full(NULL);
    assert_one_warning("start_poll_synchronize_rcu_full");
    start_poll_synchronize_rcu_expedited_full(NULL);
    assert_one_warning("start_poll_synchronize_rcu_expedited_full");
    assert_false(poll_state_synchronize_rcu_full(NULL));
    assert_one_warning("poll_state_synchronize_rcu_full");
    cond_synchronize_rcu_full(NULL);
    assert_one_warning("cond_synchronize_rcu_full");
    cond_synchronize_rcu_expedited_full(NULL);
    assert_one_warning("cond_synchronize_rcu_expedited_full");
    assert_false(same_state_synchronize_rcu_full(NULL, &full));
    assert_one_warning("same_state_synchronize_rcu_full");
    assert_false(same_state_synchronize_rcu_full(&full, NULL));
    assert_one_warning("same_state_synchronize_rcu_full");
    assert_false(same_state_synchronize_rcu_full(NULL, NULL));
    assert_one_warning("same_state_synchronize_rcu_full");
}

static void head_outside_its_object(void **state)
{
    struct rcu_head heads[300] = {0};

    (void)state;
    tdpmmu_kfree_rcu(&heads[1], &heads[0], NULL);
    assert_one_warning("tdpmmu_kfree_rcu");
    tdpmmu_kfree_rcu(&heads[0], &heads[256], NULL);
    assert_one_warning("tdpmmu_kfree_rcu");
}

static void cookies_never_given_out(void **state)
{
    struct rcu_gp_oldstate never = { ~0ul };
    struct srcu_struct domain;

    (void)state;
    assert_false(poll_state_synchronize_rcu(get_state_synchronize_rcu() + 1));
    assert_one_warning("poll_state_synchronize_rcu");
    assert_false(poll_state_synchronize_rcu(~0ul));
    assert_one_warning("poll_state_synchronize_rcu");
    cond_synchronize_rcu(~0ul);
    assert_one_warning("cond_synchronize_rcu");
    cond_synchronize_rcu_expedited(~0ul);
    assert_one_warning("cond_synchronize_rcu_expedited");
    assert_false(poll_state_synchronize_rcu_full(&never));
    assert_one_warning("poll_state_synchronize_rcu_full");
    cond_synchronize_rcu_full(&never);
    assert_one_warning("cond_synchronize_rcu_full");
    cond_synchronize_rcu_expedited_full(&never);
    assert_one_warning("cond_synchronize_rcu_expedited_full");
    assert_false(poll_state_synchronize_rcu(start_poll_synchronize_rcu_expedited() + 1000));
    assert_one_warning("poll_state_synchronize_rcu");
    assert_true(poll_state_synchronize_rcu(get_completed_synchronize_rcu()));
    assert_true(poll_state_synchronize_rcu(0));
    cond_synchronize_rcu(0);
    assert_false(poll_state_synchronize_rcu(start_poll_synchronize_rcu() + 1000));
    assert_one_warning("poll_state_synchronize_rcu");
    assert_int_equal(init_srcu_struct(&domain), 0);
    assert_false(poll_state_synchronize_srcu(&domain, get_state_synchronize_srcu(&domain) + 1));
    assert_one_warning("poll_state_synchronize_srcu");
    cleanup_srcu_struct(&domain);
}

static void the_rest(void **state)
{
    (void)state;
    assert_false(tdpmmu_rcu_check_reader(NULL));
    assert_one_warning("unknown");
    assert_false(tdpmmu_rcu_check_reader("here"));
    assert_one_warning("here");
    tdpmmu_rcu_lockdep_warn(NULL, NULL);
    assert_one_warning("unknown");
    tdpmmu_rcu_lockdep_warn("here", NULL);
    assert_one_warning("here");
    tdpmmu_rcu_lockdep_warn(NULL, "what");
    assert_string_equal(last_text, "what");
    assert_one_warning("unknown");
    rcu_read_lock();
    assert_true(tdpmmu_rcu_check_reader(NULL));
    synchronize_rcu_expedited();
    assert_one_warning("synchronize_rcu_expedited");
    tdpmmu_rcu_thread_offline();
    assert_one_warning("tdpmmu_rcu_thread_offline");
    tdpmmu_rcu_unregister_thread();
    assert_one_warning("tdpmmu_rcu_unregister_thread");
    tdpmmu_rcu_thread_online();
    assert_int_equal(tdpmmu_rcu_register_thread(), 0);
    rcu_read_unlock();
    tdpmmu_rcu_set_stall_timeout_ms(UINT32_MAX); /* any value means something */
    tdpmmu_rcu_set_flood_limit(UINT64_MAX);
    synchronize_rcu();
    tdpmmu_rcu_set_stall_timeout_ms(21000);
    tdpmmu_rcu_set_flood_limit(0);
    unsetenv("TDPMMU_ALLOW_BREAKING");
    assert_false(tdpmmu_rcu_break_for_tests(~0u));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RCU_TEST(null_domains),
        RCU_TEST(null_callbacks),
        RCU_TEST(null_heads),
        RCU_TEST(null_full_states),
        RCU_TEST(freeing_what_has_no_head_inside_a_reader),
        RCU_TEST(head_outside_its_object),
        RCU_TEST(cookies_never_given_out),
        RCU_TEST(the_rest),
    };

    return cmocka_run_group_tests_name("rcu_badinput", tests, NULL, NULL);
}
