// SPDX-License-Identifier: GPL-2.0-only
import XCTest

@testable import KernelTrace
@testable import Replay

final class GuestModelTests: XCTestCase {
    private func touch(_ count: Int, gpa: UInt64 = 0x4000_0000, stride: UInt64 = 0x1000, access: UInt64 = 0) -> GuestRun.Program {
        .touch(TouchStep(vcpu: 0, gpa: gpa, count: count, stride: stride, access: access))
    }

    private func begun(_ program: GuestRun.Program, vcpu: Int = 0) -> GuestModel {
        var guest = GuestModel()
        guest.begin(vcpu: vcpu, task: 7, program)
        return guest
    }

    func testAFaultProvesTheAccessesBeforeIt() {
        var guest = begun(touch(8))
        XCTAssertEqual(guest.fault(vcpu: 0, gpa: 0x1000).count, 0, "a fault on the code proves nothing")
        XCTAssertEqual(guest.fault(vcpu: 0, gpa: 0x4000_3000).map(\.gpa), [0x1000, 0x4000_0000, 0x4000_1000, 0x4000_2000])
        XCTAssertEqual(guest.fault(vcpu: 0, gpa: 0x4000_3000).map(\.gpa), [0x1000], "the same once more")
        XCTAssertEqual(guest.fault(vcpu: 0, gpa: 0x4000_1000).map(\.gpa), [], "behind it already")
        XCTAssertEqual(guest.end(vcpu: 0, succeeded: true).made.count, 1 + 5)
        XCTAssertFalse(guest.isRunning)
    }

    func testAFailedStepProvesNoMore() {
        var guest = begun(touch(8))
        _ = guest.fault(vcpu: 0, gpa: 0x4000_3000)
        XCTAssertTrue(guest.end(vcpu: 0, succeeded: false).made.isEmpty)
    }

    func testExecutionUsesTheStackAndABatchItsList() {
        var executing = begun(touch(1, access: PageFaultBits.fetch), vcpu: 2)
        XCTAssertEqual(executing.end(vcpu: 2, succeeded: true).made.map(\.gpa), [0x1000, 0xaff8, 0x4000_0000])
        var batch = begun(.batch([GuestAccess(gpa: 0x5000_0000, access: PageFaultBits.write)]), vcpu: 1)
        XCTAssertEqual(batch.end(vcpu: 1, succeeded: true).made.map(\.gpa), [0x1000, 0x1_1000, 0x5000_0000])
    }

    func testLongModeWalksTheGuestsOwnTables() {
        var guest = GuestModel()
        guest.longMode = true
        guest.begin(vcpu: 0, task: 7, touch(1, gpa: 1 << 39))
        let pages = Set(guest.end(vcpu: 0, succeeded: true).made.map { $0.gpa >> 12 })
        XCTAssertEqual(pages, [1, 0x18, 0x19, 0x1a, 1 << 27])
    }

    func testOnlyAnotherTasksGuestExplainsABit() {
        let guest = begun(touch(4, access: PageFaultBits.write))
        XCTAssertNil(guest.explanation(0x40001, pages: 1, write: false, task: 7), "its guest stands still")
        XCTAssertEqual(guest.explanation(0x40001, pages: 1, write: true, task: 8)?.access.gpa, 0x4000_1000)
        XCTAssertNil(guest.explanation(0x40004, pages: 1, write: false, task: 8), "not accessed")
        XCTAssertEqual(guest.explanation(0x40000, pages: 512, write: false, task: 8)?.access.gpa, 0x4000_0000)
        let reading = begun(touch(4))
        XCTAssertNil(reading.explanation(0x40001, pages: 1, write: true, task: 8), "it does not write")
    }

    /// A fault was answered; then another vCPU's takes Dirty away, and then the first vCPU goes on.
    func testAnAccessBeforeOrBehindTheLossOfItsBits() {
        var guest = begun(.batch([
            GuestAccess(gpa: 0x4000_0000, access: PageFaultBits.write), GuestAccess(gpa: 0x5000_0000, access: 0),
        ]))
        guest.answer(vcpu: 0, gpa: 0x4000_0000)
        guest.drop(gfn: 0x40001)
        XCTAssertEqual(guest.explanation(0x40000, pages: 1, write: true, task: 8)?.access.gpa, 0x4000_0000, "at any moment")
        guest.drop(gfn: 0x40000)
        XCTAssertEqual(guest.fault(vcpu: 0, gpa: 0x5000_0000).map(\.gpa), [0x1000, 0x1_0000], "it was before")
        XCTAssertEqual(guest.explanation(0x40000, pages: 1, write: true, task: 8)?.access.gpa, 0x4000_0000, "or else behind")
        XCTAssertNil(guest.explanation(0x40000, pages: 1, write: true, task: 7))
    }

    func testAnAnsweredFaultThatComesAgain() {
        var guest = begun(touch(2, access: PageFaultBits.write))
        guest.answer(vcpu: 0, gpa: 0x4000_0000)
        XCTAssertEqual(guest.fault(vcpu: 0, gpa: 0x4000_0000).count, 0, "not made yet")
        XCTAssertEqual(guest.fault(vcpu: 0, gpa: 0x4000_1000).map(\.gpa), [0x1000, 0x4000_0000])
    }

    func testStridesAndWildNumbersDoNotTrap() {
        var wide = begun(touch(3, gpa: 0x4000_0080, stride: 0x20_0000))
        XCTAssertEqual(wide.fault(vcpu: 0, gpa: 0x4040_0080).count, 3)
        var wild = begun(touch(1 << 20, gpa: .max, stride: .max))
        _ = wild.fault(vcpu: 0, gpa: .max)
        _ = wild.explanation(.max, pages: .max, write: true, task: 0)
        var still = begun(touch(5, stride: 0))
        XCTAssertEqual(still.fault(vcpu: 0, gpa: 0x4000_0000).count, 1)
    }
}
