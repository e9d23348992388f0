// SPDX-License-Identifier: GPL-2.0-only

/// What is done with the lines that EventParser and MarkerParser have no parser for.
/// A line that is not even named here is refused: nothing is replayed with a hole.
package enum OperationTable {
    /// What userspace does to its memory: the TDP MMU hears of it through recorded calls,
    /// and the model of the host's tables here.
    package static let hostSteps: Set<String> = [
        "host_write", "mprotect", "munmap", "mmap_fixed",
        "madvise_dontneed", "madvise_collapse", "madvise_pageout", "madvise_cold",
        "madvise_mergeable", "madvise_unmergeable",
    ]

    /// What else reaches the TDP MMU only through recorded calls.
    package static let otherSteps: Set<String> = [
        "fork", "ksm_run", "reclaim", "sleep", "close_vcpu", "close_vm", "exit",
    ]

    package static let memslotSteps: Set<String> = [
        "memslot_add", "memslot_delete", "memslot_move", "memslot_flags",
        "dirty_log_on", "dirty_log_off",
    ]

    /// Parts of an operation that tell nothing a replay compares.
    package static let details: Set<String> = [
        "put_root", "zap_root", "zap_root_level",
        "kvm_mmu_prepare_zap_page",
    ]

    /// The world around the TDP MMU.
    package static let notes: Set<String> = [
        "flush", "flush_range", "flush_memslot", "inv_begin", "inv_range",
        "free_sp_rcu", "kvm_userspace_exit", "kvm_mmio",
        "kvm_try_async_get_page",
        "kvm_async_pf_not_present", "kvm_async_pf_ready", "kvm_async_pf_completed",
        "kvm_dirty_ring_reset", "kvm_dirty_ring_exit", "mark_dirty",
        "kvm_mmu_pagetable_walk", "kvm_mmu_paging_element", "kvm_mmu_set_accessed_bit",
        "kvm_mmu_set_dirty_bit", "kvm_mmu_walker_error", "kvm_mmu_sync_page",
        "kvm_mmu_unsync_page",
    ]
}
