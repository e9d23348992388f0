/* SPDX-License-Identifier: GPL-2.0-only */
/* What stands behind the file descriptors: the device, VMs, vCPUs, statistics. */
#ifndef CKD_OBJECTS_H
#define CKD_OBJECTS_H

#include "../../../include/tdpmmu.h"

#include "ckd_engine.h"
#include "ckd_words.h"

enum ckd_kind {
    CKD_NONE,
    CKD_SYSTEM,    /* /dev/kvm */
    CKD_VM,
    CKD_VCPU,
    CKD_STATS,     /* KVM_GET_STATS_FD of a VM */
    CKD_PAGEMAP,   /* /proc/self/pagemap: faked */
    CKD_PAGE_IDLE, /* /sys/kernel/mm/page_idle/bitmap: faked */
};

enum {
    CKD_VCPUS = 1024,        /* KVM_CAP_MAX_VCPUS */
    CKD_VCPU_PAGES = 3,      /* KVM_GET_VCPU_MMAP_SIZE: run, port I/O, the page that coalesced MMIO would have */
    CKD_RING_PAGE = 64,      /* KVM_DIRTY_LOG_PAGE_OFFSET */
    CKD_CACHED = 1 << 16,    /* translations that a vCPU remembers until flush_tlb */
    CKD_CPUID_ENTRIES = 256, /* KVM_MAX_CPUID_ENTRIES */
    CKD_RECOVERY_RATIO = 1,  /* of the tables that stand in for huge pages, in a step of the recovery thread: all */
};

/* The head of each of them.  refs: descriptors, calls in progress, mapped dirty rings, and of a VM its vCPUs
 * and its statistics. */
struct ckd_object {
    uint32_t kind;
    uint32_t refs;
};

/* Where a slot's memory is in the host; size 0: there is no such slot.  By id. */
struct ckd_slot {
    uint64_t hva;
    uint64_t size;
};

struct ckd_vcpu;

struct ckd_vm {
    struct ckd_object object;
    uint32_t fork_generation; /* the process that made it: another answers EIO */
    struct kvm *kvm;
    struct ckd_lock lock; /* vcpu, vcpus, slot */
    struct ckd_vcpu *vcpu[CKD_VCPUS];
    uint32_t vcpus; /* stored after vcpu[vcpus - 1], so that a reader needs no lock */
    struct ckd_lock slots_lock; /* one change of a slot at a time, as KVM's slots_lock */
    struct ckd_slot *slot;
    uint32_t slots;
    uint64_t told; /* under the list's lock: which stretches of invalidations.c it must hear the end of */
    uint32_t ring_bytes;
    struct ckd_vm *next; /* under the list's lock */
    /* Whose turn it is: Turns.swift.  turn_lock protects all but waiting, which is a hint outside it. */
    struct ckd_lock turn_lock;
    struct ckd_vcpu *turn;
    struct ckd_vcpu *first, *last;
    uint32_t waiting;
    uint64_t turns;
};

/* Why the guest stopped. */
enum ckd_stop {
    CKD_STOP_NONE,       /* asked to, or for nothing that the hooks saw */
    CKD_STOP_PAGE_FAULT, /* of the guest's own tables */
    CKD_STOP_MMIO,
    CKD_STOP_ERROR,      /* the host has no page: error is a negative errno */
    CKD_STOP_RING_FULL,
    CKD_STOP_TABLES,     /* the guest's page tables are where no memory is */
    CKD_STOP_AGAIN,      /* nothing is wrong, but the instruction must be made once more */
    CKD_STOP_PORT,
    CKD_STOP_STRING,     /* in front of ins or outs; once it is begun, userspace has to do it */
    CKD_STOP_EXCEPTION,
    CKD_STOP_TRIPLE_FAULT,
    CKD_STOP_HALT,
    CKD_STOP_ENGINE,     /* the engine gave up */
};

/* A translation of a guest page that obeys only flush_tlb. */
struct ckd_cached {
    uint64_t gfn; /* UINT64_MAX: none */
    uint64_t hva; /* of the page; bit 0: writable, bit 1: executable */
};

struct ckd_vcpu {
    struct ckd_object object;
    uint32_t id;
    struct ckd_vm *vm;
    struct kvm_vcpu *kvm_vcpu;
    struct kvm_run *run;    /* our own mapping of it */
    uint32_t rings_mapped;  /* under the list's lock: how often the program has its dirty ring */
    struct ckd_lock lock; /* one ioctl at a time, as KVM's vcpu->mutex */
    struct ckd_engine *engine;
    uint32_t mode; /* bits of the engine: 16, 32, 64 */
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_mp_state mp_state;
    struct kvm_cpuid_entry2 *cpuid;
    uint32_t cpuid_entries;
    bool regs_changed, sregs_changed;
    uint64_t signal_mask; /* KVM_SET_SIGNAL_MASK: blocked in KVM_RUN */
    bool has_signal_mask;
    /* The handshake: Handshake.swift. */
    uint32_t in_guest, flush, leave, kick;
    uint8_t touches; /* touch.c: 0: not known, 1: pages may be touched, 2: a fault would end the program */
    int thread; /* which was in KVM_RUN last, or 0; naps.c reads it */
    struct ckd_cached *cached;
    uint64_t *blocks_read; /* PortStops.swift */
    /* Its turn. */
    struct ckd_bell bell;
    struct ckd_vcpu *next_waiting;
    uint64_t turn_began; /* ticks */
    uint64_t turn_number;
    uint32_t blocks;
    bool asked; /* the block hook has stopped it */
    /* Why it stopped. */
    uint32_t stop;
    int error;
    uint64_t fault_gva, fault_gpa, fault_access;
    uint32_t fault_code, vector;
    bool executable; /* of the page last translated */
    uint64_t cr0, cr3, cr4;
    /* Port I/O and MMIO that userspace completes. */
    uint16_t port;
    uint8_t port_size, port_in, port_pending; /* pending: 1: into RAX, 2: into the guest's memory */
    uint32_t port_count;
    uint8_t mmio_phase; /* 0: none, 1: see what it is, 2: hand the value in */
    uint8_t mmio_size, mmio_write, mmio_read_pending;
    uint32_t mmio_hits, mmio_offset;
    uint64_t mmio_page, mmio_value;
    uint64_t fills, faults, runs, flushes; /* counted for the trace */
};

struct ckd_stats {
    struct ckd_object object;
    struct ckd_vm *vm;
    int memory;
};

static inline uint64_t ckd_all_events(void) { return TDPMMU_TRACE_ALL; }

/* What gfn_to_pfn answers where the host has no page. */
static inline kvm_pfn_t ckd_pfn_fault(void) { return KVM_PFN_ERR_FAULT; }

static inline struct ckd_vcpu **ckd_vcpus(struct ckd_vm *vm) { return vm->vcpu; }

/* Where kvm_run has what is stored to or loaded from a device. */
static inline void *ckd_mmio_data(struct kvm_run *run) { return run->mmio.data; }

/* ---- files.c ---- */

/* A descriptor of a new file of so many bytes, which keeps its size, or a negative errno. */
int ckd_fd_file(const char *name, size_t bytes, bool close_on_exec);
/* The object is behind this descriptor from now on; takes over a reference. */
void ckd_fd_give(int fd, struct ckd_object *object);
/* Both. */
int ckd_fd_make(const char *name, size_t bytes, bool close_on_exec, struct ckd_object *object);
/* The object behind fd with a reference more, or NULL. */
struct ckd_object *ckd_fd_object(int fd);
enum ckd_kind ckd_fd_kind(int fd);
/* The process ends: nothing is behind any descriptor any more. */
void ckd_fd_take_all(void);
void ckd_hold(struct ckd_object *object);
/* Drop a reference; the last one calls ckd_release(). */
void ckd_put(struct ckd_object *object);
/* The VMs of this process, while the list is locked; first: NULL begins. */
void ckd_vms_lock(void);
void ckd_vms_unlock(void);
struct ckd_vm *ckd_vms_next(struct ckd_vm *vm);
void ckd_vms_add(struct ckd_vm *vm);
void ckd_vms_remove(struct ckd_vm *vm);
uint32_t ckd_fork_generation(void);

/* What Swift does for them. */
void ckd_release(struct ckd_object *object);

/* ---- signals.c ---- */

/* This thread enters a call that takes locks of ours, and leaves it: signals whose handlers are the program's wait
 * until it has left the outermost one.  errno stays.  A handler that ckd_leave() runs may end the thread or jump. */
void ckd_enter(void);
void ckd_leave(void);
/* In a child of fork: the parent has what was kept. */
void ckd_forget_kept(void);

/* The vCPU whose KVM_RUN this thread is in, or NULL. */
struct ckd_vcpu *ckd_current(void);
/* From here on a signal on this thread is a kick, and one that was kept since ckd_enter() has been. */
void ckd_set_current(struct ckd_vcpu *vcpu);
/* Is a signal pending for this thread that mask (a kernel's sigset) lets through? */
bool ckd_signal_pending(uint64_t mask);
/* Called on the thread that ended inside KVM_RUN. */
void ckd_thread_died(struct ckd_vcpu *vcpu);

#endif
