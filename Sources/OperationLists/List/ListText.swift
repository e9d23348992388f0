// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// A list as text: `init` first, an operation a line; `#` begins a comment, but `#=` what the operation
/// must come to.
extension OperationList {
    package init(file: String) throws(BadInput) {
        try self.init(file: file, bytes: FileBytes.read(file))
    }

    package init(file: String, bytes: [UInt8]) throws(BadInput) {
        var parser = ListParser()
        for (index, line) in bytes.split(separator: 10, omittingEmptySubsequences: false).enumerated() {
            do throws(ListProblem) {
                guard let text = String(validating: line, as: UTF8.self) else { throw ListProblem("binary data") }
                try parser.take(text[...], line: index + 1)
            } catch {
                throw BadInput(file: file, line: index + 1, problem: error.text)
            }
        }
        guard let list = parser.list else {
            throw BadInput(file: file, line: 0, problem: "the list has no operations")
        }
        self = list
        try list.requireWhatIsNamed(file)
    }

    /// Slots and vCPUs must have been made before they are named.  That a library refuses to make one
    /// is a result like any other.
    private func requireWhatIsNamed(_ file: String) throws(BadInput) {
        var vcpus: Set<UInt64> = [], slots: Set<UInt64> = []
        for operation in operations {
            guard let first = operation.argument(0) else { continue }
            switch operation.kind {
            case .vcpu: vcpus.insert(first)
            case .slot: slots.insert(first)
            default: break
            }
            var problem: String?
            switch operation.kind.needs {
            case .vcpu? where !vcpus.contains(first): problem = "there is no vCPU \(first)"
            case .slot? where !slots.contains(first): problem = "there is no slot \(first)"
            default: break
            }
            if let problem { throw BadInput(file: file, line: operation.line, problem: problem) }
        }
    }
}

struct ListParser {
    private var setup: Setup?
    private var operations: [Operation] = []

    /// nil as long as there is nothing in it.
    var list: OperationList? {
        setup == nil && operations.isEmpty ? nil : OperationList(setup ?? Setup(), operations)
    }

    mutating func take(_ text: Substring, line: Int) throws(ListProblem) {
        let parts = text.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
        let words = (parts.first ?? "").split { $0 == " " || $0 == "\t" || $0 == "\r" }
        let comment = parts.count > 1 ? parts[1] : ""
        let expected = comment.hasPrefix("=") ? String(comment.dropFirst().drop { $0 == " " }) : nil
        guard let word = words.first else {
            if expected != nil { throw ListProblem("there is no operation that could come to this") }
            return
        }
        if word == "init" {
            setup = try Self.setup(words.dropFirst(), isFirst: setup == nil && operations.isEmpty)
            return
        }
        var operation = try Self.operation(words[...])
        operation.expected = expected.map(Self.trimmed)
        operation.line = line
        operations.append(operation)
    }

    private static func trimmed(_ text: String) -> String {
        var text = text
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return text
    }

    static func setup(_ words: ArraySlice<Substring>, isFirst: Bool = true) throws(ListProblem) -> Setup {
        guard isFirst else { throw ListProblem("init must be the first operation") }
        var setup = Setup()
        for word in words {
            if let problem = setup.take(word) { throw problem }
        }
        return setup
    }

    private static func operation(_ words: ArraySlice<Substring>) throws(ListProblem) -> Operation {
        guard let word = words.first else { throw ListProblem("an operation is missing") }
        if word == "meanwhile" { return try meanwhile(words.dropFirst()) }
        guard let kind = OperationKind(rawValue: String(word)) else { throw ListProblem("unknown operation \"\(word)\"") }
        let words = words.dropFirst(), (parameters, required) = kind.signature
        guard words.count >= required else { throw ListProblem("\(kind) takes \(Self.arguments(required)) at least") }
        guard words.count <= parameters.count else { throw ListProblem("\(kind) takes \(Self.arguments(parameters.count)) at most") }
        var arguments: [UInt64] = []
        for (parameter, word) in zip(parameters, words) { arguments.append(try parameter.value(word).get()) }
        return Operation(kind, arguments: arguments)
    }

    private static func arguments(_ count: Int) -> String { count == 1 ? "1 argument" : "\(count) arguments" }

    private static func meanwhile(_ words: ArraySlice<Substring>) throws(ListProblem) -> Operation {
        guard let count = words.first.flatMap(Parameter.number), count > 0 else {
            throw ListProblem("meanwhile takes a count and an operation")
        }
        var operation = try operation(words.dropFirst())
        guard operation.afterYields == nil, operation.kind.fitsInBetween else {
            throw ListProblem("\(operation.kind) cannot be made in the middle of another operation")
        }
        operation.afterYields = count
        return operation
    }
}
