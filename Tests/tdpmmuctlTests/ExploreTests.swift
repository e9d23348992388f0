// SPDX-License-Identifier: GPL-2.0-only
import Foundation
import XCTest

/// tdpmmuctl explore --merge: the results of shards, right and wrong.
final class ExploreTests: ToolTestCase {
    private func result(
        _ shard: String, scenario: String = "fault_zap", mode: String = "preemptions 3", schedules: Int = 10, shared: Int = 7,
        failure: String? = nil, end: String = "end\n"
    ) throws -> String {
        let text = """
            tdpmmu-explore 1
            scenario \(scenario)
            threads 2
            mode \(mode)
            limit 0
            shard \(shard)
            shared \(shared)
            schedules \(schedules)
            left 3
            longest 200
            seconds 1.500
            failed \(failure == nil ? 0 : 1)

            """ + (failure.map { "failure \($0)\nschedule a3.b4\n" } ?? "") + end
        return try write("result-\(UUID().uuidString)", Array(text.utf8))
    }

    func testSumsAreThoseOfAllShards() throws {
        let merged = try run("explore", "--merge", result("2/2", schedules: 32), result("1/2", schedules: 10))
        XCTAssertEqual(merged.status, 0)
        XCTAssertEqual(merged.output, "fault_zap: 2 threads, preemptions 3: 42 schedules (6 left early) in 2 shards, 3 s of work: ok\n")
        XCTAssertEqual(merged.errors, "")
    }

    func testFailuresAreListed() throws {
        let merged = try run("explore", "--merge", result("1/2"), result("2/2", failure: "assertion: it holds"))
        XCTAssertEqual(merged.status, 1)
        XCTAssertTrue(merged.output.contains("FAILED\nassertion: it holds\n    --scenario fault_zap --schedule a3.b4\n"), merged.output)
    }

    func testAMissingShardIsNamed() throws {
        let merged = try run("explore", "--merge", result("1/3"), result("3/3"))
        XCTAssertEqual(merged.status, 1)
        XCTAssertEqual(merged.errors, "tdpmmuctl: shard 2/3 is missing\n")
        XCTAssertEqual(merged.output, "")
    }

    func testAShardThatIsThereTwiceIsNamed() throws {
        let merged = try run("explore", "--merge", result("1/2"), result("1/2"), result("2/2"))
        XCTAssertEqual(merged.status, 1)
        XCTAssertTrue(merged.errors.contains("shard 1/2 is there 2 times: "), merged.errors)
    }

    func testShardsOfAnotherRunAreNamed() throws {
        let others = [try result("2/2", scenario: "fault_fault"), try result("2/2", mode: "preemptions 2"),
                      try result("2/2", shared: 8), try result("2/3")]
        let words = ["scenario is fault_fault", "mode is preemptions 2", "shared is 8", "one of 3 shards"]
        for (other, word) in zip(others, words) {
            let merged = try run("explore", "--merge", result("1/2"), other)
            XCTAssertEqual(merged.status, 1)
            XCTAssertTrue(merged.errors.contains(word), merged.errors)
        }
    }

    func testWhatIsNoResultIsBadInput() throws {
        let files = [try result("0/2"), try result("3/2"), try result("x"), try result("1/2", end: ""),
                     try write("empty", []), try write("other", Array("tdpmmu-explore 2\nend\n".utf8)), folder + "/nowhere"]
        for file in files {
            let merged = try run("explore", "--merge", file)
            XCTAssertEqual(merged.status, 2, file)
            XCTAssertEqual(merged.output, "")
            XCTAssertTrue(merged.errors.hasPrefix("tdpmmuctl: "), merged.errors)
        }
        XCTAssertNotEqual(try run("explore", result("1/1")).status, 0)
        XCTAssertNotEqual(try run("explore", "--merge").status, 0)
    }
}
