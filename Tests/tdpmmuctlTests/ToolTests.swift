// SPDX-License-Identifier: GPL-2.0-only
import Foundation
import RecordedTraces
import XCTest

/// Traces replayed, dumped and printed.
final class ToolTests: ToolTestCase {
    func testOptionsOfTheMachine() throws {
        let intel = Recorded.path("612ept-06s_mmio_readonly")
        XCTAssertEqual(try run("replay", "--vendor", "ept", "--pml", "--l1tf-cache-bits", "40", intel).status, 0)
        for wrong in [["--vendor", "npt"], ["--no-ad"], ["--no-pml"], ["--root-level", "5"], ["--maxphyaddr", "46"],
                      ["--l1tf-cache-bits", "0"]] {
            let result = try execute([tool, "replay"] + wrong + [intel])
            XCTAssertEqual(result.status, 1, "\(wrong): \(result.errors)")
            XCTAssertTrue(result.output.contains("the machine has"), "\(wrong)")
        }
        XCTAssertEqual(try run("dump", "--vendor", "npt", intel).status, 1)
        for impossible in [["--vendor", "via"], ["--vendor", "npt", "--pml"], ["--vendor", "npt", "--no-ad"], ["--no-ad", "--pml"],
                           ["--root-level", "3"], ["--maxphyaddr", "53"], ["--l1tf-cache-bits", "47"]] {
            XCTAssertEqual(try execute([tool, "replay"] + impossible + [intel]).status, 64, "\(impossible)")
        }
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
        XCTAssertEqual(try run("replay", "--guest", "--record", "\(folder)/none/copy.txt", trace).status, 1)
        XCTAssertEqual(try run("trace", trace).errors, "tdpmmuctl: \(trace): no recording of trace events\n")
        XCTAssertEqual(try run("trace", trace).status, 2)
    }

    /// No command ends well if what it had to say is not written.
    func testOutputThatCannotBeWritten() throws {
        let trace = Recorded.path("612-14_prefault")
        let events = try write("events", Array("TDPMMU1\n".utf8) + [24, 0, 0, 0, 88, 0, 0, 0] + [UInt8](repeating: 0, count: 8))
        XCTAssertEqual(try run("trace", events).status, 0)
        for arguments in [["replay", trace], ["replay", "--guest", trace], ["dump", trace], ["trace", events], ["--help"],
                          ["help", "replay"], ["dump", "--help"], ["--version"]] {
            let result = try execute([tool] + arguments, output: "/dev/full")
            XCTAssertEqual(result.status, 1, "\(arguments)")
            XCTAssertEqual(result.errors, "tdpmmuctl: standard output: cannot be written: No space left on device\n")
        }
        let closed = try execute(["/bin/sh", "-c", "exec \"$0\" \"$@\" >&-", tool, "replay", trace])
        XCTAssertEqual(closed.status, 1)
        XCTAssertEqual(closed.errors, "tdpmmuctl: standard output: cannot be written: Bad file descriptor\n")
    }

    private var filesInFolder: [String] {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return files.filter { $0 != "stdout" && $0 != "stderr" }.sorted()
    }

    /// A recording is there as a whole or not at all, and the old one stays until then.
    func testARecordingThatCannotBeWritten() throws {
        let trace = Recorded.path("612-14_prefault"), copy = "\(folder)/copy.txt"
        let full = try run("replay", "--guest", "--record", "/dev/full", trace)
        XCTAssertEqual(full.status, 1)
        XCTAssertEqual(full.errors, "tdpmmuctl: /dev/full: cannot be written: No space left on device\n")
        XCTAssertTrue(full.output.contains("612-14_prefault"), "the replay is told of")
        _ = try write("copy.txt", Array("old".utf8))
        // Files end at 64 KiB: the trace does not fit.
        let cut = try execute(["/bin/bash", "-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\"", tool, "replay", "--guest",
                               "--record", copy, trace])
        XCTAssertEqual(cut.status, 1)
        XCTAssertEqual(cut.errors, "tdpmmuctl: \(copy): cannot be written: File too large\n")
        XCTAssertEqual(try read(copy), "old")
        XCTAssertEqual(filesInFolder, ["copy.txt"], "nothing half is left")
        // The same, by a signal that ends the tool.
        let killed = try execute(["/bin/bash", "-c", "(ulimit -f 64; exec \"$0\" \"$@\" 2>&1)", tool, "replay", "--guest", "--record", copy, trace])
        XCTAssertEqual(killed.status, 128 + SIGXFSZ)
        XCTAssertEqual(filesInFolder, ["copy.txt"])
        // Its dumps have no place.
        try FileManager.default.createDirectory(atPath: "\(folder)/copy.npt.txt", withIntermediateDirectories: false)
        let noDumps = try run("replay", "--guest", "--record", copy, trace)
        XCTAssertEqual(noDumps.status, 1)
        XCTAssertEqual(noDumps.errors, "tdpmmuctl: \(folder)/copy.npt.txt: cannot be written: Is a directory\n")
        XCTAssertEqual(try read(copy), "old")
        XCTAssertEqual(filesInFolder, ["copy.npt.txt", "copy.txt"])
        try FileManager.default.removeItem(atPath: "\(folder)/copy.npt.txt")
        // Through a link, which stays one.
        try FileManager.default.createSymbolicLink(atPath: "\(folder)/link.txt", withDestinationPath: copy)
        XCTAssertEqual(try run("replay", "--guest", "--record", "\(folder)/link.txt", trace).status, 0)
        XCTAssertEqual(try FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/link.txt"), copy)
        XCTAssertTrue(try read(copy).hasPrefix("# tracer"))
        XCTAssertEqual(filesInFolder, ["copy.txt", "link.npt.txt", "link.txt"])
    }

    /// Nor does it take the place of what is replayed, by whatever name.
    func testARecordingNeverReplacesItsInput() throws {
        let trace = try Recorded("612-14_prefault"), file = try copy(trace)
        try FileManager.default.createSymbolicLink(atPath: "\(folder)/symbolic.txt", withDestinationPath: file)
        try FileManager.default.linkItem(atPath: file, toPath: "\(folder)/hard.txt")
        for name in ["X.txt", "symbolic.txt", "hard.txt", "X.npt.txt", "X", "../" + (folder as NSString).lastPathComponent + "/X.txt"] {
            let result = try run("replay", "--guest", "--record", "\(folder)/\(name)", file)
            XCTAssertEqual(result.status, 64, name)
            XCTAssertTrue(result.errors.contains("--record would replace"), result.errors)
            XCTAssertEqual(result.output, "")
        }
        XCTAssertEqual(try read(file), trace.lines.joined(separator: "\n") + "\n")
        XCTAssertEqual(try read("\(folder)/X.npt.txt"), trace.dumpLines.joined(separator: "\n") + "\n")
        XCTAssertEqual(filesInFolder, ["X.npt.txt", "X.txt", "hard.txt", "symbolic.txt"])
    }

    func testHelpAndVersion() throws {
        XCTAssertTrue(try run("--version").output.hasPrefix("tdpmmuctl, with libtdpmmu "))
        for arguments in [["--help"], ["replay", "--help"], ["dump", "--help"], ["trace", "--help"], ["compare", "--help"]] {
            let result = arguments.count == 1 ? try run(arguments[0]) : try run(arguments[0], arguments[1])
            XCTAssertEqual(result.status, 0)
            XCTAssertTrue(result.output.contains("USAGE: tdpmmuctl"), result.output)
        }
    }
}
