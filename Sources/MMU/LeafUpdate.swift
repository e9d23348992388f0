// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync

/// Which leaves of which roots an operation on a slot is about.
struct LeafRange {
    var roots: RootFilter
    var range: WalkRange

    /// The leaves of a slot at or above a level, under its valid roots.
    init(of slot: kvm_memory_slot, minLevel: Level) {
        roots = .valid(in: Int32(slot.as_id))
        range = WalkRange(
            minLevel: minLevel, start: GFN(slot.base_gfn), end: GFN(slot.base_gfn &+ slot.npages))
    }

    init(_ roots: RootFilter, _ range: WalkRange) {
        self.roots = roots
        self.range = range
    }
}

extension SPTEWriter {
    package var volatilityBits: UInt64 { vm.masks.volatilityBits }
}

/// The two ways in which bits of leaves are changed, where no page appears or vanishes.
extension VM {
    /// Gives way, under mmu_lock.  Each change is one compare-and-exchange, whatever the lock.
    @inline(never)
    func changeBits(
        of leaves: LeafRange, _ hold: inout HeldEitherWay, owing flush: inout OwedFlush, clear: UInt64 = 0, set: UInt64 = 0
    ) -> Bool {
        let writer = SPTEWriter(self, hold)
        var changed = false, range = leaves.range
        range.paysBeforeYielding = false
        let byRow = set == 0 && masks.isOneOfLog(clear) && writer.worksByRow, change = RowChange(clearing: clear)
        writer.walkRoots(
            leaves.roots, range, &hold, owing: &flush, byRow: byRow,
            rows: { row, flush, rcu in
                if row.change(change, in: writer, rcu, owing: &flush) != 0 { changed = true }
                return .next
            }
        ) { iter, flush, rcu in
            guard iter.isAtLeaf else { return .next }
            let new = SPTE(iter.old.raw & ~clear | set)
            guard new != iter.old else { return .next }
            switch writer.setBits(&iter, new, owing: &flush) {
            case .lost: return .again
            case .refused: return .next
            case .done:
                changed = true
                return .next
            }
        }
        return changed
    }

    /// Never gives way, with mmu_lock or without: aging, the dirty log's bits, write protection of a
    /// gfn.  Fast faults and CPUs may be at the same entries: each change is one compare-and-exchange.
    /// An entry that is no leaf any more, frozen say, is left alone.  `change` returns nil to keep a value.
    /// `clearing`: it does nothing but clear this, on every leaf of 4K that has it; 0: it is more than that.
    @inline(__always)
    func changeLeaves(
        of leaves: LeafRange, _ writer: SPTEWriter, owing flush: inout OwedFlush, clearing bit: UInt64 = 0,
        _ change: (borrowing tdp_iter) -> SPTE?
    ) -> Bool {
        var changed = false
        let byRow = masks.isOneOfLog(bit) && writer.worksByRow, rowChange = RowChange(clearing: bit)
        writer.walkRoots(
            leaves.roots, leaves.range, owing: &flush, byRow: byRow,
            rows: { row, flush, rcu in
                if row.change(rowChange, in: writer, rcu, owing: &flush) != 0 { changed = true }
                return .next
            }
        ) { iter, flush, rcu in
            guard iter.isAtLeaf, let new = change(iter) else { return .next }
            switch writer.setBits(&iter, new, owing: &flush) {
            case .lost: return .again
            case .refused: return .next
            case .done:
                changed = true
                return .next
            }
        }
        return changed
    }
}
