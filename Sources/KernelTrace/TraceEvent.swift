// SPDX-License-Identifier: GPL-2.0-only

/// One change of one SPTE, the kernel's or ours.
package struct SPTEChange: Equatable {
    package var addressSpace: Int
    package var gfn: UInt64
    package var level: Int
    package var old: UInt64
    package var new: UInt64

    package init(addressSpace: Int, gfn: UInt64, level: Int, old: UInt64, new: UInt64) {
        (self.addressSpace, self.gfn, self.level, self.old, self.new) = (addressSpace, gfn, level, old, new)
    }
}

/// What kvm_tdp_mmu_map() was called with.
package struct MapCall: Equatable {
    package var vcpuPointer: UInt64
    package var address: UInt64
    package var errorCode: UInt64
    package var prefetch: Bool
    package var execute: Bool
    package var write: Bool
    package var present: Bool
    /// Fetches must not be mapped huge.
    package var noHugeFetch: Bool
    package var gfn: UInt64
    package var pfn: UInt64
    package var mapWritable: Bool
}

/// A root as the kernel's probes show it: table, and role word.
package struct RecordedRoot: Equatable {
    package var table: UInt64 // direct-map virtual address
    package var role: UInt32
}

package struct FastPageFault: Equatable {
    package var vcpu: Int
    package var gpa: UInt64
    package var errorCode: UInt64
    package var address: UInt64 // direct-map virtual address of the entry, 0 if there was none
    package var old: UInt64
    /// Read again when the line was made.
    package var new: UInt64
    package var spurious: Bool
    package var fixed: Bool
}

/// What kvm_tdp_mmu_try_split_huge_pages() was called with.
package struct SplitCall: Equatable {
    package var start: UInt64
    package var end: UInt64
    package var target: Int
    package var shared: Bool

    package init(start: UInt64, end: UInt64, target: Int, shared: Bool) {
        (self.start, self.end, self.target, self.shared) = (start, end, target, shared)
    }
}

/// A slot as the kernel's probes show it.
package struct RecordedSlot: Equatable {
    package var base: UInt64
    package var pages: UInt64

    package init(base: UInt64, pages: UInt64) {
        (self.base, self.pages) = (base, pages)
    }
}

/// kvm_mmu_split_huge_page: one huge leaf that was, or was not, split.
package struct HugePageSplit: Equatable {
    package var gfn: UInt64
    package var spte: UInt64
    package var level: Int
    package var error: Int

    package init(gfn: UInt64, spte: UInt64, level: Int, error: Int) {
        (self.gfn, self.spte, self.level, self.error) = (gfn, spte, level, error)
    }
}

/// kvm_dirty_ring_push.
package struct RingPush: Equatable {
    package var vcpu: Int
    /// How many there have been with it.
    package var count: UInt64
    package var entry: RingEntry
}

/// kvm_mmu_get_page.
package struct TableAllocation: Equatable {
    package var gfn: UInt64
    package var level: Int
    package var isNew: Bool
    /// The CPU sets Accessed and Dirty below it.
    package var hasAD: Bool
}

package struct MMIOMark: Equatable {
    package var address: UInt64 // direct-map virtual address of the entry
    package var gfn: UInt64
    package var access: UInt64
    package var generation: UInt64
}

package struct MMIOCheck: Equatable {
    package var spte: UInt64
    package var kvmGeneration: UInt64
    package var spteGeneration: UInt64
    package var valid: Bool

    package init(spte: UInt64, kvmGeneration: UInt64, spteGeneration: UInt64, valid: Bool) {
        (self.spte, self.kvmGeneration, self.spteGeneration, self.valid) = (spte, kvmGeneration, spteGeneration, valid)
    }
}

/// A line of the trace, as far as a replay is concerned with it.
package enum TraceEvent: Equatable {
    // The kernel's tracepoints.
    case spteChanged(SPTEChange)
    case pageFault(vcpu: Int, address: UInt64, errorCode: UInt64)
    case spteRequested(gfn: UInt64, pfn: UInt64, level: Int)
    case tableAllocated(TableAllocation)
    case spteSet(gfn: UInt64, spte: UInt64, level: Int, address: UInt64)
    case mmioMarked(MMIOMark)
    case mmioChecked(MMIOCheck)
    case mmioHandled(gfn: UInt64)
    case fastPageFault(FastPageFault)
    case smmTransition(vcpu: Int, entering: Bool)
    case zapAllFast
    case hugePageSplit(HugePageSplit)
    /// What the host's memory notifier is told, in its own addresses.
    case hostUnmapped(start: UInt64, end: UInt64)
    case hostAged(start: UInt64, end: UInt64)
    case hostTestAged(start: UInt64, end: UInt64)
    case invalidateEnd

    // Calls and returns of the TDP MMU's functions, and of its callers'.
    /// kvm_mmu_page_fault(), which the vendors' handlers call.
    case faultHandled(vcpuPointer: UInt64, address: UInt64, errorCode: UInt64)
    case map(MapCall)
    case mapReturn(Int)
    case pageFaultReturn(Int)
    case allocRoot(vcpuPointer: UInt64)
    /// The vCPU has left the guest, for whatever reason.
    case guestLeft(vcpuPointer: UInt64)
    /// vendor: whose function that was, if its name tells.
    case loadRoot(vcpuPointer: UInt64, root: UInt64, level: Int, vendor: Vendor?)
    case iteratorStart(RecordedRoot, minLevel: Int, gfn: UInt64)
    case iteratorRestart(next: UInt64, yielded: UInt64)
    case unmap(start: UInt64, end: UInt64, flush: Bool)
    case unmapReturn(Bool)
    case zapLeafsOfRoot(RecordedRoot, start: UInt64, end: UInt64)
    case zapLeafsOfRootReturn(Bool)
    case zapLeafs(start: UInt64, end: UInt64, flush: Bool)
    case age(start: UInt64, end: UInt64)
    case ageReturn(Bool)
    case testAge(start: UInt64, end: UInt64)
    case testAgeReturn(Bool)
    case writeProtectSlot(RecordedSlot, minLevel: Int)
    case writeProtectSlotReturn(Bool)
    case clearDirtySlot(RecordedSlot)
    case clearDirtyMasked(gfn: UInt64, mask: UInt64, writeProtect: Bool)
    case writeProtect(gfn: UInt64, minLevel: Int)
    case split(SplitCall)
    case splitReturn
    case zapCollapsible(RecordedSlot)
    case zapCollapsibleReturn
    case zapTable(table: UInt64, gfn: UInt64)
    case zapAll
    case invalidateAllRoots
    case zapInvalidatedRoots
    case zapInvalidatedRootsReturn

    // What userspace was about to do, had done, and was told.
    case step(Step)
    case done(Done)
    case pages(PageList)
    case ringEntries(vcpu: Int, entries: [RingEntry])
    case mmioExit(vcpu: Int, gpa: UInt64)
    case guestCPUID(eax: UInt64)
    case machineInfo(MachineInfo)

    /// An event inside an operation that is on no account the guest's or the
    /// user's doing: it neither ends an operation nor begins one.
    case detail
    /// An entry was put into a dirty ring.
    case ringPushed(RingPush)
    /// Nothing that a replay needs.
    case note
}

/// A line of the trace that matters, and the task that it belongs to.
package struct TraceLine: Equatable {
    package var number: Int
    package var task: Int
    package var event: TraceEvent

    package init(number: Int, task: Int, event: TraceEvent) {
        (self.number, self.task, self.event) = (number, task, event)
    }
}
