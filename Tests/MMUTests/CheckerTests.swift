// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import RCU
import Sync
import XCTest

@testable import MMU
@testable import PageTable
@testable import Rig

/// What the checker says of state that no C program reaches: each is forged, seen, and taken back.
final class CheckerTests: XCTestCase {
    private func fixture() -> Fixture {
        let fixture = Fixture()
        XCTAssertEqual(fixture.addSlot(0, base: 0, pages: 4096), .none)
        XCTAssertEqual(fixture.vcpu.load(), .done)
        for gfn in UInt64(0)..<4 { XCTAssertEqual(fixture.fault(gfn), .fixed) }
        XCTAssertEqual(check(fixture), 0)
        XCTAssertEqual(fixture.log.warnings, [])
        return fixture
    }

    private func check(_ fixture: Fixture) -> Int32 { fixture.vm.checkNow()! }

    /// One fault, with this text, and none when it is taken back.
    private func assertFound(
        _ fixture: Fixture, _ text: String, _ faults: Int32 = 1, line: UInt = #line, forge: () -> Void, undo: () -> Void
    ) {
        forge()
        XCTAssertEqual(check(fixture), faults, line: line)
        XCTAssertTrue(fixture.log.warnings.contains { $0.contains(text) }, "\(fixture.log.warnings)", line: line)
        undo()
        fixture.log.warnings = []
        XCTAssertEqual(check(fixture), 0, line: line)
    }

    func testCounters() {
        let fixture = fixture(), vm = fixture.vm
        for (counter, text) in [(Counter.pages4K, "leaves of a level"), (.pages1G, "leaves of a level"), (.nxSplits, "NX splits are")] {
            assertFound(fixture, text) { vm.counters.add(counter, 1, exclusive: false) } undo: {
                vm.counters.add(counter, -1, exclusive: false)
            }
        }
        assertFound(fixture, "tables are counted", 1) { vm.counters.add(.strays, 1, exclusive: false) } undo: {
            vm.counters.add(.strays, -1, exclusive: false)
        }
        // One that was taken and is nowhere: its page is nobody's, either.
        assertFound(fixture, "pages of the arena are lost", 2) {
            vm.memory.pointee.tables.taken.wrappingAdd(1, ordering: .relaxed)
        } undo: { vm.memory.pointee.tables.taken.wrappingSubtract(1, ordering: .relaxed) }
    }

    /// A page that is neither free, nor used, nor in a cache.
    func testLostPage() {
        let fixture = fixture()
        var page: Table?
        assertFound(fixture, "pages of the arena are lost") { page = TableArena.take(count: 1) } undo: { TableArena.give(page!) }
    }

    func testRememberedTable() {
        let fixture = fixture(), last = fixture.vcpu.memory
        let entries = last.pointee.lastTable.entries.load(ordering: .relaxed)
        XCTAssertNotEqual(entries, 0)
        assertFound(fixture, "remembers a table") { last.pointee.lastTable.entries.store(entries + 4096, ordering: .relaxed) } undo: {
            last.pointee.lastTable.entries.store(entries, ordering: .relaxed)
        }
        // A count of tables cut off that did not move, though one went.
        assertFound(fixture, "remembers a table") {
            fixture.zapRange(0, 1 << 20)
            last.pointee.lastTable.cutOff.store(fixture.vm.tablesCutOff, ordering: .relaxed)
        } undo: { last.pointee.lastTable.name.store(.max, ordering: .relaxed) }
    }

    func testVCPUsRootAndSlots() {
        let fixture = fixture(), vm = fixture.vm
        let other = insideRCU { rcu in Table(of: fixture.walk(to: 0, rcu).slot).word }
        let root = fixture.vcpu.state.pointee.root.load(ordering: .relaxed)
        assertFound(fixture, "a vCPU's root is not listed") { fixture.vcpu.state.pointee.root.store(other, ordering: .relaxed) } undo: {
            fixture.vcpu.state.pointee.root.store(root, ordering: .relaxed)
        }
        assertFound(fixture, "of another address space") { fixture.vcpu.state.pointee.addressSpace = 1 } undo: {
            fixture.vcpu.state.pointee.addressSpace = 0
        }
        assertFound(fixture, "slots are out of order") { vm.memory.pointee.slots.logged.wrappingAdd(1, ordering: .relaxed) } undo: {
            vm.memory.pointee.slots.logged.wrappingSubtract(1, ordering: .relaxed)
        }
    }

    func testNXList() {
        let fixture = fixture(), vm = fixture.vm
        let table = insideRCU { rcu in Table(of: fixture.walk(to: 0, rcu).slot) }
        assertFound(fixture, "list of NX splits is broken", 2) { table.isNXListed = true } undo: { table.isNXListed = false }
        assertFound(fixture, "list of NX splits is broken", 1) { vm.memory.pointee.pages.lastNXSplit = table } undo: {
            vm.memory.pointee.pages.lastNXSplit = nil
        }
    }
}
