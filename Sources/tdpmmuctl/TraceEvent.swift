// SPDX-License-Identifier: GPL-2.0-only

/// One change of one SPTE, the kernel's or ours.
struct SPTEChange: Equatable {
    var addressSpace: Int
    var gfn: UInt64
    var level: Int
    var old: UInt64
    var new: UInt64
}

/// What kvm_tdp_mmu_map() was called with.
struct MapCall: Equatable {
    var vcpuPointer: UInt64
    var address: UInt64
    var errorCode: UInt64
    var prefetch: Bool
    var execute: Bool
    var write: Bool
    var present: Bool
    /// Fetches must not be mapped huge.
    var noHugeFetch: Bool
    var gfn: UInt64
    var pfn: UInt64
    var mapWritable: Bool
}

/// A root as the kernel's probes show it: table, and role word.
struct RecordedRoot: Equatable {
    var table: UInt64 // direct-map virtual address
    var role: UInt32
}

struct FastPageFault: Equatable {
    var vcpu: Int
    var gpa: UInt64
    var errorCode: UInt64
    var address: UInt64 // direct-map virtual address of the entry, 0 if there was none
    var old: UInt64
    /// Read again when the line was made.
    var new: UInt64
    var spurious: Bool
    var fixed: Bool
}

/// What kvm_tdp_mmu_try_split_huge_pages() was called with.
struct SplitCall: Equatable {
    var start: UInt64
    var end: UInt64
    var target: Int
    var shared: Bool
}

/// A slot as the kernel's probes show it.
struct RecordedSlot: Equatable {
    var base: UInt64
    var pages: UInt64
}

/// kvm_mmu_split_huge_page: one huge leaf that was, or was not, split.
struct HugePageSplit: Equatable {
    var gfn: UInt64
    var spte: UInt64
    var level: Int
    var error: Int
}

struct MMIOMark: Equatable {
    var address: UInt64 // direct-map virtual address of the entry
    var gfn: UInt64
    var access: UInt64
    var generation: UInt64
}

struct MMIOCheck: Equatable {
    var spte: UInt64
    var kvmGeneration: UInt64
    var spteGeneration: UInt64
    var valid: Bool
}

/// A line of the trace, as far as a replay is concerned with it.
enum TraceEvent: Equatable {
    // The kernel's tracepoints.
    case spteChanged(SPTEChange)
    case pageFault(vcpu: Int, address: UInt64, errorCode: UInt64)
    case spteRequested(gfn: UInt64, pfn: UInt64, level: Int)
    case tableAllocated(gfn: UInt64, level: Int, isNew: Bool)
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

    // Calls and returns of the TDP MMU's functions.
    case map(MapCall)
    case mapReturn(Int)
    case pageFaultReturn(Int)
    case allocRoot(vcpuPointer: UInt64)
    case loadRoot(vcpuPointer: UInt64, root: UInt64, level: Int)
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

    /// An event inside an operation that is on no account the guest's or the
    /// user's doing: it neither ends an operation nor begins one.
    case detail
    /// Nothing that a replay needs.
    case note
}

/// A line of the trace that matters, and the task that it belongs to.
struct TraceLine: Equatable {
    var number: Int
    var task: Int
    var event: TraceEvent
}
