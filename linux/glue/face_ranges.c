// SPDX-License-Identifier: GPL-2.0-only
/* Zaps of tdp_mmu.h; dirty_log.h, huge_pages.h, notifier.h. */
#include "told.h"

/* ---- what the caller passed ------------------------------------------------------------- */
static bool is_range(struct kvm *kvm, const char *function, gfn_t start, gfn_t end)
{
    if (start <= end && start < gfn_limit(kvm))
        return true;
    face_refuse(kvm, function,
                start <= end ? "start is beyond MAXPHYADDR (start, end)" : "end is below start (start, end)", start, end);
    return false;
}

static bool is_level(struct kvm *kvm, const char *function, int level)
{
    if (level >= PG_LEVEL_4K && level <= KVM_MAX_HUGEPAGE_LEVEL)
        return true;
    face_refuse(kvm, function, "min_level is not 1 to 3 (min_level)", (u64)(s64)level, 0);
    return false;
}

/* The slot that the caller names, if it is one of the VM's, or was and is kept by a reader. */
static struct kvm_memory_slot *find_slot(struct kvm *kvm, const char *function, const struct kvm_memory_slot *slot)
{
    if (slot && face_slot_lives(kvm, slot))
        return (struct kvm_memory_slot *)slot;
    face_refuse(kvm, function, "slot is no slot of this VM (slot)", (u64)(uintptr_t)slot, 0);
    return NULL;
}

static struct kvm_memory_slot *find_slot_with(struct kvm *kvm, const char *function,
                                              const struct kvm_memory_slot *slot, gfn_t gfn)
{
    struct kvm_memory_slot *found = find_slot(kvm, function, slot);

    if (found && gfn - found->base_gfn >= found->npages) {
        face_refuse(kvm, function, "gfn lies outside the slot (gfn)", gfn, 0);
        return NULL;
    }
    return found;
}

static bool take_range(struct kvm *kvm, const char *function, const struct face_kvm_gfn_range *from,
                       struct kvm_gfn_range *to)
{
    struct kvm_memory_slot *slot;

    if (!from) {
        face_refuse(kvm, function, "range is NULL", 0, 0);
        return false;
    }
    if (!is_range(kvm, function, from->start, from->end))
        return false;
    slot = find_slot(kvm, function, from->slot);
    if (!slot)
        return false;
    if (from->start < slot->base_gfn || from->end > slot->base_gfn + slot->npages) {
        face_refuse(kvm, function, "range lies outside its slot (start, end)", from->start, from->end);
        return false;
    }
    *to = (struct kvm_gfn_range){ .slot = slot, .start = from->start, .end = from->end, .may_block = from->may_block };
    return true;
}

static bool is_host_range(struct kvm *kvm, const char *function, u64 start, u64 end)
{
    if (start < end)
        return true;
    face_refuse(kvm, function, "start is not below end (start, end)", start, end);
    return false;
}

static bool is_host_address(struct kvm *kvm, const char *function, u64 hva)
{
    if (hva != UINT64_MAX)
        return true;
    face_refuse(kvm, function, "hva has no end (hva)", hva, 0);
    return false;
}

/* ---- zaps ------------------------------------------------------------------------------------ */
bool zap_gfn_range(struct kvm *kvm, struct face_kvm_mmu_page *root, gfn_t start, gfn_t end, bool can_yield)
{
    struct kvm_mmu_page *sp;

    REFUSE_NULL(kvm, "kvm", false);
    if (!face_wants_write(kvm, __func__))
        return false;
    sp = linux_sp(root);
    if (!sp || linux_table_owner(sp) != kvm || sp->ptep) {
        face_refuse(kvm, __func__, "root is no root of this VM (root)", (u64)(uintptr_t)root, 0);
        return false;
    }
    if (is_range(kvm, __func__, start, end))
        LACKING();
    return false;
}

bool kvm_tdp_mmu_zap_gfn_range(struct kvm *kvm, gfn_t start, gfn_t end)
{
    REFUSE_NULL(kvm, "kvm", false);
    if (face_wants_write(kvm, __func__) && is_range(kvm, __func__, start, end))
        LACKING();
    return false;
}

bool kvm_tdp_mmu_zap_leafs(struct kvm *kvm, gfn_t start, gfn_t end, bool flush)
{
    REFUSE_NULL(kvm, "kvm", flush);
    if (!face_wants_write(kvm, __func__) || !is_range(kvm, __func__, start, end))
        return flush;
    ENTER(kvm, flush);
    return linux_kvm_tdp_mmu_zap_leafs(kvm, start, end, flush);
}

bool kvm_tdp_mmu_unmap_gfn_range(struct kvm *kvm, const struct face_kvm_gfn_range *given, bool flush)
{
    struct kvm_gfn_range range;

    REFUSE_NULL(kvm, "kvm", flush);
    if (!face_wants_write(kvm, __func__) || !take_range(kvm, __func__, given, &range))
        return flush;
    ENTER(kvm, flush);
    return linux_kvm_tdp_mmu_unmap_gfn_range(kvm, &range, flush);
}

/* ---- dirty_log.h --------------------------------------------------------------------------------- */
bool kvm_tdp_mmu_wrprot_slot(struct kvm *kvm, const struct kvm_memory_slot *given, int min_level)
{
    struct kvm_memory_slot *slot;

    REFUSE_NULL(kvm, "kvm", false);
    if (!face_wants_read(kvm, __func__) || !is_level(kvm, __func__, min_level))
        return false;
    slot = find_slot(kvm, __func__, given);
    if (!slot)
        return false;
    ENTER(kvm, false);
    return linux_kvm_tdp_mmu_wrprot_slot(kvm, slot, min_level);
}

bool kvm_tdp_mmu_clear_dirty_slot(struct kvm *kvm, const struct kvm_memory_slot *given)
{
    struct kvm_memory_slot *slot;

    REFUSE_NULL(kvm, "kvm", false);
    if (!face_wants_read(kvm, __func__))
        return false;
    slot = find_slot(kvm, __func__, given);
    if (!slot)
        return false;
    ENTER(kvm, false);
    return linux_kvm_tdp_mmu_clear_dirty_slot(kvm, slot);
}

void kvm_tdp_mmu_clear_dirty_pt_masked(struct kvm *kvm, const struct kvm_memory_slot *given, gfn_t gfn,
                                       unsigned long mask, bool wrprot)
{
    struct kvm_memory_slot *slot;
    u64 pages;

    REFUSE_NULL(kvm, "kvm", );
    if (!face_wants_write(kvm, __func__))
        return;
    slot = find_slot_with(kvm, __func__, given, gfn);
    if (!slot)
        return;
    pages = slot->npages - (gfn - slot->base_gfn);
    mask &= pages >= 64 ? ~0UL : (1UL << pages) - 1;
    if (!mask)
        return;
    ENTER(kvm, );
    linux_kvm_tdp_mmu_clear_dirty_pt_masked(kvm, slot, gfn, mask, wrprot);
}

bool kvm_tdp_mmu_slot_set_dirty(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
    REFUSE_NULL(kvm, "kvm", false);
    if (face_wants_write(kvm, __func__) && find_slot(kvm, __func__, slot))
        LACKING();
    return false;
}

bool kvm_tdp_mmu_write_protect_gfn(struct kvm *kvm, const struct kvm_memory_slot *given, gfn_t gfn, int min_level)
{
    struct kvm_memory_slot *slot;

    REFUSE_NULL(kvm, "kvm", false);
    if (!face_wants_write(kvm, __func__) || !is_level(kvm, __func__, min_level))
        return false;
    slot = find_slot_with(kvm, __func__, given, gfn);
    if (!slot)
        return false;
    ENTER(kvm, false);
    return linux_kvm_tdp_mmu_write_protect_gfn(kvm, slot, gfn, min_level);
}

int kvm_vm_ioctl_get_dirty_log(struct kvm *kvm, struct kvm_dirty_log *log)
{
    REFUSE_NULL(kvm, "kvm", -EINVAL);
    if (!face_wants_none(kvm, __func__, true, true))
        return -EINVAL;
    if (!log || !log->dirty_bitmap) {
        face_refuse(kvm, __func__, "log or its dirty_bitmap is NULL", 0, 0);
        return -EINVAL;
    }
    ENTER(kvm, -EINVAL);
    return face_get_dirty_log(kvm, log);
}

int kvm_vm_ioctl_clear_dirty_log(struct kvm *kvm, struct kvm_clear_dirty_log *log)
{
    REFUSE_NULL(kvm, "kvm", -EINVAL);
    if (!face_wants_none(kvm, __func__, true, true))
        return -EINVAL;
    if (!log || !log->dirty_bitmap) {
        face_refuse(kvm, __func__, "log or its dirty_bitmap is NULL", 0, 0);
        return -EINVAL;
    }
    ENTER(kvm, -EINVAL);
    return face_clear_dirty_log(kvm, log);
}

struct kvm_dirty_gfn *tdpmmu_vcpu_dirty_ring(struct kvm_vcpu *vcpu, uint32_t *entries)
{
    REFUSE_NULL(vcpu, "vcpu", NULL);
    if (entries)
        *entries = vcpu->dirty_ring.size;
    return vcpu->dirty_ring.dirty_gfns;
}

int kvm_vm_ioctl_reset_dirty_pages(struct kvm *kvm)
{
    REFUSE_NULL(kvm, "kvm", -EINVAL);
    if (!face_wants_none(kvm, __func__, true, true))
        return -EINVAL;
    ENTER(kvm, -EINVAL);
    /* Linux leaves this to the flush at the end of a reset; rig.h does not. */
    face_exit_all(kvm);
    return face_reset_rings(kvm);
}

void tdpmmu_mark_page_dirty(struct kvm *kvm, int as_id, gfn_t gfn)
{
    REFUSE_NULL(kvm, "kvm", );
    if (as_id < 0 || as_id > 1) {
        face_refuse(kvm, __func__, "as_id is neither 0 nor 1 (as_id)", (u64)(s64)as_id, 0);
        return;
    }
    if (gfn >= gfn_limit(kvm)) {
        face_refuse(kvm, __func__, "gfn is beyond MAXPHYADDR (gfn)", gfn, 0);
        return;
    }
    if (kvm->dirty_ring_size) {
        face_refuse(kvm, __func__, "the VM has dirty rings, which belong to vCPUs", 0, 0);
        return;
    }
    ENTER(kvm, );
    rcu_read_lock();
    mark_page_dirty_in_slot(kvm, __gfn_to_memslot(__kvm_memslots(kvm, as_id), gfn), gfn);
    rcu_read_unlock();
}

/* ---- huge_pages.h ------------------------------------------------------------------------------------- */
int kvm_tdp_mmu_try_split_huge_pages(struct kvm *kvm, const struct kvm_memory_slot *given, gfn_t start, gfn_t end,
                                     int target_level, bool shared)
{
    struct kvm_memory_slot *slot;

    REFUSE_NULL(kvm, "kvm", -EINVAL);
    if (!(shared ? face_wants_read(kvm, __func__) : face_wants_write(kvm, __func__)) ||
        !is_range(kvm, __func__, start, end))
        return -EINVAL;
    if (target_level < PG_LEVEL_4K || target_level > PG_LEVEL_2M) {
        face_refuse(kvm, __func__, "target_level is not 1 or 2 (target_level)", (u64)(s64)target_level, 0);
        return -EINVAL;
    }
    slot = find_slot(kvm, __func__, given);
    if (!slot)
        return -EINVAL;
    ENTER(kvm, -EINVAL);
    linux_kvm_tdp_mmu_try_split_huge_pages(kvm, slot, start, end, target_level, shared);
    return frame.out_of_tables ? -ENOMEM : 0;
}

void kvm_tdp_mmu_zap_collapsible_sptes(struct kvm *kvm, const struct kvm_memory_slot *given)
{
    struct kvm_memory_slot *slot;

    REFUSE_NULL(kvm, "kvm", );
    if (!face_wants_read(kvm, __func__))
        return;
    slot = find_slot(kvm, __func__, given);
    if (!slot)
        return;
    ENTER(kvm, );
    linux_kvm_tdp_mmu_zap_collapsible_sptes(kvm, slot);
}

void kvm_tdp_mmu_recover_huge_pages(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
    REFUSE_NULL(kvm, "kvm", );
    if (face_wants_read(kvm, __func__) && find_slot(kvm, __func__, slot))
        LACKING();
}

bool kvm_tdp_mmu_zap_sp(struct kvm *kvm, struct face_kvm_mmu_page *page)
{
    struct kvm_mmu_page *sp;
    bool zapped;

    REFUSE_NULL(kvm, "kvm", false);
    if (!face_wants_write(kvm, __func__))
        return false;
    sp = linux_sp(page);
    if (!sp || linux_table_owner(sp) != kvm || !sp->ptep) {
        face_refuse(kvm, __func__, "sp is no table of this VM, or a root (sp)", (u64)(uintptr_t)page, 0);
        return false;
    }
    ENTER(kvm, false);
    rcu_read_lock();
    /* Linux trusts its callers that the entry above still points to the table. */
    zapped = linux_spte_to_pfn(READ_ONCE(*sp->ptep)) << PAGE_SHIFT == __pa(sp->spt) &&
             linux_kvm_tdp_mmu_zap_sp(kvm, sp);
    if (zapped)
        linux_kvm_flush_remote_tlbs_range(kvm, sp->gfn, KVM_PAGES_PER_HPAGE(sp->role.level + 1));
    rcu_read_unlock();
    return zapped;
}

/* ---- notifier.h ------------------------------------------------------------------------------------------ */
/*
 * Linux ages under mmu_lock for write, which its callers take; the interface asks for no lock.  Where the
 * thread has it for read, as in callbacks, RCU has to do: the list of roots is changed as RCU wants it.
 */
static bool take_lock(struct kvm *kvm)
{
    bool held = tdpmmu_read_lock_held(&kvm->mmu_lock) || tdpmmu_write_lock_held(&kvm->mmu_lock);

    face_now->any_lock = held;
    if (!held)
        write_lock(&kvm->mmu_lock);
    rcu_read_lock();
    return !held;
}

static void drop_lock(struct kvm *kvm, bool taken)
{
    rcu_read_unlock();
    if (taken)
        write_unlock(&kvm->mmu_lock);
}

bool kvm_tdp_mmu_age_gfn_range(struct kvm *kvm, const struct face_kvm_gfn_range *given)
{
    struct kvm_gfn_range range;
    bool young, taken;

    REFUSE_NULL(kvm, "kvm", false);
    if (!take_range(kvm, __func__, given, &range))
        return false;
    ENTER(kvm, false);
    taken = take_lock(kvm);
    young = linux_kvm_tdp_mmu_age_gfn_range(kvm, &range);
    drop_lock(kvm, taken);
    return young;
}

bool kvm_tdp_mmu_test_age_gfn(struct kvm *kvm, const struct face_kvm_gfn_range *given)
{
    struct kvm_gfn_range range;
    bool young, taken;

    REFUSE_NULL(kvm, "kvm", false);
    if (!take_range(kvm, __func__, given, &range))
        return false;
    ENTER(kvm, false);
    taken = take_lock(kvm);
    young = linux_kvm_tdp_mmu_test_age_gfn(kvm, &range);
    drop_lock(kvm, taken);
    return young;
}

static void unmap_part(struct kvm *kvm, struct kvm_gfn_range *range, void *flush)
{
    *(bool *)flush = linux_kvm_tdp_mmu_unmap_gfn_range(kvm, range, *(bool *)flush);
}

static void age_part(struct kvm *kvm, struct kvm_gfn_range *range, void *young)
{
    *(bool *)young |= linux_kvm_tdp_mmu_age_gfn_range(kvm, range);
}

static void test_part(struct kvm *kvm, struct kvm_gfn_range *range, void *young)
{
    *(bool *)young |= linux_kvm_tdp_mmu_test_age_gfn(kvm, range);
}

bool kvm_tdp_mmu_zap_hva_range(struct kvm *kvm, uint64_t start, uint64_t end)
{
    bool flush = false;

    REFUSE_NULL(kvm, "kvm", false);
    if (!face_wants_write(kvm, __func__) || !is_host_range(kvm, __func__, start, end))
        return false;
    ENTER(kvm, false);
    face_each_host_range(kvm, start, end, unmap_part, &flush);
    return flush;
}

bool kvm_tdp_mmu_age_hva_range(struct kvm *kvm, uint64_t start, uint64_t end)
{
    bool young = false, taken;

    REFUSE_NULL(kvm, "kvm", false);
    if (!is_host_range(kvm, __func__, start, end))
        return false;
    ENTER(kvm, false);
    taken = take_lock(kvm);
    face_each_host_range(kvm, start, end, age_part, &young);
    drop_lock(kvm, taken);
    return young;
}

bool kvm_tdp_mmu_test_age_hva(struct kvm *kvm, uint64_t hva)
{
    bool young = false, taken;

    REFUSE_NULL(kvm, "kvm", false);
    if (!is_host_address(kvm, __func__, hva))
        return false;
    ENTER(kvm, false);
    taken = take_lock(kvm);
    face_each_host_range(kvm, hva, hva + 1, test_part, &young);
    drop_lock(kvm, taken);
    return young;
}

bool kvm_tdp_mmu_set_spte_hva(struct kvm *kvm, uint64_t hva, kvm_pfn_t pfn, bool writable)
{
    REFUSE_NULL(kvm, "kvm", false);
    if (!face_wants_write(kvm, __func__) || !is_host_address(kvm, __func__, hva))
        return false;
    if (pfn >= gfn_limit(kvm))
        face_refuse(kvm, __func__, "pfn is beyond MAXPHYADDR (pfn)", pfn, 0);
    else
        LACKING();
    return false;
}

void kvm_mmu_invalidate_begin(struct kvm *kvm)
{
    REFUSE_NULL(kvm, "kvm", );
    if (!face_wants_write(kvm, __func__))
        return;
    ENTER(kvm, );
    linux_kvm_mmu_invalidate_begin(kvm);
}

static bool is_invalidating(struct kvm *kvm, const char *function)
{
    if (kvm->mmu_invalidate_in_progress)
        return true;
    face_refuse(kvm, function, "no invalidation is under way", 0, 0);
    return false;
}

void kvm_mmu_invalidate_range_add(struct kvm *kvm, gfn_t start, gfn_t end)
{
    REFUSE_NULL(kvm, "kvm", );
    if (!face_wants_write(kvm, __func__) || !is_range(kvm, __func__, start, end) || !is_invalidating(kvm, __func__))
        return;
    ENTER(kvm, );
    linux_kvm_mmu_invalidate_range_add(kvm, start, end);
}

void kvm_mmu_invalidate_end(struct kvm *kvm)
{
    REFUSE_NULL(kvm, "kvm", );
    if (!face_wants_write(kvm, __func__) || !is_invalidating(kvm, __func__))
        return;
    ENTER(kvm, );
    linux_kvm_mmu_invalidate_end(kvm);
}

void kvm_mmu_notifier_invalidate_range_start(struct kvm *kvm, uint64_t start, uint64_t end, bool may_block)
{
    REFUSE_NULL(kvm, "kvm", );
    if (!face_wants_none(kvm, __func__, true, false) || !is_host_range(kvm, __func__, start, end))
        return;
    ENTER(kvm, );
    face_range_start(kvm, start, end, may_block);
}

void kvm_mmu_notifier_invalidate_range_end(struct kvm *kvm, uint64_t start, uint64_t end)
{
    REFUSE_NULL(kvm, "kvm", );
    if (!face_wants_none(kvm, __func__, true, false) || !is_host_range(kvm, __func__, start, end))
        return;
    ENTER(kvm, );
    if (!READ_ONCE(kvm->mn_active_invalidate_count)) {
        /* Begun by kvm_mmu_invalidate_begin(), if at all: Linux counts its notifiers apart. */
        write_lock(&kvm->mmu_lock);
        if (is_invalidating(kvm, __func__))
            linux_kvm_mmu_invalidate_end(kvm);
        write_unlock(&kvm->mmu_lock);
        return;
    }
    face_range_end(kvm, start, end);
}

bool kvm_mmu_notifier_clear_flush_young(struct kvm *kvm, uint64_t start, uint64_t end)
{
    REFUSE_NULL(kvm, "kvm", false);
    if (!face_wants_none(kvm, __func__, true, false) || !is_host_range(kvm, __func__, start, end))
        return false;
    ENTER(kvm, false);
    return face_clear_flush_young(kvm, start, end);
}

bool kvm_mmu_notifier_clear_young(struct kvm *kvm, uint64_t start, uint64_t end)
{
    REFUSE_NULL(kvm, "kvm", false);
    if (!face_wants_none(kvm, __func__, true, false) || !is_host_range(kvm, __func__, start, end))
        return false;
    ENTER(kvm, false);
    return face_clear_young(kvm, start, end);
}

bool kvm_mmu_notifier_test_young(struct kvm *kvm, uint64_t hva)
{
    REFUSE_NULL(kvm, "kvm", false);
    if (!face_wants_none(kvm, __func__, true, false) || !is_host_address(kvm, __func__, hva))
        return false;
    ENTER(kvm, false);
    return face_test_young(kvm, hva);
}
