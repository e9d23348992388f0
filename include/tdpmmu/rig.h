/* SPDX-License-Identifier: GPL-2.0-only */
/* What a test rig needs and a kernel gets from hardware. */
#ifndef TDPMMU_RIG_H
#define TDPMMU_RIG_H

#include "types.h"

TDPMMU_BEGIN_DECLS

/*
 * Make one access of the guest, as the CPU's page walker does: walk the vCPU's
 * root to gpa without a TLB, and if every level allows the access set Accessed
 * on the way and, for a write, Dirty on the leaf, each with a compare-and-exchange
 * (nothing is set where the VM has no A/D bits).  Enters RCU itself.
 *
 * Page modification logging: where the VM logs by Dirty bits (EPT with A/D bits, but for
 * no_pml) and any slot is logged, a leaf that becomes dirty puts the page's address (the 4 KiB
 * page of gpa, whatever the leaf's level) into a log of the CPU's own, which holds 512.  A full
 * log is found before a bit is set: the CPU exits, as by tdpmmu_cpu_exit(), and makes the access
 * again.  What the log holds is in the dirty log, bitmap or ring, when the vCPU has left the
 * guest: by tdpmmu_cpu_exit(), and by each call that a vCPU makes into the MMU (kvm_mmu_load(),
 * a page fault, kvm_tdp_mmu_map(), a prefault, tdpmmu_vcpu_set_as_id(), its end).  Who gets,
 * clears or resets a dirty log, invalidates roots, deletes or moves a slot makes every vCPU leave
 * first, from whatever thread.  A page that no slot holds any more by then is dropped.
 *
 * access: any of PFERR_WRITE_MASK, PFERR_FETCH_MASK, PFERR_USER_MASK; or PFERR_GUEST_PAGE_MASK alone (rig_cpu.h,
 * which also gives the CPU a TLB).
 * A vCPU whose root was invalidated does not run on: 0, and the access in
 * *error_code, until kvm_mmu_load() gave it another, so call that before each access.
 *
 * Returns the level of the leaf; or 0 if the access faults, with the error code
 * the CPU would report in *error_code (may be NULL); or -EINVAL (NULL vCPU, no
 * root, gpa out of range); or -ENOBUFS (the page would go into the CPU's log, and the vCPU's
 * dirty ring is full but for its reserve, so nothing was written: harvest and reset it; or, with a warning, it is
 * called in a callback that is made while this vCPU's log is emptied).
 * Any lock.
 */
int tdpmmu_cpu_access(struct kvm_vcpu *vcpu, gpa_t gpa, uint64_t access, uint64_t *error_code);

/*
 * Let the vCPU's CPU leave the guest, for an interrupt, a HLT or what else a rig simulates: the pages in
 * its log are marked in the dirty log, in the address space that the vCPU is in, the newest first
 * (or the oldest: pml_oldest_first).  Before a rig reads a dirty ring it calls this for the ring's vCPU.
 * Beside the thread that drives the vCPU any other may call it, as long as the vCPU is there.
 * Returns how many pages the log held (0 without PML), or -EINVAL for NULL.
 * Any lock.  Follows vmx_flush_pml_buffer().
 */
int tdpmmu_cpu_exit(struct kvm_vcpu *vcpu);

TDPMMU_END_DECLS

#include "rig_check.h"
#include "rig_cpu.h"
#include "rig_ledger.h"
#include "rig_fail.h"
#include "rig_explore.h"

#endif
