/* SPDX-License-Identifier: GPL-2.0-only */
/* Dirty logging: which pages the guest wrote, by write-protection or by Dirty bits. */
#ifndef TDPMMU_DIRTY_LOG_H
#define TDPMMU_DIRTY_LOG_H

#include "types.h"
#include "vm.h"

TDPMMU_BEGIN_DECLS

/* slot: of this VM, from gfn_to_memslot() or its like. */

/*
 * Clear W on the slot's leaves at or above min_level (1 to 3), keeping
 * MMU_WRITABLE, so that a fast page fault may set it again.  Yields.
 * Returns whether the caller must flush the slot's gfns.  Lock R.  Follows kvm_tdp_mmu_wrprot_slot().
 */
bool kvm_tdp_mmu_wrprot_slot(struct kvm *kvm, const struct kvm_memory_slot *slot, int min_level);

/*
 * Clear Dirty on the slot's leaves, or W where the VM has no Dirty bits.  Yields.
 * Returns whether the caller must flush the slot's gfns.  Lock R.  Follows kvm_tdp_mmu_clear_dirty_slot().
 */
bool kvm_tdp_mmu_clear_dirty_slot(struct kvm *kvm, const struct kvm_memory_slot *slot);

/*
 * Clear Dirty, or W where the VM has no Dirty bits, on the 4K leaves among the 64 gfns from gfn whose
 * bit is set in mask (bit 0: gfn itself); wrprot: clear W in any case.  Leaves under roots that were
 * invalidated are left alone.  The caller flushes.  Lock W.
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
 * brings W back.  Returns whether the caller must flush gfn.  Lock W.  Follows kvm_tdp_mmu_write_protect_gfn().
 */
bool kvm_tdp_mmu_write_protect_gfn(struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn,
                                   int min_level);

/*
 * Read a slot's dirty log: copy its bitmap and, unless the VM has manual protection, clear it and write-protect what it
 * named.  log->slot: the id, with the address space in bits 31:16; log->dirty_bitmap: where to, one bit a page from
 * the slot's first, in whole words of 64.  Where the CPUs log (PML), they are asked to leave the
 * guest first (vcpu_request), and what tdpmmu_cpu_access() logged is marked in any case.
 *
 * Of 6.12, and so here: the log has each page whose SPTE got W, also by a read fault and by a fault that
 * changed nothing, see kvm_tdp_mmu_page_fault().  When the slot is logged no longer, its tables are zapped and
 * the next faults map huge.  A huge page that is split while logging is being switched on, under PML and
 * without eager split, may be written unseen until its Dirty bits are cleared.
 *
 * 0, -ENXIO (the VM has dirty rings), -EINVAL (NULL, bad id or address space), -ENOENT (no
 * such slot, or it is not logged).
 * No lock, not in RCU, not in kvm->srcu.  Follows the ioctl KVM_GET_DIRTY_LOG.
 */
int kvm_vm_ioctl_get_dirty_log(struct kvm *kvm, struct kvm_dirty_log *log);

/*
 * Clear bits of a slot's dirty log, and write-protect the pages that were dirty: those whose bit is set in
 * log->dirty_bitmap, for log->num_pages pages from the slot's page log->first_page.  log->slot: as of
 * kvm_vm_ioctl_get_dirty_log().  first_page must be a
 * multiple of 64, num_pages too unless the range ends with the slot.  Where the CPUs log (PML), they are asked to
 * leave the guest first (vcpu_request).
 *
 * Bugs of 6.12, kept: of a log that began with all bits set (KVM_DIRTY_LOG_INITIALLY_SET), clearing a word leaves a
 * huge page writable that begins with the word's last page; and huge pages stay writable if
 * KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 was switched off since.  Writes to them are in no log.
 *
 * 0, -ENXIO (the VM has dirty rings), -EINVAL (NULL, bad id or address space, or not the slot's pages), -ENOENT (no
 * such slot, or it is not logged).
 * No lock, not in RCU, not in kvm->srcu.  Follows the ioctl KVM_CLEAR_DIRTY_LOG.
 */
int kvm_vm_ioctl_clear_dirty_log(struct kvm *kvm, struct kvm_clear_dirty_log *log);

/*
 * The vCPU's dirty ring, which a VM has by KVM_CAP_DIRTY_LOG_RING, see kvm_vm_ioctl_enable_cap().
 * The vCPU fills entries in order: flags becomes KVM_DIRTY_GFN_F_DIRTY (load it
 * with acquire); the rig sets KVM_DIRTY_GFN_F_RESET (store it with release).  What the CPU
 * logged by itself (PML) is there when the vCPU has left the guest: tdpmmu_cpu_exit().
 * Returns the ring's first entry, and in *entries, unless that is NULL, how many it has; NULL and 0 if the
 * VM has no rings.  Any lock.  Follows the memory that a vCPU's descriptor maps at KVM_DIRTY_LOG_PAGE_OFFSET.
 */
struct kvm_dirty_gfn *tdpmmu_vcpu_dirty_ring(struct kvm_vcpu *vcpu, uint32_t *entries);

/*
 * Free the harvested entries of all dirty rings: their pages are visible again
 * when written.  One flush of everything if there were any.  Where the CPUs log (PML), they are asked to leave the
 * guest first (vcpu_request).  vCPUs may fault, come and go meanwhile.  Returns how many entries were freed,
 * or -EINVAL (the VM has no rings).  No lock, not in RCU, not in kvm->srcu.  Follows
 * the ioctl KVM_RESET_DIRTY_RINGS.
 */
int kvm_vm_ioctl_reset_dirty_pages(struct kvm *kvm);

/*
 * Note that the guest wrote gfn, as emulation does.  as_id: the address space, 0 or 1.  No
 * effect if no logged slot holds it; a warning if the VM has rings, which belong to vCPUs.
 * Any lock.  Follows mark_page_dirty().
 */
void tdpmmu_mark_page_dirty(struct kvm *kvm, int as_id, gfn_t gfn);

TDPMMU_END_DECLS

#endif
