/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libtdpmmu: KVM's x86 TDP MMU and the RCU that protects its page tables, in
 * userspace.  This header includes all the others; each also compiles alone.
 *
 * House rules for every function declared here:
 *  - A gfn is a guest frame number (a gpa shifted right by 12); every range is
 *    [start, end), end exclusive.
 *  - Each says in one sentence what the calling thread must hold and must not:
 *    "Lock R" / "Lock W": kvm->mmu_lock for read / for write.  "No lock": not
 *    mmu_lock, of no VM at all where no kvm is passed.  "Any lock": either is fine.
 *    "In RCU": inside rcu_read_lock() ... rcu_read_unlock().  "In kvm->srcu": inside
 *    a reader of that domain.  "TDP MMU set up": between kvm_mmu_init_tdp_mmu() and
 *    kvm_mmu_uninit_tdp_mmu().  What is not named does not matter.
 *  - Integers returned are 0, a RET_PF_* value, or a negative errno;
 *    constructors return NULL and set errno.
 *  - A broken contract (that sentence, NULL, a pointer to nothing of the VM's, an
 *    argument out of its range) changes nothing: it gives -EINVAL (or the errno
 *    named) and, because a test wants to hear of it, one call of the warning
 *    callback, which names the function and the argument and has its value.
 *    Functions that follow an ioctl answer bad values by the errno alone.
 */
#ifndef TDPMMU_H
#define TDPMMU_H

#include "tdpmmu/types.h"
#include "tdpmmu/constants.h"
#include "tdpmmu/lock.h"
#include "tdpmmu/rcu.h"
#include "tdpmmu/srcu.h"
#include "tdpmmu/rculist.h"
#include "tdpmmu/rculist_nulls.h"
#include "tdpmmu/vm.h"
#include "tdpmmu/tdp_iter.h"
#include "tdpmmu/tdp_mmu.h"
#include "tdpmmu/primitives.h"
#include "tdpmmu/walk.h"
#include "tdpmmu/dirty_log.h"
#include "tdpmmu/huge_pages.h"
#include "tdpmmu/notifier.h"
#include "tdpmmu/trace.h"
#include "tdpmmu/rig.h"

#endif
