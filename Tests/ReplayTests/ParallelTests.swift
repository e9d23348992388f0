// SPDX-License-Identifier: GPL-2.0-only
import RecordedTraces
import XCTest

@testable import KernelTrace
@testable import Replay

/// Several vCPUs at once: lines that a luckier recorder would have written in another
/// order, and faults that lose a race.
final class ParallelTests: XCTestCase {
    private static let modes: [ReplayMode] = [.calls, .guest]

    /// The trace, and where a second vCPU maps what a first one just has.
    private func race() throws -> (trace: Recorded, first: Int, second: Range<Int>) {
        var trace = try Recorded("612-09a_parallel_4k_zapper")
        trace.lines = trace.lines.map { $0.hasPrefix("# entries-in") ? "#" : $0 }
        let second = try trace.number(of: "gfn 40010 level 1 old_spte 103069e67 new_spte 103069e27") - 1
        let first = try XCTUnwrap(trace.lines[..<second].lastIndex { $0.contains("gfn 40010 level 1 old_spte 8000000000000000") })
        let begin = try XCTUnwrap(trace.lines[..<second].lastIndex { $0.contains("vcpu1-") && $0.contains(" kvm_page_fault: ") })
        let end = try XCTUnwrap(trace.lines[second...].firstIndex { $0.contains("vcpu1-") && $0.contains(" pf_ret: ") })
        return (trace, first, begin..<end + 1)
    }

    /// A line is written after the change that it tells of; another vCPU, which saw the
    /// change, may be earlier with its own.
    func testALineThatIsLate() throws {
        let (trace, first, second) = try race()
        let moved = trace.lines[second].filter { $0.contains("vcpu1-") }
        let kept = trace.lines[second].filter { !$0.contains("vcpu1-") }
        var swapped = trace
        swapped.lines.replaceSubrange(first..<second.upperBound,
                                      with: moved + trace.lines[first..<second.lowerBound] + kept)
        for mode in Self.modes { XCTAssertEqual(swapped.replay(mode), .equal, "\(mode)") }
    }

    /// The same fault again by a vCPU that comes too late, and returns to its guest.
    func testAFaultThatLosesTheRace() throws {
        let (trace, _, second) = try race()
        let fault = trace.lines[second].filter { $0.contains("vcpu1-") && !$0.contains("spte_changed") && !$0.contains("set_spte") }
        let lost = fault.map { $0.replacingOccurrences(of: "ret=5", with: "ret=1") }
        var copy = trace
        copy.lines.insert(contentsOf: lost, at: second.lowerBound)
        for mode in Self.modes { XCTAssertEqual(copy.replay(mode), .equal, "\(mode)") }
    }

    /// Tolerance has an end: a change that nobody makes, or that nobody recorded.
    func testAChangeTooManyOrTooFew() throws {
        let (trace, first, _) = try race()
        for change in [{ (lines: inout [String]) in _ = lines.remove(at: first) },
                       { (lines: inout [String]) in lines.insert(lines[first], at: first) }] {
            var copy = trace
            change(&copy.lines)
            for mode in Self.modes {
                guard case .different = copy.replay(mode) else { return XCTFail("nobody noticed in \(mode)") }
            }
        }
    }

    /// A zap that let go of mmu_lock has served its flush, and nothing else is tolerated then: what
    /// it returns, and where it let go, has come out exactly.
    func testWhatAZapReturnsThatGaveWay() throws {
        var trace = try Recorded("612r-09d_parallel_dirtylog")
        trace.lines = trace.lines.map { $0.hasPrefix("# entries-in") ? "#" : $0 }
        XCTAssertEqual(trace.replay(.calls), .equal)
        let yield = try XCTUnwrap(trace.lines.firstIndex {
            $0.contains(" zapper-") && $0.contains(" iter_restart: ") && !$0.hasSuffix("yielded_gfn=0x0")
        })
        let end = try XCTUnwrap(trace.lines[yield...].firstIndex { $0.contains(" zapper-") && $0.contains(" zap_leafs_ret: ") })
        var wrong = trace
        wrong.lines[end] = String(trace.lines[end].dropLast()) + (trace.lines[end].hasSuffix("1") ? "0" : "1")
        guard case .different = wrong.replay(.calls) else { return XCTFail("nobody noticed") }
    }

    /// A dirty log is read by one thread while another one's fault, which the log already
    /// has, has not written its line.
    func testALogThatKnowsOfAFaultBeforeItsLine() throws {
        var trace = try Recorded("612-03a_dirtylog_plain")
        trace.lines = trace.lines.map { $0.hasPrefix("# entries-in") ? "#" : $0 }
        let read = try trace.number(of: "STEP get_dirty_log") - 1
        let total = try trace.number(of: "DATA dirty slot=1 total=") - 1
        let fixed = try XCTUnwrap(trace.lines[..<read].lastIndex { $0.contains("spurious 0 fixed 1") })
        let thread = trace.lines[read...total].map { $0.replacingOccurrences(of: "tdpscen-329", with: "dirtylog-999") }
        let marker = try XCTUnwrap(trace.lines.first { $0.contains("STEP touch") }?.components(separatedBy: "STEP").first)
        let begin = try XCTUnwrap(trace.lines[..<fixed].lastIndex { $0.contains("STEP touch") })
        trace.lines = trace.lines[..<begin] + [marker + "STEP parallel_begin nvcpu=1 zapper=0 dirtylog=1"]
            + trace.lines[begin..<fixed] + thread + trace.lines[fixed..<read] + [marker + "DONE parallel_begin"]
            + trace.lines[(total + 1)...]
        for mode in Self.modes { XCTAssertEqual(trace.replay(mode), .equal, "\(mode)") }
    }
}
