// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import RCU
import XCTest

@testable import PageTable

final class TableArenaTests: XCTestCase {
    private let role = Role(rootLevel: Level(4), addressSpace: 1, adDisabled: true)

    func testHeadersAreFoundByArithmetic() {
        var taken: [Table] = []
        // More than one block holds.
        for _ in 0..<1000 { taken.append(TableArena.take(count: 1)!) }
        XCTAssertEqual(Set(taken.map(\.entries)).count, 1000)
        for page in taken {
            let table = UnlinkedTable(page, owner: 1, role: role, gfn: GFN(5), parent: nil).linked()
            let last = table[511].address
            XCTAssertEqual(Table(containing: last), table)
            XCTAssertEqual(Table(checkedAddress: last), table)
            XCTAssertEqual(Table(checkedHeader: table.page), table)
            XCTAssertEqual(Table(rcuHead: table.rcuHead), table)
            XCTAssertEqual(Table(word: table.word), table)
            XCTAssertEqual(table.address & 4095, 0)
            XCTAssertNotEqual(table.address, 0)
            XCTAssertEqual(Table.entries(of: table.address), table.entries)
            insideRCU { rcu in XCTAssertTrue((0..<512).allSatisfy { table[$0].load(rcu) == .nonPresent }) }
        }
        for table in taken {
            table.retire()
            TableArena.give(table)
        }
    }

    func testPointersThatAreNoTableAreRefused() {
        let table = TableArena.take(count: 1)!
        XCTAssertNil(Table(checkedHeader: table.page), "free pages are no tables")
        table.becomeTable(owner: 1, role: role, gfn: GFN(0), parent: nil)
        let header = table.word
        XCTAssertNil(Table(checkedAddress: header), "headers are no tables")
        XCTAssertNil(Table(checkedHeader: UnsafeMutablePointer(bitPattern: header + 8)!))
        XCTAssertNil(Table(checkedAddress: 4096))
        XCTAssertNil(Table(checkedAddress: .max))
        var local = kvm_mmu_page()
        withUnsafeMutablePointer(to: &local) { XCTAssertNil(Table(checkedHeader: $0)) }
        table.retire()
        XCTAssertNil(Table(checkedHeader: table.page))
        TableArena.give(table)
    }

    /// The kernel's role word, as traces show it.
    func testRoleWords() {
        XCTAssertEqual(Role(rootLevel: Level(4), addressSpace: 0, adDisabled: false).raw, 0x3784)
        XCTAssertEqual(Role(rootLevel: Level(5), addressSpace: 0, adDisabled: false).raw, 0x3785)
        XCTAssertEqual(role.raw, 0x0101_3784)
        XCTAssertEqual(role.child.level, Level(3))
        XCTAssertEqual(role.child.addressSpace, 1)
        XCTAssertEqual(Role(raw: 0x3784).invalidated.raw, 0x3f84)
    }

    private var freePages: UInt {
        var count: UInt = 0, block = TableArena.available
        while let here = block {
            count += here.freeCount
            block = here.links.pointee.next
        }
        return count
    }

    func testCacheGivesBackWhatItTook() {
        var storage = TableCache.Storage()
        withUnsafeMutablePointer(to: &storage) { pointer in
            let cache = TableCache(pointer)
            let before = freePages
            let tables = (0..<40).map { _ in cache.take()! }
            XCTAssertEqual(Set(tables.map(\.entries)).count, 40)
            tables.forEach(cache.putBack)
            cache.drain()
            XCTAssertGreaterThanOrEqual(freePages, before)
            XCTAssertEqual(pointer.pointee.count, 0)
        }
    }
}
