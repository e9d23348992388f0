// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import Sync
import Synchronization

/// A vCPU's ring of dirty gfns, the other form of the dirty log.  The vCPU's
/// thread pushes, or who empties the CPU's log; the rig harvests by flagging entries, and a
/// reset makes the harvested pages visible again and their entries free.
struct DirtyRing {
    let entries: UnsafeMutablePointer<kvm_dirty_gfn>
    let size: UInt32

    /// Entries kept for pages that are dirtied after the vCPU was told that its ring is full: by
    /// the operation that it is in, and by the CPU, whose log of its own (PML) holds 512.
    static func reserve(usesPML: Bool) -> UInt32 { usesPML ? 64 + 512 : 64 }

    static var mostEntries: UInt32 { 65536 }

    private static var dirtyFlag: UInt32 { 1 }
    private static var resetFlag: UInt32 { 2 }

    func entry(_ index: UInt32) -> UnsafeMutablePointer<kvm_dirty_gfn> { entries + Int(index & (size - 1)) }

    private func flags(_ index: UInt32) -> AtomicWord32 {
        atomic32(place(of: &entry(index).pointee.flags))
    }

    private func slotWord(_ index: UInt32) -> AtomicWord32 { atomic32(place(of: &entry(index).pointee.slot)) }

    private func offsetWord(_ index: UInt32) -> AtomicWord64 {
        UnsafeMutableRawPointer(place(of: &entry(index).pointee.offset)).assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    /// Is it about this page?  Of who only looks, while others push.
    func isAbout(_ index: UInt32, slot: UInt32, offset: UInt64) -> Bool {
        slotWord(index).pointee.load(ordering: .relaxed) == slot && offsetWord(index).pointee.load(ordering: .relaxed) == offset
    }

    func publish(_ index: UInt32, slot: UInt32, offset: UInt64) {
        slotWord(index).pointee.store(slot, ordering: .relaxed)
        offsetWord(index).pointee.store(offset, ordering: .relaxed)
        // Release: pairs with the rig's acquiring look at the flags.
        flags(index).pointee.store(Self.dirtyFlag, ordering: .releasing)
    }

    /// Acquire: pairs with the rig's releasing store of the flag.
    func isHarvested(_ index: UInt32) -> Bool {
        flags(index).pointee.load(ordering: .acquiring) & Self.resetFlag != 0
    }

    /// Release: pairs with the rig's acquiring look at the flags, as in publish().  The vCPU's thread
    /// goes by `resetIndex`.
    func free(_ index: UInt32) { flags(index).pointee.store(0, ordering: .releasing) }
}

extension VCPU {
    var ring: DirtyRing? {
        state.pointee.ringEntries.map { DirtyRing(entries: $0, size: state.pointee.ringSize) }
    }

    /// Entries pushed and not yet reset.  Acquire: pairs with the release in reset(); the entries
    /// that it freed may be written.
    private var ringUsed: UInt32 {
        state.pointee.dirtyIndex.load(ordering: .relaxed) &- state.pointee.resetIndex.load(ordering: .acquiring)
    }

    @inline(__always) var hasRing: Bool { state.pointee.ringEntries != nil }

    /// The rig must harvest before the guest goes on.
    var ringIsNearlyFull: Bool {
        ring.map { ringUsed >= $0.size - DirtyRing.reserve(usesPML: vm.usesPML) } ?? false
    }

    /// Not one more entry fits: nothing may become writable unseen.
    var ringIsFull: Bool { ring.map { ringUsed >= $0.size } ?? false }

    func pushDirty(_ slot: SlotPointer, _ gfn: GFN, _ ring: DirtyRing, _ owned: borrowing OwnsLog) {
        let index = state.pointee.dirtyIndex.load(ordering: .relaxed)
        if ringUsed >= ring.size {
            vm.warn(.argument, "kvm_dirty_ring_push", "the ring is full, an entry is lost (vCPU, gfn)",
                    UInt64(UInt32(bitPattern: state.pointee.id)), gfn.raw)
        }
        let id = UInt32(slot.pointee.as_id) << 16 | UInt32(slot.pointee.id), offset = gfn.raw - slot.pointee.base_gfn
        ring.publish(index, slot: id, offset: offset)
        // Release: pairs with the acquire in ringHas().
        state.pointee.dirtyIndex.store(index &+ 1, ordering: .releasing)
        traceRing(TDPMMU_TRACE_RING_PUSH, slot: id, offset: offset)
    }

    /// Was the page pushed, and not reset yet?  By any thread; what is pushed meanwhile may be missed.
    func ringHas(slot: UInt32, offset: UInt64) -> Bool {
        guard let ring else { return false }
        // Acquire: pairs with the release in pushDirty().
        let end = state.pointee.dirtyIndex.load(ordering: .acquiring)
        var index = state.pointee.resetIndex.load(ordering: .relaxed)
        while index != end {
            if ring.isAbout(index, slot: slot, offset: offset) { return true }
            index &+= 1
        }
        return false
    }

    /// The ring's memory, for the rig.
    package var ringMemory: (entries: UnsafeMutablePointer<kvm_dirty_gfn>?, size: UInt32) {
        (state.pointee.ringEntries, state.pointee.ringSize)
    }
}

extension VM {
    package enum RingError {
        case none
        case invalid
        case tooBig
    }

    /// Rings instead of bitmaps from now on.  Only before the first vCPU.
    @inline(never)
    package func enableDirtyRing(bytes: UInt32) -> RingError {
        let entries = bytes / UInt32(MemoryLayout<kvm_dirty_gfn>.stride)
        guard bytes.nonzeroBitCount == 1, bytes >= 4096,
              entries >= DirtyRing.reserve(usesPML: usesPML) else { return .invalid }
        guard entries <= DirtyRing.mostEntries else { return .tooBig }
        return locked(.vcpus) {
            guard firstListedVCPU == nil, ringSize == 0 else { return .invalid }
            state.pointee.dirtyRingSize.store(entries, ordering: .relaxed)
            return .none
        }
    }

    package var hasDirtyRings: Bool { ringSize != 0 }

    var ringSize: UInt32 { state.pointee.dirtyRingSize.load(ordering: .relaxed) }
}
