// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import RCU
import XCTest

@testable import MMU
@testable import PageTable

final class MemslotTests: XCTestCase {
    private func holder(_ fixture: Fixture, _ gfn: UInt64) -> Int {
        insideRCU { rcu in
            fixture.vm.slot(holding: GFN(gfn), addressSpace: 0, rcu).map { Int($0.pointee.id) } ?? -1
        }
    }

    /// Random slots against an array that says who holds each gfn.
    func testLookupsAndOverlapsEqualTheModel() {
        let fixture = Fixture()
        var random = SplitMix(seed: 3)
        var model = [Int](repeating: -1, count: 256)
        for _ in 0..<500 {
            let id = Int(random.next() % 12)
            if let first = model.firstIndex(of: id) {
                let pages = model.filter { $0 == id }.count
                if random.next() % 2 == 0 {
                    XCTAssertEqual(fixture.addSlot(UInt16(id), base: 0, pages: 0), .none)
                    model = model.map { $0 == id ? -1 : $0 }
                } else {
                    // Only the gpa changes: a move.
                    let to = Int(random.next() % UInt64(256 - pages))
                    let free = model[to..<to + pages].allSatisfy { $0 == -1 || $0 == id }
                    let result = fixture.vm.setSlot(SlotRequest(
                        id: UInt16(id), addressSpace: 0, base: GFN(UInt64(to)), pages: UInt64(pages),
                        userspaceAddress: (UInt64(origin[id]!) << 12) + (1 << 40), flags: 0))
                    XCTAssertEqual(result, free || to == first ? .none : .overlap)
                    if free {
                        model = model.map { $0 == id ? -1 : $0 }
                        for gfn in to..<to + pages { model[gfn] = id }
                    }
                }
            } else {
                let base = Int(random.next() % 240), pages = Int(random.next() % 16) + 1
                let free = model[base..<base + pages].allSatisfy { $0 == -1 }
                XCTAssertEqual(
                    fixture.addSlot(UInt16(id), base: UInt64(base), pages: UInt64(pages)), free ? .none : .overlap)
                if free {
                    origin[id] = base
                    for gfn in base..<base + pages { model[gfn] = id }
                }
            }
            for gfn in 0..<256 where holder(fixture, UInt64(gfn)) != model[gfn] {
                return XCTFail("gfn \(gfn)")
            }
        }
    }

    /// Where a slot was added: its userspace address stays when it moves.
    private var origin: [Int: Int] = [:]

    func testGenerationsMoveByTwoPerSwap() {
        let fixture = Fixture()
        XCTAssertEqual(fixture.vm.slotGeneration(0), 0)
        XCTAssertEqual(fixture.vm.slotGeneration(1), 1)
        XCTAssertEqual(fixture.addSlot(0, base: 0, pages: 16), .none)
        XCTAssertEqual(fixture.vm.slotGeneration(0), 2)
        XCTAssertEqual(fixture.addSlot(0, base: 0, pages: 16, flags: UInt32(KVM_MEM_LOG_DIRTY_PAGES)), .none)
        XCTAssertEqual(fixture.vm.slotGeneration(0), 4)
        XCTAssertEqual(fixture.addSlot(0, base: 0, pages: 16, flags: UInt32(KVM_MEM_LOG_DIRTY_PAGES)), .none)
        XCTAssertEqual(fixture.vm.slotGeneration(0), 4, "nothing changed")
        XCTAssertEqual(fixture.addSlot(0, base: 0, pages: 0), .none)
        XCTAssertEqual(fixture.vm.slotGeneration(0), 8, "deleting swaps twice")
        XCTAssertEqual(fixture.vm.slotGeneration(1), 1)
    }

    func testDeletingASlotInvalidatesItsMappings() {
        let fixture = Fixture()
        XCTAssertEqual(fixture.addSlot(0, base: 0, pages: 16), .none)
        XCTAssertEqual(fixture.fault(3), .fixed)
        XCTAssertEqual(fixture.addSlot(0, base: 0, pages: 0), .none)
        XCTAssertEqual(fixture.fault(3, pfn: PFN.noSlot.raw), .retry, "the root is invalid")
        XCTAssertEqual(fixture.vcpu.load(), .done)
        XCTAssertEqual(fixture.leaves, [:])
        XCTAssertEqual(fixture.fault(3, pfn: PFN.noSlot.raw), .emulate)
    }

    /// Alignment of guest and host, and the slot's ragged ends, decide the level.
    func testHugeLevelFromTheSlot() {
        let fixture = Fixture()
        // gfns 0x1f0..<0x810: whole 2M only at 0x200, 0x400 and 0x600.
        XCTAssertEqual(fixture.addSlot(0, base: 0x1f0, pages: 0x620), .none)
        for (gfn, level) in [(0x1f0, 1), (0x200, 2), (0x3ff, 2), (0x7ff, 2), (0x800, 1)] as [(UInt64, UInt64)] {
            XCTAssertEqual(fixture.fault(gfn, level: .page1G), .fixed)
            let first = level == 2 ? gfn & ~0x1ff : gfn
            XCTAssertEqual(fixture.leaves[first]?[1], level, "gfn \(gfn)")
            fixture.zapLeafs(gfn, gfn + 1)
        }
        // The host's pages are out of step with the guest's.
        XCTAssertEqual(fixture.fault(0x200, pfn: 0x201, level: .page2M), .fixed)
        XCTAssertEqual(fixture.leaves[0x200], [0x201, 1])
    }
}
