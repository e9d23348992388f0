// SPDX-License-Identifier: GPL-2.0-only
// A dirty log as live migration uses it: in each round the guest writes other pages, and the log has them.
//     cc -O2 -o kvm_dirty_log examples/kvm_dirty_log.c && build/tdpmmu-kvm ./kvm_dirty_log
#include <stdio.h>

#include "kvm_flat.h"

enum { ROUNDS = 20, PAGES = (FLAT_SIZE - FLAT_DATA) / 4096 };

#define IS_WRITTEN(page, round) ((page) * 7 % 31 == (round) % 31 || (page) == (round) * 3)

// All pages are read, some are written.
GUEST static void rounds(uint64_t first)
{
    for (uint64_t round = first;; round++) {
        uint64_t sum = 0;
        for (uint64_t page = 0; page < PAGES; page++) {
            if (IS_WRITTEN(page, round))
                *flat_page(page) = round;
            sum += *flat_page(page);
        }
        __asm__ volatile("" ::"r"(sum));
        flat_halt();
    }
}

int main(void)
{
    struct flat flat = flat_make(KVM_MEM_LOG_DIRTY_PAGES);
    struct flat_vcpu vcpu = flat_vcpu(&flat, 0, rounds, 1);
    unsigned dirty = 0;
    for (unsigned round = 1; round <= ROUNDS; round++) {
        uint64_t bitmap[PAGES / 64] = {0};
        struct kvm_dirty_log log = {.slot = 1, .dirty_bitmap = bitmap};
        flat_run_to_halt(&vcpu);
        FLAT_CALL(flat.vm, KVM_GET_DIRTY_LOG, &log);
        for (uint64_t page = 0; page < PAGES; page++) {
            int logged = bitmap[page / 64] >> page % 64 & 1;
            // KVM maps a page for writing where it can, even if it is read first, and then it is in the log.
            if (logged != IS_WRITTEN(page, round) && !(round == 1 && logged))
                errx(1, "round %u: page %llu is%s in the log", round, (unsigned long long)page, logged ? "" : " not");
            dirty += IS_WRITTEN(page, round);
        }
    }
    flat_data(&flat, 0, FLAT_SIZE - FLAT_DATA); // logging ends
    flat_run_to_halt(&vcpu);
    printf("%u dirty pages in %d rounds\n", dirty, ROUNDS);
    return 0;
}
