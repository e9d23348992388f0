/* SPDX-License-Identifier: GPL-2.0-only */
/* A guest of 4K pages: from the first fault to the VM's end. */
#include "mmu_rows.h"

static void refault(struct vm *vm, int result)
{
    for (unsigned long i = 0; i < pages; i++)
        fault_gives(vm, i, PG_LEVEL_4K, result);
}

static void look(struct vm *vm)
{
    unsigned long leaves, visited = walk_full(vm, &leaves), count = pages < 1ul << 20 ? pages : 1ul << 20, sum = 0;

    check(leaves, pages, "leaves after faults");
    MEASURE(WALK_FULL, visited, walk_full(vm, &leaves));
    MEASURE(WALK_ITER, visited, visited = walk_steps(vm));
    MEASURE(GET_WALK_RAND, count, sum += look_up(vm, count, true));
    MEASURE(GET_WALK_SEQ, count, sum += look_up(vm, count, false));
    check(sum, 2 * count, "levels that get_walk found");
    MEASURE(REFAULT, pages, refault(vm, RET_PF_FIXED));
    MEASURE(SPURIOUS, pages, refault(vm, RET_PF_SPURIOUS));
}

static void fix_fast(struct vm *vm)
{
    for (unsigned long i = 0; i < pages; i++)
        if (side_fast_fault(vm->vcpu, gpa_of(i), WRITE_FAULT | PFERR_PRESENT_MASK) != RET_PF_FIXED)
            die("a fast page fault fixed nothing");
}

static void clear_masked(struct vm *vm, bool wrprot)
{
    for (unsigned long i = 0; i < pages; i += 64)
        kvm_tdp_mmu_clear_dirty_pt_masked(vm->kvm, (void *)vm->slot, BASE_GFN + i, ~0ul, wrprot);
}

static void log_dirty(struct vm *vm)
{
    read_lock(&vm->kvm->mmu_lock);
    MEASURE(WRPROT, pages, kvm_tdp_mmu_wrprot_slot(vm->kvm, vm->slot, PG_LEVEL_4K));
    MEASURE(WRPROT_NOOP, pages, kvm_tdp_mmu_wrprot_slot(vm->kvm, vm->slot, PG_LEVEL_4K));
    read_unlock(&vm->kvm->mmu_lock);
    MEASURE(FAST_FAULT, pages, fix_fast(vm));
    set_bits(vm, DIRTY_BIT | ACCESSED_BIT);
    read_lock(&vm->kvm->mmu_lock);
    MEASURE(CLEAR_DIRTY, pages, kvm_tdp_mmu_clear_dirty_slot(vm->kvm, vm->slot));
    read_unlock(&vm->kvm->mmu_lock);
    set_bits(vm, DIRTY_BIT);
    write_lock(&vm->kvm->mmu_lock);
    MEASURE(MASKED_DIRTY, pages, clear_masked(vm, false));
    MEASURE(MASKED_WRPROT, pages, clear_masked(vm, true));
    write_unlock(&vm->kvm->mmu_lock);
}

static void age(struct vm *vm)
{
    struct kvm_gfn_range range = { .slot = vm->slot, .start = BASE_GFN, .end = BASE_GFN + pages };
    bool young[4];

    set_bits(vm, WRITABLE_BIT | DIRTY_BIT | ACCESSED_BIT);
    side_age_lock(vm->kvm);
    MEASURE(TEST_AGE, pages, young[0] = kvm_tdp_mmu_test_age_gfn(vm->kvm, &range));
    MEASURE(AGE, pages, young[1] = kvm_tdp_mmu_age_gfn_range(vm->kvm, &range));
    MEASURE(AGE_NOOP, pages, young[2] = kvm_tdp_mmu_age_gfn_range(vm->kvm, &range));
    MEASURE(TEST_AGE_NONE, pages, young[3] = kvm_tdp_mmu_test_age_gfn(vm->kvm, &range));
    side_age_unlock(vm->kvm);
    if (!young[0] || !young[1] || young[2] || young[3])
        die("aging answers wrongly");
    set_bits(vm, DIRTY_BIT | ACCESSED_BIT);
}

static void zap_all(struct vm *vm)
{
    double before = wait_for_quiet();
    struct stretch zapped = stretch_begin(), over = zapped;

    write_lock(&vm->kvm->mmu_lock);
    kvm_tdp_mmu_zap_all(vm->kvm);
    write_unlock(&vm->kvm->mmu_lock);
    stretch_end(&zapped);
    rcu_barrier();
    stretch_end(&over);
    before = probe_after(before, &over);
    sample(ZAP_ALL, zapped.own_ns / (double)pages, before);
    sample(ZAP_ALL_BARRIER, over.elapsed_ns / (double)pages, before);
    check(leaves_of(vm), 0, "leaves after zap_all");
}

static void zap(struct vm *vm)
{
    write_lock(&vm->kvm->mmu_lock);
    MEASURE(ZAP_LEAFS, pages, kvm_tdp_mmu_zap_leafs(vm->kvm, BASE_GFN, BASE_GFN + pages, false));
    write_unlock(&vm->kvm->mmu_lock);
    check(leaves_of(vm), 0, "leaves after zap_leafs");
    MEASURE(MAP_TABLES, pages, map_all(vm, PG_LEVEL_4K));
    zap_all(vm);
    map_all(vm, PG_LEVEL_4K);
    write_lock(&vm->kvm->mmu_lock);
    kvm_tdp_mmu_invalidate_all_roots(vm->kvm);
    write_unlock(&vm->kvm->mmu_lock);
    MEASURE(ZAP_INVALID, pages, kvm_tdp_mmu_zap_invalidated_roots(vm->kvm));
    rcu_barrier();
    side_load(vm->vcpu);
    map_all(vm, PG_LEVEL_4K);
}

void do_small(void)
{
    struct vm vm = vm_new();

    MEASURE(MAP_SEQ, pages, map_all(&vm, PG_LEVEL_4K));
    look(&vm);
    log_dirty(&vm);
    age(&vm);
    zap(&vm);
    MEASURE_ELAPSED(VM_DESTROY, pages, vm_free(&vm));
}

static void map_bare(struct vm *vm)
{
    for (unsigned long i = 0; i < pages; i++)
        if (side_map(vm->vcpu, gpa_of(i), WRITE_FAULT, PG_LEVEL_4K) != RET_PF_FIXED)
            die("kvm_tdp_mmu_map() fixed nothing");
}

void do_random(void)
{
    struct vm vm = vm_new();

    MEASURE(MAP_RAND, pages, map_random(&vm));
    check(leaves_of(&vm), pages, "leaves after random faults");
    vm_free(&vm);
    vm = vm_new();
    read_lock(&vm.kvm->mmu_lock);
    MEASURE(MAP_BARE, pages, map_bare(&vm));
    read_unlock(&vm.kvm->mmu_lock);
    check(leaves_of(&vm), pages, "leaves after kvm_tdp_mmu_map()");
    vm_free(&vm);
}

/* Faults on some tables only: each page of one table in 64, or one page of each table. */
static void sparse(enum row row, unsigned long tables_apart, unsigned long per_table)
{
    struct vm vm = vm_new();
    unsigned long leaves, visited;

    for (unsigned long table = 0; table < pages; table += 512 * tables_apart)
        for (unsigned long i = 0; i < per_table; i++)
            fault_fixes(&vm, table + i, PG_LEVEL_4K);
    visited = walk_full(&vm, &leaves);
    check(leaves, pages / 512 / tables_apart * per_table, "leaves of a sparse guest");
    MEASURE(row, visited, walk_full(&vm, &leaves));
    vm_free(&vm);
}

void do_sparse(void)
{
    sparse(SPARSE_64, 64, 512);
    sparse(SPARSE_512, 1, 1);
}
