// SPDX-License-Identifier: GPL-2.0-only
import PageTable
import RCU

/// Where a walk to one gfn ends.
package struct LastEntry {
    package let slot: SPTESlot
    package let spte: SPTE
    package let level: Level
}

extension LastEntry {
    @inline(__always)
    init(_ way: Descent) { self.init(slot: way.slot, spte: way.old, level: way.atLevel) }
}

/// Single look-ups: straight down from the root, no step aside.
extension Table {
    /// The entry where the walk to gfn ends.
    @inline(__always)
    package func lastEntry(for gfn: GFN, _ rcu: borrowing InsideRCU) -> LastEntry {
        descend(to: gfn, rcu) { _ in }
    }

    /// Copies the entries that a walk to gfn meets to sptes[level]; returns the
    /// level of the last one.
    @inline(__always)
    package func walk(to gfn: GFN, _ sptes: UnsafeMutablePointer<UInt64>, _ rcu: borrowing InsideRCU) -> Level {
        descend(to: gfn, rcu) { sptes[Int($0.atLevel.raw)] = $0.old.raw }.level
    }

    /// Entries of one table of 4K leaves, from gfn's on; nil if there is no such table.
    @inline(__always)
    func row(at gfn: GFN, count: Int, named: UInt64, _ rcu: borrowing InsideRCU) -> SPTERow? {
        let last = lastEntry(for: gfn, rcu)
        return last.level == .page4K ? SPTERow(from: last.slot, count: count, named: named) : nil
    }

    @inline(__always)
    private func descend(
        to gfn: GFN, _ rcu: borrowing InsideRCU, _ visit: (borrowing Descent) -> Void
    ) -> LastEntry {
        var way = Descent(from: self, to: gfn, rcu)
        visit(way)
        while way.isAtTable && way.atLevel > .page4K {
            way.enterTable(rcu)
            visit(way)
        }
        return LastEntry(way)
    }
}
