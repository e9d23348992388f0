/* SPDX-License-Identifier: GPL-2.0-only */
/* The iterator: order, levels, bounds, restart; and what an SPTE says by itself. */
#include "test_helpers.h"

#define TOP_GFN(root_level) (UINT64_C(1) << ((root_level) == 5 ? 40 : 34))

static struct world *populated(unsigned root_level)
{
    struct world *w = world_new(TDPMMU_EPT, root_level);

    map_pages(w, 0, 1, PG_LEVEL_4K);
    map_pages(w, 5, 1, PG_LEVEL_4K);
    map_pages(w, 1024, 1, PG_LEVEL_2M);
    map_pages(w, 2 * GIB_PAGES, 1, PG_LEVEL_1G);
    return w;
}

static void walk_order(void **state)
{
    const int root_level = **(int **)*state;
    struct world *w = populated((unsigned)root_level);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);
    struct tdp_iter iter;
    int expect_level = root_level;
    gfn_t gfn = 0;

    /* Down to the first leaf, then aside. */
    rcu_read_lock();
    for_each_tdp_pte(iter, root->spt, root_level, 0, 8) {
        assert_true(iter.valid);
        assert_int_equal(iter.level, expect_level);
        assert_int_equal(iter.gfn, gfn);
        assert_int_equal(iter.as_id, 0);
        assert_int_equal(iter.root_level, root_level);
        assert_int_equal(iter.min_level, 1);
        assert_ptr_equal(tdp_iter_root_pt(&iter), root->spt);
        assert_ptr_equal(iter.pt_path[root_level - 1], root->spt);
        assert_ptr_equal(iter.sptep, iter.pt_path[iter.level - 1] + (gfn & 511) *
                                         (iter.level == 1));
        assert_int_equal(is_shadow_present_pte(iter.old_spte),
                         iter.level > 1 || gfn == 0 || gfn == 5);
        if (expect_level > 1)
            expect_level--;
        else
            gfn++;
    }
    rcu_read_unlock();
    assert_int_equal(gfn, 8);
    world_free(w);
}

/* Pre-order: gfns never go back, and a table comes before what is below it. */
static void whole_walk(void **state)
{
    const int root_level = **(int **)*state;
    struct world *w = populated((unsigned)root_level);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);
    struct tdp_iter iter;
    unsigned entries = 0, leaves[6] = { 0 }, tables = 1;
    gfn_t last_gfn = 0;
    int last_level = root_level + 1;

    rcu_read_lock();
    for_each_tdp_pte(iter, root->spt, root_level, 0, UINT64_MAX) {
        entries++;
        assert_true(iter.gfn >= last_gfn);
        if (iter.gfn == last_gfn)
            assert_int_equal(iter.level, last_level - 1);
        assert_int_equal(iter.gfn & (KVM_PAGES_PER_HPAGE(iter.level) - 1), 0);
        last_gfn = iter.gfn;
        last_level = iter.level;
        if (!is_shadow_present_pte(iter.old_spte)) {
            assert_int_equal(iter.old_spte, SHADOW_NONPRESENT_VALUE);
            continue;
        }
        if (is_last_spte(iter.old_spte, iter.level)) {
            leaves[iter.level]++;
            assert_null(spte_to_child_pt(iter.old_spte, iter.level));
        } else {
            tdp_ptep_t child = spte_to_child_pt(iter.old_spte, iter.level);
            struct kvm_mmu_page *sp = sptep_to_sp(child);

            tables++;
            assert_non_null(child);
            assert_ptr_equal(sp->spt, child);
            assert_ptr_equal(sptep_to_sp(child + 511), sp);
            assert_ptr_equal(to_shadow_page(iter.old_spte & UINT64_C(0xffffffffff000)), sp);
            assert_int_equal(sp->role.level, iter.level - 1);
            assert_int_equal(sp->gfn, iter.gfn);
            assert_ptr_equal(sp->ptep, iter.sptep);
            assert_ptr_equal(sp->kvm, w->kvm);
            assert_true(sp->tdp_mmu_page);
        }
    }
    assert_false(iter.valid);
    rcu_read_unlock();
    assert_int_equal(tables, stats_of(w->kvm).tables);
    assert_int_equal(entries, 512 * tables);
    assert_int_equal(leaves[1], 2);
    assert_int_equal(leaves[2], 1);
    assert_int_equal(leaves[3], 1);
    assert_ptr_equal(sptep_to_sp(root->spt + 17), root);
    assert_null(root->ptep);
    world_free(w);
}

static void min_levels(void **state)
{
    const int root_level = **(int **)*state;
    struct world *w = populated((unsigned)root_level);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);
    struct tdp_iter iter;

    rcu_read_lock();
    for (int min_level = 1; min_level <= root_level; min_level++) {
        unsigned seen[6] = { 0 };
        unsigned tables[6] = { 0, 1, 1, 1, 1, 1 };

        for_each_tdp_pte_min_level(iter, root->spt, root_level, min_level, 0, UINT64_MAX)
            seen[iter.level]++;
        for (int level = 1; level <= root_level; level++)
            assert_int_equal(seen[level], level < min_level ? 0 : 512 * tables[level]);
    }
    rcu_read_unlock();
    world_free(w);
}

static void bounds(void **state)
{
    const int root_level = **(int **)*state;
    struct world *w = populated((unsigned)root_level);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);
    struct tdp_iter iter;
    unsigned entries = 0;
    gfn_t first_4k = 0;

    rcu_read_lock();
    /* A walk to the middle of a table begins there, not at its first entry. */
    for_each_tdp_pte(iter, root->spt, root_level, 300, 303) {
        if (iter.level == 1 && !entries++)
            first_4k = iter.gfn;
        assert_true(iter.gfn < 303);
    }
    assert_int_equal(first_4k, 300);
    assert_int_equal(entries, 3);

    /* An empty range visits nothing; the last gfn of all can be reached. */
    entries = 0;
    for_each_tdp_pte(iter, root->spt, root_level, 7, 7)
        entries += iter.gfn >= 7;
    assert_int_equal(entries, 0);
    entries = 0;
    for_each_tdp_pte(iter, root->spt, root_level, TOP_GFN(root_level) - 1, TOP_GFN(root_level))
        entries++;
    assert_int_equal(entries, 1);

    /* A 2M leaf is one entry, found from any gfn in it. */
    entries = 0;
    for_each_tdp_pte(iter, root->spt, root_level, 1024 + 37, 1024 + 38)
        if (is_shadow_present_pte(iter.old_spte) && is_last_spte(iter.old_spte, iter.level)) {
            entries++;
            assert_int_equal(iter.gfn, 1024);
            assert_int_equal(iter.level, 2);
        }
    assert_int_equal(entries, 1);
    rcu_read_unlock();
    world_free(w);
}

/* After a restart the walk comes to the very gfn it had not yet finished with. */
static void restart(void **state)
{
    const int root_level = **(int **)*state;
    struct world *w = populated((unsigned)root_level);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);
    struct tdp_iter iter;
    unsigned restarts = 0, entries_4k = 0;
    bool again = false;

    rcu_read_lock();
    for_each_tdp_pte(iter, root->spt, root_level, 0, 512) {
        if (iter.level > 1)
            continue;
        if (!again && iter.gfn % 3 == 0) {
            gfn_t wanted = iter.gfn;

            rcu_read_unlock();
            rcu_read_lock();
            tdp_iter_restart(&iter);
            assert_true(iter.valid);
            assert_int_equal(iter.level, root_level);
            assert_int_equal(iter.gfn, 0);
            assert_int_equal(iter.next_last_level_gfn, wanted);
            assert_int_equal(iter.yielded_gfn, wanted);
            while (iter.level > 1)
                tdp_iter_next(&iter);
            assert_int_equal(iter.gfn, wanted); /* not one further */
            restarts++;
        }
        again = false;
        assert_int_equal(iter.gfn, entries_4k);
        entries_4k++;
    }
    rcu_read_unlock();
    assert_int_equal(entries_4k, 512);
    assert_int_equal(restarts, 171);
    world_free(w);
}

/* With mmu_lock held for write no RCU reader is needed. */
static void under_write_lock(void **state)
{
    const int root_level = **(int **)*state;
    struct world *w = populated((unsigned)root_level);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);
    struct tdp_iter iter;

    write_lock(&w->kvm->mmu_lock);
    tdp_iter_start(&iter, root->spt, root_level, 1, 0);
    assert_true(iter.valid);
    write_unlock(&w->kvm->mmu_lock);
    world_free(w);
}

static void predicates(void **state)
{
    (void)state;
    assert_false(is_shadow_present_pte(0));
    assert_false(is_shadow_present_pte(SHADOW_NONPRESENT_VALUE));
    assert_false(is_shadow_present_pte(FROZEN_SPTE));
    assert_true(is_shadow_present_pte(1 << 11));
    assert_true(is_frozen_spte(FROZEN_SPTE));
    assert_false(is_frozen_spte(SHADOW_NONPRESENT_VALUE));
    assert_false(is_frozen_spte(FROZEN_SPTE & ~SHADOW_NONPRESENT_VALUE));
    assert_true(is_large_pte(0x80));
    assert_false(is_large_pte(0x800));
    assert_true(is_last_spte(0x800, 1));
    assert_false(is_last_spte(0x800, 2));
    assert_true(is_last_spte(0x880, 2));
    assert_true(is_last_spte(0x880, 3));
    assert_true(is_writable_pte(2));
    assert_false(is_writable_pte(~UINT64_C(2)));
    assert_int_equal(spte_to_pfn(UINT64_C(0x8000123456789e67)), UINT64_C(0x123456789));
    assert_int_equal(spte_to_pfn(UINT64_MAX), UINT64_C(0xffffffffff));
    assert_null(spte_to_child_pt(SHADOW_NONPRESENT_VALUE, 3));
    assert_null(spte_to_child_pt(FROZEN_SPTE, 3));
    assert_null(spte_to_child_pt(0xe67 | 0x1000, 1));
}

static int four = 4, five = 5;

/*
 * A walk that goes on after RCU was left: told, and over.  Put the bug in: let
 * enter(touching:) in Sources/ABI/TDPIterator.swift answer true.
 */
static void outside_a_reader(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    uint64_t *root = tdpmmu_vcpu_root(w->vcpu)->spt;
    struct tdp_iter iter;

    (void)state;
    for (int step = 0; step < 2; step++) {
        rcu_read_lock();
        tdp_iter_start(&iter, root, 4, 1, 0);
        rcu_read_unlock();
        assert_true(iter.valid);
        if (step == 0)
            tdp_iter_next(&iter);
        else
            tdp_iter_restart(&iter);
        assert_false(iter.valid);
        assert_int_equal(warnings(w), step + 1);
        assert_int_equal(w->last_warning.kind, TDPMMU_WARN_LOCK);
    }

    write_lock(&w->kvm->mmu_lock); /* nobody can remove a table */
    tdp_iter_start(&iter, root, 4, 1, 0);
    tdp_iter_next(&iter);
    assert_true(iter.valid);
    write_unlock(&w->kvm->mmu_lock);
    assert_int_equal(warnings(w), 2);
    atomic_store(&w->warnings, 0);
    world_free(w);
}

int main(void)
{
#define BOTH(test) cmocka_unit_test_prestate(test, &levels[0]), \
                   cmocka_unit_test_prestate(test, &levels[1])
    static int *levels[2] = { &four, &five };
    const struct CMUnitTest tests[] = {
        BOTH(walk_order), BOTH(whole_walk), BOTH(min_levels), BOTH(bounds), BOTH(restart),
        BOTH(under_write_lock), cmocka_unit_test(outside_a_reader),
        cmocka_unit_test(predicates),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
