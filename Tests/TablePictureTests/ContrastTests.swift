// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace
import XCTest

@testable import TablePicture

/// Two VMs' tables beside each other.
final class ContrastTests: XCTestCase {
    private func tables(_ change: (inout TestTables) -> Void = { _ in }) -> TestTables {
        var tables = TestTables()
        tables.map(gfn: 0, pfn: 0x100, count: 8)
        tables.mapHuge(gfn: 0x400, pfn: 0x800, count: 3)
        change(&tables)
        return tables
    }

    private func picture(looksAtPages: Bool = true, _ change: (inout TestTables) -> Void) -> Picture {
        Picture([tables().snapshot("one"), tables(change).snapshot("other")], looksAtPages: looksAtPages)
    }

    private func marked(_ picture: Picture) -> [String] {
        func lines(_ row: PictureRow) -> [String] {
            (row.mark == .same ? [] : ["\(row.mark.rawValue) \(row.what) \(row.range)"]) + row.children.flatMap(lines)
        }
        return RowMaker.rows(picture).flatMap(lines)
    }

    func testTheSame() {
        let same = picture { _ in }
        XCTAssertEqual(same.differences, 0)
        XCTAssertEqual(marked(same), [])
        XCTAssertTrue(RowMaker.rows(same)[0].isClosed)
        XCTAssertTrue(TextWriter.text(same, RowMaker.rows(same)).contains("no difference"))
    }

    func testRights() {
        let found = picture { $0.map(gfn: 3, pfn: 0x103, count: 2, writable: false) }
        XCTAssertEqual(found.differences, 2)
        XCTAssertEqual(marked(found), ["~ L4 0-fffffffff", "~ L3 0-7ffffff", "~ L2 0-3ffff", "~ L1 0-1ff", "- 4K leaf 3-4", "+ 4K leaf 3-4"])
    }

    func testWhatOnlyOneHas() {
        XCTAssertEqual(marked(picture { $0.unmap(gfn: 7) }).last, "- 4K leaf 7")
        XCTAssertEqual(marked(picture { $0.map(gfn: 9, pfn: 1, count: 1) }).last, "+ 4K leaf 9")
        let table = picture { $0.map(gfn: 0x200, pfn: 1, count: 1) }
        XCTAssertEqual(table.differences, 1, "a table, whatever is in it")
        XCTAssertEqual(marked(table).suffix(2), ["+ L1 200-3ff", "+ 4K leaf 200"].suffix(2))
    }

    func testASplit() {
        let found = picture { $0.split(gfn: 0x600) }
        XCTAssertEqual(found.differences, 1)
        XCTAssertEqual(marked(found).suffix(3), ["- 2M leaf 600-7ff", "+ L1 600-7ff", "+ 4K leaf 600-7ff"].suffix(3))
    }

    func testPagesThatLieElsewhere() {
        let moved: (inout TestTables) -> Void = { $0.map(gfn: 1, pfn: 0x999, count: 1) }
        XCTAssertEqual(picture(moved).differences, 1)
        XCTAssertEqual(marked(picture(moved)).suffix(2), ["- 4K leaf 1", "+ 4K leaf 1"])
        XCTAssertEqual(picture(looksAtPages: false, moved).differences, 0)
    }

    func testRootsThatOnlyOneHas() {
        let none = TableSnapshot(name: "none", layout: TestTables.layout, roots: [])
        let found = Picture([tables().snapshot("one"), none])
        XCTAssertEqual(found.differences, 1)
        XCTAssertTrue(marked(found).allSatisfy { $0.hasPrefix("-") }, "\(marked(found))")
        XCTAssertTrue(TextWriter.text(found, RowMaker.rows(found)).contains("B  has no such root"))
        XCTAssertEqual(Picture([none, none]).trees.count, 0)
    }

    /// Every difference is there however much is left out.
    func testWhatDiffersIsShownFirst() {
        var one = TestTables()
        for page in 0..<UInt64(200) { one.map(gfn: page * 2, pfn: page, count: 1) }
        var other = one
        other.unmap(gfn: 398)
        let found = Picture([one.snapshot("one"), other.snapshot("other")])
        XCTAssertEqual(marked(found).last, "- 4K leaf 18e")
    }

    /// Names come from file names.
    func testNamesAreEscaped() throws {
        let name = "a<b>&\"c\"\\\u{1}"
        let found = Picture([tables().snapshot(name), tables { $0.unmap(gfn: 7) }.snapshot(name)]), rows = RowMaker.rows(found)
        for text in [SVGWriter.text(found, rows), HTMLWriter.text(found, rows)] {
            XCTAssertTrue(text.contains("a&lt;b&gt;&amp;&quot;c&quot;\\\u{fffd}"))
            XCTAssertFalse(text.contains("a<b>"))
        }
        XCTAssertTrue(DotWriter.text(found, rows).contains("a<b>&\\\"c\\\"\\\\?"))
    }
}
