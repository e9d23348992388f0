// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization
import Tracing

/// Handle of a VM.
package struct VM: Equatable {
    let memory: UnsafeMutablePointer<VMMemory>

    @inline(__always) init(_ memory: UnsafeMutablePointer<VMMemory>) { self.memory = memory }

    @inline(__always) package init(_ kvm: UnsafeMutablePointer<kvm>) {
        memory = (UnsafeMutableRawPointer(kvm) - VMMemory.bytesBeforeKVM).assumingMemoryBound(to: VMMemory.self)
    }

    /// As C has it.
    @inline(__always) package var kvm: UnsafeMutablePointer<kvm> { place(of: &memory.pointee.kvm) }

    @inline(__always) package var state: UnsafeMutablePointer<VMState> { place(of: &memory.pointee.state) }

    /// What anybody counts at any time.
    @inline(__always) package var counters: Counters { Counters(place(of: &memory.pointee.counters)) }

    /// What holders of mmu_lock for write count, who are alone with it.
    @inline(__always) var exclusiveCounters: Counters { Counters(place(of: &memory.pointee.exclusiveCounters)) }

    @inline(__always) package var lock: RWLock { RWLock(place(of: &memory.pointee.kvm.mmu_lock)) }

    /// Protects the slots from being freed; its readers may sleep.
    @inline(__always) package var srcu: SRCUDomain { SRCUDomain(place(of: &memory.pointee.kvm.srcu)) }

    @inline(__always) package var masks: SPTEMasks {
        @inline(__always) _read { yield state.pointee.masks }
    }

    @inline(__always) package var gfnLimit: GFN { state.pointee.gfnLimit }

    /// Largest pfn of this VM.
    @inline(__always) package var pfnMask: UInt64 { state.pointee.pfnMask }

    /// Acquire: pairs with the exchanges of setUp() and tearDown().
    package var isSetUp: Bool { state.pointee.isSetUp.load(ordering: .acquiring) }

    @inline(__always) private func mutex(_ lock: VMLock) -> RankedMutex {
        switch lock {
        case .pages: RankedMutex(place(of: &memory.pointee.pages.mutex), .pages)
        case .slots: RankedMutex(place(of: &memory.pointee.slots.mutex), .slots)
        case .retiredSlots: RankedMutex(place(of: &memory.pointee.retiredSlots.mutex), .retiredSlots)
        case .vcpus: RankedMutex(place(of: &memory.pointee.vcpus.mutex), .vcpus)
        case .recovery: RankedMutex(place(of: &memory.pointee.recovery.mutex), .recovery)
        }
    }

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

    /// The same where it is free.
    func tryLocked<T>(_ lock: VMLock, _ body: () -> T) -> T? {
        guard mutex(lock).tryLock() else { return nil }
        defer { mutex(lock).unlock() }
        return body()
    }

    /// VMs of the process.
    static let alive = Atomic<Int>(0)
}
