/* SPDX-License-Identifier: GPL-2.0-only */
/* Which of 64 SPTEs are worth a look: by the widest vectors that the CPU has. */
#ifndef CP_MATCH_H
#define CP_MATCH_H

#include <stdint.h>

#pragma GCC visibility push(hidden)
#pragma clang assume_nonnull begin

/*
 * Bit i of the answer: (words[i] & mask) == value.  A hint: the words may be changing, and each
 * is as it was at some moment of the call.
 */
typedef uint64_t (*cp_match)(const uint64_t *words, uint64_t mask, uint64_t value);

/* The twins, which tests compare.  The last is only for a CPU that has AVX2. */
uint64_t cp_match_scalar(const uint64_t *words, uint64_t mask, uint64_t value);
uint64_t cp_match_sse2(const uint64_t *words, uint64_t mask, uint64_t value);
uint64_t cp_match_avx2(const uint64_t *words, uint64_t mask, uint64_t value);
int cp_has_avx2(void);

/* The one for this CPU, or that TDPMMU_ROWS names (scalar, sse2), chosen as the library is loaded. */
extern cp_match cp_match_chosen;
static inline uint64_t cp_match_64(const uint64_t *words, uint64_t mask, uint64_t value)
{
    return cp_match_chosen(words, mask, value);
}

#pragma clang assume_nonnull end
#pragma GCC visibility pop

#endif
