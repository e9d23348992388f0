// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import RCU
import XCTest

@testable import MMU
@testable import PageTable

/// What the operations' way of changing entries makes of it.
final class SPTEWriterTests: XCTestCase {
    /// A refused change leaves the entry alone, says so, and owes nothing.
    func testARefusedChangeIsNotMade() {
        let fixture = Fixture()
        XCTAssertEqual(fixture.addSlot(0, base: 0, pages: 512), .none)
        XCTAssertEqual(fixture.fault(5), .fixed)
        let before = fixture.leaves
        let changes = fixture.log.changes.count
        let isOwed = fixture.underWriteLock { hold, flush in
            insideRCU { rcu in
                var iter = fixture.walk(to: 5, rcu)
                let other = SPTE(iter.old.raw + 77 << 12)
                XCTAssertEqual(SPTEWriter(fixture.vm, hold).set(&iter, other, owing: &flush), .refused)
            }
        }
        XCTAssertFalse(isOwed)
        XCTAssertEqual(fixture.leaves, before)
        XCTAssertEqual(fixture.log.changes.count, changes)
        XCTAssertEqual(fixture.log.warnings, ["a present leaf may not change its pfn in one step"])
        fixture.log.warnings = []
    }

    /// Under the read lock another thread may be first: the entry and the books stay as that left them.
    func testALostRaceIsNotMade() {
        let fixture = Fixture()
        XCTAssertEqual(fixture.addSlot(0, base: 0, pages: 512), .none)
        XCTAssertEqual(fixture.fault(5), .fixed)
        let changes = fixture.log.changes.count
        let isOwed = fixture.vm.lock.read { hold in
            var flush = OwedFlush()
            insideRCU { rcu in
                var iter = fixture.walk(to: 5, rcu)
                let ours = iter.old, theirs = SPTE(iter.old.raw & ~SPTE.writable)
                iter.slot.poke(theirs)
                let writer = SPTEWriter(fixture.vm, hold)
                XCTAssertEqual(writer.set(&iter, .nonPresent, owing: &flush), .lost)
                XCTAssertEqual(iter.old, theirs, "the walk sees what is there")
                XCTAssertEqual(iter.slot.load(rcu), theirs)
                iter.slot.poke(ours)
            }
            return flush.handOver()
        }
        XCTAssertEqual(isOwed, false)
        XCTAssertEqual(fixture.log.changes.count, changes)
    }
}
