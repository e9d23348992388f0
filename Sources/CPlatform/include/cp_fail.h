/* SPDX-License-Identifier: GPL-2.0-only */
/* Calls that fail because a rig wants them to. */
#ifndef CP_FAIL_H
#define CP_FAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "cp_shared.h"
#include "../../../include/tdpmmu/rig_fail.h"

#pragma GCC visibility push(hidden)

/* The kinds that are counted now (enum tdpmmu_fail); 0 as long as no rig asks. */
extern cp_shared32 cp_fail_kinds;

/* One more call of that kind: shall it fail? */
bool cp_fail_counts(uint32_t kind);

static inline bool cp_fails(uint32_t kind)
{
    return __builtin_expect(__atomic_load_n(&cp_fail_kinds.raw, __ATOMIC_RELAXED) & kind, 0) && cp_fail_counts(kind);
}

/* What tdpmmu_fail_nth() and tdpmmu_fail_count() do; `what` has known bits only. */
void cp_fail_plan(uint32_t what, uint64_t n);
uint64_t cp_fail_calls(uint32_t kinds);

#pragma GCC visibility pop

#endif
