/* SPDX-License-Identifier: GPL-2.0-only */
/* rculist_nulls.h: chains that end in their number, and what that is for. */
#include "rcu_helpers.h"

struct item {
    struct hlist_nulls_node node;
    int number;
};

static struct item items[8];

static void fresh_items(void)
{
    memset(items, 0, sizeof(items));
    for (int i = 0; i < 8; i++)
        items[i].number = i;
}

/* The chain is these letters, as an updater and as a reader walks it, and ends in this number. */
static void assert_chain(struct hlist_nulls_head *head, const char *wanted, unsigned long end)
{
    struct hlist_nulls_node **place = &head->first, *at;
    char found[16] = "";
    size_t length = 0;
    struct item *pos;

    hlist_nulls_for_each_entry(pos, at, head, node) {
        found[length++] = (char)('a' + pos->number);
        assert_ptr_equal(at, &pos->node);
        assert_ptr_equal(at->pprev, place);
        place = &at->next;
    }
    assert_string_equal(found, wanted);
    assert_true(is_a_nulls(at));
    assert_int_equal(get_nulls_value(at), end);
    rcu_read_lock();
    length = 0;
    hlist_nulls_for_each_entry_rcu(pos, at, head, node)
        assert_int_equal('a' + pos->number, wanted[length++]);
    assert_int_equal(get_nulls_value(at), end);
    rcu_read_unlock();
    assert_int_equal(length, strlen(wanted));
    assert_int_equal(hlist_nulls_empty(head), !*wanted);
}

static void chains(void **state)
{
    struct hlist_nulls_head head, numbered = HLIST_NULLS_HEAD_INIT(9);
    struct hlist_nulls_node *at;
    struct item *pos;
    int steps = 0;

    (void)state;
    fresh_items();
    INIT_HLIST_NULLS_HEAD(&head, 77);
    assert_chain(&head, "", 77);
    assert_chain(&numbered, "", 9);
    assert_int_equal(NULLS_MARKER(0), 1);
    assert_int_equal(NULLS_MARKER(77), 155);
    assert_false(is_a_nulls(&items[0].node));
    hlist_nulls_add_head(&items[2].node, &head);
    hlist_nulls_add_head_rcu(&items[1].node, &head);
    hlist_nulls_add_tail_rcu(&items[3].node, &head);
    hlist_nulls_add_head(&items[0].node, &head);
    hlist_nulls_add_tail_rcu(&items[5].node, &numbered);
    assert_chain(&head, "abcd", 77);
    assert_chain(&numbered, "f", 9);
    assert_ptr_equal(hlist_nulls_first_rcu(&head), &items[0].node);
    assert_ptr_equal(hlist_nulls_next_rcu(&items[0].node), &items[1].node);
    assert_ptr_equal(hlist_nulls_entry(head.first, struct item, node), &items[0]);
    assert_ptr_equal(hlist_nulls_entry_safe(head.first, struct item, node), &items[0]);
    assert_null(hlist_nulls_entry_safe(items[3].node.next, struct item, node));
    at = &items[2].node;
    hlist_nulls_for_each_entry_from(pos, at, node)
        assert_int_equal(pos->number, 2 + steps++);
    assert_int_equal(steps, 2);
    hlist_nulls_del_rcu(&items[1].node);
    assert_ptr_equal(items[1].node.next, &items[2].node); /* who stands there goes on */
    assert_false(hlist_nulls_unhashed(&items[1].node));
    hlist_nulls_del(&items[3].node);
    assert_chain(&head, "ac", 77);
    hlist_nulls_del_init_rcu(&items[0].node);
    assert_true(hlist_nulls_unhashed(&items[0].node) && hlist_nulls_unhashed_lockless(&items[0].node));
    hlist_nulls_del_init_rcu(&items[0].node);
    assert_chain(&head, "c", 77);
    assert_false(hlist_nulls_unhashed_lockless(&items[2].node));
    hlist_nulls_add_fake(&items[6].node);
    assert_false(hlist_nulls_unhashed(&items[6].node));
    hlist_nulls_del_init_rcu(&items[6].node);
    assert_true(hlist_nulls_unhashed(&items[6].node));
    hlist_nulls_for_each_entry_safe(pos, at, &head, node)
        hlist_nulls_del_init_rcu(&pos->node);
    assert_chain(&head, "", 77);
}

/*
 * Elements go from chain to chain without a grace period.  A reader that they lead astray
 * sees another chain's end and begins anew, and so never misses the one that stays.
 */
enum { STAYS = 7, CHAINS = 2, ENOUGH = 5000000 };
static struct hlist_nulls_head table[CHAINS];
static atomic_int stop;
static atomic_ulong found, astray;

static bool look_up(unsigned long chain)
{
    struct hlist_nulls_node *at;
    struct item *pos;

    for (;;) {
        hlist_nulls_for_each_entry_rcu(pos, at, &table[chain], node)
            if (pos->number == STAYS)
                return true;
        if (get_nulls_value(at) == chain)
            return false;
        atomic_fetch_add(&astray, 1);
    }
}

static void *reader(void *unused)
{
    while (!atomic_load(&stop)) {
        rcu_read_lock();
        if (!look_up(0)) {
            EXPECT(!"the element that stays was missed");
            atomic_store(&stop, 1);
        }
        rcu_read_unlock();
        atomic_fetch_add(&found, 1);
    }
    return unused;
}

static void readers_led_astray(void **state)
{
    pthread_t threads[2];

    (void)state;
    fresh_items();
    for (int i = 0; i < CHAINS; i++)
        INIT_HLIST_NULLS_HEAD(&table[i], i);
    hlist_nulls_add_tail_rcu(&items[STAYS].node, &table[0]);
    for (int i = 0; i < STAYS; i++)
        hlist_nulls_add_head_rcu(&items[i].node, &table[0]);
    atomic_store(&stop, 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, reader, NULL), 0);
    for (unsigned i = 0; !atomic_load(&stop); i++) {
        struct hlist_nulls_node *node = &items[i % STAYS].node;

        hlist_nulls_del_rcu(node);
        hlist_nulls_add_head_rcu(node, &table[(i / STAYS + 1) % CHAINS]);
        if (i > 200000 && atomic_load(&found) > 1000 && (atomic_load(&astray) > 10 || i > ENOUGH))
            break;
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    print_message("# astray %lu times in %lu lookups\n", atomic_load(&astray), atomic_load(&found));
}

/* The same made to happen: a reader stands on an element while it moves. */
static void moved_below_a_reader(void **state)
{
    struct hlist_nulls_node *at;
    struct item *pos;
    bool seen = false;

    (void)state;
    fresh_items();
    for (int i = 0; i < CHAINS; i++)
        INIT_HLIST_NULLS_HEAD(&table[i], i);
    hlist_nulls_add_tail_rcu(&items[0].node, &table[0]);
    hlist_nulls_add_tail_rcu(&items[STAYS].node, &table[0]);
    rcu_read_lock();
    hlist_nulls_for_each_entry_rcu(pos, at, &table[0], node) {
        seen |= pos->number == STAYS;
        if (pos->number == 0) {
            hlist_nulls_del_rcu(at);
            hlist_nulls_add_head_rcu(at, &table[1]);
        }
    }
    rcu_read_unlock();
    assert_false(seen);
    assert_int_equal(get_nulls_value(at), 1);
    assert_true(look_up(0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RCU_TEST(chains),
        RCU_TEST(moved_below_a_reader),
        RCU_TEST(readers_led_astray),
    };

    return cmocka_run_group_tests_name("rculist_nulls", tests, NULL, NULL);
}
