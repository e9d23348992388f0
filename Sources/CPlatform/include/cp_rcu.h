/* SPDX-License-Identifier: GPL-2.0-only */
/* RCU: a thread's queue of callbacks, and what the process has of RCU. */
#ifndef CP_RCU_H
#define CP_RCU_H

#include "../../../include/tdpmmu.h"
#include "cp_shared.h"

#pragma GCC visibility push(hidden)
#pragma clang assume_nonnull begin

/*
 * A thread's queue of callbacks: two lists, of which the owner appends to
 * list[select] and the callback worker takes the other.
 */
struct cp_callbacks {
    cp_shared64 busy;       /* 1 while the owner appends; owner writes */
    cp_shared64 select;     /* list the owner uses; worker writes */
    cp_shared_word head[2]; /* address of the first; owner, or the worker on the other list */
    uintptr_t tail[2];      /* address of the last next field, or of head; as head */
    uintptr_t known;        /* callback function seen last; 0 before the first */
    uint32_t fences;        /* 1: no membarrier, run full fences */
    cp_shared32 count;      /* appended, ever; owner writes */
    struct cp_callbacks *_Nullable next; /* list of all queues; registry lock */
    struct cp_callbacks *_Nullable prev;
};

CP_AT(callbacks, busy)
CP_AT(callbacks, select)
CP_AT(callbacks, count)
CP_AT_FIRST(callbacks, head)
CP_AT_FIRST(callbacks, tail)

/* The private part of a reader: its place in the list of readers; registry mutex. */
struct cp_reader_place {
    struct tdpmmu_rcu_reader *_Nullable next;
    struct tdpmmu_rcu_reader *_Nullable prev;
    uint64_t tid;           /* the system's number of the thread, for complaints */
};

static inline struct cp_reader_place *cp_reader_place(struct tdpmmu_rcu_reader *r)
{
    return (struct cp_reader_place *)r->slot;
}

static inline struct tdpmmu_rcu_reader *cp_reader(void) { return &tdpmmu_rcu_self; }
CP_PUBLIC(cp_reader_word, tdpmmu_rcu_reader, cp_shared64, word)

/* Process-wide state; docs/LOCKING.md says what is under which lock.  A struct for all that
 * the same threads write, each in cache lines of its own. */

static inline cp_shared64 *cp_rcu_gp(void) { return (cp_shared64 *)&tdpmmu_rcu_gp; }

/* Grace periods. */
struct cp_gp_words {
    cp_mutex mutex;             /* one grace period at a time */
    cp_shared32 event;          /* futex: a reader that is waited for has left */
    cp_shared64 completed;      /* number of the last grace period that ended */
    cp_shared64 attempt;        /* begun by polls without a worker, not over; or 0; mutex */
    cp_shared64 poll_wanted;    /* newest grace period that start_poll_ asked for */
    cp_shared32 hurry;          /* expedited waiters */
    cp_shared32 stall_ms;       /* complain about a grace period this old; 0: never */
    cp_shared32 broken;         /* grace periods that do not wait: tests only */
};

extern struct cp_gp_words cp_gp_data;
CP_THE(gp, cp_gp_data, mutex)
CP_THE(gp, cp_gp_data, event)
CP_THE(gp, cp_gp_data, completed)
CP_THE(gp, cp_gp_data, attempt)
CP_THE(gp, cp_gp_data, poll_wanted)
CP_THE(gp, cp_gp_data, hurry)
CP_THE(gp, cp_gp_data, stall_ms)
CP_THE(gp, cp_gp_data, broken)

/* Lists of threads; all under the mutex. */
struct cp_registry {
    cp_mutex mutex;
    struct tdpmmu_rcu_reader *_Nullable readers;
    struct tdpmmu_rcu_reader *_Nullable cursor; /* the grace period looks at it next */
    struct cp_callbacks *_Nullable queues;
    struct rcu_head *_Nullable orphans_head;    /* callbacks whose thread has gone */
    uintptr_t orphans_tail;                     /* address of the last next field */
};

extern struct cp_registry cp_registry_data;
static inline struct cp_registry *cp_registry(void) { return &cp_registry_data; }
CP_AT(registry, mutex)

/* One word for all threads without a place in the list. */
extern struct tdpmmu_rcu_reader cp_late_reader;
static inline struct tdpmmu_rcu_reader *cp_late(void) { return &cp_late_reader; }

/* Collecting and invoking callbacks. */
struct cp_engine_words {
    cp_mutex mutex;             /* CallbackEngine: one thread at a time collects and invokes */
    cp_shared32 barriers_wanted; /* number of the newest rcu_barrier() */
    cp_shared32 barriers_done;  /* number of the newest that was answered */
    cp_shared32 event;          /* futex: a barrier may look again */
    cp_shared_word running;     /* the next to run of what was collected; engine mutex */
    cp_shared_word domain;      /* whose callbacks run: an SRCU domain, or 0; engine mutex */
    cp_shared64 ran;            /* how many of what was collected have begun; engine mutex */
    cp_shared_word kept;        /* the callback function that a forked child keeps, or 0 */
};

extern struct cp_engine_words cp_engine_data;
CP_THE(engine, cp_engine_data, mutex)
CP_THE(engine, cp_engine_data, barriers_wanted)
CP_THE(engine, cp_engine_data, barriers_done)
CP_THE(engine, cp_engine_data, event)
CP_THE(engine, cp_engine_data, running)
CP_THE(engine, cp_engine_data, domain)
CP_THE(engine, cp_engine_data, ran)
CP_THE(engine, cp_engine_data, kept)

/* What every call_rcu() reads, and next to nobody writes. */
#define CP_KNOWN_FUNCTIONS 64

struct cp_call_words {
    cp_shared32 worker;         /* futex; WorkerWord.swift has its values */
    cp_shared_word cookie;      /* marks the func field of a queued head */
    cp_shared_word known[CP_KNOWN_FUNCTIONS]; /* callback functions ever seen */
};

extern struct cp_call_words cp_call_data;
CP_THE(call, cp_call_data, worker)
CP_THE(call, cp_call_data, cookie)
static inline cp_shared_word *cp_call_known(void) { return cp_call_data.known; }

/* Callbacks that pile up. */
struct cp_flood_words {
    cp_shared64 pending;        /* queued and not yet run, about; signed */
    cp_shared64 limit;          /* slow call_rcu() down beyond; 0: by the machine's memory */
};

extern struct cp_flood_words cp_flood_data;
CP_THE(flood, cp_flood_data, pending)
CP_THE(flood, cp_flood_data, limit)

/* The worker thread; under the mutex, which is for its start and its end. */
struct cp_worker {
    cp_mutex mutex;
    uint32_t exit_hooked;
    uint64_t thread;            /* for cp_thread_join() */
    uint64_t complained;        /* that no thread can be started */
    cp_shared64 retry_at_ns;    /* none could be started: call_rcu() tries again then; 0: it may */
};

extern struct cp_worker cp_worker_data;
static inline struct cp_worker *cp_worker_thread(void) { return &cp_worker_data; }
CP_AT(worker, mutex)
CP_AT(worker, retry_at_ns)

#pragma clang assume_nonnull end
#pragma GCC visibility pop

#endif
