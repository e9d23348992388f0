// SPDX-License-Identifier: GPL-2.0-only
import XCTest

@testable import PageTable

/// The table of transitions against what is refused before it is written, over all kinds and machines.
final class SPTETransitionTests: XCTestCase {
    private static let machines: [(String, SPTEMasks)] = [
        ("EPT", SPTEMasks(vendor: .ept, maxPhysicalBits: 46, adDisabled: false)),
        ("EPT without A/D", SPTEMasks(vendor: .ept, maxPhysicalBits: 46, adDisabled: true)),
        ("NPT", SPTEMasks(vendor: .npt, maxPhysicalBits: 46, adDisabled: false)),
    ]

    /// An entry of a kind; nil where the machine has none.
    private func entry(_ kind: SPTEKind, _ pfn: UInt64, _ level: Level, _ masks: SPTEMasks) -> SPTE? {
        let used = masks.usedLeaf(LeafRequest(
            gfn: GFN(0), pfn: PFN(pfn), level: level, old: .nonPresent, hostWritable: true, prefetch: false))
        let readOnly = SPTE(used.raw & ~(SPTE.writable | masks.mmuWritable | masks.hostWritable | masks.dirty))
        func tracked(_ spte: SPTE) -> SPTE? { masks.accessed == 0 ? masks.markForAccessTrack(spte) : nil }
        switch kind {
        case .none: return .nonPresent
        case .frozen: return .frozen
        case .mmio: return masks.mmio(GFN(pfn), generation: 4)
        case .table: return level > .page4K ? masks.table(at: pfn << 12) : nil
        case .leaf111: return used
        case .leaf110: return SPTE(used.raw & ~SPTE.writable)
        case .leaf100: return SPTE(used.raw & ~(SPTE.writable | masks.mmuWritable))
        case .leaf000: return readOnly
        case .tracked110: return tracked(used)
        case .tracked100: return tracked(SPTE(used.raw & ~(SPTE.writable | masks.mmuWritable)))
        case .tracked000: return tracked(readOnly)
        }
    }

    private func forEachPair(
        otherPage: Bool, _ body: (SPTEKind, SPTEKind, SPTEChange, SPTEMasks, String) -> Void
    ) {
        var pairs = 0
        for (name, masks) in Self.machines {
            for level in [Level.page4K, .page2M, .page1G] {
                for old in SPTEKind.allCases {
                    for new in SPTEKind.allCases {
                        guard let from = entry(old, 1 << 18, level, masks),
                              let to = entry(new, otherPage ? 2 << 18 : 1 << 18, level, masks) else { continue }
                        let change = SPTEChange(addressSpace: 0, gfn: GFN(0), level: level, old: from, new: to)
                        pairs += 1
                        body(old, new, change, masks, "\(name), level \(level.raw): \(old) -> \(new)")
                    }
                }
            }
        }
        XCTAssertGreaterThan(pairs, 600)
    }

    func testEachKindIsFound() {
        forEachPair(otherPage: false) { old, new, change, masks, text in
            XCTAssertEqual(SPTEKind(change.old, at: change.level, masks), old, text)
            XCTAssertEqual(SPTEKind(change.new, at: change.level, masks), new, text)
        }
    }

    /// What the table calls refused is, and nothing else of the same page.
    func testTableIsWhatIsRefused() {
        forEachPair(otherPage: false) { old, new, change, masks, text in
            let isRefused = SPTETransitions.letter(old, new) == UInt8(ascii: ".")
            XCTAssertEqual(change.violation(masks) != nil, isRefused, text)
        }
    }

    /// From page to page in one step: refused, and found, but where one of the two is no leaf, or no table.
    func testOtherPages() {
        forEachPair(otherPage: true) { old, new, change, masks, text in
            let isSameSort = old.rawValue >= 3 && new.rawValue >= 3 && (old == .table) == (new == .table)
            if isSameSort {
                XCTAssertNotNil(change.violation(masks), text)
                XCTAssertTrue(change.breach(by: [.exclusive, .shared, .lockless, .cpu], masks), text)
            }
        }
    }

    /// The CPU's column: an entry that stays what it is and may be used.
    func testCPU() {
        for (name, masks) in Self.machines where masks.accessed != 0 {
            for kind in SPTEKind.allCases {
                guard let spte = entry(kind, 1 << 18, .page2M, masks) else { continue }
                let old = SPTE(spte.raw & ~masks.accessed), new = SPTE(spte.raw | masks.accessed)
                let change = SPTEChange(addressSpace: 0, gfn: GFN(0), level: .page2M, old: old, new: new)
                let mayBe = SPTEChangers.of(kind, kind).contains(.cpu)
                XCTAssertEqual(spte.isPresent && change.violationByCPU(masks) == nil, mayBe, "\(name): \(kind)")
            }
        }
    }

    func testWhoMay() {
        let masks = Self.machines[1].1
        func breach(_ old: SPTEKind, _ new: SPTEKind, _ who: SPTEChangers) -> Bool {
            SPTEChange(addressSpace: 0, gfn: GFN(0), level: .page4K, old: entry(old, 512, .page4K, masks)!,
                       new: entry(new, 512, .page4K, masks)!).breach(by: who, masks)
        }
        XCTAssertFalse(breach(.leaf111, .leaf100, .exclusive), "a gfn is write-protected")
        XCTAssertTrue(breach(.leaf111, .leaf100, .shared), "not without the lock for write")
        XCTAssertFalse(breach(.tracked110, .leaf111, .lockless), "a fast fault")
        XCTAssertTrue(breach(.tracked100, .tracked110, .lockless), "nobody gives MMU-writable back")
        XCTAssertTrue(breach(.frozen, .leaf111, .shared), "frozen is left by way of nothing")
        XCTAssertTrue(breach(.none, .leaf100, .exclusive))
    }

    // MARK: Bits of leaves

    func testLeavesThatAreMadeHaveNoFlaw() {
        for (name, masks) in Self.machines {
            for level in [Level.page4K, .page2M, .page1G] {
                for kind in SPTEKind.allCases.suffix(7) {
                    guard let leaf = entry(kind, 1 << 18, level, masks) else { continue }
                    XCTAssertNil(masks.flaw(ofLeaf: leaf, at: level, noExecuteHuge: false), "\(name) \(kind) \(level.raw)")
                }
            }
        }
    }

    /// Each bit turned round is a flaw, but for A and D, the address, and W where MMU-writable is set.
    func testEachBitOfALeaf() {
        for (name, masks) in Self.machines {
            for level in [Level.page4K, .page2M] {
                for kind in [SPTEKind.leaf111, .leaf000] {
                    let leaf = entry(kind, 1 << 18, level, masks)!
                    let free = masks.accessed | masks.dirty | SPTE.addressMask
                        | (kind == .leaf111 ? SPTE.writable : masks.hostWritable)
                    for bit in 0..<64 {
                        let turned = SPTE(leaf.raw ^ 1 << UInt64(bit))
                        let isFree = free & 1 << UInt64(bit) != 0
                        XCTAssertEqual(masks.flaw(ofLeaf: turned, at: level, noExecuteHuge: false) == nil, isFree,
                                       "\(name) \(kind) level \(level.raw) bit \(bit)")
                    }
                }
            }
        }
    }
}
