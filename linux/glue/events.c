// SPDX-License-Identifier: GPL-2.0-only
/* Linux's tracepoints as events of trace.h, and the callback that is told of SPTEs. */
#include "face.h"

bool face_traces(struct kvm *kvm, enum tdpmmu_trace_id id)
{
    return kvm && (kvm->face->ops.trace || count_of(&kvm->face->ring_events) >> id & 1);
}

void face_event(struct kvm *kvm, enum tdpmmu_trace_id id, struct tdpmmu_trace_event *event)
{
    if (likely(!face_traces(kvm, id)))
        return;
    event->kvm = (u64)(uintptr_t)kvm;
    event->id = (u16)id;
    tdpmmu_peer_event(event, count_of(&kvm->face->ring_events) >> id & 1);
    if (kvm->face->ops.trace)
        kvm->face->ops.trace(kvm->face->ctx, kvm, event);
}

static struct kvm *vm(void) { return face_now ? face_now->kvm : NULL; }
static u64 pa(const u64 *sptep) { return __pa(sptep); }

void hook_kvm_tdp_mmu_spte_changed(int as_id, gfn_t gfn, int level, u64 old_spte, u64 new_spte)
{
    struct kvm *kvm = vm();
    struct tdpmmu_trace_event event = { .spte_changed = { gfn, old_spte, new_spte, (u8)level, (u8)as_id } };

    count_up(&kvm->face->counters.spte_changes);
    face_event(kvm, TDPMMU_TRACE_SPTE_CHANGED, &event);
    if (kvm->face->ops.spte_changed)
        kvm->face->ops.spte_changed(kvm->face->ctx, kvm, as_id, gfn, level, old_spte, new_spte,
                                    !tdpmmu_write_lock_held(&kvm->mmu_lock));
}

void hook_kvm_mmu_get_page(struct kvm_mmu_page *sp, bool created)
{
    struct tdpmmu_trace_event event = { .page = {
        .gfn = sp->gfn, .role = sp->role.word, .root_count = (u32)face_page(sp)->tdp_mmu_root_count,
        .mmu_valid_gen = sp->mmu_valid_gen, .unsync = sp->unsync, .created = created } };

    face_event(vm(), TDPMMU_TRACE_GET_PAGE, &event);
}

void hook_kvm_mmu_prepare_zap_page(struct kvm_mmu_page *sp)
{
    struct tdpmmu_trace_event event = { .page = {
        .gfn = sp->gfn, .role = sp->role.word, .root_count = (u32)face_page(sp)->tdp_mmu_root_count,
        .mmu_valid_gen = sp->mmu_valid_gen, .unsync = sp->unsync } };

    face_event(vm(), TDPMMU_TRACE_PREPARE_ZAP_PAGE, &event);
}

void hook_mark_mmio_spte(u64 *sptep, gfn_t gfn, u64 spte)
{
    struct tdpmmu_trace_event event = { .mmio = {
        .sptep = pa(sptep), .gfn = gfn, .access = (u32)(spte & ACC_ALL),
        .gen = (u32)linux_get_mmio_spte_generation(spte) } };

    count_up(&vm()->face->counters.mmio_sptes);
    face_event(vm(), TDPMMU_TRACE_MARK_MMIO_SPTE, &event);
}

void hook_check_mmio_spte(u64 spte, unsigned int kvm_gen, unsigned int spte_gen)
{
    struct tdpmmu_trace_event event = { .mmio_check = { spte, kvm_gen, spte_gen } };

    face_event(vm(), TDPMMU_TRACE_CHECK_MMIO_SPTE, &event);
}

void hook_handle_mmio_page_fault(u64 addr, gfn_t gfn, unsigned access)
{
    struct tdpmmu_trace_event event = { .mmio = { .addr = addr, .gfn = gfn, .access = access } };

    face_event(vm(), TDPMMU_TRACE_HANDLE_MMIO, &event);
}

void hook_fast_page_fault(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault, u64 *sptep, u64 old_spte, int ret)
{
    struct tdpmmu_trace_event event = { .fast_page_fault = {
        .cr2_or_gpa = fault->addr, .error_code = fault->error_code, .sptep = sptep ? pa(sptep) : 0,
        .old_spte = old_spte, .new_spte = sptep ? READ_ONCE(*sptep) : 0, .vcpu_id = vcpu->vcpu_id, .ret = ret } };

    if (ret == RET_PF_FIXED)
        count_up(&vcpu->kvm->face->counters.fast_faults);
    face_event(vcpu->kvm, TDPMMU_TRACE_FAST_PAGE_FAULT, &event);
}

void hook_kvm_mmu_zap_all_fast(struct kvm *kvm)
{
    struct tdpmmu_trace_event event = { .zap_all_fast = { kvm->arch.mmu_valid_gen, (u32)kvm->arch.n_used_mmu_pages } };

    face_event(kvm, TDPMMU_TRACE_ZAP_ALL_FAST, &event);
}

void hook_kvm_mmu_set_spte(int level, gfn_t gfn, u64 *sptep)
{
    u64 spte = READ_ONCE(*sptep);
    struct tdpmmu_trace_event event = { .set_spte = {
        .gfn = gfn, .spte = spte, .sptep = pa(sptep), .level = (u8)level,
        .r = shadow_present_mask || spte & PT_PRESENT_MASK, .x = linux_is_executable_pte(spte),
        .u = shadow_user_mask ? !!(spte & shadow_user_mask) : -1 } };

    face_event(vm(), TDPMMU_TRACE_SET_SPTE, &event);
}

void hook_kvm_mmu_spte_requested(struct kvm_page_fault *fault)
{
    struct tdpmmu_trace_event event = { .spte_requested = {
        fault->gfn, fault->pfn | (fault->gfn & (KVM_PAGES_PER_HPAGE(fault->goal_level) - 1)), fault->goal_level } };

    face_event(vm(), TDPMMU_TRACE_SPTE_REQUESTED, &event);
}

void hook_kvm_mmu_split_huge_page(u64 gfn, u64 spte, int level, int error)
{
    struct tdpmmu_trace_event event = { .split_huge_page = { gfn, spte, level, error } };

    if (!error)
        count_up(&vm()->face->counters.splits);
    face_event(vm(), TDPMMU_TRACE_SPLIT_HUGE_PAGE, &event);
}

void hook_kvm_dirty_ring_push(struct kvm_dirty_ring *ring, u32 slot, u64 offset)
{
    struct tdpmmu_trace_event event = { .dirty_ring = {
        offset, (u32)ring->index, ring->dirty_index, ring->reset_index, slot } };

    face_event(vm(), TDPMMU_TRACE_RING_PUSH, &event);
}

void hook_kvm_dirty_ring_reset(struct kvm_dirty_ring *ring)
{
    struct tdpmmu_trace_event event = { .dirty_ring = {
        .index = (u32)ring->index, .dirty_index = ring->dirty_index, .reset_index = ring->reset_index } };

    face_event(vm(), TDPMMU_TRACE_RING_RESET, &event);
}

void hook_kvm_unmap_hva_range(unsigned long start, unsigned long end)
{
    struct tdpmmu_trace_event event = { .hva = { start, end } };

    face_event(vm(), TDPMMU_TRACE_UNMAP_HVA_RANGE, &event);
}

void hook_kvm_age_hva(unsigned long start, unsigned long end)
{
    struct tdpmmu_trace_event event = { .hva = { start, end } };

    face_event(vm(), TDPMMU_TRACE_AGE_HVA, &event);
}

void hook_kvm_test_age_hva(unsigned long hva)
{
    struct tdpmmu_trace_event event = { .hva = { hva, hva } };

    face_event(vm(), TDPMMU_TRACE_TEST_AGE_HVA, &event);
}

/* ---- trace.h -------------------------------------------------------------------------- */
int tdpmmu_trace_enable(struct kvm *kvm, uint64_t events)
{
    REFUSE_NULL(kvm, "kvm", -EINVAL);
    if (events & ~TDPMMU_TRACE_ALL) {
        face_refuse(kvm, __func__, "events has bits that are no events (events)", events, 0);
        return -EINVAL;
    }
    atomic_store(&kvm->face->ring_events, events);
    return 0;
}

int tdpmmu_trace_mark(struct kvm *kvm, const char *text)
{
    size_t length = 0;

    REFUSE_NULL(kvm, "kvm", -EINVAL);
    for (; text && text[length]; length++)
        if (length == 65535 || text[length] < 0x20 || text[length] >= 0x7f)
            text = NULL, length = 0;
    if (!text) {
        face_refuse(kvm, __func__, "text is NULL, longer than 65535 bytes or no printable ASCII (text)", 0, 0);
        return -EINVAL;
    }
    for (size_t done = 0, part; done < length || !done; done += part) {
        struct tdpmmu_trace_event event = { 0 };

        part = min(length - done, (size_t)TDPMMU_TRACE_TEXT);
        event.mark.length = (u16)part;
        event.mark.continues = done + part < length;
        memcpy(event.mark.text, text + done, part);
        face_event(kvm, TDPMMU_TRACE_MARK, &event);
        if (!part)
            break;
    }
    return 0;
}
