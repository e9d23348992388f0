/* SPDX-License-Identifier: GPL-2.0-only */
/* Reader-writer locks: what a thread holds and waits for.  And words of Sync's own. */
#ifndef CP_LOCK_H
#define CP_LOCK_H

#include "../../../include/tdpmmu.h"
#include "cp_shared.h"

#pragma GCC visibility push(hidden)
#pragma clang assume_nonnull begin

/* A reader-writer lock this thread holds: how often for read, or once for write. */
struct cp_hold {
    struct tdpmmu_rwlock *_Nullable lock;
    uint32_t reads;
    uint16_t writes;
    uint16_t rank;          /* the lock's, when it was taken */
};

/* Holds kept without allocation; more of them move to the heap. */
#define CP_INLINE_HOLDS 4

/* A thread's place in the queue of a contended lock; it waits for one at a time. */
struct cp_waiter {
    struct cp_waiter *_Nullable next;     /* bucket lock */
    struct tdpmmu_rwlock *_Nullable lock; /* bucket lock */
    cp_shared32 state;      /* futex; LockQueue.swift has its values */
    uint32_t writes;            /* 1: wants it for write */
};


CP_AT(waiter, state)

CP_PUBLIC(cp_lock_state, tdpmmu_rwlock, cp_shared32, state)
CP_PUBLIC(cp_lock_sleepers, tdpmmu_rwlock, cp_shared16, sleepers)
CP_PUBLIC(cp_lock_owner, tdpmmu_rwlock, cp_shared64, owner)

/* Waiters of all locks whose address hashes here, oldest first. */
struct cp_bucket {
    struct cp_waiter *_Nullable first; /* mutex */
    struct cp_waiter *_Nullable last;  /* mutex */
    cp_mutex mutex;
    uint32_t unused[11];    /* a cache line each */
};

#define CP_BUCKET_COUNT 64
extern struct cp_bucket cp_buckets[CP_BUCKET_COUNT];

static inline struct cp_bucket *cp_bucket_at(uint32_t index)
{
    return &cp_buckets[index & (CP_BUCKET_COUNT - 1)];
}

CP_AT(bucket, mutex)

/* The arena's mutex. */
extern cp_mutex cp_arena_mutex_word;
static inline cp_mutex *cp_arena_mutex(void) { return &cp_arena_mutex_word; }

/* Count of thread ids given out. */
extern cp_shared64 cp_last_thread_id;
static inline cp_shared64 *cp_thread_ids(void) { return &cp_last_thread_id; }

/* The process-wide warning handler. */
struct cp_warn_words {
    cp_shared_word handler;     /* a function, or 0 */
    cp_shared_word context;
};

extern struct cp_warn_words cp_warn_data;
CP_THE(warn, cp_warn_data, handler)
CP_THE(warn, cp_warn_data, context)

#pragma clang assume_nonnull end
#pragma GCC visibility pop

#endif
