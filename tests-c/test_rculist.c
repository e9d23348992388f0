/* SPDX-License-Identifier: GPL-2.0-only */
/* rculist.h: each operation against a plain model, and walks beside an updater. */
#include "rcu_helpers.h"

struct item {
    struct list_head link;
    struct hlist_node node;
    int number;
    atomic_int alive;
    struct rcu_head rcu;
};

static struct item items[16];

static void fresh_items(void)
{
    memset(items, 0, sizeof(items));
    for (int i = 0; i < 16; i++)
        items[i].number = i;
}

/* The list, forwards as a reader sees it and backwards, is these numbers. */
static void assert_list(struct list_head *head, const char *wanted)
{
    char found[64] = "", backwards[64] = "";
    struct item *pos;
    struct list_head *at;
    size_t length = 0;

    rcu_read_lock();
    list_for_each_entry_rcu(pos, head, link)
        found[length++] = (char)('a' + pos->number);
    rcu_read_unlock();
    assert_string_equal(found, wanted);
    for (at = head->prev; at != head; at = at->prev)
        backwards[--length] = (char)('a' + list_entry(at, struct item, link)->number);
    assert_int_equal(length, 0);
    assert_string_equal(backwards, wanted);
}

static void lists(void **state)
{
    LIST_HEAD(head);
    LIST_HEAD(other);
    struct item *pos, *n;

    (void)state;
    fresh_items();
    assert_true(list_empty(&head));
    assert_null(list_first_or_null_rcu(&head, struct item, link));
    assert_list(&head, "");
    list_add_rcu(&items[1].link, &head);
    list_add_rcu(&items[0].link, &head);
    list_add_tail_rcu(&items[2].link, &head);
    list_add_tail_rcu(&items[3].link, &head);
    assert_false(list_empty(&head));
    assert_list(&head, "abcd");
    assert_ptr_equal(list_first_or_null_rcu(&head, struct item, link), &items[0]);
    list_replace_rcu(&items[2].link, &items[7].link);
    assert_list(&head, "abhd");
    assert_ptr_equal(items[2].link.next, &items[3].link); /* who stands there goes on */
    list_del_rcu(&items[0].link);
    list_del_rcu(&items[3].link);
    assert_ptr_equal(items[0].link.next, &items[1].link);
    assert_list(&head, "bh");
    list_add_tail_rcu(&items[4].link, &other);
    list_add_tail_rcu(&items[5].link, &other);
    list_splice_init_rcu(&other, &head, synchronize_rcu);
    assert_list(&head, "efbh");
    assert_list(&other, "");
    list_splice_init_rcu(&other, &head, synchronize_rcu);
    assert_list(&head, "efbh");
    pos = &items[5];
    rcu_read_lock();
    list_for_each_entry_continue_rcu(pos, &head, link) {
        assert_int_equal(pos->number, 1);
        break;
    }
    rcu_read_unlock();
    list_for_each_entry_safe(pos, n, &head, link)
        list_del_rcu(&pos->link);
    assert_list(&head, "");
}

/* What a walk saw. */
static char seen[32];
static size_t seen_length;
#define SEE(item) (seen[seen_length++] = (char)('a' + (item)->number), seen[seen_length] = 0)
#define SAW(wanted) (assert_string_equal(seen, wanted), seen_length = 0, seen[0] = 0)

static void walks_of_lists(void **state)
{
    struct list_head head, *at;
    struct item *pos;

    (void)state;
    fresh_items();
    INIT_LIST_HEAD_RCU(&head);
    assert_ptr_equal(list_next_rcu(&head), &head);
    assert_ptr_equal(list_tail_rcu(&head), &head);
    for (int i = 0; i < 4; i++)
        list_add_tail_rcu(&items[i].link, &head);
    rcu_read_lock();
    assert_ptr_equal(rcu_dereference(list_next_rcu(&head)), &items[0].link);
    assert_ptr_equal(rcu_dereference(list_tail_rcu(&head)), &items[3].link);
    assert_ptr_equal(list_entry_rcu(head.next, struct item, link), &items[0]);
    assert_ptr_equal(list_entry_lockless(head.prev, struct item, link), &items[3]);
    assert_ptr_equal(list_next_or_null_rcu(&head, &items[0].link, struct item, link), &items[1]);
    assert_null(list_next_or_null_rcu(&head, &items[3].link, struct item, link));
    assert_ptr_equal(list_first_or_null_rcu(&head, struct item, link), &items[0]);
    list_for_each_rcu(at, &head)
        SEE(list_entry(at, struct item, link));
    SAW("abcd");
    pos = &items[1];
    list_for_each_entry_continue_rcu(pos, &head, link)
        SEE(pos);
    SAW("cd");
    pos = &items[1];
    list_for_each_entry_from_rcu(pos, &head, link)
        SEE(pos);
    SAW("bcd");
    pos = &items[3];
    list_for_each_entry_continue_rcu(pos, &head, link)
        SEE(pos);
    SAW("");
    list_for_each_entry_lockless(pos, &head, link)
        SEE(pos);
    SAW("abcd");
    list_for_each_entry_rcu(pos, &head, link, 1)
        SEE(pos);
    SAW("abcd");
    list_for_each_entry_srcu(pos, &head, link, 1)
        SEE(pos);
    SAW("abcd");
    rcu_read_unlock();
    list_next_rcu(&head) = &head; /* both are lvalues */
    list_tail_rcu(&head) = &head;
    assert_list(&head, "");
}

static unsigned syncs;
static struct list_head *syncing, *taken_from;

/* Between the two halves: nothing to be seen in either. */
static void sync_and_look(void)
{
    syncs++;
    assert_list(syncing, "ab");
    assert_list(taken_from, "");
}

static void splices(void **state)
{
    LIST_HEAD(head);
    LIST_HEAD(other);

    (void)state;
    fresh_items();
    syncing = &head;
    taken_from = &other;
    syncs = 0;
    list_splice_tail_init_rcu(&other, &head, sync_and_look); /* of none: no wait either */
    list_splice_init_rcu(&other, &head, sync_and_look);
    assert_int_equal(syncs, 0);
    list_add_tail_rcu(&items[0].link, &head);
    list_add_tail_rcu(&items[1].link, &head);
    list_add_tail_rcu(&items[2].link, &other);
    list_add_tail_rcu(&items[3].link, &other);
    list_splice_tail_init_rcu(&other, &head, sync_and_look);
    assert_int_equal(syncs, 1);
    assert_list(&head, "abcd");
    assert_list(&other, "");
    list_splice_tail_init_rcu(&head, &other, synchronize_rcu);
    assert_list(&head, "");
    assert_list(&other, "abcd");
}

static void assert_chain(struct hlist_head *head, const char *wanted)
{
    struct hlist_node **from = &head->first;
    char found[64] = "";
    struct item *pos;
    size_t length = 0;

    rcu_read_lock();
    hlist_for_each_entry_rcu(pos, head, node) {
        found[length++] = (char)('a' + pos->number);
        assert_ptr_equal(pos->node.pprev, from);
        from = &pos->node.next;
    }
    rcu_read_unlock();
    assert_string_equal(found, wanted);
}

static void chains(void **state)
{
    struct hlist_head head = HLIST_HEAD_INIT;

    (void)state;
    fresh_items();
    assert_true(hlist_empty(&head));
    assert_true(hlist_unhashed(&items[0].node));
    hlist_add_head_rcu(&items[2].node, &head);
    hlist_add_head_rcu(&items[0].node, &head);
    hlist_add_before_rcu(&items[1].node, &items[2].node);
    hlist_add_behind_rcu(&items[4].node, &items[2].node);
    hlist_add_behind_rcu(&items[3].node, &items[2].node);
    assert_chain(&head, "abcde");
    hlist_replace_rcu(&items[0].node, &items[6].node);
    hlist_replace_rcu(&items[4].node, &items[7].node);
    assert_chain(&head, "gbcdh");
    hlist_del_rcu(&items[6].node);
    hlist_del_rcu(&items[2].node);
    assert_ptr_equal(items[2].node.next, &items[3].node);
    hlist_del_init_rcu(&items[7].node);
    hlist_del_init_rcu(&items[7].node);
    assert_true(hlist_unhashed(&items[7].node));
    assert_chain(&head, "bd");
    INIT_HLIST_NODE(&items[0].node);
    assert_true(hlist_unhashed(&items[0].node));
}

static void walks_of_chains(void **state)
{
    HLIST_HEAD(head);
    HLIST_HEAD(other);
    struct hlist_node *at;
    struct item *pos;

    (void)state;
    fresh_items();
    hlists_swap_heads_rcu(&head, &other); /* of none */
    for (int i = 0; i < 4; i++)
        hlist_add_tail_rcu(&items[i].node, &head);
    assert_chain(&head, "abcd");
    rcu_read_lock();
    assert_ptr_equal(rcu_dereference(hlist_first_rcu(&head)), &items[0].node);
    assert_ptr_equal(rcu_dereference(hlist_next_rcu(&items[0].node)), &items[1].node);
    assert_ptr_equal(rcu_dereference(hlist_pprev_rcu(&items[1].node)), &items[1].node);
    __hlist_for_each_rcu(at, &head)
        SEE(hlist_entry(at, struct item, node));
    SAW("abcd");
    hlist_for_each_entry_rcu(pos, &head, node, 1)
        SEE(pos);
    SAW("abcd");
    hlist_for_each_entry_srcu(pos, &head, node, 1)
        SEE(pos);
    SAW("abcd");
    hlist_for_each_entry_rcu_notrace(pos, &head, node)
        SEE(pos);
    SAW("abcd");
    hlist_for_each_entry_rcu_bh(pos, &head, node)
        SEE(pos);
    SAW("abcd");
    pos = &items[1];
    hlist_for_each_entry_continue_rcu(pos, node)
        SEE(pos);
    SAW("cd");
    pos = &items[2];
    hlist_for_each_entry_continue_rcu_bh(pos, node)
        SEE(pos);
    SAW("d");
    pos = &items[1];
    hlist_for_each_entry_from_rcu(pos, node)
        SEE(pos);
    SAW("bcd");
    pos = NULL;
    hlist_for_each_entry_from_rcu(pos, node)
        SEE(pos);
    SAW("");
    rcu_read_unlock();
    hlists_swap_heads_rcu(&head, &other); /* one of none */
    assert_chain(&head, "");
    assert_chain(&other, "abcd");
    hlist_add_tail_rcu(&items[4].node, &head);
    hlists_swap_heads_rcu(&head, &other);
    assert_chain(&head, "abcd");
    assert_chain(&other, "e");
    hlist_del_init_rcu(&items[4].node);
    assert_true(hlist_unhashed_lockless(&items[4].node));
    assert_chain(&other, "");
}

/* A reader that walks while elements come, are replaced and go. */
static LIST_HEAD(shared);
static struct hlist_head shared_chain;
static atomic_int stop;
static atomic_ulong walked;

static void *walker(void *unused)
{
    while (!atomic_load(&stop)) {
        struct item *pos;
        int last = 1 << 30;

        rcu_read_lock();
        list_for_each_entry_rcu(pos, &shared, link) {
            EXPECT(atomic_load_explicit(&pos->alive, memory_order_relaxed));
            EXPECT(pos->number < last); /* newest first */
            last = pos->number;
        }
        rcu_read_unlock();
        rcu_read_lock();
        hlist_for_each_entry_rcu(pos, &shared_chain, node)
            EXPECT(atomic_load_explicit(&pos->alive, memory_order_relaxed));
        rcu_read_unlock();
        atomic_fetch_add(&walked, 1);
    }
    return unused;
}

static void bury(struct rcu_head *head)
{
    struct item *item = container_of(head, struct item, rcu);

    atomic_store(&item->alive, 0);
    free(item);
}

static void walks_beside_an_updater(void **state)
{
    pthread_t threads[2];
    struct item *oldest;

    (void)state;
    atomic_store(&stop, 0);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, walker, NULL);
    for (int number = 0; number < 20000 || atomic_load(&walked) < 50; number++) {
        struct item *item = calloc(1, sizeof(*item));

        item->number = number;
        atomic_store(&item->alive, 1);
        list_add_rcu(&item->link, &shared);
        hlist_add_head_rcu(&item->node, &shared_chain);
        if (number < 8)
            continue;
        oldest = list_entry(shared.prev, struct item, link);
        list_del_rcu(&oldest->link);
        hlist_del_rcu(&oldest->node);
        call_rcu(&oldest->rcu, bury);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    while (!list_empty(&shared)) {
        oldest = list_entry(shared.prev, struct item, link);
        list_del_rcu(&oldest->link);
        kfree_rcu(oldest, rcu);
    }
    rcu_barrier();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RCU_TEST(lists),
        RCU_TEST(walks_of_lists),
        RCU_TEST(splices),
        RCU_TEST(chains),
        RCU_TEST(walks_of_chains),
        RCU_TEST(walks_beside_an_updater),
    };

    return cmocka_run_group_tests_name("rculist", tests, NULL, NULL);
}
