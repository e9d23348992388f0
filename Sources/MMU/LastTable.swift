// SPDX-License-Identifier: GPL-2.0-only
import PageTable
import RCU
import Sync
import Synchronization

extension VM {
    /// Release: pairs with tablesCutOff.  Who sees the old count may use what he remembers, as one
    /// may who went down before the entry was taken away.
    @inline(__always)
    func countCutOff() { memory.pointee.tables.cutOff.wrappingAdd(1, ordering: .releasing) }

    /// Tables ever cut off.  Acquire: pairs with countCutOff().
    @inline(__always)
    var tablesCutOff: UInt64 { memory.pointee.tables.cutOff.load(ordering: .acquiring) }
}

extension VCPU {
    @inline(__always)
    private var lastTable: UnsafeMutablePointer<LastTable> { place(of: &memory.pointee.lastTable) }

    /// A table by its level and its gfn, in its own size.
    @inline(__always)
    private func tableName(_ gfn: GFN, _ level: Level) -> UInt64 {
        let level = UInt64(UInt32(bitPattern: level.raw))
        return gfn.raw &>> (9 &* level) | level &<< 56
    }

    /// The way to gfn's entry at a level, without the steps, if the last one ended beside it.
    /// Inside RCU: a table that is cut off after the count was read stays until the reader is over.
    @inline(__always)
    func wayByMemory(
        to gfn: GFN, at level: Level, under root: Table, cutOff: UInt64, _ rcu: borrowing InsideRCU
    ) -> Descent? {
        let last = lastTable
        guard last.pointee.name.load(ordering: .relaxed) == tableName(gfn, level),
              last.pointee.cutOff.load(ordering: .relaxed) == cutOff,
              last.pointee.root.load(ordering: .relaxed) == root.word else { return nil }
        return Descent(resumedAt: gfn, level, inTable: last.pointee.entries.load(ordering: .relaxed), addressSpace, rcu)
    }

    /// Where the walk to gfn ends, at once if it is beside the last one.  A huge leaf, or a table that came
    /// since, is found by the walk: the remembered table would have been cut off.
    @inline(__always)
    func lastEntryByMemory(for gfn: GFN, under root: Table, _ rcu: borrowing InsideRCU) -> LastEntry {
        let cutOff = vm.tablesCutOff
        if let way = wayByMemory(to: gfn, at: .page4K, under: root, cutOff: cutOff, rcu) { return LastEntry(way) }
        return walkToLastEntry(for: gfn, under: root, cutOff: cutOff, rcu)
    }

    @inline(never)
    private func walkToLastEntry(
        for gfn: GFN, under root: Table, cutOff: UInt64, _ rcu: borrowing InsideRCU
    ) -> LastEntry {
        let last = root.lastEntry(for: gfn, rcu)
        if last.level == .page4K { remember(last.slot, of: gfn, at: .page4K, under: root, cutOff: cutOff) }
        return last
    }

    /// For the next fault.  `cutOff` was read before the way down, so that a table which was cut off since
    /// is not believed in.
    @inline(__always)
    func remember(_ entry: SPTESlot, of gfn: GFN, at level: Level, under root: Table, cutOff: UInt64) {
        let last = lastTable
        last.pointee.name.store(.max, ordering: .relaxed)
        // Release: a fork's child that finds one of these finds nothing to be remembered, or all.
        last.pointee.root.store(root.word, ordering: .releasing)
        last.pointee.entries.store(entry.tableEntries, ordering: .releasing)
        last.pointee.cutOff.store(cutOff, ordering: .releasing)
        last.pointee.name.store(tableName(gfn, level), ordering: .releasing)
    }
}
