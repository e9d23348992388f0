// SPDX-License-Identifier: GPL-2.0-only

/// What is performed as one: an operation, or the event of a line between operations.
enum Item {
    case operation(Operation)
    /// Index of the line.
    case event(Int)

    /// Index of the line that it begins with.
    var firstLine: Int {
        switch self {
        case .event(let index): index
        case .operation(let operation): operation.begin
        }
    }

    var lastLine: Int {
        switch self {
        case .event(let index): index
        case .operation(let operation): operation.end
        }
    }

    var isTeardown: Bool {
        guard case .operation(let operation) = self else { return false }
        return operation.kind == .zapAll || operation.kind == .uninit
    }
}
