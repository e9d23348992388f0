// SPDX-License-Identifier: GPL-2.0-only
#define TOLD_HERE
#include "told.h"

__thread int told_zapped;

static void tell(struct kvm *kvm, enum tdpmmu_trace_id id, struct tdpmmu_trace_event event)
{
    face_event(kvm, id, &event);
}

static void tell_return(struct kvm *kvm, enum tdpmmu_trace_id id, int ret)
{
    tell(kvm, id, (struct tdpmmu_trace_event){ .ret = { ret } });
}

static void tell_range(struct kvm *kvm, enum tdpmmu_trace_id id, gfn_t start, gfn_t end, bool flush)
{
    tell(kvm, id, (struct tdpmmu_trace_event){ .range = { .start = start, .end = end, .flush = flush } });
}

static void tell_slot(struct kvm *kvm, enum tdpmmu_trace_id id, const struct kvm_memory_slot *slot, int min_level)
{
    tell(kvm, id, (struct tdpmmu_trace_event){ .slot = { slot->base_gfn, slot->npages, min_level } });
}

/* Would one more fault need more tables than the VM may have?  Then Linux is not asked. */
static bool lacks_tables(struct kvm_vcpu *vcpu, const struct kvm_page_fault *fault)
{
    struct face_vm *face = vcpu->kvm->face;
    struct kvm_mmu_page *root = linux_table_at_pa(vcpu->arch.mmu->root.hpa);
    struct kvm_page_fault copy;
    u64 *table = root->spt;
    u64 wanted = 0;

    memcpy(&copy, fault, sizeof(copy));
    kvm_mmu_hugepage_adjust(vcpu, &copy);
    for (int level = (int)root->role.level; level > copy.goal_level; level--) {
        u64 spte = table ? READ_ONCE(table[fault->gfn >> (9 * (level - 1)) & 511]) : 0;
        bool is_table = table && linux_is_shadow_present_pte(spte) && !linux_is_last_spte(spte, level);

        wanted += !is_table;
        table = is_table ? __va(linux_spte_to_pfn(spte) << PAGE_SHIFT) : NULL;
    }
    return count_of(&face->counters.tables) + wanted > face->table_limit;
}

static int map(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault)
{
    bool lacks = false;

    if (vcpu->kvm->face->table_limit) {
        rcu_read_lock();
        lacks = lacks_tables(vcpu, fault);
        rcu_read_unlock();
    }
    return lacks ? -ENOMEM : linux_kvm_tdp_mmu_map(vcpu, fault);
}

int told_map(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault)
{
    struct face_counters *counters = &vcpu->kvm->face->counters;
    int ret;

    count_up(&counters->faults);
    tell(vcpu->kvm, TDPMMU_TRACE_MAP, (struct tdpmmu_trace_event){ .map = {
        .vcpu = (u64)(uintptr_t)vcpu, .addr = fault->addr, .ec = fault->error_code, .gfn = fault->gfn,
        .pfn = fault->pfn, .slot = (u64)(uintptr_t)fault->slot, .prefetch = fault->prefetch, .exec = fault->exec,
        .write = fault->write, .present = fault->present, .nxwa = fault->nx_huge_page_workaround_enabled,
        .map_writable = fault->map_writable } });
    ret = map(vcpu, fault);
    tell_return(vcpu->kvm, TDPMMU_TRACE_MAP_RET, ret);
    if (ret == RET_PF_FIXED)
        count_up(&counters->fixed);
    else if (ret == RET_PF_SPURIOUS)
        count_up(&counters->spurious);
    else if (ret == RET_PF_RETRY)
        count_up(&counters->retried);
    else if (ret == RET_PF_EMULATE)
        count_up(&counters->emulated);
    return ret;
}

/* Is there a valid root for the vCPU already? */
static bool has_root(struct kvm_vcpu *vcpu)
{
    struct kvm_mmu_page *root;
    bool found = false;

    rcu_read_lock();
    list_for_each_entry_rcu(root, &vcpu->kvm->arch.tdp_mmu_roots, link)
        found |= root->role.word == vcpu->arch.mmu->root_role.word;
    rcu_read_unlock();
    return found;
}

int told_alloc_root(struct kvm_vcpu *vcpu)
{
    struct face_vm *face = vcpu->kvm->face;

    /* A vCPU that gets a root, by a prefault too, does not stand on an old one any more. */
    kvm_check_request(KVM_REQ_MMU_FREE_OBSOLETE_ROOTS, vcpu);
    tell(vcpu->kvm, TDPMMU_TRACE_ALLOC_ROOT, (struct tdpmmu_trace_event){ .vcpu = { .vcpu = (u64)(uintptr_t)vcpu } });
    if (face->table_limit && count_of(&face->counters.tables) >= face->table_limit && !has_root(vcpu))
        return -ENOMEM;
    return kvm_tdp_mmu_alloc_root(vcpu);
}

void told_put_root(struct kvm *kvm, struct kvm_mmu_page *root)
{
    tell(kvm, TDPMMU_TRACE_PUT_ROOT, (struct tdpmmu_trace_event){ .root = {
        .root = (u64)(uintptr_t)face_page(root), .spt = __pa(root->spt), .role = root->role.word } });
    linux_kvm_tdp_mmu_put_root(kvm, root);
}

bool told_zap_sp(struct kvm *kvm, struct kvm_mmu_page *sp)
{
    bool zapped;

    tell(kvm, TDPMMU_TRACE_ZAP_SP, (struct tdpmmu_trace_event){ .sp = {
        (u64)(uintptr_t)face_page(sp), __pa(sp->spt), sp->gfn } });
    zapped = linux_kvm_tdp_mmu_zap_sp(kvm, sp);
    told_zapped += zapped;
    return zapped;
}

bool told_zap_leafs(struct kvm *kvm, gfn_t start, gfn_t end, bool flush)
{
    tell_range(kvm, TDPMMU_TRACE_KVM_ZAP_LEAFS, start, end, flush);
    return linux_kvm_tdp_mmu_zap_leafs(kvm, start, end, flush);
}

bool told_unmap(struct kvm *kvm, struct kvm_gfn_range *range, bool flush)
{
    tell_range(kvm, TDPMMU_TRACE_UNMAP_GFN_RANGE, range->start, range->end, flush);
    flush = linux_kvm_tdp_mmu_unmap_gfn_range(kvm, range, flush);
    tell_return(kvm, TDPMMU_TRACE_UNMAP_GFN_RANGE_RET, flush);
    return flush;
}

bool told_age(struct kvm *kvm, struct kvm_gfn_range *range)
{
    bool young;

    tell_range(kvm, TDPMMU_TRACE_AGE, range->start, range->end, false);
    young = linux_kvm_tdp_mmu_age_gfn_range(kvm, range);
    tell_return(kvm, TDPMMU_TRACE_AGE_RET, young);
    return young;
}

bool told_test_age(struct kvm *kvm, struct kvm_gfn_range *range)
{
    bool young;

    tell_range(kvm, TDPMMU_TRACE_TEST_AGE, range->start, range->end, false);
    young = linux_kvm_tdp_mmu_test_age_gfn(kvm, range);
    tell_return(kvm, TDPMMU_TRACE_TEST_AGE_RET, young);
    return young;
}

bool told_wrprot(struct kvm *kvm, const struct kvm_memory_slot *slot, int min_level)
{
    bool flush;

    tell_slot(kvm, TDPMMU_TRACE_WRPROT_SLOT, slot, min_level);
    flush = linux_kvm_tdp_mmu_wrprot_slot(kvm, slot, min_level);
    tell_return(kvm, TDPMMU_TRACE_WRPROT_SLOT_RET, flush);
    return flush;
}

/* Linux says nothing: whether an SPTE changed is heard of by the tracepoint. */
bool told_clear_dirty(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
    u64 before = count_of(&kvm->face->counters.spte_changes);

    tell_slot(kvm, TDPMMU_TRACE_CLEAR_DIRTY_SLOT, slot, 0);
    linux_kvm_tdp_mmu_clear_dirty_slot(kvm, slot);
    return count_of(&kvm->face->counters.spte_changes) != before;
}

void told_clear_masked(struct kvm *kvm, struct kvm_memory_slot *slot, gfn_t gfn, unsigned long mask, bool wrprot)
{
    tell(kvm, TDPMMU_TRACE_CLEAR_DIRTY_PT_MASKED, (struct tdpmmu_trace_event){ .gfn = {
        .gfn = gfn, .mask = mask, .wrprot = wrprot } });
    linux_kvm_tdp_mmu_clear_dirty_pt_masked(kvm, slot, gfn, mask, wrprot);
}

bool told_write_protect(struct kvm *kvm, struct kvm_memory_slot *slot, gfn_t gfn, int min_level)
{
    tell(kvm, TDPMMU_TRACE_WRITE_PROTECT_GFN, (struct tdpmmu_trace_event){ .gfn = {
        .gfn = gfn, .min_level = min_level } });
    return linux_kvm_tdp_mmu_write_protect_gfn(kvm, slot, gfn, min_level);
}

void told_split(struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t start, gfn_t end, int target, bool shared)
{
    tell(kvm, TDPMMU_TRACE_SPLIT, (struct tdpmmu_trace_event){ .range = {
        .start = start, .end = end, .target = target, .shared = shared } });
    linux_kvm_tdp_mmu_try_split_huge_pages(kvm, slot, start, end, target, shared);
    tell_return(kvm, TDPMMU_TRACE_SPLIT_RET, 0);
}

void told_collapse(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
    tell_slot(kvm, TDPMMU_TRACE_ZAP_COLLAPSIBLE, slot, 0);
    linux_kvm_tdp_mmu_zap_collapsible_sptes(kvm, slot);
    tell_return(kvm, TDPMMU_TRACE_ZAP_COLLAPSIBLE_RET, 0);
}

void told_zap_all(struct kvm *kvm)
{
    tell(kvm, TDPMMU_TRACE_ZAP_ALL, (struct tdpmmu_trace_event){ 0 });
    linux_kvm_tdp_mmu_zap_all(kvm);
}

void told_invalidate_roots(struct kvm *kvm)
{
    tell(kvm, TDPMMU_TRACE_INVALIDATE_ALL_ROOTS, (struct tdpmmu_trace_event){ 0 });
    linux_kvm_tdp_mmu_invalidate_all_roots(kvm);
}

void told_zap_invalidated(struct kvm *kvm)
{
    tell(kvm, TDPMMU_TRACE_ZAP_INVALIDATED_ROOTS, (struct tdpmmu_trace_event){ 0 });
    linux_kvm_tdp_mmu_zap_invalidated_roots(kvm);
    tell_return(kvm, TDPMMU_TRACE_ZAP_INVALIDATED_ROOTS_RET, 0);
}

static void tell_restart(struct kvm *kvm, gfn_t next, gfn_t yielded)
{
    tell(kvm, TDPMMU_TRACE_ITER_RESTART, (struct tdpmmu_trace_event){ .iter_restart = { next, yielded } });
}

void linux_tell_restart(const struct tdp_iter *it)
{
    if (unlikely(it->yielded))
        tell_restart(face_now->kvm, it->next_last_level_gfn, it->yielded_gfn);
}

/* ---- walks: shim/walks.h ------------------------------------------------------------- */
void linux_tell_walk(struct kvm_mmu_page *root, int min_level, gfn_t gfn)
{
    struct kvm *kvm = face_now ? face_now->kvm : NULL;

    if (!face_traces(kvm, TDPMMU_TRACE_ITER_START) && !face_traces(kvm, TDPMMU_TRACE_ITER_RESTART))
        return;
    tell(kvm, TDPMMU_TRACE_ITER_START, (struct tdpmmu_trace_event){ .root = {
        .root = (u64)(uintptr_t)face_page(root), .spt = __pa(root->spt), .start = gfn, .role = root->role.word,
        .level = min_level } });
    tell_restart(kvm, gfn, 0);
}
