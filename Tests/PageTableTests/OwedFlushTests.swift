// SPDX-License-Identifier: GPL-2.0-only
import RCU
import XCTest

@testable import PageTable

/// When a flush is owed, when it is paid, and how often.
final class OwedFlushTests: XCTestCase {
    private var paid = 0

    private func pay() { paid += 1 }

    func testNothingIsOwedAtFirst() {
        let flush = OwedFlush()
        XCTAssertFalse(flush.isOwed)
        XCTAssertFalse(flush.isForTable)
        flush.pay(pay)
        XCTAssertEqual(paid, 0)
    }

    func testADebtIsPaidOnce() {
        var flush = OwedFlush()
        flush.owe()
        flush.owe()
        XCTAssertTrue(flush.isOwed)
        XCTAssertFalse(flush.isForTable)
        insideRCU { rcu in flush.payNow(rcu, pay) }
        XCTAssertEqual(paid, 1)
        XCTAssertFalse(flush.isOwed)
        insideRCU { rcu in flush.payNow(rcu, pay) }
        flush.pay(pay)
        XCTAssertEqual(paid, 1, "it was paid already")
    }

    /// Tables cannot wait until RCU is left.  The caller is told of the debt all the same.
    func testTablesArePaidForFirst() {
        var flush = OwedFlush()
        insideRCU { rcu in flush.payForTables(rcu, pay) }
        flush.owe()
        insideRCU { rcu in flush.payForTables(rcu, pay) }
        XCTAssertEqual(paid, 0, "no table")
        flush.oweForTable()
        XCTAssertTrue(flush.isForTable)
        insideRCU { rcu in flush.payForTables(rcu, pay) }
        insideRCU { rcu in flush.payForTables(rcu, pay) }
        XCTAssertEqual(paid, 1)
        XCTAssertFalse(flush.isForTable)
        XCTAssertTrue(flush.isOwed)
        flush.pay(pay)
        XCTAssertEqual(paid, 2)
    }

    func testPayingAllPaysForTables() {
        var flush = OwedFlush()
        flush.oweForTable()
        insideRCU { rcu in flush.payNow(rcu, pay) }
        insideRCU { rcu in flush.payForTables(rcu, pay) }
        XCTAssertEqual(paid, 1)
        let isOwed = flush.handOver()
        XCTAssertFalse(isOwed)
    }

    func testDebtsAreAdded() {
        // Of each: owed, and for a table.
        for (a, b) in [(0, 0), (0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
            var flush = debt(a)
            flush.add(debt(b))
            XCTAssertEqual(flush.isOwed, max(a, b) > 0, "\(a) and \(b)")
            XCTAssertEqual(flush.isForTable, max(a, b) == 2, "\(a) and \(b)")
            let isOwed = flush.handOver()
            XCTAssertEqual(isOwed, max(a, b) > 0, "\(a) and \(b)")
        }
    }

    /// 0: none, 1: for a page, 2: for a table.
    private func debt(_ of: Int) -> OwedFlush {
        var flush = OwedFlush()
        if of == 1 { flush.owe() }
        if of == 2 { flush.oweForTable() }
        return flush
    }

    func testADebtGoesFromHandToHand() {
        var flush = OwedFlush(handedOver: true)
        XCTAssertTrue(flush.isOwed)
        XCTAssertFalse(flush.isForTable, "a caller has left RCU since")
        insideRCU { rcu in flush.payForTables(rcu, pay) }
        XCTAssertEqual(paid, 0)
        let isOwed = flush.handOver()
        let next = OwedFlush(handedOver: isOwed)
        next.pay(pay)
        XCTAssertEqual(paid, 1)
        OwedFlush(handedOver: false).pay(pay)
        XCTAssertEqual(paid, 1)
    }

    /// Where no CPU can have a translation there is no debt, and none is handed on.
    func testADebtThatNeverIs() {
        var none = OwedFlush(neverBecause: "it is a test")
        none.owe()
        none.oweForTable()
        XCTAssertFalse(none.isOwed)
        XCTAssertFalse(none.isForTable)
        insideRCU { rcu in none.payNow(rcu, pay) }
        insideRCU { rcu in none.payForTables(rcu, pay) }
        var flush = OwedFlush()
        flush.add(none)
        XCTAssertFalse(flush.isOwed)
        flush.pay(pay)
        XCTAssertEqual(paid, 0)
    }

    func testADebtIsForgone() {
        var flush = OwedFlush()
        flush.oweForTable()
        flush.forgo(because: "it is a test")
        XCTAssertEqual(paid, 0)
    }
}
