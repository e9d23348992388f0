/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A rig that brings functions of its own under names that the library exports
 * too: each side must keep calling its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* All but rcu.h and tdp_iter.h, whose prototypes these are not. */
#include <tdpmmu/tdp_mmu.h>
#include <tdpmmu/vm.h>

static unsigned ours;

int call_rcu(const char *text);
int call_rcu(const char *text)
{
    ours++;
    return text[0];
}

void rcu_barrier(void);
void rcu_barrier(void)
{
    ours++;
}

void synchronize_rcu(void);
void synchronize_rcu(void)
{
    ours++;
}

void tdp_iter_next(void);
void tdp_iter_next(void)
{
    ours++;
}

/* What a Swift program has as well, and the library's objects carry inside. */
void *swift_retain(void *object);
void *swift_retain(void *object)
{
    ours++;
    return object;
}

static void each_calls_its_own(void **state)
{
    struct kvm *kvm = tdpmmu_create_vm(NULL);
    struct kvm_vcpu *vcpu = tdpmmu_create_vcpu(kvm, 0);
    struct kvm_userspace_memory_region region = {
        .memory_size = 1 << 30, .userspace_addr = 1 << 30,
    };
    struct tdpmmu_stats stats;

    (void)state;
    assert_int_equal(kvm_set_memory_region(kvm, &region), 0);
    assert_int_equal(kvm_mmu_load(vcpu), 0);
    for (gfn_t gfn = 0; gfn < 2000; gfn++) {
        read_lock(&kvm->mmu_lock);
        assert_int_equal(kvm_tdp_mmu_map(vcpu, gfn << 12, 0, true, 1, gfn, false), RET_PF_FIXED);
        read_unlock(&kvm->mmu_lock);
    }
    write_lock(&kvm->mmu_lock);
    kvm_tdp_mmu_zap_gfn_range(kvm, 0, 1024);
    write_unlock(&kvm->mmu_lock);
    region.memory_size = 0;
    assert_int_equal(kvm_set_memory_region(kvm, &region), 0);
    kvm_mmu_uninit_tdp_mmu(kvm);
    assert_int_equal(tdpmmu_get_stats(kvm, &stats, sizeof(stats)), 0);
    assert_int_equal(stats.tables, 0);
    tdpmmu_destroy_vm(kvm);
    assert_int_equal(ours, 0);
    assert_int_equal(call_rcu("x"), 'x');
    assert_int_equal(ours, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_calls_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
