// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace
import OperationLists

/// Lists compared, one after another, and what is said of them.
struct Comparison {
    let comparer: Comparer
    let save: String?
    let goesOn: Bool
    let isJSON: Bool

    private typealias Found = (name: String, list: OperationList, difference: Difference)

    /// Whether any differed.
    func runRandom(_ generator: Generator, count: Int, seed: UInt64) throws -> Bool {
        let progress = Progress()
        defer { progress.clear() }
        var survey = Survey(), first: Found?
        try comparer.compare(count, { generator.list(seed: seed, number: $0) }) { list, difference in
            if let difference, first == nil { first = ("list \(survey.total.lists) of seed \(seed)", list, difference) }
            survey.note(list, difference)
            progress.show("\(survey.total.lists) of \(count) lists, \(survey.total.differences) differ")
            return difference == nil || goesOn
        }
        progress.clear()
        let text = try first.map { try shortened($0, isShortened: true) }
        if isJSON {
            let (rows, kinds) = SurveyTable.json(survey)
            try print(lists: survey.total.lists, different: survey.total.differences, rows: rows, kinds: kinds, [text].compactMap(\.self))
        } else {
            try Output.print(SurveyTable.text(survey))
            if survey.kinds.count > 1 { try Output.print("\n\(SurveyTable.kinds(survey))") }
            if let text { try Output.print("\n" + text, terminator: "") }
        }
        if let save, let text { try NewFile(save, text).put() }
        return first != nil
    }

    private func print(lists: Int, different: Int, rows: JSON = [], kinds: JSON = [], _ shown: [String]) throws {
        try Output.print(["lists": .number(lists), "different": .number(different), "rows": rows, "kinds": kinds,
                          "shown": .array(shown.map(JSON.string))])
    }

    /// Whether any differed.
    func run(_ files: [String]) throws -> Bool {
        let lists = try files.map { ($0, try OperationList(file: $0)) }
        var differences = 0, shown: [String] = []
        for (file, list) in lists {
            guard let difference = try comparer.difference(list) else { continue }
            differences += 1
            guard differences == 1 || goesOn else { continue }
            shown.append(try shortened((file, list, difference), isShortened: comparer.drivers.count == 2))
            if !isJSON { try Output.print("\n" + shown[shown.count - 1], terminator: "") }
            if let save { try NewFile(save, shown[shown.count - 1]).put() }
        }
        if isJSON {
            try print(lists: lists.count, different: differences, shown)
        } else {
            try Output.print("\(lists.count) \(lists.count == 1 ? "list" : "lists"), \(differences) different")
        }
        return differences > 0
    }

    /// The list with what is said of it.
    private func shortened(_ found: Found, isShortened: Bool) throws -> String {
        var (list, difference) = (found.list, found.difference)
        // What it expects of an operation holds with all that comes before.
        if isShortened, !Self.isExpectation(difference) {
            let progress = Progress()
            defer { progress.clear() }
            progress.show("\(found.name) differs; shortening it")
            let shortest = try comparer.shortest(list) { progress.show("\(found.name) differs; \($0) operations left") }
            if let shortest { (list, difference) = (shortest.list, shortest.found) }
        }
        return "# \(FileBytes.displayName(found.name)) differs\n" + (try comparer.report(list, difference).text)
    }

    private static func isExpectation(_ difference: Difference) -> Bool {
        if case .expectation = difference.cause { true } else { false }
    }
}
