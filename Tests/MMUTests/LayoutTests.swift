// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import Sync
import XCTest

@testable import MMU

/// What different threads write lies on cache lines of its own.
final class LayoutTests: XCTestCase {
    private func assertLines(
        _ parts: [(String, UnsafeRawPointer)], of whole: UnsafeRawPointer, bytes: Int, line: UInt = #line
    ) {
        XCTAssertEqual(UInt(bitPattern: whole) % 64, 0, line: line)
        XCTAssertEqual(bytes % 64, 0, "the last part shares a line with what comes behind", line: line)
        XCTAssertEqual(parts[0].1, whole, line: line)
        var end = whole
        for (name, start) in parts {
            XCTAssertEqual((start - whole) % 64, 0, "\(name) shares a line with what comes before", line: line)
            XCTAssertTrue(start == whole || start > end, "\(name) is not in its place", line: line)
            end = start
        }
        XCTAssertLessThan(end, whole + bytes, line: line)
    }

    private func raw<T: ~Copyable>(_ part: inout T) -> UnsafeRawPointer { UnsafeRawPointer(place(of: &part)) }

    func testPartsOfAVMHaveLinesOfTheirOwn() {
        let fixture = Fixture()
        let memory = fixture.vm.memory
        assertLines(
            [
                ("mmu_lock", UnsafeRawPointer(memory)), ("srcu", raw(&memory.pointee.kvm.srcu)), ("state", raw(&memory.pointee.state)),
                ("pages", raw(&memory.pointee.pages)), ("slots", raw(&memory.pointee.slots)),
                ("retired slots", raw(&memory.pointee.retiredSlots)), ("vCPUs", raw(&memory.pointee.vcpus)),
                ("recovery", raw(&memory.pointee.recovery)), ("tables", raw(&memory.pointee.tables)),
                ("taken ranges", raw(&memory.pointee.taken)), ("checks", raw(&memory.pointee.checks)),
                ("counters", raw(&memory.pointee.counters)),
                ("exclusive counters", raw(&memory.pointee.exclusiveCounters)),
            ], of: memory, bytes: MemoryLayout<VMMemory>.size)
        XCTAssertEqual(raw(&memory.pointee.kvm.mmu_lock) + MemoryLayout<tdpmmu_rwlock>.size,
                       UnsafeRawPointer(memory) + 64, "mmu_lock does not end the first line")
    }

    func testPartsOfAVCPUHaveLinesOfTheirOwn() {
        let fixture = Fixture()
        let memory = fixture.vcpu.memory
        assertLines(
            [
                ("state", raw(&memory.pointee.state)), ("cache", raw(&memory.pointee.cache)),
                ("link", raw(&memory.pointee.link)), ("last table", raw(&memory.pointee.lastTable)),
                ("last slot", raw(&memory.pointee.lastSlot)), ("log", raw(&memory.pointee.log)),
                ("counters", raw(&memory.pointee.counters)),
            ], of: memory, bytes: MemoryLayout<VCPUMemory>.size)
    }

    /// Every counter has a cell.
    func testCountersFitTheirBlock() {
        let last = (0...).first { Counter(rawValue: $0) == nil }!
        XCTAssertEqual(last, CounterBlock.count)
    }
}
