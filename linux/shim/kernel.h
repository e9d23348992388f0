/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel's files expect of a kernel: words of the compiler, types, atomics,
 * locks, memory, x86.  Included before every file of the kernel's (-include), so the
 * headers that those files name may be empty; the kernel's own headers for lists and
 * trees are used as they are.
 *
 * Locks, RCU and SRCU are the project's: the words of the public headers.
 */
#ifndef LINUX_KERNEL_H
#define LINUX_KERNEL_H

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <linux/kvm.h>
#include <linux/types.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#undef errno /* a tracepoint has an argument of this name */

#include "tdpmmu_face.h" /* the public headers; their structs, if the kernel has such, are face_X */
#include "linux_names.h" /* the kernel's functions whose names the interface has are linux_X */

#define __KERNEL__ 1

/* ---- the compiler ---------------------------------------------------------- */
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef unsigned int gfp_t;
typedef unsigned long hva_t;
typedef u64 gva_t;

#define KBUILD_MODNAME "kvm"
#define CONFIG_X86_64 1
#define CONFIG_64BIT 1
#define CONFIG_HAVE_KVM_DIRTY_RING 1
#define CONFIG_HAVE_KVM_DIRTY_RING_TSO 1
#define CONFIG_HAVE_KVM_DIRTY_RING_ACQ_REL 1
#define CONFIG_KVM_GENERIC_DIRTYLOG_READ_PROTECT 1
#define CONFIG_KVM_GENERIC_MMU_NOTIFIER 1
#define CONFIG_KVM_PROVE_MMU 1 /* KVM_MMU_WARN_ON() looks */
#define KVM_ARCH_NR_OBJS_PER_MEMORY_CACHE 40
#define IS_ENABLED(option) 0

/*
 * The masks of SPTEs are variables of the kernel's, of which a machine has one set.  Here each
 * thread has one, and a call loads that of the VM that it is about (enter() in face.h).
 */
#define __read_mostly __thread
#define __ro_after_init
#define __init
#define __force
#define __user
#define __rcu
#define __percpu
#define __weak __attribute__((weak))
#define __used __attribute__((used))
#define __maybe_unused __attribute__((unused))
#define __must_check __attribute__((warn_unused_result))
#define __always_unused __attribute__((unused))
#define __cold __attribute__((cold))
#define __randomize_layout
#define noinline __attribute__((noinline))
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#define notrace
#define asmlinkage
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define barrier() __asm__ __volatile__("" ::: "memory")
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) do { *(volatile __typeof__(x) *)&(x) = (v); } while (0)
#define data_race(x) (x)
#define ASSERT_EXCLUSIVE_ACCESS(x)
#define BUILD_BUG_ON(c) do { } while (0)
#define BUILD_BUG_ON_INVALID(c) ((void)sizeof((long)(c)))
#define BUILD_BUG_ON_ZERO(c) 0
#define container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))
#define typeof __typeof__
#define min(a, b) ({ typeof(a) min_a = (a); typeof(b) min_b = (b); min_a < min_b ? min_a : min_b; })
#define max(a, b) ({ typeof(a) max_a = (a); typeof(b) max_b = (b); max_a > max_b ? max_a : max_b; })
#define min_t(t, a, b) min((t)(a), (t)(b))
#define max_t(t, a, b) max((t)(a), (t)(b))
#define swap(a, b) do { typeof(a) swap_t = (a); (a) = (b); (b) = swap_t; } while (0)
#define BIT(n) (1UL << (n))
#define BIT_ULL(n) (1ULL << (n))
#define BITS_PER_LONG 64
#define GENMASK(h, l) ((~0UL << (l)) & (~0UL >> (63 - (h))))
#define GENMASK_ULL(h, l) GENMASK(h, l)
#define DECLARE_BITMAP(name, bits) unsigned long name[((bits) + 63) / 64]
#define ALIGN(x, a) (((x) + ((typeof(x))(a) - 1)) & ~((typeof(x))(a) - 1))
#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define FIELD_SIZEOF(t, f) sizeof(((t *)0)->f)
#define __stringify(x) #x
#define fallthrough __attribute__((fallthrough))
#define lower_32_bits(n) ((u32)(n))

static inline unsigned long __ffs(unsigned long word) { return (unsigned long)__builtin_ctzl(word); }
static inline unsigned long __fls(unsigned long word) { return 63 - (unsigned long)__builtin_clzl(word); }
static inline int ilog2(unsigned long n) { return 63 - __builtin_clzl(n); }
static inline bool is_power_of_2(unsigned long n) { return n && !(n & (n - 1)); }

#define module_param_named(name, value, type, perm)
#define module_param(name, type, perm)
#define EXPORT_SYMBOL_GPL(x)
#define EXPORT_SYMBOL(x)
#define EXPORT_SYMBOL_FOR_KVM_INTERNAL(x)
#define KERN_WARNING ""
#define pr_err(...) fprintf(stderr, __VA_ARGS__)
#define pr_warn_ratelimited pr_err
#define pr_err_ratelimited pr_err
#define pr_warn_once(...) do { } while (0)
#define kvm_debug_ratelimited(...) do { } while (0)

/* ---- complaints ------------------------------------------------------------ */
/* A check of the kernel's that failed: one call of the warning callback. */
void __cold noinline linux_warn(const char *function, const char *condition);
/* One that the kernel does not survive: a line on stderr, a warning, and the call ends. */
void __cold noinline __attribute__((noreturn)) linux_bug(const char *function, const char *condition);
/* A lock that the kernel's code wants held. */
void __cold noinline linux_lock_warn(const char *function, const char *text);

#define WARN_ON(c) ({ int warn_c = !!(c); if (unlikely(warn_c)) linux_warn(__func__, #c); unlikely(warn_c); })
#define WARN_ON_ONCE(c) WARN_ON(c)
#define WARN_ONCE(c, ...) WARN_ON(c)
#define WARN(c, ...) WARN_ON(c)
#define BUG() linux_bug(__func__, "BUG()")
#define BUG_ON(c) do { if (unlikely(c)) linux_bug(__func__, #c); } while (0)
#define VM_BUG_ON(c) BUG_ON(c)
#define KVM_BUG_ON(c, kvm) WARN_ON(c)
#define KVM_BUG(c, kvm, ...) WARN_ON(c)
#define VM_WARN_ON_ONCE(c) WARN_ON(c)
#define lockdep_assert(c) do { } while (0)
#define lockdep_assert_once(c) do { } while (0)
#define lockdep_assert_held(l) do { } while (0)
#define lockdep_assert_not_held(l) do { } while (0)
#define lockdep_is_held(l) 1
#define lockdep_assert_held_read(l) do { \
    if (unlikely(!tdpmmu_read_lock_held(l))) linux_lock_warn(__func__, "mmu_lock is not held for read"); \
} while (0)
#define lockdep_assert_held_write(l) do { \
    if (unlikely(!tdpmmu_write_lock_held(l))) linux_lock_warn(__func__, "mmu_lock is not held for write"); \
} while (0)
#define RCU_LOCKDEP_WARN(c, s) do { } while (0)

/* ---- atomics: as x86 makes them -------------------------------------------- */
typedef struct { int counter; } atomic_t;
typedef struct { s64 counter; } atomic64_t;
typedef struct { long counter; } atomic_long_t;
typedef struct { int refs; } refcount_t;
#define atomic_read(v) READ_ONCE((v)->counter)
#define atomic_set(v, i) WRITE_ONCE((v)->counter, (i))
#define atomic64_read(v) READ_ONCE((v)->counter)
#define atomic64_set(v, i) WRITE_ONCE((v)->counter, (i))
#define atomic64_add(i, v) ((void)__atomic_fetch_add(&(v)->counter, (i), __ATOMIC_RELAXED))
#define atomic64_inc(v) atomic64_add(1, (v))
#define atomic64_dec(v) atomic64_add(-1, (v))
#define atomic64_fetch_and(i, v) __atomic_fetch_and(&(v)->counter, (i), __ATOMIC_SEQ_CST)
#define atomic_long_read(v) READ_ONCE((v)->counter)
#define atomic_long_set(v, i) WRITE_ONCE((v)->counter, (i))
#define atomic_long_fetch_andnot(i, v) __atomic_fetch_and(&(v)->counter, ~(i), __ATOMIC_SEQ_CST)
#define xchg(p, v) __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)
#define cmpxchg64(p, o, n) ({ typeof(*(p)) cx_o = (o); \
    __atomic_compare_exchange_n((p), &cx_o, (n), 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); cx_o; })
#define try_cmpxchg64(p, o, n) \
    __atomic_compare_exchange_n((p), (o), (n), 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
#define smp_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define smp_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define smp_mb() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define smp_mb__after_srcu_read_unlock() smp_mb()
#define smp_wmb() __atomic_thread_fence(__ATOMIC_RELEASE)
#define smp_rmb() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define smp_store_mb(v, x) ((void)__atomic_exchange_n(&(v), (x), __ATOMIC_SEQ_CST))
#define smp_store_release_ptr smp_store_release
#define cpu_relax() __builtin_ia32_pause()

/* A root's count is seen through its face (struct face_kvm_mmu_page) too: memory.c. */
void refcount_set(refcount_t *r, int n);
unsigned int refcount_read(const refcount_t *r);
bool refcount_inc_not_zero(refcount_t *r);
bool refcount_dec_and_test(refcount_t *r);

/* ---- locks: mmu_lock is the project's, and says whom it yields to ----------- */
typedef struct spinlock { pthread_mutex_t mutex; } spinlock_t;
typedef spinlock_t raw_spinlock_t;
static inline void spin_lock_init(spinlock_t *l) { pthread_mutex_init(&l->mutex, NULL); }
static inline void spin_lock(spinlock_t *l) { pthread_mutex_lock(&l->mutex); }
static inline void spin_unlock(spinlock_t *l) { pthread_mutex_unlock(&l->mutex); }

struct mutex { pthread_mutex_t mutex; pthread_t owner; bool held; };
void mutex_init(struct mutex *m);
void mutex_lock(struct mutex *m);
void mutex_unlock(struct mutex *m);
bool linux_mutex_is_mine(struct mutex *m);

struct tdp_iter;
#ifndef LINUX_ITER
#define LINUX_ITER ((const struct tdp_iter *)NULL)
#endif
bool linux_need_resched_at(const struct tdp_iter *iter);
void linux_yield_read(rwlock_t *l);
void linux_yield_write(rwlock_t *l);
#define need_resched() linux_need_resched_at(LINUX_ITER)
#define cond_resched() do { } while (0)
#define cond_resched_rwlock_read(l) ({ linux_yield_read(l); 1; })
#define cond_resched_rwlock_write(l) ({ linux_yield_write(l); 1; })

/* Whom a change of slots waits for: invalidations that have begun. */
struct rcuwait { int unused; };
#define prepare_to_rcuwait(w) do { } while (0)
#define finish_rcuwait(w) do { } while (0)
#define rcuwait_wake_up(w) do { } while (0)
#define rcuwait_init(w) do { } while (0)
#define TASK_UNINTERRUPTIBLE 2
#define set_current_state(s) do { } while (0)
void linux_wait_for_invalidations(void);
#define schedule() linux_wait_for_invalidations()
/* A prefault tries again until a signal comes; here that is after a while. */
bool linux_signal_pending(void);
#define signal_pending(t) linux_signal_pending()
#define local_irq_disable() do { } while (0)
#define local_irq_enable() do { } while (0)

/* ---- RCU: the project's ------------------------------------------------------ */
#define rcu_dereference(p) rcu_dereference_raw(p)
#define rcu_dereference_check(p, c) rcu_dereference_raw(p)
#define rcu_dereference_protected(p, c) (p)
#define srcu_dereference(p, s) rcu_dereference_raw(p)
#define srcu_dereference_check(p, s, c) rcu_dereference_raw(p)
#ifndef rcu_assign_pointer
#define rcu_assign_pointer(p, v) __atomic_store_n(&(p), (v), __ATOMIC_RELEASE)
#endif
#ifndef RCU_INIT_POINTER
#define RCU_INIT_POINTER(p, v) WRITE_ONCE(p, v)
#endif
#define unrcu_pointer(p) (p)
#define rcu_pointer_handoff(p) (p)
#define rcu_access_pointer(p) READ_ONCE(p)
#define rcu_check_sparse(p, s)
#define __list_check_rcu(...) ({ })
void linux_call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head));
#define call_rcu(h, f) linux_call_rcu(h, f)
#define guard(kind) guard_##kind
#define guard_srcu(s) __attribute__((cleanup(linux_srcu_leave), unused)) \
    struct linux_srcu_hold srcu_guard = { (s), srcu_read_lock(s) }
struct linux_srcu_hold { struct srcu_struct *domain; int index; };
static inline void linux_srcu_leave(struct linux_srcu_hold *h) { srcu_read_unlock(h->domain, h->index); }

/* ---- lists and trees: the kernel's own headers ------------------------------- */
struct list_head { struct list_head *next, *prev; };
struct hlist_head { struct hlist_node *first; };
struct hlist_node { struct hlist_node *next, **pprev; };

/* ---- memory ------------------------------------------------------------------ */
#undef PAGE_SIZE
#define PAGE_SHIFT 12
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))
#define PMD_SHIFT 21
#define PMD_SIZE (1UL << PMD_SHIFT)
#define pfn_to_hpa(pfn) ((hpa_t)(pfn) << PAGE_SHIFT)

/* Memory of tables: one stretch, whose host-physical addresses are small numbers (memory.c). */
extern char *linux_arena;
#define LINUX_ARENA_BYTES (1UL << 35)
#define LINUX_ARENA_PA (1UL << 20)
#define __pa(x) ((unsigned long)((char *)(x) - linux_arena) + LINUX_ARENA_PA)
#define __va(x) ((void *)(linux_arena + ((unsigned long)(x) - LINUX_ARENA_PA)))
struct page { unsigned long private; };
struct page *linux_page(unsigned long pfn);
void linux_set_page_private(struct page *page, unsigned long value);
#define pfn_to_page(pfn) linux_page(pfn)
#define virt_to_page(x) linux_page(__pa(x) >> PAGE_SHIFT)
#define page_private(p) ((p)->private)
#define set_page_private(p, v) linux_set_page_private((p), (v))

#define __GFP_ZERO 0x100u
#define __GFP_ACCOUNT 0x400u
#define __GFP_NOWARN 0x200u
#define GFP_NOWAIT 0x800u
#define GFP_ATOMIC 0x20u
#define GFP_KERNEL 0xcc0u
#define GFP_KERNEL_ACCOUNT (GFP_KERNEL | __GFP_ACCOUNT)
struct kmem_cache;
extern struct kmem_cache *mmu_page_header_cache;
void *kmem_cache_alloc(struct kmem_cache *c, gfp_t gfp);
#define kmem_cache_zalloc(c, g) kmem_cache_alloc((c), (g) | __GFP_ZERO)
void kmem_cache_free(struct kmem_cache *c, void *object);
unsigned long __get_free_page(gfp_t gfp);
void free_page(unsigned long address);
#define get_zeroed_page(g) __get_free_page((g) | __GFP_ZERO)
static inline void *memset64(u64 *p, u64 v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = v;
    return p;
}
#define kmalloc(s, g) malloc(s)
#define kzalloc(s, g) calloc(1, (s))
#define kzalloc_obj(o, ...) calloc(1, sizeof(o))
#define kcalloc(n, s, g) calloc((n), (s))
#define kvcalloc(n, s, g) calloc((n), (s))
#define kfree(p) free((void *)(p))
#define kvmalloc_array(n, s, g) calloc((n), (s))
#define kvfree(p) free((void *)(p))
#define vzalloc(s) calloc(1, (s))
#define __vcalloc(n, s, g) calloc((n), (s))
#define vcalloc(n, s) calloc((n), (s))
#define vfree(p) free((void *)(p))
#define vmalloc_to_page(p) NULL

/* The guest's pages have no struct page. */
static inline bool pfn_valid(unsigned long pfn) { return pfn < 1UL << 40; }
#define is_zero_pfn(pfn) false
#define my_zero_pfn(a) (~0UL >> 12)
#define PageReserved(p) ((void)(p), false)
#define pat_enabled() true
#define pat_pfn_immune_to_uc_mtrr(pfn) true
#define e820__mapped_raw_any(s, e, t) true
#define E820_TYPE_RAM 1
#define access_ok(a, s) linux_access_ok((unsigned long)(a), (s))
static inline bool linux_access_ok(unsigned long a, unsigned long s)
{
    return s <= 1UL << 56 && a <= (1UL << 56) - s;
}
#define untagged_addr(a) (a)
#define copy_to_user(to, from, n) (memcpy((to), (from), (n)), 0UL)
#define copy_from_user(to, from, n) (memcpy((to), (from), (n)), 0UL)

static inline bool test_bit_of(unsigned long nr, const volatile unsigned long *a)
{
    return __atomic_load_n(&a[nr / 64], __ATOMIC_RELAXED) >> (nr % 64) & 1;
}
#define test_bit(nr, a) test_bit_of((unsigned long)(nr), (const unsigned long *)(a))
static inline void set_bit(unsigned long nr, volatile unsigned long *a)
{
    __atomic_fetch_or(&a[nr / 64], 1UL << (nr % 64), __ATOMIC_SEQ_CST);
}
static inline void clear_bit(unsigned long nr, volatile unsigned long *a)
{
    __atomic_fetch_and(&a[nr / 64], ~(1UL << (nr % 64)), __ATOMIC_SEQ_CST);
}
#define set_bit_le(nr, a) set_bit((unsigned long)(nr), (unsigned long *)(a))
static inline void bitmap_set(unsigned long *map, unsigned int start, unsigned int n)
{
    for (unsigned long i = start; i < (unsigned long)start + n; i++)
        map[i / 64] |= 1UL << (i % 64);
}

/* ---- x86 ---------------------------------------------------------------------- */
/* What the CPU says of itself depends on the VM: of the thread, as the masks. */
struct linux_cpuinfo { u8 x86_phys_bits, x86_cache_bits; u32 extended_cpuid_level; };
extern __thread struct linux_cpuinfo boot_cpu_data;
extern __thread bool linux_l1tf;
#define cpuid_eax(op) ((u32)boot_cpu_data.x86_phys_bits)
#define X86_BUG_L1TF 0
#define boot_cpu_has_bug(b) linux_l1tf
#define X86_CR0_PG 0x80000000UL
#define X86_CR0_WP 0x10000UL
#define X86_CR4_PSE 0x10UL
#define X86_CR4_PAE 0x20UL
#define X86_CR4_PCIDE 0x20000UL
#define X86_CR4_LA57 0x1000UL
#define X86_CR4_SMEP 0x100000UL
#define X86_CR4_SMAP 0x200000UL
#define X86_CR4_PKE 0x400000UL
#define X86_CR3_PCID_MASK 0xfffUL
#define X86_CR3_LAM_U48 (1UL << 62)
#define X86_CR3_LAM_U57 (1UL << 61)
#define X86_FEATURE_LAM 0
#define X86_EFLAGS_AC 0x40000UL
#define EFER_LME 0x100
#define EFER_NX 0x800
#define PFERR_PK_MASK BIT(5)
#define PFERR_SGX_MASK BIT(15)
#define PFERR_GUEST_RMP_MASK BIT_ULL(31)
#define PFERR_IMPLICIT_ACCESS BIT_ULL(48)
#define PFERR_PRIVATE_ACCESS BIT_ULL(49)
#define EMULTYPE_WRITE_PF_TO_SP 0x100
#define VMX_EPT_READABLE_MASK 0x1ull
#define VMX_EPT_WRITABLE_MASK 0x2ull
#define VMX_EPT_EXECUTABLE_MASK 0x4ull
#define VMX_EPT_IPAT_BIT (1ull << 6)
#define VMX_EPT_SUPPRESS_VE_BIT (1ull << 63)
#define VMX_EPT_ACCESS_BIT (1ull << 8)
#define VMX_EPT_DIRTY_BIT (1ull << 9)
#define VMX_EPT_RWX_MASK 0x7ull
#define VMX_EPT_MT_EPTE_SHIFT 3
#define VMX_EPT_MT_MASK (7ull << VMX_EPT_MT_EPTE_SHIFT)
#define VMX_EPT_MISCONFIG_WX_VALUE (VMX_EPT_WRITABLE_MASK | VMX_EPT_EXECUTABLE_MASK)

#include <linux/list.h>
#include <linux/rculist.h>
#include <linux/rbtree.h>
#include <linux/interval_tree.h>
#include <linux/hash.h>
#include <linux/hashtable.h>
#include "kvm.h"

#endif
