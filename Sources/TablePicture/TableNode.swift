// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// A table with what hangs below it.
final class TableNode {
    struct Entry {
        let index: Int
        let cell: Cell
        /// 4K pages.
        let pfn: UInt64
        var child: TableNode?
    }

    let level: Int
    let first: UInt64
    private(set) var entries: [Entry] = []
    private(set) lazy var totals = countAll()

    private init(level: Int, first: UInt64) { (self.level, self.first) = (level, first) }

    /// A root's tables.  Entries of which no table is there are left out, and those that are not in walk order: a file may say anything.
    static func tree(_ root: TableSnapshot.Root, _ layout: SPTELayout) -> TableNode {
        let top = TableNode(level: root.level, first: 0)
        // The table of each level that the walk is in.
        var open = [top]
        for entry in root.entries {
            while open.count > 1, open[open.count - 1].level < entry.level || !open[open.count - 1].covers(entry.gfn) { open.removeLast() }
            let table = open[open.count - 1]
            let index = Int(Paging.index(entry.gfn, level: entry.level))
            guard table.level == entry.level, table.covers(entry.gfn), index > table.entries.last?.index ?? -1 else { continue }
            let child = entry.kind == .table && entry.level > 1 ? TableNode(level: entry.level - 1, first: entry.gfn) : nil
            table.entries.append(Entry(index: index, cell: Cell(entry, layout),
                                       pfn: (entry.spte & SPTEBits.address) >> Paging.pageShift, child: child))
            if let child { open.append(child) }
        }
        return top
    }

    /// 4K pages under one entry.
    var pages: UInt64 { Paging.pages(level: level) }

    private func covers(_ gfn: UInt64) -> Bool { gfn >= first && gfn - first < pages * Paging.entries }

    private func countAll() -> Totals {
        var totals = Totals()
        totals.tables = 1
        for entry in entries {
            if let child = entry.child { totals.add(child.totals) } else { totals.add(entry.cell.kind, level: level) }
        }
        return totals
    }
}

/// What is in a tree of tables.
package struct Totals: Equatable {
    package var tables = 0
    /// By level.
    package private(set) var leaves = [Int](repeating: 0, count: 6)
    package private(set) var mmio = 0, nonpresent = 0

    package init() {}

    package var mappedPages: UInt64 {
        (1...5).reduce(0) { $0 + UInt64(leaves[$1]) * Paging.pages(level: $1) }
    }

    mutating func add(_ other: Totals, times: Int = 1) {
        tables += other.tables * times
        for level in leaves.indices { leaves[level] += other.leaves[level] * times }
        mmio += other.mmio * times
        nonpresent += other.nonpresent * times
    }

    mutating func add(_ kind: Cell.Kind, level: Int, count: Int = 1) {
        switch kind {
        case .leaf: leaves[level] += count
        case .mmio: mmio += count
        case .nonpresent: nonpresent += count
        case .hole, .table: break
        }
    }

    /// "3 tables, 512 leaves of 2M (1 GiB), 4 MMIO"
    package var text: String {
        var parts: [String] = tables > 0 ? ["\(tables) \(tables == 1 ? "table" : "tables")"] : []
        for level in 1...5 where leaves[level] > 0 {
            parts.append("\(leaves[level]) \(leaves[level] == 1 ? "leaf" : "leaves") of \(Paging.sizeName(level: level))")
        }
        if mmio > 0 { parts.append("\(mmio) MMIO") }
        if nonpresent > 0 { parts.append("\(nonpresent) nonpresent") }
        if mappedPages > 0 { parts.append("\(Self.size(pages: mappedPages)) mapped") }
        return parts.isEmpty ? "nothing" : parts.joined(separator: ", ")
    }

    /// With the greatest unit of which there is at least one, and one digit behind the point if that says more.
    package static func size(pages: UInt64) -> String {
        let kib = pages * 4, units = ["KiB", "MiB", "GiB", "TiB", "PiB"]
        var unit = 0, scale: UInt64 = 1
        while unit < units.count - 1, kib >= scale * 1024 {
            scale *= 1024
            unit += 1
        }
        let tenths = (kib / scale) * 10 + (kib % scale) * 10 / scale
        return tenths % 10 == 0 ? "\(tenths / 10) \(units[unit])" : "\(tenths / 10).\(tenths % 10) \(units[unit])"
    }
}
