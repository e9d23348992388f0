/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Calls of the TDP MMU, told to the trace as kprobes would: who includes this calls told_X() where it
 * says linux_X().
 */
#ifndef LINUX_TOLD_H
#define LINUX_TOLD_H

#include "face.h"

extern __thread int told_zapped; /* tables that told_zap_sp() has zapped in this thread */

int told_map(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault);
int told_alloc_root(struct kvm_vcpu *vcpu);
void told_put_root(struct kvm *kvm, struct kvm_mmu_page *root);
bool told_zap_sp(struct kvm *kvm, struct kvm_mmu_page *sp);
bool told_zap_leafs(struct kvm *kvm, gfn_t start, gfn_t end, bool flush);
bool told_unmap(struct kvm *kvm, struct kvm_gfn_range *range, bool flush);
bool told_age(struct kvm *kvm, struct kvm_gfn_range *range);
bool told_test_age(struct kvm *kvm, struct kvm_gfn_range *range);
bool told_wrprot(struct kvm *kvm, const struct kvm_memory_slot *slot, int min_level);
bool told_clear_dirty(struct kvm *kvm, const struct kvm_memory_slot *slot);
void told_clear_masked(struct kvm *kvm, struct kvm_memory_slot *slot, gfn_t gfn, unsigned long mask, bool wrprot);
bool told_write_protect(struct kvm *kvm, struct kvm_memory_slot *slot, gfn_t gfn, int min_level);
void told_split(struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t start, gfn_t end, int target, bool shared);
void told_collapse(struct kvm *kvm, const struct kvm_memory_slot *slot);
void told_zap_all(struct kvm *kvm);
void told_invalidate_roots(struct kvm *kvm);
void told_zap_invalidated(struct kvm *kvm);

#ifndef TOLD_HERE
#define linux_kvm_tdp_mmu_map told_map
#define linux_kvm_tdp_mmu_put_root told_put_root
#define linux_kvm_tdp_mmu_zap_sp told_zap_sp
#define linux_kvm_tdp_mmu_zap_leafs told_zap_leafs
#define linux_kvm_tdp_mmu_unmap_gfn_range told_unmap
#define linux_kvm_tdp_mmu_age_gfn_range told_age
#define linux_kvm_tdp_mmu_test_age_gfn told_test_age
#define linux_kvm_tdp_mmu_wrprot_slot told_wrprot
#define linux_kvm_tdp_mmu_clear_dirty_slot told_clear_dirty
#define linux_kvm_tdp_mmu_clear_dirty_pt_masked told_clear_masked
#define linux_kvm_tdp_mmu_write_protect_gfn told_write_protect
#define linux_kvm_tdp_mmu_try_split_huge_pages told_split
#define linux_kvm_tdp_mmu_zap_collapsible_sptes told_collapse
#define linux_kvm_tdp_mmu_zap_all told_zap_all
#define linux_kvm_tdp_mmu_invalidate_all_roots told_invalidate_roots
#define linux_kvm_tdp_mmu_zap_invalidated_roots told_zap_invalidated
#endif

#endif
