// SPDX-License-Identifier: GPL-2.0-only
// The contract of every exported function, under the function's own name.  `make
// check-contracts` compares it with the last sentence but "Follows ..." of the header's comment.

import MMU
import PageTable
import RCU
import Sync

extension Contract {
    // tdp_mmu.h
    static var kvm_mmu_init_tdp_mmu: ContractFor<NothingAsked> { ContractFor(.noLock) }
    static var kvm_mmu_uninit_tdp_mmu: ContractFor<NothingAsked> { ContractFor(.noLockNoReaderNoCallback, whenSetUp: true) }
    static var kvm_tdp_mmu_get_vcpu_root_hpa: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU, whenSetUp: true) }
    static var kvm_tdp_mmu_get_root: ContractFor<NamedStays> { ContractFor(.rcuOrLockRorW) }
    static var kvm_tdp_mmu_put_root: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var kvm_mmu_load: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU, whenSetUp: true) }
    static var kvm_mmu_unload: ContractFor<NothingAsked> { ContractFor(.noLock) }
    static var tdpmmu_vcpu_root: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var kvm_tdp_mmu_invalidate_all_roots: ContractFor<HeldForWrite> { ContractFor(.lockW) }
    static var kvm_tdp_mmu_zap_invalidated_roots: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU) }
    static var kvm_mmu_zap_all_fast: ContractFor<NothingAsked> { ContractFor(.noLockNotRCUNotSRCU) }
    static var kvm_tdp_mmu_zap_all: ContractFor<HeldForWrite> { ContractFor(.lockW) }
    static var kvm_tdp_mmu_map: ContractFor<HeldForRead> { ContractFor(.lockRorW, whenSetUp: true) }
    static var kvm_tdp_mmu_page_fault: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU, whenSetUp: true) }
    static var kvm_vcpu_pre_fault_memory: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU, whenSetUp: true) }
    static var kvm_tdp_mmu_get_walk: ContractFor<InsideRCU> { ContractFor(.rcu) }
    static var kvm_tdp_mmu_fast_pf_get_last_sptep: ContractFor<InsideRCU> { ContractFor(.rcu) }
    static var tdpmmu_fast_page_fault: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var zap_gfn_range: ContractFor<HeldForWrite> { ContractFor(.lockW) }
    static var kvm_tdp_mmu_zap_gfn_range: ContractFor<HeldForWrite> { ContractFor(.lockW) }
    static var kvm_tdp_mmu_zap_leafs: ContractFor<HeldForWrite> { ContractFor(.lockW) }
    static var kvm_tdp_mmu_unmap_gfn_range: ContractFor<HeldForWrite> { ContractFor(.lockW) }

    // primitives.h
    static var tdpmmu_set_spte: ContractFor<TablesKept> { ContractFor(.rcuOrLockW) }
    /// shared ? .lockR : .lockW
    static func tdpmmu_iter_yield<Hold: CallersProof & ~Copyable>(
        _ rule: Rule<Hold>
    ) -> ContractFor<Hold> { ContractFor(rule, "tdpmmu_iter_yield") }
    static var tdpmmu_alloc_sp: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    /// shared ? .lockR : .lockW
    static func tdpmmu_link_sp<Hold: CallersProof & ~Copyable>(
        _ rule: Rule<Hold>
    ) -> ContractFor<Hold> { ContractFor(rule, "tdpmmu_link_sp") }
    static var tdpmmu_free_sp: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var kvm_mmu_max_mapping_level: ContractFor<InsideRCU> { ContractFor(.rcu) }

    // tdp_iter.h
    static var is_shadow_present_pte: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var is_large_pte: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var is_last_spte: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var is_frozen_spte: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var is_writable_pte: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var spte_to_pfn: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var is_mmio_spte: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var is_accessed_spte: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var is_dirty_spte: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var is_executable_pte: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var get_mmio_spte_generation: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var get_mmio_spte_gfn: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var spte_to_child_pt: ContractFor<NamedStays> { ContractFor(.rcuOrLockRorW) }
    static var sptep_to_sp: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var to_shadow_page: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_table_hpa: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdp_iter_start: ContractFor<TablesKept> { ContractFor(.rcuOrLockW) }
    static var tdp_iter_next: ContractFor<TablesKept> { ContractFor(.rcuOrLockW) }
    static var tdp_iter_restart: ContractFor<TablesKept> { ContractFor(.rcuOrLockW) }
    static var tdp_iter_root_pt: ContractFor<NothingAsked> { ContractFor(.anyLock) }

    // dirty_log.h
    static var kvm_tdp_mmu_wrprot_slot: ContractFor<HeldForRead> { ContractFor(.lockR) }
    static var kvm_tdp_mmu_clear_dirty_slot: ContractFor<HeldForRead> { ContractFor(.lockR) }
    static var kvm_tdp_mmu_clear_dirty_pt_masked: ContractFor<HeldForWrite> { ContractFor(.lockW) }
    static var kvm_tdp_mmu_slot_set_dirty: ContractFor<HeldForWrite> { ContractFor(.lockW) }
    static var kvm_tdp_mmu_write_protect_gfn: ContractFor<HeldForWrite> { ContractFor(.lockW) }
    static var kvm_vm_ioctl_get_dirty_log: ContractFor<NothingAsked> { ContractFor(.noLockNotRCUNotSRCU) }
    static var kvm_vm_ioctl_clear_dirty_log: ContractFor<NothingAsked> { ContractFor(.noLockNotRCUNotSRCU) }
    static var tdpmmu_vcpu_dirty_ring: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var kvm_vm_ioctl_reset_dirty_pages: ContractFor<NothingAsked> { ContractFor(.noLockNotRCUNotSRCU) }
    static var tdpmmu_mark_page_dirty: ContractFor<NothingAsked> { ContractFor(.anyLock) }

    // huge_pages.h
    /// shared ? .lockR : .lockW
    static func kvm_tdp_mmu_try_split_huge_pages<Hold: CallersProof & ~Copyable>(
        _ rule: Rule<Hold>
    ) -> ContractFor<Hold> { ContractFor(rule, "kvm_tdp_mmu_try_split_huge_pages") }
    static var kvm_tdp_mmu_zap_collapsible_sptes: ContractFor<HeldForRead> { ContractFor(.lockR) }
    static var kvm_tdp_mmu_recover_huge_pages: ContractFor<HeldForRead> { ContractFor(.lockR) }
    static var kvm_tdp_mmu_zap_sp: ContractFor<HeldForWrite> { ContractFor(.lockW) }
    static var tdpmmu_set_nx_huge_pages: ContractFor<NothingAsked> { ContractFor(.noLockNotRCUNotSRCU) }
    static var tdpmmu_nx_recover: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU) }
    static var tdpmmu_set_nx_recovery: ContractFor<NothingAsked> { ContractFor(.anyLock) }

    // notifier.h
    static var kvm_tdp_mmu_age_gfn_range: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var kvm_tdp_mmu_test_age_gfn: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var kvm_tdp_mmu_zap_hva_range: ContractFor<HeldForWrite> { ContractFor(.lockW) }
    static var kvm_tdp_mmu_age_hva_range: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var kvm_tdp_mmu_test_age_hva: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var kvm_tdp_mmu_set_spte_hva: ContractFor<HeldForWrite> { ContractFor(.lockW) }
    static var kvm_mmu_invalidate_begin: ContractFor<HeldForWrite> { ContractFor(.lockW) }
    static var kvm_mmu_invalidate_range_add: ContractFor<HeldForWrite> { ContractFor(.lockW) }
    static var kvm_mmu_invalidate_end: ContractFor<HeldForWrite> { ContractFor(.lockW) }
    static var kvm_mmu_notifier_invalidate_range_start: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU) }
    static var kvm_mmu_notifier_invalidate_range_end: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU) }
    static var kvm_mmu_notifier_clear_flush_young: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU) }
    static var kvm_mmu_notifier_clear_young: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU) }
    static var kvm_mmu_notifier_test_young: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU) }

    // vm.h
    static var tdpmmu_create_vm: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_destroy_vm: ContractFor<NothingAsked> { ContractFor(.noLockNoReaderNoCallback) }
    static var tdpmmu_create_vcpu: ContractFor<NothingAsked> { ContractFor(.noLock) }
    static var tdpmmu_destroy_vcpu: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU) }
    static var tdpmmu_vcpu_kvm: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_vcpu_id: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_vcpu_as_id: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_vcpu_set_as_id: ContractFor<NothingAsked> { ContractFor(.noLock) }
    static var kvm_set_memory_region: ContractFor<NothingAsked> { ContractFor(.noLockNotRCUNotSRCU) }
    static var gfn_to_memslot: ContractFor<SlotsKept> { ContractFor(.rcuOrSRCU) }
    static var kvm_vcpu_gfn_to_memslot: ContractFor<SlotsKept> { ContractFor(.rcuOrSRCU) }
    static var tdpmmu_id_to_memslot: ContractFor<SlotsKept> { ContractFor(.rcuOrSRCU) }
    static var tdpmmu_memslots_generation: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var kvm_vm_ioctl_enable_cap: ContractFor<NothingAsked> { ContractFor(.noLockNotRCUNotSRCU) }
    static var tdpmmu_set_eager_page_split: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var kvm_flush_remote_tlbs: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var kvm_flush_remote_tlbs_range: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_get_stats: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_set_warn_handler: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_version: ContractFor<NothingAsked> { ContractFor(.anyLock) }

    // trace.h
    static var tdpmmu_trace_name: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_trace_enable: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_trace_ring_size: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_trace_read: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_trace_write: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_trace_mark: ContractFor<NothingAsked> { ContractFor(.anyLock) }

    // rig.h
    static var tdpmmu_cpu_access: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_cpu_exit: ContractFor<NothingAsked> { ContractFor(.anyLock) }

    // rig_check.h
    static var tdpmmu_check: ContractFor<NothingAsked> { ContractFor(.noLockOrLockW) }
    static var tdpmmu_check_report: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_check_always: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_check_stats: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    // rig_ledger.h
    static var tdpmmu_ledger_attach: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU) }
    static var tdpmmu_ledger_detach: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU) }
    static var tdpmmu_ledger_owes: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_cpus_check: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU) }
    static var tdpmmu_page_is_dirty: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    // rig_fail.h
    static var tdpmmu_fail_nth: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_fail_count: ContractFor<NothingAsked> { ContractFor(.anyLock) }

    // rig_cpu.h
    static var tdpmmu_cpus_attach: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU) }
    static var tdpmmu_cpus_detach: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU) }
    static var tdpmmu_cpu_access_full: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_cpu_fill: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_cpu_drop: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_cpu_cached: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    // rig_explore.h
    static var tdpmmu_explore_main: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_explore_failed: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_schedule_point: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_explore_name: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_explore_pass_time: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_explore_ignore: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_explore_alloc: ContractFor<NothingAsked> { ContractFor(.anyLock) }

    // lock.h; the lock is the one that they are given, and Sync.RWLock looks at who holds it
    static var tdpmmu_rwlock_init: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_read_lock: ContractFor<NothingAsked> { ContractFor(.notLockW, "read_lock") }
    static var tdpmmu_read_unlock: ContractFor<HeldForRead> { ContractFor(.lockR, "read_unlock") }
    static var tdpmmu_write_lock: ContractFor<NothingAsked> { ContractFor(.noLock, "write_lock") }
    static var tdpmmu_write_unlock: ContractFor<HeldForWrite> { ContractFor(.lockW, "write_unlock") }
    static var tdpmmu_rwlock_needbreak: ContractFor<NothingAsked> { ContractFor(.anyLock, "rwlock_needbreak") }
    static var tdpmmu_read_lock_held: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_write_lock_held: ContractFor<NothingAsked> { ContractFor(.anyLock) }

    // rcu.h; the module RCU checks
    static var rcu_read_lock: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var rcu_read_unlock: ContractFor<InsideRCU> { ContractFor(.rcu) }
    static var tdpmmu_rcu_read_lock_slow: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_rcu_read_unlock_slow: ContractFor<InsideRCU> { ContractFor(.rcu) }
    static var rcu_read_lock_held: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var synchronize_rcu: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU) }
    static var synchronize_rcu_expedited: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU) }
    static var call_rcu: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var rcu_barrier: ContractFor<NothingAsked> { ContractFor(.noLockNotRCUNotCallback) }
    static var tdpmmu_kfree_rcu: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var get_state_synchronize_rcu: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var start_poll_synchronize_rcu: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var poll_state_synchronize_rcu: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var cond_synchronize_rcu: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU) }
    static var tdpmmu_rcu_register_thread: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_rcu_unregister_thread: ContractFor<NothingAsked> { ContractFor(.notRCU) }
    static var tdpmmu_rcu_thread_offline: ContractFor<NothingAsked> { ContractFor(.notRCU) }
    static var tdpmmu_rcu_thread_online: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_rcu_set_stall_timeout_ms: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_rcu_set_flood_limit: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_rcu_check_reader: ContractFor<InsideRCU> { ContractFor(.rcu) }
    static var tdpmmu_rcu_break_for_tests: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_rcu_readers_fence_free: ContractFor<NothingAsked> { ContractFor(.anyLock) }

    // rcu_poll.h
    static var get_completed_synchronize_rcu: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var start_poll_synchronize_rcu_expedited: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var cond_synchronize_rcu_expedited: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU) }
    static var get_completed_synchronize_rcu_full: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var get_state_synchronize_rcu_full: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var start_poll_synchronize_rcu_full: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var start_poll_synchronize_rcu_expedited_full: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var poll_state_synchronize_rcu_full: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var cond_synchronize_rcu_full: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU) }
    static var cond_synchronize_rcu_expedited_full: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU) }
    static var same_state_synchronize_rcu_full: ContractFor<NothingAsked> { ContractFor(.anyLock) }

    // rcu_callback.h
    static var call_rcu_hurry: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var rcu_head_init: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var rcu_head_after_call_rcu: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_kfree_rcu_mightsleep: ContractFor<NothingAsked> { ContractFor(.noLockNotRCU) }

    // rcu_pointer.h
    static var tdpmmu_rcu_lockdep_warn: ContractFor<NothingAsked> { ContractFor(.anyLock) }

    // srcu.h; the readers are those of the domain that they are given, and the module RCU checks
    static var init_srcu_struct: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var cleanup_srcu_struct: ContractFor<NothingAsked> { ContractFor(.notDomain) }
    static var srcu_read_lock: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var srcu_read_unlock: ContractFor<NothingAsked> { ContractFor(.domain) }
    static var srcu_read_lock_held: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var srcu_down_read: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var srcu_up_read: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var tdpmmu_srcu_check_reader: ContractFor<NothingAsked> { ContractFor(.domain) }
    static var synchronize_srcu: ContractFor<NothingAsked> { ContractFor(.noLockNotRCUNotDomain) }
    static var synchronize_srcu_expedited: ContractFor<NothingAsked> { ContractFor(.noLockNotRCUNotDomain) }
    static var call_srcu: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var srcu_barrier: ContractFor<NothingAsked> { ContractFor(.noLockNotRCUNotDomainNotCallback) }
    static var get_state_synchronize_srcu: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var start_poll_synchronize_srcu: ContractFor<NothingAsked> { ContractFor(.anyLock) }
    static var poll_state_synchronize_srcu: ContractFor<NothingAsked> { ContractFor(.anyLock) }
}
