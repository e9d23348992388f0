/* SPDX-License-Identifier: GPL-2.0-only */
/* The library as any C program has it: shared, through the public headers. */
#ifndef MMU_SIDE_TDPMMU_H
#define MMU_SIDE_TDPMMU_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tdpmmu.h>

#define SIDE_NAME "tdpmmu"
#define SIDE_IS_OURS 1
typedef const struct kvm_memory_slot side_slot;
typedef uint64_t u64;

extern int side_level; /* of the host's pages now */
extern uint64_t side_offset; /* from a gfn to its pfn */

extern bool side_is_by_entry; /* no operation takes several SPTEs at once; aging is called with Lock W, as Linux's own wants it */

void side_init(unsigned long pages);
static inline void side_thread_begin(struct kvm_vcpu *vcpu) { (void)vcpu; }
struct kvm *side_create_vm(bool initially_set);
static inline void side_destroy_vm(struct kvm *kvm) { tdpmmu_destroy_vm(kvm); }
int side_set_slot(struct kvm *kvm, uint64_t gfn, uint64_t npages, uint64_t pfn, uint32_t flags);
side_slot *side_slot_at(struct kvm *kvm, uint64_t gfn);
struct kvm_vcpu *side_create_vcpu(struct kvm *kvm, int id);
static inline void side_destroy_vcpu(struct kvm_vcpu *vcpu) { tdpmmu_destroy_vcpu(vcpu); }
static inline void side_load(struct kvm_vcpu *vcpu) { kvm_mmu_load(vcpu); }
static inline int side_fault(struct kvm_vcpu *vcpu, uint64_t gpa, uint64_t error_code, int level)
{
    if (side_level != level)
        side_level = level;
    return kvm_tdp_mmu_page_fault(vcpu, gpa, error_code);
}
static inline int side_map(struct kvm_vcpu *vcpu, uint64_t gpa, uint64_t error_code, int level)
{
    return kvm_tdp_mmu_map(vcpu, gpa, error_code, true, level, (gpa >> 12) + side_offset, false);
}
static inline int side_fast_fault(struct kvm_vcpu *vcpu, uint64_t gpa, uint64_t error_code)
{
    return tdpmmu_fast_page_fault(vcpu, gpa, error_code);
}
#define SIDE_FOR_EACH(iter, vcpu, start, end) \
    for_each_tdp_pte(iter, tdpmmu_vcpu_root(vcpu)->spt, PT64_ROOT_4LEVEL, start, end)
/* Aging needs no lock here. */
static inline void side_age_lock(struct kvm *kvm)
{
    if (side_is_by_entry)
        write_lock(&kvm->mmu_lock);
}
static inline void side_age_unlock(struct kvm *kvm)
{
    if (side_is_by_entry)
        write_unlock(&kvm->mmu_lock);
}
unsigned long side_warnings(void);

#endif
