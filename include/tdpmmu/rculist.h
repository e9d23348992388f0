/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Lists that readers walk inside rcu_read_lock() while one updater at a time
 * changes them.  Who may update is up to the caller's lock; an element that was
 * deleted may be freed after a grace period.
 *
 * The types and plain functions are list.h's, or those of a rig's own <linux/list.h>, as said
 * there.  Where the kernel's <linux/rculist.h> was included before, or TDPMMU_NO_RCULIST is defined,
 * there is nothing here.
 */
#ifndef TDPMMU_RCULIST_H
#define TDPMMU_RCULIST_H

#include "rcu.h"

#if !defined(TDPMMU_NO_RCULIST) && !defined(_LINUX_RCULIST_H)
#include "list.h"

/* Links as lvalues, for rcu_dereference() and rcu_assign_pointer(). */
#define list_next_rcu(list) ((list)->next)
#define list_tail_rcu(head) ((head)->prev)
#define hlist_first_rcu(head) ((head)->first)
#define hlist_next_rcu(node) ((node)->next)
#define hlist_pprev_rcu(node) (*(node)->pprev)

/*
 * Walks take, after the member, a condition that may be left out: it says that the lock is held
 * that keeps updaters out.  Compiled with TDPMMU_RCU_DEBUG, a walk warns once if there is
 * neither a reader nor the condition.  These take the two apart.
 */
#define TDPMMU_LIST_FIRST_(first, ...) first
#define TDPMMU_LIST_SECOND_(first, second, ...) second
#define TDPMMU_LIST_MEMBER(...) TDPMMU_LIST_FIRST_(__VA_ARGS__, 0)
#define TDPMMU_LIST_CHECK(...) TDPMMU_RCU_READER_OR(TDPMMU_LIST_SECOND_(__VA_ARGS__, 0, 0))
/* The same of a walk in SRCU, where only the condition counts. */
#define TDPMMU_LIST_CHECK_SRCU(c) TDPMMU_RCU_EXPECT(c, "a list is walked outside its reader or lock")

/* INIT_LIST_HEAD() of a list that readers may look at. */
static inline void INIT_LIST_HEAD_RCU(struct list_head *list)
{
    __atomic_store_n(&list->next, list, __ATOMIC_RELAXED);
    __atomic_store_n(&list->prev, list, __ATOMIC_RELAXED);
}

/* Private: put entry between two neighbours; readers see it whole or not at all. */
static inline void tdpmmu_list_link_rcu(struct list_head *entry, struct list_head *before,
                                        struct list_head *after)
{
    entry->next = after;
    entry->prev = before;
    /* Release: pairs with the acquire of readers' rcu_dereference(). */
    __atomic_store_n(&before->next, entry, __ATOMIC_RELEASE);
    after->prev = entry;
}

/* Add entry at the front / at the back of the list.  Follows list_add_rcu(). */
static inline void list_add_rcu(struct list_head *entry, struct list_head *head)
{
    tdpmmu_list_link_rcu(entry, head, head->next);
}

static inline void list_add_tail_rcu(struct list_head *entry, struct list_head *head)
{
    tdpmmu_list_link_rcu(entry, head->prev, head);
}

/*
 * Take entry out.  Readers that stand on it still find their way on; so it may be
 * neither freed nor added again before a grace period.  Follows list_del_rcu().
 */
static inline void list_del_rcu(struct list_head *entry)
{
    struct list_head *before = entry->prev, *after = entry->next;

    after->prev = before;
    /* Relaxed: readers learn of nothing new by it. */
    __atomic_store_n(&before->next, after, __ATOMIC_RELAXED);
    entry->prev = (struct list_head *)TDPMMU_LIST_POISON;
}

/* Put entry where old is; old is then as after list_del_rcu(). */
static inline void list_replace_rcu(struct list_head *old, struct list_head *entry)
{
    struct list_head *before = old->prev, *after = old->next;

    tdpmmu_list_link_rcu(entry, before, after);
    old->prev = (struct list_head *)TDPMMU_LIST_POISON;
}

/* Private: all of list between two neighbours; list is empty afterwards. */
static inline void tdpmmu_list_splice_rcu(struct list_head *list, struct list_head *before,
                                          struct list_head *after, void (*sync)(void))
{
    struct list_head *first = list->next, *last = list->prev;

    INIT_LIST_HEAD_RCU(list);
    sync();
    last->next = after;
    first->prev = before;
    /* Release: pairs with the acquire of readers' rcu_dereference(). */
    __atomic_store_n(&before->next, first, __ATOMIC_RELEASE);
    after->prev = last;
}

/*
 * Move all of list to the front / to the back of head; list is empty afterwards.  sync is
 * synchronize_rcu() or its like: it is called between the two halves, for those who
 * walk list.  Readers of head see all of the moved elements or none.  The updater's lock covers
 * both lists.  Follows list_splice_init_rcu(), list_splice_tail_init_rcu().
 */
static inline void list_splice_init_rcu(struct list_head *list, struct list_head *head,
                                        void (*sync)(void))
{
    if (list->next != list)
        tdpmmu_list_splice_rcu(list, head, head->next, sync);
}

static inline void list_splice_tail_init_rcu(struct list_head *list, struct list_head *head,
                                             void (*sync)(void))
{
    if (list->next != list)
        tdpmmu_list_splice_rcu(list, head->prev, head, sync);
}

/* Loads for readers; acquire, paired with the releases above. */
#define list_entry_rcu(ptr, type, member) container_of(rcu_dereference_raw(ptr), type, member)
/* Of lists from which nothing is ever deleted: no reader needed. */
#define list_entry_lockless(ptr, type, member) list_entry_rcu(ptr, type, member)

/* First element, or the one after ptr, or NULL if there is none: one load decides. */
#define list_first_or_null_rcu(head, type, member) list_next_or_null_rcu(head, head, type, member)
#define list_next_or_null_rcu(head, ptr, type, member)                              \
    (__extension__({                                                                \
        struct list_head *head__ = (head), *at__ = (ptr);                           \
        struct list_head *next__ = rcu_dereference_raw(list_next_rcu(at__));        \
        next__ == head__ ? (type *)NULL : container_of(next__, type, member);       \
    }))

/* Private: the element after pos, and whether a walk goes on. */
#define TDPMMU_LIST_NEXT_RCU(pos, member) \
    list_entry_rcu(list_next_rcu(&(pos)->member), __typeof__(*(pos)), member)
#define TDPMMU_LIST_FROM_RCU(check, start, pos, head, member)                       \
    for (check, pos = start; &(pos)->member != (head); pos = TDPMMU_LIST_NEXT_RCU(pos, member))

/* Inside a reader: each link. */
#ifndef list_for_each_rcu
#define list_for_each_rcu(pos, head)                                                \
    for (pos = rcu_dereference((head)->next); pos != (head); pos = rcu_dereference((pos)->next))
#endif
/*
 * Inside a reader, or (pos, head, member, condition) under a lock: each element in turn.
 * Follows list_for_each_entry_rcu().
 */
#define list_for_each_entry_rcu(pos, head, ...)                                     \
    TDPMMU_LIST_FROM_RCU(TDPMMU_LIST_CHECK(__VA_ARGS__),                            \
                         list_entry_rcu((head)->next, __typeof__(*(pos)),           \
                                        TDPMMU_LIST_MEMBER(__VA_ARGS__)),           \
                         pos, head, TDPMMU_LIST_MEMBER(__VA_ARGS__))
/* Inside a reader of SRCU, as condition says by srcu_read_lock_held(). */
#define list_for_each_entry_srcu(pos, head, member, condition)                      \
    TDPMMU_LIST_FROM_RCU(TDPMMU_LIST_CHECK_SRCU(condition),                         \
                         list_entry_rcu((head)->next, __typeof__(*(pos)), member), pos, head, member)
/* Of lists from which nothing is ever deleted: no reader needed. */
#define list_for_each_entry_lockless(pos, head, member)                             \
    TDPMMU_LIST_FROM_RCU((void)0, list_entry_lockless((head)->next, __typeof__(*(pos)), member), \
                         pos, head, member)
/* From the element after pos on / from pos on, in the same reader that found pos. */
#define list_for_each_entry_continue_rcu(pos, head, member) \
    TDPMMU_LIST_FROM_RCU((void)0, TDPMMU_LIST_NEXT_RCU(pos, member), pos, head, member)
#define list_for_each_entry_from_rcu(pos, head, member) \
    for (; &(pos)->member != (head); pos = TDPMMU_LIST_NEXT_RCU(pos, member))

/* Add node at the front of the chain.  Follows hlist_add_head_rcu(). */
static inline void hlist_add_head_rcu(struct hlist_node *node, struct hlist_head *head)
{
    struct hlist_node *first = head->first;

    node->next = first;
    node->pprev = &head->first;
    /* Release: pairs with the acquire of readers' rcu_dereference(). */
    __atomic_store_n(&head->first, node, __ATOMIC_RELEASE);
    if (first)
        first->pprev = &node->next;
}

/* Add node before / behind another that is in a chain. */
static inline void hlist_add_before_rcu(struct hlist_node *node, struct hlist_node *next)
{
    node->pprev = next->pprev;
    node->next = next;
    __atomic_store_n(node->pprev, node, __ATOMIC_RELEASE); /* as in hlist_add_head_rcu() */
    next->pprev = &node->next;
}

static inline void hlist_add_behind_rcu(struct hlist_node *node, struct hlist_node *before)
{
    struct hlist_node *next = before->next;

    node->next = next;
    node->pprev = &before->next;
    __atomic_store_n(&before->next, node, __ATOMIC_RELEASE); /* as in hlist_add_head_rcu() */
    if (next)
        next->pprev = &node->next;
}

/* Add node at the back, after a walk to it. */
static inline void hlist_add_tail_rcu(struct hlist_node *node, struct hlist_head *head)
{
    struct hlist_node **place = &head->first;

    while (*place)
        place = &(*place)->next;
    node->next = NULL;
    node->pprev = place;
    __atomic_store_n(place, node, __ATOMIC_RELEASE); /* as in hlist_add_head_rcu() */
}

/* Take node out; neither free nor add it before a grace period. */
static inline void hlist_del_rcu(struct hlist_node *node)
{
    struct hlist_node *next = node->next, **before = node->pprev;

    __atomic_store_n(before, next, __ATOMIC_RELAXED); /* readers learn of nothing new */
    if (next)
        next->pprev = before;
    node->pprev = (struct hlist_node **)TDPMMU_LIST_POISON;
}

/* The same, unless it is in no chain, as hlist_unhashed() says; and afterwards it is in none. */
static inline void hlist_del_init_rcu(struct hlist_node *node)
{
    if (!node->pprev)
        return;
    hlist_del_rcu(node);
    __atomic_store_n(&node->pprev, (struct hlist_node **)NULL, __ATOMIC_RELAXED); /* as of hlist_unhashed_lockless() */
}

/* Put node where old is; old is then as after hlist_del_rcu(). */
static inline void hlist_replace_rcu(struct hlist_node *old, struct hlist_node *node)
{
    struct hlist_node *next = old->next;

    node->next = next;
    node->pprev = old->pprev;
    __atomic_store_n(node->pprev, node, __ATOMIC_RELEASE); /* as in hlist_add_head_rcu() */
    if (next)
        next->pprev = &node->next;
    old->pprev = (struct hlist_node **)TDPMMU_LIST_POISON;
}

/* The two chains change heads.  A reader on its way in one goes on in the same nodes. */
static inline void hlists_swap_heads_rcu(struct hlist_head *left, struct hlist_head *right)
{
    struct hlist_node *of_left = left->first, *of_right = right->first;

    __atomic_store_n(&left->first, of_right, __ATOMIC_RELEASE); /* as in hlist_add_head_rcu() */
    __atomic_store_n(&right->first, of_left, __ATOMIC_RELEASE); /* likewise */
    if (of_right)
        of_right->pprev = &left->first;
    if (of_left)
        of_left->pprev = &right->first;
}

/* The element of a node, or NULL for no node; inside a reader. */
#define hlist_entry_safe_rcu(ptr, type, member) TDPMMU_HLIST_ENTRY(rcu_dereference_raw(ptr), type, member)
#define TDPMMU_HLIST_ENTRY(loaded, type, member)                                    \
    (__extension__({                                                                \
        struct hlist_node *node__ = (loaded);                                       \
        node__ ? container_of(node__, type, member) : (type *)NULL;                 \
    }))

/* Private: a walk that loads each link with the macro load. */
#define TDPMMU_HLIST_NEXT(load, pos, member) \
    TDPMMU_HLIST_ENTRY(load(hlist_next_rcu(&(pos)->member)), __typeof__(*(pos)), member)
#define TDPMMU_HLIST_WALK(check, load, pos, head, member)                           \
    for (check, pos = TDPMMU_HLIST_ENTRY(load(hlist_first_rcu(head)), __typeof__(*(pos)), member); \
         pos; pos = TDPMMU_HLIST_NEXT(load, pos, member))

/* Inside a reader: each node. */
#define __hlist_for_each_rcu(pos, head)                                             \
    for (pos = rcu_dereference(hlist_first_rcu(head)); pos; pos = rcu_dereference(hlist_next_rcu(pos)))
/*
 * Inside a reader, or (pos, head, member, condition) under a lock: each element in turn.
 * Follows hlist_for_each_entry_rcu().
 */
#define hlist_for_each_entry_rcu(pos, head, ...)                                    \
    TDPMMU_HLIST_WALK(TDPMMU_LIST_CHECK(__VA_ARGS__), rcu_dereference_raw, pos, head, \
                      TDPMMU_LIST_MEMBER(__VA_ARGS__))
/* Inside a reader of SRCU, as condition says by srcu_read_lock_held(). */
#define hlist_for_each_entry_srcu(pos, head, member, condition) \
    TDPMMU_HLIST_WALK(TDPMMU_LIST_CHECK_SRCU(condition), rcu_dereference_raw, pos, head, member)
/* For code that is traced itself: no check; and inside rcu_read_lock_bh(). */
#define hlist_for_each_entry_rcu_notrace(pos, head, member) \
    TDPMMU_HLIST_WALK((void)0, rcu_dereference_raw_check, pos, head, member)
#define hlist_for_each_entry_rcu_bh(pos, head, member) \
    TDPMMU_HLIST_WALK((void)0, rcu_dereference_bh, pos, head, member)
/* From the element after pos on / from pos on, in the same reader that found pos. */
#define hlist_for_each_entry_continue_rcu(pos, member) \
    for (pos = TDPMMU_HLIST_NEXT(rcu_dereference_raw, pos, member); pos;            \
         pos = TDPMMU_HLIST_NEXT(rcu_dereference_raw, pos, member))
#define hlist_for_each_entry_continue_rcu_bh(pos, member) \
    for (pos = TDPMMU_HLIST_NEXT(rcu_dereference_bh, pos, member); pos;             \
         pos = TDPMMU_HLIST_NEXT(rcu_dereference_bh, pos, member))
#define hlist_for_each_entry_from_rcu(pos, member) \
    for (; pos; pos = TDPMMU_HLIST_NEXT(rcu_dereference_raw, pos, member))

#endif
#endif
