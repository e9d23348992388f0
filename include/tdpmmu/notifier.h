/* SPDX-License-Identifier: GPL-2.0-only */
/* The host's memory manager: aging, and ranges by host virtual address. */
#ifndef TDPMMU_NOTIFIER_H
#define TDPMMU_NOTIFIER_H

#include "types.h"
#include "vm.h"

TDPMMU_BEGIN_DECLS

/*
 * Clear Accessed on the leaves of a range of a slot (or track the next access,
 * where the VM has no such bit), under all roots of its address space.  Returns
 * whether any was accessed.  No flush.  Lockless: enters RCU itself.  Any lock.
 * Follows kvm_tdp_mmu_age_gfn_range().
 */
bool kvm_tdp_mmu_age_gfn_range(struct kvm *kvm, const struct kvm_gfn_range *range);

/* Was any leaf of the range accessed?  Changes nothing.  Lockless likewise.  Any lock. */
bool kvm_tdp_mmu_test_age_gfn(struct kvm *kvm, const struct kvm_gfn_range *range);

/*
 * The same operations, and unmapping, for host virtual addresses [start, end) in
 * bytes, over all slots that they touch: in each address space by the slots' host
 * addresses, of equal ones the one added, moved or re-flagged last behind the others, as
 * Linux 6.12 goes; of the patch of 2021.  Aging is lockless.  Any lock.
 */
bool kvm_tdp_mmu_age_hva_range(struct kvm *kvm, uint64_t start, uint64_t end);
bool kvm_tdp_mmu_test_age_hva(struct kvm *kvm, uint64_t hva);

/*
 * Unmapping returns flush.  set_spte replaces the page at hva by pfn, read-only if it
 * was unmapped and is to be mapped again (writable false), in two steps with a flush
 * between; it returns whether an SPTE changed.  Lock W.
 */
bool kvm_tdp_mmu_zap_hva_range(struct kvm *kvm, uint64_t start, uint64_t end);
bool kvm_tdp_mmu_set_spte_hva(struct kvm *kvm, uint64_t hva, kvm_pfn_t pfn, bool writable);

/*
 * An invalidation of gfns begins / ends: kvm_tdp_mmu_page_fault() retries what it
 * looked up before the end.  Add the range under the same hold of the lock as the
 * beginning: while none is added, all faults in slots are retried, with a warning.
 * Lock W.
 * Follows kvm_mmu_invalidate_begin(), _range_add(), _end().
 */
void kvm_mmu_invalidate_begin(struct kvm *kvm);
void kvm_mmu_invalidate_range_add(struct kvm *kvm, gfn_t start, gfn_t end);
void kvm_mmu_invalidate_end(struct kvm *kvm);

/*
 * What the host's memory manager calls, with host virtual addresses in bytes, end
 * exclusive, and the kernel's names.
 *
 * invalidate_range: pages of [start, end) are about to go away.  start unmaps them in all
 * slots that touch the range and flushes; until the end is called, once for each start
 * and with the same range, page faults there are retried.  Each pair counts, also where
 * no slot is touched: all faults in a slot that is added before the end are retried, too
 * (the kernel makes the slot's change wait).  may_block: may unmapping let others have
 * mmu_lock meanwhile?
 * young: was any page used?  But for test_young, it looks unused from then on;
 * clear_flush_young also flushes if one was.
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
