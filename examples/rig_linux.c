/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The same on this library and on Linux's own C: faults, zaps, aging and write-protection by a seed, and a sum of all
 * that the rig was told and answered.  Both print the same line.
 *
 *     make linux; cc rig_linux.c -ltdpmmu
 *     LD_LIBRARY_PATH=build ./a.out 7; LD_LIBRARY_PATH=build/linux ./a.out 7
 */
#include <stdio.h>
#include <stdlib.h>
#include <tdpmmu.h>

#define PAGES 1500
#define HVA (UINT64_C(1) << 30)

static uint64_t sum, told;

static void add(uint64_t value)
{
    sum = (sum ^ value) * UINT64_C(0x100000001b3); /* FNV-1a */
}

static void changed(void *ctx, struct kvm *kvm, int as_id, gfn_t gfn, int level, uint64_t old_spte,
                    uint64_t new_spte, bool shared)
{
    (void)ctx, (void)kvm, (void)as_id, (void)shared;
    told++;
    add(gfn << 3 | (uint64_t)level);
    if (is_last_spte(old_spte, level)) /* where a table is, is the library's business */
        add(old_spte);
    if (is_last_spte(new_spte, level))
        add(new_spte);
}

static kvm_pfn_t page_of(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn, bool write,
                         bool *writable, int *max_level)
{
    (void)ctx, (void)kvm, (void)slot, (void)write, (void)writable;
    *max_level = gfn & 0x200 ? 1 : 2;
    return 0x10000 + gfn;
}

int main(int argc, char **argv)
{
    struct tdpmmu_ops ops = {.size = sizeof(ops), .gfn_to_pfn = page_of, .spte_changed = changed};
    struct tdpmmu_vm_config config = {.size = sizeof(config), .ops = &ops};
    struct kvm_userspace_memory_region ram = {.memory_size = PAGES << 12, .userspace_addr = HVA};
    struct kvm *kvm = tdpmmu_create_vm(&config);
    struct kvm_vcpu *vcpu = tdpmmu_create_vcpu(kvm, 0);

    srandom(argc > 1 ? (unsigned int)strtoul(argv[1], NULL, 0) : 1);
    kvm_set_memory_region(kvm, &ram);
    for (int i = 0; i < 20000; i++) {
        uint64_t gfn = (uint64_t)random() % PAGES, hva = HVA + (gfn << 12), error = 0;

        if (i == 10000) {
            ram.flags = KVM_MEM_LOG_DIRTY_PAGES;
            add((uint64_t)kvm_set_memory_region(kvm, &ram));
        }
        if (i % 50 == 49) {
            kvm_mmu_notifier_invalidate_range_start(kvm, hva, hva + 0x20000, true);
            kvm_mmu_notifier_invalidate_range_end(kvm, hva, hva + 0x20000);
        } else if (i % 50 == 25) {
            add(kvm_mmu_notifier_clear_young(kvm, hva, hva + 0x40000));
        } else if (kvm_mmu_load(vcpu) == 0
                   && tdpmmu_cpu_access(vcpu, gfn << 12, i & 1 ? PFERR_WRITE_MASK : 0, &error) == 0) {
            add((uint64_t)kvm_tdp_mmu_page_fault(vcpu, gfn << 12, error));
        }
    }
    tdpmmu_destroy_vm(kvm);
    printf("%llu changes, sum %016llx\n", (unsigned long long)told, (unsigned long long)sum);
    return 0;
}
