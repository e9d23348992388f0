// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import RCU
import XCTest

@testable import PageTable

/// The walk against a plain model: a tree of dictionaries that knows no iterator.
final class TDPIteratorTests: XCTestCase {
    /// What the walk must visit: level, gfn and value, in order.
    struct Visited: Equatable {
        var level: Int32
        var gfn: UInt64
        var spte: UInt64
    }

    /// A paging structure built by hand, and taken apart at the end.
    final class Tree {
        let masks = SPTEMasks(vendor: .npt, maxPhysicalBits: 46, adDisabled: false)
        var tables: [Table] = []
        let root: Table

        init(rootLevel: Level) {
            let role = Role(rootLevel: rootLevel, addressSpace: 0, adDisabled: false)
            root = Tree.take(role, GFN(0), nil)
            tables = [root]
        }

        static func take(_ role: Role, _ gfn: GFN, _ parent: SPTESlot?) -> Table {
            UnlinkedTable(TableArena.take(count: 1)!, owner: 1, role: role, gfn: gfn, parent: parent).linked()
        }

        /// The table at a level that covers gfn, linked in if it is missing.
        func table(at level: Level, for gfn: GFN, _ rcu: borrowing InsideRCU) -> Table {
            var here = root
            while here.level > level {
                let slot = here[gfn.index(at: here.level)]
                if !slot.load(rcu).isTable(at: here.level) {
                    let child = Tree.take(here.role.child, gfn.rounded(to: here.level), slot)
                    tables.append(child)
                    slot.poke(masks.table(at: child.address))
                }
                here = Table(child: slot.load(rcu), rcu)
            }
            return here
        }

        func setLeaf(_ gfn: GFN, _ level: Level) {
            insideRCU { rcu in
                let slot = table(at: level, for: gfn, rcu)[gfn.index(at: level)]
                guard !slot.load(rcu).isTable(at: level) else { return }
                slot.poke(masks.leaf(LeafRequest(
                    gfn: gfn, pfn: PFN(gfn.rounded(to: level).raw & 0xfffffff), level: level, old: .nonPresent,
                    hostWritable: true, prefetch: false)))
            }
        }

        deinit {
            for table in tables {
                table.retire()
                TableArena.give(table)
            }
        }

        /// Entries in pre-order, restricted to what a walk of [start, end) sees.
        func model(minLevel: Level, start: GFN, end: GFN) -> [Visited] {
            var result: [Visited] = []
            insideRCU { rcu in visit(root, GFN(0), minLevel, start, end, &result, rcu) }
            return result
        }

        private func visit(
            _ table: Table, _ base: GFN, _ minLevel: Level, _ start: GFN, _ end: GFN, _ result: inout [Visited],
            _ rcu: borrowing InsideRCU
        ) {
            let level = table.level
            for index in 0..<512 {
                let gfn = base + UInt64(index) * level.pages
                guard gfn + level.pages > start, gfn < end else { continue }
                let spte = table[index].load(rcu)
                result.append(Visited(level: level.raw, gfn: gfn.raw, spte: spte.raw))
                if spte.isTable(at: level) && level > minLevel {
                    visit(Table(child: spte, rcu), gfn, minLevel, start, end, &result, rcu)
                }
            }
        }
    }

    private func walk(_ tree: Tree, minLevel: Level, start: GFN, end: GFN) -> [Visited] {
        var result: [Visited] = []
        insideRCU { rcu in
            var iter = tdp_iter(root: tree.root, minLevel: minLevel, from: start, rcu)
            while iter.valid && iter.atGFN < end {
                result.append(Visited(level: iter.level, gfn: iter.gfn, spte: iter.old_spte))
                iter.next(rcu)
            }
        }
        return result
    }

    private func randomTree(_ random: inout SplitMix, rootLevel: Level) -> Tree {
        let tree = Tree(rootLevel: rootLevel)
        let span = UInt64(1) << (rootLevel.raw == 4 ? 36 : 40)
        // Few clusters, so that tables get several entries.
        let bases = (0..<4).map { _ in random.next() % span & ~0x3ffff }
        for _ in 0..<60 {
            let level = Level(Int32(random.next() % 3) + 1)
            let gfn = GFN(bases[Int(random.next() % 4)] + random.next() % 0x80000).rounded(to: level)
            if gfn.raw < span { tree.setLeaf(gfn, level) }
        }
        return tree
    }

    func testWalksEqualTheModel() {
        var random = SplitMix(seed: 20210202)
        for round in 0..<30 {
            let rootLevel = Level(round % 2 == 0 ? 4 : 5)
            let tree = randomTree(&random, rootLevel: rootLevel)
            let limit = rootLevel.raw == 4 ? UInt64(1) << 36 : UInt64(1) << 40
            for minLevel in 1...rootLevel.raw {
                let start = GFN(random.next() % limit)
                let end = GFN(min(limit, start.raw + random.next() % (limit / 4) + 1))
                XCTAssertEqual(
                    walk(tree, minLevel: Level(minLevel), start: start, end: end),
                    tree.model(minLevel: Level(minLevel), start: start, end: end),
                    "round \(round) root \(rootLevel.raw) min \(minLevel) [\(start.raw), \(end.raw))")
            }
        }
    }

    /// A walk that yields anywhere visits the same entries of its lowest level, and
    /// the same leaves above it, each once.  At the root's own level a walk that
    /// advances after its restart, instead of looking, skips an entry.
    func testYieldsLoseNothingAndVisitNothingTwice() {
        var random = SplitMix(seed: 7)
        for round in 0..<8 {
            let tree = randomTree(&random, rootLevel: Level(4))
            let end = GFN(1 << 36)
            for minLevel in 1...4 as ClosedRange<Int32> {
                let wanted: ([Visited]) -> [Visited] = {
                    $0.filter { $0.level == minLevel || SPTE($0.spte).isLeaf(at: Level($0.level)) }
                }
                let plain = wanted(walk(tree, minLevel: Level(minLevel), start: GFN(0), end: end))
                for chance in [1, 2, 7] as [UInt64] {
                    let seen = walkYielding(tree, minLevel: Level(minLevel), end: end) { random.next() % chance == 0 }
                    XCTAssertEqual(wanted(seen), plain, "round \(round) min \(minLevel) chance 1/\(chance)")
                }
            }
        }
    }

    /// As the MMU does: after a yield nothing is looked at before the restart.
    private func walkYielding(_ tree: Tree, minLevel: Level, end: GFN, _ wants: () -> Bool) -> [Visited] {
        var seen: [Visited] = []
        insideRCU { rcu in
            var iter = tdp_iter(root: tree.root, minLevel: minLevel, from: GFN(0), rcu)
            while iter.valid && iter.atGFN < end {
                if iter.next_last_level_gfn != iter.yielded_gfn && wants() {
                    iter.yielded = true
                    iter.next(rcu)
                    continue
                }
                seen.append(Visited(level: iter.level, gfn: iter.gfn, spte: iter.old_spte))
                iter.next(rcu)
            }
        }
        return seen
    }

    func testATableThatVanishesIsNotEntered() {
        let tree = Tree(rootLevel: Level(4))
        tree.setLeaf(GFN(0x40000), .page4K)
        insideRCU { rcu in
            var iter = tdp_iter(root: tree.root, minLevel: .page4K, from: GFN(0x40000), rcu)
            while iter.level > 2 { iter.next(rcu) }
            XCTAssertTrue(iter.isAtTable)
            iter.slot.poke(.nonPresent)
            iter.next(rcu)
            XCTAssertEqual(iter.level, 2, "the entry was read again before stepping down")
            XCTAssertEqual(iter.gfn, 0x40200)
        }
    }

    func testTheWalkEnds() {
        let tree = Tree(rootLevel: Level(4))
        insideRCU { rcu in
            var iter = tdp_iter(root: tree.root, minLevel: .page4K, from: GFN(511 << 27), rcu)
            XCTAssertTrue(iter.valid)
            iter.next(rcu)
            XCTAssertFalse(iter.valid)
        }
    }
}

extension SPTESlot {
    /// Writes behind the library's back: a tree built by hand has no book of its changes.
    func poke(_ spte: SPTE) { UnsafeMutablePointer<UInt64>(bitPattern: address)!.pointee = spte.raw }
}

/// A small generator whose numbers a failing test can be run with again.
struct SplitMix {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
