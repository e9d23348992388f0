// SPDX-License-Identifier: GPL-2.0-only
/* rig.h: a CPU's page walk, which Linux has not: the hardware does it. */
#include <sched.h>

#include "face.h"

/*
 * Odd: the vCPU is in the guest.  Who asks it to leave sets a request, then waits until this has moved;
 * an access that begins later sees the request.
 */
static unsigned long entries_of(struct kvm_vcpu *vcpu) { return __atomic_load_n(&vcpu->face_entries, __ATOMIC_SEQ_CST); }

void face_wait_out_of_guest(struct kvm_vcpu *vcpu)
{
    unsigned long entries = entries_of(vcpu);

    while (entries & 1 && entries_of(vcpu) == entries)
        sched_yield();
}

static bool allows(struct kvm *kvm, u64 spte, u64 access)
{
    return (!(access & PFERR_WRITE_MASK) || linux_is_writable_pte(spte)) &&
           (!(access & PFERR_FETCH_MASK) || linux_is_executable_pte(spte));
}

static bool is_readable(u64 spte)
{
    /* EPT's R; NPT's P.  An access-tracked entry of a CPU without A bits has none of R, W, X. */
    return linux_is_shadow_present_pte(spte) && spte & 1;
}

/* A leaf's level; 0: a fault, with its code; or what face_set_bits() answers. */
static int walk(struct kvm_vcpu *vcpu, struct kvm_mmu_page *root, gfn_t gfn, u64 access, u64 *code)
{
    u64 *table = root->spt;

    for (int level = (int)root->role.level;; level--) {
        u64 *sptep = &table[gfn >> (9 * (level - 1)) & 511], spte = READ_ONCE(*sptep), marked;
        bool last = linux_is_last_spte(spte, level), dirties;

        *code = access;
        if (!is_readable(spte)) {
            if (linux_is_mmio_spte(vcpu->kvm, spte))
                *code |= PFERR_RSVD_MASK | PFERR_PRESENT_MASK;
            return 0;
        }
        *code |= PFERR_PRESENT_MASK;
        if (!allows(vcpu->kvm, spte, access))
            return 0;
        marked = spte | (kvm_ad_enabled() ? shadow_accessed_mask : 0);
        dirties = last && access & PFERR_WRITE_MASK && kvm_ad_enabled() && !(spte & shadow_dirty_mask);
        if (dirties)
            marked |= shadow_dirty_mask;
        if (marked != spte) {
            int error = face_set_bits(vcpu, sptep, spte, marked, gfn, dirties);

            if (error)
                return error;
        }
        if (last)
            return level;
        table = __va(marked & SPTE_BASE_ADDR_MASK);
    }
}

static int access_from_root(struct kvm_vcpu *vcpu, gfn_t gfn, u64 access, u64 *code)
{
    struct kvm_mmu_page *root = linux_table_at_pa(READ_ONCE(vcpu->arch.mmu->root.hpa));
    int ret;

    *code = access;
    if (!root || root->role.invalid || kvm_test_request(KVM_REQ_MMU_FREE_OBSOLETE_ROOTS, vcpu))
        return 0;
    do
        ret = walk(vcpu, root, gfn, access, code);
    while (ret == -EAGAIN);
    return ret;
}

static int enter_and_walk(struct kvm_vcpu *vcpu, gfn_t gfn, u64 access, u64 *code)
{
    int ret;

    rcu_read_lock();
    __atomic_fetch_add(&vcpu->face_entries, 1, __ATOMIC_SEQ_CST);
    ret = access_from_root(vcpu, gfn, access, code);
    __atomic_fetch_add(&vcpu->face_entries, 1, __ATOMIC_SEQ_CST);
    rcu_read_unlock();
    return ret;
}

int tdpmmu_cpu_access(struct kvm_vcpu *vcpu, gpa_t gpa, uint64_t access, uint64_t *error_code)
{
    u64 code;
    int ret;

    REFUSE_NULL(vcpu, "vcpu", -EINVAL);
    if (gpa >> PAGE_SHIFT >= gfn_limit(vcpu->kvm)) {
        face_refuse(vcpu->kvm, __func__, "gpa is beyond MAXPHYADDR (gpa)", gpa, 0);
        return -EINVAL;
    }
    if (access & ~(PFERR_WRITE_MASK | PFERR_FETCH_MASK | PFERR_USER_MASK)) {
        face_refuse(vcpu->kvm, __func__, "access has other bits than W, F and U (access)", access, 0);
        return -EINVAL;
    }
    if (!VALID_PAGE(vcpu->arch.mmu->root.hpa)) {
        face_refuse(vcpu->kvm, __func__, "the vCPU has no root", 0, 0);
        return -EINVAL;
    }
    ENTER(vcpu->kvm, -EINVAL);
    while ((ret = enter_and_walk(vcpu, gpa >> PAGE_SHIFT, access, &code)) == -EOVERFLOW) {
        /* The CPU exits, which empties its log. */
        count_up(&vcpu->kvm->face->counters.pml_full);
        face_exit_guest(vcpu);
    }
    if (!ret && error_code)
        *error_code = code;
    return ret;
}
