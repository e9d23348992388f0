/* SPDX-License-Identifier: GPL-2.0-only */
/* Dirty logging: which pages the guest wrote, by write-protection or by Dirty bits. */
#ifndef TDPMMU_DIRTY_LOG_H
#define TDPMMU_DIRTY_LOG_H

#include "types.h"
#include "vm.h"

TDPMMU_BEGIN_DECLS

/* slot: of this VM, from gfn_to_memslot() or its like.  "Returns flush": whether
 * the caller must flush the slot's gfns. */

/*
 * Clear W on the slot's leaves at or above min_level (1 to 3), keeping
 * MMU_WRITABLE, so that a fast page fault may set it again.  Returns flush.
 * Yields.  Lock R.  Follows kvm_tdp_mmu_wrprot_slot().
 */
bool kvm_tdp_mmu_wrprot_slot(struct kvm *kvm, const struct kvm_memory_slot *slot, int min_level);

/*
 * Clear Dirty on the slot's leaves, or W where the VM has no Dirty bits.
 * Returns flush.  Yields.  Lock R.  Follows kvm_tdp_mmu_clear_dirty_slot().
 */
bool kvm_tdp_mmu_clear_dirty_slot(struct kvm *kvm, const struct kvm_memory_slot *slot);

/*
 * The same for the 4K leaves among the 64 gfns from gfn whose bit is set in
 * mask; wrprot: clear W in any case.  The caller flushes.  Lock W.
 * Follows kvm_tdp_mmu_clear_dirty_pt_masked().
 */
void kvm_tdp_mmu_clear_dirty_pt_masked(struct kvm *kvm, const struct kvm_memory_slot *slot,
                                       gfn_t gfn, unsigned long mask, bool wrprot);

/*
 * Set Dirty on the slot's leaves, as after dirty logging.  Returns whether any
 * changed.  Yields.  Lock W.  Follows kvm_tdp_mmu_slot_set_dirty() of Linux 5.12.
 */
bool kvm_tdp_mmu_slot_set_dirty(struct kvm *kvm, const struct kvm_memory_slot *slot);

/*
 * Clear W and MMU_WRITABLE on the leaf that maps gfn, at or above min_level
 * (1 to 3), in every valid root of the slot's address space: no fast page fault
 * brings W back.  Returns flush.  Lock W.  Follows kvm_tdp_mmu_write_protect_gfn().
 */
bool kvm_tdp_mmu_write_protect_gfn(struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn,
                                   int min_level);

/*
 * Copy the slot's bitmap (log->slot: id, address space in bits 31:16), one bit a
 * page from the slot's first, to log->dirty_bitmap, and, unless the VM has
 * manual protection, clear it and write-protect what it named.
 * 0, -ENXIO (the VM has dirty rings), -EINVAL (NULL, bad id or address space), -ENOENT (no
 * such slot, or it is not logged).  Where the CPUs log (PML), they are asked to leave the
 * guest first (vcpu_request), and what tdpmmu_cpu_access() logged is marked in any case.
 * No lock, not in RCU, not in kvm->srcu.  Follows KVM_GET_DIRTY_LOG.
 */
int kvm_vm_ioctl_get_dirty_log(struct kvm *kvm, struct kvm_dirty_log *log);

/*
 * Clear the bits set in log->dirty_bitmap for log->num_pages pages from
 * log->first_page, and write-protect those that were dirty.  first_page must be a
 * multiple of 64, num_pages too unless the range ends with the slot.
 * 0, -ENXIO or -ENOENT as above, -EINVAL (as above, or not the slot's pages).  CPUs that
 * log are asked as above.
 * No lock, not in RCU, not in kvm->srcu.  Follows KVM_CLEAR_DIRTY_LOG.
 */
int kvm_vm_ioctl_clear_dirty_log(struct kvm *kvm, struct kvm_clear_dirty_log *log);

/*
 * The vCPU's dirty ring (KVM_CAP_DIRTY_LOG_RING, see kvm_vm_ioctl_enable_cap())
 * and, in *entries unless that is NULL, its size; NULL and 0 if the VM has none.
 * The vCPU fills entries in order: flags becomes KVM_DIRTY_GFN_F_DIRTY (load it
 * with acquire); the rig sets KVM_DIRTY_GFN_F_RESET (store it with release).  What the CPU
 * logged by itself (PML) is there when the vCPU has left the guest: tdpmmu_cpu_exit().  Any lock.
 */
struct kvm_dirty_gfn *tdpmmu_vcpu_dirty_ring(struct kvm_vcpu *vcpu, uint32_t *entries);

/*
 * Free the harvested entries of all rings and make their pages visible again
 * when written, with one flush of everything if there were any.  Returns how many entries,
 * or -EINVAL (the VM has no rings).  CPUs that log are asked to leave the guest first, as
 * above.  vCPUs may fault, come and go meanwhile.  No lock, not in RCU, not in kvm->srcu.  Follows
 * KVM_RESET_DIRTY_RINGS.
 */
int kvm_vm_ioctl_reset_dirty_pages(struct kvm *kvm);

/*
 * Note that the guest wrote gfn (address space as_id): what emulation does.  No
 * effect if no logged slot holds it; a warning if the VM has rings, which belong to vCPUs.
 * Any lock.  Follows mark_page_dirty().
 */
void tdpmmu_mark_page_dirty(struct kvm *kvm, int as_id, gfn_t gfn);

TDPMMU_END_DECLS

#endif
