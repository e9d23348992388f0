/* SPDX-License-Identifier: GPL-2.0-only */
#include "cp_change.h"

#include <cpuid.h>

bool cp_pairs_chosen = false;

uint64_t cp_change_words(uint64_t *words, uint64_t which, struct cp_word_change change)
{
    const uint64_t mask = change.mask, value = change.value, keep = change.keep, set = change.set;
    uint64_t done = which;

    for (uint64_t left = which; left; left &= left - 1) {
        uint64_t *at = words + __builtin_ctzll(left);
        uint64_t old = __atomic_load_n(at, __ATOMIC_RELAXED);

        if (__builtin_expect(((old ^ value) & mask) == 0, 1))
            __atomic_store_n(at, (old & keep) | set, __ATOMIC_RELEASE);
        else
            done &= ~(left & -left);
    }
    return done;
}

/* Are both as old0 and old1?  Then they become new0 and new1. */
static inline bool replace_pair(uint64_t *words, uint64_t old0, uint64_t old1, uint64_t new0, uint64_t new1)
{
    typedef struct { uint64_t word[2]; } pair;
    bool done;

    __asm__ volatile("lock cmpxchg16b %1"
                     : "=@ccz"(done), "+m"(*(pair *)words), "+a"(old0), "+d"(old1)
                     : "b"(new0), "c"(new1)
                     : "memory");
    return done;
}

/*
 * What comes between one locked operation and the next takes its full time, as the loads do not begin
 * before: so it is as little as can be, and a pair that is left costs more than one that is not.
 */
uint64_t cp_change_pairs(uint64_t *words, uint64_t which, struct cp_word_change change)
{
    const uint64_t mask = change.mask, value = change.value, keep = change.keep, set = change.set;
    uint64_t done = which & which >> 1 & UINT64_C(0x5555555555555555);

    for (uint64_t left = done; left; left &= left - 1) {
        uint64_t *at = words + __builtin_ctzll(left);
        uint64_t old0 = __atomic_load_n(at, __ATOMIC_RELAXED), old1 = __atomic_load_n(at + 1, __ATOMIC_RELAXED);
        bool meant = (((old0 ^ value) | (old1 ^ value)) & mask) == 0;

        if (__builtin_expect(!meant, 0) ||
            __builtin_expect(!replace_pair(at, old0, old1, (old0 & keep) | set, (old1 & keep) | set), 0))
            done &= ~(left & -left);
    }
    return done | done << 1;
}

bool cp_has_pairs(void)
{
    unsigned a, b, c, d;

    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_CMPXCHG16B);
}
