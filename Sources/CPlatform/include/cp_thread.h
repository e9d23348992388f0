/* SPDX-License-Identifier: GPL-2.0-only */
/* What the library keeps for each thread. */
#ifndef CP_THREAD_H
#define CP_THREAD_H

#include <stddef.h>

#include "cp_lock.h"
#include "cp_rcu.h"
#include "cp_srcu.h"
#include "cp_trace.h"

#pragma GCC visibility push(hidden)
#pragma clang assume_nonnull begin

struct cp_thread {
    uint64_t id;            /* never reused; 0 until asked for */
    struct cp_hold *_Nullable holds; /* heap table, or NULL while the inline one is enough */
    uint32_t hold_count;    /* entries in use; this and the next are read as one (cp_thread_holdings) */
    uint32_t held_mutexes;  /* mutexes with a rank that it holds, a bit each */
    uint32_t hold_capacity; /* of the table; 0 until the thread's exit is seen to */
    uint16_t in_order_report; /* the warning handler is told of a lock out of order */
    uint16_t exiting;       /* the exit handler has run: no more registering */
    uint32_t late_depth;    /* reader nesting without a registered word */
    uint32_t in_callback;   /* an RCU callback runs in this thread */
    uint32_t in_report;     /* the warning handler is told of a stall */
    uint16_t is_worker;     /* the callback thread */
    uint16_t srcu_joined;   /* its exit releases SRCU readers; ReaderNotes.membership knows, too */
    struct cp_hold inline_holds[CP_INLINE_HOLDS];
    struct cp_trace_ring *_Nullable trace_ring;
    int32_t tid;            /* the system's number; 0 until asked for */
    uint16_t in_gate;       /* how often: a fork waits until it has left */
    uint16_t fork_steps;    /* entries of the list that its fork has prepared, a bit each */
    struct cp_callbacks callbacks; /* a cache line of its own */
    struct cp_waiter waiter;
    struct cp_srcu_holds srcu;
    struct cp_reader_notes notes;
    const void *_Nullable vm_called; /* the VM whose callback runs in this thread, or NULL */
    const void *_Nullable fault_book; /* the ledger of the VM whose page fault it is in, or NULL */
    uint64_t fault_begun;   /* when, in the ledger's time */
};

extern __thread struct cp_thread cp_thread_data __attribute__((tls_model("initial-exec")));

static inline struct cp_thread *cp_self(void)
{
    return &cp_thread_data;
}

static inline struct cp_hold *cp_thread_holds(struct cp_thread *t)
{
    return t->holds ? t->holds : t->inline_holds;
}

_Static_assert(offsetof(struct cp_thread, held_mutexes) == offsetof(struct cp_thread, hold_count) + 4, "cp_thread_holdings()");

/* 0: it holds no lock by an entry of the table, and no mutex with a rank. */
static inline uint64_t cp_thread_holdings(const struct cp_thread *t)
{
    uint64_t both;

    __builtin_memcpy(&both, &t->hold_count, sizeof both);
    return both;
}

/* Structs in a thread's own, whose addresses others know. */
CP_AT(thread, waiter)
CP_AT(thread, callbacks)
CP_AT(thread, srcu)
CP_AT(thread, notes)

#pragma clang assume_nonnull end
#pragma GCC visibility pop

#endif
