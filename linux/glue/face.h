/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What stands between the interface (include/tdpmmu/) and Linux's functions (linux_X): what a VM has
 * beside struct kvm, and the way in.
 */
#ifndef LINUX_FACE_H
#define LINUX_FACE_H

#include <setjmp.h>
#include <stdatomic.h>

/* Linux's own headers, with Linux's names; from here on those names are the interface's. */
#include "mmu.h"
#include "mmu_internal.h"
#include "tdp_iter.h"
#include "tdp_mmu.h"
#include "spte.h"
#include "mmutrace.h"
#include "kvm_mm.h"
#include "linux_names_end.h"

struct face_counters {
    atomic_ulong tables, strays, faults, fixed, spurious, retried, emulated, mmio_sptes, spte_changes,
        flushes, yields, warnings, fast_faults, splits, pml_full, pml_flushes;
};

/* What the interface has of a VM. */
struct face_vm {
    struct tdpmmu_ops ops;
    void *ctx;
    u64 table_limit;
    struct face_counters counters;
    pthread_mutex_t vcpus_mutex;
    struct kvm_vcpu *vcpus;     /* vcpus_mutex */
    atomic_bool set_up;
    bool eager_split;
    u32 ring_index;             /* of the first entry of each ring */
    atomic_ulong ring_events;
    pthread_mutex_t recovery_mutex; /* of the fields below, and when they change */
    pthread_cond_t recovery_changed;
    pthread_t recovery_thread;
    bool recovery_runs, recovery_ends;
    unsigned int recovery_ratio, recovery_period_ms;
};

/* A call that is under way in this thread; one made by a callback knows the outer one. */
struct face_frame {
    struct face_frame *outer;
    struct kvm *kvm;
    struct kvm_vcpu *vcpu;      /* whom a fault is for */
    unsigned int tries;         /* of a prefault, for one page */
    int host_level;             /* what the host said in this fault; 0: nobody asked */
    bool any_lock;              /* Linux wants mmu_lock for write here, the interface does not */
    bool out_of_tables;         /* a split found no memory */
    bool poisoned;              /* the host said that the page is */
    bool changes_slots;
    bool held_read, held_write, held_rcu; /* at the entry */
    bool armed;
    jmp_buf after_bug;
};
extern __thread struct face_frame *face_now;

void face_enter(struct face_frame *frame, struct kvm *kvm);
void face_leave(struct face_frame *frame);
/* Linux hit a BUG() in this call: what it took is given back. */
void face_abandon(struct face_frame *frame);

/* First in a function of the interface that calls Linux's; a BUG() there returns `refused`. */
#define ENTER(vm, refused) \
    struct face_frame frame __attribute__((cleanup(face_leave))); \
    face_enter(&frame, (vm)); \
    if (unlikely(setjmp(frame.after_bug))) { \
        face_abandon(&frame); \
        return refused; \
    }

/* One warning of the argument kind, told as the project tells it. */
void face_refuse(struct kvm *kvm, const char *function, const char *text, u64 value0, u64 value1);
void face_warn(struct kvm *kvm, enum tdpmmu_warning_kind kind, const char *function, const char *text,
               u64 value0, u64 value1);
/* No such function in this Linux: one line on stderr. */
void face_lacking(const char *function, bool *told);
#define LACKING() do { static bool told; face_lacking(__func__, &told); } while (0)

#define REFUSE_NULL(pointer, name, refused) do { \
    if (unlikely(!(pointer))) { \
        face_refuse(NULL, __func__, name " is NULL", 0, 0); \
        return refused; \
    } \
} while (0)

/* Locks: what a function of the interface wants held, told with the project's words. */
bool face_wants_write(struct kvm *kvm, const char *function);
bool face_wants_read(struct kvm *kvm, const char *function);
bool face_wants_lock(struct kvm *kvm, const char *function);
bool face_wants_none(struct kvm *kvm, const char *function, bool no_rcu, bool no_srcu);
/* Not in a callback of the VM's own, nor in one of RCU's. */
bool face_may_end(struct kvm *kvm, const char *function);
bool face_is_set_up(struct kvm *kvm, const char *function);

/* masks.c */
void linux_machine_init(struct linux_machine *machine, const struct tdpmmu_vm_config *config);
void linux_machine_load(const struct kvm *kvm);

/* memory.c: a table's header, and how the interface shows it. */
struct linux_header;
struct face_kvm_mmu_page *face_page(struct kvm_mmu_page *sp);
struct kvm_mmu_page *linux_sp(const struct face_kvm_mmu_page *page);
/* The header of a table that is alive, by an address inside it or its host-physical address. */
struct kvm_mmu_page *linux_table_at(const void *address);
struct kvm_mmu_page *linux_table_at_pa(u64 pa);
struct kvm *linux_table_owner(struct kvm_mmu_page *sp);
/* Roots as they are now, for who looks at them without a call. */
void face_show_roots(struct kvm *kvm);

static inline gfn_t gfn_limit(const struct kvm *kvm) { return 1UL << (kvm->machine.maxphyaddr - 12); }
static inline unsigned long count_of(atomic_ulong *c) { return atomic_load_explicit(c, memory_order_relaxed); }
static inline void count_up(atomic_ulong *c) { atomic_fetch_add_explicit(c, 1, memory_order_relaxed); }

/* hooks.c: mmu_lock has been let go of. */
void face_tell_pause(struct kvm *kvm);

/* face_iter.c: Linux's iterator as the interface has it. */
void face_show_iter(struct face_tdp_iter *to, const struct tdp_iter *from);

/* events.c */
struct tdpmmu_trace_event;
bool face_traces(struct kvm *kvm, enum tdpmmu_trace_id id);
void face_event(struct kvm *kvm, enum tdpmmu_trace_id id, struct tdpmmu_trace_event *event);

/*
 * One glue file for another: kvm_main.c and mmu.c, what Linux keeps to those files; the rest by their names.
 */
int face_map(struct kvm_vcpu *vcpu, gpa_t gpa, u64 ec, bool map_writable, int max_level, kvm_pfn_t pfn,
             bool prefault);
int face_page_fault(struct kvm_vcpu *vcpu, gpa_t gpa, u64 ec);
int face_fast_page_fault(struct kvm_vcpu *vcpu, gpa_t gpa, u64 ec);
int face_prefault(struct kvm_vcpu *vcpu, struct kvm_pre_fault_memory *range);
int face_load(struct kvm_vcpu *vcpu);
void face_answer_requests(struct kvm_vcpu *vcpu);
bool face_root_is_obsolete(struct kvm_vcpu *vcpu);
gfn_t face_mmio_gfn(u64 spte);
int face_get_dirty_log(struct kvm *kvm, struct kvm_dirty_log *log);
int face_clear_dirty_log(struct kvm *kvm, struct kvm_clear_dirty_log *log);
int face_reset_rings(struct kvm *kvm);
void face_range_start(struct kvm *kvm, u64 start, u64 end, bool may_block);
void face_range_end(struct kvm *kvm, u64 start, u64 end);
bool face_clear_flush_young(struct kvm *kvm, u64 start, u64 end);
bool face_clear_young(struct kvm *kvm, u64 start, u64 end);
bool face_test_young(struct kvm *kvm, u64 hva);
void face_each_host_range(struct kvm *kvm, u64 start, u64 end,
                          void (*body)(struct kvm *kvm, struct kvm_gfn_range *range, void *arg), void *arg);
bool face_slot_lives(struct kvm *kvm, const struct kvm_memory_slot *slot);
void face_wait_out_of_guest(struct kvm_vcpu *vcpu);
/* face_pml.c: what VMX does with a CPU's log of dirty pages. */
bool face_alloc_log(struct kvm_vcpu *vcpu);
void face_free_log(struct kvm_vcpu *vcpu);
int face_exit_guest(struct kvm_vcpu *vcpu);
void face_exit_all(struct kvm *kvm);
bool face_log_has(struct kvm_vcpu *vcpu, gfn_t gfn);
int face_set_bits(struct kvm_vcpu *vcpu, u64 *sptep, u64 spte, u64 marked, gfn_t gfn, bool dirties);
int face_enable_ring(struct kvm *kvm, u32 size);
int face_nx_recover(struct kvm *kvm, const unsigned int *ratio);
void face_init_mmu(struct kvm_vcpu *vcpu);
void face_free_caches(struct kvm_vcpu *vcpu);
void face_init_slots(struct kvm *kvm, u64 generation);
void face_free_slots(struct kvm *kvm);
void face_zap_all_fast(struct kvm *kvm);
void linux_machine_forget(void);
void linux_unlock_in_walk(rwlock_t *lock, const struct tdp_iter *around, bool write);
void face_lock_slots(void);
void face_unlock_slots(void);
unsigned long linux_get_page_for_split(gfp_t gfp);
void linux_tell_walk(struct kvm_mmu_page *root, int min_level, gfn_t gfn);

/* The project's own modules: Sources/ABI/Peer.swift. */
void tdpmmu_peer_warn(struct kvm *kvm, const struct tdpmmu_warning *warning);
bool tdpmmu_peer_may_wait(void);
void tdpmmu_peer_init_mmu_lock(rwlock_t *lock);
void tdpmmu_peer_event(struct tdpmmu_trace_event *event, bool to_ring);

#endif
