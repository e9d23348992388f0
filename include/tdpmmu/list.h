/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Plain lists with the names and meanings of the kernel's <linux/list.h>: rings of struct
 * list_head, and chains of struct hlist_node from a head of one pointer.  Whoever walks or
 * changes one keeps changes out by a lock of his own; rculist.h has what may be walked beside
 * one change.
 *
 * A rig's own <linux/list.h> (a kernel's, or that of its tools/include) takes the place of
 * this: it is used where it was included before, and in C also where it can be found,
 * so that it may be included later.  Define TDPMMU_OWN_LIST as 1 to have this one all
 * the same, and TDPMMU_NO_RCULIST to have no lists of this library.
 */
#ifndef TDPMMU_LIST_H
#define TDPMMU_LIST_H

#include "types.h"

#ifndef TDPMMU_NO_RCULIST

#ifndef TDPMMU_OWN_LIST
#if defined(_LINUX_LIST_H) || defined(__TOOLS_LINUX_LIST_H) || defined(_TOOLS_LINUX_LIST_H)
#define TDPMMU_OWN_LIST 0
#elif defined(__has_include) && !defined(__cplusplus)
#if __has_include(<linux/list.h>)
#include <linux/list.h>
#define TDPMMU_OWN_LIST 0
#endif
#endif
#endif
#ifndef TDPMMU_OWN_LIST
#define TDPMMU_OWN_LIST 1
#endif

/* The element of a given type whose member is at ptr. */
#ifndef container_of
#define container_of(ptr, type, member) \
    ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
#endif

/* What stands in prev of a deleted element: an address that nothing has. */
#define TDPMMU_LIST_POISON ((uintptr_t)0x5ead000000000122)

#if TDPMMU_OWN_LIST
#ifndef _TOOLS_LINUX_TYPES_H_ /* whose these are as well */
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
#endif

/* The kernel's names for what stands in the pointers of a deleted element. */
#ifndef LIST_POISON1
#define LIST_POISON1 ((void *)(uintptr_t)0x5ead000000000100)
#define LIST_POISON2 ((void *)TDPMMU_LIST_POISON)
#endif

/*
 * Rings.  Links that list_empty() and readers of rculist.h may look at meanwhile are
 * written whole: relaxed, as nobody learns of another element's content by them.
 */

#define LIST_HEAD_INIT(name) { &(name), &(name) }
#ifndef LIST_HEAD /* <sys/queue.h> has one that means something else */
#define LIST_HEAD(name) struct list_head name = LIST_HEAD_INIT(name)
#endif

/* Private: make two elements neighbours. */
static inline void tdpmmu_list_join(struct list_head *before, struct list_head *after)
{
    after->prev = before;
    __atomic_store_n(&before->next, after, __ATOMIC_RELAXED);
}

/* Private: put a chain of elements, first to last, between two neighbours. */
static inline void tdpmmu_list_insert(struct list_head *before, struct list_head *first,
                                      struct list_head *last, struct list_head *after)
{
    tdpmmu_list_join(last, after);
    tdpmmu_list_join(before, first);
}

/* An empty list; also for an element that is in none. */
static inline void INIT_LIST_HEAD(struct list_head *list)
{
    tdpmmu_list_join(list, list);
}

/* Add entry at the front / at the back. */
static inline void list_add(struct list_head *entry, struct list_head *head)
{
    tdpmmu_list_insert(head, entry, entry, head->next);
}

static inline void list_add_tail(struct list_head *entry, struct list_head *head)
{
    tdpmmu_list_insert(head->prev, entry, entry, head);
}

/* Private: the neighbours close ranks; entry keeps its own pointers. */
static inline void tdpmmu_list_leave(struct list_head *entry)
{
    tdpmmu_list_join(entry->prev, entry->next);
}

/* Take entry out; it may be freed, or added again. */
static inline void list_del(struct list_head *entry)
{
    tdpmmu_list_leave(entry);
    entry->next = (struct list_head *)LIST_POISON1;
    entry->prev = (struct list_head *)LIST_POISON2;
}

/* The same, and list_empty(entry) afterwards. */
static inline void list_del_init(struct list_head *entry)
{
    tdpmmu_list_leave(entry);
    INIT_LIST_HEAD(entry);
}

/* The same for another thread that asks list_empty_careful(entry): then it sees all before. */
static inline void list_del_init_careful(struct list_head *entry)
{
    tdpmmu_list_leave(entry);
    entry->prev = entry;
    /* Release: pairs with the acquire in list_empty_careful(). */
    __atomic_store_n(&entry->next, entry, __ATOMIC_RELEASE);
}

/* Put entry where old is; old keeps its pointers, or is in no list afterwards. */
static inline void list_replace(struct list_head *old, struct list_head *entry)
{
    tdpmmu_list_insert(old->prev, entry, entry, old->next);
}

static inline void list_replace_init(struct list_head *old, struct list_head *entry)
{
    list_replace(old, entry);
    INIT_LIST_HEAD(old);
}

/* Each of two elements where the other was. */
static inline void list_swap(struct list_head *one, struct list_head *other)
{
    struct list_head *before = other->prev;

    list_del(other);
    list_replace(one, other);
    list_add(one, before == one ? other : before);
}

/* Move entry from its list to the front / to the back of head. */
static inline void list_move(struct list_head *entry, struct list_head *head)
{
    tdpmmu_list_leave(entry);
    list_add(entry, head);
}

static inline void list_move_tail(struct list_head *entry, struct list_head *head)
{
    tdpmmu_list_leave(entry);
    list_add_tail(entry, head);
}

/* Move the elements first to last, which are one after the other, to the back of head. */
static inline void list_bulk_move_tail(struct list_head *head, struct list_head *first,
                                       struct list_head *last)
{
    tdpmmu_list_join(first->prev, last->next);
    tdpmmu_list_insert(head->prev, first, last, head);
}

static inline int list_is_head(const struct list_head *list, const struct list_head *head)
{
    return list == head;
}

static inline int list_is_first(const struct list_head *list, const struct list_head *head)
{
    return list->prev == head;
}

static inline int list_is_last(const struct list_head *list, const struct list_head *head)
{
    return list->next == head;
}

/* Is nothing in the list?  At any time, of a list that others change. */
static inline int list_empty(const struct list_head *head)
{
    return __atomic_load_n(&head->next, __ATOMIC_RELAXED) == head;
}

/* The same where the only change that others make is list_del_init_careful(). */
static inline int list_empty_careful(const struct list_head *head)
{
    /* Acquire: pairs with the release in list_del_init_careful(). */
    return __atomic_load_n(&head->next, __ATOMIC_ACQUIRE) == head &&
           __atomic_load_n(&head->prev, __ATOMIC_RELAXED) == head;
}

/* Is there exactly one element? */
static inline int list_is_singular(const struct list_head *head)
{
    return head->next != head && head->next == head->prev;
}

/* The first element goes to the back. */
static inline void list_rotate_left(struct list_head *head)
{
    if (!list_empty(head))
        list_move_tail(head->next, head);
}

/* The list turns until list is its first element. */
static inline void list_rotate_to_front(struct list_head *list, struct list_head *head)
{
    list_move_tail(head, list);
}

/*
 * Move the elements of head up to and with entry / before entry into list, whose
 * own elements are lost.  The first does nothing to an empty head.
 */
static inline void list_cut_before(struct list_head *list, struct list_head *head,
                                   struct list_head *entry)
{
    struct list_head *first = head->next, *last = entry->prev;

    INIT_LIST_HEAD(list);
    if (first == entry)
        return;
    tdpmmu_list_join(head, entry);
    tdpmmu_list_insert(list, first, last, list);
}

static inline void list_cut_position(struct list_head *list, struct list_head *head,
                                     struct list_head *entry)
{
    if (list_empty(head))
        return;
    if (entry == head)
        INIT_LIST_HEAD(list);
    else
        list_cut_before(list, head, entry->next);
}

/* Move all of list to the front / to the back of head; list is only usable again after _init. */
static inline void list_splice(const struct list_head *list, struct list_head *head)
{
    if (!list_empty(list))
        tdpmmu_list_insert(head, list->next, list->prev, head->next);
}

static inline void list_splice_tail(struct list_head *list, struct list_head *head)
{
    if (!list_empty(list))
        tdpmmu_list_insert(head->prev, list->next, list->prev, head);
}

static inline void list_splice_init(struct list_head *list, struct list_head *head)
{
    list_splice(list, head);
    INIT_LIST_HEAD(list);
}

static inline void list_splice_tail_init(struct list_head *list, struct list_head *head)
{
    list_splice_tail(list, head);
    INIT_LIST_HEAD(list);
}

/* The element that a link is in; of a list that has some; of one that may have none: NULL. */
#define list_entry(ptr, type, member) container_of(ptr, type, member)
#define list_first_entry(ptr, type, member) list_entry((ptr)->next, type, member)
#define list_last_entry(ptr, type, member) list_entry((ptr)->prev, type, member)
#define list_first_entry_or_null(ptr, type, member)                                 \
    (__extension__({                                                                \
        struct list_head *head__ = (ptr);                                           \
        struct list_head *first__ = __atomic_load_n(&head__->next, __ATOMIC_RELAXED); \
        first__ == head__ ? (type *)NULL : list_entry(first__, type, member);       \
    }))
/* The neighbours of an element; circular: past the head, back to the other end. */
#define list_next_entry(pos, member) list_entry((pos)->member.next, __typeof__(*(pos)), member)
#define list_prev_entry(pos, member) list_entry((pos)->member.prev, __typeof__(*(pos)), member)
#define list_next_entry_circular(pos, head, member)                                 \
    (list_is_last(&(pos)->member, head) ? list_first_entry(head, __typeof__(*(pos)), member) \
                                        : list_next_entry(pos, member))
#define list_prev_entry_circular(pos, head, member)                                 \
    (list_is_first(&(pos)->member, head) ? list_last_entry(head, __typeof__(*(pos)), member) \
                                         : list_prev_entry(pos, member))
/* Has a walk come to its end? */
#define list_entry_is_head(pos, head, member) list_is_head(&(pos)->member, (head))

/* Each link; safe: pos may be deleted; n is another variable like pos. */
#define list_for_each(pos, head) \
    for (pos = (head)->next; !list_is_head(pos, (head)); pos = (pos)->next)
#define list_for_each_continue(pos, head) \
    for (pos = (pos)->next; !list_is_head(pos, (head)); pos = (pos)->next)
#define list_for_each_prev(pos, head) \
    for (pos = (head)->prev; !list_is_head(pos, (head)); pos = (pos)->prev)
#define list_for_each_safe(pos, n, head)                                            \
    for (pos = (head)->next, n = (pos)->next; !list_is_head(pos, (head));           \
         pos = n, n = (pos)->next)
#define list_for_each_prev_safe(pos, n, head)                                       \
    for (pos = (head)->prev, n = (pos)->prev; !list_is_head(pos, (head));           \
         pos = n, n = (pos)->prev)

/* How many elements there are. */
static inline size_t list_count_nodes(struct list_head *head)
{
    struct list_head *pos;
    size_t count = 0;

    list_for_each(pos, head)
        count++;
    return count;
}

/*
 * Each element.  continue: from the one after pos; from: from pos on; reverse: backwards;
 * safe: pos may be deleted.  prepare: pos, or for NULL the head as if it were one, to continue.
 */
#define list_for_each_entry_from(pos, head, member) \
    for (; !list_entry_is_head(pos, head, member); pos = list_next_entry(pos, member))
#define list_for_each_entry_from_reverse(pos, head, member) \
    for (; !list_entry_is_head(pos, head, member); pos = list_prev_entry(pos, member))
#define list_for_each_entry(pos, head, member)                                      \
    for (pos = list_first_entry(head, __typeof__(*pos), member);                    \
         !list_entry_is_head(pos, head, member); pos = list_next_entry(pos, member))
#define list_for_each_entry_reverse(pos, head, member)                              \
    for (pos = list_last_entry(head, __typeof__(*pos), member);                     \
         !list_entry_is_head(pos, head, member); pos = list_prev_entry(pos, member))
#define list_prepare_entry(pos, head, member)                                       \
    (__extension__({                                                                \
        __typeof__(pos) start__ = (pos);                                            \
        if (!start__)                                                               \
            start__ = list_entry(head, __typeof__(*pos), member);                   \
        __asm__("" : "+r"(start__)); /* or gcc warns that a head is no element */    \
        start__;                                                                    \
    }))
#define list_for_each_entry_continue(pos, head, member)                             \
    for (pos = list_next_entry(pos, member);                                        \
         !list_entry_is_head(pos, head, member); pos = list_next_entry(pos, member))
#define list_for_each_entry_continue_reverse(pos, head, member)                     \
    for (pos = list_prev_entry(pos, member);                                        \
         !list_entry_is_head(pos, head, member); pos = list_prev_entry(pos, member))
#define list_for_each_entry_safe_from(pos, n, head, member)                         \
    for (n = list_next_entry(pos, member); !list_entry_is_head(pos, head, member);  \
         pos = n, n = list_next_entry(n, member))
#define list_for_each_entry_safe(pos, n, head, member)                              \
    for (pos = list_first_entry(head, __typeof__(*pos), member),                    \
        n = list_next_entry(pos, member);                                           \
         !list_entry_is_head(pos, head, member); pos = n, n = list_next_entry(n, member))
#define list_for_each_entry_safe_continue(pos, n, head, member)                     \
    for (pos = list_next_entry(pos, member), n = list_next_entry(pos, member);      \
         !list_entry_is_head(pos, head, member); pos = n, n = list_next_entry(n, member))
#define list_for_each_entry_safe_reverse(pos, n, head, member)                      \
    for (pos = list_last_entry(head, __typeof__(*pos), member),                     \
        n = list_prev_entry(pos, member);                                           \
         !list_entry_is_head(pos, head, member); pos = n, n = list_prev_entry(n, member))
/* In a safe walk whose body let others change the list, all but pos itself. */
#define list_safe_reset_next(pos, n, member) n = list_next_entry(pos, member)

/* Chains ------------------------------------------------------------------- */

#define HLIST_HEAD_INIT { NULL }
#define HLIST_HEAD(name) struct hlist_head name = HLIST_HEAD_INIT
#define INIT_HLIST_HEAD(ptr) ((void)((ptr)->first = NULL))

static inline void INIT_HLIST_NODE(struct hlist_node *node)
{
    node->next = NULL;
    node->pprev = NULL;
}

/* Is the node in no chain, as after INIT_HLIST_NODE() or a del_init?  Lockless: at any time. */
static inline int hlist_unhashed(const struct hlist_node *node)
{
    return !node->pprev;
}

static inline int hlist_unhashed_lockless(const struct hlist_node *node)
{
    return !__atomic_load_n(&node->pprev, __ATOMIC_RELAXED);
}

static inline int hlist_empty(const struct hlist_head *head)
{
    return !__atomic_load_n(&head->first, __ATOMIC_RELAXED);
}

/* Private: let what is at place (a head's first, a node's next) be followed by node. */
static inline void tdpmmu_hlist_point(struct hlist_node **place, struct hlist_node *node)
{
    __atomic_store_n(place, node, __ATOMIC_RELAXED);
    if (node)
        __atomic_store_n(&node->pprev, place, __ATOMIC_RELAXED);
}

/* Private: put node where place points. */
static inline void tdpmmu_hlist_insert(struct hlist_node *node, struct hlist_node **place)
{
    tdpmmu_hlist_point(&node->next, *place);
    tdpmmu_hlist_point(place, node);
}

/* Take node out; it may be freed, or added again. */
static inline void hlist_del(struct hlist_node *node)
{
    tdpmmu_hlist_point(node->pprev, node->next);
    node->next = (struct hlist_node *)LIST_POISON1;
    node->pprev = (struct hlist_node **)LIST_POISON2;
}

/* The same, unless it is in no chain; and it is in none afterwards. */
static inline void hlist_del_init(struct hlist_node *node)
{
    if (hlist_unhashed(node))
        return;
    tdpmmu_hlist_point(node->pprev, node->next);
    INIT_HLIST_NODE(node);
}

/* Add node at the front / before another / behind another. */
static inline void hlist_add_head(struct hlist_node *node, struct hlist_head *head)
{
    tdpmmu_hlist_insert(node, &head->first);
}

static inline void hlist_add_before(struct hlist_node *node, struct hlist_node *next)
{
    tdpmmu_hlist_insert(node, next->pprev);
}

static inline void hlist_add_behind(struct hlist_node *node, struct hlist_node *before)
{
    tdpmmu_hlist_insert(node, &before->next);
}

/* Not in a chain, and yet hlist_del() works on it; is it such a node? */
static inline void hlist_add_fake(struct hlist_node *node)
{
    node->pprev = &node->next;
}

static inline bool hlist_fake(struct hlist_node *node)
{
    return node->pprev == &node->next;
}

/* Is node the only one of the chain? */
static inline bool hlist_is_singular_node(struct hlist_node *node, struct hlist_head *head)
{
    return !node->next && node->pprev == &head->first;
}

/* The chain of old moves to new_head, whose own is lost. */
static inline void hlist_move_list(struct hlist_head *old, struct hlist_head *new_head)
{
    tdpmmu_hlist_point(&new_head->first, old->first);
    old->first = NULL;
}

/* The chain of from, whose last node is last, goes before that of to; from is empty then. */
static inline void hlist_splice_init(struct hlist_head *from, struct hlist_node *last,
                                     struct hlist_head *to)
{
    tdpmmu_hlist_point(&last->next, to->first);
    hlist_move_list(from, to);
}

/* The element that a node is in; safe: NULL for NULL. */
#define hlist_entry(ptr, type, member) container_of(ptr, type, member)
#define hlist_entry_safe(ptr, type, member)                                         \
    (__extension__({                                                                \
        struct hlist_node *node__ = (ptr);                                          \
        node__ ? hlist_entry(node__, type, member) : (type *)NULL;                  \
    }))

/* Each node; safe: pos may be deleted, and n is another variable like pos. */
#define hlist_for_each(pos, head) for (pos = (head)->first; pos; pos = (pos)->next)
#define hlist_for_each_safe(pos, n, head) \
    for (pos = (head)->first; pos && (n = (pos)->next, 1); pos = n)

static inline size_t hlist_count_nodes(struct hlist_head *head)
{
    struct hlist_node *pos;
    size_t count = 0;

    hlist_for_each(pos, head)
        count++;
    return count;
}

/* Each element; continue and from as of list_for_each_entry(); safe: n is a struct hlist_node *. */
#define hlist_for_each_entry_from(pos, member) \
    for (; pos; pos = hlist_entry_safe((pos)->member.next, __typeof__(*(pos)), member))
#define hlist_for_each_entry(pos, head, member)                                     \
    for (pos = hlist_entry_safe((head)->first, __typeof__(*(pos)), member); pos;    \
         pos = hlist_entry_safe((pos)->member.next, __typeof__(*(pos)), member))
#define hlist_for_each_entry_continue(pos, member)                                  \
    for (pos = hlist_entry_safe((pos)->member.next, __typeof__(*(pos)), member); pos; \
         pos = hlist_entry_safe((pos)->member.next, __typeof__(*(pos)), member))
#define hlist_for_each_entry_safe(pos, n, head, member)                             \
    for (pos = hlist_entry_safe((head)->first, __typeof__(*(pos)), member);         \
         pos && (n = (pos)->member.next, 1);                                        \
         pos = hlist_entry_safe(n, __typeof__(*(pos)), member))

#endif
#endif
#endif
