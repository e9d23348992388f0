/* SPDX-License-Identifier: GPL-2.0-only */
/* SPTEs seen from outside, and the iterator that walks them. */
#ifndef TDPMMU_TDP_ITER_H
#define TDPMMU_TDP_ITER_H

#include "rcu.h"
#include "types.h"

TDPMMU_BEGIN_DECLS

/* What a non-present entry holds, and one that a thread is about to replace. */
#define SHADOW_NONPRESENT_VALUE (UINT64_C(1) << 63)
#define FROZEN_SPTE (SHADOW_NONPRESENT_VALUE | UINT64_C(0x5a0))

/*
 * What an SPTE says by bits that mean the same in EPT and NPT: is it present (bit 11), a leaf above 4K (bit 7),
 * a leaf at this level if present (level: 1 to 5), frozen, writable (bit 1)?  spte: its value; no VM is needed.
 * Returns the answer; of spte_to_pfn() bits 51:12, the pfn.  Any lock.
 */
bool is_shadow_present_pte(uint64_t spte);   /* bit 11 */
bool is_large_pte(uint64_t spte);            /* bit 7: a leaf above 4K */
bool is_last_spte(uint64_t spte, int level); /* a leaf, if present */
bool is_frozen_spte(uint64_t spte);
bool is_writable_pte(uint64_t spte);         /* bit 1 */
kvm_pfn_t spte_to_pfn(uint64_t spte);        /* bits 51:12 */

#if TDPMMU_RCU_INLINE
/* gnu_inline: inlined where the compiler likes, else the exported function. */
extern inline __attribute__((gnu_inline, always_inline)) bool is_shadow_present_pte(uint64_t spte)
{
    return (spte & (1 << 11)) != 0;
}

extern inline __attribute__((gnu_inline, always_inline)) bool is_large_pte(uint64_t spte)
{
    return (spte & (1 << 7)) != 0;
}

extern inline __attribute__((gnu_inline, always_inline)) bool is_last_spte(uint64_t spte, int level)
{
    return level == PG_LEVEL_4K || is_large_pte(spte);
}

extern inline __attribute__((gnu_inline, always_inline)) bool is_frozen_spte(uint64_t spte)
{
    return spte == FROZEN_SPTE;
}

extern inline __attribute__((gnu_inline, always_inline)) bool is_writable_pte(uint64_t spte)
{
    return (spte & (1 << 1)) != 0;
}

extern inline __attribute__((gnu_inline, always_inline)) kvm_pfn_t spte_to_pfn(uint64_t spte)
{
    return (spte & UINT64_C(0x000ffffffffff000)) >> 12;
}
#endif

/*
 * What an SPTE says by bits that depend on the VM: is it an MMIO SPTE, a leaf that was accessed, one that was
 * written, one that may be executed?  spte: its value.  Without Accessed bits "accessed" is: not tracked for accesses; without Dirty
 * bits "dirty" is: writable.  Returns the answer; false for a NULL kvm.  Any lock.
 */
bool is_mmio_spte(struct kvm *kvm, uint64_t spte);
bool is_accessed_spte(struct kvm *kvm, uint64_t spte);
bool is_dirty_spte(struct kvm *kvm, uint64_t spte);
bool is_executable_pte(struct kvm *kvm, uint64_t spte);

/*
 * What an MMIO SPTE carries: the generation of the slots that it was made by (19 bits), and the gfn.  spte: its value.
 * Returns that; what it returns of another SPTE means nothing.  Any lock.
 */
uint64_t get_mmio_spte_generation(uint64_t spte);
gfn_t get_mmio_spte_gfn(struct kvm *kvm, uint64_t spte);

/*
 * Find the table that a present non-leaf SPTE points to.  spte: its value; level: of the entry that has it.
 * Returns the table's first entry, or NULL for a leaf, a non-present
 * SPTE, or an address that is none of the library's tables.  In RCU, or Lock R or W.
 * For as long as the result is used, that is.
 */
tdp_ptep_t spte_to_child_pt(uint64_t spte, int level);

/*
 * Find a table's header: of the table that an SPTE sits in, or of the table at a host-physical address.
 * Returns it, or NULL where there is no such table.  Any lock.
 */
struct kvm_mmu_page *sptep_to_sp(const uint64_t *sptep);
struct kvm_mmu_page *to_shadow_page(hpa_t hpa);

/*
 * The host-physical address of a table, as its parent's entry or a root pointer (EPTP, nCR3)
 * has it.  The inverse of to_shadow_page().  It is a table
 * only as long as RCU, mmu_lock or a reference to its root keeps it.
 * Returns INVALID_PAGE for what is no table.  Any lock.
 */
hpa_t tdpmmu_table_hpa(const struct kvm_mmu_page *sp);

/*
 * A pre-order walk: a table's entry is visited before the entries below it.
 * The caller owns the struct; read it, and leave writing to the functions.
 */
struct tdp_iter {
    gfn_t next_last_level_gfn; /* what the walk wants to reach next */
    gfn_t yielded_gfn;         /* next_last_level_gfn when the walk last yielded */
    tdp_ptep_t pt_path[PT64_ROOT_MAX_LEVEL]; /* tables from the root down, by level - 1 */
    tdp_ptep_t sptep;          /* the current entry */
    gfn_t gfn;                 /* first gfn it covers */
    int root_level;
    int min_level;             /* lowest level to visit */
    int level;                 /* of the current entry */
    int as_id;                 /* of the root */
    uint64_t old_spte;         /* the entry's value when last read */
    bool valid;                /* false once the walk is over */
    bool yielded;              /* mmu_lock was dropped: the next step restarts */
};

/*
 * Begin a walk at the entry that covers next_last_level_gfn, at the root level.
 * root_pt: a root table (sp->spt); root_level: its level; min_level: the lowest to visit, 1 to
 * root_level.  Bad arguments or neither reader nor lock: a warning, and iter->valid is
 * false.  In RCU, or Lock W.
 */
void tdp_iter_start(struct tdp_iter *iter, uint64_t *root_pt, int root_level, int min_level,
                    gfn_t next_last_level_gfn);

/*
 * Take one step of a walk: down if there is a table below, else aside, else up; after a yield,
 * restart.  Clears iter->valid at the end.  The reader or lock must be unbroken
 * since tdp_iter_start() or tdp_iter_restart(); without either a warning, and the walk
 * is over.  In RCU, or Lock W.
 */
void tdp_iter_next(struct tdp_iter *iter);

#if TDPMMU_RCU_INLINE
/* Private: the exported function by another name, for the inline to call. */
extern void tdpmmu_iter_next_exported(struct tdp_iter *iter) __asm__("tdp_iter_next");

/*
 * Private: an SPTE, read once.  As the compiler sees it, an atomic builtin may change all that is in memory, and each step would
 * store the iterator and load it again; a volatile read leaves what is known of it in registers.  What is found by the
 * value, a table's entries, depends on it, and so pairs with the release of a change, as for all reading of SPTEs.  What is
 * not found by it the compiler may read before: who wants that ordered puts a fence behind the step.
 */
extern inline __attribute__((gnu_inline, always_inline)) uint64_t tdpmmu_iter_read(const uint64_t *sptep)
{
    return *(const volatile uint64_t *)sptep;
}

/* Private: is there no way down from above the lowest level: none is wanted, or no table stands here, at a second look. */
extern inline __attribute__((gnu_inline, always_inline)) bool tdpmmu_iter_is_at_bottom(const struct tdp_iter *iter)
{
    uint64_t spte;

    if (iter->level < PG_LEVEL_4K || iter->level > PG_LEVEL_1G)
        return false;
    spte = tdpmmu_iter_read(iter->sptep);
    return iter->level == iter->min_level || !is_shadow_present_pte(spte) || is_large_pte(spte);
}

/*
 * The step aside to the next entry of the same table, which is 511 in 512, inside RCU; all else, and
 * what is to be complained of, is the exported function's.  Among 4K entries the place is reckoned from the gfn: what
 * was stored at one step and is loaded at the next, be it one field, makes the step last as long as that takes.
 */
extern inline __attribute__((gnu_inline, always_inline)) void tdp_iter_next(struct tdp_iter *iter)
{
    if (__builtin_expect(iter && iter->valid && !iter->yielded && iter->root_level > 0 &&
                         (*(const volatile uint64_t *)&tdpmmu_rcu_self.word & TDPMMU_RCU_NEST_MASK), 1)) {
        if (__builtin_expect(iter->level == PG_LEVEL_4K, 1)) {
            gfn_t next = iter->gfn + 1;

            if (__builtin_expect((next & 511) != 0, 1)) {
                tdp_ptep_t sptep = iter->pt_path[0] + (next & 511);

                iter->old_spte = tdpmmu_iter_read(sptep);
                iter->sptep = sptep;
                iter->gfn = next;
                iter->next_last_level_gfn = next;
                return;
            }
        } else if (((uintptr_t)iter->sptep & 4088) != 4088 && tdpmmu_iter_is_at_bottom(iter)) {
            iter->gfn += KVM_PAGES_PER_HPAGE(iter->level);
            iter->next_last_level_gfn = iter->gfn;
            iter->sptep++;
            iter->old_spte = tdpmmu_iter_read(iter->sptep);
            return;
        }
    }
    tdpmmu_iter_next_exported(iter);
}
#endif

/*
 * Walk again from the root to next_last_level_gfn: after RCU was left, nothing
 * else in the iterator may be used.  In RCU, or Lock W.
 */
void tdp_iter_restart(struct tdp_iter *iter);

/* The root table of a walk.  Returns its first entry, or NULL.  Any lock. */
tdp_ptep_t tdp_iter_root_pt(struct tdp_iter *iter);

TDPMMU_END_DECLS

/*
 * Every entry, present or not, from level root_level down to min_level, whose
 * range begins below end: gfns [start, end).  iter is a struct tdp_iter.  (By & and not by &&: a gfn
 * that is looked at after each step, whatever came of it, need not be loaded after most.)
 */
#define for_each_tdp_pte_min_level(iter, root, root_level, min_level, start, end)        \
    for (tdp_iter_start(&(iter), (root), (root_level), (min_level), (start));            \
         ((iter).gfn < (end)) & (iter).valid; tdp_iter_next(&(iter)))

#define for_each_tdp_pte(iter, root, root_level, start, end) \
    for_each_tdp_pte_min_level(iter, root, root_level, PG_LEVEL_4K, start, end)

#endif
