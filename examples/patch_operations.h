// SPDX-License-Identifier: GPL-2.0-only
// The operations that the patch of February 2021 put under RCU, written anew with the names that it writes them with
// (tdpmmu/kernel.h): examples of what an operation looks like.  `make check-kernel-bodies` compares them with the library's own.
// Each says what the caller holds; none takes mmu_lock.
#ifndef PATCH_OPERATIONS_H
#define PATCH_OPERATIONS_H

#include <tdpmmu.h>
#include <tdpmmu/kernel.h>

static inline bool patch_is_leaf(const struct tdp_iter *iter)
{
    return is_shadow_present_pte(iter->old_spte) && is_last_spte(iter->old_spte, iter->level);
}

/*
 * Leaves, and tables that lie in [start, end) as a whole.  Lock W.  Returns flush; what was unlinked has been flushed by
 * then, before RCU was left, since the tables may be freed from there on.
 */
static inline bool patch_zap_gfn_range(struct kvm *kvm, struct kvm_mmu_page *root, gfn_t start, gfn_t end, bool can_yield)
{
    bool flush = false, unlinked = false;
    struct tdp_iter iter;

    end = min(end, tdp_mmu_max_gfn_exclusive());
    rcu_read_lock();
    tdp_root_for_each_pte(iter, root, start, end) {
        if (can_yield && tdp_mmu_iter_cond_resched(kvm, &iter, flush)) {
            flush = unlinked = false;
            continue;
        }
        if (!is_shadow_present_pte(iter.old_spte))
            continue;
        /* A table that reaches out of the range is entered. */
        if (!is_last_spte(iter.old_spte, iter.level) &&
            (iter.gfn < start || iter.gfn + KVM_PAGES_PER_HPAGE(iter.level) > end))
            continue;
        unlinked |= !is_last_spte(iter.old_spte, iter.level);
        tdp_mmu_set_spte(kvm, &iter, SHADOW_NONPRESENT_VALUE);
        flush = true;
    }
    if (unlinked)
        kvm_flush_remote_tlbs_range(kvm, start, end - start);
    rcu_read_unlock();
    return flush;
}

/* Leaves only.  Lock W.  flush: does the caller owe one already?  Returns whether it does now. */
static inline bool patch_zap_leafs(struct kvm *kvm, struct kvm_mmu_page *root, gfn_t start, gfn_t end, bool can_yield, bool flush)
{
    struct tdp_iter iter;

    end = min(end, tdp_mmu_max_gfn_exclusive());
    rcu_read_lock();
    tdp_root_for_each_pte(iter, root, start, end) {
        if (can_yield && tdp_mmu_iter_cond_resched(kvm, &iter, flush)) {
            flush = false;
            continue;
        }
        if (!patch_is_leaf(&iter))
            continue;
        tdp_mmu_set_spte(kvm, &iter, SHADOW_NONPRESENT_VALUE);
        /* No CPU runs on an invalid root. */
        flush |= !root->role.invalid;
    }
    rcu_read_unlock();
    return flush;
}

/* Make the leaves look unused; was any used?  Lock W. */
static inline bool patch_age_gfn_range(struct kvm *kvm, struct kvm_mmu_page *root, gfn_t start, gfn_t end)
{
    struct tdp_iter iter;
    bool young = false;

    rcu_read_lock();
    tdp_root_for_each_leaf_pte(iter, root, start, end) {
        if (!is_accessed_spte(iter.old_spte))
            continue;
        tdp_mmu_set_spte_no_acc_track(kvm, &iter, mark_spte_for_access_track(iter.old_spte));
        young = true;
    }
    rcu_read_unlock();
    return young;
}

/* Was any leaf used?  Lock W, or no lock at all. */
static inline bool patch_test_age_gfn_range(struct kvm *kvm, struct kvm_mmu_page *root, gfn_t start, gfn_t end)
{
    struct tdp_iter iter;
    bool young = false;

    rcu_read_lock();
    tdp_root_for_each_leaf_pte(iter, root, start, end)
        young |= is_accessed_spte(iter.old_spte);
    rcu_read_unlock();
    return young;
}

/* Clear bits of the leaves at or above min_level that have them.  Lock R.  Was one changed? */
static inline bool patch_clear_bits(struct kvm *kvm, struct kvm_mmu_page *root, gfn_t start, gfn_t end, int min_level, u64 bits,
                                    bool at_leaves_only)
{
    struct tdp_iter iter;
    bool changed = false;

    rcu_read_lock();
    for_each_tdp_pte_min_level(iter, root, min_level, start, end) {
again:
        if ((!at_leaves_only || patch_is_leaf(&iter)) && tdp_mmu_iter_cond_resched(kvm, &iter, false, true))
            continue;
        if (!patch_is_leaf(&iter) || !(iter.old_spte & bits))
            continue;
        if (tdp_mmu_set_spte_atomic(kvm, &iter, iter.old_spte & ~bits))
            goto again;
        changed = true;
    }
    rcu_read_unlock();
    return changed;
}

static inline bool patch_wrprot_gfn_range(struct kvm *kvm, struct kvm_mmu_page *root, gfn_t start, gfn_t end, int min_level)
{
    return patch_clear_bits(kvm, root, start, end, min_level, PT_WRITABLE_MASK, false);
}

/* Of leaves that the CPU does not mark as dirty, W is what shows it. */
static inline bool patch_clear_dirty_gfn_range(struct kvm *kvm, struct kvm_mmu_page *root, gfn_t start, gfn_t end)
{
    const u64 bit = tdp_mmu_need_write_protect(root) ? PT_WRITABLE_MASK : shadow_dirty_mask;

    return patch_clear_bits(kvm, root, start, end, PG_LEVEL_4K, bit, true);
}

/* The same of those of 64 pages from gfn on that mask names.  Lock W. */
static inline void patch_clear_dirty_pt_masked(struct kvm *kvm, struct kvm_mmu_page *root, gfn_t gfn, unsigned long mask,
                                               bool wrprot)
{
    const u64 bit = wrprot || tdp_mmu_need_write_protect(root) ? PT_WRITABLE_MASK : shadow_dirty_mask;
    struct tdp_iter iter;

    if (!mask)
        return;
    rcu_read_lock();
    tdp_root_for_each_leaf_pte(iter, root, gfn + __ffs(mask), gfn + BITS_PER_LONG) {
        if (iter.level > PG_LEVEL_4K || !(mask & (1UL << (iter.gfn - gfn))) || !(iter.old_spte & bit))
            continue;
        tdp_mmu_clear_spte_bits(iter.sptep, iter.old_spte, bit, iter.level);
    }
    rcu_read_unlock();
}

/* Set Dirty of all leaves, as after dirty logging.  Lock W.  Was one changed? */
static inline bool patch_set_dirty_gfn_range(struct kvm *kvm, struct kvm_mmu_page *root, gfn_t start, gfn_t end)
{
    struct tdp_iter iter;
    bool changed = false;

    rcu_read_lock();
    tdp_root_for_each_pte(iter, root, start, end) {
        if (tdp_mmu_iter_cond_resched(kvm, &iter, false))
            continue;
        if (!patch_is_leaf(&iter) || (iter.old_spte | shadow_dirty_mask) == iter.old_spte)
            continue;
        tdp_mmu_set_spte_no_dirty_log(kvm, &iter, iter.old_spte | shadow_dirty_mask);
        changed = true;
    }
    rcu_read_unlock();
    return changed;
}

/* Drop tables in whose place a huge leaf could be.  Lock R.  Each is flushed. */
static inline void patch_zap_collapsible_spte_range(struct kvm *kvm, struct kvm_mmu_page *root, const struct kvm_memory_slot *slot)
{
    const gfn_t start = slot->base_gfn, end = start + slot->npages;
    struct tdp_iter iter;

    rcu_read_lock();
    for_each_tdp_pte_min_level(iter, root, PG_LEVEL_2M, start, end) {
again:
        if (tdp_mmu_iter_cond_resched(kvm, &iter, false, true))
            continue;
        if (iter.level > KVM_MAX_HUGEPAGE_LEVEL || !is_shadow_present_pte(iter.old_spte) ||
            is_last_spte(iter.old_spte, iter.level) || iter.gfn < start || iter.gfn >= end)
            continue;
        if (kvm_mmu_max_mapping_level(kvm, slot, iter.gfn, PG_LEVEL_NUM) < iter.level)
            continue;
        if (tdp_mmu_zap_spte_atomic(kvm, &iter))
            goto again;
    }
    rcu_read_unlock();
}

/* Take W, and that a fast fault may give it back, from what maps gfn.  Lock W.  Returns flush. */
static inline bool patch_write_protect_gfn(struct kvm *kvm, struct kvm_mmu_page *root, gfn_t gfn, int min_level)
{
    struct tdp_iter iter;
    bool changed = false;

    rcu_read_lock();
    for_each_tdp_pte_min_level(iter, root, min_level, gfn, gfn + 1) {
        u64 new_spte = iter.old_spte & ~(PT_WRITABLE_MASK | shadow_mmu_writable_mask);

        if (!patch_is_leaf(&iter) || new_spte == iter.old_spte)
            continue;
        tdp_mmu_set_spte(kvm, &iter, new_spte);
        changed = true;
    }
    rcu_read_unlock();
    return changed;
}

#endif
