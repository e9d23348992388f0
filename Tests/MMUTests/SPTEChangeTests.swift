// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import XCTest

@testable import MMU
@testable import PageTable

/// Which changes the one choke point lets through.
final class SPTEChangeTests: XCTestCase {
    private let masks = SPTEMasks(vendor: .npt, maxPhysicalBits: 40, adDisabled: false)

    private func isLegal(_ old: SPTE, _ new: SPTE, _ level: Level) -> Bool {
        SPTEChange(addressSpace: 0, gfn: GFN(0), level: level, old: old, new: new).fault(masks) == nil
    }

    private func leaf(_ pfn: UInt64, _ level: Level, writable: Bool = true) -> SPTE {
        masks.leaf(LeafRequest(
            gfn: GFN(0), pfn: PFN(pfn), level: level, old: .nonPresent, hostWritable: writable, prefetch: false))
    }

    /// Rows are old values, columns new ones; the same table at 4K and at 2M.
    func testTransitionTable() {
        for level in [Level.page4K, .page2M] {
            let here = leaf(0x200, level), readOnly = leaf(0x200, level, writable: false)
            let other = leaf(0x400, level), mmio = masks.mmio(GFN(0), generation: 2)
            let names = ["nothing", "frozen", "MMIO", "leaf", "read-only leaf", "other leaf"]
            let values = [SPTE.nonPresent, .frozen, mmio, here, readOnly, other]
            let legal = [
                "nothing": [false, true, true, true, true, true],
                "frozen": [true, true, true, true, true, true],
                "MMIO": [true, true, true, true, true, true],
                "leaf": [true, true, true, true, true, false],
                "read-only leaf": [true, true, true, true, true, false],
                "other leaf": [true, true, true, false, false, true],
            ]
            for (i, old) in values.enumerated() {
                for (j, new) in values.enumerated() {
                    XCTAssertEqual(isLegal(old, new, level), legal[names[i]]![j],
                                   "\(names[i]) -> \(names[j]) at level \(level.raw)")
                }
            }
        }
    }

    func testTables() {
        let table = masks.table(at: 0x5000), other = masks.table(at: 0x6000)
        XCTAssertTrue(isLegal(.nonPresent, table, .page2M))
        XCTAssertTrue(isLegal(leaf(0x200, .page2M), table, .page2M), "a split")
        XCTAssertTrue(isLegal(table, leaf(0x200, .page2M), .page2M), "a collapse")
        XCTAssertTrue(isLegal(table, .nonPresent, .page2M))
        XCTAssertFalse(isLegal(table, other, .page2M))
    }

    func testLeavesThatCannotBe() {
        XCTAssertFalse(isLegal(.nonPresent, SPTE(leaf(0, .page1G).raw), Level(4)), "512G")
        XCTAssertFalse(isLegal(.nonPresent, SPTE(0x825 | SPTE.writable), .page4K), "W without MMU-writable")
        XCTAssertFalse(isLegal(.nonPresent, SPTE(0x825 | masks.mmuWritable), .page4K), "MMU- without host-writable")
    }

    /// A refused change leaves the entry alone and says so.
    func testARefusedChangeIsNotMade() {
        let fixture = Fixture()
        XCTAssertEqual(fixture.addSlot(0, base: 0, pages: 512), .none)
        XCTAssertEqual(fixture.fault(5), .fixed)
        let before = fixture.leaves
        let changes = fixture.log.changes.count
        fixture.writeLocked {
            var iter = tdp_iter(root: fixture.root, minLevel: .page4K, from: GFN(5))
            while iter.level > 1 { iter.next() }
            let result = Actor(fixture.vm, .exclusive).set(&iter, leaf(77, .page4K))
            XCTAssertEqual(result, .refused)
        }
        XCTAssertEqual(fixture.leaves, before)
        XCTAssertEqual(fixture.log.changes.count, changes)
        XCTAssertEqual(fixture.log.warnings, ["a present leaf may not change its pfn in one step"])
        fixture.log.warnings = []
    }
}
