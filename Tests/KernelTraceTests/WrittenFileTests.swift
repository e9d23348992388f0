// SPDX-License-Identifier: GPL-2.0-only
import XCTest

@testable import KernelTrace

/// What this module writes, it reads again.
final class WrittenFileTests: XCTestCase {
    private var folder = ""

    override func setUpWithError() throws {
        folder = NSTemporaryDirectory() + "kerneltrace-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    override func tearDownWithError() throws { try FileManager.default.removeItem(atPath: folder) }

    private func files() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: folder).sorted() }

    func testATraceAndItsMarks() throws {
        var text = FtraceText()
        text.add("tracing_mark_write", "STEP kick vcpu=0", task: 7, cpu: 2)
        text.add("map_ret", "(f) ret=-14", task: 8)
        text.add("zap_all", "(f)", task: 123_456_789_012)
        let file = try NewFile("\(folder)/X.txt", text.text)
        try file.put()
        let trace = try Trace(file: "\(folder)/X.txt")
        XCTAssertEqual(trace.lines.map(\.event), [.step(.kick(vcpu: 0)), .mapReturn(-14), .zapAll])
        XCTAssertEqual(trace.lines.map(\.task), [7, 8, 123_456_789_012])
        let marks = Mark.all(in: try FileBytes.read("\(folder)/X.txt"))
        XCTAssertEqual(marks.map(\.text), ["STEP kick vcpu=0"])
        XCTAssertEqual(marks.map(\.line), [trace.lines[0].number])
        XCTAssertEqual(marks.map(\.task), [7])
    }

    func testDumps() throws {
        var text = DumpText()
        XCTAssertTrue(text.isEmpty)
        for (id, entries) in [(0, 3), (7, 0)] {
            text.begin(id, root: 0x1000, level: 5)
            for index in 0..<entries {
                text.add(level: 1, gfn: UInt64(index), spte: .max, kind: .leaf, address: 8 * UInt64(index))
            }
            text.end(id)
        }
        let file = try DumpFile(file: "D", bytes: Array(text.text.utf8))
        XCTAssertEqual(file.dumps.mapValues(\.entries.count), [0: 3, 7: 0])
        XCTAssertEqual(file.dumps[0]?.entries.last, DumpEntry(line: 4, level: 1, gfn: 2, spte: .max, kind: .leaf, address: 16))
        XCTAssertEqual(file.dumps[7]?.rootLevel, 5)
    }

    /// Not there until it is put there, and then as a whole; what it was is there until then.
    func testANewFile() throws {
        let path = "\(folder)/X.txt"
        let first = try NewFile(path, "one")
        XCTAssertFalse(FileBytes.exists(path))
        try first.put()
        XCTAssertEqual(try FileBytes.read(path), Array("one".utf8))
        let second = try NewFile(path, "two")
        XCTAssertEqual(try FileBytes.read(path), Array("one".utf8))
        second.discard()
        XCTAssertEqual(try files(), ["X.txt"])
        XCTAssertThrowsError(try second.put()) { XCTAssertTrue("\($0)".hasSuffix("No such file or directory"), "\($0)") }
        XCTAssertEqual(try FileBytes.read(path), Array("one".utf8))
        try NewFile(path, "two").put()
        XCTAssertEqual(try FileBytes.read(path), Array("two".utf8))
        XCTAssertEqual(try files(), ["X.txt"])
    }

    func testOneFileByTwoNames() throws {
        let path = "\(folder)/X.txt", other = "\(folder)/Y.txt"
        try NewFile(path, "text").put()
        try NewFile(other, "text").put()
        XCTAssertTrue(FileBytes.isSame(path, "\(folder)/../\((folder as NSString).lastPathComponent)/X.txt"))
        XCTAssertFalse(FileBytes.isSame(path, other))
        XCTAssertFalse(FileBytes.isSame(path, "\(folder)/none"))
    }

    func testLines() {
        let cut = withCursor("a\n\nb") { cursor in
            var lines: [String] = []
            while let (text, isComplete) = cursor.nextLine() { lines.append(text.rest + (isComplete ? "." : "!")) }
            return lines
        }
        XCTAssertEqual(cut, ["a.", ".", "b!"])
    }
}
