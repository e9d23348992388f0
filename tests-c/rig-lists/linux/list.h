/* SPDX-License-Identifier: GPL-2.0-only */
/* A rig's lists, to be told from the library's: prev comes first, and additions are counted. */
#ifndef _LINUX_LIST_H
#define _LINUX_LIST_H

#include <stddef.h>

struct list_head {
    struct list_head *prev, *next;
};
struct hlist_node {
    struct hlist_node **pprev, *next;
};
struct hlist_head {
    struct hlist_node *first;
};

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define list_entry(ptr, type, member) container_of(ptr, type, member)
#define LIST_HEAD(name) struct list_head name = { &(name), &(name) }

static unsigned rig_additions;

static inline void list_add(struct list_head *entry, struct list_head *head)
{
    rig_additions++;
    entry->next = head->next;
    entry->prev = head;
    head->next->prev = entry;
    head->next = entry;
}

#endif
