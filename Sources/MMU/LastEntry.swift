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

    /// Copies the entries that a walk to gfn meets to sptes[level]; returns the levels of the first one, which
    /// is the root's, and of the last.
    @inline(__always)
    package func walk(
        to gfn: GFN, _ sptes: UnsafeMutablePointer<UInt64>, _ rcu: borrowing InsideRCU
    ) -> (first: Level, last: Level) {
        var first: Level?
        let last = descend(to: gfn, rcu) {
            if first == nil { first = $0.atLevel }
            sptes[Int($0.atLevel.raw)] = $0.old.raw
        }
        return (first ?? last.level, last.level)
    }

    /// Entries of one table of 4K leaves, from gfn's on; nil if there is no such table.
    @inline(__always)
    func row(at gfn: GFN, count: Int, named: UInt64, _ rcu: borrowing InsideRCU) -> SPTERow? {
        let last = lastEntry(for: gfn, rcu)
        return last.level == .page4K ? SPTERow(from: last.slot, count: count, named: named) : nil
    }

    /// From a root of four levels, as nearly all are, in so many steps: then each one's shift and level are constants.
    @inline(__always)
    private func descend(
        to gfn: GFN, _ rcu: borrowing InsideRCU, _ visit: (borrowing Descent) -> Void
    ) -> LastEntry {
        let role = self.role
        guard role.level == .page512G else { return descendLevelByLevel(to: gfn, role, rcu, visit) }
        var way = Descent(resumedAt: gfn, .page512G, inTable: entries, role.addressSpace, rcu)
        visit(way)
        _ = way.enter(rcu, visit) && way.enter(rcu, visit) && way.enter(rcu, visit)
        return LastEntry(way)
    }

    @inline(__always)
    private func descendLevelByLevel(
        to gfn: GFN, _ role: Role, _ rcu: borrowing InsideRCU, _ visit: (borrowing Descent) -> Void
    ) -> LastEntry {
        var way = Descent(resumedAt: gfn, role.level, inTable: entries, role.addressSpace, rcu)
        visit(way)
        while way.enter(rcu, visit) {}
        return LastEntry(way)
    }
}

extension Descent {
    /// Into the table that the entry names, if it does.
    @inline(__always)
    fileprivate mutating func enter(_ rcu: borrowing InsideRCU, _ visit: (borrowing Descent) -> Void) -> Bool {
        guard isAtTable && atLevel > .page4K else { return false }
        enterTable(rcu)
        visit(self)
        return true
    }
}
