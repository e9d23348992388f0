/* SPDX-License-Identifier: GPL-2.0-only */
/* The process around it: options, messages, memory, the C library's own functions. */
#ifndef CKD_HOST_H
#define CKD_HOST_H

#include "ckd_objects.h"

struct ckd_options {
    uint32_t npt;           /* TDPMMU_KVM_MMU=ept-pml (default), ept, ept-noad, npt */
    uint32_t no_pml;
    uint32_t no_ad;
    uint32_t levels;        /* TDPMMU_KVM_LEVELS=4, 5 */
    uint32_t nx_huge_pages; /* TDPMMU_KVM_NX=0, 1 */
    uint32_t maxphyaddr;    /* TDPMMU_KVM_MAXPHYADDR=48 to 52 */
    uint32_t trace;         /* TDPMMU_KVM_TRACE=1: ioctls and exits */
    uint32_t quiet;         /* TDPMMU_KVM_QUIET=1: what is faked is not said */
    uint32_t no_cache;      /* TDPMMU_KVM_CACHE=0: no translations but the engine's */
    const char *events;     /* TDPMMU_KVM_EVENTS=FILE: the library's own trace, for `tdpmmuctl trace`: recording.c */
};
extern struct ckd_options ckd_options_read; /* filled in at load, or before the first VM */
void ckd_read_options(void);
static inline const struct ckd_options *ckd_options(void) { return &ckd_options_read; }

/* One line on stderr. */
void ckd_say(const char *text, uint64_t number);
/* What is faked, once in a process for each text. */
void ckd_say_faked(const char *text);
void ckd_trace_exit(uint32_t vcpu, uint32_t reason, int result, uint64_t rip);
void ckd_trace_counts(const struct ckd_vcpu *vcpu);
void ckd_say_instruction(const char *what, uint64_t rip, const uint8_t *bytes, uint32_t count);

/* Memory of the program's, which may not be there: false means EFAULT. */
bool ckd_copy_in(void *to, uint64_t from, size_t bytes);
bool ckd_copy_out(uint64_t to, const void *from, size_t bytes);
/* Let the host map the page that this address is in, as a fault of the process itself would: a negative errno. */
int ckd_populate(uint64_t address, size_t bytes, bool write);
/* The same of one page by a touch, where this thread is in KVM_RUN: a negative errno. */
int ckd_touch(uint64_t address, bool write);
/* Has a range been registered with userfaultfd?  Then a fault may wait for another thread. */
bool ckd_userfaults(void);

void *ckd_zalloc(size_t bytes);
void ckd_free(void *memory);
void *ckd_map_shared(int fd, size_t bytes);
void ckd_unmap(void *memory, size_t bytes);
void ckd_close(int fd);
int ckd_duplicate(int fd); /* a descriptor of ours for the same file */
int ckd_errno(void);
bool ckd_may_reboot(void); /* CAP_SYS_BOOT, which KVM_CAP_VM_DISABLE_NX_HUGE_PAGES wants */
/* The file of statistics: its size, the part that stays, the five values. */
size_t ckd_stats_size(void);
void ckd_stats_describe(int fd);
void ckd_stats_fill(int fd, const uint64_t values[5]);
void ckd_write_at(int fd, const void *bytes, size_t count, uint64_t offset);
void ckd_yield(void);
uint32_t ckd_tsc_khz(void);
void ckd_host_cpuid(uint32_t function, uint32_t index, uint32_t answer[4]);

/* ---- marks.c: lines between the library's events, which only Marks.swift asks for ---- */

void ckd_mark_vm(struct kvm *kvm);
void ckd_recording_begins(void); /* recording.c: this process makes its first VM */
bool ckd_has_recorded(void); /* a VM of this very process, which no fork has copied */
void ckd_mark_step(struct kvm *kvm, const char *step, uint64_t number);
void ckd_mark_done(struct kvm *kvm, const char *step, int result);
void ckd_mark_access(struct kvm *kvm, uint32_t vcpu, uint64_t gpa, char kind);
void ckd_mark_region(struct kvm *kvm, const char *step, const struct kvm_userspace_memory_region *region);
void ckd_mark_cap(struct kvm *kvm, const struct kvm_enable_cap *wanted);
void ckd_mark_clear(struct kvm *kvm, const struct kvm_clear_dirty_log *log);
void ckd_mark_pages(struct kvm *kvm, const char *what, uint32_t slot, const uint64_t *bitmap, uint64_t first,
                    uint64_t pages);
void ckd_mark_prefault(struct kvm *kvm, uint32_t vcpu, const struct kvm_pre_fault_memory *range);
void ckd_mark_prefaulted(struct kvm *kvm, uint32_t vcpu, const struct kvm_pre_fault_memory *range, int result);

/* ---- invalidations.c: what is invalidated right now; with the list of VMs locked ---- */

/* A number below 64 for [start, end), until it is closed; -1: too many are open. */
int ckd_stretch_open(uint64_t start, uint64_t end);
/* The number that it had, or -1: it was not open. */
int ckd_stretch_close(uint64_t start, uint64_t end);
bool ckd_stretch_is_open(int number, uint64_t *start, uint64_t *end);

/* ---- the program's calls, as Swift sees them ---- */

/* mmap() of a vCPU's dirty ring: the address, or a negative errno. */
int64_t ckd_map_ring(struct ckd_vcpu *vcpu, uint64_t bytes, int protection, int flags);
/* Is [address, address + bytes) inside a dirty ring?  Then it is dealt with: all of a ring that is mapped is unmapped,
 * and of a part nothing, since the ring's memory is the library's. */
bool ckd_unmap_ring(uint64_t address, uint64_t bytes);
/* Host memory [start, end) is about to change: unmap it in all VMs; then end. */
void ckd_invalidate_begin(uint64_t start, uint64_t end);
void ckd_invalidate_end(uint64_t start, uint64_t end);
/* The program asked for huge pages there, of this level; 1: takes it back. */
void ckd_set_host_level(uint64_t start, uint64_t end, uint32_t level);
uint32_t ckd_host_level(uint64_t address);
void ckd_stats_refresh(struct ckd_stats *stats);
uint64_t ckd_idle_read(uint64_t index);
void ckd_idle_write(uint64_t index, uint64_t bits);

#endif
