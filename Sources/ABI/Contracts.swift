// SPDX-License-Identifier: GPL-2.0-only
// The contract of every exported function, under the function's own name.  `make
// check-contracts` compares it with the last sentence but "Follows ..." of the header's comment.

extension Contract {
    // tdp_mmu.h
    static var kvm_mmu_init_tdp_mmu: Contract { Contract(.noLock) }
    static var kvm_mmu_uninit_tdp_mmu: Contract { Contract(.noLockNoReaderNoCallback, whenSetUp: true) }
    static var kvm_tdp_mmu_get_vcpu_root_hpa: Contract { Contract(.noLockNotRCU, whenSetUp: true) }
    static var kvm_tdp_mmu_get_root: Contract { Contract(.rcuOrLockRorW) }
    static var kvm_tdp_mmu_put_root: Contract { Contract(.anyLock) }
    static var kvm_mmu_load: Contract { Contract(.noLockNotRCU, whenSetUp: true) }
    static var kvm_mmu_unload: Contract { Contract(.noLock) }
    static var tdpmmu_vcpu_root: Contract { Contract(.anyLock) }
    static var kvm_tdp_mmu_invalidate_all_roots: Contract { Contract(.lockW) }
    static var kvm_tdp_mmu_zap_invalidated_roots: Contract { Contract(.noLockNotRCU) }
    static var kvm_mmu_zap_all_fast: Contract { Contract(.noLockNotRCUNotSRCU) }
    static var kvm_tdp_mmu_zap_all: Contract { Contract(.lockW) }
    static var kvm_tdp_mmu_map: Contract { Contract(.lockRorW, whenSetUp: true) }
    static var kvm_tdp_mmu_page_fault: Contract { Contract(.noLockNotRCU, whenSetUp: true) }
    static var kvm_vcpu_pre_fault_memory: Contract { Contract(.noLockNotRCU, whenSetUp: true) }
    static var kvm_tdp_mmu_get_walk: Contract { Contract(.rcu) }
    static var kvm_tdp_mmu_fast_pf_get_last_sptep: Contract { Contract(.rcu) }
    static var tdpmmu_fast_page_fault: Contract { Contract(.anyLock) }
    static var zap_gfn_range: Contract { Contract(.lockW) }
    static var kvm_tdp_mmu_zap_gfn_range: Contract { Contract(.lockW) }
    static var kvm_tdp_mmu_zap_leafs: Contract { Contract(.lockW) }
    static var kvm_tdp_mmu_unmap_gfn_range: Contract { Contract(.lockW) }

    // tdp_iter.h
    static var is_shadow_present_pte: Contract { Contract(.anyLock) }
    static var is_large_pte: Contract { Contract(.anyLock) }
    static var is_last_spte: Contract { Contract(.anyLock) }
    static var is_frozen_spte: Contract { Contract(.anyLock) }
    static var is_writable_pte: Contract { Contract(.anyLock) }
    static var spte_to_pfn: Contract { Contract(.anyLock) }
    static var is_mmio_spte: Contract { Contract(.anyLock) }
    static var is_accessed_spte: Contract { Contract(.anyLock) }
    static var is_dirty_spte: Contract { Contract(.anyLock) }
    static var is_executable_pte: Contract { Contract(.anyLock) }
    static var get_mmio_spte_generation: Contract { Contract(.anyLock) }
    static var get_mmio_spte_gfn: Contract { Contract(.anyLock) }
    static var spte_to_child_pt: Contract { Contract(.rcuOrLockRorW) }
    static var sptep_to_sp: Contract { Contract(.anyLock) }
    static var to_shadow_page: Contract { Contract(.anyLock) }
    static var tdpmmu_table_hpa: Contract { Contract(.anyLock) }
    static var tdp_iter_start: Contract { Contract(.rcuOrLockW) }
    static var tdp_iter_next: Contract { Contract(.rcuOrLockW) }
    static var tdp_iter_restart: Contract { Contract(.rcuOrLockW) }
    static var tdp_iter_root_pt: Contract { Contract(.anyLock) }

    // dirty_log.h
    static var kvm_tdp_mmu_wrprot_slot: Contract { Contract(.lockR) }
    static var kvm_tdp_mmu_clear_dirty_slot: Contract { Contract(.lockR) }
    static var kvm_tdp_mmu_clear_dirty_pt_masked: Contract { Contract(.lockW) }
    static var kvm_tdp_mmu_slot_set_dirty: Contract { Contract(.lockW) }
    static var kvm_tdp_mmu_write_protect_gfn: Contract { Contract(.lockW) }
    static var kvm_vm_ioctl_get_dirty_log: Contract { Contract(.noLockNotRCUNotSRCU) }
    static var kvm_vm_ioctl_clear_dirty_log: Contract { Contract(.noLockNotRCUNotSRCU) }
    static var tdpmmu_vcpu_dirty_ring: Contract { Contract(.anyLock) }
    static var kvm_vm_ioctl_reset_dirty_pages: Contract { Contract(.noLockNotRCUNotSRCU) }
    static var tdpmmu_mark_page_dirty: Contract { Contract(.anyLock) }

    // huge_pages.h
    static func kvm_tdp_mmu_try_split_huge_pages(shared: Bool) -> Contract {
        Contract(shared ? .lockR : .lockW, "kvm_tdp_mmu_try_split_huge_pages")
    }
    static var kvm_tdp_mmu_zap_collapsible_sptes: Contract { Contract(.lockR) }
    static var kvm_tdp_mmu_recover_huge_pages: Contract { Contract(.lockR) }
    static var kvm_tdp_mmu_zap_sp: Contract { Contract(.lockW) }
    static var tdpmmu_set_nx_huge_pages: Contract { Contract(.noLockNotRCUNotSRCU) }
    static var tdpmmu_nx_recover: Contract { Contract(.noLockNotRCU) }
    static var tdpmmu_set_nx_recovery: Contract { Contract(.anyLock) }

    // notifier.h
    static var kvm_tdp_mmu_age_gfn_range: Contract { Contract(.anyLock) }
    static var kvm_tdp_mmu_test_age_gfn: Contract { Contract(.anyLock) }
    static var kvm_tdp_mmu_zap_hva_range: Contract { Contract(.lockW) }
    static var kvm_tdp_mmu_age_hva_range: Contract { Contract(.anyLock) }
    static var kvm_tdp_mmu_test_age_hva: Contract { Contract(.anyLock) }
    static var kvm_tdp_mmu_set_spte_hva: Contract { Contract(.lockW) }
    static var kvm_mmu_invalidate_begin: Contract { Contract(.lockW) }
    static var kvm_mmu_invalidate_range_add: Contract { Contract(.lockW) }
    static var kvm_mmu_invalidate_end: Contract { Contract(.lockW) }
    static var kvm_mmu_notifier_invalidate_range_start: Contract { Contract(.noLockNotRCU) }
    static var kvm_mmu_notifier_invalidate_range_end: Contract { Contract(.noLockNotRCU) }
    static var kvm_mmu_notifier_clear_flush_young: Contract { Contract(.noLockNotRCU) }
    static var kvm_mmu_notifier_clear_young: Contract { Contract(.noLockNotRCU) }
    static var kvm_mmu_notifier_test_young: Contract { Contract(.noLockNotRCU) }

    // vm.h
    static var tdpmmu_create_vm: Contract { Contract(.anyLock) }
    static var tdpmmu_destroy_vm: Contract { Contract(.noLockNoReaderNoCallback) }
    static var tdpmmu_create_vcpu: Contract { Contract(.noLock) }
    static var tdpmmu_destroy_vcpu: Contract { Contract(.noLockNotRCU) }
    static var tdpmmu_vcpu_kvm: Contract { Contract(.anyLock) }
    static var tdpmmu_vcpu_id: Contract { Contract(.anyLock) }
    static var tdpmmu_vcpu_as_id: Contract { Contract(.anyLock) }
    static var tdpmmu_vcpu_set_as_id: Contract { Contract(.noLock) }
    static var kvm_set_memory_region: Contract { Contract(.noLockNotRCUNotSRCU) }
    static var gfn_to_memslot: Contract { Contract(.rcuOrSRCU) }
    static var kvm_vcpu_gfn_to_memslot: Contract { Contract(.rcuOrSRCU) }
    static var tdpmmu_id_to_memslot: Contract { Contract(.rcuOrSRCU) }
    static var tdpmmu_memslots_generation: Contract { Contract(.anyLock) }
    static var kvm_vm_ioctl_enable_cap: Contract { Contract(.noLockNotRCUNotSRCU) }
    static var tdpmmu_set_eager_page_split: Contract { Contract(.anyLock) }
    static var kvm_flush_remote_tlbs: Contract { Contract(.anyLock) }
    static var kvm_flush_remote_tlbs_range: Contract { Contract(.anyLock) }
    static var tdpmmu_get_stats: Contract { Contract(.anyLock) }
    static var tdpmmu_set_warn_handler: Contract { Contract(.anyLock) }
    static var tdpmmu_version: Contract { Contract(.anyLock) }

    // trace.h
    static var tdpmmu_trace_name: Contract { Contract(.anyLock) }
    static var tdpmmu_trace_enable: Contract { Contract(.anyLock) }
    static var tdpmmu_trace_ring_size: Contract { Contract(.anyLock) }
    static var tdpmmu_trace_read: Contract { Contract(.anyLock) }
    static var tdpmmu_trace_write: Contract { Contract(.anyLock) }
    static var tdpmmu_trace_mark: Contract { Contract(.anyLock) }

    // rig.h
    static var tdpmmu_cpu_access: Contract { Contract(.anyLock) }

    // lock.h; the lock is the one that they are given, and Sync.RWLock looks at who holds it
    static var tdpmmu_rwlock_init: Contract { Contract(.anyLock) }
    static var tdpmmu_read_lock: Contract { Contract(.notLockW, "read_lock") }
    static var tdpmmu_read_unlock: Contract { Contract(.lockR, "read_unlock") }
    static var tdpmmu_write_lock: Contract { Contract(.noLock, "write_lock") }
    static var tdpmmu_write_unlock: Contract { Contract(.lockW, "write_unlock") }
    static var tdpmmu_rwlock_needbreak: Contract { Contract(.anyLock, "rwlock_needbreak") }
    static var tdpmmu_read_lock_held: Contract { Contract(.anyLock) }
    static var tdpmmu_write_lock_held: Contract { Contract(.anyLock) }

    // rcu.h; the module RCU checks
    static var rcu_read_lock: Contract { Contract(.anyLock) }
    static var rcu_read_unlock: Contract { Contract(.rcu) }
    static var tdpmmu_rcu_read_lock_slow: Contract { Contract(.anyLock) }
    static var tdpmmu_rcu_read_unlock_slow: Contract { Contract(.rcu) }
    static var rcu_read_lock_held: Contract { Contract(.anyLock) }
    static var synchronize_rcu: Contract { Contract(.noLockNotRCU) }
    static var synchronize_rcu_expedited: Contract { Contract(.noLockNotRCU) }
    static var call_rcu: Contract { Contract(.anyLock) }
    static var rcu_barrier: Contract { Contract(.noLockNotRCUNotCallback) }
    static var tdpmmu_kfree_rcu: Contract { Contract(.anyLock) }
    static var get_state_synchronize_rcu: Contract { Contract(.anyLock) }
    static var start_poll_synchronize_rcu: Contract { Contract(.anyLock) }
    static var poll_state_synchronize_rcu: Contract { Contract(.anyLock) }
    static var cond_synchronize_rcu: Contract { Contract(.noLockNotRCU) }
    static var tdpmmu_rcu_register_thread: Contract { Contract(.anyLock) }
    static var tdpmmu_rcu_unregister_thread: Contract { Contract(.notRCU) }
    static var tdpmmu_rcu_thread_offline: Contract { Contract(.notRCU) }
    static var tdpmmu_rcu_thread_online: Contract { Contract(.anyLock) }
    static var tdpmmu_rcu_set_stall_timeout_ms: Contract { Contract(.anyLock) }
    static var tdpmmu_rcu_set_flood_limit: Contract { Contract(.anyLock) }
    static var tdpmmu_rcu_check_reader: Contract { Contract(.rcu) }
    static var tdpmmu_rcu_break_for_tests: Contract { Contract(.anyLock) }
    static var tdpmmu_rcu_readers_fence_free: Contract { Contract(.anyLock) }

    // srcu.h; the readers are those of the domain that they are given, and the module RCU checks
    static var init_srcu_struct: Contract { Contract(.anyLock) }
    static var cleanup_srcu_struct: Contract { Contract(.notDomain) }
    static var srcu_read_lock: Contract { Contract(.anyLock) }
    static var srcu_read_unlock: Contract { Contract(.domain) }
    static var srcu_read_lock_held: Contract { Contract(.anyLock) }
    static var synchronize_srcu: Contract { Contract(.noLockNotRCUNotDomain) }
    static var synchronize_srcu_expedited: Contract { Contract(.noLockNotRCUNotDomain) }
    static var call_srcu: Contract { Contract(.anyLock) }
    static var srcu_barrier: Contract { Contract(.noLockNotRCUNotDomainNotCallback) }
    static var get_state_synchronize_srcu: Contract { Contract(.anyLock) }
    static var start_poll_synchronize_srcu: Contract { Contract(.anyLock) }
    static var poll_state_synchronize_srcu: Contract { Contract(.anyLock) }
}
