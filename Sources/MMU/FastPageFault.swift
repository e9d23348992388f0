// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync

/// An access that faulted, in the CPU's own words.
package struct FaultAccess {
    /// Guest-physical, in bytes.
    package let address: UInt64
    /// PFERR_*.
    package let errorCode: UInt64

    @inline(__always) package init(_ address: UInt64, errorCode: UInt64) {
        self.address = address
        self.errorCode = errorCode
    }

    @inline(__always) package var gfn: GFN { GFN(address &>> 12) }
    @inline(__always) package var isPresent: Bool { errorCode & 1 != 0 }
    @inline(__always) package var isWrite: Bool { errorCode & 2 != 0 }
    @inline(__always) package var isReserved: Bool { errorCode & 8 != 0 }
    @inline(__always) package var isFetch: Bool { errorCode & 16 != 0 }

    func isAllowed(by spte: SPTE, _ masks: SPTEMasks) -> Bool {
        if isFetch { return masks.isExecutable(spte) }
        return isWrite ? spte.isWritable : masks.isReadable(spte)
    }
}

/// Where a walk ended, and what it saw there.
package struct LastEntry {
    package let slot: SPTESlot
    package let spte: SPTE
    package let level: Level
}

extension VCPU {
    /// The entry where the walk to gfn ends; nil: the vCPU has no root.  RCU, for the root too: it
    /// may be taken from the vCPU meanwhile.
    package func lastEntry(for gfn: GFN) -> LastEntry? {
        guard let root else { return nil }
        var iter = tdp_iter(root: root, minLevel: .page4K, from: gfn)
        var last = LastEntry(slot: iter.slot, spte: iter.old, level: iter.atLevel)
        while iter.valid && iter.atGFN <= gfn {
            last = LastEntry(slot: iter.slot, spte: iter.old, level: iter.atLevel)
            iter.next()
        }
        return last
    }

    /// A few tries: each lost one means that somebody else made progress.
    private static var tries: Int { 5 }

    /// Lets an access through that only write-protection or access tracking stops.
    /// .invalid: it takes mmu_lock.
    @inline(never)
    package func fastPageFault(_ access: FaultAccess) -> FaultResult {
        // A present fault that is no write, and an absent one with A/D bits, have other causes.
        let masks = vm.masks, tracksAccesses = masks.accessed == 0
        guard !ringIsFull else { return .invalid }
        guard !access.isReserved, access.isPresent ? access.isWrite : tracksAccesses else { return .invalid }
        rcuReadLock()
        defer { rcuReadUnlock() }
        guard var last = lastEntry(for: access.gfn) else { return .invalid }
        var result = tryToRepair(last, access)
        for _ in 1..<Self.tries where result == .retry {
            guard let again = lastEntry(for: access.gfn) else { break }
            last = again
            result = tryToRepair(last, access)
        }
        if result == .retry { result = .invalid }
        if vm.traces(TDPMMU_TRACE_FAST_PAGE_FAULT) { traceFastFault(access, last.slot, last.spte, result) }
        return result
    }

    /// .retry: somebody else changed the entry.
    private func tryToRepair(_ last: LastEntry, _ access: FaultAccess) -> FaultResult {
        let masks = vm.masks
        guard last.spte.isLeaf(at: last.level) else { return .invalid }
        if access.isAllowed(by: last.spte, masks) { return .spurious }
        guard let new = repaired(last.spte, last.level, access) else { return .invalid }
        var seen = last.spte
        guard last.slot.replace(&seen, with: new) else { return .retry }
        if new.isWritable && !last.spte.isWritable {
            vm.slot(holding: access.gfn, addressSpace: addressSpace)?.markDirty(access.gfn, by: self)
        }
        counters.add(.fastFaults, 1, exclusive: true)
        return .fixed
    }

    /// The value that permits the access, if that is all it takes.
    private func repaired(_ old: SPTE, _ level: Level, _ access: FaultAccess) -> SPTE? {
        let masks = vm.masks
        var new = masks.isAccessTracked(old) ? masks.restoreAccessTrack(old) : old
        if access.isWrite && masks.isMMUWritable(old) {
            new = SPTE(new.raw | SPTE.writable)
            // A logged slot counts single pages: a huge one must be split first.
            let isLogged = vm.slot(holding: access.gfn, addressSpace: addressSpace)?.isDirtyLogged ?? false
            if level > .page4K && isLogged { return nil }
        }
        return new != old && access.isAllowed(by: new, masks) ? new : nil
    }
}
