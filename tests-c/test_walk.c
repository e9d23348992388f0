/* SPDX-License-Identifier: GPL-2.0-only */
/* kvm_tdp_mmu_get_walk(): a snapshot of one walk, with RCU alone. */
#include "test_helpers.h"

static int walk(struct kvm_vcpu *vcpu, gpa_t gpa, uint64_t *sptes, int *root_level)
{
    int level;

    for (int i = 0; i < 6; i++)
        sptes[i] = NO_SPTE;
    *root_level = -1;
    rcu_read_lock();
    level = kvm_tdp_mmu_get_walk(vcpu, gpa, sptes, root_level);
    rcu_read_unlock();
    return level;
}

static void levels(void **state)
{
    (void)state;
    for (unsigned root_level = 4; root_level <= 5; root_level++) {
        struct world *w = world_new(TDPMMU_NPT, root_level);
        uint64_t sptes[6];
        int got_root;

        assert_int_equal(walk(w->vcpu, 0x5000, sptes, &got_root), root_level);
        assert_int_equal(got_root, root_level);
        assert_int_equal(sptes[root_level], SHADOW_NONPRESENT_VALUE);
        assert_int_equal(sptes[root_level - 1], NO_SPTE);

        map_pages(w, 5, 1, 1);
        assert_int_equal(walk(w->vcpu, 0x5fff, sptes, &got_root), 1);
        assert_int_equal(got_root, root_level);
        for (unsigned level = 1; level <= root_level; level++)
            assert_true(is_shadow_present_pte(sptes[level]));
        assert_int_equal(sptes[0], NO_SPTE);
        if (root_level == 4)
            assert_int_equal(sptes[5], NO_SPTE);
        assert_int_equal(spte_to_pfn(sptes[1]), pfn_for(5));

        /* Beside the page: the same table, an empty entry. */
        assert_int_equal(walk(w->vcpu, 0x6000, sptes, &got_root), 1);
        assert_int_equal(sptes[1], SHADOW_NONPRESENT_VALUE);

        map_pages(w, 1024, 1, 2);
        assert_int_equal(walk(w->vcpu, (1024 + 300) << 12, sptes, &got_root), 2);
        assert_true(is_large_pte(sptes[2]));
        assert_int_equal(sptes[1], NO_SPTE);
        map_pages(w, GIB_PAGES, 1, 3);
        assert_int_equal(walk(w->vcpu, (GIB_PAGES + 300) << 12, sptes, &got_root), 3);
        assert_int_equal(spte_to_pfn(sptes[3]), pfn_for(GIB_PAGES));

        /* The last page below MAXPHYADDR. */
        assert_int_equal(walk(w->vcpu, (1ull << (root_level == 5 ? 52 : 46)) - 1, sptes, &got_root),
                         root_level);
        world_free(w);
    }
}

static void agrees_with_the_iterator(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 5);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);
    struct tdp_iter iter;
    unsigned compared = 0;

    (void)state;
    map_pages(w, 700, 100, 1);
    map_pages(w, 2048, 1, 2);
    rcu_read_lock();
    for_each_tdp_pte(iter, root->spt, 5, 0, 4096) {
        uint64_t sptes[6];
        int root_level, level;

        level = kvm_tdp_mmu_get_walk(w->vcpu, iter.gfn << 12, sptes, &root_level);
        assert_true(level <= iter.level);
        assert_int_equal(sptes[iter.level], iter.old_spte);
        compared++;
    }
    rcu_read_unlock();
    assert_true(compared > 512);
    world_free(w);
}

struct racer {
    struct world *w;
    atomic_bool stop;
};

static void *zap_and_map(void *arg)
{
    struct racer *r = arg;

    while (!atomic_load(&r->stop)) {
        map_page(r->w, 3, 1);
        map_page(r->w, 3, 2);
        write_lock(&r->w->kvm->mmu_lock);
        zap_gfn_range(r->w->kvm, tdpmmu_vcpu_root(r->w->vcpu), 0, 512, false);
        write_unlock(&r->w->kvm->mmu_lock);
    }
    return NULL;
}

/* While tables come and go, a walk sees only values that were there once. */
static void beside_a_zapper(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);
    struct racer racer = { .w = w };
    struct kvm_vcpu *walker = tdpmmu_create_vcpu(w->kvm, 1); /* a vCPU has one driver */
    pthread_t thread;
    const uint64_t small = pfn_for(3) << 12, huge = pfn_for(0) << 12;
    unsigned leaves = 0;

    (void)state;
    assert_int_equal(kvm_mmu_load(walker), 0);
    assert_int_equal(pthread_create(&thread, NULL, zap_and_map, &racer), 0);
    for (unsigned i = 0; i < rounds(300000) || leaves < 100; i++) {
        uint64_t sptes[6];
        int root_level;
        int level = walk(walker, 3 << 12, sptes, &root_level);

        assert_in_range(level, 1, 4);
        if (!is_shadow_present_pte(sptes[level])) {
            assert_true(sptes[level] == SHADOW_NONPRESENT_VALUE || is_frozen_spte(sptes[level]));
        } else if (is_last_spte(sptes[level], level)) {
            assert_int_equal(sptes[level] & 0xffffffffff000, level == 1 ? small : huge);
            leaves++;
        }
    }
    atomic_store(&racer.stop, true);
    pthread_join(thread, NULL);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels),
        cmocka_unit_test(agrees_with_the_iterator),
        cmocka_unit_test(beside_a_zapper),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
