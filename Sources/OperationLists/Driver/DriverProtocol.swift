// SPDX-License-Identifier: GPL-2.0-only

/// What goes through the pipes between the tool and a process that performs lists, line by line.
///
///     to it:   perform fast | careful | N   careful: each answer is written at once, since the next operation
///                                           may end the process; N: so, too, and that answer shown in full
///              the list's lines
///              .
///     from it: ready VERSION                once, at the start
///              an answer for the VM's making, one for each operation, one for its end;
///              behind the one that is to be shown, its details, each behind a tab
///              .
enum DriverProtocol {
    static let ready = "ready"
    static let perform = "perform"
    static let end = "."
    static let detail: Character = "\t"

    static func request(_ list: OperationList, _ manner: PerformingManner) -> [UInt8] {
        Array("\(perform) \(manner.word)\n\(list.text)\(end)\n".utf8)
    }
}

/// How a list is performed.
package enum PerformingManner: Equatable {
    /// Answers are written together.
    case fast
    /// One by one.
    case careful
    /// And one of them in full.
    case showing(Int)

    fileprivate var word: String {
        switch self {
        case .fast: "fast"
        case .careful: "careful"
        case .showing(let index): String(index)
        }
    }

    init?(word: Substring) {
        switch word {
        case "fast": self = .fast
        case "careful": self = .careful
        default:
            guard let index = Int(word) else { return nil }
            self = .showing(index)
        }
    }
}
