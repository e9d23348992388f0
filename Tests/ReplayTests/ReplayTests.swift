// SPDX-License-Identifier: GPL-2.0-only
import RecordedTraces
import XCTest

@testable import KernelTrace
@testable import Replay

/// Whole traces, in this process.
final class ReplayTests: XCTestCase {
    private func report(_ name: String, _ mode: ReplayMode = .calls) throws -> Report {
        let replayer = try Replayer(file: Recorded.path(name), mode: mode)
        try replayer.run()
        if let first = replayer.report.first { XCTFail(first.description) }
        XCTAssertEqual(replayer.report.differences, 0)
        return replayer.report
    }

    func testAnonymousMemory() throws {
        let report = try report("612-01_anon4k")
        XCTAssertEqual(report.calls, 1349)
        XCTAssertEqual(report.changes, 2102)
        XCTAssertEqual(report.dumps, 2)
        XCTAssertEqual(report.guestBits, 0)
    }

    func testFiveLevels() throws {
        let report = try report("612la57-01_anon4k")
        XCTAssertEqual(report.changes, 2104)
        XCTAssertEqual(report.guestBits, 0)
    }

    func testHugePages() throws {
        let report = try report("612-02_huge2m")
        XCTAssertEqual(report.changes, 190)
        XCTAssertEqual(report.guestBits, 0)
    }

    func testHighAddresses() throws {
        let report = try report("612-11_longmode_high_gpa")
        XCTAssertEqual(report.changes, 9997)
        XCTAssertEqual(report.guestBits, 0)
    }

    func testSlots() throws {
        XCTAssertEqual(try report("612-04a_memslot_zap_all_fast").dumps, 10)
    }

    func testNotifier() throws {
        XCTAssertEqual(try report("612-05_notifier_madvise_mprotect").dumps, 4)
    }

    func testMMIOAndReadOnlySlots() throws {
        XCTAssertEqual(try report("612-06_mmio_readonly").changes, 47455)
    }

    func testTeardown() throws {
        XCTAssertEqual(try report("612-10b_teardown_close").dumps, 1)
    }

    /// Pages that were mapped without being asked for have no Accessed bit until
    /// the guest comes: here the model of the guest must say when.
    func testPrefault() throws {
        XCTAssertGreaterThan(try report("612-14_prefault").guestBits, 0)
    }

    func testThreeVCPUsAtOnce() throws {
        XCTAssertEqual(try report("612-09a_parallel_4k_zapper").dumps, 2)
    }

    func testDirtyLogging() throws {
        XCTAssertEqual(try report("612-03a_dirtylog_plain").changes, 12011)
        XCTAssertEqual(try report("612-03b_dirtylog_manual_initset").changes, 5810)
        XCTAssertEqual(try report("612-03c_dirtylog_plain_noeager").changes, 3319)
        XCTAssertEqual(try report("612la57-03a_dirtylog_plain").changes, 12013)
    }

    func testAging() throws {
        XCTAssertGreaterThan(try report("612-07_aging").guestBits, 0)
    }

    func testHugePagesWithoutExecute() throws {
        XCTAssertEqual(try report("612-08_nx_huge_pages").dumps, 6)
        XCTAssertEqual(try report("612la57-08_nx_huge_pages").dumps, 6)
    }

    func testEverythingMixed() throws {
        XCTAssertEqual(try report("612-20a_random_seq").changes, 118928)
    }

    /// The same changes come of the library's own decisions.
    func testGuestMode() throws {
        // The others, and these as well, are replayed by `make check-traces`.
        let names = Recorded.all.filter { $0.hasPrefix("612-") }
        XCTAssertGreaterThan(names.count, 10)
        for name in names {
            XCTAssertEqual(try report(name, .guest).changes, try report(name, .calls).changes, name)
        }
    }

    /// Without its guest the same trace must differ, else the bits are not compared.
    func testTheGuestsBitsCount() throws {
        var trace = try Recorded("612-14_prefault")
        trace.lines = trace.lines.map { $0.replacingOccurrences(of: "DONE touch vcpu=0 ret=0", with: "DONE touch vcpu=0 ret=-14") }
        guard case .different = trace.replay() else { return XCTFail("nobody noticed") }
    }

    func testStopsAtADump() throws {
        let replayer = try Replayer(file: Recorded.path("612-04a_memslot_zap_all_fast"))
        XCTAssertEqual(replayer.dumpIDs, Array(0..<10))
        try replayer.run(until: .afterDump(3))
        XCTAssertEqual(replayer.report.dumps, 4)
        let machine = try XCTUnwrap(replayer.machine)
        let tree = TreePrinter(isFull: false).text(machine)
        XCTAssertTrue(tree.hasPrefix("root  4 levels, role 0x3784, address space 0, vCPU 0\n  level 4  gfn 0-7ffffff"), tree)
    }

    func testTreesOfEPT() throws {
        func tree(_ name: String, _ dump: Int) throws -> String {
            let replayer = try Replayer(file: Recorded.path(name))
            try replayer.run(until: .afterDump(dump))
            return TreePrinter(isFull: false).text(try XCTUnwrap(replayer.machine))
        }
        let split = try tree("612ept-08s_nx", 2)
        XCTAssertTrue(split.contains("gfn 40000-401ff          2M leaf         RW- ADHM WB  pfn bc00-bdff"), split)
        XCTAssertTrue(split.contains("gfn 40205              4K leaf         RWX A-HM WB  pfn b805"), split)
        let tracked = try tree("612ept-noad-07s_aging", 1)
        XCTAssertTrue(tracked.contains("--- T-HM WB"), tracked)
        let devices = try tree("612ept-11s_longmode", 2)
        XCTAssertTrue(devices.contains("gfn af00000            MMIO            generation 6"), devices)
        XCTAssertTrue(devices.hasSuffix("12 tables, 16 leaves of 4K, 2 leaves of 2M, 2 MMIO\n"), devices)
    }

    func testATreeFoldsRuns() throws {
        let replayer = try Replayer(file: Recorded.path("612-02_huge2m"))
        try replayer.run(until: .beforeTeardown)
        let machine = try XCTUnwrap(replayer.machine)
        let folded = TreePrinter(isFull: false).text(machine)
        XCTAssertTrue(folded.contains("gfn 40000-40fff          2M leaf x 8     RWX ADHM  pfn 12ac00-12bbff"), folded)
        let full = TreePrinter(isFull: true).text(machine)
        XCTAssertTrue(full.contains("gfn 40200-403ff          2M leaf         RWX ADHM  pfn 12ae00-12afff"), full)
        XCTAssertTrue(full.hasSuffix("71 leaves of 4K, 13 leaves of 2M\n"), full)
    }
}
