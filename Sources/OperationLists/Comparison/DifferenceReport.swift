// SPDX-License-Identifier: GPL-2.0-only

/// A difference as text that is a list again: what is said about it stands in comments.
package struct DifferenceReport {
    let list: OperationList
    let found: Difference
    let names: [String]
    let transcripts: [Transcript]

    /// Of the lines that only one side has, so many are shown.
    private static let shownLines = 12

    package var text: String {
        let letters = zip(["A", "B"], names).map { "# \($0) is \($1)" }
        return (letters + ["# \(place): \(what)"] + sides + ["#"] + markedList).map { $0 + "\n" }.joined()
    }

    private var place: String {
        if found.index == 0 { return "the VM's making" }
        guard let operation = found.operation(of: list) else { return "the VM's end" }
        return "operation \(found.index) of \(list.operations.count), \(operation.text)"
    }

    private var what: String {
        switch found.cause {
        case .fields(let fields): "\(fields.map(\.rawValue).joined(separator: ", ")) \(fields.count == 1 ? "differs" : "differ")"
        case .failure: "a library does not come through it"
        case .expectation: "not what the list expects: \(found.operation(of: list)?.expected ?? "")"
        }
    }

    private var sides: [String] {
        switch found.cause {
        case .fields(let fields): fields.flatMap(lines)
        case .failure(let failures): zip(["A", "B"], failures).map { "#   \($0) \($1 ?? "comes through it")" }
        case .expectation: lines(.result)
        }
    }

    private func answer(_ side: Int) -> Answer? {
        transcripts[side].answers.indices.contains(found.index) ? transcripts[side].answers[found.index] : nil
    }

    /// A field of both; of what is but a sum, the things that only one has.
    private func lines(_ field: Answer.Field) -> [String] {
        let values = transcripts.indices.map { "#   \(["A", "B"][$0]) \(field.rawValue): \(answer($0).map { String($0[field]) } ?? "")" }
        let details = transcripts.map { transcript in
            transcript.details.filter { $0.hasPrefix("\(field.rawValue) ") }.map { $0.dropFirst(field.rawValue.count + 1) }
        }
        guard details.count == 2 else { return values }
        let only = [Self.rest(of: details[0], without: details[1]), Self.rest(of: details[1], without: details[0])]
        if only.allSatisfy(\.isEmpty), details[0] != details[1] {
            return values + ["#     the same in another order"]
                + zip(["A", "B"], details).flatMap { side, lines in Self.shown(lines.map { "#     \(side) \($0)" }) }
        }
        return values + zip(["A", "B"], only).flatMap { side, lines in Self.shown(lines.map { "#     only \(side) has \($0)" }) }
    }

    private static func shown(_ lines: [String]) -> [String] {
        lines.count <= shownLines ? lines : lines.prefix(shownLines) + ["#     and \(lines.count - shownLines) more"]
    }

    private static func rest(of lines: [Substring], without others: [Substring]) -> [Substring] {
        var counts: [Substring: Int] = [:]
        for line in others { counts[line, default: 0] += 1 }
        return lines.filter { line in
            guard let count = counts[line], count > 0 else { return true }
            counts[line] = count - 1
            return false
        }
    }

    private var markedList: [String] {
        list.lines.enumerated().map { $0.offset == found.index ? "\($0.element)  # here" : $0.element }
    }
}
