// SPDX-License-Identifier: GPL-2.0-only
import RecordedTraces
import XCTest

@testable import KernelTrace
@testable import Replay

/// Input that cannot be replayed is named by file and line, and never crashes.
final class BadInputTests: XCTestCase {
    private func outcome(_ lines: [String]) throws -> Outcome {
        var trace = try Recorded("612-14_prefault")
        trace.lines = lines
        return trace.replay()
    }

    /// The trace without the count of its lines, to be edited.
    private func uncounted() throws -> [String] {
        try Recorded("612-14_prefault").lines.map { $0.hasPrefix("# entries-in") ? "#" : $0 }
    }

    private func problem(of bytes: [UInt8]) -> String? {
        do {
            _ = try Trace(file: "X.txt", bytes: bytes)
            return nil
        } catch {
            return "\(error)"
        }
    }

    func testEmptyFiles() {
        XCTAssertEqual(problem(of: []), "X.txt:1: the file is empty")
        XCTAssertEqual(problem(of: Array("# tracer: nop\n".utf8)), "X.txt:1: the file has no events")
        XCTAssertEqual(problem(of: Array("\n".utf8)), "X.txt:1: this is no line of an ftrace text")
    }

    func testBinaryAndGarbledFiles() {
        XCTAssertEqual(problem(of: [0x7f, 0x45, 0x4c, 0x46, 0, 0, 10]), "X.txt:1: binary data")
        XCTAssertEqual(problem(of: Array("#\nhello\n".utf8)), "X.txt:2: this is no line of an ftrace text")
        XCTAssertEqual(problem(of: Array("# \u{1}\n".utf8)), "X.txt:1: binary data")
        XCTAssertEqual(problem(of: Array("DUMP id=0 root=0x1 root_level=4\n".utf8)),
                       "X.txt:1: this is a dump file; name the trace beside it")
        XCTAssertEqual(problem(of: Array("t-1 [000] . 1: no_such: x\n".utf8)), "X.txt:1: unknown event \"no_such\"")
        XCTAssertEqual(problem(of: Array("t-1 [000] . 1: \u{1}\u{2}: x\n".utf8)),
                       "X.txt:1: unknown event (not printable)")
        XCTAssertEqual(problem(of: Array("CPU:1 [LOST 5 EVENTS]\n".utf8)), "X.txt:1: the recorder lost events here")
        XCTAssertEqual(problem(of: Array("# entries-in-buffer/entries-written: 3/9   #P:3\n".utf8)),
                       "X.txt:1: the recorder lost 9 - 3 events")
    }

    func testNumbersThatOverflow() {
        XCTAssertEqual(
            problem(of: Array("t-1 [000] . 1: map_ret: (f) ret=99999999999999999999\n".utf8)),
            "X.txt:1: cannot read this map_ret line")
        XCTAssertEqual(
            problem(of: Array("t-1 [000] . 99999999999999999999: map_ret: (f) ret=5\n".utf8)),
            "X.txt:1: this is no line of an ftrace text")
    }

    func testTruncatedFiles() throws {
        let trace = try Recorded("612-14_prefault")
        let half = trace.lines.count / 2
        XCTAssertEqual(try outcome(Array(trace.lines[..<half])),
                       .bad("X.txt:\(half): the trace has \(half - 12) of 1070 events: it is cut short or was edited"))
        var bytes = Recorded.bytes(trace.lines)
        bytes.removeLast(7)
        XCTAssertEqual(problem(of: bytes), "X.txt:\(trace.lines.count): the last line is cut short")
    }

    func testATraceThatEndsInsideAnOperation() throws {
        let lines = try uncounted()
        let map = try XCTUnwrap(lines.lastIndex { $0.contains(" map: ") })
        XCTAssertEqual(try outcome(Array(lines[...(map + 3)])), .bad("X.txt:\(map + 1): the trace ends inside this map"))
        let slot = try XCTUnwrap(lines.lastIndex { $0.contains("STEP memslot_add") })
        XCTAssertEqual(try outcome(Array(lines[...slot])), .bad("X.txt:\(slot + 1): the trace ends inside this memslot step"))
        let zap = try XCTUnwrap(lines.lastIndex { $0.contains(" zap_all: ") })
        XCTAssertEqual(try outcome(Array(lines[...(zap + 9)])), .bad("X.txt:\(zap + 1): the trace ends inside this zap_all"))
        let done = try XCTUnwrap(lines.lastIndex { $0.contains("DONE touch") })
        XCTAssertEqual(try outcome(Array(lines[...done])), .bad("X.txt:\(done + 1): the trace ends before the VM does"))
    }

    func testLinesWhereTheyCannotBe() throws {
        let lines = try uncounted()
        let map = try XCTUnwrap(lines.firstIndex { $0.contains(" map: ") })
        let end = try XCTUnwrap(lines.firstIndex { $0.contains(" map_ret: ") })
        var edited = lines
        edited.remove(at: end)
        let next = try XCTUnwrap(edited[(map + 1)...].firstIndex { $0.contains(" map: ") })
        XCTAssertEqual(try outcome(edited),
                       .bad("X.txt:\(next + 1): this cannot be inside map, which line \(map + 1) begins"))
        edited = lines
        edited.remove(at: map)
        let change = try XCTUnwrap(edited.firstIndex { $0.contains("spte_changed") })
        XCTAssertEqual(try outcome(edited), .bad("X.txt:\(change + 1): an SPTE changes outside any operation"))
        edited = lines.filter { !$0.contains("STEP vm_create") }
        guard case .bad(let text) = try outcome(edited) else { return XCTFail("no VM, no complaint") }
        XCTAssertTrue(text.hasSuffix("there is no VM here"), text)
    }

    func testDumpsThatAreMissing() throws {
        let trace = try Recorded("612-14_prefault")
        let first = try trace.number(of: "STEP dump id=0")
        let alone = Outcome { try Replayer(trace: Trace(file: "X.txt", bytes: Recorded.bytes(trace.lines)), dumps: nil) }
        XCTAssertEqual(alone, .bad("X.txt:\(first): dump 0 has no file: neither X.npt.txt nor X.npt.txt.gz is there"))
        var copy = trace
        copy.dumpLines = Array(copy.dumpLines.prefix { !$0.hasPrefix("DUMP id=1") })
        let second = try trace.number(of: "STEP dump id=1")
        XCTAssertEqual(copy.replay(), .bad("X.txt:\(second): dump 1 is not in X.npt.txt"))
    }

    /// Whatever a byte becomes, and wherever the file ends, the replay ends in an
    /// orderly way.
    func testWildEdits() throws {
        let trace = try Recorded("612-14_prefault")
        let good = Recorded.bytes(trace.lines)
        let dumps = try DumpFile(file: "X.npt.txt", bytes: Recorded.bytes(trace.dumpLines))
        var random = Xorshift(state: 0x9e37_79b9)
        for _ in 0..<150 {
            var bytes = good
            for _ in 0...random.next() % 3 {
                bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            if random.next() % 4 == 0 { bytes.removeLast(Int(random.next() % UInt64(bytes.count))) }
            for mode in [ReplayMode.calls, .guest] {
                _ = Outcome { try Replayer(trace: Trace(file: "X.txt", bytes: bytes), dumps: dumps, mode: mode) }
            }
        }
    }

    /// Digits replaced at random: these parse, and reach the library.
    func testWildNumbers() throws {
        try wildNumbers(in: Recorded("612-14_prefault"), tries: 300)
    }

    func testWildNumbersInDirtyLogging() throws {
        let trace = try Recorded("612-03b_dirtylog_manual_initset")
        try wildNumbers(in: trace.cut(behind: trace.number(of: "DONE clear_dirty_log")), tries: 60)
    }

    func testWildNumbersInRecovery() throws {
        let trace = try Recorded("612-08_nx_huge_pages")
        try wildNumbers(in: trace.cut(behind: trace.number(of: " zap_sp: ", occurrence: 2)), tries: 60)
    }

    private func wildNumbers(in trace: Recorded, tries: Int) throws {
        let good = Recorded.bytes(trace.lines.map { $0.hasPrefix("# entries-in") ? "#" : $0 })
        let dumps = try DumpFile(file: "X.npt.txt", bytes: Recorded.bytes(trace.dumpLines))
        let digits = good.indices.filter { good[$0].hexDigit != nil }
        var random = Xorshift(state: 0x1234_5678)
        for _ in 0..<tries {
            var bytes = good
            for _ in 0...random.next() % 8 {
                let place = digits[Int(random.next() % UInt64(digits.count))]
                bytes[place] = Array("0123456789abcdef".utf8)[Int(random.next() % 16)]
            }
            for mode in [ReplayMode.calls, .guest] {
                _ = Outcome { try Replayer(trace: Trace(file: "X.txt", bytes: bytes), dumps: dumps, mode: mode) }
            }
        }
    }
}

/// The same numbers in each run.
private struct Xorshift {
    var state: UInt64

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}
