/* SPDX-License-Identifier: GPL-2.0-only */
#include "cplatform.h"

#define KINDS 6
_Static_assert(TDPMMU_FAIL_ANY == (1 << KINDS) - 1, "a count for each kind");

cp_shared32 cp_fail_kinds;

/*
 * The plan: written before the kinds are, by release, and good for who has seen one of them by acquire.  A thread that
 * is just counting while the plan changes may count into the next one.
 */
static cp_shared64 calls[KINDS]; /* of each kind, while it was counted */
static cp_shared64 fails_at;     /* the number of the call that fails; all kinds together */
static cp_shared64 total;
static cp_shared32 onwards;      /* those after it, too */
static cp_shared_word only;      /* the one thread whose calls count, by its data, or 0 */

void cp_fail_plan(uint32_t what, uint64_t n)
{
    __atomic_store_n(&cp_fail_kinds.raw, 0, __ATOMIC_RELAXED);
    if (n == 0)
        return; /* the counts stay */
    for (int i = 0; i < KINDS; i++)
        __atomic_store_n(&calls[i].raw, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&total.raw, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&fails_at.raw, n, __ATOMIC_RELAXED);
    __atomic_store_n(&onwards.raw, what & TDPMMU_FAIL_ONWARDS, __ATOMIC_RELAXED);
    __atomic_store_n(&only.raw, what & TDPMMU_FAIL_HERE ? (uintptr_t)cp_self() : 0, __ATOMIC_RELAXED);
    /* Pairs with the acquire in cp_fail_counts(). */
    __atomic_store_n(&cp_fail_kinds.raw, what & TDPMMU_FAIL_ANY, __ATOMIC_RELEASE);
}

bool cp_fail_counts(uint32_t kind)
{
    uintptr_t thread;
    uint64_t number, wanted;

    /* Pairs with the release in cp_fail_plan(): the rest of the plan is in place. */
    if (!(__atomic_load_n(&cp_fail_kinds.raw, __ATOMIC_ACQUIRE) & kind))
        return false;
    thread = __atomic_load_n(&only.raw, __ATOMIC_RELAXED);
    if (thread && thread != (uintptr_t)cp_self())
        return false;
    __atomic_fetch_add(&calls[__builtin_ctz(kind)].raw, 1, __ATOMIC_RELAXED);
    number = __atomic_add_fetch(&total.raw, 1, __ATOMIC_RELAXED);
    wanted = __atomic_load_n(&fails_at.raw, __ATOMIC_RELAXED);
    return number == wanted || (number > wanted && __atomic_load_n(&onwards.raw, __ATOMIC_RELAXED));
}

uint64_t cp_fail_calls(uint32_t kinds)
{
    uint64_t sum = 0;

    for (int i = 0; i < KINDS; i++)
        if (kinds >> i & 1)
            sum += __atomic_load_n(&calls[i].raw, __ATOMIC_RELAXED);
    return sum;
}
