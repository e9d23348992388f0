/* SPDX-License-Identifier: GPL-2.0-only */
/* Splitting huge leaves, putting them together again, and huge pages without execute. */
#ifndef TDPMMU_HUGE_PAGES_H
#define TDPMMU_HUGE_PAGES_H

#include "types.h"
#include "vm.h"

TDPMMU_BEGIN_DECLS

/*
 * Split every huge leaf in [start, end) down to target_level (1 or 2), under
 * each valid root of the slot's address space.  A table's 512 children are
 * complete before it is linked; they have the leaf's Accessed, Dirty and W, and no flush is made.  shared: how
 * mmu_lock is held.  Yields, so nothing a caller saw before need still hold.
 * In 6.12, and so here, a range that is empty but begins inside a huge leaf has that leaf in it.
 * 0, -EINVAL, -ENOMEM (no memory, or table_limit: what was split stays split).
 * Lock R if shared, else W.  Follows kvm_tdp_mmu_try_split_huge_pages().
 */
int kvm_tdp_mmu_try_split_huge_pages(struct kvm *kvm, const struct kvm_memory_slot *slot,
                                     gfn_t start, gfn_t end, int target_level, bool shared);

/*
 * Drop the tables inside a slot of this VM that one huge leaf could replace, by slot
 * bounds, alignment and the mapping_level callback; the next fault maps huge.
 * Each is flushed.  Yields.  Lock R.  Follows kvm_tdp_mmu_zap_collapsible_sptes().
 */
void kvm_tdp_mmu_zap_collapsible_sptes(struct kvm *kvm, const struct kvm_memory_slot *slot);

/*
 * Put huge leaves in the place of the tables inside a slot of this VM that one could replace; a table
 * whose leaves do not map one contiguous stretch with equal permissions stays.  Accessed and Dirty are set if
 * any leaf had them.  Flushes the slot inside RCU, if a table went.  Yields.  Lock R.  Follows
 * kvm_tdp_mmu_recover_huge_pages() of later kernels.
 */
void kvm_tdp_mmu_recover_huge_pages(struct kvm *kvm, const struct kvm_memory_slot *slot);

/*
 * Zap exactly one table, sp, through its parent entry, if the entry still points
 * to it.  A root or a table of another VM: a warning, false.
 * Returns whether the table was zapped; its range has then been flushed, inside RCU (the kernel's caller
 * does that).  Lock W.  Follows kvm_tdp_mmu_zap_sp().
 */
bool kvm_tdp_mmu_zap_sp(struct kvm *kvm, struct kvm_mmu_page *sp);

/*
 * Forbid executing through huge pages, or allow it again.  on: forbid.  Zaps everything
 * by kvm_mmu_zap_all_fast() when it changes.  0 or -EINVAL.  No lock, not in RCU, not in kvm->srcu.
 * Follows the parameter nx_huge_pages, of one VM.
 */
int tdpmmu_set_nx_huge_pages(struct kvm *kvm, bool on);

/*
 * Zap some of the tables that stand in for a non-executable huge page: up to 1/ratio of them,
 * oldest first, so that they can be huge again; those in a logged slot are only
 * taken off the list.  Takes mmu_lock for write, for the whole step (6.12 lets go of it between two tables).  Flushes
 * once, inside RCU.  Returns how many were zapped, or -EINVAL
 * (ratio 0).
 * No lock, not in RCU.  Follows one step of the kernel's recovery thread.
 */
int tdpmmu_nx_recover(struct kvm *kvm, unsigned int ratio);

/*
 * Let a thread of the VM's own recover NX huge pages: a step as by tdpmmu_nx_recover() every period_ms
 * milliseconds, while NX huge pages are on and the TDP MMU is set up.  ratio 0: never, as at first.  period_ms 0: so often that
 * all are zapped within an hour (3600000 / ratio ms), but not more than once a second.
 * Holds at once: a period that is shorter now may be over already.  When this has
 * returned and mmu_lock was free once, nothing is zapped by the old values any more.
 * The thread is started when first needed and ended by tdpmmu_destroy_vm(); the VM's
 * callbacks run on it, under Lock W.  A forked child has none until it calls this
 * again; fork() waits up to a second for a step to end, so that the child's tables are
 * whole.
 * 0, -EINVAL (NULL), -EAGAIN or -ENOMEM (no thread to be had; all stays as it was).
 * Any lock.  Follows the parameters nx_huge_pages_recovery_ratio and
 * nx_huge_pages_recovery_period_ms.
 */
int tdpmmu_set_nx_recovery(struct kvm *kvm, unsigned int ratio, unsigned int period_ms);

TDPMMU_END_DECLS

#endif
