/* SPDX-License-Identifier: GPL-2.0-only */
/* Each macro of rcu.h and the lists used once: scripts/check-headers.sh compiles it as every C and
 * C++ there is, with and without the debug checks.  What they do is in test_rcu_names.c and
 * test_*list*.c. */
#include <tdpmmu.h>

struct item {
    struct list_head link;
    struct hlist_node node;
    struct hlist_nulls_node nulls;
    struct rcu_head head;
    struct item *other;
    int number;
};

struct item *uses_of_pointers(struct item **p, struct item *v, bool c);
int uses_of_rings(struct list_head *head, struct item *pos, bool c);
int uses_of_chains(struct hlist_head *head, struct item *pos, bool c);
int uses_of_nulls(struct hlist_nulls_head *head);
void uses_of_callbacks(struct item *item, struct item *other);

struct item *uses_of_pointers(struct item **p, struct item *v, bool c)
{
    struct item *__rcu q = RCU_INITIALIZER(v), *sum;

    RCU_LOCKDEP_WARN(!c, "a text");
    sum = rcu_dereference(*p);
    sum = rcu_dereference_raw(sum->other);
    sum = rcu_dereference_raw_check(sum->other);
    sum = rcu_dereference_check(sum->other, c);
    sum = rcu_dereference_bh(sum->other);
    sum = rcu_dereference_bh_check(sum->other, c || v);
    sum = rcu_dereference_sched(sum->other);
    sum = rcu_dereference_sched_check(sum->other, c);
    sum = rcu_dereference_protected(sum->other, c);
    sum = rcu_access_pointer(sum->other);
    sum = rcu_pointer_handoff(sum->other);
    sum = unrcu_pointer(sum->other);
    rcu_assign_pointer(sum->other, v);
    RCU_INIT_POINTER(sum->other, NULL);
    sum = rcu_replace_pointer(q, v, c);
    sum = rcu_xchg_pointer(&q, sum);
    sum = rcu_cmpxchg_pointer(&q, sum, v);
    rcu_set_pointer(&q, v);
    rcu_read_lock_bh();
    rcu_read_unlock_bh();
    rcu_read_lock_sched();
    rcu_read_unlock_sched();
    return rcu_read_lock_any_held() || rcu_read_ongoing() ? sum : q;
}

#ifndef __cplusplus
int uses_of_guards(bool c);
int uses_of_guards(bool c)
{
    struct { int *one, *other; } both = { RCU_POINTER_INITIALIZER(other, NULL) };

    guard(rcu)();
    guard(rcu)();
    scoped_guard(rcu) {
        if (c)
            return 1;
    }
    scoped_guard(rcu)
        scoped_guard(rcu)
            c = both.other == NULL;
    return c;
}
#endif

int uses_of_rings(struct list_head *head, struct item *pos, bool c)
{
    LIST_HEAD(list);
    struct list_head *at, *next;
    struct item *n;
    int sum = 0;

    list_for_each(at, head) sum++;
    list_for_each_prev(at, head) sum++;
    list_for_each_safe(at, next, head) sum++;
    list_for_each_prev_safe(at, next, head) sum++;
    list_for_each_continue(at, head) sum++;
    list_for_each_entry(pos, head, link) sum += pos->number;
    list_for_each_entry_reverse(pos, head, link) sum += pos->number;
    list_for_each_entry_safe(pos, n, head, link) list_del(&pos->link);
    list_for_each_entry_safe_reverse(pos, n, head, link) list_safe_reset_next(pos, n, link);
    pos = list_prepare_entry(pos, head, link);
    list_for_each_entry_continue(pos, head, link) sum += pos->number;
    list_for_each_entry_continue_reverse(pos, head, link) sum += pos->number;
    list_for_each_entry_from(pos, head, link) sum += pos->number;
    list_for_each_entry_from_reverse(pos, head, link) sum += pos->number;
    list_for_each_entry_safe_continue(pos, n, head, link) sum += pos->number;
    list_for_each_entry_safe_from(pos, n, head, link) sum += pos->number;
    pos = list_first_entry_or_null(head, struct item, link);
    pos = list_next_entry_circular(pos, head, link);
    pos = list_prev_entry_circular(pos, head, link);
    list_for_each_rcu(at, head) sum++;
    list_for_each_entry_rcu(pos, head, link) sum += pos->number;
    list_for_each_entry_rcu(pos, head, link, c) sum += pos->number;
    list_for_each_entry_srcu(pos, head, link, c) sum += pos->number;
    list_for_each_entry_lockless(pos, head, link) sum += pos->number;
    list_for_each_entry_continue_rcu(pos, head, link) sum += pos->number;
    list_for_each_entry_from_rcu(pos, head, link) sum += pos->number;
    pos = list_first_or_null_rcu(head, struct item, link);
    pos = list_next_or_null_rcu(head, &pos->link, struct item, link);
    list_splice_tail_init_rcu(head, &list, synchronize_rcu);
    return pos ? sum : list_empty(&list);
}

int uses_of_chains(struct hlist_head *head, struct item *pos, bool c)
{
    HLIST_HEAD(chain);
    struct hlist_node *at, *next;
    int sum = 0;

    INIT_HLIST_HEAD(&chain);
    hlist_for_each(at, head) sum++;
    hlist_for_each_safe(at, next, head) hlist_del(at);
    hlist_for_each_entry(pos, head, node) sum += pos->number;
    hlist_for_each_entry_safe(pos, next, head, node) hlist_del_init(&pos->node);
    hlist_for_each_entry_continue(pos, node) sum += pos->number;
    hlist_for_each_entry_from(pos, node) sum += pos->number;
    __hlist_for_each_rcu(at, head) sum++;
    hlist_for_each_entry_rcu(pos, head, node) sum += pos->number;
    hlist_for_each_entry_rcu(pos, head, node, c) sum += pos->number;
    hlist_for_each_entry_srcu(pos, head, node, c) sum += pos->number;
    hlist_for_each_entry_rcu_notrace(pos, head, node) sum += pos->number;
    hlist_for_each_entry_rcu_bh(pos, head, node) sum += pos->number;
    hlist_for_each_entry_continue_rcu(pos, node) sum += pos->number;
    hlist_for_each_entry_continue_rcu_bh(pos, node) sum += pos->number;
    hlist_for_each_entry_from_rcu(pos, node) sum += pos->number;
    hlists_swap_heads_rcu(&chain, head);
    return sum;
}

int uses_of_nulls(struct hlist_nulls_head *head)
{
    struct hlist_nulls_node *at;
    struct item *pos;
    int sum = 0;

    hlist_nulls_for_each_entry(pos, at, head, nulls) sum += pos->number;
    hlist_nulls_for_each_entry_rcu(pos, at, head, nulls) sum += pos->number;
    hlist_nulls_for_each_entry_safe(pos, at, head, nulls) sum += pos->number;
    at = head->first;
    hlist_nulls_for_each_entry_from(pos, at, nulls) sum += pos->number;
    pos = hlist_nulls_entry_safe(at, struct item, nulls);
    INIT_HLIST_NULLS_HEAD(head, 3);
    return pos ? sum : (int)get_nulls_value(at);
}

void uses_of_callbacks(struct item *item, struct item *other)
{
    rcu_callback_t function = NULL;
    call_rcu_func_t call = call_rcu_hurry;

    init_rcu_head(&item->head);
    destroy_rcu_head(&item->head);
    call(&item->head, function);
    kfree_rcu(item, head);
    kvfree_rcu(item, head);
    kfree_rcu_mightsleep(other);
    kvfree_rcu_mightsleep(other);
}
