// SPDX-License-Identifier: GPL-2.0-only
import XCTest

@testable import MMU
@testable import PageTable
@testable import Rig

/// The ledger of owed flushes by itself, against a plain model; and what a change owes.
final class LedgerTests: XCTestCase {
    private func debt(
        _ range: Range<UInt64>, thread: UInt64 = 1, space: Int32 = 0, kind: DebtKind = .page, old: UInt64 = 0
    ) -> Debt {
        var debt = Debt()
        debt.start = range.lowerBound
        debt.end = range.upperBound
        debt.thread = thread
        debt.space = space
        debt.kind = kind
        debt.old = old
        return debt
    }

    private func withLedger(_ body: (Ledger) -> Void) {
        let ledger = Ledger()!
        body(ledger)
        ledger.free()
    }

    private func flush(_ ledger: Ledger, _ start: UInt64, _ end: UInt64) {
        ledger.beginFlush(9)
        ledger.endFlush(9, start, end)
    }

    func testAFlushPaysWhatItCovers() {
        withLedger { ledger in
            ledger.owe(debt(10..<20))
            flush(ledger, 0, 10)
            flush(ledger, 20, 30)
            XCTAssertTrue(ledger.isOwed(0, 10, 20))
            flush(ledger, 0, 12)
            XCTAssertFalse(ledger.isOwed(0, 0, 12))
            XCTAssertTrue(ledger.isOwed(0, 12, 13))
            flush(ledger, 19, 1000)
            XCTAssertFalse(ledger.isOwed(0, 19, 20))
            flush(ledger, 14, 16)
            XCTAssertTrue(ledger.isOwed(0, 13, 14))
            XCTAssertFalse(ledger.isOwed(0, 14, 16))
            XCTAssertTrue(ledger.isOwed(0, 18, 19))
            flush(ledger, 0, .max)
            XCTAssertNil(ledger.collect(nil, from: .bits))
        }
    }

    /// CPUs that were done with it could fill their caches again before the change.
    func testAFlushPaysNothingThatIsOwedSinceItBegan() {
        withLedger { ledger in
            ledger.owe(debt(1..<2))
            ledger.beginFlush(9)
            ledger.owe(debt(5..<6))
            ledger.endFlush(9, 0, .max)
            XCTAssertFalse(ledger.isOwed(0, 1, 2))
            XCTAssertTrue(ledger.isOwed(0, 5, 6))
        }
    }

    func testEachThreadCollectsItsOwn() {
        withLedger { ledger in
            ledger.owe(debt(1..<2, thread: 1, kind: .bits))
            ledger.owe(debt(3..<4, thread: 2, kind: .table))
            ledger.owe(debt(5..<6, thread: 1, kind: .page, old: 77))
            XCTAssertNil(ledger.collect(1, from: .table))
            XCTAssertEqual(ledger.collect(1, from: .rights)?.old, 77)
            XCTAssertNil(ledger.collect(1, from: .rights), "it is told once")
            XCTAssertTrue(ledger.isOwed(0, 1, 2), "bits may wait")
            XCTAssertEqual(ledger.collect(nil, from: .bits)?.start, 1)
            XCTAssertFalse(ledger.isOwed(0, 3, 4))
        }
    }

    func testSpacesAreApart() {
        withLedger { ledger in
            ledger.owe(debt(1..<2, space: 1))
            XCTAssertFalse(ledger.isOwed(0, 1, 2))
            XCTAssertNil(ledger.take(1, 1, 0, 5, from: .table))
            flush(ledger, 1, 2)
            XCTAssertFalse(ledger.isOwed(1, 1, 2), "a flush is of all address spaces")
        }
    }

    func testNeighboursAreOneDebt() {
        withLedger { ledger in
            for gfn in 0..<100_000 as Range<UInt64> { ledger.owe(debt(gfn..<gfn + 1)) }
            XCTAssertEqual(ledger.merged, 0)
            let all = ledger.collect(1, from: .bits)
            XCTAssertEqual(all?.start, 0)
            XCTAssertEqual(all?.end, 100_000)
        }
    }

    /// Random debts and flushes: what is owed by gfn, as a set knows it.
    func testAgainstAModel() {
        var numbers = SystemRandomNumberGenerator()
        withLedger { ledger in
            var owed = Set<UInt64>()
            for _ in 0..<20_000 {
                let start = UInt64.random(in: 0..<200, using: &numbers)
                let end = start + UInt64.random(in: 1..<9, using: &numbers)
                if Bool.random(using: &numbers) {
                    ledger.owe(debt(start..<end, thread: start % 3))
                    owed.formUnion(start..<end)
                } else {
                    flush(ledger, start, end)
                    owed.subtract(start..<end)
                }
                let gfn = UInt64.random(in: 0..<210, using: &numbers)
                XCTAssertEqual(ledger.isOwed(0, gfn, gfn + 1), owed.contains(gfn))
            }
            XCTAssertEqual(ledger.merged, 0)
        }
    }

    /// More than there is room for: none is lost, and a flush of all pays all.
    func testWithoutRoomDebtsAreMerged() {
        withLedger { ledger in
            for gfn in 0..<3000 as Range<UInt64> { ledger.owe(debt(gfn * 3..<gfn * 3 + 1)) }
            XCTAssertGreaterThan(ledger.merged, 0)
            for gfn in 0..<3000 as Range<UInt64> { XCTAssertTrue(ledger.isOwed(0, gfn * 3, gfn * 3 + 1)) }
            flush(ledger, 0, 9000)
            XCTAssertNil(ledger.collect(nil, from: .bits))
        }
    }

    func testOperationsInOperations() {
        withLedger { ledger in
            XCTAssertNil(ledger.end(1))
            ledger.begin(1, nil, .faults)
            ledger.begin(2, nil, .none)
            ledger.begin(1, nil, .invalidates)
            XCTAssertEqual(ledger.whatDoes(1)?.duty, .invalidates, "the innermost")
            XCTAssertEqual(ledger.end(1)?.duty, .invalidates)
            XCTAssertEqual(ledger.whatDoes(1)?.duty, .faults)
            XCTAssertNotNil(ledger.end(1))
            XCTAssertNil(ledger.whatDoes(1))
            flush(ledger, 0, 1)
            XCTAssertNil(ledger.end(9))
            XCTAssertNotNil(ledger.end(2))
            for thread in 10..<100 as Range<UInt64> { ledger.begin(thread, nil, .none) }
            ledger.owe(debt(1..<2))
            ledger.beginFlush(200)
            ledger.endFlush(200, 0, 9)
            XCTAssertFalse(ledger.isOwed(0, 1, 2), "without room for the thread")
            for thread in 10..<100 as Range<UInt64> { XCTAssertEqual(ledger.end(thread) != nil, thread < 74) }
        }
    }

    // What a change owes --------------------------------------------------------

    private static let ept = SPTEMasks(vendor: .ept, maxPhysicalBits: 46, adDisabled: false)
    private static let npt = SPTEMasks(vendor: .npt, maxPhysicalBits: 46, adDisabled: false)
    private static let tracking = SPTEMasks(vendor: .ept, maxPhysicalBits: 46, adDisabled: true)

    private func leaf(_ masks: SPTEMasks, _ pfn: UInt64 = 0x1000, writable: Bool = true, level: Level = .page4K) -> SPTE {
        masks.usedLeaf(LeafRequest(
            gfn: GFN(0), pfn: PFN(pfn), level: level, old: .nonPresent, hostWritable: writable, prefetch: false))
    }

    private func kind(_ masks: SPTEMasks, _ old: SPTE, _ new: SPTE, _ level: Level = .page4K, pml: Bool = false) -> DebtKind? {
        SPTEChange(addressSpace: 0, gfn: GFN(0), level: level, old: old, new: new).debt(masks, logsByDirtyBits: pml)
    }

    func testWhatIsOwed() {
        for masks in [Self.ept, Self.npt, Self.tracking] {
            let page = leaf(masks), without = { (bits: UInt64) in SPTE(page.raw & ~bits) }
            XCTAssertNil(kind(masks, .nonPresent, page))
            XCTAssertNil(kind(masks, masks.mmio(GFN(0), generation: 5), page))
            XCTAssertNil(kind(masks, .frozen, page))
            XCTAssertNil(kind(masks, .frozen, .nonPresent))
            XCTAssertEqual(kind(masks, page, .nonPresent), .page)
            XCTAssertEqual(kind(masks, page, .frozen), .page)
            XCTAssertEqual(kind(masks, page, masks.mmio(GFN(0), generation: 5)), .page)
            XCTAssertEqual(kind(masks, page, leaf(masks, 0x2000)), .page)
            XCTAssertEqual(kind(masks, page, leaf(masks, writable: false)), .rights)
            XCTAssertEqual(kind(masks, page, without(SPTE.writable | masks.mmuWritable)), .rights)
            XCTAssertEqual(kind(masks, page, without(SPTE.writable)), .bits)
            XCTAssertNil(kind(masks, without(SPTE.writable), page))
            XCTAssertNil(kind(masks, page, masks.markForAccessTrack(page)))
            XCTAssertNil(kind(masks, masks.markForAccessTrack(page), page))
            let table = masks.table(at: 0x7000)
            XCTAssertEqual(kind(masks, table, .nonPresent, .page2M), .table)
            XCTAssertEqual(kind(masks, table, leaf(masks, level: .page2M), .page2M), .table)
            XCTAssertNil(kind(masks, .nonPresent, table, .page2M))
        }
        for masks in [Self.ept, Self.npt] {
            let page = leaf(masks), clean = SPTE(page.raw & ~masks.dirty)
            XCTAssertNil(kind(masks, page, clean))
            XCTAssertEqual(kind(masks, page, clean, pml: true), .bits)
            XCTAssertNil(kind(masks, page, SPTE(page.raw & ~masks.accessed), pml: true))
        }
        let huge = leaf(Self.npt, level: .page2M)
        XCTAssertEqual(kind(Self.npt, huge, SPTE(huge.raw | 1 << 63), .page2M), .rights)
        let executable = leaf(Self.ept, level: .page2M)
        XCTAssertEqual(kind(Self.ept, executable, SPTE(executable.raw & ~4), .page2M), .rights)
    }
}
