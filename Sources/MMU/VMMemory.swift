// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import Synchronization

/// The one allocation of a VM, aligned to a cache line.  struct kvm, which C points to, lies so
/// that its mmu_lock ends the first line and its SRCU domain begins the second: faults read what
/// writers of the lock do not write.  Each part begins on a line of its own: what is mostly read,
/// each small lock with what it protects, what many threads count.  Nothing in it has an end of its
/// own, so its memory is just freed.
struct VMMemory: ~Copyable {
    private let beforeKVM = Reserved<6>(repeating: 0)
    var kvm = CTDPMMU.kvm()
    private let afterKVM = Reserved<6>(repeating: 0)
    var state: VMState
    private let afterState = Reserved<2>(repeating: 0)
    var facts = Facts()
    var pages = PagesLock()
    var slots = SlotsLock()
    var retiredSlots = RetiredSlotsLock()
    var vcpus = VCPUsLock()
    var recovery = RecoveryLock()
    var tables = TableCount()
    var taken = TakenRanges()
    package var checks = CheckState()
    /// What anybody counts at any time.
    var counters = CounterBlock()
    /// What holders of mmu_lock for write count, who are alone with it.
    var exclusiveCounters = CounterBlock()

    static var bytesBeforeKVM: Int { MemoryLayout<Reserved<6>>.size }

    init(_ config: VMConfiguration) { state = VMState(config) }
}

/// What C is told of the VM's SPTEs, once.
struct Facts: ~Copyable {
    var forC = tdpmmu_facts()
    private let reserved = Reserved<6>(repeating: 0)
}

/// Tables taken by a VM and not yet freed, for the limit; and those ever cut off.
struct TableCount: ~Copyable {
    let taken = Atomic<UInt64>(0)
    /// Counts on before the table may be freed, and when roots become invalid: what a vCPU remembers of tables is good
    /// while it stands still.
    let cutOff = Atomic<UInt64>(0)
    /// Operations under way that put tables for leaves or leaves for tables, perhaps among others.
    let rebuilding = Atomic<UInt64>(0)
    /// Tables on their way to or from the arena without mmu_lock, and how often there were any, in the upper half.
    let moves = Atomic<UInt64>(0)
    /// Passes under way that have all below an invalid root to themselves.
    let alone = Atomic<UInt64>(0)
    /// Not 0: callers make tables and pages come and go by steps of their own, or did once.
    let callersChange = Atomic<UInt64>(0)
    /// Of those taken, the callers' of the library, who have not linked them yet.
    let handedOut = Atomic<UInt64>(0)
    private let reserved = Reserved<1>(repeating: 0)
}
