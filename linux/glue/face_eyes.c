// SPDX-License-Identifier: GPL-2.0-only
/*
 * rig_check.h, rig_cpu.h and rig_ledger.h: those who look on see what the library's own MMU shows them, and Linux's C
 * shows them nothing.  What it has to say of itself is said by its WARN_ONs.
 */
#include "face.h"

int tdpmmu_check(struct kvm *kvm)
{
    REFUSE_NULL(kvm, "kvm", -EINVAL);
    if (tdpmmu_read_lock_held(&kvm->mmu_lock)) {
        face_warn(kvm, TDPMMU_WARN_LOCK, __func__, "mmu_lock is held for read", 0, 0);
        return -EBUSY;
    }
    return -EOPNOTSUPP;
}

int tdpmmu_check_report(struct kvm *kvm, tdpmmu_check_report_fn report, void *ctx)
{
    (void)report, (void)ctx;
    REFUSE_NULL(kvm, "kvm", -EINVAL);
    return -EOPNOTSUPP;
}

int tdpmmu_check_always(struct kvm *kvm, unsigned int every_nth)
{
    (void)every_nth;
    REFUSE_NULL(kvm, "kvm", -EINVAL);
    return -EOPNOTSUPP;
}

int tdpmmu_check_stats(struct kvm *kvm, struct tdpmmu_check_stats *stats, size_t size)
{
    REFUSE_NULL(kvm, "kvm", -EINVAL);
    REFUSE_NULL(stats, "stats", -EINVAL);
    if (size != sizeof(*stats)) {
        face_refuse(kvm, __func__, "size is not that of the struct (size)", size, 0);
        return -EINVAL;
    }
    return -EOPNOTSUPP;
}

/* ---- CPUs that cache ------------------------------------------------------------------------- */
static int no_cpus(struct kvm *kvm, const char *function)
{
    face_refuse(kvm, function, "the VM has no CPUs with caches", 0, 0);
    return -EINVAL;
}

int tdpmmu_cpus_attach(struct kvm *kvm, const struct tdpmmu_cpus_config *config)
{
    REFUSE_NULL(kvm, "kvm", -EINVAL);
    REFUSE_NULL(config, "config", -EINVAL);
    return face_wants_none(kvm, __func__, true, false) ? -EOPNOTSUPP : -EINVAL;
}

int tdpmmu_cpus_detach(struct kvm *kvm)
{
    REFUSE_NULL(kvm, "kvm", -EINVAL);
    return face_wants_none(kvm, __func__, true, false) ? no_cpus(kvm, __func__) : -EINVAL;
}

int tdpmmu_cpus_check(struct kvm *kvm)
{
    REFUSE_NULL(kvm, "kvm", -EINVAL);
    return face_wants_none(kvm, __func__, true, false) ? -ENOENT : -EINVAL;
}

/* tdpmmu_cpu_access() walks; what this would say beyond that, face_rig.c does not know. */
int tdpmmu_cpu_access_full(struct kvm_vcpu *vcpu, gpa_t gpa, uint64_t access, struct tdpmmu_cpu_result *result)
{
    (void)gpa, (void)access;
    REFUSE_NULL(vcpu, "vcpu", -EINVAL);
    REFUSE_NULL(result, "result", -EINVAL);
    return -EOPNOTSUPP;
}

int tdpmmu_cpu_fill(struct kvm_vcpu *vcpu, gpa_t gpa)
{
    (void)gpa;
    REFUSE_NULL(vcpu, "vcpu", -EINVAL);
    return no_cpus(vcpu->kvm, __func__);
}

int tdpmmu_cpu_drop(struct kvm_vcpu *vcpu, gpa_t gpa)
{
    (void)gpa;
    REFUSE_NULL(vcpu, "vcpu", -EINVAL);
    return no_cpus(vcpu->kvm, __func__);
}

int tdpmmu_cpu_cached(struct kvm_vcpu *vcpu, gpa_t gpa, struct tdpmmu_cpu_result *result)
{
    (void)gpa, (void)result;
    REFUSE_NULL(vcpu, "vcpu", -EINVAL);
    return no_cpus(vcpu->kvm, __func__);
}

/* ---- the ledger -------------------------------------------------------------------------------- */
int tdpmmu_ledger_attach(struct kvm *kvm, tdpmmu_ledger_report_fn report, void *ctx)
{
    (void)report, (void)ctx;
    REFUSE_NULL(kvm, "kvm", -EINVAL);
    return face_wants_none(kvm, __func__, true, false) ? -EOPNOTSUPP : -EINVAL;
}

int tdpmmu_ledger_detach(struct kvm *kvm)
{
    REFUSE_NULL(kvm, "kvm", -EINVAL);
    return face_wants_none(kvm, __func__, true, false) ? -ENOENT : -EINVAL;
}

static bool is_space(struct kvm *kvm, const char *function, int as_id)
{
    if (as_id == 0 || as_id == 1)
        return true;
    face_refuse(kvm, function, "as_id is neither 0 nor 1 (as_id)", (u64)(s64)as_id, 0);
    return false;
}

bool tdpmmu_ledger_owes(struct kvm *kvm, int as_id, gfn_t start, gfn_t end)
{
    (void)start, (void)end;
    REFUSE_NULL(kvm, "kvm", false);
    is_space(kvm, __func__, as_id);
    return false;
}

static bool ring_has(const struct kvm_dirty_ring *ring, u32 slot, u64 offset)
{
    if (!ring->dirty_gfns)
        return false;
    for (u32 i = READ_ONCE(ring->reset_index); i != READ_ONCE(ring->dirty_index); i++) {
        const struct kvm_dirty_gfn *entry = &ring->dirty_gfns[i & (ring->size - 1)];

        if (READ_ONCE(entry->slot) == slot && READ_ONCE(entry->offset) == offset)
            return true;
    }
    return false;
}

static bool is_dirty(struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn)
{
    u64 offset = gfn - slot->base_gfn;
    struct kvm_vcpu *vcpu;
    unsigned long i;

    if (slot->dirty_bitmap && READ_ONCE(slot->dirty_bitmap[offset / 64]) >> offset % 64 & 1)
        return true;
    kvm_for_each_vcpu(i, vcpu, kvm) {
        if (ring_has(&vcpu->dirty_ring, (u32)slot->as_id << 16 | (u32)slot->id, offset))
            return true;
        if ((is_smm(vcpu) ? 1 : 0) == slot->as_id && face_log_has(vcpu, gfn))
            return true;
    }
    return false;
}

int tdpmmu_page_is_dirty(struct kvm *kvm, int as_id, gfn_t gfn)
{
    const struct kvm_memory_slot *slot;
    int ret = -ENOENT;

    REFUSE_NULL(kvm, "kvm", -EINVAL);
    if (!is_space(kvm, __func__, as_id))
        return -EINVAL;
    if (gfn >= gfn_limit(kvm)) {
        face_refuse(kvm, __func__, "gfn is beyond MAXPHYADDR (gfn)", gfn, 0);
        return -EINVAL;
    }
    ENTER(kvm, -EINVAL);
    rcu_read_lock();
    slot = __gfn_to_memslot(__kvm_memslots(kvm, as_id), gfn);
    if (slot && kvm_slot_dirty_track_enabled(slot))
        ret = is_dirty(kvm, slot, gfn);
    rcu_read_unlock();
    return ret;
}
