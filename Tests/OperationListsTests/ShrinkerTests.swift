// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace
import XCTest

@testable import OperationLists

/// Lists shortened, with stand-ins for two libraries.
final class ShrinkerTests: XCTestCase {
    private func randomList(_ number: Int = 0) -> OperationList {
        var options = GeneratorOptions()
        options.steps = 80
        return Generator(options).list(seed: 11, number: number)
    }

    /// As if the libraries differed about an operation of this kind that comes behind the others.
    private func difference(_ kinds: [OperationKind], _ list: OperationList, fields: [Answer.Field] = [.result]) -> Difference? {
        var rest = kinds[...]
        for (index, operation) in list.operations.enumerated() where operation.kind == rest.first {
            rest = rest.dropFirst()
            if rest.isEmpty { return Difference(index: index + 1, cause: .fields(fields)) }
        }
        return nil
    }

    private func shortest(_ list: OperationList, limit: Int = 5000, _ difference: @escaping (OperationList) -> Difference?) throws -> OperationList {
        var shrinker = Shrinker { list throws(BadInput) in difference(list) }
        shrinker.limit = limit
        return try shrinker.shortest(list, try XCTUnwrap(difference(list))).list
    }

    func testOnlyWhatIsNeededStays() throws {
        for number in 0..<6 {
            let list = randomList(number)
            let short = try shortest(list) { self.difference([.slot, .fault, .fault, .hw, .stats], $0) }
            XCTAssertEqual(short.operations.map(\.kind), [.slot, .fault, .fault, .hw, .stats])
            XCTAssertEqual(short.setup.text, "init \(list.setup.vendor.rawValue)", "no word of it is needed")
            XCTAssertEqual(short.operations[1].arguments.count, 3, "nor an argument that may be left out")
        }
    }

    func testWordsThatAreNeededStay() throws {
        var list = randomList()
        list.setup.noExecutableHugePages = true
        list.setup.rootLevel = 5
        let short = try shortest(list) { list in
            list.setup.rootLevel == 5 && list.setup.noExecutableHugePages ? self.difference([.fault], list) : nil
        }
        XCTAssertEqual(short.setup.text, "init \(list.setup.vendor.rawValue) root=5 nx=1")
        XCTAssertEqual(short.operations.count, 1)
    }

    /// What comes up in a shorter list must be the same, not just anything.
    func testAnotherDifferenceIsNotTaken() throws {
        let short = try shortest(randomList()) { list in
            self.difference([.slot, .vcpu, .stats], list, fields: [.counters, .result])
                ?? self.difference([.fault], list) ?? Difference(index: 0, cause: .failure([nil, "killed"]))
        }
        XCTAssertEqual(short.operations.map(\.kind), [.slot, .vcpu, .stats])
    }

    func testADifferenceOfTheVMItself() throws {
        let short = try shortest(randomList()) { _ in Difference(index: 0, cause: .fields([.result])) }
        XCTAssertEqual(short.operations, [])
    }

    func testItEnds() throws {
        var tries = 0
        let list = randomList()
        _ = try shortest(list, limit: 10) { list in
            tries += 1
            return self.difference([.stats], list)
        }
        XCTAssertLessThanOrEqual(tries, 11)
    }
}
