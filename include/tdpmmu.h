/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libtdpmmu: KVM's x86 TDP MMU and the RCU that protects its page tables, in
 * userspace.  This header includes all the others; each also compiles alone.
 *
 * House rules for every function declared here:
 *  - A gfn is a guest frame number (a gpa shifted right by 12); every range is
 *    [start, end), end exclusive.
 *  - "Lock W" / "Lock R": the calling thread holds kvm->mmu_lock for write /
 *    for read.  "RCU": it is inside rcu_read_lock() ... rcu_read_unlock().
 *  - Integers returned are 0, a RET_PF_* value, or a negative errno;
 *    constructors return NULL and set errno.
 *  - A bad argument or a missing lock changes nothing: it gives -EINVAL (or the
 *    errno named) and, because a test wants to hear of it, one call of the
 *    warning callback.
 */
#ifndef TDPMMU_H
#define TDPMMU_H

#include "tdpmmu/types.h"
#include "tdpmmu/lock.h"
#include "tdpmmu/rcu.h"
#include "tdpmmu/srcu.h"
#include "tdpmmu/rculist.h"
#include "tdpmmu/vm.h"
#include "tdpmmu/tdp_iter.h"
#include "tdpmmu/tdp_mmu.h"
#include "tdpmmu/dirty_log.h"
#include "tdpmmu/huge_pages.h"
#include "tdpmmu/notifier.h"
#include "tdpmmu/trace.h"
#include "tdpmmu/rig.h"

#endif
