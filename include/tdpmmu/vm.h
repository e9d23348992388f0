/* SPDX-License-Identifier: GPL-2.0-only */
/* Virtual machines, virtual CPUs, memory slots, callbacks, counters. */
#ifndef TDPMMU_VM_H
#define TDPMMU_VM_H

#include <linux/kvm.h>

#include "lock.h"
#include "trace.h"
#include "types.h"

TDPMMU_BEGIN_DECLS

struct tdp_iter; /* tdp_iter.h */
struct kvm_vcpu;

#define KVM_ADDRESS_SPACE_NUM 2 /* 0 normal, 1 SMM */
#define KVM_USER_MEM_SLOTS 32764

/* A virtual machine.  What a test must reach is visible, the rest private. */
struct tdpmmu_facts; /* primitives.h */
struct kvm {
    struct tdpmmu_rwlock mmu_lock; /* protects the page tables; outermost but for the slots lock */
    struct srcu_struct srcu;       /* protects the slots; readers may sleep */
    const struct tdpmmu_facts *facts; /* of its SPTEs, for who writes operations of his own */
};

/*
 * One memory slot.  Immutable while visible: a change publishes a new one and
 * frees the old after a grace period of kvm->srcu and one of RCU, so be inside
 * srcu_read_lock(&kvm->srcu), as in the kernel, or RCU while you look at one.
 */
struct kvm_memory_slot {
    gfn_t base_gfn;
    uint64_t npages;
    uint64_t userspace_addr; /* host virtual address of the first byte */
    uint32_t flags;          /* KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY */
    uint16_t id;
    uint16_t as_id;
};

/* Part of a slot, as memory notifiers and zap operations name it. */
struct kvm_gfn_range {
    const struct kvm_memory_slot *slot; /* a slot of this VM; its address space is meant */
    gfn_t start;                        /* inclusive */
    gfn_t end;                          /* exclusive */
    bool may_block;                     /* may the operation yield mmu_lock? */
};

/* Which check spoke.  The text names the particulars. */
enum tdpmmu_warning_kind {
    TDPMMU_WARN_ARGUMENT = 1, /* a caller passed something that cannot be */
    TDPMMU_WARN_LOCK = 2,     /* a lock or RCU reader is missing, or held twice */
    TDPMMU_WARN_SPTE = 3,     /* an SPTE change that must never happen */
    TDPMMU_WARN_LEAK = 4,     /* something is left that should be gone */
    TDPMMU_WARN_RCU = 5,      /* misuse of RCU */
    TDPMMU_WARN_CHECK = 6,    /* something of a VM is not as it has to be: tdpmmu_check() */
    TDPMMU_WARN_FLUSH = 7,    /* a flush of CPUs' translations is due and was not made: rig_ledger.h */
};

struct tdpmmu_warning {
    enum tdpmmu_warning_kind kind;
    const char *function; /* the entry point or check, e.g. "zap_gfn_range" */
    const char *text;     /* one sentence; both strings are static */
    uint64_t value[2];    /* the numbers the sentence is about, or 0 */
};

/* Called for every warning, from the thread that caused it, locks held as they are. */
typedef void (*tdpmmu_warn_fn)(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning);

/* What a vCPU is asked to do before it runs on in the guest: the kernel's requests. */
enum tdpmmu_request {
    /* Leave the guest; its root may be invalid, so kvm_mmu_load() before it goes in again.
     * KVM_REQ_MMU_FREE_OBSOLETE_ROOTS. */
    TDPMMU_REQ_FREE_OBSOLETE_ROOTS = 1,
    /* It gets another root: forget all translations it has, before it goes in.  What
     * kvm_mmu_load() flushes in the kernel. */
    TDPMMU_REQ_TLB_FLUSH = 2,
    /* Leave the guest once, and tell which pages were logged (PML): kvm_vcpu_kick() before a
     * dirty log is read or cleared, and before dirty rings are reset; and
     * KVM_REQ_UPDATE_CPU_DIRTY_LOGGING when the first slot is logged, or the last no longer. */
    TDPMMU_REQ_LEAVE_GUEST = 3,
};

/*
 * What a rig brings.  Each callback may be NULL: the default is named.
 *
 * What a callback may call: always, whatever locks are held, all that only reads: readers of
 * RCU and of kvm->srcu, tdpmmu_get_stats(), tdpmmu_memslots_generation(), the look-ups of
 * slots and vCPUs below, tdpmmu_vcpu_root(), kvm_tdp_mmu_get_walk(),
 * kvm_tdp_mmu_fast_pf_get_last_sptep(), kvm_tdp_mmu_test_age_gfn() and _hva(),
 * tdpmmu_vcpu_dirty_ring(), tdp_iter.h, and whether a lock or a reader is held; each as its own
 * comment says, inside a reader for instance.  Test_age tells the trace callback of itself.
 * All else only where a callback below says so.
 *
 * An answer that cannot be is a warning that names the callback, the field and the value, and
 * is not used.  Slots that are handed out are the VM's own.
 */
struct tdpmmu_ops {
    size_t size; /* sizeof(struct tdpmmu_ops) of the caller */
    /*
     * gfn -> pfn for a fault in a slot.  Set *writable to whether the host lets
     * the page be written (in: whether the slot may; a read-only one never is), and
     * *max_level to the largest level at which the host maps it contiguously (in:
     * KVM_MAX_HUGEPAGE_LEVEL; one that is not 1 to 3 counts as 1).  Returns a pfn
     * below MAXPHYADDR or KVM_PFN_ERR_*; any other is KVM_PFN_ERR_FAULT.  No lock held, RCU
     * not held; the slot is good until the callback returns (kvm->srcu).
     * Default: the frame of the slot's userspace_addr, folded below MAXPHYADDR;
     * writable unless the slot is read-only; any level.
     */
    kvm_pfn_t (*gfn_to_pfn)(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot,
                            gfn_t gfn, bool write, bool *writable, int *max_level);
    /*
     * Every CPU must forget translations for gfns [start, start + npages) in
     * all address spaces; start 0 and npages UINT64_MAX means everything.
     * Called inside RCU when tables were unlinked.  What was mapped under a root that was
     * invalidated is not flushed: see vcpu_request, which a rig whose CPUs cache
     * translations needs as well.  Default: nothing.
     */
    void (*flush_tlb)(void *ctx, struct kvm *kvm, gfn_t start, uint64_t npages);
    /*
     * An SPTE changed from old_spte to new_spte.  shared: under lock R, where
     * calls of several threads interleave.  Default: nothing.
     */
    void (*spte_changed)(void *ctx, struct kvm *kvm, int as_id, gfn_t gfn, int level,
                         uint64_t old_spte, uint64_t new_spte, bool shared);
    /* Should a long operation let others have mmu_lock now?  Default: no. */
    bool (*need_resched)(void *ctx, struct kvm *kvm);
    /* Default: the process-wide handler. */
    tdpmmu_warn_fn warn;
    /*
     * The largest level at which the host maps gfn now, for putting huge pages
     * together; one that is not 1 to 3 counts as 1.  Lock R and RCU are held; the slot is
     * good until the callback returns.  Default: KVM_MAX_HUGEPAGE_LEVEL.
     */
    int (*mapping_level)(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn);
    /*
     * A slot's flags have changed and no fault goes by the old ones any more; what follows
     * from it (splitting, write-protecting, collapsing) is still to come.  Held is the lock
     * that serialises slot changes, and no other: here, as an exception, the rig may make
     * faults and notifier calls on its own thread, to force what happens between the two.
     * Nothing that changes slots, reads dirty logs or zaps all (kvm_mmu_zap_all_fast(), the
     * NX switch): refused with a warning.  Default: nothing.
     */
    void (*slot_committing)(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot);
    /*
     * Every event of trace.h, from the thread that it happens in, locks and RCU held as
     * they are.  The event is good until the callback returns.  Default: nothing.
     */
    void (*trace)(void *ctx, struct kvm *kvm, const struct tdpmmu_trace_event *event);
    /*
     * Before a walk that may yield looks at the entry of iter: should it yield here?  As
     * with need_resched, it is asked only where the walk has come forward since its last
     * yield; and once before a split of a huge leaf, where the kernel lets go of mmu_lock to
     * allocate the table.  mmu_lock is held as the operation holds it, and RCU.  Default: no.
     */
    bool (*yield_at)(void *ctx, struct kvm *kvm, const struct tdp_iter *iter);
    /*
     * An operation has let go of mmu_lock and RCU in its middle: a walk that yields, or a
     * slot whose dirty log was switched, between two of its walks.  Here, as an exception,
     * the rig may make on its own thread whatever another thread might: with yield_at, a
     * race is forced without a second thread.  But nothing that changes slots: that would
     * wait for the operation; nor what reads a dirty log or zaps all, where the operation
     * does so itself or changes a slot: refused with a warning.  Default: nothing.
     */
    void (*yielded)(void *ctx, struct kvm *kvm);
    /*
     * vcpu is asked for something.  For FREE_OBSOLETE_ROOTS and LEAVE_GUEST return when it has
     * left the guest: it uses nothing of its root or its translations afterwards until it has
     * done what was asked.  Called once for each vCPU: FREE_OBSOLETE_ROOTS with Lock W held, as
     * roots are invalidated; LEAVE_GUEST under the lock that serialises slot changes, where the
     * VM logs by Dirty bits (PML); TLB_FLUSH with no lock, by the vCPU's own thread in
     * kvm_mmu_load(), once it has its new root.  The vCPU's own thread may be the one
     * that asks.  The vCPU outlives the call, and may not be destroyed in it.
     * Default: nothing; tdpmmu_cpu_access() needs none of it, since its CPU has no TLB, never
     * walks a root that was invalidated, and is waited for; what that CPU has logged is marked
     * when the callback has returned.
     */
    void (*vcpu_request)(void *ctx, struct kvm *kvm, struct kvm_vcpu *vcpu,
                         enum tdpmmu_request request);
};

/*
 * Options of a VM.  Set size, leave the rest zero for the defaults.  A size
 * larger than the library knows is accepted while the unknown tail is zero.
 */
struct tdpmmu_vm_config {
    size_t size;           /* sizeof(struct tdpmmu_vm_config) of the caller */
    uint32_t vendor;       /* enum tdpmmu_vendor */
    uint32_t root_level;   /* 4 or 5; 0 means 4 */
    uint32_t maxphyaddr;   /* host-physical address bits, 36 to 52; 0 means 46 */
    uint32_t ad_disabled;  /* 1: the CPU has no Accessed and Dirty bits (EPT only) */
    uint64_t table_limit;  /* most page-table pages alive at once; 0: no limit */
    const struct tdpmmu_ops *ops; /* copied; NULL for the defaults */
    void *ops_ctx;         /* handed to each callback */
    uint32_t nx_huge_pages; /* 1: no execution through huge pages; a fetch splits them */
    uint32_t no_eager_split; /* 1: dirty logging leaves huge leaves to be split by faults */
    uint32_t no_pml;       /* 1: dirty logging by write-protection, not Dirty bits (NPT always) */
    uint32_t dirty_log;    /* KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE, KVM_DIRTY_LOG_INITIALLY_SET */
    uint32_t zap_slot_only; /* 1: deleting or moving a slot zaps its leaves, not all roots */
    uint32_t l1tf_cache_bits; /* CPU leaks L1 through non-present entries: its cached physical
                                 address bits, 36 to 46; 0: it does not */
    uint32_t pml_oldest_first; /* 1: what a CPU logged (PML) is marked in the order in which it was
                                  written, as since Linux 6.14; 0: the newest first, as in 6.12 */
    /*
     * Where counters begin that wrap, so that a test need not count up to there; 0: as in the
     * kernel.  Of a dirty ring, which entry is the first (its number modulo the ring's size)
     * follows.
     */
    uint32_t ring_index;       /* of the next entry of each vCPU's ring, which wraps after 2^32 */
    uint64_t slots_generation; /* of the slots, as tdpmmu_memslots_generation() has it; even, in SMM it is one
                                  more; MMIO SPTEs have its low 19 bits */
    uint64_t invalidate_seq;   /* invalidations that have ended (kvm_mmu_invalidate_end()) */
};

/*
 * Make a VM with its TDP MMU initialised.  config NULL: the defaults.  A warning names an option that is bad.
 * Returns NULL with errno EINVAL (bad size or value), E2BIG (unknown option set), ENOMEM.  Any lock.
 * Follows KVM_CREATE_VM.
 */
struct kvm *tdpmmu_create_vm(const struct tdpmmu_vm_config *config);

/*
 * Destroy a VM and all that is in it: its vCPUs first, then slots, tables and roots, after a last
 * rcu_barrier().  No other thread may use it.  A warning for each thing that is
 * still in use.  NULL is ignored.
 *
 * A child of fork() has a copy of each VM, its strays included, which it may use and
 * destroy if no other thread was inside a call on it, or held its mmu_lock, when it forked.
 * It may make VMs of its own in any case.
 * No lock, not in RCU, not in kvm->srcu, not in a callback.
 */
void tdpmmu_destroy_vm(struct kvm *kvm);

/*
 * Make a vCPU with the number vcpu_id (0 to 4095).  One thread at a time may drive a vCPU.
 * Returns NULL with errno EINVAL (no such number can be), EEXIST (there is one of this number), ENOMEM.
 * No lock.  Follows the ioctl KVM_CREATE_VCPU.
 */
struct kvm_vcpu *tdpmmu_create_vcpu(struct kvm *kvm, int vcpu_id);

/* Drop the vCPU's root and free it.  NULL is ignored.  No lock, not in RCU. */
void tdpmmu_destroy_vcpu(struct kvm_vcpu *vcpu);

/* The vCPU's VM, its number, its address space.  Returns that, or NULL, or -EINVAL, for a NULL vcpu.  Any lock. */
struct kvm *tdpmmu_vcpu_kvm(struct kvm_vcpu *vcpu);
int tdpmmu_vcpu_id(struct kvm_vcpu *vcpu);
int tdpmmu_vcpu_as_id(struct kvm_vcpu *vcpu);

/*
 * Let the vCPU run in address space as_id, 0 or 1 (1: it is in SMM).  Drops its root;
 * kvm_mmu_load() gets the right one.  0 or -EINVAL.  No lock.
 */
int tdpmmu_vcpu_set_as_id(struct kvm_vcpu *vcpu, int as_id);

/*
 * Add, delete (memory_size 0), move or change the flags of a slot, as the
 * KVM_SET_USER_MEMORY_REGION ioctl: region->slot is the id with the address
 * space in bits 31:16; addresses and size are bytes and 4 KiB aligned.  Delete
 * and move invalidate and zap all roots first (kvm_mmu_zap_all_fast), or zap the
 * slot's leaves (zap_slot_only).  MMIO SPTEs made before are stale afterwards: the
 * generation moves.  On return no reader uses a slot as it was.
 *
 * Of 6.12, and so here: that a slot overlaps another is found before MAXPHYADDR is looked at; and a move that fails at
 * MAXPHYADDR has invalidated and zapped the slot by then, which is as it was, but its generation has moved by 4.
 *
 * 0, -EINVAL (NULL, unaligned, wraps, bad id or flags, resize, read-only flag changed,
 * nothing to delete, beyond MAXPHYADDR or, under roots of four levels, beyond 48 bits), -EEXIST (overlaps another slot), -ENOMEM.
 * No lock, not in RCU, not in kvm->srcu.  Follows __kvm_set_memory_region(), by the ioctl KVM_SET_USER_MEMORY_REGION.
 */
int kvm_set_memory_region(struct kvm *kvm, const struct kvm_userspace_memory_region *region);

/*
 * Find a slot: the one that holds gfn, in address space 0 or the vCPU's, or the one with a number.  as_id: address
 * space, 0 or 1; id: the slot's number in it.
 * Returns NULL where there is no such slot.  In RCU or kvm->srcu.  For as long as the result is used, that is.
 */
const struct kvm_memory_slot *gfn_to_memslot(struct kvm *kvm, gfn_t gfn);
const struct kvm_memory_slot *kvm_vcpu_gfn_to_memslot(struct kvm_vcpu *vcpu, gfn_t gfn);
const struct kvm_memory_slot *tdpmmu_id_to_memslot(struct kvm *kvm, int as_id, int id);

/*
 * The generation of an address space's slots; MMIO SPTEs carry its low 19 bits.  as_id: 0, which begins with 0, or 1
 * (SMM), which in 6.12 and here begins with 1; a change of a slot adds 2 in its address space, and 4 if the slot is
 * deleted or moved.
 * Returns it; 0 for a NULL kvm or another address space, with a warning.  Any lock.
 */
uint64_t tdpmmu_memslots_generation(struct kvm *kvm, int as_id);

/*
 * Switch a VM's capability: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 (args[0]:
 * KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE, KVM_DIRTY_LOG_INITIALLY_SET), or
 * KVM_CAP_DISABLE_QUIRKS2 (args[0]: quirks; of those the kernel knows only
 * TDPMMU_QUIRK_SLOT_ZAP_ALL means something here; they stay disabled), or
 * KVM_CAP_DIRTY_LOG_RING[_ACQ_REL] (args[0]: bytes of each vCPU's ring, a power of two from
 * 4096, or 16384 where the CPU logs dirty pages (PML), to 1 MiB; the low 32 bits are looked at; once, before the first
 * vCPU; replaces the bitmaps).  A vCPU stops (-ENOBUFS) with 64 entries left; where the CPU
 * logs, with 576, into 512 of which goes what it has logged by then.
 * 0, -EINVAL (NULL, unknown cap, flags or args), -E2BIG (a ring above 1 MiB).
 * No lock, not in RCU, not in kvm->srcu.
 * Follows the KVM_ENABLE_CAP ioctl of a VM.
 */
int kvm_vm_ioctl_enable_cap(struct kvm *kvm, const struct kvm_enable_cap *cap);

/* KVM_X86_QUIRK_SLOT_ZAP_ALL, which older <linux/kvm.h> lack: on unless disabled. */
#define TDPMMU_QUIRK_SLOT_ZAP_ALL (1 << 7)

/*
 * Set whether dirty logging splits huge leaves at once.  on: it does.  0 or -EINVAL.  Any lock.
 * Follows the parameter eager_page_split, of one VM.
 */
int tdpmmu_set_eager_page_split(struct kvm *kvm, bool on);

/*
 * Tell every CPU to forget translations: all, or those of gfns [gfn, gfn + npages), npages in pages of 4 KiB.
 * Calls the flush_tlb callback and counts.  Any lock.
 */
void kvm_flush_remote_tlbs(struct kvm *kvm);
void kvm_flush_remote_tlbs_range(struct kvm *kvm, gfn_t gfn, uint64_t npages);

/* Counters of one VM, since its creation unless said otherwise. */
struct tdpmmu_stats {
    uint64_t pages_4k;       /* leaves mapped now, by level */
    uint64_t pages_2m;
    uint64_t pages_1g;
    uint64_t tables;         /* page-table pages alive now: roots, tables, strays */
    uint64_t tables_stray;   /* of these, unlinked and waiting for a grace period */
    uint64_t roots;          /* roots listed now */
    uint64_t faults;         /* calls of kvm_tdp_mmu_map() that walked */
    uint64_t faults_fixed;
    uint64_t faults_spurious;
    uint64_t faults_retried;
    uint64_t faults_emulated;
    uint64_t mmio_sptes;     /* MMIO SPTEs installed */
    uint64_t spte_changes;   /* calls of the spte_changed hook, callback or not */
    uint64_t tlb_flushes;    /* remote flushes asked for */
    uint64_t yields;         /* times a walk let go of mmu_lock */
    uint64_t warnings;
    uint64_t fast_faults;    /* faults fixed without mmu_lock */
    uint64_t splits;         /* huge leaves split */
    uint64_t nx_splits;      /* tables that stand in for a non-executable huge page now */
    uint64_t pml_full;       /* exits of tdpmmu_cpu_access() because the CPU's log was full (PML) */
    uint64_t pml_flushes;    /* exits that found something in such a log, these among them */
};

/*
 * Copy the VM's counters to *stats; size is sizeof(struct tdpmmu_stats) of the caller, in bytes, who gets
 * what fits.  A snapshot of each counter, not of all at one moment.
 * 0 or -EINVAL.  Any lock.
 */
int tdpmmu_get_stats(struct kvm *kvm, struct tdpmmu_stats *stats, size_t size);

/*
 * Set the process-wide handler for warnings that no VM's own handler takes.  warn is called with ctx; NULL
 * restores the default, one line on stderr.  Not while another thread may warn.  Any lock.
 */
void tdpmmu_set_warn_handler(tdpmmu_warn_fn warn, void *ctx);

/* The library's version.  Returns a string such as "0.1.0", which lasts.  Any lock. */
const char *tdpmmu_version(void);

TDPMMU_END_DECLS

#endif
