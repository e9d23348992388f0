/* SPDX-License-Identifier: GPL-2.0-only */
/* Huge leaves split, tables that a huge leaf could replace, single tables zapped. */
#include "test_helpers.h"

static int split(struct world *w, gfn_t start, gfn_t end, int target, bool shared)
{
    int ret;

    if (shared)
        read_lock(&w->kvm->mmu_lock);
    else
        write_lock(&w->kvm->mmu_lock);
    ret = kvm_tdp_mmu_try_split_huge_pages(w->kvm, slot_by_id(w, 0, 0), start, end, target, shared);
    if (shared)
        read_unlock(&w->kvm->mmu_lock);
    else
        write_unlock(&w->kvm->mmu_lock);
    return ret;
}

static void zap_collapsible(struct world *w, int id)
{
    read_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_zap_collapsible_sptes(w->kvm, slot_by_id(w, 0, id));
    read_unlock(&w->kvm->mmu_lock);
}

static void recover(struct world *w, int id)
{
    read_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_recover_huge_pages(w->kvm, slot_by_id(w, 0, id));
    read_unlock(&w->kvm->mmu_lock);
}

static bool zap_sp(struct world *w, struct kvm_mmu_page *sp)
{
    bool zapped;

    write_lock(&w->kvm->mmu_lock);
    zapped = kvm_tdp_mmu_zap_sp(w->kvm, sp);
    write_unlock(&w->kvm->mmu_lock);
    return zapped;
}

static void clear_masked(struct world *w, gfn_t gfn, unsigned long mask, bool wrprot)
{
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_clear_dirty_pt_masked(w->kvm, slot_by_id(w, 0, 0), gfn, mask, wrprot);
    write_unlock(&w->kvm->mmu_lock);
}

static bool age(struct world *w, gfn_t start, gfn_t end)
{
    struct kvm_gfn_range range = { .slot = slot_by_id(w, 0, 0), .start = start, .end = end };

    return kvm_tdp_mmu_age_gfn_range(w->kvm, &range);
}

/* The host's answer to mapping_level: the same everywhere, but for one 2M page. */
static int level_everywhere;
static gfn_t level_else_at;
static int level_else;

static int mapping_level(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn)
{
    (void)ctx;
    (void)kvm;
    (void)slot;
    return gfn >= level_else_at && gfn < level_else_at + 512 ? level_else : level_everywhere;
}

static struct world *level_world(const struct machine *m)
{
    struct tdpmmu_ops host = { .size = sizeof(host), .mapping_level = mapping_level };
    struct tdpmmu_vm_config config = m->config;

    level_everywhere = 3;
    level_else_at = UINT64_MAX - 512;
    config.ops = &host;
    return world_from(config);
}

/* ---- splitting ------------------------------------------------------------------ */

static void one_gib_step_by_step(void **state)
{
    (void)state;
    for_each_machine(m) for (int shared = 0; shared < 2; shared++) {
        struct world *w = world_from(m->config);
        struct tdpmmu_stats stats;

        map_pages(w, 0, GIB_PAGES, 3);
        world_forget(w);
        assert_int_equal(split(w, 0, GIB_PAGES, 2, shared), 0);
        stats = stats_of(w->kvm);
        assert_int_equal(stats.pages_1g, 0);
        assert_int_equal(stats.pages_2m, 512);
        assert_int_equal(stats.pages_4k, 0);
        assert_int_equal(stats.splits, 1);
        assert_int_equal(stats.tables, 3);
        for (gfn_t gfn = 0; gfn < GIB_PAGES; gfn += 512)
            assert_spte(w->vcpu, gfn, 2, m->leaf | PSE_BIT, pfn_for(gfn));
        /* One change is told, the link; no CPU has to forget anything. */
        assert_int_equal(w->change_count, 1);
        assert_int_equal(w->change[0].level, 3);
        assert_int_equal(w->change[0].old_spte, m->leaf | PSE_BIT | pfn_for(0) << 12);
        assert_int_equal(w->change[0].shared, shared);
        assert_int_equal(w->flush_count, 0);

        /* A range that touches one 2M page splits that one, whole. */
        assert_int_equal(split(w, 600, 601, 1, shared), 0);
        stats = stats_of(w->kvm);
        assert_int_equal(stats.pages_2m, 511);
        assert_int_equal(stats.pages_4k, 512);
        assert_int_equal(stats.tables, 4);
        for (gfn_t gfn = 512; gfn < 1024; gfn++)
            assert_spte(w->vcpu, gfn, 1, m->leaf, pfn_for(gfn));
        assert_spte(w->vcpu, 0, 2, m->leaf | PSE_BIT, pfn_for(0));
        assert_spte(w->vcpu, 1024, 2, m->leaf | PSE_BIT, pfn_for(1024));
        /* All is done already. */
        assert_int_equal(split(w, 0, GIB_PAGES, 2, shared), 0);
        assert_int_equal(stats_of(w->kvm).splits, 2);
        world_free(w);
    }
}

static void one_gib_to_4k_at_once(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);
    struct tdpmmu_stats stats;

    (void)state;
    map_pages(w, GIB_PAGES, GIB_PAGES, 3);
    assert_int_equal(split(w, GIB_PAGES, 2 * GIB_PAGES, 1, true), 0);
    stats = stats_of(w->kvm);
    assert_int_equal(stats.pages_1g + stats.pages_2m, 0);
    assert_int_equal(stats.pages_4k, GIB_PAGES);
    assert_int_equal(stats.splits, 513);
    assert_int_equal(stats.tables, 2 + 513);
    assert_int_equal(stats.tlb_flushes, 0);
    for (gfn_t gfn = GIB_PAGES; gfn < 2 * GIB_PAGES; gfn += 511)
        assert_spte(w->vcpu, gfn, 1, 0xe67, pfn_for(gfn));
    world_free(w);
}

/*
 * A split in the role and gfn of each table, and where it hangs.
 * The kernel had "table level off by one".  To put it in: in linkTable() of
 * MMU/TableLink.swift give takeTable() the role of the table above, not its child.
 */
static void tables_know_their_place(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 5);
    struct kvm_mmu_page *sp;

    (void)state;
    map_pages(w, GIB_PAGES, GIB_PAGES, 3);
    assert_int_equal(split(w, GIB_PAGES, GIB_PAGES + 1024, 1, true), 0);
    sp = table_holding(w->vcpu, GIB_PAGES + 512, 1);
    assert_int_equal(sp->role.level, 1);
    assert_int_equal(sp->gfn, GIB_PAGES + 512);
    assert_ptr_equal(sp->ptep, entry_of(w->vcpu, GIB_PAGES + 512, 2));
    assert_true(sp->tdp_mmu_page);
    assert_false(sp->nx_huge_page_disallowed);
    sp = table_holding(w->vcpu, GIB_PAGES, 2);
    assert_int_equal(sp->role.level, 2);
    assert_int_equal(sp->gfn, GIB_PAGES);
    assert_ptr_equal(sp->ptep, entry_of(w->vcpu, GIB_PAGES, 3));
    world_free(w);
}

/* The children have what the huge leaf had, not what a new fault would give. */
static void children_inherit(void **state)
{
    const uint64_t none = 0;

    (void)state;
    for_each_machine(m) {
        const struct {
            uint64_t without; /* bits taken from the huge leaf */
            bool write, host_writable, prefault;
        } cases[] = {
            { none, true, true, false },
            { m->accessed, true, true, true },
            { W_BIT | m->dirty | m->host_writable | m->mmu_writable, false, false, false },
        };

        for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            struct world *w = world_from(m->config);
            uint64_t bits = m->leaf & ~cases[i].without;

            if (!m->accessed && cases[i].prefault) /* a prefault without A is access-tracked */
                bits = (m->leaf & ~7ull) | 5ull << 54;
            assert_int_equal(fault_on(w, w->vcpu, 512, cases[i].write ? PFERR_WRITE_MASK : 0,
                                      cases[i].host_writable, 2, pfn_for(512), cases[i].prefault),
                             RET_PF_FIXED);
            assert_spte(w->vcpu, 512, 2, bits | PSE_BIT, pfn_for(512));
            assert_int_equal(split(w, 512, 1024, 1, true), 0);
            for (gfn_t gfn = 512; gfn < 1024; gfn++)
                assert_spte(w->vcpu, gfn, 1, bits, pfn_for(gfn));
            world_free(w);
        }
        /* Write-protected, and not dirty any more. */
        struct world *w = world_from(m->config);

        map_pages(w, 512, 512, 2);
        read_lock(&w->kvm->mmu_lock);
        kvm_tdp_mmu_clear_dirty_slot(w->kvm, slot_by_id(w, 0, 0));
        kvm_tdp_mmu_wrprot_slot(w->kvm, slot_by_id(w, 0, 0), 2);
        read_unlock(&w->kvm->mmu_lock);
        assert_int_equal(split(w, 512, 513, 1, false), 0);
        for (gfn_t gfn = 512; gfn < 1024; gfn++)
            assert_spte(w->vcpu, gfn, 1, m->leaf & ~(W_BIT | m->dirty), pfn_for(gfn));
        world_free(w);
    }
}

static unsigned complete_tables;

static void look_into_the_table(struct world *w, const struct change *change)
{
    uint64_t *children;
    bool complete = true;

    if (!is_shadow_present_pte(change->new_spte) || is_last_spte(change->new_spte, change->level))
        return;
    children = spte_to_child_pt(change->new_spte, change->level);
    for (unsigned i = 0; i < 512; i++) {
        uint64_t child = __atomic_load_n(&children[i], __ATOMIC_ACQUIRE);

        complete &= child == ((w->vendor == TDPMMU_NPT ? 0xee7 : 0) |
                              (pfn_for(change->gfn) + i * KVM_PAGES_PER_HPAGE(change->level - 1)) << 12) ||
                    (change->level == 2 && is_shadow_present_pte(child));
    }
    complete_tables += complete;
}

/*
 * Who sees the table sees 512 children: another CPU walks it at once.
 * To put the bug in: in linkTable() call fill() after set().
 */
static void children_before_link(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);

    (void)state;
    complete_tables = 0;
    map_pages(w, 0, GIB_PAGES, 3);
    w->on_change = look_into_the_table;
    assert_int_equal(split(w, 0, GIB_PAGES, 2, true), 0);
    assert_int_equal(complete_tables, 1);
    assert_int_equal(split(w, 0, 512 * 7, 1, true), 0);
    assert_int_equal(complete_tables, 8);
    w->on_change = NULL;
    world_free(w);
}

static void guest_writes_517(struct world *w)
{
    tdpmmu_cpu_access(w->vcpu, 517 << 12, PFERR_WRITE_MASK, NULL);
}

/*
 * The CPU sets Dirty on the huge leaf after the split has read it: the children
 * have it, or the change was told with it.
 * The kernel had "a plain write that loses a hardware-set Dirty bit".  To put it in:
 * in writeAlone() of PageTable/SPTESlot.swift store always.
 */
static void dirty_set_during_split(void **state)
{
    (void)state;
    for_each_machine(m) for (int shared = 0; shared < 2; shared++) {
        struct world *w;

        if (!m->dirty)
            continue;
        w = world_from(m->config);
        map_pages(w, 512, 512, 2);
        read_lock(&w->kvm->mmu_lock);
        kvm_tdp_mmu_clear_dirty_slot(w->kvm, slot_by_id(w, 0, 0));
        read_unlock(&w->kvm->mmu_lock);
        world_forget(w);
        w->on_resched = guest_writes_517;
        /* From below: at its first entry a walk does not yield, so is not asked. */
        assert_int_equal(split(w, 0, 1024, 1, shared), 0);
        w->on_resched = NULL;
        if (shared) {
            assert_spte(w->vcpu, 512, 1, m->leaf, pfn_for(512));
            assert_spte(w->vcpu, 1023, 1, m->leaf, pfn_for(1023));
        }
        assert_int_equal(w->change_count, 1);
        assert_true(is_dirty_spte(w->kvm, w->change[0].old_spte));
        world_free(w);
    }
}

/* No memory in the middle: what is split stays split, and later it goes on. */
static void out_of_tables(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_NPT, .table_limit = 4 });

        map_pages(w, 0, 3 * 512, 2);
        assert_int_equal(stats_of(w->kvm).tables, 3);
        assert_int_equal(split(w, 0, 3 * 512, 1, shared), -ENOMEM);
        assert_int_equal(stats_of(w->kvm).tables, 4);
        assert_int_equal(stats_of(w->kvm).pages_4k, 512);
        assert_int_equal(stats_of(w->kvm).pages_2m, 2);
        for (gfn_t gfn = 0; gfn < 512; gfn++)
            assert_spte(w->vcpu, gfn, 1, 0xe67, pfn_for(gfn));
        assert_spte(w->vcpu, 512, 2, 0xee7, pfn_for(512));
        assert_int_equal(map_page(w, 513, 1), -ENOMEM); /* a fault that would split */
        assert_spte(w->vcpu, 512, 2, 0xee7, pfn_for(512));
        write_lock(&w->kvm->mmu_lock);
        assert_true(kvm_tdp_mmu_zap_sp(w->kvm, table_holding(w->vcpu, 0, 1)));
        write_unlock(&w->kvm->mmu_lock);
        rcu_barrier();
        assert_int_equal(split(w, 512, 1024, 1, shared), 0);
        assert_spte(w->vcpu, 513, 1, 0xe67, pfn_for(513));
        world_free(w);
    }
}

/*
 * Giving way at every entry changes nothing but the time it takes; and it comes to
 * an end.  The kernel had "iterator advancing after a yield's restart (one gfn
 * skipped)": where yieldIfWanted() of MMU/Walk.swift sets `yielded`, add the
 * entry's pages to next_last_level_gfn.  "Yield without progress": drop its first
 * guard; the test hangs.  "Never yielding": let it return false.
 */
static void yields_change_nothing(void **state)
{
    (void)state;
    for (int yielding = 0; yielding < 2; yielding++) for (int shared = 0; shared < 2; shared++) {
        struct world *w = level_world(&machines[3]);

        map_pages(w, 0, 16 * 512, 2);
        atomic_store(&w->resched, yielding);
        assert_int_equal(split(w, 0, GIB_PAGES, 1, shared), 0);
        assert_int_equal(stats_of(w->kvm).pages_4k, 16 * 512);
        assert_int_equal(stats_of(w->kvm).pages_2m, 0);
        for (gfn_t gfn = 0; gfn < 16 * 512; gfn += 37)
            assert_spte(w->vcpu, gfn, 1, 0xe67, pfn_for(gfn));
        level_everywhere = 2;
        zap_collapsible(w, 0);
        assert_int_equal(stats_of(w->kvm).pages_4k + stats_of(w->kvm).pages_2m, 0);
        assert_true(yielding ? stats_of(w->kvm).yields >= 16 : stats_of(w->kvm).yields == 0);
        world_free(w);
    }
}

static void yields_change_no_recovery(void **state)
{
    (void)state;
    for (int yielding = 0; yielding < 2; yielding++) {
        struct world *w = level_world(&machines[3]);

        map_pages(w, 0, 16 * 512, 2);
        assert_int_equal(split(w, 0, GIB_PAGES, 1, true), 0);
        level_everywhere = 2;
        atomic_store(&w->resched, yielding);
        recover(w, 0);
        for (gfn_t gfn = 0; gfn < 16 * 512; gfn += 512)
            assert_spte(w->vcpu, gfn, 2, 0xee7, pfn_for(gfn));
        assert_true(yielding ? stats_of(w->kvm).yields >= 15 : stats_of(w->kvm).yields == 0);
        world_free(w);
    }
}

/* ---- dropping what could be huge ------------------------------------------------- */

/*
 * The kernel had "the collapsible check inverted".  To put it in: in couldBeHuge() of
 * MMU/HugePages.swift write `hostLevel(...) < level`.
 */
static void collapsible_by_host_level(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = level_world(m);

        map_pages(w, 0, 3 * 512, 2);
        assert_int_equal(split(w, 0, 3 * 512, 1, true), 0);
        level_everywhere = 1;
        world_forget(w);
        zap_collapsible(w, 0);
        assert_int_equal(w->change_count + w->flush_count, 0);
        assert_int_equal(stats_of(w->kvm).pages_4k, 3 * 512);
        /* The host has put together the second one. */
        level_else_at = 512;
        level_else = 2;
        zap_collapsible(w, 0);
        assert_int_equal(count_leaves(w->vcpu, 0, 512, 1), 512);
        assert_int_equal(count_leaves(w->vcpu, 512, 1024, 1), 0);
        assert_int_equal(count_leaves(w->vcpu, 1024, 1536, 1), 512);
        assert_true(w->flush_count > 0);
        for (unsigned i = 0; i < w->flush_count; i++) {
            assert_int_equal(w->flush[i].start, 512);
            assert_int_equal(w->flush[i].npages, 512);
            assert_true(w->flush[i].in_rcu);
        }
        assert_int_equal(w->change[0].level, 2);
        assert_int_equal(w->change[0].gfn, 512);
        assert_int_equal(map_page(w, 515, 2), RET_PF_FIXED);
        assert_spte(w->vcpu, 512, 2, m->leaf | PSE_BIT, pfn_for(512));
        /* A huge leaf is no table. */
        world_forget(w);
        zap_collapsible(w, 0);
        assert_int_equal(w->change_count, 0);
        level_everywhere = 3; /* or the leaves are wider than the host maps */
        world_free(w);
    }
}

/* The largest that fits goes first: one 1G entry, and all below it at once. */
static void collapsible_1g(void **state)
{
    struct world *w = level_world(&machines[0]);

    (void)state;
    map_pages(w, GIB_PAGES, GIB_PAGES, 3);
    assert_int_equal(split(w, GIB_PAGES, GIB_PAGES + 1024, 1, true), 0);
    world_forget(w);
    zap_collapsible(w, 0);
    assert_int_equal(w->change[0].level, 3);
    assert_int_equal(w->change[0].gfn, GIB_PAGES);
    /* The flush says where the removed table began, not where its last child was. */
    assert_int_equal(w->flush[w->flush_count - 1].start, GIB_PAGES);
    assert_int_equal(w->flush[w->flush_count - 1].npages, GIB_PAGES);
    rcu_barrier();
    assert_int_equal(stats_of(w->kvm).tables, 2);
    assert_int_equal(stats_of(w->kvm).pages_4k + stats_of(w->kvm).pages_2m, 0);
    assert_int_equal(map_page(w, GIB_PAGES + 5, 3), RET_PF_FIXED);
    assert_spte(w->vcpu, GIB_PAGES, 3, machines[0].leaf | PSE_BIT, pfn_for(GIB_PAGES));
    world_free(w);
}

/*
 * A slot that begins and ends inside 2M pages: the tables there hold what is not
 * the slot's, or could never be huge.
 */
static void ragged_ends(void **state)
{
    static const gfn_t at[] = { 100, 511, 512, 1024, 1536, 2047, 2048, 2099 };
    static const bool whole[] = { false, false, true, true, true, true, false, false };

    (void)state;
    for (int recovering = 0; recovering < 2; recovering++) {
        struct world *w = level_world(&machines[3]);

        assert_int_equal(add_slot(w->kvm, SIDE_SLOT, 0, SIDE_BASE + 100, 2000, SIDE_HVA + (100 << 12)), 0);
        /* The pages around belong to others. */
        assert_int_equal(add_slot(w->kvm, 2, 0, SIDE_BASE, 100, SIDE_HVA), 0);
        for (unsigned i = 0; i < 8; i++)
            assert_int_equal(map_page(w, SIDE_BASE + at[i], 1), RET_PF_FIXED);
        assert_int_equal(map_page(w, SIDE_BASE + 7, 1), RET_PF_FIXED);
        world_forget(w);
        if (recovering)
            recover(w, SIDE_SLOT);
        else
            zap_collapsible(w, SIDE_SLOT);
        for (unsigned i = 0; i < 8; i++) {
            if (!whole[i])
                assert_spte(w->vcpu, SIDE_BASE + at[i], 1, 0xe67, pfn_for(SIDE_BASE + at[i]));
            else if (recovering)
                assert_spte(w->vcpu, SIDE_BASE + at[i], 2, 0xee7, pfn_for(SIDE_BASE + (at[i] & ~511ull)));
            else
                assert_false(mapped(w->vcpu, SIDE_BASE + at[i]));
        }
        assert_spte(w->vcpu, SIDE_BASE + 7, 1, 0xe67, pfn_for(SIDE_BASE + 7));
        for (unsigned i = 0; i < w->flush_count; i++) {
            assert_true(w->flush[i].in_rcu);
            assert_true(w->flush[i].start >= SIDE_BASE + 100 &&
                        w->flush[i].start + w->flush[i].npages <= SIDE_BASE + 2100);
        }
        world_free(w);
    }
}

/* Host and guest addresses are not aligned alike: nothing can be huge. */
static void incongruent_slot(void **state)
{
    struct world *w = level_world(&machines[3]);

    (void)state;
    assert_int_equal(add_slot(w->kvm, SIDE_SLOT, 0, SIDE_BASE, 2048, SIDE_HVA + 4096), 0);
    map_pages(w, SIDE_BASE, 4, 1);
    world_forget(w);
    zap_collapsible(w, SIDE_SLOT);
    recover(w, SIDE_SLOT);
    assert_int_equal(w->change_count, 0);
    assert_int_equal(count_leaves(w->vcpu, SIDE_BASE, SIDE_BASE + 2048, 1), 4);
    world_free(w);
}

/* ---- putting together ------------------------------------------------------------ */

/* The flushes since change number `from` cover [start, end), each inside RCU. */
static void assert_flushed(struct world *w, gfn_t start, gfn_t end)
{
    bool covered = false;

    for (unsigned i = 0; i < w->flush_count; i++) {
        assert_true(w->flush[i].in_rcu);
        assert_true(w->flush[i].changes > 0); /* after the entry was replaced */
        covered |= w->flush[i].start <= start && w->flush[i].start + w->flush[i].npages >= end;
    }
    assert_true(covered);
}

/*
 * Accessed and Dirty of any are those of all.
 * The kernel had "flush after leaving RCU": in removeSubtree() of
 * MMU/RemovedTables.swift leave RCU around vm.flush().
 */
static void recovered_leaf(void **state)
{
    (void)state;
    for_each_machine(m) for (int touched = 0; touched < 2; touched++) {
        struct world *w = level_world(m);
        uint64_t bits = m->leaf | PSE_BIT;

        map_pages(w, 512, 512, 2);
        map_pages(w, 1024, 512, 2);
        assert_int_equal(split(w, 0, 1024, 1, true), 0);
        if (m->dirty) {
            for (gfn_t gfn = 512; gfn < 1024; gfn += 64)
                clear_masked(w, gfn, ~0ul, false);
            age(w, 512, 1024);
            if (touched)
                assert_int_equal(tdpmmu_cpu_access(w->vcpu, 700 << 12, PFERR_WRITE_MASK, NULL), 1);
            else
                bits &= ~(m->accessed | m->dirty);
        }
        world_forget(w);
        level_everywhere = 2;
        recover(w, 0);
        assert_spte(w->vcpu, 512, 2, bits, pfn_for(512));
        assert_spte(w->vcpu, 1024, 2, m->leaf | PSE_BIT, pfn_for(1024)); /* was huge all the time */
        assert_int_equal(w->change[0].level, 2);
        assert_int_equal(w->change[0].new_spte, bits | pfn_for(512) << 12);
        assert_flushed(w, 512, 1024);
        assert_int_equal(stats_of(w->kvm).pages_4k, 0);
        assert_int_equal(stats_of(w->kvm).pages_2m, 2);
        rcu_barrier();
        assert_int_equal(stats_of(w->kvm).tables, 3);
        world_free(w);
    }
}

/* What does not permit the same, or is not one stretch, stays as it is. */
static void unequal_stays(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = level_world(m);
        uint64_t before;

        map_pages(w, 512, 3 * 512, 2);
        assert_int_equal(split(w, 0, 2048, 1, true), 0);
        clear_masked(w, 600, 1, true);                       /* one not writable */
        write_lock(&w->kvm->mmu_lock);
        kvm_tdp_mmu_zap_leafs(w->kvm, 1100, 1101, false);    /* one that maps elsewhere */
        write_unlock(&w->kvm->mmu_lock);
        assert_int_equal(fault_on(w, w->vcpu, 1100, PFERR_WRITE_MASK, true, 1, pfn_for(1101), false),
                         RET_PF_FIXED);
        write_lock(&w->kvm->mmu_lock);                       /* one without MMU_WRITABLE */
        kvm_tdp_mmu_write_protect_gfn(w->kvm, slot_by_id(w, 0, 0), 2047, 1);
        write_unlock(&w->kvm->mmu_lock);
        before = checksum(w->vcpu);
        world_forget(w);
        level_everywhere = 2;
        recover(w, 0);
        assert_int_equal(checksum(w->vcpu), before);
        assert_int_equal(w->change_count, 0);
        /* Made equal again, it is put together. */
        assert_int_equal(tdpmmu_fast_page_fault(w->vcpu, 600 << 12, PFERR_PRESENT_MASK | PFERR_WRITE_MASK),
                         RET_PF_FIXED);
        recover(w, 0);
        assert_spte(w->vcpu, 512, 2, m->leaf | PSE_BIT, pfn_for(512));
        assert_int_equal(count_leaves(w->vcpu, 1024, 2048, 1), 1024);
        world_free(w);
    }
}

/* Without Accessed bits: a tracked page is not like one in use. */
static void tracked_stays(void **state)
{
    const struct machine *m = &machines[2];
    struct world *w = level_world(m);

    (void)state;
    map_pages(w, 512, 512, 2);
    assert_int_equal(split(w, 0, 1024, 1, true), 0);
    assert_true(age(w, 700, 701));
    level_everywhere = 2;
    recover(w, 0);
    assert_int_equal(count_leaves(w->vcpu, 512, 1024, 1), 512);
    assert_true(age(w, 512, 1024)); /* now all are tracked: equal again */
    recover(w, 0);
    assert_spte(w->vcpu, 512, 2, (m->leaf & ~7ull) | 5ull << 54 | PSE_BIT, pfn_for(512));
    world_free(w);
}

static void recovered_1g(void **state)
{
    struct world *w = level_world(&machines[3]);

    (void)state;
    map_pages(w, 0, GIB_PAGES, 3);
    assert_int_equal(split(w, 0, GIB_PAGES, 2, true), 0);
    recover(w, 0);
    assert_spte(w->vcpu, 0, 3, 0xee7, pfn_for(0));
    /* From 4K it may take a second call. */
    assert_int_equal(split(w, 0, GIB_PAGES, 1, true), 0);
    recover(w, 0);
    recover(w, 0);
    assert_spte(w->vcpu, 0, 3, 0xee7, pfn_for(0));
    assert_int_equal(stats_of(w->kvm).pages_1g, 1);
    assert_int_equal(stats_of(w->kvm).pages_2m + stats_of(w->kvm).pages_4k, 0);
    rcu_barrier();
    assert_int_equal(stats_of(w->kvm).tables, 2);
    world_free(w);
}

/* What the host maps in small pieces stays small. */
static void recover_asks_the_host(void **state)
{
    struct world *w = level_world(&machines[0]);

    (void)state;
    map_pages(w, 0, GIB_PAGES, 3);
    assert_int_equal(split(w, 0, 1024, 1, true), 0);
    level_everywhere = 1;
    level_else_at = 512;
    level_else = 2;
    recover(w, 0);
    assert_int_equal(count_leaves(w->vcpu, 0, 512, 1), 512);
    assert_spte(w->vcpu, 512, 2, machines[0].leaf | PSE_BIT, pfn_for(512));
    assert_int_equal(count_leaves(w->vcpu, 0, GIB_PAGES, 2), 511);
    level_everywhere = 3; /* or the leaves are wider than the host maps */
    world_free(w);
}

/* ---- one table -------------------------------------------------------------------- */

/*
 * Exactly this table goes, through its parent entry; a table that is there instead
 * is another.  The kernel had "a wrong level taken for the target": in zapTable() of
 * MMU/NXHugePages.swift drop the comparison of the child with the table.
 */
static void zap_exactly_one_table(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = level_world(m);
        struct kvm_mmu_page *sp;

        map_pages(w, 0, 3 * 512, 2);
        assert_int_equal(split(w, 0, 3 * 512, 1, true), 0);
        sp = table_holding(w->vcpu, 512, 1);
        world_forget(w);
        rcu_read_lock(); /* so that sp stays readable when it is gone */
        assert_true(zap_sp(w, sp));
        assert_int_equal(count_leaves(w->vcpu, 0, 512, 1), 512);
        assert_int_equal(count_leaves(w->vcpu, 512, 1024, 1), 0);
        assert_int_equal(count_leaves(w->vcpu, 1024, 1536, 1), 512);
        assert_int_equal(w->change[0].level, 2);
        assert_int_equal(w->change[0].gfn, 512);
        assert_int_equal(w->change[0].new_spte, SHADOW_NONPRESENT_VALUE);
        assert_int_equal(w->change_count, 513);
        assert_int_equal(w->flush_count, 1);
        assert_int_equal(w->flush[0].start, 512);
        assert_int_equal(w->flush[0].npages, 512);
        assert_true(w->flush[0].in_rcu);
        assert_false(zap_sp(w, sp)); /* nothing points to it any more */
        assert_int_equal(map_page(w, 512, 1), RET_PF_FIXED);
        assert_ptr_not_equal(table_holding(w->vcpu, 512, 1), sp);
        assert_false(zap_sp(w, sp));
        assert_spte(w->vcpu, 512, 1, m->leaf, pfn_for(512));
        rcu_read_unlock();
        /* A table of tables takes all below it along. */
        sp = table_holding(w->vcpu, 0, 2);
        world_forget(w);
        assert_true(zap_sp(w, sp));
        assert_true(w->flush_count > 0 && w->flush[0].in_rcu); /* its own reader, not ours */
        rcu_barrier();
        assert_int_equal(stats_of(w->kvm).tables, 2);
        assert_int_equal(stats_of(w->kvm).pages_4k, 0);
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_gib_step_by_step),
        cmocka_unit_test(one_gib_to_4k_at_once),
        cmocka_unit_test(tables_know_their_place),
        cmocka_unit_test(children_inherit),
        cmocka_unit_test(children_before_link),
        cmocka_unit_test(dirty_set_during_split),
        cmocka_unit_test(out_of_tables),
        cmocka_unit_test(yields_change_nothing),
        cmocka_unit_test(yields_change_no_recovery),
        cmocka_unit_test(collapsible_by_host_level),
        cmocka_unit_test(collapsible_1g),
        cmocka_unit_test(ragged_ends),
        cmocka_unit_test(incongruent_slot),
        cmocka_unit_test(recovered_leaf),
        cmocka_unit_test(unequal_stays),
        cmocka_unit_test(tracked_stays),
        cmocka_unit_test(recovered_1g),
        cmocka_unit_test(recover_asks_the_host),
        cmocka_unit_test(zap_exactly_one_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
