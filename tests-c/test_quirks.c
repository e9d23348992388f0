/* SPDX-License-Identifier: GPL-2.0-only */
/* What the headers warn of under "6.12": each oddity as a caller meets it.  docs/KERNELS.md has the table. */
#include "test_helpers.h"

#define LOG UINT32_C(1) /* KVM_MEM_LOG_DIRTY_PAGES */

static bool is_dirty(struct world *w, gfn_t gfn)
{
    return tdpmmu_page_is_dirty(w->kvm, 0, gfn) == 1;
}

static struct world *logged_world(const struct machine *m)
{
    struct world *w = world_from(m->config);

    assert_int_equal(add_slot(w->kvm, SIDE_SLOT, LOG, SIDE_BASE, 1024, SIDE_HVA), 0);
    return w;
}

/* kvm_tdp_mmu_page_fault(): a page that was only read is in the log. */
static void a_read_fault_marks(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = logged_world(m);

        assert_false(is_dirty(w, SIDE_BASE + 5));
        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, (SIDE_BASE + 5) << 12, 0), RET_PF_FIXED);
        assert_true(is_dirty(w, SIDE_BASE + 5));
        assert_false(is_dirty(w, SIDE_BASE + 6));
        world_free(w);
    }
}

/* kvm_tdp_mmu_page_fault(): the same write again drops Dirty, if there is one. */
static void a_second_write_drops_dirty(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);
        gpa_t gpa = 5 << 12;

        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, gpa, PFERR_WRITE_MASK), RET_PF_FIXED);
        if (m->dirty) {
            int level;

            assert_true(is_dirty_spte(w->kvm, walk_end(w->vcpu, 5, &level)));
            assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, gpa, PFERR_WRITE_MASK), RET_PF_FIXED);
            assert_false(is_dirty_spte(w->kvm, walk_end(w->vcpu, 5, &level)));
            assert_true(is_writable_pte(walk_end(w->vcpu, 5, &level)));
        }
        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, gpa, PFERR_WRITE_MASK), RET_PF_SPURIOUS);
        world_free(w);
    }
}

/* kvm_tdp_mmu_map(): a host that does not let the page be written any more makes the leaf read-only, without a flush. */
static void a_read_takes_w_away(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);

        assert_int_equal(map_page(w, 5, 1), RET_PF_FIXED);
        world_forget(w);
        assert_int_equal(fault_on(w, w->vcpu, 5, 0, false, 1, pfn_for(5), false), RET_PF_FIXED);
        assert_false(is_writable_pte(spte_at(w->vcpu, 5, 1)));
        assert_int_equal(w->flush_count, 0);
        world_free(w);
    }
}

/* kvm_tdp_mmu_map(), kvm_vcpu_pre_fault_memory(): a prefault of what is mapped makes the leaf look unused. */
static void a_prefault_clears_accessed(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);
        struct kvm_pre_fault_memory range = { .gpa = UINT64_C(600) << 12, .size = 4096 };
        int level;

        assert_int_equal(map_page(w, 5, 1), RET_PF_FIXED);
        assert_true(is_accessed_spte(w->kvm, spte_at(w->vcpu, 5, 1)));
        assert_int_equal(fault_on(w, w->vcpu, 5, 0, true, 1, pfn_for(5), true), RET_PF_FIXED);
        assert_false(is_accessed_spte(w->kvm, spte_at(w->vcpu, 5, 1)));
        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, UINT64_C(600) << 12, PFERR_WRITE_MASK), RET_PF_FIXED);
        assert_true(is_accessed_spte(w->kvm, walk_end(w->vcpu, 600, &level)));
        assert_int_equal(kvm_vcpu_pre_fault_memory(w->vcpu, &range), 0);
        /* Without A/D bits the whole path ends in a fast fault, which finds nothing to do. */
        assert_int_equal(is_accessed_spte(w->kvm, walk_end(w->vcpu, 600, &level)), m->accessed == 0);
        world_free(w);
    }
}

/* zap_gfn_range() and its kin: a huge leaf is in an empty range that lies inside it. */
static void an_empty_range_takes_a_huge_leaf(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);

        assert_int_equal(map_page(w, 512, 2), RET_PF_FIXED);
        write_lock(&w->kvm->mmu_lock);
        assert_false(kvm_tdp_mmu_zap_leafs(w->kvm, 512, 512, false));
        assert_true(kvm_tdp_mmu_zap_leafs(w->kvm, 517, 517, false));
        write_unlock(&w->kvm->mmu_lock);
        assert_false(mapped(w->vcpu, 512));
        kvm_flush_remote_tlbs(w->kvm);
        world_free(w);
    }
}

/* kvm_tdp_mmu_map(): a fault that may map huge puts a leaf in the place of a table, and all that it mapped. */
static void a_fault_replaces_a_table(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);

        map_pages(w, 512, 4, 1);
        world_forget(w);
        assert_int_equal(map_page(w, 600, 2), RET_PF_FIXED);
        assert_true(is_large_pte(spte_at(w->vcpu, 512, 2)));
        assert_int_equal(w->flush_count, 1);
        world_free(w);
    }
}

/* kvm_tdp_mmu_map(): a fault below a huge leaf splits it, and finds its access allowed. */
static void a_fault_splits_a_leaf(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);

        assert_int_equal(map_page(w, 512, 2), RET_PF_FIXED);
        world_forget(w);
        assert_int_equal(fault_on(w, w->vcpu, 600, 0, true, 1, pfn_for(600), false), m->dirty ? RET_PF_FIXED : RET_PF_SPURIOUS);
        assert_int_equal(count_leaves(w->vcpu, 512, 1024, 1), 512);
        assert_int_equal(w->flush_count, 0);
        world_free(w);
    }
}

/* kvm_vm_ioctl_get_dirty_log(): when logging ends, tables go, and the next fault maps huge. */
static void logging_ends_by_zapping(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = logged_world(m);

        for (gfn_t gfn = SIDE_BASE; gfn < SIDE_BASE + 512; gfn++)
            assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, gfn << 12, PFERR_WRITE_MASK), RET_PF_FIXED);
        assert_int_equal(add_slot(w->kvm, SIDE_SLOT, 0, SIDE_BASE, 1024, SIDE_HVA), 0);
        assert_false(mapped(w->vcpu, SIDE_BASE));
        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, SIDE_BASE << 12, PFERR_WRITE_MASK), RET_PF_FIXED);
        assert_true(is_large_pte(spte_at(w->vcpu, SIDE_BASE, 2)));
        world_free(w);
    }
}

/* tdpmmu_memslots_generation(): SMM's slots count from 1. */
static void generations_begin(void **state)
{
    struct kvm *kvm = tdpmmu_create_vm(NULL);

    (void)state;
    assert_non_null(kvm);
    assert_int_equal(tdpmmu_memslots_generation(kvm, 0), 0);
    assert_int_equal(tdpmmu_memslots_generation(kvm, 1), 1);
    assert_int_equal(add_slot(kvm, 0, 0, 0, 512, WORLD_HVA), 0);
    assert_int_equal(tdpmmu_memslots_generation(kvm, 0), 2);
    assert_int_equal(tdpmmu_memslots_generation(kvm, 1), 1);
    assert_int_equal(delete_slot(kvm, 0), 0);
    assert_int_equal(tdpmmu_memslots_generation(kvm, 0), 6);
    tdpmmu_destroy_vm(kvm);
}

/* kvm_set_memory_region(): a move that fails late has zapped, and moved the generation by 4. */
static void a_late_failure_moves_the_generation(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);
        uint64_t before = tdpmmu_memslots_generation(w->kvm, 0);

        assert_int_equal(map_page(w, 5, 1), RET_PF_FIXED);
        assert_int_equal(add_slot(w->kvm, 0, 0, UINT64_C(1) << 50, WORLD_SLOT_PAGES, WORLD_HVA), -EINVAL);
        assert_int_equal(kvm_mmu_load(w->vcpu), 0);
        assert_false(mapped(w->vcpu, 5));
        assert_int_equal(tdpmmu_memslots_generation(w->kvm, 0), before + 4);
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_fault_marks),
        cmocka_unit_test(a_second_write_drops_dirty),
        cmocka_unit_test(a_read_takes_w_away),
        cmocka_unit_test(a_prefault_clears_accessed),
        cmocka_unit_test(an_empty_range_takes_a_huge_leaf),
        cmocka_unit_test(a_fault_replaces_a_table),
        cmocka_unit_test(a_fault_splits_a_leaf),
        cmocka_unit_test(logging_ends_by_zapping),
        cmocka_unit_test(generations_begin),
        cmocka_unit_test(a_late_failure_moves_the_generation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
