/* SPDX-License-Identifier: GPL-2.0-only */
/* An EPT and an NPT VM, and many VMs, in one process: none sees another. */
#include "test_helpers.h"

static void masks_belong_to_the_vm(void **state)
{
    struct world *ept = world_new(TDPMMU_EPT, 4), *npt = world_new(TDPMMU_NPT, 5);

    (void)state;
    for (gfn_t gfn = 0; gfn < 100; gfn++) {
        map_pages(ept, gfn, 1, 1);
        map_pages(npt, gfn, 1, 1);
    }
    for (gfn_t gfn = 0; gfn < 100; gfn++) {
        assert_int_equal(spte_at(npt->vcpu, gfn, 1), pfn_for(gfn) << 12 | 0xe67);
        assert_int_equal(spte_at(ept->vcpu, gfn, 1),
                         pfn_for(gfn) << 12 | UINT64_C(0x8600000000000b77));
    }
    assert_int_equal(stats_of(ept->kvm).tables, 4);
    assert_int_equal(stats_of(npt->kvm).tables, 5);
    assert_ptr_equal(tdpmmu_vcpu_root(ept->vcpu)->kvm, ept->kvm);
    assert_ptr_equal(tdpmmu_vcpu_root(npt->vcpu)->kvm, npt->kvm);
    kvm_mmu_zap_all_fast(ept->kvm);
    assert_int_equal(stats_of(ept->kvm).pages_4k, 0);
    assert_int_equal(stats_of(npt->kvm).pages_4k, 100);
    assert_int_equal(map_page(npt, 7, 1) == RET_PF_RETRY, 0);
    assert_int_equal(map_page(ept, 7, 1), RET_PF_RETRY);
    world_free(ept);
    assert_true(mapped(npt->vcpu, 99));
    world_free(npt);
}

/* A vCPU's fault needs the lock of its own VM; both locks may be held at once. */
static void locks_are_separate(void **state)
{
    struct world *ept = world_new(TDPMMU_EPT, 4), *npt = world_new(TDPMMU_NPT, 4);

    (void)state;
    write_lock(&ept->kvm->mmu_lock);
    assert_int_equal(map_page(npt, 0, 1), RET_PF_FIXED);
    read_lock(&npt->kvm->mmu_lock);
    assert_true(tdpmmu_write_lock_held(&ept->kvm->mmu_lock));
    assert_false(tdpmmu_read_lock_held(&ept->kvm->mmu_lock));
    assert_true(tdpmmu_read_lock_held(&npt->kvm->mmu_lock));
    write_unlock(&ept->kvm->mmu_lock);
    read_unlock(&npt->kvm->mmu_lock);
    world_free(ept);
    world_free(npt);
}

/* Memory of VMs that are gone serves later ones; nothing of theirs shines through. */
static void many_vms(void **state)
{
    (void)state;
    for (unsigned i = 0; i < rounds(60); i++) {
        struct world *w[3];

        for (unsigned j = 0; j < 3; j++) {
            w[j] = world_new((enum tdpmmu_vendor)((i + j) & 1), 4 + (i & 1));
            assert_int_equal(checksum(w[j]->vcpu), UINT64_C(0xcbf29ce484222325));
            map_pages(w[j], i * 512, 700, 1);
        }
        for (unsigned j = 0; j < 3; j++) {
            assert_int_equal(count_leaves(w[j]->vcpu, 0, UINT64_MAX, 1), 700);
            world_free(w[j]);
        }
    }
}

static void *live_and_die(void *arg)
{
    struct tdpmmu_vm_config config = { .size = sizeof(config), .vendor = *(unsigned *)arg };

    for (unsigned i = 0; i < rounds(100); i++) {
        struct kvm *kvm = tdpmmu_create_vm(&config);
        struct kvm_vcpu *vcpu = tdpmmu_create_vcpu(kvm, 0);

        add_slot(kvm, 0, 0, 0, WORLD_SLOT_PAGES, WORLD_HVA);
        kvm_mmu_load(vcpu);
        for (gfn_t gfn = 0; gfn < 50; gfn++) {
            read_lock(&kvm->mmu_lock);
            kvm_tdp_mmu_map(vcpu, gfn << 24, PFERR_WRITE_MASK, true, 1, gfn << 12, false);
            read_unlock(&kvm->mmu_lock);
        }
        tdpmmu_destroy_vm(kvm);
    }
    return NULL;
}

static void vms_of_two_threads(void **state)
{
    static unsigned vendors[2] = { TDPMMU_EPT, TDPMMU_NPT };
    pthread_t threads[2];

    (void)state;
    tdpmmu_set_warn_handler(world_warn, &process_world);
    atomic_store(&process_world.warnings, 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, live_and_die, &vendors[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(process_world.warnings, 0);
    tdpmmu_set_warn_handler(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_belong_to_the_vm),
        cmocka_unit_test(locks_are_separate),
        cmocka_unit_test(many_vms),
        cmocka_unit_test(vms_of_two_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
