/* SPDX-License-Identifier: GPL-2.0-only */
/* build: -Itests-c/rig-lists */
/* A rig that has a <linux/list.h> and its like of its own: the library's lists are made of its
 * types, whether it includes them first (test_rig_list_first.c) or later, as here. */
#ifdef RIG_FIRST
#include <linux/list.h>
#include <linux/list_nulls.h>
#include <linux/cleanup.h>
#endif
#include "rcu_helpers.h"
#include <linux/cleanup.h>
#include <linux/list.h>
#include <linux/list_nulls.h>

struct item {
    struct list_head link;
    struct hlist_node node;
    struct hlist_nulls_node nulls;
    int number;
};

static void lists_of_the_rig(void **state)
{
    struct item one = { .number = 1 }, two = { .number = 2 }, *pos;
    int sum = 0;
    LIST_HEAD(head);
    struct hlist_head chain = { NULL };

    (void)state;
    assert_int_equal(TDPMMU_OWN_LIST, 0);
    assert_int_equal(offsetof(struct list_head, next), 8);
    list_add(&one.link, &head);
    list_add_tail_rcu(&two.link, &head);
    assert_int_equal(rig_additions, 1);
    hlist_add_head_rcu(&one.node, &chain);
    hlist_add_tail_rcu(&two.node, &chain);
    rcu_read_lock();
    assert_ptr_equal(list_first_or_null_rcu(&head, struct item, link), &one);
    list_for_each_entry_rcu(pos, &head, link)
        sum = sum * 10 + pos->number;
    hlist_for_each_entry_rcu(pos, &chain, node)
        sum = sum * 10 + pos->number;
    rcu_read_unlock();
    assert_int_equal(sum, 1212);
    list_del_rcu(&one.link);
    assert_ptr_equal(head.next, &two.link);
    hlist_del_rcu(&one.node);
    assert_ptr_equal(chain.first, &two.node);
}

static void nulls_of_the_rig(void **state)
{
    struct item one = { .number = 1 }, *pos;
    struct hlist_nulls_node *at;
    struct hlist_nulls_head chain;
    int sum = 0;

    (void)state;
    INIT_HLIST_NULLS_HEAD(&chain, 5);
    hlist_nulls_add_head_rcu(&one.nulls, &chain);
    rcu_read_lock();
    hlist_nulls_for_each_entry_rcu(pos, at, &chain, nulls)
        sum += pos->number;
    rcu_read_unlock();
    assert_int_equal(sum, 1);
    assert_int_equal(get_nulls_value(at), 5);
    assert_int_equal((uintptr_t)at, NULLS_MARKER(5));
    assert_int_equal((uintptr_t)at, 13); /* the rig's marker */
}

static void guards_of_the_rig(void **state)
{
    unsigned rounds = 0;

    (void)state;
    rig_guards = 0;
    {
        guard(rcu)();
        assert_true(rcu_read_lock_held());
    }
    assert_false(rcu_read_lock_held());
    scoped_guard(rcu) {
        assert_true(rcu_read_lock_held());
        rounds++;
    }
    assert_false(rcu_read_lock_held());
    assert_int_equal(rounds, 1);
    assert_int_equal(rig_guards, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RCU_TEST(lists_of_the_rig),
        RCU_TEST(nulls_of_the_rig),
        RCU_TEST(guards_of_the_rig),
    };

    return cmocka_run_group_tests_name("rig_list", tests, NULL, NULL);
}
