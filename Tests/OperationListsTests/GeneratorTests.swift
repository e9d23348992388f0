// SPDX-License-Identifier: GPL-2.0-only
import XCTest

@testable import OperationLists

/// Random lists.
final class GeneratorTests: XCTestCase {
    private func options(_ change: (inout GeneratorOptions) -> Void = { _ in }) -> GeneratorOptions {
        var options = GeneratorOptions()
        options.steps = 60
        change(&options)
        return options
    }

    private func lists(_ options: GeneratorOptions, count: Int = 60, seed: UInt64 = 5) -> [OperationList] {
        let generator = Generator(options)
        return (0..<count).map { generator.list(seed: seed, number: $0) }
    }

    /// Lists are named by their seed, so these numbers must never change.
    func testNumbersAreThoseOfSplitMix64() {
        var random = RandomNumbers(seed: 0)
        XCTAssertEqual(random.next(), 0xe220_a839_7b1d_cdaf)
        XCTAssertEqual(random.next(), 0x6e78_9e6a_a1b9_65f4)
        for limit: UInt64 in [0, 1, 2, 100] { XCTAssertLessThan(random.below(limit), max(limit, 1)) }
    }

    func testASeedGivesTheSameLists() {
        XCTAssertEqual(lists(options()), lists(options()))
        let one = lists(options(), seed: 5), other = lists(options(), seed: 6)
        for (one, other) in zip(one, other) { XCTAssertNotEqual(one, other) }
        XCTAssertEqual(Set(one.map(\.text)).count, one.count)
    }

    func testListsAreReadAsTheyAreWritten() throws {
        for list in lists(options()) {
            var read = try OperationList(file: "X", bytes: Array(list.text.utf8))
            for index in read.operations.indices { read.operations[index].line = 0 }
            XCTAssertEqual(read, list)
        }
    }

    func testAllThatThereIsComesUp() {
        let many = lists(options(), count: 300)
        let kinds = Set(many.flatMap { $0.operations.map(\.kind) })
        XCTAssertEqual(Set(OperationKind.allCases).subtracting(kinds), [.barrier], "a barrier is part of stats")
        XCTAssertEqual(Set(many.flatMap(\.features)), Set(OperationList.featureOrder))
        let inBetween = Set(many.flatMap(\.operations).filter { $0.afterYields != nil }.map(\.kind))
        XCTAssertGreaterThan(inBetween.count, 5)
        XCTAssertTrue(inBetween.allSatisfy(\.fitsInBetween))
    }

    /// As many pages as no CPU's log has room for, with bitmaps and with rings; and the CPU leaves.
    func testACPUsLogOverflows() {
        for (words, hasRings) in [("ept pml=1 ring=0", false), ("ept pml=1 ring=16384", true), ("ept pml=0", nil)] as [(String, Bool?)] {
            let many = lists(options { XCTAssertNil($0.fix(words)) }).filter { list in
                list.operations.contains { $0.kind == .hw && ($0.argument(3) ?? 0) > 512 } && list.operations.contains { $0.kind == .exit }
            }
            XCTAssertEqual(many.isEmpty, hasRings == nil, words)
            XCTAssertTrue(many.allSatisfy { ($0.setup.ringBytes > 0) == hasRings })
        }
    }

    func testOptions() {
        let fixed = lists(options {
            XCTAssertNil($0.fix("ept root=5 phys=52 nx=1 log=manual"))
            XCTAssertNil($0.leaveOut("smm,age,testage,moveslot,meanwhile"))
            $0.yield = 3
        })
        for list in fixed {
            XCTAssertEqual([list.setup.vendor.rawValue, list.setup.log.rawValue], ["ept", "manual"])
            XCTAssertEqual([list.setup.rootLevel, list.setup.physicalBits], [5, 52])
            XCTAssertTrue(list.setup.noExecutableHugePages)
            let kinds = Set(list.operations.map(\.kind))
            XCTAssertTrue(kinds.isDisjoint(with: [.age, .testage, .moveslot, .smm]))
            XCTAssertFalse(list.operations.contains { $0.afterYields != nil })
            XCTAssertFalse(list.operations.contains { $0.kind == .vcpu && $0.argument(1) == 1 })
            XCTAssertEqual(list.operations.first, Operation(.yield, 3))
        }
        var wrong = GeneratorOptions()
        XCTAssertEqual(wrong.fix("root=9"), "\"root=9\" is no word of init, or cannot be")
        XCTAssertEqual(wrong.leaveOut("age,fly"), "fly")
    }

    /// Nothing that is random makes the library warn, and it does the same every time.
    func testTheLibraryTakesAllOfThem() {
        for list in lists(options { $0.steps = 40 }, count: 45) {
            let first = Self.answers(list)
            XCTAssertEqual(first.count, list.operations.count + 2)
            for (index, answer) in first.enumerated() where answer[.warned] != "" {
                XCTFail("answer \(index), \(answer.values)\n\(list.text)")
                return
            }
            XCTAssertEqual(first[0][.result], "made", list.setup.text)
            XCTAssertEqual(first, Self.answers(list), list.text)
        }
    }

    static func answers(_ list: OperationList) -> [Answer] {
        let performer = Performer(list.setup)
        func answer(_ body: () -> String) -> Answer {
            performer.vm?.beginOperation(keepsTexts: false)
            let result = body()
            return Answer(line: Witness.line(result, performer.vm)[...])
        }
        return [answer { performer.setupResult }] + list.operations.map { operation in answer { performer.perform(operation) } }
            + [answer { performer.finish() }]
    }
}
