// SPDX-License-Identifier: GPL-2.0-only
/* examples/patch_operations.h behind the interface's functions, as bodies.c puts the kernel's there. */
#include <stdlib.h>

#include <tdpmmu.h>

#define TDPMMU_KERNEL_WARN(function, condition) \
    (fprintf(stderr, "%s: WARN_ON(%s)\n", (function), (condition)), abort())
#include "../../examples/patch_operations.h"

#define SLOT(slot) (slot)->base_gfn, (slot)->base_gfn + (slot)->npages

/* What the library refuses with a warning is its own business. */
void own_kvm_tdp_mmu_clear_dirty_pt_masked(struct kvm *, const struct kvm_memory_slot *, gfn_t, unsigned long, bool);
bool own_kvm_tdp_mmu_write_protect_gfn(struct kvm *, const struct kvm_memory_slot *, gfn_t, int);

static bool is_in_slot(const struct kvm_memory_slot *slot, gfn_t gfn) { return gfn - slot->base_gfn < slot->npages; }

bool kvm_tdp_mmu_zap_leafs(struct kvm *kvm, gfn_t start, gfn_t end, bool flush)
{
    struct kvm_mmu_page *root;

    for_each_valid_tdp_mmu_root_yield_safe(kvm, root, -1)
        flush = patch_zap_leafs(kvm, root, start, end, true, flush);
    return flush;
}

bool kvm_tdp_mmu_unmap_gfn_range(struct kvm *kvm, const struct kvm_gfn_range *range, bool flush)
{
    struct kvm_mmu_page *root;

    for_each_tdp_mmu_root_yield_safe(kvm, root, range->slot->as_id)
        flush = patch_zap_leafs(kvm, root, range->start, range->end, range->may_block, flush);
    return flush;
}

bool kvm_tdp_mmu_age_gfn_range(struct kvm *kvm, const struct kvm_gfn_range *range)
{
    struct kvm_mmu_page *root;
    bool young = false;

    for_each_tdp_mmu_root(kvm, root, range->slot->as_id)
        young |= patch_age_gfn_range(kvm, root, range->start, range->end);
    return young;
}

bool kvm_tdp_mmu_test_age_gfn(struct kvm *kvm, const struct kvm_gfn_range *range)
{
    struct kvm_mmu_page *root;
    bool young = false;

    for_each_tdp_mmu_root(kvm, root, range->slot->as_id)
        young |= patch_test_age_gfn_range(kvm, root, range->start, range->end);
    return young;
}

bool kvm_tdp_mmu_wrprot_slot(struct kvm *kvm, const struct kvm_memory_slot *slot, int min_level)
{
    struct kvm_mmu_page *root;
    bool changed = false;

    for_each_valid_tdp_mmu_root_yield_safe(kvm, root, slot->as_id)
        changed |= patch_wrprot_gfn_range(kvm, root, SLOT(slot), min_level);
    return changed;
}

bool kvm_tdp_mmu_clear_dirty_slot(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
    struct kvm_mmu_page *root;
    bool changed = false;

    for_each_valid_tdp_mmu_root_yield_safe(kvm, root, slot->as_id)
        changed |= patch_clear_dirty_gfn_range(kvm, root, SLOT(slot));
    return changed;
}

void kvm_tdp_mmu_clear_dirty_pt_masked(struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn, unsigned long mask,
                                       bool wrprot)
{
    const uint64_t pages = slot->npages - (gfn - slot->base_gfn);
    struct kvm_mmu_page *root;

    if (!is_in_slot(slot, gfn)) {
        own_kvm_tdp_mmu_clear_dirty_pt_masked(kvm, slot, gfn, mask, wrprot);
        return;
    }
    mask &= pages >= 64 ? ~0ul : (1ul << pages) - 1;
    for_each_valid_tdp_mmu_root(kvm, root, slot->as_id)
        patch_clear_dirty_pt_masked(kvm, root, gfn, mask, wrprot);
}

void kvm_tdp_mmu_zap_collapsible_sptes(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
    struct kvm_mmu_page *root;

    for_each_valid_tdp_mmu_root_yield_safe(kvm, root, slot->as_id)
        patch_zap_collapsible_spte_range(kvm, root, slot);
}

bool kvm_tdp_mmu_write_protect_gfn(struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn, int min_level)
{
    struct kvm_mmu_page *root;
    bool changed = false;

    if (!is_in_slot(slot, gfn))
        return own_kvm_tdp_mmu_write_protect_gfn(kvm, slot, gfn, min_level);
    for_each_valid_tdp_mmu_root(kvm, root, slot->as_id)
        changed |= patch_write_protect_gfn(kvm, root, gfn, min_level);
    return changed;
}
