// SPDX-License-Identifier: GPL-2.0-only
import XCTest

@testable import KernelTrace

final class LexerTests: XCTestCase {
    private func columns(_ text: String) -> (task: Int, count: UInt64, event: String, text: String)? {
        withCursor(text) { cursor in
            FtraceLine(cursor).map { ($0.task, $0.count, $0.event, $0.text.rest) }
        }
    }

    func testCutsALineIntoColumns() throws {
        let line = try XCTUnwrap(columns("         tdpscen-299     [002] ...1.           27: map_ret: (f+0x1) ret=5"))
        XCTAssertEqual(line.task, 299)
        XCTAssertEqual(line.count, 27)
        XCTAssertEqual(line.event, "map_ret")
        XCTAssertEqual(line.text, "(f+0x1) ret=5")
    }

    func testCommsWithBlanksDashesAndBrackets() {
        XCTAssertEqual(columns("kvm-nx-lpage-re-315     [000] .N.1.  1: x: y")?.task, 315)
        XCTAssertEqual(columns("  a b-3 c-14 [001] d..2.  1: x: y")?.task, 14)
        XCTAssertEqual(columns("  <idle>-0       [000] ..s1.  1: x: y")?.task, 0)
        XCTAssertEqual(columns("  kworker/u12:3-39 [001] ..... 1: x: y")?.task, 39)
        XCTAssertEqual(columns("  od[1] d-5-77 [001] ..... 1: x: y")?.task, 77)
    }

    func testAnEventMayHaveNoText() {
        XCTAssertEqual(columns("t-1 [0] . 1: zap_all:")?.text, "")
    }

    func testRefusesLinesWithoutColumns() {
        for text in ["", " ", "-", "t-1", "t-1 [", "t-1 [000]", "t-1 [000] .....", "t-1 [000] ..... 5",
                     "t-1 [000] ..... 5:", "t-1 [000] ..... 5: event", "t-1 [000] ..... x: e: t",
                     "t [000] ..... 5: e: t", "t-x [000] ..... 5: e: t", "t-1 [0x0] ..... 5: e: t",
                     "t-1 000 ..... 5: e: t", "t-1 [000] ..... 99999999999999999999: e: t",
                     "t-99999999999999999999 [000] ..... 5: e: t"] {
            XCTAssertNil(columns(text).map { $0.event }, "\"\(text)\"")
        }
    }

    func testNumbers() {
        XCTAssertEqual(withCursor("ffffffffffffffff") { $0.hex() }, UInt64.max)
        XCTAssertEqual(withCursor("8E67 ") { $0.hex() }, 0x8e67)
        XCTAssertEqual(withCursor("0x10") { $0.prefixedHex() }, 16)
        XCTAssertEqual(withCursor("18446744073709551615") { $0.decimal() }, UInt64.max)
        XCTAssertEqual(withCursor("-14") { $0.signed() }, -14)
        XCTAssertEqual(withCursor("0x1f") { $0.number() }, 31)
        XCTAssertEqual(withCursor("31") { $0.number() }, 31)
        XCTAssertEqual(withCursor("1") { $0.flag() }, true)
    }

    func testRefusesNumbersThatAreNoneOrDoNotFit() {
        XCTAssertNil(withCursor("") { $0.hex() })
        XCTAssertNil(withCursor("g") { $0.hex() })
        XCTAssertNil(withCursor("10000000000000000") { $0.hex() })
        XCTAssertNil(withCursor("10") { $0.prefixedHex() })
        XCTAssertNil(withCursor("18446744073709551616") { $0.decimal() })
        XCTAssertNil(withCursor("-9223372036854775809") { $0.signed() })
        XCTAssertNil(withCursor("9223372036854775808") { $0.integer() })
        XCTAssertNil(withCursor("2") { $0.flag() })
        XCTAssertNil(withCursor("-") { $0.signed() })
    }

    func testACursorStaysInsideItsText() {
        withCursor("abc") { cursor in
            XCTAssertFalse(cursor.skip("abcd"))
            XCTAssertTrue(cursor.skip("abc"))
            XCTAssertTrue(cursor.isAtEnd)
            XCTAssertNil(cursor.next())
            XCTAssertNil(cursor.peek)
            XCTAssertFalse(cursor.skipBehind(0x61))
            XCTAssertEqual(cursor.rest, "")
            XCTAssertEqual(cursor.text(from: 2, to: 9), "")
        }
    }
}
