/* SPDX-License-Identifier: GPL-2.0-only */
/* The host's memory manager: aging, and ranges by host virtual address. */
#ifndef TDPMMU_NOTIFIER_H
#define TDPMMU_NOTIFIER_H

#include "types.h"
#include "vm.h"

TDPMMU_BEGIN_DECLS

/*
 * Clear Accessed on the leaves of a range of a slot (or track the next access,
 * where the VM has no such bit), under all roots of its address space.  No flush: CPUs that cache a leaf may go on
 * without setting Accessed again.  An empty range inside a huge leaf has that leaf in it.  Lockless: enters RCU itself.
 * Returns whether any was accessed.  Any lock.
 * Follows kvm_tdp_mmu_age_gfn_range().
 */
bool kvm_tdp_mmu_age_gfn_range(struct kvm *kvm, const struct kvm_gfn_range *range);

/* Was any leaf of a range of a slot accessed?  Changes nothing.  Lockless: enters RCU itself.  Any lock. */
bool kvm_tdp_mmu_test_age_gfn(struct kvm *kvm, const struct kvm_gfn_range *range);

/*
 * Clear Accessed, or ask for it, by host virtual addresses in bytes: [start, end), or the page at hva.  As
 * kvm_tdp_mmu_age_gfn_range() and kvm_tdp_mmu_test_age_gfn(), over all slots that they touch: in each address space by
 * the slots' host addresses, of equal ones the one added, moved or re-flagged last behind the others, as
 * Linux 6.12 goes.  Lockless: enters RCU itself.  Returns whether any leaf was accessed.  Any lock.
 * Follow the functions of these names in the patch of 2021.
 */
bool kvm_tdp_mmu_age_hva_range(struct kvm *kvm, uint64_t start, uint64_t end);
bool kvm_tdp_mmu_test_age_hva(struct kvm *kvm, uint64_t hva);

/*
 * Unmap by host virtual addresses in bytes, or replace the page at one.  zap_hva: leaves of [start, end) go, in all
 * slots that it touches.  set_spte: the page at hva is replaced by pfn, read-only unless writable is true, in two steps
 * with a flush between (the kernel of that time had a step that its own checks forbid).
 * Returns, of zap_hva, whether the caller must flush; of set_spte, whether an SPTE changed.  Lock W.
 * Follow the functions of these names in the patch of 2021.
 */
bool kvm_tdp_mmu_zap_hva_range(struct kvm *kvm, uint64_t start, uint64_t end);
bool kvm_tdp_mmu_set_spte_hva(struct kvm *kvm, uint64_t hva, kvm_pfn_t pfn, bool writable);

/*
 * Begin an invalidation of gfns, name its range, end it: kvm_tdp_mmu_page_fault() retries what it
 * looked up before the end.  Add the range [start, end) under the same hold of the lock as the
 * beginning: while none is added, and at an end without one, all faults in slots are retried, with a warning.
 * Lock W.
 */
void kvm_mmu_invalidate_begin(struct kvm *kvm);
void kvm_mmu_invalidate_range_add(struct kvm *kvm, gfn_t start, gfn_t end);
void kvm_mmu_invalidate_end(struct kvm *kvm);

/*
 * Tell that the host's memory manager invalidates pages, or ask whether they were used; by the kernel's names.  Host virtual addresses in bytes, [start, end), or
 * that of the page at hva.
 *
 * invalidate_range: pages of [start, end) are about to go away.  start unmaps them in all
 * slots that touch the range and flushes; until the end is called, once for each start
 * and with the same range, page faults there are retried.  Each pair counts, also where
 * no slot is touched: all faults in a slot that is added before the end are retried, too
 * (the kernel makes the slot's change wait).  may_block: may unmapping let others have
 * mmu_lock meanwhile?
 *
 * young: was any page used?  But for test_young, it looks unused from then on;
 * clear_flush_young also flushes if one was.  Returns whether one was.
 *
 * A bad range (start not below end) or NULL: a warning, false, no effect.  No lock, not in RCU.
 */
void kvm_mmu_notifier_invalidate_range_start(struct kvm *kvm, uint64_t start, uint64_t end,
                                             bool may_block);
void kvm_mmu_notifier_invalidate_range_end(struct kvm *kvm, uint64_t start, uint64_t end);
bool kvm_mmu_notifier_clear_flush_young(struct kvm *kvm, uint64_t start, uint64_t end);
bool kvm_mmu_notifier_clear_young(struct kvm *kvm, uint64_t start, uint64_t end);
bool kvm_mmu_notifier_test_young(struct kvm *kvm, uint64_t hva);

TDPMMU_END_DECLS

#endif
