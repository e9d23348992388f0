// SPDX-License-Identifier: GPL-2.0-only
/*
 * Faults, and the callers of the TDP MMU: functions of mmu.c.  Of the shadow MMU there is nothing;
 * Linux asks kvm_memslots_have_rmaps() first, and what it would call then is a BUG().
 */
#include "told.h"
#include "linux_names.h"

#define PTE_PREFETCH_NUM 8
#define mmu_is_nested(vcpu) false
#define kvm_page_track_write_tracking_enabled(kvm) false
#define kvm_gfn_is_write_tracked(kvm, slot, gfn) false
#define kvm_send_hwpoison_signal(slot, gfn) (face_now->poisoned = true)
#define host_pfn_mapping_level linux_mapping_level
#define kvm_zap_obsolete_pages(kvm) do { } while (0)
#define kvm_mmu_prepare_zap_page(kvm, sp, list) BUG()
#define kvm_mmu_commit_zap_page(kvm, list) do { } while (0)
#define mmu_alloc_special_roots(vcpu) 0
#define mmu_alloc_shadow_roots(vcpu) ({ BUG(); 0; })
#define mmu_alloc_direct_roots(vcpu) told_alloc_root(vcpu)
#define kvm_mmu_sync_roots(vcpu) do { } while (0)
#define mmu_spte_get_lockless(sptep) READ_ONCE(*(sptep))
#define IS_VALID_PAE_ROOT(x) (!!(x))
#define INVALID_PAE_ROOT 0

static u64 *fast_pf_get_last_sptep(struct kvm_vcpu *vcpu, gpa_t gpa, u64 *spte) { BUG(); }
static int get_walk(struct kvm_vcpu *vcpu, u64 addr, u64 *sptes, int *root_level) { BUG(); }
#define kvm_handle_signal_exit(vcpu) do { } while (0)
static void kvm_unsync_page(struct kvm *kvm, struct kvm_mmu_page *sp) { BUG(); }
static struct kvm_rmap_head *gfn_to_rmap(gfn_t gfn, int level, const struct kvm_memory_slot *slot) { BUG(); }
static bool rmap_write_protect(struct kvm_rmap_head *rmap, bool pt_protect) { BUG(); }
static bool __rmap_clear_dirty(struct kvm *kvm, struct kvm_rmap_head *rmap, const struct kvm_memory_slot *slot)
{
    BUG();
}
static int direct_page_fault(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault) { BUG(); }
static bool slot_rmap_write_protect(struct kvm *kvm, struct kvm_rmap_head *rmap, const struct kvm_memory_slot *slot)
{
    BUG();
}
#define __kvm_rmap_zap_gfn_range(...) ({ BUG(); false; })
#define kvm_rmap_age_gfn_range(...) ({ BUG(); false; })
#define kvm_rmap_zap_collapsible_sptes(...) BUG()
#define kvm_shadow_mmu_try_split_huge_pages(...) BUG()
#define walk_slot_rmaps(...) ({ BUG(); false; })
#define walk_slot_rmaps_4k(...) ({ BUG(); false; })

/* Instead of the host's page tables, the rig. */
static int __kvm_faultin_pfn(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault)
{
    fault->pfn = linux_host_pfn(fault->slot, fault->gfn, fault->write, &fault->map_writable);
    fault->hva = fault->slot->userspace_addr + ((fault->gfn - fault->slot->base_gfn) << PAGE_SHIFT);
    return RET_PF_CONTINUE;
}

#include "mmu_forward.inc"
#include "mmu.inc"

/* ---- for the rest of the glue ------------------------------------------------------ */
#define FAULT(vcpu_, gpa_, ec_, max_level_, prefetch_) { \
    .addr = (gpa_), .error_code = (ec_), .exec = (ec_) & PFERR_FETCH_MASK, .write = (ec_) & PFERR_WRITE_MASK, \
    .present = (ec_) & PFERR_PRESENT_MASK, .rsvd = (ec_) & PFERR_RSVD_MASK, .user = (ec_) & PFERR_USER_MASK, \
    .prefetch = (prefetch_), .is_tdp = true, \
    .nx_huge_page_workaround_enabled = is_nx_huge_page_enabled((vcpu_)->kvm), \
    .max_level = (max_level_), .req_level = PG_LEVEL_4K, .goal_level = PG_LEVEL_4K, \
    .pfn = KVM_PFN_ERR_FAULT, .hva = KVM_HVA_ERR_BAD, .gfn = (gpa_) >> PAGE_SHIFT }

int face_map(struct kvm_vcpu *vcpu, gpa_t gpa, u64 ec, bool map_writable, int max_level, kvm_pfn_t pfn,
             bool prefault)
{
    struct kvm_page_fault fault = FAULT(vcpu, gpa, ec, max_level, prefault);
    int ret = mmu_topup_memory_caches(vcpu, false);

    if (ret)
        return ret;
    fault.slot = linux_kvm_vcpu_gfn_to_memslot(vcpu, fault.gfn);
    fault.mmu_seq = vcpu->kvm->mmu_invalidate_seq;
    fault.pfn = pfn;
    fault.map_writable = map_writable;
    if (!fault.slot || is_noslot_pfn(pfn)) {
        if (fault.slot)
            return RET_PF_RETRY; /* the slot came after the caller looked */
        ret = kvm_handle_noslot_fault(vcpu, &fault, ACC_ALL);
        if (ret != RET_PF_CONTINUE)
            return ret;
    } else {
        if (fault.slot->flags & KVM_MEMSLOT_INVALID)
            return RET_PF_RETRY;
        if (fault.write && fault.slot->flags & KVM_MEM_READONLY)
            return RET_PF_EMULATE;
        fault.hva = fault.slot->userspace_addr + ((fault.gfn - fault.slot->base_gfn) << PAGE_SHIFT);
        if (fault.slot->flags & KVM_MEM_READONLY)
            fault.map_writable = false;
        if (is_error_pfn(pfn))
            return kvm_handle_error_pfn(vcpu, &fault);
    }
    face_now->host_level = max_level;
    while (face_now->host_level > PG_LEVEL_4K &&
           (pfn ^ fault.gfn) & (KVM_PAGES_PER_HPAGE(face_now->host_level) - 1))
        face_now->host_level--;
    return linux_kvm_tdp_mmu_map(vcpu, &fault);
}

int face_page_fault(struct kvm_vcpu *vcpu, gpa_t gpa, u64 ec)
{
    int ret;

    if (ec & PFERR_RSVD_MASK) {
        ret = handle_mmio_page_fault(vcpu, gpa, true);
        if (ret != RET_PF_INVALID)
            return ret;
    }
    return kvm_mmu_do_page_fault(vcpu, gpa, ec, false, NULL, NULL);
}

int face_fast_page_fault(struct kvm_vcpu *vcpu, gpa_t gpa, u64 ec)
{
    struct kvm_page_fault fault = FAULT(vcpu, gpa, ec, KVM_MAX_HUGEPAGE_LEVEL, false);

    fault.slot = linux_kvm_vcpu_gfn_to_memslot(vcpu, fault.gfn);
    return fast_page_fault(vcpu, &fault);
}

void face_answer_requests(struct kvm_vcpu *vcpu)
{
    if (kvm_check_request(KVM_REQ_MMU_FREE_OBSOLETE_ROOTS, vcpu))
        kvm_mmu_free_obsolete_roots(vcpu);
}

int face_load(struct kvm_vcpu *vcpu)
{
    face_answer_requests(vcpu);
    return kvm_mmu_reload(vcpu);
}

void face_free_caches(struct kvm_vcpu *vcpu)
{
    struct kvm_mmu_memory_cache *descs = &vcpu->arch.mmu_pte_list_desc_cache;

    /* Those of the shadow MMU are said to be there, so that none is allocated. */
    descs->nobjs = 0;
    mmu_free_memory_caches(vcpu);
    descs->nobjs = KVM_ARCH_NR_OBJS_PER_MEMORY_CACHE;
}

bool face_root_is_obsolete(struct kvm_vcpu *vcpu)
{
    return !VALID_PAGE(vcpu->arch.mmu->root.hpa) || is_obsolete_root(vcpu->kvm, vcpu->arch.mmu->root.hpa);
}

void face_init_mmu(struct kvm_vcpu *vcpu)
{
    struct kvm_mmu *mmu = &vcpu->arch.root_mmu;

    vcpu->arch.mmu = mmu;
    vcpu->arch.mmu_page_header_cache.kmem_cache = mmu_page_header_cache;
    vcpu->arch.mmu_page_header_cache.gfp_zero = __GFP_ZERO;
    vcpu->arch.mmu_shadow_page_cache.init_value = SHADOW_NONPRESENT_VALUE;
    vcpu->arch.mmu_pte_list_desc_cache.nobjs = KVM_ARCH_NR_OBJS_PER_MEMORY_CACHE; /* of the shadow MMU */
    vcpu->arch.guest_mmu.root.hpa = INVALID_PAGE;
    mmu->root.hpa = INVALID_PAGE;
    for (int i = 0; i < KVM_MMU_NUM_PREV_ROOTS; i++)
        mmu->prev_roots[i].hpa = vcpu->arch.guest_mmu.prev_roots[i].hpa = INVALID_PAGE;
    mmu->page_fault = kvm_tdp_page_fault;
    /* kvm_calc_tdp_mmu_root_page_role() */
    mmu->root_role.access = ACC_ALL;
    mmu->root_role.cr0_wp = 1;
    mmu->root_role.efer_nx = 1;
    mmu->root_role.smm = (u32)vcpu->face_as_id;
    mmu->root_role.ad_disabled = !kvm_ad_enabled();
    mmu->root_role.level = vcpu->kvm->machine.root_level;
    mmu->root_role.direct = 1;
    for (int i = 0; i < 2; i++)
        for (int level = 0; level < 5; level++)
            mmu->shadow_zero_check.rsvd_bits_mask[i][level] = rsvd_bits(kvm_host.maxphyaddr, 51);
}

/* How many tables were zapped; the ratio is read when Linux has the lock. */
int face_nx_recover(struct kvm *kvm, const unsigned int *ratio)
{
    linux_recovery_ratio = ratio;
    told_zapped = 0;
    kvm_recover_nx_huge_pages(kvm);
    return told_zapped;
}

void face_zap_all_fast(struct kvm *kvm)
{
    mutex_lock(&kvm->slots_lock);
    linux_kvm_mmu_zap_all_fast(kvm);
    mutex_unlock(&kvm->slots_lock);
}

gfn_t face_mmio_gfn(u64 spte) { return linux_get_mmio_spte_gfn(spte); }
