/* SPDX-License-Identifier: GPL-2.0-only */
/* CPUs that cache: a TLB, paging-structure caches and walks under way for each vCPU, which use what they were not told to forget. */
#ifndef TDPMMU_RIG_CPU_H
#define TDPMMU_RIG_CPU_H

#include "types.h"

TDPMMU_BEGIN_DECLS

/*
 * How the CPUs use the freedom that hardware has; where neither of two opposites is set, at random.
 */
#define TDPMMU_CPUS_WEAK         0x01 /* a flush of anything drops all, as INVEPT does; else it drops what touches its range */
#define TDPMMU_CPUS_EVICT        0x02 /* now and then a translation goes of itself; else none but for want of room */
#define TDPMMU_CPUS_FILL_NEVER   0x04 /* nothing is filled ahead of an access */
#define TDPMMU_CPUS_FILL_ALWAYS  0x08 /* each CPU fills at each moment that hardware may, from as far down as it can */
#define TDPMMU_CPUS_PIECES       0x10 /* of huge leaves 4K pieces are cached */
#define TDPMMU_CPUS_WHOLES       0x20 /* huge leaves are cached whole */
#define TDPMMU_CPUS_STALE_FAULTS 0x40 /* a fault comes from rights that are cached */
#define TDPMMU_CPUS_STALE_WALKS  0x80 /* where they do not suffice the CPU walks again */

/* Something that a CPU has and should not have any more.  As much as is known; else 0. */
struct tdpmmu_cpu_report {
    size_t size;
    const char *text;
    struct kvm_vcpu *vcpu;
    gfn_t gfn;
    uint64_t npages;
    int level;             /* of the cached entry; of a table that is freed, of the entry that names it */
    int present_level;
    uint64_t cached_spte;  /* what it was filled from */
    uint64_t present_spte; /* what the tables have now */
    const char *operation; /* that took something away there last, as far as is known; else the one that began last */
    const char *filled_by; /* the one that had begun last when it was filled */
    uint64_t filled_at;    /* how many things the CPUs had seen by then */
};

struct tdpmmu_cpus_config {
    size_t size;           /* sizeof(struct tdpmmu_cpus_config) */
    uint32_t flags;        /* TDPMMU_CPUS_* */
    uint32_t cpus;         /* vCPUs that can have a root at a time, 1 to 256; 0: 8 */
    uint32_t translations; /* that each CPU holds, 16 to 65536; 0: 2048 */
    uint32_t check_every;  /* after so many operations all that is cached is looked at; 0: each, or if much is cached each nth */
    uint64_t seed;         /* of what is done at random; 0 is a seed like any other */
    /* Called, beside a warning, by the thread that finds it, under the locks that it has; NULL: only the warning. */
    void (*report)(void *ctx, struct kvm *kvm, const struct tdpmmu_cpu_report *report);
    void *ctx;
};

/*
 * Give the VM's vCPUs CPUs with caches from here on: translations (the AND of the rights of all levels, 4K pieces or
 * whole leaves), paging-structure entries of levels 5 to 2, and walks that stand between two levels.  They fill by
 * themselves, with a root loaded, after each change of an SPTE, around flushes, in gfn_to_pfn, slot_committing, and
 * where walks give way; Accessed is set before anything is cached, Dirty only by a write.  They forget what a flush
 * says and what a fault of their own is about; a root that is loaded begins without anything; nothing else is dropped.
 * tdpmmu_cpu_access() goes by them.  A CPU that uses what the tables no longer have, or has it when an operation ends, and
 * no flush of it is owed by the ledger (rig_ledger.h), which comes with the CPUs, is reported; so is one that uses a page
 * that the host has taken back, and one that has a table which is freed: a warning of kind TDPMMU_WARN_SPTE, and the report.
 *
 * No other thread may be in a call on this VM.  Returns 0; -EINVAL (NULL, a bad size, flags that contradict each other
 * or are unknown, a number out of its range), -EBUSY (attached already), each with a warning; or -ENOMEM.
 * No lock, not in RCU.
 */
int tdpmmu_cpus_attach(struct kvm *kvm, const struct tdpmmu_cpus_config *config);

/*
 * Take the caches of the VM's CPUs away again.  No other thread may be in a call on this VM, nor a callback
 * of it in this one.  tdpmmu_destroy_vm() does the same.
 * Returns how much was reported, or -EINVAL (NULL, or no CPUs with caches are attached).
 * No lock, not in RCU.
 */
int tdpmmu_cpus_detach(struct kvm *kvm);

/* What an access came to.  Exit reasons of VMX and SVM. */
#define TDPMMU_CPU_EXIT_NONE      0u
#define TDPMMU_CPU_EXIT_VIOLATION 48u    /* EPT violation; exit_info is its qualification */
#define TDPMMU_CPU_EXIT_MISCONFIG 49u    /* EPT misconfiguration */
#define TDPMMU_CPU_EXIT_NPF       0x400u /* nested page fault; exit_info is EXITINFO1 */

struct tdpmmu_cpu_result {
    int level;           /* of the leaf; of a fault, of the entry where the walk ended */
    bool hit;            /* from the cache, without a look at the tables */
    uint64_t pfn;        /* of gpa's 4K page; 0 for a fault */
    uint64_t spte;       /* the last one of the walk, or the one that the translation was filled from */
    uint64_t error_code; /* of a fault: as KVM has it */
    uint32_t exit_reason;
    uint64_t exit_info;
};

/*
 * Make one access of the guest as tdpmmu_cpu_access() does, and tell more of it in *result.  access may have PFERR_GUEST_PAGE_MASK instead of the
 * others: the CPU reads the guest's own tables at gpa, under EPT with A/D bits as a write, without them as a
 * read, under NPT as a user's write.
 * Entries are read as the CPU's manual has them: reserved bits, memory types, addresses beyond MAXPHYADDR make
 * a misconfiguration (EPT) or a fault with the reserved bit (NPT), whatever the library means by them; an address of a
 * table where no table is is a warning and a fault.  Enters RCU itself.
 * Returns as tdpmmu_cpu_access() does; *result is filled for levels and faults (0), else left alone; -EINVAL (as there,
 * or result is NULL).
 * Any lock.
 */
int tdpmmu_cpu_access_full(struct kvm_vcpu *vcpu, gpa_t gpa, uint64_t access, struct tdpmmu_cpu_result *result);

/*
 * Let the vCPU's CPU walk to gpa now, ahead of any access, and cache what it finds.
 * Returns the level of the leaf; 0: nothing is
 * cached (no leaf, or disturbed); -EINVAL: NULL, gpa out of range, no CPUs attached, or the vCPU has no root.
 * Any lock.
 */
int tdpmmu_cpu_fill(struct kvm_vcpu *vcpu, gpa_t gpa);

/*
 * Let the vCPU's CPU forget what serves gpa, or with gpa ~0 everything, as hardware may at any time.  Returns how many
 * translations it forgot, or -EINVAL (NULL, no CPUs attached, the vCPU has no root).
 * Any lock.
 */
int tdpmmu_cpu_drop(struct kvm_vcpu *vcpu, gpa_t gpa);

/*
 * Does the vCPU's CPU have a translation that serves gpa?  Nothing is used by asking.  Returns its level or 0, and fills
 * *result (not NULL) as a hit would; -EINVAL (NULL, gpa out of range, no CPUs attached, the vCPU has no root).
 * Any lock.
 */
int tdpmmu_cpu_cached(struct kvm_vcpu *vcpu, gpa_t gpa, struct tdpmmu_cpu_result *result);

TDPMMU_END_DECLS

#endif
