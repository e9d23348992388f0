// SPDX-License-Identifier: GPL-2.0-only
import XCTest

@testable import PageTable

/// Which changes are let through, which are of bits alone, and which take something from the CPUs.
final class SPTEChangeTests: XCTestCase {
    private let masks = SPTEMasks(vendor: .npt, maxPhysicalBits: 40, adDisabled: false)

    private func isLegal(_ old: SPTE, _ new: SPTE, _ level: Level) -> Bool {
        SPTEChange(addressSpace: 0, gfn: GFN(0), level: level, old: old, new: new).violation(masks) == nil
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

    // MARK: What a change is

    private static let machines: [(String, SPTEMasks)] = [
        ("NPT", SPTEMasks(vendor: .npt, maxPhysicalBits: 40, adDisabled: false)),
        ("EPT", SPTEMasks(vendor: .ept, maxPhysicalBits: 46, adDisabled: false)),
        ("EPT without A/D", SPTEMasks(vendor: .ept, maxPhysicalBits: 46, adDisabled: true)),
    ]

    private func leaf(_ masks: SPTEMasks, _ level: Level, pfn: UInt64 = 0x200, writable: Bool = true) -> SPTE {
        masks.leaf(LeafRequest(
            gfn: GFN(0), pfn: PFN(pfn), level: level, old: .nonPresent, hostWritable: writable, prefetch: false))
    }

    private func change(_ old: SPTE, _ new: SPTE, _ level: Level) -> SPTEChange {
        SPTEChange(addressSpace: 0, gfn: GFN(0), level: level, old: old, new: new)
    }

    /// Row by row: what aging, dirty logs, faults, zaps and splits do.
    func testWhatIsOfBitsAndWhatTakesAway() {
        for (name, masks) in Self.machines {
            let all = leaf(masks, .page2M), tracked = masks.markForAccessTrack(all)
            let protected = SPTE(all.raw & ~SPTE.writable)
            let unlogged = SPTE(protected.raw & ~masks.mmuWritable)
            let table = masks.table(at: 0x5000)
            let hasAD = masks.accessed != 0
            let rows: [(String, SPTE, SPTE, ofBits: Bool, takesAway: Bool)] = [
                ("nothing changes", all, all, true, false),
                ("Accessed goes, or R, W and X with it", all, tracked, hasAD, !hasAD),
                ("Accessed comes", tracked, all, hasAD, false),
                ("Dirty goes", all, SPTE(all.raw & ~masks.dirty), true, hasAD),
                ("Dirty comes", SPTE(all.raw & ~masks.dirty), all, true, false),
                ("W goes", all, protected, true, true),
                ("W comes", protected, all, false, false),
                ("W goes and Accessed comes", SPTE(all.raw & ~masks.accessed), protected, true, true),
                ("W and MMU-writable go", all, unlogged, false, true),
                ("MMU-writable goes", protected, unlogged, false, false),
                ("the page goes", all, .nonPresent, false, true),
                ("the page is frozen", all, .frozen, false, true),
                ("another page", all, leaf(masks, .page2M, pfn: 0x400), false, true),
                ("a page comes", .nonPresent, all, false, false),
                ("a page comes to a frozen entry", .frozen, all, false, false),
                ("MMIO goes", masks.mmio(GFN(0), generation: 2), all, false, false),
                ("X goes", all, masks.hugeLeaf(from: all, at: .page2M, executable: false), false, true),
                ("a split, which says itself that it takes nothing", all, table, false, true),
                ("a table comes", .nonPresent, table, false, false),
                ("a table goes", table, .nonPresent, false, true),
                ("a page in a table's place", table, all, false, true),
            ]
            for (what, old, new, ofBits, takesAway) in rows {
                let change = change(old, new, .page2M)
                XCTAssertEqual(change.isOfBits(masks), ofBits, "\(name): \(what)")
                XCTAssertEqual(change.takesAway(masks), takesAway, "\(name): \(what)")
                XCTAssertEqual(change.removesTable, old == table && new != table, "\(name): \(what)")
            }
        }
    }

    /// Every pair of leaves that differ in any of the bits that mean something, against what the
    /// bits mean: a CPU loses what it could do through the one and cannot through the other.
    func testTakesAwayEqualsTheRights() {
        for (name, masks) in Self.machines {
            let bits = [1, SPTE.writable, 4, masks.accessed, masks.dirty, masks.mmuWritable].filter { $0 != 0 }
            let base = leaf(masks, .page4K)
            let values = (0..<1 << bits.count).map { chosen in
                SPTE(bits.enumerated().reduce(base.raw) { chosen >> $1.offset & 1 == 0 ? $0 & ~$1.element : $0 })
            }
            for old in values {
                for new in values {
                    let change = change(old, new, .page4K)
                    let lost = rights(old, masks).subtracting(rights(new, masks))
                    XCTAssertEqual(change.takesAway(masks), !lost.isEmpty, "\(name) \(old) -> \(new)")
                    if change.isOfBits(masks) {
                        XCTAssertNil(change.violation(masks), "\(name): of bits, and legal \(old) -> \(new)")
                        XCTAssertFalse(new.isWritable && !old.isWritable, "\(name): W never comes so")
                    }
                }
            }
        }
    }

    private func rights(_ spte: SPTE, _ masks: SPTEMasks) -> Set<String> {
        var rights: Set<String> = []
        if masks.isReadable(spte) { rights.insert("R") }
        if spte.isWritable { rights.insert("W") }
        if masks.isExecutable(spte) { rights.insert("X") }
        if spte.raw & masks.dirty != 0 { rights.insert("D") }
        return rights
    }

    /// The walker of a CPU sets Accessed and Dirty where they are not set.  Nothing else is its doing.
    func testWhatACPUMayDo() {
        for (name, masks) in Self.machines where masks.accessed != 0 {
            let all = leaf(masks, .page4K), table = masks.table(at: 0x5000)
            let clean = SPTE(all.raw & ~(masks.accessed | masks.dirty))
            func isLegal(_ old: SPTE, _ new: SPTE) -> Bool { change(old, new, .page4K).violationByCPU(masks) == nil }
            XCTAssertTrue(isLegal(clean, all), name)
            XCTAssertTrue(isLegal(clean, SPTE(clean.raw | masks.accessed)), name)
            XCTAssertTrue(isLegal(clean, SPTE(clean.raw | masks.dirty)), name)
            XCTAssertTrue(isLegal(all, all), name)
            XCTAssertTrue(isLegal(SPTE(table.raw & ~masks.accessed), table), name)
            XCTAssertFalse(isLegal(all, clean), name)
            XCTAssertFalse(isLegal(all, SPTE(all.raw & ~masks.accessed)), name)
            XCTAssertFalse(isLegal(SPTE(all.raw & ~SPTE.writable), all), name)
            XCTAssertFalse(isLegal(clean, SPTE(clean.raw | masks.accessed | 1 << 12)), name)
            XCTAssertFalse(isLegal(.nonPresent, all), name)
            XCTAssertFalse(isLegal(.nonPresent, SPTE(SPTE.nonPresent.raw | masks.accessed)), name)
        }
    }
}
