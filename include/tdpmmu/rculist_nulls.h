/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Chains that end in a number instead of NULL.  A reader that comes to the end sees
 * whether it is that of the chain where it began: not so if an element on its way
 * was freed and is in another chain by now, as where memory is used again without a grace
 * period.  Then it begins anew.  The names of the kernel's <linux/list_nulls.h>, which is used where it
 * was included before or can be found, and of <linux/rculist_nulls.h>.
 */
#ifndef TDPMMU_RCULIST_NULLS_H
#define TDPMMU_RCULIST_NULLS_H

#include "rculist.h"

#if !defined(TDPMMU_NO_RCULIST) && !defined(_LINUX_RCULIST_NULLS_H)

#if defined(__has_include) && !defined(__cplusplus)
#if __has_include(<linux/list_nulls.h>)
#include <linux/list_nulls.h>
#endif
#endif

#ifndef _LINUX_LIST_NULLS_H
/* A pointer with bit 0 set is an end, with the number above the bit. */
struct hlist_nulls_node {
    struct hlist_nulls_node *next;   /* readers follow it */
    struct hlist_nulls_node **pprev; /* updaters only: what points here */
};
struct hlist_nulls_head {
    struct hlist_nulls_node *first;
};

/* The end of a number, which has 63 bits. */
#define NULLS_MARKER(value) (1UL | ((unsigned long)(value) << 1))
#define INIT_HLIST_NULLS_HEAD(ptr, nulls) \
    ((void)((ptr)->first = (struct hlist_nulls_node *)NULLS_MARKER(nulls)))
#define HLIST_NULLS_HEAD_INIT(nulls) { (struct hlist_nulls_node *)NULLS_MARKER(nulls) }

/* Is it an end?  Of an end, the number. */
static inline int is_a_nulls(const struct hlist_nulls_node *ptr)
{
    return (int)((uintptr_t)ptr & 1);
}

static inline unsigned long get_nulls_value(const struct hlist_nulls_node *ptr)
{
    return (unsigned long)((uintptr_t)ptr >> 1);
}

/* Is the node in no chain?  Lockless: at any time. */
static inline int hlist_nulls_unhashed(const struct hlist_nulls_node *node)
{
    return !node->pprev;
}

static inline int hlist_nulls_unhashed_lockless(const struct hlist_nulls_node *node)
{
    return !__atomic_load_n(&node->pprev, __ATOMIC_RELAXED);
}

static inline int hlist_nulls_empty(const struct hlist_nulls_head *head)
{
    return is_a_nulls(__atomic_load_n(&head->first, __ATOMIC_RELAXED));
}

/* For updaters: add node at the front. */
static inline void hlist_nulls_add_head(struct hlist_nulls_node *node, struct hlist_nulls_head *head)
{
    struct hlist_nulls_node *first = head->first;

    node->next = first;
    __atomic_store_n(&node->pprev, &head->first, __ATOMIC_RELAXED);
    head->first = node;
    if (!is_a_nulls(first))
        __atomic_store_n(&first->pprev, &node->next, __ATOMIC_RELAXED);
}

/* The element of a node; safe: NULL for an end. */
#define hlist_nulls_entry(ptr, type, member) container_of(ptr, type, member)
#define hlist_nulls_entry_safe(ptr, type, member)                                   \
    (__extension__({                                                                \
        struct hlist_nulls_node *node__ = (ptr);                                    \
        is_a_nulls(node__) ? (type *)NULL : hlist_nulls_entry(node__, type, member); \
    }))

/* For updaters: tpos is each element in turn, pos its node; at the end, pos is the end. */
#define hlist_nulls_for_each_entry(tpos, pos, head, member)                         \
    for (pos = (head)->first;                                                       \
         !is_a_nulls(pos) &&                                                        \
         (tpos = hlist_nulls_entry(pos, __typeof__(*tpos), member), 1); pos = (pos)->next)
#define hlist_nulls_for_each_entry_from(tpos, pos, member)                          \
    for (; !is_a_nulls(pos) &&                                                      \
           (tpos = hlist_nulls_entry(pos, __typeof__(*tpos), member), 1); pos = (pos)->next)
#endif

/* Links as lvalues, for rcu_dereference(). */
#define hlist_nulls_first_rcu(head) ((head)->first)
#define hlist_nulls_next_rcu(node) ((node)->next)

/* Private: put node where place points; readers see it whole or not at all. */
static inline void tdpmmu_hlist_nulls_insert_rcu(struct hlist_nulls_node *node, struct hlist_nulls_node **place)
{
    struct hlist_nulls_node *next = *place;

    /* Relaxed and atomic: a reader may still stand on a node whose memory is used again. */
    __atomic_store_n(&node->next, next, __ATOMIC_RELAXED);
    __atomic_store_n(&node->pprev, place, __ATOMIC_RELAXED);
    /* Release: pairs with the acquire of readers' rcu_dereference(). */
    __atomic_store_n(place, node, __ATOMIC_RELEASE);
    if (!is_a_nulls(next))
        __atomic_store_n(&next->pprev, &node->next, __ATOMIC_RELAXED);
}

/* Add node at the front / at the back, after a walk to it. */
static inline void hlist_nulls_add_head_rcu(struct hlist_nulls_node *node, struct hlist_nulls_head *head)
{
    tdpmmu_hlist_nulls_insert_rcu(node, &head->first);
}

static inline void hlist_nulls_add_tail_rcu(struct hlist_nulls_node *node, struct hlist_nulls_head *head)
{
    struct hlist_nulls_node **place = &head->first;

    while (!is_a_nulls(*place))
        place = &(*place)->next;
    tdpmmu_hlist_nulls_insert_rcu(node, place);
}

/* Not in a chain, and yet it can be deleted. */
static inline void hlist_nulls_add_fake(struct hlist_nulls_node *node)
{
    node->pprev = &node->next;
    node->next = (struct hlist_nulls_node *)NULLS_MARKER(0);
}

/* Private: the neighbours close ranks, and node's pprev says how it is left. */
static inline void tdpmmu_hlist_nulls_leave(struct hlist_nulls_node *node, struct hlist_nulls_node **mark)
{
    struct hlist_nulls_node *next = node->next, **before = node->pprev;

    __atomic_store_n(before, next, __ATOMIC_RELAXED); /* readers learn of nothing new */
    if (!is_a_nulls(next))
        __atomic_store_n(&next->pprev, before, __ATOMIC_RELAXED);
    __atomic_store_n(&node->pprev, mark, __ATOMIC_RELAXED);
}

/* Take node out.  Readers that stand on it find their way on. */
static inline void hlist_nulls_del_rcu(struct hlist_nulls_node *node)
{
    tdpmmu_hlist_nulls_leave(node, (struct hlist_nulls_node **)TDPMMU_LIST_POISON);
}

/* The same where there are no readers. */
#ifndef _LINUX_LIST_NULLS_H
static inline void hlist_nulls_del(struct hlist_nulls_node *node)
{
    hlist_nulls_del_rcu(node);
}
#endif

/* The same, unless it is in no chain, as hlist_nulls_unhashed() says; and afterwards it is in none. */
static inline void hlist_nulls_del_init_rcu(struct hlist_nulls_node *node)
{
    if (node->pprev)
        tdpmmu_hlist_nulls_leave(node, NULL);
}

/*
 * Inside a reader: tpos is each element in turn, pos its node; at the end, pos is the end, whose
 * get_nulls_value() tells which chain's; safe: tpos may be deleted, and its memory used again.
 */
#define hlist_nulls_for_each_entry_rcu(tpos, pos, head, member)                     \
    for (pos = rcu_dereference_raw(hlist_nulls_first_rcu(head));                    \
         !is_a_nulls(pos) &&                                                        \
         (tpos = hlist_nulls_entry(pos, __typeof__(*tpos), member), 1);             \
         pos = rcu_dereference_raw(hlist_nulls_next_rcu(pos)))
#define hlist_nulls_for_each_entry_safe(tpos, pos, head, member)                    \
    for (pos = rcu_dereference_raw(hlist_nulls_first_rcu(head));                    \
         !is_a_nulls(pos) &&                                                        \
         (tpos = hlist_nulls_entry(pos, __typeof__(*tpos), member),                 \
          pos = rcu_dereference_raw(hlist_nulls_next_rcu(pos)), 1);)

#endif
#endif
