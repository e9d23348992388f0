/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Linux's TDP MMU for measuring: what linux/shim/kernel.h says of a kernel, with everything that serves the
 * tests taken away again, so that a call costs what it costs the kernel.  Masks are plain variables, mmu_lock
 * is the kernel's pair of locked operations, tracepoints and debug checks are nothing, nobody is asked whether
 * to yield, and a table's page is found by the kernel's arithmetic.  Included before each file (-include).
 */
#ifndef BENCH_LINUX_BARE_H
#define BENCH_LINUX_BARE_H

#include <sched.h>

#include "kernel.h"

/* ---- what is for tests -------------------------------------------------------------- */
#undef CONFIG_KVM_PROVE_MMU
#undef VM_BUG_ON
#define VM_BUG_ON(c) BUILD_BUG_ON_INVALID(c)
#undef lockdep_assert_held_read
#define lockdep_assert_held_read(l) do { } while (0)
#undef lockdep_assert_held_write
#define lockdep_assert_held_write(l) do { } while (0)
#undef LINUX_EVENT_
#define LINUX_EVENT_(trace, hook, proto, args) static inline void trace(proto) { }
#undef signal_pending
#define signal_pending(t) false
#undef need_resched
#define need_resched() 0
#undef rwlock_needbreak
#define rwlock_needbreak(l) 0
#undef cond_resched_rwlock_read
#define cond_resched_rwlock_read(l) ((void)(l))
#undef cond_resched_rwlock_write
#define cond_resched_rwlock_write(l) ((void)(l))

/* ---- one machine: no thread has masks of its own --------------------------------------- */
#undef __read_mostly
#define __read_mostly
extern struct linux_cpuinfo bare_cpu;
extern struct kvm_host_values bare_host;
#define boot_cpu_data bare_cpu
#define kvm_host bare_host
#undef boot_cpu_has_bug
#define boot_cpu_has_bug(b) false

/* ---- locks: the fast paths of the kernel's qrwlock and qspinlock ------------------------- */
#define BARE_WRITER 0xffu
#define BARE_WAITING 0x100u
#define BARE_READER 0x200u
void noinline bare_spin_slow(u32 *word);
void noinline bare_read_slow(rwlock_t *lock);
void noinline bare_write_slow(rwlock_t *lock);

static inline void bare_spin_lock(u32 *word)
{
    u32 free = 0;

    if (unlikely(!__atomic_compare_exchange_n(word, &free, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)))
        bare_spin_slow(word);
}

static inline void bare_spin_unlock(u32 *word) { __atomic_store_n(word, 0, __ATOMIC_RELEASE); }

static inline void bare_read_lock(rwlock_t *lock)
{
    if (unlikely(__atomic_fetch_add(&lock->state, BARE_READER, __ATOMIC_ACQUIRE) & (BARE_WRITER | BARE_WAITING)))
        bare_read_slow(lock);
}

static inline void bare_read_unlock(rwlock_t *lock)
{
    (void)__atomic_fetch_sub(&lock->state, BARE_READER, __ATOMIC_RELEASE);
}

static inline void bare_write_lock(rwlock_t *lock)
{
    u32 free = 0;

    if (unlikely(!__atomic_compare_exchange_n(&lock->state, &free, BARE_WRITER, 0, __ATOMIC_ACQUIRE,
                                              __ATOMIC_RELAXED)))
        bare_write_slow(lock);
}

static inline void bare_write_unlock(rwlock_t *lock) { __atomic_store_n((u8 *)&lock->state, 0, __ATOMIC_RELEASE); }

#undef read_lock
#define read_lock(l) bare_read_lock(l)
#undef read_unlock
#define read_unlock(l) bare_read_unlock(l)
#undef write_lock
#define write_lock(l) bare_write_lock(l)
#undef write_unlock
#define write_unlock(l) bare_write_unlock(l)
#define spin_lock(l) bare_spin_lock((u32 *)(l))
#define spin_unlock(l) bare_spin_unlock((u32 *)(l))

/* A volatile load, as in the kernel. */
#undef rcu_dereference_raw
#define rcu_dereference_raw(p) READ_ONCE(p)

/* A fence that x86 does not need is one of the compiler's only. */
#undef smp_wmb
#define smp_wmb() barrier()
#undef smp_rmb
#define smp_rmb() barrier()

/* ---- memory: a table's address is its host-physical one; a struct page has 64 bytes -------- */
#define BARE_ARENA 0x100000000000UL
struct bare_page { unsigned long before[5], private, behind[2]; };
extern struct bare_page *bare_vmemmap; /* a variable, as the kernel's */
#undef __pa
#define __pa(x) ((unsigned long)(x))
#undef __va
#define __va(x) ((void *)(unsigned long)(x))
#undef pfn_to_page
#define pfn_to_page(pfn) ((struct page *)&bare_vmemmap[pfn].private)
#undef virt_to_page
#define virt_to_page(x) pfn_to_page(__pa(x) >> PAGE_SHIFT)
#undef set_page_private
#define set_page_private(p, v) ((p)->private = (v))
#undef call_rcu
#define memset64(p, v, n) bare_memset64((p), (v), (n))
static inline void *bare_memset64(u64 *p, u64 value, size_t n)
{
    u64 *to = p;

    __asm__ volatile("rep stosq" : "+D"(to), "+c"(n) : "a"(value) : "memory");
    return p;
}

#define bitmap_set(map, start, n) bare_bitmap_set((map), (start), (n))
static inline void bare_bitmap_set(unsigned long *map, unsigned long start, unsigned long n)
{
    for (; n && start % 64; n--, start++)
        map[start / 64] |= 1UL << start % 64;
    memset(&map[start / 64], 0xff, n / 64 * 8);
    for (start += n / 64 * 64, n %= 64; n; n--, start++)
        map[start / 64] |= 1UL << start % 64;
}

/* ---- the host: pfn by arithmetic, and one answer for how large its pages are ----------------- */
extern int bare_mapping_level;
static inline kvm_pfn_t bare_host_pfn(const struct kvm_memory_slot *slot, gfn_t gfn, bool *writable)
{
    *writable = !(slot->flags & KVM_MEM_READONLY);
    return (slot->userspace_addr >> PAGE_SHIFT) + (gfn - slot->base_gfn);
}
#define linux_host_pfn(slot, gfn, write, writable) bare_host_pfn((slot), (gfn), (writable))
#define linux_mapping_level(kvm, gfn, slot) ((void)(kvm), (void)(gfn), (void)(slot), bare_mapping_level)

/* Functions of other files of the kernel's, of which no work is left but that they are called. */
void noinline bare_see_pfn(kvm_pfn_t pfn);
bool noinline bare_is_private(struct kvm *kvm, gfn_t gfn);
#undef kvm_set_pfn_dirty
#define kvm_set_pfn_dirty(pfn) bare_see_pfn(pfn)
#undef kvm_set_pfn_accessed
#define kvm_set_pfn_accessed(pfn) bare_see_pfn(pfn)
#undef kvm_release_pfn_clean
#define kvm_release_pfn_clean(pfn) bare_see_pfn(pfn)
#undef kvm_mem_is_private
#define kvm_mem_is_private(kvm, gfn) bare_is_private((kvm), (gfn))

/* ---- instead of linux/glue/face.h and told.h, for the files of linux/glue ------------------- */
#define LINUX_FACE_H
#define LINUX_TOLD_H
#include "mmu.h"
#include "mmu_internal.h"
#include "tdp_iter.h"
#include "tdp_mmu.h"
#include "spte.h"
#include "mmutrace.h"
#include "kvm_mm.h"

struct face_vm { struct tdpmmu_ops ops; void *ctx; };
struct face_frame { struct kvm *kvm; int host_level, tries; bool poisoned, changes_slots; };
extern __thread struct face_frame bare_frame;
#define face_now (&bare_frame)
#define linux_machine_load(kvm) do { } while (0)
#define face_tell_pause(kvm) do { } while (0)
#define face_exit_all(kvm) ((void)(kvm))
void face_answer_requests(struct kvm_vcpu *vcpu);
#define told_alloc_root(vcpu) kvm_tdp_mmu_alloc_root(vcpu)
static int told_zapped __attribute__((unused));
void face_init_mmu(struct kvm_vcpu *vcpu);
void face_free_caches(struct kvm_vcpu *vcpu);
void face_init_slots(struct kvm *kvm);
void face_free_slots(struct kvm *kvm);
int face_fast_page_fault(struct kvm_vcpu *vcpu, gpa_t gpa, u64 ec);

/* ---- for the benchmark ------------------------------------------------------------------------ */
/* Memory for so many tables, touched beforehand as a kernel's is. */
void bare_init(unsigned long tables);
struct kvm *bare_create_vm(bool initially_set);
void bare_destroy_vm(struct kvm *kvm);
/* 0 or a negative errno; the slot is number 0. */
int bare_set_slot(struct kvm *kvm, gfn_t gfn, u64 npages, u64 pfn, u32 flags);
struct kvm_vcpu *bare_create_vcpu(struct kvm *kvm);
void bare_load(struct kvm_vcpu *vcpu);
void bare_destroy_vcpu(struct kvm_vcpu *vcpu);
/* The whole path of a fault; the host's page has this level. */
int bare_fault(struct kvm_vcpu *vcpu, gpa_t gpa, u64 ec, int level);
/* kvm_tdp_mmu_map() alone.  Lock R. */
int bare_map(struct kvm_vcpu *vcpu, gpa_t gpa, u64 ec, int level);
extern unsigned long bare_warnings;

#endif
