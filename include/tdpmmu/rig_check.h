/* SPDX-License-Identifier: GPL-2.0-only */
/* The checker: looks at everything of a VM and says what is not as it has to be. */
#ifndef TDPMMU_RIG_CHECK_H
#define TDPMMU_RIG_CHECK_H

#include "vm.h"

TDPMMU_BEGIN_DECLS

/* One fault.  What does not apply is 0. */
struct tdpmmu_check_fault {
    const char *text;   /* what is wrong; static */
    uint32_t role;      /* of the table that the entry stands in: union kvm_mmu_page_role */
    int32_t level;      /* of the entry */
    gfn_t gfn;          /* the first that the entry covers */
    uint64_t spte;      /* the entry's value */
    uint64_t *table;    /* the table that it stands in */
    uint64_t expected;  /* what the text is about: what there should be, and what there is */
    uint64_t found;
};

typedef void (*tdpmmu_check_report_fn)(void *ctx, struct kvm *kvm, const struct tdpmmu_check_fault *fault);

/*
 * Check all of a VM, and tell each fault: links, levels, gfns and roles of its tables, every entry and every leaf
 * against its slot, the dirty log and the host's invalidations, roots and who uses them, what
 * vCPUs remember, lists and counters against what a walk finds, and where the arena's pages are
 * (docs/RIGS.md has the list).  Each fault is a warning of kind TDPMMU_WARN_CHECK, value[0] the
 * SPTE or what was found, value[1] the gfn or what was expected, and a call of the function that
 * tdpmmu_check_report() named; the first 64 of a look are told, all are counted.  Mmu_lock is
 * taken for write, unless the caller has it so.  What the slots say is only looked at where
 * nobody is changing slots or reading a dirty log just then, the caller included.  Where the VM
 * has the callback mapping_level, that is asked for each huge leaf.
 * Returns how many faults were found; -EINVAL for NULL; -EBUSY, with a warning, where the caller
 * has mmu_lock for read.  No lock or Lock W.
 */
int tdpmmu_check(struct kvm *kvm);

/*
 * Set who is told of each fault that the checker finds: report is called with ctx, in the thread that checks,
 * mmu_lock held for write; it may
 * call what every callback may.  NULL: nobody is.  Not while another thread may be
 * in a call on the VM.  0 or -EINVAL.  Any lock.
 */
int tdpmmu_check_report(struct kvm *kvm, tdpmmu_check_report_fn report, void *ctx);

/*
 * Check by itself from here on, after every every_nth operation: when a call that took mmu_lock, or none,
 * is about to return, and when the caller lets go of mmu_lock.  Where another thread has the lock
 * or waits for it, and where the calling thread is inside a lock, a reader or a callback, the
 * check is left out (tdpmmu_check_stats() counts).  0: no more.  Nobody may destroy the VM while
 * another thread lets go of its lock.  0 or -EINVAL.  Any lock.
 */
int tdpmmu_check_always(struct kvm *kvm, unsigned int every_nth);

struct tdpmmu_check_stats {
    uint64_t operations; /* that ended since tdpmmu_check_always() */
    uint64_t checks;     /* made, those of tdpmmu_check() among them */
    uint64_t skipped;    /* left out because somebody was inside */
    uint64_t faults;     /* found */
};

/*
 * Copy the checker's counters to *stats; size: sizeof(struct tdpmmu_check_stats) of the caller, in bytes, who gets what
 * fits.  0 or -EINVAL.  Any lock.
 */
int tdpmmu_check_stats(struct kvm *kvm, struct tdpmmu_check_stats *stats, size_t size);

TDPMMU_END_DECLS

#endif
