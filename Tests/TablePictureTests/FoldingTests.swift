// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace
import XCTest

@testable import TablePicture

final class FoldingTests: XCTestCase {
    func testNothing() {
        let picture = Picture([TestTables().snapshot("empty")])
        XCTAssertEqual(picture.trees[0].table.runs.map(\.count), [512])
        XCTAssertEqual(picture.trees[0].table.runs[0].sides[0].cell.kind, .hole)
        XCTAssertEqual(picture.trees[0].table.totals[0].text, "1 table")
        XCTAssertTrue(Picture([TableSnapshot(name: "", layout: TestTables.layout, roots: [])]).trees.isEmpty)
    }

    func testRunsCoverEachTable() {
        var tables = TestTables()
        tables.map(gfn: 3, pfn: 0x100, count: 4)
        tables.map(gfn: 7, pfn: 0x104, count: 2, writable: false)
        tables.map(gfn: 511, pfn: 0x7, count: 1)
        let leaf = tables.table("x", level: 1)
        XCTAssertEqual(leaf.runs.map(\.start), [0, 3, 7, 9, 511])
        XCTAssertEqual(leaf.runs.map(\.count), [3, 4, 2, 502, 1])
        XCTAssertEqual(leaf.runs.map { $0.sides[0].cell.kind }, [.hole, .leaf, .leaf, .hole, .leaf])
        XCTAssertEqual(leaf.totals[0].text, "1 table, 7 leaves of 4K, 28 KiB mapped")
        for level in 1...4 { XCTAssertEqual(tables.table("x", level: level).runs.reduce(0) { $0 + $1.count }, 512) }
    }

    func testWhereRunsLead() {
        var tables = TestTables()
        tables.map(gfn: 0, pfn: 0x100, count: 3)
        tables.map(gfn: 10, pfn: 0x200, count: 1)
        tables.map(gfn: 11, pfn: 0x200, count: 1)
        tables.map(gfn: 20, pfn: 0x300, count: 1)
        tables.map(gfn: 21, pfn: 0x309, count: 1)
        let runs = tables.table("x", level: 1).runs.filter { $0.sides[0].cell.kind == .leaf }.map { $0.sides[0] }
        XCTAssertEqual(runs.map(\.isContiguous), [true, false, false])
        XCTAssertEqual(runs.map(\.isConstant), [false, true, false])
        XCTAssertEqual(runs.map(\.lastPFN), [0x102, 0x200, 0x309])
    }

    /// A terabyte, of which one page is not as all others are.
    func testATerabyteIsAFewRuns() {
        var tables = TestTables()
        for gibibyte in 0..<UInt64(1024) { tables.mapHuge(gfn: gibibyte << 18, pfn: gibibyte << 18, count: 512) }
        tables.split(gfn: 700 << 18)
        let picture = Picture([tables.snapshot("1 TiB")])
        XCTAssertEqual(picture.trees[0].table.totals[0].mappedPages, 1 << 28)
        XCTAssertEqual(picture.trees[0].table.totals[0].text, "1028 tables, 512 leaves of 4K, 524287 leaves of 2M, 1 TiB mapped")
        let rows = RowMaker.rows(picture), text = TextWriter.text(picture, rows)
        XCTAssertLessThan(rows[0].count, 20)
        XCTAssertTrue(text.contains("\n    L2 0-7ffffff x 512 "), text)
        XCTAssertTrue(text.contains("4K leaf x 512   af00000-af001ff "), text)
    }

    func testSomeGFNs() {
        var tables = TestTables()
        for table in 0..<UInt64(8) { tables.map(gfn: table << 9, pfn: table << 9, count: 512) }
        tables.map(gfn: 0x900, pfn: 1, count: 1, writable: false)
        func leaves(_ row: PictureRow) -> [String] {
            (row.what == "4K leaf" ? [row.range + row.timesText] : []) + row.children.flatMap(leaves)
        }
        let picture = Picture([tables.snapshot("some")])
        XCTAssertEqual(leaves(RowMaker.rows(picture, gfns: 0x900...0x901)[0]), ["900", "901-9ff x 255"])
        XCTAssertEqual(leaves(RowMaker.rows(picture, gfns: 0x3ff...0x3ff)[0]), ["0-1ff x 512"], "the first of four that are alike")
        XCTAssertEqual(leaves(RowMaker.rows(picture, gfns: 0x10000...0x10000)[0]), [])
    }

    /// However many kinds of tables there are, the picture can be read.
    func testDisorderIsSummedUp() {
        var tables = TestTables(), random: UInt64 = 1
        for table in 0..<UInt64(300) {
            for page in 0..<UInt64(512) {
                random = random &* 6364136223846793005 &+ 1442695040888963407
                if random >> 60 < 7 { tables.map(gfn: table << 9 + page, pfn: page, count: 1, writable: random >> 59 & 1 == 0) }
            }
        }
        let snapshot = tables.snapshot("disorder"), picture = Picture([snapshot]), rows = RowMaker.rows(picture)
        XCTAssertLessThanOrEqual(rows[0].openCount, 400)
        // What is not shown is counted.
        let leaves = snapshot.roots[0].entries.filter { $0.kind == .leaf }.count
        XCTAssertEqual(picture.trees[0].table.totals[0].leaves[1], leaves)
        func shown(_ row: PictureRow) -> Int {
            if row.kind == .run { return row.what == "4K leaf" ? row.times : 0 }
            let more = row.kind == .more ? row.note.components(separatedBy: ", ").compactMap { $0.hasSuffix("of 4K") ? Int($0.split(separator: " ")[0]) : nil } : []
            return more.reduce(0, +) + row.children.reduce(0) { $0 + shown($1) } * (row.kind == .table ? row.times : 1)
        }
        XCTAssertEqual(shown(rows[0]), leaves)
        XCTAssertEqual(shown(RowMaker.rows(picture, full: true)[0]), leaves)
    }

    func testRightsArePainted() {
        let layout = TestTables.layout
        var paints: [Paint] = []
        for (writable, executable) in [(false, false), (true, false), (false, true), (true, true)] {
            paints.append(Paint(Cell(TestTables.leaf(0, 1, writable: writable, executable: executable), layout), layout))
        }
        XCTAssertEqual(paints, [.readOnly, .readWrite, .readExecute, .all])
        let mmio = DumpEntry(line: 0, level: 1, gfn: 0, spte: 1 << 51 | 5, kind: .nonpresent, address: 0)
        XCTAssertEqual(Paint(Cell(mmio, layout), layout), .mmio)
        let frozen = DumpEntry(line: 0, level: 1, gfn: 0, spte: SPTEBits.frozen, kind: .nonpresent, address: 0)
        XCTAssertEqual(Paint(Cell(frozen, layout), layout), .nonpresent)
        XCTAssertEqual(Set(Paint.allCases.map(\.rawValue)).count, Paint.allCases.count)
    }

    func testSizes() {
        XCTAssertEqual([1, 256, 384, 262144, 1 << 28, 1 << 30].map { Totals.size(pages: $0) },
                       ["4 KiB", "1 MiB", "1.5 MiB", "1 GiB", "1 TiB", "4 TiB"])
    }
}
