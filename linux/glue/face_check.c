// SPDX-License-Identifier: GPL-2.0-only
/* What the interface shows of a VM and of a slot is where struct kvm and struct kvm_memory_slot have it. */
#include "face.h"

#define SAME(type, field) \
    _Static_assert(offsetof(struct type, field) == offsetof(struct face_##type, field) && \
                       sizeof(((struct type *)0)->field) == sizeof(((struct face_##type *)0)->field), #type "." #field)

SAME(kvm, mmu_lock);
SAME(kvm, srcu);
SAME(kvm, facts);
SAME(kvm_memory_slot, base_gfn);
SAME(kvm_memory_slot, npages);
SAME(kvm_memory_slot, userspace_addr);
SAME(kvm_memory_slot, flags);
SAME(kvm_memory_slot, id);
SAME(kvm_memory_slot, as_id);
