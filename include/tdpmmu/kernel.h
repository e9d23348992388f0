/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The names that operations of the kernel's TDP MMU are written with, on top of primitives.h: what is inside a function
 * of tdp_mmu.c (Linux 6.12, or 5.12 with the patch of 2021) compiles against this as it stands.  Not part of tdpmmu.h,
 * since the names are short and many.  C only.
 *
 * What differs from the kernel:
 *  - In the kernel the masks of SPTEs are global.  Here each VM has its own, and names that stand without a VM in the
 *    kernel (shadow_accessed_mask, is_accessed_spte(spte), tdp_mmu_max_gfn_exclusive(), ...) mean that of `kvm`: a
 *    variable of this name has to be in scope, or TDPMMU_THIS_VM defined otherwise.
 *  - Each change is told, traced and counted by the library where it is made, so what the kernel's functions do for that
 *    themselves (trace_kvm_tdp_mmu_spte_changed(), kvm_update_page_stats(), kvm_set_pfn_dirty()) does nothing.
 *  - An illegal change, the wrong lock, no RCU: a warning by the VM's handler (by the process's where no VM is known), and
 *    nothing is changed.  Where the kernel's function returns nothing the caller hears no more of it than in the kernel;
 *    where it returns what was there, FROZEN_SPTE.
 *  - WARN_ON() and BUG_ON() say so on stderr (TDPMMU_KERNEL_WARN), and go on.
 *  - Names that 5.12 and 6.12 give other arguments take either, by their number.
 *
 * Written with these names, an operation runs on the VM's tables beside faults and all else, by the kernel's rules:
 * mmu_lock and RCU as the kernel's function holds them, a flush before RCU is left where a table was unlinked.
 */
#ifndef TDPMMU_KERNEL_H
#define TDPMMU_KERNEL_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>

#include "dirty_log.h"
#include "lock.h"
#include "primitives.h"
#include "rcu.h"
#include "tdp_iter.h"
#include "tdp_mmu.h"
#include "types.h"
#include "vm.h"

TDPMMU_BEGIN_DECLS

/* ---- small words ---------------------------------------------------------------------------- */
#ifndef TDPMMU_NO_SHORT_TYPES
typedef uint64_t u64;
typedef uint32_t u32;
typedef uint16_t u16;
typedef uint8_t u8;
typedef int64_t s64;
typedef int32_t s32;
typedef int16_t s16;
typedef int8_t s8;
#endif

#ifndef READ_ONCE
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#endif
#ifndef WRITE_ONCE
#define WRITE_ONCE(x, value) do { *(volatile __typeof__(x) *)&(x) = (value); } while (0)
#endif
#ifndef likely
#define likely(x) __builtin_expect(!!(x), 1)
#endif
#ifndef unlikely
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif
#ifndef min
#define min(a, b) (__extension__({ __typeof__(a) min_a_ = (a); __typeof__(b) min_b_ = (b); min_a_ < min_b_ ? min_a_ : min_b_; }))
#endif
#ifndef max
#define max(a, b) (__extension__({ __typeof__(a) max_a_ = (a); __typeof__(b) max_b_ = (b); max_a_ > max_b_ ? max_a_ : max_b_; }))
#endif
#ifndef min_t
#define min_t(type, a, b) min((type)(a), (type)(b))
#endif
#ifndef max_t
#define max_t(type, a, b) max((type)(a), (type)(b))
#endif
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#ifndef __must_check
#define __must_check __attribute__((warn_unused_result))
#endif
#ifndef BIT_ULL
#define BIT_ULL(n) (UINT64_C(1) << (n))
#endif
#ifndef GENMASK_ULL
#define GENMASK_ULL(high, low) ((~UINT64_C(0) << (low)) & (~UINT64_C(0) >> (63 - (high))))
#endif
#ifndef BITS_PER_LONG
#define BITS_PER_LONG 64
#endif
#ifndef PAGE_SHIFT
#define PAGE_SHIFT 12
#endif
#ifndef PG_LEVEL_NUM
#define PG_LEVEL_NUM 6 /* no level is as large */
#endif
#ifndef refcount_read /* of a root's references */
#define refcount_read(count) ((unsigned int)__atomic_load_n((count), __ATOMIC_RELAXED))
#endif
#ifndef __ffs
#define __ffs(word) ((unsigned long)__builtin_ctzl(word))
#endif
#ifndef IS_ENABLED
#define IS_ENABLED(option) 0
#endif

/* One line on stderr: a check of the kernel's that fails, where it stands. */
#ifndef TDPMMU_KERNEL_WARN
#define TDPMMU_KERNEL_WARN(function, condition) fprintf(stderr, "libtdpmmu: %s: %s\n", (function), (condition))
#endif
#ifndef WARN_ON
#define WARN_ON(condition) (__extension__({ \
    int warn_on_ = !!(condition); \
    if (unlikely(warn_on_)) \
        TDPMMU_KERNEL_WARN(__func__, #condition); \
    warn_on_; \
}))
#endif
#ifndef WARN_ON_ONCE
#define WARN_ON_ONCE(condition) (__extension__({ \
    static bool warn_once_; \
    int warn_on_ = !!(condition); \
    if (unlikely(warn_on_) && !__atomic_exchange_n(&warn_once_, true, __ATOMIC_RELAXED)) \
        TDPMMU_KERNEL_WARN(__func__, #condition); \
    warn_on_; \
}))
#endif
#ifndef BUG_ON
#define BUG_ON(condition) ((void)WARN_ON(condition))
#endif
#ifndef pr_err
#define pr_err(...) fprintf(stderr, "libtdpmmu: " __VA_ARGS__)
#endif
#define KVM_BUG_ON(condition, kvm) WARN_ON(condition)
/* As in a kernel that is not to prove its MMU, unless TDPMMU_PROVE_MMU is defined. */
#ifdef TDPMMU_PROVE_MMU
#define KVM_MMU_WARN_ON(condition) WARN_ON(condition)
#else
#define KVM_MMU_WARN_ON(condition) ((void)sizeof((long)(condition)))
#endif

/* Private: picks the 2nd, 3rd, ... of names by the number of arguments that came before them. */
#define TDPMMU_PICK_9(a1, a2, a3, a4, a5, a6, a7, a8, name, ...) name

/* ---- locks -------------------------------------------------------------------------------------- */
#define lockdep_assert_held_read(lock) ((void)WARN_ON(!tdpmmu_read_lock_held(lock)))
#define lockdep_assert_held_write(lock) ((void)WARN_ON(!tdpmmu_write_lock_held(lock)))
#define lockdep_assert_held(lock) ((void)WARN_ON(!tdpmmu_read_lock_held(lock) && !tdpmmu_write_lock_held(lock)))

#define lockdep_assert_not_held(lock) ((void)WARN_ON(tdpmmu_read_lock_held(lock) || tdpmmu_write_lock_held(lock)))

/* Is true, so that it may stand in a condition. */
static inline bool kvm_lockdep_assert_mmu_lock_held(struct kvm *kvm, bool shared)
{
    if (shared)
        lockdep_assert_held_read(&kvm->mmu_lock);
    else
        lockdep_assert_held_write(&kvm->mmu_lock);
    return true;
}

/* ---- a VM's masks -------------------------------------------------------------------------------- */
#ifndef TDPMMU_THIS_VM
#define TDPMMU_THIS_VM kvm
#endif
#define shadow_accessed_mask (TDPMMU_THIS_VM->facts->accessed)
#define shadow_dirty_mask (TDPMMU_THIS_VM->facts->dirty)
#define shadow_host_writable_mask (TDPMMU_THIS_VM->facts->host_writable)
#define shadow_mmu_writable_mask (TDPMMU_THIS_VM->facts->mmu_writable)
#define shadow_x_mask (TDPMMU_THIS_VM->facts->execute)
#define shadow_nx_mask (TDPMMU_THIS_VM->facts->no_execute)
#define shadow_acc_track_mask (TDPMMU_THIS_VM->facts->access_track)
#define shadow_mmio_value (TDPMMU_THIS_VM->facts->mmio_value)
#define shadow_mmio_mask (TDPMMU_THIS_VM->facts->mmio_mask)
#define kvm_ad_enabled() (shadow_accessed_mask != 0)
#define tdp_mmu_max_gfn_exclusive() (TDPMMU_THIS_VM->facts->gfn_limit)
#define kvm_mmu_max_gfn() (tdp_mmu_max_gfn_exclusive() - 1)

#define SPTE_MMU_PRESENT_MASK BIT_ULL(11)
#define PT_PRESENT_MASK BIT_ULL(0)
#define PT_WRITABLE_MASK BIT_ULL(1)
#define PT_PAGE_SIZE_MASK BIT_ULL(7)
#define SPTE_TDP_AD_MASK (UINT64_C(3) << 52)
#define SPTE_TDP_AD_ENABLED UINT64_C(0)
#define SPTE_TDP_AD_DISABLED (UINT64_C(1) << 52)
#define SPTE_TDP_AD_WRPROT_ONLY (UINT64_C(2) << 52)
#define SPTE_BASE_ADDR_MASK UINT64_C(0x000ffffffffff000)
#define SHADOW_ACC_TRACK_SAVED_BITS_MASK UINT64_C(5)
#define SHADOW_ACC_TRACK_SAVED_BITS_SHIFT 54
#define ACC_EXEC_MASK 1
#define ACC_WRITE_MASK 2
#define ACC_USER_MASK 4
#define ACC_ALL (ACC_EXEC_MASK | ACC_WRITE_MASK | ACC_USER_MASK)

static inline gfn_t gfn_round_for_level(gfn_t gfn, int level)
{
    return gfn & -KVM_PAGES_PER_HPAGE(level);
}

static inline int spte_index(const uint64_t *sptep)
{
    return (int)(((uintptr_t)sptep / sizeof(*sptep)) & (SPTE_ENT_PER_PAGE - 1));
}

static inline bool is_nx_huge_page_enabled(struct kvm *kvm)
{
    return __atomic_load_n((const uint8_t *)kvm->facts->nx_huge_pages, __ATOMIC_RELAXED) != 0;
}

/* ---- what an SPTE says: with the VM as first argument, or of TDPMMU_THIS_VM ------------------------ */
static inline bool spte_ad_enabled(uint64_t spte) { return (spte & SPTE_TDP_AD_MASK) != SPTE_TDP_AD_DISABLED; }
static inline bool spte_ad_need_write_protect(uint64_t spte) { return (spte & SPTE_TDP_AD_MASK) != SPTE_TDP_AD_ENABLED; }

static inline bool tdpmmu_spte_is_tracked(const struct tdpmmu_facts *facts, uint64_t spte)
{
    return !spte_ad_enabled(spte) && (spte & facts->access_track) == 0;
}

static inline bool tdpmmu_spte_is_accessed(const struct tdpmmu_facts *facts, uint64_t spte)
{
    return spte_ad_enabled(spte) && facts->accessed ? (spte & facts->accessed) != 0 : !tdpmmu_spte_is_tracked(facts, spte);
}

static inline bool tdpmmu_spte_is_dirty(const struct tdpmmu_facts *facts, uint64_t spte)
{
    return (spte & (spte_ad_enabled(spte) && facts->dirty ? facts->dirty : PT_WRITABLE_MASK)) != 0;
}

static inline bool tdpmmu_spte_is_executable(const struct tdpmmu_facts *facts, uint64_t spte)
{
    return (spte & (facts->execute | facts->no_execute)) == facts->execute;
}

static inline bool tdpmmu_spte_is_volatile(const struct tdpmmu_facts *facts, uint64_t spte)
{
    if (!is_writable_pte(spte) && (spte & facts->mmu_writable))
        return true;
    if (!spte_ad_enabled(spte))
        return tdpmmu_spte_is_tracked(facts, spte);
    return !(spte & facts->accessed) || (is_writable_pte(spte) && !(spte & facts->dirty));
}

/* Private: what restores the rights of a tracked leaf, all but W. */
static inline uint64_t tdpmmu_spte_restored(const struct tdpmmu_facts *facts, uint64_t spte)
{
    uint64_t saved = (spte >> SHADOW_ACC_TRACK_SAVED_BITS_SHIFT) & SHADOW_ACC_TRACK_SAVED_BITS_MASK;

    spte &= ~(facts->access_track | SHADOW_ACC_TRACK_SAVED_BITS_MASK << SHADOW_ACC_TRACK_SAVED_BITS_SHIFT);
    return spte | saved;
}

/* Private: so that the next access shows. */
static inline uint64_t tdpmmu_spte_tracked(const struct tdpmmu_facts *facts, uint64_t spte)
{
    if (spte_ad_enabled(spte))
        return spte & ~facts->accessed;
    if (tdpmmu_spte_is_tracked(facts, spte))
        return spte;
    spte |= (spte & SHADOW_ACC_TRACK_SAVED_BITS_MASK) << SHADOW_ACC_TRACK_SAVED_BITS_SHIFT;
    return spte & ~facts->access_track;
}

/* Private: may be executed (or not), now or, of a tracked leaf, once it is restored. */
static inline uint64_t tdpmmu_spte_with_execute(const struct tdpmmu_facts *facts, uint64_t spte, bool on)
{
    bool is_tracked = tdpmmu_spte_is_tracked(facts, spte);

    if (is_tracked)
        spte = tdpmmu_spte_restored(facts, spte);
    spte = on ? (spte & ~facts->no_execute) | facts->execute : (spte & ~facts->execute) | facts->no_execute;
    return is_tracked ? tdpmmu_spte_tracked(facts, spte) : spte;
}

#define TDPMMU_OF_SPTE(inlined, ...) \
    TDPMMU_PICK_9(__VA_ARGS__, 0, 0, 0, 0, 0, 0, TDPMMU_OF_VM, TDPMMU_OF_THIS, 0)(inlined, __VA_ARGS__)
#define TDPMMU_OF_VM(inlined, vm, spte) inlined((vm)->facts, (spte))
#define TDPMMU_OF_THIS(inlined, spte) inlined(TDPMMU_THIS_VM->facts, (spte))
/* Of a shadow-present SPTE; tdp_iter.h's functions of the same names also take others. */
#define is_accessed_spte(...) TDPMMU_OF_SPTE(tdpmmu_spte_is_accessed, __VA_ARGS__)
#define is_dirty_spte(...) TDPMMU_OF_SPTE(tdpmmu_spte_is_dirty, __VA_ARGS__)
#define is_executable_pte(...) TDPMMU_OF_SPTE(tdpmmu_spte_is_executable, __VA_ARGS__)
#define is_access_track_spte(...) TDPMMU_OF_SPTE(tdpmmu_spte_is_tracked, __VA_ARGS__)
#define spte_has_volatile_bits(...) TDPMMU_OF_SPTE(tdpmmu_spte_is_volatile, __VA_ARGS__)
#define mark_spte_for_access_track(...) TDPMMU_OF_SPTE(tdpmmu_spte_tracked, __VA_ARGS__)
#define restore_acc_track_spte(...) TDPMMU_OF_SPTE(tdpmmu_spte_restored, __VA_ARGS__)
#define is_mmu_writable_spte(spte) (((spte) & shadow_mmu_writable_mask) != 0)
#define is_host_writable_spte(spte) (((spte) & shadow_host_writable_mask) != 0)
#define spte_shadow_accessed_mask(spte) (spte_ad_enabled(spte) ? shadow_accessed_mask : 0)
#define spte_shadow_dirty_mask(spte) (spte_ad_enabled(spte) ? shadow_dirty_mask : 0)

/* ---- pages of tables ---------------------------------------------------------------------------------- */
static inline int kvm_mmu_role_as_id(union kvm_mmu_page_role role) { return role.smm ? 1 : 0; }
static inline int kvm_mmu_page_as_id(const struct kvm_mmu_page *sp) { return kvm_mmu_role_as_id(sp->role); }
static inline bool is_tdp_mmu_page(const struct kvm_mmu_page *sp) { return sp->tdp_mmu_page; }
static inline struct kvm_mmu_page *root_to_sp(hpa_t root) { return to_shadow_page(root & SPTE_BASE_ADDR_MASK); }
static inline bool is_tdp_mmu_root(hpa_t root)
{
    struct kvm_mmu_page *sp = root_to_sp(root);

    return sp && is_tdp_mmu_page(sp);
}
static inline bool sp_ad_disabled(const struct kvm_mmu_page *sp) { return sp->role.ad_disabled; }
static inline struct kvm_mmu_page *spte_to_child_sp(uint64_t spte) { return root_to_sp(spte); }
/* Must dirty logging take W away, since there is no Dirty bit?  The same of all tables of a VM. */
static inline bool tdp_mmu_need_write_protect(const struct kvm_mmu_page *sp) { return sp->kvm->facts->dirty == 0; }

/* ---- slots and walks without a lock ------------------------------------------------------------------------ */
static inline bool kvm_slot_dirty_track_enabled(const struct kvm_memory_slot *slot)
{
    return (slot->flags & KVM_MEM_LOG_DIRTY_PAGES) != 0;
}
static inline void mark_page_dirty_in_slot(struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn)
{
    if (slot && kvm_slot_dirty_track_enabled(slot))
        tdpmmu_mark_page_dirty(kvm, slot->as_id, gfn);
}
static inline void kvm_tdp_mmu_walk_lockless_begin(void) { rcu_read_lock(); }
static inline void kvm_tdp_mmu_walk_lockless_end(void) { rcu_read_unlock(); }

/* ---- SPTEs that are made --------------------------------------------------------------------------------- */
/*
 * The leaf of sp's level that maps gfn to pfn, as the library's own faults make it, in *new_spte; a page that becomes
 * writable in a logged slot is marked dirty.  Returns false: no gfn is tracked for writes here.  can_unsync means
 * nothing.  Follows make_spte().
 */
static inline bool make_spte(struct kvm_vcpu *vcpu, struct kvm_mmu_page *sp, const struct kvm_memory_slot *slot,
                             unsigned int pte_access, gfn_t gfn, kvm_pfn_t pfn, uint64_t old_spte, bool prefetch,
                             bool can_unsync, bool host_writable, uint64_t *new_spte)
{
    const struct tdpmmu_facts *facts = sp->kvm->facts;
    const int level = (int)sp->role.level;
    uint64_t spte = facts->leaf_bits | facts->accessed | (uint64_t)pfn << PAGE_SHIFT;

    (void)vcpu;
    (void)can_unsync;
    if (level > PG_LEVEL_4K)
        spte |= PT_PAGE_SIZE_MASK;
    if (!(pte_access & ACC_EXEC_MASK) || (level > PG_LEVEL_4K && is_nx_huge_page_enabled(sp->kvm)))
        spte = (spte & ~facts->execute) | facts->no_execute;
    if (host_writable)
        spte |= facts->host_writable;
    if (host_writable && (pte_access & ACC_WRITE_MASK)) {
        spte |= PT_WRITABLE_MASK | facts->mmu_writable;
        if (!(is_last_spte(old_spte, level) && is_writable_pte(old_spte)))
            spte |= facts->dirty;
    }
    if (prefetch)
        spte = tdpmmu_spte_tracked(facts, spte);
    if (is_writable_pte(spte))
        mark_page_dirty_in_slot(sp->kvm, slot, gfn);
    *new_spte = spte;
    return false;
}

/* The entry that points to a table, by its page: one that is linked or was. */
#define make_nonleaf_spte(child_pt, ad_disabled) \
    ((void)(ad_disabled), TDPMMU_THIS_VM->facts->table_bits | tdpmmu_table_hpa(sptep_to_sp(child_pt)))

/* Of the address space that the vCPU is in, with the generation of its slots. */
static inline uint64_t make_mmio_spte(struct kvm_vcpu *vcpu, uint64_t gfn, unsigned int access)
{
    struct kvm *kvm = tdpmmu_vcpu_kvm(vcpu);
    const struct tdpmmu_facts *facts = kvm->facts;
    const uint64_t generation = tdpmmu_memslots_generation(kvm, tdpmmu_vcpu_as_id(vcpu));
    const uint64_t gpa = gfn << PAGE_SHIFT;

    return (generation & 0xff) << 3 | (generation >> 8 & 0x7ff) << 52 | facts->mmio_value | (access & facts->mmio_access) |
           gpa | facts->l1tf_mask | (gpa & facts->l1tf_mask) << 5;
}

/* The index-th of the 512 entries, of the role that their table will have, that map what huge_spte does. */
static inline uint64_t make_huge_page_split_spte(struct kvm *kvm, uint64_t huge_spte, union kvm_mmu_page_role role, int index)
{
    uint64_t child = huge_spte | ((uint64_t)index * KVM_PAGES_PER_HPAGE((int)role.level)) << PAGE_SHIFT;

    if (role.level != PG_LEVEL_4K)
        return child;
    child &= ~PT_PAGE_SIZE_MASK;
    if (tdpmmu_spte_is_executable(kvm->facts, child) || !(role.access & ACC_EXEC_MASK) || !is_nx_huge_page_enabled(kvm))
        return child;
    return tdpmmu_spte_with_execute(kvm->facts, child, true);
}

/* The huge leaf at level in whose place small_spte, of one level below, is somewhere.  Follows make_huge_spte() of 6.13. */
static inline uint64_t make_huge_spte(struct kvm *kvm, uint64_t small_spte, int level)
{
    uint64_t huge = (small_spte | PT_PAGE_SIZE_MASK) & ~((KVM_PAGES_PER_HPAGE(level) - 1) << PAGE_SHIFT);

    return is_nx_huge_page_enabled(kvm) ? tdpmmu_spte_with_execute(kvm->facts, huge, false) : huge;
}

/* ---- walks ----------------------------------------------------------------------------------------------------- */
/* A walk from a root's header, as 6.12 has it.  NULL: a walk that is over. */
static inline void tdpmmu_iter_start_sp(struct tdp_iter *iter, struct kvm_mmu_page *root, int min_level, gfn_t gfn)
{
    if (!WARN_ON(!root)) {
        tdp_iter_start(iter, root->spt, (int)root->role.level, min_level, gfn);
        return;
    }
    iter->gfn = gfn;
    iter->root_level = 0;
    iter->valid = iter->yielded = false;
}

#define TDPMMU_ITER_START_5(iter, root_pt, root_level, min_level, gfn) (tdp_iter_start)((iter), (root_pt), (root_level), (min_level), (gfn))
#define TDPMMU_ITER_START_4(iter, root, min_level, gfn) tdpmmu_iter_start_sp((iter), (root), (min_level), (gfn))
#define tdp_iter_start(...) \
    TDPMMU_PICK_9(__VA_ARGS__, 0, 0, 0, TDPMMU_ITER_START_5, TDPMMU_ITER_START_4, 0, 0, 0, 0)(__VA_ARGS__)

#define TDPMMU_STEPS(iter, end) (((iter).gfn < (end)) & (iter).valid); tdp_iter_next(&(iter))
#undef for_each_tdp_pte_min_level
#define TDPMMU_EACH_MIN_6(iter, root_pt, root_level, min_level, start, end) \
    for (tdp_iter_start(&(iter), (root_pt), (root_level), (min_level), (start)); TDPMMU_STEPS(iter, end))
#define TDPMMU_EACH_MIN_5(iter, root, min_level, start, end) \
    for (tdp_iter_start(&(iter), (root), (min_level), (start)); TDPMMU_STEPS(iter, end))
#define for_each_tdp_pte_min_level(...) \
    TDPMMU_PICK_9(__VA_ARGS__, 0, 0, TDPMMU_EACH_MIN_6, TDPMMU_EACH_MIN_5, 0, 0, 0, 0, 0)(__VA_ARGS__)
#undef for_each_tdp_pte
#define TDPMMU_EACH_5(iter, root_pt, root_level, start, end) \
    TDPMMU_EACH_MIN_6(iter, root_pt, root_level, PG_LEVEL_4K, start, end)
#define TDPMMU_EACH_4(iter, root, start, end) TDPMMU_EACH_MIN_5(iter, root, PG_LEVEL_4K, start, end)
#define for_each_tdp_pte(...) TDPMMU_PICK_9(__VA_ARGS__, 0, 0, 0, TDPMMU_EACH_5, TDPMMU_EACH_4, 0, 0, 0, 0)(__VA_ARGS__)

#define tdp_root_for_each_pte(iter, root, start, end) TDPMMU_EACH_4(iter, root, start, end)
#define tdp_root_for_each_leaf_pte(iter, root, start, end) \
    tdp_root_for_each_pte(iter, root, start, end) \
        if (!is_shadow_present_pte((iter).old_spte) || !is_last_spte((iter).old_spte, (iter).level)) \
            continue; \
        else
/* mmu: a struct kvm_mmu, as tdpmmu_view_vcpu() has it. */
#define tdp_mmu_for_each_pte(iter, mmu, start, end) TDPMMU_EACH_4(iter, root_to_sp((mmu)->root.hpa), start, end)

/*
 * Give way: see tdpmmu_iter_yield(), which is asked where there may be a reason.  Whoever gets true goes on with the
 * loop's next step (continue), whatever he knew of the entry; a flush that was owed has been made.  Three arguments: as in
 * 5.12, under Lock W.
 */
static inline bool __must_check tdpmmu_iter_cond_resched(struct kvm *kvm, struct tdp_iter *iter, bool flush, bool shared)
{
    const uint32_t state = __atomic_load_n(&kvm->mmu_lock.state, __ATOMIC_RELAXED);

    if (iter->next_last_level_gfn == iter->yielded_gfn)
        return false;
    /* Does a thread wait (bit 30), or a writer for readers that count themselves elsewhere (31 with 29)? */
    if (!kvm->facts->asks_to_yield && !(state & UINT32_C(1) << 30) && (state >> 29 & 5) != 5)
        return false;
    return tdpmmu_iter_yield(kvm, iter, flush, shared);
}
#define TDPMMU_COND_RESCHED_4(kvm, iter, flush, shared) tdpmmu_iter_cond_resched((kvm), (iter), (flush), (shared))
#define TDPMMU_COND_RESCHED_3(kvm, iter, flush) tdpmmu_iter_cond_resched((kvm), (iter), (flush), false)
#define tdp_mmu_iter_cond_resched(...) \
    TDPMMU_PICK_9(__VA_ARGS__, 0, 0, 0, 0, TDPMMU_COND_RESCHED_4, TDPMMU_COND_RESCHED_3, 0, 0, 0)(__VA_ARGS__)

/* ---- roots -------------------------------------------------------------------------------------------------------- */
/* The root after prev, or the first, with a reference; prev's is dropped.  NULL: no more.  Under mmu_lock. */
static inline struct kvm_mmu_page *tdp_mmu_next_root(struct kvm *kvm, struct kvm_mmu_page *prev, bool only_valid)
{
    struct kvm_mmu_page *root;

    lockdep_assert_held(&kvm->mmu_lock);
    rcu_read_lock();
    /* Acquire: pairs with the release that listed the root; it is seen whole. */
    root = __atomic_load_n(prev ? &prev->next : (struct kvm_mmu_page **)(uintptr_t)kvm->facts->first_root, __ATOMIC_ACQUIRE);
    while (root && ((only_valid && root->role.invalid) || !kvm_tdp_mmu_get_root(root)))
        root = __atomic_load_n(&root->next, __ATOMIC_ACQUIRE);
    rcu_read_unlock();
    if (prev)
        kvm_tdp_mmu_put_root(kvm, prev);
    return root;
}

/* Private: the same without references: under Lock W, and no yield. */
static inline struct kvm_mmu_page *tdpmmu_root_after(struct kvm *kvm, struct kvm_mmu_page *prev)
{
    /* Acquire: as in tdp_mmu_next_root(). */
    return __atomic_load_n(prev ? &prev->next : (struct kvm_mmu_page **)(uintptr_t)kvm->facts->first_root, __ATOMIC_ACQUIRE);
}

/*
 * Loops over roots.  The _yield_safe ones hold a reference to the root they are at, so the body may give way.  A body
 * that leaves the loop by break, goto or return still has that reference: kvm_tdp_mmu_put_root(kvm, root) is its
 * business.  One that ends by itself has none.  The others hold none, want Lock W and must not give way.
 * as_id: an address space, or -1 for both.
 */
#define __for_each_tdp_mmu_root_yield_safe(kvm_, root_, as_id_, only_valid_) \
    for (root_ = tdp_mmu_next_root(kvm_, NULL, only_valid_); root_; root_ = tdp_mmu_next_root(kvm_, root_, only_valid_)) \
        if ((as_id_) >= 0 && kvm_mmu_page_as_id(root_) != (as_id_)) { \
        } else
#define for_each_valid_tdp_mmu_root_yield_safe(kvm_, root_, as_id_) \
    __for_each_tdp_mmu_root_yield_safe(kvm_, root_, as_id_, true)
#define TDPMMU_EACH_ROOT_SAFE_3(kvm_, root_, as_id_) __for_each_tdp_mmu_root_yield_safe(kvm_, root_, as_id_, false)
#define TDPMMU_EACH_ROOT_SAFE_2(kvm_, root_) TDPMMU_EACH_ROOT_SAFE_3(kvm_, root_, -1)
#define for_each_tdp_mmu_root_yield_safe(...) \
    TDPMMU_PICK_9(__VA_ARGS__, 0, 0, 0, 0, 0, TDPMMU_EACH_ROOT_SAFE_3, TDPMMU_EACH_ROOT_SAFE_2, 0, 0)(__VA_ARGS__)
#define __for_each_tdp_mmu_root(kvm_, root_, as_id_, only_valid_) \
    for (root_ = tdpmmu_root_after(kvm_, NULL); root_; root_ = tdpmmu_root_after(kvm_, root_)) \
        if (kvm_lockdep_assert_mmu_lock_held(kvm_, false) && \
            (((as_id_) >= 0 && kvm_mmu_page_as_id(root_) != (as_id_)) || ((only_valid_) && root_->role.invalid))) { \
        } else
#define TDPMMU_EACH_ROOT_3(kvm_, root_, as_id_) __for_each_tdp_mmu_root(kvm_, root_, as_id_, false)
#define TDPMMU_EACH_ROOT_2(kvm_, root_) TDPMMU_EACH_ROOT_3(kvm_, root_, -1)
#define for_each_tdp_mmu_root(...) \
    TDPMMU_PICK_9(__VA_ARGS__, 0, 0, 0, 0, 0, TDPMMU_EACH_ROOT_3, TDPMMU_EACH_ROOT_2, 0, 0)(__VA_ARGS__)
#define for_each_valid_tdp_mmu_root(kvm_, root_, as_id_) __for_each_tdp_mmu_root(kvm_, root_, as_id_, true)

/* ---- changes ----------------------------------------------------------------------------------------------------------- */
/* Private: an iterator that stands on an entry, for who has only its address. */
static inline struct kvm *tdpmmu_iter_at(struct tdp_iter *iter, tdp_ptep_t sptep, uint64_t old_spte, int level)
{
    struct kvm_mmu_page *sp = sptep_to_sp(sptep);

    iter->sptep = sptep;
    iter->old_spte = old_spte;
    iter->level = level;
    iter->gfn = sp ? sp->gfn + (uint64_t)spte_index(sptep) * KVM_PAGES_PER_HPAGE(level) : 0;
    iter->as_id = sp ? kvm_mmu_page_as_id(sp) : 0;
    iter->yielded = false;
    return sp ? sp->kvm : NULL;
}

/* Acquire: pairs with the release of a change, so that the entries of a table that is seen are seen as well. */
static inline uint64_t kvm_tdp_mmu_read_spte(tdp_ptep_t sptep) { return __atomic_load_n(sptep, __ATOMIC_ACQUIRE); }

/* Under Lock R.  0, -EBUSY with iter->old_spte as it is now, -EINVAL. */
static inline int __must_check tdp_mmu_set_spte_atomic(struct kvm *kvm, struct tdp_iter *iter, uint64_t new_spte)
{
    return tdpmmu_set_spte(kvm, iter, new_spte, TDPMMU_SET_SHARED);
}

/* Under Lock R.  The same, to nothing, with the flush. */
static inline int __must_check tdp_mmu_zap_spte_atomic(struct kvm *kvm, struct tdp_iter *iter)
{
    return tdpmmu_set_spte(kvm, iter, SHADOW_NONPRESENT_VALUE, TDPMMU_SET_ZAP);
}

/* Under Lock W.  iter->old_spte is what was there. */
static inline void tdp_mmu_iter_set_spte(struct kvm *kvm, struct tdp_iter *iter, uint64_t new_spte)
{
    (void)tdpmmu_set_spte(kvm, iter, new_spte, TDPMMU_SET_ALONE);
}

/* Private: under Lock W.  Returns what was there. */
static inline uint64_t tdpmmu_set_spte_at(struct kvm *kvm, int as_id, tdp_ptep_t sptep, uint64_t old_spte,
                                          uint64_t new_spte, gfn_t gfn, int level)
{
    struct tdp_iter iter;

    iter.as_id = as_id;
    iter.sptep = sptep;
    iter.old_spte = old_spte;
    iter.gfn = gfn;
    iter.level = level;
    iter.yielded = false;
    (void)tdpmmu_set_spte(kvm, &iter, new_spte, TDPMMU_SET_ALONE);
    return iter.old_spte;
}

/* Seven arguments: 6.12; three, an iterator among them: 5.12 and the patch. */
#define TDPMMU_SET_SPTE_7(kvm, as_id, sptep, old_spte, new_spte, gfn, level) \
    tdpmmu_set_spte_at((kvm), (as_id), (sptep), (old_spte), (new_spte), (gfn), (level))
#define TDPMMU_SET_SPTE_3(kvm, iter, new_spte) tdp_mmu_iter_set_spte((kvm), (iter), (new_spte))
#define tdp_mmu_set_spte(...) \
    TDPMMU_PICK_9(__VA_ARGS__, 0, TDPMMU_SET_SPTE_7, 0, 0, 0, TDPMMU_SET_SPTE_3, 0, 0, 0)(__VA_ARGS__)

/* Under Lock W.  An exchange where a CPU or a fast fault may set a bit meanwhile, else a store.  Returns what was there. */
static inline uint64_t kvm_tdp_mmu_write_spte(tdp_ptep_t sptep, uint64_t old_spte, uint64_t new_spte, int level)
{
    struct tdp_iter iter;
    struct kvm *kvm = tdpmmu_iter_at(&iter, sptep, old_spte, level);

    (void)tdpmmu_set_spte(kvm, &iter, new_spte, TDPMMU_SET_ALONE);
    return iter.old_spte;
}

/*
 * Inside RCU, or under Lock W, beside CPUs, faults and aging: the bits of mask go, whatever else is set or cleared meanwhile.
 * Returns what was there before; if that is no leaf any more, nothing was done.
 */
static inline uint64_t tdp_mmu_clear_spte_bits(tdp_ptep_t sptep, uint64_t old_spte, uint64_t mask, int level)
{
    struct tdp_iter iter;

    iter.sptep = sptep;
    iter.old_spte = old_spte;
    iter.level = level;
    iter.yielded = false;
    while (is_shadow_present_pte(iter.old_spte) && is_last_spte(iter.old_spte, level) && (iter.old_spte & mask) &&
           tdpmmu_set_spte(NULL, &iter, iter.old_spte & ~mask, TDPMMU_SET_BITS_AT) == -EBUSY) {
    }
    return iter.old_spte;
}

/*
 * The patch's, for bits of a leaf that stays.  In its kernel the full change marked pages dirty and accessed, and these
 * left the one or the other out; here nothing is marked by a change.
 */
static inline void tdp_mmu_set_spte_no_dirty_log(struct kvm *kvm, struct tdp_iter *iter, uint64_t new_spte)
{
    tdp_mmu_iter_set_spte(kvm, iter, new_spte);
}
static inline void tdp_mmu_set_spte_no_acc_track(struct kvm *kvm, struct tdp_iter *iter, uint64_t new_spte)
{
    tdp_mmu_iter_set_spte(kvm, iter, new_spte);
}

/* ---- flushes -------------------------------------------------------------------------------------------------------------- */
static inline void kvm_flush_remote_tlbs_gfn(struct kvm *kvm, gfn_t gfn, int level)
{
    kvm_flush_remote_tlbs_range(kvm, gfn_round_for_level(gfn, level), KVM_PAGES_PER_HPAGE(level));
}

/* ---- tables ---------------------------------------------------------------------------------------------------------------- */
/* A table that is linked nowhere.  NULL without memory, which the kernel's of a vCPU never says. */
static inline struct kvm_mmu_page *tdp_mmu_alloc_sp(struct kvm_vcpu *vcpu) { return tdpmmu_alloc_sp(tdpmmu_vcpu_kvm(vcpu)); }
#define tdp_mmu_alloc_sp_for_split(...) tdpmmu_alloc_sp(TDPMMU_THIS_VM)

/* Says what the table will be; before it is linked. */
static inline void tdp_mmu_init_sp(struct kvm_mmu_page *sp, tdp_ptep_t sptep, gfn_t gfn, union kvm_mmu_page_role role)
{
    sp->role = role;
    sp->gfn = gfn;
    sp->ptep = sptep;
}

/* For the entry that iter stands on. */
static inline void tdp_mmu_init_child_sp(struct kvm_mmu_page *child_sp, struct tdp_iter *iter)
{
    struct kvm_mmu_page *parent_sp = sptep_to_sp(iter->sptep);
    union kvm_mmu_page_role role = { 0 };

    if (WARN_ON(!child_sp || !parent_sp))
        return;
    role.word = __atomic_load_n(&parent_sp->role.word, __ATOMIC_RELAXED);
    role.level--;
    tdp_mmu_init_sp(child_sp, iter->sptep, iter->gfn, role);
}

/* Under Lock R (shared) or W, inside RCU.  0, or the table is still the caller's: -EBUSY, -EINVAL. */
static inline int tdp_mmu_link_sp(struct kvm *kvm, struct tdp_iter *iter, struct kvm_mmu_page *sp, bool shared)
{
    return tdpmmu_link_sp(kvm, iter, sp, shared);
}

/* The same after sp was filled with what the huge leaf maps that iter stands on. */
static inline int tdp_mmu_split_huge_page(struct kvm *kvm, struct tdp_iter *iter, struct kvm_mmu_page *sp, bool shared)
{
    int i;

    for (i = 0; i < SPTE_ENT_PER_PAGE; i++)
        sp->spt[i] = make_huge_page_split_spte(kvm, iter->old_spte, sp->role, i);
    return tdp_mmu_link_sp(kvm, iter, sp, shared);
}

/* One that was not linked. */
static inline void tdp_mmu_free_sp(struct kvm_mmu_page *sp) { tdpmmu_free_sp(sp); }

/* ---- a vCPU as the kernel's functions see it ----------------------------------------------------------------------------------- */
struct kvm_mmu {
    struct {
        hpa_t hpa; /* INVALID_PAGE: none */
    } root;
    union kvm_mmu_page_role root_role;
};

/* A copy, to be written `vcpu->kvm` and `vcpu->arch.mmu->root.hpa` of.  Say `#define kvm_vcpu tdpmmu_vcpu_view` around such a function. */
struct tdpmmu_vcpu_view {
    struct kvm *kvm;
    struct {
        struct kvm_mmu *mmu;
        struct kvm_mmu root_mmu;
    } arch;
};

/* Private: as the vCPU stands now; its root is there as long as RCU, mmu_lock or the thread that drives the vCPU keeps it. */
static inline void tdpmmu_view_vcpu(struct kvm_vcpu *vcpu, struct tdpmmu_vcpu_view *view)
{
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(vcpu);
    union kvm_mmu_page_role none = { 0 };

    view->kvm = tdpmmu_vcpu_kvm(vcpu);
    view->arch.mmu = &view->arch.root_mmu;
    view->arch.root_mmu.root.hpa = root ? tdpmmu_table_hpa(root) : INVALID_PAGE;
    view->arch.root_mmu.root_role = root ? root->role : none;
}

/* ---- what the library does where an entry changes ---------------------------------------------------------------------------------- */
#define trace_kvm_tdp_mmu_spte_changed(as_id, gfn, level, old_spte, new_spte) \
    ((void)(as_id), (void)(gfn), (void)(level), (void)(old_spte), (void)(new_spte))
#define trace_kvm_mmu_split_huge_page(gfn, spte, level, ret) ((void)(gfn), (void)(spte), (void)(level), (void)(ret))
#define kvm_update_page_stats(kvm, level, count) ((void)(kvm), (void)(level), (void)(count))
#define kvm_set_pfn_dirty(pfn) ((void)(pfn))
#define kvm_set_pfn_accessed(pfn) ((void)(pfn))

TDPMMU_END_DECLS

#endif
