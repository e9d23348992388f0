// SPDX-License-Identifier: GPL-2.0-only
import XCTest

@testable import OperationLists

/// What counts as a difference.
final class JudgeTests: XCTestCase {
    private let list = OperationList(Setup(), [Operation(.zapall), Operation(.stats)])

    /// Lines of fields: result, warned, counters, changes, flushes, requests, tables.
    private func reply(_ lines: String..., failure: String? = nil) -> Reply {
        Reply(text: Array(lines.map { $0 + "\n" }.joined().utf8), failure: failure)
    }

    private let good = "ok\t\t1\t2\t3\t4\t5"

    private func difference(_ one: Reply, _ other: Reply, ignoring: Set<Answer.Field> = [], _ list: OperationList? = nil) -> Difference? {
        var judge = Judge()
        judge.ignored = ignoring
        return judge.difference(list ?? self.list, [one, other])
    }

    func testFields() {
        let one = reply(good, good, good, good)
        XCTAssertNil(difference(one, one))
        let fields = good.split(separator: "\t", omittingEmptySubsequences: false)
        for (index, field) in Answer.Field.allCases.enumerated() {
            var other = fields
            other[index] = "other"
            let line = other.joined(separator: "\t")
            XCTAssertEqual(difference(one, reply(good, good, line, good)), Difference(index: 2, cause: .fields([field])))
            XCTAssertEqual(difference(reply(good, good, good, line), one), Difference(index: 3, cause: .fields([field])))
            XCTAssertNil(difference(one, reply(good, good, line, good), ignoring: [field]))
        }
        XCTAssertEqual(difference(one, reply(good, good, "ok", good)),
                       Difference(index: 2, cause: .fields([.warned, .counters, .changes, .flushes, .requests, .tables])))
    }

    /// docs/KERNELS.md: zap_all flushes here.
    func testDepartures() {
        let one = reply(good, good, good, good), flushed = good.replacingOccurrences(of: "\t3\t", with: "\t0\t")
        XCTAssertNil(difference(one, reply(good, flushed, good, good)))
        XCTAssertEqual(difference(one, reply(good, good, flushed, good)), Difference(index: 2, cause: .fields([.flushes])))
        // And it warns of a table whose slot is gone.
        let recovering = OperationList(Setup(), [Operation(.recover, 1), Operation(.stats)])
        let warned = good.replacingOccurrences(of: "ok\t", with: "ok\twarned")
        XCTAssertNil(difference(one, reply(good, warned, good, good), recovering))
        XCTAssertEqual(difference(one, reply(good, good, warned, good), recovering), Difference(index: 2, cause: .fields([.warned])))
    }

    func testFailures() {
        let one = reply(good, good, good, good)
        XCTAssertEqual(difference(one, reply(good, good, failure: "killed")), Difference(index: 2, cause: .failure([nil, "killed"])))
        XCTAssertEqual(difference(reply(failure: "a"), reply(failure: "a")), Difference(index: 0, cause: .failure(["a", "a"])),
                       "two that fail are not alike")
        XCTAssertEqual(difference(reply(good, "no\t\t1", failure: "killed"), one),
                       Difference(index: 1, cause: .fields([.result, .changes, .flushes, .requests, .tables].filter { $0 != .flushes })),
                       "what came before is told first")
    }

    func testExpectations() {
        var list = list
        list.operations[1].expected = "fine"
        let one = reply(good, good, good, good), fine = reply(good, good, good.replacingOccurrences(of: "ok", with: "fine"), good)
        XCTAssertEqual(difference(one, one, list), Difference(index: 2, cause: .expectation(library: 0)))
        XCTAssertEqual(difference(fine, one, list), Difference(index: 2, cause: .expectation(library: 1)))
        XCTAssertNil(difference(fine, fine, list))
        XCTAssertNil(Judge().difference(list, [fine]))
        XCTAssertEqual(Judge().difference(list, [one]), Difference(index: 2, cause: .expectation(library: 0)))
    }

    private func difference(_ one: Reply, _ other: Reply, _ list: OperationList) -> Difference? {
        difference(one, other, ignoring: [], list)
    }

    func testAReportIsAListAgain() throws {
        let found = Difference(index: 2, cause: .fields([.tables]))
        let transcripts = [["tables a", "tables b", "changes x"], ["tables a", "tables c"]].map { details in
            Transcript(Reply(text: Array(([good, good, good, good] + details.map { "\t" + $0 }).map { $0 + "\n" }.joined().utf8), failure: nil))
        }
        let text = DifferenceReport(list: list, found: found, names: ["one", "other"], transcripts: transcripts).text
        XCTAssertEqual(try OperationList(file: "X", bytes: Array(text.utf8)).text, list.text)
        XCTAssertTrue(text.contains("# operation 2 of 2, stats: tables differs\n"), text)
        XCTAssertTrue(text.contains("#     only A has b\n#     only B has c\n"), text)
        XCTAssertTrue(text.contains("\nstats  # here\n"), text)
    }
}
