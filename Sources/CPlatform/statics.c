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

#define CACHE_LINE aligned(64)

struct cp_reader_list cp_reader_list_data __attribute__((CACHE_LINE));

struct cp_gp_words cp_gp_data __attribute__((CACHE_LINE)) = {
    .completed = {1},
    .stall_ms = {21000},
};
struct cp_registry cp_registry_data __attribute__((CACHE_LINE));
struct tdpmmu_rcu_reader cp_late_reader __attribute__((CACHE_LINE));
struct cp_engine_words cp_engine_data __attribute__((CACHE_LINE));

/* There is no worker yet.  Bits 62:47 of the cookie are set, which no address has. */
struct cp_call_words cp_call_data __attribute__((CACHE_LINE)) = {
    .worker = {2},
    .cookie = {(uintptr_t)0x7fffc3a5d0960f69},
};
struct cp_flood_words cp_flood_data __attribute__((CACHE_LINE));
struct cp_worker cp_worker_data __attribute__((CACHE_LINE));

struct cp_trace_words cp_trace_data __attribute__((aligned(64))) = {.ring_size = 4096};

struct cp_fork_words cp_fork_data __attribute__((aligned(64)));
struct cp_fork_step cp_fork_step_data[CP_FORK_STEPS];

struct cp_srcu_global cp_srcu_global_data;
cp_shared32 cp_srcu_process_data __attribute__((CACHE_LINE)) = {1};
struct cp_srcu_words cp_srcu_words_data __attribute__((aligned(64)));

_Static_assert(offsetof(struct cp_thread, callbacks) % 64 == 0, "queues begin a cache line");
_Static_assert(offsetof(struct cp_trace_words, count) % 64 == 0, "so does the events' count");
_Static_assert(offsetof(struct cp_trace_ring, written) % 64 == 0, "and what a ring's thread writes");
_Static_assert(sizeof(struct cp_srcu) == sizeof(struct srcu_struct), "srcu.h reserves what is used");
_Static_assert(offsetof(struct cp_srcu, self) == 0, "DEFINE_SRCU() writes it");
_Static_assert(sizeof(struct cp_bucket) == 64, "a bucket is a cache line");
_Static_assert(sizeof(struct cp_srcu_shard) == 64, "a shard is a cache line");
_Static_assert(sizeof(((struct cp_srcu *)0)->shards) >= (CP_SRCU_SHARDS + 1) * sizeof(struct cp_srcu_shard) - 8,
               "the shards fit, wherever the first cache line begins");
_Static_assert(sizeof(struct cp_reader_place) <= sizeof(((struct tdpmmu_rcu_reader *)0)->slot),
               "rcu.h reserves what is used");

cp_mutex cp_arena_mutex_word;
struct cp_warn_words cp_warn_data;
cp_shared64 cp_last_thread_id;
uint32_t cp_under_valgrind;
