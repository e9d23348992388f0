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
CP_PUBLIC(cp_lock_calm, tdpmmu_rwlock, cp_shared8, calm)
CP_PUBLIC(cp_lock_owner, tdpmmu_rwlock, cp_shared64, owner)

/*
 * What a thread reads, noted in its own memory instead of counted where others write
 * (ReaderNotes.swift).  Its thread writes all but `wanted`, and the links.
 */
struct cp_reader_notes {
    cp_shared_word lock;    /* the reader-writer lock that it holds by this note, or 0 */
    cp_shared_word srcu;    /* the SRCU domain that it is inside of by this note, and the index; or 0 */
    cp_shared32 wanted;     /* somebody waits for a note to go, and sets it; its thread clears it */
    uint16_t membership;    /* bits: on the list of threads, for SRCU as well, never to be on it */
    uint16_t counted;       /* times that it counted itself in at a lock */
    uint32_t deeper[2];     /* further holds of the lock, sections of the domain, by the same note */
    struct cp_reader_notes *_Nullable next; /* list mutex */
    struct cp_reader_notes *_Nullable prev; /* list mutex */
};

CP_AT(reader_notes, lock)
CP_AT(reader_notes, srcu)
CP_AT(reader_notes, wanted)

/* The threads that make notes. */
struct cp_reader_list {
    cp_mutex mutex;
    cp_shared32 event;      /* futex: a note that is waited for has gone */
    cp_shared32 members;    /* how many stand there; mutex writes */
    struct cp_reader_notes *_Nullable first; /* mutex */
};

extern struct cp_reader_list cp_reader_list_data;
CP_THE(reader_list, cp_reader_list_data, mutex)
CP_THE(reader_list, cp_reader_list_data, event)
CP_THE(reader_list, cp_reader_list_data, members)
static inline struct cp_reader_list *cp_reader_list(void) { return &cp_reader_list_data; }

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
