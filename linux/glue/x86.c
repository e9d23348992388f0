// SPDX-License-Identifier: GPL-2.0-only
/* What x86 adds to a change of slots: functions of x86.c. */
#include "face.h"
#include "linux_names.h"

#define memslot_rmap_free(slot) do { } while (0)
#define memslot_rmap_alloc(slot, npages) 0
#define kvm_page_track_free_memslot(slot) do { } while (0)
#define kvm_page_track_create_memslot(kvm, slot, npages) 0
#define kvm_page_track_delete_slot(kvm, slot) do { } while (0)
#define kvm_page_track_has_external_user(kvm) false
#define kvm_mmu_change_mmu_pages(kvm, n) do { } while (0)

/* Between two of its walks a slot's change stands with mmu_lock dropped, and the rig may interfere. */
static __thread bool walked;

static void before_walk(struct kvm *kvm)
{
    if (walked)
        face_tell_pause(kvm);
    walked = true;
}

#define kvm_mmu_slot_try_split_huge_pages(kvm, slot, level) \
    (walked = false, before_walk(kvm), (kvm_mmu_slot_try_split_huge_pages)((kvm), (slot), (level)))
#define kvm_mmu_slot_leaf_clear_dirty(kvm, slot) (before_walk(kvm), (kvm_mmu_slot_leaf_clear_dirty)((kvm), (slot)))
#define kvm_mmu_slot_remove_write_access(kvm, slot, level) \
    (before_walk(kvm), (kvm_mmu_slot_remove_write_access)((kvm), (slot), (level)), (void)(walked = false))
#include "x86_forward.inc"
#include "x86.inc"
