/* SPDX-License-Identifier: GPL-2.0-only */
/* A guest of 2M pages: split, recovered, collapsed, and faults below them. */
#include "mmu_rows.h"

static void split_all(struct vm *vm)
{
    kvm_tdp_mmu_try_split_huge_pages(vm->kvm, vm->slot, BASE_GFN, BASE_GFN + pages, PG_LEVEL_4K, true);
}

static void split_and_back(struct vm *vm, unsigned long huge)
{
    read_lock(&vm->kvm->mmu_lock);
    MEASURE(SPLIT, huge, split_all(vm));
    read_unlock(&vm->kvm->mmu_lock);
    check(leaves_of(vm), pages, "leaves after a split");
#if SIDE_IS_OURS
    read_lock(&vm->kvm->mmu_lock);
    MEASURE(RECOVER, huge, kvm_tdp_mmu_recover_huge_pages(vm->kvm, vm->slot));
    read_unlock(&vm->kvm->mmu_lock);
    check(leaves_of(vm), huge, "leaves after recovery");
    rcu_barrier();
    read_lock(&vm->kvm->mmu_lock);
    split_all(vm);
    read_unlock(&vm->kvm->mmu_lock);
#endif
    read_lock(&vm->kvm->mmu_lock);
    MEASURE(COLLAPSE, huge, kvm_tdp_mmu_zap_collapsible_sptes(vm->kvm, vm->slot));
    read_unlock(&vm->kvm->mmu_lock);
    check(leaves_of(vm), 0, "leaves after a collapse");
    rcu_barrier();
    write_lock(&vm->kvm->mmu_lock);
    kvm_tdp_mmu_zap_all(vm->kvm);
    write_unlock(&vm->kvm->mmu_lock);
    rcu_barrier();
}

static void fault_on(struct vm *vm, const unsigned int *which, unsigned long count, int level)
{
    for (unsigned long i = 0; i < count; i++)
        fault_fixes(vm, which[i], level);
}

/* The first pages of all 2M pages, in random order. */
static unsigned int *random_huge(unsigned long huge)
{
    unsigned int *which = malloc(huge * sizeof(*which));
    unsigned long count = 0;

    if (!which)
        die("no memory");
    for (unsigned long i = 0; i < random_count && count < huge; i++)
        if (random_pages[i] % 512 == 0)
            which[count++] = random_pages[i];
    check(count, huge, "2M pages");
    return which;
}

void do_huge(void)
{
    unsigned long huge = pages / 512, visited, leaves;
    unsigned int *which = random_huge(huge);
    struct vm vm = vm_new();

    MEASURE(MAP_HUGE, huge, map_all(&vm, PG_LEVEL_2M));
    check(leaves_of(&vm), huge, "leaves after 2M faults");
    visited = walk_full(&vm, &leaves);
    MEASURE(WALK_HUGE, visited, walk_full(&vm, &leaves));
    split_and_back(&vm, huge);
    MEASURE(MAP_HUGE_RAND, huge, fault_on(&vm, which, huge, PG_LEVEL_2M));
    MEASURE(DEMOTE, huge, fault_on(&vm, which, huge, PG_LEVEL_4K));
    vm_free(&vm);
    free(which);
}
