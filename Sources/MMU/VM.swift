// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization
import Tracing

/// What may be switched while the VM runs.
package struct VMSwitches {
    /// Huge pages must not be executed.
    package var nxHugePages = false
    /// Enabling dirty logging splits huge leaves at once.
    package var eagerSplit = true
    /// Reading the dirty log does not clear it.
    package var manualProtect = false
    /// A logged slot starts all dirty, and nothing is protected until it is cleared.
    package var initiallySet = false
    /// Deleting or moving a slot zaps its leaves only.
    package var zapSlotOnly = false

    package init() {}
}

/// What a VM is made from, checked by the caller.
package struct VMConfiguration {
    package var vendor: Vendor
    package var rootLevel: Level
    package var maxPhysicalBits: Int
    package var adDisabled: Bool
    /// Most tables alive at once; 0: no limit.
    package var tableLimit: UInt64
    package let rig: RigTable
    /// The CPU logs dirty pages by their Dirty bits.
    package var usesPML = false
    /// What can be switched later begins so.
    package var switches = VMSwitches()
    /// Cached physical address bits of a CPU that leaks through them; 0: it does not.
    package var l1tfCacheBits = 0

    package init(
        vendor: Vendor, rootLevel: Level, maxPhysicalBits: Int, adDisabled: Bool,
        tableLimit: UInt64, ops: tdpmmu_ops, opsContext: UnsafeMutableRawPointer?
    ) {
        self.vendor = vendor
        self.rootLevel = rootLevel
        self.maxPhysicalBits = maxPhysicalBits
        self.adDisabled = adDisabled
        self.tableLimit = tableLimit
        rig = RigTable(ops, context: opsContext)
    }
}

/// The private part of a VM, behind struct kvm.  Who writes what under which
/// lock: docs/LOCKING.md.
package struct VMState: ~Copyable {
    package let masks: SPTEMasks
    package let config: VMConfiguration
    /// First gfn that gets no SPTE.
    package let gfnLimit: GFN
    /// kvm_mmu_init_tdp_mmu() done and not undone.
    let isSetUp = Atomic<Bool>(false)
    /// First root (a header's address), or 0.
    let firstRoot = Atomic<UInt>(0)
    /// Published slot tables of the two address spaces (addresses).
    let normalSlots = Atomic<UInt>(0)
    let smmSlots = Atomic<UInt>(0)
    // The switches, each by itself: a fault may read while another thread switches.
    let nxHugePages = Atomic<Bool>(false)
    let eagerSplit = Atomic<Bool>(true)
    let manualProtect = Atomic<Bool>(false)
    let initiallySet = Atomic<Bool>(false)
    let zapSlotOnly = Atomic<Bool>(false)
    /// NXRecoverySettings; 0: off.
    let nxRecovery = Atomic<UInt64>(0)
    /// Entries of each vCPU's dirty ring; 0: bitmaps.  Written under VMLock.vcpus.
    let dirtyRingSize = Atomic<UInt32>(0)
    /// Counts ended invalidations of the host; written with mmu_lock for write.
    let invalidateSequence = Atomic<UInt64>(0)
    /// Invalidations under way, and the gfns they are about; the same lock.
    let invalidationsRunning = Atomic<Int64>(0)
    let invalidateStart = Atomic<UInt64>(0)
    let invalidateEnd = Atomic<UInt64>(0)
    /// InvalidationRange: was any such gfn named yet?
    let invalidationRange = Atomic<UInt8>(0)
    /// Slot records ever made; under VMLock.slots.
    let slotSequence = Atomic<UInt64>(0)
    /// Slots with dirty logging; under VMLock.slots.
    let loggedSlots = Atomic<Int64>(0)
    /// Events, by bit, that go to rings; and those that go anywhere.
    let ringEvents = Atomic<UInt64>(0)
    let tracedEvents = Atomic<UInt64>(0)
    /// Tables taken by this VM and not yet freed, for the limit.
    let tablesTaken = Atomic<UInt64>(0)

    init(_ config: VMConfiguration) {
        self.config = config
        masks = SPTEMasks(
            vendor: config.vendor, maxPhysicalBits: config.maxPhysicalBits, adDisabled: config.adDisabled,
            l1tfCacheBits: config.l1tfCacheBits)
        // Four levels translate 48 bits, however many the CPU could address.
        let walkable = config.rootLevel.raw == 4 ? 48 : 57
        gfnLimit = GFN(1 &<< UInt64(min(config.maxPhysicalBits, walkable) - 12))
        nxHugePages.store(config.switches.nxHugePages, ordering: .relaxed)
        eagerSplit.store(config.switches.eagerSplit, ordering: .relaxed)
        manualProtect.store(config.switches.manualProtect, ordering: .relaxed)
        initiallySet.store(config.switches.initiallySet, ordering: .relaxed)
        zapSlotOnly.store(config.switches.zapSlotOnly, ordering: .relaxed)
        tracedEvents.store(config.rig.traces ? .max : 0, ordering: .relaxed)
    }
}

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

    /// nil when there is no memory.
    package static func make(_ config: VMConfiguration) -> VM? {
        let bytes = countersOffset + 2 * Counters.bytes
        TableArena.seeToForks()
        TraceRings.seeToForks()
        keepInForkedChild(freeTable)
        guard let memory = cp_alloc_zeroed(bytes) else { return nil }
        let vm = VM(memory.assumingMemoryBound(to: CTDPMMU.kvm.self))
        vm.state.initialize(to: VMState(config))
        vm.lock.setRank(.mmu)
        vm.srcu.initialize(rank: .srcuReader)
        guard vm.makeSlotTables() else {
            vm.srcu.cleanUp()
            cp_free_zeroed(memory)
            return nil
        }
        return vm
    }

    /// After the last vCPU, root and callback are gone.
    package func free() {
        guard srcu.cleanUp() else {
            return warn(.leak, "tdpmmu_destroy_vm", "kvm->srcu has readers: the VM's memory is not freed")
        }
        freeSlotTables()
        state.deinitialize(count: 1)
        cp_free_zeroed(kvm)
    }

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

    /// May the calling thread take a lock of this rank?  If not, a warning.
    package func mayTake(_ rank: LockRank, _ function: StaticString) -> Bool {
        guard let other = LockOrder.held.first(from: rank) else { return true }
        warn(.lock, function, other.inTheWay, UInt64(other.rawValue))
        return false
    }

    /// May it wait for a grace period or for callbacks?  If not, a warning.
    package func mayWaitForReaders(_ function: StaticString) -> Bool {
        guard let other = LockOrder.held.firstForbiddingWaits else { return true }
        warn(.lock, function, other.inTheWay, UInt64(other.rawValue))
        return false
    }

    /// Tells the VM's handler, or the process's.
    package func warn(
        _ kind: WarningKind, _ function: StaticString, _ text: StaticString,
        _ value0: UInt64 = 0, _ value1: UInt64 = 0
    ) {
        counters.add(.warnings, 1, exclusive: false)
        var warning = makeWarning(kind, function, text, value0, value1)
        if !rig.warned(&warning) { Sync.warn(kind, function, text, value0, value1, kvm: kvm) }
    }

    /// Every CPU forgets gfns [start, start + pages).
    package func flush(_ start: GFN, pages: UInt64) {
        counters.add(.flushes, 1, exclusive: false)
        if traces(TDPMMU_TRACE_FLUSH) || traces(TDPMMU_TRACE_FLUSH_RANGE) { traceFlush(start, pages: pages) }
        rig.flush(start, pages: pages)
    }

    /// Every CPU forgets everything.
    package func flushAll() { flush(GFN(0), pages: .max) }
}
