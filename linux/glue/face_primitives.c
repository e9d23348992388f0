// SPDX-License-Identifier: GPL-2.0-only
/* primitives.h: Linux keeps its own to itself, all but one. */
#include "face.h"

/* The entry that the caller says it stands on, of a table of this VM. */
static bool is_entry(struct kvm *kvm, const struct face_tdp_iter *iter, const char *function)
{
    struct kvm_mmu_page *sp = iter && iter->sptep ? linux_table_at(iter->sptep) : NULL;

    if (sp && linux_table_owner(sp) == kvm)
        return true;
    face_refuse(kvm, function, "iter stands on no entry of a table of this VM (sptep)", (u64)(uintptr_t)iter, 0);
    return false;
}

static bool is_in_rcu(struct kvm *kvm, const char *function)
{
    if (rcu_read_lock_held())
        return true;
    face_warn(kvm, TDPMMU_WARN_LOCK, function, "called outside an RCU reader", 0, 0);
    return false;
}

int tdpmmu_set_spte(struct kvm *kvm, struct face_tdp_iter *iter, uint64_t new_spte, enum tdpmmu_set how)
{
    if (how == TDPMMU_SET_BITS_AT && iter && iter->sptep && linux_table_at(iter->sptep))
        kvm = linux_table_owner(linux_table_at(iter->sptep));
    REFUSE_NULL(kvm, "kvm", -EINVAL);
    if (!tdpmmu_write_lock_held(&kvm->mmu_lock) && !is_in_rcu(kvm, __func__))
        return -EINVAL;
    if (!is_entry(kvm, iter, __func__))
        return -EINVAL;
    if ((unsigned int)how > TDPMMU_SET_BITS_AT || (iter->level > KVM_MAX_HUGEPAGE_LEVEL && linux_is_large_pte(new_spte)))
        face_refuse(kvm, __func__, "no such way, or no such SPTE (how, new_spte)", how, new_spte);
    else
        LACKING();
    return -EINVAL;
}

bool tdpmmu_iter_yield(struct kvm *kvm, struct face_tdp_iter *iter, bool flush, bool shared)
{
    (void)flush;
    REFUSE_NULL(kvm, "kvm", false);
    if ((shared ? face_wants_read(kvm, __func__) : face_wants_write(kvm, __func__)) && is_in_rcu(kvm, __func__) &&
        is_entry(kvm, iter, __func__))
        LACKING();
    return false;
}

struct face_kvm_mmu_page *tdpmmu_alloc_sp(struct kvm *kvm)
{
    REFUSE_NULL(kvm, "kvm", NULL);
    LACKING();
    return NULL;
}

/* None was ever handed out. */
int tdpmmu_link_sp(struct kvm *kvm, struct face_tdp_iter *iter, struct face_kvm_mmu_page *sp, bool shared)
{
    (void)iter;
    REFUSE_NULL(kvm, "kvm", -EINVAL);
    if (shared ? face_wants_read(kvm, __func__) : face_wants_write(kvm, __func__))
        face_refuse(kvm, __func__, "sp is no table that tdpmmu_alloc_sp() gave (sp)", (u64)(uintptr_t)sp, 0);
    return -EINVAL;
}

void tdpmmu_free_sp(struct face_kvm_mmu_page *sp)
{
    face_refuse(NULL, __func__, "sp is no table that tdpmmu_alloc_sp() gave (sp)", (u64)(uintptr_t)sp, 0);
}

int kvm_mmu_max_mapping_level(struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn, int max_level)
{
    REFUSE_NULL(kvm, "kvm", 1);
    if (!is_in_rcu(kvm, __func__))
        return 1;
    if (!slot || !face_slot_lives(kvm, slot)) {
        face_refuse(kvm, __func__, "slot is no slot of this VM (slot)", (u64)(uintptr_t)slot, 0);
        return 1;
    }
    if (max_level <= PG_LEVEL_4K || gfn - slot->base_gfn >= slot->npages)
        return 1;
    ENTER(kvm, 1);
    return linux_kvm_mmu_max_mapping_level(kvm, slot, gfn, max_level);
}
