/* SPDX-License-Identifier: GPL-2.0-only */
/* Roots: shared by vCPUs, counted, invalidated, freed after a grace period. */
#include "test_helpers.h"

static void invalidate(struct world *w)
{
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_invalidate_all_roots(w->kvm);
    write_unlock(&w->kvm->mmu_lock);
}

static void shared_by_vcpus(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);
    struct kvm_vcpu *second = tdpmmu_create_vcpu(w->kvm, 1);
    int references = root->tdp_mmu_root_count;

    (void)state;
    assert_int_equal(kvm_mmu_load(second), 0);
    assert_ptr_equal(tdpmmu_vcpu_root(second), root);
    assert_int_equal(root->tdp_mmu_root_count, references + 1);
    assert_int_equal(kvm_mmu_load(second), 0); /* a second time changes nothing */
    assert_int_equal(root->tdp_mmu_root_count, references + 1);
    kvm_mmu_unload(second);
    assert_null(tdpmmu_vcpu_root(second));
    assert_int_equal(root->tdp_mmu_root_count, references);
    kvm_mmu_unload(second);
    assert_int_equal(root->tdp_mmu_root_count, references);
    assert_int_equal(stats_of(w->kvm).roots, 1);
    world_free(w);
}

static void get_vcpu_root_hpa(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);
    int references = root->tdp_mmu_root_count;
    hpa_t hpa = kvm_tdp_mmu_get_vcpu_root_hpa(w->vcpu);

    (void)state;
    assert_int_not_equal(hpa, INVALID_PAGE);
    assert_int_equal(hpa & 0xfff, 0);
    assert_ptr_equal(to_shadow_page(hpa), root);
    assert_int_equal(root->tdp_mmu_root_count, references + 1);
    kvm_tdp_mmu_put_root(w->kvm, root);
    assert_int_equal(root->tdp_mmu_root_count, references);
    world_free(w);
}

static void get_and_put(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);
    int references = root->tdp_mmu_root_count;

    (void)state;
    rcu_read_lock();
    assert_true(kvm_tdp_mmu_get_root(root));
    rcu_read_unlock();
    read_lock(&w->kvm->mmu_lock);
    assert_true(kvm_tdp_mmu_get_root(root)); /* any mmu_lock will do, too */
    read_unlock(&w->kvm->mmu_lock);
    assert_int_equal(root->tdp_mmu_root_count, references + 2);
    kvm_tdp_mmu_put_root(w->kvm, root);
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_put_root(w->kvm, root);
    write_unlock(&w->kvm->mmu_lock);
    assert_int_equal(root->tdp_mmu_root_count, references);
    world_free(w);
}

/*
 * A valid root keeps the MMU's own reference: dropping it is refused.
 * To put the bug "root thrash" in: let validRoot() of MMU/Roots.swift pass over roots that no vCPU has.
 */
static void last_reference_of_a_valid_root(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);

    (void)state;
    map_pages(w, 0, 4, 1);
    kvm_mmu_unload(w->vcpu);
    assert_int_equal(root->tdp_mmu_root_count, 1);
    world_forget(w);
    kvm_tdp_mmu_put_root(w->kvm, root);
    assert_int_equal(warnings(w), 1);
    assert_int_equal(root->tdp_mmu_root_count, 1);
    assert_int_equal(stats_of(w->kvm).roots, 1);
    /* It was kept for the next vCPU, tables and all. */
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    assert_ptr_equal(tdpmmu_vcpu_root(w->vcpu), root);
    assert_true(mapped(w->vcpu, 3));
    world_forget(w);
    world_free(w);
}

/*
 * "Readers that resurrect an invalid root": to put it in, compare roles without the invalid bit
 * in validRoot() of MMU/Roots.swift.
 */
static void invalidated_and_reloaded(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu), *next;

    (void)state;
    map_pages(w, 0, 4, 1);
    invalidate(w);
    assert_int_equal(root->role.invalid, 1);
    assert_true(root->tdp_mmu_scheduled_root_to_zap);
    assert_ptr_equal(tdpmmu_vcpu_root(w->vcpu), root); /* still the vCPU's, but useless */
    assert_int_equal(map_page(w, 0, 1), RET_PF_RETRY);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    next = tdpmmu_vcpu_root(w->vcpu);
    assert_ptr_not_equal(next, root);
    assert_int_equal(next->role.invalid, 0);
    assert_false(mapped(w->vcpu, 0));
    assert_int_equal(stats_of(w->kvm).roots, 2);
    assert_int_equal(stats_of(w->kvm).pages_4k, 4);
    assert_int_equal(map_page(w, 0, 1), RET_PF_FIXED);

    kvm_tdp_mmu_zap_invalidated_roots(w->kvm);
    assert_int_equal(stats_of(w->kvm).pages_4k, 1);
    assert_int_equal(stats_of(w->kvm).roots, 1);
    rcu_barrier();
    assert_int_equal(stats_of(w->kvm).tables, 4);
    assert_int_equal(stats_of(w->kvm).tables_stray, 0);
    kvm_tdp_mmu_zap_invalidated_roots(w->kvm); /* nothing to do */
    assert_int_equal(stats_of(w->kvm).pages_4k, 1);
    world_free(w);
}

/*
 * While a vCPU still has the invalid root, zapping empties it but cannot free it.
 * To put the bug in that a dying root comes back: let Table.get() of MMU/Roots.swift count up from zero.
 */
static void vcpu_holds_the_dying_root(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);

    (void)state;
    map_pages(w, 0, 4, 1);
    kvm_mmu_zap_all_fast(w->kvm);
    assert_int_equal(root->role.invalid, 1);
    assert_int_equal(root->tdp_mmu_root_count, 1);
    assert_int_equal(stats_of(w->kvm).pages_4k, 0);
    rcu_barrier();
    assert_int_equal(stats_of(w->kvm).tables, 1);
    rcu_read_lock();
    kvm_mmu_unload(w->vcpu); /* the last put: unlisted at once, freed later */
    assert_int_equal(stats_of(w->kvm).roots, 0);
    assert_false(kvm_tdp_mmu_get_root(root)); /* a dying root stays dead */
    assert_int_equal(stats_of(w->kvm).tables, 1);
    assert_int_equal(stats_of(w->kvm).tables_stray, 1);
    rcu_read_unlock();
    rcu_barrier();
    assert_int_equal(stats_of(w->kvm).tables, 0);
    world_free(w);
}

static void both_address_spaces(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 5);
    struct kvm_vcpu *smm = tdpmmu_create_vcpu(w->kvm, 1);

    (void)state;
    assert_int_equal(tdpmmu_vcpu_set_as_id(smm, 1), 0);
    assert_int_equal(kvm_mmu_load(smm), 0);
    assert_int_equal(tdpmmu_vcpu_root(smm)->role.smm, 1);
    invalidate(w);
    assert_int_equal(tdpmmu_vcpu_root(smm)->role.invalid, 1);
    assert_int_equal(tdpmmu_vcpu_root(w->vcpu)->role.invalid, 1);
    kvm_tdp_mmu_zap_invalidated_roots(w->kvm);
    assert_int_equal(kvm_mmu_load(smm), 0);
    assert_int_equal(tdpmmu_vcpu_root(smm)->role.smm, 1);
    world_free(w);
}

/* Invalidated twice before it is zapped: the MMU's reference is dropped once. */
static void invalidated_twice(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);

    (void)state;
    invalidate(w);
    invalidate(w);
    kvm_tdp_mmu_zap_invalidated_roots(w->kvm);
    kvm_tdp_mmu_zap_invalidated_roots(w->kvm);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    map_pages(w, 0, 4, 1);
    world_free(w);
}

struct zapper {
    struct world *w;
    atomic_bool stop;
};

static void *zap_fast(void *arg)
{
    struct zapper *z = arg;

    while (!atomic_load(&z->stop)) {
        kvm_mmu_zap_all_fast(z->w->kvm);
        sleep_ms(1);
    }
    return NULL;
}

/* Two threads invalidate and zap while one maps: each root is dropped once. */
static void zappers_side_by_side(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    struct zapper zapper = { .w = w };
    pthread_t threads[2];
    unsigned retries = 0, fixed = 0;

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, zap_fast, &zapper), 0);
    for (gfn_t gfn = 0; gfn < rounds(100000); gfn++) {
        int ret = map_page(w, gfn % 5000, 1);

        if (ret == RET_PF_RETRY) {
            retries++;
            assert_int_equal(kvm_mmu_load(w->vcpu), 0);
        }
        fixed += ret == RET_PF_FIXED;
    }
    atomic_store(&zapper.stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_true(fixed > 0);
    (void)retries;
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shared_by_vcpus),
        cmocka_unit_test(get_vcpu_root_hpa),
        cmocka_unit_test(get_and_put),
        cmocka_unit_test(last_reference_of_a_valid_root),
        cmocka_unit_test(invalidated_and_reloaded),
        cmocka_unit_test(vcpu_holds_the_dying_root),
        cmocka_unit_test(both_address_spaces),
        cmocka_unit_test(invalidated_twice),
        cmocka_unit_test(zappers_side_by_side),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
