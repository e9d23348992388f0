/* SPDX-License-Identifier: GPL-2.0-only */
/* For programs that link libtdpmmu-fuzz.a and want no counts: what its code calls, and does nothing. */
#include <stdint.h>

#define WEAK __attribute__((weak))

WEAK void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop) { (void)start, (void)stop; }
WEAK void __sanitizer_cov_pcs_init(const uintptr_t *start, const uintptr_t *stop) { (void)start, (void)stop; }
WEAK void __sanitizer_cov_trace_pc_indir(uintptr_t callee) { (void)callee; }
WEAK void __sanitizer_cov_trace_switch(uint64_t value, uint64_t *cases) { (void)value, (void)cases; }
#define COMPARE(bits)                                                                                          \
    WEAK void __sanitizer_cov_trace_cmp##bits(uint64_t one, uint64_t other) { (void)one, (void)other; }        \
    WEAK void __sanitizer_cov_trace_const_cmp##bits(uint64_t one, uint64_t other) { (void)one, (void)other; }
COMPARE(1)
COMPARE(2)
COMPARE(4)
COMPARE(8)
WEAK _Thread_local uintptr_t __sancov_lowest_stack;
