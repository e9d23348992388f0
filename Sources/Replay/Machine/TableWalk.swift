// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import KernelTrace

/// One entry of our tables.
struct TableEntry: Equatable {
    var level: Int
    var gfn: UInt64
    var spte: UInt64
    /// Host-physical address of the table that holds it.
    var table: UInt64

    /// Host-physical address of the entry itself.
    var address: UInt64 { table &+ Paging.index(gfn, level: level) * 8 }
}

/// Our tables, read with the library's own iterator.
enum TableWalk {
    /// The entry that covers gfn, as deep as the tables go but not below `level`.
    /// `address`: of the root's table.
    static func entry(root: UnsafeMutablePointer<kvm_mmu_page>, address: UInt64, gfn: UInt64,
                      downTo level: Int) -> TableEntry?
    {
        let rootLevel = Int32(root.pointee.role.word & 0xf)
        guard let table = root.pointee.spt, (1...rootLevel).contains(Int32(clamping: level)),
            gfn < Paging.pages(level: Int(rootLevel)) * Paging.entries
        else { return nil }
        rcu_read_lock()
        defer { rcu_read_unlock() }
        var iterator = tdp_iter()
        tdp_iter_start(&iterator, table, rootLevel, Int32(clamping: level), gfn)
        var holder = address
        while iterator.valid {
            let entry = TableEntry(level: Int(iterator.level), gfn: iterator.gfn,
                                   spte: iterator.old_spte, table: holder)
            guard entry.level > level, SPTEBits.isTable(entry.spte, level: entry.level) else { return entry }
            holder = entry.spte & SPTEBits.address
            tdp_iter_next(&iterator)
            // Another thread took the table away meanwhile.
            guard iterator.level < Int32(entry.level) else { return entry }
        }
        return nil
    }

    /// Every entry that a dump lists, in walk order.
    static func listed(root: UnsafeMutablePointer<kvm_mmu_page>, address: UInt64) -> [TableEntry] {
        let rootLevel = Int32(root.pointee.role.word & 0xf)
        guard let table = root.pointee.spt, (4...5).contains(rootLevel) else { return [] }
        var entries: [TableEntry] = []
        // Address of the table at each level on the way to the current entry.
        var holders = [UInt64](repeating: 0, count: 6)
        holders[Int(rootLevel)] = address
        rcu_read_lock()
        defer { rcu_read_unlock() }
        var iterator = tdp_iter()
        tdp_iter_start(&iterator, table, rootLevel, 1, 0)
        while iterator.valid {
            let level = Int(iterator.level)
            let spte = iterator.old_spte
            if SPTEBits.isListed(spte) {
                entries.append(TableEntry(level: level, gfn: iterator.gfn, spte: spte, table: holders[level]))
                if SPTEBits.isTable(spte, level: level) { holders[level - 1] = spte & SPTEBits.address }
            }
            tdp_iter_next(&iterator)
        }
        return entries
    }
}
