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

    /// Tables ever cut off, and roots made invalid by the lot.  Acquire: pairs with countCutOff().
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

    /// The table of gfn's entry at a level, if the last fault ended in it, or nil.
    /// Inside RCU: a table that is cut off after the count was read stays until the reader is over.
    @inline(__always)
    private func rememberedTable(
        of gfn: GFN, at level: Level, under root: UInt, cutOff: UInt64, _ rcu: borrowing InsideRCU
    ) -> UInt? {
        let last = lastTable
        guard last.pointee.name.load(ordering: .relaxed) == tableName(gfn, level),
              last.pointee.cutOff.load(ordering: .relaxed) == cutOff,
              last.pointee.root.load(ordering: .relaxed) == root else { return nil }
        return last.pointee.entries.load(ordering: .relaxed)
    }

    /// The way to gfn's entry at a level, without the steps, if the last one ended beside it.
    @inline(__always)
    func wayByMemory(
        to gfn: GFN, at level: Level, under root: Table, cutOff: UInt64, _ rcu: borrowing InsideRCU
    ) -> Descent? {
        guard let table = rememberedTable(of: gfn, at: level, under: root.word, cutOff: cutOff, rcu) else { return nil }
        return Descent(resumedAt: gfn, level, inTable: table, addressSpace, rcu)
    }

    /// The same with the steps, where all tables on the way stand.  nil also if the vCPU's root is invalid: with
    /// mmu_lock held it stays what it is, and nothing is remembered of one that was invalid.
    @inline(__always)
    func way(
        to gfn: GFN, at level: Level, _ hold: borrowing HeldForRead, _ rcu: borrowing InsideRCU
    ) -> Descent? {
        let cutOff = vm.tablesCutOff
        let remembered = rememberedTable(of: gfn, at: level, under: rootWord(rcu), cutOff: cutOff, rcu)
        guard let table = remembered ?? standingTable(of: gfn, at: level, cutOff: cutOff, rcu) else { return nil }
        return Descent(resumedAt: gfn, level, inTable: table, addressSpace, rcu)
    }

    @inline(never)
    private func standingTable(
        of gfn: GFN, at level: Level, cutOff: UInt64, _ rcu: borrowing InsideRCU
    ) -> UInt? {
        guard let root = root(rcu), !root.role.isInvalid else { return nil }
        // Faults that jump about mostly stay below one table of the level above.
        var way = parentByMemory(of: gfn, at: level, under: root, cutOff: cutOff, rcu) ?? Descent(from: root, to: gfn, rcu)
        var parent: UInt = 0
        while way.atLevel > level {
            guard way.isAtTable else { return nil }
            parent = way.slot.tableEntries
            way.enterTable(rcu)
        }
        remember(way.slot, of: gfn, at: level, below: parent, under: root, cutOff: cutOff)
        return way.slot.tableEntries
    }

    /// The way to gfn's entry at the level above, if the last fault went through its table.
    @inline(__always)
    private func parentByMemory(
        of gfn: GFN, at level: Level, under root: Table, cutOff: UInt64, _ rcu: borrowing InsideRCU
    ) -> Descent? {
        let last = lastTable
        guard last.pointee.parentName.load(ordering: .relaxed) == tableName(gfn, level.above),
              last.pointee.cutOff.load(ordering: .relaxed) == cutOff,
              last.pointee.root.load(ordering: .relaxed) == root.word else { return nil }
        return Descent(
            resumedAt: gfn, level.above, inTable: last.pointee.parentEntries.load(ordering: .relaxed), addressSpace, rcu)
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
    /// is not believed in; nor is one under a root that is invalid.  `parent`: entries of the table above it, or 0.
    @inline(__always)
    func remember(
        _ entry: SPTESlot, of gfn: GFN, at level: Level, below parent: UInt = 0, under root: Table, cutOff: UInt64
    ) {
        // After the count, which is raised when a root becomes invalid.
        guard !root.role.isInvalid else { return }
        let last = lastTable
        last.pointee.name.store(.max, ordering: .relaxed)
        last.pointee.parentName.store(.max, ordering: .relaxed)
        // Release: a fork's child that finds one of these finds nothing to be remembered, or all.
        last.pointee.root.store(root.word, ordering: .releasing)
        last.pointee.entries.store(entry.tableEntries, ordering: .releasing)
        last.pointee.cutOff.store(cutOff, ordering: .releasing)
        last.pointee.parentEntries.store(parent, ordering: .releasing)
        if parent != 0 { last.pointee.parentName.store(tableName(gfn, level.above), ordering: .releasing) }
        last.pointee.name.store(tableName(gfn, level), ordering: .releasing)
    }
}
