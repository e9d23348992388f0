// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Lines of a picture.
package struct RowMaker {
    private let picture: Picture
    /// Of a table with more runs than that, some are told as a sum: no rows would help a reader with thousands.
    private let shownRuns: Int
    /// Of what lies elsewhere there are no rows; nil: all.
    private let gfns: ClosedRange<UInt64>?
    private static let limits = [24, 16, 12, 8, 6, 4, 3, 2]
    /// As many as a reader looks through.
    private static let readableRows = 400

    /// A row for each root, with all below it.
    package static func rows(_ picture: Picture, gfns: ClosedRange<UInt64>? = nil, full: Bool = false) -> [PictureRow] {
        let limit = full ? Int.max : limits.first { limit in
            RowMaker(picture, limit, gfns).roots().reduce(0) { $0 + $1.openCount } <= readableRows
        } ?? limits[limits.count - 1]
        return RowMaker(picture, limit, gfns).roots()
    }

    private init(_ picture: Picture, _ shownRuns: Int, _ gfns: ClosedRange<UInt64>?) {
        (self.picture, self.shownRuns, self.gfns) = (picture, shownRuns, gfns)
    }

    private func roots() -> [PictureRow] {
        picture.trees.map { tree in
            let table = tree.table
            var row = self.row(of: table, times: 1, isExample: false)
            row.kind = .root
            row.note = tree.roots.compactMap(\.self).first.map(Self.words) ?? ""
            return row
        }
    }

    private static func words(_ root: TableSnapshot.Root) -> String {
        var words = ["\(root.level) levels"]
        if let space = root.addressSpace { words.append("address space \(space)") }
        if !root.vcpus.isEmpty { words.append("\(root.vcpus.count == 1 ? "vCPU" : "vCPUs") \(ranges(root.vcpus))") }
        if let role = root.role { words.append("role 0x\(hex(UInt64(role)))") }
        return words.joined(separator: ", ")
    }

    /// "0-7, 9"
    private static func ranges(_ numbers: [Int]) -> String {
        var ranges: [ClosedRange<Int>] = []
        for number in numbers {
            if let last = ranges.last, last.upperBound + 1 == number {
                ranges[ranges.count - 1] = last.lowerBound...number
            } else {
                ranges.append(number...number)
            }
        }
        return ranges.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }.joined(separator: ", ")
    }

    /// isExample: it stands for others, and only it has these pages.
    private func row(of table: PictureTable, times: Int, isExample: Bool) -> PictureRow {
        let last = table.first &+ table.pagesOfEntry * Paging.entries * UInt64(times) &- 1
        var row = PictureRow(kind: .table, level: table.level, first: table.first, last: last, what: "L\(table.level)")
        row.times = times
        row.mark = table.onlySide.map { $0 == 0 ? .onlyA : .onlyB } ?? (table.differences > 0 ? .below : .same)
        row.isClosed = picture.isPair && row.mark == .same
        for side in table.totals.indices where table.onlySide == nil || table.onlySide == side {
            row.strips.append(table.runs.map { run in
                PictureRow.StripPart(start: run.start, count: run.count, paint: Paint(run.sides[side].cell, picture.layouts[side]))
            })
        }
        if table.onlySide == nil {
            row.differing = table.runs.filter(\.isDifferent).map { ($0.start, $0.count) }
        }
        // Two strips that are the same are one.
        if row.strips.count == 2, table.runs.allSatisfy({ $0.sides[0].cell == $0.sides[1].cell }) { row.strips.removeLast() }
        row.children = children(of: table, isExample: isExample || times > 1)
        return row
    }

    private func children(of table: PictureTable, isExample: Bool) -> [PictureRow] {
        // Of tables that are alike, the first stands for the one that is asked for.
        let runs = isExample ? table.runs : table.runs.filter { isWanted($0, in: table) }
        let isShown = shown(runs, in: table)
        var rows: [PictureRow] = [], hidden: [PictureRun] = []
        func tellHidden() {
            // A sum of one would take as much room as that one.
            rows += hidden.count == 1 ? self.rows(of: hidden[0], in: table, isExample: isExample)
                : hidden.isEmpty ? [] : [more(hidden, of: table)]
            hidden = []
        }
        for (index, run) in runs.enumerated() {
            guard isShown[index] else {
                hidden.append(run)
                continue
            }
            tellHidden()
            rows += self.rows(of: run, in: table, isExample: isExample)
        }
        tellHidden()
        return rows
    }

    private func isWanted(_ run: PictureRun, in table: PictureTable) -> Bool {
        guard let gfns else { return true }
        return gfns.overlaps(table.gfn(ofEntry: run.start)...(table.gfn(ofEntry: run.start + run.count) &- 1))
    }

    /// What differs comes first.
    private func shown(_ runs: [PictureRun], in table: PictureTable) -> [Bool] {
        guard runs.count > shownRuns else { return runs.map { _ in true } }
        let differing = runs.indices.filter { table.onlySide == nil && runs[$0].isDifferent }
        let kept = Set((differing + runs.indices.filter { !differing.contains($0) }).prefix(shownRuns))
        return runs.indices.map(kept.contains)
    }

    private func more(_ runs: [PictureRun], of table: PictureTable) -> PictureRow {
        let first = runs[0], last = runs[runs.count - 1]
        var row = PictureRow(kind: .more, level: table.level, first: table.gfn(ofEntry: first.start),
                             last: table.gfn(ofEntry: last.start + last.count) &- 1, what: "\(runs.count) more")
        if let side = table.onlySide {
            row.mark = side == 0 ? .onlyA : .onlyB
        } else if runs.contains(where: \.isDifferent) {
            row.mark = .below
        }
        row.note = runs[0].sides.indices.filter { table.onlySide == nil || table.onlySide == $0 }.map { side in
            var totals = Totals()
            for run in runs {
                if run.sides[side].cell.kind == .table, let child = run.child {
                    totals.add(child.totals[side], times: run.count)
                } else {
                    totals.add(run.sides[side].cell.kind, level: table.level, count: run.count)
                }
            }
            return totals
        }.reduce(into: [Totals]()) { if $0.last != $1 { $0.append($1) } }.map(\.text).joined(separator: " | ")
        return row
    }
}

/// Runs.
extension RowMaker {
    private func rows(of run: PictureRun, in table: PictureTable, isExample: Bool) -> [PictureRow] {
        guard picture.isPair, run.contrast == .differs || run.contrast == .elsewhere else {
            let side = run.contrast == .onlySecond || table.onlySide == 1 ? 1 : 0
            let mark: PictureRow.Mark = run.contrast == .onlyFirst ? .onlyA : run.contrast == .onlySecond ? .onlyB : .same
            return [row(of: run, side, mark, in: table, isExample: isExample)]
        }
        return [row(of: run, 0, .onlyA, in: table, isExample: isExample), row(of: run, 1, .onlyB, in: table, isExample: isExample)]
    }

    private func row(of run: PictureRun, _ index: Int, _ mark: PictureRow.Mark, in table: PictureTable, isExample: Bool) -> PictureRow {
        let side = run.sides[index]
        if side.cell.kind == .table, let child = run.child {
            var row = self.row(of: child, times: run.count, isExample: isExample)
            if mark != .same { row.mark = mark }
            return row
        }
        let size = Paging.sizeName(level: table.level)
        var row = PictureRow(kind: .run, mark: mark, level: table.level, first: table.gfn(ofEntry: run.start),
                             last: table.gfn(ofEntry: run.start + run.count) &- 1, times: run.count, what: "")
        switch side.cell.kind {
        case .hole:
            (row.what, row.times, row.isHole) = ("hole", 1, true)
            row.note = Totals.size(pages: UInt64(run.count) * table.pagesOfEntry)
        case .leaf:
            row.what = "\(size) leaf"
            row.bits = picture.layouts[index].letters(side.cell.bits)
            row.pages = isExample ? "" : Self.pages(run, side, table.pagesOfEntry)
        case .mmio: row.what = "MMIO"
        case .nonpresent: (row.what, row.note) = ("nonpresent", hex(side.cell.bits))
        case .table: row.what = "table"
        }
        return row
    }

    private static func pages(_ run: PictureRun, _ side: PictureRun.Side, _ pages: UInt64) -> String {
        let last = side.lastPFN &+ pages &- 1
        if run.count > 1, side.isConstant { return "pfn \(hex(side.firstPFN)), each" }
        if side.isContiguous { return last == side.firstPFN ? "pfn \(hex(last))" : "pfn \(hex(side.firstPFN))-\(hex(last))" }
        return "pfn \(hex(side.firstPFN)), \(run.count > 2 ? ".., " : "")\(hex(side.lastPFN))"
    }
}
