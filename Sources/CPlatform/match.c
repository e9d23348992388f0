/* SPDX-License-Identifier: GPL-2.0-only */
#include "cp_match.h"
#include "cp_change.h"

#include <cpuid.h>
#include <immintrin.h>
#include <stdlib.h>
#include <string.h>

/*
 * Eight aligned bytes of a vector load come from memory in one piece on every x86-64 that there is.
 * What is done about a match does not rest on that: it reads the word again, as an atomic.
 */

uint64_t cp_match_scalar(const uint64_t *words, uint64_t mask, uint64_t value)
{
    uint64_t found = 0;

    for (int i = 0; i < 64; i++)
        found |= (uint64_t)((__atomic_load_n(&words[i], __ATOMIC_RELAXED) & mask) == value) << i;
    return found;
}

__attribute__((no_sanitize("thread")))
uint64_t cp_match_sse2(const uint64_t *words, uint64_t mask, uint64_t value)
{
    const __m128i masks = _mm_set1_epi64x((long long)mask), values = _mm_set1_epi64x((long long)value);
    uint64_t found = 0;

    for (int i = 0; i < 64; i += 2) {
        __m128i two = _mm_and_si128(_mm_load_si128((const __m128i *)(words + i)), masks);
        __m128i halves = _mm_cmpeq_epi32(two, values);
        /* A word is equal if both of its halves are. */
        __m128i whole = _mm_and_si128(halves, _mm_shuffle_epi32(halves, _MM_SHUFFLE(2, 3, 0, 1)));

        found |= (uint64_t)_mm_movemask_pd(_mm_castsi128_pd(whole)) << i;
    }
    return found;
}

__attribute__((target("avx2"), no_sanitize("thread")))
uint64_t cp_match_avx2(const uint64_t *words, uint64_t mask, uint64_t value)
{
    const __m256i masks = _mm256_set1_epi64x((long long)mask), values = _mm256_set1_epi64x((long long)value);
    uint64_t found = 0;

    for (int i = 0; i < 64; i += 4) {
        __m256i four = _mm256_and_si256(_mm256_load_si256((const __m256i *)(words + i)), masks);

        found |= (uint64_t)_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(four, values))) << i;
    }
    return found;
}

/* Does the CPU have it, and does the system keep its registers? */
int cp_has_avx2(void)
{
    unsigned a, b, c, d, low, high;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 6) == 6 && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
}

/* The widest that the CPU has, unless TDPMMU_ROWS names a narrower one. */
static cp_match widest(const char *wanted)
{
    if (wanted && strcmp(wanted, "scalar") == 0)
        return cp_match_scalar;
    if (wanted && strcmp(wanted, "sse2") == 0)
        return cp_match_sse2;
    return cp_has_avx2() ? cp_match_avx2 : cp_match_sse2;
}

cp_match cp_match_chosen = cp_match_scalar;

/* A thread sanitizer sees the loads of the scalar one only, and no pairs: there these stay. */
__attribute__((constructor)) static void choose(void)
{
    cp_match choice = widest(getenv("TDPMMU_ROWS"));

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
    choice = cp_match_scalar;
#endif
#endif
    cp_match_chosen = choice;
    cp_pairs_chosen = choice != cp_match_scalar && cp_has_pairs();
}
