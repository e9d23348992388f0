/* SPDX-License-Identifier: GPL-2.0-only */
/* Zapping: what goes, what stays, what is flushed, when the lock is let go. */
#include "test_helpers.h"

static bool zap_range(struct world *w, gfn_t start, gfn_t end, bool can_yield)
{
    bool flush;

    write_lock(&w->kvm->mmu_lock);
    flush = zap_gfn_range(w->kvm, tdpmmu_vcpu_root(w->vcpu), start, end, can_yield);
    write_unlock(&w->kvm->mmu_lock);
    return flush;
}

static bool zap_leafs(struct world *w, gfn_t start, gfn_t end, bool flush)
{
    write_lock(&w->kvm->mmu_lock);
    flush = kvm_tdp_mmu_zap_leafs(w->kvm, start, end, flush);
    write_unlock(&w->kvm->mmu_lock);
    return flush;
}

static bool unmap(struct world *w, int as_id, int slot_id, gfn_t start, gfn_t end, bool may_block,
                  bool flush)
{
    struct kvm_gfn_range range = { .start = start, .end = end, .may_block = may_block };

    rcu_read_lock();
    range.slot = tdpmmu_id_to_memslot(w->kvm, as_id, slot_id);
    rcu_read_unlock(); /* no slot changes in these tests while one is used */
    assert_non_null(range.slot);
    write_lock(&w->kvm->mmu_lock);
    flush = kvm_tdp_mmu_unmap_gfn_range(w->kvm, &range, flush);
    write_unlock(&w->kvm->mmu_lock);
    return flush;
}

/* Everything that was removed is covered by a flush of the callback. */
static bool flushed(const struct world *w, gfn_t start, uint64_t npages)
{
    for (unsigned i = 0; i < w->flush_count && i < MAX_RECORDS; i++)
        if (w->flush[i].start <= start &&
            (w->flush[i].npages == UINT64_MAX ||
             w->flush[i].start + w->flush[i].npages >= start + npages))
            return true;
    return false;
}

/* ---- zap_gfn_range ------------------------------------------------------------ */

static void range_is_exact(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);

    (void)state;
    map_pages(w, 100, 50, 1);
    assert_true(zap_range(w, 110, 120, false));
    for (gfn_t gfn = 100; gfn < 150; gfn++)
        assert_int_equal(mapped(w->vcpu, gfn), gfn < 110 || gfn >= 120);
    assert_int_equal(stats_of(w->kvm).pages_4k, 40);
    assert_false(zap_range(w, 110, 120, false)); /* nothing left: nothing to flush */
    assert_false(zap_range(w, 100, 100, false));
    assert_int_equal(stats_of(w->kvm).pages_4k, 40);
    world_free(w);
}

/*
 * Tables inside go, flushed inside RCU with their whole range; others stay.
 * "Flush range of a removed table taken from its last child": to put the bug in, in
 * removeSubtree() of MMU/RemovedTables.swift begin the flush at the last child's gfn.
 */
static void whole_tables_go(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);

    (void)state;
    map_pages(w, 0, 3 * 512, 1);
    assert_int_equal(stats_of(w->kvm).tables, 3 + 3);
    world_forget(w);
    zap_range(w, 512, 1024, false);
    assert_true(flushed(w, 512, 512));
    for (unsigned i = 0; i < w->flush_count; i++)
        assert_true(w->flush[i].in_rcu);
    assert_int_equal(w->change[0].level, 2); /* the parent entry first */
    assert_int_equal(w->change[0].gfn, 512);
    assert_int_equal(w->change[0].new_spte, SHADOW_NONPRESENT_VALUE);
    for (unsigned i = 1; i < w->change_count; i++) {
        assert_int_equal(w->change[i].level, 1);
        assert_int_equal(w->change[i].gfn, 512 + i - 1);
        assert_false(w->change[i].shared);
        assert_false(is_shadow_present_pte(w->change[i].new_spte));
    }
    assert_int_equal(w->change_count, 513);
    assert_int_equal(stats_of(w->kvm).pages_4k, 1024);
    rcu_barrier();
    assert_int_equal(stats_of(w->kvm).tables, 3 + 2);
    assert_int_equal(stats_of(w->kvm).tables_stray, 0);
    assert_true(mapped(w->vcpu, 511));
    assert_true(mapped(w->vcpu, 1024));

    /* A range that covers a table only in part leaves the table. */
    zap_range(w, 0, 511, false);
    assert_true(mapped(w->vcpu, 511));
    rcu_barrier();
    assert_int_equal(stats_of(w->kvm).tables, 3 + 2);
    world_free(w);
}

static void huge_leaves(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 5);

    (void)state;
    map_pages(w, 0, 4 * 512, 2);
    map_pages(w, GIB_PAGES, 2 * GIB_PAGES, 3);
    assert_true(zap_range(w, 512, 1024, false));
    assert_int_equal(stats_of(w->kvm).pages_2m, 3);
    assert_true(zap_range(w, GIB_PAGES, 2 * GIB_PAGES, false));
    assert_int_equal(stats_of(w->kvm).pages_1g, 1);
    /* A leaf that sticks out goes as a whole: it cannot be kept in part. */
    assert_true(zap_range(w, 0, 1, false));
    assert_int_equal(stats_of(w->kvm).pages_2m, 2);
    assert_false(mapped(w->vcpu, 511));
    world_free(w);
}

static void everything(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);

    (void)state;
    map_pages(w, 0, 40, 1);
    map_pages(w, 1024, 1024, 2);
    map_pages(w, 4 * GIB_PAGES, GIB_PAGES, 3);
    zap_range(w, 0, UINT64_C(1) << 34, true);
    rcu_barrier();
    assert_int_equal(stats_of(w->kvm).tables, 1); /* the root itself */
    assert_int_equal(count_leaves(w->vcpu, 0, UINT64_MAX, 1), 0);
    world_free(w);
}

/* Only the named root; kvm_tdp_mmu_zap_gfn_range() takes both address spaces. */
static void one_root_or_all(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);
    struct kvm_vcpu *smm = tdpmmu_create_vcpu(w->kvm, 1);
    bool flush;

    (void)state;
    assert_int_equal(add_slot(w->kvm, 1u << 16, 0, 0, 4096, WORLD_HVA), 0);
    assert_int_equal(tdpmmu_vcpu_set_as_id(smm, 1), 0);
    assert_int_equal(kvm_mmu_load(smm), 0);
    for (gfn_t gfn = 0; gfn < 4; gfn++) {
        map_pages(w, gfn, 1, 1);
        assert_int_equal(fault_on(w, smm, gfn, 2, true, 1, pfn_for(gfn), false), RET_PF_FIXED);
    }
    zap_range(w, 0, 2, false);
    assert_false(mapped(w->vcpu, 1));
    assert_true(mapped(smm, 1));
    write_lock(&w->kvm->mmu_lock);
    flush = kvm_tdp_mmu_zap_gfn_range(w->kvm, 0, 3);
    write_unlock(&w->kvm->mmu_lock);
    assert_true(flush);
    assert_false(mapped(smm, 1));
    assert_false(mapped(smm, 2));
    assert_false(mapped(w->vcpu, 2));
    assert_true(mapped(smm, 3));
    assert_true(mapped(w->vcpu, 3));
    world_free(w);
}

/* ---- leaves only ---------------------------------------------------------------- */

static void leafs_keep_tables(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);

    (void)state;
    map_pages(w, 0, 1024, 1);
    world_forget(w);
    assert_true(zap_leafs(w, 0, 1024, false));
    assert_int_equal(w->change_count, 1024);
    for (unsigned i = 0; i < 1024; i++) {
        assert_int_equal(w->change[i].level, 1);
        assert_int_equal(w->change[i].new_spte, SHADOW_NONPRESENT_VALUE);
    }
    assert_int_equal(w->flush_count, 0); /* the caller's business */
    rcu_barrier();
    assert_int_equal(stats_of(w->kvm).tables, 3 + 2);
    assert_int_equal(stats_of(w->kvm).pages_4k, 0);
    world_free(w);
}

static void flush_is_handed_on(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);

    (void)state;
    map_pages(w, 0, 8, 1);
    assert_false(zap_leafs(w, 100, 200, false));
    assert_true(zap_leafs(w, 100, 200, true));
    assert_true(zap_leafs(w, 0, 4, false));
    assert_false(unmap(w, 0, 0, 100, 200, true, false));
    assert_true(unmap(w, 0, 0, 100, 200, true, true));
    assert_true(unmap(w, 0, 0, 4, 8, true, false));
    assert_int_equal(stats_of(w->kvm).pages_4k, 0);
    world_free(w);
}

/*
 * One root has something to flush, and the walk goes on to another that has not.
 * "Flush state lost between roots": to put it in, in zapLeafs() and unmapRange() of
 * MMU/Zap.swift give every root a `flush` of its own and return the last.
 */
static void flush_of_any_root_counts(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);
    struct kvm_vcpu *smm = tdpmmu_create_vcpu(w->kvm, 1);

    (void)state;
    assert_int_equal(add_slot(w->kvm, 1u << 16, 0, 0, 4096, WORLD_HVA), 0);
    assert_int_equal(tdpmmu_vcpu_set_as_id(smm, 1), 0);
    assert_int_equal(kvm_mmu_load(smm), 0);
    for (int i = 0; i < 2; i++) { /* whichever of the two the walk visits first */
        assert_int_equal(fault_on(w, i ? smm : w->vcpu, 5, 2, true, 1, pfn_for(5), false), RET_PF_FIXED);
        assert_true(zap_leafs(w, 0, 10, false));
        assert_false(zap_leafs(w, 0, 10, false));
    }
    /* The invalid root, visited last, asks for nothing; the valid one did. */
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_invalidate_all_roots(w->kvm);
    write_unlock(&w->kvm->mmu_lock);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    map_pages(w, 5, 1, 1);
    assert_true(unmap(w, 0, 0, 0, 10, true, false));
    world_free(w);
}

/* A slot names its address space; the other one keeps its pages. */
static void unmap_one_address_space(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);
    struct kvm_vcpu *smm = tdpmmu_create_vcpu(w->kvm, 1);

    (void)state;
    assert_int_equal(add_slot(w->kvm, 1u << 16, 0, 0, 4096, WORLD_HVA), 0);
    assert_int_equal(tdpmmu_vcpu_set_as_id(smm, 1), 0);
    assert_int_equal(kvm_mmu_load(smm), 0);
    map_pages(w, 5, 1, 1);
    assert_int_equal(fault_on(w, smm, 5, 2, true, 1, pfn_for(5), false), RET_PF_FIXED);
    assert_true(unmap(w, 1, 0, 0, 10, true, false));
    assert_true(mapped(w->vcpu, 5));
    assert_false(mapped(smm, 5));
    world_free(w);
}

/* Invalid roots: the notifier zaps in them without asking for a flush; zap_leafs skips them. */
static void invalid_roots(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);

    (void)state;
    map_pages(w, 0, 8, 1);
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_invalidate_all_roots(w->kvm);
    write_unlock(&w->kvm->mmu_lock);
    assert_false(zap_leafs(w, 0, 8, false));
    assert_int_equal(stats_of(w->kvm).pages_4k, 8);
    assert_false(unmap(w, 0, 0, 0, 4, true, false));
    assert_int_equal(stats_of(w->kvm).pages_4k, 4);
    assert_true(unmap(w, 0, 0, 4, 5, true, true)); /* what was pending stays pending */
    kvm_tdp_mmu_zap_invalidated_roots(w->kvm);
    assert_int_equal(stats_of(w->kvm).pages_4k, 0);
    world_free(w);
}

/*
 * To put the bug "zap-all leaving top-level tables" in: in zapRoot() of MMU/Zap.swift drop the last pass.
 */
static void zap_all(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 5);
    struct kvm_vcpu *second = tdpmmu_create_vcpu(w->kvm, 1);

    (void)state;
    map_pages(w, 0, 8, 1);
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_invalidate_all_roots(w->kvm);
    write_unlock(&w->kvm->mmu_lock);
    assert_int_equal(kvm_mmu_load(second), 0); /* a second root beside the invalid one */
    assert_int_equal(fault_on(w, second, 0, 2, true, 1, pfn_for(0), false), RET_PF_FIXED);
    assert_int_equal(stats_of(w->kvm).roots, 2);
    assert_int_equal(stats_of(w->kvm).pages_4k, 9);
    world_forget(w);
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_zap_all(w->kvm);
    write_unlock(&w->kvm->mmu_lock);
    assert_int_equal(stats_of(w->kvm).pages_4k, 0);
    assert_true(flushed(w, 0, 1ull << 40));
    rcu_barrier();
    assert_int_equal(stats_of(w->kvm).tables, 2); /* both roots, empty: no top-level table left */
    kvm_tdp_mmu_zap_invalidated_roots(w->kvm);
    world_free(w);
}

/*
 * The last gfn below MAXPHYADDR has an SPTE and loses it; beyond it there never is one.
 * "SPTEs above MAXPHYADDR never zapped": to put it in, in zapRoot() of MMU/Zap.swift end
 * the range earlier; or drop the look at gfnLimit from kvm_tdp_mmu_page_fault() in
 * ABI/TDPMMU.swift.
 */
static void up_to_maxphyaddr(void **state)
{
    const gfn_t limit = UINT64_C(1) << (40 - 12);

    (void)state;
    for (int way = 0; way < 3; way++) {
        struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_NPT, .maxphyaddr = 40 });

        assert_int_equal(add_slot(w->kvm, 1, 0, limit - 512, 512, WORLD_HVA), 0);
        assert_int_equal(fault_on(w, w->vcpu, limit - 1, 2, true, 1, 0x4242, false), RET_PF_FIXED);
        world_forget(w);
        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, limit << 12, PFERR_WRITE_MASK), RET_PF_EMULATE);
        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, (2 * limit - 1) << 12, 0), RET_PF_EMULATE);
        assert_int_equal(w->change_count, 0);
        write_lock(&w->kvm->mmu_lock);
        if (way == 0)
            kvm_tdp_mmu_zap_all(w->kvm);
        else if (way == 1)
            kvm_tdp_mmu_zap_leafs(w->kvm, limit - 1, UINT64_MAX, false);
        write_unlock(&w->kvm->mmu_lock);
        if (way == 2)
            kvm_mmu_zap_all_fast(w->kvm);
        assert_int_equal(stats_of(w->kvm).pages_4k, 0);
        rcu_barrier();
        assert_int_equal(stats_of(w->kvm).tables, way == 1 ? 4 : 1);
        world_free(w);
    }
}

/* What remote flushes look like from the callback. */
static void flush_calls(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);

    (void)state;
    world_forget(w);
    kvm_flush_remote_tlbs(w->kvm);
    kvm_flush_remote_tlbs_range(w->kvm, 0x100, 0x20);
    assert_int_equal(w->flush_count, 2);
    assert_int_equal(w->flush[0].start, 0);
    assert_int_equal(w->flush[0].npages, UINT64_MAX);
    assert_int_equal(w->flush[1].start, 0x100);
    assert_int_equal(w->flush[1].npages, 0x20);
    assert_int_equal(stats_of(w->kvm).tlb_flushes, 2);
    world_free(w);
}

/* ---- yielding --------------------------------------------------------------------- */

/*
 * need_resched always says yes: it must still come forward, and skip no gfn.
 * To put a bug in: in yield() of MMU/Walk.swift leave RCU before the flush.
 */
static void yields_by_callback(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);
    struct tdpmmu_stats stats;

    (void)state;
    map_pages(w, 3, 1500, 1);
    world_forget(w);
    atomic_store(&w->resched, true);
    zap_leafs(w, 0, 2000, false);
    stats = stats_of(w->kvm);
    assert_int_equal(stats.pages_4k, 0);
    assert_true(stats.yields > 100);
    /* The flush that was pending at a yield was made before RCU and the lock were let go. */
    assert_true(w->flush_count > 0);
    for (unsigned i = 0; i < w->flush_count; i++)
        assert_true(w->flush[i].in_rcu);
    map_pages(w, 3, 1500, 1);
    zap_range(w, 0, 2000, true);
    assert_int_equal(stats_of(w->kvm).pages_4k, 0);
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_zap_all(w->kvm);
    write_unlock(&w->kvm->mmu_lock);
    kvm_mmu_zap_all_fast(w->kvm);
    atomic_store(&w->resched, false);
    world_free(w);
}

/* Yielding in the middle, tables are removed whole or kept whole. */
static void no_yield_unless_allowed(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);

    (void)state;
    map_pages(w, 3, 1000, 1);
    atomic_store(&w->resched, true);
    zap_range(w, 0, 600, false);
    unmap(w, 0, 0, 600, 1100, false, false);
    assert_int_equal(stats_of(w->kvm).yields, 0);
    assert_int_equal(stats_of(w->kvm).pages_4k, 0);
    map_pages(w, 3, 1000, 1);
    unmap(w, 0, 0, 0, 1100, true, false);
    assert_true(stats_of(w->kvm).yields > 0);
    assert_int_equal(stats_of(w->kvm).pages_4k, 0);
    world_free(w);
}

/* Where yield_at says yes, and what yielded then does. */
static struct {
    gfn_t yield_at;
    gfn_t maps[2]; /* 0: none */
    unsigned asked, yields;
} chosen;

static bool yield_where_chosen(void *ctx, struct kvm *kvm, const struct tdp_iter *iter)
{
    (void)ctx;
    assert_true(rcu_read_lock_held());
    assert_true(tdpmmu_write_lock_held(&kvm->mmu_lock) || tdpmmu_read_lock_held(&kvm->mmu_lock));
    chosen.asked++;
    return iter->level == PG_LEVEL_4K && iter->gfn == chosen.yield_at;
}

static void map_where_chosen(void *ctx, struct kvm *kvm)
{
    struct world *w = ctx;

    assert_ptr_equal(kvm, w->kvm);
    assert_false(rcu_read_lock_held());
    assert_false(tdpmmu_write_lock_held(&kvm->mmu_lock));
    chosen.yields++;
    for (unsigned i = 0; i < 2; i++)
        if (chosen.maps[i])
            assert_int_equal(map_page(w, chosen.maps[i], 1), RET_PF_FIXED);
}

/*
 * Two roots of one address space hold pages of a range, one of them obsolete.  The walk below the valid
 * one, which is the first, owes a flush; that is paid when the walk below the other gives way.
 */
static void debts_of_others_are_paid_before_a_yield(void **state)
{
    struct tdpmmu_ops ops = { .yield_at = yield_where_chosen, .yielded = map_where_chosen };
    struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_NPT, .ops = &ops });
    struct kvm_vcpu *late = tdpmmu_create_vcpu(w->kvm, 77);

    (void)state;
    assert_int_equal(kvm_mmu_load(late), 0);
    map_pages(w, 3, 5, 1);
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_invalidate_all_roots(w->kvm);
    write_unlock(&w->kvm->mmu_lock);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    map_pages(w, 500, 1, 1);
    world_forget(w);
    memset(&chosen, 0, sizeof(chosen));
    chosen.yield_at = 4;
    /* Below the valid root it gives way before it owes anything, below the other afterwards. */
    assert_false(unmap(w, 0, 0, 0, 501, true, false));
    assert_int_equal(chosen.yields, 2);
    assert_int_equal(w->flush_count, 1);
    assert_true(w->flush[0].in_rcu);
    tdpmmu_destroy_vcpu(late);
    assert_no_warning(w);
    world_free(w);
}

/*
 * A race without a second thread: a page comes back behind a zap that stands, and one before it.
 * To put bugs in: in yield() of MMU/Walk.swift flush late; or in payNow() of PageTable/OwedFlush.swift
 * forget that it was paid.
 */
static void race_at_a_chosen_yield(void **state)
{
    struct tdpmmu_ops ops = { .yield_at = yield_where_chosen, .yielded = map_where_chosen };
    struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_NPT, .ops = &ops });

    (void)state;
    map_pages(w, 0, 16, 1);
    world_forget(w);
    memset(&chosen, 0, sizeof(chosen));
    chosen.yield_at = 8;
    chosen.maps[0] = 3;
    chosen.maps[1] = 17;
    assert_true(zap_leafs(w, 0, 18, false));
    assert_int_equal(chosen.yields, 1);
    assert_int_equal(stats_of(w->kvm).yields, 1);
    /* What was zapped before it let go was flushed before that, inside RCU. */
    assert_int_equal(w->flush_count, 1);
    assert_true(w->flush[0].in_rcu);
    assert_int_equal(w->flush[0].changes, 8);
    /* 3 is back, and 17 was there when the zap came to it. */
    assert_int_equal(w->change_count, 8 + 2 + 9);
    assert_int_equal(stats_of(w->kvm).pages_4k, 1);
    assert_true(is_shadow_present_pte(spte_at(w->vcpu, 3, 1)));
    /* Nothing was zapped since it gave way: no flush is pending. */
    chosen.maps[0] = chosen.maps[1] = 0;
    assert_false(zap_leafs(w, 0, 16, false));
    assert_int_equal(chosen.yields, 2);
    assert_int_equal(stats_of(w->kvm).pages_4k, 0);
    /* Who may not yield is not asked. */
    map_pages(w, 0, 16, 1);
    chosen.asked = 0;
    assert_true(unmap(w, 0, 0, 0, 16, false, false));
    assert_int_equal(chosen.asked, 0);
    assert_no_warning(w);
    world_free(w);
}

struct waiter {
    struct world *w;
    atomic_bool got_it;
};

static void *wait_for_read_lock(void *arg)
{
    struct waiter *waiter = arg;

    read_lock(&waiter->w->kvm->mmu_lock);
    atomic_store(&waiter->got_it, true);
    read_unlock(&waiter->w->kvm->mmu_lock);
    return NULL;
}

/*
 * 1. Main holds mmu_lock for write.
 * 2. The other thread waits for it (read).
 * 3. Main zaps with can_yield: the walk must let the other in.
 * To put the bug "never yielding" in: let yieldIfWanted() of MMU/Walk.swift return false.
 */
static void yields_to_a_waiter(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);
    struct waiter waiter = { .w = w };
    pthread_t thread;

    (void)state;
    map_pages(w, 0, 2048, 1);
    write_lock(&w->kvm->mmu_lock);
    assert_int_equal(pthread_create(&thread, NULL, wait_for_read_lock, &waiter), 0);
    while (!rwlock_needbreak(&w->kvm->mmu_lock))
        sleep_ms(1);
    zap_gfn_range(w->kvm, tdpmmu_vcpu_root(w->vcpu), 0, 2048, true);
    assert_true(stats_of(w->kvm).yields >= 1);
    assert_true(atomic_load(&waiter.got_it));
    assert_true(tdpmmu_write_lock_held(&w->kvm->mmu_lock));
    write_unlock(&w->kvm->mmu_lock);
    pthread_join(thread, NULL);
    assert_int_equal(stats_of(w->kvm).pages_4k, 0);
    world_free(w);
}

/* A reader inside a table that is removed sees frozen entries, and the memory stays. */
static void reader_keeps_the_table(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);
    struct tdp_iter iter;
    unsigned frozen = 0;

    (void)state;
    map_pages(w, 0, 512, 1);
    rcu_read_lock();
    tdp_iter_start(&iter, root->spt, 4, 1, 0);
    while (iter.level > 1)
        tdp_iter_next(&iter);
    zap_range(w, 0, 512, false);
    assert_true(stats_of(w->kvm).tables_stray >= 1);
    for (; iter.valid && iter.level == 1; tdp_iter_next(&iter))
        if (iter.gfn)
            frozen += is_frozen_spte(iter.old_spte);
    assert_int_equal(frozen, 511);
    rcu_read_unlock();
    rcu_barrier();
    assert_int_equal(stats_of(w->kvm).tables_stray, 0);
    world_free(w);
}

/* A zap and a new map, many times: nothing is lost, nothing is left. */
static void again_and_again(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);

    (void)state;
    for (unsigned i = 0; i < rounds(200); i++) {
        map_pages(w, 0, 600, 1);
        zap_range(w, 0, 1024, i & 1);
        assert_int_equal(stats_of(w->kvm).pages_4k, 0);
    }
    rcu_barrier();
    assert_int_equal(stats_of(w->kvm).tables_stray, 0);
    assert_in_range(stats_of(w->kvm).tables, 1, 3);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(range_is_exact),
        cmocka_unit_test(whole_tables_go),
        cmocka_unit_test(huge_leaves),
        cmocka_unit_test(everything),
        cmocka_unit_test(one_root_or_all),
        cmocka_unit_test(leafs_keep_tables),
        cmocka_unit_test(flush_is_handed_on),
        cmocka_unit_test(flush_of_any_root_counts),
        cmocka_unit_test(unmap_one_address_space),
        cmocka_unit_test(invalid_roots),
        cmocka_unit_test(zap_all),
        cmocka_unit_test(up_to_maxphyaddr),
        cmocka_unit_test(flush_calls),
        cmocka_unit_test(yields_by_callback),
        cmocka_unit_test(no_yield_unless_allowed),
        cmocka_unit_test(debts_of_others_are_paid_before_a_yield),
        cmocka_unit_test(race_at_a_chosen_yield),
        cmocka_unit_test(yields_to_a_waiter),
        cmocka_unit_test(reader_keeps_the_table),
        cmocka_unit_test(again_and_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
