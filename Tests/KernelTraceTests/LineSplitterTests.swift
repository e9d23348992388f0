// SPDX-License-Identifier: GPL-2.0-only
import XCTest

@testable import KernelTrace

final class LineSplitterTests: XCTestCase {
    /// The lines of a text that comes in pieces of some size, and whether it ended within one.
    private func lines(of text: String, by size: Int) -> (lines: [String], isInLine: Bool) {
        var splitter = LineSplitter(), lines: [String] = []
        let bytes = Array(text.utf8)
        for start in stride(from: 0, to: bytes.count, by: size) {
            let problem = bytes[start..<min(start + size, bytes.count)].withUnsafeBufferPointer {
                splitter.take($0) {
                    lines.append($0.rest)
                    return nil
                }
            }
            XCTAssertNil(problem)
        }
        return (lines, splitter.isInLine)
    }

    func testPiecesOfEachSize() {
        let text = "one\n\ntwo and a half\nthree\n"
        for size in 1...text.utf8.count + 1 {
            let result = lines(of: text, by: size)
            XCTAssertEqual(result.lines, ["one", "", "two and a half", "three"], "pieces of \(size)")
            XCTAssertFalse(result.isInLine, "pieces of \(size)")
        }
    }

    func testALineWithoutEnd() {
        for size in 1...8 {
            let result = lines(of: "one\ntwo", by: size)
            XCTAssertEqual(result.lines, ["one"], "pieces of \(size)")
            XCTAssertTrue(result.isInLine, "pieces of \(size)")
        }
    }

    func testTheFirstProblemEndsIt() {
        for size in 1...9 {
            var splitter = LineSplitter(), seen = 0, problem: BadInput?
            let bytes = Array("a\nb\nc\nd\n".utf8)
            for start in stride(from: 0, to: bytes.count, by: size) where problem == nil {
                problem = bytes[start..<min(start + size, bytes.count)].withUnsafeBufferPointer {
                    splitter.take($0) { line in
                        seen += 1
                        return line.rest == "b" ? BadInput(file: "X", line: seen, problem: "no b") : nil
                    }
                }
            }
            XCTAssertEqual(problem?.description, "X:2: no b")
            XCTAssertEqual(seen, 2)
        }
    }
}
