// SPDX-License-Identifier: GPL-2.0-only
/* Faults: the functions of mmu.c as linux/glue has them, entered as KVM enters them on a fault. */
#include "glue/mmu.c"

int bare_fault(struct kvm_vcpu *vcpu, gpa_t gpa, u64 ec, int level)
{
    struct kvm_page_fault fault = FAULT(vcpu, gpa, ec, level, false);
    int ret;

    vcpu->stat.pf_taken++;
    fault.slot = kvm_vcpu_gfn_to_memslot(vcpu, fault.gfn);
    ret = kvm_tdp_mmu_page_fault(vcpu, &fault);
    if (ret == RET_PF_FIXED)
        vcpu->stat.pf_fixed++;
    else if (ret == RET_PF_EMULATE)
        vcpu->stat.pf_emulate++;
    else if (ret == RET_PF_SPURIOUS)
        vcpu->stat.pf_spurious++;
    return ret;
}

int bare_map(struct kvm_vcpu *vcpu, gpa_t gpa, u64 ec, int level)
{
    struct kvm_page_fault fault = FAULT(vcpu, gpa, ec, level, false);

    if (mmu_topup_memory_caches(vcpu, false))
        return -ENOMEM;
    fault.slot = kvm_vcpu_gfn_to_memslot(vcpu, fault.gfn);
    __kvm_faultin_pfn(vcpu, &fault);
    return kvm_tdp_mmu_map(vcpu, &fault);
}
