// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import XCTest

@testable import PageTable

/// The library writes table headers as TableHeader, C callers read them as struct kvm_mmu_page:
/// every field must lie at the same bytes of both.
final class TableHeaderTests: XCTestCase {
    /// The bytes that a write of all ones to one field changes.
    private func bytes(_ write: (UnsafeMutablePointer<TableHeader>) -> Void) -> Range<Int> {
        let memory = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Int(TableHeader.stride), alignment: Int(TableHeader.stride))
        defer { memory.deallocate() }
        memset(memory.baseAddress!, 0, memory.count)
        write(memory.baseAddress!.assumingMemoryBound(to: TableHeader.self))
        let changed = memory.indices.filter { memory[$0] != 0 }
        XCTAssertEqual(changed.count, changed.last! + 1 - changed.first!, "it is one piece")
        return changed.first!..<changed.last! + 1
    }

    private func field<T>(_ path: KeyPath<kvm_mmu_page, T>) -> Range<Int> {
        let start = MemoryLayout<kvm_mmu_page>.offset(of: path)!
        return start..<start + MemoryLayout<T>.size
    }

    private let ones = UnsafeMutablePointer<UInt64>(bitPattern: UInt.max)

    func testFieldsLieWhereTheyLieInC() {
        XCTAssertEqual(bytes { $0.pointee.next.store(.max, ordering: .relaxed) }, field(\.next))
        XCTAssertEqual(bytes { $0.pointee.spt = ones }, field(\.spt))
        XCTAssertEqual(bytes { $0.pointee.gfn = .max }, field(\.gfn))
        XCTAssertEqual(bytes { $0.pointee.owner.store(.max, ordering: .relaxed) }, field(\.kvm))
        XCTAssertEqual(bytes { $0.pointee.ptep = ones }, field(\.ptep))
        XCTAssertEqual(bytes { memset(&$0.pointee.rcuHead, 0xff, MemoryLayout<rcu_head>.size) }, field(\.rcu_head))
        XCTAssertEqual(bytes { $0.pointee.role.store(.max, ordering: .relaxed) }, field(\.role))
        XCTAssertEqual(bytes { $0.pointee.references.store(-1, ordering: .relaxed) }, field(\.tdp_mmu_root_count))
        XCTAssertEqual(bytes { $0.pointee.isTable = true }, field(\.tdp_mmu_page))
        XCTAssertEqual(bytes { $0.pointee.isNXSplit.store(true, ordering: .relaxed) }, field(\.nx_huge_page_disallowed))
        XCTAssertEqual(bytes { $0.pointee.isScheduledToZap = true }, field(\.tdp_mmu_scheduled_root_to_zap))
        XCTAssertEqual(bytes { $0.pointee.isHandedOut.store(true, ordering: .relaxed) }, field(\.tdpmmu_state))
        XCTAssertEqual(bytes { $0.pointee.unused32 = .max }, field(\.tdpmmu_private32))
    }

    /// What C callers know nothing of lies, each for itself, where they have nothing.
    func testTheRestIsPrivate() {
        let fields = [
            bytes { $0.pointee.nextStray = .max },
            bytes { $0.pointee.nxNext = .max },
            bytes { $0.pointee.nxPrevious = .max },
            bytes { $0.pointee.isNXListed = true },
        ]
        for (i, one) in fields.enumerated() {
            XCTAssertTrue(field(\.tdpmmu_private).contains(one.lowerBound), "\(one)")
            XCTAssertTrue(field(\.tdpmmu_private).contains(one.upperBound - 1), "\(one)")
            for other in fields[..<i] { XCTAssertFalse(one.overlaps(other), "\(one) \(other)") }
        }
    }

    func testHeadersAreOneSize() {
        XCTAssertEqual(MemoryLayout<kvm_mmu_page>.stride, Int(TableHeader.stride))
        XCTAssertLessThanOrEqual(MemoryLayout<TableHeader>.size, Int(TableHeader.stride))
        XCTAssertEqual(MemoryLayout<TableHeader>.alignment, MemoryLayout<kvm_mmu_page>.alignment)
    }

    /// A table in use reads the same both ways.
    func testATableAsCSeesIt() {
        let role = Role(rootLevel: Level(4), addressSpace: 1, adDisabled: false)
        let table = UnlinkedTable(
            TableArena.take(count: 1)!, owner: 0x1000, role: role, gfn: GFN(0x200), parent: nil).linked()
        table.setReferences(2)
        table.isScheduledToZap = true
        let page = table.page.pointee
        XCTAssertEqual(UInt(bitPattern: page.spt), table.entries)
        XCTAssertEqual(page.gfn, 0x200)
        XCTAssertEqual(UInt(bitPattern: page.kvm), 0x1000)
        XCTAssertNil(page.ptep)
        XCTAssertEqual(page.role.word, role.raw)
        XCTAssertEqual(page.tdp_mmu_root_count, 2)
        XCTAssertTrue(page.tdp_mmu_page)
        XCTAssertFalse(page.nx_huge_page_disallowed)
        XCTAssertTrue(page.tdp_mmu_scheduled_root_to_zap)
        table.retire()
        XCTAssertFalse(table.page.pointee.tdp_mmu_page)
        TableArena.give(table)
    }
}
