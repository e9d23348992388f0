/* SPDX-License-Identifier: GPL-2.0-only */
/* The TDP MMU's operations. */
#ifndef TDPMMU_TDP_MMU_H
#define TDPMMU_TDP_MMU_H

#include "types.h"
#include "vm.h"

TDPMMU_BEGIN_DECLS

/*
 * Set up the TDP MMU of a VM: no roots, no tables.  tdpmmu_create_vm() has done
 * it; call it to use a VM again after kvm_mmu_uninit_tdp_mmu().
 * 0, -EINVAL (NULL), -EBUSY (already set up).  No lock.
 */
int kvm_mmu_init_tdp_mmu(struct kvm *kvm);

/*
 * Take the TDP MMU down: drop the vCPUs' roots, invalidate and zap all roots,
 * wait for their memory with rcu_barrier(), and warn if a root or a table is
 * left.  vCPUs may fault and load meanwhile: faults and loads give -EINVAL from here on.
 * No lock, not in RCU, not in kvm->srcu, not in a callback; TDP MMU set up.
 */
void kvm_mmu_uninit_tdp_mmu(struct kvm *kvm);

/* Roots ------------------------------------------------------------------ */

/*
 * Find or make a valid root with the vCPU's role: level, address space, A/D.
 * The caller owns one reference to it.  Takes Lock R itself.
 * Returns its host-physical address in bytes, or INVALID_PAGE (NULL vcpu, no TDP MMU, no memory).
 * No lock, not in RCU; TDP MMU set up.
 */
hpa_t kvm_tdp_mmu_get_vcpu_root_hpa(struct kvm_vcpu *vcpu);

/*
 * Take a reference to a root, unless the count is already zero: a dying root stays dead.
 * Returns whether it was taken.  In RCU, or Lock R or W.
 */
bool kvm_tdp_mmu_get_root(struct kvm_mmu_page *root);

/*
 * Drop a reference to a root.  The last one unlinks the root and frees it after a grace
 * period.  The last reference of a valid root, or a root of another VM: a
 * warning, no effect.  Any lock.
 */
void kvm_tdp_mmu_put_root(struct kvm *kvm, struct kvm_mmu_page *root);

/*
 * Give the vCPU a valid root for its address space, if it has none or its root
 * has been invalidated; with another root its translations are flushed
 * (vcpu_request).  0, -EINVAL (no TDP MMU), -ENOMEM.
 * No lock, not in RCU; TDP MMU set up.
 */
int kvm_mmu_load(struct kvm_vcpu *vcpu);

/* Drop the vCPU's root, if any.  No lock. */
void kvm_mmu_unload(struct kvm_vcpu *vcpu);

/* The vCPU's root; it may have been invalidated.  Returns its header, or NULL.  Any lock. */
struct kvm_mmu_page *tdpmmu_vcpu_root(struct kvm_vcpu *vcpu);

/*
 * Mark every root invalid, and ask every vCPU to leave the one it has (vcpu_request): when
 * this returns, no fault and no vCPU uses it any more, so zapping it needs no flush.  Lock W.
 * Follows kvm_tdp_mmu_invalidate_all_roots() and the request its caller makes.
 */
void kvm_tdp_mmu_invalidate_all_roots(struct kvm *kvm);

/*
 * Zap each invalidated root and drop the MMU's own reference to it.  Takes Lock R
 * itself, yields.  No lock, not in RCU.
 */
void kvm_tdp_mmu_zap_invalidated_roots(struct kvm *kvm);

/*
 * Invalidate all roots and zap them, as deleting a slot does: kvm_tdp_mmu_invalidate_all_roots() and
 * kvm_tdp_mmu_zap_invalidated_roots() in a row.  One at a time, and none beside a change
 * of slots.  No lock, not in RCU, not in kvm->srcu.
 */
void kvm_mmu_zap_all_fast(struct kvm *kvm);

/*
 * Zap every root, also invalid ones, at all gfns.  One flush of everything for each valid
 * root under which something was, inside RCU (6.12, where no vCPU runs any more, has none).
 * Yields.  Lock W.
 */
void kvm_tdp_mmu_zap_all(struct kvm *kvm);

/* Faults ----------------------------------------------------------------- */

/*
 * Handle one fault of the vCPU at gpa.  error_code: PFERR_*.  pfn: the host page
 * of the gpa itself, or KVM_PFN_NOSLOT for MMIO.  map_writable: may the host
 * page be written.  max_level: the largest level at which the host maps pfn, 1 to 3;
 * alignment, slot bounds and dirty logging may lower it.  prefault: the guest
 * did not ask (Accessed stays clear).  Enters RCU itself.  Any number of vCPUs at once.
 *
 * Of 6.12, and so here: the leaf is made anew even if it permits the access already.  So a second write fault
 * answers RET_PF_FIXED and leaves a writable leaf without Dirty; a fault with map_writable false takes W away,
 * and no flush is made for that; a prefault of a mapped page clears Accessed.  (Later kernels answer RET_PF_SPURIOUS
 * and write nothing.)  Where the new leaf has W and the slot is logged, the page is marked dirty, whatever the
 * access was.  A fault that may map huge puts a huge leaf in the place of a table, with a flush; one that may not, below a
 * huge leaf, splits that without a flush, and may then find its access allowed.
 *
 * RET_PF_FIXED, RET_PF_SPURIOUS (nothing to change), RET_PF_RETRY (met a frozen
 * entry, lost a race, or the vCPU has no valid root: kvm_mmu_load()),
 * RET_PF_EMULATE (MMIO, or a write to a read-only slot), -EFAULT (pfn is one of KVM_PFN_ERR_*),
 * -EHWPOISON (pfn is KVM_PFN_ERR_HWPOISON), -EINVAL, -ENOMEM (no memory, or table_limit), -ENOBUFS (the vCPU's dirty ring is
 * full: harvest and reset it).
 * Lock R or W; TDP MMU set up.  Follows kvm_tdp_mmu_map() with the arguments of the patch of 2021.
 */
int kvm_tdp_mmu_map(struct kvm_vcpu *vcpu, gpa_t gpa, uint64_t error_code, bool map_writable,
                    int max_level, kvm_pfn_t pfn, bool prefault);

/*
 * Handle a fault of the vCPU at gpa by the whole path: slot, fast page fault, gfn_to_pfn callback, lock R, check
 * against notifiers that ran meanwhile, kvm_tdp_mmu_map().  error_code: PFERR_*.
 *
 * Of 6.12, and so here: a read fault in a logged slot marks the page dirty, since its leaf gets W; so does a fault
 * that changes nothing.  A second write fault answers RET_PF_FIXED and drops Dirty from the leaf, where the VM has
 * Dirty bits; only the third is RET_PF_SPURIOUS.  Whether the root is still
 * valid is looked at last, under the lock: what is fixed without it is fixed below an
 * obsolete root, too.
 *
 * RET_PF_RETRY asks for kvm_mmu_load() and another try.  RET_PF_FIXED, RET_PF_SPURIOUS, RET_PF_EMULATE and all errors
 * as of kvm_tdp_mmu_map(): -EFAULT, -EHWPOISON, -EINVAL, -ENOMEM; but RET_PF_EMULATE also for
 * a gpa beyond MAXPHYADDR or, under a root of four levels, beyond 48 bits, and -ENOBUFS (only the reserve of the vCPU's dirty
 * ring is left, see kvm_vm_ioctl_enable_cap()).  No lock, not in RCU; TDP MMU set up.  Follows kvm_tdp_page_fault().
 */
int kvm_tdp_mmu_page_fault(struct kvm_vcpu *vcpu, gpa_t gpa, uint64_t error_code);

#ifndef KVM_PRE_FAULT_MEMORY
/* As <linux/kvm.h> has it from Linux 6.11 on. */
struct kvm_pre_fault_memory {
    uint64_t gpa;
    uint64_t size;
    uint64_t flags;
    uint64_t padding[5];
};
#endif

/*
 * Map range->size bytes from range->gpa before the guest asks, reads only: the
 * Accessed bit stays clear, and in 6.12, as here, is cleared where a page was mapped before.  Loads a root if need be.
 * range is moved past what is done.
 * 0 if anything was, else -EINVAL (NULL, unaligned, empty, wraps, flags
 * set), -ENOENT (no memory there), -EFAULT (the host cannot map it), -EHWPOISON (the host page is poisoned), -ENOMEM,
 * -EAGAIN (an invalidation of the range does not end); without a warning but for NULL.
 * No lock, not in RCU; TDP MMU set up.  Follows the ioctl KVM_PRE_FAULT_MEMORY.
 */
int kvm_vcpu_pre_fault_memory(struct kvm_vcpu *vcpu, struct kvm_pre_fault_memory *range);

/*
 * Copy the SPTEs that a walk to addr (bytes) meets: each to sptes[its level], up to
 * sptes[5]; levels not reached stay untouched.  *root_level: the root's level.
 * Returns the level of the last one, or -EINVAL.  In RCU.
 */
int kvm_tdp_mmu_get_walk(struct kvm_vcpu *vcpu, gpa_t addr, uint64_t *sptes, int *root_level);

/*
 * Find the last SPTE on the walk to gfn, for a fix without mmu_lock.
 * Returns where it is, and its value in *spte; NULL if the vCPU has no root.  In RCU.  For as long as the result is
 * used, that is.
 */
tdp_ptep_t kvm_tdp_mmu_fast_pf_get_last_sptep(struct kvm_vcpu *vcpu, gfn_t gfn, uint64_t *spte);

/*
 * Fix a fault at gpa without mmu_lock: if only W, or an access-tracked entry's RWX, is
 * missing.  error_code: PFERR_*.  A page that becomes writable in a logged slot is marked dirty.  The root may be
 * obsolete: that is not looked at.  Enters RCU itself.
 * RET_PF_FIXED, RET_PF_SPURIOUS (the access is allowed already),
 * RET_PF_INVALID (not that sort of fault, or the vCPU's dirty ring is full), -EINVAL.  Any lock.
 * Follows fast_page_fault().
 */
int tdpmmu_fast_page_fault(struct kvm_vcpu *vcpu, gpa_t gpa, uint64_t error_code);

/* Zapping ---------------------------------------------------------------- */

/*
 * Zap leaves and whole tables inside [start, end) under one root.
 * If tables were unlinked, the range has been flushed once already, inside RCU.  can_yield: let
 * waiting threads have mmu_lock, after a flush of all that is owed by then.
 * In 6.12, and so here, a huge leaf goes whole if the range begins inside it, be the range empty or not.
 * Returns whether the caller must flush [start, end), and all of a huge page that reached out of it.
 * Lock W.  Follows zap_gfn_range() of Linux 5.12.
 */
bool zap_gfn_range(struct kvm *kvm, struct kvm_mmu_page *root, gfn_t start, gfn_t end,
                   bool can_yield);

/*
 * Zap leaves and whole tables inside [start, end) under every valid root: zap_gfn_range() for each, of both address
 * spaces.  Yields.
 * Returns whether the caller must flush [start, end), and all of a huge page that reached out of it.  Lock W.
 * Follows kvm_tdp_mmu_zap_gfn_range() of Linux 5.12.
 */
bool kvm_tdp_mmu_zap_gfn_range(struct kvm *kvm, gfn_t start, gfn_t end);

/*
 * Zap leaves only inside [start, end), under every valid root of both address spaces; tables stay.
 * flush: is a flush pending already?  Yields.  A huge leaf goes whole if the range begins inside it, be the range empty
 * or not.
 * Returns whether a flush is pending now, of [start, end) and of all of a huge page that reached out of it.  Lock W.
 */
bool kvm_tdp_mmu_zap_leafs(struct kvm *kvm, gfn_t start, gfn_t end, bool flush);

/*
 * Zap leaves of a range of a slot, for the memory notifier: under ALL roots of its
 * address space; invalid ones too, but no flush on their account.  flush: is a flush pending already?
 * Yields if range->may_block.  Returns whether a flush of the range is pending now.  Lock W.
 */
bool kvm_tdp_mmu_unmap_gfn_range(struct kvm *kvm, const struct kvm_gfn_range *range, bool flush);

TDPMMU_END_DECLS

#endif
