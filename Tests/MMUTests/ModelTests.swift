// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import XCTest

@testable import MMU
@testable import PageTable

/// Random operations against a dictionary that knows no tables.
final class ModelTests: XCTestCase {
    /// Per 4K page what is mapped there, through a leaf of which level.
    struct Model {
        var pages: [UInt64: (pfn: UInt64, level: Level)] = [:]

        mutating func map(_ gfn: UInt64, _ level: Level) {
            let first = GFN(gfn).rounded(to: level).raw
            if let old = pages[gfn], old.level > level { split(gfn, old.level, to: level) }
            for page in first..<first + level.pages { pages[page] = (page, level) }
        }

        /// A huge leaf becomes leaves of the next level, down to `level`.
        private mutating func split(_ gfn: UInt64, _ from: Level, to level: Level) {
            var here = from
            while here > level {
                let first = GFN(gfn).rounded(to: here).raw
                for page in first..<first + here.pages { pages[page]?.level = here.below }
                here = here.below
            }
        }

        /// Was anything there?
        @discardableResult
        mutating func zap(_ start: UInt64, _ end: UInt64) -> Bool {
            let before = pages.count
            for gfn in start..<end {
                guard let old = pages[gfn] else { continue }
                let first = GFN(gfn).rounded(to: old.level).raw
                for page in first..<first + old.level.pages { pages[page] = nil }
            }
            return pages.count != before
        }

        var leaves: [UInt64: [UInt64]] {
            var result: [UInt64: [UInt64]] = [:]
            for (gfn, page) in pages where GFN(gfn).rounded(to: page.level).raw == gfn {
                result[gfn] = [page.pfn, UInt64(page.level.raw)]
            }
            return result
        }
    }

    private func run(seed: UInt64, vendor: Vendor, rootLevel: Int32, yields: Bool) {
        let fixture = Fixture(vendor: vendor, rootLevel: rootLevel)
        fixture.log.alwaysYield = yields
        let base: UInt64 = 0x40000, pages: UInt64 = 0x2000
        XCTAssertEqual(fixture.addSlot(1, base: base, pages: pages), .none)
        var model = Model()
        var random = SplitMix(seed: seed)
        for step in 0..<400 {
            let gfn = base + random.next() % pages
            let what = "seed \(seed) step \(step)"
            switch random.next() % 8 {
            case 0..<5:
                let level = random.next() % 3 == 0 ? Level.page2M : .page4K
                let result = fixture.fault(gfn, level: level)
                XCTAssertTrue([.fixed, .spurious].contains(result), what)
                model.map(gfn, level)
            case 5:
                let end = gfn + random.next() % 0x600
                let isOwed = fixture.zapLeafs(gfn, end), hasGone = model.zap(gfn, end)
                // A walk that gives way has paid for what it did before.
                XCTAssertTrue(yields ? hasGone || !isOwed : hasGone == isOwed, what)
            case 6:
                let end = gfn + random.next() % 0x600
                fixture.zapRange(gfn, end)
                model.zap(gfn, end)
            default:
                let end = min(gfn + random.next() % 0x300, base + pages)
                fixture.unmap(gfn, end)
                model.zap(gfn, end)
            }
            if step % 20 == 19 {
                XCTAssertEqual(fixture.leaves, model.leaves, what)
                XCTAssertEqual(fixture.vm.total(.pages4K), Int64(model.leaves.values.filter { $0[1] == 1 }.count))
                XCTAssertEqual(fixture.vm.total(.pages2M), Int64(model.leaves.values.filter { $0[1] == 2 }.count))
            }
        }
        fixture.vm.zapAllFast()
        XCTAssertEqual(fixture.vcpu.load(), .done)
        XCTAssertEqual(fixture.leaves, [:])
        XCTAssertEqual(fixture.vm.total(.pages4K) + fixture.vm.total(.pages2M), 0)
    }

    func testRandomOperationsEqualTheModel() {
        for seed in 1...4 as ClosedRange<UInt64> {
            run(seed: seed, vendor: seed % 2 == 0 ? .ept : .npt, rootLevel: seed < 3 ? 4 : 5, yields: false)
        }
    }

    func testYieldingEverywhereChangesNothing() {
        for seed in 1...4 as ClosedRange<UInt64> {
            run(seed: seed, vendor: seed % 2 == 0 ? .ept : .npt, rootLevel: seed < 3 ? 4 : 5, yields: true)
        }
    }
}
