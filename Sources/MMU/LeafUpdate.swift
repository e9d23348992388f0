// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync

/// Which leaves of which roots an operation on a slot is about.
struct LeafRange {
    var roots: RootFilter
    var range: WalkRange
}

extension VM {
    /// The leaves of a slot at or above a level, under its valid roots.
    func leaves(of slot: kvm_memory_slot, minLevel: Level) -> LeafRange {
        LeafRange(
            roots: RootFilter(validOnly: true, addressSpace: Int32(slot.as_id)),
            range: WalkRange(minLevel: minLevel, start: GFN(slot.base_gfn),
                             end: GFN(slot.base_gfn + slot.npages)))
    }

    /// Changes bits of every leaf, through the choke point.  Returns whether any
    /// leaf changed.
    @inline(never)
    func updateLeaves(
        _ leaves: LeafRange, _ mode: LockMode, canYield: Bool, clear: UInt64 = 0, set: UInt64 = 0
    ) -> Bool {
        let actor = Actor(self, mode)
        var changed = false
        actor.walkRoots(leaves.roots, leaves.range, canYield: canYield) { iter in
            guard iter.isAtLeaf else { return .next }
            let new = SPTE(iter.old.raw & ~clear | set)
            guard new != iter.old else { return .next }
            switch actor.set(&iter, new) {
            case .lost: return .again
            case .refused: return .next
            case .done:
                changed = true
                return .next
            }
        }
        return changed
    }

    /// Replaces leaves' values without the full hook, as aging and clearing the
    /// dirty log do: no page appears or vanishes.  An entry that is no leaf any
    /// more, frozen say, is left alone.  `change` returns nil to keep a value.
    @inline(__always)
    func touchLeaves(
        _ roots: RootFilter, _ range: WalkRange, _ mode: LockMode,
        _ change: (borrowing tdp_iter) -> SPTE?
    ) -> Bool {
        let actor = Actor(self, mode)
        var changed = false
        actor.walkRoots(roots, range, canYield: false) { iter in
            guard iter.isAtLeaf, let new = change(iter) else { return .next }
            var seen = iter.old
            guard iter.slot.replace(&seen, with: new) else {
                iter.old = seen
                return .again
            }
            actor.record(SPTEChange(iter, to: new))
            changed = true
            return .next
        }
        return changed
    }

    @inline(__always)
    func insideRCU<T>(_ body: () -> T) -> T {
        rcuReadLock()
        let result = body()
        rcuReadUnlock()
        return result
    }
}
