/* SPDX-License-Identifier: GPL-2.0-only */
/* Huge pages that must not be executed, and the tables that stand in for them. */
#include "test_helpers.h"

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
        assert_int_equal(w->flush_count, 2);
        for (unsigned i = 0; i < 2; i++) {
            assert_int_equal(w->flush[i].start, i * 512);
            assert_int_equal(w->flush[i].npages, 512);
            assert_true(w->flush[i].in_rcu);
        }
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
 * Section 5, "NX accounting races in both directions", one of them: in detach() of
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
 * Section 5, "NX accounting races in both directions", the other one: in
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
        cmocka_unit_test(eager_split_is_not_listed),
        cmocka_unit_test(recovery),
        cmocka_unit_test(recovery_of_nested_tables),
        cmocka_unit_test(zapped_tables_leave_the_list),
        cmocka_unit_test(logged_slot_is_left),
        cmocka_unit_test(switched_at_run_time),
        cmocka_unit_test(recovered_huge_page_is_not_executable),
        cmocka_unit_test(zapped_before_it_was_listed),
        cmocka_unit_test(listing_against_zapping),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
