// SPDX-License-Identifier: GPL-2.0-only
import Foundation
import RecordedTraces
import XCTest

/// A VM's tables drawn, from traces and from dump files.
final class TablesTests: ToolTestCase {
    private let trace = Recorded.path("612-03a_dirtylog_plain"), dumps = "\(Recorded.folder)/612-03a_dirtylog_plain.npt.txt.gz"

    /// Our tables are the kernel's: but for their addresses the pictures are the same.
    func testTheKernelsTablesAndOurs() throws {
        for dump in ["1", "3", "6"] {
            let beside = try run("tables", "--json", "--at", dump, trace, dumps)
            XCTAssertEqual(beside.status, 0, beside.errors)
            XCTAssertTrue(beside.output.contains("],\"differences\":0,\"roots\":[{\"sides\":[{"), String(beside.output.prefix(300)))
        }
        let intel = try run("tables", Recorded.path("612ept-03s_dirtylog"), "\(Recorded.folder)/612ept-03s_dirtylog.npt.txt.gz")
        XCTAssertTrue(intel.output.contains("no difference"), intel.output)
    }

    func testTwoDumpsOfATrace() throws {
        let result = try run("tables", "--at", "1", "--beside", "3", trace)
        XCTAssertEqual(result.status, 0, result.errors)
        XCTAssertTrue(result.output.hasPrefix("A  612-03a_dirtylog_plain at dump 1\nB  612-03a_dirtylog_plain at dump 3\n"), result.output)
        XCTAssertTrue(result.output.contains("\n+       L1 40a00-40bff "), result.output)
        XCTAssertTrue(result.output.contains("\n      1 entry differs\n"), result.output)
        XCTAssertEqual(result.output.split(separator: "\n").map(\.count).max().map { $0 <= 80 }, true)
        XCTAssertTrue(try run("tables", "--at", "3", "--beside", "3", trace).output.contains("no difference"))
    }

    func testSomeGFNs() throws {
        let result = try run("tables", "--at", "3", "--gfn", "0x40a05-40a1b", trace)
        XCTAssertEqual(result.output.split(separator: "\n").filter { $0.hasPrefix("        ") }.map { $0.split(separator: " ").joined(separator: " ") },
                       ["4K leaf 40a05 R-X ADHM pfn 12c805", "hole 40a06-40a1a 84 KiB", "4K leaf 40a1b R-X ADHM pfn 12c81b"], result.output)
        let none = try run("tables", "--gfn", "ffffffffffffffff", trace)
        XCTAssertEqual(none.status, 0)
        XCTAssertFalse(none.output.contains("leaf x"), none.output)
    }

    func testFormatsAreWrittenToAFile() throws {
        for (format, beginning) in [("svg", "<svg "), ("html", "<!DOCTYPE html>"), ("dot", "digraph "), ("json", "{"), ("text", "612-03a")] {
            let file = "\(folder)/picture"
            let result = try run("tables", "--format", format, "-o", file, trace)
            XCTAssertEqual(result.status, 0, result.errors)
            XCTAssertEqual(result.output, "")
            XCTAssertTrue(try read(file).hasPrefix(beginning))
            XCTAssertEqual(try run("tables", "--format", format, trace).output, try read(file))
        }
    }

    func testBadInput() throws {
        // Copies: a tool that is wrong shall not spoil what is recorded.
        let trace = "\(folder)/X.txt.gz", dumps = "\(folder)/X.npt.txt.gz"
        try FileManager.default.copyItem(atPath: self.trace, toPath: trace)
        try FileManager.default.copyItem(atPath: self.dumps, toPath: dumps)
        for (arguments, status) in [
            (["--at", "99", trace], 2), (["--beside", "99", trace], 2), (["--at", "99", dumps], 2), ([folder], 2), (["\(folder)/none"], 2),
            (["--format", "png", trace], 64), (["--gfn", "5-4", trace], 64), (["--gfn", "x", trace], 64), (["--gfn", "1-2-3", trace], 64), (["--gfn", "", trace], 64),
            (["--gfn", "10000000000000000", trace], 64), ([trace, trace, trace], 64), (["--json", "--format", "svg", trace], 64), ([], 64),
            (["--at-end", "--beside", "1", trace], 64), (["-o", "-", trace], 64), (["-o", trace, trace], 64), (["-o", dumps, trace], 64),
            (["--dumps", dumps, trace, trace], 64), (["-o", "\(folder)/none/x", trace], 1),
        ] {
            let result = try execute([tool, "tables"] + arguments)
            XCTAssertEqual(result.status, Int32(status), "\(arguments): \(result.errors)")
            XCTAssertEqual(result.output, "")
            XCTAssertEqual(result.errors.filter { $0 == "\n" }.count, 1, result.errors)
        }
        XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: folder).sorted(), ["X.npt.txt.gz", "X.txt.gz", "stderr", "stdout"])
        XCTAssertEqual(try run("tables", "--json", trace, dumps).status, 0, "they are what they were")
    }

    func testADumpFileThatIsBroken() throws {
        let lines = try Recorded("612-14_prefault").dumpLines
        let cut = try run("tables", try write("cut.npt.txt", Recorded.bytes(Array(lines.dropLast()))))
        XCTAssertEqual(cut.status, 2)
        XCTAssertTrue(cut.errors.contains("has no END"), cut.errors)
        let odd = try write("odd", Array("DUMP id=1 root=0x1000 root_level=9\nEND id=1 n=0\n".utf8))
        XCTAssertEqual(try run("tables", odd).errors, "tdpmmuctl: \(odd):1: no root has 9 levels\n")
        // Entries that belong nowhere, and one beside its table.
        let stray = try write("stray", Array("""
            DUMP id=1 root=0x1000 root_level=4
            SPTE level=1 gfn=5 spte=867 kind=leaf sptep=0
            SPTE level=4 gfn=0 spte=827 kind=table sptep=0
            SPTE level=3 gfn=ffffffffffffffff spte=867 kind=leaf sptep=0
            SPTE level=0 gfn=0 spte=867 kind=leaf sptep=0
            SPTE level=77 gfn=0 spte=867 kind=table sptep=0
            SPTE level=4 gfn=0 spte=827 kind=table sptep=0
            SPTE level=4 gfn=8000000 spte=867 kind=leaf sptep=0
            SPTE level=4 gfn=8000000 spte=867 kind=leaf sptep=0
            END id=1 n=8

            """.utf8))
        let result = try run("tables", stray)
        XCTAssertEqual(result.status, 0, result.errors)
        XCTAssertTrue(result.output.contains("2 tables, 1 leaf of 512G, 512 GiB mapped"), result.output)
    }

    /// The tables are drawn, though the replay came to others than the kernel.
    func testDifferencesOnTheWay() throws {
        let result = try run("tables", "--vendor", "npt", Recorded.path("612ept-06s_mmio_readonly"))
        XCTAssertEqual(result.status, 1)
        XCTAssertTrue(result.output.contains("root  4 levels"))
        XCTAssertTrue(result.errors.contains("differences on the way"), result.errors)
    }
}
