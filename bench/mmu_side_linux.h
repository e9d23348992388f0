/* SPDX-License-Identifier: GPL-2.0-only */
/* Linux's functions, called as KVM calls them; bench/linux/bare.h is included already. */
#ifndef MMU_SIDE_LINUX_H
#define MMU_SIDE_LINUX_H

#define SIDE_NAME "linux"
#define SIDE_IS_OURS 0
typedef struct kvm_memory_slot side_slot;

static inline void side_init(unsigned long pages) { bare_init(pages / 512 * 5 / 2 + 16384); }
static inline void side_thread_begin(struct kvm_vcpu *vcpu) { linux_running_vcpu = vcpu; }
static inline struct kvm *side_create_vm(bool initially_set) { return bare_create_vm(initially_set); }
static inline void side_destroy_vm(struct kvm *kvm) { bare_destroy_vm(kvm); }
static inline int side_set_slot(struct kvm *kvm, uint64_t gfn, uint64_t npages, uint64_t pfn, uint32_t flags)
{
    return bare_set_slot(kvm, gfn, npages, pfn, flags);
}
static inline side_slot *side_slot_at(struct kvm *kvm, uint64_t gfn)
{
    return __gfn_to_memslot(__kvm_memslots(kvm, 0), gfn);
}
static inline struct kvm_vcpu *side_create_vcpu(struct kvm *kvm, int id)
{
    (void)id;
    return bare_create_vcpu(kvm);
}
static inline void side_destroy_vcpu(struct kvm_vcpu *vcpu) { bare_destroy_vcpu(vcpu); }
static inline void side_load(struct kvm_vcpu *vcpu) { bare_load(vcpu); }
static inline int side_fault(struct kvm_vcpu *vcpu, uint64_t gpa, uint64_t error_code, int level)
{
    return bare_fault(vcpu, gpa, error_code, level);
}
static inline int side_map(struct kvm_vcpu *vcpu, uint64_t gpa, uint64_t error_code, int level)
{
    return bare_map(vcpu, gpa, error_code, level);
}
static inline int side_fast_fault(struct kvm_vcpu *vcpu, uint64_t gpa, uint64_t error_code)
{
    return face_fast_page_fault(vcpu, gpa, error_code);
}
#define SIDE_FOR_EACH(iter, vcpu, start, end) \
    for_each_tdp_pte(iter, root_to_sp((vcpu)->arch.mmu->root.hpa), start, end)
/* Aging is under mmu_lock in 6.12. */
static inline void side_age_lock(struct kvm *kvm) { write_lock(&kvm->mmu_lock); }
static inline void side_age_unlock(struct kvm *kvm) { write_unlock(&kvm->mmu_lock); }
static inline unsigned long side_warnings(void) { return bare_warnings; }

#endif
