/* SPDX-License-Identifier: GPL-2.0-only */
/* Up to 64 SPTEs of a table changed in one go, each as if alone. */
#ifndef CP_CHANGE_H
#define CP_CHANGE_H

#include <stdbool.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)
#pragma clang assume_nonnull begin

/* What words are to become: those that have value of mask keep these bits, and get those. */
struct cp_word_change {
    uint64_t mask, value, keep, set;
};

/*
 * Makes the change of those of 64 words that which names, in plain stores: a word that has another value by
 * then is left.  Returns those whose change was made.  Release: pairs with all reading of SPTEs.
 */
uint64_t cp_change_words(uint64_t *words, uint64_t which, struct cp_word_change change);

/*
 * The same of words that stand side by side at 16 bytes, both at once by a locked operation, which takes hardly longer
 * than that for one.  Words of no pair, and pairs that change meanwhile, are left.  Acquire and release, as every
 * locked operation.  Only where pairs are chosen.
 */
uint64_t cp_change_pairs(uint64_t *words, uint64_t which, struct cp_word_change change);

/* Has the CPU the instruction?  Every x86-64 but the first few. */
bool cp_has_pairs(void);

/*
 * Are two changed at once?  Not where a thread sanitizer looks on, which would not see it, nor where
 * TDPMMU_ROWS says scalar.  Chosen as the library is loaded.
 */
extern bool cp_pairs_chosen;
static inline bool cp_changes_pairs(void)
{
    return cp_pairs_chosen;
}

#pragma clang assume_nonnull end
#pragma GCC visibility pop

#endif
