// SPDX-License-Identifier: GPL-2.0-only
import PageTable
import RCU

/// Where a walk to one gfn ends.
package struct LastEntry {
    package let slot: SPTESlot
    package let spte: SPTE
    package let level: Level
}

/// Single look-ups: straight down from the root, no step aside.
extension Table {
    /// The entry where the walk to gfn ends.
    package func lastEntry(for gfn: GFN, _ rcu: borrowing InsideRCU) -> LastEntry {
        descend(to: gfn, rcu) { _ in }
    }

    /// Copies the entries that a walk to gfn meets to sptes[level]; returns the
    /// level of the last one.
    package func walk(to gfn: GFN, _ sptes: UnsafeMutablePointer<UInt64>, _ rcu: borrowing InsideRCU) -> Level {
        descend(to: gfn, rcu) { sptes[Int($0.level.raw)] = $0.spte.raw }.level
    }

    @inline(__always)
    private func descend(
        to gfn: GFN, _ rcu: borrowing InsideRCU, _ visit: (LastEntry) -> Void
    ) -> LastEntry {
        var table = self, level = self.level
        while true {
            let slot = table[gfn.index(at: level)]
            let here = LastEntry(slot: slot, spte: slot.load(rcu), level: level)
            visit(here)
            guard here.spte.isTable(at: level), level > .page4K else { return here }
            table = Table(child: here.spte, rcu)
            level = level.below
        }
    }
}
