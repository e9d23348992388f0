// SPDX-License-Identifier: GPL-2.0-only

/// What this version does with each kind of line.  An operation that the library
/// learns moves from `unsupported` into EventParser and Schedule; until then a
/// trace that has it is refused, never replayed with a hole.
enum OperationTable {
    /// Probes of TDP MMU functions that are not replayed yet.
    static let unsupportedEvents: Set<String> = [
        "age", "test_age", "wrprot_slot", "clear_dirty_slot", "clear_dirty_pt_masked",
        "split", "zap_collapsible", "write_protect_gfn", "zap_sp",
    ]

    /// What userspace does that changes how the TDP MMU decides, and that is not
    /// replayed yet.
    static let unsupportedSteps: Set<String> = [
        "enable_cap", "param", "get_dirty_log", "clear_dirty_log", "reset_dirty_rings",
        "smi_touch",
    ]

    /// What userspace does that reaches the TDP MMU only through recorded calls.
    static let otherSteps: Set<String> = [
        "host_map", "host_write", "mprotect", "munmap", "mmap_fixed",
        "madvise_dontneed", "madvise_collapse", "madvise_pageout", "madvise_cold",
        "madvise_mergeable", "madvise_unmergeable",
        "fork", "ksm_run", "reclaim", "sleep", "close_vcpu", "close_vm", "exit",
    ]

    static let memslotSteps: Set<String> = [
        "memslot_add", "memslot_delete", "memslot_move", "memslot_flags",
        "dirty_log_on", "dirty_log_off",
    ]

    /// Parts of an operation that tell nothing a replay compares.
    static let details: Set<String> = [
        "put_root", "iter_restart", "zap_root", "zap_root_level",
        "kvm_mmu_prepare_zap_page", "kvm_mmu_split_huge_page",
        "age_ret", "test_age_ret", "wrprot_slot_ret", "split_ret", "zap_collapsible_ret",
    ]

    /// The world around the TDP MMU.
    static let notes: Set<String> = [
        "flush", "flush_range", "flush_memslot", "inv_begin", "inv_range", "inv_end",
        "free_sp_rcu", "kvm_userspace_exit", "kvm_mmio", "kvm_unmap_hva_range",
        "kvm_age_hva", "kvm_test_age_hva", "kvm_try_async_get_page",
        "kvm_async_pf_not_present", "kvm_async_pf_ready", "kvm_async_pf_completed",
        "kvm_dirty_ring_push", "kvm_dirty_ring_reset", "kvm_dirty_ring_exit",
        "kvm_mmu_pagetable_walk", "kvm_mmu_paging_element", "kvm_mmu_set_accessed_bit",
        "kvm_mmu_set_dirty_bit", "kvm_mmu_walker_error", "kvm_mmu_sync_page",
        "kvm_mmu_unsync_page",
    ]
}
