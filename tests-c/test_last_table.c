/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A vCPU remembers where its last fault ended, its table and its slot.  Here whatever makes that
 * old happens between two faults: the second must end where a walk from the root ends.
 */
#include "test_helpers.h"

#include <sys/wait.h>
#include <unistd.h>

#define READ_ONLY KVM_MEM_READONLY

/* The host's frames, in single pages. */
static kvm_pfn_t frame(uint64_t hva, gfn_t offset)
{
    return ((hva >> 12) + offset) & ((UINT64_C(1) << 34) - 1);
}

static kvm_pfn_t single_pages(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn, bool write,
                              bool *writable, int *max_level)
{
    (void)ctx, (void)kvm, (void)write, (void)writable;
    *max_level = 1;
    return frame(slot->userspace_addr, gfn - slot->base_gfn);
}

static struct world *world_with_memory(void)
{
    static const struct tdpmmu_ops host = { .size = sizeof(host), .gfn_to_pfn = single_pages };
    struct world *w = world_from((struct tdpmmu_vm_config){
        .vendor = TDPMMU_NPT, .root_level = 4, .maxphyaddr = 46, .ops = &host });

    map_pages(w, 0, 2, 1); /* of table [0, 512) */
    return w;
}

/* By the whole path: the host's frame stands for the page. */
static int whole_fault(struct world *w, gfn_t gfn)
{
    return kvm_tdp_mmu_page_fault(w->vcpu, gfn << 12, PFERR_WRITE_MASK);
}

static void assert_maps(struct world *w, gfn_t gfn)
{
    assert_int_equal(map_page(w, gfn, 1), RET_PF_FIXED);
    assert_true(mapped(w->vcpu, gfn));
    assert_int_equal(count_leaves(w->vcpu, gfn, gfn + 1, 1), 1);
}

/* The same table is used again while it stands. */
static void table_stands(void **state)
{
    struct world *w = world_with_memory();

    (void)state;
    for (gfn_t gfn = 2; gfn < 512; gfn++)
        assert_maps(w, gfn);
    assert_maps(w, 512); /* another, and back */
    assert_int_equal(map_page(w, 511, 1), RET_PF_FIXED); /* as in the kernel: it drops Dirty */
    assert_int_equal(stats_of(w->kvm).pages_4k, 513);
    world_free(w);
}

static void zap_range(struct world *w)
{
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_zap_gfn_range(w->kvm, 0, GIB_PAGES);
    write_unlock(&w->kvm->mmu_lock);
}

static void zap_roots(struct world *w)
{
    kvm_mmu_zap_all_fast(w->kvm);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
}

static void zap_everything(struct world *w)
{
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_zap_all(w->kvm);
    write_unlock(&w->kvm->mmu_lock);
}

static void zap_table(struct world *w)
{
    write_lock(&w->kvm->mmu_lock);
    assert_true(kvm_tdp_mmu_zap_sp(w->kvm, table_holding(w->vcpu, 0, 1)));
    write_unlock(&w->kvm->mmu_lock);
}

static void collapse(struct world *w)
{
    read_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_zap_collapsible_sptes(w->kvm, slot_by_id(w, 0, 0));
    read_unlock(&w->kvm->mmu_lock);
}

static void recover(struct world *w)
{
    read_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_recover_huge_pages(w->kvm, slot_by_id(w, 0, 0));
    read_unlock(&w->kvm->mmu_lock);
    zap_range(w); /* the huge leaf: or nothing would be to be mapped */
}

static void set_up_again(struct world *w)
{
    kvm_mmu_uninit_tdp_mmu(w->kvm);
    assert_int_equal(kvm_mmu_init_tdp_mmu(w->kvm), 0);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
}

static void goes_by(void (*const *ways)(struct world *), unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct world *w = world_with_memory();

        print_message("way %u\n", i);
        ways[i](w);
        rcu_barrier(); /* the table's page is another one's by now, or nobody's */
        assert_false(mapped(w->vcpu, 5));
        assert_maps(w, 5);
        assert_false(mapped(w->vcpu, 0)); /* it did not come back */
        assert_int_equal(stats_of(w->kvm).pages_4k, 1);
        world_free(w);
    }
}

/* Each thing that cuts the table off, or takes its root away. */
static void table_goes(void **state)
{
    static void (*const ways[])(struct world *) = { zap_roots, zap_everything, zap_table, collapse, set_up_again };

    (void)state;
    goes_by(ways, sizeof(ways) / sizeof(ways[0]));
}

/* What Linux 6.12 does not have. */
static void table_goes_by_other_names(void **state)
{
    static void (*const ways[])(struct world *) = { zap_range, recover };

    (void)state;
    goes_by(ways, sizeof(ways) / sizeof(ways[0]));
}

static void zap_parent(struct world *w)
{
    write_lock(&w->kvm->mmu_lock);
    assert_true(kvm_tdp_mmu_zap_sp(w->kvm, table_holding(w->vcpu, 0, 2)));
    write_unlock(&w->kvm->mmu_lock);
}

/* Faults in turn in two tables below one: that goes. */
static void table_above_goes(void **state)
{
    static void (*const ways[])(struct world *) = { zap_roots, zap_everything, zap_parent, set_up_again };

    (void)state;
    for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        struct world *w = world_with_memory();

        print_message("way %u\n", i);
        assert_maps(w, 1024);
        assert_maps(w, 512);
        assert_maps(w, 1025); /* its table stands below the one that is remembered */
        ways[i](w);
        rcu_barrier();
        assert_maps(w, 513);
        assert_maps(w, 1026);
        assert_false(mapped(w->vcpu, 512));
        assert_false(mapped(w->vcpu, 1024));
        assert_int_equal(stats_of(w->kvm).pages_4k, 2);
        world_free(w);
    }
}

/* Under a root that is invalid nothing is mapped, whatever is remembered of it, from before or since. */
static void root_becomes_invalid(void **state)
{
    struct world *w = world_with_memory();

    (void)state;
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_invalidate_all_roots(w->kvm);
    write_unlock(&w->kvm->mmu_lock);
    assert_int_equal(whole_fault(w, 2), RET_PF_RETRY);
    /* Looks at the entry from the root. */
    assert_int_equal(tdpmmu_fast_page_fault(w->vcpu, 0, PFERR_PRESENT_MASK | PFERR_WRITE_MASK), RET_PF_SPURIOUS);
    assert_int_equal(whole_fault(w, 2), RET_PF_RETRY);
    assert_int_equal(map_page(w, 2, 1), RET_PF_RETRY);
    assert_int_equal(stats_of(w->kvm).pages_4k, 2);
    kvm_tdp_mmu_zap_invalidated_roots(w->kvm);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    assert_maps(w, 2);
    assert_int_equal(stats_of(w->kvm).pages_4k, 1);
    world_free(w);
}

/* A page of the arena goes from one place to another: the vCPU whose it was must not know it again. */
static void page_is_used_again(void **state)
{
    struct world *w = world_with_memory();
    struct kvm_vcpu *other = tdpmmu_create_vcpu(w->kvm, 1);

    (void)state;
    assert_int_equal(kvm_mmu_load(other), 0);
    for (int i = 0; i < 50; i++) {
        gfn_t elsewhere = GIB_PAGES + (gfn_t)i * 512;

        zap_everything(w);
        rcu_barrier();
        for (gfn_t gfn = elsewhere; gfn < elsewhere + 20 * 512; gfn += 512)
            fault_on(w, other, gfn, PFERR_WRITE_MASK, true, 1, pfn_for(gfn), false);
        assert_maps(w, 7);
        for (gfn_t gfn = elsewhere; gfn < elsewhere + 20 * 512; gfn += 512)
            assert_false(mapped(w->vcpu, gfn + 7));
        assert_maps(w, 8);
    }
    tdpmmu_destroy_vcpu(other);
    world_free(w);
}

/* The same of the page of the table above. */
static void page_above_is_used_again(void **state)
{
    struct world *w = world_with_memory();
    struct kvm_vcpu *other = tdpmmu_create_vcpu(w->kvm, 1);

    (void)state;
    assert_int_equal(add_slot(w->kvm, 2, 0, WORLD_SLOT_PAGES, 3 * WORLD_SLOT_PAGES, WORLD_HVA + (WORLD_SLOT_PAGES << 12)), 0);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    assert_int_equal(kvm_mmu_load(other), 0);
    for (int i = 0; i < 50; i++) {
        assert_maps(w, 1024);
        assert_maps(w, 512);
        assert_maps(w, 1025); /* through the table that is remembered as the one above */
        zap_everything(w);
        rcu_barrier();
        for (gfn_t gfn = GIB_PAGES + 513; gfn < 21 * GIB_PAGES; gfn += GIB_PAGES)
            fault_on(w, other, gfn, PFERR_WRITE_MASK, true, 1, pfn_for(gfn), false);
        assert_maps(w, 514);
        for (gfn_t gfn = GIB_PAGES + 514; gfn < 21 * GIB_PAGES; gfn += GIB_PAGES)
            assert_false(mapped(w->vcpu, gfn));
        zap_everything(w);
    }
    tdpmmu_destroy_vcpu(other);
    world_free(w);
}

/* The same gfn in another address space is another table's, and another slot's. */
static void address_space_changes(void **state)
{
    struct world *w = world_with_memory();

    (void)state;
    assert_int_equal(add_slot(w->kvm, 1u << 16, 0, 0, 512, WORLD_HVA + (64ull << 30)), 0);
    assert_int_equal(whole_fault(w, 3), RET_PF_FIXED);
    assert_int_equal(tdpmmu_vcpu_set_as_id(w->vcpu, 1), 0);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    assert_int_equal(whole_fault(w, 3), RET_PF_FIXED);
    assert_int_equal(spte_to_pfn(spte_at(w->vcpu, 3, 1)), frame(WORLD_HVA + (64ull << 30), 3));
    assert_int_equal(count_leaves(w->vcpu, 0, 512, 1), 1);
    assert_int_equal(tdpmmu_vcpu_set_as_id(w->vcpu, 0), 0);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    assert_int_equal(whole_fault(w, 4), RET_PF_FIXED);
    assert_int_equal(spte_to_pfn(spte_at(w->vcpu, 4, 1)), frame(WORLD_HVA, 4));
    world_free(w);
}

/* A slot that goes, moves, or gets other flags. */
static void slot_changes(void **state)
{
    const gfn_t base = 16 * GIB_PAGES;
    struct world *w = world_with_memory();

    (void)state;
    assert_int_equal(add_slot(w->kvm, 3, 0, base, 512, WORLD_HVA + (64ull << 30)), 0);
    assert_int_equal(whole_fault(w, base), RET_PF_FIXED);
    assert_int_equal(delete_slot(w->kvm, 3), 0);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    assert_int_equal(whole_fault(w, base + 1), RET_PF_EMULATE);
    assert_int_equal(add_slot(w->kvm, 3, READ_ONLY, base, 512, WORLD_HVA + (65ull << 30)), 0);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    assert_int_equal(whole_fault(w, base + 1), RET_PF_EMULATE); /* a write */
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, (base + 1) << 12, 0), RET_PF_FIXED);
    assert_int_equal(spte_to_pfn(spte_at(w->vcpu, base + 1, 1)), frame(WORLD_HVA + (65ull << 30), 1));
    assert_int_equal(delete_slot(w->kvm, 3), 0);
    assert_int_equal(add_slot(w->kvm, 3, KVM_MEM_LOG_DIRTY_PAGES, base, 512, WORLD_HVA + (66ull << 30)), 0);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    for (gfn_t gfn = base; gfn < base + 64; gfn += 9)
        assert_int_equal(whole_fault(w, gfn), RET_PF_FIXED);
    {
        uint64_t bitmap[8] = { 0 }, expected = 0;
        struct kvm_dirty_log log = { .slot = 3, .dirty_bitmap = bitmap };

        for (int i = 0; i < 64; i += 9)
            expected |= 1ull << i;
        assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), 0);
        assert_true(bitmap[0] == expected);
    }
    /* Moved: the old place is none any more, the new one is. */
    assert_int_equal(add_slot(w->kvm, 3, KVM_MEM_LOG_DIRTY_PAGES, base + 1024, 512, WORLD_HVA + (66ull << 30)), 0);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    assert_int_equal(whole_fault(w, base), RET_PF_EMULATE);
    assert_int_equal(whole_fault(w, base + 1024), RET_PF_FIXED);
    world_free(w);
}

/* Many slots side by side: each border is seen. */
static void next_slot(void **state)
{
    const gfn_t base = 16 * GIB_PAGES;
    struct world *w = world_with_memory();

    (void)state;
    for (uint32_t i = 0; i < 32; i++)
        assert_int_equal(add_slot(w->kvm, 3 + i, i % 2 ? READ_ONLY : 0, base + 8 * i, 8 - (i == 20),
                                  WORLD_HVA + (64ull << 30) + 8 * i * 4096), 0);
    for (int turn = 0; turn < 2000; turn++) {
        gfn_t offset = ((gfn_t)turn * 37) % 256;
        bool is_mmio = offset / 8 % 2 || offset == 20 * 8 + 7;
        int ret = whole_fault(w, base + offset);

        if (is_mmio)
            assert_int_equal(ret, RET_PF_EMULATE);
        else
            assert_in_range(ret, RET_PF_FIXED, RET_PF_SPURIOUS);
    }
    world_free(w);
}

/* Write protection is undone in the table that stands, and in none that does not. */
static void fast_fault(void **state)
{
    const uint64_t code = PFERR_PRESENT_MASK | PFERR_WRITE_MASK;
    struct world *w = world_with_memory();

    (void)state;
    read_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_wrprot_slot(w->kvm, slot_by_id(w, 0, 0), 1);
    read_unlock(&w->kvm->mmu_lock);
    assert_int_equal(tdpmmu_fast_page_fault(w->vcpu, 0, code), RET_PF_FIXED);
    assert_int_equal(tdpmmu_fast_page_fault(w->vcpu, 1 << 12, code), RET_PF_FIXED);
    zap_everything(w);
    assert_int_equal(tdpmmu_fast_page_fault(w->vcpu, 0, code), RET_PF_INVALID);
    /* A huge leaf, where a table was. */
    map_pages(w, 0, 512, 2);
    read_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_wrprot_slot(w->kvm, slot_by_id(w, 0, 0), 1);
    read_unlock(&w->kvm->mmu_lock);
    assert_int_equal(tdpmmu_fast_page_fault(w->vcpu, 0, code), RET_PF_FIXED);
    assert_true(spte_at(w->vcpu, 0, 2) & W_BIT);
    world_free(w);
}

/* Huge pages: beside each other; where a table stands; where a fetch may have none. */
static void huge_pages(void **state)
{
    struct world *w = world_with_memory();

    (void)state;
    map_pages(w, 1024, 2048, 2);
    assert_int_equal(count_leaves(w->vcpu, 1024, 3072, 2), 4);
    assert_int_equal(map_page(w, 0, 2), RET_PF_FIXED); /* over the table of 4K leaves */
    assert_int_equal(count_leaves(w->vcpu, 0, 512, 2), 1);
    assert_int_equal(stats_of(w->kvm).pages_4k, 0);
    map_pages(w, GIB_PAGES, 2 * GIB_PAGES, 3);
    assert_int_equal(count_leaves(w->vcpu, GIB_PAGES, 3 * GIB_PAGES, 3), 2);
    assert_int_equal(map_page(w, 1025, 1), RET_PF_FIXED); /* splits */
    assert_int_equal(map_page(w, 1024 + 512, 2), RET_PF_FIXED); /* as in the kernel: it drops Dirty */
    assert_int_equal(count_leaves(w->vcpu, 1024, 1536, 1), 512);
    world_free(w);
}

/* While an entry is frozen, and the CPUs are told to forget, another thread's fault has to try again. */
static int answer;

static void *fault_meanwhile(void *arg)
{
    struct world *w = arg;

    answer = fault_on(w, w->vcpu, 9, PFERR_WRITE_MASK, true, 1, pfn_for(9), false);
    return NULL;
}

static void let_fault(struct world *w)
{
    pthread_t thread;

    w->on_flush = NULL;
    if (!pthread_create(&thread, NULL, fault_meanwhile, w))
        pthread_join(thread, NULL);
}

static void frozen_meanwhile(void **state)
{
    struct world *w = world_with_memory();

    (void)state;
    answer = -1;
    w->on_flush = let_fault;
    collapse(w);
    assert_int_equal(answer, RET_PF_RETRY);
    assert_false(mapped(w->vcpu, 9));
    world_free(w);
}

/* As the change is told, too. */
static void let_fault_at_a_table(struct world *w, const struct change *change)
{
    if (change->level != 2)
        return;
    w->on_change = NULL;
    let_fault(w);
}

static void told_meanwhile(void **state)
{
    struct world *w = world_with_memory();

    (void)state;
    answer = -1;
    w->on_change = let_fault_at_a_table;
    read_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_recover_huge_pages(w->kvm, slot_by_id(w, 0, 0));
    read_unlock(&w->kvm->mmu_lock);
    assert_int_equal(answer, RET_PF_FIXED); /* below the huge leaf, which it splits */
    assert_true(mapped(w->vcpu, 9));
    assert_int_equal(count_leaves(w->vcpu, 0, 512, 1), 512);
    world_free(w);
}

/* A child of fork has the vCPUs, and their memory. */
static void child_goes_on(void **state)
{
    struct world *w;
    int status;
    pid_t child;

    (void)state;
    need_threads_in_children(); /* the one that frees tables */
    w = world_with_memory();
    child = fork();
    if (child == 0) {
        alarm(20);
        if (map_page(w, 3, 1) != RET_PF_FIXED || !mapped(w->vcpu, 3))
            _exit(1);
        zap_everything(w);
        _exit(map_page(w, 3, 1) != RET_PF_FIXED || !mapped(w->vcpu, 3) || mapped(w->vcpu, 0));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_maps(w, 4);
    assert_false(mapped(w->vcpu, 3));
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_stands),
        cmocka_unit_test(table_goes),
        cmocka_unit_test(table_goes_by_other_names),
        cmocka_unit_test(table_above_goes),
        cmocka_unit_test(root_becomes_invalid),
        cmocka_unit_test(page_is_used_again),
        cmocka_unit_test(page_above_is_used_again),
        cmocka_unit_test(address_space_changes),
        cmocka_unit_test(slot_changes),
        cmocka_unit_test(next_slot),
        cmocka_unit_test(fast_fault),
        cmocka_unit_test(huge_pages),
        cmocka_unit_test(frozen_meanwhile),
        cmocka_unit_test(told_meanwhile),
        cmocka_unit_test(child_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
