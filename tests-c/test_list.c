/* SPDX-License-Identifier: GPL-2.0-only */
/* list.h: each operation on letters, and what is there afterwards, forwards and backwards. */
#include "rcu_helpers.h"

struct item {
    struct list_head link;
    struct hlist_node node;
};

static struct item items[26];
static LIST_HEAD(ring);
static LIST_HEAD(second);
static HLIST_HEAD(chain);
static HLIST_HEAD(another);

#define LINK(letter) (&items[(letter) - 'a'].link)
#define NODE(letter) (&items[(letter) - 'a'].node)

static char letter_of(const struct item *item)
{
    return (char)('a' + (item - items));
}

static void fill(struct list_head *head, const char *letters)
{
    INIT_LIST_HEAD(head);
    for (; *letters; letters++)
        list_add_tail(LINK(*letters), head);
}

static void assert_ring(struct list_head *head, const char *wanted)
{
    char found[32] = "", backwards[32] = "";
    size_t length = 0;
    struct list_head *at;
    struct item *pos;

    list_for_each(at, head) {
        assert_ptr_equal(at->next->prev, at);
        found[length++] = letter_of(list_entry(at, struct item, link));
    }
    assert_string_equal(found, wanted);
    assert_int_equal(list_count_nodes(head), length);
    list_for_each_entry_reverse(pos, head, link)
        backwards[--length] = letter_of(pos);
    assert_int_equal(length, 0);
    assert_string_equal(backwards, wanted);
    assert_int_equal(list_empty(head), !*wanted);
    assert_int_equal(list_empty_careful(head), !*wanted);
    assert_int_equal(list_is_singular(head), strlen(wanted) == 1);
}

static void adding_and_deleting(void **state)
{
    (void)state;
    fill(&ring, "");
    assert_ring(&ring, "");
    list_add(LINK('b'), &ring);
    list_add(LINK('a'), &ring);
    list_add_tail(LINK('c'), &ring);
    assert_ring(&ring, "abc");
    assert_true(list_is_first(LINK('a'), &ring) && !list_is_first(LINK('b'), &ring));
    assert_true(list_is_last(LINK('c'), &ring) && !list_is_last(LINK('b'), &ring));
    assert_true(list_is_head(&ring, &ring) && !list_is_head(LINK('a'), &ring));
    list_del(LINK('b'));
    assert_ring(&ring, "ac");
    assert_ptr_equal(LINK('b')->next, LIST_POISON1);
    assert_ptr_equal(LINK('b')->prev, LIST_POISON2);
    list_del_init(LINK('a'));
    assert_true(list_empty(LINK('a')));
    assert_ring(&ring, "c");
    list_del_init_careful(LINK('c'));
    assert_true(list_empty_careful(LINK('c')));
    assert_ring(&ring, "");
    list_del_init(LINK('c')); /* twice is fine */
    assert_true(list_empty(LINK('c')));
}

static void replacing(void **state)
{
    (void)state;
    fill(&ring, "abc");
    list_replace(LINK('b'), LINK('x'));
    assert_ring(&ring, "axc");
    list_replace_init(LINK('a'), LINK('y'));
    assert_ring(&ring, "yxc");
    assert_true(list_empty(LINK('a')));
    fill(&ring, "abcd");
    list_swap(LINK('a'), LINK('c'));
    assert_ring(&ring, "cbad");
    list_swap(LINK('c'), LINK('b'));
    assert_ring(&ring, "bcad");
    list_swap(LINK('c'), LINK('b'));
    assert_ring(&ring, "cbad");
    fill(&second, "xy");
    list_swap(LINK('d'), LINK('x'));
    assert_ring(&ring, "cbax");
    assert_ring(&second, "dy");
}

static void moving(void **state)
{
    (void)state;
    fill(&ring, "abcd");
    fill(&second, "xy");
    list_move(LINK('c'), &second);
    list_move_tail(LINK('a'), &second);
    assert_ring(&ring, "bd");
    assert_ring(&second, "cxya");
    list_bulk_move_tail(&ring, LINK('x'), LINK('y'));
    assert_ring(&ring, "bdxy");
    assert_ring(&second, "ca");
    list_bulk_move_tail(&ring, LINK('b'), LINK('d'));
    assert_ring(&ring, "xybd");
    list_rotate_left(&ring);
    assert_ring(&ring, "ybdx");
    list_rotate_to_front(LINK('d'), &ring);
    assert_ring(&ring, "dxyb");
    list_rotate_to_front(LINK('d'), &ring);
    assert_ring(&ring, "dxyb");
    fill(&ring, "");
    list_rotate_left(&ring);
    assert_ring(&ring, "");
}

static void cutting(void **state)
{
    (void)state;
    fill(&ring, "abcd");
    fill(&second, "x");
    list_cut_position(&second, &ring, LINK('b'));
    assert_ring(&second, "ab");
    assert_ring(&ring, "cd");
    list_cut_position(&second, &ring, &ring);
    assert_ring(&second, "");
    assert_ring(&ring, "cd");
    list_cut_position(&second, &ring, LINK('d'));
    assert_ring(&second, "cd");
    assert_ring(&ring, "");
    list_cut_position(&second, &ring, &ring); /* of an empty one: nothing */
    assert_ring(&second, "cd");
    fill(&ring, "abc");
    list_cut_before(&second, &ring, LINK('c'));
    assert_ring(&second, "ab");
    assert_ring(&ring, "c");
    list_cut_before(&second, &ring, LINK('c'));
    assert_ring(&second, "");
    assert_ring(&ring, "c");
    list_cut_before(&second, &ring, &ring);
    assert_ring(&second, "c");
    assert_ring(&ring, "");
}

static void splicing(void **state)
{
    (void)state;
    fill(&ring, "ab");
    fill(&second, "xy");
    list_splice(&second, &ring);
    assert_ring(&ring, "xyab");
    fill(&second, "cd");
    list_splice_tail(&second, &ring);
    assert_ring(&ring, "xyabcd");
    fill(&second, "ef");
    list_splice_init(&second, &ring);
    assert_ring(&ring, "efxyabcd");
    assert_ring(&second, "");
    list_splice_tail_init(&second, &ring);
    list_splice_init(&second, &ring);
    list_splice(&second, &ring);
    list_splice_tail(&second, &ring);
    assert_ring(&ring, "efxyabcd");
    assert_ring(&second, "");
    fill(&second, "g");
    list_splice_tail_init(&second, &ring);
    assert_ring(&ring, "efxyabcdg");
    assert_ring(&second, "");
}

static void entries(void **state)
{
    (void)state;
    fill(&ring, "");
    assert_null(list_first_entry_or_null(&ring, struct item, link));
    fill(&ring, "abc");
    assert_ptr_equal(list_first_entry(&ring, struct item, link), &items[0]);
    assert_ptr_equal(list_first_entry_or_null(&ring, struct item, link), &items[0]);
    assert_ptr_equal(list_last_entry(&ring, struct item, link), &items[2]);
    assert_ptr_equal(list_next_entry(&items[0], link), &items[1]);
    assert_ptr_equal(list_prev_entry(&items[2], link), &items[1]);
    assert_ptr_equal(list_next_entry_circular(&items[1], &ring, link), &items[2]);
    assert_ptr_equal(list_next_entry_circular(&items[2], &ring, link), &items[0]);
    assert_ptr_equal(list_prev_entry_circular(&items[1], &ring, link), &items[0]);
    assert_ptr_equal(list_prev_entry_circular(&items[0], &ring, link), &items[2]);
    assert_true(list_entry_is_head(list_next_entry(&items[2], link), &ring, link));
    assert_false(list_entry_is_head(&items[2], &ring, link));
}

/* What a walk saw. */
static char seen[32];
static size_t seen_length;
#define SEE(item) (seen[seen_length++] = letter_of(item), seen[seen_length] = 0)
#define SAW(wanted) (assert_string_equal(seen, wanted), seen_length = 0, seen[0] = 0)

static void walks_of_links(void **state)
{
    struct list_head *pos, *n;

    (void)state;
    fill(&ring, "abcd");
    SAW("");
    list_for_each(pos, &ring)
        SEE(list_entry(pos, struct item, link));
    SAW("abcd");
    list_for_each_prev(pos, &ring)
        SEE(list_entry(pos, struct item, link));
    SAW("dcba");
    pos = LINK('b');
    list_for_each_continue(pos, &ring)
        SEE(list_entry(pos, struct item, link));
    SAW("cd");
    list_for_each_safe(pos, n, &ring) {
        SEE(list_entry(pos, struct item, link));
        if (pos != LINK('c'))
            list_del(pos);
    }
    SAW("abcd");
    assert_ring(&ring, "c");
    list_add(LINK('b'), &ring);
    list_for_each_prev_safe(pos, n, &ring) {
        SEE(list_entry(pos, struct item, link));
        list_del(pos);
    }
    SAW("cb");
    assert_ring(&ring, "");
}

static void walks_of_entries(void **state)
{
    struct item *pos;

    (void)state;
    fill(&ring, "abcd");
    list_for_each_entry(pos, &ring, link)
        SEE(pos);
    assert_true(list_entry_is_head(pos, &ring, link));
    SAW("abcd");
    list_for_each_entry_reverse(pos, &ring, link)
        SEE(pos);
    SAW("dcba");
    pos = &items[1];
    list_for_each_entry_continue(pos, &ring, link)
        SEE(pos);
    SAW("cd");
    pos = &items[1];
    list_for_each_entry_continue_reverse(pos, &ring, link)
        SEE(pos);
    SAW("a");
    pos = &items[1];
    list_for_each_entry_from(pos, &ring, link)
        SEE(pos);
    SAW("bcd");
    pos = &items[1];
    list_for_each_entry_from_reverse(pos, &ring, link)
        SEE(pos);
    SAW("ba");
    pos = NULL;
    pos = list_prepare_entry(pos, &ring, link);
    list_for_each_entry_continue(pos, &ring, link)
        SEE(pos);
    SAW("abcd");
    pos = list_prepare_entry(&items[2], &ring, link);
    list_for_each_entry_continue(pos, &ring, link)
        SEE(pos);
    SAW("d");
}

static void safe_walks_of_entries(void **state)
{
    struct item *pos, *n;

    (void)state;
    fill(&ring, "abcde");
    list_for_each_entry_safe(pos, n, &ring, link) {
        SEE(pos);
        if (pos == &items[0])
            list_del(&pos->link);
    }
    SAW("abcde");
    assert_ring(&ring, "bcde");
    pos = &items[1];
    list_for_each_entry_safe_continue(pos, n, &ring, link) {
        SEE(pos);
        if (pos == &items[2])
            list_del(&pos->link);
    }
    SAW("cde");
    pos = &items[3];
    list_for_each_entry_safe_from(pos, n, &ring, link) {
        SEE(pos);
        if (pos == &items[3])
            list_del(&pos->link);
    }
    SAW("de");
    assert_ring(&ring, "be");
    list_for_each_entry_safe_reverse(pos, n, &ring, link) {
        SEE(pos);
        list_del(&pos->link);
    }
    SAW("eb");
    fill(&ring, "abc");
    list_for_each_entry_safe(pos, n, &ring, link) {
        SEE(pos);
        if (pos == &items[0]) {
            list_del(LINK('b')); /* which n is */
            list_safe_reset_next(pos, n, link);
        }
    }
    SAW("ac");
}

/* What was before list_del_init_careful() is seen after list_empty_careful(). */
static struct list_head waited;
static int work;

static void *takes_off(void *unused)
{
    work = 42;
    list_del_init_careful(&waited);
    return unused;
}

static void careful(void **state)
{
    pthread_t thread;

    (void)state;
    for (int i = 0; i < 200; i++) {
        fill(&ring, "");
        list_add(&waited, &ring);
        work = 0;
        assert_int_equal(pthread_create(&thread, NULL, takes_off, NULL), 0);
        while (!list_empty_careful(&waited))
            ;
        assert_int_equal(work, 42); /* a race, but for the pairing: the thread sanitizer looks */
        pthread_join(thread, NULL);
        assert_ring(&ring, "");
    }
}

/* Chains ------------------------------------------------------------------- */

static void fill_chain(struct hlist_head *head, const char *letters)
{
    INIT_HLIST_HEAD(head);
    for (size_t i = strlen(letters); i-- > 0;)
        hlist_add_head(NODE(letters[i]), head);
}

static void assert_chain(struct hlist_head *head, const char *wanted)
{
    struct hlist_node **place = &head->first, *at;
    char found[32] = "";
    size_t length = 0;

    hlist_for_each(at, head) {
        found[length++] = letter_of(hlist_entry(at, struct item, node));
        assert_ptr_equal(at->pprev, place);
        place = &at->next;
    }
    assert_string_equal(found, wanted);
    assert_int_equal(hlist_count_nodes(head), length);
    assert_int_equal(hlist_empty(head), !*wanted);
}

static void chains(void **state)
{
    struct hlist_node *loose = NODE('z');

    (void)state;
    fill_chain(&chain, "");
    assert_chain(&chain, "");
    hlist_add_head(NODE('b'), &chain);
    assert_true(hlist_is_singular_node(NODE('b'), &chain));
    hlist_add_before(NODE('a'), NODE('b'));
    hlist_add_behind(NODE('d'), NODE('b'));
    hlist_add_behind(NODE('c'), NODE('b'));
    assert_chain(&chain, "abcd");
    assert_false(hlist_is_singular_node(NODE('a'), &chain));
    assert_false(hlist_is_singular_node(NODE('d'), &chain));
    hlist_del(NODE('c'));
    assert_ptr_equal(NODE('c')->next, LIST_POISON1);
    assert_ptr_equal(NODE('c')->pprev, LIST_POISON2);
    assert_false(hlist_unhashed(NODE('c')));
    hlist_del_init(NODE('a'));
    assert_true(hlist_unhashed(NODE('a')) && hlist_unhashed_lockless(NODE('a')));
    assert_false(hlist_unhashed_lockless(NODE('b')));
    hlist_del_init(NODE('a'));
    hlist_del_init(NODE('d'));
    assert_chain(&chain, "b");
    INIT_HLIST_NODE(loose);
    assert_true(hlist_unhashed(loose));
    assert_false(hlist_fake(loose) || hlist_fake(NODE('b')));
    hlist_add_fake(loose);
    assert_true(hlist_fake(loose));
    assert_false(hlist_unhashed(loose));
    hlist_del_init(loose);
    assert_true(hlist_unhashed(loose));
    hlist_move_list(&chain, &another);
    assert_chain(&chain, "");
    assert_chain(&another, "b");
    fill_chain(&chain, "xy");
    hlist_splice_init(&chain, NODE('y'), &another);
    assert_chain(&another, "xyb");
    assert_chain(&chain, "");
    hlist_splice_init(&another, NODE('b'), &chain);
    assert_chain(&chain, "xyb");
    assert_chain(&another, "");
}

static void walks_of_chains(void **state)
{
    struct hlist_node *at, *n;
    struct item *pos;

    (void)state;
    fill_chain(&chain, "abcd");
    hlist_for_each_entry(pos, &chain, node)
        SEE(pos);
    assert_null(pos);
    SAW("abcd");
    pos = &items[1];
    hlist_for_each_entry_continue(pos, node)
        SEE(pos);
    SAW("cd");
    pos = &items[1];
    hlist_for_each_entry_from(pos, node)
        SEE(pos);
    SAW("bcd");
    hlist_for_each_entry_safe(pos, n, &chain, node) {
        SEE(pos);
        if (pos != &items[2])
            hlist_del(&pos->node);
    }
    SAW("abcd");
    assert_chain(&chain, "c");
    fill_chain(&chain, "ab");
    hlist_for_each_safe(at, n, &chain) {
        SEE(hlist_entry(at, struct item, node));
        hlist_del(at);
    }
    SAW("ab");
    assert_chain(&chain, "");
    assert_null(hlist_entry_safe(chain.first, struct item, node));
    hlist_for_each_entry(pos, &chain, node)
        SEE(pos);
    SAW("");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RCU_TEST(adding_and_deleting),
        RCU_TEST(replacing),
        RCU_TEST(moving),
        RCU_TEST(cutting),
        RCU_TEST(splicing),
        RCU_TEST(entries),
        RCU_TEST(walks_of_links),
        RCU_TEST(walks_of_entries),
        RCU_TEST(safe_walks_of_entries),
        RCU_TEST(careful),
        RCU_TEST(chains),
        RCU_TEST(walks_of_chains),
    };

    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
