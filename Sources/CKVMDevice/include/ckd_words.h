/* SPDX-License-Identifier: GPL-2.0-only */
/* Words that threads share, and locks. */
#ifndef CKD_WORDS_H
#define CKD_WORDS_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

static inline uint32_t ckd_load(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static inline uint32_t ckd_peek(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
static inline void ckd_store(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
static inline uint32_t ckd_swap(uint32_t *word, uint32_t value)
{
    return __atomic_exchange_n(word, value, __ATOMIC_SEQ_CST);
}

/* Guest memory and page tables: the guest's other CPUs write them at the same time. */
static inline uint64_t ckd_load64(uint64_t address)
{
    return __atomic_load_n((const uint64_t *)address, __ATOMIC_ACQUIRE);
}
static inline uint32_t ckd_load32(uint64_t address)
{
    return __atomic_load_n((const uint32_t *)address, __ATOMIC_ACQUIRE);
}
static inline uint64_t ckd_or64(uint64_t address, uint64_t bits)
{
    return __atomic_fetch_or((uint64_t *)address, bits, __ATOMIC_SEQ_CST);
}
static inline uint32_t ckd_or32(uint64_t address, uint32_t bits)
{
    return __atomic_fetch_or((uint32_t *)address, bits, __ATOMIC_SEQ_CST);
}

/* A store before it and a load behind it stay in order: each use says what it pairs with. */
static inline void ckd_full_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
static inline void ckd_relax(void) { __builtin_ia32_pause(); }
static inline uint64_t ckd_ticks(void) { return __builtin_ia32_rdtsc(); }

/* A lock, and what waits for one thing to become true under it. */
struct ckd_lock {
    pthread_mutex_t mutex;
};
struct ckd_bell {
    pthread_cond_t condition;
};
static inline void ckd_lock_init(struct ckd_lock *lock) { pthread_mutex_init(&lock->mutex, NULL); }
static inline void ckd_bell_init(struct ckd_bell *bell) { pthread_cond_init(&bell->condition, NULL); }
static inline void ckd_take(struct ckd_lock *lock) { pthread_mutex_lock(&lock->mutex); }
static inline void ckd_drop(struct ckd_lock *lock) { pthread_mutex_unlock(&lock->mutex); }
static inline void ckd_wait(struct ckd_bell *bell, struct ckd_lock *lock)
{
    pthread_cond_wait(&bell->condition, &lock->mutex);
}
static inline void ckd_ring(struct ckd_bell *bell) { pthread_cond_signal(&bell->condition); }

#endif
