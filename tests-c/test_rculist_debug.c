/* SPDX-License-Identifier: GPL-2.0-only */
/* rculist.h compiled with TDPMMU_RCU_DEBUG: who walks needs a reader, or says why not. */
#define TDPMMU_RCU_DEBUG
#include "rcu_helpers.h"

struct item {
    struct list_head link;
    struct hlist_node node;
};

static struct item items[3];
static LIST_HEAD(head);
static HLIST_HEAD(chain);
static struct item *pos;
static unsigned steps, asked;

static bool answer(bool yes)
{
    asked++;
    return yes;
}

static void fill(void)
{
    INIT_LIST_HEAD(&head);
    INIT_HLIST_HEAD(&chain);
    for (int i = 0; i < 3; i++) {
        list_add_tail_rcu(&items[i].link, &head);
        hlist_add_head_rcu(&items[i].node, &chain);
    }
    steps = asked = 0;
}

/* One warning for a walk, and the walk is made. */
static void without_a_reader(void **state)
{
    (void)state;
    fill();
    list_for_each_entry_rcu(pos, &head, link)
        steps++;
    assert_one_warning("without_a_reader");
    assert_int_equal(last_warning.kind, TDPMMU_WARN_LOCK);
    list_for_each_entry_rcu(pos, &head, link, answer(false))
        steps++;
    assert_one_warning("without_a_reader");
    hlist_for_each_entry_rcu(pos, &chain, node)
        steps++;
    assert_one_warning("without_a_reader");
    hlist_for_each_entry_rcu(pos, &chain, node, answer(false))
        steps++;
    assert_one_warning("without_a_reader");
    hlist_for_each_entry_rcu_bh(pos, &chain, node)
        steps++;
    assert_true(warnings() > 0); /* each load is looked at */
    assert_int_equal(steps, 5 * 3);
    assert_int_equal(asked, 2); /* once for a walk */
}

static void with_a_lock_instead(void **state)
{
    (void)state;
    fill();
    list_for_each_entry_rcu(pos, &head, link, answer(true))
        steps++;
    hlist_for_each_entry_rcu(pos, &chain, node, answer(true))
        steps++;
    assert_int_equal(steps, 2 * 3);
    assert_int_equal(asked, 2);
}

static void with_a_reader(void **state)
{
    (void)state;
    fill();
    rcu_read_lock_bh();
    list_for_each_entry_rcu(pos, &head, link)
        steps++;
    list_for_each_entry_rcu(pos, &head, link, answer(false))
        steps++;
    hlist_for_each_entry_rcu(pos, &chain, node)
        steps++;
    hlist_for_each_entry_rcu_bh(pos, &chain, node)
        steps++;
    rcu_read_unlock_bh();
    assert_int_equal(steps, 4 * 3);
}

/* A reader of RCU is none of SRCU. */
static void walks_in_srcu(void **state)
{
    struct srcu_struct domain;
    int reader;

    (void)state;
    fill();
    assert_int_equal(init_srcu_struct(&domain), 0);
    rcu_read_lock();
    list_for_each_entry_srcu(pos, &head, link, srcu_read_lock_held(&domain))
        steps++;
    assert_one_warning("walks_in_srcu");
    hlist_for_each_entry_srcu(pos, &chain, node, srcu_read_lock_held(&domain))
        steps++;
    assert_one_warning("walks_in_srcu");
    rcu_read_unlock();
    reader = srcu_read_lock(&domain);
    list_for_each_entry_srcu(pos, &head, link, srcu_read_lock_held(&domain))
        steps++;
    hlist_for_each_entry_srcu(pos, &chain, node, srcu_read_lock_held(&domain))
        steps++;
    srcu_read_unlock(&domain, reader);
    assert_int_equal(steps, 4 * 3);
    cleanup_srcu_struct(&domain);
}

static void no_reader_needed(void **state)
{
    (void)state;
    fill();
    list_for_each_entry_lockless(pos, &head, link)
        steps++;
    hlist_for_each_entry_rcu_notrace(pos, &chain, node)
        steps++;
    list_for_each_entry(pos, &head, link)
        steps++;
    assert_int_equal(steps, 3 * 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RCU_TEST(without_a_reader),
        RCU_TEST(with_a_lock_instead),
        RCU_TEST(with_a_reader),
        RCU_TEST(walks_in_srcu),
        RCU_TEST(no_reader_needed),
    };

    return cmocka_run_group_tests_name("rculist_debug", tests, NULL, NULL);
}
