/* SPDX-License-Identifier: GPL-2.0-only */
/* The limit on page-table memory: -ENOMEM, nothing lost, and recovery. */
#include "test_helpers.h"

static struct world *limited(uint64_t tables)
{
    return world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_NPT, .table_limit = tables });
}

static void exactly_the_limit(void **state)
{
    struct world *w = limited(4);

    (void)state;
    assert_int_equal(map_page(w, 0, 1), RET_PF_FIXED); /* root and three tables */
    assert_int_equal(stats_of(w->kvm).tables, 4);
    assert_int_equal(map_page(w, 1, 1), RET_PF_FIXED); /* no further table */
    assert_int_equal(map_page(w, 512, 1), -ENOMEM);
    assert_int_equal(map_page(w, 512, 2), RET_PF_FIXED);
    assert_int_equal(stats_of(w->kvm).tables, 4);
    world_free(w);
}

/* For each limit: what could not be mapped leaves what was mapped alone. */
static void every_limit(void **state)
{
    (void)state;
    for (uint64_t limit = 1; limit <= 8; limit++) {
        struct world *w = limited(limit);
        unsigned refused = 0;

        for (gfn_t gfn = 0; gfn < 8 * 512; gfn += 512) {
            uint64_t sum = checksum(w->vcpu);
            int ret = map_page(w, gfn, 1);

            assert_true(ret == RET_PF_FIXED || ret == -ENOMEM);
            assert_int_equal(mapped(w->vcpu, gfn), ret == RET_PF_FIXED);
            if (ret == -ENOMEM && stats_of(w->kvm).tables == limit && refused++)
                assert_int_equal(checksum(w->vcpu), sum);
            assert_in_range(stats_of(w->kvm).tables, 1, limit);
        }
        assert_true(refused > 0);
        world_free(w);
    }
}

/* A split needs a table; without one the huge leaf stays as it is. */
static void split_without_memory(void **state)
{
    struct world *w = limited(3);
    uint64_t huge;

    (void)state;
    map_pages(w, 0, 1, 2);
    huge = spte_at(w->vcpu, 0, 2);
    assert_int_equal(map_page(w, 5, 1), -ENOMEM);
    assert_int_equal(spte_at(w->vcpu, 0, 2), huge);
    assert_int_equal(stats_of(w->kvm).pages_2m, 1);
    world_free(w);
}

/* Strays count until their grace period has passed; then faults go through again. */
static void recovery(void **state)
{
    struct world *w = limited(5);

    (void)state;
    for (unsigned i = 0; i < rounds(100); i++) {
        assert_int_equal(map_page(w, 0, 1), RET_PF_FIXED);
        assert_int_equal(map_page(w, 512, 1), RET_PF_FIXED);
        assert_int_equal(map_page(w, 1024, 1), -ENOMEM);
        rcu_read_lock(); /* no grace period can end */
        write_lock(&w->kvm->mmu_lock);
        zap_gfn_range(w->kvm, tdpmmu_vcpu_root(w->vcpu), 0, 1024, false);
        write_unlock(&w->kvm->mmu_lock);
        assert_int_equal(map_page(w, 1024, 1), -ENOMEM);
        rcu_read_unlock();
        rcu_barrier();
        assert_int_equal(map_page(w, 1024, 1), RET_PF_FIXED);
        write_lock(&w->kvm->mmu_lock);
        zap_gfn_range(w->kvm, tdpmmu_vcpu_root(w->vcpu), 0, 1ull << 34, false);
        write_unlock(&w->kvm->mmu_lock);
        rcu_barrier();
        assert_int_equal(stats_of(w->kvm).tables, 1);
    }
    world_free(w);
}

/* Two roots, but only one table allowed. */
static void no_second_root(void **state)
{
    struct world *w = limited(1);
    struct kvm_vcpu *smm = tdpmmu_create_vcpu(w->kvm, 1);

    (void)state;
    assert_int_equal(tdpmmu_vcpu_set_as_id(smm, 1), 0);
    assert_int_equal(kvm_mmu_load(smm), -ENOMEM);
    assert_null(tdpmmu_vcpu_root(smm));
    assert_int_equal(kvm_tdp_mmu_get_vcpu_root_hpa(smm), INVALID_PAGE);
    assert_int_equal(stats_of(w->kvm).roots, 1);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exactly_the_limit),
        cmocka_unit_test(every_limit),
        cmocka_unit_test(split_without_memory),
        cmocka_unit_test(recovery),
        cmocka_unit_test(no_second_root),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
