// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import Sync
import Synchronization

/// What goes to a callback that gets all events.
let allEvents: UInt64 = 1 &<< 61 &- 1
/// Of the word of events, and no events (VM.tracesAny): the rig has spte_changed; the checker looks after operations.
let rigBit: UInt64 = 1 &<< 63
let checkBit: UInt64 = 1 &<< 62

/// The private part of a VM, behind struct kvm.  Who writes what under which
/// lock: docs/LOCKING.md.
package struct VMState: ~Copyable {
    package let masks: SPTEMasks
    package let config: VMConfiguration
    let pfnMask: UInt64
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
    /// Events, by bit, that go to rings; and those that go anywhere.
    let ringEvents = Atomic<UInt64>(0)
    let tracedEvents = Atomic<UInt64>(0)
    /// Address of the VM's Eyes, or 0.
    let eyes = Atomic<UInt>(0)

    init(_ config: VMConfiguration) {
        self.config = config
        masks = SPTEMasks(
            vendor: config.vendor, maxPhysicalBits: config.maxPhysicalBits, adDisabled: config.adDisabled,
            l1tfCacheBits: config.l1tfCacheBits)
        pfnMask = (1 &<< UInt64(config.maxPhysicalBits - 12)) - 1
        // Four levels translate 48 bits, however many the CPU could address.
        let walkable = config.rootLevel.raw == 4 ? 48 : 57
        gfnLimit = GFN(1 &<< UInt64(min(config.maxPhysicalBits, walkable) - 12))
        nxHugePages.store(config.switches.nxHugePages, ordering: .relaxed)
        eagerSplit.store(config.switches.eagerSplit, ordering: .relaxed)
        manualProtect.store(config.switches.manualProtect, ordering: .relaxed)
        initiallySet.store(config.switches.initiallySet, ordering: .relaxed)
        zapSlotOnly.store(config.switches.zapSlotOnly, ordering: .relaxed)
        invalidateSequence.store(config.starts.invalidateSequence, ordering: .relaxed)
        tracedEvents.store(config.events, ordering: .relaxed)
    }
}
