// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import RCU
import XCTest

@testable import MMU
@testable import PageTable

/// Tables that go: frozen below, flushed, freed once, after a grace period.
final class RemovalTests: XCTestCase {
    private func mapped() -> Fixture {
        let fixture = Fixture()
        XCTAssertEqual(fixture.addSlot(0, base: 0x40000, pages: 0x1000), .none)
        for gfn in [0x40000, 0x40001, 0x401ff, 0x40200] as [UInt64] {
            XCTAssertEqual(fixture.fault(gfn), .fixed)
        }
        fixture.log.changes = []
        fixture.log.flushes = []
        return fixture
    }

    func testAReaderKeepsARemovedTable() {
        let fixture = mapped()
        let table = insideRCU { rcu in
            var iter = fixture.walk(to: 0x40000, rcu)
            let table = Table(of: iter.slot)
            fixture.zapRange(0x40000, 0x40200)
            XCTAssertTrue(table.isInUse, "freed under a reader")
            XCTAssertTrue(table[0].load(rcu).isFrozen)
            XCTAssertEqual(fixture.vm.total(.strays), 1)
            iter.next(rcu)
            XCTAssertTrue(iter.old.isFrozen, "the walk goes on inside the stray")
            return table
        }
        rcuBarrier()
        XCTAssertFalse(table.isInUse)
        XCTAssertEqual(fixture.vm.total(.strays), 0)
    }

    /// The flush covers exactly what the removed table covered, from its base gfn.
    func testTheFlushRangeIsTheTables() {
        let fixture = mapped()
        XCTAssertTrue(fixture.zapRange(0x40000, 0x40200), "the caller is told of the leaves all the same")
        XCTAssertEqual(fixture.log.flushes, [0x40000..<0x40200])
        let parent = fixture.log.changes[0]
        XCTAssertEqual([parent.gfn, UInt64(parent.level), parent.new], [0x40000, 2, SPTE.nonPresent.raw])
        let frozen = fixture.log.changes.dropFirst().map(\.gfn)
        XCTAssertEqual(Array(frozen), [0x40000, 0x40001, 0x401ff], "exclusive: only what was present")
    }

    /// Under the read lock every entry is frozen: another thread may be at any of them.
    func testSharedRemovalFreezesEverything() {
        let fixture = mapped()
        XCTAssertEqual(fixture.fault(0x40000, level: .page2M), .fixed)
        XCTAssertEqual(fixture.log.changes.count, 1 + 512)
        XCTAssertTrue(fixture.log.changes.dropFirst().allSatisfy { $0.new == SPTE.frozen.raw })
        XCTAssertEqual(fixture.log.flushes, [0x40000..<0x40200])
        XCTAssertEqual(fixture.leaves[0x40000], [0x40000, 2])
    }

    /// A whole subtree is flushed once, from the top.
    func testASubtreeIsFlushedOnce() {
        let fixture = mapped()
        fixture.zapRange(0, 1 << 27)
        XCTAssertEqual(fixture.log.flushes, [0..<(1 << 27)])
        rcuBarrier()
        XCTAssertEqual(fixture.vm.tablesAlive, 1, "only the root")
    }

    func testReplacingAPageGoesThroughNothingAndAFlush() {
        let fixture = mapped()
        XCTAssertEqual(fixture.fault(0x40001, pfn: 0x999), .fixed)
        XCTAssertEqual(fixture.log.changes.map(\.new), [SPTE.nonPresent.raw, 0x99_9e67])
        XCTAssertEqual(fixture.log.flushes, [0x40001..<0x40002])
    }

    /// As 6.12 does: where the host does not let the page be written any more, the leaf is made anew, and
    /// no flush is asked for.  (docs/KERNELS.md)
    func testAReadTakesWFromAPageThatTheHostProtects() {
        let fixture = mapped()
        XCTAssertEqual(fixture.fault(0x40001, write: false, writable: false), .fixed)
        XCTAssertEqual(fixture.log.changes.map(\.new), [0x4000_1825])
        XCTAssertEqual(fixture.log.flushes, [])
        XCTAssertEqual(fixture.fault(0x40001, write: false, writable: false), .spurious)
    }

    func testAFaultThatMeetsAFrozenEntryRetries() {
        let fixture = mapped()
        let entry = insideRCU { rcu in fixture.walk(to: 0x40001, rcu) }
        entry.slot.poke(.frozen)
        XCTAssertEqual(fixture.fault(0x40001), .retry)
        XCTAssertEqual(fixture.log.changes, [])
        entry.slot.poke(entry.old)
    }

    func testTheLimitIsKeptAndGivenBack() {
        let fixture = Fixture(tableLimit: 4)
        XCTAssertEqual(fixture.addSlot(0, base: 0, pages: 1 << 20), .none)
        XCTAssertEqual(fixture.fault(0), .fixed, "root and three tables")
        XCTAssertEqual(fixture.fault(0x200), .noMemory)
        XCTAssertEqual(fixture.fault(1), .fixed, "needs no table")
        fixture.zapRange(0, 0x200)
        rcuBarrier()
        XCTAssertEqual(fixture.fault(0x200), .fixed)
    }
}
