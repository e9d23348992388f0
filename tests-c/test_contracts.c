/* SPDX-License-Identifier: GPL-2.0-only */
/* modes: plain asan (thousands of children, each with a VM of its own) */
/*
 * Every exported function in every context: where its header comment forbids it there is
 * one warning that names it, the documented error and no effect; elsewhere no warning.
 * Each call is made in a child of its own, so that a deadlock is an alarm.
 * `make check-contracts` looks that every function is here, with its header's words.
 */
#include "test_helpers.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a context has. */
enum { R = 1, W = 2, RCU = 4, SRCU = 8, CALLBACK = 16 };

static const struct phrase {
    const char *text;
    unsigned needs, forbids; /* one of these; none of those */
} phrases[] = {
    { "Any lock", 0, 0 },
    { "Lock R", R, 0 },
    { "Lock W", W, 0 },
    { "Lock R or W", R | W, 0 },
    { "Lock R if shared, else W", R | W, 0 }, /* the row passes what fits */
    { "In RCU", RCU, 0 },
    { "In RCU, or Lock W", RCU | W, 0 },
    { "In RCU, or Lock R or W", RCU | R | W, 0 },
    { "In RCU or kvm->srcu", RCU | SRCU, 0 },
    { "No lock", 0, R | W },
    { "No lock, not in RCU", 0, R | W | RCU },
    { "No lock, not in RCU, not in kvm->srcu", 0, R | W | RCU | SRCU },
    { "No lock, not in RCU, not in kvm->srcu, not in a callback", 0,
      R | W | RCU | SRCU | CALLBACK },
    { "Any lock, not in RCU", 0, RCU },
    { "No lock, not in RCU, not in an RCU callback", 0, R | W | RCU | CALLBACK },
    { "No lock, not in RCU, not in a reader of ssp", 0, R | W | RCU | SRCU },
    { "No lock, not in RCU, not in a reader of ssp, not in an RCU callback", 0, R | W | RCU | SRCU | CALLBACK },
    { "Not under Lock W", 0, W },
    { "No lock or Lock W", 0, R },
    { "In a reader of ssp", SRCU, 0 },
    { "Not in a reader of ssp", 0, SRCU },
};

/* The world of a child.  Slot 0 has a huge page and 4K pages, slot 1 is logged. */
#define BASE_HVA 0x40000000ull
#define LOGGED_GFN 2048
static struct kvm *kvm;
static struct kvm_vcpu *vcpu;
static struct kvm_mmu_page *root, *table;
static const struct kvm_memory_slot *slot;
static struct kvm_gfn_range range;
static struct tdp_iter iter, leaf, hole; /* hole: nothing is there, at level 2 */
static struct kvm_mmu_page *sp;
static struct srcu_struct other_domain;
static struct tdpmmu_rwlock other_lock;
static struct rcu_head head;
static uint64_t sptes[6], spte, bits[64];
static struct tdpmmu_cpu_result cpu_result;

static int attach_cpus(struct kvm *kvm)
{
    const struct tdpmmu_cpus_config config = { .size = sizeof(config) };
    int error = tdpmmu_cpus_attach(kvm, &config);

    return error == -EBUSY ? 0 : error;
}

static int level, srcu_index;
static unsigned long cookie;
static struct rcu_gp_oldstate full;
static struct tdpmmu_stats stats;
static struct tdpmmu_check_stats check_stats;
static struct tdpmmu_trace_event events[4];
static struct kvm_userspace_memory_region region = {
    .slot = 2, .guest_phys_addr = 1ull << 32, .memory_size = 4096, .userspace_addr = 4096 };
static struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 };
static struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bits };
static struct kvm_clear_dirty_log clear = { .slot = 1, .num_pages = 64, .dirty_bitmap = bits };
static struct kvm_pre_fault_memory prefault = { .gpa = 64 << 12, .size = 4096 };

static unsigned heard, callbacks;
static char heard_function[64];
static enum tdpmmu_warning_kind heard_kind;

static void hear(void *ctx, struct kvm *vm, const struct tdpmmu_warning *warning)
{
    (void)ctx, (void)vm;
    heard++;
    snprintf(heard_function, sizeof(heard_function), "%s", warning->function);
    heard_kind = warning->kind;
}

static void nothing(struct rcu_head *unused)
{
    (void)unused;
}

#define VOID(call) ((call), 0)
#define HVA (BASE_HVA + (8ull << 12))
#define EI -EINVAL
#define EPT_DIRTY UINT64_C(0x200)

/* ROW(function, what its header says, a call that is right but for the context, what it
 * returns when it is refused) */
#define ROWS \
    /* lock.h */ \
    ROW(tdpmmu_rwlock_init, "Any lock", VOID(tdpmmu_rwlock_init(&other_lock)), 0) \
    ROW(tdpmmu_read_lock, "Not under Lock W", VOID(tdpmmu_read_lock(&kvm->mmu_lock)), 0) \
    ROW(tdpmmu_read_unlock, "Lock R", VOID(tdpmmu_read_unlock(&kvm->mmu_lock)), 0) \
    ROW(tdpmmu_write_lock, "No lock", VOID(tdpmmu_write_lock(&kvm->mmu_lock)), 0) \
    ROW(tdpmmu_write_unlock, "Lock W", VOID(tdpmmu_write_unlock(&kvm->mmu_lock)), 0) \
    ROW(tdpmmu_rwlock_needbreak, "Any lock", tdpmmu_rwlock_needbreak(&kvm->mmu_lock), 0) \
    ROW(tdpmmu_read_lock_held, "Any lock", tdpmmu_read_lock_held(&kvm->mmu_lock), 0) \
    ROW(tdpmmu_write_lock_held, "Any lock", tdpmmu_write_lock_held(&kvm->mmu_lock), 0) \
    /* rcu.h */ \
    ROW(rcu_read_lock, "Any lock", VOID((rcu_read_lock)()), 0) \
    ROW(rcu_read_unlock, "In RCU", VOID((rcu_read_unlock)()), 0) \
    ROW(tdpmmu_rcu_read_lock_slow, "Any lock", VOID(tdpmmu_rcu_read_lock_slow()), 0) \
    ROW(tdpmmu_rcu_read_unlock_slow, "In RCU", VOID(tdpmmu_rcu_read_unlock_slow()), 0) \
    ROW(rcu_read_lock_held, "Any lock", rcu_read_lock_held(), 0) \
    ROW(synchronize_rcu, "No lock, not in RCU", VOID(synchronize_rcu()), 0) \
    ROW(synchronize_rcu_expedited, "No lock, not in RCU", VOID(synchronize_rcu_expedited()), 0) \
    ROW(call_rcu, "Any lock", VOID(call_rcu(&head, nothing)), 0) \
    ROW(rcu_barrier, "No lock, not in RCU, not in an RCU callback", VOID(rcu_barrier()), 0) \
    ROW(tdpmmu_kfree_rcu, "Any lock", VOID(free_later()), 0) \
    ROW(get_state_synchronize_rcu, "Any lock", get_state_synchronize_rcu(), 0) \
    ROW(start_poll_synchronize_rcu, "Any lock", start_poll_synchronize_rcu(), 0) \
    ROW(poll_state_synchronize_rcu, "Any lock", poll_state_synchronize_rcu(cookie), 0) \
    ROW(cond_synchronize_rcu, "No lock, not in RCU", VOID(cond_synchronize_rcu(get_state_synchronize_rcu())), 0) \
    ROW(tdpmmu_rcu_register_thread, "Any lock", tdpmmu_rcu_register_thread(), 0) \
    ROW(tdpmmu_rcu_thread_online, "Any lock", VOID(tdpmmu_rcu_thread_online()), 0) \
    ROW(tdpmmu_rcu_unregister_thread, "Any lock, not in RCU", VOID(tdpmmu_rcu_unregister_thread()), 0) \
    ROW(tdpmmu_rcu_thread_offline, "Any lock, not in RCU", VOID(tdpmmu_rcu_thread_offline()), 0) \
    ROW(tdpmmu_rcu_set_stall_timeout_ms, "Any lock", VOID(tdpmmu_rcu_set_stall_timeout_ms(21000)), 0) \
    ROW(tdpmmu_rcu_set_flood_limit, "Any lock", VOID(tdpmmu_rcu_set_flood_limit(0)), 0) \
    ROW(tdpmmu_rcu_check_reader, "In RCU", tdpmmu_rcu_check_reader("tdpmmu_rcu_check_reader"), 0) \
    ROW(tdpmmu_rcu_break_for_tests, "Any lock", tdpmmu_rcu_break_for_tests(0), 0) \
    ROW(tdpmmu_rcu_readers_fence_free, "Any lock", tdpmmu_rcu_readers_fence_free(), 0) \
    /* rcu_poll.h */ \
    ROW(get_completed_synchronize_rcu, "Any lock", get_completed_synchronize_rcu(), 0) \
    ROW(start_poll_synchronize_rcu_expedited, "Any lock", start_poll_synchronize_rcu_expedited(), 0) \
    ROW(cond_synchronize_rcu_expedited, "No lock, not in RCU", VOID(cond_synchronize_rcu_expedited(get_state_synchronize_rcu())), 0) \
    ROW(get_completed_synchronize_rcu_full, "Any lock", VOID(get_completed_synchronize_rcu_full(&full)), 0) \
    ROW(get_state_synchronize_rcu_full, "Any lock", VOID(get_state_synchronize_rcu_full(&full)), 0) \
    ROW(start_poll_synchronize_rcu_full, "Any lock", VOID(start_poll_synchronize_rcu_full(&full)), 0) \
    ROW(start_poll_synchronize_rcu_expedited_full, "Any lock", VOID(start_poll_synchronize_rcu_expedited_full(&full)), 0) \
    ROW(poll_state_synchronize_rcu_full, "Any lock", poll_state_synchronize_rcu_full(&full), 0) \
    ROW(cond_synchronize_rcu_full, "No lock, not in RCU", VOID(cond_synchronize_rcu_full(full_now())), 0) \
    ROW(cond_synchronize_rcu_expedited_full, "No lock, not in RCU", VOID(cond_synchronize_rcu_expedited_full(full_now())), 0) \
    ROW(same_state_synchronize_rcu_full, "Any lock", same_state_synchronize_rcu_full(&full, &full), 0) \
    /* rcu_callback.h */ \
    ROW(call_rcu_hurry, "Any lock", VOID(call_rcu_hurry(&head, nothing)), 0) \
    ROW(rcu_head_init, "Any lock", VOID(rcu_head_init(&head)), 0) \
    ROW(rcu_head_after_call_rcu, "Any lock", (rcu_head_init(&head), rcu_head_after_call_rcu(&head, nothing)), 0) \
    ROW(tdpmmu_kfree_rcu_mightsleep, "No lock, not in RCU", VOID(tdpmmu_kfree_rcu_mightsleep(malloc(8), NULL)), 0) \
    /* rcu_pointer.h */ \
    ROW(tdpmmu_rcu_lockdep_warn, "Any lock", VOID(warn_on_purpose()), 0) \
    /* srcu.h */ \
    ROW(init_srcu_struct, "Any lock", init_srcu_struct(&other_domain), 0) \
    ROW(cleanup_srcu_struct, "Not in a reader of ssp", VOID(cleanup_srcu_struct(&kvm->srcu)), 0) \
    ROW(srcu_read_lock, "Any lock", srcu_read_lock(&kvm->srcu), 0) \
    ROW(srcu_read_unlock, "In a reader of ssp", VOID(srcu_read_unlock(&kvm->srcu, srcu_index)), 0) \
    ROW(srcu_read_lock_held, "Any lock", srcu_read_lock_held(&kvm->srcu), 0) \
    ROW(srcu_down_read, "Any lock", srcu_down_read(&kvm->srcu), 0) \
    ROW(srcu_up_read, "Any lock", VOID(srcu_up_read(&kvm->srcu, srcu_down_read(&kvm->srcu))), 0) \
    ROW(tdpmmu_srcu_check_reader, "In a reader of ssp", tdpmmu_srcu_check_reader(&kvm->srcu, "tdpmmu_srcu_check_reader"), 0) \
    ROW(synchronize_srcu, "No lock, not in RCU, not in a reader of ssp", VOID(synchronize_srcu(&kvm->srcu)), 0) \
    ROW(synchronize_srcu_expedited, "No lock, not in RCU, not in a reader of ssp", VOID(synchronize_srcu_expedited(&kvm->srcu)), 0) \
    ROW(call_srcu, "Any lock", VOID(call_srcu(&kvm->srcu, &head, nothing)), 0) \
    ROW(srcu_barrier, "No lock, not in RCU, not in a reader of ssp, not in an RCU callback", VOID(srcu_barrier(&kvm->srcu)), 0) \
    ROW(get_state_synchronize_srcu, "Any lock", get_state_synchronize_srcu(&kvm->srcu), 0) \
    ROW(start_poll_synchronize_srcu, "Any lock", start_poll_synchronize_srcu(&kvm->srcu), 0) \
    ROW(poll_state_synchronize_srcu, "Any lock", poll_state_synchronize_srcu(&kvm->srcu, 0), 0) \
    /* rig_check.h */ \
    ROW(tdpmmu_check, "No lock or Lock W", tdpmmu_check(kvm), -EBUSY) \
    ROW(tdpmmu_check_report, "Any lock", tdpmmu_check_report(kvm, NULL, NULL), EI) \
    ROW(tdpmmu_check_always, "Any lock", tdpmmu_check_always(kvm, 0), EI) \
    ROW(tdpmmu_check_stats, "Any lock", tdpmmu_check_stats(kvm, &check_stats, sizeof(check_stats)), EI) \
    /* vm.h */ \
    ROW(tdpmmu_create_vm, "Any lock", !tdpmmu_create_vm(NULL), 1) \
    ROW(tdpmmu_destroy_vm, "No lock, not in RCU, not in kvm->srcu, not in a callback", VOID((put_extra(), tdpmmu_destroy_vm(kvm))), 0) \
    ROW(tdpmmu_create_vcpu, "No lock", tdpmmu_create_vcpu(kvm, 7), 0) \
    ROW(tdpmmu_destroy_vcpu, "No lock, not in RCU", VOID(tdpmmu_destroy_vcpu(vcpu)), 0) \
    ROW(tdpmmu_vcpu_kvm, "Any lock", tdpmmu_vcpu_kvm(vcpu), 0) \
    ROW(tdpmmu_vcpu_id, "Any lock", tdpmmu_vcpu_id(vcpu), EI) \
    ROW(tdpmmu_vcpu_as_id, "Any lock", tdpmmu_vcpu_as_id(vcpu), EI) \
    ROW(tdpmmu_vcpu_set_as_id, "No lock", tdpmmu_vcpu_set_as_id(vcpu, 1), EI) \
    ROW(kvm_set_memory_region, "No lock, not in RCU, not in kvm->srcu", kvm_set_memory_region(kvm, &region), EI) \
    ROW(gfn_to_memslot, "In RCU or kvm->srcu", gfn_to_memslot(kvm, 0), 0) \
    ROW(kvm_vcpu_gfn_to_memslot, "In RCU or kvm->srcu", kvm_vcpu_gfn_to_memslot(vcpu, 0), 0) \
    ROW(tdpmmu_id_to_memslot, "In RCU or kvm->srcu", tdpmmu_id_to_memslot(kvm, 0, 0), 0) \
    ROW(tdpmmu_memslots_generation, "Any lock", tdpmmu_memslots_generation(kvm, 0), 0) \
    ROW(kvm_vm_ioctl_enable_cap, "No lock, not in RCU, not in kvm->srcu", kvm_vm_ioctl_enable_cap(kvm, &cap), EI) \
    ROW(tdpmmu_set_eager_page_split, "Any lock", tdpmmu_set_eager_page_split(kvm, true), EI) \
    ROW(kvm_flush_remote_tlbs, "Any lock", VOID(kvm_flush_remote_tlbs(kvm)), 0) \
    ROW(kvm_flush_remote_tlbs_range, "Any lock", VOID(kvm_flush_remote_tlbs_range(kvm, 0, 8)), 0) \
    ROW(tdpmmu_get_stats, "Any lock", tdpmmu_get_stats(kvm, &stats, sizeof(stats)), EI) \
    ROW(tdpmmu_set_warn_handler, "Any lock", VOID(tdpmmu_set_warn_handler(hear, NULL)), 0) \
    ROW(tdpmmu_version, "Any lock", tdpmmu_version(), 0) \
    /* tdp_mmu.h */ \
    ROW(kvm_mmu_init_tdp_mmu, "No lock", kvm_mmu_init_tdp_mmu(kvm), EI) \
    ROW(kvm_mmu_uninit_tdp_mmu, "No lock, not in RCU, not in kvm->srcu, not in a callback; TDP MMU set up", VOID((put_extra(), kvm_mmu_uninit_tdp_mmu(kvm))), 0) \
    ROW(kvm_tdp_mmu_get_vcpu_root_hpa, "No lock, not in RCU; TDP MMU set up", kvm_tdp_mmu_get_vcpu_root_hpa(vcpu), INVALID_PAGE) \
    ROW(kvm_tdp_mmu_get_root, "In RCU, or Lock R or W", kvm_tdp_mmu_get_root(root), 0) \
    ROW(kvm_tdp_mmu_put_root, "Any lock", VOID(kvm_tdp_mmu_put_root(kvm, root)), 0) \
    ROW(kvm_mmu_load, "No lock, not in RCU; TDP MMU set up", kvm_mmu_load(vcpu), EI) \
    ROW(kvm_mmu_unload, "No lock", VOID(kvm_mmu_unload(vcpu)), 0) \
    ROW(tdpmmu_vcpu_root, "Any lock", tdpmmu_vcpu_root(vcpu), 0) \
    ROW(kvm_tdp_mmu_invalidate_all_roots, "Lock W", VOID(kvm_tdp_mmu_invalidate_all_roots(kvm)), 0) \
    ROW(kvm_tdp_mmu_zap_invalidated_roots, "No lock, not in RCU", VOID(kvm_tdp_mmu_zap_invalidated_roots(kvm)), 0) \
    ROW(kvm_mmu_zap_all_fast, "No lock, not in RCU, not in kvm->srcu", VOID(kvm_mmu_zap_all_fast(kvm)), 0) \
    ROW(kvm_tdp_mmu_zap_all, "Lock W", VOID(kvm_tdp_mmu_zap_all(kvm)), 0) \
    ROW(kvm_tdp_mmu_map, "Lock R or W; TDP MMU set up", kvm_tdp_mmu_map(vcpu, 32 << 12, PFERR_WRITE_MASK, true, 1, 32, false), EI) \
    ROW(kvm_tdp_mmu_page_fault, "No lock, not in RCU; TDP MMU set up", kvm_tdp_mmu_page_fault(vcpu, 32 << 12, PFERR_WRITE_MASK), EI) \
    ROW(kvm_vcpu_pre_fault_memory, "No lock, not in RCU; TDP MMU set up", kvm_vcpu_pre_fault_memory(vcpu, &prefault), EI) \
    ROW(kvm_tdp_mmu_get_walk, "In RCU", kvm_tdp_mmu_get_walk(vcpu, 0, sptes, &level), EI) \
    ROW(kvm_tdp_mmu_fast_pf_get_last_sptep, "In RCU", kvm_tdp_mmu_fast_pf_get_last_sptep(vcpu, 0, &spte), 0) \
    ROW(tdpmmu_fast_page_fault, "Any lock", tdpmmu_fast_page_fault(vcpu, 0, PFERR_WRITE_MASK | PFERR_PRESENT_MASK), EI) \
    ROW(zap_gfn_range, "Lock W", zap_gfn_range(kvm, root, 0, 8, true), 0) \
    ROW(kvm_tdp_mmu_zap_gfn_range, "Lock W", kvm_tdp_mmu_zap_gfn_range(kvm, 0, 8), 0) \
    ROW(kvm_tdp_mmu_zap_leafs, "Lock W", kvm_tdp_mmu_zap_leafs(kvm, 0, 8, false), 0) \
    ROW(kvm_tdp_mmu_unmap_gfn_range, "Lock W", kvm_tdp_mmu_unmap_gfn_range(kvm, &range, false), 0) \
    /* primitives.h */ \
    ROW(tdpmmu_set_spte, "In RCU, or Lock W", tdpmmu_set_spte(kvm, &leaf, leaf.old_spte & ~EPT_DIRTY, TDPMMU_SET_BITS), EI) \
    ROW(tdpmmu_iter_yield, "Lock R if shared, else W", give_way(!tdpmmu_write_lock_held(&kvm->mmu_lock)), 0) \
    ROW(tdpmmu_alloc_sp, "Any lock", VOID(free_one()), 0) \
    ROW(tdpmmu_link_sp, "Lock R if shared, else W", link_one(!tdpmmu_write_lock_held(&kvm->mmu_lock)), EI) \
    ROW(tdpmmu_free_sp, "Any lock", VOID(free_one()), 0) \
    ROW(kvm_mmu_max_mapping_level, "In RCU", kvm_mmu_max_mapping_level(kvm, slot, 0, 3), 1) \
    /* tdp_iter.h */ \
    ROW(is_shadow_present_pte, "Any lock", is_shadow_present_pte(1), 0) \
    ROW(is_large_pte, "Any lock", is_large_pte(1), 0) \
    ROW(is_last_spte, "Any lock", is_last_spte(1, 1), 0) \
    ROW(is_frozen_spte, "Any lock", is_frozen_spte(1), 0) \
    ROW(is_writable_pte, "Any lock", is_writable_pte(1), 0) \
    ROW(spte_to_pfn, "Any lock", spte_to_pfn(1), 0) \
    ROW(is_mmio_spte, "Any lock", is_mmio_spte(kvm, 1), 0) \
    ROW(is_accessed_spte, "Any lock", is_accessed_spte(kvm, 1), 0) \
    ROW(is_dirty_spte, "Any lock", is_dirty_spte(kvm, 1), 0) \
    ROW(is_executable_pte, "Any lock", is_executable_pte(kvm, 1), 0) \
    ROW(get_mmio_spte_generation, "Any lock", get_mmio_spte_generation(1), 0) \
    ROW(get_mmio_spte_gfn, "Any lock", get_mmio_spte_gfn(kvm, 1), 0) \
    ROW(spte_to_child_pt, "In RCU, or Lock R or W", spte_to_child_pt(spte, level), 0) \
    ROW(sptep_to_sp, "Any lock", sptep_to_sp(root->spt), 0) \
    ROW(to_shadow_page, "Any lock", to_shadow_page(4096), 0) \
    ROW(tdpmmu_table_hpa, "Any lock", tdpmmu_table_hpa(root), 0) \
    ROW(tdp_iter_start, "In RCU, or Lock W", (tdp_iter_start(&iter, root->spt, 4, 1, 0), iter.valid), 0) \
    ROW(tdp_iter_next, "In RCU, or Lock W", (tdp_iter_next(&iter), iter.valid), 0) \
    ROW(tdp_iter_restart, "In RCU, or Lock W", (tdp_iter_restart(&iter), iter.valid), 0) \
    ROW(tdp_iter_root_pt, "Any lock", tdp_iter_root_pt(&iter), 0) \
    /* dirty_log.h */ \
    ROW(kvm_tdp_mmu_wrprot_slot, "Lock R", kvm_tdp_mmu_wrprot_slot(kvm, slot, 1), 0) \
    ROW(kvm_tdp_mmu_clear_dirty_slot, "Lock R", kvm_tdp_mmu_clear_dirty_slot(kvm, slot), 0) \
    ROW(kvm_tdp_mmu_clear_dirty_pt_masked, "Lock W", VOID(kvm_tdp_mmu_clear_dirty_pt_masked(kvm, slot, 0, 255, true)), 0) \
    ROW(kvm_tdp_mmu_slot_set_dirty, "Lock W", kvm_tdp_mmu_slot_set_dirty(kvm, slot), 0) \
    ROW(kvm_tdp_mmu_write_protect_gfn, "Lock W", kvm_tdp_mmu_write_protect_gfn(kvm, slot, 0, 1), 0) \
    ROW(kvm_vm_ioctl_get_dirty_log, "No lock, not in RCU, not in kvm->srcu", kvm_vm_ioctl_get_dirty_log(kvm, &log), EI) \
    ROW(kvm_vm_ioctl_clear_dirty_log, "No lock, not in RCU, not in kvm->srcu", kvm_vm_ioctl_clear_dirty_log(kvm, &clear), EI) \
    ROW(tdpmmu_vcpu_dirty_ring, "Any lock", tdpmmu_vcpu_dirty_ring(vcpu, NULL), 0) \
    ROW(kvm_vm_ioctl_reset_dirty_pages, "No lock, not in RCU, not in kvm->srcu", kvm_vm_ioctl_reset_dirty_pages(kvm), EI) \
    ROW(tdpmmu_mark_page_dirty, "Any lock", VOID(tdpmmu_mark_page_dirty(kvm, 0, LOGGED_GFN)), 0) \
    /* huge_pages.h */ \
    ROW(kvm_tdp_mmu_try_split_huge_pages, "Lock R if shared, else W", kvm_tdp_mmu_try_split_huge_pages(kvm, slot, 0, 1024, 1, !tdpmmu_write_lock_held(&kvm->mmu_lock)), EI) \
    ROW(kvm_tdp_mmu_zap_collapsible_sptes, "Lock R", VOID(kvm_tdp_mmu_zap_collapsible_sptes(kvm, slot)), 0) \
    ROW(kvm_tdp_mmu_recover_huge_pages, "Lock R", VOID(kvm_tdp_mmu_recover_huge_pages(kvm, slot)), 0) \
    ROW(kvm_tdp_mmu_zap_sp, "Lock W", kvm_tdp_mmu_zap_sp(kvm, table), 0) \
    ROW(tdpmmu_set_nx_huge_pages, "No lock, not in RCU, not in kvm->srcu", tdpmmu_set_nx_huge_pages(kvm, true), EI) \
    ROW(tdpmmu_nx_recover, "No lock, not in RCU", tdpmmu_nx_recover(kvm, 1), EI) \
    ROW(tdpmmu_set_nx_recovery, "Any lock", tdpmmu_set_nx_recovery(kvm, 10, 1000), EI) \
    /* notifier.h */ \
    ROW(kvm_tdp_mmu_age_gfn_range, "Any lock", kvm_tdp_mmu_age_gfn_range(kvm, &range), 0) \
    ROW(kvm_tdp_mmu_test_age_gfn, "Any lock", kvm_tdp_mmu_test_age_gfn(kvm, &range), 0) \
    ROW(kvm_tdp_mmu_age_hva_range, "Any lock", kvm_tdp_mmu_age_hva_range(kvm, HVA, HVA + 4096), 0) \
    ROW(kvm_tdp_mmu_test_age_hva, "Any lock", kvm_tdp_mmu_test_age_hva(kvm, HVA), 0) \
    ROW(kvm_tdp_mmu_zap_hva_range, "Lock W", kvm_tdp_mmu_zap_hva_range(kvm, HVA, HVA + 4096), 0) \
    ROW(kvm_tdp_mmu_set_spte_hva, "Lock W", kvm_tdp_mmu_set_spte_hva(kvm, HVA, 5, true), 0) \
    ROW(kvm_mmu_invalidate_begin, "Lock W", VOID(kvm_mmu_invalidate_begin(kvm)), 0) \
    ROW(kvm_mmu_invalidate_range_add, "Lock W", VOID(kvm_mmu_invalidate_range_add(kvm, 0, 8)), 0) \
    ROW(kvm_mmu_invalidate_end, "Lock W", VOID(kvm_mmu_invalidate_end(kvm)), 0) \
    ROW(kvm_mmu_notifier_invalidate_range_start, "No lock, not in RCU", VOID(kvm_mmu_notifier_invalidate_range_start(kvm, HVA, HVA + 4096, true)), 0) \
    ROW(kvm_mmu_notifier_invalidate_range_end, "No lock, not in RCU", VOID(kvm_mmu_notifier_invalidate_range_end(kvm, HVA, HVA + 4096)), 0) \
    ROW(kvm_mmu_notifier_clear_flush_young, "No lock, not in RCU", kvm_mmu_notifier_clear_flush_young(kvm, HVA, HVA + 4096), 0) \
    ROW(kvm_mmu_notifier_clear_young, "No lock, not in RCU", kvm_mmu_notifier_clear_young(kvm, HVA, HVA + 4096), 0) \
    ROW(kvm_mmu_notifier_test_young, "No lock, not in RCU", kvm_mmu_notifier_test_young(kvm, HVA), 0) \
    /* trace.h */ \
    ROW(tdpmmu_trace_name, "Any lock", tdpmmu_trace_name(0), 0) \
    ROW(tdpmmu_trace_enable, "Any lock", tdpmmu_trace_enable(kvm, TDPMMU_TRACE_ALL), EI) \
    ROW(tdpmmu_trace_ring_size, "Any lock", tdpmmu_trace_ring_size(64), EI) \
    ROW(tdpmmu_trace_read, "Any lock", tdpmmu_trace_read(events, 4, NULL), 0) \
    ROW(tdpmmu_trace_write, "Any lock", tdpmmu_trace_write(open("/dev/null", O_WRONLY)), EI) \
    ROW(tdpmmu_trace_mark, "Any lock", tdpmmu_trace_mark(kvm, "here"), EI) \
    /* rig.h */ \
    ROW(tdpmmu_cpu_access, "Any lock", tdpmmu_cpu_access(vcpu, 0, PFERR_WRITE_MASK, &spte), EI) \
    ROW(tdpmmu_cpu_exit, "Any lock", tdpmmu_cpu_exit(vcpu), EI) \
    /* rig_ledger.h */ \
    ROW(tdpmmu_ledger_attach, "No lock, not in RCU", tdpmmu_ledger_attach(kvm, NULL, NULL), EI) \
    ROW(tdpmmu_ledger_detach, "No lock, not in RCU", tdpmmu_ledger_detach(kvm), EI) \
    ROW(tdpmmu_ledger_owes, "Any lock", tdpmmu_ledger_owes(kvm, 0, 0, 1), 0) \
    ROW(tdpmmu_cpus_check, "No lock, not in RCU", tdpmmu_cpus_check(kvm), EI) \
    ROW(tdpmmu_page_is_dirty, "Any lock", tdpmmu_page_is_dirty(kvm, 0, 0), EI) \
    /* rig_fail.h */ \
    ROW(tdpmmu_fail_nth, "Any lock", tdpmmu_fail_nth(TDPMMU_FAIL_ANY, 0), EI) \
    ROW(tdpmmu_fail_count, "Any lock", (int)tdpmmu_fail_count(TDPMMU_FAIL_ANY), 0) \
    /* rig_cpu.h */ \
    ROW(tdpmmu_cpus_attach, "No lock, not in RCU", attach_cpus(kvm), EI) \
    ROW(tdpmmu_cpus_detach, "No lock, not in RCU", tdpmmu_cpus_detach(kvm), EI) \
    ROW(tdpmmu_cpu_access_full, "Any lock", tdpmmu_cpu_access_full(vcpu, 0, PFERR_WRITE_MASK, &cpu_result), EI) \
    ROW(tdpmmu_cpu_fill, "Any lock", tdpmmu_cpu_fill(vcpu, 0), EI) \
    ROW(tdpmmu_cpu_drop, "Any lock", tdpmmu_cpu_drop(vcpu, 0), EI) \
    ROW(tdpmmu_cpu_cached, "Any lock", tdpmmu_cpu_cached(vcpu, 0, &cpu_result), EI) \
    /* rig_explore.h */ \
    ROW(tdpmmu_explore_main, "Any lock", tdpmmu_explore_main(0, NULL, NULL, 0), 0) \
    ROW(tdpmmu_explore_failed, "Any lock", VOID(tdpmmu_explore_failed(NULL, NULL, 0)), 0) \
    ROW(tdpmmu_schedule_point, "Any lock", VOID(tdpmmu_schedule_point(&spte, true)), 0) \
    ROW(tdpmmu_explore_name, "Any lock", VOID(tdpmmu_explore_name(&spte, 8, "spte")), 0) \
    ROW(tdpmmu_explore_pass_time, "Any lock", VOID(tdpmmu_explore_pass_time(1)), 0) \
    ROW(tdpmmu_explore_ignore, "Any lock", VOID(tdpmmu_explore_ignore(&spte, 8)), 0) \
    ROW(tdpmmu_explore_alloc, "Any lock", tdpmmu_explore_alloc(8), 0)

/* What a rig may call in any of its callbacks: what only looks. */
static const char *const read_only[] = {
    "tdpmmu_get_stats", "tdpmmu_memslots_generation", "tdpmmu_vcpu_root", "tdpmmu_vcpu_kvm",
    "tdpmmu_vcpu_id", "tdpmmu_vcpu_as_id", "gfn_to_memslot", "kvm_vcpu_gfn_to_memslot",
    "tdpmmu_id_to_memslot", "kvm_tdp_mmu_get_walk", "kvm_tdp_mmu_fast_pf_get_last_sptep",
    "tdp_iter_start", "tdp_iter_next", "tdp_iter_root_pt", "is_mmio_spte", "is_dirty_spte",
    "is_accessed_spte", "is_executable_pte", "sptep_to_sp", "to_shadow_page", "tdpmmu_table_hpa",
    "spte_to_child_pt", "tdpmmu_version", "rcu_read_lock", "rcu_read_lock_held",
    "tdpmmu_vcpu_dirty_ring", "kvm_tdp_mmu_test_age_gfn", "kvm_tdp_mmu_test_age_hva",
};

struct node {
    struct rcu_head head;
};

static void free_one(void)
{
    struct kvm_mmu_page *other = tdpmmu_alloc_sp(kvm);

    if (other)
        tdpmmu_free_sp(other);
}

static bool is_allowed(void);

/* These two want RCU besides. */
static bool give_way(bool shared)
{
    bool given;

    rcu_read_lock();
    given = tdpmmu_iter_yield(kvm, &leaf, false, shared);
    rcu_read_unlock();
    return given;
}

static int link_one(bool shared)
{
    int ret;

    if (!sp && is_allowed())
        return 0; /* a library without tables for callers: Linux's own */
    rcu_read_lock();
    ret = tdpmmu_link_sp(kvm, &hole, sp, shared);
    rcu_read_unlock();
    return ret;
}

static struct rcu_gp_oldstate *full_now(void)
{
    get_state_synchronize_rcu_full(&full);
    return &full;
}

/* What the function is for. */
static void warn_on_purpose(void)
{
    tdpmmu_rcu_lockdep_warn("a test", "on purpose");
    heard--;
}

static void free_later(void)
{
    struct node *node = calloc(1, sizeof(*node));

    kfree_rcu(node, head);
}

struct row {
    const char *name, *phrase;
    long (*call)(void);
    long refused;
};

enum place { ON_ITS_OWN, IN_RCU_CALLBACK, IN_GFN_TO_PFN, IN_SPTE_CHANGED };

static const struct context {
    const char *name;
    enum place place;
    unsigned has;
} contexts[] = {
    { "nothing", ON_ITS_OWN, 0 },
    { "R", ON_ITS_OWN, R },
    { "W", ON_ITS_OWN, W },
    { "RCU", ON_ITS_OWN, RCU },
    { "kvm->srcu", ON_ITS_OWN, SRCU },
    { "R and RCU", ON_ITS_OWN, R | RCU },
    { "W and RCU", ON_ITS_OWN, W | RCU },
    { "an RCU callback", IN_RCU_CALLBACK, CALLBACK },
    { "gfn_to_pfn", IN_GFN_TO_PFN, SRCU },
    { "spte_changed", IN_SPTE_CHANGED, R | RCU },
};
enum { CONTEXT_COUNT = sizeof(contexts) / sizeof(contexts[0]) };

/* Of the call that a child makes. */
static const struct row *asked;
static const struct context *where;
static bool armed, made;

static bool allows(const struct row *row, unsigned has)
{
    size_t length = strcspn(row->phrase, ";");

    for (const struct phrase *p = phrases; p < phrases + sizeof(phrases) / sizeof(phrases[0]); p++)
        if (strlen(p->text) == length && strncmp(p->text, row->phrase, length) == 0)
            return (!p->needs || p->needs & has) && !(p->forbids & has);
    printf("no phrase \"%s\"\n", row->phrase);
    _exit(9);
}

static bool is_allowed(void) { return allows(asked, where->has); }

/* What a world holds beside the vCPU's reference, before a call that wants nothing left. */
static void put_extra(void)
{
    if (!is_allowed())
        return;
    kvm_tdp_mmu_put_root(kvm, root);
    if (sp)
        tdpmmu_free_sp(sp);
}

#define ROW(name, phrase, call, refused) \
    static long call_##name(void) { return (long)(call); }
ROWS
#undef ROW

static const struct row rows[] = {
#define ROW(name, phrase, call, refused) { #name, phrase, call_##name, (long)(refused) },
    ROWS
#undef ROW
};
enum { ROW_COUNT = sizeof(rows) / sizeof(rows[0]) };

static bool is_read_only(const struct row *row)
{
    for (size_t i = 0; i < sizeof(read_only) / sizeof(read_only[0]); i++)
        if (strcmp(read_only[i], row->name) == 0)
            return true;
    return false;
}

static struct state {
    struct tdpmmu_stats stats;
    uint64_t tables;
    unsigned held, callbacks;
    int references;
} state_now(void)
{
    struct state state;

    memset(&state, 0, sizeof(state));
    tdpmmu_get_stats(kvm, &state.stats, sizeof(state.stats));
    state.stats.warnings = 0;
    state.held = (tdpmmu_read_lock_held(&kvm->mmu_lock) ? R : 0) | (tdpmmu_write_lock_held(&kvm->mmu_lock) ? W : 0) |
                 (rcu_read_lock_held() ? RCU : 0) | (srcu_read_lock_held(&kvm->srcu) ? SRCU : 0);
    state.tables = checksum(vcpu);
    state.callbacks = callbacks;
    state.references = root->tdp_mmu_root_count;
    return state;
}

#define COMPLAIN(...) \
    (printf("%s in %s: ", asked->name, where->name), printf(__VA_ARGS__), printf("\n"), fflush(stdout), _exit(1))

/* The names that a warning may use for a function: its own or the kernel's. */
static bool is_named(const char *function, const char *name)
{
    return strcmp(function, name) == 0 ||
           (strncmp(name, "tdpmmu_rcu_", 11) == 0 && strstr(name, "_slow") && strstr(name, function)) ||
           (strncmp(name, "tdpmmu_", 7) == 0 && strcmp(function, name + 7) == 0);
}

static void make_the_call(void)
{
    struct state before = state_now(), after;
    bool allowed = allows(asked, where->has);
    long result;

    heard = 0;
    made = true;
    result = asked->call();
    if (allowed && heard)
        COMPLAIN("allowed, and a warning of %s", heard_function);
    if (allowed)
        return;
    if (heard != 1)
        COMPLAIN("forbidden, and %u warnings", heard);
    if (!is_named(heard_function, asked->name))
        COMPLAIN("the warning is about %s", heard_function);
    if (heard_kind != TDPMMU_WARN_LOCK && heard_kind != TDPMMU_WARN_RCU)
        COMPLAIN("the warning is of kind %d", heard_kind);
    if (result != asked->refused)
        COMPLAIN("refused with %ld, not %ld", result, asked->refused);
    after = state_now();
    if (memcmp(&before, &after, sizeof(before)))
        COMPLAIN("refused, and something has changed");
}

static void make_the_call_once(void)
{
    if (!armed)
        return;
    armed = false;
    make_the_call();
}

static void on_change(void *ctx, struct kvm *vm, int as_id, gfn_t gfn, int at, uint64_t old, uint64_t new, bool shared)
{
    (void)ctx, (void)vm, (void)as_id, (void)gfn, (void)at, (void)old, (void)new, (void)shared;
    callbacks++;
    if (where->place == IN_SPTE_CHANGED)
        make_the_call_once();
}

static void on_flush(void *ctx, struct kvm *vm, gfn_t start, uint64_t npages)
{
    (void)ctx, (void)vm, (void)start, (void)npages;
    callbacks++;
}

static kvm_pfn_t on_gfn_to_pfn(void *ctx, struct kvm *vm, const struct kvm_memory_slot *s, gfn_t gfn, bool write,
                               bool *writable, int *max_level)
{
    (void)ctx, (void)vm, (void)s, (void)write, (void)writable, (void)max_level;
    if (where->place == IN_GFN_TO_PFN)
        make_the_call_once();
    return gfn;
}

static void add(uint32_t id, uint32_t flags, gfn_t base, uint64_t pages)
{
    assert_int_equal(add_slot(kvm, id, flags, base, pages, BASE_HVA + (base << 12)), 0);
}

static void fault_at(gfn_t gfn, int max_level)
{
    read_lock(&kvm->mmu_lock);
    kvm_tdp_mmu_map(vcpu, gfn << 12, PFERR_WRITE_MASK, true, max_level, gfn, false);
    read_unlock(&kvm->mmu_lock);
}

static void make_world(void)
{
    static struct tdpmmu_ops ops = {
        .size = sizeof(ops), .warn = hear, .spte_changed = on_change, .flush_tlb = on_flush, .gfn_to_pfn = on_gfn_to_pfn };
    struct tdpmmu_vm_config config = { .size = sizeof(config), .ops = &ops };

    tdpmmu_set_warn_handler(hear, NULL);
    kvm = tdpmmu_create_vm(&config);
    vcpu = tdpmmu_create_vcpu(kvm, 0);
    add(0, 0, 0, LOGGED_GFN);
    add(1, KVM_MEM_LOG_DIRTY_PAGES, LOGGED_GFN, 512);
    kvm_mmu_load(vcpu);
    kvm_tdp_mmu_get_vcpu_root_hpa(vcpu); /* a reference that may be put */
    root = tdpmmu_vcpu_root(vcpu);
    for (gfn_t gfn = 0; gfn < 8; gfn++)
        fault_at(gfn, 1);
    fault_at(512, 2);
    kvm_tdp_mmu_page_fault(vcpu, (gpa_t)LOGGED_GFN << 12, PFERR_WRITE_MASK);
    write_lock(&kvm->mmu_lock);
    kvm_mmu_invalidate_begin(kvm); /* of gfns that no row is about */
    kvm_mmu_invalidate_range_add(kvm, 1 << 20, (1 << 20) + 1);
    write_unlock(&kvm->mmu_lock);
    rcu_read_lock();
    slot = tdpmmu_id_to_memslot(kvm, 0, 0);
    spte = root->spt[0];
    level = 4;
    table = sptep_to_sp(spte_to_child_pt(spte, level));
    tdp_iter_start(&iter, root->spt, 4, 1, 0);
    for_each_tdp_pte(leaf, root->spt, 4, 0, 1)
        if (leaf.level == 1)
            break;
    for_each_tdp_pte(hole, root->spt, 4, 1024, 1025)
        if (hole.level == 2)
            break;
    rcu_read_unlock();
    sp = tdpmmu_alloc_sp(kvm);
    if (sp) {
        sp->role = table_holding(vcpu, 0, 1)->role;
        sp->gfn = hole.gfn;
        sp->ptep = hole.sptep;
    }
    range = (struct kvm_gfn_range){ .slot = slot, .start = 0, .end = 8, .may_block = true };
    cookie = get_state_synchronize_rcu();
}

static void rcu_callback(struct rcu_head *unused)
{
    (void)unused;
    make_the_call_once();
    __atomic_store_n(&made, true, __ATOMIC_RELEASE);
    armed = false;
}

static void enter(unsigned has)
{
    if (has & SRCU)
        srcu_index = srcu_read_lock(&kvm->srcu);
    if (has & R)
        read_lock(&kvm->mmu_lock);
    if (has & W)
        write_lock(&kvm->mmu_lock);
    if (has & RCU)
        rcu_read_lock();
}

#define NO_SUCH_CPUS 77 /* with Linux's own code */

static bool is_about_caches(const char *name)
{
    return strcmp(name, "tdpmmu_cpus_detach") == 0 || strcmp(name, "tdpmmu_cpu_fill") == 0 ||
           strcmp(name, "tdpmmu_cpu_drop") == 0 || strcmp(name, "tdpmmu_cpu_cached") == 0;
}

/* One call in one context, in a child: 0, or not. */
static int in_child(void)
{
    static struct rcu_head runner;
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        alarm(60);
        make_world();
        if (strncmp(asked->name, "tdpmmu_cpu", 10) == 0 && strcmp(asked->name, "tdpmmu_cpus_attach") != 0) {
            int error = attach_cpus(kvm);

            if (error == -EOPNOTSUPP && is_about_caches(asked->name))
                _exit(NO_SUCH_CPUS);
            assert_true(error == 0 || error == -EOPNOTSUPP);
        }
        armed = true;
        switch (where->place) {
        case ON_ITS_OWN:
            enter(where->has);
            make_the_call_once();
            break;
        case IN_RCU_CALLBACK:
            call_rcu(&runner, rcu_callback);
            while (__atomic_load_n(&armed, __ATOMIC_ACQUIRE) || !__atomic_load_n(&made, __ATOMIC_ACQUIRE))
                sleep_ms(1);
            break;
        case IN_GFN_TO_PFN:
            kvm_tdp_mmu_page_fault(vcpu, 40 << 12, PFERR_WRITE_MASK);
            break;
        case IN_SPTE_CHANGED:
            fault_at(40, 1);
            break;
        }
        _exit(made ? 0 : 8);
    }
    waitpid(child, &status, 0);
    return status;
}

static void each_function_in(const struct context *context)
{
    unsigned calls = 0, failures = 0;

    where = context;
    for (asked = rows; asked < rows + ROW_COUNT; asked++) {
        int status;

        /* What is not forbidden in a callback by what is held there may be forbidden by
         * the callback's own comment. */
        if (context->place > IN_RCU_CALLBACK && allows(asked, context->has) && !is_read_only(asked))
            continue;
        calls++;
        status = in_child();
        if (WIFEXITED(status) && WEXITSTATUS(status) == NO_SUCH_CPUS) {
            print_message("%s is left out: no CPUs with caches here\n", asked->name);
        } else if (status) {
            failures++;
            print_error("%s in %s: %s %d\n", asked->name, context->name,
                        WIFSIGNALED(status) ? "signal" : "status",
                        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        }
    }
    assert_true(calls > 20);
    assert_int_equal(failures, 0);
}

static void each_function_in_each_context(void **state)
{
    each_function_in(*state);
}

int main(void)
{
    struct CMUnitTest tests[CONTEXT_COUNT];

    for (int i = 0; i < CONTEXT_COUNT; i++)
        tests[i] = (struct CMUnitTest){ contexts[i].name, each_function_in_each_context, NULL, NULL,
                                        (void *)(uintptr_t)&contexts[i] };
    return cmocka_run_group_tests_name("contracts", tests, NULL, NULL);
}
