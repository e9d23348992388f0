// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization
import Tracing

/// A VM's small locks, each with what it protects on a cache line of its own.
/// Reached by address: an inout access would touch a whole struct at once.
enum VMLock: Int {
    /// Protects the root list, and the list of tables that NX recovery may zap,
    /// whose first and last (addresses, or 0) are the line's next words.
    case pages
    /// Serialises slot changes; outside mmu_lock.
    case slots
    /// Protects `retiredSlots`: slot tables that are no longer published, nor freed.
    case retiredSlots
    /// Protects the list of vCPUs, whose first (its address, or 0) is the line's second word.
    case vcpus
    /// Serialises who starts and ends the thread of NX recovery, of which the line's
    /// other words tell: NXRecoveryWords.
    case recovery

    static let lineBytes = 64
    static let count = 5

    @inline(__always) var rank: LockRank {
        switch self {
        case .pages: .pages
        case .slots: .slots
        case .vcpus: .vcpus
        case .recovery: .recovery
        case .retiredSlots: .retiredSlots
        }
    }
}

/// Handle of a VM.  One allocation holds struct kvm, the private state, the
/// small locks and the VM's two blocks of counters.
package struct VM: Equatable {
    package let kvm: UnsafeMutablePointer<kvm>

    @inline(__always) package init(_ kvm: UnsafeMutablePointer<kvm>) { self.kvm = kvm }

    private static var stateOffset: Int { (MemoryLayout<CTDPMMU.kvm>.size + 63) / 64 * 64 }
    /// Of kvm->srcu; a C test pins it.
    private static var srcuOffset: Int { MemoryLayout<tdpmmu_rwlock>.size }
    private static var locksOffset: Int {
        (stateOffset + MemoryLayout<VMState>.size + 63) / 64 * 64
    }
    private static var countersOffset: Int { locksOffset + VMLock.count * VMLock.lineBytes }
    /// Of the whole.
    static var bytes: Int { countersOffset + 2 * Counters.bytes }

    @inline(__always) package var state: UnsafeMutablePointer<VMState> {
        (UnsafeMutableRawPointer(kvm) + Self.stateOffset).assumingMemoryBound(to: VMState.self)
    }

    /// What anybody counts at any time.
    @inline(__always) package var counters: Counters { counterBlock(0) }

    /// What holders of mmu_lock for write count, who are alone with it.
    @inline(__always) var exclusiveCounters: Counters { counterBlock(1) }

    @inline(__always) private func counterBlock(_ index: Int) -> Counters {
        Counters((UnsafeMutableRawPointer(kvm) + Self.countersOffset + index * Counters.bytes)
            .assumingMemoryBound(to: Counters.Cell.self))
    }

    @inline(__always) package var lock: RWLock {
        RWLock(UnsafeMutableRawPointer(kvm).assumingMemoryBound(to: tdpmmu_rwlock.self))
    }

    /// Protects the slots from being freed; its readers may sleep.
    @inline(__always) package var srcu: SRCUDomain {
        SRCUDomain((UnsafeMutableRawPointer(kvm) + Self.srcuOffset).assumingMemoryBound(to: srcu_struct.self))
    }

    @inline(__always) package var masks: SPTEMasks {
        @inline(__always) _read { yield state.pointee.masks }
    }

    @inline(__always) package var gfnLimit: GFN { state.pointee.gfnLimit }

    /// Largest pfn of this VM.
    package var pfnMask: UInt64 { (1 &<< UInt64(state.pointee.config.maxPhysicalBits - 12)) - 1 }

    /// Acquire: pairs with the exchanges of setUp() and tearDown().
    package var isSetUp: Bool { state.pointee.isSetUp.load(ordering: .acquiring) }

    @inline(__always) private func line(_ lock: VMLock) -> UnsafeMutableRawPointer {
        UnsafeMutableRawPointer(kvm) + Self.locksOffset + lock.rawValue * VMLock.lineBytes
    }

    @inline(__always) func mutex(_ lock: VMLock) -> RankedMutex {
        RankedMutex(line(lock).assumingMemoryBound(to: cp_mutex.self), lock.rank)
    }

    /// First vCPU of the list; under VMLock.vcpus.
    @inline(__always) var firstVCPU: UnsafeMutablePointer<UInt> {
        (line(.vcpus) + MemoryLayout<UInt>.stride).assumingMemoryBound(to: UInt.self)
    }

    /// vCPUs ever made; under VMLock.vcpus.
    @inline(__always) var vcpusMade: UnsafeMutablePointer<UInt64> {
        (line(.vcpus) + 2 * MemoryLayout<UInt>.stride).assumingMemoryBound(to: UInt64.self)
    }

    /// First of the tables that NX recovery may zap; under VMLock.pages.
    var firstNXSplit: UnsafeMutablePointer<UInt> {
        (line(.pages) + MemoryLayout<UInt>.stride).assumingMemoryBound(to: UInt.self)
    }
    var lastNXSplit: UnsafeMutablePointer<UInt> { firstNXSplit + 1 }

    /// The slot table whose users a slot change waits for (its address), or 0; under
    /// VMLock.retiredSlots.
    var retiredSlots: UnsafeMutablePointer<UInt> {
        (line(.retiredSlots) + MemoryLayout<UInt>.stride).assumingMemoryBound(to: UInt.self)
    }

    var nxRecoveryWords: NXRecoveryWords { NXRecoveryWords(line: line(.recovery)) }

    @inline(__always)
    package var nxHugePages: Bool { state.pointee.nxHugePages.load(ordering: .relaxed) }

    /// The other switches, as they stand.
    var switches: VMSwitches {
        var result = VMSwitches()
        result.nxHugePages = nxHugePages
        result.eagerSplit = state.pointee.eagerSplit.load(ordering: .relaxed)
        result.manualProtect = state.pointee.manualProtect.load(ordering: .relaxed)
        result.initiallySet = state.pointee.initiallySet.load(ordering: .relaxed)
        result.zapSlotOnly = state.pointee.zapSlotOnly.load(ordering: .relaxed)
        return result
    }

    package func setEagerSplit(_ on: Bool) { state.pointee.eagerSplit.store(on, ordering: .relaxed) }
    package func disableSlotZapAll() { state.pointee.zapSlotOnly.store(true, ordering: .relaxed) }

    package func setDirtyLogMode(manualProtect: Bool, initiallySet: Bool) {
        locked(.slots) {
            state.pointee.manualProtect.store(manualProtect, ordering: .relaxed)
            state.pointee.initiallySet.store(initiallySet, ordering: .relaxed)
        }
    }

    /// Runs `body` holding one of the VM's small locks.
    @inline(__always)
    func locked<T: ~Copyable>(_ lock: VMLock, _ body: () -> T) -> T {
        mutex(lock).locked(body)
    }
}
