/* SPDX-License-Identifier: GPL-2.0-only */
/* SRCU: sections that a thread is inside, a domain, what all domains share. */
#ifndef CP_SRCU_H
#define CP_SRCU_H

#include "../../../include/tdpmmu.h"
#include "cp_shared.h"

#pragma GCC visibility push(hidden)
#pragma clang assume_nonnull begin

/* An SRCU domain this thread is inside, and how often by each index. */
struct cp_srcu_hold {
    struct srcu_struct *_Nullable domain;
    uint32_t count[2];
};

#define CP_INLINE_SRCU_HOLDS 4

/* All of one thread, and only its own. */
struct cp_srcu_holds {
    struct cp_srcu_hold *_Nullable heap; /* or NULL while the inline ones are enough */
    uint32_t used;
    uint32_t capacity;      /* of the heap table */
    struct cp_srcu_hold inline_holds[CP_INLINE_SRCU_HOLDS];
};

static inline struct cp_srcu_hold *cp_srcu_holds_table(struct cp_srcu_holds *h)
{
    return h->heap ? h->heap : h->inline_holds;
}

CP_AT_FIRST(srcu_hold, count)

#define CP_SRCU_SHARDS 8

/* What struct srcu_struct is; all that is not shared by its type under the SRCU mutex. */
struct cp_srcu {
    cp_shared_word self;    /* its own address while it may be used */
    cp_shared32 process;    /* the process (cp_srcu_process) that has set it up; 0: none */
    uint32_t id;            /* in every index it gives out */
    cp_shared64 index;      /* bit 0 is the index readers take */
    uint8_t phase;          /* of the grace period that runs: SRCUDomain+GracePeriods.swift has them */
    uint8_t is_listed;      /* it stands in a list of domains with something to do */
    uint16_t rank;          /* of its readers in the order of locks, or 0; never changes */
    uint32_t waiters;       /* threads that wait for this domain */
    cp_shared32 loose[2];   /* readers of no thread, by index (srcu_down_read) */
    uint64_t completed;     /* number of the last grace period that ended */
    uint64_t wanted;        /* newest number that a waiter or a callback needs */
    uint64_t queued;        /* callbacks, ever */
    uint64_t invoked;
    struct rcu_head *_Nullable head[3]; /* by number & 1, and those whose time has come */
    uintptr_t tail[3];      /* address of the last next field; if there is a head */
    struct cp_srcu *_Nullable next; /* while it is listed */
    struct cp_srcu *_Nullable prev;
    uint64_t shards[(CP_SRCU_SHARDS + 1) * 8]; /* struct cp_srcu_shard, from the next cache line on */
};

CP_AT(srcu, self)
CP_AT(srcu, process)
CP_AT(srcu, index)
CP_AT_FIRST(srcu, loose)
CP_AT_FIRST(srcu, head)
CP_AT_FIRST(srcu, tail)

/* A shard's counters: readers in by index 0 and 1, readers out by index 0 and 1. */
struct cp_srcu_shard {
    cp_shared64 entered[2];
    cp_shared64 left[2];
    uint64_t unused[4];     /* a cache line each */
};

CP_AT_FIRST(srcu_shard, entered)
CP_AT_FIRST(srcu_shard, left)

/* The first; they begin with a cache line, wherever the struct does. */
static inline struct cp_srcu_shard *cp_srcu_shards(struct cp_srcu *s)
{
    return (struct cp_srcu_shard *)(((uintptr_t)s->shards + 63) & ~(uintptr_t)63);
}

/* A domain's bucket goes by its address alone: a reader that leaves names it without the memory. */
#define CP_SRCU_BUCKETS 64

struct cp_srcu_global {
    struct cp_srcu *_Nullable buckets[CP_SRCU_BUCKETS]; /* domains with something to do */
    struct cp_srcu *_Nullable round; /* those that the callback thread looks at now */
    uint64_t pending;       /* callbacks of all domains, queued and not run */
    uint32_t last_id;
    uint32_t sleepers;      /* threads that may sleep on the event */
    uint64_t heavy;         /* buckets whose bit of `waiting` was set before a membarrier */
};

CP_AT_FIRST(srcu_global, buckets)

struct cp_srcu_words {
    cp_mutex mutex;
    cp_shared32 event;      /* futex: something has changed */
    cp_shared64 waiting;    /* a bit for each bucket: a reader that leaves must say so */
    cp_shared64 work;       /* likewise: the callback thread should look */
};

/* The number of this process among its parents, from 1: a forked child has another. */
extern cp_shared32 cp_srcu_process_data;
static inline cp_shared32 *cp_srcu_this_process(void) { return &cp_srcu_process_data; }

extern struct cp_srcu_global cp_srcu_global_data;
extern struct cp_srcu_words cp_srcu_words_data;

static inline struct cp_srcu_global *cp_srcu_all(void) { return &cp_srcu_global_data; }
CP_THE(srcu, cp_srcu_words_data, mutex)
CP_THE(srcu, cp_srcu_words_data, event)
CP_THE(srcu, cp_srcu_words_data, waiting)
CP_THE(srcu, cp_srcu_words_data, work)

#pragma clang assume_nonnull end
#pragma GCC visibility pop

#endif
