/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints: the kernel's kvmmmu and kvm events with the kernel's names and fields,
 * and a pair of events for each call of the TDP MMU, as kprobes give them.  They go to
 * the VM's trace callback (struct tdpmmu_ops), to a ring of each thread, or both;
 * `tdpmmuctl trace` prints what tdpmmu_trace_write() wrote, as ftrace would.
 * An event that nobody wants costs a load and a branch.
 */
#ifndef TDPMMU_TRACE_H
#define TDPMMU_TRACE_H

#include "types.h"

TDPMMU_BEGIN_DECLS

/* Which event; tdpmmu_trace_name() has its name. */
enum tdpmmu_trace_id {
    /* Tracepoints of the kernel: kvmmmu. */
    TDPMMU_TRACE_GET_PAGE = 0,      /* kvm_mmu_get_page */
    TDPMMU_TRACE_PREPARE_ZAP_PAGE,  /* kvm_mmu_prepare_zap_page */
    TDPMMU_TRACE_MARK_MMIO_SPTE,    /* mark_mmio_spte */
    TDPMMU_TRACE_CHECK_MMIO_SPTE,   /* check_mmio_spte */
    TDPMMU_TRACE_HANDLE_MMIO,       /* handle_mmio_page_fault */
    TDPMMU_TRACE_FAST_PAGE_FAULT,   /* fast_page_fault */
    TDPMMU_TRACE_ZAP_ALL_FAST,      /* kvm_mmu_zap_all_fast */
    TDPMMU_TRACE_SET_SPTE,          /* kvm_mmu_set_spte */
    TDPMMU_TRACE_SPTE_REQUESTED,    /* kvm_mmu_spte_requested */
    TDPMMU_TRACE_SPTE_CHANGED,      /* kvm_tdp_mmu_spte_changed */
    TDPMMU_TRACE_SPLIT_HUGE_PAGE,   /* kvm_mmu_split_huge_page */
    /* kvm. */
    TDPMMU_TRACE_PAGE_FAULT,        /* kvm_page_fault */
    TDPMMU_TRACE_SMM_TRANSITION,    /* kvm_smm_transition */
    TDPMMU_TRACE_RING_PUSH,         /* kvm_dirty_ring_push */
    TDPMMU_TRACE_RING_RESET,        /* kvm_dirty_ring_reset */
    TDPMMU_TRACE_UNMAP_HVA_RANGE,   /* kvm_unmap_hva_range */
    TDPMMU_TRACE_AGE_HVA,           /* kvm_age_hva */
    TDPMMU_TRACE_TEST_AGE_HVA,      /* kvm_test_age_hva */
    /* Calls and returns; the name is the kernel function's, without kvm_tdp_mmu_. */
    TDPMMU_TRACE_MAP,
    TDPMMU_TRACE_MAP_RET,
    TDPMMU_TRACE_PF_RET,            /* kvm_tdp_page_fault returns */
    TDPMMU_TRACE_ALLOC_ROOT,
    TDPMMU_TRACE_LOAD_PGD,          /* the vCPU uses a root from now on */
    TDPMMU_TRACE_PUT_ROOT,
    TDPMMU_TRACE_ITER_START,
    TDPMMU_TRACE_ITER_RESTART,
    TDPMMU_TRACE_ZAP_LEAFS,         /* of one root */
    TDPMMU_TRACE_ZAP_LEAFS_RET,
    TDPMMU_TRACE_KVM_ZAP_LEAFS,     /* kvm_tdp_mmu_zap_leafs */
    TDPMMU_TRACE_UNMAP_GFN_RANGE,
    TDPMMU_TRACE_UNMAP_GFN_RANGE_RET,
    TDPMMU_TRACE_AGE,
    TDPMMU_TRACE_AGE_RET,
    TDPMMU_TRACE_TEST_AGE,
    TDPMMU_TRACE_TEST_AGE_RET,
    TDPMMU_TRACE_WRPROT_SLOT,
    TDPMMU_TRACE_WRPROT_SLOT_RET,
    TDPMMU_TRACE_CLEAR_DIRTY_SLOT,
    TDPMMU_TRACE_CLEAR_DIRTY_PT_MASKED,
    TDPMMU_TRACE_WRITE_PROTECT_GFN,
    TDPMMU_TRACE_SPLIT,             /* kvm_tdp_mmu_try_split_huge_pages */
    TDPMMU_TRACE_SPLIT_RET,
    TDPMMU_TRACE_ZAP_COLLAPSIBLE,
    TDPMMU_TRACE_ZAP_COLLAPSIBLE_RET,
    TDPMMU_TRACE_ZAP_SP,
    TDPMMU_TRACE_ZAP_ALL,
    TDPMMU_TRACE_INVALIDATE_ALL_ROOTS,
    TDPMMU_TRACE_ZAP_INVALIDATED_ROOTS,
    TDPMMU_TRACE_ZAP_INVALIDATED_ROOTS_RET,
    TDPMMU_TRACE_ZAP_ROOT,          /* tdp_mmu_zap_root */
    TDPMMU_TRACE_ZAP_ROOT_LEVEL,    /* one pass of it */
    TDPMMU_TRACE_FLUSH,             /* kvm_flush_remote_tlbs */
    TDPMMU_TRACE_FLUSH_RANGE,       /* kvm_flush_remote_tlbs_range */
    TDPMMU_TRACE_FREE_SP_RCU,       /* a table's grace period is over */
    TDPMMU_TRACE_INV_BEGIN,         /* kvm_mmu_invalidate_begin */
    TDPMMU_TRACE_INV_RANGE,         /* kvm_mmu_invalidate_range_add */
    TDPMMU_TRACE_INV_END,           /* kvm_mmu_invalidate_end */
    TDPMMU_TRACE_MARK,              /* tdpmmu_trace_mark() */
    TDPMMU_TRACE_COUNT
};

/* Sets of events: bit 1 << id. */
#define TDPMMU_TRACE_BIT(id) (UINT64_C(1) << (id))
#define TDPMMU_TRACE_ALL (TDPMMU_TRACE_BIT(TDPMMU_TRACE_COUNT) - 1)
/* The kernel's tracepoints alone, and marks. */
#define TDPMMU_TRACE_TRACEPOINTS \
    (TDPMMU_TRACE_BIT(TDPMMU_TRACE_MAP) - 1 + TDPMMU_TRACE_BIT(TDPMMU_TRACE_MARK))

/* Bytes of a mark's text in one event; longer ones take several in a row. */
#define TDPMMU_TRACE_TEXT 60

/*
 * The events' fields.  Addresses of vCPUs, headers and slots are those of this process;
 * spt and sptep are host-physical (to_shadow_page() finds a table's header).
 */
struct tdpmmu_trace_page { /* GET_PAGE, PREPARE_ZAP_PAGE */
    uint64_t gfn;
    uint32_t role, root_count;
    uint8_t mmu_valid_gen;
    bool unsync, created;
};
struct tdpmmu_trace_mmio { /* MARK_MMIO_SPTE, HANDLE_MMIO (addr, gfn, access) */
    uint64_t sptep, addr, gfn;
    uint32_t access, gen;
};
struct tdpmmu_trace_mmio_check {
    uint64_t spte;
    uint32_t kvm_gen, spte_gen;
};
struct tdpmmu_trace_fast_page_fault {
    uint64_t cr2_or_gpa, error_code, sptep, old_spte;
    uint64_t new_spte; /* read again when the event is made */
    int32_t vcpu_id, ret;
};
struct tdpmmu_trace_zap_all_fast {
    uint32_t mmu_valid_gen, mmu_used_pages;
};
struct tdpmmu_trace_set_spte {
    uint64_t gfn, spte, sptep;
    uint8_t level;
    bool r, x;
    int8_t u; /* EPT: R; -1: unknown */
};
struct tdpmmu_trace_spte_requested {
    uint64_t gfn, pfn;
    uint8_t level;
};
struct tdpmmu_trace_spte_changed {
    uint64_t gfn, old_spte, new_spte;
    uint8_t level, as_id;
};
struct tdpmmu_trace_split {
    uint64_t gfn, spte;
    int32_t level, error;
};
struct tdpmmu_trace_page_fault {
    uint64_t guest_rip, fault_address, error_code;
    int32_t vcpu_id;
};
struct tdpmmu_trace_smm_transition {
    uint64_t smbase;
    int32_t vcpu_id;
    bool entering;
};
struct tdpmmu_trace_dirty_ring { /* RING_PUSH; RING_RESET without slot and offset */
    uint64_t offset;
    uint32_t index, dirty_index, reset_index, slot;
};
struct tdpmmu_trace_hva { /* UNMAP_HVA_RANGE, AGE_HVA; TEST_AGE_HVA has no end */
    uint64_t start, end;
};
struct tdpmmu_trace_map {
    uint64_t vcpu, addr, ec, gfn, pfn, slot;
    bool prefetch, exec, write, present, nxwa, map_writable;
};
struct tdpmmu_trace_vcpu { /* ALLOC_ROOT (vcpu), LOAD_PGD */
    uint64_t vcpu, root_hpa;
    int32_t root_level;
};
struct tdpmmu_trace_root { /* PUT_ROOT, ITER_START (start: its gfn), ZAP_LEAFS, ZAP_ROOT[_LEVEL] */
    uint64_t root, spt, start, end;
    uint32_t role;
    int32_t level; /* min_level, zap_level */
    bool can_yield, flush, shared;
};
struct tdpmmu_trace_iter_restart {
    uint64_t next_gfn, yielded_gfn;
};
struct tdpmmu_trace_range { /* KVM_ZAP_LEAFS, UNMAP_GFN_RANGE, AGE, TEST_AGE, SPLIT, INV_RANGE */
    uint64_t start, end;
    int32_t target; /* level */
    bool flush, shared;
};
struct tdpmmu_trace_slot { /* WRPROT_SLOT, CLEAR_DIRTY_SLOT, ZAP_COLLAPSIBLE */
    uint64_t base_gfn, npages;
    int32_t min_level;
};
struct tdpmmu_trace_gfn { /* CLEAR_DIRTY_PT_MASKED, WRITE_PROTECT_GFN; FLUSH_RANGE: gfn and n */
    uint64_t gfn, mask, n;
    int32_t min_level;
    bool wrprot;
};
struct tdpmmu_trace_sp { /* ZAP_SP; FREE_SP_RCU: sp is the rcu_head */
    uint64_t sp, spt, gfn;
};
struct tdpmmu_trace_ret { /* *_RET */
    int32_t ret;
};
struct tdpmmu_trace_text {
    uint16_t length;
    bool continues; /* the thread's next event goes on with the line */
    char text[TDPMMU_TRACE_TEXT];
};

struct tdpmmu_trace_event {
    uint64_t count;  /* order among all events of the process; gaps are normal */
    uint64_t kvm;    /* address of the struct kvm */
    int32_t thread;  /* the system's number of the thread */
    uint16_t cpu;
    uint16_t id;     /* enum tdpmmu_trace_id */
    union {
        struct tdpmmu_trace_page page;
        struct tdpmmu_trace_mmio mmio;
        struct tdpmmu_trace_mmio_check mmio_check;
        struct tdpmmu_trace_fast_page_fault fast_page_fault;
        struct tdpmmu_trace_zap_all_fast zap_all_fast;
        struct tdpmmu_trace_set_spte set_spte;
        struct tdpmmu_trace_spte_requested spte_requested;
        struct tdpmmu_trace_spte_changed spte_changed;
        struct tdpmmu_trace_split split_huge_page;
        struct tdpmmu_trace_page_fault page_fault;
        struct tdpmmu_trace_smm_transition smm_transition;
        struct tdpmmu_trace_dirty_ring dirty_ring;
        struct tdpmmu_trace_hva hva;
        struct tdpmmu_trace_map map;
        struct tdpmmu_trace_vcpu vcpu;
        struct tdpmmu_trace_root root;
        struct tdpmmu_trace_iter_restart iter_restart;
        struct tdpmmu_trace_range range;
        struct tdpmmu_trace_slot slot;
        struct tdpmmu_trace_gfn gfn;
        struct tdpmmu_trace_sp sp;
        struct tdpmmu_trace_ret ret;
        struct tdpmmu_trace_text mark;
        uint64_t word[8];
    };
};

#ifdef __cplusplus
static_assert(sizeof(struct tdpmmu_trace_event) == 88, "trace event");
#else
_Static_assert(sizeof(struct tdpmmu_trace_event) == 88, "trace event");
#endif

/*
 * The name of an event, "kvm_tdp_mmu_spte_changed" for instance.  id: one of enum tdpmmu_trace_id.
 * Returns NULL for an id that is none.  Any lock.
 */
const char *tdpmmu_trace_name(int id);

/*
 * Send events of the VM to rings from now on: events has a bit for each that is wanted (TDPMMU_TRACE_BIT(),
 * TDPMMU_TRACE_ALL); 0: none.  A trace callback gets all events whether rings do or not.  0, -EINVAL (NULL,
 * unknown bits).  Any lock.
 * Follows writing to an event's enable file.
 */
int tdpmmu_trace_enable(struct kvm *kvm, uint64_t events);

/*
 * Set how many events each ring holds that is made from now on: events, a power of two from 64 to 2^24
 * (the default is 4096).  A thread gets its ring at its first event; a full one
 * overwrites its oldest events.  0, -EINVAL.  Any lock.
 */
int tdpmmu_trace_ring_size(size_t events);

/*
 * Take up to n events out of all threads' rings, into events[0] to events[n - 1], those that came first first, and add
 * the number of events that were overwritten unread to *lost (NULL: it is forgotten).
 * Returns how many events there were.  Threads may go on tracing: what they are just
 * noting comes with a later call, even if it came before the last event of this one.
 * Any thread may call it.  Any lock.
 */
size_t tdpmmu_trace_read(struct tdpmmu_trace_event *events, size_t n, uint64_t *lost);

/*
 * Write what is in the rings to a file, for `tdpmmuctl trace`.  fd: a descriptor that is open for writing.  What is
 * noted after the call has begun comes with a later one.
 * Returns the number of events,
 * or a negative errno of write(), -EIO (it took nothing), -EINVAL (fd below 0),
 * -ENOMEM.  After an error what was not written is there for the next reader; the file may end in
 * a part of an event.
 * Any lock.
 */
long tdpmmu_trace_write(int fd);

/*
 * A file of tdpmmu_trace_write(): this, then events; and, if some were overwritten while it
 * was being written, this once more with their number.
 */
#define TDPMMU_TRACE_MAGIC "TDPMMU1\n"
struct tdpmmu_trace_file {
    char magic[8];
    uint32_t header_size; /* of this struct */
    uint32_t event_size;  /* of struct tdpmmu_trace_event */
    uint64_t lost;        /* events overwritten since the last read or write */
};

/*
 * Note a line of the rig's own, text, of at most 65535 bytes, as a write to ftrace's
 * trace_marker does; with the words of traces/README.md a recording can be replayed.
 * 0, -EINVAL (NULL, too long, more than printable ASCII).  Any lock.  Follows a write to trace_marker.
 */
int tdpmmu_trace_mark(struct kvm *kvm, const char *text);

TDPMMU_END_DECLS

#endif
