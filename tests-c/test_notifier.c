/* SPDX-License-Identifier: GPL-2.0-only */
/* The host's memory notifiers: by host address, and against faults under way. */
#include "test_helpers.h"

#define MIRROR_SLOT 2u
#define MIRROR_BASE (24ull * GIB_PAGES)
#define HVA_OF(gfn) (WORLD_HVA + ((gfn) << 12)) /* of slot 0 */

/*
 * Slot 0; a second slot that maps the same host memory 0..4095 elsewhere in the
 * guest; and a third, in SMM, that maps it once more.
 */
static struct world *mirrored_world(const struct machine *m, struct kvm_vcpu **smm)
{
    struct world *w = world_from(m->config);

    assert_int_equal(add_slot(w->kvm, MIRROR_SLOT, 0, MIRROR_BASE, 4096, WORLD_HVA), 0);
    assert_int_equal(add_slot(w->kvm, 1u << 16, 0, 0, 4096, WORLD_HVA), 0);
    *smm = tdpmmu_create_vcpu(w->kvm, 1);
    assert_int_equal(tdpmmu_vcpu_set_as_id(*smm, 1), 0);
    assert_int_equal(kvm_mmu_load(*smm), 0);
    return w;
}

/* A 4K page at the same host address in all three. */
static void map_everywhere(struct world *w, struct kvm_vcpu *smm, gfn_t gfn)
{
    assert_int_equal(map_page(w, gfn, 1), RET_PF_FIXED);
    assert_int_equal(fault_on(w, w->vcpu, MIRROR_BASE + gfn, PFERR_WRITE_MASK, true, 1, pfn_for(gfn), false),
                     RET_PF_FIXED);
    assert_int_equal(fault_on(w, smm, gfn, PFERR_WRITE_MASK, true, 1, pfn_for(gfn), false), RET_PF_FIXED);
}

static bool zap_hva(struct world *w, uint64_t start, uint64_t end)
{
    bool flush;

    write_lock(&w->kvm->mmu_lock);
    flush = kvm_tdp_mmu_zap_hva_range(w->kvm, start, end);
    write_unlock(&w->kvm->mmu_lock);
    return flush;
}

static bool set_spte_hva(struct world *w, uint64_t hva, kvm_pfn_t pfn, bool writable)
{
    bool changed;

    write_lock(&w->kvm->mmu_lock);
    changed = kvm_tdp_mmu_set_spte_hva(w->kvm, hva, pfn, writable);
    write_unlock(&w->kvm->mmu_lock);
    return changed;
}

static void zap_over_all_slots(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct kvm_vcpu *smm;
        struct world *w = mirrored_world(m, &smm);

        for (gfn_t gfn = 10; gfn < 20; gfn++)
            map_everywhere(w, smm, gfn);
        world_forget(w);
        /* Bytes: a page that the range only touches goes, too. */
        assert_true(zap_hva(w, HVA_OF(12) + 4095, HVA_OF(15) + 1));
        for (gfn_t gfn = 10; gfn < 20; gfn++) {
            bool gone = gfn >= 12 && gfn <= 15;

            assert_int_equal(mapped(w->vcpu, gfn), !gone);
            assert_int_equal(mapped(w->vcpu, MIRROR_BASE + gfn), !gone);
            assert_int_equal(mapped(smm, gfn), !gone);
        }
        assert_int_equal(w->change_count, 12);
        assert_int_equal(w->flush_count, 0); /* the caller's */
        assert_false(zap_hva(w, HVA_OF(12), HVA_OF(16)));          /* gone already */
        assert_false(zap_hva(w, 0, WORLD_HVA));                     /* no slot there */
        assert_false(zap_hva(w, HVA_OF(WORLD_SLOT_PAGES), UINT64_MAX));
        assert_true(zap_hva(w, 0, UINT64_MAX));                     /* everything */
        assert_int_equal(stats_of(w->kvm).pages_4k, 0);
        world_free(w);
    }
}

/*
 * The flush of one root must not be forgotten over the next.
 * The kernel had "flush state lost between roots".  To put it in: let add() of
 * PageTable/OwedFlush.swift take over what is added, owed or not.
 */
static void flush_of_any_slot_counts(void **state)
{
    (void)state;
    for (int where = 0; where < 3; where++) {
        struct kvm_vcpu *smm;
        struct world *w = mirrored_world(&machines[3], &smm);
        struct kvm_vcpu *vcpu = where == 2 ? smm : w->vcpu;
        gfn_t gfn = where == 1 ? MIRROR_BASE + 7 : 7;

        assert_int_equal(fault_on(w, vcpu, gfn, PFERR_WRITE_MASK, true, 1, pfn_for(7), false), RET_PF_FIXED);
        assert_true(zap_hva(w, HVA_OF(7), HVA_OF(8)));
        /* The host's own call flushes by itself, once. */
        assert_int_equal(fault_on(w, vcpu, gfn, PFERR_WRITE_MASK, true, 1, pfn_for(7), false), RET_PF_FIXED);
        world_forget(w);
        kvm_mmu_notifier_invalidate_range_start(w->kvm, HVA_OF(7), HVA_OF(8), true);
        assert_int_equal(w->flush_count, 1);
        kvm_mmu_notifier_invalidate_range_end(w->kvm, HVA_OF(7), HVA_OF(8));
        world_free(w);
    }
}

static void age_over_all_slots(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct kvm_vcpu *smm;
        struct world *w = mirrored_world(m, &smm);
        uint64_t accessed = m->leaf;
        uint64_t aged = m->accessed ? accessed & ~m->accessed : (accessed & ~7ull) | 5ull << 54;

        map_everywhere(w, smm, 7);
        map_everywhere(w, smm, 8);
        assert_true(kvm_tdp_mmu_test_age_hva(w->kvm, HVA_OF(7) + 123));
        assert_true(kvm_tdp_mmu_age_hva_range(w->kvm, HVA_OF(7), HVA_OF(8)));
        assert_spte(w->vcpu, 7, 1, aged, pfn_for(7));
        assert_spte(w->vcpu, MIRROR_BASE + 7, 1, aged, pfn_for(7));
        assert_spte(smm, 7, 1, aged, pfn_for(7));
        assert_spte(w->vcpu, 8, 1, m->leaf, pfn_for(8));
        assert_false(kvm_tdp_mmu_test_age_hva(w->kvm, HVA_OF(7)));
        assert_false(kvm_tdp_mmu_age_hva_range(w->kvm, HVA_OF(7), HVA_OF(8)));
        assert_true(kvm_tdp_mmu_test_age_hva(w->kvm, HVA_OF(8)));
        /* Used through any of them, it is used. */
        guest_access(smm, 7, 0);
        assert_true(kvm_tdp_mmu_test_age_hva(w->kvm, HVA_OF(7)));
        assert_true(kvm_tdp_mmu_age_hva_range(w->kvm, HVA_OF(7), HVA_OF(8)));
        guest_access(w->vcpu, MIRROR_BASE + 7, 0);
        assert_true(kvm_tdp_mmu_test_age_hva(w->kvm, HVA_OF(7)));
        assert_false(kvm_tdp_mmu_test_age_hva(w->kvm, WORLD_HVA - 1));
        world_free(w);
    }
}

/*
 * Another page, read-only: first nothing, then a flush, then the new page.
 * The kernel had "a missing flush on leaf-to-leaf change".  To put it in: in setPage()
 * of MMU/HostRanges.swift drop payNow(); or set the new leaf in one step, which
 * the check of every change refuses with a warning.
 */
static void set_spte_in_two_steps(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);
        uint64_t old = m->leaf | pfn_for(7) << 12;
        uint64_t read_only = m->leaf & ~(W_BIT | m->host_writable | m->mmu_writable);
        uint64_t fresh = m->accessed ? read_only & ~m->accessed : (read_only & ~7ull) | 5ull << 54;

        map_pages(w, 6, 3, 1);
        world_forget(w);
        assert_true(set_spte_hva(w, HVA_OF(7) + 99, 0x4242, false));
        assert_int_equal(w->change_count, 2);
        assert_int_equal(w->change[0].old_spte, old);
        assert_int_equal(w->change[0].new_spte, SHADOW_NONPRESENT_VALUE);
        assert_int_equal(w->change[1].old_spte, SHADOW_NONPRESENT_VALUE);
        assert_int_equal(w->change[1].new_spte, fresh | 0x4242ull << 12);
        assert_int_equal(w->flush_count, 1);
        assert_int_equal(w->flush[0].changes, 1); /* between the two */
        assert_int_equal(w->flush[0].start, 7);
        assert_int_equal(w->flush[0].npages, 1);
        assert_spte(w->vcpu, 7, 1, fresh, 0x4242);
        assert_spte(w->vcpu, 6, 1, m->leaf, pfn_for(6));
        assert_spte(w->vcpu, 8, 1, m->leaf, pfn_for(8));
        assert_int_equal(stats_of(w->kvm).pages_4k, 3);
        world_free(w);
    }
}

static void set_spte_other_cases(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);

        map_pages(w, 7, 1, 1);
        map_pages(w, 512, 512, 2);
        world_forget(w);
        /* Writable: the guest's next fault finds it; nothing to install now. */
        assert_true(set_spte_hva(w, HVA_OF(7), 0x4242, true));
        assert_false(mapped(w->vcpu, 7));
        assert_int_equal(w->change_count, 1);
        assert_int_equal(w->flush_count, 1);
        /* Not mapped: nothing to replace. */
        assert_false(set_spte_hva(w, HVA_OF(7), 0x4242, false));
        assert_false(set_spte_hva(w, WORLD_HVA - 4096, 0x4242, false));
        assert_false(mapped(w->vcpu, 7));
        /* A huge page loses its mapping whole, and the flush says so. */
        world_forget(w);
        assert_true(set_spte_hva(w, HVA_OF(700), 0x4242, false));
        assert_int_equal(count_leaves(w->vcpu, 0, 1024, 1) + count_leaves(w->vcpu, 0, 1024, 2), 0);
        assert_int_equal(w->flush_count, 1);
        assert_int_equal(w->flush[0].start, 512);
        assert_int_equal(w->flush[0].npages, 512);
        world_free(w);
    }
}

static void set_spte_in_all_slots(void **state)
{
    struct kvm_vcpu *smm;
    struct world *w = mirrored_world(&machines[3], &smm);

    (void)state;
    map_everywhere(w, smm, 7);
    assert_true(set_spte_hva(w, HVA_OF(7), 0x4242, false));
    assert_spte(w->vcpu, 7, 1, 0x845, 0x4242);
    assert_spte(w->vcpu, MIRROR_BASE + 7, 1, 0x845, 0x4242);
    assert_spte(smm, 7, 1, 0x845, 0x4242);
    world_free(w);
}

/* ---- several slots over the same host memory ------------------------------------------ */

#define ALIAS_HVA (WORLD_HVA + (64ull * GIB_PAGES << 12))
#define ALIAS(n) ((64ull - 4 * (n)) * GIB_PAGES) /* where slot 10 + n begins in the guest */
#define IN_SMM 0x10000u

static void put(struct world *w, unsigned n, gfn_t gfn, unsigned first_page, unsigned npages, uint32_t flags)
{
    unsigned as_id = n & IN_SMM;

    assert_int_equal(add_slot(w->kvm, as_id | (10 + (n & 0xff)), flags, gfn, npages,
                              ALIAS_HVA + ((uint64_t)first_page << 12)), 0);
}

/* Maps host page 4 through each of the slots, wherever it is. */
static void map_aliases(struct world *w, struct kvm_vcpu *smm, const gfn_t *at, unsigned count, unsigned normal)
{
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    assert_int_equal(kvm_mmu_load(smm), 0);
    for (unsigned i = 0; i < count; i++)
        assert_true(fault_on(w, i < normal ? w->vcpu : smm, at[i], PFERR_WRITE_MASK, true, 1, pfn_for(4),
                             false) >= 0);
    world_forget(w);
}

/* Each operation by host address changes the SPTEs of page 4 in just this order. */
static void assert_visited(struct world *w, struct kvm_vcpu *smm, const gfn_t *at, unsigned count, unsigned normal)
{
    const uint64_t hva = ALIAS_HVA + (4 << 12);

    for (int operation = 0; operation < 3; operation++) {
        map_aliases(w, smm, at, count, normal);
        if (operation == 0)
            assert_true(kvm_tdp_mmu_age_hva_range(w->kvm, hva, hva + 4096));
        else if (operation == 1)
            assert_true(set_spte_hva(w, hva, 0x4242, true));
        else
            assert_true(zap_hva(w, hva, UINT64_MAX));
        assert_int_equal(w->change_count, count);
        for (unsigned i = 0; i < count; i++) {
            assert_int_equal(w->change[i].gfn, at[i]);
            assert_int_equal(w->change[i].as_id, i >= normal);
        }
    }
}

/*
 * The order is that of the host's addresses; of equal ones, that of the slots' last
 * changes.  It is not that of gfns, which would run the other way here.
 * To put the bug in: in key() of MMU/SlotTable.swift sort by base_gfn instead of the host's address.
 */
static void aliased_slots_in_order(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);
    struct kvm_vcpu *smm = tdpmmu_create_vcpu(w->kvm, 1);
    const gfn_t elsewhere = 80ull * GIB_PAGES;

    (void)state;
    assert_int_equal(tdpmmu_vcpu_set_as_id(smm, 1), 0);
    put(w, 0 | IN_SMM, ALIAS(0), 0, 8, 0);
    put(w, 2, ALIAS(2), 2, 8, 0);
    put(w, 1, ALIAS(1), 0, 8, 0);
    put(w, 3, ALIAS(3), 2, 4, 0);
    put(w, 4, ALIAS(4), 2, 16, 0);
    put(w, 5, ALIAS(5), 4, 1, 0);
    put(w, 1 | IN_SMM, ALIAS(1), 0, 8, 0);
    put(w, 6, ALIAS(6), 0, 4, 0);  /* ends before page 4 */
    put(w, 7, ALIAS(7), 5, 4, 0);  /* begins behind it */
    assert_visited(w, smm, (const gfn_t[]){ ALIAS(1) + 4, ALIAS(2) + 2, ALIAS(3) + 2, ALIAS(4) + 2, ALIAS(5),
                                            ALIAS(0) + 4, ALIAS(1) + 4 }, 7, 5);
    /* Moved: the newest.  The address of the host decides first, though. */
    put(w, 2, elsewhere, 2, 8, 0);
    put(w, 1, elsewhere + GIB_PAGES, 0, 8, 0);
    assert_visited(w, smm, (const gfn_t[]){ elsewhere + GIB_PAGES + 4, ALIAS(3) + 2, ALIAS(4) + 2, elsewhere + 2,
                                            ALIAS(5), ALIAS(0) + 4, ALIAS(1) + 4 }, 7, 5);
    /* Other flags, too; the same flags change nothing. */
    put(w, 3, ALIAS(3), 2, 4, KVM_MEM_LOG_DIRTY_PAGES);
    put(w, 4, ALIAS(4), 2, 16, 0);
    put(w, 0 | IN_SMM, ALIAS(0), 0, 8, KVM_MEM_LOG_DIRTY_PAGES);
    assert_visited(w, smm, (const gfn_t[]){ elsewhere + GIB_PAGES + 4, ALIAS(4) + 2, elsewhere + 2, ALIAS(3) + 2,
                                            ALIAS(5), ALIAS(1) + 4, ALIAS(0) + 4 }, 7, 5);
    /* Deleted and added again. */
    assert_int_equal(delete_slot(w->kvm, 14), 0);
    put(w, 4, ALIAS(4), 2, 16, 0);
    assert_visited(w, smm, (const gfn_t[]){ elsewhere + GIB_PAGES + 4, elsewhere + 2, ALIAS(3) + 2, ALIAS(4) + 2,
                                            ALIAS(5), ALIAS(1) + 4, ALIAS(0) + 4 }, 7, 5);
    /* A move that is refused late put it in again: it is the newest, and none is left out. */
    assert_int_equal(add_slot(w->kvm, 12, 0, 1ull << 34, 8, ALIAS_HVA + (2 << 12)), -EINVAL);
    world_forget(w); /* the refusal */
    assert_visited(w, smm, (const gfn_t[]){ elsewhere + GIB_PAGES + 4, ALIAS(3) + 2, ALIAS(4) + 2, elsewhere + 2,
                                            ALIAS(5), ALIAS(1) + 4, ALIAS(0) + 4 }, 7, 5);
    world_free(w);
}

/*
 * An invalid root still maps the host's pages: when the host takes one away it must
 * go there, too; but no CPU uses that root, so nothing to flush.
 * The kernel had "a notifier that skips invalid roots (use after free)".  To put it in:
 * in unmapRange() of MMU/Zap.swift visit the valid roots only.
 */
static void invalid_roots_are_unmapped(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);

        map_pages(w, 7, 2, 1);
        write_lock(&w->kvm->mmu_lock);
        kvm_tdp_mmu_invalidate_all_roots(w->kvm);
        write_unlock(&w->kvm->mmu_lock);
        assert_false(zap_hva(w, HVA_OF(7), HVA_OF(8)));
        assert_false(mapped(w->vcpu, 7));
        assert_true(mapped(w->vcpu, 8));
        /* A pending flush of the caller's stays pending. */
        struct kvm_gfn_range range = { .slot = slot_by_id(w, 0, 0), .start = 8, .end = 9 };
        write_lock(&w->kvm->mmu_lock);
        assert_true(kvm_tdp_mmu_unmap_gfn_range(w->kvm, &range, true));
        write_unlock(&w->kvm->mmu_lock);
        assert_false(mapped(w->vcpu, 8));
        world_free(w);
    }
}

/* ---- faults under way --------------------------------------------------------------- */

/* What the host does while it looks a page up. */
static void (*meanwhile)(struct world *w, gfn_t gfn);
static unsigned host_asked;

static kvm_pfn_t gfn_to_pfn(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn,
                            bool write, bool *writable, int *max_level)
{
    void (*act)(struct world *, gfn_t) = meanwhile;

    (void)kvm;
    (void)slot;
    (void)write;
    assert_false(rcu_read_lock_held());
    host_asked++;
    *writable = true;
    *max_level = 1;
    meanwhile = NULL; /* once */
    if (act)
        act(ctx, gfn);
    return pfn_for(gfn);
}

static struct world *host_world(const struct machine *m)
{
    struct tdpmmu_ops host = { .size = sizeof(host), .gfn_to_pfn = gfn_to_pfn };
    struct tdpmmu_vm_config config = m->config;

    meanwhile = NULL;
    host_asked = 0;
    config.ops = &host;
    return world_from(config);
}

static void begin(struct world *w, gfn_t start, gfn_t end)
{
    write_lock(&w->kvm->mmu_lock);
    kvm_mmu_invalidate_begin(w->kvm);
    kvm_mmu_invalidate_range_add(w->kvm, start, end);
    write_unlock(&w->kvm->mmu_lock);
}

static void end(struct world *w)
{
    write_lock(&w->kvm->mmu_lock);
    kvm_mmu_invalidate_end(w->kvm);
    write_unlock(&w->kvm->mmu_lock);
}

static int page_fault(struct world *w, gfn_t gfn)
{
    return kvm_tdp_mmu_page_fault(w->vcpu, gfn << 12, PFERR_WRITE_MASK);
}

/* While it runs, faults inside the range wait; others do not. */
static void running_invalidation(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = host_world(m);

        begin(w, 10, 20);
        assert_int_equal(page_fault(w, 10), RET_PF_RETRY);
        assert_int_equal(page_fault(w, 19), RET_PF_RETRY);
        assert_false(mapped(w->vcpu, 10));
        assert_int_equal(page_fault(w, 9), RET_PF_FIXED);
        assert_int_equal(page_fault(w, 20), RET_PF_FIXED);
        /* A second one, nested: the range that holds both, until both are over. */
        begin(w, 30, 40);
        assert_int_equal(page_fault(w, 35), RET_PF_RETRY);
        end(w);
        assert_int_equal(page_fault(w, 15), RET_PF_RETRY);
        end(w);
        assert_int_equal(page_fault(w, 15), RET_PF_FIXED);
        assert_int_equal(page_fault(w, 35), RET_PF_FIXED);
        /* The range is new each time. */
        begin(w, 100, 101);
        assert_int_equal(page_fault(w, 16), RET_PF_FIXED);
        assert_int_equal(page_fault(w, 100), RET_PF_RETRY);
        end(w);
        world_free(w);
    }
}

static void whole_invalidation(struct world *w, gfn_t gfn)
{
    begin(w, gfn, gfn + 1);
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_zap_hva_range(w->kvm, HVA_OF(gfn), HVA_OF(gfn + 1));
    write_unlock(&w->kvm->mmu_lock);
    end(w);
}

static void begin_only(struct world *w, gfn_t gfn)
{
    begin(w, gfn, gfn + 1);
}

/*
 * The whole invalidation falls between the host's answer and the lock: the answer
 * is stale though nothing runs any more.
 * The kernel had "a stale or sign-extended invalidation sequence".  To put the first
 * in: in mappedFault() of MMU/PageFault.swift read the sequence after hostPage().
 */
static void stale_answer(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = host_world(m);

        meanwhile = whole_invalidation;
        assert_int_equal(page_fault(w, 7), RET_PF_RETRY);
        assert_int_equal(host_asked, 1);
        assert_false(mapped(w->vcpu, 7));
        assert_int_equal(page_fault(w, 7), RET_PF_FIXED);
        assert_int_equal(host_asked, 2);
        /* Begun, but not over yet. */
        meanwhile = begin_only;
        assert_int_equal(page_fault(w, 8), RET_PF_RETRY);
        assert_int_equal(page_fault(w, 8), RET_PF_RETRY);
        assert_false(mapped(w->vcpu, 8));
        end(w);
        assert_int_equal(page_fault(w, 8), RET_PF_FIXED);
        world_free(w);
    }
}

/*
 * mmu_lock is dropped between begin and range_add: any gfn may be meant, and faults wait.  That is
 * a mistake of whoever began, told once, and once more at the end.
 * To see it fail: let complainIfUnnamed() of MMU/Invalidation.swift return false.
 */
static void range_not_yet_named(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = host_world(m);

        for (int named = 0; named < 2; named++) {
            write_lock(&w->kvm->mmu_lock);
            kvm_mmu_invalidate_begin(w->kvm);
            write_unlock(&w->kvm->mmu_lock);
            assert_int_equal(page_fault(w, 7), RET_PF_RETRY);
            assert_int_equal(page_fault(w, 8), RET_PF_RETRY);
            assert_int_equal(warnings(w), 1);
            assert_string_equal(w->last_warning.function, "kvm_mmu_invalidate_begin");
            assert_int_equal(w->last_warning.value[0], 7);
            assert_false(mapped(w->vcpu, 7));
            write_lock(&w->kvm->mmu_lock);
            if (named)
                kvm_mmu_invalidate_range_add(w->kvm, 100, 101);
            write_unlock(&w->kvm->mmu_lock);
            if (named)
                assert_int_equal(page_fault(w, 9), RET_PF_FIXED);
            end(w);
            assert_int_equal(warnings(w), named ? 1 : 2);
            world_forget(w);
        }
        assert_int_equal(page_fault(w, 7), RET_PF_FIXED);
        world_free(w);
    }
}

/* While an invalidation of the gfn runs, the host is not even asked. */
static void host_is_spared(void **state)
{
    struct world *w = host_world(&machines[0]);

    (void)state;
    begin(w, 10, 20);
    assert_int_equal(page_fault(w, 15), RET_PF_RETRY);
    assert_int_equal(host_asked, 0);
    assert_int_equal(page_fault(w, 20), RET_PF_FIXED);
    assert_int_equal(host_asked, 1);
    end(w);
    world_free(w);
}

/*
 * The number is compared whole.  A sign-extended one differs from itself once its top bit is
 * set, and no fault ever succeeds: to put it in, cut the number down to Int16 in isStale()
 * of MMU/Invalidation.swift.  (From Int32, as the kernel did, it takes 2^31 invalidations.)
 */
static void many_invalidations(void **state)
{
    struct world *w = host_world(&machines[0]);

    (void)state;
    for (gfn_t gfn = 1; gfn <= 3; gfn++) {
        write_lock(&w->kvm->mmu_lock);
        for (int i = 0; i < 40000; i++) {
            kvm_mmu_invalidate_begin(w->kvm);
            kvm_mmu_invalidate_range_add(w->kvm, 1, 4);
            kvm_mmu_invalidate_end(w->kvm);
        }
        write_unlock(&w->kvm->mmu_lock);
        assert_int_equal(page_fault(w, gfn), RET_PF_FIXED);
    }
    world_free(w);
}

static struct kvm_mmu_page *root_before;

static void *zap_all_fast_elsewhere(void *kvm)
{
    kvm_mmu_zap_all_fast(kvm);
    return NULL;
}

/* By another thread: the fault's own is inside kvm->srcu. */
static void zap_all_fast(struct world *w, gfn_t gfn)
{
    pthread_t thread;

    (void)gfn;
    root_before = tdpmmu_vcpu_root(w->vcpu);
    assert_int_equal(pthread_create(&thread, NULL, zap_all_fast_elsewhere, w->kvm), 0);
    pthread_join(thread, NULL);
}

static void invalidate_roots(struct world *w, gfn_t gfn)
{
    (void)gfn;
    root_before = tdpmmu_vcpu_root(w->vcpu);
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_invalidate_all_roots(w->kvm);
    write_unlock(&w->kvm->mmu_lock);
}

/*
 * The kernel had "a fault that maps into a root invalidated meanwhile".  To put it in:
 * in resolve() of MMU/Fault.swift drop the look at isInvalid.
 */
static void root_invalidated_meanwhile(void **state)
{
    void (*const ways[])(struct world *, gfn_t) = { zap_all_fast, invalidate_roots };

    (void)state;
    for_each_machine(m) for (int i = 0; i < 2; i++) {
        struct world *w = host_world(m);

        meanwhile = ways[i];
        assert_int_equal(page_fault(w, 7), RET_PF_RETRY);
        assert_int_equal(stats_of(w->kvm).pages_4k, 0);
        assert_ptr_equal(tdpmmu_vcpu_root(w->vcpu), root_before); /* until the vCPU loads */
        assert_true(root_before->role.invalid);
        /* The host is asked again: what root there is, is looked at last, under mmu_lock. */
        assert_int_equal(page_fault(w, 7), RET_PF_RETRY);
        assert_int_equal(host_asked, 2);
        assert_int_equal(kvm_mmu_load(w->vcpu), 0);
        assert_ptr_not_equal(tdpmmu_vcpu_root(w->vcpu), root_before);
        assert_int_equal(page_fault(w, 7), RET_PF_FIXED);
        assert_int_equal(stats_of(w->kvm).pages_4k, 1);
        world_free(w);
    }
}

/* ---- with the guest at work ------------------------------------------------------------ */

static atomic_bool stop;
static atomic_uint host_version[64]; /* the host has another page after each change */

static kvm_pfn_t versioned_pfn(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn,
                               bool write, bool *writable, int *max_level)
{
    (void)ctx;
    (void)kvm;
    (void)slot;
    (void)write;
    *writable = true;
    *max_level = 1;
    return 0x10000 + gfn + 64 * (atomic_load(&host_version[gfn]) & 0xffff);
}

static void *fault_all_the_time(void *arg)
{
    struct world *w = arg;
    struct kvm_vcpu *vcpu = tdpmmu_create_vcpu(w->kvm, 100 + (int)(atomic_fetch_add(&w->resched_asked, 1)));

    kvm_mmu_load(vcpu);
    for (gfn_t gfn = 0; !atomic_load(&stop); gfn = (gfn + 1) % 64) {
        if (tdpmmu_cpu_access(vcpu, gfn << 12, PFERR_WRITE_MASK, NULL) == 0 &&
            kvm_tdp_mmu_page_fault(vcpu, gfn << 12, PFERR_WRITE_MASK) == RET_PF_RETRY)
            kvm_mmu_load(vcpu);
    }
    return NULL;
}

/*
 * The host changes pages as the kernel does: begin, zap, change, end.  After the
 * end nobody may have the old page, whatever faults were on their way.
 */
static void no_old_page_after_the_end(void **state)
{
    struct tdpmmu_ops host = { .size = sizeof(host), .gfn_to_pfn = versioned_pfn };
    struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_NPT, .ops = &host });
    unsigned n = rounds(4000), old = 0;
    pthread_t threads[2];

    (void)state;
    atomic_store(&stop, false);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, fault_all_the_time, w);
    /* Until the threads have had their share, however late they start. */
    for (unsigned i = 0; i < n || stats_of(w->kvm).faults_fixed < 200; i++) {
        gfn_t gfn = i * 2654435761u >> 20 & 63;
        uint64_t spte;

        begin(w, gfn, gfn + 1);
        write_lock(&w->kvm->mmu_lock);
        if (kvm_tdp_mmu_zap_hva_range(w->kvm, HVA_OF(gfn), HVA_OF(gfn + 1)))
            kvm_flush_remote_tlbs_range(w->kvm, gfn, 1);
        write_unlock(&w->kvm->mmu_lock);
        atomic_fetch_add(&host_version[gfn], 1);
        end(w);
        spte = spte_at(w->vcpu, gfn, 1);
        if (spte != NO_SPTE && is_shadow_present_pte(spte))
            old += spte_to_pfn(spte) != versioned_pfn(NULL, NULL, NULL, gfn, true, &(bool){ 0 }, &(int){ 0 });
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(old, 0);
    world_free(w);
}

/* The host takes a page away: gone from every slot that has it, and not back before the end. */
static void host_takes_pages(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    gfn_t alias = WORLD_SLOT_PAGES;

    (void)state;
    assert_int_equal(add_slot(w->kvm, 7, 0, alias, 64, WORLD_HVA), 0);
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, 3 << 12, 0), RET_PF_FIXED);
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, (alias + 3) << 12, 0), RET_PF_FIXED);
    world_forget(w);
    kvm_mmu_notifier_invalidate_range_start(w->kvm, WORLD_HVA + 0x3000, WORLD_HVA + 0x4000, true);
    assert_false(mapped(w->vcpu, 3));
    assert_false(mapped(w->vcpu, alias + 3));
    assert_int_equal(atomic_load(&w->flush_count), 1);
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, 3 << 12, 0), RET_PF_RETRY);
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, (alias + 3) << 12, 0), RET_PF_RETRY);
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, (alias + 4) << 12, 0), RET_PF_FIXED);
    kvm_mmu_notifier_invalidate_range_end(w->kvm, WORLD_HVA + 0x3000, WORLD_HVA + 0x4000);
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, (alias + 3) << 12, 0), RET_PF_FIXED);
    world_free(w);
}

/*
 * A slot that is added between start and end must not bring the page back.
 * To put the bug in: drop addInvalidation() from swap() in MMU/MemslotUpdate.swift.
 */
static void slot_added_during_invalidation(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);
    gfn_t alias = WORLD_SLOT_PAGES;

    (void)state;
    kvm_mmu_notifier_invalidate_range_start(w->kvm, WORLD_HVA + 0x3000, WORLD_HVA + 0x4000, true);
    assert_int_equal(add_slot(w->kvm, 7, 0, alias, 64, WORLD_HVA), 0);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, (alias + 3) << 12, 0), RET_PF_RETRY);
    assert_false(mapped(w->vcpu, alias + 3));
    world_forges(w); /* a host that takes a page, and still maps 1G of which it is a part */
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, 2 << 12, 0), RET_PF_FIXED);
    kvm_mmu_notifier_invalidate_range_end(w->kvm, WORLD_HVA + 0x3000, WORLD_HVA + 0x4000);
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, (alias + 3) << 12, 0), RET_PF_FIXED);
    world_free(w);
}

/* Two slots map one page of the host; the walk of the second gives way when the first has lost the page. */
static struct {
    struct world *w;
    unsigned deleted, flushes; /* and how many flushes came until the slot was gone */
} given_way;

static bool yield_in_second_slot(void *ctx, struct kvm *kvm, const struct tdp_iter *iter)
{
    const struct world *w = ctx;

    (void)kvm;
    return atomic_load(&w->change_count) == 1 && iter->level == PG_LEVEL_4K && is_shadow_present_pte(iter->old_spte) &&
           (iter->gfn < WORLD_SLOT_PAGES) != (w->change[0].gfn < WORLD_SLOT_PAGES);
}

static void *delete_first_slot(void *world)
{
    struct world *w = world;

    assert_int_equal(delete_slot(w->kvm, w->change[0].gfn < WORLD_SLOT_PAGES ? 0 : 7), 0);
    given_way.deleted++;
    given_way.flushes = atomic_load(&w->flush_count);
    return NULL;
}

static void let_slot_be_deleted(void *ctx, struct kvm *kvm)
{
    pthread_t thread;

    (void)kvm;
    if (given_way.deleted)
        return;
    assert_int_equal(pthread_create(&thread, NULL, delete_first_slot, ctx), 0);
    pthread_join(thread, NULL);
}

/*
 * The notifier owes a flush for the first slot's page and gives way; whoever deletes that slot meanwhile
 * finds no page there, but CPUs must have forgotten it all the same when the slot is gone.
 */
static void slot_deleted_beside_a_debt(void **state)
{
    struct tdpmmu_ops ops = { .yield_at = yield_in_second_slot, .yielded = let_slot_be_deleted };
    struct world *w = world_from((struct tdpmmu_vm_config){ .ops = &ops, .zap_slot_only = 1 });

    (void)state;
    memset(&given_way, 0, sizeof(given_way));
    assert_int_equal(add_slot(w->kvm, 7, 0, WORLD_SLOT_PAGES, 64, WORLD_HVA), 0);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    assert_int_equal(map_page(w, 3, 1), RET_PF_FIXED);
    assert_int_equal(map_page(w, WORLD_SLOT_PAGES + 3, 1), RET_PF_FIXED);
    world_forget(w);
    /* From a page before, for a walk gives way only where it has come forward. */
    kvm_mmu_notifier_invalidate_range_start(w->kvm, WORLD_HVA + 0x2000, WORLD_HVA + 0x4000, true);
    kvm_mmu_notifier_invalidate_range_end(w->kvm, WORLD_HVA + 0x2000, WORLD_HVA + 0x4000);
    assert_int_equal(given_way.deleted, 1);
    assert_true(given_way.flushes >= 1);
    assert_false(mapped(w->vcpu, 3));
    assert_false(mapped(w->vcpu, WORLD_SLOT_PAGES + 3));
    assert_no_warning(w);
    world_free(w);
}

/* Was it used?  Said once by those that clear, as often as one likes by the one that looks. */
static void host_asks_for_use(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);

    (void)state;
    assert_int_equal(map_page(w, 3, PG_LEVEL_4K), RET_PF_FIXED);
    world_forget(w);
    assert_true(kvm_mmu_notifier_test_young(w->kvm, WORLD_HVA + 0x3fff));
    assert_true(kvm_mmu_notifier_test_young(w->kvm, WORLD_HVA + 0x3000));
    assert_false(kvm_mmu_notifier_test_young(w->kvm, WORLD_HVA + 0x4000));
    assert_false(kvm_mmu_notifier_clear_young(w->kvm, WORLD_HVA, WORLD_HVA + 0x3000));
    assert_true(kvm_mmu_notifier_clear_young(w->kvm, WORLD_HVA, WORLD_HVA + 0x4000));
    assert_int_equal(atomic_load(&w->flush_count), 0);
    assert_false(kvm_mmu_notifier_test_young(w->kvm, WORLD_HVA + 0x3000));
    assert_int_equal(tdpmmu_cpu_access(w->vcpu, 0x3000, 0, NULL), PG_LEVEL_4K);
    assert_true(kvm_mmu_notifier_clear_flush_young(w->kvm, WORLD_HVA, WORLD_HVA + 0x4000));
    assert_int_equal(atomic_load(&w->flush_count), 1);
    assert_false(kvm_mmu_notifier_clear_flush_young(w->kvm, WORLD_HVA, WORLD_HVA + 0x4000));
    assert_int_equal(atomic_load(&w->flush_count), 1);
    world_free(w);
}

/*
 * The host goes by its own addresses, and of slots that begin at one address to the one
 * that was added, moved or re-flagged last comes last: not by gfn.
 */
static void host_order_of_slots(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);
    gfn_t low = WORLD_SLOT_PAGES, middle = low + 1024, high = low + 2048;
    const uint64_t hva = 1ull << 36;
    const gfn_t orders[][3] = {
        { high, low, middle }, /* as added: the first begins below the others */
        { high, middle, low }, /* low was re-flagged */
        { high, low, middle + 4096 }, /* middle was moved */
    };

    (void)state;
    assert_int_equal(add_slot(w->kvm, 1, 0, high, 64, hva), 0);
    assert_int_equal(add_slot(w->kvm, 2, 0, low, 32, hva + 16 * 4096), 0);
    assert_int_equal(add_slot(w->kvm, 3, 0, middle, 32, hva + 16 * 4096), 0);
    for (unsigned i = 0; i < 3; i++) {
        if (i == 1)
            assert_int_equal(add_slot(w->kvm, 2, KVM_MEM_LOG_DIRTY_PAGES, low, 32, hva + 16 * 4096), 0);
        if (i == 2)
            assert_int_equal(add_slot(w->kvm, 3, 0, middle + 4096, 32, hva + 16 * 4096), 0);
        assert_int_equal(kvm_mmu_load(w->vcpu), 0);
        for (unsigned j = 0; j < 3; j++)
            assert_int_equal(map_page(w, orders[i][j] + (orders[i][j] == high ? 16 : 0), PG_LEVEL_4K), RET_PF_FIXED);
        world_forget(w);
        write_lock(&w->kvm->mmu_lock);
        if (kvm_tdp_mmu_zap_hva_range(w->kvm, hva + 16 * 4096, hva + 17 * 4096))
            kvm_flush_remote_tlbs(w->kvm);
        write_unlock(&w->kvm->mmu_lock);
        assert_int_equal(atomic_load(&w->change_count), 3);
        for (unsigned j = 0; j < 3; j++)
            assert_int_equal(w->change[j].gfn, orders[i][j] + (orders[i][j] == high ? 16 : 0));
    }
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_order_of_slots),
        cmocka_unit_test(host_takes_pages),
        cmocka_unit_test(slot_added_during_invalidation),
        cmocka_unit_test(slot_deleted_beside_a_debt),
        cmocka_unit_test(host_asks_for_use),
        cmocka_unit_test(zap_over_all_slots),
        cmocka_unit_test(flush_of_any_slot_counts),
        cmocka_unit_test(age_over_all_slots),
        cmocka_unit_test(set_spte_in_two_steps),
        cmocka_unit_test(set_spte_other_cases),
        cmocka_unit_test(set_spte_in_all_slots),
        cmocka_unit_test(aliased_slots_in_order),
        cmocka_unit_test(invalid_roots_are_unmapped),
        cmocka_unit_test(running_invalidation),
        cmocka_unit_test(stale_answer),
        cmocka_unit_test(many_invalidations),
        cmocka_unit_test(range_not_yet_named),
        cmocka_unit_test(host_is_spared),
        cmocka_unit_test(root_invalidated_meanwhile),
        cmocka_unit_test(no_old_page_after_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
