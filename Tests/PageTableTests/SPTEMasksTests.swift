// SPDX-License-Identifier: GPL-2.0-only
import XCTest

@testable import PageTable

final class SPTEMasksTests: XCTestCase {
    private static let ept = SPTEMasks(vendor: .ept, maxPhysicalBits: 46, adDisabled: false)
    private static let eptNoAD = SPTEMasks(vendor: .ept, maxPhysicalBits: 46, adDisabled: true)
    private static let npt = SPTEMasks(vendor: .npt, maxPhysicalBits: 40, adDisabled: false)
    private static let l1tf = SPTEMasks(vendor: .ept, maxPhysicalBits: 46, adDisabled: false, l1tfCacheBits: 44)
    private static let all: [(String, SPTEMasks)] = [
        ("EPT", ept), ("EPT without A/D", eptNoAD), ("EPT with L1TF", l1tf), ("NPT", npt),
    ]

    private func leaf(
        _ masks: SPTEMasks, _ level: Level, pfn: UInt64 = 0, old: SPTE = .nonPresent,
        writable: Bool = true, prefetch: Bool = false
    ) -> UInt64 {
        masks.leaf(LeafRequest(
            gfn: GFN(0), pfn: PFN(pfn), level: level, old: old, hostWritable: writable, prefetch: prefetch)).raw
    }

    /// The values seen in traces of a real kernel on AMD.
    func testNPTLeavesAreTheKernels() {
        let masks = Self.npt
        XCTAssertEqual(leaf(masks, .page4K, pfn: 0x103220), 0x1_0322_0e67)
        XCTAssertEqual(leaf(masks, .page2M, pfn: 0x12ac00), 0x1_2ac0_0ee7)
        XCTAssertEqual(leaf(masks, .page4K, pfn: 0x3738, writable: false), 0x373_8825)
        XCTAssertEqual(leaf(masks, .page2M, writable: false), 0x8a5)
        XCTAssertEqual(masks.table(at: 0x1_29ff_a000).raw, 0x1_29ff_a827)
    }

    /// What 6.12 does when the old value has bit 1: no Dirty bit, be it a
    /// writable leaf or a stale MMIO SPTE.
    func testDirtyIsLeftOutOverAWritableOldValue() {
        XCTAssertEqual(leaf(Self.npt, .page4K, old: SPTE(0xe67)), 0xe27)
        let stale = Self.npt.mmio(GFN(0x40000), generation: 10)
        XCTAssertEqual(stale.raw, 0x8000_0400_00057)
        XCTAssertEqual(leaf(Self.npt, .page4K, pfn: 0x102e7d, old: stale), 0x1_02e7_de27)
        XCTAssertEqual(leaf(Self.npt, .page2M, old: SPTE(0x5827)), 0xee7, "a table is no leaf")
    }

    /// By the bits of the tables in the Intel manual and in Linux.
    func testEPTLeaves() {
        let base: UInt64 = 1 << 63 | 1 << 11 | 6 << 3 | 1 << 6
        let hostAndMMUWritable: UInt64 = 1 << 57 | 1 << 58
        XCTAssertEqual(leaf(Self.ept, .page4K), base | hostAndMMUWritable | 7 | 1 << 8 | 1 << 9)
        XCTAssertEqual(leaf(Self.ept, .page1G), base | hostAndMMUWritable | 7 | 1 << 7 | 1 << 8 | 1 << 9)
        XCTAssertEqual(leaf(Self.ept, .page4K, writable: false), base | 5 | 1 << 8)
        XCTAssertEqual(leaf(Self.eptNoAD, .page4K), base | hostAndMMUWritable | 7 | 1 << 52)
        XCTAssertEqual(Self.ept.table(at: 0x5000).raw, 0x5000 | 1 << 63 | 1 << 11 | 7 | 1 << 8)
        XCTAssertEqual(Self.eptNoAD.table(at: 0x5000).raw, 0x5000 | 1 << 63 | 1 << 11 | 7 | 1 << 52)
    }

    func testEveryLeafReadsBackAsItWasAsked() {
        for (name, masks) in Self.all {
            for level in [Level.page4K, .page2M, .page1G] {
                for writable in [false, true] {
                    for prefetch in [false, true] {
                        let pfn = PFN(0x3_4567_8000 & masks40)
                        let spte = masks.leaf(LeafRequest(
                            gfn: GFN(0), pfn: pfn, level: level, old: .nonPresent,
                            hostWritable: writable, prefetch: prefetch))
                        let what = "\(name) level \(level.raw) writable \(writable) prefetch \(prefetch)"
                        XCTAssertTrue(spte.isLeaf(at: level), what)
                        XCTAssertFalse(spte.isTable(at: level), what)
                        XCTAssertEqual(spte.pfn, pfn, what)
                        XCTAssertTrue(masks.writableBitsAgree(spte), what)
                        XCTAssertFalse(masks.isMMIO(spte), what)
                        XCTAssertEqual(masks.isAccessed(spte), !prefetch, what)
                        if !masks.isAccessTracked(spte) {
                            XCTAssertEqual(spte.isWritable, writable, what)
                            XCTAssertTrue(masks.isExecutable(spte), what)
                            XCTAssertEqual(masks.isDirty(spte), writable, what)
                        }
                    }
                }
            }
        }
    }

    private var masks40: UInt64 { (1 << 28) - 1 }

    func testMMIOKeepsGenerationAndGFN() {
        for (name, masks) in Self.all {
            for gfn in [UInt64(0), 1, 0xa000000, 0xfffffff] {
                for generation in [UInt64(0), 1, 0xff, 0x100, 0x7ff00, 0x7ffff] {
                    let spte = masks.mmio(GFN(gfn), generation: generation)
                    XCTAssertTrue(masks.isMMIO(spte), name)
                    XCTAssertFalse(spte.isPresent, name)
                    XCTAssertEqual(spte.mmioGeneration, generation, name)
                    XCTAssertEqual(masks.mmioGFN(spte).raw, gfn, name)
                }
            }
            for other in [SPTE.nonPresent, .frozen, masks.table(at: 0x1000)] {
                XCTAssertFalse(masks.isMMIO(other), name)
            }
        }
        XCTAssertEqual(Self.npt.mmio(GFN(0xa000000), generation: 0x10).raw, 0x800a_0000_00087)
        // Bits 39 to 43 are inverted, the gpa's own bits 39 to 43 stand at 44 to 48.
        XCTAssertEqual(Self.l1tf.mmio(GFN(1 << 27 | 5), generation: 0).raw, 0x1f << 39 | 1 << 44 | 5 << 12 | 6)
        // Bit 51 is an address bit there: nothing may claim it.
        XCTAssertFalse(SPTEMasks(vendor: .npt, maxPhysicalBits: 52, adDisabled: false).cachesMMIO)
    }

    func testSplittingChangesAddressesAndNothingElse() {
        for (name, masks) in Self.all {
            for level in [Level.page2M, .page1G] {
                let huge = SPTE(leaf(masks, level, pfn: 0x80000))
                for index in [0, 1, 255, 511] {
                    let child = masks.splitChild(of: huge, at: level, executable: false).sibling(index, at: level.below)
                    XCTAssertEqual(child.pfn.raw, 0x80000 + UInt64(index) * level.below.pages, name)
                    XCTAssertTrue(child.isLeaf(at: level.below), name)
                    let flags = ~(SPTE.addressMask | SPTE.pageSize)
                    XCTAssertEqual(child.raw & flags, huge.raw & flags, name)
                    XCTAssertEqual(child.isLarge, level == .page1G, name)
                }
            }
        }
    }

    func testAccessTrackingRemembersPermissions() {
        let spte = SPTE(leaf(Self.eptNoAD, .page4K))
        let tracked = Self.eptNoAD.markForAccessTrack(spte)
        XCTAssertEqual(tracked.raw & 7, 0)
        XCTAssertEqual(tracked.raw >> 54 & 7, 5, "R and X, never W")
        XCTAssertFalse(Self.eptNoAD.isAccessed(tracked))
        XCTAssertEqual(Self.eptNoAD.markForAccessTrack(tracked), tracked)
        XCTAssertTrue(Self.eptNoAD.hasVolatileBits(tracked))
    }

    /// A row's entries are volatile all or none, if they agree in these bits with one of them.
    func testVolatilityBitsSayAll() {
        var random = SystemRandomNumberGenerator()
        for (name, masks) in Self.all {
            var seen = Set<Bool>()
            for _ in 0..<20_000 {
                let one = SPTE(UInt64.random(in: 0...UInt64.max, using: &random))
                let bits = masks.volatilityBits
                let other = SPTE(one.raw & bits | UInt64.random(in: 0...UInt64.max, using: &random) & ~bits)
                XCTAssertEqual(masks.hasVolatileBits(one), masks.hasVolatileBits(other), "\(name) \(one.raw) \(other.raw)")
                seen.insert(masks.hasVolatileBits(one))
            }
            XCTAssertEqual(seen, [false, true], name)
        }
    }

    func testVolatileBits() {
        let npt = Self.npt
        XCTAssertFalse(npt.hasVolatileBits(SPTE(0xe67)), "nothing left to set")
        XCTAssertTrue(npt.hasVolatileBits(SPTE(0xe27)), "writable, not dirty")
        XCTAssertTrue(npt.hasVolatileBits(SPTE(0xe65)), "a fast fault may make it writable")
        XCTAssertTrue(npt.hasVolatileBits(SPTE(0x805)), "not accessed")
        XCTAssertFalse(npt.hasVolatileBits(SPTE(0x825)))
        XCTAssertFalse(npt.hasVolatileBits(.nonPresent))
        XCTAssertFalse(npt.hasVolatileBits(.frozen))
    }

    func testWritableBits() {
        let host = Self.npt.hostWritable, mmu = Self.npt.mmuWritable, w = SPTE.writable
        let legal: Set<UInt64> = [0, host, host | mmu, host | mmu | w]
        for bits in [0, host, mmu, w, host | mmu, host | w, mmu | w, host | mmu | w] {
            XCTAssertEqual(Self.npt.writableBitsAgree(SPTE(0x825 | bits)), legal.contains(bits))
        }
    }
}
