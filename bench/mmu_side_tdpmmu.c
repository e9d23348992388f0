/* SPDX-License-Identifier: GPL-2.0-only */
#include "mmu_side_tdpmmu.h"

int side_level = PG_LEVEL_4K;
uint64_t side_offset;
static unsigned long warnings;
bool side_is_by_entry;

static void warn(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    (void)ctx, (void)kvm;
    if (warnings++ < 5)
        fprintf(stderr, "warning: %s: %s\n", warning->function, warning->text);
}

unsigned long side_warnings(void)
{
    return warnings;
}

/* As bench/linux/bare.h has it for Linux: by arithmetic. */
static kvm_pfn_t gfn_to_pfn(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn, bool write,
                            bool *writable, int *max_level)
{
    (void)ctx, (void)kvm, (void)slot, (void)write;
    *writable = true;
    *max_level = side_level;
    return gfn + side_offset;
}

static int mapping_level(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn)
{
    (void)ctx, (void)kvm, (void)slot, (void)gfn;
    return PG_LEVEL_2M;
}

/* Who hears of each change makes the library go by the entry. */
static void spte_changed(void *ctx, struct kvm *kvm, int as_id, gfn_t gfn, int level, uint64_t old_spte, uint64_t new_spte,
                         bool shared)
{
    (void)ctx, (void)kvm, (void)as_id, (void)gfn, (void)level, (void)old_spte, (void)new_spte, (void)shared;
}

void side_init(unsigned long pages)
{
    (void)pages;
    tdpmmu_set_warn_handler(warn, NULL);
}

struct kvm *side_create_vm(bool initially_set)
{
    const struct tdpmmu_ops ops = {
        .size = sizeof(ops), .gfn_to_pfn = gfn_to_pfn, .mapping_level = mapping_level,
        .spte_changed = side_is_by_entry ? spte_changed : NULL };
    struct tdpmmu_vm_config config = { .size = sizeof(config), .vendor = TDPMMU_NPT, .maxphyaddr = 48, .ops = &ops };

    if (initially_set)
        config.dirty_log = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET;
    return tdpmmu_create_vm(&config);
}

int side_set_slot(struct kvm *kvm, uint64_t gfn, uint64_t npages, uint64_t pfn, uint32_t flags)
{
    struct kvm_userspace_memory_region region = {
        .flags = flags, .guest_phys_addr = gfn << 12, .memory_size = npages << 12, .userspace_addr = pfn << 12 };

    side_offset = pfn - gfn;
    return kvm_set_memory_region(kvm, &region);
}

/* No slot changes while one is in use here. */
side_slot *side_slot_at(struct kvm *kvm, uint64_t gfn)
{
    side_slot *slot;

    rcu_read_lock();
    slot = gfn_to_memslot(kvm, gfn);
    rcu_read_unlock();
    return slot;
}

struct kvm_vcpu *side_create_vcpu(struct kvm *kvm, int id)
{
    struct kvm_vcpu *vcpu = tdpmmu_create_vcpu(kvm, id);

    if (vcpu)
        kvm_mmu_load(vcpu);
    return vcpu;
}
