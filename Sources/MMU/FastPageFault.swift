// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync

/// What an access needs of an SPTE.
package struct FaultAccess {
    package var isPresent: Bool
    package var isWrite: Bool
    package var isFetch: Bool
    package var isReserved: Bool

    /// From the CPU's error code.
    @inline(__always) package init(errorCode: UInt64) {
        isPresent = errorCode & 1 != 0
        isWrite = errorCode & 2 != 0
        isReserved = errorCode & 8 != 0
        isFetch = errorCode & 16 != 0
    }

    func isAllowed(by spte: SPTE, _ masks: SPTEMasks) -> Bool {
        if isFetch { return masks.isExecutable(spte) }
        return isWrite ? spte.isWritable : masks.isReadable(spte)
    }
}

package enum FastFaultResult {
    case fixed
    case spurious
    /// It takes mmu_lock.
    case invalid
}

extension VCPU {
    /// The entry where the walk to gfn ends.  RCU.
    package func lastEntry(for gfn: GFN, from root: Table) -> (slot: SPTESlot, spte: SPTE, level: Level) {
        var iter = tdp_iter(root: root, minLevel: .page4K, from: gfn)
        var last = (slot: iter.slot, spte: iter.old, level: iter.atLevel)
        while iter.valid && iter.atGFN <= gfn {
            last = (slot: iter.slot, spte: iter.old, level: iter.atLevel)
            iter.next()
        }
        return last
    }

    /// A few tries: each lost one means that somebody else made progress.
    private static var tries: Int { 4 }

    /// Lets an access through that only write-protection or access tracking stops.
    @inline(never)
    package func fastPageFault(_ gfn: GFN, _ access: FaultAccess, from root: Table) -> FastFaultResult {
        // A present fault that is no write, and an absent one with A/D bits, have other causes.
        let masks = vm.masks, tracksAccesses = masks.accessed == 0
        guard !ringIsFull else { return .invalid }
        guard !access.isReserved, access.isPresent ? access.isWrite : tracksAccesses else { return .invalid }
        rcuReadLock()
        defer { rcuReadUnlock() }
        for _ in 0..<Self.tries {
            let last = lastEntry(for: gfn, from: root)
            guard last.spte.isLeaf(at: last.level) else { return .invalid }
            if access.isAllowed(by: last.spte, masks) { return .spurious }
            guard let new = repaired(last.spte, last.level, gfn, access) else { return .invalid }
            var seen = last.spte
            if last.slot.replace(&seen, with: new) {
                if new.isWritable && !last.spte.isWritable {
                    vm.slot(holding: gfn, addressSpace: addressSpace)?.markDirty(gfn, by: self)
                }
                counters.add(.fastFaults, 1, exclusive: true)
                return .fixed
            }
        }
        return .invalid
    }

    /// The value that permits the access, if that is all it takes.
    private func repaired(_ old: SPTE, _ level: Level, _ gfn: GFN, _ access: FaultAccess) -> SPTE? {
        let masks = vm.masks
        var new = masks.isAccessTracked(old) ? masks.restoreAccessTrack(old) : old
        if access.isWrite && masks.isMMUWritable(old) {
            new = SPTE(new.raw | SPTE.writable)
            // A logged slot counts single pages: a huge one must be split first.
            let isLogged = vm.slot(holding: gfn, addressSpace: addressSpace)?.isDirtyLogged ?? false
            if level > .page4K && isLogged { return nil }
        }
        return new != old && access.isAllowed(by: new, masks) ? new : nil
    }
}
