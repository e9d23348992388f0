// SPDX-License-Identifier: GPL-2.0-only
import RecordedTraces
import XCTest

@testable import KernelTrace
@testable import Replay

final class RenamingTests: XCTestCase {
    private let table: UInt64 = 0x827

    private func change(_ old: UInt64, _ new: UInt64, level: Int = 2) -> SPTEChange {
        SPTEChange(addressSpace: 0, gfn: 0, level: level, old: old, new: new)
    }

    func testLearnsAtFirstSightAndChecksAfter() {
        var renaming = TableRenaming()
        XCTAssertTrue(renaming.learn(recorded: 0x1000, ours: 0xa000))
        XCTAssertTrue(renaming.agree(recorded: 0x1000, ours: 0xa000))
        XCTAssertFalse(renaming.agree(recorded: 0x1000, ours: 0xb000))
        XCTAssertFalse(renaming.agree(recorded: 0x2000, ours: 0xa000))
        XCTAssertFalse(renaming.agree(recorded: 0x2000, ours: 0xb000))
    }

    func testOneTableOfTheKernelsIsOneOfOurs() {
        var renaming = TableRenaming()
        XCTAssertTrue(renaming.learn(recorded: 0x1000, ours: 0xa000))
        XCTAssertFalse(renaming.learn(recorded: 0x1000, ours: 0xb000), "the kernel's is in use")
        XCTAssertFalse(renaming.learn(recorded: 0x2000, ours: 0xb000), "ours is in use")
        XCTAssertNil(renaming.ours(of: 0x1000), "the last pair counts")
        XCTAssertEqual(renaming.recorded(of: 0xb000), 0x2000)
    }

    func testForgetsTablesThatAreUnlinked() {
        var renaming = TableRenaming()
        let empty = SPTEBits.nonpresent
        XCTAssertTrue(renaming.same(change(empty, 0x1000 | table), change(empty, 0xa000 | table)))
        XCTAssertTrue(renaming.same(change(0x1000 | table, empty), change(0xa000 | table, empty)))
        XCTAssertNil(renaming.ours(of: 0x1000))
        XCTAssertTrue(renaming.same(change(empty, 0x1000 | table), change(empty, 0xb000 | table)), "used again")
    }

    func testForgetsRootsWhenTheyAreInvalidated() {
        var renaming = TableRenaming()
        XCTAssertTrue(renaming.learn(recorded: 0x1000, ours: 0xa000, isRoot: true))
        XCTAssertTrue(renaming.learn(recorded: 0x2000, ours: 0xb000))
        renaming.forgetRoots()
        XCTAssertNil(renaming.recorded(of: 0xa000))
        XCTAssertEqual(renaming.ours(of: 0x2000), 0xb000)
    }

    func testComparesBitsOfTablesAndAllOfLeaves() {
        var renaming = TableRenaming()
        XCTAssertTrue(renaming.learn(recorded: 0x1000, ours: 0xa000))
        XCTAssertTrue(renaming.same(recorded: 0x1827, ours: 0xa827, level: 2))
        XCTAssertFalse(renaming.same(recorded: 0x1827, ours: 0xa807, level: 2), "another bit")
        XCTAssertFalse(renaming.same(recorded: 0x1827, ours: 0xa827, level: 1), "leaves are not renamed")
        XCTAssertFalse(renaming.same(recorded: 0x18e7, ours: 0xa8e7, level: 2), "huge leaves are not either")
        XCTAssertFalse(renaming.same(recorded: 0x1827, ours: SPTEBits.nonpresent, level: 2))
    }

    func testEveryFieldOfAChangeCounts() {
        let base = SPTEChange(addressSpace: 0, gfn: 1, level: 1, old: SPTEBits.nonpresent, new: 0x1e67)
        var renaming = TableRenaming()
        XCTAssertTrue(renaming.same(base, base))
        for edit: (inout SPTEChange) -> Void in [
            { $0.addressSpace = 1 }, { $0.gfn = 2 }, { $0.level = 2 }, { $0.old = 0 }, { $0.new ^= 1 << 40 },
        ] {
            var other = base
            edit(&other)
            XCTAssertFalse(renaming.same(base, other))
        }
    }

    func testChangesInTheirOrder() {
        let first = SPTEChange(addressSpace: 0, gfn: 1, level: 1, old: 0, new: 1)
        let second = SPTEChange(addressSpace: 0, gfn: 2, level: 1, old: 0, new: 1)
        let recorded: [ChangeComparison.Recorded] = [(10, first), (11, second)]
        var renaming = TableRenaming()
        XCTAssertEqual(ChangeComparison.mismatches(recorded, [second, first], &renaming).count, 2)
        XCTAssertEqual(ChangeComparison.mismatches(recorded, [first], &renaming).first?.line, 11)
        let more = ChangeComparison.mismatches(recorded, [first, second, second], &renaming)
        XCTAssertEqual(more.count, 1)
        XCTAssertNil(more.first?.expected)
    }

    /// In parallel parts it does not matter which call makes a change, if each SPTE
    /// goes the same way.
    func testChangesOfDifferentEntriesMayCrossEachOther() {
        let first = SPTEChange(addressSpace: 0, gfn: 1, level: 1, old: 0, new: 1)
        let second = SPTEChange(addressSpace: 0, gfn: 2, level: 1, old: 0, new: 1)
        let third = SPTEChange(addressSpace: 0, gfn: 2, level: 1, old: 1, new: 2)
        var renaming = TableRenaming()
        var book = ChangeBook()
        XCTAssertTrue(book.take([(10, first), (11, second)], [second], &renaming).isEmpty)
        XCTAssertTrue(book.take([], [first], &renaming).isEmpty)
        XCTAssertTrue(book.close(&renaming).isEmpty)
        XCTAssertTrue(book.take([(12, second), (13, third)], [third], &renaming).isEmpty, "another may still come")
        XCTAssertEqual(book.close(&renaming).map(\.line), [12, 13], "its own order matters")
        XCTAssertTrue(book.take([], [first], &renaming).isEmpty)
        XCTAssertNil(book.close(&renaming).first?.expected)
    }

    /// An operation that was performed before its turn: the lines tell the order.
    func testLinesDecideInTheEnd() {
        let steps = [(0, 1), (1, 2), (2, 3)].map {
            SPTEChange(addressSpace: 0, gfn: 1, level: 1, old: UInt64($0.0), new: UInt64($0.1))
        }
        var renaming = TableRenaming()
        var book = ChangeBook()
        XCTAssertTrue(book.take([(12, steps[2])], [steps[0]], &renaming).isEmpty)
        XCTAssertTrue(book.take([(10, steps[0]), (11, steps[1])], [steps[1], steps[2]], &renaming).isEmpty)
        XCTAssertTrue(book.close(&renaming).isEmpty)
    }

    /// Collapse empties an entry and a fault fills it, or the fault does both.
    func testATableGoesInOneStepOrInTwo() {
        let table: UInt64 = 0x5827, leaf: UInt64 = 0x20_0ee7, nothing = SPTEBits.nonpresent
        func change(_ old: UInt64, _ new: UInt64) -> SPTEChange {
            SPTEChange(addressSpace: 0, gfn: 0x200, level: 2, old: old, new: new)
        }
        let (link, one) = (change(nothing, table), change(table, leaf))
        let two = [change(table, nothing), change(nothing, leaf)]
        for (theirs, mine) in [([one], two), (two, [one])] {
            var renaming = TableRenaming()
            var book = ChangeBook()
            let recorded = ([link] + theirs).enumerated().map { ChangeComparison.Recorded(line: $0.offset, change: $0.element) }
            XCTAssertTrue(book.take(recorded, [link] + mine, &renaming).isEmpty)
            XCTAssertTrue(book.close(&renaming).isEmpty)
            // The leaf must be the same all the same.
            var wrong = mine
            wrong[wrong.count - 1].new ^= 2
            XCTAssertFalse((book.take(recorded, [link] + wrong, &renaming) + book.close(&renaming)).isEmpty)
        }
    }
}
