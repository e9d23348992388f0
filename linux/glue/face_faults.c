// SPDX-License-Identifier: GPL-2.0-only
/* tdp_mmu.h: faults, and walks to one address. */
#include "face.h"

static bool is_address(struct kvm *kvm, const char *function, const char *text, gpa_t gpa)
{
    if (gpa >> PAGE_SHIFT < gfn_limit(kvm))
        return true;
    face_refuse(kvm, function, text, gpa, 0);
    return false;
}

static bool ring_is_full(const struct kvm_vcpu *vcpu)
{
    const struct kvm_dirty_ring *ring = &vcpu->dirty_ring;

    return ring->dirty_gfns && READ_ONCE(ring->dirty_index) - READ_ONCE(ring->reset_index) >= ring->size;
}

/* Inside kvm->srcu, as whoever drives a vCPU in the kernel is. */
static int drive(struct kvm_vcpu *vcpu, int (*fault)(struct kvm_vcpu *vcpu, gpa_t gpa, u64 ec), gpa_t gpa, u64 ec)
{
    struct kvm_vcpu *outer = linux_running_vcpu;
    int idx = srcu_read_lock(&vcpu->kvm->srcu), ret;

    linux_running_vcpu = vcpu;
    ret = fault(vcpu, gpa, ec);
    linux_running_vcpu = outer;
    srcu_read_unlock(&vcpu->kvm->srcu, idx);
    return face_now->poisoned ? -EHWPOISON : ret;
}

int kvm_tdp_mmu_map(struct kvm_vcpu *vcpu, gpa_t gpa, uint64_t error_code, bool map_writable, int max_level,
                    kvm_pfn_t pfn, bool prefault)
{
    const struct kvm_memory_slot *slot;
    struct kvm_vcpu *outer = linux_running_vcpu;
    struct kvm *kvm;
    int ret;

    REFUSE_NULL(vcpu, "vcpu", -EINVAL);
    kvm = vcpu->kvm;
    if (!face_wants_lock(kvm, __func__) || !face_is_set_up(kvm, __func__) ||
        !is_address(kvm, __func__, "gpa is beyond MAXPHYADDR (gpa)", gpa))
        return -EINVAL;
    if (max_level < PG_LEVEL_4K || max_level > KVM_MAX_HUGEPAGE_LEVEL) {
        face_refuse(kvm, __func__, "max_level is not 1 to 3 (max_level)", (u64)(s64)max_level, 0);
        return -EINVAL;
    }
    if (pfn != KVM_PFN_NOSLOT && !is_error_pfn(pfn) && pfn >= gfn_limit(kvm)) {
        face_refuse(kvm, __func__, "pfn is beyond MAXPHYADDR (pfn)", pfn, 0);
        return -EINVAL;
    }
    ENTER(kvm, -EINVAL);
    face_exit_guest(vcpu);
    if (face_root_is_obsolete(vcpu)) {
        count_up(&kvm->face->counters.faults);
        count_up(&kvm->face->counters.retried);
        return FACE_RET_PF_RETRY;
    }
    rcu_read_lock();
    slot = __gfn_to_memslot(kvm_vcpu_memslots(vcpu), gpa >> PAGE_SHIFT);
    ret = slot && map_writable && kvm_slot_dirty_track_enabled(slot) && ring_is_full(vcpu) ? -ENOBUFS : 0;
    rcu_read_unlock();
    if (ret)
        return ret;
    frame.any_lock = true; /* Linux maps under mmu_lock for read; for write does as well */
    linux_running_vcpu = vcpu;
    ret = face_map(vcpu, gpa, error_code, map_writable, max_level, pfn, prefault);
    linux_running_vcpu = outer;
    return frame.poisoned ? -EHWPOISON : ret;
}

int kvm_tdp_mmu_page_fault(struct kvm_vcpu *vcpu, gpa_t gpa, uint64_t error_code)
{
    struct tdpmmu_trace_event event = { .page_fault = {
        .fault_address = gpa, .error_code = error_code, .vcpu_id = vcpu ? vcpu->vcpu_id : 0 } };
    int ret;

    REFUSE_NULL(vcpu, "vcpu", -EINVAL);
    if (!face_wants_none(vcpu->kvm, __func__, true, false) || !face_is_set_up(vcpu->kvm, __func__))
        return -EINVAL;
    ENTER(vcpu->kvm, -EINVAL);
    face_exit_guest(vcpu);
    face_event(vcpu->kvm, TDPMMU_TRACE_PAGE_FAULT, &event);
    if (gpa >> PAGE_SHIFT >= gfn_limit(vcpu->kvm))
        return FACE_RET_PF_EMULATE;
    if (!VALID_PAGE(vcpu->arch.mmu->root.hpa))
        return FACE_RET_PF_RETRY;
    if (kvm_dirty_ring_check_request(vcpu))
        return -ENOBUFS;
    ret = drive(vcpu, face_page_fault, gpa, error_code);
    event = (struct tdpmmu_trace_event){ .ret = { ret } };
    face_event(vcpu->kvm, TDPMMU_TRACE_PF_RET, &event);
    return ret;
}

int tdpmmu_fast_page_fault(struct kvm_vcpu *vcpu, gpa_t gpa, uint64_t error_code)
{
    REFUSE_NULL(vcpu, "vcpu", -EINVAL);
    if (!is_address(vcpu->kvm, __func__, "gpa is beyond MAXPHYADDR (gpa)", gpa))
        return -EINVAL;
    if (!VALID_PAGE(vcpu->arch.mmu->root.hpa)) {
        face_refuse(vcpu->kvm, __func__, "the vCPU has no root", 0, 0);
        return -EINVAL;
    }
    ENTER(vcpu->kvm, -EINVAL);
    face_exit_guest(vcpu);
    if (ring_is_full(vcpu))
        return FACE_RET_PF_INVALID;
    return drive(vcpu, face_fast_page_fault, gpa, error_code);
}

int kvm_vcpu_pre_fault_memory(struct kvm_vcpu *vcpu, struct kvm_pre_fault_memory *range)
{
    int ret;

    REFUSE_NULL(vcpu, "vcpu", -EINVAL);
    if (!face_wants_none(vcpu->kvm, __func__, true, false) || !face_is_set_up(vcpu->kvm, __func__))
        return -EINVAL;
    if (!range) {
        face_refuse(vcpu->kvm, __func__, "range is NULL", 0, 0);
        return -EINVAL;
    }
    ENTER(vcpu->kvm, -EINVAL);
    face_exit_guest(vcpu);
    ret = face_prefault(vcpu, range);
    if (ret == -EINTR)
        ret = -EAGAIN;
    return frame.poisoned && ret ? -EHWPOISON : ret;
}

static bool may_walk(struct kvm_vcpu *vcpu, const char *function, bool arguments, const char *text)
{
    if (!rcu_read_lock_held()) {
        face_warn(vcpu->kvm, TDPMMU_WARN_LOCK, function, "called outside an RCU reader", 0, 0);
        return false;
    }
    if (!arguments || !VALID_PAGE(vcpu->arch.mmu->root.hpa)) {
        face_refuse(vcpu->kvm, function, arguments ? "the vCPU has no root" : text, 0, 0);
        return false;
    }
    return true;
}

int kvm_tdp_mmu_get_walk(struct kvm_vcpu *vcpu, gpa_t addr, uint64_t *sptes, int *root_level)
{
    REFUSE_NULL(vcpu, "vcpu", -EINVAL);
    if (!may_walk(vcpu, __func__, sptes && root_level, "sptes or root_level is NULL") ||
        !is_address(vcpu->kvm, __func__, "addr is beyond MAXPHYADDR (addr)", addr))
        return -EINVAL;
    ENTER(vcpu->kvm, -EINVAL);
    return linux_kvm_tdp_mmu_get_walk(vcpu, addr, sptes, root_level);
}

tdp_ptep_t kvm_tdp_mmu_fast_pf_get_last_sptep(struct kvm_vcpu *vcpu, gfn_t gfn, uint64_t *spte)
{
    REFUSE_NULL(vcpu, "vcpu", NULL);
    if (!may_walk(vcpu, __func__, spte, "spte is NULL"))
        return NULL;
    if (gfn >= gfn_limit(vcpu->kvm)) {
        face_refuse(vcpu->kvm, __func__, "gfn is beyond MAXPHYADDR (gfn)", gfn, 0);
        return NULL;
    }
    ENTER(vcpu->kvm, NULL);
    return linux_kvm_tdp_mmu_fast_pf_get_last_sptep(vcpu, gfn, spte);
}
