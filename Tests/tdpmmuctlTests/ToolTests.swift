// SPDX-License-Identifier: GPL-2.0-only
import Foundation
import RecordedTraces
import XCTest

/// The built tdpmmuctl, run as a process.
final class ToolTests: XCTestCase {
    struct Result {
        var status: Int32
        var output: String
        var errors: String
    }

    private var folder = ""

    override func setUpWithError() throws {
        folder = NSTemporaryDirectory() + "tdpmmuctl-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    override func tearDownWithError() throws {
        try FileManager.default.removeItem(atPath: folder)
    }

    /// Output goes through files: a full pipe must not stop the tool.
    private func run(_ arguments: String...) throws -> Result {
        let process = Process()
        process.executableURL = Bundle.main.bundleURL.appendingPathComponent("tdpmmuctl")
        if process.executableURL.map({ !FileManager.default.isExecutableFile(atPath: $0.path) }) ?? true {
            process.executableURL = URL(fileURLWithPath: CommandLine.arguments[0])
                .deletingLastPathComponent().appendingPathComponent("tdpmmuctl")
        }
        process.arguments = arguments
        let paths = ["\(folder)/stdout", "\(folder)/stderr"]
        for path in paths { _ = FileManager.default.createFile(atPath: path, contents: nil) }
        process.standardOutput = FileHandle(forWritingAtPath: paths[0])
        process.standardError = FileHandle(forWritingAtPath: paths[1])
        try process.run()
        process.waitUntilExit()
        XCTAssertEqual(process.terminationReason, .exit)
        return Result(status: process.terminationStatus, output: try read(paths[0]), errors: try read(paths[1]))
    }

    private func read(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

    private func write(_ name: String, _ bytes: [UInt8]) throws -> String {
        try Data(bytes).write(to: URL(fileURLWithPath: "\(folder)/\(name)"))
        return "\(folder)/\(name)"
    }

    /// A copy of a trace, unpacked, with its dumps, under the name X.txt.
    private func copy(_ trace: Recorded) throws -> String {
        _ = try write("X.npt.txt", Recorded.bytes(trace.dumpLines))
        return try write("X.txt", Recorded.bytes(trace.lines))
    }

    func testAllEqual() throws {
        let result = try run("replay", Recorded.path("612-14_prefault"), Recorded.path("612-02_huge2m"))
        XCTAssertEqual(result.status, 0, result.errors)
        XCTAssertEqual(result.errors, "")
        let rows = result.output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        XCTAssertEqual(rows.map(\.first), ["file", "612-14_prefault", "612-02_huge2m", "total"])
        XCTAssertEqual(rows.last?.last, "0")
    }

    func testPlainFilesAndDumpFilesAmongThem() throws {
        let file = try copy(Recorded("612-02_huge2m"))
        XCTAssertEqual(try run("replay", file, "\(folder)/X.npt.txt").status, 0)
        let result = try run("replay", "\(folder)/X.npt.txt")
        XCTAssertEqual(result.status, 2)
        XCTAssertTrue(result.errors.contains("name the traces"), result.errors)
    }

    func testADifferenceIsShownWithItsLine() throws {
        var trace = try Recorded("612-02_huge2m")
        let line = try trace.number(of: "gfn 40200 level 2 old_spte")
        trace.lines[line - 1] = trace.lines[line - 1].replacingOccurrences(of: "12ae00ee7", with: "12ae00ee5")
        let file = try copy(trace)
        let result = try run("replay", file)
        XCTAssertEqual(result.status, 1)
        XCTAssertTrue(result.output.contains("\(file):\(line): SPTE change in map\n"), result.output)
        XCTAssertTrue(result.output.contains("  expected  as id 0 gfn 40200 level 2 old_spte 8000000000000000 new_spte 12ae00ee5\n"))
        XCTAssertTrue(result.output.contains("  got       as id 0 gfn 40200 level 2 old_spte 8000000000000000 new_spte 12ae00ee7\n"))
    }

    func testBadInput() throws {
        let good = Recorded.path("612-14_prefault")
        XCTAssertEqual(try run("replay", "\(folder)/none.txt").errors,
                       "tdpmmuctl: \(folder)/none.txt: No such file or directory\n")
        XCTAssertEqual(try run("replay", "\(folder)/none.txt", good).status, 2, "one bad file of two")
        XCTAssertEqual(try run("replay", folder).errors, "tdpmmuctl: \(folder): is a directory\n")
        let empty = try write("empty.txt", [])
        XCTAssertEqual(try run("replay", empty).errors, "tdpmmuctl: \(empty):1: the file is empty\n")
        let binary = try write("binary.txt", [35, 10, 0, 1, 2, 255, 10])
        XCTAssertEqual(try run("replay", binary).errors, "tdpmmuctl: \(binary):2: binary data\n")
        XCTAssertEqual(try run("replay", binary).status, 2)
    }

    func testDamagedGzipFiles() throws {
        let packed = [UInt8](try Data(contentsOf: URL(fileURLWithPath: Recorded.path("612-14_prefault"))))
        let short = try write("short.txt.gz", Array(packed.prefix(packed.count / 2)))
        let cut = try run("replay", short)
        XCTAssertEqual(cut.status, 2)
        XCTAssertTrue(cut.errors.hasPrefix("tdpmmuctl: \(short):"), cut.errors)
        XCTAssertTrue(cut.errors.hasSuffix(": the gzip file is truncated\n"), cut.errors)
        var damaged = packed
        for index in packed.count / 2..<packed.count / 2 + 64 { damaged[index] ^= 0x55 }
        let bad = try run("replay", try write("bad.txt.gz", damaged))
        XCTAssertEqual(bad.status, 2)
        XCTAssertTrue(bad.errors.contains("bad.txt.gz:"), bad.errors)
        let stub = try run("replay", try write("stub.txt.gz", Array(packed.prefix(5))))
        XCTAssertEqual(stub.status, 2, stub.errors)
    }

    func testDump() throws {
        let file = Recorded.path("612-04a_memslot_zap_all_fast")
        let last = try run("dump", file)
        XCTAssertEqual(last.status, 0, last.errors)
        XCTAssertTrue(last.output.hasPrefix("root  4 levels"), last.output)
        XCTAssertEqual(try run("dump", file, "--at", "9").output, last.output)
        XCTAssertNotEqual(try run("dump", file, "--at", "2").output, last.output)
        XCTAssertEqual(try run("dump", file, "--at-end", "--full").status, 0)
        let none = try run("dump", file, "--at", "10")
        XCTAssertEqual(none.status, 2)
        XCTAssertTrue(none.errors.contains("no dump 10 is recorded"), none.errors)
        XCTAssertNotEqual(try run("dump", file, "--at", "1", "--at-end").status, 0)
    }

    /// What the library recorded of a replay is a trace like the kernel's.
    func testARecordingReplays() throws {
        let copy = "\(folder)/copy.txt"
        let made = try run("replay", "--guest", "--record", copy, Recorded.path("612-05_notifier_madvise_mprotect"))
        XCTAssertEqual(made.status, 0, made.output + made.errors)
        for mode in ["--calls", "--guest"] {
            let result = try run("replay", mode, copy)
            XCTAssertEqual(result.status, 0, result.output + result.errors)
            let cells = result.output.split(separator: "\n")[1].split(separator: " ").map(String.init)
            XCTAssertEqual(cells[2...3], ["3155", "4"], "as many SPTE changes and dumps as the kernel had")
        }
        // And it is compared: one bit of it does not pass.
        let text = try read(copy)
        let flipped = try XCTUnwrap(text.range(of: "new_spte [0-9a-f]+e67", options: .regularExpression))
        let bad = text.replacingCharacters(in: flipped, with: text[flipped].dropLast(3) + "e65")
        try Data(bad.utf8).write(to: URL(fileURLWithPath: copy))
        XCTAssertEqual(try run("replay", copy).status, 1)
    }

    func testRecordWantsOneGuest() throws {
        let trace = Recorded.path("612-14_prefault")
        XCTAssertEqual(try run("replay", "--record", "\(folder)/copy.txt", trace).status, 64)
        XCTAssertEqual(try run("replay", "--guest", "--record", "\(folder)/copy.txt", trace, trace).status, 64)
        XCTAssertEqual(try run("replay", "--guest", "--record", "\(folder)/none/copy.txt", trace).status, 2)
        XCTAssertEqual(try run("trace", trace).errors, "tdpmmuctl: \(trace): no recording of trace events\n")
        XCTAssertEqual(try run("trace", trace).status, 2)
    }

    func testHelpAndVersion() throws {
        XCTAssertTrue(try run("--version").output.hasPrefix("tdpmmuctl, with libtdpmmu "))
        for arguments in [["--help"], ["replay", "--help"], ["dump", "--help"], ["trace", "--help"]] {
            let result = arguments.count == 1 ? try run(arguments[0]) : try run(arguments[0], arguments[1])
            XCTAssertEqual(result.status, 0)
            XCTAssertTrue(result.output.contains("USAGE: tdpmmuctl"), result.output)
        }
    }
}
