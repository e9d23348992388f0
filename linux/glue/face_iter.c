// SPDX-License-Identifier: GPL-2.0-only
/* tdp_iter.h: SPTEs seen from outside, and Linux's iterator. */
#include "face.h"

bool is_shadow_present_pte(uint64_t spte) { return linux_is_shadow_present_pte(spte); }
bool is_large_pte(uint64_t spte) { return linux_is_large_pte(spte); }
bool is_last_spte(uint64_t spte, int level) { return linux_is_last_spte(spte, level); }
bool is_frozen_spte(uint64_t spte) { return linux_is_frozen_spte(spte); }
bool is_writable_pte(uint64_t spte) { return linux_is_writable_pte(spte); }
kvm_pfn_t spte_to_pfn(uint64_t spte) { return linux_spte_to_pfn(spte); }

bool is_mmio_spte(struct kvm *kvm, uint64_t spte)
{
    REFUSE_NULL(kvm, "kvm", false);
    ENTER(kvm, false);
    return linux_is_mmio_spte(kvm, spte);
}

bool is_accessed_spte(struct kvm *kvm, uint64_t spte)
{
    REFUSE_NULL(kvm, "kvm", false);
    ENTER(kvm, false);
    return linux_is_shadow_present_pte(spte) && linux_is_accessed_spte(spte);
}

bool is_dirty_spte(struct kvm *kvm, uint64_t spte)
{
    REFUSE_NULL(kvm, "kvm", false);
    ENTER(kvm, false);
    return linux_is_shadow_present_pte(spte) && linux_is_dirty_spte(spte);
}

bool is_executable_pte(struct kvm *kvm, uint64_t spte)
{
    REFUSE_NULL(kvm, "kvm", false);
    ENTER(kvm, false);
    return linux_is_executable_pte(spte);
}

uint64_t get_mmio_spte_generation(uint64_t spte) { return linux_get_mmio_spte_generation(spte); }

gfn_t get_mmio_spte_gfn(struct kvm *kvm, uint64_t spte)
{
    REFUSE_NULL(kvm, "kvm", 0);
    ENTER(kvm, 0);
    return face_mmio_gfn(spte);
}

static bool keeps(struct kvm_mmu_page *sp, const char *function, bool or_read)
{
    struct kvm *kvm = linux_table_owner(sp);

    if (rcu_read_lock_held())
        return true;
    if (kvm && (tdpmmu_write_lock_held(&kvm->mmu_lock) || (or_read && tdpmmu_read_lock_held(&kvm->mmu_lock))))
        return true;
    face_warn(kvm, TDPMMU_WARN_LOCK, function,
              or_read ? "called outside an RCU reader, and mmu_lock is not held"
                      : "called outside an RCU reader, and mmu_lock is not held for write", 0, 0);
    return false;
}

tdp_ptep_t spte_to_child_pt(uint64_t spte, int level)
{
    struct kvm_mmu_page *child;

    if (level < 1 || level > 5 || !linux_is_shadow_present_pte(spte) || linux_is_last_spte(spte, level))
        return NULL;
    child = linux_table_at_pa(linux_spte_to_pfn(spte) << PAGE_SHIFT);
    return child && keeps(child, __func__, true) ? linux_spte_to_child_pt(spte, level) : NULL;
}

struct face_kvm_mmu_page *sptep_to_sp(const uint64_t *sptep) { return face_page(linux_table_at(sptep)); }

struct face_kvm_mmu_page *to_shadow_page(hpa_t hpa)
{
    return hpa & ~PAGE_MASK ? NULL : face_page(linux_table_at_pa(hpa));
}

hpa_t tdpmmu_table_hpa(const struct face_kvm_mmu_page *page)
{
    struct kvm_mmu_page *sp = linux_sp(page);

    return sp ? __pa(sp->spt) : INVALID_PAGE;
}

/* ---- the iterator: of the interface's layout outside, of Linux's while it steps ---------- */
#define COPY_ITER(to, from) do { \
    memset((to), 0, sizeof(*(to))); \
    (to)->next_last_level_gfn = (from)->next_last_level_gfn; \
    (to)->yielded_gfn = (from)->yielded_gfn; \
    memcpy((to)->pt_path, (from)->pt_path, sizeof((to)->pt_path)); \
    (to)->sptep = (from)->sptep; \
    (to)->gfn = (from)->gfn; \
    (to)->root_level = (from)->root_level; \
    (to)->min_level = (from)->min_level; \
    (to)->level = (from)->level; \
    (to)->as_id = (from)->as_id; \
    (to)->old_spte = (from)->old_spte; \
    (to)->valid = (from)->valid; \
    (to)->yielded = (from)->yielded; \
} while (0)

void face_show_iter(struct face_tdp_iter *to, const struct tdp_iter *from) { COPY_ITER(to, from); }

void tdp_iter_start(struct face_tdp_iter *iter, uint64_t *root_pt, int root_level, int min_level,
                    gfn_t next_last_level_gfn)
{
    struct kvm_mmu_page *root = root_pt && !((uintptr_t)root_pt & ~PAGE_MASK) ? linux_table_at(root_pt) : NULL;
    struct tdp_iter walk;
    struct kvm *kvm;

    REFUSE_NULL(iter, "iter", );
    memset(iter, 0, sizeof(*iter));
    kvm = root ? linux_table_owner(root) : NULL;
    if (!kvm) {
        face_refuse(NULL, __func__, "root_pt is no table (root_pt)", (u64)(uintptr_t)root_pt, 0);
        return;
    }
    if (!keeps(root, __func__, false))
        return;
    if (root_level != (int)root->role.level) {
        face_refuse(kvm, __func__, "root_level is not the table's (root_level, the table's)", (u64)(s64)root_level,
                    root->role.level);
        return;
    }
    if (min_level < 1 || min_level > root_level) {
        face_refuse(kvm, __func__, "min_level is not 1 to root_level (min_level)", (u64)(s64)min_level, 0);
        return;
    }
    if (next_last_level_gfn >= gfn_limit(kvm)) {
        face_refuse(kvm, __func__, "start is beyond MAXPHYADDR (start, end)", next_last_level_gfn, ~0UL);
        return;
    }
    ENTER(kvm, );
    linux_tdp_iter_start(&walk, root, min_level, next_last_level_gfn);
    face_show_iter(iter, &walk);
}

static struct kvm_mmu_page *begun(struct face_tdp_iter *iter, const char *function, bool touches)
{
    struct kvm_mmu_page *root;

    if (!iter || iter->root_level < 1 || iter->root_level > 5 || iter->level < 1 || iter->level > iter->root_level) {
        face_refuse(NULL, function, "iter is NULL or no walk has begun (iter)", (u64)(uintptr_t)iter, 0);
        return NULL;
    }
    root = linux_table_at(iter->pt_path[iter->root_level - 1]);
    if (touches && root && !keeps(root, function, false))
        root = NULL;
    if (!root && touches)
        iter->valid = false;
    return root;
}

void tdp_iter_next(struct face_tdp_iter *iter)
{
    struct kvm_mmu_page *root = begun(iter, __func__, true);
    struct tdp_iter walk;

    if (!root || !iter->valid)
        return;
    ENTER(linux_table_owner(root), );
    COPY_ITER(&walk, iter);
    linux_tdp_iter_next(&walk);
    face_show_iter(iter, &walk);
}

void tdp_iter_restart(struct face_tdp_iter *iter)
{
    struct kvm_mmu_page *root = begun(iter, __func__, true);
    struct tdp_iter walk;

    if (!root)
        return;
    ENTER(linux_table_owner(root), );
    COPY_ITER(&walk, iter);
    linux_tdp_iter_restart(&walk);
    face_show_iter(iter, &walk);
}

tdp_ptep_t tdp_iter_root_pt(struct face_tdp_iter *iter)
{
    return begun(iter, __func__, false) ? iter->pt_path[iter->root_level - 1] : NULL;
}
