/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A race, explored: a page is zapped while a guest uses it, under every schedule.  The CPU here remembers one
 * translation.  Who flushes after mmu_lock is free again is caught: the host has given the page away by then.
 *
 *     make rig; cc rig_race.c -Lbuild/rig -ltdpmmu && LD_LIBRARY_PATH=build/rig ./a.out --scenario late
 */
#include <tdpmmu.h>

static struct kvm *kvm;
static struct kvm_vcpu *vcpu;
static bool is_cached, is_given_away;

static void forget(void *ctx, struct kvm *vm, gfn_t start, uint64_t npages)
{
    (void)ctx, (void)vm, (void)start, (void)npages;
    tdpmmu_schedule_point(&is_cached, true);
    is_cached = false;
}

static void make_vm(void)
{
    static struct tdpmmu_ops ops = {.size = sizeof(ops), .flush_tlb = forget};
    struct tdpmmu_vm_config config = {.size = sizeof(config), .ops = &ops};
    struct kvm_userspace_memory_region ram = {.memory_size = 1 << 20, .userspace_addr = 1 << 30};

    kvm = tdpmmu_create_vm(&config);
    vcpu = tdpmmu_create_vcpu(kvm, 0);
    kvm_set_memory_region(kvm, &ram);
    kvm_mmu_load(vcpu);
    kvm_tdp_mmu_page_fault(vcpu, 0x5000, PFERR_WRITE_MASK);
}

/* Each thread has used the library before it is watched. */
static void warm_up(int thread)
{
    (void)thread;
    rcu_read_lock();
    rcu_read_unlock();
    read_lock(&kvm->mmu_lock);
    read_unlock(&kvm->mmu_lock);
}

static void guest(void)
{
    if (tdpmmu_cpu_access(vcpu, 0x5000, PFERR_WRITE_MASK, NULL) > 0)
        is_cached = true;
    tdpmmu_schedule_point(&is_cached, false);
    tdpmmu_schedule_point(&is_given_away, false);
    tdpmmu_explore_assert(!(is_cached && is_given_away));
}

static void zap(bool late)
{
    bool flush;

    write_lock(&kvm->mmu_lock);
    flush = kvm_tdp_mmu_zap_leafs(kvm, 5, 6, false);
    if (flush && !late)
        kvm_flush_remote_tlbs(kvm);
    write_unlock(&kvm->mmu_lock);
    tdpmmu_schedule_point(&is_given_away, true);
    is_given_away = true;
    if (flush && late)
        kvm_flush_remote_tlbs(kvm);
}

static void zap_right(void) { zap(false); }
static void zap_late(void) { zap(true); }

int main(int argc, char **argv)
{
    const struct tdpmmu_scenario scenarios[] = {
        {.name = "right", .set_up = make_vm, .prepare = warm_up, .thread = {guest, zap_right}},
        {.name = "late", .set_up = make_vm, .prepare = warm_up, .thread = {guest, zap_late}},
    };

    return tdpmmu_explore_main(argc, argv, scenarios, 2);
}
