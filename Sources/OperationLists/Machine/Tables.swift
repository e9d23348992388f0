// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU

/// A VM's page tables, read as memory.  Inside RCU.
enum Tables {
    struct Entry {
        var gfn: UInt64
        var level: Int
        var spte: UInt64
    }

    /// Every entry that is not absent, one that points to a table before those in it.  What is said of
    /// tables whose headers are not as they must be: a text for each.
    @inline(__always)
    static func forEachEntry(_ root: UnsafeMutablePointer<kvm_mmu_page>, _ visit: (Entry) -> Void) -> [String] {
        guard let table = root.pointee.spt else { return ["a root without a table"] }
        var problems: [String] = []
        read(table, gfn: 0, level: Int(root.pointee.role.level), visit, &problems)
        return problems
    }

    private static func read(_ table: UnsafeMutablePointer<UInt64>, gfn base: UInt64, level: Int,
                             _ visit: (Entry) -> Void, _ problems: inout [String])
    {
        let shift = UInt64(9 * (level - 1))
        for index in 0..<512 {
            let spte = table[index]
            if spte == RenamedEntry.absent { continue }
            let entry = Entry(gfn: base &+ UInt64(index) << shift, level: level, spte: spte)
            visit(entry)
            guard RenamedEntry.isTable(spte, level: level) else { continue }
            guard let child = spte_to_child_pt(spte, Int32(level)) else {
                problems.append("gfn \(hexadecimal(entry.gfn)) level \(level): points to no table")
                continue
            }
            if let problem = problem(child, entry) { problems.append(problem) }
            read(child, gfn: entry.gfn, level: level - 1, visit, &problems)
        }
    }

    private static func problem(_ table: UnsafeMutablePointer<UInt64>, _ parent: Entry) -> String? {
        let place = "the table below gfn \(hexadecimal(parent.gfn)) level \(parent.level)"
        guard let header = sptep_to_sp(table) else { return "\(place) has no header" }
        let page = header.pointee
        return page.gfn == parent.gfn && Int(page.role.level) == parent.level - 1 && page.spt == table && page.tdp_mmu_page
            ? nil : "\(place) has a header of another"
    }

    /// The table of a level on the way to gfn.
    static func table(_ root: UnsafeMutablePointer<kvm_mmu_page>, gfn: UInt64, level: Int) -> UnsafeMutablePointer<kvm_mmu_page>? {
        var page = root
        while Int(page.pointee.role.level) > level {
            let above = Int(page.pointee.role.level)
            guard let table = page.pointee.spt else { return nil }
            let spte = table[Int(gfn >> UInt64(9 * (above - 1)) & 511)]
            guard RenamedEntry.isTable(spte, level: above), let child = spte_to_child_pt(spte, Int32(above)),
                let header = sptep_to_sp(child)
            else { return nil }
            page = header
        }
        return page
    }
}
