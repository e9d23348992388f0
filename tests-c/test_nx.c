/* SPDX-License-Identifier: GPL-2.0-only */
/* Huge pages that must not be executed, and the tables that stand in for them. */
#include "test_helpers.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define FETCH PFERR_FETCH_MASK
#define NX_BIT (UINT64_C(1) << 63) /* NPT */
#define X_BIT UINT64_C(4)          /* EPT */

static struct world *nx_world(const struct machine *m)
{
    struct tdpmmu_vm_config config = m->config;

    config.nx_huge_pages = 1;
    return world_from(config);
}

/* What a huge leaf looks like that must not be executed. */
static uint64_t no_execute(const struct machine *m)
{
    return (m->config.vendor == TDPMMU_NPT ? m->leaf | NX_BIT : m->leaf & ~X_BIT) | PSE_BIT;
}

static int fetch(struct world *w, gfn_t gfn, int max_level)
{
    return fault_on(w, w->vcpu, gfn, FETCH | PFERR_USER_MASK, true, max_level, pfn_for(gfn), false);
}

static int read_fault(struct world *w, gfn_t gfn, int max_level)
{
    return fault_on(w, w->vcpu, gfn, PFERR_USER_MASK, true, max_level, pfn_for(gfn), false);
}

/*
 * A second fault on a leaf that permits the access: as in Linux 6.12 it makes the
 * leaf anew, without Dirty, since a writable one counts as dirtied already.
 */
static int again(const struct machine *m)
{
    return m->dirty ? RET_PF_FIXED : RET_PF_SPURIOUS;
}

static void assert_executable(struct world *w, gfn_t gfn, bool expected)
{
    int level;

    assert_int_equal(is_executable_pte(w->kvm, walk_end(w->vcpu, gfn, &level)), expected);
    assert_int_equal(tdpmmu_cpu_access(w->vcpu, gfn << 12, FETCH, NULL) > 0, expected);
}

static void exact_values(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = nx_world(m);

        assert_int_equal(map_page(w, 700, 2), RET_PF_FIXED);
        assert_spte(w->vcpu, 512, 2, no_execute(m), pfn_for(512));
        if (m->config.vendor == TDPMMU_NPT)
            assert_spte(w->vcpu, 512, 2, 0x8000000000000ee7, pfn_for(512));
        assert_int_equal(map_page(w, GIB_PAGES, 3), RET_PF_FIXED);
        assert_spte(w->vcpu, GIB_PAGES, 3, no_execute(m), pfn_for(GIB_PAGES));
        assert_int_equal(map_page(w, 3, 1), RET_PF_FIXED); /* small ones may be */
        assert_spte(w->vcpu, 3, 1, m->leaf, pfn_for(3));
        assert_executable(w, 3, true);
        assert_executable(w, 700, false);
        assert_int_equal(tdpmmu_cpu_access(w->vcpu, 700 << 12, PFERR_WRITE_MASK, NULL), 2);
        assert_int_equal(stats_of(w->kvm).nx_splits, 0);
        world_free(w);
        /* Off, all may be executed. */
        w = world_from(m->config);
        assert_int_equal(map_page(w, 700, 2), RET_PF_FIXED);
        assert_spte(w->vcpu, 512, 2, m->leaf | PSE_BIT, pfn_for(512));
        assert_executable(w, 700, true);
        world_free(w);
    }
}

/* A fetch in a huge page splits it; all 512 children may be executed then. */
static void fetch_splits(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = nx_world(m);
        struct kvm_mmu_page *table;

        assert_int_equal(map_page(w, 700, 2), RET_PF_FIXED);
        world_forget(w);
        assert_int_equal(fetch(w, 700, 2), again(m));
        for (gfn_t gfn = 512; gfn < 1024; gfn++)
            assert_spte(w->vcpu, gfn, 1, gfn == 700 ? m->leaf & ~m->dirty : m->leaf, pfn_for(gfn));
        assert_executable(w, 700, true);
        assert_int_equal(w->flush_count, 0);
        assert_int_equal(stats_of(w->kvm).nx_splits, 1);
        table = table_holding(w->vcpu, 700, 1);
        assert_true(table->nx_huge_page_disallowed);
        assert_false(table_holding(w->vcpu, 700, 2)->nx_huge_page_disallowed);
        assert_int_equal(fetch(w, 700, 2), RET_PF_SPURIOUS); /* nothing to do */
        assert_int_equal(stats_of(w->kvm).nx_splits, 1);
        world_free(w);
    }
}

/* A fetch where nothing is: a 4K leaf under tables that are marked. */
static void fetch_first(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = nx_world(m);

        assert_int_equal(fetch(w, 700, 2), RET_PF_FIXED);
        assert_spte(w->vcpu, 700, 1, m->leaf, pfn_for(700));
        assert_int_equal(count_leaves(w->vcpu, 512, 1024, 1), 1);
        assert_true(table_holding(w->vcpu, 700, 1)->nx_huge_page_disallowed);
        assert_int_equal(stats_of(w->kvm).nx_splits, 1); /* the 1G entry's table: no huge page there */
        /* Where the host maps 1G, that table too stands in for a huge page. */
        assert_int_equal(fetch(w, GIB_PAGES + 5, 3), RET_PF_FIXED);
        assert_true(table_holding(w->vcpu, GIB_PAGES + 5, 2)->nx_huge_page_disallowed);
        assert_int_equal(stats_of(w->kvm).nx_splits, 3);
        /* Where it maps 4K, no table stands in for anything. */
        assert_int_equal(fetch(w, 2 * GIB_PAGES, 1), RET_PF_FIXED);
        assert_int_equal(stats_of(w->kvm).nx_splits, 3);
        world_free(w);
    }
}

/*
 * Reads and fetches must not replace each other's mapping for ever.
 * To put the bug in: in standsForNXHugePage() of MMU/Fault.swift return false.
 */
static void table_stays_for_reads(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = nx_world(m);
        struct kvm_mmu_page *table;

        assert_int_equal(fetch(w, 700, 2), RET_PF_FIXED);
        table = table_holding(w->vcpu, 700, 1);
        assert_int_equal(read_fault(w, 701, 2), RET_PF_FIXED);
        assert_int_equal(read_fault(w, 700, 2), again(m));
        assert_ptr_equal(table_holding(w->vcpu, 700, 1), table);
        assert_int_equal(count_leaves(w->vcpu, 512, 1024, 1), 2);
        assert_executable(w, 700, true);
        assert_int_equal(stats_of(w->kvm).nx_splits, 1);
        world_free(w);
    }
}

/* An unmarked table in a huge page's place gives way to the huge page. */
static void other_table_gives_way(void **state)
{
    const struct machine *m = &machines[3];
    struct world *w = nx_world(m);

    (void)state;
    assert_int_equal(map_page(w, 700, 1), RET_PF_FIXED);
    assert_false(table_holding(w->vcpu, 700, 1)->nx_huge_page_disallowed);
    assert_int_equal(read_fault(w, 701, 2), RET_PF_FIXED);
    assert_spte(w->vcpu, 512, 2, no_execute(m), pfn_for(512));
    world_free(w);
}

/* The world above without A/D bits, where aging takes RWX away and keeps R and X for later. */
static const struct machine *const tracking = &machines[2];
#define TRACKED UINT64_C(0x8750000000000870) /* saved: R and X */
#define TRACKED_NX UINT64_C(0x8650000000000870) /* saved: R */

static void age_pages(struct world *w, gfn_t start, gfn_t end)
{
    struct kvm_gfn_range range = { .slot = slot_by_id(w, 0, 0), .start = start, .end = end };

    assert_true(kvm_tdp_mmu_age_gfn_range(w->kvm, &range));
}

/*
 * What an access-tracked huge leaf must not do, its 4K children may, once they are restored: X is
 * among what they have saved.
 * To see it fail: in beneathAccessTrack() of PageTable/SPTEMasks.swift call change(spte) always.
 */
static void split_of_a_tracked_leaf(void **state)
{
    (void)state;
    for (int by_fetch = 0; by_fetch < 2; by_fetch++) {
        struct world *w = nx_world(tracking);

        map_pages(w, 512, 512, 2);
        map_pages(w, GIB_PAGES, GIB_PAGES, 3);
        age_pages(w, 512, 1024);
        age_pages(w, GIB_PAGES, GIB_PAGES + 1);
        assert_spte(w->vcpu, 512, 2, TRACKED_NX | PSE_BIT, pfn_for(512));
        if (by_fetch) {
            assert_int_equal(fetch(w, 700, 2), RET_PF_FIXED);
            assert_executable(w, 700, true);
        } else {
            read_lock(&w->kvm->mmu_lock);
            assert_int_equal(kvm_tdp_mmu_try_split_huge_pages(w->kvm, slot_by_id(w, 0, 0), 512, 1024, 1, true), 0);
            assert_int_equal(kvm_tdp_mmu_try_split_huge_pages(w->kvm, slot_by_id(w, 0, 0), GIB_PAGES,
                                                              2 * GIB_PAGES, 2, true), 0);
            read_unlock(&w->kvm->mmu_lock);
            /* Still a huge page. */
            assert_spte(w->vcpu, GIB_PAGES + 512, 2, TRACKED_NX | PSE_BIT, pfn_for(GIB_PAGES + 512));
        }
        assert_spte(w->vcpu, 701, 1, TRACKED, pfn_for(701));
        assert_int_equal(tdpmmu_fast_page_fault(w->vcpu, 701 << 12, 0), RET_PF_FIXED);
        assert_spte(w->vcpu, 701, 1, tracking->leaf & ~W_BIT, pfn_for(701));
        assert_executable(w, 701, true);
        world_free(w);
    }
}

/* And the way back: a huge leaf that is made of tracked children does not have X saved. */
static void recovery_of_tracked_children(void **state)
{
    struct world *w = nx_world(tracking);

    (void)state;
    assert_int_equal(fetch(w, 700, 2), RET_PF_FIXED);
    age_pages(w, 700, 701);
    assert_spte(w->vcpu, 700, 1, TRACKED, pfn_for(700));
    read_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_recover_huge_pages(w->kvm, slot_by_id(w, 0, 0));
    read_unlock(&w->kvm->mmu_lock);
    assert_spte(w->vcpu, 700, 2, TRACKED_NX | PSE_BIT, pfn_for(512));
    assert_int_equal(tdpmmu_fast_page_fault(w->vcpu, 700 << 12, 0), RET_PF_FIXED);
    assert_executable(w, 701, false);
    world_free(w);
}

/* A split ahead of the fetch is no stand-in. */
static void eager_split_is_not_listed(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = nx_world(m);

        map_pages(w, 512, 512, 2);
        map_pages(w, GIB_PAGES, GIB_PAGES, 3);
        read_lock(&w->kvm->mmu_lock);
        assert_int_equal(kvm_tdp_mmu_try_split_huge_pages(w->kvm, slot_by_id(w, 0, 0), 0, 1024, 1, true), 0);
        assert_int_equal(kvm_tdp_mmu_try_split_huge_pages(w->kvm, slot_by_id(w, 0, 0), GIB_PAGES,
                                                          2 * GIB_PAGES, 2, true), 0);
        read_unlock(&w->kvm->mmu_lock);
        assert_spte(w->vcpu, 700, 1, m->leaf, pfn_for(700));
        assert_spte(w->vcpu, GIB_PAGES + 512, 2, no_execute(m), pfn_for(GIB_PAGES + 512));
        assert_false(table_holding(w->vcpu, 700, 1)->nx_huge_page_disallowed);
        assert_int_equal(stats_of(w->kvm).nx_splits, 0);
        world_free(w);
    }
}

/* Up to 1/ratio of them, rounded up, the oldest first, each zapped exactly. */
static void recovery(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = nx_world(m);

        for (gfn_t i = 0; i < 10; i++)
            assert_int_equal(fetch(w, i * 512 + 5, 2), RET_PF_FIXED);
        assert_int_equal(stats_of(w->kvm).nx_splits, 10);
        world_forget(w);
        assert_int_equal(tdpmmu_nx_recover(w->kvm, 5), 2);
        assert_int_equal(stats_of(w->kvm).nx_splits, 8);
        for (gfn_t i = 0; i < 10; i++)
            assert_int_equal(mapped(w->vcpu, i * 512 + 5), i >= 2);
        /* One for the step, as in the kernel, before RCU is left. */
        assert_int_equal(w->flush_count, 1);
        assert_int_equal(w->flush[0].npages, UINT64_MAX);
        assert_true(w->flush[0].in_rcu);
        assert_int_equal(tdpmmu_nx_recover(w->kvm, UINT32_MAX), 1);
        assert_int_equal(tdpmmu_nx_recover(w->kvm, 2), 4);
        assert_int_equal(stats_of(w->kvm).nx_splits, 3);
        assert_int_equal(tdpmmu_nx_recover(w->kvm, 1), 3);
        assert_int_equal(tdpmmu_nx_recover(w->kvm, 1), 0);
        assert_int_equal(stats_of(w->kvm).nx_splits, 0);
        assert_int_equal(stats_of(w->kvm).pages_4k, 0);
        /* Huge again for whoever reads. */
        assert_int_equal(read_fault(w, 5, 2), RET_PF_FIXED);
        assert_spte(w->vcpu, 0, 2, no_execute(m), pfn_for(0));
        assert_executable(w, 5, false);
        world_free(w);
    }
}

/* A table listed below a listed table goes with it, and is not zapped twice. */
static void recovery_of_nested_tables(void **state)
{
    struct world *w = nx_world(&machines[0]);

    (void)state;
    assert_int_equal(fetch(w, GIB_PAGES + 5, 3), RET_PF_FIXED);
    assert_int_equal(fetch(w, GIB_PAGES + 700, 3), RET_PF_FIXED);
    assert_int_equal(stats_of(w->kvm).nx_splits, 3);
    assert_int_equal(tdpmmu_nx_recover(w->kvm, 1), 1);
    assert_int_equal(stats_of(w->kvm).nx_splits, 0);
    rcu_barrier();
    assert_int_equal(stats_of(w->kvm).tables, 2);
    world_free(w);
}

/*
 * What takes a table away by another way takes it off the list.
 * The kernel had "NX accounting races in both directions", one of them: in detach() of
 * MMU/RemovedTables.swift drop forgetNXSplit(); the list then holds a freed table.
 */
static void zapped_tables_leave_the_list(void **state)
{
    struct world *w = nx_world(&machines[3]);
    struct kvm_mmu_page *table;
    bool zapped;

    (void)state;
    for (gfn_t i = 0; i < 8; i++)
        assert_int_equal(fetch(w, i * 512 + 5, 2), RET_PF_FIXED);
    write_lock(&w->kvm->mmu_lock);
    zap_gfn_range(w->kvm, tdpmmu_vcpu_root(w->vcpu), 0, 1024, false);
    write_unlock(&w->kvm->mmu_lock);
    assert_int_equal(stats_of(w->kvm).nx_splits, 6);
    table = table_holding(w->vcpu, 1029, 1);
    write_lock(&w->kvm->mmu_lock);
    zapped = kvm_tdp_mmu_zap_sp(w->kvm, table);
    write_unlock(&w->kvm->mmu_lock);
    assert_true(zapped);
    assert_int_equal(stats_of(w->kvm).nx_splits, 5);
    rcu_barrier();
    assert_int_equal(tdpmmu_nx_recover(w->kvm, 5), 1); /* the oldest that is left */
    assert_false(mapped(w->vcpu, 3 * 512 + 5));
    assert_true(mapped(w->vcpu, 4 * 512 + 5));
    kvm_mmu_zap_all_fast(w->kvm);
    assert_int_equal(stats_of(w->kvm).nx_splits, 0);
    assert_int_equal(tdpmmu_nx_recover(w->kvm, 1), 0);
    world_free(w);
}

/* In a logged slot a huge page would be split again at once: only off the list. */
static void logged_slot_is_left(void **state)
{
    struct world *w = nx_world(&machines[3]);

    (void)state;
    assert_int_equal(add_slot(w->kvm, SIDE_SLOT, 0, SIDE_BASE, 2048, SIDE_HVA), 0);
    assert_int_equal(fetch(w, SIDE_BASE + 5, 2), RET_PF_FIXED);
    assert_int_equal(fetch(w, 5, 2), RET_PF_FIXED);
    assert_int_equal(add_slot(w->kvm, SIDE_SLOT, KVM_MEM_LOG_DIRTY_PAGES, SIDE_BASE, 2048, SIDE_HVA), 0);
    assert_int_equal(stats_of(w->kvm).nx_splits, 2);
    assert_int_equal(tdpmmu_nx_recover(w->kvm, 1), 1);
    assert_true(mapped(w->vcpu, SIDE_BASE + 5));
    assert_false(mapped(w->vcpu, 5));
    assert_int_equal(stats_of(w->kvm).nx_splits, 0);
    world_free(w);
}

/* Switched while the VM runs: everything is mapped anew. */
static void switched_at_run_time(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);
        struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);

        assert_int_equal(map_page(w, 700, 2), RET_PF_FIXED);
        assert_int_equal(tdpmmu_set_nx_huge_pages(w->kvm, false), 0); /* is off */
        assert_spte(w->vcpu, 700, 2, m->leaf | PSE_BIT, pfn_for(512));
        assert_int_equal(tdpmmu_set_nx_huge_pages(w->kvm, true), 0);
        assert_true(root->role.invalid);
        assert_int_equal(stats_of(w->kvm).pages_2m, 0);
        assert_int_equal(map_page(w, 700, 2), RET_PF_RETRY);
        assert_int_equal(kvm_mmu_load(w->vcpu), 0);
        assert_int_equal(map_page(w, 700, 2), RET_PF_FIXED);
        assert_spte(w->vcpu, 700, 2, no_execute(m), pfn_for(512));
        assert_int_equal(fetch(w, 5, 2), RET_PF_FIXED);
        assert_int_equal(stats_of(w->kvm).nx_splits, 1);
        assert_int_equal(tdpmmu_set_nx_huge_pages(w->kvm, false), 0);
        assert_int_equal(stats_of(w->kvm).nx_splits, 0);
        assert_int_equal(kvm_mmu_load(w->vcpu), 0);
        assert_int_equal(fetch(w, 5, 2), RET_PF_FIXED);
        assert_spte(w->vcpu, 5, 2, m->leaf | PSE_BIT, pfn_for(0));
        world_free(w);
    }
}

/* Put together again under NX it must not be executed, though its pages were. */
static void recovered_huge_page_is_not_executable(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = nx_world(m);

        map_pages(w, 0, 512, 1);
        read_lock(&w->kvm->mmu_lock);
        kvm_tdp_mmu_recover_huge_pages(w->kvm, slot_by_id(w, 0, 0));
        read_unlock(&w->kvm->mmu_lock);
        assert_executable(w, 5, false);
        assert_int_equal(tdpmmu_cpu_access(w->vcpu, 5 << 12, PFERR_WRITE_MASK, NULL) > 1, true);
        world_free(w);
    }
}

/* ---- the thread that recovers ------------------------------------------------------------ */

#define HOUR_MS 3600000u
#define PATIENCE_MS 60000u /* longer than any machine is busy, shorter than an hour */

/* Waits until the VM has so many tables on its list; no time is a verdict but for ever. */
static void wait_for_splits(struct world *w, uint64_t n)
{
    for (unsigned ms = 0; stats_of(w->kvm).nx_splits != n; ms++) {
        assert_true(ms < PATIENCE_MS);
        sleep_ms(1);
    }
}

/* Whoever had the lock when it was called is through afterwards. */
static void pass_through_lock(struct world *w)
{
    write_lock(&w->kvm->mmu_lock);
    write_unlock(&w->kvm->mmu_lock);
}

static void split_some(struct world *w, unsigned n)
{
    for (gfn_t i = 0; i < n; i++)
        assert_int_equal(fetch(w, i * 512 + 5, 2), RET_PF_FIXED);
}

static void thread_recovers(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = nx_world(m);

        split_some(w, 10);
        assert_int_equal(tdpmmu_set_nx_recovery(w->kvm, 3, 1), 0);
        wait_for_splits(w, 0);
        for (gfn_t i = 0; i < 10; i++)
            assert_false(mapped(w->vcpu, i * 512 + 5));
        /* And what is split later. */
        split_some(w, 1);
        wait_for_splits(w, 0);
        world_free(w);
    }
}

/* To put the bug in: in setNXRecovery() of MMU/NXRecovery.swift drop wakeNXRecovery(). */
static void new_period_wakes_the_thread(void **state)
{
    struct world *w = nx_world(&machines[3]);

    (void)state;
    assert_int_equal(tdpmmu_set_nx_recovery(w->kvm, 1, HOUR_MS), 0);
    split_some(w, 3);
    sleep_ms(20); /* it sleeps by now, most likely */
    assert_int_equal(stats_of(w->kvm).nx_splits, 3);
    assert_int_equal(tdpmmu_set_nx_recovery(w->kvm, 1, 1), 0);
    wait_for_splits(w, 0);
    /* Chosen by the ratio: once a second, in this case. */
    assert_int_equal(tdpmmu_set_nx_recovery(w->kvm, 4000, 0), 0);
    split_some(w, 1);
    wait_for_splits(w, 0);
    world_free(w);
}

/*
 * 1. Its time has come; it waits for mmu_lock, which we hold.
 * 2. It is switched off; we let go of the lock.
 * 3. It has the lock, and may do nothing with it.
 * To put the bug in: in takeNXRecoveryStep() of MMU/NXRecovery.swift do not look again.
 */
static void off_means_off(void **state)
{
    struct world *w = nx_world(&machines[3]);
    unsigned n = rounds(50);

    (void)state;
    for (unsigned i = 0; i < n; i++) {
        split_some(w, 2);
        read_lock(&w->kvm->mmu_lock);
        assert_int_equal(tdpmmu_set_nx_recovery(w->kvm, 1, 1), 0);
        for (unsigned ms = 0; !rwlock_needbreak(&w->kvm->mmu_lock); ms++) {
            assert_true(ms < PATIENCE_MS);
            sleep_ms(1);
        }
        assert_int_equal(tdpmmu_set_nx_recovery(w->kvm, 0, 1), 0);
        read_unlock(&w->kvm->mmu_lock);
        pass_through_lock(w);
        if (i % 8 == 0)
            sleep_ms(3); /* time enough for steps that must not be */
        assert_int_equal(stats_of(w->kvm).nx_splits, 2);
        assert_int_equal(tdpmmu_nx_recover(w->kvm, 1), 2);
    }
    world_free(w);
}

/* It rests while the huge pages may be executed, and goes on when they may not. */
static void rests_while_nx_is_off(void **state)
{
    struct world *w = world_from(machines[3].config);

    (void)state;
    assert_int_equal(tdpmmu_set_nx_recovery(w->kvm, 1, 1), 0);
    assert_int_equal(map_page(w, 700, 2), RET_PF_FIXED);
    sleep_ms(10);
    assert_true(mapped(w->vcpu, 700));
    assert_int_equal(tdpmmu_set_nx_huge_pages(w->kvm, true), 0);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    split_some(w, 5);
    wait_for_splits(w, 0);
    world_free(w);
}

/* Taken down, nothing is done; set up again, it goes on without a word. */
static void rests_while_taken_down(void **state)
{
    struct world *w = nx_world(&machines[3]);
    unsigned changes;

    (void)state;
    assert_int_equal(tdpmmu_set_nx_recovery(w->kvm, 1, 1), 0);
    split_some(w, 20);
    kvm_mmu_uninit_tdp_mmu(w->kvm);
    changes = atomic_load(&w->change_count);
    sleep_ms(10);
    assert_int_equal(atomic_load(&w->change_count), changes);
    assert_int_equal(kvm_mmu_init_tdp_mmu(w->kvm), 0);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    split_some(w, 1);
    wait_for_splits(w, 0);
    world_free(w);
}

/* Destroyed at any moment of the thread's life, before its first step, too. */
static void destroyed_with_its_thread(void **state)
{
    unsigned n = rounds(100);

    (void)state;
    for (unsigned i = 0; i < n; i++) {
        struct world *w = nx_world(&machines[3]);

        if (i % 2)
            split_some(w, 10);
        assert_int_equal(tdpmmu_set_nx_recovery(w->kvm, 2, i % 4 < 2 ? 1 : HOUR_MS), 0);
        if (i % 5 == 0)
            sleep_ms(2);
        world_free(w);
    }
}

static void many_vms_recover(void **state)
{
    enum { VMS = 24 };
    struct world *w[VMS];

    (void)state;
    for (int i = 0; i < VMS; i++) {
        w[i] = nx_world(&machines[i % MACHINES]);
        assert_int_equal(tdpmmu_set_nx_recovery(w[i]->kvm, 2, 1 + (unsigned)i % 3), 0);
    }
    for (int i = 0; i < VMS; i++)
        split_some(w[i], 1 + (unsigned)i % 4);
    for (int i = 0; i < VMS; i++)
        wait_for_splits(w[i], 0);
    for (int i = VMS - 1; i >= 0; i--)
        world_free(w[i]);
}

static struct kvm *kvm_in_callback;
static atomic_int set_in_callback;

static void set_by_callback(struct world *w, const struct change *change)
{
    (void)w;
    (void)change;
    atomic_fetch_add(&set_in_callback, tdpmmu_set_nx_recovery(kvm_in_callback, 1, 1) == 0);
}

/* A callback, on the thread itself and under Lock W, may change the settings. */
static void changed_by_a_callback(void **state)
{
    struct world *w = nx_world(&machines[3]);

    (void)state;
    kvm_in_callback = w->kvm;
    atomic_store(&set_in_callback, 0);
    split_some(w, 4);
    w->on_change = set_by_callback;
    assert_int_equal(tdpmmu_set_nx_recovery(w->kvm, 4, 1), 0);
    wait_for_splits(w, 0);
    pass_through_lock(w);
    w->on_change = NULL;
    assert_in_range(atomic_load(&set_in_callback), 1, MAX_RECORDS);
    world_free(w);
}

/* In the child: 0 if the VM can be used, has no thread, and gets one of its own. */
static int use_in_child(struct world *w)
{
    unsigned warned;

    alarm(PATIENCE_MS / 1000);
    pass_through_lock(w);
    if (kvm_mmu_load(w->vcpu) || fetch(w, 5, 2) < 0 || fetch(w, 512 + 5, 2) < 0)
        return 1;
    if (tdpmmu_set_nx_recovery(w->kvm, 1, 1))
        return 2;
    while (stats_of(w->kvm).nx_splits)
        sleep_ms(1);
    tdpmmu_destroy_vm(w->kvm);
    warned = atomic_load(&w->warnings);
    free(w); /* nothing else points to it in the child, and valgrind looks when that ends */
    return warned ? 3 : 0;
}

/*
 * The thread is in the middle of its steps when the process forks.
 * To put the bug in: drop ForkGate.enter() from MMU/NXRecovery.swift, and now and then
 * the child waits for mmu_lock for ever.
 */
static void forked_while_recovering(void **state)
{
    struct world *w;
    unsigned n = rounds(100);

    (void)state;
    need_threads_in_children();
    w = nx_world(&machines[3]);
    assert_int_equal(tdpmmu_set_nx_recovery(w->kvm, 1, 1), 0);
    for (unsigned i = 0; i < n; i++) {
        int status;
        pid_t child;

        for (gfn_t page = 0; page < 16; page++)
            assert_true(fetch(w, page * 512 + 5, 2) >= 0);
        child = fork();
        assert_true(child >= 0);
        if (child == 0)
            _exit(use_in_child(w));
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    wait_for_splits(w, 0); /* the parent's goes on */
    world_free(w);
}

/* In a child that may have no more threads: an error, and all stays as it was. */
static int without_threads(void)
{
    struct rlimit none = { 0, 0 };
    struct world *w = nx_world(&machines[3]);

    if (setrlimit(RLIMIT_NPROC, &none) || (geteuid() == 0 && setuid(65534)))
        return 77;
    if (tdpmmu_set_nx_recovery(w->kvm, 1, 1) != -EAGAIN || tdpmmu_set_nx_recovery(w->kvm, 0, 0))
        return 1;
    if (atomic_load(&w->warnings))
        return 2;
    return 0;
}

static void no_thread_to_be_had(void **state)
{
    int status;
    pid_t child;

    (void)state;
    need_threads_in_children();
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(without_threads());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- the races ---------------------------------------------------------------------- */

static atomic_bool stop;

struct fetcher {
    struct world *w;
    struct kvm_vcpu *vcpu;
    uint64_t random;
};

static void *fetch_all_the_time(void *arg)
{
    struct fetcher *f = arg;

    while (!atomic_load(&stop)) {
        gfn_t gfn;
        int ret;

        f->random = f->random * 6364136223846793005u + 1442695040888963407u;
        gfn = f->random >> 40 & 0x1fff; /* 16 huge pages */
        ret = fault_on(f->w, f->vcpu, gfn, f->random >> 33 & 1 ? FETCH : 0, true, 2, pfn_for(gfn), false);
        if (ret == RET_PF_RETRY)
            ret = kvm_mmu_load(f->vcpu);
        if (ret < 0)
            atomic_fetch_add(&f->w->warnings, 1);
    }
    return NULL;
}

static unsigned marked, unmarked;

static void look_at_the_mark(struct world *w, const struct change *change)
{
    uint64_t *table;

    (void)w;
    if (change->level != 2 || !is_shadow_present_pte(change->new_spte) ||
        is_last_spte(change->new_spte, change->level))
        return;
    table = spte_to_child_pt(change->new_spte, change->level);
    *(sptep_to_sp(table)->nx_huge_page_disallowed ? &marked : &unmarked) += 1;
}

/*
 * Who can see the table can see that it must stay; else a fault beside might put the
 * huge page back.  "NX accounting races in both directions": to put this one in, in
 * linkTable() of MMU/TableLink.swift mark the table after set().
 */
static void marked_before_it_is_linked(void **state)
{
    struct world *w = nx_world(&machines[3]);

    (void)state;
    marked = unmarked = 0;
    assert_int_equal(map_page(w, 0, 2), RET_PF_FIXED);
    w->on_change = look_at_the_mark;
    assert_int_equal(fetch(w, 5, 2), again(&machines[3]));
    assert_int_equal(fetch(w, 700, 2), RET_PF_FIXED);
    assert_int_equal(marked, 2);
    assert_int_equal(unmarked, 0);
    w->on_change = NULL;
    world_free(w);
}

static void *zap_collapsible(void *arg)
{
    struct world *w = arg;

    read_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_zap_collapsible_sptes(w->kvm, slot_by_id(w, 0, 0));
    read_unlock(&w->kvm->mmu_lock);
    return NULL;
}

/* A fault has linked a table and not listed it yet: another thread zaps it. */
static void zap_what_was_linked(struct world *w, const struct change *change)
{
    pthread_t thread;

    if (change->level != 2 || !is_shadow_present_pte(change->new_spte) ||
        is_last_spte(change->new_spte, change->level))
        return;
    w->on_change = NULL;
    pthread_create(&thread, NULL, zap_collapsible, w);
    pthread_join(thread, NULL);
}

/*
 * A table listed after it was zapped would stay on the list for ever, freed memory.
 * The kernel had "NX accounting races in both directions", the other one: in
 * listNXSplit() of MMU/NXHugePages.swift drop the look at the mark from the guard.
 */
static void zapped_before_it_was_listed(void **state)
{
    struct world *w = nx_world(&machines[3]);

    (void)state;
    w->on_change = zap_what_was_linked;
    assert_int_equal(fetch(w, 700, 2), RET_PF_RETRY);
    assert_null(w->on_change);
    assert_int_equal(stats_of(w->kvm).nx_splits, 0);
    assert_int_equal(tdpmmu_nx_recover(w->kvm, 1), 0);
    assert_int_equal(fetch(w, 700, 2), RET_PF_FIXED);
    assert_int_equal(stats_of(w->kvm).nx_splits, 1);
    world_free(w);
}

/*
 * Faults mark and list tables while others zap them: none is lost to recovery, none
 * stays on the list that is no more.
 */
static void listing_against_zapping(void **state)
{
    struct world *w = nx_world(&machines[3]);
    struct fetcher fetchers[2];
    pthread_t threads[2];
    unsigned n = rounds(3000);
    struct tdpmmu_stats stats;

    (void)state;
    atomic_store(&stop, false);
    for (int i = 0; i < 2; i++) {
        fetchers[i] = (struct fetcher){ w, tdpmmu_create_vcpu(w->kvm, 10 + i), (uint64_t)i * 77 + 1 };
        assert_int_equal(kvm_mmu_load(fetchers[i].vcpu), 0);
        pthread_create(&threads[i], NULL, fetch_all_the_time, &fetchers[i]);
    }
    for (unsigned i = 0; i < n || stats_of(w->kvm).faults_fixed < 200; i++) {
        if (i % 3 == 0) {
            assert_true(tdpmmu_nx_recover(w->kvm, 2) >= 0);
        } else if (i % 100 == 1) {
            kvm_mmu_zap_all_fast(w->kvm);
            assert_int_equal(kvm_mmu_load(w->vcpu), 0);
        } else {
            gfn_t start = i * 2654435761u >> 10 & 0x1e00;

            write_lock(&w->kvm->mmu_lock);
            zap_gfn_range(w->kvm, tdpmmu_vcpu_root(w->vcpu), start, start + 1024, true);
            write_unlock(&w->kvm->mmu_lock);
        }
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    /* What is marked now is what the list counts: recovery finds them all. */
    stats = stats_of(w->kvm);
    assert_int_equal(tdpmmu_nx_recover(w->kvm, 1), stats.nx_splits);
    assert_int_equal(stats_of(w->kvm).nx_splits, 0);
    assert_int_equal(tdpmmu_nx_recover(w->kvm, 1), 0);
    for (gfn_t gfn = 0; gfn < 16 * 512; gfn += 512)
        if (spte_at(w->vcpu, gfn, 1) != NO_SPTE)
            assert_false(table_holding(w->vcpu, gfn, 1)->nx_huge_page_disallowed);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_values),
        cmocka_unit_test(fetch_splits),
        cmocka_unit_test(fetch_first),
        cmocka_unit_test(table_stays_for_reads),
        cmocka_unit_test(other_table_gives_way),
        cmocka_unit_test(split_of_a_tracked_leaf),
        cmocka_unit_test(recovery_of_tracked_children),
        cmocka_unit_test(eager_split_is_not_listed),
        cmocka_unit_test(recovery),
        cmocka_unit_test(recovery_of_nested_tables),
        cmocka_unit_test(zapped_tables_leave_the_list),
        cmocka_unit_test(logged_slot_is_left),
        cmocka_unit_test(switched_at_run_time),
        cmocka_unit_test(recovered_huge_page_is_not_executable),
        cmocka_unit_test(thread_recovers),
        cmocka_unit_test(new_period_wakes_the_thread),
        cmocka_unit_test(off_means_off),
        cmocka_unit_test(rests_while_nx_is_off),
        cmocka_unit_test(rests_while_taken_down),
        cmocka_unit_test(destroyed_with_its_thread),
        cmocka_unit_test(many_vms_recover),
        cmocka_unit_test(changed_by_a_callback),
        cmocka_unit_test(forked_while_recovering),
        cmocka_unit_test(no_thread_to_be_had),
        cmocka_unit_test(marked_before_it_is_linked),
        cmocka_unit_test(zapped_before_it_was_listed),
        cmocka_unit_test(listing_against_zapping),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
