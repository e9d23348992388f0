// SPDX-License-Identifier: GPL-2.0-only
/*
 * Operations of the kernel's, as they stand, on this library's tables: they are compiled against tdpmmu/kernel.h alone,
 * under names of their own (body_X), and stand behind the interface's functions in the place of the library's.
 * What they trip over ends the process: a list that does is a difference.
 */
#include <stdlib.h>

#include <tdpmmu.h>

#define TDPMMU_KERNEL_WARN(function, condition) \
    (fprintf(stderr, "%s: WARN_ON(%s)\n", (function), (condition)), abort())
#include <tdpmmu/kernel.h>

#include "body_names.h"
#include "ranges.inc"
#define kvm_vcpu tdpmmu_vcpu_view
#include "views.inc"
#undef kvm_vcpu
#include "body_names_end.h"

/* ---- the interface ------------------------------------------------------------------------------- */
bool kvm_tdp_mmu_zap_leafs(struct kvm *kvm, gfn_t start, gfn_t end, bool flush)
{
    return body_kvm_tdp_mmu_zap_leafs(kvm, start, end, flush);
}

void kvm_tdp_mmu_zap_all(struct kvm *kvm) { body_kvm_tdp_mmu_zap_all(kvm); }

void kvm_tdp_mmu_zap_invalidated_roots(struct kvm *kvm) { body_kvm_tdp_mmu_zap_invalidated_roots(kvm); }

/* The kernel trusts its caller that the entry above still points to the table, and leaves the flush to it. */
bool kvm_tdp_mmu_zap_sp(struct kvm *kvm, struct kvm_mmu_page *sp)
{
    bool zapped;

    rcu_read_lock();
    zapped = sp->ptep && spte_to_child_sp(kvm_tdp_mmu_read_spte(sp->ptep)) == sp && body_kvm_tdp_mmu_zap_sp(kvm, sp);
    if (zapped)
        kvm_flush_remote_tlbs_range(kvm, sp->gfn, KVM_PAGES_PER_HPAGE((int)sp->role.level + 1));
    rcu_read_unlock();
    return zapped;
}

bool kvm_tdp_mmu_unmap_gfn_range(struct kvm *kvm, const struct kvm_gfn_range *range, bool flush)
{
    return body_kvm_tdp_mmu_unmap_gfn_range(kvm, (struct kvm_gfn_range *)range, flush);
}

bool kvm_tdp_mmu_age_gfn_range(struct kvm *kvm, const struct kvm_gfn_range *range)
{
    return body_kvm_tdp_mmu_age_gfn_range(kvm, (struct kvm_gfn_range *)range);
}

bool kvm_tdp_mmu_test_age_gfn(struct kvm *kvm, const struct kvm_gfn_range *range)
{
    return body_kvm_tdp_mmu_test_age_gfn(kvm, (struct kvm_gfn_range *)range);
}

bool kvm_tdp_mmu_wrprot_slot(struct kvm *kvm, const struct kvm_memory_slot *slot, int min_level)
{
    return body_kvm_tdp_mmu_wrprot_slot(kvm, slot, min_level);
}

int kvm_tdp_mmu_try_split_huge_pages(struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t start, gfn_t end,
                                     int target_level, bool shared)
{
    body_kvm_tdp_mmu_try_split_huge_pages(kvm, slot, start, end, target_level, shared);
    return 0;
}

bool kvm_tdp_mmu_clear_dirty_slot(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
    return body_kvm_tdp_mmu_clear_dirty_slot(kvm, slot);
}

/* The kernel's callers name no gfn outside of the slot; the library refuses one. */
void own_kvm_tdp_mmu_clear_dirty_pt_masked(struct kvm *, const struct kvm_memory_slot *, gfn_t, unsigned long, bool);
bool own_kvm_tdp_mmu_write_protect_gfn(struct kvm *, const struct kvm_memory_slot *, gfn_t, int);

static bool is_in_slot(const struct kvm_memory_slot *slot, gfn_t gfn) { return gfn - slot->base_gfn < slot->npages; }

void kvm_tdp_mmu_clear_dirty_pt_masked(struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn, unsigned long mask,
                                       bool wrprot)
{
    const uint64_t pages = slot->npages - (gfn - slot->base_gfn);

    if (!is_in_slot(slot, gfn)) {
        own_kvm_tdp_mmu_clear_dirty_pt_masked(kvm, slot, gfn, mask, wrprot);
        return;
    }
    mask &= pages >= 64 ? ~0ul : (1ul << pages) - 1;
    if (mask)
        body_kvm_tdp_mmu_clear_dirty_pt_masked(kvm, (struct kvm_memory_slot *)slot, gfn, mask, wrprot);
}

void kvm_tdp_mmu_zap_collapsible_sptes(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
    body_kvm_tdp_mmu_zap_collapsible_sptes(kvm, slot);
}

bool kvm_tdp_mmu_write_protect_gfn(struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn, int min_level)
{
    if (!is_in_slot(slot, gfn))
        return own_kvm_tdp_mmu_write_protect_gfn(kvm, slot, gfn, min_level);
    return body_kvm_tdp_mmu_write_protect_gfn(kvm, (struct kvm_memory_slot *)slot, gfn, min_level);
}

int kvm_tdp_mmu_get_walk(struct kvm_vcpu *vcpu, gpa_t addr, uint64_t *sptes, int *root_level)
{
    struct tdpmmu_vcpu_view view;

    tdpmmu_view_vcpu(vcpu, &view);
    return view.arch.root_mmu.root.hpa == INVALID_PAGE ? -EINVAL : body_kvm_tdp_mmu_get_walk(&view, addr, sptes, root_level);
}

tdp_ptep_t kvm_tdp_mmu_fast_pf_get_last_sptep(struct kvm_vcpu *vcpu, gfn_t gfn, uint64_t *spte)
{
    struct tdpmmu_vcpu_view view;

    tdpmmu_view_vcpu(vcpu, &view);
    return view.arch.root_mmu.root.hpa == INVALID_PAGE ? NULL : body_kvm_tdp_mmu_fast_pf_get_last_sptep(&view, gfn, spte);
}
