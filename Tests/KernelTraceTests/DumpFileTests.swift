// SPDX-License-Identifier: GPL-2.0-only
import RecordedTraces
import XCTest

@testable import KernelTrace

final class DumpFileTests: XCTestCase {
    private let good = [
        "DUMP id=0 root=0x129dcb000 root_level=4",
        "SPTE level=4 gfn=0 spte=129dca827 kind=table sptep=129dcb000",
        "SPTE level=1 gfn=40000 spte=8000040000057 kind=nonpresent sptep=129ebc000",
        "END id=0 n=2",
    ]

    private func problem(_ lines: [String]) -> String? {
        do {
            _ = try DumpFile(file: "D", bytes: Recorded.bytes(lines))
            return nil
        } catch {
            return "\(error)"
        }
    }

    private func edited(_ index: Int, _ line: String) -> [String] {
        var lines = good
        lines[index] = line
        return lines
    }

    func testReadsADump() throws {
        let dump = try XCTUnwrap(DumpFile(file: "D", bytes: Recorded.bytes(good)).dumps[0])
        XCTAssertEqual(dump.root, 0x1_29dc_b000)
        XCTAssertEqual(dump.rootLevel, 4)
        XCTAssertEqual(dump.entries.count, 2)
        XCTAssertEqual(dump.entries.first, DumpEntry(
            line: 2, level: 4, gfn: 0, spte: 0x1_29dc_a827, kind: .table, address: 0x1_29dc_b000))
    }

    func testTheFileBesideATrace() {
        XCTAssertEqual(DumpFile.candidates(besides: "a/X.txt.gz"), ["a/X.npt.txt", "a/X.npt.txt.gz"])
        XCTAssertEqual(DumpFile.candidates(besides: "X.txt"), ["X.npt.txt", "X.npt.txt.gz"])
        XCTAssertEqual(DumpFile.candidates(besides: "X"), ["X.npt.txt", "X.npt.txt.gz"])
    }

    func testNamesTheBadLine() {
        XCTAssertEqual(problem(edited(1, "SPTE level=4 gfn=0 spte=g kind=table sptep=1")), "D:2: this is no line of a dump file")
        XCTAssertEqual(problem(edited(1, "SPTE level=4 gfn=0 spte=1 kind=tabel sptep=1")), "D:2: this is no line of a dump file")
        XCTAssertEqual(problem(edited(1, good[1] + " ")), "D:2: this is no line of a dump file")
        XCTAssertEqual(problem(edited(3, "END id=0 n=3")), "D:4: dump 0 has 2 of 3 entries")
        XCTAssertEqual(problem(edited(3, "END id=1 n=2")), "D:4: END of dump 1 inside dump 0")
        XCTAssertEqual(problem(edited(3, "\u{1}\u{2}")), "D:4: this is no line of a dump file")
        XCTAssertEqual(problem(Array(good.dropLast())), "D:3: dump 0 has no END: the file is cut short")
        XCTAssertEqual(problem(Array(good.dropFirst())), "D:1: an entry outside a dump")
        XCTAssertEqual(problem(good + good), "D:5: a second dump 0")
        XCTAssertEqual(problem([good[0]] + good), "D:2: a dump inside a dump")
    }

    func testALineThatIsCutShort() {
        var bytes = Recorded.bytes(good)
        bytes.removeLast()
        XCTAssertThrowsError(try DumpFile(file: "D", bytes: bytes)) {
            XCTAssertEqual("\($0)", "D:4: the last line is cut short")
        }
    }
}
