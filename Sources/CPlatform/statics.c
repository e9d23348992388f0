// SPDX-License-Identifier: GPL-2.0-only
/* The memory that lives as long as its thread or the process. */
#include "cplatform.h"

/*
 * Exported by the shared library for the header's inlines.  A program that links
 * the modules themselves, the Swift tests, keeps them to itself: else a
 * libtdpmmu.so in the same process would use this copy, unknown to its own RCU.
 */
#ifdef TDPMMU_SHARED_LIBRARY
#define FOR_INLINES visibility("default")
#else
#define FOR_INLINES visibility("hidden")
#endif

__thread struct tdpmmu_rcu_reader tdpmmu_rcu_self
    __attribute__((tls_model("initial-exec"), aligned(64), FOR_INLINES));

/* Sequence 1, so that no reader's word is ever 0. */
uint64_t tdpmmu_rcu_gp __attribute__((aligned(64), FOR_INLINES)) =
    TDPMMU_RCU_GP_ONE | 1;

__thread struct cp_thread cp_thread_data
    __attribute__((tls_model("initial-exec"), aligned(64)));

struct cp_bucket cp_buckets[CP_BUCKET_COUNT] __attribute__((aligned(64)));

struct cp_registry cp_registry_data __attribute__((aligned(64)));
struct cp_worker_data cp_worker_thread_data;

/* Bits 62:47 of the cookie are set, which no address has. */
struct cp_rcu_words cp_rcu_data __attribute__((aligned(64))) = {
    .worker = CP_WORKER_NONE,
    .completed = 1,
    .cookie = (uintptr_t)0x7fffc3a5d0960f69,
    .stall_ms = 21000,
};

struct cp_trace_words cp_trace_data __attribute__((aligned(64))) = {.ring_size = 4096};

struct cp_fork_words cp_fork_data __attribute__((aligned(64)));
struct cp_fork_step cp_fork_steps[CP_FORK_STEPS];

struct cp_srcu_global cp_srcu_global_data;
struct cp_srcu_words cp_srcu_words_data __attribute__((aligned(64)));

_Static_assert(offsetof(struct cp_thread, callbacks) % 64 == 0, "queues begin a cache line");
_Static_assert(offsetof(struct cp_trace_words, count) % 64 == 0, "so does the events' count");
_Static_assert(offsetof(struct cp_trace_ring, written) % 64 == 0, "and what a ring's thread writes");
_Static_assert(sizeof(struct cp_srcu) == sizeof(struct srcu_struct), "srcu.h reserves what is used");
_Static_assert(offsetof(struct cp_srcu, self) == 0, "DEFINE_SRCU() writes it");
_Static_assert(offsetof(struct cp_rcu_words, worker) % 64 == 0, "so does the worker's word");

uint32_t cp_arena_mutex_word;
uintptr_t cp_warn_words[2];
uint64_t cp_last_thread_id;
uint32_t cp_under_valgrind;
