/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Lists that readers walk inside rcu_read_lock() while one updater at a time
 * changes them.  Who may update is up to the caller's lock; an element that was
 * deleted may be freed after a grace period.
 *
 * Where the kernel's own <linux/list.h> was included before, its types and its
 * plain functions are used and only the _rcu ones come from here.  Define
 * TDPMMU_NO_RCULIST to have nothing of this header.
 */
#ifndef TDPMMU_RCULIST_H
#define TDPMMU_RCULIST_H

#include "rcu.h"

#ifndef TDPMMU_NO_RCULIST

#if defined(_LINUX_LIST_H) || defined(__TOOLS_LINUX_LIST_H) || defined(_TOOLS_LINUX_LIST_H)
#define TDPMMU_OWN_LIST 0
#else
#define TDPMMU_OWN_LIST 1
#endif

/* The element of a given type whose member is at ptr. */
#ifndef container_of
#define container_of(ptr, type, member) \
    ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
#endif

#if TDPMMU_OWN_LIST
/* A ring: the head is one of its own elements. */
struct list_head {
    struct list_head *next; /* readers follow it */
    struct list_head *prev; /* updaters only */
};

/* A chain with one pointer for a head. */
struct hlist_node {
    struct hlist_node *next;   /* readers follow it */
    struct hlist_node **pprev; /* updaters only: what points here */
};
struct hlist_head {
    struct hlist_node *first;
};

#define LIST_HEAD_INIT(name) { &(name), &(name) }
#ifndef LIST_HEAD /* <sys/queue.h> has one that means something else */
#define LIST_HEAD(name) struct list_head name = LIST_HEAD_INIT(name)
#endif
#define HLIST_HEAD_INIT { NULL }

/* An empty list; also for an element that is in none. */
static inline void INIT_LIST_HEAD(struct list_head *list)
{
    list->prev = list;
    __atomic_store_n(&list->next, list, __ATOMIC_RELAXED);
}

static inline void INIT_HLIST_NODE(struct hlist_node *node)
{
    node->next = NULL;
    node->pprev = NULL;
}

static inline bool list_empty(const struct list_head *list)
{
    return __atomic_load_n(&list->next, __ATOMIC_RELAXED) == list;
}

static inline bool hlist_empty(const struct hlist_head *list)
{
    return !__atomic_load_n(&list->first, __ATOMIC_RELAXED);
}

static inline bool hlist_unhashed(const struct hlist_node *node)
{
    return !node->pprev;
}

#define list_entry(ptr, type, member) container_of(ptr, type, member)
#define hlist_entry(ptr, type, member) container_of(ptr, type, member)
/* For updaters: the lock that excludes others is held. */
#define list_for_each_entry(pos, head, member)                                      \
    for (pos = list_entry((head)->next, __typeof__(*pos), member); &pos->member != (head); \
         pos = list_entry(pos->member.next, __typeof__(*pos), member))
/* The same, and pos may be deleted; n is another variable like pos. */
#define list_for_each_entry_safe(pos, n, head, member)                              \
    for (pos = list_entry((head)->next, __typeof__(*pos), member),                  \
        n = list_entry(pos->member.next, __typeof__(*pos), member);                 \
         &pos->member != (head);                                                    \
         pos = n, n = list_entry(n->member.next, __typeof__(*n), member))
#endif

/* What stands in prev of a deleted element: an address that nothing has. */
#define TDPMMU_LIST_POISON ((uintptr_t)0x5ead000000000122)

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

/*
 * Move all of list to the front of head; list is empty afterwards.  sync is
 * synchronize_rcu() or its like: it is called between the two halves, for those who
 * walk list.  Readers of head see all of the moved elements or none.
 * Follows list_splice_init_rcu().
 */
static inline void list_splice_init_rcu(struct list_head *list, struct list_head *head,
                                        void (*sync)(void))
{
    struct list_head *first = list->next, *last = list->prev, *after;

    if (first == list)
        return;
    list->prev = list;
    __atomic_store_n(&list->next, list, __ATOMIC_RELAXED);
    sync();
    after = head->next;
    last->next = after;
    first->prev = head;
    /* Release: pairs with the acquire of readers' rcu_dereference(). */
    __atomic_store_n(&head->next, first, __ATOMIC_RELEASE);
    after->prev = last;
}

/* Loads for readers; acquire, paired with the releases above. */
#define list_next_rcu(list) rcu_dereference_raw((list)->next)
#define list_entry_rcu(ptr, type, member) container_of(rcu_dereference_raw(ptr), type, member)

/* First element, or NULL if there is none: one load decides. */
#define list_first_or_null_rcu(head, type, member)                                  \
    (__extension__({                                                                \
        struct list_head *head__ = (head), *first__ = list_next_rcu(head__);        \
        first__ == head__ ? (type *)NULL : list_entry(first__, type, member);       \
    }))

/* Inside a reader: each element in turn.  Follows list_for_each_entry_rcu(). */
#define list_for_each_entry_rcu(pos, head, member)                                  \
    for (pos = list_entry(list_next_rcu(head), __typeof__(*pos), member);           \
         &pos->member != (head);                                                    \
         pos = list_entry(list_next_rcu(&pos->member), __typeof__(*pos), member))

/* The same from the element after pos on, in the same reader that found pos. */
#define list_for_each_entry_continue_rcu(pos, head, member)                         \
    for (pos = list_entry(list_next_rcu(&pos->member), __typeof__(*pos), member);   \
         &pos->member != (head);                                                    \
         pos = list_entry(list_next_rcu(&pos->member), __typeof__(*pos), member))

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
    node->pprev = NULL;
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

/* The element of a node, or NULL for no node; inside a reader. */
#define hlist_entry_safe_rcu(ptr, type, member)                                     \
    (__extension__({                                                                \
        struct hlist_node *node__ = rcu_dereference_raw(ptr);                       \
        node__ ? container_of(node__, type, member) : (type *)NULL;                 \
    }))

/* Inside a reader: each element in turn.  Follows hlist_for_each_entry_rcu(). */
#define hlist_for_each_entry_rcu(pos, head, member)                                 \
    for (pos = hlist_entry_safe_rcu((head)->first, __typeof__(*pos), member); pos;  \
         pos = hlist_entry_safe_rcu(pos->member.next, __typeof__(*pos), member))

#endif
#endif
