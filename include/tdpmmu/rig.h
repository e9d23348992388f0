/* SPDX-License-Identifier: GPL-2.0-only */
/* What a test rig needs and a kernel gets from hardware. */
#ifndef TDPMMU_RIG_H
#define TDPMMU_RIG_H

#include "types.h"

TDPMMU_BEGIN_DECLS

/*
 * One access of the guest, as the CPU's page walker makes it: walk the vCPU's
 * root to gpa without a TLB, and if every level allows the access set Accessed
 * on the way and, for a write, Dirty on the leaf, each with a compare-and-exchange
 * (nothing is set where the VM has no A/D bits).  Where the VM logs dirty pages by
 * Dirty bits (PML), a leaf that becomes dirty marks gpa's page in the dirty log.
 * access: any of PFERR_WRITE_MASK, PFERR_FETCH_MASK, PFERR_USER_MASK.
 * Returns the level of the leaf; or 0 if the access faults, with the error code
 * the CPU would report in *error_code (may be NULL); or -EINVAL (NULL vCPU, no
 * root, gpa out of range); or -ENOBUFS: the page would be logged, and the vCPU's dirty
 * ring is full but for its reserve, so nothing was written: harvest and reset it.
 * A vCPU whose root was invalidated does not run on: 0, and the access in
 * *error_code, until kvm_mmu_load() gave it another, so call that before each access.
 * Enters RCU itself.  Any lock.
 */
int tdpmmu_cpu_access(struct kvm_vcpu *vcpu, gpa_t gpa, uint64_t access, uint64_t *error_code);

TDPMMU_END_DECLS

#endif
