// SPDX-License-Identifier: GPL-2.0-only
import Foundation
import RecordedTraces
import XCTest

/// What comes on standard input, what goes to standard output, and what of it is JSON.
final class StreamTests: ToolTestCase {
    private let trace = Recorded.path("612-14_prefault"), dumps = "\(Recorded.folder)/612-14_prefault.npt.txt.gz"

    /// With a file as standard input, or through a pipe.
    private func run(_ arguments: String..., input: String) throws -> Result {
        try execute(["/bin/sh", "-c", "input=$1; shift; exec \"$0\" \"$@\" <\"$input\"", tool, input] + arguments)
    }

    private func runPiped(_ arguments: String..., input: String) throws -> Result {
        try execute(["/bin/sh", "-c", "input=$1; shift; cat \"$input\" | \"$0\" \"$@\"", tool, input] + arguments)
    }

    private func object(_ result: Result) throws -> [String: Any] {
        XCTAssertEqual(result.output.filter { $0 == "\n" }.count, 1, "one line")
        let value = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
        return try XCTUnwrap(value as? [String: Any])
    }

    private func events() throws -> String {
        let mark: [UInt8] = [6, 0, 0] + Array("INFO x".utf8) + [UInt8](repeating: 0, count: 55)
        var event: [UInt8] = [1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 77, 0, 0, 0, 3, 0, 57, 0]
        event += mark
        return try write("events", Array("TDPMMU1\n".utf8) + [24, 0, 0, 0, 88, 0, 0, 0] + [UInt8](repeating: 0, count: 8) + event)
    }

    func testTracesFromStandardInput() throws {
        for result in [try run("replay", "--dumps", dumps, "-", input: trace), try runPiped("replay", "--dumps", dumps, "-", input: trace)] {
            XCTAssertEqual(result.status, 0, result.errors)
            XCTAssertEqual(result.errors, "")
            XCTAssertEqual(result.output.split(separator: "\n").last?.split(separator: " ").prefix(2), ["standard", "input"])
        }
        XCTAssertEqual(try runPiped("dump", "--dumps", dumps, "-", input: trace).output, try super.run("dump", trace).output)
        let recorded = "\(folder)/again.txt"
        XCTAssertEqual(try runPiped("replay", "--guest", "--record", recorded, "--dumps", dumps, "-", input: trace).status, 0)
        XCTAssertEqual(try super.run("replay", recorded).status, 0, "marks and events of what came on standard input")
        let noDumps = try runPiped("replay", "-", input: trace)
        XCTAssertEqual(noDumps.status, 2)
        XCTAssertTrue(noDumps.errors.hasPrefix("tdpmmuctl: standard input:"), noDumps.errors)
        XCTAssertTrue(noDumps.errors.hasSuffix("has no file: name it by --dumps\n"), noDumps.errors)
    }

    /// As a shell makes them of <(...): what is read twice is kept.
    func testNamedPipes() throws {
        for arguments in ["replay --guest --record \(folder)/again.txt", "tables --json", "dump"] {
            let result = try execute(["/bin/bash", "-c", "\"$0\" \(arguments) --dumps <(zcat \"$2\") <(zcat \"$1\")", tool, trace, dumps])
            XCTAssertEqual(result.status, 0, result.errors)
        }
        XCTAssertEqual(try super.run("replay", "\(folder)/again.txt").status, 0)
    }

    func testStandardInputThatIsNothing() throws {
        for (input, problem) in [("/dev/null", "standard input:1: the file is empty"), (folder, "standard input: is a directory")] {
            let result = try run("replay", "-", input: input)
            XCTAssertEqual(result.status, 2)
            XCTAssertEqual(result.errors, "tdpmmuctl: \(problem)\n")
        }
        let closed = try execute(["/bin/sh", "-c", "exec \"$0\" replay - <&-", tool])
        XCTAssertEqual(closed.status, 2)
        XCTAssertEqual(closed.errors, "tdpmmuctl: standard input: Bad file descriptor\n")
        for option in ["--with", "--library"] {
            let library = try execute([tool, "compare", "--with", "-", option, "-"])
            XCTAssertEqual(library.status, 2)
            XCTAssertEqual(library.errors, "tdpmmuctl: standard input: is no libtdpmmu.so.1: a library has to be a file\n")
        }
        XCTAssertEqual(try execute([tool, "replay", "--guest", "--record", "-", trace]).status, 64)
        XCTAssertFalse(FileManager.default.fileExists(atPath: "-"))
        XCTAssertEqual(try execute([tool, "compare", "--list", trace, "--save", "-"]).status, 64)
        XCTAssertEqual(try execute([tool, "replay", "--dumps", dumps, trace, trace]).status, 64)
    }

    /// Nor is what stands on standard input replaced.
    func testARecordingNeverReplacesStandardInput() throws {
        let copy = "\(folder)/X.txt"
        try FileManager.default.copyItem(atPath: trace, toPath: copy)
        let result = try run("replay", "--guest", "--record", copy, "--dumps", dumps, "-", input: copy)
        XCTAssertEqual(result.status, 64)
        XCTAssertTrue(result.errors.contains("--record would replace standard input"), result.errors)
        XCTAssertEqual(try FileManager.default.attributesOfItem(atPath: copy)[.size] as? Int,
                       try FileManager.default.attributesOfItem(atPath: trace)[.size] as? Int)
    }

    func testOtherFilesFromStandardInput() throws {
        let file = try events()
        let plain = try super.run("trace", file)
        XCTAssertEqual(plain.status, 0)
        XCTAssertTrue(plain.output.hasSuffix("tracing_mark_write: INFO x\n"), plain.output)
        XCTAssertEqual(try runPiped("trace", "-", input: file).output, plain.output)
        let list = try write("one.ops", Array("init npt\nzapall\n".utf8))
        XCTAssertEqual(try runPiped("compare", "--list", "-", input: list).output, "1 list, 0 different\n")
    }

    /// What a rig recorded is replayed as it is.
    func testARecordingInPlaceOfATrace() throws {
        let result = try super.run("replay", try events())
        XCTAssertEqual(result.status, 0, result.errors)
        XCTAssertEqual(result.output.split(separator: "\n").last?.split(separator: " "), ["events", "0", "0", "0", "0", "0"])
    }

    func testReplaysAsJSON() throws {
        let same = try super.run("replay", "--json", trace)
        XCTAssertEqual(same.status, 0)
        let value = try object(same)
        XCTAssertEqual(value.keys.sorted(), ["files", "library", "total", "unreadable", "unwritten", "version"])
        let files = try XCTUnwrap(value["files"] as? [[String: Any]])
        XCTAssertEqual(files[0].keys.sorted(), ["ad_applied", "calls", "differences", "dumps", "file", "shown", "spte_changes"])
        XCTAssertEqual(files[0]["file"] as? String, "612-14_prefault")
        XCTAssertEqual((value["total"] as? [String: Any])?["calls"] as? Int, files[0]["calls"] as? Int)
    }

    func testDifferencesAndBadFilesAsJSON() throws {
        let wrong = try super.run("replay", "--json", "--no-ad", Recorded.path("612ept-06s_mmio_readonly"), "\(folder)/no \"file\"\n")
        XCTAssertEqual(wrong.status, 2)
        let value = try object(wrong)
        let files = try XCTUnwrap(value["files"] as? [[String: Any]]), bad = try XCTUnwrap(value["unreadable"] as? [[String: Any]])
        XCTAssertGreaterThan(try XCTUnwrap(files[0]["differences"] as? Int), 0)
        let shown = try XCTUnwrap(files[0]["shown"] as? [[String: Any]])
        XCTAssertEqual(shown[0].keys.sorted(), ["expected", "file", "got", "line", "what"])
        XCTAssertEqual(bad.map { $0["file"] as? String }, ["\(folder)/no \"file\"\n"])
        let unwritten = try super.run("replay", "--json", "--guest", "--record", "/dev/full", trace)
        XCTAssertEqual(unwritten.status, 1)
        XCTAssertEqual(try object(unwritten)["unwritten"] as? String, "/dev/full: cannot be written: No space left on device")
    }

    func testDumpsTracesAndListsAsJSON() throws {
        let dump = try object(try super.run("dump", "--json", trace))
        XCTAssertEqual(dump.keys.sorted(), ["differences", "name", "roots", "shown", "vendor"])
        let root = try XCTUnwrap((dump["roots"] as? [[String: Any]])?.first)
        XCTAssertEqual(root.keys.sorted(), ["address", "address_space", "entries", "levels", "role", "vcpus"])
        let entries = try XCTUnwrap(root["entries"] as? [[String: Any]])
        XCTAssertEqual(entries[0].keys.sorted(), ["at", "bits", "gfn", "kind", "level", "spte"])
        let recording = try super.run("trace", "--json", try events())
        XCTAssertEqual(recording.output, "[{\"file\":\"\(folder)/events\",\"lost\":0,\"events\":[{\"task\":77,\"cpu\":3,"
                       + "\"event\":\"tracing_mark_write\",\"text\":\"INFO x\"}]}]\n")
        let lists = try object(try super.run("compare", "--json", "--with", "build/libtdpmmu.so.1", "--lists", "4", "--steps", "5"))
        XCTAssertEqual(lists.keys.sorted(), ["different", "kinds", "lists", "rows", "shown"])
        let wrong = try write("wrong.ops", Array("init npt\nvcpu 0 #= fixed\n".utf8))
        let different = try super.run("compare", "--json", "--list", wrong)
        XCTAssertEqual(different.status, 1, different.output + different.errors)
        let found = try object(different)
        XCTAssertEqual(found["different"] as? Int, 1)
        XCTAssertTrue(try XCTUnwrap((found["shown"] as? [String])?.first).contains("not what the list expects"), different.output)
    }

    func testAMergedExplorationAsJSON() throws {
        let lines = ["tdpmmu-explore 1", "scenario s", "threads 2", "mode all", "limit 0", "shard 1/1", "shared 3", "schedules 5", "left 1",
                     "longest 9", "seconds 0.5", "failed 1", "failure assertion: \"x\"", "schedule a1", "end", ""]
        let merged = try super.run("explore", "--merge", "--json", try write("result", Array(lines.joined(separator: "\n").utf8)))
        XCTAssertEqual(merged.status, 1)
        let value = try object(merged)
        XCTAssertEqual(value.keys.sorted(),
                       ["complaints", "failures", "left_early", "mode", "scenario", "schedules", "seconds", "shards", "threads"])
        XCTAssertEqual(value["failures"] as? [String], ["assertion: \"x\"\n    --scenario s --schedule a1"])
    }

    /// Every command's last word is one line.
    func testWrongUsageIsOneLine() throws {
        for arguments in [["replay"], ["replay", "--bogus"], ["dump", "--at", "x", "y"], ["replay", "--vendor", "via", "x"], ["explore"],
                          ["compare"], ["trace"], ["bogus"], ["replay", "--record", "a", "b"]] {
            let result = try execute([tool] + arguments)
            XCTAssertEqual(result.status, 64, "\(arguments)")
            XCTAssertEqual(result.output, "")
            XCTAssertTrue(result.errors.hasPrefix("tdpmmuctl: "), result.errors)
            XCTAssertEqual(result.errors.filter { $0 == "\n" }.count, 1, result.errors)
        }
    }

    /// A reader that has seen enough is no failure to be told of; to who ignores the signal it is.
    func testAReaderThatLeaves() throws {
        // A pipe that nobody reads, whenever who starts.
        let result = try execute(["/bin/bash", "-c", """
            mkfifo "$2/pipe"; exec 3<>"$2/pipe" 4>"$2/pipe" 3>&-
            ("$0" dump "$1" >&4); echo "$?"
            ("$0" compare --with build/libtdpmmu.so.1 --lists 2 --steps 2 >&4); echo "$?"
            trap '' PIPE; ("$0" dump "$1" >&4); echo "$?" >&2
            """, tool, trace, folder])
        XCTAssertEqual(result.output, "141\n141\n")
        XCTAssertEqual(result.errors, "tdpmmuctl: standard output: cannot be written: Broken pipe\n1\n")
    }
}
