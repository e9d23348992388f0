/* SPDX-License-Identifier: GPL-2.0-only */
/* The ledger: which flushes of CPUs' translations are owed, and when they are due. */
#ifndef TDPMMU_RIG_LEDGER_H
#define TDPMMU_RIG_LEDGER_H

#include "vm.h"

TDPMMU_BEGIN_DECLS

/*
 * A change of an SPTE that takes something away which a CPU may have remembered owes a flush of
 * what it mapped: a leaf that goes or gets another page; R, X or MMU-writable that goes; W that goes, or
 * Dirty where CPUs log by it (PML); a table that is cut off.  The thread that made the change owes it, and
 * a flush that covers the range pays, whoever makes it: all CPUs have forgotten the range then.  Not
 * what was owed since that flush began.
 *
 * Nothing is owed for Accessed, nor for a leaf that is tracked for accesses; for a huge leaf that is split into
 * entries of the same pages; under a root that was invalidated, which every vCPU was made to leave; and, as in
 * Linux 6.12, when a fault puts another SPTE of the same page in a leaf's place.
 *
 * What is owed is due, and if it was not paid by then reported once, with the oldest change that it is owed for:
 */
enum tdpmmu_ledger_due {
    /* mmu_lock is let go of in the middle of a walk.  W and Dirty may wait, and all but tables in
     * kvm_mmu_notifier_invalidate_range_start(), which walks slot by slot: nobody maps there before its end. */
    TDPMMU_DUE_YIELD = 1,
    /* A frozen entry becomes another value: no one may fill it before CPUs have forgotten what it was. */
    TDPMMU_DUE_UNFREEZE = 2,
    /* Of a table that was cut off: RCU is left before the flush, or the table is freed at once. */
    TDPMMU_DUE_FREE = 3,
    /* A function returns that pays its own flushes (an invalidation's begin, a slot's change, a dirty log's
     * harvest, the reset of dirty rings, a fault). */
    TDPMMU_DUE_RETURN = 4,
    /* A function returns that no flush is owed. */
    TDPMMU_DUE_TOLD_FALSE = 5,
    /* A caller who was told that a flush is owed lets go of mmu_lock.  W and Dirty may wait. */
    TDPMMU_DUE_UNLOCK = 6,
    /* A dirty log is read: writes that it does not have may still be made unseen. */
    TDPMMU_DUE_HARVEST = 7,
};

/* A flush that was not made when it was due. */
struct tdpmmu_ledger_report {
    enum tdpmmu_ledger_due due;
    const char *operation; /* in which the change was made; static */
    int as_id, level;
    gfn_t start, end; /* what is not flushed: gfns [start, end) */
    uint64_t old_spte, new_spte;
};

typedef void (*tdpmmu_ledger_report_fn)(void *ctx, struct kvm *kvm,
                                        const struct tdpmmu_ledger_report *report);

/*
 * Keep a ledger of the VM's flushes from here on.  Each report is a warning (TDPMMU_WARN_FLUSH), and a call
 * of report, if not NULL, from the thread that should have flushed, locks held as they are; it may call what
 * callbacks may always call (vm.h).  Attach before the VM's vCPUs run; detach when no thread uses the VM.
 * What is still owed then is forgotten.  The VM's end detaches.  ctx is handed to report.
 * 0, -EINVAL (NULL), -EBUSY (a second time), -ENOMEM.  No lock, not in RCU.
 */
int tdpmmu_ledger_attach(struct kvm *kvm, tdpmmu_ledger_report_fn report, void *ctx);

/* Keep no ledger any more.  0, -EINVAL (NULL) or -ENOENT (there is none).  No lock, not in RCU. */
int tdpmmu_ledger_detach(struct kvm *kvm);

/*
 * Is a flush owed of any of gfns [start, end) of address space as_id, by whatever thread?
 * False also without a ledger.  Any lock.
 */
bool tdpmmu_ledger_owes(struct kvm *kvm, int as_id, gfn_t start, gfn_t end);

/*
 * Look at all that the VM's caching CPUs have (rig_cpu.h), which an access may use at any time: each
 * translation of a page or right that the tables do not have, and of which no flush is owed, and each that lets a CPU write
 * to a page of a logged slot which tdpmmu_page_is_dirty() does not find, is reported as tdpmmu_cpus_attach()
 * says.  With a ledger it knows which flushes are owed; else what callers were told to flush counts as a fault, too.
 * Takes mmu_lock for write.
 * Returns how much was reported, -EINVAL (NULL), -ENOENT (the VM has no such CPUs) or
 * -EAGAIN (an operation is under way, in another thread).  No lock, not in RCU.
 */
int tdpmmu_cpus_check(struct kvm *kvm);

/*
 * Would a harvest find the page gfn of address space as_id dirty?  In the slot's bitmap; or pushed to a vCPU's ring
 * and not reset; or in a CPU's log (PML).  Nothing is taken out of any.
 * Returns 1, 0, -EINVAL (NULL, as_id, gfn out of range) or -ENOENT (no slot that is logged has it).  Any lock.
 */
int tdpmmu_page_is_dirty(struct kvm *kvm, int as_id, gfn_t gfn);

TDPMMU_END_DECLS

#endif
