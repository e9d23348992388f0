// SPDX-License-Identifier: GPL-2.0-only
import Glibc
import KernelTrace
import LibraryClient

/// The process that performs lists with the library that it has loaded: requests on standard input, answers
/// on a descriptor of their own.
package enum ListDriver {
    package static func run() throws {
        try write("\(DriverProtocol.ready) \(LoadedLibrary.version)\n")
        while let request = readLine() {
            let words = request.split(separator: " ")
            guard words.count == 2, words[0] == DriverProtocol.perform, let manner = PerformingManner(word: words[1]) else {
                throw BadInput(file: "standard input", line: 0, problem: "not what a driver of lists is asked for: \(request)")
            }
            try perform(try readList(), manner)
        }
    }

    private static func readList() throws -> OperationList {
        var parser = ListParser()
        while let line = readLine(), line != DriverProtocol.end {
            do throws(ListProblem) {
                try parser.take(line[...], line: 0)
            } catch {
                throw BadInput(file: "standard input", line: 0, problem: error.text)
            }
        }
        return parser.list ?? OperationList(Setup(), [])
    }

    private static func perform(_ list: OperationList, _ manner: PerformingManner) throws {
        var output = ""
        var index = 0
        let performer = Performer(list.setup)
        func answer(_ body: () -> String) throws {
            let isShown = manner == .showing(index)
            performer.vm?.beginOperation(keepsTexts: isShown)
            let result = body()
            output += Witness.line(result, performer.vm)
            output += "\n"
            if isShown {
                for detail in Witness.details(performer.vm) { output += "\(DriverProtocol.detail)\(detail)\n" }
            }
            if manner != .fast {
                try write(output)
                output = ""
            }
            index += 1
        }
        try answer { performer.setupResult }
        for operation in list.operations { try answer { performer.perform(operation) } }
        try answer { performer.finish() }
        try write(output + DriverProtocol.end + "\n")
    }

    private static func write(_ text: String) throws(WriteFailure) {
        try writeAll(text, to: Streams.answers, named: "answers")
    }
}
