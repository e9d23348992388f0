/* SPDX-License-Identifier: GPL-2.0-only */
/* Was a page used?  With Accessed bits, and by access tracking without them. */
#include "test_helpers.h"

static struct kvm_gfn_range range_of(struct world *w, int as_id, gfn_t start, gfn_t end)
{
    return (struct kvm_gfn_range){ .slot = slot_by_id(w, as_id, 0), .start = start, .end = end };
}

static bool age(struct world *w, gfn_t start, gfn_t end)
{
    struct kvm_gfn_range range = range_of(w, 0, start, end);

    return kvm_tdp_mmu_age_gfn_range(w->kvm, &range);
}

static bool test_age(struct world *w, gfn_t start, gfn_t end)
{
    struct kvm_gfn_range range = range_of(w, 0, start, end);

    return kvm_tdp_mmu_test_age_gfn(w->kvm, &range);
}

/* A leaf after aging: A clear, or, without A, R and X put away and RWX clear. */
static uint64_t aged(const struct machine *m, uint64_t bits)
{
    return m->accessed ? bits & ~m->accessed : (bits & ~7ull) | (bits & 5) << 54;
}

static void exact_values(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);
        uint64_t before;

        map_pages(w, 0, 8, 1);
        map_pages(w, 512, 512, 2);
        map_pages(w, GIB_PAGES, GIB_PAGES, 3);
        world_forget(w);
        before = checksum(w->vcpu);
        assert_true(test_age(w, 0, 8));
        assert_int_equal(checksum(w->vcpu), before); /* only asks */
        assert_int_equal(w->change_count, 0);
        assert_true(age(w, 2, 5));
        for (gfn_t gfn = 0; gfn < 8; gfn++)
            assert_spte(w->vcpu, gfn, 1, gfn >= 2 && gfn < 5 ? aged(m, m->leaf) : m->leaf, pfn_for(gfn));
        assert_int_equal(w->change_count, 3);
        assert_false(test_age(w, 2, 5));
        assert_false(age(w, 2, 5));
        assert_int_equal(w->change_count, 3);
        assert_true(test_age(w, 2, 6));
        assert_true(test_age(w, 1, 5));
        /* Any part of a huge page is the whole. */
        assert_true(test_age(w, 700, 701));
        assert_true(age(w, 700, 701));
        assert_spte(w->vcpu, 512, 2, aged(m, m->leaf | PSE_BIT), pfn_for(512));
        assert_false(test_age(w, 512, 1024));
        assert_true(age(w, 2 * GIB_PAGES - 1, 2 * GIB_PAGES));
        assert_spte(w->vcpu, GIB_PAGES, 3, aged(m, m->leaf | PSE_BIT), pfn_for(GIB_PAGES));
        /* Nothing there, nothing used. */
        assert_false(test_age(w, 3 * GIB_PAGES, 4 * GIB_PAGES));
        assert_false(age(w, 3 * GIB_PAGES, 4 * GIB_PAGES));
        assert_int_equal(w->flush_count, 0); /* no CPU is asked to forget */
        world_free(w);
    }
}

/* With A: the CPU sets it again by itself, on the one page it used. */
static void used_again(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w;

        if (!m->accessed)
            continue;
        w = world_from(m->config);
        map_pages(w, 0, 8, 1);
        assert_true(age(w, 0, 8));
        assert_int_equal(tdpmmu_cpu_access(w->vcpu, 5 << 12, 0, NULL), 1);
        assert_spte(w->vcpu, 5, 1, m->leaf, pfn_for(5));
        assert_false(test_age(w, 0, 5));
        assert_true(test_age(w, 5, 6));
        assert_false(test_age(w, 6, 8));
        world_free(w);
    }
}

/* Without A: the next access faults, and the fault is fixed without mmu_lock. */
static void tracked_access_faults(void **state)
{
    const struct machine *m = &machines[2];
    static const struct {
        uint64_t access;
        bool writable_after;
    } cases[] = { { 0, false }, { PFERR_FETCH_MASK, false }, { PFERR_WRITE_MASK, true } };

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct world *w = world_from(m->config);
        uint64_t error_code = 0;

        map_pages(w, 0, 2, 1);
        assert_true(age(w, 0, 2));
        assert_spte(w->vcpu, 1, 1, 0x8750000000000870, pfn_for(1));
        assert_false(test_age(w, 0, 2));
        assert_int_equal(tdpmmu_cpu_access(w->vcpu, 1 << 12, cases[i].access, &error_code), 0);
        assert_int_equal(error_code & PFERR_PRESENT_MASK, 0); /* nothing is permitted: not present */
        assert_int_equal(tdpmmu_fast_page_fault(w->vcpu, 1 << 12, error_code), RET_PF_FIXED);
        /* W is not put away: only a write brings it back. */
        assert_spte(w->vcpu, 1, 1, cases[i].writable_after ? m->leaf : m->leaf & ~W_BIT, pfn_for(1));
        assert_int_equal(tdpmmu_cpu_access(w->vcpu, 1 << 12, cases[i].access, NULL), 1);
        assert_true(test_age(w, 0, 2));
        assert_spte(w->vcpu, 0, 1, 0x8750000000000870, pfn_for(0)); /* the other one was not used */
        assert_int_equal(stats_of(w->kvm).fast_faults, 1);
        /* A write after the read still finds its way. */
        guest_write(w->vcpu, 1);
        assert_spte(w->vcpu, 1, 1, m->leaf, pfn_for(1));
        world_free(w);
    }
}

/* A prefault is no access. */
static void prefault_is_not_accessed(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);

        assert_int_equal(fault_on(w, w->vcpu, 5, 0, true, 1, pfn_for(5), true), RET_PF_FIXED);
        assert_spte(w->vcpu, 5, 1, aged(m, m->leaf), pfn_for(5));
        assert_false(test_age(w, 5, 6));
        assert_int_equal(guest_access(w->vcpu, 5, 0), 1);
        assert_true(test_age(w, 5, 6));
        world_free(w);
    }
}

/* Aging twice must not put away what is put away already: R and X would be lost. */
static void tracked_twice(void **state)
{
    const struct machine *m = &machines[2];
    struct world *w = world_from(m->config);

    (void)state;
    map_pages(w, 1, 1, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(age(w, 0, 8), i == 0);
        assert_spte(w->vcpu, 1, 1, 0x8750000000000870, pfn_for(1));
    }
    assert_int_equal(guest_write(w->vcpu, 1), 1);
    assert_spte(w->vcpu, 1, 1, m->leaf, pfn_for(1));
    world_free(w);
}

/* The slot's address space and no other. */
static void address_spaces_age_apart(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);
        struct kvm_vcpu *smm = tdpmmu_create_vcpu(w->kvm, 1);
        struct kvm_gfn_range range;

        assert_int_equal(add_slot(w->kvm, 1u << 16, 0, 0, 512, WORLD_HVA), 0);
        assert_int_equal(tdpmmu_vcpu_set_as_id(smm, 1), 0);
        assert_int_equal(kvm_mmu_load(smm), 0);
        map_pages(w, 5, 1, 1);
        assert_int_equal(fault_on(w, smm, 5, PFERR_WRITE_MASK, true, 1, pfn_for(5), false), RET_PF_FIXED);
        assert_true(age(w, 0, 8));
        assert_spte(smm, 5, 1, m->leaf, pfn_for(5));
        assert_false(test_age(w, 0, 8));
        range = range_of(w, 1, 0, 8);
        assert_true(kvm_tdp_mmu_test_age_gfn(w->kvm, &range));
        assert_true(kvm_tdp_mmu_age_gfn_range(w->kvm, &range));
        assert_spte(smm, 5, 1, aged(m, m->leaf), pfn_for(5));
        world_free(w);
    }
}

/*
 * Entries that are no leaves hold bits that look like Accessed: a frozen one does
 * by its very value.  The kernel had "dirty clearing that touches frozen or MMIO
 * entries", for Accessed.  To put it in: drop `iter.isAtLeaf` from the guard of
 * changeLeaves() in MMU/LeafUpdate.swift, and in SPTEMasks.isAccessed() the presence.
 */
static void frozen_and_mmio_untouched(void **state)
{
    const gfn_t gfn = 20 * GIB_PAGES;

    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);
        struct kvm_gfn_range range;
        uint64_t mmio, *frozen;

        /* A generation with many bits, some of them where A is. */
        for (int i = 0; i < 63; i++) {
            assert_int_equal(add_slot(w->kvm, 9, 0, gfn, 1, SIDE_HVA), 0);
            assert_int_equal(delete_slot(w->kvm, 9), 0);
        }
        assert_int_equal(kvm_mmu_load(w->vcpu), 0);
        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, gfn << 12, 0), RET_PF_EMULATE);
        mmio = spte_at(w->vcpu, gfn, 1);
        assert_true(is_mmio_spte(w->kvm, mmio));
        assert_int_equal(add_slot(w->kvm, 9, 0, gfn, 64, WORLD_HVA + (gfn << 12)), 0);
        world_forges(w);
        frozen = entry_of(w->vcpu, gfn + 2, 1);
        __atomic_store_n(frozen, FROZEN_SPTE, __ATOMIC_RELEASE);
        world_forget(w);
        range = (struct kvm_gfn_range){ .slot = slot_by_id(w, 0, 9), .start = gfn, .end = gfn + 64 };
        assert_false(kvm_tdp_mmu_test_age_gfn(w->kvm, &range));
        assert_false(kvm_tdp_mmu_age_gfn_range(w->kvm, &range));
        assert_int_equal(spte_at(w->vcpu, gfn, 1), mmio);
        assert_int_equal(__atomic_load_n(frozen, __ATOMIC_ACQUIRE), FROZEN_SPTE);
        assert_int_equal(w->change_count, 0);
        __atomic_store_n(frozen, SHADOW_NONPRESENT_VALUE, __ATOMIC_RELEASE);
        world_free(w);
    }
}

/* Invalid roots hold the host's pages too, until they are zapped. */
static void invalid_roots_are_aged(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);

    (void)state;
    map_pages(w, 5, 1, 1);
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_invalidate_all_roots(w->kvm);
    write_unlock(&w->kvm->mmu_lock);
    assert_true(test_age(w, 0, 8));
    assert_true(age(w, 0, 8));
    assert_spte(w->vcpu, 5, 1, 0xe47, pfn_for(5));
    world_free(w);
}

/* Neither lock is needed, whoever has it: reclaim must not wait for faults. */
static void *age_under_a_held_lock(void *arg)
{
    return (void *)(uintptr_t)(age(arg, 0, 8) + 1);
}

static void needs_no_lock(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    pthread_t thread;
    void *result;

    (void)state;
    map_pages(w, 5, 1, 1);
    write_lock(&w->kvm->mmu_lock);
    pthread_create(&thread, NULL, age_under_a_held_lock, w);
    pthread_join(thread, &result); /* hangs if it waits for the lock */
    write_unlock(&w->kvm->mmu_lock);
    assert_ptr_equal(result, (void *)2);
    world_free(w);
}

/* ---- against the CPU ------------------------------------------------------------- */

enum { PAGES = 4 }; /* few, so that the two often meet */

static atomic_bool stop;

static void *age_all_the_time(void *arg)
{
    while (!atomic_load(&stop))
        age(arg, 0, PAGES);
    return NULL;
}

/*
 * Aging must not take back a Dirty bit that the CPU sets meanwhile, nor an entry
 * that is being zapped.  The kernel had "a plain write that loses a hardware-set Dirty
 * bit": in changeBits() of PageTable/SPTESlot.swift store instead of replacing.
 */
static void dirty_survives_aging(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w;
        unsigned n = rounds(20000), lost = 0;
        pthread_t thread;

        if (!m->dirty)
            continue;
        w = world_from(m->config);
        map_pages(w, 0, PAGES, 1);
        atomic_store(&stop, false);
        pthread_create(&thread, NULL, age_all_the_time, w);
        for (unsigned i = 0; i < n; i++) {
            read_lock(&w->kvm->mmu_lock);
            kvm_tdp_mmu_clear_dirty_slot(w->kvm, slot_by_id(w, 0, 0));
            read_unlock(&w->kvm->mmu_lock);
            for (gfn_t gfn = 0; gfn < PAGES; gfn++) {
                tdpmmu_cpu_access(w->vcpu, gfn << 12, 0, NULL); /* for the aging to see Accessed alone */
                lost += tdpmmu_cpu_access(w->vcpu, gfn << 12, PFERR_WRITE_MASK, NULL) != 1;
            }
            for (gfn_t gfn = 0; gfn < PAGES; gfn++)
                lost += !is_dirty_spte(w->kvm, spte_at(w->vcpu, gfn, 1));
        }
        atomic_store(&stop, true);
        pthread_join(thread, NULL);
        assert_int_equal(lost, 0);
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_values),
        cmocka_unit_test(used_again),
        cmocka_unit_test(tracked_access_faults),
        cmocka_unit_test(prefault_is_not_accessed),
        cmocka_unit_test(tracked_twice),
        cmocka_unit_test(address_spaces_age_apart),
        cmocka_unit_test(frozen_and_mmio_untouched),
        cmocka_unit_test(invalid_roots_are_aged),
        cmocka_unit_test(needs_no_lock),
        cmocka_unit_test(dirty_survives_aging),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
