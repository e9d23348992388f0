// SPDX-License-Identifier: GPL-2.0-only
import XCTest

@testable import OperationLists

/// Lists performed by the library in this process.
final class PerformerTests: XCTestCase {
    private func answers(_ text: String) throws -> [Answer] {
        GeneratorTests.answers(try OperationList(file: "X", bytes: Array(text.utf8)))
    }

    private func results(_ text: String) throws -> [String] { try answers(text).map { String($0[.result]) } }

    func testWhatIsSeen() throws {
        let seen = try answers("init npt\nslot 0 0 0 0x200 0x200\nvcpu 0\nfault 0 5 w 1\nwrprot 0\nwrprot 0\n")
        XCTAssertEqual(seen.map { $0[.result] }, ["made", "ok", "ok", "fixed", "1", "0", "destroyed"])
        XCTAssertEqual(seen[3][.counters], "1 0 0 0 0")
        XCTAssertTrue(seen[3][.changes].hasPrefix("4 "), "three tables and a leaf")
        XCTAssertTrue(seen[3][.tables].hasPrefix("root space 0 level 4 refs 2 sptes 4 "))
        XCTAssertEqual(seen[4][.flushes], "0", "the caller's, which is told by what is returned")
        XCTAssertTrue(seen[4][.changes].hasPrefix("1 "))
        XCTAssertNotEqual(seen[3][.tables], seen[4][.tables])
        XCTAssertEqual(seen[4][.tables], seen[5][.tables])
        XCTAssertEqual(seen[5][.changes], "0")
        XCTAssertEqual(seen[6][.tables], "")
    }

    /// A piece of a list is a list: the shortening leaves out what other operations name.
    func testWhatHasNotBeenMade() throws {
        let performer = Performer(Setup())
        for kind in OperationKind.allCases where kind.needs != nil {
            let arguments = [UInt64](repeating: 1, count: kind.signature.required)
            XCTAssertEqual(performer.perform(Operation(kind, arguments: arguments)), "none", "\(kind)")
        }
        XCTAssertEqual(performer.perform(Operation(.invalend)), "none")
        XCTAssertEqual(performer.finish(), "destroyed")
    }

    /// And a VM that cannot be is a result, too.
    func testNoVM() {
        var setup = Setup()
        setup.vendor = .ept
        setup.physicalBits = 99
        let performer = Performer(setup)
        XCTAssertEqual(performer.setupResult, "error 22")
        XCTAssertEqual(performer.perform(Operation(.zapall)), "no VM")
        XCTAssertEqual(performer.finish(), "no VM")
    }

    func testAWarningIsSeen() throws {
        let seen = try answers("slot 0 0 0 0x200 0x200\nzapleafs 5 4\nzapleafs 4 5\n")
        XCTAssertEqual(seen.map { $0[.warned] }, ["", "", "warned", "", ""])
    }

    func testInTheMiddle() throws {
        // The walk is behind gfn 5 when it gives way for the eighth time.
        let text = """
            init npt
            slot 0 0 0 0x400 0x400
            vcpu 0
            fault 0 5 w 1
            yield 1
            meanwhile 8 fault 0 5 w 1
            zapleafs 0 0x400
            walk 0 5
            """
        let seen = try results(text)
        XCTAssertEqual(Array(seen[5...6]), ["later", "0, meanwhile fault: fixed"], "what was zapped was flushed before it gave way")
        XCTAssertTrue(seen[7].hasSuffix(" 1:405e67"), seen[7])
        let alone = try results(text.replacingOccurrences(of: "yield 1", with: "yield 0"))
        XCTAssertEqual(alone[6], "1", "nothing gives way")
        XCTAssertTrue(alone[7].hasSuffix(" 1:8000000000000000"), alone[7])
    }

    /// 512 pages go into a CPU's log; it leaves the guest for the next one.
    func testACPUsLogOverflows() throws {
        let seen = try results("""
            init ept pml=1
            slot 0 0 0x40000 0x1000 0x80000
            vcpu 0
            fault 0 0x40000 r 2
            fault 0 0x40200 r 2
            slotflags 0 1
            hw 0 0x40000 w 700
            exit 0
            exit 0
            hw 0 0x40ffe w 3
            dirty 0
            """)
        XCTAssertEqual(Array(seen[6...9]), ["700 times level 1", "188", "0", "3 times fault"])
        XCTAssertEqual(seen[10], "40000-402bb")
    }

    /// A change of slots would wait for the end.
    func testNoChangeOfSlotsWhileTheHostInvalidates() throws {
        let seen = try results("""
            slot 0 0 0 0x400 0x400
            vcpu 0
            invalbegin 0 0 5
            fault 0 4 w
            fault 0 5 w 1
            slotflags 0 1
            slot 1 0 0x1000 1 1
            invalend
            invalend
            fault 0 4 w 1
            slotflags 0 1
            """)
        XCTAssertEqual(Array(seen[3...11]), ["ok", "retry", "fixed", "not while the host invalidates", "not while the host invalidates",
                                             "ok", "none", "fixed", "ok"])
    }

    func testRangesOfGFNs() {
        XCTAssertEqual(GFNRanges([0, 0], from: 5).text, "nothing")
        XCTAssertEqual(GFNRanges([1], from: 0x10).text, "10")
        XCTAssertEqual(GFNRanges([.max, .max], from: 0x10).text, "10-8f")
        XCTAssertEqual(GFNRanges([1 << 63, 1, 0, 6], from: 0).text, "3f-40 c1-c2")
        XCTAssertEqual(GFNRanges([], from: 0).text, "nothing")
    }

    func testRing() throws {
        let seen = try results("""
            init npt ring=4096
            slot 0 0 0 0x400 0x400 1
            vcpu 0
            fault 0 5 w
            fault 0 0x105 w
            harvest 0
            harvest 0
            resetring
            dirty 0
            """)
        XCTAssertEqual(Array(seen[3...]), ["fixed", "fixed", "0:5 0:105", "nothing", "2", "error 6", "destroyed"])
    }
}
