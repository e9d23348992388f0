// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

@testable import TablePicture

/// Tables of four levels (NPT) as a dump lists them, made of ranges.
struct TestTables {
    static let layout = SPTELayout(RecordedMachine(vendor: .npt, hasAD: true, hasPML: false, rootLevel: 4, physicalBits: 40, l1tfCacheBits: 0))

    private var leaves: [UInt64: DumpEntry] = [:]

    static func leaf(_ gfn: UInt64, _ pfn: UInt64, level: Int = 1, writable: Bool = true, executable: Bool = true) -> DumpEntry {
        var spte = SPTEBits.mmuPresent | 1 | pfn << Paging.pageShift
        if writable { spte |= SPTEBits.writable }
        if !executable { spte |= 1 << 63 }
        if level > 1 { spte |= SPTEBits.large }
        return DumpEntry(line: 0, level: level, gfn: gfn, spte: spte, kind: .leaf, address: 0)
    }

    mutating func map(gfn: UInt64, pfn: UInt64, count: UInt64, writable: Bool = true) {
        for index in 0..<count { leaves[gfn + index] = Self.leaf(gfn + index, pfn + index, writable: writable) }
    }

    mutating func mapHuge(gfn: UInt64, pfn: UInt64, count: UInt64) {
        for index in 0..<count { leaves[gfn + index << 9] = Self.leaf(gfn + index << 9, pfn + index << 9, level: 2) }
    }

    mutating func unmap(gfn: UInt64) { leaves[gfn] = nil }

    /// A huge page becomes small ones.
    mutating func split(gfn: UInt64) {
        guard let huge = leaves[gfn] else { return }
        map(gfn: gfn, pfn: (huge.spte & SPTEBits.address) >> Paging.pageShift, count: 512)
    }

    func snapshot(_ name: String) -> TableSnapshot {
        var entries: [DumpEntry] = []
        // The last table that was linked, by level of its entry.
        var linked = [UInt64?](repeating: nil, count: 5)
        for gfn in leaves.keys.sorted() {
            guard let leaf = leaves[gfn] else { continue }
            for level in (leaf.level + 1..<5).reversed() {
                let first = gfn & ~(Paging.pages(level: level) - 1)
                guard linked[level] != first else { continue }
                linked[level] = first
                entries.append(DumpEntry(line: 0, level: level, gfn: first, spte: SPTEBits.mmuPresent | 7, kind: .table, address: 0))
            }
            entries.append(leaf)
        }
        return TableSnapshot(name: name, layout: Self.layout, roots: [TableSnapshot.Root(address: 0x1000, level: 4, entries: entries)])
    }

    /// The first table of a level.
    func table(_ name: String, level: Int) -> PictureTable {
        var table = Picture([snapshot(name)]).trees[0].table
        while table.level > level, let child = table.runs.compactMap(\.child).first { table = child }
        return table
    }
}
